"""Graph: any network as a list of plain operations, so that each can be watched, replaced or left out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import nn
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node, map_arg

from seamwise.errors import ModelError
from seamwise.look.axis import Axes, axes_of_picture
from seamwise.look.exporting import exported
from seamwise.look.fields import VALUE, argument, axes_after, operation
from seamwise.look.records import Layer
from seamwise.shapes import Tensor

Swap = Mapping[str, Callable[..., Any]]
"""{operation: what is called in its place}."""

UNITS = {"conv2d": "convolution", "conv1d": "convolution", "convolution": "convolution", "linear": "linear"}
UNITS |= {"conv_transpose2d": "transposed", "conv_transpose1d": "transposed"}
NORMALISED: tuple[str, ...] = ("batch_norm", "group_norm", "instance_norm", "layer_norm")  # and of several outputs
NORMALISED += ("native_batch_norm", "_native_batch_norm_legit_no_training", "native_group_norm", "native_layer_norm")
PASSED = (*NORMALISED, "getitem", "clone", "alias", "dropout", "contiguous")
ACTIVATIONS = (
    "relu", "relu6", "gelu", "silu", "mish", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "celu", "softplus",
    "hardtanh", "hardswish", "hardsigmoid", "prelu", "threshold",
)  # fmt: skip
CHECKS = (
    "_assert_tensor_metadata",
    "_assert_scalar",
    "_assert_async",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
)
COLOURS = (1, 3, 4)


@final
@dataclass(frozen=True)
class Graph:
    """A network in plain operations; made by `graph_of`.

    layers: in the order in which they run; dropped: those whose rows do not go item by item. picture: which of the
    inputs is the one that is looked at. dims: its height and width among its dimensions, from the last
    """

    nodes: tuple[Node, ...] = field(repr=False)
    inputs: tuple[str, ...]
    picture: int
    dims: tuple[int, int]
    shape: tuple[int, ...]  # of one item's picture
    layers: tuple[Layer, ...]
    dropped: tuple[str, ...]
    output: str
    batch: int | None  # the one number of items it takes at once; None where it takes any
    weights: Mapping[str, Tensor] = field(repr=False)  # by the names of the state dict, and constants
    places: Mapping[str, str] = field(repr=False)  # {node: the weight that it is}
    _last_use: Mapping[str, tuple[str, ...]] = field(repr=False)  # {node: those not needed after it}
    axes: Mapping[str, Axes] = field(repr=False)  # {node: what it depends on}

    def layer(self, name: str) -> Layer:
        """A layer by its name. Raises ModelError."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(found.name for found in self.layers)
        raise ModelError(f"no layer {name!r}", expected=f"one of {known}")

    def read(
        self, inputs: Sequence[Tensor], wanted: Mapping[str, Callable[[Tensor], None]], swap: Swap | None = None
    ) -> None:
        """Run the network, no further than needed, and hand over what the wanted operations give.

        wanted: {node: what is called with its tensor}. Tensors are let go as soon as nothing needs them. A network for
        one number of items only gets the last item again and again, and what it says of those is cut off.
        """
        n_items = len(inputs[0])
        if self.batch is not None and n_items > self.batch:
            for start in range(0, n_items, self.batch):
                self.read([t[start : start + self.batch] for t in inputs], wanted, swap)
            return
        if self.batch is not None and n_items < self.batch:
            inputs = [torch.cat([t, t[-1:].expand(self.batch - n_items, *t.shape[1:])]) for t in inputs]
        env: dict[str, Any] = dict(zip(self.inputs, inputs, strict=True))
        env |= {place: self.weights[name] for place, name in self.places.items()}
        left = set(wanted)
        for node in self.nodes:
            if node.op == "call_function":
                env[node.name] = _called(node, env, swap or {})
            if node.name in left:
                value = env[node.name]
                wanted[node.name](value if self.batch is None else value[: n_items * len(value) // self.batch])
                left.discard(node.name)
                if not left:
                    return
            for name in self._last_use.get(node.name, ()):
                env.pop(name, None)

    def values(self, inputs: Sequence[Tensor], nodes: Iterable[str], swap: Swap | None = None) -> dict[str, Tensor]:
        """What some operations give, {node: tensor}."""
        found: dict[str, list[Tensor]] = {name: [] for name in nodes}
        self.read(inputs, {name: parts.append for name, parts in found.items()}, swap)
        return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in found.items()}

    def with_weights(self, changed: Mapping[str, Tensor]) -> "Graph":
        """The same network with other weights, by the names of the state dict."""
        return replace(self, weights={**self.weights, **changed})


def graph_of(module: nn.Module, example: Sequence[Tensor]) -> Graph:
    """Take a network apart.

    example: its inputs, of two items or more; they give the sizes. Functional and in-place operations come out as
    plain ones. Raises ModelError where the network is in training mode, in half precision, takes another way for other
    inputs, or has no convolution that sees a picture.
    """
    program, any_size = exported(module, tuple(example))
    nodes = tuple(program.graph.nodes)
    specs = program.graph_signature.input_specs
    inputs = tuple(s.arg.name for s in specs if s.kind == InputKind.USER_INPUT)
    places = {s.arg.name: str(s.target) for s in specs if s.kind != InputKind.USER_INPUT}
    picture = _picture(example)
    dims = _dims(example[picture])
    by_name = {node.name: node for node in nodes}
    axes = {by_name[inputs[picture]]: axes_of_picture(example[picture].shape, dims)}
    weights = {name: _held(program, name) for name in places.values()}
    _keep_constants(nodes, places, weights)
    for node in nodes:
        found = axes_after(node, axes) if node.op == "call_function" else None
        if found is not None:
            axes[node] = found
    layers = tuple(_named([_layer(n, axes, places, len(example[0])) for n in nodes if _has_units(n, axes)]))
    outputs = [s.arg.name for s in program.graph_signature.output_specs if s.kind == OutputKind.USER_OUTPUT]
    graph = Graph(
        nodes=nodes,
        inputs=inputs,
        picture=picture,
        dims=dims,
        shape=tuple(example[picture].shape[1:]),
        layers=layers,
        dropped=(),
        output=outputs[0],
        batch=None if any_size else len(example[0]),
        weights=weights,
        places=places,
        _last_use=_last_uses(nodes),
        axes={node.name: found for node, found in axes.items()},
    )
    _check_chance(module, graph)
    return _item_by_item(module, graph, example)


def _item_by_item(module: nn.Module, graph: Graph, example: Sequence[Tensor]) -> Graph:
    """Without the layers whose rows are in another order, or that mix items. Raises ModelError where none is left.

    A change of the first item's picture must reach no other rows than the first `repeats`.
    """
    picture = example[graph.picture].clone()
    picture[0] = picture[0] + torch.rand_like(picture[0]) if picture.is_floating_point() else ~picture[0]
    other = [picture if k == graph.picture else given for k, given in enumerate(example)]
    with torch.no_grad():
        one, two = (graph.values(given, {la.node for la in graph.layers}) for given in (example, other))
    kept = []
    for layer in graph.layers:
        rows = (one[layer.node] != two[layer.node]).flatten(1).any(1).nonzero()
        if not len(rows) or int(rows.max()) < layer.repeats:
            kept.append(layer)
    if not any(layer.kind != "linear" for layer in kept):
        raise ModelError(
            f"{type(module).__name__}: no convolution that sees the picture",
            given="only such as mix the items of a batch, or have them in another order" if graph.layers else "",
            expected="a network with convolutions over pictures, item by item",
            remedy="text and other networks: look at their units with --text, or probe their layers",
        )
    dropped = tuple(layer.name for layer in graph.layers if layer not in kept)
    return replace(graph, layers=tuple(kept), dropped=dropped)


def _check_chance(module: nn.Module, graph: Graph) -> None:
    """Raises ModelError where the network does something at random."""
    for node in graph.nodes:
        tags = getattr(node.target, "tags", ()) if node.op == "call_function" else ()
        if torch.Tag.nondeterministic_seeded not in tags:
            continue
        switches = [argument(node, name) for name in ("train", "training", "dropout_p")]
        if all(switch is None for switch in switches) or any(switches):
            raise ModelError(
                f"{type(module).__name__}: does something at random",
                given=operation(node),
                expected="the same values in every pass",
                remedy="a functional dropout needs training=self.training; leave random numbers out",
            )


def _picture(example: Sequence[Tensor]) -> int:
    """The first input that may be a picture. Raises ModelError."""
    for k, given in enumerate(example):
        if given.ndim >= 3:
            return k
    told = ", ".join(str(tuple(t.shape)) for t in example) or "nothing"
    raise ModelError("no input is a picture", given=told, expected="[batch, colours, height, width]")


def _dims(picture: Tensor) -> tuple[int, int]:
    last_is_colour = picture.ndim >= 4 and picture.shape[-1] in COLOURS and picture.shape[-3] not in COLOURS
    return (-3, -2) if last_is_colour else (-2, -1)


def _has_units(node: Node, axes: Mapping[Node, Axes]) -> bool:
    return node.op == "call_function" and operation(node) in UNITS and node in axes and node.args[0] in axes


def _layer(node: Node, axes: Mapping[Node, Axes], places: Mapping[str, str], n_items: int) -> Layer:
    end, activation = _end(node)
    kind = UNITS[operation(node)]
    if operation(node) == "convolution" and node.args[6]:
        kind = "transposed"
    shape = end.meta["val"].shape
    rows, columns = axes[end]
    is_map = rows.dim == -2 and columns.dim == -1
    weight = node.args[1]
    name = places.get(weight.name, "") if isinstance(weight, Node) else ""
    stack = list(node.meta.get("nn_module_stack", {"": ("", "")}).values())
    n_rows = _number(shape[0]) if len(shape) > 1 else n_items
    return Layer(
        name=name.rpartition(".")[0] or stack[-1][0] or node.name,
        kind=kind,
        n_units=int(shape[-1] if kind == "linear" else shape[-2] if "1d" in operation(node) else shape[-3]),
        height=int(shape[-2]) if is_map else 1,
        width=int(shape[-1]) if is_map else 1,
        rows=rows,
        columns=columns,
        activation=activation,
        repeats=max(1, n_rows // n_items),
        node=end.name,
        start=node.name,
    )


def _number(size: Any) -> int:
    return int(size) if isinstance(size, int) else int(size.node.hint)


def _end(node: Node) -> tuple[Node, str]:
    """The last operation that still belongs to a layer, and its activation function."""
    at, end = node, node
    while True:
        users = list(at.users)
        if operation(at) in NORMALISED:
            users = [u for u in users if operation(u) == "getitem" and u.args[1] == 0] or users
        if len(users) != 1 or users[0].op != "call_function":
            return end, ""
        at = users[0]
        if operation(at) in ACTIVATIONS:
            return at, operation(at)
        if operation(at) not in PASSED:
            return end, ""
        if not isinstance(at.meta["val"], (tuple, list)):
            end = at


def _named(layers: list[Layer]) -> list[Layer]:
    """Where a module runs more than once, its layers are told apart."""
    seen: dict[str, int] = {}
    named = []
    for layer in layers:
        k = seen[layer.name] = seen.get(layer.name, -1) + 1
        named.append(replace(layer, name=f"{layer.name}@{k}") if k else layer)
    return named


def _held(exported: Any, name: str) -> Tensor:
    held = exported.state_dict[name] if name in exported.state_dict else exported.constants[name]
    return held.detach() if isinstance(held, Tensor) else held


def _keep_constants(nodes: Sequence[Node], places: Mapping[str, str], weights: Mapping[str, Tensor]) -> None:
    """What is the same whatever the picture stands in its node's meta, for rules that need to know it."""
    with torch.no_grad():
        for node in nodes:
            if node.op == "placeholder" and node.name in places:
                node.meta[VALUE] = weights[places[node.name]]
            used = node.all_input_nodes
            if node.op == "call_function" and used and all(VALUE in n.meta for n in used):
                node.meta[VALUE] = _called(node, {n.name: n.meta[VALUE] for n in used}, {})


def _last_uses(nodes: Sequence[Node]) -> dict[str, tuple[str, ...]]:
    last: dict[str, str] = {}
    for node in nodes:
        for used in node.all_input_nodes:
            last[used.name] = node.name
    freed: dict[str, list[str]] = {}
    for name, at in last.items():
        freed.setdefault(at, []).append(name)
    return {at: tuple(names) for at, names in freed.items()}


def _called(node: Node, env: Mapping[str, Any], swap: Swap) -> Any:
    name = operation(node)
    if name in CHECKS:
        return None
    target: Any = swap.get(name, node.target)
    args, kwargs = map_arg((node.args, node.kwargs), lambda n: env[n.name])
    return target(*args, **kwargs)
