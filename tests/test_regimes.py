from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from tiny import (
    FIT,
    Judge,
    Look,
    answer,
    both,
    colour,
    direct,
    draw_world,
    hard,
    join,
    judge,
    look,
    make_supply,
    make_task,
    tell_name,
)
from torch import nn

from seamwise import Chain, Designed, Estimator, Learned, Outside, Supply
from seamwise import regimes as regimes_module
from seamwise.errors import RegimeError, TrainingError
from seamwise.evaluate import evaluate
from seamwise.regimes import REGIME_FUNCTIONS, fields_used
from seamwise.training import Job, alone

TASK = make_task()
ALL = tuple(REGIME_FUNCTIONS)


def job(task=TASK, variant="chain", seed=0, share=alone, **budget):
    full = {f: task.supply.held(f) for f in task.targets(task.chain_of(variant))}
    return Job(task, variant, full | budget, seed, share)


def run(regime, task=TASK, variant=None, **kwargs):
    variant = variant or ("direct" if regime == "direct" else next(iter(task.variants)))
    return REGIME_FUNCTIONS[regime](job(task, variant, **kwargs))


def same_weights(one, two):
    return all(torch.equal(v, two.net.state_dict()[k]) for k, v in one.net.state_dict().items())


def with_other_labels(*fields):
    supply = make_supply()
    rows = np.concatenate([supply.rows("train"), supply.rows("validation")])
    for field in fields:
        supply.fields[field][rows] = (supply.fields[field][rows] + 1) % 3
    return TASK.with_supply(supply)


@pytest.fixture
def seen(monkeypatch):
    """What each training by gradient was given, {stages: examples}, and the networks it started from."""
    found = {}
    real = regimes_module.train_net

    def spy(hash_, job, make, train, *rest):
        found.setdefault("+".join(make().chain.learned), []).append((train, make()))
        return real(hash_, job, make, train, *rest)

    monkeypatch.setattr(regimes_module, "train_net", spy)
    return found


@pytest.mark.parametrize("regime", ALL)
def test_every_regime_learns_the_tiny_world(regime):
    task = TASK.with_fit(replace(FIT, max_steps=300, min_steps=150))
    trained = run(regime, task)
    result = evaluate(task, trained.net)
    assert result.error < 0.5 * result.trivial
    assert not any(t.untrained for t in trained.trainings)
    assert trained.notes == ()


@pytest.mark.parametrize("regime", ["independent", "sequential"])
def test_stagewise_regimes_do_not_look_at_the_answer(regime):
    assert same_weights(run(regime), run(regime, with_other_labels("answer")))
    assert not same_weights(run(regime), run(regime, with_other_labels("shape")))


@pytest.mark.parametrize("regime", ["endtoend", "direct"])
def test_these_regimes_look_at_the_answer_alone(regime):
    assert same_weights(run(regime), run(regime, with_other_labels("colour", "shape")))
    assert not same_weights(run(regime), run(regime, with_other_labels("answer")))


@pytest.mark.parametrize("regime", ["tuned", "joint"])
def test_these_regimes_look_at_all_labels(regime):
    for field in ("answer", "colour", "shape"):
        assert not same_weights(run(regime), run(regime, with_other_labels(field)))


def test_independent_trains_on_gold_input(seen):
    trained = run("independent")
    train, _ = seen["judge"][0]
    supply, rows = TASK.supply, np.sort(TASK.supply.rows("train", "shape"))
    fields = supply.take(["colour", "tone"], rows)
    assert torch.equal(train.inputs["both"], join(colour.gold(fields["colour"]), fields["tone"]))
    assert [t.stages for t in trained.trainings] == [("look",), ("judge",)]


def test_a_stage_that_is_trained_on_the_same_labels_is_shared():
    few, many, less_gold = run("independent", answer=8), run("independent"), run("independent", colour=40)
    assert [t.hash for t in few.trainings] == [t.hash for t in many.trainings]
    assert not {t.hash for t in less_gold.trainings} & {t.hash for t in many.trainings}
    assert less_gold.notes[0].startswith("judge: no gold input for 24 of 64 items")


def test_sequential_shares_its_first_stage_with_independent():
    one, two = run("independent"), run("sequential")
    assert one.trainings[0].hash in [t.hash for t in two.trainings]
    assert one.trainings[1].hash not in [t.hash for t in two.trainings]


class Memory(nn.Module):
    """Knows by heart the items it was trained on, and says of an item whether it was one of them."""

    def __init__(self):
        super().__init__()
        self.look, self.learnt = Look(), nn.Parameter(torch.zeros(300, 3))

    def forward(self, x, number):
        shares = (self.look(x) + self.learnt[number]).softmax(-1)
        return shares, self.learnt[number].detach().ne(0).any(1)[:, None].float()


