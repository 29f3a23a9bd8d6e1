"""Parser: raw text to sentences, words, tags, trees and roles, by a trained chain; and its folder."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from seamwise.chain import ChainNet
from seamwise.errors import ChainError, ModelError
from seamwise.model import write_model_folder
from seamwise.shapes import NDArray, Tensor
from seamwise.stage import load_weights
from seamwise.systems.text import decoding
from seamwise.systems.text.data import ABSENT, fits, labels_of, padded
from seamwise.systems.text.inventory import PADDING, Inventory
from seamwise.systems.text.raw import run_of
from seamwise.systems.text.sentence import Sentence
from seamwise.systems.text.splitting import Split, breaks_of
from seamwise.systems.text.task import chain_named
from seamwise.trial import write_json
from seamwise.version import VERSION

FORMAT = 1
TEXTS_AT_ONCE, CHARACTERS_AT_ONCE = 64, 20_000
SENTENCES_AT_ONCE = 32
LONGEST = 1000  # characters that are analysed as one: what is told of pairs grows with the square
GIVEN = {"sentences": (), "words": ("words",), "tags": ("words", "tags"), "tree": ("words", "tags", "tree")}


@final
@dataclass(frozen=True)
class Parser:
    """A trained chain and the splitter of sentences before it.

    regime, variant, size: how the chain was trained, see task.chain_named; about: what else its folder tells
    """

    inventory: Inventory
    net: ChainNet = field(repr=False)
    splitter: nn.Module = field(repr=False)
    variant: str
    size: int
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_roles(self) -> bool:
        """Whether it labels predicates and their arguments."""
        return bool(self.inventory.roles) and "roles" in self.net.nets

    @property
    def has_tags(self) -> bool:
        """Whether it tags words, and so can be given words and tags; a direct network cannot."""
        return "tag" in self.net.nets

    @property
    def strips_spaces(self) -> bool:
        """Whether it was trained without white space."""
        return not self.inventory.spaces

    def parse(self, texts: Iterable[str]) -> Iterator[list[Sentence]]:
        """The sentences of each text, in order; none of one that is white space alone. Any string will do.

        Tokens hold the white space around them, so that the text can be rebuilt, but for what is before the first
        token of a text without any.
        """
        waiting = iter(texts)
        while some := list(islice(waiting, TEXTS_AT_ONCE)):
            cut = [self._split(text) for text in some]
            done = iter(self._analysed([piece for pieces in cut for piece in pieces]))
            yield from ([next(done) for _ in pieces] for pieces in cut)

    def annotate(self, sentences: Sequence[Sentence], given: str) -> list[Sentence]:
        """The same sentences with all predicted that is behind what is given.

        given: "sentences" (their characters and white space), "words", "tags" or "tree" (each with all before it).
        Of a sentence of more than 1,000 characters nothing but those is taken, and it is analysed in parts.
        """
        pieces = [decoding.piece_of(sentence) for sentence in sentences]
        golds = [self._gold(sentence, GIVEN[given]) for sentence in sentences]
        cut = [list(piece.cut(range(0, len(piece.characters), LONGEST))) for piece in pieces]
        known = [gold for gold, parts in zip(golds, cut, strict=True) for _ in parts]
        done = iter(self._analysed([part for parts in cut for part in parts], known))
        found = [decoding.joined([next(done) for _ in parts]) for parts in cut]
        return [
            replace(f, name=s.name, document=s.document, line=s.line) for f, s in zip(found, sentences, strict=True)
        ]

    def _gold(self, sentence: Sentence, fields: Sequence[str]) -> "_Gold | None":
        if not fields or not fits(sentence, LONGEST, labelled="tags" in fields):
            return None
        labels = labels_of(self.inventory, sentence)
        return _Gold(sentence, {name: labels[name] for name in fields if name in self.net.chain.targets})

    def _split(self, text: str) -> list[decoding.Piece]:
        """A text's sentences: cut at empty lines, and where the splitter says."""
        paragraphs = decoding.paragraphs_of(run_of(text))
        numbers = [self.inventory.encoded(p.characters, p.spaces) for p in paragraphs]
        cuts = breaks_of(self.splitter, numbers)
        return [piece for p, places in zip(paragraphs, cuts, strict=True) for piece in p.cut(places)]

    def _analysed(
        self, pieces: Sequence[decoding.Piece], golds: Sequence["_Gold | None"] | None = None
    ) -> list[Sentence]:
        """Pieces of about one length at once; those with gold apart from those without."""
        known = golds or [None] * len(pieces)
        order = sorted(range(len(pieces)), key=lambda k: (known[k] is None, len(pieces[k].characters)))
        found: dict[int, Sentence] = {}
        for rows in _batches(order, pieces, known):
            written = self._written([pieces[k] for k in rows], [known[k] for k in rows])
            for row, k in enumerate(rows):
                own = {name: value[row] for name, value in written.items()}
                gold = known[k]
                given = (None, ()) if gold is None else (gold.sentence, tuple(gold.labels))
                found[k] = decoding.decoded(self.inventory, pieces[k], own, *given)
        return [found[k] for k in range(len(pieces))]

    def _written(self, pieces: Sequence[decoding.Piece], golds: Sequence["_Gold | None"]) -> dict[str, NDArray]:
        """What the chain writes for pieces. Where a word surely begins is put in the place of what networks say."""
        width = max(len(piece.characters) for piece in pieces)
        rows = [self.inventory.encoded(piece.characters, piece.spaces) for piece in pieces]
        given = {"characters": torch.from_numpy(padded(rows, width, PADDING))}
        having = [gold for gold in golds if gold is not None]
        for name in having[0].labels if having else ():
            labels = torch.from_numpy(padded([gold.labels[name] for gold in having], width, ABSENT))
            given[name] = self.net.chain.targets[name][1].gold(labels)
        with torch.no_grad():
            if not having:
                given = self._begun(given, [decoding.surely_begin(self.inventory, piece) for piece in pieces])
            written = self.net.eval()(given)
        return {name: written[name].numpy() for name in decoding.FIELDS if name in written}

    def _begun(self, given: dict[str, Tensor], begin: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """What the chain writes up to the words, of which those at some characters surely begin a token there."""
        first = [stage.name for stage in self.net.chain.stages if stage.name in ("encode", "segment", "direct")]
        written: dict[str, Tensor] = self.net.part(first).eval()(given)
        name = "words" if "words" in written else "tree"
        for row, places in enumerate(begin):
            sure = written[name][row, list(places)]
            sure[:, 0] = 0
            if name == "words":
                sure[:] = torch.tensor([0.0, 1.0, 0.0])
            written[name][row, list(places)] = sure
        return written

    def save(self, folder: str | Path) -> None:
        """Write the folder, whole or not at all; a model that is there is replaced. Raises StorageError, ModelError."""
        record = {"format": FORMAT, "version": VERSION, "task": "parser", "variant": self.variant, "size": self.size}
        record |= {"about": dict(self.about), "inventory": self.inventory.record()}
        weights = {f"{name}.{k}": v for name, net in self._parts.items() for k, v in net.state_dict().items()}

        def fill(beside: Path) -> None:
            save_file({key: value.contiguous() for key, value in weights.items()}, beside / "weights.safetensors")
            write_json(beside / "model.json", record)

        write_model_folder(folder, fill)

    @property
    def _parts(self) -> dict[str, nn.Module]:
        return {"chain": self.net, "splitter": self.splitter}

    @classmethod
    def load(cls, folder: str | Path) -> "Parser":
        """Read what `save` wrote. Raises ModelError naming the file."""
        folder = Path(folder)
        record = _record_of(folder)
        try:
            inventory = Inventory.of_record(record["inventory"])
            chain = chain_named(record["variant"], inventory, 1, record["size"])
            told = record["variant"], record["size"], record["about"]
            parser = cls(inventory, chain.build(0).eval(), Split(inventory).eval(), *told)
        except (KeyError, TypeError, ValueError, RuntimeError, ChainError) as error:
            given = f"{type(error).__name__}: {error}"
            raise ModelError(f"{folder / 'model.json'}: damaged", given=given, remedy=AGAIN) from None
        path = folder / "weights.safetensors"
        try:
            weights = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: cannot be read", given=str(error), remedy=AGAIN) from None
        for name, net in parser._parts.items():
            own = {k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")}
            load_weights(f"{path}, {name}", net, own)
        return parser


AGAIN = "copy the whole folder again, or train it again"


@final
@dataclass(frozen=True)
class _Gold:
    """What is given of a sentence: the sentence, and the labels of some fields."""

    sentence: Sentence
    labels: dict[str, NDArray]


def _batches(
    order: Sequence[int], pieces: Sequence[decoding.Piece], golds: Sequence[_Gold | None]
) -> Iterator[list[int]]:
    """A few sentences at once, not too many characters together."""
    some: list[int] = []
    for k in order:
        too_many = len(pieces[k].characters) * (1 + len(some)) > CHARACTERS_AT_ONCE or len(some) == SENTENCES_AT_ONCE
        if some and (too_many or (golds[k] is None) != (golds[some[0]] is None)):
            yield some
            some = []
        some.append(k)
    if some:
        yield some


def _record_of(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    expected = "a folder that `seamwise train text --data` wrote"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{folder}: no parser", given=f"model.json: {error.strerror}", expected=expected) from None
    except ValueError as error:
        raise ModelError(f"{path}: damaged", given=str(error), remedy=AGAIN) from None
    if not isinstance(record, dict) or record.get("task") != "parser":
        told = record.get("task") if isinstance(record, dict) else type(record).__name__
        raise ModelError(f"{folder}: no parser", given=f"a model of the task {told!r}", expected=expected)
    if record.get("format") != FORMAT:
        given = f"format {record.get('format')}, written by seamwise {record.get('version')}"
        raise ModelError(f"{path}: of another version", given=given, expected=f"format {FORMAT}", remedy=AGAIN)
    return record
