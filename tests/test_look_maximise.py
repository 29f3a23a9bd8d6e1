from functools import cache

import pytest
import torch
from torch import nn

from seamwise.errors import ModelError
from seamwise.look.graph import graph_of
from seamwise.look.maximisation import OLAH, YOSINSKI, blur, decay, decorrelated, maximise, moved, total_variation

N_UNITS = 4


class Net(nn.Module):
    """Units of the first layer are stripes of known directions; the second has no cone where `whole`."""

    def __init__(self, whole=False):
        super().__init__()
        self.one, self.two, self.whole = nn.Conv2d(3, N_UNITS, 7, padding=3), nn.Conv2d(N_UNITS, 5, 3), whole

    def forward(self, x):
        x = torch.relu(self.one(x - x.mean((1, 2, 3), keepdim=True) if self.whole else x))
        return torch.relu(self.two(torch.max_pool2d(x, 2)))


class Last(Net):
    """Bytes with colours last, and a number."""

    def forward(self, number, pictures):
        return super().forward(pictures.permute(0, 3, 1, 2).float() / 255) * number[:, None, None, None]


@cache
def built(whole=False):
    torch.manual_seed(0)
    net = Net(whole)
    ramp = torch.arange(7.0) - 3
    for k in range(N_UNITS):
        angle = torch.tensor(torch.pi * k / N_UNITS)
        net.one.weight.data[k] = torch.cos(1.5 * (angle.cos() * ramp + angle.sin() * ramp[:, None]))
        net.one.weight.data[k] -= net.one.weight.data[k].mean()
    net.one.bias.data.fill_(-1)  # silent at the start
    net.two.weight.data.abs_()
    return graph_of(net.eval(), (torch.rand(2, 3, 30, 34),))


def at_random(graph, layer, n=300):
    """The largest value of each unit at the map's middle, before its ReLU, over random pictures."""
    node = {"relu": "conv2d", "relu_1": "conv2d_1"}[layer.node]
    values = graph.values([torch.rand(n, 3, 30, 34)], [node])[node]
    return values[:, :, layer.height // 2, layer.width // 2].amax(0)


@pytest.mark.parametrize("regularisers", [(), OLAH, YOSINSKI], ids=["none", "olah", "yosinski"])
@pytest.mark.parametrize("whole", [False, True], ids=["cone", "whole"])
def test_pictures_excite_units_more_than_noise_and_random_pictures(regularisers, whole):
    graph = built(whole)
    for layer in graph.layers:
        units = list(range(layer.n_units))[::-1]
        found = maximise(graph, layer, units, regularisers=regularisers, n_steps=40, seed=1)
        assert found.pictures.shape == (len(units), 3, *((30, 34) if whole else layer.receptive_px))
        assert found.pictures.min() >= 0
        assert found.pictures.max() <= 1
        assert (found.values > found.start + 1e-3).all()
        assert (found.values > at_random(graph, layer)[units]).all()


def test_what_is_made_looks_like_the_stripes_of_the_unit():
    graph = built()
    layer, told = graph.layers[0], []
    found = maximise(graph, layer, [2, 0], n_steps=40, regularisers=[decay()], told=lambda *at: told.append(at))
    assert told[-1] == (80, 80)
    again = maximise(graph, layer, [2, 0], n_steps=40, regularisers=[decay()])
    assert torch.equal(again.pictures, found.pictures)
    for picture, unit in zip(found.pictures, (2, 0), strict=True):
        both = torch.stack([picture.flatten(), graph.weights["one.weight"][unit].flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.8


def test_regularisers_make_pictures_smoother():
    graph = built()
    layer = graph.layers[1]

    def rough(*regularisers):
        pictures = maximise(graph, layer, [0, 1], n_steps=30, regularisers=regularisers, seed=2).pictures
        return float(pictures.diff(dim=-1).abs().mean() + pictures.diff(dim=-2).abs().mean())

    plain = rough()
    for one in (blur(1.0, 1), total_variation(5.0), decorrelated(), decay(0.1)):
        assert rough(one) < plain


def test_the_network_sees_a_moved_picture_that_is_still_the_same():
    pictures = torch.rand(2, 1, 40, 40)
    random = torch.Generator().manual_seed(0)
    same = moved(0, 0, 0).view(pictures, random)
    torch.testing.assert_close(same, pictures, rtol=1e-4, atol=1e-5)
    ramp = torch.arange(40.0).expand(1, 1, 40, 40).contiguous()
    shifted = moved(3, 0, 0).view(ramp, random)[0, 0, 5:-5, 5:-5] - ramp[0, 0, 5:-5, 5:-5]
    assert 0 < shifted.abs().max() <= 3
    assert shifted.std() < 1e-4


def test_bytes_colours_last_and_other_inputs():
    torch.manual_seed(0)
    pictures = torch.randint(0, 255, (2, 30, 34, 3), dtype=torch.uint8)
    graph = graph_of(Last().eval(), (torch.rand(2), pictures))
    layer = graph.layers[1]
    found = maximise(graph, layer, [0, 3], pixels=(0, 255), n_steps=20, inputs=[torch.ones(1), pictures[:1]])
    assert found.pictures.shape == (2, 3, 30, 34)
    assert found.pictures.max() > 180
    assert (found.values > found.start).all()
    with pytest.raises(ModelError, match="takes 2 inputs"):
        maximise(graph, layer, [0])
    with pytest.raises(ModelError, match="no such unit"):
        maximise(graph, layer, [5], inputs=[torch.ones(1), pictures[:1]])
