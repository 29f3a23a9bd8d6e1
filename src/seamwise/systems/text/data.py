"""Treebanks as supplies: sentences as padded tables of numbers, one row a sentence."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seamwise import Supply
from seamwise.shapes import Int, NDArray
from seamwise.systems.text.inventory import Inventory
from seamwise.systems.text.sentence import Sentence
from seamwise.tables import SPLITS

ABSENT = -1


def encoded(inventory: Inventory, sentence: Sentence) -> Int[NDArray, "n 3"]:
    """The characters of a sentence as numbers, see Inventory.encoded."""
    return inventory.encoded(sentence.characters, spaces_of(sentence))


def spaces_of(sentence: Sentence) -> list[bool]:
    """Which characters have white space before them; a sentence's first has none."""
    spaces, before = list[bool](), False
    for token in sentence.tokens:
        for part in token.form.split():
            spaces += [before, *[False] * (len(part) - 1)]
            before = True
        before = bool(token.after)
    return spaces


def fits(sentence: Sentence, longest: int, *, labelled: bool = True) -> bool:
    """Whether a sentence can be learned from: not too long, every word at a character of its own, tags and heads."""
    at = [start for start, _ in sentence.anchors]
    known = not labelled or all(word.tag != "_" and word.head >= 0 for word in sentence.words)
    return known and len(set(at)) == len(at) and at[-1] < len(sentence.characters) <= longest


def labels_of(inventory: Inventory, sentence: Sentence) -> dict[str, Int[NDArray, "..."]]:
    """{field: labels} of one sentence that fits; a label that the inventory lacks is that of the first class."""
    at = [start for start, _ in sentence.anchors]
    n = len(sentence.characters)
    words, tags, predicates, tree = (np.zeros(shape, dtype=np.int64) for shape in (n, n, n, (n, 2)))
    words[at] = 2
    words[token_starts(sentence)] = 1
    place = [0, *(1 + start for start in at)]
    for start, word in zip(at, sentence.words, strict=True):
        tags[start] = 1 + _class(inventory.tags, word.tag)
        tree[start] = place[word.head], 1 + _class(inventory.relations, word.relation)
        predicates[start] = bool(word.predicate)
    roles = [
        (start, at[argument - 1], 1 + inventory.roles.index(role))
        for start, word in zip(at, sentence.words, strict=True)
        for argument, role in word.arguments
        if role in inventory.roles
    ]
    labels = {"words": words, "tags": tags, "tree": tree, "predicates": predicates}
    return labels | {"roles": np.array(roles, dtype=np.int64).reshape(-1, 3)}


def _class(known: Sequence[str], label: str) -> int:
    return known.index(label) if label in known else 0


def token_starts(sentence: Sentence) -> list[int]:
    """Where in the characters each token begins."""
    starts, at = list[int](), 0
    for token in sentence.tokens:
        starts.append(at)
        at += len("".join(token.form.split()))
    return starts


def supply(inventory: Inventory, parts: Sequence[Sequence[Sentence]], longest: int) -> Supply:
    """A supply of the train, validation and test sentences that fit; documents are its groups.

    Raises SupplyError where a part has none.
    """
    kept = [(s, name) for part, name in zip(parts, SPLITS, strict=True) for s in part if fits(s, longest)]
    width = max((len(s.characters) for s, _ in kept), default=1)
    rows = [labels_of(inventory, s) for s, _ in kept]
    documents = {name: k for k, name in enumerate(dict.fromkeys(s.document for s, _ in kept))}
    table = {
        "characters": padded([encoded(inventory, s) for s, _ in kept], width, 0),
        **{f: padded([row[f] for row in rows], width, ABSENT) for f in ("words", "tags", "tree", "predicates")},
        "roles": padded(
            [row["roles"] for row in rows], max((len(row["roles"]) for row in rows), default=0) or 1, ABSENT
        ),
        "group": np.array([documents[s.document] for s, _ in kept]),
        "split": np.array([name for _, name in kept]),
    }
    if not inventory.roles:
        del table["predicates"], table["roles"]
    return Supply({"sentences": table})


def padded(rows: Sequence[NDArray], width: int, value: int) -> Int[NDArray, "rows width ..."]:
    """Rows of unequal length as one array, filled up with a value."""
    shape = (len(rows), width, *(rows[0].shape[1:] if rows else ()))
    table = np.full(shape, value, dtype=np.int32)
    for k, row in enumerate(rows):
        table[k, : len(row)] = row
    return table


def stripped(sentence: Sentence) -> Sentence:
    """The same sentence with no white space between its tokens."""
    return replace(sentence, tokens=tuple(replace(token, before="", after="") for token in sentence.tokens))


def divided(sentences: Sequence[Sentence], shares: Sequence[float], seed: int = 0) -> list[list[Sentence]]:
    """Sentences in parts of about those shares, none empty, each document in one; always the same way.

    Where there are too few documents for that, the parts are runs of sentences, and each is a document of its own.
    """
    names = list(dict.fromkeys(s.document for s in sentences))
    of_document: dict[str, list[Sentence]] = {name: [] for name in names}
    for s in sentences:
        of_document[s.document].append(s)
    parts: list[list[Sentence]] = [[] for _ in shares]
    for k in np.random.default_rng(seed).permutation(len(names)):
        wanted = [share * len(sentences) - len(part) for share, part in zip(shares, parts, strict=True)]
        parts[int(np.argmax(wanted))] += of_document[names[k]]
    return parts if all(parts) else _runs(sentences, shares)


def _runs(sentences: Sequence[Sentence], shares: Sequence[float]) -> list[list[Sentence]]:
    sizes = [max(1, round(share * len(sentences))) for share in shares[1:]]
    ends = np.cumsum([max(1, len(sentences) - sum(sizes)), *sizes])
    starts = [0, *ends[:-1]]
    return [
        [replace(s, document=f"{s.document}, part {k + 1}") for s in sentences[start:end]]
        for k, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
