"""Fit: how one training is done, for every regime alike."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from typing import Any, final

from seamwise.errors import TaskError

ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps", "tpu")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true")


def _is_whole(value: Any, least: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and bool(value == value)  # which no NaN is


def _is_size(value: Any) -> bool:
    return _is_number(value) and bool(0 <= value < math.inf)


Check = tuple[str, Callable[[Any], bool]]
"""(what a setting should be, whether it is)"""

POSITIVE: Check = ("a whole number of 1 or more", lambda v: _is_whole(v, 1))
COUNT: Check = ("a whole number of 0 or more", lambda v: _is_whole(v, 0))
SIZE: Check = ("a finite number of 0 or more", _is_size)
CHECKS: dict[str, Check] = {
    **dict.fromkeys(("batch", "max_steps", "eval_every", "n_devices", "patience"), POSITIVE),
    **dict.fromkeys(("min_steps", "warmup", "start_small"), COUNT),
    **dict.fromkeys(("weight_decay", "stage_weight"), SIZE),
    "n_folds": ("a whole number of 2 or more", lambda v: _is_whole(v, 2)),
    "alike": ("the name of an input", lambda v: isinstance(v, str)),
    "average": ("a number of 0 or more and below 1", lambda v: _is_number(v) and 0 <= v < 1),
    "clip": ("a number above 0", lambda v: _is_number(v) and v > 0),
    "accelerator": (f"one of {', '.join(ACCELERATORS)}", lambda v: v in ACCELERATORS),
    "precision": (f"one of {', '.join(PRECISIONS)}", lambda v: v in PRECISIONS),
}


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
    alike:         an input [n, length, ...] filled up with zeros: a batch is of items about as long in it, as a batch
                   costs what its longest item costs; "" for batches of any
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
    alike: str = ""
    precision: str = "32-true"
    accelerator: str = "cpu"
    n_devices: int = 1

    def __post_init__(self) -> None:
        self._check_rates()
        for name, (expected, fits) in CHECKS.items():
            value = getattr(self, name)
            if not fits(value):
                raise TaskError(f"fit setting {name!r} cannot be {value!r}", expected=expected)

    def _check_rates(self) -> None:
        rates: Any = self.rates
        if isinstance(rates, list):
            object.__setattr__(self, "rates", tuple(rates))
        bare = not isinstance(rates, list | tuple)
        if bare or not rates or not all(_is_size(rate) and rate > 0 for rate in rates):
            raise TaskError(
                f"fit setting 'rates' cannot be {rates!r}",
                expected="one or more finite numbers above 0",
                remedy="write rates=(1e-3,)" if bare else "",
            )

    @property
    def signature(self) -> str:
        return repr(sorted(asdict(self).items()))


def quicker(fit: Fit) -> Fit:
    """For a first look: one rate and at most 750 steps."""
    most = min(fit.max_steps, 750)
    return replace(fit, rates=fit.rates[:1], min_steps=min(fit.min_steps, 300), max_steps=most, patience=200)
