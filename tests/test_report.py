"""The report: what it says, that names cannot become markup, that it loads nothing, and that it draws."""

import base64
import functools
import hashlib
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny

from seamwise.advice import numbers
from seamwise.errors import RunError
from seamwise.report import curves_png, curves_svg, figures, notebook_html, tables, write_report
from seamwise.report.pictures import MOST_BYTES, WIDEST_PX, data_url, examples
from seamwise.runs import FORMAT, RunRecord, Study, curves, open_run
from seamwise.trial import StageScore, Trial, TrialLog, write_json

EVIL = "<script>alert('1')</script><img src=x onerror=alert(2)>"
N_ITEMS = 60
SKILL = {"independent": 0.3, "sequential": 0.28, "tuned": 0.1, "joint": 0.15, "endtoend": 0.5, "direct": 0.7}


def fake_trial(run, variant, regime, budget, seed, halved="", **changes):
    """A finished trial and its per-item results, from random numbers."""
    id_ = f"{len(list((run / 'predictions').iterdir())):04d}"
    rng = np.random.default_rng([seed, len(regime), budget["sum"]])
    wrong = (rng.random(N_ITEMS) < SKILL[regime] * (100 / budget["sum"]) ** 0.2 + 0.2 * bool(halved)).astype(np.float32)
    shown = {"shown.sum": rng.random((12, 19), dtype=np.float32)}
    np.savez(run / "predictions" / f"{id_}.npz", item=np.arange(N_ITEMS), error=wrong, **shown)
    score = StageScore(field="digit", stage="read", error=0.12, error_on_gold_input=0.08, trivial=0.9, unit="px")
    done = {"status": "done", "error": float(wrong.mean()), "trivial": 0.9, "train_error": 0.1, "seconds": 2.5}
    done |= {
        "n_steps": 300,
        "n_parameters": 38283,
        "latency_ms": 0.75,
        "stages": () if regime == "direct" else (score,),
    }
    told = {"id": id_, "task": "fake", "variant": variant, "regime": regime, "budget": budget, "seed": seed}
    return Trial.model_validate(told | done | changes)


def stage_record(name, reads, writes):
    return {"name": name, "kind": "learned", "inputs": (reads,), "outputs": (writes,), "signature": name}


def fake_run(
    run: Path, chains=("chain",), directs=("direct",), budgets=(100, 200, 400), seeds=2, halve=True, change=None, **told
) -> Study:
    """A run folder as a study writes it. change: (trial) -> fields to change, or None to leave the trial out."""
    (run / "predictions").mkdir(parents=True)
    held = {"digit": 50, "sum": budgets[-1]}
    rows = [(c, r) for c in chains for r in ("independent", "tuned", "endtoend")] + [(d, "direct") for d in directs]
    cells = [(row, held | {"sum": n}, "") for n in budgets for row in rows]
    if halve:
        cells += [((v, r), held | {"digit": 25}, "digit") for v, r in rows if r in ("independent", "tuned")]
    trials = [fake_trial(run, *row, budget, s, halved) for row, budget, halved in cells for s in range(seeds)]
    ids = tuple(t.id for t in trials)
    if change is not None:
        changed = [(t, change(t)) for t in trials]
        trials = [t.model_copy(update=fields) for t, fields in changed if fields is not None]
    groups, labels = np.arange(N_ITEMS)[:, None] // 2, {"shown.sum": np.arange(12), "shown.image": np.zeros((12, 4))}
    np.savez(run / "test.npz", items=np.arange(N_ITEMS) + 500, groups=groups, **labels)
    chain = [stage_record("find", "image", "place"), stage_record("read", "place", "sum")]
    variants = dict.fromkeys(chains, chain) | dict.fromkeys(directs, [stage_record("direct", "image", "sum")])
    record = {"format": FORMAT, "version": "0.1.0", "task": "fake", "source": "", "answer": "sum", "vary": "sum"}
    record |= {"unit": "share wrong", "trivial": 0.9, "budgets": budgets, "held": held, "trials": ids}
    record |= {"full": {n: held | {"sum": n} for n in budgets}}
    record |= {"prices": {"sum": 1.0, "digit": 2.0}, "variants": variants}
    record |= {"signatures": dict.fromkeys(variants, "0123456789abcdef")}
    write_json(run / "run.json", RunRecord.model_validate(record | told).model_dump(mode="json"))
    TrialLog(run / "trials.jsonl").append(trials)
    return open_run(run)


