"""The gate world: people in rooms, every picture with the face's place, its landmarks and whose it is.

People are drawn faces (`faces`), set into rooms (`scenes`). No person, room or clothes of one split is in another.
As in real collections one person's pictures share a scene: most show the person at home, in the usual clothes.
`swapped` pictures show what a network learnt from that, since there everybody is in another's room and clothes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from seamwise.shapes import Float, Int, NDArray
from seamwise.systems.gate import faces, scenes
from seamwise.systems.gate.scenes import PICTURE_PX, Difficulty

__all__ = ["AT_HOME", "N_PEOPLE", "PICTURE_PX", "Difficulty", "Pictures", "Split", "draw", "partner", "people"]

Split = Literal["train", "validation", "test"]
N_PEOPLE: dict[Split, int] = {"train": 400, "validation": 60, "test": 100}
FIRST: dict[Split, int] = {"train": 0, "validation": 400, "test": 460}
N_ALL = sum(N_PEOPLE.values())
AT_HOME = 0.8  # the share of pictures in a person's own room and clothes
SHARED = 0.7  # the share of parameters that look-alikes have in common
N_OTHERS = 60  # rooms and clothes of a split that are nobody's own
CHUNK = 128  # pictures at a time: what stays in a processor's cache is fast


@dataclass(frozen=True)
class Pictures:
    """n drawn pictures with every label."""

    image: UInt8[NDArray, "n 1 96 96"]
    box: Float[NDArray, "n 3"]  # left, top, side, in px; zeros where nobody is there
    landmarks: Float[NDArray, "n 5 2"]  # x and y in px; eyes, nose tip, mouth corners
    person: Int[NDArray, " n"]  # 0 to 559 over all splits, -1 where nobody is there
    room: Int[NDArray, " n"]
    clothes: Int[NDArray, " n"]  # -1 where nobody is there


def draw(
    split: Split,
    n: int,
    seed: int,
    difficulty: Difficulty | None = None,
    *,
    n_people: int | None = None,
    swapped: bool = False,
    empty: float = 0.0,
) -> Pictures:
    """Draw n pictures of the first `n_people` of a split, a share of them of nobody.

    Who a person is depends on the number and on `difficulty.alike` alone: the same in every call. Raises ValueError
    where the split has not so many people, or too few to swap.
    """
    difficulty = difficulty or Difficulty()
    n_people = N_PEOPLE[split] if n_people is None else n_people
    if not (2 if swapped else 1) <= n_people <= N_PEOPLE[split]:
        least = "2, as each is shown in another's room" if swapped else "1"
        raise ValueError(f"n_people is {n_people}; give at most {N_PEOPLE[split]} ({split}) and at least {least}")
    rng = np.random.default_rng([seed, n, FIRST[split], n_people, swapped])
    nobody = rng.permutation(n) < round(empty * n)
    person = np.full(n, -1)
    person[~nobody] = FIRST[split] + rng.permutation(np.arange(n - nobody.sum()) % n_people)
    room, clothes = _settings(rng, split, person, n_people, swapped)
    everybody = people(difficulty.alike)
    parts = []
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        looks = faces.looks(
            rng, len(person[rows]), pose=difficulty.pose, light=difficulty.light, glasses=difficulty.occlusion
        )
        cutouts = faces.render(everybody[person[rows]], looks)
        parts.append(scenes.compose(rng, cutouts, room[rows], clothes[rows], difficulty, nobody[rows]))
    return Pictures(
        image=np.concatenate([part.image for part in parts]),
        box=np.concatenate([part.box for part in parts]),
        landmarks=np.concatenate([part.landmarks for part in parts]),
        person=person,
        room=room,
        clothes=clothes,
    )


def people(alike: float = 0.0) -> Float[NDArray, "560 parameters"]:
    """Everybody's parameters; a share `alike` come in pairs who have most of them in common."""
    rng = np.random.default_rng(N_ALL)
    everybody = faces.identities(rng, N_ALL)
    n_pairs = N_ALL // 2
    # which pairs are alike: spread evenly over the people, so that the first few hold their share
    turn = (np.arange(n_pairs) * 0.6180339887 + 0.5) % 1
    same = rng.random((n_pairs, len(faces.PARAMETERS))) < SHARED
    same &= (turn < alike)[:, None]
    everybody[1::2] = np.where(same, everybody[::2], everybody[1::2])
    return everybody


def partner(person: Int[NDArray, " n"], split: Split, n_people: int | None = None) -> Int[NDArray, " n"]:
    """In whose room and clothes each person is shown when swapped."""
    n_people = N_PEOPLE[split] if n_people is None else n_people
    return (person - FIRST[split] + (n_people + 1) // 2) % n_people + FIRST[split]


def _settings(
    rng: np.random.Generator, split: Split, person: Int[NDArray, " n"], n_people: int, swapped: bool
) -> tuple[Int[NDArray, " n"], Int[NDArray, " n"]]:
    """Room and clothes of each picture: a home has its person's number, rooms of nobody come after all homes."""
    n, nobody = len(person), person < 0
    anyone = FIRST[split] + rng.integers(0, n_people, n)
    host = np.where(nobody, anyone, person)
    home = rng.random(n) < AT_HOME
    others = N_ALL + FIRST[split] + rng.integers(0, min(n_people, N_OTHERS), (2, n))
    if swapped:
        host, home = partner(host, split, n_people), np.ones(n, dtype=bool)
    room, clothes = np.where(home, host, others[0]), np.where(home, host, others[1])
    return room, np.where(nobody, -1, clothes)
