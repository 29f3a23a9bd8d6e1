from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from tiny import FIT, Look, both, colour, judge, look, make_supply, make_task, tell_name
from torch import nn

from seamwise import Chain, Designed, Estimator, Learned, Outside, Supply, numbers
from seamwise.errors import SeamwiseError
from seamwise.testing import check_task

RANDOM = np.random.default_rng()


def one_stage(stage=look, **changes):
    """The smallest task: one network, whose field is the answer."""
    return make_task([stage], **({"answer": colour, "direct": None} | changes))


def fails(task, *told):
    with pytest.raises((AssertionError, SeamwiseError)) as error:
        check_task(task)
    for words in told:
        assert words in str(error.value)


def test_a_task_of_all_kinds_of_stages_passes():
    weights = Chain([look]).build(0).nets["look"].state_dict()
    front = Outside("front", lambda x: x * 2, "x", "louder")
    kinds = {
        "plain": [look, both, judge, tell_name],
        "frozen": [front, replace(look, reads="louder", weights=weights, frozen=True), both, judge, tell_name],
        "estimator": [Estimator("look", LogisticRegression, "x", colour), both, judge, tell_name],
    }
    task = make_task(
        chain={v: Chain(s) for v, s in kinds.items()},
        draw=lambda item, written: np.zeros((4, 4, 3), np.uint8),
        tell=lambda written: int(written["answer"].argmax()),
    )
    left_out = check_task(task)
    assert len(left_out) == 1
    assert left_out[0].startswith("task 'tiny', variant 'estimator', regime endtoend: estimator 'look' learns from")


def test_it_leaves_the_task_as_it_was():
    task = one_stage()
    before = {k: v.clone() for k, v in task.supply.fields.items()}
    settings, state = task.fit, torch.get_rng_state()
    check_task(task)
    assert all(torch.equal(v, before[k]) for k, v in task.supply.fields.items())
    assert task.fit is settings
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_that_is_shared_is_told():
    module = Look()
    fails(
        one_stage(replace(look, work=lambda: module)), "variant 'chain'", "the same module twice", "inside the function"
    )


class Dead(Look):
    def forward(self, x):
        return super().forward(x) * 0 + 1 / 3


def test_a_network_that_cannot_learn_is_told():
    fails(
        one_stage(replace(look, work=Dead)), "variant 'chain': the loss on one batch falls in 40 steps", "it went from"
    )


class Restless(Look):
    def forward(self, x):
        return super().forward(x + torch.from_numpy(RANDOM.normal(size=x.shape)).float())


def test_chance_that_the_seed_does_not_rule_is_told():
    fails(one_stage(replace(look, work=Restless)), "regime independent: the same seed gives the same result")


class Counting(Look):
    def __init__(self):
        super().__init__()
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x):
        self.n += 1
        return super().forward(x)


def test_a_frozen_stage_that_changes_is_told():
    frozen = replace(look, work=Counting, weights=Counting().state_dict(), frozen=True)
    task = make_task([frozen, both, judge, tell_name], direct=None, fit=FIT)
    fails(task, "regime independent: frozen stages stay bit-identical: n differs")


def not_a_number(written, labels):
    return colour.metric(written, labels) / 0


def test_a_metric_that_is_no_number_is_told():
    fails(one_stage(replace(look, writes=replace(colour, metric=not_a_number))), "task 'tiny'", "metric of 'colour'")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"draw": lambda item, written: np.zeros((4, 4))}, ("draw(item, written) returns a picture", "float64 (4, 4)")),
        ({"draw": lambda item, written: item["no"]}, ("draw(item, written)", "KeyError: 'no'")),
        ({"tell": lambda written: written["colour"]}, ("tell(written) returns what JSON can hold", "ndarray")),
        ({"trivial": lambda labels: torch.zeros(7)}, ("field 'colour': the trivial predictor", "[7]", "[3]")),
    ],
)
def test_a_function_of_the_task_that_fails_is_told(changes, told):
    fails(one_stage(**changes), *told)


def test_a_group_in_two_splits_is_told():
    supply = make_supply()
    supply.groups[supply.rows("test")] = supply.groups[0]
    fails(one_stage().with_supply(supply), "no group is in two splits: 1 groups are in train and in test")


def test_designed_chains_and_what_cannot_be_trained_are_left_out_with_a_reason():
    fixed = Designed("look", lambda x: x[:, :3].softmax(-1), "x", colour)
    left_out = check_task(one_stage(fixed))
    assert [line.split(": ")[0].split()[-1] for line in left_out] == ["tuned", "joint", "endtoend"]


def test_a_network_with_dropout_and_normalisation_passes():
    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))

        def forward(self, x):
            return self.layers(x).softmax(-1)

    assert check_task(one_stage(replace(look, work=Layers))) == ()


class OneNumber(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.layer = nn.Linear(n_in, 1)

    def forward(self, x):
        return self.layer(x.reshape(len(x), -1))[:, 0]


def test_a_chain_of_one_number_an_item_passes():
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    length = x @ np.array([1.0, 2.0, -1.0], dtype=np.float32)
    age, size = numbers("age", "months"), numbers("size", "mm")
    answer = Learned("relate", partial(OneNumber, 1), "size", age)
    kinds = {
        "learned": [Learned("measure", partial(OneNumber, 3), "x", size), answer],
        "estimator": [
            Learned("measure", partial(OneNumber, 3), "x", size),
            Estimator("relate", LinearRegression, "size", age),
        ],
    }
    supply = Supply({"all": {"x": x, "size": length, "age": 3 * length + 1}})
    left_out = check_task(
        make_task(chain={v: Chain(s) for v, s in kinds.items()}, answer=age, supply=supply, direct=None)
    )
    assert not any("learned" in told for told in left_out)
