import importlib
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from test_gate_london import marks, photo
from torch import nn

import seamwise.systems.gate
from seamwise import Chain, Fit, Learned, Supply, Task, load_task, testing, train
from seamwise.errors import InputError, TaskError
from seamwise.evaluate import evaluate
from seamwise.fit import write
from seamwise.systems.gate import data, london, nets, place, world
from seamwise.systems.gate.answer import GateError, known_person, likeness_loss, person_target
from seamwise.systems.gate.data import framed, real_supply
from seamwise.systems.gate.gate import flaw
from seamwise.systems.gate.nets import N_CELLS, N_SIDE, PATCH_PX, Find, cells, expected, levels, sharp, sure, zoom
from seamwise.systems.gate.pictures import read_picture
from seamwise.systems.gate.studied import StudiedSight
from seamwise.testing import check_task

MODULE = "seamwise.systems.gate.task"
FEW = {"N_ANSWERS": 120, "N_BOXES": 80, "N_VALIDATION": 120, "N_TEST": 200}


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The module with the task on few pictures, in a cache of its own; afterwards all is as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEAMWISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name, n in FEW.items():
            patch.setattr(data, name, n)
        patch.setitem(sys.modules, MODULE, None)  # so that it is put back, or taken out
        patch.setattr(seamwise.systems.gate, "task", None, raising=False)
        del sys.modules[MODULE]
        yield importlib.import_module(MODULE)


@pytest.fixture(scope="module")
def drawn():
    return world.draw("validation", 64, 0, n_people=16)


@pytest.fixture(scope="module")
def image(drawn):
    return torch.from_numpy(drawn.image)


def shares(n, seed=0, sharpness=3.0):
    return (sharpness * torch.randn(n, N_CELLS, generator=torch.Generator().manual_seed(seed))).softmax(-1)


def some_boxes(n=200, seed=0):
    """Boxes (left, top, side) of sizes that the levels have, not at the border."""
    rng = np.random.default_rng(seed)
    side = rng.uniform(27, 47, n)
    centre = rng.uniform(32, 64, (n, 2))
    return torch.from_numpy(np.column_stack([centre - side[:, None] / 2, side])).float()


def middle(box):
    """Centre and log side."""
    return torch.cat([box[:, :2] + box[:, 2:] / 2, box[:, 2:].log()], 1)


def test_the_expected_patch_is_the_weighted_sum_of_all_patches(image):
    few, place_ = image[:3], shares(3)
    slow, cell = torch.zeros(3, PATCH_PX, PATCH_PX), 0
    for level, n in zip(levels(few), N_SIDE, strict=True):
        for row in range(n):
            for column in range(n):
                patch = level[:, 0, row : row + PATCH_PX, column : column + PATCH_PX]
                slow += place_[:, cell, None, None] * patch
                cell += 1
    assert cell == N_CELLS
    torch.testing.assert_close(expected(few, place_), slow, atol=1e-4, rtol=1e-4)


