"""Scenes to train the face finder on: people cut out of a studio's photographs and drawn ones, set into clutter."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from seamwise.pictures import read_photo
from seamwise.shapes import Float, NDArray
from seamwise.systems.gate import faces, world
from seamwise.systems.gate.photos import read_boxes
from seamwise.systems.gate.scenes import BOX_BELOW, BOX_EYES, room_of

EYE_PX, WIDE, ABOVE, BELOW = 32, 3.0, 2.6, 4.4  # a person: px for each eye distance, and how far they reach in these
SCENE_PX = (200, 260)
N_LOOKS, N_DRAWN = 1800, 900  # appearances of real people and of drawn ones that scenes are made of
SIDE_PX = (27, 130)  # boxes of the people in scenes

Layer = Float[NDArray, "rows columns 2"]  # grey and mask, both from 0 to 1


@dataclass(frozen=True)
class Someone:
    """A person cut out of a photograph, or drawn; the face box in px of the layer."""

    layer: Layer
    box: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """A picture and the faces in it: middle and side of each box; those that are hardly to be seen apart."""

    grey: UInt8[NDArray, "h w"]
    boxes: Float[NDArray, "n 3"]
    unclear: Float[NDArray, "m 3"]


def studio(london: Path) -> list[Layer]:
    """Every photograph of the set, cut out of its backdrop, eyes level and in place."""
    eyes = {key: box.eyes for key, box in read_boxes(london / "boxes.csv").items()}
    out = []
    for (person, image), known in sorted(eyes.items()):
        if image != "neutral" or known is None:
            continue
        neutral = read_photo(london / person / "neutral.jpg")
        out.append(_cut_out(neutral, known))
        smiling = london / person / "smiling.jpg"
        if smiling.exists():
            photo = read_photo(smiling)
            out.append(_cut_out(photo, _followed(neutral, photo, known)))
    return out


def _followed(
    one: UInt8[NDArray, "h w 3"], other: UInt8[NDArray, "h w 3"], eyes: Float[NDArray, "2 2"]
) -> Float[NDArray, "2 2"]:
    """Where the eyes of one photograph are in another of the same person."""
    reach = float(np.linalg.norm(eyes[1] - eyes[0]))
    first, second = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (one, other))
    found = []
    for x, y in eyes.tolist():
        half, far = int(0.3 * reach), int(0.9 * reach)
        left, top = int(x) - half, int(y) - half
        patch = first[top : top + 2 * half, left : left + 2 * half]
        x0, y0 = max(left - far, 0), max(top - far, 0)
        where = second[y0 : top + far + 2 * half, x0 : left + far + 2 * half]
        _, _, _, (dx, dy) = cv2.minMaxLoc(cv2.matchTemplate(where, patch, cv2.TM_CCOEFF_NORMED))
        found.append([x + x0 + dx - left, y + y0 + dy - top])
    return np.array(found)


def _cut_out(photo: UInt8[NDArray, "h w 3"], eyes: Float[NDArray, "2 2"]) -> Layer:
    """The person alone: eyes level, `EYE_PX` apart."""
    along = (eyes[1] - eyes[0]) * EYE_PX / np.sum((eyes[1] - eyes[0]) ** 2)
    turn = np.array([[along[0], along[1]], [-along[1], along[0]]])
    shift = np.array([WIDE, ABOVE]) * EYE_PX - turn @ eyes.mean(0)
    size = (int(2 * WIDE * EYE_PX), int((ABOVE + BELOW) * EYE_PX))
    share = float(np.hypot(*along))
    soft = cv2.GaussianBlur(photo, (0, 0), 0.4 / share)
    small = cv2.warpAffine(soft, np.column_stack([turn, shift]), size, borderMode=cv2.BORDER_REPLICATE)
    mask = _guess().copy()
    cv2.setRNGSeed(0)  # grabCut starts from chance
    cv2.grabCut(small, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    inside = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    kept = cv2.GaussianBlur(cv2.medianBlur(inside, 3), (3, 3), 0).astype(np.float32) / 255
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    return np.stack([grey, kept], 2)


@lru_cache(maxsize=1)
def _grid() -> tuple[Float[NDArray, "rows columns"], Float[NDArray, "rows columns"]]:
    """How far each pixel of a person lies across and below the middle of the eyes, in eye distances."""
    y, x = np.mgrid[: int((ABOVE + BELOW) * EYE_PX), : int(2 * WIDE * EYE_PX)].astype(np.float32)
    return (x + 0.5) / EYE_PX - WIDE, (y + 0.5) / EYE_PX - ABOVE


@lru_cache(maxsize=1)
def _guess() -> UInt8[NDArray, "rows columns"]:
    """Where a person surely is, surely is not, or may be."""
    x, y = _grid()
    mask = np.full(x.shape, cv2.GC_PR_BGD, dtype=np.uint8)
    mask[(x / 1.4) ** 2 + ((y - 0.3) / 2.1) ** 2 < 1] = cv2.GC_PR_FGD
    mask[(y > 2.5) & (np.abs(x) < 0.9 + (y - 2.3) * 3)] = cv2.GC_PR_FGD
    mask[(x / 0.9) ** 2 + ((y - 0.4) / 1.3) ** 2 < 1] = cv2.GC_FGD
    mask[(y > 1) & (y < 2.4) & (np.abs(x) < 0.4)] = cv2.GC_FGD
    mask[(y > 3.1) & (np.abs(x) < 2)] = cv2.GC_FGD
    mask[(np.abs(x) > 2.3) & (y < 1.5)] = cv2.GC_BGD
    return mask


def cast_of(rng: np.random.Generator, photographed: list[Layer]) -> list[Someone]:
    """Everybody who appears in scenes, each in some light, pose and clothes."""
    box = (WIDE * EYE_PX, (ABOVE + BOX_BELOW) * EYE_PX, BOX_EYES * EYE_PX)
    out = []
    for k in range(N_LOOKS):
        layer = photographed[k % len(photographed)]
        out.append(Someone(_dressed(rng, _lit(rng, _posed(rng, layer))), box))
    drawn = faces.render(faces.identities(rng, N_DRAWN), faces.looks(rng, N_DRAWN, pose=0.8, light=1, glasses=0.4))
    layers = torch.stack([drawn.grey, drawn.alpha], 3).numpy()
    for layer, marks in zip(layers, drawn.landmarks.numpy(), strict=True):
        eyes = float(np.linalg.norm(marks[1] - marks[0]))
        x, y = ((marks[0] + marks[1]) / 2).tolist()
        out.append(Someone(layer, (x, y + BOX_BELOW * eyes, BOX_EYES * eyes)))
    return out


@lru_cache(maxsize=1)
def _relief() -> tuple[Float[NDArray, "rows columns"], Float[NDArray, "rows columns 3"]]:
    """How far a head stands out, in eye distances, and which way its surface looks."""
    x, y = _grid()
    depth = np.sqrt(np.clip(1 - (x / 1.2) ** 2 - ((y - 0.3) / 1.9) ** 2, 0.02, None))
    depth += 0.4 * np.exp(-((x / 0.18) ** 2)) * np.clip((y + 0.05) / 0.75, 0, 1) * (y < 0.72)
    depth += 0.1 * np.exp(-(((y + 0.22) / 0.12) ** 2) - (x / 0.75) ** 4)
    depth -= 0.13 * np.exp(-(((np.abs(x) - 0.5) / 0.25) ** 2) - (y / 0.16) ** 2)
    depth += 0.08 * np.exp(-((x / 0.35) ** 2) - ((y - 1.05) / 0.12) ** 2)
    depth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 0.06 * EYE_PX)
    down, across = np.gradient(depth * EYE_PX)
    normal = np.stack([-across, -down, np.ones_like(depth)], 2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return depth, normal.astype(np.float32)


def _posed(rng: np.random.Generator, layer: Layer) -> Layer:
    """The head turned and nodded a little, and made longer, wider or uneven."""
    depth, _ = _relief()
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float32)
    away = (depth - 0.8) * EYE_PX
    x = columns + rng.normal(0, 0.2) * away
    y = rows + rng.normal(0, 0.14) * away
    bend = cv2.resize(rng.normal(0, 0.04 * EYE_PX, (7, 6, 2)).astype(np.float32), depth.shape[::-1])
    stretch = float(np.exp(rng.normal(0, 0.05)))
    y = (y - ABOVE * EYE_PX) * stretch + ABOVE * EYE_PX
    if rng.random() < 0.5:
        x = depth.shape[1] - 1 - x
    return cv2.remap(layer, x + bend[..., 0], y + bend[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _lit(rng: np.random.Generator, layer: Layer) -> Layer:
    """In other light than the studio's: from one side, from above, hard or soft; some wear glasses."""
    _, normal = _relief()
    x, y = _grid()
    grey = layer[..., 0] ** rng.uniform(0.6, 1.5)
    kind = rng.random()
    if kind < 0.7:
        side, height = rng.normal(0, 0.8), rng.normal(0.3, 0.5)
        light = np.array([np.sin(side) * np.cos(height), -np.sin(height), np.cos(side) * np.cos(height)])
        ambient = rng.uniform(0.1, 0.8)
        grey = grey * (ambient + (1 - ambient) * 1.3 * np.clip(normal @ light.astype(np.float32), 0, None))
    if kind > 0.55:  # half in the shade
        turn, steep = rng.normal(0, 0.4), rng.choice([-1, 1]) * np.exp(rng.uniform(0.7, 3))
        edge = (x * np.cos(turn) + y * np.sin(turn) - rng.normal(0, 0.4)) * steep
        least = rng.uniform(0.1, 0.7)
        grey = grey * (least + (1 - least) / (1 + np.exp(-edge)))
    if rng.random() < 0.25:
        grey = _with_glasses(rng, grey)
    grey = grey * rng.uniform(0.2, 0.8) / max(float(grey[_guess() == cv2.GC_FGD].mean()), 0.02)
    return np.stack([np.clip(grey, 0, 1), layer[..., 1]], 2).astype(np.float32)


