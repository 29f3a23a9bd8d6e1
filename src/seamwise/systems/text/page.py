"""A sentence on paper: its characters, words, tags and arcs, what was found above them and what was missed below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seamwise.shapes import Float, NDArray, UInt8

MOST_WIDE_PX, MOST_HIGH_PX = 1400, 400
SHARPER = 2  # drawn so many times as large and then reduced, so that lines are smooth
LETTERS, SMALL = 20, 10  # sizes, px; these and all that follow as they are where the picture need not be reduced
MARGIN, GAP, TAGS, BAND, STEP, NEAREST = 12, 10, 15, 30, 18, 16  # STEP: between two arcs, NEAREST: arc to text
ASIDE, ROUND, ARROW, LINE, DASH = 5, 7, 4, 1.3, 4
FOUND, WRONG, MISSED = (70, 130, 220), (210, 60, 50), (50, 145, 50)
INK, FAINT, PAPER, GROUND, BAD_GROUND = (30, 30, 30), (200, 200, 200), (255, 255, 255), (229, 237, 248), (252, 220, 215)
FONTS = (  # with Chinese, as systems name them; of a collection the one with simplified forms
    ("NotoSansCJK-Regular.ttc", 2),
    ("NotoSansCJKsc-Regular.otf", 0),
    ("NotoSansSC-Regular.otf", 0),
    ("PingFang.ttc", 0),
    ("Hiragino Sans GB.ttc", 0),
    ("msyh.ttc", 0),
    ("simsun.ttc", 0),
    ("wqy-microhei.ttc", 0),
    ("DroidSansFallbackFull.ttf", 0),
    ("DejaVuSans.ttf", 0),
)

Span = tuple[int, int]  # a word: its first character, and the one behind its last
Edge = tuple[Span | None, str]  # a head, None for the root, and the relation to it
Colour = tuple[int, int, int]
Points = Float[NDArray, "points 2"]


@final
@dataclass(frozen=True)
class Analysis:
    """The words of a sentence, in order, and of each what is known: its tag, its head and relation."""

    words: tuple[Span, ...]
    tags: Mapping[Span, str]
    edges: Mapping[Span, Edge]


def picture(text: Sequence[str], found: Analysis, gold: Analysis | None = None) -> UInt8[NDArray, "height width 3"]:
    """What was found, and where gold is given, what of it is wrong and what was missed. See drawing.drawer.

    At most 1,400 px wide and 400 high: long sentences are drawn smaller.
    """
    if not text:
        return np.full((MARGIN, MARGIN, 3), 255, dtype=np.uint8)
    left, right, wide = _columns(text, found, gold)
    share = min(1.0, MOST_WIDE_PX / wide)
    above, below = _found_arcs(found, gold), _missed_arcs(found, gold)
    rows = TAGS + BAND + (TAGS if gold else 0)
    over, under = _n_levels(above), _n_levels(below)
    room = MOST_HIGH_PX / share - rows - 2 * MARGIN - NEAREST * (bool(above) + bool(below))
    step = min(STEP, room / max(1, over + under))
    top = MARGIN + NEAREST * bool(above) + over * step
    high = top + rows + under * step + NEAREST * bool(below) + MARGIN
    page = _Page((wide, high), share, left, right, step)
    page.sentence(text, found, gold, top)
    page.arcs(above, top, -1)
    page.arcs(below, top + rows, 1)
    return page.finished()


@final
@dataclass(frozen=True)
class _Arc:
    """A dependency to draw, from its head (None: from outside) to its dependent."""

    head: Span | None
    dependent: Span
    relation: str
    colour: Colour
    name_colour: Colour

    @property
    def reach(self) -> Span:
        """From where to where it goes, in characters."""
        ends = (self.dependent[0], (self.head or self.dependent)[0])
        return min(ends), max(ends)


def _found_arcs(found: Analysis, gold: Analysis | None) -> list[_Arc]:
    """Blue where the head is right, and its name, where the relation is."""
    truth = gold.edges if gold and gold.edges else found.edges
    arcs = []
    for word, (head, relation) in found.edges.items():
        is_right = word in truth and truth[word][0] == head
        named_right = is_right and truth[word][1] == relation
        arcs.append(_Arc(head, word, relation, FOUND if is_right else WRONG, FOUND if named_right else WRONG))
    return arcs


def _missed_arcs(found: Analysis, gold: Analysis | None) -> list[_Arc]:
    edges = gold.edges.items() if gold and found.edges else ()
    return [_Arc(edge[0], word, edge[1], MISSED, MISSED) for word, edge in edges if found.edges.get(word) != edge]


def _levels(arcs: Sequence[_Arc]) -> list[int]:
    """How far from the text each lies: beyond all that it spans; the root's beyond all others."""
    levels, placed = [0] * len(arcs), list[tuple[int, int, int]]()
    for k in sorted(range(len(arcs)), key=lambda k: arcs[k].reach[1] - arcs[k].reach[0]):
        first, last = arcs[k].reach
        if arcs[k].head is not None:
            levels[k] = 1 + max((level for a, b, level in placed if first <= a and b <= last), default=-1)
            placed.append((first, last, levels[k]))
    outermost = 1 + max((level for _, _, level in placed), default=-1)
    return [outermost if arc.head is None else level for arc, level in zip(arcs, levels, strict=True)]


