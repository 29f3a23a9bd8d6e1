"""A look at a network that reads text: the units that answer to each concept, on a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from markupsafe import Markup
from torch import nn

from seamwise.errors import InputError, ModelError
from seamwise.look.page import drawing
from seamwise.look.page.page import LayerFacts, Section, Unit, write_page
from seamwise.look.text.characters import Text
from seamwise.look.text.coloured import Example, coloured, examples, values_of
from seamwise.look.text.concepts import Concept, concept_of, concept_of_documents, concepts_of_file, usual_concepts
from seamwise.look.text.reading import tokens_for
from seamwise.look.text.tokens import Tokens
from seamwise.look.text.units import TextUnits, check_concepts, halves, text_units
from seamwise.shapes import Float, Int, NDArray

N_BEST = 5  # units of a concept that are shown
N_COLOURED = 700  # tokens
SURE = 0.05
UNITS_LEAD = (
    "The units that answer most to each concept. Open one for a text coloured by it, orange where it is on and blue "
    "where it is off, and for examples drawn at random over its whole range; its address can be shared."
)


@final
@dataclass(frozen=True)
class TextLook:
    """What a network's units answer to, in one text. notes: what was left out, and why."""

    network: nn.Module
    tokens: Tokens
    found: TextUnits
    notes: tuple[str, ...]

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
    seed: int = 0,
) -> TextLook:
    """Find the units that answer to concepts.

    concepts: names, or files with a label a token or a line. Where none is given: all that are known by name and hold
    often enough, and the documents' labels where they have some. Raises InputError where a concept that was asked for
    never or always holds.
    """
    tokens = tokens_for(network, text.documents)
    if not tokens.n:
        raise InputError("there is no token in the text", given="white space alone" if text.documents else "no text")
    wanted, notes = _concepts(tokens, text, concepts)
    found = text_units(network, tokens, wanted, layers=layers, seed=seed)
    return TextLook(network, tokens, found, tuple(notes))


def _concepts(tokens: Tokens, text: Text, asked: Sequence[str]) -> tuple[list[Concept], list[str]]:
    if asked:
        named = [c for name in asked for c in _asked(name, tokens, text)]
        return named, []
    split, kept, notes = halves(tokens), list[Concept](), list[str]()
    for concept in [*usual_concepts(tokens), *_labelled(text)]:
        try:
            check_concepts([concept], tokens, split)
            kept.append(concept)
        except InputError as error:
            notes.append(error.brief)
    if not kept:
        raise InputError("no concept that is known by name holds often enough", remedy="give one: --concept FILE")
    return kept, notes


def _asked(name: str, tokens: Tokens, text: Text) -> list[Concept]:
    if name == "label" and text.labels is not None:
        return _labelled(text)
    is_file = Path(name).is_file() or "/" in name or Path(name).suffix in (".txt", ".tsv", ".csv")
    return concepts_of_file(Path(name), tokens) if is_file else [concept_of(name, tokens)]


def _labelled(text: Text) -> list[Concept]:
    return [concept_of_documents("label", text.labels)] if text.labels is not None else []


def write_text_look(out: Path, title: str, look: TextLook, *, lead: str = "", seed: int = 0) -> Path:
    """Write the page: a table a concept, and a card for each of the units that answer to some."""
    shown = list(
        dict.fromkeys((u.layer, u.unit) for answer in look.found.answers for u in look.found.best(answer, N_BEST))
    )
    layers = [LayerFacts(name, "text", n) for name, n in look.found.layers]
    held = halves(look.tokens).hold
    rows, values = values_of(look.network, look.tokens, shown, held)
    notes = Markup("").join(Markup("<li>{}</li>").format(note) for note in look.notes)
    sections = [_table(look)]
    if look.notes:
        sections.append(
            Section("Left out", "Concepts that this text cannot tell.", Markup("<ul>{}</ul>").format(notes))
        )
    units = _units(look, shown, rows, values, seed)
    return write_page(out, title, sections, layers, units, len(shown), lead=lead, units_lead=UNITS_LEAD)


def _table(look: TextLook) -> Section:
    lead = (
        "AUROC in the half of the text that was held out: how often a unit is higher where the concept holds than "
        "where it does not (.5 is chance; below, the unit is off). p: how often chance would have given a unit as good "
        "among all of them. Beside it what the token itself and its place alone tell, and what the unit tells beyond "
        "its token."
    )
    columns = [
        "concept",
        "of",
        "best unit",
        "AUROC",
        "p",
        "beyond the token",
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
                [answer.concept, answer.level, link, unit.auroc, unit.p, _finite(unit.beyond), answer.by_token,
                 answer.by_place, answer.n_holds, answer.n]
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
                    "concept": answer.concept,
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
        lines.append([f"{low:.2g}-{high:.2g}", example.value, token])
    return drawing.table(["quantiles", "value", "token amid its text"], lines)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def refuse_pictures(network: nn.Module) -> None:
    """Raises ModelError where a network that is asked about text has convolutions over pictures."""
    if any(isinstance(part, nn.Conv2d) for part in network.modules()):
        raise ModelError(f"{type(network).__name__}: sees pictures", remedy="leave --text out, and give --data FOLDER")
