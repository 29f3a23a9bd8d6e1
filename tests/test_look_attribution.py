import warnings
from functools import cache

import pytest
import torch
from captum.attr import Deconvolution, GuidedBackprop, LayerGradCam, NeuronDeconvolution, Saliency
from torch import nn
from torch.nn.functional import max_pool2d, relu

from seamwise.errors import ModelError
from seamwise.look.attribution import METHODS, grad_cam, integrated_gradients, projected, target
from seamwise.look.graph import graph_of

N, HEIGHT, WIDTH = 3, 21, 24


class Net(nn.Module):
    """As AlexNet: overlapping pools, a classifier; and a residual. Its ReLUs are modules, each called once."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 6, 5, 2, 2), nn.Conv2d(6, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(4))
        self.pool, self.mean = nn.MaxPool2d(3, 2), nn.AdaptiveAvgPool2d(2)
        self.hidden, self.last = nn.Linear(32, 10), nn.Linear(10, 4)

    def forward(self, x):
        x = self.pool(self.relus[0](self.one(x)))
        x = self.relus[1](self.two(x))
        x = self.mean(self.relus[2](self.three(x) + x)).flatten(1)
        return self.last(self.relus[3](self.hidden(x)))


class Functional(Net):
    """The same in functions and in place."""

    def forward(self, x):
        x = max_pool2d(relu(self.one(x)), 3, 2)
        x = self.two(x).relu_()
        y = self.three(x)
        y += x
        x = self.mean(torch.relu_(y)).flatten(1)
        return self.last(relu(self.hidden(x), inplace=True))


@cache
def built(kind=Net):
    torch.manual_seed(0)
    net = kind().eval()
    pictures = torch.rand(N, 3, HEIGHT, WIDTH)
    return net, graph_of(net, (pictures,)), pictures


def by_captum(method, net, pictures, classes):
    kinds = {"deconvnet": Deconvolution, "guided": GuidedBackprop}
    with warnings.catch_warnings():  # of hooks, and of gradients
        warnings.simplefilter("ignore")
        if method == "saliency":
            return Saliency(net).attribute(pictures, classes, abs=False)
        return kinds[method](net).attribute(pictures, classes)


@pytest.mark.parametrize("method", METHODS)
def test_classes_as_captum_and_in_every_spelling(method):
    net, graph, pictures = built()
    classes = [3, 0, 1]
    found = projected(graph, [pictures], target(graph.layer("last"), classes), method)
    expected = by_captum(method, net, pictures.clone(), torch.tensor(classes))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    _, functional, _ = built(Functional)
    again = projected(functional, [pictures], target(functional.layer("last"), classes), method)
    torch.testing.assert_close(again, found, rtol=1e-4, atol=1e-6 * float(found.abs().max()))


def test_a_unit_at_a_position_as_captum_behind_its_relu():
    net, graph, pictures = built()
    layer = graph.layer("two")
    found = projected(graph, [pictures], target(layer, [5] * N, [2] * N, [3] * N))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = NeuronDeconvolution(net, net.relus[1]).attribute(pictures, (5, 2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    down, across = layer.patch(2, 3)
    outside = found.clone()
    outside[:, :, down, across] = 0
    assert not outside.any()
    assert found.abs().amax((1, 2, 3)).min() > 0


class Refused(nn.Module):
    """Behind one convolution each operation that has no rule, then a layer."""

    OPS = (
        ("gelu", nn.GELU()),
        ("silu", nn.SiLU()),
        ("elu", nn.ELU()),
        ("leaky_relu", nn.LeakyReLU()),
        ("sigmoid", torch.sigmoid),
        ("tanh", torch.tanh),
        ("softmax", nn.Softmax(1)),
        ("relu6|hardtanh", nn.ReLU6()),
        ("abs", torch.abs),
        ("clamp", lambda x: x.clamp(min=0)),
        ("maximum", lambda x: torch.maximum(x, 0.1 * x)),
        ("gt|mul", lambda x: x * (x > 0)),
        ("gt|where", lambda x: torch.where(x > 0, x, 0)),
    )

    def __init__(self):
        super().__init__()
        self.first, self.rest = nn.Conv2d(3, 4, 3), nn.ModuleList(nn.Conv2d(4, 2, 1) for _ in self.OPS)

    def forward(self, x):
        x = self.first(x.abs().sqrt())
        return torch.cat([after(op(x)) for after, (_, op) in zip(self.rest, self.OPS, strict=True)], 1)


def test_an_operation_without_a_rule_is_refused_and_told():
    _, graph, pictures = built(Refused)
    for k, (name, _) in enumerate(Refused.OPS):
        layer = graph.layer(f"rest.{k}")
        for method in ("deconvnet", "guided"):
            with pytest.raises(ModelError, match=f"{method} has no rule for ({name})") as caught:
                projected(graph, [pictures], target(layer, [1] * N), method)
            assert "behind first" in str(caught.value)
            assert "saliency" in str(caught.value)
        assert projected(graph, [pictures], target(layer, [1] * N), "saliency").isfinite().all()
    assert projected(graph, [pictures], target(graph.layer("first"), [1] * N)).any(), "what prepares the picture may be"


class Bytes(nn.Module):
    """Pictures of whole numbers, colours last, two to an item, and a number beside them."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(5, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, number, pictures):
        x = pictures.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        x = relu(self.norm(self.one(x - x.mean((2, 3), keepdim=True)))).mean((2, 3))
        return self.two(torch.cat([x.unflatten(0, (-1, 2)).sum(1), number[:, None]], 1)).softmax(-1)


