"""What the world of pictures is made of: objects of parts, and textures."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray, UInt8

PARTS = (
    "wheel", "window", "door", "roof", "chimney", "hull", "mast", "sail", "wing", "tail",
    "fin", "eye", "mouth", "beak", "hair", "stem", "leaf", "petal", "trunk", "crown",
)  # fmt: skip
TEXTURES = (
    "plain", "horizontal stripes", "vertical stripes", "rising stripes", "falling stripes",
    "checks", "grid", "dots", "noise", "blotches", "bricks", "zigzag",
)  # fmt: skip
N_VARIANTS = 12
STRIPES = {"horizontal stripes": 90, "vertical stripes": 0, "rising stripes": 45, "falling stripes": 135}
Polygon = Float[NDArray, "points 2"]
Pieces = list[tuple[str, Polygon]]
"""In the order of painting: the part, or "" for the body, and the outline in -1 to 1, y downwards. A part's name with +
is the same part with another surface."""


@lru_cache(maxsize=4)
def textures(size: int) -> UInt8[NDArray, "textures variants side side"]:
    """Fields of every texture for pictures of a size, half as large again; the same in every call."""
    side = size * 3 // 2
    rng = np.random.default_rng(17)
    fields = [[_field(rng, name, size, side) for _ in range(N_VARIANTS)] for name in TEXTURES]
    return (np.array(fields).clip(0, 1) * 255).astype(np.uint8)


def _field(rng: np.random.Generator, name: str, size: int, side: int) -> Float[NDArray, "side side"]:
    period = size * rng.uniform(0.07, 0.14)
    y, x = (np.mgrid[:side, :side] + 0.5) * 2 * np.pi / period
    turn = np.deg2rad(STRIPES.get(name, 0) + rng.uniform(-7, 7))
    across, down = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    if name in STRIPES:
        return np.asarray(0.5 + 2 * np.sin(across))
    if name in ("noise", "blotches"):
        wide, strong = (size / 128, 0.35) if name == "noise" else (size / 22, 0.6)
        grain = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), wide)
        return np.asarray(0.5 + strong * grain / grain.std())
    bricks = np.maximum(np.cos(down), np.cos(across / 2 + np.pi * (np.floor(down / (2 * np.pi)) % 2)) ** 8)
    figures = {
        "plain": np.zeros_like(x),
        "checks": 0.5 + 3 * np.sin(across * 0.7) * np.sin(down * 0.7),
        "grid": 4 * np.maximum(np.cos(across), np.cos(down)) - 2.6,
        "dots": 4 * np.cos(across) * np.cos(down) - 1,
        "bricks": 4 * bricks - 2.6,
        "zigzag": 0.5 + 2 * np.sin(down + 1.6 * np.arcsin(np.sin(across))),
    }
    return np.asarray(figures[name])


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    """A rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def oval(x: float, y: float, across: float, down: float | None = None, turn: float = 0.0) -> Polygon:
    """An ellipse of 24 corners by its middle and half its width and height, turned clockwise by radians."""
    angles = np.arange(24) * np.pi / 12
    flat = np.stack([across * np.cos(angles), (across if down is None else down) * np.sin(angles)], -1)
    return np.asarray(flat @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + [x, y])


def _poly(*corners: float) -> Polygon:
    return np.array(corners, dtype=float).reshape(-1, 2)


def _wheel(x: float, y: float, radius: float) -> Pieces:
    return [("wheel", oval(x, y, radius)), ("wheel+", oval(x, y, 0.45 * radius))]


def _window(left: float, top: float, right: float, bottom: float) -> Pieces:
    x, y, bar = (left + right) / 2, (top + bottom) / 2, 0.035
    bars = [box(x - bar, top, x + bar, bottom), box(left, y - bar, right, y + bar)]
    return [("window", box(left, top, right, bottom)), *(("window+", b) for b in bars)]


def _eye(x: float, y: float, radius: float) -> Pieces:
    return [("eye", oval(x, y, 1.3 * radius, radius)), ("eye+", oval(x, y, 0.55 * radius))]


