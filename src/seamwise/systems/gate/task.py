"""The gate task: find the face, zoom in, recognise. The answer is who it is, among people the networks never saw.

Train, validation and test have different people. At test some are enrolled with one picture each, and all others'
pictures and the rest of theirs are probes: the error is the share answered wrongly, half of them strangers'.

Variants: descriptors that were designed (HOG, LBP) in the place of a learned embedding, and OpenCV's Haar cascade in
the place of the learned finder; it comes as it is, and no gradient crosses it.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch

from seamwise import Chain, Designed, Fit, Learned, Outside, Supply, Task
from seamwise.errors import TaskError
from seamwise.shapes import Float, Int, Tensor
from seamwise.stage import Fields
from seamwise.systems.gate.answer import person_target
from seamwise.systems.gate.data import N_LONDON, real_supply, world_supply
from seamwise.systems.gate.designed import (
    HOG_FEATURES,
    LBP_FEATURES,
    describe_by_hog,
    describe_by_lbp,
    find_by_haar,
)
from seamwise.systems.gate.nets import Described, Direct, Find, Recognise, zoom
from seamwise.systems.gate.pictures import draw, read_picture, tell
from seamwise.systems.gate.place import place
from seamwise.systems.gate.world import N_PEOPLE, Difficulty

N_TRAIN = N_PEOPLE["train"]
assert N_LONDON == N_TRAIN

find = Learned("find", Find, "image", place)
zoom_in = Designed("zoom", zoom, ("image", "place"), "face")
haar = Outside("find", find_by_haar, "image", place)
hog = Designed("describe", describe_by_hog, "face", "description")
lbp = Designed("describe", describe_by_lbp, "face", "description")


def stranger(person: Int[Tensor, " n"]) -> Float[Tensor, " people"]:
    """What one answers without looking: the same likeness for every picture, so that nobody is let in."""
    return torch.ones(N_TRAIN)


def find_perfectly(inputs: Fields, gold: Fields) -> Float[Tensor, "n cells"]:
    """The cells around the face, whose mean box it is: a face can be seen in every picture."""
    return place.gold(gold["place"])


def gate(supply: Supply, n_enrolled: int) -> Task:
    """The task on some supply; n_enrolled: how many people are enrolled at a time when it is scored."""
    person = person_target(N_TRAIN, n_enrolled)
    recognise = Learned("recognise", partial(Recognise, N_TRAIN), "face", person)
    by_hog = Learned("recognise", partial(Described, HOG_FEATURES, N_TRAIN), "description", person)
    by_lbp = Learned("recognise", partial(Described, LBP_FEATURES, N_TRAIN), "description", person)
    return Task(
        name="gate",
        chain={
            "learned": Chain([find, zoom_in, recognise]),
            "hog": Chain([find, zoom_in, hog, by_hog]),
            "lbp": Chain([find, zoom_in, lbp, by_lbp]),
            "haar": Chain([haar, zoom_in, recognise]),
        },
        answer=person,
        supply=supply,
        direct={
            "direct": Learned("direct", partial(Direct, N_TRAIN), "image", person),
            "larger": Learned("direct", partial(Direct, N_TRAIN, 20, 160), "image", person),
        },
        trivial=stranger,
        draw=draw,
        read=read_picture,
        tell=tell,
        fit=Fit(rates=(3e-3,), max_steps=2000),
        oracles={"find": find_perfectly},  # nobody can say what could be recognised in a given crop
    )


def with_data(folders: Sequence[Path]) -> Task:
    """The task tested on photographs of people; the London set, before them, is learnt from in place of the world."""
    return gate(real_supply(folders), n_enrolled=3)


def with_world(
    clutter: float = Difficulty.clutter,
    occlusion: float = Difficulty.occlusion,
    light: float = Difficulty.light,
    pose: float = Difficulty.pose,
    noise: float = Difficulty.noise,
    alike: float = Difficulty.alike,
) -> Task:
    """The task on a simulated world of another difficulty, see scenes.Difficulty. Raises TaskError."""
    if clutter < 0 or clutter != int(clutter):
        raise TaskError(f"a clutter of {clutter:g} decoys", expected="a whole number of 0 or more")
    shares = {"occlusion": occlusion, "light": light, "pose": pose, "noise": noise, "alike": alike}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise TaskError(f"the setting {name!r} of the gate's world is {value:g}", expected="0 to 1")
    difficulty = Difficulty(int(clutter), **shares)
    return gate(world_supply(None if difficulty == Difficulty() else difficulty), n_enrolled=20)


@lru_cache
def on_the_world() -> Task:
    """The task on the simulated world."""
    return gate(world_supply(), n_enrolled=20)


def __getattr__(name: str) -> Task:
    """`task`, made when it is asked for: with real data the world is not drawn."""
    if name == "task":
        return on_the_world()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
