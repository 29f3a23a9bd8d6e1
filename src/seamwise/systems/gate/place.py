"""The finder's target: labels are face boxes (left, top, side), in px; written are shares of all cells."""

import numpy as np
import torch

from seamwise.metrics import TINY, Target
from seamwise.shapes import Float, Tensor
from seamwise.systems.gate.nets import FACE_PX, LEVELS_PX, N_CELLS, N_SIDE, PATCH_PX, sure
from seamwise.systems.gate.scenes import PICTURE_PX


def gold(box: Float[Tensor, "n 3"]) -> Float[Tensor, "n cells"]:
    """Shares of the eight cells around a box, whose mean box it is: linear in level, row and column."""
    sides = np.log([PICTURE_PX * FACE_PX / side for side in LEVELS_PX])
    at = np.interp(box[:, 2].clamp_min(1).log().numpy(), sides, np.arange(len(sides)))
    lower = np.floor(at).clip(0, len(sides) - 2).astype(np.int64)
    centre = box[:, :2] + box[:, 2:] / 2
    shares = torch.zeros(len(box), N_CELLS)
    for level, weight in ((lower, 1 - (at - lower)), (lower + 1, at - lower)):
        _add_level(shares, centre, torch.from_numpy(level), torch.from_numpy(weight).float())
    return shares


def _add_level(shares: Tensor, centre: Tensor, level: Tensor, weight: Tensor) -> None:
    n_side = torch.tensor(N_SIDE)[level]
    first = torch.tensor([0, *np.cumsum(np.square(N_SIDE))[:-1]])[level]
    at = centre * (torch.tensor(LEVELS_PX)[level] / PICTURE_PX)[:, None] + 1 - PATCH_PX / 2
    at = at.clamp_min(0).minimum(n_side[:, None] - 1.0)
    low = at.floor().minimum(n_side[:, None] - 2.0)
    rest = at - low
    for right in (0, 1):
        for down in (0, 1):
            share = weight * (rest[:, 0] - (1 - right)).abs() * (rest[:, 1] - (1 - down)).abs()
            cell = first + ((low[:, 1] + down) * n_side + low[:, 0] + right).long()
            shares.scatter_add_(1, cell[:, None], share[:, None])


def cross_entropy(written: Float[Tensor, "n cells"], box: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """-log of the shares, weighted by the gold's."""
    return -(gold(box) * written.clamp_min(TINY).log()).sum(1)


def missed(written: Float[Tensor, "n cells"], box: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """1 where the found box and the face overlap by less than half (intersection over union), else 0."""
    found, _ = sure(written)
    size = found[:, 2].exp()
    return (overlap(torch.cat([found[:, :2] - size[:, None] / 2, size[:, None]], 1), box) < 0.5).float()


def overlap(one: Float[Tensor, "n 3"], other: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
    """Intersection over union of squares (left, top, side)."""
    low = one[:, :2].maximum(other[:, :2])
    high = (one[:, :2] + one[:, 2:]).minimum(other[:, :2] + other[:, 2:])
    both = (high - low).clamp_min(0).prod(1)
    return both / (one[:, 2].square() + other[:, 2].square() - both).clamp_min(TINY)


place = Target("place", cross_entropy, missed, gold, "share missed")
