"""Another way to the landmarks: from where each bone's mask begins and ends. Decisions, so no gradient crosses it."""

import torch
from torch.nn.functional import one_hot

from seamwise.shapes import Bool, Float, Tensor, UInt8
from seamwise.systems.age.nets import N_BONES
from seamwise.systems.age.shape import BASES, BONE_ENDS, N_LANDMARKS, WRIST, moved, similarity, upright

FEWEST = 3  # places of a bone that is there
FINGERS = ((0, 2), (3, 6), (7, 10), (11, 14), (15, 18))  # the first and the last bone of each
BELOW = 0.48  # of the metacarpals, from their bases to the wrist's landmark


def ends(
    bones: Float[Tensor, "batch n n 20"], picture: UInt8[Tensor, "batch 1 px px"], mm_per_px: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 25 2"]:
    """Landmarks in mm from the picture's middle: joints between a bone's end and the next one's beginning.

    A bone is a rod: its half length is the root of three times the variance of its places along it. Bones that no mask
    shows are put where an upright hand has them, in relation to the others.
    """
    mask = one_hot(bones.argmax(-1), 1 + N_BONES).float()[..., 1:]
    at = (torch.arange(bones.shape[1], device=bones.device) + 0.5) / bones.shape[1] * 2 - 1
    mass = mask.sum((1, 2)).clamp_min(1e-6)
    centre = torch.stack([(mask.sum(1) * at[:, None]).sum(1), (mask.sum(2) * at[:, None]).sum(1)], -1) / mass[..., None]
    places = torch.stack([at.expand(len(at), -1), at[:, None].expand(-1, len(at))], -1)
    away = places[None, :, :, None] - centre[:, None, None]
    spread = torch.einsum("bijk,bijkx,bijky->bkxy", mask, away, away) / mass[..., None, None]
    variance, direction = torch.linalg.eigh(spread)
    half = (3 * variance[..., 1].clamp_min(0)).sqrt()[..., None] * direction[..., 1]
    place = _joined(centre, _outwards(centre, half, mass >= FEWEST), mass >= FEWEST)
    return place * (mm_per_px * picture.shape[-1] / 2)[:, None, None]


def _outwards(
    centre: Float[Tensor, "batch 19 2"], half: Float[Tensor, "batch 19 2"], there: Bool[Tensor, "batch 19"]
) -> Float[Tensor, "batch 19 2"]:
    """Half lengths that point to the finger's tip: to the next bone that is there, or away from the one before."""
    towards = torch.zeros_like(half)
    for first, last in FINGERS:
        for bone in range(first, last + 1):
            for other in (*range(first, bone), *range(last, bone, -1)):  # the next one last, as that is best
                way = centre[:, bone] - centre[:, other] if other < bone else centre[:, other] - centre[:, bone]
                towards[:, bone] = torch.where(there[:, other, None], way, towards[:, bone])
    return torch.where((half * towards).sum(-1, keepdim=True) < 0, -half, half)


def _joined(
    centre: Float[Tensor, "batch 19 2"], half: Float[Tensor, "batch 19 2"], there: Bool[Tensor, "batch 19"]
) -> Float[Tensor, "batch 25 2"]:
    """Landmarks from the ends of bones: the mean of all ends that meet there."""
    meet, weight = centre.new_zeros(len(centre), N_LANDMARKS, 2), centre.new_zeros(len(centre), N_LANDMARKS)
    for k, side in ((0, -1.0), (1, 1.0)):
        at = torch.tensor([ends[k] for ends in BONE_ENDS])
        meet = meet.index_add(1, at, (centre + side * half) * there[..., None])
        weight = weight.index_add(1, at, there.float())
    place = meet / weight.clamp_min(1)[..., None]
    palm = list(BASES)
    bases, knuckles = place[:, palm].mean(1), place[:, [b + 1 for b in palm]].mean(1)
    known = weight > 0
    place, known = place.clone(), known.clone()
    place[:, WRIST] = bases + BELOW * (bases - knuckles)
    known[:, WRIST] = known[:, palm].all(1)
    upright_here = moved(upright().to(place)[None], similarity(place, known.float()))
    return torch.where(known[..., None], place, upright_here)
