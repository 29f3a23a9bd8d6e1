"""A network of the study as the eyes of the gate: what `seamwise train gate` wrote, asked about photographs."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import cv2
import numpy as np
from jaxtyping import UInt8

from seamwise.errors import ModelError
from seamwise.model import Model, load_model
from seamwise.shapes import Float, NDArray
from seamwise.systems.gate.data import framed
from seamwise.systems.gate.pictures import box_found
from seamwise.systems.gate.scenes import PICTURE_PX

CROP_PX = 64
SURE = 10.0  # such a network finds one face in every picture, and never says that there is none


@final
@dataclass(frozen=True)
class StudiedFace:
    """The one face of a photograph: its box in px of the photograph; without a finder, all of it."""

    box: tuple[float, float, float]
    crop: UInt8[NDArray, "64 64"]
    embedding: Float[NDArray, " d"]
    score: float = SURE


@final
class StudiedSight:
    """A trained chain or direct network; what people are compared by is its likeness to the people of its training set.

    `impostor_scores` are those of the task's validation people, among whom its study sets its threshold too.
    """

    def __init__(self, model: Model) -> None:
        if model.record.task != "gate":
            raise ModelError(f"a model of the task {model.record.task!r}", expected="one of the task 'gate'")
        self._model = model
        supply = model.task.supply
        rows = supply.rows("validation", "person")
        likeness = _unit(model.predict({"image": supply.fields["image"][rows].numpy()})["person"])
        person = supply.fields["person"][rows].numpy()
        first, second = np.triu_indices(len(person), 1)
        others = person[first] != person[second]
        pairs = (likeness[first[others]] * likeness[second[others]]).sum(1)
        self.impostor_scores: Float[NDArray, " pairs"] = np.sort(pairs)
        self.n_impostor_people = len(np.unique(person))

    def look(self, photo: UInt8[NDArray, "h w 3"]) -> tuple[StudiedFace, ...]:
        """The face of a photo in red, green and blue."""
        image, scale, shift = framed(photo)
        written = self._model.predict({"image": image[None, None]})
        left, top, side = 0.0, 0.0, float(PICTURE_PX)
        if "place" in written:
            left, top, side = box_found(written["place"][0])
        box = (left - shift[0]) / scale, (top - shift[1]) / scale, side / scale
        grey = np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
        middle = box[0] + box[2] / 2, box[1] + box[2] / 2
        around = cv2.getRectSubPix(grey, (max(1, round(box[2])),) * 2, middle)
        crop = np.asarray(cv2.resize(around, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA))
        return (StudiedFace(box, crop, _unit(written["person"])[0]),)


def load_studied(folder: Path) -> StudiedSight:
    """The sight of a model folder. Raises ModelError."""
    return StudiedSight(load_model(folder))


def _unit(likeness: Float[NDArray, "n people"]) -> Float[NDArray, "n people"]:
    unit: Float[NDArray, "n people"] = likeness / np.linalg.norm(likeness, axis=1, keepdims=True).clip(1e-9)
    return unit
