"""What each stage costs: chains whose numbers are known in closed form, and slow ways to the same numbers."""

from itertools import permutations

import cloudpickle
import jaxtyping
import numpy as np
import pytest
import torch
from tiny import answer, both, colour, hard, join, judge, look, make_supply, make_task, shape, tell_name
from torch.nn.functional import one_hot

from seamwise import Chain, Designed, Outside, Supply, Target, Task, categories, numbers
from seamwise.errors import TaskError
from seamwise.evaluate import evaluate, right_and_wrong
from seamwise.fit import item_errors
from seamwise.trial import Trial
from seamwise.worker import Spec, run_trial

N = 90
SPLITS = np.repeat(["train", "validation", "test"], [20, 10, N - 30])
TEST = np.arange(30, N)


def slips(name, share, by, seed):
    """Which items a stage gets wrong, and by how much."""
    rng = np.random.default_rng(seed)
    return {name: np.where(rng.random(N) < share, by, 0)}


def turned(value, slip):
    """The value one_hot, moved on by a slip, modulo 3."""
    return one_hot((value.argmax(-1) + slip) % 3, 3).float()


def begin(x, slip):
    return one_hot((x + slip) % 3, 3).float()


def slipping(oracles=True, answers=answer, **masked):
    """x is the colour, the shape and (mirrored) the answer; two stages slip where the columns say so."""
    x = np.random.default_rng(0).integers(0, 3, N)
    table = {"x": x, "colour": x, "shape": x, "answer": 2 - x, "split": SPLITS}
    table |= slips("slip_a", 0.3, 1, 1) | slips("slip_b", 0.4, 2, 2)
    table |= {f: np.ma.array(table[f], mask=np.isin(np.arange(N), rows)) for f, rows in masked.items()}
    chain = Chain(
        [
            Designed("a", begin, ("x", "slip_a"), colour),
            Designed("b", turned, ("colour", "slip_b"), shape),
            Designed("c", lambda shape: shape.flip(1), "shape", "answer"),
        ]
    )
    perfect = {"a": lambda inputs, gold: one_hot(gold["colour"], 3), "b": lambda inputs, gold: inputs["colour"]}
    return Task("slipping", chain, answers, Supply({"all": table}), oracles=perfect if oracles else None)


def blamed(task):
    return evaluate(task, task.chain_of("chain").build(0), with_blame=True).blame


def the_slips(task):
    fields = task.supply.fields
    return fields["slip_a"][TEST].numpy(), fields["slip_b"][TEST].numpy()


def test_every_number_of_a_chain_whose_slips_are_known():
    task = slipping()
    a, b = the_slips(task)
    both_slips, a, b = ((s % 3 != 0).astype(float) for s in (a + b, a, b))
    assert (a * b).sum() > 2  # where they make each other good
    result = evaluate(task, task.chain_of("chain").build(0), with_blame=True)
    assert np.array_equal(result.errors, both_slips)
    nothing = np.zeros(len(TEST))
    expected = {
        "pinned.colour": b,
        "pinned.shape": nothing,
        "alone.colour": b,
        "alone.shape": nothing,
        "gold.colour": a,
        "gold.shape": b,
        "gold.answer": nothing,
        "wrong.colour": a,
        "wrong.shape": b,
        "wrong.answer": nothing,
        "perfect.a": ((both_slips - b) + (a - nothing)) / 2,
        "perfect.b": ((both_slips - a) + (b - nothing)) / 2,
    }
    assert result.blame.keys() == expected.keys()
    for name, values in expected.items():
        assert result.blame[name].dtype == np.float32
        assert np.array_equal(result.blame[name], values.astype(np.float32)), name
    # the ingredients of compounding: a third slips, .4 slips, and where both do the answer is right again
    e = [result.blame[f"wrong.{f}"].mean() for f in ("colour", "shape", "answer")]
    kappa = result.error / (1 - np.prod([1 - rate for rate in e]))
    assert kappa == pytest.approx(both_slips.mean() / (1 - (1 - a.mean()) * (1 - b.mean())))
    assert kappa < 1


