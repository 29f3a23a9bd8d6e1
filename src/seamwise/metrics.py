"""Pure scoring functions, and the Target that ties a field's labels to the way they are scored.

Every error here is one number an item, and lower is better.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch.nn.functional import one_hot

from seamwise.shapes import Float, Shaped, Tensor

TINY = 1e-12

Score = Callable[[Tensor, Tensor], Tensor]
"""(written by a stage, gold labels) -> one number an item (a loss may also return their mean)."""


def negative_log_likelihood(
    probabilities: Float[Tensor, "batch *each classes"], labels: Shaped[Tensor, " batch *each"]
) -> Float[Tensor, " batch"]:
    """-log of the probability given to the right class; the mean over `each`, an item."""
    right = probabilities.gather(-1, _index(labels)[..., None])[..., 0]
    return -right.clamp_min(TINY).log().flatten(1).mean(1) if right.ndim > 1 else -right.clamp_min(TINY).log()


def error_rate(
    probabilities: Float[Tensor, "batch *each classes"], labels: Shaped[Tensor, " batch *each"]
) -> Float[Tensor, " batch"]:
    """The share of `each` whose most probable class is wrong; 0 or 1 where there is one an item."""
    return _an_item((probabilities.argmax(-1) != labels).to(probabilities.dtype))


def absolute_error(
    values: Float[Tensor, " batch *each"], labels: Shaped[Tensor, " batch *each"]
) -> Float[Tensor, " batch"]:
    """|value - label|, the mean over `each`, in the label's unit."""
    return _an_item((values - labels).abs())


def squared_error(
    values: Float[Tensor, " batch *each"], labels: Shaped[Tensor, " batch *each"]
) -> Float[Tensor, " batch"]:
    """(value - label) squared, the mean over `each`, in the label's unit squared."""
    return _an_item((values - labels).square())


def _index(labels: Shaped[Tensor, " batch *each"]) -> Shaped[Tensor, " batch *each"]:
    """Categories as torch wants them for an index: int64, also where a table has bytes or yes and no."""
    return labels.long() if labels.dtype in (torch.uint8, torch.bool) else labels


def _an_item(scores: Float[Tensor, " batch *each"]) -> Float[Tensor, " batch"]:
    return scores.flatten(1).mean(1) if scores.ndim > 1 else scores


def as_it_is(labels: Shaped[Tensor, " batch *each"]) -> Float[Tensor, " batch *each"]:
    """The gold form of numbers: the numbers."""
    return labels.to(torch.get_default_dtype())


@dataclass(frozen=True)
class OneHot:
    """The gold form of categories: all the probability on the right class."""

    n_classes: int

    def __call__(self, labels: Shaped[Tensor, " batch *each"]) -> Float[Tensor, "batch *each classes"]:
        return one_hot(_index(labels), self.n_classes).to(torch.get_default_dtype())


@final
@dataclass(frozen=True)
class Target:
    """A field with labels: how what a stage writes there is trained and scored.

    field:  the field's name, in the chain and in the supply
    loss:   (written, labels) -> what training makes small, one number an item or their mean
    metric: (written, labels) -> the error, one number an item, lower is better
    gold:   labels -> what a perfect stage would write, so that a label can stand in for a stage
    unit:   of the error, for tables and axes
    calibrate: (written, labels) of the validation split -> the metric for other splits; for answers with a threshold
            that must not be set on the items that are scored. None where the metric needs nothing
    """

    field: str
    loss: Score
    metric: Score
    gold: Callable[[Tensor], Tensor]
    unit: str = ""
    calibrate: Callable[[Tensor, Tensor], Score] | None = None


def categories(field: str, n_classes: int) -> Target:
    """A target of whole numbers below n_classes: stages write probabilities, [..., n_classes] summing to 1."""
    return Target(field, negative_log_likelihood, error_rate, OneHot(n_classes), "share wrong")


def numbers(field: str, unit: str = "") -> Target:
    """A target of real numbers: trained by squared, scored by absolute error."""
    return Target(field, squared_error, absolute_error, as_it_is, unit)
