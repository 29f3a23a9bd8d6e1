"""Bones as x-rays see them: how much each weakens the beam, on a small grid of its own.

A bone is a round shaft of marrow in a cortex, wide at its ends. At one end, where it grows, a plate of cartilage lets
the beam through: there the epiphysis is a body by itself until the plate is fused.
"""

import numpy as np
from scipy.interpolate import PchipInterpolator

from seamwise.shapes import Float, NDArray

__all__ = [
    "ALONG",
    "CARPAL_PLACES",
    "CARPAL_REACH_MM",
    "HALF_MM",
    "REACH",
    "carpal_grids",
    "half_width",
    "tubular_grids",
]

N_ALONG, N_ACROSS = 96, 32
ALONG = np.linspace(-0.04, 1.04, N_ALONG)  # 0 is the end that grows, 1 the other
ACROSS = (np.arange(N_ACROSS) + 0.5) / N_ACROSS * 2 - 1
REACH = 1.15  # half the grid's width, in the widest half width

# weakening a mm, of the logarithm of the beam
CORTEX, SHAFT_MARROW, END_MARROW = 0.1, 0.016, 0.028

# half widths in mm where the middle metacarpal is 62 mm long: at the end that grows, mid shaft, at the other end
HALF_MM = np.array(
    [
        [6.6, 3.7, 6.0], [6.4, 3.5, 5.1], [5.9, 2.7, 4.0],
        [6.2, 3.3, 7.2], [6.3, 3.6, 4.9], [5.4, 3.1, 4.1], [4.6, 1.9, 3.0],
        [6.2, 3.3, 6.6], [6.6, 3.8, 5.1], [5.8, 3.3, 4.4], [4.8, 2.0, 3.2],
        [5.4, 2.7, 5.0], [6.1, 3.5, 4.7], [5.5, 3.1, 4.2], [4.7, 1.9, 3.1],
        [5.2, 2.9, 5.6], [5.4, 2.9, 4.0], [4.6, 2.5, 3.4], [4.0, 1.6, 2.6],
        [13.2, 6.2, 7.2], [7.4, 4.2, 5.0],
    ]
)  # fmt: skip
PHALANX, METACARPAL, TIP, FOREARM = range(4)
KIND = np.array([0, 0, 2, *([1, 0, 0, 2] * 4), 3, 3])
KNOTS = [0, 0.1, 0.22, 0.38, 0.55, 0.72, 0.88, 1]
SHARES = np.array(
    [
        [(1, 0, 0), (0.97, 0, 0), (0.5, 0.5, 0), (0.05, 0.98, 0), (0, 1, 0), (0, 0.85, 0.15), (0, 0, 0.97), (0, 0, 1)],
        [(0.9, 0, 0), (1, 0, 0), (0.8, 0.2, 0), (0.1, 0.9, 0), (0, 1, 0), (0, 0.95, 0.07), (0, 0.35, 0.65), (0, 0, 1)],
        [(1, 0, 0), (0.9, 0, 0), (0.4, 0.6, 0), (0, 1.08, 0), (0, 1, 0), (0, 0.9, 0.1), (0, 0, 1), (0, 0, 0.85)],
        [(1, 0, 0), (0.86, 0.14, 0), (0.14, 0.86, 0), (0, 1, 0), (0, 0.95, 0), (0, 0.9, 0.1), (0, 0, 1), (0, 0, 1)],
    ]
)  # fmt: skip
CAP = np.array([[0.3, 0.6], [0.95, 0.35], [0.3, 0.7], [0.25, 0.2]])[KIND]  # rounding of both ends, in half widths
EPIPHYSIS = np.array([0.38, 1.1, 0.4, 0.5])[KIND]  # height, in half widths
GAP = np.array([0.16, 0.15, 0.16, 0.09])[KIND]  # the plate's height while it is wide open
MID = np.tile(np.sin(np.pi * ALONG.clip(0, 1)) ** 2, (len(KIND), 1))  # 1 mid shaft, 0 at the ends
MID[np.ix_(KIND == FOREARM, ALONG > 0.5)] = 1
DEPTH = np.array([0.95, 0.95, 0.95, 0.52], np.float32)[KIND]  # front to back, as a share of the width
BASIS = PchipInterpolator(KNOTS, SHARES, axis=1)(ALONG.clip(0, 1))[KIND]

