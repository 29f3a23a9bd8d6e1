"""How well a linear probe reads each stage's field from each layer of a network, and so whether it found the stages.

Sources: Alain & Bengio 2017, Understanding intermediate layers using linear classifier probes (arXiv 1610.01644);
control tasks by Hewitt & Liang 2019, Designing and interpreting probes with control tasks (arXiv 1909.03368).
Differs: the probe is a ridge regression, of categories on their one-hot form; where inputs are no tokens, the types of
a control task are inputs that look alike, by random projections.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from seamwise.chain import ChainNet
from seamwise.errors import TaskError
from seamwise.fit import item_errors
from seamwise.look.probing.labels import Asked, Labels, asked_of, calibrated, why_not
from seamwise.look.probing.layers import INPUT, LayerReader, Place, untrained
from seamwise.look.probing.ridge import Ridge
from seamwise.look.probing.score import ProbeScore
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.tables import SPLITS
from seamwise.task import Task

UNTRAINED_SEED = 1000  # added to the seed of a network that is not trained


@final
@dataclass(frozen=True)
class Probed:
    """A network's scores, and those of the same network before training, by layer."""

    name: str
    scores: tuple[ProbeScore, ...]
    untrained: tuple[ProbeScore, ...]


def probe(
    task: Task,
    net: ChainNet,
    fields: Sequence[str] | None = None,
    *,
    max_items: int = 2000,
    max_features: int = 4096,
    seed: int = 0,
) -> list[ProbeScore]:
    """Read each field from each layer of a network's learned stages.

    fields:       with labels in the task; by default those of the task's stages that can be read, but not the answer
    max_items:    of each split, at most; max_features: of a layer, see LayerReader
    seed:         of the items that are taken, and of the control task

    The probe is fitted to training items that have the field's label; its penalty is chosen on validation items, of
    the control task likewise. Raises TaskError for a field that cannot be read, ModelError for a chain without layers.
    """
    asked = [asked_of(task, field, net.chain.inputs, max_items, seed) for field in _fields(task, fields)]
    return _probe(LayerReader(net, task.supply, max_features, seed), asked)


def rediscovered(
    task: Task,
    nets: Mapping[str, ChainNet],
    fields: Sequence[str] | None = None,
    *,
    max_items: int = 2000,
    max_features: int = 4096,
    seed: int = 0,
) -> Iterator[Probed]:
    """The scores of several networks by name, each beside the same network before training; see `probe`.

    One network after the other, as it is asked for.
    """
    names = _fields(task, fields)
    asked: dict[tuple[str, ...], list[Asked]] = {}
    before: dict[str, tuple[ProbeScore, ...]] = {}
    for name, net in nets.items():
        inputs, kind = net.chain.inputs, net.chain.signature
        if inputs not in asked:
            asked[inputs] = [asked_of(task, field, inputs, max_items, seed) for field in names]

        def scores(net: ChainNet, of: tuple[str, ...] = inputs) -> tuple[ProbeScore, ...]:
            return tuple(_probe(LayerReader(net, task.supply, max_features, seed), asked[of]))

        if kind not in before:
            before[kind] = scores(untrained(net, UNTRAINED_SEED + seed))
        yield Probed(name, scores(net), before[kind])


def best_layers(scores: Sequence[ProbeScore]) -> dict[str, ProbeScore]:
    """{field: its score in the layer with the least validation error}, the input left out."""
    best: dict[str, ProbeScore] = {}
    for score in scores:
        if score.layer != INPUT and (score.field not in best or score.validation < best[score.field].validation):
            best[score.field] = score
    return best


def stage_fields(task: Task) -> list[str]:
    """The fields of the task's stages that a probe can read; without the answer."""
    names = dict.fromkeys(f for chain in task.variants.values() for f in chain.targets)
    return [f for f in names if f != task.answer.field and not why_not(task, f)]


