from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seamwise import Fit, Supply, load_task, regimes, testing
from seamwise.errors import TaskError
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.systems.age import data, task, world
from seamwise.systems.age.nets import N_CARPALS, N_PLATES, Direct, Judge, Locate, TellAge
from seamwise.systems.age.statistics import posterior
from seamwise.systems.age.task import real, shipped, simulated, with_data, with_world
from seamwise.testing import check_task
from seamwise.training import Job

FEW = {"N_ANSWERS": 16, "N_STAGED": 12, "N_VALIDATION": 8, "N_TEST": 8}
BRIEF = Fit(batch=4, rates=(1e-3,), min_steps=0, max_steps=2, eval_every=1, warmup=1, n_folds=2, start_small=0)
STAGED = ("landmarks", "lengths", "plates", "carpals", "bones")


@pytest.fixture(scope="module")
def supply():
    with pytest.MonkeyPatch.context() as patch:
        for name, n in FEW.items():
            patch.setattr(data, name, n)
        return data._world_supply(None)


@pytest.fixture(scope="module")
def drawn_task(supply):
    return simulated(supply).with_fit(BRIEF)


@pytest.fixture(scope="module")
def seldom_marked(supply):
    """What real radiographs have: an age each, few landmarks, and no other label."""
    hands = world.draw(30, 7)
    marked = np.arange(30) % 3 == 0
    place = (hands.landmarks_px - 128) * hands.mm_per_px[:, None, None]
    table = {
        "picture": hands.picture,
        "sex": hands.sex,
        "mm_per_px": hands.mm_per_px,
        "age": hands.age_months,
        "landmarks": np.ma.array(place, mask=np.broadcast_to(~marked[:, None, None], place.shape)),
        "split": np.repeat(["train", "validation", "test"], [18, 6, 6]),
    }
    return Supply({"radiographs": table})


@pytest.fixture(scope="module")
def never_marked(seldom_marked):
    fields = {name: values.numpy() for name, values in seldom_marked.fields.items() if name != "landmarks"}
    return Supply({"radiographs": fields | {"split": np.repeat(["train", "validation", "test"], [18, 6, 6])}})


@pytest.fixture(scope="module")
def seldom_marked_task(seldom_marked):
    return real(seldom_marked).with_fit(BRIEF)


@pytest.fixture(scope="module")
def never_marked_task(never_marked):
    return real(never_marked).with_fit(BRIEF)


@pytest.fixture(autouse=True)
def few_seam_items(monkeypatch):
    monkeypatch.setattr(regimes, "N_SEAM_ITEMS", 2)


@pytest.fixture(scope="module")
def kept():
    return {}


def trained(given, variant, regime, kept):
    """Train one way, with what others of this file trained already."""
    budget = {field: given.supply.held(field) for field in given.targets(given.chain_of(variant))}
    job = Job(
        given, variant, budget, 0, lambda key, make: kept[key] if key in kept else kept.setdefault(key, make(key))
    )
    return REGIME_FUNCTIONS[regime](job)


def stopped_at(result):
    return {seam.field: seam.stopped_by for seam in result.seams if not seam.passes}


@pytest.mark.slow
def test_the_task_keeps_the_contract(drawn_task, monkeypatch):
    """Of networks; few items and steps, as the networks are larger than most."""
    monkeypatch.setattr(testing, "N_STEPS", 30)  # what a network sees varies, so that few would fall by chance
    monkeypatch.setattr(testing, "N_ITEMS", {"train": 4, "validation": 2, "test": 2})
    network, direct = drawn_task.variants["network"], drawn_task.direct["direct"]
    quicker = replace(drawn_task, chain=network, direct=direct)
    assert check_task(quicker) == ()


@pytest.mark.parametrize(
    ("variant", "regime"),
    [("network", "endtoend"), ("statistics", "endtoend")],
)
def test_gradient_crosses_every_seam_from_the_age_to_the_picture(drawn_task, kept, variant, regime):
    result = trained(drawn_task, variant, regime, kept)
    assert stopped_at(result) == {}
    assert [seam.field for seam in result.seams][:4] == ["landmarks", "lengths", "joints", "wrist"]
    assert result.trainings


def test_masks_are_decisions_that_no_gradient_crosses(drawn_task, kept):
    result = trained(drawn_task, "masks", "joint", kept)
    assert stopped_at(result) == {"bones": "argmax"}
    (seam,) = (seam for seam in result.seams if seam.field == "bones")
    assert (seam.writer, seam.reader) == ("segment", "join")
    assert "no gradient crosses 'bones'" in " ".join(result.notes)


@pytest.mark.parametrize(("variant", "regime"), [("forest", "joint"), ("ridge", "endtoend")])
def test_estimators_learn_without_gradient(drawn_task, kept, variant, regime):
    result = trained(drawn_task, variant, regime, kept)
    assert stopped_at(result)["plates"] == "estimator tell"
    as_it_started = "locate+measure+judge: as it started, no gradient comes from the answer"
    assert (as_it_started in result.notes) == (regime == "endtoend")


@pytest.mark.parametrize("name", ["direct", "larger"])
def test_one_network_answers_alone(drawn_task, kept, name):
    result = trained(drawn_task, name, "direct", kept)
    assert [training.stages for training in result.trainings] == [("direct",)]


def test_stages_before_the_answer_learn_from_gold(drawn_task, kept):
    result = trained(drawn_task, "network", "independent", kept)
    assert [training.target for training in result.trainings] == ["landmarks", "plates", "age"]
    (note,) = result.notes  # no simulated hand of the training set has both an age and what can be seen
    assert note.startswith("tell: no gold input for 16 of 16 items")


