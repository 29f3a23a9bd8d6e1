"""Which way is best at which budget: measured where it was, forecast beyond, with its probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from seamwise.advice.numbers import close_to, full_name, grown, in_panel_order
from seamwise.advice.records import Best, Crossover, Outlook, Way
from seamwise.arrays import Float, NDArray
from seamwise.bootstrap import LEVEL, Interval, wins
from seamwise.forecast import Forecast, forecast
from seamwise.runs import Row, Study

FARTHEST = 16  # times the labels at hand
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
# What P(best) beyond the labels at hand is pooled of; chosen on the development tasks of benchmarks/advice.py.
FORECAST, TODAY, UNKNOWN = 0.4, 0.35, 0.25
MOST_DOUBLINGS = 2.0  # that a crossover's interval may span


def way_of(study: Study, row: Row) -> Way:
    """A row of the tables, as advice names it."""
    return Way(variant=row[0], regime=row[1], name=full_name(study, row))


def interval_of(draws: Float[NDArray, " draws"], mean: float | None = None) -> Interval:
    """The 90 % interval of some draws, around their mean or a given one."""
    low, high = (float(q) for q in np.quantile(draws, ENDS))
    mean = float(draws.mean()) if mean is None else mean
    return Interval(mean, min(low, mean), max(high, mean))


@final
@dataclass(frozen=True)
class Prospect:
    """One row's error at every budget, as paired draws [draws, budgets]; NaN where there is nothing to say."""

    row: Row
    draws: Float[NDArray, "draws budgets"]
    means: Float[NDArray, " budgets"]
    abstains: tuple[str, ...]  # why, a budget; empty where the forecast holds, or it was measured


@final
@dataclass(frozen=True)
class Outlooks:
    """Every row of a study at every budget of `at`, of which `measured` have finished trials."""

    study: Study
    at: tuple[int, ...]
    measured: frozenset[int]

    @cached_property
    def rows(self) -> list[Row]:
        return [row for row in in_panel_order(self.study) if any(self.study.at(row, n) for n in self.measured)]

    @cached_property
    def prospects(self) -> dict[Row, Prospect]:
        return {row: self._prospect(row, k) for k, row in enumerate(self.rows)}

    @cached_property
    def wins(self) -> Float[NDArray, "rows budgets"]:
        """The probability that a row has the least error of all that are known at a budget; a tie is shared.

        Beyond the labels at hand forecasts are too sure of who overtakes whom: their word is pooled with the order of
        today, and with not knowing, the more so the farther it is.
        """
        told = wins(np.stack([self.prospects[row].draws for row in self.rows]))
        known = np.isfinite(np.stack([self.prospects[row].means for row in self.rows]))
        top = self.at.index(max(self.measured))
        now = np.where(known, told[:, [top]], 0.0)
        now /= np.maximum(now.sum(0), 1e-12)
        doublings = np.maximum(np.log2(np.array(self.at) / self.at[top]), 0.0)
        doubt = doublings / (1 + doublings)
        pooled = FORECAST * told + TODAY * now + UNKNOWN * known / np.maximum(known.sum(0), 1)
        return np.asarray(np.where(doublings > 0, (1 - doubt) * now + doubt * pooled, told))

    def records(self) -> tuple[Outlook, ...]:
        """Budget by budget, every row."""
        return tuple(self._record(row, k, i) for k in range(len(self.at)) for i, row in enumerate(self.rows))

    def leaders(self) -> list[Row]:
        """The most probable best row at every budget; the one with the least error, of those equally probable."""
        means = np.stack([np.nan_to_num(self.prospects[row].means, nan=np.inf) for row in self.rows])
        order = np.lexsort((means, -self.wins), axis=0)[0]
        return [self.rows[i] for i in order]

    def _record(self, row: Row, k: int, i: int) -> Outlook:
        own = self.prospects[row]
        known = bool(np.isfinite(own.means[k]))
        return Outlook(
            way=way_of(self.study, row),
            n=self.at[k],
            measured=bool(self.study.at(row, self.at[k])),
            error=interval_of(own.draws[:, k], float(own.means[k])) if known else None,
            p_best=float(self.wins[i, k]) if known else 0.0,
            abstained=own.abstains[k],
        )

    def _beyond(self, last: int) -> tuple[list[int], list[int]]:
        """The places in `at` of the doublings up to 16 times the labels at hand, and of all that lies farther."""
        top = max(self.measured)
        doublings = {top * 2**k for k in range(1, FARTHEST.bit_length())} | self.measured
        places = range(last + 1, len(self.at))
        return [k for k in places if self.at[k] in doublings], [k for k in places if self.at[k] > FARTHEST * top]

    def _prospect(self, row: Row, seed: int) -> Prospect:
        study, n_at = self.study, len(self.at)
        draws, means = np.full((study.bootstrap.n_draws, n_at), np.nan), np.full(n_at, np.nan)
        there = [k for k, n in enumerate(self.at) if study.at(row, n)]
        for k in there:
            draws[:, k], means[k] = draws_at(study, row, self.at[k], seed), study.errors(row, self.at[k]).mean()
        abstains, last = [""] * n_at, there[-1]
        beyond, far = self._beyond(last)
        if is_constant(study, row):
            draws[:, last + 1 :], means[last + 1 :] = draws[:, [last]], means[last]
        else:
            for ks in filter(None, (beyond, far)):  # apart, so that what else is asked for changes no draw
                told = forecast_of(study, row, [self.at[k] for k in ks], seed)
                draws[:, ks], means[ks] = ahead(study, row, told)
                for k, abstained in zip(ks, told.abstains, strict=True):
                    abstains[k] = told.reason if abstained else ""
        for k, left, right in gaps(means):
            draws[:, k], means[k] = (between(self.at, k, left, right, values) for values in (draws, means))
            abstains[k] = abstains[right]
        return Prospect(row, draws, means, tuple(abstains))


