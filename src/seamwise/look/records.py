"""What the parts of a look share: a layer of a network, and the patches that excite its units most."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from seamwise.look.axis import Axis
from seamwise.shapes import Float, Int, NDArray


@final
@dataclass(frozen=True)
class Layer:
    """A layer whose channels are looked at as units, read behind its normalisation and activation function.

    name:    of its module, as in the state dict; "@1", "@2" behind it where the module runs more than once
    kind:    "convolution", "transposed" or "linear"
    height, width: of its map; 1 for "linear"
    rows, columns: the receptive field of each position of the map
    activation: the operation that is the last of it: "relu", "gelu", …; empty where it has none
    repeats: how many pictures the network makes of each item (two digits of one photograph, say)
    node, start: the graph's operations at which the layer is read and begins
    """

    name: str
    kind: str
    n_units: int
    height: int
    width: int
    rows: Axis = field(repr=False)
    columns: Axis = field(repr=False)
    activation: str
    repeats: int
    node: str
    start: str

    @property
    def receptive_px(self) -> tuple[int, int]:
        """Height and width of the largest receptive field."""
        return self.rows.size_px, self.columns.size_px

    @property
    def jump_px(self) -> tuple[float, float]:
        """How far apart neighbouring receptive fields are, down and across."""
        return self.rows.jump_px, self.columns.jump_px

    @property
    def exact(self) -> bool:
        """Whether the receptive field is known; else it is taken to be the whole picture."""
        return self.rows.exact and self.columns.exact

    @property
    def whole(self) -> bool:
        """Whether a number that is made of the whole picture comes in too (its mean, say), besides its field."""
        return self.rows.whole or self.columns.whole

    @property
    def is_map(self) -> bool:
        """Whether its units have a place in the picture."""
        return self.rows.dim == -2 and self.columns.dim == -1

    def patch(self, row: int, column: int) -> tuple[slice, slice]:
        """The receptive field of one position, rows and columns of the picture; what lies outside of it is left off."""
        sides = ((self.rows, row), (self.columns, column)) if self.is_map else ((self.rows, 0), (self.columns, 0))
        top, left = (
            slice(int(a.first[min(k, len(a.first) - 1)]), int(a.last[min(k, len(a.last) - 1)]) + 1) for a, k in sides
        )
        return top, left


@final
@dataclass(frozen=True)
class Exemplars:
    """The patches that excite each unit of a layer most, the strongest first; -1 as a picture where there are fewer.

    picture: which one, counted in the order of the pass (item x repeats); row, column: the position in the map
    dead:    never above 0 behind a ReLU, else: the same for every picture
    sampled_value, sampled_picture: the largest value in each of a few pictures drawn at random, the same for every unit
    """

    layer: Layer
    value: Float[NDArray, "units places"]
    picture: Int[NDArray, "units places"]
    row: Int[NDArray, "units places"]
    column: Int[NDArray, "units places"]
    dead: NDArray
    sampled_value: Float[NDArray, "units samples"]
    sampled_picture: Int[NDArray, " samples"]
    sampled_row: Int[NDArray, "units samples"]
    sampled_column: Int[NDArray, "units samples"]
    n_pictures: int

    def by_quantile(self, unit: int, quantiles: tuple[float, ...] = (0.9, 0.7, 0.5, 0.3, 0.1)) -> list[int]:
        """Which of the sampled pictures stands at each quantile of this unit's values."""
        order = np.argsort(self.sampled_value[unit], kind="stable")
        return [int(order[round(q * (len(order) - 1))]) for q in quantiles] if len(order) else []
