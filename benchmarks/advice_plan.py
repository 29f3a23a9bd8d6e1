"""Does it pay to buy the labels that the advice says? Five rounds of it, beside equal spending and answers alone.

    python benchmarks/advice_plan.py [--per-family 14] [--jobs 2] [--json]

On drawn tasks (advice_tasks.py; the test's generators by default) everybody starts with 100 answers and 60 labels of
each other field, and has money for 100 answers in each of five rounds. The plan's buyer runs a study each round and
spends the round's money on the field that its advice puts first; the second buyer spends as much on each field, the
third all on answers. At the end each chooses a way by a study of what it has; what counts is the true error of that
way, trained on all that was bought, on 3,000 other items, the mean over seeds. Labels that the supply does not hold
(over 1,600 answers, 2,000 of another field) cannot be bought; that money goes to the next field. Points are hundredths
of the trivial predictor's error; intervals are 90 %, bootstrap over tasks, paired.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from advice import Entry, each, mean_of
from advice_table import Cell, Shared, errors_of, inputs_of, plan_of, record_of, train_all, trial_of
from advice_tasks import DEVELOPMENT, TEST, Drawn, draw

from seamwise.advice.buy import purchases
from seamwise.advice.outlook import outlooks
from seamwise.fit import Examples
from seamwise.runs import Study
from seamwise.trial import Regime

ROUNDS, MONEY = 5, 100.0
ANSWERS, OTHERS = 100, 60  # labels at the start
REGIMES: tuple[Regime, ...] = ("independent", "tuned", "direct")
SEEDS = (0, 1)
FRACTIONS = (4, 2, 1)

Labels = dict[str, int]


def buy(have: Labels, order: Sequence[str], money: float, prices: Mapping[str, float], most: Labels) -> Labels:
    """Spend it on the first field, and what is left where no more is to be had on the next."""
    have = dict(have)
    for field in order:
        n = min(int(money / prices[field] + 1e-9), most[field] - have[field])
        have[field] += n
        money -= n * prices[field]
    return have


def study_of(drawn: Drawn, shared: Shared, folder: Path) -> Study:
    """A study with the labels at hand, halvings too."""
    plan = plan_of(drawn, REGIMES, FRACTIONS, SEEDS)
    name, record = drawn.task.answer.field, record_of(drawn, plan)
    rows = drawn.task.supply.rows("test", name)
    test = Examples(drawn.task.supply.take(inputs_of(drawn), rows), drawn.task.supply.take([name], rows), {})
    trained = train_all(drawn, [Cell(s.regime, dict(s.budget), s.seed) for s in plan.specs], shared)
    errors = np.stack([errors_of(drawn, t, test) for t in trained])
    trials = [trial_of(drawn, *of, record.trivial) for of in zip(plan.specs, trained, errors, strict=True)]
    told = {"record": record.model_dump(mode="json"), "trials": [t.model_dump(mode="json") for t in trials]}
    return Entry(drawn.task.name, told, errors).write(folder)


def advised(study: Study, n: int) -> list[str]:
    """The fields, the one most worth its price first."""
    found = outlooks(study, [2 * n])
    offers = purchases(study, found, study.record.prices) if found is not None else ()
    return [offer.field for offer in offers]


def true_error(drawn: Drawn, study: Study, shared: Shared) -> float:
    """Of the way that the study chooses, in points."""
    (_, regime), _ = study.best()
    name = drawn.task.answer.field
    truth = Examples(drawn.truth.inputs, {name: drawn.truth.labels}, {})
    trained = train_all(drawn, [Cell(regime, drawn.at_hand, seed) for seed in SEEDS], shared)
    return float(np.mean([errors_of(drawn, t, truth).mean() for t in trained])) * 100 / study.record.trivial


def follow(family: str, seed: int) -> dict[str, Any]:
    """One task, three buyers."""
    drawn = draw(family, seed, n=ANSWERS, stage_labels=1000)
    name, prices = drawn.task.answer.field, drawn.task.supply.prices
    most = {f: drawn.task.supply.held(f) for f in drawn.at_hand}
    start = {f: ANSWERS if f == name else OTHERS for f in most}
    shared = Shared()

    def study(have: Labels) -> tuple[Drawn, Study]:
        own = replace(drawn, n=have[name], stage_labels={f: n for f, n in have.items() if f != name})
        return own, study_of(own, shared, Path(folder) / "-".join(map(str, have.values())))

    def end(have: Labels) -> float:
        own, told = study(have)
        return true_error(own, told, shared)

    with tempfile.TemporaryDirectory() as folder:
        plan, orders = start, list[list[str]]()
        for _ in range(ROUNDS):
            orders.append(advised(study(plan)[1], plan[name]))
            plan = buy(plan, orders[-1] or [name], MONEY, prices, most)
        equal = start
        for _ in range(ROUNDS):
            for field in most:
                equal = buy(equal, [field, *(f for f in most if f != field)], MONEY / len(most), prices, most)
        whole = buy(start, [name], ROUNDS * MONEY, prices, most)
        ends = {"start": end(start), "plan": end(plan), "equal": end(equal), "answers": end(whole)}
    return {"task": f"{family}-{seed}", "error": ends, "bought": {"plan": plan, "equal": equal}, "orders": orders}


def _follow(task: tuple[str, int]) -> dict[str, Any]:
    torch.set_num_threads(1)
    return follow(*task)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=("test", "development"), default="test")
    parser.add_argument("--per-family", type=int, default=14)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    families = TEST if given.split == "test" else DEVELOPMENT
    found = each([(f, s) for s in range(given.per_family) for f in families], given.jobs, _follow)
    ends = {k: mean_of([f["error"][k] for f in found]) for k in found[0]["error"]}
    gains = {k: mean_of([f["error"][k] - f["error"]["plan"] for f in found]) for k in ("equal", "answers")}
    if given.json:
        print(json.dumps({"error": ends, "plan gains over": gains, "tasks": found}, indent=1))
        return
    told = partial("{mean:.2f} [{low:.2f}, {high:.2f}]".format_map)
    print(f"{len(found)} tasks; true error of the way chosen, in points")
    print("\n".join(f"{name:10} {told(value)}" for name, value in ends.items()))
    print("\n".join(f"the plan is better than {name} by {told(value)}" for name, value in gains.items()))


if __name__ == "__main__":
    main()
