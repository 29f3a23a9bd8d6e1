"""What the tiny tasks of the advice benchmark are made of: networks, designed stages, draws of looks and tables."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from seamwise import Designed, Learned, Target
from seamwise.metrics import OneHot
from seamwise.stage import Stage

Arrays = dict[str, np.ndarray]
Sample = Callable[[Generator, int], Arrays]

CONTEXT_WIDTH = 3  # numbers of the second input, y
N_CONTEXTS = 3  # symbols that y may show


@dataclass(frozen=True)
class Common:
    """What is drawn alike for every family.

    hidden, depth, relu: of every network. noise, context_noise: deviation of what is seen in x, and in y.
    hard: a seam in the middle passes decisions. wrong: share of a designed stage that is not as the world is.
    last: "rule" (designed) or "learned". short: a stage less, whose work the one before or behind it does.
    hint: an input beside x that knows of the answer, or none; of the chain the first stage alone may read it.
    """

    hidden: int
    depth: int
    relu: bool
    noise: float
    context_noise: float
    hard: bool
    wrong: float
    last: str
    short: bool
    hint: tuple[str, ...]
    hint_width: int


@dataclass(frozen=True)
class World:
    """A chain, its answer, the width of its inputs, and a source of examples with every label."""

    stages: tuple[Stage, ...]
    answer: Target
    widths: Mapping[str, int]
    sample: Sample
    settings: Mapping[str, float | int | str]


class Mlp(nn.Module):
    """Fields side by side -> probabilities or numbers; with `parts`, the same network for each equal part."""

    def __init__(self, n_in: int, hidden: int, n_out: int, depth: int, relu: bool, shares: bool, parts: int = 1):
        super().__init__()
        layers: list[nn.Module] = []
        for width in [n_in, *[hidden] * (depth - 1)]:
            layers += [nn.Linear(width, hidden), nn.ReLU() if relu else nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, n_out))
        self.shares, self.parts = shares, parts

    def forward(self, *fields: Tensor) -> Tensor:
        both = side_by_side(*fields)
        out: Tensor = self.layers(both if self.parts == 1 else both.reshape(both.shape[0], self.parts, -1))
        return out.softmax(-1) if self.shares else out.squeeze(-1)


def net(
    c: Common, name: str, reads: tuple[str, ...], n_in: int, target: Target, n_out: int = 1, parts: int = 1
) -> Learned:
    """A learned stage: a small network for a target."""
    shares = isinstance(target.gold, OneHot)
    n_out = target.gold.n_classes if isinstance(target.gold, OneHot) else n_out
    return Learned(name, partial(Mlp, n_in, c.hidden, n_out, c.depth, c.relu, shares, parts), reads, target)


# What designed stages do


def side_by_side(*fields: Tensor) -> Tensor:
    return torch.cat([f.reshape(f.shape[0], -1) for f in fields], 1)


def decided(shares: Tensor) -> Tensor:
    """All probability on the most probable class: no gradient."""
    return (shares.argmax(-1)[..., None] == torch.arange(shares.shape[-1])).to(shares.dtype)


def hardened(hard: bool, *fields: Tensor) -> Tensor:
    """Distributions side by side, as they are or decided."""
    return side_by_side(*[decided(f) if hard else f for f in fields])


def look_up(table: Tensor, *shares: Tensor) -> Tensor:
    """table: [classes of all fields together, answers] -> the expected row."""
    both = shares[0]
    for field in shares[1:]:
        both = (both[:, :, None] * field[:, None, :]).reshape(both.shape[0], -1)
    return both @ table


def look_up_parts(table: Tensor, symbols: Tensor) -> Tensor:
    """The same for the parts of one field, [batch, parts, classes]."""
    return look_up(table, *[symbols[:, k] for k in range(symbols.shape[1])])


def gather(hard: bool, parts: int, x: Tensor, place: Tensor) -> Tensor:
    """What lies at the place: the expected part, or that at the most probable place."""
    where = decided(place) if hard else place
    return (where[:, :, None] * x.reshape(x.shape[0], parts, -1)).sum(1)


def tally(hard: bool, tags: Tensor) -> Tensor:
    """How often each tag is there."""
    return (decided(tags) if hard else tags).sum(1)


def formula(kind: str, slope: float, hard: bool, measures: Tensor) -> Tensor:
    """One number from several; `hard` rounds it to halves, which no gradient passes."""
    first, rest = measures[:, 0], measures[:, 1:]
    if kind == "product":
        value = first * rest.mean(1) * slope
    elif kind == "norm":
        value = (measures.square().mean(1) + 0.01).sqrt() * slope
    else:
        value = first - slope * rest.mean(1)
    return (value * 2).round() / 2 if hard else value


def duels(hard: bool, sharpness: float, bias: Tensor, sizes: Tensor) -> Tensor:
    """Of each pair, whether the first is larger. bias: one number an object."""
    sizes = sizes + bias
    pairs = torch.combinations(torch.arange(sizes.shape[1]), 2)
    ahead = sizes[:, pairs[:, 0]] - sizes[:, pairs[:, 1]]
    return (ahead > 0).to(sizes.dtype) if hard else torch.sigmoid(sharpness * ahead)


def scaled(factor: float, value: Tensor) -> Tensor:
    return value * factor


# What worlds are drawn from


def prototypes(rng: Generator, n: int, width: int, modes: int) -> np.ndarray:
    """[n, modes, width]: what each class looks like, in one or several ways."""
    return rng.normal(size=(n, modes, width)) * 1.3


def shown(rng: Generator, looks: np.ndarray, labels: np.ndarray, noise: float) -> np.ndarray:
    """What is seen of labels [...]: one of their looks, and noise -> [..., width]."""
    way = rng.integers(0, looks.shape[1], labels.shape)
    seen: np.ndarray = looks[labels, way] + rng.normal(0, noise, (*labels.shape, looks.shape[2]))
    return seen


def drawn_table(rng: Generator, shape: tuple[int, ...], n: int) -> np.ndarray:
    """A random table in which every value comes about as often."""
    size = int(np.prod(shape))
    return rng.permutation(np.arange(size) % n).reshape(shape)


def mistaken(rng: Generator, table: np.ndarray, n: int, wrong: float) -> np.ndarray:
    """The table with a share of its entries wrong; at least one if any."""
    flat, k = table.reshape(-1).copy(), int(np.ceil(wrong * table.size))
    rows = rng.permutation(flat.size)[:k]
    flat[rows] = (flat[rows] + rng.integers(1, n, k)) % n
    return flat.reshape(table.shape)


def as_rows(table: np.ndarray, n: int) -> Tensor:
    return torch.eye(n)[torch.from_numpy(table.reshape(-1))]


@dataclass(frozen=True)
class Ending:
    """The last stage of a chain with a category for an answer: a table, or a network that reads y beside."""

    stage: Stage
    table: np.ndarray
    looks: np.ndarray
    noise: float
    widths: Mapping[str, int]

    def finish(self, rng: Generator, label: np.ndarray) -> Arrays:
        """y and the answer, for what the stages before should say."""
        if not self.widths:
            return {"answer": self.table[label]}
        context = rng.integers(0, N_CONTEXTS, len(label))
        return {"y": shown(rng, self.looks, context, self.noise), "answer": self.table[label, context]}


def ending(rng: Generator, c: Common, field: str, n_classes: int, answer: Target, n_answers: int) -> Ending:
    """Answers from a field of categories."""
    looks = prototypes(rng, N_CONTEXTS, CONTEXT_WIDTH, 1)
    if c.last == "rule":
        table = drawn_table(rng, (n_classes,), n_answers)
        rule = as_rows(mistaken(rng, table, n_answers, c.wrong), n_answers)
        return Ending(Designed("rule", partial(look_up, rule), field, answer.field), table, looks, 0.0, {})
    stage = net(c, "conclude", (field, "y"), n_classes + CONTEXT_WIDTH, answer)
    table = drawn_table(rng, (n_classes, N_CONTEXTS), n_answers)
    return Ending(stage, table, looks, c.context_noise, {"y": CONTEXT_WIDTH})
