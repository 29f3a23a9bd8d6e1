"""Studies on a Ray cluster: workers on all its machines that run trials and may die without loss, machines and all."""

import hashlib
import socket
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import numpy as np

from seamwise.actors import SEEN, Actor, Desk, Kit, News
from seamwise.connection import check_way, connected, n_places, places_now
from seamwise.errors import RunError, SeamwiseError, StorageError, TrainingError
from seamwise.items import Items
from seamwise.pool import RETRY_S, At, Finished, More, packed
from seamwise.storage import Storage
from seamwise.supply import Supply
from seamwise.task import Task
from seamwise.trial import Trial, write_whole
from seamwise.worker import Spec, failed_trial, late_trial

DEATHS = 3  # of its process, after which a trial is finished as failed
CLEAN_S = 10.0  # for the machines to tidy up
HINT_S = 60.0  # without a worker, after which that is told


def run_on_ray(
    task: Task,
    specs: Iterable[Spec],
    run: Path,
    n_jobs: int | None,
    finished: Finished,
    at: At | None = None,
    *,
    more: More | None = None,
    limit_s: float | None = None,
    storage: str | None = None,
    gpus: float = 0.0,
) -> None:
    """Run trials on a Ray cluster; `finished` is called in this process, one trial at a time, each exactly once.

    n_jobs:  workers of one thread each; as many as the cluster has CPUs for (or GPU shares) by default
    storage: a folder or fsspec URL that all machines see; trainings and trials in it are not made again. Without, the
             workers of each machine share their trainings
    gpus:    of each worker, .25 say
    The rest is as in `seamwise.pool.run_all`. A trial whose worker dies is run again elsewhere; where its process
    died three times and its machine lived, it is finished as failed.

    Raises InputError where there is no Ray, no cluster or no such storage, TaskError where the task cannot be opened on
    a machine, StorageError where a disk or the storage refuses, TrainingError where two workers end before they are
    ready; what is finished stays finished.
    """
    check_way("ray", storage, gpus, task.fit)
    shared = None if storage is None else Storage(storage)
    with connected() as ray:
        n_places(gpus)
        crew = Crew(ray, task, run, n_jobs, shared, gpus)
        try:
            crew.run_all(specs, finished, at, more, limit_s)
            crew.clean()
        finally:
            crew.end()


@final
class Worker:
    """An actor as this process sees it: what it is at, since when, and where its answer will be."""

    def __init__(self, name: str, actor: Any, nodes: set[str]) -> None:
        self.name, self.actor, self.nodes = name, actor, nodes  # one of them it is on: all, until it is ready
        self.answer = actor.open.remote()
        self.is_ready = False
        self.spec: Spec | None = None
        self.since_s = 0.0

    def give(self, spec: Spec) -> None:
        self.spec, self.since_s = spec, time.monotonic()
        self.answer = self.actor.run.remote(spec)


