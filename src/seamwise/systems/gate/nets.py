"""The networks of the gate's chain, on pictures of 96 px: find, zoom, recognise; and the direct one.

The finder looks at a picture on four levels; on each, faces of one size are 8 px wide. A cell is a place on a level:
together the cells are all the boxes where a face may be.
"""

import math
from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, normalize, pad

from seamwise.shapes import Float, Tensor, UInt8
from seamwise.systems.gate import faces, scenes
from seamwise.systems.gate.scenes import PICTURE_PX

LEVELS_PX = (30, 24, 19, 16)  # the picture's side on each level
FACE_PX, PATCH_PX = 8, 10  # on a level: a face box, and a cell's patch around it
N_SIDE = tuple(side + 2 - PATCH_PX + 1 for side in LEVELS_PX)  # cells along a side; a level has a margin of 1 px
N_CELLS = sum(n * n for n in N_SIDE)
ZOOM_PX = 20  # the face as the recogniser sees it, with the surroundings that a cell's patch has
EVEN_PX = 9  # of a level, over which light and contrast are evened out
NEAR = 0.3  # cells as near as this to the likeliest, in face sizes and in log size, are of the same face


class Find(nn.Module):
    """Shares of all cells: where the face is, and how large. It sees of each cell just its patch.

    A score is the cosine of the patch with a template, which starts as the average drawn face, and what a small network
    adds, which starts as nothing. From a start that knows nothing, training by the answer alone ends in a corner.
    """

    def __init__(self, n_channels: int = 8, n_templates: int = 4) -> None:
        super().__init__()
        self.template = nn.Parameter(average_face().clone())
        self.sharpness = nn.Parameter(torch.tensor(20.0))
        last = nn.Conv2d(n_templates, 1, 1)
        nn.init.zeros_(last.weight)
        self.more = nn.Sequential(
            nn.Conv2d(1, n_channels, 4),
            nn.ReLU(),
            nn.Conv2d(n_channels, n_templates, PATCH_PX - 3),
            nn.ReLU(),
            last,
        )
        channels_last(self.more)

    def forward(self, image: UInt8[Tensor, "batch 1 96 96"]) -> Float[Tensor, "batch cells"]:
        template = normalize((self.template - self.template.mean()).flatten(), dim=0).view(1, 1, PATCH_PX, PATCH_PX)
        return torch.cat([self._scores(locally_even(level), template) for level in levels(image)], 1).softmax(-1)

    def _scores(self, level: Tensor, template: Tensor) -> Tensor:
        mean = _over_patch(level.shape[-1]).to(level.device)
        spread = (mean @ level.square() @ mean.T - (mean @ level @ mean.T).square()).clamp_min(0)
        cosine = conv2d(level, template) / (PATCH_PX * spread.sqrt() + 0.5)
        scores: Tensor = self.sharpness * cosine + self.more(level)
        return scores.flatten(1)


