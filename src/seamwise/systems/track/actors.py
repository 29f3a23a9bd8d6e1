"""Actors: what goes through a clip of the tracking world, how it looks in each frame and where it is laid."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray, UInt8
from seamwise.systems.track.lens import streak
from seamwise.systems.track.paths import Path
from seamwise.systems.track.things import Pose, Sprite, Thing

Look = Callable[[int], Sprite]
N_POSES = 6  # of those that are not followed
STEPS = 24  # to which the pose of the one that is followed is rounded, in a swing and in a turn from front to side
PAD_PX = 12  # beyond the frame: what a streak may draw into it
COARSE = 0.62  # smaller than that a sprite is first made small, lest px are skipped


@dataclass(frozen=True)
class Actor:
    """A look and a path; how far its outline bends (in shares of its size) and how long the shutter is open."""

    look: Look
    path: Path
    bend: float = 0.0
    shutter: float = 0.0


@dataclass(frozen=True)
class Patch:
    """A sprite as it lies in a frame: its px and where its upper left corner is, in the frame or outside it."""

    sprite: Sprite
    corner: tuple[int, int]


def followed(thing: Thing, path: Path, swing: float) -> Look:
    """A thing in each frame's own pose; made anew only where that differs from the last."""
    swings = swing if any(part.piece.swing for part in thing.parts) else 0.0
    last: dict[tuple[int, int], Sprite] = {}

    def look(k: int) -> Sprite:
        step = round(float(path.phase[k]) / (2 * np.pi) * STEPS) if swings else 0
        side = round(float(path.turn[k]) * STEPS)
        if (step, side) not in last:
            last.clear()
            last[step, side] = thing.sprite(Pose(step * 2 * np.pi / STEPS, swings, side / STEPS))
        return last[step, side]

    return look


def passing(thing: Thing, path: Path, swing: float) -> Look:
    """A thing in the nearest of few poses: quick."""
    poses = [Pose(k * 2 * np.pi / N_POSES, swing) for k in range(N_POSES if swing else 1)]
    made: dict[int, Sprite] = {}

    def look(k: int) -> Sprite:
        nearest = round(float(path.phase[k]) / (2 * np.pi) * N_POSES) % len(poses)
        if nearest not in made:
            made[nearest] = thing.sprite(poses[nearest])
        return made[nearest]

    return look


def patch(actor: Actor, k: int, frame: tuple[int, int] | None = None) -> Patch:
    """The actor in the kth frame: turned, stretched and bent, its edges sharp; within the frame alone where given."""
    sprite, path = actor.look(k), actor.path
    stretch = path.stretch[k]
    if stretch.max() < COARSE:
        small = cv2.resize(sprite, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        stretch = stretch * np.array(sprite.shape[1::-1]) / small.shape[1::-1]
        sprite = small
    height, width = sprite.shape[:2]
    cos, sin = np.cos(path.angle[k]), np.sin(path.angle[k])
    linear = np.array([[cos, -sin], [sin, cos]]) * stretch
    far = actor.bend * max(width, height)
    half = np.abs(linear) @ [width / 2 + far, height / 2 + far] + 1
    first, last = np.floor(path.centre[k] - half), np.ceil(path.centre[k] + half)
    if frame is not None:
        first, last = np.maximum(first, -PAD_PX), np.minimum(last, np.array(frame) + PAD_PX)
    across, down = (last - first).astype(int).tolist()
    if across <= 0 or down <= 0:
        return Patch(np.zeros((0, 0, 4), np.float32), (0, 0))
    # OpenCV counts from the middle of the first px, we from its border
    shift = path.centre[k] - first - 0.5 - linear @ [(width - 1) / 2, (height - 1) / 2]
    to, size = np.column_stack([linear, shift]), (across, down)
    laid = _bent(sprite, to, size, far, float(path.phase[k])) if far else cv2.warpAffine(sprite, to, size)
    return Patch(laid, (int(first[0]), int(first[1])))


def blurred(seen: Patch, actor: Actor, k: int) -> Patch:
    """The patch as the open shutter sees it."""
    centre = actor.path.centre
    movement = (centre[k] - centre[k - 1] if k else centre[min(1, len(centre) - 1)] - centre[0]) * actor.shutter
    kernel = streak(movement)
    if kernel is None or not seen.sprite.size:
        return seen
    pad = len(kernel) // 2
    wide = cv2.copyMakeBorder(seen.sprite, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    return Patch(cv2.filter2D(wide, -1, kernel), (seen.corner[0] - pad, seen.corner[1] - pad))


def lay(frame: UInt8[NDArray, "height width 3"], seen: Patch) -> None:
    """Lay a patch over the frame, where it lies in it."""
    place, part = inside(frame, seen.sprite, seen.corner)
    if part.size:
        *rgb, alpha = cv2.split(part)
        left = cv2.multiply(place, cv2.merge([1 - alpha] * 3), dtype=cv2.CV_32F)
        place[:] = cv2.add(left, cv2.merge(rgb), dtype=cv2.CV_8U)


def inside(frame: NDArray, part: NDArray, corner: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Where a part with its upper left corner there lies in the frame, and what of it lies in the frame."""
    left, top = corner
    part = part[max(-top, 0) : max(len(frame) - top, 0), max(-left, 0) : max(frame.shape[1] - left, 0)]
    return frame[max(top, 0) :, max(left, 0) :][: part.shape[0], : part.shape[1]], part


def box(seen: Patch) -> Float[NDArray, " 4"]:
    """The tight box about a patch to parts of a px: where more than half of a px belongs to the thing."""
    alpha = seen.sprite[..., 3]
    (left, right), (top, bottom) = _ends(alpha.max(0)), _ends(alpha.max(1))
    return np.array([seen.corner[0] + left, seen.corner[1] + top, right - left, bottom - top])


def _ends(profile: Float[NDArray, " px"]) -> tuple[float, float]:
    """Where a profile of alpha begins and ends."""
    there = np.flatnonzero(profile > 0.5)
    if not len(there):
        middle = len(profile) / 2
        return middle - 0.5, middle + 0.5
    first, last = int(there[0]), int(there[-1])
    before = profile[first - 1] if first else 0
    after = profile[last + 1] if last + 1 < len(profile) else 0
    return float(first + 1 - profile[first] - before), float(last + profile[last] + after)


def _bent(
    sprite: Sprite, to: Float[NDArray, "2 3"], size: tuple[int, int], far: float, phase: float
) -> Float[NDArray, "height width 4"]:
    """The sprite under an affine map, waves running through it."""
    back = cv2.invertAffineTransform(to).astype(np.float32)
    x, y = np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32)[:, None]
    pace = 5 / max(size)
    across = back[0, 0] * x + back[0, 1] * y + (back[0, 2] + far * np.sin(pace * y + 0.5 * phase))
    down = back[1, 0] * x + back[1, 1] * y + (back[1, 2] + far * np.sin(pace * x + 0.7 * phase))
    return np.asarray(cv2.remap(sprite, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR))
