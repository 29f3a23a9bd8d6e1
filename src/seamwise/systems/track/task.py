"""The tracker's task: features of two pictures, their correlation, the place of the object. The answer is the place.

The first picture shows the object, the second shows it elsewhere. The error is 1 - overlap (intersection over union) of
where it is said to be and where it is.

Variants: the correlation plain in the place of a filter in closed form, the features designed (histograms of gradients,
and colour) in the place of learned ones, or beside them.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path

from safetensors.torch import load_file

from seamwise import Chain, Designed, Fit, Learned, Supply, Task
from seamwise.errors import TaskError
from seamwise.stage import Fields
from seamwise.systems.track import drawing, targets
from seamwise.systems.track.data import real_supply, world_supply
from seamwise.systems.track.nets import Direct, Features, Filter, Plain, hog_pair
from seamwise.systems.track.nets import place as mean_place
from seamwise.systems.track.oracles import correlate_perfectly
from seamwise.systems.track.world import N_KINDS, Difficulty

WEIGHTS = Path(str(files(__package__).joinpath("weights.safetensors")))
PICTURES, MAPS = ("exemplar", "search"), ("z", "x")
FIT = Fit(batch=16, rates=(3e-3,), min_steps=300, max_steps=600, patience=200, eval_every=100, average=0.99)


@lru_cache
def shipped() -> Fields | None:
    """The weights of features that were taught by the world; None where the package has none."""
    if not WEIGHTS.is_file():
        return None
    weights = load_file(str(WEIGHTS))
    return {name.removeprefix("features."): t.float() for name, t in weights.items() if name.startswith("features.")}


def track(supply: Supply) -> Task:
    """The task on some supply; where nobody says the kind of objects, `both` starts from the shipped weights."""
    known = "kind" in supply.fields
    written, weights = (*MAPS, targets.kind if known else "kind"), None if known else shipped()
    learned = Learned("features", partial(Features, N_KINDS), PICTURES, written)
    both = Learned("features", partial(Features, N_KINDS, designed=True), PICTURES, written, weights=weights)
    hog = Designed("features", hog_pair, PICTURES, MAPS)
    filtered, plain = (Learned("correlate", net, MAPS, targets.response) for net in (Filter, Plain))
    place = Designed("place", mean_place, "response", targets.place)
    return Task(
        name="track",
        chain={
            "filter": Chain([learned, filtered, place]),
            "plain": Chain([learned, plain, place]),
            "hog": Chain([hog, filtered, place]),
            "hog_plain": Chain([hog, plain, place]),
            "both": Chain([both, filtered, place]),
        },
        answer=targets.place,
        supply=supply,
        direct={
            "direct": Learned("direct", Direct, PICTURES, targets.place),
            "larger": Learned("direct", partial(Direct, (32, 64, 96), 72), PICTURES, targets.place),
        },
        trivial=targets.unmoved,
        draw=drawing.draw,
        tell=drawing.tell,
        fit=FIT,
        oracles={"correlate": correlate_perfectly},  # nobody can say which features are the right ones
    )


def with_data(folders: Sequence[Path]) -> Task:
    """The task on folders of annotated sequences; fewer than ten are a test of what the world teaches.

    Raises InputError.
    """
    return track(real_supply(folders))


def with_world(
    scale: float = Difficulty.scale,
    rotation: float = Difficulty.rotation,
    deformation: float = Difficulty.deformation,
    occlusion: float = Difficulty.occlusion,
    speed: float = Difficulty.speed,
    blur: float = Difficulty.blur,
    light: float = Difficulty.light,
    alike: float = Difficulty.alike,
    out_of_view: float = Difficulty.out_of_view,
    low_resolution: float = Difficulty.low_resolution,
    clutter: float = Difficulty.clutter,
    camera: float = Difficulty.camera,
) -> Task:
    """The task on a simulated world of another difficulty, see world.Difficulty. Raises TaskError."""
    shares = {
        "scale": scale,
        "rotation": rotation,
        "deformation": deformation,
        "occlusion": occlusion,
        "speed": speed,
        "blur": blur,
        "light": light,
        "alike": alike,
        "out_of_view": out_of_view,
        "low_resolution": low_resolution,
        "clutter": clutter,
        "camera": camera,
    }
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise TaskError(f"the setting {name!r} of the track world is {value:g}", expected="0 to 1")
    return track(world_supply(Difficulty(**shares)))


@lru_cache
def on_the_world() -> Task:
    """The task on the simulated world."""
    return track(world_supply())


def __getattr__(name: str) -> Task:
    """`task`, made when it is asked for: with real data the world is not drawn."""
    if name == "task":
        return on_the_world()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
