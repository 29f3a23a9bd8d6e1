"""A dependency tree drawn in the terminal: a word a line, its edges at the left, what is known of it at the right."""

import unicodedata
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size

from seamwise.systems.text.sentence import ROOT, Sentence, Word

PREDICATE, ARGUMENT_OF, MORE = "●", "→", "…"
LEAST_FORM = 8  # cells of a column where the terminal is narrow
EDGES, FORM, TAG, RELATION, ROLES, PLAIN = "2", "1", "36", "32", "33", ""  # how they look, as terminals have it
TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # characters that turn the writing direction
NO_LANE = -1

Piece = tuple[str, str]  # words, and how they look
Reach = tuple[int, int]  # the first and the last row of a head and its dependents


def tree_text(sentence: Sentence, width: int = 100, colour: bool = False) -> str:
    """The text, then a line a word: its edges, form, tag, relation, and its roles.

    A head's line goes up and down past all its dependents; the root's begins at the left margin. Where edges cross,
    the one that lies level is broken. Predicates are marked and arguments point at theirs: `● give.01`, `ARG0→give`.
    What does not fit ends in "…": no line has more cells than the width. Control characters and those that turn the
    writing direction are shown as "�", so that no text can command the terminal.
    """
    lines = [[(printable(" ".join(sentence.text.split())), PLAIN)]] if sentence.tokens else []
    lines += _rows(sentence.words, width)
    return "".join(_painted(_cut(pieces, width), colour) + "\n" for pieces in lines)


def printable(text: str) -> str:
    """The text without what could move the cursor, turn the writing direction, or not be encoded."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if _commands(character) else character for character in text)


def _commands(character: str) -> bool:
    category = unicodedata.category(character)
    return category in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(character) in TURNS


def _rows(words: Sequence[Word], width: int) -> list[list[Piece]]:
    """Of each word what is told of it, in columns."""
    most = max(LEAST_FORM, width // 3)
    columns = [
        [(cells, EDGES) for cells in edges(words, most // 2)],
        [(cells + " ", FORM) for cells in _aligned([printable(word.form) for word in words], most)],
        [(cells + "  ", TAG) for cells in _aligned([printable(word.tag) for word in words], most)],
        [(cells + "  ", RELATION) for cells in _aligned([printable(word.relation) for word in words], most)],
        [(cells, ROLES) for cells in _roles(words)],
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _roles(words: Sequence[Word]) -> list[str]:
    """Of each word: its sense where it is a predicate, then whose argument it is."""
    told: list[list[str]] = [
        [f"{PREDICATE} {word.predicate}".removesuffix(" _")] if word.predicate else [] for word in words
    ]
    for word in words:
        for argument, role in word.arguments:
            told[argument - 1].append(f"{role}{ARGUMENT_OF}{word.form}")
    return [printable("  ".join(each)) for each in told]


def _aligned(cells: Sequence[str], most: int) -> list[str]:
    """All as wide as the widest, and none wider than so many cells."""
    width = min(most, max(map(cell_len, cells), default=0))
    return [each + " " * (width - cell_len(each)) for each in (_short(each, width) for each in cells)]


def _short(text: str, width: int) -> str:
    """So many cells of it at most."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + MORE


def _cut(pieces: Sequence[Piece], width: int) -> Iterator[Piece]:
    """Those that fit in so many cells, and an ellipsis in the place of those that do not."""
    whole = "".join(text for text, _ in pieces).rstrip()
    left = width if cell_len(whole) <= width else width - 1
    for text, look in pieces:
        kept = text if cell_len(text) <= left else set_cell_size(text, max(0, left))
        left -= cell_len(kept)
        yield kept, look
    if cell_len(whole) > width:
        yield MORE, PLAIN


def _painted(pieces: Iterator[Piece], colour: bool) -> str:
    looks = [(text, look if colour and text.strip() else PLAIN) for text, look in pieces]
    return "".join(f"\x1b[{look}m{text}\x1b[0m" if look else text for text, look in looks).rstrip()


def edges(words: Sequence[Word], most: int) -> list[str]:
    """The edges left of each word, all equally wide, in so many lanes at most: an ellipsis stands for the others."""
    reach = _reach(words)
    lanes = _lanes(words, reach, max(1, most))
    grid = [[" "] * (2 * max(lanes, default=NO_LANE) + 6) for _ in words]
    for (first, last), lane in zip(reach, lanes, strict=True):
        for row in range(first, last + 1) if lane != NO_LANE else ():
            grid[row][_at(lane)] = "│"
    for row, cells in enumerate(grid):
        _connect(cells, row, words[row].head, reach, lanes)
    return ["".join(cells) for cells in grid]


def _at(lane: int) -> int:
    """Where its line stands, in cells."""
    return 2 * lane + 1


def _reach(words: Sequence[Word]) -> list[Reach]:
    """Of each word, as a head."""
    first, last = list(range(len(words))), list(range(len(words)))
    for row, word in enumerate(words):
        if word.head > ROOT:
            first[word.head - 1], last[word.head - 1] = min(first[word.head - 1], row), max(last[word.head - 1], row)
    return list(zip(first, last, strict=True))


def _lanes(words: Sequence[Word], reach: Sequence[Reach], most: int) -> list[int]:
    """Of each head the lane of its line: right of its own head's, where no other line is; NO_LANE where none is left.

    In a projective tree that is its depth, and no edges cross.
    """
    lanes = [NO_LANE] * len(words)
    taken: list[list[Reach]] = [[] for _ in range(most)]
    for row in _downwards(words):
        first, last = reach[row]
        above = words[row].head - 1
        begin = 0 if above < 0 else lanes[above] + 1 if lanes[above] != NO_LANE else most
        free = (k for k in range(begin, most) if all(last < start or end < first for start, end in taken[k]))
        if first < last and (lane := next(free, NO_LANE)) != NO_LANE:
            lanes[row] = lane
            taken[lane].append((first, last))
    return lanes


def _downwards(words: Sequence[Word]) -> list[int]:
    """All that hang on the root, heads first."""
    below: list[list[int]] = [[] for _ in range(len(words) + 1)]
    for row, word in enumerate(words):
        if word.head >= ROOT:
            below[word.head].append(row)
    found = list(below[ROOT])
    for row in found:
        found.extend(below[row + 1])
    return found


def _connect(cells: list[str], row: int, head: int, reach: Sequence[Reach], lanes: Sequence[int]) -> None:
    """The edge of one word: from its head's line past its own to the word."""
    end = len(cells) - 3
    if head < ROOT:
        return
    shown = head == ROOT or lanes[head - 1] != NO_LANE
    begin = 0 if head == ROOT else _at(lanes[head - 1]) + 1 if shown else end
    for at in range(begin, end):
        cells[at] = "─" if cells[at] == " " else cells[at]
    first, last = reach[row]
    if shown and head != ROOT:
        above, below = reach[head - 1]
        cells[begin - 1] = "╭" if row == above else "╰" if row == below else "├"
    if lanes[row] != NO_LANE:
        cells[_at(lanes[row])] = "┬" if row == first else "┴" if row == last else "┼"
    hidden = not shown or (first < last and lanes[row] == NO_LANE)
    cells[end:] = [MORE if hidden else "─", "▸", " "]
