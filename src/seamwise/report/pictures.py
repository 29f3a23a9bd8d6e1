"""Example pictures: what was written for some test items, right and wrong, drawn by the task."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import cv2
import numpy as np

from seamwise.advice.numbers import full_name, in_panel_order, n_decimals
from seamwise.items import Items
from seamwise.runs import Study
from seamwise.shapes import Float, NDArray
from seamwise.task import Task
from seamwise.trial import Trial

WIDEST_PX = 320  # wider pictures are made smaller
LARGEST_PNG = 40_000  # bytes; larger ones (photographs) become JPEG
MOST_BYTES = 3_000_000  # of all pictures together; beyond that each row shows fewer items


@final
@dataclass(frozen=True)
class Picture:
    """One test item. url: `data:image/...`; verdict: "right", "wrong", or its error."""

    item: int
    url: str
    verdict: str


@final
@dataclass(frozen=True)
class Examples:
    """A row's pictures, or why there are none."""

    name: str
    pictures: tuple[Picture, ...]
    problem: str = ""


def examples(study: Study, task: Task) -> list[Examples]:
    """Of every row, at the largest budget and the first seed; empty where the task draws nothing."""
    n = study.compared_at
    if task.draw is None or n is None:
        return []
    firsts = (min(trials, key=lambda t: t.seed) for row in in_panel_order(study) if (trials := study.at(row, n)))
    return _fewer([_examples(study, task, trial) for trial in firsts])


def _examples(study: Study, task: Task, trial: Trial) -> Examples:
    name = full_name(study, trial.row)
    try:
        return Examples(name, tuple(_draw_all(study, task, trial)))
    except Exception as error:  # draw is the user's: what it raises is said in its place
        return Examples(name, (), f"{type(error).__name__}: {error}")


def _draw_all(study: Study, task: Task, trial: Trial) -> Iterator[Picture]:
    assert task.draw is not None
    kept = study.items(trial)
    written, items, known = (_of(kept, kind) for kind in ("shown.", "item.", "known."))
    for i, at in enumerate(kept["shown"].tolist()):
        item = {f: v[i] for f, v in items.items() if f not in known or known[f][i]}
        picture = task.draw(item, {f: v[i] for f, v in written.items()})
        yield Picture(int(kept["item"][at]), data_url(picture), verdict(study, kept["error"], at))


def _of(kept: Items, kind: str) -> dict[str, NDArray]:
    return {name.removeprefix(kind): kept[name] for name in kept if name.startswith(kind)}


def verdict(study: Study, errors: Float[NDArray, " items"], i: int) -> str:
    """In words where every item is right or wrong, else as a number with its unit."""
    if np.isin(errors, (0, 1)).all():
        return "wrong" if errors[i] else "right"
    return f"error {errors[i]:.{n_decimals(study.record.trivial)}f} {study.record.unit}".rstrip()


def data_url(drawn: object) -> str:
    """What `draw` returned, for a page. Raises ValueError where it is no uint8 [height, width, 3]."""
    picture = np.asarray(drawn)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"draw returned {picture.dtype} {list(picture.shape)}, expected uint8 [height, width, 3]")
    if picture.shape[1] > WIDEST_PX:
        height = max(1, round(picture.shape[0] * WIDEST_PX / picture.shape[1]))
        picture = np.asarray(cv2.resize(picture, (WIDEST_PX, height), interpolation=cv2.INTER_AREA))
    bgr = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    kind, encoded = "png", cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    if len(encoded) > LARGEST_PNG:
        kind, encoded = "jpeg", cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _fewer(rows: Sequence[Examples]) -> list[Examples]:
    """As many items of every row as fit into MOST_BYTES together, at least one."""
    n = max((len(row.pictures) for row in rows), default=0)
    while n > 1 and sum(len(p.url) for row in rows for p in row.pictures[:n]) > MOST_BYTES:
        n -= 1
    return [Examples(row.name, row.pictures[:n], row.problem) for row in rows]
