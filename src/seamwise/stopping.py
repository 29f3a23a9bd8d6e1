"""When a training stops, and which weights it keeps: the same rule for every regime."""

import math
from dataclasses import dataclass, field
from typing import Literal, final

from seamwise.settings import Fit
from seamwise.shapes import Tensor

ON_PLATEAU = 0.9  # of the trivial error, or of the first training loss: above both, training has not begun

Stopped = Literal["", "converged", "reached", "max_steps", "nothing to train"]


@final
@dataclass(frozen=True)
class Look:
    """One look at the validation score, with the weights that had it."""

    step: int
    error: float
    loss: float
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)


@final
class Stopping:
    """Keeps the best look and says when to stop.

    Stops once the error has not improved for `patience` steps and half of the steps so far (Differs from plain
    patience: a late improvement earns a longer wait), but never on the first plateau, where the error is not
    below the trivial predictor's and the training loss hardly below where it started.
    """

    def __init__(self, first: Look, settings: Fit, trivial: float = math.inf, stop_at: float | None = None) -> None:
        _check_finite(first)
        self.best, self.last = first, first
        self.history: list[tuple[int, float, float]] = []  # step, training loss, validation error
        self._settings, self._trivial = settings, trivial
        self._stop_at = -math.inf if stop_at is None else stop_at
        self._best_step = first.step

    def look(self, now: Look, training_loss: float) -> None:
        """Take in a new look. Raises FloatingPointError where a number is not finite."""
        _check_finite(now, training_loss)
        self.history.append((now.step, training_loss, now.error))
        if now.error < self.best.error:
            self._best_step = now.step
        self.best = min(self.best, now, key=lambda look: (look.error, look.loss))
        self.last = now

    @property
    def why(self) -> Stopped:
        """Why to stop now; empty to go on."""
        step = self.last.step
        if self.best.error <= self._stop_at:
            return "reached"
        if step >= self._settings.max_steps:
            return "max_steps"
        waited = step >= max(self._settings.min_steps, 1.5 * self._best_step + self._settings.patience)
        return "converged" if waited and self.off_plateau else ""

    @property
    def off_plateau(self) -> bool:
        """Whether training has begun: validation beats the trivial predictor, or the training loss fell clearly."""
        if not self.history:
            return self.best.error < ON_PLATEAU * self._trivial
        begun = self.best.error < ON_PLATEAU * self._trivial
        return begun or self.history[-1][1] < ON_PLATEAU * self.history[0][1]


def _check_finite(look: Look, training_loss: float = 0.0) -> None:
    seen = {"training loss": training_loss, "validation loss": look.loss, "validation error": look.error}
    for name, value in seen.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"the {name} was {value} by step {look.step}")
