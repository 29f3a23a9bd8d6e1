"""Network dissection: which of the known concepts each unit of a layer finds, and how well.

A unit's map is cut at a threshold that its values exceed at .5 % of all positions, after it was enlarged to the size
of the picture; the intersection over union of what remains with the masks of every concept says what the unit finds.
Beside it stands chance: the same with the masks of other pictures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from seamwise.errors import InputError
from seamwise.look.axis import Axis
from seamwise.shapes import Bool, Float, Int, NDArray, Tensor, UInt8

TOP_SHARE, DETECTS = 0.005, 0.04
MAX_POSITIONS = 1_000_000  # of one unit's values, by which its threshold is found: exactly where there are no more
N_CHANCE = 19
MAX_NUMBERS = 1_000_000  # enlarged at a time

Maps = Callable[[], Iterator[tuple[Float[Tensor, "batch units height width"], Int[NDArray, " batch"]]]]
"""Called once for each of two passes: a layer's maps batch by batch, and the rows of `masks` they belong to."""
Way = tuple[float, float]
"""(where the receptive field of position 0 has its middle, how far apart the middles are), in px, along one axis."""


@final
@dataclass(frozen=True)
class Dissection:
    """What the units of one layer find.

    iou: of each unit with each concept; chance: with the best concept, by masks of other pictures, in each of 19 tries
    threshold: above which a unit counts as active; never where it has no finite values
    sampled: the share of positions by which thresholds were found; 1 where exact
    families: of each concept; coverage: the share of all pixels that have the concept
    """

    iou: Float[NDArray, "units concepts"]
    chance: Float[NDArray, "tries units"]
    threshold: Float[NDArray, " units"]
    sampled: float
    concepts: tuple[str, ...]
    families: tuple[str, ...]
    coverage: Float[NDArray, " concepts"]

    @property
    def best(self) -> Int[NDArray, " units"]:
        """The number of the concept that each unit finds best."""
        return np.asarray(self.iou.argmax(1))

    @property
    def detects(self) -> Bool[NDArray, " units"]:
        """Whether the best agreement exceeds .04, and that with the masks of other pictures in every try.

        At most 5 % of units that find nothing exceed the latter.
        """
        return np.asarray(self.iou.max(1) > self.chance.max(0, initial=DETECTS))

    def by_family(self) -> dict[str, float]:
        """The share of all units that detect a concept of each family."""
        of = np.array(self.families)[self.best]
        return {family: float((self.detects & (of == family)).mean()) for family in dict.fromkeys(self.families)}

    def reach(self, share: float = 0.1) -> dict[str, float]:
        """The agreement that this share of the units exceeds with a concept of each family, be it above .04 or not.

        Widespread concepts (edges, colours) seldom come to .04, since a unit is active at .5 % of positions; this shows
        how they come and go from layer to layer.
        """
        of = np.array(self.families)
        best = {family: self.iou[:, of == family].max(1) for family in dict.fromkeys(self.families)}
        return {family: float(np.quantile(found, 1 - share)) for family, found in best.items()}

    def at_chance(self) -> float:
        """The share of units that exceed .04 with the masks of other pictures; nan where there are none."""
        return float((self.chance > DETECTS).mean()) if self.chance.size else float("nan")

    def found(self) -> tuple[str, ...]:
        """The concepts that some unit detects, those that most units detect first."""
        counts = np.bincount(self.best[self.detects], minlength=len(self.concepts))
        return tuple(self.concepts[k] for k in np.argsort(-counts, kind="stable") if counts[k])


