"""Moving pictures in, from a file or a camera, and out, with what the gate decided drawn on them."""

import math
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, final

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from seamwise.errors import InputError, StorageError
from seamwise.shapes import NDArray
from seamwise.systems.gate.gate import Decision, Square
from seamwise.trial import storage_error

SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".mjpeg", ".mjpg")
USUAL_FPS = 25.0
LONGEST_NAME = 24  # letters, as drawn
OPEN, CLOSED, OTHER = (40, 160, 60), (210, 50, 40), (70, 130, 220)


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
        self._n_read = 0
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
                    yield Frame(number, number / self.fps, _rgb(picture))
                self._n_read += 1
        finally:
            self._capture.release()

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
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        given = f"{path.stat().st_size:,} bytes"
        remedy = "copy it again from where it came from, or save it as MP4"
        raise InputError(f"{path}: no video that can be read", given=given, expected=" ".join(SUFFIXES), remedy=remedy)
    return capture


def _rgb(picture: UInt8[NDArray, "*shape"]) -> UInt8[NDArray, "height width 3"]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB))


def draw(photo: UInt8[NDArray, "height width 3"], decision: Decision) -> UInt8[NDArray, "height width 3"]:
    """The picture with every face boxed and named, and OPEN or CLOSED above them."""
    picture = Image.fromarray(photo)
    ink = ImageDraw.Draw(picture)
    colour = OPEN if decision.open else CLOSED
    size = max(12, round(min(photo.shape[:2]) / 24))
    font = ImageFont.load_default(size)
    for k, face in reversed(list(enumerate(decision.faces))):
        tone = colour if k == 0 else OTHER
        _square(ink, face.box, tone, max(1, size // 8))
        name = unicodedata.normalize("NFC", face.who or "stranger")
        name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        label = f"{name} {face.score:.2f}" if math.isfinite(face.score) else name
        _label(ink, (face.box[0], face.box[1] - 1.4 * size), label, tone, font)
    _label(ink, (0, 0), "OPEN" if decision.open else f"CLOSED: {decision.reason}", colour, font)
    return np.array(picture)


def _square(ink: ImageDraw.ImageDraw, box: Square, colour: tuple[int, int, int], width: int) -> None:
    x, y, side = box
    ink.rectangle((x, y, x + side, y + side), outline=colour, width=width)


def _label(
    ink: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int], font: Any
) -> None:
    """White words on a ground of the colour, within the picture where that is wide enough."""
    _, _, right, bottom = ink.textbbox((0, 0), text, font=font)
    width, height = ink.im.size
    x, y = max(0, min(at[0], width - right - 4)), max(0, min(at[1], height - bottom - 4))
    ink.rectangle((x, y, x + right + 4, y + bottom + 4), fill=colour)
    ink.text((x + 2, y + 2), text, fill=(255, 255, 255), font=font)


@final
class VideoFile:
    """A video that is written frame by frame; a frame of another size is scaled to the first one's."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self._fps = path, min(max(fps, 1.0), 120.0)
        self._writer: Any = None

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.release()

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
        self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
        if not self._writer.isOpened():
            raise StorageError(f"{self.path}: cannot be written", remedy="choose another --out")
