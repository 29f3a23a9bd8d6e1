"""Radiographs and the tables beside them, with faults put into them."""

from functools import cache
from io import BytesIO

import numpy as np
import pydicom
import pytest
from fuzzing import FOLDER, Reader, never_breaks
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset

from seamwise.systems.age.folder import _NAMES, ATLAS, KEYPOINTS, MAX_MONTHS, once, read_folder
from seamwise.systems.age.reading import read_radiograph

TABLE = (
    b"id,boneage,male,orig_w,orig_h,mm_per_px,patient_id\n1,94,True,711,834,.2,a\n2,30.5,0,,,,b\n3.0,,False,1,1,0.1,\n",
    "\ufeffImage ID;Bone Age;Sex\r\n1.png;94,5;M\r\n2;12;female\r\n3;;unknown\r\n".encode(),
    b"id\tbone_age_years\tgender\n1\t7.5\tMale\n2\t8\tF\n",
)
POINTS = (",".join(["id", *(f"{name}_{axis}" for name in _NAMES for axis in "xy")]) + "\n").encode()
POINTS += ("1," + ",".join(str(k) for k in range(2 * len(_NAMES))) + "\n2" + "," * 2 * len(_NAMES) + "\n").encode()
OF_ATLAS = ("1234," + ",".join(str(k) for k in range(74)) + "\n").encode()


def put_pictures(folder):
    for name in ("1.png", "2.png", "3.tiff", "1234.png"):
        (folder / name).write_bytes(picture("PNG"))


def put_labels(folder):
    put_pictures(folder)
    (folder / "labels.csv").write_bytes(TABLE[0])


def put_atlas(folder):
    put_pictures(folder)
    (folder / "labels.csv").write_bytes(b"patient_ID,boneage,sex,child\nx1234,94,F,a\n")


def records_are_whole(folder):
    for record in folder.records:
        assert record.age_months is None or 0 <= record.age_months <= MAX_MONTHS
        assert record.sex in ("F", "M")
        assert record.mm_per_px is None or 0.01 <= record.mm_per_px <= 2
        assert record.original_px is None or min(record.original_px) >= 0
        assert record.landmarks is None or record.landmarks.shape == (25, 2)
        assert record.landmarks is None or not np.isinf(record.landmarks).any()
        assert record.path.is_file()
    assert len(once(folder.records)) <= len(folder.records)


@cache
def hand(shape=(160, 140)):
    picture = np.random.default_rng(0).integers(0, 60, shape)
    picture[20:-10, 30:50] += 150
    return picture


@cache
def picture(kind):
    out, shades = BytesIO(), hand()
    if kind == "float":
        Image.fromarray(shades.astype(np.float32) * 1e3).save(out, "TIFF")
    elif kind == "16 bit":
        Image.fromarray(shades.astype(np.uint16) * 100).save(out, "PNG")
    else:
        Image.fromarray(shades.astype(np.uint8)).save(out, kind)
    return out.getvalue()


@cache
def dicom(**fields):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    file = FileDataset("x.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    rows, columns = hand().shape
    usual = {
        **{"Modality": "DX", "PatientSex": "F", "Rows": rows, "Columns": columns, "SamplesPerPixel": 1},
        **{"PixelRepresentation": 0, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "NumberOfFrames": 1},
        **{"PhotometricInterpretation": "MONOCHROME1", "PixelSpacing": [0.2, 0.2], "BodyPartExamined": "HAND"},
        **{"WindowCenter": 100, "WindowWidth": 200, "RescaleSlope": 1, "RescaleIntercept": 0},
        **{"PixelPaddingValue": 0, "EstimatedRadiographicMagnificationFactor": 1.1},
    }
    for name, value in {**usual, **fields}.items():
        setattr(file, name, value)
    file.PixelData = hand().astype(np.uint16).tobytes()
    file["PixelData"].VR = "OW"
    out = BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()


def radiograph_is_whole(seen):
    height, width = seen.pixels.shape
    assert seen.pixels.dtype == np.uint8
    assert max(height, width) <= 512
    assert min(seen.original_px) >= min(height, width)
    assert seen.mm_per_px is None or 0.01 <= seen.mm_per_px <= 2
    assert seen.sex in ("F", "M", None)
    assert np.ptp(seen.pixels) > 0


def of_folder(name, file, valid, beside, n_examples=60):
    return Reader(name, file, valid, read_folder, records_are_whole, beside, named=FOLDER, n_examples=n_examples)


READERS = (
    of_folder("ages of hands", "labels.csv", lambda: TABLE, put_pictures, 150),
    of_folder("keypoints of hands", KEYPOINTS, lambda: [POINTS], put_labels),
    of_folder("landmarks of the atlas", ATLAS, lambda: [OF_ATLAS], put_atlas),
    Reader(
        "a radiograph", "hand.png", lambda: [picture(kind) for kind in ("PNG", "16 bit", "float", "JPEG", "BMP")],
        lambda f: read_radiograph(f / "hand.png"), radiograph_is_whole, kinds=(), n_examples=120,
    ),
    Reader(
        "a DICOM file", "hand.dcm", lambda: [dicom()], lambda f: read_radiograph(f / "hand.dcm"), radiograph_is_whole,
        kinds=(), n_examples=100,
    ),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_radiographs_are_read_or_refused(reader, tmp_path):
    never_breaks(reader, tmp_path / FOLDER)
