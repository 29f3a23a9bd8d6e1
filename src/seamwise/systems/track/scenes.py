"""Scenes: the backgrounds of the tracking world, larger than a frame so that a camera can pan over them.

Streets, fields, rooms, woods, grounds seen from above, crowds, and parts of the CC BY pictures (see `textures`), with
things that stand about in them.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray
from seamwise.systems.track import textures, things
from seamwise.systems.track.textures import Family, Picture, Source, texture
from seamwise.systems.track.things import Sprite

WIDER, HIGHER = 2.0, 1.6  # a scene's size in frames
N_STOCK, STOCK_PX = 192, (24, 84)
GROUND = np.array([[0.09, 0.35, 0.45], [0.25, 0.4, 0.4], [0.6, 0.05, 0.45], [0.1, 0.15, 0.65], [0.5, 0.3, 0.4]])
LEAF = np.array([0.24, 0.45, 0.35])
Corner = tuple[int, int]


def scene(
    rng: np.random.Generator, width: int, height: int, clutter: float = 0.5, pictures: Sequence[Source] = ()
) -> Picture:
    """A background for frames of a size; with `clutter` (0 to 1) things stand about in it."""
    across, down = round(WIDER * width), round(HIGHER * height)
    names = list(SCENES)
    name = names[int(rng.choice(len(names), p=OFTEN))]
    canvas = SCENES[name](rng, across, down, pictures)
    strewn = rng.spawn(1)[0]
    _strew(strewn, canvas, round(float(strewn.uniform(0, 26)) * clutter), 1.0)
    _scratch(strewn, canvas, round(float(strewn.uniform(0, 12)) * clutter))
    if rng.random() < 0.35:  # out of focus behind the thing that is filmed
        canvas = cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.5, 2.2)))
    return canvas


def paste(canvas: Picture, sprite: Sprite, corner: Corner) -> None:
    """Lay a sprite over a picture, its upper left corner in or outside it."""
    left, top = corner
    part = sprite[max(-top, 0) : max(len(canvas) - top, 0), max(-left, 0) : max(canvas.shape[1] - left, 0)]
    if part.size:
        place = canvas[max(top, 0) :, max(left, 0) :][: part.shape[0], : part.shape[1]]
        *rgb, alpha = cv2.split(np.ascontiguousarray(part))
        place[:] = cv2.add(
            cv2.multiply(place, cv2.merge([1 - alpha] * 3), dtype=cv2.CV_32F), cv2.merge(rgb), dtype=cv2.CV_8U
        )


@lru_cache(maxsize=N_STOCK)
def stock(k: int) -> Sprite:
    """One of the things that stand or go about in scenes; always the same for a number below N_STOCK."""
    rng = np.random.default_rng([11, k])
    size = float(np.exp(rng.uniform(*np.log(STOCK_PX))))
    kind = int(rng.integers(things.N_KINDS)) if rng.random() < 0.5 else int(rng.integers(2 * len(textures.FAMILIES)))
    thing = things.make(rng, size, kind)
    return thing.sprite(things.Pose(float(rng.uniform(0, 6)), 1, float(rng.uniform(-0.7, 0.7))))


def any_stock(rng: np.random.Generator, scale: float = 1.0) -> Sprite:
    """One of the stock, mirrored or not, in other light and of another size."""
    sprite = stock(int(rng.integers(N_STOCK)))
    factor = scale * float(np.exp(rng.uniform(-0.8, 0.4)))
    mode = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    sprite = cv2.resize(sprite, None, fx=factor, fy=factor, interpolation=mode)
    gain = np.append(np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.12, 3)), 1)
    return np.asarray((sprite[:, ::-1] if rng.random() < 0.5 else sprite) * gain, np.float32)


def bush(rng: np.random.Generator, width: int, height: int, family: Family = "rough", base: NDArray = LEAF) -> Sprite:
    """Leaves with a ragged border: a tree's crown, a hedge, a bush, smoke or a rock for another colour."""
    ragged = textures.grey_field(rng, ("cloud", "leaves", "patches"), width, height, min(width, height) / 3)
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    inside = (1 - np.abs(x) ** 2.5 - np.abs(y) ** 2.5) * 140 + (ragged.astype(np.float32) - 128)
    alpha = np.clip((inside - 30) / 25, 0, 1).astype(np.float32)[..., None]
    palette = textures.colours(rng, 0.4, base + rng.normal(0, 1, 3) * [0.04, 0.15, 0.12])
    surface = texture(rng, family, width, height, float(rng.uniform(6, 16)), palette=palette)
    lit = np.linspace(1.2, 0.6, height, dtype=np.float32)[:, None, None]
    return np.concatenate([np.minimum(surface * lit, 255) * alpha, alpha], -1)


def pole(rng: np.random.Generator, width: int, height: int) -> Sprite:
    """A pole, a trunk or a wall: upright, round or flat."""
    family: Family = ("plain", "rough", "pattern")[int(rng.integers(3))]
    surface = texture(rng, family, width, height, float(rng.uniform(8, 24))).astype(np.float32)
    if rng.random() < 0.6:
        surface *= (1.1 - 0.5 * np.linspace(-1, 0.9, width, dtype=np.float32) ** 2)[:, None]
    alpha = np.ones((height, width, 1), np.float32)
    alpha[:, [0, -1]] = 0.5
    return np.concatenate([surface.clip(0, 255) * alpha, alpha], -1)


