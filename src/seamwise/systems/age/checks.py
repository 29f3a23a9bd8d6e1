"""What a radiograph's file has to be before anything is decoded."""

from pathlib import Path

from seamwise.errors import InputError
from seamwise.files import readable

MIN_LONG_PX, MAX_PIXELS, MAX_ASPECT = 128, 100_000_000, 4.0


def check_folder(folder: Path) -> None:
    """Raises InputError where there is no such folder."""
    with readable(folder):
        if not folder.is_dir():
            given, expected = "a file" if folder.exists() else "", "a folder of radiographs"
            raise InputError(f"{folder}: no such folder", given=given, expected=expected, remedy="check the name")


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
