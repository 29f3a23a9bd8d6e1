"""The only training loop."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import final

import torch
from lightning_fabric import Fabric
from torch import nn

from seamwise.chain import ChainNet
from seamwise.errors import SeamwiseError, TrainingError
from seamwise.metrics import Score, Target
from seamwise.settings import Fit
from seamwise.shapes import Bool, Float, Int, Shaped, Tensor
from seamwise.stage import raised
from seamwise.stopping import Look, Stopped, Stopping
from seamwise.supply import batches

EVALUATION_BATCH = 512
POOL = 20  # batches whose items are sorted by length together

Watch = Callable[[int, int, float], None]
"""(step, the last step if it does not stop before, best validation error so far) -> None"""


@final
@dataclass(frozen=True)
class Examples:
    """What a training or a scoring reads: inputs, labels, and for which items each label is known."""

    inputs: dict[str, Tensor]
    labels: dict[str, Tensor]
    known: dict[str, Bool[Tensor, " n"]]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def __getitem__(self, rows: Int[Tensor, " m"] | slice) -> "Examples":
        return Examples(*({name: v[rows] for name, v in part.items()} for part in self._parts))

    def to(self, device: torch.device) -> "Examples":
        return Examples(*({name: v.to(device) for name, v in part.items()} for part in self._parts))

    @property
    def _parts(self) -> tuple[dict[str, Tensor], ...]:
        return self.inputs, self.labels, self.known


@final
@dataclass(frozen=True)
class Term:
    """One part of the objective: a target's loss over the items with its label, times a weight."""

    target: Target
    weight: float = 1.0


@final
@dataclass(frozen=True)
class Fitted:
    """What a training came to: the best averaged weights by validation, and how they were found."""

    weights: dict[str, Tensor] = field(repr=False)
    error: float
    loss: float
    rate: float
    n_steps: int  # of all tries together
    seconds: float
    stopped: Stopped
    off_plateau: bool = True
    history: tuple[tuple[int, float, float], ...] = field(default=(), repr=False)  # step, training loss, error


