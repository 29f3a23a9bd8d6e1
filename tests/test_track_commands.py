"""What a person types to follow something, and what comes back; the tracker is one that says what it was told to."""

import csv
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from test_cli import Done, refused

from seamwise import cli, video
from seamwise.cli import main
from seamwise.errors import InputError, StorageError
from seamwise.systems.track import commands, predict
from seamwise.systems.track.boxes import overlap
from seamwise.systems.track.predict import BoxesFile, Follows, Seen, follow, record, run
from seamwise.systems.track.truth import read_boxes
from seamwise.video import Frame, Video

OTB = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "tracking/otb"
SIZE = (48, 64)
BOX = np.array([10.0, 8.0, 12.0, 10.0])
STEP = np.array([2.0, 1.0, 0.0, 0.0])


class Mover:
    """Says that the object moved by `STEP`, and that it is lost in the frames of those numbers."""

    def __init__(self, lost=(), step=STEP, fails_at=None):
        self._lost, self._step, self._fails_at = lost, step, fails_at
        self.lost = False

    def start(self, frame, box):
        if box[0] >= frame.shape[1]:
            raise InputError("box outside of the frame")
        self._box, self._n = np.array(box), 0

    def next(self, frame):
        self._n += 1
        if self._n == self._fails_at:
            raise KeyboardInterrupt
        self._box += self._step  # one array for all frames
        self.lost = self._n in self._lost
        return self._box, 0.25 if self.lost else 0.75


@pytest.fixture
def tracker(monkeypatch):
    def use(made):
        monkeypatch.setattr(commands, "_tracker", lambda model: made)

    use(Mover())
    return use


@pytest.fixture
def call(tmp_path, monkeypatch, capfd, tracker):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli.OWN_COMMANDS, "track", "seamwise.systems.track.commands")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["seamwise", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capfd.readouterr())

    return call


def picture(seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def pictures(folder, n, size=SIZE):
    folder.mkdir(parents=True)
    for k in range(n):
        Image.fromarray(picture(k, size)).save(folder / f"{k + 1:04}.png")
    return folder


def film(path, n):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE[::-1])
    for k in range(n):
        writer.write(picture(k))
    writer.release()
    return path


def sequence(folder, n, step=STEP):
    pictures(folder / "img", n)
    rows = BOX + np.arange(n)[:, None] * step + [1, 1, 0, 0]
    np.savetxt(folder / "groundtruth_rect.txt", rows, fmt="%g", delimiter=",")
    return folder


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def words(box=BOX):
    return "--box", ",".join(f"{number:g}" for number in box)


def test_help_shows_an_example(call):
    for command, option in (("predict", "--box"), ("eval", "--results")):
        told = call(command, "track", "--help").stdout
        assert f"Example: seamwise {command} track" in told
        assert option in told


def test_frames_of_a_folder(call, tracker, tmp_path):
    tracker(Mover(lost=(2, 3, 5)))
    folder = pictures(tmp_path / "seq", 7)
    done = call("predict", "track", folder, *words(), "--out", "out/boxes.csv")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{folder}: 7 frames followed" in done.stderr
    assert "; lost 2 times, in 3 of them; boxes in out/boxes.csv" in done.stderr
    rows = rows_of(tmp_path / "out/boxes.csv")
    assert list(rows[0]) == ["frame", "time_s", "x", "y", "w", "h", "confidence", "state"]
    assert [row["state"] for row in rows] == ["tracked", "tracked", "lost", "lost", "tracked", "lost", "tracked"]
    assert [float(row["x"]) for row in rows] == [10 + 2 * k for k in range(7)]
    assert [float(row["y"]) for row in rows] == [8 + k for k in range(7)]
    assert {(row["w"], row["h"]) for row in rows} == {("12.0", "10.0")}
    assert [float(row["confidence"]) for row in rows] == [1, 0.75, 0.25, 0.25, 0.75, 0.25, 0.75]
    assert [(int(row["frame"]), float(row["time_s"])) for row in rows] == [(k, k / 25) for k in range(7)]
    assert not list(tmp_path.glob("out/.*"))


