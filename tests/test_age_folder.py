import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seamwise.errors import InputError
from seamwise.systems.age.folder import FINGERS, LANDMARKS, once, read_folder

HANDS = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "hands"
HEADER = "id,boneage,male\n"


def pictures(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(folder / name, format="PNG")


def table(folder, text, name="labels.csv"):
    (folder / name).write_bytes(text.encode())
    return folder


def test_a_folder_of_the_challenge(tmp_path):
    pictures(tmp_path, "train/1.png", "more/deep/2.JPG", "3.tiff", "9.png", ".hidden/x.png")
    table(tmp_path, HEADER + "1,94,True\n2,30.5,False\n\n3,,0\n")
    table(tmp_path, "anything,else\n1,2\n", "notes.csv")
    folder = read_folder(tmp_path)
    assert folder.warnings == ()
    assert [(r.id, r.path.name, r.age_months, r.sex) for r in folder.records] == [
        ("1", "1.png", 94, "M"),
        ("2", "2.JPG", 30.5, "F"),
        ("3", "3.tiff", None, "F"),
    ]
    assert all(r.original_px is None and r.landmarks is None and r.mm_per_px is None for r in folder.records)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffID;BoneAge;Sex\r\n1;94,5;M\r\n",
        "Image ID,male,Bone Age\n1.png,TRUE,94.5\n",
        "id\tbone_age_months\tgender\n1\t94.5\tMale\n",
        "Case ID,Sex,Ground truth bone age (months)\n1,m,94.5\n",
    ],
)
def test_tables_of_other_hands_are_read(tmp_path, text):
    pictures(tmp_path, "1.png")
    (record,) = read_folder(table(tmp_path, text)).records
    assert (record.id, record.age_months, record.sex) == ("1", 94.5, "M")


def test_sizes_and_scales_are_read_where_they_are_given(tmp_path):
    pictures(tmp_path, "1.png", "2.png")
    table(tmp_path, "id,boneage,sex,orig_w,orig_h,mm_per_px\n1,94,F,711,834,.2\n2,94,F,,,\n")
    one, two = read_folder(tmp_path).records
    assert (one.original_px, one.mm_per_px) == ((834, 711), 0.2)
    assert (two.original_px, two.mm_per_px) == (None, None)


def test_ages_in_years_become_months(tmp_path):
    rows = "".join(f"{k},{k / 2},M\n" for k in range(1, 31))
    pictures(tmp_path, *(f"{k}.png" for k in range(1, 31)))
    for name, factor, told in (
        ("boneage", 12, "taken for years"),
        ("boneage_years", 12, "as column boneage_years says"),
        ("boneage_months", 1, "are they years"),
    ):
        folder = read_folder(table(tmp_path, f"id,{name},sex\n{rows}"))
        assert [r.age_months for r in folder.records] == [factor * k / 2 for k in range(1, 31)]
        (warning,) = folder.warnings
        assert told in warning


def test_few_young_ages_are_months_and_told(tmp_path):
    pictures(tmp_path, *(f"{k}.png" for k in range(1, 5)))
    for name, warned in (
        ("boneage", r"above 9; taken for months; are they years\? .* boneage_years, otherwise boneage_months"),
        ("boneage_months", r"above 9 months; are they years\?"),
    ):
        few = read_folder(table(tmp_path, f"id,{name},sex\n1,8,M\n2,9,F\n3,7,F\n"))
        assert [r.age_months for r in few.records] == [8, 9, 7]
        (warning,) = few.warnings
        assert re.search(warned, warning)
    assert read_folder(table(tmp_path, "id,boneage,sex\n1,8,M\n2,21,F\n")).warnings == ()
    with pytest.raises(InputError, match=r"column boneage: months or years\?\n.*3 ages(.*\n)*.*boneage_years"):
        read_folder(table(tmp_path, "id,boneage,sex\n1,8,M\n2,9.5,F\n3,7,F\n"))
    two = read_folder(table(tmp_path, "id,boneage,sex\n1,8,M\n2,9.5,F\n3,,F\n"))
    assert len(two.warnings) == 1
    assert [r.age_months for r in two.records] == [8, 9.5, None]


