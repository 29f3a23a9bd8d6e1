import subprocess
import sys
from pathlib import Path

import cloudpickle
import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from tiny import answer, both, colour, direct, draw_world, judge, look, make_supply, make_task, tell_name
from torch import nn

from seamwise import Chain, Designed, Estimator, Learned, Supply, categories, load_task
from seamwise.errors import ChainError, SupplyError, TaskError

GOOD = (Path(__file__).parent / "tiny.py").read_text() + "\ntask = make_task()\n"


def write(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\ny = = 2\n", ("mine.py, line 2", "SyntaxError")),
        ("x = 1\n\nraise ValueError('boom')\n", ("mine.py, line 3", "ValueError: boom")),
        ("def f():\n    return 1 / 0\n\nf()\n", ("mine.py, line 2", "ZeroDivisionError")),
        ("import no_such_module\n", ("mine.py, line 1", "no_such_module")),
        ("x = 1\n", ("sets no `task`", "given     nothing")),
        ("task = 3\n", ("sets no `task`", "task = int")),
        ("import seamwise\nseamwise.Supply({})\n", ("mine.py", "no tables")),
        ("from beside import x\n", ("beside.py, line 2", "SyntaxError")),
    ],
)
def test_a_task_file_that_fails_is_named_with_its_line(tmp_path, text, told, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "beside.py").write_text("\nx = (\n")
    with pytest.raises((TaskError, SupplyError)) as error:
        load_task(str(write(tmp_path, text)))
    for words in told:
        assert words in str(error.value)


def test_a_name_or_file_that_is_not_there_is_told():
    with pytest.raises(TaskError, match=r"no task 'figits'\n.*digits"):
        load_task("figits")
    with pytest.raises(TaskError, match="no such file"):
        load_task("figits.py")


def test_a_task_of_a_file_can_be_sent_to_a_process_that_cannot_import_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    task = load_task(str(write(tmp_path, GOOD)))
    task.supply.save(tmp_path / "supply")
    (tmp_path / "sent").write_bytes(cloudpickle.dumps(task.without_supply()))
    script = (
        "import cloudpickle, pathlib, sys; from seamwise.supply import Supply\n"
        "task = cloudpickle.loads(pathlib.Path('sent').read_bytes()).with_supply(Supply.open(pathlib.Path('supply')))\n"
        "print(task.digest, *task.signature.values())"
    )
    out = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert out.stdout.split() == [task.digest, *task.signature.values()]


def test_the_signature_of_a_file_task_is_the_same_when_it_is_loaded_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    path = str(write(tmp_path, GOOD))
    assert load_task(path).signature == load_task(path).signature


def test_a_signature_sees_how_the_answer_is_scored():
    other = categories("answer", 3)
    harder = type(other)(other.field, other.loss, lambda w, y: 2 * other.metric(w, y), other.gold)
    assert make_task(answer=harder).signature["chain"] != make_task().signature["chain"]


def test_a_field_that_nobody_writes_is_told_with_its_reader():
    with pytest.raises(TaskError, match=r"tiny.*chain.*stage 'look' reads 'picture'"):
        make_task([Learned("look", look.work, "picture", colour), both, judge, tell_name])


def test_inputs_must_be_there_for_every_example():
    supply = Supply({"all": draw_world(50, 0) | {"tone": np.ma.array([0] * 50, mask=[1] + [0] * 49)}})
    with pytest.raises(TaskError, match=r"input 'tone', which 1 examples lack"):
        make_task(supply=supply)


def test_shapes_that_do_not_fit_are_told_with_variant_and_stage():
    wrong = Designed("both", lambda colour, tone: colour, ("colour", "tone"), "both")
    with pytest.raises(ChainError, match=r"task 'tiny', wrong: stage 'judge' raised RuntimeError: .*\n.*both \[2, 3\]"):
        make_task(
            chain={"right": Chain([look, both, judge, tell_name]), "wrong": Chain([look, wrong, judge, tell_name])}
        )