def test_gold_is_shares_whose_mean_box_is_the_box():
    box = some_boxes()
    gold = place.gold(box)
    torch.testing.assert_close(gold.sum(1), torch.ones(len(box)))
    assert gold.min() >= 0
    assert ((gold > 0).sum(1) <= 8).all()
    found, mass = sure(gold)
    torch.testing.assert_close(found, middle(box), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(mass, torch.ones(len(box)))
    assert place.missed(gold, box).max() == 0


def test_gold_of_a_box_that_no_cell_has_is_near_it(drawn):
    box = torch.from_numpy(drawn.box).float()
    gold = place.gold(box)
    torch.testing.assert_close(gold.sum(1), torch.ones(len(box)))
    assert place.missed(gold, box).max() == 0
    nobody = place.gold(torch.zeros(1, 3))
    assert float(nobody.sum()) == pytest.approx(1)


def test_each_cell_is_its_own_gold():
    every = cells()
    side = every[:, 2:].exp()
    own = place.gold(torch.cat([every[:, :2] - side / 2, side], 1))
    torch.testing.assert_close(own, torch.eye(N_CELLS), atol=1e-3, rtol=0)


def test_zoom_of_a_sure_place_is_a_sharp_crop(image):
    box = some_boxes(len(image))
    face = zoom(image, place.gold(box))
    torch.testing.assert_close(face, sharp(image, middle(box)), atol=0.02, rtol=0)


def test_a_sharp_crop_shows_the_box_and_its_surroundings():
    picture = torch.zeros(1, 1, 96, 96, dtype=torch.uint8)
    picture[:, :, 30:62, 40:72] = 255  # the box: left 40, top 30, side 32
    (face,) = sharp(picture, middle(torch.tensor([[40.0, 30.0, 32.0]])))
    border = round((1 - nets.FACE_PX / PATCH_PX) / 2 * nets.ZOOM_PX)
    inside = face[border:-border, border:-border]
    assert inside.min() > 0 > max(face[: border - 1].max(), face[:, : border - 1].max())
    assert max(face[1 - border :].max(), face[:, 1 - border :].max()) < 0


def test_zoom_passes_gradient_to_the_cells(image):
    few = image[:2]
    for place_, n_least in ((place.gold(some_boxes(2)), 8), (torch.full((2, N_CELLS), 1 / N_CELLS), N_CELLS)):
        place_ = place_.requires_grad_()
        zoom(few, place_).square().sum().backward()
        assert torch.isfinite(place_.grad).all()
        assert ((place_.grad != 0).sum(1) >= n_least).all()


def test_a_finder_at_its_start_finds_faces_better_than_chance(drawn, image):
    torch.manual_seed(0)
    box = torch.from_numpy(drawn.box)
    with torch.no_grad():
        written = Find()(image)
    torch.testing.assert_close(written.sum(1), torch.ones(len(image)))
    chance = torch.stack([place.missed(written.roll(k, 0), box).mean() for k in range(1, 10)]).mean()
    assert place.missed(written, box).mean() < chance - 0.15


def test_overlap_by_hand():
    one = torch.tensor([[0.0, 0, 10]]).expand(4, 3)
    other = torch.tensor([[0.0, 0, 10], [5, 0, 10], [0, 0, 5], [20, 20, 10]])
    assert place.overlap(one, other).tolist() == pytest.approx([1, 50 / 150, 25 / 100, 0])
    assert place.overlap(other, one).tolist() == pytest.approx([1, 50 / 150, 25 / 100, 0])
    assert place.overlap(torch.zeros(1, 3), torch.zeros(1, 3)).tolist() == [0]


def test_missed_by_hand():
    """Squares of 32 px: 8 px apart they share 24 of 40 px, 12 px apart 20 of 44."""
    found = place.gold(torch.tensor([[30.0, 30, 32]]).expand(4, 3))
    box = torch.tensor([[30.0, 30, 32], [38, 30, 32], [42, 30, 32], [30, 30, 20]])
    assert place.missed(found, box).tolist() == [0, 0, 1, 1]


def test_the_finders_loss_is_least_at_the_gold():
    box = some_boxes(5)
    gold = place.gold(box)
    least = place.cross_entropy(gold, box)
    for other in (shares(5), torch.lerp(gold, shares(5), 0.1), torch.full_like(gold, 1 / N_CELLS)):
        assert (place.cross_entropy(other, box) > least).all()


def likenesses(n_people=12, n_pictures=4, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(n_people, 8)).repeat(n_pictures, 0)
    written = own + noise * rng.normal(size=own.shape)
    return torch.from_numpy(written).float(), torch.arange(n_people).repeat_interleave(n_pictures)


def test_a_perfect_gate_makes_no_error():
    written, person = likenesses(noise=0)
    assert GateError(5)(written, person).tolist() == [0] * len(person)


def test_a_gate_that_tells_nobody_apart_lets_nobody_in():
    _, person = likenesses()
    errors = GateError(5)(torch.eye(400)[:1].expand(len(person), 400), person)
    assert errors.tolist() == [0.5] * len(person)  # all strangers are turned away, and all others


def errors_by_hand(metric, threshold, written, person):
    """Probe by probe; the draws of whom to enrol, and with which picture, are the only thing in common."""
    found = {k: ([], []) for k in range(len(person))}
    for *_, probe in metric._rounds(written, person):
        enrolled = np.flatnonzero(~probe).tolist()
        for k in np.flatnonzero(probe).tolist():
            score = [torch.cosine_similarity(written[k], written[e], dim=0).item() for e in enrolled]
            named = int(person[enrolled[int(np.argmax(score))]]) if max(score) > threshold else None
            own = int(person[k]) in person[enrolled].tolist()
            found[k][own].append(named != (int(person[k]) if own else None))
    return [np.mean([np.mean(kind) for kind in kinds if kind]) for kinds in found.values()]


@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_the_gates_error_is_the_obvious_one(noise):
    written, person = likenesses(noise=noise)
    metric = GateError(5, far=0.1).calibrate(*likenesses(noise=noise, seed=1))
    slow = errors_by_hand(metric, metric.threshold, written, person)
    assert metric(written, person).tolist() == pytest.approx(slow)
    assert 0 < np.mean(slow) < 1


def enrolled_in_turn(n_people, n_enrolled, n_rounds):
    written, person = likenesses(n_people, 3)
    rounds = GateError(n_enrolled, n_rounds=n_rounds)._rounds(written, person)
    enrolled = [person.numpy()[~probe] for *_, probe in rounds]
    assert all(len(np.unique(each)) == len(each) == n_enrolled for each in enrolled)
    return np.bincount(np.concatenate(enrolled), minlength=n_people).tolist()


def test_everybodys_turn_comes_before_anybodys_second():
    assert enrolled_in_turn(12, 4, 6) == [2] * 12
    assert sorted(enrolled_in_turn(13, 4, 3)) == [0] + [1] * 12
    assert min(enrolled_in_turn(13, 4, 4)) == 1


def test_the_threshold_lets_in_as_many_strangers_as_asked():
    written, person = likenesses(40, 4, noise=1.0)
    for far in (0.05, 0.3):
        metric = GateError(10, far).calibrate(written, person)
        strangers = np.concatenate([best[probe & ~own] for best, _, own, probe in metric._rounds(written, person)])
        assert (strangers > metric.threshold).mean() == pytest.approx(far, abs=0.005)


def test_calibrating_keeps_the_threshold_for_other_pictures():
    metric = GateError(5)
    one, other = likenesses(noise=0.8), likenesses(noise=0.8, seed=1)
    kept = metric.calibrate(*one)
    assert (kept.n_enrolled, kept.far, kept.n_rounds) == (5, 0.05, 20)
    assert torch.equal(kept(*one), metric(*one))  # which would have set the same on itself
    assert replace(metric, threshold=kept.threshold) == kept
    shut = replace(metric, threshold=1.1)
    assert shut(*other).mean() == 0.5
    assert not torch.equal(kept(*other), shut(*other))


def test_few_pictures_can_be_scored():
    errors = GateError(20)(torch.eye(3), torch.tensor([4, 4, 7]))  # one of two people is enrolled
    assert torch.isfinite(errors).all()
    assert errors[2] == 0  # never more than a stranger


def test_nothing_is_learnt_from_people_outside_the_training_set():
    likeness = torch.zeros(4, 3).requires_grad_()
    person = torch.tensor([0, 2, 3, 500])
    losses = likeness_loss(likeness, person)
    assert losses[2:].tolist() == [0, 0]
    assert losses[:2].min() > 0
    losses.sum().backward()
    assert likeness.grad[2:].abs().max() == 0
    gold = known_person(3)(person)
    assert gold.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert (likeness_loss(gold, person)[:2] < losses[:2]).all()


@pytest.mark.parametrize(("height", "width"), [(200, 100), (90, 180), (64, 64)])
def test_a_framed_photograph_keeps_its_shape(height, width):
    picture = np.full((height, width, 3), 100, dtype=np.uint8)
    row, column, size = height // 2, width // 4, 20
    picture[row : row + size, column : column + size] = 255
    small, scale, shift = framed(picture)
    assert small.shape == (96, 96)
    assert scale == pytest.approx(96 / max(height, width))
    bright = np.argwhere(small > 180)
    middle_ = np.array([column, row]) + size / 2
    np.testing.assert_allclose(bright.mean(0)[::-1] + 0.5, middle_ * scale + shift, atol=1)
    np.testing.assert_allclose(np.ptp(bright, axis=0) + 1, size * scale, atol=1.5)
    if height != width:
        assert (small[0, 0], small[-1, -1]) == (100, 100)  # the border has the photograph's median grey


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=95)


