"""What of a study runs on the machines of a Ray cluster: workers, and the desk that knows who is at which training.

Nothing here needs Ray to be imported: `seamwise.cluster` makes actors of these classes.
"""

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import cloudpickle
import torch
from filelock import FileLock

from seamwise.errors import StorageError, TaskError
from seamwise.storage import Storage, pack, unpack
from seamwise.store import BusyError, Store
from seamwise.supply import Supply
from seamwise.task import Task
from seamwise.training import Training
from seamwise.trial import writing
from seamwise.version import VERSION
from seamwise.worker import Spec, run_trial

TELL_EVERY_S = 0.5  # how far a trial is
SEEN = "seen/{}"  # a file of the storage that the program which runs the study writes, and every machine must see

News = tuple[Any, ...]
"""("done", trial as JSON, seconds, per-item file or None: the run folder has it), ("busy",), ("stop", message)"""
Files = Mapping[str, Any]
"""{name: reference to the file's bytes in Ray's object store}"""


@final
@dataclass(frozen=True)
class Kit:
    """What every worker of a study is sent."""

    task: bytes
    supplies: Mapping[str, Files]  # by digest: the task's own, and that from elsewhere
    digests: tuple[str, ...]
    run: str  # the run folder, on the machine where the study was started
    home: str  # that machine's node of the cluster
    key: str  # of the study, for the folders on other machines
    paths: tuple[str, ...]
    storage: str = ""
    study: str = ""  # one run of `study`
    version: str = VERSION


@final
class Desk:
    """Who is at which training, and how far the trials are."""

    def __init__(self) -> None:
        self._who: dict[str, str] = {}
        self._shares: dict[str, float] = {}

    def claim(self, hash_: str, worker: str) -> bool:
        """Whether that worker may be at that training now."""
        return self._who.setdefault(hash_, worker) == worker

    def release(self, hash_: str) -> None:
        self._who.pop(hash_, None)

    def free(self, worker: str) -> None:
        """Release what a worker that is no more was at."""
        self._who = {hash_: who for hash_, who in self._who.items() if who != worker}

    def tell(self, trial: str, share: float) -> None:
        self._shares[trial] = share

    def news(self) -> dict[str, float]:
        """How far trials are, of those that told since this was asked last."""
        told, self._shares = self._shares, {}
        return told


@final
class Actor:
    """A worker of a study on some machine: one thread, one task, a trial at a time."""

    def __init__(self, kit: Kit, desk: Any, name: str) -> None:
        self._kit, self._desk, self._name = kit, desk, name
        self._stored: set[str] = set()  # trainings that are in the storage
        self._told_s = 0.0

    def open(self) -> str:
        """Make ready; the node it is on.

        Raises TaskError where this machine has another version of seamwise, or not what the task uses; StorageError
        where its disk refuses, or it does not see the storage.
        """
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)  # as in seamwise.worker
        kit, node = self._kit, _node()
        if kit.version != VERSION:
            raise TaskError(
                f"{socket.gethostname()} has seamwise {VERSION}", expected=f"{kit.version}, as where it began"
            )
        self._is_home = node == kit.home
        self._run = Path(kit.run) if self._is_home else _cache() / f"{kit.key}-{socket.gethostname()}"
        self._store = Store(self._run / "stages")
        self._storage = _seen_storage(kit)
        sys.path += [p for p in kit.paths if p not in sys.path]
        own, *elsewhere = [Supply.open(self._supply(digest)) for digest in kit.digests]
        task = _unpacked(kit.task).with_supply(own)
        self._task = task.with_elsewhere(elsewhere[0]) if elsewhere else task
        return node

    def run(self, spec: Spec) -> News:
        """Train and score a trial."""
        start = time.perf_counter()
        try:
            trial = run_trial(self._task, spec, self._run, self._watch(spec), self._share)
        except BusyError:
            return ("busy",)
        except StorageError as error:
            return ("stop", str(error))
        path, items = self._run / "predictions" / f"{spec.id}.npz", None
        if not self._is_home and trial.status == "done":
            items = path.read_bytes()
            path.unlink()
        return ("done", trial.model_dump_json(), time.perf_counter() - start, items)

    def clean(self) -> None:
        """Remove what serves this study alone."""
        if not self._is_home:
            shutil.rmtree(self._run, ignore_errors=True)

    def _supply(self, digest: str) -> Path:
        """The folder of a supply, brought here once a machine."""
        place = self._run / "supply" / digest
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(place.with_name(f"{digest}.lock")):
                if not place.exists():
                    beside = place.with_name(f".{digest}.{os.getpid()}")
                    beside.mkdir(exist_ok=True)
                    for name, content in self._kit.supplies[digest].items():
                        _get(content).tofile(beside / name)
                    beside.rename(place)
        return place

    def _watch(self, spec: Spec) -> Callable[[int, int, float], None]:
        def watch(step: int, of: int, error: float) -> None:
            if time.monotonic() - self._told_s > TELL_EVERY_S:
                self._told_s = time.monotonic()
                self._desk.tell.remote(spec.id, step / of)

        return watch

    def _share(self, hash_: str, make: Callable[[str], Training]) -> Training:
        """A training: this machine's, the storage's, or made now and put into both."""
        if self._storage is None or hash_ in self._stored:
            return self._store.share(hash_, make)
        self._claim(hash_)
        try:
            place, name = self._store.folder / hash_, f"trainings/{hash_}.zip"
            content = None if place.exists() else self._storage.get(name)
            is_there = self._storage.has(name) if place.exists() else content is not None and unpack(content, place)
            training = self._store.share(hash_, make)
            if not is_there:
                self._storage.put(name, pack(place))
            self._stored.add(hash_)
            return training
        finally:
            self._desk.release.remote(hash_)

    def _claim(self, hash_: str) -> None:
        from ray.exceptions import RayError

        try:
            is_mine = _get(self._desk.claim.remote(hash_, self._name))
        except RayError:  # the desk is started again
            is_mine = False
        if not is_mine:
            raise BusyError(hash_)


def _seen_storage(kit: Kit) -> Storage | None:
    if not kit.storage:
        return None
    storage = Storage(kit.storage)
    if not storage.has(SEEN.format(kit.study)):
        raise StorageError(
            f"--storage {kit.storage}: {socket.gethostname()} does not see what was written there",
            remedy="give a folder that all machines see, or a bucket, as in s3://bucket/path",
        )
    return storage


def _unpacked(packed: bytes) -> Task:
    try:
        task: Task = cloudpickle.loads(packed)
    except Exception as error:
        raise TaskError(
            f"the task cannot be opened on {socket.gethostname()}",
            given=f"{type(error).__name__}: {error}",
            remedy="what a task's stages use must be in the task's file, or installed on every machine",
        ) from error
    return task


def _cache() -> Path:
    return Path(os.environ.get("SEAMWISE_CACHE") or Path.home() / ".cache" / "seamwise") / "cluster"


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)
