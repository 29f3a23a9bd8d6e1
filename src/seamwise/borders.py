"""The borders between stages, checked by running a new chain on a few items."""

from collections.abc import Mapping

import torch

from seamwise.chain import Chain, ChainNet
from seamwise.errors import ChainError
from seamwise.metrics import Target
from seamwise.shapes import Tensor
from seamwise.stage import Estimator, EstimatorNet, Fields


def check_borders(chain: Chain, inputs: Fields, gold: Fields, targets: Mapping[str, Target]) -> None:
    """Run the new chain on a few items; each field must have a row an item and the shape of its gold.

    inputs: the chain's inputs, gold: labels by field, both [batch, ...]. Raises ChainError.
    """
    net = chain.build(0).eval()
    for stage in chain.stages:
        if isinstance(stage, Estimator):
            _fit_trial_run(net, stage, inputs, gold)
    n = len(next(iter(inputs.values())))
    with torch.no_grad():
        fields = net(inputs)
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


def _fit_trial_run(net: ChainNet, stage: Estimator, inputs: Fields, gold: Fields) -> None:
    """Fit an estimator on the few items at hand, so that the border behind it can be checked."""
    before = [s.name for s in net.chain.stages[: net.chain.stages.index(stage)]]
    labels = gold.get(stage.outputs[0])
    if labels is None:
        raise ChainError(f"estimator {stage.name!r} has no labels", given=f"no field {stage.outputs[0]!r}")
    with torch.no_grad():
        fields = net.part(before)(inputs) if before else dict(inputs)
    estimator_net = net.nets[stage.name]
    assert isinstance(estimator_net, EstimatorNet)
    estimator_net.fit([fields[name] for name in stage.inputs], labels)
