"""What the best of many units would reach by chance; and what is trivial: the current token, the place.

The null of the maximum: labels are moved against the activations, and the largest |AUROC - .5| of any unit is noted,
each time. Labels of tokens and of lines are shifted in a circle, so that the memory of units and the runs of labels
stay as they are; labels of documents are permuted. Shuffled tokens would have no memory, and units with some would then
seem to answer to anything.

Exact: where documents can be exchanged; where labels are stationary in a circle, and lags are drawn among all. Not
exact: a text is no circle, so that at one place things meet that do not belong together; lags near zero, which move
nothing, are not drawn; AUROC is by ranks in a first sample of the activations. A simulation of units with memory and
labels in runs shows what this costs (benchmarks/look_text.py).

Source: circular shifts: Harris 2020 (arXiv 2012.06862), who calls correlations without them nonsense; maximum over
units: Westfall & Young 1993; p-value: Phipson & Smyth 2010 (doi 10.2202/1544-6115.1585).
"""

from typing import Final, Literal, final

import numpy as np
import torch

from seamwise.look.text.auroc import exact_auroc
from seamwise.shapes import Bool, Float, Int, NDArray, Tensor

N_NULL: Final = 99  # shifts or permutations
MOST_CLASSES: Final = 1024  # of tokens that have a mean of their own; all rarer ones share one
FEW = 5.0  # tokens: a class with so many of them has a mean half its own, half that of all
SMOOTH = 1.0

How = Literal["shift", "permute"]


def lags(rows: int, n: int, seed: int = 0) -> Int[NDArray, " lags"]:
    """So many lags, one drawn in each of as many equal parts of the circle; none in the first and last half part."""
    part = rows / (n + 1)
    jitter = np.random.default_rng(seed).uniform(-0.5, 0.5, n)
    return np.round((np.arange(1, n + 1) + jitter) * part).astype(np.int64) % rows


@final
class NullOfMaximum:
    """For each unit and concept the AUROC as it is, and what the best unit has when labels are moved.

    Feed it with the middle ranks of all rows (see Bins.scores), in any order. Memory is units x concepts x moves.
    """

    def __init__(
        self, labels: Int[NDArray, "rows concepts"], how: How = "shift", n: int = N_NULL, seed: int = 0
    ) -> None:
        self._labels, rows = labels, len(labels)
        generator = np.random.default_rng(seed)
        self._lags = np.concatenate([[0], lags(rows, n, seed)])
        moved = [np.arange(rows), *(generator.permutation(rows) for _ in range(n if how == "permute" else 0))]
        self._moved = np.stack(moved) if how == "permute" else None
        holds, not_ = (labels == 1).sum(0), (labels == 0).sum(0)
        self._weights = np.stack([-1 / np.maximum(not_, 1), 1 / np.maximum(holds, 1), np.zeros(len(holds))])
        self._sums: Float[Tensor, "units concepts_moves"] | None = None

    def add(self, scores: Float[Tensor, "units some"], rows: Int[NDArray, " some"]) -> None:
        """Some more rows."""
        weights = self._weights_at(rows)
        sums = scores @ torch.from_numpy(weights.reshape(len(rows), -1))
        self._sums = sums if self._sums is None else self._sums.add_(sums)

    def _weights_at(self, rows: Int[NDArray, " some"]) -> Float[NDArray, "some moves concepts"]:
        """1 / how often it holds where a moved label holds, -1 / how often it does not where not, 0 where unknown."""
        moved = self._moved
        source = (rows[:, None] - self._lags) % len(self._labels) if moved is None else moved[:, rows].T
        labels = self._labels[source]
        return np.asarray(self._weights.astype(np.float32)[labels, np.arange(labels.shape[-1])])

    @property
    def _differences(self) -> Float[Tensor, "units moves concepts"]:
        """AUROC - .5: the mean middle rank where a concept holds, less that where it does not."""
        if self._sums is None:
            raise ValueError("no row was added")
        return self._sums.view(len(self._sums), -1, self._labels.shape[1])

    @property
    def auroc(self) -> Float[NDArray, "units concepts"]:
        """With the labels where they are, by ranks in the sample."""
        return np.asarray((self._differences[:, 0].numpy() + 0.5).clip(0, 1))

    @property
    def maxima(self) -> Float[NDArray, "moves concepts"]:
        """The largest |AUROC - .5| of any unit, for each move."""
        return np.asarray(self._differences[:, 1:].abs().amax(0).numpy())

    def p_values(self) -> Float[NDArray, "units concepts"]:
        """How often, of all moves and none, some unit does as well as this one; never below 1 / (moves + 1)."""
        own = self._differences[:, 0].abs().numpy()
        maxima = np.sort(self.maxima, 0)
        above = [len(maxima) - np.searchsorted(maxima[:, k], own[:, k]) for k in range(own.shape[1])]
        return np.asarray((1 + np.stack(above, 1)) / (1 + len(maxima)))


