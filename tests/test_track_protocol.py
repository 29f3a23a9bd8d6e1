from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise.errors import InputError
from seamwise.shapes import NDArray
from seamwise.systems.track import protocol
from seamwise.systems.track.plots import precision_svg, success_svg
from seamwise.systems.track.protocol import curves, mean_curves, overlaps_after_first, scores

ABSENT = [np.nan] * 4


@dataclass(frozen=True)
class Known:
    name: str
    boxes: NDArray


def known(*boxes, name="a"):
    return Known(name, np.array(boxes, dtype=float))


def boxes(*found):
    return np.array(found, dtype=float)


SQUARE = [10, 10, 10, 10]
HALF = [10, 10, 10, 5]  # overlaps the square by .5, its middle is 2.5 px away
ASIDE = [15, 10, 10, 10]  # by 1/3, 5 px
AWAY = [50, 10, 10, 10]  # by 0, 40 px


def test_curves_by_hand():
    own = curves(boxes(*[SQUARE] * 4), boxes(SQUARE, HALF, ASIDE, AWAY))
    above = [sum(o > t / 20 for o in (1, 0.5, 1 / 3, 0)) / 4 for t in range(21)]
    assert own.success == pytest.approx(above)
    assert above[0] == 0.75  # what does not overlap is above no threshold
    assert above[10] == 0.25  # and .5 not above .5
    assert above[20] == 0
    assert own.auc == pytest.approx(sum(above) / 21)
    near = [sum(e <= t for e in (0, 2.5, 5, 40)) / 4 for t in range(51)]
    assert own.precision == pytest.approx(near)
    assert (near[4], near[5], near[40]) == (0.5, 0.75, 1)
    assert own.precision_20 == 0.75
    relative = [sum(e <= t / 100 + 1e-12 for e in (0, 0.25, 0.5, 4)) / 4 for t in range(51)]
    assert own.norm_precision == pytest.approx(relative)


def test_a_perfect_tracker_has_an_auc_of_20_21():
    truth = boxes(SQUARE, ASIDE)
    told = scores([Known("a", truth)], [truth], [0.1])
    assert told["auc"] == pytest.approx(20 / 21)
    assert (told["precision"], told["norm_precision"], told["ao"], told["sr50"], told["sr75"]) == (1, 1, 1, 1, 1)
    assert told["fps"] == pytest.approx(20)


def test_frames_without_the_object_are_left_out():
    truth = boxes(SQUARE, ABSENT, SQUARE)
    full, without = curves(truth, boxes(SQUARE, AWAY, HALF)), curves(truth[[0, 2]], boxes(SQUARE, HALF))
    assert full.success.tolist() == without.success.tolist()
    assert full.precision.tolist() == without.precision.tolist()
    assert overlaps_after_first(truth, boxes(SQUARE, AWAY, HALF)).tolist() == [0.5]


def test_the_first_frame_is_the_first_with_the_object():
    truth, found = boxes(ABSENT, SQUARE, SQUARE), boxes(ABSENT, SQUARE, ASIDE)
    assert overlaps_after_first(truth, found) == pytest.approx([1 / 3])
    told = scores([Known("a", truth)], [found], [0.5])
    assert told["fps"] == pytest.approx(4)
    assert told["n_frames"] == 2


def test_a_box_that_is_none_overlaps_nothing_and_is_nowhere():
    own = curves(boxes(*[SQUARE] * 3), boxes(ABSENT, [10, 10, 0, 10], [10, 10, -10, -10]))
    assert own.success.sum() == own.precision.sum() == own.norm_precision.sum() == 0


def test_boxes_are_put_into_the_frame_for_average_overlap_alone():
    truth, found = boxes(SQUARE, [90, 0, 20, 10]), boxes(SQUARE, [90, 0, 10, 10])
    assert overlaps_after_first(truth, found) == pytest.approx([0.5])
    assert overlaps_after_first(truth, found, (100, 50)) == pytest.approx([1])
    told = scores([Known("a", truth)], [found], [1.0], sizes=[(100, 50)])
    assert (told["ao"], told["auc"]) == (1, pytest.approx(curves(truth, found).auc))
    outside = overlaps_after_first(boxes(SQUARE, [120, 0, 9, 9]), boxes(SQUARE, [0, 0, 9, 9]), (100, 50))
    assert outside.tolist() == [0]
    before = overlaps_after_first(boxes(SQUARE, [-5, 0, 10, 10]), boxes(SQUARE, [0, 0, 10, 10]), (100, 50))
    assert before.tolist() == [1]  # moved in, not cut


def test_ao_pools_frames_and_auc_does_not():
    one, two = known(*[SQUARE] * 2, name="one"), known(*[SQUARE] * 4, name="two")
    found = [boxes(SQUARE, SQUARE), boxes(SQUARE, HALF, ASIDE, AWAY)]
    told = scores([one, two], found, [1.0, 2.0])
    assert told["ao"] == pytest.approx((1 + 0.5 + 1 / 3 + 0) / 4)
    assert (told["sr50"], told["sr75"]) == (0.25, 0.25)  # a half is not above .5
    rows = told["per_sequence"]
    assert told["auc"] == pytest.approx((rows["one"]["auc"] + rows["two"]["auc"]) / 2)
    assert told["precision"] == pytest.approx((1 + 0.75) / 2)
    assert rows["two"]["ao"] == pytest.approx((0.5 + 1 / 3) / 3)
    assert told["fps"] == pytest.approx((2 / 1 + 4 / 2) / 2)
    assert (told["n_sequences"], told["n_frames"]) == (2, 6)
    for key in ("auc", "precision", "norm_precision", "ao", "sr50", "sr75"):
        assert told[f"{key}_low"] <= told[key] <= told[f"{key}_high"]
        assert told[f"{key}_low"] < told[f"{key}_high"]


