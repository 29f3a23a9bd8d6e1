"""Study: run the trials of a plan in a folder, and resume them."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
from filelock import FileLock, Timeout

from seamwise.advice import write_advice
from seamwise.cluster import run_on_ray
from seamwise.connection import check_way, connected, n_places
from seamwise.errors import RunError, TaskError
from seamwise.evaluate import trivial_error
from seamwise.maps import map_folder
from seamwise.origin import checked_settings
from seamwise.plan import Plan, make_plan
from seamwise.pool import run_all
from seamwise.progress import Progress
from seamwise.regimes import fields_used
from seamwise.rounds import Rounds
from seamwise.runs import FORMAT, RunRecord, StageRecord, Study, open_run, read_run_record
from seamwise.shapes import NDArray
from seamwise.shift import supply_elsewhere
from seamwise.stage import Stage
from seamwise.supply import Supply
from seamwise.task import Task, load_task
from seamwise.trial import Trial, TrialLog, storage_error, write_json, write_whole, writing
from seamwise.version import VERSION
from seamwise.worker import Spec

RunTrials = Callable[..., None]
"""run_all of seamwise.pool, or what is called as it is."""


def study(
    task: Task | str,
    out: str | Path | None = None,
    *,
    budgets: Sequence[int] | None = None,
    seeds: int = 3,
    regimes: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    vary: str | None = None,
    together: bool = False,
    halvings: bool = True,
    jobs: int | None = None,
    quiet: bool = False,
    shift: str | Path | Supply | None = None,
    limit_s: float | None = None,
    on: str = "processes",
    storage: str | None = None,
    gpus: float = 0.0,
    sure: float | None = None,
) -> Study:
    """Train a task's chain every way over growing budgets, in a folder, and write its report.

    task:     a Task, the name of a shipped system, or a Python file that sets `task`
    out:      the run folder, runs/TASK by default; trials it holds already are not run again
    budgets:  labels of the swept field; by default they double up to all the supply holds
    seeds:    how many; each draws its own subsets and its own start
    regimes:  which; all by default. variants: which; the first by default
    vary:     the field whose labels are swept, the answer's by default; others stay at all the supply holds
    together: sweep all fields in proportion
    halvings: at the largest budget, also train with half of each other field's labels
    jobs:     processes of one thread each; as many as there are cores by default
    shift:    examples from elsewhere, on which the largest budget's networks are scored too, as they are and with
              their first stage trained again there: a Supply, a folder (of Supply.save, or of data that the task
              reads), or settings of the task's world, as in "clutter=12"; the task's own `elsewhere` by default
    limit_s:  seconds that a trial may take before it counts as failed. None by default, as no number suits both a
              network of seconds and one of days; a trial of which nothing is heard for ten minutes is told
    on:       "processes" of this machine, or "ray": workers on the cluster of RAY_ADDRESS
    storage:  on Ray: a folder or fsspec URL that all machines see, where trainings and trials are kept too
    gpus:     on Ray: of each worker; .25 lets four share one
    sure:     stop once no way is better at the largest budget with this probability, .95 say; what can no longer be
              the best is run no further (see seamwise.advice.race)

    Killed at any moment, the same call goes on where it stopped. Raises InputError before anything is
    trained where task, budgets or folder do not fit.
    """
    if jobs is not None and jobs < 1:
        raise TaskError(f"{jobs} jobs", expected="1 or more")
    if limit_s is not None and not limit_s > 0:
        raise TaskError(f"a time limit of {limit_s:g} s", expected="more than 0")
    if sure is not None and not 0.5 < sure < 1:
        raise TaskError(f"to be sure with probability {sure:g}", expected="more than 0.5, less than 1")
    loaded = load_task(task) if isinstance(task, str) else task
    check_way(on, storage, gpus, loaded.fit)
    if shift is not None:
        loaded = loaded.with_elsewhere(supply_elsewhere(loaded, shift))
    plan = make_plan(
        loaded,
        budgets=budgets,
        n_seeds=seeds,
        regimes=regimes,
        variants=variants,
        vary=vary,
        together=together,
        halvings=halvings,
    )
    run = Path(out) if out is not None else Path("runs") / loaded.name
    _make_folder(run)
    with _alone_in(run):
        with _at_work(on, jobs, storage, gpus) as (run_trials, n_jobs):
            _open_run(run, loaded, plan, _named(loaded, shift), sure)
            _run(run, loaded, plan, run_trials, n_jobs, quiet, limit_s, sure)
        result = open_run(run)
        if not quiet:
            print("writing advice and report", file=sys.stderr)
        advice = result.advise()
        write_advice(result, advice)
        result.report(loaded, advice)
    return result


class Options(TypedDict, total=False):
    """What `study` may be told beside task and folder, see there."""

    budgets: Sequence[int] | None
    seeds: int
    regimes: Sequence[str] | None
    variants: Sequence[str] | None
    vary: str | None
    together: bool
    halvings: bool
    jobs: int | None
    quiet: bool
    shift: str | Path | None
    limit_s: float | None
    on: str
    storage: str | None
    gpus: float
    sure: float | None


def study_map(
    task: Task | str,
    setting: str,
    values: Sequence[float],
    out: str | Path | None = None,
    **options: Unpack[Options],
) -> Study:
    """A study of the task as it is, in `out`, and one at each value of a setting of its world, in `out`/map/.

    task:    as load_task takes it, or a Task that came from there; each value's is trained as this one is
    setting: of the task's world, "clutter" say; or "noise.FIELD"
    values:  of the setting, each a run folder of its own: out/map/SETTING=VALUE/

    Which way is best at which value and budget, `seamwise.maps.read_map(out)` says. The same call goes on where it
    stopped. Returns the study of the task as it is. Raises InputError before anything is trained where the task has no
    such setting, or no such value of it.
    """
    loaded = load_task(task) if isinstance(task, str) else task
    if not loaded.source:
        raise TaskError(
            f"task {loaded.name!r} comes from memory: it cannot be made again with another {setting!r}",
            remedy="put it in a file with a `with_world`",
        )
    run = Path(out) if out is not None else Path("runs") / loaded.name
    folders = {map_folder(run, setting, v): v for v in checked_settings({f"{setting}={v}": v for v in values}).values()}
    if not values or len(folders) < len(values):
        raise TaskError(f"a map over {len(values)} values of {setting!r}", expected="one or more, all different")
    tasks = {f: load_task(loaded.source, world={setting: v}).with_fit(loaded.fit) for f, v in folders.items()}
    result = study(loaded, run, **options)
    for k, (folder, one) in enumerate(tasks.items(), start=1):
        if not options.get("quiet"):
            print(f"map: {folder.name}, {k} of {len(tasks)}", file=sys.stderr)
        study(one, folder, **options)
    result.report(loaded)
    return result


def _named(task: Task, shift: str | Path | Supply | None) -> str:
    if shift is not None:
        return "a supply" if isinstance(shift, Supply) else str(shift)
    return "" if task.elsewhere is None else "the task's own"


def _make_folder(run: Path) -> None:
    with writing(run):
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):
            pass


@contextmanager
def _alone_in(run: Path) -> Iterator[None]:
    """Keep other studies out of a folder. The lock is the kernel's: it is freed however this process ends."""
    lock = FileLock(run / "study.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(
            f"{run}: another study is at work in this folder", remedy="wait for it, or give another --out"
        ) from None
    except OSError as error:
        raise storage_error(run / "study.lock", error) from error
    try:
        yield
    finally:
        lock.release()


