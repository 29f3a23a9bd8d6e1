"""One training: its record, its key, and the data it reads. What regimes are composed of, and studies share."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch

from seamwise.chain import Chain, ChainNet
from seamwise.errors import RegimeError, TrainingError
from seamwise.fit import Attempt, Examples, Fitted, Fitting, Term, Watch, fit, item_errors, write
from seamwise.metrics import Target
from seamwise.shapes import Bool, Int, NDArray, Tensor
from seamwise.stage import Estimator, EstimatorNet
from seamwise.task import Task

MOST_TRAIN_ITEMS = 1000  # that the training error is measured on


@final
@dataclass(frozen=True)
class Training:
    """What one training came to. `hash` names all that decides it: same hash, same result.

    weights: of the trained stages, by "stage.parameter". estimators: the fitted ones, by stage.
    train_error, trivial: of the target, on (at most 1,000 of) its own training items.
    """

    hash: str
    weights: Mapping[str, Tensor] = field(repr=False)
    estimators: Mapping[str, Any] = field(repr=False)
    stages: tuple[str, ...]
    target: str
    error: float
    train_error: float
    trivial: float
    seconds: float
    n_steps: int
    rate: float
    stopped: str

    @property
    def untrained(self) -> str:
        """Why it counts as not trained on its own evidence, else empty."""
        if self.train_error < self.trivial or self.train_error == 0:
            return ""
        return (
            f"{', '.join(self.stages)}: error {self.train_error:.3g} of {self.target!r} on its own training items, "
            f"no better than the trivial predictor's {self.trivial:.3g}"
        )


Share = Callable[[str, Callable[[str], Training]], Training]
"""(hash, how to train) -> that training, perhaps made before by another trial."""


def alone(hash_: str, make: Callable[[str], Training]) -> Training:
    """Share nothing: train."""
    return make(hash_)


@final
@dataclass(frozen=True)
class Job:
    """What one trial may use: a chain of a task, the labels a budget buys, a seed, and trainings to share."""

    task: Task
    variant: str
    budget: Mapping[str, int]
    seed: int
    share: Share = alone
    stop_at: float | None = None
    watch: Watch | None = None
    fitting: Fitting = fit
    subset: dict[str, Int[NDArray, " m"]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "subset", self.task.supply.subset(self.budget, self.seed))

    @property
    def chain(self) -> Chain:
        return self.task.chain_of(self.variant)

    def rows(self, fields: Sequence[str]) -> Int[NDArray, " m"]:
        """The training examples with a bought label of any of the fields, in order."""
        return np.unique(np.concatenate([self.subset.get(f, np.zeros(0, np.int64)) for f in fields]))

    def known(self, name: str, rows: Int[NDArray, " m"]) -> Bool[Tensor, " m"]:
        """For which rows a label may be used: those bought, of the training split; all there are, elsewhere."""
        supply = self.task.supply
        bought = np.zeros(len(supply), dtype=bool)
        bought[self.subset.get(name, np.zeros(0, np.int64))] = True
        outside = supply.splits[rows] != 0
        return supply.known(name, rows) & torch.from_numpy(bought[rows] | outside)

    def examples(self, inputs: dict[str, Tensor], rows: Int[NDArray, " m"], terms: Sequence[Term]) -> Examples:
        """Inputs already computed for those rows, with the labels of the terms that may be used."""
        names = [t.target.field for t in terms]
        return Examples(inputs, self.task.supply.take(names, rows), {n: self.known(n, rows) for n in names})

    def key(self, *parts: object) -> str:
        """The hash of a training: data, seed and settings, and what the caller adds."""
        text = "\n".join(str(p) for p in (self.task.digest, self.seed, self.task.fit.signature, self.stop_at, *parts))
        return hashlib.sha256(text.encode()).hexdigest()[:20]


def digest_rows(rows: Mapping[str, NDArray]) -> str:
    """A hash of which examples are used for what."""
    total = hashlib.sha256()
    for name in sorted(rows):
        total.update(name.encode() + np.ascontiguousarray(rows[name]).tobytes())
    return total.hexdigest()[:16]


def train_net(
    hash_: str,
    job: Job,
    make: Callable[[], ChainNet],
    train: Examples,
    validation: Examples,
    terms: Sequence[Term],
    target: Target,
) -> Training:
    """Fit a net's weights by gradient. Raises RegimeError where no gradient comes from any term."""
    if not bool(train.known[target.field].any()):
        raise TrainingError(f"no training item has a label of {target.field!r}", remedy="give it a budget of 1 or more")
    net = make()
    if any(p.requires_grad for p in net.parameters()):
        _check_gradient(net, train[:2], terms)
        _, trivial = _on_own_items(net, validation, target, job.task)
        stop_at = job.stop_at if target.field == job.task.answer.field else None
        attempt = Attempt(make, train, validation, terms, target, job.task.fit, job.seed, trivial, stop_at, job.watch)
        fitted = job.fitting(attempt)
        net.load_state_dict(fitted.weights)
    else:
        fitted = Fitted({}, float("nan"), float("nan"), 0.0, 0, 0.0, "nothing to train")
    train_error, trivial = _on_own_items(net, train, target, job.task)
    weights = {f"{s}.{k}": v for s in net.chain.learned for k, v in net.nets[s].state_dict().items()}
    return Training(
        hash_, weights, {}, net.chain.learned, target.field, fitted.error, train_error, trivial,
        fitted.seconds, fitted.n_steps, fitted.rate, fitted.stopped,
    )  # fmt: skip


