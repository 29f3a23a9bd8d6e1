"""The learned stages of the chain, and the direct network that would replace it.

A stage that is `shared` reads states that one encoder wrote for all; else it encodes the characters itself. With
`soft_words` it reads words with a straight-through membership, if it is `soft` the expected tag's vector and the
expected head's state; else the most probable words, tags and heads, through which no gradient goes.

Sources: vectors of expected tags and heads are the structured attention of Kim et al. 2017 (arXiv 1702.00887), with the
arcs' own softmax in the place of marginals over trees; SPIGOT (Peng et al. 2018, arXiv 1805.04658) projects gradients
instead. One graph over characters with an arc inside of words is by Yan et al. 2020 (TACL 8). Differs: that arc goes to
the character before, and is class 0 of the relations.
"""

from typing import final

import torch
from torch import nn
from torch.nn.functional import pad

from seamwise.shapes import Float, Int, Tensor
from seamwise.systems.text.inventory import PADDING, Inventory
from seamwise.systems.text.nets import (
    Arcs,
    Biaffine,
    BiLSTM,
    Encoder,
    Perceptron,
    Reader,
    decided,
    written_by_length,
)
from seamwise.systems.text.words import Words

LEXICON, TAG, PAIR = 100, 48, 96  # numbers a word, a tag or relation, and a word of a pair


@final
class Encode(nn.Module):
    """Characters -> states that all stages read. For variants whose stages share them."""

    def __init__(self, inventory: Inventory, size: int, *, dropout: float = 0.25, layers: int = 1) -> None:
        super().__init__()
        self.encoder = Encoder(inventory, size, dropout=dropout, layers=layers)

    def forward(self, characters: Int[Tensor, "batch length 3"]) -> Float[Tensor, "batch n size"]:
        """[batch, length, twice the encoder's size]."""
        (states,) = written_by_length(lambda some: (self.encoder(some),), [(1,)], characters)
        return states


@final
class Segment(nn.Module):
    """Characters -> words: inside, begins a token, begins a further word of a token."""

    def __init__(self, inventory: Inventory, size: int, *, shared: bool = False, dropout: float = 0.25) -> None:
        super().__init__()
        self.encoder = None if shared else Encoder(inventory, size, dropout=dropout)
        self.head = Perceptron(2 * size, size, 3, dropout)

    def forward(self, characters: Int[Tensor, "batch length 3"], *states: Tensor) -> Float[Tensor, "batch n 3"]:
        """[batch, length, 3], probabilities."""
        (words,) = written_by_length(self._written, [(1,)], characters, *states)
        return words

    def _written(self, characters: Int[Tensor, "batch n 3"], *states: Tensor) -> tuple[Tensor]:
        read = states[0] if self.encoder is None else self.encoder(characters)
        return (torch.softmax(self.head(read), dim=-1),)


@final
class Tag(nn.Module):
    """Words -> tags: at each character, inside of a word or which tag."""

    def __init__(
        self, inventory: Inventory, size: int, *, shared: bool = False, soft_words: bool = True, dropout: float = 0.25
    ) -> None:
        super().__init__()
        self.reader = Reader(inventory, size, shared=shared, soft_words=soft_words, dropout=dropout, lexicon=LEXICON)
        self.head = Perceptron(self.reader.read, size, len(inventory.tags), dropout)

    def forward(
        self, characters: Int[Tensor, "batch length 3"], words: Float[Tensor, "batch m 3"], *states: Tensor
    ) -> Float[Tensor, "batch n tags"]:
        """[batch, length, 1 + tags], probabilities."""
        (tags,) = written_by_length(self._written, [(1,)], characters, words, *states)
        return tags

    def _written(self, characters: Int[Tensor, "batch n 3"], words: Tensor, *states: Tensor) -> tuple[Tensor]:
        found, read = self.reader.words(characters, states, words)
        return (found.at_characters(torch.softmax(self.head(read), dim=-1)),)


