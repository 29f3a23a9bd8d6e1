"""Many trainings of one shape as one: their weights stacked, every operation started once for all of them.

Small networks cost what it takes to start their operations, not to compute them. Each training keeps its own examples,
order, start and stopping point, and comes to what it comes to alone, up to the rounding of sums.

Source: torch.func's model ensembling (vmap over functional_call). Differs: trained, each until it stops by itself.
"""

import copy
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import accumulate
from typing import TypeVar, final

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from seamwise.fit import Attempt, Examples, Fitted, Fitting, fit, fitted, item_losses, scored, shuffled
from seamwise.shapes import Bool, Float, Tensor
from seamwise.stopping import Look, Stopping

Stack = dict[str, Tensor]
"""{name: one tensor of every training, [training, ...]}"""

Result = TypeVar("Result")

BETAS, EPSILON = (0.9, 0.999), 1e-8  # torch's defaults, which Attempt.at takes


def fit_stacked(attempts: Sequence[Attempt]) -> list[Fitted | Exception]:
    """What `fit` gives for each attempt, or the error it raises, in order.

    Those whose networks, examples and settings have one shape are trained together. One by one go networks with
    buffers (batch normalisation), tensors of their own, frozen or tied weights or random numbers (dropout), trainings
    that are watched, and what torch.vmap cannot run.
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for k, attempt in enumerate(attempts):
        groups[_shape(attempt) or k].append(k)
    results: dict[int, Fitted | Exception] = {}
    for members in groups.values():
        results |= dict(zip(members, _fit_group([attempts[k] for k in members]), strict=True))
    return [results[k] for k in range(len(attempts))]


def _shape(attempt: Attempt) -> tuple[object, ...] | None:
    """What attempts must have in common to be stacked; None where one cannot be."""
    settings, net = attempt.settings, attempt.make()
    plain = settings.n_devices == 1 and settings.precision == "32-true" and settings.accelerator == "cpu"
    if not plain or settings.alike or attempt.stop_at is not None:
        return None
    own = dict(net.named_parameters())
    if any(True for _ in net.buffers()) or own.keys() != net.state_dict().keys():  # tied weights have two names
        return None
    if attempt.watch is not None or not all(p.requires_grad for p in own.values()):
        return None
    if any(isinstance(value, Tensor | np.ndarray) for module in net.modules() for value in vars(module).values()):
        return None  # each network has its own, and nothing says which is which
    kinds = [(name, v.shape[1:], v.dtype) for table in _tables(attempt) for name, v in sorted(table.items())]
    return (
        net.chain.signature,
        tuple((name, p.shape, p.dtype) for name, p in own.items()),
        tuple(kinds),
        min(len(attempt.train), settings.batch),
        len(attempt.validation),
        tuple((t.target.field, t.weight) for t in attempt.terms),
        attempt.chosen_by.field,
        settings.signature,
    )


def _tables(attempt: Attempt) -> tuple[dict[str, Tensor], ...]:
    return attempt.train.inputs, attempt.train.labels, attempt.validation.inputs, attempt.validation.labels


def _fit_group(attempts: Sequence[Attempt]) -> list[Fitted | Exception]:
    """Together where that works, one by one otherwise."""
    tries: dict[float, list[Fitted | str]] = {}
    if len(attempts) > 1:
        try:
            tries = {rate: Together(attempts, rate).run() for rate in attempts[0].settings.rates}
        except Exception:  # what is at fault is told where it goes alone
            tries = {}
    return [_best(attempt, {rate: found[k] for rate, found in tries.items()}) for k, attempt in enumerate(attempts)]


def _best(attempt: Attempt, tried: dict[float, Fitted | str]) -> Fitted | Exception:
    def at(rate: float) -> Fitted:
        found = tried[rate]
        if isinstance(found, str):
            raise FloatingPointError(found)
        return found

    try:
        return attempt.best(at) if tried else fit(attempt)
    except Exception as error:  # it is that training's alone
        return error


def run_gathered(jobs: Sequence[Callable[[Fitting], Result]]) -> list[Result]:
    """Run jobs that train, each in a thread, one thread at a time, until all wait for a training; then train those.

    jobs: each is given the function that trains for it, in the place of `seamwise.fit.fit`. Raises what a job raises.
    """
    baton, waiting = threading.Lock(), dict[int, tuple[Attempt, Future[Fitted]]]()
    more = threading.Semaphore(0)

    def run(k: int) -> Result:
        def fitting(attempt: Attempt) -> Fitted:
            mine: Future[Fitted] = Future()
            waiting[k] = attempt, mine
            baton.release()
            more.release()
            try:
                return mine.result()
            finally:
                baton.acquire()

        try:
            with baton:
                return jobs[k](fitting)
        finally:
            more.release()

    with ThreadPoolExecutor(max(1, len(jobs))) as pool:
        results = [pool.submit(run, k) for k in range(len(jobs))]
        n_at_work = len(jobs)
        while n_at_work:
            for _ in range(n_at_work):
                more.acquire()
            asked = [waiting.pop(k) for k in sorted(waiting)]
            n_at_work = len(asked)
            for (_, future), found in zip(asked, _fitted([attempt for attempt, _ in asked]), strict=True):
                if isinstance(found, Fitted):
                    future.set_result(found)
                else:
                    future.set_exception(found)
    return [result.result() for result in results]


def _fitted(attempts: Sequence[Attempt]) -> Sequence[Fitted | BaseException]:
    """As `fit_stacked`; what ends it, be it Ctrl-C, ends every job that waits."""
    try:
        return fit_stacked(attempts)
    except BaseException as error:
        return [error] * len(attempts)


@final
class Together:
    """A stack of trainings at one rate: the loop of `Attempt.at`, for all that have not stopped."""

    def __init__(self, attempts: Sequence[Attempt], rate: float) -> None:
        first = attempts[0]
        self.attempts, self.rate, self.settings = list(attempts), rate, first.settings
        nets = [attempt.make() for attempt in attempts]
        self.net, self.scoring = nets[0].train(), copy.deepcopy(nets[0]).eval()
        self.shapes = {name: p.shape for name, p in self.net.named_parameters()}
        self.optimizer = Adam(torch.stack([nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets]))
        self.average = self.optimizer.weights.detach().clone()
        self.examples = [_below(parts) for parts in zip(*(_parts(a.train) for a in attempts), strict=True)]
        self.orders = [shuffled(len(a.train), self.settings.batch, a.seed) for a in attempts]
        self.starts = [0, *accumulate(len(a.train) for a in attempts)]
        self.at_work = list(range(len(attempts)))  # whose training each place of the stack is
        looks = self._looks(0)
        self.stopping = [Stopping(k, self.settings, a.trivial) for a, k in zip(attempts, looks, strict=True)]
        self.reached = self._reached()
        self.results: list[Fitted | str] = [""] * len(attempts)

    def run(self) -> list[Fitted | str]:
        """Each training's outcome; a text where its numbers were not finite."""
        step, total = 0, torch.zeros(len(self.at_work))
        settings = self.settings
        while self.at_work:
            step += 1
            total += self._step(step)
            if step % settings.eval_every == 0 or step == settings.max_steps:
                window = (step - 1) % settings.eval_every + 1
                self._look(step, (total / window).tolist())
                total = torch.zeros(len(self.at_work))
        return self.results

    def _step(self, step: int) -> Float[Tensor, " training"]:
        settings = self.settings
        rows = torch.stack([next(self.orders[k])[1] + self.starts[k] for k in self.at_work])
        inputs, labels, known = ({name: v[rows] for name, v in part.items()} for part in self.examples)
        weights = self._named(self.optimizer.weights)
        losses: Tensor = vmap(self._loss, randomness="error")(weights, inputs, labels, known)
        (gradient,) = torch.autograd.grad(losses.sum(), self.optimizer.weights)
        size = gradient.norm(dim=1, keepdim=True)
        gradient *= (settings.clip / (size + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ has it
        rate = self.rate * min(1.0, step / max(1, settings.warmup))
        labelled = torch.stack([known[t.target.field].any(1) for t in self.attempts[0].terms], 1)
        self.optimizer.step(gradient, rate, settings.weight_decay, self._learning(labelled))
        share = min(settings.average, step / (9 + step))  # as fit.Average has it
        self.average.lerp_(self.optimizer.weights.detach(), 1 - share)
        return losses.detach()

    def _named(self, flat: Float[Tensor, "training weight"]) -> Stack:
        parts = torch.split(flat, [shape.numel() for shape in self.shapes.values()], 1)
        return {name: v.view(-1, *shape) for (name, shape), v in zip(self.shapes.items(), parts, strict=True)}

    def _loss(self, weights: Stack, inputs: Stack, labels: Stack, known: Stack) -> Float[Tensor, ""]:
        """The objective of one training, on its batch: each term over the items with its label."""
        written = functional_call(self.net, weights, (inputs,))
        total = torch.zeros(())
        for term in self.attempts[0].terms:
            name = term.target.field
            losses, here = item_losses(term.target, written[name], labels[name]), known[name]
            total = total + term.weight * torch.where(here, losses, 0.0).sum() / here.sum().clamp(min=1)
        return total

    def _reached(self) -> Bool[Tensor, "term weight"]:
        """Which weights each term's gradient reaches."""
        written, reached = self.net(self.attempts[0].train[:2].inputs), []
        own = list(self.net.parameters())
        for term in self.attempts[0].terms:
            value = written[term.target.field].sum()
            found: Sequence[Tensor | None] = [None] * len(own)
            if value.requires_grad:
                found = torch.autograd.grad(value, own, retain_graph=True, allow_unused=True)
            marks = [torch.full((p.numel(),), g is not None) for p, g in zip(own, found, strict=True)]
            reached.append(torch.cat(marks))
        return torch.stack(reached)

    def _learning(self, labelled: Bool[Tensor, "training term"]) -> Bool[Tensor, "training weight"] | None:
        """Which weights have a gradient at all: a batch may lack every label of a term. None: all."""
        learning = (labelled[:, :, None] & self.reached).any(1)
        return None if bool(learning.all()) else learning

    def _look(self, step: int, losses: Sequence[float]) -> None:
        """Score all at work; those that stop leave the stack."""
        left = []
        for place, (k, look, loss) in enumerate(zip(self.at_work, self._looks(step), losses, strict=True)):
            try:
                self.stopping[k].look(look, loss)
                if not self.stopping[k].why:
                    left.append(place)
                    continue
                self.results[k] = fitted(self.stopping[k], self.rate)
            except FloatingPointError as error:
                self.results[k] = str(error)
        if len(left) < len(self.at_work):
            self.at_work = [self.at_work[place] for place in left]
            self.average = self.average[left]
            self.optimizer.keep(left)

    def _looks(self, step: int) -> list[Look]:
        target, own = self.attempts[0].chosen_by, [self.attempts[k].validation for k in self.at_work]
        inputs = {name: torch.stack([v.inputs[name] for v in own]) for name in own[0].inputs}

        def answer(weights: Stack, given: Stack) -> Tensor:
            written: Tensor = functional_call(self.scoring, weights, (given,))[target.field]
            return written

        with torch.no_grad():
            written = vmap(answer, randomness="error")(self._named(self.average), inputs)
        looks = []
        for place, validation in enumerate(own):
            error, loss = scored(written[place], validation, target)
            weights = {name: v[0] for name, v in self._named(self.average[place : place + 1].clone()).items()}
            looks.append(Look(step, error, loss, weights))
        return looks


@final
class Adam:
    """AdamW (Loshchilov & Hutter 2019) on a stack of weights, of which some may have no gradient in a step.

    torch.optim.AdamW passes over a tensor without gradient; in a stack one training may have one where others do not.
    """

    def __init__(self, weights: Float[Tensor, "training weight"]) -> None:
        self.weights = weights.requires_grad_()
        self._mean, self._square = torch.zeros_like(weights), torch.zeros_like(weights)
        self._n = torch.zeros(1, 1)  # steps that had a gradient; one number as long as all had

    @torch.no_grad()
    def step(
        self,
        gradient: Float[Tensor, "training weight"],
        rate: float,
        decay: float,
        learning: Bool[Tensor, "training weight"] | None,
    ) -> None:
        """learning: which weights have a gradient; None: all."""
        state = (self._mean, self._square, self.weights)
        before = () if learning is None else tuple(v.clone() for v in state)
        self._n = self._n + (1 if learning is None else learning)
        self._mean.lerp_(gradient, 1 - BETAS[0])
        self._square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        first, second = (1 - beta ** self._n.clamp(min=1) for beta in BETAS)
        size = self._square.sqrt().div_(second.sqrt()).add_(EPSILON)
        self.weights.mul_(1 - rate * decay).sub_(rate * self._mean / first / size)
        if learning is not None:
            for now, old in zip(state, before, strict=True):
                now.copy_(torch.where(learning, now, old))

    def keep(self, left: Sequence[int]) -> None:
        """Only these trainings go on."""
        self.weights = self.weights.detach()[left].requires_grad_()
        self._n = self._n.expand(len(self._mean), -1)[left]
        self._mean, self._square = self._mean[left], self._square[left]


def _parts(examples: Examples) -> tuple[Stack, Stack, Stack]:
    return examples.inputs, examples.labels, examples.known


def _below(tables: Sequence[Stack]) -> Stack:
    """The tables of all trainings, one below the other."""
    return {name: torch.cat([table[name] for table in tables]) for name in tables[0]}
