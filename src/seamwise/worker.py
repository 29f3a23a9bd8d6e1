"""A worker process of a study: one thread, one task, a trial at a time.

Started as `python -m seamwise.worker FILE_DESCRIPTOR PARENT`, so that the program that called `study` is not run
again. Its messages: ("ready",), ("at", step, of), ("done", trial as JSON, seconds), ("busy",), ("stop", message).
"""

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, final

import cloudpickle
import numpy as np
import torch

from seamwise.errors import SeamwiseError, StorageError
from seamwise.evaluate import Evaluation, evaluate, latency_ms
from seamwise.regimes import REGIME_FUNCTIONS, Trained
from seamwise.shapes import NDArray
from seamwise.shift import score_shift
from seamwise.store import BusyError, Store
from seamwise.supply import Supply
from seamwise.task import Task
from seamwise.training import Job, Share
from seamwise.trial import Regime, Trial, write_whole

MOST_KEPT = 64  # numbers an item, above which the answers of the other items are not kept
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


@final
@dataclass(frozen=True)
class Spec:
    """What a trial is to be, before it is run."""

    id: str
    variant: str
    regime: Regime
    budget: Mapping[str, int]
    seed: int
    shifted: bool = False  # whether it is scored on the task's examples from elsewhere too


def run_trial(
    task: Task,
    spec: Spec,
    run: Path,
    watch: Callable[[int, int, float], None] | None = None,
    share: Share | None = None,
) -> Trial:
    """Train and score one trial; its per-item results are on disk before it returns.

    share: what knows the trainings made before; the run folder by default.

    What goes wrong in the user's stages, losses or metrics becomes a failed trial. Raises BusyError where a
    training it needs is being made elsewhere, StorageError where the disk refuses.
    """
    try:
        job = Job(task, spec.variant, spec.budget, spec.seed, share or Store(run / "stages").share, watch=watch)
        trained = REGIME_FUNCTIONS[spec.regime](job)
        result = evaluate(task, trained.net, with_blame=spec.regime != "direct")
        shifted = score_shift(job, trained, spec.regime) if spec.shifted else None
        there = shifted.items if shifted else {}
        save_items(run / "predictions" / f"{spec.id}.npz", result, task, there)
        scores = _scores(job, trained, result) | {"shift": shifted.score if shifted else None}
        return Trial.model_validate(_planned(task, spec) | {"status": "done"} | scores)
    except (BusyError, StorageError):
        raise
    except Exception as error:
        return failed_trial(task, spec, _told(error))


def failed_trial(task: Task, spec: Spec, message: str) -> Trial:
    """A trial that came to nothing, and why; the same study run again tries it again."""
    return Trial.model_validate(_planned(task, spec) | {"status": "failed", "message": message})


def late_trial(task: Task, spec: Spec, limit_s: float) -> Trial:
    """A trial that took longer than it may."""
    remedy = "give a larger --time-limit and run the same command again, or mend what hangs"
    return failed_trial(task, spec, f"stopped: it took longer than the time limit, {limit_s:g} s\n  remedy    {remedy}")


def _planned(task: Task, spec: Spec) -> dict[str, object]:
    plain = {name: getattr(spec, name) for name in ("id", "variant", "regime", "seed")}
    return plain | {"task": task.name, "budget": dict(spec.budget)}


def _told(error: Exception) -> str:
    """What went wrong, for a trial's record."""
    if isinstance(error, SeamwiseError):
        told = str(error)
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
    if not _wants_memory(error):
        return told
    return f"out of memory: {told}\n  remedy    try fewer --jobs, or a smaller `batch` in seamwise.Fit"


def _wants_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is that there is no memory left."""
    if error is None or isinstance(error, MemoryError | torch.OutOfMemoryError):
        return error is not None
    return "can't allocate memory" in str(error) or _wants_memory(error.__cause__)  # torch's words, on a processor


def _scores(job: Job, trained: Trained, result: Evaluation) -> dict[str, object]:
    supply, chain = job.task.supply, trained.net.chain
    latest = {stage: t for t in trained.trainings for stage in t.stages}  # the training whose weights it has
    by_answer = [t for t in trained.trainings if t.target == job.task.answer.field]
    return {
        "error": result.error,
        "trivial": result.trivial,
        "train_error": by_answer[-1].train_error if by_answer else None,
        "stages": result.stages,
        "untrained": "; ".join(dict.fromkeys(t.untrained for t in latest.values() if t.untrained)),
        "notes": trained.notes,
        "seams": trained.seams,
        "seconds": sum(t.seconds for t in trained.trainings),
        "n_steps": sum(t.n_steps for t in trained.trainings),
        "n_parameters": sum(p.numel() for p in trained.net.parameters()),
        "latency_ms": latency_ms(trained.net, supply.take(chain.inputs, supply.rows("test")[:1])),
        "trainings": tuple(t.hash for t in trained.trainings),
    }


def save_items(path: Path, result: Evaluation, task: Task, more: Mapping[str, NDArray] | None = None) -> None:
    """Per-item results: `item`, `error`, `error.FIELD` of each stage, `answer`, and more; all of some items.

    See `seamwise.evaluate.Evaluation` for what is kept of those that are shown, and of what each stage costs.
    """
    answer = result.written.get(task.answer.field)
    kept: dict[str, Any] = {"item": result.items, "error": result.errors}
    kept |= {f"error.{name}": errors for name, errors in result.by_field.items()}
    if answer is not None and answer[0].size <= MOST_KEPT:
        share = answer.dtype.kind == "f" and answer.ndim > 1 and np.abs(answer).max() <= 1  # half the digits will do
        kept["answer"] = answer.astype(np.float16) if share else answer
    kept |= result.shown | result.blame | dict(more or {})
    buffer = BytesIO()
    np.savez_compressed(buffer, **kept)
    write_whole(path, buffer.getvalue())


def main(descriptor: int, parent: int) -> None:
    """Serve one study, the process `parent`, until it says no more, or is gone."""
    _die_with(parent)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # trained networks come with many: several times slower otherwise
    with Connection(descriptor) as line:

        def watch(step: int, of: int, error: float) -> None:
            if os.getppid() != parent:  # the study was killed: leave the training to whoever resumes
                os._exit(1)
            line.send(("at", step, of))

        sent, supply_folder, elsewhere, run, paths = line.recv()
        sys.path[:0] = paths
        task = cloudpickle.loads(sent).with_supply(Supply.open(Path(supply_folder)))
        task = task.with_elsewhere(Supply.open(Path(elsewhere))) if elsewhere else task
        line.send(("ready",))
        while True:
            spec: Spec = line.recv()
            start = time.perf_counter()
            try:
                trial = run_trial(task, spec, Path(run), watch)
                line.send(("done", trial.model_dump_json(), time.perf_counter() - start))
            except BusyError:
                line.send(("busy",))
            except StorageError as error:
                line.send(("stop", str(error)))


def _die_with(parent: int) -> None:
    """End when the study ends, whatever this process is at then, so that it keeps no lock.

    Linux alone can be asked for that; elsewhere `watch` sees it at the next step.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before that
        sys.exit(1)


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except (EOFError, BrokenPipeError, ConnectionError, KeyboardInterrupt):
        sys.exit(1)
