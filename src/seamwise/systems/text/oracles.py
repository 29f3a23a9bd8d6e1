"""Perfect stages of the text chain: what can be done with the words that a stage really gets.

A word that is none gets the tag of the word that its first character is in, and hangs where that word does: on the
word that holds the first character of its head; on the head's head where both are one.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch.nn.functional import one_hot

from seamwise.oracles import Oracle
from seamwise.shapes import Bool, Float, Int, Tensor
from seamwise.stage import Fields
from seamwise.systems.text.inventory import Inventory
from seamwise.systems.text.targets import begins

N_CLIMBED = 3  # heads of heads that are tried


def oracles(inventory: Inventory) -> Mapping[str, Oracle]:
    """The perfect stages up to the tree, by name."""
    return {
        "segment": segment,
        "tag": partial(tag, 1 + len(inventory.tags)),
        "parse": partial(parse, 1 + len(inventory.relations)),
    }


def segment(inputs: Fields, gold: Fields) -> Float[Tensor, "batch length 3"]:
    """The words as they are."""
    return one_hot(gold["words"].long().clamp_min(0), 3).float()


def tag(n_classes: int, inputs: Fields, gold: Fields) -> Float[Tensor, "batch length classes"]:
    """The right tags for the words that the segmenter wrote."""
    begin = begins(inputs["words"], gold["words"])
    tags = gold["tags"].long().gather(1, _word_at(gold["words"] > 0))
    return one_hot(torch.where(begin, tags.clamp_min(0), 0), n_classes).float()


def parse(n_classes: int, inputs: Fields, gold: Fields) -> Float[Tensor, "batch length columns"]:
    """The right heads and relations for the words that the tagger passed on."""
    begin, tree = begins(inputs["tags"], gold["words"]), gold["tree"].long().clamp_min(0)
    found, own = _word_at(begin), _word_at(tree[..., 1] > 0)
    head = tree[..., 0].gather(1, own)
    for _ in range(N_CLIMBED):
        at = (head - 1).clamp_min(0)
        inner = (head > 0) & (found.gather(1, at) == found)
        head = torch.where(inner, tree[..., 0].gather(1, own.gather(1, at)), head)
    place = torch.where(head > 0, 1 + found.gather(1, (head - 1).clamp_min(0)), 0)
    relation = torch.where(begin, tree[..., 1].gather(1, own), 0)
    return torch.cat([one_hot(relation, n_classes), one_hot(place, 1 + begin.shape[1])], dim=-1).float()


def _word_at(begin: Bool[Tensor, "batch n"]) -> Int[Tensor, "batch n"]:
    """Of each character, where its word begins."""
    place = torch.arange(begin.shape[1], device=begin.device).expand_as(begin)
    return torch.where(begin, place, 0).cummax(1).values
