"""The tracker's geometry, features, correlation, filters and targets, against the slow and obvious."""

import math

import numpy as np
import pytest
import torch

from seamwise.systems.track import targets
from seamwise.systems.track.correlation import (
    bump,
    cross_correlation,
    filter_of,
    from_spectrum,
    respond,
    spectrum,
    windowed,
)
from seamwise.systems.track.geometry import cut, size_of
from seamwise.systems.track.hog import N_HOG, N_ORIENTATIONS, hog
from seamwise.systems.track.nets import (
    EXEMPLAR_PX,
    N_CELLS,
    N_CHANNELS,
    N_SHIFTS,
    REACH,
    SCALES,
    SEARCH_PX,
    Direct,
    Features,
    Filter,
    Plain,
    hog_pair,
    place,
    pyramid,
)
from seamwise.systems.track.ridge import Ridge
from seamwise.systems.track.world import N_KINDS


@pytest.fixture
def some():
    return torch.Generator().manual_seed(0)


def randn(some, *shape):
    return torch.randn(*shape, generator=some, dtype=torch.float64)


def pictures(some, n, px):
    """Smooth ones, so that a shift by parts of a px changes little."""
    coarse = torch.rand(n, 3, px // 4, px // 4, generator=some)
    return (255 * torch.nn.functional.interpolate(coarse, (px, px), mode="bicubic").clamp(0, 1)).to(torch.uint8)


def labels(n, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.column_stack([rng.uniform(-0.65, 0.65, (n, 2)), rng.uniform(-0.05, 0.05, n)])).float()


def test_the_size_of_a_square_is_its_side():
    assert size_of(np.array([20.0, 20.0])) == pytest.approx(20)
    assert size_of(np.array([10.0, 40.0])) == pytest.approx(size_of(np.array([40.0, 10.0])))
    assert size_of(np.array([10.0, 40.0])) == pytest.approx(math.sqrt(35 * 65) / 2)
    assert size_of(3 * np.array([10.0, 40.0])) == pytest.approx(3 * size_of(np.array([10.0, 40.0])))


@pytest.fixture(scope="module")
def ramp():
    """x in red, y in green."""
    x, y = np.meshgrid(np.arange(120), np.arange(100))
    return np.stack([2 * x, 2 * y, 0 * x], -1).astype(np.uint8)


def test_whole_px_are_cut_out_as_they_are(ramp):
    assert np.array_equal(cut(ramp, np.array([50.0, 40.0]), 32, 32), ramp[24:56, 34:66])


@pytest.mark.parametrize("side", [17.3, 40.0, 61.9, 90.0])
@pytest.mark.parametrize("centre", [(60.0, 50.0), (57.3, 48.8)])
def test_a_cut_shows_what_lies_there_at_any_scale(ramp, side, centre):
    shown = cut(ramp, np.array(centre), side, 24).astype(float) / 2
    offset = ((np.arange(24) + 0.5) / 24 - 0.5) * side
    assert np.abs(shown[..., 0] - (centre[0] + offset - 0.5)).max() < 0.6
    assert np.abs(shown[..., 1] - (centre[1] + offset - 0.5)[:, None]).max() < 0.6


@pytest.mark.parametrize("side", [20.0, 70.0])
@pytest.mark.parametrize("centre", [(-300.0, 50.0), (500.0, 50.0), (60.0, -300.0), (60.0, 400.0)])
def test_beyond_the_frame_its_edge_goes_on(ramp, side, centre):
    shown = cut(ramp, np.array(centre), side, 24).astype(int)
    axis = 0 if centre[1] == 50 else 1
    edge = 0 if min(centre) < 0 else (238, 198)[axis]
    assert shown.shape == (24, 24, 3)
    assert np.abs(shown[..., axis] - edge).max() <= math.ceil(side / 24)


def test_a_large_cut_loses_no_fine_detail():
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[::2] = 200  # lines of one px: what is shown is their mean, not some of them
    assert np.abs(cut(frame, np.array([100.0, 100.0]), 160, 32).astype(float) - 100).max() < 25


@pytest.mark.parametrize("width", [6, 7])
def test_maps_come_back_from_their_spectrum(some, width):
    maps = randn(some, 2, 5, width)
    torch.testing.assert_close(from_spectrum(spectrum(maps), width), maps)
    assert float(spectrum(maps)[0, 0, 0].real) == pytest.approx(float(maps[0].sum()) / math.sqrt(5 * width))


def test_cross_correlation_is_a_template_at_every_place(some):
    z, x = randn(some, 2, 3, 3, 2), randn(some, 2, 3, 5, 6)
    slow = torch.stack(
        [
            torch.stack([(z[b] * x[b, :, i : i + 3, j : j + 2]).sum() for i in range(3) for j in range(5)]).view(3, 5)
            for b in range(2)
        ]
    )
    torch.testing.assert_close(cross_correlation(z, x), slow)


def shifts(x):
    """All circular shifts of features as rows: shift u's is x[p + u]."""
    height, width = x.shape[-2:]
    return torch.stack([x.roll((-i, -j), (1, 2)).flatten() for i in range(height) for j in range(width)])


def test_a_filter_answers_at_every_shift(some):
    w, x = randn(some, 2, 4, 5), randn(some, 2, 4, 5)
    torch.testing.assert_close(respond(w, x).flatten(), shifts(x) @ w.flatten())


def test_a_filter_is_ridge_regression_over_all_shifts(some):
    z, wanted = randn(some, 3, 4, 5), bump(4, 5, 0.8).double()
    rows = shifts(z)
    slow = torch.linalg.solve(rows.T @ rows + 0.7 * torch.eye(60), rows.T @ wanted.flatten())
    torch.testing.assert_close(filter_of(z[None], wanted, 0.7)[0].flatten(), slow)


def test_gradient_crosses_the_closed_form(some):
    z, x = (randn(some, 1, 2, 4, 4).requires_grad_() for _ in range(2))
    penalty = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    wanted = bump(4, 4, 0.8).double()
    assert torch.autograd.gradcheck(lambda z, x, p: respond(filter_of(z, wanted, p), x), (z, x, penalty))


def test_a_bump_is_about_no_shift_and_goes_round():
    made = bump(6, 8, 1.5)
    assert float(made[0, 0]) == 1 == float(made.max())
    torch.testing.assert_close(made, made.flip(0, 1).roll((1, 1), (0, 1)))
    assert float(made[2, 3]) == pytest.approx(math.exp(-13 / 4.5))
    window = windowed(9)
    assert float(window.min()) > 0
    assert float(window[4, 4]) == float(window.max()) == pytest.approx(1)
    torch.testing.assert_close(window, window.flip(0, 1))


def test_the_first_filter_kept_is_the_closed_form(some):
    z, wanted = randn(some, 3, 6, 6), bump(6, 6, 0.8).double()
    ridge = Ridge(wanted, torch.ones(6, 6), 0.1)
    ridge.learn(z, 1.0, 60)
    mean_power = float(spectrum(z).abs().square().sum(0).mean())
    torch.testing.assert_close(
        ridge.weights, filter_of(z[None], wanted, 0.1 * mean_power * 36)[0], rtol=1e-6, atol=1e-9
    )
    torch.testing.assert_close(ridge.respond(z), respond(ridge.weights, z))


def test_a_filter_kept_has_weights_on_its_support_alone(some):
    z, wanted = randn(some, 2, 6, 6), bump(6, 6, 0.8).double()
    support = torch.zeros(6, 6)
    support[:3, 1:4] = 1
    ridge = Ridge(wanted, support, 0.1)
    ridge.learn(z, 1.0, 100)
    on = support.bool().expand(2, 6, 6).flatten()
    rows = shifts(z)[:, on]
    cost = 0.1 * float(spectrum(z).abs().square().sum(0).mean()) * 36
    slow = torch.zeros(72, dtype=torch.float64)
    slow[on] = torch.linalg.solve(rows.T @ rows + cost * torch.eye(int(on.sum())), rows.T @ wanted.flatten())
    torch.testing.assert_close(ridge.weights.flatten(), slow, rtol=1e-5, atol=1e-8)


def test_older_features_fade(some):
    one, other = randn(some, 2, 2, 6, 6)
    wanted, whole = bump(6, 6, 0.8).double(), torch.ones(6, 6)

    def kept(*rates):
        ridge = Ridge(wanted, whole, 0.1)
        ridge.learn(one, 1.0, 80)
        for rate in rates:
            ridge.learn(other, rate, 80)
        return ridge

    def wrong(ridge, z):
        return float((ridge.respond(z) - wanted).square().sum())

    assert wrong(kept(0.3), other) < wrong(kept(), other)
    assert wrong(kept(0.3, 0.3), other) < wrong(kept(0.3), other)
    assert wrong(kept(0.3), one) > wrong(kept(), one)
    torch.testing.assert_close(kept(0.0).weights, kept().weights)


def test_orientations_are_those_of_edges_whatever_the_light():
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., 4::8] = stripes[..., 5::8] = stripes[..., 6::8] = stripes[..., 7::8] = 200
    across, down = hog(stripes)[0, :N_ORIENTATIONS], hog(stripes.mT)[0, :N_ORIENTATIONS]
    assert int(across.mean((1, 2)).argmax()) == 0
    assert int(down.mean((1, 2)).argmax()) in (N_ORIENTATIONS // 2, N_ORIENTATIONS // 2 + 1)
    darker = hog(0.4 * stripes + 30)[0, :N_ORIENTATIONS]
    assert float((darker - across).abs().max()) < 0.1
    assert hog(torch.full((1, 3, 32, 32), 90.0))[0, :N_ORIENTATIONS].abs().max() < 0.01


def test_colours_are_light_red_against_green_and_blue_against_yellow():
    red, green, blue = (255 * torch.eye(3)[k][None, :, None, None].expand(1, 3, 16, 16) for k in range(3))
    told = torch.cat([hog(colour)[:, N_ORIENTATIONS:, 1, 1] for colour in (red, green, blue)])
    assert told.shape == (3, N_HOG - N_ORIENTATIONS)
    assert (told[:, 1].sign().tolist(), told[:, 2].sign().tolist()) == ([1, -1, 0], [-1, -1, 1])
    white = hog(torch.full((1, 3, 16, 16), 255.0))[0, N_ORIENTATIONS:, 1, 1]
    assert white[0] > 0
    torch.testing.assert_close(white[1:], torch.zeros(2))


def test_the_search_picture_is_seen_on_three_scales(some):
    search = pictures(some, 2, SEARCH_PX)
    seen = pyramid(search)
    border = (SEARCH_PX - EXEMPLAR_PX) // 2
    inner = search[..., border:-border, border:-border].float()
    torch.testing.assert_close(seen[:, SCALES.index(1.0)], inner, atol=1e-2, rtol=0)
    column = torch.arange(SEARCH_PX).float().expand(1, 3, SEARCH_PX, SEARCH_PX).to(torch.uint8)
    for k, scale in enumerate(SCALES):
        steps = pyramid(column)[0, k, 0, 40].diff()
        torch.testing.assert_close(steps, torch.full_like(steps, scale), atol=1e-3, rtol=0)


@pytest.mark.parametrize("designed", [False, True])
def test_features_go_along_with_the_picture(some, designed):
    torch.manual_seed(0)
    net = Features(N_KINDS, designed)
    picture = pictures(some, 1, EXEMPLAR_PX).float()
    seen, moved = net.embed(picture), net.embed(picture.roll((8, 4), (2, 3)))
    off = moved[..., 7:-5, 6:-5] - seen[..., 5:-7, 5:-6]  # but for a number a channel: its mean is taken off
    torch.testing.assert_close(off, off.mean((2, 3), keepdim=True).expand_as(off), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[:, :N_CHANNELS].mean((2, 3)), torch.zeros(1, N_CHANNELS), atol=1e-5, rtol=0)
    z, x, kinds = net(pictures(some, 2, EXEMPLAR_PX), pictures(some, 2, SEARCH_PX))
    n_channels = N_CHANNELS + (N_HOG if designed else 0)
    assert z.shape == (2, n_channels, N_CELLS, N_CELLS)
    assert x.shape == (2, len(SCALES), n_channels, N_CELLS, N_CELLS)
    torch.testing.assert_close(kinds.sum(1), torch.ones(2))


def test_designed_features_stand_beside_learned_ones(some):
    exemplar, search = pictures(some, 2, EXEMPLAR_PX), pictures(some, 2, SEARCH_PX)
    z, x, _ = Features(N_KINDS, designed=True)(exemplar, search)
    designed = hog_pair(exemplar, search)
    torch.testing.assert_close((z[:, N_CHANNELS:], x[:, :, N_CHANNELS:]), designed)


@pytest.mark.parametrize("net", [Plain, Filter])
def test_a_shift_by_cells_is_where_the_response_is_highest(some, net):
    z = randn(some, 3, 8, N_CELLS, N_CELLS).float()
    away = [(0, 0), (3, -2), (-5, 4)]  # down, across
    x = torch.stack([z[k].roll(shift, (1, 2)) for k, shift in enumerate(away)])[:, None].repeat(1, len(SCALES), 1, 1, 1)
    x[:, 0], x[:, 2] = randn(some, 2, *z.shape).float()
    response = net()(z, x)
    assert response.shape == (3, len(SCALES), N_SHIFTS, N_SHIFTS)
    for item, (down, across) in zip(response, away, strict=True):
        best = np.unravel_index(int(item.argmax()), item.shape)
        assert best == (1, REACH + down, REACH + across)


def test_a_filters_answer_is_the_closed_forms(some):
    net, z, x = Filter(), randn(some, 1, 4, 24, 24).float(), randn(some, 1, 3, 4, 24, 24).float()
    seen = z * net.window
    penalty = float(net.penalty.detach().exp() * seen.square().sum())
    slow = respond(filter_of(seen, net.wanted, penalty)[0], x[0] * net.window) * float(net.sharpness.detach().exp())
    shown = net(z, x)[0]
    for down, across in ((0, 0), (-6, 6), (2, -3)):
        torch.testing.assert_close(shown[:, REACH + down, REACH + across], slow[:, down, across])


def test_a_sure_response_is_told_as_a_place():
    response = torch.full((2, 3, N_SHIFTS, N_SHIFTS), -50.0)
    response[0, 1, REACH + 2, REACH - 4] = 50  # two cells down, four to the left
    response[1, 2, REACH, REACH + 4] = 50
    told = place(response)
    torch.testing.assert_close(told[0], torch.tensor([-0.5, 0.25, 0.0]))
    torch.testing.assert_close(told[1], torch.tensor([0.5 * SCALES[2], 0.0, math.log(SCALES[2])]))


def test_missed_is_one_minus_the_overlap_of_squares():
    told = torch.tensor([[0.0, 0, 0], [0.5, 0, 0], [1.5, 0, 0], [0, 0, math.log(2)], [0.1, 0.2, 0.3]])
    true = torch.zeros(5, 3)
    true[4] = told[4]
    torch.testing.assert_close(targets.missed(told, true), torch.tensor([0, 1 - 0.5 / 1.5, 1, 0.75, 0]))


def test_scores_of_a_place_are_told_as_about_that_place():
    true = labels(200)
    wanted = targets.scores(true)
    told = place(wanted)
    assert float((told - true)[:, :2].abs().max()) < 0.05
    assert float((told - true)[:, 2].abs().max()) < 0.03
    assert float(targets.missed(told, true).mean()) < 0.06
    assert float(targets.response.metric(wanted, true).max()) < 0.1  # half a cell, across and down
    at_best = targets.response.loss(wanted, true)
    other = wanted + torch.randn(wanted.shape, generator=torch.Generator().manual_seed(0))
    assert (targets.response.loss(other, true) > at_best).all()


def test_who_does_not_look_says_that_nothing_moved():
    true = labels(4000)
    told = targets.unmoved(true)
    assert told.tolist() == [0, 0, 0]
    assert 0.55 < float(targets.missed(told.expand(4000, 3), true).mean()) < 0.75


def test_the_direct_network_is_no_larger_than_is_fair():
    def n(*nets):
        return sum(p.numel() for net in nets for p in net.parameters())

    chain = n(Features(N_KINDS), Filter())
    assert n(Direct()) <= 2 * chain
    assert 9 < n(Direct((32, 64, 96), 72)) / n(Direct()) < 11


def test_every_network_can_learn_from_the_answer(some):
    exemplar, search = pictures(some, 2, EXEMPLAR_PX), pictures(some, 2, SEARCH_PX)
    torch.manual_seed(0)
    for correlate in (Plain(), Filter()):
        features = Features(N_KINDS)
        z, x, _ = features(exemplar, search)
        targets.place.loss(place(correlate(z, x)), labels(2)).sum().backward()
        assert all(float(p.grad.abs().sum()) > 0 for p in features.see.parameters())
        assert float(correlate.sharpness.grad.abs()) > 0
    direct = Direct()
    targets.place.loss(direct(exemplar, search), labels(2)).sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in direct.parameters())
