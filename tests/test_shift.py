import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny import FIT, answer, both, colour, draw_world, hard, judge, look, make_supply, tell_name
from tiny import make_task as make_tiny

from seamwise import Designed, Estimator, Learned, Supply, load_task, study
from seamwise.bootstrap import Bootstrap
from seamwise.errors import ChainError, SupplyError, TaskError
from seamwise.plan import make_plan
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.shift import score_shift, supply_elsewhere
from seamwise.training import Job
from seamwise.trial import REGIMES

ASKED = {"budgets": [24, 96], "seeds": 1, "jobs": 1, "quiet": True}
REGIMES_ASKED = ["independent", "sequential", "tuned", "endtoend", "direct"]


def make_task(*stages, **changes):
    """Trained for long enough to forget what was learnt first."""
    return make_tiny(*stages, **{"fit": replace(FIT, min_steps=200, max_steps=300)} | changes)


def supply_there(without=()):
    """Another scanner: the columns of x in another order, as the first stage alone need know."""
    supply = make_supply()
    supply.fields["x"] = supply.fields["x"][:, [1, 2, 0, 3]]
    for field in without:
        del supply.fields[field], supply.present[field]
    return supply


def folders(run):
    return {p.name: p.stat().st_mtime_ns for p in (run / "stages").iterdir() if p.is_dir()}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return study(make_task(), tmp_path_factory.mktemp("run"), regimes=REGIMES_ASKED, **ASKED)


@pytest.fixture(scope="module")
def shifted(before, tmp_path_factory):
    run = Path(shutil.copytree(before.run, tmp_path_factory.mktemp("shifted") / "run"))
    return study(make_task(), run, regimes=REGIMES_ASKED, shift=supply_there(), **ASKED)


def top(result):
    return {t.regime: t for t in result.trials if t.budget == result.record.full[96]}


def test_training_the_first_stage_again_wins_back_what_the_other_scanner_cost(shifted):
    assert not shifted.failed
    for regime, trial in top(shifted).items():
        shift, items = trial.shift, shifted.items(trial)
        assert shift.error == pytest.approx(items["there.error"].mean())
        assert shift.error > trial.error + 0.3
        assert 0 < shift.trivial < 1
        if regime == "direct":
            assert (shift.stage, shift.n_labels, shift.retrained) == ("", 0, None)
            assert "one network" in shift.note
            assert "there.retrained" not in items
        else:
            assert shift.stage == "look"
            assert shift.n_labels == (96 if regime == "endtoend" else 64)
            assert shift.retrained == pytest.approx(items["there.retrained"].mean())
            assert shift.retrained < trial.error + 0.1
            assert (shifted.run / "stages" / shift.training).is_dir()


def test_only_the_largest_budget_is_scored_elsewhere_and_halvings_are_not(shifted):
    scored = [t for t in shifted.trials if t.shift]
    assert {t.id for t in scored} == {t.id for t in top(shifted).values()}


def test_the_run_folder_says_where_elsewhere_is_and_how_its_items_are_grouped(shifted):
    there = supply_there()
    assert shifted.record.elsewhere == "a supply"
    with np.load(shifted.run / "there.npz") as file:
        assert file["items"].tolist() == there.rows("test", "answer").tolist()
        groups = file["groups"]
    errors = shifted.items(top(shifted)["tuned"])["there.error"][None].astype(np.float64)
    assert Bootstrap(groups).interval(errors).mean == pytest.approx(top(shifted)["tuned"].shift.error)
    assert not (shifted.run / "supply").exists()


def test_a_finished_run_asked_with_a_shift_trains_the_first_stages_alone(before, shifted):
    own, more = folders(before.run), folders(shifted.run)
    assert own.items() <= more.items()
    assert set(more) - set(own) == {t.shift.training for t in shifted.trials if t.shift and t.shift.training}
    same = {t.id for t in before.trials} & {t.id for t in shifted.trials}
    assert same == {t.id for t in before.trials if t.id not in {o.id for o in top(before).values()}}
    for regime, trial in top(before).items():
        now = top(shifted)[regime]
        assert (now.error, now.trainings) == (trial.error, trial.trainings)
        assert now.id != trial.id


def test_independent_and_sequential_share_the_stage_that_is_trained_again(shifted):
    one, two = (top(shifted)[r] for r in ("independent", "sequential"))
    assert set(one.trainings) & set(two.trainings)
    assert one.shift.training == two.shift.training
    assert one.shift.training != top(shifted)["tuned"].shift.training


