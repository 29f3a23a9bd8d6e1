import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from seamwise.errors import InputError
from seamwise.systems.age import data, world
from seamwise.systems.age.data import LONG_SIDE_MM, REAL_PX, completed, framed, real_supply, world_supply
from seamwise.systems.age.folder import LANDMARKS
from seamwise.systems.age.reading import Radiograph
from seamwise.systems.age.shape import BASES
from seamwise.systems.age.world import Difficulty

SIZES = {"N_ANSWERS": 9, "N_STAGED": 7, "N_VALIDATION": 4, "N_TEST": 5}
FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
POINTS = ("wrist", *(f"{finger}{k}" for finger in FINGERS for k in range(1, 5)))  # as the challenge's file calls them
PLACES = tuple(k for k in range(25) if k not in BASES)
ATLAS = (0, 17, 18, 19, 20, 16, *range(21, 25), 15, *range(25, 29), 14, *range(29, 33), 13, *range(33, 37))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMWISE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def hands():
    return world.draw(50, 5, px=160)


def cut(picture):
    """A radiograph that is higher than wide: without 10 columns at the left and 4 at the right."""
    return picture[0][:, 10:-4]


def challenge(folder, hands, rows, n_marked, scale=None, blank=()):
    """Radiographs in the challenge's layout, the first few with landmarks. blank: cells of these that are empty."""
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "boneage", "male", *(["mm_per_px"] if scale else [])])
        for row in rows:
            Image.fromarray(cut(hands.picture[row])).save(folder / f"{row}.png")
            known = [f"{hands.mm_per_px[row]:.5f}"] if scale else []
            table.writerow([row, f"{hands.age_months[row]:.3f}", bool(hands.sex[row]), *known])
    if n_marked:
        with (folder / "keypoints21.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["id", *(f"{name}_{axis}" for name in POINTS for axis in "xy")])
            for row in rows[:n_marked]:
                marks = hands.landmarks_px[row][list(PLACES)] - [10, 0]
                cells = [f"{value:.3f}" for value in marks.ravel()]
                table.writerow([row, *("" if k in blank else cell for k, cell in enumerate(cells))])
    return folder


def atlas(folder, hands, rows):
    """Radiographs in the atlas's layout, all with landmarks."""
    folder.mkdir()
    lines = ["image_ID,patient_ID,sex,bone_age"]
    marked = []
    for row in rows:
        Image.fromarray(cut(hands.picture[row])).save(folder / f"{3000 + row}.png")
        lines.append(f"x.png,8210{3000 + row},{'FM'[hands.sex[row]]},{hands.age_months[row]:.3f}")
        marks = np.zeros((37, 2))
        marks[list(ATLAS)] = hands.landmarks_px[row] - [10, 0]
        marks[[7, 3]] = hands.landmarks_px[row][0] - [10, 0]  # the wrist is between the two
        marked.append(f"{3000 + row}," + ",".join(f"{value:.3f}" for value in marks.ravel()))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "payer_37_landmarks.csv").write_text("\n".join(marked) + "\n")
    return folder


def in_mm(hands, row, scale):
    """The landmarks from the middle of the picture that was cut."""
    return (hands.landmarks_px[row] - [10 + 73, 80]) * scale


def row_of(supply, age):
    return int(np.argmin(np.abs(supply.fields["age"].numpy() - age)))


def test_the_worlds_supply_is_of_two_tables(monkeypatch):
    for name, n in SIZES.items():
        monkeypatch.setattr(data, name, n)
    supply = world_supply()
    stages = ("landmarks", "lengths", "plates", "carpals", "bones")
    assert supply.held("age") == 9
    assert [supply.held(field) for field in stages] == [7] * 5
    train = supply.rows("train")
    assert not (supply.known("age", train) & supply.known("landmarks", train)).any()
    for split, n in (("validation", 4), ("test", 5)):
        rows = supply.rows(split)
        assert len(rows) == n
        assert all(supply.known(field, rows).all() for field in ("age", *stages))
    assert supply.prices["bones"] > supply.prices["age"]
    far = supply.fields["landmarks"].diff(dim=1)[:, 1:4].norm(dim=-1)  # of the thumb
    known = supply.present["lengths"]
    torch.testing.assert_close(far[known], supply.fields["lengths"][known][:, :3], rtol=1e-3, atol=1e-2)


def test_worlds_are_kept_apart_by_difficulty_and_made_once(monkeypatch):
    for name, n in SIZES.items():
        monkeypatch.setattr(data, name, n)
    plain, hard = world_supply(), world_supply(Difficulty(noise=1))
    assert world_supply(Difficulty()).digest == plain.digest != hard.digest
    monkeypatch.setattr(world, "draw", None)  # not drawn again
    assert world_supply().digest == plain.digest
    assert world_supply(Difficulty(noise=1)).digest == hard.digest