@final
@dataclass(frozen=True)
class Attempt:
    """One training: what each try of it shares; `at` is the loop.

    make: a new network, the same each time. chosen_by: whose validation error decides when to stop and which weights
    to keep. trivial: the validation error of the trivial predictor; no training stops on its first plateau there.
    Raises TrainingError where there is nothing to train on.
    """

    make: Callable[[], ChainNet]
    train: Examples
    validation: Examples
    terms: Sequence[Term]
    chosen_by: Target
    settings: Fit
    seed: int
    trivial: float = math.inf
    stop_at: float | None = None
    watch: Watch | None = None

    def __post_init__(self) -> None:
        if not len(self.train) or not len(self.validation):
            which = "training" if not len(self.train) else "validation"
            raise TrainingError(f"no {which} item has a label of {self.chosen_by.field!r}")

    def best(self, at: Callable[[float], Fitted]) -> Fitted:
        """The best try on validation. at: rate -> a try; it may raise FloatingPointError: not finite.

        Raises TrainingError where each of them does.
        """
        start = time.perf_counter()
        tries = self._all_rates(at)
        if not any(t.off_plateau for t in tries) and 0 < self.settings.start_small < len(self.train):
            with suppress(FloatingPointError):
                tries.append(self.small_first())
        best = min(tries, key=lambda t: (t.error, t.loss))
        return replace(best, n_steps=sum(t.n_steps for t in tries), seconds=time.perf_counter() - start)

    def _all_rates(self, at: Callable[[float], Fitted]) -> list[Fitted]:
        """A try a rate, until one reaches `stop_at`; without those whose numbers were not finite."""
        tries, diverged = [], ""
        for rate in self.settings.rates:
            try:
                tries.append(at(rate))
            except FloatingPointError as error:
                diverged = f"training by {self.chosen_by.field!r} at rate {rate}: {error}"
                continue
            if tries[-1].stopped == "reached":
                break
        if not tries:
            raise TrainingError(
                diverged, remedy="check the loss and metric on your labels, or give lower rates in seamwise.Fit"
            )
        return tries

    def at(self, rate: float, n_rows: Callable[[int], int] | None = None) -> Fitted:
        """Train a new net at one rate. n_rows: step -> how many of the examples to train on; all by default."""
        settings, net = self.settings, self.make()
        fabric = _fabric(settings.accelerator, settings.precision, settings.n_devices)
        torch.manual_seed(self.seed)
        train, validation = self.train.to(fabric.device), self.validation.to(fabric.device)
        weights = [p for p in net.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=settings.weight_decay, fused=True)
        model, stepper = fabric.setup(net, optimizer)
        average = Average(net, settings.average)
        objective = Objective(self.terms, train, fabric.global_rank, fabric.world_size)
        stopping = Stopping(_look(net, validation, self.chosen_by, 0), settings, self.trivial, self.stop_at)
        total = torch.zeros((), device=fabric.device)
        lengths = lengths_in(self.train.inputs, settings.alike)
        steps = shuffled(len(train), settings.batch, self.seed, n_rows, lengths)
        model.train()
        while not stopping.why:
            step, rows = next(steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, step / max(1, settings.warmup))
            loss = objective(model, rows.to(fabric.device))
            if loss is not None:
                fabric.backward(loss)
                torch.nn.utils.clip_grad_norm_(weights, settings.clip, foreach=True)
                stepper.step()
                optimizer.zero_grad()
                average.update()
                total += loss.detach()
            if step % settings.eval_every == 0 or step == settings.max_steps:
                window = (step - 1) % settings.eval_every + 1
                # the same on all devices, so that they stop at once
                look = fabric.broadcast(_look(average.net(), validation, self.chosen_by, step))
                stopping.look(look, float(fabric.all_reduce(total)) / window)  # type: ignore[arg-type]
                total.zero_()
                if self.watch is not None:
                    self.watch(step, settings.max_steps, stopping.best.error)
        return fitted(stopping, rate)

    def small_first(self) -> Fitted:
        """Train once more from the start, with few examples and then more and more.

        By the answer alone, a chain of several stages can be stuck with many examples where it learns from few;
        once it reads those, the others follow. Source: Elman 1993, Learning and development in neural networks:
        the importance of starting small (Cognition 48). Differs: what grows is the number of examples.
        """
        settings, n = self.settings, len(self.train)

        def n_rows(step: int) -> int:
            return min(n, int(settings.start_small * 2 ** (step / settings.patience)))

        all_by = settings.patience * math.ceil(math.log2(n / settings.start_small))
        longer = replace(settings, min_steps=max(settings.min_steps, all_by + settings.patience))
        return replace(self, settings=longer).at(settings.rates[0], n_rows)


def fit(attempt: Attempt) -> Fitted:
    """Train a new network once a learning rate, and keep the best on validation.

    Raises TrainingError where every rate ended in numbers that are not finite.
    """
    return attempt.best(attempt.at)


Fitting = Callable[[Attempt], Fitted]
"""How a training is done: `fit`, or what waits until others can be done beside it."""


def fitted(stopping: Stopping, rate: float) -> Fitted:
    """What a try came to."""
    best = stopping.best
    return Fitted(
        weights=best.weights,
        error=best.error,
        loss=best.loss,
        rate=rate,
        n_steps=stopping.last.step,
        seconds=0.0,
        stopped=stopping.why,
        off_plateau=stopping.off_plateau,
        history=tuple(stopping.history),
    )


def _look(net: ChainNet, validation: Examples, target: Target, step: int) -> Look:
    error, loss = score(net, validation, target)
    return Look(step, error, loss, {k: v.detach().cpu().clone() for k, v in net.state_dict().items()})


