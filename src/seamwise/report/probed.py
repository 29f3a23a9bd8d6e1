"""What probes read from each layer, as a figure, a table and sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from seamwise.bootstrap import Interval
from seamwise.look.probing.score import ProbeScore
from seamwise.report.figures import GREY, Chart, Style, colour, legend, symbols
from seamwise.report.parts import Cell, Figure, Key, Line, Panel, Part, Table, Words
from seamwise.report.words import NOTHING, Measure, listed
from seamwise.runs import Study

INPUT = "input"
STAGED = ("independent", "sequential", "tuned", "joint")  # what the others are held against; the first there is
ROW_PX = 22
HALF = 0.5  # of the way from an untrained network to a staged one: from there on a field counts as found
CAPTION = (
    "The error with which a linear probe reads a field from each layer, in the order of the layers, with its 90 % "
    "interval. Hollow: the same layer before training. Cross: the same probe on labels drawn at random for each type "
    "of input; a field is in a layer only so far as it is read better than these. Dashed: without looking."
)
BEFORE, CONTROL = Key("○", "hollow: before training"), Key("×", "labels at random")
COLUMNS = ("network", "best layer", "error", "labels at random", "before training", "as its stage writes it")


@final
@dataclass(frozen=True)
class Network:
    """What was read from a network, and from the same before training.

    own: the error of what its stages write, by field
    """

    name: str
    trained: tuple[ProbeScore, ...]
    untrained: tuple[ProbeScore, ...]
    own: Mapping[str, float]

    def best(self, field: str, *, trained: bool = True) -> ProbeScore | None:
        """The layer that reads a field best by validation; the input is none of the network's."""
        read = self.trained if trained else self.untrained
        found = [r for r in read if r.field == field and r.layer != INPUT]
        return min(found, key=lambda r: r.validation, default=None)


def probed_parts(study: Study, names: Mapping[str, Style], networks: Sequence[Network]) -> Iterator[Part]:
    """Sentences, the best layers, and every layer."""
    fields = list(dict.fromkeys(r.field for network in networks for r in network.trained))
    yield Words(tuple(verdicts(networks, fields)))
    yield best_table(networks, fields)
    panels = tuple(
        Panel(field, layer_chart(networks, field, names), f"How well {field} is read from each layer; numbers below")
        for field in fields
    )
    keys = (
        *legend(names, [n.name for n in networks]),
        Key("○", "hollow: before training"),
        Key("×", "labels at random"),
    )
    yield Figure("rediscovered", panels, keys, CAPTION, layers_table(networks, fields), "Layer by layer")


def verdicts(networks: Sequence[Network], fields: Sequence[str]) -> list[str]:
    """One sentence a field and a network that had no labels of it."""
    staged = next((n for n in networks if n.name in STAGED), None)
    free = [n for n in networks if n is not staged]
    return [said for field in fields for n in free if (said := _verdict(n, field, staged))]


def _verdict(network: Network, field: str, staged: Network | None) -> str:
    best, before = network.best(field), network.best(field, trained=False)
    of_stage = staged.best(field) if staged else None
    if best is None or before is None:
        return ""
    number = _measure(best).number
    told = [f"before training {number(before.error)}"]
    told += [f"in {staged.name} {number(of_stage.error)}"] if staged and of_stage else []
    way = before.error - (of_stage.error if of_stage else 0.0)
    clear = best.high < before.error and best.error < best.control
    half = clear and before.error - best.error >= HALF * way
    found = "found" if half else "found in part" if clear else "did not find"
    read = f"read from {best.layer} with an error of {number(best.error)}{_measure(best).in_brackets}"
    return f"{network.name} {found} {field}: {read}, {listed(told)}."


def best_table(networks: Sequence[Network], fields: Sequence[str]) -> Table:
    """Of each field and network the layer that reads it best."""
    lines = [_best_line(network, best) for f in fields for network in networks if (best := network.best(f))]
    caption = (
        "The layer from which a linear probe reads each field best, chosen on validation items; the error on test "
        "items with its 90 % interval. Beside it the same probe on labels drawn at random, the best layer before "
        "training, and the error of what the network itself writes as that field."
    )
    return Table(caption, COLUMNS, tuple(lines))


