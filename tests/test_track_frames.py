from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from seamwise.errors import InputError, StorageError
from seamwise.systems.track.frames import PictureFrames, check_size, frames_of, pictures_in
from seamwise.video import Frame, VideoFile

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


def save(path, picture=PICTURE):
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path)
    return path


def folder(path, *names, picture=PICTURE):
    for name in names:
        save(path / name, picture)
    return str(path)


def refused(source):
    with pytest.raises(InputError) as caught:
        list(frames_of(source))
    assert "remedy" in str(caught.value)
    return str(caught.value)


def test_a_folder_is_read_in_natural_order_and_what_is_no_picture_passed_over(tmp_path):
    for k in (10, 2, 1):
        save(tmp_path / f"img{k}.png", PICTURE // k)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".img3.png").write_text("x")
    (tmp_path / "img4.png").mkdir()
    frames = frames_of(str(tmp_path))
    assert frames.names == ("img1.png", "img2.png", "img10.png")
    assert (frames.n_frames, frames.fps) == (3, 25.0)
    for frame, k in zip(frames, (1, 2, 10), strict=True):
        assert np.array_equal(frame.picture, PICTURE // k)
    assert (frames.cut, frames.end) == (False, "ended after 3 frames")


@pytest.mark.parametrize(
    ("digits", "numbers", "warnings"),
    [
        ("0001 0002 0003", (0, 1, 2), ""),
        ("0300 0301 0302", (0, 1, 2), ""),
        ("7", (0,), ""),
        ("0001 0002 0003 0007", (0, 1, 2, 6), "frames 4 to 6 are missing"),
        ("0001 0002 0004", (0, 1, 3), "frame 3 is missing"),
        ("1 2 4 5 7 8 10 11 13 14", (0, 1, 3, 4, 6, 7, 9, 10, 12, 13), "frames 3, 6, 9 and others, 4 in all, are"),
        ("10 20 30", (0, 1, 2), ""),
        ("10 20 40", (0, 1, 3), "frame 30 is missing"),
        ("1403636579763 1403636579811 1403636579866", (0, 1, 2), "do not follow one another; the pictures were"),
    ],
)  # fmt: skip
def test_frames_keep_their_numbers(tmp_path, digits, numbers, warnings):
    frames = frames_of(folder(tmp_path, *(f"a2_{d}.png" for d in digits.split())))
    read = list(frames)
    assert tuple(frame.number for frame in read) == frames.numbers == numbers
    assert [frame.time_s for frame in read] == pytest.approx([number / 25 for number in numbers])
    assert len(frames.warnings) == (1 if warnings else 0)
    assert warnings in "".join(frames.warnings)


def test_pictures_without_numbers_are_counted(tmp_path):
    frames = frames_of(folder(tmp_path, "b.png", "a.png", "c1.png"))
    assert (frames.names, frames.numbers, frames.warnings) == (("a.png", "b.png", "c1.png"), (0, 1, 2), ())


def test_two_pictures_of_one_frame_are_refused(tmp_path):
    assert "two pictures of frame 2\n  given     img02.png and img2.png" in refused(
        folder(tmp_path, "img1.png", "img2.png", "img02.png")
    )


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA"])
def test_every_mode_is_read_in_colour(tmp_path, mode):
    picture = Image.fromarray(PICTURE).convert(mode)
    (frame,) = frames_of(folder(tmp_path, "1.png", picture=picture))
    assert np.array_equal(frame.picture, np.array(picture.convert("RGB")))


def test_grey_of_16_bit_uses_the_full_range_where_the_first_frame_does(tmp_path):
    wide = np.linspace(0, 65_535, 40 * 50).reshape(40, 50).astype(np.uint16)
    (frame,) = frames_of(folder(tmp_path, "1.png", picture=wide))
    assert np.abs(frame.picture[..., 1] - wide / 257).max() <= 0.5


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_brightness_does_not_jump_from_frame_to_frame(tmp_path, kind):
    scene = np.linspace(7000, 8000, 40 * 50).reshape(40, 50)
    for k, change in enumerate((0, 0, 300)):
        scene[0, 0] = 7000 if k != 1 else 20_000  # one bright pixel
        save(tmp_path / f"{k}.{'png' if kind == np.uint16 else 'tif'}", (scene + change).astype(kind))
    first, second, third = (frame.picture.astype(int) for frame in frames_of(str(tmp_path)))
    assert np.ptp(first) > 100
    assert np.array_equal(first.ravel()[3:], second.ravel()[3:])
    assert np.ptp((third - first)[1:]) <= 1
    assert third.mean() > first.mean() + 20


def test_a_picture_that_cannot_be_read_is_told_when_its_turn_comes(tmp_path):
    source = folder(tmp_path, "1.png", "2.png", "3.png")
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    frames, seen = frames_of(source), []
    with pytest.raises(InputError, match=r"2\.png: cut short or damaged"):
        seen.extend(frame.number for frame in frames)
    assert seen == [0]
    assert (frames.cut, frames.end) == (True, "ended after 1 frames of 3")
    for name, told in (("2.png", "empty"), ("3.png", "no such file")):
        frames = frames_of(source)
        (tmp_path / "2.png").write_bytes(whole if name == "3.png" else b"")
        if name == "3.png":
            (tmp_path / name).unlink()
        with pytest.raises(InputError, match=rf"{name}: {told}"):
            list(frames)


def test_a_frame_of_another_size_is_yielded_and_can_be_refused(tmp_path):
    folder(tmp_path, "1.png", "2.png")
    save(tmp_path / "3.png", PICTURE[:30])
    shapes = [frame.picture.shape[:2] for frame in frames_of(str(tmp_path))]
    assert shapes == [(40, 50), (40, 50), (30, 50)]
    check_size(Frame(1, 0.0, PICTURE), (40, 50))
    with pytest.raises(InputError, match=r"a\.mp4, frame 2: .*\n  given     50 x 30 px\n  expected  50 x 40"):
        check_size(Frame(2, 0.0, PICTURE[:30]), (40, 50), "a.mp4")


def test_a_video_is_read_twice_and_says_how_it_ended(tmp_path):
    with VideoFile(tmp_path / "a.mp4", 10) as file:
        for _ in range(6):
            file.add(PICTURE)
    frames = frames_of(str(tmp_path / "a.mp4"))
    assert (frames.n_frames, frames.fps, frames.names, frames.warnings) == (6, 10.0, (), ())
    for _ in range(2):
        assert [frame.number for frame in frames] == list(range(6))
        assert (frames.cut, frames.end) == (False, "ended after 6 frames")


def test_a_video_that_is_cut_short_gives_what_it_has(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (50, 40))
    for _ in range(40):
        writer.write(PICTURE)
    writer.release()
    whole = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(whole[: len(whole) // 2])
    frames = frames_of(str(tmp_path / "a.avi"))
    assert 5 < len(list(frames)) < 30
    assert frames.cut
    assert "cut short" in frames.end
    (tmp_path / "b.avi").write_bytes(whole[: whole.index(b"movi") + 4])
    with pytest.raises(InputError, match=r"b\.avi: (no frames|no video)"):
        list(frames_of(str(tmp_path / "b.avi")))


def test_what_holds_no_frames_is_refused_with_a_remedy(tmp_path, capfd):
    assert "no such file or folder" in refused(str(tmp_path / "away"))
    assert "name too long" in refused(str(tmp_path / ("long" * 90)))
    (tmp_path / "empty").mkdir()
    assert "an empty folder" in refused(str(tmp_path / "empty"))
    (tmp_path / "text.mp4").write_text("hello " * 99)
    assert "no video that can be read" in refused(str(tmp_path / "text.mp4"))
    assert "give the video" in refused(str(tmp_path))
    single = save(tmp_path / "Couple/img/0001.jpg")
    assert f"give the folder that it is in: {single.parent}" in refused(str(single))
    assert f"give the folder {single.parent}" in refused(str(tmp_path / "Couple"))
    assert "camera:87: no such camera" in refused("camera:87")
    assert capfd.readouterr().err == ""


def test_frames_of_given_paths(tmp_path):
    folder(tmp_path, *(f"{k:04}.png" for k in range(1, 9)))
    frames = PictureFrames("Couple", pictures_in(tmp_path)[2:5])
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert frames.names == ("0003.png", "0004.png", "0005.png")


def test_a_video_may_be_called_by_a_time_of_day(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with VideoFile(Path("12:30.avi"), 25) as film:
        film.add(PICTURE)
    assert len(list(frames_of("12:30.avi"))) == 1


def test_a_video_whose_name_is_too_long_is_told(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"), VideoFile(tmp_path / f"{'n' * 250}.avi", 25) as film:
        film.add(PICTURE)