@pytest.fixture
def visitors(tmp_path):
    """Two people with two photographs and one with one."""
    rng = np.random.default_rng(5)
    for name in ("ann/1", "ann/2", "bea/1", "bea/2", "cem/1"):
        save(tmp_path / f"people/{name}.png", rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    return tmp_path / "people"


@pytest.fixture(scope="module")
def small_london(tmp_path_factory):
    folder, everybody = tmp_path_factory.mktemp("london"), {}
    for k in range(5):
        everybody[f"{k:03d}"] = points = marks(np.random.default_rng(k))
        for look, shift in (("neutral", 0), ("smiling", 6)):
            save(folder / f"{k:03d}/{look}.jpg", photo(np.random.default_rng(k), points, shift))
    np.savez(folder / london.LANDMARKS, **everybody)
    return folder


def test_real_faces_are_learnt_from_and_photographs_tested(small_london, visitors, monkeypatch):
    for name, n in {"N_ANSWERS": 12, "N_BOXES": 7, "N_VALIDATION": 5, "N_LONDON": 6}.items():
        monkeypatch.setattr(data, name, n)
    (visitors / "boxes.csv").write_text("person,image,x,y,w,h\nann,1.png,30,10,28,28\n")
    supply = real_supply([small_london, visitors])
    assert (supply.held("person"), supply.held("place")) == (12, 7)
    train, test = supply.rows("train", "person"), supply.rows("test", "person")
    assert supply.fields["person"][train].max() < 6 <= supply.fields["person"][supply.rows("validation")].min()
    assert supply.fields["person"][test].tolist() == [7, 7, 8, 8]
    assert supply.known("place", test).tolist() == [True, False, False, False]
    (box,) = supply.fields["place"][test[:1]].tolist()
    scale = 96 / 90
    assert box[2] == pytest.approx(25 * scale)
    assert [box[0] + box[2] / 2, box[1] + box[2] / 2] == pytest.approx([44 * scale, 24 * scale + 16])
    assert supply.fields["image"][test[:1]].shape == (1, 1, 96, 96)


def test_real_data_that_will_not_do_are_told(visitors, small_london, tmp_path):
    with pytest.raises(InputError, match="0 folders of real data") as told:
        real_supply([])
    assert "--data LONDON --data PEOPLE" in str(told.value)
    with pytest.raises(InputError, match="not the London set"):
        real_supply([visitors, visitors])
    save(tmp_path / "single/dee/1.png", np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="0 of 1 people have two photographs or more"):
        real_supply([small_london, tmp_path / "single"])
    with pytest.raises(InputError, match="no such folder"):
        real_supply([small_london, tmp_path / "none"])
    (visitors / "boxes.csv").write_text("person,image,x,y,w,h\nann,1.png,300,10,28,28\n")
    with pytest.raises(InputError, match=r"boxes\.csv, ann/1\.png: the box lies outside"):
        data._photographs(visitors, [(p, f) for p in data.find_people(visitors) for f in p.photos], {})


def small_task():
    """Somebody's x is a vector of their own and noise; in validation the noise is larger than in the test."""
    rng = np.random.default_rng(0)
    person = np.arange(30).repeat(4)
    split = np.array(["train", "validation", "test"]).repeat(40)
    noise = np.select([split == "validation"], [1.2], 0.6)
    x = rng.normal(size=(30, 8)).repeat(4, 0) + noise[:, None] * rng.normal(size=(120, 8))
    supply = Supply({"all": {"x": x.astype(np.float32), "person": person, "group": person, "split": split}})
    answer = person_target(10, 4)
    look = Learned("look", lambda: nn.Linear(8, 10), "x", answer)
    return Task("small", Chain([look]), answer, supply, trivial=lambda _: torch.ones(10))


def test_the_threshold_of_the_test_is_set_on_validation():
    task = small_task()
    net = task.chain_of("chain").build(0)

    def said(split):
        x, person = task.supply.take(["x", "person"], task.supply.rows(split)).values()
        return write(net, {"x": x}, ["person"])["person"], person

    kept = task.answer.calibrate(*said("validation"))
    result = evaluate(task, net)
    np.testing.assert_array_equal(result.errors, kept(*said("test")))
    np.testing.assert_array_equal(result.by_field["person"], result.errors)
    assert not np.array_equal(result.errors, task.answer.metric(*said("test")))
    own = evaluate(task, net, "validation")
    np.testing.assert_array_equal(own.errors, task.answer.metric(*said("validation")))


def test_what_is_cached_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMWISE_CACHE", str(tmp_path / "new" / "cache"))
    made = []

    def make():
        made.append(small_task().supply)
        return made[-1]

    one, two = (Supply.cached("a", make) for _ in range(2))
    assert len(made) == 1
    assert one.digest == two.digest
    assert [p.name for p in (tmp_path / "new" / "cache").iterdir()] == ["a"]
    Supply.cached("b", make)
    assert len(made) == 2


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SEAMWISE_CACHE", str(tmp_path / "file"))
    digest = small_task().supply.digest
    assert [Supply.cached("a", lambda: small_task().supply).digest for _ in range(2)] == [digest, digest]
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_world_is_kept_in_the_cache_by_its_difficulty(gate, tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMWISE_CACHE", str(tmp_path))
    made = []
    monkeypatch.setattr(data, "_world_supply", lambda difficulty: made.append(difficulty) or small_task().supply)
    hard = world.Difficulty(alike=1)
    for difficulty in (None, hard, None, hard):
        data.world_supply(difficulty)
    assert made == [None, hard]


def test_the_gates_supply_is_of_two_tables(gate):
    supply = gate.task.supply
    assert (supply.held("person"), supply.held("place")) == (FEW["N_ANSWERS"], FEW["N_BOXES"])
    train = supply.rows("train")
    assert not (supply.known("person", train) & supply.known("place", train)).any()
    assert supply.fields["person"][supply.rows("train", "person")].max() < gate.N_TRAIN
    for split in ("validation", "test"):
        rows = supply.rows(split)
        assert len(rows) == FEW[f"N_{split.upper()}"]
        assert supply.known("person", rows).all()
        assert supply.known("place", rows).all()
    assert supply.prices["person"] > supply.prices["place"]


def test_one_who_does_not_look_is_wrong_by_half(gate):
    rows = gate.task.supply.rows("test")
    guess = gate.task.guess(torch.zeros(3, dtype=torch.int64))
    labels = gate.task.supply.take(["person"], rows)["person"]
    errors = gate.task.answer.metric(guess.expand(len(rows), -1), labels)
    assert float(errors.mean()) == pytest.approx(0.5)


def test_an_answer_is_told_and_drawn(gate, drawn, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), drawn.image[0, 0])
    item = read_picture(tmp_path / "a.png")
    assert np.array_equal(item["image"], drawn.image[0])
    box = drawn.box[:1].astype(np.float32)
    face = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    likeness = np.eye(gate.N_TRAIN, dtype=np.float32)[7]
    written = {"person": likeness, "place": place.gold(torch.from_numpy(box))[0].numpy(), "face": face}
    told = gate.task.tell(written)
    assert (told["most_like"], told["likeness"]) == (7, 1.0)
    assert told["box"] == pytest.approx(box[0].tolist(), abs=3)
    assert "box" not in gate.task.tell({"person": likeness})
    alone = gate.task.draw(item, {"person": likeness})
    both = gate.task.draw(item | {"place": box[0]}, written)
    assert both.shape[0] == alone.shape[0] < both.shape[1]
    assert not np.array_equal(both[:, : alone.shape[1]], alone)


def test_data_that_no_system_reads_are_refused(gate, visitors, tmp_path):
    with pytest.raises(InputError, match="3 folders of real data"):
        load_task("gate", data=[visitors] * 3)
    with pytest.raises(InputError, match="not the London set"):
        load_task("gate", data=[visitors, visitors])
    with pytest.raises(TaskError, match="'digits' reads no real data"):
        load_task("digits", data=[visitors])
    with pytest.raises(TaskError, match=r"own.py: no such file"):
        load_task(str(tmp_path / "own.py"), data=[visitors])
    assert load_task("gate").source == "gate"


def test_the_gate_keeps_the_contract(gate, monkeypatch):
    """Of what is learnt; few steps, as the networks are larger than most."""
    monkeypatch.setattr(testing, "N_STEPS", 8)
    learned, direct = gate.task.variants["learned"], gate.task.direct["direct"]
    quicker = replace(gate.task, chain=learned, direct=direct, fit=replace(gate.task.fit, batch=8))
    assert check_task(quicker) == ()


def test_a_network_of_the_study_sees_for_the_gate(gate, drawn):
    quick = gate.task.with_fit(Fit(rates=(1e-3,), max_steps=1, min_steps=0, eval_every=1, batch=4, start_small=0))
    sight = StudiedSight(train(quick, "endtoend", 8))
    photo = np.repeat(drawn.image[0, 0][..., None], 3, axis=2).repeat(2, axis=0).repeat(2, axis=1)
    (face,) = sight.look(photo)
    np.testing.assert_allclose(np.linalg.norm(face.embedding), 1, rtol=1e-5)
    assert -20 < face.box[0] < 192
    assert 30 < face.box[2] < 150
    assert face.crop.shape == (64, 64)
    assert (np.diff(sight.impostor_scores) >= 0).all()
    assert sight.n_impostor_people == len(set(quick.supply.fields["person"][quick.supply.rows("validation")].tolist()))
    assert flaw([face]) != "no face"


def test_half_of_what_is_asked_are_strangers_also_where_few_are_ever_enrolled():
    nobody_told_apart = torch.ones(300, 10)
    person = torch.arange(100).repeat_interleave(3)
    error = GateError(2, n_rounds=4)(nobody_told_apart, person)  # all are turned away: strangers rightly
    assert float(error.mean()) == pytest.approx(0.5)


def test_photographs_alone_test_what_drawn_faces_teach(visitors, tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMWISE_CACHE", str(tmp_path / "cache"))
    for name, n in FEW.items():
        monkeypatch.setattr(data, name, n)
    supply = real_supply([visitors])
    assert (supply.held("person"), supply.held("place")) == (FEW["N_ANSWERS"], FEW["N_BOXES"])
    assert supply.fields["person"][supply.rows("test")].min() >= world.N_PEOPLE["train"] + world.N_PEOPLE["validation"]
    assert len(supply.rows("test")) == 4


def test_folders_are_taken_in_order_and_nothing_is_learnt_from_the_test(small_london, visitors, tmp_path, monkeypatch):
    monkeypatch.setenv("SEAMWISE_CACHE", str(tmp_path / "cache"))
    for name, n in {"N_ANSWERS": 12, "N_BOXES": 7, "N_VALIDATION": 5, "N_LONDON": 6}.items():
        monkeypatch.setattr(data, name, n)
    real_supply([small_london, visitors])
    with pytest.raises(InputError, match="not the London set"):
        real_supply([visitors, small_london])
    with pytest.raises(InputError, match="one to learn from too"):
        real_supply([small_london, small_london])
