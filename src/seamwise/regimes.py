"""The six ways of training a chain, one function each.

Source: Koh et al. 2020, Concept Bottleneck Models (arXiv 2007.04612): independent, sequential, joint, and
standard, here `direct`. Differs: sequential trains on cross-fitted predictions; `tuned` starts joint training
from the independent weights; `endtoend` is joint with no stage loss.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch

from seamwise.chain import Chain, ChainNet
from seamwise.errors import TrainingError
from seamwise.fit import Term, write
from seamwise.metrics import Target
from seamwise.shapes import Bool, Int, NDArray, Tensor
from seamwise.stage import Estimator, Learned, Stage
from seamwise.task import Task
from seamwise.training import Job, Training, digest_rows, install, train_estimator, train_net
from seamwise.trial import Regime


@final
@dataclass(frozen=True)
class Trained:
    """A chain trained one way: its networks, the trainings that compose it, and what was to be said about it."""

    net: ChainNet
    trainings: tuple[Training, ...]
    notes: tuple[str, ...]


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


def independent(job: Job) -> Trained:
    """Each learned stage alone, on gold input; on predicted input only where an item has no gold, and says so."""
    net, trainings, notes = job.chain.build(job.seed), [], []
    for segment in segments(job.chain, job.task.answer):
        rows = job.rows([t.field for t in segment.targets])
        lacking = _lack_gold(job, segment, rows)
        if lacking.any():
            notes.append(
                f"{'+'.join(segment.names)}: no gold input for {int(lacking.sum())} of {len(rows)} items, "
                "so the stages before it wrote it"
            )
        origin = ("gold", *(t.hash for t in trainings)) if lacking.any() else ("gold",)
        training = _train_segment(job, net, segment, rows, lambda s, r: _gold_inputs(job, net, s, r), origin)
        install(net, training)
        trainings.append(training)
    return Trained(net, tuple(trainings), (*notes, *_together(job)))


def sequential(job: Job) -> Trained:
    """Each learned stage in order, on cross-fitted predictions of those before it.

    A training item whose group an earlier stage was trained on is written by that stage's networks from the
    fold (of `n_folds`, by the first group) that left the group out; other items by the full networks. The
    folds of a later stage are trained on those same predictions (Differs from nested cross-fitting).
    """
    folds = _folds(job)
    full = job.chain.build(job.seed)
    by_fold = [job.chain.build(job.seed) for _ in range(job.task.fit.n_folds)]
    trainings: list[Training] = []
    seen = np.zeros(0, dtype=np.int64)
    parts = segments(job.chain, job.task.answer)
    groups = job.task.supply.groups[:, 0]

    def predicted(segment: Segment, rows: Int[NDArray, " m"]) -> dict[str, Tensor]:
        return _crossfitted(job, full, by_fold, np.where(np.isin(groups[rows], seen), folds[rows], -1), segment, rows)

    for k, segment in enumerate(parts):
        rows = job.rows([t.field for t in segment.targets])
        origin = ("crossfitted", *(t.hash for t in trainings)) if _scored_before(job, segment) else ("gold",)
        training = _train_segment(job, full, segment, rows, predicted, origin)
        own_groups = groups[rows]
        if any(np.isin(groups[job.rows([t.field for t in p.targets])], own_groups).any() for p in parts[k + 1 :]):
            for fold, net in enumerate(by_fold):
                rest = rows[folds[rows] != fold]
                install(net, _train_segment(job, net, segment, rest, predicted, (*origin, f"without fold {fold}")))
        else:
            for net in by_fold:
                install(net, training)
        install(full, training)
        trainings.append(training)
        seen = np.union1d(seen, own_groups)
    return Trained(full, tuple(trainings), _together(job))


def tuned(job: Job) -> Trained:
    """The whole chain by the answer's loss and lambda times the stage losses, from the independent weights."""
    start = independent(job)
    trained = _whole(job, start.net, job.task.fit.stage_weight, start.trainings)
    return Trained(trained.net, (*start.trainings, *trained.trainings), (*start.notes, *trained.notes))


def joint(job: Job) -> Trained:
    """The whole chain at once by the answer's loss and lambda times the stage losses, from scratch."""
    return _whole(job, job.chain.build(job.seed), job.task.fit.stage_weight, ())