class Recognise(nn.Module):
    """A small convolutional network: how like each of the people of the training set a face is."""

    def __init__(self, n_people: int, n_channels: int = 24, n_features: int = 96) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, n_channels, 3),
            nn.ReLU(),
            nn.Conv2d(n_channels, n_channels, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(n_channels, 2 * n_channels, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(2 * n_channels * 36, n_features),
        )
        self.likeness = Likeness(n_features, n_people)
        channels_last(self)

    def forward(self, face: Float[Tensor, "batch 20 20"]) -> Float[Tensor, "batch people"]:
        likeness: Tensor = self.likeness(self.features(even(face[:, None])))
        return likeness


class Described(nn.Module):
    """The most that is learned behind a designed descriptor: a projection, and the likeness to each person."""

    def __init__(self, n_described: int, n_people: int, n_features: int = 96) -> None:
        super().__init__()
        self.project = nn.Linear(n_described, n_features)
        self.likeness = Likeness(n_features, n_people)

    def forward(self, description: Float[Tensor, "batch described"]) -> Float[Tensor, "batch people"]:
        likeness: Tensor = self.likeness(self.project(description))
        return likeness


class Likeness(nn.Module):
    """Cosines of a picture's features with one direction a person of the training set."""

    def __init__(self, n_features: int, n_people: int) -> None:
        super().__init__()
        self.people = nn.Parameter(torch.randn(n_people, n_features) / math.sqrt(n_features))

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch people"]:
        return normalize(features, dim=1) @ normalize(self.people, dim=1).T


class Direct(nn.Module):
    """One network, whole picture to likeness."""

    def __init__(self, n_people: int, n_channels: int = 12, n_features: int = 96) -> None:
        super().__init__()
        n = n_channels
        self.features = nn.Sequential(
            nn.Conv2d(1, n, 6, stride=3),
            nn.ReLU(),
            nn.Conv2d(n, 2 * n, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(2 * n, 3 * n, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(3 * n, 4 * n, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(4 * n * 16, n_features),
        )
        self.likeness = Likeness(n_features, n_people)
        channels_last(self)

    def forward(self, image: UInt8[Tensor, "batch 1 96 96"]) -> Float[Tensor, "batch people"]:
        likeness: Tensor = self.likeness(self.features(even(image.float() / 255)))
        return likeness


def channels_last(module: nn.Module) -> None:
    """Lay the weights out so that a convolution of few channels is twice as fast."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it


def even(picture: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Each picture with mean 0 and deviation 1: the light's strength is gone."""
    deviation, mean = torch.std_mean(picture, (1, 2, 3), keepdim=True)
    return (picture - mean) / (deviation + 0.02)


def levels(image: UInt8[Tensor, "batch 1 96 96"]) -> list[Float[Tensor, "batch 1 side side"]]:
    """The picture on every level, even, with a margin."""
    picture = even(image.float() / 255)
    shrunk = [_shrink(side).to(picture.device) for side in LEVELS_PX]
    return [pad(shrink @ picture @ shrink.T, (1, 1, 1, 1)) for shrink in shrunk]


def locally_even(level: Float[Tensor, "batch 1 side side"]) -> Float[Tensor, "batch 1 side side"]:
    """The level with the same light and contrast everywhere."""
    around = _around(level.shape[-1]).to(level.device)
    away = level - around @ level @ around.T
    return away / ((around @ away.square() @ around.T).sqrt() + 0.1)


@lru_cache
def _around(side: int) -> Float[Tensor, "side side"]:
    """A row of weights a pixel: the mean over `EVEN_PX` around it."""
    at = torch.arange(side)
    near = ((at - at[:, None]).abs() <= EVEN_PX // 2).float()
    return near / near.sum(1, keepdim=True)


@lru_cache
def _over_patch(side: int) -> Float[Tensor, "cells side"]:
    """A row of weights a cell: the mean over its patch."""
    away = torch.arange(side) - torch.arange(side - PATCH_PX + 1)[:, None]
    return ((away >= 0) & (away < PATCH_PX)).float() / PATCH_PX


@lru_cache
def average_face() -> Float[Tensor, "10 10"]:
    """A cell's patch around the average of drawn people, seen from the front in even light."""
    rng = np.random.default_rng(0)
    drawn = faces.render(faces.identities(rng, 64), faces.looks(rng, 64, pose=0, light=0, glasses=0))
    grey = (drawn.grey * drawn.alpha + 0.5 * (1 - drawn.alpha)).mean(0).numpy()
    left, top, side = scenes.boxes(drawn.landmarks.numpy()).mean(0)
    scale = FACE_PX / side
    corner = PATCH_PX / 2 - scale * (np.array([left, top]) + side / 2)
    patch = cv2.warpAffine(
        cv2.GaussianBlur(grey, (0, 0), 0.4 / scale),
        np.array([[scale, 0, corner[0]], [0, scale, corner[1]]]),
        (PATCH_PX, PATCH_PX),
    )
    return torch.from_numpy(np.asarray(patch, dtype=np.float32))


@lru_cache
def _shrink(side: int) -> Float[Tensor, "side 96"]:
    """A row of weights an output pixel: linear between the input's, as wide as the output's pixels are."""
    scale = PICTURE_PX / side
    centre = (torch.arange(side) + 0.5) * scale - 0.5
    weight = (1 - (torch.arange(PICTURE_PX) - centre[:, None]).abs() / scale).clamp_min(0)
    return weight / weight.sum(1, keepdim=True)


@lru_cache
def cells() -> Float[Tensor, "cells 3"]:
    """The face box of every cell: its centre's column and row, and the log of its side, in px of the picture."""
    made = []
    for side, n in zip(LEVELS_PX, N_SIDE, strict=True):
        scale = PICTURE_PX / side
        centre = (torch.arange(n) - 1 + PATCH_PX / 2) * scale
        size = torch.full((n, n), math.log(FACE_PX * scale))
        made.append(torch.stack([centre.expand(n, n), centre[:, None].expand(n, n), size], -1).reshape(-1, 3))
    return torch.cat(made)


def sure(place: Float[Tensor, "batch cells"]) -> tuple[Float[Tensor, "batch 3"], Float[Tensor, " batch"]]:
    """The mean box (centre, log side) of the likeliest cell and those near it, and the probability they have."""
    every = cells().to(place.device)
    likeliest = every[place.argmax(1)]
    size = likeliest[:, 2:].exp()
    away = (every - likeliest[:, None]).abs() / torch.cat([size, size, torch.ones_like(size)], 1)[:, None]
    share = place * (away < NEAR).all(2)
    mass = share.sum(1)
    return share @ every / mass[:, None], mass


def expected(
    image: UInt8[Tensor, "batch 1 96 96"], place: Float[Tensor, "batch cells"]
) -> Float[Tensor, "batch 10 10"]:
    """The expected patch: all patches of all levels, weighted by the probability of their cell.

    It is the correlation of each level with the probabilities, taken by Fourier transforms; gradient reaches every
    cell at once.
    """
    patch, at = place.new_zeros(len(image), PATCH_PX, PATCH_PX), 0
    for level, n in zip(levels(image), N_SIDE, strict=True):
        side = level.shape[-1]
        share = place[:, at : at + n * n].reshape(-1, n, n)
        product = torch.fft.rfft2(level[:, 0]) * torch.fft.rfft2(share, s=(side, side)).conj()
        patch = patch + torch.fft.irfft2(product, s=(side, side))[:, :PATCH_PX, :PATCH_PX]
        at += n * n
    return patch


def sharp(image: UInt8[Tensor, "batch 1 96 96"], box: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 20 20"]:
    """The picture's part around a box (centre, log side), bilinear; differentiable in the box."""
    picture = even(image.float() / 255)
    half = box[:, 2].exp() * PATCH_PX / FACE_PX / PICTURE_PX
    zero = torch.zeros_like(half)
    centre = 2 * box[:, :2] / PICTURE_PX - 1
    theta = torch.stack([half, zero, centre[:, 0], zero, half, centre[:, 1]], 1).reshape(-1, 2, 3)
    grid = affine_grid(theta, [len(image), 1, ZOOM_PX, ZOOM_PX], align_corners=False)
    return grid_sample(picture, grid, align_corners=False)[:, 0]


def zoom(image: UInt8[Tensor, "batch 1 96 96"], place: Float[Tensor, "batch cells"]) -> Float[Tensor, "batch 20 20"]:
    """The face enlarged: sharp as far as the finder is sure, the expected patch as far as it is not.

    A finder that knows nothing passes a blur of the whole picture, and gradient to every cell; one that is sure passes
    all the detail that the picture has, and gradient to the box's exact place and size.
    """
    box, mass = sure(place)
    blurred = interpolate(expected(image, place)[:, None], size=(ZOOM_PX, ZOOM_PX), mode="bilinear")[:, 0]
    return torch.lerp(blurred, sharp(image, box), mass[:, None, None])
