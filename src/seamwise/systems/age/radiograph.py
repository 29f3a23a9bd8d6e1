"""How much a hand weakens the beam at each place of the picture, and which bone is where."""

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray, UInt8
from seamwise.systems.age import bones
from seamwise.systems.age.anatomy import MIDDLE, SEGMENTS
from seamwise.systems.age.growth import PLATES

__all__ = ["LABEL_PX", "Bones", "bone_map", "flesh", "skeleton"]

LABEL_PX = 64
SOFT = 0.021  # weakening a mm
METACARPALS = (3, 7, 11, 15)
FINGER_RADII = np.array([[10.0, 8.8, 8.0], [9.2, 8.4, 6.8], [9.4, 8.6, 7.0], [9.0, 8.0, 6.6], [8.0, 7.0, 5.8]])
USUAL_MM = 62.0
TILT = np.concatenate([np.zeros(19), [0.012, 0]])[:, None]  # the end of the radius is not square to its shaft
TURNS = np.arange(1, 8)[:, None] * np.pi / 8
TIP = np.cos(TURNS), np.sin(TURNS)
SUB = 16  # parts of a pixel that outlines are given in
BROADER = np.array([0.2 if "P" in plate else 0.03 for plate in PLATES])[:, None]  # in the young
FINE = 2  # the outline is drawn this many times as large


class Bones:
    """One hand's bones in its own frame: where each tubular one begins, its direction, length and half widths."""

    def __init__(
        self,
        landmarks: Float[NDArray, "25 2"],
        lengths_mm: Float[NDArray, "19"],
        age: float,
        broad: float,
        forearm: float,
    ) -> None:
        self.unit = float(lengths_mm[MIDDLE])
        self.young = float(np.clip(1 - age / 150, 0, 1))
        size = self.unit / USUAL_MM
        self.half_mm = bones.HALF_MM * size * broad * (1 + BROADER * self.young)
        start, end = landmarks[SEGMENTS[:, 0]], landmarks[SEGMENTS[:, 1]]
        along = (end - start) / lengths_mm[:, None]
        space = 1.1 * size * (1 + self.young)
        begin, finish = np.full(19, 0.3 * size), np.full(19, space)
        finish[[2, 6, 10, 14, 18]] = 0
        start, end = start + along * begin[:, None], end - along * finish[:, None]
        heads = list(METACARPALS)
        start[heads], end[heads] = end[heads].copy(), start[heads].copy()
        cos, sin = np.cos(forearm), np.sin(forearm)
        down = np.array([[sin, -cos]])
        out = np.array([cos, sin])
        tops = np.stack([0.10 * out - 0.065 * down[0], -0.25 * out + 0.07 * down[0]]) * self.unit
        self.start = np.concatenate([start, tops])
        self.end = np.concatenate([end, tops + down * 2.3 * self.unit])
        self.length_mm = np.linalg.norm(self.end - self.start, axis=1)
        self.along = (self.end - self.start) / self.length_mm[:, None]


def skeleton(
    hand: Bones,
    plates: Float[NDArray, "21"],
    carpals: Float[NDArray, "8"],
    lobes: Float[NDArray, "8 6"],
    to_px: Float[NDArray, "2 3"],
    px: int,
) -> Float[NDArray, "px px"]:
    """What the bones weaken; `lobes` says how each carpal departs from an ellipse in outline and place."""
    canvas = np.zeros((px, px), np.float32)
    grids = bones.tubular_grids(hand.length_mm, hand.half_mm, plates, hand.young)
    reach = bones.REACH * bones.half_width(hand.half_mm).max(1)[:, None]
    first, last = bones.ALONG[0] * hand.length_mm[:, None], bones.ALONG[-1] * hand.length_mm[:, None]
    normal = np.stack([-hand.along[:, 1], hand.along[:, 0]], 1)
    corner = hand.start + first * hand.along - reach * normal
    along = (last - first) * hand.along
    _paste(canvas, grids.transpose(0, 2, 1), corner, along, 2 * reach * normal + TILT * along, to_px)
    arm, on = slice(19, None), grids[19:, -1, :, None] * np.ones(8, np.float32)
    _paste(canvas, on, (corner + along)[arm], 2.5 * along[arm], (2 * reach * normal + TILT * along)[arm], to_px)
    there = carpals > 0
    size = float(np.clip(hand.unit / USUAL_MM, 0.9, 1.12))
    middle = (bones.CARPAL_PLACES + lobes[:, 4:])[there] * hand.unit
    reach = (size * carpals * bones.CARPAL_REACH_MM)[there, None]
    along, across = 2 * reach * [0, 1], 2 * reach * [1, 0]
    grids = bones.carpal_grids(carpals, size, lobes[:, :4])[there]
    wrist = np.zeros_like(canvas)
    _paste(wrist, grids, middle - (along + across) / 2, along, across, to_px, np.hypot)
    return canvas + wrist


