"""Scenes: a room, clothes and a face set into one small picture, with all that makes it hard to find and to know.

A room and clothes are decided by a number each: the same number is the same room, seen a little differently each
time. Any cutouts will do, drawn faces or real ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn.functional import grid_sample

from seamwise.shapes import Bool, Float, Int, NDArray
from seamwise.systems.gate import faces
from seamwise.systems.gate.faces import Cutouts

__all__ = ["PICTURE_PX", "Cutouts", "Difficulty", "Scenes", "boxes", "compose", "room_of"]

PICTURE_PX, ROOM_PX = 96, 144
BOX_PX = (24, 54)  # sides of the face boxes, small ones as often as large ones
BOX_EYES, BOX_BELOW = 2.4, 0.3  # side of a face box, and its centre below the eyes, in eye distances
ROLL = np.deg2rad(10)
BODY_UNIT_PX, BODY_HALF, BODY_TOP, BODY_PX = 10, 3.2, 1.8, 80  # px for each eye distance, and where a body begins
N_DECOYS, DECOY_PX, OVAL_PX = 480, (18, 60), 40
FINE = 16  # OpenCV is told places in 1/16 px

Room = UInt8[NDArray, "height width"]
Layer = Float[NDArray, "rows columns 2"]  # grey from 0 to 255, times its mask, and the mask from 0 to 1


@dataclass(frozen=True)
class Difficulty:
    """How hard each stage has it: most from 0 (off) to 1, where everything varies as far as it can.

    `clutter` decoys a picture make a face harder to find. `occlusion` is the share of faces that something covers in
    part, and of glasses. `light` and `pose` scale how far both vary, `noise` noise and blur. `alike` is the share of
    people who have a look-alike: they make a face harder to know.
    """

    clutter: int = 3
    occlusion: float = 0.15
    light: float = 0.6
    pose: float = 0.5
    noise: float = 0.4
    alike: float = 0.1


@dataclass(frozen=True)
class Scenes:
    """n pictures, where the face is in each (left, top, side) and its landmarks, in px of the picture."""

    image: UInt8[NDArray, "n 1 96 96"]
    box: Float[NDArray, "n 3"]
    landmarks: Float[NDArray, "n 5 2"]


def boxes(landmarks: Float[NDArray, "n 5 2"]) -> Float[NDArray, "n 3"]:
    """The face box that belongs to landmarks: left, top, side."""
    left, right = landmarks[:, 0], landmarks[:, 1]
    eyes = np.linalg.norm(right - left, axis=1, keepdims=True)
    centre = (left + right) / 2 + eyes * [0, BOX_BELOW]
    return np.concatenate([centre - eyes * BOX_EYES / 2, eyes * BOX_EYES], axis=1).astype(np.float32)


def compose(
    rng: np.random.Generator,
    cutouts: Cutouts,
    room: Int[NDArray, " n"],
    clothes: Int[NDArray, " n"],
    difficulty: Difficulty,
    empty: Bool[NDArray, " n"] | None = None,
) -> Scenes:
    """Set each face into its room, in its clothes; where `empty`, the room stays without anybody."""
    empty = np.zeros(len(room), dtype=bool) if empty is None else empty
    affine, landmarks = _placed(rng, cutouts, difficulty)
    box = boxes(landmarks)
    scene = _backgrounds(rng, room)
    _strew(rng, scene, difficulty.clutter)
    here = np.flatnonzero(~empty)
    for k, tone in zip(here, _skin_tones(cutouts)[here].tolist(), strict=True):
        _dress(scene[k], box[k].tolist(), int(clothes[k]), tone)
    _paste(scene, _layers(cutouts), affine, here)
    _cover(rng, scene, box, difficulty.occlusion)
    box[empty], landmarks[empty] = 0, 0
    return Scenes(_develop(rng, scene, difficulty)[:, None], box, landmarks)


def _placed(
    rng: np.random.Generator, cutouts: Cutouts, difficulty: Difficulty
) -> tuple[Float[NDArray, "n 2 3"], Float[NDArray, "n 5 2"]]:
    """From px of the cutout to px of the picture: turned, scaled, the face box wholly in the picture."""
    marks = cutouts.landmarks.numpy().astype(np.float64)
    n = len(marks)
    turn = ROLL * min(2 * difficulty.pose, 1) * rng.uniform(-1, 1, n)
    side = np.exp(rng.uniform(np.log(BOX_PX[0]), np.log(BOX_PX[1]), n))
    scale = side / (BOX_EYES * np.linalg.norm(marks[:, 1] - marks[:, 0], axis=1))
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = linear.transpose(2, 0, 1)
    turned = marks @ linear.transpose(0, 2, 1)
    corner = rng.random((n, 2)) * (PICTURE_PX - side)[:, None]
    shift = corner - boxes(turned)[:, :2]
    return np.concatenate([linear, shift[:, :, None]], axis=2), (turned + shift[:, None]).astype(np.float32)


def _blend(scene: Room, layer: Layer, row: int, column: int) -> None:
    """Lay something over a scene, its upper left corner where it is told, inside or outside the scene."""
    top, left = max(row, 0), max(column, 0)
    part = layer[top - row : max(len(scene) - row, 0), left - column : max(scene.shape[1] - column, 0)]
    place = scene[top : top + part.shape[0], left : left + part.shape[1]]
    place[:] = place * (1 - part[..., 1]) + part[..., 0]


def _layers(cutouts: Cutouts) -> Float[NDArray, "n f f 2"]:
    return torch.stack([cutouts.grey * cutouts.alpha * 255, cutouts.alpha], 3).numpy()


def _paste(
    scene: UInt8[NDArray, "n 96 96"],
    layers: Float[NDArray, "n f f 2"],
    affine: Float[NDArray, "n 2 3"],
    here: Int[NDArray, " m"],
) -> None:
    """Set faces where their affine maps say; a large cutout is made small first, lest pixels are skipped."""
    linear, shift, f = affine[:, :, :2], affine[:, :, 2], layers.shape[1]
    scale = np.hypot(linear[:, 0, 0], linear[:, 1, 0])
    px = np.where(scale < 0.75, np.maximum(np.rint(f * scale), 1), f)
    first = np.floor(shift + f * linear.clip(max=0).sum(2)).clip(0, PICTURE_PX - 1).astype(int)
    size = np.ceil(shift + f * linear.clip(min=0).sum(2)).clip(first + 1, PICTURE_PX).astype(int) - first
    maps = linear * (f / px)[:, None, None]
    # OpenCV counts from the middle of the first pixel, we from its border
    maps = np.concatenate([maps, (maps.sum(2) / 2 + shift - 0.5 - first)[:, :, None]], axis=2)
    corners, sizes, sides = first.tolist(), size.tolist(), px.astype(int).tolist()
    for k in here.tolist():
        layer = layers[k]
        if sides[k] < f:
            layer = cv2.resize(layer, (sides[k], sides[k]), interpolation=cv2.INTER_AREA)
        column, row = corners[k]
        _blend(scene[k], cv2.warpAffine(layer, maps[k], sizes[k]), row, column)


def _skin_tones(cutouts: Cutouts) -> Float[NDArray, " n"]:
    """The grey between nose and mouth, from 0 to 255."""
    marks = cutouts.landmarks
    points = torch.stack([marks[:, 2].lerp(marks[:, k], share) for k in (0, 1, 3, 4) for share in (0.4, 0.6)], 1)
    places = points[:, None] * (2 / cutouts.grey.shape[-1]) - 1
    return grid_sample(cutouts.grey[:, None], places, align_corners=False)[:, 0, 0].mean(1).mul(255).numpy()


def _dress(scene: Room, box: list[float], clothes: int, tone: float) -> None:
    """Paint neck and shoulders below where the face will be."""
    unit = box[2] / BOX_EYES
    x, y = box[0] + box[2] / 2, box[1] + box[2] / 2 - BOX_BELOW * unit  # the middle of the eyes
    neck = scene[round(y + 0.9 * unit) : round(y + 2.9 * unit), max(round(x - 0.7 * unit), 0) : round(x + 0.7 * unit)]
    neck[:] = (tone * np.linspace(0.5, 0.85, len(neck)))[:, None]
    row, column = round(y + BODY_TOP * unit), round(x - BODY_HALF * unit)
    n_rows = PICTURE_PX - row
    if n_rows <= 0:
        return
    needed = min(int(n_rows * BODY_UNIT_PX / unit) + 1, BODY_PX)
    body = _body(clothes)[:needed]
    size = (round(2 * BODY_HALF * unit), round(needed * unit / BODY_UNIT_PX))
    _blend(scene, cv2.resize(body, size, interpolation=cv2.INTER_LINEAR), row, column)


@lru_cache(maxsize=2048)
def _body(clothes: int) -> Layer:
    """Shoulders in the clothes that belong to a number."""
    rng = np.random.default_rng([97, clothes])
    tone, second = rng.uniform(20, 240, 2)
    x = (np.arange(int(2 * BODY_HALF * BODY_UNIT_PX)) + 0.5) / BODY_UNIT_PX - BODY_HALF
    y = (np.arange(BODY_PX)[:, None] + 0.5) / BODY_UNIT_PX
    side = np.abs(x)
    falls = 1.5 * np.clip(side - rng.uniform(1.7, 2.4), 0, None) ** 2
    opening = (rng.uniform(0.1, 1.2) - rng.uniform(0.8, 2) * side) * (side < 1)
    edge = 0.2 + np.maximum(rng.uniform(0.15, 0.55) * side + falls, opening)
    across, down = rng.uniform(2, 9, 2) * (rng.random(2) < 0.5)
    striped = np.sin(x * across + 0.5) * np.cos(y * down) > 0.1
    cloth = np.where(striped & (across + down > 0), tone + rng.uniform(-0.9, 0.9) * (second - tone), tone)
    if rng.random() < 0.4:  # a collar
        cloth = np.where((y - edge < 0.25) & (side < 1.1), second, cloth)
    if rng.random() < 0.3:  # buttons or a tie
        cloth = np.where((side < rng.uniform(0.06, 0.25)) & (y > edge), second, cloth)
    mask = np.clip((y - edge) * BODY_UNIT_PX, 0, 1)
    grey = np.clip(cloth * (1 - 0.1 * side + rng.uniform(-0.1, 0.1) * x), 0, 255)
    return np.stack([grey * mask, mask], 2).astype(np.float32)


def _backgrounds(rng: np.random.Generator, room: Int[NDArray, " n"]) -> UInt8[NDArray, "n 96 96"]:
    """Each room from a little nearer or farther, shifted, mirrored or not, in other light."""
    n = len(room)
    side = rng.integers(PICTURE_PX, ROOM_PX + 1, n).tolist()
    corner = rng.random((n, 2)).tolist()
    mirrored = (rng.random(n) < 0.5).tolist()
    gain, lift = rng.uniform(0.65, 1.1, n).tolist(), rng.uniform(0, 30, n).tolist()
    out = np.empty((n, PICTURE_PX, PICTURE_PX), dtype=np.uint8)
    for k, number in enumerate(room.tolist()):
        row, column = (int(share * (ROOM_PX - side[k] + 1)) for share in corner[k])
        part = room_of(number)[row : row + side[k], column : column + side[k]]
        part = cv2.resize(part, (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_LINEAR)
        cv2.convertScaleAbs(part[:, ::-1] if mirrored[k] else part, dst=out[k], alpha=gain[k], beta=lift[k])
    return out


class _Dice:
    """Random numbers one by one, from a generator that gives them by the thousand: a room needs hundreds."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._numbers = self._endless()

    def _endless(self) -> Iterator[float]:
        while True:
            yield from self._rng.random(256).tolist()

    def real(self, low: float, high: float) -> float:
        return low + (high - low) * next(self._numbers)

    def whole(self, low: int, high: int) -> int:
        """From low to high - 1."""
        return int(self.real(low, high))

    def tone(self) -> int:
        return self.whole(20, 245)

    def point(self) -> tuple[int, int]:
        return self.whole(0, ROOM_PX), self.whole(0, ROOM_PX)

    def rectangle(self, low: float, high: float) -> tuple[int, int, int, int]:
        """A place in a room: left, top, right, bottom, each side a share of the room."""
        left, top = int(self.real(-0.1, 0.95) * ROOM_PX), int(self.real(-0.1, 0.95) * ROOM_PX)
        return left, top, left + int(self.real(low, high) * ROOM_PX), top + int(self.real(low, high) * ROOM_PX)