def test_items_without_gold_are_nan():
    masked = {"colour": TEST[:20], "shape": TEST[10:30]}
    task = slipping(**masked)
    a, b = (np.where(s % 3 != 0, 1.0, 0.0) for s in the_slips(task))
    no_colour, no_shape = np.arange(60) < 20, (np.arange(60) >= 10) & (np.arange(60) < 30)
    lacks = {
        "gold.colour": no_colour,
        "gold.shape": no_colour | no_shape,
        "gold.answer": no_colour | no_shape,
        "pinned.colour": no_colour | no_shape,
        "pinned.shape": no_colour | no_shape,
        "alone.colour": no_colour,
        "alone.shape": no_shape,
        "perfect.a": no_colour | no_shape,
        "wrong.shape": no_colour | no_shape,
    }
    found = blamed(task)
    for name, rows in lacks.items():
        assert np.array_equal(np.isnan(found[name]), rows), name
    assert np.array_equal(found["pinned.colour"][30:], b[30:])
    assert np.array_equal(found["gold.colour"][20:], a[20:])


def test_a_field_that_no_test_item_has_gold_of_ends_the_pins():
    found = blamed(slipping(colour=TEST))
    assert found.keys() == {"alone.shape"}
    found = blamed(slipping(shape=TEST))
    assert found.keys() == {"gold.colour", "wrong.colour", "alone.colour"}


def test_pins_are_the_same_as_giving_gold_by_hand():
    task = make_task()
    net = task.chain_of("chain").build(3)
    found = evaluate(task, net, with_blame=True).blame
    rows = task.supply.rows("test")
    given, labels = task.supply.take(["x", "tone"], rows), task.supply.take(["colour", "shape", "answer"], rows)
    gold = {"colour": colour.gold(labels["colour"]), "shape": shape.gold(labels["shape"])}

    def error(**pins):
        return item_errors(answer, net(given | pins)["answer"].detach(), labels["answer"]).numpy()

    assert np.array_equal(found["pinned.colour"], error(colour=gold["colour"]))
    assert np.array_equal(found["pinned.shape"], error(**gold))
    assert np.array_equal(found["alone.shape"], error(shape=gold["shape"]))
    assert 0 < found["pinned.colour"].mean() < 1
    assert found["pinned.shape"].sum() == 0


def test_what_a_stage_writes_beside_gold_it_still_writes():
    """Two outputs, one of them with labels; and two labelled fields of one stage, pinned one after the other."""

    def first(x, tone):
        return x[:, :3].softmax(-1), 1 - tone

    def second(colour, other):
        return join(colour, other)[:, 2:], one_hot(1 - other, 2).float()

    two = categories("tone_again", 2)
    stages = [
        Designed("first", first, ("x", "tone"), (colour, "other")),
        Designed("second", second, ("colour", "other"), (shape, two)),
        Designed("third", lambda s, t: s.flip(1) + t[:, :1], ("shape", "tone_again"), "answer"),
    ]
    supply = make_supply()
    supply.fields["tone_again"], supply.present["tone_again"] = supply.fields["tone"], supply.present["shape"].clone()
    task = make_task(stages, supply=supply, direct=None)
    net = task.chain_of("chain").build(0)
    found = evaluate(task, net, with_blame=True).blame
    rows = supply.rows("test")
    given, labels = supply.take(["x", "tone"], rows), supply.take(["colour", "shape", "tone_again", "answer"], rows)
    pins: dict = {}
    assert [k for k in found if k.startswith("pinned")] == ["pinned.colour", "pinned.shape", "pinned.tone_again"]
    for target in (colour, shape, two):
        on_gold = net(given | {k: v for k, v in pins.items() if k != "shape"})
        own = item_errors(target, on_gold[target.field], labels[target.field]).numpy()
        assert np.array_equal(found[f"gold.{target.field}"], own)
        pins |= {target.field: target.gold(labels[target.field])}
        slow = item_errors(answer, net(given | pins)["answer"], labels["answer"]).numpy()
        assert np.array_equal(found[f"pinned.{target.field}"], slow)


