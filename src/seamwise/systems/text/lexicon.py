"""The words of the world's language, its letters and inventories: always the same, whatever is drawn with them.

Words are so spelled that none begins another, so characters can be cut in one way only. The exceptions are wanted: a
`Cut` is three letters that are two words in two ways, AB + C or A + BC. A homograph is one word with two tags.

Source: prefix codes, and Zipf's law (1949) for how frequent words are. Differs: invented, so that all is known.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Generic, TypeVar, final

TAGS = ("ADJ", "ADP", "ADV", "CCONJ", "NOUN", "PART", "PUNCT", "VERB")
RELATIONS = (
    *("root", "nsubj", "obj", "obl", "nmod", "amod", "advmod"),
    *("case", "aux", "discourse", "cc", "conj", "dep", "punct"),
)
ROLES = ("ARG0", "ARG1", "ARGM-LOC", "ARGM-MNR", "ARGM-TMP")
LETTERS = "".join(chr(0x4E00 + k) for k in range(160))
MARKS = "。！？"
SORTS = ("person", "thing", "place", "time")  # of nouns
SAID_OF = {"person": "ARGM-MNR", "thing": "ARGM-MNR", "place": "ARGM-LOC", "time": "ARGM-TMP", "manner": "ARGM-MNR"}
N_CUTS = 12  # of each kind
SEED = 2017

T = TypeVar("T")


@final
@dataclass(frozen=True)
class Entry:
    """A word of the lexicon.

    sort:    of a noun, one of SORTS; of others, which words of their tag do the same
    subject: of a verb, the sort of noun that it mostly takes; object: likewise, empty if it takes none
    wants:   of a verb, the prepositions whose phrases belong to it; of all others they belong to its object
    """

    form: str
    tags: tuple[str, ...]
    sort: str = ""
    subject: str = ""
    object: str = ""
    wants: frozenset[str] = frozenset()
    sense: str = ""


@final
@dataclass(frozen=True)
class Cut:
    """Three letters that are two words in two ways: AB + C and A + BC."""

    late: tuple[Entry, Entry]
    early: tuple[Entry, Entry]


@final
@dataclass(frozen=True)
class Pool(Generic[T]):
    """Choices, the first the most frequent: each as often as 1 / (its rank + 1)."""

    choices: tuple[T, ...]
    mass: tuple[float, ...]

    @staticmethod
    def of(choices: Sequence[T]) -> "Pool[T]":
        """The choices in the order given."""
        return Pool(tuple(choices), tuple(accumulate(1 / (k + 2) for k in range(len(choices)))))

    def draw(self, rng: random.Random) -> T:
        """One of them."""
        return rng.choices(self.choices, cum_weights=self.mass)[0]


@final
class Speller:
    """Spells new words, none of which begins another."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.taken, self.n_verbs = rng, set[str](), 0
        self.firsts = rng.sample(LETTERS, len(LETTERS))  # letters that begin no word yet

    def letter(self) -> str:
        """One that begins this word and no other."""
        letter = self.firsts.pop()
        self.taken.add(letter)
        return letter

    def word(self) -> str:
        """One of two letters mostly, or of three."""
        while True:
            word = self.rng.choice(self.firsts) + "".join(self.rng.choices(LETTERS, k=1 + (self.rng.random() < 0.25)))
            if word not in self.taken and word[:2] not in self.taken and not self._begins(word):
                self.taken.add(word)
                return word

    def _begins(self, word: str) -> bool:
        return any(other.startswith(word) for other in self.taken)

    def verb(self, form: str, prepositions: Sequence[str], object: str | None = None) -> Entry:  # noqa: A002
        """A verb with preferences of its own; without an object where that is empty, any where it is none."""
        self.n_verbs += 1
        wanted = frozenset(self.rng.sample(prepositions, len(prepositions) // 2))
        subject = self.rng.choice(("person", "person", "thing"))
        if object is None:
            object = self.rng.choice(SORTS[:3])  # noqa: A001
        return Entry(form, ("VERB",), "", subject, object, wanted, f"v{self.n_verbs:02d}.01")


@final
@dataclass(frozen=True)
class Lexicon:
    """Words by what they are for, and the letters that can be cut in two ways: in a clause, in a phrase by sort."""

    words: dict[str, Pool[Entry]]
    clause_cuts: Pool[Cut]
    phrase_cuts: dict[str, Pool[Cut]]

    def entries(self) -> dict[str, Entry]:
        """All words by their form."""
        return {entry.form: entry for pool in self.words.values() for entry in pool.choices}

    def cuts(self) -> list[Cut]:
        """All of them."""
        return [*self.clause_cuts.choices, *(cut for pool in self.phrase_cuts.values() for cut in pool.choices)]


def _lexicon() -> Lexicon:
    """The words, drawn once and always the same."""
    rng = random.Random(SEED)
    spell = Speller(rng)
    words = _small_words(spell)
    either = [entry.form for entry in words["either"]]
    in_clause = [_clause_cut(spell, either) for _ in range(N_CUTS)]
    in_phrase = [_phrase_cut(spell, SORTS[k % 3]) for k in range(N_CUTS)]
    _add_plain(spell, words, either)
    _add_homographs(spell, words, either)
    _add_cut(words, in_clause + in_phrase, rng)
    by_sort = {sort: Pool.of([cut for cut in in_phrase if cut.late[1].sort == sort]) for sort in SORTS[:3]}
    return Lexicon({key: Pool.of(entries) for key, entries in words.items()}, Pool.of(in_clause), by_sort)


def _small_words(spell: Speller) -> dict[str, list[Entry]]:
    """Of one letter: particles, conjunctions, and prepositions by what their phrases belong to."""
    kinds = {"passive": ("PART", 1), "question": ("PART", 2), "nouns": ("CCONJ", 2), "clauses": ("CCONJ", 2)}
    kinds |= {"agent": ("ADP", 1), "to verb": ("ADP", 3), "to noun": ("ADP", 2), "either": ("ADP", 4)}
    words = {kind: [Entry(spell.letter(), (tag,), kind) for _ in range(n)] for kind, (tag, n) in kinds.items()}
    words["to verb"] += words["agent"]
    return words | {"stop": [Entry(mark, ("PUNCT",), "stop") for mark in MARKS]}


def _clause_cut(spell: Speller, either: list[str]) -> Cut:
    """A noun and its verb, or a verb and its object."""
    a, b, c = spell.letter(), spell.letter(), spell.letter()
    late, early = spell.verb(c, either), spell.verb(a, either)
    spell.taken |= {a + b, b + c}
    return Cut((Entry(a + b, ("NOUN",), late.subject), late), (early, Entry(b + c, ("NOUN",), early.object)))


def _phrase_cut(spell: Speller, sort: str) -> Cut:
    """An adjective and its noun, or a preposition and its noun."""
    a, b, c = spell.letter(), spell.letter(), spell.letter()
    spell.taken |= {a + b, b + c}
    late = Entry(a + b, ("ADJ",)), Entry(c, ("NOUN",), sort)
    return Cut(late, (Entry(a, ("ADP",), "to noun"), Entry(b + c, ("NOUN",), spell.rng.choice(SORTS[1:]))))


def _add_plain(spell: Speller, words: dict[str, list[Entry]], either: list[str]) -> None:
    """Words of one tag: nouns by sort, verbs, adjectives, adverbs."""
    for sort in SORTS:
        words[sort] = _some(24 if sort != "time" else 10, lambda: Entry(spell.word(), ("NOUN",), sort))  # noqa: B023
    words["transitive"] = _some(36, lambda: spell.verb(spell.word(), either))
    words["intransitive"] = _some(16, lambda: spell.verb(spell.word(), either, ""))
    words["adjective"] = _some(24, lambda: Entry(spell.word(), ("ADJ",)))
    words["manner"] = _some(12, lambda: Entry(spell.word(), ("ADV",), "manner"))
    words["when"] = _some(8, lambda: Entry(spell.word(), ("ADV",), "time"))


def _add_homographs(spell: Speller, words: dict[str, list[Entry]], either: list[str]) -> None:
    """Words of two tags: noun and verb, by the noun's sort and all together; adjective and adverb."""
    for sort in SORTS[:3]:
        verbs = _some(8, lambda: spell.verb(spell.word(), either))
        words[f"{sort} or verb"] = [replace(verb, tags=("NOUN", "VERB"), sort=sort) for verb in verbs]
    by_rank = zip(*(words[f"{sort} or verb"] for sort in SORTS[:3]), strict=True)  # frequent nouns are frequent verbs
    words["verb or noun"] = [entry for entries in by_rank for entry in entries]
    words["adjective or adverb"] = _some(10, lambda: Entry(spell.word(), ("ADJ", "ADV"), "manner"))


def _add_cut(words: dict[str, list[Entry]], cuts: list[Cut], rng: random.Random) -> None:
    """The words of cuts among all others: they are also used where nothing can be cut in two ways."""
    keys = {"VERB": "transitive", "ADJ": "adjective", "ADP": "to noun"}
    for entry in [entry for cut in cuts for entry in (*cut.late, *cut.early)]:
        among = words[keys.get(entry.tags[0], entry.sort)]
        among.insert(rng.randint(1, len(among)), entry)


def _some(n: int, make: Callable[[], Entry]) -> list[Entry]:
    return [make() for _ in range(n)]


LEXICON = _lexicon()
