"""From answers at every shift to one place, and how sure it is."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from torch.nn.functional import interpolate

from seamwise.shapes import Float, NDArray, Tensor
from seamwise.systems.track.correlation import windowed
from seamwise.systems.track.matcher import Following

NEAR = 0.12  # of a map's side: answers as near as this to the highest are of the same place


@final
@dataclass(frozen=True)
class Answer:
    """Which map answered highest, at what shift in px of the crop, x and y, how high, and how far above all others.

    above: 1 - the highest answer elsewhere, as a share of `height`; 0 to 1.
    """

    map: int
    shift: Float[NDArray, "2"]
    height: float
    above: float


def answer_of(maps: Float[Tensor, "n m m"], penalty: list[float], following: Following, cell_px: float) -> Answer:
    """The highest answer of some maps, no shift in their middle; each map counts `penalty` times."""
    n, finer = maps.shape[-1], following.upsample
    if finer > 1:
        maps = interpolate(maps[None], scale_factor=finer, mode="bicubic", align_corners=False)[0]
    weighed = maps * maps.new_tensor(penalty)[:, None, None]
    if following.window:
        weighed = (1 - following.window) * weighed + following.window * weighed.amax() * windowed(maps.shape[-1])
    best = int(weighed.flatten().argmax())
    size = maps.shape[-1]
    which, row, column = best // size**2, best // size % size, best % size
    at = np.array([column, row], dtype=np.float64)
    if finer == 1:
        at += _within(weighed[which].numpy(), row, column)
        middle = float(n // 2)
    else:
        middle = (n // 2 + 0.5) * finer - 0.5
    height = float(maps.amax())
    return Answer(which, (at - middle) * (cell_px / finer), height, _above(maps[which], row, column, height))


def _within(answers: Float[NDArray, "m m"], row: int, column: int) -> Float[NDArray, "2"]:
    """How far the top of a parabola through a highest cell and its neighbours is from that cell, x and y."""
    size = len(answers)
    across = answers[row, [(column - 1) % size, column, (column + 1) % size]]
    down = answers[[(row - 1) % size, row, (row + 1) % size], column]
    return np.array([_top(line) for line in (across, down)])


def _top(line: Float[NDArray, "3"]) -> float:
    """A Gaussian's logarithm is a parabola; where the answers are no such thing, they are taken as they are."""
    before, at, after = (float(v) for v in (np.log(line) if line.min() > 0 else line))
    bend = before - 2 * at + after
    return 0.0 if bend > -1e-9 else min(max((before - after) / (2 * bend), -0.5), 0.5)


def _above(answers: Float[Tensor, "m m"], row: int, column: int, height: float) -> float:
    near = max(1, round(NEAR * len(answers)))
    others = answers.clone()
    others[max(0, row - near) : row + near + 1, max(0, column - near) : column + near + 1] = -math.inf
    return min(max(1 - float(others.amax()) / max(height, 1e-6), 0.0), 1.0)
