"""Tiny tasks to try the advice on, drawn by family and seed; run as a script it prints a table of some.

A task has n answers at hand and 16 n in its supply, stage labels on other items (twice those at hand are in the
supply), 150 items for validation, 300 for its study's test, and 3,000 more, in no supply, to measure the truth on.
What differs from task to task beside the family: the number of stages, seams (soft or hard), noise of what is seen,
noise and bias of stage labels, items with stage labels that look otherwise, designed stages that are partly wrong,
an input that knows of the answer and that the stages' fields have no word for, counts and prices of labels.
"""

import argparse
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
import torch
from advice_families import FAMILIES
from advice_parts import Arrays, Common, Mlp, World
from numpy.random import Generator, default_rng
from torch import Tensor

from seamwise import Chain, Fit, Learned, Supply, Target, Task
from seamwise.metrics import OneHot
from seamwise.stage import Stage

DEVELOPMENT = ("lookup", "measure", "place")
TEST = ("count", "automaton", "compare")

AHEAD = 16  # times the answers at hand are in the supply
N_VALIDATION, N_TEST, N_TRUTH = 150, 300, 3000
ANSWERS = (50, 100, 200, 400)
STAGE_LABELS = (30, 60, 125, 250, 500, 1000, 2000)
HINT_WIDTH = 3
FIT = Fit(
    rates=(1e-2,), min_steps=200, max_steps=400, patience=150, start_small=0, eval_every=50, warmup=20, average=0.98
)

Settings = dict[str, float | int | str]


@dataclass(frozen=True)
class Truth:
    """Items that no supply holds: inputs {field: [3000, width]} and the answers' labels [3000]."""

    inputs: dict[str, Tensor]
    labels: Tensor


@dataclass(frozen=True)
class Drawn:
    """A task, all that was drawn for it, and the labels at hand: n answers and stage_labels {field: count}."""

    family: str
    seed: int
    settings: Settings
    task: Task = field(repr=False)
    truth: Truth = field(repr=False)
    n: int
    stage_labels: dict[str, int]

    @property
    def split(self) -> str:
        return "development" if self.family in DEVELOPMENT else "test"

    @property
    def at_hand(self) -> dict[str, int]:
        """The budget at hand, {field: labels}."""
        return {self.task.answer.field: self.n, **self.stage_labels}


@dataclass(frozen=True)
class Labels:
    """How the labels at hand are: noise of answers, noise of stage labels (biased or not), shift of their inputs."""

    hint_noise: float
    answer_noise: float
    stage_noise: float
    biased: bool
    shift: float


def draw(family: str, seed: int, n: int | None = None, stage_labels: int | None = None) -> Drawn:
    """A task; the same one for the same family and seed.

    n, stage_labels: answers at hand, and labels of each other field; drawn too where not given.
    """
    rng = default_rng([zlib.crc32(family.encode()), seed])
    common, how = _common(rng), _labels(rng)
    drawn_n = int(rng.choice(ANSWERS))
    n = n or drawn_n
    world = FAMILIES[family](rng, common)
    counts, prices = _counts(rng, world)
    counts = counts if stage_labels is None else dict.fromkeys(counts, stage_labels)
    supply, truth = _examples(rng, world, common, how, n, counts, prices)
    chain = Chain(list(world.stages))
    task = Task(f"{family}-{seed}", chain, world.answer, supply, _direct(world, common, chain), fit=FIT)
    return Drawn(family, seed, _told(world, common, how, chain), task, truth, n, counts)


def _told(world: World, common: Common, how: Labels, chain: Chain) -> Settings:
    """All that was drawn; what a family does not use, as it is there."""
    last = "learned" if chain.stages[-1].name in chain.learned else "rule"
    drawn = asdict(common) | {"hint": len(common.hint)} | asdict(how) | {"last": last} | dict(world.settings)
    return {"n_stages": len(chain.stages), "n_learned": len(chain.learned), **drawn}


def _maybe(rng: Generator, share: float, low: float, high: float) -> float:
    """0 mostly; in a share of cases a number between low and high."""
    value, there = float(rng.uniform(low, high)), rng.random() < share
    return value if there else 0.0


