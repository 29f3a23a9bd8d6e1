"""The report's tables: numbers, put into words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from seamwise.advice import numbers
from seamwise.advice.numbers import full_name, in_panel_order, n_decimals, name_of
from seamwise.bootstrap import Interval
from seamwise.runs import Row, Study, curves
from seamwise.trial import Trial


@final
@dataclass(frozen=True)
class Cell:
    """text, and below it, smaller, lines of more."""

    text: str
    more: tuple[str, ...] = ()
    best: bool = False
    is_number: bool = True


@final
@dataclass(frozen=True)
class Line:
    """A row of a table: its head, and its cells."""

    head: str
    cells: tuple[Cell, ...]
    group: str = ""  # lines of one group stand together under its name


@final
@dataclass(frozen=True)
class Table:
    """What a page shows as a table. columns: the heads, the first that of the lines' heads."""

    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def groups(self) -> dict[str, list[Line]]:
        """The lines, by group, in order."""
        return {g: [line for line in self.lines if line.group == g] for g in dict.fromkeys(x.group for x in self.lines)}


def number(study: Study, value: float | None) -> str:
    """An error of the answer."""
    return "–" if value is None else f"{value:.{n_decimals(study.record.trivial)}f}"


def between(study: Study, interval: Interval) -> str:
    """The interval's ends, as short as they are told apart."""
    return f"{number(study, interval.low)}{'–' if interval.low >= 0 else ' to '}{number(study, interval.high)}"


def unit(study: Study) -> str:
    """The answer's unit, with a space before it where there is one."""
    return f" {study.record.unit}" if study.record.unit else ""


def in_brackets(study: Study) -> str:
    """The answer's unit, in brackets where there is one."""
    return f" ({study.record.unit})" if study.record.unit else ""


def count(value: int, thing: str) -> str:
    """A number of things: "1 trial", "2 trials"."""
    return f"{value:,} {thing}" + ("" if value == 1 else "s")


def error_table(study: Study, records: Sequence[Mapping[str, Any]] | None = None) -> Table:
    """Regimes x budgets. records: seamwise.studies.curves, where they are at hand."""
    cells = {((r["variant"], r["regime"]), r["n"]): r for r in (curves(study) if records is None else records)}
    budgets = study.record.budgets
    best = {n: min((r["mean"] for (_, at), r in cells.items() if at == n), default=None) for n in budgets}
    several = len({row[0] for row in study.rows if row[1] != "direct"}) > 1
    lines = [
        Line(
            name_of(row),
            tuple(_error_cell(study, row, n, cells.get((row, n)), best[n]) for n in budgets),
            ("direct" if row[1] == "direct" else row[0]) if several else "",
        )
        for row in in_panel_order(study)
    ]
    caption = (
        f"Error of {study.record.answer}{in_brackets(study)} on the test items, "
        f"by labels of {study.record.vary}; below it the 90 % interval. The lowest of each column is bold. "
        f"Without looking: {number(study, study.record.trivial)}."
    )
    return Table(caption, ("regime", *(f"{n:,}" for n in budgets)), tuple(lines))


def _error_cell(study: Study, row: Row, n: int, cell: Mapping[str, Any] | None, best: float | None) -> Cell:
    trials = numbers.planned(study, row, n)
    n_failed = sum(t.status == "failed" for t in trials)
    if cell is None:
        return Cell("failed" if n_failed else "–")
    more = [between(study, Interval(cell["mean"], cell["low"], cell["high"]))]
    if cell["untrained"]:
        more.append(f"{cell['untrained']} of {len(trials)} did not train")
    if n_failed:
        more.append(f"{n_failed} of {len(trials)} failed")
    return Cell(number(study, cell["mean"]), tuple(more), cell["mean"] == best)


def curves_table(study: Study, records: Iterable[Mapping[str, Any]]) -> Table:
    """The figure's data."""
    lines = [
        Line(
            full_name(study, (r["variant"], r["regime"])),
            (
                Cell(f"{r['n']:,}"),
                *(Cell(number(study, r[name])) for name in ("mean", "low", "high")),
                Cell(str(r["untrained"])),
            ),
        )
        for r in records
    ]
    columns = ("regime", f"labels of {study.record.vary}", "error", "90 % from", "90 % to", "did not train")
    return Table("The data of the figure", columns, tuple(lines))


