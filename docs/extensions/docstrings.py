"""Docstrings in the house's style, which are plain text, as reStructuredText.

What it has of its own: `name: what` for parameters and fields, each on a line or several in a row of sentences;
 "Raises ...", "Source: ..." and "Returns ..." that begin a line; `code` in single backticks; drawn trees.
"""

import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Set
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

import seamwise.errors

CODE = re.compile(r"(``?)(.+?)\1", re.DOTALL)
BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
BEGINS = re.compile(r"(?:\*\*)?(Raises|Returns|Source|Differs)\b|- ")
NAME = r"\*{0,2}[A-Za-z_]\w*(?:, [a-z_]\w*)*"
NAMED = re.compile(rf"({NAME}):(?:\s+|$)(.*)")
INLINE = re.compile(rf"(?<=[.;)])\s({NAME}):\s")
SPECIAL = re.compile(r"([\\*`|_])")

Piece = tuple[str, str]
"""(the names that are explained, empty in a paragraph; the text)"""


def as_rest(docstring: str, names: Set[str] = frozenset()) -> str:
    """The docstring as reStructuredText. names: of the parameters and fields of what it describes."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    return "\n\n".join(part for block in blocks for part in _parts(block, names))


def _parts(block: str, names: Set[str]) -> Iterator[str]:
    if re.search("[├└│]", block) or all(line.startswith("    ") for line in block.splitlines()):
        yield "::\n\n" + textwrap.indent(block, "    ")
        return
    pieces = [part for piece in _pieces(block.splitlines(), names) for part in _divided(piece, names)]
    for named, some in groupby(pieces, key=lambda piece: bool(piece[0])):
        if named:
            yield "\n".join(_definition(*piece) for piece in some)
        else:
            yield from (_paragraph(text) for _, text in some)


def _pieces(lines: Iterable[str], names: Set[str]) -> list[Piece]:
    """A block, apart where a line begins something else: a name that is explained, "Raises", "Source", a dash."""
    found: list[Piece] = []
    for line in lines:
        named = NAMED.match(line)
        if named and _are_known(named[1], names):
            found.append((named[1], named[2]))
        elif not found or BEGINS.match(line) or _flows_on(found[-1], line):
            found.append(("", line))
        else:
            found[-1] = (found[-1][0], f"{found[-1][1]}\n{line.strip()}")
    return found


def _flows_on(last: Piece, line: str) -> bool:
    """A sentence at the margin behind names that are explained belongs to none of them."""
    return bool(last[0] and last[1].endswith(".") and re.match("[A-Z]", line))


def _divided(piece: Piece, names: Set[str]) -> Iterator[Piece]:
    """Apart where a name is explained in the middle, by one sentence."""
    name, text = piece
    at, inline = 0, False
    for found in INLINE.finditer(text):
        if _are_known(found[1], names):
            yield name, text[at : found.start()].strip().rstrip(";")
            name, at, inline = found[1], found.end(), True
    rest = text[at:].strip()
    end = re.search(r"(?<=\.)\s(?=[A-Z])", rest) if inline else None
    yield name, rest[: end.start()] if end else rest
    if end:
        yield "", rest[end.end() :]


def _are_known(name: str, names: Set[str]) -> bool:
    return all(one.strip("*") in names for one in name.split(", "))


def _definition(name: str, text: str) -> str:
    shown = ", ".join(f"``{one}``" for one in name.split(", "))
    return f"{shown}\n{textwrap.indent(_inline(text) or '…', '    ')}"


def _paragraph(text: str) -> str:
    if text.startswith("- "):
        return "- " + textwrap.indent(_inline(text[2:]), "  ").strip()
    return _lead(_inline(text))


def _lead(text: str) -> str:
    """Where a paragraph tells what is raised or where it comes from, its first word stands out."""
    return re.sub(r"^(?:\*\*)?(Source|Differs)(?:\*\*)?:", r"*\1*:", text)


def _inline(text: str) -> str:
    """Code and bold as they are meant; all else that reStructuredText would read as a mark, as it stands."""
    found: list[str] = []
    at = 0
    for code in re.finditer(rf"{CODE.pattern}|{BOLD.pattern}", text, re.DOTALL):
        found.append(_plain(text[at : code.start()]))
        found.append(f"``{code[2].strip()}``" if code[2] else f"**{code[3]}**")
        at = code.end()
    return _apart("".join([*found, _plain(text[at:])]))


def _apart(text: str) -> str:
    """Marks need a border: `code`s has none."""
    pieces = re.split(r"(``.+?``|\*\*[^*]+\*\*)", text, flags=re.DOTALL)
    for i in range(1, len(pieces), 2):
        before, after = pieces[i - 1], pieces[i + 1]
        left = "\\ " if before and not re.search(r"[\s'\"(\[{<\-/:]$", before) else ""
        right = "\\ " if after and not re.match(r"[\s'\")\]}>\-/:.,;!?\\]", after) else ""
        pieces[i] = f"{left}{pieces[i]}{right}"
    return "".join(pieces)


def _plain(text: str) -> str:
    text = SPECIAL.sub(r"\\\1", text)
    return re.sub(r"\b([A-Z]\w+Error)\b", _error, text)


def _error(found: re.Match[str]) -> str:
    return f":py:exc:`~seamwise.errors.{found[1]}`" if hasattr(seamwise.errors, found[1]) else found[1]


def names_of(thing: Any) -> set[str]:
    """Of a function's parameters, or of a class's fields and of what it is called with."""
    try:
        names = {*inspect.signature(thing).parameters}
    except (TypeError, ValueError):
        names = set()
    if inspect.isclass(thing):
        names |= {name for base in thing.__mro__ for name in inspect.get_annotations(base)}
        names |= {name for name in vars(thing) if not name.startswith("_")}
    return names - {"self"}


def _process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if lines:
        lines[:] = as_rest("\n".join(lines), names_of(thing)).splitlines()


def _skip(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Settings of pydantic are no part of a record."""
    return True if name == "model_config" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
