"""Oracles: perfect stages, given by a task's author, and what they must return."""

from collections.abc import Callable, Mapping

import torch

from seamwise.chain import Chain, ChainNet
from seamwise.errors import SeamwiseError, TaskError
from seamwise.shapes import Tensor
from seamwise.stage import Fields, Stage, raised

MOST_ORACLES = 10  # of one chain: every subset of them is tried

Oracle = Callable[[Fields, Fields], Tensor | tuple[Tensor, ...]]
"""(inputs, gold) -> what a perfect stage would write on those very inputs, one value an output.

inputs: {field: [batch, ...]}, all that the chain has by then: its inputs, and what earlier stages really wrote.
gold:   {field: labels [batch, ...]} of every field that the chain writes and a table has labels of.
"""


def ask(stage: Stage, oracle: Oracle, inputs: Fields, gold: Fields, written: Fields) -> dict[str, Tensor]:
    """What an oracle puts in the place of a stage's outputs, {output: [batch, ...]}.

    written: what the stage itself wrote there, whose shapes and types the oracle's must have.
    Raises TaskError naming the stage where it raises, or returns anything else.
    """
    where = f"the oracle of stage {stage.name!r}"
    try:
        with torch.no_grad():
            values = oracle(inputs, gold)
    except (SeamwiseError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise TaskError(
            f"{where} raised {raised(error)}",
            given=f"inputs {', '.join(inputs)}; gold {', '.join(gold)}",
            remedy="mend it, or leave it out",
        ) from error
    many = values if isinstance(values, tuple) else (values,)
    if len(many) != len(stage.outputs):
        raise TaskError(
            f"{where} returned {len(many)} values", expected=f"{len(stage.outputs)}: {', '.join(stage.outputs)}"
        )
    return {f: _fitting(f"{where}: {f!r}", v, written[f]) for f, v in zip(stage.outputs, many, strict=True)}


def _fitting(where: str, value: object, written: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != written.shape:
        given = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TaskError(f"{where} is not as the stage writes it", given=given, expected=f"shape {list(written.shape)}")
    return value.to(written)


def inputs_of(chain: Chain, stage: Stage, fields: Fields) -> dict[str, Tensor]:
    """Of all fields of a chain, those that are there before a stage runs."""
    before = chain.stages[: chain.stages.index(stage)]
    return {f: fields[f] for f in (*chain.inputs, *(o for s in before for o in s.outputs))}


def check_kinds(oracles: Mapping[str, Oracle], chains: Mapping[str, Chain]) -> None:
    """That every oracle can be called and stands for a stage. Raises TaskError."""
    if not isinstance(oracles, Mapping):
        raise TaskError("'oracles' cannot be used", given=type(oracles).__name__, expected="{stage name: function}")
    stages = list(dict.fromkeys(stage.name for chain in chains.values() for stage in chain.stages))
    for name, oracle in oracles.items():
        if name not in stages:
            raise TaskError(f"an oracle for {name!r}, which is no stage", expected=f"one of {', '.join(stages)}")
        if not callable(oracle):
            raise TaskError(
                f"the oracle of stage {name!r} cannot be called",
                given=type(oracle).__name__,
                expected="a function of (inputs, gold)",
            )
    for variant, chain in chains.items():
        n = len([stage for stage in chain.stages if stage.name in oracles])
        if n > MOST_ORACLES:
            raise TaskError(
                f"{variant}: {n} stages have an oracle", expected=f"at most {MOST_ORACLES}, as every subset is tried"
            )


def try_oracles(net: ChainNet, oracles: Mapping[str, Oracle], inputs: Fields, gold: Fields) -> None:
    """Ask every oracle of a chain about a few items, so that one that does not fit is told at once.

    net: with estimators fitted. inputs: the chain's, gold: labels by field, both [batch, ...]. Raises TaskError.
    """
    with torch.no_grad():
        fields = net.eval()(inputs)
    for stage in net.chain.stages:
        if stage.name in oracles:
            ask(stage, oracles[stage.name], inputs_of(net.chain, stage, fields), gold, fields)
