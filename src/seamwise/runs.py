"""Run: a folder of trials that a study wrote, read as a table."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from pydantic import BaseModel, ConfigDict

from seamwise.arrays import Float, NDArray
from seamwise.bootstrap import Bootstrap, Interval, wins
from seamwise.errors import RunError
from seamwise.items import LARGEST, Items, read_groups
from seamwise.trial import FolderRecord, Trial, TrialLog, did_not_train, read_record

if TYPE_CHECKING:
    from seamwise.advice import Advice
    from seamwise.task import Task

FORMAT = 2  # of a run folder
MOST_LABELS = 10**12

Row = tuple[str, str]
"""What is compared: (variant, regime)."""


class StageRecord(BaseModel):
    """A stage of a chain. kind: learned, designed, estimator or outside. Two with one signature are the same."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    signature: str


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
    variants: dict[str, tuple[StageRecord, ...]]  # and the direct networks
    uses: dict[str, dict[str, tuple[str, ...]]]  # {variant: {regime: the fields whose labels it trains on}}
    trials: tuple[str, ...]  # ids, in order
    elsewhere: str = ""  # where the examples of the trials' `shift` come from, as it was named; empty without
    noise: dict[str, float] = {}  # {field: how noisy its labels are}, as far as the supply knows
    sure: float | None = None  # the probability of the best way from which the study was to stop; None: run it all
    left_out: tuple[str, ...] = ()  # ids of trials that were not run because of that, once it stopped


@final
@dataclass(frozen=True)
class Study:
    """A run folder, read: its trials, and what they say."""

    run: Path
    record: RunRecord
    trials: tuple[Trial, ...]
    damaged: tuple[str, ...] = ()  # finished trials that count as not run: their per-item results cannot be read

    @cached_property
    def failed(self) -> list[Trial]:
        return [t for t in self.trials if t.status == "failed"]

    @cached_property
    def untrained(self) -> dict[str, str]:
        """Trials that did not train, by id, and why."""
        return did_not_train(self.trials)

    @cached_property
    def missing(self) -> list[str]:
        """Planned trials that are not run yet, or cannot be read; those left out on purpose are not among them."""
        known = {t.id for t in self.trials} | set(self.record.left_out)
        return [i for i in self.record.trials if i not in known]

    def only(self, ids: Collection[str]) -> "Study":
        """The same run with these trials alone. What was read of their items is shared."""
        study = replace(self, trials=tuple(t for t in self.trials if t.id in ids))
        vars(study).update(_items=self._items, bootstrap=self.bootstrap)
        return study

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

    def items(self, trial: Trial) -> Items:
        """A trial's per-item results (see seamwise.worker.save_items)."""
        return self._items.setdefault(trial.id, Items(self.run / "predictions" / f"{trial.id}.npz"))

    @cached_property
    def _items(self) -> dict[str, Items]:
        return {}

    @cached_property
    def bootstrap(self) -> Bootstrap:
        return Bootstrap(read_groups(self.run / "test.npz"))

    def draws(self, row: Row, n: int) -> Float[NDArray, " draws"]:
        """The mean error in each draw of the bootstrap, paired with those of other rows by seed and item."""
        seeds = sorted({t.seed for t in self.trials if t.status == "done"})
        errors = np.full((len(seeds), len(self.bootstrap.groups)), np.nan)
        for trial in self.at(row, n):
            errors[seeds.index(trial.seed)] = self.items(trial)["error"]
        return self.bootstrap.means(errors)

    def table(self) -> dict[Row, dict[int, Interval]]:
        """The mean error and its interval, by row and budget; a cell is missing where nothing is finished."""
        return {
            row: {n: self.bootstrap.interval(self.errors(row, n)) for n in self.record.budgets if self.at(row, n)}
            for row in self.rows
        }

    @cached_property
    def compared_at(self) -> int | None:
        """The largest budget at which as many rows are finished as at any; None where no trial is."""
        finished = {n: sum(bool(self.at(row, n)) for row in self.rows) for n in self.record.budgets}
        most = max(finished.values(), default=0)
        return max((n for n, count in finished.items() if count == most), default=None) if most else None

    def best(self, n: int | None = None, variant: str | None = None) -> tuple[Row, float]:
        """The row with the least error at a budget (`compared_at` by default), and how probably it is the best.

        variant: compare only that variant's regimes, and the direct networks. Raises RunError where no
        trial is finished there.
        """
        n = n or self.compared_at or self.record.budgets[-1]
        rows = [r for r in self.rows if self.at(r, n) and (variant is None or r[0] == variant or r[1] == "direct")]
        if not rows:
            raise RunError(f"{self.run}: no finished trial at {n} labels of {self.record.vary!r}")
        chances = wins(np.stack([self.draws(row, n) for row in rows]))
        least = int(np.argmin([self.errors(row, n).mean() for row in rows]))
        return rows[least], float(chances[least])

    def advise(self, at: Sequence[int] = (), prices: Mapping[str, float] | None = None) -> "Advice":
        """What the trials say; see seamwise.advice.advise."""
        from seamwise.advice import advise

        return advise(self, at, prices)

    def report(self, task: "Task | None" = None, advice: "Advice | None" = None) -> Path:
        """Write report.html: advice, figures, tables and example pictures. Returns its path."""
        from seamwise.report import write_report

        return write_report(self, task, advice)

    def _repr_html_(self) -> str:
        from seamwise.report import notebook_html

        return notebook_html(self)

    def __str__(self) -> str:
        from seamwise.report.text import as_text

        return as_text(self)


