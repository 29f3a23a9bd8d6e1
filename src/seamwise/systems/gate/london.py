"""The Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0): real faces to learn from, and mixtures of them.

Everybody is shown twice, neutral and smiling, upright in one frame. The 189 landmarks are those of the neutral
photographs; those of the smiling ones follow them by optical flow. The mask tells head and hair from the backdrop.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zlib import crc32

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from scipy.spatial import Delaunay

from seamwise.errors import InputError
from seamwise.files import opened_npz, readable
from seamwise.pictures import read_photo
from seamwise.shapes import Bool, Float, Int, NDArray
from seamwise.systems.gate import light
from seamwise.systems.gate.faces import REACH, Cutouts
from seamwise.systems.gate.light import Frame

ATTRIBUTION = "Face Research Lab London Set, DeBruine & Jones 2017, CC BY 4.0, doi 10.6084/m9.figshare.5047666"
LANDMARKS, INFO = "landmarks189_neutral.npz", "london_info.csv"
LOOKS = ("neutral", "smiling")
FRAME = Frame(px=160, reach=2.6)
VALIDATION = 22 / 102  # share of the people

LEFT_EYE, RIGHT_EYE, NOSE, LEFT_MOUTH, RIGHT_MOUTH = [0], [1], list(range(64, 70)), [87], [93]
UPPER = [*range(2, 87), *range(134, 145)]  # eyes, nose, brows and hairline: they stay when somebody smiles
FACE = [*range(115), *range(125, 145)]  # all but ears, hair and neck
BACKDROP, FOREGROUND = (
    10.0,
    26.0,
)  # difference to the backdrop (CIE Lab): up to the first it is that, above the second not
HOLE_PX = 120
NECK = (1.75, 2.05)  # below the eyes, in eye distances: where a cutout fades

Part = Literal["train", "validation"]


@dataclass(frozen=True)
class People:
    """n people, each neutral and smiling, in `FRAME`; masks from 0 to 255, landmarks in px of the frame."""

    name: tuple[str, ...]
    gender: tuple[str, ...]  # empty where it is not told
    grey: UInt8[NDArray, "n 2 p p"]
    alpha: UInt8[NDArray, "n 2 p p"]
    landmarks: Float[NDArray, "n 2 189 2"]

    def __len__(self) -> int:
        return len(self.name)

    def some(self, rows: Int[NDArray, " m"]) -> "People":
        """Those of some rows."""
        name, gender = (tuple(each[k] for k in rows.tolist()) for each in (self.name, self.gender))
        return People(name, gender, self.grey[rows], self.alpha[rows], self.landmarks[rows])

    def and_also(self, others: "People") -> "People":
        """These and others, in that order."""
        both = (np.concatenate(pair) for pair in zip(self._arrays(), others._arrays(), strict=True))
        return People(self.name + others.name, self.gender + others.gender, *both)

    def _arrays(self) -> tuple[NDArray, NDArray, NDArray]:
        return self.grey, self.alpha, self.landmarks


def five(landmarks: Float[NDArray, "*n 189 2"]) -> Float[NDArray, "*n 5 2"]:
    """Eyes, nose tip and mouth corners from all landmarks."""
    groups = (LEFT_EYE, RIGHT_EYE, NOSE, LEFT_MOUTH, RIGHT_MOUTH)
    return np.stack([landmarks[..., group, :].mean(-2) for group in groups], axis=-2)


def split(names: tuple[str, ...]) -> Bool[NDArray, " n"]:
    """Who is for validation: the same people always, whatever the order."""
    order = sorted(range(len(names)), key=lambda k: crc32(names[k].encode()))
    chosen = np.zeros(len(names), dtype=bool)
    chosen[order[: round(VALIDATION * len(names))]] = True
    return chosen


def people(folder: Path, part: Part | None = None, told: Callable[[str], None] = lambda _: None) -> People:
    """The people of a folder with the London set, all of them or one part.

    Raises InputError where the folder is not it, or a photograph of it cannot be read.
    """
    marks, gender = _landmarks(folder), _genders(folder)
    names = tuple(marks)
    chosen = split(names)
    if part is not None:
        names = tuple(
            name for name, is_validation in zip(names, chosen, strict=True) if is_validation == (part != "train")
        )
    parts = []
    for k, name in enumerate(names):
        parts.append(_person(folder / name, marks[name]))
        told(f"london set: {k + 1} of {len(names)} people")
    grey, alpha, landmarks = (np.stack(each) for each in zip(*parts, strict=True))
    return People(names, tuple(gender.get(name, "") for name in names), grey, alpha, landmarks)


def check(folder: Path) -> None:
    """Raises InputError where a folder is not the London set."""
    _landmarks(folder)


def _landmarks(folder: Path) -> dict[str, Float[NDArray, "189 2"]]:
    path, expected = folder / LANDMARKS, "person folders with neutral.jpg and smiling.jpg, and " + LANDMARKS
    if not path.is_file():
        remedy = "give the folder of the London set"
        raise InputError(f"{folder}: not the London set", given=f"no {LANDMARKS}", expected=expected, remedy=remedy)
    with opened_npz(path) as file:
        marks = {name: np.asarray(file[name], dtype=np.float64) for name in sorted(file.files)}
    for name, points in marks.items():
        if points.shape != (189, 2) or not np.isfinite(points).all():
            given = f"{name}: {points.shape}, {np.isnan(points).sum()} of them no numbers"
            raise InputError(f"{path}: no landmarks", given=given, expected="x and y of 189 points for each person")
    if len(marks) < 2:
        raise InputError(f"{path}: too few people", given=f"{len(marks)}", expected="at least 2")
    return marks


def _genders(folder: Path) -> dict[str, str]:
    path = folder / INFO
    if not path.is_file():
        return {}
    try:
        with readable(path), path.open(encoding="utf-8-sig", newline="") as file:
            return {row.get("face_id") or "": row.get("face_gender") or "" for row in csv.DictReader(file)}
    except (csv.Error, UnicodeDecodeError) as error:
        remedy = "copy the file again, or leave it out"
        raise InputError(f"{path}: no table", given=str(error), expected="CSV in UTF-8", remedy=remedy) from None


def _person(
    folder: Path, marks: Float[NDArray, "189 2"]
) -> tuple[UInt8[NDArray, "2 p p"], UInt8[NDArray, "2 p p"], Float[NDArray, "2 189 2"]]:
    """Both looks of a person in the frame: grey, mask, landmarks."""
    photos = [read_photo(folder / f"{look}.jpg") for look in LOOKS]
    eyes = marks[:2]
    neutral, smiling = (_framed(photo, eyes) for photo in photos)
    at = _into_frame(marks, eyes)
    for _ in range(2):  # the smiling head is elsewhere: its eyes are found by the flow of what does not smile
        eyes = _eyes_after(at, _flow(neutral, smiling), eyes)
        smiling = _framed(photos[1], eyes)
    flow = _flow(neutral, smiling)
    after = at + _sampled(flow, at)
    marks_of = np.stack([at, after])
    masks = [_mask(picture, points) for picture, points in zip((neutral, smiling), marks_of, strict=True)]
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (neutral, smiling)]
    return np.stack(grey), np.stack(masks), marks_of


def _framed(photo: UInt8[NDArray, "h w 3"], eyes: Float[NDArray, "2 2"]) -> UInt8[NDArray, "p p 3"]:
    """A photo's face in the frame, made small first so that no pixels are skipped."""
    share = min(1.0, 1.25 * FRAME.unit / float(np.linalg.norm(eyes[1] - eyes[0])))
    if share < 1:
        photo = cv2.resize(photo, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    affine = FRAME.from_photo(eyes * share)
    affine[:, 2] += affine[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from the middle of the first pixel
    size = (FRAME.px, FRAME.px)
    return np.asarray(cv2.warpAffine(photo, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _into_frame(points: Float[NDArray, "k 2"], eyes: Float[NDArray, "2 2"]) -> Float[NDArray, "k 2"]:
    affine = FRAME.from_photo(eyes)
    return np.asarray(points @ affine[:, :2].T + affine[:, 2])


def _flow(before: UInt8[NDArray, "p p 3"], after: UInt8[NDArray, "p p 3"]) -> Float[NDArray, "p p 2"]:
    optical = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    one, two = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (before, after))
    return np.asarray(optical.calc(one, two, np.zeros((*one.shape, 2), dtype=np.float32)))


def _sampled(flow: Float[NDArray, "p p 2"], at: Float[NDArray, "k 2"]) -> Float[NDArray, "k 2"]:
    column, row = np.clip(np.floor(at).astype(int), 0, FRAME.px - 1).T
    return np.asarray(flow[row, column], dtype=np.float64)


def _eyes_after(
    at: Float[NDArray, "189 2"], flow: Float[NDArray, "p p 2"], eyes: Float[NDArray, "2 2"]
) -> Float[NDArray, "2 2"]:
    """The eyes in the photo after a flow of the frame into which `eyes` had been set."""
    rest = at[[0, 1, *UPPER]]
    similar, _ = cv2.estimateAffinePartial2D(rest, rest + _sampled(flow, rest), method=cv2.LMEDS)
    there = at[:2] @ similar[:, :2].T + similar[:, 2]
    back = cv2.invertAffineTransform(FRAME.from_photo(eyes))
    return np.asarray(there @ back[:, :2].T + back[:, 2])


def _mask(picture: UInt8[NDArray, "p p 3"], marks: Float[NDArray, "189 2"]) -> UInt8[NDArray, "p p"]:
    """How much of each pixel is head: wholly within the face's landmarks, around them where no backdrop is seen."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    other = np.linalg.norm(lab - _backdrop(lab), axis=2)
    share = np.clip((other - BACKDROP) / (FOREGROUND - BACKDROP), 0, 1).astype(np.float32)
    hull = np.zeros(share.shape, dtype=np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(marks[FACE]).astype(np.int32)), 255, cv2.LINE_AA)
    share[_small_holes(share > 0.5)] = 1
    share = np.maximum(share, cv2.GaussianBlur(hull, (0, 0), 1).astype(np.float32) / 255) * _joined(share, hull)
    down = (np.arange(FRAME.px) + 0.5) / FRAME.unit - FRAME.reach
    share *= np.clip((NECK[1] - down) / (NECK[1] - NECK[0]), 0, 1)[:, None]
    return np.asarray((share * 255).round().astype(np.uint8))


def _backdrop(lab: Float[NDArray, "p p 3"]) -> Float[NDArray, "p p 3"]:
    """The colour of the wall at every pixel, from where it is seen: light, nearly grey, above the shoulders."""
    line = np.linspace(-1, 1, FRAME.px)
    x, y = np.meshgrid(line, line)
    terms = np.stack([np.ones_like(x), x, y, x * x], 2)
    seen = (lab[..., 0] > 55) & (np.abs(lab[..., 1:]).max(2) < 8) & (y < 0.6) & (x**2 + y**2 > 0.25)
    for _ in range(3):  # what is not wall after all is left out the second time
        if seen.sum() < FRAME.px:
            return np.full_like(lab, 200.0)  # no wall to be seen: all is foreground
        fitted = terms @ np.linalg.lstsq(terms[seen], lab[seen], rcond=None)[0]
        far = np.linalg.norm(lab - fitted, axis=2)
        seen &= far < max(2.5 * float(np.median(far[seen])), 4.0)
    return np.asarray(fitted)


def _joined(share: Float[NDArray, "p p"], hull: UInt8[NDArray, "p p"]) -> Float[NDArray, "p p"]:
    """1 on what hangs together with the face, with a soft border."""
    _, label = cv2.connectedComponents(((share > 0.3) | (hull > 0)).astype(np.uint8))
    middle = int(label[FRAME.px // 2, FRAME.px // 2])
    return np.asarray(cv2.GaussianBlur((label == middle).astype(np.float32), (0, 0), 0.7))


def _small_holes(solid: Bool[NDArray, "p p"]) -> Bool[NDArray, "p p"]:
    """What is enclosed and small, as a shine on hair."""
    _, label, found, _ = cv2.connectedComponentsWithStats((~solid).astype(np.uint8), connectivity=4)
    return np.asarray((found[:, cv2.CC_STAT_AREA] < HOLE_PX)[label] & ~solid)


def morphs(these: People, n: int, seed: int = 0, told: Callable[[str], None] = lambda _: None) -> People:
    """New people: in each, two of the same gender are mixed, in shape and in skin, neutral and smiling alike."""
    rng = np.random.default_rng([seed, n])
    gender = np.array(these.gender)
    names, parts, genders = [], [], []
    for made in range(n):
        one = int(rng.integers(len(these)))
        others = np.flatnonzero((gender == gender[one]) & (np.arange(len(these)) != one))
        other = int(rng.choice(others if len(others) else np.delete(np.arange(len(these)), one)))
        shape, skin = rng.uniform(0.25, 0.75, 2).tolist()
        parts.append(_mixed(these, one, other, shape, skin))
        names.append(f"{these.name[one]}+{these.name[other]} {shape:.2f} {skin:.2f}")
        genders.append(these.gender[one])
        if made % 50 == 49:
            told(f"morphs: {made + 1} of {n}")
    grey, alpha, landmarks = (np.stack(each) for each in zip(*parts, strict=True))
    return People(tuple(names), tuple(genders), grey, alpha, landmarks)


def _mixed(
    these: People, one: int, other: int, shape: float, skin: float
) -> tuple[UInt8[NDArray, "2 p p"], UInt8[NDArray, "2 p p"], Float[NDArray, "2 189 2"]]:
    grey, alpha, marks = [], [], []
    for look in range(len(LOOKS)):
        a, b = these.landmarks[one, look], these.landmarks[other, look]
        between = (1 - shape) * a + shape * b
        corners = Delaunay(_fenced(between))
        first, second = (
            _warped(np.dstack([these.grey[k, look], these.alpha[k, look]]), _fenced(points), corners)
            for k, points in ((one, a), (other, b))
        )
        grey.append(_between(first, second, skin))
        alpha.append(cv2.addWeighted(first[..., 1], 1 - skin, second[..., 1], skin, 0))
        marks.append(between)
    return np.stack(grey), np.stack(alpha), np.stack(marks)


def _between(first: UInt8[NDArray, "p p 2"], second: UInt8[NDArray, "p p 2"], skin: float) -> UInt8[NDArray, "p p"]:
    """The grey of two heads mixed; where only one of them has hair it is hair, and not half of it wall."""
    one, two = first.astype(np.float32), second.astype(np.float32)
    weight_one, weight_two = (1 - skin) * (one[..., 1] + 0.1), skin * (two[..., 1] + 0.1)
    mixed = (weight_one * one[..., 0] + weight_two * two[..., 0]) / (weight_one + weight_two)
    return np.asarray(mixed.round().astype(np.uint8))


def _fenced(marks: Float[NDArray, "189 2"]) -> Float[NDArray, "197 2"]:
    """Landmarks within the frame, and points around its border that stay where they are."""
    border = [(x, y) for x in (0, 0.5, 1) for y in (0, 0.5, 1) if (x, y) != (0.5, 0.5)]
    return np.vstack([np.clip(marks, 1, FRAME.px - 2), np.array(border) * (FRAME.px - 1)])


def _warped(
    picture: UInt8[NDArray, "p p 2"], points: Float[NDArray, "k 2"], corners: Delaunay
) -> UInt8[NDArray, "p p 2"]:
    """A picture whose points are brought where the triangulation has them, straight within each triangle."""
    coarse = np.linspace(0, FRAME.px - 1, FRAME.px // 2)
    at = np.stack(np.meshgrid(coarse, coarse), 2).reshape(-1, 2)
    triangle = np.maximum(corners.find_simplex(at), 0)
    affine = corners.transform[triangle]
    first = np.einsum("nij,nj->ni", affine[:, :2], at - affine[:, 2])
    weight = np.column_stack([first, 1 - first.sum(1)])
    back = np.einsum("ni,nij->nj", weight, points[corners.simplices[triangle]])
    maps = cv2.resize(back.reshape(len(coarse), len(coarse), 2).astype(np.float32), (FRAME.px, FRAME.px))
    return np.asarray(cv2.remap(picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def cutouts(
    rng: np.random.Generator, these: People, person: Int[NDArray, " n"], px: int = 96, relight: float = 0.7
) -> Cutouts:
    """A face each for the rows of `these` in `person`: neutral or smiling, turned a little, a share in other light.

    They reach as far around the eyes as drawn faces do, so that scenes can be made of either.
    """
    target, n = Frame(px, REACH), len(person)
    grey, alpha = np.empty((2, n, px, px), dtype=np.float32)
    marks = np.empty((n, 5, 2), dtype=np.float32)
    points = five(these.landmarks)
    for k, (row, look) in enumerate(zip(person.tolist(), rng.integers(0, len(LOOKS), n).tolist(), strict=True)):
        pose = light.any_pose(rng, roll=0.0, scale=0.0, shift=0.0)
        layers = np.dstack([these.grey[row, look], these.alpha[row, look]])
        layers = light.shown(layers, FRAME, target, pose)
        linear = light.relit(rng, layers[..., 0], target, relight)
        brightness = rng.uniform(0.55, 1.15)
        grey[k] = np.clip(linear * brightness, 0, 1) ** (1 / light.LINEAR)
        alpha[k] = layers[..., 1].astype(np.float32) / 255
        there = light.moved(points[row, look], FRAME, target, pose)
        marks[k] = there[[1, 0, 2, 4, 3]] if pose.mirrored else there
    return Cutouts(torch.from_numpy(grey), torch.from_numpy(alpha), torch.from_numpy(marks))
