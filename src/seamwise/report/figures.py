"""The learning curves as charts: for the page (Vega-Lite, drawn there) and still (SVG, PNG).

Colours are those of Okabe & Ito (2008, Color Universal Design), darker or lighter where a page needs contrast;
every row has its own symbol too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from seamwise.advice.numbers import in_panel_order, n_decimals, name_of, panels
from seamwise.errors import RunError
from seamwise.runs import Row, Study, curves

Curves = Sequence[Mapping[str, Any]]
"""Records as seamwise.studies.curves returns them."""

Chart = Any
"""An Altair chart. Altair takes a second to import, so that it is imported where it is used."""

#                light page, dark page, symbol
STYLES = {
    "independent": ("#0072b2", "#58a6e8", "circle"),
    "sequential": ("#45a0d6", "#a3d8f7", "square"),
    "tuned": ("#008f68", "#2fc49a", "triangle-up"),
    "joint": ("#d18b00", "#f0b429", "diamond"),
    "endtoend": ("#c84f00", "#ff8547", "triangle-down"),
}
DIRECT_STYLES = (
    ("#b65a8e", "#e9a3cc", "cross"),
    ("#555555", "#c4c4c4", "triangle-right"),
    ("#6f4fb0", "#b9a2ec", "triangle-left"),
)
GREY = "#858585"  # seen on white and on black
HEIGHT_PX, STILL_WIDTH_PX = 300, 380


def styles(study: Study) -> dict[str, tuple[str, str, str]]:
    """{a row's name: its colour on a light page, on a dark page, its symbol}, in the order of the legend."""
    names = list(dict.fromkeys(name_of(row) for rows in panels(study.rows).values() for row in rows))
    regimes = {name: STYLES[name] for name in STYLES if name in names}
    directs = [name for name in names if name not in STYLES]
    return regimes | {name: DIRECT_STYLES[i % len(DIRECT_STYLES)] for i, name in enumerate(directs)}


def config(study: Study, dark: bool = False) -> dict[str, Any]:
    """How every chart looks on a light or a dark page."""
    text, line = ("#d8d8d8", "#3c3c3c") if dark else ("#333333", "#e4e4e4")
    words = {"labelColor": text, "titleColor": text, "labelFontSize": 12, "titleFontSize": 12}
    axis = {"gridColor": line, "domainColor": GREY, "tickColor": GREY, "titleFontWeight": "normal", "titlePadding": 8}
    return {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "view": {"stroke": None},
        "axis": words | axis,
        "legend": words | {"symbolSize": 70, "columnPadding": 16},
        "title": {"color": text, "fontSize": 13, "anchor": "start"},
        "range": {"category": [style[dark] for style in styles(study).values()]},
    }


def charts(study: Study, records: Curves) -> dict[str, dict[str, Any]]:
    """{variant: its chart as Vega-Lite}, as wide as the page lets it; nothing where no trial is finished."""
    drawn = {v: [r for r in records if _row(r) in rows] for v, rows in panels(study.rows).items()}
    return {v: _spec(_panel(study, own, records, live=True)) for v, own in drawn.items() if own}


def still(study: Study, records: Curves) -> dict[str, Any]:
    """All panels side by side with one legend, as Vega-Lite, dark on white. Raises RunError without a curve."""
    import altair as alt

    if not records:
        raise RunError(f"{study.run}: no curve to draw", given="no finished trial")
    drawn = []
    for variant, rows in panels(study.rows).items():
        own = [r for r in records if _row(r) in rows]
        if own:
            drawn.append(_panel(study, own, records, live=False).properties(title=variant))
    if len(drawn) == 1:
        drawn[0].title = alt.Undefined
    spec = _spec(alt.concat(*drawn, columns=2))
    font = "Arial, Liberation Sans, Helvetica, sans-serif"  # as wide where it is shown as where it is measured
    return spec | {"config": config(study) | {"background": "white", "font": font}, "padding": 12}


def svg(spec: Mapping[str, Any]) -> str:
    """A Vega-Lite chart as an SVG picture."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(dict(spec)))


def curves_svg(study: Study) -> str:
    """The learning curves as an SVG picture. Raises RunError where no trial is finished."""
    return svg(still(study, curves(study)))


def curves_png(study: Study, scale: float = 2.0) -> bytes:
    """The learning curves as a PNG picture, `scale` pixels a point. Raises RunError where no trial is finished."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(still(study, curves(study)), scale=scale))


def _row(record: Mapping[str, Any]) -> Row:
    return record["variant"], record["regime"]


def _spec(chart: Chart) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict()
    return {key: value for key, value in spec.items() if key not in ("$schema", "config")}


def _panel(study: Study, own: Curves, everything: Curves, live: bool) -> Chart:
    """One variant's rows: curves over the budgets, or one mark a row where there is but one budget."""
    import altair as alt

    order = in_panel_order(study)
    own = sorted(own, key=lambda r: (order.index(_row(r)), r["n"]))
    data = alt.InlineData(values=[dict(r) | {"name": name_of(_row(r)), "hollow": r["untrained"] > 0} for r in own])
    few = len({r["n"] for r in everything}) == 1
    draw = _marks if few else _lines
    chart = draw(study, data, everything, live).properties(height=HEIGHT_PX)
    return chart.properties(width="container" if live else STILL_WIDTH_PX)


def _lines(study: Study, data: Chart, everything: Curves, live: bool) -> Chart:
    import altair as alt

    budgets = sorted({r["n"] for r in everything})
    axis = alt.Axis(values=budgets, format=",", grid=False, labelOverlap="greedy")
    scale = alt.Scale(type="log", base=2, domain=[budgets[0] / 1.08, budgets[-1] * 1.08], nice=False)
    x = alt.X(field="n", type="quantitative", title=f"labels of {study.record.vary}", axis=axis, scale=scale)
    base = alt.Chart(data).encode(x, _colour(study, live))
    chosen = alt.selection_point("chosen", on="pointerover", clear="pointerout", fields=["name"]) if live else None
    band = base.mark_area(clip=True).encode(_error(study, everything, "y", "low"), alt.Y2(field="high"))
    line = base.mark_line(strokeWidth=2).encode(_error(study, everything, "y", "mean"))
    points = _points(base.encode(_error(study, everything, "y", "mean")), study, live)
    if chosen is None:
        return alt.layer(_trivial(study, "y", live), band.encode(opacity=alt.value(0.14)), line, points)
    band = band.encode(opacity=alt.condition(chosen, alt.value(0.14), alt.value(0.02)))
    line = line.encode(opacity=alt.condition(chosen, alt.value(1), alt.value(0.2)))
    return alt.layer(_trivial(study, "y", live), band, line, points.add_params(chosen))


def _marks(study: Study, data: Chart, everything: Curves, live: bool) -> Chart:
    import altair as alt

    y = alt.Y(field="name", type="nominal", title=None, sort=list(styles(study)))
    base = alt.Chart(data).encode(y, _colour(study, live))
    bars = base.mark_rule(strokeWidth=2).encode(_error(study, everything, "x", "low"), alt.X2(field="high"))
    points = _points(base.encode(_error(study, everything, "x", "mean")), study, live)
    return alt.layer(_trivial(study, "x", live), bars, points)


def _points(base: Chart, study: Study, live: bool) -> Chart:
    """A symbol a row, hollow where trials did not train."""
    import altair as alt

    names = styles(study)
    hollow = alt.condition("datum.hollow", alt.value(0), alt.value(1))
    symbols = alt.Scale(domain=list(names), range=[style[2] for style in names.values()])
    shape = alt.Shape(field="name", type="nominal", scale=symbols, legend=_legend(live))
    edge = alt.Stroke(field="name", type="nominal", scale=alt.Scale(domain=list(names)), legend=None)
    points = base.mark_point(filled=True, size=70, strokeWidth=1.8, opacity=1)
    return points.encode(shape, edge, fillOpacity=hollow, tooltip=_tooltip(study))


def _tooltip(study: Study) -> list[Chart]:
    import altair as alt

    number = f".{n_decimals(study.record.trivial)}f"
    words = {"variant": "variant", "regime": "regime"}
    numbers = {"mean": "error", "low": "90 % from", "high": "90 % to"}
    return [
        *(alt.Tooltip(field=f, type="nominal", title=title) for f, title in words.items()),
        alt.Tooltip(field="n", type="quantitative", title="labels", format=","),
        *(alt.Tooltip(field=f, type="quantitative", title=title, format=number) for f, title in numbers.items()),
        alt.Tooltip(field="untrained", type="quantitative", title="did not train"),
    ]


def _trivial(study: Study, axis: str, live: bool) -> Chart:
    """The trivial predictor's error, dashed, on the axis of errors; named where the page's legend does not."""
    import altair as alt

    data = alt.InlineData(values=[{"error": study.record.trivial, "what": "without looking"}])
    base = alt.Chart(data).encode((alt.X if axis == "x" else alt.Y)(field="error", type="quantitative"))
    rule = base.mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.5)
    if live:
        return rule
    at: dict[str, Any] = (
        {"x": "width", "dx": 5, "align": "left"} if axis == "y" else {"y": 0, "dy": -5, "baseline": "bottom"}
    )
    return rule + base.mark_text(color=GREY, fontSize=11, **at).encode(text=alt.Text(field="what", type="nominal"))


def _colour(study: Study, live: bool) -> Chart:
    import altair as alt

    return alt.Color(field="name", type="nominal", scale=alt.Scale(domain=list(styles(study))), legend=_legend(live))


def _legend(live: bool) -> Chart:
    """None on the page, which has its own legend."""
    import altair as alt

    return None if live else alt.Legend(title=None, orient="bottom", columns=4, symbolOpacity=1)


def _error(study: Study, everything: Curves, axis: str, field: str) -> Chart:
    """The axis of errors, the same in every panel."""
    import altair as alt

    record = study.record
    title = f"error of {record.answer}" + (f" ({record.unit})" if record.unit else "")
    scale = alt.Scale(domain=[0, highest(study, everything)], nice=False, clamp=True)
    channel = alt.X if axis == "x" else alt.Y
    return channel(field=field, type="quantitative", title=title, scale=scale, axis=alt.Axis(tickCount=6))


def highest(study: Study, records: Curves) -> float:
    """Where the axis of errors ends: above all, but at most at twice the trivial predictor's error."""
    trivial, most = study.record.trivial, max((float(r["high"]) for r in records), default=0.0)
    return 1.08 * (max(trivial, min(most, 2 * trivial)) if trivial > 0 else most or 1.0)
