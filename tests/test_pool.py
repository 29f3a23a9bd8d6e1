import threading

import pytest
from tiny import both, judge, look, make_task, tell_name

from seamwise import Designed, pool
from seamwise.errors import TaskError, TrainingError
from seamwise.plan import make_plan


def specs(task):
    return make_plan(task, budgets=[24], n_seeds=2, regimes=["endtoend"], halvings=False).specs


def test_a_process_that_dies_when_it_has_nothing_to_do_costs_nothing(tmp_path, monkeypatch):
    workers, done = [], []
    real = pool.Worker

    def remember(message):
        workers.append(real(message))
        return workers[-1]

    def finished(trial, seconds):
        done.append(trial)
        if len(done) == 1:
            idle = next(w for w in workers if w.ready and w.spec is None)
            idle.process.kill()
            idle.process.wait()

    monkeypatch.setattr(pool, "Worker", remember)
    task = make_task()
    pool.run_all(task, specs(task), tmp_path, 1, finished)
    assert [t.status for t in done] == ["done", "done"]
    assert all(w.process.returncode is not None for w in workers)


def test_processes_that_cannot_start_end_the_study_with_a_message(tmp_path, monkeypatch):
    monkeypatch.setattr(pool.sys, "executable", "/bin/false")
    task = make_task()
    with pytest.raises(TrainingError, match=r"a worker process ended by itself \(exit code 1\)"):
        pool.run_all(task, specs(task), tmp_path, 2, lambda trial, seconds: None)


def test_one_process_that_dies_before_it_is_ready_is_replaced(tmp_path, monkeypatch):
    done, started = [], []
    real, python = pool.Worker, pool.sys.executable

    def first_fails(message):
        monkeypatch.setattr(pool.sys, "executable", python if started else "/bin/false")
        started.append(real(message))
        return started[-1]

    monkeypatch.setattr(pool, "Worker", first_fails)
    task = make_task()
    pool.run_all(task, specs(task)[:1], tmp_path, 1, lambda trial, seconds: done.append(trial))
    assert [t.status for t in done] == ["done"]
    assert len(started) == 2


def test_a_task_that_cannot_be_sent_is_told(tmp_path):
    lock = threading.Lock()

    def guarded(colour, tone):
        with lock:
            return both.work(colour, tone)

    task = make_task([look, Designed("both", guarded, ("colour", "tone"), "both"), judge, tell_name])
    with pytest.raises(TaskError, match=r"cannot be sent to the worker processes\n.*lock.*\n.*make clients"):
        pool.run_all(task, specs(task), tmp_path, 1, lambda trial, seconds: None)


def test_what_stages_print_is_kept_out_of_standard_output(tmp_path, capfd):
    def chatty(colour, tone):
        print("chatty")
        return both.work(colour, tone)

    task = make_task([look, Designed("both", chatty, ("colour", "tone"), "both"), judge, tell_name])
    capfd.readouterr()
    pool.run_all(task, specs(task)[:1], tmp_path, 1, lambda trial, seconds: None)
    told = capfd.readouterr()
    assert told.out == ""
    assert "chatty" in told.err
