import json

import cv2
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import one_hot

from seamwise import load_task
from seamwise.errors import InputError
from seamwise.systems.digits import world
from seamwise.systems.digits.oracles import find_perfectly, read_perfectly
from seamwise.systems.digits.pictures import read_picture
from seamwise.systems.digits.task import Find, add, cut, look_up
from seamwise.testing import check_task


@pytest.fixture(scope="module")
def task():
    return load_task("digits")


def test_no_handwriting_is_in_two_splits(task):
    splits = [set(world.handwritings(s)) for s in ("train", "validation", "test")]
    assert [len(s) for s in splits] == [1300, 150, 347]
    assert len(set.union(*splits)) == 1797
    for split, rows in zip(("train", "validation", "test"), splits, strict=True):
        assert set(world.draw(split, 50, 0).handwriting.flat) <= rows
    supply = task.supply
    groups = [set(supply.groups[supply.rows(s)].flat) for s in ("train", "validation", "test")]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_one_seed_draws_the_same_pictures():
    one, two, other = (world.draw("train", 20, seed) for seed in (0, 0, 1))
    for name in ("image", "corner", "place", "digit", "sum", "handwriting"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.image, other.image)


def test_the_labels_are_of_what_is_in_the_picture():
    drawn = world.draw("test", 200, 0, world.Difficulty(clutter=0, noise=0))
    bunch = load_digits()
    assert np.array_equal(drawn.digit, bunch.target[drawn.handwriting])
    assert np.array_equal(drawn.sum, drawn.digit.sum(1))
    rest = drawn.image[:, 0].copy()
    for k, corners in enumerate(drawn.corner):
        for (row, column), place, which in zip(corners, drawn.place[k], drawn.handwriting[k], strict=True):
            assert place == row * world.N_COLUMNS + column
            patch = rest[k, row : row + 10, column : column + 10]
            written = bunch.images[which] / 16
            # the same ink, turned, shifted and fainter: its middle is darker than its border where the original's is
            assert patch.max() > 0.4
            assert np.corrcoef(cv2.resize(written, (10, 10)).flat, patch.flat)[0, 1] > 0.5
            patch[:] = 0
        assert corners[0, 1] + 10 <= 16 <= corners[1, 1]
    assert rest.max() == 0


def test_perfect_stages_leave_no_error_and_read_what_is_there(task):
    rows = task.supply.rows("test")[:300]
    gold = task.supply.take(["place", "digit"], rows)
    image, row, column = task.supply.fields["image"][rows], gold["place"] // 23, gold["place"] % 23
    right = find_perfectly({"image": image}, gold)
    assert torch.equal(right, look_up(task.supply.fields["corner"][rows]))

    def read(row, column):
        moved = {"place": row.clamp(0, 10) * 23 + column.clamp(0, 22)}
        return read_perfectly({"image": image, "patch": cut(image, find_perfectly({}, moved))}, gold)

    label = one_hot(gold["digit"], 10).float()
    assert torch.equal(read(row, column), label)
    assert torch.equal(read(row - 1, column + 1), label)
    elsewhere = read((row + 6) % 11, column)
    assert (elsewhere == 0.1).all(-1).float().mean() > 0.85
    other = read(row.flip(1), column.flip(1))  # the other digit's place: the left one is not read off the right one
    assert (other == 0.1).all(-1).float().mean() > 0.85


def test_clutter_and_noise_are_what_difficulty_says():
    plain, noisy = (world.draw("train", 50, 0, world.Difficulty(0, noise)) for noise in (0.0, 0.1))
    assert np.abs(plain.image - noisy.image).std() > 0.02
    inks = [world.draw("train", 50, 0, world.Difficulty(clutter, 0)).image.mean() for clutter in (0, 6, 20)]
    assert inks == sorted(inks)


def test_adding_shares_is_the_sum_over_all_pairs():
    shares = torch.rand(5, 2, 10, generator=torch.Generator().manual_seed(0)).softmax(-1)
    slow = torch.zeros(5, 19)
    for i in range(10):
        for j in range(10):
            slow[:, i + j] += shares[:, 0, i] * shares[:, 1, j]
    torch.testing.assert_close(add(shares), slow)


