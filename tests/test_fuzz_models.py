"""Model folders, and what is typed, with faults put into them: answered or refused, in process and as commands."""

import contextlib
import io
import json
import sys
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from fuzzing import ALIKE, FOLDER, Reader, file_of, never_breaks
from hypothesis import given, settings
from sklearn.linear_model import LogisticRegression
from test_fuzz_runs import of_run, put_run
from test_fuzz_supply import words
from test_fuzz_text import RAW, TREEBANK
from test_fuzz_track import OTB, put_otb
from test_text_commands import Cutter
from test_track_commands import Mover
from tiny import both, colour, judge, make_task, tell_name

from seamwise import Estimator
from seamwise.cli import main
from seamwise.errors import InputError
from seamwise.model import load_model, train
from seamwise.systems.text import commands as text_commands
from seamwise.systems.track import commands as track_commands
from seamwise.task import read_item

INPUTS = {"x": np.zeros((2, 4), np.float32), "tone": np.array([0, 1])}
HERE = str(Path(__file__).parent)
TASK = f"import sys\nsys.path.insert(0, {HERE!r})\nfrom tiny import make_task\ntask = make_task()\n"


@cache
def task():
    return make_task([Estimator("look", LogisticRegression, "x", colour), both, judge, tell_name])


@cache
def model():
    return train(task(), "independent")


@cache
def network():
    return train(make_task(), "joint")


def asked(folder):
    return load_model(folder, task()).predict(INPUTS)


def answers_are_whole(written):
    assert written["answer"].shape == (2, 3)


def of_model(file, kinds, n_examples=25):
    return Reader(
        f"a model, {file}", file, lambda: [file_of(model().save, file)], asked, answers_are_whole,
        lambda folder: model().save(folder), kinds, named=FOLDER, n_examples=n_examples,
    )  # fmt: skip


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def put_network(folder):
    network().save(folder / "model")
    (folder / "mine.py").write_text(TASK)


def typed(*given_words):
    """What a command prints; an InputError where it ends with exit code 2, an AssertionError where with another."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["seamwise", *map(str, given_words)]
    with (
        mock.patch.multiple(sys, argv=argv, path=sys.path[:]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert "Traceback" not in err.getvalue()
    assert end.value.code in (None, 0, 2), err.getvalue()
    if end.value.code == 2:
        raise InputError(err.getvalue())
    return out.getvalue()


def predicted(folder):
    return typed("predict", folder / "mine.py", folder / "item.npz", "--model", folder / "model", "--json")


def evaluated(folder):
    return typed("eval", folder / "mine.py", "--model", folder / "model", "--json")


def parsed(folder):
    with mock.patch.object(text_commands, "_parser", return_value=Cutter()):
        return typed("predict", "text", "--model", "m", folder / "raw.txt", "--json")


def parser_scored(folder):
    with mock.patch.object(text_commands, "_parser", return_value=Cutter()):
        return typed("eval", "text", "--model", "m", "--data", folder / "a.conllu", "--json")


def tracker_scored(folder):
    with mock.patch.object(track_commands, "_tracker", return_value=Mover()):
        return typed("eval", "track", "--data", folder, "--json")


def followed(folder, *more):
    with mock.patch.object(track_commands, "_tracker", return_value=Mover()):
        return typed("predict", "track", folder / "img", "--json", *more)


def is_json(text):
    for line in text.split("\n")[:-1]:
        json.loads(line)


READERS = (
    of_model("model.json", ("json",)),
    of_model("weights.safetensors", ("safetensors",)),
    of_model("look.skops", ()),
    Reader(
        "an item", "item.npz", lambda: [npz(x=INPUTS["x"][0], tone=np.array(1))],
        lambda f: read_item(network().task, f / "item.npz"), lambda item: [np.asarray(v).shape for v in item.values()],
        lambda folder: network(), ("npz",),
    ),
    Reader(
        "predict FILE", "item.npz", lambda: [npz(x=INPUTS["x"][0], tone=np.array(1))], predicted, is_json, put_network,
        ("npz",), n_examples=25,
    ),
    Reader(
        "eval --model", "model/model.json", lambda: [file_of(network().save, "model.json")], evaluated, is_json,
        put_network, ("json",), named=FOLDER, n_examples=15,
    ),
    Reader("predict text", "raw.txt", lambda: [RAW], parsed, is_json, n_examples=30),
    Reader("eval text", "a.conllu", lambda: [TREEBANK], parser_scored, is_json, n_examples=20),
    Reader(
        "eval track", "groundtruth_rect.txt", lambda: [OTB], tracker_scored, is_json, put_otb, named=FOLDER,
        n_examples=20,
    ),
    Reader(
        "advise RUN", "run/run.json", lambda: [of_run("run/run.json")],
        lambda f: typed("advise", f / "run", "--json", "--at", "200"), is_json, put_run, ("json",), named=FOLDER,
        n_examples=15,
    ),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_models_and_commands_answer_or_refuse(reader, tmp_path):
    never_breaks(reader, tmp_path / FOLDER)


def test_any_words_for_an_option_are_taken_or_refused(tmp_path):
    put_run(tmp_path)
    put_otb(tmp_path)
    (tmp_path / "mine.py").write_text(TASK)

    @settings(ALIKE, max_examples=20)
    @given(words())
    def with_words(text):
        for call in (
            lambda: typed("advise", tmp_path / "run", "--at", f"={text}"),
            lambda: typed("advise", tmp_path / "run", f"--prices={text}x=,"),
            lambda: followed(tmp_path, f"--box={text}"),
            lambda: followed(tmp_path, "--box=3,3,9,9", f"--start={text}"),
            lambda: typed("study", tmp_path / "mine.py", "--world", f"{text}=,clutter="),
            lambda: typed(
                "train", tmp_path / "mine.py", f"--out={tmp_path / 'm'}", f"--labels={text}", "--regime=none"
            ),
        ):
            with contextlib.suppress(InputError):
                call()

    with_words()
