import numpy as np
import pytest

from seamwise.errors import InputError
from seamwise.systems.track import world
from seamwise.systems.track.boxes import middle, overlap
from seamwise.systems.track.matcher import Following
from seamwise.systems.track.peak import answer_of
from seamwise.systems.track.tracker import PATIENCE, UNSURE, Tracker, check_box, check_frame

EASY = dict.fromkeys(world.Difficulty.__dataclass_fields__, 0.0)
HEIGHT, WIDTH = 120, 160


def scene(seed=0):
    """A textured background, and a textured patch to put on it."""
    rng = np.random.default_rng(seed)
    ground = np.kron(rng.integers(60, 200, (HEIGHT // 8, WIDTH // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    patch = np.kron(rng.integers(0, 255, (8, 6, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    return ground, patch


def shown(ground, patch, x, y):
    frame = ground.copy()
    frame[y : y + len(patch), x : x + patch.shape[1]] = patch
    return frame


def followed(frames, box, tracker=None):
    tracker = tracker or Tracker()
    tracker.start(frames[0], np.asarray(box, dtype=float))
    return tracker, [(*tracker.next(frame), tracker.lost) for frame in frames[1:]]


def test_follows_a_patch_that_moves():
    ground, patch = scene()
    places = [(40 + 3 * k, 30 + 2 * k) for k in range(12)]
    _, seen = followed([shown(ground, patch, *p) for p in places], (*places[0], 24, 32))
    truth = np.array([(*p, 24, 32) for p in places[1:]], dtype=float)
    assert overlap(np.array([box for box, _, _ in seen]), truth).min() > 0.8
    assert min(score for _, score, _ in seen) > 0.5
    assert not any(lost for _, _, lost in seen)


def test_what_is_covered_is_lost_and_found_elsewhere():
    ground, patch = scene(1)
    frames = [shown(ground, patch, 20, 20) for _ in range(5)]
    frames += [ground] * (PATIENCE + 4) + [shown(ground, patch, 110, 70)] * 12
    _, seen = followed(frames, (20, 20, 24, 32))
    lost = [was for _, _, was in seen]
    assert not any(lost[:4])
    assert lost[4 + PATIENCE + 3]
    assert not lost[-1]
    assert np.abs(middle(seen[-1][0]) - (122, 86)).max() < 4


def test_nothing_is_learnt_while_it_is_unsure():
    ground, patch = scene(2)
    tracker, _ = followed([shown(ground, patch, 60, 40)] * 3, (60, 40, 24, 32))
    before = tracker._matcher._ridge.weights.clone()
    _, score = tracker.next(ground)
    assert score < UNSURE
    assert bool((tracker._matcher._ridge.weights == before).all())


def test_size_follows_what_comes_nearer():
    clip = world.draw(12, 40, difficulty=world.Difficulty(**{**EASY, "scale": 1.0}))
    _, seen = followed(list(clip.frames), clip.boxes[0])
    told, truth = np.array([box for box, _, _ in seen]), clip.boxes[1:]
    assert overlap(told, truth).mean() > 0.6


def test_the_same_twice_and_again_after_another_object():
    clip = world.draw(5, 10)
    tracker, first = followed(list(clip.frames), clip.boxes[0])
    followed(list(world.draw(6, 4).frames), (20, 20, 30, 30), tracker)
    _, again = followed(list(clip.frames), clip.boxes[0], tracker)
    np.testing.assert_array_equal([box for box, _, _ in first], [box for box, _, _ in again])


def test_a_box_never_leaves_the_frame_or_outgrows_it():
    ground, patch = scene(3)
    frames = [shown(ground, patch, 130 + min(k, 6), 20) for k in range(20)]
    _, seen = followed(frames, (130, 20, 24, 32))
    for box, _, _ in seen:
        assert 0 <= middle(box)[0] <= WIDTH
        assert 0 <= middle(box)[1] <= HEIGHT
        assert box[2] <= WIDTH
        assert box[3] <= HEIGHT


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((10, 10, 0, 5), "without a size"),
        ((10, 10, 5, -5), "without a size"),
        ((np.nan, 10, 5, 5), "without a place"),
        ((np.inf, 10, 5, 5), "without a place"),
        ((200, 10, 20, 20), "outside"),
        ((-50, 10, 20, 20), "outside"),
        ((0, 0, 161, 20), "larger than the frame"),
    ],
)
def test_a_box_that_cannot_be_followed_is_refused(box, problem):
    with pytest.raises(InputError, match=problem) as error:
        Tracker().start(np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.array(box, dtype=float))
    assert "160 x 120 px" in str(error.value)


def test_three_numbers_are_no_box():
    with pytest.raises(InputError, match="other than four numbers"):
        check_box(np.array([1.0, 2, 3]), WIDTH, HEIGHT)


def test_a_box_half_outside_is_followed():
    check_box(np.array([-9.0, 0, 20, 20]), WIDTH, HEIGHT)
    check_box(np.array([0.0, 0, WIDTH, HEIGHT]), WIDTH, HEIGHT)


def test_frames_of_another_size_and_a_missing_start_are_named():
    tracker = Tracker()
    with pytest.raises(InputError, match="start"):
        tracker.next(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    tracker.start(np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.array([10.0, 10, 20, 20]))
    with pytest.raises(InputError, match=r"80 x 60 px") as error:
        tracker.next(np.zeros((60, 80, 3), np.uint8))
    assert "160 x 120 px" in str(error.value)


def test_a_flat_frame_gives_no_confidence_of_nan():
    flat = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    _, seen = followed([flat] * 4, (10, 10, 20, 20))
    assert all(np.isfinite(score) and np.isfinite(box).all() for box, score, _ in seen)


@pytest.mark.parametrize("upsample", [1, 4])
def test_the_highest_answer_is_found_within_a_cell(upsample):
    import torch

    following = Following(px=128, area=4.0, exemplar_px=128, upsample=upsample)
    at = torch.arange(33) - 16.0
    peak = torch.exp(-((at - 3.3).square()[:, None] + (at + 5.6).square()) / 8)
    answer = answer_of(torch.stack([peak / 2, peak]), [1.0, 1.0], following, 4.0)
    assert answer.map == 1
    np.testing.assert_allclose(answer.shift, [-5.6 * 4, 3.3 * 4], atol=0.6)
    assert answer.height == pytest.approx(1, abs=0.06)
    assert answer.above > 0.8


def test_a_box_that_is_refused_leaves_the_object_that_is_followed():
    ground, patch = scene()
    frame = shown(ground, patch, 40, 30)
    tracker, _ = followed([frame] * 2, (40, 30, 24, 32))
    with pytest.raises(InputError):
        tracker.start(frame[:60], np.array([500.0, 0, 9, 9]))
    found, _ = tracker.next(frame)
    assert np.abs(found - (40, 30, 24, 32)).max() < 1


@pytest.mark.parametrize("frame", [np.zeros((9, 9)), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3)), None])
def test_a_frame_of_another_kind_is_named(frame):
    with pytest.raises(InputError, match="uint8"):
        check_frame(frame)


def test_what_goes_at_once_is_lost():
    ground, patch = scene(4)
    other, _ = scene(5)
    _, seen = followed([shown(ground, patch, 60, 40)] + [other] * 15, (60, 40, 24, 32))
    assert seen[-1][2]
