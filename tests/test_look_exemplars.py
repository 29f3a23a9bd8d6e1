"""The nine patches that excite each unit most: against storing everything and sorting, ties, dead units, samples."""

import numpy as np
import pytest
import torch
from torch import nn

from seamwise.look.graph import graph_of
from seamwise.look.patches import N_SAMPLES, exemplars

SIDE = 14


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(64, 3)
    )
    with torch.no_grad():
        net[0].weight[2] = 0
        net[0].bias[2] = -1  # never answers
        net[3].weight[1] = 0  # always answers alike
    return net.eval()


@pytest.fixture(scope="module")
def graph(net):
    return graph_of(net, [torch.rand(2, 3, SIDE, SIDE)])


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(70, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def in_batches(pictures, size):
    return [[batch] for batch in pictures.split(size)]


def stored_and_sorted(maps, n):
    """The slow and obvious way: everything is kept, then sorted stably."""
    best, place = maps.flatten(2).max(2)
    value, picture = best.T.sort(dim=1, descending=True, stable=True)
    return value[:, :n], picture[:, :n], place.T.gather(1, picture[:, :n])


def test_equal_to_sorting_everything(net, graph, pictures):
    found = exemplars(graph, in_batches(pictures, 16))
    with torch.no_grad():
        first = net[1](net[0](pictures))
        maps = [first, net[3](net[2](first)), net(pictures)[..., None, None]]
    for told, own in zip(found, maps, strict=True):
        value, picture, place = stored_and_sorted(own, 9)
        assert torch.allclose(torch.tensor(told.value), value, atol=1e-6)
        alive = ~told.dead
        assert (told.picture[alive] == picture.numpy()[alive]).all()
        assert (told.row * own.shape[-1] + told.column)[alive].tolist() == place.numpy()[alive].tolist()
        assert told.n_pictures == 70


def test_batches_of_any_size_say_the_same(graph, pictures):
    one, other = (exemplars(graph, in_batches(pictures, size)) for size in (1, 33))
    for a, b in zip(one, other, strict=True):
        assert np.allclose(a.value, b.value, atol=1e-6)
        assert (a.picture[~a.dead] == b.picture[~a.dead]).all()
        assert (a.sampled_picture == b.sampled_picture).all()


def test_of_equal_values_the_earlier_comes_first(graph, pictures):
    twice = torch.cat([pictures[:10]] * 3)
    (first, *_) = exemplars(graph, in_batches(twice, 7), n_places=3)
    top = first.picture[~first.dead]
    assert (top[:, 0] < 10).all()
    assert (top[:, 1] == top[:, 0] + 10).all()
    assert (top[:, 2] == top[:, 0] + 20).all()


def test_equal_places_of_one_picture_are_the_first_one():
    net = nn.Sequential(nn.Conv2d(1, 1, 1)).eval()
    (found,) = exemplars(graph_of(net, [torch.rand(2, 1, 4, 4)]), [[torch.ones(3, 1, 4, 4)]])
    assert found.row[0, :3].tolist() == found.column[0, :3].tolist() == [0, 0, 0]
    assert found.picture[0].tolist() == [0, 1, 2, -1, -1, -1, -1, -1, -1]
    assert np.isneginf(found.value[0, 3:]).all()


def test_dead_units_are_marked(graph, pictures):
    first, second, last = exemplars(graph, in_batches(pictures, 16))
    assert first.dead.tolist() == [False, False, True, False, False]
    assert second.dead.tolist() == [False, True, False, False]
    assert not last.dead.any()


def test_several_places_of_a_picture(net, graph, pictures):
    told = exemplars(graph, in_batches(pictures[:4], 2), a_picture=3)[0]
    with torch.no_grad():
        maps = net[1](net[0](pictures[:4])).flatten(2)
    three = maps.sort(dim=2, descending=True, stable=True).values[..., :3].permute(1, 0, 2).flatten(1)
    expected = three.sort(dim=1, descending=True, stable=True).values[:, :9]
    assert np.allclose(told.value, expected.numpy(), atol=1e-6)
    assert np.bincount(told.picture[0]).max() == 3


def test_samples_are_drawn_evenly(graph, pictures):
    counts = np.zeros(70)
    for seed in range(40):
        drawn = exemplars(graph, in_batches(pictures, 35), [graph.layers[2]], seed=seed)[0].sampled_picture
        assert len(set(drawn.tolist())) == len(drawn) == N_SAMPLES
        counts[drawn] += 1
    expected = 40 * N_SAMPLES / 70
    assert abs(counts[:35].mean() - expected) < 2.5
    assert abs(counts[35:].mean() - expected) < 2.5


def test_samples_hold_each_units_own_value_and_place(net, graph, pictures):
    told = exemplars(graph, in_batches(pictures, 16))[0]
    with torch.no_grad():
        value, place = net[1](net[0](pictures)).flatten(2).max(2)
    assert np.allclose(told.sampled_value, value[told.sampled_picture].numpy().T, atol=1e-6)
    own = place[told.sampled_picture].numpy().T
    assert (told.sampled_row * 12 + told.sampled_column == own).all()
    order = told.by_quantile(0)
    values = told.sampled_value[0][order]
    assert (np.diff(values) <= 0).all()


def test_a_picture_that_gives_no_numbers_excites_nothing(graph, pictures):
    broken = pictures.clone()
    broken[3] = torch.nan
    for told in exemplars(graph, in_batches(broken, 16)):
        assert 3 not in told.picture[~told.dead]
        assert np.isfinite(told.value[~told.dead]).all()


def test_what_is_watched_is_each_pictures_largest(net, graph, pictures):
    seen = []
    exemplars(
        graph, in_batches(pictures, 32), [graph.layers[0]], watch=lambda layer, best, first: seen.append((first, best))
    )
    assert [first for first, _ in seen] == [0, 32, 64]
    with torch.no_grad():
        assert torch.allclose(torch.cat([b for _, b in seen]), net[1](net[0](pictures)).amax((2, 3)), atol=1e-6)


def test_one_picture_alone_leaves_no_unit_dead():
    net = nn.Sequential(nn.Conv2d(1, 2, 3)).eval()
    (found,) = exemplars(graph_of(net, [torch.rand(2, 1, 6, 6)]), [[torch.rand(1, 1, 6, 6)]])
    assert not found.dead.any()
