import copy

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_gate_london import FACES_OF_LONDON, folder, people  # noqa: F401  (fixtures)

from seamwise.errors import InputError
from seamwise.pictures import read_photo
from seamwise.systems.gate import aligner, make
from seamwise.systems.gate.aligner import box_of, looked_at, rough_boxes, window_of
from seamwise.systems.gate.finder import Found
from seamwise.systems.gate.gate import AnySight
from seamwise.systems.gate.recogniser import UPRIGHT, Hog, Lbp, Projection, Recognise, fit_projection
from seamwise.systems.gate.sight import WEIGHTS, Sight, load_sight, read_weights

FACES = FACES_OF_LONDON.parent


@pytest.fixture(scope="module")
def sight():
    return load_sight()


def drawn_face(rng, px=64):
    blurred = cv2.GaussianBlur(rng.random((px, px)), (0, 0), 3)
    return ((blurred - blurred.min()) / np.ptp(blurred)).astype(np.float32)


def test_hog_sees_what_opencv_sees():
    face = (drawn_face(np.random.default_rng(0)) * 255).astype(np.uint8)
    theirs = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9, 1, -1, 0, 0.2, True, 64, False).compute(face)
    ours = Hog()(torch.from_numpy(face)[None, None].float() / 255)[0]
    theirs = theirs.reshape(7, 7, 2, 2, 9).transpose(1, 0, 3, 2, 4).ravel()  # OpenCV goes down the columns first
    assert np.corrcoef(theirs, ours.numpy())[0, 1] > 0.97


def test_hog_hardly_depends_on_brightness_and_passes_gradient():
    face = torch.from_numpy(drawn_face(np.random.default_rng(1)))[None, None]
    hog = Hog()
    bright, dark = hog(face), hog(0.3 * face)
    assert torch.nn.functional.cosine_similarity(bright, dark).item() > 0.99
    again = face.clone().requires_grad_()
    hog(again)[:, ::7].square().sum().backward()
    assert again.grad.isfinite().all()
    assert again.grad.abs().max() > 0
    flat = torch.full((1, 1, 64, 64), 0.5, requires_grad=True)
    hog(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_hog_needs_whole_cells():
    with pytest.raises(InputError, match="multiple of the cells"):
        Hog(60, 8)


def test_lbp_counts_uniform_patterns():
    lbp = Lbp()
    assert sorted(set(lbp.label.tolist())) == list(range(59))
    flat = lbp(torch.full((1, 1, 64, 64), 0.5)).reshape(64, 59)
    assert (flat.square().sum(1) - 1).abs().max() < 1e-5
    assert (flat == flat[0]).all()
    face = torch.from_numpy(drawn_face(np.random.default_rng(2)))[None, None]
    assert torch.equal(lbp(face), lbp(0.5 * face))  # any light that keeps the order of grey values


def test_a_projection_brings_people_together_and_apart():
    rng = np.random.default_rng(0)
    somebody = rng.normal(size=(30, 12)) * np.r_[np.full(6, 1.0), np.full(6, 0.05)]
    spread = np.r_[np.full(6, 0.2), np.full(6, 3.0)]  # the last six say little of who it is
    person = np.repeat(np.arange(30), 10)
    features = somebody[person] + rng.normal(size=(300, 12)) * spread
    fitted = fit_projection(features, person, dim=6, shrink=0.01)
    fresh = (somebody + rng.normal(size=somebody.shape) * spread - fitted.mean) @ fitted.matrix
    centre = (somebody - fitted.mean) @ fitted.matrix
    fresh, centre = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (fresh, centre))
    assert ((fresh @ centre.T).argmax(1) == np.arange(30)).mean() > 0.9
    with pytest.raises(InputError, match="too few people"):
        fit_projection(features, person, dim=30)


def test_recognising_is_blind_to_mirrors_and_of_length_1():
    torch.manual_seed(0)
    recognise = Recognise(16)
    faces = torch.rand(3, 1, 64, 64)
    vectors = recognise(faces)
    assert torch.allclose(vectors, recognise(faces.flip(3)), atol=1e-5)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))


