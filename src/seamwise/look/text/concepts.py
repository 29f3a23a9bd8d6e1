"""Concepts: for each token, line or document of a text, whether something holds there.

Those that are known by name are told from the characters alone:
    punctuation, quote marks, inside quotes, digits, letters, vowels, capitals, white space, word start,
    line start, line end, far in the line, interjections (English), particles (Chinese 吗 呢 吧 啊 呀; also each alone,
    as `particle 吗`), particles at the end of a clause, particles inside of a clause.
`before NAME` holds at the token right before a run of them, `after NAME` right behind one. Others come from a file.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Final, Literal, final

import numpy as np

from seamwise.errors import InputError
from seamwise.look.text.characters import decoded
from seamwise.look.text.tokens import Tokens, column
from seamwise.shapes import Bool, Int, NDArray

Level = Literal["token", "line", "document"]
Mark = Callable[[str], Bool[NDArray, " characters"]]

PARTICLES: Final = "吗呢吧啊呀"
INTERJECTIONS: Final = (
    "ah aha alack alas ay aye fie ha hark heigh hello hey hi ho huh lo nay oh oops ouch pish pooh tush tut ugh "
    "welladay wow yay yeah yes zounds"
)
FAR = 40  # characters from the beginning of a line
ENOUGH = 50  # tokens
MOST_KINDS = 50  # of labels in one file

_VOWELS: Final = frozenset("aeiouAEIOU")
_QUOTES: Final = frozenset('"“”„‟「」『』«»')
_INSIDE: Final = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|「([^」\n]+)」|『([^』\n]+)』|«([^»\n]+)»")
_INTERJECTION: Final = re.compile(rf"\bO\b(?!['’])|\b(?i:{'|'.join(INTERJECTIONS.split())})\b")
# not the second half of a bar (酒吧 网吧 书吧 …), nor the first of its counter (吧台), nor cloth (呢子 毛呢)
_PARTICLE: Final = re.compile(r"(?<![酒网书茶水氧])吧(?![台女员厅])|(?<!毛)呢(?![子绒])|[吗啊呀]")
_CLAUSE_ENDS: Final = re.compile(r"[^\S\n]*(?:[^\w\s]|\n|\Z)")


@final
@dataclass(frozen=True)
class Concept:
    """What holds where: labels are 1, 0, or -1 where it is not known; one a token, a line or a document."""

    name: str
    level: Level
    labels: Int[NDArray, " rows"]


def _each(test: Callable[[str], bool]) -> Mark:
    known = cache(test)
    return lambda text: np.fromiter(map(known, text), bool, len(text))


def _found(pattern: re.Pattern[str], keep: Callable[[str, int], bool] = lambda text, end: True) -> Mark:
    """The characters of what a pattern finds: those of its groups where it has some."""

    def mark(text: str) -> Bool[NDArray, " characters"]:
        holds = np.zeros(len(text), bool)
        for match in pattern.finditer(text):
            begin, end = match.span(match.lastindex or 0)
            holds[begin:end] = keep(text, end)
        return holds

    return mark


def _ends_clause(text: str, end: int) -> bool:
    return _CLAUSE_ENDS.match(text, end) is not None


def _line_end(text: str) -> Bool[NDArray, " characters"]:
    break_ = np.fromiter((c == "\n" for c in text), bool, len(text))
    return np.asarray(np.append(break_[1:], True)[: len(text)] & ~break_)


def _behind(holds: Bool[NDArray, " characters"]) -> Bool[NDArray, " characters"]:
    """Right behind a run."""
    return np.asarray(np.append(False, holds[:-1])[: len(holds)] & ~holds)


def _before(holds: Bool[NDArray, " characters"]) -> Bool[NDArray, " characters"]:
    return np.asarray(np.append(holds[1:], False)[: len(holds)] & ~holds)


def _word_start(text: str) -> Bool[NDArray, " characters"]:
    letters = _LETTERS(text)
    return np.asarray(letters & ~np.append(False, letters[:-1])[: len(text)])


_LETTERS: Final = _each(str.isalpha)
MARKS: Final[Mapping[str, Mark]] = {
    "punctuation": _each(lambda c: unicodedata.category(c).startswith("P")),
    "quote marks": _each(_QUOTES.__contains__),
    "inside quotes": _found(_INSIDE),
    "digits": _each(str.isdigit),
    "letters": _LETTERS,
    "vowels": _each(_VOWELS.__contains__),
    "capitals": _each(str.isupper),
    "white space": _each(str.isspace),
    "word start": _word_start,
    "line start": lambda text: (column(text) == 0) & ~_each("\n".__eq__)(text),
    "line end": _line_end,
    "far in the line": lambda text: column(text) >= FAR,
    "interjections": _found(_INTERJECTION),
    "particles": _found(_PARTICLE),
    "particles at the end of a clause": _found(_PARTICLE, _ends_clause),
    "particles inside of a clause": _found(_PARTICLE, lambda text, end: not _ends_clause(text, end)),
    **{f"particle {c}": _found(_PARTICLE, lambda text, end, c=c: text[end - 1] == c) for c in PARTICLES},  # type: ignore[misc]
}
_NEXT_TO: Final = {"before ": _before, "after ": _behind}


def concept_of(name: str, tokens: Tokens) -> Concept:
    """A concept known by name; a token has it where one of its characters does. Raises InputError."""
    prefix = next((prefix for prefix in _NEXT_TO if name.startswith(prefix)), "")
    of = name.removeprefix(prefix)
    if of not in MARKS:
        near = get_close_matches(of, MARKS, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "or give a file with a label a token or a line"
        raise InputError(f"no concept {name!r}", expected=", ".join(MARKS), remedy=remedy)
    holds = map(MARKS[of], tokens.documents)
    turned = map(_NEXT_TO[prefix], holds) if prefix else holds
    return Concept(name, "token", tokens.at_tokens([h.astype(np.int8) for h in turned]))


def usual_concepts(tokens: Tokens) -> list[Concept]:
    """Those known by name that hold at 50 tokens of the text at least, and do not at 50; no particle alone."""
    found = [concept_of(name, tokens) for name in MARKS if not name.startswith("particle ")]
    return [concept for concept in found if min((concept.labels == 1).sum(), (concept.labels == 0).sum()) >= ENOUGH]


def concept_of_documents(name: str, labels: Sequence[int]) -> Concept:
    """A concept of whole documents, sentiment for example: 1, 0, or -1 where it is not known."""
    return Concept(name, "document", np.array(labels, np.int8))


def concepts_of_file(path: Path, tokens: Tokens, name: str = "") -> list[Concept]:
    """Concepts from a file: a label a token, a line or a document; or the text piece by piece, TAB, its label.

    A label is 0 or 1, or - where it is not known; or any words or numbers, each kind of which is a concept of its own:
    a tag, say. Pieces follow each other as they do in the text, with nothing but white space between them.

    name: of the concept, the file's by default. Raises InputError.
    """
    rows = decoded(path).rstrip("\n").split("\n")
    if "\t" in rows[0]:
        labels, level = _of_pieces(path, rows, tokens), None
    else:
        level = _level(path, len(rows), tokens)
        labels = [row.strip() for row in rows]
    kinds, name = sorted(set(labels) - {"-", ""}), name or path.stem
    if len(kinds) > MOST_KINDS:
        given = f"{len(kinds)} kinds of labels, {kinds[0]!r} among them"
        raise InputError(f"{path}: no labels", given=given, expected="0 and 1, or a few kinds of tags")
    if set(kinds) <= {"0", "1"}:
        return [_levelled(name, labels, {"0": 0, "1": 1}, level, tokens)]
    return [_levelled(f"{name} {kind}", labels, dict.fromkeys(kinds, 0) | {kind: 1}, level, tokens) for kind in kinds]


def _level(path: Path, n: int, tokens: Tokens) -> Level:
    counts: dict[Level, int] = {"token": tokens.n, "line": tokens.n_lines, "document": len(tokens.documents)}
    fitting = [level for level, count in counts.items() if count == n]
    if not fitting:
        expected = "one for each " + ", or ".join(f"{level} ({count:,})" for level, count in counts.items())
        raise InputError(f"{path}: labels do not fit the text", given=f"{n:,} lines", expected=expected)
    return fitting[-1]


def _levelled(
    name: str, labels: Sequence[str], values: Mapping[str, int], level: Level | None, tokens: Tokens
) -> Concept:
    numbers = np.fromiter((values.get(label, -1) for label in labels), np.int8, len(labels))
    return Concept(name, level, numbers) if level else blocked(Concept(name, "token", numbers), tokens)


def blocked(concept: Concept, tokens: Tokens) -> Concept:
    """A concept that, where it is known, is the same all over each document, or line, as one of documents or lines.

    Why: a network's memory and such labels begin and end together, so that only whole blocks may be moved.
    """
    blocks: list[tuple[Level, Int[NDArray, " tokens"]]] = [("document", tokens.document), ("line", tokens.line)]
    for level, block in blocks:
        first = np.flatnonzero(np.diff(block, prepend=-1))
        low = np.minimum.reduceat(np.where(concept.labels < 0, 2, concept.labels), first)
        high = np.maximum.reduceat(concept.labels, first)
        if (low >= high).all() and 1 < len(first) < tokens.n:
            labels = np.full(block[-1] + 1, -1, np.int8)
            labels[block[first]] = high
            return Concept(concept.name, level, labels)
    return concept


def _of_pieces(path: Path, rows: Sequence[str], tokens: Tokens) -> list[str]:
    """The label of each token, from pieces of the text."""
    characters, numbers = [np.zeros(len(text), np.int32) for text in tokens.documents], {"-": 0}
    document = at = 0
    for n, (piece, label) in _pieces(path, rows):
        document, at = _next(tokens.documents, document, at)
        text = tokens.documents[document] if document < len(tokens.documents) else ""
        if not text.startswith(piece, at):
            found = repr(text[at : at + len(piece)]) if text else "its end"
            what = f"{path}, line {n}: the text goes on with something else"
            raise InputError(what, given=repr(piece[:60]), expected=found[:60], remedy="label the text piece by piece")
        characters[document][at : at + len(piece)] = numbers.setdefault(label, len(numbers))
        at += len(piece)
    kinds = list(numbers)
    return [kinds[k] for k in tokens.at_tokens(characters)]


def _pieces(path: Path, rows: Sequence[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    for n, row in enumerate(rows, start=1):
        if row.strip():
            piece, tab, label = row.rpartition("\t")
            if not tab or not piece.strip():
                raise InputError(f"{path}, line {n}: no label", given=repr(row[:60]), expected="text, TAB, its label")
            yield n, (piece.strip(), label.strip())


def _next(documents: Sequence[str], document: int, at: int) -> tuple[int, int]:
    """Where the text goes on behind white space."""
    while document < len(documents):
        text = documents[document]
        while at < len(text) and text[at].isspace():
            at += 1
        if at < len(text):
            break
        document, at = document + 1, 0
    return document, at
