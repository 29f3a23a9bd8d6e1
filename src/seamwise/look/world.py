"""A world of pictures in which every concept has its mask: edges, colours, textures, parts and objects.

Ten kinds of objects are put together from twenty parts; windows, wheels, eyes, tails and others are parts of several.
Colours and textures are drawn for each surface, whatever the object: none of them tells the class. A network trained
on these pictures can be looked into with `dissect`, for which all masks are known. Source: Bau et al. 2017 (Network
dissection), whose Broden pictures were labelled by hand. Differs: drawn, and small.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from seamwise.look import things
from seamwise.look.things import PARTS
from seamwise.shapes import Bool, Float, Int, NDArray, UInt8

__all__ = ["CLASSES", "CONCEPTS", "Scenes", "draw"]

HUES = {"red": 0, "orange": 28, "yellow": 56, "green": 120, "cyan": 180, "blue": 225, "purple": 275, "pink": 325}
GREY = len(HUES)
EDGES = ("vertical edge", "rising edge", "horizontal edge", "falling edge")  # by the angle of their gradient
CLASSES = tuple(things.OBJECTS)
CONCEPTS: dict[str, tuple[str, ...]] = {
    "edge": EDGES,
    "colour": (*HUES, "grey"),
    "texture": things.TEXTURES,
    "part": PARTS,
    "object": CLASSES,
}
MIN_EDGE, MIN_COHERENCE = 0.1, 0.8  # how steep, of 1 from black to white over the edge; how clear its direction
Surface = tuple[int, int, Float[NDArray, "2 3"]]  # colour, texture, and the two shades of that colour


@dataclass(frozen=True)
class Scenes:
    """n drawn pictures with every label.

    masks: by family, for every pixel 1 + the number of its concept in `concepts`, or 0 where it has none.
    """

    pictures: UInt8[NDArray, "n 3 size size"]
    classes: Int[NDArray, " n"]
    masks: dict[str, UInt8[NDArray, "n size size"]]
    concepts: dict[str, tuple[str, ...]]

    def mask(self, family: str, concept: str) -> Bool[NDArray, "n size size"]:
        """Where one concept is."""
        return np.asarray(self.masks[family] == 1 + self.concepts[family].index(concept))


def draw(n: int, seed: int, size: int = 64) -> Scenes:
    """Draw n pictures; the first of them are the same, however many are drawn."""
    classes = np.zeros(n, np.int64)
    pictures = np.zeros((n, 3, size, size), np.uint8)
    masks = {family: np.zeros((n, size, size), np.uint8) for family in CONCEPTS}
    for row in range(n):
        rng = np.random.default_rng([seed, row])
        classes[row] = rng.integers(len(CLASSES))
        canvas = _Canvas({family: labels[row] for family, labels in masks.items()}, size)
        _background(rng, canvas)
        _object(rng, canvas, int(classes[row]))
        _clutter(rng, canvas, int(rng.integers(2)))
        masks["edge"][row] = _edges(canvas.colours)
        pictures[row] = _photographed(rng, canvas.colours).transpose(2, 0, 1)
    return Scenes(pictures, classes, masks, CONCEPTS)


class _Canvas:
    """A picture in the making, with its label maps."""

    def __init__(self, labels: dict[str, UInt8[NDArray, "size size"]], size: int) -> None:
        self.size, self.labels = size, labels
        self.colours = np.zeros((size, size, 3), np.float32)
        self._bank = things.textures(size)

    def paint(
        self, rng: np.random.Generator, outline: Float[NDArray, "points 2"], surface: Surface, kind: int, part: int
    ) -> None:
        """Fill an outline (x and y, px); kind, part: what goes into those label maps."""
        low = np.floor(outline.min(0)).astype(int).clip(0, self.size)
        high = (np.ceil(outline.max(0)).astype(int) + 1).clip(0, self.size)
        width, height = (high - low).tolist()
        if width < 1 or height < 1:
            return
        cover = np.zeros((height, width), np.uint8)
        cv2.fillPoly(cover, [np.rint((outline - low) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        place = np.s_[low[1] : high[1], low[0] : high[0]]
        colour, texture, shades = surface
        field = self._bank[texture, int(rng.integers(things.N_VARIANTS))]
        x, y = rng.integers(0, field.shape[0] - self.size + 1, 2)
        grain = field[y : y + height, x : x + width, None] * np.float32(1 / 255)
        paint = shades[0] + (shades[1] - shades[0]) * grain
        self.colours[place] += (paint - self.colours[place]) * (cover * np.float32(1 / 255))[..., None]
        values = {"colour": colour + 1, "texture": texture + 1, "part": part, "object": kind}
        for family, value in values.items():
            self.labels[family][place][cover > 127] = value


def _surface(rng: np.random.Generator, grey: float, plain: float) -> Surface:
    """Two shades of one colour and a texture, each drawn by itself; grey, plain: how often."""
    colour = GREY if rng.random() < grey else int(rng.integers(GREY))
    texture = 0 if rng.random() < plain else int(rng.integers(1, len(things.TEXTURES)))
    hue = (0 if colour == GREY else list(HUES.values())[colour] + rng.uniform(-8, 8)) / 60
    saturation = 0 if colour == GREY else rng.uniform(0.65, 1)
    values = rng.uniform(0.55, 1) * np.array([1, rng.uniform(0.3, 0.55)])
    if colour == GREY:
        values = np.clip(rng.uniform(0.2, 0.95) + np.array([-0.5, 0.5]) * rng.uniform(0.3, 0.5), 0.05, 1)
        values = values if texture else np.full(2, values.mean())
    around = np.abs((np.array([5, 3, 1]) + hue) % 6 - 2).clip(1, 2) - 1  # red, green, blue of the pure hue
    shades = values[:, None] * (1 - saturation + saturation * around)
    return colour, texture, shades[:: rng.choice([1, -1])].astype(np.float32) if texture else shades.astype(np.float32)


def _background(rng: np.random.Generator, canvas: _Canvas) -> None:
    """Planes, such as sky, wall and ground, and things of no name before them."""
    size = canvas.size
    everywhere = np.array([[-1, -1], [size, -1], [size, size], [-1, size]], float)
    canvas.paint(rng, everywhere, _surface(rng, 0.8, 0.7), 0, 0)
    for _ in range(int(rng.integers(1, 3))):
        turn, at = rng.uniform(-0.4, 0.4), rng.uniform(0.2, 0.9) * size
        turn += np.pi / 2 * rng.integers(4)
        ground = np.array([[-2, 0], [2, 0], [2, 2], [-2, 2]]) * size
        spin = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        canvas.paint(rng, (ground @ spin + [size / 2, at]).clip(-2, size + 2), _surface(rng, 0.8, 0.7), 0, 0)
    _clutter(rng, canvas, int(rng.integers(2, 7)))


def _clutter(rng: np.random.Generator, canvas: _Canvas, n: int) -> None:
    """Things of no name: bars, and figures of three to six corners."""
    for _ in range(n):
        middle, reach = rng.uniform(0, canvas.size, 2), canvas.size * rng.uniform(0.04, 0.14)
        turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        corners = np.stack([np.cos(turns), np.sin(turns)], -1)
        if rng.random() < 0.3:
            corners, reach = things.box(-1, -0.08, 1, 0.08) @ _turned(rng.uniform(0, np.pi)), 2 * reach
        canvas.paint(rng, middle + reach * corners, _surface(rng, 0.4, 0.6), 0, 0)


def _object(rng: np.random.Generator, canvas: _Canvas, kind: int) -> None:
    """One object somewhere, of some size, mirrored or not, a little turned."""
    half = canvas.size * rng.uniform(0.33, 0.47)
    stretch = np.diag(np.exp(rng.uniform(-0.15, 0.15, 2)) * [rng.choice([1, -1]), 1])
    lie = half * stretch @ _turned(rng.uniform(-0.25, 0.25))
    room = max(canvas.size / 2 - 0.95 * half, 0)
    middle = canvas.size / 2 + rng.uniform(-room, room, 2)
    surfaces: dict[str, Surface] = {}
    for name, outline in things.OBJECTS[CLASSES[kind]](rng):
        surface = surfaces.setdefault(name, _surface(rng, 0.1, 0.6))
        part = PARTS.index(name.rstrip("+")) + 1 if name else 0
        canvas.paint(rng, outline @ lie + middle, surface, kind + 1, part)


def _turned(turn: float) -> Float[NDArray, "2 2"]:
    return np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _edges(colours: Float[NDArray, "size size 3"]) -> UInt8[NDArray, "size size"]:
    """Where the picture has an edge, by direction: the structure tensor of all colours, which is wide as its window."""
    scale = len(colours) / 64
    smooth = cv2.GaussianBlur(colours, (0, 0), 0.7 * scale)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *way, scale=scale / 8) for way in ((1, 0), (0, 1)))
    products = np.stack([(a * b).sum(-1) for a, b in ((across, across), (down, down), (across, down))], -1)
    xx, yy, xy = cv2.split(cv2.GaussianBlur(products, (0, 0), 1.2 * scale))
    both = np.hypot(xx - yy, 2 * xy)
    turn = np.rint(np.arctan2(2 * xy, xx - yy) / (np.pi / 2)).astype(np.int64) % 4
    clear = (xx + yy > MIN_EDGE**2) & (both > MIN_COHERENCE * (xx + yy))
    return np.where(clear, turn + 1, 0).astype(np.uint8)


def _photographed(rng: np.random.Generator, colours: Float[NDArray, "size size 3"]) -> UInt8[NDArray, "size size 3"]:
    """In uneven light, with a camera's noise."""
    size = len(colours)
    along, down = np.linspace(-1, 1, size, dtype=np.float32), np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    light = rng.uniform(0.8, 1.05) + rng.uniform(-0.15, 0.15) * along + rng.uniform(-0.15, 0.15) * down
    noise = rng.standard_normal(colours.shape, dtype=np.float32) * np.float32(rng.uniform(0.005, 0.04))
    return np.asarray(((colours * light[..., None] + noise) * 255).clip(0, 255).astype(np.uint8))
