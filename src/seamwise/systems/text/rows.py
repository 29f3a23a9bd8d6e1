"""Lines of CoNLL-U and CoNLL-U Plus: which columns they have, and which of them are of one sentence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from seamwise.errors import InputError

COLUMNS: tuple[str, ...] = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
ROLE_COLUMNS = ("UP:PRED", "UP:ARGHEADS")
HEADER = "global.columns"  # the comment that names the columns of CoNLL-U Plus

_BOM = "\ufeff"
_UNKNOWN = dict.fromkeys(COLUMNS + ROLE_COLUMNS, "_")


@final
@dataclass(frozen=True)
class Row:
    """A line of columns; those that are missing, or empty but for FORM, are "_"."""

    name: str
    line: int
    columns: Mapping[str, str]

    def refused(self, what: str, given: str, expected: str, remedy: str) -> InputError:
        """An error that names this line."""
        return refused_line(self.name, self.line, what, given, expected, remedy)


def refused_line(name: str, line: int, what: str, given: str, expected: str, remedy: str) -> InputError:
    """An error that names file and line, and what is wrong with it; what was given is cut to 100 characters."""
    given = given if len(given) <= 100 else given[:97] + "..."
    return InputError(f"{name}, line {line}: {what}", given=given, expected=expected, remedy=remedy)


def blocks(lines: Iterable[str], name: str) -> Iterator[tuple[int, dict[str, str], list[Row]]]:
    """Of each sentence: the line that it begins at, its comments by key, its rows.

    Raises InputError where a line has other columns than were named, or a comment stands behind words.
    """
    columns, start, comments, rows = COLUMNS, 0, dict[str, str](), list[Row]()
    for n, raw in enumerate(lines, start=1):
        line = (raw.removeprefix(_BOM) if n == 1 else raw).rstrip("\r\n")
        start = start or n
        if not line.strip():
            if rows:
                yield start, comments, rows
                comments, rows = {}, []
            start = n + 1 if not comments else start
        elif line.startswith("#"):
            key, value = _comment(line, n, name, bool(rows))
            comments[key] = value
            columns = _columns(value, n, name) if key == HEADER else columns
        else:
            rows.append(_row(line, n, name, columns))
    if rows:
        yield start, comments, rows


def _comment(line: str, n: int, name: str, inside: bool) -> tuple[str, str]:
    if inside:
        what, expected = "a comment behind words", "comments before the first word of a sentence"
        raise refused_line(name, n, what, line, expected, "put an empty line before it, or take it out")
    key, _, value = line[1:].partition("=")
    return " ".join(key.split()), value.strip()


def _columns(value: str, n: int, name: str) -> tuple[str, ...]:
    columns = tuple(value.split())
    if not {"ID", "FORM"} <= set(columns) or len(set(columns)) < len(columns):
        expected = "ID, FORM and others, each once"
        raise refused_line(name, n, f"columns that cannot be read: # {HEADER}", value, expected, "name the columns")
    return columns


def _row(line: str, n: int, name: str, columns: Sequence[str]) -> Row:
    values = line.split("\t")
    if len(values) == len(columns):
        known = zip(columns, values, strict=True)
        return Row(name, n, _UNKNOWN | {key: value for key, value in known if value or key == "FORM"})
    expected = f"{len(columns)} columns, a tab between two"
    if len(values) == 1 and len(line.split()) > 1:
        remedy = "put tabs in place of the spaces; an editor may have changed them"
        raise refused_line(name, n, "columns are divided by spaces", line, expected, remedy)
    more = f"; a file with more columns names them in its first line: # {HEADER} = ID FORM ..."
    remedy = "write _ where nothing is known" + (more if len(values) > len(columns) == len(COLUMNS) else "")
    raise refused_line(name, n, "wrong number of columns", f"{len(values)} columns", expected, remedy)
