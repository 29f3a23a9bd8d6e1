import pytest
import torch

from seamwise.systems.age import anatomy, world
from seamwise.systems.age.nets import varied_view
from seamwise.systems.age.shape import (
    BASES,
    BONE_ENDS,
    JOINTS,
    N_LANDMARKS,
    WRIST,
    axes,
    bone_lengths,
    hand_size,
    mirrored,
    moved,
    similarity,
    upright,
)


@pytest.fixture(scope="module")
def hands():
    """Landmarks of drawn hands, in mm from the picture's middle, and the lengths of their bones."""
    drawn = world.draw(24, 0, px=64)
    place = (drawn.landmarks_px - 32) * drawn.mm_per_px[:, None, None]
    return torch.from_numpy(place), torch.from_numpy(drawn.lengths_mm)


def views(n, seed=0):
    torch.manual_seed(seed)
    return varied_view(n, torch.zeros(1), around=0.5, zoom=1.0, shift=0.5)


def test_bones_are_those_of_the_world_in_its_order(hands):
    assert [tuple(bone) for bone in anatomy.SEGMENTS.tolist()] == list(BONE_ENDS)
    place, lengths = hands
    torch.testing.assert_close(bone_lengths(place), lengths, rtol=1e-3, atol=1e-2)


def test_a_hand_is_as_large_as_its_long_bones_in_the_landmarks_unit(hands):
    place, lengths = hands
    middle = [*range(3, 6), *range(7, 10), *range(11, 14)]
    torch.testing.assert_close(hand_size(place), lengths[:, middle].mean(1), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(hand_size(place / 10), hand_size(place) / 10)


def test_the_size_of_a_hand_depends_on_no_thumb_and_no_tip(hands):
    place, _ = hands
    other = place.clone()
    other[:, [0, 1, 2, 3, 4, 9, 14, 19, *range(20, 25)]] = 0
    assert torch.equal(hand_size(other), hand_size(place))


def test_landmarks_in_one_place_have_lengths_and_gradient():
    place = torch.zeros(1, N_LANDMARKS, 2, requires_grad=True)
    lengths = bone_lengths(place)
    assert lengths.max() < 1e-3
    lengths.sum().backward()
    assert torch.isfinite(place.grad).all()


def test_the_view_of_a_turned_zoomed_mirrored_shifted_hand_is_found():
    view = views(40)
    place = moved(upright()[None], view)
    torch.testing.assert_close(similarity(place), view, atol=1e-4, rtol=1e-4)
    is_mirrored = view[:, :, :2].det() < 0
    assert torch.equal(mirrored(place), is_mirrored)
    assert is_mirrored.any()
    assert not is_mirrored.all()


def test_drawn_hands_are_seen_upright(hands):
    place, _ = hands
    view = similarity(place)
    back = torch.linalg.solve(view[:, :, :2], (place - view[:, None, :, 2]).transpose(1, 2)).transpose(1, 2)
    assert (back - upright()).norm(dim=-1).mean() < 0.12
    assert (back[:, 14, 1] < back[:, WRIST, 1] - 1).all()  # the middle finger's tip above the wrist
    assert (back[:, 4, 0] > back[:, 24, 0] + 0.3).all()  # the thumb to the right


def test_no_view_near_by_fits_better(hands):
    place, _ = hands
    torch.manual_seed(0)
    weight = torch.rand(len(place), N_LANDMARKS)

    def missed(view):
        return (weight * (moved(upright()[None], view) - place).square().sum(-1)).sum(1)

    best = similarity(place, weight)
    least = missed(best)
    for _ in range(20):
        turned = views(len(place), seed=_)  # a similarity of a similarity is one too
        turned[:, :, 0] *= turned[:, :, :2].det().sign()[:, None]
        turn = torch.lerp(torch.eye(2).expand(len(place), 2, 2), turned[:, :, :2], 0.05)
        turn = torch.stack([turn[:, :, 0], torch.stack([-turn[:, 1, 0], turn[:, 0, 0]], 1)], 2)
        other = torch.cat([turn @ best[:, :, :2], best[:, :, 2:] + 3 * turned[:, :, 2:]], 2)
        assert (missed(other) > least).all()


def test_misplaced_landmarks_without_weight_do_not_matter():
    view = views(10)
    place = moved(upright()[None], view)
    weight = torch.ones(10, N_LANDMARKS)
    weight[:, 3:9] = 0
    place[:, 3:9] += 50
    torch.testing.assert_close(similarity(place, weight), view, atol=1e-4, rtol=1e-4)
    assert (similarity(place) - view).abs().amax((1, 2)).min() > 0.5


def test_landmarks_of_no_weight_or_in_one_place_give_a_finite_view():
    nowhere = similarity(torch.rand(3, N_LANDMARKS, 2), torch.zeros(3, N_LANDMARKS))
    assert torch.isfinite(nowhere).all()
    (view,) = similarity(torch.full((1, N_LANDMARKS, 2), 7.0))
    torch.testing.assert_close(view, torch.tensor([[0.0, 0, 7], [0, 0, 7]]), atol=1e-4, rtol=0)


def test_axes_point_to_the_tips_and_turn_with_the_hand():
    view = views(10)
    along, up = axes(moved(upright()[None], view))
    torch.testing.assert_close(along.norm(dim=-1), torch.ones(10, len(JOINTS)))
    torch.testing.assert_close(up.norm(dim=-1), torch.ones(10))
    straight, up_there = axes(upright()[None])
    assert (straight[0, 3:, 1] < -0.5).all()
    assert up_there[0, 1] < -0.9
    turn = view[:, :, :2] / view[:, :, :2].det().abs().sqrt()[:, None, None]
    torch.testing.assert_close(along, straight @ turn.transpose(1, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close(up, (up_there[:, None] @ turn.transpose(1, 2))[:, 0], atol=1e-4, rtol=0)


def test_joints_are_where_two_bones_meet_or_the_thumb_begins():
    starts, ends = ({bone[k] for bone in BONE_ENDS} for k in (0, 1))
    assert {joint for joint, _, _ in JOINTS} == (starts & ends) | {1}
    assert all((joint, following) in BONE_ENDS for joint, following, _ in JOINTS)
    assert not {joint for joint, _, _ in JOINTS} & {WRIST, *BASES}