# from the wrist in lengths of the middle metacarpal
CARPAL_PLACES = np.array(
    [[0.045, 0.315], [-0.125, 0.325], [-0.225, 0.18], [-0.045, 0.075], [0.16, 0.13], [0.315, 0.3], [0.195, 0.37],
     [-0.245, 0.135]]
)  # fmt: skip
# an adult's outlines, mm from these places: towards the fingers, then in steps of 30 degrees by way of the thumb
CARPAL_RADII_MM = np.array(
    [
        [10.5, 10.8, 7.0, 5.6, 6.2, 9.0, 10.8, 9.2, 6.4, 5.8, 7.2, 10.8],
        [8.5, 8.8, 7.0, 5.8, 6.2, 9.0, 10.5, 7.8, 6.6, 7.0, 9.0, 10.0],
        [6.5, 5.6, 5.2, 5.2, 5.8, 7.0, 7.2, 6.2, 5.6, 5.4, 6.0, 6.6],
        [5.4, 6.4, 7.4, 7.2, 6.8, 6.2, 5.6, 6.0, 6.8, 7.2, 7.4, 6.6],
        [5.8, 7.6, 10.8, 8.8, 6.4, 5.8, 6.2, 7.8, 9.2, 7.4, 5.4, 5.2],
        [7.0, 8.2, 7.6, 7.0, 7.2, 7.8, 7.4, 7.0, 6.6, 6.4, 6.4, 7.2],
        [6.6, 6.2, 5.6, 5.0, 5.2, 5.8, 5.6, 5.2, 5.0, 5.0, 5.8, 6.8],
        [3.9, 3.9, 3.8, 3.7, 3.7, 3.8, 3.9, 3.9, 3.8, 3.7, 3.7, 3.8],
    ]
)
CARPAL_RADII_MM *= 1.09  # neighbours overlap, as one is in front of the other
CARPAL_REACH_MM = 1.25 * CARPAL_RADII_MM.max(1)
N_CARPAL = 32
_SIDE = (np.arange(N_CARPAL) + 0.5) / N_CARPAL * 2 - 1
_TOWARDS, _ASIDE = np.meshgrid(_SIDE, _SIDE)
_FAR_MM = (CARPAL_REACH_MM[:, None, None] * np.hypot(_TOWARDS, _ASIDE)).astype(np.float32)
_ANGLE = np.arctan2(_ASIDE, _TOWARDS).astype(np.float32)
_OUTLINE_MM = np.stack(
    [np.interp(np.rad2deg(_ANGLE), np.arange(0, 360, 30), radii, period=360) for radii in CARPAL_RADII_MM]
).astype(np.float32)


def half_width(half_mm: Float[NDArray, "bones 3"]) -> Float[NDArray, "bones along"]:
    """Half the width in mm along each bone (the first ones of PLATES), its ends not rounded."""
    width: NDArray = np.einsum("bac,bc->ba", BASIS[: len(half_mm)], half_mm)
    return width