def test_adding_lets_gradient_through():
    shares = torch.rand(3, 2, 10, dtype=torch.float64).softmax(-1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: add(s.float()).double(), shares, eps=1e-3, atol=1e-2)


def test_a_cut_is_the_weighted_sum_of_all_patches():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 1, 20, 32, generator=generator)
    place = torch.rand(3, 2, 253, generator=generator).softmax(-1)
    slow = torch.zeros(3, 2, 10, 10)
    for row in range(world.N_ROWS):
        for column in range(world.N_COLUMNS):
            share = place[:, :, row * world.N_COLUMNS + column]
            slow += share[..., None, None] * image[:, :, row : row + 10, column : column + 10]
    torch.testing.assert_close(cut(image, place), slow)


def test_a_given_place_cuts_the_patch_there():
    drawn = world.draw("train", 10, 0)
    patches = cut(torch.from_numpy(drawn.image), look_up(torch.from_numpy(drawn.corner)))
    for k in range(10):
        for d, (row, column) in enumerate(drawn.corner[k]):
            expected = drawn.image[k, 0, row : row + 10, column : column + 10]
            np.testing.assert_allclose(patches[k, d].numpy(), expected, atol=1e-6)
    assert look_up(torch.from_numpy(drawn.corner)).argmax(-1).tolist() == drawn.place.tolist()


def test_each_digit_is_looked_for_in_its_half():
    shares = Find()(torch.rand(4, 1, 20, 32)).reshape(4, 2, world.N_ROWS, world.N_COLUMNS)
    torch.testing.assert_close(shares.sum((2, 3)), torch.ones(4, 2))
    assert shares[:, 0, :, world.N_SHIFTS :].max() == 0
    assert shares[:, 1, :, : world.WIDTH_PX // 2].max() == 0


def test_a_picture_file_is_read_as_it_was_drawn(tmp_path):
    grey = (world.draw("test", 1, 0).image[0, 0] * 255).round().astype(np.uint8)
    cv2.imwrite(str(tmp_path / "light.png"), grey)
    cv2.imwrite(str(tmp_path / "dark.png"), 255 - grey)
    cv2.imwrite(str(tmp_path / "large.png"), cv2.resize(grey, (320, 400), interpolation=cv2.INTER_NEAREST))
    for name in ("light.png", "dark.png"):
        np.testing.assert_allclose(read_picture(tmp_path / name)["image"][0], grey / 255, atol=1e-6)
    assert read_picture(tmp_path / "large.png")["image"].shape == (1, 20, 32)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_what_is_no_picture_is_told(tmp_path, content):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png"):
        read_picture(path)


def test_an_answer_is_told_and_drawn(task):
    item = {f: v[0].numpy() for f, v in task.supply.take(["image", "sum"], task.supply.rows("test")[:1]).items()}
    digit = np.eye(10, dtype=np.float32)[[3, 5]]
    written = {"sum": np.eye(19, dtype=np.float32)[8], "digit": digit, "place": np.eye(253, dtype=np.float32)[[24, 39]]}
    told = json.loads(json.dumps(task.tell(written)))
    assert told == {"sum": 8, "probability": 1.0, "digits": [3, 5], "boxes": [[1, 1, 10, 10], [16, 1, 10, 10]]}
    right, wrong = task.draw(item | {"sum": np.array(8)}, written), task.draw(item | {"sum": np.array(9)}, written)
    assert right.shape == wrong.shape
    assert right.shape[0] > 20
    assert not np.array_equal(right, wrong)


def test_the_variants_answer_alike_where_the_found_place_is_the_given_one(task):
    rows = task.supply.rows("test")[:50]
    given = task.supply.take(["image", "corner"], rows)
    net = task.chain_of("given").build(0).eval()
    place = look_up(given["corner"])
    found = task.chain_of("found").build(0).eval()(given | {"place": place})
    torch.testing.assert_close(found["sum"], net(given)["sum"])


def test_digits_keep_the_contract(task):
    assert check_task(task) == ()