def _open_run(run: Path, task: Task, plan: Plan, elsewhere: str, sure: float | None) -> None:
    """Make a folder ready for a plan: a new one, or one of the same task."""
    before = read_run_record(run)
    if before is not None and before.task != task.name:
        raise RunError(
            f"{run}: holds a study of the task {before.task!r}", given=task.name, remedy="give another --out"
        )
    if before is None and (run / "trials.jsonl").exists():
        raise RunError(f"{run}: has trials but no run.json", remedy="give another --out")
    TrialLog(run / "trials.jsonl").mend()
    supply, rows = task.supply, task.supply.rows("test", task.answer.field)
    _write_items(run / "test.npz", {"items": rows, "groups": supply.groups[rows]})
    with writing(run):
        (run / "there.npz").unlink(missing_ok=True)
    if task.elsewhere is not None:
        there = task.elsewhere.rows("test", task.answer.field)
        _write_items(run / "there.npz", {"items": there, "groups": task.elsewhere.groups[there]})
    record = RunRecord(
        format=FORMAT,
        version=VERSION,
        task=task.name,
        source=task.source,
        answer=task.answer.field,
        unit=task.answer.unit,
        trivial=trivial_error(task, task.answer, rows),
        vary=plan.vary,
        budgets=plan.budgets,
        held=dict(plan.held),
        full={n: plan.budget(n) for n in plan.budgets},
        prices={f: supply.prices[f] for f in plan.held},
        signatures=task.signature,
        variants={v: tuple(map(_stage_record, c.stages)) for v, c in (task.variants | task.directs).items()},
        uses=_uses(task, plan),
        trials=tuple(s.id for s in plan.specs),
        elsewhere=elsewhere,
        noise=supply.noise,
        sure=sure,
    )
    write_json(run / "run.json", record.model_dump(mode="json"))


