"""Which trials a study runs: regimes x budgets x seeds, and the halvings at the top."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from seamwise.errors import SupplyError, TaskError
from seamwise.regimes import fields_used
from seamwise.source import source
from seamwise.task import Task
from seamwise.trial import REGIMES, Regime
from seamwise.worker import Spec


@final
@dataclass(frozen=True)
class Plan:
    """vary: the field whose labels are swept; budgets: how many of them; others: of every other field.

    together: all fields grow in proportion. Halvings (at the largest budget, half of one other field) come
    with the sweep unless `together`.
    """

    vary: str
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]
    regimes: tuple[Regime, ...]
    variants: tuple[str, ...]
    held: Mapping[str, int]
    together: bool = False
    halvings: bool = True
    specs: tuple[Spec, ...] = field(default=(), repr=False)

    def budget(self, n: int) -> dict[str, int]:
        """Every field's labels where the swept field has n, none halved."""
        share = n / self.held[self.vary] if self.together else 1.0
        return {f: n if f == self.vary else min(h, max(1, round(share * h))) for f, h in self.held.items()}


def make_plan(
    task: Task,
    *,
    budgets: Sequence[int] | None = None,
    n_seeds: int = 3,
    regimes: Sequence[str] | None = None,
    variants: Sequence[str] | None = None,
    vary: str | None = None,
    together: bool = False,
    halvings: bool = True,
) -> Plan:
    """The trials, smallest budgets first. Raises TaskError or SupplyError where something is not there."""
    chosen = tuple(
        r for r in REGIMES if r in _known("regime", regimes, [r for r in REGIMES if r != "direct" or task.direct])
    )
    of_chain = _known("variant", list(task.variants)[:1] if variants is None else variants, list(task.variants))
    names = {f for v in of_chain for f in task.targets(task.chain_of(v))}
    held = {f: task.supply.held(f) for f in sorted(names)}
    vary = vary or task.answer.field
    if vary not in held:
        raise SupplyError(f"cannot vary {vary!r}: no stage learns from it", expected=f"one of {', '.join(held)}")
    if n_seeds < 1:
        raise TaskError(f"{n_seeds} seeds", expected="1 or more")
    swept = sorted(set(budgets or task.supply.doublings(vary)))
    for n in swept:
        if not 0 < n <= held[vary]:
            raise SupplyError(
                f"a budget of {n} labels of {vary!r}",
                expected=f"1 to {held[vary]}, the training labels the supply holds",
                remedy="ask for fewer, or add labelled examples to the train split",
            )
    plan = Plan(vary, tuple(swept), tuple(range(n_seeds)), chosen, tuple(of_chain), held, together, halvings)
    return Plan(**{**plan.__dict__, "specs": tuple(_specs(task, plan))})


def _known(what: str, asked: Sequence[str] | None, there: Sequence[str]) -> list[str]:
    if asked is not None and not asked:
        raise TaskError(f"no {what} was named", expected=f"some of {', '.join(there)}")
    for name in asked or ():
        if name not in there:
            raise TaskError(f"no {what} {name!r}", expected=f"one of {', '.join(there)}")
    return [name for name in there if asked is None or name in asked]


def _specs(task: Task, plan: Plan) -> list[Spec]:
    specs = []
    for n in plan.budgets:
        specs += _at(task, plan, plan.budget(n), "", shifted=n == plan.budgets[-1] and task.elsewhere is not None)
    if plan.halvings and not plan.together:
        top = plan.budget(plan.budgets[-1])
        for other in plan.held:
            if other != plan.vary and plan.held[other] > 1:
                specs += _at(task, plan, top | {other: plan.held[other] // 2}, other)
    return specs


def _at(task: Task, plan: Plan, budget: Mapping[str, int], halved: str, shifted: bool = False) -> list[Spec]:
    """All regimes and seeds at one budget; where a field is halved, only those that train on it."""
    specs = []
    for regime in plan.regimes:
        for variant in task.directs if regime == "direct" else plan.variants:
            if not halved or halved in fields_used(task, variant, regime):
                specs += [spec(task, variant, regime, budget, seed, shifted) for seed in plan.seeds]
    return specs


def spec(task: Task, variant: str, regime: Regime, budget: Mapping[str, int], seed: int, shifted: bool = False) -> Spec:
    """A trial to be; its id tells what it is and ends in a hash of all that decides its result."""
    parts = [task.name, task.signature[variant], task.digest, task.fit.signature, regime, sorted(budget.items()), seed]
    parts += [task.elsewhere_digest] if shifted else []
    if regime != "direct" and task.oracles:  # no training depends on them, but what is measured does
        parts.append({name: source(oracle) for name, oracle in sorted(task.oracles.items())})
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
    name = f"{variant}.{regime}.{budget[task.answer.field]}.s{seed}.{digest}"
    return Spec(name, variant, regime, budget, seed, shifted)
