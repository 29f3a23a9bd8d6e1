"""A hand in and out: reading a file for the task, saying its age, drawing its bones."""

import textwrap
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from seamwise.errors import InputError
from seamwise.shapes import Float, NDArray, Shaped, UInt8
from seamwise.systems.age.data import framed
from seamwise.systems.age.growth import BONES
from seamwise.systems.age.predict import WRIST_NAME, Answer, in_words, mm_per_px_of
from seamwise.systems.age.reading import read_radiograph
from seamwise.systems.age.refuse import check_hand
from seamwise.systems.age.shape import BONE_ENDS, WRIST
from seamwise.task import Item

REPORT_PX, WHOLE_PX, PANEL_PX = 320, 1024, 400
DRAWN_BY: Final = "Software", "seamwise predict age"  # stands in each drawing: it may be replaced
INK, QUIET, PAPER = (240, 242, 245), (158, 166, 178), (18, 21, 27)
BONE, JOINT, UP, DOWN = (92, 200, 190), (250, 250, 250), (255, 176, 64), (110, 160, 255)
Colour = tuple[int, int, int]
Corner = Float[NDArray, "2"]
NAMES: Final = {"MC": "metacarpal", "PP": "proximal phalanx", "MP": "middle phalanx", "DP": "distal phalanx"}
FINGERS: Final = ("thumb", "index", "middle", "ring", "little")


def read(path: Path) -> dict[str, Any]:
    """The inputs of a DICOM file, which gives the sex; a picture without known scale is as wide as a usual film.

    Raises InputError for a picture, which cannot say whose hand it is, and where no hand is seen.
    """
    seen = read_radiograph(path)
    if seen.sex is None:
        remedy = f"seamwise predict age --model M --sex F {path}"
        raise InputError(f"{path}: does not say the sex", expected="a DICOM file with it", remedy=remedy)
    hand = check_hand(framed(seen)[0]["picture"], str(path))
    mm_per_px = mm_per_px_of(hand, seen, seen.mm_per_px)
    return {"picture": hand.picture, "mm_per_px": mm_per_px, "sex": np.uint8(seen.sex == "M")}


def tell(written: Item) -> dict[str, Any]:
    """The age in months."""
    return {"age_months": round(float(written["age"]), 2)}


def draw(item: Item, written: Item) -> Shaped[NDArray, "height width 3"]:
    """The picture with the bones that were found, the age as told and as it is."""
    px = item["picture"].shape[-1]
    scale = REPORT_PX / px
    image = _enlarged(item["picture"], (0, 0, px, px), scale)
    pen = ImageDraw.Draw(image)
    if "landmarks" in written:
        at = written["landmarks"] / float(item["mm_per_px"]) + px / 2
        _bones(pen, at * scale, {}, 2.0)
    told = f"{float(written['age']):.0f} months"
    right = f", right: {float(item['age']):.0f}" if "age" in item else ""
    _text(pen, (8, REPORT_PX - 24), told + right, 16, INK)
    return np.asarray(image)


