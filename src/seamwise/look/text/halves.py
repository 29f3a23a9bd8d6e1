"""Two halves of a text: units are found in one and told by the other; and a text cut to what is looked at.

Of twenty documents or more, as many as are looked at are drawn at random, and each half of these at random; of fewer,
the halves are the first part of the text and the second, or, where it is longer than what is looked at, a stretch
from the middle of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from seamwise.errors import InputError
from seamwise.look.text.characters import Text
from seamwise.look.text.concepts import Concept
from seamwise.look.text.reading import Piece
from seamwise.look.text.tokens import Tokens
from seamwise.shapes import Bool, Int, NDArray

MOST = 200_000  # tokens that are looked at
MANY = 20  # documents, of which half are held out
FEWEST = 5  # tokens, lines or documents where a concept holds, or does not, in a half
NEAR = 10  # a half ends with a document or a line where one ends within a tenth of the text from its middle


@final
@dataclass(frozen=True)
class Halves:
    """Which tokens units are found in (0), which are held out (1), which are not looked at (-1)."""

    half: Int[NDArray, " tokens"]
    find: tuple[Piece, ...]
    hold: tuple[Piece, ...]

    def rows(self, half: int) -> Int[NDArray, " tokens"]:
        """The tokens of a half."""
        return np.flatnonzero(self.half == half)


def halves(tokens: Tokens, most: int = MOST, seed: int = 0) -> Halves:
    """At most about so many tokens, in two halves; see the head of this page."""
    ends = np.searchsorted(tokens.document, np.arange(len(tokens.documents)), side="right")
    half = np.full(tokens.n, -1, np.int8)
    if len(ends) >= MANY:
        chosen = _drawn(len(ends), tokens.n, most, seed)
        of_document = np.full(len(ends), -1, np.int8)
        of_document[chosen[::2]], of_document[chosen[1::2]] = 0, 1
        half = of_document[tokens.document]
    elif tokens.n <= most:
        half[:] = np.arange(tokens.n) >= _middle(tokens)
    else:
        for k, (begin, end) in enumerate(_stretches(tokens.n, most)):
            half[begin:end] = k
    return Halves(half, *(tuple(_pieces(half == k, ends)) for k in (0, 1)))


def _drawn(n: int, size: int, most: int, seed: int) -> Int[NDArray, " documents"]:
    """Documents drawn at random, in random order, so many that they have about `most` of all tokens or characters."""
    kept = min(n, max(MANY, int(n * most / max(size, 1))))
    return np.random.default_rng(seed).permutation(n)[:kept]


def _stretches(n: int, most: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """One from the middle of each half."""
    each = min(most, n) // 2
    first, second = (max(0, n * k // 4 - each // 2) for k in (1, 3))
    return (first, first + each), (second, min(second + each, n))


def _middle(tokens: Tokens) -> int:
    """Where the second half begins: with a document, else with a line, if one begins near; else in the middle."""
    middle = tokens.n // 2
    for blocks in (tokens.document, tokens.line):
        begins = np.flatnonzero(np.diff(blocks)) + 1
        near = begins[np.abs(begins - middle) <= tokens.n / NEAR]
        if len(near):
            return int(near[np.abs(near - middle).argmin()])
    return middle


def _pieces(asked: Bool[NDArray, " tokens"], ends: Int[NDArray, " documents"]) -> Iterator[Piece]:
    first = 0
    for last in map(int, ends):
        at = first + np.flatnonzero(asked[first:last])
        if len(at):
            yield first, last, int(at[0]), int(at[-1]) + 1
        first = last


def shortened(text: Text, most: int, seed: int = 0) -> Text:
    """At most about so many characters, those that `halves` would look at, so that no others need to become tokens."""
    size = sum(map(len, text.documents))
    if size <= most:
        return text
    if len(text.documents) < MANY:
        parts = [part for stretch in _stretches(size, most) for part in _parts(text.documents, *stretch)]
    else:
        chosen = np.sort(_drawn(len(text.documents), size, most, seed)).tolist()
        long = sum(len(text.documents[k]) for k in chosen) > 2 * most
        parts = [(k, text.documents[k][: most // len(chosen) if long else None]) for k in chosen]
    labels = text.labels and tuple(text.labels[k] for k, _ in parts)
    return replace(text, documents=tuple(part for _, part in parts), labels=labels)


def _parts(documents: Sequence[str], begin: int, end: int) -> Iterator[tuple[int, str]]:
    """What of each document is between two characters of all; from the beginning of a line, if one begins near."""
    for k, document in enumerate(documents):
        part = document[max(begin, 0) : max(end, 0)]
        if begin > 0 and document[begin - 1 : begin] != "\n":
            part = part[part[: len(part) // NEAR].find("\n") + 1 :]
        if part.strip():
            yield k, part
        begin, end = begin - len(document), end - len(document)


def check_concepts(concepts: Sequence[Concept], tokens: Tokens, split: Halves) -> None:
    """Raises InputError, with the count, where a concept hardly ever or nearly always holds in one of the halves."""
    if not concepts:
        raise InputError("no concept", remedy="name one, or give a file with a label a token or a line")
    for concept in concepts:
        block = {"token": np.arange(tokens.n), "line": tokens.line, "document": tokens.document}[concept.level]
        for k, half in enumerate(("where units are found", "held out")):
            labels = concept.labels[np.unique(block[split.rows(k)])]
            n, holds = int((labels >= 0).sum()), int((labels == 1).sum())
            if min(holds, n - holds) < FEWEST:
                given = f"it holds at {holds:,} of {n:,} {concept.level}s {half}"
                expected = f"at {FEWEST} at least, and not at {FEWEST}, in both halves"
                remedy = "look at more text, or at another concept"
                raise InputError(f"concept {concept.name!r}", given=given, expected=expected, remedy=remedy)