def _common(rng: Generator) -> Common:
    hint = bool(rng.random() < 0.45)
    return Common(
        hidden=int(rng.choice([16, 24, 32])),
        depth=int(rng.integers(1, 3)),
        relu=bool(rng.random() < 0.5),
        noise=float(np.exp(rng.uniform(np.log(0.2), np.log(1.0)))),
        context_noise=float(np.exp(rng.uniform(np.log(0.2), np.log(0.8)))),
        hard=bool(rng.random() < 0.3),
        wrong=_maybe(rng, 0.35, 0.04, 0.2),
        short=bool(rng.random() < 0.25),
        last="learned" if rng.random() < 0.5 else "rule",
        hint=("hint",) if hint else (),
        hint_width=HINT_WIDTH if hint else 0,
    )


def _labels(rng: Generator) -> Labels:
    return Labels(
        hint_noise=float(rng.uniform(0.5, 1.6)),
        answer_noise=_maybe(rng, 0.2, 0.05, 0.2),
        stage_noise=_maybe(rng, 0.3, 0.05, 0.35),
        biased=bool(rng.random() < 0.5),
        shift=_maybe(rng, 0.3, 0.3, 1.2),
    )


def _counts(rng: Generator, world: World) -> tuple[dict[str, int], dict[str, float]]:
    """Stage labels at hand, as many of each field or not, and the price of each; an answer costs 1."""
    fields = [t.field for s in world.stages for t in s.targets if t.field != world.answer.field]
    base, uneven = int(rng.integers(0, len(STAGE_LABELS))), rng.random() < 0.5
    steps = [base + (int(rng.integers(-2, 3)) if uneven else 0) for _ in fields]
    counts = {f: STAGE_LABELS[min(max(k, 0), len(STAGE_LABELS) - 1)] for f, k in zip(fields, steps, strict=True)}
    prices = {f: round(float(np.exp(rng.uniform(np.log(0.05), 0))), 3) for f in fields}
    return counts, prices | {world.answer.field: 1.0}


def _examples(
    rng: Generator,
    world: World,
    common: Common,
    how: Labels,
    n: int,
    counts: Mapping[str, int],
    prices: Mapping[str, float],
) -> tuple[Supply, Truth]:
    """The supply, and what is kept out of it. Every part has a generator of its own: none changes with n."""
    rngs = dict(zip(("hint", "truth", "test", "validation", "stages", "answers", "noise"), rng.spawn(7), strict=True))
    hint = _hint(rngs["hint"], common, how)
    truth, test, validation = (
        hint(rngs[k], world.sample(rngs[k], m))
        for k, m in (("truth", N_TRUTH), ("test", N_TEST), ("validation", N_VALIDATION))
    )
    stages = hint(rngs["stages"], world.sample(rngs["stages"], 2 * max(counts.values(), default=0)))
    stages = _shifted(rngs["hint"], stages, [*world.widths, *common.hint], how.shift)
    answers = hint(rngs["answers"], world.sample(rngs["answers"], AHEAD * n))
    targets = {t.field: t for s in world.stages for t in s.targets} | {world.answer.field: world.answer}
    levels = dict.fromkeys(counts, (how.stage_noise, how.biased)) | {"answer": (how.answer_noise, False)}
    for table in (validation, stages, answers):
        for name, (noise, biased) in levels.items():
            table[name] = _noisy(rngs["noise"], table[name], targets[name], noise, biased)
    inputs = [*world.widths, *common.hint]
    tables = {"answers": ({f: answers[f] for f in [*inputs, "answer"]}, "train")}
    tables |= _stage_tables(stages, inputs, counts)
    tables |= {"validation": (validation, "validation"), "test": (test, "test")}
    kept = Truth(
        {f: torch.from_numpy(truth[f].astype(np.float32)) for f in inputs}, _as_labels(truth["answer"], world.answer)
    )
    return Supply(_grouped(tables), prices=prices), kept


