"""What `--on ray` costs: the same trials, each one training of so many seconds, by Ray and by processes.

Both ways are timed from the call to the last trial, the start of their workers included; the start of Ray itself is
shown beside, as is the memory of all processes. Target: at 30 s a training, at most 1.05 times the processes' time.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from seamwise import Chain, Fit, Learned, Supply, Task, categories
from seamwise.cluster import run_on_ray
from seamwise.connection import connected
from seamwise.plan import make_plan
from seamwise.pool import run_all

N_STEPS, BATCH = 20, 32


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=float, default=30.0, help="a training")
    asked.add_argument("--sleep", action="store_true", help="trainings that leave the core to Ray")
    asked.add_argument("--trials", type=int, default=8)
    asked.add_argument("--jobs", type=int, default=2)
    options = asked.parse_args()
    task = long_task(options.seconds, options.sleep)
    specs = make_plan(task, regimes=["direct"], n_seeds=options.trials, halvings=False).specs[-options.trials :]
    with tempfile.TemporaryDirectory() as folder:
        pool = timed(run_all, task, specs, Path(folder) / "processes", options.jobs)
        start = time.perf_counter()
        with connected():
            print(f"starting Ray {time.perf_counter() - start:.1f} s")
            ray = timed(run_on_ray, task, specs, Path(folder) / "ray", options.jobs)
    ideal = options.seconds * options.trials / options.jobs
    print(f"{options.trials} trainings of {options.seconds:g} s by {options.jobs} workers; {ideal:.0f} s at the least")
    for name, took in (("processes", pool), ("ray", ray)):
        print(f"{name:<10} {took.wall_s:7.1f} s, {took.work_s:.1f} s a trial, {took.memory:.2f} GB at most")
    print(f"ray / processes: {ray.wall_s / pool.wall_s:.3f}")
    rounds = options.trials / options.jobs
    more = (ray.wall_s - pool.wall_s) / rounds
    at_30 = 1 + more / (30 + pool.wall_s / rounds - options.seconds)
    print(f"a trial by Ray takes {more:+.2f} s more; so at 30 s a training the ratio would be {at_30:.3f}")


@dataclass(frozen=True)
class Took:
    """A study's wall-clock time, the mean of its trials', and the most memory of this process and all below it."""

    wall_s: float
    work_s: float
    memory: float


def timed(run, task, specs, folder, n_jobs) -> Took:
    seconds, most = [], 0.0

    def look(*_) -> None:
        nonlocal most
        most = max(most, memory_gb())

    def finished(trial, took) -> None:
        assert trial.status == "done", trial.message
        seconds.append(took)
        look()

    start = time.perf_counter()
    run(task, specs, folder, n_jobs, finished, look)
    return Took(time.perf_counter() - start, float(np.mean(seconds)), most)


def memory_gb() -> float:
    """Proportional set size of this process and all it started, Ray's own too: what they share is counted once."""
    parents = {int(p.name): parent(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
    ours, new = set(), {os.getpid()}
    while new:
        ours |= new
        new = {pid for pid, above in parents.items() if above in ours} - ours
    return sum(pss_kb(pid) for pid in ours) / 1e6


def parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it ended
        return 0


def pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def long_task(seconds: float, sleep: bool) -> Task:
    """A training of 20 steps, each of which takes its share of the seconds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(96, 4)).astype(np.float32)
    split = np.repeat(["train", "validation", "test"], 32)
    supply = Supply({"all": {"x": x, "answer": (x[:, 0] > 0).astype(int), "split": split}})
    answer = categories("answer", 2)

    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            wanted_s = seconds / N_STEPS if self.training and len(x) == BATCH else 0.0
            if sleep:
                time.sleep(wanted_s)
            until = time.perf_counter() + wanted_s
            while not sleep and time.perf_counter() < until:
                torch.ones(64, 64) @ torch.ones(64, 64)
            return self.layer(x).softmax(-1)

    one = Fit(batch=BATCH, rates=(1e-2,), min_steps=N_STEPS, max_steps=N_STEPS, eval_every=1, start_small=0)
    stage = Learned("long", Long, "x", answer)
    direct = Learned("whole", Long, "x", answer)
    return Task(name="long", chain=Chain([stage]), answer=answer, direct=direct, supply=supply, fit=one)


if __name__ == "__main__":
    main()