def halvings_table(study: Study, found: Sequence[numbers.Halving]) -> Table:
    """What half of another field's labels costs."""
    lines = [
        Line(
            full_name(study, h.row),
            (
                *(Cell(number(study, e.mean), (between(study, e),)) for e in (h.full, h.half)),
                Cell(_signed(study, h.more.mean), (_signed_ends(study, h.more),), best=h.more.low > 0),
            ),
            f"{h.field}: {h.n_half:,} in place of {h.n:,} labels",
        )
        for h in found
    ]
    caption = (
        f"Error of {study.record.answer}{in_brackets(study)} with all and with half the labels of one other field, at "
        "the largest budget. The difference is paired by seed and test item; bold where it is clearly above 0: there "
        "the other half was worth having."
    )
    return Table(caption, ("regime", "all", "half", "difference"), tuple(lines))


def _signed(study: Study, value: float) -> str:
    return f"{value:+.{n_decimals(study.record.trivial)}f}".replace("-", "−")


def _signed_ends(study: Study, interval: Interval) -> str:
    return f"{_signed(study, interval.low)} to {_signed(study, interval.high)}"


def stages_table(study: Study, found: Sequence[numbers.StageError]) -> Table:
    """Where the errors come from."""
    several = len({s.row[0] for s in found}) > 1
    lines = []
    for s in found:
        own = [f"{v:.{n_decimals(s.trivial)}f}" if v is not None else "–" for v in (s.error, s.on_gold_input)]
        trivial = f"{s.trivial:.{n_decimals(s.trivial)}f}"
        cells = (
            Cell(s.stage, is_number=False),
            Cell(s.field, is_number=False),
            *map(Cell, (*own, trivial)),
            Cell(s.unit, is_number=False),
        )
        lines.append(Line(name_of(s.row), cells, s.row[0] if several else ""))
    caption = (
        "Each stage's error within the chain and, where gold input exists, on gold input: the difference is what "
        "the stages before it cost it. Mean over the seeds, at the largest budget. A chain trained by its answer "
        "alone need not write what a stage's labels say."
    )
    return Table(
        caption, ("regime", "stage", "field", "in the chain", "on gold input", "trivial", "unit"), tuple(lines)
    )


def costs_table(study: Study, found: Sequence[numbers.Cost]) -> Table:
    """What each row costs to train and to run."""
    lines = [
        Line(
            full_name(study, c.row),
            (
                Cell(f"{c.seconds:,.1f}"),
                Cell(f"{c.n_steps:,.0f}"),
                Cell(f"{c.n_parameters:,.0f}"),
                Cell("–" if c.latency_ms is None else f"{c.latency_ms:.2f}"),
            ),
        )
        for c in found
    ]
    caption = (
        "Mean over the seeds, at the largest budget. Trainings that regimes share are counted in full in each. "
        "Latency: one item alone."
    )
    return Table(caption, ("regime", "training, s", "steps", "parameters", "latency, ms"), tuple(lines))


def untrained_table(study: Study) -> Table:
    """Trials that did not train, and why."""
    lines = [_trial_line(study, t, study.untrained[t.id]) for t in study.trials if t.id in study.untrained]
    caption = (
        "Their training error is no better than the trivial predictor's, or clearly above what another regime "
        "reached with the same network. Not to be confused with training well and not generalising."
    )
    return Table(caption, ("regime", "labels", "seed", "why"), tuple(lines))


def failed_table(study: Study) -> Table:
    """Failed trials, with their messages."""
    lines = [_trial_line(study, t, t.message) for t in study.failed]
    return Table(
        "They count in no figure and no table. The same command runs them again.",
        ("regime", "labels", "seed", "message"),
        tuple(lines),
    )


def _trial_line(study: Study, trial: Trial, why: str) -> Line:
    half = numbers.halved_field(study, trial)
    labels = Cell(f"{trial.budget[study.record.vary]:,}", (f"half of {half}",) if half else ())
    return Line(full_name(study, trial.row), (labels, Cell(str(trial.seed)), Cell(why, is_number=False)))