def test_asked_again_nothing_is_run(shifted):
    made, lines = folders(shifted.run), (shifted.run / "trials.jsonl").read_bytes()
    study(make_task(), shifted.run, regimes=REGIMES_ASKED, shift=supply_there(), **ASKED)
    assert folders(shifted.run) == made
    assert (shifted.run / "trials.jsonl").read_bytes() == lines


def test_asked_without_the_shift_again_the_run_has_none(before, shifted, tmp_path):
    run = Path(shutil.copytree(shifted.run, tmp_path / "run"))
    again = study(make_task(), run, regimes=REGIMES_ASKED, **ASKED)
    assert again.trials == before.trials
    assert again.record.elsewhere == ""
    assert not (run / "there.npz").exists()


def score(task, regime="tuned", variant="chain"):
    fields = task.targets(task.chain_of(variant))
    job = Job(task, variant, {f: task.supply.held(f) for f in fields}, 0)
    trained = REGIME_FUNCTIONS[regime](job)
    weights = {k: v.clone() for k, v in trained.net.state_dict().items()}
    result = score_shift(job, trained, regime)
    assert all(torch.equal(weights[k], v) for k, v in trained.net.state_dict().items())
    return result


def test_where_elsewhere_is_here_nothing_is_lost():
    for regime in REGIMES:
        task = make_task().with_elsewhere(make_supply())
        found = score(task, regime, "direct" if regime == "direct" else "chain")
        assert found.score.error < 0.2
        assert found.retrained is None or found.retrained.mean() < 0.2


def test_without_labels_elsewhere_it_says_so():
    found = score(make_task().with_elsewhere(supply_there(without=("colour",))))
    assert found.score.note == "no training label of 'colour' elsewhere"
    assert (found.score.retrained, found.retrained, found.score.stage) == (None, None, "")
    there = supply_there()
    there.present["colour"][torch.from_numpy(there.rows("validation"))] = False
    assert score(make_task().with_elsewhere(there)).score.note == "no validation label of 'colour' elsewhere"


def test_without_gradient_it_says_so():
    stages = (look, Designed("both", hard, ("colour", "tone"), "both"), judge, tell_name)
    found = score(make_task(stages).with_elsewhere(supply_there()), "endtoend")
    assert "no gradient goes from 'answer' to look" in found.score.note
    assert found.retrained is None
    assert score(make_task(stages).with_elsewhere(supply_there()), "independent").retrained is not None


def test_an_estimator_first_is_not_trained_again():
    stages = (Estimator("look", LogisticRegression, "x", colour), both, judge, tell_name)
    found = score(make_task(stages).with_elsewhere(supply_there()), "independent")
    assert "estimator 'look' comes first" in found.score.note


def test_where_only_the_answer_has_labels_the_first_stage_learns_from_it():
    stages = (Learned("look", look.work, "x", "colour"), both, Learned("judge", judge.work, "both", "shape"), tell_name)
    found = score(make_task(stages).with_elsewhere(supply_there()), "independent")
    assert (found.score.stage, found.score.n_labels) == ("look", 96)
    assert found.score.retrained < found.score.error - 0.3


def test_no_metric_is_set_elsewhere():
    """One that is set on validation items is set on those here, once."""
    seen = []

    def calibrate(written, labels):
        seen.append(len(labels))
        return answer.metric

    scored = type(answer)(answer.field, answer.loss, answer.metric, answer.gold, "", calibrate)
    there = supply_there()
    there.present["answer"][torch.from_numpy(there.rows("validation")[:7])] = False
    score(make_task(answer=scored).with_elsewhere(there))
    assert seen == [40]


def test_what_cannot_be_scored_elsewhere_is_told():
    with pytest.raises(TaskError, match=r"elsewhere, field 'x' is missing\n.*answer"):
        make_task().with_elsewhere(supply_there(without=("x",)))
    with pytest.raises(TaskError, match="elsewhere, field 'answer' is missing"):
        make_task(elsewhere=supply_there(without=("answer",)))
    other = supply_there()
    other.fields["x"] = other.fields["x"][:, :3]
    with pytest.raises(TaskError, match=r"'x' has another form\n.*float32 \[3\].*\n.*float32 \[4\]"):
        make_task().with_elsewhere(other)
    other = supply_there()
    other.fields["answer"] += 3
    with pytest.raises(ChainError, match="labels of 'answer' are no category"):
        make_task().with_elsewhere(other)
    other = supply_there()
    other.present["answer"][:] = False
    with pytest.raises(TaskError, match="no test example has a label of 'answer'"):
        make_task().with_elsewhere(other)
    other = supply_there()
    other.present["x"][3] = False
    with pytest.raises(TaskError, match="'x' is an input, which some examples lack"):
        make_task().with_elsewhere(other)


