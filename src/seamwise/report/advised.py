"""The tables of advice: what stages cost, what to buy, what variants gain, what a change of items does."""

from collections.abc import Callable

from seamwise.advice.records import Advice, Chained, Outlook, Purchase, SeamState, Shifted, StageCost, VariantGain
from seamwise.bootstrap import Interval
from seamwise.report.parts import Cell, Line, Table
from seamwise.report.words import NOTHING, Measure, count, plain, probability
from seamwise.runs import Study

MOST = 100  # times: a ratio beyond it is not written out
CLEAR = "Bold where it is clearly above 0."


def of_advice(advice: Advice) -> Measure:
    """How errors of the answer are written."""
    return Measure(advice.trivial, advice.unit)


def words(text: str) -> Cell:
    """A cell of words."""
    return Cell(text, is_number=False)


def score(measure: Measure, interval: Interval | None) -> Cell:
    """An error with its interval below it."""
    return Cell(NOTHING) if interval is None else Cell(measure.number(interval.mean), (measure.between(interval),))


def gain(measure: Measure, interval: Interval | None) -> Cell:
    """A difference with its interval below it, bold where it is clearly above 0."""
    if interval is None:
        return Cell(NOTHING)
    return Cell(measure.signed(interval.mean), (measure.signed_ends(interval),), best=interval.low > 0)


def likely_table(advice: Advice) -> Table:
    """The data of the figure of who is probably the best."""
    measure, lines = of_advice(advice), []
    ways = list(dict.fromkeys(o.way for o in advice.p_best))
    told = {(o.way, o.n): o for o in advice.p_best}
    for way in ways:
        lines.append(Line(way.name, tuple(_likely_cell(measure, told.get((way, n))) for n in advice.at)))
    columns = tuple(f"{n:,}" for n in advice.at)
    caption = (
        f"Probability of having the least error of all ways, by labels of {advice.vary}; below it the error with its "
        "90 % interval. ≈: forecast; ?: a forecast that is not to be relied on."
    )
    return Table(caption, ("way", *columns), tuple(lines), folded="The data of the figure")


def _likely_cell(measure: Measure, told: Outlook | None) -> Cell:
    if told is None or told.error is None:
        return Cell(NOTHING)
    mark = "" if told.measured else "? " if told.abstained else "≈ "
    return Cell(probability(told.p_best), (f"{mark}{measure.number(told.error.mean)}", measure.between(told.error)))


def crossovers_table(advice: Advice) -> Table:
    """From about how many labels which way is better than which."""
    lines = [
        Line(c.after.name, (words(c.before.name), Cell(f"{c.n:,}"), Cell(f"{c.low:,} to {c.high:,}")))
        for c in advice.crossovers
    ]
    caption = (
        f"From about how many labels of {advice.vary} one way is better than another. "
        "Said only where the interval spans less than two doublings."
    )
    return Table(caption, ("way", "better than", "from about", "90 % interval"), tuple(lines))


SAYS = {
    "own error": "a stage's error within the chain, in the unit that stands beside it",
    "on true input": "its error with everything before it true",
    "without looking": "what one gets by answering without looking",
    "exposure": "its error after training on true input, less that after training on predictions: what it loses by "
    "being trained on what it never meets; with its 90 % interval",
    "pinned": "how much the answer's error falls with this stage's true output put in, those before it true already",
    "alone": "the same with this stage alone true: what each mended item of it is worth",
    "perfect stage": "its fair share of the fall where every stage is made perfect (Shapley value)",
    "spread": "how far this stage's own noise spreads the answer",
    "refused": "true output put in cannot be believed, and why",
}


def stages_table(advice: Advice) -> Table:
    """What each stage of each way costs. Columns with nothing in them are left out."""
    kept = _stage_columns(advice)
    lines = [Line(s.stage, tuple(cells[i] for cells in kept.values()), s.way.name) for i, s in enumerate(advice.stages)]
    caption = (
        f"What each stage does, and what the error of {advice.answer}{of_advice(advice).in_brackets} falls by where "
        "it is put right, at the largest budget; below each number its 90 % interval."
    )
    return Table(caption, ("stage", *kept), tuple(lines))


