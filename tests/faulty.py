"""Whole files with faults put into them: strategies of hypothesis, for `fuzzing`."""

import json
import re
import struct
from collections.abc import Sequence
from copy import deepcopy
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
from hypothesis import strategies as st

TOKENS = (
    *("", "nan", "NaN", "inf", "-inf", "1e400", "1e308", "-1e308", "1e-320", "-0", "0", "-1", "0.5", "1.0.0", "1e5"),
    *("9" * 20, "9" * 400, "9" * 5000, "1_0", "0x1F", "٣", "²", "１２", "½", "IX", "None", "True", "F", "M", "=1+1"),
    *("\0", "\ufeff", "\u2028", "\x85", "\x1c", "\r", "\n", "\t", " ", ",", ";", "|", "=", "#", "_", '"', '""', "'"),
    *("é", "名", "\U0001f600", "e\u0301", "../x", "/", "a" * 300, "\\n", "%s", "{}", "1-2", "1.1", "*:3", "ARG0:9|"),
)
VALUES = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, -1e308, 10**30, 2**31, 2**63, float("nan"), float("inf")),
    *("", "\0", "\ud800", "x" * 200, "../x", "²", [], {}, [[]], [None], {"": None}, {"a": {"b": []}}, [0, 0], "sum"),
)
SEPARATORS = (b",", b";", b"\t", b" ", b"|", b"\n", b"\r\n", b"\r", b"\0", b":")


def one_of(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of the values; as `sampled_from`, but hypothesis does not print all of them."""
    return st.integers(0, len(values) - 1).map(lambda k: values[k])


# --- bytes ---

Edit = tuple[str, int, int, bytes]
_at = st.integers(0, (1 << 16) - 1)
_edits = st.tuples(
    st.sampled_from(("flip", "cut", "drop", "double", "insert")), _at, st.integers(1, 64), st.binary(max_size=8)
)


def faulty_bytes(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes flipped, cut off, taken out, doubled, put in."""
    return st.builds(_edited, whole, st.lists(_edits, min_size=1, max_size=3))


def _edited(content: bytes, edits: Sequence[Edit]) -> bytes:
    for kind, far, n, more in edits:
        at = far * len(content) >> 16
        if kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ (n & 255)]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "drop":
            content = content[:at] + content[at + n :]
        elif kind == "double":
            content = content[: at + n] + content[at:]
        else:
            content = content[:at] + more + content[at:]
    return content


# --- text ---

_lines = st.tuples(st.sampled_from(("field", "field", "field", "twice", "without", "swap", "part", "ends")), _at, _at)


