from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from seamwise.errors import InputError
from seamwise.systems.track import bodies, lens, paths, scenes, textures, things, world
from seamwise.systems.track.world import N_KINDS, Clip, Difficulty

NAMES = [field.name for field in fields(Difficulty)]
PLAIN = Difficulty(**dict.fromkeys(NAMES, 0.0))
HARD = Difficulty(**dict.fromkeys(NAMES, 1.0))
SEEDS = range(4)
SMALL = {"n_frames": 10, "width": 128, "height": 96}


def clips(difficulty: Difficulty, seeds: range = SEEDS) -> list[Clip]:
    return [world.draw(seed, **SMALL, difficulty=difficulty) for seed in seeds]


@pytest.fixture(scope="module")
def plain() -> list[Clip]:
    return clips(PLAIN)


@pytest.fixture(scope="module")
def hard() -> list[Clip]:
    return clips(HARD)


def about(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]])


def sharpness(clip: Clip) -> float:
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(float) for frame in clip.frames]
    return float(np.mean([np.abs(np.diff(frame, axis=1)).mean() for frame in grey]))


def test_a_clip_has_all_labels():
    clip = world.draw(3, 5, 200, 120)
    assert clip.frames.shape == (5, 120, 200, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.boxes.shape == (5, 4)
    assert clip.boxes.dtype == np.float64
    assert clip.masks.shape == (5, 120, 200)
    assert clip.masks.dtype == bool
    assert np.isfinite(clip.boxes).all()
    assert (clip.boxes[:, 2:] > 0).all()
    assert ((clip.visible >= 0) & (clip.visible <= 1)).all()
    assert 0 <= clip.kind < N_KINDS


def test_one_seed_draws_the_same_clip(hard):
    again, other = world.draw(0, **SMALL, difficulty=HARD), world.draw(1, **SMALL, difficulty=HARD)
    for field in fields(Clip):
        assert np.array_equal(getattr(hard[0], field.name), getattr(again, field.name))
    assert not np.array_equal(again.frames, other.frames)


def test_boxes_are_tight_about_what_is_seen(plain):
    for clip in plain:
        for mask, box in zip(clip.masks, clip.boxes, strict=True):
            np.testing.assert_allclose(about(mask), box, atol=1)


def test_boxes_enclose_what_is_seen_of_hard_clips_too(hard):
    for clip in hard:
        for mask, (x, y, width, height) in zip(clip.masks, clip.boxes, strict=True):
            if mask.any():
                left, top, across, down = about(mask)
                assert left >= x - 1
                assert top >= y - 1
                assert left + across <= x + width + 1
                assert top + down <= y + height + 1


def test_nothing_covers_the_thing_in_plain_clips(plain):
    assert min(clip.visible.min() for clip in plain) > 0.99


def test_what_is_visible_is_the_share_of_the_mask():
    seeds = range(8)
    whole = clips(PLAIN, seeds)
    covered = clips(replace(PLAIN, occlusion=1), seeds)
    for one, other in zip(whole, covered, strict=True):
        share = other.masks.sum((1, 2)) / one.masks.sum((1, 2))
        np.testing.assert_allclose(share, other.visible, atol=0.12)
    assert min(clip.visible.min() for clip in covered) < 0.5
    assert min(clip.visible[0] for clip in covered) > 0.9  # a tracker is shown the thing first


@pytest.mark.parametrize("name", ["occlusion", "blur", "light", "alike", "low_resolution", "clutter"])
def test_a_setting_that_only_changes_what_is_seen_leaves_the_boxes(name, hard):
    pairs = list(zip(hard, clips(replace(HARD, **{name: 0.0})), strict=True))
    assert all(np.array_equal(clip.boxes, without.boxes) for clip, without in pairs)
    assert any(not np.array_equal(clip.frames, without.frames) for clip, without in pairs)


def test_without_scale_rotation_and_deformation_a_thing_keeps_its_size():
    rigid = clips(replace(HARD, scale=0, rotation=0, deformation=0))
    for clip in rigid:
        assert np.ptp(clip.boxes[:, 2:], axis=0).max() < 1
    for name in ("scale", "rotation", "deformation"):
        assert max(np.ptp(clip.boxes[:, 2:], axis=0).max() for clip in clips(replace(PLAIN, **{name: 1.0}))) > 1.5


def test_a_thing_leaves_the_frame_only_where_asked():
    kept = clips(replace(HARD, occlusion=0, out_of_view=0))
    assert min(clip.visible.min() for clip in kept) > 0.97
    left = clips(replace(PLAIN, out_of_view=1), range(8))
    assert min(clip.visible.min() for clip in left) < 0.3
    assert all(clip.visible[0] > 0.5 for clip in left)


def test_occlusion_is_switched_off_alone(hard):
    inside = clips(replace(HARD, occlusion=0, out_of_view=0))
    within = clips(replace(HARD, out_of_view=0))
    assert min(clip.visible.min() for clip in within) < 0.8 < min(clip.visible.min() for clip in inside)


def test_speed_makes_things_go_farther():
    def far(clip: Clip) -> float:
        middle = clip.boxes[:, :2] + clip.boxes[:, 2:] / 2
        size = np.sqrt(clip.boxes[:, 2:].prod(1)).mean()
        return float(np.linalg.norm(np.diff(middle, axis=0), axis=1).mean() / size)

    seeds = range(5)
    slow, fast = (np.mean([far(clip) for clip in clips(replace(PLAIN, speed=s), seeds)]) for s in (0, 1))
    assert slow < 0.04
    assert fast > 2 * slow


def test_blur_and_low_resolution_take_sharpness():
    seeds = range(5)
    usual = np.mean([sharpness(clip) for clip in clips(PLAIN, seeds)])
    fast = replace(PLAIN, speed=1, camera=1)
    assert np.mean([sharpness(clip) for clip in clips(replace(fast, blur=1), seeds)]) < np.mean(
        [sharpness(clip) for clip in clips(fast, seeds)]
    )
    coarse = clips(replace(PLAIN, low_resolution=1), seeds)
    assert any(not np.array_equal(a.frames, b.frames) for a, b in zip(coarse, clips(PLAIN, seeds), strict=True))
    assert usual > 1


def test_light_changes_the_frames_brightness(plain):
    def flicker(clip: Clip) -> float:
        return float(np.ptp(clip.frames.mean((1, 2, 3))))

    lit = clips(replace(PLAIN, light=1))
    assert max(flicker(clip) for clip in plain) < 6
    assert max(flicker(clip) for clip in lit) > 6


def test_only_a_camera_moves_the_scene(plain):
    def moved(clip: Clip) -> float:
        elsewhere = ~clip.masks.any(0)
        near = cv2.dilate((~elsewhere).astype(np.uint8), np.ones((9, 9))) > 0
        steps = np.abs(np.diff(clip.frames.astype(int), axis=0)).max(-1)
        return float(steps[:, ~near].mean())

    assert max(moved(clip) for clip in plain) < 0.01
    assert max(moved(clip) for clip in clips(replace(PLAIN, camera=1))) > 1


def test_alike_and_clutter_put_others_into_the_scene(plain):
    for name in ("alike", "clutter"):
        other = clips(replace(PLAIN, **{name: 1.0}))
        assert sum(not np.array_equal(a.frames, b.frames) for a, b in zip(plain, other, strict=True)) >= 2


def test_a_look_alike_has_the_same_form_and_other_colours():
    rng = np.random.default_rng(5)
    thing = things.make(rng, 40, 4)
    other = things.alike(rng, thing)
    one, two = thing.sprite(things.Pose()), other.sprite(things.Pose())
    np.testing.assert_array_equal(one[..., 3], two[..., 3])
    assert np.abs(one[..., :3] - two[..., :3]).mean() > 1


def test_every_kind_can_be_drawn():
    rng = np.random.default_rng(0)
    assert len(bodies.BODIES) * len(textures.FAMILIES) == N_KINDS
    for kind in range(N_KINDS):
        thing = things.make(rng, 30, kind)
        sprite = thing.sprite(things.Pose(1.0, 1.0, 0.5))
        assert thing.kind == kind
        assert sprite[..., 3].sum() > 100
        assert sprite.max() <= 255
        np.testing.assert_array_less(sprite[..., :3].max(-1), 255 * sprite[..., 3] + 1e-2)


def test_clips_show_many_kinds_and_sizes():
    drawn = [world.draw(seed, 1, 240, 180, Difficulty(clutter=0)) for seed in range(30)]
    assert len({clip.kind for clip in drawn}) >= 15
    size = np.sqrt([clip.boxes[0, 2:].prod() for clip in drawn])
    shape = np.array([clip.boxes[0, 2] / clip.boxes[0, 3] for clip in drawn])
    assert 0.15 < (size < 28).mean() < 0.6
    assert size.max() > 55
    assert shape.min() < 0.6
    assert shape.max() > 1.5
    assert max(clip.boxes[0, 3] for clip in drawn) < 0.7 * 180


def test_a_turn_shows_another_side():
    thing = things.make(np.random.default_rng(1), 50, 8)
    front, side = (thing.sprite(things.Pose(turn=turn)) for turn in (0.0, 0.9))
    middle = (slice(thing.height // 3, -thing.height // 3), slice(thing.width // 3, -thing.width // 3))
    assert np.abs(front[middle] - side[middle]).mean() > 3


def test_pictures_are_cut_up_for_surfaces():
    red = np.zeros((100, 120, 3), np.uint8)
    red[..., 0] = 250
    rng = np.random.default_rng(0)
    cut = [textures.photo(rng, 40, 30, 12, [red]) for _ in range(40)]
    assert all(each.shape == (30, 40, 3) for each in cut)
    assert any((each == [250, 0, 0]).all() for each in cut)
    pictured = [world.draw(seed, 1, 96, 72, pictures=[red] * 20).frames for seed in range(8)]
    assert any(not np.array_equal(a, world.draw(k, 1, 96, 72).frames) for k, a in enumerate(pictured))


@pytest.mark.parametrize("family", textures.FAMILIES)
def test_textures_have_the_size_asked_for_and_vary(family):
    rng = np.random.default_rng(2)
    drawn = [textures.texture(rng, family, 50, 70, 12) for _ in range(6)]
    assert {each.shape for each in drawn} == {(70, 50, 3)}
    assert max(each.std() for each in drawn) > 5
    assert len({each.tobytes() for each in drawn}) == 6


@pytest.mark.parametrize("name", scenes.SCENES)
def test_every_scene_fills_its_canvas(name):
    canvas = scenes.SCENES[name](np.random.default_rng(4), 200, 130, ())
    assert canvas.shape == (130, 200, 3)
    assert canvas.std() > 5


def test_streaks_keep_the_light_and_lie_along_the_movement():
    assert lens.streak(np.array([0.5, 0.5])) is None
    kernel = lens.streak(np.array([9.0, 0.0]))
    assert kernel.sum() == pytest.approx(1)
    assert kernel.sum(1).max() == pytest.approx(1)
    assert len(lens.streak(np.array([300.0, 10.0]))) <= lens.LONGEST


def test_a_way_is_kept_within_the_frame():
    rng = np.random.default_rng(0)
    half = np.full((200, 2), 10.0)
    way = paths.within(paths.walk(rng, 200, 20, 1), half, (100, 80), np.array([0.5, 0.5]))
    assert (way >= 10 - 1e-9).all()
    assert (way <= [90 + 1e-9, 70 + 1e-9]).all()
    assert np.ptp(way, axis=0).min() > 5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_frames": 0}, "no such clip"),
        ({"width": 20}, "no such clip"),
        ({"seed": -1}, "no such seed"),
        ({"difficulty": Difficulty(scale=1.2)}, r"Difficulty\.scale"),
        ({"difficulty": Difficulty(camera=-0.1)}, r"Difficulty\.camera"),
        ({"difficulty": Difficulty(blur=float("nan"))}, r"Difficulty\.blur"),
        ({"pictures": [np.zeros((10, 100, 3), np.uint8)]}, r"pictures\[0\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        world.draw(**{"seed": 0, **wrong})
