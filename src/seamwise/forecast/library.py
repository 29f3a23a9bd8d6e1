"""Files of many learning curves, to learn from and to compare on."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from seamwise.arrays import Bool, Float, Int, NDArray, Shaped
from seamwise.errors import InputError
from seamwise.files import opened_npz

AHEAD = np.array([1.0, 2.0, 3.0, 4.0])
"""Doublings beyond the last budget at which the truth is known."""


@final
@dataclass(frozen=True)
class Library:
    """Curves seen at doublings up to `n_last`, and the mean error at 2, 4, 8 and 16 times that (NaN: unknown)."""

    seen: Float[NDArray, "curve seed budget"]
    truth: Float[NDArray, "curve 4"]
    n_last: Int[NDArray, " curve"]
    dataset: Shaped[NDArray, " curve"]

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def ago(self) -> Float[NDArray, " budget"]:
        """Doublings from the last budget."""
        return np.arange(1.0 - self.seen.shape[2], 1.0)

    def n(self, i: int) -> Float[NDArray, " budget"]:
        """The budgets of one curve."""
        return np.asarray(self.n_last[i] * 2**self.ago)

    def part(self, these: Bool[NDArray, " curve"] | Int[NDArray, " some"]) -> "Library":
        """Some of the curves."""
        return Library(self.seen[these], self.truth[these], self.n_last[these], self.dataset[these])

    def folds(self, n_folds: int, seed: int = 0) -> Int[NDArray, " curve"]:
        """Each curve's fold; a dataset is in one only."""
        names, which = np.unique(self.dataset, return_inverse=True)
        fold = np.empty(len(names), int)
        fold[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % n_folds
        return np.asarray(fold[which])


def load_library(file: Path) -> Library:
    """From an .npz with error_seen, error_truth, n_last and dataset, the layout of `Library`.

    Raises `InputError` when an array is not there or its shape does not fit the others'.
    """
    lacking = {"error_seen", "error_truth", "n_last", "dataset"}
    with opened_npz(file) as held:
        lacking -= set(held.files)
        if not lacking:
            seen, truth = held["error_seen"].astype(float), held["error_truth"].astype(float)
            n_last, dataset = held["n_last"].astype(int), np.asarray(held["dataset"])
    if lacking:
        raise InputError(f"{file}: not a file of learning curves", expected=", ".join(sorted(lacking)))
    if seen.ndim != 3 or truth.shape != (len(seen), 4) or not n_last.shape == dataset.shape == (len(seen),):
        raise InputError(
            f"{file}: shapes do not fit",
            given=f"error_seen {seen.shape}, error_truth {truth.shape}, n_last {n_last.shape}",
            expected="[curve, seed, budget], [curve, 4], [curve]",
        )
    return Library(seen, truth, n_last, dataset)
