"""Text as it comes in: bytes to characters, pieces to sentences; no white space between them is lost."""

import codecs
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from io import BufferedIOBase
from typing import Protocol, final, runtime_checkable

from seamwise.errors import InputError
from seamwise.systems.text.raw import WHITE, paragraphs
from seamwise.systems.text.sentence import Sentence, Token, Word

CHUNK = 1 << 16  # bytes read at once, at most
BOM = "\ufeff"

Found = tuple[str, list[Sentence]]  # a piece of text and its sentences: none where it is white space


@runtime_checkable
class Parses(Protocol):
    """What a text is parsed with."""

    @property
    def has_roles(self) -> bool:
        """Whether it labels roles."""

    @property
    def has_tags(self) -> bool:
        """Whether it tags words, and so can be given words and tags; a direct network cannot."""

    @property
    def strips_spaces(self) -> bool:
        """Whether it was made for text without white space."""

    def parse(self, texts: Iterable[str]) -> Iterator[list[Sentence]]:
        """The sentences of each text."""

    def annotate(self, sentences: Sequence[Sentence], given: str) -> list[Sentence]:
        """All that is behind what is given: "sentences", "words", "tags" or "tree"."""


@final
class Text:
    """A file's text, in UTF-8 with or without byte order mark, part by part as it comes in.

    It ends before the first byte that is no UTF-8; `error` then says where that is.
    """

    def __init__(self, file: BufferedIOBase, name: str) -> None:
        self._file, self._name = file, name
        self._n_bytes = self._n_lines = 0
        self.error: InputError | None = None

    def __iter__(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        chunk, starts = b"more", True
        while chunk and self.error is None:
            chunk = self._file.read1(CHUNK)
            self._n_bytes += len(chunk)
            try:
                part = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as wrong:
                part = wrong.object[: wrong.start].decode()
                self.error = self._refused(wrong, part)
            self._n_lines += part.count("\n")
            if part:
                yield part.removeprefix(BOM) if starts else part
                starts = False

    def _refused(self, wrong: UnicodeDecodeError, before: str) -> InputError:
        byte = self._n_bytes - len(wrong.object) + wrong.start
        line = 1 + self._n_lines + before.count("\n")
        given = f"{wrong.object[wrong.start : wrong.start + 4]!r}, after {byte:,} bytes ({wrong.reason})"
        remedy = "save it as UTF-8, for example with iconv -f GB18030 -t UTF-8"
        what = f"{self._name}, line {line}, byte {byte + 1}: no UTF-8"
        return InputError(what, given=given, expected="text in UTF-8", remedy=remedy)


def parsed(parser: Parses, text: Iterable[str]) -> Iterator[Sentence]:
    """The sentences of running text, those of a paragraph as soon as it has ended.

    The last of them comes once more than white space has followed, which it takes along, or the text has ended.
    """
    return _joined(_of_pieces(parser, _batches(text, _cut_paragraphs)))


def parsed_lines(parser: Parses, text: Iterable[str], given: str) -> Iterator[Sentence]:
    """The sentences of a text that has one a line; `given` is "words" where white space stands between words."""
    return _joined(_of_lines(parser, _batches(text, _cut_lines), given))


def _batches(text: Iterable[str], cut: Callable[[str], list[str]]) -> Iterator[list[str]]:
    """The pieces that are whole each time that some text has come in; the last of a cut is whole if it is empty."""
    rest = ""
    for part in text:
        *pieces, rest = cut(rest + part)
        if pieces:
            yield pieces
    if rest:
        yield [rest]


def _cut_paragraphs(text: str) -> list[str]:
    pieces = list(paragraphs([text]))
    return [*pieces, ""] if pieces and _ends_paragraph(pieces[-1]) else pieces or [""]


def _ends_paragraph(text: str) -> bool:
    """Whether an empty line is behind it."""
    return text[len(text.rstrip()) :].count("\n") > 1


def _cut_lines(text: str) -> list[str]:
    *lines, rest = text.split("\n")
    return [*(line + "\n" for line in lines), rest]


def _of_pieces(parser: Parses, batches: Iterable[list[str]]) -> Iterator[Found]:
    for pieces in batches:
        yield from zip(pieces, parser.parse(pieces), strict=True)


def _of_lines(parser: Parses, batches: Iterable[list[str]], given: str) -> Iterator[Found]:
    for lines in batches:
        bare = [list(bare_sentences(line)) for line in lines]
        done = iter(parser.annotate([sentence for each in bare for sentence in each], given))
        yield from ((line, [next(done) for _ in each]) for line, each in zip(lines, bare, strict=True))


def bare_sentences(line: str) -> Iterator[Sentence]:
    """The sentence of a line, a word between white space, with nothing known of any; none where all is white space."""
    forms, spaces = WHITE.split(line), [*WHITE.findall(line), ""]
    before = "" if forms[0] else spaces[0]
    tokens = [Token(form, after=space) for form, space in zip(forms, spaces, strict=True) if form]
    if tokens:
        words = tuple(Word(token.form) for token in tokens)
        yield Sentence(words, (replace(tokens[0], before=before), *tokens[1:]))


def _joined(found: Iterable[Found]) -> Iterator[Sentence]:
    """One after the other, each with the white space up to the next; `opens` where an empty line is before it."""
    held, space = list[Sentence](), ""  # the one that is held back
    for text, sentences in found:
        space += sentences[0].tokens[0].before if sentences else text
        for sentence in sentences:
            whole = [_followed(last, space) for last in held]
            yield from whole
            opens = not whole or _ends_paragraph(whole[0].tokens[-1].after)
            held = [_preceded(replace(sentence, opens=opens), "" if whole else space)]
            space = ""
    yield from (_followed(last, space) for last in held)


def _followed(sentence: Sentence, space: str) -> Sentence:
    last = sentence.tokens[-1]
    return replace(sentence, tokens=(*sentence.tokens[:-1], replace(last, after=last.after + space)))


def _preceded(sentence: Sentence, space: str) -> Sentence:
    return replace(sentence, tokens=(replace(sentence.tokens[0], before=space), *sentence.tokens[1:]))
