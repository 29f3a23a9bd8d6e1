"""What a probe is asked to read: a field's labels as columns of numbers and back, and those of its control task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

import numpy as np
import torch

from seamwise.bootstrap import Bootstrap
from seamwise.evaluate import trivial_error
from seamwise.metrics import Target
from seamwise.shapes import Bool, Float, Int, NDArray, Shaped, Tensor
from seamwise.tables import SPLITS
from seamwise.task import Task

MOST_SLOTS = 64  # labels of one item, where they are not labels of tokens
MOST_CLASSES = 1024  # in the labels of one item together
MOST_TOKENS = 20_000  # of each split
OF_A_TYPE = 8  # training items with one control label, about
MOST_BITS = 8


@final
@dataclass(frozen=True)
class Labels:
    """A field's labels of some items: of: {split: labels [items, ...]}; real: {split: which tokens have one}, if any.

    Categories become shares of the classes that training labels have, one set of columns a slot; numbers are scaled.
    """

    of: Mapping[str, Tensor]
    real: Mapping[str, Tensor] | None
    categories: bool

    @cached_property
    def _train(self) -> Shaped[Tensor, "rows slots"]:
        return self._flat(self.of["train"], "train")

    @cached_property
    def _classes(self) -> list[Tensor]:
        return [torch.unique(column[column >= 0]) for column in self._train.T]

    @cached_property
    def _spread(self) -> tuple[Tensor, Tensor]:
        values = self._train.double()
        return values.mean(0), values.std(0, correction=0).clamp_min(1e-12)

    @cached_property
    def columns(self) -> Float[Tensor, "rows columns"]:
        """What the ridge is fitted to."""
        if not self.categories:
            mean, spread = self._spread
            return ((self._train.double() - mean) / spread).float()
        parts = []
        for column, classes in zip(self._train.T, self._classes, strict=True):
            part = (column[:, None] == classes).float()
            known = column >= 0  # an unknown label is put at the mean, where it says nothing
            part[~known] = part[known].mean(0)
            parts.append(part)
        return torch.cat(parts, 1)

    def read(self, predicted: Float[Tensor, "rows columns"], split: str) -> Shaped[Tensor, "items *each"]:
        """The labels that predictions stand for."""
        if self.categories:
            sizes = [len(classes) for classes in self._classes]
            parts = torch.split(predicted, sizes, 1)
            slots = [own[p.argmax(1)] for own, p in zip(self._classes, parts, strict=True)]
            flat = torch.stack(slots, 1)
        else:
            mean, spread = self._spread
            flat = predicted * spread + mean
        whole = self.of[split]
        if self.real is None:
            return flat.reshape(whole.shape).to(whole.dtype)
        found = torch.zeros_like(whole)
        found[self.real[split]] = flat.reshape(len(flat), *whole.shape[2:]).to(whole.dtype)
        return found

    def _flat(self, labels: Tensor, split: str) -> Shaped[Tensor, "rows slots"]:
        rows = labels if self.real is None else labels[self.real[split]]
        return rows.reshape(len(rows), -1)


@final
@dataclass(frozen=True)
class Asked:
    """What is asked of every layer about a field.

    rows:    the items of each split that have its labels, ascending; labels: theirs; control: those of its control task
    tokens:  the input whose tokens the labels belong to, if any: a probe then reads one token at a time
    trivial: the error, on the test items, of what one answers without looking
    """

    name: str
    target: Target
    rows: Mapping[str, Int[NDArray, " n"]]
    labels: Labels = field(repr=False)
    control: Labels = field(repr=False)
    tokens: str | None
    trivial: float
    bootstrap: Bootstrap = field(repr=False)

    def rows_of(
        self, values: Shaped[Tensor, "batch *each"], batch: Int[NDArray, " batch"], split: str
    ) -> Float[Tensor, "own features"] | None:
        """What a probe reads of ascending items: those with labels, or their tokens; None where there are no tokens."""
        here = torch.from_numpy(np.isin(batch, self.rows[split]))
        if self.labels.real is None:
            return values[here]
        real = self.labels.real[split][torch.from_numpy(np.isin(self.rows[split], batch))]
        longest = int(real.any(0).nonzero().max()) + 1 if bool(real.any()) else 0
        if values.ndim != 3 or not longest <= values.shape[1] <= real.shape[1]:
            return None
        return values[here].float()[real[:, : values.shape[1]]]


def asked_of(task: Task, name: str, inputs: Sequence[str], max_items: int, seed: int) -> Asked:
    """Ask about a field: items drawn at random, the same as of other fields where they have their labels too."""
    target, tokens, supply = target_of(task, name), tokens_of(task, name), task.supply
    assert target is not None
    order = np.argsort(np.random.default_rng([seed, len(supply)]).permutation(len(supply)))
    rows = {split: _some(task, name, split, order, max_items, by_token=tokens is not None) for split in SPLITS}
    of = {split: supply.take([name], own)[name] for split, own in rows.items()}
    real = None if tokens is None else {split: _has_label(labels) for split, labels in of.items()}
    labels = Labels(of, real, is_of_categories(target, supply.fields[name]))
    return Asked(
        name=name,
        target=target,
        rows=rows,
        labels=labels,
        control=control_labels(task, inputs, tokens, rows, labels, seed),
        tokens=tokens,
        trivial=trivial_error(task, target, rows["test"]),
        bootstrap=Bootstrap(supply.groups[rows["test"]]),
    )


def calibrated(target: Target, written: Tensor, labels: Tensor) -> Target:
    """The target with a metric that was set on validation items, where it asks for that."""
    return target if target.calibrate is None else replace(target, metric=target.calibrate(written, labels))


def _has_label(labels: Int[Tensor, "items length *each"]) -> Bool[Tensor, "items length"]:
    return (labels.reshape(*labels.shape[:2], -1) >= 0).all(2)


def target_of(task: Task, name: str) -> Target | None:
    """The target of a field in whichever chain writes it."""
    chains = (task.variants | task.directs).values()
    return next((found for chain in chains if (found := task.targets(chain).get(name))), None)


def why_not(task: Task, name: str) -> str:
    """Why no linear probe can read a field, in words; empty where one can."""
    target = target_of(task, name)
    if target is None or name not in task.supply.fields:
        return "no stage has it as a target, with labels in the supply"
    lacking = [split for split in SPLITS if len(task.supply.rows(split, name)) < 2]
    if lacking:
        return f"fewer than 2 {lacking[0]} items have a label of it"
    labels = task.supply.fields[name]
    slots = 1 if tokens_of(task, name) else labels[0].numel()
    if not tokens_of(task, name) and is_of_categories(target, labels) and bool((labels < 0).any()):
        return "its labels are padded with numbers below 0, and belong to no tokens of an input"
    if slots > MOST_SLOTS:
        return f"an item has {slots} labels of it, more than {MOST_SLOTS}, and they are not labels of tokens"
    if is_of_categories(target, labels):
        seen = labels[torch.from_numpy(task.supply.rows("train", name))]
        columns = [seen] if tokens_of(task, name) else list(seen.reshape(len(seen), -1).T)
        n_classes = sum(len(torch.unique(column)) for column in columns)
        if n_classes > MOST_CLASSES:
            return f"{n_classes} classes, more than {MOST_CLASSES}"
    return ""


def is_of_categories(target: Target, labels: Tensor) -> bool:
    """Whether labels are categories: whole numbers that a perfect stage would write in another form."""
    return not labels.is_floating_point() and target.gold(labels[:2]).shape != labels[:2].shape


def tokens_of(task: Task, name: str) -> str | None:
    """The input of whole numbers whose tokens have the labels of a field: as long, and padded, here with -1."""
    labels = task.supply.fields[name]
    if labels.is_floating_point() or labels.ndim < 2 or not bool((labels < 0).any()):
        return None
    inputs = dict.fromkeys(i for chain in task.variants.values() for i in chain.inputs)
    found = {i: task.supply.fields[i] for i in inputs}
    same = (i for i, v in found.items() if not v.is_floating_point() and v.ndim > 1 and v.shape[1] == labels.shape[1])
    return next(same, None)


def _some(
    task: Task, name: str, split: str, order: Int[NDArray, " all"], most: int, *, by_token: bool
) -> Int[NDArray, " n"]:
    """At most so many items, the first in the order; of tokens, as many items as have MOST_TOKENS, one at least."""
    rows = task.supply.rows(split, name)
    rows = rows[np.argsort(order[rows])][:most]
    if by_token:
        labels = task.supply.take([name], rows)[name]
        tokens = (labels.flatten(1) >= 0).sum(1).cumsum(0).numpy()
        rows = rows[: max(2, int((tokens <= MOST_TOKENS).sum()))]
    return np.sort(rows)


def control_labels(
    task: Task, inputs: Sequence[str], tokens: str | None, rows: Mapping[str, NDArray], labels: Labels, seed: int
) -> Labels:
    """What a control task asks for: a label drawn at random for each type of input, about as often as in training.

    Types are the tokens themselves; of other inputs, those on the same sides of the medians of random projections.
    """
    if tokens is None:
        types = _alike(task, inputs, rows, seed)
        real: Mapping[str, Tensor] = {split: torch.ones(len(t), dtype=torch.bool) for split, t in types.items()}
    else:
        assert labels.real is not None
        types, real = _token_types(task, tokens, rows, labels.real), labels.real
    draw = torch.Generator().manual_seed(seed)
    pool = labels.of["train"][real["train"]]
    drawn = _drawn(pool, 1 + max(int(t.max()) for t in types.values()), draw, each=labels.categories)
    of = {}
    for split, own in labels.of.items():
        of[split] = own.clone()
        of[split][real[split]] = drawn[types[split]]
    return replace(labels, of=of)


def _drawn(
    pool: Shaped[Tensor, "n *each"], n_types: int, draw: torch.Generator, *, each: bool
) -> Shaped[Tensor, "types *each"]:
    """A label for each type. each: every slot alone, evenly over its sorted labels; else whole labels of items."""
    if not each:
        return pool[torch.randint(len(pool), (n_types,), generator=draw)]
    at = (torch.arange(n_types) + 0.5) / n_types * len(pool)
    slots = pool.reshape(len(pool), -1).sort(0).values[at.long()]
    return torch.stack([s[torch.randperm(n_types, generator=draw)] for s in slots.T], 1).reshape(-1, *pool.shape[1:])


def _token_types(
    task: Task, tokens: str, rows: Mapping[str, NDArray], real: Mapping[str, Tensor]
) -> dict[str, Int[Tensor, " n"]]:
    read = [task.supply.take([tokens], rows[split])[tokens][real[split]] for split in SPLITS]
    _, types = torch.unique(torch.cat([own.reshape(len(own), -1) for own in read]), dim=0, return_inverse=True)
    return dict(zip(SPLITS, torch.split(types, [len(own) for own in read]), strict=True))


def _alike(task: Task, inputs: Sequence[str], rows: Mapping[str, NDArray], seed: int) -> dict[str, Int[Tensor, " n"]]:
    """Types of some OF_A_TYPE training items each, numbered by the bits of their projections.

    Source: Charikar 2002, Similarity estimation techniques from rounding algorithms. Differs: sides of the median.
    """
    draw = torch.Generator().manual_seed(seed)
    n_bits = min(MOST_BITS, max(1, round(np.log2(len(rows["train"]) / OF_A_TYPE))))
    projected = {split: torch.zeros(len(own), n_bits) for split, own in rows.items()}
    for name in inputs:
        taken = {
            split: task.supply.take([name], own)[name].float().reshape(len(own), -1) for split, own in rows.items()
        }
        taken = {split: values.reshape(len(values), -1) for split, values in taken.items()}
        spread, mean = taken["train"].std(0, correction=0).clamp_min(1e-6), taken["train"].mean(0)
        directions = torch.randn(len(mean), n_bits, generator=draw) / len(mean) ** 0.5
        for split, values in taken.items():
            projected[split] += (values - mean) / spread @ directions
    above = {split: values > projected["train"].median(0).values for split, values in projected.items()}
    return {split: (bits * 2 ** torch.arange(n_bits)).sum(1) for split, bits in above.items()}
