import numpy as np
import pytest
import torch
from tiny import answer, both, colour, join, judge, look, make_supply, make_task, tell_name
from torch import nn

from seamwise import Designed
from seamwise.evaluate import evaluate, latency_ms, trivial_error

TASK = make_task()
NET = TASK.chain_of("chain").build(3)


def test_errors_are_of_each_test_item_the_slow_way():
    result = evaluate(TASK, NET)
    rows = TASK.supply.rows("test")
    assert result.items.tolist() == rows.tolist()
    for k, row in enumerate(rows):
        one = NET({f: TASK.supply.fields[f][row][None] for f in ("x", "tone")})
        for field, errors in {"answer": result.errors, **result.by_field}.items():
            assert errors[k] == float(one[field].argmax() != TASK.supply.fields[field][row])
    assert result.error == pytest.approx(result.errors.mean())
    assert result.written["colour"].shape == (len(rows), 3)


def test_a_stages_error_on_gold_input_replaces_all_before_it():
    score = next(s for s in evaluate(TASK, NET).stages if s.field == "shape")
    rows = TASK.supply.rows("test")
    given = TASK.supply.take(["colour", "tone", "shape"], rows)
    written = NET.nets["judge"](join(colour.gold(given["colour"]), given["tone"]))
    assert score.error_on_gold_input == pytest.approx((written.argmax(1) != given["shape"]).float().mean().item())
    first = next(s for s in evaluate(TASK, NET).stages if s.field == "colour")
    assert first.error_on_gold_input is None


def test_items_without_a_stages_label_are_left_out_of_its_score():
    supply = make_supply()
    rows = supply.rows("test")
    supply.present["shape"][rows[:30]] = False
    supply.present["colour"][rows[35:]] = False
    result = evaluate(TASK.with_supply(supply), NET)
    assert np.isnan(result.by_field["shape"]).tolist() == [True] * 30 + [False] * 10
    scores = {s.field: s for s in result.stages}
    assert scores["shape"].error == pytest.approx(np.nanmean(result.by_field["shape"]))
    both_known = TASK.supply.take(["colour", "tone", "shape"], rows[30:35])
    written = NET.nets["judge"](join(colour.gold(both_known["colour"]), both_known["tone"]))
    wrong = (written.argmax(1) != both_known["shape"]).float().mean().item()
    assert scores["shape"].error_on_gold_input == pytest.approx(wrong)
    supply.present["colour"][rows[30:]] = False  # no item has both
    scores = {s.field: s for s in evaluate(TASK.with_supply(supply), NET).stages}
    assert scores["shape"].error_on_gold_input is None
    assert not np.isnan(result.errors).any()


def test_what_stages_cost_is_measured_where_it_is_asked_for():
    plain, blamed = evaluate(TASK, NET), evaluate(TASK, NET, with_blame=True)
    assert plain.blame == {}
    assert "pinned.colour" in blamed.blame
    assert plain.stages == blamed.stages
    assert np.array_equal(plain.errors, blamed.errors)
    assert blamed.stages[1].error_on_gold_input == pytest.approx(blamed.blame["gold.shape"].mean())
    assert np.array_equal(blamed.blame["gold.colour"], blamed.by_field["colour"])


def test_a_field_labelled_for_scoring_alone_has_a_trivial_error():
    supply = make_supply()
    supply.present["colour"][supply.rows("train")] = False
    assert 0 < trivial_error(TASK.with_supply(supply), colour, supply.rows("test")) < 1


def test_the_trivial_error_is_that_of_the_commonest_training_label():
    labels = TASK.supply.fields["answer"]
    train, test = TASK.supply.rows("train", "answer"), TASK.supply.rows("test")
    commonest = labels[train].bincount().argmax()
    assert trivial_error(TASK, answer, test) == pytest.approx((labels[test] != commonest).float().mean().item())


def test_another_split_is_scored_too():
    assert evaluate(TASK, NET, "validation").items.tolist() == TASK.supply.rows("validation").tolist()


def test_dropout_is_off_and_large_fields_are_not_kept():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x)

    wide = Designed("wide", lambda x: x.repeat(1, 100), "x", "wide")
    noisy = type(look)("noisy", Noisy, "x", "same")
    task = make_task([wide, noisy, look, both, judge, tell_name])
    net = task.chain_of("chain").build(0).train()
    result = evaluate(task, net)
    assert "wide" not in result.written
    assert torch.equal(torch.from_numpy(result.written["same"]), task.supply.fields["x"][result.items])


def test_latency_is_of_one_item():
    sizes = []
    task = make_task([Designed("count", lambda x: sizes.append(len(x)) or x, "x", "y"), look, both, judge, tell_name])
    sizes.clear()
    assert latency_ms(task.chain_of("chain").build(0), task.supply.take(["x", "tone"], np.arange(5))) > 0
    assert set(sizes) == {1}
