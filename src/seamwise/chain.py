"""Chain: stages in order, the borders between them checked, what each seam passes, and the networks it becomes."""

import copy
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import nn

from seamwise.errors import ChainError, TrainingError
from seamwise.metrics import Target
from seamwise.seams import Trace
from seamwise.shapes import Tensor
from seamwise.stage import Estimator, Fields, Learned, Outside, Stage, raised
from seamwise.trial import SeamRecord

Pins = Mapping[str, tuple[Tensor, Tensor]]
"""{field: (what a perfect stage would write, for which items to put it there)}."""

SHAPE_WORDS = ("shape", "size", "dtype", "dimension", "mat1")  # in the messages of operations that fields do not fit


@final
@dataclass(frozen=True)
class Chain:
    """Stages in order; what a stage writes, later stages may read.

    Raises ChainError where two stages share a name or write one field, or one reads what only a later writes.
    """

    stages: Sequence[Stage]
    inputs: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not self.stages:
            raise ChainError("a chain needs at least one stage")
        writer: dict[str, str] = {}
        names: set[str] = set()
        inputs: dict[str, str] = {}
        for stage in self.stages:
            if not isinstance(stage, Stage):
                raise ChainError(
                    f"a chain of {type(stage).__name__}",
                    expected="stages: seamwise.Learned, Designed, Estimator or Outside",
                )
            if hasattr(nn.ModuleDict, stage.name):
                raise ChainError(f"stage name {stage.name!r} is taken by torch", remedy="give it another name")
            if stage.name in names or not stage.name.isidentifier():
                raise ChainError(
                    f"stage name {stage.name!r} is used twice or no plain word", expected="letters, digits and _"
                )
            names.add(stage.name)
            inputs |= {f: stage.name for f in stage.inputs if f not in writer}
            for output in stage.outputs:
                if output in writer:
                    raise ChainError(
                        f"stages {writer[output]!r} and {stage.name!r} both write {output!r}",
                        remedy="give one of the two fields another name",
                    )
                if output in inputs:
                    raise ChainError(
                        f"stage {inputs[output]!r} reads {output!r} before stage {stage.name!r} writes it",
                        remedy="put the stages in the order in which they run",
                    )
                writer[output] = stage.name
        object.__setattr__(self, "inputs", tuple(inputs))

    @property
    def targets(self) -> dict[str, tuple[Stage, Target]]:
        """{field: (the stage that writes it, its target)}."""
        return {t.field: (stage, t) for stage in self.stages for t in stage.targets}

    @property
    def learned(self) -> tuple[str, ...]:
        """The names of the stages whose weights training may change."""
        return tuple(s.name for s in self.stages if isinstance(s, Learned) and not s.frozen)

    @property
    def constant(self) -> tuple[str, ...]:
        """The names of the stages that no training changes and that read nothing which one changes."""
        names, fields = [], set(self.inputs)
        for stage in self.stages:
            learns = stage.name in self.learned or isinstance(stage, Estimator)
            if not learns and fields.issuperset(stage.inputs):
                names.append(stage.name)
                fields.update(stage.outputs)
        return tuple(names)

    @property
    def signature(self) -> str:
        """A hash of all stages, before training."""
        return hashlib.sha256("".join(s.signature for s in self.stages).encode()).hexdigest()[:16]

    def build(self, seed: int) -> "ChainNet":
        """New networks for every stage. A stage's start depends on the seed and its own name alone."""
        return ChainNet(self, {stage.name: stage.build(seed) for stage in self.stages})

    def seams(self, batch: Fields, net: "ChainNet | None" = None, target: Target | None = None) -> list[SeamRecord]:
        """Of each seam: whether gradient crosses it, how large it is, and if not, which operation stops it.

        batch: the chain's inputs (and the answer's labels, where target is given), {field: [batch, ...]}.
        net: trained networks; new ones where none are given. target: the answer, whose loss is
        differentiated; without one, a random projection of what the last stage writes.
        """
        return [
            _seam(self, net or self.build(0), batch, target, stage, output)
            for k, stage in enumerate(self.stages)
            for output in stage.outputs
            if any(output in later.inputs for later in self.stages[k + 1 :])
        ]