def gaps(means: Float[NDArray, " budgets"]) -> list[tuple[int, int, int]]:
    """The places with nothing to say between two that have, and those two."""
    known = np.flatnonzero(np.isfinite(means)).tolist()
    inside = [k for k in range(len(means)) if k not in known and known and known[0] < k < known[-1]]
    return [(k, max(i for i in known if i < k), min(i for i in known if i > k)) for k in inside]


def between(
    at: Sequence[int], k: int, left: int, right: int, values: Float[NDArray, "*draws budgets"]
) -> Float[NDArray, "*draws"]:
    """Between two budgets: interpolated, straight over the logarithm of the labels."""
    share = np.log(at[k] / at[left]) / np.log(at[right] / at[left])
    return np.asarray((1 - share) * values[..., left] + share * values[..., right])


def scale(study: Study) -> float:
    """What errors are divided by for a forecast: the trivial predictor's."""
    return study.record.trivial or 1.0


def is_constant(study: Study, row: Row) -> bool:
    """Whether a row trains on nothing that is swept."""
    uses = study.record.uses.get(row[0], {}).get(row[1])
    return uses is not None and not set(grown(study)).intersection(uses)


def curve_of(study: Study, row: Row) -> tuple[list[int], Float[NDArray, "seeds budgets"]]:
    """Budgets and mean errors as shares of the trivial predictor's; NaN where a trial is missing or did not train."""
    budgets = [n for n in study.record.budgets if study.at(row, n)]
    seeds = sorted({t.seed for n in budgets for t in study.at(row, n)})
    error = np.full((len(seeds), len(budgets)), np.nan)
    for k, n in enumerate(budgets):
        for trial in study.at(row, n):
            if trial.id not in study.untrained and trial.error is not None:
                error[seeds.index(trial.seed), k] = trial.error / scale(study)
    return budgets, error


def forecast_of(study: Study, row: Row, at: Sequence[int], seed: int = 0) -> Forecast:
    """The forecast of a row's curve. Trials that did not train are left out."""
    budgets, error = curve_of(study, row)
    return forecast(np.array(budgets), error, np.array(at), seed=seed)


def draws_at(study: Study, row: Row, n: int, seed: int = 0) -> Float[NDArray, " draws"]:
    """A row's mean error at a measured budget.

    One seed, where the study has several, tells nothing of how much seeds differ: the rest of its curve has to.
    """
    trials = study.at(row, n)
    alone = len(trials) == 1 and len({t.seed for t in study.trials if t.status == "done"}) > 1
    if not alone or trials[0].id in study.untrained:
        return study.draws(row, n)
    budgets, error = curve_of(study, row)
    there = [k for k, m in enumerate(budgets) if m == n or not is_constant(study, row)]  # a constant's are all the same
    told = forecast(np.array(budgets)[there], error[:, there], np.array([n]), seed=seed)
    return ahead(study, row, told, n)[0][:, 0]


def ahead(
    study: Study, row: Row, told: Forecast, n: int | None = None
) -> tuple[Float[NDArray, "draws at"], Float[NDArray, " at"]]:
    """A forecast's draws and means as errors. n: the budget from which it is made, the row's last by default.

    The chance of the test items is added, the same for every row. A forecast is of trainings that train: as many as
    did not at the last budget do not beyond, with the error they have there.
    """
    n = n or max(n for n in study.record.budgets if study.at(row, n))
    errors = study.errors(row, n).mean(0, keepdims=True)
    chance = study.bootstrap.means(errors) - errors.mean()
    draws = np.maximum(told.sample(study.bootstrap.n_draws) * scale(study) + chance[:, None], 0.0)
    means = told.mean * scale(study)
    lost = [t for t in study.at(row, n) if t.id in study.untrained and t.error is not None]
    if lost:
        share = len(lost) / len(study.at(row, n))
        level = float(np.mean([t.error for t in lost]))
        shares = shares_of(study, row, n)
        draws = (1 - shares[:, None]) * draws + shares[:, None] * level
        means = (1 - share) * means + share * level
    return np.asarray(draws), np.asarray(means)


