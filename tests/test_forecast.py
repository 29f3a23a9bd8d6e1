import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seamwise.errors import InputError
from seamwise.forecast import forecast
from seamwise.forecast.abstain import FURTHEST
from seamwise.forecast.curve import DOUBLINGS, read_curve
from seamwise.forecast.distribution import LEVELS, normal_quantiles
from seamwise.forecast.library import load_library
from seamwise.forecast.network import SHIPPED, load_networks

LCDB = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "curves/lcdb10_dev.npz"
BENCHMARK = Path(__file__).parents[1] / "benchmarks/forecast.py"
N = 32 * 2.0 ** np.arange(6)
AHEAD = N[-1] * np.array([2.0, 4, 8, 16])


def power(n, asymptote=0.1, height=3.0, exponent=0.5):
    return asymptote + height * np.asarray(n) ** -exponent


def seen(rng, n=N, noise=0.01, n_seeds=3, **shape):
    return np.abs(power(n, **shape) + noise * rng.standard_normal((n_seeds, len(n))))


def simulate(rng):
    shape = {"asymptote": rng.uniform(0, 0.4), "height": rng.uniform(1, 4), "exponent": rng.uniform(0.3, 0.8)}
    return seen(rng, noise=rng.uniform(0.002, 0.02), **shape), power(AHEAD, **shape)


def test_power_laws_lie_inside_the_interval_and_near_the_mean():
    rng = np.random.default_rng(0)
    inside, missed, unlearned = [], [], []
    for _ in range(150):
        error, truth = simulate(rng)
        found = forecast(N, error, AHEAD)
        low, high = found.quantile([0.05, 0.95])
        inside.append((truth >= low) & (truth <= high))
        missed.append(np.abs(found.mean - truth))
        unlearned.append(np.abs(error[:, -1].mean() - truth))
    assert (np.mean(inside, axis=0) > 0.75).all()
    assert (np.mean(missed, axis=0) < 0.6 * np.mean(unlearned, axis=0)).all()


def test_a_clear_fall_is_forecast_and_not_abstained_from():
    found = forecast(N, seen(np.random.default_rng(1), noise=0.004), AHEAD)
    assert not found.abstains.any()
    assert found.reason == ""
    assert (np.diff(found.mean) < 0).all()
    assert (np.diff(found.quantile(0.95) - found.quantile(0.05)) > 0).all()


def test_within_what_was_seen_it_says_what_was_seen():
    error = seen(np.random.default_rng(2))
    at = np.array([N[0], 100.0, N[3], N[-1]])
    found = forecast(N, error, at)
    assert found.mean == pytest.approx(np.interp(np.log(at), np.log(N), error.mean(0)), abs=2e-3)
    assert (found.quantile(0.95) - found.quantile(0.05) < 0.06).all()
    assert not found.abstains.any()


def test_no_jump_at_the_last_budget_nor_between_doublings():
    at = N[-1] * 2 ** np.linspace(-0.5, 5, 221)
    found = forecast(N, seen(np.random.default_rng(3)), at)
    assert np.abs(np.diff(found.quantile([0.05, 0.5, 0.95]))).max() < 0.01


def test_missing_values():
    error = seen(np.random.default_rng(4))
    error[0, 2], error[:, 1], error[2] = np.nan, np.nan, np.nan
    found = forecast(N, error, AHEAD)
    bare = forecast(np.delete(N, 1), np.delete(error[:2], 1, axis=1), AHEAD)
    assert np.array_equal(found.mean, bare.mean)
    assert np.isfinite(found.sample(5)).all()


@pytest.mark.parametrize("n_seeds", [1, 2, 10])
def test_any_number_of_seeds(n_seeds):
    error = seen(np.random.default_rng(5), n_seeds=n_seeds)
    found = forecast(N, error, AHEAD)
    assert (np.abs(found.mean - power(AHEAD)) < 0.06).all()
    assert (found.quantile(0.95) > found.quantile(0.05)).all()


@pytest.mark.parametrize(
    "n",
    [[40, 60, 100, 180, 250, 400, 600, 1000], [10, 100, 1000], np.linspace(100, 1000, 12), N, [64, 256, 1024]],
    ids=["uneven", "tens", "even steps", "doublings", "fours"],
)
def test_any_spacing(n):
    at = n[-1] * np.array([2.0, 8.0])
    found = forecast(n, seen(np.random.default_rng(6), np.asarray(n, float), noise=0.003), at)
    assert (np.abs(found.mean - power(at)) < 0.05).all()
    assert not found.abstains.any()


