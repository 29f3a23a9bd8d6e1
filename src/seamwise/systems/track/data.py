"""What the tracker's task learns from and is tested on: pairs of crops, of the world's clips or of annotated sequences.

Of two frames of one film, the first shows the object in the middle of the exemplar. The search picture is cut out of
the second: there the object stands aside and is a little larger or smaller, as a tracker meets it that was wrong by so
much.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from seamwise import Supply
from seamwise.errors import InputError
from seamwise.pictures import picture_size
from seamwise.shapes import Bool, Float, Int, NDArray, UInt8
from seamwise.systems.track import folders, world
from seamwise.systems.track.boxes import middle
from seamwise.systems.track.folders import check_scored, sequences_of
from seamwise.systems.track.frames import PictureFrames
from seamwise.systems.track.geometry import SIZE_PX, cut, size_of
from seamwise.systems.track.nets import EXEMPLAR_PX, SEARCH_PX
from seamwise.systems.track.world import Difficulty

N_ANSWERS, N_STAGED, N_VALIDATION, N_TEST = 6400, 1000, 300, 600
SEEDS = {"answers": 2_000_000, "stages": 3_000_000, "validation": 4_000_000, "test": 5_000_000}  # of the first clip
PRICES = {"place": 1.0, "response": 1.0, "kind": 1.0}
N_FRAMES, FARTHEST = 16, 12  # of a clip; between the two of a pair, at most
N_A_CLIP = {"answers": 8, "stages": 4, "validation": 4, "test": 4}  # pairs: where there are few, of more clips
ASIDE, LARGER = 0.65, 0.07  # how far the object stands aside, in sizes, and the log of how much larger it is, at most
SEEN = 0.5  # the least share of the object that can be seen
N_A_SEQUENCE, MOST_PAIRS = 40, 12_000  # pairs of an annotated sequence, fewer where there are many sequences
FEWEST = 10  # annotated sequences, below which the world is learnt from
SHARES = (0.7, 0.1)  # of annotated sequences: train, validation; the rest is the test
# of what is kept in the cache: to be raised by hand when something else is drawn, or cut from the same files
VERSION = 1

Frame = UInt8[NDArray, "height width 3"]
Box = Float[NDArray, "4"]


def pair(
    first: Frame, first_box: Box, then: Frame, then_box: Box, aside: Float[NDArray, "2"], larger: float
) -> dict[str, NDArray]:
    """The exemplar and the search picture of two frames, and where in it the object is.

    aside:  x and y of the object from the middle of the search picture, in sizes as the exemplar shows them
    larger: the log of how much larger than in the exemplar it is shown
    """
    side = size_of(then_box[2:]) / np.exp(larger)  # of the frame's px: what is shown at SIZE_PX
    exemplar = cut(first, middle(first_box), EXEMPLAR_PX / SIZE_PX * size_of(first_box[2:]), EXEMPLAR_PX)
    search = cut(then, middle(then_box) - aside * side, SEARCH_PX / SIZE_PX * side, SEARCH_PX)
    place = np.array([*aside, larger], dtype=np.float32)
    return {"exemplar": exemplar.transpose(2, 0, 1), "search": search.transpose(2, 0, 1), "place": place}


def _pair_by_chance(
    rng: np.random.Generator, first: Frame, first_box: Box, then: Frame, then_box: Box
) -> dict[str, NDArray]:
    """A pair whose object may stand anywhere within reach, at any scale within reach."""
    aside, larger = rng.uniform(-ASIDE, ASIDE, 2), float(rng.uniform(-LARGER, LARGER))
    return pair(first, first_box, then, then_box, aside, larger)


def world_supply(difficulty: Difficulty | None = None) -> Supply:
    """Pairs of simulated clips with the place, fewer with what the stages should say; validation and test have all.

    No clip is in two tables. Drawn once, which takes minutes, then kept in the user's cache.
    """
    harder = hashlib.sha256(repr(astuple(difficulty or Difficulty())).encode()).hexdigest()[:12]
    return Supply.cached(f"track-world-{VERSION}-{harder}", partial(_world_supply, difficulty))


def _world_supply(difficulty: Difficulty | None) -> Supply:
    return Supply(_world_tables(difficulty, ("answers", "stages", "validation", "test")), prices=PRICES)


def _world_tables(difficulty: Difficulty | None, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    sizes = {"answers": N_ANSWERS, "stages": N_STAGED, "validation": N_VALIDATION, "test": N_TEST}
    tables = {}
    for name in names:
        what = f"drawing pairs of the world: {name}"
        drawn = _columns(_world_pairs(SEEDS[name], N_A_CLIP[name], difficulty), sizes[name], what)
        drawn["response"] = drawn["place"]
        left_out = {"answers": ("response", "kind"), "stages": ("place",)}.get(name, ())
        split = name if name in ("validation", "test") else "train"
        labelled = {field: values for field, values in drawn.items() if field not in left_out}
        tables[name] = labelled | {"split": np.full(sizes[name], split)}
    return tables


def _world_pairs(seed: int, n_a_clip: int, difficulty: Difficulty | None) -> Iterator[dict[str, Any]]:
    """Pairs without end, so many of each clip; a clip is a group."""
    for clip_seed in count(seed):
        clip = world.draw(clip_seed, N_FRAMES, difficulty=difficulty)
        rng = np.random.default_rng([clip_seed, 1])
        for a, b in _frames_of_pairs(rng, clip.visible > SEEN, n_a_clip).tolist():
            cut_out = _pair_by_chance(rng, clip.frames[a], clip.boxes[a], clip.frames[b], clip.boxes[b])
            yield cut_out | {"kind": clip.kind, "group": clip_seed}


def _frames_of_pairs(rng: np.random.Generator, fits: Bool[NDArray, " frames"], n: int) -> Int[NDArray, "pairs 2"]:
    """The frames of pairs, of different first ones that lie evenly apart; a second comes soon after its first."""
    seconds = {a: a + 1 + np.flatnonzero(fits[a + 1 : a + 1 + FARTHEST]) for a in np.flatnonzero(fits).tolist()}
    firsts = [a for a, found in seconds.items() if len(found)]
    if not firsts:
        return np.zeros((0, 2), dtype=np.int64)
    some = np.unique(np.linspace(0, len(firsts) - 1, n).round().astype(int))
    return np.array([(firsts[k], rng.choice(seconds[firsts[k]])) for k in some.tolist()])


def _columns(pairs: Iterator[dict[str, Any]], n: int, what: str) -> dict[str, NDArray]:
    """The first n pairs as columns; how far it is is shown on stderr."""
    columns: dict[str, NDArray] = {}
    for k in track(range(n), what, console=Console(stderr=True), transient=True):
        one = {name: np.asarray(value) for name, value in next(pairs).items()}
        columns = columns or {name: np.empty((n, *value.shape), value.dtype) for name, value in one.items()}
        for name, value in one.items():
            columns[name][k] = value
    return columns


def real_supply(paths: Sequence[Path]) -> Supply:
    """Pairs of annotated sequences, in the layouts of OTB, GOT-10k and VOT (see `folders`); nobody says their kind.

    A tenth of the sequences, always the same, is for validation, a fifth for the test; a sequence is a group. Of fewer
    than ten all are for the test, and the world's pairs are learnt from. Cut once, then kept in the user's cache; what
    is kept is found again by the pictures' paths, sizes and times, the boxes, and `VERSION`. Raises InputError.
    """
    sequences = sorted(sequences_of(paths), key=lambda sequence: sequence.name)
    check_scored(sequences)
    n_each = max(1, min(N_A_SEQUENCE, MOST_PAIRS // len(sequences)))
    cuts = [_cuts(sequence, k, n_each) for k, sequence in enumerate(sequences)]
    stated = [_stated(sequence, places) for sequence, places in zip(sequences, cuts, strict=True)]
    named = hashlib.sha256(repr(stated).encode()).hexdigest()[:12]
    return Supply.cached(f"track-real-{VERSION}-{named}", lambda: _real_supply(sequences, cuts))


def _stated(sequence: folders.Sequence, cuts: Int[NDArray, "pairs 2"]) -> list[tuple[Any, ...]]:
    """What the pairs of a sequence depend on."""
    frames = [0, *np.unique(cuts).tolist()]
    files = [(sequence.frames[k].absolute(), sequence.frames[k].stat()) for k in frames]
    kept = [(str(path), held.st_size, held.st_mtime_ns) for path, held in files]
    boxes = sequence.boxes[frames].tolist()
    return [(*file, *box) for file, box in zip(kept, boxes, strict=True)] + [tuple(places) for places in cuts.tolist()]


def _cuts(sequence: folders.Sequence, seed: int, n: int) -> Int[NDArray, "pairs 2"]:
    """The frames of a sequence's pairs; in each, half of the box at least is in the picture."""
    height, width = picture_size(sequence.frames[0])
    corner, end = sequence.boxes[:, :2], sequence.boxes[:, :2] + sequence.boxes[:, 2:]
    inside = (np.minimum(end, (width, height)) - np.maximum(corner, 0)).clip(0).prod(1)
    seen = np.nan_to_num(inside / sequence.boxes[:, 2:].prod(1)) > SEEN
    found = _frames_of_pairs(np.random.default_rng([seed, 2]), seen, n)
    if not len(found):
        raise InputError(
            f"{sequence.name}: no pair can be cut out of it",
            given=f"{seen.sum():,} of {len(seen):,} frames show half of the object or more",
            expected=f"two such frames at most {FARTHEST} apart",
            remedy="leave it out",
        )
    return found


