"""A perfect stage of the tracker's chain."""

from seamwise.shapes import Float, Tensor
from seamwise.stage import Fields
from seamwise.systems.track.targets import scores


def correlate_perfectly(inputs: Fields, gold: Fields) -> Float[Tensor, "n 3 13 13"]:
    """The scores wanted about the place; features have no right ones, and a mean place nothing to learn."""
    return scores(gold["place"])
