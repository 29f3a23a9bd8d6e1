"""Which operation stops gradient: a record of the operations between two tensors."""

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch.overrides import TorchFunctionMode

from seamwise.shapes import Tensor

LEAVES_TORCH = ("numpy", "item", "tolist", "__array__")
FLAT = ("round", "floor", "ceil", "trunc", "sign", "heaviside", "fix", "sgn", "floor_divide")


@final
class Trace(TorchFunctionMode):
    """Within `with Trace(start) as trace:`, follows what is computed from the start tensors."""

    def __init__(self, start: Sequence[Tensor]) -> None:
        super().__init__()
        self._alive: list[Tensor] = list(start)  # keeps the ids below from being given away again
        self._made_by: dict[int, tuple[str, list[Tensor]]] = {id(t): ("", []) for t in start}
        self._left: list[str] = []
        self._flat: list[str] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        followed = [t for t in _tensors((args, kwargs)) if id(t) in self._made_by]
        if followed:
            self._note(getattr(func, "__name__", str(func)), followed, result)
        return result

    def _note(self, name: str, followed: list[Tensor], result: Any) -> None:
        if name in LEAVES_TORCH:
            self._left.append(name)
        if name in FLAT:
            self._flat.append(name)
        for out in _tensors(result):
            if id(out) not in self._made_by:
                self._made_by[id(out)] = (name, followed)
                self._alive.append(out)

    def stopped_by(self, end: Tensor) -> str:
        """The name of the operation between start and end that let no gradient through."""
        queue, seen = [end], set()
        while queue:
            tensor = queue.pop(0)
            if id(tensor) in seen or id(tensor) not in self._made_by:
                continue
            seen.add(id(tensor))
            name, sources = self._made_by[id(tensor)]
            if not tensor.requires_grad and any(s.requires_grad for s in sources):
                return name
            queue += sources
        if self._left:
            return self._left[0]
        detached = [name for name, sources in self._made_by.values() if name == "detach" and sources]
        if detached:
            return "detach"
        return "it is not used" if id(end) not in self._made_by else (self._flat or ["a saturated operation"])[0]

    @property
    def flat(self) -> str:
        """An operation met on the way whose derivative is zero everywhere, if any."""
        return self._flat[0] if self._flat else ""


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [t for v in value for t in _tensors(v)]
    return []
