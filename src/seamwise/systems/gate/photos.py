"""Photographs in: where the face of each is, and who is in a folder of them."""

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np

from seamwise.errors import InputError
from seamwise.pictures import SUFFIXES
from seamwise.shapes import Float, NDArray

COLUMNS = ("person", "image", "x", "y", "w", "h")
EYES = ("eye1_x", "eye1_y", "eye2_x", "eye2_y")


@final
@dataclass(frozen=True)
class Box:
    """Where a face is, px from the upper left; the eyes, each x and y, where they are known."""

    x: float
    y: float
    width: float
    height: float
    eyes: Float[NDArray, "2 2"] | None = field(default=None, compare=False)


@final
@dataclass(frozen=True)
class Person:
    """Somebody, and the photographs that show them."""

    name: str
    photos: tuple[Path, ...]


def photo_key(person: str, image: str) -> tuple[str, str]:
    """What a photograph is found by among boxes: its person, and its name without the suffix of a picture."""
    path = Path(image)
    return person, path.stem if path.suffix.lower() in SUFFIXES else path.name


def read_boxes(path: Path) -> dict[tuple[str, str], Box]:
    """The faces' places in a table with the columns person, image, x, y, w and h, by `photo_key`.

    The columns eye1_x, eye1_y, eye2_x and eye2_y are read where they are there; in a row, all four may be empty.
    Raises InputError that names file, line and column.
    """
    boxes: dict[tuple[str, str], Box] = {}
    first: dict[tuple[str, str], int] = {}
    for line, row in _rows(path):
        where = f"{path}, line {line}"
        key = photo_key(row["person"], row["image"])
        if key in boxes:
            given = f"{key[0]}, {key[1]} in lines {first[key]} and {line}"
            raise InputError(f"{where}, column image: twice the same photograph", given=given, remedy="keep one")
        boxes[key], first[key] = _box(row, where), line
    return boxes


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, _row(cells, header, f"{path}, line {reader.line_num}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read", given=str(error.strerror), expected="a table of boxes") from None
    except (csv.Error, UnicodeDecodeError) as error:
        expected = "comma-separated text in UTF-8"
        raise InputError(f"{path}: no table", given=str(error), expected=expected, remedy="save it as CSV") from None


def _check_header(path: Path, header: list[str]) -> None:
    wanted = [*COLUMNS, *(EYES if set(EYES) & set(header) else ())]
    missing = [name for name in wanted if name not in header]
    twice = [name for name in wanted if header.count(name) > 1]
    if missing or twice:
        what = f"column {missing[0]} is missing" if missing else f"column {twice[0]} is there twice"
        given = ",".join(header) or "an empty file"
        remedy = "name the columns in the first line, with commas between them"
        raise InputError(f"{path}, line 1: {what}", given=given, expected=",".join(wanted), remedy=remedy)


def _row(cells: list[str], header: list[str], where: str) -> dict[str, str]:
    if len(cells) != len(header):
        given, expected = f"{len(cells)} cells", f"{len(header)}, as in the first line"
        column = header[len(cells)] if len(cells) < len(header) else f"after {header[-1]}"
        raise InputError(f"{where}, column {column}: cells do not match columns", given=given, expected=expected)
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
    for column in ("person", "image"):
        if not row[column]:
            raise InputError(f"{where}, column {column}: empty", expected=f"the {column}'s name")
    return row


def _box(row: dict[str, str], where: str) -> Box:
    x, y, width, height = (_number(row, column, where) for column in COLUMNS[2:])
    for column, size in (("w", width), ("h", height)):
        if size <= 0:
            given, remedy = row[column], "w and h are width and height, not a second corner"
            raise InputError(f"{where}, column {column}: no size", given=given, expected="above 0 px", remedy=remedy)
    box = Box(x, y, width, height)
    if any(row.get(column) for column in EYES):
        box = replace(box, eyes=np.array([_number(row, column, where) for column in EYES]).reshape(2, 2))
    return box


