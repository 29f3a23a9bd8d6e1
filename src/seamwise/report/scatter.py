"""The figure of costs beside scores: what a way takes to train and to run, and how well it does."""

from collections.abc import Mapping, Sequence
from typing import Any

from seamwise.advice.numbers import n_decimals, name_of, panels
from seamwise.advice.records import Advice, Expense
from seamwise.report.figures import Chart, colour, styles, symbols
from seamwise.report.tables import of_answer
from seamwise.runs import Study

HEIGHT_PX = 240
TITLES = {"seconds": "seconds to train", "latency_ms": "milliseconds an item"}


def cost_records(study: Study, advice: Advice) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """{(variant, what it costs): cost and error of its rows and of the direct networks}; at least two a panel."""
    found = {}
    for variant, rows in panels(study.rows).items():
        own = [e for e in advice.costs if (e.way.variant, e.way.regime) in rows]
        for what in TITLES:
            records = [_record(e, value) for e in own if (value := getattr(e, what))]
            if len(records) > 1:
                found[variant, what] = records
    return found


def _record(told: Expense, cost: float) -> dict[str, Any]:
    way, error = told.way, told.error
    row = {"variant": way.variant, "regime": way.regime, "name": name_of((way.variant, way.regime))}
    return row | {"cost": cost, "mean": error.mean, "low": error.low, "high": error.high}


def cost_charts(study: Study, records: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> list[Chart]:
    """One a panel, errors on the same axis."""
    import altair as alt

    highest = 1.05 * max((r["high"] for own in records.values() for r in own), default=1.0)
    title = f"error of {study.record.answer}{of_answer(study).in_brackets}"
    scale = alt.Scale(domain=[0, highest], nice=False)
    y = alt.Y(field="low", type="quantitative", title=title, scale=scale, axis=alt.Axis(tickCount=5))
    return [_chart(study, what, own, y) for (_, what), own in records.items()]


def _chart(study: Study, what: str, own: Sequence[Mapping[str, Any]], y: Chart) -> Chart:
    import altair as alt

    names, costs = styles(study.rows), [r["cost"] for r in own]
    scale = alt.Scale(type="log", domain=[min(costs) / 1.3, max(costs) * 1.3], nice=False)
    axis = alt.Axis(tickCount=4, format="~r", labelOverlap="greedy", grid=False)
    x = alt.X(field="cost", type="quantitative", title=TITLES[what], scale=scale, axis=axis)
    base = alt.Chart(alt.InlineData(values=[dict(r) for r in own])).encode(x, colour(names))
    ends = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y, alt.Y2(field="high"))
    points = base.mark_point(filled=True, size=80, opacity=1).encode(
        alt.Y(field="mean", type="quantitative"), symbols(names), tooltip=_tooltip(study, what)
    )
    return alt.layer(ends, points).properties(height=HEIGHT_PX)


def _tooltip(study: Study, what: str) -> list[Chart]:
    import altair as alt

    number = f".{n_decimals(study.record.trivial)}f"
    return [
        alt.Tooltip(field="variant", type="nominal"),
        alt.Tooltip(field="regime", type="nominal"),
        alt.Tooltip(field="cost", type="quantitative", title=TITLES[what], format=",.3~r"),
        alt.Tooltip(field="mean", type="quantitative", title="error", format=number),
        alt.Tooltip(field="low", type="quantitative", title="90 % from", format=number),
        alt.Tooltip(field="high", type="quantitative", title="90 % to", format=number),
    ]