def test_an_item_is_wrong_where_any_of_its_parts_is():
    pair = categories("pair", 3)
    label = np.random.default_rng(1).integers(0, 3, (N, 2))
    table = {"x": np.stack([label[:, 0], (label[:, 1] + (np.arange(N) % 4 == 0)) % 3], 1), "pair": label}
    table |= {"answer": label.sum(1) % 3, "split": SPLITS}
    chain = Chain(
        [
            Designed("a", lambda x: one_hot(x, 3).float(), "x", pair),
            Designed("b", lambda pair: one_hot(pair.argmax(-1).sum(1) % 3, 3).float(), "pair", "answer"),
        ]
    )
    found = blamed(Task("pairs", chain, answer, Supply({"all": table})))
    assert set(found["gold.pair"]) == {0, 0.5}
    assert np.array_equal(found["wrong.pair"], TEST % 4 == 0)


def test_errors_that_are_no_rates_of_wrong_items_say_nothing_of_wrong():
    smooth = Target("shape", shape.loss, lambda w, y: 1 - w.gather(1, y[:, None])[:, 0], shape.gold)
    task = make_task([look, both, type(judge)("judge", judge.work, "both", smooth), tell_name])
    found = blamed(task)
    assert "gold.shape" in found
    assert [k for k in found if k.startswith("wrong")] == ["wrong.colour", "wrong.answer"]


def test_a_metric_that_looks_at_all_items_sees_them_all():
    counting = Target("answer", answer.loss, lambda w, y: torch.full((len(y),), float(len(y))), answer.gold)
    found = blamed(slipping(answers=counting, colour=TEST[:20]))
    assert set(found["pinned.colour"][20:]) == {len(TEST)}
    assert set(found["alone.shape"]) == {len(TEST)}


