"""What a report says, as records: the numbers, before anything is drawn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import final

import numpy as np

from seamwise.bootstrap import Interval
from seamwise.runs import Row, Study
from seamwise.trial import REGIMES, Trial

CLEAR = 0.9  # the probability of being the best from which the report calls it clear


def name_of(row: Row) -> str:
    """A row's name within its panel: the regime; of a direct network, which one."""
    variant, regime = row
    if regime != "direct":
        return regime
    return "direct" if variant == "direct" else f"direct: {variant}"


def full_name(study: Study, row: Row) -> str:
    """A row's name where it stands alone: with its variant, where there are several."""
    several = len({variant for variant, regime in study.rows if regime != "direct"}) > 1
    return f"{row[0]}: {row[1]}" if several and row[1] != "direct" else name_of(row)


def panels(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """{variant: its rows, then the direct networks'}; the direct networks alone where there is no chain."""
    rows = sorted(rows, key=lambda row: REGIMES.index(row[1]))
    direct = [row for row in rows if row[1] == "direct"]
    chains = list(dict.fromkeys(row[0] for row in rows if row[1] != "direct"))
    return {v: [row for row in rows if row[0] == v and row[1] != "direct"] + direct for v in chains} or (
        {"direct": direct} if direct else {}
    )


def in_panel_order(study: Study) -> list[Row]:
    """Every row once: variant by variant, the direct networks last."""
    return sorted(study.rows, key=lambda row: (row[1] == "direct", list(study.record.variants).index(row[0])))


def n_decimals(scale: float) -> int:
    """Decimals that show three digits of an error as large as the trivial predictor's."""
    return min(6, max(0, 2 - floor(log10(scale)))) if isfinite(scale) and scale > 0 else 3


def halved_field(study: Study, trial: Trial) -> str:
    """The field that has half its labels in this trial, else empty."""
    full = study.record.full[trial.budget[study.record.vary]]
    return next((f for f, n in trial.budget.items() if n < full[f]), "")


def top(study: Study) -> int | None:
    """The largest budget at which a trial is finished."""
    return max((t.budget[study.record.vary] for t in study.trials if t.status == "done"), default=None)


def planned(study: Study, row: Row, n: int) -> list[Trial]:
    """The trials of a row at one budget that were run, failed ones too; halvings are not among them."""
    at = [t for t in study.trials if t.row == row and t.budget[study.record.vary] == n]
    return [t for t in at if not halved_field(study, t)]


def difference(study: Study, a: Sequence[Trial], b: Sequence[Trial]) -> Interval | None:
    """The error of a less that of b, paired by seed and test item; None where they have no seed in common."""
    of_a, of_b = ({t.seed: t for t in trials} for trials in (a, b))
    seeds = sorted(of_a.keys() & of_b.keys())
    if not seeds:
        return None
    pairs = [study.items(of_a[s])["error"].astype(np.float64) - study.items(of_b[s])["error"] for s in seeds]
    return study.bootstrap.interval(np.stack(pairs))


@final
@dataclass(frozen=True)
class Verdict:
    """The row with the least error among a variant's regimes and the direct networks, at one budget.

    close: the rows whose difference from it has an interval that holds 0.
    """

    variant: str
    n: int
    row: Row
    error: Interval
    probability: float
    n_rows: int
    close: tuple[Row, ...]

    @property
    def clear(self) -> bool:
        return self.probability >= CLEAR


def verdicts(study: Study) -> list[Verdict]:
    """One a variant, at its largest budget with a finished trial; none where no trial is finished."""
    found = (_verdict(study, variant, rows) for variant, rows in panels(study.rows).items())
    return [v for v in found if v is not None]


def _verdict(study: Study, variant: str, rows: list[Row]) -> Verdict | None:
    n = max((n for n in study.record.budgets for row in rows if study.at(row, n)), default=None)
    if n is None:
        return None
    row, probability = study.best(n, variant)
    there = [r for r in rows if study.at(r, n)]
    apart = {r: difference(study, study.at(r, n), study.at(row, n)) for r in there if r != row}
    close = tuple(r for r, interval in apart.items() if interval is None or interval.low <= 0)
    error = study.bootstrap.interval(study.errors(row, n))
    return Verdict(variant, n, row, error, probability, len(there), close)


@final
@dataclass(frozen=True)
class Halving:
    """A row's error with half the labels of one other field. more: that error less the full one, paired."""

    field: str
    n: int
    n_half: int
    row: Row
    full: Interval
    half: Interval
    more: Interval


def halvings(study: Study) -> list[Halving]:
    """At the largest budget, for every field that was halved and every row that has it."""
    by_cell: dict[tuple[str, Row], list[Trial]] = {}
    for trial in study.trials:
        field = halved_field(study, trial)
        if field and trial.status == "done":
            by_cell.setdefault((field, trial.row), []).append(trial)
    found = [_halving(study, field, row, half) for (field, row), half in by_cell.items()]
    order = in_panel_order(study)
    return sorted((h for h in found if h is not None), key=lambda h: (h.field, order.index(h.row)))


def _halving(study: Study, field: str, row: Row, half: list[Trial]) -> Halving | None:
    full = study.at(row, half[0].budget[study.record.vary])
    more = difference(study, half, full)
    if more is None:
        return None
    of_full, of_half = (
        study.bootstrap.interval(np.stack([study.items(t)["error"].astype(np.float64) for t in trials]))
        for trials in (full, half)
    )
    return Halving(field, full[0].budget[field], half[0].budget[field], row, of_full, of_half, more)


@final
@dataclass(frozen=True)
class StageError:
    """A stage's error in the chain and on gold input, the mean over the seeds."""

    row: Row
    stage: str
    field: str
    error: float
    on_gold_input: float | None
    trivial: float
    unit: str


def stage_errors(study: Study) -> list[StageError]:
    """At the largest budget, of the chains: every stage that has a target with test labels."""
    n = top(study)
    rows = [row for row in in_panel_order(study) if row[1] != "direct" and n is not None]
    return [score for row in rows for score in _stage_errors(row, study.at(row, n or 0))]


def _stage_errors(row: Row, trials: Sequence[Trial]) -> list[StageError]:
    found = []
    for place in range(min((len(t.stages) for t in trials), default=0)):
        scores = [t.stages[place] for t in trials]
        gold = [s.error_on_gold_input for s in scores if s.error_on_gold_input is not None]
        first, error = scores[0], float(np.mean([s.error for s in scores]))
        on_gold = float(np.mean(gold)) if gold else None
        found.append(StageError(row, first.stage, first.field, error, on_gold, first.trivial, first.unit))
    return found


@final
@dataclass(frozen=True)
class Cost:
    """What a row costs, the mean over the seeds."""

    row: Row
    n_seeds: int
    seconds: float
    n_steps: float
    n_parameters: float
    latency_ms: float | None


def costs(study: Study) -> list[Cost]:
    """At the largest budget."""
    n = top(study)
    cells = [(row, study.at(row, n)) for row in in_panel_order(study)] if n is not None else []
    return [_cost(row, trials) for row, trials in cells if trials]


def _cost(row: Row, trials: Sequence[Trial]) -> Cost:
    latencies = [t.latency_ms for t in trials if t.latency_ms is not None]
    seconds, n_steps, n_parameters = np.mean([(t.seconds, t.n_steps, t.n_parameters) for t in trials], axis=0)
    latency_ms = float(np.mean(latencies)) if latencies else None
    return Cost(row, len(trials), float(seconds), float(n_steps), float(n_parameters), latency_ms)


def notes(trials: Iterable[Trial]) -> Mapping[str, int]:
    """Every distinct note, and how many trials carry it."""
    counts: dict[str, int] = {}
    for trial in trials:
        for note in trial.notes:
            counts[note] = counts.get(note, 0) + 1
    return counts
