"""A small network that tells the next character, trained in minutes on a text; and the texts that are looked at.

    python -m seamwise.look.text.characters --text FILE [--column review] --minutes 5 --out model.safetensors
    seamwise look seamwise.look.text.characters:network --weights model.safetensors --text FILE

The weights file holds the vocabulary too, in its metadata: nothing else is needed to load it.

Source: Karpathy, Johnson & Li 2015 (arXiv 1506.02078), who looked into such networks. Differs: one layer of 512 by
default, and the time that may be spent is what is given, not the number of epochs.
"""

import argparse
import codecs
import csv
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final, final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.nn.functional import cross_entropy

from seamwise.errors import InputError, ModelError
from seamwise.files import check_file, readable
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.steps import Steps
from seamwise.trial import write_whole

FORMAT: Final = "seamwise characters 1"
MOST_CHARACTERS = 2048  # of a vocabulary, the unknown one among them
SIZE, UNITS = 64, 512  # of a character's embedding, of a layer
BATCH, WINDOW = 8, 64  # streams trained side by side, characters between two steps
RATE = 4e-3
HELD_OUT = 20  # every so many windows or documents
FEW_KINDS = 20  # of labels that are told of, where they are no two
_UNKNOWN: Final = ("", "-")  # labels
_LABELLED: Final = re.compile(r"(.*)\t\s*([^\t]*?)\s*")


@final
@dataclass(frozen=True)
class Text:
    """Documents, and where there are labels one for each: 1 or 0, or -1 where it is not known. Raises InputError.

    label: what holds where a label is 1; notes: what was not read as labels, and why
    """

    documents: tuple[str, ...]
    labels: tuple[int, ...] | None = None
    label: str = "label"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.documents):
            given = f"{len(self.labels):,} labels of {len(self.documents):,} documents"
            raise InputError("labels do not fit the documents", given=given, expected="one for each")


def read_text(path: Path, column: str = "") -> Text:
    """A text file as one document; a table (.csv) as a document a row, and its column `label` as their labels.

    A file of which half of the lines or more end in a tabulator and 0 or 1, or all of them in a tabulator and one of a
    few words, is one document a line, with that label. Labels are 0 and 1, or two words, of which the later in the
    alphabet counts as 1; where one is missing, or -, it is not known. Documents of white space alone are left out.
    Raises InputError where the file is no UTF-8, the column is not there, or no character is.
    """
    whole = decoded(path)
    if path.suffix.lower() == ".csv":
        text = _table(path, whole, column)
    elif column:
        raise InputError(f"{path}: no table, so no column {column!r}", remedy="give a .csv file, or no column")
    else:
        text = _labelled_lines(whole) or Text((whole,))
    kept = [k for k, document in enumerate(text.documents) if document.strip()]
    if not kept:
        raise InputError(f"{path}: no text in it", given="white space alone", expected="characters")
    labels = text.labels and tuple(text.labels[k] for k in kept)
    return replace(text, documents=tuple(text.documents[k] for k in kept), labels=labels)


def decoded(path: Path) -> str:
    """A file's text, lines divided by line feeds. Raises InputError where it is no UTF-8."""
    check_file(path, "text", "a text file in UTF-8")
    with readable(path):
        content = path.read_bytes()
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as wrong:
        at = wrong.start + (len(content) - len(wrong.object))  # the byte order mark is cut off before
        line = 1 + content[:at].count(b"\n")
        given = f"{content[at : at + 4]!r}, after {at:,} bytes ({wrong.reason})"
        remedy = "save it as UTF-8, for example with iconv -f GB18030 -t UTF-8"
        what = f"{path}, line {line}, byte {at + 1}: no UTF-8"
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            kind = "UTF-32" if content.startswith(codecs.BOM_UTF32_LE) else "UTF-16"
            what, given = f"{path}: {kind}, not UTF-8", f"its byte order mark, {content[:2]!r}"
            remedy = f"save it as UTF-8, for example with iconv -f {kind} -t UTF-8"
        raise InputError(what, given=given, expected="text in UTF-8", remedy=remedy) from None


