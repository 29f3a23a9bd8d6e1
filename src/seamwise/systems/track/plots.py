"""The plots of OTB: how often a tracker overlaps by more, and how often it is at most so far away."""

from collections.abc import Mapping
from typing import Any

from seamwise.errors import InputError
from seamwise.report.figures import GREY, HEIGHT_PX, Chart, Style, plain, still, svg
from seamwise.systems.track.protocol import ERRORS_PX, OVERLAPS, QUOTED_PX, Curves

WIDTH_PX = 420
COLOURS = ("#0072b2", "#c84f00", "#008f68", "#b65a8e", "#d18b00", "#45a0d6", "#6f4fb0", "#555555")  # Okabe & Ito 2008
DASHES: tuple[list[int], ...] = ([], [6, 3], [2, 2], [8, 3, 2, 3])


def success_svg(trackers: Mapping[str, Curves]) -> str:
    """{name: curves} as an SVG picture; each named with its AUC, the best first. Raises InputError without any."""
    order = _ranked({name: own.auc for name, own in trackers.items()})
    records = [
        {"name": order[name], "x": float(x), "y": float(y)}
        for name, own in trackers.items()
        for x, y in zip(OVERLAPS, own.success, strict=True)
    ]
    return _svg(records, list(order.values()), "overlap greater than", "share of frames", None)


def precision_svg(trackers: Mapping[str, Curves]) -> str:
    """{name: curves} as an SVG picture; each named with its precision at 20 px, the best first.

    Raises InputError without any.
    """
    order = _ranked({name: own.precision_20 for name, own in trackers.items()})
    records = [
        {"name": order[name], "x": float(x), "y": float(y)}
        for name, own in trackers.items()
        for x, y in zip(ERRORS_PX, own.precision, strict=True)
    ]
    return _svg(records, list(order.values()), "middle at most so far away (px)", "share of frames", QUOTED_PX)


def _ranked(figures: Mapping[str, float]) -> dict[str, str]:
    """{name: as the legend has it}, the greatest figure first."""
    if not figures:
        raise InputError("no curve to draw", expected="at least one tracker's")
    return {name: f"{name} [{figures[name]:.3f}]" for name in sorted(figures, key=lambda name: -figures[name])}


def _svg(records: list[dict[str, Any]], names: list[str], x: str, y: str, quoted: float | None) -> str:
    import altair as alt

    end = max(r["x"] for r in records)
    lines = alt.Chart(alt.InlineData(values=records)).mark_line(strokeWidth=2, clip=True)
    chart = lines.encode(
        alt.X(field="x", type="quantitative", title=x, scale=alt.Scale(domain=[0, end], nice=False)),
        alt.Y(field="y", type="quantitative", title=y, scale=alt.Scale(domain=[0, 1])),
        alt.Color(field="name", type="nominal", scale=alt.Scale(domain=names), legend=_legend(names)),
        alt.StrokeDash(field="name", type="nominal", scale=_dashes(names), legend=_legend(names)),
    )
    layers = [chart] if quoted is None else [_mark(quoted), chart]
    drawn = still(plain(alt.layer(*layers).properties(height=HEIGHT_PX)), _styles(names), WIDTH_PX)
    return svg(drawn)


def _legend(names: list[str]) -> Chart:
    import altair as alt

    return alt.Legend(title=None, orient="bottom", columns=2, values=names, labelLimit=WIDTH_PX // 2, symbolSize=300)


def _dashes(names: list[str]) -> Chart:
    """Another pattern where the colours begin again."""
    import altair as alt

    return alt.Scale(domain=names, range=[DASHES[k // len(COLOURS) % len(DASHES)] for k in range(len(names))])


def _mark(x: float) -> Chart:
    import altair as alt

    data = alt.InlineData(values=[{"x": x}])
    return alt.Chart(data).mark_rule(strokeDash=[5, 4], color=GREY).encode(alt.X(field="x", type="quantitative"))


def _styles(names: list[str]) -> dict[str, Style]:
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(names))]
    return {name: (colour, colour, "circle") for name, colour in zip(names, colours, strict=True)}