def _check_gradient(net: ChainNet, few: Examples, terms: Sequence[Term]) -> None:
    written = net.eval()(few.inputs)
    if not any(written[t.target.field].requires_grad for t in terms):
        raise RegimeError(
            f"no gradient goes from {terms[0].target.field!r} to {', '.join(net.chain.learned)}",
            remedy="see Chain.seams for the operation that stops it; train the stage by labels of its own",
        )


def train_estimator(
    hash_: str, job: Job, net: ChainNet, stage: Estimator, train: Examples, validation: Examples
) -> Training:
    """Fit an estimator stage to the labels of its target."""
    start, (target,) = time.perf_counter(), stage.targets
    part = net.part([stage.name])
    own = part.nets[stage.name]
    assert isinstance(own, EstimatorNet)
    own = EstimatorNet(stage, job.seed)
    part = ChainNet(part.chain, {stage.name: own})
    known = train.known[target.field]
    if not bool(known.any()):
        raise TrainingError(f"estimator {stage.name!r} has no label of {target.field!r} to be fitted to")
    own.fit([train.inputs[name][known] for name in stage.inputs], train.labels[target.field][known])
    seconds = time.perf_counter() - start
    train_error, trivial = _on_own_items(part, train, target, job.task)
    error, _ = _on_own_items(part, validation, target, job.task)
    return Training(
        hash_, {}, {stage.name: own.fitted}, (stage.name,), target.field, error, train_error, trivial,
        seconds, 0, 0.0, "converged",
    )  # fmt: skip


def _on_own_items(net: ChainNet, examples: Examples, target: Target, task: Task) -> tuple[float, float]:
    """(the net's, the trivial predictor's) mean error on some of the items that have the label."""
    rows = examples.known[target.field].nonzero()[:, 0][:MOST_TRAIN_ITEMS]
    some = examples[rows]
    labels = some.labels[target.field]
    guess = task.guess(labels, target)
    written = write(net, some.inputs, [target.field])[target.field]
    return (
        float(item_errors(target, written, labels).mean()),
        float(item_errors(target, guess.expand(len(labels), *guess.shape), labels).mean()),
    )


def install(net: ChainNet, training: Training) -> None:
    """Put a training's weights and estimators into a chain's networks."""
    for stage in training.stages:
        own = net.nets[stage]
        if isinstance(own, EstimatorNet):
            own.fitted = training.estimators[stage]
        else:
            mine = {k.removeprefix(f"{stage}."): v for k, v in training.weights.items() if k.startswith(f"{stage}.")}
            own.load_state_dict(mine)
