"""The text world: sentences of a small invented language, written without spaces, every label known.

A sentence is written word by word with its tree (`grammar`, `lexicon`). Some places can be read in two ways, and what
stands around them tells which: letters that are two words in two ways, words of two tags, phrases and conjuncts that
can belong to two words. With noise, in a share of these places the truth is drawn blindly from the two readings after
the letters are written. So nobody can do better than to read by context, and how often that errs is known (`floors`).

A mistake is passed on: where words are cut wrongly verb and noun change places, so tags, heads and roles are wrong too.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice, pairwise
from typing import Final, final

from seamwise.errors import InputError
from seamwise.systems.text.grammar import Difficulty, Draft, Node, write
from seamwise.systems.text.lexicon import LEXICON, RELATIONS, ROLES, SAID_OF, TAGS, Entry
from seamwise.systems.text.sentence import Sentence, Token, Word

__all__ = ["PARTS", "RELATIONS", "ROLES", "TAGS", "Difficulty", "Drawn", "draw", "floors", "sentences"]

PARTS: Final = {"train": (3200, 1), "validation": (400, 2), "test": (800, 3)}  # how many, seed
LEAST_WORDS, MOST_WORDS, MOST_CHARACTERS = 4, 10, 24
N_FOR_FLOORS, SEED_FOR_FLOORS = 2000, 1_000_003
CUT_PAIRS = {tuple(entry.form for entry in pair) for cut in LEXICON.cuts() for pair in (cut.late, cut.early)}


@final
@dataclass(frozen=True)
class Drawn:
    """A sentence, and how many of its words stand in a place that can be read in two ways, a stage.

    words: both words of each cut; tags: each homograph; tree: each word whose head is told by preference alone
    """

    sentence: Sentence
    words: int
    tags: int
    tree: int


def sentences(n: int, difficulty: Difficulty | None = None, seed: int = 0) -> list[Sentence]:
    """The first n sentences of a seed, always the same. Their letters do not depend on the noise.

    So without noise they are as a perfect reader of the letters would read them. Raises InputError.
    """
    return [drawn.sentence for drawn in draw(n, difficulty, seed)]


def draw(n: int, difficulty: Difficulty | None = None, seed: int = 0) -> list[Drawn]:
    """The same sentences, each with what of it is ambiguous. Raises InputError where a setting is out of range."""
    difficulty = difficulty or Difficulty()
    _check(n, difficulty, seed)
    return list(islice(_drawn(difficulty, seed), n))


@lru_cache(maxsize=64)
def floors(difficulty: Difficulty) -> dict[str, float]:
    """The least error that a stage can have if all before it is right, as a share of words.

    In a place whose truth is drawn blindly from two readings, reading by context errs in half. So a floor is half of
    the noise times the share of words that stand in places of the stage, counted in 2,000 sentences. It is 0 for
    roles: they follow from the words, tags and tree. Each is of gold input; the whole chain's errors come of them all.
    """
    drawn = draw(N_FOR_FLOORS, difficulty, SEED_FOR_FLOORS)
    half = difficulty.noise / 2 / sum(len(each.sentence.words) for each in drawn)
    shares = {stage: half * sum(getattr(each, stage) for each in drawn) for stage in ("words", "tags", "tree")}
    return shares | {"roles": 0.0}


def _check(n: int, difficulty: Difficulty, seed: int) -> None:
    for each in fields(difficulty):
        share = getattr(difficulty, each.name)
        if not 0 <= share <= 1:
            raise InputError(f"Difficulty.{each.name} is out of range", given=f"{share}", expected="0 (never) to 1")
    if min(n, seed) < 0:
        raise InputError("no such sentences", given=f"{n} of seed {seed}", expected="0 or more")


def _drawn(difficulty: Difficulty, seed: int) -> Iterator[Drawn]:
    """Without end. The truth's chance is apart from the letters', so that these do not depend on the noise."""
    rng, truth = random.Random(f"text {seed}"), random.Random(f"truth {seed}")
    n = 0
    while True:
        draft = write(rng, difficulty)
        if _is_kept(draft):
            _settle(draft, truth)
            counts = 2 * len(draft.cuts), len(draft.homographs), len(draft.choices)
            yield Drawn(_sentence(draft.nodes, f"world-{seed}-{n}"), *counts)
            n += 1


def _is_kept(draft: Draft) -> bool:
    """Whether it is as long as it may be, and nothing can be cut in two ways by accident."""
    forms = [node.entry.form for node in draft.nodes]
    if not (LEAST_WORDS <= len(forms) <= MOST_WORDS and sum(map(len, forms)) <= MOST_CHARACTERS):
        return False
    return sum(pair in CUT_PAIRS for pair in pairwise(forms)) == len(draft.cuts)


def _settle(draft: Draft, truth: random.Random) -> None:
    """The truth of every place: by context, or in half of the noise otherwise."""
    half = draft.difficulty.noise / 2
    for first, second, other in draft.cuts:
        if truth.random() < half:
            _recut(draft.nodes, first, second, other)
    for choice in draft.choices:
        choice.settle(truth.random() < half)
    for node, tag, relation, head in draft.homographs:
        if truth.random() < half:
            node.tag, node.relation, node.head = tag, relation, head


def _recut(nodes: list[Node], first: Node, second: Node, other: tuple[Entry, Entry]) -> None:
    """The same letters as two other words: noun and verb change places, or an adjective becomes a preposition."""
    if "VERB" in (first.tag, second.tag):
        at = nodes.index(first)
        first, second = second, first
        nodes[at : at + 2] = [first, second]
    else:
        first.relation = "case" if first.relation == "amod" else "amod"
        second.relation = "obl" if second.relation == "obj" else second.relation
    first.entry, second.entry = other
    first.tag, second.tag = other[0].tags[0], other[1].tags[0]


def _sentence(nodes: list[Node], name: str) -> Sentence:
    place: dict[Node | None, int] = {node: k for k, node in enumerate(nodes, 1)} | {None: 0}
    words = []
    for node in nodes:
        is_verb, form = node.tag == "VERB", node.entry.form
        roles = tuple((place[each], role) for each, role in _arguments(node, nodes)) if is_verb else ()
        sense = node.entry.sense if is_verb else ""
        words.append(Word(form, node.tag, place[node.head], node.relation, form, predicate=sense, arguments=roles))
    tokens = tuple(Token(word.form, after="") for word in words)
    return Sentence(tuple(words), tokens, name, name, opens=True)


def _arguments(verb: Node, nodes: list[Node]) -> Iterator[tuple[Node, str]]:
    """What depends on a verb, and its role. It follows from the tree: who is passive, what a phrase's words are."""
    own = [node for node in nodes if node.head is verb]
    passive = any(node.relation == "aux" for node in own)
    for node in own:
        if node.relation == "nsubj":
            yield node, "ARG1" if passive else "ARG0"
        elif node.relation == "obj":
            yield node, "ARG1"
        elif node.relation == "obl":
            agent = passive and any(each.head is node and each.entry.sort == "agent" for each in nodes)
            yield node, "ARG0" if agent else SAID_OF[node.entry.sort]
        elif node.relation == "advmod":
            yield node, SAID_OF[node.entry.sort]
