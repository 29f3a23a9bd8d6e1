import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise.errors import InputError
from seamwise.look import dissection as dissecting
from seamwise.look import world
from seamwise.look.axis import Axis
from seamwise.look.dissection import dissect, enlarge, way

EXACT = (0.0, 1.0)  # every pixel is a position


def batches(maps, size=7):
    def give():
        for rows in np.array_split(np.arange(len(maps)), max(1, len(maps) // size)):
            yield torch.from_numpy(maps[rows]), rows

    return give


@pytest.fixture(scope="module")
def scenes():
    return world.draw(60, 0, 32)


@pytest.fixture(scope="module")
def planted(scenes):
    """Units that see a wheel, a red surface, nothing but noise, and nothing at all."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(0, 0.1, (60, 1, 32, 32))
    wheel, red = (scenes.mask(*name)[:, None] for name in (("part", "wheel"), ("colour", "red")))
    maps = np.concatenate([wheel + noise, red * (noise > 0.09) + noise, noise, np.zeros_like(noise)], 1)
    return dissect(batches(maps.astype(np.float32)), scenes.masks, scenes.concepts, EXACT, EXACT)


def test_planted_units_find_their_concepts(planted):
    assert [planted.concepts[k] for k in planted.best[:2]] == ["wheel", "red"]
    assert planted.detects.tolist() == [True, True, False, False]
    share = planted.coverage[planted.best[0]]
    assert planted.iou[0].max() == pytest.approx(0.005 / share if share > 0.005 else share / 0.005, rel=0.05)
    assert planted.by_family() == {"edge": 0, "colour": 0.25, "texture": 0, "part": 0.25, "object": 0}
    assert set(planted.found()) == {"wheel", "red"}
    assert not planted.iou[3].any()


def slowly(maps, masks, concepts, threshold):
    """IoU by the obvious way, of all pictures at once."""
    active = maps.transpose(1, 0, 2, 3) > threshold[:, None, None, None]
    found = [masks[family] == k + 1 for family in concepts for k in range(len(concepts[family]))]
    return np.array([[(a & m).sum() / max(1, (a | m).sum()) for m in found] for a in active])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 9))
def test_equals_the_obvious_way(seed, n_units, n):
    rng = np.random.default_rng(seed)
    maps = np.maximum(rng.standard_normal((n, n_units, 12, 12)), 0).astype(np.float32)
    masks = {"a": rng.integers(0, 3, (n, 12, 12), np.uint8), "b": rng.integers(0, 5, (n, 12, 12), np.uint8)}
    concepts = {"a": ("x", "y"), "b": ("p", "q", "r", "s")}
    found = dissect(batches(maps, 3), masks, concepts, EXACT, EXACT)
    flat = np.sort(maps.transpose(1, 0, 2, 3).reshape(n_units, -1), 1)[:, ::-1]
    threshold = flat[:, int(0.005 * flat.shape[1])]
    np.testing.assert_allclose(found.threshold, threshold)
    assert found.sampled == 1
    np.testing.assert_allclose(found.iou, slowly(maps, masks, concepts, threshold))
    assert found.concepts == ("x", "y", "p", "q", "r", "s")
    assert found.families == ("a", "a", "b", "b", "b", "b")


def test_thresholds_by_a_sample_are_close(monkeypatch, scenes):
    monkeypatch.setattr(dissecting, "MAX_POSITIONS", 20_000)
    maps = np.random.default_rng(0).uniform(0, 1, (60, 5, 32, 32)).astype(np.float32)
    found = dissect(batches(maps), scenes.masks, scenes.concepts, EXACT, EXACT)
    assert found.sampled == pytest.approx(20_000 / maps[:, 0].size)
    assert found.threshold == pytest.approx([0.995] * 5, abs=0.0025)


def test_chance_is_that_of_other_pictures(scenes):
    rng = np.random.default_rng(1)
    maps = rng.uniform(0, 1, (60, 200, 8, 8)).astype(np.float32)
    found = dissect(batches(maps), scenes.masks, scenes.concepts, (1.5, 4), (1.5, 4))
    assert found.chance.shape == (19, 200)
    beyond = found.iou.max(1) > found.chance.max(0)
    assert beyond.mean() < 0.1  # one in twenty
    assert found.detects.sum() <= beyond.sum()
    assert found.at_chance() == pytest.approx((found.iou.max(1) > 0.04).mean(), abs=0.1)


def test_one_picture_has_no_chance_level(scenes):
    maps = np.random.default_rng(1).uniform(0, 1, (1, 3, 32, 32)).astype(np.float32)
    masks = {family: labels[:1] for family, labels in scenes.masks.items()}
    found = dissect(batches(maps), masks, scenes.concepts, EXACT, EXACT)
    assert found.chance.shape == (0, 3)
    assert np.isnan(found.at_chance())
    assert (found.detects == (found.iou.max(1) > 0.04)).all()


def test_values_come_where_the_fields_have_their_middle():
    maps = torch.zeros(1, 5, 5)
    maps[0, 1, 3] = 1
    large = enlarge(maps, 40, 60, (3.0, 8.0), (5.5, 11.0))
    assert large.shape == (1, 40, 60)
    assert large[0, 11, 38] == pytest.approx(1 - 0.5 / 11)
    assert large[0, 11].argmax() in (38, 39)
    assert large[0, 15, 38] == pytest.approx(0.5 * (1 - 0.5 / 11))
    assert torch.equal(enlarge(torch.ones(2, 3, 3), 9, 9, (1.0, 3.0), (1.0, 3.0)), torch.ones(2, 9, 9))


def test_enlarging_by_a_whole_factor_is_that_of_torch():
    maps = torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(0))
    ours = enlarge(maps, 24, 28, (1.5, 4.0), (1.5, 4.0))
    theirs = torch.nn.functional.interpolate(maps[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(ours, theirs)


def axis(n, size, jump, start, n_px):
    first = start + jump * np.arange(n)
    return Axis(-1, first.clip(0, n_px - 1), (first + size - 1).clip(0, n_px - 1), step_px=jump)


def test_the_way_of_a_layer_is_read_off_its_fields():
    assert way(axis(27, 11, 4, -2, 112), 112) == (3.0, 4.0)  # AlexNet's stem
    assert way(axis(32, 1, 1, 0, 32), 32) == (0.0, 1.0)
    assert way(axis(7, 131, 16, -58, 112), 112) == (7.5, 16.0)  # no field lies wholly in the picture
    assert way(axis(1, 64, 1, 0, 64), 64) == (31.5, 1)


def test_memory_is_bounded_by_enlarging_some_units_at_a_time(monkeypatch, scenes, planted):
    monkeypatch.setattr(dissecting, "MAX_NUMBERS", 2 * 32 * 32)
    maps = np.random.default_rng(3).uniform(0, 1, (60, 9, 16, 16)).astype(np.float32)
    some = dissect(batches(maps), scenes.masks, scenes.concepts, (0.5, 2), (0.5, 2))
    monkeypatch.undo()
    every = dissect(batches(maps), scenes.masks, scenes.concepts, (0.5, 2), (0.5, 2))
    np.testing.assert_array_equal(some.iou, every.iou)


def test_what_does_not_fit_is_refused(scenes):
    maps = np.zeros((60, 1, 32, 32), np.float32)
    masks, concepts = scenes.masks, scenes.concepts
    with pytest.raises(InputError, match="same families"):
        dissect(batches(maps), {"part": masks["part"]}, concepts, EXACT, EXACT)
    with pytest.raises(InputError, match="without a name"):
        dissect(batches(maps), {"part": masks["part"]}, {"part": ("wheel",)}, EXACT, EXACT)
    with pytest.raises(InputError, match="numbers or sizes"):
        dissect(batches(maps), masks | {"part": masks["part"][:3]}, concepts, EXACT, EXACT)
    with pytest.raises(InputError, match="no maps"):
        dissect(lambda: iter(()), masks, concepts, EXACT, EXACT)
