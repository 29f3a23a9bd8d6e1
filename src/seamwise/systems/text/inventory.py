"""Inventory: the characters, words and labels that a treebank's training part has, and how text becomes numbers."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from seamwise.shapes import Int, NDArray
from seamwise.systems.text.sentence import Sentence

PADDING, UNKNOWN = 0, 1
END = "\0"  # the partner of the last character
FEWEST = 2  # occurrences of a character, a pair or a word that is known; of rarer ones, what is unknown is learned
FEWEST_OF_ROLE = 5
STAND_INS = dict(zip("。．“”‘’「」—–…", '..""\'\'""--.', strict=True))
KINDS = (
    *("other", "han", "kana", "hangul", "lower", "upper", "letter"),
    *("digit", "mark", "open", "close", "stop", "symbol"),
)
STOPS = frozenset(".!?。！？…؟।")
BY_CATEGORY = {
    **{"Ll": "lower", "Lu": "upper", "Lt": "upper", "L": "letter"},
    **{"Ps": "open", "Pi": "open", "Pe": "close", "Pf": "close", "P": "mark"},
    **{"N": "digit", "M": "mark", "S": "symbol"},
}


@final
@dataclass(frozen=True)
class Inventory:
    """What is known of a language. Ids of characters and pairs count from 2, of labels from 1.

    characters, pairs, words: those that occur twice or more in what is learned from; words in lower case
    tags, relations, roles:   all there are, in the order of the alphabet
    multiwords:               {token in lower case: forms of its words}, the most frequent, where they do not spell it
    spaces:                   whether white space between tokens tells anything (not where it is stripped)
    gaps:                     whether tokens may have white space inside
    """

    characters: tuple[str, ...]
    pairs: tuple[str, ...]
    words: tuple[str, ...]
    tags: tuple[str, ...]
    relations: tuple[str, ...]
    roles: tuple[str, ...] = ()
    multiwords: tuple[tuple[str, tuple[str, ...]], ...] = ()
    spaces: bool = True
    gaps: bool = False

    @cached_property
    def _characters(self) -> dict[str, int]:
        return {character: 2 + k for k, character in enumerate(self.characters)}

    @cached_property
    def _pairs(self) -> dict[str, int]:
        return {pair: 2 + k for k, pair in enumerate(self.pairs)}

    @cached_property
    def forms(self) -> dict[str, tuple[str, ...]]:
        """{multiword token in lower case: forms of its words}."""
        return dict(self.multiwords)

    def known(self, text: str) -> list[str]:
        """Each character as it is looked up: itself, or what stands for it where it is not known."""
        return [c if c in self._characters else stand_in(c, self._characters) for c in text]

    def ids(self, text: str) -> list[int]:
        """Ids of characters."""
        return [self._characters.get(c, UNKNOWN) for c in self.known(text)]

    def encoded(self, text: str, spaces: Sequence[bool]) -> Int[NDArray, "n 3"]:
        """(character, pair with the next, kind with white space before it) of a text without white space."""
        known = self.known(text)
        pairs = [self._pairs.get(a + b, UNKNOWN) for a, b in zip(known, [*known[1:], END], strict=True)]
        ids = [self._characters.get(c, UNKNOWN) for c in known]
        kinds = [1 + 2 * kind(c) + (self.spaces and space) for c, space in zip(text, spaces, strict=True)]
        return np.array([ids, pairs, kinds], dtype=np.int32).T.reshape(-1, 3)

    @property
    def lowered(self) -> list[int]:
        """Of each character id, the id of the character in lower case, where that is known."""
        return [0, 1, *(self._characters.get(c.lower(), 2 + k) for k, c in enumerate(self.characters))]

    @property
    def n_characters(self) -> int:
        return 2 + len(self.characters)

    @property
    def n_pairs(self) -> int:
        return 2 + len(self.pairs)

    def record(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "Inventory":
        """What `record` gave. Raises TypeError, KeyError or ValueError where it is none."""
        named = {name: tuple(record[name]) for name in ("characters", "pairs", "words", "tags", "relations", "roles")}
        multiwords = tuple((token, tuple(forms)) for token, forms in record["multiwords"])
        return cls(**named, multiwords=multiwords, spaces=bool(record["spaces"]), gaps=bool(record["gaps"]))


N_KINDS = 1 + 2 * len(KINDS)


def inventory_of(learned: Sequence[Sentence], labelled: Iterable[Sentence] = (), *, spaces: bool = True) -> Inventory:
    """The inventory of the sentences that are learned from; labels also of those that are only scored."""
    scored = [*learned, *labelled]
    characters = Counter(c for s in learned for c in s.characters)
    known = sorted(c for c, n in characters.items() if n >= FEWEST)
    look = dict.fromkeys(known, 0)
    pairs: Counter[str] = Counter()
    for s in learned:
        text = [c if c in look else stand_in(c, look) for c in s.characters]
        pairs.update(a + b for a, b in zip(text, [*text[1:], END], strict=True))
    words = Counter(w for s in learned for w in surface_words(s))
    roles = Counter(role for s in scored for w in s.words for _, role in w.arguments)
    return Inventory(
        characters=tuple(known),
        pairs=tuple(sorted(p for p, n in pairs.items() if n >= FEWEST)),
        words=tuple(sorted(w for w, n in words.items() if n >= FEWEST)),
        tags=tuple(sorted({w.tag for s in scored for w in s.words} - {"_"})),
        relations=tuple(sorted({w.relation for s in scored for w in s.words} - {"_"})),
        roles=tuple(sorted(r for r, n in roles.items() if n >= FEWEST_OF_ROLE)),
        multiwords=_multiwords(learned),
        spaces=spaces,
        gaps=any(len(token.form.split()) > 1 for s in learned for token in s.tokens),
    )


def surface_words(sentence: Sentence) -> list[str]:
    """The characters that each word has in the text, in lower case."""
    text, at = sentence.characters, list(sentence.anchors)
    ends = [min(end, following[0]) for (_, end), following in zip(at, [*at[1:], (len(text), 0)], strict=True)]
    return [text[start:end].lower() for (start, _), end in zip(at, ends, strict=True)]


def _multiwords(sentences: Sequence[Sentence]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: dict[str, Counter[tuple[str, ...]]] = {}
    for s in sentences:
        at = 0
        for token in s.tokens:
            forms = tuple(word.form for word in s.words[at : at + token.n_words])
            if len(forms) > 1 and "".join(forms) != token.form:
                found.setdefault(token.form.lower(), Counter())[tuple(f.lower() for f in forms)] += 1
            at += token.n_words
    return tuple(sorted((token, counts.most_common(1)[0][0]) for token, counts in found.items()))


def stand_in(character: str, known: dict[str, int]) -> str:
    """A known character that stands for an unknown one: half-width for full-width, a plain stop or quotation mark."""
    for other in (STAND_INS.get(character, ""), unicodedata.normalize("NFKC", character), character.lower()):
        if len(other) == 1 and other in known:
            return other
    folded = unicodedata.normalize("NFKC", character)
    return next((full for full, half in STAND_INS.items() if half == folded and full in known), character)


def kind(character: str) -> int:
    """Which of KINDS a character is."""
    return KINDS.index(_kind(character))


def _kind(c: str) -> str:
    point, category = ord(c), unicodedata.category(c)
    if 0x4E00 <= point <= 0x9FFF or 0x3400 <= point <= 0x4DBF or 0x20000 <= point <= 0x3FFFF:
        return "han"
    if 0x3040 <= point <= 0x30FF:
        return "kana"
    if 0xAC00 <= point <= 0xD7AF:
        return "hangul"
    if c in STOPS:
        return "stop"
    return BY_CATEGORY.get(category) or BY_CATEGORY.get(category[0], "other")
