"""Where sentences begin in running text: a small network over windows of characters."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import final

import numpy as np
import torch
from torch import nn

from seamwise import Chain, Fit, Learned, Supply, Target, Task
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.systems.text.data import ABSENT, padded, spaces_of
from seamwise.systems.text.inventory import PADDING, Inventory
from seamwise.systems.text.nets import Encoder, Perceptron, written_by_length
from seamwise.systems.text.sentence import Sentence
from seamwise.systems.text.targets import Classes, class_loss, found_error
from seamwise.tables import SPLITS

WINDOW, MARGIN = 192, 32  # characters that are read at once, and at either end of them only as context
SIZE = 48
LONGEST = 400  # characters of a sentence: a longer one is cut where a boundary is least improbable
FIT = Fit(batch=32, rates=(3e-3,), min_steps=300, max_steps=600, patience=200, average=0.99, alike="characters")


@final
class Split(nn.Module):
    """Characters of running text -> whether a sentence begins at each."""

    def __init__(self, inventory: Inventory) -> None:
        super().__init__()
        self.encoder = Encoder(inventory, SIZE, dropout=0.2, embedded=32)
        self.head = Perceptron(2 * SIZE, SIZE, 2, 0.2)

    def forward(self, characters: Int[Tensor, "batch length 3"]) -> Float[Tensor, "batch n 2"]:
        """[batch, length, 2], probabilities: of what begins a sentence, the second."""
        (breaks,) = written_by_length(self._written, [(1,)], characters)
        return breaks

    def _written(self, characters: Int[Tensor, "batch n 3"]) -> tuple[Tensor]:
        return (torch.softmax(self.head(self.encoder(characters)), dim=-1),)


def splitting(inventory: Inventory, parts: Sequence[Sequence[Sentence]], fit: Fit | None = None) -> Task:
    """The task of splitting train, validation and test sentences, each document as running text."""
    windows = [(window, name) for part, name in zip(parts, SPLITS, strict=True) for window in _windows(inventory, part)]
    table = {
        "characters": padded([encoded for (encoded, _), _ in windows], WINDOW, PADDING),
        "breaks": padded([breaks for (_, breaks), _ in windows], WINDOW, ABSENT),
        "split": np.array([name for _, name in windows]),
    }
    target = Target("breaks", class_loss, found_error, Classes(2), "boundaries wrong, 1 - F1")
    stage = Learned("split", partial(Split, inventory), "characters", target)
    return Task(
        name="sentences", chain=Chain([stage]), answer=target, supply=Supply({"windows": table}), fit=fit or FIT
    )


def _windows(
    inventory: Inventory, sentences: Sequence[Sentence]
) -> Iterator[tuple[Int[NDArray, "_ 3"], Int[NDArray, " _"]]]:
    """Overlapping windows of each run of sentences between two that open a document or paragraph."""
    number = 0
    runs: dict[int, list[Sentence]] = {}
    for sentence in sentences:
        number += sentence.opens
        runs.setdefault(number, []).append(sentence)
    for run in runs.values():
        characters = "".join(s.characters for s in run)
        spaces, breaks = list[bool](), list[int]()
        for k, sentence in enumerate(run):
            own = spaces_of(sentence)
            own[0] = bool(k and run[k - 1].tokens[-1].after)
            spaces += own
            breaks += [1, *[0] * (len(own) - 1)]
        encoded = inventory.encoded(characters, spaces)
        for start in range(0, max(1, len(encoded) - 2 * MARGIN), WINDOW - 2 * MARGIN):
            labels = np.array(breaks[start : start + WINDOW])
            if start:
                labels[:MARGIN] = ABSENT
            yield encoded[start : start + WINDOW], labels


def breaks_of(net: nn.Module, encoded: Sequence[Int[NDArray, "_ 3"]]) -> list[list[int]]:
    """Where sentences begin in each running text: at its first character, and where the network says so.

    A sentence of more than LONGEST characters is cut at the most probable place in its last three quarters.
    """
    windows = [
        (k, start, text[start : start + WINDOW])
        for k, text in enumerate(encoded)
        for start in range(0, max(1, len(text) - 2 * MARGIN), WINDOW - 2 * MARGIN)
    ]
    probable = [np.zeros(len(text)) for text in encoded]
    if windows:
        table = torch.from_numpy(padded([window for _, _, window in windows], WINDOW, PADDING))
        with torch.no_grad():
            written = net(table)[..., 1].numpy()
        for (k, start, window), row in zip(windows, written, strict=True):
            skip = MARGIN if start else 0
            probable[k][start + skip : start + len(window)] = row[skip : len(window)]
    return [_cut(p) for p in probable]


def _cut(probable: Float[NDArray, " n"]) -> list[int]:
    """The places above one half, and more of them where sentences would be too long."""
    places = [0, *(1 + np.flatnonzero(probable[1:] > 0.5)).tolist()]
    cut = list[int]()
    for place, following in zip(places, [*places[1:], len(probable)], strict=True):
        cut.append(place)
        while following - cut[-1] > LONGEST:
            first = cut[-1] + LONGEST // 4
            cut.append(first + int(probable[first : cut[-1] + LONGEST].argmax()))
    return cut
