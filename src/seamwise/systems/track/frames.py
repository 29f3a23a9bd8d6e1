"""Frames from anywhere: a video file, a camera, or a folder of pictures."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np

from seamwise import pictures
from seamwise.errors import InputError
from seamwise.files import check_file, readable
from seamwise.pictures import SUFFIXES, coloured, extent, is_wide, opened, rgb, stretched, upright
from seamwise.shapes import NDArray, UInt8
from seamwise.video import SUFFIXES as VIDEOS
from seamwise.video import USUAL_FPS, Frame, Video, is_camera

N_GAPS_TOLD = 3
FULL_16_BIT = 65_535.0


@final
class VideoFrames:
    """The frames of a video file or a camera; what could be read counts, and `cut` and `end` say how it ended.

    Raises InputError where it cannot be opened, and when asked for frames where there is not one.
    """

    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __init__(self, source: str) -> None:
        self.source, self._begun = source, False
        self._video = Video(source)
        self.fps, self.n_frames = self._video.fps, self._video.n_frames

    def __iter__(self) -> Iterator[Frame]:
        if self._begun:
            self._video = Video(self.source)
        self._begun = True
        n_read = 0
        for frame in self._video.frames():
            yield frame
            n_read += 1
        if not n_read:
            remedy = "try another camera" if is_camera(self.source) else "copy it again, or save it as MP4"
            raise InputError(f"{self.source}: no frames", expected="at least one that can be read", remedy=remedy)

    @property
    def cut(self) -> bool:
        """Whether frames are missing at the end."""
        return self._video.cut

    @property
    def end(self) -> str:
        """How it ended."""
        return self._video.end


@final
class PictureFrames:
    """Pictures, one a frame; `numbers` and `names` are those of each, `warnings` say what is missing between them.

    Numbers start at 0 and follow the names: of 0001.jpg, 0002.jpg and 0005.jpg they are 0, 1 and 4. Where names have
    no such numbers, pictures are counted. A second lasts 25 frames. Grey of more than 8 bit is scaled for all frames
    as suits the first: from half its extent below its darkest value to half above its brightest.
    Raises InputError, when it comes to it, that names the picture that cannot be read; those before it were yielded.
    """

    fps = USUAL_FPS

    def __init__(self, source: str, paths: tuple[Path, ...]) -> None:
        self.source, self.paths = source, paths
        self.n_frames, self.names = len(paths), tuple(path.name for path in paths)
        self.numbers, self.warnings = _numbers(self.names)
        self._n_read = 0

    def __iter__(self) -> Iterator[Frame]:
        self._n_read = 0
        scale: tuple[float, float] | None = None
        for number, path in zip(self.numbers, self.paths, strict=True):
            picture, scale = _read(path, scale)
            self._n_read += 1
            yield Frame(number, number / self.fps, picture)

    @property
    def cut(self) -> bool:
        """Whether a picture could not be read."""
        return self._n_read < self.n_frames

    @property
    def end(self) -> str:
        """How it ended."""
        told = f"ended after {self._n_read:,} frames"
        return f"{told} of {self.n_frames:,}" if self.cut else told


Frames = VideoFrames | PictureFrames


def frames_of(source: str) -> Frames:
    """The frames of a video file, a folder of pictures, `camera` or `camera:1`; nothing of a folder is decoded yet.

    Raises InputError where there is no such thing, or it holds no frames.
    """
    path = Path(source)
    if is_camera(source):
        return VideoFrames(source)
    expected = "a video file, a folder of pictures, or camera"
    with readable(path):
        if source and path.is_dir():
            return PictureFrames(source, pictures_in(path))
        if not source or not path.exists():
            raise InputError(f"{source}: no such file or folder", expected=expected, remedy="check the name")
    if path.suffix.lower() in SUFFIXES:
        remedy = f"give the folder that it is in: {path.parent}"
        raise InputError(f"{source}: a single picture", expected=expected, remedy=remedy)
    return VideoFrames(source)


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The pictures in a folder, img2 before img10; other files are passed over. Raises InputError where none is."""
    found = listed_pictures(folder)
    if not found:
        raise InputError(
            f"{folder}: no pictures in it",
            given=_held(folder),
            expected="a folder with a picture a frame: " + " ".join(SUFFIXES),
            remedy=_instead(folder),
        )
    return found


