"""The commands about one model: train, eval, predict."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamwise.cli.options import Accelerator, Data, Json, ModelFolder, TaskName, World, aside, settings
from seamwise.errors import InputError, SeamwiseError, TaskError

if TYPE_CHECKING:
    from seamwise.model import Model
    from seamwise.task import Task


def train(
    task: TaskName,
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    regime: Annotated[str, typer.Option(help="independent, sequential, tuned, joint, endtoend or direct.")] = "tuned",
    labels: Annotated[
        list[str] | None, typer.Option(help="N of the answer's labels, or FIELD=N; repeatable; all by default.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="Of the chain, or which direct network; the first by default.")
    ] = None,
    stop_at: Annotated[
        float | None, typer.Option(help="Stop at this validation error; by default, when it converges.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the subset and the start.")] = 0,
    accelerator: Accelerator = None,
    devices: Annotated[int | None, typer.Option(help="How many to train on at once; the task's by default.")] = None,
    precision: Annotated[str | None, typer.Option(help="32-true or bf16-mixed; the task's by default.")] = None,
    data: Data = None,
    world: World = None,
    as_json: Json = False,
) -> None:
    """Train one model and write its folder.

    Example: seamwise train digits --regime tuned --labels 500 --out model/
    """
    from dataclasses import replace

    from seamwise.model import check_model_place
    from seamwise.model import train as train_model
    from seamwise.progress import TrainingProgress
    from seamwise.task import load_task

    check_model_place(out)
    loaded = load_task(task, data or (), settings("--world", world))
    given = {"accelerator": accelerator, "n_devices": devices, "precision": precision}
    loaded = loaded.with_fit(replace(loaded.fit, **{k: v for k, v in given.items() if v is not None}))  # type: ignore[arg-type]
    asked = _labels(loaded, labels or [])
    with TrainingProgress() as progress, aside(as_json):
        model = train_model(
            loaded,
            regime,
            asked,
            variant=variant,
            seed=seed,
            stop_at=stop_at,
            watch=progress.at,
        )
    if not progress.first_rank:
        return
    model.save(out)
    record = model.record
    if as_json:
        print(json.dumps({"model": str(out), **record.model_dump(mode="json")}))
        return
    print(f"{out}: {record.task}, {record.variant}, {record.regime}; {record.stopped} after {record.seconds:.0f} s")
    print(f"validation error {record.validation_error:.4f} ({model.task.answer.unit})")
    for note in record.notes:
        print(f"note: {note}")
    if stop_at is not None and record.validation_error > stop_at:
        print(f"the wanted {stop_at} was not reached on validation")


def evaluate(task: TaskName, model: ModelFolder, as_json: Json = False) -> None:
    """Score a model on the task's test items.

    Example: seamwise eval digits --model model/ --json

    On photographs of your own: seamwise eval gate --help
    """
    from seamwise.model import load_model

    with aside(as_json):
        loaded = load_model(model, task)
        _warn(loaded)
        scores = loaded.evaluate()
    if as_json:
        print(json.dumps(scores.flat()))
        return
    unit = scores.model.task.answer.unit
    print(f"error {scores.interval} ({unit}, 90 % interval) on {len(scores.result.items):,} test items")
    print(f"the trivial predictor's error: {scores.result.trivial:.3f}")
    for s in scores.stages:
        gold = "" if s.error_on_gold_input is None else f"; {s.error_on_gold_input:.3f} on gold input"
        print(f"  {s.stage}: {s.error:.3f} of {s.field!r} ({s.unit}){gold}")


def predict(
    task: TaskName,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pictures, or what the task reads.")],
    model: ModelFolder,
    draw: Annotated[Path | None, typer.Option(help="Folder for pictures of what was seen.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a model about files. A file that cannot be read is named, and the others go on.

    Example: seamwise predict digits --model model/ two-digits.png

    Photographs, videos, a camera: seamwise predict gate --help
    """
    from seamwise.model import answer_file, load_model, told

    with aside(as_json):
        loaded = load_model(model, task)
    _warn(loaded)
    n_failed = 0
    for path in files:
        try:
            with aside(as_json):
                item, written = answer_file(loaded, path)
                answer = told(loaded.task, written)
        except SeamwiseError as error:
            print(f"error: {error}" if str(path) in str(error) else f"error: {path}: {error}", file=sys.stderr)
            n_failed += 1
            continue
        print(json.dumps({"file": str(path), **answer}) if as_json else f"{path}: {_said(answer)}")
        if draw is not None:
            _draw(loaded.task, draw / f"{path.stem}.png", item, written)
    if n_failed:
        raise typer.Exit(2)


def _labels(task: "Task", asked: list[str]) -> dict[str, int]:
    labels = {}
    for text in asked:
        name, _, number = text.rpartition("=")
        if not re.fullmatch("[0-9]{1,15}", number):
            raise InputError(f"--labels {text}", expected="N, or FIELD=N with a whole number")
        labels[name or task.answer.field] = int(number)
    return labels


def _draw(task: "Task", path: Path, item: Any, written: Any) -> None:
    import cv2

    from seamwise.trial import storage_error, write_whole

    if task.draw is None:
        raise TaskError(f"task {task.name!r} draws no pictures", remedy="give it a `draw` function")
    _, encoded = cv2.imencode(".png", task.draw(item, written)[..., ::-1])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path.parent, error) from error
    write_whole(path, encoded.tobytes())


def _said(answer: dict[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in answer.items())


def _warn(model: "Model") -> None:
    """Say where a model and the task it is asked with have come apart."""
    if not model.same_data:
        print("warning: the task's data changed since training: its test items may have trained it", file=sys.stderr)
    if not model.same_chain:
        print("warning: the task's stages changed since training: the errors are the new ones'", file=sys.stderr)
