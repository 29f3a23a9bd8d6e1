"""Exemplars: the patches that excite every unit of every layer most, in one pass and in bounded memory."""

from collections.abc import Callable, Iterable, Sequence
from typing import final

import numpy as np
import torch

from seamwise.look.graph import Graph
from seamwise.look.records import Exemplars, Layer
from seamwise.shapes import Float, Int, Tensor

N_PLACES, N_SAMPLES = 9, 32
AT_ONCE = 1 << 22  # numbers of maps whose places are looked for at once

Watch = Callable[[Layer, Float[Tensor, "pictures units"], int], None]
"""(layer, the largest value of each unit in each picture, the number of the first of these pictures)."""


@torch.no_grad()
def exemplars(
    graph: Graph,
    batches: Iterable[Sequence[Tensor]],
    layers: Sequence[Layer] | None = None,
    *,
    n_places: int = N_PLACES,
    a_picture: int = 1,
    seed: int = 0,
    watch: Watch | None = None,
) -> list[Exemplars]:
    """The patches that excite each unit most; all units of all layers in one pass over the pictures.

    batches: the network's inputs, item by item in a fixed order; read once. layers: all by default.
    a_picture: how many places of one picture may count. seed: of the pictures that are drawn at random.
    Of equal values the earlier picture, then the upper and left place, comes first.
    Source: Zeiler & Fergus 2014, Visualizing and understanding convolutional networks. Differs: one pass, all units.
    """
    found = [_Best(layer, n_places, a_picture, seed, watch) for layer in layers or graph.layers]
    for inputs in batches:
        graph.read(inputs, {best.layer.node: best.see for best in found})
    return [best.told() for best in found]


def as_maps(layer: Layer, values: Tensor) -> Float[Tensor, "pictures units height width"]:
    """What a layer gives, with its units second; where it has no map, whatever places it has stand in one column."""
    if layer.kind == "linear":
        return values.reshape(len(values), -1, values.shape[-1]).transpose(1, 2)[..., None]
    return values if values.ndim == 4 else values.reshape(*values.shape[:2], -1, 1)


@final
class _Best:
    """The best places so far of every unit of one layer."""

    def __init__(self, layer: Layer, n_places: int, a_picture: int, seed: int, watch: Watch | None) -> None:
        self.layer, self._a_picture, self._watch = layer, a_picture, watch
        self._random = np.random.default_rng(seed)
        shape = (layer.n_units, n_places)
        self._value = torch.full(shape, -torch.inf)
        self._picture = torch.full(shape, -1)
        self._place = torch.zeros(shape, dtype=torch.long)
        self._lowest = torch.full((layer.n_units,), torch.inf)
        self._samples: list[tuple[int, Tensor, Tensor]] = []  # (picture, values, places)
        self._n_seen, self._width = 0, 1

    def see(self, values: Tensor) -> None:
        maps = as_maps(self.layer, values)
        self._width = maps.shape[-1]
        best = maps.amax((-2, -1))
        if best.isnan().any():  # such a picture excites nothing
            maps = maps.nan_to_num(-torch.inf, torch.inf, -torch.inf)
            best = maps.amax((-2, -1))
        if self._watch is not None:
            self._watch(self.layer, best, self._n_seen)
        self._lowest = torch.minimum(self._lowest, best.amin(0))
        better = (best > self._value[:, -1]).any(0).nonzero()[:, 0]
        n_kept = min(self._value.shape[1], len(maps))
        for units in torch.split(better, max(1, AT_ONCE // (n_kept * maps[0, 0].numel()))):
            self._enter(maps, best, units, n_kept)
        self._sample(maps)
        self._n_seen += len(maps)

    def _enter(
        self,
        maps: Float[Tensor, "n units h w"],
        best: Float[Tensor, "n units"],
        units: Int[Tensor, " some"],
        n_kept: int,
    ) -> None:
        """Of these units, the best pictures of the batch join those that were best so far."""
        order = best[:, units].sort(dim=0, descending=True, stable=True).indices[:n_kept]
        pictures = order.sort(dim=0).values.T  # earlier ones first
        within = maps[pictures, units[:, None]].flatten(2)
        value, place = _largest(within, self._a_picture)
        told = [
            torch.cat([old[units], new.flatten(1)], 1)
            for old, new in (
                (self._value, value),
                (self._picture, (pictures + self._n_seen)[..., None].expand_as(place)),
                (self._place, place),
            )
        ]
        kept = told[0].sort(dim=1, descending=True, stable=True).indices[:, : self._value.shape[1]]
        for old, new in zip((self._value, self._picture, self._place), told, strict=True):
            old[units] = new.gather(1, kept)

    def _sample(self, maps: Float[Tensor, "n units h w"]) -> None:
        """A uniform sample of all pictures, whatever their number (Vitter 1985, algorithm R)."""
        for k, own in enumerate(maps):
            number = self._n_seen + k
            slot = number if number < N_SAMPLES else int(self._random.integers(number + 1))
            if slot < N_SAMPLES:
                value, place = own.flatten(1).max(1)
                self._samples[slot : slot + 1] = [(number, value, place)]

    def told(self) -> Exemplars:
        least = self._lowest if self._n_seen > 1 else torch.full_like(self._lowest, -torch.inf)
        shift = 0 if self.layer.activation in ("relu", "relu6") else least
        pictures = np.array([picture for picture, _, _ in self._samples], dtype=np.int64)
        n_units = self.layer.n_units
        values = torch.stack([v for _, v, _ in self._samples], 1) if self._samples else torch.zeros(n_units, 0)
        places = (
            torch.stack([p for _, _, p in self._samples], 1).numpy() if self._samples else np.zeros((n_units, 0), int)
        )
        place = self._place.numpy()
        if not self.layer.is_map:  # its places are none of the picture
            place, places, self._width = np.zeros_like(place), np.zeros_like(places), 1
        return Exemplars(
            layer=self.layer,
            value=self._value.numpy(),
            picture=self._picture.numpy(),
            row=place // self._width,
            column=place % self._width,
            dead=(self._value[:, 0] <= shift).numpy(),
            sampled_value=values.numpy(),
            sampled_picture=pictures,
            sampled_row=places // self._width,
            sampled_column=places % self._width,
            n_pictures=self._n_seen,
        )


def _largest(within: Float[Tensor, "units n places"], n: int) -> tuple[Tensor, Tensor]:
    """The n largest values and their places, [units, n, most]; earlier places first where they are equal."""
    if n == 1:
        value, place = within.max(2, keepdim=True)
        return value, place
    value, place = within.sort(dim=2, descending=True, stable=True)
    return value[..., :n], place[..., :n]