def stage_words(advice: Advice) -> dict[str, str]:
    """What the columns of that table say."""
    there = _stage_columns(advice)
    return {column: text for column, text in SAYS.items() if column in there}


def _stage_columns(advice: Advice) -> dict[str, list[Cell]]:
    measure = of_advice(advice)
    columns: dict[str, Callable[[StageCost], Cell]] = {
        "labels": lambda s: Cell(s.field, (s.unit,) if s.unit else (), is_number=False),
        "own error": lambda s: score(Measure(s.trivial, s.unit), s.own),
        "on true input": lambda s: Cell(Measure(s.trivial, s.unit).number(s.on_gold)),
        "without looking": lambda s: Cell(Measure(s.trivial, s.unit).number(s.trivial)),
        "exposure": lambda s: gain(Measure(s.trivial, s.unit), s.exposure),
        "pinned": lambda s: gain(measure, s.pinned),
        "alone": lambda s: gain(measure, s.marginal),
        "perfect stage": lambda s: gain(measure, s.perfect),
        "spread": lambda s: score(measure, s.spread),
        "refused": lambda s: words(s.refused),
    }
    found = {name: [cell(s) for s in advice.stages] for name, cell in columns.items()}
    return {name: cells for name, cells in found.items() if any(c.text not in ("", NOTHING) for c in cells)}


def chains_table(advice: Advice) -> Table:
    """How the stages' errors become the answer's."""
    measure = of_advice(advice)
    lines = [
        Line(c.way.name, (score(measure, c.error), score(measure, c.rest), _ratio(c), words(_compounds(c))))
        for c in advice.chains
    ]
    caption = (
        f"How the stages' errors become that of {advice.answer}: what is left with every stage's true output put in, "
        "and the chain's error over what it would be if its stages failed independently of each other."
    )
    return Table(caption, ("way", "error", "left", "ratio", "what that says"), tuple(lines))


def _ratio(chained: Chained) -> Cell:
    found = chained.compounding
    if found is None:
        return Cell(NOTHING)
    high = f"{found.high:.2f}" if found.high < MOST else f"over {MOST}"  # where hardly a stage fails alone
    return Cell(f"{found.mean:.2f}", (f"{found.low:.2f}–{high}",))


def _compounds(chained: Chained) -> str:
    found = chained.compounding
    if found is None:
        return f"not told: {chained.refused}" if chained.refused else NOTHING
    if found.low > 1:
        return "the chain amplifies its stages' errors"
    return "the chain absorbs some of its stages' errors" if found.high < 1 else "as if the stages failed independently"


def purchases_table(advice: Advice) -> Table:
    """What to buy next, the best first."""
    measure = of_advice(advice)
    worth = Measure(1000 * max((p.worth or 0.0 for p in advice.buy_next), default=0.0), "")
    lines = [Line(p.field, _purchase(p, measure, worth)) for p in advice.buy_next]
    caption = (
        "The next labels to buy, the most worth first: as many again of one field as there are. Gain: how much the "
        f"error of {advice.answer}{measure.in_brackets} is expected to fall, with its 90 % interval. {CLEAR} "
        "Worth: the gain for a thousand units of price. Probability: that the error falls at all."
    )
    columns = ("labels of", "how many", "price of one", "for", "gain", "worth", "probability")
    return Table(caption, columns, tuple(lines))


def _purchase(found: Purchase, measure: Measure, worth: Measure) -> tuple[Cell, ...]:
    return (
        Cell(f"{found.n_more:,}", (f"now {found.n_now:,}",)),
        Cell(plain(found.price), (f"{plain(found.price * found.n_more)} in all",)),
        words(found.way.name),
        gain(measure, found.gain),
        Cell("free" if found.worth is None else worth.number(1000 * found.worth)),
        Cell(probability(found.probability)),
    )


