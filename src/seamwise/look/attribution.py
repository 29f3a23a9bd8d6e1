"""What in a picture excites a unit: deconvnet, guided backpropagation, saliency, Grad-CAM, integrated gradients."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, final

import torch
from torch.fx import Node
from torch.nn.functional import interpolate

from seamwise.errors import ModelError
from seamwise.look.fields import operation
from seamwise.look.graph import Graph
from seamwise.look.records import Layer
from seamwise.shapes import Float, Int, Shaped, Tensor

Method = Literal["deconvnet", "guided", "saliency"]
METHODS: tuple[Method, ...] = ("deconvnet", "guided", "saliency")
MAX_NUMBERS = 1 << 27  # kept for the way back at a time: 512 MiB

IN_FIRST = (  # linear where the first input alone depends on the picture
    "conv2d", "conv1d", "convolution", "conv_transpose2d", "linear", "grid_sampler_2d", "batch_norm",
    "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "mul", "div",
)  # fmt: skip
LINEAR = (
    "avg_pool2d", "avg_pool1d", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "mean", "sum", "add", "sub", "rsub",
    "neg", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "pixel_shuffle", "pixel_unshuffle", "pad",
    "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "clone", "alias", "detach", "contiguous", "dropout",
    "feature_dropout", "to", "_to_copy", "type_as", "view", "reshape", "_unsafe_view", "flatten", "unflatten",
    "squeeze", "unsqueeze", "permute", "transpose", "swapaxes", "t", "movedim", "slice", "select", "expand", "cat",
    "stack", "split", "split_with_sizes", "chunk", "unbind", "getitem", "flip", "roll", "repeat", "channel_shuffle",
)  # fmt: skip
SWITCHES = (
    "max_pool2d", "max_pool2d_with_indices", "max_pool1d", "max_pool1d_with_indices", "adaptive_max_pool2d", "amax",
)  # fmt: skip
NORMALISED = ("group_norm", "native_group_norm", "instance_norm", "layer_norm", "native_layer_norm")
PASSED = frozenset((*LINEAR, *SWITCHES, *NORMALISED, "relu"))


@final
@dataclass(frozen=True)
class Target:
    """One number of each of n pictures: a unit at a position of a layer's map, or, without a layer, of the output.

    row, column: not read where the layer has no map. part: which of the pictures that the network makes of an item
    """

    layer: Layer | None
    unit: Int[Tensor, " n"]
    row: Int[Tensor, " n"]
    column: Int[Tensor, " n"]
    part: Int[Tensor, " n"]

    def of(self, graph: Graph) -> str:
        """The operation at which it is read."""
        return graph.output if self.layer is None else self.layer.node

    def value(self, tensor: Float[Tensor, "..."]) -> Float[Tensor, " n"]:
        """The numbers, from what that operation gives. A unit that is read at many places: the largest."""
        items = torch.arange(len(self.unit))
        if self.layer is None:
            return tensor.reshape(len(items), -1)[items, self.unit]
        tensor = tensor[items * self.layer.repeats + self.part]
        if self.layer.is_map:
            return tensor[items, self.unit, self.row, self.column]
        dim = -1 if self.layer.kind == "linear" else 1
        return tensor.movedim(dim, 1).reshape(len(items), tensor.shape[dim], -1)[items, self.unit].amax(-1)

    def some(self, at: slice) -> "Target":
        """Those of some of the pictures."""
        return Target(self.layer, self.unit[at], self.row[at], self.column[at], self.part[at])


def target(
    layer: Layer | None,
    unit: Sequence[int],
    row: Sequence[int] = (),
    column: Sequence[int] = (),
    part: Sequence[int] = (),
) -> Target:
    """One unit a picture; a position that is not given is the map's middle, a part that is not given the first.

    Raises ModelError where the layer has no such unit or position.
    """
    n = len(unit)
    height, width, parts = (layer.height, layer.width, layer.repeats) if layer else (1, 1, 1)
    given = (list(unit), list(row) or [height // 2] * n, list(column) or [width // 2] * n, list(part) or [0] * n)
    sizes = (layer.n_units if layer else 1 << 30, height, width, parts)
    for what, numbers, size in zip(("unit", "row", "column", "part"), given, sizes, strict=True):
        wrong = [k for k in numbers if not 0 <= k < size]
        if wrong or len(numbers) != n:
            name = layer.name if layer else "output"
            told = str(wrong[0]) if wrong else f"{len(numbers)} for {n} pictures"
            raise ModelError(f"{name}: no such {what}", given=told, expected=f"0 to {size - 1}, one a picture")
    unit_, row_, column_, part_ = (torch.tensor(numbers, dtype=torch.long) for numbers in given)
    return Target(layer, unit_, row_, column_, part_)


def projected(
    graph: Graph, inputs: Sequence[Tensor], what: Target, method: Method = "deconvnet"
) -> Float[Tensor, "n ..."]:
    """The way back from one unit to the picture, for each of n pictures: [n, channels, height, width].

    Scale: the unit starts as 1 and all others of its layer as 0; times the unit's value, a deconvnet or guided map is
    that of the papers, which start at the value, for both are linear in where they start. Where the picture has its
    colours last they come first here. An input of whole numbers is taken as floats.
    Raises ModelError where the method has no rule for an operation between unit and picture.
    Source: Zeiler & Fergus 2014, Visualizing and understanding convolutional networks; Springenberg et al. 2015,
    Striving for simplicity (guided); Simonyan et al. 2014, Deep inside convolutional networks (saliency). Differs:
    saliency keeps sign and colours; biases play no part in a deconvnet, as in the paper's code.
    """
    check(graph, what.of(graph), method)
    swap = {"relu": RULES[method]}
    return in_batches(graph, inputs, what, lambda some, of: _gradient(graph, some, of, swap))


def check(graph: Graph, node: str, method: Method) -> None:
    """Whether a method has a rule for all that lies between the picture and an operation. Raises ModelError.

    deconvnet and guided backpropagation know ReLU, what is linear, and switches (max-pooling). Normalisations pass
    their own gradient. What happens before the first convolution is preparation of the picture, and may be anything.
    ReLU6, hardtanh, clamp, abs and maximum are refused: no paper gives them a rule.
    """
    if method == "saliency":
        return
    behind = _behind_units(graph)
    for at in way(graph, node):
        if at in behind and not _has_rule(graph, at):
            layers = [layer.name for layer in graph.layers if layer.start in before(graph, at.name)]
            raise ModelError(
                f"{method} has no rule for {operation(at)}",
                given=f"{at.name} ({operation(at)}), behind {layers[-1]}" if layers else at.name,
                expected="ReLU between unit and picture (nn.ReLU, functional or in place)",
                remedy="use saliency or integrated gradients, which are right for any function",
            )


def way(graph: Graph, node: str) -> list[Node]:
    """The operations that lie between the picture and an operation, itself last, in order."""
    needed = before(graph, node)
    return [at for at in graph.nodes if at.op == "call_function" and at.name in needed and at.name in graph.axes]


def before(graph: Graph, node: str) -> set[str]:
    """All that an operation depends on, itself too."""
    by_name = {at.name: at for at in graph.nodes}
    found, left = {node}, [by_name[node]]
    while left:
        for used in left.pop().all_input_nodes:
            if used.name not in found:
                found.add(used.name)
                left.append(used)
    return found


def in_batches(
    graph: Graph,
    inputs: Sequence[Tensor],
    what: Target,
    one: Callable[[Sequence[Tensor], Target], Float[Tensor, "some ..."]],
) -> Float[Tensor, "n ..."]:
    """As many pictures at a time as the memory for the way back allows, and as the network takes."""
    most = most_at_once(graph, what.of(graph))
    slices = [slice(k, k + most) for k in range(0, len(what.unit), most)]
    return torch.cat([one([t[at] for t in inputs], what.some(at)) for at in slices])


def most_at_once(graph: Graph, node: str) -> int:
    """How many items may be run and traced back at once: what lies between the picture and an operation is kept."""
    shapes = [getattr(at.meta["val"], "shape", (1,))[1:] for at in way(graph, node)]
    n_numbers = sum(torch.Size([int(size) for size in shape]).numel() for shape in shapes)
    return graph.batch or max(1, MAX_NUMBERS // max(1, n_numbers))


def opened(graph: Graph, inputs: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The inputs as they are, but for the picture: as floats, and so that a gradient reaches it."""
    picture = floats(graph, inputs[graph.picture]).requires_grad_()
    return [picture if k == graph.picture else t for k, t in enumerate(inputs)], picture