def test_rows_without_a_sex_are_left_out_and_told(tmp_path):
    pictures(tmp_path, "1.png", "2.png", "3.png")
    for header, sex in ((HEADER, "1.0"), ("id,boneage,sex\n", "M")):
        folder = read_folder(table(tmp_path, header + f"1,94,\n2,94,{sex}\n3,94,NaN\n4,94,\n5,94,{sex}\n"))
        assert [(record.id, record.sex) for record in folder.records] == [("2", "M")]
        assert folder.warnings == (
            "labels.csv: 2 of 5 ids have no radiograph and are left out: 4, 5",
            "labels.csv: 2 of 5 ids have no sex and are left out: 1, 3",
        )


def test_ids_as_pandas_writes_them(tmp_path):
    pictures(tmp_path, "1377.png", "1378.0.png")
    table(tmp_path, HEADER + "1377.0,94,1\n1378.0,95,0\n")
    keypoints(tmp_path, ["1377.0,0,0,9,9" + ",5" * 42])
    one, two = read_folder(tmp_path).records
    assert [(r.id, r.path.name) for r in (one, two)] == [("1377", "1377.png"), ("1378", "1378.0.png")]
    assert one.landmarks is not None


@pytest.mark.parametrize("column", ["patient_id", "Patient", "child"])
def test_whose_hand_it_is_is_read(tmp_path, column):
    pictures(tmp_path, *(f"{k}.png" for k in range(1, 5)))
    table(tmp_path, f"id,boneage,male,{column}\n1,94,1,7.0\n2,95,1,7\n3,95,1,\n4,95,1,a\n")
    assert [record.child for record in read_folder(tmp_path).records] == ["7", "7", None, "a"]


def test_a_file_that_is_there_again_is_taken_once(tmp_path):
    for name, shade in (("1.png", 1), ("2.png", 2), ("below/1.png", 1), ("below/3.png", 3)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), shade).save(tmp_path / name)
    table(tmp_path / "below", "id,boneage,male,child\n1,94,1,a\n3,94,1,b\n")
    below = read_folder(tmp_path / "below").records
    (tmp_path / "below/1.png").rename(tmp_path / "below/4.png")
    above = read_folder(table(tmp_path, HEADER + "1,94,1\n2,94,1\n3,94,1\n")).records
    (tmp_path / "below/4.png").rename(tmp_path / "below/1.png")
    kept = once([*above, *below])
    assert [(record.id, record.child) for record in kept] == [("1", "a"), ("2", None), ("3", "b")]
    assert once([*above, *above]) == above


