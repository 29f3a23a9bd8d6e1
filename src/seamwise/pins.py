"""Pins: gold in the place of what stages wrote, and what the chain then writes behind it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import torch

from seamwise.chain import Chain, ChainNet
from seamwise.fit import item_errors, write
from seamwise.metrics import Target
from seamwise.shapes import Bool, Float, Int, NDArray, Tensor
from seamwise.stage import Stage


@final
@dataclass(frozen=True)
class Written:
    """A trained chain on some items, all of whose answers are known.

    fields:  the chain's inputs and all that its stages wrote, {field: [n, ...]}
    labels:  of every written field that a table has labels of, {field: [n, ...]}; known: which of them are there
    targets: of the chain's stages and the answer, with the metrics that score these items
    errors:  of each target with labels, within the chain; NaN where an item has none
    """

    net: ChainNet
    answer: str
    fields: dict[str, Tensor]
    labels: dict[str, Tensor]
    known: dict[str, Bool[Tensor, " n"]]
    targets: Mapping[str, Target]
    errors: Mapping[str, Float[NDArray, " n"]]

    @property
    def chain(self) -> Chain:
        return self.net.chain

    @property
    def all(self) -> "Part":
        return Part(torch.arange(len(self.labels[self.answer])), self.fields)

    @cached_property
    def pinned(self) -> tuple[str, ...]:
        """The fields with a target that are written no later than the answer, in the order of the chain."""
        stages = list(self.chain.stages)
        last = next(k for k, stage in enumerate(stages) if self.answer in stage.outputs)
        fields = (target.field for stage in stages[: last + 1] for target in stage.targets)
        return tuple(field for field in fields if field != self.answer)

    def scored(self, stage: Stage) -> list[str]:
        """Which outputs of a stage have a target: its own, and the answer."""
        return [f for f in stage.outputs if f == self.answer or f in [t.field for t in stage.targets]]

    def labelled(self, part: "Part", field: str) -> "Part":
        """Those items of a part that have the field's label."""
        return part.only(self.known[field][part.at])

    def gold(self, field: str, at: Int[Tensor, " m"]) -> Tensor:
        """What a perfect stage would have written in a field of those items."""
        return self.targets[field].gold(self.labels[field][at]).to(self.fields[field])

    def with_gold(self, part: "Part", field: str) -> "Part":
        """The items of a part that have a field's label, its gold there, and what depends on it written anew."""
        part = self.labelled(part, field)
        return part.with_values(self.net, {field: self.gold(field, part.at)}) if len(part.at) else part

    def answer_errors(self, part: "Part") -> Float[NDArray, " n"]:
        """The answer's error of the items of a part, NaN of the others.

        They are scored among all items, the others as they were written: a metric may look at all of them.
        """
        answers = self.fields[self.answer].clone()
        answers[part.at] = part.fields[self.answer].to(answers)
        errors = item_errors(self.targets[self.answer], answers, self.labels[self.answer])
        return self.of_all(part.at, errors[part.at])

    def of_all(self, at: Int[Tensor, " m"], values: Tensor) -> Float[NDArray, " n"]:
        """A number for each item, from those `at` some places; NaN elsewhere."""
        whole = np.full(len(self.labels[self.answer]), np.nan, dtype=np.float32)
        whole[at.numpy()] = values.float().numpy()
        return whole


@final
@dataclass(frozen=True)
class Part:
    """Some of the items, at which places, and their fields: what the networks write, given what was put there."""

    at: Int[Tensor, " m"]
    fields: dict[str, Tensor]

    def only(self, keep: Bool[Tensor, " m"]) -> "Part":
        """The items that are marked."""
        return self if bool(keep.all()) else Part(self.at[keep], {f: v[keep] for f, v in self.fields.items()})

    def with_values(self, net: ChainNet, values: Mapping[str, Tensor]) -> "Part":
        """Values in the place of fields, and what depends on them written anew; no other stage is run."""
        fields, again = self.fields | dict(values), behind(net.chain, tuple(values))
        if not again:
            return Part(self.at, fields)
        part = net.part([stage.name for stage in again])
        outputs = [output for stage in again for output in stage.outputs]
        return Part(self.at, fields | write(part, {f: fields[f] for f in part.chain.inputs}, outputs))


def behind(chain: Chain, fields: Sequence[str], end: str = "") -> list[Stage]:
    """The stages that read any of the fields, or what such a stage writes; those that lead to `end`, if given."""
    changed, found = set(fields), list[Stage]()
    for stage in chain.stages:
        if changed.intersection(stage.inputs):
            found.append(stage)
            changed.update(stage.outputs)
    if not end:
        return found
    needed, leading = {end}, list[Stage]()
    for stage in reversed(found):
        if needed.intersection(stage.outputs):
            leading.insert(0, stage)
            needed.update(stage.inputs)
    return leading


@final
@dataclass(frozen=True)
class Step:
    """A stage on gold input. before: all earlier stages gold; after: each of its own labelled fields gold too, in turn.

    What the stage writes beside gold, it writes on gold input.
    """

    stage: Stage
    before: Part
    after: dict[str, Part]


def prefixes(written: Written) -> Iterator[Step]:
    """Stage by stage, on the items that have all the gold up to there; ends where none has."""
    part = written.all
    for stage in written.chain.stages:
        before, after = part, dict[str, Part]()
        for field in sorted((t.field for t in stage.targets), key=lambda field: field == written.answer):
            part = written.with_gold(part, field)
            if not len(part.at):
                break
            after[field] = part
        yield Step(stage, before, after)
        if not len(part.at):
            return
