"""Worlds with settings, noisy labels, and maps of both."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import draw_world, make_supply, make_task

from seamwise import Supply, load_task
from seamwise.errors import SupplyError, TaskError
from seamwise.maps import read_map
from seamwise.origin import origin_of, read_settings
from seamwise.runs import open_run
from seamwise.studies import study_map

HERE = Path(__file__).parent
ASKED = {"budgets": [24, 96], "seeds": 1, "regimes": ["joint", "direct"], "halvings": False, "jobs": 1, "quiet": True}

FILE = """
import sys
sys.path.insert(0, {here!r})
from tiny import make_supply, make_task

task = make_task()


def with_world(blur: float = 0.4, turn: float = 0):
    supply = make_supply()
    if blur < 0:
        raise ValueError("a blur below 0")
    if turn:
        return "turned"
    supply.fields["x"] = supply.fields["x"] + (blur - 0.4)
    return task.with_supply(supply)


def with_data(folders):
    supply = make_supply()
    supply.fields["x"] = supply.fields["x"] + sum(float((f / "x.txt").read_text()) for f in folders)
    return task.with_supply(supply)
"""


@pytest.fixture
def mine(task_file):
    return task_file(FILE)


def wrong(supply, clean, field, split):
    rows = clean.rows(split, field)
    return (supply.fields[field][rows] != clean.fields[field][rows]).numpy()


def large_supply():
    return Supply({"all": draw_world(4000, 3) | {"size": np.random.default_rng(0).normal(50, 4, 4000)}})


def test_as_many_categories_are_wrong_as_was_asked_and_the_tests_are_right():
    clean = large_supply()
    for amount in (0.0, 0.1, 0.5, 1.0):
        noisy = clean.with_noise("colour", amount)
        for split in ("train", "validation"):
            share = wrong(noisy, clean, "colour", split).mean()
            assert share == pytest.approx(amount, abs=0.04)
        assert not wrong(noisy, clean, "colour", "test").any()
        assert noisy.noise == {"colour": amount}
        assert set(noisy.fields["colour"].tolist()) == {0, 1, 2}
    assert torch.equal(clean.fields["colour"], large_supply().fields["colour"])
    assert clean.noise == {}
    rows = clean.rows("train")
    for value in (0, 1, 2):  # each other value is as probable
        was = rows[clean.fields["colour"][rows].numpy() == value]
        became = np.bincount(clean.with_noise("colour", 1.0).fields["colour"][was].numpy(), minlength=3) / len(was)
        assert np.delete(became, value) == pytest.approx([0.5, 0.5], abs=0.06)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_a_label_that_is_wrong_at_one_amount_is_wrong_at_a_larger_one(one, two, seed):
    clean, (less, more) = make_supply(), sorted((one, two))
    fewer, others = (clean.with_noise("colour", amount, seed) for amount in (less, more))
    for split in ("train", "validation"):
        at = wrong(fewer, clean, "colour", split)
        rows = clean.rows(split, "colour")
        assert torch.equal(fewer.fields["colour"][rows[at]], others.fields["colour"][rows[at]])
        assert not (at & ~wrong(others, clean, "colour", split)).any()


def test_numbers_are_off_by_a_share_of_their_spread_in_their_unit():
    clean = large_supply()
    rows = clean.rows("train")
    half, one = (clean.with_noise("size", amount) for amount in (0.5, 1.0))
    off = (one.fields["size"] - clean.fields["size"])[rows].numpy()
    assert off.std() == pytest.approx(4, rel=0.08)
    assert one.noise["size"] == pytest.approx(off.std(), rel=0.08)
    assert (half.fields["size"] - clean.fields["size"])[rows].numpy() == pytest.approx(off / 2, abs=1e-4)
    assert one.fields["size"].dtype == torch.float32
    assert torch.equal(one.fields["size"][clean.rows("test")], clean.fields["size"][clean.rows("test")])


def test_noise_upon_noise_and_fields_apart():
    clean = large_supply()
    twice = clean.with_noise("colour", 0.2, seed=0).with_noise("colour", 0.3, seed=1)
    assert twice.noise["colour"] == pytest.approx(wrong(twice, clean, "colour", "train").mean(), abs=0.03)
    both = clean.with_noise("size", 0.3).with_noise("size", 0.4, seed=1)
    assert both.noise["size"] == pytest.approx(0.5 * clean.fields["size"].std().item(), rel=0.05)
    here, there = (wrong(clean.with_noise(f, 0.5), clean, f, "train") for f in ("colour", "shape"))
    assert 0.4 < (here == there).mean() < 0.6


def test_labels_that_are_missing_stay_so_and_others_are_as_they_were():
    clean = make_supply()
    noisy = clean.with_noise("colour", 0.5)
    assert torch.equal(noisy.present["colour"], clean.present["colour"])
    assert all(torch.equal(noisy.fields[f], clean.fields[f]) for f in ("x", "tone", "shape", "answer"))
    assert noisy.digest != clean.digest
    assert noisy.prices == clean.prices
    assert clean.with_noise("colour", 0.0).digest == clean.digest


def test_what_is_known_of_the_noise_is_said_saved_opened_and_kept(tmp_path):
    tables = {"all": draw_world(50, 0) | {"size": np.linspace(0, 1, 50)}}
    supply = Supply(tables, noise={"colour": 0.1, "size": 2})
    assert supply.noise == {"colour": 0.1, "size": 2.0}
    supply.save(tmp_path / "supply")
    assert Supply.open(tmp_path / "supply").noise == supply.noise
    assert supply.only(np.arange(30)).noise == supply.noise
    assert Supply(tables).noise == {}


@pytest.mark.parametrize(
    ("noise", "told"),
    [
        ({"hue": 0.1}, "noise of 'hue', which no table has"),
        ({"colour": 1.5}, r"the noise of 'colour' is 1.5\n.*a share from 0 to 1"),
        ({"colour": -0.1}, "the noise of 'colour' is -0.1"),
        ({"x": -1}, r"the noise of 'x' is -1\n.*0 or more"),
        ({"x": float("nan")}, "the noise of 'x' is nan"),
        ({"x": "much"}, "the noise of 'x' is 'much'"),
        ([0.1], "the noise is a list"),
    ],
)
def test_noise_that_cannot_be_is_told(noise, told, monkeypatch):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(SupplyError, match=told):
        Supply({"all": draw_world(50, 0)}, noise=noise)


def test_labels_that_cannot_be_made_wrong_are_told():
    supply = Supply({"all": draw_world(50, 0) | {"same": np.zeros(50, int)}})
    with pytest.raises(SupplyError, match="'same' cannot be made wrong"):
        supply.with_noise("same", 0.1)
    with pytest.raises(SupplyError, match="no table has labels of 'hue'"):
        supply.with_noise("hue", 0.1)
    with pytest.raises(SupplyError, match="the noise to add to 'colour' is 2"):
        supply.with_noise("colour", 2.0)


def test_a_source_is_read_as_it_is_written(tmp_path):
    folder = tmp_path / "people"
    for text in (
        "digits", "digits?clutter=8", "digits?clutter=8.5,noise.digit=0.2", f"gate{os.pathsep}{folder}",
        f"gate{os.pathsep}{folder}{os.pathsep}{folder}?noise.person=0.1",
    ):  # fmt: skip
        assert str(origin_of(text)) == text
    assert origin_of("digits?clutter=8,noise.digit=.2").world == {"clutter": 8, "noise.digit": 0.2}
    odd = tmp_path / "a:b?c=d" / "mine.py"
    odd.parent.mkdir()
    odd.write_text("")
    assert origin_of(f"{odd}?blur=1").name == origin_of(str(odd)).name == str(odd)
    assert read_settings("a=1, b = .5") == {"a": 1.0, "b": 0.5}
    assert read_settings("") == {}


@given(st.dictionaries(st.sampled_from(["a", "noise.b", "c"]), st.floats(allow_nan=False, allow_infinity=False)))
def test_settings_of_any_size_come_back_as_they_were(world):
    origin = origin_of("digits").changed(world=world)
    assert dict(origin_of(str(origin)).world) == world


def test_a_file_has_a_world_and_data_too(mine, tmp_path):
    blurred = load_task(mine, world={"blur": 1})
    assert blurred.source == f"{mine}?blur=1"
    assert blurred.name == "tiny"
    assert blurred.digest == load_task(blurred.source).digest != load_task(mine).digest
    assert load_task(blurred.source, world={"blur": 0.4}).digest == load_task(mine).digest
    for name, x in (("one", "1"), ("two", "2.5")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(x)
    read = load_task(mine, [tmp_path / "one", tmp_path / "two"], {"noise.colour": 0.5})
    assert read.source == os.pathsep.join([mine, str(tmp_path / "one"), str(tmp_path / "two")]) + "?noise.colour=0.5"
    assert load_task(read.source).digest == read.digest
    assert torch.equal(read.supply.fields["x"], make_supply().fields["x"] + 3.5)
    assert read.supply.noise == {"colour": 0.5}


def test_every_task_can_have_noisy_labels(mine, tmp_path, monkeypatch):
    plain = tmp_path / "plain.py"
    plain.write_text((HERE / "tiny.py").read_text() + "\ntask = make_task()\n")
    task = load_task(str(plain), world={"noise.colour": 0.2})
    assert task.digest == make_task(supply=make_supply().with_noise("colour", 0.2)).digest
    both = load_task(f"{mine}?blur=1,noise.colour=.2")
    assert both.supply.noise == {"colour": 0.2}
    assert both.digest not in (task.digest, load_task(f"{mine}?blur=1").digest)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("spin=1", r"has no setting 'spin'\n.*blur, turn, or noise.FIELD"),
        ("blur=far", "'blur' is 'far'"),
        ("blur=nan", "the setting 'blur' is nan"),
        ("blur=1,turn", "'turn' has no value"),
        ("blur=-1", r"mine.py, line \d+: ValueError: a blur below 0"),
        ("turn=1", r"sets no `task`\n.*task = str"),
        ("noise.hue=.1", r"no labels of 'hue' to make wrong\n.*noise.colour, noise.shape, noise.answer"),
        ("noise.x=.1", "no labels of 'x' to make wrong"),
    ],
)
def test_settings_that_are_none_are_told(mine, settings, told):
    with pytest.raises(TaskError, match=told):
        load_task(f"{mine}?{settings}")


def test_what_has_no_world_and_no_data_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    plain = tmp_path / "plain.py"
    plain.write_text((HERE / "tiny.py").read_text() + "\ntask = make_task()\n")
    with pytest.raises(TaskError, match=r"has no `with_world`\n.*blur\n.*noise.FIELD alone"):
        load_task(str(plain), world={"blur": 1})
    with pytest.raises(TaskError, match=r"reads no real data: it has no `with_data`"):
        load_task(str(plain), [tmp_path])
    with pytest.raises(TaskError, match="both real data and settings"):
        load_task(str(plain), [tmp_path], {"blur": 1})


def test_digits_have_a_world_of_any_difficulty():
    usual, harder = load_task("digits"), load_task("digits", world={"clutter": 12, "noise": 0.1})
    assert harder.source == "digits?clutter=12,noise=0.1"
    assert harder.name == usual.name
    assert load_task("digits?clutter=6").digest == usual.digest
    assert not torch.equal(harder.supply.fields["image"], usual.supply.fields["image"])
    noisy = load_task("digits", world={"noise.digit": 0.2})  # of the labels, not of the pixels
    assert torch.equal(noisy.supply.fields["image"], usual.supply.fields["image"])
    assert noisy.supply.noise == {"digit": 0.2}
    with pytest.raises(TaskError, match=r"a clutter of 2\.5 fragments"):
        load_task("digits?clutter=2.5")


def test_the_gate_has_a_world_of_any_difficulty(monkeypatch):
    from seamwise.systems.gate import task as gate
    from seamwise.systems.gate.world import Difficulty

    asked = []
    monkeypatch.setattr(gate, "world_supply", asked.append)
    monkeypatch.setattr(gate, "gate", lambda supply, n_enrolled: make_task())
    assert load_task("gate", world={"clutter": 5, "alike": 0.5}).source == "gate?clutter=5,alike=0.5"
    load_task("gate?clutter=3")
    assert asked == [Difficulty(clutter=5, alike=0.5), None]
    for told in ("clutter=0.5", "alike=2", "pose=-1"):
        with pytest.raises(TaskError, match=told.partition("=")[0]):
            load_task(f"gate?{told}")


def test_a_map_is_a_study_a_value_and_is_read_again(mine, tmp_path, capsys):
    result = study_map(mine, "noise.colour", [0.4, 0], tmp_path / "run", **ASKED | {"quiet": False})
    told = capsys.readouterr().err
    assert "map: noise.colour=0.4, 1 of 2" in told
    assert "map: noise.colour=0, 2 of 2" in told
    assert result.run == tmp_path / "run"
    assert len(result.trials) == 4
    rows = read_map(result.run)
    assert [(row.setting, row.value, row.run.name) for row in rows] == [
        ("noise.colour", 0.0, "noise.colour=0"), ("noise.colour", 0.4, "noise.colour=0.4"),
    ]  # fmt: skip
    for row in rows:
        one = open_run(row.run)
        assert one.record.source == f"{mine}?noise.colour={row.value:g}"
        assert one.record.noise == {"colour": row.value}
        assert list(row.cells) == [24, 96]
        for n, cell in row.cells.items():
            assert (cell.best, cell.probability) == one.best(n)
            assert cell.errors == {way: cells[n] for way, cells in one.table().items()}
            assert cell.best not in cell.close
            assert set(cell.close) <= set(cell.errors)
    assert result.record.noise == {}
    before = [(row.run / "trials.jsonl").read_bytes() for row in rows]
    again = study_map(load_task(mine), "noise.colour", [0, 0.4], tmp_path / "run", **ASKED)
    assert again.trials == result.trials
    assert [(row.run / "trials.jsonl").read_bytes() for row in rows] == before
    _check_half_finished(tmp_path / "run")


def _check_half_finished(run):
    for name in ("blur=1", "blur=2"):
        (run / "map" / name).mkdir()
    shutil.copy(run / "map" / "noise.colour=0" / "run.json", run / "map" / "blur=2")
    shutil.copy(run / "map" / "noise.colour=0" / "test.npz", run / "map" / "blur=2")
    log = run / "map" / "noise.colour=0.4" / "trials.jsonl"
    log.write_bytes(log.read_bytes().splitlines(keepends=True)[0] + b'{"id": "cut sho')
    rows = read_map(run)
    assert [(row.setting, row.value) for row in rows] == [("blur", 2.0), ("noise.colour", 0.0), ("noise.colour", 0.4)]
    assert [len(row.cells) for row in rows] == [0, 2, 1]
    (cell,) = rows[2].cells.values()
    assert list(cell.errors) == [cell.best]
    assert (cell.probability, cell.close) == (1.0, ())


def test_a_run_without_a_map_has_none(tmp_path):
    assert read_map(tmp_path) == []


def test_a_map_that_cannot_be_drawn_is_told_before_anything_is_trained(mine, tmp_path):
    for setting, values, told in (
        ("spin", [1], "has no setting 'spin'"),
        ("blur", [1, -1], "a blur below 0"),
        ("blur", [], "a map over 0 values"),
        ("blur", [1, 1.0], "a map over 2 values"),
        ("blur", [float("nan")], "is nan"),
    ):
        with pytest.raises(TaskError, match=told):
            study_map(mine, setting, values, tmp_path / "run", **ASKED)
    with pytest.raises(TaskError, match="comes from memory"):
        study_map(make_task(), "noise.colour", [0.1], tmp_path / "run", **ASKED)
    assert not (tmp_path / "run").exists()
