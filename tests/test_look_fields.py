"""Receptive fields against an oracle: what is spoilt in one row (or column) of a picture shows what depends on it."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from look_nets import N_PX, NETS, opened
from torch import nn

from seamwise.look.axis import Axis
from seamwise.look.graph import graph_of

STAYS = [name for name in NETS if name not in ("resized", "centred")]
SIDES = {"rows": 0, "columns": 1}


def spoilt(graph, inputs, side, how):
    """One item for each row (or column), the same picture but for that row; and the same items unspoilt."""
    picture, dim = inputs[graph.picture], graph.dims[side] + inputs[graph.picture].ndim
    n = picture.shape[dim]
    same = [t[:1].expand(n, *t.shape[1:]) for t in inputs]
    rows = torch.arange(n)
    there = picture[:1].expand(n, *picture.shape[1:]).clone().movedim(dim, 1)
    there[rows, rows] = how(there[rows, rows])
    changed = [there.movedim(1, dim) if k == graph.picture else t for k, t in enumerate(same)]
    return changed, same


def reached(graph, inputs, side, how=None, swap=None):
    """{operation: [positions, rows], whether what is spoilt in a row comes out there}: NaN, or else a change."""
    changed, same = spoilt(graph, inputs, side, how or (lambda x: x * math.nan))
    found = graph.values(changed, graph.axes, swap)
    was = graph.values(same, graph.axes, swap) if how else {}
    shown = {}
    for name, value in found.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            differs = value != was[name] if how else value.isnan()
            differs = differs.reshape(len(changed[0]), -1, *value.shape[1:])
            dim = graph.axes[name][side].dim
            at = differs.flatten(1).any(1)[None] if dim is None else differs.movedim(dim, 0).flatten(2).any(2)
            shown[name] = at.numpy()
    return shown


def assert_exact(axes, side, shown, name):
    """Nothing outside of an interval, and its first and last row reach the position, if any column of it is read."""
    axis, n = axes[side], shown.shape[1]
    assert len(axis.first) == len(shown), name
    assert not (shown & ((np.arange(n) < axis.first[:, None]) | (np.arange(n) > axis.last[:, None]))).any(), name
    some = np.flatnonzero(axis.first <= axis.last)
    if axis.exact and (axes[1 - side].first <= axes[1 - side].last).any():
        assert shown[some, axis.first[some]].all(), name
        assert shown[some, axis.last[some]].all(), name


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", STAYS)
def test_nan_in_a_row_reaches_exactly_the_positions_whose_interval_holds_it(name, side):
    _, inputs, graph = opened(name)
    shown = reached(graph, inputs, SIDES[side])
    assert len(shown) >= 4
    for node, found in shown.items():
        axis = graph.axes[node][SIDES[side]]
        assert axis.exact or name == "unknown", node
        assert not axis.whole, node
        assert_exact(graph.axes[node], SIDES[side], found, node)


@pytest.mark.parametrize("side", SIDES)
def test_interpolation_reads_what_it_weighs(side):
    """A change instead of NaN: a neighbour of weight nought is read, and nought times NaN is NaN."""
    _, inputs, graph = opened("resized")
    for node, found in reached(graph, inputs, SIDES[side], lambda x: x + torch.rand_like(x)).items():
        assert graph.axes[node][SIDES[side]].exact, node
        assert_exact(graph.axes[node], SIDES[side], found, node)


@pytest.mark.parametrize("side", SIDES)
def test_numbers_of_the_whole_picture_are_told_and_left_out(side):
    _, inputs, graph = opened("centred")
    k = SIDES[side]
    whole = {node for node, axes in graph.axes.items() if axes[k].whole and axes[k].dim is not None}
    shown = reached(graph, inputs, k)
    expected = {"batch_norm": 1, "group_norm": 1, "instance_norm": 1, "layer_norm": 1 + k, "sub": 2, "mul": 2}
    expected |= {"cat": 3, "avg_pool": 3} | ({"softmax": 1} if side == "rows" else {})
    assert Counter(node.partition("2d")[0].rstrip("_0123456789") for node in whole) == expected
    for node in whole:
        assert shown[node].all(), node


def without_nan(operation):
    return lambda x, *args, **kwargs: operation(x.nan_to_num(), *args, **kwargs)


@pytest.mark.parametrize("side", SIDES)
def test_beside_numbers_of_the_whole_picture_the_rest_stays_local(side):
    """The same network without its norms, and with means that NaN does not reach."""
    _, inputs, graph = opened("centred")
    k = SIDES[side]
    swap = {name: lambda x, *_: x for name in ("batch_norm", "group_norm", "instance_norm", "layer_norm", "softmax")}
    swap |= {"mean": without_nan(torch.ops.aten.mean), "adaptive_avg_pool2d": without_nan(F.adaptive_avg_pool2d)}
    maps = {node for node, axes in graph.axes.items() if axes[k].dim is not None and len(axes[k].first) == N_PX}
    shown = reached(graph, inputs, k, swap=swap)
    assert maps <= set(shown)
    for node in maps:
        assert_exact(graph.axes[node], k, shown[node], node)


def test_what_is_not_known_depends_on_everything():
    _, _, graph = opened("unknown")
    ops = ("roll", "cumsum", "im2col", "index", "matmul", "scaled_dot_product_attention")
    for axis in (axis for op in ops for axis in graph.axes[op]):
        assert (axis.exact, axis.first.tolist(), axis.last.tolist()) == (False, [0], [N_PX - 1])
    assert not graph.axes["select_scatter"][0].exact


def test_a_layer_behind_what_is_not_known_says_so():
    class Rolled(nn.Sequential):
        def forward(self, x):
            return self[1](self[0](x).roll(1, 3))

    first, second = graph_of(Rolled(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)).eval(), (torch.rand(2, 1, 9, 9),)).layers
    assert (first.exact, first.is_map, first.receptive_px) == (True, True, (3, 3))
    assert (second.exact, second.is_map, second.receptive_px) == (False, False, (9, 9))
    assert second.patch(0, 0) == (slice(0, 9), slice(0, 9))


def test_the_fields_of_vgg_16_are_the_published_ones():
    """Araujo et al. 2019, table 2: 212 px behind the last pool, 32 px apart."""
    layers = []
    for n_convolutions in (2, 2, 3, 3, 3):
        for _ in range(n_convolutions):
            layers += [nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    graph = graph_of(nn.Sequential(*layers, nn.Conv2d(1, 1, 1)).eval(), (torch.rand(2, 1, 416, 448),))
    sizes = [layer.receptive_px[0] for layer in graph.layers]
    assert sizes == [3, 5, 10, 14, 24, 32, 40, 60, 76, 92, 132, 164, 196, 212]
    assert [layer.jump_px for layer in graph.layers[::4]] == [(1, 1), (4, 4), (8, 8), (16, 16)]
    assert graph.layers[-1].jump_px == (32, 32)


def test_a_patch_is_cut_at_the_edge_and_its_slices_hold_the_interval():
    _, _, graph = opened("padded")
    layer = graph.layer("parts.0")
    assert layer.receptive_px == (6, 6)
    assert layer.patch(0, 0) == (slice(0, 3), slice(0, 4))
    assert layer.patch(5, 5) == (slice(2, 8), slice(3, 9))
    assert layer.jump_px == (1, 1)


def test_how_far_apart_fields_lie_is_the_stride_whatever_happens_at_the_edge():
    padded, convolved, resized = (opened(name)[2] for name in ("padded", "convolved", "resized"))
    assert {layer.jump_px for layer in padded.layers} == {(1, 1)}
    assert {axes[0].step_px for axes in padded.axes.values()} == {1}
    steps = {layer.name: layer.jump_px for layer in convolved.layers}
    expected = {"stem": (1, 2), "parts.0": (2, 4), "parts.1": (3, 6), "parts.9.short": (2, 4)}
    expected |= {"parts.6": (1 / 2, 1), "parts.7": (1 / 3, 1)}
    assert {name: steps[name] for name in expected} == expected
    sizes = {"upsample_nearest2d_1": (1 / 0.6, 1 / 1.7), "upsample_bilinear2d_4": (12 / 5, 12 / 23)}
    sizes |= {"upsample_bilinear2d_5": (11 / 4, 11 / 22), "upsample_bicubic2d_4": (12 / 5, 12 / 23)}
    for node, steps in sizes.items():
        assert [axis.step_px for axis in resized.axes[node]] == pytest.approx(steps)


def test_positions_that_depend_on_nothing_have_no_size():
    """A 1x1 convolution with padding."""
    _, _, graph = opened("padded")
    edge = graph.layer("parts.10")
    top, left = edge.patch(0, 3)
    assert (edge.height, edge.receptive_px, edge.jump_px) == (N_PX + 2, (3, 3), (1, 1))
    assert (len(range(N_PX)[top]), left) == (0, slice(1, 4))
    assert Axis(-2, np.array([9, 0, 9]), np.array([-1, 2, -1])).size_px == 3


SMALL, SIZES = st.integers(1, 3), st.integers(1, 4)
CONVOLVED = st.builds(
    lambda kernel, stride, pad, dilation, mode: nn.Conv2d(2, 2, kernel, stride, pad, dilation, padding_mode=mode),
    st.tuples(SIZES, SIZES), SMALL, st.integers(0, 2), SMALL,
    st.sampled_from(("zeros", "reflect", "replicate", "circular")),
)  # fmt: skip
TRANSPOSED = st.builds(
    lambda kernel, stride, pad, more: nn.ConvTranspose2d(2, 2, kernel, stride, pad, min(more, stride - 1)),
    st.tuples(SIZES, SIZES), SMALL, st.integers(0, 1), st.integers(0, 2),
)  # fmt: skip
MOST = st.builds(
    lambda kernel, stride, ceil, dilation: nn.MaxPool2d(kernel, stride, kernel // 2, dilation, ceil_mode=ceil),
    SIZES, SMALL, st.booleans(), st.integers(1, 2),
)  # fmt: skip
MEAN = st.builds(
    lambda kernel, stride, ceil: nn.AvgPool2d(kernel, stride, kernel // 2, ceil), SIZES, SMALL, st.booleans()
)
GRID = st.builds(nn.AdaptiveAvgPool2d, st.tuples(st.integers(2, 9), st.integers(2, 9)))
RESIZED = st.builds(nn.Upsample, scale_factor=st.floats(0.5, 3), mode=st.sampled_from(("nearest", "nearest-exact")))
RESIZED |= st.builds(
    nn.Upsample, size=st.tuples(SIZES, st.integers(3, 20)), mode=st.just("bilinear"), align_corners=st.booleans()
)
RESIZED |= st.builds(nn.Upsample, scale_factor=st.floats(0.5, 3), mode=st.just("bilinear"), align_corners=st.booleans())
PADDED = st.builds(nn.ZeroPad2d, st.tuples(*[st.integers(-1, 2)] * 4))
ANY = st.lists(CONVOLVED | TRANSPOSED | MOST | MEAN | GRID | RESIZED | PADDED, min_size=2, max_size=5)


def fitting(parts, n_px=(11, 14)):
    """Those of the layers that can follow one another, between two convolutions; all weights above nought."""
    x, kept = torch.rand(2, 2, *n_px), []
    for part in [nn.Conv2d(2, 2, 2), nn.ReLU(), *parts, nn.Conv2d(2, 1, 1)]:
        try:
            y = part(x)
        except RuntimeError:
            continue
        if 0 < y.numel() < 20_000:
            x, kept = y, [*kept, part]
    net = nn.Sequential(*kept).double().eval()
    for weight in net.parameters():
        weight.data.abs_().add_(0.1)
    return net, torch.rand(2, 2, *n_px, dtype=torch.float64)


@settings(max_examples=12, deadline=None)
@given(ANY)
def test_any_sequence_of_layers_has_exact_fields(parts):
    """With weights above nought, what is made much larger in one row shows wherever anything hangs on it."""
    net, picture = fitting(parts)
    graph = graph_of(net, (picture,))
    for side in SIDES.values():
        for node, found in reached(graph, (picture,), side, lambda x: x + 1e9).items():
            assert graph.axes[node][side].exact
            assert_exact(graph.axes[node], side, found, f"{node} of {net}")


def test_a_matrix_that_is_known_reads_what_it_does_not_hold_as_0():
    """Resizing and blur are often written so; its rows say exactly which rows of the picture are read."""
    down = torch.zeros(5, 12)
    for k in range(5):
        down[k, 2 * k : 2 * k + 3] = 1 / 3

    class Resized(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("down", down)
            self.seen = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.seen(self.down @ x @ (self.down * 2).T)

    (layer,) = graph_of(Resized().eval(), [torch.rand(2, 3, 12, 12)]).layers
    for axis in (layer.rows, layer.columns):
        assert axis.first.tolist() == [0, 2, 4, 6, 8]
        assert axis.last.tolist() == [2, 4, 6, 8, 10]
        assert axis.exact
