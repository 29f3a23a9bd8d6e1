import math
from functools import partial

import pytest
import torch
from torch import nn

from seamwise.systems.age import nets, targets, world
from seamwise.systems.age.measure import measure
from seamwise.systems.age.nets import (
    N_BONES,
    N_CARPALS,
    N_PLATES,
    SMALL_PX,
    Direct,
    Judge,
    Locate,
    Segment,
    TellAge,
    expected,
    locally_even,
    pooled,
    varied_tone,
    varied_view,
    warped,
)
from seamwise.systems.age.shape import N_LANDMARKS, moved, similarity, upright


class Drawn:
    """Eight drawn hands as tensors."""

    def __init__(self):
        hands = world.draw(8, 0)
        self.picture, self.mm_per_px = torch.from_numpy(hands.picture), torch.from_numpy(hands.mm_per_px)
        self.place = torch.from_numpy(hands.landmarks_px) / 128 - 1
        self.landmarks = self.place * (128 * self.mm_per_px)[:, None, None]
        self.lengths, self.joints, self.wrist = measure(self.picture, self.landmarks, self.mm_per_px)
        self.plates, self.carpals = torch.from_numpy(hands.plates), torch.from_numpy(hands.carpals)
        self.bones = torch.from_numpy(hands.bones).long()
        self.sex, self.age = torch.from_numpy(hands.sex), torch.from_numpy(hands.age_months)


@pytest.fixture(scope="module")
def drawn():
    return Drawn()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def dots(place, px=SMALL_PX, width=0.04):
    """A picture a place, with a soft bright dot there."""
    at = (torch.arange(px) + 0.5) / px * 2 - 1
    far = (at - place[:, 0, None])[:, None, :] ** 2 + (at - place[:, 1, None])[:, :, None] ** 2
    return (-far / (2 * width**2)).exp()[:, None]


def brightest(picture):
    return expected(200 * picture)[:, 0]


def test_the_mean_place_of_a_map_is_x_then_y():
    heat = torch.zeros(1, 2, 8, 8)
    heat[0, 0, 1, 6] = 1000
    (one, other) = expected(heat)[0]
    assert one.tolist() == pytest.approx([6.5 / 4 - 1, 1.5 / 4 - 1])
    assert other.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_pictures_are_pooled_to_shades_of_0_to_1():
    picture = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    small = pooled(picture, 32)
    torch.testing.assert_close(small[0, 0, 3, 5], picture[0, 0, 6:8, 10:12].float().mean() / 255)
    assert torch.equal(pooled(small, 32), small)
    assert pooled(picture, 256).shape == (2, 1, 256, 256)
    assert pooled(picture, 48).mean() == pytest.approx(float(picture.float().mean()) / 255, abs=0.01)


@pytest.mark.parametrize("px", [96, 128, 300])
def test_the_networks_see_pictures_of_any_size(px):
    picture, scale = torch.randint(0, 256, (2, 1, px, px), dtype=torch.uint8), torch.ones(2)
    with torch.no_grad():
        assert Direct().eval()(picture, torch.zeros(2), scale).shape == (2,)
        assert Segment().eval()(picture).shape == (2, 64, 64, 20)
        assert Locate().eval()(picture, scale).shape == (2, 25, 2)


def test_evened_light_depends_on_no_brightness_and_hardly_on_contrast(drawn):
    picture = pooled(drawn.picture, SMALL_PX)
    even = locally_even(picture)
    torch.testing.assert_close(locally_even(picture + 0.3), even, atol=2e-2, rtol=1e-2)
    other = locally_even(0.6 * picture + 0.2)
    assert (other - even).abs().mean() < 0.2 * even.abs().mean()
    assert torch.isfinite(locally_even(torch.zeros(1, 1, 64, 64))).all()


def test_the_whole_picture_is_seen_as_it_is():
    picture = torch.rand(1, 1, 32, 32)
    view = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    torch.testing.assert_close(warped(picture, view, 32), picture)
    torch.testing.assert_close(warped(picture, view / 2, 16), picture[..., 8:24, 8:24])


def test_a_dot_is_seen_where_the_view_leads_back_to_it():
    view = varied_view(50, torch.zeros(1), around=0.3)
    seen_at = (torch.rand(50, 2) - 0.5) * 1.2
    place = moved(seen_at[:, None], view)[:, 0]
    seen = warped(dots(place, 256), view, SMALL_PX)
    there = seen.amax((1, 2, 3)) > 0.8
    assert there.sum() > 40
    torch.testing.assert_close(brightest(seen)[there], seen_at[there], atol=0.02, rtol=0)


