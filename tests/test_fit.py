import itertools
from dataclasses import replace

import jaxtyping
import pytest
import torch
from tiny import FIT, Look, colour, draw_world, look

from seamwise import Chain, Designed, Fit, Learned, categories
from seamwise.errors import TaskError, TrainingError
from seamwise.fit import Attempt, Average, Examples, Objective, Term, fit, lengths_in, score, shuffled
from seamwise.metrics import Target
from seamwise.stopping import Look as Seen
from seamwise.stopping import Stopping

CHAIN = Chain([look])


def examples(n, seed, known=None):
    world = draw_world(n, seed)
    known = torch.ones(n, dtype=torch.bool) if known is None else known
    inputs = {"x": torch.from_numpy(world["x"])}
    return Examples(inputs, {"colour": torch.from_numpy(world["colour"])}, {"colour": known})


TRAIN, HELD = examples(64, 0), examples(40, 1)


def run(target=colour, chain=CHAIN, settings=FIT, seed=0, train=TRAIN, **kwargs):
    return fit(Attempt(lambda: chain.build(seed), train, HELD, [Term(target)], target, settings, seed, **kwargs))


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    one = run()
    torch.randn(7)
    two = run()
    assert all(torch.equal(one.weights[k], two.weights[k]) for k in one.weights)
    assert (one.error, one.loss, one.history) == (two.error, two.loss, two.history)
    assert one.history != run(seed=1).history


def test_what_is_kept_has_the_score_that_is_told():
    fitted = run()
    net = CHAIN.build(5)
    net.load_state_dict(fitted.weights)
    assert score(net, HELD, colour) == (fitted.error, fitted.loss)
    assert fitted.error == min(error for _, _, error in fitted.history) < 0.2


def test_it_stops_at_the_wanted_score():
    fitted = run(stop_at=0.5)
    assert fitted.stopped == "reached"
    assert fitted.error <= 0.5
    assert fitted.n_steps == fitted.history[-1][0] < FIT.max_steps


def test_it_stops_when_converged_or_at_the_last_step():
    long = replace(FIT, max_steps=5000)
    converged = run(settings=long)
    assert converged.stopped == "converged"
    assert FIT.min_steps + FIT.patience <= converged.n_steps < 5000
    short = run(settings=replace(FIT, max_steps=30))
    assert (short.stopped, short.n_steps) == ("max_steps", 30)
    assert [step for step, _, _ in short.history] == [20, 30]


def test_it_does_not_stop_on_the_first_plateau():
    settings = replace(FIT, min_steps=10, patience=10, max_steps=1000)
    stopping = Stopping(Seen(0, 0.9, 2.0), settings, trivial=0.9)
    for step in range(20, 900, 20):
        stopping.look(Seen(step, 0.9, 2.0), training_loss=2.0)
        assert stopping.why == ""
    stopping.look(Seen(900, 0.5, 1.0), training_loss=1.0)
    assert stopping.why == ""
    for step in range(920, 1000, 20):
        stopping.look(Seen(step, 0.6, 1.0), training_loss=1.0)
    assert stopping.why == ""
    stopping.look(Seen(1000, 0.6, 1.0), training_loss=1.0)
    assert stopping.why == "max_steps"
    assert stopping.best.step == 900


def test_every_rate_is_tried_and_the_best_is_kept():
    fitted = run(settings=replace(FIT, rates=(1e-5, 3e-2), min_steps=60))
    assert fitted.rate == 3e-2
    assert fitted.n_steps == 120


def nan_loss(written, labels):
    return (written.sum(1) * float("nan")).mean()


def test_a_loss_that_is_not_a_number_is_told_with_field_and_rate():
    with pytest.raises(TrainingError) as error:
        run(replace(colour, loss=nan_loss))
    for words in ("'colour'", "0.03", "nan", "check the loss"):
        assert words in str(error.value)


def test_a_rate_that_diverges_does_not_spoil_the_others():
    calls = itertools.count()

    def once(written, labels):
        return nan_loss(written, labels) if 0 < next(calls) < 20 else colour.loss(written, labels)

    fitted = run(replace(colour, loss=once), settings=replace(FIT, rates=(1e-2, 3e-2)))
    assert fitted.rate == 3e-2


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (lambda w, y: torch.full((len(y),), float("nan")), "40 not finite"),
        (lambda w, y: colour.metric(w, y).mean(), "shape []"),
    ],
)
def test_a_metric_that_is_not_one_number_an_item_is_told(metric, told):
    with pytest.raises(TrainingError) as error:
        run(replace(colour, metric=metric))
    assert "the metric of 'colour'" in str(error.value)
    assert told in str(error.value)