def test_doublings_are_read_as_they_are():
    error = seen(np.random.default_rng(7))
    curve = read_curve(N, error)
    assert curve.level == pytest.approx(error.mean(0), abs=1e-4)
    straight = read_curve(np.array([10.0, 40.0, 77.0]), power(np.array([[10.0, 40.0, 77.0]]), exponent=1e-9))
    assert straight.level[straight.seen] == pytest.approx(np.full(straight.seen.sum(), 3.1))
    assert np.array_equal(DOUBLINGS[straight.seen], [-3, -2, -1, 0])


def test_the_order_asked_in_does_not_matter():
    error, order = seen(np.random.default_rng(8)), [2, 0, 3, 1]
    found, other = forecast(N, error, AHEAD), forecast(N, error, AHEAD[order])
    assert np.array_equal(found.mean[order], other.mean)
    assert np.array_equal(found.sample(20)[:, order], other.sample(20))


def test_the_unit_of_the_error_does_not_matter():
    error = seen(np.random.default_rng(9))
    assert forecast(N, 0.3 * error, AHEAD).mean == pytest.approx(0.3 * forecast(N, error, AHEAD).mean, rel=1e-3)


def test_mean_quantiles_and_draws_agree():
    found = forecast(N, seen(np.random.default_rng(10)), [300.0, 1024.0, 1500.0, *AHEAD])
    draws = found.sample(20_000)
    width = found.quantile(0.95) - found.quantile(0.05)
    assert (np.abs(draws.mean(0) - found.mean) < 0.02 * width).all()
    q = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    assert (np.abs(np.quantile(draws, q, axis=0) - found.quantile(q)) < 0.05 * width).all()
    assert found.quantile(0.5).shape == (7,)
    assert found.quantile(q).shape == (5, 7)


def test_draws_are_coherent_and_the_same_again():
    error = seen(np.random.default_rng(11))
    found = forecast(N, error, AHEAD, seed=3)
    draws = found.sample(5000)
    ranks = np.corrcoef(draws.argsort(0).argsort(0).T)
    assert (ranks > 0.5).all()
    assert (np.diff(ranks[0]) < 0).all()
    assert np.array_equal(draws, forecast(N, error, AHEAD, seed=3).sample(5000))
    assert not np.array_equal(draws, forecast(N, error, AHEAD, seed=4).sample(5000))
    assert found.sample(0).shape == (0, 4)


@pytest.mark.parametrize("n_budgets", [1, 2])
def test_too_few_budgets(n_budgets):
    n = N[-n_budgets:]
    found = forecast(n, seen(np.random.default_rng(12), n), [n[-1], *AHEAD])
    assert np.array_equal(found.abstains, [False, True, True, True, True])
    assert "too few budgets" in found.reason
    assert np.isfinite(found.mean).all()
    more = forecast(N, seen(np.random.default_rng(12)), AHEAD)
    assert (np.diff(found.quantile([0.05, 0.95]), axis=0)[0, 1:] > np.diff(more.quantile([0.05, 0.95]), axis=0)).all()


def test_budgets_too_close_together():
    found = forecast([1000, 1010, 1020], [[0.3, 0.29, 0.28]], [2000])
    assert found.abstains.all()
    assert "half a doubling" in found.reason
    assert np.isfinite(found.mean).all()


def test_nothing_known():
    found = forecast(N, np.full((3, 6), np.nan), AHEAD)
    assert found.abstains.all()
    assert "no errors" in found.reason
    assert np.isnan(found.mean).all()
    assert np.isnan(found.sample(3)).all()


