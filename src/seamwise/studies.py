"""Study: run the trials of a plan in a folder, resume them, and read them as a table."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, final

import numpy as np
from filelock import FileLock, Timeout

from seamwise.bootstrap import Bootstrap, Interval
from seamwise.errors import RunError, TaskError
from seamwise.evaluate import N_SHOWN, trivial_error
from seamwise.plan import Plan, make_plan
from seamwise.pool import run_all
from seamwise.progress import Progress
from seamwise.shapes import Float, NDArray
from seamwise.task import Task, load_task
from seamwise.trial import (
    FolderRecord,
    Trial,
    TrialLog,
    did_not_train,
    read_record,
    storage_error,
    write_json,
    write_whole,
)
from seamwise.version import VERSION

FORMAT = 1  # of a run folder

Row = tuple[str, str]
"""What is compared: (variant, regime)."""


class RunRecord(FolderRecord):
    """`run.json`: what a run folder is about."""

    task: str
    source: str  # to load the task again; empty where it came from memory
    answer: str
    unit: str
    trivial: float
    vary: str
    budgets: tuple[int, ...]
    held: dict[str, int]
    full: dict[int, dict[str, int]]  # by budget of the swept field: every field's labels, none halved
    prices: dict[str, float]
    signatures: dict[str, str]
    variants: dict[str, tuple[str, ...]]  # the stages' names; of the direct networks too
    trials: tuple[str, ...]  # ids, in order


@final
@dataclass(frozen=True)
class Study:
    """A run folder, read: its trials, and what they say."""

    run: Path
    record: RunRecord
    trials: tuple[Trial, ...]

    @cached_property
    def failed(self) -> list[Trial]:
        return [t for t in self.trials if t.status == "failed"]

    @cached_property
    def untrained(self) -> dict[str, str]:
        """Trials that did not train, by id, and why."""
        return did_not_train(self.trials)

    @property
    def rows(self) -> list[Row]:
        """What was compared, in the order of the plan."""
        return list(dict.fromkeys(t.row for t in self.trials))

    def at(self, row: Row, n: int) -> list[Trial]:
        """The finished trials of a row at one budget of the swept field, every other field at its largest."""
        full = self.record.full.get(n)
        return [t for t in self.trials if t.row == row and t.status == "done" and t.budget == full]

    def errors(self, row: Row, n: int) -> Float[NDArray, "seeds items"]:
        """Each test item's error, by seed."""
        trials = sorted(self.at(row, n), key=lambda t: t.seed)
        return np.stack([self.items(t)["error"] for t in trials]).astype(np.float64)

    def items(self, trial: Trial) -> dict[str, NDArray]:
        """A trial's per-item results (see seamwise.worker.save_items)."""
        with np.load(self.run / "predictions" / f"{trial.id}.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    @cached_property
    def bootstrap(self) -> Bootstrap:
        with np.load(self.run / "test.npz", allow_pickle=False) as file:
            return Bootstrap(file["groups"])

    def table(self) -> dict[Row, dict[int, Interval]]:
        """The mean error and its interval, by row and budget; a cell is missing where nothing is finished."""
        return {
            row: {n: self.bootstrap.interval(self.errors(row, n)) for n in self.record.budgets if self.at(row, n)}
            for row in self.rows
        }

    def best(self, n: int | None = None, variant: str | None = None) -> tuple[Row, float]:
        """The row with the least error at a budget (the largest by default), and how probably it is the best.

        variant: compare only that variant's regimes, and the direct networks. Raises RunError where no
        trial is finished there.
        """
        n = n or self.record.budgets[-1]
        rows = [r for r in self.rows if self.at(r, n) and (variant is None or r[0] == variant or r[1] == "direct")]
        if not rows:
            raise RunError(f"{self.run}: no finished trial at {n} labels of {self.record.vary!r}")
        draws = np.stack([self.bootstrap.means(self.errors(row, n)) for row in rows])
        means = [float(self.errors(row, n).mean()) for row in rows]
        least = int(np.argmin(means))
        wins = np.isclose(draws, draws.min(0)) / np.isclose(draws, draws.min(0)).sum(0)  # a tie is shared
        return rows[least], float(wins[least].mean())

    def report(self, task: Task | None = None) -> Path:
        """Write report.html: the table, the learning curves and example pictures. Returns its path."""
        from seamwise.report import write_report

        return write_report(self, task)

    def _repr_html_(self) -> str:
        from seamwise.report import notebook_html

        return notebook_html(self)

    def __str__(self) -> str:
        from seamwise.report.text import as_text

        return as_text(self)


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


def open_run(run: str | Path) -> Study:
    """Read a run folder. Raises RunError where it is none, or of another version."""
    run = Path(run)
    record = _read_record(run)
    if record is None:
        raise RunError(f"{run}: no run folder", given="no run.json", expected="a folder that a study wrote")
    known = {t.id: t for t in TrialLog(run / "trials.jsonl").read()}
    return Study(run, record, tuple(known[i] for i in record.trials if i in known))


def _make_folder(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):
            pass
    except OSError as error:
        raise storage_error(run, error) from error


def _read_record(run: Path) -> RunRecord | None:
    path = run / "run.json"
    if not path.exists():
        return None
    remedy = "give another --out, or open it with the version that wrote it"
    return read_record(path, RunRecord, FORMAT, RunError, remedy)


def _open_run(run: Path, task: Task, plan: Plan) -> None:
    """Make a folder ready for a plan: a new one, or one of the same task."""
    before = _read_record(run)
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
        variants={v: tuple(s.name for s in c.stages) for v, c in (task.variants | task.directs).items()},
        trials=tuple(s.id for s in plan.specs),
    )
    write_json(run / "run.json", record.model_dump(mode="json"))


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


def curves(result: Study) -> list[dict[str, Any]]:
    """The learning curves as records: variant, regime, n, mean, low, high, and how many trials did not train."""
    return [
        {
            "variant": row[0],
            "regime": row[1],
            "n": n,
            "mean": cell.mean,
            "low": cell.low,
            "high": cell.high,
            "untrained": sum(t.id in result.untrained for t in result.at(row, n)),
        }
        for row, cells in result.table().items()
        for n, cell in cells.items()
    ]
