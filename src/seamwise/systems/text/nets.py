"""The parts that the stages are made of: an encoder of characters, a lexicon of words, arcs; and batches by length.

All read characters [batch, length, 3] (see Inventory.encoded, 0 = padding) and write at characters; words exist inside
of a network alone. In training a batch is cut to its longest sentence, so that what is written is no wider than that.

Sources: characters and pairs into BiLSTMs, and words as the ends of their spans, as is usual; biaffine arcs and
relations by Dozat & Manning 2017 (arXiv 1611.01734). Differs: the relation is the mixture over heads of P(relation |
head), so that it needs no gold head in training, and passes gradient to the heads.
"""

from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seamwise.shapes import Bool, Float, Int, Tensor
from seamwise.systems.text.inventory import N_KINDS, PADDING, UNKNOWN, Inventory
from seamwise.systems.text.words import BASE, PRIME, Words, powers_of, word_keys, words_of

LONGEST = 8192  # characters of a sentence whose words are looked up
DROPPED = 0.05  # of the characters, made unknown in training
WORD_DROPPED = 0.2  # of the known words
AT_ONCE = 32  # sentences that are written at once where nothing is learned
MINUS = -1e4
MOST_PAIRS = 100_000  # of a dependent and a head whose relations are told at once where nothing is learned