def _with_glasses(rng: np.random.Generator, grey: Float[NDArray, "rows columns"]) -> Float[NDArray, "rows columns"]:
    grey = np.ascontiguousarray(grey)
    tone, thick = rng.uniform(0, 0.6), int(rng.integers(1, 4))
    y = int((ABOVE + rng.uniform(0, 0.12)) * EYE_PX)
    size = (int(rng.uniform(0.3, 0.42) * EYE_PX), int(rng.uniform(0.2, 0.36) * EYE_PX))
    for sign in (-1, 1):
        x = int((WIDE + sign * 0.5) * EYE_PX)
        cv2.ellipse(grey, (x, y), size, 0, 0, 360, tone, thick, cv2.LINE_AA)
        cv2.line(grey, (x + sign * size[0], y), (x + sign * (size[0] + 16), y - 2), tone, thick, cv2.LINE_AA)
        if rng.random() < 0.15:  # a reflection
            cv2.circle(grey, (x + int(rng.integers(-5, 6)), y), int(rng.integers(2, 6)), 0.95, -1, cv2.LINE_AA)
    cv2.line(grey, (x - EYE_PX + size[0], y - 2), (x - size[0], y - 2), tone, thick, cv2.LINE_AA)
    return grey


def _dressed(rng: np.random.Generator, layer: Layer) -> Layer:
    """In clothes of any tone and pattern instead of the studio's white ones."""
    if rng.random() < 0.2:
        return layer
    x, y = _grid()
    neckline = rng.uniform(2.2, 2.9) + rng.uniform(0.1, 0.5) * np.abs(x)
    if rng.random() < 0.6:  # a collar, open
        neckline = np.maximum(neckline, rng.uniform(2.4, 3.4) - rng.uniform(0.8, 2.5) * np.abs(x))
    worn = np.clip((y - neckline) * EYE_PX / 2, 0, 1)
    cloth = _texture(rng, *x.shape).astype(np.float32) / 255
    cloth = (cloth - 0.5) * rng.uniform(0, 1) + rng.uniform(0.05, 0.9)
    if rng.random() < 0.3:  # a tie or buttons
        cloth = np.where((np.abs(x) < rng.uniform(0.05, 0.25)), rng.uniform(0, 1), cloth)
    grey = layer[..., 0] * (1 - worn) + np.clip(cloth, 0, 1) * worn
    return np.stack([grey, layer[..., 1]], 2).astype(np.float32)


