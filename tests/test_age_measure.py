import numpy as np
import pytest
import torch

from seamwise.systems.age import world
from seamwise.systems.age.measure import N_HANDMADE, handmade_signs, measure
from seamwise.systems.age.nets import JOINT_PX, WRIST_PX, pooled, warped
from seamwise.systems.age.shape import N_LANDMARKS, moved, upright

PX = 512
TOO_FAR = 0.06  # the mean difference of close-ups that do not show the same


class Drawn:
    """Six drawn hands: pictures of 512 px, and landmarks in mm from the middle."""

    def __init__(self):
        hands = world.draw(6, 3, px=PX)
        self.picture, self.mm_per_px = torch.from_numpy(hands.picture), torch.from_numpy(hands.mm_per_px)
        self.landmarks = (torch.from_numpy(hands.landmarks_px) - PX / 2) * self.mm_per_px[:, None, None]
        self.lengths = torch.from_numpy(hands.lengths_mm)
        self.half_mm = (self.mm_per_px * PX / 2)[:, None, None]

    @property
    def parts(self):
        return self.picture, self.landmarks, self.mm_per_px


@pytest.fixture(scope="module")
def drawn():
    return Drawn()


def apart(one, other):
    return float((one - other).abs().mean())


def test_lengths_are_the_worlds_in_mm(drawn):
    lengths, _, _ = measure(*drawn.parts)
    torch.testing.assert_close(lengths, drawn.lengths, rtol=1e-3, atol=1e-2)


def test_close_ups_are_of_another_hands_joints_otherwise(drawn):
    """What the other tests take for different is: the next joint, another hand's joint."""
    _, joints, wrist = measure(*drawn.parts)
    assert (joints.shape, wrist.shape) == ((6, 15, JOINT_PX, JOINT_PX), (6, WRIST_PX, WRIST_PX))
    assert 0 <= joints.min() < joints.max() <= 1
    assert apart(joints, joints.roll(1, 0)) > TOO_FAR
    assert apart(joints, joints.roll(1, 1)) > TOO_FAR
    assert apart(wrist, wrist.roll(1, 0)) > TOO_FAR


def test_half_as_many_pixels_show_nearly_the_same(drawn):
    picture, landmarks, mm_per_px = drawn.parts
    smaller = (255 * pooled(picture, 256)).round().to(torch.uint8)
    one, other = measure(*drawn.parts), measure(smaller, landmarks, 2 * mm_per_px)
    assert torch.equal(one[0], other[0])
    for fine, coarse in zip(one[1:], other[1:], strict=True):
        assert apart(fine, coarse) < 0.3 * TOO_FAR


def test_more_pixels_than_512_are_not_looked_at(drawn):
    finer = drawn.picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for one, other in zip(measure(finer, drawn.landmarks, drawn.mm_per_px / 2), measure(*drawn.parts), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_mirrored_hand_looks_as_the_hand(drawn):
    picture, landmarks, mm_per_px = drawn.parts
    other = measure(picture.flip(-1), landmarks * torch.tensor([-1.0, 1]), mm_per_px)
    for one, two in zip(measure(*drawn.parts), other, strict=True):
        torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-4)


def test_a_hand_on_its_side_looks_as_upright(drawn):
    picture, landmarks, mm_per_px = drawn.parts
    turned = torch.stack([landmarks[..., 1], -landmarks[..., 0]], -1)
    other = measure(picture.rot90(1, (-2, -1)), turned, mm_per_px)
    for one, two in zip(measure(*drawn.parts), other, strict=True):
        torch.testing.assert_close(one, two, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(("angle", "zoom"), [(0.4, 1.0), (-2.0, 1.1), (0.1, 1.25)])
def test_a_turned_and_smaller_hand_looks_nearly_the_same(drawn, angle, zoom):
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    view = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], dtype=torch.float32).expand(6, 2, 3)
    picture = (255 * warped(drawn.picture.float() / 255, view, PX)).round().to(torch.uint8)
    place = drawn.landmarks / drawn.half_mm
    landmarks = torch.linalg.solve(view[:, :, :2], place.mT).mT * drawn.half_mm * zoom
    turned = measure(picture, landmarks, drawn.mm_per_px * zoom)
    torch.testing.assert_close(turned[0], drawn.lengths, rtol=1e-3, atol=1e-2)
    for one, other in zip(measure(*drawn.parts)[1:], turned[1:], strict=True):
        assert apart(one, other) < 0.4 * TOO_FAR


def test_a_joint_is_in_the_middle_its_finger_upwards_and_the_thumb_to_the_right():
    """Dots at the index finger's second joint, beyond it, and on the thumb's side of it."""
    place = upright()[None]
    joint, tip = place[0, 7], place[0, 8]
    along = (tip - joint) / (tip - joint).norm()
    aside = torch.stack([-along[1], along[0]])
    for side, thumb_right in ((1.0, True), (-1.0, False)):
        hand = place * torch.tensor([side, 1.0])
        for shift, wanted in ((0 * along, (0, 0)), (0.05 * along, (0, -1)), (0.05 * aside, (1, 0))):
            at = ((joint + shift) * torch.tensor([side, 1.0]) + 1) * 128
            picture = torch.zeros(1, 1, 256, 256, dtype=torch.uint8)
            x, y = at.round().int().tolist()
            picture[0, 0, y - 2 : y + 2, x - 2 : x + 2] = 255
            close = measure(picture, hand * 128, torch.ones(1))[1][0, 4]
            row, column = divmod(int(close.flatten().argmax()), JOINT_PX)
            found = np.sign([column - 21.5, row - 21.5]) * (np.abs([column - 21.5, row - 21.5]) > 4)
            assert tuple(found) == wanted, thumb_right


