"""The command line: study, train, eval, predict, report. Nothing heavy is imported before it is needed."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamwise.errors import InputError, SeamwiseError, TaskError

if TYPE_CHECKING:
    from seamwise.model import Model
    from seamwise.runs import Study
    from seamwise.task import Task

INTERRUPTED = 130
OWN_COMMANDS = {"gate": "seamwise.systems.gate.commands"}  # systems with a `predict` and an `eval` of their own

app = typer.Typer(
    name="seamwise",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Pipeline or end to end? Train the same chain every way over growing label budgets, and measure it.\n\n"
    "Example: seamwise study digits --quick",
)

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="A shipped system (digits, gate), or a Python file that sets `task`.")
]
Data = Annotated[
    list[Path] | None, typer.Option("--data", help="Folder of real data, for a system that reads some; repeatable.")
]
ModelFolder = Annotated[Path, typer.Option("--model", help="A folder that `seamwise train` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command()
def study(
    task: TaskName,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; runs/TASK by default. The same command resumes it.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Three budgets, two seeds, short trainings: minutes.")] = False,
    budgets: Annotated[str | None, typer.Option(help="Labels, e.g. 100,400,1600; doubling to all by default.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many; 3 by default.")] = None,
    regimes: Annotated[str | None, typer.Option(help="E.g. tuned,endtoend,direct; all six by default.")] = None,
    variants: Annotated[str | None, typer.Option(help="E.g. found,given, or all; the first by default.")] = None,
    vary: Annotated[str | None, typer.Option(help="The field whose labels are swept; the answer's by default.")] = None,
    together: Annotated[bool, typer.Option("--together", help="Sweep all fields in proportion.")] = False,
    jobs: Annotated[int | None, typer.Option(help="Processes of one thread each; all cores by default.")] = None,
    accelerator: Annotated[str | None, typer.Option(help="cpu, cuda, mps or auto; the task's by default.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Train the chain every way over growing label budgets; table, report and what is best now.

    Example: seamwise study digits --out runs/digits --seeds 3

    On real faces: seamwise study gate --data LONDON --data PEOPLE (to learn from, then for the test)
    """
    from dataclasses import replace

    from seamwise.settings import quicker
    from seamwise.studies import study as run_study
    from seamwise.task import load_task

    with _aside(as_json):
        loaded = load_task(task, data or ())
        if accelerator is not None:
            loaded = loaded.with_fit(replace(loaded.fit, accelerator=accelerator))
        chosen = _numbers("--budgets", budgets)
        if quick:
            loaded = loaded.with_fit(quicker(loaded.fit))
            chosen = chosen or loaded.supply.doublings(vary or loaded.answer.field)[:5:2]
        result = run_study(
            loaded,
            out or Path("runs") / "-".join([loaded.name, *["real"] * bool(data), *["quick"] * quick]),
            budgets=chosen,
            seeds=seeds if seeds is not None else (2 if quick else 3),
            regimes=_words(regimes),
            variants=list(loaded.variants) if variants == "all" else _words(variants),
            vary=vary,
            together=together,
            halvings=not quick,
            jobs=jobs,
        )
    _show_study(result, as_json)