@lru_cache(maxsize=2048)
def room_of(number: int) -> UInt8[NDArray, "144 144"]:
    """The room that belongs to a number: a wall and a floor, and on them what stands and hangs in rooms."""
    dice = _Dice(np.random.default_rng([96, number]))
    wall, floor = dice.real(70, 225), dice.real(40, 200)
    horizon = int(dice.real(0.6, 0.95) * ROOM_PX)
    ramp = np.linspace(-1, 1, ROOM_PX, dtype=np.float32)
    room = np.clip(wall + dice.real(-30, 30) * ramp[:, None] + dice.real(-45, 45) * ramp, 0, 255).astype(np.uint8)
    if dice.real(0, 1) < 0.3:  # wallpaper
        step, tone = dice.whole(5, 16), int(wall * dice.real(0.7, 0.95))
        room[:, ::step] = tone
        room[:: step if dice.real(0, 1) < 0.4 else ROOM_PX] = tone
    room[horizon:] = np.clip(room[horizon:] * (floor / wall), 0, 255).astype(np.uint8)
    cv2.line(room, (0, horizon), (ROOM_PX, horizon), dice.tone(), 3)
    things = (_window, _poster, _shelf, _lamp, _cupboard, _plant, _picture, _clock, _curtain, _corner)
    for _ in range(dice.whole(5, 11)):
        things[dice.whole(0, len(things))](room, dice)
    return cv2.GaussianBlur(room, (5, 5), dice.real(0.4, 1.2))


