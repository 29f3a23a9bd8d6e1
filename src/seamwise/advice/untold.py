"""What could not be told, why, and which trial would tell most."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from seamwise.advice.numbers import CLEAR, full_name
from seamwise.advice.outlook import Outlooks, Passing
from seamwise.advice.records import Best, Purchase, StageCost, Untold
from seamwise.runs import Row, Study

FEWEST_BUDGETS = 3


def untold(
    study: Study,
    found: Outlooks | None,
    best: Best | None,
    passed: Sequence[Passing],
    stages: Sequence[StageCost],
    offers: Sequence[Purchase],
    asked: Sequence[int],
) -> tuple[Untold, ...]:
    """Everything the trials do not say, most important first."""
    if found is None or best is None:
        return (_nothing(study),)
    return (
        *_unfinished(study, best),
        *_unclear(study, best),
        *_untrained(study, best.n),
        *_few(study, found),
        *_abstained(study, found),
        *(_passing(study, p) for p in passed if not p.is_told and p.low < found.at[-1] and p.high > 0),
        *_refused(stages),
        *_prices(study, found, offers),
        *(_below(study, found, n) for n in asked if n < found.at[0]),
    )


def _nothing(study: Study) -> Untold:
    n_failed, n_planned = len(study.failed), len(study.record.trials)
    why = f"all {n_failed} trials that were run failed" if n_failed else "no trial is finished"
    remedy = "mend what the failed trials say, then run the study again" if n_failed else "run the study again"
    return Untold(what="which way is best", why=why, trial=f"{remedy}: {n_planned} trials are planned")


def _unfinished(study: Study, best: Best) -> list[Untold]:
    found, top = [], study.record.budgets[-1]
    if study.damaged:
        why = f"results that cannot be read: {len(study.damaged)}, of {', '.join(study.damaged[:3])}"
        found.append(Untold(what="the whole study", why=why, trial="the same command runs them again"))
    n_missing = len(study.missing) - len(study.damaged)
    if n_missing:
        why = f"not run yet: {n_missing} of {len(study.record.trials)} planned trials"
        found.append(Untold(what="the whole study", why=why, trial="the same command goes on where it stopped"))
    if best.n < top:
        rows = [full_name(study, row) for row in study.rows if not study.at(row, top)]
        why = f"not finished there: {', '.join(rows)}"
        found.append(Untold(what=f"the best at {top:,} labels", why=why, trial="the same command runs them"))
    return found


def _unclear(study: Study, best: Best) -> list[Untold]:
    if best.probability >= CLEAR or not best.close:
        return []
    rivals = [(way.variant, way.regime) for way in best.close]
    row: Row = (best.way.variant, best.way.regime)
    rival = min(rivals, key=lambda r: study.errors(r, best.n).mean())
    what = f"whether {best.way.name} is better than {full_name(study, rival)} at {best.n:,} labels"
    why = f"the best has a probability of {best.probability:.2f} only"
    return [Untold(what=what, why=why, trial=_more_of(study, row, rival, best.n))]


def _more_of(study: Study, row: Row, rival: Row, n: int) -> str:
    """Seeds or test items, whichever the difference of two rows varies with most."""
    both = f"{full_name(study, row)} and {full_name(study, rival)}"
    a, b = ({t.seed: study.items(t)["error"] for t in study.at(r, n)} for r in (row, rival))
    apart = np.stack([a[s].astype(np.float64) - b[s] for s in a if s in b] or [np.zeros(len(study.bootstrap.groups))])
    if len(apart) < 2:
        return f"a second seed of {both} at {n:,} labels"
    by_seed = float(apart.mean(1).var(ddof=1)) / len(apart)
    by_item = float(study.bootstrap.means(apart.mean(0, keepdims=True)).var())
    return f"more seeds of {both} at {n:,} labels" if by_seed > by_item else "more test items"


def _few(study: Study, found: Outlooks) -> list[Untold]:
    said = []
    budgets, n_seeds = len(found.measured), len({t.seed for t in study.trials if t.status == "done"})
    if n_seeds == 1:
        why = "one seed: the intervals hold the chance of the test items, not that of the training"
        said.append(Untold(what="how sure it is", why=why, trial="a second seed of every way at the largest budget"))
    if budgets < FEWEST_BUDGETS:
        smaller = ", ".join(f"{n:,}" for n in _smaller(min(found.measured), FEWEST_BUDGETS - budgets))
        why = f"{budgets} {'budget' if budgets == 1 else 'budgets'}; a curve takes {FEWEST_BUDGETS}"
        said.append(
            Untold(
                what="how it changes with more labels", why=why, trial=f"smaller budgets, which are cheap: {smaller}"
            )
        )
    return said


def _smaller(n: int, count: int) -> list[int]:
    return sorted({max(1, n // 2**k) for k in range(1, count + 1)})


def _untrained(study: Study, n: int) -> list[Untold]:
    said = []
    for row in study.rows:
        trials = study.at(row, n)
        n_lost = sum(t.id in study.untrained for t in trials)
        if 0 < n_lost < len(trials):
            name = full_name(study, row)
            why = f"{n_lost} of {len(trials)} trainings at {n:,} labels did not train; their errors count in its mean"
            trial = f"more seeds of {name}, or trainings with more steps"
            said.append(Untold(what=f"how often {name} trains", why=why, trial=trial))
    return said


def _abstained(study: Study, found: Outlooks) -> list[Untold]:
    top = max(found.measured)
    if len(found.measured) < FEWEST_BUDGETS:
        return []
    why = {
        row: next((told for n, told in zip(found.at, own.abstains, strict=True) if told and n > top), "")
        for row, own in found.prospects.items()
        if study.at(row, top)
    }
    said = []
    for reason, rows in groupby(sorted((w, full_name(study, r)) for r, w in why.items() if w), key=lambda p: p[0]):
        names = ", ".join(name for _, name in rows)
        trial = f"one more doubling, {2 * top:,} labels of {study.record.vary}, of {names}"
        said.append(Untold(what=f"{names} beyond {top:,} labels", why=reason, trial=trial))
    return said


def _passing(study: Study, passed: Passing) -> Untold:
    before, after = full_name(study, passed.before), full_name(study, passed.after)
    low = "the smallest budget" if passed.low <= 0 else f"{passed.low:,.0f}"
    high = "more labels than can be foreseen" if not np.isfinite(passed.high) else f"{passed.high:,.0f}"
    why = passed.abstained or f"the interval goes from {low} to {high}: more than two doublings"
    what = f"from how many labels {after} is better than {before}"
    trial = f"one more doubling, {2 * study.record.budgets[-1]:,} labels, of {before} and {after}"
    return Untold(what=what, why=why, trial=trial)


def _refused(stages: Sequence[StageCost]) -> list[Untold]:
    said, seen = [], set()
    for cost in stages:
        if cost.refused and cost.way not in seen:
            seen.add(cost.way)
            said.append(Untold(what=f"what the stages of {cost.way.name} cost", why=cost.refused))
    return said


def _prices(study: Study, found: Outlooks, offers: Sequence[Purchase]) -> list[Untold]:
    told = {f for p in offers for f in (p.field, *p.together_with)}
    fields = [f for f in study.record.held if f not in told]
    if not fields:
        return []
    others = [f for f in fields if f != study.record.vary]
    half = f"trainings with half the labels of {', '.join(others)}: a study without --quick"
    what = f"what more labels of {', '.join(fields)} are worth"
    return [Untold(what=what, why="neither swept nor halved", trial=half if others else "a second budget")]


def _below(study: Study, found: Outlooks, n: int) -> Untold:
    return Untold(
        what=f"the best at {n:,} labels",
        why=f"fewer than the smallest budget that was measured, {found.at[0]:,}",
        trial=f"a study with the budget {n:,} too",
    )
