"""The gate: who may be enrolled from which photographs, how alike is alike enough, and when it opens.

A template is the mean of the embeddings of a person's usable photographs, of unit length again. The threshold is the
similarity that a stranger who comes once exceeds with any of the templates with the probability that was stated. A
gate that cannot see is closed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8
from scipy import stats

from seamwise.bootstrap import LEVEL, Interval
from seamwise.errors import InputError
from seamwise.pictures import read_photo
from seamwise.shapes import Float, NDArray
from seamwise.systems.gate.photos import Person

Square = tuple[float, float, float]  # left, top, side, px of the photograph
Watch = Callable[[int, int], None]  # is told how many are done, of how many

MIN_FACE_PX = 48
MIN_SURE = 2.0  # log-odds that it is a face: at the gate a false one does no harm, enrolled it would
SECOND_FACE = 0.5  # of the largest face's side: from there on it is not clear who is meant
INNER = (slice(16, 56), slice(14, 50))  # of the aligned face: without hair, ears and what is behind
MIN_LIGHT = 40  # the median grey of the inner face
MIN_EVEN = 0.5  # the darker half's median grey by the brighter one's
MIN_SHARP = 0.03  # the Laplacian's variance by the grey's: clear faces of 48 px have over .08, a blur of 2 px under .03
_ROUNDING = 20 / 12  # the Laplacian's variance that comes of whole grey values alone
MIN_SEEN = (16, 8)  # a picture whose brightest greys are below, or that has a narrower range, shows nothing
TAIL_FROM = 0.95
MIN_SCORES = 100
UNKNOWN = 1.0  # by how many standard deviations people are more alike at a gate of which nothing is known
_SHAPES = (-0.5, 0.5)  # of a tail that can be fitted


@runtime_checkable
class AnyFace(Protocol):
    """A face that was found: where, how surely, the face itself upright and aligned, its embedding of unit length."""

    @property
    def box(self) -> Square: ...
    @property
    def score(self) -> float: ...
    @property
    def crop(self) -> UInt8[NDArray, "64 64"]: ...
    @property
    def embedding(self) -> Float[NDArray, " d"]: ...


@runtime_checkable
class AnySight(Protocol):
    """What finds faces, the largest first, and knows how alike different people are to it, pair by pair."""

    @property
    def impostor_scores(self) -> Float[NDArray, " pairs"]: ...
    @property
    def n_impostor_people(self) -> int: ...
    def look(self, photo: UInt8[NDArray, "height width 3"]) -> Sequence[AnyFace]: ...


@final
@dataclass(frozen=True)
class Tail:
    """How often two different people are more alike than some similarity.

    Up to the 95th percentile as often as it was seen; above, by a generalised Pareto distribution.

    Source: Pickands 1975, Statistical inference using extreme order statistics (Annals of Statistics 3).
    Differs: the shape is held within .5 of 0, where its estimate has a spread.
    """

    scores: Float[NDArray, " pairs"] = field(repr=False)
    start: float
    shape: float
    scale: float

    @classmethod
    def of(cls, scores: Float[NDArray, " pairs"]) -> "Tail":
        """Fit it. Raises InputError where there are too few scores, or all of the highest are the same."""
        scores = np.sort(scores.astype(np.float64))
        start = float(np.quantile(scores, TAIL_FROM)) if len(scores) else 0.0
        excess = scores[scores > start] - start
        if len(scores) < MIN_SCORES or not len(excess):
            given = f"{len(scores)} similarities of different people, {len(excess)} of them above {start:.3f}"
            expected = f"at least {MIN_SCORES}, and not all the same"
            raise InputError("no threshold can be found", given=given, expected=expected)
        with np.errstate(all="ignore"):
            shape, _, scale = stats.genpareto.fit(excess, floc=0)
            if not _SHAPES[0] <= shape <= _SHAPES[1]:
                shape, _, scale = stats.genpareto.fit(excess, f0=float(np.clip(shape, *_SHAPES)), floc=0)
        return cls(scores, start, float(shape), float(scale))

    def share_above(self, similarity: float) -> float:
        """The share of pairs of different people who are more alike."""
        if similarity < self.start:
            return float((self.scores > similarity).mean())
        return float((1 - TAIL_FROM) * stats.genpareto.sf(similarity - self.start, self.shape, scale=self.scale))

    def similarity(self, share: float) -> float:
        """The similarity that a share of the pairs of different people exceeds."""
        if share >= 1 - TAIL_FROM:
            return float(np.quantile(self.scores, 1 - share))
        return self.start + float(stats.genpareto.isf(share / (1 - TAIL_FROM), self.shape, scale=self.scale))

    def threshold(self, far: float, templates: Float[NDArray, "people d"]) -> float:
        """What the highest of a stranger's similarities with the templates exceeds with probability `far`.

        These are taken as independent: as they rise and fall together, fewer strangers are let in, not more. Where
        the templates of different people are more alike than different people are elsewhere, so are strangers who
        come there: the threshold is raised by as much.
        """
        return self.similarity(-np.expm1(np.log1p(-far) / len(templates))) + self.more_alike(templates)

    def more_alike(self, templates: Float[NDArray, "people d"]) -> float:
        """By how much more alike than usual people are here: the difference of the medians, never below 0.

        The fewer people, the more it is taken to be `UNKNOWN` instead. Two people tell nothing, since they may be
        one under two names.
        """
        n_people = len(templates)
        unknown = UNKNOWN * float(self.scores.std())
        if n_people < 3:
            return unknown
        pairs = (templates @ templates.T)[np.triu_indices(n_people, 1)]
        known = max(0.0, float(np.median(pairs) - np.median(self.scores)))
        return known + (unknown - known) / n_people


def check_far(far: float) -> None:
    """Raises InputError where a false-accept rate is none."""
    if not 0 < far < 1:
        remedy = "0.01 lets in one stranger of a hundred"
        raise InputError(f"no false-accept rate: {far:g}", expected="a number between 0 and 1", remedy=remedy)


def far_spread(far: float, n_people: int, level: float = LEVEL) -> Interval:
    """Where the rate of a threshold lies that lets in a share `far` of n strangers (Clopper & Pearson 1934).

    Each person counts as one stranger who comes, however many pairs were compared: pairs that share a person are not
    independent. A rate of less than one in n people is as good as unknown below, and is told so.
    """
    n_let_in = far * n_people
    low = stats.beta.ppf((1 - level) / 2, n_let_in, n_people - n_let_in + 1)
    high = stats.beta.ppf((1 + level) / 2, n_let_in + 1, n_people - n_let_in)
    return Interval(far, min(float(low), far), max(float(high), far))


def flaw(faces: Sequence[AnyFace]) -> str | None:
    """Why a photograph with these faces may not be enrolled, or None."""
    if not faces:
        return "no face"
    if faces[0].score < MIN_SURE:
        return f"no face that is sure to be one (log-odds {faces[0].score:.1f}; at least {MIN_SURE:g})"
    side = faces[0].box[2]
    if len(faces) > 1 and faces[1].box[2] >= SECOND_FACE * side:
        return f"two faces (of {side:.0f} and {faces[1].box[2]:.0f} px; the second at least half as large)"
    if side < MIN_FACE_PX:
        return f"too small (a face of {side:.0f} px; at least {MIN_FACE_PX})"
    return _crop_flaw(faces[0].crop)


def _crop_flaw(crop: UInt8[NDArray, "64 64"]) -> str | None:
    inner = crop[INNER].astype(np.float32)
    light, half = float(np.median(inner)), inner.shape[1] // 2
    if light < MIN_LIGHT:
        return f"too dark (median grey {light:.0f} of 255; at least {MIN_LIGHT})"
    sides = sorted((float(np.median(inner[:, :half])), float(np.median(inner[:, half:]))))
    if sides[0] < MIN_EVEN * sides[1]:
        return f"half in shadow (median grey {sides[0]:.0f} and {sides[1]:.0f})"
    edges = float(cv2.Laplacian(inner, cv2.CV_32F)[1:-1, 1:-1].var()) - _ROUNDING
    sharp = max(edges, 0.0) / max(float(inner.var()), 1.0)
    return f"too blurred (sharpness {sharp:.3f}; at least {MIN_SHARP})" if sharp < MIN_SHARP else None


@final
@dataclass(frozen=True)
class RefusedPhoto:
    """A photograph that was not enrolled."""

    path: Path
    reason: str

    @property
    def unreadable(self) -> bool:
        """Whether it could not even be read."""
        return self.reason.startswith("cannot be read")

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@final
@dataclass(frozen=True)
class Enrolled:
    """Somebody whom the gate knows."""

    name: str
    template: Float[NDArray, " d"] = field(repr=False)
    n_photos: int
    refused: tuple[RefusedPhoto, ...]


@final
@dataclass(frozen=True)
class Refused:
    """Somebody of whom no photograph could be enrolled."""

    name: str
    photos: tuple[RefusedPhoto, ...]

    @property
    def error(self) -> InputError:
        """What to tell of it."""
        if not self.photos:
            return InputError(
                f"{self.name}: not enrolled, no photographs",
                remedy=f"add a photograph of {self.name} alone, from the front, or remove the folder",
            )
        return InputError(
            f"{self.name}: not enrolled, none of {len(self.photos)} photographs will do",
            given="\n            ".join(map(str, self.photos)),
            expected=f"one clear face of at least {MIN_FACE_PX} px, evenly lit",
            remedy=f"add a photograph of {self.name} alone, from the front, or remove the folder",
        )


@final
@dataclass(frozen=True)
class Seen:
    """One face of a picture: where, whose (None: a stranger's), and how like the nearest template."""

    box: Square
    who: str | None
    score: float


@final
@dataclass(frozen=True)
class Decision:
    """Whether the gate opens, and why not. `who`, `score` and `box` are those of the nearest face, the largest."""

    open: bool
    reason: str  # empty where it opens
    who: str | None
    score: float | None
    threshold: float
    far: float
    far_low: float
    far_high: float
    box: Square | None
    faces: tuple[Seen, ...]


@final
@dataclass(frozen=True)
class Gate:
    """Who is enrolled, and from which similarity on somebody is let in."""

    sight: AnySight = field(repr=False)
    enrolled: tuple[Enrolled, ...]
    refused: tuple[Refused, ...]
    threshold: float
    far: Interval

    @classmethod
    def enrol(
        cls, people: Sequence[Person], sight: AnySight, far: float = 0.01, progress: Watch | None = None
    ) -> "Gate":
        """Enrol all of whom a photograph will do; the others are in `refused`.

        far: the probability that a stranger who comes once is let in. Raises InputError where nobody could be
        enrolled, or `far` is no rate.
        """
        check_far(far)
        n_all, n_done = sum(len(person.photos) for person in people), 0

        def looked() -> None:
            nonlocal n_done
            n_done += 1
            if progress is not None:
                progress(n_done, n_all)

        each = [_enrol(person, sight, looked) for person in people]
        enrolled = [one for one in each if isinstance(one, Enrolled)]
        refused = [one for one in each if isinstance(one, Refused)]
        if not enrolled:
            told = "\n".join(str(one.error) for one in refused)
            raise InputError(f"nobody could be enrolled\n{told}" if refused else "nobody to enrol")
        threshold = Tail.of(sight.impostor_scores).threshold(far, np.stack([one.template for one in enrolled]))
        return cls(sight, tuple(enrolled), tuple(refused), threshold, far_spread(far, sight.n_impostor_people))

    @property
    def alike(self) -> tuple[tuple[str, str, float], ...]:
        """Pairs of names whose templates are so alike that one would be let in as the other: one person, perhaps."""
        templates = self._templates
        score = templates @ templates.T
        pairs = np.argwhere(np.triu(score > self.threshold, 1)).tolist()
        return tuple((self.enrolled[a].name, self.enrolled[b].name, float(score[a, b])) for a, b in pairs)

    @property
    def blind(self) -> Decision:
        """Closed, since there is nothing to be seen."""
        return self._closed("cannot see", ())

    def decide(self, photo: UInt8[NDArray, "height width 3"]) -> Decision:
        """Whether the gate opens to what one picture shows. Raises InputError where it is no picture of 8 bits."""
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
            given, expected = f"{photo.dtype} {list(photo.shape)}", "uint8 [height, width, 3]: red, green, blue"
            raise InputError("a picture that the gate cannot look at", given=given, expected=expected)
        faces = tuple(self.sight.look(photo))
        if not faces:
            return self.blind if _shows_nothing(photo) else self._closed("no face", ())
        seen = tuple(self._compare(face) for face in faces)
        if not np.isfinite(seen[0].score):
            return self._closed("cannot see", seen)
        if seen[0].who is None:
            return self._closed("stranger", seen)
        return replace(self._closed("", seen), open=True)

    def watch(self, frames: Iterable[UInt8[NDArray, "height width 3"]], n_frames: int = 3) -> Iterator[Decision]:
        """Decide frame by frame; it opens once the same person was seen in `n_frames` frames one after the other.

        Raises InputError where that is no number of frames.
        """
        if n_frames < 1:
            raise InputError(f"{n_frames} frames before the gate opens", expected="1 or more")
        run, last = 0, None
        for frame in frames:
            decision = self.decide(frame)
            run = run + 1 if decision.open and decision.who == last else int(decision.open)
            last = decision.who if decision.open else None
            if decision.open and run < n_frames:
                decision = replace(decision, open=False, reason=f"not yet: seen in {run} of {n_frames} frames")
            yield decision

    @property
    def _templates(self) -> Float[NDArray, "people d"]:
        return np.stack([each.template for each in self.enrolled])

    def _compare(self, face: AnyFace) -> Seen:
        score = self._templates @ face.embedding
        best = int(score.argmax())
        accepted = score[best] > self.threshold  # not where it is not a number
        return Seen(_plain(face.box), self.enrolled[best].name if accepted else None, float(score[best]))

    def _closed(self, reason: str, faces: tuple[Seen, ...]) -> Decision:
        first = faces[0] if faces else None
        score = None if first is None or not np.isfinite(first.score) else first.score
        return Decision(
            open=False,
            reason=reason,
            who=None if first is None else first.who,
            score=score,
            threshold=self.threshold,
            far=self.far.mean,
            far_low=self.far.low,
            far_high=self.far.high,
            box=None if first is None else first.box,
            faces=faces,
        )


def template(embeddings: Float[NDArray, "photos d"]) -> Float[NDArray, " d"]:
    """The mean of embeddings, of unit length again."""
    mean = embeddings.astype(np.float64).mean(0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))


