"""Digits in and out: reading a picture file, saying what was read, and drawing it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from seamwise.pictures import read_photo
from seamwise.shapes import Float, NDArray, Shaped
from seamwise.systems.digits.world import HEIGHT_PX, N_COLUMNS, PATCH_PX, WIDTH_PX
from seamwise.task import Item

ZOOM = 6
RIGHT, WRONG, FOUND = (90, 170, 60), (210, 60, 50), (70, 130, 220)


def read_picture(path: Path) -> dict[str, Float[NDArray, "1 20 32"]]:
    """A picture file as the networks read it: grey, light ink on dark, 20 x 32 px, its shape kept by a border.

    Dark ink on light paper is turned round. Raises InputError where the file is no picture.
    """
    ink = cv2.cvtColor(read_photo(path), cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    if np.median(ink) > 0.5:
        ink = 1 - ink
    scale = min(HEIGHT_PX / ink.shape[0], WIDTH_PX / ink.shape[1])
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    small = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas = np.full((HEIGHT_PX, WIDTH_PX), np.median(small), dtype=np.float32)
    top, left = (HEIGHT_PX - size[1]) // 2, (WIDTH_PX - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    return {"image": canvas[None]}


def tell(written: Item) -> dict[str, Any]:
    """The sum and its probability; the digits and their places where the network has such stages."""
    told: dict[str, Any] = {"sum": int(written["sum"].argmax()), "probability": round(float(written["sum"].max()), 4)}
    if "digit" in written:
        told["digits"] = [int(d) for d in written["digit"].argmax(-1)]
    if "place" in written:
        told["boxes"] = [[c, r, PATCH_PX, PATCH_PX] for r, c in _corners(written["place"])]
    return told


def draw(item: Item, written: Item) -> Shaped[NDArray, "height width 3"]:
    """The picture enlarged, the places that were found boxed, and the answer below; red where it is wrong."""
    grey = np.repeat((item["image"][0] * 255).astype(np.uint8)[..., None], 3, axis=2)
    picture = np.asarray(cv2.resize(grey, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST))
    if "place" in written:
        for row, column in _corners(written["place"]):
            start, end = (column * ZOOM, row * ZOOM), ((column + PATCH_PX) * ZOOM - 1, (row + PATCH_PX) * ZOOM - 1)
            cv2.rectangle(picture, start, end, FOUND, 1)
    told = tell(written)
    said = " + ".join(map(str, told["digits"])) + f" = {told['sum']}" if "digits" in told else str(told["sum"])
    right = "sum" not in item or int(item["sum"]) == told["sum"]
    if not right:
        said += f"  (is {int(item['sum'])})"
    band = np.full((28, picture.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(band, said, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, RIGHT if right else WRONG, 1, cv2.LINE_AA)
    return np.concatenate([picture, band])


def _corners(place: Float[NDArray, "2 253"]) -> list[tuple[int, int]]:
    return [(int(p) // N_COLUMNS, int(p) % N_COLUMNS) for p in place.argmax(-1)]
