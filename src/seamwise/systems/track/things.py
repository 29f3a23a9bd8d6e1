"""Things: what moves in the tracking world. A thing is made of parts, each with its outline, surface and relief.

Drawn once at about the size at which it is seen; then every pose is made from that. Parts swing about their joints,
and a turn about the upright axis slides each surface along its part and the near parts along the far ones, so that
another side comes into sight.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray
from seamwise.systems.track import textures
from seamwise.systems.track.bodies import BODIES, Piece
from seamwise.systems.track.textures import FAMILIES, Family, Palette, Picture, Source

Sprite = Float[NDArray, "rows columns 4"]  # red, green and blue times alpha, 0 to 255; alpha, 0 to 1
N_KINDS = len(BODIES) * len(FAMILIES)
MARGIN_PX, SPARE = 2, 1.7  # around a part; how much wider a surface is than its part
FINE, SHIFT = 16, 4  # OpenCV is told places in 1/16 px
SLIDE = 0.35  # how far a full turn slides a surface, in widths of its part


@dataclass(frozen=True)
class Part:
    """One part in px: where it lies, how it moves, its relief (how light, and alpha) and its surface."""

    corner: tuple[float, float]  # upper left, from the thing's middle
    joint: tuple[float, float]
    piece: Piece
    relief: Float[NDArray, "h w 2"]
    surface: Picture


@dataclass(frozen=True)
class Pose:
    """How a thing is seen: the phase of its swing in radians, how far it swings (0 not) and is turned (-1 to 1)."""

    phase: float = 0.0
    swing: float = 0.0
    turn: float = 0.0


@dataclass(frozen=True)
class Thing:
    """Parts from the rearmost to the foremost, and the size of its canvas, with the room that swinging parts need."""

    parts: tuple[Part, ...]
    kind: int
    width: int
    height: int

    def sprite(self, pose: Pose) -> Sprite:
        """The thing in a pose, in the middle of its canvas."""
        canvas = np.zeros((self.height, self.width, 4), np.float32)
        for part in self.parts:
            _put(canvas, part, pose)
        return canvas


def make(rng: np.random.Generator, size_px: float, kind: int | None = None, pictures: Sequence[Source] = ()) -> Thing:
    """A thing of a kind; `size_px` is the root of its area's bounds, width times height."""
    kind = int(rng.integers(N_KINDS)) if kind is None else kind
    names = list(BODIES)
    pieces = BODIES[names[kind // len(FAMILIES)]](rng)
    low, high = _bounds(pieces)
    px = size_px / float(np.sqrt((high - low).prod()))
    family = FAMILIES[kind % len(FAMILIES)]
    light = rng.normal([0, -0.6], 0.5)
    looks = _looks(rng, family)
    parts = tuple(_part(rng, piece, (low + high) / 2, px, looks, light, pictures) for piece in pieces)
    room = 1.5 if any(piece.swing for piece in pieces) else 1.15
    width, height = (np.ceil((high - low) * px * room).astype(int) + 2 * MARGIN_PX).tolist()
    return Thing(parts, kind, int(width), int(height))


def alike(rng: np.random.Generator, thing: Thing, far: float = 0.6) -> Thing:
    """Another of the same kind and form, its surfaces similar: recoloured by `far` (0 the same, 1 freely)."""
    seed = int(rng.integers(1 << 32))
    parts = []
    for part in thing.parts:
        same = np.random.default_rng([seed, *part.piece.role.encode()])
        parts.append(replace(part, surface=textures.recoloured(same, part.surface[:, ::-1].copy(), far)))
    return replace(thing, parts=tuple(parts))


def faded(thing: Thing, tone: Float[NDArray, " 3"], share: float) -> Thing:
    """The same thing with its colours drawn towards a tone: hard to see before that."""
    lift = np.column_stack([np.eye(3) * (1 - share), tone * share])
    return replace(thing, parts=tuple(replace(part, surface=cv2.transform(part.surface, lift)) for part in thing.parts))


def _bounds(pieces: Sequence[Piece]) -> tuple[Float[NDArray, " 2"], Float[NDArray, " 2"]]:
    every = np.concatenate([piece.outline for piece in pieces])
    return every.min(0), every.max(0)


def _looks(rng: np.random.Generator, family: Family) -> dict[str, tuple[Family, Palette]]:
    """What each role's surface is: the thing's own family, skin, hair, glass, ..."""
    tone = textures.colour(rng)
    other = textures.colour(rng) if rng.random() < 0.6 else tone * [1, 1, rng.uniform(0.4, 0.9)]
    skin = np.array([rng.uniform(0.03, 0.09), rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.9)])
    contrast = {"plain": 0.15, "pattern": 0.6, "rough": 0.4, "photo": 0.4}[family]
    grey = np.array([rng.random(), rng.uniform(0, 0.2), rng.uniform(0.3, 0.8)])
    second: Family = family if rng.random() < 0.3 else "plain"
    return {
        "main": (family, textures.colours(rng, contrast, tone)),
        "second": (second, textures.colours(rng, 0.25, other)),
        "skin": ("plain", textures.colours(rng, 0.12, skin)),
        "hair": ("rough", textures.colours(rng, 0.2, np.array([0.08, rng.uniform(0, 0.6), rng.uniform(0.05, 0.6)]))),
        "dark": ("plain", textures.colours(rng, 0.08, np.array([0.6, 0.1, rng.uniform(0.05, 0.2)]))),
        "glass": ("plain", textures.colours(rng, 0.4, np.array([0.58, 0.2, rng.uniform(0.1, 0.6)]))),
        "light": ("plain", textures.colours(rng, 0.1, np.array([rng.random(), rng.uniform(0, 0.3), 0.95]))),
        "metal": ("plain", textures.colours(rng, 0.4, grey)),
    }


def _part(
    rng: np.random.Generator,
    piece: Piece,
    middle: Float[NDArray, " 2"],
    px: float,
    looks: dict[str, tuple[Family, Palette]],
    light: Float[NDArray, " 2"],
    pictures: Sequence[Source],
) -> Part:
    """A piece in px, drawn three times as fine and then made small: edges are soft."""
    points = (piece.outline - middle) * px
    corner = np.floor(points.min(0)) - MARGIN_PX
    width, height = (np.ceil(points.max(0)) - corner + MARGIN_PX).astype(int).tolist()
    mask = np.zeros((3 * height, 3 * width), np.uint8)
    fine = np.rint(((points - corner) * 3 - 0.5) * FINE).astype(np.int32)
    cv2.fillPoly(mask, [fine], 255, cv2.LINE_AA, SHIFT)
    mask = cv2.GaussianBlur(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), (3, 3), 0.55)
    family, palette = looks[piece.role]
    grain = max(3.0, min(width, height) * float(rng.uniform(0.2, 0.7)))
    surface = textures.texture(rng, family, int(SPARE * width) + 1, height, grain, pictures, palette)
    relief = np.dstack([_shade(mask, light, piece.round), mask * np.float32(1 / 255)])
    x, y = ((piece.joint - middle) * px).tolist()
    return Part((float(corner[0]), float(corner[1])), (x, y), piece, relief, surface)