@final
class TagVectors(nn.Module):
    """The vector of each word's tag: the expected one, or the most probable one's."""

    def __init__(self, n_tags: int, *, soft: bool, size: int = TAG) -> None:
        super().__init__()
        self.vectors = nn.Linear(n_tags, size, bias=False)
        nn.init.normal_(self.vectors.weight)
        self.soft = soft

    def forward(self, tags: Float[Tensor, "batch n classes"], found: Words) -> Float[Tensor, "batch words size"]:
        own = tags[..., 1:].gather(1, found.start[..., None].expand(-1, -1, tags.shape[-1] - 1))
        spread = own / own.sum(-1, keepdim=True).clamp_min(1e-6)
        vectors: Tensor = self.vectors(spread if self.soft else decided(spread))
        return vectors


@final
class Parse(nn.Module):
    """Words and tags -> tree: at each character, the relation of the word that begins there, and its head."""

    def __init__(
        self,
        inventory: Inventory,
        size: int,
        *,
        shared: bool = False,
        soft_words: bool = True,
        soft: bool = True,
        layers: int = 1,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.reader = Reader(inventory, size, shared=shared, soft_words=soft_words, dropout=dropout, lexicon=LEXICON)
        self.tag = TagVectors(len(inventory.tags), soft=soft)
        self.lstm = BiLSTM(self.reader.read + TAG, size, layers, dropout)
        self.arcs = Arcs(2 * size, len(inventory.relations), dropout)

    def forward(
        self, characters: Int[Tensor, "batch length 3"], tags: Float[Tensor, "batch m classes"], *states: Tensor
    ) -> Float[Tensor, "batch n columns"]:
        """[batch, length, 1 + relations + 1 + length]: of each character, the relation's spread and the head's."""
        (tree,) = written_by_length(self._written, [(1, 2)], characters, tags, *states)
        return tree

    def _written(self, characters: Int[Tensor, "batch n 3"], tags: Tensor, *states: Tensor) -> tuple[Tensor]:
        found, read = self.reader.words(characters, states, tags)
        read = self.lstm(torch.cat([read, self.tag(tags, found)], dim=-1), found.real)
        heads, relations = self.arcs(read, found.real)
        return (torch.cat([found.at_characters(relations), heads_at_characters(heads, found)], dim=-1),)


def heads_at_characters(heads: Float[Tensor, "batch words heads"], found: Words) -> Float[Tensor, "batch n places"]:
    """[batch, words, 1 + words] -> [batch, n, 1 + n]: each head at the character where it begins."""
    n, own = found.word.shape[1], found.real[:, None, :].expand(-1, heads.shape[1], -1)
    at = found.start[:, None, :].expand_as(own)
    placed = heads.new_zeros(*heads.shape[:2], n).scatter_add(2, at, heads[..., 1:] * own)
    whole = torch.cat([heads[..., :1], placed], dim=-1)
    return whole.gather(1, found.word[..., None].expand(-1, -1, n + 1))


@final
class Roles(nn.Module):
    """Words, tags and tree -> which words are predicates, and the role of each word for each of them."""

    def __init__(
        self,
        inventory: Inventory,
        size: int,
        *,
        shared: bool = False,
        soft_words: bool = True,
        soft: bool = True,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.reader = Reader(inventory, size, shared=shared, soft_words=soft_words, dropout=dropout, lexicon=LEXICON)
        self.tag = TagVectors(len(inventory.tags), soft=soft)
        self.n_relations, self.soft = 1 + len(inventory.relations), soft
        self.relation = nn.Linear(self.n_relations, TAG, bias=False)
        self.narrow = nn.Linear(self.reader.read + 2 * TAG, size)
        self.lstm = BiLSTM(2 * size, size, 1, dropout)
        self.predicate = Perceptron(2 * size, size, 2, dropout)
        self.left, self.right = (Perceptron(2 * size, PAIR, 0, dropout) for _ in range(2))
        self.pair = Biaffine(PAIR, 1 + len(inventory.roles))
        self.arc = nn.Linear(2, 1 + len(inventory.roles), bias=False)

    def forward(
        self,
        characters: Int[Tensor, "batch length 3"],
        tags: Float[Tensor, "batch m classes"],
        tree: Float[Tensor, "batch m columns"],
        *states: Tensor,
    ) -> tuple[Float[Tensor, "batch n 2"], Float[Tensor, "batch k k told"]]:
        """Predicates [batch, length, 2], probabilities, and roles [batch, length, length, 1 + 1 + roles].

        Roles are told of pairs of words, row by row; the first column is 1 + the character where the row's word begins
        (0 where there is no word), the others are the probabilities of no role and of each.
        """
        predicates, roles = written_by_length(self._written, [(1,), (1, 2)], characters, tags, tree, *states)
        return predicates, roles

    def _written(
        self, characters: Int[Tensor, "batch n 3"], tags: Tensor, tree: Tensor, *states: Tensor
    ) -> tuple[Tensor, Tensor]:
        found, read = self.reader.words(characters, states, tags)
        relations, heads = self._tree(tree, found)
        read = self.narrow(torch.cat([read, self.tag(tags, found), self.relation(relations)], dim=-1))
        read = self.lstm(torch.cat([read, heads @ read], dim=-1), found.real)
        predicates = torch.softmax(self.predicate(read), dim=-1)
        pairs = self.pair(self.left(read), self.right(read)) + self.arc(torch.stack([heads, heads.mT], dim=-1))
        return _predicates(predicates, found), _pairs(torch.softmax(pairs, dim=-1), found)

    def _tree(self, tree: Tensor, found: Words) -> tuple[Tensor, Tensor]:
        """Of each word, the relations' spread and how much each word is its head."""
        own = tree.gather(1, found.start[..., None].expand(-1, -1, tree.shape[-1]))
        places = own[..., self.n_relations + 1 :]
        at = found.start[:, None, :].expand(-1, places.shape[1], -1)
        heads = places.gather(2, at) * found.real[:, None, :]
        relations = own[..., : self.n_relations]
        if self.soft:
            return relations, heads
        root = own[..., self.n_relations : self.n_relations + 1]
        return decided(relations), decided(torch.cat([root, heads], dim=-1))[..., 1:]


def _predicates(spread: Float[Tensor, "batch words 2"], found: Words) -> Float[Tensor, "batch n 2"]:
    probable = found.at_characters(spread)[..., 2]
    return torch.stack([1 - probable, probable], dim=-1)


def _pairs(spread: Float[Tensor, "batch words words2 roles"], found: Words) -> Float[Tensor, "batch m m columns"]:
    """Beside the spread of each pair, 1 + the character where the row's word begins; in evaluation, a row a character.

    Pairs of words are far fewer than pairs of characters.
    """
    begins = (1 + found.start) * found.real
    told = torch.cat([begins[:, :, None, None].expand(*spread.shape[:3], 1).to(spread), spread], dim=-1)
    more = 0 if torch.is_grad_enabled() else found.word.shape[1] - spread.shape[1]
    whole: Tensor = pad(told * found.real[:, :, None, None] * found.real[:, None, :, None], [0, 0, 0, more, 0, more])
    return whole


@final
class Direct(nn.Module):
    """Characters -> tree in one network: arcs between characters, class 0 where a character is inside of a word."""

    def __init__(self, inventory: Inventory, size: int, *, layers: int = 2, dropout: float = 0.25) -> None:
        super().__init__()
        self.encoder = Encoder(inventory, size, layers=layers, dropout=dropout)
        self.arcs = Arcs(2 * size, 1 + len(inventory.relations), dropout)

    def forward(self, characters: Int[Tensor, "batch length 3"]) -> Float[Tensor, "batch n columns"]:
        """[batch, length, 1 + relations + 1 + length]: of each character, the relation's spread and the head's."""
        (tree,) = written_by_length(self._written, [(1, 2)], characters)
        return tree

    def _written(self, characters: Int[Tensor, "batch n 3"]) -> tuple[Tensor]:
        heads, relations = self.arcs(self.encoder(characters), characters[..., 0] != PADDING)
        return (torch.cat([relations, heads], dim=-1),)
