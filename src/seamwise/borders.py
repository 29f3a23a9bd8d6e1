"""The borders between stages, checked by running a new chain on a few items."""

from collections.abc import Mapping

import torch

from seamwise.chain import ChainNet
from seamwise.errors import ChainError, TaskError
from seamwise.metrics import OneHot, Target
from seamwise.shapes import Tensor
from seamwise.stage import Estimator, EstimatorNet, Fields
from seamwise.supply import Supply


def check_borders(net: ChainNet, inputs: Fields, gold: Fields, targets: Mapping[str, Target]) -> None:
    """Run a new chain on a few items; each field must have a row an item and the shape of its gold.

    net: with estimators fitted. inputs: the chain's inputs, gold: labels by field, both [batch, ...].
    Raises ChainError.
    """
    chain, n = net.chain, len(next(iter(inputs.values())))
    with torch.no_grad():
        fields = net.eval()(inputs)
    for stage in chain.stages:
        for output in stage.outputs:
            value = fields[output]
            where = f"stage {stage.name!r} writes {output!r}"
            if not isinstance(value, Tensor):
                raise ChainError(f"{where} as {type(value).__name__}", expected="a tensor")
            if value.ndim == 0 or len(value) != n:
                raise ChainError(f"{where} of shape {list(value.shape)}", expected=f"[{n}, ...], a row an item")
            if output not in targets or output not in gold:
                continue
            perfect = _gold_form(where, targets[output], gold[output])
            if perfect.shape != value.shape:
                raise ChainError(
                    f"{where} of another shape than its labels",
                    given=f"{list(value.shape)}",
                    expected=f"{list(perfect.shape)}, from labels of shape {list(gold[output].shape)}",
                    remedy="change what the stage returns, or the labels",
                )


def _gold_form(where: str, target: Target, labels: Tensor) -> Tensor:
    try:
        return target.gold(labels)
    except Exception as error:
        raise ChainError(
            f"{where}: its labels do not suit the target {target.field!r}",
            given=f"{labels.dtype} {list(labels.shape)}; {error}",
            expected="whole numbers from 0 below n_classes for categories, numbers for numbers",
        ) from None


def fit_estimator(net: ChainNet, stage: Estimator, inputs: Fields, labels: Tensor) -> None:
    """Fit an estimator to some items, so that the border behind it can be checked.

    inputs: the chain's, labels: of the stage's target, both [batch, ...]. Raises ChainError.
    """
    before = [s.name for s in net.chain.stages[: net.chain.stages.index(stage)]]
    with torch.no_grad():
        fields = net.part(before).eval()(inputs) if before else dict(inputs)
    estimator_net = net.nets[stage.name]
    assert isinstance(estimator_net, EstimatorNet)
    try:
        estimator_net.fit([fields[name] for name in stage.inputs], labels)
    except Exception as error:
        read = ", ".join(f"{name} {list(fields[name].shape)}" for name in stage.inputs)
        raise ChainError(
            f"estimator {stage.name!r} could not be fitted",
            given=f"{read}, {stage.outputs[0]} {list(labels.shape)}; {type(error).__name__}: {error}",
        ) from error


def check_labels(target: Target, labels: Tensor) -> None:
    """That the known labels [n, ...] of a target are what it scores. Raises ChainError naming the label."""
    if labels.is_floating_point() or not isinstance(target.gold, OneHot) or not len(labels):
        return
    wrong = (labels.long() < 0) | (labels.long() >= target.gold.n_classes)
    if wrong.any():
        raise ChainError(
            f"{int(wrong.sum())} labels of {target.field!r} are no category",
            given=f"{int(labels[wrong][0])}",
            expected=f"whole numbers from 0 to {target.gold.n_classes - 1}",
            remedy="correct them; where a label is missing, mask the row (numpy.ma) or leave it out of the table",
        )


def check_alike(where: str, name: str, here: Supply, there: Supply, *, is_input: bool) -> None:
    """That a field of one supply is in another, in the same form. Raises TaskError, beginning with `where`."""
    if name not in there.fields:
        given = f"tables with {', '.join(sorted(there.fields))}"
        raise TaskError(f"{where} is missing", given=given, expected="the chain's inputs and the answer, as here")
    own, other = here.fields[name], there.fields[name]
    if (own.shape[1:], own.dtype) != (other.shape[1:], other.dtype):
        raise TaskError(
            f"{where} has another form",
            given=f"{other.dtype} {list(other.shape[1:])} an example",
            expected=f"{own.dtype} {list(own.shape[1:])}, as here",
        )
    if is_input and not bool(there.present[name].all()):
        raise TaskError(f"{where} is an input, which some examples lack")