def _shade(mask: NDArray, light: Float[NDArray, " 2"], roundness: float) -> NDArray:
    """How light each place is under a light from one side, the part being as round as told."""
    depth = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    most = max(float(depth.max()), 1.0)
    height = np.sqrt(np.maximum(1 - (1 - depth / most) ** 2, 0)) * most
    height = cv2.GaussianBlur(height, (0, 0), 0.15 * most + 0.5)
    across, down = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125)
    lit = (across * -light[0] + down * -light[1]) / np.sqrt(1 + across**2 + down**2)
    rows = np.linspace(0.08, -0.08, len(mask), dtype=np.float32)[:, None]
    return np.asarray((1 + rows + roundness * lit).clip(0.25, 1.7), np.float32)


def _put(canvas: Sprite, part: Part, pose: Pose) -> None:
    """Lay a part onto the canvas, swung about its joint and slid by the turn."""
    piece, (height, width) = part.piece, part.relief.shape[:2]
    angle = piece.swing * pose.swing * np.sin(pose.phase + piece.phase)
    cos, sin = np.cos(angle), np.sin(angle)
    shrunk = 1 - 0.25 * pose.turn**2
    x, y = part.corner[0] - part.joint[0], part.corner[1] - part.joint[1]
    to_x = part.joint[0] * shrunk + piece.depth * pose.turn * canvas.shape[1] * 0.3 + (canvas.shape[1] - 1) / 2
    to_y = part.joint[1] + (canvas.shape[0] - 1) / 2
    linear = np.array([[cos * shrunk, -sin * shrunk], [sin, cos]])
    shift = linear @ [x + 0.5, y + 0.5] + [to_x, to_y]
    ends = linear @ np.array([[0, width, 0, width], [0, 0, height, height]]) + shift[:, None]
    first = np.maximum(np.floor(ends.min(1)), 0).astype(int)
    last = np.minimum(np.ceil(ends.max(1)) + 1, canvas.shape[1::-1]).astype(int)
    if (last <= first).any():
        return
    size = (int(last[0] - first[0]), int(last[1] - first[1]))
    place = canvas[first[1] : last[1], first[0] : last[0]]
    relief = cv2.warpAffine(part.relief, np.column_stack([linear, shift - first]), size)
    spare = part.surface.shape[1] - width
    slid = spare / 2 + pose.turn * min(SLIDE * width, spare / 2)
    over = np.column_stack([linear, shift - first - linear[:, 0] * slid])
    surface = cv2.warpAffine(part.surface, over, size, borderMode=cv2.BORDER_REFLECT_101)
    shade, alpha = cv2.split(relief)
    if piece.on:
        alpha = alpha * place[..., 3]
    lit = cv2.multiply(surface, cv2.merge([shade] * 3), dtype=cv2.CV_32F)
    over_it = cv2.merge([*cv2.split(np.minimum(lit, 255)), np.ones_like(alpha)])
    place[:] = cv2.add(cv2.multiply(place, cv2.merge([1 - alpha] * 4)), cv2.multiply(over_it, cv2.merge([alpha] * 4)))
