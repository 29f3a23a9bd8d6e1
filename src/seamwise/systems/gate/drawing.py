"""What the gate decided, drawn on the picture that it saw."""

import math
import unicodedata
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from seamwise.shapes import NDArray
from seamwise.systems.gate.gate import Decision, Square

LONGEST_NAME = 24  # letters, as drawn
OPEN, CLOSED, OTHER = (40, 160, 60), (210, 50, 40), (70, 130, 220)


def draw(photo: UInt8[NDArray, "height width 3"], decision: Decision) -> UInt8[NDArray, "height width 3"]:
    """The picture with every face boxed and named, and OPEN or CLOSED above them."""
    picture = Image.fromarray(photo)
    ink = ImageDraw.Draw(picture)
    colour = OPEN if decision.open else CLOSED
    size = max(12, round(min(photo.shape[:2]) / 24))
    font = ImageFont.load_default(size)
    for k, face in reversed(list(enumerate(decision.faces))):
        tone = colour if k == 0 else OTHER
        _square(ink, face.box, tone, max(1, size // 8))
        name = unicodedata.normalize("NFC", face.who or "stranger")
        name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        label = f"{name} {face.score:.2f}" if math.isfinite(face.score) else name
        _label(ink, (face.box[0], face.box[1] - 1.4 * size), label, tone, font)
    _label(ink, (0, 0), "OPEN" if decision.open else f"CLOSED: {decision.reason}", colour, font)
    return np.array(picture)


def _square(ink: ImageDraw.ImageDraw, box: Square, colour: tuple[int, int, int], width: int) -> None:
    x, y, side = box
    ink.rectangle((x, y, x + side, y + side), outline=colour, width=width)


def _label(
    ink: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int], font: Any
) -> None:
    """White words on a ground of the colour, within the picture where that is wide enough."""
    _, _, right, bottom = ink.textbbox((0, 0), text, font=font)
    width, height = ink.im.size
    x, y = max(0, min(at[0], width - right - 4)), max(0, min(at[1], height - bottom - 4))
    ink.rectangle((x, y, x + right + 4, y + bottom + 4), fill=colour)
    ink.text((x + 2, y + 2), text, fill=(255, 255, 255), font=font)