class JudgeAndSee(Judge):
    def forward(self, both, was_there):
        return super().forward(both)


def memory_task(colour_known):
    """240 items, two a group, the first 160 for training; the colour is known for some."""
    world = draw_world(240, 0) | {
        "number": np.arange(240),
        "group": np.arange(240) // 2,
        "split": np.repeat(["train", "validation", "test"], [160, 40, 40]),
    }
    world["colour"] = np.ma.array(world["colour"], mask=~colour_known)
    memory = Learned("look", Memory, ("x", "number"), (colour, "was_there"))
    seeing = replace(judge, work=JudgeAndSee, reads=("both", "was_there"))
    return make_task([memory, both, seeing, tell_name], supply=Supply({"all": world}), direct=None)


def was_there(net, rows):
    return net(torch.zeros(len(rows), 4), rows)[1][:, 0]


def test_sequential_trains_on_what_networks_wrote_that_did_not_see_the_item(seen):
    trained = run("sequential", memory_task(np.ones(240, dtype=bool)))
    assert was_there(trained.net.nets["look"], torch.arange(160)).all()  # the network that is kept
    train, _ = seen["judge"][-1]
    assert len(train) == 160
    assert not train.inputs["was_there"].any()
    run("independent", memory_task(np.ones(240, dtype=bool)))
    train, _ = seen["judge"][-1]
    assert train.inputs["was_there"].all()  # the same check sees it where it is so


def test_sequential_takes_the_full_network_for_groups_no_stage_before_was_trained_on(seen):
    """Of a group with one labelled item, the other is not written by a network that saw its like."""
    known = (np.arange(240) < 80) | (np.arange(240) >= 160)
    known[1:80:2] = False
    task = memory_task(known)
    trained = run("sequential", task)
    train, _ = seen["judge"][-1]
    full = trained.net.nets["look"](task.supply.fields["x"][:160], torch.arange(160))[0].detach()
    assert was_there(trained.net.nets["look"], torch.arange(160)).tolist() == [float(k) for k in known[:160]]
    assert not train.inputs["was_there"].any()
    assert not (train.inputs["both"][:80, :3] == full[:80]).all(1).any()
    torch.testing.assert_close(train.inputs["both"][80:, :3], full[80:])


def test_sequential_with_labels_of_one_group_is_told():
    known = np.arange(240) < 2
    known[160:] = True
    with pytest.raises(TrainingError, match="cannot leave out a fold of 2 labels of 'colour'"):
        run("sequential", memory_task(known))


def test_sequential_counts_what_cross_fitting_costs():
    trained = run("sequential")
    assert len([t for t in trained.trainings if t.stages == ("look",)]) == FIT.n_folds + 1


def test_tuned_starts_from_the_independent_weights(seen):
    trained = run("tuned")
    start = run("independent")
    assert [t.hash for t in trained.trainings[:2]] == [t.hash for t in start.trainings]
    _, net = seen["look+judge"][0]
    for name in ("look", "judge"):
        for key, value in start.net.nets[name].state_dict().items():
            assert torch.equal(net.nets[name].state_dict()[key], value)


def test_joint_and_endtoend_start_from_scratch(seen):
    run("joint")
    run("endtoend")
    scratch = TASK.chain_of("chain").build(0).state_dict()
    for _, net in seen["look+judge"]:
        assert all(torch.equal(v, scratch[k]) for k, v in net.state_dict().items() if k in scratch)


def test_a_budget_is_what_is_used(seen):
    run("joint", colour=10, shape=7, answer=30)
    train, _ = seen["look+judge"][0]
    assert {k: int(v.sum()) for k, v in train.known.items()} == {"answer": 30, "colour": 10, "shape": 7}
    smaller = job(colour=5).subset["colour"]
    assert set(smaller) < set(job(colour=10).subset["colour"])


def test_where_gold_is_missing_the_stage_before_writes_and_it_is_noted(seen):
    world = draw_world(200, 0)
    known = np.arange(200) % 2 == 0
    table = world | {"colour": np.ma.array(world["colour"], mask=~known), "group": np.arange(200)}
    task = make_task(supply=Supply({"all": table}))
    trained = run("independent", task)
    train, _ = seen["judge"][0]
    rows = np.sort(task.supply.rows("train", "shape"))
    lacking = ~known[rows]
    assert f"judge: no gold input for {lacking.sum()} of {len(rows)} items" in trained.notes[0]
    written = trained.net.nets["look"](task.supply.fields["x"][rows]).detach()
    gold = colour.gold(torch.from_numpy(world["colour"][rows]))
    expected = torch.where(torch.from_numpy(lacking)[:, None], written, gold)
    torch.testing.assert_close(train.inputs["both"][:, :3], expected)


