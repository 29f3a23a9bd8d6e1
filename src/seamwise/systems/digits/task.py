"""The digits task: find the two digits, read each, add. The answer is the sum.

Variants: the places given, or found by a learned stage. The direct networks go from picture to sum.
"""

from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from seamwise import Chain, Designed, Fit, Learned, Supply, Task, categories
from seamwise.shapes import Float, Int, Tensor
from seamwise.systems.digits import world
from seamwise.systems.digits.oracles import find_perfectly, read_perfectly
from seamwise.systems.digits.pictures import draw, read_picture, tell
from seamwise.systems.digits.world import (
    HEIGHT_PX,
    N_COLUMNS,
    N_ROWS,
    N_SHIFTS,
    N_SUMS,
    PATCH_PX,
    WIDTH_PX,
)

N_ANSWERS, N_STAGE_LABELS, N_VALIDATION, N_TEST = 6400, 400, 500, 2000

place = categories("place", N_ROWS * N_COLUMNS)
digit = categories("digit", 10)
total = categories("sum", N_SUMS)


class Find(nn.Module):
    """A score for every place where a patch may be: its receptive field is just that patch.

    The left digit is looked for in the left half, the right one in the right.
    """

    def __init__(self, n_channels: int = 16) -> None:
        super().__init__()
        self.scores = nn.Sequential(nn.Conv2d(1, n_channels, PATCH_PX), nn.ReLU(), nn.Conv2d(n_channels, 1, 1))
        channels_last(self)
        column = torch.arange(N_COLUMNS)
        halves = torch.stack([column < N_SHIFTS, column >= WIDTH_PX // 2])
        self.elsewhere: Tensor
        self.register_buffer("elsewhere", ~halves[:, None].expand(2, N_ROWS, N_COLUMNS).clone())

    def forward(self, image: Float[Tensor, "batch 1 20 32"]) -> Float[Tensor, "batch 2 253"]:
        scores: Tensor = self.scores(image)
        both = scores.expand(-1, 2, -1, -1).masked_fill(self.elsewhere, -torch.inf)
        return both.flatten(2).softmax(-1)


class Read(nn.Module):
    """A small convolutional network on each patch: shares of the ten digits."""

    def __init__(self, n_channels: int = 24) -> None:
        super().__init__()
        self.classify = nn.Sequential(
            nn.Conv2d(1, n_channels, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(n_channels, 2 * n_channels, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(8 * n_channels, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, 10),
        )
        channels_last(self)

    def forward(self, patch: Float[Tensor, "batch 2 10 10"]) -> Float[Tensor, "batch 2 10"]:
        scores: Tensor = self.classify(patch.flatten(0, 1)[:, None])
        return scores.softmax(-1).reshape(-1, 2, 10)


class Direct(nn.Module):
    """One network, picture to shares of the nineteen sums."""

    def __init__(self, n_channels: int = 16, n_hidden: int = 40) -> None:
        super().__init__()
        self.classify = nn.Sequential(
            nn.Conv2d(1, n_channels, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(n_channels, 2 * n_channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * n_channels, 2 * n_channels, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(2 * n_channels * (HEIGHT_PX // 4) * (WIDTH_PX // 4), n_hidden),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(n_hidden, N_SUMS),
        )
        channels_last(self)

    def forward(self, image: Float[Tensor, "batch 1 20 32"]) -> Float[Tensor, "batch 19"]:
        scores: Tensor = self.classify(image)
        return scores.softmax(-1)


def channels_last(module: nn.Module) -> None:
    """Lay the weights out so that a convolution of few channels is twice as fast."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it


def look_up(corner: Int[Tensor, "batch 2 2"]) -> Float[Tensor, "batch 2 253"]:
    """The given places in the form in which they would be found: all the probability on one."""
    return one_hot(corner[..., 0] * N_COLUMNS + corner[..., 1], N_ROWS * N_COLUMNS).float()


def cut(image: Float[Tensor, "batch 1 20 32"], place: Float[Tensor, "batch 2 253"]) -> Float[Tensor, "batch 2 10 10"]:
    """The expected patch of each digit: all patches of the picture, weighted by the probability of their place.

    Differentiable in both; gradient reaches every place at once.
    """
    patches = image.unfold(2, PATCH_PX, 1).unfold(3, PATCH_PX, 1).reshape(len(image), N_ROWS * N_COLUMNS, -1)
    return (place @ patches).reshape(-1, 2, PATCH_PX, PATCH_PX)


def add(digit: Float[Tensor, "batch 2 10"]) -> Float[Tensor, "batch 19"]:
    """The distribution of the sum of two independent digits: their distributions, convolved."""
    pairs = digit[:, 0, :, None] * digit[:, 1, None, :]
    ten = torch.arange(10, device=digit.device)
    return pairs.new_zeros(len(digit), N_SUMS).index_add(1, (ten[:, None] + ten).flatten(), pairs.flatten(1))


def supply(difficulty: world.Difficulty | None = None) -> Supply:
    """Pictures with their sum, fewer with places and digits: two tables, as two teams would have made them.

    Validation and test pictures have every label.
    """
    answers = world.draw("train", N_ANSWERS, 0, difficulty)
    staged = world.draw("train", N_STAGE_LABELS, 1, difficulty)
    held = [world.draw("validation", N_VALIDATION, 2, difficulty), world.draw("test", N_TEST, 3, difficulty)]

    def table(pictures: world.Pictures, split: str, labels: tuple[str, ...]) -> dict[str, object]:
        inputs = {"image": pictures.image, "corner": pictures.corner}
        keys = {"group": pictures.handwriting, "split": np.full(len(pictures.sum), split)}
        return inputs | {name: getattr(pictures, name) for name in labels} | keys

    everything = ("place", "digit", "sum")
    return Supply(
        {
            "answers": table(answers, "train", ("sum",)),
            "stages": table(staged, "train", ("place", "digit")),
            "validation": table(held[0], "validation", everything),
            "test": table(held[1], "test", everything),
        },
        prices={"sum": 1.0, "digit": 2.0, "place": 2.0},
    )


find = Learned("find", Find, "image", place)
read = Learned("read", Read, "patch", digit)
cut_out = Designed("cut", cut, ("image", "place"), "patch")
add_up = Designed("add", add, "digit", "sum")

task = Task(
    name="digits",
    chain={
        "found": Chain([find, cut_out, read, add_up]),
        "given": Chain([Designed("find", look_up, "corner", "place"), cut_out, read, add_up]),
    },
    answer=total,
    supply=supply(),
    direct={
        "direct": Learned("direct", Direct, "image", total),
        "larger": Learned("direct", partial(Direct, 24, 96), "image", total),
    },
    draw=draw,
    read=read_picture,
    tell=tell,
    fit=Fit(rates=(3e-3,), max_steps=3500),
    oracles={"find": find_perfectly, "read": read_perfectly},
)


def with_world(clutter: float = world.Difficulty.clutter, noise: float = world.Difficulty.noise) -> Task:
    """The task in a world of another difficulty, see world.Difficulty. Raises TaskError."""
    return task.with_supply(supply(world.difficulty(clutter, noise)))
