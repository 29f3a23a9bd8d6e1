"""Learn the networks that forecast: python -m seamwise.forecast.learn --curves FILE.npz --out FILE.

The curves of a library are blended, cut short, thinned and robbed of seeds, so that one network serves any number of
budgets and seeds; what comes after the cut is the target. It needs torch; forecasting does not.
"""

import argparse
import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seamwise.arrays import Float, NDArray
from seamwise.forecast.curve import Curve, read_curve
from seamwise.forecast.distribution import quantiles_of
from seamwise.forecast.library import AHEAD, Library, load_library
from seamwise.forecast.network import CLIP, FURTHEST, LEAST_WIDTH, N_PARTS, Networks, inputs

N_MEMBERS = 4
N_VARIANTS = 8
HIDDEN = 64
EPOCHS = 16
BATCH = 1024
RATE = 3e-3
WARM = 0.1
DROPOUT = 0.15
WHOLE_WEIGHT = 3.0  # of a curve as it is, against one cut short
N_FOLDS = 5
Spread = Float[NDArray, "2"]
UNSPREAD = np.ones(2)
SPREADS = np.arange(0.9, 1.61, 0.05)
AIM = 0.905
"""A little wide of .9: new curves may differ more from these than these from one another."""


@final
@dataclass(frozen=True)
class Tasks:
    """What is learnt: from these inputs forecast this change, in units of the curve's scale."""

    x: Float[NDArray, "task input"]
    y: Float[NDArray, " task"]
    weight: Float[NDArray, " task"]

    @property
    def ahead(self) -> Float[NDArray, " task"]:
        """Doublings ahead."""
        return self.x[:, -2]


def make_tasks(library: Library, seed: int) -> Tasks:
    """Every curve as it is, and `N_VARIANTS` times blended with others and cut short."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(len(library)):
        rows.append(_targets(read_curve(library.n(i), library.seen[i]), library.truth[i], 0, WHOLE_WEIGHT, rng))
        for _ in range(N_VARIANTS):
            seen, truth = _blend(library, i, rng)
            cut, curve = _shorten(library.n(i), seen, rng)
            rows.append(_targets(curve, truth, cut, 1.0, rng))
    x, y, weight = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return Tasks(x, y, weight / weight.mean())


def _blend(
    library: Library, i: int, rng: np.random.Generator
) -> tuple[Float[NDArray, "seed budget"], Float[NDArray, "4"]]:
    """The curve alone or, half of the time, a weighted mean with up to three others: that of an error of many parts."""
    others = rng.integers(len(library), size=rng.choice(4, p=[0.5, 0.2, 0.15, 0.15]))
    share = rng.dirichlet(np.ones(1 + len(others)))
    seen = np.stack([rng.permutation(library.seen[j]) for j in (i, *others)])
    return np.tensordot(share, seen, 1), share @ library.truth[[i, *others]]


def _shorten(
    n: Float[NDArray, " budget"], seen: Float[NDArray, "seed budget"], rng: np.random.Generator
) -> tuple[int, Curve]:
    """Doublings cut off the end, and the curve with fewer budgets at the start, gaps, and fewer seeds."""
    cut = int(rng.choice(3, p=[0.5, 0.3, 0.2]))
    drop = min(int(rng.choice(6, p=[0.45, 0.2, 0.15, 0.1, 0.05, 0.05])), len(n) - cut - 1)
    kept = np.arange(drop, len(n) - cut)
    if rng.random() < 0.2:
        kept = np.union1d(kept[rng.random(len(kept)) < 0.6], kept[-1:])
    n_seeds = rng.choice([1, 2, 3], p=[0.25, 0.3, 0.45])
    return cut, read_curve(n[kept], seen[:n_seeds, kept])


def _targets(
    curve: Curve, truth: Float[NDArray, "4"], cut: int, weight: float, rng: np.random.Generator
) -> tuple[Float[NDArray, "k input"], Float[NDArray, " k"], Float[NDArray, " k"]]:
    """At every doubling where the truth is known, and once between each two of them."""
    known = ~np.isnan(truth)
    ahead, y = AHEAD[known] + cut, truth[known]
    between = ahead[:-1] + rng.random(len(ahead) - 1)
    ahead, y = np.append(ahead, between), np.append(y, np.interp(between, ahead, y))
    ahead, y = ahead[ahead <= FURTHEST], y[ahead <= FURTHEST]
    change = (y - curve.level[-1]) / curve.scale
    return inputs(curve.features, ahead), change, np.full(len(y), weight * np.sqrt(curve.scale))


def crps(weight: Tensor, centre: Tensor, width: Tensor, y: Tensor) -> Tensor:
    """Continuous ranked probability score of a mixture of normals, one a row.

    **Source**: Grimit et al. 2006, The continuous ranked probability score for circular variables and its application
    to mesoscale forecast ensemble verification (QJRMS 132): its formula for mixtures of normals.
    """
    own = (weight * _gap(y[:, None] - centre, width)).sum(1)
    apart, both = centre[:, :, None] - centre[:, None], (width[:, :, None] ** 2 + width[:, None] ** 2).sqrt()
    return own - (weight[:, :, None] * weight[:, None] * _gap(apart, both)).sum((1, 2)) / 2


def _gap(mean: Tensor, sd: Tensor) -> Tensor:
    """The expected absolute value of a normal."""
    z = mean / sd
    return sd * math.sqrt(2 / math.pi) * torch.exp(-(z**2) / 2) + mean * torch.erf(z / math.sqrt(2))


def fit_member(tasks: Tasks, mean: Float[NDArray, " input"], sd: Float[NDArray, " input"], seed: int) -> nn.Sequential:
    """One network, by its CRPS; a curve counts with the root of its scale."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(len(mean), HIDDEN), nn.SiLU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, 3 * N_PARTS),
    )  # fmt: skip
    x, ahead, y, weight = (
        torch.as_tensor(a, dtype=torch.float32)
        for a in (np.clip((tasks.x - mean) / sd, -CLIP, CLIP), tasks.ahead, tasks.y, tasks.weight)
    )
    steps = len(x) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / (EPOCHS * steps)))
    for _ in range(EPOCHS):
        for some in torch.randperm(len(x))[: steps * BATCH].reshape(steps, BATCH):
            grow, out = ahead[some].sqrt()[:, None], net(x[some])
            share, centre, width = out.split(N_PARTS, 1)
            score = crps(share.softmax(1), grow * centre, grow * F.softplus(width - 1) + LEAST_WIDTH, y[some])
            optimizer.zero_grad()
            (weight[some] * score).mean().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return net