def test_a_training_whose_validation_input_is_predicted_is_not_shared():
    """Gold for all training items but no validation item: what is kept depends on the stage before."""
    supply = make_supply()
    supply.present["colour"][supply.rows("validation")] = False
    supply.present["colour"][supply.rows("validation")[:10]] = True
    task = TASK.with_supply(supply)
    few, many = run("independent", task, colour=8), run("independent", task)
    assert few.trainings[1].hash != many.trainings[1].hash


def test_variants_share_a_training_only_where_all_before_it_is_the_same():
    shout = Designed("name_it", lambda shape: shape.flip(1) * 1, "shape", "answer")
    variants = {
        "soft": Chain([look, both, judge, tell_name]),
        "hard": Chain([look, Designed("both", hard, ("colour", "tone"), "both"), judge, tell_name]),
        "loud": Chain([look, both, judge, shout]),
    }
    task = make_task(chain=variants)
    hashes = {v: [t.hash for t in run("independent", task, v).trainings] for v in variants}
    assert hashes["soft"] == hashes["loud"]
    assert hashes["soft"][0] == hashes["hard"][0]
    assert hashes["soft"][1] != hashes["hard"][1]


def test_a_seam_that_stops_gradient_is_noted():
    stages = [look, Designed("both", hard, ("colour", "tone"), "both"), judge, tell_name]
    task = make_task(stages)
    trained = run("endtoend", task)
    assert trained.notes[0].startswith("no gradient crosses 'colour' (")
    start = task.chain_of("chain").build(0).nets["look"].state_dict()
    assert all(torch.equal(v, start[k]) for k, v in trained.net.nets["look"].state_dict().items())
    assert trained.trainings[-1].error < trained.trainings[-1].trivial


def test_a_chain_that_cannot_learn_from_the_answer_is_told_at_once():
    decide = Designed("decide", lambda c: nn.functional.one_hot(c.argmax(-1), 3).float(), "colour", "answer")
    with pytest.raises(RegimeError, match="no gradient goes from 'answer' to look"):
        run("endtoend", make_task([look, decide], direct=None))
    with pytest.raises(RegimeError, match="nothing in this chain can learn"):
        run("joint", make_task([Designed("fixed", lambda x: x[:, :3].softmax(-1), "x", "answer")], direct=None))


def test_an_estimator_is_a_stage_like_others_where_its_labels_are_used():
    task = make_task([Estimator("look", LogisticRegression, "x", colour), both, judge, tell_name])
    for regime in ("independent", "sequential", "tuned", "joint"):
        assert evaluate(task, run(regime, task).net).stages[0].error < 0.2
    with pytest.raises(RegimeError, match="estimator 'look' learns from 'colour', which this regime does not use"):
        run("endtoend", task)


def test_a_network_before_an_estimator_needs_labels_of_its_own():
    early = Learned("early", lambda: nn.Linear(4, 4), "x", "better")
    task = make_task([early, Estimator("look", LogisticRegression, "better", colour), both, judge, tell_name])
    with pytest.raises(RegimeError, match="'early' has no labels of its own"):
        run("independent", task)
    assert any("early: as it started" in note for note in run("joint", task).notes)
    assert set(fields_used(task, "chain", "independent")) >= {"colour", "shape"}


def test_an_estimator_may_answer():
    task = make_task([look, both, Estimator("last", KNeighborsClassifier, "both", answer)], direct=None)
    for regime in ("independent", "sequential", "tuned", "joint"):
        assert evaluate(task, run(regime, task).net).error < 0.4


ASKED = []


def ask(x):
    ASKED.append(len(x))
    return x * 2


@pytest.mark.parametrize("regime", ["independent", "joint", "endtoend"])
def test_an_outside_stage_is_asked_once_an_item_and_not_each_step(regime):
    front = Outside("front", ask, "x", "louder")
    task = make_task([front, replace(look, reads="louder"), both, judge, tell_name])
    counts = []
    for n_steps in (20, 60):
        ASKED.clear()
        run(regime, task.with_fit(replace(FIT, min_steps=n_steps, max_steps=n_steps)))
        counts.append(sum(ASKED))
    assert counts[0] == counts[1]
    assert counts[0] < 4 * len(task.supply)


