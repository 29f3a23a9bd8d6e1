"""A folder of hand radiographs with their ages: the RSNA challenge's layout, or the Digital Hand Atlas's."""

import csv
import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, final

import numpy as np

from seamwise.errors import InputError
from seamwise.files import readable
from seamwise.shapes import Float, NDArray
from seamwise.systems.age.checks import check_folder
from seamwise.systems.age.dicom import MM_PER_PX
from seamwise.systems.age.reading import SUFFIXES

FINGERS: Final = ("thumb", "index", "middle", "ring", "little")
LANDMARKS: Final = (
    "wrist",
    *("thumb CMC", "thumb MCP", "thumb IP", "thumb tip"),
    *(f"{finger} {joint}" for finger in FINGERS[1:] for joint in ("metacarpal base", "MCP", "PIP", "DIP", "tip")),
)
MAX_MONTHS: Final = 300
KEYPOINTS, ATLAS = "keypoints21.csv", "payer_37_landmarks.csv"
ATLAS_MM_PER_PX: Final = 0.1

_ID = ("id", "image_id", "case_id")
_MONTHS = ("boneage_months", "bone_age_months", "ground_truth_bone_age_months")
_YEARS = ("boneage_years", "bone_age_years")
_CHILD = ("patient_id", "patient", "child")  # the first is the picture's in the Digital Hand Atlas
_AGE = ("boneage", "bone_age", *_MONTHS, *_YEARS)  # the first two: months, unless they look like years
_SEX = ("male", "sex", "gender")
_CODES = {"f": "F", "female": "F", "m": "M", "male": "M"}
_MALE = {"true": "M", "1": "M", "false": "F", "0": "F"}
_NOTHING = ("", "nan", "na", "n/a", "none", "unknown")  # how tables say that they do not know
_LOOKS_LIKE_YEARS, _ENOUGH, _A_FEW = 20, 20, 3
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NAMES = (
    "wrist",
    *(f"{f}{k}" for f in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger") for k in range(1, 5)),
)
_PLACES = (0, 1, 2, 3, 4, *(5 * f + k for f in range(1, 5) for k in range(1, 5)))  # of these names among LANDMARKS
# of the atlas's landmarks: thumb, then each finger's metacarpal base and its joints
_ATLAS_PLACES = (17, 18, 19, 20, 16, *range(21, 25), 15, *range(25, 29), 14, *range(29, 33), 13, *range(33, 37))
_ATLAS_WRIST = {7: 0.7, 3: 0.3}  # proximal lunate, ulnar corner of the radius: where the RSNA's keypoint lies


@final
@dataclass(frozen=True)
class Record:
    """A radiograph's file and what is known of it, by its label files.

    `original_px` is (height, width) where the picture was stored smaller. `landmarks` are x and y in pixels of the
    file's own picture, by `LANDMARKS`, NaN where unknown; `mm_per_px` is that of the same pixels. `child` is whose
    hand it is, where a column says so.
    """

    id: str
    path: Path
    age_months: float | None
    sex: str
    original_px: tuple[int, int] | None = None
    landmarks: Float[NDArray, "25 2"] | None = field(default=None, compare=False)
    mm_per_px: float | None = None
    child: str | None = None


@final
@dataclass(frozen=True)
class Folder:
    """The radiographs of a folder that have both labels and a file, and what to tell about them."""

    records: tuple[Record, ...]
    warnings: tuple[str, ...]


@final
@dataclass(frozen=True)
class _Table:
    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, str]], ...]  # the line in the file, and its cells by column
    comma: bool  # for decimals

    def column(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self.columns), None)


def read_folder(folder: Path) -> Folder:
    """The radiographs of a folder, by their labels; ages in years are converted to months, with a warning.

    A table with an id, a bone age and a sex a row, and a picture or DICOM file named by the id, in the folder or below
    it. `keypoints21.csv` gives landmarks; `payer_37_landmarks.csv` makes it a Digital Hand Atlas, whose ids are the
    last four digits of `patient_ID`. Rows without a sex are left out, with a warning. Raises InputError that names
    file, line and column.
    """
    check_folder(folder)
    files = [path for path in files_below(folder) if not path.name.startswith(".")]
    atlas = folder / ATLAS in files
    table, ids = _labels(folder, files, atlas)
    pictures = _pictures(folder, files, {key for _, _, key in ids})
    if atlas:
        ids = [labelled for labelled in ids if labelled[2] in pictures]
    _check_twice(table, ids)
    told = _check_pictures(folder, table, [key for _, _, key in ids], pictures)
    sexes = {line: _sex(table, line, row) for line, row, _ in ids}
    without = [key for line, _, key in ids if sexes[line] is None and key in pictures]
    about_sex = _left_out(table, without, len(ids), "have no sex") if without else ()
    ages, about_ages = _ages(table)
    child = table.column(_CHILD[1:] if atlas else _CHILD)
    landmarks = _atlas_landmarks(folder / ATLAS) if atlas else _keypoints(folder / KEYPOINTS)
    records = [
        Record(
            id=key,
            path=pictures[key],
            age_months=ages[line],
            sex=sex,
            original_px=_original_px(table, line, row),
            landmarks=landmarks.get(key),
            mm_per_px=ATLAS_MM_PER_PX if atlas else _mm_per_px(table, line, row),
            child=None if child is None or row[child].lower() in _NOTHING else _whole(row[child]),
        )
        for line, row, key in ids
        if (sex := sexes[line]) is not None and key in pictures
    ]
    return Folder(tuple(records), (*told, *about_sex, *about_ages))


