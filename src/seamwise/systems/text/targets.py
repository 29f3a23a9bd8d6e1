"""How the fields of the chain are trained and scored: log-probabilities of labels, and F1 of words, tags and arcs.

Every error is 1 - F1 of one sentence: of words found at their place, of those with the right tag, of those with the
right head and relation. A tree is well-formed before it is scored.
"""

from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import torch
from torch.nn.functional import one_hot

from seamwise import Target
from seamwise.shapes import Bool, Float, Int, Tensor
from seamwise.systems.text.inventory import Inventory
from seamwise.systems.text.spanning import heads as tree_heads

TINY = 1e-9


@final
@dataclass(frozen=True)
class Classes:
    """The gold form of categories of which -1 is padding: all on the right class, at padding on the first."""

    n_classes: int

    def __call__(self, labels: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length classes"]:
        return one_hot(labels.long().clamp_min(0), self.n_classes).float()


def class_loss(
    written: Float[Tensor, "batch n classes"], labels: Int[Tensor, "batch length"]
) -> Float[Tensor, " batch"]:
    """-log of the right class's probability, the mean over characters."""
    labels = labels[:, : written.shape[1]].long()
    lost = -(written.gather(-1, labels.clamp_min(0)[..., None])[..., 0] + TINY).log() * (labels >= 0)
    return lost.sum(1) / (labels >= 0).sum(1).clamp_min(1)


def tag_loss(written: Float[Tensor, "batch n classes"], labels: Int[Tensor, "batch length"]) -> Float[Tensor, " batch"]:
    """-log of the right class's probability, summed over characters, over the number of words."""
    return class_loss(written, labels) * (labels >= 0).sum(1) / (labels > 0).sum(1).clamp_min(1)


def begins(written: Float[Tensor, "batch n classes"], labels: Int[Tensor, "batch n"]) -> Bool[Tensor, "batch n"]:
    """Where words begin by what was written: where "inside" is improbable, and at the first character."""
    begin = (written[..., 0] < 0.5) & (labels >= 0)
    begin[:, 0] = True
    return begin


def ends(begin: Bool[Tensor, "batch n"], n: Int[Tensor, " batch"]) -> Int[Tensor, "batch n"]:
    """For each character, where the next word begins; `n`, the sentence's length, where none does."""
    place = torch.arange(begin.shape[1], device=begin.device).expand_as(begin)
    following = torch.where(begin, place, n[:, None])
    following = torch.cat([following[:, 1:], n[:, None]], dim=1)
    return following.flip(1).cummin(1).values.flip(1)


def same_spans(begin: Bool[Tensor, "batch n"], gold: Bool[Tensor, "batch n"], labels: Int[Tensor, "batch n"]) -> Tensor:
    """Where a word begins in both, and ends at one place."""
    n = (labels >= 0).sum(1)
    return begin & gold & (ends(begin, n) == ends(gold, n))


def f1_error(hits: Tensor, found: Tensor, gold: Tensor) -> Float[Tensor, " batch"]:
    """1 - F1 of counts [batch]; 0 where there is nothing to find and nothing was found."""
    both = (found + gold).float()
    return torch.where(both > 0, 1 - 2 * hits.float() / both.clamp_min(1), 0.0)


def word_error(
    written: Float[Tensor, "batch n classes"], labels: Int[Tensor, "batch length"]
) -> Float[Tensor, " batch"]:
    """1 - F1 of words."""
    labels = labels[:, : written.shape[1]]
    begin, gold = begins(written, labels), labels > 0
    return f1_error(same_spans(begin, gold, labels).sum(1), begin.sum(1), gold.sum(1))


def tag_error(
    written: Float[Tensor, "batch n classes"], labels: Int[Tensor, "batch length"]
) -> Float[Tensor, " batch"]:
    """1 - F1 of words with their tags."""
    labels = labels[:, : written.shape[1]]
    begin, gold = begins(written, labels), labels > 0
    right = 1 + written[..., 1:].argmax(-1) == labels
    return f1_error((same_spans(begin, gold, labels) & right).sum(1), begin.sum(1), gold.sum(1))


@final
@dataclass(frozen=True)
class TreeGold:
    """The gold form of trees: all on the right relation and the right head."""

    n_relations: int

    def __call__(self, labels: Int[Tensor, "batch length 2"]) -> Float[Tensor, "batch length columns"]:
        labels = labels.long().clamp_min(0)
        relations = one_hot(labels[..., 1], 1 + self.n_relations)
        return torch.cat([relations, one_hot(labels[..., 0], 1 + labels.shape[1])], dim=-1).float()


def tree_loss(
    n_relations: int, written: Float[Tensor, "batch n columns"], labels: Int[Tensor, "batch length 2"]
) -> Float[Tensor, " batch"]:
    """-log P(relation, or inside) of each character and -log P(head) of each word, summed, over the number of words."""
    labels = labels[:, : written.shape[1]].long()
    n_heads = written.shape[2] - 1 - n_relations
    relation = written[..., : 1 + n_relations].gather(-1, labels[..., 1:].clamp_min(0))[..., 0]
    head = written[..., 1 + n_relations :].gather(-1, labels[..., :1].clamp(0, n_heads - 1))[..., 0]
    real, words = labels[..., 1] >= 0, labels[..., 1] > 0
    lost = -(relation + TINY).log() * real - (head + TINY).log() * words
    return lost.sum(1) / words.sum(1).clamp_min(1)


def tree_error(
    n_relations: int, written: Float[Tensor, "batch n columns"], labels: Int[Tensor, "batch length 2"]
) -> Float[Tensor, " batch"]:
    """1 - F1 of words with their heads and relations (labelled attachment)."""
    labels = labels[:, : written.shape[1]].cpu()
    written = written.cpu()
    spans, gold = labels[..., 1], labels[..., 1] > 0
    begin = begins(written, spans)
    same = same_spans(begin, gold, spans)
    head = decoded_heads(written[..., 1 + n_relations :], begin)
    relation = 1 + written[..., 1 : 1 + n_relations].argmax(-1)
    same_head = torch.cat([torch.ones_like(same[:, :1]), same], dim=1).gather(1, labels[..., 0].long().clamp_min(0))
    right = same & same_head & (head == labels[..., 0]) & (relation == labels[..., 1])
    return f1_error(right.sum(1), begin.sum(1), gold.sum(1))


def decoded_heads(heads: Float[Tensor, "batch n places"], begin: Bool[Tensor, "batch n"]) -> Int[Tensor, "batch n"]:
    """Of each word, 1 + the character where its head begins, 0 for the root: the best tree of each sentence."""
    decoded = torch.zeros(begin.shape, dtype=torch.long)
    for k, (places, own) in enumerate(zip(heads.numpy(), begin.numpy(), strict=True)):
        at = np.flatnonzero(own)
        whole = np.concatenate([[0], 1 + at])
        scores = np.log(places[np.ix_(at, whole)] + TINY)
        decoded[k, at] = torch.from_numpy(whole[tree_heads(scores)])
    return decoded


@final
@dataclass(frozen=True)
class RoleGold:
    """The gold form of roles, as if each character were a word: surely the role, or none, for each pair."""

    n_roles: int
    length: int

    def __call__(self, labels: Int[Tensor, "batch most 3"]) -> Float[Tensor, "batch length length columns"]:
        spread = one_hot(dense_roles(labels, self.length), 1 + self.n_roles).float()
        begins = torch.arange(1, 1 + self.length, device=labels.device)[:, None, None].expand(*spread.shape[:3], 1)
        return torch.cat([begins.float(), spread], dim=-1)


def dense_roles(labels: Int[Tensor, "batch most 3"], n: int) -> Int[Tensor, "batch n n"]:
    """(predicate, argument, role) triples as a table of pairs of characters; 0 where there is no role."""
    table = torch.zeros(len(labels), n, n, dtype=torch.long, device=labels.device)
    batch, which = (labels[..., 2] > 0).nonzero(as_tuple=True)
    predicate, argument, role = labels[batch, which].long().unbind(-1)
    table[batch, predicate, argument] = role
    return table


def gold_roles(
    written: Float[Tensor, "batch m m columns"], labels: Int[Tensor, "batch most 3"]
) -> tuple[Int[Tensor, "batch m m"], Bool[Tensor, "batch m m"]]:
    """(the gold role of each written pair, 0 for none; which pairs are of two words)."""
    begins = written.diagonal(dim1=1, dim2=2)[:, 0].long()
    table = dense_roles(labels, max(int(begins.max()), 1 + int(labels[..., :2].max())))
    batch = torch.arange(len(written), device=written.device)[:, None, None]
    at = (begins - 1).clamp_min(0)
    real = (begins > 0)[:, :, None] & (begins > 0)[:, None, :]
    return table[batch, at[:, :, None], at[:, None, :]] * real, real


def role_loss(
    written: Float[Tensor, "batch m m columns"], labels: Int[Tensor, "batch most 3"]
) -> Float[Tensor, " batch"]:
    """-log of the right role's probability of all pairs of words, summed, over the number of words."""
    gold, real = gold_roles(written, labels)
    lost = -(written[..., 1:].gather(-1, gold[..., None])[..., 0] + TINY).log() * real
    return lost.flatten(1).sum(1) / real.diagonal(dim1=1, dim2=2).sum(1).clamp_min(1)


def role_error(
    written: Float[Tensor, "batch m m columns"], labels: Int[Tensor, "batch most 3"]
) -> Float[Tensor, " batch"]:
    """1 - F1 of (predicate, argument, role), each word by its first character."""
    gold, real = gold_roles(written, labels)
    found = written[..., 1:].argmax(-1) * real
    hits = ((found == gold) & (gold > 0)).flatten(1).sum(1)
    return f1_error(hits, (found > 0).flatten(1).sum(1), (labels[..., 2] > 0).sum(1))


def found_error(written: Float[Tensor, "batch n 2"], labels: Int[Tensor, "batch length"]) -> Float[Tensor, " batch"]:
    """1 - F1 of the characters that are found: where predicates, or sentences, begin."""
    labels = labels[:, : written.shape[1]]
    found, gold = (written[..., 1] > 0.5) & (labels >= 0), labels > 0
    return f1_error((found & gold).sum(1), found.sum(1), gold.sum(1))


def words_target() -> Target:
    """Where words and tokens begin."""
    return Target("words", class_loss, word_error, Classes(3), "words wrong, 1 - F1")


def tags_target(inventory: Inventory) -> Target:
    """The tags of words."""
    return Target("tags", tag_loss, tag_error, Classes(1 + len(inventory.tags)), "tags wrong, 1 - F1")


def tree_target(inventory: Inventory) -> Target:
    """Heads and relations: the answer."""
    n = len(inventory.relations)
    return Target("tree", partial(tree_loss, n), partial(tree_error, n), TreeGold(n), "dependencies wrong, 1 - LAS")


def predicates_target() -> Target:
    """Which words are predicates."""
    return Target("predicates", class_loss, found_error, Classes(2), "predicates wrong, 1 - F1")


def roles_target(inventory: Inventory, length: int) -> Target:
    """Roles of pairs of words; length: of the padded characters."""
    return Target("roles", role_loss, role_error, RoleGold(len(inventory.roles), length), "roles wrong, 1 - F1")
