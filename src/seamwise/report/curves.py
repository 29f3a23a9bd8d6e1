"""The learning curves: for the page, with what is forecast beyond them, and still (SVG, PNG)."""

from collections.abc import Mapping, Sequence
from typing import Any

from seamwise.advice.numbers import in_panel_order, n_decimals, name_of, panels
from seamwise.advice.records import Advice, Outlook
from seamwise.errors import RunError
from seamwise.report.figures import (
    GREY,
    HEIGHT_PX,
    ROW_PX,
    Chart,
    colour,
    labels,
    measured_until,
    plain,
    still,
    styles,
    svg,
    symbols,
)
from seamwise.report.tables import of_answer
from seamwise.runs import Row, Study, curves

Curves = Sequence[Mapping[str, Any]]
"""Records as `curve_records` returns them."""

BAND, FAR_BAND = 0.14, 0.07  # opacity of intervals: measured, forecast
PANEL_PX = 380  # where panels stand side by side


def curve_records(study: Study, advice: Advice | None = None) -> list[dict[str, Any]]:
    """Error and interval by row and budget: part "measured", then "forecast" where advice says what lies beyond.

    Forecasts that abstain are left out.
    """
    order = {row: i for i, row in enumerate(in_panel_order(study))}
    found = [r | {"name": name_of(row_of(r)), "hollow": r["untrained"] > 0, "part": "measured"} for r in curves(study)]
    if advice is not None:
        last = max((r["n"] for r in found), default=0)
        found += [_ahead(o) for o in advice.p_best if o.n > last and not o.measured and o.error and not o.abstained]
    return sorted((r for r in found if row_of(r) in order), key=lambda r: (order[row_of(r)], r["n"]))


def _ahead(told: Outlook) -> dict[str, Any]:
    way, error = told.way, told.error
    assert error is not None
    row = {"variant": way.variant, "regime": way.regime, "name": name_of((way.variant, way.regime)), "n": told.n}
    return (
        row
        | {"mean": error.mean, "low": error.low, "high": error.high}
        | {
            "untrained": 0,
            "hollow": False,
            "part": "forecast",
        }
    )


def row_of(record: Mapping[str, Any]) -> Row:
    """Whose error a record is."""
    return record["variant"], record["regime"]


def by_panel(study: Study, records: Curves) -> dict[str, list[Mapping[str, Any]]]:
    """{variant: the records of its rows and of the direct networks}; a variant without any is left out."""
    found = {v: [r for r in records if row_of(r) in rows] for v, rows in panels(study.rows).items()}
    return {variant: own for variant, own in found.items() if own}


def curve_charts(study: Study, records: Curves) -> dict[str, Chart]:
    """{variant: its chart}; nothing where no trial is finished."""
    return {v: panel(study, own, records) for v, own in by_panel(study, records).items()}


def curves_svg(study: Study) -> str:
    """The learning curves as an SVG picture. Raises RunError where no trial is finished."""
    return svg(side_by_side(study, curve_records(study)))


def curves_png(study: Study, scale: float = 2.0) -> bytes:
    """The learning curves as a PNG picture, `scale` pixels a point. Raises RunError where no trial is finished."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(side_by_side(study, curve_records(study)), scale=scale))


def side_by_side(study: Study, records: Curves) -> dict[str, Any]:
    """All panels with one legend, as Vega-Lite, dark on white. Raises RunError without a curve."""
    import altair as alt

    if not records:
        raise RunError(f"{study.run}: no curve to draw", given="no finished trial")
    parts = by_panel(study, records)
    drawn = [panel(study, own, records, with_legend=True).properties(width=PANEL_PX) for own in parts.values()]
    if len(drawn) > 1:
        drawn = [chart.properties(title=variant) for chart, variant in zip(drawn, parts, strict=True)]
    return still(plain(alt.concat(*drawn, columns=2)), styles(study.rows))


def panel(study: Study, own: Curves, everything: Curves, with_legend: bool = False) -> Chart:
    """One variant's rows: curves over the budgets, or one mark a row where there is but one budget."""
    import altair as alt

    few = len({r["n"] for r in everything}) == 1
    data = alt.InlineData(values=[dict(r) for r in (own if few else [*own, *_joints(own)])])
    draw = _marks if few else _lines
    height = ROW_PX * len(own) if few else HEIGHT_PX
    return draw(study, data, everything, with_legend).properties(height=height)


def _joints(own: Curves) -> list[dict[str, Any]]:
    """The last that was measured of every row that has a forecast, once more: there its dashed line begins."""
    ahead = {row_of(r) for r in own if r["part"] == "forecast"}
    last = {row_of(r): r for r in own if r["part"] == "measured"}
    return [dict(r) | {"part": "joint"} for row, r in last.items() if row in ahead]


