"""From what weakens the beam to the picture that is kept: exposure, tones, borders, markers, noise."""

import string
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray, UInt8

__all__ = ["Difficulty", "develop"]

PALE, GREY = 0.2, 0.17  # shares of pictures, at exposure .5
REFERENCE = 1.25  # weakening of a usual wrist


@dataclass(frozen=True)
class Difficulty:
    """How hard the pictures are, 0 to 1 each."""

    pose: float = 0.5  # fingers together, spread or bent; the hand turned
    exposure: float = 0.5  # contrast, tones, gradients
    noise: float = 0.5  # grain and blur
    clutter: float = 0.5  # markers, cassettes, collimation
    spread: float = 0.5  # how much the signs of maturity of one bone age differ


def develop(
    rng: np.random.Generator,
    soft: Float[NDArray, "px px"],
    bone: Float[NDArray, "px px"],
    outline: UInt8[NDArray, "fine fine"],
    landmarks: Float[NDArray, "25 2"],
    frame: Float[NDArray, "4"],
    difficulty: Difficulty,
) -> UInt8[NDArray, "px px"]:
    """Expose a hand; beyond `frame` (left, top, right, bottom in px) is padding, which stays 0."""
    px = len(soft)
    weak = (soft + bone) * np.float32(1 / REFERENCE)
    if rng.random() < 0.5:
        weak = _evened(weak, rng.uniform(0.1, 0.6) * min(1, 2 * difficulty.exposure))
    low, high, bend, gamma = _tones(rng, difficulty.exposure)
    picture = _toned(weak, low, high, bend, gamma)
    picture += _gradient(rng, px, difficulty.exposure) * np.float32(0.12 * low + 3)
    if rng.random() < 1.2 * difficulty.clutter:
        _add_marker(rng, picture, outline, frame, low, high)
    if rng.random() < 1.1 * difficulty.clutter:
        picture = _bordered(rng, picture, landmarks, frame, low, high)
    blur = rng.uniform(0, 1.4 * difficulty.noise) if rng.random() < 0.4 else 0.0
    if blur > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    grain = 0.05 * rng.random() ** 3 * difficulty.noise * (high - low) + 0.25
    picture += _noise(rng, px) * np.float32(grain)
    left, top, right, bottom = np.rint(frame).astype(int)
    kept = np.zeros((px, px), np.uint8)
    kept[top:bottom, left:right] = np.rint(picture[top:bottom, left:right].clip(0, 255))
    return kept


def _tones(rng: np.random.Generator, exposure: float) -> tuple[float, float, float, float]:
    """Grey of the empty field, of a dense wrist, how early bright tones are compressed, gamma."""
    kind = rng.random()
    if kind < PALE * 2 * exposure:
        low = rng.uniform(8, 60)
        high = low + rng.uniform(14, 80)
    elif kind < (PALE + GREY) * 2 * exposure:
        low = rng.uniform(45, 135)
        high = rng.uniform(max(low + 60, 150), 262)
    else:
        low, high = rng.uniform(0, 18), rng.uniform(210 - 90 * exposure, 250 + 30 * exposure)
    bend = np.exp(rng.normal(-0.5, exposure))
    return low, high, float(bend), float(np.exp(rng.normal(0.3, 0.4 * exposure)))


def _toned(
    weak: Float[NDArray, "px px"], low: float, high: float, bend: float, gamma: float
) -> Float[NDArray, "px px"]:
    """Grey by what was weakened, through a table."""
    steps = np.arange(4096) / 1024
    curve = (1 - np.exp(-bend * steps)) / (1 - np.exp(-bend))
    greys: NDArray = (low + (high - low) * curve**gamma).astype(np.float32)
    toned: NDArray = greys[(np.minimum(weak, 3.999) * np.float32(1024)).astype(np.uint16)]
    return toned