def _window(room: Room, dice: _Dice) -> None:
    left, top, right, bottom = dice.rectangle(0.2, 0.45)
    frame, n_panes = dice.tone(), dice.whole(1, 4)
    cv2.rectangle(room, (left, top), (right, bottom), dice.whole(190, 256), -1)
    for pane in range(1, n_panes):
        x = left + (right - left) * pane // n_panes
        cv2.line(room, (x, top), (x, bottom), frame, 2)
    cv2.rectangle(room, (left, top), (right, bottom), frame, 3)


def _poster(room: Room, dice: _Dice) -> None:
    left, top, right, bottom = dice.rectangle(0.15, 0.35)
    cv2.rectangle(room, (left, top), (right, bottom), dice.tone(), -1)
    for y in range(top + 5, bottom - 3, dice.whole(4, 8)):
        cv2.line(room, (left + 4, y), (right - dice.whole(4, 15), y), dice.tone(), dice.whole(1, 4))


def _picture(room: Room, dice: _Dice) -> None:
    """A framed landscape."""
    left, top, right, bottom = dice.rectangle(0.15, 0.35)
    middle = (top + bottom) // 2
    cv2.rectangle(room, (left, top), (right, bottom), dice.tone(), -1)
    cv2.rectangle(room, (left, middle), (right, bottom), dice.tone(), -1)
    cv2.circle(room, ((left + right) // 2, middle), dice.whole(3, 9), dice.tone(), -1, cv2.LINE_AA)
    cv2.rectangle(room, (left, top), (right, bottom), dice.tone(), dice.whole(1, 4))


def _shelf(room: Room, dice: _Dice) -> None:
    left, top, right, bottom = dice.rectangle(0.25, 0.6)
    height, board = dice.whole(12, 26), dice.tone()
    cv2.rectangle(room, (left, top), (right, bottom), dice.tone(), -1)
    for y in range(top + height, bottom, height + 3):
        x = left + 2
        while x < right - 4:
            width = dice.whole(2, 7)
            cv2.rectangle(room, (x, y - dice.whole(8, height)), (x + width, y), dice.tone(), -1)
            x += width + dice.whole(0, 3)
        cv2.rectangle(room, (left, y), (right, y + 2), board, -1)


def _lamp(room: Room, dice: _Dice) -> None:
    (x, y), size = dice.point(), dice.whole(6, 16)
    cv2.line(room, (x, 0), (x, y), dice.tone(), 1)
    shade = np.array([(x - size // 2, y), (x + size // 2, y), (x + size, y + size), (x - size, y + size)])
    cv2.fillPoly(room, [shade.astype(np.int32)], dice.whole(150, 256), cv2.LINE_AA)


def _cupboard(room: Room, dice: _Dice) -> None:
    left, top, right, _ = dice.rectangle(0.25, 0.6)
    tone = dice.tone()
    edge = max(tone - 50, 0)
    cv2.rectangle(room, (left, top), (right, ROOM_PX), tone, -1)
    for x in range(left, right, dice.whole(14, 30)):
        cv2.line(room, (x, top), (x, ROOM_PX), edge, 1)
        cv2.circle(room, (x + 3, (top + ROOM_PX) // 2), 1, edge, -1)


def _plant(room: Room, dice: _Dice) -> None:
    (x, y), tone = dice.point(), dice.whole(20, 120)
    for _ in range(9):
        angle, reach = dice.real(200, 340), dice.whole(8, 18)
        centre = (int(x + reach * np.cos(np.deg2rad(angle))), int(y + reach * np.sin(np.deg2rad(angle))))
        cv2.ellipse(room, centre, (reach, 3), angle, 0, 360, tone + dice.whole(0, 40), -1, cv2.LINE_AA)
    cv2.rectangle(room, (x - 6, y), (x + 6, y + 12), dice.tone(), -1)


def _clock(room: Room, dice: _Dice) -> None:
    (x, y), size = dice.point(), dice.whole(6, 14)
    cv2.circle(room, (x, y), size, dice.whole(170, 250), -1, cv2.LINE_AA)
    cv2.circle(room, (x, y), size, dice.tone(), 2, cv2.LINE_AA)
    cv2.line(room, (x, y), (x + size // 2, y - 2), 30, 1, cv2.LINE_AA)
    cv2.line(room, (x, y), (x, y - size + 3), 30, 1, cv2.LINE_AA)


def _curtain(room: Room, dice: _Dice) -> None:
    left, _, right, bottom = dice.rectangle(0.12, 0.5)
    part = room[: max(bottom, 0), max(left, 0) : right]
    folds = np.sin(np.arange(part.shape[1]) * dice.real(0.4, 1.2)) * dice.real(8, 30)
    part[:] = np.clip(dice.tone() + folds, 0, 255)


def _corner(room: Room, dice: _Dice) -> None:
    """Another wall that meets this one."""
    x = dice.whole(8, ROOM_PX - 8)
    part = room[:, :x] if dice.real(0, 1) < 0.5 else room[:, x:]
    part[:] = part * dice.real(0.6, 0.9)


def _strew(rng: np.random.Generator, scene: UInt8[NDArray, "n 96 96"], n_decoys: int) -> None:
    """Set things that look a little like faces before the rooms, in place."""
    if n_decoys == 0:
        return
    decoys, n = _decoys(), len(scene)
    which = rng.integers(0, N_DECOYS, (n, n_decoys)).tolist()
    corner = rng.random((n, n_decoys, 2)).tolist()
    mirrored = (rng.random((n, n_decoys)) < 0.5).tolist()
    for k in range(n):
        for d in range(n_decoys):
            layer = decoys[which[k][d]]
            row, column = (int(share * (PICTURE_PX - len(layer) + 1)) for share in corner[k][d])
            _blend(scene[k], layer[:, ::-1] if mirrored[k][d] else layer, row, column)


@lru_cache(maxsize=1)
def _decoys() -> list[Layer]:
    """Ovals with dots, heads from behind and faces in the wrong order, of all sizes."""
    rng = np.random.default_rng(96)
    third = N_DECOYS // 3
    people = faces.identities(rng, 2 * third)
    layers = _layers(faces.render(people, faces.looks(rng, 2 * third, pose=0.6))).copy()
    for k in range(third):
        _from_behind(rng, layers[k])
        _scramble(rng, layers[third + k])
    every = [*layers, *(_oval(rng) for _ in range(third))]
    sides = np.exp(rng.uniform(np.log(DECOY_PX[0]), np.log(DECOY_PX[1]), N_DECOYS)).astype(int).tolist()
    return [cv2.resize(each, (px, px), interpolation=cv2.INTER_AREA) for each, px in zip(every, sides, strict=True)]


def _from_behind(rng: np.random.Generator, layer: Layer) -> None:
    """A head without a face: its light stays, its features go; in place."""
    smooth = cv2.GaussianBlur(layer[..., 0], (0, 0), 9)
    strands = 12 * np.sin(np.arange(len(layer)) * rng.uniform(0.5, 1.3))
    layer[..., 0] = np.clip(smooth * rng.uniform(0.4, 1.1) + strands, 0, 255) * layer[..., 1]


def _scramble(rng: np.random.Generator, layer: Layer) -> None:
    """The eyes where the mouth was and the mouth where the eyes were, or the face upside down; in place."""
    middle, eyes, mouth = slice(15, 41), slice(22, 33), slice(37, 48)
    if rng.random() < 0.5:
        layer[18:50, middle] = layer[18:50, middle][::-1].copy()
    else:
        layer[eyes, middle], layer[mouth, middle] = layer[mouth, middle].copy(), layer[eyes, middle].copy()


def _oval(rng: np.random.Generator) -> Layer:
    """An oval with some dots and strokes that are not where a face has them."""
    dice, middle = _Dice(rng), OVAL_PX // 2
    mask = np.zeros((OVAL_PX, OVAL_PX), dtype=np.uint8)
    axes = (dice.whole(9, 19), dice.whole(9, 19))
    cv2.ellipse(mask, (middle, middle), axes, dice.real(0, 90), 0, 360, 255, -1, cv2.LINE_AA)
    ramp = np.linspace(-1, 1, OVAL_PX)
    ink = np.clip(dice.tone() + dice.real(-60, 60) * ramp + dice.real(-60, 60) * ramp[:, None], 0, 255)
    ink = ink.astype(np.uint8)
    for _ in range(dice.whole(1, 6)):
        cv2.circle(ink, (dice.whole(10, 30), dice.whole(10, 30)), dice.whole(1, 4), dice.whole(10, 90), -1, cv2.LINE_AA)
    share = mask.astype(np.float32) / 255
    return np.stack([ink * share, share], 2)


def _cover(
    rng: np.random.Generator, scene: UInt8[NDArray, "n 96 96"], box: Float[NDArray, "n 3"], share: float
) -> None:
    """Put a patch, a bar or a hand over part of some faces, in place."""
    for k in np.flatnonzero(rng.random(len(box)) < share):
        dice = _Dice(rng)
        left, top, side = box[k].tolist()
        angle, away = dice.real(0, 2 * np.pi), dice.real(0.25, 0.5) * side
        x, y = left + side / 2 + away * np.cos(angle), top + side / 2 + away * np.sin(angle)
        (_patch, _bar, _hand)[dice.whole(0, 3)](scene[k], dice, x, y, side)


def _fine(*points: Sequence[float]) -> Int[NDArray, "n 2"]:
    return np.round(np.array(points) * FINE).astype(np.int32)


def _patch(scene: Room, dice: _Dice, x: float, y: float, side: float) -> None:
    size = (side * dice.real(0.25, 0.45), side * dice.real(0.25, 0.45))
    corners = cv2.boxPoints(((x, y), size, dice.real(0, 90)))
    cv2.fillPoly(scene, [_fine(*corners.tolist())], dice.tone(), cv2.LINE_AA, 4)


def _bar(scene: Room, dice: _Dice, x: float, y: float, side: float) -> None:
    turn = dice.real(0, np.pi)
    dx, dy = 2 * PICTURE_PX * np.cos(turn), 2 * PICTURE_PX * np.sin(turn)
    start, end = _fine((x - dx, y - dy), (x + dx, y + dy)).tolist()
    cv2.line(scene, start, end, dice.tone(), max(int(side * dice.real(0.1, 0.22)), 2), cv2.LINE_AA, 4)


def _hand(scene: Room, dice: _Dice, x: float, y: float, side: float) -> None:
    """A palm and four fingers."""
    turn, palm, tone = dice.real(0, 2 * np.pi), side * dice.real(0.12, 0.2), dice.tone()
    (middle,) = _fine((x, y)).tolist()
    cv2.circle(scene, middle, int(palm * FINE), tone, -1, cv2.LINE_AA, 4)
    for finger in (-0.6, -0.2, 0.2, 0.6):
        reach = palm * dice.real(1.9, 2.4)
        (tip,) = _fine((x + reach * np.cos(turn + finger), y + reach * np.sin(turn + finger))).tolist()
        cv2.line(scene, middle, tip, tone, max(int(palm * 0.5), 1), cv2.LINE_AA, 4)


def _develop(
    rng: np.random.Generator, scene: UInt8[NDArray, "n 96 96"], difficulty: Difficulty
) -> UInt8[NDArray, "n 96 96"]:
    """The pictures that a camera makes of scenes: uneven light, contrast, gamma, blur and noise."""
    n, light, noise = len(scene), difficulty.light, difficulty.noise
    ramp = np.linspace(-0.25, 0.25, PICTURE_PX) * light
    across = (1 + rng.uniform(-1, 1, (n, 1)) * ramp).astype(np.float32)
    down = (1 + rng.uniform(-1, 1, (n, 1)) * ramp).astype(np.float32)
    gain, gamma = 1 + 0.25 * light * rng.uniform(-1, 1, n), np.exp(0.35 * light * rng.uniform(-1, 1, n))
    curve = (np.linspace(0, 1, 256) ** gamma[:, None] * gain[:, None] * 255).astype(np.float32)
    sigma = rng.uniform(0.2, 0.2 + noise, n).tolist()
    strength = (15 * noise * rng.uniform(0.3, 1, n)).astype(np.float32)
    row = rng.standard_normal(2**17, dtype=np.float32)  # each picture's noise is a window on it
    start = rng.integers(0, len(row) - PICTURE_PX**2, n).tolist()
    out = np.empty_like(scene)
    for k in range(n):
        picture = cv2.LUT(scene[k], curve[k])
        picture *= across[k]
        picture *= down[k][:, None]
        if sigma[k] > 0.3:
            picture = cv2.GaussianBlur(picture, (5, 5), sigma[k])
        picture += strength[k] * row[start[k] : start[k] + PICTURE_PX**2].reshape(PICTURE_PX, PICTURE_PX)
        cv2.convertScaleAbs(np.maximum(picture, 0, out=picture), dst=out[k])  # rounds, and keeps to 255
    return out
