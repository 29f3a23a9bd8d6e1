"""Receptive fields: which rows and columns of the picture each position of a map depends on, exactly, op by op."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch.fx import Node
from torch.nn.functional import interpolate

from seamwise.look.axis import NOWHERE, Axes, Axis, union
from seamwise.shapes import Int, NDArray, Tensor


def axes_after(node: Node, known: dict[Node, Axes]) -> Axes | None:
    """What the output of an operation depends on, by what its inputs do; None where it does not depend on the picture.

    Source: Araujo et al. 2019, Computing receptive fields of convolutional neural networks. Differs: an interval for
    every position instead of one size and stride, so that edges, residuals and resizing come out right.
    """
    inputs = [n for n in node.all_input_nodes if n in known]
    if not inputs or operation(node) in CONSTANT:
        return None
    rule = RULES.get(operation(node))
    if rule is None:
        return unknown(node, [known[n] for n in inputs])
    return rule(node, known)


def unknown(node: Node, found: Sequence[Axes]) -> Axes:
    """Everything depends on everything that went in."""
    together = [union([a[k].all_of(None, exact=False) for a in found]) for k in range(2)]
    return together[0], together[1]


def operation(node: Node) -> str:
    """The plain name of a graph's operation."""
    return str(getattr(node.target, "_opname", getattr(node.target, "__name__", node.target)))


def _shape(value: Any) -> tuple[Any, ...]:
    """Of a tensor; of the first where an operation gives several."""
    found = value.meta["val"]
    return tuple((found[0] if isinstance(found, (tuple, list)) else found).shape)


def pair(value: Any) -> tuple[int, int]:
    """For rows and columns; the last two of three."""
    one, two = (value, value) if isinstance(value, int) else (list(value) * 2)[-2:]
    return int(one), int(two)


def argument(node: Node, name: str) -> Any:
    """What an operation was called with, or what it takes where nothing is said; None where it takes no such thing."""
    target: Any = node.target
    for place, argument in enumerate(target._schema.arguments):
        if argument.name == name:
            return node.args[place] if place < len(node.args) else node.kwargs.get(name, argument.default_value)
    return None


def _from_last(dim: int, n_dims: int) -> int:
    return dim - n_dims if dim >= 0 else dim


def _dim(node: Node, n_dims: int) -> int:
    """The dimension along which an operation works, counted from the last."""
    return _from_last(int(argument(node, "dim")), n_dims)


def _elementwise(node: Node, known: dict[Node, Axes]) -> Axes:
    found = [known[n] for n in node.all_input_nodes if n in known]
    return union([a[0] for a in found]), union([a[1] for a in found])


def _each(
    rule: Callable[[Node, Axis, int], Axis],
) -> Callable[[Node, dict[Node, Axes]], Axes]:
    """A rule for one axis (0 rows, 1 columns) of the first input, for both; what else sees the picture weighs it."""

    def both(node: Node, known: dict[Node, Axes]) -> Axes:
        seen = [n for n in node.all_input_nodes if n in known]
        if seen[0] is not node.args[0]:
            return unknown(node, [known[n] for n in seen])
        rows, columns = (rule(node, axis, k) for k, axis in enumerate(known[seen[0]]))
        return (rows, columns) if len(seen) == 1 else (replace(rows, whole=True), replace(columns, whole=True))

    return both


def _on_map(rule: Callable[[Node, Axis, int, int], Axis]) -> Callable[[Node, dict[Node, Axes]], Axes]:
    """A rule for operations on the last two dimensions: node, axis, which of the two, positions after."""

    def one(node: Node, axis: Axis, _: int) -> Axis:
        shape = _shape(node)
        if axis.dim is None:
            return axis
        if axis.dim not in (-1, -2) or len(_shape(node.args[0])) < 3:
            return axis.all_of(None)
        if "1d" in operation(node):
            return rule(node, axis, 0, int(shape[-1])) if axis.dim == -1 else axis.all_of(None)
        return rule(node, axis, axis.dim + 2, int(shape[axis.dim]))

    return _each(one)


