"""Pictures: one file read safely, whatever its format, its turn and its shades; and words on a picture."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageDraw, UnidentifiedImageError

from seamwise.arrays import Float, NDArray, UInt8
from seamwise.errors import InputError
from seamwise.files import check_file

MAX_PIXELS, MIN_SIDE_PX = 100_000_000, 16
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
READ = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".png",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".jp2",
)
SUFFIXES = (*READ, ".heic", ".heif", ".avif")  # the last cannot be read: read_photo says so, so that none goes missing
SAVE_AS = "save it again as JPEG or PNG"

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_pillow = threading.RLock()


def read_photo(path: Path) -> UInt8[NDArray, "height width 3"]:
    """A photograph, upright, in red, green and blue of 8 bit; what is transparent turns white.

    Grey of more than 8 bit is stretched from its darkest to its brightest value. The first picture of several.
    Raises InputError where the file is no picture, is damaged, has a side below 16 px or more than 100 megapixels;
    the size is looked at before anything is decoded.
    """
    check_file(path, "photograph")
    with opened(path) as image:
        check_size(path, *image.size, "photograph")
        image = upright(image)
        return coloured(stretched(np.array(image, dtype=np.float32))) if is_wide(image) else rgb(image)


@contextmanager
def opened(
    path: Path, formats: Sequence[str] = FORMATS, kinds: str = "", save_as: str = SAVE_AS
) -> Iterator[Image.Image]:
    """A picture file of which only the head was read; it is to be decoded within the block, by one thread at a time.

    kinds: the formats in words, for the message.
    Raises InputError where it is of none of the formats, or where the block meets damage.
    """
    try:
        with _quiet(), path.open("rb") as file, Image.open(file, formats=list(formats)) as image:
            yield image
    except UnidentifiedImageError:
        with path.open("rb") as file:
            given = f"a file that starts with {file.read(12)!r}"
        kinds = kinds or ", ".join(formats)
        raise InputError(f"{path}: no picture that can be read", given=given, expected=kinds, remedy=save_as) from None
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read", given=str(error.strerror), remedy="allow reading it") from None
    except Exception as error:  # whatever Pillow raises, by format, for a file that is cut short or damaged
        given = f"{path.stat().st_size:,} bytes: {error}"
        remedy = f"copy the file again from where it came from, or {save_as}"
        what = f"{path}: cut short or damaged"
        raise InputError(what, given=given, expected="a whole picture", remedy=remedy) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Pillow without its warnings, and without its limit, which would hide a picture's size; one thread at a time."""
    with _pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def check_size(path: Path, width: int, height: int, what: str = "picture") -> None:
    """Raises InputError where a picture has more than 100 megapixels or a side below 16 px."""
    given = f"{width:,} x {height:,} px ({width * height / 1e6:,.1f} megapixels)"
    if width * height > MAX_PIXELS:
        expected = f"at most {MAX_PIXELS / 1e6:.0f} megapixels"
        raise InputError(f"{path}: too large", given=given, expected=expected, remedy="make the picture smaller")
    if min(width, height) < MIN_SIDE_PX:
        expected = f"at least {MIN_SIDE_PX} px a side"
        raise InputError(f"{path}: too small", given=given, expected=expected, remedy=f"give the original {what}")


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture as `read_photo` gives it, px; nothing is decoded. Raises InputError."""
    check_file(path)
    with opened(path) as image:
        width, height = image.size
        check_size(path, width, height)
        return (width, height) if _orientation(image) in (5, 6, 7, 8) else (height, width)


def upright(image: Image.Image) -> Image.Image:
    """The picture decoded, and turned as its notes say; notes that cannot be read do not spoil it."""
    image.load()
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # whatever Pillow raises for notes that are damaged
        return 1


def is_wide(image: Image.Image) -> bool:
    """Whether it is grey of more than 8 bit."""
    return image.mode.startswith(("I", "F"))  # I, I;16, I;16B, F


def rgb(image: Image.Image) -> UInt8[NDArray, "height width 3"]:
    """A picture of 8 bit in red, green and blue; what is transparent turns white."""
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(image.convert("RGB"))


def coloured(grey: UInt8[NDArray, "height width"]) -> UInt8[NDArray, "height width 3"]:
    """The same grey in red, green and blue."""
    return np.repeat(grey[..., None], 3, axis=2)


def stretched(
    grey: Float[NDArray, "height width"], between: tuple[float, float] | None = None
) -> UInt8[NDArray, "height width"]:
    """Grey of 8 bit, black at the first of two values and white at the second, or else at its darkest and brightest.

    Raises ValueError where no pixel is a number.
    """
    low, high = between or extent(grey)
    scaled = (np.nan_to_num(grey, nan=low, posinf=high, neginf=low) - low) / ((high - low) or 1.0)
    return np.asarray((scaled * 255).round().clip(0, 255).astype(np.uint8))


def extent(grey: Float[NDArray, "height width"]) -> tuple[float, float]:
    """The darkest and the brightest value. Raises ValueError where no pixel is a number."""
    known = grey[np.isfinite(grey)]
    if not len(known):
        raise ValueError("no pixel of it is a number")
    return float(known.min()), float(known.max())


def label(
    ink: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int], font: Any
) -> None:
    """White words on a ground of the colour, within the picture where that is wide enough."""
    _, _, right, bottom = ink.textbbox((0, 0), text, font=font)
    width, height = ink.im.size
    x, y = max(0, min(at[0], width - right - 4)), max(0, min(at[1], height - bottom - 4))
    ink.rectangle((x, y, x + right + 4, y + bottom + 4), fill=colour)
    ink.text((x + 2, y + 2), text, fill=(255, 255, 255), font=font)
