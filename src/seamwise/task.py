"""Task: what is to be answered, by which chain or direct network, from which supply; and loading one."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from seamwise.borders import check_alike, check_borders, check_labels, fit_estimator
from seamwise.chain import Chain, ChainNet
from seamwise.errors import InputError, SeamwiseError, SupplyError, TaskError
from seamwise.files import opened_npz
from seamwise.metrics import OneHot, Target
from seamwise.oracles import Oracle, check_kinds, try_oracles
from seamwise.origin import NOISE, made_by, module_of, origin_of
from seamwise.settings import Fit
from seamwise.shapes import NDArray, Tensor
from seamwise.source import source, target_source
from seamwise.stage import Estimator, Learned
from seamwise.supply import Supply, batches
from seamwise.tables import SPLITS

MOST_TRIED = 200  # items an estimator is fitted to when borders are checked
GUESSED_FROM = 64  # labels at once: the gold form of one may be large
MOST_GUESSED = 10**9  # numbers of gold forms that a guess is made of

Item = Mapping[str, NDArray]
"""One example, or what was written for it: {field: array}."""


@final
@dataclass(frozen=True)
class Task:
    """What is to be answered, and everything a study needs.

    chain:   a Chain, or {variant: Chain} where stages have variants; the first is the one `train` takes
    answer:  the Target that the chain and the direct network write, with labels in the supply
    direct:  one Learned stage from inputs to answer, or {"direct": ..., "larger": ...}; None leaves it out
    trivial: labels [n, ...] -> what one answers without looking, in written form and without the batch axis;
             by default the mean of the labels' gold forms (for categories: their shares)
    draw:    (item, written) -> picture, uint8 [height, width, 3], for reports
    read:    a file -> the inputs of one item, {field: array}; by default an .npz file of them
    tell:    what was written for one item -> something JSON can hold; by default the answer itself
    fit:     how long and how fast to train, for every regime alike
    oracles: {stage name: (inputs, gold) -> what a perfect stage would write on the input that it really gets}, see
             `seamwise.oracles.Oracle`: to share the answer's error out among stages; no training depends on them
    elsewhere: examples with the same fields from another place (another scanner, say): a study also scores there what
             it trained here, and what training the first learned stage again, on the labels there, wins back
    source:  what load_task was given, absolute for a file, with its settings; empty where it came from memory

    Building one checks every border and label. Raises ChainError, SupplyError or TaskError.
    """

    name: str
    chain: Chain | Mapping[str, Chain]
    answer: Target
    supply: Supply
    direct: Learned | Mapping[str, Learned] | None = None
    trivial: Callable[[Tensor], Tensor] | None = None
    draw: Callable[[Item, Item], NDArray] | None = None
    read: Callable[[Path], Item] | None = None
    tell: Callable[[Item], Any] | None = None
    fit: Fit = field(default_factory=Fit)
    oracles: Mapping[str, Oracle] | None = None
    elsewhere: Supply | None = None
    source: str = ""

    def __post_init__(self) -> None:
        self._check_kinds()
        if not self.variants:
            raise TaskError(f"task {self.name!r} has no chain")
        clash = set(self.variants) & set(self.directs)
        if clash:
            raise TaskError(f"task {self.name!r}: {clash.pop()!r} names both a chain and a direct network")
        for name in (self.name, *self.variants, *self.directs):
            if not re.fullmatch(r"\w[\w-]*", name):
                raise TaskError(f"task {self.name!r}: {name!r} cannot name a file", expected="letters, digits, _ and -")
        self._check_answer()
        self._check_oracles()
        for variant, chain in (self.variants | self.directs).items():
            self._check(variant, chain)
        self._check_size()
        self._check_elsewhere()

    @property
    def variants(self) -> dict[str, Chain]:
        """{variant: chain}; a single chain is called "chain"."""
        return {"chain": self.chain} if isinstance(self.chain, Chain) else dict(self.chain)

    @property
    def directs(self) -> dict[str, Chain]:
        """{name: a chain of the one direct stage}; a single one is called "direct"."""
        if self.direct is None:
            return {}
        named = {"direct": self.direct} if isinstance(self.direct, Learned) else self.direct
        return {name: Chain([stage]) for name, stage in named.items()}

    @cached_property
    def signature(self) -> dict[str, str]:
        """A hash of each variant and direct network, before training."""
        scoring = target_source(self.answer) + (source(self.trivial) if self.trivial else "")
        chains = self.variants | self.directs
        return {n: hashlib.sha256((c.signature + scoring).encode()).hexdigest()[:16] for n, c in chains.items()}

    @cached_property
    def digest(self) -> str:
        """A hash of the data."""
        return self.supply.digest

    @cached_property
    def elsewhere_digest(self) -> str:
        """A hash of the data from elsewhere; empty where there are none."""
        return "" if self.elsewhere is None else self.elsewhere.digest

    def chain_of(self, variant: str) -> Chain:
        """The chain of a variant, or of a direct network. Raises TaskError."""
        chains = self.variants | self.directs
        if variant not in chains:
            raise TaskError(f"task {self.name!r} has no variant {variant!r}", expected=f"one of {', '.join(chains)}")
        return chains[variant]

    def targets(self, chain: Chain) -> dict[str, Target]:
        """{field: target} of all that can be trained or scored in a chain: its stages' and the answer."""
        return {name: target for name, (_, target) in chain.targets.items()} | {self.answer.field: self.answer}

    def guess(self, labels: Tensor, target: Target | None = None) -> Tensor:
        """The trivial prediction, in written form, from training labels [n, ...]; from a part where forms are large."""
        target = target or self.answer
        if self.trivial is not None and target.field == self.answer.field:
            return self.trivial(labels)
        labels = labels[: max(1, MOST_GUESSED // max(1, target.gold(labels[:1]).numel()))]
        totals = [target.gold(labels[rows]).sum(0) for rows in batches(len(labels), GUESSED_FROM)]
        return torch.stack(totals).sum(0) / len(labels)

    def without_supply(self) -> "Task":
        """The task to send to another process, which maps the supply from disk. Nothing is checked again."""
        _ = self.signature, self.digest, [s.signature for c in self.variants.values() for s in c.stages]
        _ = self.elsewhere_digest
        return _unchecked(self, supply=None, elsewhere=None)

    def with_supply(self, supply: Supply) -> "Task":
        """The same task on another supply, unchecked. One that was sent without its own takes this for it."""
        return _unchecked(self, supply=supply)

    def with_elsewhere(self, supply: Supply) -> "Task":
        """The same task with examples from elsewhere (see `elsewhere`).

        Raises TaskError or ChainError where they lack an input of a chain or the answer, or have them in another form.
        """
        copy = _unchecked(self, elsewhere=supply)
        copy._check_elsewhere()
        return copy

    def there(self) -> "Task":
        """The same task on the examples from elsewhere, in the place of its own."""
        return _unchecked(self, supply=self.elsewhere, elsewhere=None, digest=self.elsewhere_digest)

    def with_fit(self, fit: Fit) -> "Task":
        """The same task, trained otherwise."""
        return _unchecked(self, fit=fit)

    def _check_kinds(self) -> None:
        """That each part is what it should be, before any is used."""
        chain, direct = "seamwise.Chain([...]), or {variant: Chain}", "a seamwise.Learned stage, or {name: Learned}"
        self._check_kind("name", self.name, str, "text")
        for value in _parts(self.chain):
            self._check_kind("chain", value, Chain, chain)
        self._check_kind("answer", self.answer, Target, "a seamwise.Target, as categories and numbers return")
        self._check_kind("supply", self.supply, Supply, "seamwise.Supply({...})")
        for stage in [] if self.direct is None else _parts(self.direct):
            self._check_kind("direct", stage, Learned, direct)
        self._check_kind("fit", self.fit, Fit, "seamwise.Fit(...)")
        for names in (self.chain, self.direct):
            for name in names if isinstance(names, Mapping) else ():
                self._check_kind("variant", name, str, "names as text")

    def _check_kind(self, part: str, value: object, kind: Any, expected: str) -> None:
        if not isinstance(value, kind):
            given = f"{value.__name__}, a class" if isinstance(value, type) else f"{type(value).__name__}"
            raise TaskError(f"task {self.name!r}: {part!r} cannot be used", given=given, expected=expected)

    def _check_answer(self) -> None:
        self.supply.held(self.answer.field)
        for split in SPLITS:
            if not len(self.supply.rows(split, self.answer.field)):
                raise SupplyError(
                    f"task {self.name!r}: no {split} example has a label of the answer {self.answer.field!r}",
                    remedy="label some: without them nothing can be trained, stopped or scored",
                )

    def _check(self, variant: str, chain: Chain) -> None:
        try:
            for name in chain.inputs:
                self._check_input(name, chain)
            targets = self.targets(chain)
            if self.answer.field not in [o for s in chain.stages for o in s.outputs]:
                raise TaskError(
                    f"no stage writes the answer {self.answer.field!r}",
                    given=f"stages that write {', '.join(o for s in chain.stages for o in s.outputs)}",
                )
            for stage in chain.stages:
                for target in stage.targets:
                    self.supply.held(target.field)
            for target in targets.values():
                self._check_whole(target)
                check_labels(target, self.supply.fields[target.field][self.supply.present[target.field]])
            net = chain.build(0)
            for stage in chain.stages:
                if isinstance(stage, Estimator):
                    self._try(net, stage)
            for few in (2, 3):
                inputs, gold = self._few(chain, few)
                check_borders(net, inputs, gold, targets)
            if self.oracles and variant in self.variants:
                self._try_oracles(net)
        except SeamwiseError as error:
            lines = str(error).splitlines()
            raise type(error)(
                "\n".join([f"task {self.name!r}, {variant}: {lines[0]}", *lines[1:]])
            ) from error.__cause__

    def _check_oracles(self) -> None:
        try:
            check_kinds(self.oracles or {}, self.variants)
        except TaskError as error:
            raise TaskError(f"task {self.name!r}: {error}") from None

    def _try_oracles(self, net: ChainNet) -> None:
        """On a few items with all the labels of the chain, from whatever split; where there are none, never asked."""
        labels = [o for stage in net.chain.stages for o in stage.outputs if o in self.supply.fields]
        known = torch.stack([self.supply.present[f] for f in labels]).all(0)
        some = known.nonzero()[:3, 0].numpy()
        if len(some):
            inputs, gold = self.supply.take(net.chain.inputs, some), self.supply.take(labels, some)
            try_oracles(net, self.oracles or {}, inputs, gold)

    def _check_whole(self, target: Target) -> None:
        """Categories are whole numbers; torch would refuse others where a label stands in for a stage."""
        labels = self.supply.fields[target.field]
        if labels.is_floating_point() and isinstance(target.gold, OneHot):
            raise TaskError(
                f"the labels of {target.field!r} are no whole numbers, but it is a target of categories",
                given=f"{labels.dtype}",
                expected=f"whole numbers from 0 to {target.gold.n_classes - 1}",
                remedy="give the column with .astype(int)",
            )

    def _check_input(self, name: str, chain: Chain) -> None:
        reader = next(stage.name for stage in chain.stages if name in stage.inputs)
        if name not in self.supply.fields:
            raise TaskError(
                f"stage {reader!r} reads {name!r}, which no stage before it writes and no table has",
                given=f"tables with {', '.join(sorted(self.supply.fields))}",
                remedy=f"add {name!r} to a table, or a stage that writes it",
            )
        missing = int((~self.supply.present[name]).sum())
        if missing:
            raise TaskError(
                f"stage {reader!r} reads the input {name!r}, which {missing} examples lack",
                remedy="inputs must be there for every example; labels alone may be missing",
            )

    def _few(self, chain: Chain, n: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Inputs and labels of a few training items that have as many labels as any has."""
        labels = list(self.targets(chain))
        rows = self.supply.rows("train")
        known = torch.stack([self.supply.known(f, rows) for f in labels]).sum(0)
        first = rows[torch.argsort(known, descending=True, stable=True).numpy()[:n]]
        return self.supply.take(chain.inputs, first), self.supply.take(labels, first)

    def _try(self, net: ChainNet, stage: Estimator) -> None:
        """Fit an estimator to some of its training labels, spread over all there are."""
        (target,) = stage.targets
        rows = self.supply.rows("train", target.field)
        if not len(rows):
            raise SupplyError(f"estimator {stage.name!r}: no training example has a label of {target.field!r}")
        some = rows[:: max(1, len(rows) // MOST_TRIED)]
        labels = self.supply.take([target.field], some)[target.field]
        fit_estimator(net, stage, self.supply.take(net.chain.inputs, some), labels)

    def _check_size(self) -> None:
        """The fairness rule: the first direct network has at most twice the parameters of the largest chain."""
        if not self.directs:
            return
        most = max(n_parameters(chain) for chain in self.variants.values())
        name, chain = next(iter(self.directs.items()))
        if n_parameters(chain) > 2 * most > 0:
            raise TaskError(
                f"task {self.name!r}: the direct network {name!r} is too large to compare",
                given=f"{n_parameters(chain):,} parameters",
                expected=f"at most {2 * most:,}, twice the chain's",
                remedy="give a smaller one first; larger ones may follow it",
            )

    def _check_elsewhere(self) -> None:
        """That what reads and scores the task's own examples can read and score those from elsewhere."""
        if self.elsewhere is None:
            return
        self._check_kind("elsewhere", self.elsewhere, Supply, "seamwise.Supply({...})")
        chains = (self.variants | self.directs).values()
        inputs = {name for chain in chains for name in chain.inputs}
        targets = {name: target for chain in chains for name, target in self.targets(chain).items()}
        for name in sorted({*inputs, *targets}):
            if name in self.elsewhere.fields or name in inputs or name == self.answer.field:
                where = f"task {self.name!r}: elsewhere, field {name!r}"
                check_alike(where, name, self.supply, self.elsewhere, is_input=name in inputs)
        for name in sorted(targets.keys() & self.elsewhere.fields.keys()):
            check_labels(targets[name], self.elsewhere.fields[name][self.elsewhere.present[name]])
        if not len(self.elsewhere.rows("test", self.answer.field)):
            raise TaskError(f"task {self.name!r}: elsewhere, no test example has a label of {self.answer.field!r}")


def _parts(one_or_named: Any) -> list[Any]:
    return list(one_or_named.values()) if isinstance(one_or_named, Mapping) else [one_or_named]


def n_parameters(chain: Chain) -> int:
    """All weights of a chain's networks, frozen ones too."""
    return sum(p.numel() for p in chain.build(0).parameters())


def _unchecked(task: Task, **changed: Any) -> Task:
    copy = object.__new__(Task)
    copy.__dict__.update(task.__dict__)
    for part, digest in (("supply", "digest"), ("elsewhere", "elsewhere_digest")):
        if changed.get(part) is not None and (task.__dict__[part] is not None or not copy.__dict__.get(digest)):
            copy.__dict__.pop(digest, None)  # it was of the other supply
    copy.__dict__.update(changed)
    return copy


def read_item(task: Task, path: Path) -> Item:
    """The inputs of one item from a file: by the task's own `read`, else from an .npz of its inputs."""
    try:
        if task.read is not None:
            return task.read(path)
        with opened_npz(path) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except SeamwiseError:
        raise
    except Exception as error:  # `read` is the user's, and a broken .npz raises many kinds
        raise InputError(
            f"{path}: cannot be read",
            given=f"{type(error).__name__}: {error}",
            expected="what the task's `read` reads" if task.read else "an .npz file with one array an input",
        ) from error


def load_task(source: str, data: Sequence[Path] = (), world: Mapping[str, float] | None = None) -> Task:
    """The task of a shipped system, by name, or of a Python file that sets `task`.

    data:  folders of real data, for what has a `with_data`
    world: {setting: value} of its simulated world, for what has a `with_world`; and {"noise.FIELD": amount}, for every
           task: its training and validation labels of that field made wrong, see Supply.with_noise

    The task's `source` holds both, and gives the same task again: "gate:/home/ann/london:/home/ann/people",
    "digits?clutter=8,noise.digit=0.2". Raises InputError naming the setting, or the file and the line where its
    Python fails.
    """
    origin = origin_of(str(source)).changed(data, world)
    task = made_by(module_of(origin), origin)
    if not isinstance(task, Task):
        raise TaskError(
            f"{origin}: sets no `task`",
            given="nothing" if task is None else f"task = {type(task).__name__}",
            expected="task = seamwise.Task(...); with_data and with_world return one",
        )
    for name, amount in origin.noise.items():
        task = _with_noise(task, name, amount)
    return _unchecked(task, source=str(origin))


def _with_noise(task: Task, name: str, amount: float) -> Task:
    known = list(dict.fromkeys(f for v in task.variants for f in task.targets(task.chain_of(v))))
    if name not in known:
        raise TaskError(
            f"task {task.name!r} has no labels of {name!r} to make wrong",
            expected=f"one of {', '.join(NOISE + field for field in known)}",
        )
    return task.with_supply(task.supply.with_noise(name, amount))
