import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from seamwise.look.text.auroc import bins_of, exact_auroc
from seamwise.look.text.nulls import ClassMeans, NullOfMaximum, classes_of, lags, trivial_auroc, trivial_of_documents


def memory(rng, rows, units, keep=0.95):
    """Units that forget slowly and know nothing: AR(1)."""
    return lfilter([1], [1, -keep], rng.standard_normal((rows, units)), axis=0).astype(np.float32)


def in_runs(rng, rows, long=30):
    """Labels that hold for a while, and then do not for a while."""
    lengths = rng.geometric(1 / long, rows)
    return np.repeat(np.arange(rows) % 2, lengths)[:rows, None].astype(np.int8)


def null_of(values, labels, how="shift", chunk=500, **asked):
    bins, null = bins_of(torch.from_numpy(values)), NullOfMaximum(labels, how, **asked)
    rows = np.random.default_rng(0).permutation(len(values))  # any order will do
    for at in range(0, len(rows), chunk):
        some = rows[at : at + chunk]
        null.add(bins.scores(bins.codes(torch.from_numpy(values[some]))), some)
    return null


def test_a_lag_in_each_part_of_the_circle():
    found = lags(1000, 9)
    assert (np.diff(found) > 0).all()
    assert found.min() >= 50
    assert found.max() <= 950
    assert (np.abs(found - np.arange(1, 10) * 100) <= 50).all()
    assert (found == lags(1000, 9)).all()
    assert (found != lags(1000, 9, seed=1)).any()


def test_each_move_is_the_auroc_of_moved_labels():
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((600, 3)).astype(np.float32), in_runs(rng, 600)
    null = null_of(values, labels, n=5)
    own = [exact_auroc(unit.astype(float), labels[:, 0] == 1) for unit in values.T]
    moved = [[exact_auroc(u.astype(float), np.roll(labels[:, 0], lag) == 1) for u in values.T] for lag in lags(600, 5)]
    assert np.abs(null.auroc[:, 0] - own).max() < 0.003
    assert np.abs(null.maxima[:, 0] - np.abs(np.array(moved) - 0.5).max(1)).max() < 0.003


def test_a_planted_unit_is_found_and_the_others_are_not():
    rng = np.random.default_rng(0)
    values, labels = memory(rng, 6000, 20), in_runs(rng, 6000)
    values[:, 7] -= 3 * labels[:, 0]
    p = null_of(values, labels).p_values()[:, 0]
    assert p[7] == 0.01
    assert p[np.arange(20) != 7].min() > 0.05


def test_p_is_never_zero_and_counts_no_move_too():
    rng = np.random.default_rng(0)
    labels = in_runs(rng, 400)
    values = np.tile(labels, 2).astype(np.float32)
    assert (null_of(values, labels, n=9).p_values() == 0.1).all()
    assert (null_of(np.ones_like(values), labels, n=9).p_values() == 1).all()


def false_positives(how, draws=120):
    """How often the best of 12 or 16 units that know nothing has p <= .05."""
    found = 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        if how == "shift":
            values, labels = memory(rng, 1200, 12), in_runs(rng, 1200, 20)
        else:
            values, labels = rng.standard_normal((120, 16)).astype(np.float32), in_runs(rng, 120, 2)
        found += null_of(values, labels, how, 1500, n=39, seed=seed).p_values().min() <= 0.05
    return found / draws


@pytest.mark.parametrize("how", ["shift", "permute"])
def test_few_false_positives_where_there_is_no_signal(how):
    assert false_positives(how) < 0.10  # .05 nominal; 120 draws have a standard error of .02


def test_shuffled_labels_would_find_something_nearly_always():
    rng = np.random.default_rng(0)
    values, labels = memory(rng, 1500, 16), in_runs(rng, 1500)
    assert null_of(values, labels, "permute").p_values().min() == 0.01


def test_labels_that_do_not_count_move_along():
    rng = np.random.default_rng(0)
    values, labels = rng.standard_normal((800, 4)).astype(np.float32), in_runs(rng, 800)
    unknown = np.where(np.arange(800)[:, None] < 200, np.int8(-1), labels)
    exact = [exact_auroc(unit[200:].astype(float), labels[200:, 0] == 1) for unit in values.T]
    assert np.abs(null_of(values, unknown).auroc[:, 0] - exact).max() < 0.02  # ranks are those of all tokens


def test_nothing_added():
    with pytest.raises(ValueError, match="no row"):
        NullOfMaximum(np.zeros((4, 1), np.int8)).p_values()


def test_means_of_classes_and_of_rare_ones():
    means = ClassMeans(3, 1)
    means.add(torch.tensor([[2.0]] * 1000 + [[10.0]]), np.array([1] * 1000 + [2]))
    overall = (2000 + 10) / 1001
    assert means.means()[:, 0].tolist() == pytest.approx([overall, 2, (10 + 5 * overall) / 6], abs=1e-3)


def test_what_is_rare_where_units_are_found_is_one_class():
    values = np.array([5, 5, 7, 9, 9, 9, 8])
    found = classes_of(values, np.arange(7) < 5)
    assert found.tolist() == [1, 1, 2, 3, 3, 3, 0]


def test_the_token_alone():
    rng = np.random.default_rng(0)
    classes, find = rng.integers(0, 5, 4000), np.arange(4000) < 2000
    assert trivial_auroc(classes, (classes == 3).astype(np.int8), find) == 1
    assert trivial_auroc(classes, rng.integers(0, 2, 4000).astype(np.int8), find) == pytest.approx(0.5, abs=0.04)
    half = ((classes == 3) & (rng.random(4000) < 0.5)).astype(np.int8)
    assert 0.92 < trivial_auroc(classes, half, find) < 0.97


def test_the_tokens_of_a_document_in_whatever_order():
    rng = np.random.default_rng(0)
    labels, find = rng.integers(0, 2, 200).astype(np.int8), np.arange(200) % 2 == 0
    block = np.repeat(np.arange(200), 20 + 10 * labels)
    classes = np.where(rng.random(len(block)) < 0.3, 4 * labels[block], rng.integers(0, 4, len(block)))
    by_token, by_length = trivial_of_documents(classes, block, labels, find)
    assert by_token == 1
    assert by_length == 1
