import os
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from seamwise.errors import InputError
from seamwise.systems.gate.photos import Box, check_box, find_people, photo_key, read_boxes, read_photo

FACES = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "faces"
COLOURS = np.zeros((20, 30, 3), dtype=np.uint8)
COLOURS[:10, :15], COLOURS[:10, 15:], COLOURS[10:, :15], COLOURS[10:, 15:] = (250, 0, 0), (0, 250, 0), (0, 0, 250), 200
HEADER = "person,image,x,y,w,h\n"


def save(path, picture, **options):
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def huge_png(path, width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_a_picture_is_read_as_it_was_saved(tmp_path, suffix):
    assert np.array_equal(read_photo(save(tmp_path / f"a.{suffix}", COLOURS)), COLOURS)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA", "RGBA"])
def test_every_mode_becomes_red_green_and_blue(tmp_path, mode):
    picture = Image.fromarray(COLOURS).convert(mode)
    read = read_photo(save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"), picture))
    assert np.array_equal(read, np.array(picture.convert("RGB")))
    assert read.flags.writeable


def test_a_jpeg_of_four_inks(tmp_path):
    read = read_photo(save(tmp_path / "a.jpg", Image.new("CMYK", (40, 40), (0, 255, 255, 0)), quality=95))
    assert read.mean((0, 1)) == pytest.approx([255, 0, 0], abs=6)


def test_what_is_transparent_turns_white(tmp_path):
    clear = np.dstack([COLOURS, np.full((20, 30), 255, dtype=np.uint8)])
    clear[:10, :, 3], clear[10:, :15, 3] = 0, 51
    read = read_photo(save(tmp_path / "a.png", clear))
    assert (read[:10] == 255).all()
    assert read[15, 5].tolist() == [204, 204, 254]
    palette = save(tmp_path / "p.gif", Image.fromarray(COLOURS).convert("P", palette=Image.Palette.ADAPTIVE))
    with Image.open(palette) as image:
        read = read_photo(save(tmp_path / "p.png", image.copy(), transparency=image.getpixel((0, 0))))
    assert (read[:10, :15] == 255).all()
    assert read[15, 20].tolist() == [200, 200, 200]


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("top", [800, 60_000])
def test_grey_of_many_bits_is_stretched_and_not_cut(tmp_path, kind, top):
    ramp = np.linspace(100, top, 20 * 30).reshape(20, 30).astype(kind)
    read = read_photo(save(tmp_path / ("a.png" if kind == np.uint16 else "a.tif"), ramp))
    assert (read[..., 0] == read[..., 2]).all()
    assert np.abs(read[..., 1] - np.linspace(0, 255, 600).reshape(20, 30)).max() < 1.2
    assert (read_photo(save(tmp_path / "flat.tif", np.full((20, 30), top, dtype=kind))) == 0).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_set_upright(tmp_path, suffix, orientation):
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](COLOURS)
    exif = Image.Exif()
    exif[274] = orientation
    read = read_photo(save(tmp_path / f"a.{suffix}", np.ascontiguousarray(stored), exif=exif))
    assert read.shape == COLOURS.shape
    assert np.abs(read.astype(int) - COLOURS)[[5, 5, 15, 15], [5, 25, 5, 25]].max() < 30  # a JPEG is about right


def test_notes_that_cannot_be_read_do_not_spoil_a_photograph(tmp_path):
    for notes in (b"Exif\0\0rubbish", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0"):
        assert read_photo(save(tmp_path / "a.jpg", COLOURS, exif=notes)).shape == (20, 30, 3)


def test_no_photographs_are_refused_by_name(tmp_path):
    (tmp_path / "text.jpg").write_text("<html>not found")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    for name, told in {
        "none.jpg": "no such file",
        ".": "a folder",
        "empty.jpg": "0 bytes",
        "text.jpg": "starts with b'<html>not fo'",
        "link.jpg": "leads nowhere",
    }.items():
        with pytest.raises(InputError, match=told) as caught:
            read_photo(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "expected" in str(caught.value)
        assert "remedy" in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "gif", "tif"])
def test_a_cut_photograph_is_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = save(tmp_path / f"a.{suffix}", noise).read_bytes()
    (tmp_path / f"b.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"b\.{suffix}: (cut short or damaged|no picture)"):
        read_photo(tmp_path / f"b.{suffix}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["png", "jpg", "tif", "gif"]), st.data())
def test_a_damaged_photograph_is_read_or_refused(tmp_path, suffix, data):
    whole = bytearray(save(tmp_path / f"a.{suffix}", COLOURS).read_bytes())
    for _ in range(3):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / f"b.{suffix}").write_bytes(whole)
    with suppress(InputError):
        assert read_photo(tmp_path / f"b.{suffix}").shape[2] == 3


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    path, limit = huge_png(tmp_path / "a.png", 20_000, 20_000), Image.MAX_IMAGE_PIXELS
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"20,000 x 20,000 px \(400\.0 megapixels\)"):
        read_photo(path)
    assert time.perf_counter() - start < 0.5  # decoding it takes many seconds
    assert limit == Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match="cut short"):  # within the limit, above the one at which Pillow warns
        read_photo(huge_png(tmp_path / "b.png", 9_990, 10_000))
    with pytest.raises(InputError, match="15 x 400 px"):
        read_photo(save(tmp_path / "c.png", np.zeros((400, 15), dtype=np.uint8)))


