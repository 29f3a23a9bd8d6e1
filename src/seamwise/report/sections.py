"""The sections of a report, in order; those with nothing to show are left out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from seamwise.advice.numbers import full_name, name_of, notes
from seamwise.advice.records import Advice, Chained, Way
from seamwise.maps import MapRow, read_map
from seamwise.report import advised, curves, falls, figures, heat, likely, scatter, tables
from seamwise.report.drawn import CARRIES, READS, drawings
from seamwise.report.made import made
from seamwise.report.parts import Chains, Figure, Gallery, Key, Panel, Part, Section, Terms, Words
from seamwise.report.rediscovered import Rediscovered, rediscovered_parts
from seamwise.report.words import count
from seamwise.runs import Study

FORECAST = Key("┄┄", "forecast")
TRIVIAL = Key("╌╌", "without looking")


@final
@dataclass(frozen=True)
class Told:
    """All that a report is made from. rows: example pictures, of seamwise.report.pictures."""

    study: Study
    advice: Advice
    rows: tuple[Any, ...] = ()
    rediscovered: Rediscovered = Rediscovered()

    @cached_property
    def names(self) -> dict[str, figures.Style]:
        return figures.styles([*self.study.rows, *heat.rows_of(self.map)])

    @cached_property
    def map(self) -> list[MapRow]:
        return read_map(self.study.run)

    @cached_property
    def curves(self) -> list[dict[str, Any]]:
        return curves.curve_records(self.study, self.advice)


def sections(told: Told) -> list[Section]:
    """Every section that has something to show."""
    parts: dict[tuple[str, str], Iterator[Part]] = {
        ("curves", _curves_title(told)): _curves(told),
        ("errors", "Errors"): _errors(told),
        ("likely", "Which is probably best"): _likely(told),
        ("map", "Where which way wins"): _map(told),
        ("stages", "What each stage costs"): _stages(told),
        ("chain", "The chain and its seams"): _chain(told),
        ("rediscovered", "Did end to end rediscover the stages?"): rediscovered_parts(
            told.study, told.names, told.rediscovered
        ),
        ("buy", "Labels to buy next"): _purchases(told),
        ("variants", "Variants compared"): _variants(told),
        ("shift", "On items from elsewhere"): _shift(told),
        ("costs", "Costs"): _costs(told),
        ("examples", "Examples"): _examples(told),
        ("untold", "What could not be told"): _untold(told),
        ("failed", "Trials that failed or did not train"): iter(tables.failed_tables(told.study, told.advice)),
        ("notes", "Notes"): _notes(told),
        ("made", "How it was made"): iter([Terms(made(told.study))]),
    }
    found = [Section(id_, title, tuple(own)) for (id_, title), own in parts.items()]
    return [section for section in found if section.parts]


def _curves_title(told: Told) -> str:
    return "Learning curves" if len({r["n"] for r in told.curves}) > 1 else "Regimes compared"


def _curves(told: Told) -> Iterator[Part]:
    study, records = told.study, told.curves
    charts = curves.curve_charts(study, records)
    if not charts:
        return
    ahead = any(r["part"] == "forecast" for r in records)
    says = [f"Mean error on the test items{_against(told, records)}, with its 90 % interval."]
    says += ["A hollow symbol: some trials did not train."] if any(r["hollow"] for r in records) else []
    if ahead:
        says.append("Dashed, with a lighter band: forecast, where one can be relied on.")
    n_above = sum(r["high"] > curves.highest(study, records) for r in records)
    if n_above:
        says.append(f"{count(n_above, 'interval')} beyond the top of the axis: drawn to its edge.")
    keys = (*figures.legend(told.names, (r["name"] for r in records)), *([FORECAST] if ahead else []), TRIVIAL)
    panels = _panels(charts, "Learning curves")
    yield Figure("curves", panels, keys, " ".join(says), tables.curves_table(study, records))


def _against(told: Told, records: list[dict[str, Any]]) -> str:
    return f" against labels of {told.study.record.vary}" if len({r["n"] for r in records}) > 1 else ""


def _panels(charts: Mapping[str, figures.Chart], what: str) -> tuple[Panel, ...]:
    """The charts by variant. A single one needs no name."""
    several = len(charts) > 1
    return tuple(
        Panel(variant if several else "", chart, f"{what}{f', {variant}' if several else ''}; the numbers are below")
        for variant, chart in charts.items()
    )


def _errors(told: Told) -> Iterator[Part]:
    if told.study.trials:
        yield tables.error_table(told.study, [r for r in told.curves if r["part"] == "measured"])


def _likely(told: Told) -> Iterator[Part]:
    records = likely.likely_records(told.study, told.advice)
    if len({r["name"] for own in records.values() for r in own}) > 1:
        shown = [r for own in records.values() for r in own]
        panels = _panels(likely.likely_charts(told.study, records), "Probability of being the best")
        keys = figures.legend(told.names, (r["name"] for r in shown if r["p"] > likely.LEAST))
        caption = _likely_caption(told, [r for r in shown if r["p"] > likely.LEAST], len(panels) > 1)
        yield Figure("likely", panels, tuple(keys), caption, advised.likely_table(told.advice))
    if told.advice.crossovers:
        yield advised.crossovers_table(told.advice)


def _likely_caption(told: Told, shown: list[dict[str, Any]], several: bool) -> str:
    parts, last = {r["part"] for r in shown}, max((r["n"] for r in shown), default=0)
    says = [f"How probably each way has the least error with {last:,} labels of {told.advice.vary}."]
    if len({r["n"] for r in shown}) > 1:
        says = [f"How probably each way has the least error, by labels of {told.advice.vary}: the height of its band."]
    if told.advice.stopped is not None and len({r["n"] for r in shown}) > 1:
        says.append("The study stopped when it was sure: with fewer labels only the ways that were run there compare.")
    if several:
        says.append("What a panel leaves empty belongs to the other variants.")
    if "forecast" in parts:
        says.append("Lighter: forecast.")
    if "doubtful" in parts:
        says.append("Lightest: a forecast that is not to be relied on.")
    if max(told.advice.at) > last:
        says.append(f"Not drawn beyond {last:,} labels, where too few forecasts can be relied on.")
    return " ".join(says)


def _map(told: Told) -> Iterator[Part]:
    records = heat.map_records(told.map)
    if records:
        charts = {setting: heat.map_chart(told.names, setting, own, told.study) for setting, own in records.items()}
        panels = tuple(
            Panel("", chart, f"Which way wins, by {setting} and labels; the table below says the same")
            for setting, chart in charts.items()
        )
        shown = [r["name"] for own in records.values() for r in own]
        yield Figure("map", panels, tuple(figures.legend(told.names, shown)), heat.CAPTION)
        yield heat.map_table(told.map, told.study)


def _stages(told: Told) -> Iterator[Part]:
    ways = [c for c in told.advice.chains if _costs_of(told, c.way)]
    shown = [c for c in ways if any(s.pinned is not None for s in _costs_of(told, c.way))]
    if shown:
        yield from _falls(told, shown)
    if told.advice.stages:
        yield advised.stages_table(told.advice)
        yield Terms(advised.stage_words(told.advice), folded="What the columns say")
    if told.advice.chains:
        yield advised.chains_table(told.advice)


def _costs_of(told: Told, way: Way) -> list[Any]:
    return [s for s in told.advice.stages if s.way == way]


def _falls(told: Told, shown: list[Chained]) -> Iterator[Part]:
    """The best variant's waterfalls, and those of the others, folded."""
    best = told.advice.best_now
    variants = list(dict.fromkeys(c.way.variant for c in shown))
    first = best.way.variant if best and best.way.variant in variants else variants[0]
    measure = advised.of_advice(told.advice)
    found = {c.way: falls.steps(c, _costs_of(told, c.way), measure) for c in shown}
    span = falls.span_of(found.values())
    title = f"error of {told.advice.answer}{measure.in_brackets}"
    for variant in sorted(variants, key=lambda v: v != first):
        own = {way: steps for way, steps in found.items() if way.variant == variant}
        panels = tuple(
            Panel(
                name_of((way.variant, way.regime)) if len(variants) == 1 else way.name,
                falls.fall_chart(steps, told.names, name_of((way.variant, way.regime)), span, title),
                f"What each stage of {way.name} costs; the numbers are below",
            )
            for way, steps in own.items()
        )
        data = falls.falls_table({way.name: steps for way, steps in own.items()}, measure)
        folded = "" if variant == first else f"The same for {variant}"
        yield Figure(f"stages-{variants.index(variant)}", panels, (), falls.CAPTION, data, folded)