def test_a_folder_that_may_not_be_looked_at_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"cannot be read\n.*name too long"):
        read_folder(tmp_path / ("long" * 90))

    def denied(_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "below"))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(InputError, match=r"below: cannot be read\n.*Permission denied"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER + "1,94,2\n", "labels.csv, line 2, column male: unknown sex\n.*'2'"),
        ("id,boneage,sex\n1,94,x\n", "line 2, column sex: unknown sex"),
        (HEADER + "1,94,2.0\n", "line 2, column male: unknown sex\n.*'2.0'"),
        (HEADER + "1,1_0_0,1\n", "line 2, column boneage: no number\n.*'1_0_0'"),
        (
            "id,boneage,sex,mm_per_px\n1,94,F,2.5\n",
            "labels.csv, line 2, column mm_per_px: no scale.*\n.*2.5 mm\n.*0.01",
        ),
        ("id,boneage,sex,mm_per_px\n1,94,F,.001\n", "line 2, column mm_per_px: no scale"),
        (HEADER + "1,94,1\n\n2,-1,1\n", "line 4, column boneage: no bone age\n.*-1 months"),
        (HEADER + "1,301,1\n", "line 2, column boneage: no bone age\n.*301 months"),
        ("id,boneage_years,sex\n1,26,F\n", "line 2, column boneage_years: no bone age\n.*26 years"),
        (HEADER + "1,nan,1\n", "line 2, column boneage: no number"),
        (HEADER + "1,old,1\n", "line 2, column boneage: no number"),
        (HEADER + "1,94,1\n1.png,95,1\n", "line 3, column id: twice the same id\n.*lines 2 and 3"),
        (HEADER + "1,94\n", "line 2: cells do not match"),
        (HEADER + ",94,1\n", "line 2, column id: empty"),
        (HEADER, "no rows"),
        ("id,boneage,male,ID\n1,2,1,1\n", "line 1: column id is there twice"),
        ("id,male\n1,1\n", "no table of labels\n.*no column boneage"),
        ("", "labels.csv: empty"),
        (HEADER + '1,"94,1\n', "labels.csv: no table"),
        ("id,boneage,sex,orig_w,orig_h\n1,94,F,0,5\n", "line 2, column orig_w: no size"),
        (HEADER + "7,94,1\n8,94,1\n", "no radiographs\n.*any of the 2 ids"),
    ],
)
def test_a_wrong_table_is_refused_by_line_and_column(tmp_path, text, told):
    pictures(tmp_path, "1.png", "2.png")
    with pytest.raises(InputError, match=told):
        read_folder(table(tmp_path, text))


def test_no_folder_and_no_one_table_are_refused(tmp_path):
    pictures(tmp_path, "1.png")
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(InputError, match=r"no table of labels\n.*no CSV"):
        read_folder(tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"id,boneage,male\n1,94,\xff\xfe\n")
    with pytest.raises(InputError, match=r"labels\.csv: no table"):
        read_folder(tmp_path)
    table(tmp_path, HEADER + "1,94,1\n")
    table(tmp_path, HEADER + "1,95,1\n", "other.csv")
    with pytest.raises(InputError, match=r"several tables of labels\n.*labels.csv, other.csv"):
        read_folder(tmp_path)


def test_ids_without_a_radiograph_are_left_out_and_told(tmp_path):
    pictures(tmp_path, "1.png")
    folder = read_folder(table(tmp_path, HEADER + "".join(f"{k},94,1\n" for k in range(1, 6))))
    assert [record.id for record in folder.records] == ["1"]
    assert folder.warnings == ("labels.csv: 4 of 5 ids have no radiograph and are left out: 2, 3, 4, …",)


def test_two_radiographs_of_one_id_are_refused(tmp_path):
    pictures(tmp_path, "1.png", "masks/1.png")
    with pytest.raises(InputError, match=r"two radiographs of the id 1\n.*1\.png and masks/1\.png"):
        read_folder(table(tmp_path, HEADER + "1,94,1\n"))


def keypoints(folder, rows, drop=0):
    names = ["wrist"]
    names += [
        f"{f}{k}" for f in ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger") for k in range(1, 5)
    ]
    header = ",".join(["id", "x", "y", "w", "h", *(f"{name}_{axis}" for name in names for axis in "xy")][: 47 - drop])
    return table(folder, "\n".join([header, *rows]) + "\n", "keypoints21.csv")


