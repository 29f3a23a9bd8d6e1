"""The lens: what light and a camera do to the frames of a clip."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray, UInt8
from seamwise.systems.track import textures
from seamwise.systems.track.paths import wander
from seamwise.systems.track.textures import Picture
from seamwise.systems.track.things import Sprite

Shadow = Callable[[Sprite], tuple[NDArray, float]]
LONGEST = 21  # px of a motion blur
STREAK_FROM = 1.5  # px: movements below that leave no streak


@dataclass(frozen=True)
class Lens:
    """How each frame of a clip is taken."""

    tones: UInt8[NDArray, "n 256 3"]
    grade: Float[NDArray, "3 4"] | None  # of the whole clip's colours
    defocus_px: Float[NDArray, " n"]
    coarser: float  # how many px become one
    quality: int  # of JPEG; 100: none
    grain: UInt8[NDArray, "rows columns 3"] | None  # noise about 128

    def take(self, frame: Picture, k: int, rng: np.random.Generator) -> Picture:
        """The kth frame as it was recorded."""
        height, width = frame.shape[:2]
        if self.defocus_px[k] > 0.3:
            frame = cv2.GaussianBlur(frame, (0, 0), float(self.defocus_px[k]))
        if self.coarser > 1:
            size = (round(width / self.coarser), round(height / self.coarser))
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        if self.grade is not None:
            frame = cv2.transform(frame, self.grade)
        frame = cv2.LUT(frame, self.tones[k][:, None])
        if self.grain is not None:
            top, left = rng.integers(0, 32, 2).tolist()
            noise = self.grain[top : top + len(frame), left : left + frame.shape[1]]
            frame = cv2.addWeighted(frame, 1, noise, 1, -128)
        if self.quality < 100:
            # OpenCV takes red for blue here and back again, which only changes how finely each is kept
            _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            frame = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
        if self.coarser > 1:
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(frame)


def lens(
    rng: np.random.Generator, n: int, width: int, height: int, *, light: float, blur: float, low_resolution: float
) -> Lens:
    """A lens for a clip; each setting 0 (none) to 1."""
    lit, graded, lost, coarse = rng.spawn(4)  # chance of its own for each: one switched off leaves the others
    defocus = blur * np.maximum(wander(lost, n, 40)[:, 0] - 0.3, 0) * lost.uniform(0, 1.6)
    coarser = 1 + low_resolution * 2 * max(float(coarse.uniform(-0.6, 1)), 0.0)
    quality = int(97 - low_resolution * coarse.uniform(0, 67)) if low_resolution else 100
    noise = low_resolution * float(coarse.uniform(0, 9))
    grain = _grain(coarse, width, height, noise) if noise else None
    return Lens(_tones(lit, n, light), _grade(graded), defocus, coarser, quality, grain)


def streak(movement: Float[NDArray, " 2"]) -> Float[NDArray, "k k"] | None:
    """The kernel that a movement in px during the exposure blurs with; None where it is too short to see."""
    length = float(np.hypot(*movement))
    if length < STREAK_FROM:
        return None
    along = movement * min(1, (LONGEST - 2) / length)
    half = int(np.ceil(np.abs(along).max() / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = np.rint(np.array([half - along / 2, half + along / 2]) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_8, 4)
    return np.asarray(kernel / kernel.sum())


def lighting(rng: np.random.Generator, width: int, height: int, light: float) -> Picture | None:
    """Shade and glare that lie over a scene, 128 being neither; often there is none."""
    if rng.random() > 0.6 * light:
        return None
    field = textures.grey_field(rng, ("cloud", "patches", "stripes", "leaves", "smooth"), width, height, height / 3)
    hard = np.tanh((field.astype(np.float32) - 128 + rng.normal(0, 30)) / float(rng.choice([4, 20, 80])))
    shade = 128 * (1 + light * rng.uniform(0.25, 0.6) * np.minimum(hard, 0.4))
    soft = cv2.GaussianBlur(shade.clip(10, 255), (0, 0), float(rng.uniform(0.7, 4))).astype(np.uint8)
    return np.asarray(cv2.merge([soft] * 3))


def shadow(rng: np.random.Generator, light: float) -> Shadow | None:
    """What a thing's shadow on the ground is made with: its silhouette laid flat, and how much light is left."""
    if rng.random() > 0.7 * light:
        return None
    lean, flat, left = float(rng.uniform(-1.2, 1.2)), float(rng.uniform(0.15, 0.6)), float(rng.uniform(0.35, 0.7))

    def laid(sprite: Sprite) -> tuple[NDArray, float]:
        """The shadow's mask, its lower middle where the sprite's is, and what is left of the light."""
        height, width = sprite.shape[:2]
        across = width + 2 * int(abs(lean) * height)
        matrix = np.array(
            [[1, -lean * flat, (across - width) / 2 + lean * flat * height], [0, flat, height * (1 - flat)]]
        )
        return cv2.warpAffine(np.ascontiguousarray(sprite[..., 3]), matrix, (across, height)), left

    return laid


def _grain(rng: np.random.Generator, width: int, height: int, noise: float) -> UInt8[NDArray, "rows columns 3"]:
    """Noise about 128, a little larger than a frame: most of it the same in all colours."""
    grey, colour = (rng.standard_normal((height + 32, width + 32, k), np.float32) for k in (1, 3))
    return np.asarray(np.clip(128 + noise * (grey + colour / 2), 0, 255), np.uint8)


def _tones(rng: np.random.Generator, n: int, light: float) -> UInt8[NDArray, "n 256 3"]:
    """What becomes of each grey of each colour, frame by frame: gain, gamma, a cast; now and then a sudden change."""
    gain = 0.25 * light * wander(rng, n, rng.uniform(30, 90))
    if rng.random() < 0.3 * light:
        gain[int(rng.integers(n)) :] += light * rng.normal(0, 0.4)
    if rng.random() < 0.15 * light:
        gain += 0.1 * light * rng.normal(size=(n, 1))
    cast = 0.08 * light * wander(rng, n, 80, 3)
    gamma = np.exp(0.2 * light * wander(rng, n, 60))
    grey = np.linspace(0, 1, 256)[:, None]
    values = np.exp(np.clip(gain, -1.2, 0.7) + cast)[:, None] * grey ** gamma[:, None]
    return np.rint(values * 255).clip(0, 255).astype(np.uint8)


def _grade(rng: np.random.Generator) -> Float[NDArray, "3 4"] | None:
    """The whole clip's colours: as they are, grey, pale, vivid, tinted, flat or hard."""
    if rng.random() < 0.4:
        return None
    saturation = rng.choice([0.0, rng.uniform(0.2, 1.3)], p=[0.2, 0.8])
    grey = np.array([0.299, 0.587, 0.114])
    matrix = saturation * np.eye(3) + (1 - saturation) * grey
    tint = np.exp(rng.normal(0, 0.08, (3, 1)) * (saturation > 0))
    contrast = rng.uniform(0.6, 1.25)
    return np.column_stack([matrix * tint * contrast, np.full(3, 128 * (1 - contrast) + rng.normal(0, 12))])
