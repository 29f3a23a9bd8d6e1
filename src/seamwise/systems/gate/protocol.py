"""How a gate is scored: who it recognises, whom it lets in and whom it keeps out, from embeddings alone.

Some photographs of a person are enrolled, drawn at random, again and again (a choice): the mean of their embeddings,
of unit length, is the person's template. All the others are probes. Everything is averaged over the choices.

Source: ISO/IEC 19795-1, identification and verification rates.
Differs: a probe without a face counts, as an attempt that is refused: it is in the denominator of every rate.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import final

import numpy as np
from scipy import stats

from seamwise.bootstrap import LEVEL, Interval
from seamwise.errors import InputError
from seamwise.shapes import Bool, Float, Int, NDArray

MIN_CHOICES = 20
FARS = (0.01, 0.001)
N_RESAMPLED = 10  # choices that the spread of the rates over people is taken from
_ROUNDING = 1 + 1e-9
_CELLS = 100_000  # numbers held at once while draws are computed


@dataclass(frozen=True)
class _Flat:
    def flat(self) -> dict[str, float]:
        """One level of keys: an interval as NAME, NAME_low and NAME_high; a count under its name."""
        flat: dict[str, float] = {}
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if isinstance(value, Interval):
                flat |= {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}
            else:
                flat[name] = value
        return flat


@final
@dataclass(frozen=True)
class GateScores(_Flat):
    """How well people are told apart who are all enrolled.

    n_probes: in each choice. n_unseen: photographs without a face, of anybody. n_refused: with a face, and not to be
    enrolled. n_left_out: people with too few photographs, or too few that may be enrolled.
    """

    identification: Interval
    tar_at_far_1pct: Interval
    tar_at_far_01pct: Interval
    eer: Interval
    n_probes: int
    n_people: int
    n_choices: int
    n_unseen: int
    n_refused: int
    n_left_out: int


@final
@dataclass(frozen=True)
class OpenScores(_Flat):
    """How well a gate does where half of those who come are strangers.

    error: the mean of an enrolled probe's error (it is refused, or mistaken for another) and of a stranger's (it is
    accepted). true_accept: neither refused nor mistaken. n_probes: of enrolled people and of strangers, in all choices.
    """

    error: Interval
    false_accept: Interval
    false_reject: Interval
    mistaken: Interval
    true_accept: Interval
    n_probes: int
    n_people: int
    n_choices: int
    n_unseen: int
    n_left_out: int


def scores(
    embedding: Float[NDArray, "n d"],
    person: Int[NDArray, " n"],
    n_enrol: int = 1,
    n_choices: int = 50,
    seed: int = 0,
    level: float = LEVEL,
    n_draws: int = 400,
    may_enrol: Bool[NDArray, " n"] | None = None,
) -> GateScores:
    """Score embeddings of unit length, NaN where no face was found, of people with more than `n_enrol` photographs.

    may_enrol: those that may be drawn to be enrolled; all with a face by default. The others are probes all the same,
    and people with fewer than `n_enrol` of them are left out.

    identification: the share of probes more like their own person's template than like any other (a tie is wrong).
    tar_at_far_...: the share of probes accepted as themselves, at the lowest threshold at which the share of
    impostor scores strictly above it is within the false accept rate. Between two impostor scores that share does
    not change, so nothing is interpolated; with fewer impostor scores than one in the rate, none is let in.
    eer: where false accepts and false rejects cross, on straight lines between thresholds.

    The intervals resample people. A comparison weighs as often as both its people were drawn, and none is made
    between two copies of one person (Owen & Eckles 2012). Identification weighs the probes alone: a gallery of those
    drawn would be smaller, and so easier. How far the other rates move with the people drawn is taken from the first
    `N_RESAMPLED` choices, which errs on the wide side.

    Raises InputError where fewer than 2 people can be scored.
    """
    sets = _Sets.of(embedding, person, n_enrol, n_choices, may_enrol)
    rng = np.random.default_rng(seed)
    draws = _draws(sets.n_people, n_draws, seed)
    plain = np.ones((1, sets.n_people))
    hits = np.zeros(sets.n_people)
    rates, moved = np.zeros((1, 3)), np.zeros((n_draws, 3))
    for k, enrolled in enumerate(sets.choices(rng, n_choices)):
        similarity, own = sets.compare(enrolled, np.arange(sets.n_people))
        hits += np.bincount(own, _own_wins(similarity, own), sets.n_people)
        comparisons = _Comparisons.of(similarity, own)
        rate = comparisons.rates(plain)
        rates += rate
        if k < N_RESAMPLED:
            moved += (comparisons.rates(draws) - rate) / N_RESAMPLED
    hits, rates, n_probes = hits / n_choices, rates / n_choices, sets.n_photos - n_enrol
    identification = _interval(hits.sum() / n_probes.sum(), (draws @ hits) / (draws @ n_probes), level, sets.n_people)
    drawn = (rates + moved).clip(0, 1)
    strict, stricter, eer = (_interval(rates[0, k], drawn[:, k], level, sets.n_people) for k in range(3))
    return GateScores(
        identification,
        strict,
        stricter,
        eer,
        n_probes=int(n_probes.sum()),
        n_people=sets.n_people,
        n_choices=n_choices,
        n_unseen=sets.n_unseen,
        n_refused=sets.n_refused,
        n_left_out=sets.n_left_out,
    )


def open_set(
    embedding: Float[NDArray, "n d"],
    person: Int[NDArray, " n"],
    threshold_of: Callable[[Float[NDArray, "m d"]], float],
    n_enrol: int = 1,
    n_choices: int = 50,
    seed: int = 0,
    level: float = LEVEL,
    n_draws: int = 400,
    may_enrol: Bool[NDArray, " n"] | None = None,
) -> OpenScores:
    """Score a gate that refuses strangers: in each choice half the people are enrolled, all others are strangers.

    A probe is accepted as the person of the most similar template where that similarity is above the threshold that
    `threshold_of` gives for the gallery's templates; a probe without a face is refused. Rates pool the choices.

    Raises InputError where fewer than 2 people can be scored, or the threshold is not a number.
    """
    sets = _Sets.of(embedding, person, n_enrol, n_choices, may_enrol)
    rng = np.random.default_rng(seed)
    counts = np.zeros((5, sets.n_people))  # enrolled probes; refused; mistaken; strangers' probes; accepted
    for enrolled in sets.choices(rng, n_choices):
        gallery = np.sort(rng.permutation(sets.n_people)[: sets.n_people // 2])
        similarity, own = sets.compare(enrolled, gallery)
        threshold = float(threshold_of(sets.templates(enrolled)[gallery]))
        if np.isnan(threshold):
            raise InputError("threshold_of gave no number", given=f"{threshold}", expected="a similarity, or inf")
        known, accepted = np.isin(own, gallery), similarity.max(1) > threshold
        column = np.searchsorted(gallery, own).clip(max=len(gallery) - 1)
        itself = known & accepted & _own_wins(similarity, column)
        for k, probes in enumerate((known, known & ~accepted, known & accepted & ~itself, ~known, ~known & accepted)):
            counts[k] += np.bincount(own[probes], minlength=sets.n_people)
    share = _open_shares(np.ones((1, sets.n_people)) @ counts.T)[0]
    drawn = _open_shares(_draws(sets.n_people, n_draws, seed) @ counts.T)
    spread = [_interval(share[k], drawn[:, k], level, sets.n_people) for k in range(5)]
    error, accept, reject, mistaken, true = spread
    return OpenScores(
        error,
        accept,
        reject,
        mistaken,
        true,
        n_probes=int(counts[0].sum() + counts[3].sum()),
        n_people=sets.n_people,
        n_choices=n_choices,
        n_unseen=sets.n_unseen,
        n_left_out=sets.n_left_out,
    )


def _open_shares(counts: Float[NDArray, "draws 5"]) -> Float[NDArray, "draws 5"]:
    n_known, refused, mistaken, n_strange, accepted = counts.T
    reject, other = refused / np.maximum(n_known, 1), mistaken / np.maximum(n_known, 1)
    accept = accepted / np.maximum(n_strange, 1)
    true = np.maximum(1 - reject - other, 0)
    return np.stack([(reject + other + accept) / 2, accept, reject, other, true], axis=1)


def far_interval(n_accepted: int, n: int, level: float = LEVEL) -> Interval:
    """The false accept rate that `n_accepted` of `n` independent attempts speak for (Clopper & Pearson 1934).

    It holds the truth at least as often as `level` says, also where none was accepted.
    """
    if not 0 <= n_accepted <= n or n < 1:
        raise InputError("no share", given=f"{n_accepted} of {n}", expected="0 to n accepted, of at least 1 attempt")
    found = stats.binomtest(n_accepted, n).proportion_ci(level, method="exact")
    return Interval(n_accepted / n, float(found.low), float(found.high))


@final
@dataclass(frozen=True)
class _Sets:
    """Those that can be scored: their embeddings (0 where no face was found), whose they are, from 0."""

    embedding: Float[NDArray, "n d"]
    person: Int[NDArray, " n"]
    seen: Bool[NDArray, " n"]
    usable: Bool[NDArray, " n"]  # to be enrolled
    n_enrol: int
    n_unseen: int
    n_refused: int
    n_left_out: int

    @classmethod
    def of(
        cls,
        embedding: Float[NDArray, "n d"],
        person: Int[NDArray, " n"],
        n_enrol: int,
        n_choices: int,
        may_enrol: Bool[NDArray, " n"] | None = None,
    ) -> "_Sets":
        _check(embedding, n_enrol, n_choices)
        seen = ~np.isnan(embedding).all(1)
        usable = seen if may_enrol is None else seen & may_enrol
        names, index = np.unique(person, return_inverse=True)
        n_photos, n_usable = np.bincount(index, minlength=len(names)), np.bincount(index, usable, len(names))
        enough = (n_photos > n_enrol) & (n_usable >= n_enrol)
        if enough.sum() < 2:
            given = f"{enough.sum()} of {len(names)} people with more than {n_enrol} photos, {n_enrol} of them usable"
            remedy = "give more photos a person, or enrol fewer of them"
            raise InputError("too few people to score a gate", given=given, expected="at least 2", remedy=remedy)
        kept = enough[index]
        return cls(
            np.where(seen[:, None], embedding, 0).astype(np.float64)[kept],
            np.unique(index[kept], return_inverse=True)[1],
            seen[kept],
            usable[kept],
            n_enrol,
            n_unseen=int((~seen).sum()),
            n_refused=int((seen & ~usable).sum()),
            n_left_out=int((~enough).sum()),
        )

    @property
    def n_people(self) -> int:
        return int(self.person.max()) + 1

    @property
    def n_photos(self) -> Int[NDArray, " people"]:
        return np.bincount(self.person)

    def choices(self, rng: np.random.Generator, n: int) -> Iterator[Int[NDArray, "people enrol"]]:
        """The rows to enrol: in each choice others, drawn at random among a person's usable ones."""
        starts = np.cumsum(self.n_photos) - self.n_photos
        for _ in range(n):
            key = np.where(self.usable, rng.random(len(self.usable)), 2)  # those that may not be come last
            yield np.lexsort((key, self.person))[starts[:, None] + np.arange(self.n_enrol)]

    def templates(self, enrolled: Int[NDArray, "people enrol"]) -> Float[NDArray, "people d"]:
        mean = self.embedding[enrolled].mean(1)
        return np.asarray(mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12))

    def compare(
        self, enrolled: Int[NDArray, "people enrol"], gallery: Int[NDArray, " m"]
    ) -> tuple[Float[NDArray, "probes m"], Int[NDArray, " probes"]]:
        """Every probe against the templates of a gallery, -inf without a face; and whose probe it is.

        The photographs of people who are not in the gallery are all probes.
        """
        probe = np.ones(len(self.person), dtype=bool)
        probe[enrolled[gallery]] = False
        similarity = self.embedding[probe] @ self.templates(enrolled)[gallery].T
        similarity[~self.seen[probe]] = -np.inf
        return similarity, self.person[probe]


