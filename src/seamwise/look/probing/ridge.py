"""Ridge regression in closed form, along a path of penalties, of many columns at once."""

from collections.abc import Iterator
from typing import final

import torch

from seamwise.shapes import Float, Tensor

PENALTIES = (1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4)  # times the mean of the normal equations' diagonal
SMALLEST = 1e-4  # of the largest standard deviation: a feature that varies less is as good as constant


@final
class Ridge:
    """Features of training rows, made ready once, to which columns of numbers are fitted at every penalty.

    Features are scaled to a standard deviation of 1. The smaller of the two normal equations, of rows or of features,
    is solved by Cholesky's decomposition in double precision.
    """

    def __init__(self, features: Float[Tensor, "rows features"]) -> None:
        features = features.float()
        self._mean, spread = features.mean(0), features.std(0, correction=0)
        self._scale = spread.clamp_min(max(float(spread.max()) * SMALLEST, 1e-12))
        self._train = (features - self._mean) / self._scale
        n, d = self._train.shape
        self._by_rows = d > n
        self._square = (self._train @ self._train.T if self._by_rows else self._train.T @ self._train).double() / n

    def basis(self, features: Float[Tensor, "others features"]) -> Float[Tensor, "others basis"]:
        """Other rows in the form that weights are for: scaled features, or their products with the training rows."""
        scaled = (features.float() - self._mean) / self._scale
        return scaled @ self._train.T if self._by_rows else scaled

    def path(self, columns: Float[Tensor, "rows columns"]) -> Iterator[Float[Tensor, "basis columns"]]:
        """The weights, from the strongest penalty to the weakest; the columns' own mean is to be added."""
        centred = (columns - columns.mean(0)).double() / len(columns)
        right = centred if self._by_rows else self._train.T.double() @ centred
        unit = float(self._square.diagonal().mean()) or 1.0
        for penalty in PENALTIES:
            square = self._square.clone()
            square.diagonal().add_(penalty * unit)
            yield torch.cholesky_solve(right, torch.linalg.cholesky(square)).float()