def shares_of(study: Study, row: Row, n: int) -> Float[NDArray, " draws"]:
    """The share of a row's trainings that did not train, in each draw of the bootstrap's seeds."""
    marks = [[float(t.id in study.untrained)] * len(study.bootstrap.groups) for t in study.at(row, n)]
    return np.asarray(np.minimum(study.bootstrap.means(np.array(marks)), 1.0))


def outlooks(study: Study, asked: Sequence[int] = ()) -> Outlooks | None:
    """At every measured budget, the doublings up to 16 times the largest, and those asked for; None without trials."""
    measured = [n for n in study.record.budgets if any(study.at(row, n) for row in study.rows)]
    if not measured:
        return None
    top = measured[-1]
    beyond = [top * 2**k for k in range(1, FARTHEST.bit_length())]
    at = sorted({*measured, *beyond, *(n for n in asked if n >= measured[0])})
    return Outlooks(study, tuple(at), frozenset(measured))


def best_now(study: Study) -> Best | None:
    """The best way with the labels at hand; None where no trial is finished."""
    n = study.compared_at
    if n is None:
        return None
    row, probability = study.best(n)
    error = study.bootstrap.interval(study.errors(row, n))
    return Best(
        way=way_of(study, row),
        n=n,
        error=error,
        probability=probability,
        n_compared=sum(bool(study.at(r, n)) for r in study.rows),
        close=tuple(way_of(study, r) for r in close_to(study, row, n)),
        worthless=error.high >= study.record.trivial,
    )


@final
@dataclass(frozen=True)
class Passing:
    """From how many labels on `after` is better than `before`, as the draws have it. Infinite: not within reach."""

    before: Row
    after: Row
    low: float
    middle: float
    high: float
    abstained: str

    @property
    def is_told(self) -> bool:
        """Whether the interval spans less than two doublings, and rests on no forecast that abstains."""
        if self.abstained or not np.isfinite(self.high) or self.low <= 0:
            return False
        return bool(np.log2(self.high / self.low) < MOST_DOUBLINGS)


def passings(found: Outlooks) -> list[Passing]:
    """Of every leader, and the leaders that come after it at larger budgets."""
    leaders = list(dict.fromkeys(found.leaders()))
    pairs = [(a, b) for i, a in enumerate(leaders) for b in leaders[i + 1 :]]
    return [_passing(found, before, after) for before, after in pairs]


def crossover(study: Study, told: Passing) -> Crossover:
    """A passing that is told, as advice has it."""
    return Crossover(
        before=way_of(study, told.before),
        after=way_of(study, told.after),
        n=round(told.middle),
        low=int(told.low),
        high=int(np.ceil(told.high)),
    )


def _passing(found: Outlooks, before: Row, after: Row) -> Passing:
    a, b = found.prospects[before], found.prospects[after]
    apart = b.draws - a.draws
    known = np.isfinite(apart).all(0)
    at = np.log2(np.array(found.at)[known])
    crossed = 2.0 ** crossings(at, apart[:, known])
    low, middle, high = np.quantile(crossed, [ENDS[0], 0.5, ENDS[1]], method="nearest")
    last = next((n for n in found.at if n >= high), found.at[-1])  # what the interval's end is drawn from
    reached = [k for k, n in enumerate(found.at) if low <= n <= last]
    why = next((p.abstains[k] for p in (b, a) for k in reached if p.abstains[k]), "")
    return Passing(before, after, float(low), float(middle), float(high), why)


def crossings(at: Float[NDArray, " budgets"], apart: Float[NDArray, "draws budgets"]) -> Float[NDArray, " draws"]:
    """Where each draw of a difference falls below 0 for good, interpolated; -inf where it always is, inf if never."""
    above = apart >= 0
    last = above.shape[1] - 1 - above[:, ::-1].argmax(1)  # the last budget at which it is not below
    where = np.full(len(apart), -np.inf)
    never = above[:, -1]
    some = above.any(1) & ~never
    k, rows = last[some], np.flatnonzero(some)
    left, right = apart[rows, k], apart[rows, k + 1]
    where[some] = at[k] + (at[k + 1] - at[k]) * left / (left - right)
    where[never] = np.inf
    return where
