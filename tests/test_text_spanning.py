import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seamwise.systems.text.spanning import heads, is_tree

ARCS = st.one_of(st.floats(-20, 0, width=32), st.integers(-3, 0).map(float), st.just(-np.inf))


def matrices(most, elements=ARCS, dtype=np.float64):
    return st.integers(1, most).flatmap(lambda n: arrays.arrays(dtype, (n, n + 1), elements=elements))


def trees(n):
    """All trees with one word on the root: the slow, obvious way."""
    found = (np.array(given) for given in itertools.product(range(n + 1), repeat=n))
    return [given for given in found if is_obviously_tree(given)]


def is_obviously_tree(given):
    below, new = set(), {k + 1 for k, head in enumerate(given) if head == 0}
    one = len(new) == 1
    while new:
        below |= new
        new = {k + 1 for k, head in enumerate(given) if head in new} - below
    return one and len(below) == len(given)


TREES = {n: trees(n) for n in range(1, 6)}


def total(scores, given):
    """How many arcs to avoid, negative, and the sum of the others."""
    arcs = scores[np.arange(len(given)), given].astype(float)
    avoid = ~(arcs > -np.inf)
    return -int(avoid.sum()), float(arcs[~avoid].sum())


def check_best(scores, given):
    best = max(total(scores, tree) for tree in TREES[len(scores)])
    assert is_obviously_tree(given)
    assert total(scores, given)[0] == best[0]
    assert total(scores, given)[1] == pytest.approx(best[1], abs=1e-9)


@settings(deadline=None, max_examples=300)
@given(matrices(5))
def test_best_of_all_trees(scores):
    check_best(scores, heads(scores))


@settings(deadline=None, max_examples=100)
@given(matrices(5, dtype=np.float32))
def test_best_of_all_trees_in_single_precision(scores):
    check_best(scores, heads(scores))


@settings(deadline=None, max_examples=50)
@given(matrices(5, elements=st.integers(-1, 0).map(float)))
def test_ties(scores):
    check_best(scores, heads(scores))


@pytest.mark.parametrize("seed", range(3))
def test_best_of_all_trees_of_six_words(seed):
    TREES[6] = TREES.get(6) or trees(6)
    for scores in np.random.default_rng(seed).normal(size=(3, 6, 7)):
        check_best(scores, heads(scores))


@settings(deadline=None)
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.integers(0, n), min_size=n, max_size=n)))
def test_is_tree(given_heads):
    assert is_tree(np.array(given_heads)) == is_obviously_tree(given_heads)


def test_what_is_no_tree():
    assert not is_tree(np.array([], int))
    assert not is_tree(np.array([0, 3]))
    assert not is_tree(np.array([0, -1]))
    assert is_tree(np.array([0]))


def test_every_number_of_trees():
    assert [len(TREES[n]) for n in TREES] == [n ** (n - 1) for n in TREES]  # Cayley


@pytest.mark.parametrize("nothing", [-np.inf, np.nan, 0.0])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_any_tree_where_nothing_is_told(nothing, n):
    assert is_tree(heads(np.full((n, n + 1), nothing)))


def test_no_words():
    assert heads(np.zeros((0, 1))).shape == (0,)


def test_a_word_never_hangs_on_itself():
    scores = np.full((3, 4), -5.0)
    scores[np.arange(3), np.arange(3) + 1] = 100
    assert is_tree(heads(scores))


def test_nan_is_an_arc_to_avoid():
    scores = np.array([[0, np.nan, np.nan], [np.nan, -9.0, np.nan]])
    assert heads(scores).tolist() == [0, 1]


def test_one_word_on_the_root_though_two_would_be_better():
    assert heads(np.array([[0, -9, -50], [0, -40, -9.0]])).tolist() == [0, 1]


def test_the_scores_are_left_as_they_are():
    scores = np.random.default_rng(0).normal(size=(8, 9))
    before = scores.copy()
    heads(scores)
    assert (scores == before).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("forbidden", [0, 0.5])
def test_as_another_implementation(dtype, forbidden):
    peer = pytest.importorskip("ufal.chu_liu_edmonds", reason="ufal.chu_liu_edmonds is not installed")
    rng = np.random.default_rng(0)
    for n in (2, 3, 10, 30, 60):
        for _ in range(5):
            scores = rng.normal(size=(n, n + 1)).astype(dtype)
            scores[rng.random(scores.shape) < forbidden] = -1e3  # finite: the peer has no rule for trees of -inf
            square = np.full((n + 1, n + 1), np.nan)
            square[1:] = np.where(np.arange(n + 1) == np.arange(n)[:, None] + 1, np.nan, scores)
            square[1:, 0] -= 1e6  # one word on the root
            theirs = np.array(peer.chu_liu_edmonds(square)[0][1:])
            assert is_tree(theirs)
            assert total(scores, heads(scores))[1] == pytest.approx(total(scores, theirs)[1], abs=1e-6)


@pytest.mark.parametrize("kind", ["normal", "ties", "pairs"])
def test_long_sentences_take_seconds(kind):
    n = 1500
    rng = np.random.default_rng(0)
    scores = {
        "normal": lambda: rng.normal(size=(n, n + 1)),
        "ties": lambda: np.zeros((n, n + 1)),
        "pairs": lambda: -np.abs(np.arange(1, n + 1)[:, None] - np.arange(n + 1) + 0.5),
    }[kind]()
    start = time.perf_counter()
    assert is_tree(heads(scores))
    assert time.perf_counter() - start < 5