def test_boxes_of_points_and_what_is_in_them():
    points = torch.tensor([[[60.0, 70], [100, 70], [80, 90], [65, 110], [95, 110]]])
    assert torch.allclose(box_of(points), torch.tensor([[80.0, 82, 96, 0]]))
    window = torch.rand(1, 1, 160, 160)
    straight = looked_at(window, torch.tensor([[80.0, 80, 96, 0]]), px=96)
    assert torch.allclose(straight[0, 0], window[0, 0, 32:128, 32:128], atol=1e-4)
    quarter = looked_at(window, torch.tensor([[80.0, 80, 96, torch.pi / 2]]), px=96)
    assert torch.allclose(quarter[0, 0], window[0, 0, 32:128, 32:128].rot90(1), atol=1e-3)


@pytest.mark.parametrize("side", [20.0, 80.0, 300.0])
def test_windows_are_centred_on_the_box(side):
    photo = np.zeros((700, 900), dtype=np.uint8)
    x, y = 380, 320
    cv2.circle(photo, (x, y), round(side / 4), 255, -1)
    window = window_of(photo, (x + 0.5 - side / 2, y + 0.5 - side / 2, side)).astype(float)
    rows, columns = np.indices(window.shape) + 0.5
    at = [(window * columns).sum() / window.sum(), (window * rows).sum() / window.sum()]
    np.testing.assert_allclose(at, [80, 80], atol=0.7)
    assert window.sum() / 255 == pytest.approx(np.pi * 20**2, rel=0.12)


def test_windows_beyond_the_border():
    photo = np.full((50, 60), 90, dtype=np.uint8)
    for box in ((-200.0, -200.0, 30.0), (0.0, 0.0, 400.0), (58.0, 48.0, 200.0)):
        assert (window_of(photo, box) == 90).all()


def test_an_aligner_learns(people):  # noqa: F811
    align = aligner.fit_aligner(people, 120, seed=0)
    window, points = aligner._windows(np.random.default_rng(5), people, 40, lambda _: None)
    pictures, truth = torch.from_numpy(window)[:, None].float() / 255, torch.from_numpy(points)
    rough = rough_boxes(40)
    assert rough.tolist()[0] == [80, 80, 80, 0]
    nothing_done = aligner._from_box(torch.tensor(EYES).expand(40, 2, 2), rough)
    before = (nothing_done - truth[:, :2]).norm(dim=2).mean()
    after = (align(pictures) - truth)[:, :2].norm(dim=2).mean()
    assert after < 0.7 * before


EYES = [[-0.5 / 2.4, -0.3 / 2.4], [0.5 / 2.4, -0.3 / 2.4]]


def test_the_shipped_weights_and_where_they_come_from(sight):
    assert WEIGHTS.stat().st_size < 4e6
    notes = read_weights(WEIGHTS)[1]
    assert "CC BY 4.0" in notes["attribution"]
    assert "DeBruine" in notes["attribution"]
    assert notes["command"].startswith("python -m seamwise.systems.gate.make")
    assert "/" not in notes["command"]
    assert isinstance(sight, AnySight)
    assert sight.n_impostor_people == 102
    assert (np.diff(sight.impostor_scores) >= 0).all()
    assert len(sight.impostor_scores) > 5000
    assert -0.2 < sight.impostor_scores.mean() < 0.2


def test_nobody_in_an_empty_picture(sight):
    assert sight.look(np.full((240, 320, 3), 120, dtype=np.uint8)) == ()
    assert sight.faces(np.full((240, 320), 120, dtype=np.uint8), [], []) == ()


def test_only_the_surest_face_may_be_a_little_unsure(sight, monkeypatch):
    photo = (drawn_face(np.random.default_rng(3), 300) * 255).astype(np.uint8)[..., None].repeat(3, 2)
    for scores, kept in (([0.5], [0.5]), ([0.7, 0.5], [0.7]), ([5.0, 3.0, 1.0], [5.0, 3.0])):
        found = [Found(60.0 + 90 * k, 80.0, 60.0, score) for k, score in enumerate(scores)]
        monkeypatch.setattr(sight.finder, "find_faces", lambda *_, found=found, **__: found)
        assert sorted((face.score for face in sight.look(photo)), reverse=True) == kept


