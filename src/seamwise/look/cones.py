"""The way back from many units at once: only what each of them depends on is run, forward and back.

A unit deep in a network sees part of the picture, and in each layer before it part of the map: a cone. Its patch is run
through those parts alone, with padding only where the map itself ends; so all numbers are those of the whole picture.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch.fx import Node
from torch.nn.functional import pad

from seamwise.look.attribution import RULES, Method, before, check, floats, most_at_once, projected, target, way
from seamwise.look.graph import Graph
from seamwise.look.records import Exemplars, Layer
from seamwise.look.windows import Step, called, is_plain, shape, window_of
from seamwise.shapes import Float, NDArray, Tensor

MAX_NUMBERS = 1 << 26  # of patches at a time, and of maps at a time: 256 MiB each
Inputs = Callable[[Sequence[int]], Sequence[Tensor]]
"""The network's inputs, an item for each of these picture numbers (item x repeats of the layer)."""
Maps = list[Float[NDArray, "channels height width"] | None]
"""Of one unit: the projections of its places, each of the size of its own receptive field."""


def projections(
    graph: Graph,
    inputs_of: Inputs,
    exemplars: Exemplars,
    method: Method = "deconvnet",
    *,
    units: Sequence[int] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Maps]]:
    """Units of a layer, each with the projections of its exemplars, cut as `layer.patch` cuts the picture.

    units: all by default. told: is called with how many exemplars are done, and of how many. None stands for an
    exemplar that there is none of. Of an item of several pictures (layer.repeats) the exemplar's own is given. Where
    the layer's cone cannot be cut out, whole pictures are run, with the same results. Memory is bounded by a batch,
    whatever the number of units. Raises ModelError as `projected` does.
    Source: as of `attribution.projected`.
    """
    layer = exemplars.layer
    check(graph, layer.node, method)
    cone = cone_of(graph, layer)
    chosen = list(range(layer.n_units) if units is None else units)
    n_places = exemplars.picture.shape[1]
    n_channels = int(np.prod(graph.shape)) // (graph.shape[graph.dims[0]] * graph.shape[graph.dims[1]])
    n_numbers = n_channels * layer.receptive_px[0] * layer.receptive_px[1] * n_places  # of a unit
    n_units, done = max(1, MAX_NUMBERS // n_numbers), 0
    for k in range(0, len(chosen), n_units):
        some = chosen[k : k + n_units]
        maps: dict[int, Maps] = {unit: [None] * n_places for unit in some}
        for places, found in _batches(graph, cone, inputs_of, exemplars, some, method):
            for (unit, place), one in zip(places, found, strict=True):
                maps[unit][place] = one
            done += len(places)
            if told:
                told(done, int((exemplars.picture[chosen] >= 0).sum()))
        yield from maps.items()


Places = list[tuple[int, int]]
"""(unit, which of its exemplars)."""


def _batches(
    graph: Graph, cone: "Cone | None", inputs_of: Inputs, exemplars: Exemplars, units: Sequence[int], method: Method
) -> Iterator[tuple[Places, list[Float[NDArray, "channels height width"]]]]:
    places = [(u, p) for u in units for p in np.flatnonzero(exemplars.picture[u] >= 0).tolist()]
    if cone is None:
        most = most_at_once(graph, exemplars.layer.node)
        for k in range(0, len(places), most):
            yield places[k : k + most], _whole(graph, inputs_of, exemplars, places[k : k + most], method)
        return
    alike: dict[tuple[Cuts, Cuts], Places] = defaultdict(list)
    for u, p in places:
        row, column = _position(exemplars, (u, p))
        alike[cone.along(0, row).cuts, cone.along(1, column).cuts].append((u, p))
    for same in alike.values():
        most = max(1, MAX_NUMBERS // cone.n_numbers(*_position(exemplars, same[0])))
        for k in range(0, len(same), most):
            yield same[k : k + most], _cut_out(graph, cone, inputs_of, exemplars, same[k : k + most], method)


def _position(exemplars: Exemplars, place: tuple[int, int]) -> tuple[int, int]:
    return int(exemplars.row[place]), int(exemplars.column[place])


def _whole(
    graph: Graph, inputs_of: Inputs, exemplars: Exemplars, places: Places, method: Method
) -> list[Float[NDArray, "channels height width"]]:
    """By whole pictures."""
    layer, at = exemplars.layer, tuple(np.array(places).T)
    pictures = exemplars.picture[at]
    rows, columns, parts = (x.tolist() for x in (exemplars.row[at], exemplars.column[at], pictures % layer.repeats))
    what = target(layer, [unit for unit, _ in places], rows, columns, parts)
    maps = projected(graph, inputs_of(pictures.tolist()), what, method).numpy()
    if layer.repeats > 1 and maps.shape[1] == layer.repeats:  # of the pictures of an item, the one that is meant
        maps = maps[np.arange(len(maps)), parts]
    patches = [layer.patch(*_position(exemplars, place)) for place in places]
    flat = maps.reshape(len(maps), -1, *maps.shape[-2:])
    return [one[:, rows, columns].copy() for one, (rows, columns) in zip(flat, patches, strict=True)]


def _cut_out(
    graph: Graph, cone: "Cone", inputs_of: Inputs, exemplars: Exemplars, places: Places, method: Method
) -> list[Float[NDArray, "channels height width"]]:
    """By what they depend on alone; all these places have the same cuts."""
    positions = [_position(exemplars, place) for place in places]
    sides = [(cone.along(0, row), cone.along(1, column)) for row, column in positions]
    pictures = inputs_of([int(exemplars.picture[place]) for place in places])[graph.picture]
    cut = [one[:, down.pixels, across.pixels] for one, (down, across) in zip(pictures, sides, strict=True)]
    with torch.enable_grad():
        patches = floats(graph, torch.stack(cut)).requires_grad_()
        values = cone.run(patches, *sides[0], {"relu": RULES[method]})
        value = values[torch.arange(len(places)), [unit for unit, _ in places]].sum()
        (maps,) = torch.autograd.grad(value, patches)
    seen = [exemplars.layer.patch(*position) for position in positions]  # less, where dilated taps step over an edge
    found = zip(maps.numpy(), sides, seen, strict=True)
    return [one[:, down.within(rows), across.within(columns)].copy() for one, (down, across), (rows, columns) in found]


Cuts = tuple[tuple[int, int, int, int], ...]
"""(first, how many, padding before, padding after) along an axis, of each input of each operation, in order."""


@final
@dataclass(frozen=True)
class Along:
    """A cone along one axis: n_px of the picture from `first` on, then the cuts; sizes: of each operation's result."""

    first: int
    n_px: int
    cuts: Cuts
    sizes: tuple[int, ...]

    @property
    def pixels(self) -> slice:
        """What is cut out of the picture."""
        return slice(self.first, self.first + self.n_px)

    def within(self, pixels: slice) -> slice:
        """Where some of the picture's pixels are in what is cut out."""
        return slice(pixels.start - self.first, pixels.stop - self.first)


@final
@dataclass(frozen=True)
class Cone:
    """The operations between the picture and a layer, so that they can be run for one position alone."""

    steps: tuple[Step, ...]
    picture: Node
    constants: Mapping[str, Any] = field(repr=False)
    _along: dict[tuple[int, int], Along] = field(default_factory=dict, repr=False)

    def along(self, axis: int, position: int) -> Along:
        """What a position depends on, down (0) or across (1)."""
        if (axis, position) not in self._along:
            self._along[axis, position] = self._walk(axis, position)
        return self._along[axis, position]

    def n_numbers(self, row: int, column: int) -> int:
        """How many numbers all results of the cone hold for one position."""
        sizes = zip(self.steps, self.along(0, row).sizes, self.along(1, column).sizes, strict=True)
        return sum(shape(step.node)[1] * height * width for step, height, width in sizes)

    def run(
        self, patches: Float[Tensor, "n channels height width"], down: Along, across: Along, swap: Mapping[str, Any]
    ) -> Float[Tensor, "n units"]:
        """The layer's units at one position of each of n patches, all of the same cuts."""
        env: dict[str, Any] = {**self.constants, self.picture.name: patches}
        cuts = iter(zip(down.cuts, across.cuts, strict=True))
        for step in self.steps:
            fill = step.window.fill if step.window else 0.0
            read = {used.name: _cut(env[used.name], *next(cuts), fill) for used in step.reads}
            env[step.node.name] = called(step, {**env, **read}, swap)
        units: Tensor = env[self.steps[-1].node.name]
        return units[:, :, 0, 0]

    def _walk(self, axis: int, position: int) -> Along:
        """From the layer back to the picture: the hull of what all readers of a result need of it."""
        need, spans = {self.steps[-1].node: (position, position + 1)}, []
        for step in reversed(self.steps):
            first, last = need[step.node]
            first, last = step.window.span(axis, first, last) if step.window else (first, last)
            for used in reversed(step.reads):
                inside = max(first, 0), min(last, shape(used)[2 + axis])
                spans.append((used, inside, inside[0] - first, last - inside[1]))
                known = need.get(used, inside)
                need[used] = min(known[0], inside[0]), max(known[1], inside[1])
        cuts = [(at[0] - need[used][0], at[1] - at[0], before, after) for used, at, before, after in reversed(spans)]
        first, last = need[self.picture]
        sizes = tuple(need[step.node][1] - need[step.node][0] for step in self.steps)
        return Along(first, last - first, tuple(cuts), sizes)


def cone_of(graph: Graph, layer: Layer) -> Cone | None:
    """The cone of a layer; None where an operation on the way cannot be run for a part of the map."""
    picture = next(node for node in graph.nodes if node.name == graph.inputs[graph.picture])
    nodes = way(graph, layer.node)
    flat = graph.dims == (-2, -1) and all(len(shape(node)) == 4 for node in (picture, *nodes))
    if not (layer.is_map and layer.repeats == 1 and flat):
        return None
    steps = []
    for node in nodes:
        reads = tuple(used for used in node.all_input_nodes if used is picture or used in nodes)
        steps.append(Step(node, reads, window_of(node, reads)))
    if not all(step.window or is_plain(step) for step in steps):
        return None
    constants = _constants(graph, layer.node, {picture, *nodes})
    return None if constants is None else Cone(tuple(steps), picture, constants)


def _constants(graph: Graph, node: str, known: set[Node]) -> dict[str, Any] | None:
    """What the operations read besides the picture: weights, and what is made of them; None where an input comes in."""
    needed, found = before(graph, node), dict[str, Any]()
    for at in graph.nodes:
        if at.name not in needed or at in known:
            continue
        if at.op == "placeholder" and at.name in graph.inputs:
            return None
        found[at.name] = (
            graph.weights[graph.places[at.name]] if at.op == "placeholder" else called(Step(at, (), None), found, {})
        )
    return found


def _cut(value: Any, down: tuple[int, int, int, int], across: tuple[int, int, int, int], fill: float) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value[:, :, down[0] : down[0] + down[1], across[0] : across[0] + across[1]]
    around = (*across[2:], *down[2:])
    return pad(value, around, value=fill) if any(around) else value
