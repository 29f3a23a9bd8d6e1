"""A chain as it is drawn: boxes for stages, arrows for the fields that go from one to the next."""

from collections.abc import Iterable, Mapping

from seamwise.advice.numbers import panels
from seamwise.advice.records import Advice, SeamState, Way
from seamwise.report.parts import Arrow, Box, Drawing
from seamwise.report.words import listed
from seamwise.runs import StageRecord, Study

READS = "What each stage reads, and how the field it writes goes on."
CARRIES = (
    "A whole line: soft, shares or measures go on; dashed: hard, a decision does. Green: gradient crosses, so that the "
    "error at the answer can train what stands before; red with a cross: it stops there."
)
KINDS = {
    "learned": "learned",
    "designed": "made by hand",
    "estimator": "learned without gradient",
    "outside": "from outside",
}


def drawings(study: Study, advice: Advice) -> list[Drawing]:
    """One a variant of the chain, as the way that is seen first left it."""
    return [_drawing(study, advice, variant) for variant in panels(study.rows) if _is_chain(study, variant)]


def _is_chain(study: Study, variant: str) -> bool:
    return any(row[0] == variant and row[1] != "direct" for row in study.rows)


def seen_first(advice: Advice, variant: str) -> Way | None:
    """The way whose seams are drawn: the best, where it is of this variant; else the tuned; else the first."""
    ways = list(dict.fromkeys(s.way for s in advice.seams if s.way.variant == variant))
    best = advice.best_now.way if advice.best_now else None
    preferred = [w for w in ways if w == best] + [w for w in ways if w.regime == "tuned"] + ways
    return preferred[0] if preferred else None


def _drawing(study: Study, advice: Advice, variant: str) -> Drawing:
    stages, way = study.record.variants[variant], seen_first(advice, variant)
    seams = {(s.writer, s.field): s for s in advice.seams if s.way == way}
    boxes = tuple(
        Box(stage.name, KINDS.get(stage.kind, stage.kind), stage.inputs, tuple(_arrows(stages, k, seams)))
        for k, stage in enumerate(stages)
    )
    several = len(panels(study.rows)) > 1
    left = f"as {way.regime} left it" if way else "its seams were not looked at"
    title = f"{variant}, {left}" if several else left[:1].upper() + left[1:]
    remarks = (*_instead(seams.values()), *_elsewhere(advice, way))
    return Drawing(title, boxes, study.record.answer, _in_words(boxes), remarks)


def _arrows(stages: tuple[StageRecord, ...], k: int, seams: Mapping[tuple[str, str], SeamState]) -> list[Arrow]:
    """What a stage writes, and who reads it."""
    found = []
    for field in stages[k].outputs:
        readers = [later.name for later in stages[k + 1 :] if field in later.inputs]
        if not readers:
            continue
        others = [name for name in readers if name != stages[k + 1].name]
        also = "also " if len(others) < len(readers) else ""
        reader = f"{also}by {listed(others)}" if others else ""
        found.append(_arrow(field, reader, seams.get((stages[k].name, field))))
    return found or [Arrow("")]  # to the answer, or to a stage that reads nothing of it


def _arrow(field: str, reader: str, seam: SeamState | None) -> Arrow:
    if seam is None:
        return Arrow(field, reader)
    carries = "hard" if seam.hard else "soft"
    stopped = f"gradient stops: {seam.stopped_by}" if seam.stopped_by else "gradient stops"
    return Arrow(field, reader, seam.passes, seam.hard, carries, "gradient crosses" if seam.passes else stopped)


def _instead(seams: Iterable[SeamState]) -> list[str]:
    return [f"What would let gradient through {s.field}: {s.instead}." for s in seams if not s.passes and s.instead]


def _in_words(boxes: tuple[Box, ...]) -> str:
    told = [
        f"{box.name} ({box.what}) reads {listed(list(box.reads))}"
        + "".join(
            f" and writes {a.field}{f' ({a.carries}; {a.crosses})' if a.carries else ''}" for a in box.seams if a.field
        )
        for box in boxes
    ]
    return "; then ".join(told)


def _elsewhere(advice: Advice, way: Way | None) -> list[str]:
    """In which other regimes the same seams differ, in words."""
    if way is None:
        return []
    here = {(s.writer, s.field): s for s in advice.seams if s.way == way}
    said: dict[str, list[str]] = {}
    for seam in advice.seams:
        own = here.get((seam.writer, seam.field))
        if seam.way.variant == way.variant and own and (own.passes, own.hard) != (seam.passes, seam.hard):
            carries, crosses = ("hard" if seam.hard else "soft"), ("crosses" if seam.passes else "stops")
            said.setdefault(f"{seam.field} is {carries} and gradient {crosses}", []).append(seam.way.regime)
    return [f"Not so with {listed(regimes)}: {what}." for what, regimes in said.items()]
