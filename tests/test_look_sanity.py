from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn

from seamwise.look.attribution import projected, target
from seamwise.look.graph import graph_of
from seamwise.look.sanity import by_depth, likeness, randomised, rank, ssim

N, SIDE_PX = 6, 24


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.pool = nn.BatchNorm2d(6), nn.MaxPool2d(2)
        self.deep = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 8, 3))
        self.last = nn.Linear(8, 3)
        self.scale = nn.Buffer(torch.linspace(1, 2, 6).view(6, 1, 1))

    def forward(self, x):
        x = self.pool(torch.relu(self.one(x)) * self.scale)
        x = torch.relu(self.norm(self.two(x)))
        return self.last(torch.relu(self.deep(x)).mean((2, 3)))


@cache
def built():
    """A network whose units answer to different edges, and pictures of squares."""
    torch.manual_seed(0)
    net = Net()
    net.norm.running_var.uniform_(0.5, 2)
    ramp = torch.arange(5.0) - 2
    for k in range(6):
        angle = torch.tensor(torch.pi * k / 6)
        net.one.weight.data[k, 0] = angle.cos() * ramp + angle.sin() * ramp[:, None]
    pictures = torch.rand(N, 1, SIDE_PX, SIDE_PX) * 0.1
    for k, (row, column) in enumerate(torch.randint(0, 12, (N, 2)).tolist()):
        pictures[k, 0, row : row + 9, column : column + 9] += 1
    return graph_of(net.eval(), (pictures,)), pictures


def test_the_top_is_randomised_and_what_lies_below_is_kept():
    graph, pictures = built()
    before = graph.values([pictures], ["relu", graph.output])
    changed = {}
    for layer in graph.layers:
        other = randomised(graph, layer, seed=1)
        changed[layer.name] = {name for name, w in graph.weights.items() if not torch.equal(w, other.weights[name])}
        for name, weight in graph.weights.items():
            torch.testing.assert_close(weight.flatten().sort().values, other.weights[name].flatten().sort().values)
        now = other.values([pictures], ["relu", graph.output])
        assert torch.equal(now["relu"], before["relu"]) is (layer.name != "one")
        assert not torch.equal(now[graph.output], before[graph.output])
    assert changed["last"] == {"last.weight", "last.bias"}
    deep = {name for name in graph.weights if name.startswith("deep.")}
    assert changed["deep"] == changed["last"] | deep
    assert changed["two"] == changed["deep"] | {"two.weight", "two.bias", "norm.running_var"}
    assert changed["one"] == changed["two"] | {"one.weight", "one.bias"}, "a constant is no weight"
    one, two = randomised(graph, graph.layers[0], seed=1), randomised(graph, graph.layers[-1], seed=1)
    assert torch.equal(one.weights["last.weight"], two.weights["last.weight"])
    other = randomised(graph, graph.layers[-1], seed=2)
    assert not torch.equal(other.weights["last.weight"], two.weights["last.weight"])


def test_maps_of_a_unit_fall_away_with_depth_and_an_edge_detector_does_not():
    graph, pictures = built()
    explained = partial(
        projected, inputs=[pictures], what=target(graph.layer("last"), [0, 1, 2] * 2), method="saliency"
    )
    found = by_depth(graph, explained, seed=3)
    assert [one.layer for one in found] == ["last", "deep", "two", "one"]
    assert all(one.n == N for one in found)
    assert found[-1].mean[0] < 0.7
    assert found[-1].mean[0] < found[0].mean[0]
    for one in by_depth(graph, lambda _: pictures.diff(dim=-1), graph.layers[:1]):
        assert one.mean == (pytest.approx(1), pytest.approx(1))
    below = by_depth(graph, partial(projected, inputs=[pictures], what=target(graph.layer("one"), [0] * N)))
    assert [round(one.mean[0], 9) for one in below[:-1]] == [1, 1, 1], "what lies behind a unit changes nothing"
    assert below[-1].mean[0] < 1


def test_likeness_in_known_cases():
    rng = np.random.default_rng(0)
    one, other = rng.random((3, 20, 20)), rng.random((3, 20, 20))
    assert rank(one, one**3) == pytest.approx(1)
    assert rank(one, -one) == pytest.approx(-1)
    assert abs(rank(one, other)) < 0.1
    assert ssim(one, one * 5) == pytest.approx(1)
    assert ssim(one, other) < 0.3
    assert ssim(one, one + 0.1 * other) > ssim(one, one + other)
    nought = torch.zeros(2, 3, 20, 20)
    nought[1] = torch.from_numpy(one)
    found = likeness("x", nought, nought)
    assert found.n == 1
    assert found.mean == (pytest.approx(1), pytest.approx(1))
    assert np.isnan(likeness("x", nought[:1], nought[:1]).mean).all()
