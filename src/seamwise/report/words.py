"""Numbers as words: errors with three digits, intervals, counts, probabilities."""

from dataclasses import dataclass
from typing import final

from seamwise.advice.numbers import n_decimals
from seamwise.bootstrap import Interval

NOTHING = "–"


@final
@dataclass(frozen=True)
class Measure:
    """How an error is written: as many decimals as its trivial predictor's error needs, and its unit."""

    trivial: float
    unit: str

    def number(self, value: float | None) -> str:
        """An error."""
        return NOTHING if value is None else self._told(value, "")

    def between(self, interval: Interval) -> str:
        """The interval's ends, as short as they are told apart."""
        return f"{self.number(interval.low)}{'–' if interval.low >= 0 else ' to '}{self.number(interval.high)}"

    def signed(self, value: float) -> str:
        """A difference of errors."""
        return self._told(value, "+")

    def _told(self, value: float, sign: str) -> str:
        decimals = n_decimals(self.trivial)
        rounded = round(value, decimals) + 0.0  # no −0
        return f"{rounded:{sign}.{decimals}f}".replace("-", "−")

    def signed_ends(self, interval: Interval) -> str:
        """The ends of a difference's interval."""
        return f"{self.signed(interval.low)} to {self.signed(interval.high)}"

    @property
    def in_brackets(self) -> str:
        """The unit, in brackets where there is one."""
        return f" ({self.unit})" if self.unit else ""


def count(value: int, thing: str) -> str:
    """A number of things: "1 trial", "2 trials"."""
    return f"{value:,} {thing}" + ("" if value == 1 else "s")


def probability(value: float) -> str:
    """Two decimals; what they cannot tell from 0 or 1 is said to be below or above."""
    return "> 0.99" if value > 0.99 else "< 0.01" if value < 0.01 else f"{value:.2f}"


def plain(value: float) -> str:
    """A number as somebody set it: a price, a setting."""
    return f"{value:,.6g}".replace("-", "−")


def listed(words: list[str]) -> str:
    """Several in one sentence: "a, b and c"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" and {words[-1]}" if words else ""
