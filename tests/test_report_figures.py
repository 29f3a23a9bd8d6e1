"""The report's figures: the data they draw, and what becomes of them."""

import base64
import shutil
from itertools import pairwise

import cv2
import numpy as np
import pytest
from reported import around, draw, drawing, fake_run, no_advice, outlook, page_of, rich_advice, stage_costs, way

from seamwise.advice import numbers, records
from seamwise.maps import read_map
from seamwise.report import curves_png, curves_svg, falls, figures, heat, likely, scatter, words
from seamwise.report.curves import curve_charts, curve_records, highest
from seamwise.report.pictures import MOST_BYTES, WIDEST_PX, data_url, examples
from seamwise.report.sections import Told, sections
from seamwise.report.words import Measure
from seamwise.runs import open_run

MEASURE = Measure(0.9, "share wrong")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three budgets, two seeds, a chain and two direct networks; one trial did not train; a map of two values."""

    def change(trial):
        hollow = (trial.regime, trial.budget["sum"], trial.seed) == ("endtoend", 100, 1)
        return {"untrained": "error .9"} if hollow else {}

    run = tmp_path_factory.mktemp("runs") / "plain"
    found = fake_run(run, directs=("direct", "larger"), change=change)
    for value in (4, 16):
        fake_run(run / "map" / f"clutter={value}", directs=("other",), budgets=(100, 400), halve=False)
    return found


@pytest.fixture(scope="module")
def advice(study):
    return rich_advice(study)


def every_dict(value):
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from every_dict(inner)


def test_charts_hold_every_number_of_the_table(study):
    specs = {v: figures.plain(chart) for v, chart in curve_charts(study, curve_records(study)).items()}
    drawn = [v for v in every_dict(specs) if "mean" in v]
    assert list(specs) == ["chain"]
    assert {(d["variant"], d["regime"], d["n"], d["mean"]) for d in drawn} == {
        (*row, n, cell.mean) for row, cells in study.table().items() for n, cell in cells.items()
    }
    assert [d["hollow"] for d in drawn if (d["regime"], d["n"]) == ("endtoend", 100)] == [True]


def test_forecasts_begin_beyond_what_was_measured(study, advice):
    found = curve_records(study, advice)
    measured = [r for r in found if r["part"] == "measured"]
    ahead = [r for r in found if r["part"] == "forecast"]
    assert {(r["variant"], r["regime"], r["n"], r["mean"]) for r in measured} == {
        (*row, n, cell.mean) for row, cells in study.table().items() for n, cell in cells.items()
    }
    assert {r["n"] for r in ahead} == {800, 1600, 3200, 6400}
    told = {(o.way.variant, o.way.regime, o.n): o.error.mean for o in advice.p_best}
    assert all(r["mean"] == told[r["variant"], r["regime"], r["n"]] for r in ahead)


def test_forecasts_that_abstain_are_not_drawn(study, advice):
    ahead = [r for r in curve_records(study, advice) if r["part"] == "forecast"]
    assert {r["regime"] for r in ahead} == {"independent", "tuned", "endtoend"}


def test_a_forecast_begins_where_its_curve_ends(study, advice):
    chart = figures.plain(curve_charts(study, curve_records(study, advice))["chain"])
    joints = [d for d in every_dict(chart) if d.get("part") == "joint"]
    last = {row: cells[400].mean for row, cells in study.table().items()}
    assert {(d["variant"], d["regime"]): d["mean"] for d in joints} == {
        row: mean for row, mean in last.items() if row[1] != "direct"
    }


def test_a_wide_forecast_does_not_flatten_the_curves(study, advice):
    wide = [o.model_copy(update={"error": around(5, 4)}) if not o.measured else o for o in advice.p_best]
    found = curve_records(study, advice.model_copy(update={"p_best": tuple(wide)}))
    assert highest(study, found) == highest(study, curve_records(study))


def test_a_regime_keeps_its_colour(study, tmp_path):
    fewer = fake_run(tmp_path / "run", change=lambda t: {} if t.regime in ("tuned", "direct") else None)
    assert figures.styles(fewer.rows).items() <= figures.styles(study.rows).items()


def test_direct_networks_are_in_every_panel(tmp_path):
    study = fake_run(tmp_path / "run", chains=("found", "given"))
    assert numbers.panels(study.rows) == {
        v: [(v, "independent"), (v, "tuned"), (v, "endtoend"), ("direct", "direct")] for v in ("found", "given")
    }
    assert {"curves-0", "curves-1"} <= set(page_of(study).ids())


def test_probabilities_are_bands_that_fill_the_figure(study, advice):
    found = likely.likely_records(study, advice)["chain"]
    for n in advice.at:
        at = sorted((r for r in found if r["n"] == n), key=lambda r: r["low"])
        assert at[0]["low"] == 0
        assert at[-1]["high"] == pytest.approx(1)
        assert all(a["high"] == b["low"] for a, b in pairwise(at))
        assert {r["part"] for r in at} == ({"measured"} if n <= 400 else {"forecast", "doubtful"})


def test_probabilities_of_variants_fill_the_figure_together(tmp_path):
    study = fake_run(tmp_path / "run", chains=("found", "given"), directs=())
    found = likely.likely_records(study, rich_advice(study))
    assert list(found) == ["found", "given"]
    for n in study.record.budgets:
        assert sum(r["p"] for own in found.values() for r in own if r["n"] == n) == pytest.approx(1)


def test_probabilities_end_where_most_forecasts_abstain(study, advice):
    rows = study.rows
    doubtful = [
        outlook(study, row, n, "it is a plateau").model_copy(update={"abstained": "" if n < 1600 else "a plateau"})
        for n in advice.at
        for row in rows
    ]
    found = likely.likely_records(study, advice.model_copy(update={"p_best": tuple(doubtful)}))["chain"]
    assert {r["n"] for r in found} == {100, 200, 400, 800}


def test_probabilities_at_one_budget_are_bars(tmp_path):
    study = fake_run(tmp_path / "run", budgets=(100,))
    rows = tuple(outlook(study, row, 100, "") for row in study.rows)
    advice = no_advice(study, at=(100,), p_best=rows)
    chart = likely.likely_charts(study, likely.likely_records(study, advice))["chain"]
    assert {d["type"] for d in every_dict(figures.plain(chart)) if isinstance(d.get("type"), str)} & {"bar"}


def chained(study, row, rest=0.2):
    return records.Chained(way=way(study, row), error=around(0.5, 0.1), rest=rest and around(rest, 0.05))


def stage(study, row, name, fall, refused=""):
    told = {"way": way(study, row), "stage": name, "field": name, "unit": "", "trivial": 0.9, "own": around(0.1, 0.05)}
    return records.StageCost(**told, pinned=None if fall is None else around(fall, 0.02), refused=refused)


def test_waterfall_steps_add_up_to_the_chains_error(study):
    row = study.rows[0]
    costs = [stage(study, row, "find", 0.25), stage(study, row, "cut", -0.05), stage(study, row, "read", 0.1)]
    found = falls.steps(chained(study, row), costs, MEASURE)
    assert [s.kind for s in found] == ["whole", "fall", "rise", "fall", "rest"]
    assert found[0].end == 0.5
    falls_ = [s.start - s.end for s in found[1:-1]]
    assert sum(falls_) + found[-1].end == pytest.approx(found[0].end)
    assert all(a.end == pytest.approx(b.start) for a, b in pairwise(found[:-1]))
    assert all(s.low <= s.end <= s.high for s in found)
    assert [s.said for s in found] == ["0.500", "−0.250", "+0.050", "−0.100", "0.200"]


def test_a_refused_pin_is_said_and_what_is_left_not_told_apart(study):
    row = study.rows[0]
    costs = [stage(study, row, "find", 0.1), stage(study, row, "read", None, "it left its labels")]
    found = falls.steps(chained(study, row), costs, MEASURE)
    assert [(s.label, s.kind) for s in found][2:] == [
        ("read", "refused"),
        (falls.UNTOLD, "refused"),
        (falls.LEFT, "rest"),
    ]
    assert found[3].start - found[3].end == pytest.approx(0.2)
    assert falls.steps(chained(study, row, None), costs, MEASURE)[-1].said == "refused"


def test_the_stage_that_writes_the_answer_has_no_step(study):
    row = study.rows[0]
    costs = [stage(study, row, "find", 0.3), stage(study, row, "add", None)]
    assert [s.label for s in falls.steps(chained(study, row), costs, MEASURE)] == [falls.WHOLE, "find", falls.LEFT]


def test_a_stage_may_be_called_as_a_step_is(study):
    row = study.rows[0]
    found = falls.steps(chained(study, row), [stage(study, row, falls.WHOLE, 0.3)], MEASURE)
    assert len({s.label for s in found}) == 3


def test_waterfalls_of_the_best_variant_are_seen_at_once(tmp_path):
    study = fake_run(tmp_path / "run", chains=("found", "given"))
    advice = rich_advice(study)
    best = advice.best_now.model_copy(update={"way": way(study, ("given", "tuned"))})
    shown = sections(Told(study, advice.model_copy(update={"best_now": best})))
    found = [p for s in shown if s.id == "stages" for p in s.parts if p.kind == "figure"]
    assert [p.folded for p in found] == ["", "The same for found"]
    assert [panel.title for panel in found[0].panels] == [f"given: {r}" for r in ("independent", "tuned", "endtoend")]


def test_a_map_says_which_way_wins_and_how_surely(study):
    rows = read_map(study.run)
    found = heat.map_records(rows)
    assert list(found) == ["clutter"]
    assert {(r["value"], r["n"]) for r in found["clutter"]} == {(v, n) for v in (4, 16) for n in (100, 400)}
    for record in found["clutter"]:
        cell = next(r for r in rows if r.value == record["value"]).cells[record["n"]]
        assert (record["name"], record["p"]) == (cell.best[1], cell.probability)
    lines = [line for line in heat.map_table(rows, study).lines if line.group == "clutter 4"]
    assert {"independent", "tuned", "endtoend"} <= {line.head for line in lines}
    (best,) = (line for line in lines if line.cells[0].best)
    assert best.head == "tuned"
    assert best.cells[0].more[1].startswith("probability ")


def test_a_map_brings_its_own_direct_networks(study, advice):
    told = Told(study, advice)
    assert list(told.names)[-3:] == ["direct", "direct: larger", "direct: other"]
    assert list(told.names)[: len(figures.styles(study.rows))] == list(figures.styles(study.rows))


def test_costs_are_drawn_where_there_are_some(study, advice):
    found = scatter.cost_records(study, advice)
    assert list(found) == [("chain", "seconds"), ("chain", "latency_ms")]
    assert [(r["name"], r["cost"]) for r in found["chain", "seconds"]] == [
        (numbers.name_of((c.way.variant, c.way.regime)), c.seconds) for c in advice.costs
    ]
    free = tuple(c.model_copy(update={"seconds": 0.0, "latency_ms": None}) for c in advice.costs)
    assert scatter.cost_records(study, advice.model_copy(update={"costs": free})) == {}


def test_every_figure_has_its_data_in_a_table(study, advice):
    figures_ = [(s, p) for s in sections(Told(study, advice)) for p in s.parts if p.kind == "figure"]
    assert len(figures_) == 5
    assert all(p.data or any(part.kind == "table" for part in s.parts) for s, p in figures_)


def test_stages_say_only_what_is_known(study):
    row = study.rows[0]
    plain = no_advice(study, stages=(stage(study, row, "read", None),))
    table = next(p for s in sections(Told(study, plain)) if s.id == "stages" for p in s.parts if p.kind == "table")
    assert table.columns == ("stage", "labels", "own error", "without looking")
    full = no_advice(study, stages=tuple(stage_costs(study, ("chain", "tuned"), "why")))
    table = next(p for s in sections(Told(study, full)) if s.id == "stages" for p in s.parts if p.kind == "table")
    assert {"pinned", "alone", "perfect stage", "spread", "exposure", "on true input"} <= set(table.columns)


def test_words_of_numbers():
    assert [MEASURE.number(v) for v in (0.05, None, -0.00001)] == ["0.050", "–", "0.000"]
    assert [MEASURE.signed(v) for v in (0.05, -0.05, -0.00001)] == ["+0.050", "−0.050", "+0.000"]
    assert [words.probability(p) for p in (0, 0.5, 0.995, 1)] == ["< 0.01", "0.50", "> 0.99", "> 0.99"]
    assert [words.listed(list(w)) for w in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert [words.plain(v) for v in (1.0, 2.5, 16000.0, -0.5)] == ["1", "2.5", "16,000", "−0.5"]


def test_curves_as_pictures(study):
    svg, png = curves_svg(study), curves_png(study, scale=1.0)
    assert "labels of sum" in svg
    assert "without looking" in svg
    assert "sequential" not in svg
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] < 1200
    assert (picture[0, 0] == 255).all()


def test_examples_show_right_and_wrong(study):
    found = examples(study, drawing(draw))
    assert [row.name for row in found] == ["independent", "tuned", "endtoend", "direct", "direct: larger"]
    kept = study.items(study.at(("chain", "tuned"), 400)[0])
    wrong = kept["error"][kept["shown"]]
    assert set(wrong) == {0, 1}
    assert [p.verdict for p in found[1].pictures] == ["wrong" if e else "right" for e in wrong]
    assert [p.item for p in found[1].pictures] == [500 + i for i in kept["shown"]]


def test_a_label_that_is_missing_is_not_drawn(study):
    seen = []
    examples(study, drawing(lambda item, written: seen.append(set(item)) or draw(item, written)))
    assert seen[:2] == [{"image"}, {"image", "sum"}]


def test_a_picture_keeps_its_colours():
    encoded = base64.b64decode(data_url(draw({}, {})).removeprefix("data:image/png;base64,"))
    bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert bgr[0, 0].tolist() == [10, 10, 250]


def test_large_pictures_are_made_smaller(study):
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3), dtype=np.uint8)
    found = examples(study, drawing(lambda item, written: noise))
    encoded = base64.b64decode(found[0].pictures[0].url.removeprefix("data:image/jpeg;base64,"))
    assert cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).shape[1] == WIDEST_PX
    assert len({len(row.pictures) for row in found}) == 1
    assert sum(len(p.url) for row in found for p in row.pictures) <= MOST_BYTES


@pytest.mark.parametrize("picture", [np.zeros((4, 4)), np.zeros((4, 4, 3)), None])
def test_what_is_no_picture_is_said(study, picture):
    assert "draw returned" in examples(study, drawing(lambda item, written: picture))[0].problem


def test_a_draw_that_fails_is_said(study, tmp_path):
    def failing(item, written):
        raise KeyError("<b>place")

    found = page_of(open_run(shutil.copytree(study.run, tmp_path / "run")), drawing(failing))
    assert "The task's draw failed here: KeyError: '<b>place'" in found.text
