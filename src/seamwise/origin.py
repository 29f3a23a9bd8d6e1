"""Where a task comes from, as its `source` says, and the Python module that makes it.

A source is the name of a shipped system or a Python file; then, where there are, folders of real data and the
settings of its world: "digits", "gate:/home/ann/people", "digits?clutter=8,noise.digit=.2", "/home/ann/my_task.py".
"""

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, final

import cloudpickle

from seamwise.errors import SeamwiseError, TaskError

SYSTEMS = ("digits", "gate", "age", "track", "text")
NOISE = "noise."  # before a field's name: how much of its labels to make wrong, in every task
EXAMPLE = "clutter=12,noise=.1"


@final
@dataclass(frozen=True)
class Origin:
    """name: a system, or a file's whole path; folders: of real data; world: settings, `noise.FIELD` among them."""

    name: str
    folders: tuple[Path, ...] = ()
    world: Mapping[str, float] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, float]:
        """What the system itself is asked for."""
        return {name: value for name, value in self.world.items() if not name.startswith(NOISE)}

    @property
    def noise(self) -> dict[str, float]:
        """{field: how much of its labels to make wrong}."""
        return {name.removeprefix(NOISE): value for name, value in self.world.items() if name.startswith(NOISE)}

    def changed(self, data: Sequence[Path] = (), world: Mapping[str, float] | None = None) -> "Origin":
        """With more folders, and other settings in place of those it has. Raises TaskError."""
        folders = (*self.folders, *(Path(folder).absolute() for folder in data))
        return replace(self, folders=folders, world={**self.world, **checked_settings(world or {})})

    def __str__(self) -> str:
        place = os.pathsep.join([self.name, *map(str, self.folders)])
        return place + ("?" + written_settings(self.world) if self.world else "")


def origin_of(source: str) -> Origin:
    """Read a source. Raises TaskError where its settings are none."""
    place, mark, told = source.rpartition("?")
    if not mark or "=" not in told or os.sep in told:
        place, told = source, ""
    file = re.fullmatch(rf"(.*?\.py)(?:{re.escape(os.pathsep)}(.*))?", place)
    name, _, held = (file[1], "", file[2] or "") if file else place.partition(os.pathsep)
    folders = tuple(Path(folder).absolute() for folder in held.split(os.pathsep) if folder)
    return Origin(name if name in SYSTEMS else str(_whole(name)), folders, read_settings(told))


def _whole(name: str) -> str | Path:
    path = Path(name)
    return path.resolve() if path.suffix == ".py" and path.is_file() else name


def read_settings(text: str, example: str = EXAMPLE) -> dict[str, float]:
    """{name: value} of "name=value,name=value". Raises TaskError."""
    settings: dict[str, float] = {}
    for word in text.split(",") if text else ():
        name, mark, value = (part.strip() for part in word.partition("="))
        if name in settings:
            raise TaskError(f"{name!r} is given twice", given=text)
        try:
            settings[name] = float(value)
        except ValueError:
            what = f"{name!r} is {value!r}" if mark else f"{name!r} has no value"
            raise TaskError(what, given=text, expected=f"numbers, as in {example}") from None
    return checked_settings(settings)


def checked_settings(world: Mapping[str, Any]) -> dict[str, float]:
    """Settings as floats. Raises TaskError naming one that is no finite number."""
    largest: Any = sys.float_info.max  # compared before it becomes a float: a whole number may be too large for one
    for name, value in world.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not abs(value) <= largest:
            raise TaskError(f"the setting {name!r} is {value!r}", expected="a finite number")
    return {name: float(value) for name, value in world.items()}


def written_settings(world: Mapping[str, float]) -> str:
    """What `read_settings` reads."""
    return ",".join(f"{name}={number(value)}" for name, value in world.items())


def number(value: float) -> str:
    """A number in as few digits as give it back: 8, 0.02."""
    return repr(float(value)).removesuffix(".0")


def module_of(origin: Origin) -> Any:
    """The module of a system, or a file's. Raises TaskError naming the file, and the line where its Python fails.

    As when Python runs a file, its folder is put on `sys.path`, so that it may import what lies beside it.
    """
    if origin.name in SYSTEMS:
        return importlib.import_module(f"seamwise.systems.{origin.name}.task")
    path = Path(origin.name)
    if path.suffix != ".py":
        raise TaskError(f"no task {origin.name!r}", expected=f"{', '.join(SYSTEMS)}, or a Python file that sets `task`")
    if not path.is_file():
        raise TaskError(f"{path}: no such file", expected="a Python file that sets `task`")
    return _run_file(path)


def made_by(module: Any, origin: Origin) -> Any:
    """What the module makes for this origin: its `task`, or what `with_data` or `with_world` returns.

    Raises TaskError where it has no such function, or its world no such setting.
    """
    if origin.folders and origin.settings:
        raise TaskError(
            f"{origin}: both real data and settings of a simulated world",
            expected="one of the two; noise.FIELD goes with both",
        )
    if origin.folders:
        return _called(origin, _function(module, origin, "with_data", "reads no real data"), list(origin.folders))
    if origin.settings:
        function = _function(module, origin, "with_world", "has no world with settings")
        _check_named(origin, function)
        return _called(origin, function, **origin.settings)
    return getattr(module, "task", None)


def _function(module: Any, origin: Origin, name: str, lacking: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        raise TaskError(
            f"{origin.name!r} {lacking}: it has no `{name}`",
            given=", ".join(map(str, origin.folders or origin.settings)),
            expected="" if origin.folders else f"{NOISE}FIELD alone, which every task has",
            remedy="" if origin.name in SYSTEMS else f"define `{name}` beside `task`",
        )
    return function  # type: ignore[no-any-return]


def _check_named(origin: Origin, function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for name in origin.settings:
        if name not in known:
            raise TaskError(
                f"the world of {origin.name!r} has no setting {name!r}",
                expected=f"one of {', '.join(known)}, or {NOISE}FIELD for wrong labels",
            )


def _called(origin: Origin, function: Callable[..., Any], *args: Any, **settings: float) -> Any:
    if origin.name in SYSTEMS:
        return function(*args, **settings)
    with _located(Path(origin.name)):
        return function(*args, **settings)


def _run_file(path: Path) -> Any:
    name = f"seamwise_task_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    with _located(path):
        spec.loader.exec_module(module)
    cloudpickle.register_pickle_by_value(module)  # other processes cannot import it by its name
    return module


@contextmanager
def _located(path: Path) -> Iterator[None]:
    """Whatever is raised inside names the user's file."""
    try:
        yield
    except SeamwiseError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:
        raise _file_error(path, error) from error


def _file_error(path: Path, error: Exception) -> TaskError:
    """Where in the file it failed, or, for a syntax error, in the file that has it."""
    where, trace = str(path), error.__traceback__
    if isinstance(error, SyntaxError):
        where = f"{error.filename or path}, line {error.lineno}"
        told = error.msg
    else:
        told = str(error)
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == str(path):
                where = f"{path}, line {trace.tb_lineno}"
            trace = trace.tb_next
    return TaskError(f"{where}: {type(error).__name__}: {told}", remedy="mend the file, then run the command again")
