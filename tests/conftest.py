"""Shapes in signatures are checked in tests: the hook has to be there before seamwise is imported."""

import os
import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, by whichever test opens a video first
install_import_hook("seamwise", "checking.check")

import torch  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def task_file(tmp_path, monkeypatch):
    """Writes a user's task file, whose `{here!r}` is this folder, and gives its path; sys.path is put back after."""
    monkeypatch.setattr(sys, "path", sys.path[:])

    def write(text):
        path = tmp_path / "mine.py"
        path.write_text(text.format(here=str(Path(__file__).parent)))
        return str(path)

    return write
