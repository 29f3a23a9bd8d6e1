"""What every position of a map depends on, along one side of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from seamwise.shapes import Int, NDArray


@final
@dataclass(frozen=True)
class Axis:
    """Of each position along one axis of a map, the first and the last row (or column) of the picture it depends on.

    dim: the tensor's dimension, counted from the last (-1); None where the axis is gone, and `first`, `last` hold one
    value for the whole tensor. A position that depends on nothing has first > last.
    exact: False where an operation is not known, and everything is taken to depend on everything.
    whole: True where a number that is made of the whole picture comes in too (its mean, say): `first` and `last` then
    hold what a position depends on besides.
    step_px: from one position to the next, in the picture.
    """

    dim: int | None
    first: Int[NDArray, " positions"]
    last: Int[NDArray, " positions"]
    exact: bool = True
    whole: bool = False
    step_px: float = 1

    @property
    def size_px(self) -> int:
        """The largest receptive field of any position."""
        return int(max(0, (self.last - self.first + 1).max(initial=0)))

    @property
    def jump_px(self) -> float:
        """How far apart the fields of neighbours lie, were the picture large enough; 0 where there is one position."""
        return self.step_px if len(self.first) > 1 else 0

    def all_of(self, dim: int | None, n: int = 1, exact: bool = True) -> "Axis":
        """Every one of n positions depends on all that any depends on."""
        first, last = int(self.first.min()), int(self.last.max())
        return replace(self, dim=dim, first=np.full(n, first), last=np.full(n, last), exact=self.exact and exact)

    def at(self, index: Int[NDArray, " new"], step: float = 1) -> "Axis":
        """The positions that are read in a new order, this many apart; where index is below 0, nothing is read."""
        inside = (index >= 0) & (index < len(self.first))
        safe = np.where(inside, index, 0)
        first, last = np.where(inside, self.first[safe], NOWHERE), np.where(inside, self.last[safe], -1)
        return replace(self, first=first, last=last, step_px=self.step_px * step)

    def windows(self, taps: Int[NDArray, "positions taps"], step: float = 1) -> "Axis":
        """Every new position reads some old ones, this many apart; those outside of the map are padding."""
        inside = (taps >= 0) & (taps < len(self.first))
        safe = np.where(inside, taps, 0)
        first = np.where(inside, self.first[safe], NOWHERE).min(1, initial=NOWHERE)
        last = np.where(inside, self.last[safe], -1).max(1, initial=-1)
        return replace(self, first=first, last=last, step_px=self.step_px * step)


NOWHERE = 1 << 40


Axes = tuple[Axis, Axis]
"""(rows, columns) of what a tensor depends on."""


def axes_of_picture(shape: Sequence[int], dims: tuple[int, int]) -> Axes:
    """Those of the picture itself."""
    rows, columns = (Axis(d, np.arange(int(shape[d])), np.arange(int(shape[d]))) for d in dims)
    return rows, columns


def union(found: Sequence[Axis]) -> Axis:
    """What several tensors of one shape, up to broadcasting, depend on together."""
    exact, whole = all(a.exact for a in found), any(a.whole for a in found)
    n = max(len(a.first) for a in found)
    placed = [a for a in found if a.dim is not None and len(a.first) == n]
    if placed and len(placed) < len(found):  # a number of the whole picture beside a map
        found, whole = placed, True
    if len({a.dim for a in found}) > 1:
        first, last = min(int(a.first.min()) for a in found), max(int(a.last.max()) for a in found)
        return Axis(None, np.array([first]), np.array([last]), exact, whole)
    first, last = np.minimum.reduce([a.first for a in found]), np.maximum.reduce([a.last for a in found])
    return Axis(found[0].dim, first, last, exact, whole, found[0].step_px)