def listed_pictures(folder: Path) -> tuple[Path, ...]:
    """The same, of which there may be none."""
    with readable(folder):
        found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
        return tuple(sorted((path for path in found if not path.is_dir()), key=by_nature))


def by_nature(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """What paths are sorted by, so that img2 comes before img10."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", path.name)
    return [(0, int(digits), "") if digits else (1, 0, word.casefold()) for digits, word in parts], path.name


def _held(folder: Path) -> str:
    with readable(folder):
        files = list(folder.iterdir())
    return f"{len(files):,} files and folders, none of them a picture" if files else "an empty folder"


def _instead(folder: Path) -> str:
    for inside in ("img", "color"):
        if (folder / inside).is_dir():
            return f"give the folder {folder / inside}"
    with readable(folder):
        videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEOS)
    return f"give the video {videos[0]}" if videos else "give the folder that the pictures are in"


def _numbers(names: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Each picture's number, from 0, and warnings.

    Where every tenth frame is there, no frame is missing between them; where digits mostly do not follow one another,
    as times of day do not, only the order counts.
    """
    counted, told = tuple(range(len(names))), np.array(numbered(names) or [])
    steps = np.diff(told)
    if not len(steps):
        return counted, ()
    step = int(steps.min())
    if step == 0:
        first = int(np.argmin(steps))
        given = f"{names[first]} and {names[first + 1]}"
        raise InputError(f"two pictures of frame {told[first]}", given=given, remedy="remove one of them")
    if np.mean(steps == step) < 0.5 or (steps % step).any():
        return counted, ("the numbers in the pictures' names do not follow one another; the pictures were counted",)
    numbers = tuple(int(number) for number in (told - told[0]) // step)
    return numbers, _missing(told.tolist(), step)


def numbered(names: tuple[str, ...]) -> list[int] | None:
    """The last number in each name, where names differ in nothing else; else None."""
    parts = [re.fullmatch(r"(.*?)([0-9]{1,18})([^0-9]*)", Path(name).stem) for name in names]
    if not all(parts) or len({(part[1], part[3]) for part in parts if part}) != 1:
        return None
    return [int(part[2]) for part in parts if part]


def _missing(told: list[int], step: int) -> tuple[str, ...]:
    gaps = [(a + step, b - step) for a, b in pairwise(told) if b > a + step]
    n_missing = sum((b - a) // step + 1 for a, b in gaps)
    if not gaps:
        return ()
    words = [f"{a}" if a == b else f"{a} to {b}" for a, b in gaps[:N_GAPS_TOLD]]
    more = f" and others, {n_missing:,} in all," if len(gaps) > N_GAPS_TOLD else ""
    one = n_missing == 1
    return (f"{'frame' if one else 'frames'} {', '.join(words)}{more} {'is' if one else 'are'} missing",)


def _read(
    path: Path, scale: tuple[float, float] | None
) -> tuple[UInt8[NDArray, "height width 3"], tuple[float, float] | None]:
    """A picture, and the values of black and white for the pictures that follow, where it has more than 8 bit."""
    check_file(path)
    with opened(path) as image:
        pictures.check_size(path, *image.size)
        image = upright(image)
        if not is_wide(image):
            return rgb(image), scale
        grey = np.array(image, dtype=np.float32)
        scale = scale or _room(*extent(grey))
        return coloured(stretched(grey, scale)), scale


def _room(low: float, high: float) -> tuple[float, float]:
    """Black and white with room for darker and brighter frames, within what 16 bit hold where both are."""
    half = (high - low) / 2 if high > low else max(abs(high), 1.0)
    wide_low, wide_high = low - half, high + half
    if low >= 0 and 1 < high <= FULL_16_BIT:
        return max(wide_low, 0.0), min(wide_high, FULL_16_BIT)
    return wide_low, wide_high


def check_size(frame: Frame, height_width: tuple[int, int], source: str = "") -> None:
    """Raises InputError where a frame has not the size of those before it."""
    height, width = frame.picture.shape[:2]
    if (height, width) != height_width:
        raise InputError(
            f"{source or 'video'}, frame {frame.number}: of another size",
            given=f"{width:,} x {height:,} px",
            expected=f"{height_width[1]:,} x {height_width[0]:,} px, as the frames before it",
            remedy="cut the film there, or scale its frames to one size",
        )
