"""Photo in, faces out: where they are, upright and aligned, and a vector each by which people are told apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, final

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from torch import nn

from seamwise.errors import InputError
from seamwise.shapes import Float, NDArray, Tensor
from seamwise.systems.gate.aligner import Align, box_of, looked_at, window_of
from seamwise.systems.gate.finder import THRESHOLD, Finder
from seamwise.systems.gate.recogniser import UPRIGHT, Recognise
from seamwise.systems.gate.scenes import BOX_EYES

WEIGHTS = Path(__file__).with_name("weights.safetensors")
KIND, VERSION = "seamwise face gate", "1"  # of weights files
CONTEXT = 2 * UPRIGHT.reach / BOX_EYES  # how much larger than the face box that is which is recognised
Module = TypeVar("Module", bound=nn.Module)

SUREST = 0.0  # the log-odds from which on the surest of a photo is a face; `THRESHOLD` for the others
SAME = 0.4  # eye distances: aligned faces whose eyes are nearer are one face


@final
@dataclass(frozen=True)
class Face:
    """A face of a photo; places in px from its upper left corner."""

    box: tuple[float, float, float]  # left, top, side, around the middle of the upright face
    roll: float  # radians, clockwise
    eyes: Float[NDArray, "2 2"]  # the left one in the picture first
    score: float  # how much a face, from the finder: log-odds
    crop: UInt8[NDArray, "64 64"]  # grey, upright
    embedding: Float[NDArray, " d"]  # of length 1


@final
class Sight:
    """A finder, an aligner and a recogniser in a row, and what is known of how alike different people are to them.

    `impostor_scores`: similarities of different people, sorted, who were not learnt from; `n_impostor_people` of them.
    """

    def __init__(
        self,
        finder: Finder,
        align: Align,
        recognise: Recognise,
        impostor_scores: Float[NDArray, " pairs"],
        n_impostor_people: int,
    ) -> None:
        self.finder, self.align, self.recognise = finder.eval(), align.eval(), recognise.eval()
        self.impostor_scores, self.n_impostor_people = impostor_scores, n_impostor_people

    def look(self, photo: UInt8[NDArray, "h w 3"]) -> tuple[Face, ...]:
        """The faces of a photo in red, green and blue, the largest first.

        The surest may be less sure than all others must be: a gate that takes something else for a face sees a
        stranger, and one that misses a face keeps somebody out.
        """
        grey = np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
        found = self.finder.find_faces(grey, threshold=SUREST)
        found = found[:1] + [one for one in found[1:] if one.score > THRESHOLD]
        boxes = [(one.x - one.size / 2, one.y - one.size / 2, one.size) for one in found]
        faces = self.faces(grey, boxes, [one.score for one in found])
        return tuple(sorted(_distinct(faces), key=lambda face: -face.box[2]))

    @torch.inference_mode()
    def faces(
        self, grey: UInt8[NDArray, "h w"], boxes: list[tuple[float, float, float]], scores: list[float]
    ) -> tuple[Face, ...]:
        """The faces in rough boxes (left, top, side) of a photo, in that order."""
        if not boxes:
            return ()
        windows = torch.from_numpy(np.stack([window_of(grey, box) for box in boxes]))[:, None].float() / 255
        points = self.align(windows)
        upright = box_of(points)
        crops = looked_at(windows, upright, UPRIGHT.px, CONTEXT)
        embeddings = self.recognise(crops).numpy()
        kept = (crops[:, 0] * 255).round().to(torch.uint8).numpy()
        return tuple(
            _face(box, windows.shape[3], *each)
            for box, *each in zip(boxes, points.numpy(), upright.tolist(), scores, kept, embeddings, strict=True)
        )


def _face(
    rough: tuple[float, float, float],
    window_px: int,
    points: Float[NDArray, "5 2"],
    upright: list[float],
    score: float,
    crop: UInt8[NDArray, "64 64"],
    embedding: Float[NDArray, " d"],
) -> Face:
    """From px of the window to px of the photo."""
    unit = 2 * rough[2] / window_px
    left, top = rough[0] - rough[2] / 2, rough[1] - rough[2] / 2
    x, y, side, roll = upright
    box = (left + (x - side / 2) * unit, top + (y - side / 2) * unit, side * unit)
    eyes = points[:2].astype(np.float64) * unit + [left, top]
    return Face(box, roll, eyes, score, crop, embedding)


def _distinct(faces: tuple[Face, ...]) -> list[Face]:
    """Of faces that came to lie on one another, the surest."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        near = (np.linalg.norm(face.eyes - other.eyes, axis=1).max() * BOX_EYES / other.box[2] for other in kept)
        if all(distance > SAME for distance in near):
            kept.append(face)
    return kept


def load_sight(weights: Path | None = None) -> Sight:
    """Sight with the weights of a file, or with the shipped ones.

    Raises InputError where the file is not there, is damaged or holds no weights of a face gate.
    """
    path = WEIGHTS if weights is None else weights
    tensors, notes = read_weights(path)
    if notes.get("kind") != KIND or notes.get("version") != VERSION:
        given = f"{notes.get('kind', 'no kind')}, version {notes.get('version', 'none')}"
        remedy = "make them again: python -m seamwise.systems.gate.make"
        raise InputError(f"{path}: other weights", given=given, expected=f"{KIND}, version {VERSION}", remedy=remedy)
    try:
        n_steps = len({name.split(".")[2] for name in tensors if name.startswith("align.steps.")})
        recognise = Recognise(len(tensors["recognise.project.weight"]))
        parts = (_filled(Finder(), "finder", tensors), _filled(Align(n_steps), "align", tensors))
        scores = tensors["impostor_scores"].float().numpy()
        n_people = int(tensors["n_impostor_people"])
        return Sight(*parts, _filled(recognise, "recognise", tensors), scores, n_people)
    except (KeyError, RuntimeError) as error:
        expected = "the finder, the aligner, the recogniser and impostor scores"
        raise InputError(f"{path}: weights are missing or misshapen", given=str(error), expected=expected) from None


def read_weights(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Every tensor of a weights file, and its notes. Raises InputError where it cannot be read."""
    if not path.is_file():
        remedy = "install seamwise again, or make the weights: python -m seamwise.systems.gate.make"
        raise InputError(f"{path}: no such file", expected="weights of the face gate", remedy=remedy)
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        remedy = "copy the file again from where it came from"
        raise InputError(f"{path}: cannot be read", given=str(error), expected="safetensors", remedy=remedy) from None


def _filled(module: Module, name: str, tensors: Mapping[str, Tensor]) -> Module:
    own = {key.removeprefix(f"{name}."): value.float() for key, value in tensors.items() if key.startswith(f"{name}.")}
    module.load_state_dict(own)
    return module
