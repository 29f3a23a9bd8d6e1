"""Forecasts of any learning curve, and files of many."""

from functools import cache
from io import BytesIO

import numpy as np
import pytest
from fuzzing import FOLDER, Reader, Rule, always_holds, never_breaks
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seamwise.errors import InputError
from seamwise.forecast import forecast
from seamwise.forecast.library import load_library

ERRORS = st.one_of(
    st.floats(0, 1), st.floats(0, 1e6), st.sampled_from([np.nan, 0.0, 1.0, 1e-300, 1e6, 5e-324]), st.just(0.25)
)
LEVELS = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]


@st.composite
def curves(draw, errors=ERRORS):
    """(n, error, at) that may be forecast: 1 to 8 seeds, 1 to 10 budgets, of any numbers of labels."""
    n = sorted(draw(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=10, unique=True)))
    if draw(st.booleans()):
        n = [10.0 * 2**k for k in range(len(n))]
    shape, fill = (draw(st.integers(1, 8)), len(n)), st.just(0.5) if draw(st.booleans()) else None
    error = draw(arrays(float, shape, elements=errors, fill=fill))
    asked = st.one_of(st.floats(1e-3, 1e15), st.sampled_from(n), st.just(2 * n[-1]))
    return np.array(n), error, np.array(draw(st.lists(asked, min_size=1, max_size=6)))


def forecast_is_sound(drawn):
    (n, error, at), random = drawn
    found = forecast(n, error, at)
    q = found.quantile(LEVELS)
    order = random.sample(range(len(at)), len(at))
    np.testing.assert_allclose(forecast(n, error, at[order]).quantile(LEVELS), q[:, order], rtol=1e-9, atol=1e-9)
    if np.isnan(error).all():
        assert found.abstains.all()
        assert np.isnan(q).all()
        return True
    assert np.isfinite(q).all()
    assert (q >= 0).all()
    assert (np.diff(q, axis=0) >= 0).all()
    assert np.isfinite(found.mean).all()
    drawn = found.sample(20)
    assert np.isfinite(drawn).all()
    assert (drawn >= 0).all()
    assert bool(found.reason) == bool(found.abstains.any())
    return True


def unit_of_errors_does_not_matter(drawn):
    (n, error, at), times = drawn
    one, other = forecast(n, error, at), forecast(n, times * error, at)
    np.testing.assert_allclose(other.quantile(LEVELS), times * one.quantile(LEVELS), rtol=2e-3, atol=2e-3 * times)
    return True


def unit_of_labels_does_not_matter(drawn):
    (n, error, at), power = drawn
    times = 2.0**power
    one, other = forecast(n, error, at), forecast(times * n, error, times * at)
    np.testing.assert_allclose(other.quantile(LEVELS), one.quantile(LEVELS), rtol=1e-6, atol=1e-9)
    return True


ODD = st.one_of(st.text(max_size=3), st.floats(), st.integers(-2, 9), st.just(10**400), st.booleans(), st.just(1j))
ANYTHING = st.one_of(ODD, st.lists(ODD, max_size=3), st.lists(st.lists(st.floats() | ODD, max_size=2), max_size=3))


def is_forecast(drawn):
    try:
        found = forecast(*drawn)
    except InputError:
        return False
    assert found.quantiles.shape == (400, len(found.at))
    return True


NOISY = curves(st.one_of(st.floats(0.05, 1), st.just(np.nan)))
RULES = (
    Rule("forecasts", st.tuples(curves(), st.randoms(use_true_random=False)), forecast_is_sound, 50),
    Rule("forecasts, unit of errors", st.tuples(NOISY, st.floats(0.1, 100)), unit_of_errors_does_not_matter, 20),
    Rule(
        "forecasts, unit of labels", st.tuples(curves(st.floats(0.01, 1)), st.integers(-3, 3)),
        unit_of_labels_does_not_matter, 20,
    ),
    Rule("forecasts of anything", st.tuples(ANYTHING, ANYTHING, ANYTHING), is_forecast, 120),
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_forecasts_are_sound_or_refused(rule):
    always_holds(rule)


@cache
def library():
    seen, out = np.random.default_rng(0).random((3, 2, 6)), BytesIO()
    np.savez(out, error_seen=seen, error_truth=seen[:, 0, :4], n_last=np.full(3, 100), dataset=np.array(list("aab")))
    return out.getvalue()


def curves_fit(library):
    assert library.seen.ndim == 3
    assert library.truth.shape == (len(library), 4)
    assert len(library.n_last) == len(library.dataset) == len(library)


READERS = (
    Reader(
        "learning curves", "curves.npz", lambda: [library()], lambda f: load_library(f / "curves.npz"), curves_fit,
        kinds=("npz",),
    ),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_files_of_curves_are_read_or_refused(reader, tmp_path):
    never_breaks(reader, tmp_path / FOLDER)
