"""The six ways of training a chain, one function each.

Source: Koh et al. 2020, Concept Bottleneck Models (arXiv 2007.04612): independent, sequential, joint, and
standard, here `direct`. Differs: sequential trains on cross-fitted predictions; `tuned` starts joint training
from the independent weights; `endtoend` is joint with no stage loss.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import final

import numpy as np

from seamwise.chain import Chain, ChainNet
from seamwise.errors import RegimeError, TrainingError
from seamwise.fit import Term, write
from seamwise.metrics import Target
from seamwise.segments import (
    Segment,
    crossfitted,
    folds_of,
    gold_fields,
    gold_inputs,
    lack_gold,
    lineage,
    scored_before,
    segments,
)
from seamwise.shapes import Int, NDArray, Tensor
from seamwise.source import target_source
from seamwise.stage import Estimator, EstimatorNet, Stage
from seamwise.task import Task
from seamwise.training import Job, Training, digest_rows, install, train_estimator, train_net
from seamwise.trial import Regime, SeamRecord

N_SEAM_ITEMS = 32


@final
@dataclass(frozen=True)
class Trained:
    """A chain trained one way: its networks, the trainings that compose it, what was to be said about it, its seams."""

    net: ChainNet
    trainings: tuple[Training, ...]
    notes: tuple[str, ...]
    seams: tuple[SeamRecord, ...] = ()


def independent(job: Job) -> Trained:
    """Each learned stage alone, on gold input; on predicted input only where an item has no gold, and says so."""
    net = job.chain.build(job.seed)
    trainings: list[Training] = []
    notes: list[str] = []
    for segment in segments(job.chain, job.task.answer):
        rows = job.rows([t.field for t in segment.targets])
        lacking = lack_gold(job, segment, rows)
        if lacking.any():
            notes.append(
                f"{'+'.join(segment.names)}: no gold input for {int(lacking.sum())} of {len(rows)} items, "
                "so the stages before it wrote it"
            )
        origin = lineage(job.chain, segment, gold=True)
        if lacking.any() or lack_gold(job, segment, _validation(job, segment.targets[0])).any():
            bought = {f: job.subset[f] for f in gold_fields(job.chain, segment) if f in job.subset}
            origin += (*lineage(job.chain, segment, gold=False), *(t.hash for t in trainings), digest_rows(bought))
        training = _train_segment(job, net, segment, rows, lambda s, r: gold_inputs(job, net, s, r), origin)
        install(net, training)
        trainings.append(training)
    return Trained(net, tuple(trainings), (*notes, *_together(job)), _seams(job, net))


def sequential(job: Job) -> Trained:
    """Each learned stage in order, on cross-fitted predictions of those before it.

    Every group is in one of `n_folds`. A training item of a group that an earlier stage was trained on is written
    by that stage's networks that left out all items with a group of that fold; other items by the full networks.
    An item with two such groups in two folds can be kept from one of them only; a note counts those. The folds of a
    later stage are trained on those same predictions (Differs from nested cross-fitting).
    """
    folds = folds_of(job)
    full = job.chain.build(job.seed)
    by_fold = [job.chain.build(job.seed) for _ in range(job.task.fit.n_folds)]
    trainings: list[Training] = []
    seen = np.zeros(0, dtype=np.int64)
    parts = segments(job.chain, job.task.answer)
    groups = job.task.supply.groups

    def predicted(segment: Segment, rows: Int[NDArray, " m"]) -> dict[str, Tensor]:
        known = np.isin(groups[rows], seen)
        version = np.where(known.any(1), folds[rows, known.argmax(1)], -1)
        return crossfitted(job, full, by_fold, version, segment, rows)

    for k, segment in enumerate(parts):
        rows = job.rows([t.field for t in segment.targets])
        origin = lineage(job.chain, segment, gold=not scored_before(job, segment))
        if scored_before(job, segment):
            origin += ("crossfitted", *(t.hash for t in trainings))
        training = _train_segment(job, full, segment, rows, predicted, origin)
        own_groups = groups[rows]
        if any(np.isin(groups[job.rows([t.field for t in p.targets])], own_groups).any() for p in parts[k + 1 :]):
            for fold, net in enumerate(by_fold):
                rest = rows[(folds[rows] != fold).all(1)]
                if not len(rest):
                    raise TrainingError(
                        f"cross-fitting cannot leave out a fold of {len(rows)} labels of {segment.targets[0].field!r}",
                        remedy="give labels of more groups",
                    )
                if len(rest) < len(rows):
                    part = _train_segment(job, net, segment, rest, predicted, (*origin, f"without fold {fold}"))
                    trainings.append(part)
                install(net, part if len(rest) < len(rows) else training)
        else:
            for net in by_fold:
                install(net, training)
        install(full, training)
        trainings.append(training)
        seen = np.union1d(seen, own_groups)
    return Trained(full, tuple(trainings), (*_together(job), *_half_apart(job, parts, folds)), _seams(job, full))


def _half_apart(job: Job, parts: Sequence[Segment], folds: Int[NDArray, "n k"]) -> tuple[str, ...]:
    if len(parts) < 2:
        return ()
    rows = job.rows([t.field for p in parts[1:] for t in p.targets])
    seen = np.unique(job.task.supply.groups[job.rows([t.field for p in parts[:-1] for t in p.targets])])
    known = np.isin(job.task.supply.groups[rows], seen)
    first = folds[rows, known.argmax(1)][:, None]
    n = int((known & (folds[rows] != first)).any(1).sum())
    return (f"cross-fitted by one of their groups only: {n} of {len(rows)} items",) if n else ()


def tuned(job: Job) -> Trained:
    """The whole chain by the answer's loss and lambda times the stage losses, from the independent weights."""
    start = independent(job)
    trained = _whole(job, start.net, job.task.fit.stage_weight, start.trainings)
    trainings, notes = (*start.trainings, *trained.trainings), (*start.notes, *trained.notes)
    return Trained(trained.net, trainings, notes, trained.seams)


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
    chain = task.chain_of(variant)
    own = list(chain.targets)  # those of fixed stages too: they are gold to others
    with suppress(RegimeError):  # the trial will say so
        own += [t.field for s in segments(chain, task.answer) for t in s.targets]
    whole = [task.answer.field] if regime in ("tuned", "joint") else []
    return tuple(dict.fromkeys([*own, *whole]))


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
    if not len(rows):
        raise TrainingError(f"no training item has a label of {' or '.join(repr(t.field) for t in segment.targets)}")
    own = {t.field: np.intersect1d(job.subset.get(t.field, np.zeros(0, np.int64)), rows) for t in segment.targets}
    scoring = [target_source(t) for t in segment.targets]
    key = job.key(*(s.signature for s in segment.stages), *scoring, digest_rows(own), *origin)
    terms = [Term(t) for t in segment.targets]

    def make(hash_: str) -> Training:
        validation_rows = _validation(job, segment.targets[0])
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
    constant = job.chain.constant
    for block in _blocks(job.chain):
        free = [stage for stage in block if stage.name not in constant]
        written = [o for stage in free for o in stage.outputs]
        own = [term for name, term in terms.items() if name in written]
        if own:
            training = _train_block(job, net, free, own, stage_weight, trainings)
            install(net, training)
            trainings.append(training)
        elif any(s.name in job.chain.learned for s in free):
            notes.append(f"{'+'.join(s.name for s in free)}: as it started, no gradient comes from the answer")
        elif free and isinstance(free[0], Estimator) and not _is_fitted(net, free[0]):
            raise RegimeError(
                f"estimator {free[0].name!r} learns from {free[0].outputs[0]!r}, which this regime does not use"
            )
    if answer.field not in [t.target for t in trainings[len(before) :]]:
        raise RegimeError("nothing in this chain can learn from the answer")
    seams = _seams(job, net)
    return Trained(net, tuple(trainings[len(before) :]), (*notes, *_stopped(job.chain, seams)), seams)


