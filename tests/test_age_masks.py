import pytest
import torch
from torch.nn.functional import one_hot

from seamwise.systems.age import world
from seamwise.systems.age.masks import ends
from seamwise.systems.age.shape import BONE_ENDS


class Drawn:
    """Forty drawn hands and the gold masks of their bones."""

    def __init__(self):
        hands = world.draw(40, 1)
        self.picture, self.mm_per_px = torch.from_numpy(hands.picture), torch.from_numpy(hands.mm_per_px)
        self.landmarks = (torch.from_numpy(hands.landmarks_px) - 128) * self.mm_per_px[:, None, None]
        self.bones = torch.from_numpy(hands.bones).long()

    def missed_mm(self, bones):
        found = ends(one_hot(bones, 20).float(), self.picture, self.mm_per_px)
        return (found - self.landmarks).norm(dim=-1)


@pytest.fixture(scope="module")
def drawn():
    return Drawn()


def test_landmarks_are_found_from_gold_masks(drawn):
    missed = drawn.missed_mm(drawn.bones)
    assert missed.mean() < 3
    assert missed.mean(0).max() < 5
    assert missed.max() < 12


def test_shares_decide_as_decisions_do(drawn):
    sure = one_hot(drawn.bones, 20).float()
    torch.manual_seed(0)
    unsure = (2 * sure + torch.rand(sure.shape)).softmax(-1)
    picture, mm_per_px = drawn.picture, drawn.mm_per_px
    assert torch.equal(ends(unsure, picture, mm_per_px), ends(sure, picture, mm_per_px))
    assert not ends(unsure.requires_grad_(), picture, mm_per_px).requires_grad


@pytest.mark.parametrize("missing", range(19))
def test_one_missing_bone_is_made_up_for(drawn, missing):
    without = torch.where(drawn.bones == 1 + missing, 0, drawn.bones)
    missed = drawn.missed_mm(without)
    assert missed.mean() < 3
    assert missed.max() < 20
    start, end = BONE_ENDS[missing]
    far = [k for k in range(25) if k not in range(start - 2, end + 3)]
    assert (missed[:, far] - drawn.missed_mm(drawn.bones)[:, far]).mean() < 0.5


def test_a_finger_without_bones_is_put_where_hands_have_it(drawn):
    without = torch.where((drawn.bones >= 8) & (drawn.bones <= 11), 0, drawn.bones)  # the middle finger
    missed = drawn.missed_mm(without)
    assert missed[:, 10:15].mean() < 12
    assert missed[:, [*range(1, 10), *range(15, 25)]].mean() < 3


def test_pictures_without_any_bone_have_finite_landmarks(drawn):
    found = ends(one_hot(torch.zeros_like(drawn.bones), 20).float(), drawn.picture, drawn.mm_per_px)
    assert torch.isfinite(found).all()
    one_place = torch.zeros_like(drawn.bones)
    one_place[:, 20, 20] = 5
    assert torch.isfinite(ends(one_hot(one_place, 20).float(), drawn.picture, drawn.mm_per_px)).all()


def test_landmarks_are_in_mm_by_the_pictures_scale(drawn):
    bones = one_hot(drawn.bones[:3], 20).float()
    one = ends(bones, drawn.picture[:3], drawn.mm_per_px[:3])
    torch.testing.assert_close(ends(bones, drawn.picture[:3], 2 * drawn.mm_per_px[:3]), 2 * one)
    torch.testing.assert_close(ends(bones, drawn.picture[:3, :, ::2, ::2], 2 * drawn.mm_per_px[:3]), one)
