"""What a tracker asks of what it tracks with: one matcher an object, and how its answers are followed."""

from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

from seamwise.shapes import Float, Tensor


@final
@dataclass(frozen=True)
class Following:
    """How a tracker looks, and goes from answers to boxes.

    px:            side of the crop that is searched
    area:          its side in sizes of the object (`geometry.size_of`)
    exemplar_px:   side of the crop that is learnt from, at the same px a size
    n_scales:      looked at, odd; `step` between them
    scale_penalty: an answer on another scale than the last counts this times
    scale_rate:    how far the size goes towards the best scale's
    window:        share of a Hann window in the answers, 0 to 1
    upsample:      the map is made this many times finer (bicubic) before its highest place is taken; at 1 a parabola
                   through the highest and its neighbours is
    repeat_edge:   whether the frame's edge goes on beyond it; else its mean colour is there
    rate:          how far what is known goes towards what is seen; 0: nothing is learnt after the first frame
    every:         so many sure frames are learnt from one of
    certainty:     weights of 1, how far the highest answer is above all others, and its share of what is usual for this
                   object, in a logistic regression: the confidence
    """

    px: int
    area: float
    exemplar_px: int
    n_scales: int = 3
    step: float = 1.03
    scale_penalty: float = 0.985
    scale_rate: float = 0.6
    window: float = 0.0
    upsample: int = 1
    repeat_edge: bool = True
    rate: float = 0.0
    every: int = 1
    certainty: tuple[float, float, float] = (-4.0, 3.0, 5.0)


@runtime_checkable
class Matcher(Protocol):
    """Learns what an object looks like, and answers where it is in another crop."""

    following: Following
    cell_px: float
    """How many px of the searched crop one cell of the answers is."""

    def embed(self, pictures: Float[Tensor, "batch 3 px px"]) -> Float[Tensor, "batch channels n n"]:
        """Features of crops with values of 0 to 255; those learnt from, and those searched."""
        ...

    def start(self, z: Float[Tensor, "channels n n"], extent: tuple[float, float]) -> None:
        """Learn an object from the features of its crop. extent: width and height of its box, px of the crop."""
        ...

    def update(self, z: Float[Tensor, "channels n n"]) -> None:
        """Take how the object looks now into account, by `following.rate`; never called where that is 0."""
        ...

    def respond(self, x: Float[Tensor, "scales channels n n"]) -> Float[Tensor, "scales m m"]:
        """The answer at each shift, no shift in the middle, at m // 2; about 1 where the object is."""
        ...