def _is_fitted(net: ChainNet, stage: Estimator) -> bool:
    own = net.nets[stage.name]
    return isinstance(own, EstimatorNet) and own.fitted is not None


def _train_block(
    job: Job,
    net: ChainNet,
    free: Sequence[Stage],
    terms: Sequence[Term],
    stage_weight: float,
    before: Sequence[Training],
) -> Training:
    labels = {t.target.field: job.subset.get(t.target.field, np.zeros(0, np.int64)) for t in terms}
    rows, chosen_by = job.rows(list(labels)), terms[0].target
    names = [s.name for s in free]
    if not len(rows):
        raise TrainingError(f"no training item has a label of {' or '.join(map(repr, labels))}")
    signature = job.task.signature[job.variant]
    key = job.key(signature, *names, digest_rows(labels), stage_weight, *(t.hash for t in before))

    def make(hash_: str) -> Training:
        fixed = [s.name for s in job.chain.stages[: job.chain.stages.index(free[0])]]
        fixed += [name for name in job.chain.constant if name not in fixed]
        part = net.part(names)

        def computed(r: Int[NDArray, " m"]) -> dict[str, Tensor]:
            """What no step of this training changes is computed once."""
            given = job.task.supply.take(job.chain.inputs, r)
            return write(net.part(fixed), given, part.chain.inputs) if fixed else given

        validation_rows = _validation(job, chosen_by)
        train = job.examples(computed(rows), rows, terms)
        validation = job.examples(computed(validation_rows), validation_rows, [Term(chosen_by)])
        if isinstance(free[0], Estimator):
            return train_estimator(hash_, job, net, free[0], train, validation)
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


def _seams(job: Job, net: ChainNet) -> tuple[SeamRecord, ...]:
    """The seams of the trained networks, on some items whose answer was bought, or any of the training split.

    Not on test items: there may be answers that the networks cannot know, and nothing to learn from them.
    """
    supply, answer = job.task.supply, job.task.answer
    bought = job.rows([answer.field])
    rows = (bought if len(bought) else supply.rows("train", answer.field))[:N_SEAM_ITEMS]
    return tuple(job.chain.seams(supply.take([*job.chain.inputs, answer.field], rows), net.eval(), answer))


def _stopped(chain: Chain, seams: Sequence[SeamRecord]) -> tuple[str, ...]:
    names = [stage.name for stage in chain.stages]
    first = min(names.index(name) for name in chain.learned) if chain.learned else len(names)
    return tuple(
        f"no gradient crosses {s.field!r} ({s.stopped_by}): the answer trains only what is behind it"
        for s in seams
        if not s.passes and s.writer in names[first:]
    )


def _validation(job: Job, target: Target) -> Int[NDArray, " m"]:
    rows = job.task.supply.rows("validation", target.field)
    if not len(rows):
        raise TrainingError(
            f"no validation item has a label of {target.field!r}",
            remedy="label some items of the validation split: training stops by their score",
        )
    return rows
