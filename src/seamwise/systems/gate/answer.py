"""The gate's answer, how it is trained, and how it is scored as a gate: it names somebody enrolled, or a stranger.

Written: the likeness of a picture to each person of the training set, [batch, people]. Two pictures are compared by
the cosine of theirs (Kumar et al. 2009, simile classifiers; differs: the similes are learnt with the features).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize, one_hot

from seamwise.metrics import Target
from seamwise.shapes import Bool, Float, Int, NDArray, Tensor

SHARPNESS, MARGIN = 20.0, 0.1


def likeness_loss(likeness: Float[Tensor, "batch people"], person: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Cross-entropy of the cosines, the right one handicapped by a margin; 0 for whom the network cannot know.

    Source: Wang et al. 2018, CosFace (arXiv 1801.09414). Differs: a smaller margin and sharpness.
    """
    n_people = likeness.shape[1]
    known = person < n_people
    right = person.where(known, 0)
    scores = SHARPNESS * (likeness - MARGIN * one_hot(right, n_people))
    return cross_entropy(scores, right, reduction="none") * known


def known_person(n_people: int) -> Callable[[Tensor], Tensor]:
    """The gold form: all likeness to the right person, none where nobody of the training set is shown."""

    def gold(person: Int[Tensor, " n"]) -> Float[Tensor, "n people"]:
        known = person < n_people
        return one_hot(person.where(known, 0), n_people).float() * known[:, None]

    return gold


@final
@dataclass(frozen=True)
class GateError:
    """The share of answers of a gate that are wrong, half of the probes strangers; one number a picture.

    Each of `n_rounds` times `n_enrolled` people are drawn and one picture of each is enrolled; every other picture is a
    probe: of somebody enrolled, to be let in by the right name, or of a stranger, to be turned away. A picture's error
    is the mean of its error as enrolled and its error as stranger (where it was never one of them, the others of that
    kind count for it, so that half of all are strangers). threshold: None sets it on the very pictures that
    are scored, so that `far` of the strangers among them are let in; `calibrate` sets it on others.
    """

    n_enrolled: int
    far: float = 0.05
    n_rounds: int = 20
    threshold: float | None = None

    def __call__(self, written: Float[Tensor, "n people"], person: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        rounds = self._rounds(written, person)
        threshold = self._threshold(rounds) if self.threshold is None else self.threshold
        n = len(person)
        wrong, seen = np.zeros((2, n)), np.zeros((2, n))
        for best, right, own, probe in rounds:
            failed = np.where(own, ~right | (best <= threshold), best > threshold)
            for kind, chosen in enumerate((probe & own, probe & ~own)):
                wrong[kind] += failed & chosen
                seen[kind] += chosen
        rate = np.divide(wrong, seen, out=np.zeros((2, n)), where=seen > 0)
        # each kind of probe counts half, also where some pictures were never of one kind
        weight = n / np.maximum((seen > 0).sum(1, keepdims=True), 1) / max(int((seen > 0).any(1).sum()), 1)
        return torch.from_numpy((rate * weight).sum(0)).float()

    def calibrate(self, written: Float[Tensor, "n people"], person: Int[Tensor, " n"]) -> "GateError":
        """The same with the threshold set on these pictures, of people who are in no other split."""
        return GateError(self.n_enrolled, self.far, self.n_rounds, self._threshold(self._rounds(written, person)))

    def _threshold(self, rounds: "list[Round]") -> float:
        strangers = np.concatenate([best[probe & ~own] for best, _, own, probe in rounds])
        return float(np.quantile(strangers, 1 - self.far)) if len(strangers) else 1.0

    def _rounds(self, written: Tensor, person: Tensor) -> "list[Round]":
        unit = normalize(written.float(), dim=1)
        similar = np.asarray((unit @ unit.T).cpu())
        who, rng = person.cpu().numpy(), np.random.default_rng(20)
        names = np.unique(who)
        n_enrolled = min(self.n_enrolled, len(names) // 2)
        rounds = []
        order = rng.permutation(names)
        for _ in range(self.n_rounds):
            if len(order) < n_enrolled:  # everybody's turn comes before anybody's second
                order = np.concatenate([order, rng.permutation(np.setdiff1d(names, order))])
            enrolled, order = np.sort(order[:n_enrolled]), order[n_enrolled:]
            pictures = np.array([rng.choice(np.flatnonzero(who == name)) for name in enrolled], dtype=int)
            rounds.append(_round(similar[:, pictures], who, enrolled, pictures))
        return rounds


Round = tuple[Float[NDArray, " n"], Bool[NDArray, " n"], Bool[NDArray, " n"], Bool[NDArray, " n"]]
"""Of every picture: its best score, whether that is with its own person, whether that person is enrolled, a probe."""


def _round(
    scores: Float[NDArray, "n enrolled"],
    who: Int[NDArray, " n"],
    enrolled: Int[NDArray, " enrolled"],
    pictures: Int[NDArray, " enrolled"],
) -> Round:
    best = scores.argmax(1)
    probe = np.ones(len(who), dtype=bool)
    probe[pictures] = False
    return scores.max(1), enrolled[best] == who, np.isin(who, enrolled), probe


def person_target(n_people: int, n_enrolled: int) -> Target:
    """Who it is: labels below n_people are people of the training set."""
    error = GateError(n_enrolled)
    return Target("person", likeness_loss, error, known_person(n_people), "share wrong", error.calibrate)
