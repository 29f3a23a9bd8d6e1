"""The shape of a hand: its 25 landmarks, the bones between them, and how one hand lies in relation to another."""

from functools import lru_cache

import torch
from torch.nn.functional import normalize

from seamwise.shapes import Bool, Float, Tensor
from seamwise.systems.age.anatomy import N_LANDMARKS, SEGMENTS

__all__ = [
    "BASES",
    "BONE_ENDS",
    "JOINTS",
    "N_LANDMARKS",
    "WRIST",
    "axes",
    "bone_lengths",
    "hand_size",
    "mirrored",
    "moved",
    "similarity",
    "upright",
]

WRIST = 0
BASES = (5, 10, 15, 20)  # of the metacarpals of index, middle, ring and little finger
BONE_ENDS = tuple((int(start), int(end)) for start, end in SEGMENTS)
JOINTS = (
    *((1, 2, 0.63), (2, 3, 0.58), (3, 4, 0.48)),
    *(joint for b in BASES for joint in ((b + 1, b + 2, 0.63), (b + 2, b + 3, 0.52), (b + 3, b + 4, 0.44))),
)
"""(the joint, the next landmark, the side of its patch in hand sizes)"""

# the mean of drawn hands, right and upright, thumb to the right, filling a view of -1 to 1
UPRIGHT = (
    (-0.058, 0.700), (0.178, 0.488), (0.388, 0.182), (0.500, -0.040), (0.587, -0.200),
    (0.066, 0.437), (0.131, -0.116), (0.186, -0.430), (0.213, -0.620), (0.233, -0.762),
    (-0.041, 0.428), (-0.061, -0.113), (-0.065, -0.472), (-0.072, -0.706), (-0.076, -0.860),
    (-0.130, 0.435), (-0.222, -0.037), (-0.279, -0.369), (-0.320, -0.587), (-0.346, -0.742),
    (-0.192, 0.462), (-0.369, 0.057), (-0.478, -0.181), (-0.540, -0.322), (-0.587, -0.452),
)  # fmt: skip
SIZED_BY = tuple(k for k, bone in enumerate(BONE_ENDS) if bone[0] in (5, 6, 7, 10, 11, 12, 15, 16, 17))


@lru_cache
def upright() -> Float[Tensor, "25 2"]:
    """The landmarks of a hand as it is best looked at."""
    return torch.tensor(UPRIGHT)


def bone_lengths(landmarks: Float[Tensor, "batch 25 2"]) -> Float[Tensor, "batch 19"]:
    """The distances joint to joint, in the landmarks' unit and in the order of growth.BONES."""
    start, end = (landmarks[:, [bone[k] for bone in BONE_ENDS]] for k in (0, 1))
    return (end - start).square().sum(-1).clamp_min(1e-8).sqrt()


def hand_size(landmarks: Float[Tensor, "batch 25 2"]) -> Float[Tensor, " batch"]:
    """The mean length of the nine longest bones of the three middle fingers: steady whatever is misplaced."""
    return bone_lengths(landmarks)[:, list(SIZED_BY)].mean(1)


def similarity(
    landmarks: Float[Tensor, "batch 25 2"], weight: Float[Tensor, "batch 25"] | None = None
) -> Float[Tensor, "batch 2 3"]:
    """The view through which a hand is seen upright: turned, mirrored, zoomed and moved as fits best.

    weight: how much each landmark counts in the sum of squares; all alike by default.
    """
    best, _ = _fits(landmarks, torch.ones_like(landmarks[..., 0]) if weight is None else weight)
    return best


def mirrored(landmarks: Float[Tensor, "batch 25 2"]) -> Bool[Tensor, " batch"]:
    """Whether the upright hand must be mirrored to be like this one."""
    _, mirror = _fits(landmarks, torch.ones_like(landmarks[..., 0]))
    return mirror


def moved(place: Float[Tensor, "#batch n 2"], view: Float[Tensor, "batch 2 3"]) -> Float[Tensor, "batch n 2"]:
    """Places seen through a view, in the picture."""
    return place @ view[:, :, :2].transpose(1, 2) + view[:, None, :, 2]


def axes(landmarks: Float[Tensor, "batch 25 2"]) -> tuple[Float[Tensor, "batch 15 2"], Float[Tensor, "batch 2"]]:
    """Unit vectors from each joint towards the finger's tip, and from the wrist towards the fingers."""
    start, end = (landmarks[:, [joint[k] for joint in JOINTS]] for k in (0, 1))
    palm = landmarks[:, list(BASES)].mean(1) - landmarks[:, WRIST]
    return normalize(end - start, dim=-1), normalize(palm, dim=-1)


def _fits(
    landmarks: Float[Tensor, "batch 25 2"], weight: Float[Tensor, "batch 25"]
) -> tuple[Float[Tensor, "batch 2 3"], Bool[Tensor, " batch"]]:
    share = (weight / weight.sum(1, keepdim=True).clamp_min(1e-6))[..., None]
    hand = upright().to(landmarks)
    middle, centre = (share * hand).sum(1), (share * landmarks).sum(1)
    own, given = hand - middle[:, None], share * (landmarks - centre[:, None])
    size = (share * own.square()).sum((1, 2)).clamp_min(1e-6)
    plain, mirror = (_turned(given, own * own.new_tensor([side, 1.0])) / size for side in (1.0, -1.0))
    is_mirror = mirror.square().sum(0) > plain.square().sum(0)
    along, across = torch.where(is_mirror, mirror, plain)
    side = torch.where(is_mirror, -1.0, 1.0)
    turn = torch.stack([torch.stack([along * side, -across], 1), torch.stack([across * side, along], 1)], 1)
    return torch.cat([turn, (centre - (turn @ middle[..., None])[..., 0])[..., None]], 2), is_mirror


def _turned(given: Float[Tensor, "batch 25 2"], own: Float[Tensor, "batch 25 2"]) -> Float[Tensor, "2 batch"]:
    along = (given * own).sum((1, 2))
    across = (given[..., 1] * own[..., 0] - given[..., 0] * own[..., 1]).sum(1)
    return torch.stack([along, across])
