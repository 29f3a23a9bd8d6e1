"""Photographs, face boxes, the London set and weights of the gate, with faults put into them."""

from functools import cache
from io import BytesIO

import numpy as np
import pytest
from fuzzing import FOLDER, Reader, never_breaks
from PIL import Image

from seamwise.pictures import picture_size, read_photo
from seamwise.systems.digits.pictures import read_picture
from seamwise.systems.gate.london import INFO, LANDMARKS, _genders, _landmarks
from seamwise.systems.gate.photos import check_box, find_people, read_boxes
from seamwise.systems.gate.sight import WEIGHTS, load_sight

BOXES = (
    b"person,image,x,y,w,h\nann,1.jpg,3,4,30,30\nbob,2,0,0,64,48\n",
    "\ufeffimage,person,x,y,w,h,eye1_x,eye1_y,eye2_x,eye2_y,note\r\n"
    '"1, 2.jpg","Ann ""A""",3,4.5,30,30,10,10,20,10,\r\nx,y,1,1,9,9,,,,,ok\r\n'.encode(),
)
GENDERS = b"face_id,face_gender,face_age\n001,female,24\n002,male,30\n"


def boxes_are_whole(boxes):
    for (person, image), box in boxes.items():
        assert person
        assert image
        assert np.isfinite([box.x, box.y, box.width, box.height]).all()
        assert min(box.width, box.height) > 0
        assert box.eyes is None or np.isfinite(box.eyes).all()


def checked_boxes(folder):
    boxes = read_boxes(folder / "boxes.csv")
    for box in boxes.values():
        check_box(box, (48, 64, 3), str(folder / "boxes.csv"))
    return boxes


def npz(**arrays):
    out = BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@cache
def landmarks():
    points = np.random.default_rng(0).uniform(0, 500, (2, 189, 2))
    return npz(**{"001": points[0], "002": points[1]})


def landmarks_are_whole(marks):
    assert len(marks) > 1
    assert all(points.shape == (189, 2) and np.isfinite(points).all() for points in marks.values())


@cache
def photo(kind):
    out = BytesIO()
    shades = np.random.default_rng(0).integers(0, 255, (20, 26, 4)).astype(np.uint8)
    if kind == "float":
        Image.fromarray(shades[..., 0].astype(np.float32)).save(out, "TIFF")
    elif kind == "palette":
        Image.fromarray(shades[..., :3]).quantize(16).save(out, "GIF", transparency=0)
    elif kind == "turned":
        notes = Image.Exif()
        notes[0x0112] = 6
        Image.fromarray(shades[..., :3]).save(out, "JPEG", exif=notes)
    else:
        Image.fromarray(shades if kind in ("PNG", "WEBP", "TIFF") else shades[..., :3]).save(out, kind)
    return out.getvalue()


PHOTOS = ("PNG", "WEBP", "TIFF", "JPEG", "BMP", "PPM", "JPEG2000", "float", "palette", "turned")


def claiming(width, height):
    """A PNG whose head says that it is so large."""
    import struct
    import zlib

    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


LARGE = (
    claiming(60_000, 60_000),
    claiming(30_000, 30_000),
    claiming(2**31 - 1, 1),
    claiming(0, 0),
    claiming(9000, 9000),
)


def read_both(folder):
    picture, size = read_photo(folder / "photo.jpg"), picture_size(folder / "photo.jpg")
    assert picture.shape[:2] == size
    return picture


def photo_is_whole(picture):
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 16


def digits_are_whole(item):
    assert item["image"].shape == (1, 20, 32)
    assert item["image"].dtype == np.float32
    assert ((item["image"] >= 0) & (item["image"] <= 1)).all()


def put_people(folder):
    for name in ("ann", "bob"):
        (folder / name).mkdir()
        (folder / name / "1.jpg").write_bytes(name.encode() + photo("JPEG"))


def people_are_whole(people):
    assert [person.name for person in people] == sorted({person.name for person in people})


READERS = (
    Reader("boxes of faces", "boxes.csv", lambda: BOXES, checked_boxes, boxes_are_whole, n_examples=150),
    Reader(
        "landmarks of the London set", LANDMARKS, lambda: [landmarks()], _landmarks, landmarks_are_whole,
        kinds=("npz",),
    ),
    Reader("genders of the London set", INFO, lambda: [GENDERS], _genders),
    Reader(
        "a photograph", "photo.jpg", lambda: [photo(kind) for kind in PHOTOS], read_both, photo_is_whole, kinds=(),
        found=LARGE, n_examples=200,
    ),
    Reader(
        "a picture of digits", "digits.png", lambda: [photo(kind) for kind in ("PNG", "JPEG", "BMP", "PPM")],
        lambda f: read_picture(f / "digits.png"), digits_are_whole, kinds=(), found=LARGE, n_examples=80,
    ),
    Reader(
        "people", "bob/1.jpg", lambda: [photo("JPEG")], find_people, people_are_whole, put_people, (), n_examples=20,
    ),
    Reader(
        "weights of the gate", "w", lambda: [WEIGHTS.read_bytes()], lambda f: load_sight(f / "w"),
        kinds=("safetensors",), n_examples=15,
    ),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_photographs_are_read_or_refused(reader, tmp_path):
    never_breaks(reader, tmp_path / FOLDER)
