"""The commands about studies: study, advise, report."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seamwise.cli.options import Accelerator, Data, Json, RunFolder, TaskName, World, aside, numbers, settings, words
from seamwise.errors import InputError

if TYPE_CHECKING:
    from seamwise.advice import Advice
    from seamwise.runs import Study


def study(
    task: TaskName,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; runs/TASK by default. The same command resumes it.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three budgets, two seeds, short trainings: minutes.")] = False,
    budgets: Annotated[str | None, typer.Option(help="Labels, e.g. 100,400,1600; doubling to all by default.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many; 3 by default.")] = None,
    sure: Annotated[
        float | None,
        typer.Option("--stop-when-sure", help="Stop once the best way is known with this probability, e.g. 0.95."),
    ] = None,
    regimes: Annotated[str | None, typer.Option(help="E.g. tuned,endtoend,direct; all six by default.")] = None,
    variants: Annotated[str | None, typer.Option(help="E.g. found,given, or all; the first by default.")] = None,
    vary: Annotated[str | None, typer.Option(help="The field whose labels are swept; the answer's by default.")] = None,
    together: Annotated[bool, typer.Option("--together", help="Sweep all fields in proportion.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Processes of one thread each; all cores by default.")] = None,
    on: Annotated[str, typer.Option(help="processes of this machine; or ray, as RAY_ADDRESS says.")] = "processes",
    storage: Annotated[
        str | None, typer.Option(help="With --on ray: folder or URL all machines see, as in s3://bucket/path.")
    ] = None,
    gpus: Annotated[float, typer.Option(help="With --on ray: of a GPU, a training.")] = 0.0,
    time_limit: Annotated[float | None, typer.Option(help="Seconds a trial may take, else it failed; none.")] = None,
    accelerator: Accelerator = None,
    data: Data = None,
    world: World = None,
    shift: Annotated[
        str | None,
        typer.Option(help="Score the largest budget's networks on items from elsewhere too: a folder, or clutter=12."),
    ] = None,
    over: Annotated[
        str | None, typer.Option("--map", help="Also study each value of a world's setting, e.g. clutter=0,6,12.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train the chain every way over growing label budgets; table, advice and report.

    Example: seamwise study digits --out runs/digits --seeds 3

    On real faces: seamwise study gate --data LONDON --data PEOPLE (to learn from, then for the test)

    Where each way wins as the task gets harder: seamwise study digits --map clutter=0,6,12
    """
    from dataclasses import replace

    from seamwise.settings import quicker
    from seamwise.studies import Options, study_map
    from seamwise.studies import study as run_study
    from seamwise.task import load_task

    with aside(as_json):
        loaded = load_task(task, data or (), settings("--world", world))
        if accelerator is not None:
            loaded = loaded.with_fit(replace(loaded.fit, accelerator=accelerator))
        chosen = numbers("--budgets", budgets)
        if quick:
            loaded = loaded.with_fit(quicker(loaded.fit))
            chosen = chosen or loaded.supply.doublings(vary or loaded.answer.field)[:5:2]
        options: Options = {
            "budgets": chosen,
            "seeds": seeds if seeds is not None else (2 if quick else 3),
            "regimes": words(regimes),
            "variants": list(loaded.variants) if variants == "all" else words(variants),
            "vary": vary,
            "together": together,
            "halvings": not quick,
            "jobs": jobs,
            "shift": shift,
            "limit_s": time_limit,
            "sure": sure,
            "on": on,
            "storage": storage,
            "gpus": gpus,
        }
        told = [*["real"] * bool(data), *([world] if world else []), *["quick"] * quick]
        place = out or Path("runs") / "-".join([loaded.name, *told])
        if over is None:
            result = run_study(loaded, place, **options)
        else:
            setting, _, values = over.partition("=")
            result = study_map(loaded, setting, _reals("--map", over, values), place, **options)
    _show_study(result, result.advise(), as_json)


def _reals(option: str, given: str, values: str) -> list[float]:
    try:
        return [float(value) for value in words(values) or []]
    except ValueError:
        raise InputError(f"{option} {given}", expected="SETTING=NUMBER,NUMBER,..., as in clutter=0,6,12") from None


def report(run: RunFolder, as_json: Json = False) -> None:
    """Write a run's report and advice again, and print its table.

    Example: seamwise report runs/digits
    """
    from seamwise.advice import write_advice
    from seamwise.runs import open_run
    from seamwise.task import load_task

    result = open_run(run)
    try:
        task = load_task(result.record.source) if result.record.source else None
    except InputError as error:
        print(f"warning: without the task there are no pictures: {error}", file=sys.stderr)
        task = None
    advice = result.advise()
    result.report(task, advice)
    write_advice(result, advice)
    _show_study(result, advice, as_json)


def advise(
    run: RunFolder,
    at: Annotated[str | None, typer.Option(help="Labels to be told about, e.g. 5000,20000; measured or not.")] = None,
    prices: Annotated[str | None, typer.Option(help="Of a label, e.g. box=0.05,person=1; the supply's else.")] = None,
    as_json: Json = False,
) -> None:
    """Which way is best, which stage costs most, which labels to buy next, and how sure that is. Nothing is trained.

    Example: seamwise advise runs/digits --at 5000 --prices sum=1,place=0.5
    """
    from seamwise.advice import write_advice
    from seamwise.runs import open_run

    result = open_run(run)
    advice = result.advise(numbers("--at", at) or (), settings("--prices", prices, "place=0.05,sum=1"))
    print(json.dumps(advice.record()) if as_json else "\n".join(advice.sentences))
    path = write_advice(result, advice)
    if not as_json:
        print(path)


def _show_study(result: "Study", advice: "Advice", as_json: bool) -> None:
    from rich.console import Console

    from seamwise.report.text import rich_table
    from seamwise.runs import curves

    page = result.run / "report.html"
    if as_json:
        print(json.dumps(advice.record() | {"report": str(page), "curves": curves(result)}))
        return
    Console().print(rich_table(result))
    print("\n".join(advice.sentences))
    for trial in result.failed:
        print(f"failed: {trial.id}: {trial.message}", file=sys.stderr)
    print(page)
