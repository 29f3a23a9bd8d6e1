"""Which trials to run next, so that the best way with the labels at hand is known for the least training.

The largest budget first, every way, one seed: no smaller one tells who leads there, as networks that learned nothing
with half of the labels may lead with all. Then one seed after another, only the ways that may still be the best. Last
what the choice needs not, and the rest of the advice does: the smaller budgets of the ways that ran longest, and half
the labels of the other fields for the best.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, final, runtime_checkable

import numpy as np

from seamwise.advice.numbers import full_name
from seamwise.advice.outlook import way_of
from seamwise.advice.records import Dropped, Stopped
from seamwise.arrays import Float, NDArray
from seamwise.bootstrap import wins
from seamwise.runs import Row, Study

FEWEST_SEEDS = 2  # of a way that is chosen: one tells nothing of how much seeds differ
USUAL, WEIGHT = 0.12, 4  # seeds differ by so much of the error, says experience with the weight of so many seeds
SMALL = 0.01  # of the trivial predictor's error: what errors near 0 differ by is no measure of seeds


@runtime_checkable
class Planned(Protocol):
    """A trial to be, as seamwise.worker.Spec is one."""

    @property
    def id(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def regime(self) -> str: ...
    @property
    def budget(self) -> Mapping[str, int]: ...
    @property
    def seed(self) -> int: ...


@final
@dataclass(frozen=True)
class Standing:
    """What is known of the largest budget.

    best: the way with the least error there; None: no trial is finished there
    probability: that no way is better. chances: that a way has the least error, a tie shared
    """

    best: Row | None
    probability: float
    chances: Mapping[Row, float]


def standing(study: Study, rows: Iterable[Row]) -> Standing:
    """Of these rows, as far as trials of theirs are finished at the largest budget."""
    top = max(study.record.budgets)
    finished = [row for row in rows if study.at(row, top)]
    if not finished:
        return Standing(None, 0.0, {})
    draws = _draws(study, finished, top)
    chances = dict(zip(finished, wins(draws).tolist(), strict=True))
    best = min(finished, key=lambda row: float(study.errors(row, top).mean()))
    unbeaten = np.isclose(draws[finished.index(best)], draws.min(0), rtol=1e-9, atol=0)
    return Standing(best, float(unbeaten.mean()), chances)


def _draws(study: Study, rows: Sequence[Row], n: int) -> Float[NDArray, "rows draws"]:
    """Each row's mean error: the test items drawn again, the same for all, and what seeds do to it.

    How much seeds differ is one number for all rows, a share of the error: few seeds of one row would tell little.
    """
    errors = [study.errors(row, n) for row in rows]
    means = [e.mean(1) for e in errors]
    small = max(SMALL * study.record.trivial, 1e-9)
    residuals = [np.log((m + small) / (m.mean() + small)) for m in means]
    freedom = WEIGHT + sum(len(m) - 1 for m in means)
    spread = np.sqrt((WEIGHT * USUAL**2 + sum(float((r**2).sum()) for r in residuals)) / freedom)
    half = (
        0.5 * max(float(e.max()) for e in errors) / errors[0].shape[1]
    )  # an item: no error at all is no proof of none
    return np.stack([_drawn(study, e, spread / np.sqrt(len(e)), half) for e in errors])


def _drawn(study: Study, errors: Float[NDArray, "seeds items"], spread: float, half: float) -> Float[NDArray, " draws"]:
    """Rows that answer alike share their chance: they need not be told apart."""
    rng = np.random.default_rng(zlib.crc32(errors.tobytes()))
    noise = rng.standard_normal(study.bootstrap.n_draws) * spread
    return np.asarray((study.bootstrap.means(errors.mean(0, keepdims=True)) + half) * np.exp(noise))


def stopped(study: Study) -> Stopped | None:
    """What a study left out because it was sure; None where it left out nothing, or is not finished."""
    record, left_out = study.record, set(study.record.left_out) - {t.id for t in study.trials}
    if record.sure is None or not left_out or study.missing:
        return None
    top = max(record.budgets)
    n_tried = {row: sum(t.row == row and t.budget == record.full[top] for t in study.trials) for row in study.rows}
    now = standing(study, study.rows)
    if now.best is None:
        return None
    dropped = [row for row in study.rows if n_tried[row] < max(n_tried.values())]
    return Stopped(
        way=way_of(study, now.best),
        sure=record.sure,
        probability=now.probability,
        n=top,
        n_left_out=len(left_out),
        n_planned=len(record.trials),
        dropped=tuple(
            Dropped(way=way_of(study, row), p_best=now.chances.get(row, 0.0))
            for row in sorted(dropped, key=lambda row: -now.chances.get(row, 0.0))
        ),
    )


@final
@dataclass(frozen=True)
class Round:
    """What to run next, and what is known before it.

    trials: ids, in the order of the plan; none: the race is over. ahead: ids of all that may run yet, these among them
    racing: the ways that may still be the best. why: in words, why nothing more is run; empty before the end
    """

    trials: tuple[str, ...]
    ahead: tuple[str, ...]
    standing: Standing
    racing: tuple[Row, ...]
    why: str = ""


def next_round(study: Study, planned: Sequence[Planned], sure: float) -> Round:
    """The trials to run next, or the end: no way is better at the largest budget, with probability `sure` or more.

    study: what is finished, failed trials too. planned: every trial of the study. The race is run again from its start
    on the trials that each round asks for: when a study was stopped, and in which order trials ended, changes nothing.
    """
    race = _Race(study, tuple(planned), sure)
    finished = {t.id for t in study.trials}
    while True:
        found = race.round
        missing = tuple(i for i in found.trials if i not in finished)
        if missing or not found.trials:
            return replace(found, trials=missing)
        race = race.after(found)


@final
@dataclass(frozen=True)
class _Race:
    """How it stands once the trials in `seen`, all that were asked for so far, are finished."""

    all: Study
    planned: tuple[Planned, ...]
    sure: float
    seen: frozenset[str] = frozenset()

    def after(self, found: Round) -> "_Race":
        return replace(self, seen=self.seen.union(found.trials))

    @property
    def round(self) -> Round:
        trials = [] if self.is_over else self.next_trials
        ahead = [t for row in self.racing for t in self.left(row)] if trials else []
        rest = [*self.curves, *self.halvings]
        trials = trials or rest
        why = "" if trials else self.why
        return Round(self._ids(trials), self._ids([*ahead, *rest]), self.standing, tuple(self.racing), why)

    def _ids(self, trials: Iterable[Planned]) -> tuple[str, ...]:
        ids = {t.id for t in trials}
        return tuple(t.id for t in self.planned if t.id in ids)

    @cached_property
    def study(self) -> Study:
        return self.all.only(self.seen)

    @cached_property
    def budgets(self) -> list[int]:
        return sorted(self.study.record.budgets)

    @cached_property
    def cells(self) -> dict[Row, dict[int, list[Planned]]]:
        """The planned trials of every row at every budget, seed by seed; halvings are not among them."""
        cells: dict[Row, dict[int, list[Planned]]] = {}
        for trial in sorted(self.planned, key=lambda t: t.seed):
            row = cells.setdefault((trial.variant, trial.regime), {n: [] for n in self.budgets})
            for n in self.budgets:
                if dict(trial.budget) == self.study.record.full[n]:
                    row[n].append(trial)
        return cells

    def course(self, row: Row) -> list[Planned]:
        """What may be run of a way, in order: a first seed at each smaller budget, every seed at the largest."""
        return self.cells[row][self.budgets[-1]]

    def left(self, row: Row) -> list[Planned]:
        return [t for t in self.course(row) if t.id not in self.seen]

    @cached_property
    def standing(self) -> Standing:
        """Of the ways with a trial at the largest budget, finished or still to be run."""
        top = self.budgets[-1]
        return standing(self.study, [row for row in self.cells if self.study.at(row, top)])

    @cached_property
    def racing(self) -> list[Row]:
        """Without the least probable ways, as many as are the best with 1 - sure or less together.

        `tuned` starts from what `independent` trained: it stays while that does.
        """
        if not self.seen:
            return list(self.cells)
        chances = self.standing.chances
        order = sorted(chances, key=lambda row: chances[row])
        together = np.cumsum([chances[row] for row in order])
        racing = {row for row, p in zip(order, together, strict=True) if p > 1 - self.sure}
        racing |= {(v, "tuned") for v, regime in racing if regime == "independent"} & chances.keys()
        racing |= {row for row in self.cells if row not in chances and 0 < self.n_tried(row) < FEWEST_SEEDS}  # failed
        return [row for row in self.cells if row in racing]

    @property
    def next_trials(self) -> list[Planned]:
        """The next seed at the largest budget, of the ways that race."""
        left = {row: own for row in self.racing if (own := self.left(row))}
        far = {row: len(self.course(row)) - len(own) for row, own in left.items()}
        return [left[row][0] for row in left if far[row] == min(far.values())]

    @property
    def curves(self) -> list[Planned]:
        """A first seed at each smaller budget, of the ways with as many seeds at the largest as any has."""
        most = max(self.n_tried(row) for row in self.cells)
        rows = [r for r in self.cells if self.n_tried(r) == most and self.study.at(r, self.budgets[-1])]
        own = [t for row in rows for n in self.budgets[:-1] for t in self.cells[row][n][:1]]
        return [t for t in own if t.id not in self.seen]

    def n_tried(self, row: Row) -> int:
        """Seeds at the largest budget, failed ones too."""
        return sum(t.id in self.seen for t in self.cells[row][self.budgets[-1]])

    @property
    def is_over(self) -> bool:
        """Whether the choice is made: from two seeds at the largest budget on, of every way that races."""
        done = {row: len(self.study.at(row, self.budgets[-1])) for row in self.racing}
        enough = all(n >= min(FEWEST_SEEDS, n + len(self.left(row))) for row, n in done.items())
        return bool(self.seen) and enough and self.standing.probability >= self.sure

    @cached_property
    def halvings(self) -> list[Planned]:
        """Half of another field's labels: of the best way alone, the seeds that it has with all of them."""
        best, full = self.standing.best, list(self.study.record.full.values())
        seeds = {t.seed for t in self.study.at(best, self.budgets[-1])} if best else set()
        own = [t for t in self.planned if (t.variant, t.regime) == best and t.seed in seeds]
        return [t for t in own if dict(t.budget) not in full and t.id not in self.seen]

    @property
    def why(self) -> str:
        best, p = self.standing.best, self.standing.probability
        if best is None:
            return "no trial could be finished"
        where = f"{self.budgets[-1]:,} labels of {self.study.record.vary}"
        told = f"{full_name(self.study, best)} is the best at {where} with probability {p:.2f}"
        return (
            told if p >= self.sure else f"{told}, short of {self.sure:g}, and no planned trial would tell more of that"
        )
