"""Who is it? Designed features of an upright face, and a learned projection that makes people comparable by angle.

Sources: histograms of oriented gradients, Dalal & Triggs 2005; local binary patterns, Ahonen et al. 2006; the
projection is linear discriminant analysis with shrinkage, kept to the directions in which people differ most.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize, one_hot, pad

from seamwise.errors import InputError
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.systems.gate.light import Frame
from seamwise.systems.gate.scenes import BOX_BELOW, BOX_EYES

UPRIGHT = Frame(px=64, reach=1.2 * BOX_EYES / 2, below=BOX_BELOW)  # what is recognised: a face box and a fifth more
CELL_PX, N_BINS, CLIP = 8, 9, 0.2
N_UNIFORM = 59  # patterns with at most two changes along the circle, and one for all others
DIM, SHRINK = 256, 1.0


class Hog(nn.Module):
    """Histograms of oriented gradients: 9 unsigned directions in cells, normalised in blocks of 2 x 2 cells.

    Every pixel votes for two directions and four cells, nearer ones more. Gradient passes.
    """

    weight: Tensor  # how much each pixel of a line counts for each cell of each block

    def __init__(self, px: int = UPRIGHT.px, cell: int = CELL_PX) -> None:
        super().__init__()
        if px % cell or px < 2 * cell:
            raise InputError("px is no multiple of the cells", given=f"{px} and {cell}", expected="at least 2 cells")
        self.n_blocks = px // cell - 1
        self.n_features = self.n_blocks**2 * 4 * N_BINS
        self.register_buffer("weight", _pooling(px, cell, self.n_blocks), persistent=False)

    def forward(self, picture: Float[Tensor, "batch 1 p p"]) -> Float[Tensor, "batch features"]:
        votes = _directions(picture[:, 0])
        cells = self.weight @ votes @ self.weight.T
        n = self.n_blocks
        blocks = cells.reshape(-1, N_BINS, n, 2, n, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, n * n, 4 * N_BINS)
        clipped = normalize(blocks, dim=2, eps=1e-3).clamp_max(CLIP)
        return normalize(clipped, dim=2, eps=1e-3).flatten(1)


def _pooling(px: int, cell: int, n_blocks: int) -> Float[Tensor, "rows p"]:
    """Rows: the two cells of each block along a line. Pixels count less towards the block's border."""
    pixel = torch.arange(px) + 0.5
    rows = []
    for block in range(n_blocks):
        middle = (block + 1) * cell
        falling = torch.exp(-((pixel - middle) ** 2) / (2 * (cell / 2) ** 2))
        inside = (pixel - middle).abs() < cell
        for side in (-0.5, 0.5):
            near = (1 - (pixel - middle - side * cell).abs() / cell).clamp_min(0)
            rows.append(near * falling * inside)
    return torch.stack(rows)


def _directions(grey: Float[Tensor, "batch p p"]) -> Float[Tensor, "batch bins p p"]:
    """How strongly each pixel's gradient points in each direction; two neighbouring ones share it."""
    wide = pad((grey.clamp_min(0) + 1e-4).sqrt()[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    across = wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]
    down = wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1]
    strength = (across.square() + down.square() + 1e-10).sqrt()
    turn = torch.atan2(down, across + 1e-12) * (N_BINS / math.pi) - 0.5
    away = turn[:, None] - torch.arange(N_BINS, device=grey.device)[:, None, None]
    away = away - N_BINS * (away / N_BINS).round().detach()
    return (1 - away.abs()).clamp_min(0) * strength[:, None]


