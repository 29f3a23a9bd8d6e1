from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise.errors import InputError
from seamwise.systems.gate import protocol
from seamwise.systems.gate.protocol import far_interval, open_set, scores


def simulate(n_people=12, n_photos=4, noise=0.5, d=8, missing=0.0, seed=0):
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(n_people, d)).repeat(n_photos, 0) + noise * rng.normal(size=(n_people * n_photos, d))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    embedding[rng.random(len(embedding)) < missing] = np.nan
    return embedding, np.arange(n_people).repeat(n_photos)


def rates_by_hand(similarity, own, drawn):
    """The same rates from lists of scores in which a comparison stands as often as its people were drawn."""
    genuine, impostor = [], []
    for row, who in zip(similarity, own, strict=True):
        for other, score in enumerate(row):
            if other == who:
                genuine += [score] * drawn[who]
            else:
                impostor += [score] * (drawn[who] * drawn[other])
    genuine, impostor = np.array(genuine), np.array(impostor)
    thresholds = sorted({s for s in similarity.flat if s > -np.inf}, reverse=True)
    tars = []
    for far in protocol.FARS:
        allowed = [t for t in [*thresholds, -1e9] if (impostor > t).sum() <= far * len(impostor) * (1 + 1e-9)]
        tars.append((genuine > min(allowed)).mean())
    points = [(0.0, 1.0)] + [((impostor >= t).mean(), (genuine < t).mean()) for t in thresholds] + [(1.0, 0.0)]
    for (a0, r0), (a1, r1) in pairwise(points):
        if a1 >= r1:
            share = (r0 - a0) / ((r0 - a0) + (a1 - r1))
            return [*tars, a0 + share * (a1 - a0)]
    raise AssertionError


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([0, 1, 2]), st.floats(0, 0.5))
def test_fast_rates_are_the_obvious_ones(seed, n_people, decimals, unseen):
    rng = np.random.default_rng(seed)
    own = np.arange(n_people).repeat(3)
    similarity = (rng.normal(size=(len(own), n_people)) + np.eye(n_people)[own]).round(decimals)
    similarity[rng.random(len(own)) < unseen] = -np.inf
    similarity[0] = 0.5
    draws = np.vstack([np.ones(n_people, dtype=int), rng.multinomial(n_people, np.full(n_people, 1 / n_people), 4)])
    draws = draws[(draws > 0).sum(1) > 1]
    fast = protocol._Comparisons.of(similarity, own).rates(draws.astype(float))
    assert fast == pytest.approx(np.array([rates_by_hand(similarity, own, drawn) for drawn in draws]))


def test_looking_at_the_top_alone_changes_nothing():
    embedding, person = simulate(60, 2, noise=0.6, d=16)
    similarity = embedding[1::2] @ embedding[::2].T
    comparisons = protocol._Comparisons.of(similarity, person[1::2])
    draws = protocol._draws(60, 20, 0)
    whole, _ = comparisons._rates(draws, len(comparisons.probe))
    assert len(comparisons.probe) > 2 * 1000
    assert comparisons.rates(draws) == pytest.approx(whole)


def scores_by_hand(embedding, person, n_enrol, n_choices, seed):
    """Choice by choice and probe by probe; the draws of photographs are the only thing in common."""
    sets = protocol._Sets.of(embedding, person, n_enrol, n_choices)
    found = []
    for enrolled in sets.choices(np.random.default_rng(seed), n_choices):
        templates = [np.mean([sets.embedding[k] for k in rows], axis=0) for rows in enrolled]
        templates = [t / np.linalg.norm(t) for t in templates]
        probes = [k for k in range(len(sets.person)) if k not in set(enrolled.flat)]
        rows = [[sets.embedding[k] @ t if sets.seen[k] else -np.inf for t in templates] for k in probes]
        own = sets.person[probes]
        hits = [sets.seen[k] and int(np.argmax(row)) == sets.person[k] for k, row in zip(probes, rows, strict=True)]
        found.append([np.mean(hits), *rates_by_hand(np.array(rows), own, np.ones(len(templates), dtype=int))])
    return np.mean(found, axis=0)


@pytest.mark.parametrize(("n_enrol", "missing"), [(1, 0), (2, 0.15)])
def test_scores_are_the_obvious_ones(n_enrol, missing):
    embedding, person = simulate(8, 5, noise=0.9, missing=missing, seed=3)
    told = scores(embedding, person, n_enrol, n_choices=20, seed=5)
    fast = [told.identification.mean, told.tar_at_far_1pct.mean, told.tar_at_far_01pct.mean, told.eer.mean]
    assert fast == pytest.approx(scores_by_hand(embedding, person, n_enrol, 20, 5))


def test_enrolled_are_seen_photographs_of_the_person_and_all_get_their_turn():
    embedding, person = simulate(6, 5, missing=0.2, seed=1)
    sets = protocol._Sets.of(embedding, person, 2, 20)
    drawn = list(sets.choices(np.random.default_rng(0), 200))
    assert all((sets.person[rows] == np.arange(sets.n_people)[:, None]).all() for rows in drawn)
    assert all(rows[0, 0] != rows[0, 1] for rows in drawn)
    assert set(np.concatenate(drawn).flat) == set(np.flatnonzero(sets.seen))