@final
class Objective:
    """The weighted sum of the terms' losses on some rows, each over the items that have its label."""

    def __init__(self, terms: Sequence[Term], train: Examples, rank: int = 0, n_ranks: int = 1) -> None:
        self._terms, self._train = terms, train
        self._complete = {t.target.field: bool(train.known[t.target.field].all()) for t in terms}
        self._rank, self._n_ranks = rank, n_ranks

    def __call__(self, model: nn.Module, rows: Int[Tensor, " batch"]) -> Float[Tensor, ""] | None:
        """The loss, or None where no row has a label to learn from. Several ranks share the rows."""
        own = rows[self._rank :: self._n_ranks] if self._n_ranks > 1 else rows
        written = model({name: v[own] for name, v in self._train.inputs.items()})
        total: Tensor | None = None
        for term in self._terms:
            value = self._term(term.target, written[term.target.field], own, rows)
            if value is not None and value.requires_grad:
                total = term.weight * value if total is None else total + term.weight * value
        if total is None and self._n_ranks > 1:  # the other ranks wait for this one's gradient
            total = sum((p.sum() * 0 for p in model.parameters() if p.requires_grad), torch.zeros(()))
        return total

    def _term(
        self,
        target: Target,
        written: Shaped[Tensor, "own *each"],
        own: Int[Tensor, " own"],
        rows: Int[Tensor, " batch"],
    ) -> Float[Tensor, ""] | None:
        labels = self._train.labels[target.field][own]
        if self._complete[target.field] and self._n_ranks == 1:
            return item_losses(target, written, labels).mean()
        known = self._train.known[target.field]
        here = known[own]
        n_here = int(here.sum())
        if not n_here:
            return None
        value = item_losses(target, written[here], labels[here]).mean()
        return value if self._n_ranks == 1 else value * n_here * self._n_ranks / int(known[rows].sum())


def score(net: ChainNet, examples: Examples, target: Target) -> tuple[float, float]:
    """(mean error, mean loss) of a target over the items with its label."""
    return scored(write(net, examples.inputs, [target.field])[target.field], examples, target)


def scored(written: Shaped[Tensor, "n *each"], examples: Examples, target: Target) -> tuple[float, float]:
    """(mean error, mean loss) of what was written for a target, over the items with its label."""
    known = examples.known[target.field]
    labels = examples.labels[target.field][known]
    losses = item_losses(target, written[known], labels)
    return float(item_errors(target, written[known], labels).mean()), float(losses.float().mean())


def item_errors(target: Target, written: Shaped[Tensor, "n *each"], labels: Shaped[Tensor, "n *any"]) -> Tensor:
    """The metric's error of each item. Raises TrainingError where it raises or is not one finite number an item."""
    errors = _called("metric", target.metric, target, written, labels)
    if errors.shape != (len(labels),) or not bool(torch.isfinite(errors).all()):
        raise TrainingError(
            f"the metric of {target.field!r} returned no finite error for each item",
            given=f"shape {list(errors.shape)}, {int((~torch.isfinite(errors)).sum())} not finite",
            expected=f"shape [{len(labels)}], lower is better",
            remedy=f"mend the metric of {target.field!r}",
        )
    return errors.float()


def item_losses(target: Target, written: Tensor, labels: Tensor) -> Tensor:
    """The loss of each item. Raises TrainingError where it raises."""
    return _called("loss", target.loss, target, written, labels)


