"""Textures: what the surfaces of the tracking world look like.

Grey fields (noise of several slopes, dead leaves, stripes, bricks, strokes, ...) are made once, then cut, turned, bent
and coloured anew for every surface. A share comes from the two pictures that scikit-learn holds, recoloured:
`china.jpg` by danielbuechele and `flower.jpg` by vultilion, both CC BY 2.0.

Source: noise of falling amplitude as in natural images is Field 1987; dead leaves, Lee, Mumford & Huang 2001.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

from seamwise.shapes import Float, NDArray, UInt8

Family = Literal["plain", "pattern", "rough", "photo"]
Picture = UInt8[NDArray, "height width 3"]
Source = UInt8[NDArray, "_ _ 3"]  # to cut surfaces from, of any size
Palette = UInt8[NDArray, "256 1 3"]  # what colour each grey becomes
Field = Float[NDArray, "512 512"]
FAMILIES: tuple[Family, ...] = ("plain", "pattern", "rough", "photo")
SIDE, N_OF_EACH = 512, 3
UNIT = 64.0  # px of a field that make one grain
DULL = 25.0  # a part of a picture that varies less is dull
NAMES: dict[Family, tuple[str, ...]] = {
    "plain": ("smooth", "folds", "smooth", "brushed"),
    "pattern": ("stripes", "checks", "spots", "bricks", "strokes", "plaid", "windows"),
    "rough": ("cloud", "grain", "turbulence", "fur", "cells", "leaves", "leaves", "patches"),
    "photo": (),
}
# hue, saturation and value that surfaces often have, and how far each goes: leaves, earth, stone, sky, skin, cloth
COMMON = np.array(
    [[0.27, 0.45, 0.35], [0.09, 0.4, 0.45], [0.6, 0.06, 0.5], [0.58, 0.35, 0.75], [0.06, 0.45, 0.65], [0.65, 0.4, 0.25]]
)
AROUND = np.array([0.05, 0.2, 0.2])


def texture(
    rng: np.random.Generator,
    family: Family,
    width: int,
    height: int,
    grain_px: float,
    pictures: Sequence[Source] = (),
    palette: Palette | None = None,
) -> Picture:
    """A surface of a family whose features are some `grain_px` large; `palette` colours all but photos."""
    if family == "photo":
        return photo(rng, width, height, grain_px, pictures)
    grey = _cut(rng, _chosen(rng, NAMES[family]), width, height, grain_px)
    if rng.random() < 0.5:  # a second, finer field lies over the first
        fine = _cut(rng, _chosen(rng, ("grain", "cloud", "leaves")), width, height, grain_px / 3)
        share = float(rng.uniform(0.1, 0.4))
        grey = cv2.addWeighted(grey, 1, fine, share, -128 * share)
    palette = colours(rng, {"plain": 0.12, "pattern": 0.6, "rough": 0.35}[family]) if palette is None else palette
    return np.asarray(cv2.LUT(cv2.merge([grey] * 3), palette))


def photo(
    rng: np.random.Generator, width: int, height: int, grain_px: float, pictures: Sequence[Source] = ()
) -> Picture:
    """A part of a picture: turned, mirrored, often recoloured; larger features for a larger grain."""
    known = [*_samples(), *pictures]
    picture = known[int(rng.integers(len(known)))]
    rows, columns = picture.shape[:2]
    longest = max(width, height)
    part = int(np.clip(longest * rng.uniform(0.6, 3) * 12 / grain_px, 16, min(rows, columns)))
    side = max(longest, 8)
    for _ in range(3):  # rather not a part that is all sky
        top, left = int(rng.integers(rows - part + 1)), int(rng.integers(columns - part + 1))
        cut = picture[top : top + part, left : left + part]
        if cut[::4, ::4].std() > DULL:
            break
    cut = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA if part > side else cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        turned = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-180, 180)), 1)
        cut = cv2.warpAffine(cut, turned, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    cut = np.ascontiguousarray(cut[:height, :width])
    return recoloured(rng, cut) if rng.random() < 0.6 else cut


def recoloured(rng: np.random.Generator, picture: Picture, far: float = 1.0) -> Picture:
    """The same picture with its colours turned, drawn together or apart, and lighter or darker."""
    turn = np.eye(3) + far * rng.normal(0, 0.35, (3, 3))
    turn *= np.exp(far * rng.normal(0, 0.25)) / turn.sum(1, keepdims=True).clip(0.5)
    lift = 128 * (1 - turn.sum(1)) * rng.random()
    return np.asarray(cv2.transform(picture, np.column_stack([turn, lift])))


def colour(rng: np.random.Generator) -> Float[NDArray, " 3"]:
    """Hue, saturation and value, 0 to 1: half of the time one that surfaces often have."""
    if rng.random() < 0.5:
        chosen = COMMON[rng.integers(len(COMMON))] + AROUND * rng.normal(size=3)
        return np.array([chosen[0] % 1, *chosen[1:].clip(0.02, 0.98)])
    return np.array([rng.random(), rng.beta(1, 2.4), rng.uniform(0.08, 0.97)])


def colours(rng: np.random.Generator, contrast: float, base: Float[NDArray, " 3"] | None = None) -> Palette:
    """What colour each grey becomes, as cv2.LUT has it: about a base (hue, saturation, value), or between several."""
    base = colour(rng) if base is None else base
    n_stops = int(rng.integers(2, 5))
    stops = np.tile(base, (n_stops, 1)) + rng.normal(0, 1, (n_stops, 3)) * [0.03, 0.12, contrast / 2]
    stops[:, 2] += contrast * np.linspace(-0.5, 0.5, n_stops) * rng.choice([-1, 1])
    if contrast > 0.3 and rng.random() < 0.4:
        stops[int(rng.integers(n_stops))] = colour(rng)
    stops = np.column_stack([stops[:, 0] % 1, stops[:, 1:].clip(0, 1)])
    rgb = cv2.cvtColor((stops[None] * [360, 1, 1]).astype(np.float32), cv2.COLOR_HSV2RGB)[0]
    at = np.linspace(40, 215, n_stops)
    table = np.stack([np.interp(np.arange(256), at, rgb[:, k]) for k in range(3)], -1)
    return np.asarray(np.rint(table * 255), np.uint8)[:, None]


def grey_field(
    rng: np.random.Generator, names: Sequence[str], width: int, height: int, grain_px: float
) -> UInt8[NDArray, "height width"]:
    """A field of one of the names, cut as `texture` cuts it, in greys about 128."""
    return _cut(rng, _chosen(rng, names), width, height, grain_px)


def _chosen(rng: np.random.Generator, names: Sequence[str]) -> UInt8[NDArray, "512 512"]:
    return _field(names[int(rng.integers(len(names)))], int(rng.integers(N_OF_EACH)))


def _cut(
    rng: np.random.Generator, field: UInt8[NDArray, "512 512"], width: int, height: int, grain_px: float
) -> UInt8[NDArray, "height width"]:
    """A part of a field: turned, a little stretched, and, one time in three, bent."""
    step = UNIT / max(grain_px, 1) * rng.uniform(0.6, 1.6)  # px of the field for each px of the cut
    while step > 1.6 and len(field) > 64:
        field, step = cv2.resize(field, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), step / 2
    angle = rng.uniform(-np.pi, np.pi) if rng.random() < 0.4 else rng.normal(0, 0.1) + rng.integers(4) * np.pi / 2
    cos, sin = step * np.cos(angle), step * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) * np.exp(rng.normal(0, 0.15, 2))
    back = np.column_stack([linear, rng.random(2) * len(field)])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if rng.random() < 0.67:
        return np.asarray(cv2.warpAffine(field, back, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101))
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    waves = rng.uniform(0.3, 1.5, 2) / grain_px
    x, y = x + grain_px * np.sin(y * waves[0]), y + grain_px * np.sin(x * waves[1])
    maps = [(row[0] * x + row[1] * y + row[2]).astype(np.float32) for row in back]
    return np.asarray(cv2.remap(field, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


@cache
def _samples() -> tuple[Source, ...]:
    return tuple(load_sample_images().images)


@cache
def _field(name: str, k: int) -> UInt8[NDArray, "512 512"]:
    """A grey field, always the same; mean 128, standard deviation 45."""
    rng = np.random.default_rng([3, k, *name.encode()])
    values = MADE[name](rng)
    values = (values - values.mean()) / max(values.std(), 1e-6)
    return np.asarray(np.clip(128 + 45 * values, 0, 255), np.uint8)


def _noise(rng: np.random.Generator, slope: float, stretch: float = 1.0) -> Field:
    """Noise whose amplitude falls with the frequency to the power `slope`; longer down than across by `stretch`."""
    across, down = np.fft.rfftfreq(SIDE), np.fft.fftfreq(SIDE)[:, None]
    amplitude = np.hypot(across / stretch, down * stretch) + 1 / SIDE
    spectrum = np.fft.rfft2(rng.normal(size=(SIDE, SIDE))) * amplitude**-slope
    values = np.fft.irfft2(spectrum, (SIDE, SIDE))
    return np.asarray(values / values.std())


def _turbulence(rng: np.random.Generator) -> Field:
    return np.asarray(sum(np.abs(_noise(rng, 1.6)) * weight for weight in (1, 0.7, 0.5)))


def _folds(rng: np.random.Generator) -> Field:
    x = np.linspace(0, 20, SIDE)
    return np.asarray(np.sin(x + 2.5 * _noise(rng, 2.2, 2)) + 0.3 * _noise(rng, 2))


def _waves(rng: np.random.Generator) -> Float[NDArray, "1 512"]:
    """A row of bars of several widths, soft or hard."""
    x = np.arange(SIDE) * 2 * np.pi / UNIT
    wave = np.sin(x * rng.integers(1, 4)) + 0.6 * np.sin(x * rng.uniform(0.3, 3) + 1)
    return np.asarray(np.tanh(wave * rng.uniform(1, 8)))[None]


def _stripes(rng: np.random.Generator) -> Field:
    return np.asarray(_waves(rng) + 0.15 * _noise(rng, 1.2))


def _plaid(rng: np.random.Generator) -> Field:
    return np.asarray(_waves(rng) + rng.uniform(0.4, 1) * _waves(rng).T + 0.15 * _noise(rng, 1.2))


def _checks(rng: np.random.Generator) -> Field:
    wave = np.sin(np.arange(SIDE) * np.pi / UNIT * rng.integers(1, 4))
    return np.asarray(np.tanh(6 * wave * wave[:, None]) + 0.2 * _noise(rng, 1.2))


def _spots(rng: np.random.Generator) -> Field:
    field = 0.3 * _noise(rng, 1.2)
    for x, y, radius in np.column_stack([rng.random((240, 2)) * SIDE, rng.uniform(4, 20, 240)]).tolist():
        cv2.circle(field, (int(x), int(y)), int(radius), 2.0 + 0.1 * radius % 1, -1)
    return field


def _bricks(rng: np.random.Generator) -> Field:
    field = _noise(rng, 1.1) * 0.4
    height, width = int(rng.integers(14, 30)), int(rng.integers(30, 64))
    for row, top in enumerate(range(0, SIDE, height)):
        for left in range(-width * (row % 2) // 2, SIDE, width):
            field[top : top + height - 3, max(left, 0) : left + width - 3] += 2 + 0.6 * rng.normal()
    return field


def _windows(rng: np.random.Generator) -> Field:
    """Rows of dark windows in frames, as houses have them."""
    field = _noise(rng, 1.4) * 0.2 + 1
    height, width = int(rng.integers(40, 80)), int(rng.integers(26, 70))
    for top in range(8, SIDE - height, height):
        for left in range(8, SIDE - width, width):
            pane = slice(top, top + int(0.62 * height)), slice(left, left + int(0.6 * width))
            field[pane] = 1.8
            inner = slice(top + 3, top + int(0.62 * height) - 3), slice(left + 3, left + int(0.6 * width) - 3)
            field[inner] = -1.5 + 0.5 * rng.normal() + np.linspace(0, 0.6, int(0.62 * height) - 6)[:, None]
    return field


def _strokes(rng: np.random.Generator) -> Field:
    """Lines of strokes, as writing has them."""
    field = 0.2 * _noise(rng, 1.5)
    for base in range(20, SIDE, int(rng.integers(30, 60))):
        size = rng.uniform(12, 26)
        for left in np.arange(0, SIDE, size * 0.7):
            if rng.random() < 0.85:
                points = np.array([left, base - size]) + rng.random((int(rng.integers(2, 5)), 2)) * [0.6 * size, size]
                cv2.polylines(field, [points.astype(np.int32)], bool(rng.random() < 0.3), -3.0, int(size / 7) + 1)
    return field


def _cells(rng: np.random.Generator) -> Field:
    """How far it is to the nearest of many points: pebbles, scales, cracked earth."""
    empty = np.ones((SIDE, SIDE), np.uint8)
    n = int(rng.integers(150, 900))
    empty[rng.integers(0, SIDE, n), rng.integers(0, SIDE, n)] = 0
    return np.asarray(np.sqrt(cv2.distanceTransform(empty, cv2.DIST_L2, 5)) + 0.15 * _noise(rng, 1.2))


def _patches(rng: np.random.Generator) -> Field:
    """Flat regions with ragged borders."""
    return np.asarray(np.rint(1.3 * _noise(rng, 1.9)) + 0.15 * _noise(rng, 1))


def _leaves(rng: np.random.Generator) -> Field:
    """Leaves of all sizes, each in front of those before: the small are the most."""
    field = np.zeros((SIDE, SIDE), np.float32)
    n = 2600
    size = np.sort(3 / (1 - rng.random(n) * 0.96) ** 0.8)[::-1]
    slim, turn, tone = rng.uniform(0.35, 1, n), rng.uniform(0, 180, n), rng.normal(0, 1, n)
    for (x, y), a, b, t, g in zip(rng.integers(0, SIDE, (n, 2)).tolist(), size, size * slim, turn, tone, strict=True):
        cv2.ellipse(field, (x, y), (int(a), int(b) + 1), float(t), 0, 360, float(g), -1)
    return np.asarray(field + 0.25 * _noise(rng, 1.3))


MADE: dict[str, Callable[[np.random.Generator], Field]] = {
    "smooth": lambda rng: _noise(rng, 2.4),
    "cloud": lambda rng: _noise(rng, 1.6),
    "grain": lambda rng: _noise(rng, 1.0),
    "brushed": lambda rng: _noise(rng, 1.7, 3),
    "fur": lambda rng: _noise(rng, 1.2, 2.5),
    "folds": _folds,
    "turbulence": _turbulence,
    "stripes": _stripes,
    "plaid": _plaid,
    "checks": _checks,
    "spots": _spots,
    "bricks": _bricks,
    "windows": _windows,
    "strokes": _strokes,
    "cells": _cells,
    "patches": _patches,
    "leaves": _leaves,
}
