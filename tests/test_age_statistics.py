import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from seamwise import Chain, Designed, numbers
from seamwise.systems.age import anatomy, growth, statistics
from seamwise.systems.age.statistics import AGES_MONTHS, interval, mean, posterior, quantile

DHA = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "hands/dha"


def as_floats(values):
    return torch.as_tensor(values, dtype=torch.float32)


def usual(sex, age):
    """The hand of the table at an age, and all its signs."""
    n = len(sex)
    signs = growth.maturity(sex, age)
    tensors = (growth.lengths(sex, age)[0], np.ones(n), signs.plates, signs.carpals)
    lengths_mm, known, plates, carpals = map(as_floats, tensors)
    return lengths_mm, torch.as_tensor(sex), known, plates, carpals


@pytest.fixture(scope="module")
def people():
    return anatomy.people(np.random.default_rng(0), 1000, 0.5)


def given(people, known, *signs):
    n = len(people.sex)
    return as_floats(people.lengths_mm), torch.as_tensor(people.sex), torch.full((n,), known), *map(as_floats, signs)


@pytest.mark.parametrize("sex", [0, 1])
def test_the_usual_hand_of_an_age_is_that_old(sex):
    ages = np.array([30.0, 50, 70, 90, 110])
    lengths_mm, *rest = usual(np.full(5, sex), ages)
    by_lengths, share = posterior(lengths_mm, *rest[:2])
    assert share.shape == (5, len(AGES_MONTHS))
    assert share.sum(1).tolist() == pytest.approx([1.0] * 5, abs=1e-5)
    assert by_lengths.numpy() == pytest.approx(ages, abs=12)
    by_all, all_share = posterior(lengths_mm, *rest)
    assert by_all.numpy() == pytest.approx(ages, abs=4)
    assert mean(all_share).numpy() == pytest.approx(ages, abs=4)
    narrow, wide = (np.diff(interval(s).numpy()) for s in (all_share, share))
    assert (narrow < wide).all()


def test_the_sum_over_scales_is_what_an_unknown_scale_gives(monkeypatch):
    monkeypatch.setattr(statistics, "SCALE_SD", 1.0)
    monkeypatch.setattr(statistics, "FREEDOM", 1e6)  # normal, so that the sum has this closed form
    lengths_mm, sex, known, *_ = usual(np.array([0, 1]), np.array([60.0, 120]))
    lengths_mm = lengths_mm.double() * (1 + 0.05 * torch.randn(2, 19, generator=torch.Generator().manual_seed(0)))
    scales = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    log = [statistics._of_lengths(lengths_mm * x.exp(), sex, known.double()) - x**2 / 2 for x in scales]
    slow = torch.stack(log).logsumexp(0).softmax(-1)
    assert torch.allclose(posterior(lengths_mm, sex, 0 * known)[1], slow, atol=1e-3)


def test_an_unknown_scale_leaves_ratios_alone():
    lengths_mm, sex, known, *_ = usual(np.array([0, 1]), np.array([60.0, 120]))
    one, other = (posterior(lengths_mm * k, sex, 0 * known)[1] for k in (1.0, 5.0))
    assert torch.allclose(one, other, atol=1e-4)
    known_one, known_other = (posterior(lengths_mm * k, sex, known)[0] for k in (1.0, 1.2))
    assert (known_other > known_one + 12).all()
    mixed = posterior(lengths_mm, sex, torch.tensor([0.0, 1.0]))[1]
    assert torch.allclose(mixed[0], one[0])
    assert not torch.allclose(mixed[1], one[1], atol=1e-3)


def test_ages_and_intervals_of_the_world(people):
    ages = as_floats(people.age_months)
    for signs, error in (((), 15.0), ((people.plates, people.carpals), 3.5)):
        age, share = posterior(*given(people, 1.0, *signs))
        low, high = interval(share).T
        assert (age - ages).abs().mean() < error
        assert 0.86 < ((low <= ages) & (ages <= high)).float().mean() < 0.99
    by_carpals, _ = posterior(*given(people, 0.0), carpals=as_floats(people.carpals))
    by_plates, _ = posterior(*given(people, 0.0), plates=as_floats(people.plates))
    by_ratios, _ = posterior(*given(people, 0.0))
    errors = [(age - ages).abs().mean() for age in (by_plates, by_carpals, by_ratios)]
    assert errors == sorted(errors)


def test_gradient_passes_to_lengths_and_signs():
    lengths_mm, sex, known, plates, carpals = usual(np.array([0, 1]), np.array([100.0, 121]))
    fields = [field.double().requires_grad_() for field in (lengths_mm, plates, carpals)]

    def age(lengths_mm, plates, carpals):
        return posterior(lengths_mm, sex, torch.tensor([1.0, 0.0]), plates, carpals)[0]

    assert torch.autograd.gradcheck(age, fields, eps=1e-4, atol=1e-2)
    lengths_mm.requires_grad_()
    posterior(lengths_mm, sex, known)[0].sum().backward()
    assert (lengths_mm.grad.sum(1) > 0).all()


def test_what_no_hand_is_still_has_an_age_and_a_gradient():
    lengths_mm = torch.cat([torch.zeros(1, 19), torch.full((1, 19), 1e4), torch.full((1, 19), -3.0)]).requires_grad_()
    plates = torch.full((3, 21), 9.0, requires_grad=True)
    age, share = posterior(lengths_mm, torch.tensor([0, 1, 0]), torch.tensor([1.0, 1.0, 0.0]), plates)
    age.sum().backward()
    for values in (age, share, lengths_mm.grad, plates.grad):
        assert values.isfinite().all()


def test_quantiles_are_those_of_even_shares():
    share = torch.zeros(2, len(AGES_MONTHS))
    share[0, 10:20] = 0.1  # 19 to 39 months
    share[1, -1] = 1
    assert quantile(share, 0.5).tolist() == pytest.approx([29, AGES_MONTHS[-1]])
    assert interval(share)[0].tolist() == pytest.approx([20, 38])
    assert (interval(share) <= AGES_MONTHS[-1]).all()


def test_it_is_a_stage_of_a_chain(people):
    reads = ("lengths_mm", "sex", "scale_known")
    stage = Designed("statistics", posterior, reads, (numbers("age_months", "months"), "share"))
    fields = dict(zip(reads, given(people, 1.0), strict=True))
    written = Chain([stage]).build(0)(fields)
    assert torch.equal(written["age_months"], posterior(*fields.values())[0])


@pytest.mark.data
def test_real_hands():
    if not DHA.exists():
        pytest.skip(f"no Digital Hand Atlas in {DHA}")
    with (DHA / "dha_bone_lengths.csv").open() as file:
        rows = list(csv.DictReader(file))
    lengths_mm = torch.tensor([[float(row[f"{bone}_mm"]) for bone in growth.BONES] for row in rows])
    ages = torch.tensor([float(row["bone_age_months"]) for row in rows])
    sex = torch.tensor([int(row["sex"] == "M") for row in rows])
    age, share = posterior(lengths_mm, sex, torch.ones(len(rows)))
    low, high = interval(share).T
    assert (age - ages).abs().mean() < 23
    assert 0.8 < ((low <= ages) & (ages <= high)).float().mean() < 0.97
    scale_free, _ = posterior(lengths_mm, sex, torch.zeros(len(rows)))
    assert (scale_free - ages).abs().mean() > 30
