"""A text as a network reads it: tokens, and which characters of which document each of them is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from seamwise.errors import ModelError
from seamwise.shapes import Bool, Int, NDArray, Shaped


@final
@dataclass(frozen=True)
class Tokens:
    """What a network reads of some documents, one token after the other.

    ids: the numbers that it reads; more axes behind where each token is more than one number
    document: the number of each token's document; line: of its line, counted through all documents
    start, end: which characters of its document it is
    first, last: the same without white space around it, if there is anything else: where it is, and what holds there
    """

    documents: tuple[str, ...]
    ids: Shaped[NDArray, "tokens *features"]
    document: Int[NDArray, " tokens"]
    line: Int[NDArray, " tokens"]
    start: Int[NDArray, " tokens"]
    end: Int[NDArray, " tokens"]
    first: Int[NDArray, " tokens"]
    last: Int[NDArray, " tokens"]

    @property
    def n(self) -> int:
        """How many tokens."""
        return len(self.document)

    @property
    def n_lines(self) -> int:
        """How many lines; the last of a document may end without a line break."""
        return sum(map(_n_lines, self.documents))

    def text(self, token: int) -> str:
        """The characters of a token."""
        text = self.documents[int(self.document[token])]
        return text[int(self.start[token]) : int(self.end[token])]

    def at_tokens(self, characters: Sequence[Int[NDArray, " _"]]) -> Int[NDArray, " tokens"]:
        """The largest value of each token's characters, from those of each document; -1 for a token without any."""
        lengths = np.array([len(text) for text in self.documents])
        begin = (np.cumsum(lengths) - lengths)[self.document] + self.first
        flat = np.concatenate([*characters, np.full(1, -1, characters[0].dtype)])
        if (self.last - self.first == 1).all():
            return np.asarray(flat[begin])
        values = np.maximum.reduceat(flat, np.stack([begin, begin + self.last - self.first], 1).ravel())[::2]
        return np.where(self.last > self.first, values, -1).astype(flat.dtype)


def _n_lines(text: str) -> int:
    return text.count("\n") + (not text.endswith("\n"))


def tokens_of(
    documents: Sequence[str],
    encode: Callable[[str], Shaped[NDArray, "tokens *features"]],
    pieces: Callable[[str], Sequence[str]] | None = None,
) -> Tokens:
    """Documents as tokens: one a character, or one a byte in UTF-8, or one for each of the text's `pieces`.

    Raises ModelError where there are neither as many tokens as characters, nor as bytes, nor as pieces.
    """
    ids = [np.asarray(encode(text)) for text in documents]
    spans = [_spans(text, len(row), pieces) for text, row in zip(documents, ids, strict=True)]
    trimmed = [_trimmed(text, span) if pieces else span for text, span in zip(documents, spans, strict=True)]
    lines = np.cumsum([0, *map(_n_lines, documents)])
    of_line = [
        before + np.searchsorted(np.flatnonzero(_breaks(text)), span[:, 0])
        for before, text, span in zip(lines, documents, trimmed, strict=False)
    ]
    document = np.repeat(np.arange(len(documents)), [len(row) for row in ids])
    (start, end), (first, last) = np.concatenate(spans).T, np.concatenate(trimmed).T
    return Tokens(tuple(documents), np.concatenate(ids), document, np.concatenate(of_line), start, end, first, last)


def _spans(text: str, n: int, pieces: Callable[[str], Sequence[str]] | None) -> Int[NDArray, "tokens 2"]:
    if pieces is not None:
        ends = np.cumsum([len(piece) for piece in pieces(text)], dtype=np.int64)
        fits, starts = len(ends) == n and (not n or ends[-1] == len(text)), np.append(0, ends)[: len(ends)]
    elif n == len(text):
        starts, ends, fits = np.arange(n), np.arange(1, n + 1), True
    else:
        starts = np.repeat(np.arange(len(text)), [len(c.encode("utf-8", "surrogatepass")) for c in text])
        ends, fits = starts + 1, len(starts) == n
    if not fits:
        expected = "a number for each character, for each byte, or for each of the texts that pieces(text) gives"
        remedy = "give the module a method pieces(text), which divides the text as encode(text) does"
        raise ModelError("encode(text) does not fit the text", given=f"{n:,} numbers", expected=expected, remedy=remedy)
    return np.stack([starts, ends], 1)


def _trimmed(text: str, spans: Int[NDArray, "tokens 2"]) -> Int[NDArray, "tokens 2"]:
    """Without white space around; a token of white space alone stays."""
    ink = np.append(np.flatnonzero(np.fromiter((not c.isspace() for c in text), bool, len(text))), len(text))
    first = ink[np.searchsorted(ink, spans[:, 0])]
    last = ink[np.searchsorted(ink, spans[:, 1]) - 1] + 1
    return np.where((first < spans[:, 1])[:, None], np.stack([first, last], 1), spans)


def _breaks(text: str) -> Bool[NDArray, " characters"]:
    return np.asarray(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32) == ord("\n"))


def column(text: str) -> Int[NDArray, " characters"]:
    """How many characters of its line are before each."""
    starts = np.concatenate([[0], np.flatnonzero(_breaks(text)[:-1]) + 1])
    at = np.arange(len(text))
    return np.asarray(at - starts[np.searchsorted(starts, at, side="right") - 1])
