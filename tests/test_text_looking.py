"""A parser as a network that is looked at: a token a character, each where it is in the text."""

import numpy as np
import pytest
import torch
from torch import nn

from seamwise.look.text.concepts import concept_of
from seamwise.look.text.reading import tokens_for
from seamwise.systems.text.looking import Read
from seamwise.systems.text.parser import Parser


class Inventory:
    """Numbers of characters, and whether there is white space before each; its class."""

    def encoded(self, characters, before):
        return np.stack([[ord(c) for c in characters], before, np.zeros(len(before))], 1)


@pytest.fixture
def read():
    parser = Parser.__new__(Parser)
    for name, value in {"net": nn.Identity(), "inventory": Inventory()}.items():
        object.__setattr__(parser, name, value)
    return Read(parser)


def test_the_first_token_of_a_line_is_in_its_line(read):
    text = "ab c\n\n d.\nef\n"
    tokens = tokens_for(read, [text])
    assert "".join(map(tokens.text, range(tokens.n))) == text
    assert tokens.line.tolist() == [0, 0, 0, 2, 2, 3, 3]
    assert tokens.ids[:, 1].tolist() == [0, 0, 1, 1, 0, 1, 0]
    assert concept_of("line start", tokens).labels.tolist() == [1, 0, 0, 0, 0, 1, 0]
    assert concept_of("line end", tokens).labels.tolist() == [0, 0, 1, 0, 1, 0, 1]


def test_white_space_alone(read):
    tokens = tokens_for(read, ["a", " \x00\n", "b"])
    assert tokens.document.tolist() == [0, 2]
    assert tokens_for(read, [" "]).ids.shape == (0, 3)
    assert isinstance(torch.from_numpy(tokens.ids), torch.Tensor)
