"""What the stages of the tracker's chain write, how it is trained and scored.

A place is three numbers: x and y from the middle of the search picture in sizes of the exemplar's object, and the log
of how much larger the object is.
"""

import torch
from torch.nn.functional import smooth_l1_loss

from seamwise import Target
from seamwise.metrics import as_it_is, categories
from seamwise.shapes import Float, Tensor
from seamwise.systems.track.geometry import SIZE_PX
from seamwise.systems.track.nets import REACH, SCALES, STEP, STRIDE
from seamwise.systems.track.nets import place as mean_place
from seamwise.systems.track.world import N_KINDS

NARROW = 0.8  # sigma in cells of the scores wanted, and in steps between scales
SCALE_WEIGHT = 3.0  # of the log of the scale in the loss, beside x and y


def missed(place: Float[Tensor, "batch 3"], labels: Float[Tensor, "batch 3"]) -> Float[Tensor, " batch"]:
    """1 - overlap (intersection over union) of the two squares."""
    half, right = place[:, 2].exp() / 2, labels[:, 2].exp() / 2
    low = torch.maximum(place[:, :2] - half[:, None], labels[:, :2] - right[:, None])
    high = torch.minimum(place[:, :2] + half[:, None], labels[:, :2] + right[:, None])
    shared = (high - low).clamp_min(0).prod(1)
    return 1 - shared / (4 * half.square() + 4 * right.square() - shared)


def _far(place: Float[Tensor, "batch 3"], labels: Float[Tensor, "batch 3"]) -> Float[Tensor, " batch"]:
    weight = place.new_tensor([1.0, 1.0, SCALE_WEIGHT])
    return smooth_l1_loss(place * weight, labels * weight, reduction="none", beta=0.05).sum(1)


def scores(labels: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 13 13"]:
    """The scores that a perfect correlation would write: those of a narrow Gaussian about the place."""
    scale = torch.tensor(SCALES, device=labels.device)
    cells = torch.arange(-REACH, REACH + 1.0, device=labels.device)
    at = labels[:, None, :2] / scale[:, None] * (SIZE_PX / STRIDE)
    across, down = (cells - at[..., k, None] for k in (0, 1))
    other = (scale.log() - labels[:, 2:]) / torch.tensor(STEP).log()
    far = across[..., None, :].square() + down[..., :, None].square() + other[..., None, None].square()
    return -far / (2 * NARROW**2)


def _surprise(response: Float[Tensor, "batch 3 13 13"], labels: Float[Tensor, "batch 3"]) -> Float[Tensor, " batch"]:
    """Cross-entropy of the scores wanted and those written, over all scales and shifts.

    Source: Danelljan et al. 2020, PrDiMP (arXiv 2003.12565). Differs: over scales too. SiamFC's balanced logistic loss
    is in `published`.
    """
    return -(scores(labels).flatten(1).softmax(-1) * response.flatten(1).log_softmax(-1)).sum(1)


def _off(response: Float[Tensor, "batch 3 13 13"], labels: Float[Tensor, "batch 3"]) -> Float[Tensor, " batch"]:
    """How far the mean place is off, in sizes: blunt scores are as wrong as those that are highest elsewhere."""
    return (mean_place(response) - labels)[:, :2].square().sum(1).sqrt()


kind = categories("kind", N_KINDS)
response = Target("response", _surprise, _off, scores, "sizes off")
place = Target("place", _far, missed, as_it_is, "1 - overlap")


def unmoved(labels: Float[Tensor, "n 3"]) -> Float[Tensor, " 3"]:
    """What one answers without looking: in the middle, as large as before."""
    return torch.zeros(3)