def _lines(study: Study, data: Chart, everything: Curves, with_legend: bool) -> Chart:
    import altair as alt

    budgets = sorted({r["n"] for r in everything})
    measured = max((r["n"] for r in everything if r["part"] == "measured"), default=0)
    x = labels(f"labels of {study.record.vary}", budgets)
    base = alt.Chart(data).encode(x, colour(styles(study.rows), _named(everything, with_legend)))
    mean, low = (_error(study, everything, "y", field) for field in ("mean", "low"))
    chosen = alt.selection_point("chosen", on="pointerover", clear="pointerout", fields=["name"])

    def opacity(value: float) -> Chart:
        still = alt.value(value)
        return still if with_legend else alt.condition(chosen, still, alt.value(value / 6))

    layers = [_trivial(study, "y", with_legend)]
    for near, band, dash in ((True, BAND, []), (False, FAR_BAND, [3, 3])):
        part = base.transform_filter(f"(datum.part == 'measured') == {str(near).lower()}")
        layers.append(part.mark_area(clip=True).encode(low, alt.Y2(field="high"), opacity=opacity(band)))
        layers.append(part.mark_line(strokeWidth=2, strokeDash=dash, clip=True).encode(mean, opacity=opacity(1)))
    points = base.transform_filter("datum.part == 'measured'").encode(mean)
    points = _points(points, study, _named(everything, with_legend))
    layers.append(points if with_legend else points.add_params(chosen))
    return alt.layer(*layers, *([measured_until(measured)] if budgets[-1] > measured else []))


def _marks(study: Study, data: Chart, everything: Curves, with_legend: bool) -> Chart:
    import altair as alt

    names = styles(study.rows)
    y = alt.Y(field="name", type="nominal", title=None, sort=list(names), axis=alt.Axis(labelLimit=130))
    base = alt.Chart(data).encode(y, colour(names, _named(everything, with_legend)))
    bars = base.mark_rule(strokeWidth=2).encode(_error(study, everything, "x", "low"), alt.X2(field="high"))
    points = _points(base.encode(_error(study, everything, "x", "mean")), study, _named(everything, with_legend))
    return alt.layer(_trivial(study, "x", with_legend), bars, points)


def _named(everything: Curves, with_legend: bool) -> list[str]:
    return [r["name"] for r in everything] if with_legend else []


def _points(base: Chart, study: Study, legend_of: Sequence[str]) -> Chart:
    """A symbol a row, hollow where trials did not train."""
    import altair as alt

    names = styles(study.rows)
    hollow = alt.condition("datum.hollow", alt.value(0), alt.value(1))
    edge = alt.Stroke(field="name", type="nominal", scale=alt.Scale(domain=list(names)), legend=None)
    points = base.mark_point(filled=True, size=70, strokeWidth=1.8, opacity=1)
    return points.encode(symbols(names, legend_of), edge, fillOpacity=hollow, tooltip=_tooltip(study))


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


def _trivial(study: Study, axis: str, named: bool) -> Chart:
    """The trivial predictor's error, dashed, on the axis of errors; named where the page's legend does not."""
    import altair as alt

    data = alt.InlineData(values=[{"error": study.record.trivial, "what": "without looking"}])
    base = alt.Chart(data).encode((alt.X if axis == "x" else alt.Y)(field="error", type="quantitative"))
    rule = base.mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.5)
    if not named:
        return rule
    at: dict[str, Any] = (
        {"x": "width", "dx": 5, "align": "left"} if axis == "y" else {"y": 0, "dy": -5, "baseline": "bottom"}
    )
    return rule + base.mark_text(color=GREY, fontSize=11, **at).encode(text=alt.Text(field="what", type="nominal"))


def _error(study: Study, everything: Curves, axis: str, field: str) -> Chart:
    """The axis of errors, the same in every panel."""
    import altair as alt

    title = f"error of {study.record.answer}{of_answer(study).in_brackets}"
    scale = alt.Scale(domain=[0, highest(study, everything)], nice=False, clamp=True)
    channel = alt.X if axis == "x" else alt.Y
    return channel(field=field, type="quantitative", title=title, scale=scale, axis=alt.Axis(tickCount=6))


def highest(study: Study, records: Curves) -> float:
    """Where the axis of errors ends: above all that was measured, but at most at twice the trivial error."""
    measured = [float(r["high"]) for r in records if r["part"] == "measured"]
    trivial, most = study.record.trivial, max(measured, default=0.0)
    return 1.08 * (max(trivial, min(most, 2 * trivial)) if trivial > 0 else most or 1.0)