def _real_supply(sequences: Sequence[folders.Sequence], cuts: Sequence[Int[NDArray, "pairs 2"]]) -> Supply:
    pairs = (p for k, (s, places) in enumerate(zip(sequences, cuts, strict=True)) for p in _real_pairs(s, k, places))
    drawn = _columns(pairs, sum(map(len, cuts)), f"cutting pairs out of {len(sequences)} sequences")
    drawn["response"] = drawn["place"]
    if len(sequences) < FEWEST:
        learnt = _world_tables(None, ("answers", "stages", "validation"))
        return Supply(learnt | {"test": drawn | {"split": np.full(len(drawn["group"]), "test")}}, prices=PRICES)
    prices = {field: price for field, price in PRICES.items() if field in drawn}
    return Supply({"sequences": drawn | {"split": _splits(len(sequences))[drawn["group"]]}}, prices=prices)


def _real_pairs(sequence: folders.Sequence, group: int, places: Int[NDArray, "pairs 2"]) -> Iterator[dict[str, Any]]:
    """The pairs of a sequence; of its pictures, the first one and those that are needed are read."""
    rng = np.random.default_rng([group, 3])
    needed = np.unique([0, *places.ravel()]).tolist()
    shown = PictureFrames(sequence.name, tuple(sequence.frames[k] for k in needed))
    kept: dict[int, Frame] = {}
    read = zip(needed, shown, strict=True)
    for a, b in places.tolist():
        while b not in kept:
            k, frame = next(read)
            kept[k] = frame.picture
        yield _pair_by_chance(rng, kept[a], sequence.boxes[a], kept[b], sequence.boxes[b]) | {"group": group}
        kept = {k: picture for k, picture in kept.items() if k > a}


def _splits(n: int) -> NDArray:
    order = np.random.default_rng(n).permutation(n)
    n_train, n_validation = round(SHARES[0] * n), max(1, round(SHARES[1] * n))
    return np.where(order < n_train, "train", np.where(order < n_train + n_validation, "validation", "test"))
