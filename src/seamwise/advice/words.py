"""Advice in sentences: what a person decides by, most important first."""

from collections.abc import Iterator, Sequence

from seamwise.advice.numbers import CLEAR, n_decimals
from seamwise.advice.records import Advice, Best, Chained, Outlook, Purchase, StageCost, VariantGain
from seamwise.bootstrap import Interval


def sentences(advice: Advice, asked: Sequence[int] = ()) -> tuple[str, ...]:
    """What the advice says, as sentences. asked: budgets that somebody wants to know about."""
    return (
        *_now(advice),
        *_stopped(advice),
        *_failed(advice),
        *_ahead(advice, asked),
        *_stages(advice),
        *_chains(advice),
        *_variants(advice),
        *_seams(advice),
        *_purchases(advice),
        *_shift(advice),
        *_open(advice),
    )


def _number(advice: Advice, value: float) -> str:
    decimals = n_decimals(advice.trivial)
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no -0.000


def _between(advice: Advice, interval: Interval) -> str:
    ends = (interval.low, interval.high)
    return f"{_number(advice, interval.mean)} [{', '.join(_number(advice, end) for end in ends)}]"


def _sure(probability: float) -> str:
    return f"{probability:.2f}" if 0.01 <= probability <= 0.99 else ("over 0.99" if probability > 0.5 else "under 0.01")


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _labels(n: int, field: str) -> str:
    return f"{n:,} {'label' if n == 1 else 'labels'} of {field}"


def _now(advice: Advice) -> Iterator[str]:
    best = advice.best_now
    if best is None:
        return
    unit = f" ({advice.unit})" if advice.unit else ""
    sure = f", the best of {best.n_compared} ways with probability {_sure(best.probability)}"
    yield (
        f"Best now, with {_labels(best.n, advice.vary)}: {best.way.name}, error {_between(advice, best.error)}{unit}"
        f"{sure if best.n_compared > 1 else ''}."
    )
    yield from _close(best)
    if best.worthless:
        yield f"That is not clearly better than answering without looking ({_number(advice, advice.trivial)})."


def _stopped(advice: Advice) -> Iterator[str]:
    raced = advice.stopped
    if raced is None:
        return
    where = f"no way is better than {raced.way.name} with {_labels(raced.n, advice.vary)}: {_sure(raced.probability)}"
    left_out = f"{raced.n_left_out:,} of {raced.n_planned:,} trials were not run"
    if raced.probability >= raced.sure:
        yield f"The study stopped when it was sure ({where}, {raced.sure:g} was asked for); {left_out}."
    else:
        yield f"Not as sure as asked for ({where}, not {raced.sure:g}), but more trials tell no more; {left_out}."
    if raced.dropped:
        told = _listed([f"{d.way.name} ({_sure(d.p_best)})" for d in raced.dropped])
        yield f"Run no further with {_labels(raced.n, advice.vary)}, as unlikely to be the best: {told}."


def _close(best: Best) -> Iterator[str]:
    if best.close:
        names = _listed([way.name for way in best.close])
        verb = "is" if len(best.close) == 1 else "are"
        yield f"{'It is not clear: ' if best.probability < CLEAR else ''}{names} {verb} not clearly worse."


def _ahead(advice: Advice, asked: Sequence[int]) -> Iterator[str]:
    measured = {o.n for o in advice.p_best if o.measured}
    beyond = [n for n in advice.at if measured and n > max(measured)]
    doubted = ""
    for n in sorted({*asked, *beyond[:1], *beyond[-1:]}):
        if measured and n < min(measured):
            least = f"the smallest budget measured is {min(measured):,}"
            yield f"With {_labels(n, advice.vary)} nothing can be told: {least}."
        there = sorted((o for o in advice.p_best if o.n == n and o.error is not None), key=lambda o: -o.p_best)
        if there and there[0].abstained and there[0].abstained == doubted and n not in asked:
            continue  # the same can be said of any number of labels
        doubted = there[0].abstained if there else ""
        yield from _at(advice, n, there)
    for c in advice.crossovers:
        yield f"{c.after.name} passes {c.before.name} at about {c.n:,} labels of {advice.vary} [{c.low:,}, {c.high:,}]."


def _at(advice: Advice, n: int, there: Sequence[Outlook]) -> Iterator[str]:
    for first in there[:1]:
        assert first.error is not None
        others = [f"{o.way.name} {o.p_best:.2f}" for o in there[1:3] if o.p_best >= 0.05]
        rest = f" ({', '.join(others)})" if others else ""
        told = f"{first.way.name}, with probability {_sure(first.p_best)}{rest}: error {_between(advice, first.error)}"
        if first.abstained:
            yield (
                f"What {_labels(n, advice.vary)} would bring cannot be foreseen ({first.way.name}: {first.abstained}). "
                f"If they go on as such curves mostly do, the best is {told}."
            )
        else:
            doubt = _listed([o.way.name for o in there if o.abstained])
            level = f"; of {doubt} nothing can be foreseen" if doubt else ""
            verb = "is" if n <= max(o.n for o in advice.p_best if o.measured) else "would be"
            yield f"With {_labels(n, advice.vary)} the best {verb} {told}{level}."


def _stages(advice: Advice) -> Iterator[str]:
    chains = sorted((c for c in advice.chains if c.rest is not None), key=lambda c: c.error.mean)
    for chain in chains[:1]:
        shares = _shares(advice, chain)
        stage, cost = max(shares.items(), key=lambda share: share[1].mean)
        assert chain.start is not None
        known = f" on the {chain.gold_items:,} items with all gold" if chain.start.mean != chain.error.mean else ""
        yield (
            f"The costliest stage of {chain.way.name} is {stage}: given right input, its mistakes make "
            f"{_between(advice, cost)} of the error of {_number(advice, chain.start.mean)}{known}."
        )


