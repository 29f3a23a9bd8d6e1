"""Shift: what was trained here, on examples from elsewhere, and what training one stage again there wins back.

Source: De Fauw et al. 2018, Clinically applicable deep learning for diagnosis and referral in retinal disease (Nature
Medicine 24): for another scanner, the first of two networks alone was trained again. Differs: it starts from the
weights it has; where it never had labels of its own, it learns from the answer's, the other stages frozen.
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from seamwise.chain import Chain, ChainNet
from seamwise.errors import RegimeError, TaskError, TrainingError
from seamwise.evaluate import calibrated
from seamwise.fit import Term, item_errors, write
from seamwise.metrics import Target
from seamwise.origin import EXAMPLE, origin_of, read_settings
from seamwise.regimes import Trained
from seamwise.segments import segments
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.source import target_source
from seamwise.stage import Estimator, Learned
from seamwise.supply import Supply
from seamwise.task import Task, load_task
from seamwise.training import Job, Training, install, train_net
from seamwise.trial import Regime, ShiftScore


@final
@dataclass(frozen=True)
class Shifted:
    """The score, and the errors of each test item from elsewhere before and after a stage was trained again there."""

    score: ShiftScore
    errors: Float[NDArray, " n"]
    retrained: Float[NDArray, " n"] | None

    @property
    def items(self) -> dict[str, NDArray]:
        """As a trial's predictions hold them."""
        kept = {"there.error": self.errors}
        return kept if self.retrained is None else kept | {"there.retrained": self.retrained}


def score_shift(job: Job, trained: Trained, regime: Regime) -> Shifted:
    """Score a trained network on the task's examples from elsewhere, as it is and with its first stage trained again.

    A metric that is set on validation items is set on those here, for both.
    """
    task, net = job.task, trained.net
    answer = calibrated(task, net, task.answer)
    errors = _errors(task.there(), net, answer)
    score = ShiftScore(error=float(errors.mean()), trivial=_trivial(task))
    try:
        training, n_labels = _retrain(job, trained, _first_stage(job, net, regime))
    except TrainingError as error:
        return Shifted(score.model_copy(update={"note": str(error).splitlines()[0]}), errors, None)
    again = ChainNet(net.chain, dict(net.nets.items()) | {s: copy.deepcopy(net.nets[s]) for s in training.stages})
    install(again, training)
    after = _errors(task.there(), again, answer)
    found = {
        "stage": "+".join(training.stages),
        "n_labels": n_labels,
        "retrained": float(after.mean()),
        "note": training.untrained,
        "training": training.hash,
    }
    return Shifted(score.model_copy(update=found), errors, after)


def _errors(there: Task, net: ChainNet, answer: Target) -> Float[NDArray, " n"]:
    rows = there.supply.rows("test", answer.field)
    written = write(net, there.supply.take(net.chain.inputs, rows), [answer.field])[answer.field]
    errors: NDArray = item_errors(answer, written, there.supply.take([answer.field], rows)[answer.field]).numpy()
    return errors


def _trivial(task: Task) -> float:
    """The mean error there of what one answers without looking, from the training labels here."""
    here, there, field = task.supply, task.there().supply, task.answer.field
    guess = task.guess(here.take([field], here.rows("train", field))[field])
    labels = there.take([field], there.rows("test", field))[field]
    return float(item_errors(task.answer, guess.expand(len(labels), *guess.shape), labels).mean())


@final
@dataclass(frozen=True)
class _Retraining:
    """What is to be trained again: the stages of `part` that are not frozen in it, on what those before it write."""

    part: ChainNet
    terms: tuple[Term, ...]
    from_answer: bool


def _first_stage(job: Job, net: ChainNet, regime: Regime) -> _Retraining:
    """The first learned stage with its own labels, or those of the answer. Raises RegimeError where there is none."""
    chain, answer = net.chain, job.task.answer
    if regime == "direct":
        raise RegimeError("one network without stages: there is no first one to train again")
    first = next((s for s in chain.stages if isinstance(s, Estimator) or s.name in chain.learned), None)
    if first is None:
        raise RegimeError("no stage learns: there is none to train again")
    if isinstance(first, Estimator):
        raise RegimeError(f"estimator {first.name!r} comes first: it cannot be trained further from where it is")
    segment = None if regime == "endtoend" else segments(chain, answer)[0]
    if segment is not None and [t.field for t in segment.targets] != [answer.field]:
        return _Retraining(net.part(segment.names), tuple(Term(t) for t in segment.targets), False)
    behind = [s.name for s in chain.stages[chain.stages.index(first) :] if s.name not in chain.constant]
    return _Retraining(_alone(net.part(behind), first.name), (Term(answer),), True)


