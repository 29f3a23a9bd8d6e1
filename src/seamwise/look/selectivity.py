"""How choosy each unit is: how seldom it is active, for how few pictures, and for which class."""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.stats import rankdata

from seamwise.errors import InputError
from seamwise.shapes import Float, Int, NDArray, Shaped

MAX_KEPT = 4096  # pictures whose values are kept, for AUROC
MIN_OF_CLASS = 3  # pictures of a class in each half
LARGEST = float(np.finfo(np.float32).max)  # what is infinite counts as this


@final
@dataclass(frozen=True)
class Selectivity:
    """Numbers of each unit of one layer; nan where they cannot be told (a dead unit, no classes).

    active: the share of positions with a value above 0; pictures: the share of pictures in which there is one
    sparseness: 0 where all pictures excite a unit the same, 1 where one picture alone does (by the largest value in
        each, 0 where that is negative). Source: Vinje & Gallant 2000, lifetime sparseness, after Rolls & Tovee 1995
    index: (a - b) / (a + b), where a is the mean over the class that excites it most and b the mean of the means of
        the other classes. Source: Morcos et al. 2018. Differs: of the largest value in each picture, not of the mean
    auroc: how well the unit tells `best_class` from the others, in pictures by which that class was not chosen
    best_class: with the largest AUROC in half of the pictures; -1 where there is none
    """

    active: Float[NDArray, " units"]
    pictures: Float[NDArray, " units"]
    sparseness: Float[NDArray, " units"]
    index: Float[NDArray, " units"]
    auroc: Float[NDArray, " units"]
    best_class: Int[NDArray, " units"]


@final
class Tally:
    """Takes in pictures batch by batch and tells `Selectivity`; memory does not grow with the number of pictures.

    Sums are of all pictures; AUROC is exact up to 4,096 pictures, and by so many drawn at random where there are more.
    """

    def __init__(self, n_units: int, n_classes: int = 0, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._n = 0
        self._sum, self._square, self._above = np.zeros((3, n_units))
        self._active = np.full(n_units, np.nan)
        self._by_class, self._of_class = np.zeros((n_classes, n_units)), np.zeros(n_classes, np.int64)
        self._values = np.zeros((0, n_units), np.float32)
        self._classes = np.zeros(0, np.int64)

    def add(
        self,
        maxima: Float[NDArray, "batch units"],
        classes: Int[NDArray, " given"] | None = None,
        active: Float[NDArray, "batch units"] | None = None,
    ) -> None:
        """The largest value of each unit in each picture, the pictures' classes, the share of positions above 0.

        Raises InputError where classes are missing or not among those announced.
        """
        rectified = np.nan_to_num(maxima.astype(np.float64), nan=0.0, posinf=LARGEST).clip(0, LARGEST)
        labels = self._checked(classes, len(maxima))
        if active is not None:
            self._active = np.nan_to_num(self._active) + active.sum(0, dtype=np.float64)
        self._sum += rectified.sum(0)
        self._square += (rectified**2).sum(0)
        self._above += (rectified > 0).sum(0)
        if len(self._of_class):
            np.add.at(self._by_class, labels, rectified)
            self._of_class += np.bincount(labels, minlength=len(self._of_class))
        self._keep(maxima, labels)
        self._n += len(maxima)

    def _checked(self, classes: Int[NDArray, " given"] | None, n: int) -> Int[NDArray, " batch"]:
        """Raises InputError."""
        n_classes = len(self._of_class)
        if not n_classes:
            return np.zeros(n, np.int64)
        if classes is None or len(classes) != n:
            raise InputError("every picture needs its class", given=f"{n} pictures", expected=f"{n} classes")
        if n and not 0 <= classes.min() <= classes.max() < n_classes:
            given = f"classes {classes.min()} to {classes.max()}"
            raise InputError("a class that was not announced", given=given, expected=f"0 to {n_classes - 1}")
        return np.asarray(classes, np.int64)

    def _keep(self, maxima: Float[NDArray, "batch units"], labels: Int[NDArray, " batch"]) -> None:
        """Every picture so far is kept with the same probability (reservoir sampling)."""
        room = max(0, min(MAX_KEPT - len(self._values), len(maxima)))
        self._values = np.concatenate([self._values, maxima[:room].astype(np.float32)])
        self._classes = np.concatenate([self._classes, labels[:room]])
        for k in range(room, len(maxima)):
            place = int(self._rng.integers(self._n + k + 1))
            if place < MAX_KEPT:
                self._values[place], self._classes[place] = maxima[k], labels[k]

    def result(self) -> Selectivity:
        """The numbers of all pictures so far. Raises InputError where there were none."""
        if not self._n:
            raise InputError("no pictures to tell selectivity by", remedy="give at least one picture")
        auroc, best_class = self._aurocs()
        return Selectivity(
            active=self._active / self._n,
            pictures=self._above / self._n,
            sparseness=_sparseness(self._sum, self._square, self._n),
            index=self._index(),
            auroc=auroc,
            best_class=best_class,
        )

    def _index(self) -> Float[NDArray, " units"]:
        there = self._of_class > 0
        if there.sum() < 2:
            return np.full(self._values.shape[1], np.nan)
        means = self._by_class[there] / self._of_class[there, None]
        most = means.max(0)
        others = (means.sum(0) - most) / (len(means) - 1)
        return _ratio(most - others, most + others)

    def _aurocs(self) -> tuple[Float[NDArray, " units"], Int[NDArray, " units"]]:
        n_units, n_classes = self._values.shape[1], len(self._of_class)
        half = self._rng.permutation(len(self._values)) % 2 == 0
        counts = [np.bincount(self._classes[part], minlength=n_classes) for part in (half, ~half)]
        told = np.flatnonzero(np.minimum(*counts)[:n_classes] >= MIN_OF_CLASS)
        if n_classes < 2 or len(told) < 1 or len(np.unique(self._classes)) < 2:
            return np.full(n_units, np.nan), np.full(n_units, -1)
        found, held_out = (class_aurocs(self._values[part], self._classes[part], told) for part in (half, ~half))
        best, units = found.argmax(0), np.arange(n_units)
        dead = self._values.max(0) == self._values.min(0)
        return np.where(dead, np.nan, held_out[best, units]), np.where(dead, -1, told[best])


def class_aurocs(
    values: Float[NDArray, "n units"], labels: Int[NDArray, " n"], classes: Int[NDArray, " classes"]
) -> Float[NDArray, "classes units"]:
    """How often a picture of each class has a larger value than one of another class; ties count half. Exact."""
    ranks: Shaped[NDArray, "n units"] = rankdata(values, axis=0)
    of = (labels == classes[:, None]).astype(np.float64)
    n_of = of.sum(1, keepdims=True)
    return np.asarray((of @ ranks - n_of * (n_of + 1) / 2) / (n_of * (len(labels) - n_of)))


def _sparseness(sums: Float[NDArray, " units"], squares: Float[NDArray, " units"], n: int) -> Float[NDArray, " units"]:
    """(1 - mean² / mean of squares) / (1 - 1 / n)."""
    if n < 2:
        return np.full(len(sums), np.nan)
    return ((1 - _ratio(sums**2 / n, squares)) / (1 - 1 / n)).clip(0, 1)


def _ratio(above: Float[NDArray, " units"], below: Float[NDArray, " units"]) -> Float[NDArray, " units"]:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))