@final
class ClassMeans:
    """The mean activation of every unit at tokens of a class, the current token for example; and what is left of it.

    A rare class has a mean drawn towards that of all tokens.
    """

    def __init__(self, n_classes: int, n_units: int) -> None:
        self._sums, self._counts = torch.zeros(n_classes, n_units), torch.zeros(n_classes)

    def add(self, activations: Float[Tensor, "tokens units"], classes: Int[NDArray, " tokens"]) -> None:
        """Some more tokens."""
        index = torch.from_numpy(classes)
        self._sums.index_add_(0, index, activations)
        self._counts.index_add_(0, index, torch.ones(len(classes)))

    def means(self) -> Float[Tensor, "classes units"]:
        """Of each class."""
        overall = self._sums.sum(0) / self._counts.sum().clamp_min(1)
        return (self._sums + FEW * overall) / (self._counts + FEW)[:, None]


def classes_of(values: Int[NDArray, " tokens"], find: Bool[NDArray, " tokens"]) -> Int[NDArray, " tokens"]:
    """Classes from 1 up for the 1,023 values most frequent where units are found; 0 for all others."""
    known, counts = np.unique(values[find], return_counts=True)
    known = np.sort(known[np.argsort(-counts, kind="stable")[: MOST_CLASSES - 1]])
    at = np.searchsorted(known, values).clip(0, max(len(known) - 1, 0))
    return np.where(known[at] == values, at + 1, 0)


def trivial_auroc(
    classes: Int[NDArray, " tokens"], labels: Int[NDArray, " tokens"], find: Bool[NDArray, " tokens"]
) -> float:
    """How well the class of a token alone tells a concept: learned in one half, AUROC in the other.

    The best one can do from the class: how often the concept holds in it.
    """
    shares = shares_of(classes, labels, find)
    held = ~find & (labels >= 0)
    return exact_auroc(shares[classes[held]], labels[held] == 1)


def shares_of(
    classes: Int[NDArray, " tokens"], labels: Int[NDArray, " tokens"], find: Bool[NDArray, " tokens"]
) -> Float[NDArray, " classes"]:
    """How often a concept holds in each class, drawn towards how often it holds anywhere."""
    counted, n = find & (labels >= 0), int(classes.max()) + 1
    holds = np.bincount(classes[counted], labels[counted] == 1, n)
    share = float(holds.sum()) / max(int(counted.sum()), 1)
    return (holds + SMOOTH * share) / (np.bincount(classes[counted], minlength=n) + SMOOTH)


def trivial_of_documents(
    classes: Int[NDArray, " tokens"],
    block: Int[NDArray, " tokens"],
    labels: Int[NDArray, " blocks"],
    find: Bool[NDArray, " blocks"],
) -> tuple[float, float]:
    """How well the tokens of a document, in whatever order, and its length tell a concept of documents: two AUROCs.

    Naive Bayes: the mean, over its tokens, of the logarithm of how much more frequent each is where the concept holds.
    """
    told = np.array([(labels[block] == value) & find[block] for value in (0, 1)])
    counts = np.stack([np.bincount(classes[at], minlength=int(classes.max()) + 1) for at in told]) + SMOOTH
    odds = np.log(counts[1] / counts[1].sum()) - np.log(counts[0] / counts[0].sum())
    lengths = np.bincount(block, minlength=len(labels))
    evidence = np.bincount(block, odds[classes], len(labels)) / np.maximum(lengths, 1)
    known = (labels >= 0) & (lengths > 0)
    length, held = exact_auroc(lengths[find & known].astype(float), labels[find & known] == 1), known & ~find
    sign = 1.0 if length >= 0.5 else -1.0
    return exact_auroc(evidence[held], labels[held] == 1), exact_auroc(sign * lengths[held], labels[held] == 1)