def _best_line(network: Network, best: ProbeScore) -> Line:
    measure, before, own = _measure(best), network.best(best.field, trained=False), network.own.get(best.field)
    cells = (
        Cell(best.layer, is_number=False),
        Cell(measure.number(best.error), (measure.between(Interval(best.error, best.low, best.high)),)),
        Cell(measure.number(best.control)),
        Cell(measure.number(before.error) if before else NOTHING, (before.layer,) if before else ()),
        Cell(measure.number(own)),
    )
    return Line(network.name, cells, f"{_titled(best)}; without looking {measure.number(best.trivial)}")


def _measure(score: ProbeScore) -> Measure:
    return Measure(score.trivial, score.unit)


def _titled(reading: ProbeScore) -> str:
    return f"{reading.field}{_measure(reading).in_brackets}"


def layers_table(networks: Sequence[Network], fields: Sequence[str]) -> Table:
    """The data of the figure."""
    lines = []
    for network in networks:
        before = {(r.field, r.layer): r for r in network.untrained}
        for r in (r for field in fields for r in network.trained if r.field == field):
            number, fresh = _measure(r).number, before.get((r.field, r.layer))
            numbers = (r.error, r.low, r.high, r.control, fresh.error if fresh else None)
            lines.append(Line(r.layer, tuple(Cell(number(v)) for v in numbers), f"{_titled(r)}: {network.name}"))
    columns = ("layer", "error", "90 % from", "90 % to", "labels at random", "before training")
    return Table("The data of the figure", columns, tuple(lines), folded="The data of the figure")


def layer_records(networks: Sequence[Network], field: str) -> list[dict[str, Any]]:
    """The rows of the figure, network by network in the order of the layers; the input stands there once."""
    found = list[dict[str, Any]]()
    for network in networks:
        before = {(r.field, r.layer): r.error for r in network.untrained if r.layer != INPUT}
        for r in (r for r in network.trained if r.field == field and (r.layer != INPUT or not found)):
            numbers: dict[str, float | None] = {"error": r.error, "low": r.low, "high": r.high, "trivial": r.trivial}
            numbers |= {"control": r.control, "before": before.get((field, r.layer))}
            found.append(
                {
                    "name": network.name,
                    "place": INPUT if r.layer == INPUT else f"{network.name} {r.layer}",
                    "layer": r.layer,
                }
                | numbers
            )
    return found


def layer_chart(networks: Sequence[Network], field: str, names: Mapping[str, Style]) -> Chart:
    """A row a layer: its error and interval, the control's, and the error before training."""
    import altair as alt

    records = layer_records(networks, field)
    unit = next(_titled(r) for n in networks for r in n.trained if r.field == field)
    most = 1.05 * max(max(v for k, v in r.items() if isinstance(v, float)) for r in records)
    scale = alt.Scale(domain=[0, most], nice=False)
    axis = alt.Axis(labelLimit=210, ticks=False, domain=False, labelPadding=6)
    y = alt.Y(field="place", type="nominal", sort=[r["place"] for r in records], title=None, axis=axis)

    def x(name: str) -> Chart:
        return alt.X(field=name, type="quantitative", scale=scale, title=f"error of {unit}")

    base = alt.Chart(alt.InlineData(values=records)).encode(y)
    trivial = alt.Chart(alt.InlineData(values=records[:1])).mark_rule(strokeDash=[6, 4], color=GREY)
    whiskers = base.mark_rule(strokeWidth=1.5).encode(x("low"), alt.X2(field="high"), colour(names))
    control = base.mark_point(shape="cross", angle=45, size=30, color=GREY, filled=True).encode(x("control"))
    before = base.transform_filter("isValid(datum.before)").mark_point(size=50, filled=False)
    before = before.encode(x("before"), colour(names), symbols(names))
    points = base.mark_point(size=55, filled=True, opacity=1)
    points = points.encode(x("error"), colour(names), symbols(names), tooltip=_tooltip())
    layers = (
        trivial.encode(x("trivial")),
        whiskers,
        control,
        before.encode(x("before"), colour(names), symbols(names)),
        points,
    )
    return alt.layer(*layers).properties(height=ROW_PX * len(records))


def _tooltip() -> list[Chart]:
    import altair as alt

    words = {"name": "network", "layer": "layer"}
    numbers = {"error": "error", "low": "90 % from", "high": "90 % to", "control": "labels at random"}
    numbers |= {"before": "before training"}
    shown = [alt.Tooltip(field=f, type="nominal", title=t) for f, t in words.items()]
    return shown + [alt.Tooltip(field=f, type="quantitative", title=t, format=".3f") for f, t in numbers.items()]
