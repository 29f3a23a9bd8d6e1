"""Stage: what reads some named fields and writes some; learned, designed, estimator or outside."""

import hashlib
import traceback
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn

from seamwise.errors import ChainError, ModelError, SeamwiseError, TrainingError
from seamwise.metrics import Target
from seamwise.shapes import NDArray, Tensor
from seamwise.source import source, target_source

Fields = Mapping[str, Tensor]

Names = str | Sequence[str]
Writes = str | Target | Sequence[str | Target]


@dataclass(frozen=True)
class Stage(ABC):
    """Reads named fields, writes named fields. `reads` are the arguments, in order; so are `writes`, returned."""

    name: str
    work: Callable[..., Any]
    reads: Names
    writes: Writes

    def __post_init__(self) -> None:
        if not callable(self.work) or isinstance(self.work, nn.Module):
            raise ChainError(
                f"stage {self.name!r} has no callable",
                given=type(self.work).__name__,
                expected=_EXPECTED[type(self).__name__],
            )
        if not self.inputs or not self.outputs:
            raise ChainError(f"stage {self.name!r} needs at least one field to read and one to write")

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.reads,) if isinstance(self.reads, str) else tuple(self.reads)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(w.field if isinstance(w, Target) else w for w in self._written)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The written fields that come with a loss and a metric."""
        return tuple(w for w in self._written if isinstance(w, Target))

    @property
    def _written(self) -> tuple[str | Target, ...]:
        return (self.writes,) if isinstance(self.writes, str | Target) else tuple(self.writes)

    @cached_property
    def signature(self) -> str:
        """A hash of all that decides what this stage computes, before training."""
        parts = [type(self).__name__, self.name, *self.inputs, *self.outputs, *self._settings()]
        parts += [source(self.work), *(target_source(target) for target in self.targets)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _settings(self) -> tuple[str, ...]:
        return ()

    @abstractmethod
    def build(self, seed: int) -> nn.Module:
        """A new module for this stage; with one seed, always the same."""


_EXPECTED = {
    "Learned": "a class of nn.Module, or a function that returns a new one (weights= for a pretrained one)",
    "Designed": "a function of the read fields",
    "Estimator": "a function that returns a new scikit-learn estimator",
    "Outside": "a function of the read fields",
}


@final
@dataclass(frozen=True)
class Learned(Stage):
    """A network: `work()` returns a new nn.Module; targets among `writes` give it losses of its own.

    weights: a safetensors file, or tensors by name, to start from (pretrained).
    frozen:  the weights stay bit-identical, and the module in evaluation mode.
    """

    weights: str | Path | Mapping[str, Tensor] | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frozen and self.weights is None:
            raise ChainError(
                f"stage {self.name!r} is frozen but has no weights", remedy="give weights=, or let it learn"
            )

    def _settings(self) -> tuple[str, ...]:
        if self.weights is None:
            return ()
        digest = hashlib.sha256()
        for key, value in sorted(self._tensors(self.weights).items()):
            digest.update(key.encode() + value.contiguous().numpy().tobytes())
        return digest.hexdigest(), str(self.frozen)

    def build(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(self.name.encode()) + seed)
            module = self._made()
        if not isinstance(module, nn.Module):
            raise ChainError(
                f"stage {self.name!r}: its function returned no module",
                given=type(module).__name__,
                expected=_EXPECTED["Learned"],
            )
        if self.weights is not None:
            load_weights(self.name, module, self._tensors(self.weights))
        return module.requires_grad_(not self.frozen)

    def _tensors(self, weights: str | Path | Fields) -> Fields:
        if isinstance(weights, Mapping):
            return weights
        return read_weights(f"weights of stage {self.name!r}: {weights} cannot be read", Path(weights))

    def _made(self) -> Any:
        try:
            return self.work()
        except (SeamwiseError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ChainError(
                f"stage {self.name!r}: its network could not be built",
                given=raised(error),
                remedy="mend the function that builds the network",
            ) from error


@final
@dataclass(frozen=True)
class Designed(Stage):
    """A function of tensors with nothing to learn. Gradient crosses it where its operations let it."""

    def build(self, seed: int) -> nn.Module:
        return _Function(self.work)


@final
@dataclass(frozen=True)
class Estimator(Stage):
    """A scikit-learn estimator: `work()` returns a new one. It learns without gradient and stops it.

    The read fields are flattened and put side by side; it is fitted to the labels of its one target, and
    writes `predict_proba` (spread over the target's classes) where it has it, else `predict`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.targets) != 1 or len(self.outputs) != 1:
            raise ChainError(f"estimator {self.name!r} must write exactly one field, as a Target")

    def build(self, seed: int) -> nn.Module:
        return EstimatorNet(self, seed)


@final
@dataclass(frozen=True)
class Outside(Stage):
    """Any callable, an API say: it is given numpy arrays, is neither trained nor differentiated."""

    def build(self, seed: int) -> nn.Module:
        return _Call(self.work)


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *fields: Tensor) -> Any:
        return self.function(*fields)


