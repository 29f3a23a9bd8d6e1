"""A study and its advice in a notebook and in a terminal."""

import base64
import xml.etree.ElementTree as ET

import pytest
from reported import EVIL, Page, fake_run, no_advice, rich_advice

from seamwise.report import advice_html, curves_svg, notebook_html


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    def change(trial):
        hollow = (trial.regime, trial.budget["sum"], trial.seed) == ("endtoend", 100, 1)
        return {"untrained": "error .9"} if hollow else {}

    return fake_run(tmp_path_factory.mktemp("runs") / "plain", change=change)


def test_names_cannot_become_markup_in_notebooks_and_pictures(tmp_path):
    study = fake_run(tmp_path / "run", chains=("a" + EVIL, "b"), unit=EVIL)
    tags = {tag for tag, _ in Page(notebook_html(study)).tags}
    assert not tags & {"script", "svg"}
    assert "script" not in {e.tag.split("}")[-1] for e in ET.fromstring(curves_svg(study)).iter()}
    said = Page(advice_html(no_advice(study, task=EVIL, sentences=(EVIL,))))
    assert not {tag for tag, _ in said.tags} - {"div", "p", "strong", "ul", "li"}
    assert said.text.count(EVIL) == 2


def test_notebook_shows_table_and_picture_without_scripts(study):
    found = Page(study._repr_html_())
    assert not found.scripts
    assert "tuned" in found.text
    picture = next(attrs["src"] for tag, attrs in found.tags if tag == "img")
    assert base64.b64decode(picture.removeprefix("data:image/svg+xml;base64,")).startswith(b"<svg")


def test_advice_shows_its_sentences(study):
    advice = rich_advice(study)
    found = Page(advice_html(advice))
    assert [tag for tag, _ in found.tags].count("li") == len(advice.sentences)
    assert all(sentence in found.text for sentence in advice.sentences)


def test_text_says_what_the_page_says(study, tmp_path):
    cell = study.table()[("chain", "tuned")][400]
    assert f"{cell.mean:.3f}" in str(study)
    assert "1 of 2 did not train" in " ".join(str(study).split())
    odd = fake_run(tmp_path / "run", chains=("[red]", "b"), unit="[/x]", budgets=(100,))
    assert "[red]" in str(odd)
