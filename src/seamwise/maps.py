"""The map of difficulty x labels: which way is best at which value of a world's setting, read from a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from seamwise.advice.numbers import close_to
from seamwise.bootstrap import Interval
from seamwise.errors import RunError
from seamwise.runs import Row, RunRecord, Study, open_run, read_run_record

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
    return run / FOLDER / f"{setting}={repr(float(value)).removesuffix('.0')}"


def read_map(run: str | Path) -> list[MapRow]:
    """What `study_map` wrote beside a run, by setting and value.

    What is not begun yet is left out, and what is of another version, another task or other stages.
    """
    record = read_run_record(Path(run))
    if record is None:
        return []
    found = [_row(folder, record) for folder in (Path(run) / FOLDER).glob("*=*") if (folder / "run.json").is_file()]
    return sorted((row for row in found if row is not None), key=lambda row: (row.setting, row.value))


def _row(folder: Path, of: RunRecord) -> MapRow | None:
    setting, _, told = folder.name.rpartition("=")
    try:
        value, study = float(told), open_run(folder)
    except (RunError, ValueError):  # ValueError: a folder of somebody's, not a study's
        return None
    own = study.record
    if (own.task, own.answer) != (of.task, of.answer) or any(
        of.signatures.get(v, s) != s for v, s in own.signatures.items()
    ):
        return None
    cells = {n: _cell(study, n) for n in study.record.budgets if any(study.at(row, n) for row in study.rows)}
    return MapRow(setting, value, folder, study.record.trivial, cells)


def _cell(study: Study, n: int) -> MapCell:
    best, probability = study.best(n)
    there = [row for row in study.rows if study.at(row, n)]
    errors = {row: study.bootstrap.interval(study.errors(row, n)) for row in there}
    return MapCell(n, best, probability, errors, tuple(close_to(study, best, n)))
