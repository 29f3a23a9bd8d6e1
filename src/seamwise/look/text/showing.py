"""A look at a network that reads text: the units that answer to each concept, on a page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from markupsafe import Markup
from torch import nn

from seamwise.errors import InputError, ModelError
from seamwise.look.page import drawing
from seamwise.look.page.page import LayerFacts, Section, Unit, write_page
from seamwise.look.text.characters import Text
from seamwise.look.text.coloured import Example, coloured, examples, printable, values_of
from seamwise.look.text.concepts import Concept, concept_of, concept_of_documents, concepts_of_file, usual_concepts
from seamwise.look.text.halves import MANY, MOST, check_concepts, halves, shortened
from seamwise.look.text.reading import WINDOW, tokens_for
from seamwise.look.text.tokens import Tokens
from seamwise.look.text.units import TextUnits, text_units
from seamwise.shapes import Float, Int, NDArray

N_BEST = 5  # units of a concept that are shown
N_COLOURED = 700  # tokens
N_TRIED = 10_000  # characters, to see how many tokens they are
SURE = 0.05
UNITS_LEAD = (
    "The units that answer most to each concept. Open one for a text coloured by it, orange where it is on and blue "
    "where it is off, and for examples drawn at random over its whole range; its address can be shared."
)


@final
@dataclass(frozen=True)
class TextLook:
    """What a network's units answer to, in one text. notes: what was left out, and why; looked_at: how much of it."""

    network: nn.Module
    tokens: Tokens
    found: TextUnits
    notes: tuple[str, ...]
    looked_at: str = ""

    def flat(self) -> list[dict[str, Any]]:
        """The best units of each concept, for machines."""
        return [
            {
                "concept": answer.concept,
                "level": answer.level,
                "layer": unit.layer,
                "unit": unit.unit,
                "auroc": unit.auroc,
                "p": unit.p,
                "beyond_token": _finite(unit.beyond),
                "by_token": answer.by_token,
                "by_place": answer.by_place,
                "n": answer.n,
                "n_holds": answer.n_holds,
            }
            for answer in self.found.answers
            for unit in self.found.best(answer, N_BEST)
        ]


def look_at_text(
    network: nn.Module,
    text: Text,
    concepts: Sequence[str] = (),
    *,
    layers: Sequence[str] = (),
    most: int = MOST,
    window: int = WINDOW,
    seed: int = 0,
) -> TextLook:
    """Find the units that answer to concepts.

    concepts: names, or files with a label a token or a line. Where none is given: all that are known by name and hold
    often enough, and the documents' labels where they have some. most: tokens that are looked at. window: tokens read
    at once, or the first half, quarter ... of it that the network reads.

    Raises InputError where a concept that was asked for never or always holds.
    """
    part = text if any(_is_file(name) for name in concepts) else _shortened(network, text, most, seed)
    tokens = tokens_for(network, part.documents)
    if not tokens.n:
        raise InputError("there is no token in the text", given="white space alone")
    wanted, notes = _concepts(tokens, part, concepts, most, seed)
    found = text_units(network, tokens, wanted, layers=layers, most=most, window=window, seed=seed)
    passed = [f"layers passed over, which give no units for each token: {', '.join(found.passed)}"] * bool(found.passed)
    return TextLook(network, tokens, found, (*notes, *text.notes, *passed), _looked_at(text, tokens, found, seed))


def _shortened(network: nn.Module, text: Text, most: int, seed: int) -> Text:
    """What will be looked at, by how many tokens the first characters are; labels a token are of the whole text."""
    longest = max(text.documents, key=len, default="")[:N_TRIED]
    if sum(map(len, text.documents)) <= most // 8 or not longest:
        return text
    rate = max(tokens_for(network, [longest]).n, 1) / len(longest)
    return shortened(text, int(most / rate), seed)


def _looked_at(text: Text, tokens: Tokens, found: TextUnits, seed: int) -> str:
    whole, n_documents = sum(map(len, text.documents)), len(text.documents)
    pieces = (*found.split.find, *found.split.hold)
    n = sum(int(tokens.end[end - 1] - tokens.start[begin]) for _, _, begin, end in pieces)
    told = f"{n:,} of {whole:,} characters were looked at"
    if n_documents >= MANY:
        told += (
            f", {len(pieces):,} of {n_documents:,} documents; half of these, drawn at random (seed {seed}), held out"
        )
    else:
        told += ", the first half to find units, the second held out"
        told += "; a stretch from the middle of each" if n < 0.9 * whole else ""
    again = f"windows of {found.window:,} tokens, of which {found.overlap:,} are those before, read again"
    return f"{told}. It is read in {again}: what was further back is cut off."


def _concepts(
    tokens: Tokens, text: Text, asked: Sequence[str], most: int, seed: int
) -> tuple[list[Concept], list[str]]:
    if asked:
        return _named({name: _asked(name, tokens, text) for name in asked}), []
    split, kept, notes = halves(tokens, most, seed), list[Concept](), list[str]()
    for concept in [*usual_concepts(tokens), *_labelled(text)]:
        try:
            check_concepts([concept], tokens, split)
            kept.append(concept)
        except InputError as error:
            notes.append(error.brief)
    if not kept:
        raise InputError("no concept that is known by name holds often enough", remedy="give one: --concept FILE")
    return kept, notes