def dissect(
    maps: Maps,
    masks: Mapping[str, UInt8[NDArray, "n height_px width_px"]],
    concepts: Mapping[str, Sequence[str]],
    down: Way,
    across: Way,
    *,
    seed: int = 0,
) -> Dissection:
    """Compare the units of a layer with concepts, in two passes over the pictures.

    masks: by family, for every pixel 1 + the number of its concept, or 0 (as in `world.Scenes`). down, across: where
    the map's rows and columns lie in the picture, see `way`. Memory depends on the batch and on the numbers of units
    and concepts, not on how many pictures there are.
    Raises InputError where masks and concepts do not belong together, or where there are no maps.
    Source: Bau et al. 2017, Network dissection. Differs: a threshold is found by at most a million positions of each
    unit, so that the share above it is .5 % with a standard error of .007 %; a detector has to exceed chance too.
    """
    names = _checked(masks, concepts)
    masks = {family: masks[family] for family in concepts}
    threshold, sampled = _thresholds(maps, len(next(iter(masks.values()))), seed)
    counts = _Counts(len(threshold), masks, [len(known) for known in concepts.values()], seed)
    for values, rows in maps():
        counts.add(values, rows, threshold, down, across)
    scores = counts.scores()
    families = tuple(family for family in concepts for _ in concepts[family])
    return Dissection(
        iou=scores[0],
        chance=scores[1:].max(2),
        threshold=threshold.double().numpy(),
        sampled=sampled,
        concepts=names,
        families=families,
        coverage=counts.coverage(),
    )


