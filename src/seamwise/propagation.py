"""Propagation: how a stage's own residuals move the answer, where both are numbers.

Source: first-order propagation of errors (the delta method): Var = sum over i of J_i Sigma_i J_i', J_i the derivative
of the answer by what stage i writes. Differs: residuals are those measured on each item, not drawn from a distribution.
"""

from collections.abc import Mapping
from typing import Any

import torch

from seamwise.chain import ChainNet
from seamwise.errors import ChainError
from seamwise.fit import EVALUATION_BATCH
from seamwise.pins import Step, Written, behind
from seamwise.shapes import Float, Tensor
from seamwise.stage import Estimator, Outside
from seamwise.supply import batches

MOST_COMPONENTS = 16  # of the answer: each is a backward pass


def spreads(written: Written, step: Step) -> dict[str, Any]:
    """`spread.FIELD`, [n]: the square of a stage's residual on gold input, brought to the answer by the derivative.

    (J r) squared, in the answer's unit squared, the mean over the answer's components; NaN where an item lacks gold.
    Of the answer's own stage J is 1. Absent where labels are no numbers, where the answer has more than 16 components,
    and where no gradient comes from the answer to the field.
    """
    found: dict[str, Any] = {}
    n_components = written.fields[written.answer][0].numel()
    if not _is_number(written, written.answer, exactly=True) or n_components > MOST_COMPONENTS:
        return found
    for field in written.scored(step.stage):
        part = written.labelled(step.before, field)
        if len(part.at) and _is_number(written, field):
            gold = written.gold(field, part.at)
            moved = _moved(written, part.fields | {field: gold}, field, part.fields[field] - gold)
            if moved is not None:
                found[f"spread.{field}"] = written.of_all(part.at, moved.square().mean(1))
    return found


def _is_number(written: Written, field: str, exactly: bool = False) -> bool:
    """Whether a field's labels are numbers, and so is its gold; exactly: those very numbers, in their own unit."""
    labels = written.labels[field][written.known[field]]
    if not labels.is_floating_point():
        return False
    gold = written.targets[field].gold(labels)
    return gold.shape == labels.shape and (not exactly or torch.equal(gold.to(labels), labels))


def _moved(
    written: Written, fields: Mapping[str, Tensor], field: str, residual: Tensor
) -> Float[Tensor, "m components"] | None:
    """J r of each item and component of the answer; None where J is 0 on all items: a seam stops it."""
    if field == written.answer:
        return residual.reshape(len(residual), -1)
    between = behind(written.chain, (field,), written.answer)
    if not between or any(isinstance(stage, Estimator | Outside) for stage in between):
        return None
    net = written.net.part([stage.name for stage in between]).eval()
    pieces, reached = [], False
    for rows in batches(len(residual), EVALUATION_BATCH):
        given = {f: fields[f][rows].detach() for f in net.chain.inputs}
        try:
            jacobian = _jacobian(net, given, field, written.answer)
        except ChainError:  # a stage that cannot be differentiated, as one that leaves torch
            return None
        reached = reached or bool(jacobian.any())
        moved = jacobian * residual[rows, None]
        pieces.append(moved.reshape(*moved.shape[:2], -1).sum(2))
    return torch.cat(pieces) if reached else None


def _jacobian(
    net: ChainNet, given: Mapping[str, Tensor], field: str, answer: str
) -> Float[Tensor, "m components *each"]:
    """The derivative of each item's answer by its own field: a backward pass a component, as no item reads another."""
    at = given[field].clone().requires_grad_()
    with torch.enable_grad():
        end = net({**given, field: at})[answer]
    n_components = end[0].numel()
    if not end.requires_grad:
        return at.new_zeros(len(at), n_components, *at.shape[1:])
    rows = [_gradient(component, at) for component in end.reshape(len(end), n_components).unbind(1)]
    return torch.stack(rows, 1)


def _gradient(component: Float[Tensor, " m"], at: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(component.sum(), at, retain_graph=True, materialize_grads=True)
    return gradient
