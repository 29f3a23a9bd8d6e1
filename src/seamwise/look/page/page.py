"""The page of a look: one file that loads nothing and sends nothing, or a folder where there are very many units.

Units come as a stream, and each one's pictures go to the disk before the next is asked for. What the page's list needs
of them (numbers and words) stays in memory, and stands in the file before the pictures, so that it is seen at once.
"""

import base64
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import IO, Any, final

from markupsafe import Markup

from seamwise.arrays import NDArray, UInt8
from seamwise.errors import InputError
from seamwise.look.page.drawing import Cell, table
from seamwise.look.page.sprites import sprite
from seamwise.trial import storage_error

MOST_UNITS = 4000  # in one file; beyond that it becomes a folder
INDEX, SPRITES = "index.html", "sprites"
SPLIT = "<!-- pictures -->"
UNITS_LEAD = (
    "Each card is one unit of the network and the nine patches of the pictures that excite it most, the strongest "
    "first, each cut to what the unit can see. Open a card for more; its address can be shared."
)
LAYERS_LEAD = (
    "The layers in the order in which a picture goes through them. Deeper ones see more of it at once: the receptive "
    "field is the part of the picture that one position of the layer can see; neighbours are one jump apart."
)

Fact = float | str | bool | None


@final
@dataclass(frozen=True)
class Row:
    """Up to nine tiles of a unit, all of one side; captions: one a tile, or none at all."""

    name: str
    tiles: UInt8[NDArray, "tiles side side 3"]
    captions: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Unit:
    """A unit: where it is, what is known of it, its rows of tiles; body: anything else, escaped by who made it.

    facts: numbers and words to search and sort by; "dead" marks a unit that never answers.
    """

    layer: str
    unit: int
    facts: Mapping[str, Fact] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    body: Markup = Markup("")


@final
@dataclass(frozen=True)
class LayerFacts:
    """A line of the table of layers. receptive_px: height and width; jump_px: down and across."""

    name: str
    kind: str
    n_units: int
    receptive_px: tuple[int, int] | None = None
    jump_px: tuple[float, float] | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Section:
    """A part of the page: a sentence that says what is seen, and what `seamwise.look.page.drawing` made of it."""

    title: str
    lead: str
    body: Markup


def write_page(
    out: Path,
    title: str,
    sections: Sequence[Section],
    layers: Sequence[LayerFacts],
    units: Iterable[Unit],
    n_units: int,
    *,
    lead: str = "",
    units_lead: str = UNITS_LEAD,
    row_leads: Mapping[str, str] | None = None,
    quality: int = 80,
) -> Path:
    """Write the page, whole or not at all, and say where it is: with more than 4,000 units, in a folder of that name.

    n_units: how many will come. lead: what was looked at, below the title. row_leads: {a row's name: what it shows}.
    Raises InputError, before the first unit is asked for, where a folder is in the way; StorageError.
    """
    told = _Told(title, lead, units_lead, sections, layers, row_leads or {})
    if n_units <= MOST_UNITS:
        with _whole_file(out) as path:
            _write(path, told, units, quality, None)
        return out
    folder = out.with_suffix("") if out.suffix in (".html", ".htm") else out
    with _whole_folder(folder) as path:
        _write(path / INDEX, told, units, quality, path / SPRITES)
    return folder / INDEX


@final
@dataclass
class _Told:
    """The words of a page, and what it has heard of its units so far."""

    title: str
    lead: str
    units_lead: str
    sections: Sequence[Section]
    layers: Sequence[LayerFacts]
    row_leads: Mapping[str, str]
    units: list[tuple[str, int, dict[str, Fact]]] = field(default_factory=list)
    rows: dict[str, str] = field(default_factory=dict)

    def hear(self, unit: Unit) -> None:
        self.units.append((unit.layer, unit.unit, {name: _plain(fact) for name, fact in unit.facts.items()}))
        for row in unit.rows:
            self.rows[row.name] = self.row_leads.get(row.name, "")

    def index(self) -> dict[str, Any]:
        """What the script needs to list the units."""
        layers = list(dict.fromkeys([*(layer.name for layer in self.layers), *(layer for layer, _, _ in self.units)]))
        facts = list(dict.fromkeys(name for _, _, found in self.units for name in found if name != "dead"))
        number_of = {name: i for i, name in enumerate(layers)}
        units = [
            [number_of[layer], unit, int(bool(found.get("dead"))), *(found.get(name) for name in facts)]
            for layer, unit, found in self.units
        ]
        return {"layers": layers, "facts": facts, "rows": list(self.rows.items()), "units": units}


