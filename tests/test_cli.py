"""What a person types, and what comes back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from seamwise import cli
from seamwise.cli import main
from seamwise.systems.digits import world

TASK = """
import numpy as np
from torch import nn
from seamwise import Chain, Designed, Fit, Learned, Supply, Task, categories
x = np.random.default_rng(0).normal(size=(400, 3)).astype("f4")
side, answer = categories("side", 2), categories("answer", 2)
supply = Supply({"t": {"x": x, "side": (x[:, 0] > 0).astype(int), "answer": (x[:, 0] <= 0).astype(int)}})
def net(): return nn.Sequential(nn.Linear(3, 2), nn.Softmax(-1))
chain = Chain([Learned("look", net, "x", side), Designed("turn", lambda p: p.flip(-1), "side", "answer")])
task = Task(name="sides", chain=chain, answer=answer, supply=supply, direct=Learned("direct", net, "x", answer),
            fit=Fit(rates=(3e-2,), warmup=10, min_steps=150, max_steps=300, patience=50, eval_every=10))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sides.py").write_text(TASK)
    return tmp_path


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line, in this process: importing torch anew takes seconds."""
    monkeypatch.chdir(folder)

    def call(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["seamwise", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return call


def refused(done: Done) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_help_has_an_example_for_every_command(run: Run) -> None:
    for command in ("study", "advise", "train", "eval", "predict", "report"):
        assert f"Example: seamwise {command}" in run(command, "--help").stdout


def test_help_does_not_import_torch() -> None:
    code = "import sys, seamwise.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("words", "is_own"),
    [
        (("predict", "text", "--model=m"), True),
        (("eval", "text", "--model", "m"), False),  # scored on the task's own items
        (("eval", "text", "--model", "m", "--data=dev.conllu"), True),
        (("train", "text", "--out", "m"), False),  # on the generated language
        (("train", "text", "--data", "train.conllu", "--out", "m"), True),
        (("train", "text", "--help"), True),
        (("train", "track", "--data", "otb", "--out", "m"), False),
        (("predict", "digits", "--model", "m"), False),
        (("study", "text", "--data", "train.conllu"), False),
        (("predict",), False),
    ],
)
def test_which_commands_are_a_systems_own(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], is_own: bool
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(cli, "app", lambda words: ran.append("any task's"))
    own = {command: lambda *_, **__: ran.append("own") for command in ("train", "predict", "eval")}
    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(apps=own))
    cli._run(list(words))
    assert ran == ["own" if is_own else "any task's"]


def test_study_then_report_then_resume(folder: Path, run: Run) -> None:
    words = ("study", "sides.py", "--out", "run", "--budgets", "40,80", "--seeds", "2", "--json")
    told = json.loads(run(*words).stdout)
    assert told["best_now"]["regime"] in ("independent", "sequential", "tuned", "joint", "endtoend", "direct")
    assert told["failed_trials"] == []
    assert {c["n"] for c in told["curves"]} == {40, 80}
    lines = (folder / "run/trials.jsonl").read_text()
    again = json.loads(run(*words).stdout)
    assert again["curves"] == told["curves"]
    assert (folder / "run/trials.jsonl").read_text() == lines
    (folder / "run/report.html").unlink()
    assert "Best now" in run("report", "run").stdout
    assert (folder / "run/report.html").exists()


def test_advise_asks_again_without_training(folder: Path, run: Run) -> None:
    run("study", "sides.py", "--out", "run", "--budgets", "20,40,80", "--seeds", "2", "--regimes", "tuned,direct")
    assert json.loads((folder / "run/advice.json").read_text())["best_now"]["n"] == 80
    lines = (folder / "run/trials.jsonl").read_text()
    done = run("advise", "run", "--at", "60,300")
    assert "Best now, with 80 labels" in done.stdout
    assert "300 labels of answer" in done.stdout
    told = json.loads(run("advise", "run", "--at", "300", "--prices", "answer=2", "--json").stdout)
    assert 300 in told["at"]
    assert {p["price"] for p in told["buy_next"] if p["field"] == "answer"} == {2.0}
    assert (folder / "run/trials.jsonl").read_text() == lines


def test_advise_refuses_what_it_cannot_use(folder: Path, run: Run) -> None:
    run("study", "sides.py", "--out", "run", "--budgets", "20,40", "--seeds", "1", "--regimes", "tuned")
    assert "no run folder" in refused(run("advise", "nowhere"))
    assert "'box'" in refused(run("advise", "run", "--prices", "box=1"))
    assert "-1" in refused(run("advise", "run", "--prices", "answer=-1"))
    assert "--prices" in refused(run("advise", "run", "--prices", "answer"))
    assert "--at" in refused(run("advise", "run", "--at", "many"))
    assert "0 labels" in refused(run("advise", "run", "--at", "0"))
    (folder / "run/run.json").write_text("{}")
    assert "not of this version" in refused(run("advise", "run"))


def test_vary_and_together(folder: Path, run: Run) -> None:
    words = ("study", "sides.py", "--regimes", "independent", "--seeds", "1", "--json", "--budgets", "20,40")
    swept = json.loads(run(*words, "--out", "a", "--vary", "side").stdout)
    both = json.loads(run(*words, "--out", "b", "--together").stdout)
    assert [c["n"] for c in swept["curves"]] == [c["n"] for c in both["curves"]] == [20, 40]


def test_train_eval_predict(folder: Path, run: Run) -> None:
    done = run("train", "sides.py", "--labels", "60", "--labels", "side=50", "--out", "m", "--json")
    record = json.loads(done.stdout)
    assert (record["regime"], record["budget"]) == ("tuned", {"answer": 60, "side": 50})
    scores = json.loads(run("eval", "sides.py", "--model", "m", "--json").stdout)
    assert scores["error_low"] <= scores["error"] <= scores["error_high"] < scores["trivial"]
    np.savez(folder / "item.npz", x=np.array([3.0, 0, 0], dtype=np.float32))
    told = json.loads(run("predict", "sides.py", "--model", "m", "item.npz", "--json").stdout)
    assert np.argmax(told["answer"]) == 0
    assert "--out" in refused(run("train", "sides.py", "--out", "."))  # holds other files: kept


def test_stop_at(folder: Path, run: Run) -> None:
    done = run("train", "sides.py", "--regime", "endtoend", "--stop-at", "0.3", "--out", "m", "--json")
    record = json.loads(done.stdout)
    assert record["stopped"] == "reached"
    assert record["validation_error"] <= 0.3


def test_predict_names_bad_files_and_goes_on(folder: Path, run: Run) -> None:
    picture = world.draw("test", 1, 0).image[0, 0]
    cv2.imwrite(str(folder / "good.png"), (picture * 255).astype(np.uint8))
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    run("train", "digits", "--labels", "50", "--stop-at", "0.89", "--regime", "joint", "--out", "m")
    files = ("empty.png", "text.png", "missing.png", "good.png")
    done = run("predict", "digits", "--model", "m", *files, "--json", "--draw", "seen")
    assert all(name in refused(done) for name in files[:3])
    assert json.loads(done.stdout)["file"] == "good.png"
    assert cv2.imread(str(folder / "seen/good.png")) is not None


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("study", "nothing.py"), "nothing.py"),
        (("study", "chess"), "digits"),
        (("study", "sides.py", "--budgets", "40,x"), "--budgets"),
        (("study", "sides.py", "--budgets", "9999"), "9999"),
        (("study", "sides.py", "--regimes", "best"), "best"),
        (("study", "sides.py", "--vary", "colour"), "colour"),
        (("study", "sides.py", "--variants", "other"), "other"),
        (("study", "sides.py", "--jobs", "0"), "jobs"),
        (("study", "sides.py", "--seeds", "0"), "seeds"),
        (("study", "sides.py", "--regimes", ""), "regime"),
        (("train", "sides.py", "--labels", "many", "--out", "m"), "--labels"),
        (("train", "sides.py", "--labels", "colour=3", "--out", "m"), "colour"),
        (("train", "sides.py", "--regime", "lucky", "--out", "m"), "lucky"),
        (("eval", "sides.py", "--model", "nowhere"), "nowhere"),
        (("report", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_named(run: Run, words: tuple[str, ...], named: str) -> None:
    assert named in refused(run(*words))


def test_task_file_errors(folder: Path, run: Run) -> None:
    (folder / "syntax.py").write_text("x = 1\n\ny = 2 2\n")
    assert "syntax.py, line 3" in refused(run("study", "syntax.py"))
    (folder / "without.py").write_text("x = 1\n")
    assert "`task`" in refused(run("study", "without.py"))
    (folder / "raises.py").write_text("x = 1\nx / 0\n")
    assert "raises.py, line 2: ZeroDivisionError" in refused(run("study", "raises.py"))


def test_a_model_of_another_task_or_damaged(folder: Path, run: Run) -> None:
    run("train", "sides.py", "--regime", "endtoend", "--out", "m")
    assert "sides" in refused(run("eval", "digits", "--model", "m"))
    weights = folder / "m/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    assert "weights" in refused(run("eval", "sides.py", "--model", "m"))
    (folder / "m/model.json").write_text("{}")
    assert "model.json" in refused(run("eval", "sides.py", "--model", "m"))


def test_quick_with_another_field(folder: Path, run: Run) -> None:
    words = ("study", "sides.py", "--quick", "--vary", "side", "--regimes", "independent", "--json")
    assert len({c["n"] for c in json.loads(run(*words).stdout)["curves"]}) == 3


def test_prints_of_a_stage_do_not_spoil_the_json(folder: Path) -> None:
    (folder / "sides.py").write_text(TASK.replace("lambda p: p.flip(-1)", "lambda p: print('talk') or p.flip(-1)"))
    command = [str(Path(sys.executable).with_name("seamwise")), "study", "sides.py", "--regimes", "endtoend", "--json"]
    done = subprocess.run([*command, "--budgets", "40", "--seeds", "1"], cwd=folder, capture_output=True, text=True)
    assert "talk" in done.stderr
    assert json.loads(done.stdout)["failed_trials"] == []


def test_a_report_made_again_has_its_pictures(folder: Path, run: Run) -> None:
    drawing = TASK.replace("fit=Fit(", "draw=lambda item, written: np.zeros((8, 8, 3), np.uint8), fit=Fit(")
    (folder / "sides.py").write_text(drawing)
    run("study", "sides.py", "--regimes", "endtoend", "--budgets", "40", "--seeds", "1", "--out", "r")
    page = folder / "r/report.html"
    n_pictures = page.read_text().count("data:image/png")
    run("report", "r")
    assert n_pictures == page.read_text().count("data:image/png") >= 12


def test_eval_warns_where_data_or_stages_changed(folder: Path, run: Run) -> None:
    run("train", "sides.py", "--regime", "endtoend", "--out", "m")
    (folder / "sides.py").write_text(TASK.replace("(400, 3)", "(420, 3)").replace("p.flip(-1)", "p"))
    done = run("eval", "sides.py", "--model", "m", "--json")
    assert done.stderr.count("warning") == 2
    scores = json.loads(done.stdout)
    assert (scores["same_data"], scores["same_chain"]) == (False, False)


def test_predict_takes_what_numpy_writes_by_default(folder: Path, run: Run) -> None:
    (folder / "sides.py").write_text(TASK.replace("fit=Fit(", "tell=lambda w: float(w['answer'][0]), fit=Fit("))
    run("train", "sides.py", "--regime", "endtoend", "--out", "m")
    np.savez(folder / "doubles.npz", x=np.array([3.0, 0, 0]))
    np.save(folder / "bare.npy", np.zeros(3))
    (folder / "cut.npz").write_bytes((folder / "doubles.npz").read_bytes()[:50])
    np.savez(folder / "short.npz", x=np.zeros(2))
    done = run("predict", "sides.py", "--model", "m", "bare.npy", "cut.npz", "short.npz", "doubles.npz", "--json")
    assert all(name in refused(done) for name in ("bare.npy", "cut.npz", "short.npz"))
    assert json.loads(done.stdout)["answer"] > 0.5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(folder: Path, run: Run) -> None:
    folder.chmod(0o500)
    assert run("study", "sides.py", "--out", "run").returncode in (1, 2)
    folder.chmod(0o700)
