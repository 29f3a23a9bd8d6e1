"""Which labels to buy next: the label value of each field, at its price.

The label value of a field is what its next doubling takes off the answer's error, for each unit of price. It is
measured where labels were swept or halved, and carried one doubling on by the forecast, averaged over its draws.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from seamwise.advice.numbers import grown, halved_field
from seamwise.advice.outlook import Outlooks, interval_of, is_constant, scale, way_of
from seamwise.advice.records import Purchase
from seamwise.arrays import Float, NDArray
from seamwise.forecast import forecast
from seamwise.runs import Row, Study
from seamwise.trial import Trial


def purchases(study: Study, found: Outlooks, prices: Mapping[str, float]) -> tuple[Purchase, ...]:
    """One a field that was swept or halved: as many labels again as there are, with the way that is best with them.

    The most worth comes first: the largest expected gain for its price.
    """
    n = study.compared_at
    if n is None:
        return ()
    now = study.best(n)[0]
    offers = [_offer(study, found, field, n, now, prices) for field in study.record.held]
    made = [offer for offer in offers if offer is not None]
    return tuple(sorted(made, key=_rank))


def _rank(offer: Purchase) -> float:
    """Free labels come first where they gain anything."""
    if offer.worth is None:
        return -np.inf if offer.gain.mean > 0 else 0.0
    return -offer.worth


def _offer(study: Study, found: Outlooks, field: str, n: int, now: Row, prices: Mapping[str, float]) -> Purchase | None:
    after = _after(study, found, field, n)
    if not after:
        return None
    before = found.prospects[now].draws[:, found.at.index(n)]
    row = min(after, key=lambda r: float(after[r].mean()))
    of_use = float(after[row].mean()) < float(before.mean())  # labels need not be used
    gain = before - after[row] if of_use else np.zeros_like(before)
    budget, together = study.record.full[n], [f for f in grown(study) if f != field and field == study.record.vary]
    price = sum(prices[f] * budget[f] for f in (field, *together)) / budget[field]
    doubted = found.prospects[row].abstains[found.at.index(2 * n)] if field == study.record.vary else ""
    return Purchase(
        field=field,
        together_with=tuple(together),
        n_now=budget[field],
        n_more=budget[field],
        price=price,
        way=way_of(study, row if of_use else now),
        gain=interval_of(gain),
        worth=float(gain.mean()) / (budget[field] * price) if price else None,
        probability=float((gain > 0).mean()),
        abstained=doubted,
    )


def _after(study: Study, found: Outlooks, field: str, n: int) -> dict[Row, Float[NDArray, " draws"]]:
    """{row: its error with twice the labels of a field, as draws}."""
    if field != study.record.vary:
        draws = {row: _halved(study, row, field, half, n) for row, half in _halvings(study, field, n).items()}
    elif 2 * n in found.at:
        rows = [r for r in found.rows if study.at(r, n) and not is_constant(study, r)]
        draws = {r: found.prospects[r].draws[:, found.at.index(2 * n)] for r in rows}
    else:
        draws = {}
    return {row: d for row, d in draws.items() if np.isfinite(d).all()}


def _halvings(study: Study, field: str, n: int) -> dict[Row, list[Trial]]:
    """The finished trials with half the labels of a field and n of the swept one, by row."""
    found: dict[Row, list[Trial]] = {}
    for trial in study.trials:
        fits = trial.budget[study.record.vary] == n and halved_field(study, trial) == field
        if fits and trial.status == "done" and trial.id not in study.untrained:
            found.setdefault(trial.row, []).append(trial)
    return found


def _halved(study: Study, row: Row, field: str, half: Sequence[Trial], n: int) -> Float[NDArray, " draws"]:
    """A row's error with twice the labels of a field, from the errors with half of them and with all."""
    full = {t.seed: t for t in study.at(row, n) if t.id not in study.untrained}
    pairs = [(t, full[t.seed]) for t in half if t.seed in full]
    if not pairs:
        return np.full(study.bootstrap.n_draws, np.nan)
    error = np.array([[h.error, f.error] for h, f in pairs], dtype=np.float64) / scale(study)
    held = [pairs[0][0].budget[field], pairs[0][1].budget[field]]
    told = forecast(np.array(held), error, np.array([held[1], 2 * held[1]]))
    path = told.sample(study.bootstrap.n_draws) * scale(study)
    return np.asarray(np.maximum(study.draws(row, n) - (path[:, 0] - path[:, 1]), 0.0))
