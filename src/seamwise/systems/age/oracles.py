"""Perfect stages of the age chain, on simulated hands."""

from seamwise.shapes import Float, Tensor
from seamwise.stage import Fields


def locate_perfectly(inputs: Fields, gold: Fields) -> Float[Tensor, "n 25 2"]:
    """The landmarks themselves: all can be seen."""
    return gold["landmarks"]


def judge_perfectly(inputs: Fields, gold: Fields) -> tuple[Float[Tensor, "n 21"], Float[Tensor, "n 8"]]:
    """The signs themselves: all can be seen, if not on every close-up."""
    return gold["plates"], gold["carpals"]