def _called(kind: str, function: Score, target: Target, written: Tensor, labels: Tensor) -> Tensor:
    """What a loss or metric returns. Raises TrainingError where it raises."""
    try:
        return function(written, labels)
    except (SeamwiseError, FloatingPointError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise TrainingError(
            f"the {kind} of {target.field!r} raised {raised(error)}",
            given=f"written {list(written.shape)}, labels {list(labels.shape)}",
            remedy=f"mend the {kind} of {target.field!r}",
        ) from error


def write(
    net: ChainNet,
    inputs: dict[str, Tensor],
    fields: Sequence[str],
    pins: dict[str, tuple[Tensor, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """Run a network in evaluation mode over all items, a batch at a time; the fields that were asked for.

    Stages behind the last that writes one of them are not run.
    """
    writing = [k for k, stage in enumerate(net.chain.stages) if set(fields).intersection(stage.outputs)]
    last = max(writing, default=0)
    net = net.eval().part([stage.name for stage in net.chain.stages[: last + 1]])
    pieces: dict[str, list[Tensor]] = {name: [] for name in fields}
    n = len(next(iter(inputs.values())))
    with torch.no_grad():
        for rows in batches(n, EVALUATION_BATCH):
            pinned = None if pins is None else {f: (gold[rows], where[rows]) for f, (gold, where) in pins.items()}
            written = net({name: v[rows] for name, v in inputs.items()}, pinned)
            for name in fields:
                pieces[name].append(written[name])
    return {name: torch.cat(parts) for name, parts in pieces.items()}


def shuffled(
    n_all: int,
    size: int,
    seed: int,
    n_rows: Callable[[int], int] | None = None,
    lengths: Int[Tensor, " n"] | None = None,
) -> Iterator[tuple[int, Int[Tensor, " batch"]]]:
    """(step from 1, its rows), without end: pass after pass in a new order.

    n_rows: step -> how many of n_all; all by default, else the first ones of a mixed order. What is left of a
    pass and fills no batch is dropped. lengths: of the items, where batches are to be of items about as long.
    """
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randperm(n_all, generator=generator)  # so that the first few are of all kinds
    step = 0
    while True:
        n = n_all if n_rows is None else n_rows(step)
        order = mixed[torch.randperm(n, generator=generator)]
        if lengths is not None:
            order = _alike(order, size, lengths, generator)
        for at in range(0, max(1, n - size + 1), size):
            step += 1
            yield step, order[at : at + size]


def _alike(
    order: Int[Tensor, " n"], size: int, lengths: Int[Tensor, " all"], generator: torch.Generator
) -> Int[Tensor, " kept"]:
    """Items sorted by length, a few batches at a time, and those batches in a new order; what fills none is out."""
    order = order[: max(size, len(order) // size * size)]
    pools = [pool[lengths[pool].argsort(stable=True)] for pool in torch.split(order, POOL * size)]
    parts = torch.split(torch.cat(pools), size)
    return torch.cat([parts[k] for k in torch.randperm(len(parts), generator=generator)])


def lengths_in(inputs: dict[str, Tensor], name: str) -> Int[Tensor, " n"] | None:
    """How many places of an input are not filled up with zeros, an item; None where there is no such input."""
    return (inputs[name].reshape(*inputs[name].shape[:2], -1) != 0).any(2).sum(1) if name in inputs else None


@final
class Average:
    """A running average of a net's weights that forgets its start: the share kept grows to `most`.

    torch.optim.swa_utils.AveragedModel does the same, but walks all modules each step (.25 ms more).
    """

    def __init__(self, net: ChainNet, most: float) -> None:
        self._source, self._net, self._most, self._n = net, copy.deepcopy(net), most, 0
        pairs = zip(self._net.parameters(), net.parameters(), strict=True)
        moving = [(kept, new) for kept, new in pairs if new.requires_grad]
        self._kept: list[Tensor]
        self._new: list[Tensor]
        self._kept, self._new = [kept for kept, _ in moving], [new for _, new in moving]

    @torch.no_grad()
    def update(self) -> None:
        share = min(self._most, (1 + self._n) / (10 + self._n))
        torch._foreach_lerp_(self._kept, self._new, 1 - share)
        self._n += 1

    def net(self) -> ChainNet:
        """The net with the averaged weights, and the newest buffers (of batch normalisation, say)."""
        for kept, new in zip(self._net.buffers(), self._source.buffers(), strict=True):
            kept.copy_(new)
        return self._net


@lru_cache(maxsize=1)
def _fabric(accelerator: str, precision: str, n_devices: int) -> Fabric:
    strategy = "ddp_find_unused_parameters_true" if n_devices > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, precision=precision, devices=n_devices, strategy=strategy)  # type: ignore[arg-type]
    if n_devices > 1:
        fabric.launch()
    return fabric
