"""The ladder: what a parser scores from raw text, and with more and more of the gold answer given to it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final, final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from seamwise.systems.text.causes import Compounding, compounding, first_causes
from seamwise.systems.text.raw import raw_text
from seamwise.systems.text.scoring import scores
from seamwise.systems.text.sentence import Sentence
from seamwise.systems.text.stream import Parses, parsed

RAW = "raw"
GIVEN: Final = {  # what is given, and what is predicted then
    "sentences": ("tokens", "words", "upos", "uas", "las", "predicate_f1", "role_f1"),
    "words": ("upos", "uas", "las", "predicate_f1", "role_f1"),
    "tags": ("uas", "las", "predicate_f1", "role_f1"),
    "tree": ("predicate_f1", "role_f1"),
}
NEEDS: Final = {"tags": "upos", "tree": "las"}  # what the treebank must tell, to be given
OF_ROLES = ("predicate_f1", "role_f1")
HEADS: Final = {
    "sentences": "sent.",
    "tokens": "tokens",
    "words": "words",
    "upos": "UPOS",
    "uas": "UAS",
    "las": "LAS",
    "predicate_f1": "pred.",
    "role_f1": "roles",
}
NAMED: Final = {"las": "LAS", "role_f1": "F1 of roles"}
LOST: Final = {"sentences": "sentence splitting", "words": "segmentation", "tags": "tagging", "tree": "parsing"}
CAUSES: Final = {"segment": "segmentation", "tag": "tagging", "parse": "parsing"}

Scores = dict[str, float]
Watch = Callable[[int, int | None], None]


@final
@dataclass(frozen=True)
class Ladder:
    """What a parser scores on a treebank, in percent, and where its wrong dependencies begin.

    rows:        {"raw", then what was given, each with all before it: {metric: percent}}, without what was given
    causes:      {"segment", "tag", "parse": percent of the gold dependencies, which go wrong there first}
    compounding: of the dependencies from raw text; None, as `causes` is empty, where the treebank has no trees
    """

    rows: dict[str, Scores]
    causes: Scores
    compounding: Compounding | None
    n_sentences: int
    n_words: int
    words_per_second: float
    strips_spaces: bool

    def flat(self) -> dict[str, float | None]:
        """All of it under one name each: those from raw text plain, others `gold_words_las` and so on."""
        found: dict[str, float | None] = dict(self.rows[RAW])
        found |= {f"gold_{row}_{k}": v for row, told in self.rows.items() if row != RAW for k, v in told.items()}
        found |= {f"cause_{cause}": share for cause, share in self.causes.items()}
        if self.compounding is not None:
            found |= {"las_if_independent": 100 * self.compounding.expected, "error_ratio": self.compounding.ratio}
        counts = {key: asdict(self)[key] for key in ("n_sentences", "n_words", "words_per_second", "strips_spaces")}
        return found | counts

    def table(self) -> Table:
        """The rows, for a person."""
        n = f"{self.n_sentences:,} sentences, {self.n_words:,} words, {self.words_per_second:,.0f} words a second"
        table = Table(
            title=f"F1 in percent; {n}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, title_justify="left"
        )
        metrics = [metric for metric in HEADS if any(metric in row for row in self.rows.values())]
        for head in ("given", *(HEADS[metric] for metric in metrics)):
            table.add_column(head, justify="left" if head == "given" else "right", no_wrap=True)
        for given, row in self.rows.items():
            name = "raw text" if given == RAW else f"gold {given}"
            table.add_row(name, *(f"{row[metric]:.2f}" if metric in row else "" for metric in metrics))
        return table

    def told(self) -> list[str]:
        """What the rows come to, in words: what each stage costs, where wrong dependencies begin, how they compound."""
        lines = ["from text without white space"] if self.strips_spaces else []
        for metric in ("las", "role_f1"):
            costs = [f"{LOST[given]} {cost:.2f}" for given, cost in _costs(self.rows, metric)]
            lines += [f"{NAMED[metric]} lost to {', '.join(costs)}"] if costs else []
        if self.causes:
            begin = ", ".join(f"{CAUSES[cause]} {share:.1f} %" for cause, share in self.causes.items())
            lines.append(f"of all dependencies, wrong first by {begin}")
        if self.compounding is not None and self.compounding.ratio is not None:
            right, expected = 100 * self.compounding.las, 100 * self.compounding.expected
            apart = f"{right:.1f} % are right; {expected:.1f} % would be if the stages' errors fell independently"
            lines.append(f"{apart}: {self.compounding.ratio:.2f} times those errors")
        return lines


def climb(parser: Parses, gold: Sequence[Sentence], watch: Watch, *, strip_spaces: bool = False) -> Ladder:
    """Score a parser on a treebank, from raw text and with each stage's gold answer in its place.

    watch: is told how many sentences are done, of how many; each counts once a row.
    Raises InputError where the treebank has no sentence.
    """
    from seamwise.systems.text.data import stripped  # imports torch

    strips = strip_spaces or parser.strips_spaces
    gold = [stripped(sentence) for sentence in gold] if strips else gold
    start = time.perf_counter()
    predicted = list(parsed(parser, [raw_text(gold)]))
    seconds = time.perf_counter() - start
    rows = {RAW: _scored(parser, gold, predicted, tuple(HEADS))}
    for n, (given, metrics) in enumerate(GIVEN.items(), start=1):
        if not parser.has_tags and given != "sentences":
            continue
        watch(n * len(gold), (1 + len(GIVEN)) * len(gold))
        wanted = tuple(metric for metric in metrics if metric in rows[RAW])
        if wanted and NEEDS.get(given, wanted[0]) in rows[RAW]:
            rows[given] = _scored(parser, gold, parser.annotate(gold, given), wanted)
    has_trees = "las" in rows[RAW]
    return Ladder(
        rows,
        _causes(gold, predicted) if has_trees else {},
        compounding(gold, predicted) if has_trees and parser.has_tags else None,
        n_sentences=len(gold),
        n_words=(n_words := sum(len(sentence.words) for sentence in gold)),
        words_per_second=n_words / seconds,
        strips_spaces=strips,
    )


def _scored(parser: Parses, gold: Sequence[Sentence], predicted: Sequence[Sentence], metrics: Sequence[str]) -> Scores:
    told = scores(gold, predicted)
    unknown = ((() if parser.has_roles else OF_ROLES), (() if parser.has_tags else ("upos",)))
    return {k: told[k] for k in metrics if k in told and not any(k in names for names in unknown)}


def _causes(gold: Sequence[Sentence], predicted: Sequence[Sentence]) -> Scores:
    found = first_causes(gold, predicted)
    return {cause: 100 * found[cause] / found["n"] for cause in CAUSES} if found["n"] else {}


def _costs(rows: dict[str, Scores], metric: str) -> list[tuple[str, float]]:
    """Of each row, by how much giving it raised the figure."""
    having = [(name, row[metric]) for name, row in rows.items() if metric in row]
    return [(name, value - before) for (_, before), (name, value) in pairwise(having)]
