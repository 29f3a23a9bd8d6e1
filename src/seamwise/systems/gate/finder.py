"""The face finder for photographs: where faces are, how large, and how sure that is.

It looks twice. First a small learned template slides over the gradients of a pyramid of ever smaller copies; then
each place that it likes is looked at closer, which gives the score that counts and moves the box to where it belongs.
Both see gradients alone, normalised by their surroundings, so that light and contrast matter little.

**Source** Dalal and Triggs (2005), Histograms of oriented gradients for human detection. Differs: directions are
soft and signed, one normalisation a cell, a hidden layer, and a second look that also corrects place and size.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, pad

from seamwise.shapes import Float, NDArray, Tensor

BOX_PX, CELL_PX, RATIO = 32, 4, 1.3  # a face that the first look finds in a copy, and how copies shrink
N_WINDOW, N_PADDED = 10, 3  # cells that the first look sees, and how many of them may be off the picture
N_COEFFICIENTS, N_HIDDEN = 5, 16
CROP_PX, CONTEXT = 64, 4 / 3  # the second look: a square around the box, larger by this
SPREAD = (0.1, 0.1, 0.15)  # what a correction of 1 means: across and down in box sides, size in logarithms
N_AT_FIRST, LIKED = 16, -3.0  # how many places are looked at again, and from what first score on
LEAST_SHARE, LEAST_PX = 0.1, 32.0  # the smallest face looked for, of the longer side
WIDE_SHARE = 1 / 6.5  # the same of the shorter side
LEAST_COPY_PX = 64
THRESHOLD = 2.0  # one false face in 25 simulated scenes, which are full of things like faces
SAME = 0.35  # two boxes that overlap this much (intersection over union) are one face
WITHIN = 0.5  # of the smaller box: then it is part of the larger


@final
@dataclass(frozen=True)
class Found:
    """A face: the middle of its square box and its side, px, and the log-odds of a face against nothing.

    The side is 2.4 eye distances; the middle lies 0.3 of them below the middle of the eyes.
    """

    x: float
    y: float
    size: float
    score: float


class Gradients(nn.Module):
    """Designed: in which directions the gradient goes, a cell, against its surroundings.

    Of the histogram of its directions, weighted by its strength, the first five Fourier coefficients: how strong it
    is, across and down (from dark to bright), and along which line, whichever way. They say what eight soft bins say.
    """

    def forward(self, image: Float[Tensor, "batch 1 h w"]) -> Float[Tensor, "batch 5 rows columns"]:
        framed = pad((image + 0.02).sqrt(), (1, 1, 1, 1), mode="replicate")
        x = framed[..., 1:-1, 2:] - framed[..., 1:-1, :-2]
        y = framed[..., 2:, 1:-1] - framed[..., :-2, 1:-1]
        strength = (x * x).addcmul_(y, y).add_(4e-6).sqrt_()
        share = y / strength
        along = (x * x).div_(strength).addcmul_(y, share, value=-1)
        cells = _pooled(torch.cat([strength, x, y, along, x * share], 1))
        around = avg_pool2d(cells[:, :1], 5, 1, 2, count_include_pad=False)
        return (cells / (around + 0.02 * CELL_PX**2)).clamp_(-3, 3)


def _pooled(each: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c rows columns"]:
    """Sums over cells: as an average pooling would, in a third of its time."""
    height, width = (side // CELL_PX * CELL_PX for side in each.shape[-2:])
    rows = each[..., :height, :width].reshape(*each.shape[:2], -1, CELL_PX, width)
    down = (rows[..., 0, :] + rows[..., 1, :]).add_(rows[..., 2, :]).add_(rows[..., 3, :])
    columns = down.reshape(*down.shape[:3], -1, CELL_PX)
    cells: Tensor = (columns[..., 0] + columns[..., 1]).add_(columns[..., 2]).add_(columns[..., 3])
    return cells


class Finder(nn.Module):
    """Both looks; `find_faces` uses them on a photograph."""

    def __init__(self) -> None:
        super().__init__()
        self.gradients = Gradients()
        self.first = nn.Sequential(nn.Conv2d(N_COEFFICIENTS, N_HIDDEN, N_WINDOW), nn.ReLU(), nn.Conv2d(N_HIDDEN, 1, 1))
        self.second = nn.Sequential(
            nn.Conv2d(N_COEFFICIENTS, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(32 * (CROP_PX // CELL_PX // 2) ** 2, 64),
            nn.ReLU(),
            nn.Linear(64, 4),
        )

    def forward(self, image: Float[Tensor, "batch 1 h w"]) -> list[Float[Tensor, "batch rows columns"]]:
        """The first look's scores at each level of the pyramid, for the places `place` gives."""
        return [self.look(self.gradients(level)) for level in pyramid(image)]

    def look(self, cells: Float[Tensor, "batch 5 h w"]) -> Float[Tensor, "batch rows columns"]:
        """The first look at one level."""
        scores: Tensor = self.first(pad(cells, (N_PADDED,) * 4))
        return scores[:, 0]

    def look_closer(self, crop: Float[Tensor, "batch 1 64 64"]) -> Float[Tensor, "batch 4"]:
        """The second look: the score, and how far to move across, down and in size, in `SPREAD`."""
        found: Tensor = self.second(self.gradients(crop))
        return found

    @torch.inference_mode()
    def find_faces(
        self, grey: UInt8[NDArray, "h w"], min_size_px: float | None = None, threshold: float = THRESHOLD
    ) -> list[Found]:
        """The faces of a photograph, best first.

        Without `min_size_px`, the smallest looked for is a tenth of the longer side, less in a very wide or high
        photograph: a smaller one costs time, which grows with the inverse of its square.
        """
        if min_size_px is None:
            min_size_px = max(LEAST_PX, min(LEAST_SHARE * max(grey.shape), WIDE_SHARE * min(grey.shape)))
        boxes = self.candidates(grey, min_size_px)[:, :3]
        boxes, score = self._moved(grey, boxes)
        keep = [k for k in distinct(boxes, score, SAME, WITHIN) if score[k] > threshold - 3]
        boxes, score = self._moved(grey, boxes[keep])
        keep = [k for k in distinct(boxes, score, SAME, WITHIN) if score[k] > threshold]
        return [
            Found(x, y, size, s) for (x, y, size), s in zip(boxes[keep].tolist(), score[keep].tolist(), strict=True)
        ]

    @torch.inference_mode()
    def candidates(self, grey: UInt8[NDArray, "h w"], min_size_px: float) -> Float[NDArray, "n 4"]:
        """What the first look likes: x, y and size in px of the photograph, and its score, best first."""
        scale = min(BOX_PX / min_size_px, 1)
        size = tuple(max(round(side * scale), 1) for side in grey.shape[::-1])
        copy = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        below, beside = (max(0, LEAST_COPY_PX - side) for side in copy.shape)
        copy = cv2.copyMakeBorder(copy, 0, below, 0, beside, cv2.BORDER_REPLICATE)
        image = torch.from_numpy(copy)[None, None].float() / 255
        levels = [scores[0].numpy() for scores in self(image)]
        found = np.concatenate([peaks(scores, RATIO**k) for k, scores in enumerate(levels)])
        found[:, :3] /= scale
        found = found[np.argsort(-found[:, 3], kind="stable")][: 4 * N_AT_FIRST]
        return found[distinct(found[:, :3], found[:, 3], 0.6)[:N_AT_FIRST]]

    def _moved(
        self, grey: UInt8[NDArray, "h w"], boxes: Float[NDArray, "n 3"]
    ) -> tuple[Float[NDArray, "n 3"], Float[NDArray, " n"]]:
        if not len(boxes):
            return boxes, np.zeros(0, dtype=np.float32)
        crops, seen = crop(grey, boxes)
        found = self.look_closer(torch.from_numpy(crops)[:, None].float() / 255).numpy()
        return moved(seen, found[:, 1:]), found[:, 0]


