import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from seamwise.errors import InputError
from seamwise.systems.track.folders import check_scored, frames_of_sequence, sequences_of
from seamwise.systems.track.truth import read_boxes, write_otb

TRACKING = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "tracking"
ABSENT = [np.nan] * 4
ROWS = ["5,7,10,12", "6,7,10,12", "7,8,11,12.5"]
FROM_0 = [[4, 6, 10, 12], [5, 6, 10, 12], [6, 7, 11, 12.5]]


def pictures(folder, n, first=1, digits=4, suffix="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(first, first + n):
        Image.new("L", (40, 30)).save(folder / f"{k:0{digits}}.{suffix}")


def otb(folder, rows=ROWS, n=None, name="groundtruth_rect.txt", first=1):
    pictures(folder / "img", len(rows) if n is None else n, first)
    (folder / name).write_text("\n".join(rows) + "\n")
    return folder


def beside(folder, rows=ROWS, n=None, within="."):
    """As GOT-10k and VOT have it."""
    pictures(folder / within, len(rows) if n is None else n, digits=8)
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    return folder


def one(folder):
    (sequence,) = sequences_of([folder])
    return sequence


def refused(*folders):
    with pytest.raises(InputError) as caught:
        sequences_of(folders)
    assert "expected" in str(caught.value) or "remedy" in str(caught.value)
    return str(caught.value)


def test_a_sequence_of_each_style(tmp_path):
    for folder, style in (
        (otb(tmp_path / "a"), "otb"),
        (otb(tmp_path / "lasot", name="groundtruth.txt"), "otb"),
        (beside(tmp_path / "b"), "got10k"),
        (beside(tmp_path / "c", within="color"), "vot"),
    ):
        found = one(folder)
        assert (found.name, found.style, found.warnings) == (folder.name, style, ())
        assert [path.name for path in found.frames] == [f"{k:0{4 if style == 'otb' else 8}}.png" for k in (1, 2, 3)]
        assert (found.boxes - FROM_0 == ([1, 1, 0, 0] if style == "vot" else 0)).all()
        assert [frame.number for frame in frames_of_sequence(found)] == [0, 1, 2]
        check_scored([found])


@pytest.mark.parametrize("hint", ["sequence", "camera_motion.tag", "occlusion.label"])
def test_what_tells_vot(tmp_path, hint):
    beside(tmp_path / "a").joinpath(hint).touch()
    assert one(tmp_path / "a").style == "vot"


@pytest.mark.parametrize("hint", ["meta_info.ini", "cut_by_image.label"])
def test_what_does_not_tell_vot(tmp_path, hint):
    beside(tmp_path / "a").joinpath(hint).write_text("0\n0\n0\n")
    assert one(tmp_path / "a").style == "got10k"


def test_a_polygon_becomes_the_box_around_it(tmp_path):
    found = one(beside(tmp_path / "a", ["10,5,20,10,15,20,5,15", "1,2,3,4", "NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN"]))
    assert found.style == "vot"
    assert np.array_equal(found.boxes, [[5, 5, 15, 15], [1, 2, 3, 4], ABSENT], equal_nan=True)


def test_several_targets_are_several_sequences(tmp_path):
    otb(tmp_path / "Jogging", ROWS, name="groundtruth_rect.1.txt")
    otb(tmp_path / "Jogging", ROWS[::-1], name="groundtruth_rect.2.txt")
    one_, two = sequences_of([tmp_path / "Jogging"])
    assert (one_.name, two.name) == ("Jogging.1", "Jogging.2")
    assert (one_.boxes == two.boxes[::-1]).all()
    (tmp_path / "Jogging/groundtruth_rect.1.txt").write_text("")
    left = one(tmp_path / "Jogging")
    assert (left.name, left.warnings) == ("Jogging.2", ("groundtruth_rect.1.txt is empty: that target was left out",))


def test_labels_of_got10k_say_where_the_target_is_absent(tmp_path):
    folder = beside(tmp_path / "a", [*ROWS, "-1,-1,-1,-1", "9,9,0,5", "9,9,5,5", "9,9,5,5"])
    (folder / "absence.label").write_text("1\n0\n0\n0\n0\n1\n0\n")  # the first box counts all the same
    (folder / "cover.label").write_text("8\n8\n0\n8\n8\n8\n1\n")
    boxes = one(folder).boxes
    assert np.isnan(boxes).any(1).tolist() == [False, False, True, True, True, True, False]
    (folder / "cover.label").write_text("8\n8\n")
    assert "cover.label: labels and boxes do not match\n  given     2 labels, 7 boxes" in refused(folder)
    (folder / "cover.label").write_text("8\nx\n")
    assert "cover.label, line 2: no label" in refused(folder)


def test_of_a_test_sequence_there_is_the_first_box(tmp_path):
    folder = beside(tmp_path / "GOT-10k_Test_000001", ROWS[:1], n=4)
    (folder / "cover.label").write_text("8\n" * 4)
    found = one(folder)
    assert (len(found.frames), found.boxes.tolist()) == (4, [[4, 6, 10, 12]])
    assert found.warnings == ("only the first box is known: it can be tracked, not scored",)
    with pytest.raises(InputError, match="GOT-10k_Test_000001: nothing to score"):
        check_scored([found])


def test_folders_of_sequences_and_of_such_folders(tmp_path):
    for name in ("train/b", "train/a10", "train/a2", "val/c"):
        beside(tmp_path / "got" / name)
    otb(tmp_path / "otb/d")
    (tmp_path / "otb/notes").mkdir()
    assert [s.name for s in sequences_of([tmp_path / "got", tmp_path / "otb", tmp_path / "otb/d"])] == [
        "a2", "a10", "b", "c", "d",
    ]  # fmt: skip
    (tmp_path / "got/train/list.txt").write_text("b\r\na2\r\n\r\n")
    assert [s.name for s in sequences_of([tmp_path / "got/train"])] == ["b", "a2"]
    (tmp_path / "got/train/list.txt").write_text("b\nx\n")
    assert "x: no such folder\n  given     its name in list.txt" in refused(tmp_path / "got/train")
    (tmp_path / "got/train/list.txt").unlink()
    otb(tmp_path / "otb/b")
    assert "2 sequences are called b" in refused(tmp_path / "got", tmp_path / "otb")


def test_a_picture_beside_sequences_is_none(tmp_path):
    otb(tmp_path / "a")
    pictures(tmp_path, 1)
    assert one(tmp_path).name == "a"


def test_a_bad_sequence_need_not_stop_the_others(tmp_path):
    otb(tmp_path / "a", n=2)
    otb(tmp_path / "b")
    told = []
    assert [s.name for s in sequences_of([tmp_path], told.append)] == ["b"]
    assert "boxes and pictures do not match" in str(told[0])


@pytest.mark.parametrize(
    ("name", "first_picture", "n", "n_boxes", "chosen"),
    [("Freeman4", 1, 297, 283, (1, 283)), ("David", 1, 770, 471, (300, 770)), ("BlurCar3", 1, 359, 357, (3, 359))],
)
def test_sequences_of_otb_that_start_late_or_end_early(tmp_path, name, first_picture, n, n_boxes, chosen):
    otb(tmp_path / name, ROWS[:1] * n_boxes, n=1)
    blank = (tmp_path / name / "img/0001.png").read_bytes()
    for k in range(first_picture, first_picture + n):
        (tmp_path / name / f"img/{k:04}.png").write_bytes(blank)
    found = one(tmp_path / name)
    assert (found.frames[0].stem, found.frames[-1].stem) == tuple(f"{k:04}" for k in chosen)
    assert (found.warnings, len(found.boxes)) == ((), n_boxes)
    (tmp_path / name / "img/0001.png").unlink()
    (tmp_path / name / "groundtruth_rect.txt").write_text((ROWS[0] + "\n") * (n_boxes - 7))
    assert f"given     {n_boxes - 7:,} boxes, {n - 1:,} pictures" in refused(tmp_path / name)


def test_a_picture_that_is_missing_is_told(tmp_path):
    folder = otb(tmp_path / "a", n=4)
    (folder / "img/0002.png").unlink()
    assert one(folder).warnings == ("frame 2 is missing",)


@pytest.mark.parametrize("between", [",", "\t", " ", ";", ", ", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n \n", ""])
def test_separators_and_ends_of_lines(tmp_path, between, end):
    text = ("\r\n" if end == "\r\n" else "\n").join(row.replace(",", between) for row in ROWS) + end
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_boxes(tmp_path / "a.txt").tolist() == FROM_0


@pytest.mark.parametrize("row", ["NaN,NaN,NaN,NaN", "nan nan nan nan", "0,0,0,0", "0\t0\t0\t0.0"])
@pytest.mark.parametrize("style", ["otb", "got10k", "vot"])
def test_absent_targets(tmp_path, row, style):
    (tmp_path / "a.txt").write_text("5,7,10,12\n" + row)
    first = 0 if style == "vot" else 1
    expected = [[5 - first, 7 - first, 10, 12], ABSENT]
    assert np.array_equal(read_boxes(tmp_path / "a.txt", style), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("1,2,3", "line 2: another number of numbers\n  given     3: 1,2,3"),
        ("1,2,3,4,5", "line 2: another number of numbers"),
        ("1,2,3,4,5,6,7,8", "line 2: another number of numbers"),
        ("1,,3,4", "line 2: another number of numbers"),
        ("1,2,three,4", "line 2: no number\n  given     'three' in"),
        ("1,2,inf,4", "line 2: no number"),
        ("1,2,nan,4", "line 2: half a box"),
        ("1,2,0,4", "line 2: no size"),
        ("1,2,3,-4", "line 2: no size"),
        ("-1,-1,-1,-1", "line 2: no size"),
        ("m1,2,3,4,5", "line 2: a mask"),
        ("", "line 2: empty"),
    ],
)
def test_a_row_that_is_no_box_is_refused_by_file_and_line(tmp_path, row, told):
    found = refused(otb(tmp_path / "a", [ROWS[0], row, ROWS[1]]))
    assert told in found
    assert "a/groundtruth_rect.txt, line 2" in found


@pytest.mark.parametrize("row", ["NaN,NaN,NaN,NaN", "0,0,0,0", "0,0,0,5", "41,3,4,5", "-7,31,9,9", "-9,-9,8,8"])
def test_a_first_box_that_is_not_there_is_refused(tmp_path, row):
    assert "a/groundtruth_rect.txt, line 1" in refused(otb(tmp_path / "a", [row, *ROWS]))
    assert one(otb(tmp_path / "b", ["-3,-3,9,9", *ROWS])).boxes[0].tolist() == [-4, -4, 9, 9]


def test_masks_and_counts_of_vot(tmp_path):
    assert "line 1: a mask" in refused(beside(tmp_path / "a", ["m0,0,3,3,4,5,6"] * 3))
    assert "line 2: another number" in refused(beside(tmp_path / "b", ["1,2,3,4,5,6,7,8", "1,2,3,4,5,6"]))


def test_what_is_no_sequence_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty: no sequences in it" in refused(tmp_path / "empty")
    assert "away: no such folder" in refused(tmp_path / "away")
    (tmp_path / "file").touch()
    assert "a file" in refused(tmp_path / "file")
    pictures(tmp_path / "a/img", 2)
    assert "a: pictures without boxes" in refused(tmp_path / "a")
    pictures(tmp_path / "plain", 2)
    assert "plain: pictures without boxes" in refused(tmp_path / "plain")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/groundtruth_rect.txt").write_text("1,2,3,4\n")
    assert "b: boxes without pictures\n  given     no folder img" in refused(tmp_path / "b")
    (otb(tmp_path / "c") / "groundtruth_rect.txt").write_text("")
    assert "groundtruth_rect.txt: empty" in refused(tmp_path / "c")
    (tmp_path / "c/groundtruth_rect.txt").write_bytes(b"\xff\xfe\x00")
    assert "groundtruth_rect.txt: no text" in refused(tmp_path / "c")
    (tmp_path / "c/groundtruth_rect.txt").write_text("\n\n")
    assert "groundtruth_rect.txt: empty" in refused(tmp_path / "c")
    for n in (2, 4):
        assert f"given     3 boxes, {n} pictures" in refused(otb(tmp_path / f"d{n}", n=n))


def test_only_sizes_of_pictures_are_read(tmp_path):
    folder = otb(tmp_path / "a")
    (folder / "img/0002.png").write_bytes(b"")
    assert len(one(folder).frames) == 3


sides = st.floats(0.01, 9_999, allow_nan=False)
places = st.floats(-9_999, 9_999, allow_nan=False)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.just(ABSENT), st.tuples(places, places, sides, sides)), max_size=9), st.data())
def test_boxes_are_written_and_read_again(tmp_path, rows, data):
    boxes = np.array([data.draw(st.tuples(places, places, sides, sides)), *rows])
    write_otb(tmp_path / "new/a.txt", boxes)
    assert np.allclose(read_boxes(tmp_path / "new/a.txt"), boxes, rtol=0, atol=6e-5, equal_nan=True)