def test_varied_views_stay_within_what_is_asked():
    view = varied_view(500, torch.zeros(1), turn=0.2, zoom=0.1, shift=0.3, around=0, mirrored=False)
    size = view[:, :, :2].det().sqrt()
    assert math.exp(-0.1) <= size.min() < 0.95 < 1.05 < size.max() <= math.exp(0.1) + 1e-5
    angle = torch.atan2(view[:, 1, 0], view[:, 0, 0])
    assert 0.18 < angle.abs().max() <= 0.2 + 1e-5
    assert 0.27 < view[:, :, 2].abs().max() <= 0.3
    turn = view[:, :, :2] / size[:, None, None]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(2).expand(500, 2, 2))
    both = varied_view(500, torch.zeros(1), around=1.0)
    assert 200 < (both[:, :, :2].det() < 0).sum() < 300
    assert torch.atan2(both[:, 1, 1], -both[:, 0, 1]).abs().max() > 2.5


def test_another_exposure_shows_the_same(drawn):
    picture = pooled(drawn.picture, SMALL_PX)
    other = varied_tone(picture)
    assert other.min() >= 0
    assert other.max() <= 1
    for one, two in zip(picture, other, strict=True):
        assert torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1] > 0.6
        assert (one - two).abs().mean() > 0.01


class Bright(nn.Module):
    """Maps that are all highest where the picture is brightest."""

    def forward(self, picture):
        return 600 * picture.expand(-1, N_LANDMARKS, -1, -1)


def test_varied_in_training_the_answer_is_for_the_picture_as_it_was():
    net, place = Locate().train(), (torch.rand(40, 2) - 0.5) * 0.8
    net.maps = Bright()
    picture = (255 * dots(place, 256, 0.08)).round().to(torch.uint8)
    mm_per_px = torch.linspace(0.5, 2, 40)
    found = net(picture, mm_per_px) / (128 * mm_per_px)[:, None, None]
    missed = (found - place[:, None]).norm(dim=-1).amax(1)
    assert missed.median() < 0.03
    assert missed.max() < 0.15


class Pointing(nn.Module):
    """Maps that are high where they are told to be, a list of places a look; it keeps what it was shown."""

    def __init__(self, *told):
        super().__init__()
        self.told, self.seen = list(told), []

    def forward(self, picture):
        self.seen.append(picture)
        at, place = (torch.arange(64) + 0.5) / 32 - 1, self.told.pop(0)
        far = (at - place[..., 0, None])[..., None, :] ** 2 + (at - place[..., 1, None])[..., :, None] ** 2
        return -far / (2 * 0.04**2)


def test_the_second_look_is_at_the_upright_hand(drawn):
    net, second = Locate().eval(), upright().expand(8, -1, -1) * 0.9
    net.maps = Pointing(drawn.place, second)
    found = net(drawn.picture, drawn.mm_per_px)
    view = similarity(drawn.place)
    scale = (128 * drawn.mm_per_px)[:, None, None]
    torch.testing.assert_close(found / scale, moved(second, view), atol=5e-3, rtol=0)
    torch.testing.assert_close(net.maps.seen[0], pooled(drawn.picture, SMALL_PX))
    upright_hand = warped(pooled(drawn.picture, 256), view, SMALL_PX)
    assert (net.maps.seen[1] - upright_hand).abs().mean() < 0.01


def test_landmarks_scale_with_the_picture_and_not_with_its_pixels(drawn):
    net = Locate().eval()
    found = net(drawn.picture, drawn.mm_per_px)
    torch.testing.assert_close(net(drawn.picture, 2 * drawn.mm_per_px), 2 * found)
    finer = drawn.picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(net(finer, drawn.mm_per_px / 2), found, atol=1e-3, rtol=1e-4)
    assert torch.equal(net(drawn.picture, drawn.mm_per_px), found)
    assert not torch.equal(net.train()(drawn.picture, drawn.mm_per_px), net(drawn.picture, drawn.mm_per_px))


@pytest.mark.parametrize("px", [100, 300, 512])
def test_landmarks_are_in_pictures_of_any_size(px):
    picture = torch.randint(0, 256, (2, 1, px, px), dtype=torch.uint8)
    for net in (Locate().eval(), Locate().train()):
        found = net(picture, torch.ones(2))
        assert found.shape == (2, N_LANDMARKS, 2)
        assert found.abs().max() < 1.5 * px


def test_shares_of_bones_sum_to_one(drawn):
    shares = Segment()(drawn.picture)
    assert shares.shape == (8, 64, 64, 1 + N_BONES)
    assert shares.min() >= 0
    torch.testing.assert_close(shares.sum(-1), torch.ones(8, 64, 64))


def test_signs_are_shares_whatever_the_exposure(drawn):
    net = Judge().eval()
    plates, carpals = net(drawn.joints, drawn.wrist)
    assert (plates.shape, carpals.shape) == ((8, N_PLATES), (8, N_CARPALS))
    for signs in (plates, carpals):
        assert 0 < signs.min() <= signs.max() < 1
    others = net(0.9 * drawn.joints + 0.05, 0.9 * drawn.wrist + 0.05)
    for signs, other in zip((plates, carpals), others, strict=True):
        torch.testing.assert_close(other, signs, atol=0.02, rtol=0)
    assert not torch.equal(net.train()(drawn.joints, drawn.wrist)[0], net(drawn.joints, drawn.wrist)[0])
    assert torch.equal(net.eval()(drawn.joints, drawn.wrist)[0], plates)


