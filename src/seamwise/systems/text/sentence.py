"""Sentence: words with tags, heads and roles, and the tokens and white space of the text that they were written as.

A *token* is what stands in the text between two possible spaces; a *word* is what has a tag and a head. Mostly they are
the same; a multiword token ("don't", French "du") holds several words. Positions of words count from 1, 0 is the root.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

ROOT = 0


@final
@dataclass(frozen=True)
class Word:
    """One syntactic word. Columns that are not known are "_", as in CoNLL-U.

    head:      position of the word that it depends on, 0 for the root; -1 where it is not known
    predicate: sense of the predicate ("give.01"), or "_" for a predicate of unknown sense; "" where it is none
    arguments: of a predicate, (position of the argument's head word, role) in the order of the file
    """

    form: str
    tag: str = "_"
    head: int = -1
    relation: str = "_"
    lemma: str = "_"
    xpos: str = "_"
    features: str = "_"
    enhanced: str = "_"
    misc: str = "_"
    predicate: str = ""
    arguments: tuple[tuple[int, str], ...] = ()


@final
@dataclass(frozen=True)
class Token:
    """What the text has in one place: its form there, how many words it holds, the white space behind (and before) it.

    before: white space before the first token of a text; empty for all others
    """

    form: str
    n_words: int = 1
    after: str = " "
    before: str = ""


@final
@dataclass(frozen=True)
class Sentence:
    """Words in order, and the tokens that hold them, in order.

    name:     `sent_id` of the file; empty where it has none
    document: which document it is of: no two documents have the same
    line:     of the file, where its first comment or word stands; 0 where it is of no file
    opens:    whether a document or a paragraph begins with it
    """

    words: tuple[Word, ...]
    tokens: tuple[Token, ...]
    name: str = ""
    document: str = ""
    line: int = 0
    opens: bool = False

    @property
    def characters(self) -> str:
        """The text without white space, also that inside of tokens."""
        return "".join("".join(token.form.split()) for token in self.tokens)

    @property
    def text(self) -> str:
        """The text as it stands, without what is behind the last token."""
        return "".join(t.before + t.form + t.after for t in self.tokens)[: -len(self.tokens[-1].after) or None]

    @property
    def anchors(self) -> Iterator[tuple[int, int]]:
        """Of each word, in order: where in `characters` it begins, and the end of its token.

        The words of a multiword token begin at its first characters if their forms do not spell it, else where they do.
        """
        at = n = 0
        for token in self.tokens:
            forms = ["".join(word.form.split()) for word in self.words[n : n + token.n_words]]
            form = "".join(token.form.split())
            end = at + len(form)
            for k, start in enumerate(starts(form, forms)):
                yield min(at + start, end - 1) if k else at, end
            at, n = end, n + token.n_words


def starts(token: str, forms: list[str]) -> list[int]:
    """Where in a token its words begin: where their forms spell it, else one behind the other."""
    if "".join(forms) == token:
        return [sum(map(len, forms[:k])) for k in range(len(forms))]
    return list(range(len(forms)))