def _texture(rng: np.random.Generator, height: int, width: int) -> UInt8[NDArray, "height width"]:
    """Noise of any coarseness, or stripes, or checks."""
    if rng.random() < 0.6:
        picture = np.zeros((height, width), dtype=np.float32)
        falls = rng.uniform(0.5, 1.3)
        for power in range(7):
            n = 2 ** (power + 1)
            noise = rng.standard_normal((min(n, height), min(n, width))).astype(np.float32)
            picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 2 ** (-power * falls)
        low, high = float(picture.min()), float(picture.max())
        return np.asarray(((picture - low) * (255 / (high - low))).astype(np.uint8))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn, step = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.1), np.log(1.5)))
    wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * step)
    if rng.random() < 0.4:
        wave = wave * np.sin((y * np.cos(turn) - x * np.sin(turn)) * step * rng.uniform(0.5, 2))
    return np.asarray(((np.clip(wave * rng.uniform(0.5, 6), -1, 1) + 1) * 127.5).astype(np.uint8))


def clutter(rng: np.random.Generator, height: int, width: int) -> UInt8[NDArray, "height width"]:
    """A picture without anybody: a drawn room, shapes over shapes, textures, writing."""
    kind = rng.random()
    if kind < 0.45:
        room = room_of(int(rng.integers(0, 4000)))
        picture = cv2.resize(room, (width, height), interpolation=cv2.INTER_CUBIC)
    elif kind < 0.7:
        picture = np.full((height, width), rng.integers(20, 240), dtype=np.uint8)
    else:
        picture = _texture(rng, height, width)
    picture = np.ascontiguousarray(picture)
    for _ in range(int(rng.choice([0, 4, 12, 40, 120]))):
        _shape(rng, picture)
    if rng.random() < 0.3:
        _writing(rng, picture)
    if rng.random() < 0.5:
        ramp = np.linspace(rng.uniform(0.4, 1), rng.uniform(0.4, 1), width, dtype=np.float32)
        picture = (picture * ramp).astype(np.uint8)
    return picture


