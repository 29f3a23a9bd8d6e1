"""What the layers of a chain write for each item, as features that a linear probe can read.

A layer is a module with weights, read behind the normalisation and the modules without weights that follow it at once
(activation, pooling, dropout). The fields that a learned stage writes are layers too, and so are the chain's inputs.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from seamwise.chain import Chain, ChainNet
from seamwise.errors import ModelError
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.stage import Estimator, Learned
from seamwise.supply import Supply, batches

INPUT = "input"
MOST_LAYERS = 8  # of modules; what a stage writes, and the input, come on top
MOST_AT_ONCE = 16_000_000  # numbers that layers may hold of one batch
LARGEST_BATCH = 256
N_TRIED = 4  # items that tell which layers there are
CLOSE = 1e-4
NORMALISATIONS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm,
)  # fmt: skip


@final
@dataclass(frozen=True)
class Place:
    """One layer: its name, how many rows it has for an item, in what order, and the shape of a row.

    items_first: the rows of an item stand together (two digits flattened into the batch, say); else they are apart.
    """

    name: str
    repeats: int
    items_first: bool
    shape: tuple[int, ...]

    def by_item(self, values: Tensor, n: int) -> Tensor:
        """[n, ...] of [rows, ...], the rows of an item side by side."""
        if self.repeats == 1:
            return values
        if self.items_first:
            return values.reshape(n, self.repeats, *values.shape[1:])
        return values.reshape(self.repeats, n, *values.shape[1:]).transpose(0, 1)

    @property
    def n_features(self) -> int:
        return self.repeats * torch.Size(self.shape).numel()


@final
class LayerReader:
    """Reads the layers of a network on items of a supply.

    max_features: of an item; a map with more is averaged over the cells of a grid as fine as that allows, so that
    places stay readable; anything else is summed, with random signs, into as many buckets.
    """

    def __init__(self, net: ChainNet, supply: Supply, max_features: int = 4096, seed: int = 0) -> None:
        self.net, self._supply, self._most, self._seed = _to_last_learned(net), supply, max_features, seed
        self.places = self._find_places()

    def read(self, rows: Int[NDArray, " n"]) -> Iterator[tuple[Int[NDArray, " batch"], dict[str, Tensor]]]:
        """Batch by batch: (its items, {layer: [batch, ...] as it was written, the rows of an item together})."""
        per_item = sum(place.n_features for place in self.places) + 1
        size = max(1, min(LARGEST_BATCH, MOST_AT_ONCE // per_item))
        for part in batches(len(rows), size):
            batch = rows[part]
            found = self._run(batch)
            yield batch, {p.name: p.by_item(found[p.name], len(batch)) for p in self.places}

    def reduced(self, values: Tensor) -> Float[Tensor, "n features"]:
        """At most `max_features` numbers an item."""
        values = values.float().nan_to_num(posinf=0.0, neginf=0.0)
        if values.ndim >= 4 and values[0].numel() > self._most:
            values = _on_a_grid(values, self._most)
        flat = values.reshape(len(values), -1)
        return flat if flat.shape[1] <= self._most else _hashed(flat, self._most, self._seed)

    def _run(self, rows: Int[NDArray, " n"]) -> dict[str, Tensor]:
        """{layer: what it wrote}, in the order in which it was written."""
        inputs = self._supply.take(self.net.chain.inputs, rows)
        with _recorded(self.net) as recorded, torch.enable_grad():
            # as in training, where a network may cut a batch to its longest item; no weight asks for gradient
            fields = self.net(inputs)
        return _in_order(self.net.chain, inputs, recorded, fields)

    def _find_places(self) -> tuple[Place, ...]:
        """The layers whose rows can be told apart by item: those of a few items in two orders say which."""
        rows = self._supply.rows("train")[:N_TRIED]
        if len(rows) < 2:
            raise ModelError("the layers of a network cannot be read from one training item", expected="2 or more")
        one, other = self._run(rows), self._run(rows[::-1].copy())
        found = [place for name in one if (place := _place(name, one[name], other.get(name), len(rows)))]
        kept = _spread([p for p in found if p.name != INPUT and ": " not in p.name], MOST_LAYERS)
        return tuple(p for p in found if p in kept or p.name == INPUT or ": " in p.name)


def _to_last_learned(net: ChainNet) -> ChainNet:
    """A copy of the stages up to the last learned one, in evaluation mode, of which no weight asks for gradient."""
    names = [stage.name for stage in net.chain.stages]
    learned = [k for k, stage in enumerate(net.chain.stages) if isinstance(stage, Learned)]
    if not learned:
        raise ModelError(
            "this chain has no layers to read", given=", ".join(names), expected="a learned stage among them"
        )
    part = copy.deepcopy(net.part(names[: learned[-1] + 1])).eval()
    return part.requires_grad_(False)


def untrained(net: ChainNet, seed: int) -> ChainNet:
    """The same chain as it starts, before any training; estimators, which could not answer, stay as they are fitted."""
    fresh = net.chain.build(seed)
    nets = {s.name: (net if isinstance(s, Estimator) else fresh).nets[s.name] for s in net.chain.stages}
    return ChainNet(net.chain, nets)


@contextmanager
def _recorded(net: ChainNet) -> Iterator[list[tuple[str, Tensor]]]:
    """What the layers of learned stages write while the network runs: (name, tensor) in order."""
    found: list[tuple[str, Tensor]] = []
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        weighs = any(True for _ in module.parameters(recurse=False)) and not isinstance(module, NORMALISATIONS)

        def hook(_: nn.Module, given: tuple[Any, ...], written: Any) -> None:
            value = _tensor(written)
            follows = bool(found) and any(given_ is found[-1][1] for given_ in given)
            if value is not None and weighs:
                found.append((name, value))
            elif value is not None and follows:
                found[-1] = (found[-1][0], value)

        handles.append(module.register_forward_hook(hook))

    for stage in net.chain.stages:
        if isinstance(stage, Learned):
            for name, module in net.nets[stage.name].named_modules(prefix=stage.name):
                if name != stage.name:  # what the whole stage writes is a field
                    watch(name, module)
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensor(written: Any) -> Tensor | None:
    """The first tensor of real numbers in what a module returned."""
    if isinstance(written, PackedSequence):
        return pad_packed_sequence(written, batch_first=True)[0]
    if isinstance(written, tuple | list):
        return next((t for part in written if (t := _tensor(part)) is not None), None)
    return written if isinstance(written, Tensor) and written.is_floating_point() and written.ndim else None


def _in_order(
    chain: Chain, inputs: Mapping[str, Tensor], recorded: Sequence[tuple[str, Tensor]], fields: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """{layer: tensor}: the inputs, then stage by stage its modules and what it writes ("stage: field")."""
    names = [name for name, _ in recorded]
    often = {name: k for k, name in enumerate(names) if names.count(name) > 1}
    found, calls = dict[str, Tensor](), dict[str, int]()
    real = [v for v in inputs.values() if v.is_floating_point()]
    if real:
        found[INPUT] = torch.cat([v.reshape(len(v), -1) for v in real], 1) if len(real) > 1 else real[0]
    for stage in chain.stages:
        if not isinstance(stage, Learned):
            continue
        for name, value in recorded:
            if name.split(".")[0] == stage.name:
                calls[name] = calls.get(name, 0) + 1
                found[f"{name}@{calls[name]}" if name in often else name] = value
        for output in stage.outputs:
            if fields[output].is_floating_point():
                found[f"{stage.name}: {output}"] = fields[output]
    return found


def _place(name: str, one: Tensor, other: Tensor | None, n: int) -> Place | None:
    """How a layer's rows belong to n items, told by those of the items in reverse; None where they cannot be told."""
    if other is None or one.shape != other.shape or len(one) % n or not bool(torch.isfinite(one).all()):
        return None
    repeats = len(one) // n
    for items_first in (True, False):
        place = Place(name, repeats, items_first, tuple(one.shape[1:]))
        if torch.allclose(place.by_item(one, n), place.by_item(other, n).flip(0), rtol=CLOSE, atol=CLOSE):
            return place
    return None