def variants_table(advice: Advice) -> Table:
    """What a variant gains over another, budget by budget."""
    measure = of_advice(advice)
    budgets = sorted({n for v in advice.variants for n in v.gains})
    lines = [
        Line(
            v.regime,
            (*(gain(measure, v.gains.get(n)) for n in budgets), words(_ends(v))),
            _apart(v),
        )
        for v in advice.variants
    ]
    caption = (
        f"How much lower the error of {advice.answer}{measure.in_brackets} is with one variant than with the other, "
        f"by labels of {advice.vary}, paired by seed and test item. {CLEAR}"
    )
    return Table(caption, ("regime", *(f"{n:,}" for n in budgets), "the gain ends"), tuple(lines))


def _apart(found: VariantGain) -> str:
    where = f", which differs in {', '.join(found.stages)}" if found.stages else ""
    return f"{found.variant}{' (made by hand)' if found.designed else ''} against {found.other}{where}"


def _ends(found: VariantGain) -> str:
    if found.ends is not None:
        return f"at {found.ends:,}"
    return "not within what was measured"


def shift_table(advice: Advice) -> Table:
    """Errors here, elsewhere, and after one stage was trained again."""
    measure = of_advice(advice)
    lines = [
        Line(
            s.way.name,
            (
                score(measure, s.here),
                score(Measure(s.trivial_there, advice.unit), s.there),
                Cell(measure.number(s.trivial_there)),
                _retrained(s),
                score(measure, s.retrained),
                gain(measure, s.won_back),
            ),
        )
        for s in advice.shifted
    ]
    caption = (
        f"Error of {advice.answer}{measure.in_brackets} on the test items, on items from elsewhere, and there with "
        f"one stage trained again on labels from there. Won back: the fall by that, paired. {CLEAR}"
    )
    columns = ("way", "here", "there", "without looking there", "trained again", "error then", "won back")
    return Table(caption, columns, tuple(lines))


def _retrained(found: Shifted) -> Cell:
    if not found.stage:
        return words(found.note or NOTHING)
    return Cell(found.stage, (count(found.n_labels, "label") + " from there",), is_number=False)


def costs_table(study: Study, advice: Advice) -> Table:
    """What each way costs to train and to run, beside its error."""
    measure = of_advice(advice)
    latency = Measure(max((c.latency_ms or 0.0 for c in advice.costs), default=0.0), "ms")
    lines = [
        Line(
            c.way.name,
            (
                score(measure, c.error),
                Cell(f"{c.seconds:,.1f}"),
                Cell(f"{c.n_steps:,.0f}"),
                Cell(f"{c.n_parameters:,.0f}"),
                Cell(latency.number(c.latency_ms)),
            ),
        )
        for c in advice.costs
    ]
    caption = (
        "At the largest budget, the mean over the seeds. A training that several regimes share is counted in full "
        "in each. Latency: one item alone."
    )
    return Table(caption, ("way", "error", "training, s", "steps", "parameters", "latency, ms"), tuple(lines))


def seams_table(advice: Advice) -> Table:
    """Every seam of every way, and what would let gradient through."""
    lines = [_seam_line(s) for s in advice.seams]
    columns = ("field", "from", "to", "carries", "gradient", "size", "stopped by", "what would let it through")
    return Table(
        "Every seam of every way, at the largest budget. Size: of the gradient that arrives, root mean square over "
        "items.",
        columns,
        tuple(lines),
        folded="All seams as a table",
    )


def _seam_line(seam: SeamState) -> Line:
    carries = "decisions (hard)" if seam.hard else "shares or measures (soft)"
    crosses = "crosses" if seam.passes else "stops"
    cells = (seam.writer, seam.reader, carries, crosses)
    size = Cell(f"{seam.gradient:.2g}" if seam.passes else NOTHING)
    return Line(seam.field, (*map(words, cells), size, words(seam.stopped_by), words(seam.instead)), seam.way.name)


def untold_table(advice: Advice) -> Table:
    """What could not be told, and what would tell."""
    lines = [Line(u.what, (words(u.why), words(u.trial or NOTHING))) for u in advice.abstained]
    return Table(
        "What the trials do not say, why, and the trial that would tell most.",
        ("what", "why", "what would tell"),
        tuple(lines),
    )
