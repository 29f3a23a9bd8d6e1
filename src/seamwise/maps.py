"""The map of difficulty x labels: which way is best at which value of a world's setting, read from a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from seamwise.advice.numbers import difference
from seamwise.bootstrap import Interval
from seamwise.runs import Row, Study, open_run

FOLDER = "map"


@final
@dataclass(frozen=True)
class MapCell:
    """One value at one budget: the row with the least error of those finished, and how probably it is the best.

    errors: of every row that is finished there; close: the rows whose difference from the best has an interval that
    holds 0.
    """

    n: int
    best: Row
    probability: float
    errors: dict[Row, Interval]
    close: tuple[Row, ...]


@final
@dataclass(frozen=True)
class MapRow:
    """The study at one value of a setting; cells: by budget, those with a finished trial."""

    setting: str
    value: float
    run: Path
    trivial: float
    cells: dict[int, MapCell]


def map_folder(run: Path, setting: str, value: float) -> Path:
    """Where the study at a value is."""
    return run / FOLDER / f"{setting}={value:g}"


def read_map(run: str | Path) -> list[MapRow]:
    """What `study_map` wrote beside a run, by setting and value; what is not begun yet is left out."""
    found = [_row(folder) for folder in (Path(run) / FOLDER).glob("*=*") if (folder / "run.json").is_file()]
    return sorted(found, key=lambda row: (row.setting, row.value))


def _row(folder: Path) -> MapRow:
    setting, _, value = folder.name.rpartition("=")
    study = open_run(folder)
    cells = {n: _cell(study, n) for n in study.record.budgets if any(study.at(row, n) for row in study.rows)}
    return MapRow(setting, float(value), folder, study.record.trivial, cells)


def _cell(study: Study, n: int) -> MapCell:
    best, probability = study.best(n)
    there = [row for row in study.rows if study.at(row, n)]
    apart = {row: difference(study, study.at(row, n), study.at(best, n)) for row in there if row != best}
    close = tuple(row for row, interval in apart.items() if interval is None or interval.low <= 0)
    errors = {row: study.bootstrap.interval(study.errors(row, n)) for row in there}
    return MapCell(n, best, probability, errors, close)
