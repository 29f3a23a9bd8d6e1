"""A look at a network: which patches excite its units, how choosy these are, and which concepts they find."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch

from seamwise.errors import InputError, ModelError
from seamwise.look.attribution import METHODS
from seamwise.look.dissection import Dissection, dissect, way
from seamwise.look.opening import Opened
from seamwise.look.patches import N_PLACES, as_maps, exemplars
from seamwise.look.pictures import Held
from seamwise.look.records import Exemplars, Layer
from seamwise.look.selectivity import Selectivity, Tally
from seamwise.look.world import CONCEPTS, Scenes
from seamwise.shapes import Int, NDArray, Tensor

BATCH = 32
Told = Callable[[int, int], None]
"""(so many are done, of so many)."""


@final
@dataclass(frozen=True)
class Wanted:
    """What is looked at, and how.

    layers: names, all convolutions by default. units: {layer: units}, instead of all. methods: the ways back to the
    picture. seed: of what is drawn at random. sanity: whether each is done with a network without learning too.
    maximise: whether a picture is made for each unit. picture: the name of the item whose maps are shown; the first
    """

    layers: tuple[str, ...] = ()
    units: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    methods: tuple[str, ...] = ("deconvnet",)
    n_places: int = N_PLACES
    seed: int = 0
    sanity: bool = True
    maximise: bool = False
    picture: str = ""

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise InputError(f"no method {method!r}", expected=f"some of {', '.join(METHODS)}")
        if not 1 <= self.n_places <= N_PLACES:
            raise InputError("--places", given=str(self.n_places), expected=f"1 to {N_PLACES}")


@final
@dataclass(frozen=True)
class Looked:
    """What one pass over the pictures told of a network; of each layer in turn.

    dissections: where the pictures have the masks of concepts. prefix: before the names of layers on a page
    """

    opened: Opened
    wanted: Wanted
    exemplars: list[Exemplars]
    selectivity: list[Selectivity]
    dissections: list[Dissection | None] | None
    prefix: str = ""

    def name(self, layer: Layer) -> str:
        """Of a layer on a page."""
        return f"{self.prefix}{layer.name}"

    @property
    def picture(self) -> int:
        """Which item's maps are shown. Raises InputError where none has the name."""
        names, asked = self.opened.items.names, self.wanted.picture
        for k, name in enumerate(names):
            if not asked or name == asked or name.endswith(f"/{asked}"):
                return k
        raise InputError(f"no picture {asked!r}", expected=f"a name such as {names[0]!r}")

    @property
    def layers(self) -> list[Layer]:
        """Those that were looked at."""
        return [found.layer for found in self.exemplars]

    def units(self, layer: Layer) -> list[int]:
        """The units of a layer that were asked for."""
        return list(self.wanted.units.get(layer.name, range(layer.n_units)))


def look_at(opened: Opened, wanted: Wanted, told: Told | None = None, prefix: str = "") -> Looked:
    """One pass over the pictures, and two more a layer where masks of concepts are known.

    prefix: before the names of layers on a page. Raises ModelError where the network has no such layer or unit;
    InputError where no picture can be read.
    """
    layers = chosen(opened, wanted)
    tallies = {layer.name: Tally(layer.n_units, len(opened.items.class_names), wanted.seed) for layer in layers}

    def watch(layer: Layer, best: Tensor, first: int) -> None:
        classes = opened.items.classes
        of = (
            [classes[k // layer.repeats] for k in range(first, first + len(best))] if opened.items.class_names else None
        )
        tallies[layer.name].add(best.numpy(), None if of is None else np.array(of))

    found = exemplars(
        opened.graph,
        _followed(opened, told),
        layers,
        n_places=wanted.n_places,
        seed=wanted.seed,
        watch=watch,
    )
    return Looked(
        opened,
        wanted,
        found,
        [tallies[layer.name].result() for layer in layers],
        _dissected(opened, layers, wanted.seed),
        prefix,
    )


def chosen(opened: Opened, wanted: Wanted) -> list[Layer]:
    """The layers that are looked at. Raises ModelError."""
    graph = opened.graph
    names = [*wanted.layers, *(name for name in wanted.units if name not in wanted.layers)]
    layers = [graph.layer(name) for name in dict.fromkeys(names)] or [
        layer for layer in graph.layers if layer.kind != "linear"
    ]
    for layer in layers:
        wrong = [unit for unit in wanted.units.get(layer.name, ()) if not 0 <= unit < layer.n_units]
        if wrong:
            raise ModelError(
                f"{layer.name}: no unit {wrong[0]}",
                expected=f"0 to {layer.n_units - 1}",
                remedy="see `seamwise look --help`",
            )
    return layers


def _followed(opened: Opened, told: Told | None) -> Iterator[list[Tensor]]:
    done = 0
    for batch in opened.items.batches(BATCH):
        yield batch
        done += len(batch[0])
        if told is not None:
            told(done, opened.items.n)


def _dissected(opened: Opened, layers: Sequence[Layer], seed: int) -> list[Dissection | None] | None:
    items = opened.items
    if not isinstance(items, Held) or items.scenes is None:
        return None
    return [_dissection(opened, layer, items.scenes, seed) if layer.is_map else None for layer in layers]


def _dissection(opened: Opened, layer: Layer, scenes: Scenes, seed: int) -> Dissection:
    def maps() -> Iterator[tuple[Tensor, Int[NDArray, " batch"]]]:
        first = 0
        for batch in opened.items.batches(BATCH):
            with torch.no_grad():
                found = as_maps(layer, opened.graph.values(batch, [layer.node])[layer.node])
            yield found, np.arange(first, first + len(found)) // layer.repeats
            first += len(found)

    height, width = scenes.pictures.shape[-2:]
    down, across = way(layer.rows, height), way(layer.columns, width)
    return dissect(maps, scenes.masks, CONCEPTS, down, across, seed=seed)
