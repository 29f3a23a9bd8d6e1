"""Pairs of crops: what they show, how they are labelled, and the supplies made of them."""

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from seamwise.errors import InputError
from seamwise.systems.track import data, world
from seamwise.systems.track.data import pair, real_supply, world_supply
from seamwise.systems.track.nets import EXEMPLAR_PX, N_SHIFTS, SCALES, SEARCH_PX, Filter, hog_pair, place
from seamwise.systems.track.truth import write_otb
from seamwise.systems.track.world import Difficulty

REAL = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "tracking/train"
SIZES = {"N_ANSWERS": 17, "N_STAGED": 7, "N_VALIDATION": 3, "N_TEST": 4, "N_FRAMES": 9}
BOX = np.array([100.0, 60.0, 44.0, 36.0])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMWISE_CACHE", str(tmp_path / "cache"))
    for name, n in SIZES.items():
        monkeypatch.setattr(data, name, n)


@pytest.fixture(scope="module")
def frame():
    coarse = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (240, 180), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("larger", [-0.06, 0.0, 0.04])
@pytest.mark.parametrize("aside", [(0.0, 0.0), (0.6, -0.3), (-0.5, 0.25)])
def test_the_object_is_shown_where_the_label_says(aside, larger):
    square = np.array([100.0, 60, 40, 40])
    picture = np.zeros((180, 240, 3), np.uint8)
    picture[60:100, 100:140] = 255
    made = pair(picture, square, picture, square, np.array(aside), larger)
    assert (made["exemplar"].shape, made["search"].shape) == ((3, EXEMPLAR_PX, EXEMPLAR_PX), (3, SEARCH_PX, SEARCH_PX))
    np.testing.assert_allclose(made["place"], [*aside, larger], rtol=1e-6)
    for name, middle, side in (
        ("exemplar", np.array([48.0, 48.0]), 32.0),
        ("search", 52 + 32 * np.array(aside), 32 * math.exp(larger)),
    ):
        light = made[name][0] / 255
        centre = [(light.sum(axis) * (np.arange(light.shape[axis - 1]) + 0.5)).sum() / light.sum() for axis in (0, 1)]
        np.testing.assert_allclose(centre, middle, atol=0.15)
        assert math.sqrt(light.sum()) == pytest.approx(side, abs=0.3)


def found(frame, aside, scale):
    """What designed features and a filter say of a pair whose object only moved and grew: scale and place."""
    made = pair(frame, BOX, frame, BOX, np.array(aside), math.log(scale))
    net = Filter()
    net.sharpness.data.fill_(4.0)
    with torch.no_grad():
        response = net(*hog_pair(*(torch.from_numpy(made[name].copy())[None] for name in ("exemplar", "search"))))
    return int(response.argmax()) // N_SHIFTS**2, place(response)[0].numpy() - made["place"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("cells", [(0, 0), (5, -3), (-4, -1), (1, 5)])
def test_designed_features_and_a_filter_find_what_moved_by_cells_and_grew(frame, cells, scale):
    likeliest, off = found(frame, np.array(cells) / 8 * scale, scale)
    assert likeliest == SCALES.index(scale)
    assert np.abs(off[:2]).max() < 0.01
    assert abs(off[2]) < math.log(1.05) / 3


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("aside", [(0.6, -0.3), (-0.41, -0.17), (0.1, 0.63)])
def test_they_find_what_moved_by_parts_of_a_cell_too(frame, aside, scale):
    _, off = found(frame, aside, scale)
    assert np.abs(off[:2]).max() < 1 / 16  # half a cell


def test_a_frame_that_moved_whole_shows_the_same_around_the_object(frame):
    moved = np.roll(frame, (7, -12), (0, 1))
    there = BOX + np.array([-12, 7, 0, 0])
    one, other = (pair(frame, BOX, f, b, np.array([0.3, 0.1]), 0.05) for f, b in ((frame, BOX), (moved, there)))
    assert np.array_equal(one["exemplar"], other["exemplar"])
    assert np.abs(one["search"].astype(int) - other["search"])[:, 8:-8, 8:-8].max() <= 1


def test_frames_of_pairs_are_near_one_another_and_fit():
    fits = np.ones(100, bool)
    fits[[3, 4, 50]] = False
    found = data._frames_of_pairs(np.random.default_rng(0), fits, 30)
    assert len(found) == 30 == len(np.unique(found[:, 0]))
    gaps = found[:, 1] - found[:, 0]
    assert 1 <= gaps.min() <= gaps.max() <= data.FARTHEST
    assert fits[found].all()
    assert np.diff(found[:, 0]).max() <= 6  # evenly
    for lacking in (np.zeros(9, bool), np.eye(9, dtype=bool)[2]):
        assert data._frames_of_pairs(np.random.default_rng(0), lacking, 8).shape == (0, 2)


