"""What every figure has in common: colours and symbols of the rows, how a chart looks, and how it becomes a picture.

Colours are those of Okabe & Ito (2008, Color Universal Design), darker or lighter where a page needs contrast;
every row has its own symbol too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seamwise.advice.numbers import name_of, panels
from seamwise.report.parts import Key
from seamwise.runs import Row

Chart = Any
"""An Altair chart. Altair takes a second to import, so that it is imported where it is used."""

Spec = Mapping[str, Any]
"""A chart as Vega-Lite."""

Style = tuple[str, str, str]
"""A row's colour on a light page, on a dark page, and its symbol."""

STYLES: dict[str, Style] = {
    "independent": ("#0072b2", "#58a6e8", "circle"),
    "sequential": ("#45a0d6", "#a3d8f7", "square"),
    "tuned": ("#008f68", "#2fc49a", "triangle-up"),
    "joint": ("#d18b00", "#f0b429", "diamond"),
    "endtoend": ("#c84f00", "#ff8547", "triangle-down"),
}
DIRECT_STYLES: tuple[Style, ...] = (
    ("#b65a8e", "#e9a3cc", "cross"),
    ("#555555", "#c4c4c4", "triangle-right"),
    ("#6f4fb0", "#b9a2ec", "triangle-left"),
)
SYMBOLS = {
    "circle": "●",
    "square": "■",
    "triangle-up": "▲",
    "diamond": "◆",
    "triangle-down": "▼",
    "cross": "✚",
    "triangle-right": "▶",
    "triangle-left": "◀",
}
GREY = "#858585"  # seen on white and on black
HEIGHT_PX, STILL_WIDTH_PX = 300, 600
ROW_PX = 40  # of a chart with one row a way


def styles(rows: Iterable[Row]) -> dict[str, Style]:
    """{a row's name: its colours and symbol}: of every regime, then of the direct networks among the rows."""
    names = list(dict.fromkeys(name_of(row) for found in panels(rows).values() for row in found))
    directs = [name for name in names if name not in STYLES]
    return STYLES | {name: DIRECT_STYLES[i % len(DIRECT_STYLES)] for i, name in enumerate(directs)}


def legend(names: Mapping[str, Style], shown: Iterable[str]) -> list[Key]:
    """The lines of a legend, for those rows that a figure shows."""
    there = set(shown)
    return [Key(SYMBOLS[style[2]], name, i) for i, (name, style) in enumerate(names.items()) if name in there]


def config(names: Mapping[str, Style], dark: bool = False) -> dict[str, Any]:
    """How every chart looks on a light or a dark page."""
    text, line, paper = ("#e3e6e9", "#343a41", "#15181c") if dark else ("#1f2328", "#e4e4e4", "#ffffff")
    soft = "#a0a8b0" if dark else "#5c646d"
    words = {"labelColor": text, "titleColor": soft, "labelFontSize": 12, "titleFontSize": 12}
    axis = {"gridColor": line, "domainColor": GREY, "tickColor": GREY, "titleFontWeight": "normal", "titlePadding": 8}
    axis |= {"titleLimit": 280, "labelLimit": 130}  # px; names may be long
    return {
        "aria": False,  # a chart is one picture to who hears it, and its data are in a table
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": words | axis,
        "legend": words | {"symbolSize": 70, "columnPadding": 16},
        "title": {"color": text, "fontSize": 13, "anchor": "start"},
        "range": {"category": [style[dark] for style in names.values()]},
        "style": {
            "ink": {"color": text, "fontSize": 12},
            "soft": {"color": soft},
            "paper": {"color": paper, "stroke": text, "strokeWidth": 1.2},
            "band": {"stroke": paper},
            "whisker": {"color": text, "strokeWidth": 1.5},
        },
    }


def colour(names: Mapping[str, Style], legend_of: Sequence[str] = ()) -> Chart:
    """The rows' colours. legend_of: the rows in the chart's own legend; a page has another."""
    import altair as alt

    scale = alt.Scale(domain=list(names))
    return alt.Color(field="name", type="nominal", scale=scale, legend=_legend(names, legend_of))


def symbols(names: Mapping[str, Style], legend_of: Sequence[str] = ()) -> Chart:
    """The rows' symbols."""
    import altair as alt

    scale = alt.Scale(domain=list(names), range=[style[2] for style in names.values()])
    return alt.Shape(field="name", type="nominal", scale=scale, legend=_legend(names, legend_of))


def _legend(names: Mapping[str, Style], shown: Sequence[str]) -> Chart:
    import altair as alt

    values = [name for name in names if name in shown]
    return alt.Legend(title=None, orient="bottom", columns=4, symbolOpacity=1, values=values) if shown else None


def labels(title: str, budgets: list[int]) -> Chart:
    """The axis of labels, doubling by doubling."""
    import altair as alt

    axis = alt.Axis(values=budgets, format=",", grid=False, labelOverlap="greedy", labelSeparation=8)
    scale = alt.Scale(type="log", base=2, domain=[budgets[0] / 1.08, budgets[-1] * 1.08], nice=False)
    return alt.X(field="n", type="quantitative", title=title, axis=axis, scale=scale)


def measured_until(n: int) -> Chart:
    """A line where the forecast begins, and its name."""
    import altair as alt

    base = alt.Chart(alt.InlineData(values=[{"n": n, "what": "forecast →"}])).encode(
        alt.X(field="n", type="quantitative")
    )
    rule = base.mark_rule(strokeDash=[1, 4], color=GREY, strokeWidth=1.5)
    text = base.mark_text(style="soft", align="left", baseline="bottom", dx=2, fontSize=11)
    return rule + text.encode(text=alt.Text(field="what", type="nominal"), y=alt.value(-4))


def plain(chart: Chart) -> Spec:
    """A chart as Vega-Lite, without a width. It is not held against the schema, which takes longer than to draw it."""
    found: dict[str, Any] = chart.to_dict(validate=False)
    return {key: value for key, value in found.items() if key not in ("$schema", "config")}


def live(found: Spec) -> dict[str, Any]:
    """As wide as the page lets it."""
    return {**found, "width": "container"}


def still(found: Spec, names: Mapping[str, Style], width_px: int | None = None) -> dict[str, Any]:
    """Dark on white, and as wide as is said."""
    font = "Arial, Liberation Sans, Helvetica, sans-serif"  # as wide where it is shown as where it is measured
    look = {"config": config(names) | {"background": "white", "font": font}, "padding": 12}
    return {**found, **look} | ({} if width_px is None else {"width": width_px})


def svg(found: Spec) -> str:
    """A Vega-Lite chart as an SVG picture."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(dict(found)))
