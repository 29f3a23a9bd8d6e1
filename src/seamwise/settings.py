"""Fit: how one training is done, for every regime alike."""

from dataclasses import asdict, dataclass, replace
from typing import final

from seamwise.errors import TaskError


@final
@dataclass(frozen=True)
class Fit:
    """How long and how fast to train.

    AdamW at a constant rate after a warm-up; what is scored and kept is the running average of the weights.
    Training stops once the validation score has not improved for `patience` steps and half of the steps so far;
    but not while it is still on its first plateau: no better than the trivial predictor on validation, and the
    training loss hardly below where it started.

    batch:         examples a step
    rates:         learning rates to try; the best on validation is kept
    min_steps, max_steps: never stop before, always stop at
    patience:      steps without improvement
    start_small:   a training that never leaves its first plateau is tried once more, anew, starting with so many of
                   its examples and twice as many every `patience` steps; 0 for never
    eval_every:    steps between two looks at the validation score
    stage_weight:  lambda, the weight of the stage losses in tuned and joint
    average:       of the weights, kept a step; 0 keeps the last weights themselves
    clip:          largest norm of the gradient
    n_folds:       of cross-fitting, in sequential
    """

    batch: int = 32
    rates: tuple[float, ...] = (3e-3, 1e-3)
    min_steps: int = 1000
    max_steps: int = 10_000
    patience: int = 500
    start_small: int = 400
    eval_every: int = 100
    warmup: int = 100
    weight_decay: float = 1e-2
    stage_weight: float = 1.0
    average: float = 0.995
    clip: float = 5.0
    n_folds: int = 5
    precision: str = "32-true"
    accelerator: str = "cpu"
    n_devices: int = 1

    def __post_init__(self) -> None:
        positive = ("batch", "max_steps", "eval_every", "n_devices", "clip")
        wrong = [name for name in positive if not getattr(self, name) > 0]
        if not self.rates or min(self.rates) <= 0:
            wrong.append("rates")
        if not 0 <= self.average < 1:
            wrong.append("average")
        if self.n_folds < 2:
            wrong.append("n_folds")
        if wrong:
            raise TaskError(
                f"fit setting {wrong[0]!r} cannot be {getattr(self, wrong[0])}", expected="see the help of seamwise.Fit"
            )

    @property
    def signature(self) -> str:
        return repr(sorted(asdict(self).items()))


def quicker(fit: Fit) -> Fit:
    """For a first look: one rate and at most 1,000 steps."""
    most = min(fit.max_steps, 1000)
    return replace(fit, rates=fit.rates[:1], min_steps=min(fit.min_steps, 300), max_steps=most, patience=200)
