"""What a file or a folder has to be before it is opened; and NumPy's archives, opened safely."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from seamwise.errors import InputError

MOST_BYTES = 1 << 32  # of an array, unpacked: a small file can say that it holds any number


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises InputError where the operating system does not let one look: no permission, a name that is too long."""
    try:
        yield
    except OSError as error:
        what, given = f"{error.filename or path}: cannot be read", str(error.strerror or error)
        expected, remedy = "a file or folder that one may read", "check the name, or allow reading it"
        raise InputError(what, given=given, expected=expected, remedy=remedy) from None


def check_file(path: Path, what: str = "picture", expected: str = "a picture file") -> None:
    """Raises InputError where there is no file with something in it; `what` is the word for it in the message."""
    problem = given = ""
    with readable(path):
        if not path.exists():
            problem, given = "no such file", "a link that leads nowhere" if path.is_symlink() else ""
        elif not path.is_file():
            problem, given = f"no {what}", "a folder" if path.is_dir() else "neither a file nor a folder"
        elif path.stat().st_size == 0:
            problem, given = "empty", "0 bytes"
    if problem:
        remedy = f"check the name, or copy the {what} again"
        raise InputError(f"{path}: {problem}", given=given, expected=expected, remedy=remedy)


@contextmanager
def opened_npz(path: Path, error: type[InputError] = InputError, remedy: str = "") -> Iterator[Any]:
    """An .npz file, for its arrays to be read by name within the block. Nothing is unpickled.

    Raises the given error where the file, or what is read of it within the block, is none.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            large = next((entry for entry in held.zip.infolist() if entry.file_size > MOST_BYTES), None)
            if large is not None:
                raise ValueError(f"{large.filename} of {large.file_size:,} bytes, above {MOST_BYTES:,}")
            yield held
    except Exception as wrong:  # a broken archive raises many kinds, by where it is broken
        what, given = f"{path}: cannot be read", f"{type(wrong).__name__}: {wrong}"
        raise error(what, given=given, expected="a NumPy archive, .npz", remedy=remedy) from None