def way(axis: Axis, n_px: int) -> Way:
    """Where the positions of a map lie, by the receptive fields along one side of n_px.

    By a field that lies wholly in the picture, where there is one; else the map has its middle in the picture's middle,
    as with padding that is the same on both sides.
    """
    n, jump = len(axis.first), axis.step_px
    whole = np.flatnonzero((axis.first > 0) & (axis.last < n_px - 1))
    if not len(whole):
        return (n_px - 1) / 2 - jump * (n - 1) / 2, jump
    at = int(whole[len(whole) // 2])
    return (int(axis.first[at]) + int(axis.last[at])) / 2 - jump * at, jump


def enlarge(
    maps: Float[Tensor, "maps height width"], n_down: int, n_across: int, down: Way, across: Way
) -> Float[Tensor, "maps height_px width_px"]:
    """Bilinear between the positions of a map, where they lie in the picture; beyond the outermost as those."""
    over, along = _between(maps.shape[1], n_down, *down), _between(maps.shape[2], n_across, *across)
    return over.to(maps.dtype) @ maps @ along.to(maps.dtype).T


def _between(n: int, n_px: int, start_px: float, jump_px: float) -> Float[Tensor, "n_px n"]:
    """The weight of each of n positions in each pixel."""
    place = ((torch.arange(n_px, dtype=torch.float64) - start_px) / jump_px).clamp(0, n - 1)
    return (1 - (place[:, None] - torch.arange(n)).abs()).clamp_min(0)


def _checked(masks: Mapping[str, NDArray], concepts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The names of all concepts. Raises InputError."""
    if not concepts or set(masks) != set(concepts):
        given = f"masks of {', '.join(masks) or 'none'}; concepts of {', '.join(concepts) or 'none'}"
        raise InputError("masks and concepts are not of the same families", given=given, expected="the same families")
    if len({labels.shape for labels in masks.values()}) > 1:
        sizes = ", ".join(f"{family} {labels.shape}" for family, labels in masks.items())
        raise InputError("masks of different numbers or sizes", given=sizes, expected="one shape for all families")
    for family, labels in masks.items():
        if labels.max(initial=0) > len(concepts[family]):
            given, expected = f"label {labels.max()}", f"0 to {len(concepts[family])}, the number of concepts"
            raise InputError(f"a mask of family {family!r} has a label without a name", given=given, expected=expected)
    return tuple(name for family in concepts for name in concepts[family])


def _thresholds(maps: Maps, n: int, seed: int) -> tuple[Float[Tensor, " units"], float]:
    """The value that each unit exceeds at .5 % of the positions, and the share of positions that were looked at.

    The largest values are kept, no more than .5 % of a million.
    """
    generator = torch.Generator().manual_seed(seed)
    kept, seen, share = None, 0, 1.0
    for values, _ in maps():
        flat = values.detach().float().cpu().transpose(0, 1).flatten(1)
        if kept is None:
            n_positions = n * values.shape[2] * values.shape[3]
            share = min(1.0, MAX_POSITIONS / max(1, n_positions))
            n_top = int(TOP_SHARE * min(MAX_POSITIONS, n_positions)) + 1
            kept = flat[:, :0]
        if share < 1:
            flat = flat[:, torch.rand(flat.shape[1], generator=generator) < share]
        seen += flat.shape[1]
        both = torch.cat([kept, flat], 1)
        kept = both.topk(min(n_top, both.shape[1])).values
    if kept is None or not seen:
        raise InputError("no maps to dissect", remedy="give at least one picture")
    return kept[:, min(int(TOP_SHARE * seen), kept.shape[1] - 1)], share


class _Counts:
    """Pixels in which units are active, in which concepts are, and in which both; for chance too.

    Labels of all families lie behind one another, with a place for none in each: so one count tells all families.
    """

    def __init__(
        self, n_units: int, masks: Mapping[str, UInt8[NDArray, "n height_px width_px"]], sizes: Sequence[int], seed: int
    ) -> None:
        self._labels = list(masks.values())
        self._starts = np.cumsum([0, *(size + 1 for size in sizes)])
        self._named = np.setdiff1d(np.arange(self._starts[-1]), self._starts[:-1])
        n, self._height, self._width = self._labels[0].shape
        self._order = np.random.default_rng(seed).permutation(n)
        self._place = np.argsort(self._order)
        self._shifts = [0, *_shifts(n)]
        self._both = np.zeros((len(self._shifts), n_units, self._starts[-1]), np.int64)
        self._active = np.zeros(n_units, np.int64)
        self._concept = np.zeros((len(self._shifts), self._starts[-1]), np.int64)
        self._n_px = 0

    def add(
        self,
        values: Float[Tensor, "batch units height width"],
        rows: Int[NDArray, " batch"],
        threshold: Float[Tensor, " units"],
        down: Way,
        across: Way,
    ) -> None:
        """A batch of maps and the rows of the masks they belong to."""
        for maps, row in zip(values.detach().float().cpu(), rows.tolist(), strict=True):
            labels = [self._picture(int(self._place[row] + shift) % len(self._order)) for shift in self._shifts]
            for k, picture in enumerate(labels):
                self._concept[k] += np.bincount(picture.ravel(), minlength=self._starts[-1])
            self._n_px += self._height * self._width
            # what lies between values is never larger than they: only units that exceed theirs somewhere count
            units = torch.nonzero(maps.flatten(1).max(1).values > threshold)[:, 0]
            for some in torch.split(units, max(1, MAX_NUMBERS // (self._height * self._width))):
                large = enlarge(maps[some], self._height, self._width, down, across)
                unit, pixel = torch.nonzero((large > threshold[some, None, None]).flatten(1), as_tuple=True)
                self._count(some.numpy(), unit.numpy(), pixel.numpy(), labels)

    def _picture(self, place: int) -> Int[NDArray, "families pixels"]:
        """The labels of the picture at a place in the order."""
        row = int(self._order[place])
        return np.stack([m[row].ravel() + start for m, start in zip(self._labels, self._starts[:-1], strict=True)])

    def _count(
        self,
        units: Int[NDArray, " units"],
        unit: Int[NDArray, " active"],
        pixel: Int[NDArray, " active"],
        labels: Sequence[Int[NDArray, "families pixels"]],
    ) -> None:
        """Active pixels, each by which of these units and where."""
        self._active[units] += np.bincount(unit, minlength=len(units))
        n_labels = int(self._starts[-1])
        for k, picture in enumerate(labels):
            found = np.bincount((unit * n_labels + picture[:, pixel]).ravel(), minlength=len(units) * n_labels)
            self._both[k, units] += found.reshape(len(units), n_labels)

    def scores(self) -> Float[NDArray, "tries units concepts"]:
        """Intersection over union, first with the pictures' own masks, then with those of others."""
        both = self._both[..., self._named]
        union = self._active[:, None] + self._concept[:, None, self._named] - both
        return np.asarray(both / np.maximum(union, 1))

    def coverage(self) -> Float[NDArray, " concepts"]:
        """The share of pixels that have each concept."""
        return np.asarray(self._concept[0, self._named] / max(1, self._n_px))


def _shifts(n: int) -> list[int]:
    """How far away the other pictures stand in an order of n: never 0, so that none is its own other."""
    return sorted({1 + k * (n - 1) // N_CHANCE for k in range(N_CHANCE)}) if n > 1 else []