def endtoend(job: Job) -> Trained:
    """The whole chain by the answer's loss alone, from scratch (or given weights)."""
    return _whole(job, job.chain.build(job.seed), 0.0, ())


def direct(job: Job) -> Trained:
    """One network without stages, by the answer's loss: the job's variant names which."""
    return _whole(job, job.chain.build(job.seed), 0.0, ())


REGIME_FUNCTIONS: Mapping[Regime, Callable[[Job], Trained]] = {
    "independent": independent,
    "sequential": sequential,
    "tuned": tuned,
    "joint": joint,
    "endtoend": endtoend,
    "direct": direct,
}


def fields_used(task: Task, variant: str, regime: Regime) -> tuple[str, ...]:
    """Whose labels a regime trains on. Two budgets that agree on these give the same training."""
    if regime in ("endtoend", "direct"):
        return (task.answer.field,)
    own = [t.field for s in segments(task.chain_of(variant), task.answer) for t in s.targets]
    whole = [task.answer.field] if regime in ("tuned", "joint") else []
    return tuple(dict.fromkeys([*own, *whole]))


def segments(chain: Chain, answer: Target) -> list[Segment]:
    """The parts that independent and sequential train one after the other."""
    found, waiting = [], []
    for stage in chain.stages:
        trainable = isinstance(stage, Estimator) or stage.name in chain.learned
        if waiting or trainable:
            waiting.append(stage)
        targets = stage.targets or ((answer,) if answer.field in stage.outputs else ())
        if waiting and targets:
            if isinstance(stage, Estimator) and len(waiting) > 1:
                raise TrainingError(
                    f"stage {waiting[0].name!r} has no labels of its own, and estimator {stage.name!r} stops gradient",
                    remedy="give it a Target, weights with frozen=True, or a differentiable stage behind it",
                )
            found.append(Segment(tuple(waiting), targets))
            waiting = []
    return found


def _scored_before(job: Job, segment: Segment) -> bool:
    """Whether gold and what is written before the segment can differ at all."""
    return any(s.targets for s in job.chain.stages[: job.chain.stages.index(segment.stages[0])])


def _together(job: Job) -> tuple[str, ...]:
    parts = [s for s in segments(job.chain, job.task.answer) if len(s.stages) > 1]
    return tuple(f"{'+'.join(s.names)}: trained together by {s.targets[0].field!r}" for s in parts)


def _train_segment(
    job: Job,
    net: ChainNet,
    segment: Segment,
    rows: Int[NDArray, " m"],
    inputs: Callable[[Segment, NDArray], dict[str, Tensor]],
    origin: Sequence[str],
) -> Training:
    """Train one segment, or take it from a trial that did: it depends on the labels of its own targets alone."""
    own = {t.field: np.intersect1d(job.subset.get(t.field, np.zeros(0, np.int64)), rows) for t in segment.targets}
    key = job.key(*(s.signature for s in segment.stages), digest_rows(own), *origin)
    terms = [Term(t) for t in segment.targets]

    def make(hash_: str) -> Training:
        validation_rows = _validation(job, segment.targets)
        train = job.examples(inputs(segment, rows), rows, terms)
        validation = job.examples(inputs(segment, validation_rows), validation_rows, terms)
        last = segment.stages[-1]
        if isinstance(last, Estimator):
            return train_estimator(hash_, job, net, last, train, validation)
        return train_net(
            hash_, job, lambda: job.chain.build(job.seed).part(segment.names), train, validation, terms, terms[0].target
        )

    return job.share(key, make)


def _whole(job: Job, net: ChainNet, stage_weight: float, before: Sequence[Training]) -> Trained:
    """Train all that gradient can change, picked by the answer's validation score.

    Estimators stop gradient, so a chain with one is trained in blocks, in order: what is before it by its own
    labels, if the regime uses them; the estimator; what is behind it.
    """
    answer, targets = job.task.answer, job.chain.targets
    terms = {answer.field: Term(answer)}
    if stage_weight:
        terms |= {name: Term(t, stage_weight) for name, (_, t) in targets.items() if name != answer.field}
    trainings, notes = list(before), []
    for block in _blocks(job.chain):
        written = [o for stage in block for o in stage.outputs]
        own = [term for name, term in terms.items() if name in written]
        if own:
            training = _train_block(job, net, block, own, stage_weight, trainings)
            install(net, training)
            trainings.append(training)
        elif any(s.name in job.chain.learned for s in block):
            notes.append(f"{'+'.join(s.name for s in block)}: as it started, no gradient comes from the answer")
    if len(trainings) == len(before):
        raise TrainingError("nothing in this chain can learn from the answer")
    return Trained(net, tuple(trainings[len(before) :]), (*notes, *_stopped_seams(job, net)))


