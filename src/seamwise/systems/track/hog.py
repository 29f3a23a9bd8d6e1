"""Features by design: histograms of gradients, and colour."""

import math

import torch
from torch.nn.functional import avg_pool2d, pad

from seamwise.shapes import Float, Tensor

N_ORIENTATIONS, CELL_PX = 9, 4
N_HOG = N_ORIENTATIONS + 3
FAINT, STRONGEST = 0.02, 0.5  # of a cell's gradients: too weak to be made even; where a share is cut off
COLOUR = (0.6, 1.2, 1.2)  # weights of light, red against green, blue against yellow


def hog(pictures: Float[Tensor, "batch 3 px px"]) -> Float[Tensor, "batch 12 n n"]:
    """Nine orientations of gradients and three of colour, a cell of 4 × 4 px; pictures have values of 0 to 255.

    Source: Dalal and Triggs 2005, HOG. Differs: a cell is evened by the gradients of the 3 × 3 cells about it, once,
    and a pixel votes for two orientations but one cell; light and two opponent colours stand beside the orientations.
    """
    light = pictures.float() / 255
    grey = pad(light.mean(1), (1, 1, 1, 1), mode="replicate")
    across, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    strength = (across.square() + down.square() + 1e-8).sqrt()
    turn = torch.atan2(down, across).remainder(math.pi) * (N_ORIENTATIONS / math.pi)
    turn = turn.clamp_max(N_ORIENTATIONS - 1e-4)[:, None]  # what remains of a tiny negative angle rounds up to 9
    first, strength = turn.long(), strength[:, None]
    votes = turn.new_zeros(len(turn), N_ORIENTATIONS, *turn.shape[2:])
    votes.scatter_(1, first, (1 + first - turn) * strength)
    votes.scatter_add_(1, (first + 1) % N_ORIENTATIONS, (turn - first) * strength)
    cells = avg_pool2d(votes, CELL_PX)
    around = avg_pool2d(pad(cells.square().sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate"), 3, 1)
    even = (cells / (around.sqrt() + FAINT)).clamp_max(STRONGEST)
    return torch.cat([even, _opponents(avg_pool2d(light, CELL_PX))], 1)


def _opponents(colour: Float[Tensor, "batch 3 n n"]) -> Float[Tensor, "batch 3 n n"]:
    red, green, blue = colour.unbind(1)
    told = (colour.mean(1) - 0.5, red - green, blue - (red + green) / 2)
    return torch.stack([weight * value for weight, value in zip(COLOUR, told, strict=True)], 1)
