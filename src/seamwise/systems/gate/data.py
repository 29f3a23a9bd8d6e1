"""What the gate's study learns from and is tested on: the world, or real faces in its scenes and photographs."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from seamwise.errors import InputError
from seamwise.pictures import read_photo
from seamwise.shapes import Float, Int, NDArray
from seamwise.supply import Supply
from seamwise.systems.gate import faces, light, london, scenes, world
from seamwise.systems.gate.photos import Person, check_box, digest, find_people, photo_key, read_boxes
from seamwise.systems.gate.scenes import PICTURE_PX

N_ANSWERS, N_BOXES, N_VALIDATION, N_TEST = 6400, 1000, 480, 1000
N_LONDON = world.N_PEOPLE["train"]  # people of the training part and mixtures of them
AT_HOME = 0.8
PRICES = {"person": 2.0, "place": 1.0}
BOX_SIZE = 1 / 1.12  # of a face box to a box that a person or a Haar cascade draws around a face


def world_supply(difficulty: world.Difficulty | None = None) -> Supply:
    """Simulated pictures with their person, fewer with the face's box: two tables, as two teams would have made them.

    Made once, then kept in the user's cache. Validation and test have every label.
    """
    return Supply.cached(f"gate-{_key(repr(difficulty))}", lambda: _world_supply(difficulty))


def _key(made_from: str) -> str:
    """A hash of what a supply is made from, and of the code that makes it."""
    files = [Path(str(module.__file__)) for module in (faces, scenes, world, london, light)] + [Path(__file__)]
    return hashlib.sha256(b"".join(f.read_bytes() for f in files) + made_from.encode()).hexdigest()[:12]


def _world_supply(difficulty: world.Difficulty | None) -> Supply:
    test = world.draw("test", N_TEST, 3, difficulty)
    tables = _world_tables(difficulty) | {"test": _table("test", test.image, test.person, _labels(test))}
    return Supply(tables, prices=PRICES)


def _world_tables(difficulty: world.Difficulty | None) -> dict[str, dict[str, Any]]:
    answers = world.draw("train", N_ANSWERS, 0, difficulty)
    boxes = world.draw("train", N_BOXES, 1, difficulty)
    held = world.draw("validation", N_VALIDATION, 2, difficulty)
    return {
        "answers": _table("train", answers.image, answers.person, {"person": answers.person}),
        "boxes": _table("train", boxes.image, boxes.person, {"place": boxes.box}),
        "validation": _table("validation", held.image, held.person, _labels(held)),
    }


def _labels(pictures: world.Pictures) -> dict[str, NDArray]:
    return {"person": pictures.person, "place": pictures.box}


def _table(
    split: str, image: UInt8[NDArray, "n 1 96 96"], person: Int[NDArray, " n"], labels: dict[str, NDArray]
) -> dict[str, Any]:
    return {"image": image, **labels, "group": person, "split": np.full(len(person), split)}


def real_supply(folders: Sequence[Path]) -> Supply:
    """Photographs of people for the test; to learn from, the London set's faces in the world's scenes, or drawn ones.

    folders: people for the test, before them the London set where there is one. `boxes.csv` beside the people, where
    there is one, scores the finder; nothing reads it for an answer. Made once, then kept in the user's cache. Raises
    InputError.
    """
    if len(folders) not in (1, 2):
        raise InputError(
            f"{len(folders)} folders of real data",
            expected="--data PEOPLE, for a test of what drawn faces teach, or --data LONDON --data PEOPLE, to learn "
            "from the Face Research Lab London Set",
            remedy="the README says where the London set is to be had",
        )
    if len(folders) == 2:
        london.check(folders[0])
        _check_apart(*folders)
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    stated = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return Supply.cached(f"gate-real-{_key(repr(stated))}", lambda: _real_supply(*folders))


def _real_supply(*folders: Path) -> Supply:
    people = find_people(folders[-1])
    shown = [(person, path) for person in people if len(person.photos) > 1 for path in person.photos]
    n_asked = len({person.name for person, _ in shown})
    if n_asked < 2:
        raise InputError(
            f"{folders[-1]}: {n_asked} of {len(people)} people have two photographs or more",
            expected="two such people at least: one photograph to enrol, others to ask about",
        )
    learnt = _london_tables(folders[0]) if len(folders) == 2 else _world_tables(None)
    first = 1 + max(int(np.max(table["group"])) for table in learnt.values())
    test = _photographs(folders[-1], shown, {person.name: first + k for k, person in enumerate(people)})
    return Supply({**learnt, "test": test}, prices=PRICES)


def _london_tables(source: Path) -> dict[str, dict[str, Any]]:
    parts = {part: london.people(source, part) for part in ("train", "validation")}
    learnt = london.morphs(parts["train"], N_LONDON - len(parts["train"].name))
    rng = np.random.default_rng(11)
    answers, who = _set_in(rng, learnt, N_ANSWERS, 0)
    boxes, whose = _set_in(rng, learnt, N_BOXES, 0)
    validation, whom = _set_in(rng, parts["validation"], N_VALIDATION, N_LONDON)
    return {
        "answers": _table("train", answers.image, who, {"person": who}),
        "boxes": _table("train", boxes.image, whose, {"place": boxes.box}),
        "validation": _table("validation", validation.image, whom, {"person": whom, "place": validation.box}),
    }


def _check_apart(source: Path, tested: Path) -> None:
    """Raises InputError where a photograph to learn from is one of the test's too."""
    known = {digest(path) for person in find_people(source) for path in person.photos} - {None}
    asked = (path for person in find_people(tested) for path in person.photos)
    twice = next((path for path in asked if digest(path) in known), None)
    if twice is not None:
        raise InputError(
            f"{twice}: a photograph of the test is one to learn from too",
            expected="a test of people whom nothing learnt from",
            remedy="give another folder of people as the second --data",
        )


