"""The connection to a Ray cluster, and how many workers it has places for."""

import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from seamwise.errors import InputError, TaskError
from seamwise.settings import Fit
from seamwise.storage import Storage, missing

REACH_S = 5.0  # for the cluster's address to answer
LEAST_SHARE = 1e-4  # of a GPU: Ray counts in no smaller ones


def check_way(on: str, storage: str | None, gpus: float, fit: Fit) -> None:
    """Raises InputError or StorageError where a study cannot be run so, whatever the cluster."""
    if fit.n_devices > 1:
        raise TaskError(
            f"a study of trainings on {fit.n_devices} devices each",
            remedy="give Fit(n_devices=1); `seamwise train --devices` trains on several",
        )
    if on not in ("processes", "ray"):
        raise TaskError(f"a study on {on!r}", expected="processes or ray")
    if on == "processes" and (storage is not None or gpus):
        raise TaskError("a storage or GPU shares, of processes of this machine", remedy='give on="ray" (--on ray)')
    if not (gpus == 0 or LEAST_SHARE <= gpus <= 1 or (math.isfinite(gpus) and gpus > 1 and gpus == int(gpus))):
        raise TaskError(f"{gpus:g} GPUs a worker", expected="a share of one, .25 say, or a whole number")
    if gpus and fit.accelerator == "cpu":
        raise TaskError(f"{gpus:g} GPUs a worker, and a task that trains on none", remedy="give --accelerator cuda")
    if storage is not None:
        Storage(storage).check()


@contextmanager
def connected() -> Iterator[Any]:
    """Ray, connected to the cluster of RAY_ADDRESS, or to one of this machine alone, for as long as this lasts.

    Raises InputError where Ray is not installed or the cluster does not answer.
    """
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here tells nobody
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray._private.worker._worker_logs_enabled = False  # what is told of lost machines, on standard output
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:
        raise _unreachable(address, f"{type(error).__name__}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def n_places(gpus: float = 0.0) -> int:
    """How many workers the cluster has CPUs and shares of GPUs for. Raises TaskError where there are none."""
    with connected() as ray:
        n = places_now(ray, gpus)
    if not n:
        raise TaskError(
            "the cluster has no place for a worker",
            expected=f"1 CPU{f' and {gpus:g} GPU' if gpus else ''} for each",
            remedy="give fewer --gpus, or start a machine that has some: ray start --address=HEAD:6379 --num-gpus=N",
        )
    return n


def places_now(ray: Any, gpus: float) -> int:
    """The same of a cluster one is connected to, which may have lost some."""
    has = ray.cluster_resources()
    cpus = int(has.get("CPU", 0))
    if not gpus:
        return cpus
    a_gpu = int(1 / gpus + 1e-9)  # a worker's share is of one GPU
    return min(cpus, int(has.get("GPU", 0)) * a_gpu if a_gpu else int(has.get("GPU", 0) / gpus))


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise missing("--on ray") from None
    return ray


def _check_answers(address: str) -> None:
    """Ray itself asks for two minutes, and ends the process."""
    host, _, port = address.rpartition(":")
    if "://" in address or (address not in ("local", "auto") and not (host and port.isdigit())):
        raise InputError(
            f"RAY_ADDRESS={address}",
            expected="HOST:PORT of the cluster's head, 10.0.0.1:6379 say, or auto",
            remedy="run the study on a machine of the cluster; ray:// is not needed there",
        )
    if host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
        except OSError as error:
            raise _unreachable(address, str(error)) from None


def _unreachable(address: str, given: str) -> InputError:
    if address == "local":
        remedy = "see /tmp/ray/session_latest/logs"
        return InputError("Ray cannot be started on this machine", given=given, remedy=remedy)
    return InputError(
        f"the Ray cluster of RAY_ADDRESS={address} cannot be reached",
        given=given,
        remedy="start it (ray start --head), mend RAY_ADDRESS, or unset it to use this machine alone",
    )
