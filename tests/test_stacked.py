from dataclasses import replace

import pytest
import torch
from tiny import FIT, both, colour, judge, make_task, tell_name
from torch import nn

from seamwise import Learned
from seamwise.errors import TrainingError
from seamwise.fit import fit
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.stacked import fit_stacked, run_gathered
from seamwise.training import Job


def attempts(task, regime, budgets, seeds=(0, 1), variant="chain"):
    """The trainings a regime asks for."""
    asked = []

    def remember(attempt):
        asked.append(attempt)
        return fit(attempt)

    for budget in budgets:
        for seed in seeds:
            job = Job(task, "direct" if regime == "direct" else variant, budget, seed, fitting=remember)
            REGIME_FUNCTIONS[regime](job)
    return asked


def assert_same(alone, together, within=2e-5):
    assert (alone.n_steps, alone.stopped, alone.rate) == (together.n_steps, together.stopped, together.rate)
    assert alone.error == pytest.approx(together.error, abs=1e-6)
    for name, weights in alone.weights.items():
        torch.testing.assert_close(together.weights[name], weights, atol=within, rtol=0)


@pytest.mark.parametrize("regime", ["independent", "tuned", "joint", "endtoend", "direct"])
def test_together_is_what_one_by_one_is(regime):
    """With few answers many a batch of tuned and joint holds none, and what the answer alone trains has no gradient."""
    budgets = [{"answer": n, "shape": 64, "colour": 40} for n in (3, 24, 96)]
    asked = attempts(make_task(), regime, budgets)
    for attempt, together in zip(asked, fit_stacked(asked), strict=True):
        assert_same(fit(attempt), together)


def test_several_rates_and_a_second_try_from_few_examples():
    settings = replace(FIT, rates=(3e-2, 1e-4), start_small=8)
    asked = attempts(make_task(fit=settings), "direct", [{"answer": 48}], seeds=(0, 1, 2))
    for attempt, together in zip(asked, fit_stacked(asked), strict=True):
        assert_same(fit(attempt), together)


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Softmax(-1))

    def forward(self, x):
        return self.layers(x)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Softmax(-1))

    def forward(self, x):
        return self.layers(x)


class Looping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x if float(x.detach().mean()) > -9 else -x).softmax(-1)


class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.mask = nn.Linear(4, 3), torch.rand(4)

    def forward(self, x):
        return self.layer(x * self.mask).softmax(-1)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.last(self.two(self.one(x).tanh())).softmax(-1)


class Centred(nn.Module):
    """Looks across the batch: no other training's examples may be in it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.layer(x - x.mean(0)).softmax(-1)


def test_examples_of_other_trainings_are_in_no_batch():
    stages = (Learned("look", Centred, "x", colour), both, judge, tell_name)
    asked = attempts(make_task(stages), "endtoend", [{"answer": 3}, {"answer": 5}])
    for attempt, together in zip(asked, fit_stacked(asked), strict=True):
        assert_same(fit(attempt), together)


@pytest.mark.parametrize("module", [Dropping, Normed, Looping, Masked, Tied])
def test_what_cannot_be_stacked_goes_one_by_one(module):
    stages = (Learned("look", module, "x", colour), both, judge, tell_name)
    asked = attempts(make_task(stages), "endtoend", [{"answer": 48}])
    for attempt, together in zip(asked, fit_stacked(asked), strict=True):
        alone = fit(attempt)
        assert alone.error == together.error
        assert all((together.weights[name] == v).all() for name, v in alone.weights.items())


def test_a_training_that_diverges_is_told_and_the_others_stand():
    settings = replace(FIT, rates=(3e-2,))
    good, other = attempts(make_task(fit=settings), "direct", [{"answer": 48}])
    bad = replace(
        other, train=replace(other.train, inputs=other.train.inputs | {"x": other.train.inputs["x"] * torch.nan})
    )
    first, second = fit_stacked([good, bad])
    assert_same(fit(good), first)
    assert isinstance(second, TrainingError)
    assert "nan" in str(second)


def test_gathered_trials_come_to_what_they_come_to_alone():
    task = make_task()
    jobs = [(regime, n) for regime in ("tuned", "independent", "direct") for n in (24, 96)]

    def trained(regime, n, fitting=fit):
        job = Job(
            task,
            "direct" if regime == "direct" else "chain",
            {"answer": n, "shape": 64, "colour": 64},
            0,
            fitting=fitting,
        )
        return REGIME_FUNCTIONS[regime](job)

    together = run_gathered([lambda fitting, job=job: trained(*job, fitting) for job in jobs])
    for job, found in zip(jobs, together, strict=True):
        alone = trained(*job)
        assert [t.hash for t in alone.trainings] == [t.hash for t in found.trainings]
        for a, b in zip(alone.trainings, found.trainings, strict=True):
            for name, weights in a.weights.items():
                torch.testing.assert_close(b.weights[name], weights, atol=2e-5, rtol=0)


def test_what_a_gathered_job_raises_comes_out():
    def wrong(fitting):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_gathered([wrong])

    def no_network():
        raise KeyError("no network")

    (attempt,) = attempts(make_task(), "direct", [{"answer": 48}], seeds=[0])
    with pytest.raises(KeyError, match="no network"):
        run_gathered([lambda fitting: fitting(replace(attempt, make=no_network)), lambda fitting: fitting(attempt)])
