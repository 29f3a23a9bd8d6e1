import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from tiny import both, hard, judge, look, make_supply, make_task, tell_name

from seamwise import Chain, Designed, study
from seamwise.errors import RunError, StorageError
from seamwise.runs import curves, open_run
from seamwise.trial import TrialLog

HERE = Path(__file__).parent
ASKED = {"budgets": [24, 96], "seeds": 2, "regimes": ["independent", "tuned", "direct"], "quiet": True}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return study(make_task(), tmp_path_factory.mktemp("run"), jobs=2, **ASKED)


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished.run, tmp_path / "run"))


def script(run, before="", **changes):
    """The study in a process of its own."""
    asked = ASKED | changes
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        f"from seamwise import study; from tiny import make_task\n{before}\n"
        f"study(make_task(), {str(run)!r}, **{asked!r})"
    )
    return [sys.executable, "-c", code]


def made(run):
    return {p.name: p.stat().st_mtime_ns for p in (run / "stages").iterdir() if p.is_dir()}


def test_every_trial_of_the_plan_is_done(finished):
    assert not finished.failed
    # three rows at two budgets, and two fields halved for the two regimes that use them; two seeds each
    assert len(finished.trials) == (3 * 2 + 2 * 2) * 2
    for trial in finished.trials:
        items = finished.items(trial)
        assert trial.error == pytest.approx(items["error"].mean())
        assert items["item"].tolist() == make_supply().rows("test").tolist()
        assert items["item.x"].shape == (12, 4)
    assert sorted(p.name for p in finished.run.iterdir()) == [
        "advice.json", "predictions", "rediscovered.json", "report.html", "run.json", "stages", "study.lock",
        "test.npz", "trials.jsonl",
    ]  # fmt: skip


def test_a_stage_trained_on_the_same_labels_is_trained_once(finished):
    used = [h for t in finished.trials for h in t.trainings]
    assert set(made(finished.run)) == set(used)
    # a seed: look and judge on all labels, on half the colours both again, on half the shapes judge;
    # tuned at two budgets and two halvings, direct at two budgets
    assert len(set(used)) == 2 * (5 + 4 + 2)
    assert len(used) > len(set(used))


def test_one_process_gives_the_same_scores_as_two(finished, tmp_path):
    alone = study(make_task(), tmp_path / "run", jobs=1, **ASKED | {"budgets": [24], "seeds": 1, "halvings": False})
    scores = {t.id: (t.error, t.train_error, t.trainings) for t in finished.trials}
    assert {t.id: (t.error, t.train_error, t.trainings) for t in alone.trials}.items() <= scores.items()


def test_a_finished_study_is_read_not_run(finished, copied):
    before, lines = made(copied), (copied / "trials.jsonl").read_bytes()
    again = study(make_task(), copied, jobs=2, **ASKED)
    assert made(copied) == before
    assert (copied / "trials.jsonl").read_bytes() == lines
    assert again.trials == finished.trials


def test_the_table_and_curves_hold_the_mean_over_seeds_and_items(finished):
    for row, cells in finished.table().items():
        assert list(cells) == [24, 96]
        for n, cell in cells.items():
            trials = finished.at(row, n)
            assert [t.budget["colour"] for t in trials] == [64, 64]  # halvings are apart
            assert cell.mean == pytest.approx(np.mean([t.error for t in trials]))
            assert cell.low <= cell.mean <= cell.high
    assert [c["n"] for c in curves(finished)] == [24, 96] * 3


def test_the_best_row_has_the_least_error_and_chances_add_up(finished):
    row, chance = finished.best()
    errors = {r: cells[96].mean for r, cells in finished.table().items()}
    assert errors[row] == min(errors.values())
    assert 0 < chance <= 1
    with pytest.raises(RunError, match="no finished trial at 7 labels"):
        finished.best(7)


def test_killed_a_study_goes_on_where_it_stopped(finished, tmp_path):
    run = tmp_path / "run"
    log = TrialLog(run / "trials.jsonl")
    process = subprocess.Popen(script(run, jobs=2, seeds=1))
    while not (run / "trials.jsonl").exists() or len(log.read()) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (run / "trials.jsonl").open("ab") as file:
        file.write(b'{"id": "cut sho')
    done, trained = log.read(), made(run)
    resumed = study(make_task(), run, jobs=2, **ASKED | {"seeds": 1})
    assert {t.id: t.error for t in resumed.trials} == {t.id: t.error for t in finished.trials if t.seed == 0}
    for trial in done:
        assert trial in resumed.trials  # to the second it took: it was not run again
    assert trained.items() <= made(run).items()
    assert set(made(run)) == {h for t in finished.trials if t.seed == 0 for h in t.trainings}
    assert not [p for p in (run / "stages").iterdir() if p.name.startswith(".")]  # half written when it was killed


