"""Scoring a trained chain on a split: per item, per stage, against the trivial predictor."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
import torch

from seamwise.blame import blame, on_gold_input
from seamwise.chain import Chain, ChainNet
from seamwise.fit import item_errors, write
from seamwise.metrics import Target
from seamwise.pins import Written
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.task import Task
from seamwise.trial import StageScore

MOST_WRITTEN = 256  # numbers an item, above which what was written is kept of the first items alone
N_SHOWN = 12  # items whose every field is kept, for pictures: half of them right, half wrong, where there are
WORST = 0.1  # of the items: those shown as wrong, where an error is not simply right or wrong


@final
@dataclass(frozen=True)
class Evaluation:
    """A trained chain on a split.

    items:    the examples scored; errors: of the answer, one an item
    by_field: the errors of each stage's target, one an item, NaN where it has no label
    written:  of every field small enough to keep, [items, ...]
    shown:    of some items, right and wrong, all there is to draw: `shown`, which of the items; `shown.FIELD`, what was
              written; `item.FIELD`, inputs and labels; `known.FIELD`, which of them have the label, where not all do
    blame:    what each stage costs the answer, see `seamwise.blame.blame`; empty where it was not asked for
    """

    items: Int[NDArray, " n"]
    errors: Float[NDArray, " n"]
    trivial: float
    by_field: dict[str, Float[NDArray, " n"]]
    stages: tuple[StageScore, ...]
    written: dict[str, NDArray]
    shown: dict[str, NDArray]
    blame: dict[str, Float[NDArray, " n"]] = field(default_factory=dict)

    @property
    def error(self) -> float:
        return float(self.errors.mean())


def evaluate(task: Task, net: ChainNet, split: str = "test", *, with_blame: bool = False) -> Evaluation:
    """Run a trained chain on all items of a split whose answer is known.

    with_blame: measure what each stage costs the answer too.
    """
    rows = task.supply.rows(split, task.answer.field)
    done = _written(task, net, rows)
    measured = blame(done, task.oracles) if with_blame else on_gold_input(done)
    labelled = {f: errors for f, errors in done.errors.items() if f in net.chain.targets}
    written = {o: done.fields[o].numpy() for stage in net.chain.stages for o in stage.outputs}
    return Evaluation(
        items=rows,
        errors=done.errors[task.answer.field],
        trivial=trivial_error(task, task.answer, rows),
        by_field=labelled,
        stages=tuple(_stage_score(task, done, f, rows, measured.get(f"gold.{f}")) for f in labelled),
        written={f: v for f, v in written.items() if v[0].size <= MOST_WRITTEN},
        shown=_shown(task, written, rows, right_and_wrong(done.errors[task.answer.field])),
        blame=measured if with_blame else {},
    )


def _written(task: Task, net: ChainNet, rows: Int[NDArray, " n"]) -> Written:
    """Run the chain on those rows, and score all that has labels."""
    supply, targets = task.supply, {f: calibrated(task, net, t) for f, t in task.targets(net.chain).items()}
    inputs, outputs = supply.take(net.chain.inputs, rows), [o for stage in net.chain.stages for o in stage.outputs]
    fields = inputs | write(net, inputs, outputs)
    labelled = [f for f in outputs if f in supply.fields]
    labels, known = supply.take(labelled, rows), {f: supply.known(f, rows) for f in labelled}
    errors = {}
    for name, target in targets.items():
        if known[name].any():
            errors[name] = np.full(len(rows), np.nan, dtype=np.float32)
            own = item_errors(target, fields[name][known[name]], labels[name][known[name]])
            errors[name][known[name].numpy()] = own.numpy()
    return Written(net, task.answer.field, fields, labels, known, targets, errors)


def calibrated(task: Task, net: ChainNet, target: Target) -> Target:
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
    task: Task, done: Written, field: str, rows: Int[NDArray, " n"], on_gold: Float[NDArray, " n"] | None
) -> StageScore:
    stage, _ = done.chain.targets[field]
    behind_gold = any(s.targets for s in done.chain.stages[: done.chain.stages.index(stage)])
    known = rows[done.known[field].numpy()]
    return StageScore(
        field=field,
        stage=stage.name,
        error=float(np.nanmean(done.errors[field])),
        error_on_gold_input=float(np.nanmean(on_gold)) if behind_gold and on_gold is not None else None,
        trivial=trivial_error(task, task.targets(done.chain)[field], known),  # its own threshold, not a network's
        unit=done.targets[field].unit,
    )


def right_and_wrong(errors: Float[NDArray, " n"], n: int = N_SHOWN) -> Int[NDArray, " m"]:
    """Which items to show: half of them right, half wrong, the first of each in turn; more of one where one is short.

    Where errors are not all 0 or 1: half of those at or below the median, half of the worst tenth.
    """
    if np.isin(errors, (0, 1)).all():
        good, bad = np.flatnonzero(errors == 0), np.flatnonzero(errors == 1)
    else:
        worst = np.argsort(-errors, kind="stable")[: max(1, round(WORST * len(errors)))]
        good = np.flatnonzero(errors <= np.median(errors))
        bad = np.setdiff1d(worst, good)
    rest = np.setdiff1d(np.arange(len(errors)), np.concatenate([good, bad]))
    half = n // 2
    n_bad = min(len(bad), max(half, n - len(good)))
    n_good = min(len(good), n - n_bad)
    good, bad = np.concatenate([good[:n_good], rest[: n - n_good - n_bad]]), bad[:n_bad]
    turn = np.concatenate([2 * np.arange(len(good)), 2 * np.arange(len(bad)) + 1])
    return np.concatenate([good, bad])[np.argsort(turn)]


def _shown(
    task: Task, written: Mapping[str, NDArray], rows: Int[NDArray, " n"], which: Int[NDArray, " m"]
) -> dict[str, NDArray]:
    """All of some items: what was written, and the inputs and labels of every variant."""
    chains: Iterable[Chain] = (task.variants | task.directs).values()
    names = sorted({f for chain in chains for f in (*chain.inputs, *task.targets(chain))})
    kept = {"shown": which} | {f"shown.{f}": v[which] for f, v in written.items()}
    kept |= {f"item.{f}": v.numpy() for f, v in task.supply.take(names, rows[which]).items()}
    known = {f: task.supply.known(f, rows[which]).numpy() for f in names}
    return kept | {f"known.{f}": there for f, there in known.items() if not there.all()}


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
