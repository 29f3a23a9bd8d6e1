"""The digits world: pictures with two real handwritten digits on clutter, every label known.

The handwriting is scikit-learn's copy of the UCI optical digits (1,797 pictures of 8 x 8, Alpaydin & Kaynak
1998), which comes with scikit-learn. It is divided into train, validation and test before any picture is
drawn, so no handwriting is in two of them; pictures of one part take their clutter from the same part.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import affine_grid, grid_sample, max_pool2d

from seamwise.errors import TaskError
from seamwise.shapes import Float, Int, NDArray, Tensor

HEIGHT_PX, WIDTH_PX, PATCH_PX = 20, 32, 10
N_ROWS, N_COLUMNS = HEIGHT_PX - PATCH_PX + 1, WIDTH_PX - PATCH_PX + 1
N_SHIFTS = WIDTH_PX // 2 - PATCH_PX + 1  # columns for each digit, within its half
N_SUMS = 19
FRAGMENT_PX, HALO_PX = 4, 3

Split = Literal["train", "validation", "test"]
N_HANDWRITINGS: dict[Split, int] = {"train": 1300, "validation": 150, "test": 347}


@dataclass(frozen=True)
class Difficulty:
    """How hard each stage has it: `clutter` fragments a picture (find), `noise` of the pixels (read)."""

    clutter: int = 6
    noise: float = 0.02


def difficulty(clutter: float, noise: float) -> Difficulty:
    """One from numbers. Raises TaskError."""
    if clutter < 0 or clutter != int(clutter):
        raise TaskError(f"a clutter of {clutter:g} fragments", expected="a whole number of 0 or more")
    if noise < 0:
        raise TaskError(f"noise of {noise:g}", expected="0 or more")
    return Difficulty(int(clutter), noise)


@dataclass(frozen=True)
class Pictures:
    """n drawn pictures with every label."""

    image: Float[NDArray, "n 1 20 32"]
    corner: Int[NDArray, "n 2 2"]  # of each digit's patch, left digit first: row, column, in px
    place: Int[NDArray, "n 2"]  # the same as one number, row * 23 + column
    digit: Int[NDArray, "n 2"]
    sum: Int[NDArray, " n"]
    handwriting: Int[NDArray, "n 2"]  # which of the 1,797


def handwritings(split: Split) -> Int[NDArray, " n"]:
    """The rows of scikit-learn's digits that belong to a split; always the same ones."""
    order = np.random.default_rng(1797).permutation(1797)
    start = {"train": 0, "validation": 1300, "test": 1450}[split]
    return order[start : start + N_HANDWRITINGS[split]]


def draw(split: Split, n: int, seed: int, difficulty: Difficulty | None = None) -> Pictures:
    """Draw n pictures from a split's handwriting: one digit in the left half, one in the right, on clutter."""
    difficulty = difficulty or Difficulty()
    rng = np.random.default_rng([seed, n, N_HANDWRITINGS[split]])
    bunch = load_digits()
    ink = torch.from_numpy(bunch.images.astype(np.float32) / 16)
    rows = handwritings(split)
    which = rng.choice(rows, size=(n, 2))
    halves = np.array([0, WIDTH_PX // 2])
    corner = np.stack([rng.integers(0, N_ROWS, (n, 2)), rng.integers(0, N_SHIFTS, (n, 2)) + halves], axis=2)
    canvas = _clutter(rng, ink[torch.from_numpy(rows)], n, difficulty.clutter)
    patches = _written(rng, ink[torch.from_numpy(which.reshape(-1))]).view(n, 2, PATCH_PX, PATCH_PX)
    _paste(canvas, patches, torch.from_numpy(corner))
    canvas += difficulty.noise * torch.from_numpy(rng.standard_normal(canvas.shape, dtype=np.float32))
    digit = bunch.target[which].astype(np.int64)
    return Pictures(
        image=canvas.clamp(0, 1)[:, None].numpy(),
        corner=corner.astype(np.int64),
        place=(corner[..., 0] * N_COLUMNS + corner[..., 1]).astype(np.int64),
        digit=digit,
        sum=digit.sum(1),
        handwriting=which.astype(np.int64),
    )


def _written(rng: np.random.Generator, ink: Float[Tensor, "n 8 8"]) -> Float[Tensor, "n 10 10"]:
    """Each digit in a patch: 8.5 to 10 px large, turned by up to 8 degrees, shifted and fainter."""
    n = len(ink)
    scale = PATCH_PX / rng.uniform(8.5, 10, n)
    shift = rng.uniform(-0.5, 0.5, (n, 2)) * 0.2 * scale[:, None]
    theta = np.zeros((n, 2, 3), dtype=np.float32)
    turn = np.deg2rad(rng.uniform(-8, 8, n))
    theta[:, 0, 0] = theta[:, 1, 1] = scale * np.cos(turn)
    theta[:, 0, 1], theta[:, 1, 0] = -scale * np.sin(turn), scale * np.sin(turn)
    theta[:, :, 2] = shift
    grid = affine_grid(torch.from_numpy(theta), [n, 1, PATCH_PX, PATCH_PX], align_corners=False)
    strength = torch.from_numpy(rng.uniform(0.7, 1.0, (n, 1, 1)).astype(np.float32))
    return grid_sample(ink[:, None], grid, align_corners=False)[:, 0] * strength


def _clutter(
    rng: np.random.Generator, ink: Float[Tensor, "m 8 8"], n: int, n_fragments: int
) -> Float[Tensor, "n 20 32"]:
    """A canvas with small cut-outs of other handwriting strewn over it."""
    canvas = torch.zeros(n, HEIGHT_PX, WIDTH_PX)
    if n_fragments == 0:
        return canvas
    source = torch.from_numpy(rng.integers(0, len(ink), (n, n_fragments)))
    cut = torch.from_numpy(rng.integers(0, 8 - FRAGMENT_PX + 1, (n, n_fragments, 2)))
    reach = torch.arange(FRAGMENT_PX)
    rows = cut[..., 0, None, None] + reach[:, None]
    columns = cut[..., 1, None, None] + reach
    fragments = ink[source[..., None, None], rows, columns]
    strength = torch.from_numpy(rng.uniform(0.5, 0.9, (n, n_fragments, 1, 1)).astype(np.float32))
    limits = [HEIGHT_PX - FRAGMENT_PX + 1, WIDTH_PX - FRAGMENT_PX + 1]
    _paste(canvas, fragments * strength, torch.from_numpy(rng.integers(0, limits, (n, n_fragments, 2))))
    return canvas


def _paste(
    canvas: Float[Tensor, "n height width"],
    patches: Float[Tensor, "n k side side"],
    corners: Int[Tensor, "n k 2"],
) -> None:
    """Write the patches on the canvas, in place; around its own ink a patch wipes out what was there."""
    picture = torch.arange(len(canvas))[:, None, None]
    reach = torch.arange(patches.shape[-1])
    halo = max_pool2d(patches, 2 * HALO_PX + 1, stride=1, padding=HALO_PX).mul(2).clamp(max=1)
    for k in range(patches.shape[1]):
        rows = corners[:, k, 0, None, None] + reach[:, None]
        columns = corners[:, k, 1, None, None] + reach
        canvas[picture, rows, columns] = canvas[picture, rows, columns] * (1 - halo[:, k]) + patches[:, k]