def _strew(rng: np.random.Generator, canvas: Picture, n: int, scale: float) -> None:
    """Things stand about: the lower the nearer, and the larger."""
    down, across = canvas.shape[:2]
    for base in np.sort(rng.uniform(0.25, 1.1, n)):
        sprite = any_stock(rng, scale * float(0.3 + 0.8 * base))
        if rng.random() < 0.3:
            sprite = cv2.GaussianBlur(sprite, (0, 0), float(rng.uniform(0.6, 2)))
        paste(canvas, sprite, (int(rng.uniform(-30, across)), int(base * down) - len(sprite)))


def _scratch(rng: np.random.Generator, canvas: Picture, n: int) -> None:
    """Lines, poles, wires and plates."""
    down, across = canvas.shape[:2]
    for _ in range(n):
        tone = _tone(rng)
        (x, y), thick = (rng.random(2) * [across, down]).astype(int).tolist(), int(rng.integers(1, 5))
        what = rng.random()
        if what < 0.4:
            cv2.line(
                canvas, (x, y), (x + int(rng.normal(0, 4)), int(y + rng.uniform(0, down))), tone, thick, cv2.LINE_AA
            )
        elif what < 0.7:
            end = (x + int(rng.normal(0, across)), y + int(rng.normal(0, 30)))
            cv2.line(canvas, (x, y), end, tone, thick, cv2.LINE_AA)
        else:
            corner = (x + int(rng.uniform(4, 60)), y + int(rng.uniform(4, 60)))
            cv2.rectangle(canvas, (x, y), corner, tone, -1 if rng.random() < 0.5 else thick)


def _tone(rng: np.random.Generator) -> list[int]:
    """A colour to draw lines with."""
    return [int(value) for value in textures.colours(rng, 0, textures.colour(rng))[128, 0]]


def _ground(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source] = ()) -> Picture:
    """Earth, grass, asphalt, water: seen flatter and finer the farther away it is."""
    family: Family = ("rough", "rough", "plain", "pattern")[int(rng.integers(4))]
    base = GROUND[rng.integers(len(GROUND))] + rng.normal(0, 1, 3) * [0.03, 0.1, 0.15]
    palette = textures.colours(rng, 0.04 + 0.3 * float(rng.random()) ** 2, base.clip(0, 1))
    flat = texture(rng, family, across, 2 * down, float(rng.uniform(8, 50)), pictures, palette)
    squeeze = float(rng.uniform(0, 0.4)) * across
    corners = np.array([[0, 0], [across, 0], [across, 2 * down], [0, 2 * down]], np.float32)
    seen = np.array([[0, 0], [across, 0], [across + squeeze, down], [-squeeze, down]], np.float32)
    return np.asarray(cv2.warpPerspective(flat, cv2.getPerspectiveTransform(corners, seen), (across, down)))


def _sky(rng: np.random.Generator, across: int, down: int) -> Picture:
    base = np.array([rng.uniform(0.5, 0.65), rng.uniform(0, 0.5), rng.uniform(0.5, 1)])
    return texture(rng, "plain", across, down, across / 3, palette=textures.colours(rng, 0.15, base))


def _outdoors(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source]) -> Picture:
    """Sky, a row of trees or hills, and ground before them."""
    canvas = _sky(rng, across, down)
    horizon = int(down * rng.uniform(0.1, 0.55))
    canvas[horizon:] = _ground(rng, across, down - horizon, pictures)
    base = LEAF + rng.normal(0, 1, 3) * [0.05, 0.15, 0.15]
    tall = rng.uniform(0.1, 0.5) * down
    for x in np.arange(-40, across, tall * rng.uniform(0.4, 1.2) + 8):
        width, height = int(tall * rng.uniform(0.6, 1.8)) + 8, int(tall * rng.uniform(0.5, 1.1)) + 8
        paste(canvas, bush(rng, width, height, "rough", base), (int(x), horizon - int(0.9 * height)))
    return canvas


