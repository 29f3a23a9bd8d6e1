"""What each stage costs the answer, and how errors accumulate along a chain.

Source: Koh et al. 2020 for interventions on a concept; Shapley 1953 for perfect stages. Differs: pins are prefixes, in
the order of the chain, so that no order is to be averaged over; and none is believed where training moved a seam away
from what its labels mean.
"""

from collections.abc import Sequence

import numpy as np

from seamwise.advice.numbers import in_panel_order
from seamwise.advice.outlook import interval_of, way_of
from seamwise.advice.records import Chained, StageCost
from seamwise.arrays import Float, NDArray
from seamwise.bootstrap import Bootstrap, Interval
from seamwise.runs import Row, Study
from seamwise.trial import StageScore, Trial

DRIFT = 0.05  # of the trivial predictor's error: a stage whose own error rose by more has left its meaning
HALF = 0.5  # of it: from where a stage's output is not taken for its label, where nothing is there to compare with
BY_THE_ANSWER = ("tuned", "joint", "endtoend")


def stage_costs(study: Study) -> tuple[StageCost, ...]:
    """Of every chain, at the largest budget, stage by stage."""
    return tuple(cost for row, trials in _chains(study) for cost in _stage_costs(study, row, trials))


def chained(study: Study, costs: Sequence[StageCost]) -> tuple[Chained, ...]:
    """Of every chain, at the largest budget. costs: of its stages; what refuses their pins refuses the chain's."""
    refused = {(c.way.variant, c.way.regime): c.refused for c in costs if c.refused}
    return tuple(_chained(study, row, trials, refused.get(row, "")) for row, trials in _chains(study))


def stacked(study: Study, trials: Sequence[Trial], name: str) -> Float[NDArray, "seeds items"] | None:
    """A per-item result of some trials; None where one of them has it not."""
    kept = [study.items(t) for t in trials]
    if not kept or not all(name in items for items in kept):
        return None
    return np.stack([items.numbers(name, len(study.bootstrap.groups)) for items in kept])


def interval_over(study: Study, values: Float[NDArray, "seeds items"] | None) -> Interval | None:
    """The mean over the items that are known in every seed, with its interval; None where there are none."""
    if values is None:
        return None
    known = np.isfinite(values).all(0)
    return _bootstrap(study, known).interval(values[:, known]) if known.any() else None


def _bootstrap(study: Study, known: NDArray) -> Bootstrap:
    return study.bootstrap if known.all() else Bootstrap(study.bootstrap.groups[known])


def _chains(study: Study) -> list[tuple[Row, list[Trial]]]:
    n = study.compared_at
    rows = [row for row in in_panel_order(study) if row[1] != "direct" and n is not None]
    found = [(row, sorted(study.at(row, n or 0), key=lambda t: t.seed)) for row in rows]
    return [(row, trials) for row, trials in found if trials and trials[0].stages]


def _stage_costs(study: Study, row: Row, trials: Sequence[Trial]) -> list[StageCost]:
    costs, refused = [], ""
    plain = before = stacked(study, trials, "error")
    for place, score in enumerate(trials[0].stages):
        field, is_answer = score.field, score.field == study.record.answer
        refused = refused or _drift(study, row, trials, score)
        pinned = stacked(study, trials, f"pinned.{field}")
        alone = stacked(study, trials, f"alone.{field}")
        spread = stacked(study, trials, f"spread.{field}")
        scores = [t.stages[place] for t in trials if len(t.stages) > place]
        gold = [s.error_on_gold_input for s in scores if s.error_on_gold_input is not None]
        own = interval_over(study, stacked(study, trials, f"error.{field}"))
        if own is None:
            continue
        costs.append(
            StageCost(
                way=way_of(study, row),
                stage=score.stage,
                field=field,
                unit=score.unit,
                own=own,
                on_gold=float(np.mean(gold)) if gold else None,
                trivial=score.trivial,
                pinned=None if refused or is_answer else interval_over(study, _less(before, pinned)),
                marginal=None if refused or is_answer else interval_over(study, _less(plain, alone)),
                perfect=None if refused else interval_over(study, stacked(study, trials, f"perfect.{score.stage}")),
                spread=None if refused else _root(interval_over(study, spread)),
                exposure=_exposure(study, row, field),
                refused=refused,
            )
        )
        before = pinned if pinned is not None else before
    return costs


def _less(
    a: Float[NDArray, "seeds items"] | None, b: Float[NDArray, "seeds items"] | None
) -> Float[NDArray, "seeds items"] | None:
    return None if a is None or b is None else a - b


