"""Annotated sequences, videos, weights of trackers, with faults put into them."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from fuzzing import FOLDER, Reader, file_of, never_breaks
from PIL import Image

from seamwise.errors import InputError
from seamwise.systems.track.folders import check_scored, frames_of_sequence, sequences_of
from seamwise.systems.track.frames import frames_of
from seamwise.systems.track.presets import PRESETS
from seamwise.systems.track.published import Network, load_preset, save_preset
from seamwise.systems.track.truth import read_boxes, read_lines
from seamwise.video import VideoFile

OTB = b"5,7,10,12\n6\t7\t10\t12\n7 8 11 12.5\nNaN,NaN,NaN,NaN\n"
GOT = b"5.0,7.0,10.0,12.0\n6,7,10,12\n7,8,0,0\n-1,-1,-1,-1\n"
VOT = b"5,7,15,7,15,19,5,19\n5;7;10;12\n7,8,11,12.5\n0,0,0,0\n"
LARGEST_PX = 1e9


def boxes_are_whole(boxes):
    """Finite and of a size, or absent as a whole; the first is there."""
    known = np.isfinite(boxes)
    assert boxes.ndim == 2
    assert boxes.shape[1] == 4
    assert (known.all(1) | np.isnan(boxes).all(1)).all()
    assert known[0].all()
    assert (boxes[known.all(1)][:, 2:] > 0).all()
    assert (np.abs(boxes[known]) <= LARGEST_PX).all()


def of_style(style, content):
    """A file of boxes, in a folder where a sequence may be too."""
    return Reader(
        f"boxes, {style}", "groundtruth.txt", lambda: [content], lambda f: read_boxes(f / "groundtruth.txt", style),
        boxes_are_whole, n_examples=100,
    )  # fmt: skip


def png(width=40, height=30, mode="L"):
    def save(path):
        path.mkdir()
        noise = np.random.default_rng(0).integers(0, 255, (height, width))
        Image.fromarray(noise.astype(np.uint16 if mode == "I;16" else np.uint8)).save(path / "1.png")

    return file_of(save, "1.png")


def put_pictures(folder, n=4, within="."):
    (folder / within).mkdir(exist_ok=True)
    for k in range(1, n + 1):
        (folder / within / f"{k:08d}.png").write_bytes(png())


def put_otb(folder):
    put_pictures(folder, within="img")


def put_got(folder):
    put_pictures(folder)
    (folder / "groundtruth.txt").write_bytes(GOT)


def put_listed(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        put_got(folder / name)


def sequences(folder):
    found = sequences_of([folder])
    for sequence in found:
        assert len(sequence.frames) == len(sequence.boxes) or len(sequence.boxes) == 1
        boxes_are_whole(sequence.boxes)
    return found


def frames_are_read(found):
    for sequence in found:
        try:
            check_scored([sequence])
        except InputError:
            continue
        assert len(list(frames_of_sequence(sequence))) == len(sequence.frames)


def frames(folder):
    return [frame.picture for frame in frames_of(str(folder / "img"))]


def film(folder):
    return [frame.picture for frame in frames_of(str(folder / "film.mp4"))]


def pictures_are_whole(found):
    assert found
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in found)


@cache
def mp4(suffix=".mp4"):
    def save(path):
        path.mkdir()
        with VideoFile(path / f"film{suffix}", 25) as file:
            for k in range(6):
                file.add(np.full((32, 48, 3), 40 * k, dtype=np.uint8))

    return file_of(save, f"film{suffix}")


@cache
def preset():
    name = next(iter(PRESETS))

    def save(path: Path):
        path.mkdir()
        save_preset(path / "w", Network(PRESETS[name]), {"seed": "0"})

    return file_of(save, "w")


READERS = (
    of_style("otb", OTB),
    of_style("got10k", GOT),
    of_style("vot", VOT),
    Reader(
        "labels of absence", "absence.label", lambda: [b"0\n0\n1\n0\n"],
        lambda f: read_boxes(f / "groundtruth.txt", "got10k"), boxes_are_whole, beside=put_got,
    ),
    Reader(
        "a sequence of OTB", "groundtruth_rect.txt", lambda: [OTB], sequences, frames_are_read, beside=put_otb,
        named=FOLDER, n_examples=40,
    ),
    Reader(
        "a list of sequences", "list.txt", lambda: [b"a\nb\n"], sequences, frames_are_read, beside=put_listed,
        named=FOLDER, n_examples=40,
    ),
    Reader("lines", "lines.txt", lambda: [OTB], lambda f: read_lines(f / "lines.txt")),
    Reader(
        "a folder of frames", "img/00000002.png", lambda: [png(), png(mode="I;16")], frames, pictures_are_whole,
        beside=put_otb, kinds=(), n_examples=60,
    ),
    Reader(
        "a video", "film.mp4", lambda: [mp4()], film, pictures_are_whole, kinds=(), n_examples=30,
    ),
    Reader(
        "weights of a published tracker", "w", lambda: [preset()], lambda f: load_preset(f / "w"),
        kinds=("safetensors",), n_examples=15,
    ),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_sequences_are_read_or_refused(reader, tmp_path):
    cv2.setNumThreads(1)
    never_breaks(reader, tmp_path / FOLDER)
