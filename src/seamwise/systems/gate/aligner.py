"""Where exactly are the eyes? Five points of a face from a rough box, by linear steps that correct one another.

Source: the supervised descent method, Xiong & De la Torre 2013: each step looks at the face where the step before
has put it, and tells from its features how far that is off.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn
from torch.nn.functional import grid_sample

from seamwise.shapes import Float, NDArray, Tensor
from seamwise.systems.gate import light, scenes
from seamwise.systems.gate.light import Frame, Pose
from seamwise.systems.gate.london import FRAME, People, five
from seamwise.systems.gate.recogniser import Hog
from seamwise.systems.gate.scenes import BOX_BELOW, BOX_EYES

WINDOW_PX, SHARE = 160, 0.5  # a rough box with its surroundings: px, and how much of the side the box takes
WINDOW = Frame(WINDOW_PX, BOX_EYES / 2 / SHARE, BOX_BELOW)  # the same in eye distances, were the box right
LOOK_PX, CELL_PX, N_STEPS, RIDGE, BATCH = 48, 6, 4, 3.0, 250
ROLL, PLACE, SCALE = np.deg2rad(16), 0.07 * BOX_EYES, 0.13  # how far rough boxes are off: at most, else one deviation

Boxes = Float[Tensor, "batch 4"]  # centre x and y, side, roll


class Align(nn.Module):
    """Eyes, nose tip and mouth corners, px of a window around a rough box; see `window_of`."""

    def __init__(self, n_steps: int = N_STEPS) -> None:
        super().__init__()
        self.hog = Hog(LOOK_PX, CELL_PX)
        self.steps = nn.ModuleList(nn.Linear(self.hog.n_features, 10) for _ in range(n_steps))

    def forward(self, window: Float[Tensor, "batch 1 w w"]) -> Float[Tensor, "batch 5 2"]:
        box = rough_boxes(len(window)).to(window)
        points = window.new_zeros(len(window), 5, 2)
        for step in self.steps:
            points = _from_box(step(self.hog(looked_at(window, box))).reshape(-1, 5, 2), box)
            box = box_of(points)
        return points


def rough_boxes(n: int) -> Boxes:
    """The boxes that n windows were made around, in the windows."""
    return torch.tensor([WINDOW_PX / 2, WINDOW_PX / 2, SHARE * WINDOW_PX, 0.0]).expand(n, 4)


def box_of(points: Float[Tensor, "batch 5 2"]) -> Boxes:
    """The face box that belongs to the eyes, and its roll."""
    along = points[:, 1] - points[:, 0]
    size = along.norm(dim=1, keepdim=True).clamp_min(1)
    down = torch.stack([-along[:, 1], along[:, 0]], 1)
    centre = points[:, :2].mean(1) + BOX_BELOW * down
    return torch.cat([centre, BOX_EYES * size, torch.atan2(along[:, 1:], along[:, :1])], 1)


def _turned(points: Float[Tensor, "batch k 2"], roll: Float[Tensor, " batch"]) -> Float[Tensor, "batch k 2"]:
    cos, sin, (x, y) = roll.cos()[:, None], roll.sin()[:, None], points.unbind(2)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], 2)


def _from_box(points: Float[Tensor, "batch k 2"], box: Boxes) -> Float[Tensor, "batch k 2"]:
    """From shares of a box's side, around its centre, to px."""
    return _turned(points, box[:, 3]) * box[:, None, 2:3] + box[:, None, :2]


def _into_box(points: Float[Tensor, "batch k 2"], box: Boxes) -> Float[Tensor, "batch k 2"]:
    return _turned((points - box[:, None, :2]) / box[:, None, 2:3], -box[:, 3])


def looked_at(
    window: Float[Tensor, "batch 1 w w"], box: Boxes, px: int = LOOK_PX, share: float = 1.0
) -> Float[Tensor, "batch 1 p p"]:
    """What is in boxes, upright; `share` times as large."""
    line = ((torch.arange(px, device=window.device) + 0.5) / px - 0.5) * share
    y, x = torch.meshgrid(line, line, indexing="ij")
    at = torch.stack([x, y], 2).reshape(1, -1, 2).expand(len(box), -1, 2)
    places = _from_box(at, box) * (2 / window.shape[3]) - 1
    return grid_sample(window, places.reshape(-1, px, px, 2), padding_mode="border", align_corners=False)


