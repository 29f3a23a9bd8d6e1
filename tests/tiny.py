"""A small world for tests: x shows a colour, colour and tone give the shape, the shape names the answer."""

import numpy as np
import torch
from torch import nn

from seamwise import Chain, Designed, Fit, Learned, Supply, Task, categories

N_ANSWERS, N_STAGES, N_VALIDATION, N_TEST = 96, 64, 40, 40
FIT = Fit(batch=16, rates=(3e-2,), min_steps=40, max_steps=60, patience=40, eval_every=20, warmup=5, average=0.9)

colour = categories("colour", 3)
shape = categories("shape", 3)
answer = categories("answer", 3)


def draw_world(n, seed):
    rng = np.random.default_rng(seed)
    tone = rng.integers(0, 2, n)
    hidden = rng.integers(0, 3, n)
    x = rng.normal(0, 0.4, (n, 4)).astype(np.float32)
    x[np.arange(n), hidden] += 1.5
    shape_ = (hidden + tone) % 3
    return {"x": x, "tone": tone, "colour": hidden, "shape": shape_, "answer": (2 - shape_)}


def make_supply(**changes):
    parts = {"answers": (N_ANSWERS, "train"), "stages": (N_STAGES, "train"), "validation": (N_VALIDATION, "validation")}
    parts["test"] = (N_TEST, "test")
    tables, start = {}, 0
    for k, (name, (n, split)) in enumerate(parts.items()):
        table = draw_world(n, k)
        if name == "answers":
            del table["colour"], table["shape"]
        if name == "stages":
            del table["answer"]
        tables[name] = table | {"split": np.full(n, split), "group": np.arange(start, start + n) // 2}
        start += n
    return Supply(tables | changes)


class Look(nn.Module):
    def __init__(self, n_in=4):
        super().__init__()
        self.layer = nn.Linear(n_in, 3)

    def forward(self, x):
        return self.layer(x).softmax(-1)


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3))

    def forward(self, both):
        return self.layers(both).softmax(-1)


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))

    def forward(self, x, tone):
        return self.layers(join(x, tone)).softmax(-1)


def join(colour, tone):
    return torch.cat([colour, nn.functional.one_hot(tone, 2).float()], dim=1)


def name_it(shape):
    return shape.flip(1)


def hard(colour, tone):
    """The same as join, with a decision in place of shares: no gradient."""
    return join(nn.functional.one_hot(colour.argmax(-1), 3).float(), tone)


look = Learned("look", Look, "x", colour)
both = Designed("both", join, ("colour", "tone"), "both")
judge = Learned("judge", Judge, "both", shape)
tell_name = Designed("name_it", name_it, "shape", "answer")
direct = Learned("whole", Whole, ("x", "tone"), answer)


def make_task(stages=(look, both, judge, tell_name), **changes):
    settings = {"name": "tiny", "chain": Chain(list(stages)), "answer": answer, "direct": direct, "fit": FIT}
    if "supply" not in changes:
        settings["supply"] = make_supply()
    return Task(**(settings | changes))
