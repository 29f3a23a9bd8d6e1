"""The tracker's task: its chains in every regime, its pictures and words, and where it comes from."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from seamwise import Fit, Supply, cli, load_task, regimes, testing
from seamwise.errors import TaskError
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.systems.track import data, drawing, targets, task
from seamwise.systems.track.nets import N_SHIFTS, REACH, SCALES, SEARCH_PX, Features
from seamwise.systems.track.task import track, with_data, with_world
from seamwise.systems.track.world import N_KINDS, Difficulty
from seamwise.testing import check_task
from seamwise.training import Job

FEW = {"N_ANSWERS": 16, "N_STAGED": 12, "N_VALIDATION": 4, "N_TEST": 4, "N_FRAMES": 9}
BRIEF = Fit(batch=4, rates=(1e-3,), min_steps=0, max_steps=2, eval_every=1, warmup=1, n_folds=2, start_small=0)


@pytest.fixture(scope="module")
def supply():
    with pytest.MonkeyPatch.context() as patch:
        for name, n in FEW.items():
            patch.setattr(data, name, n)
        return data._world_supply(None)


@pytest.fixture(scope="module")
def drawn_task(supply):
    return track(supply).with_fit(BRIEF)


@pytest.fixture(scope="module")
def unnamed(supply):
    """What annotated sequences have: a place each, and nobody says the kind."""
    known = supply.present["place"]
    columns = {name: supply.fields[name][known].numpy() for name in ("exemplar", "search", "place")}
    split = np.repeat(["train", "validation", "test"], [16, 4, 4])
    return Supply({"sequences": columns | {"response": columns["place"], "split": split}})


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


@pytest.mark.slow
def test_the_task_keeps_the_contract(drawn_task, monkeypatch):
    monkeypatch.setattr(testing, "N_STEPS", 20)
    monkeypatch.setattr(testing, "N_ITEMS", {"train": 6, "validation": 2, "test": 2})
    assert check_task(drawn_task) == ()


@pytest.mark.parametrize(
    ("variant", "regime"),
    [("filter", "independent"), ("filter", "tuned"), ("filter", "joint"), ("plain", "endtoend"), ("both", "endtoend")],
)
def test_gradient_crosses_the_correlation_in_every_variant(drawn_task, kept, variant, regime):
    result = trained(drawn_task, variant, regime, kept)
    assert [(seam.field, seam.passes) for seam in result.seams] == [("z", True), ("x", True), ("response", True)]
    apart = ["kind", "response"]
    told = {"independent": apart, "tuned": [*apart, "place"], "joint": ["place"], "endtoend": ["place"]}
    assert [training.target for training in result.trainings] == told[regime]


def test_features_are_cross_fitted_before_the_correlation_learns(drawn_task, kept):
    result = trained(drawn_task, "filter", "sequential", kept)
    assert {training.target for training in result.trainings} == {"kind", "response"}


@pytest.mark.parametrize("name", ["direct", "larger"])
def test_one_network_answers_alone(drawn_task, kept, name):
    assert [training.stages for training in trained(drawn_task, name, "direct", kept).trainings] == [("direct",)]


def test_a_perfect_correlation_is_told_as_about_the_place(drawn_task, supply):
    gold = supply.take(["place"], supply.rows("test"))
    response = drawn_task.oracles["correlate"]({}, gold)
    torch.testing.assert_close(response, targets.scores(gold["place"]))
    assert drawn_task.guess(gold["place"]).tolist() == [0, 0, 0]


@pytest.mark.parametrize("regime", ["independent", "endtoend"])
def test_where_nobody_says_the_kind_the_response_teaches_features(unnamed, kept, regime):
    given = track(unnamed).with_fit(BRIEF)
    result = trained(given, "filter", regime, kept)
    assert list(given.targets(given.chain_of("filter"))) == ["response", "place"]
    (training,) = result.trainings
    assert training.target == {"independent": "response", "endtoend": "place"}[regime]
    assert "features" in training.stages


def test_features_for_real_sequences_start_from_the_shipped_ones(supply, unnamed, tmp_path, monkeypatch):
    torch.manual_seed(5)
    weights = Features(N_KINDS, designed=True).state_dict()
    save_file({f"features.{name}": value for name, value in weights.items()}, tmp_path / "weights.safetensors")
    monkeypatch.setattr(task, "WEIGHTS", tmp_path / "weights.safetensors")
    task.shipped.cache_clear()
    started, scratch = (track(given).chain_of("both").build(0).nets["features"] for given in (unnamed, supply))
    task.shipped.cache_clear()
    assert all(torch.equal(value, weights[name]) for name, value in started.state_dict().items())
    assert not torch.equal(scratch.state_dict()["see.0.weight"], weights["see.0.weight"])


def test_a_place_is_told_in_sizes():
    told = drawing.tell({"place": np.array([0.25, -0.5, math.log(1.05)], dtype=np.float32)})
    assert told == {"x": 0.25, "y": -0.5, "scale": 1.05}


def test_boxes_and_heat_are_drawn_where_they_are():
    grey = {"exemplar": np.full((3, 96, 96), 90, np.uint8), "search": np.full((3, 104, 104), 90, np.uint8)}
    response = np.zeros((len(SCALES), N_SHIFTS, N_SHIFTS), np.float32)
    response[2, REACH - 2, REACH + 4] = 30
    written = {"place": np.array([0.5, -0.25, 0], np.float32), "response": response}
    side = drawing.SIDE_PX
    picture = drawing.draw(grey | {"place": np.zeros(3, np.float32)}, written)
    assert (picture.shape, picture.dtype) == ((side, 3 * side, 3), np.uint8)
    per_px = side / SEARCH_PX
    search = picture[:, side : 2 * side]
    for colour, middle in ((drawing.TRUE, (52, 52)), (drawing.TOLD, (68, 44))):
        row, column = np.nonzero((search == colour).all(-1))
        shown = [(column.min() + column.max()) / 2 / per_px, (row.min() + row.max()) / 2 / per_px]
        np.testing.assert_allclose(shown, middle, atol=1)
    heat = picture[:, 2 * side :].astype(int).sum(-1)
    row, column = np.nonzero(heat == heat.max())
    np.testing.assert_allclose([column.mean() / per_px, row.mean() / per_px], (68, 44), atol=0.5)
    assert drawing.draw(grey, {"place": written["place"]}).shape == (side, 2 * side, 3)


@pytest.mark.parametrize(("name", "value"), [("scale", 1.5), ("camera", -0.1), ("alike", float("nan"))])
def test_worlds_that_cannot_be_are_refused(name, value):
    with pytest.raises(TaskError, match=f"the setting '{name}' of the track world is {value:g}") as told:
        with_world(**{name: value})
    assert "0 to 1" in str(told.value)


def test_worlds_of_a_difficulty_and_folders_become_tasks(drawn_task, supply, unnamed, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(task, "world_supply", lambda *given: asked.append(given) or supply)
    monkeypatch.setattr(task, "real_supply", lambda *given: asked.append(given) or unnamed)
    monkeypatch.setattr(task, "track", drawn_task.with_supply)
    assert with_world(blur=0.9, alike=0).supply is supply
    assert asked.pop() == (Difficulty(blur=0.9, alike=0),)
    assert with_data([tmp_path]).supply is unnamed
    assert asked.pop() == ([tmp_path],)
    task.on_the_world.cache_clear()
    assert load_task("track").supply is supply
    assert asked.pop() == ()
    task.on_the_world.cache_clear()
    with pytest.raises(AttributeError, match="no attribute 'tasks'"):
        task.tasks  # noqa: B018


def test_a_model_alone_is_scored_on_the_tasks_items_and_with_data_on_those(monkeypatch):
    asked = []
    monkeypatch.setattr(cli, "app", lambda words: asked.append(("every task", words)))
    own = cli.import_module(cli.OWN_COMMANDS["track"])
    monkeypatch.setattr(own, "apps", {c: lambda words, prog_name: asked.append((prog_name, words)) for c in own.apps})
    cli._run(["eval", "track", "--model", "m"])
    cli._run(["eval", "track", "--model", "m", "--data", "otb"])
    cli._run(["predict", "track", "a.mp4", "--model", "m"])
    assert [who for who, _ in asked] == ["every task", "seamwise eval track", "seamwise predict track"]
