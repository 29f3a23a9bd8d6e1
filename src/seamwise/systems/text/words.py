"""From characters to words and back: which characters begin a word, and what a network reads of the words between.

A seam that passes decisions takes each word from its first and its last character. One that passes distributions takes
the same in the forward pass, and lets the gradient of a soft membership through: character i belongs to word k by
softmax_k(-(c_i - k)^2 / tau), with c_i the expected number of words that began before it.

Sources: straight-through gradients by Bengio et al. 2013 (arXiv 1308.3432); expected positions of boundaries by
Godey et al. 2022, MANTa (arXiv 2212.07284). Differs: hard in the forward pass, and a word is its two ends, not a sum.
"""

from dataclasses import dataclass
from typing import final

import torch

from seamwise.shapes import Bool, Float, Int, Tensor

TAU = 0.5
INSIDE = 0


@final
@dataclass(frozen=True)
class Words:
    """The words of a batch of sentences. Words and characters count from 0; what is no word is padding.

    word:   of each character, which word it is in
    start, end: of each word, its first and its last character
    real:   which words are words
    begins: of each character, the probability that a word begins there; 0 or 1 where the seam passes decisions
    ends:   which character is the last of its sentence
    """

    word: Int[Tensor, "batch n"]
    start: Int[Tensor, "batch words"]
    end: Int[Tensor, "batch words"]
    real: Bool[Tensor, "batch words"]
    begins: Float[Tensor, "batch n"]
    ends: Bool[Tensor, "batch n"]

    def at_words(self, states: Float[Tensor, "batch n size"], *, soft: bool) -> Float[Tensor, "batch words size"]:
        """Each word as what a BiLSTM has read forwards up to its last, and backwards up to its first character."""
        forwards, backwards = states.chunk(2, dim=-1)
        hard = torch.cat([_taken(forwards, self.end), _taken(backwards, self.start)], dim=-1)
        if not (soft and self.begins.requires_grad and torch.is_grad_enabled()):
            return hard
        firsts, lasts = self._membership()
        through = torch.cat([lasts @ forwards.detach(), firsts @ backwards.detach()], dim=-1)
        return hard + (through - through.detach())

    def _membership(self) -> tuple[Float[Tensor, "batch words n"], Float[Tensor, "batch words n"]]:
        """How much each character is the first, and the last, of each word."""
        expected = self.begins.cumsum(1) - 1
        k = torch.arange(self.start.shape[1], device=expected.device)
        members = torch.softmax(-((expected[:, :, None] - k) ** 2) / TAU, dim=-1).transpose(1, 2)
        following = torch.where(self.ends, 1.0, self.begins.roll(-1, dims=1))
        return members * self.begins[:, None], members * following[:, None]

    def at_characters(self, spread: Float[Tensor, "batch words classes"]) -> Float[Tensor, "batch n more"]:
        """What is said of words, at the characters: class 0 where a character is inside of one."""
        own = _taken(spread, self.word) * self.begins[..., None]
        return torch.cat([1 - self.begins[..., None], own], dim=-1)


def words_of(written: Float[Tensor, "batch n classes"], real: Bool[Tensor, "batch n"], *, soft: bool = False) -> Words:
    """The words of what a stage wrote: class 0 is "inside of a word". A sentence's first character begins one."""
    begins = (1 - written[..., INSIDE]) * real
    hard = (begins > 0.5) & real
    hard[:, 0] = real[:, 0]
    word = (hard.long().cumsum(1) - 1).clamp_min(0)
    n_words = hard.sum(1)
    most = max(1, int(n_words.max()))
    start = torch.zeros(len(word), most + 1, dtype=torch.long, device=word.device)
    position = torch.arange(word.shape[1], device=word.device).expand_as(word)
    start.scatter_(1, torch.where(hard, word, most), position)
    end = torch.zeros_like(start).scatter_reduce_(1, torch.where(real, word, most), position, "amax")
    is_word = torch.arange(most, device=word.device) < n_words[:, None]
    last = real & (position == real.sum(1, keepdim=True) - 1)
    return Words(word, start[:, :most], end[:, :most], is_word, begins if soft else hard.to(begins), last)


def _taken(values: Float[Tensor, "batch rows size"], at: Int[Tensor, "batch m"]) -> Float[Tensor, "batch m size"]:
    return values.gather(1, at[..., None].expand(-1, -1, values.shape[-1]))


def word_keys(
    ids: Int[Tensor, "batch n"], words: Words, powers: Int[Tensor, " most"], inverse: Int[Tensor, " most"]
) -> Int[Tensor, "batch words"]:
    """A number for the characters of each word, the same wherever it stands; see `Lexicon`."""
    sums = torch.nn.functional.pad((ids * powers[: ids.shape[1]] % PRIME).cumsum(1), (1, 0))
    span = (sums.gather(1, words.end + 1) - sums.gather(1, words.start)) % PRIME
    return span * inverse[words.start] % PRIME


PRIME, BASE = 2_147_483_647, 1_000_003


def powers_of(base: int, n: int) -> Int[Tensor, " n"]:
    """base^0, base^1, ... modulo PRIME."""
    powers = [1]
    for _ in range(n - 1):
        powers.append(powers[-1] * base % PRIME)
    return torch.tensor(powers, dtype=torch.long)
