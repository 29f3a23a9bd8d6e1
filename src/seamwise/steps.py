"""Steps done and the time left, for commands that take long."""

import sys
import time
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

SHOW_AFTER_S, SHOW_EVERY_S = 2.0, 10.0


def clock(seconds: float) -> str:
    """Seconds as people say them: 45 s, 3 min 20 s, 1 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@final
class Steps:
    """Steps done and the time left, or how many a second where nobody knows how many come; on stderr, where it is long.

    A bar on a terminal, now and then a line elsewhere.
    """

    def __init__(self, what: str) -> None:
        self._what, self._console = what, Console(stderr=True)
        self._start = self._told = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def at(self, done: int, of: int | None) -> None:
        """So many are done, of so many, or of nobody knows how many."""
        now = time.monotonic()
        if now - self._start < SHOW_AFTER_S or done == of:
            return
        if self._console.is_terminal:
            self._show(done, of, self._rate(done, now))
        elif now - self._told > SHOW_EVERY_S:
            self._told = now
            left = self._rate(done, now)
            if of is not None:
                left = f"{clock((now - self._start) / max(done, 1) * max(of - done, 0))} left"
            print(f"{done:,}{'' if of is None else f' of {of:,}'}, {left}: {self._what}", file=sys.stderr)

    def _rate(self, done: int, now: float) -> str:
        return f"{done / max(now - self._start, 1e-3):.3g} a second"

    def _show(self, done: int, of: int | None, rate: str) -> None:
        if self._bar is None:
            known: tuple[ProgressColumn, ...] = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            unknown = (TextColumn("{task.completed:,}"), TextColumn("{task.fields[rate]}"))
            columns = (TextColumn("{task.description}"), *(unknown if of is None else known))
            self._bar = Progress(*columns, console=self._console, transient=True, redirect_stdout=sys.stdout.isatty())
            self._row = self._bar.add_task(self._what, total=of, rate=rate)
            self._bar.start()
        self._bar.update(self._row, completed=done, total=of, rate=rate)
