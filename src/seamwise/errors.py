"""What can go wrong.

SeamwiseError
├── InputError          the user's to mend; the command line ends with exit code 2 and no traceback
│   ├── SupplyError     a table, field, group, split or budget
│   ├── ChainError      a stage or a border between two
│   ├── TaskError       a task file or a task
│   ├── RunError        a run folder
│   └── ModelError      a model folder
├── TrainingError       one training could not be done; a study records it and goes on
│   └── RegimeError     this chain cannot be trained this way
└── StorageError        the disk is full or may not be written; work already done is kept
"""


class SeamwiseError(Exception):
    """Base of all. The message says what is wrong; then what was given, what was expected and the remedy.

    brief: what is wrong and what was given, on a line.
    """

    def __init__(self, what: str, *, given: str = "", expected: str = "", remedy: str = "") -> None:
        parts = {"given": given, "expected": expected, "remedy": remedy}
        lines = [what] + [f"  {name:<9} {text}" for name, text in parts.items() if text]
        super().__init__("\n".join(lines))
        self.brief = f"{what}: {given}" if given else what


class InputError(SeamwiseError):
    """The user gave something that cannot be used."""


class SupplyError(InputError):
    """A table, field, group, split or budget is not usable."""


class ChainError(InputError):
    """A stage, or the border between two, does not fit."""


class TaskError(InputError):
    """A task file cannot be loaded, or a task is incomplete."""


class RunError(InputError):
    """A run folder is in use, of another version or task, or no run folder."""


class ModelError(InputError):
    """A model folder does not hold what was asked for."""


class TrainingError(SeamwiseError):
    """A training could not be done: a stage raised, a loss or a metric was not a number."""


class RegimeError(TrainingError):
    """A chain that cannot be trained this way, with whatever labels: no gradient reaches anything that learns."""


class StorageError(SeamwiseError):
    """Results could not be written."""