def fail(trial):
    return {"status": "failed", "message": "ValueError: no such thing", "error": None, "stages": ()}


def draw(item, written):
    return np.full((28, 40, 3), (250, 10, 10), dtype=np.uint8)


def drawing(function):
    return tiny.make_task(draw=function)


class Page(HTMLParser):
    """The tags of a page, its visible text, and its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts, self._in = [], "", [], ""
        self.feed(text)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "script":
            self.scripts.append(data)
        elif not self._in:
            self.text += data

    def ids(self):
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


def page_of(study, task=None):
    return Page(write_report(study, task).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three budgets, two seeds, a chain and two direct networks; one trial failed, one did not train."""

    def change(trial):
        if (trial.regime, trial.budget["sum"], trial.seed) == ("direct", 100, 0):
            return fail(trial)
        if (trial.regime, trial.budget["sum"], trial.seed) == ("endtoend", 100, 1):
            return {"untrained": "error .9 on its own training items", "notes": ("no gradient crosses 'place'",)}
        return {}

    return fake_run(tmp_path_factory.mktemp("runs") / "plain", directs=("direct", "larger"), change=change)


@pytest.fixture(scope="module")
def page(study):
    return page_of(study, drawing(draw))


def test_page_says_which_is_best(study, page):
    cell = study.table()[("chain", "tuned")][400]
    assert "With 400 labels of sum: the lowest error is that of tuned" in page.text
    assert f"{cell.mean:.3f} share wrong (90 % interval {cell.low:.3f} to {cell.high:.3f})" in page.text
    assert "the best of 5 with probability" in page.text


def test_page_has_every_section_and_its_links_lead_somewhere(page):
    sections = ["curves", "errors", "halvings", "stages", "costs", "examples", "untrained", "failed", "notes", "made"]
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert [i for i in page.ids() if i in sections] == sections
    assert {f"#{s}" for s in sections} <= set(links)
    assert len(page.ids()) == len(set(page.ids()))


def test_page_says_what_did_not_work(page):
    assert "1 of 2 did not train" in page.text
    assert "1 of 2 failed" in page.text
    assert "ValueError: no such thing" in page.text
    assert "error .9 on its own training items" in page.text
    assert "no gradient crosses 'place' (1 trial)" in page.text


def test_page_says_how_it_was_made(page):
    assert "every regime saw the same 60" in page.text
    assert "they are not counted in the budgets" in page.text
    assert "hierarchical bootstrap over seeds and test groups" in page.text
    assert "sum 1, digit 2" in page.text


def test_tables_can_be_read_aloud_and_by_keyboard(page):
    tags = [tag for tag, _ in page.tags]
    regions = [attrs for tag, attrs in page.tags if attrs.get("class") == "scroll"]
    assert tags.count("table") == tags.count("caption") == len(regions) >= 7
    assert all(attrs["tabindex"] == "0" and attrs["aria-labelledby"] in page.ids() for attrs in regions)
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert tags.count("h1") == 1


def test_page_loads_nothing(study, page):
    for tag, attrs in page.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            assert not re.match(r"\s*(https?:)?//", attrs.get(name) or ""), (tag, attrs)
    text = (study.run / "report.html").read_text(encoding="utf-8")
    styles = " ".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "@import" not in styles
    assert "url(" not in styles
    assert "default-src 'none'" in text


def test_page_is_small_and_leaves_nothing_beside_it(study, page):
    assert (study.run / "report.html").stat().st_size < 1_500_000
    assert not list(study.run.glob(".*"))


def test_names_cannot_become_markup(tmp_path):
    study = fake_run(
        tmp_path / "run",
        chains=("a" + EVIL, "b"),
        directs=("d" + EVIL,),
        task=EVIL,
        answer=EVIL,
        unit=EVIL,
        change=lambda t: {"untrained": EVIL, "notes": (EVIL,)} if t.seed else fail(t) | {"message": EVIL},
    )
    page = page_of(study, drawing(draw))
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "charts"}, {}]
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert EVIL in page.text
    names = json.dumps(json.loads(page.scripts[0]))
    assert "a<script>" in names.replace("\\", "")


