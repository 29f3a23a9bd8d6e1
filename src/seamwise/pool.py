"""A pool of persistent worker processes, one thread each, that run trials and may die without loss."""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, final

import cloudpickle

from seamwise.errors import StorageError, TaskError, TrainingError
from seamwise.task import Task
from seamwise.trial import Trial
from seamwise.worker import Spec

RETRY_S = 0.5  # for a training that another process is at

Finished = Callable[[Trial, float], None]
"""(a trial, the seconds it took) -> None"""
At = Callable[[Spec, float], None]
"""(the trial at work, the share of its steps done) -> None"""


@final
class Worker:
    """One process and the line to it."""

    def __init__(self, message: tuple[Any, ...]) -> None:
        self.line, theirs = Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "seamwise.worker", str(theirs.fileno())],
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=2,  # what stages print must not mix with the results
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.ready = False
        self.spec: Spec | None = None
        self._send(message)

    def give(self, spec: Spec) -> bool:
        """Whether the process was there to take it."""
        self.spec = spec if self._send(spec) else None
        return self.spec is not None

    def _send(self, message: object) -> bool:
        try:
            self.line.send(message)
        except ConnectionError:  # it died; reading from it will tell
            return False
        return True

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.line.close()


def run_all(
    task: Task, specs: Iterable[Spec], run: Path, n_jobs: int, finished: Finished, at: At | None = None
) -> None:
    """Run trials in n_jobs processes; `finished` is called in this process, one trial at a time.

    A trial whose process dies is finished as failed, and its process replaced. Raises StorageError where a
    worker's disk refuses, TrainingError where two processes end before they are ready, TaskError where the task
    cannot be sent to them; what is finished stays finished.
    """
    todo, busy_elsewhere = deque(specs), deque[Spec]()
    here, there = (run / "supply").resolve(), (run / "supply" / "elsewhere").resolve()
    task.supply.save(here)
    if task.elsewhere is not None:
        task.elsewhere.save(there)
    paths = [p for p in sys.path if p]  # so that a worker finds the user's modules too
    elsewhere = "" if task.elsewhere is None else str(there)
    message = (_packed(task), str(here), elsewhere, str(run.resolve()), paths)
    workers = [Worker(message) for _ in range(min(n_jobs, len(todo)))]
    asked, n_stillborn = time.monotonic(), 0
    try:
        while todo or busy_elsewhere or any(w.spec for w in workers):
            for worker in workers:
                if worker.ready and worker.spec is None and todo and worker.give(todo[0]):
                    todo.popleft()
            lines = wait([w.line for w in workers], timeout=RETRY_S)
            for worker in [w for w in workers if w.line in lines]:
                try:
                    _heed(worker, worker.line.recv(), busy_elsewhere, finished, at)
                except (EOFError, ConnectionError):
                    n_stillborn += not worker.ready
                    _bury(task, worker, finished, n_stillborn)
                    worker.end()
                    workers[workers.index(worker)] = Worker(message)
            if time.monotonic() - asked > RETRY_S:
                asked = time.monotonic()
                todo.extendleft(busy_elsewhere)
                busy_elsewhere.clear()
    finally:
        for worker in workers:
            worker.end()


def _packed(task: Task) -> bytes:
    try:
        return bytes(cloudpickle.dumps(task.without_supply()))
    except Exception as error:
        raise TaskError(
            f"task {task.name!r}: the task cannot be sent to the worker processes",
            given=f"{type(error).__name__}: {error}",
            remedy="make clients and connections inside the function that uses them",
        ) from error


def _heed(worker: Worker, news: tuple[Any, ...], busy: deque[Spec], finished: Finished, at: At | None) -> None:
    if news[0] == "ready":
        worker.ready = True
        return
    if news[0] == "at":
        if at is not None and worker.spec is not None:
            at(worker.spec, news[1] / news[2])
        return
    spec, worker.spec = worker.spec, None
    if news[0] == "busy" and spec is not None:
        busy.append(spec)
    elif news[0] == "done":
        finished(Trial.model_validate_json(news[1]), news[2])
    elif news[0] == "stop":
        raise StorageError(news[1])


def _bury(task: Task, worker: Worker, finished: Finished, n_stillborn: int) -> None:
    """Finish the trial of a process that died as failed. One that died idle had none to lose.

    n_stillborn: how many died before they were ready; the first is forgiven.
    """
    spec, code = worker.spec, worker.process.wait()
    if not worker.ready and n_stillborn > 1:
        raise TrainingError(
            f"a worker process ended by itself (exit code {code})",
            remedy="see its message above; what a task's stages use must be importable, or in the task's file",
        )
    if spec is None:
        return
    message = f"the process died (exit code {code}); with -9 it was killed, mostly for want of memory: try fewer --jobs"
    trial = Trial(
        id=spec.id, task=task.name, variant=spec.variant, regime=spec.regime, budget=dict(spec.budget), seed=spec.seed,
        status="failed", message=message,
    )  # fmt: skip
    finished(trial, 0.0)