def _shape(rng: np.random.Generator, picture: UInt8[NDArray, "height width"]) -> None:
    """Something with an edge, plain or textured, anywhere, in place: often paired, as eyes and windows are."""
    height, width = picture.shape
    size = np.exp(rng.uniform(np.log(2), np.log(70)))
    across, down = size * np.exp(rng.normal(0, 0.6, 2))
    x, y, turn = rng.uniform(0, width), rng.uniform(0, height), rng.choice([0, 0, rng.uniform(0, 180)])
    tone, away = int(rng.integers(0, 256)), rng.uniform(1.2, 4) * across
    n = int(rng.choice([1, 1, 2, 2, 3, 5]))
    thick = int(rng.choice([-1, -1, 1, 2, 4]))
    round_ = rng.random() < 0.5
    for k in range(n):
        at = (x + k * away, y + rng.normal(0, 0.02) * away)
        if round_:
            cv2.ellipse(picture, (at, (2 * across, 2 * down), float(turn)), tone, thick, cv2.LINE_AA)
        else:
            corners = np.round(cv2.boxPoints((at, (2 * across, 2 * down), float(turn)))).astype(np.int32)
            if thick < 0:
                cv2.fillPoly(picture, [corners], tone, cv2.LINE_AA)
            else:
                cv2.polylines(picture, [corners], True, tone, thick, cv2.LINE_AA)


