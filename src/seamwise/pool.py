"""A pool of persistent worker processes, one thread each, that run trials and may die without loss."""

import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, final

import cloudpickle

from seamwise.errors import StorageError, TaskError, TrainingError
from seamwise.task import Task
from seamwise.trial import Trial
from seamwise.worker import Spec, failed_trial, late_trial

RETRY_S = 0.5  # for a training that another process is at
DEATHS = 2  # of its process, after which a trial is finished as failed
GRACE_S = 5.0  # for a process that has closed its line to end by itself
SILENT_S = 600.0  # without a sign of a trial, after which that is told

Finished = Callable[[Trial, float], None]
"""(a trial, the seconds it took) -> None"""
At = Callable[[Spec, float], None]
"""(the trial at work, the share of its steps done) -> None"""
More = Callable[[], Sequence[Spec]]
"""() -> the trials to run next; none: the end. Asked when nothing is left to do and nothing is at work."""


@final
class Worker:
    """One process and the line to it."""

    def __init__(self, message: tuple[Any, ...]) -> None:
        self.line, theirs = Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "seamwise.worker", str(theirs.fileno()), str(os.getpid())],
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=2,  # what stages print must not mix with the results
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.ready = False
        self.spec: Spec | None = None
        self._taken_s = self._heard_s = 0.0  # when it took the trial, and told of it last: no clock that may be set
        self._send(message)

    def give(self, spec: Spec) -> bool:
        """Whether the process was there to take it."""
        self._taken_s = self._heard_s = time.monotonic()
        self.spec = spec if self._send(spec) else None
        return self.spec is not None

    def hear(self) -> tuple[Any, ...] | None:
        """What it tells; None where it died, be it in the middle of a word."""
        self._heard_s = time.monotonic()
        try:
            news: tuple[Any, ...] = self.line.recv()
        except (EOFError, OSError):
            return None
        return news

    def is_late(self, limit_s: float) -> bool:
        """Whether it has been at its trial for longer than that."""
        return self.spec is not None and time.monotonic() - self._taken_s > limit_s

    def is_silent(self) -> bool:
        """Whether nothing was heard of its trial for long; once for every such time."""
        now = time.monotonic()
        silent = self.spec is not None and now - self._heard_s > SILENT_S
        self._heard_s = now if silent else self._heard_s
        return silent

    def _send(self, message: object) -> bool:
        try:
            self.line.send(message)
        except ConnectionError:  # it died; reading from it will tell
            return False
        return True

    def end(self, grace_s: float = 0.0) -> int:
        """Its exit code; it is killed where it does not end by itself in that time."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_s)
        self.process.kill()
        self.line.close()
        return self.process.wait()


def run_all(
    task: Task,
    specs: Iterable[Spec],
    run: Path,
    n_jobs: int,
    finished: Finished,
    at: At | None = None,
    *,
    more: More | None = None,
    limit_s: float | None = None,
) -> None:
    """Run trials in n_jobs processes; `finished` is called in this process, one trial at a time.

    limit_s: a trial that its process has been at for longer is finished as failed. None: it may take as long as it
    takes, and one of which nothing is heard for ten minutes is told on standard error.

    A trial whose process dies is run again after all others, when there may be more memory; where its process dies
    again it is finished as failed, as one that is late. Processes are replaced. Raises StorageError where a worker's
    disk refuses, TrainingError where two processes end before they are ready, TaskError where the task cannot be sent
    to them; what is finished stays finished.
    """
    todo, busy_elsewhere = deque(specs), deque[Spec]()
    here, there = (run / "supply").resolve(), (run / "supply" / "elsewhere").resolve()
    task.supply.save(here)
    if task.elsewhere is not None:
        task.elsewhere.save(there)
    paths = [p for p in sys.path if p]  # so that a worker finds the user's modules too
    elsewhere = "" if task.elsewhere is None else str(there)
    message = (packed(task), str(here), elsewhere, str(run.resolve()), paths)
    workers, died = list[Worker](), Counter[str]()
    asked, n_stillborn = time.monotonic(), 0
    try:
        while todo or busy_elsewhere or any(w.spec for w in workers) or _asked(todo, more):
            workers += [Worker(message) for _ in range(min(n_jobs, len(todo)) - len(workers))]
            for worker in workers:
                if worker.ready and worker.spec is None and todo and worker.give(todo[0]):
                    todo.popleft()
            lines = wait([w.line for w in workers], timeout=RETRY_S)
            for worker in list(workers):
                news = worker.hear() if worker.line in lines else ()
                if news:
                    n_stillborn = 0 if news[0] == "ready" else n_stillborn
                    _heed(worker, news, busy_elsewhere, finished, at)
                if news is None:
                    n_stillborn += not worker.ready
                    todo.extend(_bury(task, worker, finished, n_stillborn, died))
                    workers[workers.index(worker)] = Worker(message)
                elif limit_s is not None and worker.is_late(limit_s):
                    _stop(task, worker, finished, limit_s)
                    workers[workers.index(worker)] = Worker(message)
                elif limit_s is None and worker.is_silent():
                    _hint(worker)
            if time.monotonic() - asked > RETRY_S:
                asked = time.monotonic()
                todo.extendleft(busy_elsewhere)
                busy_elsewhere.clear()
    finally:
        for worker in workers:
            worker.end()


def _asked(todo: deque[Spec], more: More | None) -> bool:
    """Whether there is more to do, now that all is done."""
    todo.extend(more() if more is not None else ())
    return bool(todo)


def packed(task: Task) -> bytes:
    """The task to send to another process, without its supply. Raises TaskError where it cannot be sent."""
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


def _hint(worker: Worker) -> None:
    assert worker.spec is not None
    told = f"{worker.spec.id}: nothing heard of it for {SILENT_S / 60:g} minutes. Should it hang: stop with Ctrl-C"
    print(f"{told}, and run the same command with --time-limit SECONDS; what is finished is kept", file=sys.stderr)


def _stop(task: Task, worker: Worker, finished: Finished, limit_s: float) -> None:
    """Finish the trial of a process that is late as failed."""
    assert worker.spec is not None
    worker.end()
    finished(late_trial(task, worker.spec, limit_s), limit_s)


def _bury(task: Task, worker: Worker, finished: Finished, n_stillborn: int, died: Counter[str]) -> list[Spec]:
    """The trial that a process died at, to be run again; or finish it as failed. One that died idle had none to lose.

    n_stillborn: how many in a row died before they were ready; the first is forgiven. died: how often, by trial.
    """
    spec, code = worker.spec, worker.end(GRACE_S)
    if not worker.ready and n_stillborn > 1:
        raise TrainingError(
            f"a worker process ended by itself (exit code {code})",
            remedy="see its message above; what a task's stages use must be importable, or in the task's file",
        )
    if spec is None:
        return []
    died[spec.id] += 1
    if died[spec.id] < DEATHS:
        return [spec]
    message = f"its process died twice (exit code {code}); with -9 it was killed, mostly for want of memory: "
    finished(failed_trial(task, spec, message + "try fewer --jobs"), 0.0)
    return []