@pytest.mark.parametrize(
    ("levels", "kind"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0, 1.0], "not begun to learn"),
        ([0.9, 0.6, 0.4, 0.3, 0.3, 0.3], "fell at first"),
        ([0.4, 0.4, 0.4, 0.4, 0.4, 0.4], "is level"),
        ([0.9, 0.6, 0.4, 0.3, 0.35, 0.4], "fell at first"),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_plateaus(levels, kind, noise):
    error = np.array(levels) + noise * np.array([[1, -1, 0, -1, 0, 1], [0, 1, -1, 0, 1, -1], [-1, 0, 1, 1, -1, 0]])
    found = forecast(N, error, [N[2], N[-1], *AHEAD])
    assert np.array_equal(found.abstains, [False, False, True, True, True, True])
    assert found.reason.startswith("plateau")
    assert kind in found.reason
    if np.ptp(levels[-3:]) == 0:
        assert np.abs(found.mean[2:] - levels[-1]).max() < 0.1 * levels[-1]
    assert forecast(N, error, [N[2]]).reason == ""


def test_noise_alone_is_seldom_taken_for_a_fall():
    rng = np.random.default_rng(13)
    flat = [forecast(N, 0.5 + 0.03 * rng.standard_normal((3, 6)), AHEAD).abstains.all() for _ in range(100)]
    assert np.mean(flat) > 0.8


def test_too_far_and_too_early():
    found = forecast(N, seen(np.random.default_rng(14), noise=0.003), [8, N[-1] * FURTHEST, N[-1] * (FURTHEST + 1)])
    assert np.array_equal(found.abstains, [True, False, True])
    assert "too far" in found.reason
    assert "too early" in found.reason
    assert np.isfinite(found.mean).all()


@pytest.mark.parametrize("error", [0.0, 1e-9, 0.3, 1.0])
def test_constant_curves(error):
    found = forecast(N, np.full((3, 6), error), AHEAD)
    assert found.abstains.all()
    assert found.mean == pytest.approx(np.full(4, error), rel=0.05, abs=1e-4)


@pytest.mark.parametrize(
    ("n", "error", "at"),
    [
        ([1, 2, 3], [[0.1, 0.2]], [4]),
        ([1, 2], [0.1, 0.2], [4]),
        ([[1, 2]], [[0.1, 0.2]], [4]),
        ([2, 1], [[0.1, 0.2]], [4]),
        ([1, 1], [[0.1, 0.2]], [4]),
        ([0, 1], [[0.1, 0.2]], [4]),
        ([1, np.nan], [[0.1, 0.2]], [4]),
        ([1, 2], [[0.1, -0.2]], [4]),
        ([1, 2], [[0.1, np.inf]], [4]),
        ([1, 2], [[0.1, 0.2]], [0]),
        ([1, 2], [[0.1, 0.2]], [np.nan]),
        ([1, 2], [[0.1, 0.2]], 4),
        ([1, 2], [["a", 0.2]], [4]),
    ],
)
def test_what_cannot_be_used_is_refused(n, error, at):
    with pytest.raises(InputError):
        forecast(n, error, at)


def test_what_cannot_be_asked_is_refused():
    found = forecast(N, seen(np.random.default_rng(15)), AHEAD)
    for q in (1.1, [0.5, -0.1], np.nan, [[0.5]]):
        with pytest.raises(InputError):
            found.quantile(q)
    with pytest.raises(InputError):
        found.sample(-1)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), n_seeds=st.integers(1, 10), steps=st.lists(st.floats(0.05, 4), min_size=0, max_size=11))
def test_never_nan_nor_negative_where_there_are_errors(data, n_seeds, steps):
    n = 10 * 2 ** np.cumsum([0, *steps])
    values = st.one_of(st.floats(0, 2), st.just(np.nan))
    error = data.draw(arrays(float, (n_seeds, len(n)), elements=values))
    found = forecast(n, error, [5, n[0], n[-1], 1.3 * n[-1], 8 * n[-1], 1000 * n[-1]])
    q = found.quantile([0, 0.05, 0.5, 0.95, 1])
    if np.isnan(error).all():
        assert found.abstains.all()
        return
    assert np.isfinite(q).all()
    assert (q >= 0).all()
    assert (np.diff(q, axis=0) >= 0).all()
    assert ((found.mean >= q[0]) & (found.mean <= q[-1])).all()
    assert (found.sample(50) >= 0).all()


def test_quantiles_of_a_normal():
    found = normal_quantiles(np.array([5.0]), np.array([0.5]))
    assert np.interp([0.05, 0.5, 0.95], LEVELS, found[:, 0]) == pytest.approx([4.1776, 5.0, 5.8224], abs=2e-3)