def _spread(places: Sequence[Place], most: int) -> list[Place]:
    """At most so many of them, evenly from the first to the last."""
    if len(places) <= most:
        return list(places)
    return [places[round(k * (len(places) - 1) / (most - 1))] for k in range(most)]


def _on_a_grid(values: Float[Tensor, "n *each height width"], most: int) -> Float[Tensor, "n *each rows columns"]:
    """Maps averaged over the cells of a grid, of as many cells as fit into `most` numbers an item; at least one."""
    height, width = values.shape[-2:]
    share = min(1.0, (most / values[0].numel()) ** 0.5)
    rows, columns = max(1, int(height * share)), max(1, int(width * share))
    maps = values.reshape(len(values), -1, height, width)
    return adaptive_avg_pool2d(maps, (rows, columns)).reshape(*values.shape[:-2], rows, columns)


def _hashed(flat: Float[Tensor, "n features"], most: int, seed: int) -> Float[Tensor, "n most"]:
    """Every feature added, with a sign drawn at random, to one of `most` buckets drawn at random.

    Source: Weinberger et al. 2009, Feature hashing for large scale multitask learning (arXiv 0902.2206).
    """
    draw = torch.Generator().manual_seed(seed)
    bucket = torch.randint(most, (flat.shape[1],), generator=draw)
    sign = torch.randint(2, (flat.shape[1],), generator=draw).to(flat) * 2 - 1
    return flat.new_zeros(len(flat), most).index_add(1, bucket, flat * sign)