def _house(rng: np.random.Generator) -> Pieces:
    side, peak, eaves = rng.choice([-1, 1]), rng.uniform(-0.3, 0.3), rng.uniform(-0.25, 0.0)
    at = side * rng.uniform(0, 0.4)
    pieces = [
        ("chimney", box(0.3, -0.95, 0.52, eaves)),
        ("", box(-0.75, eaves, 0.75, 0.9)),
        ("roof", _poly(-0.95, eaves, peak - 0.2, -0.85, peak + 0.2, -0.85, 0.95, eaves)),
        ("door", box(at - 0.16, 0.3, at + 0.16, 0.9)),
    ]
    for x in (-side * 0.42, side * 0.62 if abs(at) < 0.2 else -side * 0.02):
        x = float(np.clip(x, -0.48, 0.48))
        pieces += _window(x - 0.2, 0.08, x + 0.2, 0.44) if abs(x - at) > 0.37 else []
    return pieces


def _car(rng: np.random.Generator) -> Pieces:
    cab, slope = rng.uniform(-0.65, -0.45), rng.uniform(0.1, 0.3)
    pieces = [
        ("", _poly(-0.65, 0.02, slope - 0.6, cab, 0.35, cab, 0.35 + slope, 0.02, 0.97, 0.1, 0.97, 0.5, -0.97, 0.5)),
        ("door", box(-0.2, 0.02, 0.3, 0.46)),
    ]
    pieces += _window(slope - 0.5, cab + 0.1, -0.12, 0) + _window(-0.04, cab + 0.1, 0.36, 0)
    return pieces + _wheel(-0.55, 0.5, 0.28) + _wheel(0.55, 0.5, 0.28)


def _boat(rng: np.random.Generator) -> Pieces:
    at, bow = rng.uniform(-0.2, 0.2), rng.uniform(0.2, 0.4)
    pieces = [
        ("mast", box(at - 0.05, -0.95, at + 0.05, 0.4)),
        ("sail", _poly(at + 0.08, -0.9, at + 0.08, 0.22, at + rng.uniform(0.5, 0.75), 0.22)),
    ]
    if rng.random() < 0.6:
        pieces.append(("sail", _poly(at - 0.08, -0.7, at - 0.08, 0.22, at - rng.uniform(0.35, 0.6), 0.22)))
    pieces.append(("hull", _poly(-0.95, 0.35, 0.95, 0.35, 0.95 - bow, 0.85, bow - 0.95, 0.85)))
    return pieces + (_window(-0.25, 0.45, 0.05, 0.7) if rng.random() < 0.5 else [])


def _plane(rng: np.random.Generator) -> Pieces:
    sweep = rng.uniform(0.2, 0.5)
    pieces = [
        ("tail", _poly(-0.95, -0.55, -0.7, -0.55, -0.45, 0, -0.85, 0)),
        ("wing", _poly(0.25, 0, 0.25 - sweep, -0.7, -0.05 - sweep, -0.7, -0.2, 0)),
        ("", oval(0, 0, 0.97, 0.24)),
        ("wing", _poly(0.3, 0.08, 0.2 - sweep, 0.85, -0.15 - sweep, 0.85, -0.25, 0.08)),
    ]
    for x in np.arange(-0.3, 0.75, 0.34):
        pieces += _window(x - 0.1, -0.16, x + 0.1, 0.02)
    return pieces


def _train(rng: np.random.Generator) -> Pieces:
    top, n = rng.uniform(-0.55, -0.35), int(rng.integers(2, 4))
    pieces: Pieces = [("", box(-0.9, top, 0.9, 0.45)), ("roof", box(-0.97, top - 0.16, 0.97, top + 0.02))]
    pieces += [("chimney", box(0.5, top - 0.42, 0.72, top - 0.14)), ("door", box(0.5, top + 0.15, 0.8, 0.45))]
    for k in range(n):
        middle = -0.62 + k * 0.95 / (n - 0.5)
        pieces += _window(middle - 0.17, top + 0.14, middle + 0.17, top + 0.5)
    for x in (-0.6, 0, 0.6):
        pieces += _wheel(x, 0.55, 0.22)
    return pieces


