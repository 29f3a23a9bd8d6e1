"""The report's section on what end to end rediscovered: read once, kept, and left out where it cannot be told."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny

from seamwise.errors import StorageError
from seamwise.look.probing.score import ProbeScore
from seamwise.plan import make_plan
from seamwise.report import figures, page, probed, rediscovered
from seamwise.report.parts import Figure, Table, Words
from seamwise.report.rediscovered import FILE, read_rediscovered, rediscovered_parts
from seamwise.runs import open_run
from seamwise.studies import _open_run
from seamwise.trial import TrialLog
from seamwise.worker import run_trial

REGIMES = ["independent", "endtoend", "direct"]


@pytest.fixture(scope="module")
def task():
    return tiny.make_task()


@pytest.fixture(scope="module")
def run(task, tmp_path_factory):
    """A study of one budget and one seed, trained in this process."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    plan = make_plan(task, budgets=[96], n_seeds=1, regimes=REGIMES, halvings=False)
    run.mkdir()
    _open_run(run, task, plan, "", None)
    TrialLog(run / "trials.jsonl").append([run_trial(task, spec, run) for spec in plan.specs])
    return run


@pytest.fixture(scope="module")
def found(run, task):
    return read_rediscovered(open_run(run), task)


@pytest.fixture
def copied(run, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(run, place)
    (place / FILE).unlink(missing_ok=True)
    return place


def parts_of(run, found):
    study = open_run(run)
    return list(rediscovered_parts(study, figures.styles(study.rows), found))


def test_every_network_is_read_and_its_stages_errors_stand_beside(run, found):
    assert [n.name for n in found.networks] == REGIMES
    assert not found.note
    assert set(found.networks[0].own) == {"colour", "shape"}
    assert not found.networks[2].own
    staged, untrained = (found.networks[0].best("colour", trained=t) for t in (True, False))
    assert staged.error < 0.2 < untrained.trivial
    assert staged.n == tiny.N_TEST
    assert {r.layer for r in found.networks[0].trained} >= {"input", "look.layer", "look: colour", "judge: shape"}


def test_what_was_read_is_kept_and_needs_no_task(run, found):
    assert read_rediscovered(open_run(run), None) == found
    assert json.loads((run / FILE).read_text())["networks"][0]["name"] == "independent"


def test_other_trainings_are_read_anew(copied, found, monkeypatch):
    path = copied / FILE
    path.write_text(json.dumps({"format": 1, "key": "of other trials", "networks": [], "note": "old"}))
    assert read_rediscovered(open_run(copied), None).networks == ()
    path.write_text("{")
    assert read_rediscovered(open_run(copied), None).networks == ()


def test_the_networks_are_those_that_were_trained(run, task, found):
    study = open_run(run)
    trial = next(t for t in study.trials if t.regime == "endtoend")
    net = rediscovered._net(study, task, trial)
    from seamwise.evaluate import evaluate

    assert evaluate(task, net).error == pytest.approx(trial.error)


def test_sentences_best_layers_and_a_figure(run, found):
    words, table, figure = parts_of(run, found)
    assert isinstance(words, Words)
    assert isinstance(table, Table)
    assert isinstance(figure, Figure)
    assert len(words.sentences) == 4
    assert words.sentences[0].startswith("endtoend ")
    assert {line.group.split(" ")[0] for line in table.lines} == {"colour", "shape"}
    assert [p.title for p in figure.panels] == ["colour", "shape"]
    spec = figures.plain(figure.panels[0].chart)
    assert "<svg" in figures.svg(figures.still(spec, figures.styles(open_run(run).rows), 600))


def test_the_page_has_the_section(run, task, found):
    text = page(open_run(run), task)
    assert '<h2 id="rediscovered">Did end to end rediscover the stages?</h2>' in text
    assert "endtoend" in text
    assert "look: colour" in text


def test_verdicts_say_how_much_was_found():
    def network(name, own, error, before):
        def reading(e):
            return ProbeScore("place", "a.b", e, e - 0.05, e + 0.05, e, 0.8, 0.9, 100, "share wrong")

        return probed.Network(name, (reading(error),), (reading(before),), own)

    staged = network("independent", {"place": 0.1}, 0.1, 0.7)
    for error, said in ((0.3, "found place"), (0.6, "found in part place"), (0.68, "did not find place")):
        told = probed.verdicts([staged, network("endtoend", {"place": 0.9}, error, 0.7)], ["place"])
        (sentence,) = told
        assert f"endtoend {said}: read from a.b" in sentence
        assert "before training 0.700 and in independent 0.100" in sentence


def test_left_out_without_stages_task_or_networks_to_compare(copied, task):
    study = open_run(copied)
    assert read_rediscovered(study, None) == rediscovered.Rediscovered()
    shutil.rmtree(copied / "stages")
    assert read_rediscovered(study, task) == rediscovered.Rediscovered(note=rediscovered.GONE)
    assert not (copied / FILE).exists()
    assert parts_of(copied, rediscovered.Rediscovered()) == []


def test_says_why_where_task_or_data_have_changed(copied, task):
    study = open_run(copied)
    other = task.with_supply(task.supply.only(np.arange(len(task.supply) - 2)))
    note = read_rediscovered(study, other).note
    assert note == "Not looked into: the task's data have changed since the study."
    (copied / FILE).unlink()
    changed = tiny.make_task(direct=None, stages=[tiny.look, tiny.both, tiny.judge, replace(tiny.tell_name, name="n")])
    assert "the stages of chain have changed" in read_rediscovered(study, changed).note
    (words,) = parts_of(copied, rediscovered.Rediscovered(note=note))
    assert words.soft


def test_bounded_in_time(copied, task, monkeypatch):
    monkeypatch.setattr(rediscovered, "MOST_SECONDS", 1e-9)
    assert "would take more than" in read_rediscovered(open_run(copied), task).note
    (copied / FILE).unlink()
    monkeypatch.setattr(rediscovered, "FEWEST_ITEMS", 0)
    monkeypatch.setattr(rediscovered, "_affordable", lambda task, nets: 20)
    found = read_rediscovered(open_run(copied), task)
    assert len(found.networks) == 1
    assert "endtoend, direct" in found.note


def test_weights_that_cannot_be_read_cost_the_section_alone(copied, task):
    for weights in (copied / "stages").glob("*/weights.safetensors"):
        weights.write_bytes(b"no weights")
    assert "Not looked into" in read_rediscovered(open_run(copied), task).note


def test_one_network_that_cannot_be_read_costs_itself_alone(copied, task, monkeypatch):
    study = open_run(copied)
    (direct,) = next(t for t in study.trials if t.regime == "direct").trainings
    (copied / "stages" / direct / "weights.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(rediscovered, "_affordable", lambda task, nets: 20)
    monkeypatch.setattr(rediscovered, "FEWEST_ITEMS", 0)
    found = read_rediscovered(study, task)
    assert [network.name for network in found.networks] == ["independent", "endtoend"]
    assert found.note.startswith("Not looked into direct: ")
    assert not (copied / FILE).exists()  # to be read again, once it is mended


def test_nothing_costs_the_report(copied, task, monkeypatch):
    def fails(*_):
        raise RuntimeError("mat1 and mat2\nno fit")

    with monkeypatch.context() as patch:
        patch.setattr(rediscovered, "_affordable", fails)
        assert read_rediscovered(open_run(copied), task).note == "Not looked into: RuntimeError: mat1 and mat2."

    def full(*_):
        raise StorageError("disk full")

    monkeypatch.setattr(rediscovered, "write_json", full)
    monkeypatch.setattr(rediscovered, "_affordable", lambda task, nets: 0)
    assert "would take more than" in read_rediscovered(open_run(copied), task).note
