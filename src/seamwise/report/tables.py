"""The tables of a study: errors by row and budget, and what failed."""

from collections.abc import Mapping, Sequence
from typing import Any

from seamwise.advice.numbers import in_panel_order, name_of, planned
from seamwise.advice.records import Advice, FailedTrial
from seamwise.bootstrap import Interval
from seamwise.report.parts import Cell, Line, Table
from seamwise.report.words import NOTHING, Measure, count
from seamwise.runs import Row, Study, curves

MOST_LINES = 16  # of trials that failed; more are folded away
OF_DIRECT = "direct networks"  # the group under which they stand where there are several variants


def of_answer(study: Study) -> Measure:
    """How errors of the answer are written."""
    return Measure(study.record.trivial, study.record.unit)


def group_of(study: Study, row: Row) -> str:
    """Under which name a row stands in a table: its variant, where there are several."""
    several = len({variant for variant, regime in study.rows if regime != "direct"}) > 1
    return "" if not several else OF_DIRECT if row[1] == "direct" else row[0]


def error_table(study: Study, records: Sequence[Mapping[str, Any]] | None = None) -> Table:
    """Regimes x budgets. records: seamwise.runs.curves, where they are at hand."""
    cells = {((r["variant"], r["regime"]), r["n"]): r for r in (curves(study) if records is None else records)}
    record, measure = study.record, of_answer(study)
    best = {n: min((r["mean"] for (_, at), r in cells.items() if at == n), default=None) for n in record.budgets}
    lines = [
        Line(
            name_of(row),
            tuple(_error_cell(study, row, n, cells.get((row, n)), best[n]) for n in record.budgets),
            group_of(study, row),
        )
        for row in in_panel_order(study)
    ]
    caption = (
        f"Error of {record.answer}{measure.in_brackets} on the test items, "
        f"by labels of {record.vary}; below it the 90 % interval. The lowest of each column is bold. "
        f"Without looking: {measure.number(record.trivial)}."
    )
    return Table(caption, ("regime", *(f"{n:,}" for n in record.budgets)), tuple(lines))


def _error_cell(study: Study, row: Row, n: int, cell: Mapping[str, Any] | None, best: float | None) -> Cell:
    trials, measure = planned(study, row, n), of_answer(study)
    n_failed = sum(t.status == "failed" for t in trials)
    if cell is None:
        return Cell("failed" if n_failed else NOTHING)
    more = [measure.between(Interval(cell["mean"], cell["low"], cell["high"]))]
    if cell["untrained"]:
        more.append(f"{cell['untrained']} of {len(trials)} did not train")
    if n_failed:
        more.append(f"{n_failed} of {len(trials)} failed")
    return Cell(measure.number(cell["mean"]), tuple(more), cell["mean"] == best)


def curves_table(study: Study, records: Sequence[Mapping[str, Any]]) -> Table:
    """The data of the learning curves: what was measured, and what is forecast beyond it."""
    measure = of_answer(study)
    several = len({r["variant"] for r in records if r["regime"] != "direct"}) > 1
    lines = [
        Line(
            f"{r['variant']}: {r['name']}" if several and r["regime"] != "direct" else r["name"],
            (
                Cell(f"{r['n']:,}"),
                *(Cell(measure.number(r[name])) for name in ("mean", "low", "high")),
                Cell(str(r["untrained"]) if r["part"] == "measured" else NOTHING),
                Cell(r["part"], is_number=False),
            ),
        )
        for r in records
    ]
    columns = ("regime", f"labels of {study.record.vary}", "error", "90 % from", "90 % to", "did not train", "")
    return Table("The data of the figure", columns, tuple(lines), folded="The data of the figure")


def failed_tables(study: Study, advice: Advice) -> list[Table]:
    """Trials that failed, and those that did not train: each a table, where there are any."""
    kinds = {
        "failed": "Trials that failed. They count in no figure and no table. The same command runs them again.",
        "did not train": "Trials that did not train: their training error is no better than the trivial predictor's, "
        "or clearly above what another regime reached with the same network. That is not the same as training well "
        "and not generalising.",
    }
    found = (_failed_table(study, [t for t in advice.failed_trials if t.status == s], kinds[s], s) for s in kinds)
    return [table for table in found if table.lines]


def _failed_table(study: Study, trials: Sequence[FailedTrial], caption: str, status: str) -> Table:
    """One line for the seeds of a way that went the same way."""
    seeds: dict[tuple[str, int, str], set[int]] = {}
    for t in trials:
        seeds.setdefault((t.way.name, t.n, t.why), set()).add(t.seed)
    lines = [
        Line(name, (Cell(f"{n:,}"), Cell(", ".join(map(str, sorted(own)))), Cell(why, is_number=False)))
        for (name, n, why), own in seeds.items()
    ]
    columns = ("way", f"labels of {study.record.vary}", "seeds", "why")
    folded = f"{count(len(trials), 'trial')} that {status}" if len(lines) > MOST_LINES else ""
    return Table(caption, columns, tuple(lines), folded)