def _fish(rng: np.random.Generator) -> Pieces:
    tall, fork = rng.uniform(0.35, 0.55), rng.uniform(-0.8, -0.65)
    pieces = [
        ("tail", _poly(-0.45, 0, -0.97, -0.5, fork, 0, -0.97, 0.5)),
        ("fin", _poly(-0.35, 0.2 - tall, 0.05, -tall - 0.35, 0.3, 0.12 - tall)),
        ("", oval(0.18, 0, 0.78, tall)),
        ("fin", _poly(0.15, 0.05, -0.25, 0.3, -0.15, -0.05)),
        ("mouth", _poly(0.97, 0.02, 0.7, 0.1, 0.88, 0.22)),
    ]
    return pieces + _eye(0.6, -0.12, 0.1)


def _bird(rng: np.random.Generator) -> Pieces:
    lift = rng.uniform(-0.5, 0.4)
    pieces = [
        ("tail", _poly(-0.4, 0.1, -0.97, -0.15, -0.97, 0.3)),
        ("", oval(-0.05, 0.2, 0.6, 0.42)),
        ("beak", _poly(0.68, -0.42, 0.98, -0.22, 0.65, -0.18)),
        ("", oval(0.48, -0.3, 0.3)),
        ("wing", _poly(0.2, 0.05, -0.25, 0.3, -0.65, lift, -0.3, lift * 0.5)),
    ]
    return pieces + _eye(0.55, -0.36, 0.09)


def _face(rng: np.random.Generator) -> Pieces:
    wide, apart = rng.uniform(0.6, 0.75), rng.uniform(0.24, 0.32)
    fringe = rng.uniform(-0.6, -0.4)
    cap = oval(0, -0.15, wide + 0.15, 0.8)
    pieces: Pieces = [
        ("hair", np.minimum(cap, [[9, 0.3 if rng.random() < 0.5 else -0.1]])),
        ("", oval(0, 0.1, wide, 0.85)),
    ]
    pieces.append(("hair", np.minimum(oval(0, -0.1, wide, 0.75), [[9, fringe]])))
    pieces.append(("mouth", _poly(-0.3, 0.5, 0.3, 0.5, 0.15, 0.5 + rng.uniform(0.08, 0.2), -0.15, 0.62)))
    return pieces + _eye(-apart, -0.05, 0.12) + _eye(apart, -0.05, 0.12)


def _flower(rng: np.random.Generator) -> Pieces:
    n, reach = int(rng.integers(5, 9)), rng.uniform(0.28, 0.36)
    turns = rng.uniform(0, 6) + np.arange(n) * 2 * np.pi / n
    pieces: Pieces = [("stem", box(-0.05, -0.3, 0.05, 0.97)), ("leaf", oval(0.3, 0.55, 0.32, 0.12, -0.5))]
    if rng.random() < 0.6:
        pieces.append(("leaf", oval(-0.3, 0.7, 0.32, 0.12, 0.5)))
    for turn in turns:
        pieces.append(("petal", oval(reach * np.cos(turn), reach * np.sin(turn) - 0.4, 0.26, 0.14, turn)))
    return [*pieces, ("", oval(0, -0.4, 0.17))]


def _tree(rng: np.random.Generator) -> Pieces:
    pieces: Pieces = [("trunk", box(-0.13, 0.1, 0.13, 0.97))]
    if rng.random() < 0.5:  # a fir
        steps = ((-0.97, -0.3, 0.45), (-0.65, 0.1, 0.6), (-0.3, 0.5, 0.75))
        return [*pieces, *(("crown", _poly(0, top, half, foot, -half, foot)) for top, foot, half in steps)]
    balls = [oval(x, y, r) for x, y, r in ((-0.38, -0.15, 0.42), (0.38, -0.15, 0.42), (0, -0.5, 0.46))]
    return [*pieces, *(("crown", ball) for ball in balls), ("leaf", oval(0.3, 0.4, 0.22, 0.09, -0.6))]


OBJECTS: dict[str, Callable[[np.random.Generator], Pieces]] = {
    "house": _house,
    "car": _car,
    "boat": _boat,
    "plane": _plane,
    "train": _train,
    "fish": _fish,
    "bird": _bird,
    "face": _face,
    "flower": _flower,
    "tree": _tree,
}
