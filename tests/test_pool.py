import pytest
from tiny import make_task

from seamwise import pool
from seamwise.errors import TrainingError
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
