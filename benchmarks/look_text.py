"""Units that answer to concepts: seconds for 100,000 tokens x 512 units x 10 concepts and the null, beside exact ranks.

And how often something is found in noise that has memory, beside a null of shuffled tokens.
"""

import argparse
import time

import numpy as np
import torch
from scipy.signal import lfilter
from scipy.stats import rankdata

from seamwise.look.text.auroc import StreamingAUROC, bins_of
from seamwise.look.text.nulls import ClassMeans, NullOfMaximum, lags

SECONDS, FALSE = 10.0, 0.07  # the targets
CHUNK = 8192


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--tokens", type=int, default=100_000)
    asked.add_argument("--units", type=int, default=512)
    asked.add_argument("--concepts", type=int, default=10)
    asked.add_argument("--null", type=int, default=99)
    asked.add_argument("--draws", type=int, default=1000, help="of the simulation without signal")
    asked.add_argument("--threads", type=int, default=1, help="several wait for one another where cores are shared")
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    speed(options)
    false_positives(options.draws)


def speed(options: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((options.tokens, options.concepts)) < rng.uniform(0.02, 0.4, options.concepts)).astype(np.int8)
    values = torch.from_numpy(rng.standard_normal((options.tokens, options.units), dtype=np.float32))
    values += torch.from_numpy(labels[:, :1] * np.linspace(0, 2, options.units, dtype=np.float32))
    classes = rng.integers(0, 100, options.tokens)
    (auroc, null), wall_s, cpu_s = timed(lambda: streamed(values, labels, classes, options.null))
    (exact, maxima), exact_s, exact_cpu_s = timed(lambda: by_ranks(values.numpy(), labels, options.null))
    off, off_null = np.abs(auroc - exact).max(), np.abs(null.maxima - maxima).max()
    half = options.tokens // 2 * options.units
    print(
        f"{options.tokens:,} tokens x {options.units} units x {options.concepts} concepts, {options.null} shifts:\n"
        f"  streamed     {wall_s:5.1f} s ({cpu_s:.1f} s of processor), target {SECONDS:.0f} s; "
        f"holds {CHUNK * options.units * 4 / 1e6:.0f} MB of activations, however many tokens\n"
        f"  exact ranks  {exact_s:5.1f} s ({exact_cpu_s:.1f} s of processor), without what is left behind the token; "
        f"holds {half * 12 / 1e6:.0f} MB of activations and ranks, and more with more tokens\n"
        f"  ratio {exact_s / wall_s:.1f} ({exact_cpu_s / cpu_s:.1f} of processor); off by {off:.5f} at most, "
        f"in the null by {off_null:.5f}; p of the unit with a signal {null.p_values()[-1, 0]:.2f}"
    )


def timed(call):
    wall, processor = time.perf_counter(), time.process_time()
    found = call()
    return found, time.perf_counter() - wall, time.process_time() - processor


def streamed(values, labels, classes, n_null):
    """As seamwise.look.text.units does: found in the first half, told by the second."""
    half = len(values) // 2
    sample = values[: half : max(1, half // CHUNK)]
    bins, null, means = bins_of(sample), NullOfMaximum(labels[:half], "shift", n_null), ClassMeans(100, values.shape[1])
    for at in range(0, half, CHUNK):
        rows = np.arange(at, min(at + CHUNK, half))
        chunk = values[at : at + len(rows)]
        null.add(bins.scores(bins.codes(chunk)), rows)
        means.add(chunk, classes[rows])
    mean = means.means()
    left_bins = bins_of(sample - mean[torch.from_numpy(classes[: half : max(1, half // CHUNK)])])
    whole, left = StreamingAUROC(bins, labels.shape[1]), StreamingAUROC(left_bins, labels.shape[1])
    for at in range(half, len(values), CHUNK):
        chunk, some = values[at : at + CHUNK], labels[at : at + CHUNK]
        whole.add(chunk, some)
        left.add(chunk - mean[torch.from_numpy(classes[at : at + CHUNK])], some)
    null.p_values(), left.result()
    return whole.result(), null


def by_ranks(values, labels, n_null):
    """All at once: ranks of each unit, in each half; sums of them where each concept holds, for each shift."""
    half, maxima = len(values) // 2, []
    for at, moves in ((slice(half), lags(half, n_null)), (slice(half, None), [])):
        ranks = np.stack([rankdata(unit) for unit in values[at].T]).astype(np.float32)
        n = ranks.shape[1]
        auroc = areas(ranks, labels[at], n)
        maxima += [np.abs(areas(ranks, np.roll(labels[at], lag, 0), n) - 0.5).max(0) for lag in moves]
    return auroc, np.array(maxima)


def areas(ranks, labels, n):
    holds = labels.sum(0, dtype=np.int64)
    return (ranks @ labels.astype(np.float32) - holds * (holds + 1) / 2) / (holds * (n - holds))


def false_positives(draws: int, rows: int = 2000, units: int = 32) -> None:
    """Units that forget slowly, labels in runs, nothing in common: how often the best unit's p is .05 or less."""
    for keep, long in ((0.5, 5), (0.9, 20), (0.98, 60)):
        found = {"shift": 0, "permute": 0}
        for seed in range(draws):
            rng = np.random.default_rng(seed)
            values = lfilter([1], [1, -keep], rng.standard_normal((rows, units)), axis=0).astype(np.float32)
            runs = rng.geometric(1 / long, rows)
            labels = np.repeat(np.arange(rows) % 2, runs)[:rows, None].astype(np.int8)
            bins = bins_of(torch.from_numpy(values))
            scores = bins.scores(bins.codes(torch.from_numpy(values)))
            for how in found:
                null = NullOfMaximum(labels, how, 39, seed)
                null.add(scores, np.arange(rows))
                found[how] += null.p_values().min() <= 0.05
        told, shuffled = found["shift"] / draws, found["permute"] / draws
        error = np.sqrt(told * (1 - told) / draws)
        print(
            f"without signal, memory of {1 / (1 - keep):.0f} tokens, labels in runs of {long}: something is found in "
            f"{told:.1%} (± {error:.1%}) of {draws} draws at a nominal 5 % (target {FALSE:.0%}); "
            f"with shuffled tokens in {shuffled:.0%}"
        )


if __name__ == "__main__":
    main()
