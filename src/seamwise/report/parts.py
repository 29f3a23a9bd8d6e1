"""What a page consists of: sections, and the parts that a section shows. The templates draw them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

SHORT = 24  # characters


@final
@dataclass(frozen=True)
class Cell:
    """text, and below it, smaller, lines of more."""

    text: str
    more: tuple[str, ...] = ()
    best: bool = False
    is_number: bool = True

    @property
    def is_short(self) -> bool:
        """Whether each of its lines is best left whole."""
        return max(map(len, (self.text, *self.more))) <= SHORT


@final
@dataclass(frozen=True)
class Line:
    """A row of a table: its head, and its cells."""

    head: str
    cells: tuple[Cell, ...]
    group: str = ""  # lines of one group stand together under its name


@final
@dataclass(frozen=True)
class Table:
    """What a page shows as a table. columns: the heads, the first that of the lines' heads.

    folded: the words that open it, where it is closed at first.
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    folded: str = ""

    @property
    def groups(self) -> dict[str, list[Line]]:
        """The lines, by group, in order."""
        return {g: [line for line in self.lines if line.group == g] for g in dict.fromkeys(x.group for x in self.lines)}


@final
@dataclass(frozen=True)
class Words:
    """A paragraph, or a list of several."""

    kind: ClassVar[str] = "words"
    sentences: tuple[str, ...]
    soft: bool = False


@final
@dataclass(frozen=True)
class Key:
    """A line of a figure's legend. row: the number of the row whose colour it has; None: grey."""

    symbol: str
    name: str
    row: int | None = None


@final
@dataclass(frozen=True)
class Panel:
    """One chart, of Altair. says: what a reader who cannot see it is told."""

    title: str
    chart: Any
    says: str


@final
@dataclass(frozen=True)
class Figure:
    """Charts that belong together, with one legend, one sentence that explains them, and their data."""

    kind: ClassVar[str] = "figure"
    id: str
    panels: tuple[Panel, ...]
    legend: tuple[Key, ...]
    caption: str
    data: Table | None = None
    folded: str = ""  # the words that open it, where it is closed at first


@final
@dataclass(frozen=True)
class Box:
    """A stage as it is drawn: what it is, and what it reads."""

    name: str
    what: str
    reads: tuple[str, ...]
    seams: "tuple[Arrow, ...]" = ()  # what goes out of it


@final
@dataclass(frozen=True)
class Arrow:
    """A field on its way to the next stage. passes: whether gradient crosses; None where it was not looked at.

    reader: "by" whom it is read, where that is not the next stage alone; carries, crosses: hard and passes in words.
    """

    field: str
    reader: str = ""
    passes: bool | None = None
    hard: bool = False
    carries: str = ""
    crosses: str = ""


@final
@dataclass(frozen=True)
class Drawing:
    """A chain as boxes and arrows. says: the same in words; remarks: what to say below it."""

    title: str
    boxes: tuple[Box, ...]
    answer: str
    says: str
    remarks: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Chains:
    """Drawings of chains, one a variant."""

    kind: ClassVar[str] = "chains"
    caption: str
    drawings: tuple[Drawing, ...]


@final
@dataclass(frozen=True)
class Gallery:
    """Example pictures by row. open: the names of those rows that are seen at once."""

    kind: ClassVar[str] = "gallery"
    rows: tuple[Any, ...]
    open: frozenset[str]


@final
@dataclass(frozen=True)
class Terms:
    """Terms, and what to say of them."""

    kind: ClassVar[str] = "terms"
    terms: Mapping[str, str]
    folded: str = ""  # the words that open it, where it is closed at first


Part = Table | Words | Figure | Chains | Gallery | Terms


@final
@dataclass(frozen=True)
class Section:
    """A heading, its name in the page's address, and what stands under it."""

    id: str
    title: str
    parts: tuple[Part, ...] = field(default=())