def _chain(told: Told) -> Iterator[Part]:
    found = drawings(told.study, told.advice)
    if found:
        yield Chains(f"{READS} {CARRIES}" if told.advice.seams else READS, tuple(found))
    if told.advice.seams:
        yield advised.seams_table(told.advice)


def _purchases(told: Told) -> Iterator[Part]:
    if told.advice.buy_next:
        yield advised.purchases_table(told.advice)


def _variants(told: Told) -> Iterator[Part]:
    if told.advice.variants:
        yield advised.variants_table(told.advice)


def _shift(told: Told) -> Iterator[Part]:
    if told.advice.shifted:
        yield advised.shift_table(told.advice)


def _costs(told: Told) -> Iterator[Part]:
    records = scatter.cost_records(told.study, told.advice)
    several = len({variant for variant, _ in records}) > 1
    panels = tuple(
        Panel(variant if several else "", chart, f"Error against {scatter.TITLES[what]}; the numbers are below")
        for (variant, what), chart in zip(records, scatter.cost_charts(told.study, records), strict=True)
    )
    if panels:
        keys = figures.legend(told.names, (r["name"] for own in records.values() for r in own))
        caption = "Error with its 90 % interval against what a way costs: the lower and the further left, the better."
        yield Figure("costs", panels, tuple(keys), caption)
    if told.advice.costs:
        yield advised.costs_table(told.study, told.advice)


def _examples(told: Told) -> Iterator[Part]:
    if told.rows:
        best = told.advice.best_now
        names = {best.way.name} if best else {full_name(told.study, row) for row in told.study.rows[:1]}
        yield Words(("Test items, as each regime's first seed answered them at the largest budget.",), soft=True)
        yield Gallery(told.rows, frozenset(names))


def _untold(told: Told) -> Iterator[Part]:
    if told.advice.abstained:
        yield advised.untold_table(told.advice)


def _notes(told: Told) -> Iterator[Part]:
    found = notes(told.study.trials)
    if found:
        yield Words(tuple(f"{note} ({count(n, 'trial')})" for note, n in found.items()))
