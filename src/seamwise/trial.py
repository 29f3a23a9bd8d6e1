"""Trial: the frozen record of one training; a collection of them, in and out as JSON lines."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar, final

from pydantic import BaseModel, ConfigDict, ValidationError

from seamwise.errors import InputError, RunError, StorageError

Regime = Literal["independent", "sequential", "tuned", "joint", "endtoend", "direct"]
REGIMES: tuple[Regime, ...] = ("independent", "sequential", "tuned", "joint", "endtoend", "direct")


class StageScore(BaseModel):
    """One field's mean error over the test items that have its label."""

    model_config = ConfigDict(frozen=True)

    field: str
    stage: str
    error: float  # within the chain, on what the stages before it wrote
    error_on_gold_input: float | None  # None where no gold input exists, or the stage has nothing before it
    trivial: float
    unit: str


class SeamRecord(BaseModel):
    """The border across which `field` goes from one stage to the next that reads it, in one network.

    gradient: root mean square, over the items, of the norm of d loss / d field; 0 where none crosses.
    stopped_by: the operation that lets none through, empty where some crosses.
    hard: decisions (all zeros and ones, or whole numbers) rather than distributions or measures.
    """

    model_config = ConfigDict(frozen=True)

    field: str
    writer: str
    reader: str
    passes: bool
    gradient: float
    stopped_by: str
    hard: bool

    def __str__(self) -> str:
        kind = "hard" if self.hard else "soft"
        told = f"gradient {self.gradient:.2g}" if self.passes else f"no gradient: {self.stopped_by}"
        return f"{self.writer} -> {self.field} -> {self.reader}: {kind}, {told}"


class ShiftScore(BaseModel):
    """A trained network on test items from elsewhere, and once its first learned stage was trained again there.

    stage: which was trained again, on `n_labels` labelled items from elsewhere; the rest stayed as it was trained here.
    retrained: the answer's error there after that. None where there was nothing to train again, or to train it on; then
    `note` says why.
    """

    model_config = ConfigDict(frozen=True)

    error: float
    trivial: float  # of what one answers without looking, from the training labels here
    stage: str = ""
    n_labels: int = 0
    retrained: float | None = None
    note: str = ""
    training: str = ""  # the hash of that training


