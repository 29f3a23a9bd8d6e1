"""What a radiograph's file has to be before anything is decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seamwise.errors import InputError

MIN_LONG_PX, MAX_PIXELS, MAX_ASPECT = 128, 100_000_000, 4.0


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raises InputError where the operating system does not let one look: no permission, a name that is too long."""
    try:
        yield
    except OSError as error:
        what, given = f"{error.filename or path}: cannot be read", str(error.strerror or error)
        expected, remedy = "a file or folder that one may read", "check the name, or allow reading it"
        raise InputError(what, given=given, expected=expected, remedy=remedy) from None


def check_folder(folder: Path) -> None:
    """Raises InputError where there is no such folder."""
    with readable(folder):
        if not folder.is_dir():
            given, expected = "a file" if folder.exists() else "", "a folder of radiographs"
            raise InputError(f"{folder}: no such folder", given=given, expected=expected, remedy="check the name")


def check_file(path: Path) -> None:
    """Raises InputError where there is no file with something in it."""
    problem = given = ""
    with readable(path):
        if not path.exists():
            problem, given = "no such file", "a link that leads nowhere" if path.is_symlink() else ""
        elif not path.is_file():
            problem, given = "no radiograph", "a folder" if path.is_dir() else "neither a file nor a folder"
        elif path.stat().st_size == 0:
            problem, given = "empty", "0 bytes"
    if problem:
        remedy = "check the name, or copy the radiograph again"
        raise InputError(f"{path}: {problem}", given=given, expected="a picture or DICOM file", remedy=remedy)


def check_size(path: Path, width: int, height: int) -> None:
    """Raises InputError where no radiograph of a hand has this size."""
    given = f"{width:,} x {height:,} px"
    long, short = max(width, height), min(width, height)
    if width * height > MAX_PIXELS:
        expected = f"at most {MAX_PIXELS / 1e6:.0f} megapixels"
        raise InputError(f"{path}: too large", given=given, expected=expected, remedy="make the picture smaller")
    if long < MIN_LONG_PX:
        expected = f"a long side of at least {MIN_LONG_PX} px"
        raise InputError(f"{path}: too small", given=given, expected=expected, remedy="give the original radiograph")
    if long > MAX_ASPECT * short:
        expected = f"a long side of at most {MAX_ASPECT:g} times the short one"
        raise InputError(f"{path}: too long for a hand", given=given, expected=expected, remedy="crop it to the hand")


def check_frames(path: Path, n_frames: int) -> None:
    """Raises InputError where a file holds several pictures."""
    if n_frames != 1:
        raise InputError(
            f"{path}: several pictures in one file",
            given=f"{n_frames} pictures",
            expected="one radiograph of one hand",
            remedy="save the one that shows the hand from above in a file of its own",
        )
