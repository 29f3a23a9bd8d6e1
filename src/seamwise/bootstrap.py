"""Intervals: the hierarchical bootstrap over seeds and test groups.

Source: Owen & Eckles 2012, Bootstrapping data arrays of arbitrary order (Annals of Applied Statistics 6).
Differs: multinomial weights a level in place of independent ones. A bootstrap of S
seeds shows (S - 1) / S of their variance and knows nothing of its own uncertainty: the seeds' part is stretched by the
root of S / (S - 1), and each draw of it scaled as Student's t with S - 1 degrees of freedom is. In simulations with 2
to 10 seeds, 90 % intervals then held 90 to 99 % (without either, 72 % of 3 seeds where these mattered most). An item
that belongs to several groups is weighted by the product of its groups' weights, which errs on the wide side.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from seamwise.arrays import Float, Int, NDArray

LEVEL = 0.90
WIDEST = 5.0  # times wider than its bootstrap, at most, is the seeds' part drawn


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
        """The mean error in each draw of seeds and groups.

        A seed that is missing (a row of NaN) counts in no draw, and the others' weights stay as they would be with it,
        so that rows with other seeds missing are still paired by seed.
        """
        there = ~np.isnan(errors).all(1)
        n, n_there = len(errors), int(there.sum())
        rng = np.random.default_rng(self.seed + 1)
        drawn = rng.multinomial(n, np.full(n, 1 / n), self.n_draws) * there
        drawn[drawn.sum(1) == 0] = there  # none of the seeds there was drawn
        weights = drawn[:, there] / drawn.sum(1, keepdims=True)
        by_seed = self._item_weights @ errors[there].T
        centre, freedom = by_seed.mean(1), max(n_there - 1, 1)
        wider = np.minimum(np.sqrt(freedom / rng.chisquare(freedom, self.n_draws)), WIDEST) * np.sqrt(n_there / freedom)
        draws = centre + ((by_seed - centre[:, None]) * weights).sum(1) * wider
        return np.asarray(np.clip(draws, errors[there].min(), errors[there].max()))

    def interval(self, errors: Float[NDArray, "seeds items"], level: float = LEVEL) -> Interval:
        """The mean over all, and the interval that holds `level` of the draws."""
        draws = self.means(errors)
        low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
        mean = float(np.nanmean(errors))
        return Interval(mean, min(float(low), mean), max(float(high), mean))


def wins(draws: Float[NDArray, "rows draws *budgets"]) -> Float[NDArray, "rows *budgets"]:
    """The probability of having the least error: the share of draws, a tie shared, NaN never the least."""
    known = np.where(np.isnan(draws), np.inf, draws)
    least = np.isclose(known, known.min(0), rtol=1e-9, atol=0) & np.isfinite(known)
    return np.asarray((least / np.maximum(least.sum(0), 1)).mean(1))
