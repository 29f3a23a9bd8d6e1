"""Moving pictures in, from a file or a camera, and out."""

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, final

import cv2
import numpy as np

from seamwise.arrays import NDArray, UInt8
from seamwise.errors import InputError, StorageError
from seamwise.trial import storage_error

SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".mjpeg", ".mjpg")
USUAL_FPS = 25.0


def is_camera(source: str) -> bool:
    """Whether `camera` or `camera:N` is meant."""
    return source == "camera" or source.startswith("camera:")


@final
@dataclass(frozen=True)
class Frame:
    """One picture of a video, the first is 0."""

    number: int
    time_s: float
    picture: UInt8[NDArray, "height width 3"]


@final
class Video:
    """The frames of a video file, or of a camera: `camera` or `camera:1`.

    Raises InputError where there is no such camera or file, or it is no video. `end` says how it ended, once it has;
    `cut` is true where it ended too early.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._capture: Any = _camera(source) if is_camera(source) else _file(Path(source))
        self._n_read, self._last_s = 0, -math.inf
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else USUAL_FPS
        told = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.n_frames = int(told) if not is_camera(source) and 0 < told < 1e9 else None

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Every n-th frame. The file or camera is let go of at the end, and where nobody asks on."""
        try:
            while self._capture.grab():
                number = self._n_read
                if number % every == 0:
                    there, picture = self._capture.retrieve()
                    if not there:
                        break
                    yield Frame(number, self._time_s(number), _rgb(picture))
                self._n_read += 1
        finally:
            self._capture.release()

    def _time_s(self, number: int) -> float:
        """As the file tells, for the rate may vary; by the rate where it does not, or tells what cannot be."""
        told = float("nan") if is_camera(self.source) else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        later = math.isfinite(told) and told > self._last_s
        self._last_s = told if later else number / self.fps
        return self._last_s

    @property
    def cut(self) -> bool:
        """Whether frames are missing at the end; counts in files are often one or two off."""
        if is_camera(self.source) or not self._n_read:
            return True
        return self.n_frames is not None and self._n_read < self.n_frames - max(2, 0.02 * self.n_frames)

    @property
    def end(self) -> str:
        """How it ended."""
        if is_camera(self.source):
            return f"the camera gave no more pictures after {self._n_read:,}"
        if self.cut:
            return f"cut short or damaged: {self._n_read:,} of {self.n_frames or 0:,} frames could be read"
        return f"ended after {self._n_read:,} frames"


def _quiet() -> None:
    """OpenCV and FFmpeg without what they print: everything that matters is told in our words."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _camera(source: str) -> Any:
    number = source.partition(":")[2] or "0"
    if not re.fullmatch("[0-9]{1,3}", number):
        raise InputError(f"no camera {number!r}", given=source, expected="camera, or camera:1 for the second")
    _quiet()
    capture = cv2.VideoCapture(int(number))
    if not capture.isOpened():
        remedy = "plug it in, end what else uses it, allow its use, or try camera:1"
        raise InputError(f"{source}: no such camera, or it cannot be used", remedy=remedy)
    return capture


def _file(path: Path) -> Any:
    if not path.is_file():
        given = "a folder" if path.is_dir() else ""
        raise InputError(f"{path}: no such video", given=given, expected="a video file, or camera")
    _quiet()
    capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)  # FFmpeg takes 12:30.mp4 for a protocol
    if not capture.isOpened():
        given = f"{path.stat().st_size:,} bytes"
        remedy = "copy it again from where it came from, or save it as MP4"
        raise InputError(f"{path}: no video that can be read", given=given, expected=" ".join(SUFFIXES), remedy=remedy)
    return capture


def _rgb(picture: UInt8[NDArray, "*shape"]) -> UInt8[NDArray, "height width 3"]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB))


@final
class VideoFile:
    """A video that is written frame by frame; a frame of another size is scaled to the first one's.

    It is written beside its place and moved there at the end, also where an error or Ctrl-C ends it: what is under
    its name can always be played, and an earlier file stays until then.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self._fps = path, min(max(fps, 1.0), 120.0)
        self._beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
        self._writer: Any = None

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is None:
            return
        self._writer.release()
        try:
            self._beside.replace(self.path)
        except OSError as wrong:
            with suppress(OSError):
                self._beside.unlink(missing_ok=True)
            raise storage_error(self.path, wrong) from wrong

    def add(self, picture: UInt8[NDArray, "height width 3"]) -> None:
        """Write one more frame. Raises StorageError."""
        if self._writer is None:
            self._open(picture.shape[1], picture.shape[0])
        self._writer.write(cv2.cvtColor(cv2.resize(picture, self._size), cv2.COLOR_RGB2BGR))

    def _open(self, width: int, height: int) -> None:
        self._size = (width - width % 2 or 2, height - height % 2 or 2)  # players want even sides
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self.path.parent, error) from error
        _quiet()
        beside = str(self._beside.absolute())
        writer = cv2.VideoWriter(beside, cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
        if not writer.isOpened():
            with suppress(OSError):
                self._beside.unlink(missing_ok=True)
            raise StorageError(f"{self.path}: cannot be written", remedy="choose another name or folder")
        self._writer = writer