@app.command()
def train(
    task: TaskName,
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    regime: Annotated[str, typer.Option(help="independent, sequential, tuned, joint, endtoend or direct.")] = "tuned",
    labels: Annotated[
        list[str] | None, typer.Option(help="N of the answer's labels, or FIELD=N; repeatable; all by default.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Of the chain, or which direct network; the first by default.")
    ] = None,
    stop_at: Annotated[
        float | None, typer.Option(help="Stop at this validation error; by default, when it converges.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the subset and the start.")] = 0,
    accelerator: Annotated[str | None, typer.Option(help="cpu, cuda, mps or auto; the task's by default.")] = None,
    devices: Annotated[int | None, typer.Option(help="How many to train on at once; the task's by default.")] = None,
    precision: Annotated[str | None, typer.Option(help="32-true or bf16-mixed; the task's by default.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Train one model and write its folder.

    Example: seamwise train digits --regime tuned --labels 500 --out model/
    """
    from dataclasses import replace

    from seamwise.model import check_model_place
    from seamwise.model import train as train_model
    from seamwise.progress import TrainingProgress
    from seamwise.task import load_task

    check_model_place(out)
    loaded = load_task(task, data or ())
    given = {"accelerator": accelerator, "n_devices": devices, "precision": precision}
    loaded = loaded.with_fit(replace(loaded.fit, **{k: v for k, v in given.items() if v is not None}))  # type: ignore[arg-type]
    asked = _labels(loaded, labels or [])
    with TrainingProgress() as progress, _aside(as_json):
        model = train_model(
            loaded,
            regime,
            asked,
            variant=variant,
            seed=seed,
            stop_at=stop_at,
            watch=progress.at,
        )
    if not progress.first_rank:
        return
    model.save(out)
    record = model.record
    if as_json:
        print(json.dumps({"model": str(out), **record.model_dump(mode="json")}))
        return
    print(f"{out}: {record.task}, {record.variant}, {record.regime}; {record.stopped} after {record.seconds:.0f} s")
    print(f"validation error {record.validation_error:.4f} ({model.task.answer.unit})")
    for note in record.notes:
        print(f"note: {note}")
    if stop_at is not None and record.validation_error > stop_at:
        print(f"the wanted {stop_at} was not reached on validation")


@app.command(name="eval")
def evaluate(task: TaskName, model: ModelFolder, as_json: Json = False) -> None:
    """Score a model on the task's test items.

    Example: seamwise eval digits --model model/ --json

    On photographs of your own: seamwise eval gate --help
    """
    from seamwise.model import load_model

    with _aside(as_json):
        loaded = load_model(model, task)
        _warn(loaded)
        scores = loaded.evaluate()
    if as_json:
        print(json.dumps(scores.flat()))
        return
    unit = scores.model.task.answer.unit
    print(f"error {scores.interval} ({unit}, 90 % interval) on {len(scores.result.items):,} test items")
    print(f"the trivial predictor's error: {scores.result.trivial:.3f}")
    for s in scores.stages:
        gold = "" if s.error_on_gold_input is None else f"; {s.error_on_gold_input:.3f} on gold input"
        print(f"  {s.stage}: {s.error:.3f} of {s.field!r} ({s.unit}){gold}")


@app.command()
def predict(
    task: TaskName,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures, or what the task reads.")],
    model: ModelFolder,
    draw: Annotated[Path | None, typer.Option(help="Folder for pictures of what was seen.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a model about files. A file that cannot be read is named, and the others go on.

    Example: seamwise predict digits --model model/ two-digits.png

    Photographs, videos, a camera: seamwise predict gate --help
    """
    from seamwise.model import answer_file, load_model, told

    with _aside(as_json):
        loaded = load_model(model, task)
    _warn(loaded)
    n_failed = 0
    for path in files:
        try:
            with _aside(as_json):
                item, written = answer_file(loaded, path)
                answer = told(loaded.task, written)
        except SeamwiseError as error:
            print(f"error: {error}" if str(path) in str(error) else f"error: {path}: {error}", file=sys.stderr)
            n_failed += 1
            continue
        print(json.dumps({"file": str(path), **answer}) if as_json else f"{path}: {_said(answer)}")
        if draw is not None:
            _draw(loaded.task, draw / f"{path.stem}.png", item, written)
    if n_failed:
        raise typer.Exit(2)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A folder that `seamwise study` wrote.")], as_json: Json = False
) -> None:
    """Write a run's report again, and print its table.

    Example: seamwise report runs/digits
    """
    from seamwise.runs import open_run
    from seamwise.task import load_task

    result = open_run(run)
    result.report(load_task(result.record.source) if result.record.source else None)
    _show_study(result, as_json)


def _show_study(result: "Study", as_json: bool) -> None:
    from rich.console import Console

    from seamwise.report.text import rich_table
    from seamwise.runs import curves

    page = result.run / "report.html"
    finished = [t for t in result.trials if t.status == "done"]
    best = result.best() if finished else None
    if as_json:
        told = None if best is None else {"variant": best[0][0], "regime": best[0][1], "probability": best[1]}
        failed = [{"id": t.id, "message": t.message} for t in result.failed]
        lines: dict[str, Any] = {
            "run": str(result.run),
            "report": str(page),
            "best_now": told,
            "curves": curves(result),
        }
        print(json.dumps(lines | {"trivial": result.record.trivial, "untrained": result.untrained, "failed": failed}))
        return
    console = Console()
    console.print(rich_table(result))
    if best is not None:
        (variant, regime), probability = best
        top = result.record.budgets[-1]
        console.print(
            f"Best now, at {top:,} labels of {result.record.vary!r}: {variant} {regime} "
            f"(probability {probability:.2f} among those compared)",
            highlight=False,
        )
    if result.untrained:
        print(f"{len(result.untrained)} of {len(result.trials)} trials did not train: see the report")
    for trial in result.failed:
        print(f"failed: {trial.id}: {trial.message}", file=sys.stderr)
    print(page)


def _draw(task: "Task", path: Path, item: Any, written: Any) -> None:
    import cv2

    from seamwise.trial import storage_error, write_whole

    if task.draw is None:
        raise TaskError(f"task {task.name!r} draws no pictures", remedy="give it a `draw` function")
    _, encoded = cv2.imencode(".png", task.draw(item, written)[..., ::-1])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path.parent, error) from error
    write_whole(path, encoded.tobytes())


def _aside(as_json: bool) -> AbstractContextManager[object]:
    """Where JSON is wanted, what the user's own code prints goes to stderr."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def _said(answer: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in answer.items())


def _warn(model: "Model") -> None:
    """Say where a model and the task it is asked with have come apart."""
    if not model.same_data:
        print("warning: the task's data changed since training: its test items may have trained it", file=sys.stderr)
    if not model.same_chain:
        print("warning: the task's stages changed since training: the errors are the new ones'", file=sys.stderr)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(word) for word in _words(text) or []]
    except ValueError:
        raise InputError(f"{option} {text}", expected="whole numbers, as in 100,400,1600") from None


def _labels(task: "Task", asked: list[str]) -> dict[str, int]:
    labels = {}
    for text in asked:
        name, _, number = text.rpartition("=")
        if not number.isdigit():
            raise InputError(f"--labels {text}", expected="N, or FIELD=N with a whole number")
        labels[name or task.answer.field] = int(number)
    return labels


def _run(words: list[str]) -> None:
    """A system's own command where it has one; with a model of its task, and no data, the one of every task."""
    command, task = [*words, "", ""][:2]
    options = {word.partition("=")[0] for word in words}
    of_a_model = "--model" in options and not options & {"--data", "--enrol"}
    if command in ("predict", "eval") and task in OWN_COMMANDS and not of_a_model:
        own = import_module(OWN_COMMANDS[task])
        own.apps[command](words[2:], prog_name=f"seamwise {command} {task}")
    else:
        app(words)


def main() -> None:
    """Run the command line; the user's mistakes end with exit code 2 and no traceback."""
    try:
        _run(sys.argv[1:])
    except SeamwiseError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except SystemExit as end:  # typer has made one of a KeyboardInterrupt
        if end.code == INTERRUPTED:
            print("stopped; what is finished is kept, the same command goes on", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
