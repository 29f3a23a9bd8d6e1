"""One pass of a tracker over frames: told where the object is in the first, it says where it is in the others."""

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from seamwise.errors import InputError
from seamwise.shapes import Bool, Float, NDArray, UInt8
from seamwise.systems.track.frames import check_size
from seamwise.trial import write_whole
from seamwise.video import Frame

SAVE_EVERY_S, SAVE_SHARE = 10.0, 0.02  # at most this share of the time goes into saving
COLUMNS = ("frame", "time_s", "x", "y", "w", "h", "confidence", "state")


@runtime_checkable
class Follows(Protocol):
    """What follows an object: a `Tracker`, or another that can be asked the same."""

    @property
    def lost(self) -> bool: ...
    def start(self, frame: UInt8[NDArray, "height width 3"], box: Float[NDArray, "4"]) -> None: ...
    def next(self, frame: UInt8[NDArray, "height width 3"]) -> tuple[Float[NDArray, "4"], float]: ...


@final
@dataclass(frozen=True)
class Seen:
    """Where the object is in a frame. seconds: that the tracker took; reading_s: until the frame was there."""

    frame: Frame
    box: Float[NDArray, "4"]
    score: float
    lost: bool
    seconds: float
    reading_s: float


@final
@dataclass(frozen=True)
class Track:
    """One pass. size: the frames' width and height in px. seconds: the tracker's, without reading the frames."""

    boxes: Float[NDArray, "n 4"]
    scores: Float[NDArray, " n"]
    lost: Bool[NDArray, " n"]
    size: tuple[int, int]
    seconds: float
    reading_s: float


def record(seen: Seen) -> dict[str, Any]:
    """One frame for machines, by `COLUMNS`: px of two decimals, None where there is no box."""
    place = [round(float(v), 2) if np.isfinite(v) else None for v in seen.box]
    confidence = round(seen.score, 4) if np.isfinite(seen.score) else None
    state = "lost" if seen.lost else "tracked"
    told = (seen.frame.number, round(seen.frame.time_s, 4), *place, confidence, state)
    return dict(zip(COLUMNS, told, strict=True))


def csv_line(values: Iterable[Any]) -> str:
    """One line of a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


@final
class BoxesFile:
    """A CSV file of what was seen, frame by frame.

    It is written whole every time: at the first frame, now and then, and at the end, whatever ended it. Without a frame
    nothing is written, and an earlier file stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = [csv_line(COLUMNS)]
        self._next_s = 0.0

    def __enter__(self) -> "BoxesFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if len(self._lines) > 1:
            self._save()

    def add(self, seen: Seen) -> None:
        """One more frame. Raises StorageError."""
        self._lines.append(csv_line(record(seen).values()))
        if time.monotonic() >= self._next_s:
            began = time.monotonic()
            self._save()
            now = time.monotonic()
            self._next_s = now + max(SAVE_EVERY_S, (now - began) / SAVE_SHARE)

    def _save(self) -> None:
        write_whole(self._path, "".join(self._lines).encode())


def follow(tracker: Follows, frames: Iterable[Frame], box: Float[NDArray, "4"], source: str = "") -> Iterator[Seen]:
    """Where the object is, frame by frame; in the first it is where it was told to be, with a score of 1.

    source: what the frames are called where one is wrong.

    Raises InputError where the box does not fit the first frame, or a frame has another size than those before it.
    """
    size: tuple[int, int] | None = None
    began = time.perf_counter()
    for frame in frames:
        there = time.perf_counter()
        if size is None:
            size = frame.picture.shape[:2]
            tracker.start(frame.picture, box)
            found, score, lost = box, 1.0, False
        else:
            check_size(frame, size, source)
            found, score = tracker.next(frame.picture)
            lost = tracker.lost
        done = time.perf_counter()
        yield Seen(frame, np.array(found, dtype=np.float64), float(score), bool(lost), done - there, there - began)
        began = time.perf_counter()


def run(
    tracker: Follows,
    frames: Iterable[Frame],
    box: Float[NDArray, "4"],
    watch: Callable[[Seen], None] = lambda seen: None,
    source: str = "",
) -> Track:
    """One whole pass. watch: is told of every frame. Raises InputError as `follow` does, or without a frame."""
    boxes, scores, lost, seconds, reading_s = [], [], [], 0.0, 0.0
    for seen in follow(tracker, frames, box, source):
        boxes.append(seen.box)
        scores.append(seen.score)
        lost.append(seen.lost)
        seconds += seen.seconds
        reading_s += seen.reading_s
        height, width = seen.frame.picture.shape[:2]
        watch(seen)
    if not boxes:
        raise InputError("no frames: there is nothing to follow the object in")
    return Track(np.array(boxes), np.array(scores), np.array(lost), (width, height), seconds, reading_s)