def test_frames_of_a_video_for_machines_and_as_a_video(call, tracker, tmp_path):
    tracker(Mover(lost=(1,)))
    source = film(tmp_path / "in.avi", 6)
    done = call("predict", "track", source, *words(), "--start", 2, "--json", "--video", "seen.mp4")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["frame"], row["time_s"], row["state"]) for row in told] == [
        *((2, 0.2, "tracked"), (3, 0.3, "lost"), (4, 0.4, "tracked"), (5, 0.5, "tracked")),
    ]
    assert [told[1][key] for key in ("x", "y", "w", "h", "confidence")] == [12, 9, 12, 10, 0.25]
    drawn = [frame.picture for frame in Video("seen.mp4").frames()]
    assert [each.shape for each in drawn] == [(*SIZE, 3)] * 4
    assert "lost once, in 1 of them" in done.stderr


def test_lines_are_printed_without_a_file(call, tmp_path):
    done = call("predict", "track", pictures(tmp_path / "seq", 2), *words())
    assert done.stdout.splitlines() == [
        "frame,time_s,x,y,w,h,confidence,state",
        "0,0.0,10.0,8.0,12.0,10.0,1.0,tracked",
        "1,0.04,12.0,9.0,12.0,10.0,0.75,tracked",
    ]
    assert "never lost" in done.stderr


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,nan,4", "inf,2,3,4", "", "1,,2,3"])
def test_a_box_is_four_numbers(call, tmp_path, box):
    told = refused(call("predict", "track", pictures(tmp_path / "seq", 1), "--box", box))
    assert f"--box {box}: no box" in told
    assert "four numbers x,y,w,h in px" in told


def test_a_box_has_a_size_and_is_needed(call, tmp_path):
    folder = pictures(tmp_path / "seq", 1)
    for box in ("1,2,0,4", "1,2,3,-4"):
        assert f"--box {box}: a box of no size" in refused(call("predict", "track", folder, f"--box={box}"))
    assert "--box is missing" in refused(call("predict", "track", folder))
    assert "take a picture with the camera" in refused(call("predict", "track", "camera"))
    for spaced in ("10 8 12 10", "10, 8; 12\t10", "-3,8,12,10"):
        assert call("predict", "track", folder, "--box", spaced).returncode == 0
    assert "box outside of the frame" in refused(call("predict", "track", folder, "--box", "99,2,3,4"))


def test_what_there_is_not_is_named(call, tmp_path):
    folder = pictures(tmp_path / "seq", 3)
    assert "--start -1" in refused(call("predict", "track", folder, *words(), "--start", -1))
    told = refused(call("predict", "track", folder, *words(), "--start", 3, "--out", "a.csv"))
    assert "ended after 3 frames" in told
    assert "--start 3" in told
    assert not (tmp_path / "a.csv").exists()
    assert "none.mp4" in refused(call("predict", "track", "none.mp4", *words()))
    assert "no such file or folder" in refused(call("predict", "track", "", *words()))
    long = "n" * 300
    assert "name too long" in refused(call("predict", "track", long, *words(), "--out", "a.csv"))
    assert "name too long" in refused(call("predict", "track", folder, *words(), "--out", long))
    assert "no such camera" in refused(call("predict", "track", "camera:97", *words()))
    assert "no such kind of video" in refused(call("predict", "track", folder, *words(), "--video", "a.gif"))


def test_nothing_is_written_over_what_is_read(call, tmp_path):
    source, folder = film(tmp_path / "in.avi", 2), pictures(tmp_path / "seq", 2)
    before = source.read_bytes()
    os.link(source, tmp_path / "same.avi")
    for option, path in (("--out", "in.avi"), ("--video", "in.avi"), ("--video", "./same.avi")):
        told = refused(call("predict", "track", source, *words(), option, path))
        assert f"{option} {Path(path)}: would be written over what is followed" in told
    assert "over --out too" in refused(call("predict", "track", source, *words(), "--out", "a.mp4", "--video", "a.mp4"))
    assert "is a folder" in refused(call("predict", "track", source, *words(), "--out", "seq"))
    (folder / "truth.txt").write_text("1,2,3,4\n")
    for name in ("truth.txt", "0001.png"):
        assert "over what is followed" in refused(call("predict", "track", folder, *words(), "--out", folder / name))
    for _ in range(2):
        assert call("predict", "track", folder, *words(), "--out", folder / "boxes.csv").returncode == 0
    Path("model").mkdir()
    told = refused(call("predict", "track", source, *words(), "--model", "model/", "--out", "model"))
    assert "over the model" in told
    assert source.read_bytes() == before