def test_boxes_are_read_with_eyes_and_without(tmp_path):
    table = tmp_path / "boxes.csv"
    eyes = "eye1_x,eye1_y,eye2_x,eye2_y"
    table.write_bytes(
        f"\ufeffperson, image,x,y,w,h,by,{eyes}\r\n01,a.JPG,1,2,3.5,4,,1,2,3,4\r\n\r\n01,b.c,1,2,3,4,,,,,\r\n".encode()
    )
    boxes = read_boxes(table)
    assert boxes == {("01", "a"): Box(1, 2, 3.5, 4), ("01", "b.c"): Box(1, 2, 3, 4)}
    assert boxes[photo_key("01", "a.jpg")].eyes.tolist() == [[1, 2], [3, 4]]
    assert boxes[photo_key("01", "b.c.png")].eyes is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: column person is missing"),
        ("person;image;x;y;w;h\n", "line 1: column person is missing"),
        ("person,image,x,y,w,h,x\n", "line 1: column x is there twice"),
        ("person,image,x,y,w,h,eye1_x\n", "line 1: column eye1_y is missing"),
        (HEADER + "a,b,1,2,3,4\na,c,1,two,3,4\n", "line 3, column y: no number"),
        (HEADER + "a,b,1,nan,3,4\n", "line 2, column y: no number"),
        (HEADER + "a,b,1e999,2,3,4\n", "line 2, column x: no number"),
        (HEADER + "a,b,1,2,,4\n", "line 2, column w: no number"),
        (HEADER + "a,b,1,2,3,0\n", "line 2, column h: no size"),
        (HEADER + "a,b,1,2,3\n", "line 2, column h: cells do not match"),
        (HEADER + "a,b,1,2,3,4,5\n", "line 2, column after h: cells do not match"),
        (HEADER + ",b,1,2,3,4\n", "line 2, column person: empty"),
        (HEADER + "a,b.jpg,1,2,3,4\na,b,1,2,3,4\n", "line 3, column image: twice"),
        (HEADER + 'a,"b,1,2,3,4\n', "no table"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_line_and_column(tmp_path, text, told):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        read_boxes(tmp_path / "boxes.csv")
    assert "boxes.csv" in str(caught.value)


def test_no_table_is_refused(tmp_path):
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("boxes.csv", "none.csv", "."):
        with pytest.raises(InputError, match="expected"):
            read_boxes(tmp_path / name)


def test_a_box_lies_in_its_photograph():
    check_box(Box(-5, 0, 10, 10), (100, 50, 3), "a")
    check_box(Box(45, 95, 5, 10), (100, 50), "a")
    for box, told in ((Box(-5.1, 0, 10, 10), "mostly outside"), (Box(60, 10, 9, 9), "box lies outside")):
        with pytest.raises(InputError, match=rf"line 3: .*{told}|{told}"):
            check_box(box, (100, 50, 3), "line 3")


def test_people_are_found_in_folders_and_beside_them(tmp_path):
    for name in ("zoe/2.JPG", "zoe/10.png", "zoe/.hidden.jpg", "zoe/notes.txt", "ann/x.jpeg", "bob.webp", "boxes.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "nobody").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "zoe/3.jpg").write_text("zoe/10.png")  # a copy
    found = {person.name: [photo.name for photo in person.photos] for person in find_people(tmp_path)}
    assert found == {"ann": ["x.jpeg"], "bob": ["bob.webp"], "nobody": [], "zoe": ["10.png", "2.JPG"]}
    assert list(found) == sorted(found)


def test_a_photograph_under_two_names_is_refused(tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").write_text("the same")
        (tmp_path / name / "empty.jpg").touch()
    with pytest.raises(InputError, match=r"ann and bob\n.*ann/ann.jpg and .*bob/bob.jpg"):
        find_people(tmp_path)
    (tmp_path / "bob/bob.jpg").write_text("another.")
    assert [len(person.photos) for person in find_people(tmp_path)] == [2, 2]
    (tmp_path / "bob.png").write_text("b")
    with pytest.raises(InputError, match="two people are called bob"):
        find_people(tmp_path)


def test_no_people_are_refused(tmp_path):
    (tmp_path / "a.txt").touch()
    for folder, told in (
        (tmp_path, "nobody in it"),
        (tmp_path / "no", "no such folder"),
        (tmp_path / "a.txt", "a file"),
    ):
        with pytest.raises(InputError, match=told):
            find_people(folder)


@pytest.mark.data
@pytest.mark.parametrize(("name", "n_people", "n_boxes"), [("caltech1999", 11, 104), ("london", 102, 102)])
def test_real_photographs_and_their_boxes(name, n_people, n_boxes):
    folder = FACES / name
    if not folder.exists():
        pytest.skip(f"no real photographs in {folder}")
    people, boxes = find_people(folder), read_boxes(folder / "boxes.csv")
    assert (len(people), len(boxes)) == (n_people, n_boxes)
    photos = {photo_key(person.name, photo.name): photo for person in people for photo in person.photos}
    assert set(boxes) <= set(photos)
    for key in sorted(boxes)[::40]:
        check_box(boxes[key], read_photo(photos[key]).shape, str(photos[key]))
        assert (boxes[key].eyes is None) == (name == "caltech1999")
