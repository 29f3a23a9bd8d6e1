"""Seams, and what would let gradient through where it stops."""

from collections.abc import Mapping

from seamwise.advice.numbers import in_panel_order
from seamwise.advice.outlook import way_of
from seamwise.advice.records import SeamState
from seamwise.runs import Study

SOFT = "pass the shares (softmax) on, or their expectation; a straight-through estimator where a decision is needed"
SMOOTH = "pass the number on as it is; a straight-through estimator where a whole number is needed"
CUT = "cut by the expected patch, or by bilinear sampling at real coordinates (Jaderberg et al. 2015)"
SORT = "weigh by a softmax in place of choosing; a soft sort (Blondel et al. 2020) where an order is needed"
TORCH = "compute it in torch, on tensors"
INSTEAD: Mapping[str, str] = (
    dict.fromkeys(("argmax", "argmin", "one_hot", "bernoulli", "multinomial"), SOFT)
    | dict.fromkeys(("eq", "ne", "gt", "ge", "lt", "le", "__gt__", "__ge__", "__lt__", "__le__", "__eq__"), SOFT)
    | dict.fromkeys(("round", "floor", "ceil", "trunc", "fix", "floor_divide", "long", "int"), SMOOTH)
    | dict.fromkeys(("sign", "sgn", "heaviside"), "a sigmoid or tanh with a temperature")
    | dict.fromkeys(("__getitem__", "index_select", "gather", "take", "narrow"), CUT)
    | dict.fromkeys(("topk", "sort", "argsort", "max", "min", "median", "nonzero", "where"), SORT)
    | dict.fromkeys(("numpy", "item", "tolist", "__array__"), TORCH)
    | dict.fromkeys(("detach", "no_grad"), "leave detach out")
)
BY_KIND = {
    "estimator": "put a learned stage in its place, or one before it that is taught to imitate it",
    "outside": "put a learned stage in its place that imitates it (distilled from its answers)",
    "saturated": "start from the independent weights (tuned), or a higher temperature: the derivative vanishes",
    "whole numbers": SOFT,
}


def instead_of(stopped_by: str) -> str:
    """What differentiable form would serve in the place of an operation. "argmax in find" -> pass the shares on."""
    operation = stopped_by.split(" in ")[0].strip()
    by_kind = next((told for kind, told in BY_KIND.items() if operation.startswith(kind)), "")
    return by_kind or INSTEAD.get(operation, "write the step with operations that have a derivative")


def seam_states(study: Study) -> tuple[SeamState, ...]:
    """The seams of every chain, as they are after training at the largest budget, with its first seed."""
    n = study.compared_at
    found = []
    for row in in_panel_order(study) if n is not None else []:
        trials = study.at(row, n or 0)
        for seam in min(trials, key=lambda t: t.seed).seams if trials else ():
            instead = "" if seam.passes or not _learns(study, row[0], seam.writer) else instead_of(seam.stopped_by)
            found.append(SeamState(way=way_of(study, row), instead=instead, **seam.model_dump()))
    return tuple(found)


def _learns(study: Study, variant: str, writer: str) -> bool:
    """Whether a stage up to the writer learns by gradient: else nothing is lost where it stops."""
    stages = study.record.variants[variant]
    names = [s.name for s in stages]
    return any(s.kind == "learned" for s in stages[: names.index(writer) + 1])