def test_perfect_stages_share_the_error_out_as_all_orders_do():
    """Against the mean over all orders in which stages are made perfect; a stage without oracle stays as it is."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 3, N)
    fields = ["f0", "f1", "f2", "f3"]
    table = {"x": x, "answer": x, "split": SPLITS} | dict.fromkeys(fields, x)
    for k in range(4):
        table |= slips(f"slip{k}", 0.3, 1 + k % 2, 10 + k)
    ran = []

    def turn(value, slip):
        ran.append(len(value))
        return turned(value, slip)

    targets = [categories(f, 3) for f in fields]
    stages = [Designed("s0", begin, ("x", "slip0"), targets[0])]
    stages += [Designed(f"s{k}", turn, (f"f{k - 1}", f"slip{k}"), targets[k]) for k in (1, 2, 3)]
    stages += [Designed("end", lambda f: f.clone(), "f3", "answer")]
    oracles = {"s0": lambda inputs, gold: one_hot(gold["f0"], 3).float()}
    oracles |= {f"s{k}": lambda inputs, gold, k=k: inputs[f"f{k - 1}"] for k in (1, 3)}
    task = Task("four", Chain(stages), answer, Supply({"all": table}), oracles=oracles)
    slip = {k: task.supply.fields[f"slip{k}"][TEST].numpy() for k in range(4)}

    def value(perfect):
        return (sum(slip[k] for k in range(4) if k not in perfect) % 3 != 0).astype(float)

    result = evaluate(task, task.chain_of("chain").build(0), with_blame=True)
    orders = list(permutations((0, 1, 3)))
    for player in (0, 1, 3):
        gains = [value(o[: o.index(player)]) - value(o[: o.index(player) + 1]) for o in orders]
        assert result.blame[f"perfect.s{player}"] == pytest.approx(np.mean(gains, axis=0), abs=1e-6)
    shares = [v for k, v in result.blame.items() if k.startswith("perfect.")]
    assert len(shares) == 3
    assert np.sum(shares, axis=0) == pytest.approx(value(()) - value((0, 1, 3)), abs=1e-6)
    # three stages are run for the scores, 3 + 2 + 1 again for pins, 2 + 1 more for alone (its first is the first pin);
    # of 7 subsets 4 end with s3 and run none, 2 end with s1 and run two, one is s0 alone and runs three
    ran.clear()
    evaluate(task, task.chain_of("chain").build(0), with_blame=True)
    assert sum(ran) == len(TEST) * (3 + (3 + 2 + 1) + (2 + 1) + (2 * 2 + 3))


A = np.array([[1.0, 2.0], [0.5, -1.0], [0.0, 3.0]], dtype=np.float32)
W = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]], dtype=np.float32)


def measured(last=lambda area, e2: area @ torch.tensor(W).T + e2, kind=Designed, n_answers=2):
    """Two lengths, measured with error e0; three areas, linear in them, with e1; two volumes, linear again, with e2."""
    rng = np.random.default_rng(5)
    u, e0, e1, e2 = (rng.normal(0, s, (N, n)).astype(np.float32) for s, n in ((2, 2), (0.3, 2), (0.2, 3), (0.1, 2)))
    table = {"u": u, "e0": e0, "e1": e1, "e2": e2, "split": SPLITS}
    gold = {"length": u, "area": u @ A.T, "volume": np.resize(u @ A.T @ W.T, (N, n_answers))}
    chain = Chain(
        [
            Designed("measure", lambda u, e0: u + e0, ("u", "e0"), numbers("length", "mm")),
            Designed("spread", lambda s, e1: s @ torch.tensor(A).T + e1, ("length", "e1"), numbers("area", "mm2")),
            kind("fill", last, ("area", "e2"), "volume"),
        ]
    )
    return Task("measured", chain, numbers("volume", "mm3"), Supply({"all": table | gold})), e0[30:], e1[30:], e2[30:]


def test_spread_is_exact_on_a_linear_chain():
    task, e0, e1, e2 = measured()
    found = blamed(task)
    assert found["spread.length"] == pytest.approx(np.square(e0 @ A.T @ W.T).mean(1), rel=1e-3, abs=1e-5)
    assert found["spread.area"] == pytest.approx(np.square(e1 @ W.T).mean(1), rel=1e-3, abs=1e-5)
    assert found["spread.volume"] == pytest.approx(np.square(e2).mean(1), rel=1e-3, abs=1e-5)
    together = e0 @ A.T @ W.T + e1 @ W.T + e2  # what they come to, with their signs
    assert np.abs(together).mean(1) == pytest.approx(evaluate(task, task.chain_of("chain").build(0)).errors, rel=1e-3)
    assert not any(k.startswith("wrong") for k in found)


def rounded(area, e2):
    return (area @ torch.tensor(W).T).round() + e2


def by_numpy(area, e2):
    return torch.from_numpy(area.numpy() @ W.T) + e2


@pytest.mark.parametrize(
    "task",
    [
        measured(rounded)[0],
        measured(by_numpy)[0],
        measured(lambda area, e2: area.detach() @ torch.tensor(W).T + e2)[0],
        measured(lambda area, e2: area @ W.T + e2, Outside)[0],
    ],
    ids=["round", "numpy", "detach", "outside"],
)
def test_spread_ends_where_no_gradient_comes_from_the_answer(task):
    assert [k for k in blamed(task) if k.startswith("spread")] == ["spread.volume"]


def test_there_is_no_spread_of_many_components_or_of_categories():
    wide, *_ = measured(lambda area, e2: (area @ torch.tensor(W).T + e2).repeat(1, 9), n_answers=18)
    assert not any(k.startswith("spread") for k in blamed(wide))
    assert not any(k.startswith("spread") for k in blamed(make_task()))


@pytest.fixture
def untyped(monkeypatch):
    """As users run it: the tests' own check of types is off."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize(
    ("oracles", "told"),
    [
        ({"looks": lambda i, g: 0}, ("'looks', which is no stage", "look, both, judge, name_it")),
        ({"look": 3}, ("oracle of stage 'look' cannot be called", "int")),
        ([look], ("'oracles' cannot be used", "list")),
        ({"look": lambda i, g: one_hot(g["colour"], 4)}, ("oracle of stage 'look': 'colour'", "[3, 4]", "[3, 3]")),
        ({"look": lambda i, g: 1}, ("oracle of stage 'look': 'colour'", "int")),
        ({"judge": lambda i, g: (1, 2)}, ("oracle of stage 'judge' returned 2 values", "1: shape")),
        ({"look": lambda i, g: i["shape"]}, ("'look' raised KeyError: 'shape'", "inputs x, tone; gold")),
        ({"look": lambda inputs: 1}, ("'look' raised TypeError",)),
    ],
)
def test_an_oracle_that_does_not_fit_is_told_when_the_task_is_built(oracles, told, untyped):
    with pytest.raises(TaskError) as error:
        make_task(oracles=oracles)
    for words in ("task 'tiny'", *told):
        assert words in str(error.value)