class _Call(_Function):
    def forward(self, *fields: Tensor) -> Any:
        written = self.function(*[f.detach().cpu().numpy() for f in fields])
        many = written if isinstance(written, tuple) else (written,)
        back = tuple(as_tensor(w).to(fields[0].device) for w in many)
        return back if isinstance(written, tuple) else back[0]


def as_tensor(values: Any) -> Tensor:
    """An array as a tensor; float64, numpy's default, becomes float32 as in a supply."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    return tensor.float() if tensor.dtype == torch.float64 else tensor


class EstimatorNet(nn.Module):
    """The module of an Estimator stage: refuses to answer until `fit`."""

    def __init__(self, stage: Estimator, seed: int) -> None:
        super().__init__()
        self.stage, self.seed = stage, seed
        self.fitted: Any = None
        self.width = stage.targets[0].gold(torch.zeros(1, dtype=torch.long)).shape[-1]

    def fit(self, fields: Sequence[Tensor], labels: Tensor) -> None:
        """Fit a new estimator. fields: each [n, ...]; labels: [n]."""
        estimator = self.stage.work()
        names = [n for n in estimator.get_params() if n == "random_state" or n.endswith("__random_state")]
        estimator.set_params(**dict.fromkeys(names, self.seed))
        self.fitted = estimator.fit(_table(fields), labels.cpu().numpy())

    def forward(self, *fields: Tensor) -> Tensor:
        if self.fitted is None:
            raise TrainingError(
                f"estimator {self.stage.name!r} is not fitted: no label of {self.stage.outputs[0]!r} may be used here"
            )
        table, device = _table(fields), fields[0].device
        if not hasattr(self.fitted, "predict_proba"):
            return torch.as_tensor(self.fitted.predict(table), dtype=torch.float32, device=device)
        spread = np.zeros((len(table), max(self.width, int(self.fitted.classes_.max()) + 1)), dtype=np.float32)
        spread[:, self.fitted.classes_.astype(int)] = self.fitted.predict_proba(table)
        return torch.from_numpy(spread).to(device)


def _table(fields: Sequence[Tensor]) -> NDArray:
    return torch.cat([f.detach().float().reshape(len(f), -1) for f in fields], dim=1).cpu().numpy()


def raised(error: Exception) -> str:
    """What a function of the user's raised, in one line, and where: "RuntimeError: boom (file.py, line 3)"."""
    told = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".rstrip(": ")
    trace = traceback.extract_tb(error.__traceback__)
    if len(trace) < 2:  # raised by the call itself, as where an argument is missing
        return told
    return f"{told} ({trace[-1].filename}, line {trace[-1].lineno})"


def load_weights(where: str, module: nn.Module, weights: Fields) -> None:
    """Load tensors by name. Raises ModelError naming the keys and shapes that do not fit."""
    own = module.state_dict()
    wrong = sorted(set(own) ^ set(weights)) + [k for k in own if k in weights and own[k].shape != weights[k].shape]
    if wrong:
        raise ModelError(
            f"the weights do not fit {where!r}",
            given=", ".join(f"{k} {list(weights[k].shape) if k in weights else 'missing'}" for k in wrong[:5]),
            expected=", ".join(f"{k} {list(own[k].shape) if k in own else 'not there'}" for k in wrong[:5]),
        )
    module.load_state_dict(dict(weights))


def read_weights(what: str, path: Path) -> Fields:
    """The tensors of a safetensors file; `what` begins the message. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        save = "safetensors.torch.save_file(model.state_dict(), FILE)"
        remedy = "" if path.suffix == ".safetensors" else f"save it by {save}; nothing is unpickled here"
        raise ModelError(what, given=str(error), expected="a safetensors file", remedy=remedy) from None
