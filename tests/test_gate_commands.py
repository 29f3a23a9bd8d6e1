"""What a person types at the gate, and what comes back; it sees with the eyes of `test_gate_gate`."""

import json
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from test_cli import Done, refused
from test_gate_gate import SIGHT, alone, folder_of, scene

from seamwise import cli, steps
from seamwise.cli import main
from seamwise.systems.gate import commands

WHO = ("anna", "ben", "carl")


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "_sight", lambda model: SIGHT)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["seamwise", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capfd.readouterr())  # with what OpenCV and FFmpeg print

    return call


@pytest.fixture
def people(tmp_path):
    return folder_of(tmp_path / "people", anna=[alone("anna")], ben=[alone("ben")])


def save(path, picture, **options):
    Image.fromarray(picture).save(path, **options)
    return str(path)


def film(path, *names):
    """A small video; a second has ten frames."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 120))
    for name in names:
        writer.write(scene(*([(name, 20, 10, 80)] if name else []), size=(120, 160))[..., ::-1])
    writer.release()
    return str(path)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def enrolled(run, people, *words):
    return run("predict", "gate", "--enrol", str(people), *words)


def test_help_shows_the_gates_own_options(run):
    for command, option in (("predict", "--far"), ("eval", "--choices")):
        told = run(command, "gate", "--help").stdout
        assert f"seamwise {command} gate" in told
        assert f"Example: seamwise {command} gate" in told
        assert option in told
        assert f"seamwise {command} gate --help" in run(command, "--help").stdout


def test_the_command_line_itself_stays_light():
    code = "import sys, seamwise.cli; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'cv2', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_model_of_the_task_goes_to_the_command_of_every_task(run, monkeypatch):
    reached = []
    monkeypatch.setattr(cli, "app", lambda words: (reached.append(words), sys.exit(0)))
    for words in (["--model", "m", "--json"], ["--model=m"]):
        assert run("eval", "gate", *words).returncode == 0
    assert run("predict", "gate", "--model", "m", "a.png").returncode == 0
    assert len(reached) == 3
    assert "d: no such folder" in refused(run("eval", "gate", "--data", "d", "--model", "m"))
    assert "Usage: seamwise eval gate" in refused(run("eval", "gate"))


def test_photographs(run, people, tmp_path):
    sources = [save(tmp_path / f"{name}.jpg", alone(name, 5), quality=95) for name in ("anna", "stranger")]
    done = enrolled(run, people, *sources, save(tmp_path / "none.png", scene()))
    assert done.returncode == 0, done.stderr
    opened, stranger, nobody = done.stdout.splitlines()
    assert f"{sources[0]}: open: anna (score 1.00, threshold 0.89 for a false-accept rate of 1 % [0.18, 3.1])" == opened
    assert ": closed: stranger (score 0.5" in stranger
    assert nobody.endswith("none.png: closed: no face")


def test_photographs_for_machines(run, people, tmp_path):
    source = save(tmp_path / "two.png", scene(("ben", 20, 20, 120), ("stranger", 200, 30, 60)))
    words = ("--json", "--out", "seen", "--log", "log.jsonl", "--far", "0.02")
    (told,) = lines(enrolled(run, people, source, *words))
    assert told.keys() == {
        *("file", "frame", "who", "score", "threshold", "far", "far_low", "far_high", "open", "reason", "box", "faces")
    }
    assert (told["file"], told["frame"], told["who"], told["open"], told["far"]) == (source, None, "ben", True, 0.02)
    assert told["box"] == [20, 20, 120]
    assert [face["who"] for face in told["faces"]] == ["ben", None]
    assert cv2.imread(str(tmp_path / "seen/two.png")).shape == (240, 320, 3)
    enrolled(run, people, source, *words)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [{name: each[name] for name in told} for each in log] == [told, told]
    assert log[0]["at"] < log[1]["at"]


def test_pictures_of_one_name_do_not_overwrite_one_another(run, people, tmp_path):
    (tmp_path / "b").mkdir()
    sources = [save(tmp_path / "a.png", alone("anna")), save(tmp_path / "b/a.png", scene())]
    assert enrolled(run, people, *sources, "--out", "seen").returncode == 0
    assert {path.name for path in (tmp_path / "seen").iterdir()} == {"a.png", "a-2.png"}


def test_every_kind_of_picture(run, people, tmp_path):
    upright = scene(("anna", 10, 20, 120), size=(300, 200))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    turned = save(tmp_path / "turned.jpg", np.rot90(upright).copy(), exif=exif, quality=95)
    clear = save(tmp_path / "clear.png", np.dstack([upright, np.full((300, 200), 255, np.uint8)]))
    grey = save(tmp_path / "grey.png", upright[..., 0])
    deep = save(tmp_path / "deep.png", upright[..., 0].astype(np.uint16) * 200)
    told = lines(enrolled(run, people, turned, clear, grey, deep, "--json"))
    assert [each["open"] for each in told] == [True, True, False, False]
    assert told[0]["box"] == pytest.approx([10, 20, 120], abs=3)


def huge_png(path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b""))
    return str(path)


def test_files_that_cannot_be_read_are_named_and_the_others_go_on(run, people, tmp_path):
    good = save(tmp_path / "good.png", alone("anna"))
    whole = (tmp_path / "good.png").read_bytes()
    for name, content in {
        "cut.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "text.jpg": b"no picture",
        "what": b"no picture",
        "empty.avi": b"",
        "text.mp4": b"no video",
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    bad = ["cut.png", "empty.jpg", "text.jpg", "what", "empty.avi", "text.mp4", "folder", "away.png", "away.mp4"]
    done = enrolled(run, people, *bad, huge_png(tmp_path / "huge.png"), good, "--json", "--out", "seen")
    told = refused(done)
    assert all(f"error: {name}: " in told for name in bad), told
    assert "huge.png: too large" in told
    closed = lines(done)
    assert [each["file"] for each in closed[-1:]] == [good]
    assert {each["reason"] for each in closed[:-1]} == {"cannot see"}
    assert not any(each["open"] for each in closed[:-1])


def test_unusable_photographs_at_enrolment(run, tmp_path):
    people = folder_of(
        tmp_path / "people", anna=[alone("anna"), alone("anna", light=0.15)], ben=[scene(), b""], carl=[alone("carl")]
    )
    done = enrolled(run, people, save(tmp_path / "carl.png", alone("carl", 3)), "--json")
    told = refused(done)
    assert "not enrolled: " in told
    assert "anna/1.png: too dark" in told
    assert "error: ben: not enrolled, none of 2 photographs will do" in told
    assert "ben/0.png: no face" in told
    assert lines(done)[0]["who"] == "carl"
    only = folder_of(tmp_path / "only", ben=[scene(("ben", 10, 10, 100), ("anna", 180, 10, 90))])
    assert "ben/0.png: two faces" in refused(enrolled(run, only, "carl.png"))


def test_a_photograph_that_is_only_refused_is_no_error(run, tmp_path):
    people = folder_of(tmp_path / "people", anna=[alone("anna"), alone("anna", blur=4)])
    done = enrolled(run, people, save(tmp_path / "a.png", alone("anna")))
    assert done.returncode == 0
    assert "anna/1.png: too blurred" in done.stderr


def test_twice_under_two_names(run, tmp_path):
    twin = folder_of(tmp_path / "twin", anna=[alone("anna")], anne=[alone("anna")])
    assert "one photograph of two people" in refused(enrolled(run, twin, "a.png"))
    people = folder_of(tmp_path / "people", anna=[alone("anna")], anne=[alone("anna", 1)])
    done = enrolled(run, people, save(tmp_path / "a.png", alone("ben")))
    assert done.returncode == 0
    assert "warning: anna and anne are as alike as one person (1.00, threshold 0.89)" in done.stderr


def test_a_video(run, people, tmp_path):
    source = film(tmp_path / "door.avi", None, *["anna"] * 4, "ben", *["stranger"] * 2)
    done = enrolled(run, people, source, "--json", "--out", "seen", "--log", "log.jsonl")
    assert done.returncode == 0, done.stderr
    told = lines(done)
    assert [each["frame"] for each in told] == list(range(8))
    assert [each["open"] for each in told] == [False] * 3 + [True, True] + [False] * 3
    assert [each["reason"].partition(":")[0] for each in told[:3]] == ["no face", "not yet", "not yet"]
    assert told[5]["reason"] == "not yet: seen in 1 of 3 frames"
    assert "door.avi: ended after 8 frames" in done.stderr
    drawn = cv2.VideoCapture(str(tmp_path / "seen/door.mp4"))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 8
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8
    few = enrolled(run, people, source, "--every", "2", "--frames", "1")
    assert "frame 2 (0.2 s): open: anna" in few.stdout
    assert len(few.stdout.splitlines()) == 4


def test_a_video_that_is_cut(run, people, tmp_path):
    whole = tmp_path / "whole.avi"
    film(whole, *["anna"] * 20)
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = enrolled(run, people, "cut.avi", str(whole), "--json", "--out", "seen")
    told = lines(done)
    assert "error: cut.avi: cut short or damaged: " in refused(done)
    assert " of 20 frames could be read" in done.stderr
    of_cut = [each for each in told if each["file"] == "cut.avi"]
    assert 5 < len(of_cut) < 15
    assert of_cut[3]["open"]
    assert (of_cut[-1]["open"], of_cut[-1]["reason"], of_cut[-1]["frame"]) == (False, "cannot see", None)
    assert len(told) - len(of_cut) == 20
    assert (tmp_path / "seen/cut.mp4").stat().st_size > 0
    assert len(done.stderr.splitlines()) == 2


def test_no_camera(run, people):
    told = refused(enrolled(run, people, "camera:97"))
    assert told.startswith("error: camera:97: no such camera")
    assert len(told.splitlines()) == 2
    assert "camera:x" in refused(enrolled(run, people, "camera:x"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--far", "0"), "no false-accept rate: 0"),
        (("--far", "2"), "no false-accept rate: 2"),
        (("--far", "much"), "--far"),
        (("--frames", "0"), "--frames 0"),
        (("--every", "0"), "--every 0"),
        (("--enrol", "nowhere"), "nowhere: no such folder"),
        (("--enrol", "empty"), "empty: nobody in it"),
        (("--log", "nowhere/log.jsonl"), "nowhere/log.jsonl"),
    ],
)
def test_mistakes_are_named(run, people, tmp_path, words, named):
    (tmp_path / "empty").mkdir()
    done = enrolled(run, people, "a.png", *words)
    assert done.returncode in (1, 2)
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--enrol", "0"), "--enrol 0"),
        (("--choices", "5"), "at least 20"),
        (("--data", "nowhere"), "nowhere: no such folder"),
        (("--data", "empty"), "empty: nobody in it"),
        (("--enrol", "9"), "too few people"),
        (("--data", "faceless"), "no face in any photograph"),
    ],
)
def test_mistakes_at_scoring_are_named(run, people, tmp_path, words, named):
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "faceless", anna=[scene(), scene(seed=1)], ben=[scene(seed=2), scene(seed=3)])
    assert named in refused(run("eval", "gate", "--data", str(people), *words))


@pytest.fixture
def scored(tmp_path):
    """Three people of three photographs; the second of each is dark, one has no face, one cannot be read."""
    pictures = {
        who: [alone(who, 10 * k), alone(who, 10 * k + 1, light=0.15), alone(who, 10 * k + 2)]
        for k, who in enumerate(WHO)
    }
    pictures["carl"][2] = scene()
    pictures["ben"].append(b"")
    pictures["stranger"] = [alone("stranger", 70, light=0.15), alone("stranger", 71, light=0.15)]
    folder = folder_of(tmp_path / "scored", **pictures)
    (folder / "boxes.csv").write_text("never read")
    return str(folder)


def test_scores(run, scored):
    done = run("eval", "gate", "--data", scored, "--choices", "20", "--json")
    assert done.returncode == 0, done.stderr
    assert "ben/3.png: empty" in done.stderr
    (told,) = lines(done)
    assert (told["n_people"], told["n_left_out"], told["n_refused"]) == (3, 1, 5)
    assert (told["n_probes"], told["n_unseen"], told["n_unreadable"]) == (6, 1, 1)
    assert [told["identification"], told["tar_at_far_1pct"]] == pytest.approx([5 / 6, 5 / 6])
    for name in ("identification", "tar_at_far_1pct", "eer", "far_5pct_measured", "far_01pct_tar"):
        assert told[f"{name}_low"] <= told[name] <= told[f"{name}_high"]
    assert told["far_1pct_measured"] == 0
    assert told["far_1pct_tar"] > 0.5


def test_scores_where_nothing_is_refused(run, scored):
    (told,) = lines(run("eval", "gate", "--data", scored, "--choices", "20", "--no-refuse", "--json"))
    assert (told["n_people"], told["n_left_out"], told["n_refused"], told["n_probes"]) == (4, 0, 0, 7)


def test_scores_for_people(run, scored):
    told = run("eval", "gate", "--data", scored, "--choices", "20").stdout
    assert "3 people, 1 of each one's photographs enrolled, 6 others shown" in told
    assert "identification          0.833 [" in told
    assert "false accepts stated 0.001: measured 0.000" in told


def test_many_photographs_tell_the_time_left(run, scored, monkeypatch):
    monkeypatch.setattr(steps, "SHOW_AFTER_S", 0)
    monkeypatch.setattr(steps, "SHOW_EVERY_S", 0)
    done = run("eval", "gate", "--data", scored, "--choices", "20", "--json")
    assert " of 12, " in done.stderr
    assert " s left: photographs looked at" in done.stderr
    assert len(lines(done)) == 1


def test_pictures_never_replace_what_was_asked_about_or_enrolled(run, people, tmp_path):
    visitor = tmp_path / "kept/visitor.png"
    visitor.parent.mkdir()
    visitor.write_bytes(next(people.rglob("*.png")).read_bytes())
    before = visitor.read_bytes()
    enrolled(run, people, str(visitor), "--out", str(visitor.parent))
    assert visitor.read_bytes() == before
    assert (visitor.parent / "visitor-2.png").is_file()


def test_places_that_cannot_be_written_are_refused_before_anybody_is_enrolled(run, people, tmp_path):
    (tmp_path / "file").write_text("")
    assert "--out" in refused(enrolled(run, people, "a.png", "--out", str(tmp_path / "file")))
    assert "--log" in refused(enrolled(run, people, "a.png", "--log", str(tmp_path)))