def test_nothing_to_train_on_is_told():
    with pytest.raises(TrainingError, match="no training item has a label of 'colour'"):
        run(train=TRAIN[:0])


def test_losses_over_some_labels_equal_the_plain_loss_over_those_items():
    """The masked path, against the simple one."""
    known = torch.rand(64, generator=torch.Generator().manual_seed(0)) < 0.5
    some = examples(64, 0, known)
    net = CHAIN.build(0)
    rows = torch.arange(40)
    masked = Objective([Term(colour, 2.0)], some)(net, rows)
    here = rows[known[:40]]
    plain = 2 * colour.loss(net({"x": some.inputs["x"][here]})["colour"], some.labels["colour"][here]).mean()
    assert masked.item() == pytest.approx(plain.item(), rel=1e-6)
    gradients = [torch.autograd.grad(loss, list(net.parameters())) for loss in (masked, plain)]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)
    assert Objective([Term(colour)], examples(64, 0, torch.zeros(64, dtype=torch.bool)))(net, rows) is None


def test_labels_that_are_not_known_change_nothing():
    known = torch.arange(64) % 2 == 0
    one, two = examples(64, 0, known), examples(64, 0, known)
    two.labels["colour"][~known] = 0
    assert run(train=one).history == run(train=two).history


def test_terms_add_up_by_weight():
    net = Chain([look, Designed("again", lambda c: c, "colour", categories("twin", 3))]).build(0)
    twin = categories("twin", 3)
    train = Examples(
        TRAIN.inputs, TRAIN.labels | {"twin": TRAIN.labels["colour"]}, TRAIN.known | {"twin": TRAIN.known["colour"]}
    )
    rows = torch.arange(64)
    both = Objective([Term(colour), Term(twin, 0.5)], train)(net, rows)
    assert both.item() == pytest.approx(1.5 * Objective([Term(colour)], train)(net, rows).item())


@pytest.mark.parametrize(("n", "size"), [(12, 4), (13, 4), (3, 8)])
def test_a_pass_covers_the_rows_once_in_a_new_order(n, size):
    steps = shuffled(n, size, seed=0)
    a_pass = n // min(n, size)
    passes = [torch.cat([rows for _, rows in itertools.islice(steps, a_pass)]).tolist() for _ in range(20)]
    for rows in passes:
        assert len(set(rows)) == len(rows) == a_pass * min(n, size)
    assert set(itertools.chain(*passes)) == set(range(n))
    assert n == 3 or passes[0] != passes[1]
    assert next(steps)[0] == 20 * a_pass + 1


def test_the_rows_may_grow_with_the_steps():
    steps = shuffled(12, 4, 0, lambda step: 4 if step < 6 else 12)
    rows = [rows.tolist() for _, rows in itertools.islice(steps, 9)]
    assert all(set(r) == set(rows[0]) for r in rows[:6])
    assert set(rows[0]) != set(range(4))  # not simply the first of the table
    assert set(itertools.chain(*rows[6:])) == set(range(12))


class Stuck(Look):
    def forward(self, x):
        return super().forward(x) * 0 + 1 / 3


@pytest.mark.parametrize(("start_small", "n_tries"), [(0, 1), (16, 2), (64, 1)])
def test_a_training_that_never_leaves_its_plateau_starts_once_more_with_few_examples(start_small, n_tries):
    chain = Chain([Learned("look", Stuck, "x", colour)])
    fitted = run(chain=chain, settings=replace(FIT, start_small=start_small, patience=10), trivial=0.6)
    assert not fitted.off_plateau
    assert fitted.n_steps == n_tries * FIT.max_steps
    assert run(trivial=0.6, settings=replace(FIT, start_small=16, max_steps=50)).n_steps <= 50


def test_the_average_of_the_weights_is_what_its_formula_says():
    net = CHAIN.build(0)
    average = Average(net, 0.9)
    expected = net.nets["look"].layer.weight.detach().clone()
    for n in range(30):
        with torch.no_grad():
            net.nets["look"].layer.weight += 1
        share = min(0.9, (1 + n) / (10 + n))
        expected = share * expected + (1 - share) * net.nets["look"].layer.weight.detach()
        average.update()
    torch.testing.assert_close(average.net().nets["look"].layer.weight.detach(), expected)
    assert not torch.equal(average.net().nets["look"].layer.weight, net.nets["look"].layer.weight)


