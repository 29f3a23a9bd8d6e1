"""Segments: the parts of a chain that are trained one after the other, and what each reads when it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from seamwise.chain import Chain, ChainNet
from seamwise.errors import RegimeError
from seamwise.fit import write
from seamwise.metrics import Target
from seamwise.shapes import Bool, Int, NDArray, Tensor
from seamwise.source import target_source
from seamwise.stage import Estimator, Learned, Stage
from seamwise.training import Job


@final
@dataclass(frozen=True)
class Segment:
    """Stages that can only be trained together: up to the first that has labels. Mostly one stage."""

    stages: tuple[Stage, ...]
    targets: tuple[Target, ...]

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.stages]

    @property
    def inputs(self) -> tuple[str, ...]:
        return Chain(self.stages).inputs


def segments(chain: Chain, answer: Target) -> list[Segment]:
    """The parts that independent and sequential train one after the other."""
    found: list[Segment] = []
    waiting: list[Stage] = []
    for stage in chain.stages:
        trainable = isinstance(stage, Estimator) or stage.name in chain.learned
        if waiting or trainable:
            waiting.append(stage)
        targets = stage.targets or ((answer,) if answer.field in stage.outputs else ())
        if waiting and targets:
            if isinstance(stage, Estimator) and len(waiting) > 1:
                raise RegimeError(
                    f"stage {waiting[0].name!r} has no labels of its own, and estimator {stage.name!r} stops gradient",
                    remedy="give it a Target, weights with frozen=True, or a differentiable stage behind it",
                )
            found.append(Segment(tuple(waiting), targets))
            waiting = []
    return found


def scored_before(job: Job, segment: Segment) -> bool:
    """Whether gold and what is written before the segment can differ at all."""
    return any(s.targets for s in job.chain.stages[: job.chain.stages.index(segment.stages[0])])


def lineage(chain: Chain, segment: Segment, gold: bool) -> tuple[str, ...]:
    """What decides a segment's inputs, given the data: the stages that write them, back to gold where there is."""
    writer = {output: stage for stage in chain.stages for output in stage.outputs}
    found: dict[str, None] = {}
    waiting = list(segment.inputs)
    while waiting:
        name = waiting.pop(0)
        stage = writer.get(name)
        target = next((t for t in stage.targets if t.field == name), None) if stage else None
        if gold and target is not None:
            found[target_source(target)] = None
        elif stage is not None:
            found[stage.signature] = None
            waiting += stage.inputs
    return tuple(found)


def gold_fields(chain: Chain, segment: Segment) -> tuple[str, ...]:
    """The fields with labels that are written before a segment."""
    return tuple(t.field for s in chain.stages[: chain.stages.index(segment.stages[0])] for t in s.targets)


def gold_inputs(job: Job, net: ChainNet, segment: Segment, rows: Int[NDArray, " m"]) -> dict[str, Tensor]:
    """What a segment reads, gold wherever there is gold."""
    chain, supply = job.chain, job.task.supply
    before = chain.stages[: chain.stages.index(segment.stages[0])]
    given, pins = supply.take(chain.inputs, rows), {}
    for stage in before:
        for target in stage.targets:
            known = job.known(target.field, rows)
            gold = target.gold(supply.take([target.field], rows)[target.field])
            if known.all():
                given[target.field] = gold
            else:
                pins[target.field] = (gold, known)
    return _written_by(net, before, given, segment.inputs, pins)


def lack_gold(job: Job, segment: Segment, rows: Int[NDArray, " m"]) -> Bool[Tensor, " m"]:
    """For which rows some of what the segment reads has to be predicted."""
    chain = job.chain
    writer = {output: stage for stage in chain.stages for output in stage.outputs}

    def lacks(name: str) -> Tensor:
        if name not in writer:
            return torch.zeros(len(rows), dtype=torch.bool)
        if name in [t.field for t in writer[name].targets]:
            return ~job.known(name, rows)
        if not isinstance(writer[name], Learned | Estimator):
            return torch.stack([lacks(f) for f in writer[name].inputs]).any(0)
        return torch.ones(len(rows), dtype=torch.bool)

    return torch.stack([lacks(name) for name in segment.inputs]).any(0)


def folds_of(job: Job) -> Int[NDArray, "n k"]:
    """The fold of each of an example's groups."""
    groups, index = np.unique(job.task.supply.groups, return_inverse=True)
    order = np.random.default_rng([job.seed, 5]).permutation(len(groups))
    return np.asarray(order[index] % job.task.fit.n_folds).reshape(job.task.supply.groups.shape)


def crossfitted(
    job: Job, full: ChainNet, by_fold: Sequence[ChainNet], version: NDArray, segment: Segment, rows: NDArray
) -> dict[str, Tensor]:
    """What a segment reads, each row written by the networks of its version (a fold; -1: the full ones)."""
    chain = job.chain
    before = chain.stages[: chain.stages.index(segment.stages[0])]
    order, pieces = [], []
    for v in np.unique(version):
        at = np.flatnonzero(version == v)
        given = job.task.supply.take(chain.inputs, rows[at])
        pieces.append(_written_by(full if v < 0 else by_fold[v], before, given, segment.inputs))
        order.append(at)
    back = torch.from_numpy(np.argsort(np.concatenate(order)))
    return {name: torch.cat([p[name] for p in pieces])[back] for name in segment.inputs}


def _written_by(
    net: ChainNet,
    stages: Sequence[Stage],
    given: dict[str, Tensor],
    names: Sequence[str],
    pins: dict[str, tuple[Tensor, Tensor]] | None = None,
) -> dict[str, Tensor]:
    if not stages:
        return {name: given[name] for name in names}
    return write(net.part([s.name for s in stages]), given, names, pins)