def test_keypoints_take_their_places(tmp_path):
    pictures(tmp_path, "1.png", "2.png")
    table(tmp_path, HEADER + "1,94,1\n2,94,1\n")
    keypoints(tmp_path, ["1,0,0,9,9," + ",".join(f"{k},{100 + k}" for k in range(21)), "77,0,0,9,9" + ",5" * 42])
    one, two = read_folder(tmp_path).records
    assert two.landmarks is None
    known = {name: k for k, name in enumerate(one.landmarks[:, 0]) if not np.isnan(name)}
    assert sorted(known) == list(range(21))
    assert [LANDMARKS[known[k]] for k in (0, 1, 4, 5, 6, 8, 9, 17, 20)] == [
        *("wrist", "thumb CMC", "thumb tip", "index MCP", "index PIP", "index tip", "middle MCP"),
        *("little MCP", "little tip"),
    ]
    unknown = [LANDMARKS[k] for k in np.flatnonzero(np.isnan(one.landmarks[:, 1]))]
    assert unknown == [f"{finger} metacarpal base" for finger in FINGERS[1:]]
    keypoints(tmp_path, [], drop=1)
    with pytest.raises(InputError, match=r"keypoints21\.csv, line 1: column pinky_finger4_y is missing"):
        read_folder(tmp_path)


def test_a_folder_of_the_atlas(tmp_path):
    pictures(tmp_path, "images/4087.png", "images/7282.png")
    labels = "image_ID,dir,patient_ID,sex,bone_age\na.png,d,82104087,F,105.96\nb.png,d,821087282,M,81.96\n"
    table(tmp_path, labels + "c.png,d,820001111,M,90\n")
    table(tmp_path, "image_id,bone_age_months,sex\n4087,1,F\n", "lengths.csv")
    table(tmp_path, "4087," + ",".join(f"{k},{2 * k}" for k in range(37)) + "\n", "payer_37_landmarks.csv")
    folder = read_folder(tmp_path)
    one, two = folder.records
    assert folder.warnings == ()
    assert (one.id, one.age_months, one.sex, one.mm_per_px) == ("4087", 105.96, "F", 0.1)
    assert (two.id, two.landmarks) == ("7282", None)
    x = one.landmarks[:, 0]
    assert np.allclose(one.landmarks[:, 1], 2 * x)
    assert x[0] == pytest.approx(0.7 * 7 + 0.3 * 3)
    assert x[1:].tolist() == [
        *(17, 18, 19, 20, 16, 21, 22, 23, 24, 15, 25, 26, 27, 28),
        *(14, 29, 30, 31, 32, 13, 33, 34, 35, 36),
    ]
    table(tmp_path, "4087,1,2\n", "payer_37_landmarks.csv")
    with pytest.raises(InputError, match=r"payer_37_landmarks\.csv, line 1: no landmarks"):
        read_folder(tmp_path)


def real(name):
    if not (HANDS / name).exists():
        pytest.skip(f"no real radiographs in {HANDS / name}")
    return read_folder(HANDS / name)


@pytest.mark.data
def test_the_challenges_radiographs():
    folder = real("rsna")
    assert folder.warnings == ()
    assert len(folder.records) == 901
    assert all(0 < record.age_months <= 240 and record.original_px for record in folder.records)
    marked = [record.landmarks for record in folder.records if record.landmarks is not None]
    assert len(marked) == 40
    assert np.isnan(np.stack(marked)).sum() == 40 * 4 * 2


@pytest.mark.data
def test_the_atlas_and_the_challenge_mark_the_same_places():
    atlas, challenge = (
        np.stack([record.landmarks for record in real(name).records if record.landmarks is not None])
        for name in ("dha", "rsna")
    )
    assert len(atlas) == 9
    along = [np.median([_lengths(hand) for hand in hands], axis=0) for hands in (atlas, challenge)]
    assert np.abs(np.log(along[0] / along[1])).max() < 0.12


def _lengths(hand):
    """From the wrist to the middle finger, to the thumb and to the little finger, by lengths further out."""
    pairs = (("wrist", "middle MCP"), ("wrist", "thumb CMC"), ("wrist", "little MCP"), ("middle MCP", "middle PIP"))
    pairs += (("thumb CMC", "thumb MCP"), ("little MCP", "index MCP"))
    length = [np.linalg.norm(hand[LANDMARKS.index(a)] - hand[LANDMARKS.index(b)]) for a, b in pairs]
    return np.array(length[:3]) / length[3:]
