"""Which labels to buy next: the label value of each field, at its price.

The label value of a field is what its next doubling takes off the answer's error, for each unit of price. It is
measured where labels were swept or halved, and carried one doubling on by the forecast, averaged over its draws.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from seamwise.advice.numbers import halved_field
from seamwise.advice.outlook import Outlooks, best_budget, interval_of, is_constant, scale, way_of
from seamwise.advice.records import Purchase
from seamwise.arrays import Float, NDArray
from seamwise.forecast import forecast
from seamwise.runs import Row, Study
from seamwise.trial import Trial


def purchases(study: Study, found: Outlooks, prices: Mapping[str, float]) -> tuple[Purchase, ...]:
    """One a field: as many labels again as there are, with the way that gains most by them. Most worth first."""
    n = best_budget(study)
    if n is None or n not in found.at:
        return ()
    now = found.prospects[study.best(n)[0]].draws[:, found.at.index(n)]
    offers = [_offer(study, field, prices[field], now, _after(study, found, field, n)) for field in study.record.held]
    made = [offer for offer in offers if offer is not None]
    return tuple(sorted(made, key=lambda p: -np.inf if p.worth is None else -p.worth))


def unmeasured(study: Study, found: Outlooks) -> list[str]:
    """Fields whose labels' value was not measured: neither swept nor halved."""
    n = best_budget(study)
    return [field for field in study.record.held if n is None or not _after(study, found, field, n)]


After = Mapping[Row, Float[NDArray, " draws"]]
"""{row: its error with twice the labels of a field, as draws}."""


def _offer(study: Study, field: str, price: float, now: Float[NDArray, " draws"], after: After) -> Purchase | None:
    if not after:
        return None
    row = min(after, key=lambda r: float(after[r].mean()))
    gain, n_now = now - after[row], _held(study, field)
    return Purchase(
        field=field,
        n_now=n_now,
        n_more=n_now,
        price=price,
        way=way_of(study, row),
        gain=interval_of(gain),
        worth=float(gain.mean()) / (n_now * price) if price else None,
        probability=float((gain > 0).mean()),
    )


def _held(study: Study, field: str) -> int:
    """How many labels of a field there are at the largest budget that is compared."""
    n = best_budget(study)
    return study.record.full[n][field] if n is not None else study.record.held[field]


def _after(study: Study, found: Outlooks, field: str, n: int) -> After:
    if field == study.record.vary:
        k = found.at.index(2 * n) if 2 * n in found.at else None
        rows = [r for r in found.rows if study.at(r, n) and not is_constant(study, r)]
        draws = {r: found.prospects[r].draws[:, k] for r in rows} if k is not None else {}
    else:
        draws = {row: _halved(study, row, field, half, n) for row, half in _halvings(study, field).items()}
    return {row: d for row, d in draws.items() if np.isfinite(d).all()}


def _halvings(study: Study, field: str) -> dict[Row, list[Trial]]:
    """The finished trials with half the labels of a field, by row."""
    found: dict[Row, list[Trial]] = {}
    for trial in study.trials:
        if trial.status == "done" and trial.id not in study.untrained and halved_field(study, trial) == field:
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
    errors = np.stack([study.items(f)["error"].astype(np.float64) for _, f in pairs])
    return np.asarray(np.maximum(study.bootstrap.means(errors) - (path[:, 0] - path[:, 1]), 0.0))