class Trial(BaseModel):
    """One training of one task: where it stands in the study, what it scored, what it cost.

    `error` is the mean over the test items; each item's is in `predictions/ID.npz` beside `trials.jsonl`.
    A failed trial has its `message` and no scores.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    task: str
    variant: str
    regime: Regime
    budget: dict[str, int]
    seed: int
    status: Literal["done", "failed"]
    message: str = ""

    error: float | None = None
    trivial: float | None = None  # the trivial predictor's error on the same test items
    train_error: float | None = None  # of the answer, on the items whose answer it was trained on
    stages: tuple[StageScore, ...] = ()
    seams: tuple[SeamRecord, ...] = ()  # after training; of a direct network there are none
    shift: ShiftScore | None = None  # at the largest budget, where the task has examples from elsewhere
    untrained: str = ""  # why it counts as "did not train" on its own evidence, else empty
    notes: tuple[str, ...] = ()

    seconds: float = 0.0  # of training, shared stage trainings counted in full
    n_steps: int = 0
    n_parameters: int = 0
    latency_ms: float | None = None  # one item alone, median
    trainings: tuple[str, ...] = ()  # hashes of the trainings that compose it

    @property
    def row(self) -> tuple[str, str]:
        """What is compared: (variant, regime)."""
        return self.variant, self.regime


CLEARLY = 0.25  # of the trivial predictor's error: a training error this much above another's is clearly above


def did_not_train(trials: Sequence[Trial]) -> dict[str, str]:
    """Which trials did not train, by id, and why.

    Either no better than the trivial predictor on its own training items, or, with the same network, budget
    and seed, a training error clearly above what another regime reached that also had the answer to train on.
    Not to be confused with training well and not generalising.
    """
    why = {t.id: t.untrained for t in trials if t.untrained}
    regimes = ("tuned", "joint", "endtoend")
    by_the_answer = [t for t in trials if t.regime in regimes and t.train_error is not None]
    for trial in by_the_answer:
        peers = [p for p in by_the_answer if _same_network(p, trial)]
        best = min(peers, key=lambda p: _share(p))
        if trial.id not in why and _share(trial) > _share(best) + CLEARLY:
            why[trial.id] = (
                f"its training error is {_share(trial):.2f} of the trivial predictor's; "
                f"{best.regime} reached {_share(best):.2f} with the same network"
            )
    return why


def _same_network(a: Trial, b: Trial) -> bool:
    return (a.variant, a.budget, a.seed) == (b.variant, b.budget, b.seed)


def _share(trial: Trial) -> float:
    if trial.train_error is None or not trial.trivial:
        return 0.0
    return trial.train_error / trial.trivial


@final
class TrialLog:
    """`trials.jsonl`: one line a trial, appended; read again, the last line of an id counts.

    A line cut short by a kill is dropped when the log is opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.read())

    def read(self) -> list[Trial]:
        """Raises RunError, naming the line, where a whole line is no trial."""
        if not self.path.exists():
            return []
        if not self.path.is_file():
            raise RunError(f"{self.path}: no file", expected="the lines of a study's trials", remedy="remove it")
        latest: dict[str, Trial] = {}
        for number, line in enumerate(self._whole_lines(), start=1):
            try:
                trial = Trial.model_validate_json(line)
            except ValidationError as error:
                raise RunError(
                    f"{self.path}: line {number} is no trial",
                    given=line[:80].decode(errors="replace"),
                    expected=f"the fields of a trial ({error.error_count()} do not fit)",
                    remedy="delete that line, or choose another run folder",
                ) from None
            latest[trial.id] = trial
        return list(latest.values())

    def append(self, trials: Iterable[Trial]) -> None:
        """Add lines and force them to the disk. Raises StorageError where that fails."""
        text = "".join(trial.model_dump_json() + "\n" for trial in trials).encode()
        with writing(self.path):
            before = self.path.stat().st_size if self.path.exists() else 0
            try:
                with self.path.open("ab") as file:
                    file.write(text)
                    _force(file)
            except OSError:
                with suppress(OSError):  # what is cut short there is dropped when the study goes on
                    os.truncate(self.path, before)
                raise

    def mend(self) -> None:
        """Drop a last line that was cut short. Raises StorageError."""
        with writing(self.path):
            if self.path.exists():
                os.truncate(self.path, sum(len(line) + 1 for line in self._whole_lines()))

    def _whole_lines(self) -> list[bytes]:
        return self.path.read_bytes().split(b"\n")[:-1]


def storage_error(path: Path, error: OSError) -> StorageError:
    """The same sentence wherever the disk refuses."""
    return StorageError(
        f"{path}: cannot be written",
        given=error.strerror or str(error),
        remedy="free space or choose another folder, then run the same command again: what is finished is kept",
    )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """While something is written there: what the disk refuses is a StorageError."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error


def _force(file: BinaryIO) -> None:
    """Have what was written on the disk itself: no loss of power makes it empty. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and the folder it is in. Raises StorageError.

    A link is followed; what is no regular file, a device say, is written to as it stands.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path = path.resolve() if path.is_symlink() else path
        beside = path.with_name(beside.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(content)
            return
        with beside.open("wb") as file:
            file.write(content)
            _force(file)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise storage_error(path, error) from error


def write_json(path: Path, content: object) -> None:
    """Write an object as indented JSON, whole or not at all. Raises StorageError."""
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


Record = TypeVar("Record", bound="FolderRecord")


class FolderRecord(BaseModel):
    """What stands first in the JSON file that says what a folder is: its format, and who wrote it."""

    format: int
    version: str


def read_record(path: Path, kind: type[Record], expected: int, error: type[InputError], remedy: str) -> Record:
    """A folder's record. Raises the given error where it is of another format or version."""
    try:
        record = kind.model_validate_json(path.read_bytes())
    except ValidationError as wrong:
        if wrong.errors()[0]["type"] == "json_invalid":
            raise error(f"{path}: damaged, it is no JSON", remedy="restore it, or give another folder") from None
        raise error(
            f"{path}: not of this version of seamwise",
            given=f"{wrong.error_count()} fields do not fit",
            expected=f"format {expected}",
            remedy=remedy,
        ) from None
    if record.format != expected:
        given = f"format {record.format}, written by seamwise {record.version}"
        raise error(f"{path}: of another format", given=given, expected=f"format {expected}", remedy=remedy)
    return record