def test_a_pretrained_stage_goes_on_and_a_frozen_one_stays(seen):
    weights = run("independent").net.nets["look"].state_dict()
    pretrained, frozen = (
        make_task([replace(look, weights=weights, frozen=frozen), both, judge, tell_name]) for frozen in (False, True)
    )
    for regime in ("independent", "tuned", "endtoend", "sequential"):
        kept = run(regime, frozen).net.nets["look"].state_dict()
        assert all(torch.equal(kept[k], v) for k, v in weights.items())
    seen.clear()
    moved = run("endtoend", pretrained)
    _, start = seen["look+judge"][0]
    assert torch.equal(start.nets["look"].layer.weight, weights["layer.weight"])
    assert not torch.equal(moved.net.nets["look"].layer.weight, weights["layer.weight"])


def test_a_designed_stage_with_labels_is_scored_but_never_trained():
    """Its loss has no gradient, whether it reads inputs or what a network wrote."""
    fixed = Designed("look", lambda x: x[:, :3].softmax(-1), "x", colour)
    task = make_task([fixed, both, judge, tell_name])
    for regime in ("independent", "sequential", "tuned", "joint", "endtoend"):
        trained = run(regime, task)
        assert {t.stages for t in trained.trainings} == {("judge",)}
        assert [s.field for s in evaluate(task, trained.net).stages] == ["colour", "shape"]


def test_a_stage_without_labels_is_trained_with_the_next_that_has_some():
    early = Learned("early", lambda: nn.Linear(4, 4), "x", "better")
    task = make_task([early, replace(look, reads="better"), both, judge, tell_name])
    trained = run("independent", task)
    assert trained.notes == ("early+look: trained together by 'colour'",)
    assert trained.trainings[0].stages == ("early", "look")


def test_two_labelled_fields_of_one_stage_are_trained_together():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.look, self.judge = Look(), Judge()

        def forward(self, x, tone):
            shares = self.look(x)
            return shares, self.judge(join(shares, tone))

    task = make_task([Learned("two", Two, ("x", "tone"), (colour, replace(judge.targets[0]))), tell_name])
    for regime in ("independent", "sequential", "joint", "endtoend"):
        assert evaluate(task, run(regime, task).net).error < 0.6


@pytest.mark.parametrize(
    ("regime", "fields"),
    [
        ("independent", {"colour", "shape"}),
        ("sequential", {"colour", "shape"}),
        ("tuned", {"colour", "shape", "answer"}),
        ("joint", {"colour", "shape", "answer"}),
        ("endtoend", {"answer"}),
    ],
)
def test_the_fields_a_regime_uses(regime, fields):
    assert set(fields_used(TASK, "chain", regime)) == fields


def test_no_labels_at_all_are_told():
    with pytest.raises(TrainingError, match="no training item has a label of 'colour'"):
        run("independent", colour=0)
    with pytest.raises(TrainingError, match="no training item has a label of 'answer'"):
        run("tuned", answer=0)


def test_direct_is_one_training_of_one_stage():
    trained = run("direct")
    assert [t.stages for t in trained.trainings] == [("whole",)]
    assert trained.net.chain.stages[0] is direct


def test_labels_that_are_gold_to_a_later_stage_are_part_of_its_training():
    weights = look.build(0).state_dict()
    frozen = make_task(
        chain=Chain([Learned("look", Look, "x", colour, weights=weights, frozen=True), *TASK.chain.stages[1:]])
    )
    few, many = run("independent", frozen, colour=8), run("independent", frozen)
    assert few.trainings[0].hash != many.trainings[0].hash
    assert "colour" in fields_used(frozen, "chain", "independent")


def test_a_fold_leaves_out_all_items_with_one_of_its_groups(monkeypatch):
    world = draw_world(200, 0)
    groups = np.random.default_rng(0).integers(0, 60, (200, 1)) * 2 + np.arange(2)
    split = np.where(groups[:, 0] < 80, "train", np.where(groups[:, 0] < 100, "validation", "test"))
    task = make_task(supply=Supply({"t": world | {"group": groups, "split": split}}))
    used = {}
    real = regimes_module._train_segment

    def spy(job, net, segment, rows, inputs, origin):
        used[origin[-1] if origin else ""] = rows
        return real(job, net, segment, rows, inputs, origin)

    monkeypatch.setattr(regimes_module, "_train_segment", spy)
    run("sequential", task)
    folds = regimes_module.folds_of(job(task))
    left_out = [rows for name, rows in used.items() if str(name).startswith("without fold")]
    assert len(left_out) == task.fit.n_folds
    for fold, rows in enumerate(left_out):
        assert not (folds[rows] == fold).any()
