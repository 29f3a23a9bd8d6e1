"""A study's table as text, for terminals and `print`."""

from io import StringIO

from rich.console import Console
from rich.table import Table

from seamwise.studies import Study


def rich_table(study: Study) -> Table:
    """Regimes down, budgets across: mean error, its interval, and a mark where trials did not train."""
    record = study.record
    table = Table(title=f"{record.task}: error of {record.answer!r} ({record.unit or 'lower is better'}), 90 % interval")
    table.add_column("variant")
    table.add_column("regime")
    for n in record.budgets:
        table.add_column(f"{n:,} {record.vary}", justify="right")
    cells = study.table()
    best = {n: min((cells[r][n].mean for r in cells if n in cells[r]), default=None) for n in record.budgets}
    for row in study.rows:
        line = []
        for n in record.budgets:
            cell = cells[row].get(n)
            if cell is None:
                line.append("failed")
                continue
            untrained = sum(t.id in study.untrained for t in study.at(row, n))
            text = f"{cell.mean:.3f}\n{cell.low:.3f}-{cell.high:.3f}" + (f"\n{untrained} did not train" if untrained else "")
            line.append(f"[bold]{text}[/bold]" if cell.mean == best[n] else text)
        table.add_row(*row, *line)
    table.caption = f"the trivial predictor's error: {record.trivial:.3f}"
    return table


def as_text(study: Study, width: int = 120) -> str:
    """The table as plain text."""
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(rich_table(study))
    return out.getvalue()