def _check(embedding: Float[NDArray, "n d"], n_enrol: int, n_choices: int) -> None:
    if n_choices < MIN_CHOICES:
        raise InputError("too few choices of enrolled photos", given=f"{n_choices}", expected=f"at least {MIN_CHOICES}")
    if n_enrol < 1:
        raise InputError("no photo to enrol", given=f"{n_enrol} a person", expected="at least 1")
    length = np.linalg.norm(embedding[~np.isnan(embedding).all(1)], axis=1)
    wrong = length[~(np.abs(length - 1) < 0.01)]
    if len(wrong):
        given, expected = f"{len(wrong)} of another length, such as {wrong[0]:.3g}", "length 1, or NaN throughout"
        raise InputError("embeddings are not of unit length", given=given, expected=expected, remedy="normalise them")


def _own_wins(similarity: Float[NDArray, "probes m"], own: Int[NDArray, " probes"]) -> Bool[NDArray, " probes"]:
    rows = np.arange(len(own))
    others = similarity.copy()
    others[rows, own] = -np.inf
    return np.asarray(similarity[rows, own] > others.max(1))


@final
@dataclass(frozen=True)
class _Comparisons:
    """One choice's comparisons with a face, the most similar first: whose probe against whose template.

    last: true where the next is less similar, so that a threshold can lie behind. n_probes: with and without a face.
    """

    probe: Int[NDArray, " m"]
    template: Int[NDArray, " m"]
    last: Bool[NDArray, " m"]
    n_probes: Int[NDArray, " people"]

    @classmethod
    def of(cls, similarity: Float[NDArray, "probes people"], own: Int[NDArray, " probes"]) -> "_Comparisons":
        n_probes = np.bincount(own, minlength=similarity.shape[1])
        seen = similarity[:, 0] > -np.inf
        similarity, own = similarity[seen], own[seen]
        order = np.argsort(-similarity, axis=None, kind="stable")
        score = similarity.ravel()[order]
        probe, template = own[order // similarity.shape[1]], order % similarity.shape[1]
        return cls(probe, template, np.append(score[1:] < score[:-1], True)[: len(score)], n_probes)

    def rates(self, weights: Float[NDArray, "draws people"]) -> Float[NDArray, "draws 3"]:
        """The true accept rates at `FARS`, and the equal error rate, with people weighed so.

        They depend on the most similar impostors only: it looks at few, and at twice as many until these suffice.
        """
        rates, todo = np.zeros((len(weights), 3)), np.arange(len(weights))
        depth = max(500, len(self.probe) // 64)
        while len(todo):
            depth = min(2 * depth, len(self.probe))
            step = max(1, _CELLS // max(depth, 1))
            parts = [self._rates(weights[todo[k : k + step]], depth) for k in range(0, len(todo), step)]
            found, enough = (np.concatenate(part) for part in zip(*parts, strict=True))
            rates[todo] = found
            todo = todo[~enough]
        return rates

    def _rates(
        self, weights: Float[NDArray, "draws people"], depth: int
    ) -> tuple[Float[NDArray, "draws 3"], Bool[NDArray, " draws"]]:
        accept, reject = self._curve(weights, depth)
        found = [_at_far(accept, reject, far) for far in FARS] + [_crossing(accept, reject)]
        enough = (accept[:, -1] > max(FARS) * _ROUNDING) & (accept[:, -1] >= reject[:, -1])  # all is, always
        return np.stack(found, axis=1), enough

    def _curve(
        self, weights: Float[NDArray, "draws people"], depth: int
    ) -> tuple[Float[NDArray, "draws thresholds"], Float[NDArray, "draws thresholds"]]:
        """False accept and false reject rate from the highest threshold down; (0, 1) first, (1, 0) at the whole end."""
        probe, template, last = self.probe[:depth], self.template[:depth], self.last[:depth]
        own, drawn = probe == template, weights.take(probe, axis=1)
        n_own = weights @ self.n_probes
        n_other = n_own * weights.sum(1) - weights**2 @ self.n_probes
        accept = np.cumsum(np.where(own, 0, drawn * weights.take(template, axis=1)), axis=1)[:, last] / n_other[:, None]
        reject = 1 - np.cumsum(np.where(own, drawn, 0), axis=1)[:, last] / n_own[:, None]
        zero, one = np.zeros((len(weights), 1)), np.ones((len(weights), 1))
        whole = depth == len(self.probe)
        ends = (one, zero) if whole else (zero[:, :0], zero[:, :0])
        return np.hstack([zero, accept, ends[0]]), np.hstack([one, reject, ends[1]])


def _at_far(
    accept: Float[NDArray, "draws thresholds"], reject: Float[NDArray, "draws thresholds"], far: float
) -> Float[NDArray, " draws"]:
    """The true accept rate at the lowest threshold that keeps to a false accept rate."""
    k = (accept <= far * _ROUNDING).sum(1) - 1
    return np.asarray(1 - reject[np.arange(len(k)), k])


def _crossing(
    accept: Float[NDArray, "draws thresholds"], reject: Float[NDArray, "draws thresholds"]
) -> Float[NDArray, " draws"]:
    rows, apart = np.arange(len(accept)), accept - reject  # from -1 upwards
    k = np.maximum((apart >= 0).argmax(1), 1)
    before, behind = apart[rows, k - 1], apart[rows, k]
    along = -before / np.where(behind > before, behind - before, 1)
    return np.asarray(accept[rows, k - 1] + along * (accept[rows, k] - accept[rows, k - 1]))


def _draws(n_people: int, n_draws: int, seed: int) -> Float[NDArray, "draws people"]:
    """How often each person is drawn; everybody once where a draw has but one person, whom nobody is compared with."""
    rng = np.random.default_rng((seed, 1))
    drawn = rng.multinomial(n_people, np.full(n_people, 1 / n_people), n_draws).astype(np.float64)
    drawn[(drawn > 0).sum(1) < 2] = 1
    return drawn


def _interval(mean: float, draws: Float[NDArray, " draws"], level: float, n_people: int) -> Interval:
    """By resampling; where all people agree, as if each were one attempt, since resampling them shows no spread."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    if low == high and mean in (0, 1):
        return far_interval(n_people * round(mean), n_people, level)
    return Interval(float(mean), min(float(low), float(mean)), max(float(high), float(mean)))
