"""What the age task learns from: the simulated world, or folders of real radiographs."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from seamwise import Supply
from seamwise.errors import InputError
from seamwise.files import readable
from seamwise.shapes import Float, Int, NDArray, UInt8
from seamwise.systems.age import world
from seamwise.systems.age.checks import check_folder
from seamwise.systems.age.folder import Record, files_below, once, read_folder
from seamwise.systems.age.reading import Radiograph, read_radiograph
from seamwise.systems.age.world import Difficulty

N_ANSWERS, N_STAGED, N_VALIDATION, N_TEST = 2400, 400, 240, 400
PRICES = {"age": 1.0, "landmarks": 4.0, "plates": 6.0, "carpals": 2.0, "bones": 10.0}
REAL_PX = 512
SHARES = (0.7, 0.1, 0.2)  # of real radiographs: train, validation, test
FEWEST, FEWEST_MARKED = 30, 10  # radiographs with an age; with landmarks, below which they teach nothing
FEWEST_CHILDREN = 12  # below which one of the splits could be empty
LONG_SIDE_MM = 270.0  # of a picture whose scale nobody states: about that of a film of 24 × 30 cm
# of what is kept in the cache, by the files' paths, sizes and times alone: to be raised by hand when something else
# is drawn, or read from the same files
VERSION = 1

# (along, across): a metacarpal's base from its knuckle on the way to the wrist, mean of 910 hands of the Digital Hand
# Atlas; for radiographs whose other landmarks are known. It is 2 mm from the marked one.
BASES = {5: (0.643, -0.081), 10: (0.651, -0.035), 15: (0.627, -0.001), 20: (0.611, 0.003)}


def world_supply(difficulty: Difficulty | None = None) -> Supply:
    """Simulated radiographs with their age, fewer with all that can be seen; validation and test ones have all."""
    harder = hashlib.sha256(repr(astuple(difficulty or Difficulty())).encode()).hexdigest()[:12]
    return Supply.cached(f"age-world-{VERSION}-{harder}", partial(_world_supply, difficulty))


def _world_supply(difficulty: Difficulty | None) -> Supply:
    sizes = {"answers": N_ANSWERS, "stages": N_STAGED, "validation": N_VALIDATION, "test": N_TEST}
    tables = {}
    for seed, (name, n) in enumerate(sizes.items()):
        hands = world.draw(n, 100 + seed, difficulty)
        split = name if name in ("validation", "test") else "train"
        labels = _answers(hands) if name == "answers" else _stages(hands) if name == "stages" else _all(hands)
        inputs = {"picture": hands.picture, "sex": hands.sex, "mm_per_px": hands.mm_per_px}
        tables[name] = inputs | labels | {"split": np.full(n, split)}
    return Supply(tables, prices=PRICES)


def _answers(hands: world.Hands) -> dict[str, NDArray]:
    return {"age": hands.age_months}


def _stages(hands: world.Hands) -> dict[str, NDArray]:
    middle = hands.picture.shape[-1] / 2
    return {
        "landmarks": (hands.landmarks_px - middle) * hands.mm_per_px[:, None, None],
        "lengths": hands.lengths_mm,
        "plates": hands.plates,
        "carpals": hands.carpals,
        "bones": hands.bones,
    }


def _all(hands: world.Hands) -> dict[str, NDArray]:
    return _answers(hands) | _stages(hands)


def real_supply(folders: Sequence[Path]) -> Supply:
    """Radiographs with their ages, some with landmarks; read once, then kept in the user's cache.

    A tenth of them, at random but always the same, is for validation, a fifth for the test; and so of those with
    landmarks. Where a column says whose hands they are, children are divided so, and none is in two splits. A file
    that is there twice is taken once. Landmarks that are incomplete, or fewer than ten children's, are left out.
    What is kept is found again by the files' paths, sizes and times, and `VERSION`. Raises InputError.
    """
    for folder in folders:
        check_folder(folder)
    files = sorted(path for folder in folders for path in files_below(folder))
    with readable(files[0] if files else Path()):
        stated = repr([(str(path.absolute()), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
    named = hashlib.sha256(stated.encode()).hexdigest()[:12]
    return Supply.cached(f"age-real-{VERSION}-{named}", lambda: _real_supply(folders))


def _real_supply(folders: Sequence[Path]) -> Supply:
    told = Console(stderr=True)
    read_folders = [read_folder(folder) for folder in folders]
    for folder, held in zip(folders, read_folders, strict=True):
        for warning in held.warnings:
            told.print(f"warning: {folder}: {warning}", markup=False, soft_wrap=True)
    labelled = [record for held in read_folders for record in held.records if record.age_months is not None]
    aged = once(labelled)
    where = ", ".join(map(str, folders))
    if len(aged) < len(labelled):
        again = f"{len(labelled) - len(aged):,} of {len(labelled):,} radiographs are there already"
        told.print(f"warning: {where}: {again}, or copies of others, and are left out", markup=False, soft_wrap=True)
    if len(aged) < FEWEST:
        raise InputError(f"{where}: {len(aged)} radiographs with an age", expected=f"{FEWEST} at least, to learn from")
    whose = _children(aged)
    n_children = 1 + int(whose.max())
    if n_children < FEWEST_CHILDREN:
        raise InputError(f"{where}: radiographs of {n_children} children", expected=f"{FEWEST_CHILDREN} at least")
    read = [_item(r) for r in track(aged, f"reading {len(aged)} radiographs", console=told, transient=True)]
    columns: dict[str, Any] = {name: np.stack([item[name] for item in read]) for name in ("picture", "mm_per_px")}
    columns["sex"] = np.array([record.sex == "M" for record in aged], dtype=np.uint8)
    columns["age"] = np.array([record.age_months for record in aged], dtype=np.float32)
    marked = np.array(["landmarks" in item for item in read])
    marked_children = np.isin(np.arange(n_children), whose[marked])
    if marked_children.sum() >= FEWEST_MARKED:
        place = np.stack([item.get("landmarks", np.zeros((25, 2), np.float32)) for item in read])
        columns["landmarks"] = np.ma.array(place, mask=np.broadcast_to(~marked[:, None, None], place.shape))
    split = np.empty(n_children, dtype="<U10")
    for some in (np.flatnonzero(marked_children), np.flatnonzero(~marked_children)):
        split[some] = _splits(len(some))
    keys = {"split": split[whose]} | ({"group": whose} if any(record.child is not None for record in aged) else {})
    return Supply({"radiographs": columns | keys}, prices={k: v for k, v in PRICES.items() if k in columns})


def _children(records: Sequence[Record]) -> Int[NDArray, " n"]:
    """Whose hand each is, as a number; a record that does not say it is a child of its own."""
    number: dict[str | int, int] = {}
    names = [k if record.child is None else record.child for k, record in enumerate(records)]
    return np.array([number.setdefault(name, len(number)) for name in names])


def _splits(n: int) -> NDArray:
    order = np.random.default_rng(n).permutation(n)
    n_train, n_validation = round(SHARES[0] * n), max(1, round(SHARES[1] * n))
    return np.where(order < n_train, "train", np.where(order < n_train + n_validation, "validation", "test"))


def _item(record: Record) -> dict[str, NDArray]:
    """A record as the networks see it."""
    seen = read_radiograph(record.path, REAL_PX)
    stated = record.mm_per_px if record.mm_per_px is not None else seen.mm_per_px
    item, per_px, corner = framed(seen, stated)
    place = None if record.landmarks is None else completed(record.landmarks)
    if place is not None and np.isfinite(place).all():
        item["landmarks"] = ((place / per_px + corner - REAL_PX / 2) * item["mm_per_px"]).astype(np.float32)
    return item


def framed(seen: Radiograph, mm_per_px: float | None = None) -> tuple[dict[str, Any], float, Float[NDArray, "2"]]:
    """A radiograph in the middle of a square; how many of the file's px are one of it; where its corner came to.

    mm_per_px: of the file's px; where it is None, the picture's long side is taken for 270 mm.
    """
    height, width = seen.pixels.shape
    square: UInt8[NDArray, "px px"] = np.zeros((REAL_PX, REAL_PX), dtype=np.uint8)
    left, top = (REAL_PX - width) // 2, (REAL_PX - height) // 2
    square[top : top + height, left : left + width] = seen.pixels
    per_px = max(seen.original_px) / max(height, width)
    scale = LONG_SIDE_MM / max(height, width) if mm_per_px is None else mm_per_px * per_px
    return {"picture": square[None], "mm_per_px": np.float32(scale)}, per_px, np.array([left, top], dtype=np.float64)


def completed(landmarks: Float[NDArray, "25 2"]) -> Float[NDArray, "25 2"]:
    """Landmarks in any unit, the metacarpals' bases put where they mostly are in case they are not known."""
    whole = landmarks.copy()
    side = np.sign(_cross(landmarks[6] - landmarks[0], landmarks[21] - landmarks[0]))
    for base, (along, across) in BASES.items():
        if not np.isfinite(landmarks[base]).all():
            way = landmarks[0] - landmarks[base + 1]
            whole[base] = landmarks[base + 1] + along * way - side * across * np.array([-way[1], way[0]])
    return whole


def _cross(a: Float[NDArray, "2"], b: Float[NDArray, "2"]) -> float:
    return float(a[0] * b[1] - a[1] * b[0])
