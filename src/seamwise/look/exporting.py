"""A network as torch.export gives it: plain operations, or a refusal that says why not."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from seamwise.errors import ModelError
from seamwise.shapes import Tensor


def check(module: nn.Module) -> None:
    """Raises ModelError where a network is in training mode or in half precision."""
    what = type(module).__name__
    training = [name or what for name, part in module.named_modules() if part.training]
    if training:
        remedy = "call .eval() first: dropout and batch statistics would change from pass to pass"
        raise ModelError(f"{what}: is in training mode", given=f"{training[0]!r} trains", remedy=remedy)
    for name, weight in module.named_parameters():
        if weight.is_floating_point() and weight.dtype not in (torch.float32, torch.float64):
            raise ModelError(
                f"{what}: weights of half precision", given=f"{name}: {weight.dtype}", remedy="call .float() first"
            )


def exported(module: nn.Module, example: tuple[Tensor, ...]) -> tuple[Any, bool]:
    """The network as torch.export gives it, and whether it takes batches of any size. Raises ModelError."""
    check(module)
    _run(module, example)
    with _quiet(), torch.no_grad():
        try:
            try:
                program, any_size = _export(module, example, torch.export.Dim("batch", min=1)), True
            except torch._dynamo.exc.UserError as error:
                if "specialized" not in str(error):
                    raise
                program, any_size = _export(module, example, None), False
            return (program.run_decompositions({}) if _mutates(program) else program), any_size
        except Exception as error:  # torch.export raises many kinds
            raise _refusal(module, error) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says on the way to a refusal."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _run(module: nn.Module, example: tuple[Tensor, ...]) -> None:
    """Once as it is: what it keeps for later is real then, and its own errors are told as such. Raises ModelError."""
    try:
        with torch.no_grad():
            module(*example)
    except Exception as error:
        raise ModelError(
            f"{type(module).__name__}: cannot be run on inputs of {', '.join(str(tuple(t.shape)) for t in example)}",
            given=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            remedy="give the size it was made for (--size)",
        ) from error


def _export(module: nn.Module, example: tuple[Tensor, ...], batch: Any) -> Any:
    """The first dimension of every input is the batch."""
    each: list[Any] = []
    for given in inspect.signature(module.forward).bind(*example).arguments.values():
        each.append(tuple({0: batch} for _ in given) if isinstance(given, tuple) else {0: batch})
    return torch.export.export(module, example, dynamic_shapes=None if batch is None else tuple(each), strict=False)


def _mutates(program: Any) -> bool:
    """Whether an operation writes into its input: then all are rewritten into plain ones."""
    called = (node.target for node in program.graph.nodes if node.op == "call_function")
    return any(getattr(getattr(target, "_schema", None), "is_mutable", False) for target in called)


def _refusal(module: nn.Module, error: Exception) -> ModelError:
    told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if "DataDependent" in type(error).__name__ or "data-dependent" in str(error):
        return ModelError(
            f"{type(module).__name__}: takes another way for other pictures",
            given=told,
            expected="the same operations whatever the picture shows",
            remedy="look at the parts before and after the decision, each as a network of its own",
        )
    return ModelError(f"{type(module).__name__}: cannot be taken apart by torch.export", given=told)