def test_names_cannot_become_markup_in_notebooks_and_pictures(tmp_path):
    study = fake_run(tmp_path / "run", chains=("a" + EVIL, "b"), unit=EVIL)
    tags = {tag for tag, _ in Page(notebook_html(study)).tags}
    assert not tags & {"script", "svg"}
    assert "script" not in {e.tag.split("}")[-1] for e in ET.fromstring(curves_svg(study)).iter()}


def test_script_is_the_one_the_policy_allows(study, page):
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256("".join(page.scripts[1:]).encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def every_dict(value):
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from every_dict(inner)


def test_charts_hold_every_number_of_the_table(study):
    records = curves(study)
    specs = figures.charts(study, records)
    drawn = [v for v in every_dict(specs) if "mean" in v]
    assert list(specs) == ["chain"]
    assert {(d["variant"], d["regime"], d["n"], d["mean"]) for d in drawn} == {
        (*row, n, cell.mean) for row, cells in study.table().items() for n, cell in cells.items()
    }
    assert [d["hollow"] for d in drawn if (d["regime"], d["n"]) == ("endtoend", 100)] == [True]


def test_direct_networks_are_in_every_panel(tmp_path):
    study = fake_run(tmp_path / "run", chains=("found", "given"))
    assert numbers.panels(study.rows) == {
        v: [(v, "independent"), (v, "tuned"), (v, "endtoend"), ("direct", "direct")] for v in ("found", "given")
    }
    page = page_of(study)
    assert "found, with 400 labels of sum" in page.text
    assert "given, with 400 labels of sum" in page.text
    assert {"panel-0", "panel-1"} <= set(page.ids())


def test_a_regime_keeps_its_colour(study, tmp_path):
    fewer = fake_run(tmp_path / "run", change=lambda t: {} if t.regime in ("tuned", "direct") else None)
    assert figures.styles(fewer).items() <= figures.styles(study).items()


def test_halvings_are_paired_differences(study):
    for halving in numbers.halvings(study):
        assert (halving.field, halving.n, halving.n_half) == ("digit", 50, 25)
        assert halving.more.mean == pytest.approx(halving.half.mean - halving.full.mean)
        assert halving.full == study.table()[halving.row][400]
        assert halving.more.low <= halving.more.mean <= halving.more.high
    assert [h.row[1] for h in numbers.halvings(study)] == ["independent", "tuned"]


def test_difference_from_itself_is_nothing(study):
    trials = study.at(("chain", "tuned"), 400)
    none = numbers.difference(study, trials, trials)
    assert none is not None
    assert (none.low, none.mean, none.high) == (0, 0, 0)
    assert numbers.difference(study, trials[:1], trials[1:]) is None


def test_stage_errors_and_costs_are_means_over_seeds(study):
    score = numbers.stage_errors(study)[0]
    assert (score.stage, score.field, score.unit) == ("read", "digit", "px")
    assert (score.error, score.on_gold_input) == pytest.approx((0.12, 0.08))
    cost = numbers.costs(study)[0]
    assert (cost.n_seeds, cost.seconds, cost.n_steps, cost.n_parameters, cost.latency_ms) == (2, 2.5, 300, 38283, 0.75)


def test_an_unclear_verdict_says_so(tmp_path):
    study = fake_run(tmp_path / "run", chains=("a", "b"), directs=(), halve=False)
    for trial in study.trials:  # every regime the same errors
        same = np.load(study.run / "predictions" / "0000.npz")
        np.savez(study.run / "predictions" / f"{trial.id}.npz", **same)
    verdict = numbers.verdicts(study)[0]
    assert not verdict.clear
    assert len(verdict.close) == 2
    assert "That is not clear: " in page_of(study).text
    assert "are not clearly worse" in page_of(study).text


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
        {"change": lambda t: {"latency_ms": None, "stages": (), "train_error": None}},
        {"trivial": 0.0},
        {"trivial": 0.01},
        {"trivial": 250.0},
    ],
    ids=str,
)
def test_page_of_an_odd_study(tmp_path, odd):
    study = fake_run(tmp_path / "run", **odd)
    page = page_of(study, drawing(draw))
    assert "the lowest error is that of" in page.text
    assert "panel-0" in page.ids()
    assert "nan" not in page.text
    assert notebook_html(study)
    assert curves_svg(study).startswith("<svg")


