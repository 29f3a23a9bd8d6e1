"""What is to be looked into: a network of the user's own, or the learned stages of a trained chain."""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import nn

from seamwise.chain import ChainNet
from seamwise.errors import InputError, ModelError, SeamwiseError
from seamwise.fit import write
from seamwise.look.graph import Graph, graph_of
from seamwise.look.pictures import Folder, Held, Items, Tone, drawn
from seamwise.look.records import Layer
from seamwise.shapes import Float, Tensor
from seamwise.stage import Learned, as_tensor, load_weights, read_weights
from seamwise.task import Item, Task, read_item

N_ITEMS = 500  # of a task's own, at most
N_TRIED = 8  # at once: some networks take no other number once they are taken apart


@final
@dataclass(frozen=True)
class Opened:
    """A network, taken apart, and what it is looked at with.

    name: of the stage; of the network itself where it is no chain
    """

    name: str
    graph: Graph
    items: Items

    def pixels(self) -> tuple[float, float]:
        """The least and the largest value of the first items' pictures."""
        first = self.items.inputs(range(min(N_TRIED, len(self.items.names))))[self.graph.picture]
        return float(first.min()), float(first.max())

    def inputs_of(self, layer: Layer) -> Callable[[Sequence[int]], list[Tensor]]:
        """The network's inputs by the numbers of a layer's pictures."""
        return lambda numbers: self.items.inputs([k // layer.repeats for k in numbers])

    def pictures(self, numbers: Sequence[int], repeats: int = 1) -> Float[Tensor, "n colours height width"]:
        """What the network gets to see, by the numbers of pictures: item x repeats + which of the item's pictures."""
        graph = self.graph
        seen = self.items.inputs([k // repeats for k in numbers])[graph.picture].float()
        if graph.dims == (-3, -2):
            seen = seen.movedim(-1, -3)
        if seen.ndim == 3:
            seen = seen[:, None]
        if repeats > 1 and repeats == seen.shape[1]:
            seen = torch.stack([one[k % repeats] for one, k in zip(seen, numbers, strict=True)])
            return seen if seen.ndim == 4 else seen[:, None]
        return seen.flatten(1, -3) if seen.ndim > 4 else seen


def open_factory(spec: str, weights: Path | None, folder: Path | None, side_px: int, tone: Tone) -> Opened:
    """A network by what makes it, "package.module:factory", and the pictures of a folder; without one, drawn scenes.

    weights: a safetensors file with its whole state dict. Raises ModelError, InputError.
    """
    if side_px < 1:
        raise InputError("--size", given=str(side_px), expected="the side of pictures in px, such as 224")
    module = network_of(spec, weights)
    kinds = [type(m) for m in module.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    if kinds and nn.Conv2d not in kinds:
        given = kinds[0].__name__
        raise ModelError(f"{spec}: its convolutions are not over pictures", given=given, expected="nn.Conv2d")
    if any(weight.dtype == torch.float64 for weight in module.parameters()):
        module = module.float()
    convolution = next((m for m in module.modules() if isinstance(m, nn.Conv2d)), None)
    n_colours = convolution.in_channels if convolution is not None else 3
    if n_colours not in (1, 3):
        raise ModelError(f"{spec}: its first convolution reads {n_colours} channels", expected="1 (grey) or 3 (colour)")
    items: Items = (
        drawn(N_ITEMS, side_px, n_colours, tone) if folder is None else Folder(folder, side_px, n_colours, tone)
    )
    graph = graph_of(module, [torch.rand(2, n_colours, side_px, side_px)])
    return Opened(spec.rpartition(":")[2], graph, items)


def network_of(spec: str, weights: Path | None = None) -> nn.Module:
    """The network that a factory makes, ready to be asked. Raises ModelError naming what does not fit."""
    place, _, name = spec.partition(":")
    example = "package.module:factory, such as torchvision.models:alexnet"
    if not place or not name:
        raise ModelError(f"{spec!r} names no network", expected=f"a model folder, or {example}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        factory = getattr(importlib.import_module(place), name)
        asks = inspect.signature(factory).parameters.get("weights")
        reads = weights is not None and asks is not None and asks.default is inspect.Parameter.empty
        module = factory(weights=weights) if reads else factory()
    except SeamwiseError:
        raise
    except Exception as error:  # whatever the user's module raises
        told = f"{type(error).__name__}: {error}"
        raise ModelError(f"{spec!r} cannot be made", given=told, expected=example) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec!r} makes no network", given=type(module).__name__, expected="a torch.nn.Module")
    if weights is not None and not reads:
        load_weights(str(weights), module, read_weights(f"{weights}: no weights that can be read", weights))
    return module.eval()


def open_chain(task: Task, net: ChainNet, files: Sequence[Path] = ()) -> tuple[list[Opened], list[str]]:
    """The learned stages of a trained chain that see a picture, and what is said of the others.

    files: what the task's `read` reads; else its own validation items are looked at, at most 500.
    """
    inputs, names, classes, skipped = _items(task, net, files)
    opened, notes, fields = [], [f"skipped: {line}" for line in skipped], inputs
    for stage in net.chain.stages:
        if not isinstance(stage, Learned):
            notes.append(f"{stage.name}: nothing is learned in it")
            continue
        fields = fields | _written(net, fields, stage.inputs)
        arriving = [fields[name] for name in stage.inputs]
        try:
            module = net.nets[stage.name].eval()
            graph = graph_of(module, [t[[k % len(names) for k in range(N_TRIED)]] for t in arriving])
        except ModelError as error:
            notes.append(f"{stage.name}: {error.brief}")
            continue
        known = [str(k) for k in range(max(classes, default=-1) + 1)]
        opened.append(Opened(stage.name, graph, Held(names, arriving, classes, known)))
        notes += [f"{stage.name}.{name}: its rows do not go item by item" for name in graph.dropped]
    return opened, notes


def _written(net: ChainNet, given: dict[str, Tensor], fields: Sequence[str]) -> dict[str, Tensor]:
    wanted = [name for name in fields if name not in given]
    return write(net, given, wanted) if wanted else {}


def _items(
    task: Task, net: ChainNet, files: Sequence[Path]
) -> tuple[dict[str, Tensor], list[str], list[int], list[str]]:
    if files:
        return _of_files(task, net, files)
    rows = task.supply.rows("validation", task.answer.field)[:N_ITEMS]
    taken = task.supply.take([*net.chain.inputs, task.answer.field], rows)
    labels = taken[task.answer.field]
    is_class = labels.ndim == 1 and not labels.is_floating_point()
    classes = labels.tolist() if is_class and task.answer.field not in net.chain.inputs else []
    return {f: taken[f] for f in net.chain.inputs}, [f"validation item {row}" for row in rows], classes, []


def _of_files(
    task: Task, net: ChainNet, files: Sequence[Path]
) -> tuple[dict[str, Tensor], list[str], list[int], list[str]]:
    read: list[Item] = []
    names, skipped = [], []
    for path in files:
        try:
            read.append(read_item(task, path))
            names.append(path.name)
        except SeamwiseError as error:
            skipped.append(str(error).splitlines()[0])
    if not read:
        raise InputError(f"none of {len(files)} files can be read", given=skipped[0] if skipped else "no file")
    stacked = {}
    for name in net.chain.inputs:
        values = [np.asarray(item[name]) for item in read]
        if len({v.shape for v in values}) > 1:
            given = ", ".join(sorted({str(v.shape) for v in values})[:3])
            raise InputError(f"files of several sizes: {name!r}", given=given, expected="one size")
        stacked[name] = as_tensor(np.stack(values))
    return stacked, names, [], skipped
