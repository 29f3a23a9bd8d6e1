"""What a probe says; read without torch, for reports."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class ProbeScore:
    """One field read from one layer by a linear probe, in the error of the field's own metric: lower is better.

    layer:   "input", a module ("find.scores.0"), or a stage and what it writes ("find: place")
    error:   on `n` test items; low, high: its 90 % interval, by bootstrap over test groups
    validation: the error there; it chose the probe's penalty, and chooses the best layer
    control: the error of the same probe on the control task; trivial: of what one answers without looking
    """

    field: str
    layer: str
    error: float
    low: float
    high: float
    validation: float
    control: float
    trivial: float
    n: int
    unit: str

    @property
    def selectivity(self) -> float:
        """How much better the field is read than labels that are drawn at random for each type of input."""
        return self.control - self.error
