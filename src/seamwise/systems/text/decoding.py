"""From what the networks wrote to sentences: tokens with their white space, words, tags, trees and roles."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import final

import numpy as np

from seamwise.shapes import Float, NDArray
from seamwise.systems.text.inventory import Inventory
from seamwise.systems.text.raw import Run
from seamwise.systems.text.sentence import Sentence, Token, Word
from seamwise.systems.text.spanning import heads as tree_heads

FIELDS = ("words", "tags", "tree", "predicates", "roles")
ROOT_RELATION = "root"
JOINED = "parataxis"  # of the parts of a sentence that is too long to be analysed as one
TINY = 1e-9


@final
@dataclass(frozen=True)
class Piece:
    """A part of a text: its characters, the white space before each, and behind the last.

    opens: whether an empty line, or the text's begin, is before it
    """

    characters: str
    before: tuple[str, ...]
    after: str
    opens: bool = False

    @property
    def spaces(self) -> list[bool]:
        """Which characters have white space before them, the first of the part never."""
        return [False, *map(bool, self.before[1:])]

    def cut(self, places: Sequence[int]) -> Iterator["Piece"]:
        """The pieces that begin there; white space between two is behind the first of them."""
        for k, (start, end) in enumerate(pairwise([*places, len(self.characters)])):
            last = end == len(self.characters)
            first = self.before[start] if k == 0 else ""
            after = self.after if last else self.before[end]
            yield Piece(
                self.characters[start:end], (first, *self.before[start + 1 : end]), after, self.opens and k == 0
            )


def paragraphs_of(run: Run) -> list[Piece]:
    """A text cut at empty lines."""
    if not run.characters:
        return []
    opening = [k for k, space in enumerate(run.before) if k == 0 or space.count("\n") > 1]
    whole = Piece(run.characters, run.before, run.after)
    pieces = list(whole.cut(opening))
    return [Piece(p.characters, p.before, p.after, opens=True) for p in pieces]


def piece_of(sentence: Sentence) -> Piece:
    """A sentence's characters and white space."""
    before, space = list[str](), sentence.tokens[0].before
    for token in sentence.tokens:
        for part in token.form.split():
            before += [space, *[""] * (len(part) - 1)]
            space = " "
        space = token.after
    return Piece(sentence.characters, tuple(before), space, sentence.opens)


def decoded(
    inventory: Inventory,
    piece: Piece,
    written: Mapping[str, Float[NDArray, "length *each"]],
    gold: Sentence | None = None,
    given: Sequence[str] = (),
) -> Sentence:
    """The sentence that was written for a piece. gold: whose fields that were given are taken as they are."""
    n = len(piece.characters)
    inside = written["tags" if "tags" in written else "tree"][:n, 0]
    at = [int(k) for k in np.flatnonzero(inside < 0.5)] if gold is None else [start for start, _ in gold.anchors]
    tokens, forms = _tokens(inventory, piece, at, written.get("words"))
    words = [Word(form) for form in forms]
    if gold is not None:
        tokens, words = list(gold.tokens), [Word(word.form) for word in gold.words]
    words = _tagged(inventory, words, at, written, gold if "tags" in given else None)
    words = _attached(inventory, words, at, written, gold if "tree" in given else None)
    if "roles" in written:
        words = _with_roles(inventory, words, at, written)
    base = gold or Sentence((), ())
    return Sentence(tuple(words), tuple(tokens), base.name, base.document, base.line, piece.opens)


def joined(parts: Sequence[Sentence]) -> Sentence:
    """The analyses of a sentence's parts as one: the roots of later parts hang on the first."""
    words, root = list[Word](), 0
    for part in parts:
        n = len(words)
        for k, word in enumerate(part.words, start=n + 1):
            arguments = tuple((n + at, role) for at, role in word.arguments)
            if word.head == 0 and root:
                words.append(replace(word, arguments=arguments, head=root, relation=JOINED))
            else:
                root = root or (0 if word.head else k)
                words.append(replace(word, arguments=arguments, head=word.head + n if word.head else 0))
    return Sentence(tuple(words), tuple(token for part in parts for token in part.tokens), opens=parts[0].opens)


