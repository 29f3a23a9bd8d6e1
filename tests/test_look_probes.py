"""Probes: what is planted in a layer is read from it, what is not there is not, and controls know nothing."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from sklearn.linear_model import Ridge as SklearnRidge
from torch import nn

from seamwise import Chain, Learned, Supply, Target, Task, categories, numbers
from seamwise.errors import ModelError, TaskError
from seamwise.look.probing.labels import Labels, asked_of, is_of_categories, target_of, tokens_of
from seamwise.look.probing.layers import LayerReader, untrained
from seamwise.look.probing.probe import best_layers, probe, rediscovered, stage_fields
from seamwise.look.probing.ridge import PENALTIES, Ridge
from seamwise.metrics import OneHot, absolute_error, as_it_is, squared_error

N = 600


def table(n=N, seed=0):
    """x shows a digit pair in its first six numbers and a place in the next two; the rest is noise."""
    rng = np.random.default_rng(seed)
    pair, place = rng.integers(0, 3, (n, 2)), rng.random((n, 2)).astype(np.float32)
    x = rng.normal(0, 0.3, (n, 12)).astype(np.float32)
    for slot in (0, 1):
        x[np.arange(n), 3 * slot + pair[:, slot]] += 1.5
    x[:, 6:8] = place
    split = np.repeat(["train", "validation", "test"], [n // 2, n // 4, n - n // 2 - n // 4])
    return {"x": x, "pair": pair, "place": place, "sum": pair.sum(1), "split": split, "group": np.arange(n) // 2}


class Keep(nn.Module):
    """Keeps the first `n` numbers of x, in two layers; writes shares of a pair, [batch, 2, 3]."""

    def __init__(self, n=12):
        super().__init__()
        self.keep = nn.Linear(12, n, bias=False)
        self.tell = nn.Linear(n, 6)
        with torch.no_grad():
            self.keep.weight.copy_(torch.eye(n, 12))
        self.act = nn.ReLU()

    def forward(self, x):
        return self.tell(self.act(self.keep(x))).reshape(-1, 2, 3).softmax(-1)


class Apart(nn.Module):
    """Two items of each: the batch is twice as long inside; items stand together or apart."""

    def __init__(self, together=True):
        super().__init__()
        self.together, self.layer = together, nn.Linear(6, 5)

    def forward(self, x):
        halves = x.reshape(-1, 2, 6)
        rows = halves.flatten(0, 1) if self.together else halves.transpose(0, 1).flatten(0, 1)
        out = self.layer(rows)
        out = out.reshape(-1, 2, 5) if self.together else out.reshape(2, -1, 5).transpose(0, 1)
        return out[..., :3].softmax(-1)


def add_pair(pair):
    both = pair[:, 0, :, None] * pair[:, 1, None, :]
    index = (torch.arange(3)[:, None] + torch.arange(3)).flatten()
    return pair.new_zeros(len(pair), 5).index_add(1, index, both.flatten(1))


@pytest.fixture(scope="module")
def task():
    return make_task()


def make_task(net=Keep, **changes):
    from seamwise import Designed

    pair, total = categories("pair", 3), categories("sum", 5)
    held = {"place": numbers("place", "px")} | changes.pop("targets", {})
    chain = Chain(
        [
            Learned("see", net, "x", pair),
            Learned("locate", lambda: nn.Linear(12, 2), "x", held["place"]),
            Designed("add", add_pair, "pair", total),
        ]
    )
    direct = Learned("direct", lambda: nn.Sequential(nn.Linear(12, 5), nn.Softmax(-1)), "x", total)
    supply = changes.pop("supply", None) or Supply({"all": table()})
    return Task(name="pairs", chain=chain, answer=total, supply=supply, direct=direct, **changes)


def scored(scores):
    return {(s.field, s.layer): s for s in scores}


def test_what_a_layer_holds_is_read_from_it_and_what_it_lacks_is_not():
    own = make_task(net=lambda: Keep(6))
    found = scored(probe(own, own.chain_of("chain").build(0)))
    assert {layer for _, layer in found} == {
        "input", "see.keep", "see.tell", "see: pair", "locate: place",
    }  # fmt: skip
    held, lost = found["pair", "see.keep"], found["place", "see.keep"]
    assert held.error < 0.05
    assert held.low <= held.error <= held.high
    assert held.selectivity == held.control - held.error > 0.3
    assert lost.error > 0.9 * lost.trivial
    assert found["place", "input"].error < 0.02
    assert held.unit == "share wrong"
    assert lost.unit == "px"
    assert held.n == N // 4
    assert held.trivial == pytest.approx(2 / 3, abs=0.1)


def test_a_layer_is_read_behind_its_activation(task):
    net = task.chain_of("chain").build(0)
    reader = LayerReader(net, task.supply)
    _, layers = next(reader.read(np.arange(5)))
    assert bool((layers["see.keep"] >= 0).all())
    assert bool((layers["see.keep"] == 0).any())
    assert [p.name for p in reader.places] == ["input", "see.keep", "see.tell", "see: pair", "locate: place"]


def test_the_networks_are_left_as_they_were(task):
    net = task.chain_of("chain").build(0)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    probe(task, net)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


@pytest.mark.parametrize("together", [True, False])
def test_rows_of_one_item_are_put_side_by_side(together):
    own = make_task(net=lambda: Apart(together))
    net = own.chain_of("chain").build(0)
    reader = LayerReader(net, own.supply)
    _, layers = next(reader.read(np.arange(7)))
    x = own.supply.fields["x"][:7].reshape(7, 2, 6)
    assert torch.allclose(layers["see.layer"], net.nets["see"].layer(x), atol=1e-6)


def test_what_mixes_items_is_no_layer():
    class Mixes(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 6)

        def forward(self, x):
            return self.layer(x.cumsum(0)).reshape(-1, 2, 3).softmax(-1) * 0 + 1 / 3

    own = make_task(net=Mixes)
    places = LayerReader(own.chain_of("chain").build(0), own.supply).places
    assert "see.layer" not in [p.name for p in places]


def test_large_maps_are_averaged_on_a_grid_and_other_layers_hashed(task):
    reader = LayerReader(task.chain_of("chain").build(0), task.supply, max_features=64)
    maps = torch.zeros(2, 4, 20, 30)
    maps[0, 1, 3, 20] = 1.0
    small = reader.reduced(maps)
    assert small.shape[0] == 2
    assert 16 <= small.shape[1] <= 64
    assert int((small[0] != 0).sum()) == 1  # the place is still one cell
    flat = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    hashed = reader.reduced(flat)
    assert hashed.shape == (3, 64)
    assert torch.equal(hashed, reader.reduced(flat))
    assert torch.equal(reader.reduced(flat[:, :64]), flat[:, :64])


@pytest.mark.parametrize("n_features", [5, 80])
def test_the_ridge_is_sklearns(n_features):
    draw = torch.Generator().manual_seed(1)
    x, y = torch.randn(40, n_features, generator=draw), torch.randn(40, 3, generator=draw)
    other = torch.randn(9, n_features, generator=draw)
    ridge = Ridge(x)
    scaled, scaled_other = ((v - x.mean(0)) / x.std(0, correction=0) for v in (x, other))
    square = scaled @ scaled.T if n_features > 40 else scaled.T @ scaled
    for penalty, weights in zip(PENALTIES, ridge.path(y), strict=True):
        alpha = penalty * float((square / 40).diagonal().mean()) * 40
        expected = SklearnRidge(alpha=alpha).fit(scaled.double().numpy(), y.double().numpy())
        found = ridge.basis(other) @ weights + y.mean(0)
        assert np.allclose(found.numpy(), expected.predict(scaled_other.double().numpy()), atol=2e-3)


def test_constant_features_do_no_harm():
    ridge = Ridge(torch.ones(10, 4))
    assert all(bool(torch.isfinite(w).all()) for w in ridge.path(torch.randn(10, 2)))


def test_labels_come_back_from_their_columns():
    labels = torch.tensor([[0, 2], [1, 2], [2, 0], [-1, 2]])
    own = Labels({"train": labels, "test": labels[:3]}, None, True)
    assert own.columns.shape == (4, 5)  # three classes and two
    assert torch.equal(own.read(own.columns[:3], "test"), labels[:3])
    values = torch.randn(6, 3)
    own = Labels({"train": values, "test": values}, None, False)
    assert torch.allclose(own.read(own.columns, "test"), values, atol=1e-5)


def test_control_labels_are_one_a_type_and_as_frequent_as_the_training_labels(task):
    asked = asked_of(task, "pair", ("x",), 2000, 0)
    control = asked.control
    shares = [np.bincount(of.of["train"][:, 0], minlength=3) / len(of.of["train"]) for of in (asked.labels, control)]
    assert np.abs(shares[0] - shares[1]).max() < 0.15
    agree = float((control.of["test"] == asked.labels.of["test"]).float().mean())
    assert 0.2 < agree < 0.5
    again = asked_of(task, "pair", ("x",), 2000, 0).control
    other = asked_of(task, "pair", ("x",), 2000, 1).control
    assert torch.equal(control.of["test"], again.of["test"])
    assert not torch.equal(control.of["test"], other.of["test"])


def test_at_most_so_many_items_and_only_those_with_a_label():
    some = tiny.make_task()
    asked = asked_of(some, "colour", ("x",), 20, 0)
    assert all(len(rows) == 20 and (np.diff(rows) > 0).all() for rows in asked.rows.values())
    assert bool(some.supply.known("colour", asked.rows["train"]).all())


def token_task():
    """Tokens 1 to 9, whose class is their number modulo 3; sentences of unequal length, padded."""
    rng = np.random.default_rng(0)
    n, longest = 90, 12
    tokens, kind = np.zeros((n, longest), dtype=np.int64), np.full((n, longest), -1)
    for row, length in enumerate(rng.integers(4, longest + 1, n)):
        tokens[row, :length] = rng.integers(1, 10, length)
        kind[row, :length] = tokens[row, :length] % 3

    def wrong(written, labels):
        real = labels >= 0
        return ((written.argmax(-1) != labels) & real).sum(1) / real.sum(1).clamp_min(1)

    def loss(written, labels):
        right = written.gather(-1, labels.clamp_min(0)[..., None])[..., 0]
        return -(right.clamp_min(1e-9).log() * (labels >= 0)).sum(1)

    class Tag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.tell = nn.Embedding(10, 16), nn.Linear(16, 3)

        def forward(self, tokens):
            return self.tell(self.embed(tokens)).softmax(-1)

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.pooled = nn.Linear(3, 2)

        def forward(self, kind):
            return self.pooled(kind.mean(1)).softmax(-1)

    split = np.repeat(["train", "validation", "test"], 30)
    target = Target("kind", loss, wrong, lambda labels: OneHot(3)(labels.clamp_min(0)), "share wrong")
    supply = Supply({"all": {"tokens": tokens, "kind": kind, "odd": tokens[:, 0] % 2, "split": split}})
    chain = Chain([Learned("tag", Tag, "tokens", target), Learned("odd", Odd, "kind", categories("odd", 2))])
    return Task(name="tokens", chain=chain, answer=categories("odd", 2), supply=supply)


def test_labels_of_tokens_are_read_token_by_token():
    own = token_task()
    assert tokens_of(own, "kind") == "tokens"
    assert tokens_of(own, "odd") is None
    found = scored(probe(own, own.chain_of("chain").build(0)))
    embedded = found["kind", "tag.embed"]
    assert embedded.error < 0.02
    assert embedded.selectivity < 0.1
    assert ("kind", "odd.pooled") not in found  # it has no tokens
    asked = asked_of(own, "kind", ("tokens",), 100, 0)
    control, read = asked.control.of["train"], own.supply.take(["tokens"], asked.rows["train"])["tokens"]
    real = read > 0
    assert bool(((control >= 0) == real).all())
    assert all(len(torch.unique(control[read == t])) == 1 for t in range(1, 10))


def test_a_box_is_scored_by_its_own_metric_through_its_gold_form():
    """Labels are corner and side; what a stage writes is four corners; the metric knows only these."""
    target = Target(
        "place", lambda w, y: squared_error(w, y.repeat(1, 2)), lambda w, y: absolute_error(w, y.repeat(1, 2)),
        lambda y: y.repeat(1, 2).float(), "px",
    )  # fmt: skip
    assert not is_of_categories(target, torch.rand(3, 2))
    own = make_task()
    chain = Chain([Learned("locate", lambda: nn.Linear(12, 4), "x", target), *own.chain_of("chain").stages[0::2]])
    found = scored(probe(Task(name="b", chain=chain, answer=own.answer, supply=own.supply), chain.build(0), ["place"]))
    assert found["place", "input"].error < 0.02


def test_a_metric_with_a_threshold_is_set_on_validation_items(task):
    seen = []

    def calibrate(written, labels):
        seen.append(len(labels))
        return absolute_error

    target = replace(numbers("place"), calibrate=calibrate)
    own = make_task(targets={"place": target})
    probe(own, own.chain_of("chain").build(0), ["place"])
    assert set(seen) == {N // 4}


def test_several_networks_each_beside_the_same_before_training(task):
    nets = {"endtoend": task.chain_of("chain").build(3), "direct": task.chain_of("direct").build(3)}
    found = list(rediscovered(task, nets, max_items=100))
    assert [p.name for p in found] == ["endtoend", "direct"]
    assert [s.layer for s in found[0].scores] == [s.layer for s in found[0].untrained]
    assert found[0].scores != found[0].untrained
    again = list(rediscovered(task, nets, max_items=100))
    assert found == again
    best = best_layers(found[1].scores)
    assert set(best) == {"pair", "place"}
    assert best["pair"].layer != "input"


def test_the_best_layer_is_chosen_on_validation(task):
    one, other = probe(task, task.chain_of("chain").build(0), ["pair"])[1:3]
    one, other = replace(one, validation=0.3, error=0.1), replace(other, validation=0.2, error=0.2)
    assert best_layers([one, other])["pair"] == other


def test_an_untrained_chain_keeps_its_estimator_and_loses_its_weights(task):
    net = task.chain_of("chain").build(0)
    fresh = untrained(net, 1)
    assert not torch.equal(fresh.nets["see"].tell.weight, net.nets["see"].tell.weight)
    assert fresh.chain is net.chain


def test_bad_requests_are_told(task):
    net = task.chain_of("chain").build(0)
    with pytest.raises(TaskError, match="'nothing'"):
        probe(task, net, ["nothing"])
    assert stage_fields(task) == ["pair", "place"]
    assert target_of(task, "nothing") is None
    from seamwise import Designed

    plain = Chain([Designed("say", lambda x: x[:, :5].softmax(-1), "x", categories("sum", 5))])
    own = Task(name="plain", chain=plain, answer=categories("sum", 5), supply=task.supply)
    with pytest.raises(TaskError, match="no stage but the last"):
        probe(own, plain.build(0))
    with pytest.raises(ModelError, match="no layers"):
        probe(own, plain.build(0), ["sum"])


def test_fields_that_no_probe_can_read_say_why():
    rng = np.random.default_rng(0)
    more = table(80) | {"masks": rng.integers(0, 2, (80, 10, 10)), "many": np.where(rng.random((80, 4)) < 0.5, -1, 1)}
    masks = Target("masks", squared_error, lambda w, y: (w - y).abs().mean((1, 2)), as_it_is)
    many = Target("many", lambda w, y: w.mean((1, 2)), lambda w, y: w.mean((1, 2)), lambda y: OneHot(2)(y.clamp_min(0)))
    stages = [
        Learned("mask", lambda: nn.Sequential(nn.Linear(12, 100), nn.Unflatten(1, (10, 10))), "x", masks),
        Learned("set", lambda: nn.Sequential(nn.Linear(12, 8), nn.Unflatten(1, (4, 2))), "x", many),
    ]
    own = make_task()
    chain = Chain([*stages, *own.chain_of("chain").stages])
    own = Task(name="m", chain=chain, answer=own.answer, supply=Supply({"all": more}))
    assert stage_fields(own) == ["pair", "place"]
    for field, why in (("masks", "100 labels"), ("many", "padded")):
        with pytest.raises(TaskError, match=why):
            probe(own, chain.build(0), [field])


def test_inputs_of_one_number_an_item_are_read_too():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 2)

        def forward(self, x, scale):
            return self.layer(x * scale[:, None])

    own = make_task()
    more = Supply({"all": table() | {"scale": np.linspace(1, 2, N, dtype=np.float32)}})
    chain = Chain([Learned("locate", Scaled, ("x", "scale"), numbers("place")), *own.chain_of("chain").stages[0::2]])
    own = Task(name="s", chain=chain, answer=own.answer, supply=more)
    reader = LayerReader(chain.build(0), own.supply)
    assert reader.places[0].shape == (13,)
    assert scored(probe(own, chain.build(0), ["place"]))["place", "input"].error < 0.02