def _enrol(person: Person, sight: AnySight, looked: Callable[[], None]) -> Enrolled | Refused:
    found: list[Float[NDArray, " d"]] = []
    refused: list[RefusedPhoto] = []
    for path in person.photos:
        try:
            faces = sight.look(read_photo(path))
            reason = flaw(faces)
        except InputError as error:
            reason = f"cannot be read: {first_line(error).removeprefix(f'{path}: ')}"
        if reason is None:
            found.append(faces[0].embedding)
        else:
            refused.append(RefusedPhoto(path, reason))
        looked()
    if not found:
        return Refused(person.name, tuple(refused))
    return Enrolled(person.name, template(np.stack(found)), len(found), tuple(refused))


def first_line(error: InputError) -> str:
    """What is wrong, without what was given, expected and the remedy."""
    return str(error).partition("\n")[0]


def _plain(box: Square) -> Square:
    x, y, side = box
    return float(x), float(y), float(side)


def _shows_nothing(photo: UInt8[NDArray, "height width 3"]) -> bool:
    """Whether a picture is black or of one grey, as from a camera that is covered."""
    low, high = np.quantile(photo[::4, ::4].mean(2), [0.01, 0.99])
    return bool(high < MIN_SEEN[0] or high - low < MIN_SEEN[1])
