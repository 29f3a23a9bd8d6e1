from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, gelu, max_pool2d, relu

from seamwise.errors import ModelError
from seamwise.look.attribution import METHODS, projected, target
from seamwise.look.cones import cone_of, projections
from seamwise.look.graph import graph_of
from seamwise.look.records import Exemplars

N_PICTURES, N_PLACES = 4, 3


class Padded(nn.Module):
    """Strides, dilation, groups, padding of two numbers, overlapping pools with padding and with ceil_mode."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 6, (5, 3), stride=(2, 1), padding=(2, 1))
        self.two = nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=3, bias=False)
        self.three = nn.Conv2d(6, 8, (2, 3), padding="same", dilation=2)
        self.four = nn.Conv2d(8, 4, 3)

    def forward(self, x):
        x = max_pool2d(relu(self.one(x)), 3, 2, ceil_mode=True)
        x = max_pool2d(relu(self.two(x)), 3, 1, 1)
        return relu(self.four(avg_pool2d(relu(self.three(x)), 2, 1, 1)))


class Residual(nn.Module):
    """Branches of different depth, added and set side by side; batch normalisation; in-place ReLU; a scaled picture."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.deep = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.deeper, self.short = nn.Conv2d(4, 4, 5, padding=2), nn.Conv2d(4, 4, 1, 2)
        self.last = nn.Conv2d(8, 5, 3, padding=1)
        self.mean = nn.Parameter(torch.rand(3, 1, 1))

    def forward(self, x):
        x = self.stem((x / 255 - self.mean) * 2)
        deep = self.deep(x)
        x = torch.cat([relu(self.deeper(deep) + self.short(x)), deep], 1)
        return relu(self.last(x))


class Even(nn.Module):
    """A weight that is made of others, a GELU, a network that has no cone from its second convolution on."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = gelu(conv2d(x, self.first.weight * 2 + 1, self.first.bias, padding=1))
        return self.second(x - x.mean((2, 3), keepdim=True))


@cache
def taken_apart(kind, height=19, width=22):
    torch.manual_seed(0)
    net = kind()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(), part.running_var.uniform_(0.5, 2), part.weight.data.normal_()
    return graph_of(net.double().eval(), (torch.rand(2, 3, height, width, dtype=torch.float64),))


def places(layer, seed=0):
    """Exemplars at the corners of the map and at random, one of them missing."""
    rng = np.random.default_rng(seed)
    shape = layer.n_units, N_PLACES
    row, column = rng.integers(layer.height, size=shape), rng.integers(layer.width, size=shape)
    row[:3, 0], column[:3, 0] = [0, layer.height - 1, 0], [0, layer.width - 1, layer.width - 1]
    picture = rng.integers(N_PICTURES, size=shape)
    picture[-1, -1] = -1
    none = np.zeros((layer.n_units, 0))
    dead = np.zeros(layer.n_units, bool)
    whole = none.astype(int)
    value = np.ones(shape)
    return Exemplars(layer, value, picture, row, column, dead, none, np.zeros(0, int), whole, whole, N_PICTURES)


def by_whole_pictures(graph, pictures, found, method):
    layer = found.layer
    for u, p in np.argwhere(found.picture >= 0).tolist():
        row, column = int(found.row[u, p]), int(found.column[u, p])
        what = target(layer, [u], [row], [column])
        whole = projected(graph, [pictures[found.picture[u, p], None]], what, method)[0].numpy()
        down, across = layer.patch(row, column)
        assert np.abs(whole).sum() == pytest.approx(np.abs(whole[:, down, across]).sum())
        yield u, p, whole[:, down, across]


@pytest.mark.parametrize("net", [Padded, Residual])
@pytest.mark.parametrize("method", METHODS)
def test_a_cone_gives_what_whole_pictures_give(net, method):
    graph = taken_apart(net)
    pictures = torch.rand(N_PICTURES, 3, 19, 22, dtype=torch.float64) * (255 if net is Residual else 1)
    for layer in graph.layers:
        assert cone_of(graph, layer) is not None
        found = places(layer)
        maps = dict(projections(graph, lambda numbers: [pictures[list(numbers)]], found, method))
        assert list(maps) == list(range(layer.n_units))
        assert maps[layer.n_units - 1][-1] is None
        for u, p, expected in by_whole_pictures(graph, pictures, found, method):
            assert maps[u][p].shape == expected.shape
            np.testing.assert_allclose(maps[u][p], expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
            assert np.abs(expected).max() > 0 or method != "deconvnet"


def test_where_there_is_no_cone_whole_pictures_are_run():
    graph = taken_apart(Even)
    pictures = torch.rand(N_PICTURES, 3, 19, 22, dtype=torch.float64)
    first, second = graph.layers

    def inputs_of(numbers):
        return [pictures[list(numbers)]]

    def tell(told, done, of):
        told.append((done, of))

    assert cone_of(graph, first) is not None
    assert cone_of(graph, second) is None
    for layer in graph.layers:
        found, told = places(layer), []
        maps = dict(projections(graph, inputs_of, found, "saliency", units=[0, 3], told=partial(tell, told)))
        assert list(maps) == [0, 3]
        assert told[-1] == (5, 5)
        if layer is first:
            for u, p, expected in by_whole_pictures(graph, pictures, found, "saliency"):
                if u in maps:
                    np.testing.assert_allclose(maps[u][p], expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(ModelError, match="no rule for gelu"):
        next(projections(graph, inputs_of, places(first)))


class Pairs(nn.Module):
    """Two pictures an item."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 4, 3, padding=1)

    def forward(self, x):
        return max_pool2d(relu(self.one(x.flatten(0, 1)[:, None])), 2).unflatten(0, (-1, 2))


def test_of_several_pictures_an_item_each_has_its_own():
    torch.manual_seed(0)
    pictures = torch.rand(2, 2, 9, 11, dtype=torch.float64)
    graph = graph_of(Pairs().double().eval(), (pictures,))
    layer = graph.layers[0]
    found = places(layer)
    maps = dict(projections(graph, lambda numbers: [pictures[torch.tensor(numbers) // 2]], found))
    for u, p in np.argwhere(found.picture >= 0).tolist():
        item, part = divmod(int(found.picture[u, p]), 2)
        row, column = int(found.row[u, p]), int(found.column[u, p])
        whole = projected(graph, [pictures[item, None]], target(layer, [u], [row], [column], [part]))[0].numpy()
        down, across = layer.patch(row, column)
        assert maps[u][p].shape == (1, down.stop - down.start, across.stop - across.start)
        np.testing.assert_allclose(maps[u][p][0], whole[part, down, across], rtol=1e-9)
