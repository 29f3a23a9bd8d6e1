"""The report: what it says, what it leaves out, that names cannot become markup, and that it loads nothing."""

import base64
import hashlib
import json
import re

import pytest
from reported import (
    EVIL,
    draw,
    drawing,
    fail,
    fake_run,
    no_advice,
    page_of,
    rich_advice,
)

from seamwise.advice import numbers
from seamwise.errors import RunError
from seamwise.report import curves_svg, notebook_html, page, tables, write_report
from seamwise.report.sections import Told, sections

SECTIONS = ["curves", "errors", "likely", "map", "stages", "chain", "buy", "variants", "shift", "costs", "examples"]
SECTIONS += ["untold", "failed", "notes", "made"]
ALWAYS = ["curves", "errors", "chain", "made"]
REGIMES = ("independent", "tuned", "endtoend")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three budgets, two seeds, two variants and two direct networks; one trial failed, one did not train; a map."""

    def change(trial):
        if (trial.regime, trial.budget["sum"], trial.seed) == ("direct", 100, 0):
            return fail(trial)
        if (trial.regime, trial.budget["sum"], trial.seed) == ("endtoend", 100, 1):
            return {"untrained": "error .9 on its own training items", "notes": ("no gradient crosses 'place'",)}
        return {}

    run = tmp_path_factory.mktemp("runs") / "rich"
    found = fake_run(run, chains=("found", "given"), directs=("direct", "larger"), change=change)
    for value in (4, 16):
        fake_run(run / "map" / f"clutter={value}", budgets=(100, 400), halve=False)
    return found


@pytest.fixture(scope="module")
def rich(study):
    return page_of(study, drawing(draw))


def test_advice_stands_first_and_large(study, rich):
    first = next(i for i, (tag, attrs) in enumerate(rich.tags) if attrs.get("class") == "first")
    assert rich.tags.index(("nav", {"aria-label": "Sections"})) > first
    positions = [rich.text.index(sentence) for sentence in rich_advice(study).sentences]
    assert positions == sorted(positions)


def test_page_has_every_section_and_its_links_lead_there(rich):
    links = [attrs["href"] for tag, attrs in rich.tags if tag == "a"]
    assert rich.sections() == SECTIONS
    assert links == [f"#{name}" for name in SECTIONS]
    assert len(rich.ids()) == len(set(rich.ids()))


def test_sections_with_nothing_to_show_are_left_out(tmp_path):
    study = fake_run(tmp_path / "run")
    assert page_of(study, advice=no_advice(study)).sections() == ALWAYS


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        ("likely", ("p_best", "crossovers")),
        ("stages", ("stages", "chains")),
        ("buy", ("buy_next",)),
        ("variants", ("variants",)),
        ("shift", ("shifted",)),
        ("costs", ("costs",)),
        ("untold", ("abstained",)),
        ("failed", ("failed_trials",)),
    ],
)
def test_a_section_is_there_where_advice_has_it(study, section, fields):
    advice = rich_advice(study)
    without = advice.model_copy(update=dict.fromkeys(fields, ()))
    only = no_advice(study, at=advice.at, **{field: getattr(advice, field) for field in fields})
    assert section not in [s.id for s in sections(Told(study, without))]
    assert section in [s.id for s in sections(Told(study, only))]


def test_page_says_what_did_not_work(rich):
    assert "1 of 2 did not train" in rich.text
    assert "1 of 2 failed" in rich.text
    assert "no gradient crosses 'place' (2 trials)" in rich.text
    assert "Trials that did not train: their training error" in rich.text


def test_page_says_how_it_was_made(rich):
    assert "every regime saw the same 60" in rich.text
    assert "they are not counted in the budgets" in rich.text
    assert "hierarchical bootstrap over seeds and test groups" in rich.text
    assert "sum 1, digit 2" in rich.text


def test_page_says_what_the_labels_noise_is_and_what_elsewhere(tmp_path):
    study = fake_run(tmp_path / "run", noise={"digit": 0.05, "sum": 0.0}, elsewhere="digits?clutter=12")
    text = page_of(study).text
    assert "digit 0.05" in text
    assert "digits?clutter=12" in text


def test_label_plan_says_what_labels_cost_and_gain(rich):
    assert "sum 400 now 400 1 400 in all found: tuned +0.020 +0.012 to +0.028 0.0500 > 0.99" in rich.text
    assert "place 400 now 400 0 0 in all found: tuned +0.001 −0.009 to +0.011 free 0.55" in rich.text


def test_seams_say_what_they_carry_and_what_stops_gradient(rich):
    kinds = [attrs["class"] for tag, attrs in rich.tags if (attrs.get("class") or "").startswith("seam")]
    assert {"seam", "seam stops hard", "seam unseen"} <= set(kinds)
    assert "soft gradient crosses" in rich.text
    assert "hard gradient stops: argmax" in rich.text
    assert "What would let gradient through scale: because it was not measured." in rich.text
    assert "found, as tuned left it" in rich.text
    assert "Not so with independent and endtoend: place is hard and gradient stops." in rich.text
    flow = next(attrs for tag, attrs in rich.tags if attrs.get("class") == "flow")
    assert "find (learned) reads image and writes place (soft; gradient crosses)" in flow["aria-label"]


def test_a_chain_without_seams_is_drawn_all_the_same(tmp_path):
    study = fake_run(tmp_path / "run")
    found = page_of(study, advice=no_advice(study))
    assert "Its seams were not looked at" in found.text
    assert "Green:" not in found.text


def test_tables_can_be_read_aloud_and_by_keyboard(rich):
    tags = [tag for tag, _ in rich.tags]
    regions = [attrs for _, attrs in rich.tags if attrs.get("class") == "scroll"]
    assert tags.count("table") >= 14
    assert all(attrs["aria-labelledby"] in rich.ids() for tag, attrs in rich.tags if tag == "table")
    assert len(regions) == tags.count("table") + 2
    assert all(attrs["tabindex"] == "0" and attrs["role"] == "region" for attrs in regions)
    assert all(attrs["aria-labelledby"] in rich.ids() for attrs in regions)
    assert all("scope" in attrs for tag, attrs in rich.tags if tag == "th")
    assert all(attrs.get("alt") for tag, attrs in rich.tags if tag == "img")
    assert all(attrs["aria-label"] for _, attrs in rich.tags if attrs.get("role") == "img")
    assert tags.count("h1") == 1


def test_page_loads_nothing(study, rich):
    for tag, attrs in rich.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert not re.match(r"\s*(https?:)?//", attrs.get(name) or ""), (tag, attrs)
    text = page(study, None, rich_advice(study))
    styles = " ".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "@import" not in styles
    assert "url(" not in styles
    assert "default-src 'none'" in text


def test_page_is_written_whole_and_small(tmp_path):
    study = fake_run(tmp_path / "run")
    path = write_report(study, drawing(draw), rich_advice(study))
    assert path == study.run / "report.html"
    assert path.stat().st_size < 1_500_000
    assert not list(study.run.glob(".*"))


def test_page_makes_its_own_advice(tmp_path):
    study = fake_run(tmp_path / "run", change=fail)
    assert page(study) == page(study, None, study.advise())


LONG = "x" * 300


@pytest.mark.parametrize("name", [EVIL, "</script><b>", "'\"`{{7*7}}${1}", "**[a](b)**", LONG], ids=lambda n: n[:12])
def test_names_cannot_become_markup(tmp_path, name):
    study = fake_run(
        tmp_path / "run",
        chains=("a" + name, "b"),
        directs=("d" + name,),
        task=name,
        unit=name,
        answer=name,
        change=lambda t: {"untrained": name, "notes": (name,)} if t.seed else fail(t) | {"message": name},
    )
    advice = rich_advice(study, words=name)
    found = page_of(study, drawing(draw), advice.model_copy(update={"sentences": (name, name)}))
    assert [attrs for tag, attrs in found.tags if tag == "script"] == [
        {"type": "application/json", "id": "charts"},
        {},
    ]
    assert not [attrs for _, attrs in found.tags if "onerror" in attrs]
    assert not [tag for tag, _ in found.tags if tag == "a" and name == "**[a](b)**"][len(found.sections()) :]
    assert name in found.text
    assert any("a" + name == told for told in every_text(json.loads(found.scripts[0])))


def every_text(value):
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from every_text(inner)


def test_script_is_the_one_the_policy_allows(rich):
    policy = next(a["content"] for _, a in rich.tags if a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256("".join(rich.scripts[1:]).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize(
    "odd",
    [
        {"budgets": (100,)},
        {"budgets": (100,), "seeds": 1, "halve": False},
        {"seeds": 1},
        {"directs": ()},
        {"prices": {}, "unit": ""},
        {"chains": ()},
        {"change": lambda t: None if t.regime == "tuned" and t.budget["sum"] == 200 else {}},
        {"change": lambda t: None if t.budget["sum"] == 400 else {}},
        {"change": lambda t: fail(t) if t.budget["sum"] == 400 else {}},
        {"change": lambda t: {"latency_ms": None, "stages": (), "train_error": None, "seconds": 0.0}},
        {"trivial": 0.0},
        {"trivial": 0.01},
        {"trivial": 250.0},
    ],
    ids=", ".join,
)
def test_page_of_an_odd_study(tmp_path, odd):
    study = fake_run(tmp_path / "run", **odd)
    found = page_of(study, drawing(draw), study.advise())
    assert "curves-0" in found.ids()
    assert "nan" not in found.text
    assert notebook_html(study)
    assert curves_svg(study).startswith("<svg")


def test_page_where_all_failed(tmp_path):
    study = fake_run(tmp_path / "run", change=fail)
    found = page_of(study, drawing(draw), study.advise())
    assert found.sections() == ["errors", "chain", "untold", "failed", "made"]
    assert "ValueError: no such thing" in found.text
    assert not found.scripts
    assert "failed" in notebook_html(study)
    with pytest.raises(RunError, match="no curve to draw"):
        curves_svg(study)


def test_page_where_nothing_was_run(tmp_path):
    study = fake_run(tmp_path / "run", change=lambda t: None)
    found = page_of(study, advice=study.advise())
    assert found.sections() == ["untold", "made"]
    assert "28 of 28 planned trials not run yet" in found.text
    assert "No trial is finished" in page_of(study, advice=no_advice(study)).text


def test_cells_say_failed_or_not_run(tmp_path):
    def change(trial):
        return {"endtoend": fail(trial), "direct": None}.get(trial.regime, {})

    study = fake_run(tmp_path / "run", budgets=(100,), change=change)
    lines = {line.head: line.cells[0] for line in tables.error_table(study).lines}
    assert lines["endtoend"].text == "failed"
    assert "direct" not in lines
    assert lines["tuned"].best
    assert not lines["independent"].best


def test_seeds_that_failed_the_same_way_share_a_line(tmp_path):
    study = fake_run(tmp_path / "run", change=fail)
    table = tables.failed_tables(study, study.advise())[0]
    assert [cell.text for cell in table.lines[0].cells] == ["100", "0, 1", "ValueError: no such thing"]
    assert len(table.lines) == 12


def test_difference_from_itself_is_nothing(study):
    trials = study.at(("found", "tuned"), 400)
    none = numbers.difference(study, trials, trials)
    assert none is not None
    assert (none.low, none.mean, none.high) == (0, 0, 0)
    assert numbers.difference(study, trials[:1], trials[1:]) is None


def test_numbers_have_as_many_decimals_as_they_need():
    assert [numbers.n_decimals(x) for x in (0.9, 7.5, 42.0, 900.0, 0.01, 0.0, float("nan"))] == [3, 2, 1, 0, 4, 3, 3]