def _desk(ray: Any, node: str) -> Any:
    """An actor that takes no CPU, on the machine that the study ends with anyway."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(node, soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return ray.remote(Desk).options(**options).remote()


@final
class Crew:
    """The workers of a study, what they are at, and what is left to do."""

    def __init__(
        self, ray: Any, task: Task, run: Path, n_jobs: int | None, storage: Storage | None, gpus: float
    ) -> None:
        self._ray, self._task, self._run, self._n_jobs = ray, task, run, n_jobs
        self._storage, self._gpus = storage, gpus
        self._todo, self._busy = deque[Spec](), deque[Spec]()
        self._workers: list[Worker] = []
        self._specs: dict[str, Spec] = {}
        self._deaths, self._n_stillborn, self._n_started = Counter[str](), 0, 0
        self._asked_s, self._served_s = 0.0, time.monotonic()
        self._study = uuid.uuid4().hex
        if storage is not None:
            storage.put(SEEN.format(self._study), task.name.encode())
        self._home = ray.get_runtime_context().get_node_id()
        self._kit = ray.put(self._packed())
        self._desk = _desk(ray, self._home)

    def _packed(self) -> Kit:
        task, run = self._task, self._run.resolve()
        supplies = {task.digest: task.supply}
        if task.elsewhere is not None:
            supplies[task.elsewhere_digest] = task.elsewhere
        return Kit(
            task=packed(task),
            supplies={digest: self._sent(supply, run / "supply" / digest) for digest, supply in supplies.items()},
            digests=(task.digest, task.elsewhere_digest) if task.elsewhere is not None else (task.digest,),
            run=str(run),
            home=self._home,
            key=hashlib.sha256(f"{socket.gethostname()}:{run}".encode()).hexdigest()[:16],
            paths=tuple(p for p in sys.path if p),
            storage="" if self._storage is None else self._storage.url,
            study=self._study,
        )

    def _sent(self, supply: Supply, folder: Path) -> dict[str, Any]:
        supply.save(folder)
        return {path.name: self._ray.put(np.fromfile(path, np.uint8)) for path in folder.iterdir()}

    def run_all(
        self, specs: Iterable[Spec], finished: Finished, at: At | None, more: More | None, limit_s: float | None
    ) -> None:
        """See run_on_ray."""
        self._plan(specs, finished)
        while self._todo or self._busy or any(w.spec for w in self._workers) or self._asked(more, finished):
            self._hand_out()
            for worker in self._answering():
                self._heed(worker, finished)
            for worker in list(self._workers):
                if worker.spec and limit_s is not None and time.monotonic() - worker.since_s > limit_s:
                    finished(late_trial(self._task, worker.spec, limit_s), limit_s)
                    self._drop(worker)
            if time.monotonic() - self._asked_s > RETRY_S:
                self._asked_s = time.monotonic()
                self._todo.extendleft(self._busy)
                self._busy.clear()
                self._tell(at)
                self._hint()

    def _answering(self) -> list[Worker]:
        """Those that answered, waiting for the first."""
        waited = {w.answer: w for w in self._workers if w.spec or not w.is_ready}
        if not waited:
            time.sleep(RETRY_S)
        answers = self._ray.wait(list(waited), timeout=RETRY_S)[0] if waited else []
        return [waited[answer] for answer in answers]

    def _asked(self, more: More | None, finished: Finished) -> bool:
        """Whether there is more to do, now that all is done."""
        while specs := more() if more is not None else ():
            self._plan(specs, finished)
            if self._todo:
                return True
        return False

    def _plan(self, specs: Iterable[Spec], finished: Finished) -> None:
        """Take what is to do; what the storage has is finished."""
        there = set() if self._storage is None else self._storage.names("trials")
        for spec in specs:
            self._specs[spec.id] = spec
            if f"{spec.id}.json" not in there or not self._fetched(spec, finished):
                self._todo.append(spec)

    def _fetched(self, spec: Spec, finished: Finished) -> bool:
        """Whether the storage had the trial; what is damaged there is run again, and put there anew."""
        assert self._storage is not None
        told = self._storage.get(f"trials/{spec.id}.json")
        items = self._storage.get(f"predictions/{spec.id}.npz")
        if told is None or items is None:
            return False
        place = self._run / "predictions" / f"{spec.id}.npz"
        write_whole(place, items)
        try:
            trial = Trial.model_validate_json(told)
            Items(place)["error"]
        except (ValueError, KeyError, RunError):
            return False
        finished(trial, trial.seconds)
        return True

    def _hand_out(self) -> None:
        """Have as many workers as the cluster has places for now, and give those that are idle something to do."""
        open_ = len(self._todo) + sum(w.spec is not None for w in self._workers)
        places = places_now(self._ray, self._gpus)
        while len(self._workers) < min(open_, places, self._n_jobs or places):
            self._n_started += 1
            name = f"worker {self._n_started}"
            actor = self._ray.remote(Actor).options(num_cpus=1, num_gpus=self._gpus, max_restarts=0)
            self._workers.append(Worker(name, actor.remote(self._kit, self._desk, name), self._nodes()))
        for worker in self._workers:
            if worker.is_ready and worker.spec is None and self._todo:
                worker.give(self._todo.popleft())

    def _heed(self, worker: Worker, finished: Finished) -> None:
        errors = self._ray.exceptions
        try:
            news = self._ray.get(worker.answer)
        except errors.RayTaskError as error:
            self._refuse(worker, error.cause if isinstance(error.cause, Exception) else error, finished)
        except errors.RayError as error:
            self._bury(worker, error, finished)
        else:
            if worker.spec is None:
                worker.is_ready, worker.nodes, self._n_stillborn = True, {news}, 0
            else:
                spec, worker.spec = worker.spec, None
                self._take(spec, news, finished)

    def _take(self, spec: Spec, news: News, finished: Finished) -> None:
        if news[0] == "busy":
            self._busy.append(spec)
        elif news[0] == "stop":
            raise StorageError(news[1])
        else:
            _, told, seconds, items = news
            trial, path = Trial.model_validate_json(told), self._run / "predictions" / f"{spec.id}.npz"
            if items is not None:
                write_whole(path, items)
            if self._storage is not None and trial.status == "done":  # the trial last: where it is, all of it is
                self._storage.put(f"predictions/{spec.id}.npz", path.read_bytes())
                self._storage.put(f"trials/{spec.id}.json", told.encode())
            finished(trial, seconds)

    def _refuse(self, worker: Worker, error: Exception, finished: Finished) -> None:
        """What a worker raised: before it was ready, the study cannot be run there."""
        if worker.spec is not None:
            finished(failed_trial(self._task, worker.spec, f"{type(error).__name__}: {error}"), 0.0)
            self._drop(worker)
        elif isinstance(error, SeamwiseError):
            raise error
        else:
            raise TrainingError("a worker could not be started", given=f"{type(error).__name__}: {error}") from error

    def _bury(self, worker: Worker, error: Exception, finished: Finished) -> None:
        """A worker died: its trial is run again, unless its process died three times while its machine lived."""
        spec, is_lost = worker.spec, not worker.nodes <= self._nodes()
        self._drop(worker)
        if not worker.is_ready:
            self._n_stillborn += not is_lost
            if self._n_stillborn > 1:
                raise TrainingError(
                    "two workers ended before they were ready",
                    given=str(error),
                    remedy="install the same seamwise, and what the task uses, on every machine of the cluster",
                )
        if spec is None:
            return
        self._deaths[spec.id] += not is_lost
        if self._deaths[spec.id] < DEATHS:
            self._todo.appendleft(spec)
            return
        message = f"its process died {DEATHS} times, mostly for want of memory: try fewer --jobs\n  given     {error}"
        finished(failed_trial(self._task, spec, message), 0.0)

    def _nodes(self) -> set[str]:
        return {n["NodeID"] for n in self._ray.nodes() if n["Alive"]}

    def _drop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        self._desk.free.remote(worker.name)

    def _tell(self, at: At | None) -> None:
        if at is None:
            return
        with suppress(self._ray.exceptions.RayError):  # the desk is started again
            for trial, share in self._ray.get(self._desk.news.remote(), timeout=RETRY_S).items():
                if any(w.spec and w.spec.id == trial for w in self._workers):
                    at(self._specs[trial], share)

    def _hint(self) -> None:
        """Say now and then that there is no worker."""
        now = time.monotonic()
        if any(w.is_ready for w in self._workers) or not self._todo:
            self._served_s = now
        elif now - self._served_s > HINT_S:
            self._served_s = now
            print("waiting for a free CPU or GPU of the cluster; `ray status` tells what is taken", file=sys.stderr)

    def clean(self) -> None:
        """Have the machines remove what served this study."""
        cleaning = [w.actor.clean.remote() for w in self._workers if w.is_ready and w.spec is None]
        if cleaning:
            self._ray.wait(cleaning, num_returns=len(cleaning), timeout=CLEAN_S)

    def end(self) -> None:
        for worker in self._workers:
            self._ray.kill(worker.actor)
        self._ray.kill(self._desk)
        if self._storage is not None:
            self._storage.remove(SEEN.format(self._study))