def once(records: Sequence[Record]) -> tuple[Record, ...]:
    """Without those whose file, or a copy of it, came before: folders may overlap, or one be given twice."""
    paths = {path: path.stat().st_size for path in {record.path.resolve() for record in records}}
    often = Counter(paths.values())
    same = {path: path if often[size] == 1 else _digest(path) for path, size in paths.items()}
    first: dict[Path | bytes, Record] = {}
    for record in records:
        before = first.setdefault(same[record.path.resolve()], record)
        if before.child is None and record.child is not None:
            first[same[record.path.resolve()]] = replace(before, child=record.child)
    return tuple(first.values())


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def files_below(folder: Path) -> list[Path]:
    """The files of a folder and of those in it, sorted. Raises InputError where one of the folders cannot be read."""

    def fail(error: OSError) -> None:
        raise error

    with readable(folder):
        found = [Path(where) / name for where, _, names in os.walk(folder, onerror=fail) for name in names]
        return sorted(path for path in found if path.is_file())


_Labelled = tuple[int, dict[str, str], str]  # line, cells, id


def _labels(folder: Path, files: Sequence[Path], atlas: bool) -> tuple[_Table, list[_Labelled]]:
    """The one table of labels, and each row's id."""
    ids = ("patient_id",) if atlas else _ID
    tables = [path for path in files if path.parent == folder and path.suffix.lower() == ".csv"]
    table = _the_table(folder, ids, tables)
    column = table.column(ids)
    assert column is not None
    found = []
    for line, row in table.rows:
        key = row[column][-4:] if atlas else _without_suffix(row[column])
        if not key:
            raise InputError(f"{table.path}, line {line}, column {column}: empty", expected="a radiograph's id")
        found.append((line, row, key))
    return table, found


def _the_table(folder: Path, ids: Sequence[str], paths: Sequence[Path]) -> _Table:
    fitting, problems = [], []
    for path in paths:
        if path.name in (ATLAS, KEYPOINTS):
            continue
        try:
            table = _read(path)
        except InputError as error:
            problems.append(error)
            continue
        if table.column(ids) and table.column(_AGE) and table.column(_SEX):
            fitting.append(table)
        missing = [names[0] for names in (ids, _AGE, _SEX) if not table.column(names)]
        problems += [InputError(f"{path}: no column {missing[0]}")] if missing else []
    expected = f"one CSV with the columns {ids[0]}, boneage (in months), and male or sex"
    if len(fitting) > 1:
        given = ", ".join(table.path.name for table in fitting)
        raise InputError(f"{folder}: several tables of labels", given=given, expected=expected, remedy="keep one there")
    if not fitting:
        if len(paths) == 1 and problems and "no column" not in str(problems[0]):
            raise problems[0]
        given = "; ".join(str(problem).splitlines()[0] for problem in problems) or "no CSV"
        remedy = "put the table of labels into the folder, with the columns' names in its first line"
        raise InputError(f"{folder}: no table of labels", given=given, expected=expected, remedy=remedy)
    if not fitting[0].rows:
        raise InputError(f"{fitting[0].path}: no rows", given="names of columns only", expected="a row a radiograph")
    return fitting[0]


