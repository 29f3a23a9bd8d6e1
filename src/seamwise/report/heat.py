"""The map of difficulty x labels: which way wins where, and how surely."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seamwise.advice.numbers import name_of
from seamwise.maps import MapCell, MapRow
from seamwise.report.figures import Chart, Style, colour, symbols
from seamwise.report.parts import Cell, Line, Table
from seamwise.report.words import NOTHING, Measure, plain, probability
from seamwise.runs import Row, Study

ROW_PX = 46
CAPTION = (
    "Each cell is a study of its own, on a world as hard as its row says. Colour and symbol: the way with the least "
    "error. The number, and how strong the colour is: the probability that it is the best."
)


def rows_of(found: Iterable[MapRow]) -> list[Row]:
    """Every row that a map compares."""
    return list(dict.fromkeys(row for at in found for cell in at.cells.values() for row in cell.errors))


def way_name(row: Row, rows: Sequence[Row]) -> str:
    """A row's name on a map: with its variant, where there are several."""
    several = len({variant for variant, regime in rows if regime != "direct"}) > 1
    return f"{row[0]}: {row[1]}" if several and row[1] != "direct" else name_of(row)


def map_records(found: Sequence[MapRow]) -> dict[str, list[dict[str, Any]]]:
    """{setting: its cells}: value, n, the way that wins, its probability, and the ways that are not clearly worse."""
    rows = rows_of(found)
    return {
        setting: [_record(at, cell, rows) for at in found if at.setting == setting for cell in at.cells.values()]
        for setting in dict.fromkeys(at.setting for at in found if at.cells)
    }


def _record(at: MapRow, cell: MapCell, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "value": at.value,
        "n": cell.n,
        "way": way_name(cell.best, rows),
        "name": name_of(cell.best),
        "p": cell.probability,
        "said": probability(cell.probability),
        "close": ", ".join(way_name(row, rows) for row in cell.close) or NOTHING,
    }


def map_chart(names: Mapping[str, Style], setting: str, own: Sequence[Mapping[str, Any]], study: Study) -> Chart:
    """A setting's values down, budgets across."""
    import altair as alt

    x = alt.X(
        field="n",
        type="ordinal",
        title=f"labels of {study.record.vary}",
        axis=alt.Axis(format=",", labelAngle=0, labelOverlap="greedy", ticks=False, domain=False),
    )
    y = alt.Y(field="value", type="ordinal", title=setting, sort="descending", axis=alt.Axis(ticks=False, domain=False))
    base = alt.Chart(alt.InlineData(values=[dict(r) for r in own])).encode(x, y, tooltip=_tooltip(setting))
    strength = alt.Scale(domain=[0, 1], range=[0.05, 0.6])
    cells = base.mark_rect(style="band", strokeWidth=2).encode(
        colour(names), alt.FillOpacity(field="p", type="quantitative", scale=strength, legend=None)
    )
    points = base.mark_point(style="ink", filled=True, size=70, opacity=1, yOffset=-8).encode(symbols(names))
    text = base.mark_text(style="ink", dy=10, fontSize=11).encode(text=alt.Text(field="said", type="nominal"))
    return alt.layer(cells, points, text).properties(height=ROW_PX * len({r["value"] for r in own}))


def _tooltip(setting: str) -> list[Chart]:
    import altair as alt

    words = {"way": "best", "said": "with probability", "close": "not clearly worse"}
    return [
        alt.Tooltip(field="value", type="quantitative", title=setting),
        alt.Tooltip(field="n", type="quantitative", title="labels", format=","),
        *(alt.Tooltip(field=f, type="nominal", title=title) for f, title in words.items()),
    ]


def map_table(found: Sequence[MapRow], study: Study) -> Table:
    """The same as a table: what each way's error is at each value, the least of a cell bold."""
    budgets, rows = sorted({n for at in found for n in at.cells}), rows_of(found)
    several = len({at.setting for at in found}) > 1
    lines = [
        Line(
            way_name(row, rows),
            tuple(_cell(at, at.cells.get(n), row, study.record.unit) for n in budgets),
            f"{at.setting if several else found[0].setting} {plain(at.value)}",
        )
        for at in found
        for row in rows
        if any(row in cell.errors for cell in at.cells.values())
    ]
    caption = (
        "Each way's error with its 90 % interval; bold with the probability that it is the best where it is the least, "
        f"and marked where it is not clearly worse; by labels of {study.record.vary}."
    )
    return Table(caption, ("way", *(f"{n:,}" for n in budgets)), tuple(lines))


def _cell(at: MapRow, cell: MapCell | None, row: Row, unit: str) -> Cell:
    if cell is None or row not in cell.errors:
        return Cell(NOTHING, is_number=False)
    measure, error = Measure(at.trivial, unit), cell.errors[row]
    more = [f"{measure.number(error.low)}–{measure.number(error.high)}"]
    if row == cell.best:
        more.append(f"probability {probability(cell.probability)}")
    if row in cell.close:
        more.append("not clearly worse")
    return Cell(measure.number(error.mean), tuple(more), row == cell.best)
