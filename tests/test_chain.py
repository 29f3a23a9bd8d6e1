import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from seamwise import Chain, Designed, Estimator, Learned, Outside, categories
from seamwise.borders import check_borders, check_labels, fit_estimator
from seamwise.errors import ChainError

middle, end = categories("middle", 3), categories("end", 3)
BATCH = {"x": torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), "end": torch.arange(8) % 3}


class Shares(nn.Module):
    def __init__(self, n_in=3, n_out=3):
        super().__init__()
        self.layer = nn.Linear(n_in, n_out)

    def forward(self, x):
        return self.layer(x).softmax(-1)


FIRST, LAST = Learned("first", Shares, "x", "shares"), Learned("last", Shares, "middle", end)


def chain(between, kind=Designed):
    """A network, what lies between, and a network: two seams."""
    return Chain([FIRST, kind("between", between, "shares", "middle"), LAST])


def seams(chain_, target=end):
    return {s.field: s for s in chain_.seams(BATCH, target=target)}


def test_gradient_crosses_a_soft_seam():
    found = seams(chain(lambda shares: shares * 2))
    assert list(found) == ["shares", "middle"]
    for seam in found.values():
        assert seam.passes
        assert not seam.hard
        assert seam.gradient > 0
        assert seam.stopped_by == ""
    assert found["shares"].gradient == pytest.approx(2 * found["middle"].gradient, rel=1e-5)
    assert "soft, gradient" in str(found["shares"])


@pytest.mark.parametrize(
    ("operation", "between"),
    [
        ("argmax", lambda s: nn.functional.one_hot(s.argmax(-1), 3).float()),
        ("round", lambda s: s.round()),
        ("detach", lambda s: s.detach() * 2),
        ("numpy", lambda s: torch.from_numpy(s.detach().numpy() * 2)),
        ("gt", lambda s: (s > 0.5).float()),
        ("saturated", lambda s: (s - 100).relu()),
    ],
)
def test_what_stops_gradient_is_named(operation, between):
    found = seams(chain(between))
    assert not found["shares"].passes
    assert operation in found["shares"].stopped_by
    assert found["shares"].gradient == 0


def test_hard_seams_carry_decisions():
    found = seams(chain(lambda s: nn.functional.one_hot(s.argmax(-1), 3).float()))
    assert found["middle"].hard
    assert not found["shares"].hard


def test_estimators_and_outside_stages_stop_gradient():
    outside = seams(chain(lambda shares: shares * 2, Outside))
    assert outside["shares"].stopped_by == "outside between"
    estimator = Chain([FIRST, Estimator("between", LogisticRegression, "shares", middle), LAST])
    net = estimator.build(0)
    fit_estimator(net, estimator.stages[1], BATCH, BATCH["end"])
    found = {s.field: s for s in estimator.seams(BATCH, net, end)}
    assert found["shares"].stopped_by == "estimator between"
    assert not found["middle"].passes
    assert found["middle"].stopped_by == "estimator between"


def test_seams_leave_the_networks_as_they_were():
    tested = chain(lambda s: s)
    net = tested.build(0)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tested.seams(BATCH, net, end)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_a_chain_in_the_wrong_order_or_with_clashes_is_refused():
    a, b = Designed("a", torch.relu, "x", "y"), Designed("b", torch.relu, "y", "z")
    with pytest.raises(ChainError, match="'b' reads 'y' before stage 'a' writes it"):
        Chain([b, a])
    with pytest.raises(ChainError, match="'a' and 'c' both write 'y'"):
        Chain([a, Designed("c", torch.relu, "x", "y")])
    with pytest.raises(ChainError, match="'a' is used twice"):
        Chain([a, Designed("a", torch.relu, "x", "z")])
    with pytest.raises(ChainError, match="'values' is taken by torch"):
        Chain([Designed("values", torch.relu, "x", "y")])
    with pytest.raises(ChainError, match="at least one stage"):
        Chain([])
    assert Chain([a, b]).inputs == ("x",)


def test_a_stage_that_raises_is_named_with_fields_and_shapes():
    net = chain(lambda shares: shares @ torch.ones(5, 5)).build(0)
    with pytest.raises(ChainError) as error:
        net(BATCH)
    for words in (
        "'between' raised RuntimeError",
        "test_chain.py, line",
        "given     shares [8, 3]",
        "make the stage fit",
    ):
        assert words in str(error.value)


