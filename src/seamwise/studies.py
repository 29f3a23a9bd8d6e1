"""Study: run the trials of a plan in a folder, and resume them."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from seamwise.errors import RunError, TaskError
from seamwise.evaluate import N_SHOWN, trivial_error
from seamwise.plan import Plan, make_plan
from seamwise.pool import run_all
from seamwise.progress import Progress
from seamwise.runs import FORMAT, RunRecord, StageRecord, Study, open_run, read_run_record
from seamwise.stage import Stage
from seamwise.task import Task, load_task
from seamwise.trial import Trial, TrialLog, storage_error, write_json, write_whole
from seamwise.version import VERSION


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

    Killed at any moment, the same call goes on where it stopped. Raises InputError before anything is
    trained where task, budgets or folder do not fit.
    """
    if jobs is not None and jobs < 1:
        raise TaskError(f"{jobs} jobs", expected="1 or more")
    loaded = load_task(task) if isinstance(task, str) else task
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
    try:
        with FileLock(run / "study.lock", timeout=0):
            _open_run(run, loaded, plan)
            _run(run, loaded, plan, jobs or os.cpu_count() or 1, quiet)
    except Timeout:
        raise RunError(
            f"{run}: another study is at work in this folder", remedy="wait for it, or give another --out"
        ) from None
    result = open_run(run)
    result.report(loaded)
    return result


def _make_folder(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):
            pass
    except OSError as error:
        raise storage_error(run, error) from error


def _open_run(run: Path, task: Task, plan: Plan) -> None:
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
    shown = rows[:N_SHOWN]
    names = {*(f for c in (task.variants | task.directs).values() for f in (*c.inputs, *task.targets(c)))}
    kept: dict[str, Any] = {"items": rows, "groups": supply.groups[rows]}
    kept |= {f"shown.{f}": v.numpy() for f, v in supply.take(sorted(names), shown).items()}
    buffer = BytesIO()
    np.savez_compressed(buffer, **kept)
    write_whole(run / "test.npz", buffer.getvalue())
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
        trials=tuple(s.id for s in plan.specs),
    )
    write_json(run / "run.json", record.model_dump(mode="json"))


def _stage_record(stage: Stage) -> StageRecord:
    kind = type(stage).__name__.lower()
    return StageRecord(
        name=stage.name, kind=kind, inputs=stage.inputs, outputs=stage.outputs, signature=stage.signature
    )


def _run(run: Path, task: Task, plan: Plan, n_jobs: int, quiet: bool) -> None:
    log = TrialLog(run / "trials.jsonl")
    done = {t.id for t in log.read() if t.status == "done"}
    todo = [s for s in plan.specs if s.id not in done]
    for folder in (run, run / "stages", run / "predictions"):
        for left in folder.glob(".*.[0-9]*"):  # half written by a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    try:
        with Progress(todo, n_done=len(plan.specs) - len(todo), n_jobs=n_jobs, quiet=quiet) as progress:

            def finished(trial: Trial, seconds: float) -> None:
                log.append([trial])
                progress.finished(trial, seconds)

            if todo:
                run_all(task, todo, run, n_jobs, finished, progress.at)
    finally:
        shutil.rmtree(run / "supply", ignore_errors=True)
        for lock in (run / "stages").glob("*.lock"):
            lock.unlink(missing_ok=True)
