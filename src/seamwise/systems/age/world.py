"""The world of the age system: radiographs of hands by bone age and sex, with every label known.

A bone age and a sex give the lengths of the bones (`growth`) and the signs of maturity; a hand of these is held
(`anatomy`), weakens the beam (`bones`, `radiograph`) and is exposed (`film`).
"""

from dataclasses import dataclass

import numpy as np

from seamwise.shapes import Float, NDArray, UInt8
from seamwise.systems.age import anatomy, film, radiograph
from seamwise.systems.age.film import Difficulty

__all__ = ["PICTURE_PX", "Difficulty", "Hands", "draw"]

PICTURE_PX = 256
CHUNK = 256  # people drawn at a time


@dataclass(frozen=True)
class Hands:
    """n drawn radiographs with every label; pixel centres are at integers + .5."""

    picture: UInt8[NDArray, "n 1 px px"]
    sex: UInt8[NDArray, " n"]  # 0 female, 1 male
    age_months: Float[NDArray, " n"]  # bone age
    mm_per_px: Float[NDArray, " n"]
    landmarks_px: Float[NDArray, "n 25 2"]  # x and y; wrist, then thumb (base, two joints, tip), ..., little finger
    lengths_mm: Float[NDArray, "n 19"]  # joint to joint, in the order of growth.BONES
    plates: Float[NDArray, "n 21"]  # 0 no epiphysis, .5 as wide as its bone, 1 fused; the order of growth.PLATES
    carpals: Float[NDArray, "n 8"]  # share of the adult size, 0 not there; the order of growth.CARPALS
    bones: UInt8[NDArray, "n 64 64"]  # 0 background, else 1 + place in growth.BONES


def draw(n: int, seed: int, difficulty: Difficulty | None = None, px: int = PICTURE_PX) -> Hands:
    """Draw n radiographs of px × px."""
    difficulty = difficulty or Difficulty()
    rng = np.random.default_rng([seed, n, px])
    picture = np.empty((n, 1, px, px), np.uint8)
    labels = np.empty((n, radiograph.LABEL_PX, radiograph.LABEL_PX), np.uint8)
    points, mm_per_px = np.empty((n, anatomy.N_LANDMARKS, 2)), np.empty(n)
    everybody = []
    for start in range(0, max(n, 1), CHUNK):
        rows = range(start, min(start + CHUNK, n))
        people = anatomy.people(rng, len(rows), difficulty.spread)
        holds = anatomy.held(rng, people.lengths_mm, difficulty.pose)
        to_px, mm_per_px[start : rows.stop], frames = anatomy.placed(rng, holds.landmarks, difficulty.pose, px)
        spun = np.einsum("nij,nkj->nki", to_px[:, :, :2], holds.landmarks)
        points[start : rows.stop] = spun + to_px[:, None, :, 2]
        everybody.append(people)
        for row, (one, frame) in enumerate(zip(to_px, frames, strict=True)):
            marks, forearm = holds.landmarks[row], holds.forearm[row]
            hand = radiograph.Bones(marks, people.lengths_mm[row], people.age_months[row], people.broad[row], forearm)
            lobes = rng.normal(0, [0.03, 0.04, 9, 9, 0.012, 0.012], (8, 6))
            bone = radiograph.skeleton(hand, people.plates[row], people.carpals[row], lobes, one, px)
            plump = people.flesh[row] * (1 + 0.15 * hand.young)
            soft, outline = radiograph.flesh(marks, hand.unit, plump, forearm, one, px)
            bone *= np.float32(people.dense[row] * (1 - 0.2 * hand.young))
            at = points[start + row]
            picture[start + row, 0] = film.develop(rng, soft, bone, outline, at, frame, difficulty)
            labels[start + row] = radiograph.bone_map(hand, one, px)
    return Hands(
        picture=picture,
        sex=np.concatenate([people.sex for people in everybody]).astype(np.uint8),
        age_months=_joined([people.age_months for people in everybody]),
        mm_per_px=mm_per_px.astype(np.float32),
        landmarks_px=points.astype(np.float32),
        lengths_mm=_joined([people.lengths_mm for people in everybody]),
        plates=_joined([people.plates for people in everybody]),
        carpals=_joined([people.carpals for people in everybody]),
        bones=labels,
    )


def _joined(parts: list[NDArray]) -> NDArray:
    return np.concatenate(parts).astype(np.float32)
