"""Blame: what the answer's error would be, item by item, with gold or a perfect stage in the place of a stage.

Two games that are never to be mixed up. A *pin* gives gold to the stages behind, whatever the stages before wrote; a
*perfect stage* does what can be done on the input that it really gets, and only the task's author can say what that is.
Nothing is averaged here: every result is one number an item, NaN where an item lacks the gold that it needs.

Source: a prefix of pins is the intervention of Koh et al. 2020 (arXiv 2007.04612) on the first concepts of a chain;
perfect stages share the error out by Shapley 1953. Differs: pins follow the order of the chain and are not averaged
over orders, as gold behind a stage says nothing of what that stage would do with better input.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import comb

import numpy as np
import torch

from seamwise.fit import EVALUATION_BATCH, item_errors
from seamwise.metrics import error_rate
from seamwise.oracles import Oracle, ask, inputs_of
from seamwise.pins import Part, Step, Written, prefixes
from seamwise.propagation import spreads
from seamwise.shapes import Float, NDArray, Tensor
from seamwise.stage import Stage
from seamwise.supply import batches

Arrays = dict[str, Float[NDArray, " n"]]
"""{"pinned.FIELD": ..., "gold.FIELD": ...}: float32, one an item; a key is absent where no item has what it needs."""


def blame(written: Written, oracles: Mapping[str, Oracle] | None = None) -> Arrays:
    """All that is measured of what each stage costs the answer, in the answer's unit unless a line says otherwise.

    pinned.FIELD   the answer's error with this field and all labelled fields before it gold; of items with all the
                   gold, and of fields that are written no later than the answer, as is `alone`
    alone.FIELD    the answer's error with this field alone gold. Were each item's gold with probability eps, the
                   expected error would be v(none) - eps (v(none) - v(FIELD)), linear in eps: so the marginal cost,
                   its fall for each unit of eps, is v(none) less this at every eps
    gold.FIELD     the field's own error on gold input, in its own unit; of a first stage simply its own error
    wrong.FIELD    1 where any part of that is wrong, else 0; only of fields whose errors are rates of wrong items
    perfect.STAGE  the Shapley value of a perfect stage in its place, see `perfect`
    spread.FIELD   the squared residual on gold input, propagated to the answer, see `seamwise.propagation.spreads`

    Stages behind a pin are run again, those outside seamwise too. Raises TaskError where an oracle fails.
    """
    found: Arrays = {}
    for step in prefixes(written):
        found |= own_errors(written, step) | spreads(written, step) | _pinned(written, step)
    for field in written.pinned:
        if field == written.pinned[0] and torch.equal(written.known[field], _has_all_gold(written)):
            found |= {f"alone.{field}": found[f"pinned.{field}"]} if f"pinned.{field}" in found else {}
        else:
            found |= _answered(f"alone.{field}", written, written.with_gold(written.all, field))
    return found | perfect(written, oracles or {})


def on_gold_input(written: Written) -> Arrays:
    """`gold.FIELD` and `wrong.FIELD` alone."""
    return {key: errors for step in prefixes(written) for key, errors in own_errors(written, step).items()}


def own_errors(written: Written, step: Step) -> Arrays:
    """Each labelled field's own error on gold input, and which items are wrong."""
    found: Arrays = {}
    for field in written.scored(step.stage):
        part, target = written.labelled(step.before, field), written.targets[field]
        if not len(part.at):
            continue
        errors = item_errors(target, part.fields[field], written.labels[field][part.at])
        found[f"gold.{field}"] = written.of_all(part.at, errors)
        if target.metric is error_rate or (_all_or_nothing(errors.numpy()) and _all_or_nothing(written.errors[field])):
            found[f"wrong.{field}"] = written.of_all(part.at, errors > 0)
    return found


def _all_or_nothing(errors: Float[NDArray, " m"]) -> bool:
    return bool(np.isin(errors[np.isfinite(errors)], (0, 1)).all())


def _has_all_gold(written: Written) -> Tensor:
    return torch.stack([written.known[field] for field in written.pinned]).all(0)


def _pinned(written: Written, step: Step) -> Arrays:
    found: Arrays = {}
    for field, part in step.after.items():
        if field in written.pinned:
            found |= _answered(f"pinned.{field}", written, part.only(_has_all_gold(written)[part.at]))
    return found


def _answered(key: str, written: Written, part: Part) -> Arrays:
    return {key: written.answer_errors(part)} if len(part.at) else {}


def perfect(written: Written, oracles: Mapping[str, Oracle]) -> Arrays:
    """`perfect.STAGE`: what a perfect stage takes off the answer's error; their sum is what all together take off.

    phi_i = sum over S without i of |S|! (k - |S| - 1)! / k! (v(S) - v(S and i)), exact over the 2^k subsets S of the k
    stages that have an oracle; v(S) is the answer's error with those in S perfect, the others as they are. Of the items
    with all labels of the chain. Raises TaskError where an oracle fails.

    Source: Shapley 1953, A value for n-person games.
    """
    players = [stage for stage in written.chain.stages if stage.name in oracles]
    part = written.all.only(torch.stack(list(written.known.values())).all(0))
    if not players or not len(part.at):
        return {}
    k, value = len(players), dict(_coalitions(written, players, oracles, part, frozenset()))
    shares = [np.zeros_like(value[frozenset()]) for _ in players]
    for inside, errors in value.items():
        for s in set(range(k)) - inside:
            shares[s] += (errors - value[inside | {s}]) / (k * comb(k - 1, len(inside)))
    return {f"perfect.{stage.name}": share for stage, share in zip(players, shares, strict=True)}


def _coalitions(
    written: Written, players: Sequence[Stage], oracles: Mapping[str, Oracle], part: Part, inside: frozenset[int]
) -> Iterator[tuple[frozenset[int], Float[NDArray, " n"]]]:
    """(which stages are perfect, the answer's errors) of all subsets, depth-first, each from that less its last stage.

    So what subsets have in common at their start is run once, and only what is behind a perfect stage is run again.
    """
    yield inside, written.answer_errors(part)
    for s in range(max(inside, default=-1) + 1, len(players)):
        better = part.with_values(written.net, _asked(written, players[s], oracles[players[s].name], part))
        yield from _coalitions(written, players, oracles, better, inside | {s})


def _asked(written: Written, stage: Stage, oracle: Oracle, part: Part) -> dict[str, Tensor]:
    """What the oracle writes in the place of a stage, a batch at a time."""
    gold = {field: labels[part.at] for field, labels in written.labels.items()}
    inputs, pieces = inputs_of(written.chain, stage, part.fields), list[dict[str, Tensor]]()
    for rows in batches(len(part.at), EVALUATION_BATCH):
        few = ({f: v[rows] for f, v in fields.items()} for fields in (inputs, gold, part.fields))
        pieces.append(ask(stage, oracle, *few))
    return {output: torch.cat([piece[output] for piece in pieces]) for output in stage.outputs}