def draw_answer(answer: Answer, name: str, sex: str) -> UInt8[NDArray, "height width 3"]:
    """The hand with its bones and their lengths, those that drove the estimate in other colours; beside it, the age."""
    left, top, right, bottom = _crop(answer)
    scale = WHOLE_PX / max(bottom - top, right - left)
    hand = _enlarged(answer.hand.picture, (left, top, right, bottom), scale)
    name = name.encode("utf-8", "backslashreplace").decode()  # no font has half a character
    panel = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    height = max(hand.height, 640, round(_panel(panel, 0, answer, name, sex)))
    image = Image.new("RGB", (hand.width + PANEL_PX, height), PAPER)
    image.paste(hand, (0, (height - hand.height) // 2))
    pen = ImageDraw.Draw(image)
    months = dict(answer.drove)
    if answer.place is not None:
        half = answer.hand.picture.shape[-1] / 2
        at = ((answer.place + 1) * half - (left, top)) * scale + (0, (height - hand.height) // 2)
        _bones(pen, at, months, 5.0)
        _lengths(pen, at, answer)
    _panel(pen, hand.width + 28, answer, name, sex)
    return np.asarray(image)


def encoded(drawing: UInt8[NDArray, "height width 3"]) -> bytes:
    """A PNG file that `is_drawing` knows again."""
    told, file = PngInfo(), BytesIO()
    told.add_text(*DRAWN_BY)
    Image.fromarray(drawing).save(file, "PNG", pnginfo=told)
    return file.getvalue()


def is_drawing(path: Path) -> bool:
    """Whether a file is one of ours."""
    key, value = DRAWN_BY
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return bool(image.info.get(key) == value)
    except Exception:  # whatever Pillow raises for what is no PNG file, or a damaged one
        return False


def _crop(answer: Answer) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is shown: all that was exposed, or the hand and what is near."""
    picture = answer.hand.picture[0]
    rows, columns = (np.flatnonzero(picture.max(axis) > 0) for axis in (1, 0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    places = ((answer.hand.place if answer.place is None else answer.place) + 1) * picture.shape[-1] / 2
    low, high = places.min(0), places.max(0)
    margin = 0.14 * float((high - low).max())
    left, top = np.maximum(box[:2], np.floor(low - margin).astype(int))
    right, bottom = np.minimum(box[2:], np.ceil(high + np.array([margin, 2 * margin])).astype(int))
    if right - left < 16 or bottom - top < 16:
        return int(box[0]), int(box[1]), int(box[2]), int(box[3])
    return int(left), int(top), int(right), int(bottom)


def _enlarged(picture: UInt8[NDArray, "1 px px"], box: tuple[int, int, int, int], scale: float) -> Image.Image:
    part = Image.fromarray(np.ascontiguousarray(picture[0])).crop(box)
    size = max(1, round(part.width * scale)), max(1, round(part.height * scale))
    return part.resize(size, Image.Resampling.LANCZOS).convert("RGB")


def _colour(months: float | None) -> Colour:
    return BONE if months is None else UP if months > 0 else DOWN


def _bones(pen: ImageDraw.ImageDraw, at: Float[NDArray, "25 2"], months: Mapping[str, float], width_px: float) -> None:
    """Bones as lines, joints as dots; a bone that drove the estimate is thicker."""
    for bone, (start, end) in zip(BONES, BONE_ENDS, strict=True):
        line = [tuple(at[start].tolist()), tuple(at[end].tolist())]
        width = round(width_px * (1.8 if bone in months else 1))
        pen.line(line, fill=PAPER, width=width + max(2, round(width_px / 2)))
        pen.line(line, fill=_colour(months.get(bone)), width=width)
    radius = 1.1 * width_px
    for k, (x, y) in enumerate(at.tolist()):
        if k != WRIST:
            _dot(pen, x, y, radius, JOINT)
    x, y = at[WRIST].tolist()
    _dot(pen, x, y, radius * (2.2 if WRIST_NAME in months else 1.2), _colour(months.get(WRIST_NAME)))


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: Colour) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=PAPER)


def _lengths(pen: ImageDraw.ImageDraw, at: Float[NDArray, "25 2"], answer: Answer) -> None:
    """Each bone's length beside it: in whole mm, or in mean lengths of the hand's bones."""
    months = dict(answer.drove)
    side = 1.0 if at[4, 0] > at[WRIST, 0] else -1.0  # away from the thumb
    for bone, (start, end) in zip(BONES, BONE_ENDS, strict=True):
        length = answer.lengths.get(bone)
        if length is None:
            continue
        told = f"{length:.0f}" if answer.scale_known else f"{length:.2f}"
        along = at[end] - at[start]
        normal: Corner = np.array([along[1], -along[0]]) / max(1e-6, float(np.linalg.norm(along)))
        x, y = (at[start] + at[end]) / 2 + side * normal * 24
        colour = _colour(months[bone]) if bone in months else INK
        _text(pen, (x, y), told, 17, colour, anchor="mm")


def _panel(pen: ImageDraw.ImageDraw, x: float, answer: Answer, name: str, sex: str) -> float:
    """Write all but the hand; how far down it comes."""
    y = 28.0
    for line in _wrapped(name, 34)[:2]:
        _text(pen, (x, y), line, 17, QUIET)
        y += 24
    _text(pen, (x, y + 10), f"{answer.age_months:.0f} months", 52, INK)
    _text(pen, (x, y + 78), f"{in_words(answer.age_months)}, {'boy' if sex == 'M' else 'girl'}", 20, INK)
    if answer.low_months is not None and answer.high_months is not None:
        _text(pen, (x, y + 108), f"9 in 10: {answer.low_months:.0f} to {answer.high_months:.0f} months", 20, QUIET)
    else:
        _text(pen, (x, y + 108), "no interval known", 20, QUIET)
    y += 168
    if answer.lengths:
        scale = "lengths of the bones in mm" if answer.scale_known else "scale unknown: lengths in mean bones"
        _text(pen, (x, y), scale, 17, QUIET)
        y += 44
    if answer.drove:
        _text(pen, (x, y), "what drove the estimate", 20, INK)
        y += 34
        for bone, months in answer.drove:
            _dot(pen, x + 8, y + 11, 7, _colour(months))
            _text(pen, (x + 28, y), in_full(bone), 18, INK)
            _text(pen, (x + 340, y), f"{months:+.1f}", 18, _colour(months), anchor="ra")
            y += 30
        _text(pen, (x, y + 4), "months older (+) or younger for it", 15, QUIET)
        y += 52
    for warning in answer.warnings:
        for line in _wrapped(warning, 42):
            _text(pen, (x, y), line, 16, UP)
            y += 21
        y += 8
    return y + 8


def in_full(bone: str) -> str:
    """A bone's name in words: of PP3, "middle: proximal phalanx"."""
    if bone == WRIST_NAME:
        return "wrist and carpals"
    return f"{FINGERS[int(bone[2]) - 1]}: {NAMES[bone[:2]]}"


def _wrapped(text: str, n: int) -> list[str]:
    return textwrap.wrap(text, n, break_long_words=True) or [""]


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size_px: int, colour: Colour, anchor: str = "la"
) -> None:
    font = ImageFont.load_default(size_px)
    pen.text(at, text, fill=colour, font=font, anchor=anchor, stroke_width=2, stroke_fill=PAPER)
