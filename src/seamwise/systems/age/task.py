"""The age task: locate the joints, measure, judge signs of maturity, tell the age: bone age in months.

Variants on simulated hands: bones found as masks; the last stage as growth statistics, as ridge regression, as a
cascade forest. On real ones: signs measured by hand in the place of a judge, and the same three last stages.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path

from safetensors.torch import load_file

from seamwise import Chain, Designed, Estimator, Fit, Learned, Supply, Task
from seamwise.errors import TaskError
from seamwise.stage import Fields
from seamwise.systems.age import drawing, targets
from seamwise.systems.age.cascade import CascadeForest
from seamwise.systems.age.data import real_supply, world_supply
from seamwise.systems.age.masks import ends
from seamwise.systems.age.measure import N_HANDMADE, handmade_signs, measure
from seamwise.systems.age.nets import N_CARPALS, N_PLATES, Direct, Judge, Locate, Segment, TellAge
from seamwise.systems.age.oracles import judge_perfectly, locate_perfectly
from seamwise.systems.age.tells import by_ratios, by_statistics, ridge
from seamwise.systems.age.world import Difficulty

WEIGHTS = Path(str(files(__package__).joinpath("weights.safetensors")))
MEASURED = ("picture", "landmarks", "mm_per_px")
CLOSE = ("joints", "wrist")
KNOWN = ("lengths", "sex", "plates", "carpals")
BY_HAND = ("lengths", "sex", "signs")
FIT = Fit(batch=16, rates=(1e-3,), min_steps=300, max_steps=1500, patience=200, eval_every=100, average=0.99)
REAL_FIT = replace(FIT, rates=(3e-4,), max_steps=800)  # more would undo what simulated hands taught


@lru_cache
def shipped(part: str) -> Fields:
    """The weights of a network that was taught by simulated hands: locate, judge, age or direct."""
    every = load_file(str(WEIGHTS))
    return {name.removeprefix(f"{part}."): t.float() for name, t in every.items() if name.startswith(f"{part}.")}


def simulated(supply: Supply) -> Task:
    """The task on simulated radiographs, where everything has labels and all is learnt from scratch."""
    locate = Learned("locate", Locate, ("picture", "mm_per_px"), targets.landmarks)
    segment = Learned("segment", Segment, "picture", targets.bones)
    join = Designed("join", ends, ("bones", "picture", "mm_per_px"), targets.landmarks)
    close = Designed("measure", measure, MEASURED, (targets.lengths, *CLOSE))
    judge = Learned("judge", Judge, CLOSE, (targets.plates, targets.carpals))
    tell = Learned("tell", partial(TellAge, N_PLATES + N_CARPALS), KNOWN, targets.age)
    seen = [locate, close, judge]
    return Task(
        name="age",
        chain={
            "network": Chain([*seen, tell]),
            "masks": Chain([segment, join, close, judge, tell]),
            "statistics": Chain([*seen, Designed("tell", by_statistics, KNOWN, targets.age)]),
            "ridge": Chain([*seen, Estimator("tell", ridge, KNOWN, targets.age)]),
            "forest": Chain([*seen, Estimator("tell", CascadeForest, KNOWN, targets.age)]),
        },
        answer=targets.age,
        supply=supply,
        direct={
            "direct": Learned("direct", Direct, ("picture", "sex", "mm_per_px"), targets.age),
            "larger": Learned(
                "direct", partial(Direct, (24, 48, 96, 144), 144), ("picture", "sex", "mm_per_px"), targets.age
            ),
        },
        trivial=targets.median_age,
        draw=drawing.draw,
        read=drawing.read,
        tell=drawing.tell,
        fit=FIT,
        oracles={"locate": locate_perfectly, "judge": judge_perfectly},
    )


def real(supply: Supply) -> Task:
    """The task on real radiographs: few have landmarks, none has signs, and no scale need be true.

    The networks start from what simulated hands taught them, except in the variant `scratch`. Where no radiograph has
    landmarks the first stage stays as it is.
    """
    found = targets.landmarks if "landmarks" in supply.fields else "landmarks"
    frozen = found == "landmarks"
    start = ("picture", "mm_per_px")
    locate = Learned("locate", Locate, start, found, weights=shipped("locate"), frozen=frozen)
    close = Designed("measure", measure, MEASURED, ("lengths", *CLOSE))
    judge = Learned("judge", Judge, CLOSE, ("plates", "carpals"), weights=shipped("judge"))
    tell = Learned("tell", partial(TellAge, N_PLATES + N_CARPALS), KNOWN, targets.age, weights=shipped("age"))
    by_hand = Designed("judge", handmade_signs, CLOSE, "signs")
    told = Learned("tell", partial(TellAge, N_HANDMADE), BY_HAND, targets.age)
    taught = replace(judge, frozen=True)
    scratch = [locate if frozen else replace(locate, weights=None), close, replace(judge, weights=None)]
    direct = Learned("direct", Direct, ("picture", "sex", "mm_per_px"), targets.age)
    return Task(
        name="age",
        chain={
            "network": Chain([locate, close, judge, tell]),
            "scratch": Chain([*scratch, replace(tell, weights=None)]),
            "by_hand": Chain([locate, close, by_hand, told]),
            "statistics": Chain([locate, close, taught, Designed("tell", by_ratios, KNOWN, targets.age)]),
            "ridge": Chain([locate, close, by_hand, Estimator("tell", ridge, BY_HAND, targets.age)]),
            "forest": Chain([locate, close, by_hand, Estimator("tell", CascadeForest, BY_HAND, targets.age)]),
        },
        answer=targets.age,
        supply=supply,
        direct={"direct": replace(direct, weights=shipped("direct")), "direct_scratch": direct},
        trivial=targets.median_age,
        draw=drawing.draw,
        read=drawing.read,
        tell=drawing.tell,
        fit=REAL_FIT,
    )


def with_data(folders: Sequence[Path]) -> Task:
    """The task on folders of real radiographs. Raises InputError."""
    return real(real_supply(folders))


def with_world(
    pose: float = Difficulty.pose,
    exposure: float = Difficulty.exposure,
    noise: float = Difficulty.noise,
    clutter: float = Difficulty.clutter,
    spread: float = Difficulty.spread,
) -> Task:
    """The task on a simulated world of another difficulty. Raises TaskError."""
    shares = {"pose": pose, "exposure": exposure, "noise": noise, "clutter": clutter, "spread": spread}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise TaskError(f"the setting {name!r} of the age world is {value:g}", expected="0 to 1")
    return simulated(world_supply(Difficulty(**shares)))


@lru_cache
def on_the_world() -> Task:
    """The task on the simulated world."""
    return simulated(world_supply())


def __getattr__(name: str) -> Task:
    """`task`, made when it is asked for: with real data the world is not drawn."""
    if name == "task":
        return on_the_world()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