@final
class ChainNet(nn.Module):
    """The networks of a chain: fields in, all fields out."""

    def __init__(self, chain: Chain, nets: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.chain = chain
        self.nets = nn.ModuleDict(nets)
        self._plan = [(stage, self.nets[stage.name], stage.inputs, stage.outputs) for stage in chain.stages]

    def forward(self, given: Fields, pins: Pins | None = None) -> dict[str, Tensor]:
        """Run the stages in order.

        given: {field: [batch, ...]}, the chain's inputs (others are carried along). What is given is never
        written again, and a stage all of whose outputs are given is skipped. pins: gold that replaces what a
        stage wrote, for the items marked.
        Raises ChainError naming the stage, its fields and their shapes where a stage raises.
        """
        fields = dict(given)
        for stage, net, inputs, outputs in self._plan:
            if all(output in given for output in outputs):
                continue
            missing = [name for name in inputs if name not in fields]
            if missing:
                raise ChainError(f"stage {stage.name!r} reads {missing[0]!r}, which was not given")
            try:
                written = net(*[fields[name] for name in inputs])
            except (TrainingError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                raise _border_error(stage, fields, error) from error
            if not isinstance(written, tuple):
                written = (written,)
            if len(written) != len(outputs):
                raise ChainError(
                    f"stage {stage.name!r} returned {len(written)} values",
                    expected=f"{len(outputs)}: {', '.join(outputs)}",
                )
            for output, value in zip(outputs, written, strict=True):
                if output in given:
                    continue
                fields[output] = value if pins is None or output not in pins else _pinned(value, *pins[output])
        return fields

    def part(self, names: Sequence[str]) -> "ChainNet":
        """Some of the stages as a chain of their own, sharing these networks."""
        stages = [stage for stage in self.chain.stages if stage.name in names]
        return ChainNet(Chain(stages), {name: self.nets[name] for name in names})

    def train(self, mode: bool = True) -> "ChainNet":
        """Training mode for all but frozen stages."""
        super().train(mode)
        for stage in self.chain.stages:
            if isinstance(stage, Learned) and stage.frozen:
                self.nets[stage.name].eval()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "ChainNet":
        return ChainNet(self.chain, {name: copy.deepcopy(net, memo) for name, net in self.nets.items()})


def _seam(chain: Chain, net: ChainNet, batch: Fields, target: Target | None, writer: Stage, name: str) -> SeamRecord:
    """Cut the chain behind the writer, and look for gradient on both sides of the cut."""
    at = chain.stages.index(writer)
    before, after = chain.stages[: at + 1], chain.stages[at + 1 :]
    reader = next(stage.name for stage in after if name in stage.inputs)
    given = {f: batch[f] for f in chain.inputs}
    fields, stopped = _run_writer(net, before, given, writer, name)
    cut = fields[name].detach()
    hard = not cut.is_floating_point() or bool(((cut == 0) | (cut == 1)).all())
    size = 0.0
    if not stopped:
        size, stopped = _gradient(net, after, fields | {name: cut.requires_grad_()}, name, target, batch)
    return SeamRecord(
        field=name,
        writer=writer.name,
        reader=reader,
        passes=not stopped,
        gradient=size,
        stopped_by=stopped,
        hard=hard,
    )


def _run_writer(
    net: ChainNet, stages: Sequence[Stage], given: Fields, writer: Stage, name: str
) -> tuple[dict[str, Tensor], str]:
    """What is written up to the cut, and what stops gradient inside the writer ("" if nothing)."""
    with torch.no_grad():
        fields = net.part([s.name for s in stages[:-1]])(given) if len(stages) > 1 else dict(given)
    reads = {f: _leaf(fields[f]) for f in writer.inputs}
    own = [p for p in net.nets[writer.name].parameters() if p.requires_grad]
    part, refused = net.part([writer.name]), ""
    try:
        with Trace([*reads.values(), *own]) as trace:
            written = part(reads)
    except ChainError as error:  # as numpy() does where gradient is asked for
        refused = _refused(error, writer)
        with torch.no_grad():
            written = part({f: v.detach() for f, v in reads.items()})
    fields |= {f: v.detach() for f, v in written.items() if f in writer.outputs}
    out = written[name]
    if isinstance(writer, Estimator | Outside):
        return fields, f"{type(writer).__name__.lower()} {writer.name}"
    if refused:
        return fields, refused
    if not out.requires_grad and (own or any(r.requires_grad for r in reads.values())):
        return fields, f"{trace.stopped_by(out)} in {writer.name}"
    return fields, "" if out.is_floating_point() else f"whole numbers from {writer.name}"


def _gradient(
    net: ChainNet, stages: Sequence[Stage], fields: Fields, name: str, target: Target | None, batch: Fields
) -> tuple[float, str]:
    """The gradient's size at the cut, and what stops it behind the cut ("" if nothing)."""
    for stage in stages:
        if isinstance(stage, Estimator | Outside) and name in stage.inputs:
            return 0.0, f"{type(stage).__name__.lower()} {stage.name}"
    answer = stages[-1].outputs[0]
    try:
        with Trace([fields[name]]) as trace:
            end = net.part([s.name for s in stages])(fields)[answer if target is None else target.field]
        if not end.requires_grad:
            return 0.0, trace.stopped_by(end)
        loss = _loss(end, target, batch)
    except ChainError as error:
        return 0.0, _refused(error)
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(loss, fields[name], allow_unused=True)
    gradient = gradients[0]
    if gradient is None:
        return 0.0, trace.stopped_by(end)
    size = float(gradient.reshape(len(gradient), -1).norm(dim=1).square().mean().sqrt())
    if not math.isfinite(size):
        return 0.0, "a derivative that is not finite"
    return size, "" if size > 0 else trace.flat or "saturated: the derivative is zero on all these items"


def _loss(end: Tensor, target: Target | None, batch: Fields) -> Tensor:
    if target is None:
        return (end * torch.randn(end.shape, generator=torch.Generator().manual_seed(0)).to(end)).sum()
    try:
        return target.loss(end, batch[target.field]).sum()
    except Exception as error:
        raise ChainError(f"the loss of {target.field!r} raised {raised(error)}") from error


def _refused(error: ChainError, writer: Stage | None = None) -> str:
    """What a stage raises when gradient is asked of it, which without gradient it does not."""
    told = str(error).splitlines()[0]
    where = f" in {writer.name}" if writer else ""
    return f"numpy{where}" if "numpy() on Tensor that requires grad" in told else told


def _leaf(value: Tensor) -> Tensor:
    value = value.detach()
    return value.requires_grad_() if value.is_floating_point() else value


def _pinned(written: Tensor, gold: Tensor, where: Tensor) -> Tensor:
    if written.shape != gold.shape:
        raise ChainError(
            "gold and written differ in shape", given=str(list(written.shape)), expected=str(list(gold.shape))
        )
    return torch.where(where.view(-1, *[1] * (gold.ndim - 1)), gold.to(written.dtype), written)


def _border_error(stage: Stage, fields: Fields, error: Exception) -> ChainError:
    read = ", ".join(f"{name} {_shape(fields[name])}" for name in stage.inputs)
    unfit = any(word in str(error).lower() for word in SHAPE_WORDS)
    remedy = "make the stage fit what is written before it, or change that" if unfit else ""
    return ChainError(f"stage {stage.name!r} raised {raised(error)}", given=read, remedy=remedy)


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else f"({type(value).__name__})"