def _evened(weak: Float[NDArray, "px px"], share: float) -> Float[NDArray, "px px"]:
    """Compress large differences, as the viewing software of digital radiographs does."""
    px = len(weak)
    small = cv2.resize(weak, (px // 8, px // 8), interpolation=cv2.INTER_AREA)
    wide = cv2.resize(cv2.GaussianBlur(small, (0, 0), px / 100), (px, px), interpolation=cv2.INTER_LINEAR)
    usual: NDArray = np.float32(1 - share) + np.float32(share) / np.maximum(wide + np.float32(0.55), 0.6)
    evened: NDArray = weak * usual
    return evened


def _gradient(rng: np.random.Generator, px: int, exposure: float) -> Float[NDArray, "px px"]:
    """Uneven light: smooth, a few large waves."""
    coarse = rng.normal(0, exposure, (3, 3)).astype(np.float32)
    return cv2.resize(coarse, (px, px), interpolation=cv2.INTER_LINEAR)


@cache
def _sheets(px: int) -> Float[NDArray, "2 large large"]:
    """Fine and coarse grain of sd 1."""
    sheets = np.random.default_rng(px).normal(0, 1, (2, 2 * px, 2 * px)).astype(np.float32)
    sheets[1] = cv2.GaussianBlur(sheets[1], (0, 0), 0.8)
    sheets /= sheets.std((1, 2), keepdims=True)
    return sheets


def _noise(rng: np.random.Generator, px: int) -> Float[NDArray, "px px"]:
    """Grain of sd 1: a piece of one large sheet, fine or coarse."""
    x, y = rng.integers(0, px, 2)
    return _sheets(px)[rng.integers(0, 2), y : y + px, x : x + px]


def _add_marker(
    rng: np.random.Generator,
    picture: Float[NDArray, "px px"],
    outline: UInt8[NDArray, "fine fine"],
    frame: Float[NDArray, "4"],
    low: float,
    high: float,
) -> None:
    """Lay a lead letter, with initials, on the cassette, where there is room for it."""
    px = len(picture)
    fine = len(outline) / px
    tall = rng.uniform(0.09, 0.2) * px
    for _ in range(8):
        x = rng.uniform(frame[0] + 0.02 * px, frame[2] - 0.02 * px)
        y = rng.uniform(0.02, 0.98) * px
        reach = 0.55 * tall
        box = (np.array([y - reach, y + reach, x - reach, x + reach]).clip(0, px) * fine).astype(int)
        if not outline[box[0] : box[1] : 4, box[2] : box[3] : 4].any():
            break
    else:
        return
    sign, plate = _marker(rng)
    degrees = rng.normal(0, 12) if rng.random() < 0.75 else rng.uniform(-180, 180)
    turn = cv2.getRotationMatrix2D((sign.shape[1] / 2, sign.shape[0] / 2), degrees, tall / sign.shape[0])
    corner = np.array([x, y]) - 0.75 * tall
    first = np.floor(corner).astype(int)
    side = int(1.5 * tall) + 1
    turn[:, 2] += np.array([x, y]) - first - [sign.shape[1] / 2, sign.shape[0] / 2]
    letters, back = (cv2.warpAffine(part, turn, (side, side), flags=cv2.INTER_AREA) for part in (sign, plate))
    top, left = np.maximum(first[::-1], 0)
    bottom, right = np.minimum(first[::-1] + side, px)
    if bottom <= top or right <= left:
        return
    cut = (slice(top - first[1], bottom - first[1]), slice(left - first[0], right - first[0]))
    window = picture[top:bottom, left:right]
    white = np.float32(max(rng.uniform(0.85, 1.6) * high, low + 40))
    window += back[cut] * np.float32(rng.uniform(-0.05, 0.25) * (high - low) if rng.random() < 0.6 else 0)
    window += letters[cut] * (white - window)


def _marker(rng: np.random.Generator) -> tuple[Float[NDArray, "96 72"], Float[NDArray, "96 72"]]:
    """Letters and the plate that carries them, 0 to 1."""
    sign, plate = np.zeros((2, 96, 72), np.float32)
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX]))
    thick = int(rng.integers(2, 7))
    letter = "L" if rng.random() < 0.9 else "R"
    cv2.putText(sign, letter, (20, 48), font, rng.uniform(1.3, 1.8), 1.0, thick, cv2.LINE_AA)
    if rng.random() < 0.8:
        initials = "".join(rng.choice(list(string.ascii_uppercase), int(rng.integers(2, 4))))
        cv2.putText(sign, initials, (10, 80), font, 0.8, 1.0, max(1, thick // 2), cv2.LINE_AA)
    cv2.rectangle(plate, (2, 2), (69, 93), 1.0, -1)
    if rng.random() < 0.3:
        cv2.circle(plate, (36, 9), 4, 0.0, -1)
    return sign, plate


def _bordered(
    rng: np.random.Generator,
    picture: Float[NDArray, "px px"],
    landmarks: Float[NDArray, "25 2"],
    frame: Float[NDArray, "4"],
    low: float,
    high: float,
) -> Float[NDArray, "px px"]:
    """Show the edge of the exposed field: dark or bright beyond it, often a bright rim along it."""
    px = len(picture)
    degrees = rng.normal(0, 1.5) if rng.random() < 0.75 else rng.normal(0, 20)
    turn = np.deg2rad(degrees)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = np.array([[frame[0], frame[1]], [frame[2], frame[1]], [frame[2], frame[3]], [frame[0], frame[3]]])
    seen, within = landmarks @ spin, corners @ spin
    room = 0.04 * px
    near = np.stack([seen.min(0) - room, seen.max(0) + room])
    far = np.stack([within.min(0), within.max(0)])
    outward = np.array([[-px], [px]])
    far = far + outward * np.where(rng.random((2, 2)) < 0.3, 1, -0.01)
    share = rng.beta(1, 3, (2, 2))
    inner = far + share * (near - far)
    inner[0], inner[1] = np.minimum(inner[0], near[0]), np.maximum(inner[1], near[1])
    box = np.array([inner[0], [inner[1, 0], inner[0, 1]], inner[1], [inner[0, 0], inner[1, 1]]]) @ spin.T
    points = np.rint(box * 16 - 8).astype(np.int32)
    field = np.zeros((px, px), np.uint8)
    cv2.fillPoly(field, [points], 255, cv2.LINE_AA, 4)
    inside = field.astype(np.float32) * np.float32(1 / 255)
    darker, brighter = low + rng.uniform(-0.1, 0.3) * (high - low), rng.uniform(min(high, 240), 255)
    beyond = rng.choice([0.0, darker, brighter], p=[0.55, 0.25, 0.2])
    result: NDArray = picture * inside + np.float32(beyond) * (1 - inside)
    if rng.random() < 0.7:
        line = np.zeros((px, px), np.uint8)
        cv2.polylines(line, [points], True, 255, int(rng.integers(1, 5)), cv2.LINE_AA, 4)
        rim = cv2.GaussianBlur(line, (0, 0), rng.uniform(0.6, 2.2)) * np.float32(1 / 255)
        result += rim * (np.float32(high) * np.float32(rng.uniform(0.4, 1.2)) - result).clip(0)
    return result