def test_labels_out_of_range_are_told_wherever_they_are():
    table = draw_world(50, 0)
    table["colour"][37] = -1
    with pytest.raises(ChainError, match=r"1 labels of 'colour' are no category\n.*-1"):
        make_task(supply=Supply({"all": table}))


def test_categories_need_whole_numbers():
    table = draw_world(50, 0)
    with pytest.raises(TaskError, match=r"'colour' are no whole numbers(.*\n)+.*astype\(int\)"):
        make_task(supply=Supply({"all": table | {"colour": table["colour"].astype(float)}}))


@pytest.fixture
def untyped(monkeypatch):
    """As users run it: the tests' own check of types is off."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"chain": [look, both, judge, tell_name]}, ("'chain' cannot be used", "list", "seamwise.Chain")),
        ({"chain": {"one": [look]}}, ("'chain'", "list")),
        ({"chain": {1: Chain([look, both, judge, tell_name])}}, ("'variant'", "int")),
        ({"answer": "answer"}, ("'answer'", "str", "Target")),
        ({"supply": {"all": draw_world(50, 0)}}, ("'supply'", "dict", "seamwise.Supply")),
        ({"direct": direct.work}, ("'direct'", "Whole, a class", "Learned")),
        ({"direct": {"direct": tell_name}}, ("'direct'", "Designed")),
        ({"fit": {"batch": 3}}, ("'fit'", "dict", "seamwise.Fit")),
        ({"name": 3}, ("'name'", "int")),
    ],
)
def test_a_part_of_another_kind_is_told(changes, told, untyped):
    with pytest.raises(TaskError) as error:
        make_task(**changes)
    for words in told:
        assert words in str(error.value)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_answer_needs_labels_in_every_split(split):
    table = draw_world(60, 0)
    splits = np.repeat(["train", "validation", "test"], 20)
    table["answer"] = np.ma.array(table["answer"], mask=splits == split)
    with pytest.raises(SupplyError, match=f"no {split} example has a label of the answer 'answer'"):
        make_task(supply=Supply({"all": table | {"split": splits}}))


def test_the_first_direct_network_may_not_be_larger_than_twice_the_chain():
    def large():
        return nn.Sequential(nn.Linear(4, 200), nn.Linear(200, 3), nn.Softmax(-1))

    networks = {"small": direct, "large": Learned("large", large, "x", answer)}
    assert list(make_task(direct=networks).directs) == ["small", "large"]
    with pytest.raises(TaskError, match=r"'large' is too large to compare\n.*1,603 parameters\n.*at most 252"):
        make_task(direct={"large": networks["large"]})


@pytest.mark.parametrize("estimator", [LogisticRegression, lambda: KNeighborsClassifier(5)])
def test_estimators_are_tried_on_more_than_a_few_items(estimator):
    """The first items may all be of one class."""
    table = draw_world(60, 0)
    order = np.argsort(table["colour"], kind="stable")
    table = {k: v[order] for k, v in table.items()} | {"split": np.resize(["train", "train", "validation", "test"], 60)}
    make_task([Estimator("look", estimator, "x", colour), both, judge, tell_name], supply=Supply({"all": table}))


def test_another_supply_has_another_digest():
    task = make_task()
    before = task.digest
    assert task.with_supply(task.supply.only(np.arange(100))).digest != before
    assert task.without_supply().with_supply(make_supply()).digest == before


def test_the_trivial_prediction_is_the_classes_shares_or_the_users():
    labels = torch.tensor([0, 0, 1, 2])
    assert make_task().guess(labels).tolist() == [0.5, 0.25, 0.25]
    assert make_task(trivial=lambda labels: torch.eye(3)[2]).guess(labels).tolist() == [0.0, 0.0, 1.0]


def test_names_must_suit_a_file():
    with pytest.raises(TaskError, match="'a/b' cannot name a file"):
        make_task(chain={"a/b": Chain([look, both, judge, tell_name])})


def test_a_loaded_task_tells_where_it_came_from(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    write(tmp_path, GOOD)
    assert load_task("mine.py").source == str((tmp_path / "mine.py").resolve())
    assert make_task().source == ""