def faulty_text(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Fields of extreme values; lines doubled, dropped, exchanged; other separators; a byte order mark; UTF-16."""
    edits = st.lists(st.tuples(_lines, one_of(TOKENS), one_of(SEPARATORS)), min_size=1, max_size=3)
    coded = st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return st.builds(_rewritten, whole, edits, coded)


def _rewritten(content: bytes, edits: Sequence[tuple[tuple[str, int, int], str, bytes]], coded: str) -> bytes:
    for (kind, far, other), token, separator in edits:
        content = _field(content, far, token) if kind == "field" else _relined(content, kind, far, other, separator)
    return content if coded == "utf-8" else content.decode(errors="replace").encode(coded, errors="replace")


def _field(content: bytes, far: int, token: str) -> bytes:
    fields = list(re.finditer(rb"[^\s,;|:=\"{}\[\]]+", content)) or list(re.finditer(rb"$", content))
    place = fields[far * len(fields) >> 16]
    return content[: place.start()] + token.encode() + content[place.end() :]


def _relined(content: bytes, kind: str, far: int, other: int, separator: bytes) -> bytes:
    lines = content.split(b"\n")
    i, k = far * len(lines) >> 16, other * len(lines) >> 16
    if kind == "twice":
        lines.insert(k, lines[i])
    elif kind == "without":
        del lines[i]
    elif kind == "swap":
        lines[i], lines[k] = lines[k], lines[i]
    elif kind == "part":
        lines[i] = re.sub(rb"[,;\t]", lambda _: separator, lines[i])
    return (b"\r\n" if kind == "ends" else b"\n").join(lines)


# --- json ---


def faulty_json(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Values exchanged for extreme ones, or taken out."""
    edits = st.lists(st.tuples(_at, one_of((*VALUES, "taken out"))), min_size=1, max_size=3)
    return st.builds(lambda content, edits: json.dumps(changed(json.loads(content), edits)).encode(), whole, edits)


def faulty_json_lines(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The same, of one of the lines."""
    edits = st.lists(st.tuples(_at, one_of((*VALUES, "taken out"))), min_size=1, max_size=3)
    return st.builds(_changed_line, whole, _at, edits)


def _changed_line(content: bytes, far: int, edits: Sequence[tuple[int, Any]]) -> bytes:
    lines = content.split(b"\n")[:-1]
    i = far * len(lines) >> 16
    lines[i] = json.dumps(changed(json.loads(lines[i]), edits)).encode()
    return b"\n".join([*lines, b""])


def changed(value: Any, edits: Sequence[tuple[int, Any]]) -> Any:
    """A JSON value with others in places that are told by how far on they are."""
    held = [value]
    for far, new in edits:
        places = list(_places(held))
        inside, key = places[far * len(places) >> 16]
        if isinstance(new, str) and new == "taken out" and inside is not held:
            del inside[key]
        else:
            inside[key] = deepcopy(new)
    return held[0]


def _places(value: Any) -> Any:
    for key in list(value) if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0):
        yield value, key
        yield from _places(value[key])


# --- npz ---

ODD_ARRAYS = (
    np.zeros(()), np.zeros(0), np.zeros((0, 2)), np.zeros((3, 2, 1, 1)), np.arange(3), np.array([1, np.nan, np.inf]),
    np.array(["a", "b"]), np.array([b"x"]), np.array([1j]), np.array([True]), np.array([1e308, -1e308]),
    np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), np.array(["2020-01-01"], dtype="datetime64[D]"),
    np.array([2**64 - 1], dtype=np.uint64), np.zeros(400, np.float16), np.full((400, 1), -1), np.full(60, np.nan),
    np.array([None, {}], dtype=object), np.full(400, 1e308), np.full(60, -1.0), np.full((2, 3), 7),
)  # fmt: skip
CLAIMED = (10**9, 10**12, 10**18, 10**30, -1)  # how many numbers a header says there are


def faulty_npz(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Arrays exchanged for others, for pickles, for bytes, for headers of far more than is there; or taken out."""
    odd = [st.sampled_from(range(len(ODD_ARRAYS))).map(_npy), st.sampled_from(CLAIMED).map(_claiming)]
    new = st.one_of(*odd, st.binary(max_size=40), st.just(b"taken out"), st.just(BOMB))
    edits = st.lists(st.tuples(_at, new), min_size=1, max_size=2)
    return st.builds(_exchanged, whole, edits, st.booleans())


def _npy(k: int) -> bytes:
    file = BytesIO()
    np.save(file, ODD_ARRAYS[k], allow_pickle=True)
    return file.getvalue()


def _claiming(n: int) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({n},), }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\0" * 64


BOMB = _claiming(1 << 27) + bytes(1 << 20)  # a gigabyte, of which a megabyte is there


def _exchanged(content: bytes, edits: Sequence[tuple[int, bytes]], deflated: bool) -> bytes:
    with ZipFile(BytesIO(content)) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    for far, new in edits:
        name = list(entries)[far * len(entries) >> 16] if entries else "x.npy"
        entries[name] = new
    out = BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED if deflated else ZIP_STORED) as file:
        for name, held in entries.items():
            if held != b"taken out":
                file.writestr(name, held)
    return out.getvalue()


# --- safetensors ---


def faulty_safetensors(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The header's values exchanged, or taken out."""
    edits = st.lists(st.tuples(_at, one_of((*VALUES, *DTYPES, "taken out"))), min_size=1, max_size=3)
    return st.builds(_reheaded, whole, edits)


DTYPES = ("F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F8_E8M0", "F4", "C64", [1, 1], [-1], [2**62])


def _reheaded(content: bytes, edits: Sequence[tuple[int, Any]]) -> bytes:
    (n,) = struct.unpack("<Q", content[:8])
    header = json.dumps(changed(json.loads(content[8 : 8 + n]), edits)).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + n :]


FAULTS = {
    "text": faulty_text,
    "json": faulty_json,
    "json lines": faulty_json_lines,
    "npz": faulty_npz,
    "safetensors": faulty_safetensors,
    "bytes": faulty_bytes,
}