@final
class Dropout(nn.Module):
    """Dropout of the same features at every place of a sentence. Source: Gal & Ghahramani 2016 (arXiv 1512.05287)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, states: Float[Tensor, "batch n size"]) -> Float[Tensor, "batch n size"]:
        if not self.training or not self.share:
            return states
        kept = torch.full_like(states[:, :1], 1 - self.share).bernoulli() / (1 - self.share)
        return states * kept


@final
class BiLSTM(nn.Module):
    """A BiLSTM over sentences of unequal lengths. out: twice `size`."""

    def __init__(self, read: int, size: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [read, *[2 * size] * (layers - 1)]
        self.layers = nn.ModuleList(nn.LSTM(s, size, batch_first=True, bidirectional=True) for s in sizes)
        self.dropout = Dropout(dropout)

    def forward(
        self, states: Float[Tensor, "batch n read"], real: Bool[Tensor, "batch n"]
    ) -> Float[Tensor, "batch n out"]:
        lengths = real.sum(1).clamp_min(1).cpu()
        for layer in self.layers:
            packed = pack_padded_sequence(self.dropout(states), lengths, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=states.shape[1])
        dropped: Tensor = self.dropout(states)
        return dropped


def vectors(n: int, size: int) -> nn.Embedding:
    """Small vectors: what is rare moves little in training, and should then say little."""
    made = nn.Embedding(n, size)
    nn.init.normal_(made.weight, std=0.1)
    return made


@final
class Encoder(nn.Module):
    """Characters in their sentence: what each is, with the next, and of which kind; then a BiLSTM."""

    def __init__(
        self, inventory: Inventory, size: int, *, layers: int = 1, embedded: int = 64, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.character = vectors(inventory.n_characters, embedded)
        self.pair = vectors(inventory.n_pairs, embedded)
        self.kind = vectors(N_KINDS, 16)
        self.lstm = BiLSTM(2 * embedded + 16, size, layers, dropout)

    def forward(self, characters: Int[Tensor, "batch n 3"]) -> Float[Tensor, "batch n out"]:
        character, pair, kind = characters.long().unbind(-1)
        real = character != PADDING
        if self.training:
            character, pair = (_made_unknown(ids, real, DROPPED) for ids in (character, pair))
        embedded = torch.cat([self.character(character), self.pair(pair), self.kind(kind)], dim=-1)
        states: Tensor = self.lstm(embedded, real)
        return states


def _made_unknown(ids: Int[Tensor, "batch n"], real: Bool[Tensor, "batch n"], share: float) -> Int[Tensor, "batch n"]:
    return torch.where(real & (torch.rand(ids.shape, device=ids.device) < share), UNKNOWN, ids)


@final
class Lexicon(nn.Module):
    """Vectors of the words that an inventory knows, found by a polynomial of their characters modulo a prime.

    Two different words have one number with a probability of about one in two thousand million.
    """

    lowered: Tensor
    powers: Tensor
    inverse: Tensor
    keys: Tensor

    def __init__(self, inventory: Inventory, size: int) -> None:
        super().__init__()
        self.register_buffer("lowered", torch.tensor(inventory.lowered), persistent=False)
        self.register_buffer("powers", powers_of(BASE, LONGEST), persistent=False)
        self.register_buffer("inverse", powers_of(pow(BASE, -1, PRIME), LONGEST), persistent=False)
        spelt = [[self.lowered.tolist()[i] for i in inventory.ids(word)] for word in inventory.words]
        keys = sorted({sum(i * pow(BASE, k, PRIME) for k, i in enumerate(ids)) % PRIME for ids in spelt})
        self.register_buffer("keys", torch.tensor([-1, *keys]), persistent=False)
        self.vectors = vectors(len(self.keys), size)

    def forward(self, characters: Int[Tensor, "batch n 3"], words: Words) -> Float[Tensor, "batch words size"]:
        """The vectors of words; of one that is not known, vector 0."""
        key = word_keys(self.lowered[characters[..., 0].long()], words, self.powers, self.inverse)
        at = torch.searchsorted(self.keys, key).clamp_max(len(self.keys) - 1)
        known = self.keys[at] == key
        if self.training:
            known = known & (torch.rand(key.shape, device=key.device) >= WORD_DROPPED)
        found: Tensor = self.vectors(torch.where(known, at, 0))
        return found


Write = Callable[..., tuple[Tensor, ...]]
"""(characters [few, n, 3], fields [few, n, ...]) -> fields [few, n, ...]"""

Axes = tuple[int, ...]
"""Which axes of a field count characters (beside others)."""


def written_by_length(
    write: Write,
    axes: Sequence[Axes],
    characters: Int[Tensor, "batch length 3"],
    *fields: Tensor,
) -> tuple[Tensor, ...]:
    """Call `write` on sentences cut to the longest of them; where nothing is learned, few of equal length at once.

    axes: of each of the fields that `write` returns
    """
    lengths = (characters[..., 0] != PADDING).sum(1)
    if torch.is_grad_enabled():
        n = max(1, int(lengths.max()))
        return write(characters[:, :n], *(field[:, :n] for field in fields))
    order = lengths.argsort(stable=True)
    parts = [_widened(write, axes, characters[rows], [f[rows] for f in fields]) for rows in torch.split(order, AT_ONCE)]
    return tuple(torch.cat(field)[order.argsort()] for field in zip(*parts, strict=True))


def _widened(
    write: Write,
    axes: Sequence[Axes],
    characters: Int[Tensor, "few length 3"],
    fields: Sequence[Tensor],
) -> list[Tensor]:
    """What is written of a few sentences, filled up with zeros to the length of all."""
    n = max(1, int((characters[..., 0] != PADDING).sum(1).max()))
    more = characters.shape[1] - n
    written = write(characters[:, :n], *(field[:, :n] for field in fields))
    whole = []
    for field, own in zip(written, axes, strict=True):
        widths = [more if axis in own else 0 for axis in range(field.ndim)]
        whole.append(pad(field, [w for width in reversed(widths) for w in (0, width)]))
    return whole


@final
class Perceptron(nn.Sequential):
    """One hidden layer with dropout behind it; `out` of 0 leaves the last layer out."""

    def __init__(self, read: int, size: int, out: int, dropout: float) -> None:
        last = [nn.Linear(size, out)] if out else []
        super().__init__(nn.Linear(read, size), nn.LeakyReLU(0.1), Dropout(dropout), *last)


@final
class Biaffine(nn.Module):
    """Scores of pairs, one a class. out: [batch, m, k, classes]. Source: Dozat & Manning 2017 (arXiv 1611.01734)."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, size + 1, size + 1))
        nn.init.normal_(self.weight, std=1 / size if classes > 1 else 0.02)

    def forward(
        self, left: Float[Tensor, "batch m size"], right: Float[Tensor, "batch k size"]
    ) -> Float[Tensor, "batch m k classes"]:
        left, right = pad(left, [0, 1], value=1.0), pad(right, [0, 1], value=1.0)
        batch, m, size = left.shape
        by_class = (left.reshape(-1, size) @ self.weight.permute(1, 0, 2).reshape(size, -1)).view(batch, -1, size)
        return (by_class @ right.transpose(1, 2)).view(batch, m, -1, right.shape[1]).transpose(2, 3)


