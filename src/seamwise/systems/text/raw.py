"""Raw text: its characters and the white space between them; nothing of a text is ever lost.

*White space* is what cannot stand in a FORM column: the Unicode categories Zs, Zl, Zp (spaces and separators), Cc
(control characters, line ends among them) and Cs (lone surrogates, which no UTF-8 file can hold). That is all that
`str.isspace` takes for white space, and more. Invisible characters of category Cf (joiners, marks of direction, a byte
order mark inside of a text) are characters: words are written with them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final, final

from seamwise.systems.text.sentence import Sentence

LONGEST = 20_000  # characters of a paragraph that are parsed at once, at most

_CLASS: Final = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ud800-\udfff"
WHITE: Final = re.compile(f"[{_CLASS}]+")
VISIBLE: Final = re.compile(f"[^{_CLASS}]")
_AND_WHITE: Final = re.compile(f"([{_CLASS}]+)")

_ESCAPES: Final = {" ": r"\s", "\t": r"\t", "\r": r"\r", "\n": r"\n", "|": r"\p", "\\": r"\\"}
_UNESCAPES: Final = {escape: character for character, escape in _ESCAPES.items()}
_TO_ESCAPE: Final = re.compile(rf"[{_CLASS}|\\]")
_ESCAPED: Final = re.compile(r"\\(?:[strnp\\]|u[0-9a-f]{4})")
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
# where a long paragraph is cut, best first: behind a sentence, a line, anything
_CUTS: Final = tuple(
    re.compile(cut)
    for cut in (rf"[。！？｡؟۔।…][”’」』）]*|[.!?][\"'”’)]?(?=[{_CLASS}])", r"\r\n|\r|\n", rf"[{_CLASS}]")
)


@final
@dataclass(frozen=True)
class Run:
    """A text as characters and white space.

    characters: all that is no white space
    before:     the white space before each of them, mostly none
    after:      the white space behind the last; all of it where there are no characters
    """

    characters: str
    before: tuple[str, ...]
    after: str

    @property
    def text(self) -> str:
        """The text that it was made of."""
        between = zip(self.before, self.characters, strict=True)
        return "".join(chain.from_iterable(between)) + self.after


def run_of(text: str) -> Run:
    """Any text as characters and the white space before each."""
    parts = _AND_WHITE.split(text)  # characters and white space by turns
    before = list[str]()
    for space, characters in zip(["", *parts[1::2]], parts[::2], strict=True):
        before += [space, *[""] * (len(characters) - 1)] if characters else []
    after = parts[-2] if len(parts) > 1 and not parts[-1] else ""
    return Run("".join(parts[::2]), tuple(before), after)


def escaped(space: str) -> str:
    r"""White space as MISC has it after `SpacesAfter=`: \s \t \r \n, \p for |, \\ for itself, \uXXXX for other.

    Source: UDPipe 1 user's manual, "Preserving Spaces". Differs: it has no \uXXXX and leaves such characters as they
    are, which breaks lines that are split at them.
    """
    return _TO_ESCAPE.sub(lambda found: _ESCAPES.get(found[0], f"\\u{ord(found[0]):04x}"), space)


def unescaped(text: str) -> str:
    """The inverse of `escaped`, for any text; a backslash that begins no escape stands for itself."""
    return _ESCAPED.sub(lambda found: _UNESCAPES.get(found[0]) or chr(int(found[0][2:], 16)), text)


def raw_text(sentences: Sequence[Sentence]) -> str:
    """A treebank's text as it would be handed to a parser, with an empty line before each sentence that opens."""
    following = zip_longest(sentences, sentences[1:])
    return "".join(sentence.text + _gap(sentence.tokens[-1].after, later) for sentence, later in following)


def _gap(after: str, following: Sentence | None) -> str:
    """What is between a sentence and the one that follows."""
    if following is None:
        return after if "\n" in after else "\n"
    return "\n\n" if following.opens and after.count("\n") < 2 else after


def rebuilt(sentences: Iterable[Sentence]) -> str:
    """The text that was parsed, exactly."""
    return "".join(t.before + t.form + t.after for sentence in sentences for t in sentence.tokens)


def paragraphs(stream: Iterable[str]) -> Iterator[str]:
    """A text, which comes in lines, in pieces that can be parsed alone; joined, they are the text.

    A piece ends behind empty lines, and takes them along; none is white space alone, unless all of the text is. One of
    more than 20,000 characters is cut in its second half: behind a sentence, a line, white space, else anywhere.
    """
    held, size, closed = list[str](), 0, False
    for line in chain.from_iterable(map(_LINE.findall, stream)):
        empty = VISIBLE.search(line) is None
        if closed and not empty:
            yield from _cut("".join(held))
            held, size = [], 0
        elif not empty and size > LONGEST:
            *whole, rest = _cut("".join(held))
            yield from whole
            held, size = [rest], len(rest)
        held.append(line)
        closed = empty and size > 0
        size += 0 if empty else len(line)
    if held:
        yield from _cut("".join(held))


def _cut(text: str) -> Iterator[str]:
    """Pieces of at most LONGEST characters, each with the white space behind it; the first also with that before it."""
    start, begins = 0, _behind_space(text, 0)
    ends = len(text) - _behind_space(text[::-1], 0)
    while ends - begins > LONGEST:
        cut = _behind_space(text, _place(text, begins))
        yield text[start:cut]
        start = begins = cut
    yield text[start:]


def _behind_space(text: str, at: int) -> int:
    space = WHITE.match(text, at)
    return space.end() if space else at


def _place(text: str, begins: int) -> int:
    """Where to cut a text that begins there and is too long."""
    half, ends = begins + LONGEST // 2, begins + LONGEST
    for cut in _CUTS:
        places = [found.end() for found in cut.finditer(text, half, ends)]
        if places:
            return places[-1]
    return ends