def test_no_hand_is_in_two_tables(monkeypatch):
    for name, n in SIZES.items():
        monkeypatch.setattr(data, name, n)
    supply = data._world_supply(None)
    assert len(np.unique(supply.fields["picture"].flatten(1).numpy(), axis=0)) == sum(SIZES.values())


def test_known_landmarks_stay_and_bases_are_put_near_where_they_are(hands):
    for row in range(20):
        whole = hands.landmarks_px[row].astype(float)
        assert np.array_equal(completed(whole), whole)
        some = whole.copy()
        some[list(BASES)] = np.nan
        made = completed(some)
        assert np.isnan(some[list(BASES)]).all()  # what was given is as it was
        assert np.array_equal(made[list(PLACES)], whole[list(PLACES)])
        missed_mm = np.linalg.norm(made - whole, axis=1)[list(BASES)] * hands.mm_per_px[row]
        assert missed_mm.max() < 7
        one = whole.copy()
        one[10] = np.nan
        np.testing.assert_allclose(completed(one)[10], made[10])


def test_a_mirrored_or_turned_hand_is_completed_alike(hands):
    for row in range(6):
        some = hands.landmarks_px[row].astype(float)
        some[list(BASES)] = np.nan
        for turn in (np.diag([-1.0, 1]), np.array([[0.0, 2], [-2, 0]]), np.array([[0.6, 0.8], [0.8, -0.6]])):
            np.testing.assert_allclose(completed(some @ turn.T + 5), completed(some) @ turn.T + 5)


@pytest.mark.parametrize(("height", "width"), [(512, 300), (200, 410), (90, 90)])
def test_a_framed_radiograph_keeps_its_shape(height, width):
    pixels = np.random.default_rng(0).integers(1, 256, (height, width), dtype=np.uint8)
    item, per_px, corner = framed(Radiograph(pixels, (3 * height, 3 * width), None, None, ()), 0.2)
    left, top = corner.astype(int)
    assert item["picture"].shape == (1, REAL_PX, REAL_PX)
    assert np.array_equal(item["picture"][0, top : top + height, left : left + width], pixels)
    assert item["picture"].sum() == pixels.sum(dtype=np.int64)
    assert abs(left - (REAL_PX - width - left)) <= 1
    assert abs(top - (REAL_PX - height - top)) <= 1
    assert per_px == pytest.approx(3)
    assert item["mm_per_px"] == pytest.approx(0.6)


def test_without_a_scale_the_long_side_is_that_of_a_film():
    pixels = np.full((400, 300), 9, dtype=np.uint8)
    item, per_px, _ = framed(Radiograph(pixels, (1600, 1200), None, None, ()))
    assert item["mm_per_px"] * 400 == pytest.approx(LONG_SIDE_MM)
    assert per_px == 4


def test_radiographs_of_a_folder_become_a_supply(hands, tmp_path):
    folder = challenge(tmp_path / "a", hands, range(50), 20)
    supply = real_supply([folder])
    assert [len(supply.rows(split)) for split in ("train", "validation", "test")] == [35, 5, 10]
    assert [len(supply.rows(split, "landmarks")) for split in ("train", "validation", "test")] == [14, 2, 4]
    assert supply.prices["landmarks"] > supply.prices["age"]
    assert set(supply.fields) == {"picture", "mm_per_px", "sex", "age", "landmarks"}
    scale = LONG_SIDE_MM / 160
    for row in range(20):
        at = row_of(supply, hands.age_months[row])
        assert int(supply.fields["sex"][at]) == hands.sex[row]
        assert float(supply.fields["mm_per_px"][at]) == pytest.approx(scale, rel=1e-5)
        picture = supply.fields["picture"][at, 0].numpy()
        assert np.array_equal(picture[176:336, 183:329], cut(hands.picture[row]))
        marked = supply.fields["landmarks"][at].numpy()
        np.testing.assert_allclose(marked[list(PLACES)], in_mm(hands, row, scale)[list(PLACES)], atol=0.02)
        assert np.linalg.norm(marked - in_mm(hands, row, scale), axis=1).max() < 8 * scale / hands.mm_per_px[row]
    assert not supply.present["landmarks"][[row_of(supply, hands.age_months[row]) for row in range(20, 50)]].any()


def test_stated_scales_give_landmarks_in_true_mm(tmp_path):
    hands = world.draw(31, 5, px=400)  # of less than 1 mm
    supply = real_supply([challenge(tmp_path / "a", hands, range(31), 10, scale=True)])
    for row in range(10):
        at = row_of(supply, hands.age_months[row])
        assert float(supply.fields["mm_per_px"][at]) == pytest.approx(hands.mm_per_px[row], rel=1e-4)
        far = supply.fields["landmarks"][at].diff(dim=0)[1:4].norm(dim=-1)
        np.testing.assert_allclose(far, hands.lengths_mm[row, :3], rtol=2e-3)


