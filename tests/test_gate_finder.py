"""The finder: what it sees, how boxes move and vanish, what it learns from, and that it learns."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d

from seamwise.systems.gate import faces, finder, finder_scenes, train_finder
from seamwise.systems.gate.finder import Finder


def test_cells_are_sums_over_pixels():
    each = torch.rand(2, 3, 21, 30)
    torch.testing.assert_close(finder._pooled(each) / 16, avg_pool2d(each, 4))


def test_plain_picture_has_no_gradients():
    cells = finder.Gradients()(torch.full((1, 1, 32, 40), 0.7))
    assert cells.shape == (1, 5, 8, 10)
    assert cells[:, 1:].abs().max() < 0.01
    assert cells[:, 0].max() < 0.1


def test_contrast_matters_little():
    image = torch.from_numpy(cv2.GaussianBlur(np.random.default_rng(1).random((48, 48), dtype=np.float32), (0, 0), 2))
    image = ((image - image.min()) / (image.max() - image.min()))[None, None]
    bright, dark = finder.Gradients()(0.1 + 0.8 * image), finder.Gradients()(0.1 + 0.2 * image)
    seen = torch.stack([bright.flatten(), dark.flatten()])
    assert torch.corrcoef(seen)[0, 1] > 0.95


def test_mirrored_picture_turns_the_sign_of_what_goes_across():
    image = torch.rand(1, 1, 32, 32)
    cells, mirrored = finder.Gradients()(image), finder.Gradients()(image.flip(3)).flip(3)
    sign = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])[:, None, None]
    torch.testing.assert_close(mirrored[0], cells[0] * sign, atol=1e-4, rtol=1e-4)


def test_levels_shrink_until_a_face_fills_them():
    sizes = [level.shape[-1] for level in finder.pyramid(torch.rand(1, 1, 120, 90))]
    assert sizes[0] == 90
    assert sizes == sorted(sizes, reverse=True)
    assert 0.9 * finder.BOX_PX <= sizes[-1] < 1.2 * finder.BOX_PX
    assert len(Finder()(torch.rand(2, 1, 120, 90))) == len(sizes)


def test_score_stands_for_the_middle_of_its_window():
    """What changes a score lies evenly about the place that it stands for."""
    image = torch.rand(1, 1, 96, 96, requires_grad=True)
    cells = image.unfold(2, 4, 4).unfold(3, 4, 4).mean((-2, -1)).expand(-1, 5, -1, -1)
    found = Finder()
    torch.nn.init.ones_(found.first[0].weight)
    score = found.look(cells)[0, 8, 11]
    score.backward()
    rows, columns = torch.nonzero(image.grad[0, 0], as_tuple=True)
    middle = [(each.min() + each.max() + 1).item() / 2 for each in (rows, columns)]
    assert middle == finder.place(np.array([8.0, 11.0])).tolist()


def test_peaks_are_refined_between_cells():
    row, column = np.mgrid[:9, :9]
    scores = (5 - (row - 4.2) ** 2 - (column - 3.7) ** 2).astype(np.float32)
    ((x, y, size, score),) = finder.peaks(scores, 2.0)
    assert x == pytest.approx(2 * finder.place(np.array([3.7]))[0], abs=1e-3)
    assert y == pytest.approx(2 * finder.place(np.array([4.2]))[0], abs=1e-3)
    assert size == 2 * finder.BOX_PX
    assert score == scores.max()


def test_correction_moves_a_box_to_the_truth():
    boxes = np.array([[50, 60, 30], [20, 20, 10]], dtype=np.float32)
    truth = np.array([[53, 58, 33], [19, 21, 9]], dtype=np.float32)
    np.testing.assert_allclose(finder.moved(boxes, finder.correction(boxes, truth)), truth, rtol=1e-5)


def test_overlap_of_squares():
    one = np.array([[10, 10, 10]], dtype=np.float32)
    others = np.array([[10, 10, 10], [15, 10, 10], [10, 10, 5], [30, 10, 10]], dtype=np.float32)
    np.testing.assert_allclose(finder.overlap(one, others), [1, 1 / 3, 1 / 4, 0], rtol=1e-6)


def test_parts_of_a_face_go_and_neighbours_stay():
    boxes = np.array([[50, 50, 40], [52, 50, 40], [42, 42, 14], [95, 50, 40]], dtype=np.float32)
    score = np.array([3, 5, 4, 1], dtype=np.float32)
    assert finder.distinct(boxes, score, within=0.5) == [1, 3]
    assert finder.distinct(boxes, score) == [1, 2, 3]


def test_crop_beyond_the_border_goes_on():
    grey = np.full((40, 40), 90, dtype=np.uint8)
    crops, seen = finder.crop(grey, np.array([[2, 3, 30], [20, 20, 9]], dtype=np.float32))
    assert crops.shape == (2, 64, 64)
    assert (crops == 90).all()
    np.testing.assert_allclose(seen, [[2, 3, 30], [20, 20, 9]])


@pytest.mark.parametrize("shape", [(16, 16), (17, 300), (480, 640), (33, 20)])
def test_any_photo_can_be_searched(shape):
    torch.manual_seed(0)
    found = Finder().eval()
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    score = [each.score for each in found.find_faces(grey, threshold=-99.0)]
    assert score == sorted(score, reverse=True)


def test_a_window_is_a_face_where_it_fits_alone():
    boxes = np.array([[100, 80, 64]], dtype=np.float32)
    scene = finder_scenes.Scene(np.zeros((160, 200), dtype=np.uint8), boxes, np.zeros((0, 3), dtype=np.float32))
    label = train_finder._labels(scene, 2.0, (17, 22)).reshape(17, 22)
    row, column = np.nonzero(label == 1)
    assert len(row) > 0
    assert np.abs(finder.place(row.astype(float)) * 2 - 80).max() < 0.1 * 64
    assert np.abs(finder.place(column.astype(float)) * 2 - 100).max() < 0.1 * 64
    assert label[0, 0] == 0
    assert (label == -1).any()
    assert not (train_finder._labels(scene, 1.0, (37, 47)) == 1).any()


def test_a_scene_where_nothing_is_like_a_face_teaches_nothing():
    none = np.zeros((0, 3), dtype=np.float32)
    plain = finder_scenes.Scene(np.full((90, 120), 128, dtype=np.uint8), none, none)
    found = Finder().eval()
    torch.nn.init.constant_(found.first[2].bias, -99)
    seen, truth = train_finder._closer(np.random.default_rng(0), found, plain)
    assert (len(seen), len(truth)) == (0, 0)


def test_scenes_are_decided_by_their_seed():
    cast = [finder_scenes.Someone(np.full((40, 40, 2), 0.5, dtype=np.float32), (20.0, 20.0, 24.0))]
    one, other = (finder_scenes.scene(np.random.default_rng(3), cast, 2) for _ in range(2))
    np.testing.assert_array_equal(one.grey, other.grey)
    np.testing.assert_array_equal(one.boxes, other.boxes)


def _studio(folder: Path, n: int) -> None:
    """Photographs of drawn people as the London set would have them."""
    rng = np.random.default_rng(5)
    drawn = faces.render(faces.identities(rng, n), faces.looks(rng, n, pose=0.0))
    rows = ["person,image,x,y,w,h,eye1_x,eye1_y,eye2_x,eye2_y"]
    for k in range(n):
        scale = 300 / faces.CUTOUT_PX
        grey = drawn.grey[k] * drawn.alpha[k] + 0.85 * (1 - drawn.alpha[k])
        large = cv2.resize(grey.numpy(), (300, 300), interpolation=cv2.INTER_CUBIC)
        photo = np.full((400, 400), 0.85)
        photo[50:350, 50:350] = large
        (folder / f"{k:03d}").mkdir(parents=True)
        for name in ("neutral", "smiling"):
            Image.fromarray((photo.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"{k:03d}" / f"{name}.jpg")
        eyes = (drawn.landmarks[k, :2].numpy() * scale + 50).flatten().tolist()
        rows.append(",".join([f"{k:03d}", "neutral", "60", "60", "200", "200", *(f"{each:.1f}" for each in eyes)]))
    (folder / "boxes.csv").write_text("\n".join(rows) + "\n")


def test_eyes_are_followed_into_another_photograph(tmp_path):
    _studio(tmp_path, 2)
    layers = finder_scenes.studio(tmp_path)
    assert len(layers) == 4
    np.testing.assert_allclose(layers[0][..., 0], layers[1][..., 0], atol=0.05)
    middle = (int((finder_scenes.ABOVE + 0.5) * finder_scenes.EYE_PX), int(finder_scenes.WIDE * finder_scenes.EYE_PX))
    assert layers[0][middle][1] == pytest.approx(1)
    assert layers[0][5, 5, 1] == 0


@pytest.mark.slow
def test_same_seed_same_small_finder(tmp_path, monkeypatch):
    _studio(tmp_path, 2)
    for module, name in ((finder_scenes, "N_LOOKS"), (finder_scenes, "N_DRAWN"), (train_finder, "N_SCENES")):
        monkeypatch.setattr(module, name, 6)
    monkeypatch.setattr(train_finder, "N_CLOSER", 6)
    told: list[str] = []
    found, again = train_finder.fit_finder(tmp_path, 1, told.append), train_finder.fit_finder(tmp_path, 1)
    for one, other in zip(found.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert told
    assert sum(each.numel() * each.element_size() for each in found.state_dict().values()) < 1e6


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (16, 1000), (700, 17)])
def test_pictures_of_any_shape_can_be_looked_at(shape):
    finder = Finder()
    assert isinstance(finder.find_faces(np.full(shape, 120, dtype=np.uint8)), list)
