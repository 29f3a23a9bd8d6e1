"""Nothing is lost: time limits, processes that die, memory, disks that refuse."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from test_store import refuse, training
from tiny import both, judge, look, make_supply, make_task, tell_name

from seamwise import Designed, pool, store, study
from seamwise.errors import StorageError, TaskError
from seamwise.plan import make_plan
from seamwise.store import Store, save_training
from seamwise.trial import TrialLog, write_json
from seamwise.worker import run_trial


def specs(task, regimes=("endtoend",)):
    return make_plan(task, budgets=[24], n_seeds=1, regimes=list(regimes), halvings=False).specs


def with_join(join):
    return make_task([look, Designed("both", join, ("colour", "tone"), "both"), judge, tell_name])


def no_space(*args, **kwargs):
    raise OSError(28, "No space left on device")


def test_a_trial_that_hangs_fails_at_the_time_limit_and_one_whose_process_dies_is_run_again(tmp_path):
    (tmp_path / "hang").touch()

    def hangs(colour, tone):
        if (tmp_path / "hang").exists() and len(colour) > 3:
            time.sleep(1000)
        if (tmp_path / "die").exists() and len(colour) > 3:
            (tmp_path / "die").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return both.work(colour, tone)

    task, done = with_join(hangs), []
    asked = (task, specs(task), tmp_path / "run", 1, lambda trial, seconds: done.append(trial))
    pool.run_all(*asked, limit_s=0.5)
    assert [t.status for t in done] == ["failed"]
    assert "longer than the time limit, 0.5 s\n  remedy    give a larger --time-limit" in done[0].message
    (tmp_path / "hang").rename(tmp_path / "die")
    pool.run_all(*asked, limit_s=500.0)
    assert [t.status for t in done] == ["failed", "done"]
    assert not (tmp_path / "die").exists()


def test_without_a_limit_a_trial_of_which_nothing_is_heard_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pool, "SILENT_S", 0.0)
    task, done = make_task(), []
    pool.run_all(task, specs(task), tmp_path, 1, lambda trial, seconds: done.append(trial))
    assert [t.status for t in done] == ["done"]
    assert f"{done[0].id}: nothing heard of it" in capsys.readouterr().err


def test_a_limit_that_no_trial_could_keep_is_refused(tmp_path):
    for limit in (0.0, -1.0, float("nan")):
        with pytest.raises(TaskError, match="a time limit of"):
            study(make_task(), tmp_path / "run", limit_s=limit)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["python", "torch"])
def test_a_trial_without_memory_says_so(tmp_path, kind):
    def greedy(colour, tone):
        if len(colour) > 3:
            bytearray(1 << 62) if kind == "python" else torch.empty(1 << 60, dtype=torch.uint8)
        return both.work(colour, tone)

    task = with_join(greedy)
    trial = run_trial(task, specs(task)[0], tmp_path)
    assert trial.status == "failed"
    assert trial.message.startswith("out of memory: ")
    assert "try fewer --jobs, or a smaller `batch`" in trial.message
    assert run_trial(make_task(), specs(make_task())[0], tmp_path).status == "done"


def test_a_process_that_dies_in_the_middle_of_a_word_has_died():
    worker = pool.Worker.__new__(pool.Worker)
    worker.line, theirs = pool.Pipe()
    os.write(theirs.fileno(), (100).to_bytes(4, "big") + b"half")
    theirs.close()
    assert worker.hear() is None
    worker.line.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker sees it at its next step")
def test_a_worker_ends_when_its_study_is_killed_whatever_it_is_at():
    worker = "import os, time; from seamwise.worker import _die_with; _die_with(os.getppid()); print(os.getpid())"
    study = f"import subprocess, sys; subprocess.run([sys.executable, '-uc', {worker + '; time.sleep(1000)'!r}])"
    with subprocess.Popen([sys.executable, "-c", study], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.02)


def left_in(folder):
    return [p for p in folder.rglob("*") if p.name.startswith(".") or (p.is_file() and p.suffix != ".lock")]


WRITERS = {
    "a record": ("os.fsync", lambda folder: write_json(folder / "run.json", {})),
    "a trial": ("os.fsync", lambda folder: TrialLog(folder / "run.jsonl").append([])),
    "a supply": ("numpy.save", lambda folder: make_supply().save(folder)),
    "weights": ("safetensors.torch.save_file", lambda folder: Store(folder).share("abc", training)),
    "an estimator": ("skops.io.dump", lambda folder: Store(folder).share("abc", training)),
    "a training": ("os.fsync", lambda folder: Store(folder).share("abc", training)),
    "its place": ("pathlib.Path.rename", lambda folder: Store(folder).share("abc", training)),
    "its lock": ("filelock.FileLock.acquire", lambda folder: Store(folder).share("abc", training)),
    "a folder": ("pathlib.Path.mkdir", lambda folder: Store(folder / "stages")),
    "a study's lock": ("filelock.FileLock.acquire", lambda folder: study(make_task(), folder, quiet=True)),
    "a log that is mended": ("os.truncate", lambda folder: TrialLog(folder / "old" / "trials.jsonl").mend()),
    "what was left": ("pathlib.Path.unlink", lambda folder: study(make_task(), folder, quiet=True)),
}


@pytest.mark.parametrize("what", WRITERS)
def test_what_a_full_disk_refuses_is_named_and_not_left_half_written(tmp_path, monkeypatch, what):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "trials.jsonl").write_text('{"id": "cut sho')
    folder = tmp_path / "new"
    folder.mkdir()
    refused, write = WRITERS[what]
    with monkeypatch.context() as full:
        full.setattr(refused, no_space)
        with pytest.raises(StorageError, match=r"cannot be written\n.*No space left") as told:
            write(tmp_path if "mended" in what else folder)
    assert str(tmp_path) in str(told.value)
    if what not in ("a supply", "what was left"):  # those are made, and removed, as a folder
        assert [p for p in left_in(folder) if p.stat().st_size] == []


def test_a_training_that_is_damaged_is_made_again(tmp_path):
    made = Store(tmp_path).share("abc", training)
    for name in ("training.json", "weights.safetensors", "b.skops"):
        (tmp_path / "abc" / name).write_bytes(b"")
        again = Store(tmp_path).share("abc", training)
        assert again.error == made.error
        assert all(torch.equal(v, made.weights[k]) for k, v in again.weights.items())
    Store(tmp_path).share("abc", refuse)


def test_of_two_processes_that_made_the_same_training_the_first_ones_is_kept(tmp_path):
    save_training(training(), tmp_path / "abc")
    before = (tmp_path / "abc" / "training.json").stat().st_ino
    save_training(training(), tmp_path / "abc")
    assert (tmp_path / "abc" / "training.json").stat().st_ino == before
    assert [p.name for p in tmp_path.iterdir()] == ["abc"]


def test_no_lock_asks_the_clock(tmp_path, monkeypatch):
    """A training that another process is at stays busy, however the clock is set."""
    with FileLock(tmp_path / "abc.lock"):
        for jump_s in (-4e8, 4e8):
            monkeypatch.setattr(time, "time", lambda jump_s=jump_s: 1.7e9 + jump_s)
            with pytest.raises(store.BusyError):
                Store(tmp_path).share("abc", refuse)
    assert Store(tmp_path).share("abc", training).error == 0.25


def test_the_folder_is_kept_until_the_report_is_written(tmp_path, monkeypatch):
    """Another study that began while it was written would remove what is half written."""
    told = []

    def other(*given):
        try:
            study(make_task(), tmp_path, quiet=True)
        except Exception as error:
            told.append(str(error))

    def report(self, task, advice):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    monkeypatch.setattr("seamwise.runs.Study.report", report)
    left = [tmp_path / ".report.html.123", tmp_path / "stages" / ".abc.123", tmp_path / "supply"]
    left[1].mkdir(parents=True)
    left[2].mkdir()
    left[0].touch()
    asked = {"budgets": [24], "seeds": 1, "regimes": ["direct"], "halvings": False, "jobs": 1, "quiet": True}
    assert [t.status for t in study(make_task(), tmp_path, **asked).trials] == ["done"]
    assert len(told) == 1
    assert "another study is at work" in told[0]
    assert not any(path.exists() for path in left)