def _fields(task: Task, fields: Sequence[str] | None) -> list[str]:
    if fields is None:
        fields = stage_fields(task)
        if not fields:
            raise TaskError(f"task {task.name!r}: no stage but the last has labels that a linear probe can read")
    for field in fields:
        problem = why_not(task, field)
        if problem:
            raise TaskError(f"task {task.name!r}: no linear probe can read {field!r}", given=problem)
    return list(fields)


Read = dict[str, Tensor]
"""{split: [rows of a probe, features]}: of items, or of their tokens."""


def _probe(reader: LayerReader, asked: Sequence[Asked]) -> list[ProbeScore]:
    read = _read(reader, asked)
    keys = [(place.name, own) for place in reader.places for own in asked]
    return [_score(layer, own, read.pop((layer, own.name))) for layer, own in keys if (layer, own.name) in read]


def _read(reader: LayerReader, asked: Sequence[Asked]) -> dict[tuple[str, str], Read]:
    """{(layer, field): what a probe reads}; without layers that have not one size, or no tokens where it needs them."""
    read: dict[tuple[str, str], Read] = {}
    unfit, width = set[tuple[str, str]](), dict[tuple[str, str], int]()
    for split in SPLITS:
        pieces: dict[tuple[str, str], list[Tensor]] = {}
        for batch, layers in reader.read(np.unique(np.concatenate([own.rows[split] for own in asked]))):
            for place in reader.places:
                for own, part in _parts(reader, place, layers[place.name], asked, batch, split):
                    key = place.name, own.name
                    if part is None or part.shape[1] != width.setdefault(key, part.shape[1]):
                        unfit.add(key)
                    else:
                        pieces.setdefault(key, []).append(part)
        for key, parts in pieces.items():
            if key not in unfit:
                read.setdefault(key, {})[split] = torch.cat(parts)
    return {key: own for key, own in read.items() if key not in unfit}


def _parts(
    reader: LayerReader,
    place: Place,
    values: Tensor,
    asked: Sequence[Asked],
    batch: Int[NDArray, " batch"],
    split: str,
) -> Iterator[tuple[Asked, Tensor | None]]:
    whole = None
    if any(own.tokens is None for own in asked) and values[0].numel() == place.n_features:
        whole = reader.reduced(values)
    for own in asked:
        source = whole if own.tokens is None else values
        yield own, None if source is None else own.rows_of(source, batch, split)


def _score(layer: str, asked: Asked, read: Read) -> ProbeScore:
    ridge = Ridge(read["train"])
    basis = {split: ridge.basis(read[split]) for split in ("validation", "test")}
    validation, errors = _fitted(ridge, asked, asked.labels, basis)
    _, of_control = _fitted(ridge, asked, asked.control, basis)
    interval = asked.bootstrap.interval(errors[None].astype(np.float64))
    return ProbeScore(
        field=asked.name,
        layer=layer,
        error=interval.mean,
        low=interval.low,
        high=interval.high,
        validation=validation,
        control=float(of_control.mean()),
        trivial=asked.trivial,
        n=len(errors),
        unit=asked.target.unit,
    )


def _fitted(
    ridge: Ridge, asked: Asked, labels: Labels, basis: Mapping[str, Tensor]
) -> tuple[float, Float[NDArray, " items"]]:
    """(the validation error, each test item's), at the penalty with the least validation error."""
    columns = labels.columns
    mean, target = columns.mean(0), asked.target
    least, chosen, scored = float("inf"), torch.zeros(0), target
    for weights in ridge.path(columns):
        written = target.gold(labels.read(basis["validation"] @ weights + mean, "validation"))
        own = calibrated(target, written, labels.of["validation"])
        error = float(item_errors(own, written, labels.of["validation"]).mean())
        if error < least:
            least, chosen, scored = error, weights, own
    written = target.gold(labels.read(basis["test"] @ chosen + mean, "test"))
    return least, item_errors(scored, written, labels.of["test"]).numpy()