def _writing(rng: np.random.Generator, picture: UInt8[NDArray, "height width"]) -> None:
    size, tone = rng.uniform(0.25, 1.5), int(rng.integers(0, 256))
    x, y = int(rng.uniform(-20, picture.shape[1] * 0.7)), int(rng.uniform(0, picture.shape[0]))
    for line in range(int(rng.integers(1, 9))):
        text = "".join(chr(c) for c in rng.integers(33, 122, 14))
        cv2.putText(picture, text, (x, y + int(line * 28 * size)), int(rng.integers(0, 5)), size, tone, 1, cv2.LINE_AA)


def scene(rng: np.random.Generator, cast: list[Someone], n_people: int | None = None) -> Scene:
    """Clutter and people in it, before and behind things, as a camera would take it."""
    height, width = SCENE_PX
    picture = clutter(rng, height, width).astype(np.float32)
    clear: list[list[float]] = []
    unclear: list[list[float]] = []
    n = int(rng.choice([0, 1, 1, 1, 2, 3])) if n_people is None else n_people
    for _ in range(n):
        box = _enters(rng, picture, cast[int(rng.integers(0, len(cast)))], clear + unclear)
        if box is not None:
            (clear if _inside(box, height, width) > 0.8 else unclear).append(box)
    for _ in range(int(rng.choice([0, 1, 2]))):
        _almost(rng, picture, cast, clear + unclear)
    return Scene(
        _taken(rng, picture),
        np.array(clear, dtype=np.float32).reshape(-1, 3),
        np.array(unclear, dtype=np.float32).reshape(-1, 3),
    )


def _inside(box: list[float], height: int, width: int) -> float:
    x, y, side = box
    across = min(x + side / 2, width) - max(x - side / 2, 0)
    down = min(y + side / 2, height) - max(y - side / 2, 0)
    return max(across, 0) * max(down, 0) / side**2


def _enters(
    rng: np.random.Generator, picture: Float[NDArray, "h w"], someone: Someone, others: list[list[float]]
) -> list[float] | None:
    """Set a person into a picture, in place; nobody where another's face is."""
    height, width = picture.shape
    side = float(np.exp(rng.uniform(*np.log(SIDE_PX))))
    x, y = rng.uniform(0.1 * side, width - 0.1 * side), rng.uniform(0.1 * side, height - 0.1 * side)
    if any(max(abs(x - a), abs(y - b)) < 0.75 * (side + c) for a, b, c in others):
        return None
    turn = float(rng.normal(0, 8)) if rng.random() < 0.7 else float(rng.uniform(-20, 20))
    _set(picture, someone, x, y, side, turn, _tone(rng))
    if rng.random() < 0.1:  # something before the face
        angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.6) * side
        size = (side * rng.uniform(0.15, 0.5), side * rng.uniform(0.15, 0.5))
        place = ((x + away * np.cos(angle), y + away * np.sin(angle)), size, float(rng.uniform(0, 90)))
        cv2.fillPoly(picture, [np.round(cv2.boxPoints(place)).astype(np.int32)], float(rng.uniform(0, 255)))
    return [x, y, side]


def _tone(rng: np.random.Generator) -> tuple[float, float]:
    return float(np.exp(rng.uniform(np.log(0.6), np.log(1.4)))), float(rng.uniform(0, 0.12) * (rng.random() < 0.4))