def _n_levels(arcs: Sequence[_Arc]) -> int:
    return max(_levels(arcs), default=0)


def _columns(text: Sequence[str], found: Analysis, gold: Analysis | None) -> tuple[list[float], list[float], float]:
    """Where each character begins and ends, and all of it, px: words stand apart, with room for all names."""
    size = np.array([_font(LETTERS).getlength(character) + 2 for character in text])
    before = np.zeros(len(text) + 1)
    for analysis in (found, gold) if gold else (found,):
        wide = {word: size[slice(*word)].sum() + before[word[0] + 1 : word[1]].sum() for word in analysis.words}
        for start, end in analysis.words:
            lacking = _length(analysis.tags.get((start, end), "")) - wide[start, end]
            before[[start, end]] = np.maximum(before[[start, end]], GAP + max(0, lacking / 2))
        for one, other in pairwise(analysis.words):
            lacking = _length(_between(analysis, one, other)) + 2 * ROUND - (wide[one] + wide[other]) / 2
            before[other[0]] = max(before[other[0]], lacking)
    right = MARGIN - GAP + np.cumsum(before[:-1] + size)
    return (right - size).tolist(), right.tolist(), float(right[-1] + before[-1] + MARGIN - GAP)


def _between(analysis: Analysis, one: Span, other: Span) -> str:
    """The name of the arc between two neighbours, where one is the other's head."""
    edges = [(analysis.edges.get(a, (None, "")), b) for a, b in ((one, other), (other, one))]
    return next((relation for (head, relation), neighbour in edges if head == neighbour), "")


def _length(name: str) -> float:
    return float(_font(SMALL).getlength(name))


@lru_cache(maxsize=64)
def _font(size: float) -> Any:
    """Letters that include Chinese, or else Pillow's own, which have boxes in their place."""
    for name, index in FONTS:
        try:
            return ImageFont.truetype(name, size, index=index)
        except OSError:
            continue
    return ImageFont.load_default(size)


