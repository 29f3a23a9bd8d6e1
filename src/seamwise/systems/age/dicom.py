"""A radiograph from a DICOM file: its pixels, with bones bright, its scale and the patient's sex; nobody's name."""

import importlib
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from seamwise.errors import InputError
from seamwise.files import readable
from seamwise.shapes import Bool, Float, NDArray
from seamwise.systems.age.checks import check_frames, check_size

RADIOGRAPHS: Final = ("CR", "DX", "RG", "RF", "XA", "OT", "")  # modalities
MM_PER_PX: Final = (0.01, 2.0)  # what a pixel can measure, also of a small picture
NO_SCALE = "scale unknown"

_HANDS = ("HAND", "WRIST", "FINGER", "THUMB", "CARP", "FOREARM", "EXTREMITY", "EXTREMITIES", "BONEAGE")
_OTHERS = (
    *("LOWER", "LEG", "FOOT", "FEET", "TOE", "ANKLE", "CALCANEUS", "TARS", "KNEE", "PATELLA", "FEMUR", "TIBIA"),
    *("FIBULA", "HIP", "PELVIS", "CHEST", "THORAX", "LUNG", "HEART", "RIB", "STERNUM", "CLAVICLE", "SHOULDER"),
    *("HUMERUS", "ELBOW", "SKULL", "HEAD", "NECK", "JAW", "BREAST", "ABDOMEN", "SPINE", "SACRUM", "COCCYX"),
    *("TOOTH", "TEETH", "MANDIBLE", "MAXILLA"),
)
# DICOM's defined terms: only these are told; a field of free text may hold what nobody is to read, a name even
_MODALITIES = (
    "AR AU BI BMD CD CR CT DG DOC DX ECG EPS ES FID GM HD IO IVUS KO LEN LS MG MR NM OAM OCT OP OPT OT PLAN PR PT PX "
    "REG RF RG RTDOSE RTIMAGE RTPLAN RTRECORD RTSTRUCT RWV SEG SM SMR SR STAIN TG US VA XA XC"
)
_PHOTOMETRIC = (
    *("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "HSV", "ARGB", "CMYK", "YBR_FULL", "YBR_FULL_422"),
    *("YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"),
)
_PLAIN = tuple("1.2.840.10008.1.2" + more for more in ("", ".1", ".2", ".1.99"))  # transfer syntaxes


@final
@dataclass(frozen=True)
class Plain:
    """What a DICOM file holds: brightness, NaN where nothing was exposed, and what is said beside it."""

    pixels: Float[NDArray, "height width"]
    mm_per_px: float | None
    sex: str | None
    warnings: tuple[str, ...]


def read(path: Path) -> Plain:
    """A DICOM file's radiograph; raises InputError where it holds none of a hand, or none that can be read here."""
    pydicom = _pydicom()
    with readable(path), path.open("rb") as file:
        marked = file.read(132)[128:] == b"DICM"
    with _silent():
        try:
            data = pydicom.dcmread(path, force=True)
            _check_kind(path, data, marked)
            told = _check(path, data)
            mm_per_px, about_scale = _scale(path, data)
            sex, about_sex = _sex(data)
            pixels = _bright(data, _decoded(path, data, pydicom), pydicom)
        except InputError:
            raise
        except Exception as error:  # its text may hold what the file says of the patient
            raise (_damaged(path, type(error).__name__) if marked else _no_dicom(path)) from None
    return Plain(pixels, mm_per_px, sex, (*told, *about_scale, *about_sex))


@contextmanager
def _silent() -> Iterator[None]:
    """Without pydicom's warnings and log, which may hold what the file says of the patient."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _pydicom() -> Any:
    try:
        return importlib.import_module("pydicom")
    except ImportError:
        expected, remedy = "the package pydicom", "pip install 'seamwise[dicom]'"
        raise InputError("DICOM files cannot be read here", expected=expected, remedy=remedy) from None


def _damaged(path: Path, given: str) -> InputError:
    remedy = "copy the file again from where it came from"
    return InputError(f"{path}: cut short or damaged", given=given, expected="a whole DICOM file", remedy=remedy)


def _no_dicom(path: Path) -> InputError:
    given = f"{path.stat().st_size:,} bytes that do not begin as one"
    return InputError(f"{path}: no DICOM file", given=given, expected="DICOM", remedy="give the radiograph's file")


def _check_kind(path: Path, data: Any, marked: bool) -> None:
    """Raises InputError where this is no DICOM file: old ones lack its mark, but then they say what they are."""
    if not len(data) or not (marked or any(name in data for name in ("SOPClassUID", "Modality", "Rows"))):
        raise _no_dicom(path)


def _check(path: Path, data: Any) -> tuple[str, ...]:
    """Raises InputError where this is no single grey radiograph of a hand; gives what one should know of it."""
    modality = _text(data, "Modality")
    if modality not in RADIOGRAPHS:
        expected = "a radiograph: " + ", ".join(filter(None, RADIOGRAPHS))
        remedy = "give the file of the hand's radiograph"
        given = f"modality {modality}" if modality in _MODALITIES.split() else "a modality that is not known"
        raise InputError(f"{path}: no radiograph", given=given, expected=expected, remedy=remedy)
    if "Rows" not in data or "Columns" not in data:
        given, remedy = "a DICOM file without an image", "give the file of the hand's radiograph"
        raise InputError(f"{path}: no picture in it", given=given, expected="a radiograph", remedy=remedy)
    check_size(path, int(data.Columns), int(data.Rows))
    check_frames(path, int(data.get("NumberOfFrames") or 1))
    photometric = _text(data, "PhotometricInterpretation")
    if int(data.get("SamplesPerPixel") or 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        known = photometric if photometric in _PHOTOMETRIC else "that is not known"
        given, expected = f"photometric interpretation {known}", "MONOCHROME1 or MONOCHROME2"
        remedy = "give the radiograph itself, not a picture made of it"
        raise InputError(f"{path}: not in shades of grey", given=given, expected=expected, remedy=remedy)
    return _check_part(path, _text(data, "BodyPartExamined"))


def _check_part(path: Path, part: str) -> tuple[str, ...]:
    plain = "".join(letter for letter in part if letter.isalpha())
    other = next((other for other in _OTHERS if other in plain), None)
    if other and not any(hand in plain for hand in _HANDS[:5]):
        remedy = "give a radiograph of a hand; if it is one, correct the file's BodyPartExamined"
        raise InputError(f"{path}: no hand", given=f"body part {other}", expected="a hand or a wrist", remedy=remedy)
    known = not plain or any(hand in plain for hand in _HANDS)
    return () if known else ("the file gives a body part that is not known; read as a hand",)


def _text(data: Any, name: str) -> str:
    return str(data.get(name) or "").strip().upper()


def _scale(path: Path, data: Any) -> tuple[float | None, tuple[str, ...]]:
    """The mm of a pixel where the hand is, if the file says so."""
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = _numbers(data.get(name))
        if not spacing:
            continue
        at_detector = name == "ImagerPixelSpacing"
        magnified = _numbers(data.get("EstimatedRadiographicMagnificationFactor")) if at_detector else []
        factor = magnified[0] if magnified and magnified[0] >= 1 else 1.0
        return _one_scale(path, name, [mm / factor for mm in spacing])
    return None, (f"{NO_SCALE}: the file has no pixel spacing",)


def _numbers(value: Any) -> list[float]:
    if value is None or isinstance(value, str) or value == "":
        return []
    try:
        return [float(part) for part in (value if hasattr(value, "__len__") else [value])]
    except (TypeError, ValueError):
        return []


def _one_scale(path: Path, name: str, spacing: list[float]) -> tuple[float | None, tuple[str, ...]]:
    given = " x ".join(f"{mm:g}" for mm in spacing)
    if len(spacing) != 2 or not all(math.isfinite(mm) and MM_PER_PX[0] <= mm <= MM_PER_PX[1] for mm in spacing):
        return None, (f"{NO_SCALE}: {name} of {given} mm is not that of a radiograph",)
    if max(spacing) > 1.01 * min(spacing):
        raise InputError(
            f"{path}: pixels are not square",
            given=f"{name} of {given} mm",
            expected="as many mm down as across; a hand would be stretched",
            remedy="export it with square pixels",
        )
    return sum(spacing) / 2, ()


def _sex(data: Any) -> tuple[str | None, tuple[str, ...]]:
    given = _text(data, "PatientSex")
    if given in ("F", "M"):
        return given, ()
    return None, (f"sex unknown: the file says {given if given == 'O' else 'neither F nor M'}",)


def _decoded(path: Path, data: Any, pydicom: Any) -> NDArray:
    syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        syntax = pydicom.uid.ImplicitVRLittleEndian
        data.file_meta = getattr(data, "file_meta", None) or pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
    if "PixelData" not in data or not data.PixelData:
        raise _damaged(path, "no pixel data")
    compressed = str(syntax) not in _PLAIN
    try:
        if compressed and not pydicom.pixels.get_decoder(syntax).is_available:
            raise _compressed(path, syntax)
        return np.asarray(data.pixel_array)
    except InputError:
        raise
    except Exception as error:
        if compressed:
            raise _compressed(path, syntax) from None
        raise _damaged(path, f"{path.stat().st_size:,} bytes: {type(error).__name__}") from None


def _compressed(path: Path, syntax: Any) -> InputError:
    name = getattr(syntax, "name", syntax)
    return InputError(
        f"{path}: its compressed pixels cannot be decoded here",
        given=f"transfer syntax {name} ({syntax})" if name != str(syntax) else "a transfer syntax that is not known",
        expected="a whole file, in a transfer syntax that an installed package decodes",
        remedy="pip install 'pylibjpeg[all]', or decompress it: gdcmconv --raw IN.dcm OUT.dcm; or copy it again",
    )


def _bright(data: Any, stored: NDArray, pydicom: Any) -> Float[NDArray, "height width"]:
    """Brightness from what is stored: rescaled, within the window that the file asks for, bones bright."""
    pixels = np.asarray(pydicom.pixels.apply_modality_lut(stored, data), dtype=np.float32)
    pixels = _windowed(data, pixels, stored, pydicom)
    if _text(data, "PhotometricInterpretation") == "MONOCHROME1":
        pixels = -pixels
    pixels[_padding(data, stored)] = np.nan
    return pixels


def _windowed(data: Any, pixels: NDArray, stored: NDArray, pydicom: Any) -> NDArray:
    """As the file's window or table shows it; as it was where they would show next to nothing."""
    try:
        rescaled = pydicom.pixels.apply_modality_lut(stored, data)
        shown = np.asarray(pydicom.pixels.apply_voi_lut(rescaled, data), dtype=np.float32)
    except Exception:  # a window that makes no sense
        return pixels
    inside = (shown > shown.min()) & (shown < shown.max())
    return shown if inside.mean() > 0.2 else pixels


def _padding(data: Any, stored: NDArray) -> Bool[NDArray, "height width"]:
    """Where there is no exposure but a value that says so."""
    one = _numbers(data.get("PixelPaddingValue"))
    other = _numbers(data.get("PixelPaddingRangeLimit")) or one
    if not one:
        return np.zeros(stored.shape, dtype=bool)
    padding = (stored >= min(one[0], other[0])) & (stored <= max(one[0], other[0]))
    return padding if padding.mean() < 0.9 else np.zeros_like(padding)
