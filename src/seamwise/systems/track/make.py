"""The shipped weights, made again; they are learnt from simulated clips alone (their pictures: see `textures`).

`python -m seamwise.systems.track.make --out weights.safetensors`; on another machine the last digits may differ. Features
are trained through the filter that a tracker keeps (`filter_about`) on pairs of frames; how sure a tracker is when its
answer is so high, and so far above others, is then learnt from its own runs on other clips.
"""

from collections.abc import Callable
from dataclasses import dataclass

from seamwise.shapes import Float, Tensor, UInt8
from seamwise.systems.track.matchers import PX
from seamwise.systems.track.nets import STRIDE

FIRST_CLIP, FIRST_OTHER_CLIP = 3_000_000, 4_000_000  # seeds of the clips learnt from; of those runs are made on
N_CLIPS, N_FRAMES, N_PAIRS, N_RUNS = 1400, 40, 8, 60  # pairs a clip; clips for the confidence
GAP = 15  # frames at most between the two of a pair
SEEN = 0.6  # share of the object that must be visible in both
ROOM = 1.1  # the searched crop is kept that much larger, for scales and zooms
N_STEPS, BATCH, RATE, DECAY, WARMUP = 3000, 8, 3e-3, 1e-4, 50
FILTER_STEPS = 6  # of conjugate gradients, as the features are trained
NARROW = 0.8  # sigma in cells of the answer wanted, and in steps between scales
ZOOM = 0.06  # a pair's log scale, either way
GREY, TINT, LIGHT = 0.25, 0.08, 0.1  # share of pairs without colour; sd of the gain of a colour, of all

Watch = Callable[[str], None]
N = PX // STRIDE


@dataclass(frozen=True)
class Pairs:
    """Crops about an object; the search picture's middle is off it."""

    exemplar: UInt8[Tensor, "n px px 3"]
    search: UInt8[Tensor, "n wide wide 3"]  # at SIZE_PX a size where zoom is 1
    shift: Float[Tensor, "n 2"]  # of the object from the middle, in its sizes
    zoom: Float[Tensor, " n"]  # how many sizes are shown at SIZE_PX