def test_the_challenge_and_the_atlas_are_joined(hands, tmp_path):
    folders = [challenge(tmp_path / "a", hands, range(30), 10), atlas(tmp_path / "b", hands, range(30, 50))]
    supply = real_supply(folders)
    assert [len(supply.rows(split)) for split in ("train", "validation", "test")] == [35, 5, 10]
    assert [len(supply.rows(split, "landmarks")) for split in ("train", "validation", "test")] == [21, 3, 6]
    for row in range(30, 50):
        at = row_of(supply, hands.age_months[row])
        assert float(supply.fields["mm_per_px"][at]) == pytest.approx(0.1)
        np.testing.assert_allclose(supply.fields["landmarks"][at], in_mm(hands, row, 0.1), atol=2e-3)


def test_radiographs_are_read_once_and_again_when_they_change(hands, tmp_path, monkeypatch):
    folder = challenge(tmp_path / "a", hands, range(30), 0)
    supply = real_supply([folder])
    assert "landmarks" not in supply.fields
    read = data._item
    monkeypatch.setattr(data, "_item", None)  # not read again
    assert real_supply([folder]).digest == supply.digest
    monkeypatch.setattr(data, "_item", read)
    labels = (folder / "labels.csv").read_text().replace("True", "False")
    (folder / "labels.csv").write_text(labels)
    assert real_supply([folder]).digest != supply.digest


def test_a_radiograph_is_never_there_twice(hands, tmp_path, capsys):
    folder = challenge(tmp_path / "a", hands, range(30), 10)
    once = real_supply([folder])
    assert "there already" not in capsys.readouterr().err
    assert real_supply([folder, folder]).digest == once.digest
    copied = shutil.copytree(folder, tmp_path / "b")
    assert real_supply([folder, copied]).digest == once.digest
    assert "30 of 60 radiographs are there already" in capsys.readouterr().err


def whose(folder, children):
    """The same radiographs with a column that says whose they are."""
    header, *lines = (folder / "labels.csv").read_text().split()
    lines = [f"{line},{child}" for line, child in zip(lines, children, strict=True)]
    (folder / "labels.csv").write_text("\n".join([f"{header},child", *lines]) + "\n")
    return folder


def test_a_child_is_never_in_two_splits(hands, tmp_path):
    children = [f"c{k % 15}" for k in range(45)] + [""] * 5
    folder = whose(challenge(tmp_path / "a", hands, range(50), 10), children)
    supply = real_supply([folder])
    places = {}
    for row, child in enumerate(children):
        at = row_of(supply, hands.age_months[row])
        places.setdefault(child, set()).add((int(supply.splits[at]), int(supply.groups[at, 0])))
    assert all(len(places[f"c{k}"]) == 1 for k in range(15))
    assert len(places[""]) == 5
    assert all(len(supply.rows(split, "landmarks")) for split in ("train", "validation", "test"))


def test_too_few_children_are_told(hands, tmp_path):
    for n in (11, 12):
        children = [f"c{k % n}" for k in range(40)]
        folder = whose(challenge(tmp_path / f"{n}", hands, range(40), 12), children)
        if n < 12:
            with pytest.raises(InputError, match=r"radiographs of 11 children\n.*12 at least"):
                real_supply([folder])
        else:
            assert "landmarks" in real_supply([folder]).fields


def test_too_few_radiographs_are_told(hands, tmp_path):
    folder = challenge(tmp_path / "a", hands, range(29), 5)
    with pytest.raises(InputError, match=r"a: 29 radiographs with an age") as told:
        real_supply([folder])
    assert "30 at least" in str(told.value)


def test_what_a_folder_has_to_say_is_told_with_its_name(hands, tmp_path, capsys):
    folder = challenge(tmp_path / "a", hands, range(31), 0)
    (folder / "7.png").unlink()
    real_supply([folder])
    told = capsys.readouterr().err
    assert f"warning: {folder}: labels.csv: 1 of 31 ids have no radiograph" in told


def test_fewer_marked_hands_than_teach_anything_are_taken_for_none(hands, tmp_path):
    assert "landmarks" not in real_supply([challenge(tmp_path / "a", hands, range(30), 9)]).fields
    assert "landmarks" in real_supply([challenge(tmp_path / "b", hands, range(30), 10)]).fields


def test_bases_are_the_landmarks_that_the_challenge_lacks():
    assert [LANDMARKS[k] for k in data.BASES] == [name for name in LANDMARKS if "metacarpal base" in name]