def _shares(advice: Advice, chain: Chained) -> dict[str, Interval]:
    """What each stage adds to the answer's error on gold input; of the last what is left when all before is gold."""
    own = [s for s in advice.stages if s.way == chain.way]
    last = next((s.stage for s in own if s.field == advice.answer), "the last one")
    assert chain.rest is not None
    return {s.stage: s.pinned for s in own if s.pinned is not None} | {last: chain.rest}


def _chains(advice: Advice) -> Iterator[str]:
    told = sorted((c for c in advice.chains if c.compounding is not None), key=lambda c: c.error.mean)[:1]
    for chain in told:
        several = sum(s.way == chain.way for s in advice.stages) > 1
        if several and chain.compounding and not chain.compounding.low < 1 < chain.compounding.high:
            yield _compounding(chain)
    worst = max((s for s in advice.stages if s.exposure), key=_exposed, default=None)
    if worst is not None and worst.exposure is not None and worst.exposure.low > 0:
        yield (
            f"{worst.stage} loses {worst.exposure.mean:.3g} [{worst.exposure.low:.3g}, {worst.exposure.high:.3g}] "
            f"{worst.unit} by being trained on gold input: train it on what the stages before it write (sequential)."
        )


def _exposed(cost: StageCost) -> float:
    assert cost.exposure is not None
    return cost.exposure.mean / (cost.trivial or 1.0)


def _compounding(chain: Chained) -> str:
    assert chain.compounding is not None
    k = chain.compounding
    ratio = f"{k.mean:.2f} [{k.low:.2f}, {k.high:.2f}]"
    what = "absorbs" if k.high <= 1 else "amplifies"
    return (
        f"{chain.way.name} {what} the errors of its stages: it is wrong {ratio} times as often as if each of them "
        "spoilt the answer."
    )


def _variants(advice: Advice) -> Iterator[str]:
    for pair in dict.fromkeys((v.variant, v.other) for v in advice.variants):
        own = [v for v in advice.variants if (v.variant, v.other) == pair]
        best = advice.best_now
        chosen = next((v for v in own if best and v.regime == best.way.regime), own[0])
        yield _variant(advice, chosen)


def _variant(advice: Advice, v: VariantGain) -> str:
    n, gain = list(v.gains.items())[-1]
    what = f"the hand-made {_listed(v.stages)}" if v.designed and v.stages else f"variant {v.variant}"
    told = f"{what} ({v.variant}) against {v.other}, {v.regime}, {_labels(n, advice.vary)}: "
    if gain.low > 0:
        end = "is worth keeping, its error is lower by"
    elif gain.high < 0:
        end = "is not worth keeping, its error is higher by"
        gain = Interval(-gain.mean, -gain.high, -gain.low)
    else:
        end = "makes no clear difference, its gain is"
    ends = f"; the gain ends at about {v.ends:,} labels" if v.ends is not None else ""
    return f"{told[0].upper()}{told[1:]}{end} {_between(advice, gain)}{ends}."


def _seams(advice: Advice) -> Iterator[str]:
    told = set()
    for seam in advice.seams:
        key = (seam.way.variant, seam.field)
        if not seam.passes and seam.instead and key not in told:
            told.add(key)
            yield (
                f"No gradient crosses {seam.field} from {seam.writer} to {seam.reader} ({seam.stopped_by}): "
                f"{seam.instead}."
            )


def _purchases(advice: Advice) -> Iterator[str]:
    clear = [p for p in advice.buy_next if p.gain.low > 0]
    for first in advice.buy_next[:1]:
        if first in clear:
            yield f"Labels to buy next: {_bought(advice, first)}."
        elif first.gain.mean > 0:
            chance = f", below it at all with probability {_sure(first.probability)}"
            yield f"Most worth buying next, though not clearly: {_bought(advice, first)}{chance}."
            for other in clear[:1]:
                yield f"Clearly worth buying: {_bought(advice, other)}."
        else:
            yield f"No more labels of {_listed([p.field for p in advice.buy_next])} would make the best way better."


def _bought(advice: Advice, offer: Purchase) -> str:
    fields = _listed([offer.field, *offer.together_with]) + (" in proportion" if offer.together_with else "")
    each = f" ({offer.price:g} each)" if offer.price != 1 else ""
    doubt = f" (a forecast not to be relied on: {offer.abstained})" if offer.abstained else ""
    return (
        f"{offer.n_more:,} more of {fields} for {offer.n_more * offer.price:,.6g}{each}; the error of {offer.way.name} "
        f"should be {_between(advice, offer.gain)} below the best now{doubt}"
    )


def _shift(advice: Advice) -> Iterator[str]:
    ranked = sorted(advice.shifted, key=lambda s: (s.retrained or s.there).mean)
    for first in ranked[:1]:
        back = ""
        if first.retrained is not None and first.won_back is not None:
            labels = f"{first.n_labels:,} labels from there"
            back = f"; training {first.stage} again with {labels} wins back {_between(advice, first.won_back)}"
        yield (
            f"On the items from elsewhere the error of {first.way.name} is {_between(advice, first.there)} "
            f"in place of {_number(advice, first.here.mean)}{back}."
        )


def _failed(advice: Advice) -> Iterator[str]:
    for status in ("failed", "did not train"):
        n = sum(t.status == status for t in advice.failed_trials)
        if n:
            yield f"{n} of {advice.n_trials} trials {status}."


def _open(advice: Advice) -> Iterator[str]:
    for first in advice.abstained[:1]:
        trial = f" What would tell most: {first.trial}." if first.trial else ""
        yield f"Not to be told: {first.what} ({first.why}).{trial}"