def test_lines_as_otb_has_them(tmp_path):
    write_otb(tmp_path / "a.txt", np.array([[4, 6.5, 10, 12], ABSENT]))
    assert (tmp_path / "a.txt").read_text() == "5.0000,7.5000,10.0000,12.0000\nNaN,NaN,NaN,NaN\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.data
@pytest.mark.parametrize(("part", "n", "n_absent"), [("otb", 8, 0), ("train", 5, 100)])
def test_real_sequences(part, n, n_absent):
    if not TRACKING.exists():
        pytest.skip(f"no real sequences in {TRACKING}")
    sequences = sequences_of([TRACKING / part])
    assert (len(sequences), {s.style for s in sequences}) == (n, {"otb"})
    assert sum(np.isnan(s.boxes).any(1).sum() for s in sequences) == n_absent
    for sequence in sequences:
        text = (TRACKING / part / sequence.name / "groundtruth_rect.txt").read_text()
        rows = np.array([[float(word) for word in line.replace("\t", ",").split(",")] for line in text.splitlines()])
        assert np.array_equal(sequence.boxes, rows - [1, 1, 0, 0], equal_nan=True)
        assert len(sequence.frames) == len(rows)
        assert not sequence.warnings
    check_scored(sequences)
    assert next(iter(frames_of_sequence(sequences[0]))).picture.ndim == 3
