"""Paths: how things and the camera move through a clip of the tracking world. All in px, radians and frames."""

from dataclasses import dataclass

import numpy as np

from seamwise.shapes import Float, NDArray

Track = Float[NDArray, "n 2"]
SLOW, FAST, JERK = 0.012, 0.22, 0.05  # sizes a frame: always, at full speed; jerks a frame at full speed


@dataclass(frozen=True)
class Path:
    """Where a thing's middle is in each frame, how large (1 as drawn), turned and posed it is."""

    centre: Track
    stretch: Float[NDArray, "n 2"]  # across and down, scale included
    angle: Float[NDArray, " n"]
    turn: Float[NDArray, " n"]
    phase: Float[NDArray, " n"]


@dataclass(frozen=True)
class Camera:
    """Where the scene's middle lies in each frame: from px of the scene to px of the frame."""

    shift: Track
    zoom: Float[NDArray, " n"]
    roll: Float[NDArray, " n"]
    shake: Track  # what moves the thing that is followed, too


def wander(rng: np.random.Generator, n: int, period: float, k: int = 1) -> Float[NDArray, "n k"]:
    """Smooth random curves over n frames, k of them, of mean 0 and standard deviation 1 or so."""
    pace = 2 * np.pi / (period * np.exp(rng.uniform(-0.8, 0.8, (5, k))))
    start = rng.uniform(0, 2 * np.pi, (5, k))
    return np.asarray(np.sin(np.arange(n)[:, None, None] * pace + start).sum(1) * np.sqrt(2 / 5))


def folded(u: Float[NDArray, "n k"]) -> Float[NDArray, "n k"]:
    """A walk kept within 0 and 1: it turns round at the borders."""
    return np.asarray(1 - np.abs(u % 2 - 1))


def walk(rng: np.random.Generator, n: int, size: float, speed: float) -> Track:
    """A way in px: always some, more for a higher `speed` (0 to 1), with jerks that last two or three frames."""
    pace = size * (SLOW + FAST * speed**2 * rng.uniform(0.3, 1))
    steps = pace * (wander(rng, n, rng.uniform(20, 70), 2) + rng.normal(0, 0.6, 2) + 0.4 * speed * wander(rng, n, 5, 2))
    for at in np.flatnonzero(rng.random(n) < JERK * speed * rng.random()):
        steps[at : at + 3] += size * speed * rng.uniform(0.05, 0.35) * _direction(rng)
    return np.asarray(np.cumsum(steps, 0))


def within(way: Track, half: Float[NDArray, "n 2"], frame: tuple[int, int], start: Float[NDArray, " 2"]) -> Track:
    """A way in px that starts somewhere (0 to 1) and keeps a thing of such half sizes in the frame."""
    room = np.maximum(np.array(frame) - 2 * half, 1.0)
    return np.asarray(half + folded(start + way / room.mean(0)) * room)


def excursion(rng: np.random.Generator, centre: Track, half: Float[NDArray, "n 2"], frame: tuple[int, int]) -> Track:
    """The same way, but once it leaves the frame by one side, wholly or in part, and comes back."""
    n, axis, side = len(centre), int(rng.integers(2)), int(rng.integers(2))
    rise, stay = rng.uniform(4, 14), rng.uniform(1, 14)
    middle = rng.uniform(0.3, 0.75) * n
    bump = 1 / (1 + np.exp((np.abs(np.arange(n) - middle) - stay / 2 - rise / 2) / (rise / 8)))
    bump *= np.minimum(np.arange(n) / 6, 1)  # it is seen first
    share = rng.uniform(0.2, 1.1)
    border = frame[axis] * side
    away = border + (1 if side else -1) * (2 * share - 1) * half[:, axis]
    out = centre.copy()
    out[:, axis] += bump * (away - centre[:, axis])
    return out


def pose(
    rng: np.random.Generator, n: int, *, scale: float, rotation: float, deformation: float
) -> tuple[Float[NDArray, "n 2"], Float[NDArray, " n"], Float[NDArray, " n"], Float[NDArray, " n"]]:
    """Stretch, angle, turn and phase over the frames; 0 keeps each as it is."""
    grown = 0.85 * scale * np.tanh(wander(rng, n, rng.uniform(50, 160)) - wander(rng, 1, 50))
    squeezed = 0.12 * deformation * wander(rng, n, 30, 2)
    far = rng.choice([0.15, 0.4, 1.6], p=[0.5, 0.3, 0.2])
    angle = far * rotation * (wander(rng, n, rng.uniform(40, 120))[:, 0] + 0.3 * rng.normal())
    turn = np.tanh(1.3 * rotation * wander(rng, n, rng.uniform(40, 120))[:, 0])
    phase = rng.uniform(0, 6) + np.arange(n) * rng.uniform(0.1, 0.6)
    return np.exp(grown + squeezed), angle, turn, phase


def camera(rng: np.random.Generator, n: int, frame: tuple[int, int], *, moves: float, zooms: float) -> Camera:
    """A camera that pans, shakes and rolls by `moves` (0 to 1) and zooms by `zooms`."""
    pan = moves * np.array([0.35, 0.2]) * frame * wander(rng, n, rng.uniform(40, 140), 2) * rng.random()
    shaking = moves * rng.choice([0, 0.3, 1], p=[0.5, 0.3, 0.2]) * frame[1] / 90
    shake = shaking * (wander(rng, n, 4, 2) + wander(rng, n, 9, 2))
    zoom = np.exp(0.1 * zooms * wander(rng, n, rng.uniform(50, 120))[:, 0])
    roll = 0.03 * moves * wander(rng, n, 60)[:, 0]
    return Camera(pan, zoom, roll, shake)


def _direction(rng: np.random.Generator) -> Float[NDArray, " 2"]:
    turn = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(turn), np.sin(turn)])