def _read(path: Path) -> _Table:
    lines, semicolon = _cells(path)
    if not lines:
        raise InputError(f"{path}: empty", expected="a table with the columns' names in its first line")
    columns = tuple(re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_") for name in lines[0][1])
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise InputError(f"{path}, line 1: column {twice[0]} is there twice", remedy="rename one of them")
    rows = []
    for line, cells in lines[1:]:
        if len(cells) != len(columns):
            given, expected = f"{len(cells)} cells", f"{len(columns)}, as in the first line"
            raise InputError(f"{path}, line {line}: cells do not match columns", given=given, expected=expected)
        rows.append((line, dict(zip(columns, (cell.strip() for cell in cells), strict=True))))
    return _Table(path, columns, tuple(rows), semicolon)


def _cells(path: Path) -> tuple[list[tuple[int, list[str]]], bool]:
    """The lines that are not empty, with their numbers, and whether semicolons part the cells."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=first.count)
        reader = csv.reader(text.splitlines(keepends=True), strict=True, delimiter=delimiter)
        return [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)], delimiter == ";"
    except OSError as error:
        raise InputError(f"{path}: cannot be read", given=str(error.strerror), remedy="allow reading it") from None
    except (csv.Error, UnicodeDecodeError) as error:
        expected = "comma- or semicolon-separated text in UTF-8"
        remedy = "save it as CSV in UTF-8"
        raise InputError(f"{path}: no table", given=str(error), expected=expected, remedy=remedy) from None


def _without_suffix(name: str) -> str:
    return _whole(Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name)


def _whole(name: str) -> str:
    """1377 for 1377.0, as pandas writes numbers of a column with an empty cell."""
    return name[:-2] if re.fullmatch(r"\d+\.0", name) else name


def _pictures(folder: Path, files: Sequence[Path], ids: set[str]) -> dict[str, Path]:
    """The file of each id that has one; raises InputError where one has two."""
    found: dict[str, Path] = {}
    for path in files:
        key = _whole(path.stem)
        if path.suffix.lower() not in SUFFIXES or key not in ids:
            continue
        if key in found:
            given = f"{found[key].relative_to(folder)} and {path.relative_to(folder)}"
            remedy = "move the one that is not meant out of the folder"
            what = f"{folder}: two radiographs of the id {key}"
            raise InputError(what, given=given, expected="one file an id", remedy=remedy)
        found[key] = path
    return found


def _check_twice(table: _Table, ids: Sequence[_Labelled]) -> None:
    first: dict[str, int] = {}
    for line, _, key in ids:
        if key in first:
            column = table.column((*_ID, "patient_id"))
            given = f"{key} in lines {first[key]} and {line}"
            what = f"{table.path}, line {line}, column {column}: twice the same id"
            raise InputError(what, given=given, expected="one row a radiograph", remedy="keep one")
        first[key] = line


def _check_pictures(folder: Path, table: _Table, ids: Sequence[str], pictures: dict[str, Path]) -> tuple[str, ...]:
    if not pictures:
        given = f"no file for any of the {len(table.rows):,} ids of {table.path.name}"
        expected = "a file named by its id, such as 1377.png, in the folder or below: " + " ".join(SUFFIXES)
        remedy = "put the radiographs into the folder"
        raise InputError(f"{folder}: no radiographs", given=given, expected=expected, remedy=remedy)
    missing = [key for key in ids if key not in pictures]
    return _left_out(table, missing, len(ids), "have no radiograph") if missing else ()


def _left_out(table: _Table, keys: Sequence[str], n: int, why: str) -> tuple[str, ...]:
    examples = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    return (f"{table.path.name}: {len(keys):,} of {n:,} ids {why} and are left out: {examples}",)


def _ages(table: _Table) -> tuple[dict[int, float | None], tuple[str, ...]]:
    """The months of each line, None where the cell is empty."""
    column = table.column(_AGE)
    assert column is not None
    given = {line: _number(table, line, row, column) for line, row in table.rows}
    in_years, told = _in_years(table, column, [age for age in given.values() if age is not None])
    ages = {line: age if age is None or not in_years else 12 * age for line, age in given.items()}
    for line, age in ages.items():
        if age is not None and not 0 <= age <= MAX_MONTHS:
            what = f"{table.path}, line {line}, column {column}: no bone age"
            unit = "years" if in_years else "months"
            raise InputError(what, given=f"{given[line]:g} {unit}", expected=f"0 to {MAX_MONTHS} months (25 years)")
    return ages, told


def _in_years(table: _Table, column: str, ages: Sequence[float]) -> tuple[bool, tuple[str, ...]]:
    """Whether ages are years, by the column's name or, where it leaves that open, by themselves; what to tell."""
    if column in _YEARS:
        return True, (f"{table.path.name}: ages in years, as column {column} says, were converted to months",)
    if not ages or max(ages) > _LOOKS_LIKE_YEARS:
        return False, ()
    seen = f"{table.path.name}: no age in column {column} is above {max(ages):g}"
    if column in _MONTHS:
        return False, (f"{seen} months; are they years? Then name the column boneage_years",)
    if len(ages) >= _ENOUGH:
        told = "taken for years and converted to months (name the column boneage_months if they are months)"
        return True, (f"{seen}; {told}",)
    if len(ages) >= _A_FEW and any(age % 1 for age in ages):
        what = f"{table.path}, line 1, column {column}: months or years?"
        given = f"{len(ages)} ages, some with fractions, none above {max(ages):g}"
        expected = "a column whose name says it"
        remedy = "name it boneage_years if they are years, boneage_months if they are months"
        raise InputError(what, given=given, expected=expected, remedy=remedy)
    told = "taken for months; are they years? Then name the column boneage_years, otherwise boneage_months"
    return False, (f"{seen}; {told}",)


def _number(table: _Table, line: int, row: dict[str, str], column: str) -> float | None:
    text = row[column]
    if not text:
        return None
    number = _float(text.replace(",", ".") if table.comma else text)
    if not math.isfinite(number):
        what = f"{table.path}, line {line}, column {column}: no number"
        raise InputError(what, given=repr(text), expected="a number, such as 94 or 94.5, or an empty cell")
    return number


def _float(text: str) -> float:
    """NaN where it is no number; Python would take 1_0_0 for one."""
    text = text.strip()  # of more than `float` takes for white space
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _sex(table: _Table, line: int, row: dict[str, str]) -> str | None:
    """None where the row does not say it; raises InputError for a code that is not known."""
    column = table.column(_SEX)
    assert column is not None
    codes = _MALE if column == "male" else _CODES
    given = _whole(row[column].lower())
    if given in _NOTHING:
        return None
    sex = codes.get(given)
    if sex is None:
        what = f"{table.path}, line {line}, column {column}: unknown sex"
        raise InputError(what, given=repr(row[column]), expected=", ".join(codes), remedy="correct or remove the row")
    return sex


def _original_px(table: _Table, line: int, row: dict[str, str]) -> tuple[int, int] | None:
    if not {"orig_w", "orig_h"} <= set(table.columns):
        return None
    width, height = (_positive(table, line, row, column) for column in ("orig_w", "orig_h"))
    return None if width is None or height is None else (round(height), round(width))


def _mm_per_px(table: _Table, line: int, row: dict[str, str]) -> float | None:
    number = _number(table, line, row, "mm_per_px") if "mm_per_px" in table.columns else None
    low, high = MM_PER_PX
    if number is not None and not low <= number <= high:
        what = f"{table.path}, line {line}, column mm_per_px: no scale of a radiograph"
        raise InputError(what, given=f"{number:g} mm", expected=f"{low:g} to {high:g} mm, or an empty cell")
    return number


def _positive(table: _Table, line: int, row: dict[str, str], column: str) -> float | None:
    number = _number(table, line, row, column)
    if number is not None and number <= 0:
        what = f"{table.path}, line {line}, column {column}: no size"
        raise InputError(what, given=row[column], expected="above 0, or an empty cell")
    return number


def _keypoints(path: Path) -> dict[str, Float[NDArray, "25 2"]]:
    """Landmarks by id, as the RSNA's keypoints have them; the metacarpals' bases, but the thumb's, are not there."""
    if not path.is_file():
        return {}
    table = _read(path)
    missing = [name for name in ("id", *(f"{n}_{axis}" for n in _NAMES for axis in "xy")) if name not in table.columns]
    if missing:
        raise InputError(f"{path}, line 1: column {missing[0]} is missing", remedy="give all, or remove the file")
    found = {}
    for line, row in table.rows:
        points = np.full((len(LANDMARKS), 2), np.nan)
        for place, name in zip(_PLACES, _NAMES, strict=True):
            x, y = (_number(table, line, row, f"{name}_{axis}") for axis in "xy")
            points[place] = (np.nan, np.nan) if x is None or y is None else (x, y)
        found[_without_suffix(row["id"])] = points
    return found


def _atlas_landmarks(path: Path) -> dict[str, Float[NDArray, "25 2"]]:
    """Landmarks by id, from 37 of each hand of the Digital Hand Atlas.

    **Source** Payer et al., Integrating spatial configuration into heatmap regression based CNNs for landmark
    localization, 2019. Differs: the wrist lies between two of them, where the RSNA's keypoint lies.
    """
    found = {}
    for line, cells in _cells(path)[0]:
        numbers = [_float(cell) for cell in cells[1:]]
        if len(numbers) != 2 * 37 or not all(map(math.isfinite, numbers)):
            given, expected = f"{len(cells)} cells", "an id, then x and y of 37 landmarks"
            raise InputError(f"{path}, line {line}: no landmarks", given=given, expected=expected)
        points = np.array(numbers).reshape(37, 2)
        wrist = sum(share * points[place] for place, share in _ATLAS_WRIST.items())
        found[cells[0].strip()] = np.vstack([wrist, points[list(_ATLAS_PLACES)]])
    return found