def _named(asked: Mapping[str, list[Concept]]) -> list[Concept]:
    """Each by a name of its own: where two would have the same, a file's is its path."""
    n_named = Counter(concept.name for concepts in asked.values() for concept in concepts)
    named = []
    for name, concepts in asked.items():
        clash = _is_file(name) and any(n_named[concept.name] > 1 for concept in concepts)
        of = len(Path(name).stem)
        named += [replace(c, name=name + c.name[of:]) if clash else c for c in concepts]
    return named


def _asked(name: str, tokens: Tokens, text: Text) -> list[Concept]:
    if text.labels is not None and name in ("label", text.label) and not _is_file(name):
        return _labelled(text)
    return concepts_of_file(Path(name), tokens) if _is_file(name) else [concept_of(name, tokens)]


def _is_file(name: str) -> bool:
    return Path(name).is_file() or "/" in name or Path(name).suffix in (".txt", ".tsv", ".csv")


def _labelled(text: Text) -> list[Concept]:
    return [concept_of_documents(text.label, text.labels)] if text.labels is not None else []


def write_text_look(out: Path, title: str, look: TextLook, *, lead: str = "", seed: int = 0) -> Path:
    """Write the page: a table a concept, and a card for each of the units that answer to some."""
    shown = list(
        dict.fromkeys((u.layer, u.unit) for answer in look.found.answers for u in look.found.best(answer, N_BEST))
    )
    layers = [LayerFacts(name, "text", n) for name, n in look.found.layers]
    found = look.found
    rows, values = values_of(look.network, look.tokens, shown, found.split.hold, found.window, found.overlap)
    notes = Markup("").join(Markup("<li>{}</li>").format(printable(note)) for note in look.notes)
    sections = [_table(look)]
    if look.notes:
        sections.append(
            Section("Left out", "What could not be looked at, and why.", Markup("<ul>{}</ul>").format(notes))
        )
    units = _units(look, shown, rows, values, seed)
    told, title = printable(f"{lead} {look.looked_at}".strip()), printable(title)
    return write_page(out, title, sections, layers, units, len(shown), lead=told, units_lead=UNITS_LEAD)


def _table(look: TextLook) -> Section:
    lead = (
        "AUROC in the half of the text that was held out: how often a unit is higher where the concept holds than "
        "where it does not (.5 is chance; below, the unit is off). p: how often chance would have given a unit as good "
        "among all of them. Beside it what the token itself and its place alone tell, and what the unit tells beyond "
        "its token; it copies its token where hardly anything of its answer is left."
    )
    columns = [
        "concept",
        "of",
        "best unit",
        "AUROC",
        "p",
        "beyond the token",
        "copies its token",
        "token alone",
        "place alone",
        "holds",
        "of",
    ]
    lines: list[list[drawing.Cell]] = []
    for answer in look.found.answers:
        for unit in look.found.best(answer, N_BEST):
            link = Markup('<a href="#{}/{}">{}/{}</a>').format(unit.layer, unit.unit, unit.layer, unit.unit)
            lines.append(
                [printable(answer.concept), answer.level, link, unit.auroc, unit.p, _finite(unit.beyond),
                 "yes" if unit.copies else "", answer.by_token, answer.by_place, answer.n_holds, answer.n]
            )  # fmt: skip
    return Section("What the units answer to", lead, drawing.table(columns, lines))


def _units(
    look: TextLook,
    shown: Sequence[tuple[str, int]],
    rows: Int[NDArray, " tokens"],
    values: Float[NDArray, "tokens units"],
    seed: int,
) -> Iterator[Unit]:
    best = _best_of(look)
    for k, (layer, unit) in enumerate(shown):
        part = slice(0, N_COLOURED)
        text = Markup('<p class="text">{}</p>').format(Markup(coloured(look.tokens, rows[part], values[part, k])))
        drawn = examples(look.tokens, rows, values[:, k], seed=seed)
        yield Unit(layer, unit, best[layer, unit], (), text + _examples(drawn))


def _best_of(look: TextLook) -> Mapping[tuple[str, int], dict[str, float | str | bool | None]]:
    """For each unit the concept that it answers to most, and how."""
    facts: dict[tuple[str, int], dict[str, float | str | bool | None]] = {}
    for answer in look.found.answers:
        for unit in look.found.best(answer, N_BEST):
            known = facts.get((unit.layer, unit.unit))
            strength = abs(unit.auroc - 0.5)
            if known is None or strength > abs(float(known["AUROC"] or 0.5) - 0.5):
                facts[unit.layer, unit.unit] = {
                    "concept": printable(answer.concept),
                    "AUROC": unit.auroc,
                    "p": unit.p,
                    "beyond the token": _finite(unit.beyond),
                    "sure": unit.p < SURE,
                }
    return facts


def _examples(drawn: Sequence[Example]) -> Markup:
    lines: list[list[drawing.Cell]] = []
    for example in reversed(drawn):
        low, high = example.quantiles
        token = Markup("{}<mark>{}</mark>{}").format(example.before, example.token, example.after)
        lines.append([f"{low:g}-{high:g}", example.value, token])
    return drawing.table(["quantiles", "value", "token amid its text"], lines)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def refuse_pictures(network: nn.Module) -> None:
    """Raises ModelError where a network that is asked about text has convolutions over pictures."""
    if any(isinstance(part, nn.Conv2d) for part in network.modules()):
        raise ModelError(f"{type(network).__name__}: sees pictures", remedy="leave --text out, and give --data FOLDER")