def _plain(fact: object) -> Fact:
    """A fact as JSON can hold it; six digits are enough, and what is no number is nothing."""
    if fact is None or isinstance(fact, (bool, str)):
        return fact
    if isinstance(fact, Real):
        value = float(fact)
        return float(f"{value:.6g}") if isfinite(value) else None
    return bool(fact) if type(fact).__name__ == "bool" else str(fact)  # numpy has a bool of its own


def _write(path: Path, told: _Told, units: Iterable[Unit], quality: int, sprites: Path | None) -> None:
    """The words first, then a block a unit, which waits in a file without a name until all have come."""
    with _nameless_file(path) as blocks:
        for i, unit in enumerate(units):
            told.hear(unit)
            block = _block(i, unit, quality, sprites)
            with _disk(path):
                blocks.write(block)
        before, after = _page(told, in_folder=sprites is not None)
        with _disk(path), path.open("wb") as file:
            file.write(before)
            blocks.seek(0)
            shutil.copyfileobj(blocks, file, 1 << 20)
            file.write(after)


def _block(i: int, unit: Unit, quality: int, sprites: Path | None) -> bytes:
    """A unit's rows and picture, which the script reads when its card comes into view."""
    rows = [{"name": row.name, "n": len(row.tiles), "captions": row.captions} for row in unit.rows]
    block: dict[str, object] = {"rows": rows, "body": str(unit.body)}
    if unit.rows:
        jpeg = sprite([row.tiles for row in unit.rows], quality)
        block["src"] = _address(i, jpeg, sprites)
    text = json.dumps(block, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="u{i}">{text}</script>\n'.encode()


def _address(i: int, jpeg: bytes, sprites: Path | None) -> str:
    if sprites is None:
        return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
    with _disk(sprites):
        sprites.mkdir(exist_ok=True)
        sprites.joinpath(f"{i:06}.jpg").write_bytes(jpeg)
    return f"{SPRITES}/{i:06}.jpg"


def _page(told: _Told, in_folder: bool) -> tuple[bytes, bytes]:
    """What stands in the file before and after the pictures."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("seamwise.look", "page")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    script = Path(__file__).with_name("look.js").read_text(encoding="utf-8")
    page = made.get_template("look.html").render(
        told=told,
        layers=_layers(told.layers),
        layers_lead=LAYERS_LEAD,
        index=told.index(),
        in_folder=in_folder,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        split=Markup(SPLIT),
    )
    before, _, after = page.rpartition(SPLIT)
    return before.encode(), after.encode()


def _layers(layers: Sequence[LayerFacts]) -> Markup:
    """The table of layers; a name leads to the layer's units."""
    facts = list(dict.fromkeys(name for layer in layers for name in layer.facts))
    columns = ["layer", "kind", "units", "receptive field, px", "jump, px", *facts]
    rows: list[list[Cell]] = [
        [
            Markup('<a data-layer="{}">{}</a>').format(layer.name, layer.name),
            layer.kind,
            layer.n_units,
            layer.receptive_px,
            layer.jump_px,
            *(_plain(layer.facts.get(name)) for name in facts),
        ]
        for layer in layers
    ]
    return table(columns, rows)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


@contextmanager
def _nameless_file(beside: Path) -> Iterator[IO[bytes]]:
    with _disk(beside):
        file = tempfile.TemporaryFile(dir=beside.parent)  # noqa: SIM115 - closing it may fail too
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


def check_place(path: Path) -> Path:
    """Where a page is written, links followed. Raises InputError where something else is there, StorageError."""
    with _disk(path):
        path = path.resolve() if path.is_symlink() else path
        other = path.exists() and not path.is_file() and not path.is_dir()
    if other:
        raise InputError(f"{path}: no regular file", given="a device or a pipe", expected="the name of the page's file")
    return path


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A file beside the path, renamed to it at the end; removed where anything went wrong."""
    path = check_place(path)
    if path.is_dir():
        remedy = f"name a file, {path / 'look.html'} say"
        raise InputError(f"{path}: a folder", expected="the name of the page's file", remedy=remedy)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.touch()
        yield beside
        with _disk(path):
            beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside the path, renamed to it at the end; a page that was there before gives way."""
    if folder.exists() and not (folder.is_dir() and {p.name for p in folder.iterdir()} <= {INDEX, SPRITES}):
        given, expected = "something that is no page of seamwise look", f"a folder of {INDEX} and {SPRITES}, or nothing"
        raise InputError(f"{folder}: in the way", given=given, expected=expected, remedy="give another name with --out")
    beside, old = (folder.with_name(f".{folder.name}.{os.getpid()}{end}") for end in ("", ".old"))
    try:
        with _disk(folder):
            beside.mkdir(parents=True)
        yield beside
        with _disk(folder):
            if folder.exists():
                folder.replace(old)
            beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
