"""A pair out: what the task's networks said of it, in words and drawn."""

import math
from typing import Any

import cv2
import numpy as np

from seamwise.shapes import Float, NDArray, UInt8
from seamwise.systems.track.geometry import SIZE_PX
from seamwise.systems.track.nets import N_SHIFTS, SEARCH_PX, STRIDE
from seamwise.task import Item

ENLARGED = 2
TOLD, TRUE = (70, 130, 220), (90, 170, 60)
SIDE_PX = ENLARGED * SEARCH_PX


def tell(written: Item) -> dict[str, Any]:
    """How far the object is from the middle of the search picture, in its sizes, and how many times as large it is."""
    x, y, log_scale = written["place"].tolist()
    return {"x": round(x, 3), "y": round(y, 3), "scale": round(math.exp(log_scale), 3)}


def draw(item: Item, written: Item) -> UInt8[NDArray, "height width 3"]:
    """The exemplar; the search picture with the box told (blue) and the true one (green); the response map as heat.

    The map lies as the search picture does, brightest where the object was thought to be, of the likeliest scale.
    """
    exemplar, search = (_enlarged(item[name]) for name in ("exemplar", "search"))
    if "place" in item:
        _square(search, item["place"], TRUE)
    _square(search, written["place"], TOLD)
    panels = [_centred(exemplar), search]
    if "response" in written:
        panels.append(_heat(written["response"]))
    return np.concatenate(panels, axis=1)


def _enlarged(picture: UInt8[NDArray, "3 px px"]) -> UInt8[NDArray, "side side 3"]:
    side = ENLARGED * picture.shape[-1]
    return np.asarray(cv2.resize(np.ascontiguousarray(picture.transpose(1, 2, 0)), (side, side)))


def _centred(picture: UInt8[NDArray, "side side 3"]) -> UInt8[NDArray, "height width 3"]:
    """The picture on white, as high as the search picture."""
    panel = np.full((SIDE_PX, SIDE_PX, 3), 255, dtype=np.uint8)
    before = (SIDE_PX - len(picture)) // 2
    panel[before : before + len(picture), before : before + len(picture)] = picture
    return panel


def _square(picture: UInt8[NDArray, "side side 3"], place: Float[NDArray, "3"], colour: tuple[int, int, int]) -> None:
    size = ENLARGED * SIZE_PX
    centre, half = SIDE_PX / 2 + size * place[:2], size / 2 * math.exp(float(place[2]))
    left, top = (round(float(v)) for v in centre - half)
    right, bottom = (round(float(v)) for v in centre + half)
    cv2.rectangle(picture, (left, top), (right, bottom), colour, 2)


def _heat(response: Float[NDArray, "3 13 13"]) -> UInt8[NDArray, "side side 3"]:
    """The likeliest scale's map, where its shifts are in the search picture; dark where nothing is looked for."""
    likeliest = response[np.unravel_index(response.argmax(), response.shape)[0]]
    share = np.exp(likeliest - likeliest.max())
    coloured = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    side = ENLARGED * STRIDE * N_SHIFTS
    panel, before = np.zeros((SIDE_PX, SIDE_PX, 3), dtype=np.uint8), (SIDE_PX - side) // 2
    enlarged = cv2.resize(np.ascontiguousarray(coloured), (side, side), interpolation=cv2.INTER_NEAREST)
    panel[before : before + side, before : before + side] = enlarged
    return panel