def test_perfect_stages_write_their_labels(drawn_task, supply):
    rows = supply.rows("test")
    gold = supply.take(STAGED, rows)
    assert torch.equal(drawn_task.oracles["locate"]({}, gold), gold["landmarks"])
    assert [
        torch.equal(*pair)
        for pair in zip(drawn_task.oracles["judge"]({}, gold), (gold["plates"], gold["carpals"]), strict=True)
    ] == [True, True]


def test_who_does_not_look_answers_the_median(drawn_task):
    ages = torch.tensor([10.0, 20, 200])
    assert float(drawn_task.guess(ages)) == 20


def test_statistics_read_true_lengths_or_only_their_ratios(supply):
    rows = supply.rows("test")
    given = supply.take(task.KNOWN, rows)
    lengths, sex, plates, carpals = (given[name] for name in task.KNOWN)
    told = task.by_statistics(lengths, sex, plates, carpals)
    assert torch.equal(told, posterior(lengths, sex, torch.ones(len(sex)), plates, carpals)[0])
    ratios = task.by_ratios(lengths, sex, plates, carpals)
    torch.testing.assert_close(task.by_ratios(1.3 * lengths, sex, plates, carpals), ratios, atol=1, rtol=0)
    assert (task.by_statistics(1.3 * lengths, sex, plates, carpals) - told).abs().max() > 2
    ages = supply.take(["age"], rows)["age"]
    assert (told - ages).abs().mean() < 15


@pytest.mark.parametrize(
    ("part", "make"),
    [("locate", Locate), ("judge", Judge), ("age", lambda: TellAge(N_PLATES + N_CARPALS)), ("direct", Direct)],
)
def test_shipped_weights_fit_their_networks(part, make):
    net, weights = make(), shipped(part)
    net.load_state_dict(weights)
    assert all(value.dtype == torch.float32 for value in weights.values())
    stored = load_file(str(task.WEIGHTS))
    assert {name.split(".")[0] for name in stored} == {"locate", "judge", "age", "direct"}
    assert task.WEIGHTS.stat().st_size < 8e6


def test_networks_for_real_radiographs_start_from_simulated_hands_or_not(seldom_marked_task):
    given = seldom_marked_task
    net, scratch = (given.chain_of(name).build(0) for name in ("network", "scratch"))
    for stage, part in (("locate", "locate"), ("judge", "judge"), ("tell", "age")):
        for name, value in net.nets[stage].state_dict().items():
            assert torch.equal(value, shipped(part)[name])
        started = scratch.nets[stage].state_dict()
        assert not all(torch.equal(value, shipped(part)[name]) for name, value in started.items())
    assert given.chain_of("statistics").learned == ("locate",)
    assert given.chain_of("network").learned == given.chain_of("scratch").learned == ("locate", "judge", "tell")


def test_without_landmarks_the_first_stage_stays_as_it_is(never_marked_task, seldom_marked_task):
    given, marked = never_marked_task, seldom_marked_task
    for name, learned in {"network": ("judge", "tell"), "scratch": ("judge", "tell"), "by_hand": ("tell",)}.items():
        assert given.chain_of(name).learned == learned
    assert list(given.targets(given.chain_of("network"))) == ["age"]
    assert list(marked.targets(marked.chain_of("network"))) == ["landmarks", "age"]


@pytest.mark.parametrize(
    ("variant", "regime"),
    [("network", "independent"), ("by_hand", "joint"), ("ridge", "sequential")],
)
def test_few_landmarks_will_do(seldom_marked_task, kept, variant, regime):
    result = trained(seldom_marked_task, variant, regime, kept)
    assert result.trainings[-1].target == "age"
    every = {"landmarks", "lengths", "joints", "wrist", "signs"}
    assert set(stopped_at(result)) == (every if variant == "ridge" else set())


@pytest.mark.parametrize(("variant", "regime"), [("scratch", "endtoend"), ("ridge", "independent")])
def test_ages_alone_will_do(never_marked_task, kept, variant, regime):
    result = trained(never_marked_task, variant, regime, kept)
    assert [training.target for training in result.trainings] == ["age"]
    for name, value in result.net.nets["locate"].state_dict().items():
        assert torch.equal(value, shipped("locate")[name])


@pytest.mark.parametrize(("name", "value"), [("pose", 1.5), ("noise", -0.1), ("spread", float("nan"))])
def test_worlds_that_cannot_be_are_refused(name, value):
    with pytest.raises(TaskError, match=f"the setting '{name}' of the age world is {value:g}") as told:
        with_world(**{name: value})
    assert "0 to 1" in str(told.value)


def test_worlds_of_a_difficulty_and_folders_become_tasks(drawn_task, seldom_marked_task, monkeypatch, tmp_path):
    asked = []

    def instead(name, supply, made):
        monkeypatch.setattr(task, f"{name}_supply", lambda *given: asked.append(given) or supply)
        monkeypatch.setattr(task, {"world": "simulated", "real": "real"}[name], lambda supply: made.with_supply(supply))

    instead("world", drawn_task.supply, drawn_task)
    instead("real", seldom_marked_task.supply, seldom_marked_task)
    assert with_world(noise=0.9, clutter=0).supply is drawn_task.supply
    assert asked.pop() == (world.Difficulty(noise=0.9, clutter=0),)
    assert with_data([tmp_path]).supply is seldom_marked_task.supply
    assert asked.pop() == ([tmp_path],)
    task.on_the_world.cache_clear()
    assert load_task("age").supply is drawn_task.supply
    assert asked.pop() == ()
    task.on_the_world.cache_clear()
    with pytest.raises(AttributeError, match="no attribute 'tasks'"):
        task.tasks  # noqa: B018
