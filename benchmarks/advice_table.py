"""The table that the advice is scored against: what every way comes to on drawn tasks, with up to 16 times the labels.

    python benchmarks/advice_table.py --per-family 40 --out TABLE.zip [--jobs 2]

For each task (see advice_tasks.py) it trains, with the engine's own regimes:

- a study's trials: independent, tuned, joint, endtoend and direct, at n/8, n/4, n/2 and n answers, three seeds, and at
  n answers with half of each other field's labels; scored item by item on the 300 test items that a study would see
- the truth, with four other seeds: at n, 2 n, 4 n and 16 n answers, and at n with twice each other field's labels;
  the mean error over 3,000 items that no study sees

Sequential is left out: its five folds would take as long as all others together. Trainings of one shape run together
(seamwise.stacked), which is what makes 240 tasks a matter of an hour and not of a day. Tasks that TABLE.zip holds
already are not measured again.
"""

import argparse
import io
import json
import sys
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from advice_tasks import AHEAD, DEVELOPMENT, TEST, Drawn, draw

from seamwise.evaluate import trivial_error
from seamwise.fit import Examples, Fitting, item_errors, write
from seamwise.plan import Plan, _specs
from seamwise.regimes import REGIME_FUNCTIONS, Trained, fields_used
from seamwise.runs import FORMAT, RunRecord
from seamwise.shapes import Int, NDArray
from seamwise.stacked import run_gathered
from seamwise.store import BusyError
from seamwise.studies import _stage_record, _uses
from seamwise.training import Job, Training
from seamwise.trial import Regime, Trial
from seamwise.version import VERSION
from seamwise.worker import Spec

REGIMES: tuple[Regime, ...] = ("independent", "tuned", "joint", "endtoend", "direct")
STUDY_SEEDS, TRUTH_SEEDS = (0, 1, 2), (3, 4, 5, 6)
FRACTIONS = (8, 4, 2, 1)
MULTIPLES = (1, 2, 4, AHEAD)


class Shared:
    """Trainings by hash. A trial that needs one which another is at comes again later."""

    def __init__(self) -> None:
        self.done: dict[str, Training] = {}
        self._pending: set[str] = set()

    def share(self, hash_: str, make: Any) -> Training:
        if hash_ in self._pending:
            raise BusyError(hash_)
        if hash_ not in self.done:
            self._pending.add(hash_)
            try:
                self.done[hash_] = make(hash_)
            finally:
                self._pending.discard(hash_)
        return self.done[hash_]


def subset(drawn: Drawn, budget: dict[str, int], seed: int) -> dict[str, Int[NDArray, " m"]]:
    """Whose labels are used: up to what is at hand, a seed's own draw of it, nested; beyond, the first so many."""
    supply, chosen = drawn.task.supply, {}
    order = np.random.default_rng([seed, len(supply)]).permutation(len(supply))
    for name, n in budget.items():
        rows = supply.rows("train", name)
        mine = rows[: max(n, drawn.at_hand[name])]
        chosen[name] = order[np.isin(order, mine)][:n]
    return chosen


@dataclass(frozen=True)
class Cell:
    """One training of the table."""

    regime: Regime
    budget: dict[str, int]
    seed: int

    @property
    def variant(self) -> str:
        return "direct" if self.regime == "direct" else "chain"

    def train(self, drawn: Drawn, shared: Shared, fitting: Fitting) -> Trained | None:
        """None where another is at one of its trainings."""
        job = Job(drawn.task, self.variant, self.budget, self.seed, shared.share, fitting=fitting)
        object.__setattr__(job, "subset", subset(drawn, self.budget, self.seed))
        try:
            return REGIME_FUNCTIONS[self.regime](job)
        except BusyError:
            return None


def train_all(drawn: Drawn, cells: Sequence[Cell], shared: Shared) -> list[Trained]:
    """Every cell's networks: `independent` first, which `tuned` starts from; who waits for others' trainings again."""
    found = dict[int, Trained]()
    while len(found) < len(cells):
        first = [k for k, cell in enumerate(cells) if cell.regime == "independent" and k not in found]
        left = first or [k for k in range(len(cells)) if k not in found]
        wave = run_gathered([lambda f, k=k: cells[k].train(drawn, shared, f) for k in left])
        found |= {k: trained for k, trained in zip(left, wave, strict=True) if trained is not None}
    return [found[k] for k in range(len(cells))]


def inputs_of(drawn: Drawn) -> list[str]:
    """What the chain and the direct network read."""
    chains = drawn.task.variants | drawn.task.directs
    return list(dict.fromkeys(name for chain in chains.values() for name in chain.inputs))


def errors_of(drawn: Drawn, trained: Trained, examples: Examples) -> NDArray:
    target = drawn.task.answer
    written = write(trained.net, examples.inputs, [target.field])[target.field]
    return item_errors(target, written, examples.labels[target.field]).numpy()


