"""What readers are tried with: random bytes, whole files with faults put into them, or with extreme values.

A reader gives something well formed or raises an InputError that names the file; nothing else, and soon.
`tests/test_fuzz_*.py` try each with the same files every time, `benchmarks/fuzz.py` with others, for longer.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from faulty import FAULTS, faulty_bytes, one_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seamwise.errors import InputError

SLOWEST_S = 20.0
FOLDER = "folder-tried"  # what the folder is called that a file is in
ALIKE = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Reader:
    """A reader of a file, tried on its own.

    file: its name in a folder, where `beside` puts what belongs there too. valid: whole files. read: of the folder.
    check: that what was read is well formed. kinds: what it is, beside bytes: text, json, npz, safetensors.
    found: files that were once read wrong. named: what messages name, the file's own name by default.
    """

    name: str
    file: str
    valid: Callable[[], Sequence[bytes]]
    read: Callable[[Path], Any]
    check: Callable[[Any], object] = lambda read: None
    beside: Callable[[Path], object] = lambda folder: None
    kinds: tuple[str, ...] = ("text",)
    found: tuple[bytes, ...] = ()
    named: str = ""
    n_examples: int = 60

    def __str__(self) -> str:
        return self.name


def tried(reader: Reader, content: bytes, folder: Path) -> bool:
    """Whether it is read; raises where it is read wrong, or refused in another way than by an InputError."""
    (folder / reader.file).write_bytes(content)
    start = time.monotonic()
    read, refused = None, ""
    try:
        read = reader.read(folder)
    except InputError as error:
        refused = str(error)
    assert time.monotonic() - start < SLOWEST_S, "takes too long"
    if refused:
        assert (reader.named or Path(reader.file).name) in refused, "does not name the file"
        return False
    reader.check(read)
    return True


def never_breaks(reader: Reader, folder: Path) -> None:
    """The whole files are read; those with faults are read or refused; the same ones every time."""
    folder.mkdir()
    reader.beside(folder)
    for content in reader.valid():
        assert tried(reader, content, folder), "a whole file is refused"
    for content in reader.found:
        tried(reader, content, folder)

    @settings(ALIKE, max_examples=reader.n_examples)
    @given(contents(reader))
    def with_faults(content):
        tried(reader, content, folder)

    with_faults()


def file_of(save: Callable[[Path], object], name: str) -> bytes:
    """A file of those that something is saved as."""
    with TemporaryDirectory() as folder:
        save(Path(folder) / "saved")
        return (Path(folder) / "saved" / name).read_bytes()


def contents(reader: Reader) -> st.SearchStrategy[bytes]:
    """Files for a reader: mostly whole ones with a few faults."""
    whole = one_of(reader.valid())
    kinds = [faulty_bytes(whole), *(FAULTS[kind](whole) for kind in reader.kinds)]
    return st.one_of(st.binary(max_size=300), *kinds, *kinds)


@dataclass(frozen=True)
class Rule:
    """What holds of everything that is drawn. holds: whether it was taken; raises where it was taken wrong."""

    name: str
    drawn: st.SearchStrategy[Any]
    holds: Callable[[Any], bool]
    n_examples: int = 100

    def __str__(self) -> str:
        return self.name


def always_holds(rule: Rule) -> None:
    """For the same examples every time."""

    @settings(ALIKE, max_examples=rule.n_examples)
    @given(rule.drawn)
    def of_each(drawn):
        rule.holds(drawn)

    of_each()