def _labelled_lines(whole: str) -> Text | None:
    lines = [line for line in whole.split("\n") if line.strip()] if "\t" in whole else []
    found = [_LABELLED.fullmatch(line) for line in lines]
    told = [match[2] if match else "" for match in found]
    kinds = {label for label in told if label not in _UNKNOWN}
    numbered = bool(lines) and 2 * sum(label in ("0", "1") for label in told) >= len(lines)
    if not numbered and not (all(found) and 1 < len(kinds) <= min(FEW_KINDS, len(lines) // 2)):
        return None
    documents = tuple(match[1] if match else line for match, line in zip(found, lines, strict=True))
    return _labelled(documents, told)


def _labelled(documents: tuple[str, ...], told: Sequence[str]) -> Text:
    """Documents with the labels that are told of them; with a note where these are no two kinds."""
    kinds = sorted({label for label in told if label not in _UNKNOWN})
    if kinds and set(kinds) <= {"0", "1"}:
        return Text(documents, tuple(int(label) if label in kinds else -1 for label in told))
    if len(kinds) != 2:
        return Text(documents, notes=(_no_labels(kinds),))
    return Text(documents, tuple(kinds.index(label) if label in kinds else -1 for label in told), f"label {kinds[1]}")


def _no_labels(kinds: Sequence[str]) -> str:
    few = ", ".join(kind[:20] for kind in kinds[:FEW_KINDS]) + (" ..." if len(kinds) > FEW_KINDS else "")
    told = f"{len(kinds)} kinds: {few}" if kinds else "none is known"
    return f"labels of documents are looked at where they are of two kinds, such as 0 and 1; here {told}"


def _table(path: Path, whole: str, column: str) -> Text:
    csv.field_size_limit(1 << 30)
    try:
        rows = list(csv.reader(io.StringIO(whole, newline=""), strict=True))
    except csv.Error as error:
        raise InputError(f"{path}: no table", given=str(error), expected="columns divided by commas") from None
    names = rows[0] if rows else []
    wanted = column or next((name for name in ("review", "text") if name in names), "")
    if wanted not in names:
        given = f"column {column!r}" if column else "no column named"
        raise InputError(f"{path}: which column is the text?", given=given, expected=f"one of {', '.join(names)}")
    at, mark = names.index(wanted), names.index("label") if "label" in names else None
    filled = [row for row in rows[1:] if row]
    broken = next((row for row in filled if len(row) != len(names)), None)
    if broken is not None:
        given, expected = f"{len(broken)} columns in {','.join(broken)[:60]!r}", f"{len(names)} as in its first line"
        raise InputError(f"{path}: a line that does not fit", given=given, expected=expected)
    documents = tuple(row[at] for row in filled)
    return Text(documents) if mark is None else _labelled(documents, [row[mark].strip() for row in filled])


@final
class CharacterNet(nn.Module):
    """Embedding, LSTM layers, and what the next character is: logits at each character.

    vocabulary: the characters that it knows, as one string; number 0 stands for all others.
    """

    def __init__(self, vocabulary: str, units: int = UNITS, layers: int = 1) -> None:
        super().__init__()
        self.vocabulary, self.units, self.layers = vocabulary, units, layers
        self.embedding = nn.Embedding(len(vocabulary) + 1, SIZE)
        self.lstm = nn.LSTM(SIZE, units, layers, batch_first=True)
        self.head = nn.Linear(units, len(vocabulary) + 1)
        for layer in range(layers):
            forget = getattr(self.lstm, f"bias_ih_l{layer}")[units : 2 * units]
            nn.init.ones_(forget.data)  # what is known is kept at first
        self._numbers = {character: k for k, character in enumerate(vocabulary, start=1)}

    def encode(self, text: str) -> Int[NDArray, " tokens"]:
        """The number of each character."""
        return np.fromiter((self._numbers.get(character, 0) for character in text), np.int64, len(text))

    def forward(self, characters: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens vocabulary"]:
        logits: Tensor = self.head(self.lstm(self.embedding(characters))[0])
        return logits

    def save(self, path: Path) -> None:
        """Write weights and vocabulary, whole or not at all. Raises StorageError."""
        sizes = {"units": str(self.units), "layers": str(self.layers)}
        about = {"format": FORMAT, "vocabulary": json.dumps(self.vocabulary), **sizes}
        write_whole(path, save({k: v.contiguous() for k, v in self.state_dict().items()}, about))


def load(path: str | Path) -> CharacterNet:
    """A network that was trained by this module. Raises ModelError where the file is another."""
    path = Path(path)
    check_file(path, "weights", "a .safetensors file")
    remedy = "give a file that python -m seamwise.look.text.characters wrote"
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path}: no weights", given=str(error), remedy=remedy) from None
    if about.get("format") != FORMAT:
        raise ModelError(f"{path}: not weights of characters", given=about.get("format", "no format"), remedy=remedy)
    try:
        vocabulary, units, layers = json.loads(about["vocabulary"]), int(about["units"]), int(about["layers"])
        if weights["head.weight"].shape != (len(vocabulary) + 1, units) or f"lstm.bias_hh_l{layers - 1}" not in weights:
            raise ValueError(f"{units} units in {layers} layers, {len(vocabulary)} characters")
        net = CharacterNet(vocabulary, units, layers)
        net.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        given = f"{type(error).__name__}: {error}"
        raise ModelError(f"{path}: weights are missing or misshapen", given=given, remedy=remedy) from None
    return net.eval()


def network(weights: str | Path) -> CharacterNet:
    """What `seamwise look seamwise.look.text.characters:network --weights FILE` looks into; sizes are the file's."""
    return load(weights)


def vocabulary_of(text: Text) -> str:
    """The characters that occur at least twice, most frequent first, at most 2,047."""
    counts = Counter[str]()
    for document in text.documents:
        counts.update(document)
    return "".join(c for c, n in counts.most_common(MOST_CHARACTERS - 1) if n > 1)


def divided(text: Text) -> tuple[str, str]:
    """What is trained on and what is held out: each twentieth document, or the last twentieth of a single one."""
    if len(text.documents) < HELD_OUT:
        joined = "\n".join(text.documents)
        cut = len(joined) - len(joined) // HELD_OUT
        return joined[:cut], joined[cut:]
    held = "\n".join(text.documents[HELD_OUT - 1 :: HELD_OUT])
    return "\n".join(d for k, d in enumerate(text.documents, start=1) if k % HELD_OUT), held


def bits_per_character(net: CharacterNet, text: str, streams: int = 16) -> float:
    """Mean bits that the network needs for the next character; all that it does not know count as one.

    The text is read as 16 pieces side by side, each from its own beginning.
    """
    read = _streams(net.encode(text), streams)
    state, nats, n = None, 0.0, 0
    with torch.inference_mode():
        for at in range(0, read.shape[1] - 1, WINDOW):
            window = read[:, at : at + WINDOW + 1]
            hidden, state = net.lstm(net.embedding(window[:, :-1]), state)
            nats += float(cross_entropy(net.head(hidden).flatten(0, 1), window[:, 1:].flatten(), reduction="sum"))
            n += window[:, 1:].numel()
    return nats / max(n, 1) / float(np.log(2))


def train(text: Text, minutes: float, units: int = UNITS, layers: int = 1, seed: int = 0) -> CharacterNet:
    """A network trained by next-character prediction for so many minutes of one core; the rate falls to zero by then.

    How many steps are taken depends on the machine, so that the same seed does not give the same weights again.
    """
    torch.manual_seed(seed)
    net = CharacterNet(vocabulary_of(text), units, layers)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    start, state = time.process_time(), None
    with Steps("seconds of training") as steps:
        for first, window in _windows(_streams(net.encode(divided(text)[0]), BATCH)):
            share = (time.process_time() - start) / (60 * minutes)
            if share >= 1:
                break
            steps.at(int(share * 60 * minutes), int(60 * minutes))
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, 1.25 * (1 - share))
            state = _step(net, optimizer, window, None if first else state)
    return net.eval()


State = tuple[Tensor, Tensor]


def _step(net: CharacterNet, optimizer: torch.optim.Optimizer, window: Tensor, state: State | None) -> State:
    hidden, (h, c) = net.lstm(net.embedding(window[:, :-1]), state)
    loss = cross_entropy(net.head(hidden).flatten(0, 1), window[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return h.detach(), c.detach()


def _streams(numbers: Int[NDArray, " tokens"], streams: int) -> Int[Tensor, "streams length"]:
    """A text as pieces side by side."""
    streams = max(1, min(streams, len(numbers) // 2))
    length = len(numbers) // streams
    return torch.from_numpy(numbers[: streams * length].reshape(streams, length))


def _windows(read: Int[Tensor, "streams length"]) -> Iterator[tuple[bool, Tensor]]:
    """Windows without end, and whether the text begins again there; another epoch begins elsewhere."""
    for epoch in count():
        offset = epoch * 37 % WINDOW if read.shape[1] > 2 * WINDOW else 0
        for at in range(offset, max(read.shape[1] - 1, 1), WINDOW):
            yield at == offset, read[:, at : at + WINDOW + 1]


def main(arguments: list[str] | None = None, tell: Callable[[str], None] = print) -> None:
    """Train one on a file and write it."""
    asked = argparse.ArgumentParser(prog="python -m seamwise.look.text.characters", description="Train on a text file.")
    asked.add_argument("--text", type=Path, required=True, help="plain text in UTF-8, or a .csv file")
    asked.add_argument("--column", default="", help="of a .csv file, where the text is")
    asked.add_argument("--minutes", type=float, default=5)
    asked.add_argument("--units", type=int, default=UNITS)
    asked.add_argument("--layers", type=int, default=1)
    asked.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    options = asked.parse_args(arguments)
    torch.set_num_threads(1)
    text = read_text(options.text, options.column)
    net = train(text, options.minutes, options.units, options.layers)
    net.save(options.out)
    bits = bits_per_character(net, divided(text)[1])
    tell(f"{options.out}: {bits:.3f} bits a character on text held out; {len(net.vocabulary):,} characters known")


if __name__ == "__main__":
    main()