def pyramid(image: Float[Tensor, "batch 1 h w"]) -> Iterator[Float[Tensor, "batch 1 rows columns"]]:
    """Ever smaller copies, as long as a face fits their shorter side."""
    height, width = image.shape[-2:]
    n = max(math.floor(math.log(max(min(height, width) / (0.9 * BOX_PX), 1), RATIO)) + 1, 1)
    yield image
    for k in range(1, n):
        size = (max(round(height / RATIO**k), 2 * CELL_PX), max(round(width / RATIO**k), 2 * CELL_PX))
        image = interpolate(image, size, mode="bilinear")
        yield image


def place(cell: Float[NDArray, "*n"]) -> Float[NDArray, "*n"]:
    """Where a row or column of scores has the middle of its window, px of its level."""
    return (cell + N_WINDOW / 2 - N_PADDED) * CELL_PX


def peaks(scores: Float[NDArray, "rows columns"], ratio: float) -> Float[NDArray, "n 4"]:
    """The highest scores among their neighbours, refined by a parabola: x, y, size and score."""
    highest = (scores == cv2.dilate(scores, np.ones((3, 3), dtype=np.uint8))) & (scores > LIKED)
    row, column = np.nonzero(highest)
    framed = np.pad(scores, 1, mode="edge")
    middle = framed[row + 1, column + 1]
    x = column + _vertex(framed[row + 1, column], middle, framed[row + 1, column + 2])
    y = row + _vertex(framed[row, column + 1], middle, framed[row + 2, column + 1])
    size = np.full(len(row), float(BOX_PX))
    return np.stack([place(x) * ratio, place(y) * ratio, size * ratio, middle], axis=1).astype(np.float32)


