"""Per-item results of a study: the arrays of its .npz files, read when they are asked for, and checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from seamwise.arrays import Float, Int, NDArray
from seamwise.errors import RunError
from seamwise.files import opened_npz

LARGEST = 1e100  # what errors can be, at most
AGAIN = "delete it, then run the same study again"


@final
class Items:
    """The arrays of an `.npz` file by name, each read when it is asked for. Raises RunError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, NDArray] = {}

    @cached_property
    def names(self) -> tuple[str, ...]:
        with self._open() as file:
            return tuple(file.files)

    def __getitem__(self, name: str) -> NDArray:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._read:
            with self._open() as file:
                self._read[name] = np.asarray(file[name])  # bytes, where the entry is no array
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def numbers(self, name: str, n: int) -> Float[NDArray, " n"]:
        """One number for each of n items, NaN where it is not known. Raises RunError where it is something else."""
        held = self[name] if name in self else np.zeros(0)
        fits = held.dtype.kind in "biuf" and held.shape == (n,)
        if not fits or not (np.isnan(held) | (np.abs(held.astype(np.float64)) <= LARGEST)).all():
            given = f"{name!r}, {held.dtype} {list(held.shape)}"
            raise RunError(
                f"{self.path}: damaged", given=given, expected=f"a number for each of {n} items", remedy=AGAIN
            )
        return held.astype(np.float64)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with opened_npz(self.path, RunError, AGAIN) as file:
            yield file


def read_groups(path: Path) -> Int[NDArray, "items k"]:
    """The groups of the items that were tested. Raises RunError where the file holds none."""
    held = Items(path)
    groups = held["groups"] if "groups" in held else np.zeros(0)
    if groups.ndim != 2 or not groups.size or groups.dtype.kind not in "iu":
        given, expected = f"groups {list(groups.shape)}", "groups of test items"
        raise RunError(f"{path}: damaged", given=given, expected=expected, remedy=AGAIN)
    return groups.astype(np.int64)
