"""How sentences of the world's language are made: clauses of words with their tree, and what can be read in two ways.

The order is fixed and tells a word's tag: [when] subject [manner] [particle] verb [object] [phrase], perhaps a
conjunction and another clause, perhaps a particle that asks, and a mark. Adjectives stand before nouns.
"""

import random
from dataclasses import dataclass, field
from typing import final

from seamwise.systems.text.lexicon import LEXICON, SORTS, Cut, Entry

VOICES = {"active": 0.74, "passive": 0.13, "intransitive": 0.13}
OFTEN = {"when": 0.14, "manner": 0.2, "phrase": 0.6}  # of any clause
OFTEN |= {"subject adjective": 0.16, "subject phrase": 0.14, "subject pair": 0.08}
OFTEN |= {"object adjective": 0.25, "object pair": 0.2}  # of an active one
SECOND_CLAUSE, FEWER = 0.25, 0.4  # of sentences; of the shares above if there is a second clause
QUESTION, CALL, PREFERRED = 0.12, 0.1, 0.9


@final
@dataclass(frozen=True)
class Difficulty:
    """How much is ambiguous, each from 0 (never) to 1 (wherever it can be).

    segmentation: share of places (subject and verb, verb and object, adjective and noun, preposition and noun) whose
                  letters are two words in two ways, told apart by the tags around
    tagging:      share of subjects, objects, verbs, adjectives and manners that are words of two tags, told apart by
                  their place
    attachment:   share of phrases and conjuncts behind an object whose head only lexical preference tells
    noise:        share of all these places in which the truth is one of the two readings by chance: nobody can know it
    """

    segmentation: float = 0.5
    tagging: float = 0.3
    attachment: float = 0.8
    noise: float = 0.1


@final
@dataclass(eq=False)
class Node:
    """A word that is being written: head is none at the root."""

    entry: Entry
    tag: str
    relation: str
    head: "Node | None" = None


@final
@dataclass(eq=False)
class Choice:
    """A phrase's noun (with its preposition) or a conjunct (without) that can belong to either of two."""

    node: Node
    near: Node
    far: Node
    preposition: Node | None = None

    def settle(self, otherwise: bool) -> None:
        """By preference: the verb's for a preposition, equals for conjuncts. Or otherwise."""
        if self.preposition is None:
            far = self.far.entry.sort == self.node.entry.sort
        else:
            far = self.preposition.entry.form in self.far.entry.wants
        self.node.head = self.far if far != otherwise else self.near
        if self.preposition is not None:
            self.node.relation = "obl" if self.node.head is self.far else "nmod"


@final
@dataclass
class Draft:
    """Nodes in order, and the places among them that can be read in two ways."""

    rng: random.Random
    difficulty: Difficulty
    nodes: list[Node] = field(default_factory=list)
    cuts: list[tuple[Node, Node, tuple[Entry, Entry]]] = field(default_factory=list)  # and the other two words
    homographs: list[tuple[Node, str, str, Node | None]] = field(default_factory=list)  # and its other labels
    choices: list[Choice] = field(default_factory=list)

    def chance(self, share: float) -> bool:
        """Whether something happens that often."""
        return self.rng.random() < share

    def word(self, kind: str) -> Entry:
        """A word of a kind, frequent ones more often."""
        return LEXICON.words[kind].draw(self.rng)

    def noun(self, sort: str) -> Entry:
        """A noun, mostly of a sort, perhaps one that can be a verb."""
        sort = sort if self.chance(PREFERRED) else self.rng.choice(SORTS[:3])
        return self.word(f"{sort} or verb" if self.chance(self.difficulty.tagging) else sort)

    def add(self, kind: str, tag: str, relation: str, head: Node) -> Node:
        """A small word of a kind, at the end."""
        self.nodes.append(Node(self.word(kind), tag, relation, head))
        return self.nodes[-1]

    def put(self, node: Node, other: tuple[str, str, Node | None]) -> None:
        """A node at the end, noted with its other tag, relation and head if its word has two tags."""
        self.nodes.append(node)
        if len(node.entry.tags) == 2:
            self.homographs.append((node, *other))


def write(rng: random.Random, difficulty: Difficulty) -> Draft:
    """A sentence of one clause or two, perhaps a particle that asks, and a mark."""
    draft = Draft(rng, difficulty)
    two = draft.chance(SECOND_CLAUSE)
    fewer = FEWER if two else 1.0
    root = _clause(draft, fewer, "root", None)
    if two:
        joins = Node(draft.word("clauses"), "CCONJ", "cc")
        draft.nodes.append(joins)
        joins.head = _clause(draft, fewer, "conj", root)
    asks = draft.chance(QUESTION)
    if asks:
        draft.add("question", "PART", "discourse", root)
    mark = LEXICON.words["stop"].choices[2 if asks else int(draft.chance(CALL))]
    draft.nodes.append(Node(mark, "PUNCT", "punct", root))
    return draft