def _paste(
    canvas: Float[NDArray, "px px"],
    grids: Float[NDArray, "k across along"],
    corner: Float[NDArray, "k 2"],
    along: Float[NDArray, "k 2"],
    across: Float[NDArray, "k 2"],
    to_px: Float[NDArray, "2 3"],
    join: np.ufunc = np.add,
) -> None:
    """Join grids to the canvas where their corners and their two sides, in mm, lie."""
    sides = np.einsum("ij,kjs->kis", to_px[:, :2], np.stack([along, across], 2))
    origin = corner @ to_px[:, :2].T + to_px[:, 2]
    span = sides[:, :, 0, None] * [0, 1, 0, 1] + sides[:, :, 1, None] * [0, 0, 1, 1]
    low = np.floor(origin + span.min(2)).astype(int) - 1
    high = np.ceil(origin + span.max(2)).astype(int) + 1
    low, high = low.clip(0, len(canvas)), high.clip(0, len(canvas))
    # a grid much finer than the picture is made coarser first, so that nothing thin is missed
    wanted = np.minimum(grids.shape[:0:-1], np.ceil(1.5 * np.hypot(sides[:, 0], sides[:, 1])).astype(int) + 2)
    steps = sides / wanted[:, None]
    maps = np.concatenate([steps, (origin + steps.sum(2) / 2 - 0.5 - low)[:, :, None]], 2)
    rows = zip(grids, wanted.tolist(), maps, low.tolist(), high.tolist(), strict=True)
    for grid, size, each, (left, top), (right, bottom) in rows:
        if left < right and top < bottom:
            grid = cv2.resize(grid, size, interpolation=cv2.INTER_AREA)
            window = canvas[top:bottom, left:right]
            join(window, cv2.warpAffine(grid, each, (right - left, bottom - top)), out=window)


def flesh(
    landmarks: Float[NDArray, "25 2"],
    unit: float,
    plump: float,
    forearm: float,
    to_px: Float[NDArray, "2 3"],
    px: int,
) -> tuple[Float[NDArray, "px px"], UInt8[NDArray, "fine fine"]]:
    """What the soft tissue weakens, and its outline (255 within, FINE times as large)."""
    scale = float(np.sqrt(abs(np.linalg.det(to_px[:, :2]))))
    size = unit / USUAL_MM
    mask = np.zeros((FINE * px, FINE * px), np.uint8)

    def fill(points: NDArray) -> None:
        at = (points @ to_px[:, :2].T + to_px[:, 2]) * (FINE * SUB) - SUB / 2
        cv2.fillPoly(mask, [np.rint(at).astype(np.int32)], 255, shift=4)

    fill(_palm(landmarks, unit, plump, forearm))
    for finger in range(5):
        joints = landmarks[max(2, 5 * finger + 1) : 5 * finger + 5]
        fill(_finger(joints, FINGER_RADII[finger] * size * plump))
    soft = max(3, round(0.04 * unit * scale * FINE) * 2 + 1)
    blurred = cv2.blur(mask, (soft, soft))
    outline: NDArray = cv2.threshold(blurred, 127, 255, cv2.THRESH_BINARY)[1]
    left, top, width, height = np.array(cv2.boundingRect(outline)) // FINE
    cut = slice(max(top - 4, 0), top + height + 4), slice(max(left - 4, 0), left + width + 4)
    inside = outline[tuple(slice(FINE * part.start, FINE * part.stop) for part in cut)]
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    depth = cv2.resize(depth, None, fx=1 / FINE, fy=1 / FINE, interpolation=cv2.INTER_AREA)
    thick = np.float32(0.26 * unit * plump)
    depth = np.minimum(depth * np.float32(1 / (FINE * scale)), thick)
    through = cv2.sqrt(depth * (2 * thick - depth)) * np.float32(2 * SOFT)
    canvas = np.zeros((px, px), np.float32)
    canvas[cut] = cv2.GaussianBlur(through, (0, 0), max(0.5, 0.5 * scale * size))
    return canvas, outline


