"""Does a map show what a network learned? The same map of the network randomised, and how alike the two are."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import final
from zlib import crc32

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torch.fx import Node

from seamwise.look.fields import operation
from seamwise.look.graph import NORMALISED, UNITS, Graph
from seamwise.look.records import Layer
from seamwise.shapes import Float, NDArray, Tensor

SIGMA_PX = 1.5
LEARNING = frozenset((*UNITS, *NORMALISED, "prelu"))

Explained = Callable[[Graph], Iterable[Tensor]]
"""A method for given pictures and units: maps of a network, of whatever sizes."""


@final
@dataclass(frozen=True)
class Likeness:
    """How alike maps of the trained network and of one randomised down to a layer are; nan where a map is nought.

    rank: Spearman's correlation of absolute values. ssim: structural similarity of absolute values
    """

    layer: str
    rank: Float[NDArray, " n"]
    ssim: Float[NDArray, " n"]

    @property
    def n(self) -> int:
        """Of how many maps."""
        return int(np.isfinite(self.rank).sum())

    @property
    def mean(self) -> tuple[float, float]:
        """Mean rank correlation and mean structural similarity; nan where there is no map."""
        return (float(np.nanmean(self.rank)), float(np.nanmean(self.ssim))) if self.n else (np.nan, np.nan)


def by_depth(
    graph: Graph, explained: Explained, layers: Sequence[Layer] | None = None, *, seed: int = 0
) -> list[Likeness]:
    """Randomise the network from the top, layer by layer, and say how alike a method's maps remain.

    layers: all by default, the last first. Those behind a unit change nothing: leave them out. A method that shows what
    was learned falls to about nought; one that stays alike shows the picture (its edges, say).
    Source: Adebayo et al. 2018, Sanity checks for saliency maps. Differs: weights are permuted, see `randomised`.
    """
    trained = list(explained(graph))
    return [
        likeness(layer.name, trained, explained(randomised(graph, layer, seed=seed)))
        for layer in layers or graph.layers[::-1]
    ]


def randomised(graph: Graph, down_to: Layer, *, seed: int = 0) -> Graph:
    """The same network with what it learned from a layer on shuffled: the layer's weights, and all that run after it.

    Every tensor keeps its numbers and gets them in another order, so that signals stay about as large as they were; of
    a normalisation its statistics too. The same seed shuffles a tensor the same way whatever the layer.
    """
    starts = [node.name for node in graph.nodes].index(down_to.start)
    names = {name for node in graph.nodes[starts:] if operation(node) in LEARNING for name in _weights(graph, node)}
    return graph.with_weights({name: _shuffled(graph.weights[name], name, seed) for name in sorted(names)})


def likeness(layer: str, trained: Iterable[Tensor], other: Iterable[Tensor]) -> Likeness:
    """How alike maps are, one by one."""
    pairs = [(abs(a.double().numpy()), abs(b.double().numpy())) for a, b in zip(trained, other, strict=True)]
    return Likeness(layer, np.array([rank(a, b) for a, b in pairs]), np.array([ssim(a, b) for a, b in pairs]))


def rank(one: Float[NDArray, "..."], other: Float[NDArray, "..."]) -> float:
    """Spearman's rank correlation; nan where a map has one value alone."""
    if not np.ptp(one) > 0 or not np.ptp(other) > 0:
        return float("nan")
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def ssim(one: Float[NDArray, "*channels height width"], other: Float[NDArray, "*channels height width"]) -> float:
    """Structural similarity of maps that are first divided by their largest value; nan where one is nought.

    Source: Wang et al. 2004, Image quality assessment: Gaussian windows of 1.5 px, K1 = .01, K2 = .03.
    """
    if not one.max() > 0 or not other.max() > 0:
        return float("nan")
    a, b = one / one.max(), other / other.max()
    mean_a, mean_b = _smooth(a), _smooth(b)
    spread = _smooth(a * a) - mean_a**2 + _smooth(b * b) - mean_b**2
    shared = _smooth(a * b) - mean_a * mean_b
    even = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return float((even * (2 * shared + 0.03**2) / (spread + 0.03**2)).mean())


def _smooth(values: Float[NDArray, "..."]) -> Float[NDArray, "..."]:
    sigma = (0.0,) * (values.ndim - 2) + (SIGMA_PX,) * 2
    found: NDArray = gaussian_filter(values, sigma, truncate=3.5)
    return found


def _weights(graph: Graph, node: Node) -> set[str]:
    """Those that an operation learned: its own, and those that its own are made of."""
    left, found = [used for used in node.all_input_nodes if used.name not in graph.axes], set[str]()
    while left:
        used = left.pop()
        left += [further for further in used.all_input_nodes if further.name not in graph.axes]
        if used.name in graph.places:
            found.add(graph.places[used.name])
    return found


def _shuffled(weight: Tensor, name: str, seed: int) -> Tensor:
    if not weight.is_floating_point():
        return weight
    order = np.random.default_rng([seed, crc32(name.encode())]).permutation(weight.numel())
    return weight.reshape(-1)[torch.from_numpy(order)].reshape(weight.shape)