def test_perfect_embeddings_are_perfect():
    told = scores(*simulate(noise=0), n_enrol=2)
    flat = told.flat()
    assert [flat[name] for name in ("identification", "tar_at_far_1pct", "tar_at_far_01pct", "eer")] == [1, 1, 1, 0]
    counts = {"n_probes": 24, "n_people": 12, "n_choices": 50, "n_unseen": 0, "n_refused": 0, "n_left_out": 0}
    assert counts.items() <= flat.items()
    # twelve people who are all right are as sure as twelve attempts
    assert flat["identification_low"] == flat["tar_at_far_1pct_low"] == far_interval(12, 12).low
    assert flat["identification_high"] == 1
    assert flat["eer_high"] == far_interval(0, 12).high
    opened = open_set(*simulate(noise=0), lambda templates: 0.999)
    assert (opened.error.mean, opened.false_accept.mean, opened.false_reject.mean) == (0, 0, 0)


def test_random_embeddings_give_chance():
    told = scores(*simulate(40, 3, noise=1e6, seed=2), n_draws=100)
    assert told.identification.mean == pytest.approx(1 / 40, abs=0.03)
    assert told.tar_at_far_1pct.mean == pytest.approx(0.01, abs=0.02)
    assert told.eer.mean == pytest.approx(0.5, abs=0.05)


def test_one_embedding_for_everybody_identifies_nobody():
    embedding, person = np.tile([[1.0, 0.0]], (8, 1)), np.arange(4).repeat(2)
    told = scores(embedding, person)
    assert (told.identification.mean, told.tar_at_far_1pct.mean, told.eer.mean) == pytest.approx((0, 0, 0.5))


def test_a_face_that_is_not_found_is_wrong():
    embedding, person = simulate(4, 4, noise=0)
    embedding[0] = np.nan
    told = scores(embedding, person)
    assert told.n_unseen == 1
    assert (told.identification.mean, told.tar_at_far_1pct.mean) == pytest.approx((11 / 12, 11 / 12))


def test_people_with_too_few_photos_or_faces_are_left_out():
    embedding, person = simulate(4, 2, noise=0)
    embedding[[0, 2, 3]] = np.nan  # one face is enough to be enrolled, none is not
    told = scores(embedding[:7], person[:7] * 7 - 3)  # and the last has but one photograph
    assert (told.n_people, told.n_left_out, told.n_probes, told.n_unseen) == (2, 2, 2, 3)
    assert told.identification.mean == 0.5  # the photograph without a face is a probe
    with pytest.raises(InputError, match="too few people"):
        scores(embedding[:4], person[:4])


def test_what_may_not_be_enrolled_is_a_probe_all_the_same():
    embedding, person = simulate(4, 3, noise=0)
    embedding[0] = np.nan
    may = np.arange(12) % 3 > 0
    may[9:] = False
    told = scores(embedding, person, may_enrol=may)
    assert (told.n_people, told.n_probes, told.n_left_out, told.n_unseen, told.n_refused) == (3, 6, 1, 1, 5)
    sets = protocol._Sets.of(embedding, person, 1, 20, may)
    drawn = np.unique(np.concatenate(list(sets.choices(np.random.default_rng(0), 50))))
    assert drawn.tolist() == np.flatnonzero(may).tolist()
    opened = open_set(embedding, person, lambda templates: 0.999, may_enrol=may)
    assert (opened.false_accept.mean, opened.true_accept.mean) == (0, 1 - opened.false_reject.mean)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"n_choices": 19}, "at least 20"), ({"n_enrol": 0}, "no photo to enrol"), ({}, "unit length")],
)
def test_what_cannot_be_scored_is_refused(change, told):
    embedding, person = simulate()
    if not change:
        embedding[3] *= 2
    with pytest.raises(InputError, match=told):
        scores(embedding, person, **change)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    truth = scores(*simulate(200, 2, noise=0.7, seed=99), n_choices=20, n_draws=2).eer.mean
    told = [scores(*simulate(25, 2, noise=0.7, seed=seed), n_choices=20, n_draws=50).eer for seed in range(15)]
    assert np.mean([i.low <= truth <= i.high for i in told]) >= 0.7


def test_same_seed_same_scores():
    one, two, other = (scores(*simulate(noise=0.9), n_choices=20, n_draws=100, seed=seed) for seed in (4, 4, 5))
    assert one == two
    assert one != other


def test_open_set_at_either_end():
    embedding, person = simulate(noise=0.9)
    shut = open_set(embedding, person, lambda templates: np.inf)
    assert (shut.error.mean, shut.false_accept.mean, shut.false_reject.mean) == (0.5, 0, 1)
    wide = open_set(embedding, person, lambda templates: -2.0)
    assert (wide.false_accept.mean, wide.false_reject.mean) == (1, 0)
    assert wide.error.mean == pytest.approx((1 + wide.mistaken.mean) / 2)
    with pytest.raises(InputError, match="no number"):
        open_set(embedding, person, lambda templates: np.nan)


def test_open_set_by_hand():
    """Of two people one is enrolled: their second photograph is at .8, the stranger's two at .6 and .6."""
    a, b = np.array([[1, 0], [0.8, 0.6]]), np.array([[0.6, -0.8], [0.6, -0.8]])
    embedding, person = np.vstack([a, b]), np.array([5, 5, 9, 9])
    told = open_set(embedding, person, lambda templates: 0.7 if len(templates) == 1 else np.inf)
    assert (told.error.mean, told.false_accept.mean, told.false_reject.mean) == (0, 0, 0)
    assert told.n_probes == 50 * 3


def test_far_interval():
    none = far_interval(0, 1000)
    assert (none.mean, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.05 ** (1 / 1000))
    some = far_interval(3, 10)
    assert (some.low, some.high) == pytest.approx((0.0873, 0.6066), abs=1e-4)
    with pytest.raises(InputError, match="no share"):
        far_interval(2, 1)
