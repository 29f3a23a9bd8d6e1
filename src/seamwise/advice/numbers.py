"""How the rows of a study are named and ordered, and what advice and report both count."""

from collections.abc import Iterable, Mapping, Sequence
from math import floor, isfinite, log10

import numpy as np

from seamwise.bootstrap import Interval
from seamwise.runs import Row, Study
from seamwise.trial import REGIMES, Trial

CLEAR = 0.9  # the probability of being the best from which it is called clear


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


def close_to(study: Study, best: Row, n: int) -> list[Row]:
    """The other rows at a budget whose difference from the best has an interval that holds 0, or cannot be paired."""
    others = [row for row in in_panel_order(study) if row != best and study.at(row, n)]
    apart = {row: difference(study, study.at(row, n), study.at(best, n)) for row in others}
    return [row for row, interval in apart.items() if interval is None or interval.low <= 0]


def grown(study: Study) -> list[str]:
    """The fields whose labels grow from budget to budget: the swept one, and those in proportion to it."""
    budgets, vary = study.record.full.values(), study.record.vary
    return [f for f in study.record.held if f == vary or len({b[f] for b in budgets}) > 1]


def notes(trials: Iterable[Trial]) -> Mapping[str, int]:
    """Every distinct note, and how many trials carry it."""
    counts: dict[str, int] = {}
    for trial in trials:
        for note in trial.notes:
            counts[note] = counts.get(note, 0) + 1
    return counts