def test_nothing_asked():
    found = forecast(N, seen(np.random.default_rng(16)), [])
    assert found.mean.shape == (0,)
    assert found.quantile([0.1, 0.9]).shape == (2, 0)
    assert found.sample(3).shape == (3, 0)


def test_no_torch_is_imported():
    code = "import sys, seamwise.forecast as f; f.forecast([1, 2], [[1, 1]], [4]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_shipped_networks_are_small():
    assert SHIPPED.stat().st_size < 200_000


def test_networks_saved_are_the_same(tmp_path):
    networks, file = load_networks(), tmp_path / "networks.npz"
    networks.save(file)
    again = load_networks(file)
    assert all(np.array_equal(array, vars(again)[name]) for name, array in vars(networks).items())


def library(rng, n_curves=8):
    shapes = [{"asymptote": rng.uniform(0, 0.4), "exponent": rng.uniform(0.3, 0.8)} for _ in range(n_curves)]
    error = np.stack([seen(rng, **shape) for shape in shapes])
    truth = np.stack([power(AHEAD, **shape) for shape in shapes])
    dataset = np.arange(n_curves) // 2
    return {"error_seen": error, "error_truth": truth, "n_last": np.full(n_curves, 1024), "dataset": dataset}


def test_learning_again(tmp_path, monkeypatch):
    """A file of curves in, a file of networks out: small ones, on two folds."""
    from seamwise.forecast import learn

    curves, out = tmp_path / "curves.npz", tmp_path / "networks.npz"
    np.savez(curves, **library(np.random.default_rng(17)))
    for name, value in {
        "N_MEMBERS": 2,
        "N_VARIANTS": 2,
        "EPOCHS": 2,
        "N_FOLDS": 2,
        "BATCH": 64,
        "SPREADS": np.array([1.0, 1.1]),
    }.items():
        monkeypatch.setattr(learn, name, value)
    monkeypatch.setattr(sys, "argv", ["learn", "--curves", str(curves), "--out", str(out)])
    learn.main()
    assert load_networks(out).w1.shape == (2, *load_networks().w1.shape[1:])


def test_a_file_that_is_no_library(tmp_path):
    file, arrays_of = tmp_path / "curves.npz", library(np.random.default_rng(18))
    np.savez(file, **{name: array for name, array in arrays_of.items() if name != "dataset"})
    with pytest.raises(InputError, match="not a file of learning curves"):
        load_library(file)
    np.savez(file, **{**arrays_of, "error_truth": np.zeros((8, 3))})
    with pytest.raises(InputError, match="shapes do not fit"):
        load_library(file)


def test_folds_keep_datasets_whole(tmp_path):
    np.savez(tmp_path / "curves.npz", **library(np.random.default_rng(19)))
    held = load_library(tmp_path / "curves.npz")
    fold = held.folds(3)
    assert all(len(set(fold[held.dataset == name])) == 1 for name in set(held.dataset))
    assert set(fold) == {0, 1, 2}


@pytest.mark.data
@pytest.mark.skipif(not LCDB.exists(), reason=f"no learning curves in {LCDB}")
def test_on_measured_curves_better_than_pow4():
    """Roughly: the shipped networks were learnt from these very curves."""
    spec = importlib.util.spec_from_file_location("benchmark", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    held = load_library(LCDB)
    held = held.part(np.random.default_rng(20).choice(len(held), 120, replace=False))
    ours = benchmark.judge("ours", held, benchmark.ours(held, lambda i: load_networks()))
    pow4 = benchmark.judge("pow4", held, lambda i: benchmark.pow4(held.seen[i], np.random.default_rng(i)))
    assert benchmark.ratio(ours[1][:, 2], pow4[1][:, 2], held.dataset)["ratio"] < 0.87
    assert all(83 < covered <= 99 for covered in benchmark.summary(held, *ours)["coverage"])


def test_no_error_is_read_that_no_budget_near_it_has():
    found = forecast([100, 150, 1000], [[0.9, 0.7, 0.5], [0.92, 0.71, 0.52]], [2000])
    assert not found.abstains.any()
    assert found.mean[0] < 0.52


def test_a_rising_curve_is_called_that():
    found = forecast([100, 200, 400, 800], [[0.4, 0.6, 0.8, 0.9], [0.41, 0.59, 0.8, 0.91]], [1600])
    assert "rises" in found.reason
