"""What is cut out of a frame about an object, and how places there are told.

An object's size, s, is one number: for a box of w × h, s = √((w + p)(h + p)) / 2 with p = (w + h) / 2, which is w for a
square. A crop is a square of so many sizes, shown at 32 px a size. Source: the crops of SiamFC (Bertinetto et al.
2016), whose exemplar has a side of 2 s and whose search picture one of 4 s. Differs: beyond the frame the frame's edge
goes on, not its mean colour.
"""

import math

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray, UInt8

SIZE_PX = 32  # of an object, in a crop
SMALLEST_PX = 4.0  # side of a box


def size_of(box_wh: Float[NDArray, "2"]) -> float:
    """One number for the size of a box of width and height, in their unit."""
    w, h = (float(v) for v in box_wh)
    padding = (w + h) / 2
    return math.sqrt((w + padding) * (h + padding)) / 2


def cut(
    frame: UInt8[NDArray, "height width 3"],
    centre: Float[NDArray, "2"],
    side: float,
    px: int,
    repeat_edge: bool = True,
) -> UInt8[NDArray, "px px 3"]:
    """A square of the frame about a place, `side` px of the frame wide, shown at px × px.

    Beyond the frame its edge goes on, or else its mean colour is there.
    """
    beyond = cv2.BORDER_REPLICATE if repeat_edge else cv2.BORDER_CONSTANT
    colour = (0.0, 0.0, 0.0) if repeat_edge else cv2.mean(frame)[:3]
    ratio = side / px
    corner = np.asarray(centre, dtype=np.float64) - side / 2
    if ratio > 1:  # so that nothing is lost between the pixels that are looked at
        low = np.floor(corner).astype(int)
        n = math.ceil(side) + 1
        height, width = frame.shape[:2]
        x = np.clip([low[0], low[0] + n], 0, [width - 1, width])
        y = np.clip([low[1], low[1] + n], 0, [height - 1, height])
        part = frame[y[0] : max(y[1], y[0] + 1), x[0] : max(x[1], x[0] + 1)]
        few = np.maximum(np.ceil(np.array(part.shape[1::-1]) / ratio).astype(int), 1)
        step = np.array(part.shape[1::-1]) / few
        part = cv2.resize(part, (int(few[0]), int(few[1])), interpolation=cv2.INTER_AREA)
        corner, scale = (corner - [x[0], y[0]]) / step, ratio / step
        frame = part
    else:
        scale = np.array([ratio, ratio])
    moved = corner + scale / 2 - 0.5
    to_frame = np.array([[scale[0], 0, moved[0]], [0, scale[1], moved[1]]], dtype=np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(frame, to_frame, (px, px), flags=flags, borderMode=beyond, borderValue=colour)
    return np.asarray(seen)
