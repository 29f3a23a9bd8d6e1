"""Boxes: x, y, width and height in px, x and y those of the upper left corner; a frame's own is (0, 0, width, height).

A box of NaN is one that is not there. Files of OTB count pixels from 1: their x and y are one larger.
"""

import numpy as np

from seamwise.shapes import Float, NDArray

Boxes = Float[NDArray, "*n 4"]


def overlap(a: Boxes, b: Boxes) -> Float[NDArray, "*n"]:
    """Intersection over union, 0 to 1; 0 where one of the two is not there, or both are empty."""
    corner = np.maximum(a[..., :2], b[..., :2])
    shared = (np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - corner).clip(0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
    return np.asarray(np.nan_to_num(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)))


def middle(boxes: Boxes) -> Float[NDArray, "*n 2"]:
    """The middle of each box, x and y."""
    return np.asarray(boxes[..., :2] + boxes[..., 2:] / 2)


def about(centre: Float[NDArray, "*n 2"], size: Float[NDArray, "*n 2"]) -> Boxes:
    """Boxes about a middle."""
    return np.concatenate([centre - size / 2, size], -1)
