"""A parser as a network whose units can be looked at: text to numbers, and all its stages in one pass."""

from typing import final

import numpy as np
from torch import nn

from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.systems.text.parser import Parser
from seamwise.systems.text.raw import run_of


@final
class Read(nn.Module):
    """The chain of a parser, reading characters as they come, without sentences being found first."""

    def __init__(self, parser: Parser) -> None:
        super().__init__()
        self.chain = parser.net
        self._inventory = parser.inventory

    def encode(self, text: str) -> Int[NDArray, "tokens 3"]:
        """A token a character; white space is told of the one behind it."""
        run = run_of(text)
        if not run.characters:
            return np.zeros((0, 3), np.int64)
        return self._inventory.encoded(run.characters, [bool(space) for space in run.before]).astype(np.int64)

    def pieces(self, text: str) -> list[str]:
        """The text of each token, with the white space before it; the last has what is behind it too."""
        run = run_of(text)
        pieces = [space + character for space, character in zip(run.before, run.characters, strict=True)]
        return [*pieces[:-1], pieces[-1] + run.after] if pieces else []

    def forward(self, characters: Int[Tensor, "batch tokens 3"]) -> Float[Tensor, "batch ..."]:
        written: Tensor = self.chain({"characters": characters})[self.chain.chain.stages[0].outputs[0]]
        return written
