"""From the trials of a run to advice."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from seamwise.advice.buy import purchases
from seamwise.advice.expenses import expenses, failed_trials, shifts
from seamwise.advice.outlook import best_now, crossover, outlooks, passings
from seamwise.advice.race import stopped
from seamwise.advice.records import Advice
from seamwise.advice.seams import seam_states
from seamwise.advice.stages import chained, stage_costs
from seamwise.advice.untold import untold
from seamwise.advice.variants import variant_gains
from seamwise.advice.words import sentences
from seamwise.errors import InputError
from seamwise.runs import MOST_LABELS, RunRecord, Study
from seamwise.trial import write_json
from seamwise.version import VERSION


def advise(study: Study, at: Sequence[int] = (), prices: Mapping[str, float] | None = None) -> Advice:
    """What the finished trials of a run say; nothing is trained.

    at:     budgets of the swept field that somebody wants to know about, measured or not
    prices: of a label, {field: price}; those of the supply where not given

    It says what it can: a run without a finished trial has advice too, which names what is missing. Raises
    InputError where a budget is not above 0, a price negative, or for labels that the task has not.
    """
    for n in at:
        if not isinstance(n, int) or not 1 <= n <= MOST_LABELS:
            raise InputError(f"advice at {n} labels", expected=f"a whole number, 1 to {MOST_LABELS:,}")
    priced = _priced(study.record, prices or {})
    found, best, stages = outlooks(study, at), best_now(study), stage_costs(study)
    passed = passings(found) if found is not None else []
    offers = purchases(study, found, priced) if found is not None else ()
    advice = Advice(
        run=str(study.run),
        version=VERSION,
        task=study.record.task,
        answer=study.record.answer,
        unit=study.record.unit,
        trivial=study.record.trivial,
        vary=study.record.vary,
        n_trials=len(study.trials),
        n=study.compared_at,
        at=found.at if found is not None else (),
        best_now=best,
        stopped=stopped(study),
        p_best=found.records() if found is not None else (),
        crossovers=tuple(crossover(study, p) for p in passed if p.is_told),
        stages=stages,
        chains=chained(study, stages),
        variants=variant_gains(study),
        seams=seam_states(study),
        buy_next=offers,
        costs=expenses(study),
        shifted=shifts(study),
        abstained=untold(study, found, best, passed, stages, offers, at),
        failed_trials=failed_trials(study),
        sentences=(),
    )
    return advice.model_copy(update={"sentences": sentences(advice, at)})


def write_advice(study: Study, advice: Advice) -> Path:
    """Write RUN/advice.json, whole or not at all. Returns its path; raises StorageError."""
    path = study.run / "advice.json"
    write_json(path, advice.record())
    return path


def _priced(record: RunRecord, prices: Mapping[str, float]) -> dict[str, float]:
    for field, price in prices.items():
        if field not in record.held:
            raise InputError(f"a price for labels of {field!r}", expected=f"one of {', '.join(record.held)}")
        if not (math.isfinite(price) and price >= 0):
            raise InputError(f"the price of {field!r} is {price:g}", expected="a finite number of 0 or more")
    return {field: float(prices.get(field, record.prices.get(field, 1.0))) for field in record.held}
