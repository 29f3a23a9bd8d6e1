"""The figure of who is probably the best, over labels: bands as high as the probabilities."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any

from seamwise.advice.numbers import name_of, panels
from seamwise.advice.records import Advice, Outlook
from seamwise.report.figures import HEIGHT_PX, ROW_PX, Chart, colour, labels, measured_until, styles, symbols
from seamwise.report.words import probability
from seamwise.runs import Study

OPACITY = {"measured": 0.85, "forecast": 0.5, "doubtful": 0.2}
ENOUGH = 0.5  # of the probability has to rest on forecasts that can be relied on
LEAST = 0.01  # below it a way is not in the legend
SEEN = 0.08  # the height from which a band carries its row's symbol

Records = Sequence[Mapping[str, Any]]


def likely_records(study: Study, advice: Advice) -> dict[str, list[dict[str, Any]]]:
    """{variant: its rows and the direct networks' at every budget}: `p`, and the band from `low` to `high`.

    part: "measured", "forecast", or "doubtful" where that row's forecast is not to be relied on. It ends where ways
    whose forecasts are not to be relied on are more probably the best than the others.
    """
    names = list(styles(study.rows))
    last = max((o.n for o in advice.p_best if o.measured), default=0)
    ends = list(takewhile(lambda n: n <= last or _relied_on(advice, n) >= ENOUGH, sorted(advice.at)))
    found = {}
    for variant, rows in panels(study.rows).items():
        own = [o for o in advice.p_best if (o.way.variant, o.way.regime) in rows and o.n in ends]
        bands = [b for n in ends for b in _bands([o for o in own if o.n == n], names, last)]
        if bands:
            found[variant] = bands
    return found


def _relied_on(advice: Advice, n: int) -> float:
    """The probability that the best at a budget is a way whose error there is known, or well forecast."""
    return sum(o.p_best for o in advice.p_best if o.n == n and not o.abstained)


def _bands(at: list[Outlook], names: list[str], last: int) -> Iterator[dict[str, Any]]:
    """The rows of one panel at one budget, one upon the other."""
    low = 0.0
    for told in sorted(at, key=lambda o: names.index(name_of((o.way.variant, o.way.regime)))):
        way, high = told.way, low + told.p_best
        part = "measured" if told.n <= last else "doubtful" if told.abstained else "forecast"
        row = {"variant": way.variant, "regime": way.regime, "name": name_of((way.variant, way.regime))}
        yield row | {"n": told.n, "p": told.p_best, "low": low, "high": high, "part": part}
        low = high


def likely_charts(study: Study, records: Mapping[str, Records]) -> dict[str, Chart]:
    """{variant: its chart}."""
    budgets = sorted({r["n"] for own in records.values() for r in own})
    draw = _areas if len(budgets) > 1 else _bars
    return {v: draw(study, own, budgets) for v, own in records.items()}


def _areas(study: Study, own: Records, budgets: list[int]) -> Chart:
    import altair as alt

    names, last = styles(study.rows), max((r["n"] for r in own if r["part"] == "measured"), default=0)
    x, y = labels(f"labels of {study.record.vary}", budgets), _share("y", "low")
    areas = alt.Chart(alt.InlineData(values=list(_series(own)))).mark_area(style="band", strokeWidth=1)
    areas = areas.encode(
        x,
        y,
        alt.Y2(field="high"),
        colour(names),
        alt.Opacity(field="opacity", type="quantitative", scale=None, legend=None),
        alt.Detail(field="series", type="nominal"),
    )
    seen = [dict(r) | {"middle": (r["low"] + r["high"]) / 2, "said": probability(r["p"])} for r in own if r["p"] > SEEN]
    points = alt.Chart(alt.InlineData(values=seen)).mark_point(style="paper", filled=True, size=60, opacity=1)
    points = points.encode(x, _share("y", "middle"), symbols(names), tooltip=_tooltip())
    layers = [areas, points, *([measured_until(last)] if budgets[-1] > last else [])]
    return alt.layer(*layers).properties(height=HEIGHT_PX)


def _series(own: Records) -> Iterator[dict[str, Any]]:
    """Each row's points, again and again: between two budgets a band looks as the later one's part says."""
    for name in dict.fromkeys(r["name"] for r in own):
        start = 0
        row = [r for r in own if r["name"] == name]
        for k, (before, after) in enumerate(pairwise(row)):
            if k and after["part"] != before["part"]:
                start = k
            if before["p"] + after["p"] > 0:
                series = f"{name} {after['part']} {start}"
                yield from (
                    dict(r) | {"part": after["part"], "series": series, "opacity": OPACITY[after["part"]]}
                    for r in (before, after)
                )


def _bars(study: Study, own: Records, budgets: list[int]) -> Chart:
    import altair as alt

    names = styles(study.rows)
    values = [dict(r) | {"none": 0, "said": probability(r["p"])} for r in own]
    y = alt.Y(field="name", type="nominal", title=None, sort=list(names), axis=alt.Axis(labelLimit=130))
    base = alt.Chart(alt.InlineData(values=values)).encode(y)
    bars = base.mark_bar(height=14).encode(_share("x", "none"), alt.X2(field="p"), colour(names), tooltip=_tooltip())
    text = base.mark_text(align="left", dx=6, style="ink").encode(
        _share("x", "p"), text=alt.Text(field="said", type="nominal")
    )
    return alt.layer(bars, text).properties(height=ROW_PX * len(own))


def _share(axis: str, field: str) -> Chart:
    import altair as alt

    channel = alt.X if axis == "x" else alt.Y
    scale = alt.Scale(domain=[0, 1 if axis == "y" else 1.12], nice=False)
    shown = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".0%")
    return channel(field=field, type="quantitative", title="probability of being the best", scale=scale, axis=shown)


def _tooltip() -> list[Chart]:
    import altair as alt

    return [
        alt.Tooltip(field="variant", type="nominal"),
        alt.Tooltip(field="regime", type="nominal"),
        alt.Tooltip(field="n", type="quantitative", title="labels", format=","),
        alt.Tooltip(field="said", type="nominal", title="probability of being the best"),
        alt.Tooltip(field="part", type="nominal", title="how"),
    ]
