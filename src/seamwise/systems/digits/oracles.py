"""Perfect stages of the digits chain: what the best finder and the best reader would write on what they really get."""

import torch
from torch.nn.functional import one_hot, pad

from seamwise.shapes import Float, Tensor
from seamwise.stage import Fields
from seamwise.systems.digits.world import N_COLUMNS, N_ROWS, PATCH_PX

NEAR_PX = 1  # a patch cut as near as this to the digit's place shows the digit still
UNLIKE = 0.2  # of a patch's ink squared: differences as large as this, and it is not that patch


def find_perfectly(inputs: Fields, gold: Fields) -> Float[Tensor, "batch 2 253"]:
    """All the probability on the right places: they can be seen in every picture."""
    return one_hot(gold["place"], N_ROWS * N_COLUMNS).float()


def read_perfectly(inputs: Fields, gold: Fields) -> Float[Tensor, "batch 2 10"]:
    """The right digit where the patch shows it, and nothing (even shares) where it shows something else.

    A patch shows the digit where it is like the one that is cut at the digit's place or a pixel beside it; networks
    read those as well (.95 and .93), and of patches unlike all nine a third. What is in other patches is clutter, or a
    corner of the digit: a perfect reader would know the digits that such a corner leaves possible, this one does not
    guess. So it is somewhat less than perfect, and `find` is blamed for what it might have guessed.
    """
    patch, side = inputs["patch"], PATCH_PX + 2 * NEAR_PX
    around = pad(inputs["image"], [NEAR_PX] * 4)[:, 0].unfold(1, side, 1).unfold(2, side, 1)
    item, place = torch.arange(len(patch), device=patch.device)[:, None], gold["place"]
    near = around[item, place // N_COLUMNS, place % N_COLUMNS].unfold(2, PATCH_PX, 1).unfold(3, PATCH_PX, 1)
    unlike = (patch[:, :, None, None] - near).square().sum((-2, -1)) / near.square().sum((-2, -1)).clamp_min(1e-6)
    shown = unlike.flatten(2).amin(2) < UNLIKE
    return torch.where(shown[..., None], one_hot(gold["digit"], 10).float(), 0.1)