def _rate(done: float) -> float:
    """Of the highest rate: a tenth of the way up, then down along a cosine."""
    return done / WARM if done < WARM else (1 + math.cos(math.pi * (done - WARM) / (1 - WARM))) / 2


def learn(library: Library, seed: int = 0, spread: Spread = UNSPREAD) -> Networks:
    """All networks of the pool, from the same tasks."""
    tasks = make_tasks(library, seed)
    mean, sd = tasks.x.mean(0), tasks.x.std(0) + 1e-6
    nets = [fit_member(tasks, mean, sd, seed + member) for member in range(N_MEMBERS)]
    held = [net.state_dict() for net in nets]
    w = [np.stack([of[f"{i}.weight"].numpy().T for of in held]).astype(float) for i in (0, 3, 6)]
    b = [np.stack([of[f"{i}.bias"].numpy()[None] for of in held]).astype(float) for i in (0, 3, 6)]
    return Networks(mean, sd, w[0], b[0], w[1], b[1], w[2], b[2], spread)


def choose_spread(library: Library, seed: int) -> Spread:
    """By how much the pool has to be widened for its 90 % intervals to hold `AIM` in cross-validation by dataset."""
    fold, start = library.folds(N_FOLDS), time.monotonic()
    covered, falls = np.empty((len(library), len(SPREADS))), np.empty(len(library), bool)
    for k in range(N_FOLDS):
        networks = learn(library.part(fold != k), seed + 1000 * (k + 1))
        for i in np.flatnonzero(fold == k).tolist():
            curve = read_curve(library.n(i), library.seen[i])
            falls[i], covered[i] = curve.falls, _shares_covered(curve, library.truth[i], networks)
        took = (time.monotonic() - start) / (k + 1)
        print(f"fold {k + 1} of {N_FOLDS}; {took * (N_FOLDS - k):.0f} s left", file=sys.stderr)
    kinds = [falls == kind if (falls == kind).any() else falls >= 0 for kind in (False, True)]
    shares = np.stack([covered[kind].mean(0) for kind in kinds])
    return np.asarray(SPREADS[np.abs(shares - AIM).argmin(1)])


def _shares_covered(curve: Curve, truth: Float[NDArray, "4"], networks: Networks) -> Float[NDArray, " spread"]:
    """Of the truths of one curve, the share inside the 90 % interval at each of SPREADS."""
    known, shares = ~np.isnan(truth), []
    for spread in SPREADS:
        wider = replace(networks, spread=np.full(2, spread))
        low, high = np.quantile(quantiles_of(wider.mixture(curve, AHEAD[known])), [0.05, 0.95], axis=0)
        shares.append(np.mean((truth[known] >= low) & (truth[known] <= high)))
    return np.array(shares)


def main() -> None:
    """Read the command line, learn, write."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--curves", type=Path, required=True, help="a library of curves, .npz")
    asked.add_argument("--out", type=Path, required=True, help="where the networks go, .npz")
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    torch.set_num_threads(1)
    library = load_library(options.curves)
    spread = choose_spread(library, options.seed)
    learn(library, options.seed, spread).save(options.out)
    print(f"{options.out}: {N_MEMBERS} networks from {len(library)} curves, spread {spread}")


if __name__ == "__main__":
    main()