class Lbp(nn.Module):
    """Local binary patterns: in each cell, the roots of how often each uniform pattern is met. No gradient passes."""

    label: Tensor

    def __init__(self, px: int = UPRIGHT.px, cell: int = CELL_PX) -> None:
        super().__init__()
        self.n_cells, self.cell = px // cell, cell
        self.n_features = self.n_cells**2 * N_UNIFORM
        self.register_buffer("label", _uniform(), persistent=False)

    def forward(self, picture: Float[Tensor, "batch 1 p p"]) -> Float[Tensor, "batch features"]:
        wide = pad(picture, (1, 1, 1, 1), mode="replicate")[:, 0]
        p, n = picture.shape[2], self.n_cells
        around = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
        bits = (wide[:, y : y + p, x : x + p] >= picture[:, 0] for y, x in around)
        code = sum((bit.long() << k for k, bit in enumerate(bits)), start=torch.zeros_like(picture[:, 0]).long())
        cells = (
            self.label[code].reshape(-1, n, self.cell, n, self.cell).transpose(2, 3).reshape(len(picture), n * n, -1)
        )
        met = one_hot(cells, N_UNIFORM).sum(2, dtype=picture.dtype)
        return (met / self.cell**2).sqrt().flatten(1)


def _uniform() -> Int[Tensor, "256"]:
    """The number of each pattern among the uniform ones; those that are not share the last number."""
    labels, found = [], 0
    for code in range(256):
        bits = [code >> k & 1 for k in range(8)]
        uniform = sum(bits[k] != bits[k - 1] for k in range(8)) <= 2
        labels.append(found if uniform else N_UNIFORM - 1)
        found += uniform
    return torch.tensor(labels)


@dataclass(frozen=True)
class Projection:
    """From features to what people are compared by: the mean feature, and one column for each direction."""

    mean: Float[NDArray, " features"]
    matrix: Float[NDArray, "features d"]


class Recognise(nn.Module):
    """An upright grey face to a vector of length 1; faces of one person have a small angle between them.

    The features are those of the face and of its mirror image, averaged.
    """

    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        self.hog = Hog()
        self.register_buffer("mean", torch.zeros(self.hog.n_features))
        self.project = nn.Linear(self.hog.n_features, dim, bias=False)

    mean: Tensor

    def forward(self, face: Float[Tensor, "batch 1 p p"]) -> Float[Tensor, "batch d"]:
        projected: Tensor = self.project(self.features(face) - self.mean)
        return normalize(projected, dim=1)

    def features(self, face: Float[Tensor, "batch 1 p p"]) -> Float[Tensor, "batch features"]:
        """What is projected: no direction of it tells left from right."""
        one, other = self.hog(torch.cat([face, face.flip(3)])).chunk(2)
        both: Tensor = one + other
        return both / 2

    @torch.no_grad()
    def set(self, projection: Projection) -> None:
        """Take a projection of as many directions."""
        self.mean.copy_(torch.from_numpy(projection.mean))
        self.project.weight.copy_(torch.from_numpy(projection.matrix.T))


def fit_projection(
    features: Float[NDArray, "n features"], person: Int[NDArray, " n"], dim: int = DIM, shrink: float = SHRINK
) -> Projection:
    """What differs within a person is made equally large in every direction; kept are those between people.

    `shrink` mixes the spread within a person with as much in every direction: in units of its mean variance.
    """
    names, index = np.unique(person, return_inverse=True)
    if len(names) <= dim:
        raise InputError("too few people", given=f"{len(names)}", expected=f"more than {dim}, one for each direction")
    mean = features.mean(0)
    centre = np.zeros((len(names), features.shape[1]), dtype=features.dtype)
    np.add.at(centre, index, features)
    centre /= np.bincount(index)[:, None]
    rest = features - centre[index]
    within = (rest.T @ rest).astype(np.float64) / len(features)
    within[np.diag_indices_from(within)] += shrink * np.trace(within) / len(within)
    variance, axes = np.linalg.eigh(within)
    white = axes / np.sqrt(variance)
    _, _, directions = np.linalg.svd((centre - mean) @ white, full_matrices=False)
    matrix = white @ directions[:dim].T
    return Projection(mean.astype(np.float32), (matrix / np.abs(matrix).max()).astype(np.float32))