@final
class _Page:
    """Paper, larger than the picture will be.

    size: width and height of all there is, px as where nothing is reduced; share: what the picture will have of that
    left, right: of each character, px
    """

    def __init__(
        self, size: tuple[float, float], share: float, left: list[float], right: list[float], step: float
    ) -> None:
        self._size = tuple(round(side * share) for side in size)
        self._scale, self._left, self._right, self._step = share * SHARPER, left, right, step
        self._image = Image.new("RGB", (self._size[0] * SHARPER, self._size[1] * SHARPER), PAPER)
        self._ink = ImageDraw.Draw(self._image)

    def finished(self) -> UInt8[NDArray, "height width 3"]:
        return np.array(self._image.reduce(SHARPER))

    def sentence(self, text: Sequence[str], found: Analysis, gold: Analysis | None, top: float) -> None:
        """Characters on blocks, the words found, and their tags above; below, words as lines and the tags missed."""
        truth = gold or found
        for word in found.words:
            self._block(word, top + TAGS, GROUND if word in truth.words else BAD_GROUND)
            tag = found.tags.get(word, "")
            is_right = word in truth.words and truth.tags.get(word, tag) == tag
            self._write((self._middle(word), top + TAGS / 2), tag, INK if is_right else WRONG)
        for character, left, right in zip(text, self._left, self._right, strict=True):
            self._write(((left + right) / 2, top + TAGS + BAND / 2), character, INK, LETTERS)
        for word in gold.words if gold else ():
            self._line_below(word, top + TAGS + BAND, FAINT if word in found.words else MISSED)
            tag = truth.tags.get(word, "")
            if found.tags and found.tags.get(word) != tag:
                self._write((self._middle(word), top + 1.6 * TAGS + BAND), tag, MISSED)

    def arcs(self, arcs: Sequence[_Arc], base: float, side: int) -> None:
        """Away from the base: upwards (side -1), or downwards and dashed (1). Names lie over all lines."""
        placed = [
            (arc, base + side * (NEAREST + level * self._step)) for arc, level in zip(arcs, _levels(arcs), strict=True)
        ]
        for arc, height in placed:
            points = self._path(arc, base, height)
            self._draw(points, arc.colour, dashed=side > 0)
            self._arrow(points[-1], side, arc.colour)
        for arc, height in placed:
            ends = [self._middle(word) for word in (arc.dependent, arc.head or arc.dependent)]
            self._write((sum(ends) / 2, height), arc.relation, arc.name_colour)

    def _middle(self, word: Span) -> float:
        return (self._left[word[0]] + self._right[word[1] - 1]) / 2

    def _path(self, arc: _Arc, base: float, height: float) -> Points:
        """From the head's side that is nearer, up, along and down to the dependent; its corners round."""
        end = self._middle(arc.dependent)
        if arc.head is None:
            return np.array([(end, height), (end, base)])
        start = self._middle(arc.head)
        way = 1.0 if end > start else -1.0
        start += way * ASIDE
        out = (height - base) / abs(height - base)
        r = min(ROUND, abs(end - start) / 2, abs(height - base))
        turn = np.linspace(0, np.pi / 2, 8)
        rise = np.stack([start + way * r * (1 - np.cos(turn)), height - out * r * (1 - np.sin(turn))], axis=1)
        fall = np.stack([end - way * r * (1 - np.sin(turn)), height - out * r * (1 - np.cos(turn))], axis=1)
        return np.concatenate([[(start, base)], rise, fall, [(end, base)]])

    def _draw(self, points: Points, colour: Colour, *, dashed: bool) -> None:
        """A line through the points."""
        width = max(1, round(LINE * self._scale))
        if not dashed:
            self._ink.line(
                [(x * self._scale, y * self._scale) for x, y in points], fill=colour, width=width, joint="curve"
            )
            return
        passed = np.concatenate([[0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
        for begin in np.arange(0, passed[-1], 2 * DASH):
            ends = [[float(np.interp(p, passed, points[:, axis])) for axis in (0, 1)] for p in (begin, begin + DASH)]
            self._ink.line([(x * self._scale, y * self._scale) for x, y in ends], fill=colour, width=width)

    def _arrow(self, at: Float[NDArray, "2"], side: int, colour: Colour) -> None:
        """A point at a dependent."""
        x, y = at.tolist()
        corners = [(x, y), (x - ARROW, y + side * 1.6 * ARROW), (x + ARROW, y + side * 1.6 * ARROW)]
        self._ink.polygon([(a * self._scale, b * self._scale) for a, b in corners], fill=colour)

    def _block(self, word: Span, top: float, colour: Colour) -> None:
        box = (self._left[word[0]] - 2, top, self._right[word[1] - 1] + 2, top + BAND - 3)
        self._ink.rounded_rectangle([side * self._scale for side in box], radius=4 * self._scale, fill=colour)

    def _line_below(self, word: Span, y: float, colour: Colour) -> None:
        box = (self._left[word[0]], y - 1, self._right[word[1] - 1], y + 1)
        self._ink.rectangle([side * self._scale for side in box], fill=colour)

    def _write(self, at: tuple[float, float], text: str, colour: Colour, size: float = SMALL) -> None:
        """Letters about a point; small ones clear the paper around them."""
        font = _font(size * self._scale)
        x, y = (side * self._scale for side in at)
        around = round(2 * self._scale) if size == SMALL else 0
        self._ink.text((x, y), text, colour, font, anchor="mm", stroke_width=around, stroke_fill=PAPER)
