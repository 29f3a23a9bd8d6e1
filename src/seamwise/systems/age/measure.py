"""What is measured of a located hand, by design: the lengths of its bones, and its joints and wrist in close-up.

Gradient crosses all of it: lengths and close-ups move with the landmarks.
"""

import torch
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from seamwise.shapes import Float, Tensor, UInt8
from seamwise.systems.age.nets import JOINT_PX, N_JOINTS, WRIST_PX, pooled
from seamwise.systems.age.shape import JOINTS, WRIST, axes, bone_lengths, hand_size, mirrored

LARGEST_PX = 512
WRIST_SIDE, WRIST_UP = 2.2, 0.14  # in hand sizes: the wrist's close-up, and its middle above the landmark
N_HANDMADE = N_JOINTS * 22 + 36
SMALLEST_SIZE = 0.02  # of a hand, where the picture is 2 wide


def measure(
    picture: UInt8[Tensor, "batch 1 px px"],
    landmarks: Float[Tensor, "batch 25 2"],
    mm_per_px: Float[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch 19"], Float[Tensor, "batch 15 44 44"], Float[Tensor, "batch 88 88"]]:
    """Lengths in mm; joints and wrist as close-ups of 0 to 1, the finger upwards and the thumb to the right.

    landmarks: in mm from the middle of the picture.
    """
    place = landmarks / (mm_per_px * picture.shape[-1] / 2)[:, None, None]
    size = hand_size(place).clamp_min(SMALLEST_SIZE)
    along, up = axes(place)
    thumb = torch.where(mirrored(place.detach()), -1.0, 1.0)[:, None]
    sides = place.new_tensor([joint[2] for joint in JOINTS])
    joints = _views(place[:, [joint[0] for joint in JOINTS]], along, size[:, None] * sides / 2, thumb)
    middle = place[:, WRIST] + WRIST_UP * size[:, None] * up
    wrist = _views(middle[:, None], up[:, None], size[:, None] * WRIST_SIDE / 2, thumb)
    light = pooled(picture, min(LARGEST_PX, picture.shape[-1]))
    return bone_lengths(landmarks), _seen(light, joints, JOINT_PX), _seen(light, wrist, WRIST_PX)[:, 0]


def _views(
    middle: Float[Tensor, "batch n 2"],
    up: Float[Tensor, "batch n 2"],
    half: Float[Tensor, "batch n"],
    thumb: Float[Tensor, "batch 1"],
) -> Float[Tensor, "batch n 2 3"]:
    """Views about a middle, the given direction upwards, the thumb's side to the right."""
    right = torch.stack([-up[..., 1], up[..., 0]], -1) * thumb[..., None]
    return torch.stack([right * half[..., None], -up * half[..., None], middle], -1)


def _seen(
    light: Float[Tensor, "batch 1 px px"], views: Float[Tensor, "batch n 2 3"], side_px: int
) -> Float[Tensor, "batch n side side"]:
    batch, n = views.shape[:2]
    grid = affine_grid(views.flatten(0, 1), [batch * n, 1, side_px, side_px], align_corners=False)
    seen = grid_sample(light, grid.view(batch, n * side_px, side_px, 2), align_corners=False)
    return seen.view(batch, n, side_px, side_px)


def handmade_signs(
    joints: Float[Tensor, "batch 15 44 44"], wrist: Float[Tensor, "batch 88 88"]
) -> Float[Tensor, "batch signs"]:
    """Signs of maturity measured by hand, 0 to 1.

    Of each joint, along the bone's axis, how bright eleven slices are in its middle third, and how wide what is bright:
    a plate is a dark slice, an epiphysis a narrow one. Of the wrist, how much of each of 6 × 6 parts is bone.
    """
    level = joints.mean((2, 3), keepdim=True), joints.std((2, 3), keepdim=True) + 0.02
    even = ((joints - level[0]) / level[1]).clamp(-2, 2)
    core = even[..., JOINT_PX // 3 : -(JOINT_PX // 3)].mean(-1).view(-1, N_JOINTS, 11, 4).mean(-1)
    wide = (even * 4).sigmoid().mean(-1).view(-1, N_JOINTS, 11, 4).mean(-1)
    around = (wrist - wrist.mean((1, 2), keepdim=True)) / (wrist.std((1, 2), keepdim=True) + 0.02)
    bone = avg_pool2d((around[:, None, 2:-2, 2:-2] * 4).sigmoid(), 14)
    return torch.cat([(core.flatten(1) / 4 + 0.5), wide.flatten(1), bone.flatten(1)], 1)