class Normed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.look = torch.nn.BatchNorm1d(4), Look()

    def forward(self, x):
        return self.look(self.norm(x))


def test_frozen_stages_stay_as_they_are_and_buffers_are_kept():
    start = Look().state_dict()
    chain = Chain(
        [
            Learned("first", Look, "x", "shares", weights=start, frozen=True),
            Learned("second", lambda: Look(3), "shares", colour),
        ]
    )
    fitted = run(chain=chain)
    assert all(torch.equal(fitted.weights[f"nets.first.{k}"], v) for k, v in start.items())
    normed = run(chain=Chain([Learned("look", Normed, "x", colour)]))
    assert normed.weights["nets.look.norm.running_mean"].abs().sum() > 0


def test_a_target_with_a_loss_a_target_is_compared_by_that_loss():
    """A loss may return its mean or one number an item."""
    mean = Target("colour", lambda w, y: colour.loss(w, y).mean(), colour.metric, colour.gold)
    assert run(mean).history == run().history


def test_a_loss_or_metric_that_raises_is_named():
    def fails(written, labels):
        raise KeyError("mine")

    with pytest.raises(TrainingError, match=r"the loss of 'colour' raised KeyError: 'mine' \(.*test_fit.py, line"):
        run(Target("colour", fails, colour.metric, colour.gold))
    with pytest.raises(TrainingError, match="the metric of 'colour' raised KeyError: 'mine'"):
        run(Target("colour", colour.loss, fails, colour.gold))


@pytest.fixture
def untyped(monkeypatch):
    """As users run it: the tests' own check of types is off."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("rates", v) for v in (1e-3, (), [], (0.0,), (1e-3, float("nan")), (float("inf"),), ("fast",), "fast")),
        *((name, v) for name in ("batch", "max_steps", "eval_every", "n_devices", "patience") for v in (0, 1.5, True)),
        *((name, v) for name in ("min_steps", "warmup", "start_small") for v in (-1, 0.5, "1")),
        ("n_folds", 1),
        ("n_folds", 2.5),
        ("average", 1.0),
        ("average", "a"),
        ("clip", 0),
        ("clip", None),
        ("weight_decay", -1),
        ("stage_weight", float("nan")),
        ("accelerator", "gpus"),
        ("precision", 32),
    ],
)
def test_a_setting_that_cannot_be_is_named(setting, value, untyped):
    with pytest.raises(TaskError, match=rf"fit setting '{setting}' cannot be .*\n  expected"):
        Fit(**{setting: value})


def test_rates_may_be_a_list_and_a_bare_one_is_told_how_to_write(untyped):
    assert Fit(rates=[1e-3, 3e-3]) == Fit(rates=(1e-3, 3e-3))
    with pytest.raises(TaskError, match=r"rates=\(1e-3,\)"):
        Fit(rates=1e-3)


def test_batches_of_items_about_as_long_leave_nobody_out():
    lengths = torch.arange(100) % 37
    steps = shuffled(100, 32, 0, None, lengths)
    seen = torch.zeros(100)
    for _, (_, rows) in zip(range(60), steps, strict=False):
        assert len(rows) == 32
        assert len(rows.unique()) == 32
        seen[rows] += 1
    assert int(seen.min()) > 10
    lengths = torch.arange(960) % 37
    steps = shuffled(960, 32, 0, None, lengths)
    apart = [float(lengths[rows].float().std()) for _, (_, rows) in zip(range(9), steps, strict=False)]
    assert max(apart) < float(lengths.float().std()) / 2


def test_few_items_are_one_batch_whatever_their_length():
    _, rows = next(shuffled(5, 32, 0, None, torch.arange(5)))
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]


def test_lengths_are_of_what_is_not_filled_up():
    codes = torch.tensor([[3, 4, 0, 0], [1, 0, 2, 5]])
    assert lengths_in({"codes": codes}, "codes").tolist() == [2, 3]
    assert lengths_in({"codes": codes[..., None]}, "codes").tolist() == [2, 3]
    assert lengths_in({"codes": codes}, "others") is None
