"""A frame with what the tracker said of it."""

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
            _label(ink, (x, y - 1.4 * size), f"{seen.score:.2f}", colour, font)
    if seen.lost:
        _label(ink, (0, 0), "LOST", colour, font)
    return np.array(picture)


def _label(
    ink: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int], font: Any
) -> None:
    """White words on a ground of the colour, within the picture where that is wide enough."""
    _, _, right, bottom = ink.textbbox((0, 0), text, font=font)
    width, height = ink.im.size
    x, y = max(0, min(at[0], width - right - 4)), max(0, min(at[1], height - bottom - 4))
    ink.rectangle((x, y, x + right + 4, y + bottom + 4), fill=colour)
    ink.text((x + 2, y + 2), text, fill=(255, 255, 255), font=font)