def test_one_sequence_has_no_interval_and_one_frame_no_average_overlap():
    told = scores([known(SQUARE)], [boxes(SQUARE)], [0.0])
    assert told["auc"] == pytest.approx(20 / 21)
    assert [told[key] for key in ("auc_low", "auc_high", "ao", "ao_low", "sr50", "fps")] == [None] * 6
    assert told["per_sequence"]["a"]["ao"] is None
    short, long = known(SQUARE, name="short"), known(SQUARE, SQUARE, name="long")
    assert scores([short, long], [boxes(SQUARE), boxes(SQUARE, HALF)], [1.0, 1.0])["ao"] == pytest.approx(0.5)


def test_lost_is_held_against_where_the_object_is():
    truth = boxes(SQUARE, ABSENT, ABSENT, SQUARE, SQUARE, SQUARE, SQUARE)
    lost = np.array([False, True, False, True, False, False, False])
    told = scores([Known("a", truth)], [truth], [1.0], lost=[lost])
    assert (told["lost_when_absent"], told["lost_when_present"]) == (0.5, 0.25)
    before = scores([known(ABSENT, SQUARE, SQUARE)], [boxes(ABSENT, SQUARE, SQUARE)], [1.0], lost=[np.zeros(3, bool)])
    assert before["lost_when_absent"] is before["lost_when_present"] is None
    assert scores([Known("a", truth)], [truth], [1.0])["lost_when_absent"] is None


def test_what_cannot_be_scored_is_named():
    with pytest.raises(InputError, match="no sequence"):
        scores([], [], [])
    with pytest.raises(InputError, match="a: the object is in no frame"):
        scores([known(ABSENT)], [boxes(SQUARE)], [1.0])
    with pytest.raises(InputError, match=r"(?s)a: not a box a frame.*given.*1 boxes.*expected.*2"):
        scores([known(SQUARE, SQUARE)], [boxes(SQUARE)], [1.0])
    with pytest.raises(InputError, match="a: two sequences of this name"):
        scores([known(SQUARE)] * 2, [boxes(SQUARE)] * 2, [1.0] * 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 0.6))
def test_fast_curves_are_the_obvious_ones(seed, n, absent):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([rng.uniform(0, 40, (n, 2)), rng.uniform(5, 40, (n, 2))], 1)
    found = truth + rng.normal(0, 6, truth.shape)
    found[rng.random(n) < 0.2] = np.nan
    truth[1:][rng.random(n - 1) < absent] = np.nan
    success, precision = np.zeros(21), np.zeros(51)
    there = [(t, f) for t, f in zip(truth, found, strict=True) if not np.isnan(t).any()]
    for (x, y, w, h), (u, v, s, r) in there:
        if np.isnan(u) or s <= 0 or r <= 0:
            continue
        shared = max(0, min(x + w, u + s) - max(x, u)) * max(0, min(y + h, v + r) - max(y, v))
        success += shared / (w * h + s * r - shared) > np.linspace(0, 1, 21)
        precision += np.hypot(x + w / 2 - u - s / 2, y + h / 2 - v - r / 2) <= np.arange(51)
    own = curves(truth, found)
    assert own.success == pytest.approx(success / len(there))
    assert own.precision == pytest.approx(precision / len(there))


def test_intervals_hold_a_share_of_the_draws():
    rng = np.random.default_rng(0)
    truth = [known(*[SQUARE] * 5, name=str(k)) for k in range(30)]
    found = [np.where(rng.random((5, 1)) < rng.random(), boxes(SQUARE), boxes(AWAY)) for _ in truth]
    told = scores(truth, found, [1.0] * 30)
    each = np.array([row["auc"] for row in told["per_sequence"].values()])
    expected = 1.645 * each.std() / np.sqrt(len(each))
    assert told["auc_high"] - told["auc"] == pytest.approx(expected, rel=0.2)
    assert told["auc"] - told["auc_low"] == pytest.approx(expected, rel=0.2)


def test_plots_name_each_tracker_with_its_figure_the_best_first():
    good, bad = curves(boxes(SQUARE, SQUARE), boxes(SQUARE, HALF)), curves(boxes(SQUARE, SQUARE), boxes(SQUARE, AWAY))
    drawn = success_svg({"bad": bad, "good & quick": good})
    assert drawn.startswith("<svg")
    assert f"good &amp; quick [{good.auc:.3f}]" in drawn
    assert drawn.index("good &amp; quick [") < drawn.index("bad [")
    assert "[0.500]" in precision_svg({"bad": bad})
    assert success_svg({f"t{k}": good for k in range(12)}).count(f"[{good.auc:.3f}]") >= 12
    with pytest.raises(InputError, match="no curve"):
        precision_svg({})


def test_mean_curves_are_means_over_sequences():
    two = [curves(boxes(SQUARE), boxes(SQUARE)), curves(boxes(*[SQUARE] * 3), boxes(*[AWAY] * 3))]
    mean = mean_curves(two)
    assert mean.auc == pytest.approx(10 / 21)
    assert mean.precision.tolist() == ((two[0].precision + two[1].precision) / 2).tolist()
    assert protocol.QUOTED_PX == 20
