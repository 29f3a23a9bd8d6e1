"""What decides the result of a callable, as text: so that nothing trained by other code is taken for the same."""

import hashlib
import inspect
import sysconfig
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from seamwise.metrics import Target
from seamwise.shapes import NDArray, Tensor

MOST_DEEP = 4  # objects within objects that are looked into
LIBRARIES = ("torch", "numpy", "scipy", "sklearn", "cv2", "builtins", "seamwise")  # known by their names alone


def target_source(target: Target) -> str:
    """The field and the code of a target's loss, metric and gold form."""
    functions = (target.loss, target.metric, target.gold, target.calibrate)
    return target.field + "".join(source(f) for f in functions if f is not None)


def source(function: Callable[..., Any], depth: int = 0) -> str:
    """The code behind a callable, and what it is bound to: the file that defines it, where it is the user's."""
    if isinstance(function, partial):
        return source(function.func, depth) + plain(function.args, depth) + plain(function.keywords, depth)
    if not (inspect.isroutine(function) or inspect.isclass(function)):
        return _code(type(function)) + plain(function, depth)
    if str(getattr(function, "__module__", "")).startswith("seamwise."):
        function = inspect.unwrap(function)  # all that wraps our own are the type checks of tests
    bound = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _filled(cell)]
    bound += [getattr(function, name, None) for name in ("__defaults__", "__kwdefaults__")]
    owner = getattr(function, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        bound.append(owner)
    return _code(function) + _reached(function, set()) + "".join(plain(value, depth + 1) for value in bound)


def _reached(function: Callable[..., Any], seen: set[int]) -> str:
    """The code of what a user's function or class uses by its global names, and the values that it finds there."""
    if id(function) in seen:
        return ""
    seen.add(id(function))
    text = ""
    for own in _functions(function):
        text += _instructions(own.__code__)
        for name in sorted(_names(own.__code__) & set(own.__globals__)):
            text += name + _used(own.__globals__[name], seen)
    return text


def _used(value: object, seen: set[int]) -> str:
    if isinstance(value, ModuleType):
        file = getattr(value, "__file__", None) or ""
        return Path(file).read_text(encoding="utf-8") if file.endswith(".py") and not _installed(file) else ""
    if inspect.isroutine(value) or inspect.isclass(value):
        return _reached(value, seen)
    return plain(value, MOST_DEEP)


def _functions(thing: Any) -> list[Any]:
    """The function itself, or all methods of a class, where they are the user's."""
    if not inspect.isclass(thing):
        own = inspect.unwrap(thing)
        return [own] if hasattr(own, "__code__") and not _is_library(own) else []
    members = [v for cls in thing.__mro__ if not _is_library(cls) for v in vars(cls).values()]
    members = [getattr(v, "fget", None) or getattr(v, "__func__", v) for v in members]
    return [v for v in members if hasattr(v, "__code__")]


def _is_library(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).split(".")[0] in LIBRARIES


def _names(code: CodeType) -> set[str]:
    inner = [_names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)


def _installed(file: str) -> bool:
    return file.startswith((sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")))


def plain(value: object, depth: int = 0) -> str:
    """A value as text that is the same in every process."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{_digest(value)}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{plain(v, depth)}" for key, v in value.items()) + "}"
    if isinstance(value, set | frozenset):  # their order differs from process to process
        return "{" + ",".join(sorted(plain(v, depth) for v in value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(plain(v, depth) for v in value) + "]"
    if depth > MOST_DEEP:
        return type(value).__qualname__
    if inspect.isroutine(value) or inspect.isclass(value):
        return source(value, depth)
    if " at 0x" not in repr(value):
        return repr(value)
    return type(value).__qualname__ + plain(getattr(value, "__dict__", {}), depth + 1)


def _digest(array: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _code(function: Callable[..., Any]) -> str:
    """The name, and the text of the user's file; of a function its own code too, as lambdas share a name."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    name += _instructions(getattr(inspect.unwrap(function), "__code__", None))
    try:
        file = inspect.getsourcefile(function) or ""
        if _installed(file):
            return name
        if Path(file).is_file():
            return name + Path(file).read_text(encoding="utf-8")
        return name + inspect.getsource(function)
    except (OSError, TypeError):
        return name


def _instructions(code: CodeType | None) -> str:
    if code is None:
        return ""
    constants = [_instructions(c) if isinstance(c, CodeType) else plain(c) for c in code.co_consts]
    return code.co_code.hex() + repr(code.co_names) + "".join(constants)


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
