"""Learning-curve forecasts beside the peers: pow4 (least squares, bootstrap over seeds) and the last value.

Errors, in points (hundredths): mean absolute error, coverage of the 90 % interval, CRPS, at 2, 4, 8 and 16 times the
last budget. The ratio is of the mean CRPS at 8 times, ours over pow4's, with its 90 % bootstrap interval over datasets.

The file has error_seen [curve, seed, budget] at doublings up to n_last, error_truth [curve, 4], n_last and dataset.
With --folds K the networks are learnt anew, K times, without the datasets they are then judged on: of the file that the
shipped networks were learnt from, only those figures say anything.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy import ndarray as Array

from seamwise.forecast.library import Library, load_library
from seamwise.forecast.network import Networks, load_networks
from seamwise.forecast.predict import forecast_with

AHEAD = np.array([1, 2, 3, 4])
LEVELS = np.linspace(0.005, 0.995, 199)
N_BOOTSTRAPS = 100
EXPONENTS = np.geomspace(0.02, 5, 40)
OFFSETS = np.append(0, np.geomspace(0.01, 10, 16))  # in units of the last budget


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--curves", type=Path, required=True)
    asked.add_argument("--json", action="store_true")
    asked.add_argument("--folds", type=int, default=0, help="cross-validate by dataset instead of the shipped networks")
    options = asked.parse_args()
    if not options.curves.is_file():
        asked.error(f"{options.curves}: no such file")
    if not options.folds:
        print("the shipped networks learnt from lcdb10_dev.npz: for that file use --folds 5", file=sys.stderr)
    library = load_library(options.curves)
    rows = {
        "ours": judge("ours", library, ours(library, networks(library, options.folds))),
        "pow4": judge("pow4", library, lambda i: pow4(library.seen[i], np.random.default_rng(i))),
        "last value": judge("last value", library, lambda i: last_value(library.seen[i], np.random.default_rng(i))),
    }
    result = {"curves": len(library), "datasets": len(np.unique(library.dataset)), "folds": options.folds}
    result |= {"methods": {name: summary(library, *row) for name, row in rows.items()}}
    result["ratio_8x"] = ratio(rows["ours"][1][:, 2], rows["pow4"][1][:, 2], library.dataset)
    print(json.dumps(result, indent=1) if options.json else table(result))


def networks(library: Library, n_folds: int) -> Callable[[int], Networks]:
    """Which networks to judge on a curve."""
    if not n_folds:
        return lambda i: load_networks()
    from seamwise.forecast.learn import learn

    fold = library.folds(n_folds)
    spread = load_networks().spread
    learnt = [learn(library.part(fold != k), 1000 * k, spread) for k in told("learning", range(n_folds))]
    return lambda i: learnt[fold[i]]


def ours(library: Library, of: Callable[[int], Networks]) -> Callable[[int], Array]:
    def quantiles(i: int) -> Array:
        at = library.n_last[i] * 2.0**AHEAD
        return forecast_with(of(i), library.n(i), library.seen[i], at).quantile(LEVELS)

    return quantiles


def pow4(error: Array, rng: np.random.Generator) -> Array:
    """c + a (n + d)^-b with a, c >= 0: the best of a grid of b and d. The seeds of each budget are drawn again.

    The spread of the residuals is added to each draw: without it the interval covers only about .6.
    """
    n_seeds, n_budgets = error.shape
    drawn = rng.integers(0, n_seeds, (N_BOOTSTRAPS, n_seeds, n_budgets))
    mean = np.take_along_axis(error[None], drawn, axis=1).mean(1)
    seen, ahead = powers(np.arange(1.0 - n_budgets, 1)), powers(AHEAD)
    a, c, squares = least_squares(mean, seen)
    draw, best = np.arange(len(mean)), squares.argmin(1)
    path = c[draw, best, None] + a[draw, best, None] * ahead[best]
    residual = np.sqrt(squares[draw, best] / max(n_budgets - 3, 1))
    path += rng.standard_normal((len(mean), 1)) * residual[:, None]
    return np.quantile(np.maximum(path, 0), LEVELS, axis=0)


def powers(doublings: Array) -> Array:
    b, d = (grid.reshape(-1, 1) for grid in np.meshgrid(EXPONENTS, OFFSETS))
    return ((2.0**doublings + d) / (1 + d)) ** -b


def least_squares(y: Array, g: Array) -> tuple[Array, Array, Array]:
    """Of y [draw, budget] on each row of g [shape, budget]: a, c and the sum of squares [draw, shape]."""
    middle, height = g.mean(1), y.mean(1, keepdims=True)
    a = (y - height) @ (g - middle[:, None]).T / ((g - middle[:, None]) ** 2).sum(1)
    c = height - a * middle
    a, c = np.where(c < 0, y @ g.T / (g**2).sum(1), a), np.maximum(c, 0)
    a, c = np.maximum(a, 0), np.where(a < 0, height, c)
    squares = ((y[:, None] - c[..., None] - a[..., None] * g) ** 2).sum(2)
    return a, c, squares


def last_value(error: Array, rng: np.random.Generator) -> Array:
    """The last mean over seeds, and a normal of the standard deviation of one seed."""
    sd = error[:, -1].std(ddof=1) if len(error) > 1 else 0.0
    draws = error[:, -1].mean() + sd * rng.standard_normal((1000, 1)) + 0 * AHEAD
    return np.quantile(np.maximum(draws, 0), LEVELS, axis=0)


def judge(name: str, library: Library, method: Callable[[int], Array]) -> tuple[Array, Array, float]:
    """Quantiles [curve, level, 4], CRPS [curve, 4], milliseconds a curve."""
    quantiles, took = [], 0.0
    for i in told(name, range(len(library))):
        start = time.perf_counter()
        quantiles.append(method(i))
        took += time.perf_counter() - start
    found = np.stack(quantiles)
    return found, crps(found, library.truth), 1000 * took / len(library)


def crps(quantiles: Array, truth: Array) -> Array:
    """Twice the mean pinball loss over the levels [curve, 4]."""
    over = truth[:, None] - quantiles
    level = LEVELS[:, None]
    return 2 * np.maximum(level * over, (level - 1) * over).mean(1)


def summary(library: Library, quantiles: Array, score: Array, ms: float) -> dict[str, object]:
    known = ~np.isnan(library.truth)
    low, high = (quantiles[:, np.searchsorted(LEVELS, level - 1e-9)] for level in (0.05, 0.95))
    inside = np.where(known, (library.truth >= low) & (library.truth <= high), np.nan)
    error = np.abs(quantiles.mean(1) - library.truth)
    found = {"mae": 100 * np.nanmean(error, 0), "coverage": 100 * np.nanmean(inside, 0)}
    found["crps"] = 100 * np.nanmean(score, 0)
    return {name: [round(float(x), 3) for x in row] for name, row in found.items()} | {"ms_a_curve": round(ms, 2)}


def ratio(ours: Array, theirs: Array, dataset: Array) -> dict[str, float]:
    """Of the means; the interval by drawing whole datasets again."""
    known = ~np.isnan(ours + theirs)
    names, which = np.unique(dataset[known], return_inverse=True)
    sums = np.stack([np.bincount(which, score[known]) for score in (ours, theirs)])
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), 2000)
    top, bottom = sums @ drawn.T
    low, high = np.quantile(top / bottom, [0.05, 0.95])
    mean = sums[0].sum() / sums[1].sum()
    return {"ratio": round(float(mean), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def table(result: dict) -> str:
    lines = ["| method | mean abs. error 2x/4x/8x/16x | coverage of 90 % interval | CRPS 2x/4x/8x/16x | ms a curve |"]
    lines.append("|---|---|---|---|---|")
    for name, row in result["methods"].items():
        mae, score = ("/".join(f"{x:.2f}" for x in row[key]) for key in ("mae", "crps"))
        coverage = "/".join(f"{x:.0f}" for x in row["coverage"])
        lines.append(f"| {name} | {mae} | {coverage} | {score} | {row['ms_a_curve']:.1f} |")
    found = result["ratio_8x"]
    lines.append("")
    lines.append(f"{result['curves']} curves of {result['datasets']} datasets; CRPS at 8x, ours over pow4's: ")
    lines[-1] += f"{found['ratio']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    return "\n".join(lines)


def told(name: str, items: Iterable[int]) -> Iterator[int]:
    """Says how far it is and how long it will take, every two seconds."""
    all_items = list(items)
    start = last = time.monotonic()
    for done, item in enumerate(all_items):
        now = time.monotonic()
        if done and now - last > 2:
            last, left = now, (now - start) / done * (len(all_items) - done)
            print(f"{name}: {done} of {len(all_items)}, {left:.0f} s left", file=sys.stderr)
        yield item


if __name__ == "__main__":
    main()