def test_whole_numbers_colours_last_and_several_pictures_an_item():
    torch.manual_seed(0)
    pictures = torch.randint(0, 255, (N, 2, 12, 14, 3), dtype=torch.uint8)
    inputs = [torch.rand(N), pictures]
    graph = graph_of(Bytes().eval(), inputs)
    layer = graph.layer("one")
    assert (layer.repeats, graph.picture, graph.dims) == (2, 1, (-3, -2))
    for method in METHODS:
        found = projected(graph, inputs, target(layer, [0, 1, 2], [4] * N, [5] * N, [1, 0, 1]), method)
        assert found.shape == (N, 2, 3, 12, 14)
        assert found.isfinite().all()
        assert not found[[0, 1, 2], [0, 1, 0]].any(), "of another picture"
    assert found[[0, 1, 2], [1, 0, 1]].any()
    maps, error = integrated_gradients(graph, inputs, target(None, [2, 1, 0]))
    gained = graph.values(inputs, [graph.output])[graph.output]
    dark = graph.values([inputs[0], torch.zeros_like(pictures)], [graph.output])[graph.output]
    for k, unit in enumerate((2, 1, 0)):
        assert float(maps[k].sum() - error[k]) == pytest.approx(float(gained[k, unit] - dark[k, unit]), abs=1e-5)
    assert error.abs().max() < 1e-3


def test_grad_cam_as_captum():
    net, graph, pictures = built()
    classes = torch.tensor([3, 0, 1])
    for name, module in (("two", net.relus[1]), ("one", net.relus[0])):
        cam = LayerGradCam(net, module)
        expected = cam.interpolate(
            cam.attribute(pictures, classes, relu_attributions=True), (HEIGHT, WIDTH), "bilinear"
        )
        found = grad_cam(graph, [pictures], target(graph.layer("last"), classes.tolist()), graph.layer(name))
        torch.testing.assert_close(found, expected[:, 0], rtol=1e-4, atol=1e-7)
        again = grad_cam(graph, [pictures], target(None, classes.tolist()), graph.layer(name))
        torch.testing.assert_close(again, found)
    for layer, of in (("hidden", "last"), ("two", "one")):
        with pytest.raises(ModelError, match="no map that the target depends on"):
            grad_cam(graph, [pictures], target(graph.layer(of), [0] * N), graph.layer(layer))


def test_integrated_gradients_add_up(monkeypatch):
    net, graph, pictures = built()
    maps, error = integrated_gradients(graph, [pictures], target(graph.layer("last"), [3, 0, 1]), n_steps=100)
    with torch.no_grad():
        gained = (net(pictures) - net(pictures * 0))[range(N), [3, 0, 1]]
    torch.testing.assert_close(maps.sum((1, 2, 3)) - error, gained, rtol=1e-4, atol=1e-5)
    assert float((error.abs() / gained.abs()).max()) < 0.05
    monkeypatch.setattr("seamwise.look.attribution.MAX_NUMBERS", 1)
    one_by_one, _ = integrated_gradients(graph, [pictures], target(graph.layer("last"), [3, 0, 1]), n_steps=100)
    torch.testing.assert_close(one_by_one, maps, rtol=1e-4, atol=1e-7)


def test_a_unit_that_is_not_there():
    graph = built()[1]
    layer = graph.layer("two")
    for given in (([8] * N,), ([-1] * N,), ([0] * N, [99] * N), ([0] * N, [0])):
        with pytest.raises(ModelError, match=r"two: no such (unit|row)"):
            target(layer, *given)
    with pytest.raises(ModelError, match="no layer 'four'"):
        graph.layer("four")


class Rounded(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.one(x.detach())


def test_where_no_gradient_passes_that_is_told():
    _, graph, pictures = built(Rounded)
    with pytest.raises(ModelError, match="no gradient reaches the picture"):
        projected(graph, [pictures], target(graph.layer("one"), [0] * N))
