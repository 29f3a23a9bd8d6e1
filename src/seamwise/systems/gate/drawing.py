"""What the gate decided, drawn on the picture that it saw."""

import math
import unicodedata

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from seamwise.pictures import label
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
        told = f"{name} {face.score:.2f}" if math.isfinite(face.score) else name
        label(ink, (face.box[0], face.box[1] - 1.4 * size), told, tone, font)
    label(ink, (0, 0), "OPEN" if decision.open else f"CLOSED: {decision.reason}", colour, font)
    return np.array(picture)


def _square(ink: ImageDraw.ImageDraw, box: Square, colour: tuple[int, int, int], width: int) -> None:
    x, y, side = box
    ink.rectangle((x, y, x + side, y + side), outline=colour, width=width)