def test_page_where_all_failed(tmp_path):
    study = fake_run(tmp_path / "run", change=fail)
    page = page_of(study, drawing(draw))
    assert "No trial is finished" in page.text
    assert "ValueError: no such thing" in page.text
    assert "panel-0" not in page.ids()
    assert not page.scripts
    assert "failed" in notebook_html(study)
    with pytest.raises(RunError, match="no curve to draw"):
        curves_svg(study)


def test_page_where_nothing_was_run(tmp_path):
    page = page_of(fake_run(tmp_path / "run", change=lambda t: None))
    assert "No trial is finished" in page.text
    assert "of 28 not run yet" in page.text


def test_cells_say_failed_or_not_run(tmp_path):
    def change(trial):
        return {"endtoend": fail(trial), "direct": None}.get(trial.regime, {})

    study = fake_run(tmp_path / "run", budgets=(100,), change=change)
    lines = {line.head: line.cells[0] for line in tables.error_table(study).lines}
    assert lines["endtoend"].text == "failed"
    assert "direct" not in lines
    assert lines["tuned"].best
    assert not lines["independent"].best


def test_examples_show_right_and_wrong(study):
    found = examples(study, drawing(draw))
    assert [row.name for row in found] == ["independent", "tuned", "endtoend", "direct", "direct: larger"]
    first = study.items(study.at(("chain", "tuned"), 400)[0])["error"]
    assert [p.verdict for p in found[1].pictures] == ["wrong" if e else "right" for e in first[:12]]
    assert [p.item for p in found[1].pictures] == list(range(500, 512))


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

    page = page_of(open_run(shutil.copytree(study.run, tmp_path / "run")), drawing(failing))
    assert "The task's draw failed here: KeyError: '<b>place'" in page.text


def test_numbers_have_as_many_decimals_as_they_need():
    assert [numbers.n_decimals(x) for x in (0.9, 7.5, 42.0, 900.0, 0.01, 0.0, float("nan"))] == [3, 2, 1, 0, 4, 3, 3]


def test_curves_as_pictures(study):
    svg, png = curves_svg(study), curves_png(study, scale=1.0)
    assert "labels of sum" in svg
    assert "without looking" in svg
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] < 1200
    assert (picture[0, 0] == 255).all()


def test_notebook_shows_table_and_picture_without_scripts(study):
    page = Page(study._repr_html_())
    assert not page.scripts
    assert "tuned" in page.text
    picture = next(attrs["src"] for tag, attrs in page.tags if tag == "img")
    assert base64.b64decode(picture.removeprefix("data:image/svg+xml;base64,")).startswith(b"<svg")


def test_text_says_what_the_page_says(study, tmp_path):
    cell = study.table()[("chain", "tuned")][400]
    assert f"{cell.mean:.3f}" in str(study)
    assert "1 of 2 did not train" in " ".join(str(study).split())
    odd = fake_run(tmp_path / "run", chains=("[red]", "b"), unit="[/x]", budgets=(100,))
    assert "[red]" in str(odd)


@functools.cache
def chromium():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
    "--dump-dom",
]


@pytest.mark.skipif(chromium() is None, reason="no chromium on this machine")
@pytest.mark.parametrize("budgets", [(100, 200, 400), (100,)], ids=["curves", "one budget"])
def test_page_draws_in_a_browser(tmp_path, budgets):
    study = fake_run(tmp_path / "run", chains=("a" + EVIL, "b"), budgets=budgets)
    page = write_report(study, drawing(draw))
    command = [str(chromium()), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    dom = Page(shown.stdout)
    assert ("html", {"lang": "en", "data-drawn": "yes"}) in dom.tags, shown.stderr
    assert sum(tag == "svg" and "marks" in (a.get("class") or "") for tag, a in dom.tags) == 2
    assert "CONSOLE" not in shown.stderr
    assert "hidden" in next(attrs for tag, attrs in dom.tags if attrs.get("id") == "still")
    assert unescape(EVIL) in dom.text