def test_the_wrist_is_seen_with_the_carpals_above_it(drawn):
    """Moved so, the close-up has the wrist's landmark below its middle."""
    picture = torch.zeros(1, 1, 256, 256, dtype=torch.uint8)
    x, y = ((upright()[0] + 1) * 128).round().int().tolist()
    picture[0, 0, y - 2 : y + 2, x - 2 : x + 2] = 255
    wrist = measure(picture, upright()[None] * 128, torch.ones(1))[2][0]
    row, column = divmod(int(wrist.flatten().argmax()), WRIST_PX)
    assert WRIST_PX / 2 < row < 0.65 * WRIST_PX
    assert abs(column - WRIST_PX / 2) < 3


def smooth_picture():
    at = torch.linspace(0, 1, 256)
    waves = (
        (9 * at[:, None] + 3 * at).sin() + (7 * at - 5 * at[:, None]).cos() + (11 * at).sin() * (6 * at[:, None]).cos()
    )
    return (127 + 42 * waves).to(torch.uint8)[None, None]


def test_gradient_reaches_the_landmarks_as_finite_differences_say():
    torch.manual_seed(0)
    picture, mm_per_px = smooth_picture(), torch.ones(1)
    landmarks = moved(upright()[None], torch.tensor([[[0.7, -0.2, 0.05], [0.2, 0.7, 0.02]]])) * 128
    weights = torch.rand(15, 1, 1), torch.linspace(-1, 1, JOINT_PX), torch.linspace(-1, 1, WRIST_PX)[:, None]

    def told(at):
        lengths, joints, wrist = measure(picture, at, mm_per_px)
        return torch.stack(
            [
                lengths.square().mean() / 100,
                100 * (weights[0] * weights[1] * joints).mean(),
                100 * (weights[2] * wrist).mean(),
            ]
        ).double()

    leaf = landmarks.clone().requires_grad_()
    for part in range(3):
        (gradient,) = torch.autograd.grad(told(leaf)[part], leaf)
        for _ in range(4):
            step = 0.4 * torch.nn.functional.normalize(torch.randn_like(landmarks) * gradient.abs().sign(), dim=(1, 2))
            step = step + 0.4 * gradient / gradient.norm()
            slope = (told(landmarks + step)[part] - told(landmarks - step)[part]) / 2
            assert float((gradient * step).sum()) == pytest.approx(float(slope), rel=0.1), part


def test_every_landmark_but_some_ends_moves_a_close_up(drawn):
    landmarks = drawn.landmarks.clone().requires_grad_()
    _, joints, wrist = measure(drawn.picture, landmarks, drawn.mm_per_px)
    (joints.square().sum() + wrist.square().sum()).backward()
    assert torch.isfinite(landmarks.grad).all()
    assert (landmarks.grad.abs().sum((0, 2)) > 0).all()


@pytest.mark.parametrize("place", [0.0, 5.0])
def test_landmarks_in_one_place_or_outside_the_picture_give_finite_measures(drawn, place):
    landmarks = torch.full((6, N_LANDMARKS, 2), place) * drawn.half_mm
    landmarks.requires_grad_()
    written = measure(drawn.picture, landmarks, drawn.mm_per_px)
    assert all(torch.isfinite(part).all() for part in written)
    sum(part.sum() for part in written).backward()
    assert torch.isfinite(landmarks.grad).all()


def test_handmade_signs_are_shares_whatever_the_exposure(drawn):
    _, joints, wrist = measure(*drawn.parts)
    signs = handmade_signs(joints, wrist)
    assert signs.shape == (6, N_HANDMADE)
    assert signs.min() >= 0
    assert signs.max() <= 1
    assert apart(handmade_signs(0.8 * joints + 0.1, 0.8 * wrist + 0.1), signs) < 0.1 * apart(signs.roll(1, 0), signs)


def test_a_dark_slice_is_a_plate_and_a_bright_part_a_bone():
    joints, wrist = torch.full((1, 15, JOINT_PX, JOINT_PX), 0.8), torch.zeros(1, WRIST_PX, WRIST_PX)
    joints[0, 3, 20:24] = 0.2  # the sixth of eleven slices
    wrist[0, 2:16, 16:30] = 1  # the second part of the first row
    signs = handmade_signs(joints, wrist)[0]
    core, wide, bone = signs[:165].view(15, 11), signs[165:330].view(15, 11), signs[330:].view(6, 6)
    assert int(core[3].argmin()) == int(wide[3].argmin()) == 5
    assert divmod(int(bone.argmax()), 6) == (0, 1)
