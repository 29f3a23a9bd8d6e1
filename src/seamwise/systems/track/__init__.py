"""A visual tracker: features, correlate, place; and what a person runs of it."""

from typing import Any

__all__ = ["Tracker"]


def __getattr__(name: str) -> Any:
    """`Tracker`, imported when it is asked for: it takes torch."""
    if name == "Tracker":
        from seamwise.systems.track.tracker import Tracker

        return Tracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
