"""Advice: what the trials of a study say to whoever has to decide."""

from seamwise.advice.compose import advise, write_advice
from seamwise.advice.records import Advice

__all__ = ["Advice", "advise", "write_advice"]
