"""Scoring a trained chain on a split: per item, per stage, against the trivial predictor."""

import time
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch

from seamwise.chain import ChainNet
from seamwise.fit import item_errors, write
from seamwise.metrics import Target
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.stage import Stage
from seamwise.task import Task
from seamwise.trial import StageScore

MOST_WRITTEN = 256  # numbers an item, above which what was written is kept of the first items alone
N_SHOWN = 12  # test items whose every field is kept, for pictures


@final
@dataclass(frozen=True)
class Evaluation:
    """items: the examples scored; errors: of the answer, one an item; by_field: of each stage's target, one an
    item, NaN where it has no label; written: of every field small enough to keep, [items, ...].
    """

    items: Int[NDArray, " n"]
    errors: Float[NDArray, " n"]
    trivial: float
    by_field: dict[str, Float[NDArray, " n"]]
    stages: tuple[StageScore, ...]
    written: dict[str, NDArray]
    shown: dict[str, NDArray]

    @property
    def error(self) -> float:
        return float(self.errors.mean())


def evaluate(task: Task, net: ChainNet, split: str = "test") -> Evaluation:
    """Run a trained chain on all items of a split whose answer is known."""
    supply, chain = task.supply, net.chain
    rows = supply.rows(split, task.answer.field)
    outputs = [o for stage in chain.stages for o in stage.outputs]
    written = write(net, supply.take(chain.inputs, rows), outputs)
    scored = {name: _calibrated(task, net, target) for name, target in task.targets(chain).items()}
    labels = supply.take([task.answer.field], rows)[task.answer.field]
    by_field, stages = {}, []
    for stage in chain.stages:
        for target in (scored[t.field] for t in stage.targets):
            known = supply.known(target.field, rows)
            if known.any():
                errors = np.full(len(rows), np.nan, dtype=np.float32)
                gold = supply.take([target.field], rows)[target.field][known]
                errors[known.numpy()] = item_errors(target, written[target.field][known], gold).numpy()
                by_field[target.field] = errors
                stages.append(_stage_score(task, net, stage, target, rows[known.numpy()], float(np.nanmean(errors))))
    answers = item_errors(scored[task.answer.field], written[task.answer.field], labels).numpy()
    small = {k: v.numpy() for k, v in written.items() if v[0].numel() <= MOST_WRITTEN}
    shown = {k: v[:N_SHOWN].numpy() for k, v in written.items()}
    return Evaluation(rows, answers, trivial_error(task, task.answer, rows), by_field, tuple(stages), small, shown)


def _calibrated(task: Task, net: ChainNet, target: Target) -> Target:
    """The target with a metric that was set on the validation split, where it asks for that."""
    if target.calibrate is None:
        return target
    rows = task.supply.rows("validation", target.field)
    if not len(rows):
        return target
    written = write(net, task.supply.take(net.chain.inputs, rows), [target.field])[target.field]
    labels = task.supply.take([target.field], rows)[target.field]
    return replace(target, metric=target.calibrate(written, labels))


def _stage_score(
    task: Task, net: ChainNet, stage: Stage, target: Target, rows: Int[NDArray, " m"], error: float
) -> StageScore:
    return StageScore(
        field=target.field,
        stage=stage.name,
        error=error,
        error_on_gold_input=_on_gold_input(task, net, stage, target, rows),
        trivial=trivial_error(task, task.targets(net.chain)[target.field], rows),  # its own threshold, not a network's
        unit=target.unit,
    )


def _on_gold_input(task: Task, net: ChainNet, stage: Stage, target: Target, rows: Int[NDArray, " m"]) -> float | None:
    """The stage's error where every stage before it is replaced by its gold (a prefix pin).

    On those of the rows that have all the gold; None where there are none, or no gold comes before the stage.
    """
    supply = task.supply
    before = net.chain.stages[: net.chain.stages.index(stage)]
    golds = [gold for earlier in before for gold in earlier.targets]
    for gold in golds:
        rows = rows[supply.known(gold.field, rows).numpy()]
    if not golds or not len(rows):
        return None
    given = supply.take(net.chain.inputs, rows)
    for gold in golds:
        given[gold.field] = gold.gold(supply.take([gold.field], rows)[gold.field])
    part = net.part([s.name for s in [*before, stage]])
    errors = item_errors(
        target, write(part, given, [target.field])[target.field], supply.take([target.field], rows)[target.field]
    )
    return float(errors.mean())


def trivial_error(task: Task, target: Target, rows: Int[NDArray, " m"]) -> float:
    """The mean error on those rows of what one answers from the training labels without looking."""
    supply = task.supply
    seen = supply.rows("train", target.field)
    if not len(seen):  # labels for scoring alone
        seen = np.flatnonzero(supply.present[target.field].numpy())
    guess = task.guess(supply.take([target.field], seen)[target.field], target)
    labels = supply.take([target.field], rows)[target.field]
    return float(item_errors(target, guess.expand(len(labels), *guess.shape), labels).mean())


def latency_ms(net: ChainNet, inputs: dict[str, Tensor], n_runs: int = 15) -> float:
    """Milliseconds for one item alone, the median of some runs after a warm-up."""
    one = {name: v[:1] for name, v in inputs.items()}
    times: list[float] = []
    net.eval()
    with torch.no_grad():
        for _ in range(n_runs + 3):
            start = time.perf_counter()
            net(one)
            times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[3:]))
