"""Running a network over tokens, window by window, and handing over what its layers give.

A long document is read in windows, whose first tokens are read again for what came before and are then left out;
windows of unequal lengths are never padded. So a network that remembers more than `overlap` tokens is not seen to.
A network that does not read so long a window is read in shorter ones: halves, quarters, and so on.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, final

import numpy as np
import torch
from torch import nn

from seamwise.errors import InputError, ModelError, SeamwiseError
from seamwise.look.text.tokens import Tokens, tokens_of
from seamwise.shapes import Float, Int, NDArray, Shaped, Tensor
from seamwise.steps import Steps

WINDOW, OVERLAP = 509, 125  # tokens read at once, and of these, at most a quarter, read for what came before
SHORTEST = 8  # tokens of a window
SAMPLE = 8192  # tokens, or fewer of many units
ROOM: Final = 1 << 22  # activations held at once
ALIKE: Final = 1e-4  # of a layer's largest activation: what may differ where nothing should

Chunk = tuple[Int[NDArray, " tokens"], Float[Tensor, "tokens units"]]
Piece = tuple[int, int, int, int]  # of a document: its first token, that behind its last; and what is asked for


def tokens_for(network: nn.Module, documents: Sequence[str]) -> Tokens:
    """Documents as the network reads them: by its method `encode(text)` where it has one, else by bytes in UTF-8.

    Where a number is neither one character nor one byte, a method `pieces(text)` has to divide the text likewise.
    Raises InputError where there is no document, ModelError.
    """
    if not documents:
        raise InputError("there is no text", given="no document", expected="a document at least")
    try:
        return tokens_of(documents, getattr(network, "encode", _bytes), getattr(network, "pieces", None))
    except SeamwiseError:
        raise
    except Exception as error:  # whatever the user's module raises
        given = f"{type(error).__name__}: {error}"[:200]
        expected = "a number for each character, for each byte, or for each piece"
        raise ModelError("the module's encode(text) does not read the text", given=given, expected=expected) from error


def _bytes(text: str) -> Int[NDArray, " tokens"]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64)


@final
class Reader:
    """Runs a network over tokens and gives the activations of its layers, [tokens, units], window by window.

    A layer is any module whose output, or its first part where it is a tuple, is [batch, tokens, units], or
    [tokens, batch, units], or [batch, units, tokens]; other modules are passed over, and those that only hand on what
    another gave. Layers that run more than once are looked at the first time.

    Raises ModelError, also where what a layer gives for a window depends on others beside it, or on chance.
    window, overlap: as they are in use; passed: modules that give no units for each token.
    """

    def __init__(
        self,
        network: nn.Module,
        tokens: Tokens,
        layers: Sequence[str] = (),
        window: int = WINDOW,
        overlap: int | None = None,
    ) -> None:
        overlap = min(OVERLAP, window // 4) if overlap is None else overlap
        if not 0 <= overlap < window:
            given, expected = f"a window of {window}, an overlap of {overlap}", "an overlap shorter than the window"
            raise InputError("windows do not fit", given=given, expected=expected)
        self._network, self._tokens = network, tokens
        self.window = self._longest(window)
        self.overlap = min(overlap, self.window // 4) if self.window < window else overlap
        self._axes, self.layers, self.passed = self._look(layers)
        self.n_units = sum(n for _, n in self.layers)

    def _longest(self, window: int) -> int:
        """The window, or the first half, quarter ... of it in which the network reads the first tokens, all of them."""
        ids, tried, first = self._tokens.ids[:window], list[str](), None
        length = len(ids)
        while length:
            try:
                rows = ids[: len(ids) // length * length].reshape(-1, length, *ids.shape[1:])
                self._run(np.concatenate([rows, rows]))
                return length if tried else window
            except ModelError as error:
                first = first or error
                tried.append(str(length))
            length = length // 2 if length >= 2 * SHORTEST else 0
        expected = f"numbers [batch, tokens] in; windows of {', '.join(tried)} tokens were tried"
        remedy = "give the module a method encode(text) -> numbers that it reads, or the window that it needs"
        raise ModelError(first.brief if first else "no token", expected=expected, remedy=remedy) from first

    def _look(
        self, asked: Sequence[str]
    ) -> tuple[dict[str, tuple[int, ...]], tuple[tuple[str, int], ...], tuple[str, ...]]:
        """Where batch, tokens and units are in each layer's output, and what is passed over."""
        pair = np.stack([(one := self._tokens.ids[: self.window]), one[::-1]])
        outputs, axes = self._run(pair), self._found(pair)
        missing = [name for name in asked if name not in axes]
        if missing or not axes:
            what = f"no layer {missing[0]!r} that gives units for each token" if missing else "no layer gives units"
            expected = ", ".join(axes) or "a module whose output is [batch, tokens, units]"
            raise ModelError(what, given=", ".join(outputs)[:300] or "no output", expected=expected)
        kept = {name: found for name, found in axes.items() if not asked or name in asked}
        first = {name: _arranged(outputs[name], found) for name, found in kept.items()}
        self._check(pair, first, kept)
        passed = () if asked else tuple(f"{n} {tuple(o.shape[1:])}" for n, o in outputs.items() if n not in axes)
        return kept, tuple((name, output.shape[2]) for name, output in first.items()), passed

    def _found(self, pair: Shaped[NDArray, "2 tokens *features"]) -> dict[str, tuple[int, ...]]:
        """The axes of each layer; by windows of a length that few layers have, where the network reads such.

        What has another number of units in shorter windows (attention to each token, say) has no units.
        """
        length = pair.shape[1]
        for n in dict.fromkeys([_prime(length), length]):
            with suppress(ModelError):
                outputs = self._run(pair[:, :n])
                break
        found = {name: axes for name, output in outputs.items() if (axes := _axes(output, 2, n))}
        with suppress(ModelError):
            shorter = self._run(pair[:, : _prime(max(1, n // 2))])
            same = {
                k
                for k, axes in found.items()
                if k in shorter and _n_units(shorter[k], axes) == _n_units(outputs[k], axes)
            }
            found = {name: axes for name, axes in found.items() if name in same}
        return found

    def _check(
        self, pair: Shaped[NDArray, "2 tokens *features"], first: dict[str, Tensor], axes: dict[str, tuple[int, ...]]
    ) -> None:
        """The same windows again, then the other way round: no layer may give anything else for them."""
        again, turned = self._run(pair), self._run(pair[::-1])
        for name, once in first.items():
            if not _alike(once, _arranged(again[name], axes[name])):
                remedy = "let the module draw nothing at random in eval(), and keep no state from call to call"
                given = "the same tokens, run twice"
                raise ModelError(f"{name}: gives something else each time", given=given, remedy=remedy)
            if not _alike(once, _arranged(turned[name], axes[name]).flip(0)):
                given = f"{tuple(once.shape)} from two windows of {pair.shape[1]} tokens"
                remedy = "batch first: nn.LSTM(..., batch_first=True), or transposed before; or look at other layers"
                what = f"{name}: what it gives for one window depends on those beside it"
                raise ModelError(what, given=given, expected="each row of a batch by itself", remedy=remedy)

    def _run(self, ids: Shaped[NDArray, "batch tokens *features"]) -> dict[str, Tensor]:
        with _outputs(self._network) as outputs, _evaluated(self._network), torch.inference_mode():
            try:
                self._network(torch.from_numpy(np.ascontiguousarray(ids)))
            except Exception as error:  # whatever the user's module raises
                given = (
                    f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"
                    if str(error).strip()
                    else repr(error)
                )
                remedy = "give the module a method encode(text) -> numbers that it reads, or the window that it needs"
                what = f"the network does not read {ids.shape[1]} tokens"
                raise ModelError(what, given=given, expected="numbers [batch, tokens]", remedy=remedy) from error
        return outputs

    def read(self, pieces: Sequence[Piece], steps: Steps | None = None) -> Iterator[Chunk]:
        """The activations of what is asked for, in no particular order: which tokens, and their units."""
        windows = [window for piece in pieces for window in _windows(*piece, self.window, self.overlap)]
        windows.sort(key=lambda w: w[1] - w[0])
        at_once, at = max(1, min(32, ROOM // (self.n_units * self.window))), 0
        while at < len(windows):
            length = windows[at][1] - windows[at][0]
            batch = [w for w in windows[at : at + at_once] if w[1] - w[0] == length]
            yield self._chunk(np.array(batch))
            at += len(batch)
            if steps is not None:
                steps.at(at, len(windows))

    def _chunk(self, windows: Int[NDArray, "batch 4"]) -> Chunk:
        rows = windows[:, :1] + np.arange(windows[0, 1] - windows[0, 0])
        outputs = self._run(self._tokens.ids[rows])
        parts = [_arranged(outputs[name], axes) for name, axes in self._axes.items()]
        asked = (rows >= windows[:, 2:3]) & (rows < windows[:, 3:])
        activations = torch.cat([part.float() for part in parts], 2)[torch.from_numpy(asked)]
        if not bool(torch.isfinite(activations.sum())):
            broken = next((n for n, p in zip(self._axes, parts, strict=True) if not p.isfinite().all()), "a layer")
            raise ModelError(f"{broken}: activations that are no numbers", remedy="check the weights; use float32")
        return rows[asked], activations

    def sample(self, pieces: Sequence[Piece]) -> Chunk:
        """Some windows from all over what is asked for, to make bins of."""
        wanted = min(SAMPLE, max(ROOM // self.n_units, self.window))
        windows = [window for piece in pieces for window in _windows(*piece, self.window, self.overlap)]
        step = max(1, int(sum(w[3] - w[2] for w in windows) / wanted))
        some = [(w[0], w[1], w[2], w[3]) for w in windows[step // 2 :: step]]
        chunks = [self._chunk(np.array([window])) for window in some]
        return np.concatenate([rows for rows, _ in chunks]), torch.cat([activations for _, activations in chunks])


def _windows(first: int, last: int, begin: int, end: int, window: int, overlap: int) -> Iterator[Piece]:
    """Where each window begins and ends, and which of its tokens are asked for."""
    at = begin
    while at < end:
        start = max(first, min(at - overlap, last - window))
        stop = min(start + window, last)
        yield start, stop, at, min(stop, end)
        at = stop


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    one, other = one.float(), other.float()
    reach = ALIKE * float(one.nan_to_num().abs().max()) + 1e-12
    return torch.allclose(one, other, rtol=0, atol=reach, equal_nan=True)


def _prime(most: int) -> int:
    return next((n for n in range(most, 2, -1) if all(n % k for k in range(2, int(n**0.5) + 1))), most)


@contextmanager
def _outputs(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What each module gives first; of modules that give the same tensor, the innermost."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: object) -> None:
        value = output[0] if isinstance(output, tuple | list) and output else output
        known = any(value is other for other in outputs.values())
        if isinstance(value, Tensor) and name not in outputs and not known:
            outputs[name] = value

    hooks = [
        module.register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
        for name, module in ((name or "output", module) for name, module in network.named_modules())
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Without dropout and the like; each module is put back as it was."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _axes(output: Tensor, batch: int, tokens: int) -> tuple[int, ...]:
    """Which axes are batch, tokens and, for the rest, units; none where it is something else."""
    shape = tuple(output.shape)
    if output.ndim < 3 or not output.is_floating_point() or output.numel() == 0:
        return ()
    if shape[:2] == (batch, tokens):
        return tuple(range(output.ndim))
    if shape[:2] == (tokens, batch):
        return (1, 0, *range(2, output.ndim))
    return (0, 2, 1) if output.ndim == 3 and (shape[0], shape[2]) == (batch, tokens) else ()


def _n_units(output: Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(output.shape[axis] for axis in axes[2:])


def _arranged(output: Tensor, axes: tuple[int, ...]) -> Float[Tensor, "batch tokens units"]:
    return output.permute(axes).flatten(2)
