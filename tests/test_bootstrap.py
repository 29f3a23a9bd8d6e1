import numpy as np
import pytest

from seamwise.bootstrap import Bootstrap, Interval


def simulate(rng, n_seeds=3, n_groups=40, per_group=5):
    """Errors with a mean of 1: a part by seed, a part by group, a part by item."""
    group = rng.normal(0, 0.3, n_groups).repeat(per_group)
    seed = rng.normal(0, 0.05, (n_seeds, 1))
    return 1 + seed + group + rng.normal(0, 0.3, (n_seeds, n_groups * per_group))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    groups = np.arange(40).repeat(5)[:, None]
    bootstrap = Bootstrap(groups, n_draws=300)
    intervals = [bootstrap.interval(simulate(rng)) for _ in range(300)]
    covered = np.mean([i.low <= 1 <= i.high for i in intervals])
    assert 0.80 < covered < 0.97
    by_item = Bootstrap(np.arange(200)[:, None], n_draws=300)  # as if items were independent
    naive = [by_item.interval(simulate(rng)) for _ in range(50)]
    assert np.mean([i.high - i.low for i in naive]) < np.mean([i.high - i.low for i in intervals])


def test_two_groups_an_item_err_on_the_wide_side():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 60, (300, 2))
    effects = lambda: rng.normal(0, 0.3, 60)[groups].sum(1)  # noqa: E731
    bootstrap = Bootstrap(groups, n_draws=300)
    covered = [
        (lambda i: i.low <= 0 <= i.high)(bootstrap.interval((effects() + rng.normal(0, 0.3, 300))[None]))
        for _ in range(200)
    ]
    assert np.mean(covered) > 0.85


def test_differences_are_paired():
    """The same draws for all: two regimes that differ by a constant differ by it in every draw."""
    rng = np.random.default_rng(2)
    bootstrap = Bootstrap(rng.integers(0, 20, (100, 1)))
    errors = simulate(rng, n_groups=20)
    differences = bootstrap.means(errors) - bootstrap.means(errors - 0.1)
    assert differences == pytest.approx(np.full(1000, 0.1))
    assert np.array_equal(bootstrap.means(errors), Bootstrap(bootstrap.groups).means(errors))


def test_a_group_twice_in_an_item_counts_once():
    once = np.arange(30)[:, None]
    errors = np.random.default_rng(3).random((2, 30))
    assert Bootstrap(np.repeat(once, 2, axis=1)).means(errors) == pytest.approx(Bootstrap(once).means(errors))


def test_one_group_means_the_same_weights_in_both_columns():
    """Groups drawn for the first column are those drawn for the second: (a, b) and (b, a) weigh alike."""
    pairs = np.array([[0, 1], [1, 0], [2, 3], [3, 2]])
    errors = np.array([[1.0, 0.0, 1.0, 0.0]])
    assert Bootstrap(pairs).means(errors) == pytest.approx(np.full(1000, 0.5))


def test_the_interval_holds_the_mean_and_says_so():
    interval = Bootstrap(np.arange(4)[:, None]).interval(np.array([[0.0, 0.0, 0.0, 1.0]]))
    assert interval.low <= interval.mean <= interval.high
    assert str(Interval(0.25, 0.1, 0.5)) == "0.250 [0.100, 0.500]"


def test_no_mean_is_drawn_beyond_what_an_item_had():
    errors = np.stack([np.zeros(50), np.ones(50)])
    draws = Bootstrap(np.arange(50)[:, None]).means(errors)
    assert draws.min() == 0
    assert draws.max() == 1