def test_a_frame_that_cannot_be_read_ends_it_and_what_was_found_is_kept(call, tmp_path):
    folder = pictures(tmp_path / "seq", 5)
    (folder / "0004.png").write_bytes((folder / "0004.png").read_bytes()[:60])
    done = call("predict", "track", folder, *words(), "--out", "a.csv", "--video", "a.mp4")
    assert "0004.png" in refused(done)
    assert "3 frames followed" in done.stderr
    assert len(rows_of(tmp_path / "a.csv")) == len(list(Video("a.mp4").frames())) == 3


def test_frames_of_another_size_end_it(call, tmp_path):
    folder = pictures(tmp_path / "seq", 3)
    Image.fromarray(picture(0, (32, 40))).save(folder / "0003.png")
    done = call("predict", "track", folder, *words(), "--out", "a.csv")
    assert "seq, frame 2: of another size" in refused(done)
    assert len(rows_of(tmp_path / "a.csv")) == 2


def test_a_video_that_is_cut_short(call, tmp_path):
    source = film(tmp_path / "in.avi", 60)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    done = call("predict", "track", source, *words(), "--out", "a.csv")
    assert done.returncode == 2
    assert "in.avi: cut short or damaged" in done.stderr
    assert len(rows_of(tmp_path / "a.csv")) > 10


def test_an_interruption_keeps_what_was_found(call, tracker, tmp_path):
    tracker(Mover(fails_at=3))
    done = call("predict", "track", pictures(tmp_path / "seq", 6), *words(), "--out", "a.csv", "--video", "a.mp4")
    assert done.returncode == cli.INTERRUPTED
    assert "Traceback" not in done.stderr
    assert len(rows_of(tmp_path / "a.csv")) == len(list(Video("a.mp4").frames())) == 3


class Camera:
    """A camera that is pulled out after three pictures."""

    def __init__(self):
        self._n = 0

    def get(self, what):
        return 0.0

    def grab(self):
        self._n += 1
        return self._n <= 3

    def retrieve(self):
        return True, picture(self._n)

    def release(self):
        pass


