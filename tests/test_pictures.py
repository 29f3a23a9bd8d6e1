import struct
import time
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from seamwise.errors import InputError
from seamwise.pictures import picture_size, read_photo

COLOURS = np.zeros((20, 30, 3), dtype=np.uint8)
COLOURS[:10, :15], COLOURS[:10, 15:], COLOURS[10:, :15], COLOURS[10:, 15:] = (250, 0, 0), (0, 250, 0), (0, 0, 250), 200


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


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_size_is_that_of_the_picture_as_it_is_read(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / "a.jpg", COLOURS, exif=exif)
    assert picture_size(path) == read_photo(path).shape[:2]
    with pytest.raises(InputError, match="400\\.0 megapixels"):
        picture_size(huge_png(tmp_path / "a.png", 20_000, 20_000))
    with pytest.raises(InputError, match="name too long"):
        picture_size(tmp_path / f"{'long' * 90}.png")
