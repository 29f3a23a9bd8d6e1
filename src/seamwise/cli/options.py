"""What the commands share: options, and reading what was given to them."""

import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from seamwise.errors import InputError

TaskName = Annotated[
    str,
    typer.Argument(
        metavar="TASK", help="A shipped system (digits, gate, age, track, text), or a Python file that sets `task`."
    ),
]
Data = Annotated[
    list[Path] | None, typer.Option("--data", help="Folder of real data, for a system that reads some; repeatable.")
]
World = Annotated[
    str | None, typer.Option("--world", help="Settings of the task's world, e.g. clutter=12,noise.digit=0.2.")
]
Accelerator = Annotated[str | None, typer.Option(help="cpu, cuda, mps or auto; the task's by default.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `seamwise study` wrote.")]
ModelFolder = Annotated[Path, typer.Option("--model", help="A folder that `seamwise train` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def aside(as_json: bool) -> AbstractContextManager[object]:
    """Where JSON is wanted, what the user's own code prints goes to stderr."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()


def words(text: str | None) -> list[str] | None:
    """Words between commas; None where nothing was given."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def numbers(option: str, text: str | None) -> list[int] | None:
    """Whole numbers between commas. Raises InputError naming the option."""
    try:
        return None if text is None else [int(word) for word in words(text) or []]
    except ValueError:
        raise InputError(f"{option} {text}", expected="whole numbers, as in 100,400,1600") from None


def settings(option: str, text: str | None, example: str = "clutter=12,noise=.1") -> dict[str, float]:
    """{name: number} of "name=number,name=number". Raises InputError naming the option."""
    from seamwise.origin import read_settings

    try:
        return read_settings(text or "", example)
    except InputError as error:
        raise InputError(f"{option}: {error}") from None
