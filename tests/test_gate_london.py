import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from seamwise.errors import InputError
from seamwise.systems.gate import light, london, scenes
from seamwise.systems.gate.light import Frame, Pose
from seamwise.systems.gate.london import FRAME, LANDMARKS, five

FACES_OF_LONDON = LONDON = (
    Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "faces/london"
)


def marks(rng):
    """189 points in the order of the set, as far as anything depends on it, around eyes at (250, 280), (350, 280)."""
    points = np.column_stack([rng.uniform(190, 410, 189), rng.uniform(190, 440, 189)])
    points[0], points[1], points[87], points[93] = (250, 280), (350, 280), (265, 385), (335, 385)
    points[64:70] = np.column_stack([np.linspace(285, 315, 6), np.full(6, 345)])
    return points


def photo(rng, points, shift=0):
    """A head before a light wall: hair, skin, and texture that flow can follow."""
    picture = np.full((600, 600, 3), (195, 196, 198), dtype=np.uint8)
    cv2.ellipse(picture, (300 + shift, 300), (135, 185), 0, 0, 360, (70, 50, 35), -1)
    cv2.ellipse(picture, (300 + shift, 320), (115, 150), 0, 0, 360, (205, 150, 120), -1)
    for x, y in points:
        tone = tuple(int(c) for c in rng.integers(60, 160, 3))
        cv2.circle(picture, (int(x) + shift, int(y)), 5, tone, -1, cv2.LINE_AA)
    return picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, everybody = tmp_path_factory.mktemp("london"), {}
    for k in range(5):
        rng = np.random.default_rng(k)
        everybody[name := f"{k:03d}"] = points = marks(rng)
        (folder / name).mkdir()
        for look, shift in (("neutral", 0), ("smiling", 6)):
            Image.fromarray(photo(np.random.default_rng(k), points, shift)).save(
                folder / name / f"{look}.jpg", quality=95
            )
    np.savez(folder / LANDMARKS, **everybody)
    (folder / london.INFO).write_text("face_id,face_gender\n" + "".join(f"00{k},{'ab'[k % 2]}\n" for k in range(5)))
    return folder


@pytest.fixture(scope="module")
def people(folder):
    return london.people(folder)


def test_people_are_aligned_and_the_smiling_ones_followed(people):
    assert people.name == ("000", "001", "002", "003", "004")
    assert people.gender == ("a", "b", "a", "b", "a")
    wanted = FRAME.place(np.array([[-0.5, 0], [0.5, 0]]))
    np.testing.assert_allclose(people.landmarks[:, 0, :2], np.broadcast_to(wanted, (5, 2, 2)), atol=1e-6)
    np.testing.assert_allclose(people.landmarks[:, 1, :2], np.broadcast_to(wanted, (5, 2, 2)), atol=2.0)
    difference = people.grey[:, 0].astype(float) - people.grey[:, 1]
    assert np.abs(difference).mean() < 4  # the head that moved in the photo is where it was


def test_the_mask_holds_the_head_and_not_the_wall(people):
    def mean(left, right, top, bottom):
        (x0, y0), (x1, y1) = FRAME.place(np.array([[left, top], [right, bottom]])).astype(int)
        return people.alpha[:, :, y0:y1, x0:x1].mean() / 255

    assert mean(-0.6, 0.6, -0.3, 1.2) > 0.97
    assert mean(-0.5, 0.5, -1.5, -1.2) > 0.9  # hair
    assert mean(1.7, 2.4, -2, 1) < 0.03
    assert mean(-0.5, 0.5, 2.1, 2.5) == 0  # the neck has faded


def test_nobody_is_in_both_parts(folder, people):
    train, validation = (london.people(folder, part) for part in ("train", "validation"))
    assert len(validation) == 1
    assert {*train.name, *validation.name} == set(people.name)
    assert len(train) + len(validation) == len(people)
    names = people.name
    assert london.split(names[::-1])[::-1].tolist() == london.split(names).tolist()


def test_morphs_lie_between_two_of_one_gender(people):
    made = london.morphs(people, 6, seed=1)
    again = london.morphs(people, 6, seed=1)
    assert np.array_equal(made.grey, again.grey)
    for k, name in enumerate(made.name):
        parents, shape, _ = name.split()
        one, other = (people.name.index(each) for each in parents.split("+"))
        assert one != other
        assert people.gender[one] == people.gender[other] == made.gender[k]
        between = (1 - float(shape)) * people.landmarks[one] + float(shape) * people.landmarks[other]
        np.testing.assert_allclose(made.landmarks[k], between, atol=1.5)
    both = people.and_also(made)
    assert len(both) == 11
    assert both.some(np.array([5])).name == made.name[:1]