def _street(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source]) -> Picture:
    """Houses in a row, a road with its markings, trees and parked cars."""
    canvas = _sky(rng, across, down)
    horizon, x = int(down * rng.uniform(0.4, 0.65)), 0
    while x < across:
        width, top = int(rng.uniform(0.1, 0.4) * across), int(horizon * rng.uniform(0, 0.6))
        width = min(width, across - x)
        canvas[top:horizon, x : x + width] = _house(rng, width, horizon - top, pictures)
        x += width
    canvas[horizon:] = _ground(rng, across, down - horizon)
    for _ in range(int(rng.integers(0, 4))):
        y = int(rng.uniform(horizon, down))
        end = y + int(rng.normal(0, 20))
        tone = rng.integers(120, 256)
        cv2.line(canvas, (0, y), (across, end), [int(tone)] * 3, int(rng.integers(1, 7)), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        size = int(rng.uniform(0.15, 0.5) * down)
        paste(canvas, bush(rng, size, size), (int(rng.uniform(-30, across)), horizon - size + int(rng.uniform(0, 30))))
    _strew(rng, canvas[horizon // 2 :], int(rng.integers(0, 9)), 0.9)
    return canvas


def _house(rng: np.random.Generator, width: int, height: int, pictures: Sequence[Source]) -> Picture:
    if rng.random() < 0.25:
        return textures.photo(rng, width, height, 12, pictures)
    base = np.array([rng.uniform(0, 0.13), rng.uniform(0, 0.4), rng.uniform(0.3, 0.95)])
    field = textures.grey_field(rng, ("windows", "windows", "bricks"), width, height, float(rng.uniform(14, 45)))
    return np.asarray(cv2.LUT(cv2.merge([field] * 3), textures.colours(rng, float(rng.uniform(0.2, 0.8)), base)))


def _room(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source]) -> Picture:
    """A wall and a floor, with shelves, frames, curtains and furniture."""
    canvas = texture(rng, ("plain", "plain", "pattern")[int(rng.integers(3))], across, down, float(rng.uniform(30, 90)))
    floor = int(down * rng.uniform(0.6, 1))
    canvas[floor:] = _ground(rng, across, down - floor) if floor < down else canvas[floor:]
    for _ in range(int(rng.integers(3, 14))):
        width, height = (rng.uniform(0.05, 0.3, 2) * [across, down]).astype(int).tolist()
        x, y = int(rng.uniform(0, across - width)), int(rng.uniform(0, down - height))
        family = textures.FAMILIES[int(rng.integers(4))]
        plate = texture(rng, family, width, height, float(rng.uniform(8, 40)), pictures)
        canvas[y : y + height, x : x + width] = plate
        if rng.random() < 0.6:
            tone = _tone(rng)
            cv2.rectangle(canvas, (x, y), (x + width, y + height), tone, int(rng.integers(1, 4)))
    return cv2.GaussianBlur(canvas, (0, 0), 0.7)


def _wood(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source]) -> Picture:
    """Leaves before leaves, trunks between."""
    base = LEAF + rng.normal(0, 1, 3) * [0.05, 0.15, 0.15]
    canvas = texture(rng, "rough", across, down, 20, pictures, textures.colours(rng, 0.35, base))
    for _ in range(int(rng.integers(5, 16))):
        if rng.random() < 0.3:
            sprite = pole(rng, int(rng.uniform(4, 24)), int(down * rng.uniform(0.3, 1)))
        else:
            width, height = (rng.uniform(0.15, 0.6, 2) * down).astype(int).tolist()
            sprite = bush(rng, width, height, "rough", base)
        paste(canvas, sprite, (int(rng.uniform(-60, across)), int(rng.uniform(-30, down))))
    return canvas


def _above(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source]) -> Picture:
    """Ground from above: fields, water, roads or a court with lines."""
    canvas = texture(rng, ("rough", "plain")[int(rng.integers(2))], across, down, float(rng.uniform(6, 40)))
    for _ in range(int(rng.integers(0, 5))):
        turn, at = rng.uniform(0, np.pi), rng.random(2) * [across, down]
        along = np.array([np.cos(turn), np.sin(turn)]) * across
        ends = [tuple((at + s * along).astype(int).tolist()) for s in (-1, 1)]
        tone = [int(rng.integers(40, 250))] * 3
        cv2.line(canvas, ends[0], ends[1], tone, int(rng.choice([1, 2, 3, 5, 40])), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 8))):
        size = int(rng.uniform(0.1, 0.4) * down)
        place = (int(rng.uniform(-30, across)), int(rng.uniform(-30, down)))
        paste(canvas, bush(rng, size, size, "rough", textures.colour(rng)), place)
    return canvas


def _crowd(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source]) -> Picture:
    """Things and people by the dozen."""
    canvas = texture(rng, "rough", across, down, 30, pictures)
    _strew(rng, canvas, int(rng.integers(30, 90)), float(rng.uniform(0.5, 1.1)))
    return cv2.GaussianBlur(canvas, (0, 0), float(rng.uniform(0.3, 2)))


def _pictured(rng: np.random.Generator, across: int, down: int, pictures: Sequence[Source]) -> Picture:
    """A part of a picture, or two of them beside each other."""
    canvas = textures.photo(rng, across, down, float(rng.uniform(8, 24)), pictures)
    if rng.random() < 0.4:
        at = int(rng.uniform(0.2, 0.8) * across)
        canvas[:, at:] = textures.photo(rng, across - at, down, float(rng.uniform(8, 24)), pictures)
    return canvas


SCENES: dict[str, Callable[[np.random.Generator, int, int, Sequence[Source]], Picture]] = {
    "outdoors": _outdoors,
    "street": _street,
    "room": _room,
    "wood": _wood,
    "above": _above,
    "crowd": _crowd,
    "pictured": _pictured,
}
OFTEN: Float[NDArray, " scenes"] = np.array([0.19, 0.21, 0.16, 0.1, 0.14, 0.08, 0.12])
