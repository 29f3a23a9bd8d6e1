"""From the errors at some budgets to a forecast at others."""

import numpy as np
from numpy.typing import ArrayLike

from seamwise.arrays import Float, NDArray
from seamwise.errors import InputError
from seamwise.forecast.abstain import abstention
from seamwise.forecast.curve import Curve, read_curve
from seamwise.forecast.distribution import LEVELS, Forecast, normal_quantiles, quantiles_of
from seamwise.forecast.network import Networks, load_networks

BUDGETS, MOST = (1e-12, 1e18), 1e100  # what labels can be, in whatever unit; what an error can be, at most


def forecast(n: ArrayLike, error: ArrayLike, at: ArrayLike, seed: int = 0) -> Forecast:
    """What the mean error over seeds will be at other budgets, as far as the curve so far can tell.

    n: labels at each budget [budget], increasing. error: [seed, budget], as a share of the trivial predictor's error;
    NaN where missing. at: the budgets asked for, in any order. seed: of `sample`. Beyond the last budget a pool of
    small networks forecasts; within, the mean over seeds between budgets, and its standard error. It abstains beyond
    the last budget with fewer than three budgets and on a plateau, and beyond 16 times the last and below the first
    budget always. Distributions are given all the same, except where there is no value at all (NaN).

    Raises `InputError` when a shape does not fit, budgets do not increase or are not positive, or errors are negative
    or infinite.

    **Source**: Adriaensen et al. 2023, Efficient Bayesian learning curve extrapolation using prior-data fitted networks
    (NeurIPS 36). Differs: learnt from measured curves (LCDB 1.0, Mohr et al. 2022, ECML PKDD) and not from curves drawn
    from a prior; perceptrons on ratios of the curve's own falls and noise, so the error's unit does not matter; trained
    by CRPS; their spread is set by cross-validation.
    """
    return forecast_with(load_networks(), *checked(n, error, at), seed)


def forecast_with(
    networks: Networks,
    n: Float[NDArray, " budget"],
    error: Float[NDArray, "seed budget"],
    at: Float[NDArray, " at"],
    seed: int = 0,
) -> Forecast:
    """As `forecast`, by the networks given."""
    if np.isnan(error).all():
        unknown, everywhere = np.full((len(LEVELS), len(at)), np.nan), np.ones(len(at), bool)
        return Forecast(at, unknown[0], unknown, everywhere, "no errors: all are missing", seed)
    curve = read_curve(n, error)
    ahead = np.log2(at / curve.n[-1])
    quantiles = _within(curve, np.minimum(ahead, 0))
    beyond = ahead > 0
    if beyond.any():
        blend = np.minimum(ahead[beyond], 1)
        quantiles[:, beyond] *= 1 - blend
        quantiles[:, beyond] += blend * quantiles_of(networks.mixture(curve, np.maximum(ahead[beyond], 1)))
    return Forecast(at, ahead, quantiles, *abstention(curve, at), seed)


def _within(curve: Curve, ahead: Float[NDArray, " at"]) -> Float[NDArray, "level at"]:
    """Between budgets the mean over seeds and its standard error; below the first, twice as wide each doubling."""
    mean = np.interp(ahead, curve.ago, curve.mean)
    before = np.clip(curve.ago[0] - ahead, 0, 10)
    return normal_quantiles(mean, np.interp(ahead, curve.ago, curve.se) * 2**before + 0.1 * mean * before)


def checked(
    n: ArrayLike, error: ArrayLike, at: ArrayLike
) -> tuple[Float[NDArray, " budget"], Float[NDArray, "seed budget"], Float[NDArray, " at"]]:
    """All as floats; raises `InputError` as `forecast` says."""
    budgets, errors, asked = _numbers("n", n), _numbers("error", error), _numbers("at", at)
    if budgets.ndim != 1 or errors.ndim != 2 or asked.ndim != 1 or errors.shape[1] != len(budgets):
        raise InputError(
            "budgets and errors do not fit",
            given=f"n {budgets.shape}, error {errors.shape}, at {asked.shape}",
            expected="n [budget], error [seed, budget], at [at]",
        )
    if not _are_budgets(budgets) or not (np.diff(budgets) > 0).all():
        remedy = "sort them by labels"
        raise InputError("budgets have to be positive and increase", given=f"n = {budgets}", remedy=remedy)
    if ((errors < 0) | (errors > MOST)).any():
        expected = f"0 to {MOST:g}; NaN where missing"
        raise InputError("an error is negative or infinite", given=str(errors), expected=expected)
    if not _are_budgets(asked):
        expected = f"{BUDGETS[0]:g} to {BUDGETS[1]:g}"
        raise InputError("budgets asked for have to be positive", given=f"at = {asked}", expected=expected)
    return budgets, errors, asked


def _are_budgets(n: Float[NDArray, " n"]) -> bool:
    return bool(((n >= BUDGETS[0]) & (n <= BUDGETS[1])).all())


def _numbers(name: str, given: ArrayLike) -> Float[NDArray, "..."]:
    try:
        return np.asarray(given, float)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} has to be an array of numbers", given=repr(given)[:200]) from error
