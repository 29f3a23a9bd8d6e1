from dataclasses import fields, replace

import numpy as np
import pytest

from seamwise.systems.age import anatomy, radiograph, world
from seamwise.systems.age.growth import BONES
from seamwise.systems.age.world import Difficulty

PLAIN = Difficulty(pose=0, exposure=0, noise=0, clutter=0, spread=0)


@pytest.fixture(scope="module")
def drawn():
    return world.draw(80, 0)


def test_one_seed_draws_the_same_pictures():
    one, two, other = (world.draw(6, seed) for seed in (0, 0, 1))
    for field in fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(two, field.name))
    assert not np.array_equal(one.picture, other.picture)


def test_labels_are_in_range(drawn):
    assert drawn.picture.shape == (80, 1, 256, 256)
    kinds = {"picture": "uint8", "sex": "uint8", "bones": "uint8"}
    for field in fields(drawn):
        assert getattr(drawn, field.name).dtype == kinds.get(field.name, "float32")
    assert set(drawn.sex) == {0, 1}
    assert ((drawn.age_months >= 8) & (drawn.age_months <= 228)).all()
    for signs in (drawn.plates, drawn.carpals):
        assert ((signs >= 0) & (signs <= 1)).all()
    assert drawn.bones.max() == len(BONES)
    assert ((drawn.landmarks_px > 0) & (drawn.landmarks_px < 256)).all()
    tall = np.ptp(drawn.landmarks_px[:, :, 1], axis=1) / 256
    assert tall.min() > 0.25
    assert tall.max() < 0.95


def test_any_size_and_nobody():
    small = world.draw(3, 0, px=96)
    assert small.picture.shape == (3, 1, 96, 96)
    assert small.landmarks_px.max() < 96
    assert world.draw(0, 0).picture.shape == (0, 1, 256, 256)


def test_landmarks_are_as_far_apart_as_bones_are_long(drawn):
    ends = drawn.landmarks_px[:, anatomy.SEGMENTS]
    far = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1)
    np.testing.assert_allclose(far * drawn.mm_per_px[:, None], drawn.lengths_mm, rtol=1e-4)


def test_the_older_the_longer_and_more_mature(drawn):
    for signs in (drawn.lengths_mm.mean(1), drawn.plates.mean(1), drawn.carpals.mean(1)):
        assert np.corrcoef(drawn.age_months, signs)[0, 1] > 0.9


def test_people_of_one_bone_age_differ_as_much_as_asked():
    rests = []
    for spread in (0, 0.5, 1):
        people = anatomy.people(np.random.default_rng(0), 2000, spread)
        exact = anatomy.growth.maturity(people.sex, people.age_months)
        rests.append(np.abs(people.plates - exact.plates).mean())
    assert rests[0] == 0
    assert 0.01 < rests[1] < rests[2] < 0.1


def test_the_map_of_bones_lies_under_the_bones(drawn):
    places = drawn.landmarks_px[:, anatomy.SEGMENTS].mean(2)  # mid shaft
    x, y = (places / 4).astype(int).clip(0, 63).transpose(2, 0, 1)
    found = drawn.bones[np.arange(len(x))[:, None], y, x]
    assert (found == np.arange(1, 20)).mean() > 0.97  # fingers may cross


def test_bones_are_brighter_than_flesh_and_flesh_than_air():
    hands = world.draw(12, 0, PLAIN)
    palm = (hands.bones == 1 + BONES.index("MC2")) | (hands.bones == 1 + BONES.index("MC3"))
    coarse = hands.picture[:, 0].reshape(len(palm), 64, 4, 64, 4).mean((2, 4))
    for bone, picture, marks in zip(palm, coarse, hands.landmarks_px / 4, strict=True):
        x, y = (0.2 * marks[[5, 10]] + 0.3 * marks[[6, 11]]).sum(0).astype(int)  # between these bones
        flesh = picture[y, x]
        assert picture[bone].mean() > flesh
        assert flesh > np.median(picture[0]) + 20


def test_an_open_plate_is_darker_than_the_bone_around_it():
    to_px = np.array([[6.0, 0, 128], [0, -6.0, 560]])  # 6 px a mm, around the base of the middle finger
    sex, age = np.array([1]), np.array([150.0])
    mean, _ = anatomy.growth.lengths(sex, age)
    holds = anatomy.held(np.random.default_rng(0), mean, 0)
    hand = radiograph.Bones(holds.landmarks[0], mean[0], 150.0, 1.0, 0.0)
    bone = BONES.index("PP3")
    to_px[:, 2] += 128 - (to_px[:, :2] @ hand.start[bone] + to_px[:, 2])
    across = {}
    for name, maturity in (("open", 0.5), ("fused", 1.0)):
        plates = np.full(21, maturity)
        weak = radiograph.skeleton(hand, plates, np.ones(8), np.zeros((8, 6)), to_px, 256)
        mm = np.arange(0, 60) / 6
        x, y = ((hand.start[bone] + mm[:, None] * hand.along[bone]) @ to_px[:, :2].T + to_px[:, 2]).astype(int).T
        across[name] = weak[y, x]
    gap = across["open"][10:30]
    assert gap.min() < 0.05 * across["open"][5:10].max()
    assert across["fused"][8:30].min() > 0.5 * across["fused"][8:30].max()
    assert abs(across["open"][50:] / across["fused"][50:] - 1).max() < 1e-5


def test_an_open_plate_is_seen_in_the_picture():
    """Beside where they fuse, growth plates make a picture darker: the same children drawn with and without."""
    hands = world.draw(50, 0, PLAIN)
    dark = []
    for picture, marks, plates in zip(hands.picture[:, 0], hands.landmarks_px, hands.plates, strict=True):
        start, end = marks[11], marks[12]  # the proximal phalanx of the middle finger
        on = start + np.linspace(0.02, 0.3, 40)[:, None] * (end - start)
        grey = picture[on[:, 1].astype(int), on[:, 0].astype(int)].astype(float)
        dark.append((plates[BONES.index("PP3")], grey[8:32].min() / grey[20:].mean()))
    maturity, grey = np.array(dark).T
    assert grey[maturity == 1].mean() - grey[(maturity > 0.3) & (maturity < 0.7)].mean() > 0.05


@pytest.mark.parametrize("name", ["pose", "exposure", "noise", "clutter"])
def test_difficulty_makes_pictures_differ_more(name):
    plain, hard = (world.draw(20, 0, replace(PLAIN, **{name: level})) for level in (0, 1))

    def measure(hands):
        image = hands.picture[:, 0].astype(float)
        if name == "pose":
            marks = hands.landmarks_px
            wide, long = (np.linalg.norm(marks[:, a] - marks[:, b], axis=1) for a, b in ((9, 24), (0, 11)))
            return np.std(wide / long)
        if name == "noise":
            return np.median(np.abs(np.diff(image[:, :40, 100:160], n=2, axis=2)), axis=(1, 2)).max()
        if name == "exposure":
            return np.std(np.median(image[:, :40, 100:160], axis=(1, 2)))
        return np.abs(np.diff(image[:, :40], axis=1)).mean()

    assert measure(hard) > 1.3 * measure(plain)
