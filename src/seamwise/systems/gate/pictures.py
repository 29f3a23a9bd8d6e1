"""Pictures in and out of the study's networks: reading one, saying what was seen, and drawing it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from seamwise.pictures import read_photo
from seamwise.shapes import Float, NDArray
from seamwise.systems.gate.data import framed
from seamwise.systems.gate.nets import sure
from seamwise.task import Item

ENLARGED = 2
FOUND, TRUE = (70, 130, 220), (90, 170, 60)


def read_picture(path: Path) -> dict[str, UInt8[NDArray, "1 96 96"]]:
    """A photograph as the networks read it: grey, 96 px, its shape kept by a border. Raises InputError."""
    return {"image": framed(read_photo(path))[0][None]}


def tell(written: Item) -> dict[str, Any]:
    """Whom of the training set the face is most like, and where it is, in px of the picture of 96 px."""
    told: dict[str, Any] = {"most_like": int(written["person"].argmax()), "likeness": float(written["person"].max())}
    if "place" in written:
        told["box"] = [round(value, 1) for value in box_found(written["place"])]
    return told


def draw(item: Item, written: Item) -> UInt8[NDArray, "height width 3"]:
    """The picture enlarged, with the box that was found (blue) and the true one (green), beside the face as zoomed."""
    side = item["image"].shape[-1] * ENLARGED
    picture = np.repeat(np.asarray(cv2.resize(item["image"][0], (side, side)))[..., None], 3, axis=2)
    if "place" in item:
        _frame(picture, item["place"].tolist(), TRUE)
    if "place" not in written:
        return picture
    _frame(picture, box_found(written["place"]), FOUND)
    face = written["face"]
    grey = (255 * (face - face.min()) / max(float(np.ptp(face)), 1e-6)).astype(np.uint8)
    zoomed = np.asarray(cv2.resize(grey, (side // 2, side // 2), interpolation=cv2.INTER_NEAREST))
    beside = np.full((side, side // 2, 3), 255, dtype=np.uint8)
    beside[side // 4 : side // 4 + side // 2] = zoomed[..., None]
    return np.concatenate([picture, beside], axis=1)


def box_found(place: Float[NDArray, " cells"]) -> list[float]:
    """The face box (left, top, side) that shares of cells stand for, in px of the picture of 96 px."""
    found, _ = sure(torch.from_numpy(place)[None])
    column, row, log_side = found[0].tolist()
    side = float(np.exp(log_side))
    return [column - side / 2, row - side / 2, side]


def _frame(picture: UInt8[NDArray, "height width 3"], box: list[float], colour: tuple[int, int, int]) -> None:
    left, top, side = (round(value * ENLARGED) for value in box)
    cv2.rectangle(picture, (left, top), (left + side, top + side), colour, 1)