def _clause(draft: Draft, fewer: float, relation: str, head: Node | None) -> Node:
    """[when] subject [manner] [passive] verb [object] [phrase]: its verb."""
    (voice,) = draft.rng.choices(list(VOICES), list(VOICES.values()))
    plan = {what for what, share in OFTEN.items() if draft.chance(share * fewer)} | {voice}
    place, cut = _clause_cut(draft, plan)
    verb = Node(_verb(draft, plan, place, cut), "VERB", relation, head)
    if "when" in plan:
        draft.add("when", "ADV", "advmod", verb)
    noun = cut.late[0] if cut and place == "subject" else draft.noun(verb.entry.subject)
    subject = Node(noun, "NOUN", "nsubj", verb)
    _subject(draft, plan, subject, verb)
    if "manner" in plan:
        kind = "adjective or adverb" if draft.chance(draft.difficulty.tagging) else "manner"
        draft.put(Node(draft.word(kind), "ADV", "advmod", verb), ("ADJ", "amod", subject))
    if "passive" in plan:
        draft.add("passive", "PART", "aux", verb)
    draft.put(verb, ("NOUN", relation, head))
    if cut and place == "subject":
        draft.cuts.append((subject, verb, cut.early))
    if "active" in plan:
        _object(draft, plan, verb, cut if place == "object" else None)
    elif "phrase" in plan:
        agent = "passive" in plan and draft.chance(0.5)
        sort = draft.rng.choice(SORTS[:2]) if agent else None
        _phrase(draft, "agent" if agent else "to verb", sort, verb, "obl")
    return verb


def _clause_cut(draft: Draft, plan: set[str]) -> tuple[str, Cut | None]:
    """Where the verb and the noun before or behind it can be cut in two ways, if they are."""
    apart = {"subject adjective", "subject phrase", "subject pair", "manner"}
    for place, hinders in (("subject", apart), ("object", {"object adjective", "object pair"})):
        if "active" in plan and not plan & hinders and draft.chance(draft.difficulty.segmentation):
            return place, LEXICON.clause_cuts.draw(draft.rng)
    return "", None


def _verb(draft: Draft, plan: set[str], place: str, cut: Cut | None) -> Entry:
    if cut:
        return cut.late[1] if place == "subject" else cut.early[0]
    if "intransitive" in plan:
        return draft.word("intransitive")
    return draft.word("verb or noun" if draft.chance(draft.difficulty.tagging) else "transitive")


def _subject(draft: Draft, plan: set[str], subject: Node, verb: Node) -> None:
    """[adjective] noun [phrase, or conjunction and noun]."""
    if "subject adjective" in plan:
        _adjective(draft, subject, verb)
    draft.put(subject, ("VERB", "dep", verb))
    if "subject phrase" in plan:
        _of(draft, subject)
    elif "subject pair" in plan:
        _conjunct(draft, subject.entry.sort, subject)


def _object(draft: Draft, plan: set[str], verb: Node, cut: Cut | None) -> None:
    """[adjective] noun [phrase, or conjunction and noun, or both]."""
    node = Node(cut.early[1] if cut else draft.noun(verb.entry.object), "NOUN", "obj", verb)
    if "object adjective" in plan:
        if draft.chance(draft.difficulty.segmentation):
            return _cut_phrase(draft, node, "late", "amod", verb.entry.object)
        _adjective(draft, node, verb)
    draft.put(node, ("VERB", "dep", verb))
    if cut:
        draft.cuts.append((verb, node, cut.late))
    if "object pair" in plan:
        _pair(draft, node)
    elif "phrase" in plan and draft.chance(draft.difficulty.attachment):
        _phrase(draft, "either", None, node, "nmod", verb)
    elif "phrase" in plan and (cut or draft.chance(0.5)):
        _phrase(draft, "to verb", None, verb, "obl")
    elif "phrase" in plan:
        _of(draft, node)
    return None


def _adjective(draft: Draft, noun: Node, verb: Node) -> None:
    kind = "adjective or adverb" if draft.chance(draft.difficulty.tagging) else "adjective"
    draft.put(Node(draft.word(kind), "ADJ", "amod", noun), ("ADV", "advmod", verb))


def _of(draft: Draft, noun: Node) -> None:
    """A phrase that can belong to the noun before it alone."""
    if draft.chance(draft.difficulty.segmentation):
        node = Node(noun.entry, "NOUN", "nmod", noun)
        return _cut_phrase(draft, node, "early", "case", draft.rng.choice(SORTS[:3]))
    _phrase(draft, "to noun", None, noun, "nmod")
    return None


def _cut_phrase(draft: Draft, node: Node, which: str, relation: str, sort: str) -> None:
    """A noun, and an adjective or a preposition before it, that can be cut in two ways."""
    cut = LEXICON.phrase_cuts[sort].draw(draft.rng)
    (first, node.entry), other = (cut.late, cut.early) if which == "late" else (cut.early, cut.late)
    before = Node(first, first.tags[0], relation, node)
    draft.nodes += [before, node]
    draft.cuts.append((before, node, other))


def _phrase(draft: Draft, kind: str, sort: str | None, head: Node, relation: str, verb: Node | None = None) -> Node:
    """A preposition and its noun; where a verb is given, this may be the head as well."""
    noun = Node(draft.word(sort or draft.rng.choice(SORTS[1:])), "NOUN", relation, head)
    preposition = draft.add(kind, "ADP", "case", noun)
    draft.nodes.append(noun)
    if verb is not None:
        draft.choices.append(Choice(noun, head, verb, preposition))
    return noun


def _conjunct(draft: Draft, sort: str, head: Node) -> Node:
    node = Node(draft.word(sort), "NOUN", "conj", head)
    draft.add("nouns", "CCONJ", "cc", node)
    draft.nodes.append(node)
    return node


def _pair(draft: Draft, noun: Node) -> None:
    """A conjunct, perhaps behind a phrase whose noun can as well be what it goes with."""
    sorts = [sort for sort in SORTS[1:] if sort != noun.entry.sort]
    if not draft.chance(draft.difficulty.attachment):
        _conjunct(draft, noun.entry.sort, noun)
        return
    near = _phrase(draft, "to noun", draft.rng.choice(sorts), noun, "nmod")
    last = _conjunct(draft, draft.rng.choice((noun, near)).entry.sort, noun)
    draft.choices.append(Choice(last, near, noun))