def in_worker():
    return getattr(sys.modules["__main__"].__spec__, "name", "") == "seamwise.worker"


def raises(colour, tone):
    if in_worker() and len(colour) > 3:
        raise ValueError("boom")
    return hard(colour, tone)


def dies(colour, tone):
    if in_worker():
        os.kill(os.getpid(), signal.SIGKILL)
    return hard(colour, tone)


def test_a_stage_that_raises_or_kills_its_process_fails_its_trials_alone(tmp_path):
    stages = {
        "raising": [look, Designed("both", raises, ("colour", "tone"), "both"), judge, tell_name],
        "dying": [look, Designed("both", dies, ("colour", "tone"), "both"), judge, tell_name],
        "good": [look, both, judge, tell_name],
    }
    task = make_task(chain={v: Chain(s) for v, s in stages.items()})
    asked = ASKED | {"budgets": [24], "seeds": 1, "regimes": ["endtoend"], "variants": list(stages)}
    result = study(task, tmp_path / "run", jobs=1, **asked)
    by_variant = {t.variant: t for t in result.trials}
    assert {v: t.status for v, t in by_variant.items()} == {"raising": "failed", "dying": "failed", "good": "done"}
    for words in ("stage 'both'", "ValueError: boom", "colour [40, 3]"):
        assert words in by_variant["raising"].message
    assert "its process died twice (exit code -9)" in by_variant["dying"].message
    assert list(result.table()[("good", "endtoend")]) == [24]
    assert "failed" in str(result)


def test_two_studies_in_one_folder_are_refused(copied):
    with FileLock(copied / "study.lock"), pytest.raises(RunError, match="another study is at work"):
        study(make_task(), copied, **ASKED)


def test_a_folder_of_another_task_or_format_is_refused_and_left_alone(copied):
    trials = (copied / "trials.jsonl").read_bytes()
    with pytest.raises(RunError, match="holds a study of the task 'tiny'"):
        study(make_task(name="other"), copied, **ASKED)
    record = json.loads((copied / "run.json").read_text())
    for wrong, told in (({"format": 99}, "format 99"), ({"budgets": "many"}, "not of this version")):
        (copied / "run.json").write_text(json.dumps(record | wrong))
        with pytest.raises(RunError, match=told):
            study(make_task(), copied, **ASKED)
        with pytest.raises(RunError, match=told):
            open_run(copied)
    (copied / "run.json").unlink()
    with pytest.raises(RunError, match=r"has trials but no run.json"):
        study(make_task(), copied, **ASKED)
    assert (copied / "trials.jsonl").read_bytes() == trials


def test_what_is_no_run_folder_is_told(tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        open_run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        study(make_task(), tmp_path / "file", **ASKED)


def test_on_a_full_disk_finished_trials_are_kept_and_the_study_can_go_on(copied):
    """No file may grow beyond what trials.jsonl has now: the next line does not fit."""
    trials = (copied / "trials.jsonl").read_bytes()
    limit = len(trials) + 100
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    more = {"budgets": [24, 48], "jobs": 1, "seeds": 1, "regimes": ["direct"]}
    stopped = subprocess.run(script(copied, full, **more), capture_output=True, text=True, check=False)
    assert "StorageError" in stopped.stderr
    assert "trials.jsonl: cannot be written" in stopped.stderr
    assert "what is finished is kept" in stopped.stderr
    assert (copied / "trials.jsonl").read_bytes() == trials
    resumed = study(make_task(), copied, **ASKED | more)
    assert [t.budget["answer"] for t in resumed.trials] == [24, 48]
    assert (copied / "trials.jsonl").read_bytes().startswith(trials)


def test_a_task_in_a_file_is_studied(tmp_path, monkeypatch):
    """Its stages and what it imports from beside it reach the workers."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "beside_it.py").write_text((HERE / "tiny.py").read_text())
    own = "import beside_it\nfrom seamwise import Designed\n\n\ndef name_it(shape):\n    return shape.flip(1)\n\n\n"
    own += (
        "stages = (beside_it.look, beside_it.both, beside_it.judge, Designed('name_it', name_it, 'shape', 'answer'))\n"
    )
    (tmp_path / "mine.py").write_text(own + "task = beside_it.make_task(stages)\n")
    asked = {"budgets": [24], "seeds": 1, "regimes": ["joint"], "halvings": False, "jobs": 1, "quiet": True}
    result = study(str(tmp_path / "mine.py"), tmp_path / "run", **asked)
    assert [t.status for t in result.trials] == ["done"]
    assert result.record.source == str(tmp_path / "mine.py")
