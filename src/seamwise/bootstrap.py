"""Intervals: the hierarchical bootstrap over seeds and test groups.

Source: Owen & Eckles 2012, Bootstrapping data arrays of arbitrary order (Annals of Applied Statistics 6).
Differs: multinomial weights a level in place of independent ones. An item that belongs to several groups is
weighted by the product of its groups' weights, which errs on the wide side.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from seamwise.arrays import Float, Int, NDArray

LEVEL = 0.90


@final
@dataclass(frozen=True)
class Interval:
    """A mean and the interval around it (90 %)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@final
@dataclass(frozen=True)
class Bootstrap:
    """Draws of the same test items for every regime, so that differences are paired.

    groups: of each test item, in one column or several.
    """

    groups: Int[NDArray, "items k"]
    n_draws: int = 1000
    seed: int = 0

    @cached_property
    def _item_weights(self) -> Float[NDArray, "draws items"]:
        rng = np.random.default_rng(self.seed)
        weights = np.ones((self.n_draws, len(self.groups)))
        names, index = np.unique(self.groups, return_inverse=True)
        index = index.reshape(self.groups.shape)
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), self.n_draws)
        for k, column in enumerate(index.T):
            again = (index[:, :k] == column[:, None]).any(1)  # a group counts once an item
            weights *= np.where(again, 1, drawn[:, column])
        weights[weights.sum(1) == 0] = 1  # none of the items was drawn
        return np.asarray(weights / weights.sum(1, keepdims=True))

    def means(self, errors: Float[NDArray, "seeds items"]) -> Float[NDArray, " draws"]:
        """The mean error in each draw of seeds and groups."""
        n_seeds = len(errors)
        seeds = np.random.default_rng(self.seed + 1).multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), self.n_draws)
        return np.asarray(((self._item_weights @ errors.T) * seeds).sum(1) / n_seeds)

    def interval(self, errors: Float[NDArray, "seeds items"], level: float = LEVEL) -> Interval:
        """The mean over all, and the interval that holds `level` of the draws."""
        draws = self.means(errors)
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        mean = float(errors.mean())
        return Interval(mean, min(float(low), mean), max(float(high), mean))