def _hint(rng: Generator, common: Common, how: Labels) -> Callable[[Generator, Arrays], Arrays]:
    """What adds the hint to examples: a noisy code of the answer."""
    code = rng.normal(size=(16, HINT_WIDTH)) * 1.3

    def add(rng: Generator, table: Arrays) -> Arrays:
        if not common.hint:
            return table
        told = table["answer"]
        seen = code[told] if told.dtype.kind == "i" else np.tanh(told[:, None] * code[0] + code[1])
        return table | {"hint": seen + rng.normal(0, how.hint_noise, seen.shape)}

    return add


def _shifted(rng: Generator, table: Arrays, inputs: list[str], shift: float) -> Arrays:
    """The same items as seen elsewhere: each input number moved by a constant of its own."""
    return table | {f: table[f] + shift * rng.normal(size=table[f].shape[1]) * 0.7 for f in inputs}


def _noisy(rng: Generator, labels: np.ndarray, target: Target, noise: float, biased: bool) -> np.ndarray:
    """Labels of which a share is wrong (biased: always by one), or numbers with an error (biased: with one sign)."""
    if isinstance(target.gold, OneHot):
        n = target.gold.n_classes
        wrong = rng.random(labels.shape) < noise
        by = 1 if biased else rng.integers(1, n, labels.shape)
        return np.where(wrong, (labels + by) % n, labels)
    error = rng.normal(size=labels.shape)
    told: np.ndarray = labels + noise * labels.std() * (np.abs(error) if biased else error)
    return told


def _stage_tables(stages: Arrays, inputs: list[str], counts: Mapping[str, int]) -> dict[str, tuple[Arrays, str]]:
    """Twice the labels at hand of each field; the first items have all fields, later ones those with more."""
    tables, start = {}, 0
    for k, end in enumerate(sorted(set(counts.values()))):
        fields = [*inputs, *(f for f, m in counts.items() if m >= end)]
        tables[f"stages{k}"] = ({f: stages[f][start : 2 * end] for f in fields}, "train")
        start = 2 * end
    return tables


def _grouped(tables: Mapping[str, tuple[Arrays, str]]) -> dict[str, Arrays]:
    """Every item is a group of its own."""
    grouped, start = {}, 0
    for name, (table, split) in tables.items():
        m = len(table["answer"]) if "answer" in table else len(next(iter(table.values())))
        grouped[name] = table | {"split": np.full(m, split), "group": np.arange(start, start + m)}
        start += m
    return grouped


def _as_labels(labels: np.ndarray, target: Target) -> Tensor:
    return torch.from_numpy(labels if isinstance(target.gold, OneHot) else labels.astype(np.float32))


def _direct(world: World, common: Common, chain: Chain) -> Learned:
    """One network from all inputs to the answer, as large as it may be, up to 48 units a layer."""
    most = 2 * sum(_size(stage) for stage in chain.stages)
    shares = isinstance(world.answer.gold, OneHot)
    n_out = world.answer.gold.n_classes if isinstance(world.answer.gold, OneHot) else 1
    reads = (*world.widths, *common.hint)
    n_in, hidden = sum(world.widths.values()) + common.hint_width, 48

    def stage() -> Learned:
        return Learned("whole", partial(Mlp, n_in, hidden, n_out, 2, common.relu, shares), reads, world.answer)

    while _size(stage()) > most:
        hidden -= 4
    return stage()


def _size(stage: Stage) -> int:
    return sum(p.numel() for p in stage.build(0).parameters())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seeds", type=int, default=3, help="tasks a family")
    options = asked.parse_args()
    torch.set_num_threads(1)
    print("task           n  stages learned  seam last     noise wrong  hint  labels at hand {field: count, price}")
    for family in (*DEVELOPMENT, *TEST):
        for seed in range(options.seeds):
            print(_line(draw(family, seed)))


def _line(d: Drawn) -> str:
    s, prices = d.settings, d.task.supply.prices
    labels = ", ".join(f"{f} {m} at {prices[f]:.2f}" for f, m in d.stage_labels.items())
    hint = f"{s['hint_noise']:5.2f}" if s["hint"] else "    -"
    return (
        f"{d.task.name:12} {d.n:3}  {s['n_stages']:6} {s['n_learned']:7}  {'hard' if s['hard'] else 'soft'} "
        f"{s['last']:7} {s['noise']:6.2f} {s['wrong']:5.2f} {hint}  {labels}"
    )


if __name__ == "__main__":
    main()