def test_a_camera_ends_with_an_interruption_or_is_told_to_be_gone(call, tracker, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_camera", lambda source: Camera())
    gone = call("predict", "track", "camera", *words(), "--out", "a.csv")
    assert gone.returncode == 2
    assert "camera: the camera gave no more pictures after 3" in gone.stderr
    assert len(rows_of(tmp_path / "a.csv")) == 3
    tracker(Mover(fails_at=2))
    assert call("predict", "track", "camera", *words(), "--out", "b.csv").returncode == 0
    assert len(rows_of(tmp_path / "b.csv")) == 2


def seen(k, box=BOX, lost=False):
    return Seen(Frame(k, k / 25, picture(0)), box, 0.5, lost, 0.01, 0.02)


def test_boxes_are_saved_now_and_then(tmp_path, monkeypatch):
    path, now = tmp_path / "a.csv", [100.0]
    monkeypatch.setattr(predict.time, "monotonic", lambda: now[0])
    with BoxesFile(path) as file:
        assert not path.exists()
        for k, at in enumerate((100, 101, 109.9, 110, 110.1)):
            now[0] = at
            file.add(seen(k))
            assert len(rows_of(path)) == (1, 1, 1, 4, 4)[k]
    assert len(rows_of(path)) == 5
    with BoxesFile(path):
        pass
    assert len(rows_of(path)) == 5  # a run without a frame leaves an earlier file


def test_where_nothing_may_be_written_is_told_at_the_first_frame(call, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"), BoxesFile(tmp_path / "file" / "a.csv") as file:
        file.add(seen(0))
    done = call("predict", "track", pictures(tmp_path / "seq", 3), *words(), "--out", "file/a.csv")
    assert done.returncode == 1
    assert "file/a.csv: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_frame_without_a_box():
    told = record(seen(3, np.full(4, np.nan), lost=True))
    none = dict.fromkeys(("x", "y", "w", "h"))
    assert told == {"frame": 3, "time_s": 0.12, **none, "confidence": 0.5, "state": "lost"}
    assert predict.csv_line(told.values()) == "3,0.12,,,,,0.5,lost\n"


def test_drawings(tmp_path):
    from seamwise.systems.track.drawing_box import LOST, TRACKED, draw

    frame = Frame(0, 0.0, np.zeros((120, 160, 3), np.uint8))
    box = np.array([40.0, 50.0, 30.0, 40.0])
    tracked, lost = draw(Seen(frame, box, 0.9, False, 0, 0)), draw(Seen(frame, box, 0.1, True, 0, 0))
    assert tuple(tracked[89, 55]) == TRACKED
    assert tuple(lost[89, 55]) == LOST
    assert (tracked[:14, :30] == 0).all()
    assert (lost[:14, :30] != 0).any()  # LOST in the corner
    nowhere = draw(Seen(frame, np.full(4, np.nan), np.nan, True, 0, 0))
    assert (nowhere[20:] == 0).all()
    assert not frame.picture.any()
    outside = np.array([-500.0, 900.0, 10.0, 10.0])
    assert draw(Seen(frame, outside, 0.9, False, 0, 0)).shape == frame.picture.shape


def test_one_pass_over_frames():
    told = []
    frames = (Frame(k, k / 25, picture(k)) for k in range(4))
    track = run(Mover(lost=(3,)), frames, BOX, lambda seen: told.append(seen.frame.number))
    assert track.boxes.tolist() == (BOX + np.arange(4)[:, None] * STEP).tolist()
    assert track.lost.tolist() == [False, False, False, True]
    assert track.scores.tolist() == [1, 0.75, 0.75, 0.25]
    assert (track.size, told) == ((64, 48), [0, 1, 2, 3])
    assert track.seconds > 0
    assert track.reading_s > 0
    with pytest.raises(InputError, match="no frames"):
        run(Mover(), [], BOX)
    assert not list(follow(Mover(), [], BOX))
    assert isinstance(Mover(), Follows)


def test_seconds_are_the_trackers_alone(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(predict.time, "perf_counter", lambda: now[0])

    class Slow(Mover):
        def next(self, frame):
            now[0] += 1
            return super().next(frame)

    def frames():
        for k in range(3):
            now[0] += 10
            yield Frame(k, 0.0, picture(0))

    track = run(Slow(), frames(), BOX, lambda seen: now.__setitem__(0, now[0] + 100))
    assert (track.seconds, track.reading_s) == (2, 30)


def test_eval(call, tmp_path):
    for name, step in (("Right", STEP), ("Wrong", -STEP / 2)):
        sequence(tmp_path / "data" / name, 8, step)
    done = call("eval", "track", "--data", "data", "--results", "boxes", "--plots", "plots", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    rows = told["per_sequence"]
    assert rows["Right"]["auc"] == pytest.approx(20 / 21)
    assert rows["Right"]["ao"] == pytest.approx(1)
    found = read_boxes(tmp_path / "boxes/Wrong.txt")
    assert found == pytest.approx(BOX + np.arange(8)[:, None] * STEP)
    assert (tmp_path / "boxes/Right.txt").read_text().splitlines()[1] == "13.0000,10.0000,12.0000,10.0000"
    truth = read_boxes(tmp_path / "data/Wrong/groundtruth_rect.txt")
    assert rows["Wrong"]["ao"] == pytest.approx(overlap(truth[1:], found[1:]).mean())
    assert told["auc"] == pytest.approx((rows["Right"]["auc"] + rows["Wrong"]["auc"]) / 2)
    assert (told["n_sequences"], told["n_frames"], told["n_failed"]) == (2, 16, 0)
    assert told["fps"] > told["fps_with_reading"] > 0
    assert told["lost_when_absent"] is None
    assert f"seamwise [{told['auc']:.3f}]" in (tmp_path / "plots/success.svg").read_text()
    assert f"seamwise [{told['precision']:.3f}]" in (tmp_path / "plots/precision.svg").read_text()


def test_eval_for_a_person(call, tracker, tmp_path):
    tracker(Mover(lost=(2, 3)))
    sequence(tmp_path / "data/Gone", 6)
    rows = np.add(read_boxes(tmp_path / "data/Gone/groundtruth_rect.txt"), [1, 1, 0, 0])
    rows[2:4] = np.nan
    np.savetxt(tmp_path / "data/Gone/groundtruth_rect.txt", rows, delimiter=",")
    done = call("eval", "track", "--data", "data")
    assert done.returncode == 0, done.stderr
    assert "1 sequence, 4 frames with the object; 90 % intervals:" in done.stdout
    assert "said to be lost where it is absent      1.000, and where it is 0.000" in done.stdout
    assert done.stdout.splitlines()[-1].split()[:4] == ["Gone", "0.952", "1.000", "1.000"]


def test_sequences_that_cannot_be_read_are_named_and_the_others_go_on(call, tmp_path):
    for name in ("Bad", "Good", "Sized"):
        sequence(tmp_path / "data" / name, 4)
    (tmp_path / "data/Bad/img/0003.png").write_bytes(b"nothing")
    Image.fromarray(picture(0, (32, 40))).save(tmp_path / "data/Sized/img/0002.png")
    done = call("eval", "track", "--data", "data", "--results", "boxes", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (list(told["per_sequence"]), told["n_failed"]) == (["Good"], 2)
    assert "0003.png" in done.stderr
    assert "Sized, frame 1: of another size" in done.stderr
    assert [path.name for path in (tmp_path / "boxes").iterdir()] == ["Good.txt"]
    assert "2 could not be followed" in call("eval", "track", "--data", "data").stdout


def test_eval_refuses_what_cannot_be_scored(call, tmp_path):
    sequence(tmp_path / "data/Bad", 2)
    (tmp_path / "data/Bad/img/0002.png").write_bytes(b"nothing")
    assert "none of 1 sequences could be followed" in refused(call("eval", "track", "--data", "data"))
    assert "nowhere" in refused(call("eval", "track", "--data", "nowhere"))
    assert "Usage: seamwise eval track" in refused(call("eval", "track"))
    for folder in ("data", "data/../data", "data/Bad", "data/Bad/img"):
        told = refused(call("eval", "track", "--data", "data", "--results", folder))
        assert f"--results {Path(folder)}: the data are there" in told


@pytest.mark.data
@pytest.mark.skipif(not OTB.is_dir(), reason=f"no sequences in {OTB}")
def test_real_sequences_are_scored_as_their_boxes_say(call, tracker, tmp_path):
    tracker(Mover(step=np.zeros(4)))
    done = call("eval", "track", "--data", OTB, "--results", "boxes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["n_sequences"], told["n_failed"]) == (8, 0)
    for name, row in told["per_sequence"].items():
        truth = np.loadtxt(OTB / name / "groundtruth_rect.txt", delimiter=",")
        found = np.loadtxt(tmp_path / "boxes" / f"{name}.txt", delimiter=",")
        middles = [boxes[:, :2] + boxes[:, 2:] / 2 for boxes in (truth, found)]
        assert row["precision"] == pytest.approx((np.hypot(*(middles[0] - middles[1]).T) <= 20).mean())
        assert row["auc"] == pytest.approx(np.mean([(overlap(truth, found) > t / 20).mean() for t in range(21)]))


def test_a_first_frame_that_is_missing_is_not_taken_for_another(call, tmp_path):
    folder = pictures(tmp_path / "gap", 8)
    sorted(folder.iterdir())[4].unlink()
    told = refused(call("predict", "track", folder, *words(), "--start", "4"))
    assert "--start 4, which is missing" in told
