"""How errors accumulate along segment, tag, parse: what went wrong first, which confusions hurt, what compounds.

All of it is read off a prediction and its gold sentences, word by word, without running anything again. Words are the
same where their spans in the text are, see `scoring.spans`; relations where they are up to the first ":". A gold word
whose head is not known is left out. Source: the definitions are this project's own; that errors of a parser begin
before it: Hatori et al. 2012, Incremental Joint Approach to Word Segmentation, POS Tagging, and Dependency Parsing in
Chinese.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

from seamwise.systems.text.scoring import Span, check_text, spans
from seamwise.systems.text.sentence import ROOT, Sentence

STAGES = ("segment", "tag", "parse")
NOWHERE = (-1, -1, -1)  # head that is not known


class _Fact(NamedTuple):
    """What is told of a word: the number of its sentence, its tag, its head (None: the root) and its relation."""

    sentence: int
    tag: str
    head: Span | None
    relation: str


_Facts = Mapping[Span, _Fact]


@final
@dataclass(frozen=True)
class Confusion:
    """Gold words with a span of the prediction's, with one gold and one predicted tag.

    wrong:          share of them whose dependency is wrong
    wrong_if_right: share of those with the same gold tag and the right predicted one; None where there are none
    excess:         n · (wrong - wrong_if_right), the dependencies that go wrong together with the tag. It is observed,
                    not caused: hard words are both mistagged and misparsed
    """

    gold: str
    predicted: str
    n: int
    wrong: float
    wrong_if_right: float | None
    excess: float | None


@final
@dataclass(frozen=True)
class Compounding:
    """Shares of the stages, and what they would come to if their errors fell on words independently of one another.

    words:    of gold words, those whose span is right
    tags:     of these, those whose tag is right
    arcs:     of dependencies whose word and gold head both have the right span and tag, those that are right
    expected: share of right dependencies if errors were independent: the mean of (words · tags)^ends · arcs, where
              ends is 2, and 1 on the root: a dependency needs its word and its head
    las:      share that is right (of gold words, so a recall)
    ratio:    (1 - las) / (1 - expected): above 1 the chain amplifies; below 1 errors sit together, or the parser is
              right in spite of wrong tags. None where no error is expected
    """

    words: float
    tags: float
    arcs: float
    expected: float
    las: float
    ratio: float | None


def first_causes(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> dict[str, int]:
    """How many gold dependencies are `right`, and what went wrong first with the others; `n` is all of them.

    Right: the prediction has a word of that span, with a head of that span (or on the root) and that relation.
    segment: else, the word or its gold head is no word of the prediction, or they are not in one sentence of it.
    tag: else, the predicted tag of the word or of its gold head is wrong (not where nothing was tagged). parse: else.
    Raises InputError where the texts differ.
    """
    ours, theirs = _facts(gold, predicted)
    causes = [_cause(ours, theirs, span) for span in _known(ours)]
    return {cause: causes.count(cause) for cause in (*STAGES, "right")} | {"n": len(causes)}


def confusions(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> tuple[Confusion, ...]:
    """Of each gold and predicted tag that meet (right tags too), most frequent first. Raises InputError as above."""
    ours, theirs = _facts(gold, predicted)
    cells: dict[tuple[str, str], list[bool]] = {}
    for span in _known(ours):
        if span in theirs:
            cells.setdefault((ours[span].tag, theirs[span].tag), []).append(not _is_right(ours, theirs, span))
    shares = {tags: sum(wrong) / len(wrong) for tags, wrong in cells.items()}
    found = [_confusion(*tags, len(wrong), shares) for tags, wrong in cells.items()]
    return tuple(sorted(found, key=lambda c: (-c.n, c.gold, c.predicted)))


def compounding(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> Compounding:
    """Measured against expected; a share of nothing is 0. Raises InputError where the texts differ."""
    ours, theirs = _facts(gold, predicted)
    known = _known(ours)
    there = [span for span in known if span in theirs]
    tagged = [span for span in there if ours[span].tag == theirs[span].tag]
    clean = [span for span in known if _stage_before_parse(ours, theirs, span) is None]
    words, tags = _share(len(there), len(known)), _share(len(tagged), len(there))
    arcs = _share(sum(_is_right(ours, theirs, span) for span in clean), len(clean))
    ends = [len(_ends(ours, span)) for span in known]
    expected = _share(sum((words * tags) ** n for n in ends), len(ends)) * arcs
    las = _share(sum(_is_right(ours, theirs, span) for span in known), len(known))
    return Compounding(words, tags, arcs, expected, las, (1 - las) / (1 - expected) if expected < 1 else None)


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


def _confusion(gold: str, predicted: str, n: int, shares: Mapping[tuple[str, str], float]) -> Confusion:
    wrong, usual = shares[gold, predicted], shares.get((gold, gold))
    return Confusion(gold, predicted, n, wrong, usual, None if usual is None else n * (wrong - usual))


def _cause(gold: _Facts, predicted: _Facts, span: Span) -> str:
    if _is_right(gold, predicted, span):
        return "right"
    return _stage_before_parse(gold, predicted, span) or "parse"


def _is_right(gold: _Facts, predicted: _Facts, span: Span) -> bool:
    return span in predicted and predicted[span][2:] == gold[span][2:]


def _stage_before_parse(gold: _Facts, predicted: _Facts, span: Span) -> str | None:
    """Which stage before the parser got the word or its gold head wrong first; None where none did."""
    ends = _ends(gold, span)
    if any(end not in predicted for end in ends) or len({predicted[end].sentence for end in ends}) > 1:
        return "segment"
    return "tag" if any(predicted[end].tag not in ("_", gold[end].tag) for end in ends) else None


def _ends(gold: _Facts, span: Span) -> list[Span]:
    head = gold[span].head
    return [span] if head is None else [span, head]


def _known(gold: _Facts) -> list[Span]:
    return [span for span, fact in gold.items() if fact.head != NOWHERE]


def _facts(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> tuple[_Facts, _Facts]:
    check_text(gold, predicted)
    return _facts_of(gold), _facts_of(predicted)


def _facts_of(sentences: Sequence[Sentence]) -> _Facts:
    found: dict[Span, _Fact] = {}
    for number, (sentence, at) in enumerate(zip(sentences, spans(sentences), strict=True)):
        heads: dict[int, Span | None] = {-1: NOWHERE, ROOT: None, **dict(enumerate(at, 1))}
        for word, span in zip(sentence.words, at, strict=True):
            found[span] = _Fact(number, word.tag, heads[word.head], word.relation.partition(":")[0])
    return found