def _alone(net: ChainNet, free: str) -> ChainNet:
    """The same network, every learned stage but one frozen."""
    stages, nets = [], {}
    for stage in net.chain.stages:
        own = copy.deepcopy(net.nets[stage.name])
        if isinstance(stage, Learned) and stage.name != free:
            stage = replace(stage, weights=own.state_dict(), frozen=True)
            own.requires_grad_(False)
        stages.append(stage)
        nets[stage.name] = own
    return ChainNet(Chain(stages), nets)


def _retrain(job: Job, trained: Trained, what: _Retraining) -> tuple[Training, int]:
    """Train on from the weights there are, on all labels from elsewhere, and say on how many items.

    Raises TrainingError where there are no labels or no gradient.
    """
    net, there = trained.net, job.task.there()
    terms = [t for t in what.terms if _holds(there.supply, "train", t.target.field)]
    if not terms:
        raise TrainingError(f"no training label of {what.terms[0].target.field!r} elsewhere")
    chosen_by = terms[0].target
    if not _holds(there.supply, "validation", chosen_by.field):
        raise TrainingError(f"no validation label of {chosen_by.field!r} elsewhere")
    budget = {t.target.field: there.supply.held(t.target.field) for t in terms}
    own = Job(there, job.variant, budget, job.seed, job.share, watch=job.watch)
    rows, validation_rows = own.rows(list(budget)), there.supply.rows("validation", chosen_by.field)
    key = own.key("again", *_origin(job, trained, what), *(target_source(t.target) for t in terms))

    def make(hash_: str) -> Training:
        train = own.examples(_read(net, what.part, there.supply, rows), rows, terms)
        read = _read(net, what.part, there.supply, validation_rows)
        validation = own.examples(read, validation_rows, [Term(chosen_by)])
        return train_net(hash_, own, lambda: copy.deepcopy(what.part), train, validation, terms, chosen_by)

    return job.share(key, make), len(rows)


def _holds(supply: Supply, split: str, field: str) -> bool:
    return field in supply.fields and len(supply.rows(split, field)) > 0


def _origin(job: Job, trained: Trained, what: _Retraining) -> list[str]:
    """What decides the weights that are trained on, and all that stays as it is."""
    stages = trained.net.chain.stages
    if what.from_answer:
        return [job.task.signature[job.variant], *(t.hash for t in trained.trainings), *what.part.chain.learned]
    names = [s.name for s in what.part.chain.stages]
    before = stages[: 1 + max(k for k, stage in enumerate(stages) if stage.name in names)]
    latest = {stage: t.hash for t in trained.trainings for stage in t.stages}
    return [*(s.signature for s in before), *(latest.get(name, "") for name in names)]


def _read(net: ChainNet, part: ChainNet, supply: Supply, rows: Int[NDArray, " m"]) -> dict[str, Tensor]:
    """What the part reads: no step changes it, so it is computed once."""
    names = [stage.name for stage in net.chain.stages]
    own = [stage.name for stage in part.chain.stages]
    fixed = [name for name in names[: names.index(own[-1])] if name not in own]
    given = supply.take(net.chain.inputs, rows)
    return write(net.part(fixed), given, part.chain.inputs) if fixed else given


def supply_elsewhere(task: Task, what: str | Path | Supply) -> Supply:
    """The examples from elsewhere that a study is asked for.

    what: a Supply; a folder that Supply.save wrote; a folder that the task's `with_data` reads; or settings of its
    world, as in "clutter=12,noise=.1", in place of those it has. Raises InputError naming folder or setting.
    """
    if isinstance(what, Supply):
        return what
    folder = Path(what)
    if not folder.is_dir() and "=" in str(what):
        return load_task(_source(task, str(what)), world=read_settings(str(what))).supply
    if not folder.is_dir():
        raise TaskError(
            f"{folder}: no such folder, to take examples from elsewhere from",
            expected=f"a folder, or settings of the task's world, as in {EXAMPLE}",
        )
    if (folder / "supply.json").is_file():
        return Supply.open(folder)
    return load_task(origin_of(_source(task, str(what))).name, [folder]).supply


def _source(task: Task, what: str) -> str:
    if not task.source:
        raise TaskError(
            f"task {task.name!r} comes from memory: it cannot be made again for {what!r}",
            remedy="give a Supply, or a folder that Supply.save wrote; or put the task in a file",
        )
    return task.source
