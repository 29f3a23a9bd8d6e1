"""A photograph of a face as it might have been: turned a little, in other light, by another camera.

Every face is given the same head: a relief in eye distances, around the middle of the eyes. Light falls on that
relief, with the shadows it casts, and a turn moves what stands out against what lies behind.

Source: the shape for relighting from one picture is Blanz & Vetter 1999; one generic head for all as in Hassner 2013.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import UInt8

from seamwise.shapes import Float, NDArray

PIVOT = 0.8  # how far forward the axis lies about which a head turns
SHADOW_STEPS = tuple(np.linspace(0.1, 1.0, 8).tolist())  # where a ray to the light is looked at, in eye distances
NEARLY = 0.03  # what stands out less than that casts no shadow
LINEAR = 1.3  # from stored grey values to light

Picture = Float[NDArray, "p p"]


@dataclass(frozen=True)
class Frame:
    """A square picture of an upright face: `reach` eye distances from its centre to its border.

    The centre lies `below` eye distances below the middle of the eyes. Places are px from the upper left corner.
    """

    px: int
    reach: float
    below: float = 0.0

    @property
    def unit(self) -> float:
        """Px for each eye distance."""
        return self.px / (2 * self.reach)

    def place(self, at: Float[NDArray, "*n 2"]) -> Float[NDArray, "*n 2"]:
        """Px of places given in eye distances around the middle of the eyes."""
        return np.asarray((at + np.array([self.reach, self.reach - self.below])) * self.unit)

    def from_photo(self, eyes: Float[NDArray, "2 2"]) -> Float[NDArray, "2 3"]:
        """The affine map that sets the eyes of a photo, px, level into the frame."""
        along = (eyes[1] - eyes[0]) * self.unit / ((eyes[1] - eyes[0]) ** 2).sum()
        linear = np.array([[along[0], along[1]], [-along[1], along[0]]])
        return np.column_stack([linear, self.place(np.zeros(2)) - linear @ eyes.mean(0)])


@dataclass(frozen=True)
class Pose:
    """How a face is shown: turned (how far it shifts for what lies one eye distance before), rolled, moved, mirrored.

    Roll in radians, the shift in eye distances, applied after the face was scaled.
    """

    turn: tuple[float, float] = (0.0, 0.0)
    roll: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    mirrored: bool = False


def any_pose(
    rng: np.random.Generator, *, turn: float = 0.16, roll: float = 0.03, scale: float = 0.025, shift: float = 0.036
) -> Pose:
    """A pose by chance; each number is a standard deviation (of a logarithm for the scale)."""
    x, y, angle, size, left, down = rng.standard_normal(6).tolist()
    grown = float(np.exp(scale * size))
    return Pose((turn * x, 0.7 * turn * y), roll * angle, grown, (shift * left, shift * down), bool(rng.random() < 0.5))


def depth_at(u: Float[NDArray, "*n"], v: Float[NDArray, "*n"]) -> Float[NDArray, "*n"]:
    """How far the generic head comes forward at places in eye distances, right of and below the middle of the eyes."""
    head = np.sqrt(np.clip(1 - (u / 1.15) ** 2 - ((v - 0.35) / 1.65) ** 2, 0.02, None))
    nose = 0.45 * np.exp(-((u / 0.18) ** 2)) * np.clip((v + 0.05) / 0.75, 0, 1) / (1 + np.exp((v - 0.72) / 0.03))
    brow = 0.10 * np.exp(-(((v + 0.22) / 0.12) ** 2) - (u / 0.75) ** 4)
    sockets = -0.13 * np.exp(-(((np.abs(u) - 0.5) / 0.25) ** 2) - (v / 0.16) ** 2)
    lips = 0.07 * np.exp(-((u / 0.35) ** 2) - ((v - 1.05) / 0.12) ** 2)
    chin = 0.08 * np.exp(-((u / 0.3) ** 2) - ((v - 1.5) / 0.18) ** 2)
    groove = -0.05 * np.exp(-((u / 0.3) ** 2) - ((v - 1.25) / 0.08) ** 2)
    return np.asarray(head + nose + brow + sockets + lips + chin + groove)


@lru_cache(maxsize=8)
def _places(frame: Frame) -> tuple[Picture, Picture]:
    """Where the pixels of a frame are, in eye distances around the middle of the eyes."""
    line = ((np.arange(frame.px) + 0.5) / frame.unit - frame.reach).astype(np.float32)
    u, v = np.meshgrid(line, line + np.float32(frame.below))
    return u, v


@lru_cache(maxsize=8)
def _relief(frame: Frame) -> tuple[Picture, Float[NDArray, "p p 3"]]:
    """The depth of the generic head in eye distances, and where its surface faces."""
    depth = depth_at(*_places(frame)).astype(np.float32)
    down, right = np.gradient(cv2.GaussianBlur(depth, (0, 0), 0.035 * frame.unit) * frame.unit)
    normal = np.stack([-right, -down, np.ones_like(depth)], 2)
    return depth, (normal / np.linalg.norm(normal, axis=2, keepdims=True)).astype(np.float32)


def light(rng: np.random.Generator, frame: Frame) -> Picture:
    """The light on each pixel, by chance: from anywhere before the face, hard or soft, half of it with cast shadows."""
    depth, normal = _relief(frame)
    across, above = rng.normal(0, 0.7), rng.normal(0.3, 0.5)
    towards = np.array([np.sin(across) * np.cos(above), -np.sin(above), np.cos(across) * np.cos(above)])
    soft, casts = rng.uniform(0.05, 0.8), rng.random() < 0.5
    facing = np.clip((normal @ towards.astype(np.float32) + 0.1) / 1.1, 0, None)
    if casts and abs(towards[2]) > 0.15:
        facing *= _shadow(depth, towards, frame.unit)
    return np.asarray(soft + (1 - soft) * 1.3 * facing, dtype=np.float32)


def _shadow(depth: Picture, towards: Float[NDArray, "3"], unit: float) -> Picture:
    """1 where the light gets through, 0 where the head is in its way, with a soft border."""
    in_the_way = np.zeros_like(depth)
    size = depth.shape[::-1]
    for step in SHADOW_STEPS:
        x, y, z = step * towards
        back = np.array([[1, 0, -x * unit], [0, 1, -y * unit]], dtype=np.float32)
        before = cv2.warpAffine(depth, back, size, borderMode=cv2.BORDER_CONSTANT, borderValue=-5)
        np.maximum(in_the_way, before - depth - z, out=in_the_way)
    free = (in_the_way < NEARLY).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(free, (0, 0), 0.043 * unit))


def shown(
    picture: UInt8[NDArray, "q q *c"], source: Frame, target: Frame, pose: Pose | None = None
) -> UInt8[NDArray, "p p *c"]:
    """A face from one frame in another, in a pose."""
    pose = pose or Pose()
    u, v = _places(target)
    forward = _relief(target)[0] - PIVOT
    # back from what is seen: first the shift, then the turn about the head, then roll and scale, mirrored last
    x, y = u - pose.shift[0] + pose.turn[0] * forward, v - pose.shift[1] + pose.turn[1] * forward
    cos, sin = np.cos(pose.roll) / pose.scale, np.sin(pose.roll) / pose.scale
    x, y = (cos * x + sin * y) * (-1 if pose.mirrored else 1), cos * y - sin * x
    columns = ((x + source.reach) * source.unit - 0.5).astype(np.float32)
    rows = ((y + source.reach - source.below) * source.unit - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def moved(
    points: Float[NDArray, "k 2"], source: Frame, target: Frame, pose: Pose | None = None
) -> Float[NDArray, "k 2"]:
    """Where `shown` brings points, px of the source, in px of the target; mirrored points keep their order."""
    pose = pose or Pose()
    at = points / source.unit - [source.reach, source.reach - source.below]
    x, y = at[:, 0] * (-1 if pose.mirrored else 1), at[:, 1]
    cos, sin = np.cos(pose.roll) * pose.scale, np.sin(pose.roll) * pose.scale
    x, y = cos * x - sin * y + pose.shift[0], sin * x + cos * y + pose.shift[1]
    u, v = x, y
    for _ in range(4):  # the depth is known where the point comes to lie
        forward = depth_at(u, v) - PIVOT
        u, v = x - pose.turn[0] * forward, y - pose.turn[1] * forward
    return target.place(np.stack([u, v], 1))


def relit(rng: np.random.Generator, grey: UInt8[NDArray, "p p"], frame: Frame, share: float = 0.7) -> Picture:
    """A share of faces in other light; linear in the light, about as bright as before."""
    linear = (grey.astype(np.float32) / 255) ** LINEAR
    return linear * light(rng, frame) if rng.random() < share else linear


def developed(rng: np.random.Generator, linear: Picture) -> UInt8[NDArray, "p p"]:
    """What a camera makes of it: dark to bright, of any contrast, a little blurred, with noise."""
    exposure = np.exp(rng.uniform(np.log(0.06), np.log(0.75))) / max(float(linear.mean()), 0.02)
    picture = np.clip(linear * exposure, 0, 1) ** rng.uniform(0.55, 1.1)
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.2))
    picture = picture + rng.uniform(0, 0.025) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray((picture * 255).clip(0, 255).astype(np.uint8))
