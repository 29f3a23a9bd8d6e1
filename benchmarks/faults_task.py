"""The task of faults.py: seconds to study, and a stage that misbehaves in a worker process where FAULTS says so."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from seamwise import Chain, Designed, Fit, Learned, Supply, Task, categories

SPLITS = {"answers": ("train", 96), "stages": ("train", 64), "validation": ("validation", 40), "test": ("test", 200)}
FIT = Fit(batch=16, rates=(3e-2,), min_steps=40, max_steps=60, patience=40, eval_every=20, warmup=5, average=0.9)


def make_supply() -> Supply:
    tables, start = {}, 0
    for seed, (name, (split, n)) in enumerate(SPLITS.items()):
        rng = np.random.default_rng(seed)
        tone, colour = rng.integers(0, 2, n), rng.integers(0, 3, n)
        x = rng.normal(0, 0.6, (n, 4)).astype(np.float32)
        x[np.arange(n), colour] += 1.5
        shape = (colour + tone) % 3
        labels = {"colour": colour, "shape": shape, "answer": 2 - shape}
        left_out = {"answers": ("colour", "shape"), "stages": ("answer",)}.get(name, ())
        tables[name] = {"x": x, "tone": tone} | {k: v for k, v in labels.items() if k not in left_out}
        tables[name] |= {"split": np.full(n, split), "group": np.arange(start, start + n) // 2}
        start += n
    return Supply(tables)


def misbehave() -> None:
    """Do what a file in the folder FAULTS is named after, in one worker; the file is then gone."""
    if "FAULTS" not in os.environ or Path(sys.argv[0]).name != "worker.py":
        return
    for order in sorted(Path(os.environ["FAULTS"]).iterdir()):
        try:
            order.unlink()
        except FileNotFoundError:  # another worker took it
            continue
        kind = order.name.partition("-")[0]
        if kind == "hang":
            time.sleep(1e6)
        elif kind == "numpy":
            np.zeros(1 << 60, np.uint8)
        elif kind == "torch":
            torch.empty(1 << 60, dtype=torch.uint8)
        elif kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)


class Look(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).softmax(-1)


class Judge(nn.Module):
    def __init__(self, n_in: int = 5) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, 12), nn.Tanh(), nn.Linear(12, 3))

    def forward(self, both: Tensor) -> Tensor:
        return self.layers(both).softmax(-1)


class Whole(Judge):
    def __init__(self) -> None:
        super().__init__(6)

    def forward(self, x: Tensor, tone: Tensor) -> Tensor:
        return super().forward(join(x, tone))


def join(colour: Tensor, tone: Tensor) -> Tensor:
    if len(colour) > 8:  # no check of the chain, a batch
        misbehave()
    return torch.cat([colour, nn.functional.one_hot(tone, 2).float()], dim=1)


def name_it(shape: Tensor) -> Tensor:
    return shape.flip(1)


task = Task(
    name="faults",
    chain=Chain(
        [
            Learned("look", Look, "x", categories("colour", 3)),
            Designed("both", join, ("colour", "tone"), "both"),
            Learned("judge", Judge, "both", categories("shape", 3)),
            Designed("name_it", name_it, "shape", "answer"),
        ]
    ),
    answer=categories("answer", 3),
    direct=Learned("whole", Whole, ("x", "tone"), categories("answer", 3)),
    supply=make_supply(),
    fit=FIT,
)
