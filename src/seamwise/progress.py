"""What a study shows while it works: trials done, the time left, and each trial as it ends."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress

from seamwise.steps import clock
from seamwise.trial import Trial
from seamwise.worker import Spec

SHOW_EVERY_S = 10.0


@final
class Progress:
    """A bar on a terminal, now and then a line elsewhere. Time left is told once a trial has ended.

    at_most: not all that is to do need be done; `expect` then tells what is left of it.
    """

    def __init__(
        self, todo: Sequence[Spec], n_done: int, n_jobs: int, quiet: bool = False, *, at_most: bool = False
    ) -> None:
        self._todo = {s.id: s for s in todo}
        self._n_done, self._n_jobs, self._quiet = n_done, n_jobs, quiet
        self._at_most = "at most " if at_most else ""
        self._took: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._share: dict[str, float] = {}
        self._console = Console(stderr=True)
        self._start = self._told = time.monotonic()
        self._bar: RichProgress | None = None
        if not quiet and n_done:
            self._console.print(f"{n_done} of {self._at_most}{self.n_all} trials were done before")

    def __enter__(self) -> "Progress":
        if not self._quiet and self._console.is_terminal:
            self._bar = RichProgress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(),
                TextColumn("{task.fields[left]}"), console=self._console,
            )  # fmt: skip
            self._row = self._bar.add_task("trials", total=self.n_all, completed=self._n_done, left="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def n_all(self) -> int:
        return self._n_done + len(self._todo)

    def expect(self, todo: Sequence[Spec]) -> None:
        """What may be to do yet is this alone."""
        self._todo = {s.id: s for s in todo}
        self._show("")

    def at(self, spec: Spec, share: float) -> None:
        """A trial at work is that far (of one of its trainings)."""
        self._share[spec.id] = share
        self._show("")

    def finished(self, trial: Trial, seconds: float) -> None:
        """A trial ended."""
        self._n_done += self._todo.pop(trial.id, None) is not None
        self._share.pop(trial.id, None)
        if trial.status == "done":
            self._took[trial.row].append(seconds)
        what = f"{trial.variant} {trial.regime} {trial.budget} seed {trial.seed}"
        if trial.status == "failed":
            self._console.print(f"failed: {what}: {trial.message}", style="red", highlight=False, markup=False)
        self._show(f"{trial.variant} {trial.regime}")

    def seconds_left(self) -> float | None:
        """What is still to do, at what such trials took so far, over the processes."""
        if not self._took:
            return None
        mean = {row: sum(took) / len(took) for row, took in self._took.items()}
        usual = sum(mean.values()) / len(mean)
        left = [mean.get((s.variant, s.regime), usual) * (1 - self._share.get(s.id, 0.0)) for s in self._todo.values()]
        return max(sum(left) / self._n_jobs, max(left, default=0.0))

    def _show(self, what: str) -> None:
        left = self.seconds_left()
        told = "estimating the time left" if left is None else f"{self._at_most}{clock(left)} left"
        if self._bar is not None:
            label = {"description": f"trials ({what})"} if what else {}
            self._bar.update(self._row, completed=self._n_done, total=self.n_all, left=told, **label)  # type: ignore[arg-type]
        elif not self._quiet and (time.monotonic() - self._told > SHOW_EVERY_S or not self._todo):
            self._told = time.monotonic()
            spent = clock(self._told - self._start)
            print(f"{self._n_done}/{self._at_most}{self.n_all} trials, {spent} so far, {told}", file=sys.stderr)


@final
class TrainingProgress:
    """The steps of one training, the best validation error so far and the time left at most."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar: RichProgress | None = None
        self._start = self._told = time.monotonic()
        self._before = 0
        self.first_rank = os.environ.get("LOCAL_RANK", "0") == "0"

    def __enter__(self) -> "TrainingProgress":
        if self._console.is_terminal and self.first_rank:
            self._bar = RichProgress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"), console=self._console
            )
            self._row = self._bar.add_task("training", total=None, told="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, step: int, of: int, error: float) -> None:
        """A training is at a step; a smaller one than before belongs to the next training."""
        now = time.monotonic()
        if step <= self._before:
            self._start = now
        self._before = step
        left = (now - self._start) / step * (of - step)
        told = f"step {step:,}, validation error {error:.4g}, at most {clock(left)} left for this training"
        if self._bar is not None:
            self._bar.update(self._row, completed=step, total=of, told=told)
        elif self.first_rank and now - self._told > SHOW_EVERY_S:
            self._told = now
            print(told, file=sys.stderr)