def test_the_worlds_supply_has_few_stage_labels_and_no_clip_twice():
    supply = world_supply()
    assert (supply.held("place"), supply.held("response"), supply.held("kind")) == (17, 7, 7)
    train = supply.rows("train")
    assert not (supply.known("place", train) & supply.known("response", train)).any()
    for split, n in (("validation", 3), ("test", 4)):
        rows = supply.rows(split)
        assert len(rows) == n
        assert all(supply.known(field, rows).all() for field in ("place", "response", "kind"))
        assert torch.equal(*supply.take(["place", "response"], rows).values())
    assert supply.fields["exemplar"].dtype == supply.fields["search"].dtype == torch.uint8
    assert len(np.unique(supply.groups[train])) == 3 + 2  # eight pairs of a clip, four where kinds are known
    told = supply.fields["place"][supply.present["place"]].abs().max(0).values
    assert (told <= torch.tensor([data.ASIDE, data.ASIDE, data.LARGER])).all()
    assert (told > 0.6 * torch.tensor([data.ASIDE, data.ASIDE, data.LARGER])).all()
    staged = supply.rows("train", "kind")
    kinds = supply.take(["kind"], staged)["kind"].numpy()
    assert all(
        len(np.unique(kinds[supply.groups[staged, 0] == group])) == 1 for group in np.unique(supply.groups[staged])
    )


def test_worlds_are_kept_apart_by_difficulty_and_made_once(monkeypatch):
    plain, hard = world_supply(), world_supply(Difficulty(blur=1))
    assert plain.digest != hard.digest
    monkeypatch.setattr(world, "draw", None)  # not drawn again
    assert world_supply(Difficulty()).digest == plain.digest
    assert world_supply(Difficulty(blur=1)).digest == hard.digest


def sequences(folder, n, n_frames=14, absent=()):
    """Noise that moves, in OTB's layout; of absent frames the picture is black."""
    for k in range(n):
        (folder / f"s{k:02}/img").mkdir(parents=True)
        noise = np.random.default_rng(k).integers(1, 256, (60, 72, 3), dtype=np.uint8)
        boxes = np.array([20.0, 16, 20, 24]) + np.arange(n_frames)[:, None] * [0.5, 0.2, 0, 0]
        boxes[list(absent)] = np.nan
        for j in range(n_frames):
            shown = np.roll(noise, (j // 5, j // 2), (0, 1)) * np.uint8(j not in absent)
            Image.fromarray(shown).save(folder / f"s{k:02}/img/{j + 1:04}.png")
        write_otb(folder / f"s{k:02}/groundtruth_rect.txt", boxes)
    return folder


def test_ten_sequences_are_learnt_from_and_tested_on(tmp_path):
    supply = real_supply([sequences(tmp_path / "all", 10, absent=(4, 9))])
    assert set(supply.fields) == {"exemplar", "search", "place", "response"}
    groups = {split: np.unique(supply.groups[supply.rows(split)]) for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in groups.items()} == {"train": 7, "validation": 1, "test": 2}
    assert all(bool(known.all()) for known in supply.present.values())
    middle = supply.fields["exemplar"][..., 40:56, 40:56].float()
    assert (middle.flatten(1).max(1).values > 0).all()  # never of a frame where it is absent
    assert (supply.fields["search"].float().flatten(1).max(1).values > 0).all()
    assert 60 < len(supply) <= 110


def test_fewer_sequences_test_what_the_world_teaches(tmp_path):
    supply = real_supply([sequences(tmp_path / "few", 2)])
    assert (supply.held("place"), supply.held("kind")) == (17, 7)
    assert len(supply.rows("validation")) == 3
    rows = supply.rows("test")
    assert len(np.unique(supply.groups[rows])) == 2
    assert supply.known("response", rows).all()
    assert not supply.known("kind", rows).any()


def test_sequences_are_cut_once_and_again_when_they_change(tmp_path, monkeypatch):
    folder = sequences(tmp_path / "all", 10)
    supply, cut = real_supply([folder]), data._real_supply
    monkeypatch.setattr(data, "_real_supply", None)  # not cut again
    assert real_supply([folder]).digest == supply.digest
    monkeypatch.setattr(data, "_real_supply", cut)
    boxes = folder / "s03/groundtruth_rect.txt"
    lines = boxes.read_text().splitlines()
    boxes.write_text("\n".join([lines[0], *(line.split(",")[0] + ",9,20,20" for line in lines[1:])]) + "\n")
    assert real_supply([folder]).digest != supply.digest


def test_no_more_pairs_are_cut_than_can_be_kept(tmp_path, monkeypatch):
    folder = sequences(tmp_path / "all", 10)
    monkeypatch.setattr(data, "MOST_PAIRS", 30)
    assert len(real_supply([folder])) == 30


def test_a_sequence_without_a_pair_is_told(tmp_path):
    folder = sequences(tmp_path / "all", 1, n_frames=40, absent=range(1, 39))
    with pytest.raises(InputError, match=r"s00: no pair can be cut out of it\n.*\n.*12 apart"):
        real_supply([folder])
    with pytest.raises(InputError, match="s00: nothing to score"):
        real_supply([sequences(tmp_path / "none", 1, n_frames=3, absent=(1, 2))])


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there")
def test_real_sequences_become_a_test(monkeypatch):
    monkeypatch.setattr(data, "N_A_SEQUENCE", 6)
    supply = real_supply([REAL])
    rows = supply.rows("test")
    assert len(np.unique(supply.groups[rows])) == len([path for path in REAL.iterdir() if path.is_dir()])
    assert len(rows) == 30
    shown = supply.take(["exemplar"], rows)["exemplar"].float()
    assert shown.flatten(1).std(1).min() > 5