def _taps(n: int, kernel: int, stride: int, padding: int, dilation: int) -> Int[NDArray, "positions taps"]:
    return np.arange(n)[:, None] * stride - padding + np.arange(kernel)[None] * dilation


def _convolution(node: Node, axis: Axis, k: int, n: int) -> Axis:
    stride, dilation = pair(argument(node, "stride"))[k], pair(argument(node, "dilation"))[k]
    kernel = int(_shape(node.args[1])[2 + k])
    padding = argument(node, "padding")
    if isinstance(padding, str):
        before = 0 if padding == "valid" else (dilation * (kernel - 1)) // 2
    else:
        before = pair(padding)[k]
    if "transpose" in operation(node) or argument(node, "transposed"):
        reached = np.arange(n)[:, None] + before - np.arange(kernel)[None] * dilation
        return axis.windows(np.where(reached % stride == 0, reached // stride, -1), 1 / stride)
    return axis.windows(_taps(n, kernel, stride, before, dilation), stride)


def _pool(node: Node, axis: Axis, k: int, n: int) -> Axis:
    kernel = pair(argument(node, "kernel_size"))
    stride = pair(argument(node, "stride") or kernel)
    padding, dilation = pair(argument(node, "padding")), pair(argument(node, "dilation") or 1)
    return axis.windows(_taps(n, kernel[k], stride[k], padding[k], dilation[k]), stride[k])


def _adaptive(node: Node, axis: Axis, k: int, n: int) -> Axis:
    old = len(axis.first)
    starts, ends = (np.arange(n) * old) // n, -((-(np.arange(n) + 1) * old) // n)
    longest = int((ends - starts).max())
    taps = starts[:, None] + np.arange(longest)[None]
    return axis.windows(np.where(taps < ends[:, None], taps, -1), old / n)


def _resized(mode: str, antialias: bool = False) -> Callable[[Node, Axis, int, int], Axis]:
    """Asked of torch itself, with one position after the other alone: what it weighs hangs on how it rounds."""

    def rule(node: Node, axis: Axis, k: int, n: int) -> Axis:
        old, corners = len(axis.first), argument(node, "align_corners")
        scales = argument(node, "scale_factors") if n != old else None
        if old == 1:
            return axis.all_of(None)
        kind = node.meta["val"].dtype if node.meta["val"].is_floating_point() else torch.float32
        alone = torch.eye(old, dtype=kind)[None, :, None]  # along columns: torch 2.13 antialiases one column wrongly
        size: Any = {"scale_factor": (1.0, scales[k])} if scales else {"size": (1, n)}
        weights = interpolate(alone, **size, mode=mode, align_corners=corners, antialias=antialias)[0, :, 0]
        step = (old - 1) / max(1, n - 1) if corners else 1 / scales[k] if scales else old / n
        return axis.windows(np.where(weights.numpy().T != 0, np.arange(old), -1), step)

    return rule


def _shuffled(node: Node, axis: Axis, k: int, n: int) -> Axis:
    """Units become positions, or positions units."""
    old = len(axis.first)
    several = max(1, old // n)
    return axis.windows(np.arange(n)[:, None] * old // n + np.arange(several)[None], old / n)


def _pad(node: Node, axis: Axis, k: int) -> Axis:
    amounts, mode = argument(node, "pad") or argument(node, "padding"), argument(node, "mode") or operation(node)
    if axis.dim is None or 2 * -axis.dim > len(amounts):
        return axis
    before, after = (int(amounts[2 * (-axis.dim - 1) + side]) for side in (0, 1))
    old = len(axis.first)
    index = np.arange(-before, old + after)
    if mode.startswith("reflect"):
        index = old - 1 - np.abs(old - 1 - np.abs(index))
    elif mode.startswith("replicat"):
        index = np.clip(index, 0, old - 1)
    elif mode == "circular":
        index = index % old
    return axis.at(index)


def _spread(dims: Callable[[Node], Sequence[int]]) -> Callable[[Node, dict[Node, Axes]], Axes]:
    """Along these dimensions numbers of all come in: means, sums."""

    def one(node: Node, axis: Axis, _: int) -> Axis:
        n_dims = len(_shape(node))
        return replace(axis, whole=True) if axis.dim in {_from_last(d, n_dims) for d in dims(node)} else axis

    return _each(one)


def _averaged(node: Node) -> range:
    """The dimensions over which a norm takes means; none where it knows them from training."""
    known = argument(node, "training" if "batch" in operation(node) else "use_input_stats") is False
    return range(0) if known else range(2 - len(_shape(node)), 0)


def _reduced(node: Node, axis: Axis, _: int) -> Axis:
    """Means, sums, maxima over some dimensions; over all where none is named."""
    n_dims, asked = len(_shape(node.args[0])), argument(node, "dim")
    over = range(n_dims) if asked is None or asked == [] else [asked] if isinstance(asked, int) else asked
    reduced = {_from_last(d, n_dims) for d in over}
    if axis.dim is None:
        return axis
    if axis.dim in reduced:
        return axis.all_of(None)
    return axis if argument(node, "keepdim") else replace(axis, dim=axis.dim + sum(d > axis.dim for d in reduced))


def _largest(node: Node, known: dict[Node, Axes]) -> Axes:
    """Of two tensors, or over a dimension."""
    return _elementwise(node, known) if argument(node, "other") is not None else _each(_reduced)(node, known)


def _reshaped(node: Node, axis: Axis, _: int) -> Axis:
    """An axis that keeps its length and what lies behind it is still there; else it is mixed with others."""
    if axis.dim is None:
        return axis
    old, new = _shape(node.args[0]), _shape(node)
    behind, size = math.prod(old[len(old) + axis.dim + 1 :]), old[axis.dim]
    product = 1
    for place in range(1, len(new) + 1):
        if product == behind and new[-place] == size:
            return replace(axis, dim=-place)
        product *= new[-place]
    return axis.all_of(None)


def _permuted(node: Node, axis: Axis, _: int) -> Axis:
    """Which dimension went where is asked of the operation itself."""
    if axis.dim is None:
        return axis
    n_dims, target = len(_shape(node)), cast(Callable[..., torch.Tensor], node.target)
    told_apart = torch.empty(tuple(range(2, 2 + n_dims)), device="meta")
    moved = target(told_apart, *node.args[1:], **node.kwargs).shape
    return replace(axis, dim=list(moved).index(2 + n_dims + axis.dim) - n_dims)


def _repeated(node: Node, axis: Axis, _: int) -> Axis:
    """One position that is spread over many is a number of the whole picture, and has no place."""
    if axis.dim is None or int(_shape(node)[axis.dim]) == len(axis.first):
        return axis
    if len(axis.first) == 1:
        return axis.all_of(None)
    return axis.at(np.arange(int(_shape(node)[axis.dim])) % len(axis.first))


def _sliced(node: Node, axis: Axis, _: int) -> Axis:
    if axis.dim != _dim(node, len(_shape(node))):
        return axis
    start, end, step = (argument(node, name) for name in ("start", "end", "step"))
    return axis.at(np.arange(len(axis.first))[slice(start, end, step)], step)


def _selected(node: Node, axis: Axis, _: int) -> Axis:
    return _one_of(axis, _dim(node, len(_shape(node.args[0]))), int(argument(node, "index")))


def _one_of(axis: Axis, dim: int, index: int) -> Axis:
    if axis.dim is None:
        return axis
    if axis.dim == dim:
        return replace(axis, dim=None, first=axis.first[[index]], last=axis.last[[index]])
    return replace(axis, dim=axis.dim + (dim > axis.dim))


def _part(node: Node, axis: Axis, _: int) -> Axis:
    """One of the tensors that an operation gives; those of a split begin where the one before ends."""
    source: Any = node.args[0]
    index = int(node.args[1])  # type: ignore[arg-type]
    if operation(source) == "unbind":
        return _one_of(axis, _dim(source, len(_shape(source.args[0]))), index)
    if operation(source) not in SPLITS or axis.dim != _dim(source, len(_shape(source))):
        return axis
    ends = np.cumsum([int(part.shape[axis.dim]) for part in source.meta["val"]])
    return axis.at(np.arange(len(axis.first))[slice(ends[index - 1] if index else 0, ends[index])])


def _unsqueezed(node: Node, axis: Axis, _: int) -> Axis:
    dim = _dim(node, len(_shape(node)))
    return axis if axis.dim is None else replace(axis, dim=axis.dim - (dim >= axis.dim))


def _stacked(node: Node, known: dict[Node, Axes]) -> Axes:
    found = [known[n] for n in node.all_input_nodes if n in known]
    rows, columns = (union([_unsqueezed(node, a[k], k) for a in found]) for k in range(2))
    return rows, columns


def _joined(node: Node, known: dict[Node, Axes]) -> Axes:
    """Along its own dimension positions come one after another; along others, units do."""
    dim = _dim(node, len(_shape(node)))
    found = [(int(_shape(n)[dim]) if n in known or dim else 0, known.get(n)) for n in argument(node, "tensors")]
    rows, columns = (_in_turn([(n, a and a[k]) for n, a in found], dim) for k in range(2))
    return rows, columns


def _in_turn(parts: Sequence[tuple[int, Axis | None]], dim: int) -> Axis:
    found = [axis for _, axis in parts if axis is not None]
    if all(axis.dim != dim for axis in found):
        return union(found)
    nothing = Axis(dim, np.array([NOWHERE]), np.array([-1]))
    each = [a if a is not None and a.dim == dim else (a or nothing).all_of(dim, n) for n, a in parts]
    first, last = np.concatenate([a.first for a in each]), np.concatenate([a.last for a in each])
    return replace(
        found[0], dim=dim, first=first, last=last, exact=all(a.exact for a in each), whole=any(a.whole for a in each)
    )


def _flipped(node: Node, axis: Axis, _: int) -> Axis:
    dims = {_from_last(d, len(_shape(node))) for d in argument(node, "dims")}
    return axis.at(np.arange(len(axis.first))[::-1]) if axis.dim in dims else axis


def _multiplied(node: Node, known: dict[Node, Axes]) -> Axes:
    """A matrix that is known, times the map's rows or columns (resizing, blur): what it does not hold as 0 is read."""
    left, right = cast(tuple[Node, Node], node.args[:2])
    matrix = (right if left in known else left).meta.get(VALUE)
    if matrix is None or matrix.ndim != 2 or (left in known and right in known):
        return unknown(node, [known[n] for n in (left, right) if n in known])
    reads, dim = (matrix.T, -1) if left in known else (matrix, -2)
    rows, columns = known[left if left in known else right]
    return _mixed(rows, dim, reads), _mixed(columns, dim, reads)


def _mixed(axis: Axis, dim: int, reads: Tensor) -> Axis:
    if axis.dim != dim:
        return axis
    new, old = reads.shape
    taps = np.where(reads.detach().numpy() != 0, np.arange(old)[None], -1)
    return axis.windows(taps, old / new)


def _linear(node: Node, axis: Axis, _: int) -> Axis:
    return axis.all_of(None) if axis.dim == -1 else axis


def _named(names: str, rule: "Rule") -> "dict[str, Rule]":
    return dict.fromkeys(names.split(), rule)


VALUE = "constant"  # in a node's meta: the tensor that it gives whatever the picture
CONSTANT = {"sym_size", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "fill"}
SPLITS = {"split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk"}
Rule = Callable[[Node, dict[Node, Axes]], Axes]
RULES: dict[str, Rule] = {
    **_named(
        "relu relu6 gelu silu mish sigmoid tanh leaky_relu elu selu celu softplus hardtanh hardswish", _elementwise
    ),
    **_named("hardsigmoid prelu threshold log_sigmoid softsign softshrink hardshrink", _elementwise),
    **_named("add sub rsub mul div neg abs exp exp2 log log2 log10 log1p expm1 sqrt rsqrt pow square", _elementwise),
    **_named("clamp clamp_min clamp_max sign sin cos tan erf floor ceil round reciprocal atan2", _elementwise),
    **_named("maximum minimum where masked_fill eq ne lt le gt ge isnan isfinite isinf nan_to_num", _elementwise),
    **_named("logical_and logical_or logical_not bitwise_and bitwise_or bitwise_not", _elementwise),
    **_named("clone alias detach contiguous to _to_copy type_as lift_fresh_copy", _elementwise),
    **_named("dropout feature_dropout alpha_dropout channel_shuffle", _elementwise),
    **_named("_native_batch_norm_legit_no_training addcmul addcdiv lerp", _elementwise),
    **_named("conv1d conv2d convolution conv_transpose1d conv_transpose2d", _on_map(_convolution)),
    **_named("max_pool1d max_pool2d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d", _on_map(_pool)),
    **_named("adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool2d", _on_map(_adaptive)),
    **_named("adaptive_max_pool1d adaptive_max_pool2d", _on_map(_adaptive)),
    **_named("upsample_nearest1d upsample_nearest2d", _on_map(_resized("nearest"))),
    **_named("_upsample_nearest_exact1d _upsample_nearest_exact2d", _on_map(_resized("nearest-exact"))),
    **_named("upsample_linear1d upsample_bilinear2d", _on_map(_resized("bilinear"))),
    **_named("upsample_bicubic2d", _on_map(_resized("bicubic"))),
    **_named("_upsample_bilinear2d_aa", _on_map(_resized("bilinear", antialias=True))),
    **_named("_upsample_bicubic2d_aa", _on_map(_resized("bicubic", antialias=True))),
    **_named("pixel_shuffle pixel_unshuffle", _on_map(_shuffled)),
    **_named("pad constant_pad_nd reflection_pad1d reflection_pad2d", _each(_pad)),
    **_named("replication_pad1d replication_pad2d", _each(_pad)),
    **_named("softmax _softmax log_softmax _log_softmax", _spread(lambda node: [argument(node, "dim")])),
    **_named("layer_norm native_layer_norm", _spread(lambda n: range(-len(argument(n, "normalized_shape")), 0))),
    **_named(
        "group_norm native_group_norm instance_norm batch_norm native_batch_norm cudnn_batch_norm", _spread(_averaged)
    ),
    **_named("mean sum prod amax amin var std var_mean std_mean logsumexp linalg_vector_norm any all", _each(_reduced)),
    **_named("max min", _largest),
    **_named("view reshape _unsafe_view flatten unflatten squeeze", _each(_reshaped)),
    **_named("permute transpose swapaxes swapdims t mT movedim moveaxis", _each(_permuted)),
    **_named("expand expand_as repeat tile", _each(_repeated)),
    **_named("split split_with_sizes chunk tensor_split unsafe_split unsafe_chunk unbind", _elementwise),
    **_named("slice", _each(_sliced)),
    **_named("select", _each(_selected)),
    **_named("unsqueeze", _each(_unsqueezed)),
    **_named("getitem", _each(_part)),
    **_named("cat concat concatenate", _joined),
    **_named("stack", _stacked),
    **_named("flip", _each(_flipped)),
    **_named("linear", _each(_linear)),
    **_named("matmul mm bmm", _multiplied),
}