def tubular_grids(
    length_mm: Float[NDArray, "21"],
    half_mm: Float[NDArray, "21 3"],
    plates: Float[NDArray, "21"],
    young: float,
) -> Float[NDArray, "21 along across"]:
    """How much each bone weakens the beam; the grid is REACH times its widest half width to both sides."""
    wide = half_width(half_mm)
    reach = REACH * wide.max(1, keepdims=True)
    across = (reach * ACROSS)[:, None, :].astype(np.float32) ** 2
    at = ALONG * length_mm[:, None]
    end = length_mm[:, None] - at
    end[19:] = length_mm[19:, None]  # the forearm goes on
    first = half_mm[:, :1]
    seen, fused = (plates / 0.5).clip(0, 1)[:, None], (plates * 2 - 1).clip(0, 1)[:, None]
    height = EPIPHYSIS[:, None] * first
    start = height + GAP[:, None] * first * (1 - 0.85 * fused)
    shell = 0.09 * first
    hollow = (CORTEX - END_MARROW + (END_MARROW - SHAFT_MARROW) * MID).astype(np.float32)[:, :, None]
    cortex = 0.045 + (0.17 - 0.04 * young) * MID
    cap = CAP * half_mm[:, [0, 2]]
    caps, cap_first = cap[:, 1:], cap[:, :1]

    def body(width: NDArray, inner: NDArray) -> NDArray:
        outside = np.sqrt(np.maximum(np.square(width)[:, :, None] - across, 0))
        inside = np.sqrt(np.maximum(np.square(inner)[:, :, None] - across, 0))
        weak: NDArray = np.float32(2 * CORTEX) * outside - 2 * hollow * inside
        return weak

    def shaft(begin: NDArray, cap_begin: NDArray) -> NDArray:
        ends = _rounded(end, caps) * _rounded(at - begin, cap_begin)
        within = _rounded(end - shell, caps) * _rounded(at - begin - 1.3 * shell, cap_begin)
        return body((wide * ends).astype(np.float32), (wide * (1 - cortex) * within).astype(np.float32))

    one = _smoothstep((fused - 0.8) / 0.2).astype(np.float32)[:, :, None]
    grids = np.zeros((len(plates), N_ALONG, N_ACROSS), np.float32)
    if (one > 0).any():
        grids += one * shaft(np.zeros_like(start), cap_first)
    if (one < 1).any():
        half = first * seen * (1 + 0.03 * fused)
        tall = np.minimum(height, 1.6 * half) + 1e-6
        middle = np.maximum(height / 2, height - tall / 2 - 0.1 * first)
        begin, finish = middle - tall / 2, middle + tall / 2
        top, bottom = (
            tall / 2 * (1 - seen) + seen * np.minimum(tall, part * half) for part in (cap_first / first, 0.15)
        )
        shape = _rounded(at - begin, top) * _rounded(finish - at, bottom)
        within = _rounded(at - begin - shell, top) * _rounded(finish - at - shell, bottom)
        epiphysis = body((half * shape).astype(np.float32), (0.92 * half * within).astype(np.float32))
        grids += (1 - one) * (epiphysis + shaft(start, 0.12 * first))
    grids *= DEPTH[:, None, None]
    return grids


def carpal_grids(
    carpals: Float[NDArray, "8"], size: float, lobes: Float[NDArray, "8 4"]
) -> Float[NDArray, "8 side side"]:
    """How much each carpal weakens the beam, on a grid of CARPAL_REACH_MM × its share × size to all sides.

    While small they are round. `lobes` makes people differ: two sizes, two angles.
    """
    small, large, turn, other = (part[:, None, None].astype(np.float32) for part in lobes.T)
    formed = _smoothstep((carpals - 0.2) / 0.7).astype(np.float32)[:, None, None]
    usual = CARPAL_RADII_MM.mean(1).astype(np.float32)[:, None, None]
    edge = usual + formed * (_OUTLINE_MM - usual)
    edge *= 1 + small * np.cos(3 * _ANGLE + turn) + large * np.cos(2 * _ANGLE + other)
    far = (_FAR_MM / edge) ** 3
    depth = 1.3 * usual * (size * carpals).astype(np.float32)[:, None, None]
    outside = np.sqrt(np.maximum(1 - far, 0))
    inside = np.sqrt(np.maximum(1 - far * 1.45, 0))
    weak: NDArray = depth * (CORTEX * outside - 0.88 * (CORTEX - END_MARROW) * inside)
    return weak


def _rounded(distance: NDArray, cap: NDArray) -> NDArray:
    """0 beyond an end, 1 within, an ellipse's arc in between."""
    away = (1 - distance / cap).clip(0, 1)
    arc: NDArray = np.sqrt(1 - away * away)
    return arc


def _smoothstep(x: NDArray) -> NDArray:
    x = x.clip(0, 1)
    step: NDArray = x * x * (3 - 2 * x)
    return step
