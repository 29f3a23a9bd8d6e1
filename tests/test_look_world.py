import time

import cv2
import numpy as np
import pytest
from scipy.stats import chi2_contingency

from seamwise.look import world
from seamwise.look.things import OBJECTS, PARTS, TEXTURES, textures


@pytest.fixture(scope="module")
def scenes():
    return world.draw(150, 0, 48)


def test_one_seed_draws_the_same_pictures(scenes):
    again, other = world.draw(20, 0, 48), world.draw(20, 1, 48)
    assert np.array_equal(again.pictures, scenes.pictures[:20])
    assert np.array_equal(again.classes, scenes.classes[:20])
    assert all(np.array_equal(again.masks[family], scenes.masks[family][:20]) for family in scenes.masks)
    assert not np.array_equal(again.pictures, other.pictures)


@pytest.mark.parametrize("size", [16, 33, 128])
def test_any_size(size):
    scenes = world.draw(1, 3, size)
    assert scenes.pictures.shape == (1, 3, size, size)
    assert all(labels.shape == (1, size, size) for labels in scenes.masks.values())


def test_every_label_has_a_name_and_is_drawn(scenes):
    for family, labels in scenes.masks.items():
        assert set(np.unique(labels)) - {0} == set(range(1, 1 + len(scenes.concepts[family]))), family


def test_every_picture_has_its_object_and_no_other(scenes):
    for labels, kind in zip(scenes.masks["object"], scenes.classes, strict=True):
        assert set(np.unique(labels)) == {0, kind + 1}
        assert 0.03 < (labels > 0).mean() < 0.7


def test_parts_lie_in_objects_that_have_them(scenes):
    assert (scenes.masks["object"][scenes.masks["part"] > 0] > 0).all()
    rng = np.random.default_rng(0)
    own = [{name.rstrip("+") for _ in range(20) for name, _ in make(rng)} - {""} for make in OBJECTS.values()]
    for labels, kind in zip(scenes.masks["part"], scenes.classes, strict=True):
        assert {PARTS[k - 1] for k in np.unique(labels) if k} <= own[kind]
    shared = [part for part in PARTS if sum(part in parts for parts in own) > 1]
    assert {"wheel", "window", "eye", "tail", "door"} <= set(shared)


def test_colours_and_textures_do_not_tell_the_class():
    scenes = world.draw(250, 5, 24)
    for family in ("colour", "texture"):
        inside = [
            np.bincount(labels[things > 0], minlength=13).argmax()
            for labels, things in zip(scenes.masks[family], scenes.masks["object"], strict=True)
        ]
        _, values = np.unique(inside, return_inverse=True)
        table = np.zeros((10, values.max() + 1))
        np.add.at(table, (scenes.classes, values), 1)
        assert chi2_contingency(table[:, table.sum(0) > 10]).pvalue > 1e-3


def test_colours_are_what_they_are_called():
    scenes = world.draw(50, 2, 48)
    hsv = np.stack([cv2.cvtColor(p.transpose(1, 2, 0), cv2.COLOR_RGB2HSV) for p in scenes.pictures])
    names = scenes.concepts["colour"]
    for name, hue in world.HUES.items():
        mask = (scenes.masks["colour"] == names.index(name) + 1) & (hsv[..., 2] > 100)
        away = (hsv[..., 0][mask].astype(float) * 2 - hue + 180) % 360 - 180
        assert abs(np.median(away)) < 8, name
    assert np.median(hsv[..., 1][scenes.masks["colour"] == names.index("grey") + 1]) < 60


def test_edges_have_their_directions():
    image = np.zeros((64, 64, 3), np.float32)
    image[:, 32:] = 0.6
    middle = np.s_[28:36, 31:33]
    assert (world._edges(image)[middle] == 1).all()  # vertical
    assert (world._edges(image.transpose(1, 0, 2))[31:33, 28:36] == 3).all()  # horizontal
    rising = np.float32(np.add.outer(np.arange(64), np.arange(64)) > 63)[..., None] * np.float32([0.5, 0.5, 0.5])
    assert world._edges(rising)[31, 32] == 2
    assert world._edges(np.ascontiguousarray(rising[:, ::-1]))[31, 31] == 4
    assert not world._edges(np.full((64, 64, 3), 0.5, np.float32)).any()


def test_stripes_have_their_directions():
    bank = textures(64).astype(float)
    for name, along in {"horizontal stripes": 1, "vertical stripes": 0}.items():
        fields = bank[TEXTURES.index(name)]
        steps = [np.abs(np.diff(fields, axis=1 + axis)).mean() for axis in (0, 1)]
        assert steps[1 - along] > 2 * steps[along]


def test_a_mask_is_that_of_its_concept(scenes):
    mask = scenes.mask("part", "wheel")
    assert mask.dtype == bool
    assert np.array_equal(mask, scenes.masks["part"] == 1)


def test_hundred_pictures_a_second():
    world.draw(2, 0)
    start = time.process_time()
    world.draw(20, 1)
    assert time.process_time() - start < 2  # checks of shapes, and other programs, take most of it here