def _vertex(
    before: Float[NDArray, " n"], here: Float[NDArray, " n"], after: Float[NDArray, " n"]
) -> Float[NDArray, " n"]:
    """Where the parabola through three scores is highest, from -0.5 to 0.5."""
    bend = np.maximum(2 * here - before - after, 1e-6)
    return np.asarray(((after - before) / (2 * bend)).clip(-0.5, 0.5))


def crop(
    grey: UInt8[NDArray, "h w"], boxes: Float[NDArray, "n 3"]
) -> tuple[UInt8[NDArray, "n 64 64"], Float[NDArray, "n 3"]]:
    """The boxes with their surroundings, all of one size; and the boxes that were cut, in whole px."""
    side = np.maximum(np.rint(boxes[:, 2] * CONTEXT), 8).astype(int)
    corner = np.rint(boxes[:, :2] - side[:, None] / 2).astype(int)
    out = np.empty((len(boxes), CROP_PX, CROP_PX), dtype=np.uint8)
    for k, ((left, top), px) in enumerate(zip(corner.tolist(), side.tolist(), strict=True)):
        way = cv2.INTER_AREA if px > CROP_PX else cv2.INTER_LINEAR
        cv2.resize(_cut(grey, left, top, px), (CROP_PX, CROP_PX), dst=out[k], interpolation=way)
    return out, np.column_stack([corner + side[:, None] / 2, side / CONTEXT]).astype(np.float32)


def _cut(grey: UInt8[NDArray, "h w"], left: int, top: int, px: int) -> UInt8[NDArray, "px px"]:
    """A square of a picture; beyond its border, the border goes on."""
    height, width = grey.shape
    right, bottom = left + px, top + px
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return grey[top:bottom, left:right]
    rows = np.arange(top, bottom).clip(0, height - 1)
    return np.asarray(grey[rows[:, None], np.arange(left, right).clip(0, width - 1)])


def moved(boxes: Float[NDArray, "n 3"], by: Float[NDArray, "n 3"]) -> Float[NDArray, "n 3"]:
    """Boxes corrected as the second look says, at most by two of `SPREAD`."""
    by = by.clip(-2, 2) * np.array(SPREAD, dtype=np.float32)
    return np.concatenate([boxes[:, :2] + by[:, :2] * boxes[:, 2:], boxes[:, 2:] * np.exp(by[:, 2:])], axis=1)


def correction(boxes: Float[NDArray, "n 3"], truth: Float[NDArray, "n 3"]) -> Float[NDArray, "n 3"]:
    """What `moved` needs to be told to get from boxes to the truth."""
    shift = (truth[:, :2] - boxes[:, :2]) / boxes[:, 2:]
    scale = np.log(truth[:, 2:] / boxes[:, 2:])
    return np.asarray((np.concatenate([shift, scale], axis=1) / np.array(SPREAD)).astype(np.float32))


def overlap(box: Float[NDArray, "#n 3"], others: Float[NDArray, "#n 3"]) -> Float[NDArray, " n"]:
    """Intersection over union of squares."""
    both, union = _shared(box, others)
    return np.asarray(both / union)


def _shared(
    box: Float[NDArray, "#n 3"], others: Float[NDArray, "#n 3"]
) -> tuple[Float[NDArray, " n"], Float[NDArray, " n"]]:
    reach = (box[..., 2:] + others[..., 2:]) / 2 - np.abs(box[..., :2] - others[..., :2])
    sides = np.minimum(reach, np.minimum(box[..., 2:], others[..., 2:])).clip(min=0)
    both = sides[..., 0] * sides[..., 1]
    return both, box[..., 2] ** 2 + others[..., 2] ** 2 - both


def distinct(
    boxes: Float[NDArray, "n 3"], score: Float[NDArray, " n"], same: float = SAME, within: float = 1.01
) -> list[int]:
    """Which boxes stay when each removes those below it that overlap it, best first.

    Those too that share more than `within` of the smaller of both: parts of a face look a little like one.
    """
    order = np.argsort(-score, kind="stable")
    keep: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        keep.append(int(best))
        both, union = _shared(boxes[best : best + 1], boxes[order])
        smaller = np.minimum(boxes[best, 2], boxes[order, 2]) ** 2
        order = order[(both < same * union) & (both < within * smaller)]
    return keep
