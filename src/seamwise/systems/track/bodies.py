"""Bodies: the forms of the tracking world's things, as outlines of their pieces in a unit of their own.

People, cars, faces, animals, riders, blobs and boards, each drawn by chance: no two are the same. x goes right and y
down; pieces stand from the rearmost to the foremost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from seamwise.shapes import Float, NDArray

Outline = Float[NDArray, "points 2"]


@dataclass(frozen=True)
class Piece:
    """An outline, what it is made of (a role), its joint, and how it moves.

    It swings by up to `swing` radians about the joint, `phase` after the first. `depth` (-1 to 1) is how far before
    the axis it lies about which the whole turns; `round` how much relief it has; `on`: painted on what lies below.
    """

    outline: Outline
    role: str
    joint: Float[NDArray, " 2"]
    swing: float = 0.0
    phase: float = 0.0
    depth: float = 0.0
    round: float = 0.4
    on: bool = False


def piece(
    outline: Outline,
    role: str,
    joint: tuple[float, float] | None = None,
    swing: float = 0.0,
    phase: float = 0.0,
    depth: float = 0.0,
    round: float = 0.4,  # noqa: A002
    on: bool = False,
) -> Piece:
    """A piece whose joint is its middle where none is given."""
    at = outline.mean(0) if joint is None else np.array(joint, dtype=float)
    return Piece(outline, role, at, swing, phase, depth, round, on)


def oval(x: float, y: float, wide: float, high: float, power: float = 2.0) -> Outline:
    """An ellipse about a middle; towards a rectangle for a higher power. Half sizes."""
    turn = np.linspace(0, 2 * np.pi, 33)[:-1]
    cos, sin = np.cos(turn), np.sin(turn)
    shape = np.abs(np.column_stack([cos, sin])) ** (2 / power) * np.sign(np.column_stack([cos, sin]))
    return np.asarray(shape * [wide, high] + [x, y])


def limb(x: float, top: float, bottom: float, upper: float, lower: float, lean: float = 0.0) -> Outline:
    """An arm, a leg, a trunk: from top to bottom, half as wide as told at either end, the ends round."""
    turn = np.linspace(0, np.pi, 9)
    down = np.column_stack([x + lean + lower * np.cos(turn), bottom - lower + lower * np.sin(turn)])
    up = np.column_stack([x - upper * np.cos(turn), top + upper - upper * np.sin(turn)])
    return np.concatenate([down, up])


def ragged(rng: np.random.Generator, x: float, y: float, wide: float, high: float, rough: float) -> Outline:
    """A closed curve about a middle whose radius varies smoothly."""
    turn = np.linspace(0, 2 * np.pi, 49)[:-1]
    radius = np.ones_like(turn)
    for k in range(2, 7):
        radius += rough / k * rng.normal() * np.cos(k * turn + rng.uniform(0, 6))
    shape = np.column_stack([np.cos(turn) * wide, np.sin(turn) * high]) * radius.clip(0.35)[:, None]
    return np.asarray(shape + np.array([x, y]))


def person(rng: np.random.Generator) -> list[Piece]:
    """Somebody who stands, walks or runs, from the front or from the side."""
    wide, hip, foot = rng.uniform(0.1, 0.17), rng.uniform(-0.02, 0.06), 0.5
    leg, arm, head = rng.uniform(0.045, 0.075), rng.uniform(0.03, 0.045), rng.uniform(0.06, 0.085)
    stride, top = rng.uniform(0.15, 0.55), -0.5 + 2 * head
    apart = wide * rng.uniform(0.2, 0.55)
    legs, sleeve = rng.choice(["second", "dark", "main", "skin"], p=[0.6, 0.2, 0.1, 0.1]), rng.choice(["main", "skin"])
    beside = wide + arm * rng.uniform(-0.6, 0.7)
    shoulder, hand = top + 0.05, hip + rng.uniform(-0.02, 0.06)
    made = [
        piece(limb(beside, top, hand, arm, 0.8 * arm), sleeve, (beside, shoulder), stride, np.pi, -0.2),
        piece(limb(apart, hip - 0.05, foot, leg, 0.7 * leg), legs, (apart, hip), stride, 0, 0.1),
        piece(limb(-apart, hip - 0.05, foot, leg, 0.7 * leg), legs, (-apart, hip), stride, np.pi, -0.1),
    ]
    if rng.random() < 0.2:  # a skirt or a coat
        flared = np.array([[-wide, hip - 0.2], [wide, hip - 0.2], [1.5 * wide, hip + 0.2], [-1.5 * wide, hip + 0.2]])
        made.append(piece(flared, "second"))
    made.append(piece(oval(0, (top + hip) / 2, wide, (hip - top) / 2 + 0.03, rng.uniform(2.3, 4)), "main", round=0.5))
    if rng.random() < 0.3:  # a bag
        made.append(piece(oval(rng.uniform(-wide, wide), -0.15, 0.08, 0.1, 3), "second", depth=rng.choice([-0.3, 0.3])))
    made.append(piece(limb(-beside, top, hand, arm, 0.8 * arm), sleeve, (-beside, shoulder), stride, 0, 0.2))
    made.append(piece(oval(0, -0.5 + head, 0.8 * head, head), "skin", (0, top), 0.1, 1, 0.05))
    if rng.random() < 0.8:  # hair, a cap, a hood
        part = rng.uniform(0.5, 1)
        made.append(
            piece(oval(0, -0.5 + head * part, 0.85 * head, head * part), rng.choice(["hair", "hair", "second"]))
        )
    return made


def car(rng: np.random.Generator) -> list[Piece]:
    """A car, a van or a bus from its side, or a car from above or behind."""
    view = rng.choice(["side", "above", "behind"], p=[0.55, 0.2, 0.25])
    if view == "above":
        return _car_above(rng)
    return _car_behind(rng) if view == "behind" else _car_beside(rng)


def _car_beside(rng: np.random.Generator) -> list[Piece]:
    long, wheel = rng.uniform(0.9, 1.5), rng.uniform(0.13, 0.2)
    boxy, roof = rng.random() < 0.35, -0.5
    belt = rng.uniform(-0.15, 0.05)
    front, back = (0.02, 0.05) if boxy else rng.uniform(0.2, 0.6, 2)
    slant = 0.05 if boxy else rng.uniform(0.15, 0.35)
    cabin = np.array(
        [[-long + back, belt], [-long + back + slant, roof], [long - front - slant, roof], [long - front, belt]]
    )
    body = oval(0, (belt + 0.4) / 2, long, (0.4 - belt) / 2, rng.uniform(4, 9))
    made = [piece(cabin, "main", round=0.25), piece(body, "main", round=0.5)]
    panes = np.linspace(-long + back + slant * 0.7, long - front - slant * 0.7, int(rng.integers(3, 6)))
    for left, right in pairwise(panes.tolist()):
        middle, half = (left + right) / 2, (right - left) / 2 - 0.03
        made.append(piece(oval(middle, (belt + roof) / 2 + 0.03, half, (belt - roof) * 0.36, 5), "glass", on=True))
    if rng.random() < 0.4:
        made.append(piece(oval(0, rng.uniform(belt, 0.3), long, 0.04, 8), "second", on=True))
    made += [
        piece(oval(s * long * 0.93, belt + 0.12, 0.07, 0.05), r, on=True) for s, r in ((1, "light"), (-1, "second"))
    ]
    for side in (-1, 1):
        x = side * long * rng.uniform(0.55, 0.68)
        made.append(piece(oval(x, 0.5 - wheel, wheel, wheel), "dark"))
        made.append(piece(oval(x, 0.5 - wheel, wheel * 0.55, wheel * 0.55), "metal", on=True))
    return made


def _car_behind(rng: np.random.Generator) -> list[Piece]:
    wide, belt, roof = rng.uniform(0.45, 0.7), rng.uniform(-0.15, 0), rng.uniform(0.6, 0.95)
    made = [piece(oval(s * wide * 0.75, 0.38, wide * 0.16, 0.12, 4), "dark") for s in (-1, 1)]
    cabin = np.array([[-wide, belt], [-wide * roof, -0.5], [wide * roof, -0.5], [wide, belt]])
    made += [piece(cabin, "main"), piece(oval(0, (belt + 0.42) / 2, wide, (0.42 - belt) / 2 + 0.02, 5), "main")]
    pane = np.array(
        [[-wide * 0.85, belt], [-wide * roof * 0.85, -0.43], [wide * roof * 0.85, -0.43], [wide * 0.85, belt]]
    )
    made.append(piece(pane, "glass", on=True, round=0.2))
    role = rng.choice(["light", "second"])
    made += [piece(oval(s * wide * 0.8, belt + 0.12, wide * 0.14, 0.06, 3), role, on=True) for s in (-1, 1)]
    made.append(piece(oval(0, rng.uniform(0.1, 0.25), wide * 0.25, 0.05, 8), "light", on=True))
    made.append(piece(oval(0, 0.36, wide * 0.95, 0.05, 8), rng.choice(["dark", "metal", "main"]), on=True))
    return made


def _car_above(rng: np.random.Generator) -> list[Piece]:
    wide = rng.uniform(0.2, 0.28)
    made = [piece(oval(0, 0, wide, 0.5, rng.uniform(4, 7)), "main", round=0.5)]
    for y, high in ((rng.uniform(-0.22, -0.15), 0.06), (rng.uniform(0.2, 0.3), 0.05)):
        made.append(piece(oval(0, y, wide * 0.8, high, 4), "glass", on=True))
    for side in (-1, 1):
        made.append(piece(oval(side * wide * 0.88, 0.04, wide * 0.08, 0.15, 4), "glass", on=True))
        made.append(piece(oval(side * wide * 0.7, -0.46, wide * 0.15, 0.03), "light", on=True))
    return made


def face(rng: np.random.Generator) -> list[Piece]:
    """A head, with hair, perhaps a hat, glasses or a beard."""
    wide, eye = rng.uniform(0.34, 0.44), rng.uniform(-0.1, 0.0)
    apart = wide * rng.uniform(0.4, 0.5)
    made = [piece(oval(0, -0.05, wide * 1.15, rng.uniform(0.42, 0.6)), rng.choice(["hair", "main"]), depth=-0.15)]
    made += [piece(oval(s * wide, 0.02, 0.05, 0.09), "skin", depth=-0.05) for s in (-1, 1)]
    made.append(piece(oval(0, 0, wide, 0.5, rng.uniform(2, 2.5)), "skin", round=0.55))
    if rng.random() < 0.3:
        made.append(piece(oval(0, 0.42, wide * 0.9, 0.2), "hair", on=True, depth=0.1, round=0.1))
    for side in (-1, 1):
        x = side * apart
        made.append(piece(oval(x, eye, 0.08, 0.04), "light", on=True, depth=0.14, round=0))
        made.append(piece(oval(x, eye, 0.04, 0.042), "dark", on=True, depth=0.15, round=0))
        made.append(piece(oval(x, eye - rng.uniform(0.08, 0.1), 0.1, 0.022, 3), "hair", on=True, depth=0.14, round=0))
    made.append(piece(limb(0, eye, 0.16, 0.035, 0.06), "skin", on=True, depth=0.2, round=0.8))
    mouth = np.array([[-0.13, 0.26], [0, rng.uniform(0.23, 0.27)], [0.13, 0.26], [0, rng.uniform(0.29, 0.36)]])
    made.append(piece(mouth, rng.choice(["dark", "second"]), on=True, depth=0.15, round=0))
    if rng.random() < 0.25:
        made += [piece(oval(s * apart, eye, 0.13, 0.09, 3), "glass", on=True, depth=0.17) for s in (-1, 1)]
    crown = rng.uniform(0.1, 0.2)
    made.append(piece(oval(0, -0.5 + crown, wide, crown), rng.choice(["hair", "main", "main"]), depth=0.02))
    return made


def animal(rng: np.random.Generator) -> list[Piece]:
    """Four legs, or a bird or fish without, a head to one side."""
    long, high, side = rng.uniform(0.4, 0.7), rng.uniform(0.15, 0.28), rng.choice([-1.0, 1.0])
    stride, leg = rng.uniform(0.2, 0.6), rng.uniform(0.03, 0.06)
    made, legs = [], rng.random() < 0.75
    body = rng.uniform(-0.15, 0.05) if legs else 0.0
    tail = limb(-side * long, body - high, body + high * rng.uniform(0, 1.5), 0.03, 0.02, -side * rng.uniform(0.1, 0.4))
    made.append(piece(tail, "main", (-side * long * 0.9, body - high * 0.5), 0.5, 2))
    places = np.array([-0.8, -0.65, 0.65, 0.8]) * long * legs
    for k, x in enumerate(places.tolist() if legs else []):
        leg_at = limb(x, body, 0.5, leg * 1.3, leg * 0.8)
        made.append(piece(leg_at, "main" if k % 2 else "second", (x, body), stride, k * np.pi / 2 * 3))
    made.append(piece(ragged(rng, 0, body, long, high, 0.12), "main", round=0.55))
    size = high * rng.uniform(0.5, 0.9)
    x, y = side * (long + size * 0.5), body - high * rng.uniform(0.2, 1.4)
    made.append(piece(ragged(rng, x, y, size * rng.uniform(0.9, 1.5), size, 0.1), "main", (side * long, body), 0.15, 1))
    for shift in (-0.4, 0.4) if legs else ():
        ear = oval(x + shift * size, y - size, size * 0.25, size * rng.uniform(0.3, 0.8))
        made.append(piece(ear, "second", (side * long, body), 0.15, 1))
    made.append(piece(oval(x + side * size * 0.3, y - size * 0.2, size * 0.15, size * 0.15), "dark", on=True))
    return made


def rider(rng: np.random.Generator) -> list[Piece]:
    """Somebody on a bicycle or motorcycle, from the side or from behind."""
    wheel, apart = rng.uniform(0.13, 0.2), rng.uniform(0.25, 0.34)
    behind = rng.random() < 0.35
    wide = 0.1 if behind else 0.0
    apart = 0.0 if behind else apart
    made = []
    for side in (-1,) if behind else (-1, 1):
        x, across = side * apart, 0.05 if behind else wheel
        made.append(piece(oval(x, 0.5 - wheel, across, wheel), "dark"))
        made.append(piece(oval(x, 0.5 - wheel, across * 0.7, wheel * 0.75), rng.choice(["metal", "dark"]), on=True))
    bulk = rng.uniform(0.03, 0.12)
    frame = oval(0, 0.5 - 1.5 * wheel, max(apart, 0.1), bulk, 2.5)
    made.append(piece(frame, rng.choice(["second", "metal"])))
    hip, top = 0.5 - 2.2 * wheel, rng.uniform(-0.33, -0.28)
    lean = 0.0 if behind else rng.uniform(0, 0.2)
    for phase in (0, np.pi):
        x = wide * np.cos(phase) - 0.05
        made.append(piece(limb(x, hip - 0.05, 0.42, 0.055, 0.04, 0.12), "second", (x, hip), 0.25, phase))
    torso = limb(lean - 0.05, top, hip + 0.05, 0.09 + wide * 0.4, 0.1 + wide * 0.2, -lean)
    made.append(piece(torso, "main", round=0.5))
    made.append(piece(limb(lean, top + 0.02, hip - 0.05, 0.04, 0.03, 0.18), "main", (lean, top + 0.05), 0.1))
    made.append(piece(oval(lean * 1.2 - 0.02, -0.41, 0.08, 0.09), rng.choice(["main", "second", "skin", "light"])))
    return made


def blob(rng: np.random.Generator) -> list[Piece]:
    """One to three lumps."""
    wide = np.exp(rng.uniform(-0.6, 0.6))
    made = [piece(ragged(rng, 0, 0, 0.5 * wide, 0.5, 0.25), "main", (0, 0), 0.1, round=0.5)]
    for k in range(int(rng.integers(0, 4))):
        x, y = (rng.uniform(-0.4, 0.4, 2) * [wide, 1]).tolist()
        lump = ragged(rng, x, y, wide * rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3), 0.2)
        made.append(piece(lump, rng.choice(["main", "second"]), (0, 0), 0.25, k, rng.uniform(-0.2, 0.3), 0.5, k == 0))
    return made


def board(rng: np.random.Generator) -> list[Piece]:
    """Something rigid: a box, a ball, a book, a sign, a bottle, with a frame, a field or a label on it."""
    wide, power = np.exp(rng.uniform(-0.6, 0.6)), rng.choice([2.0, 4.0, 12.0])
    made = [piece(oval(0, 0, 0.5 * wide, 0.5, power), "main", round=0.5 if power < 5 else 0.2)]
    if rng.random() < 0.3:
        made.insert(0, piece(oval(0, -0.6, 0.2 * wide, 0.2, 4), "second"))
    for _ in range(int(rng.integers(0, 4))):
        x, y = (rng.uniform(-0.3, 0.3, 2) * [wide, 1]).tolist()
        mark = oval(x, y, wide * rng.uniform(0.05, 0.35), rng.uniform(0.05, 0.35), rng.choice([2.0, 8.0]))
        made.append(piece(mark, rng.choice(["second", "dark", "light", "glass"]), on=True, depth=0.1, round=0.1))
    return made


BODIES: dict[str, Callable[[np.random.Generator], list[Piece]]] = {
    "person": person,
    "car": car,
    "face": face,
    "animal": animal,
    "rider": rider,
    "blob": blob,
    "board": board,
}