def open_run(run: str | Path) -> Study:
    """Read a run folder. Raises RunError where it is none, or of another version."""
    run = Path(run)
    record = read_run_record(run)
    if record is None:
        raise RunError(f"{run}: no run folder", given="no run.json", expected="a folder that a study wrote")
    log = TrialLog(run / "trials.jsonl")
    known = {t.id: t for t in log.read()}
    study = Study(run, record, tuple(known[i] for i in record.trials if i in known))
    for trial in study.trials:
        _check_trial(log.path, trial, record)
    damaged = tuple(t.id for t in study.trials if t.status == "done" and not _is_whole(study, t))
    return replace(study, trials=tuple(t for t in study.trials if t.id not in damaged), damaged=damaged)


def _is_whole(study: Study, trial: Trial) -> bool:
    try:
        errors = study.items(trial).numbers("error", len(study.bootstrap.groups))
    except (RunError, KeyError):
        return False
    return bool(np.isfinite(errors).all())


def _check_record(path: Path, record: RunRecord) -> None:
    """Raises RunError where the parts of `run.json` do not go together."""
    swept, full = record.budgets, record.full
    wrong = {
        "budgets": not swept or list(swept) != sorted(set(swept)) or not 0 < swept[0] <= swept[-1] <= MOST_LABELS,
        "vary": record.vary not in record.held,
        "held": not all(0 <= n <= MOST_LABELS for n in record.held.values()),
        "full": not set(swept) <= set(full)
        or any(b.keys() != record.held.keys() or b.get(record.vary) != n for n, b in full.items()),
        "prices": not all(math.isfinite(price) and price >= 0 for price in record.prices.values()),
        "trivial": not 0 <= record.trivial <= LARGEST,
    }
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        given, remedy = f"{name}: {getattr(record, name)!r}"[:200], "restore it, or give another folder"
        raise RunError(f"{path}: damaged", given=given, expected="what a study wrote", remedy=remedy)


def _check_trial(path: Path, trial: Trial, record: RunRecord) -> None:
    """Raises RunError where a trial is none of the study's, or a number of it cannot be."""
    stages, shift = trial.stages, trial.shift
    numbers = [trial.error, trial.trivial, trial.train_error, trial.latency_ms, trial.seconds, trial.n_steps]
    numbers += [seam.gradient for seam in trial.seams]
    numbers += [n for s in stages for n in (s.error, s.error_on_gold_input, s.trivial)]
    numbers += [trial.n_parameters, *([] if shift is None else [shift.error, shift.trivial, shift.retrained])]
    wrong = {
        "variant": trial.variant not in record.variants,
        "budget": trial.budget.keys() != record.held.keys() or trial.budget[record.vary] not in record.full,
        "seed": not 0 <= trial.seed < 2**63,
        "error": trial.status == "done" and trial.error is None,
        "numbers": not all(n is None or abs(n) <= LARGEST for n in numbers),
        "seams": not {s.writer for s in trial.seams} <= {s.name for s in record.variants.get(trial.variant, ())},
    }
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        given, remedy = f"{name}: {getattr(trial, name, numbers)!r}"[:200], "delete its line, then run the study again"
        expected = f"a trial of {record.task!r}, as run.json has it"
        raise RunError(f"{path}: trial {trial.id!r} does not fit", given=given, expected=expected, remedy=remedy)


def read_run_record(run: Path) -> RunRecord | None:
    """`run.json`; None where there is none. Raises RunError where it is of another version."""
    path = run / "run.json"
    if not path.exists():
        return None
    remedy = "give another --out, or open it with the version that wrote it"
    record = read_record(path, RunRecord, FORMAT, RunError, remedy)
    _check_record(path, record)
    return record


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
