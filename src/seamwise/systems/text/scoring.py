"""What a predicted treebank scores against a gold one: the official scorer's figures, and those of roles.

Source: Zeman et al. 2018, CoNLL 2018 Shared Task: Multilingual Parsing from Raw Text to Universal Dependencies; its
scorer is `udtools`. Predicates and roles are not in it: they are scored as there, by F1 over the characters of the
text. Differs from Hajič et al. 2009, CoNLL-2009 Shared Task: predicates' senses are not scored, words are not given.
"""

import importlib
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, pairwise, zip_longest
from typing import Any, Final

from seamwise.errors import InputError
from seamwise.systems.text.conllu import write_sentence
from seamwise.systems.text.raw import WHITE
from seamwise.systems.text.sentence import ROOT, Sentence, Word

OFFICIAL: Final = {
    "sentences": "Sentences",
    "tokens": "Tokens",
    "words": "Words",
    "upos": "UPOS",
    "uas": "UAS",
    "las": "LAS",
}
SHOWN = 20  # characters of either text in an error

Span = tuple[int, int, int]


def scores(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> dict[str, float]:
    """F1 in percent: sentences, tokens, words, upos, uas, las, predicate_f1, role_f1.

    A predicate is right if its word's span is a gold predicate's; a role if the predicate's span, the span of the
    argument's head word and the role are right. Absent: upos where no gold word has a tag, uas and las where the head
    of some word is not known, predicate_f1 and role_f1 where there are no gold ones. Raises InputError where udtools
    is not installed, the texts differ in more than white space, or a tree is no tree; the message says where.
    """
    check_text(gold, predicted)
    return _official(gold, predicted) | _of_roles(gold, predicted)


def spans(sentences: Sequence[Sentence]) -> list[list[Span]]:
    """Of each word of each sentence: where it begins and ends in the whole text without white space, and 0.

    Words of a multiword token that do not spell it have the token's begin and end, and their place in it from 1.
    """
    found: list[list[Span]] = []
    at = 0
    for sentence in sentences:
        found.append([])
        words = iter(sentence.words)
        for token in sentence.tokens:
            form = _bare(token.form)
            found[-1] += _spans(at, form, [_bare(next(words).form) for _ in range(token.n_words)])
            at += len(form)
    return found


def check_text(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> None:
    """Raises InputError where the texts differ in more than white space; it says in which sentence they part."""
    if not gold:
        raise InputError("nothing to score against", given="no gold sentence", expected="at least one")
    ours, theirs = (_bare("".join(s.characters for s in sentences)) for sentences in (gold, predicted))
    if ours != theirs:
        at = next(k for k, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b)
        raise InputError(
            f"the predicted text is another than the gold text, from {_where(gold, at)} on",
            given=repr(theirs[at : at + SHOWN]) if at < len(theirs) else "nothing more",
            expected=repr(ours[at : at + SHOWN]) if at < len(ours) else "the end of the text",
            remedy="predict from the text of the gold file; only white space may differ",
        )


def _spans(at: int, token: str, forms: list[str]) -> list[Span]:
    end = at + len(token)
    if len(forms) == 1:
        return [(at, end, 0)]
    if "".join(forms) != token:
        return [(at, end, 1 + k) for k in range(len(forms))]
    ends = list(accumulate(map(len, forms), initial=at))
    return [(start, end, 0) for start, end in pairwise(ends)]


def _where(sentences: Sequence[Sentence], at: int) -> str:
    end = 0
    for k, sentence in enumerate(sentences):
        end += len(_bare(sentence.characters))
        if at < end:
            name = f" ({sentence.name})" if sentence.name else ""
            return f"line {sentence.line}{name}" if sentence.line else f"sentence {k + 1}{name}"
    return "its end"


def _bare(text: str) -> str:
    return WHITE.sub("", text)


def _official(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> dict[str, float]:
    udeval = _udeval()
    longest = max(len(sentence.words) for sentence in (*gold, *predicted))
    try:
        with _calls_within(longest):
            ours, theirs = (
                udeval.load_conllu(io.StringIO("".join(map(_plain, sentences))), name, {})
                for sentences, name in ((gold, "gold"), (predicted, "predicted"))
            )
            found = udeval.evaluate(ours, theirs)
    except udeval.UDError as error:
        raise InputError("udtools cannot score these sentences", given=str(error)) from None
    return {key: 100.0 * found[name].f1 for key, name in OFFICIAL.items() if key not in _unknown(gold, predicted)}


def _unknown(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> set[str]:
    """Which figures cannot be told."""
    tagged = any(word.tag != "_" for sentence in gold for word in sentence.words)
    parsed = all(word.head >= ROOT for sentence in (*gold, *predicted) for word in sentence.words)
    return (set() if tagged else {"upos"}) | (set() if parsed else {"uas", "las"})


def _plain(sentence: Sentence) -> str:
    """A sentence as CoNLL-U, with what is scored alone; where heads are not known, any tree."""
    known = all(word.head >= ROOT for word in sentence.words)
    heads = [word.head if known else int(k > 0) for k, word in enumerate(sentence.words)]
    words = (Word(word.form, word.tag, head, word.relation) for word, head in zip(sentence.words, heads, strict=True))
    return write_sentence(replace(sentence, words=tuple(words)))


def _of_roles(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> dict[str, float]:
    ours, theirs = _labelled(gold), _labelled(predicted)
    names = ("predicate_f1", "role_f1")
    return {name: _f1(a, b) for name, a, b in zip(names, ours, theirs, strict=True) if a}


def _labelled(sentences: Sequence[Sentence]) -> tuple[set[Any], set[Any]]:
    """Spans of the predicates; and (predicate's span, span of the argument's head, role)."""
    predicates, roles = set(), set()
    for sentence, at in zip(sentences, spans(sentences), strict=True):
        for word, span in zip(sentence.words, at, strict=True):
            if word.predicate:
                predicates.add(span)
                roles |= {(span, at[position - 1], role) for position, role in word.arguments}
    return predicates, roles


def _f1(gold: set[Any], predicted: set[Any]) -> float:
    return 200.0 * len(gold & predicted) / (len(gold) + len(predicted))


@contextmanager
def _calls_within(depth: int) -> Iterator[None]:
    """Room for a call within a call a word: the scorer walks up a tree in this way."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 2 * depth)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _udeval() -> Any:
    try:
        return importlib.import_module("udtools.udeval")
    except ImportError:
        expected, remedy = "the package udtools", "pip install 'seamwise[text]'"
        raise InputError("treebanks cannot be scored here", expected=expected, remedy=remedy) from None