def test_a_stage_that_raises_for_a_reason_of_its_own_is_told_so():
    def boom(shares):
        raise RuntimeError("boom")

    with pytest.raises(ChainError, match=r"stage 'between' raised RuntimeError: boom \(.*test_chain.py, line") as error:
        chain(boom).build(0)(BATCH)
    assert "remedy" not in str(error.value)
    with pytest.raises(ChainError, match="'first' reads 'x', which was not given"):
        chain(boom).build(0)({"end": BATCH["end"]})


def test_a_stage_that_returns_too_many_is_named():
    with pytest.raises(ChainError, match=r"'between' returned 2 values\n.*1: middle"):
        chain(lambda shares: (shares, shares)).build(0)(BATCH)


def test_what_is_given_is_not_written_and_its_stage_is_skipped():
    calls = []
    tested = chain(lambda shares: calls.append(1) or shares)
    net = tested.build(0)
    gold = torch.eye(3)[BATCH["end"]]
    written = net({"x": BATCH["x"], "middle": gold})
    assert not calls
    assert torch.equal(written["middle"], gold)
    assert torch.equal(written["end"], net.nets["last"](gold))


def test_pins_replace_what_a_stage_wrote_for_some_items():
    net = chain(lambda shares: shares).build(0)
    gold, here = torch.eye(3)[BATCH["end"]], torch.arange(8) < 3
    given = {"x": BATCH["x"]}
    plain, pinned = net(given), net(given, {"middle": (gold, here)})
    assert torch.equal(pinned["middle"][:3], gold[:3])
    assert torch.equal(pinned["middle"][3:], plain["middle"][3:])
    assert torch.equal(pinned["end"][3:], plain["end"][3:])
    assert not torch.equal(pinned["end"][:3], plain["end"][:3])
    with pytest.raises(ChainError, match="gold and written differ in shape"):
        net(given, {"middle": (gold[:, :2], here)})


def test_a_part_shares_the_networks_and_a_frozen_stage_stays_in_evaluation_mode():
    weights = Shares().state_dict()
    frozen = Chain(
        [Learned("first", Shares, "x", "shares", weights=weights, frozen=True), Learned("last", Shares, "shares", end)]
    )
    net = frozen.build(0).train()
    assert not net.nets["first"].training
    assert net.nets["last"].training
    assert net.part(["last"]).nets["last"] is net.nets["last"]
    assert frozen.learned == ("last",)
    assert frozen.constant == ("first",)


def test_constant_stages_read_nothing_that_learns():
    tested = Chain(
        [
            Designed("early", torch.relu, "x", "a"),
            Learned("first", Shares, "a", "b"),
            Designed("late", torch.relu, "b", "c"),
            Outside("aside", np.abs, "a", "d"),
        ]
    )
    assert tested.constant == ("early", "aside")


def borders(between, gold):
    tested = chain(between)
    check_borders(tested.build(0), {"x": BATCH["x"]}, gold, {"end": end})


def test_borders_are_checked_against_the_labels():
    borders(lambda s: s, {"end": BATCH["end"]})
    with pytest.raises(
        ChainError, match=r"'last' writes 'end' of another shape than its labels\n.*\[8, 3\]\n.*\[8, 2, 3\]"
    ):
        borders(lambda s: s, {"end": torch.zeros(8, 2, dtype=torch.long)})
    with pytest.raises(ChainError, match=r"'between' writes 'middle' of shape \[4, 3\]\n.*\[8, ...\]"):
        borders(lambda s: s[:4], {"end": BATCH["end"]})
    with pytest.raises(ChainError, match=r"'last' raised TypeError.*\n.*middle \(list\)"):
        borders(lambda s: s.tolist(), {"end": BATCH["end"]})
    with pytest.raises(ChainError, match="labels do not suit the target 'end'"):
        borders(lambda s: s, {"end": BATCH["end"].float()})


def test_labels_that_are_no_category_are_told():
    with pytest.raises(ChainError, match=r"2 labels of 'end' are no category\n.*-1\n.*0 to 2\n.*mask"):
        check_labels(end, torch.tensor([0, -1, 2, 3]))


def test_a_seam_of_one_number_an_item_is_measured():
    twice = Designed("twice", lambda x: 2 * x, "x", "y")
    end = Designed("end", lambda y: y + 1, "y", "z")
    first = Learned("first", lambda: nn.Flatten(0), "given", "x")
    (seam, other) = Chain([first, twice, end]).seams({"given": torch.ones(4, 1)})
    assert (seam.field, other.field) == ("x", "y")
    assert other.passes