@final
class Arcs(nn.Module):
    """Heads and relations of places (words, or characters): distributions over [root, places], and over relations."""

    def __init__(self, read: int, n_relations: int, dropout: float) -> None:
        super().__init__()
        arc, label = min(128, read // 2), min(64, read // 4)
        self.root = nn.Parameter(torch.zeros(read))
        self.dependent, self.head = (Perceptron(read, arc, 0, dropout) for _ in range(2))
        self.related, self.relating = (Perceptron(read, label, 0, dropout) for _ in range(2))
        self.arc, self.label = Biaffine(arc, 1), Biaffine(label, n_relations)

    def forward(
        self, states: Float[Tensor, "batch m size"], real: Bool[Tensor, "batch m"]
    ) -> tuple[Float[Tensor, "batch m heads"], Float[Tensor, "batch m relations"]]:
        """(heads, relations): the relation is the mixture over heads of P(relation | head)."""
        with_root = torch.cat([self.root.expand(len(states), 1, -1), states], dim=1)
        scores = self.arc(self.dependent(states), self.head(with_root))[..., 0]
        m = states.shape[1]
        none = pad(~real[:, None, :] | torch.eye(m, dtype=torch.bool, device=states.device), [1, 0])
        heads = torch.softmax(scores.masked_fill(none, MINUS), dim=-1)
        related, relating = self.related(states), self.relating(with_root)
        few = m if torch.is_grad_enabled() else max(1, MOST_PAIRS // (len(states) * (m + 1)))
        parts = zip(torch.split(heads, few, dim=1), torch.split(related, few, dim=1), strict=True)
        return heads, torch.cat([self._relations(spread, some, relating) for spread, some in parts], dim=1)

    def _relations(
        self,
        heads: Float[Tensor, "batch few heads"],
        related: Float[Tensor, "batch few label"],
        relating: Float[Tensor, "batch heads label"],
    ) -> Float[Tensor, "batch few relations"]:
        given_head = torch.softmax(self.label(related, relating), dim=-1)
        return torch.einsum("bmh,bmhr->bmr", heads, given_head)


class Reader(nn.Module):
    """What every stage behind the first does: encode characters, unless it is given states; find words; read them."""

    def __init__(
        self, inventory: Inventory, size: int, *, shared: bool, soft_words: bool, dropout: float, lexicon: int
    ) -> None:
        super().__init__()
        self.encoder = None if shared else Encoder(inventory, size, dropout=dropout)
        self.lexicon = Lexicon(inventory, lexicon)
        self.dropout = Dropout(dropout)
        self.soft = soft_words
        self.read = 2 * size + lexicon

    def words(
        self, characters: Int[Tensor, "batch n 3"], states: Sequence[Tensor], field: Float[Tensor, "batch n classes"]
    ) -> tuple[Words, Float[Tensor, "batch words read"]]:
        """The words that a field says, and each as the states at its two ends and its own vector."""
        if self.encoder is not None:
            states = [self.encoder(characters)]
        found = words_of(field, characters[..., 0] != PADDING, soft=self.soft)
        own = self.dropout(self.lexicon(characters, found))
        return found, torch.cat([found.at_words(states[0], soft=self.soft), own], dim=-1)


def decided(spread: Float[Tensor, "batch words classes"]) -> Float[Tensor, "batch words classes"]:
    """All on the most probable class; no gradient."""
    return torch.zeros_like(spread).scatter_(-1, spread.argmax(-1, keepdim=True), 1.0)