def test_more_than_ten_oracles_are_refused():
    stages = [Designed("s0", begin, ("x", "tone"), "f0")]
    stages += [Designed(f"s{k}", torch.clone, f"f{k - 1}", f"f{k}") for k in range(1, 11)]
    chain = [look, both, judge, tell_name, *(s for s in stages if s.name != "s0")]
    chain.insert(4, Designed("s0", torch.clone, "shape", "f0"))
    with pytest.raises(TaskError, match=r"chain: 11 stages have an oracle\n.*at most 10"):
        make_task(chain, oracles={f"s{k}": lambda i, g: one_hot(g["shape"], 3).float() for k in range(11)})


def test_oracles_are_sent_with_the_task_and_change_no_training():
    task = slipping()
    sent = cloudpickle.loads(cloudpickle.dumps(task.without_supply())).with_supply(task.supply)
    assert blamed(sent)["perfect.a"] == pytest.approx(blamed(task)["perfect.a"])
    assert task.signature == slipping(oracles=False).signature
    assert not any(k.startswith("perfect") for k in blamed(slipping(oracles=False)))


def run(tmp_path, task, regime, variant="chain"):
    budget = {f: task.supply.held(f) for f in task.targets(task.chain_of(variant))}
    trial = run_trial(task, Spec("t", variant, regime, budget, 0), tmp_path)
    assert trial.status == "done", trial.message
    with np.load(tmp_path / "predictions" / "t.npz") as file:
        return Trial.model_validate_json(trial.model_dump_json()), dict(file)


def test_a_trial_keeps_its_blame_and_its_seams(tmp_path):
    oracles = {"look": lambda i, g: one_hot(g["colour"], 3).float()}
    trial, kept = run(tmp_path, make_task(oracles=oracles), "tuned")
    assert {k for k in kept if k.split(".")[0] in ("pinned", "alone", "gold", "wrong", "perfect", "spread")} == {
        *(f"{k}.{f}" for k in ("pinned", "alone") for f in ("colour", "shape")),
        *(f"{k}.{f}" for k in ("gold", "wrong") for f in ("colour", "shape", "answer")),
        "perfect.look",
    }
    assert all(len(kept[k]) == len(kept["error"]) for k in kept if k.startswith(("pinned", "perfect")))
    assert kept["gold.shape"].mean() == pytest.approx(trial.stages[1].error_on_gold_input)
    assert [(s.field, s.writer, s.reader) for s in trial.seams] == [
        ("colour", "look", "both"),
        ("both", "both", "judge"),
        ("shape", "judge", "name_it"),
    ]
    assert all(s.passes and s.gradient > 0 and not s.hard for s in trial.seams)


