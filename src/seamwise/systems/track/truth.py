"""Files of boxes, a line a frame: read as OTB, GOT-10k and VOT have them, written as OTB has them."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from seamwise.errors import InputError
from seamwise.files import check_file, readable
from seamwise.shapes import Bool, Float, NDArray
from seamwise.trial import write_whole

FIRST: Final = {"otb": 1.0, "got10k": 1.0, "vot": 0.0}  # the number of the leftmost and of the uppermost pixel
AS_NUMBERS = "x, y, width and height, px"
FARTHEST_PX: Final = 1e7  # beyond the sides of any picture that is read


def read_boxes(path: Path, style: str = "otb") -> Float[NDArray, "n 4"]:
    """The boxes of a file, px from 0, NaN where the target is absent.

    Numbers may stand between commas, semicolons, tabs or spaces. Absent is a row of NaN or of zeros; in GOT-10k, too,
    one without a size or of -1, or where absence.label beside it is 1 or cover.label is 0. In VOT, eight numbers are
    a polygon's corners. Raises InputError that names file and line, also where the first target is absent.
    """
    check_file(path, "file of boxes", "a text file with a line a frame")
    rows = [_box(line, style, f"{path}, line {number}") for number, line in read_lines(path)]
    if not rows:
        raise InputError(f"{path}: empty", expected="a line a frame", remedy="copy the file again")
    boxes = np.array(rows)
    if style == "got10k":
        boxes[1:][_labelled(path.parent, len(boxes))[1:]] = np.nan
    if not np.isfinite(boxes[0]).all():
        remedy = "start the sequence where its target is seen"
        raise InputError(f"{path}, line 1: the first box is absent", expected=AS_NUMBERS, remedy=remedy)
    boxes[:, :2] -= FIRST[style]
    return boxes


def write_otb(path: Path, boxes: Float[NDArray, "n 4"]) -> None:
    """Write boxes as OTB has them: x, y, width and height with commas between, x and y from 1, NaN where absent.

    GOT-10k's toolkit reads the same lines; neither toolkit can score NaN, so a tracker's result has a box everywhere.
    Raises StorageError.
    """
    rows = boxes + np.array([FIRST["otb"], FIRST["otb"], 0, 0])
    lines = [",".join("NaN" if math.isnan(value) else f"{value:.4f}" for value in row) for row in rows.tolist()]
    write_whole(path, "".join(f"{line}\n" for line in lines).encode())


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text, numbered from 1, without empty ones at its end. Raises InputError for one within."""
    with readable(path):
        content = path.read_bytes()
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no text", given=str(error), expected="text in UTF-8") from None
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        where = f"{path}, line {lines.index('') + 1}"
        raise InputError(f"{where}: empty", expected="something in each line", remedy="write NaN,NaN,NaN,NaN if absent")
    return list(enumerate(lines, start=1))


def has_polygons(path: Path) -> bool:
    """Whether a row has more than four numbers, or is a mask."""
    return any(len(_words(line)) > 4 or line.startswith("m") for _, line in read_lines(path))


def _words(line: str) -> list[str]:
    return re.split(r"[,;\s]+", line.strip(" \t,;"))


def _box(line: str, style: str, where: str) -> Sequence[float]:
    if line.startswith("m"):
        remedy = "give a file of boxes or of polygons"
        raise InputError(f"{where}: a mask", given=_short(line), expected=AS_NUMBERS, remedy=remedy)
    numbers = [_number(word, line, where) for word in _words(line)]
    n_expected = (4, 8) if style == "vot" else (4,)
    if len(numbers) not in n_expected:
        expected = AS_NUMBERS + (", or the x and y of four corners" if style == "vot" else "")
        given = f"{len(numbers)}: {_short(line)}"
        raise InputError(f"{where}: another number of numbers", given=given, expected=expected)
    n_missing = sum(math.isnan(number) for number in numbers)
    if n_missing == len(numbers) or not any(numbers):
        return (math.nan,) * 4
    if n_missing:
        raise InputError(f"{where}: half a box", given=_short(line), expected=f"{AS_NUMBERS}, or NaN for all of them")
    return _sized(numbers if len(numbers) == 4 else _around(numbers), style, line, where)


def _number(word: str, line: str, where: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.inf
    if abs(number) > FARTHEST_PX:
        given = f"{word[:20]!r} in {_short(line)}"
        raise InputError(f"{where}: no number", given=given, expected=f"{AS_NUMBERS}, such as 12,7.5,30,40")
    return number


def _around(corners: Sequence[float]) -> list[float]:
    x, y = corners[::2], corners[1::2]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def _sized(box: Sequence[float], style: str, line: str, where: str) -> Sequence[float]:
    if min(box[2:]) > 0:
        return box
    if style == "got10k" and (min(box[2:]) == 0 or set(box) == {-1.0}):
        return (math.nan,) * 4
    remedy = "the third and fourth numbers are width and height, not a second corner; absent is NaN,NaN,NaN,NaN"
    raise InputError(f"{where}: no size", given=_short(line), expected="width and height above 0 px", remedy=remedy)


def _short(line: str) -> str:
    return line if len(line) <= 60 else line[:60] + "…"


def _labelled(folder: Path, n: int) -> Bool[NDArray, " n"]:
    """Which frames GOT-10k's labels call absent or wholly covered."""
    absent = np.zeros(n, dtype=bool)
    for name, of_absent in (("absence.label", 1), ("cover.label", 0)):
        path = folder / name
        if not path.is_file():
            continue
        lines = read_lines(path)
        for number, line in lines:
            if not re.fullmatch("[0-9]", line):
                raise InputError(f"{path}, line {number}: no label", given=_short(line), expected="a digit")
        if len(lines) != n and n > 1:
            given = f"{len(lines):,} labels, {n:,} boxes"
            raise InputError(f"{path}: labels and boxes do not match", given=given, expected="one for each")
        if n > 1:
            absent |= np.array([int(line) == of_absent for _, line in lines])
    return absent
