"""The model folder: model.json, weights.safetensors and NAME.skops; training one, loading it, asking it."""

import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from seamwise.bootstrap import Bootstrap, Interval
from seamwise.chain import ChainNet
from seamwise.errors import ModelError, TaskError
from seamwise.evaluate import Evaluation, evaluate
from seamwise.fit import Watch, write
from seamwise.metrics import absolute_error
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.shapes import Float, NDArray
from seamwise.stage import EstimatorNet, as_tensor, load_weights
from seamwise.store import load_weights_folder, save_weights
from seamwise.task import Item, Task, load_task, read_item
from seamwise.training import Job
from seamwise.trial import REGIMES, FolderRecord, Regime, StageScore, read_record, storage_error, write_json
from seamwise.version import VERSION

FORMAT = 1  # of a model folder
FEWEST_ERRORS = 10  # for an interval
NOTHING = "nothing to train"


class ModelRecord(FolderRecord):
    """`model.json`: what a model is, and what it was made from."""

    task: str
    source: str  # to load the task again; empty where it came from memory
    variant: str
    regime: Regime
    budget: dict[str, int]
    seed: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    signature: str
    digest: str  # of the data
    validation_error: float
    stopped: str
    seconds: float
    notes: tuple[str, ...]
    validation_q90: float | None = None  # half an interval around the answer, see `conformal_q90`
    guess: float | None = None  # the trivial answer, where it is one number