def plan_of(
    drawn: Drawn,
    regimes: tuple[Regime, ...] = REGIMES,
    fractions: Sequence[int] = FRACTIONS,
    seeds: tuple[int, ...] = STUDY_SEEDS,
) -> Plan:
    """The study at hand."""
    task, name = drawn.task, drawn.task.answer.field
    budgets = tuple(drawn.n // k for k in fractions)
    plan = Plan(name, budgets, seeds, regimes, ("chain",), drawn.at_hand)
    return replace(plan, specs=tuple(_specs(task, plan)))


def truths_of(drawn: Drawn) -> dict[str, dict[str, int]]:
    """{point: budget} where the truth is measured."""
    name = drawn.task.answer.field
    points = {str(k): drawn.at_hand | {name: k * drawn.n} for k in MULTIPLES}
    return points | {f"{f} x 2": drawn.at_hand | {f: 2 * n} for f, n in drawn.stage_labels.items()}


def record_of(drawn: Drawn, plan: Plan) -> RunRecord:
    task, name = drawn.task, drawn.task.answer.field
    return RunRecord(
        format=FORMAT,
        version=VERSION,
        task=task.name,
        source="",
        answer=name,
        unit=task.answer.unit,
        trivial=trivial_error(task, task.answer, task.supply.rows("test", name)),
        vary=name,
        budgets=plan.budgets,
        held=dict(plan.held),
        full={n: plan.budget(n) for n in plan.budgets},
        prices={f: task.supply.prices[f] for f in plan.held},
        signatures=task.signature,
        variants={v: tuple(map(_stage_record, c.stages)) for v, c in (task.variants | task.directs).items()},
        uses=_uses(task, plan),
        trials=tuple(s.id for s in plan.specs),
    )


def trial_of(drawn: Drawn, spec: Spec, trained: Trained, errors: NDArray, trivial: float) -> Trial:
    latest = {stage: t for t in trained.trainings for stage in t.stages}
    by_answer = [t for t in trained.trainings if t.target == drawn.task.answer.field]
    return Trial(
        id=spec.id,
        task=drawn.task.name,
        variant=spec.variant,
        regime=spec.regime,
        budget=dict(spec.budget),
        seed=spec.seed,
        status="done",
        error=float(errors.mean()),
        trivial=trivial,
        train_error=by_answer[-1].train_error if by_answer else None,
        untrained="; ".join(dict.fromkeys(t.untrained for t in latest.values() if t.untrained)),
        n_steps=sum(t.n_steps for t in trained.trainings),
        trainings=tuple(t.hash for t in trained.trainings),
    )


def measure(family: str, seed: int) -> bytes:
    """One task's part of the table, as an .npz file."""
    start, drawn = time.perf_counter(), draw(family, seed)
    task, name, plan = drawn.task, drawn.task.answer.field, plan_of(drawn)
    rows, inputs = task.supply.rows("test", name), inputs_of(drawn)
    test = Examples(task.supply.take(inputs, rows), task.supply.take([name], rows), {})
    truth = Examples(drawn.truth.inputs, {name: drawn.truth.labels}, {})
    asked = [
        (point, Cell(regime, budget, s))
        for point, budget in truths_of(drawn).items()
        for regime in REGIMES
        for s in TRUTH_SEEDS
        if point.isdigit() or (point.removesuffix(" x 2") in fields_used(task, "chain", regime) and regime != "direct")
    ]
    cells = [Cell(s.regime, dict(s.budget), s.seed) for s in plan.specs] + [cell for _, cell in asked]
    shared = Shared()
    trained = train_all(drawn, cells, shared)
    record = record_of(drawn, plan)
    errors = np.stack([errors_of(drawn, t, test) for t in trained[: len(plan.specs)]])
    trials = [trial_of(drawn, *of, record.trivial) for of in zip(plan.specs, trained, errors, strict=False)]
    found: dict[str, dict[str, list[float]]] = {}
    for (point, cell), t in zip(asked, trained[len(plan.specs) :], strict=True):
        found.setdefault(point, {}).setdefault(cell.regime, []).append(float(errors_of(drawn, t, truth).mean()))
    told = {
        "family": family,
        "seed": seed,
        "split": drawn.split,
        "settings": drawn.settings,
        "n": drawn.n,
        "at_hand": drawn.at_hand,
        "record": record.model_dump(mode="json"),
        "trials": [t.model_dump(mode="json", exclude_defaults=True) for t in trials],
        "steps": {h: t.n_steps for h, t in shared.done.items()},
        "truth": found,
        "seconds": round(time.perf_counter() - start, 1),
    }
    kept = errors.astype(np.uint8 if np.isin(errors, (0, 1)).all() else np.float16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, errors=kept, told=np.frombuffer(json.dumps(told).encode(), np.uint8))
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-family", type=int, default=40)
    parser.add_argument("--families", default=",".join((*DEVELOPMENT, *TEST)))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    families = given.families.split(",")
    wanted = [(f, s) for s in range(given.per_family) for f in families]
    if given.out.exists():
        with zipfile.ZipFile(given.out) as held:
            there = set(held.namelist())
        wanted = [(f, s) for f, s in wanted if f"{f}-{s}.npz" not in there]
    start = time.monotonic()
    with ProcessPoolExecutor(given.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        pending = {pool.submit(measure, f, s): (f, s) for f, s in wanted}
        for k, done in enumerate(as_completed(pending), start=1):
            family, seed = pending[done]
            with zipfile.ZipFile(given.out, "a") as table:
                table.writestr(f"{family}-{seed}.npz", done.result())
            left = (time.monotonic() - start) / k * (len(pending) - k)
            print(f"{k}/{len(pending)} {family}-{seed}, {left / 60:.0f} min left", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