def test_cutouts_stand_in_scenes(people):
    rng = np.random.default_rng(0)
    person = np.array([0, 1, 2, 3, 4, 0, 1, 2])
    cut = london.cutouts(rng, people, person)
    assert cut.grey.shape == cut.alpha.shape == (8, 96, 96)
    assert 0 <= float(cut.grey.min()) <= float(cut.grey.max()) <= 1
    eyes = cut.landmarks[:, :2].numpy()
    assert (eyes[:, 0, 0] < eyes[:, 1, 0]).all()
    np.testing.assert_allclose(eyes.mean((0, 1)), [48, 48], atol=5)
    made = scenes.compose(rng, cut, person, person, scenes.Difficulty())
    assert made.image.shape == (8, 1, 96, 96)
    same = london.cutouts(np.random.default_rng(0), people, person)
    assert np.array_equal(same.grey, cut.grey)


@pytest.mark.parametrize("pose", [Pose(), Pose((0.15, -0.1), 0.2, 1.1, (0.1, -0.2), True)])
def test_points_move_with_the_picture(pose):
    source, target = Frame(160, 2.6), Frame(96, 1.6, 0.3)
    at = np.array([[-0.5, 0.0], [0.5, 0.0], [0.1, 0.5], [0.3, 1.0]])
    for point in source.place(at):
        picture = np.zeros((160, 160), dtype=np.uint8)
        cv2.circle(picture, tuple(int(16 * c) for c in point - 0.5), 48, 255, -1, cv2.LINE_AA, 4)
        seen = light.shown(picture, source, target, pose).astype(float)
        rows, columns = np.indices(seen.shape) + 0.5
        centre = [(seen * columns).sum() / seen.sum(), (seen * rows).sum() / seen.sum()]
        np.testing.assert_allclose(light.moved(point[None], source, target, pose)[0], centre, atol=0.8)


def test_light_comes_from_a_side_and_photographs_differ():
    frame, rng = Frame(64, 1.44, 0.3), np.random.default_rng(0)
    lit = np.stack([light.light(rng, frame) for _ in range(40)])
    assert lit.min() >= 0
    uneven = np.abs(lit[:, :, :32].mean((1, 2)) - lit[:, :, 32:].mean((1, 2)))
    assert uneven.max() > 0.3
    picture = np.full((64, 64), 150, dtype=np.uint8)
    photos = [light.developed(rng, light.relit(rng, picture, frame)).mean() for _ in range(40)]
    assert np.ptp(photos) > 80


def test_eyes_of_a_photo_come_into_the_frame():
    eyes = np.array([[100.0, 50.0], [130.0, 70.0]])
    affine = FRAME.from_photo(eyes)
    np.testing.assert_allclose(eyes @ affine[:, :2].T + affine[:, 2], FRAME.place(np.array([[-0.5, 0], [0.5, 0]])))


def test_another_folder_is_refused(tmp_path, folder):
    with pytest.raises(InputError, match="not the London set"):
        london.people(tmp_path)
    (tmp_path / LANDMARKS).write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read"):
        london.people(tmp_path)
    np.savez(tmp_path / LANDMARKS, a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        london.people(tmp_path)
    np.savez(tmp_path / LANDMARKS, a=np.zeros((4, 2)), b=np.zeros((189, 2)))
    with pytest.raises(InputError, match="a: \\(4, 2\\)"):
        london.people(tmp_path)
    np.savez(tmp_path / LANDMARKS, a=marks(np.random.default_rng(0)), b=marks(np.random.default_rng(1)))
    with pytest.raises(InputError, match="no such file"):
        london.people(tmp_path)


@pytest.mark.data
def test_the_real_set():
    if not LONDON.exists():
        pytest.skip(f"no London set in {LONDON}")
    validation = london.people(LONDON, "validation")
    assert len(validation) == 22
    eyes = five(validation.landmarks)[:, 1, :2]
    assert np.abs(eyes - FRAME.place(np.array([[-0.5, 0], [0.5, 0]]))).max() < 4
    corners = np.concatenate([validation.alpha[:, :, :60, :10], validation.alpha[:, :, :60, -10:]], 3)
    assert corners.mean() / 255 < 0.05
