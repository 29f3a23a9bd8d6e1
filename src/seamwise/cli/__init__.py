"""The command line. Nothing heavy is imported before it is needed."""

import sys
from importlib import import_module
from io import TextIOWrapper

import typer

from seamwise.cli.look import look
from seamwise.cli.models import evaluate, predict, train
from seamwise.cli.studies import advise, report, study
from seamwise.errors import InputError, SeamwiseError

INTERRUPTED = 130
# predict and eval, and train of real data
OWN_COMMANDS = {name: f"seamwise.systems.{name}.commands" for name in ("gate", "age", "track", "text")}
# with a model alone these ask any task's command
OF_A_MODEL = (("predict", "gate"), *(("eval", name) for name in OWN_COMMANDS))
OWN_TRAINING = ("text",)  # where `--data` is given

app = typer.Typer(
    name="seamwise",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Pipeline or end to end? Train the same chain every way over growing label budgets, and measure it.\n\n"
    "Example: seamwise study digits --quick",
)
for command in (study, advise, train, predict, look, report):
    app.command()(command)
app.command(name="eval")(evaluate)


def _run(words: list[str]) -> None:
    """A system's own command where it has one for what was given; else the one of every task."""
    command, task = [*words, "", ""][:2]
    options = {word.partition("=")[0] for word in words}
    if task in OWN_COMMANDS and _is_own(command, task, options):
        own = import_module(OWN_COMMANDS[task])
        own.apps[command](words[2:], prog_name=f"seamwise {command} {task}")
    else:
        app(words)


def _is_own(command: str, task: str, options: set[str]) -> bool:
    """Not with a model of its task and no data; and a training only on data."""
    if command == "train":
        return task in OWN_TRAINING and bool(options & {"--data", "--help"})
    alone = "--model" in options and not options & {"--data", "--enrol"}
    return command in ("predict", "eval") and not (alone and (command, task) in OF_A_MODEL)


def main() -> None:
    """Run the command line; the user's mistakes end with exit code 2 and no traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what a terminal cannot show
    try:
        _run(sys.argv[1:])
    except SeamwiseError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except SystemExit as end:  # typer has made one of a KeyboardInterrupt
        if end.code == INTERRUPTED:
            goes_on = ", the same command goes on" if sys.argv[1:2] == ["study"] else ""
            print(f"stopped; what is finished is kept{goes_on}", file=sys.stderr)
        raise
