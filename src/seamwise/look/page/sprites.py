"""Sprites: all of a unit's patches in one JPEG picture, so that a page of thousands of units holds a picture a unit.

Every row of patches is a block of three by three; the blocks stand side by side. A tile's side is a multiple of 16 px,
the squares in which JPEG keeps its colours, so that at most the outermost pixel takes colour from the tile beside it.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from seamwise.arrays import NDArray, UInt8
from seamwise.look.page.drawing import GREY

ACROSS, N_TILES, STEP_PX = 3, 9, 16


def sprite(rows: Sequence[UInt8[NDArray, "_ side side 3"]], quality: int = 80) -> bytes:
    """One JPEG of all rows; places without a tile are grey.

    Raises ValueError where there is no row, more than nine tiles in one, or a side that is no multiple of 16 px.
    """
    sides = {row.shape[1] for row in rows}
    if len(sides) != 1 or min(sides) % STEP_PX or max(len(row) for row in rows) > N_TILES:
        given = [list(row.shape) for row in rows]
        raise ValueError(f"a sprite of rows {given}; expected at most {N_TILES} tiles of one side, a multiple of 16 px")
    sheet = np.concatenate([_block(row) for row in rows], axis=1)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), options)[1]
    return bytes(encoded.tobytes())


def _block(row: UInt8[NDArray, "n side side 3"]) -> UInt8[NDArray, "height width 3"]:
    side = row.shape[1]
    full = np.full((N_TILES, side, side, 3), GREY, np.uint8)
    full[: len(row)] = row
    lines = full.reshape(ACROSS, ACROSS, side, side, 3)
    return lines.transpose(0, 2, 1, 3, 4).reshape(ACROSS * side, ACROSS * side, 3)


def tiles_of(jpeg: bytes, counts: Sequence[int]) -> list[UInt8[NDArray, "_ side side 3"]]:
    """The rows of a sprite again, as near as JPEG keeps them. counts: the tiles of each row.

    Raises ValueError where it is no picture.
    """
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"no sprite: {len(jpeg):,} bytes that are no picture")
    sheet = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    side = len(sheet) // ACROSS
    blocks = sheet.reshape(ACROSS, side, len(counts), ACROSS, side, 3).transpose(2, 0, 3, 1, 4, 5)
    return [block.reshape(N_TILES, side, side, 3)[:n] for block, n in zip(blocks, counts, strict=True)]
