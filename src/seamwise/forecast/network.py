"""The networks that forecast, evaluated with numpy: each gives a mixture of normals, and all are pooled."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

import numpy as np

from seamwise.arrays import Float, NDArray
from seamwise.forecast.curve import LEAST_BUDGETS, Curve

SHIPPED = Path(__file__).with_name("networks.npz")
N_PARTS = 3
CLIP = 5.0
FURTHEST = 6.0
"""Doublings ahead up to which forecasts were learnt; beyond, the last one's drift and spread grow with the root."""
LEAST_WIDTH = 0.01


@final
@dataclass(frozen=True)
class Mixture:
    """A mixture of normals at each budget asked for."""

    weight: Float[NDArray, "at part"]
    centre: Float[NDArray, "at part"]
    width: Float[NDArray, "at part"]


@final
@dataclass(frozen=True)
class Networks:
    """Equal perceptrons with two hidden layers.

    spread: widens the pool as cross-validation showed it has to be, for level curves and for falling ones.
    """

    mean: Float[NDArray, " input"]
    sd: Float[NDArray, " input"]
    w1: Float[NDArray, "member input hidden"]
    b1: Float[NDArray, "member 1 hidden"]
    w2: Float[NDArray, "member hidden hidden"]
    b2: Float[NDArray, "member 1 hidden"]
    w3: Float[NDArray, "member hidden output"]
    b3: Float[NDArray, "member 1 output"]
    spread: Float[NDArray, "2"]

    def mixture(self, curve: Curve, ahead: Float[NDArray, " at"]) -> Mixture:
        """Of the mean error that many doublings beyond the last budget; wider where there are too few budgets."""
        spread = self.spread[int(curve.falls)] * (1 + max(LEAST_BUDGETS - len(curve.n), 0) / 2)
        x = np.clip((inputs(curve.features, ahead) - self.mean) / self.sd, -CLIP, CLIP)
        hidden = silu(silu(x @ self.w1 + self.b1) @ self.w2 + self.b2)
        out = hidden @ self.w3 + self.b3
        grow = np.sqrt(ahead)[:, None]
        weight = np.exp(out[..., :N_PARTS] - out[..., :N_PARTS].max(-1, keepdims=True))
        weight = _side_by_side(weight / weight.sum(-1, keepdims=True)) / len(out)
        centre = grow * _side_by_side(out[..., N_PARTS : 2 * N_PARTS])
        width = grow * np.logaddexp(0, _side_by_side(out[..., 2 * N_PARTS :]) - 1) + LEAST_WIDTH
        middle = (weight * centre).sum(1, keepdims=True)
        centre = middle + spread * (centre - middle)
        return Mixture(weight, curve.level[-1] + curve.scale * centre, curve.scale * spread * width)

    def save(self, file: Path) -> None:
        """Into one .npz."""
        arrays: dict[str, Any] = {name: np.asarray(array, np.float32) for name, array in vars(self).items()}
        np.savez_compressed(file, **arrays)


def inputs(features: Float[NDArray, " features"], ahead: Float[NDArray, " at"]) -> Float[NDArray, "at input"]:
    """What the networks see: the curve's features and how far ahead."""
    far = np.minimum(ahead, FURTHEST)
    return np.column_stack([np.tile(features, (len(far), 1)), far, np.log2(far)])


def silu(x: Float[NDArray, "..."]) -> Float[NDArray, "..."]:
    """The activation of both hidden layers."""
    return np.asarray(x / (1 + np.exp(-x)))


def _side_by_side(parts: Float[NDArray, "member at part"]) -> Float[NDArray, "at member*part"]:
    return np.moveaxis(parts, 0, 1).reshape(parts.shape[1], -1)


@cache
def load_networks(file: Path = SHIPPED) -> Networks:
    """As `save` wrote them."""
    with np.load(file, allow_pickle=False) as held:
        arrays: dict[str, Any] = {name: held[name].astype(float) for name in held.files}
    return Networks(**arrays)