def _train_block(
    job: Job,
    net: ChainNet,
    block: Sequence[Stage],
    terms: Sequence[Term],
    stage_weight: float,
    before: Sequence[Training],
) -> Training:
    labels = {t.target.field: job.subset.get(t.target.field, np.zeros(0, np.int64)) for t in terms}
    rows, chosen_by = job.rows(list(labels)), terms[0].target
    names = [s.name for s in block]
    key = job.key(job.chain.signature, *names, digest_rows(labels), stage_weight, *(t.hash for t in before))

    def make(hash_: str) -> Training:
        fixed = [s.name for s in job.chain.stages[: job.chain.stages.index(block[0])]]
        fixed += [name for name in _constant(job.chain) if name not in fixed]
        part = net.part([name for name in names if name not in fixed])

        def computed(r: Int[NDArray, " m"]) -> dict[str, Tensor]:
            """What no step of this training changes is computed once."""
            given = job.task.supply.take(job.chain.inputs, r)
            return write(net.part(fixed), given, part.chain.inputs) if fixed else given

        validation_rows = _validation(job, [chosen_by])
        train = job.examples(computed(rows), rows, terms)
        validation = job.examples(computed(validation_rows), validation_rows, [Term(chosen_by)])
        if isinstance(block[0], Estimator):
            return train_estimator(hash_, job, net, block[0], train, validation)
        return train_net(hash_, job, lambda: copy.deepcopy(part), train, validation, terms, chosen_by)

    return job.share(key, make)


def _blocks(chain: Chain) -> list[list[Stage]]:
    """The stages, cut before and behind every estimator."""
    blocks: list[list[Stage]] = [[]]
    for stage in chain.stages:
        if isinstance(stage, Estimator):
            blocks += [[stage], []]
        else:
            blocks[-1].append(stage)
    return [block for block in blocks if block]


def _constant(chain: Chain) -> list[str]:
    """The stages that no training changes and that read nothing such a stage wrote."""
    names, fields = [], set(chain.inputs)
    for stage in chain.stages:
        learns = stage.name in chain.learned or isinstance(stage, Estimator)
        if not learns and fields.issuperset(stage.inputs):
            names.append(stage.name)
            fields.update(stage.outputs)
    return names


def _stopped_seams(job: Job, net: ChainNet) -> tuple[str, ...]:
    rows = job.rows([job.task.answer.field])[:32]
    if not len(rows):
        return ()
    batch = job.task.supply.take([*job.chain.inputs, job.task.answer.field], rows)
    learned = set(job.chain.learned)
    stopped, reached = [], False
    for stage in job.chain.stages:
        reached = reached or stage.name in learned
        if reached:
            stopped += [
                s for s in job.chain.seams(batch, net, job.task.answer) if s.writer == stage.name and not s.passes
            ]
    return tuple(
        f"no gradient crosses {s.field!r} ({s.stopped_by}): the answer trains only what is behind it" for s in stopped
    )


def _validation(job: Job, targets: Sequence[Target]) -> Int[NDArray, " m"]:
    supply = job.task.supply
    rows = np.unique(np.concatenate([supply.rows("validation", t.field) for t in targets]))
    if not len(rows):
        raise TrainingError(
            f"no validation item has a label of {' or '.join(t.field for t in targets)}",
            remedy="label some items of the validation split: training stops by their score",
        )
    return rows


def _gold_inputs(job: Job, net: ChainNet, segment: Segment, rows: Int[NDArray, " m"]) -> dict[str, Tensor]:
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


def _lack_gold(job: Job, segment: Segment, rows: Int[NDArray, " m"]) -> Bool[Tensor, " m"]:
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


def _folds(job: Job) -> Int[NDArray, " n"]:
    """The fold of every example, by its first group."""
    groups, index = np.unique(job.task.supply.groups[:, 0], return_inverse=True)
    order = np.random.default_rng([job.seed, 5]).permutation(len(groups))
    return np.asarray(order[index] % job.task.fit.n_folds)


def _crossfitted(
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
