"""The tiny tasks that the advice is tried on."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from seamwise import Learned, Supply, Task
from seamwise.fit import item_errors, write
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.settings import Fit
from seamwise.training import Job

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from advice_tasks import AHEAD, DEVELOPMENT, N_TEST, N_TRUTH, N_VALIDATION, TEST, draw

FAMILIES = (*DEVELOPMENT, *TEST)
QUICK = Fit(rates=(1e-2,), min_steps=5, max_steps=5, eval_every=5, warmup=1, start_small=0)
REGIMES = ("independent", "tuned", "joint", "endtoend", "direct")


def inputs_of(task: Task) -> list[str]:
    return list(dict.fromkeys(f for chain in (*task.variants.values(), *task.directs.values()) for f in chain.inputs))


def test_development_and_test_share_no_family():
    assert len(set(FAMILIES)) == len(FAMILIES) >= 6
    assert not set(DEVELOPMENT) & set(TEST)
    assert {draw(f, 0).split for f in DEVELOPMENT} == {"development"}
    assert {draw(f, 0).split for f in TEST} == {"test"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_is_as_it_was_asked_for(family):
    for seed in range(4):
        drawn = draw(family, seed)
        task, supply = drawn.task, drawn.task.supply
        assert 2 <= len(task.chain.stages) <= 5
        assert 1 <= len(task.chain.learned) <= 4
        assert supply.held("answer") == AHEAD * drawn.n
        assert drawn.stage_labels
        assert {f: supply.held(f) for f in drawn.stage_labels} == {f: 2 * n for f, n in drawn.stage_labels.items()}
        assert set(drawn.stage_labels) == set(task.chain.targets) - {"answer"}
        assert all(0.05 <= supply.prices[f] <= 1 for f in drawn.stage_labels)
        assert supply.prices["answer"] == 1
        assert max(supply.fields[f].shape[1] for f in inputs_of(task)) <= 24
        for split, n in (("validation", N_VALIDATION), ("test", N_TEST)):
            assert all(len(supply.rows(split, f)) == n for f in task.chain.targets | {"answer": 0})
        assert supply.subset(drawn.at_hand, seed).keys() == drawn.at_hand.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_answer_is_known_without_looking(family):
    for seed in range(20, 23):
        drawn = draw(family, seed)
        task, labels = drawn.task, drawn.truth.labels
        guess = task.guess(labels)
        errors = item_errors(task.answer, guess.expand(len(labels), *guess.shape), labels)
        assert float(errors.mean()) > 0.3


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_have_no_stage_labels(family):
    drawn = draw(family, 1)
    supply: Supply = drawn.task.supply
    for field in drawn.stage_labels:
        assert not set(supply.rows("train", "answer")) & set(supply.rows("train", field))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_draws_the_same_task(family):
    first, again, other = draw(family, 3), draw(family, 3), draw(family, 4)
    assert first.task.digest == again.task.digest != other.task.digest
    assert first.task.signature == again.task.signature
    assert (first.settings, first.n, first.stage_labels) == (again.settings, again.n, again.stage_labels)
    assert torch.equal(first.truth.labels, again.truth.labels)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_other_answers_at_hand_all_else_stays(family):
    drawn = draw(family, 3)
    more = draw(family, 3, n=64)
    assert (more.n, more.task.supply.held("answer")) == (64, 64 * AHEAD)
    assert more.task.signature == drawn.task.signature
    assert torch.equal(more.truth.labels, drawn.truth.labels)
    assert more.stage_labels == drawn.stage_labels


@pytest.mark.parametrize("family", FAMILIES)
def test_the_truth_is_in_no_supply(family):
    drawn = draw(family, 2)
    assert len(drawn.truth.labels) == N_TRUTH
    assert set(drawn.truth.inputs) == set(inputs_of(drawn.task))
    mine = {row.tobytes() for row in side_by_side(drawn.truth.inputs)}
    held = {row.tobytes() for row in side_by_side({f: drawn.task.supply.fields[f] for f in drawn.truth.inputs})}
    assert len(mine) == N_TRUTH
    assert not mine & held


def side_by_side(inputs: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([inputs[f].numpy() for f in sorted(inputs)], 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_run_with_stacked_weights(family):
    for seed in range(2):
        drawn = draw(family, seed)
        for chain in (drawn.task.chain, *drawn.task.directs.values()):
            nets = [chain.build(k).eval() for k in range(3)]
            given = {f: drawn.truth.inputs[f][:20].expand(3, -1, -1) for f in chain.inputs}
            weights, buffers = stack_module_state(nets)

            def run(w, b, inputs, net=nets[0]):
                return functional_call(net, (w, b), (inputs,))["answer"]

            together = vmap(run)(weights, buffers, given)
            alone = torch.stack([net({f: v[0] for f, v in given.items()})["answer"] for net in nets])
            torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_stage_runs_with_stacked_weights(family):
    drawn = draw(family, 5)
    chain = drawn.task.chain
    fields = chain.build(0)({f: drawn.truth.inputs[f][:10] for f in chain.inputs})
    for stage in chain.stages:
        if isinstance(stage, Learned):
            nets = [stage.build(k) for k in range(3)]
            weights, buffers = stack_module_state(nets)
            read = [fields[f] for f in stage.inputs]
            together = vmap(lambda w, b, net=nets[0], read=read: functional_call(net, (w, b), tuple(read)))(
                weights, buffers
            )
            torch.testing.assert_close(together, torch.stack([net(*read) for net in nets]))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_regime_trains(family):
    drawn = draw(family, 0)
    task = drawn.task.with_fit(QUICK)
    for regime in REGIMES:
        job = Job(task, "direct" if regime == "direct" else "chain", drawn.at_hand, 0)
        net = REGIME_FUNCTIONS[regime](job).net
        written = write(net, {f: drawn.truth.inputs[f] for f in net.chain.inputs}, ["answer"])["answer"]
        assert bool(item_errors(task.answer, written, drawn.truth.labels).isfinite().all())


def test_tasks_differ():
    drawn = [draw(family, seed) for family in FAMILIES for seed in range(5)]
    told = [d.settings for d in drawn]
    for name in ("hard", "last", "short", "hint", "n_learned"):
        assert len({t[name] for t in told}) > 1
    assert {t["n_stages"] for t in told} >= {2, 3, 4}
    for name in ("wrong", "stage_noise", "answer_noise", "shift"):
        assert 0 < sum(t[name] > 0 for t in told) < len(told)