def surely_begin(inventory: Inventory, piece: Piece) -> list[int]:
    """Where a word begins whatever a network says: at the first character, and behind white space.

    White space may stand inside of a word where the treebank had such words, and it is a plain space.
    """
    return [k for k, space in enumerate(piece.before) if k == 0 or (space and not (inventory.gaps and space == " "))]


def _tokens(
    inventory: Inventory, piece: Piece, at: Sequence[int], words: Float[NDArray, "length 3"] | None
) -> tuple[list[Token], list[str]]:
    """Tokens with their white space, and the forms of all words."""
    further = set() if words is None else {k for k in at[1:] if words[k, 2] > words[k, 1] and not piece.before[k]}
    starts = [k for k in at if k not in further]
    tokens, forms = list[Token](), list[str]()
    for start, end in pairwise([*starts, len(piece.characters)]):
        inner = [k for k in at if start <= k < end]
        form = piece.characters[start] + "".join(piece.before[k] + piece.characters[k] for k in range(start + 1, end))
        after = piece.after if end == len(piece.characters) else piece.before[end]
        tokens.append(Token(form, len(inner), after, piece.before[0] if start == 0 else ""))
        forms += _forms(inventory, form, [piece.characters[a:b] for a, b in pairwise([*inner, end])])
    return tokens, forms


def _forms(inventory: Inventory, token: str, spelt: list[str]) -> list[str]:
    """The forms of a token's words: those that the treebank has for it, else what stands there."""
    if len(spelt) == 1:
        return [token]
    known = inventory.forms.get(token.lower(), ())
    if len(known) != len(spelt):
        return spelt
    return [known[0].capitalize() if token[0].isupper() else known[0], *known[1:]]


def _tagged(
    inventory: Inventory, words: list[Word], at: Sequence[int], written: Mapping[str, NDArray], gold: Sentence | None
) -> list[Word]:
    if gold is not None:
        return [replace(word, tag=known.tag) for word, known in zip(words, gold.words, strict=True)]
    if "tags" not in written:
        return words
    best = written["tags"][at, 1:].argmax(-1)
    return [replace(word, tag=inventory.tags[k]) for word, k in zip(words, best, strict=True)]


def _attached(
    inventory: Inventory, words: list[Word], at: Sequence[int], written: Mapping[str, NDArray], gold: Sentence | None
) -> list[Word]:
    """Heads of the best tree; the relation to the root is "root", and that to words is another."""
    if gold is not None:
        pairs = zip(words, gold.words, strict=True)
        return [replace(word, head=known.head, relation=known.relation) for word, known in pairs]
    spread = written["tree"][at]
    relations, places = spread[:, 1 : 1 + len(inventory.relations)], spread[:, 1 + len(inventory.relations) :]
    heads = tree_heads(np.log(places[:, [0, *(1 + k for k in at)]] + TINY))
    root = inventory.relations.index(ROOT_RELATION) if ROOT_RELATION in inventory.relations else -1
    attached = []
    for word, head, own in zip(words, heads, relations.copy(), strict=True):
        if root >= 0:
            own[root] = 2.0 if head == 0 else -1.0
        attached.append(replace(word, head=int(head), relation=inventory.relations[int(own.argmax())]))
    return attached


def _with_roles(
    inventory: Inventory, words: list[Word], at: Sequence[int], written: Mapping[str, NDArray]
) -> list[Word]:
    """Predicates, of unknown sense, and their arguments."""
    is_predicate = written["predicates"][at, 1] > 0.5
    begins = written["roles"].diagonal(axis1=0, axis2=1)[0].astype(int)
    begins = begins[: np.count_nonzero(begins)]  # a row a word; the others are filled up
    role = written["roles"][: len(begins), : len(begins), 1:].argmax(-1)
    row = {1 + start: k for k, start in enumerate(at)}
    found = list(words)
    for k, begin in enumerate(begins):
        if begin in row and is_predicate[row[begin]]:
            named = [(row[begins[j]], role[k, j]) for j in np.flatnonzero(role[k]) if begins[j] in row]
            arguments = tuple((1 + j, inventory.roles[r - 1]) for j, r in named)
            found[row[begin]] = replace(words[row[begin]], predicate="_", arguments=arguments)
    return found
