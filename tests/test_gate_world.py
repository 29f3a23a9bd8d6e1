from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch

from seamwise.systems.gate import faces, scenes, world
from seamwise.systems.gate.world import Difficulty

PLAIN = Difficulty(clutter=0, occlusion=0, light=0, pose=0, noise=0, alike=0)


@pytest.fixture(scope="module")
def drawn():
    return world.draw("train", 128, 0, n_people=8)


def crops(pictures):
    """The face boxes of pictures, 32 px large, each without its mean and scaled to length 1."""
    rows = []
    for image, (left, top, side) in zip(pictures.image[:, 0], pictures.box, strict=True):
        share = side / 32
        back = np.array([[share, 0, left + share / 2 - 0.5], [0, share, top + share / 2 - 0.5]])
        rows.append(cv2.warpAffine(image, back, (32, 32), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    flat = np.stack(rows).reshape(len(rows), -1).astype(np.float32)
    flat -= flat.mean(1, keepdims=True)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def test_one_seed_draws_the_same_pictures():
    one, two, other = (world.draw("test", 20, seed, empty=0.2) for seed in (0, 0, 1))
    for field in fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(two, field.name))
    assert not np.array_equal(one.image, other.image)


def test_the_box_lies_in_the_picture_and_around_the_eyes(drawn):
    side = drawn.box[:, 2]
    assert (drawn.box[:, :2] >= -1e-3).all()
    assert (drawn.box[:, :2] + drawn.box[:, 2:] <= 96 + 1e-3).all()
    assert side.min() >= 24 - 1e-3
    assert side.max() <= 54 + 1e-3
    assert 33 < np.median(side) < 39  # small ones as often as large ones
    one, two = drawn.landmarks[:, 0], drawn.landmarks[:, 1]
    np.testing.assert_allclose(side, 2.4 * np.linalg.norm(one - two, axis=1), rtol=1e-4)
    eyes = ((one + two) / 2 - drawn.box[:, :2]) / side[:, None]
    np.testing.assert_allclose(eyes, np.broadcast_to([0.5, 0.375], eyes.shape), atol=1e-3)


def test_landmarks_are_where_the_features_are():
    pictures = world.draw("train", 60, 0, replace(PLAIN, pose=0.5), n_people=30)
    at = np.rint(pictures.landmarks - 0.5).astype(int)
    image = cv2.blur(pictures.image[:, 0].transpose(1, 2, 0), (3, 3)).transpose(2, 0, 1)

    def grey(points):
        x, y = points.clip(0, 95).T
        return image[np.arange(len(image)), y, x].astype(float)

    # pupils are dark, the tip of a nose is not; the left eye is on the left, the mouth below
    assert np.mean(grey(at[:, 0]) < grey(at[:, 2])) > 0.9
    assert np.mean(grey(at[:, 1]) < grey(at[:, 2])) > 0.9
    assert (pictures.landmarks[:, 0, 0] < pictures.landmarks[:, 1, 0]).all()
    assert (pictures.landmarks[:, 3, 0] < pictures.landmarks[:, 4, 0]).all()
    assert (pictures.landmarks[:, 3:, 1].min(1) > pictures.landmarks[:, 2, 1]).all()


def test_no_person_room_or_clothes_is_in_two_splits():
    seen = {split: world.draw(split, 40, 0, PLAIN) for split in world.N_PEOPLE}
    for name in ("person", "room", "clothes"):
        sets = [set(getattr(pictures, name).tolist()) for pictures in seen.values()]
        assert sum(len(s) for s in sets) == len(set.union(*sets))
    assert [len(np.unique(pictures.person)) for pictures in seen.values()] == [40, 40, 40]
    for (split, pictures), least in zip(seen.items(), (0, 400, 460), strict=True):
        assert least <= pictures.person.min()
        assert pictures.person.max() < least + world.N_PEOPLE[split]


def test_people_are_evenly_drawn_and_mostly_at_home(drawn):
    assert np.bincount(drawn.person).tolist() == [16] * 8
    home = drawn.room == drawn.person
    assert 0.7 < home.mean() < 0.9
    assert np.array_equal(home, drawn.clothes == drawn.person)
    assert (drawn.room[~home] >= sum(world.N_PEOPLE.values())).all()


def test_swapped_pictures_show_everybody_at_anothers():
    pictures = world.draw("test", 60, 0, PLAIN, n_people=5, swapped=True)
    assert (pictures.room != pictures.person).all()
    assert np.array_equal(pictures.room, pictures.clothes)
    assert np.array_equal(pictures.room, world.partner(pictures.person, "test", 5))
    assert len(set(zip(pictures.person.tolist(), pictures.room.tolist(), strict=True))) == 5
    for split, first in (("train", 0), ("validation", 400), ("test", 460)):
        everybody = np.arange(first, first + world.N_PEOPLE[split])
        others = world.partner(everybody, split)
        assert set(others.tolist()) == set(everybody.tolist())
        assert (others != everybody).all()


@pytest.mark.parametrize(("n_people", "swapped"), [(0, False), (101, False), (1, True)])
def test_people_that_are_not_there_are_refused(n_people, swapped):
    with pytest.raises(ValueError, match=f"n_people is {n_people}; give at most 100"):
        world.draw("test", 4, 0, n_people=n_people, swapped=swapped)


def test_empty_pictures_show_nobody():
    pictures = world.draw("validation", 50, 0, empty=0.3)
    nobody = pictures.person < 0
    assert nobody.sum() == 15
    assert (pictures.box[nobody] == 0).all()
    assert (pictures.landmarks[nobody] == 0).all()
    assert (pictures.clothes[nobody] == -1).all()
    assert (pictures.room >= 400).all()
    assert (pictures.box[~nobody, 2] >= 24 - 1e-3).all()
    assert world.draw("train", 3, 0, PLAIN, empty=1).image.shape == (3, 1, 96, 96)


def test_a_room_is_the_same_room_and_no_other():
    assert np.array_equal(scenes.room_of(3), scenes.room_of.__wrapped__(3))
    means = [np.abs(scenes.room_of(3).astype(float) - scenes.room_of(k)).mean() for k in range(10, 20)]
    assert min(means) > 10


def test_a_face_tells_who_it_is():
    kept, shown = (world.draw("test", n, seed, PLAIN, n_people=20) for n, seed in ((20, 1), (100, 2)))
    found = kept.person[(crops(shown) @ crops(kept).T).argmax(1)]
    assert (found == shown.person).mean() > 0.7


def test_light_pose_and_noise_make_the_same_person_look_different():
    def likeness(difficulty):
        pictures = world.draw("test", 40, 0, difficulty, n_people=1)
        rows = crops(pictures)
        return float((rows @ rows.T).mean())

    same = likeness(PLAIN)
    for name in ("light", "pose", "noise", "occlusion"):
        assert likeness(replace(PLAIN, **{name: 1})) < same - 0.01, name


def test_clutter_and_noise_are_what_difficulty_says():
    edges = []
    for clutter in (0, 3, 12):
        image = world.draw("train", 30, 0, replace(PLAIN, clutter=clutter), empty=1).image[:, 0].astype(float)
        edges.append(np.abs(np.diff(image, axis=1)).mean())
    assert edges == sorted(edges)
    fine = []
    for noise in (0, 0.5, 1):
        image = world.draw("train", 30, 0, replace(PLAIN, noise=noise), empty=1).image[:, 0].astype(float)
        fine.append(np.median(np.abs(np.diff(image, n=2, axis=1))))
    assert fine == sorted(fine)
    assert fine[0] < fine[2]


def test_look_alikes_share_most_of_their_parameters():
    apart, half, all_ = (world.people(share) for share in (0, 0.5, 1))
    assert (apart[::2] == apart[1::2]).mean() == 0
    assert np.array_equal(apart[::2], all_[::2])
    assert 0.65 < (all_[::2] == all_[1::2]).mean() < 0.75
    alike = (half[::2] == half[1::2]).any(1)
    assert 0.45 < alike.mean() < 0.55
    assert 0.4 < alike[-50:].mean() < 0.6  # in the test split too
    assert (all_[::2] != all_[1::2]).any(1).all()


def test_a_turn_carries_the_nose_aside():
    rng = np.random.default_rng(0)
    look = faces.looks(rng, 3, pose=0, light=0, glasses=0)
    turned = replace(look, yaw=np.deg2rad([-25.0, 0, 25]))
    marks = faces.render(np.full((3, len(faces.PARAMETERS)), 0.5), turned).landmarks
    nose = (marks[:, 2, 0] - marks[:, :2, 0].mean(1)) / (marks[:, 1, 0] - marks[:, 0, 0])
    assert nose[0] < -0.1
    assert abs(nose[1]) < 1e-3
    assert nose[2] > 0.1


@pytest.mark.parametrize("f", [40, 200])
def test_any_cutouts_are_set_in_at_their_landmarks(f):
    """As those of photographs are: here dark squares of any size with a bright spot at each landmark."""
    n = 12
    places = np.array([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.43, 0.6], [0.57, 0.6]])
    away = (np.indices((f, f))[::-1, None] + 0.5) / f - places.T[:, :, None, None]
    one = 0.2 + 0.8 * np.exp(-np.square(away / 0.02).sum(0)).sum(0)
    grey = torch.from_numpy(np.broadcast_to(one, (n, f, f)).astype(np.float32))
    marks = torch.from_numpy(np.broadcast_to(places * f, (n, 5, 2)).astype(np.float32))
    cutouts = scenes.Cutouts(grey, torch.ones(n, f, f), marks)
    numbers = np.arange(n)
    pictures = scenes.compose(np.random.default_rng(0), cutouts, numbers, numbers, replace(PLAIN, pose=0.5))
    rows, columns = np.indices((96, 96)) + 0.5
    for image, spots, (_, _, side) in zip(pictures.image[:, 0], pictures.landmarks, pictures.box, strict=True):
        for x, y in spots:
            light = np.clip(image.astype(float) - 60, 0, None) * (np.hypot(columns - x, rows - y) < side / 10)
            assert light.max() > 60
            assert abs((light * columns).sum() / light.sum() - x) < 0.3
            assert abs((light * rows).sum() / light.sum() - y) < 0.3
