"""Arrays and numbers, drawn: patches, filters, feature maps, attributions; a table and a chart as parts of a page.

Colours are those of Okabe & Ito (2008, Color Universal Design); a line of a chart has its own symbol too.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10

import cv2
import numpy as np
from markupsafe import Markup

from seamwise.arrays import Bool, Float, NDArray, UInt8

GREY = 128  # nothing: what lies around a patch, and zero of a filter
TILE_PX = 64
ABOVE, BELOW = np.array([213, 94, 0]), np.array([0, 114, 178])  # vermilion for above zero, blue for below
LARGEST_PNG = 60_000  # bytes; a larger picture becomes JPEG
SYMBOLS = "●■▲◆▼✚▶◀"
NOTHING = "–"
WIDTH_PX, HEIGHT_PX, LEFT_PX = 720, 300, 52  # of a chart
LONGEST = 18  # letters of a name that is written aslant; of a longer one the end

Cell = str | float | tuple[float, float] | None
"""A cell of a table: words, a number, height and width, or nothing."""


def tile(patch: UInt8[NDArray, "height width 3"], side_px: int = TILE_PX) -> UInt8[NDArray, "side side 3"]:
    """A patch as a square: smaller by area, larger by nearest pixel; one that is not square is set amid grey."""
    height, width = patch.shape[:2]
    scale = side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    scaled = cv2.resize(np.ascontiguousarray(patch), size, interpolation=how)
    square = np.full((side_px, side_px, 3), GREY, np.uint8)
    top, left = (side_px - size[1]) // 2, (side_px - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = scaled
    return square


def tiles(patches: Iterable[UInt8[NDArray, "_ _ 3"]], side_px: int = TILE_PX) -> UInt8[NDArray, "patches side side 3"]:
    """Patches of whatever sizes as squares of one size."""
    return np.array([tile(patch, side_px) for patch in patches], np.uint8).reshape(-1, side_px, side_px, 3)


def around_grey(
    values: Float[NDArray, "n channels height width"], full: float = 1.0
) -> UInt8[NDArray, "n height width 3"]:
    """Signed pictures of 1 or 3 channels, zero at grey, each scaled by its own sizes.

    full: the quantile of a picture's sizes that has full colour; below 1 a single pixel does not hide the rest.
    Source: Zeiler & Fergus (2014), for projections down to the pixels. Differs: one scale a picture, not one a unit.
    """
    known = np.nan_to_num(values.astype(np.float32))
    most = np.quantile(np.abs(known).reshape(len(known), -1), full, axis=1) if known.size else np.zeros(len(known))
    scaled = known / np.maximum(most, np.finfo(np.float32).tiny)[:, None, None, None].astype(np.float32)
    grey = np.round(np.clip(127.5 + 127.5 * scaled, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.broadcast_to(grey, (*grey.shape[:3], 3)).copy()


def filters(weights: Float[NDArray, "units channels height width"]) -> UInt8[NDArray, "pictures height width 3"]:
    """Weights as pictures: one a unit where they read 1 or 3 channels, else a grey one for each of its channels."""
    if weights.shape[1] not in (1, 3):
        weights = weights.reshape(-1, 1, *weights.shape[2:])
    return around_grey(weights)


def feature_maps(
    maps: Float[NDArray, "units height width"], dead: Bool[NDArray, " units"] | None = None, side_px: int = TILE_PX
) -> UInt8[NDArray, "units side side 3"]:
    """Each unit's map in grey: black at its least value, or at 0 where none is below, white at its most.

    A dead unit is crossed out.
    """
    known = np.nan_to_num(maps.astype(np.float32))
    least = known.min(axis=(1, 2), keepdims=True, initial=0)
    span = known.max(axis=(1, 2), keepdims=True, initial=0) - least
    grey = ((known - least) / np.where(span > 0, span, 1) * 255).round().astype(np.uint8)
    drawn = tiles((np.repeat(picture[..., None], 3, axis=2) for picture in grey), side_px)
    for i in () if dead is None else np.flatnonzero(dead):
        _cross(drawn[i])
    return drawn


def _cross(picture: UInt8[NDArray, "side side 3"]) -> None:
    last, thick = len(picture) - 1, max(1, len(picture) // 24)
    for start, end in (((0, 0), (last, last)), ((0, last), (last, 0))):
        cv2.line(picture, start, end, tuple(int(c) for c in ABOVE), thick)


def overlay(
    picture: UInt8[NDArray, "height width 3"], attribution: Float[NDArray, "height width"], most: float | None = None
) -> UInt8[NDArray, "height width 3"]:
    """A signed map on its picture in faint grey: vermilion speaks for, blue against; `most` has the full colour.

    most: by default the quantile .995 of the map's own sizes, so that one pixel does not hide the rest.
    """
    known = np.nan_to_num(attribution.astype(np.float32))
    most = float(np.quantile(np.abs(known), 0.995)) if most is None else most
    most = most or float(np.abs(known).max()) or 1.0
    strength = np.minimum(np.abs(known) / most, 1)[..., None]
    faint = 150 + 0.35 * picture.mean(axis=2, keepdims=True)
    colour = np.where(known[..., None] > 0, ABOVE, BELOW)
    return np.asarray((faint * (1 - strength) + colour * strength).round().astype(np.uint8))


def grid(pictures: UInt8[NDArray, "n height width 3"], columns: int = 16, gap_px: int = 2) -> UInt8[NDArray, "_ _ 3"]:
    """Pictures of one size in lines of `columns`, amid white."""
    n, height, width, _ = pictures.shape
    columns = max(1, min(columns, n))
    sheet = np.full((ceil(n / columns) * (height + gap_px), columns * (width + gap_px), 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * (height + gap_px), i % columns * (width + gap_px)
        sheet[top : top + height, left : left + width] = picture
    return sheet[: max(1, len(sheet) - gap_px), : sheet.shape[1] - gap_px]


def data_url(picture: UInt8[NDArray, "height width 3"], quality: int = 85) -> str:
    """A picture as an address within a page: PNG, or JPEG where that would be large."""
    bgr = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    kind, encoded = "png", cv2.imencode(".png", bgr)[1]
    if len(encoded) > LARGEST_PNG:
        kind, encoded = "jpeg", cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def figure(picture: UInt8[NDArray, "height width 3"], caption: str, alt: str = "", scale: float = 1) -> Markup:
    """A picture with words below it, for a page; `scale` times as wide as it has pixels, or as the page lets it."""
    image = Markup('<img src="{}" alt="{}" width="{}" height="{}" loading="lazy">')
    height, width = (round(side * scale) for side in picture.shape[:2])
    sharp = Markup(' class="sharp"') if scale > 1 else Markup("")
    drawn = image.format(data_url(picture), alt or caption, width, height)
    return Markup("<figure{}>{}<figcaption>{}</figcaption></figure>").format(sharp, drawn, caption)


def figures(parts: Iterable[Markup]) -> Markup:
    """Figures side by side, as many as there is room for."""
    return Markup('<div class="figures">{}</div>').format(Markup("").join(parts))


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if not isfinite(value):
        return NOTHING
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1e}" if abs(value) < 1e-3 else f"{value:.3g}"


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> Markup:
    """A table for a page; the first column heads the rows, numbers stand to the right. Words are escaped."""
    listed = [list(row) for row in rows]
    words = [any(isinstance(row[i], str) for row in listed) for i in range(len(columns))]
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(_words(words[i]), name) for i, name in enumerate(columns)
    )
    lines = Markup("").join(_line(row, words) for row in listed)
    said = Markup("<caption>{}</caption>").format(caption) if caption else Markup("")
    page = '<div class="scroll" role="region" aria-label="{}" tabindex="0"><table>{}<thead><tr>{}</tr></thead><tbody>{}'
    return Markup(page + "</tbody></table></div>").format(caption or "table", said, head, lines)


def _line(row: Sequence[Cell], words: Sequence[bool]) -> Markup:
    cells = (Markup("<td{}>{}</td>").format(_words(words[i]), _said(row[i])) for i in range(1, len(row)))
    return Markup('<tr><th scope="row">{}</th>{}</tr>').format(_said(row[0]), Markup("").join(cells))


def _words(are_words: bool) -> Markup:
    return Markup(' class="words"') if are_words else Markup("")


def _said(cell: Cell) -> str:
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    return " × ".join(number(side) for side in cell) if isinstance(cell, tuple) else number(cell)


def layer_chart(
    layers: Sequence[str], lines: Mapping[str, Sequence[float | None]], title: str, is_share: bool = True
) -> Markup:
    """Numbers by layer, a line and a symbol each, for a page; is_share: said in per cent. What is None is left out."""
    top, step = _ticks([v for values in lines.values() for v in values if v is not None and isfinite(v)])
    gap = (WIDTH_PX - LEFT_PX - 20) / max(1, len(layers))
    xs = [LEFT_PX + gap * (i + 0.5) for i in range(len(layers))]
    slanted = max((len(name) for name in layers), default=0) * 7.5 > gap
    below = 28 + 7 * min(LONGEST, max(map(len, layers))) if slanted else 28
    shown = (lambda v: f"{v * 100:.3g} %") if is_share else number
    parts = [_gridline(step * i, top, shown(step * i)) for i in range(round(top / step) + 1)]
    parts += [_layer_name(x, name, slanted) for x, name in zip(xs, layers, strict=True)]
    for i, (name, values) in enumerate(lines.items()):
        said = [(x, None if v is None or not isfinite(v) else v) for x, v in zip(xs, values, strict=True)]
        points = [None if v is None else (x, _y(v, top), f"{name}: {shown(v)}") for x, v in said]
        parts.append(_series(i, points))
    keys = Markup("").join(
        Markup('<li><span class="series-{}">{}</span> {}</li>').format(i % 8, SYMBOLS[i % 8], name)
        for i, name in enumerate(lines)
    )
    page = (
        '<figure class="chart"><figcaption>{}</figcaption><ul class="legend">{}</ul><div class="scroll" tabindex="0">'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg></div></figure>'
    )
    return Markup(page).format(title, keys, WIDTH_PX, HEIGHT_PX + below, title, Markup("").join(parts))


def _ticks(values: Sequence[float]) -> tuple[float, float]:
    """The end of an axis that starts at 0, and the step of its lines: 1, 2 or 5 times a power of ten."""
    most = max(values, default=0) or 1.0
    power = 10.0 ** floor(log10(most / 4))
    step = next(k * power for k in (1, 2, 5, 10) if k * power * 4.5 >= most)
    return ceil(most / step - 1e-9) * step, step


def _y(value: float, top: float) -> float:
    return HEIGHT_PX - (HEIGHT_PX - 16) * value / top


def _gridline(value: float, top: float, said: str) -> Markup:
    y = _y(value, top)
    drawn = Markup('<path class="gridline" d="M{} {:.1f}H{}"/><text class="tick" x="{}" y="{:.1f}">{}</text>')
    return drawn.format(LEFT_PX, y, WIDTH_PX, LEFT_PX - 8, y, said)


def _layer_name(x: float, name: str, slanted: bool) -> Markup:
    said = f"…{name[1 - LONGEST :]}" if slanted and len(name) > LONGEST else name
    turn = Markup(' transform="rotate(-60 {:.1f} {})"').format(x, HEIGHT_PX + 18) if slanted else Markup("")
    drawn = Markup('<text class="{}" x="{:.1f}" y="{}"{}>{}</text>')
    return drawn.format("slanted" if slanted else "layer", x, HEIGHT_PX + 18, turn, said)


def _series(i: int, points: Sequence[tuple[float, float, str] | None]) -> Markup:
    joined = [(a, b) for a, b in pairwise(points) if a is not None and b is not None]
    path = "".join(f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}" for a, b in joined)
    mark = Markup('<text x="{:.1f}" y="{:.1f}">{}<title>{}</title></text>')
    marks = Markup("").join(mark.format(p[0], p[1], SYMBOLS[i % 8], p[2]) for p in points if p is not None)
    return Markup('<g class="series series-{}"><path d="{}"/>{}</g>').format(i % 8, path, marks)
