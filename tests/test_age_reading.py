import os
import struct
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset

from seamwise.errors import InputError
from seamwise.systems.age.reading import INVERTED, is_inverted, read_radiograph, smaller

HANDS = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "hands"


def drawn_hand(height=600, width=440):
    """Soft fingers with brighter bones in them, whose edges are brighter still."""
    hand = np.full((height, width), 20, dtype=np.uint8)
    for soft in (True, False):
        for x in (80, 150, 220, 290, 360):
            ends = (x, 60), (200 + (x - 220) // 3, 420)
            for shade, thick in ((90, 50),) if soft else ((230, 24), (150, 16)):
                cv2.line(hand, *ends, shade, thick)
        if soft:
            cv2.rectangle(hand, (140, 360), (300, 599), 90, -1)
        for x in (180, 260):
            for shade, thick in () if soft else ((230, 40), (150, 30)):
                cv2.line(hand, (x, 470), (x, 599), shade, thick)
    noise = np.random.default_rng(0).normal(0, 2, hand.shape)
    return (cv2.GaussianBlur(hand, (0, 0), 1.5) + noise).clip(0, 255).astype(np.uint8)


HAND = drawn_hand()


def save(path, picture, **options):
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_a_radiograph_is_read_as_it_was_saved(tmp_path, suffix):
    read = read_radiograph(save(tmp_path / f"a.{suffix}", HAND), px=600)
    assert np.array_equal(read.pixels, HAND)
    assert (read.original_px, read.mm_per_px, read.sex, read.warnings) == ((600, 440), None, None, ())


def test_a_large_radiograph_becomes_smaller_by_means(tmp_path):
    read = read_radiograph(save(tmp_path / "a.png", HAND), px=300)
    assert read.original_px == (600, 440)
    assert read.pixels.shape == (300, 220)
    assert np.abs(read.pixels - HAND.reshape(300, 2, 220, 2).mean((1, 3))).max() <= 1
    assert read_radiograph(save(tmp_path / "a.jpg", HAND)).pixels.shape == (512, 375)
    assert smaller(HAND, 600) is HAND


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("factor", [3, 200])
def test_many_bits_become_eight(tmp_path, kind, factor):
    path = save(tmp_path / ("a.png" if kind == np.uint16 else "a.tif"), (HAND.astype(kind) + 10) * factor)
    read = read_radiograph(path, px=600)
    assert np.corrcoef(read.pixels.ravel(), HAND.ravel())[0, 1] > 0.999
    assert (read.pixels.min(), read.pixels.max()) == (0, 255)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "CMYK"])
