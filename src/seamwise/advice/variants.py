"""Is the hand-made stage worth keeping? A variant's gain over another's, regime by regime and budget by budget."""

from seamwise.advice.numbers import difference
from seamwise.advice.records import VariantGain
from seamwise.bootstrap import Interval
from seamwise.runs import StageRecord, Study

HAND_MADE = ("designed", "outside")


def variant_gains(study: Study) -> tuple[VariantGain, ...]:
    """Of each further variant and the first. Where one has stages made by hand, it is the one whose gain is told."""
    chains = list(dict.fromkeys(variant for variant, regime in study.rows if regime != "direct"))
    pairs = [(chains[0], other) for other in chains[1:]]
    regimes = list(dict.fromkeys(regime for _, regime in study.rows if regime != "direct"))
    found = (_gain(study, *pair, regime) for pair in pairs for regime in regimes)
    return tuple(gain for gain in found if gain is not None)


def _gain(study: Study, first: str, second: str, regime: str) -> VariantGain | None:
    hand_made = [name for name in (first, second) if _made_by_hand(study, name, second if name == first else first)]
    variant = hand_made[0] if len(hand_made) == 1 else second
    other = first if variant == second else second
    gains = {}
    for n in study.record.budgets:
        gain = difference(study, study.at((other, regime), n), study.at((variant, regime), n))
        if gain is not None:
            gains[n] = gain
    if not gains:
        return None
    made = [s for s in _differing(study, variant, other) if not hand_made or s.kind in HAND_MADE]
    return VariantGain(
        variant=variant,
        other=other,
        regime=regime,
        stages=tuple(s.name for s in made),
        designed=len(hand_made) == 1,
        gains=gains,
        ends=_end(gains),
    )


def _differing(study: Study, variant: str, other: str) -> list[StageRecord]:
    """The variant's stages that the other has not."""
    known = {(s.name, s.signature) for s in study.record.variants[other]}
    return [s for s in study.record.variants[variant] if (s.name, s.signature) not in known]


def _made_by_hand(study: Study, variant: str, other: str) -> bool:
    """Whether something is made by hand in the one that is learned in the other, and nothing the other way round."""
    own, theirs = (_differing(study, *pair) for pair in ((variant, other), (other, variant)))
    learned = any(s.kind not in HAND_MADE for s in theirs)
    return any(s.kind in HAND_MADE for s in own) and learned and all(s.kind not in HAND_MADE for s in theirs)


def _end(gains: dict[int, Interval]) -> int | None:
    """The budget from which the gain is not clearly above 0 any more, where it was before."""
    clear = [n for n, gain in gains.items() if gain.low > 0]
    after = [n for n in gains if clear and n > clear[-1]]
    return after[0] if after else None
