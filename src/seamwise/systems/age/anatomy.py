"""Hands before they are photographed: who they are, how they are held and where that puts every joint.

A hand's own frame is in mm: the wrist (middle of the border of carpus and radius) at 0, y along the middle
metacarpal, x towards the thumb.
"""

from dataclasses import dataclass

import numpy as np

from seamwise.shapes import Float, Int, NDArray
from seamwise.systems.age import growth
from seamwise.systems.age.growth import BONES

__all__ = ["N_LANDMARKS", "SEGMENTS", "Holds", "People", "held", "people", "placed"]

N_LANDMARKS = 25
SEGMENTS = np.array([[a, a + 1] for a in range(1, 24) if a not in (4, 9, 14, 19)])  # each bone's two landmarks

# means over the Digital Hand Atlas, in lengths of the middle metacarpal, from the wrist
MC_BASES = np.array([[0.45, 0.375], [0.247, 0.477], [0.05, 0.5], [-0.115, 0.493], [-0.23, 0.448]])
MC_DEGREES = np.array([36.5, 8.9, 0.0, -8.9, -21.5])
MIDDLE = BONES.index("MC3")
YOUNGEST_MONTHS, OLDEST_MONTHS = 8.0, 228.0


@dataclass(frozen=True)
class People:
    """Whose hands they are."""

    sex: Int[NDArray, " n"]  # 0 female, 1 male
    age_months: Float[NDArray, " n"]  # bone age
    lengths_mm: Float[NDArray, "n 19"]
    plates: Float[NDArray, "n 21"]
    carpals: Float[NDArray, "n 8"]
    broad: Float[NDArray, " n"]  # width of bones, 1 is usual
    flesh: Float[NDArray, " n"]  # width of soft tissue, 1 is usual
    dense: Float[NDArray, " n"]  # mineral in bones, 1 is usual


@dataclass(frozen=True)
class Holds:
    """Where the joints are; mm in the hand's frame, then carried into the picture by `placed`."""

    landmarks: Float[NDArray, "n 25 2"]
    forearm: Float[NDArray, " n"]  # radians, by which it is turned about the wrist


def people(rng: np.random.Generator, n: int, spread: float) -> People:
    """Children and adolescents; `spread` is how much those of one bone age differ in their signs of it."""
    sex = rng.integers(0, 2, n)
    usual = rng.normal(127, 42, n)
    age = np.where(rng.random(n) < 0.5, rng.uniform(YOUNGEST_MONTHS, OLDEST_MONTHS, n), usual)
    outside = (age < YOUNGEST_MONTHS) | (age > OLDEST_MONTHS)
    age[outside] = rng.uniform(YOUNGEST_MONTHS, OLDEST_MONTHS, outside.sum())
    mean, sd = growth.lengths(sex, age)
    size = rng.normal(0, 1, (n, 1))
    bones = mean + sd * (np.sqrt(0.8) * size + np.sqrt(0.2) * rng.normal(0, 1, mean.shape)).clip(-3, 3)
    signs = growth.maturity(sex, age, 2 * spread * _ahead(rng, age))
    return People(
        sex=sex,
        age_months=age,
        lengths_mm=bones,
        plates=signs.plates,
        carpals=signs.carpals,
        broad=np.exp(rng.normal(0, 0.06, n)) * (1 + 0.03 * (sex - 0.5)),
        flesh=np.exp(rng.normal(0, 0.07, n)),
        dense=np.exp(rng.normal(0, 0.12, n)),
    )


def _ahead(rng: np.random.Generator, age: Float[NDArray, " n"]) -> Float[NDArray, "n 29"]:
    """Months each sign is ahead: the whole person, plates against carpals, each sign by itself."""
    n = len(age)
    older = (0.3 + 0.7 * age / 150)[:, None]
    region = np.repeat(rng.normal(0, 2.5, (n, 2)), (21, 8), axis=1)
    return older * (rng.normal(0, 2.5, (n, 1)) + region + rng.normal(0, 5, (n, 29)))


