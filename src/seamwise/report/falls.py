"""The figure of what each stage costs: from a chain's error down, stage by stage, to what is left."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import final

from seamwise.advice.records import Chained, StageCost
from seamwise.report.figures import GREY, Chart, Style, colour
from seamwise.report.parts import Cell, Line, Table
from seamwise.report.words import NOTHING, Measure

ROW_PX = 30
ROOM = 1.35  # beyond the longest bar, for the numbers
LOOKS = {"whole": (0.9, 0), "fall": (0.5, 0), "rise": (0.5, 1), "refused": (0, 1), "rest": (0.9, 0)}
"""How a step is filled, and how thick its edge is."""
Span = tuple[float, float]
CAPTION = (
    "The topmost bar is the chain's error on the test items with all labels. Each step below it is how much that falls "
    "when one stage's true output is put in its place, those before it being true already; the last bar is what is "
    "left then. Thin lines: 90 % intervals."
)
WHOLE, LEFT, UNTOLD = "the whole chain", "left with these true", "not told apart"


@final
@dataclass(frozen=True)
class Step:
    """A bar from `start` to `end`, with its interval where there is one. kind: whole, fall, rise, rest or refused."""

    label: str
    kind: str
    start: float
    end: float
    low: float
    high: float
    said: str


def steps(chained: Chained, stages: Sequence[StageCost], measure: Measure) -> list[Step]:
    """A chain's error, what it falls by as one stage after the other is put right, and what is left.

    The falls and what is left add up to the chain's error on the items that have all the gold, unless a pin is
    refused.
    """
    error = chained.start or chained.error
    level = error.mean
    found = [Step(WHOLE, "whole", 0.0, level, error.low, error.high, measure.number(level))]
    for cost in stages:
        fall = cost.pinned
        if fall is None and not cost.refused:  # it was not pinned, as the stage that writes the answer never is
            continue
        if fall is None:
            found.append(Step(cost.stage, "refused", level, level, level, level, "refused"))
            continue
        kind, end = ("fall" if fall.mean >= 0 else "rise"), level - fall.mean
        ends = (level - fall.high, level - fall.low)
        found.append(Step(cost.stage, kind, level, end, *ends, measure.signed(-fall.mean)))
        level = end
    rest = chained.rest
    if rest is not None:
        if any(cost.refused for cost in stages):
            found.append(Step(UNTOLD, "refused", level, rest.mean, level, level, measure.signed(rest.mean - level)))
        found.append(Step(LEFT, "rest", 0.0, rest.mean, rest.low, rest.high, measure.number(rest.mean)))
    return _apart(found)


def _apart(found: list[Step]) -> list[Step]:
    """Two steps of one name (a stage may be called anything) told apart by an invisible mark."""
    labels: list[str] = []
    for step in found:
        label = step.label
        while label in labels:
            label += "\u200b"
        labels.append(label)
    return [Step(**asdict(step) | {"label": label}) for step, label in zip(found, labels, strict=True)]


def falls_table(found: Mapping[str, Sequence[Step]], measure: Measure) -> Table:
    """The data of the figure."""
    lines = [
        Line(step.label, (Cell(step.said), Cell(_ends(step, measure)), Cell(measure.number(step.end))), name)
        for name, own in found.items()
        for step in own
    ]
    columns = ("step", "error, or its change", "90 % interval", "error then")
    return Table("The data of the figure", columns, tuple(lines), folded="The data of the figure")


def _ends(step: Step, measure: Measure) -> str:
    if step.kind == "refused":
        return NOTHING
    if step.kind in ("whole", "rest"):
        return f"{measure.number(step.low)} to {measure.number(step.high)}"
    return f"{measure.signed(step.low - step.start)} to {measure.signed(step.high - step.start)}"


def span_of(found: Iterable[Sequence[Step]]) -> Span:
    """The axis of errors on which several waterfalls stand."""
    steps_ = [step for own in found for step in own]
    return min(0.0, *(s.end for s in steps_)), ROOM * max(max(s.high, s.start, s.end) for s in steps_)


def fall_chart(found: Sequence[Step], names: Mapping[str, Style], name: str, span: Span, title: str) -> Chart:
    """A waterfall in the colour of the row `name`. span: where the axis of errors begins and ends."""
    import altair as alt

    looks = {kind: {"opacity": opacity, "edge": edge} for kind, (opacity, edge) in LOOKS.items()}
    values = [asdict(step) | looks[step.kind] | {"name": name} for step in found]
    scale = alt.Scale(domain=list(span), nice=False, clamp=True)
    axis = alt.Axis(labelLimit=130, ticks=False, domain=False, labelPadding=8)
    y = alt.Y(field="label", type="nominal", sort=[step.label for step in found], title=None, axis=axis)
    x = alt.X(field="start", type="quantitative", scale=scale, title=title, axis=alt.Axis(tickCount=5))
    base = alt.Chart(alt.InlineData(values=values)).encode(y)
    bars = base.mark_bar(height=16, stroke=GREY, strokeDash=[3, 3]).encode(
        x,
        alt.X2(field="end"),
        colour(names),
        alt.FillOpacity(field="opacity", type="quantitative", scale=None, legend=None),
        alt.StrokeWidth(field="edge", type="quantitative", scale=None, legend=None),
        tooltip=_tooltip(),
    )
    ends = base.transform_filter("datum.low < datum.high").mark_rule(style="whisker")
    ends = ends.encode(alt.X(field="low", type="quantitative", scale=scale), alt.X2(field="high"))
    said = base.mark_text(align="right", x="width", style="ink").encode(text=alt.Text(field="said", type="nominal"))
    return alt.layer(bars, ends, said).properties(height=ROW_PX * len(found))


def _tooltip() -> list[Chart]:
    import altair as alt

    return [alt.Tooltip(field=f, type="nominal", title=t) for f, t in {"label": "step", "said": "error"}.items()]