def test_faces_in_given_boxes_come_in_that_order(sight):
    photo = (drawn_face(np.random.default_rng(3), 300) * 255).astype(np.uint8)
    boxes = [(20.0, 30.0, 80.0), (150.0, 100.0, 120.0), (-30.0, 200.0, 90.0)]
    faces = sight.faces(photo, boxes, [1.0, 2.0, 3.0])
    assert [face.score for face in faces] == [1, 2, 3]
    for face, (x, y, side) in zip(faces, boxes, strict=True):
        assert face.crop.shape == (UPRIGHT.px, UPRIGHT.px)
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-5)
        assert np.abs(face.eyes - [x + side / 2, y + side / 2]).max() < 1.5 * side
    alone = sight.faces(photo, boxes[1:2], [2.0])[0]
    np.testing.assert_allclose(alone.embedding, faces[1].embedding, atol=1e-4)


@pytest.mark.parametrize("change", ["none", "kind", "missing", "shape", "no file"])
def test_other_weights_are_refused(tmp_path, change):
    path, tensors, notes = tmp_path / "w.safetensors", load_file(WEIGHTS), dict(read_weights(WEIGHTS)[1])
    told = {"kind": "other weights", "missing": "missing", "shape": "misshapen", "no file": "no such file"}
    if change == "kind":
        notes["kind"] = "another"
    elif change == "missing":
        del tensors["impostor_scores"]
    elif change == "shape":
        tensors["align.steps.0.weight"] = torch.zeros(3, 3)
    if change != "no file":
        save_file(tensors, path, notes)
    if change == "none":
        assert isinstance(load_sight(path), Sight)
        return
    with pytest.raises(InputError, match=told[change]):
        load_sight(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot be read"):
        load_sight(path)


def test_weights_are_made_of_a_folder(folder, tmp_path, monkeypatch):  # noqa: F811
    small = {"N_MORPHS": 40, "N_LOOKS": 4, "N_ALIGNED": 60, "N_ALIGNED_MORPHS": 2, "N_FOLDS": 2, "N_TIMES": 30}
    for name, value in small.items():
        monkeypatch.setattr(make, name, value)
    monkeypatch.setattr(make, "DIM", 4)
    monkeypatch.setattr(make, "fit_finder", lambda *_: copy.deepcopy(load_sight().finder))
    monkeypatch.setattr(make, "fit_projection", lambda f, _, dim: Projection(f.mean(0), f[:dim].T - f.mean(0)[:, None]))
    monkeypatch.setattr(make, "fit_aligner", lambda *_: copy.deepcopy(load_sight().align))
    out, told = tmp_path / "w.safetensors", []
    make.make(folder, out, watch=told.append)
    made = load_sight(out)
    assert made.n_impostor_people == 5
    assert told
    first = load_file(out)
    make.make(folder, out, parts=["finder"])
    assert all(torch.equal(first[name], value) for name, value in load_file(out).items())


def test_who_comes_to_one_gate_shares_its_light_and_camera(people):  # noqa: F811
    here, there = ([make._picture_at([0, k], people, row) for row in range(5)] for k in (1, 2))
    assert np.array_equal(here[0], make._picture_at([0, 1], people, 0))
    assert not np.array_equal(here[0], here[1])
    means = np.array([[picture.mean() for picture in place] for place in (here, there)])
    assert means.std(1).max() < abs(means[0].mean() - means[1].mean())


def test_make_tells_what_is_wrong(tmp_path, capsys):
    assert make.main(["--london", str(tmp_path), "--out", str(tmp_path / "w")]) == 2
    assert "not the London set" in capsys.readouterr().err


@pytest.mark.data
def test_real_faces_are_found_and_known(sight):
    photos = FACES / "caltech1999"
    if not photos.exists():
        pytest.skip(f"no real photographs in {photos}")
    vectors, persons = [], []
    for person in ("p01", "p05", "p12"):
        for path in sorted((photos / person).glob("*.jpg"))[:4]:
            face = sight.look(read_photo(path))[0]
            vectors.append(face.embedding)
            persons.append(person)
    alike = np.stack(vectors) @ np.stack(vectors).T
    same = np.array(persons)[:, None] == np.array(persons)
    np.fill_diagonal(alike, np.nan)
    assert np.nanmedian(alike[same]) > np.nanquantile(alike[~same], 0.95)
