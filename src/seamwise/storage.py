"""Storage that all machines of a cluster see: a folder or a bucket, by fsspec. Files are there whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import final
from zipfile import BadZipFile, ZipFile

from seamwise.errors import InputError, SeamwiseError, StorageError
from seamwise.trial import writing

# Where what is put appears at its end, whole. Elsewhere it is put beside and moved.
WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory"})


@final
class Storage:
    """Files by name, "trials/ID.json" say, below a folder or an fsspec URL, as in s3://bucket/path.

    Raises InputError where fsspec, or the package for that kind of URL, is not installed, or there is no such kind.
    """

    def __init__(self, url: str) -> None:
        if not url.strip():
            raise InputError("--storage: nothing was given", expected="a folder, or a URL as in s3://bucket/path")
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise missing("--storage") from None
        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            remedy = "install the package it names, on every machine" if isinstance(error, ImportError) else ""
            what, expected = f"--storage {url}: cannot be opened", "a folder, or a URL as in s3://bucket/path"
            raise InputError(what, given=str(error), expected=expected, remedy=remedy) from None
        except Exception as error:
            raise _refused(url, error) from error
        kinds = {self._files.protocol} if isinstance(self._files.protocol, str) else set(self._files.protocol)
        self._is_bucket = bool(WHOLE & kinds)
        self.url = str(self._files.unstrip_protocol(self._root))  # a folder's whole path

    def check(self) -> None:
        """Raises StorageError where nothing can be written."""
        name = f"seen/{uuid.uuid4().hex}"
        self.put(name, b"")
        self.remove(name)

    def get(self, name: str) -> bytes | None:
        """A file's content, None where there is none. Raises StorageError where it cannot be read."""
        with self._asked():
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> None:
        """Write a file. Raises StorageError."""
        path = self._path(name)
        with self._asked():
            if self._is_bucket:
                self._files.pipe_file(path, content)
                return
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            beside = f"{path}.{uuid.uuid4().hex}.part"
            try:
                self._files.pipe_file(beside, content)
                self._files.mv(beside, path)
            except Exception:
                with suppress(Exception):
                    self._files.rm_file(beside)
                raise

    def remove(self, name: str) -> None:
        """Remove a file, where that can be done."""
        with suppress(Exception):
            self._files.rm_file(self._path(name))

    def has(self, name: str) -> bool:
        """Whether a file is there. Raises StorageError."""
        with self._asked():
            self._files.invalidate_cache()  # others write there
            return bool(self._files.exists(self._path(name)))

    def names(self, folder: str) -> set[str]:
        """The files of a folder. Raises StorageError."""
        with self._asked():
            self._files.invalidate_cache()
            try:
                return {path.rpartition("/")[2] for path in self._files.ls(self._path(folder), detail=False)}
            except FileNotFoundError:
                return set()

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except SeamwiseError:
            raise
        except Exception as error:  # each kind of storage raises its own
            raise _refused(self.url, error) from error


def missing(option: str) -> InputError:
    """The error where the packages of the extra are not there."""
    return InputError(f"{option} needs Ray and fsspec", remedy="pip install 'seamwise[cluster]', on every machine")


def _refused(url: str, error: Exception) -> StorageError:
    return StorageError(
        f"--storage {url}: cannot be used",
        given=f"{type(error).__name__}: {error}",
        remedy="check its name and permissions, then run the same command again: what is finished is kept",
    )


def pack(place: Path) -> bytes:
    """A training's folder as one file."""
    buffer = BytesIO()
    with ZipFile(buffer, "w", strict_timestamps=False) as file:
        for path in sorted(place.iterdir()):
            file.write(path, path.name)
    return buffer.getvalue()


def unpack(content: bytes, place: Path) -> bool:
    """Make a training's folder of its file; whether it could be read. Raises StorageError where the disk refuses."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    with writing(place):
        try:
            beside.mkdir(parents=True, exist_ok=True)
            with ZipFile(BytesIO(content)) as file:
                for name in file.namelist():
                    (beside / Path(name).name).write_bytes(file.read(name))
            if not place.exists():
                beside.rename(place)
            return True
        except BadZipFile:
            return False
        finally:
            shutil.rmtree(beside, ignore_errors=True)