def test_grey_in_channels_is_grey(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    assert (
        np.abs(read_radiograph(save(path, Image.fromarray(HAND).convert(mode)), px=600).pixels - 1.0 * HAND).max() < 9
    )


def test_a_turned_radiograph_is_set_upright(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    read = read_radiograph(save(tmp_path / "a.png", np.ascontiguousarray(np.rot90(HAND)), exif=exif), px=600)
    assert np.array_equal(read.pixels, HAND)


def test_dark_bones_are_made_bright(tmp_path):
    assert not is_inverted(HAND)
    assert is_inverted(255 - HAND)
    read = read_radiograph(save(tmp_path / "a.png", 255 - HAND), px=600)
    assert np.array_equal(read.pixels, HAND)
    assert read.warnings == (INVERTED,)
    assert not is_inverted(np.full((200, 200), 9, dtype=np.uint8))


def test_no_radiographs_are_refused_by_name(tmp_path):
    (tmp_path / "text.jpg").write_text("<html>not found")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "text.dcm").write_text("<html>not found" * 20)
    (tmp_path / "zeros.dcm").write_bytes(bytes(999))
    save(tmp_path / "black.png", np.zeros((200, 200), dtype=np.uint8))
    save(tmp_path / "white.tif", np.full((200, 200), 40_000, dtype=np.uint16))
    save(tmp_path / "nan.tif", np.full((200, 200), np.nan, dtype=np.float32))
    save(tmp_path / "small.png", HAND[:127, :100])
    save(tmp_path / "long.png", HAND[:, :149])
    colours = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    save(tmp_path / "photo.png", colours)
    save(tmp_path / "one.gif", HAND)
    save(tmp_path / "one.webp", HAND)
    for name in ("two.tif", "two.png"):
        save(tmp_path / name, HAND, save_all=True, append_images=[Image.fromarray(255 - HAND)])
    told = {
        "none.jpg": "no such file",
        ".": "a folder",
        "empty.jpg": "0 bytes",
        "text.jpg": "starts with b'<html>not fo'",
        "link.jpg": "leads nowhere",
        "text.dcm": "no DICOM file\n.*300 bytes",
        "zeros.dcm": "no DICOM file",
        f"{'long' * 90}.png": "cannot be read\n.*name too long",
        "black.png": "shows nothing",
        "white.tif": "shows nothing",
        "nan.tif": "shows nothing",
        "small.png": "100 x 127 px",
        "long.png": "too long for a hand",
        "photo.png": "in colour",
        "one.gif": "not read\n.*GIF\n.*PNG, JPEG, TIFF, BMP or DICOM",
        "one.webp": "not read\n.*WEBP",
    } | {f"two.{suffix}": "2 pictures" for suffix in ("tif", "png")}
    for name, text in told.items():
        with pytest.raises(InputError, match=text) as caught:
            read_radiograph(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "expected" in str(caught.value)
        assert "remedy" in str(caught.value)


def test_a_faint_radiograph_is_stretched_and_told(tmp_path):
    faint = (100 + HAND / 10).astype(np.uint8)
    read = read_radiograph(save(tmp_path / "a.png", faint), px=600)
    assert np.corrcoef(read.pixels.ravel(), HAND.ravel())[0, 1] > 0.98
    assert (read.pixels.min(), read.pixels.max()) == (0, 255)
    (warning,) = read.warnings
    assert warning.startswith("faint: ")
    enough = (100 + HAND / 5).astype(np.uint8)
    read = read_radiograph(save(tmp_path / "b.png", enough), px=600)
    assert np.array_equal(read.pixels, enough)
    assert read.warnings == ()


def test_a_file_that_may_not_be_looked_at_is_refused(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", denied)
    with pytest.raises(InputError, match=r"a\.png: cannot be read\n.*Permission denied"):
        read_radiograph(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_a_cut_radiograph_is_refused(tmp_path, suffix):
    whole = save(tmp_path / f"a.{suffix}", HAND).read_bytes()
    (tmp_path / f"b.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"b\.{suffix}: (cut short or damaged|no picture)"):
        read_radiograph(tmp_path / f"b.{suffix}")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["png", "jpg", "tif", "dcm"]), st.data())
def test_a_damaged_radiograph_is_read_or_refused(tmp_path, suffix, data):
    small = smaller(HAND, 140)
    path = tmp_path / f"a.{suffix}"
    whole = bytearray((dicom(path, small) if suffix == "dcm" else save(path, small)).read_bytes())
    for _ in range(3):
        whole[data.draw(st.integers(0, min(len(whole), 1500) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    with suppress(InputError):
        assert read_radiograph(path).pixels.dtype == np.uint8


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    path, limit = tmp_path / "a.png", Image.MAX_IMAGE_PIXELS
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    begun = time.perf_counter()
    with pytest.raises(InputError, match="20,000 x 20,000 px"):
        read_radiograph(path)
    assert time.perf_counter() - begun < 0.5  # decoding it takes many seconds
    assert limit == Image.MAX_IMAGE_PIXELS


def dicom(path, pixels=None, *, keep=True, syntax=pydicom.uid.ExplicitVRLittleEndian, **fields):
    """A DICOM file of a hand; a field of None is left out."""
    pixels = HAND.astype(np.uint16) * 16 if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * pixels.itemsize
    usual = {
        **{"Modality": "DX", "PatientName": "Doe^Jane", "PatientID": "secret", "PatientSex": "F"},
        **{"Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1, "PixelRepresentation": 0},
        **{"BitsAllocated": bits, "BitsStored": min(bits, 12), "HighBit": min(bits, 12) - 1},
        **{"PhotometricInterpretation": "MONOCHROME2", "PixelSpacing": [0.2, 0.2], "BodyPartExamined": "HAND"},
        **{"SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": "1.2.3"},
    }
    for name, value in {**usual, **fields}.items():
        if value is not None:
            setattr(file, name, value)
    if keep:
        raw = pixels.tobytes()
        file.PixelData = pydicom.encaps.encapsulate([raw]) if syntax.is_compressed else raw
        file["PixelData"].VR = "OB" if bits == 8 or syntax.is_compressed else "OW"
    file.save_as(path, enforce_file_format=True)
    return path


def test_a_dicom_file_is_read(tmp_path):
    for name in ("a.dcm", "without_suffix"):
        read = read_radiograph(dicom(tmp_path / name), px=600)
        assert (read.original_px, read.mm_per_px, read.sex, read.warnings) == ((600, 440), 0.2, "F", ())
        assert np.corrcoef(read.pixels.ravel(), HAND.ravel())[0, 1] > 0.999
    assert read_radiograph(dicom(tmp_path / "b.dcm", HAND)).pixels.shape == (512, 375)
    save(tmp_path / "c.png", HAND).rename(tmp_path / "c.dcm")
    assert read_radiograph(tmp_path / "c.dcm").warnings == ("a picture, though its name ends in .dcm",)


def test_what_dicom_does_to_brightness_is_undone(tmp_path):
    dark = (255 - HAND).astype(np.uint16) * 16
    padded = HAND.astype(np.uint16) * 8
    padded[:50] = 4095
    for name, read in {
        "monochrome1": dicom(tmp_path / "a.dcm", dark, PhotometricInterpretation="MONOCHROME1"),
        "slope": dicom(tmp_path / "b.dcm", dark, RescaleSlope=-2, RescaleIntercept=9000),
        "window": dicom(tmp_path / "c.dcm", WindowCenter=2048, WindowWidth=4096),
        "window of nothing": dicom(tmp_path / "d.dcm", WindowCenter=1e6, WindowWidth=1),
        "windows": dicom(tmp_path / "e.dcm", WindowCenter=[2048, 2], WindowWidth=[4096, 9]),
        "padding": dicom(tmp_path / "f.dcm", padded, PixelPaddingValue=4095),
    }.items():
        read = read_radiograph(read, px=600)
        assert np.corrcoef(read.pixels[60:].ravel(), HAND[60:].ravel())[0, 1] > 0.99, name
        assert read.warnings == (), name
    assert (read.pixels[:50] == 0).all()
    narrow = read_radiograph(dicom(tmp_path / "g.dcm", WindowCenter=1400, WindowWidth=1800), px=600)
    assert (narrow.pixels[HAND > 150] == 255).mean() > 0.9  # 1400 + 900 is a shade of 144


@pytest.mark.parametrize(
    ("fields", "mm"),
    [
        ({"PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.3, 0.3]}, 0.1),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.15, 0.15]}, 0.15),
        (
            {
                "PixelSpacing": None,
                "ImagerPixelSpacing": [0.15, 0.15],
                "EstimatedRadiographicMagnificationFactor": 1.5,
            },
            0.1,
        ),
        ({"PixelSpacing": None, "NominalScannedPixelSpacing": [0.25, 0.25]}, 0.25),
        ({"PixelSpacing": None}, None),
        ({"PixelSpacing": [0, 0]}, None),
        ({"PixelSpacing": [25, 25]}, None),
    ],
)
def test_the_scale_is_that_of_the_hand(tmp_path, fields, mm):
    read = read_radiograph(dicom(tmp_path / "a.dcm", **fields))
    assert read.mm_per_px == (pytest.approx(mm) if mm else None)
    assert [warning.startswith("scale unknown") for warning in read.warnings] == ([] if mm else [True])


def test_sex_and_body_part_are_read_or_told(tmp_path):
    for given_sex, sex in (("M", "M"), ("F", "F"), ("O", None), ("", None), (None, None)):
        read = read_radiograph(dicom(tmp_path / "a.dcm", PatientSex=given_sex))
        assert read.sex == sex
        assert [warning.startswith("sex unknown") for warning in read.warnings] == ([] if sex else [True])
    for part in ("HAND", "LEFT WRIST", "EXTREMITY", "UP_EXM HAND", "", None):
        assert read_radiograph(dicom(tmp_path / "a.dcm", BodyPartExamined=part)).warnings == ()
    (warning,) = read_radiograph(dicom(tmp_path / "a.dcm", BodyPartExamined="MAIN G")).warnings
    assert warning == "the file gives a body part that is not known; read as a hand"


@pytest.mark.parametrize(
    "fields",
    [
        {"BodyPartExamined": "DOE JANE"},
        {"BodyPartExamined": "CHEST OF DOE"},
        {"Modality": "DOE"},
        {"PhotometricInterpretation": "DOE"},
        {"PatientSex": "DOE"},
    ],
)
def test_free_text_is_not_told(tmp_path, fields):
    path = dicom(tmp_path / "a.dcm", **fields)
    try:
        told = " ".join(read_radiograph(path).warnings)
    except InputError as error:
        told = str(error)
    assert "known" in told or "body part CHEST" in told
    assert "DOE" not in told


def test_a_transfer_syntax_that_is_not_known_is_not_told(tmp_path):
    path = dicom(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.666.777.888.1.1\0"))
    with pytest.raises(InputError, match=r"cannot be decoded here\n.*a transfer syntax that is not known") as caught:
        read_radiograph(path)
    assert "666.777" not in str(caught.value)


def test_a_dicom_file_without_its_mark_is_read(tmp_path):
    whole = dicom(tmp_path / "a.dcm", syntax=pydicom.uid.ImplicitVRLittleEndian)
    data = pydicom.dcmread(whole)
    bare = pydicom.dataset.Dataset({one.tag: one for one in data})  # neither mark nor file meta
    pydicom.dcmwrite(tmp_path / "b.dcm", bare, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "b.dcm").read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_radiograph(tmp_path / "b.dcm").pixels, read_radiograph(whole).pixels)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"BodyPartExamined": "CHEST"}, "no hand\n.*CHEST"),
        ({"BodyPartExamined": "FOOT"}, "no hand\n.*FOOT"),
        ({"BodyPartExamined": "LOWER EXTREMITY"}, "no hand\n.*LOWER"),
        ({"Modality": "MR"}, "no radiograph\n.*MR"),
        ({"Modality": "SR", "Rows": None, "keep": False}, "no radiograph\n.*SR"),
        ({"Rows": None, "keep": False}, "no picture in it"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "not in shades of grey\n.*RGB"),
        ({"NumberOfFrames": 3}, "several pictures in one file\n.*3 pictures"),
        ({"PixelSpacing": [0.1, 0.2]}, "not square\n.*0.1 x 0.2 mm"),
        ({"Rows": 60_000, "Columns": 60_000}, "too large"),
        ({"Rows": 100, "Columns": 100}, "too small"),
        ({"keep": False}, "cut short or damaged\n.*no pixel data"),
        ({"syntax": pydicom.uid.JPEGLSLossless}, r"cannot be decoded here\n.*JPEG-LS.*\n.*\n.*pylibjpeg.*gdcmconv"),
        ({"syntax": pydicom.uid.JPEGBaseline8Bit}, "cannot be decoded here\n.*JPEG Baseline"),
        ({"syntax": pydicom.uid.RLELossless}, "cannot be decoded here\n.*RLE"),
        ({"pixels": HAND * 0}, "shows nothing"),
    ],
)
def test_dicom_files_of_something_else_are_refused(tmp_path, fields, told):
    with pytest.raises(InputError, match=told) as caught:
        read_radiograph(dicom(tmp_path / "a.dcm", **fields))
    assert "Doe" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "remedy" in str(caught.value)


def test_compressed_dicom_is_read_where_it_can_be(tmp_path):
    file = pydicom.dcmread(dicom(tmp_path / "a.dcm"))
    file.compress(pydicom.uid.RLELossless)
    file.save_as(tmp_path / "b.dcm")
    one, two = (read_radiograph(tmp_path / name).pixels for name in ("a.dcm", "b.dcm"))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_cut_dicom_file_is_refused(tmp_path, share):
    whole = dicom(tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cut short or damaged|no picture in it") as caught:
        read_radiograph(tmp_path / "a.dcm")
    assert "Doe" not in str(caught.value)


def test_dicom_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    path = dicom(tmp_path / "a.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install 'seamwise\[dicom\]'"):
        read_radiograph(path)


@pytest.mark.data
def test_real_radiographs_and_their_negatives():
    paths = sorted((HANDS / "rsna/images").glob("*.jpg"))[::30]
    if not paths:
        pytest.skip(f"no real radiographs in {HANDS}")
    read = [read_radiograph(path, px=512) for path in paths]
    assert {max(one.pixels.shape) for one in read} == {512}
    assert sum(one.warnings == (INVERTED,) for one in read) == 0
    assert sum(not is_inverted(255 - one.pixels) for one in read) <= 1
