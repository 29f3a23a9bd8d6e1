"""A frame with what the tracker said of it."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seamwise.pictures import label
from seamwise.shapes import NDArray, UInt8
from seamwise.systems.track.predict import Seen

TRACKED, LOST = (40, 160, 60), (210, 50, 40)


def draw(seen: Seen) -> UInt8[NDArray, "height width 3"]:
    """The frame with the object boxed and the confidence on the box; where it is lost, LOST in the corner too."""
    picture = Image.fromarray(seen.frame.picture)
    ink = ImageDraw.Draw(picture)
    size = max(12, round(min(picture.size) / 24))
    font, colour = ImageFont.load_default(size), LOST if seen.lost else TRACKED
    if np.isfinite(seen.box).all() and (seen.box[2:] >= 1).all():
        x, y, width, height = (float(v) for v in seen.box)
        ink.rectangle(
            (x, y, x + width - 1, y + height - 1), outline=colour, width=1 if seen.lost else max(2, size // 6)
        )
        if math.isfinite(seen.score):
            label(ink, (x, y - 1.4 * size), f"{seen.score:.2f}", colour, font)
    if seen.lost:
        label(ink, (0, 0), "LOST", colour, font)
    return np.array(picture)
