import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from seamwise import Designed, Estimator, Learned, Outside, categories, numbers
from seamwise.errors import ChainError, ModelError, TrainingError

digit = categories("digit", 4)


def affine(n=3):
    return nn.Linear(2, n)


def test_a_build_depends_on_seed_and_name_alone():
    stage = Learned("a", affine, "x", "y")
    state = torch.get_rng_state()
    one = stage.build(1)
    torch.manual_seed(99)
    two = stage.build(1)
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, stage.build(2).weight)
    assert not torch.equal(one.weight, Learned("b", affine, "x", "y").build(1).weight)
    torch.set_rng_state(state)
    stage.build(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_come_from_tensors_or_a_file_and_frozen_ones_do_not_learn(tmp_path):
    source = affine().state_dict()
    save_file(source, tmp_path / "w.safetensors")
    from_file = Learned("a", affine, "x", "y", weights=tmp_path / "w.safetensors").build(0)
    frozen = Learned("a", affine, "x", "y", weights=source, frozen=True).build(0)
    assert torch.equal(from_file.weight, frozen.weight)
    assert from_file.weight.requires_grad
    assert not frozen.weight.requires_grad


def test_weights_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"fit 'a'\n.*weight \[3, 2\].*\n.*weight \[5, 2\]"):
        Learned("a", lambda: affine(5), "x", "y", weights=affine(3).state_dict()).build(0)
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        Learned("a", affine, "x", "y", weights=tmp_path / "w.safetensors").build(0)
    with pytest.raises(ChainError, match="frozen but has no weights"):
        Learned("a", affine, "x", "y", frozen=True)


def test_a_network_that_cannot_be_built_is_told_with_its_stage():
    def build():
        return nn.Linear(2)

    with pytest.raises(ChainError, match=r"stage 'a'.*could not be built\n.*TypeError: .*out_features.*\n.*mend the f"):
        Learned("a", build, "x", "y").build(0)


def test_what_is_no_stage_is_refused_with_what_was_expected():
    with pytest.raises(ChainError, match=r"'a' has no callable\n.*Linear\n.*class of nn.Module"):
        Learned("a", affine(), "x", "y")
    with pytest.raises(ChainError, match="returned no module"):
        Learned("a", lambda: 3, "x", "y").build(0)
    with pytest.raises(ChainError, match="at least one field"):
        Designed("a", torch.relu, (), "y")
    with pytest.raises(ChainError, match="exactly one field, as a Target"):
        Estimator("a", LogisticRegression, "x", "y")


def test_an_estimator_writes_shares_of_all_classes_and_is_seeded():
    stage = Estimator("a", lambda: make_pipeline(StandardScaler(), DecisionTreeClassifier(max_features=1)), "x", digit)
    x, labels = torch.randn(60, 2, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 2 * 2
    nets = [stage.build(seed) for seed in (0, 0, 1)]
    with pytest.raises(TrainingError, match="estimator 'a' is not fitted"):
        nets[0](x)
    for k, net in enumerate(nets):
        np.random.seed(k)  # scikit-learn falls back on the global state
        net.fit([x], labels)
    depths = [net.fitted[-1].tree_.threshold.tolist() for net in nets]
    assert depths[0] == depths[1] != depths[2]
    written = nets[0](x)
    assert written.shape == (60, 4)
    assert written.sum(1).tolist() == pytest.approx([1.0] * 60)
    assert (written.argmax(1) == labels).float().mean() > 0.9
    assert torch.equal(copy.deepcopy(nets[0])(x), written)


def test_an_estimator_of_numbers_writes_numbers():
    net = Estimator("a", LinearRegression, ("x", "z"), numbers("y")).build(0)
    x, z = torch.arange(8.0), torch.ones(8, 2)
    net.fit([x[:, None], z], 2 * x)
    assert net(x[:, None], z).tolist() == pytest.approx((2 * x).tolist(), abs=1e-5)


def test_an_outside_stage_is_given_arrays_and_gives_tensors():
    seen = []

    def ask(x, n):
        seen.append((type(x), type(n)))
        return x.astype(np.float64) * 2, n.tolist()

    doubled, n = Outside("a", ask, ("x", "n"), ("y", "m")).build(0)(
        torch.ones(2, requires_grad=True), torch.tensor([1, 2])
    )
    assert seen == [(np.ndarray, np.ndarray)]
    assert doubled.dtype == torch.float32
    assert doubled.tolist() == [2.0, 2.0]
    assert n.tolist() == [1, 2]


def signature(work):
    return Designed("a", work, "x", "y").signature


def scale(by):
    return lambda x: x * by


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by


def test_a_signature_tells_apart_what_computes_otherwise():
    table = torch.arange(3000.0)
    other = table.clone()
    other[1500] = 7  # where repr does not look
    same_name = [lambda x: x + 1, lambda x: x + 2]
    defaults = [lambda x, k=k: x + k for k in range(2)]
    signatures = [
        signature(f)
        for f in (*same_name, *defaults, scale(2), scale(3), Scale(2), Scale(3), scale(table), scale(other))
    ]
    assert len(set(signatures)) == len(signatures)
    assert signature(scale(2)) == signature(scale(2))
    assert signature(Scale(2)) == signature(Scale(2))
    assert signature(scale(table)) == signature(scale(table.clone()))


def test_a_signature_is_the_same_in_every_process(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from functools import partial\n"
        "import numpy as np\n"
        "from seamwise import Designed\n"
        "class Table:\n"
        "    def __init__(self): self.rows = {'a': np.arange(3)}; self.names = {'x', 'y', 'z'}\n"
        "    def __call__(self, x): return x if x in {'p', 'q', 'r'} else self.rows['a']\n"
        "works = [lambda x: x in {'one', 'two', 'three'}, partial(max, default={'u', 'v', 'w'}), Table()]\n"
        "print(*(Designed('a', work, 'x', 'y').signature for work in works))\n"
    )
    told = set()
    for seed in "123":
        env = os.environ | {"PYTHONHASHSEED": seed}
        told.add(subprocess.check_output([sys.executable, "mine.py"], cwd=tmp_path, env=env))
    assert len(told) == 1
    assert len(set(told.pop().split())) == 3


def test_a_signature_sees_weights_targets_and_wiring():
    weights = affine().state_dict()
    stages = [
        Learned("a", affine, "x", "y"),
        Learned("a", affine, "z", "y"),
        Learned("a", affine, "x", categories("y", 3)),
        Learned("a", affine, "x", categories("y", 4)),
        Learned("a", affine, "x", "y", weights=weights),
        Learned("a", affine, "x", "y", weights=weights, frozen=True),
        Learned("a", affine, "x", "y", weights={k: v + 1 for k, v in weights.items()}),
    ]
    assert len({s.signature for s in stages}) == len(stages)