def window_of(grey: UInt8[NDArray, "h w"], box: tuple[float, float, float]) -> UInt8[NDArray, "160 160"]:
    """The window around a rough box (x, y, side) of a photo; what lies outside the photo repeats its border."""
    x, y, side = box
    reach = side / SHARE / 2
    left, top = x + side / 2 - reach, y + side / 2 - reach
    unit = WINDOW_PX / (2 * reach)
    if unit < 0.6:  # made small first, lest pixels are skipped
        r0, c0 = max(int(top), 0), max(int(left), 0)
        grey = grey[r0 : max(int(top + 2 * reach) + 2, r0 + 1), c0 : max(int(left + 2 * reach) + 2, c0 + 1)]
        size = max(round(grey.shape[1] * 1.3 * unit), 1), max(round(grey.shape[0] * 1.3 * unit), 1)
        shrunk_x, shrunk_y = size[0] / grey.shape[1], size[1] / grey.shape[0]
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        left, top = (left - c0) * shrunk_x, (top - r0) * shrunk_y
        across, down = unit / shrunk_x, unit / shrunk_y
    else:
        across = down = unit
    affine = np.array([[across, 0, -left * across], [0, down, -top * down]])
    affine[:, 2] += affine[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from the middle of the first pixel
    size = (WINDOW_PX, WINDOW_PX)
    return np.asarray(cv2.warpAffine(grey, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def fit_aligner(
    people: People, n_windows: int = 10_000, seed: int = 0, told: Callable[[str], None] = lambda _: None
) -> Align:
    """Learn the steps, by ridge regression, from windows around rough boxes of these people."""
    rng = np.random.default_rng([seed, n_windows])
    window, points = _windows(rng, people, n_windows, told)
    align = Align()
    pictures, truth = torch.from_numpy(window)[:, None], torch.from_numpy(points)
    box = rough_boxes(n_windows)
    for k, step in enumerate(align.steps):
        parts = (slice(first, first + BATCH) for first in range(0, n_windows, BATCH))
        features = torch.cat([align.hog(looked_at(pictures[part].float() / 255, box[part])) for part in parts])
        assert isinstance(step, nn.Linear)
        _solve(step, features, _into_box(truth, box).flatten(1))
        found = _from_box(step(features).detach().reshape(-1, 5, 2), box)
        box = box_of(found)
        off = (found - truth)[:, :2].norm(dim=2).mean() / (truth[:, 1] - truth[:, 0]).norm(dim=1).mean()
        told(f"aligner: step {k + 1} of {len(align.steps)}, eyes off by {float(off):.3f} of their distance")
    return align.requires_grad_(False).eval()


@torch.no_grad()
def _solve(step: nn.Linear, features: Float[Tensor, "n f"], wanted: Float[Tensor, "n 10"]) -> None:
    mean, goal = features.mean(0), wanted.mean(0)
    x, y = (features - mean).double(), (wanted - goal).double()
    square = x.T @ x
    square.diagonal().add_(RIDGE)
    weight = torch.linalg.solve(square, x.T @ y).T
    step.weight.copy_(weight)
    step.bias.copy_(goal - weight.float() @ mean)


def _windows(
    rng: np.random.Generator, people: People, n: int, told: Callable[[str], None]
) -> tuple[UInt8[NDArray, "n 160 160"], Float[NDArray, "n 5 2"]]:
    """Windows around rough boxes and where the points are; half before the wall of the set, half in a room."""
    windows = np.empty((n, WINDOW_PX, WINDOW_PX), dtype=np.uint8)
    points = np.empty((n, 5, 2), dtype=np.float32)
    known = five(people.landmarks)
    for k in range(n):
        row, look = k % len(people), int(rng.integers(2))
        pose = _rough(rng)
        layers = light.shown(np.dstack([people.grey[row, look], people.alpha[row, look]]), FRAME, WINDOW, pose)
        linear = light.relit(rng, layers[..., 0], WINDOW)
        if rng.random() < 0.5:
            linear = in_a_room(rng, linear, layers[..., 1])
        windows[k] = light.developed(rng, linear)
        there = light.moved(known[row, look], FRAME, WINDOW, pose)
        points[k] = there[[1, 0, 2, 4, 3]] if pose.mirrored else there
        if k % 1000 == 999:
            told(f"aligner: {k + 1} of {n} windows")
    return windows, points


def _rough(rng: np.random.Generator) -> Pose:
    pose = light.any_pose(rng, roll=0, scale=SCALE, shift=PLACE)
    return Pose(pose.turn, float(rng.uniform(-ROLL, ROLL)), pose.scale, pose.shift, pose.mirrored)


def in_a_room(
    rng: np.random.Generator, linear: Float[NDArray, "p p"], alpha: UInt8[NDArray, "p p"]
) -> Float[NDArray, "p p"]:
    """A face, linear in the light, before part of a drawn room."""
    room = scenes.room_of(int(rng.integers(2000)))
    side = int(rng.integers(len(room) // 3, len(room)))
    row, column = rng.integers(0, len(room) - side + 1, 2).tolist()
    behind = cv2.resize(room[row : row + side, column : column + side], alpha.shape[::-1]).astype(np.float32) / 255
    behind = behind**light.LINEAR * np.float32(rng.uniform(0.2, 1.2))
    share = alpha.astype(np.float32) / 255
    return np.asarray(linear * share + behind * (1 - share))
