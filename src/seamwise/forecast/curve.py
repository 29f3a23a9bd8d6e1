"""A learning curve, read at doublings back from its last budget however its budgets are spaced."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from seamwise.arrays import Bool, Float, NDArray

DOUBLINGS = np.arange(-5.0, 1.0)
"""Where a curve is read, in doublings from the last budget."""

LEAST_BUDGETS = 3
"""With fewer, a forecast is not to be relied on."""

_SHRINK = 4.0  # a budget's own variance counts as its degrees of freedom against these many of all budgets' together
_UNKNOWN = 0.1  # standard error over the level where nothing tells it
_SMOOTH = 1e-4  # weight of the bend: decides only what the budgets leave open
_FALL = 0.7  # of the fall over the doubling before: a power law of exponent one half
_CLEAR = 1.28  # a fall of so many standard errors is one by chance in 1 of 10 level curves
_SMALL = 0.01  # share of the level
_LEAST = 1e-6  # errors below this are not told apart


@final
@dataclass(frozen=True)
class Curve:
    """The budgets that have a value: labels, mean over seeds, how many seeds, and their variance (0 for one seed)."""

    n: Float[NDArray, " budget"]
    mean: Float[NDArray, " budget"]
    n_seeds: Float[NDArray, " budget"]
    spread: Float[NDArray, " budget"]

    @cached_property
    def ago(self) -> Float[NDArray, " budget"]:
        """Doublings from the last budget, at most 0."""
        return np.asarray(np.log2(self.n / self.n[-1]))

    @cached_property
    def _reading(self) -> Float[NDArray, "6 budget"]:
        """What each budget counts for at each doubling; NaN rows where the curve was not seen."""
        knots = np.arange(min(DOUBLINGS[0], np.ceil(self.ago[0] - 0.5)), 1)
        seen = self.ago[0] - 0.5 <= knots
        weights = np.full((len(knots), len(self.n)), np.nan)
        weights[seen] = _read(self.ago, knots[seen])
        return weights[-len(DOUBLINGS) :]

    @cached_property
    def level(self) -> Float[NDArray, " 6"]:
        """Mean error at each of DOUBLINGS, NaN where the curve was not seen; as given where budgets are doublings."""
        read = np.maximum(self._reading @ self.mean, 0)
        before = np.maximum(np.searchsorted(self.ago, DOUBLINGS + 1e-9) - 1, 0)
        behind = np.minimum(np.searchsorted(self.ago, DOUBLINGS - 1e-9), len(self.n) - 1)
        ends = self.mean[before], self.mean[behind]  # between two budgets no error is read that neither has
        beside = (read < np.minimum(*ends) - 1e-12) | (read > np.maximum(*ends) + 1e-12)
        inside = self.ago[0] - 1e-9 <= DOUBLINGS
        return np.asarray(np.where(inside & beside, np.interp(DOUBLINGS, self.ago, self.mean), read))

    @cached_property
    def seen(self) -> Bool[NDArray, " 6"]:
        """Which of DOUBLINGS the curve reaches."""
        return np.asarray(~np.isnan(self.level))

    @cached_property
    def roughness(self) -> float:
        """Standard error of the mean at the last budget, told by second differences; NaN with under 3 doublings."""
        bend = self.level[2:] - 2 * self.level[1:-1] + self.level[:-2]
        scaled = (bend**2 / 6 * 2 ** (DOUBLINGS[1:-1] / 2))[~np.isnan(bend)]
        return float(np.sqrt(scaled.mean())) if len(scaled) else float("nan")

    @property
    def repeated(self) -> bool:
        """Whether any budget has two seeds."""
        return bool((self.n_seeds > 1).any())

    @cached_property
    def _usual(self) -> Float[NDArray, " budget"]:
        """Variance of one seed at each budget, all budgets' told together: it falls with the root of n."""
        decay = 2 ** (-self.ago / 2)
        if self.repeated:
            free = self.n_seeds - 1
            return np.asarray(decay * (free * self.spread / decay).sum() / free.sum())
        told = _UNKNOWN * self.mean[-1] if np.isnan(self.roughness) else self.roughness
        return np.asarray(decay * told**2)

    @cached_property
    def se(self) -> Float[NDArray, " budget"]:
        """Standard error of the mean over seeds at each budget."""
        free = self.n_seeds - 1
        variance = (free * self.spread + _SHRINK * self._usual) / (free + _SHRINK)
        return np.asarray(np.sqrt(variance / self.n_seeds))

    @cached_property
    def se_level(self) -> Float[NDArray, " 6"]:
        """Standard error at each of DOUBLINGS, NaN where the curve was not seen."""
        return np.asarray(np.sqrt((self._reading**2) @ self.se**2))

    @cached_property
    def noise(self) -> float:
        """Standard error of the last level, told by all budgets."""
        return float(np.sqrt((self._reading[-1] ** 2) @ (self._usual / self.n_seeds)))

    @cached_property
    def falls(self) -> bool:
        """Whether it clearly falls over the last two doublings, or over what was seen of them."""
        lately = self.level[-3:][self.seen[-3:]]
        return self.clear(float(lately[0] - lately[-1]), self.noise)

    def clear(self, fall: float, noise: float) -> bool:
        """Whether a fall is more than noise of that standard error at both its ends, and worth the name."""
        return bool(fall > max(_CLEAR * np.sqrt(2) * noise, _SMALL * self.level[-1], _LEAST))

    @property
    def _height(self) -> float:
        return float(self.level[self.seen][-2:].mean())

    @cached_property
    def scale(self) -> float:
        """A length to measure changes by: of the last fall, the noise and the level together. Always above 0."""
        weight = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 0.0])[self.seen]
        fall = (self.level - self.level[-1])[self.seen]
        falls = float((weight * fall**2).sum() / weight.sum()) if weight.sum() > 0 else 0.0
        return float(np.sqrt(falls + 2 * self.noise**2 + (0.01 * self._height) ** 2 + _LEAST**2))

    @cached_property
    def features(self) -> Float[NDArray, " features"]:
        """What a forecast is made from: ratios alone, so that it does not depend on the error's unit."""
        s, low = self.scale, self.level[-1]
        falls = np.where(self.seen, self.level - low, 0)[:-1] / s
        errors = np.where(self.seen, self.se_level, 0) / s
        rough = 0.0 if np.isnan(self.roughness) else self.roughness
        rest = [
            np.log(s / (self._height + s)),
            np.log(self.noise / s + 0.05),
            np.log(rough / s + 0.05),
            np.log((low + _LEAST) / (self.level[self.seen].max() + _LEAST)),
            max(1 / self.n_seeds[-1], 1 / 3),
            float(self.repeated),
        ]
        return np.concatenate([falls, self.seen[:-1], errors, rest])