def test_what_is_seen_outside_the_seen_part_does_not_matter(drawn):
    net = Judge().eval()
    plates, carpals = net(drawn.joints, drawn.wrist)
    joints, wrist = drawn.joints.clone(), drawn.wrist.clone()
    for patch, margin in ((joints, 2), (wrist, 4)):
        patch[..., :margin, :] = patch[..., -margin:, :] = patch[..., :margin] = patch[..., -margin:] = 1
    assert torch.equal(net(joints, wrist)[0], plates)
    assert torch.equal(net(joints, wrist)[1], carpals)


def test_an_age_is_told_from_lengths_sex_and_signs(drawn):
    net = TellAge(N_PLATES + N_CARPALS).eval()
    told = net(drawn.lengths, drawn.sex, drawn.plates, drawn.carpals)
    assert told.shape == (8,)
    assert 60 < told.min() <= told.max() < 180  # before it learns: about ten years
    for other in (
        (1.1 * drawn.lengths, drawn.sex, drawn.plates, drawn.carpals),
        (drawn.lengths, 1 - drawn.sex, drawn.plates, drawn.carpals),
        (drawn.lengths, drawn.sex, 1 - drawn.plates, drawn.carpals),
    ):
        assert (net(*other) - told).abs().min() > 1e-3
    assert torch.isfinite(net(torch.zeros(8, N_BONES), drawn.sex, drawn.plates, drawn.carpals)).all()


class Scale(nn.Module):
    """Tells the scale it was given, where ages are told."""

    def forward(self, known):
        return known[:, -2:-1]


def test_the_direct_network_knows_how_large_the_seen_part_is(drawn):
    net = Direct().eval()
    net.told = Scale()
    side_mm = 256 * drawn.mm_per_px
    log = (net(drawn.picture, drawn.sex, drawn.mm_per_px) - 120) / 60
    torch.testing.assert_close(log, (side_mm / 200).log(), atol=1e-4, rtol=0)
    zoomed = ((net.train()(drawn.picture, drawn.sex, drawn.mm_per_px) - 120) / 60 - log).abs()
    assert 0.01 < zoomed.max() <= 0.25 + 1e-4


def test_the_direct_network_is_told_size_and_sex(drawn):
    net = Direct().eval()
    told = net(drawn.picture, drawn.sex, drawn.mm_per_px)
    assert told.shape == (8,)
    assert (net(drawn.picture, 1 - drawn.sex, drawn.mm_per_px) - told).abs().min() > 1e-3
    assert (net(drawn.picture, drawn.sex, 2 * drawn.mm_per_px) - told).abs().min() > 1e-3
    finer = drawn.picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(net(finer, drawn.sex, drawn.mm_per_px / 2), told, atol=1e-3, rtol=1e-4)


def test_the_shipped_networks_fit_into_8_mb():
    made = (Locate(), Judge(), TellAge(N_PLATES + N_CARPALS), Direct())
    assert sum(p.numel() for net in made for p in net.parameters()) * 2 < 8e6
    chain = sum(p.numel() for net in made[:3] for p in net.parameters())
    assert sum(p.numel() for p in made[3].parameters()) < 2 * chain


LEARNT = {
    "locate": (Locate, ("picture", "mm_per_px"), (targets.landmarks,), 12),
    "segment": (Segment, ("picture",), (targets.bones,), 6),
    "judge": (Judge, ("joints", "wrist"), (targets.plates, targets.carpals), 12),
    "tell": (partial(TellAge, N_PLATES + N_CARPALS), ("lengths", "sex", "plates", "carpals"), (targets.age,), 40),
    "direct": (Direct, ("picture", "sex", "mm_per_px"), (targets.age,), 40),
}


@pytest.mark.parametrize("name", LEARNT)
def test_one_batch_is_learnt(drawn, name):
    make, reads, written, n_steps = LEARNT[name]
    net, given = make(), [getattr(drawn, field) for field in reads]
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)

    def loss():
        said = net(*given)
        said = said if isinstance(said, tuple) else (said,)
        losses = (t.loss(s, getattr(drawn, t.field)) for t, s in zip(written, said, strict=True))
        return sum(each.mean() for each in losses)

    net.eval()
    before = loss().item()
    for _ in range(n_steps):
        optimizer.zero_grad()
        net.train()
        loss().backward()
        optimizer.step()
    net.eval()
    assert loss().item() < 0.9 * before
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_ages_are_in_months_about_ten_years():
    assert nets.in_months(torch.tensor([0.0, 1, -1])).tolist() == [120, 180, 60]
