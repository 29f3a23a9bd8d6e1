"""A change in any code or value that a stage uses is a change of the stage."""

import importlib
import sys

from seamwise.source import source

CODE = """
import torch
from torch import nn
WIDTH, SIGNS = 8, [1.0, -1.0]
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, WIDTH)
    def forward(self, x):
        return torch.relu(self.out(x))
def signs():
    return torch.tensor(SIGNS)
def flip(x):
    return x * signs()
"""


def session(code=CODE):
    """What a notebook's cells leave behind: names in __main__, and no file."""
    names = {"__name__": "__main__"}
    exec(code, names)
    return names


def test_the_same_code_has_the_same_source():
    first, again = session(), session()
    assert source(first["Net"]) == source(again["Net"])
    assert source(first["flip"]) == source(again["flip"])


def test_a_global_that_is_changed_shows():
    names = session()
    before = source(names["Net"]), source(names["flip"])
    names["WIDTH"], names["SIGNS"] = 9, [1.0, 1.0]
    assert source(names["Net"]) != before[0]
    assert source(names["flip"]) != before[1]  # two calls away


def test_a_class_that_is_redefined_shows():
    assert source(session()["Net"]) != source(session(CODE.replace("relu", "tanh"))["Net"])


def test_a_module_beside_that_is_edited_shows(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "beside_us.py").write_text("def double(x):\n    return 2 * x\n")
    names = session("import beside_us\ndef stage(x):\n    return beside_us.double(x)\n")
    before = source(names["stage"])
    (tmp_path / "beside_us.py").write_text("def double(x):\n    return 3 * x\n")
    importlib.invalidate_caches()
    assert source(names["stage"]) != before
    sys.modules.pop("beside_us")
