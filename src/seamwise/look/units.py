"""Which units of a network that reads tokens answer to a concept, by how much, and how sure that is.

Units are found in one half of the text and told by the other. Half of the documents, every other one, where there are
twenty or more; else the first half of the text and the second.

A long document is read in windows, whose first tokens are read again for what came before and are then left out;
windows of unequal lengths are never padded. So a network that remembers more than `overlap` tokens is not seen to.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final, Literal, final

import numpy as np
import torch
from torch import nn

from seamwise.errors import InputError, ModelError
from seamwise.look.auroc import StreamingAUROC, bins_of
from seamwise.look.concepts import Concept, Level, Tokens, column, tokens_of
from seamwise.look.nulls import N_NULL, ClassMeans, NullOfMaximum, classes_of, trivial_auroc, trivial_of_documents
from seamwise.shapes import Float, Int, NDArray, Shaped, Tensor
from seamwise.steps import Steps

WINDOW, OVERLAP = 509, 125  # tokens read at once, and of these read for what came before
MOST = 200_000  # tokens that are looked at
MANY = 20  # documents, of which every other one is held out
SAMPLE = 8192  # tokens, or fewer of many units
ROOM: Final = 1 << 22  # activations held at once
COPIES = 0.25  # of a unit's answer
FEWEST = 5  # tokens, lines or documents where a concept holds, or does not, in a half
_LARGEST_COLUMN, _ORDERS = 80, 12

Chunk = tuple[Int[NDArray, " tokens"], Float[Tensor, "tokens units"]]
Piece = tuple[int, int, int, int]  # of a document: its first token, that behind its last; and what is asked for


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
    """What was found: layers with how many units each, in the order of the arrays; answers, one a concept."""

    layers: tuple[tuple[str, int], ...]
    n_tokens: int
    answers: tuple[Answer, ...]

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


def tokens_for(network: nn.Module, documents: Sequence[str]) -> Tokens:
    """Documents as the network reads them: by its method `encode(text)` where it has one, else by bytes in UTF-8.

    Where a number is neither one character nor one byte, a method `pieces(text)` has to divide the text likewise.
    Raises ModelError.
    """
    try:
        return tokens_of(documents, getattr(network, "encode", _bytes), getattr(network, "pieces", None))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        given = f"{type(error).__name__}: {error}"[:200]
        expected = "a number for each character, for each byte, or for each piece"
        raise ModelError("the module's encode(text) does not read the text", given=given, expected=expected) from error


def _bytes(text: str) -> Int[NDArray, " tokens"]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64)


@final
class Reader:
    """Runs a network over tokens and gives the activations of its layers, [tokens, units], window by window.

    A layer is any module whose output, or its first part where it is a tuple, is [batch, tokens, units], or
    [tokens, batch, units], or [batch, units, tokens]; other modules are passed over, and those that only hand on what
    another gave. Layers that run more than once are looked at the first time. Raises ModelError.
    """

    def __init__(
        self,
        network: nn.Module,
        tokens: Tokens,
        layers: Sequence[str] = (),
        window: int = WINDOW,
        overlap: int = OVERLAP,
    ) -> None:
        if not 0 <= overlap < window:
            given, expected = f"a window of {window}, an overlap of {overlap}", "an overlap shorter than the window"
            raise InputError("windows do not fit", given=given, expected=expected)
        self._network, self._tokens, self._window, self._overlap = network, tokens, window, overlap
        self._axes, self.layers = self._look(layers)
        self.n_units = sum(n for _, n in self.layers)

    def _look(self, asked: Sequence[str]) -> tuple[dict[str, tuple[int, ...]], tuple[tuple[str, int], ...]]:
        """Where batch, tokens and units are in each layer's output; two windows of a length that few layers have."""
        length = _prime(min(self._window, self._tokens.n))
        outputs = self._run(np.stack([self._tokens.ids[:length]] * 2))
        axes = {name: found for name, output in outputs.items() if (found := _axes(output, 2, length))}
        missing = [name for name in asked if name not in axes]
        if missing or not axes:
            what = f"no layer {missing[0]!r} that gives units for each token" if missing else "no layer gives units"
            expected = ", ".join(axes) or "a module whose output is [batch, tokens, units]"
            raise ModelError(what, given=", ".join(outputs)[:300] or "no output", expected=expected)
        kept = {name: found for name, found in axes.items() if not asked or name in asked}
        return kept, tuple((name, _arranged(outputs[name], found).shape[2]) for name, found in kept.items())

    def _run(self, ids: Shaped[NDArray, "batch tokens *features"]) -> dict[str, Tensor]:
        with _outputs(self._network) as outputs, _evaluated(self._network), torch.inference_mode():
            try:
                self._network(torch.from_numpy(ids))
            except (IndexError, RuntimeError, TypeError, ValueError) as error:
                given = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}" if str(error) else repr(error)
                remedy = "give the module a method encode(text) -> numbers that it reads, or a smaller window"
                what = f"the network does not read {ids.shape[1]} tokens"
                raise ModelError(what, given=given, expected="numbers [batch, tokens]", remedy=remedy) from error
        return outputs

    def read(self, pieces: Sequence[Piece], steps: Steps | None = None) -> Iterator[Chunk]:
        """The activations of what is asked for, in no particular order: which tokens, and their units."""
        windows = [window for piece in pieces for window in _windows(*piece, self._window, self._overlap)]
        windows.sort(key=lambda w: w[1] - w[0])
        at_once, at = max(1, min(32, ROOM // (self.n_units * self._window))), 0
        while at < len(windows):
            length = windows[at][1] - windows[at][0]
            batch = [w for w in windows[at : at + at_once] if w[1] - w[0] == length]
            yield self._chunk(np.array(batch))
            at += len(batch)
            if steps is not None:
                steps.at(at, len(windows))

    def _chunk(self, windows: Int[NDArray, "batch 4"]) -> Chunk:
        rows = windows[:, :1] + np.arange(windows[0, 1] - windows[0, 0])
        outputs = self._run(self._tokens.ids[rows])
        parts = [_arranged(outputs[name], axes) for name, axes in self._axes.items()]
        asked = (rows >= windows[:, 2:3]) & (rows < windows[:, 3:])
        activations = torch.cat([part.float() for part in parts], 2)[torch.from_numpy(asked)]
        if not bool(torch.isfinite(activations.sum())):
            broken = next((n for n, p in zip(self._axes, parts, strict=True) if not p.isfinite().all()), "a layer")
            raise ModelError(f"{broken}: activations that are no numbers", remedy="check the weights; use float32")
        return rows[asked], activations

    def sample(self, pieces: Sequence[Piece]) -> Chunk:
        """Some windows from all over what is asked for, to make bins of."""
        wanted = min(SAMPLE, max(ROOM // self.n_units, self._window))
        windows = [window for piece in pieces for window in _windows(*piece, self._window, self._overlap)]
        step = max(1, int(sum(w[3] - w[2] for w in windows) / wanted))
        some = [(w[0], w[1], w[2], w[3]) for w in windows[step // 2 :: step]]
        chunks = [self._chunk(np.array([window])) for window in some]
        return np.concatenate([rows for rows, _ in chunks]), torch.cat([activations for _, activations in chunks])


def _windows(first: int, last: int, begin: int, end: int, window: int, overlap: int) -> Iterator[Piece]:
    """Where each window begins and ends, and which of its tokens are asked for."""
    at = begin
    while at < end:
        start = max(first, min(at - overlap, last - window))
        stop = min(start + window, last)
        yield start, stop, at, min(stop, end)
        at = stop


def _prime(most: int) -> int:
    return next((n for n in range(most, 2, -1) if all(n % k for k in range(2, int(n**0.5) + 1))), most)


@contextmanager
def _outputs(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What each module gives first; of modules that give the same tensor, the innermost."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        value = output[0] if isinstance(output, tuple | list) and output else output
        known = any(value is other for other in outputs.values())
        if isinstance(value, Tensor) and name not in outputs and not known:
            outputs[name] = value

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
        for name, module in ((name or "output", module) for name, module in network.named_modules())
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Without dropout and the like; each module is put back as it was."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _axes(output: Tensor, batch: int, tokens: int) -> tuple[int, ...]:
    """Which axes are batch, tokens and, for the rest, units; none where it is something else."""
    shape = tuple(output.shape)
    if output.ndim < 3 or not output.is_floating_point() or output.numel() == 0:
        return ()
    if shape[:2] == (batch, tokens):
        return tuple(range(output.ndim))
    if shape[:2] == (tokens, batch):
        return (1, 0, *range(2, output.ndim))
    return (0, 2, 1) if output.ndim == 3 and (shape[0], shape[2]) == (batch, tokens) else ()


def _arranged(output: Tensor, axes: tuple[int, ...]) -> Float[Tensor, "batch tokens units"]:
    return output.permute(axes).flatten(2)


@final
@dataclass(frozen=True)
class Halves:
    """Which tokens units are found in (0), which are held out (1), which are not looked at (-1)."""

    half: Int[NDArray, " tokens"]
    find: tuple[Piece, ...]
    hold: tuple[Piece, ...]

    def rows(self, half: int) -> Int[NDArray, " tokens"]:
        """The tokens of a half."""
        return np.flatnonzero(self.half == half)


def halves(tokens: Tokens, most: int = MOST) -> Halves:
    """At most so many tokens, in two halves: see the head of this page. Documents left out are spread evenly."""
    ends = np.searchsorted(tokens.document, np.arange(len(tokens.documents)), side="right")
    half = np.full(tokens.n, -1, np.int8)
    if len(ends) >= MANY:
        n = min(len(ends), max(MANY, int(len(ends) * most / tokens.n)))
        chosen = np.linspace(0, len(ends) - 1, n).round().astype(int)
        of_document = np.full(len(ends), -1, np.int8)
        of_document[chosen[::2]], of_document[chosen[1::2]] = 0, 1
        half = of_document[tokens.document]
    else:
        n = min(tokens.n, most)
        breaks = np.flatnonzero(np.diff(tokens.line[:n])) + 1  # a half begins with a line where there are some
        half[:n] = np.arange(n) >= (breaks[np.abs(breaks - n // 2).argmin()] if len(breaks) > 1 else n // 2)
    return Halves(half, *(tuple(_pieces(half == k, ends)) for k in (0, 1)))


def _pieces(asked: NDArray, ends: Int[NDArray, " documents"]) -> Iterator[Piece]:
    first = 0
    for last in map(int, ends):
        at = first + np.flatnonzero(asked[first:last])
        if len(at):
            yield first, last, int(at[0]), int(at[-1]) + 1
        first = last


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
    flat = np.append(np.concatenate(columns), 0)[(np.cumsum(lengths) - lengths)[tokens.document] + tokens.start]
    order = np.log2(tokens.start + 1).astype(np.int64).clip(0, _ORDERS - 1)
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
    overlap: int = OVERLAP,
    seed: int = 0,
) -> TextUnits:
    """For each concept how every unit of every layer, or of those named, answers to it.

    value: of a unit over a line or a document, for concepts of these. Units are found by the maximum over all of them,
    in one half, with `n_null` moves of the labels (see NullOfMaximum). Memory: activations of some windows, and units x
    256 x concepts; for concepts of lines or documents also units x lines or documents.

    Raises InputError where a concept never or always holds in a half, ModelError where no layer gives units for tokens.
    """
    split = halves(tokens, most)
    check_concepts(concepts, tokens, split)
    reader = Reader(network, tokens, layers, window, overlap)
    searches = list(_searches(tokens, concepts, split, n_null, seed, value == "last"))
    _search(reader, split, searches)
    answers = {answer.concept: answer for search in searches for answer in search.answers()}
    return TextUnits(reader.layers, int((split.half >= 0).sum()), tuple(answers[c.name] for c in concepts))


def _searches(
    tokens: Tokens, concepts: Sequence[Concept], split: Halves, n_null: int, seed: int, last: bool
) -> Iterator[_OfTokens | _OfBlocks]:
    of: Mapping[Level, list[Concept]] = {"token": [], "line": [], "document": []}
    for concept in concepts:
        of[concept.level].append(concept)
    if of["token"]:
        yield _OfTokens(tokens, of["token"], split, n_null, seed)
    for level in ("line", "document"):
        if of[level]:
            yield _OfBlocks(tokens, of[level], split, n_null, seed, last)


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


def check_concepts(concepts: Sequence[Concept], tokens: Tokens, split: Halves) -> None:
    """Raises InputError, with the count, where a concept hardly ever or nearly always holds in one of the halves."""
    if not concepts:
        raise InputError("no concept", remedy="name one, or give a file with a label a token or a line")
    for concept in concepts:
        block = {"token": np.arange(tokens.n), "line": tokens.line, "document": tokens.document}[concept.level]
        for k, half in enumerate(("where units are found", "held out")):
            labels = concept.labels[np.unique(block[split.rows(k)])]
            n, holds = int((labels >= 0).sum()), int((labels == 1).sum())
            if min(holds, n - holds) < FEWEST:
                given = f"it holds at {holds:,} of {n:,} {concept.level}s {half}"
                expected = f"at {FEWEST} at least, and not at {FEWEST}, in both halves"
                remedy = "look at more text, or at another concept"
                raise InputError(f"concept {concept.name!r}", given=given, expected=expected, remedy=remedy)


QUANTILES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
AROUND = 30  # characters


@final
@dataclass(frozen=True)
class Example:
    """A token drawn at random among those between two quantiles of a unit's activations, in its text."""

    quantiles: tuple[float, float]
    value: float
    before: str
    token: str
    after: str


def values_of(
    network: nn.Module,
    tokens: Tokens,
    units: Sequence[tuple[str, int]],
    pieces: Sequence[Piece],
    window: int = WINDOW,
    overlap: int = OVERLAP,
) -> tuple[Int[NDArray, " tokens"], Float[NDArray, "tokens units"]]:
    """Activations of a few units, (layer, number), at all tokens of some pieces (see `halves`); the tokens first.

    Raises InputError where there is no such unit.
    """
    reader = Reader(network, tokens, sorted({layer for layer, _ in units}), window, overlap)
    starts = dict(
        zip((name for name, _ in reader.layers), np.cumsum([0, *(n for _, n in reader.layers)]), strict=False)
    )
    sizes = dict(reader.layers)
    for layer, unit in units:
        if not 0 <= unit < sizes[layer]:
            raise InputError(f"{layer} has no unit {unit}", expected=f"0 to {sizes[layer] - 1}")
    columns = torch.tensor([int(starts[layer]) + unit for layer, unit in units])
    found = [(rows, activations[:, columns].numpy()) for rows, activations in reader.read(pieces)]
    rows = np.concatenate([rows for rows, _ in found])
    order = np.argsort(rows)
    return rows[order], np.concatenate([values for _, values in found])[order]


def examples(
    tokens: Tokens,
    rows: Int[NDArray, " tokens"],
    values: Float[NDArray, " tokens"],
    n: int = 3,
    quantiles: Sequence[float] = QUANTILES,
    seed: int = 0,
) -> tuple[Example, ...]:
    """So many tokens drawn at random between each two quantiles of a unit's activations, the largest last."""
    order, generator = np.argsort(values, kind="stable"), np.random.default_rng(seed)
    drawn = list[Example]()
    for low, high in pairwise(quantiles):
        among = order[int(low * len(order)) : max(int(high * len(order)), int(low * len(order)) + 1)]
        for at in np.sort(generator.choice(among, min(n, len(among)), replace=False)):
            drawn.append(_example(tokens, int(rows[at]), float(values[at]), (low, high)))
    return tuple(drawn)


def _example(tokens: Tokens, row: int, value: float, between: tuple[float, float]) -> Example:
    text, start, end = tokens.documents[tokens.document[row]], int(tokens.start[row]), int(tokens.end[row])
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    return Example(between, value, before, text[start:end], after)


def coloured(tokens: Tokens, rows: Int[NDArray, " tokens"], values: Float[NDArray, " tokens"]) -> str:
    """Tokens as HTML, each on orange where a unit is above its median, on blue where below; its value in the title.

    The ground is half transparent, so that letters stay as they are on a light page and on a dark one.
    """
    middle = float(np.median(values)) if len(values) else 0.0
    reach = float(np.quantile(np.abs(values - middle), 0.99)) if len(values) else 0.0
    spans = (
        _span(tokens.text(int(row)), float(v), (float(v) - middle) / (reach or 1.0))
        for row, v in zip(rows, values, strict=True)
    )
    return f'<span style="white-space:pre-wrap">{"".join(spans)}</span>'


def _span(text: str, value: float, share: float) -> str:
    colour = "230,120,0" if share > 0 else "0,120,230"  # told apart by the colour-blind too
    ground = f"background:rgba({colour},{min(abs(share), 1) * 0.6:.2f})"
    return f'<span style="{ground}" title="{value:.3g}">{escape(text)}</span>'