def _set(
    picture: Float[NDArray, "h w"],
    someone: Someone,
    x: float,
    y: float,
    side: float,
    turn: float,
    tone: tuple[float, float],
) -> None:
    """The middle of the box to x and y, turned by degrees, in place."""
    scale = side / someone.box[2]
    layer = someone.layer
    if scale < 0.7:
        layer = cv2.GaussianBlur(layer, (0, 0), 0.35 / scale)
    affine = cv2.getRotationMatrix2D(someone.box[:2], turn, scale)
    affine[:, 2] += np.array([x, y]) - someone.box[:2]
    put = cv2.warpAffine(layer, affine, picture.shape[::-1])
    mask = put[..., 1]
    picture *= 1 - mask
    picture += mask * np.clip(put[..., 0] * tone[0] + tone[1], 0, 1) * 255


def _almost(
    rng: np.random.Generator, picture: Float[NDArray, "h w"], cast: list[Someone], others: list[list[float]]
) -> None:
    """Something of a face that is none: upside down, its parts mixed up, smeared, or its half; in place."""
    someone = cast[int(rng.integers(0, len(cast)))]
    side = float(np.exp(rng.uniform(*np.log(SIDE_PX))))
    x, y = rng.uniform(0, picture.shape[1]), rng.uniform(0, picture.shape[0])
    if any(max(abs(x - a), abs(y - b)) < 0.9 * (side + c) for a, b, c in others):
        return
    layer, (u, v, size) = someone.layer.copy(), someone.box
    left, top, px = int(u - size / 2), int(v - size / 2), int(size)
    part = layer[top : top + px, left : left + px]
    turn, kind, half = 0.0, int(rng.integers(0, 5)), px // 2
    if kind == 0:
        turn = float(rng.uniform(100, 260))
    elif kind == 1:
        part[: 2 * half] = np.concatenate([part[half : 2 * half], part[:half]])
    elif kind == 2:
        part[..., 0] = cv2.GaussianBlur(part[..., 0], (0, 0), 0.2 * px)
    elif kind == 3:
        part[:, : 2 * half] = np.concatenate([part[:, half : 2 * half], part[:, :half]], axis=1)
    else:
        part[half * int(rng.integers(0, 2)) :][:half] = rng.uniform(0, 1)
    _set(picture, Someone(layer, someone.box), x, y, side, turn, _tone(rng))


def _taken(rng: np.random.Generator, picture: Float[NDArray, "h w"]) -> UInt8[NDArray, "h w"]:
    """The photograph of a scene: exposure, contrast, blur and noise."""
    shown = (picture / 255).clip(0, 1) ** float(np.exp(rng.normal(-0.1, 0.25)))
    shown *= float(np.exp(rng.uniform(np.log(0.3), np.log(1.6))))
    blur = rng.uniform(0, 1.1)
    if blur > 0.3:
        shown = np.asarray(cv2.GaussianBlur(shown, (0, 0), blur))
    shown += rng.standard_normal(shown.shape, dtype=np.float32) * rng.uniform(0, 0.025)
    out = (shown.clip(0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, file = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))])
        out = np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))
    return out


def _world_scene(picture: UInt8[NDArray, "1 96 96"], box: Float[NDArray, "3"], scale: float) -> Scene:
    """A picture of the simulated world, larger."""
    grey = cv2.resize(picture[0], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    middle = np.array([[box[0] + box[2] / 2, box[1] + box[2] / 2, box[2]]], dtype=np.float32) * scale
    return Scene(grey, middle[: int(box[2] > 0)], np.zeros((0, 3), dtype=np.float32))


def scenes_of(rng: np.random.Generator, cast: list[Someone], n: int) -> Iterator[Scene]:
    """As many scenes of real faces and of none, every sixth of them one of the world."""
    n_world = n // 6
    difficulty = world.Difficulty(clutter=3, light=1, pose=0.8)
    drawn = world.draw("train", n_world, int(rng.integers(0, 10**6)), difficulty, empty=0.2)
    for k in range(n):
        if k % 6 == 5 and k // 6 < n_world:
            yield _world_scene(drawn.image[k // 6], drawn.box[k // 6], float(rng.uniform(1.2, 2.5)))
        else:
            yield scene(rng, cast)
