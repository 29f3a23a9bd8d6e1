import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from seamwise.look.text.auroc import N_BINS, StreamingAUROC, bins_of, exact_auroc

KINDS = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(2, shape),
    "relu": lambda rng, shape: np.maximum(rng.standard_normal(shape) - 1, 0),
    "tanh": lambda rng, shape: np.tanh(3 * rng.standard_normal(shape)),
    "few values": lambda rng, shape: rng.integers(0, 4, shape).astype(float),
    "tiny and far from zero": lambda rng, shape: 1000 + rng.standard_normal(shape),
}


def planted(kind, n=6000, units=5, seed=0):
    """Units that answer more and more to each of two concepts, one rare."""
    rng = np.random.default_rng(seed)
    holds = rng.random((n, 2)) < (0.4, 0.01)
    values = KINDS[kind](rng, (n, units)) + holds[:, :1] * np.arange(units) / 4 + holds[:, 1:] * np.arange(units) / 2
    return values.astype(np.float32), holds.astype(np.int8)


def streamed(values, labels, chunk=700, sample=4000):
    counts = StreamingAUROC(bins_of(torch.from_numpy(values[:sample])), labels.shape[1])
    for at in range(0, len(values), chunk):
        counts.add(torch.from_numpy(values[at : at + chunk]), labels[at : at + chunk])
    return counts.result()


@pytest.mark.parametrize("kind", KINDS)
def test_as_exact_ranks(kind):
    values, labels = planted(kind)
    exact = [[roc_auc_score(label, unit) for label in labels.T] for unit in values.T]
    assert np.abs(streamed(values, labels) - exact).max() < 0.002
    assert np.allclose([exact_auroc(unit.astype(float), labels[:, 0] == 1) for unit in values.T], np.array(exact)[:, 0])


def test_chunks_make_no_difference():
    values, labels = planted("normal")
    assert (streamed(values, labels, 6000) == streamed(values, labels, 37)).all()


def test_few_values_are_exact_and_ties_count_half():
    values, labels = planted("few values", units=1)
    assert streamed(values, labels)[0, 0] == pytest.approx(roc_auc_score(labels[:, 0], values[:, 0]), abs=1e-12)
    assert streamed(np.ones((50, 3), np.float32), np.eye(50, 2, dtype=np.int8)).tolist() == [[0.5, 0.5]] * 3


def test_tokens_that_do_not_count():
    values, labels = planted("normal")
    left_out = np.random.default_rng(1).random(labels.shape) < 0.3
    kept = ~left_out[:, 0]
    found = streamed(values, np.where(left_out, np.int8(-1), labels))[:, 0]
    assert np.abs(found - [roc_auc_score(labels[kept, 0], unit[kept]) for unit in values.T]).max() < 0.002


def test_a_concept_that_never_holds_is_not_a_number():
    values, _ = planted("normal")
    assert np.isnan(streamed(values, np.zeros((len(values), 1), np.int8))).all()
    assert np.isnan(exact_auroc(values[:, 0].astype(float), np.ones(len(values), bool)))


def test_a_sample_unlike_the_rest_is_coarse_but_not_wrong():
    values, labels = planted("normal", units=1)
    values[4000:] *= 50
    exact = roc_auc_score(labels[:, 0], values[:, 0])
    assert abs(streamed(values, labels)[0, 0] - exact) < 0.1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=60))
def test_bins_keep_the_order(values):
    column = torch.tensor(values)[:, None]
    bins = bins_of(column)
    codes = bins.codes(column)[0].int()
    order = torch.argsort(column[:, 0])
    assert (codes[order].diff() >= 0).all()
    assert bins.score.shape == (1, N_BINS)
    assert abs(float(bins.scores(bins.codes(column)).mean())) < 1e-3  # middle ranks lie around the middle