def _root(interval: Interval | None) -> Interval | None:
    """Of a mean square, in the unit itself."""
    if interval is None:
        return None
    return Interval(*(float(np.sqrt(max(v, 0.0))) for v in (interval.mean, interval.low, interval.high)))


def _drift(study: Study, row: Row, trials: Sequence[Trial], score: StageScore) -> str:
    """Why a field does not mean any more what its labels mean, else empty: its own error rose by training."""
    if row[1] not in BY_THE_ANSWER or score.field == study.record.answer:
        return ""
    told = f"{score.stage!r} writes {score.field!r} with an error of"
    alone = {t.seed: t for t in study.at((row[0], "independent"), trials[0].budget[study.record.vary])}
    both = [(t, alone[t.seed]) for t in trials if t.seed in alone]
    name = f"error.{score.field}"
    if not both:
        own = float(np.mean([s.error for t in trials for s in t.stages if s.field == score.field]))
        if own < HALF * score.trivial:
            return ""
        return f"{told} {own:.3g} (without looking {score.trivial:.3g}), and no independent training to compare with"
    ours, theirs = (stacked(study, side, name) for side in zip(*both, strict=True))
    rise = interval_over(study, _less(ours, theirs))
    if ours is None or theirs is None or rise is None or rise.mean <= DRIFT * score.trivial:
        return ""
    return f"{told} {np.nanmean(ours):.3g}, trained alone {np.nanmean(theirs):.3g}: it left what its labels mean"


def _exposure(study: Study, row: Row, field: str) -> Interval | None:
    """A stage's error in the chain, trained on gold input, less trained on cross-fitted predictions, paired by seed."""
    n = study.compared_at
    if row[1] != "independent" or n is None:
        return None
    by_seed = {t.seed: t for t in study.at((row[0], "sequential"), n)}
    both = [(t, by_seed[t.seed]) for t in study.at(row, n) if t.seed in by_seed]
    if not both or all(t.trainings == s.trainings for t, s in both):
        return None
    gold, fitted = (stacked(study, side, f"error.{field}") for side in zip(*both, strict=True))
    return interval_over(study, _less(gold, fitted))


def _chained(study: Study, row: Row, trials: Sequence[Trial], refused: str) -> Chained:
    errors = stacked(study, trials, "error")
    assert errors is not None
    pins = [s.field for s in trials[0].stages if s.field != study.record.answer]
    labelled = [*pins, study.record.answer]  # a designed stage that writes the answer may err on gold input too
    pinned = [found for f in pins if (found := stacked(study, trials, f"pinned.{f}")) is not None]
    rest = interval_over(study, pinned[-1]) if pinned else None
    start = interval_over(study, errors + 0 * pinned[0]) if pinned else None  # NaN where a gold is missing
    gold_items = int(np.isfinite(pinned[0]).all(0).sum()) if pinned else 0
    wrong = [stacked(study, trials, f"wrong.{f}") for f in labelled]
    if refused:
        rest = None
    elif any(w is None for w in wrong):
        which = ", ".join(f for f, w in zip(labelled, wrong, strict=True) if w is None)
        refused = f"the error of {which} is no rate of wrong items"
    elif not np.isin(errors, (0, 1)).all():
        refused = f"the error of {study.record.answer} is no rate of wrong items"
    ratio = None if refused else _compounding(study, errors, [w for w in wrong if w is not None])
    if ratio is None:
        refused = refused or "on gold input the stages are hardly ever wrong"
    error = study.bootstrap.interval(errors)
    told = {"gold_items": gold_items, "start": start, "rest": rest, "compounding": ratio, "refused": refused}
    return Chained.model_validate({"way": way_of(study, row), "error": error} | told)


def _compounding(
    study: Study, errors: Float[NDArray, "seeds items"], wrong: Sequence[Float[NDArray, "seeds items"]]
) -> Interval | None:
    """The chain's error over what independent stages would make of theirs: 1 - product(1 - e_i)."""
    known = np.isfinite(np.stack(wrong)).all((0, 1))
    if not known.any():
        return None
    draw = _bootstrap(study, known)
    right, right_mean = np.ones(draw.n_draws), 1.0
    for w in wrong:
        right, right_mean = right * (1 - draw.means(w[:, known])), right_mean * (1 - float(w[:, known].mean()))
    if np.quantile(right, 0.95) >= 1 or right_mean >= 1:
        return None
    ratios = draw.means(errors[:, known]) / np.maximum(1 - right, 1e-9)
    return interval_of(ratios, float(errors[:, known].mean()) / (1 - right_mean))