def floats(graph: Graph, picture: Shaped[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A picture in the network's own precision."""
    weight = next((w for w in graph.weights.values() if w.is_floating_point()), torch.zeros(()))
    return picture.detach().to(weight.dtype)


def colours_first(graph: Graph, maps: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Height and width come last."""
    return maps.movedim(-1, -3) if graph.dims == (-3, -2) else maps


def grad_cam(graph: Graph, inputs: Sequence[Tensor], what: Target, layer: Layer) -> Float[Tensor, "n height width"]:
    """Where in the picture a layer's units speak for the target, at least 0.

    Raises ModelError where the layer has no map, or does not lie before the target.
    Source: Selvaraju et al. 2017, Grad-CAM. Differs: the map is laid over the whole picture bilinearly, as in captum.
    """
    if not layer.is_map or layer.node not in before(graph, what.of(graph)) or layer.repeats > 1:
        remedy = "give a convolution between the picture and the unit"
        raise ModelError(f"{layer.name}: no map that the target depends on", given=layer.kind, remedy=remedy)
    size_px = [graph.shape[d] for d in graph.dims]

    def one(some: Sequence[Tensor], of: Target) -> Tensor:
        with torch.enable_grad():
            given, _ = opened(graph, some)
            found = graph.values(given, {layer.node, of.of(graph)})
            units, value = found[layer.node], of.value(found[of.of(graph)]).sum()
            (weight,) = torch.autograd.grad(value, units)
        heat = (weight.mean((-2, -1), keepdim=True) * units.detach()).sum(1, keepdim=True).relu()
        return interpolate(heat, size_px, mode="bilinear", align_corners=False)[:, 0]

    return in_batches(graph, inputs, what, one)


def integrated_gradients(
    graph: Graph, inputs: Sequence[Tensor], what: Target, *, baseline: float = 0.0, n_steps: int = 50
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, " n"]]:
    """What every pixel adds to the target against an even picture, [n, channels, height, width]; and what is missing.

    baseline: the even picture's value. The second result is the completeness error: the sum of the map less what the
    target gains from the baseline.
    Source: Sundararajan et al. 2017, Axiomatic attribution for deep networks; by captum, which takes the integral by
    Gauss and Legendre's rule.
    """
    from captum.attr import IntegratedGradients

    most, errors = most_at_once(graph, what.of(graph)), list[Tensor]()

    def one(some: Sequence[Tensor], of: Target) -> Tensor:
        given, picture = opened(graph, some)
        others = (*(t for k, t in enumerate(given) if k != graph.picture), of.unit, of.row, of.column, of.part)
        maps: Tensor
        maps, error = IntegratedGradients(partial(_value, graph, of.layer)).attribute(
            picture.detach(), baseline, None, others, n_steps, "gausslegendre", most, return_convergence_delta=True
        )
        errors.append(error.detach())
        return maps.detach()

    return colours_first(graph, in_batches(graph, inputs, what, one)), torch.cat(errors)


def _value(graph: Graph, layer: Layer | None, picture: Tensor, *rest: Tensor) -> Tensor:
    """The target's value as captum asks for it: all else behind the picture."""
    others, of = rest[:-4], Target(layer, *rest[-4:])
    given = [*others[: graph.picture], picture, *others[graph.picture :]]
    return of.value(graph.values(given, {of.of(graph)})[of.of(graph)])


def _gradient(graph: Graph, inputs: Sequence[Tensor], what: Target, swap: Mapping[str, Callable[..., Any]]) -> Tensor:
    with torch.enable_grad():
        given, picture = opened(graph, inputs)
        value = what.value(graph.values(given, {what.of(graph)}, swap)[what.of(graph)])
        if not value.requires_grad:
            name = what.layer.name if what.layer else "output"
            remedy = "leave rounding, comparing and .detach() out of the network"
            raise ModelError(f"{name}: no gradient reaches the picture", remedy=remedy)
        (found,) = torch.autograd.grad(value.sum(), picture)
    return colours_first(graph, found)


class _Deconvnet(torch.autograd.Function):
    """ReLU whose way back is ReLU too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.relu()

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        return gradient[0].relu()


class _Guided(torch.autograd.Function):
    """ReLU whose way back lets through what is positive, where the unit was."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        found = value.relu()
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        (found,) = ctx.saved_tensors
        passed: Tensor = gradient[0].relu() * (found > 0)
        return passed


RULES: Mapping[Method, Callable[[Tensor], Tensor]] = {
    "deconvnet": _Deconvnet.apply,
    "guided": _Guided.apply,
    "saliency": torch.relu,
}


def _behind_units(graph: Graph) -> set[Node]:
    starts = {layer.start for layer in graph.layers}
    behind: set[Node] = set()
    for at in graph.nodes:
        if at.name in starts or any(used in behind for used in at.all_input_nodes):
            behind.add(at)
    return behind


def _has_rule(graph: Graph, node: Node) -> bool:
    depends = [k for k, used in enumerate(node.args) if isinstance(used, Node) and used.name in graph.axes]
    if operation(node) in IN_FIRST:
        return depends == [0] or (operation(node) == "mul" and depends == [1])
    return operation(node) in PASSED
