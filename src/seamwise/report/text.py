"""A study's table as text, for terminals and `print`."""

from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seamwise.advice.numbers import full_name, in_panel_order
from seamwise.report import tables
from seamwise.report.parts import Cell
from seamwise.runs import Study


def rich_table(study: Study) -> Table:
    """Regimes down, budgets across: mean error, its interval, and how many trials did not train or failed."""
    record, measure = study.record, tables.of_answer(study)
    title = f"{record.task}: error of {record.answer!r}{measure.in_brackets} by labels of {record.vary!r}"
    table = Table(title=escape(title), box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("regime", no_wrap=True)
    for n in record.budgets:
        table.add_column(f"{n:,}", justify="right", overflow="fold")
    for row, line in zip(in_panel_order(study), tables.error_table(study).lines, strict=True):
        table.add_row(escape(full_name(study, row)), *map(_cell, line.cells))
    table.caption = f"below each error its 90 % interval; without looking: {measure.number(record.trivial)}"
    return table


def _cell(cell: Cell) -> str:
    text = escape("\n".join((cell.text, *cell.more)))
    return f"[bold]{text}[/bold]" if cell.best else text


def as_text(study: Study, width: int = 120) -> str:
    """The table as plain text."""
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(rich_table(study))
    return out.getvalue()
