"""Annotated sequences on disk, in the layouts of OTB, GOT-10k and VOT; and boxes out, in OTB's.

| style  | pictures               | boxes                                    | x and y count from |
|--------|------------------------|------------------------------------------|--------------------|
| otb    | NAME/img               | groundtruth_rect.txt, .1.txt, .2.txt     | 1                  |
| got10k | NAME                   | groundtruth.txt; absence and cover.label | 1                  |
| vot    | NAME/color, or in NAME | groundtruth.txt                          | 0                  |

They are told apart so: pictures in `img`, or a groundtruth_rect file, are OTB (LaSOT too, whose file is called
groundtruth.txt). Of the others, pictures in `color`, a file `sequence`, a *.tag, a label that GOT-10k does not have,
or a row of more than four numbers are VOT. The rest are GOT-10k.

Source: Wu et al. 2015 (OTB); Huang et al. 2021 (GOT-10k; its authors say that it counts from 1, toolkit issue 6);
Kristan et al. 2016 (VOT; its Python toolkit lays rectangles on pixels that count from 0). Differs: a polygon of VOT
becomes the smallest upright box around it, as in that toolkit, not one of the polygon's area.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, final

import numpy as np

from seamwise.errors import InputError
from seamwise.files import readable
from seamwise.pictures import picture_size
from seamwise.shapes import Float, NDArray
from seamwise.systems.track.frames import PictureFrames, by_nature, listed_pictures, numbered
from seamwise.systems.track.truth import has_polygons, read_boxes, read_lines

Style = Literal["otb", "got10k", "vot"]
DEEPEST: Final = 2  # levels of folders below the one that is given
LAYOUT = "NAME/img/*.jpg and groundtruth_rect.txt (OTB), or NAME/*.jpg and groundtruth.txt (GOT-10k, VOT)"

# of OTB's sequences whose boxes are fewer than their pictures, the pictures that they belong to, first and last
OTB_RANGES: Final = {
    "blurcar1": (247, 988),
    "blurcar3": (3, 359),
    "blurcar4": (18, 397),
    "david": (300, 770),
    "diving": (1, 215),
    "football1": (1, 74),
    "freeman3": (1, 460),
    "freeman4": (1, 283),
}
_GOT_LABELS = {"absence.label", "cover.label", "cut_by_image.label"}


@final
@dataclass(frozen=True)
class Sequence:
    """A film and where its target is, px, NaN where it is not there; pictures are read by `frames_of_sequence`.

    Of GOT-10k's test sequences there is the first box alone.
    """

    name: str
    frames: tuple[Path, ...]
    boxes: Float[NDArray, "n 4"]
    warnings: tuple[str, ...]
    style: Style


def sequences_of(folders: Iterable[Path], refused: Callable[[InputError], object] | None = None) -> list[Sequence]:
    """The sequences in folders: each is one, or holds some one or two levels below; `list.txt` there says which.

    Of pictures, nothing but the size of each first one is read. A file of boxes that is empty is left out where a
    second target has boxes. Raises InputError, with file and line, where there is no sequence, or one is not whole:
    pictures or boxes are missing, a row is no box, the first box is not there or not in its picture. Where `refused`
    is given, it is told of each sequence that is not whole, and the others are returned.
    """
    found: dict[Path, list[Sequence]] = {}
    for folder in folders:
        for path in _inside(folder):
            try:
                if path.resolve() not in found:
                    found[path.resolve()] = list(_sequences_in(path))
            except InputError as error:
                if refused is None:
                    raise
                refused(error)
    sequences = [sequence for each in found.values() for sequence in each]
    _check_names(sequences)
    return sequences


def check_scored(sequences: Iterable[Sequence]) -> None:
    """Raises InputError where a sequence has no box after its first: there is nothing to score."""
    for sequence in sequences:
        if not np.isfinite(sequence.boxes[1:]).any():
            raise InputError(
                f"{sequence.name}: nothing to score",
                given=f"no box after the first, of {len(sequence.frames):,} frames",
                expected="a box for each frame",
                remedy="leave it out; of GOT-10k, give val: the boxes of test are kept by its authors",
            )


def frames_of_sequence(sequence: Sequence) -> PictureFrames:
    """Its frames, for reading."""
    return PictureFrames(sequence.name, sequence.frames)


def _inside(folder: Path) -> list[Path]:
    with readable(folder):
        if not folder.is_dir():
            what, given = f"{folder}: no such folder", "a file" if folder.exists() else ""
            raise InputError(what, given=given, expected=LAYOUT, remedy="check the name")
    inside = list(_sequence_folders(folder, DEEPEST))
    if not inside:
        raise InputError(f"{folder}: no sequences in it", expected=LAYOUT, remedy="give the folder that holds them")
    return inside


def _sequence_folders(folder: Path, levels: int) -> Iterator[Path]:
    """Folders with boxes; and with pictures and no sequences below, which is what is left where boxes are missing."""
    if _truths(folder) or _has_pictures(folder / "img"):
        yield folder
        return
    below = [found for path in _below(folder) for found in _sequence_folders(path, levels - 1)] if levels else []
    yield from below or ([folder] if _has_pictures(folder) or not folder.is_dir() else [])


def _below(folder: Path) -> list[Path]:
    """The folders in a folder, or those that its list.txt names."""
    if not folder.is_dir():
        return []
    names = folder / "list.txt"
    if names.is_file():
        return [folder / _listed(line, f"{names}, line {number}") for number, line in read_lines(names)]
    with readable(folder):
        inside = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    return sorted(inside, key=by_nature)


def _listed(name: str, where: str) -> str:
    """A name that a list of sequences has. Raises InputError where it is that of no folder below."""
    if "\0" in name or Path(name).is_absolute() or not Path(name).parts or ".." in Path(name).parts:
        raise InputError(
            f"{where}: no name of a folder", given=repr(name[:60]), expected="a sequence's, of those beside"
        )
    return name


def _has_pictures(folder: Path) -> bool:
    return folder.is_dir() and bool(listed_pictures(folder))


def _truths(folder: Path) -> list[Path]:
    with readable(folder):
        found = [*folder.glob("groundtruth_rect.txt"), *folder.glob("groundtruth_rect.[0-9]*.txt")]
        found = sorted(found, key=by_nature)
        return found or list(folder.glob("groundtruth.txt"))


def _sequences_in(folder: Path) -> Iterator[Sequence]:
    truths = _truths(folder)
    if not folder.is_dir():
        remedy = "take it out of the list, or copy the sequence again"
        raise InputError(f"{folder}: no such folder", given="its name in list.txt", remedy=remedy)
    if not truths:
        expected = "groundtruth_rect.txt (OTB) or groundtruth.txt (GOT-10k, VOT)"
        raise InputError(f"{folder}: pictures without boxes", expected=expected, remedy="add the file, or leave it out")
    name = folder.resolve().name
    with readable(folder):
        empty = [truth for truth in truths if truth.stat().st_size == 0]
    several = len(truths) > len(empty) > 0
    told = tuple(f"{truth.name} is empty: that target was left out" for truth in empty if several)
    for truth in truths:
        if not (several and truth in empty):
            target = truth.name.removeprefix("groundtruth_rect").removeprefix("groundtruth").removesuffix(".txt")
            sequence = _sequence(folder, truth, name)
            yield replace(sequence, name=name + target, warnings=told + sequence.warnings)


def _sequence(folder: Path, truth: Path, name: str) -> Sequence:
    style = _style(folder, truth)
    frames = _frames(folder, style)
    boxes = read_boxes(truth, style)
    if style == "otb":
        frames = _of_range(name, frames, len(boxes))
    first_alone = style == "got10k" and len(boxes) == 1
    if len(boxes) != len(frames) and not first_alone:
        raise InputError(
            f"{truth}: boxes and pictures do not match",
            given=f"{len(boxes):,} boxes, {len(frames):,} pictures in {frames[0].parent}",
            expected="a box for each picture",
            remedy="copy the sequence again, or remove what is too much",
        )
    told = PictureFrames(name, frames).warnings
    if first_alone and len(frames) > 1:
        told = (*told, "only the first box is known: it can be tracked, not scored")
    _check_inside(truth, boxes[0], frames[0])
    return Sequence(name, frames, boxes, told, style)


def _style(folder: Path, truth: Path) -> Style:
    if truth.name.startswith("groundtruth_rect") or (folder / "img").is_dir():
        return "otb"
    labels = {path.name for path in folder.glob("*.label")} - _GOT_LABELS
    told = labels or any(folder.glob("*.tag")) or (folder / "sequence").is_file() or (folder / "color").is_dir()
    return "vot" if told or has_polygons(truth) else "got10k"


def _frames(folder: Path, style: Style) -> tuple[Path, ...]:
    within = {"otb": folder / "img", "vot": folder / "color", "got10k": folder}[style]
    if style == "vot" and not within.is_dir():
        within = folder
    with readable(within):
        frames = listed_pictures(within) if within.is_dir() else ()
    if not frames:
        given = "" if within.is_dir() else f"no folder {within.name}"
        remedy = "copy the sequence again, with its pictures"
        raise InputError(f"{folder}: boxes without pictures", given=given, expected=f"{within}/*.jpg", remedy=remedy)
    return frames


def _of_range(name: str, frames: tuple[Path, ...], n_boxes: int) -> tuple[Path, ...]:
    """The pictures that OTB's own list gives for a sequence, where the boxes are as many; else all of them."""
    numbers = numbered(tuple(path.name for path in frames))
    if len(frames) == n_boxes or numbers is None or name.lower() not in OTB_RANGES:
        return frames
    first, last = OTB_RANGES[name.lower()]
    chosen = tuple(path for path, number in zip(frames, numbers, strict=True) if first <= number <= last)
    return chosen if len(chosen) == n_boxes else frames


def _check_inside(truth: Path, box: Float[NDArray, " 4"], frame: Path) -> None:
    height, width = picture_size(frame)
    x, y, box_width, box_height = box.tolist()
    if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
        raise InputError(
            f"{truth}, line 1: the box lies outside its picture",
            given=f"x {x:g}, y {y:g}, w {box_width:g}, h {box_height:g} px (from 0) in {width:,} x {height:,} px",
            expected=f"a box that {frame.name} shows",
            remedy="check that the boxes belong to these pictures, at this size",
        )


def _check_names(sequences: list[Sequence]) -> None:
    for name, n in Counter(sequence.name for sequence in sequences).items():
        if n > 1:
            where = [str(sequence.frames[0].parent) for sequence in sequences if sequence.name == name]
            remedy = "rename one of them, or give one at a time"
            raise InputError(f"{n} sequences are called {name}", given=", ".join(where), remedy=remedy)