def _read(ago: Float[NDArray, " budget"], knots: Float[NDArray, " knot"]) -> Float[NDArray, "knot budget"]:
    """Least squares of a line with knots; where budgets are sparse, each fall is a fixed share of the one before."""
    if len(knots) == 1:
        return np.full((1, len(ago)), 1 / len(ago))
    left = np.clip(np.floor(ago - knots[0]).astype(int), 0, len(knots) - 2)
    part = ago - knots[left]
    hats = np.zeros((len(ago), len(knots)))
    row = np.arange(len(ago))
    hats[row, left], hats[row, left + 1] = 1 - part, part
    falls = -np.diff(np.eye(len(knots)), axis=0)
    bends = falls[1:] - _FALL * falls[:-1]
    return np.linalg.solve(hats.T @ hats + _SMOOTH * bends.T @ bends, hats.T)


def read_curve(n: Float[NDArray, " budget"], error: Float[NDArray, "seed budget"]) -> Curve:
    """The curve of the budgets that have a value, of which there has to be one."""
    has = ~np.isnan(error).all(0)
    n, error = n[has], error[:, has]
    n_seeds = (~np.isnan(error)).sum(0).astype(float)
    mean = np.nansum(error, 0) / n_seeds
    spread = np.nansum((error - mean) ** 2, 0) / np.maximum(n_seeds - 1, 1)
    return Curve(n, mean, n_seeds, spread)
