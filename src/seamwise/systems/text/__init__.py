"""A text chain: segment, tag, parse, label roles; and what a person runs of it."""

from typing import Any

__all__ = ["Parser"]


def __getattr__(name: str) -> Any:
    """`Parser`, imported when it is asked for: it takes torch."""
    if name == "Parser":
        from seamwise.systems.text.parser import Parser

        return Parser
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
