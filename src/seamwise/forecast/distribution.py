"""What is forecast: a distribution at every budget asked for, and coherent draws of the whole curve."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from seamwise.arrays import Bool, Float, NDArray
from seamwise.errors import InputError
from seamwise.forecast.network import Mixture

LEVELS = (np.arange(400) + 0.5) / 400
"""The levels at which quantiles are kept; the mean is theirs."""

FORGET = 0.32
"""How fast the error's rank is forgotten: correlation exp(-FORGET) for each e-fold of 1 + doublings ahead."""

_STEPS = np.concatenate([[-6, -5, -4], np.linspace(-3.5, 3.5, 57), [4, 5, 6]])


@final
@dataclass(frozen=True, eq=False)
class Forecast:
    """The mean error at each budget asked for, as a distribution.

    at: the budgets, as asked for. ahead: doublings from the last budget. abstains: where the distribution is not to be
    relied on; `reason` says why in words ("" where it abstains nowhere).
    """

    at: Float[NDArray, " at"]
    ahead: Float[NDArray, " at"]
    quantiles: Float[NDArray, "level at"]
    abstains: Bool[NDArray, " at"]
    reason: str
    seed: int = 0

    @cached_property
    def mean(self) -> Float[NDArray, " at"]:
        """Expected error; NaN where nothing at all is known."""
        return np.asarray(self.quantiles.mean(0))

    def quantile(self, q: ArrayLike) -> Float[NDArray, "*q at"]:
        """The error that is not exceeded with probability q: [at] for a number, [q, at] for several.

        Raises `InputError` unless every q is between 0 and 1.
        """
        wanted = np.asarray(q, float)
        if wanted.ndim > 1 or not ((wanted >= 0) & (wanted <= 1)).all():
            raise InputError("not a quantile", given=str(q), expected="a number, or a list of numbers, between 0 and 1")
        out = _interpolate(wanted.reshape(-1, 1).repeat(len(self.at), 1), self.quantiles)
        return out.reshape(*wanted.shape, len(self.at))

    def sample(self, k: int) -> Float[NDArray, "{k} at"]:
        """Draws k plausible curves, each coherent over the budgets; the same for the same seed.

        Raises `InputError` when k is negative.

        **Source**: an Ornstein-Uhlenbeck process as the copula. Differs: its time is log(1 + doublings ahead), and
        doublings within what was seen, where the errors of two budgets are near independent.
        """
        if k < 0:
            raise InputError("not a number of curves", given=str(k), expected="0 or more")
        time = np.where(self.ahead > 0, FORGET * np.log1p(np.maximum(self.ahead, 0)), 4 * self.ahead)
        moments, where = np.unique(time, return_inverse=True)
        normal = np.random.default_rng(self.seed).standard_normal((k, len(moments)))
        kept = np.exp(-np.diff(moments))
        for i, r in enumerate(kept, start=1):
            normal[:, i] = r * normal[:, i - 1] + np.sqrt(1 - r**2) * normal[:, i]
        return _interpolate(ndtr(normal)[:, where], self.quantiles)


def _interpolate(q: Float[NDArray, "k at"], quantiles: Float[NDArray, "level at"]) -> Float[NDArray, "k at"]:
    columns = [np.interp(u, LEVELS, kept) for u, kept in zip(q.T, quantiles.T, strict=True)]
    return np.column_stack(columns) if columns else np.empty(q.shape)


def quantiles_of(mixture: Mixture) -> Float[NDArray, "level at"]:
    """At LEVELS, by inverting the distribution function between points laid around every part; none below 0."""
    found = [_invert(*parts) for parts in zip(mixture.weight, mixture.centre, mixture.width, strict=True)]
    return np.maximum(np.column_stack(found), 0) if found else np.empty((len(LEVELS), 0))


def _invert(
    weight: Float[NDArray, " part"], centre: Float[NDArray, " part"], width: Float[NDArray, " part"]
) -> Float[NDArray, " level"]:
    points = np.sort((centre[:, None] + width[:, None] * _STEPS).ravel())
    below = ndtr((points[:, None] - centre) / width) @ weight
    return np.asarray(np.interp(LEVELS, below, points))


def normal_quantiles(mean: Float[NDArray, " at"], sd: Float[NDArray, " at"]) -> Float[NDArray, "level at"]:
    """Of a normal distribution at each budget; none below 0."""
    return quantiles_of(Mixture(np.ones((len(mean), 1)), mean[:, None], np.maximum(sd, 1e-9)[:, None]))
