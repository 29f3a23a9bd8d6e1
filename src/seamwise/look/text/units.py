"""Which units of a network that reads tokens answer to a concept, by how much, and how sure that is.

Units are found in one half of the text and told by the other; see seamwise.look.text.halves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, final

import numpy as np
import torch
from torch import nn

from seamwise.errors import InputError
from seamwise.look.text.auroc import StreamingAUROC, bins_of
from seamwise.look.text.concepts import Concept, Level
from seamwise.look.text.halves import MOST, Halves, check_concepts, halves
from seamwise.look.text.nulls import N_NULL, ClassMeans, NullOfMaximum, classes_of, trivial_auroc, trivial_of_documents
from seamwise.look.text.reading import WINDOW, Reader
from seamwise.look.text.tokens import Tokens, column
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.steps import Steps

COPIES = 0.25  # of a unit's answer
LEVELS: Final[tuple[Level, ...]] = ("token", "line", "document")
_LARGEST_COLUMN, _ORDERS = 80, 12


@final
@dataclass(frozen=True)
class TextUnit:
    """How a unit answers to a concept.

    auroc: in the half held out: below .5 where it is off while the concept holds; auroc_found: in the other half
    p: how often, by chance, the best of all units would have done as well in the half where it was found
    beyond: AUROC held out of what is left when the unit's mean at the same token is taken away, among tokens at which
        the concept may hold or not; .5 where the token settles it; nan where the concept is one of lines or documents
    """

    layer: str
    unit: int
    auroc: float
    auroc_found: float
    p: float
    beyond: float

    @property
    def sign(self) -> int:
        """1 where it is on while the concept holds, -1 where it is off."""
        return 1 if self.auroc_found >= 0.5 else -1

    @property
    def copies(self) -> bool:
        """Whether it only tells the current token: a quarter of its answer, or less, is left without that."""
        return abs(self.beyond - 0.5) < COPIES * abs(self.auroc - 0.5)


@final
@dataclass(frozen=True)
class Answer:
    """How all units answer to a concept; see TextUnit for the arrays.

    n, n_holds: tokens, lines or documents held out, and where it holds
    by_token: AUROC held out of the current token alone; for lines and documents, of their tokens in whatever order
    by_place: AUROC held out of the place in line and document alone; for lines and documents, of their length
    """

    concept: str
    level: Level
    n: int
    n_holds: int
    by_token: float
    by_place: float
    auroc: Float[NDArray, " units"] = field(repr=False)
    auroc_found: Float[NDArray, " units"] = field(repr=False)
    p: Float[NDArray, " units"] = field(repr=False)
    beyond: Float[NDArray, " units"] = field(repr=False)


@final
@dataclass(frozen=True)
class TextUnits:
    """What was found: layers with how many units each, as in the arrays; answers, one a concept, in their order.

    split: the halves of the text; window, overlap: tokens read at once, and of these again; passed: layers passed over
    """

    layers: tuple[tuple[str, int], ...]
    answers: tuple[Answer, ...]
    split: Halves
    window: int
    overlap: int
    passed: tuple[str, ...] = ()

    @property
    def n_tokens(self) -> int:
        """How many were looked at."""
        return int((self.split.half >= 0).sum())

    def unit(self, answer: Answer, at: int) -> TextUnit:
        """One unit, counted through all layers."""
        layer, unit = _place(self.layers, at)
        values = (float(array[at]) for array in (answer.auroc, answer.auroc_found, answer.p, answer.beyond))
        return TextUnit(layer, unit, *values)

    def best(self, answer: Answer, n: int = 5) -> tuple[TextUnit, ...]:
        """The units that answer most, on or off, in the half where units are found; earlier ones first where equal."""
        order = np.argsort(-np.abs(answer.auroc_found - 0.5), kind="stable")
        return tuple(self.unit(answer, int(at)) for at in order[:n])


def _place(layers: Sequence[tuple[str, int]], at: int) -> tuple[str, int]:
    for name, n in layers:
        if at < n:
            return name, at
        at -= n
    raise InputError("no such unit", given=str(at), expected=", ".join(f"{name} ({n})" for name, n in layers))


@final
class _OfTokens:
    """The search for units that answer to concepts of tokens; see NullOfMaximum, ClassMeans, StreamingAUROC."""

    def __init__(self, tokens: Tokens, concepts: Sequence[Concept], halves: Halves, n_null: int, seed: int) -> None:
        self._concepts, self._labels, self._half = concepts, np.stack([c.labels for c in concepts], 1), halves.half
        self._tokens, self._places = classes_of(kinds(tokens), self._half == 0), places(tokens)
        self._open = np.stack([_open(self._tokens, c.labels, self._half == 1) for c in concepts], 1)
        self._at = np.cumsum(self._half == 0) - 1  # of each token among those that units are found in
        self._null = NullOfMaximum(self._labels[self._half == 0], "shift", n_null, seed)

    def begin(self, sample: Float[Tensor, "tokens units"]) -> None:
        self._bins, self._sample = bins_of(sample), sample
        self._means = ClassMeans(int(self._tokens.max()) + 1, sample.shape[1])

    def find(self, rows: Int[NDArray, " tokens"], activations: Float[Tensor, "tokens units"]) -> None:
        self._null.add(self._bins.scores(self._bins.codes(activations)), self._at[rows])
        self._means.add(activations, self._tokens[rows])

    def turn(self, sampled: Int[NDArray, " tokens"]) -> None:
        means, n = self._means.means(), len(self._concepts)
        self._mean = means
        left = self._sample - means[torch.from_numpy(self._tokens[sampled])]
        self._whole, self._left = StreamingAUROC(self._bins, n), StreamingAUROC(bins_of(left), n)

    def hold(self, rows: Int[NDArray, " tokens"], activations: Float[Tensor, "tokens units"]) -> None:
        labels = self._labels[rows]
        self._whole.add(activations, labels)
        self._left.add(activations - self._mean[torch.from_numpy(self._tokens[rows])], self._open[rows])

    def answers(self) -> Iterator[Answer]:
        whole, left = self._whole.result(), np.nan_to_num(self._left.result(), nan=0.5)
        found, p = self._null.auroc, self._null.p_values()
        for k, concept in enumerate(self._concepts):
            looked_at = self._half >= 0
            labels, find = concept.labels[looked_at], self._half[looked_at] == 0
            by_token, by_place = (trivial_auroc(c[looked_at], labels, find) for c in (self._tokens, self._places))
            n, n_holds = int((labels[~find] >= 0).sum()), int((labels[~find] == 1).sum())
            arrays = (array[:, k] for array in (whole, found, p, left))
            yield Answer(concept.name, "token", n, n_holds, by_token, by_place, *arrays)


def _open(classes: Int[NDArray, " tokens"], labels: Int[NDArray, " tokens"], held: NDArray) -> Int[NDArray, " tokens"]:
    """Labels of tokens of a class in which the concept holds here and not there; the class of all rare ones is none."""
    holds, not_ = (np.bincount(classes[held & (labels == value)], minlength=classes.max() + 1) for value in (1, 0))
    mixed = (holds > 0) & (not_ > 0)
    mixed[0] = False
    return np.where(mixed[classes], labels, np.int8(-1))


def kinds(tokens: Tokens) -> Int[NDArray, " tokens"]:
    """The same number for the same characters."""
    numbers = dict[str, int]()
    texts = map(tokens.text, range(tokens.n))
    return np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), np.int64, tokens.n)


def places(tokens: Tokens) -> Int[NDArray, " tokens"]:
    """Where each token begins: the column in its line, up to 79, and the order of magnitude of its place in all."""
    columns = [column(text) if text else np.zeros(0, int) for text in tokens.documents]
    lengths = np.array([len(text) for text in tokens.documents])
    flat = np.append(np.concatenate(columns), 0)[(np.cumsum(lengths) - lengths)[tokens.document] + tokens.first]
    order = np.log2(tokens.first + 1).astype(np.int64).clip(0, _ORDERS - 1)
    return np.asarray(flat.clip(0, _LARGEST_COLUMN - 1) * _ORDERS + order)


@final
class _OfBlocks:
    """The search for units whose mean, or last value, over a line or a document answers to a concept."""

    def __init__(
        self,
        tokens: Tokens,
        concepts: Sequence[Concept],
        halves: Halves,
        n_null: int,
        seed: int,
        last: bool,
    ) -> None:
        self._concepts, self._tokens, self._half = concepts, tokens, halves.half
        self._level, self._last, self._asked = concepts[0].level, last, (n_null, seed)
        self._block = tokens.document if self._level == "document" else tokens.line
        self._ends = np.append(np.diff(self._block) > 0, True)
        self._of_half = np.full(self._block[-1] + 1, -1, np.int8)
        looked_at = self._half >= 0
        self._of_half[self._block[looked_at]] = self._half[looked_at]
        self._known = np.flatnonzero(self._of_half >= 0)
        self._at = np.searchsorted(self._known, self._block)

    def begin(self, sample: Float[Tensor, "tokens units"]) -> None:
        self._sums, self._counts = torch.zeros(len(self._known), sample.shape[1]), torch.zeros(len(self._known))

    def find(self, rows: Int[NDArray, " tokens"], activations: Float[Tensor, "tokens units"]) -> None:
        kept = self._ends[rows] if self._last else np.ones(len(rows), bool)
        at = torch.from_numpy(self._at[rows[kept]])
        self._sums.index_add_(0, at, activations[torch.from_numpy(kept)])
        self._counts.index_add_(0, at, torch.ones(len(at)))

    def turn(self, sampled: Int[NDArray, " tokens"]) -> None:
        pass

    hold = find

    def answers(self) -> Iterator[Answer]:
        values = self._sums / self._counts.clamp_min(1)[:, None]
        labels = np.stack([c.labels[self._known] for c in self._concepts], 1)
        find = self._of_half[self._known] == 0
        sought, kept = values[torch.from_numpy(find)], values[torch.from_numpy(~find)]
        bins = bins_of(sought)
        null = NullOfMaximum(labels[find], "permute" if self._level == "document" else "shift", *self._asked)
        null.add(bins.scores(bins.codes(sought)), np.arange(len(sought)))
        held = StreamingAUROC(bins, len(self._concepts))
        held.add(kept, labels[~find])
        auroc, found, p = held.result(), null.auroc, null.p_values()
        for k, concept in enumerate(self._concepts):
            known = labels[~find, k]
            n, n_holds = int((known >= 0).sum()), int((known == 1).sum())
            arrays = (auroc[:, k], found[:, k], p[:, k], np.full(len(p), np.nan))
            yield Answer(concept.name, self._level, n, n_holds, *self._trivial(labels[:, k], find), *arrays)

    def _trivial(self, labels: Int[NDArray, " blocks"], find: NDArray) -> tuple[float, float]:
        looked_at = self._half >= 0
        classes = classes_of(kinds(self._tokens), self._half == 0)[looked_at]
        return trivial_of_documents(classes, self._at[looked_at], labels, find)


def text_units(
    network: nn.Module,
    tokens: Tokens,
    concepts: Sequence[Concept],
    *,
    layers: Sequence[str] = (),
    most: int = MOST,
    n_null: int = N_NULL,
    value: Literal["mean", "last"] = "mean",
    window: int = WINDOW,
    overlap: int | None = None,
    seed: int = 0,
) -> TextUnits:
    """For each concept how every unit of every layer, or of those named, answers to it.

    value: of a unit over a line or a document, for concepts of these. Units are found by the maximum over all of them,
    in one half, with `n_null` moves of the labels (see NullOfMaximum). Memory: activations of some windows, and units x
    256 x concepts; for concepts of lines or documents also units x lines or documents.

    window: tokens read at once, or the first half, quarter ... of it that the network reads; overlap: of these read
    again, 125 by default, a quarter at most.

    Raises InputError where a concept never or always holds in a half, ModelError where no layer gives units for tokens.
    """
    split = halves(tokens, most, seed)
    check_concepts(concepts, tokens, split)
    reader = Reader(network, tokens, layers, window, overlap)
    searches = list(_searches(tokens, concepts, split, n_null, seed, value == "last"))
    _search(reader, split, searches)
    found = [answer for search in searches for answer in search.answers()]
    order = np.argsort([LEVELS.index(concept.level) for concept in concepts], kind="stable")  # as searched
    answers = tuple(found[k] for k in np.argsort(order))
    return TextUnits(reader.layers, answers, split, reader.window, reader.overlap, reader.passed)


def _searches(
    tokens: Tokens, concepts: Sequence[Concept], split: Halves, n_null: int, seed: int, last: bool
) -> Iterator[_OfTokens | _OfBlocks]:
    for level in LEVELS:
        own = [concept for concept in concepts if concept.level == level]
        if own and level == "token":
            yield _OfTokens(tokens, own, split, n_null, seed)
        elif own:
            yield _OfBlocks(tokens, own, split, n_null, seed, last)


def _search(reader: Reader, split: Halves, searches: Sequence[_OfTokens | _OfBlocks]) -> None:
    sampled, sample = reader.sample(split.find)
    for search in searches:
        search.begin(sample)
    with Steps("windows read, where units are found") as steps:
        for rows, activations in reader.read(split.find, steps):
            for search in searches:
                search.find(rows, activations)
    for search in searches:
        search.turn(sampled)
    with Steps("windows read, held out") as steps:
        for rows, activations in reader.read(split.hold, steps):
            for search in searches:
                search.hold(rows, activations)