def _number(row: dict[str, str], column: str, where: str) -> float:
    try:
        number = float(row[column])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        given = repr(row[column])
        raise InputError(f"{where}, column {column}: no number", given=given, expected="px, such as 12 or 12.5")
    return number


def check_box(box: Box, photo_shape: tuple[int, ...], where: str) -> None:
    """Raises InputError where more than half of a box lies outside its photograph of that height and width."""
    height, width = photo_shape[:2]
    inside_x = min(box.x + box.width, width) - max(box.x, 0)
    inside_y = min(box.y + box.height, height) - max(box.y, 0)
    inside = max(inside_x, 0) * max(inside_y, 0) / (box.width * box.height)
    if inside < 0.5:
        raise InputError(
            f"{where}: the box lies {'mostly ' if inside else ''}outside its photograph",
            given=f"x {box.x:g}, y {box.y:g}, w {box.width:g}, h {box.height:g} px in {width:,} x {height:,} px",
            expected="at least half of it inside",
            remedy="check that the box was measured on this photograph, upright and at this size",
        )


def find_people(folder: Path) -> list[Person]:
    """Who is in a folder, by name: each sub-folder a person, and each photograph beside them a person of its own.

    Only files with a picture's suffix count; hidden ones do not. Somebody whose folder has none, or cannot be read, is
    there without photographs. A photograph that is there twice under one name counts once. Raises InputError where
    nobody is found, or where one photograph goes under two names.
    """
    if not folder.is_dir():
        given = "a file" if folder.exists() else ""
        raise InputError(f"{folder}: no such folder", given=given, expected="a folder with a sub-folder a person")
    people = []
    for path in _listed(folder):
        if path.is_dir():
            people.append(Person(path.name, _photos_in(path)))
        elif _is_picture(path):
            people.append(Person(path.stem, (path,)))
    people = sorted(people, key=lambda person: person.name)
    if not any(person.photos for person in people):
        given = f"{len(_listed(folder))} files and folders, none with photographs"
        expected = "a sub-folder a person, with photographs in it: " + " ".join(SUFFIXES)
        raise InputError(f"{folder}: nobody in it", given=given, expected=expected)
    for one, two in pairwise(people):
        if one.name == two.name:
            given = "a folder and a photograph"
            raise InputError(f"{folder}: two people are called {one.name}", given=given, remedy="rename one of them")
    return _without_copies(people)


def _photos_in(folder: Path) -> tuple[Path, ...]:
    with suppress(InputError):
        return tuple(photo for photo in _listed(folder) if _is_picture(photo))
    return ()


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read", given=str(error.strerror)) from None


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _without_copies(people: list[Person]) -> list[Person]:
    """Files are compared by their bytes where their sizes agree; empty ones are left for `read_photo` to refuse."""
    size = {photo: _size(photo) for person in people for photo in person.photos}
    n_of_size = Counter(size.values())
    first: dict[str, tuple[str, Path]] = {}
    kept = []
    for person in people:
        photos = []
        for photo in person.photos:
            alone = size[photo] == 0 or n_of_size[size[photo]] == 1
            content = None if alone else digest(photo)
            name, other = first.setdefault(content, (person.name, photo)) if content else (person.name, photo)
            if name != person.name:
                what = f"one photograph of two people, {name} and {person.name}"
                raise InputError(what, given=f"{other} and {photo}", remedy="remove it where it does not belong")
            if other == photo:
                photos.append(photo)
        kept.append(Person(person.name, tuple(photos)))
    return kept


def _size(photo: Path) -> int:
    return photo.stat().st_size if photo.is_file() else 0


def digest(photo: Path) -> str | None:
    """A hash of a file; None where it is empty or cannot be read, which `read_photo` tells."""
    if not _size(photo):
        return None
    try:
        with photo.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