def test_a_direct_network_has_no_stages_to_blame(tmp_path):
    trial, kept = run(tmp_path, make_task(), "direct", "direct")
    assert trial.seams == ()
    assert not any(k.startswith(("pinned", "gold", "wrong")) for k in kept)


def test_a_seam_that_stops_gradient_is_recorded_whatever_trained_the_chain(tmp_path):
    def unfeeling(colour, tone):
        return torch.from_numpy(hard(colour, tone).numpy() if not colour.requires_grad else colour.numpy())

    for name, operation in ((hard, "argmax in both"), (unfeeling, "numpy in both")):
        stages = [look, Designed("both", name, ("colour", "tone"), "both"), judge, tell_name]
        trial, _ = run(tmp_path / operation, make_task(stages), "independent")
        seams = {s.field: s for s in trial.seams}
        assert (seams["both"].passes, seams["both"].stopped_by, seams["both"].hard) == (False, operation, True)
        assert not seams["colour"].passes
        assert seams["shape"].passes
        assert trial.notes == ()  # no label went unused


def test_a_loss_that_fails_is_no_seam_and_no_failure(tmp_path):
    """The answer's loss is not asked for where the answer trains nothing."""
    unasked = Target("answer", lambda w, y: w @ "x", answer.metric, answer.gold)
    trial, _ = run(tmp_path, make_task(answer=unasked, direct=None), "independent")
    assert "the loss of 'answer' raised" in trial.seams[0].stopped_by


def test_twelve_items_are_shown_right_and_wrong():
    errors = np.zeros(200, dtype=np.float32)
    errors[[3, 7, 50, 51, 52, 90, 91, 150]] = 1
    assert sorted(right_and_wrong(errors)) == [0, 1, 2, 3, 4, 5, 6, 7, 50, 51, 52, 90]
    assert errors[right_and_wrong(errors)].tolist() == [0, 1] * 6
    few = np.zeros(200, dtype=np.float32)
    few[[30, 31]] = 1
    assert sorted(right_and_wrong(few)) == [*range(10), 30, 31]
    assert right_and_wrong(1 - few).tolist()[:4] == [30, 0, 31, 1]
    assert sorted(right_and_wrong(np.ones(5, dtype=np.float32))) == [0, 1, 2, 3, 4]
    months = np.random.default_rng(0).exponential(10, 100).astype(np.float32)
    shown = right_and_wrong(months)
    assert len(set(shown)) == 12
    assert (months[shown[0::2]] <= np.median(months)).all()
    assert (months[shown[1::2]] >= np.sort(months)[-10]).all()
    assert list(shown[0::2]) == sorted(shown[0::2])
    assert len(right_and_wrong(np.arange(13, dtype=np.float32))) == 12
    assert len(right_and_wrong(np.full(20, 2.5, dtype=np.float32))) == 12


def test_what_is_shown_can_be_drawn_with_nothing_else(tmp_path):
    supply = make_supply()
    rows = supply.rows("test")
    supply.present["shape"][rows[::2]] = False
    task = make_task(supply=supply)
    trial, kept = run(tmp_path, task, "tuned")
    at = kept["shown"]
    assert len(at) == 12
    assert set(kept["error"][at]) == {0, 1} or trial.error == 0
    for name in ("x", "tone", "colour", "shape", "answer"):
        assert np.array_equal(kept[f"item.{name}"], supply.fields[name][rows[at]].numpy())
    assert np.array_equal(kept["known.shape"], at % 2 == 1)
    assert "known.colour" not in kept
    assert kept["shown.both"].shape == (12, 5)
    assert np.array_equal(kept["shown.answer"].argmax(1) != kept["item.answer"], kept["error"][at])