def _finger(joints: Float[NDArray, "joints 2"], radii: Float[NDArray, "3"]) -> Float[NDArray, "points 2"]:
    """The outline of a finger from its first joint to beyond its tip."""
    steps = np.diff(joints, axis=0)
    along = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    at_joint = np.concatenate([along[:1], along[:-1] + along[1:], along[-1:]])
    at_joint /= np.linalg.norm(at_joint, axis=1, keepdims=True)
    normal = np.stack([-at_joint[:, 1], at_joint[:, 0]], 1)
    wide = (radii if len(joints) == 3 else np.array([radii[0], *radii]))[:, None]
    centre = joints.copy()
    centre[-1] -= along[-1] * wide[-1] * 0.55
    left, right = centre + wide * normal, centre - wide * normal
    tip = centre[-1] + wide[-1] * (TIP[0] * normal[-1] + TIP[1] * along[-1])
    return np.concatenate([left, tip, right[::-1]])


def _palm(landmarks: Float[NDArray, "25 2"], unit: float, plump: float, forearm: float) -> Float[NDArray, "points 2"]:
    """The outline of palm, ball of the thumb and forearm."""
    u = unit
    knuckles, bends = landmarks[[6, 11, 16, 21]], landmarks[[7, 12, 17, 22]]
    webs = 0.62 * (knuckles[:-1] + knuckles[1:]) / 2 + 0.38 * (bends[:-1] + bends[1:]) / 2
    cos, sin = np.cos(forearm), np.sin(forearm)
    spin = np.array([[cos, sin], [-sin, cos]])
    wide = plump * u * np.array([[0.40, 0.0], [0.36, -0.25], [0.37, -0.6], [0.47, -1.6], [0.52, -2.3], [0.55, -8]])
    thumb_side = wide @ spin
    other_side = (wide * [-1, 1] - [0.13 * u, 0]) @ spin
    away = (landmarks[2] - landmarks[1]) / np.linalg.norm(landmarks[2] - landmarks[1])
    out = np.array([away[1], -away[0]])
    base, mcp = landmarks[1], landmarks[2]
    return np.concatenate(
        [
            other_side[::-1],
            [landmarks[20] + [-0.2 * u * plump, -0.05 * u]],
            [(landmarks[20] + landmarks[21]) / 2 + [-0.22 * u * plump, 0]],
            [landmarks[21] + [-0.16 * u * plump, 0.05 * u]],
            webs[::-1],
            [landmarks[6] + [0.17 * u * plump, 0.05 * u]],
            [0.45 * landmarks[5] + 0.55 * landmarks[6] + [0.2 * u, 0]],
            [0.35 * landmarks[6] + 0.25 * landmarks[5] + 0.4 * landmarks[2]],
            [mcp - out * 0.15 * u],
            [mcp + out * 0.16 * u * plump],
            [0.5 * (base + mcp) + out * 0.2 * u * plump],
            [base + out * 0.17 * u * plump],
            thumb_side,
        ]
    )


def bone_map(hand: Bones, to_px: Float[NDArray, "2 3"], px: int) -> UInt8[NDArray, "64 64"]:
    """Which tubular bone is where: its place in BONES from 1, or 0."""
    labels = np.zeros((LABEL_PX, LABEL_PX), np.uint8)
    steps = np.linspace(4, len(bones.ALONG) - 5, 7).round().astype(int)
    wide = bones.half_width(hand.half_mm[:19])[:, steps, None]
    at = hand.start[:19, None] + bones.ALONG[steps, None] * (hand.length_mm[:19, None] * hand.along[:19])[:, None]
    normal = np.stack([-hand.along[:19, 1], hand.along[:19, 0]], 1)[:, None]
    outline = np.concatenate([at + wide * normal, (at - wide * normal)[:, ::-1]], 1)
    share = LABEL_PX / px
    points = np.rint((outline @ to_px[:, :2].T + to_px[:, 2]) * share * SUB - SUB / 2).astype(np.int32)
    for number, polygon in enumerate(points, 1):
        cv2.fillPoly(labels, [polygon], number, shift=4)
    return labels
