"""One hand radiograph in: from a picture or a DICOM file, with bones bright, and what the file says about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seamwise.errors import InputError
from seamwise.files import check_file, readable
from seamwise.pictures import is_wide, opened, upright
from seamwise.shapes import Float, NDArray, Shaped
from seamwise.systems.age import dicom
from seamwise.systems.age.checks import check_frames, check_size

PX: Final = 512
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")  # the last two for a refusal that says what they are
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm")
KINDS = "PNG, JPEG, TIFF, BMP or DICOM"
SAVE_AS = "save it again as PNG, or give the DICOM file"
INVERTED = "bones were darker than their background; the picture was inverted"

_FAINT = 32  # shades between the darkest and the brightest of 8 bit; of 910 known radiographs, the faintest has 40
_COLOUR = 24  # grey levels between channels that are no artefact of a JPEG
_RIDGES_PX = 512
_INVERTED_BELOW = -1.5
# how sure one is that bones are bright: fitted on 901 radiographs of the RSNA challenge and their negatives
_WEIGHTS = {"middle": 5.9, "fine": 97.6, "coarse": 30.4}


@final
@dataclass(frozen=True)
class Radiograph:
    """A hand, bones bright on a dark background, and what its file says.

    `pixels` may be fewer than the file's, `original_px` (height, width); `mm_per_px` is that of the original's pixels,
    None where it is unknown.
    """

    pixels: UInt8[NDArray, "height width"]
    original_px: tuple[int, int]
    mm_per_px: float | None
    sex: str | None
    warnings: tuple[str, ...]


def read_radiograph(path: Path, px: int = PX) -> Radiograph:
    """A radiograph whose long side has at most `px` pixels, from PNG, JPEG, TIFF, BMP or DICOM.

    Pictures with dark bones are inverted, with a warning. Raises InputError where the file is no radiograph that can
    be read: no picture, damaged, several pictures, empty, in colour, too small, too large or too long.
    """
    check_file(path, "radiograph", "a picture or DICOM file")
    if _is_dicom(path):
        plain = dicom.read(path)
        grey, mm_per_px, sex, told = plain.pixels, plain.mm_per_px, plain.sex, plain.warnings
    else:
        told = () if path.suffix.lower() != ".dcm" else ("a picture, though its name ends in .dcm",)
        grey, mm_per_px, sex = _read_picture(path), None, None
    original_px = (grey.shape[0], grey.shape[1])
    pixels, about_shades = to_8_bit(path, smaller(grey, px))
    told = (*told, *about_shades)
    if is_inverted(pixels):
        pixels, told = 255 - pixels, (*told, INVERTED)
    return Radiograph(pixels, original_px, mm_per_px, sex, told)


def _is_dicom(path: Path) -> bool:
    with readable(path), path.open("rb") as file:
        start = file.read(132)
    pictures = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")
    return start[128:] == b"DICM" or (path.suffix.lower() == ".dcm" and not start.startswith(pictures))


def _read_picture(path: Path) -> Shaped[NDArray, "height width"]:
    with opened(path, FORMATS, KINDS, SAVE_AS) as image:
        if image.format in FORMATS[-2:]:
            given = f"a picture in the format {image.format}"
            raise InputError(f"{path}: a format that is not read", given=given, expected=KINDS, remedy=SAVE_AS)
        check_size(path, *image.size)
        check_frames(path, getattr(image, "n_frames", 1))
        return _grey(path, upright(image))


def _grey(path: Path, image: Image.Image) -> Shaped[NDArray, "height width"]:
    if is_wide(image):
        return np.array(image, dtype=np.float32)
    if image.mode in ("1", "L", "LA"):
        return np.array(image.convert("L"))
    channels = np.array(image.convert("RGB"))
    spread = np.ptp(channels.astype(np.int16), axis=2)
    if np.mean(spread > _COLOUR) > 0.05:
        raise InputError(
            f"{path}: a picture in colour",
            given=f"{np.mean(spread > _COLOUR):.0%} of its pixels are coloured",
            expected="a radiograph in shades of grey",
            remedy="give the radiograph itself, not a photograph of it",
        )
    return channels[..., 1].copy()


def smaller(grey: Shaped[NDArray, "height width"], px: int) -> Shaped[NDArray, "new_height new_width"]:
    """The same picture with a long side of at most `px`, each new pixel the mean of the old ones that it covers."""
    long = max(grey.shape)
    if long <= px:
        return grey
    height, width = (max(1, round(side * px / long)) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA))


def to_8_bit(
    path: Path, grey: Shaped[NDArray, "height width"]
) -> tuple[UInt8[NDArray, "height width"], tuple[str, ...]]:
    """Shades of 8 bit, as they were where they had 8 and are not faint, and what to tell about them.

    Raises InputError where the picture shows nothing.
    """
    wide = grey.astype(np.float32)
    known = wide[np.isfinite(wide)]
    low, high = np.percentile(known, (0.1, 99.9)) if known.size else (0.0, 0.0)
    if high - low < (8 if grey.dtype == np.uint8 else 1e-6 * max(1.0, abs(float(low)))):
        given = f"nearly all its pixels between {low:g} and {high:g}"
        raise InputError(f"{path}: shows nothing", given=given, expected="a hand", remedy="give another radiograph")
    faint = grey.dtype == np.uint8 and high - low < _FAINT
    if grey.dtype == np.uint8 and not faint:
        return grey, ()
    told = (f"faint: nearly all its shades are between {low:.0f} and {high:.0f} of 255; they were stretched",)
    scaled = (np.nan_to_num(wide, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.asarray((scaled * 255).round().clip(0, 255).astype(np.uint8)), told if faint else ()


def is_inverted(pixels: UInt8[NDArray, "height width"]) -> bool:
    """Whether bones are dark in a picture of a hand.

    The edges, where no hand is, are brighter than the middle; and bright lines outweigh dark ones where each counts
    against the contrast around it: beside the one line that a bone's cortex is, there are two of the opposite kind.
    A picture that leaves it open counts as not inverted.
    """
    return sum(_WEIGHTS[name] * sign for name, sign in _signs(pixels).items()) < _INVERTED_BELOW


def _signs(pixels: UInt8[NDArray, "height width"]) -> dict[str, float]:
    """What is positive for bright bones and, in the negative of the picture, the same but for its sign."""
    grey = smaller(pixels, _RIDGES_PX).astype(np.float32)
    low, high = np.percentile(grey, (0.5, 99.5))
    grey = ((grey - low) / (high - low + 1e-6)).clip(0, 1)
    return {"middle": _middle(grey), "fine": _dark_lines(grey, 2.0), "coarse": _dark_lines(grey, 4.0)}


def _middle(grey: Float[NDArray, "height width"]) -> float:
    """How much brighter the middle is than the edges."""
    height, width = grey.shape
    edge = max(1, int(0.05 * max(height, width)))
    outside = np.ones(grey.shape, dtype=bool)
    outside[edge:-edge, edge:-edge] = False
    inside = grey[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
    return float(np.median(inside) - np.median(grey[outside]))


def _dark_lines(grey: Float[NDArray, "height width"], width_px: float) -> float:
    """By how much dark lines outweigh bright ones, each measured against the contrast around it, from -1 to 1."""
    smooth = cv2.GaussianBlur(grey, (0, 0), width_px)
    xx, yy, xy = (cv2.Sobel(smooth, -1, *order) for order in ((2, 0), (0, 2), (1, 1)))
    turn = np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    most, least = (xx + yy) / 2 + turn, (xx + yy) / 2 - turn
    contrast = np.sqrt(cv2.GaussianBlur(xx * xx + yy * yy, (0, 0), 4 * width_px) + 1e-8)
    bright = float((np.where(-least > 2 * np.abs(most), -least, 0) / contrast).sum())
    dark = float((np.where(most > 2 * np.abs(least), most, 0) / contrast).sum())
    return (dark - bright) / (dark + bright + 1e-9)
