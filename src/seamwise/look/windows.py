"""Operations that can be run for a part of a map: what each position of their result reads."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch.fx import Node, map_arg
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from seamwise.look.fields import operation, pair
from seamwise.shapes import Tensor

PLAIN = (
    "relu", "relu6", "gelu", "silu", "mish", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "celu", "softplus",
    "hardtanh", "hardswish", "hardsigmoid", "threshold", "clamp", "neg", "abs", "exp", "log", "sqrt", "clone", "alias",
    "detach", "contiguous", "dropout", "feature_dropout", "getitem", "to", "_to_copy", "batch_norm",
    "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
)  # fmt: skip
MIXED = ("add", "sub", "rsub", "mul", "div", "pow", "maximum", "minimum", "cat")


@final
@dataclass(frozen=True)
class Window:
    """What an operation reads of its input for each position (rows, columns), and itself without padding."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    fill: float
    run: Callable[[Mapping[str, Any]], Any] = field(repr=False)

    def span(self, axis: int, first: int, last: int) -> tuple[int, int]:
        """What is read for some positions, padding too."""
        before = first * self.stride[axis] - self.padding[axis]
        after = (last - 1) * self.stride[axis] - self.padding[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1
        return before, after


@final
@dataclass(frozen=True)
class Step:
    """An operation of a cone, and those of its inputs that depend on the picture."""

    node: Node
    reads: tuple[Node, ...]
    window: Window | None


def called(step: Step, env: Mapping[str, Any], swap: Mapping[str, Any]) -> Any:
    """What an operation gives, without padding."""
    args, kwargs = map_arg((step.node.args, step.node.kwargs), lambda used: env[used.name])
    if step.window:
        return step.window.run(_given(step.node, args, kwargs))
    as_is: Any = swap.get(operation(step.node), step.node.target)
    return as_is(*args, **kwargs)


def is_plain(step: Step) -> bool:
    """Whether an operation takes every position for itself, and all alike."""
    name = operation(step.node)
    if name in PLAIN:
        return len(step.reads) == 1 and step.node.args[0] is step.reads[0]
    if name == "cat":
        return _given(step.node, step.node.args, step.node.kwargs)["dim"] in (1, -3)
    size = shape(step.node)[2:]
    others = [used for used in step.node.all_input_nodes if used not in step.reads]
    same = all(shape(used)[2:] == size for used in step.reads)
    return name in MIXED and same and all(set(shape(used)[-2:]) <= {1} for used in others)


def window_of(node: Node, reads: tuple[Node, ...]) -> Window | None:
    """How an operation reads windows; None where it does not, or in a way that is not known."""
    name, known = operation(node), _given(node, node.args, node.kwargs)
    if len(reads) != 1 or node.args[0] is not reads[0]:
        return None
    if name in ("conv2d", "convolution") and not known.get("transposed"):
        kernel = shape(node.args[1])[2:]
        dilation = pair(known["dilation"])
        padding = _padding(known["padding"], kernel, dilation)
        return _of(kernel, known["stride"], padding, dilation, 0.0, _convolved)
    if name in ("max_pool2d", "max_pool2d_with_indices"):
        run = _largest if name == "max_pool2d" else _largest_first
        stride = known["stride"] or known["kernel_size"]
        return _of(known["kernel_size"], stride, known["padding"], known["dilation"], -torch.inf, run)
    even = name == "avg_pool2d" and not known["ceil_mode"] and known["divisor_override"] is None
    if even and (known["count_include_pad"] or not any(pair(known["padding"]))):
        stride = known["stride"] or known["kernel_size"]
        return _of(known["kernel_size"], stride, known["padding"], 1, 0.0, _mean)
    return None


def _of(kernel: Any, stride: Any, padding: Any, dilation: Any, fill: float, run: Any) -> Window | None:
    """None where a window may lie in the padding as a whole."""
    kernel, dilation, padding = pair(kernel), pair(dilation), pair(padding)
    fits = all(p <= (k - 1) * d for p, k, d in zip(padding, kernel, dilation, strict=True))
    return Window(kernel, pair(stride), padding, dilation, fill, run) if fits else None


def _padding(given: Any, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, int]:
    if given == "same":
        return (kernel[0] - 1) * dilation[0] // 2, (kernel[1] - 1) * dilation[1] // 2
    return (0, 0) if given == "valid" else pair(given)


def _convolved(known: Mapping[str, Any]) -> Tensor:
    return conv2d(
        known["input"], known["weight"], known["bias"], known["stride"], 0, known["dilation"], known["groups"]
    )


def _largest(known: Mapping[str, Any]) -> Tensor:
    return max_pool2d(known["self"], known["kernel_size"], known["stride"] or None, 0, known["dilation"])


def _largest_first(known: Mapping[str, Any]) -> tuple[Tensor]:
    return (_largest(known),)


def _mean(known: Mapping[str, Any]) -> Tensor:
    return avg_pool2d(known["self"], known["kernel_size"], known["stride"] or None)


def _given(node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of an operation by their names."""
    known = getattr(getattr(node.target, "_schema", None), "arguments", ())
    placed = zip((a.name for a in known), args, strict=False)
    return {a.name: a.default_value for a in known} | dict(placed) | dict(kwargs)


def shape(node: Any) -> tuple[int, ...]:
    """Of an operation's result, or of the first of several; the batch, which may be any, is 0."""
    value = node.meta["val"]
    value = value[0] if isinstance(value, (tuple, list)) else value
    return tuple(int(size) if isinstance(size, int) else 0 for size in getattr(value, "shape", ()))
