"""The nine patches of every unit in one pass: at most 1.15 times a bare forward pass, in memory that does not grow.

A network of four convolutions (352 units) over drawn pictures of 64 px. Side by side: the bare forward pass, the
streaming pass, and the naive way, which keeps every map and sorts at the end. Each runs in a process of its own.

    python benchmarks/look_exemplars.py [--n 2000] [--threads 1]
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from seamwise.look import exemplars, graph_of

BATCH, SIDE_PX = 32, 64
MODES = ("bare", "streaming", "naive")


def network() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for read, units in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(read, units, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers).eval()


def pictures(n: int) -> Iterator[list[Tensor]]:
    for k in range(0, n, BATCH):
        yield [torch.rand(min(BATCH, n - k), 3, SIDE_PX, SIDE_PX, generator=torch.Generator().manual_seed(k))]


@torch.no_grad()
def naive(net: nn.Module, n: int) -> None:
    """Everything is kept, then sorted."""
    kept: dict[int, list[Tensor]] = {}
    for (batch,) in pictures(n):
        for k, layer in enumerate(net):
            batch = layer(batch)
            if isinstance(layer, nn.ReLU):
                kept.setdefault(k, []).append(batch)
    for maps in kept.values():
        whole = torch.cat(maps).transpose(0, 1).flatten(1)
        torch.sort(whole, dim=1, descending=True, stable=True)


@torch.no_grad()
def bare(net: nn.Module, n: int) -> None:
    for batch in pictures(n):
        net(*batch)


def run(mode: str, n: int, threads: int) -> None:
    torch.set_num_threads(threads)
    net = network()
    graph = graph_of(net, next(pictures(2))) if mode == "streaming" else None
    before, start, wall = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), time.perf_counter()
    if graph is not None:
        exemplars(graph, pictures(n))
    else:
        {"bare": bare, "naive": naive}[mode](net, n)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = {"cpu_s": time.process_time() - start, "wall_s": time.perf_counter() - wall, "mb": (peak - before) / 1024}
    print(json.dumps(told))


def measured(mode: str, n: int, threads: int) -> dict[str, float]:
    words = [sys.executable, __file__, "--mode", mode, "--n", str(n), "--threads", str(threads)]
    told: dict[str, float] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="pictures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="of the bare and the streaming pass; the median counts")
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.mode:
        run(given.mode, given.n, given.threads)
        return
    # by turns, so that what else the machine does falls on both
    turns = [{m: measured(m, given.n, given.threads) for m in MODES[:2]} for _ in range(given.repeats)]
    ratio = sorted(t["streaming"]["cpu_s"] / t["bare"]["cpu_s"] for t in turns)[given.repeats // 2]
    told = {**turns[-1], "naive": measured("naive", given.n, given.threads)}
    for mode, one in told.items():
        print(f"{mode:>10}: {one['cpu_s']:6.1f} s of processor time, {one['wall_s']:6.1f} s, {one['mb']:7.0f} MB more")
    print(f"streaming / bare: {ratio:.3f} (target: at most 1.15)")
    print(f"naive / bare: {told['naive']['cpu_s'] / told['bare']['cpu_s']:.2f}")
    twice = measured("streaming", 2 * given.n, given.threads)
    print(
        f"twice as many pictures: {twice['mb']:.0f} MB more (streaming, {given.n:,}: {told['streaming']['mb']:.0f} MB)"
    )


if __name__ == "__main__":
    main()
