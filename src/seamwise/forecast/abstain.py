"""When a forecast is not to be relied on."""

import numpy as np

from seamwise.arrays import Bool, Float, NDArray
from seamwise.forecast.curve import LEAST_BUDGETS, Curve

FURTHEST = 16
"""Times the last budget."""

UNTRAINED = 0.9
"""Share of the trivial predictor's error above which a level curve counts as not having begun to learn."""


def abstention(curve: Curve, at: Float[NDArray, " at"]) -> tuple[Bool[NDArray, " at"], str]:
    """Where it abstains, and all reasons why in words ("" where it does not)."""
    beyond, far, before = at > curve.n[-1], at > FURTHEST * curve.n[-1], at < curve.n[0]
    unsure = _unsure(curve)
    reasons = [
        (beyond, unsure) if unsure else (np.zeros(len(at), bool), ""),
        (far, f"too far: more than {FURTHEST} times the last budget, {curve.n[-1]:g}"),
        (before, f"too early: below the first budget, {curve.n[0]:g}"),
    ]
    abstains = np.any([where for where, _ in reasons], axis=0)
    return abstains, "; ".join(words for where, words in reasons if where.any())


def _unsure(curve: Curve) -> str:
    if len(curve.n) < LEAST_BUDGETS:
        return f"too few budgets: {len(curve.n)} with errors, {LEAST_BUDGETS} are needed"
    if curve.seen.sum() < 2:
        return f"too few budgets: all lie within half a doubling, {curve.n[0]:g} to {curve.n[-1]:g}"
    return _plateau(curve)


def _plateau(curve: Curve) -> str:
    """Which kind of level curve it is, "" where it clearly falls."""
    last = float(curve.level[-1])
    if curve.falls:
        return ""
    if curve.clear(float(curve.level[curve.seen].max()) - last, 2 * curve.noise):
        return "plateau: the error fell at first and no longer does; it may fall again, or never"
    if curve.clear(last - float(curve.level[curve.seen].min()), 2 * curve.noise):
        return "plateau: the error rises with more labels, and may fall again, or never"
    if last >= UNTRAINED:
        return "plateau: still near the trivial predictor's error, so it has not begun to learn"
    return "plateau: the error is level, with no clear fall given the noise between seeds"
