"""check_task: the contract that every task must pass, a user's too.

In a test of your own:

    from my_task import task
    from seamwise.testing import check_task

    def test_my_task():
        check_task(task)
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from seamwise.borders import fit_estimator
from seamwise.chain import ChainNet
from seamwise.errors import RegimeError, SeamwiseError
from seamwise.evaluate import evaluate, trivial_error
from seamwise.fit import Objective, Term, write
from seamwise.metrics import Target
from seamwise.regimes import REGIME_FUNCTIONS, Trained
from seamwise.stage import Estimator, Fields, Learned
from seamwise.store import Store
from seamwise.supply import Supply
from seamwise.tables import SPLITS
from seamwise.task import Task
from seamwise.training import Job, Share, Training
from seamwise.trial import REGIMES, Regime

N_ITEMS = {"train": 64, "validation": 32, "test": 32}  # labels of each field that the check uses
N_STEPS = 40

Pair = tuple[str, Regime]


def check_task(task: Task) -> tuple[str, ...]:
    """Check, for every variant and regime, what a study takes for granted; seconds for small networks.

    - examples: no group is in two splits, subsets are nested, the trivial predictor's error is finite
    - each variant builds anew and alike for one seed, and the loss on one batch falls in a few dozen steps
    - the same seed gives the same weights and scores, whatever was trained before
    - a training saved and loaded writes the same; frozen stages stay bit-identical
    - what its stages cost the answer can be measured, oracles and all
    - `draw` and `tell` work on an item, where given

    Returns what could not be checked: regimes that cannot train a variant, and why. It trains for 40 steps on
    some of the task's own items; how well does not matter here. Needs no test runner.

    Raises AssertionError (or the SeamwiseError that was met) naming variant, regime and clause.
    """
    name = f"task {task.name!r}"
    with _clause(name, "no group is in two splits"):
        _require_apart(task.supply)
    small = _small(task)
    _check_supply(name, small)
    for variant in (*small.variants, *small.directs):
        _check_build(f"{name}, variant {variant!r}", small, variant)
    return _check_regimes(name, small)


def _check_supply(name: str, task: Task) -> None:
    targets = {f: t for v in task.variants for f, t in task.targets(task.chain_of(v)).items()}
    for field, target in targets.items():
        where, held = f"{name}, field {field!r}", task.supply.held(field)
        with _clause(where, "a smaller budget's examples are among a larger one's"):
            fewer, more = (task.supply.subset({field: n}, 0)[field] for n in (held // 2, held))
            _require(set(fewer) <= set(more) and len(more) == held, "subsets of one seed are not nested")
        with _clause(where, "the trivial predictor answers as a stage would, with a finite error"):
            _check_trivial(task, target)


def _check_trivial(task: Task, target: Target) -> None:
    train, test = (task.supply.rows(split, target.field) for split in ("train", "test"))
    if len(train):
        labels = task.supply.take([target.field], train)[target.field]
        given, expected = task.guess(labels, target).shape, target.gold(labels).shape[1:]
        _require(given == expected, f"it answers in shape {list(given)}, expected {list(expected)}")
    if len(test):
        error = trivial_error(task, target, test)
        _require(math.isfinite(error), f"its error is {error}")


def _require_apart(supply: Supply) -> None:
    for k, split in enumerate(SPLITS):
        for other in SPLITS[k + 1 :]:
            both = np.intersect1d(supply.groups[supply.rows(split)], supply.groups[supply.rows(other)])
            _require(not len(both), f"{len(both)} groups are in {split} and in {other}")


def _check_build(where: str, task: Task, variant: str) -> None:
    chain = task.chain_of(variant)
    with _clause(where, "a stage's function returns a new network, for one seed always the same"):
        one, two = chain.build(0), chain.build(0)
        shared = {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}
        _require(not shared, "it returned the same module twice: build it inside the function")
        _require_same_weights(one.state_dict(), two.state_dict())
    with _clause(where, f"the loss on one batch falls in {N_STEPS} steps"):
        before, after = _learn_one_batch(task, variant)
        _require(before is None or after is None or after < before, f"it went from {before} to {after}")


def _learn_one_batch(task: Task, variant: str) -> tuple[float | None, float | None]:
    """The loss of all targets on some items before and after; None where no gradient comes from any."""
    job = _job(task, variant, lambda _, make: make(""))
    net, terms = job.chain.build(0), [Term(t) for t in task.targets(job.chain).values()]
    _fit_estimators(job, net)
    rows = np.unique(np.concatenate([rows[: task.fit.batch] for rows in job.subset.values()]))
    given = task.supply.take(job.chain.inputs, rows)
    fixed = job.chain.constant
    fields = write(net.part(fixed), given, [*given, *_outputs(net, fixed)]) if fixed else given
    batch = job.examples(fields, rows, terms)
    objective = Objective(terms, batch)
    every = torch.arange(len(rows))
    before = objective(net.eval(), every)
    if before is None:
        return None, None
    optimizer = torch.optim.AdamW(net.parameters(), lr=max(task.fit.rates))
    for _ in range(N_STEPS):
        loss = objective(net.train(), every)
        optimizer.zero_grad()
        if loss is not None:
            torch.autograd.backward(loss)
        optimizer.step()
    after = objective(net.eval(), every)
    return float(before.detach()), None if after is None else float(after.detach())


def _fit_estimators(job: Job, net: ChainNet) -> None:
    for stage in job.chain.stages:
        if isinstance(stage, Estimator):
            rows = np.sort(job.subset[stage.outputs[0]])
            labels = job.task.supply.take(stage.outputs, rows)[stage.outputs[0]]
            fit_estimator(net, stage, job.task.supply.take(job.chain.inputs, rows), labels)


def _check_regimes(name: str, task: Task) -> tuple[str, ...]:
    """Train every pair twice, the second time in the other order, and compare."""
    pairs: list[Pair] = [(v, r) for r in REGIMES for v in (task.directs if r == "direct" else task.variants)]
    kept: dict[str, Training] = {}
    impossible: dict[Pair, str] = {}

    def in_memory(hash_: str, make: Callable[[str], Training]) -> Training:
        return kept[hash_] if hash_ in kept else kept.setdefault(hash_, make(hash_))

    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        loaded = {pair: _train(name, task, pair, store.share, impossible) for pair in pairs}
        torch.manual_seed(1)  # what was drawn before must not matter
        fresh = {pair: _train(name, task, pair, in_memory, impossible) for pair in reversed(pairs)}
    for pair in pairs:
        one, two = loaded[pair], fresh[pair]
        if one is not None and two is not None:
            _check_trained(_where(name, pair), task, pair, one, two)
    return tuple(f"{_where(name, pair)}: {why}" for pair, why in impossible.items())


def _train(name: str, task: Task, pair: Pair, share: Share, impossible: dict[Pair, str]) -> Trained | None:
    with _clause(_where(name, pair), "it trains"):
        try:
            return REGIME_FUNCTIONS[pair[1]](_job(task, pair[0], share))
        except RegimeError as error:
            impossible[pair] = str(error)
            return None


def _check_trained(where: str, task: Task, pair: Pair, loaded: Trained, fresh: Trained) -> None:
    with _clause(where, "the same seed gives the same result, whatever was trained before"):
        _require(
            [t.hash for t in loaded.trainings] == [t.hash for t in fresh.trainings],
            "the trainings' hashes differ: the source of a stage is not the same from run to run",
        )
        for kept, new in zip(loaded.trainings, fresh.trainings, strict=True):
            first, second = ((t.error, t.train_error, t.trivial, t.n_steps) for t in (kept, new))
            _require(np.array_equal(first, second, equal_nan=True), f"{kept.stages}: scores {first} and {second}")
            _require_same_weights(kept.weights, new.weights)
    with _clause(where, "saved and loaded, the same is written"):
        one, two = (evaluate(task, trained.net) for trained in (loaded, fresh))
        _require(np.array_equal(one.errors, two.errors), f"errors {one.error} and {two.error}")
        for field, values in one.written.items():
            _require(np.array_equal(values, two.written[field], equal_nan=True), f"field {field!r} differs")
    if pair[1] != "direct":
        with _clause(where, "what its stages cost the answer can be measured"):
            _check_blame(task, loaded.net)
    with _clause(where, "frozen stages stay bit-identical"):
        start = loaded.net.chain.build(0)
        for stage in loaded.net.chain.stages:
            if isinstance(stage, Learned) and stage.frozen:
                _require_same_weights(loaded.net.nets[stage.name].state_dict(), start.nets[stage.name].state_dict())
    _check_shown(where, task, loaded.net)


def _check_blame(task: Task, net: ChainNet) -> None:
    measured = evaluate(task, net, with_blame=True)
    for name, values in measured.blame.items():
        _require(values.shape == measured.errors.shape, f"{name}: {values.shape}, not one an item")
        _require(not bool(np.isinf(values).any()), f"{name} is not finite")


def _check_shown(where: str, task: Task, net: ChainNet) -> None:
    row = task.supply.rows("test", task.answer.field)[:1]
    fields = [*net.chain.inputs, *task.targets(net.chain)]
    item = {f: v[0].numpy() for f, v in task.supply.take(fields, row).items() if task.supply.known(f, row).all()}
    outputs = [o for stage in net.chain.stages for o in stage.outputs]
    given = task.supply.take(net.chain.inputs, row)
    written = {f: v[0].numpy() for f, v in write(net, given, outputs).items()}
    if task.draw is not None:
        with _clause(where, "draw(item, written) returns a picture"):
            picture = np.asarray(task.draw(item, written))
            fits = picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
            _require(fits, f"{picture.dtype} {picture.shape}, expected uint8 [height, width, 3]")
    if task.tell is not None:
        with _clause(where, "tell(written) returns what JSON can hold"):
            json.dumps(task.tell(written))


def _small(task: Task) -> Task:
    """The task with few items and few steps."""
    fields = {f for v in (*task.variants, *task.directs) for f in task.targets(task.chain_of(v))}
    rng = np.random.default_rng(0)
    known = [(task.supply.rows(split, field), n) for split, n in N_ITEMS.items() for field in sorted(fields)]
    chosen = [rng.permutation(rows)[:n] for rows, n in known]
    settings = replace(
        task.fit, rates=task.fit.rates[:1], min_steps=N_STEPS, max_steps=N_STEPS, eval_every=N_STEPS // 2, warmup=5,
        n_folds=2,
    )  # fmt: skip
    return task.with_supply(task.supply.only(np.unique(np.concatenate(chosen)))).with_fit(settings)


def _job(task: Task, variant: str, share: Share) -> Job:
    fields = task.targets(task.chain_of(variant))
    return Job(task, variant, {f: task.supply.held(f) for f in fields}, 0, share)


def _outputs(net: ChainNet, names: Sequence[str]) -> list[str]:
    return [o for stage in net.chain.stages if stage.name in names for o in stage.outputs]


def _where(name: str, pair: Pair) -> str:
    return f"{name}, variant {pair[0]!r}, regime {pair[1]}"


def _require_same_weights(one: Fields, two: Fields) -> None:
    for key in one:
        _require(torch.equal(one[key], two[key]), f"{key} differs")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


@contextmanager
def _clause(where: str, clause: str) -> Iterator[None]:
    """Say of whatever is raised inside where it was and which clause it broke."""
    try:
        yield
    except SeamwiseError as error:
        raise type(error)(f"{where}: {clause}: {error}") from error
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        raise AssertionError(f"{where}: {clause}: {kind}{error}") from error
