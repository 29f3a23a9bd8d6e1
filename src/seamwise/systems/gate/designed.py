"""Stages that people designed, in the place of learned ones: two descriptors of a face, and a finder."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from seamwise.shapes import Float, NDArray, Tensor, UInt8
from seamwise.systems.gate import place
from seamwise.systems.gate.data import BOX_SIZE
from seamwise.systems.gate.nets import N_CELLS, ZOOM_PX
from seamwise.systems.gate.recogniser import Hog, Lbp

CELL_PX = 5
DEVIATION, MIDDLE = 0.2, 0.5  # grey values of an even face as a picture from 0 to 1
ENLARGED = 2  # the cascade's smallest face is 20 px

_hog, _lbp = Hog(ZOOM_PX, CELL_PX), Lbp(ZOOM_PX, CELL_PX)
HOG_FEATURES, LBP_FEATURES = _hog.n_features, _lbp.n_features


def describe_by_hog(face: Float[Tensor, "batch 20 20"]) -> Float[Tensor, "batch features"]:
    """Histograms of oriented gradients; gradient passes. Source: Dalal & Triggs 2005."""
    described: Tensor = _hog.to(face.device)(_as_picture(face))
    return described


def describe_by_lbp(face: Float[Tensor, "batch 20 20"]) -> Float[Tensor, "batch features"]:
    """Histograms of local binary patterns; no gradient passes. Source: Ahonen et al. 2006."""
    described: Tensor = _lbp.to(face.device)(_as_picture(face))
    return described


def _as_picture(face: Float[Tensor, "batch 20 20"]) -> Float[Tensor, "batch 1 20 20"]:
    return (face[:, None] * DEVIATION + MIDDLE).clamp(0, 1)


def find_by_haar(image: UInt8[NDArray, "batch 1 96 96"]) -> Float[NDArray, "batch cells"]:
    """The largest face of OpenCV's Haar cascade as shares of cells; the same share everywhere where it finds none.

    Source: Viola & Jones 2001, as OpenCV ships it (frontalface_alt2).
    """
    shares = torch.full((len(image), N_CELLS), 1 / N_CELLS)
    for k, picture in enumerate(image[:, 0]):
        found = _cascade().detectMultiScale(cv2.resize(picture, None, fx=ENLARGED, fy=ENLARGED), 1.1, 3)
        if len(found):
            left, top, side, _ = np.array(max(found, key=lambda box: box[2])) / ENLARGED
            size = side * BOX_SIZE
            box = torch.tensor([[left + (side - size) / 2, top + (side - size) / 2, size]], dtype=torch.float32)
            shares[k] = place.gold(box)[0]
    return shares.numpy()


@lru_cache
def _cascade() -> cv2.CascadeClassifier:
    folder = Path(cv2.__file__).parent / "data"
    return cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))
