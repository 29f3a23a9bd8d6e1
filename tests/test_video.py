import os
import struct
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from seamwise.errors import InputError, StorageError
from seamwise.video import Video, VideoFile, is_camera


def grey(shade, size=(120, 160)):
    return np.full((*size, 3), shade, dtype=np.uint8)


def film(path, n_frames, fps=10):
    with VideoFile(path, fps) as file:
        for k in range(n_frames):
            file.add(grey(20 * k % 256))
    return path


def test_a_video_is_written_and_read(tmp_path):
    with VideoFile(tmp_path / "new/a.mp4", 10) as file:
        for _ in range(12):
            file.add(grey(90, (121, 161)))
        file.add(grey(90, (50, 50)))
    seen = Video(str(tmp_path / "new/a.mp4"))
    frames = list(seen.frames(5))
    assert [frame.number for frame in frames] == [0, 5, 10]
    assert frames[1].picture.shape == (120, 160, 3)
    assert frames[1].time_s == pytest.approx(0.5)
    assert (seen.cut, seen.end) == (False, "ended after 13 frames")


@pytest.mark.parametrize("source", ["camera:87", "camera:x", "camera:-1"])
def test_no_such_camera(source, capfd):
    assert is_camera(source)
    with pytest.raises(InputError, match="camera"):
        Video(source)
    assert capfd.readouterr().err == ""


def test_a_video_that_is_being_written_is_not_under_its_name(tmp_path):
    place = film(tmp_path / "a.mp4", 3)
    with VideoFile(place, 10) as file:
        file.add(grey(0))
        assert len(list(Video(str(place)).frames())) == 3
    assert len(list(Video(str(place)).frames())) == 1
    assert os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError("x")])
def test_what_was_written_until_an_error_can_be_played(tmp_path, error):
    with suppress(KeyboardInterrupt, InputError), VideoFile(tmp_path / "a.mp4", 10) as file:
        for _ in range(4):
            file.add(grey(9))
        raise error
    assert len(list(Video(str(tmp_path / "a.mp4")).frames())) == 4


def test_a_process_that_is_killed_leaves_nothing_under_the_name(tmp_path):
    script = (
        "import os, numpy as np, pathlib, seamwise.video as v\n"
        "with v.VideoFile(pathlib.Path('a.mp4'), 10) as f:\n"
        "    f.add(np.zeros((64, 64, 3), np.uint8)); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 9
    assert not (tmp_path / "a.mp4").exists()


def test_no_frames_no_video(tmp_path):
    film(tmp_path / "a.mp4", 0)
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        film(tmp_path / "file/a.mp4", 1)


def test_the_time_of_a_frame_where_the_rate_varies(tmp_path):
    path = film(tmp_path / "a.mp4", 6)
    path.write_bytes(slowed(path.read_bytes()))
    frames = list(Video(str(path)).frames())
    gaps = np.diff([frame.time_s for frame in frames])
    assert len(frames) == 6
    assert gaps[:3] == pytest.approx(np.full(3, gaps[0]))
    assert gaps[3:] == pytest.approx(np.full(2, gaps[0] / 2), rel=0.05)


def slowed(film):
    """An MP4 whose frames from the fourth on last half as long: the table `stts` gets a second row."""
    at = film.index(b"stts") - 4
    size, _, _, n_rows, n_frames, delta = struct.unpack(">I4sIIII", film[at : at + 24])
    assert (size, n_rows, n_frames) == (24, 1, 6)
    film = film[:at] + struct.pack(">I4sIIIIII", 32, b"stts", 0, 2, 3, delta, 3, delta // 2) + film[at + 24 :]
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = film.index(name) - 4
        film = film[:at] + struct.pack(">I", struct.unpack(">I", film[at : at + 4])[0] + 8) + film[at + 4 :]
    return film