def _write_items(path: Path, items: Mapping[str, NDArray]) -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, **items)  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def _uses(task: Task, plan: Plan) -> dict[str, dict[str, tuple[str, ...]]]:
    uses: dict[str, dict[str, tuple[str, ...]]] = {}
    for s in plan.specs:
        uses.setdefault(s.variant, {})[s.regime] = fields_used(task, s.variant, s.regime)
    return uses


def _stage_record(stage: Stage) -> StageRecord:
    kind = type(stage).__name__.lower()
    return StageRecord(
        name=stage.name, kind=kind, inputs=stage.inputs, outputs=stage.outputs, signature=stage.signature
    )


def _clean(run: Path) -> None:
    """Remove what a process that was killed had half written, and what serves a study at work alone."""
    for folder in (run, run / "stages", run / "predictions"):
        for left in folder.glob(".*.[0-9]*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    shutil.rmtree(run / "supply", ignore_errors=True)
    for lock in (run / "stages").glob("*.lock"):
        lock.unlink(missing_ok=True)


@contextmanager
def _at_work(on: str, jobs: int | None, storage: str | None, gpus: float) -> Iterator[tuple[RunTrials, int]]:
    """How trials are run, and by how many workers."""
    if on == "processes":
        yield run_all, jobs or os.cpu_count() or 1
        return
    with connected():
        yield partial(run_on_ray, storage=storage, gpus=gpus), jobs or n_places(gpus)


def _run(
    run: Path,
    task: Task,
    plan: Plan,
    run_trials: RunTrials,
    n_jobs: int,
    quiet: bool,
    limit_s: float | None,
    sure: float | None,
) -> None:
    log, rounds = TrialLog(run / "trials.jsonl"), Rounds(run, task, plan, sure)
    with writing(run):
        _clean(run)
    try:
        with Progress(rounds.ahead, rounds.n_done, n_jobs, quiet, at_most=sure is not None) as progress:

            def finished(trial: Trial, seconds: float) -> None:
                log.append([trial])
                rounds.ended(trial)
                progress.finished(trial, seconds)

            def more() -> list[Spec]:
                specs = rounds.next()
                progress.expect(rounds.ahead)
                return specs

            if rounds.todo:
                run_trials(task, rounds.todo, run, n_jobs, finished, progress.at, more=more, limit_s=limit_s)
        if sure is not None:
            told = rounds.leave_out()
            if not quiet:
                print(f"stopped: {told}", file=sys.stderr)
    finally:
        with suppress(OSError):  # the next start tries again
            _clean(run)