FILE = """
import sys
sys.path.insert(0, {here!r})
from test_shift import make_task
from tiny import make_supply

task = make_task()


def with_world(turn: float = 0):
    supply = make_supply()
    supply.fields["x"] = supply.fields["x"][:, [(int(turn) + k) % 3 for k in range(3)] + [3]]
    return task.with_supply(supply)


def with_data(folders):
    turn = float((folders[0] / "turn.txt").read_text())
    return with_world(turn)
"""


@pytest.fixture
def mine(task_file):
    return task_file(FILE)


def test_elsewhere_is_a_supply_a_folder_of_one_a_folder_of_data_or_settings(mine, tmp_path):
    wanted = supply_there().digest
    task = load_task(mine)
    assert supply_elsewhere(task, supply_there()).digest == wanted
    assert supply_elsewhere(task, "turn=1").digest == wanted
    assert supply_elsewhere(load_task(mine, world={"turn": 2}), "turn=1").digest == wanted
    supply_there().save(tmp_path / "saved")
    assert supply_elsewhere(task, tmp_path / "saved").digest == wanted
    assert supply_elsewhere(make_task(), str(tmp_path / "saved")).digest == wanted
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "turn.txt").write_text("1")
    assert supply_elsewhere(task, tmp_path / "data").digest == wanted


def test_settings_of_elsewhere_are_in_place_of_those_here(mine):
    task = load_task(mine, world={"turn": 2, "noise.colour": 0.3})
    there = supply_elsewhere(task, "turn=1")
    assert there.noise == {"colour": 0.3}
    assert torch.equal(there.fields["x"], supply_there().fields["x"])


def test_elsewhere_that_is_not_there_is_told(mine, tmp_path):
    task = load_task(mine)
    with pytest.raises(TaskError, match=r"nowhere: no such folder"):
        supply_elsewhere(task, tmp_path / "nowhere")
    with pytest.raises(TaskError, match=r"no setting 'spin'\n.*turn"):
        supply_elsewhere(task, "spin=1")
    with pytest.raises(TaskError, match="'turn' is 'far'"):
        supply_elsewhere(task, "turn=far")
    with pytest.raises(TaskError, match="comes from memory"):
        supply_elsewhere(make_task(), "turn=1")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "supply.json").write_text(json.dumps({"fields": ["x"], "prices": {}}))
    with pytest.raises(SupplyError, match="broken: its supply cannot be read"):
        supply_elsewhere(task, tmp_path / "broken")
    with pytest.raises(TaskError, match="has no `with_data`"):
        supply_elsewhere(load_task("digits"), tmp_path)


def test_a_study_of_a_file_is_scored_in_another_of_its_worlds(mine, tmp_path):
    asked = ASKED | {"budgets": [96], "regimes": ["tuned"], "halvings": False}
    result = study(mine, tmp_path / "run", shift="turn=1", **asked)
    (trial,) = result.trials
    assert result.record.elsewhere == "turn=1"
    assert trial.shift.retrained < trial.shift.error - 0.3


def test_a_task_brings_its_own_elsewhere(shifted, tmp_path):
    run = Path(shutil.copytree(shifted.run, tmp_path / "run"))
    result = study(make_task(elsewhere=supply_there()), run, regimes=REGIMES_ASKED, **ASKED)
    assert result.record.elsewhere == "the task's own"
    assert result.trials == shifted.trials


def test_the_data_from_elsewhere_decide_a_trials_name_at_the_largest_budget():
    other = Supply({"all": draw_world(60, 9)})
    plans = [
        make_plan(task, budgets=[24, 96], n_seeds=2).specs
        for task in (make_task(), make_task(elsewhere=supply_there()), make_task().with_elsewhere(other))
    ]
    for specs in zip(*plans, strict=True):
        budget = specs[0].budget
        top = budget == {"answer": 96, "colour": 64, "shape": 64}
        assert [s.shifted for s in specs] == [False, top, top]
        assert len({s.id for s in specs}) == (3 if top else 1)


def test_a_task_is_sent_without_its_elsewhere_and_takes_another_for_it():
    task = make_task(elsewhere=supply_there())
    sent = task.without_supply()
    assert (sent.supply, sent.elsewhere) == (None, None)
    back = sent.with_supply(make_supply()).with_elsewhere(supply_there())
    assert (back.digest, back.elsewhere_digest) == (task.digest, task.elsewhere_digest)
    assert task.with_elsewhere(make_supply()).elsewhere_digest == task.digest
    assert make_task().with_elsewhere(supply_there()).elsewhere_digest == task.elsewhere_digest
    assert (task.there().digest, task.there().elsewhere) == (task.elsewhere_digest, None)
