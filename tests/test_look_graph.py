"""A network taken apart: it still gives what it gave, its layers end where they should, and refusals say why."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from look_nets import NETS, Bytes, Fixed, opened
from torch import nn

from seamwise.errors import ModelError
from seamwise.look.graph import graph_of


@pytest.mark.parametrize("name", NETS)
def test_a_graph_gives_what_its_network_gives_for_any_number_of_items(name):
    module, inputs, graph = opened(name)
    assert graph.batch is None
    for n_items in (1, len(inputs[0]), 5):
        items = [torch.rand(n_items, *t.shape[1:], dtype=t.dtype) for t in inputs]
        with torch.no_grad():
            expected = module(*items)
        torch.testing.assert_close(graph.values(items, [graph.output])[graph.output], expected, rtol=1e-12, atol=1e-12)


def test_nothing_in_a_graph_keeps_gradients_of_its_weights_but_pictures_get_theirs():
    _, (picture,), graph = opened("functional")
    picture = picture.clone().requires_grad_()
    graph.values([picture], [graph.output])[graph.output].sum().backward()
    assert picture.grad.abs().sum() > 0
    assert not any(weight.requires_grad for weight in graph.weights.values())


def test_a_network_for_one_number_of_items_is_filled_up_and_cut():
    net = Fixed().eval()
    graph = graph_of(net, (torch.rand(3, 3, 8, 8),))
    assert graph.batch == 3
    items = torch.rand(7, 3, 8, 8)
    with torch.no_grad():
        expected = torch.cat([net(items[k : k + 3]) for k in (0, 3)] + [net(items[[6, 6, 6]])[:1]])
    for n_items in (1, 2, 3, 7):
        found = graph.values([items[:n_items]], [graph.output, graph.layers[0].node])
        torch.testing.assert_close(found[graph.output], expected[:n_items])
        assert len(found[graph.layers[0].node]) == n_items


def test_no_operation_runs_after_the_last_that_is_wanted():
    _, (picture,), graph = opened("functional")

    def never(*_, **__):
        raise AssertionError("ran")

    wanted = graph.layers[0].node
    assert graph.values([picture], [wanted], swap={"gelu": never, "max_pool2d": never})[wanted].min() == 0
    assert torch.equal(graph.values([picture], [graph.inputs[0]])[graph.inputs[0]], picture)
    with pytest.raises(AssertionError, match="ran"):
        graph.values([picture], [graph.output], swap={"gelu": never})


def test_tensors_are_let_go_when_nothing_needs_them():
    _, (picture,), graph = opened("functional")
    first, last = graph.layers[0].node, graph.output
    refs, left = [], []
    wanted = {first: lambda t: refs.append(weakref.ref(t)), last: lambda _: left.append(refs[0]())}
    with torch.no_grad():
        graph.read([picture], wanted)
    assert left == [None]


def test_operations_are_swapped_and_weights_replaced():
    module, (picture,), graph = opened("functional")
    start, end = graph.layers[0].start, graph.layers[0].node
    found = graph.values([picture], [start, end], swap={"relu": lambda x: -x})
    assert torch.equal(found[end], -found[start])
    changed = graph.with_weights({"bias": graph.weights["bias"] + 3})
    torch.testing.assert_close(changed.values([picture], [start])[start], found[start] + 3)
    assert torch.equal(graph.weights["bias"], module.bias)
    assert set(dict(module.named_parameters())) <= set(graph.weights)


class Ends(nn.Module):
    """Layers with all that may stand behind them."""

    def __init__(self):
        super().__init__()
        convs = [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 3)]
        self.block = nn.ModuleList(convs)
        self.norm, self.group, self.bend, self.drop = nn.BatchNorm2d(4), nn.GroupNorm(2, 6), nn.PReLU(), nn.Dropout(0.5)
        self.up = nn.ConvTranspose2d(4, 8, 2, 2, groups=2)
        self.deep = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 5, 1))
        self.name = nn.Linear(5, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.block[0](x)), inplace=True)
        x = self.drop(F.gelu(self.group(self.block[1](x))))
        x = self.block[2](x)
        x = x * x.sigmoid()
        x = F.max_pool2d(self.block[3](x), 2).relu()
        x = self.bend(self.up(x))
        return F.hardswish(self.name(self.drop(self.deep(x)).mean((2, 3))))


def test_layers_end_behind_norm_and_activation_and_are_named_as_in_the_state_dict():
    module = Ends().eval()
    graph = graph_of(module, (torch.rand(2, 3, 16, 18),))
    told = [
        (layer.name, layer.kind, layer.n_units, layer.height, layer.width, layer.activation) for layer in graph.layers
    ]
    assert told == [
        ("block.0", "convolution", 4, 14, 16, "relu"),
        ("block.1", "convolution", 6, 12, 14, "gelu"),
        ("block.2", "convolution", 6, 12, 14, ""),  # x * sigmoid(x): what stands behind reads it twice
        ("block.3", "convolution", 4, 10, 12, ""),  # a pool comes first
        ("up", "transposed", 8, 10, 12, "prelu"),
        ("deep", "convolution", 5, 10, 12, ""),
        ("name", "linear", 3, 1, 1, "hardswish"),
    ]
    modules = dict(module.named_modules())
    assert all(layer.name in modules for layer in graph.layers)
    shapes = {
        layer.name: graph.values([torch.rand(2, 3, 16, 18)], [layer.node])[layer.node].shape for layer in graph.layers
    }
    assert all(shapes[name][1:] == (n, *size) for name, kind, n, *size, _ in told if kind != "linear")
    assert [layer.whole for layer in graph.layers] == [False, True, True, True, True, True, True]


def test_layers_without_a_module_and_those_that_run_again_have_names_of_their_own():
    names = {
        name: [layer.name for layer in opened(name)[2].layers] for name in ("functional", "twice", "digits", "lines")
    }
    assert names["functional"] == ["conv2d", "deep"]
    assert names["twice"] == ["see", "see@1", "see@2", "join"]
    assert names["lines"] == ["a", "b", "up"]
    assert [layer.n_units for layer in opened("lines")[2].layers] == [4, 3, 5]
    assert opened("twice")[2].layer("see@2").receptive_px == (5, 5)
    with pytest.raises(ModelError, match="no layer 'see@3'") as told:
        opened("twice")[2].layer("see@3")
    assert "see, see@1, see@2, join" in str(told.value)


def test_pictures_seen_as_several_items_are_counted():
    layers = opened("digits")[2].layers
    assert [layer.repeats for layer in layers] == [2, 2]
    assert [layer.repeats for layer in opened("twice")[2].layers] == [1, 1, 1, 1]


def test_the_picture_is_found_among_the_inputs_and_its_colours_last():
    _, _, graph = opened("bytes")
    assert (graph.picture, graph.dims, graph.shape) == (1, (-3, -2), (12, 14, 3))
    assert [layer.name for layer in graph.layers] == ["see", "name"]  # not "weigh": it sees the number alone
    assert (graph.layers[0].height, graph.layers[0].width, graph.layers[0].receptive_px) == (6, 7, (3, 3))


def test_a_picture_of_bytes_gives_what_it_gave():
    net, items = Bytes().eval(), (torch.rand(2), torch.randint(0, 256, (2, 12, 14, 3), dtype=torch.uint8))
    graph = graph_of(net, items)
    with torch.no_grad():
        assert torch.equal(graph.values(items, [graph.output])[graph.output], net(*items))


def test_several_outputs_and_inputs_in_a_row():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.see = nn.Conv2d(1, 2, 3)

        def forward(self, *inputs):
            seen = self.see(inputs[0])
            return {"map": seen, "sum": seen.sum((1, 2, 3)) + inputs[1]}

    net, items = Several().eval(), (torch.rand(2, 1, 6, 6), torch.rand(2))
    graph = graph_of(net, items)
    assert torch.equal(graph.values(items, [graph.output])[graph.output], net(*items)["map"])


class Deciding(nn.Module):
    def __init__(self):
        super().__init__()
        self.see = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.see(x) if x.sum() > 0 else self.see(-x)


class Outside(Deciding):
    def forward(self, x):
        return torch.from_numpy(self.see(x).numpy())


class Broken(Deciding):
    def forward(self, x):
        raise KeyError("colour")


def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(300, 4))


PICTURE = (2, 3, 10, 10)
REFUSED = {
    "training": (lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout()).train(), PICTURE, "training mode", ".eval()"),
    "half": (lambda: nn.Conv2d(3, 2, 3).half(), PICTURE, "half precision", ".float()"),
    "bfloat16": (lambda: nn.Conv2d(3, 2, 3).bfloat16(), PICTURE, "half precision", "weight: torch.bfloat16"),
    "no convolution": (flat, PICTURE, "no convolution that sees the picture", "--text"),
    "decides": (Deciding, PICTURE, "Deciding: takes another way for other pictures", "a network of its own"),
    "leaves torch": (Outside, PICTURE, "Outside: cannot be taken apart by torch.export", "given"),
    "raises": (Broken, PICTURE, "Broken: cannot be run on inputs of (2, 3, 10, 10)", "KeyError: 'colour'"),
    "wrong colours": (lambda: nn.Conv2d(4, 2, 3), PICTURE, "cannot be run on inputs of", "--size"),
    "wrong size": (lambda: nn.Sequential(nn.Conv2d(3, 2, 3), *flat()), PICTURE, "cannot be run on inputs of", "--size"),
    "no picture": (lambda: nn.Linear(4, 2), (2, 4), "no input is a picture", "[batch, colours, height, width]"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_looked_into_is_refused_with_the_reason(why):
    make, shape, what, more = REFUSED[why]
    module = make() if why == "training" else make().eval()
    with pytest.raises(ModelError) as told:
        graph_of(module, (torch.rand(shape),))
    assert all(part in str(told.value) for part in (what, more))


class Doubled(nn.Module):
    """The picture and its mirror image, part after part in one batch; then one item at a time, by itself."""

    def __init__(self):
        super().__init__()
        self.both, self.one = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)

    def forward(self, x):
        halves = self.both(torch.cat([x, x.flip(-1)])).mean((1, 2, 3)).view(2, -1)
        return halves.sum(0) + self.one(x).mean((1, 2, 3))


def test_layers_whose_rows_do_not_go_item_by_item_are_left_out():
    graph = graph_of(Doubled().eval(), [torch.rand(3, 1, 8, 8)])
    assert [layer.name for layer in graph.layers] == ["one"]
    assert graph.dropped == ("both",)


class Mixed(nn.Sequential):
    def forward(self, x):
        return self[0](x - x.mean(0))


def test_a_network_that_mixes_the_items_of_a_batch_is_refused():
    with pytest.raises(ModelError, match="mix the items"):
        graph_of(Mixed(nn.Conv2d(1, 2, 3)).eval(), [torch.rand(3, 1, 8, 8)])


class Chance(nn.Sequential):
    def forward(self, x):
        return torch.nn.functional.dropout(self[0](x))


def test_dropout_that_is_always_on_is_refused():
    with pytest.raises(ModelError, match="at random"):
        graph_of(Chance(nn.Conv2d(1, 2, 3)).eval(), [torch.rand(3, 1, 8, 8)])