def _set_in(
    rng: np.random.Generator, people: london.People, n: int, first: int
) -> tuple[scenes.Scenes, Int[NDArray, " n"]]:
    """As many pictures of real faces in rooms, mostly in their own one and in their own clothes; and who it is."""
    row = rng.permutation(np.arange(n) % len(people.name))
    homes = first + row
    others = world.N_ALL + first + rng.integers(0, world.N_OTHERS, (2, n))
    room, clothes = np.where(rng.random((2, n)) < AT_HOME, homes, others)
    made = [
        scenes.compose(rng, london.cutouts(rng, people, row[k]), room[k], clothes[k], world.Difficulty())
        for k in (slice(start, start + world.CHUNK) for start in range(0, n, world.CHUNK))
    ]
    parts = (np.concatenate([getattr(m, name) for m in made]) for name in ("image", "box", "landmarks"))
    return scenes.Scenes(*parts), homes


def _photographs(folder: Path, shown: Sequence[tuple[Person, Path]], number: dict[str, int]) -> dict[str, Any]:
    """Photographs as the networks see them, with the face boxes that are known."""
    known = read_boxes(folder / "boxes.csv") if (folder / "boxes.csv").is_file() else {}
    image = np.empty((len(shown), 1, PICTURE_PX, PICTURE_PX), dtype=np.uint8)
    place = np.ma.array(np.zeros((len(shown), 3), dtype=np.float32), mask=True)
    for k, (person, path) in enumerate(shown):
        photo = read_photo(path)
        image[k, 0], scale, shift = framed(photo)
        box = known.get(photo_key(person.name, path.name))
        if box is not None:
            check_box(box, photo.shape, f"{folder / 'boxes.csv'}, {person.name}/{path.name}")
            side = BOX_SIZE * (box.width + box.height) / 2 * scale
            centre = np.array([box.x + box.width / 2, box.y + box.height / 2]) * scale + shift
            place[k] = [*(centre - side / 2), side]
    who = np.array([number[person.name] for person, _ in shown])
    return _table("test", image, who, {"person": who} | ({"place": place} if known else {}))


def framed(photo: UInt8[NDArray, "h w 3"]) -> tuple[UInt8[NDArray, "96 96"], float, Float[NDArray, "2"]]:
    """A photograph as a grey picture of 96 px, its shape kept by a border; its scale, and where its corner came to."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = PICTURE_PX / max(height, width)
    small = cv2.resize(
        grey, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    left, top = (PICTURE_PX - small.shape[1]) // 2, (PICTURE_PX - small.shape[0]) // 2
    canvas = np.full((PICTURE_PX, PICTURE_PX), np.median(small), dtype=np.uint8)
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas, scale, np.array([left, top], dtype=np.float64)