@final
@dataclass(frozen=True)
class Model:
    """A trained chain of a task."""

    task: Task
    net: ChainNet = field(repr=False)
    record: ModelRecord

    @property
    def same_data(self) -> bool:
        """Whether the task's data are those the model was made from; else its test items may have trained it."""
        return self.record.digest == self.task.digest

    @property
    def same_chain(self) -> bool:
        """Whether the task's stages are those the model was made with."""
        return self.record.signature == self.task.signature[self.record.variant]

    def predict(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """All that the stages write for a batch of inputs, {field: [batch, ...]}. Raises ModelError."""
        missing = [name for name in self.record.inputs if name not in inputs]
        if missing:
            raise ModelError(
                f"this model reads {missing[0]!r}",
                given=", ".join(inputs) or "nothing",
                expected=", ".join(self.record.inputs),
                remedy="give that input, or train another variant (--variant) that does not read it",
            )
        for name in self.record.inputs:
            kind = np.asarray(inputs[name]).dtype
            if kind.kind not in "biuf":
                raise ModelError(f"the input {name!r} holds {kind}", expected="numbers")
        tensors = {name: as_tensor(inputs[name]) for name in self.record.inputs}
        if not all(len(t) for t in tensors.values()):
            raise ModelError("there is no item to answer for", given="inputs of length 0")
        return {name: v.numpy() for name, v in write(self.net, tensors, self.record.outputs).items()}

    def evaluate(self, split: str = "test") -> "Scores":
        """The model's error on a split of its task's supply."""
        result = evaluate(self.task, self.net, split)
        groups = self.task.supply.groups[result.items]
        return Scores(self, result, Bootstrap(groups).interval(result.errors[None].astype(np.float64)))

    def save(self, folder: str | Path) -> None:
        """Write the folder, whole or not at all; a model that is there is replaced. Raises StorageError."""
        weights = {f"{s}.{k}": v for s in self.net.nets for k, v in self.net.nets[s].state_dict().items()}
        estimators = {s: net.fitted for s, net in self.net.nets.items() if isinstance(net, EstimatorNet)}

        def fill(beside: Path) -> None:
            save_weights(beside, weights, estimators)
            write_json(beside / "model.json", self.record.model_dump(mode="json"))

        write_model_folder(folder, fill)


@final
@dataclass(frozen=True)
class Scores:
    """How a model does on a split."""

    model: Model = field(repr=False)
    result: Evaluation = field(repr=False)
    interval: Interval

    @property
    def stages(self) -> tuple[StageScore, ...]:
        return self.result.stages

    def flat(self) -> dict[str, Any]:
        """One level of keys, for machines."""
        record, told = self.model.record, self.interval
        flat: dict[str, Any] = {
            "task": record.task,
            "variant": record.variant,
            "regime": record.regime,
            "error": told.mean,
            "error_low": told.low,
            "error_high": told.high,
            "trivial": self.result.trivial,
            "unit": self.model.task.answer.unit,
            "n_items": len(self.result.items),
            "same_data": self.model.same_data,
            "same_chain": self.model.same_chain,
        }
        for s in self.stages:
            flat |= {f"{s.field}_error": s.error, f"{s.field}_error_on_gold_input": s.error_on_gold_input}
        return flat


def train(
    task: Task | str,
    regime: str = "tuned",
    labels: int | Mapping[str, int] | None = None,
    *,
    variant: str | None = None,
    seed: int = 0,
    stop_at: float | None = None,
    watch: Watch | None = None,
) -> Model:
    """Train one model.

    labels: how many of the answer's labels to use, or {field: how many}; of every other field, all there are.
    variant: the first by default. stop_at: stop when the answer's validation error is this low, else when it
    converges; a stage trained by its own labels always converges. Raises InputError, TrainingError.
    """
    loaded = load_task(task) if isinstance(task, str) else task
    named = _regime(regime)
    job = Job(
        loaded,
        _variant(loaded, named, variant),
        budget_of(loaded, labels),
        seed,
        stop_at=stop_at,
        watch=watch,
    )
    trained = REGIME_FUNCTIONS[named](job)
    checked = evaluate(loaded, trained.net, "validation")
    record = ModelRecord(
        format=FORMAT,
        version=VERSION,
        task=loaded.name,
        source=loaded.source,
        variant=job.variant,
        regime=named,
        budget=dict(job.budget),
        seed=seed,
        inputs=job.chain.inputs,
        outputs=tuple(o for stage in job.chain.stages for o in stage.outputs),
        signature=loaded.signature[job.variant],
        digest=loaded.digest,
        validation_error=checked.error,
        stopped=trained.trainings[-1].stopped if trained.trainings else NOTHING,
        seconds=sum(t.seconds for t in trained.trainings),
        notes=(*trained.notes, *(t.untrained for t in trained.trainings if t.untrained)),
        validation_q90=conformal_q90(checked.errors) if loaded.answer.metric is absolute_error else None,
        guess=_guess(loaded),
    )
    return Model(loaded, trained.net.eval(), record)


def conformal_q90(errors: Float[NDArray, " n"]) -> float | None:
    """How far, 9 times out of 10, an answer is from the truth at most, by absolute errors on n other items.

    None for fewer than ten items. Source: Lei et al. 2018, Distribution-free predictive inference for regression (split
    conformal). Differs: the validation items also chose the step at which training stopped, so that it is slightly
    too narrow.
    """
    if len(errors) < FEWEST_ERRORS:
        return None
    return float(np.sort(errors)[math.ceil(0.9 * (len(errors) + 1)) - 1])


def _guess(task: Task) -> float | None:
    rows = task.supply.rows("train", task.answer.field)
    if task.answer.metric is not absolute_error or not len(rows):
        return None
    guess = task.guess(task.supply.take([task.answer.field], rows)[task.answer.field])
    return float(guess) if guess.numel() == 1 else None


def budget_of(task: Task, labels: int | Mapping[str, int] | None) -> dict[str, int]:
    """{field: labels} with all the supply holds where nothing is asked. Raises SupplyError."""
    fields = {name for chain in task.variants.values() for name in task.targets(chain)}
    asked = {task.answer.field: int(labels)} if isinstance(labels, int | np.integer) else dict(labels or {})
    for name in asked:
        if name not in fields:
            raise TaskError(f"no labels of {name!r} to count", expected=f"one of {', '.join(sorted(fields))}")
    return {name: asked.get(name, task.supply.held(name)) for name in sorted(fields)}


def _regime(name: str) -> Regime:
    for regime in REGIMES:
        if regime == name:
            return regime
    raise TaskError(f"no regime {name!r}", expected=f"one of {', '.join(REGIMES)}")


def _variant(task: Task, regime: Regime, variant: str | None) -> str:
    there = task.directs if regime == "direct" else task.variants
    if not there:
        raise TaskError(f"task {task.name!r} has no direct network")
    if variant is not None and variant not in there:
        raise TaskError(f"no variant {variant!r} for {regime}", expected=f"one of {', '.join(there)}")
    return variant or next(iter(there))


def check_model_place(folder: Path) -> None:
    """Raises ModelError where a model cannot be put there, before anything is trained."""
    if folder.exists() and not (folder / "model.json").exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(
            f"{folder}: is there and no model folder", remedy="give another --out; nothing was overwritten"
        )
    if not os.access(next(p for p in [*folder.absolute().parents] if p.exists()), os.W_OK):
        raise ModelError(f"{folder}: its folder may not be written", remedy="give another --out")


def write_model_folder(folder: str | Path, fill: Callable[[Path], None]) -> None:
    """Make a model folder, whole or not at all; a model that is there is replaced. Raises ModelError, StorageError.

    fill: writes all files, `model.json` among them, into the new folder that it is given
    """
    folder = Path(folder).absolute()
    check_model_place(folder)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        fill(beside)
        replace_folder(beside, folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def load_model(folder: str | Path, task: Task | str | None = None) -> Model:
    """Read a model folder. task: where it is not given, the one that model.json names. Raises ModelError."""
    folder = Path(folder)
    record = record_of(folder)
    if task is None and not record.source:
        raise ModelError(
            f"{folder}: the task {record.task!r} came from memory", remedy="give it: load_model(folder, task)"
        )
    loaded = load_task(task or record.source) if not isinstance(task, Task) else task
    if loaded.name != record.task:
        raise ModelError(f"{folder}: a model of the task {record.task!r}", given=f"the task {loaded.name!r}")
    chain = loaded.chain_of(record.variant)
    written = {output for stage in chain.stages for output in stage.outputs}
    if not set(record.inputs) >= set(chain.inputs) or not set(record.outputs) <= written:
        given = f"{', '.join(record.inputs)} -> {', '.join(record.outputs)}"
        expected = f"{', '.join(chain.inputs)} -> {', '.join(sorted(written))}"
        raise ModelError(f"{folder}: made with other stages", given=given, expected=expected, remedy="train it again")
    net = chain.build(record.seed)
    try:
        weights, estimators = load_weights_folder(folder)
    except Exception as error:
        raise ModelError(f"{folder}: its weights cannot be read", given=f"{type(error).__name__}: {error}") from None
    for name, own in net.nets.items():
        mine = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
        if isinstance(own, EstimatorNet):
            if name not in estimators:
                remedy = "copy the whole folder again, or train it again"
                raise ModelError(
                    f"{folder}: no file {name}.skops", expected="an estimator of that stage", remedy=remedy
                )
            own.fitted = estimators[name]
        elif mine or own.state_dict():
            load_weights(f"{folder}, stage {name}", own, mine)
    return Model(loaded, net.eval(), record)


def replace_folder(new: Path, place: Path) -> None:
    """Rename a folder into place; what was there is gone once the new one is in place, not before."""
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def record_of(folder: Path) -> ModelRecord:
    """What `model.json` says. Raises ModelError."""
    path = folder / "model.json"
    try:
        if not path.is_file():
            raise ModelError(
                f"{folder}: no model folder", given="no model.json", expected="a folder that `train` wrote"
            )
        return read_record(path, ModelRecord, FORMAT, ModelError, "train it again, or use the version that wrote it")
    except OSError as error:
        given = error.strerror or str(error)
        raise ModelError(f"{folder}: cannot be read", given=given, expected="a folder that `train` wrote") from None


def answer_file(model: Model, path: Path) -> tuple[Item, Item]:
    """(the inputs in a file, all that the stages write for them), of one item. Raises InputError."""
    item = {name: np.asarray(values) for name, values in read_item(model.task, path).items()}
    written = model.predict({name: values[None] for name, values in item.items()})
    return item, {name: values[0] for name, values in written.items()}


def told(task: Task, written: Item) -> dict[str, Any]:
    """What a person is told of one item, in a form that JSON can hold."""
    answer = task.tell(written) if task.tell is not None else written[task.answer.field].tolist()
    return answer if isinstance(answer, dict) else {task.answer.field: answer}