def held(rng: np.random.Generator, lengths_mm: Float[NDArray, "n 19"], pose: float) -> Holds:
    """Hold hands flat: fingers spread or together and bent sideways, all in the plane of the picture."""
    n = len(lengths_mm)
    unit = lengths_mm[:, MIDDLE]
    wide = rng.normal(1, 0.7 * pose, n).clip(0, 2.2)[:, None]
    loose = 2 * pose
    bones = MC_DEGREES + rng.normal(0, 1.5, (n, 5)) * loose + MC_DEGREES * 0.05 * (wide - 1)
    bones[:, 0] += rng.normal(0, 7, n) * loose + 4 * (wide[:, 0] - 1)
    fingers = np.array([26.0, 4, 1, -1, -6]) + wide * np.array([3.0, 8, 0.5, -6.5, -16.5])
    fingers += rng.normal(0, [9.0, 2.2, 1.8, 2, 3.5], (n, 5)) * loose
    middles = fingers + rng.normal(0, [0.1, 2.5, 2.5, 2.5, 4], (n, 5)) * loose - np.array([0, 2, 1, 1, -1])
    ends = middles + rng.normal(0, [9, 3, 3, 3, 4], (n, 5)) * loose + np.array([2, 0, 0, 1, 4])
    at = np.zeros((n, N_LANDMARKS, 2))
    bone, landmark = 0, 1
    for finger in range(5):
        base = MC_BASES[finger] * (1 + rng.normal(0, 0.015, (n, 2))) * unit[:, None]
        at[:, landmark] = base
        directions = (bones, fingers, ends) if finger == 0 else (bones, fingers, middles, ends)
        for degrees in directions:
            turn = np.deg2rad(degrees[:, finger])
            step = np.stack([np.sin(turn), np.cos(turn)], axis=1) * lengths_mm[:, bone, None]
            at[:, landmark + 1] = at[:, landmark] + step
            bone, landmark = bone + 1, landmark + 1
        landmark += 1
    return Holds(landmarks=at, forearm=np.deg2rad(rng.normal(0, 6, n) * loose))


def placed(
    rng: np.random.Generator, landmarks: Float[NDArray, "n 25 2"], pose: float, px: int
) -> tuple[Float[NDArray, "n 2 3"], Float[NDArray, " n"], Float[NDArray, "n 4"]]:
    """Put hands into pictures: the map from a hand's frame to px, mm per px, and left, top, right, bottom of what is
    not padding.
    """
    n = len(landmarks)
    turn = rng.normal(2, 16 * pose, n)
    far = rng.random(n) < 0.08 * pose
    turn = np.deg2rad(np.where(far, rng.uniform(-90, 90, n), turn))
    side = np.where(rng.random(n) < 0.15, -1.0, 1.0)
    cos, sin = np.cos(turn), np.sin(turn)
    # x towards the thumb is to the right, y is up in the hand and down in the picture
    spin = np.stack([np.stack([side * cos, sin], 1), np.stack([side * sin, -cos], 1)], 1)
    seen = np.einsum("nij,nkj->nki", spin, landmarks)
    low, high = seen.min(1), seen.max(1)
    extent = high - low
    aspect = rng.normal(0.8, 0.09, n).clip(0.58, 1.0)
    share = np.sqrt(0.62 * extent[:, 1] / 265) * np.exp(rng.normal(0, 0.14, n))
    share = share.clip(0.35, 0.93)
    margin = 0.035 * px
    scale = share * px / extent[:, 1]
    scale = np.minimum(scale, (px - 2 * margin) / extent.max(1))
    size = extent * scale[:, None]
    width = np.maximum(aspect * px, size[:, 0] + 2 * margin)
    frame = np.stack([(px - width) / 2, np.zeros(n), (px + width) / 2, np.full(n, float(px))], 1)
    free = np.stack([width, np.full(n, float(px))], 1) - size - 2 * margin
    where = rng.beta(2, 2, (n, 2)) * np.array([1.0, 0.75])
    start = frame[:, :2] + margin + where * free.clip(0)
    shift = start - low * scale[:, None]
    return np.concatenate([spin * scale[:, None, None], shift[:, :, None]], 2), 1 / scale, frame
