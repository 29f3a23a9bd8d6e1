"""The report in a browser: it draws, fits a phone, is dark where the reader is, and can be used by keyboard."""

import shutil

import pytest
from browser import browser, chromium
from reported import EVIL, draw, drawing, fake_run, no_advice, rich_advice

from seamwise.report import page, write_report

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium on this machine")
LONG = "a_very_long_name_" * 8


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    with browser(folder) as tab:
        yield tab
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    study = fake_run(tmp_path_factory.mktemp("runs") / "run", chains=("found", "given"), directs=("direct", "larger"))
    fake_run(study.run / "map" / "clutter=4", budgets=(100, 400), halve=False)
    return write_report(study, drawing(draw), rich_advice(study))


def drawn_in(tab):
    return tab.run("[...document.querySelectorAll('.live')].map(e => [e.id, e.querySelectorAll('svg path').length])")


def too_wide(tab):
    """What sticks out of the page, outside of boxes that scroll."""
    return tab.run("document.scrollingElement.scrollWidth - innerWidth")


def test_page_draws_every_figure_and_asks_for_nothing(tab, rich):
    tab.open(rich)
    found = dict(drawn_in(tab))
    assert {"curves-0", "curves-1", "likely-0", "likely-1", "map-0", "stages-0-0", "stages-1-0", "costs-0"} <= set(
        found
    )
    assert all(n > 3 for n in found.values())
    assert tab.heard() == []
    assert tab.asked_for() == [rich.as_uri()]
    assert tab.run("getComputedStyle(document.querySelector('.still')).display") == "none"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_fits(tab, rich, width, dark):
    tab.open(rich, width, dark=dark)
    assert too_wide(tab) == 0
    tab.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    tab.run("new Promise(done => setTimeout(done, 300))")
    assert too_wide(tab) == 0


def test_long_and_evil_names_fit_a_phone_too(tab, tmp_path):
    study = fake_run(tmp_path / "run", chains=(LONG, EVIL), directs=("d" + LONG,), task=LONG, unit=LONG, answer=EVIL)
    path = tmp_path / "page.html"
    path.write_text(page(study, drawing(draw), rich_advice(study, words=EVIL + LONG)))
    tab.open(path, 390)
    assert too_wide(tab) == 0
    assert tab.heard() == []
    assert EVIL in tab.run("document.body.textContent")


def test_dark_where_the_reader_is_dark(tab, rich):
    seen = []
    for dark in (False, True):
        tab.open(rich, dark=dark)
        colours = "[getComputedStyle(document.body).backgroundColor, document.querySelector('#curves-0 text')"
        seen.append(tab.run(f"{colours}.getAttribute('fill')]"))
    assert seen == [["rgb(255, 255, 255)", "#1f2328"], ["rgb(21, 24, 28)", "#e3e6e9"]]


def test_charts_change_with_the_colour_scheme(tab, rich):
    tab.open(rich)
    before = tab.run("document.querySelector('#curves-0 text').getAttribute('fill')")
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    tab.send("Emulation.setEmulatedMedia", media="", features=[feature])
    after = "document.querySelector('#curves-0 text').getAttribute('fill')"
    tab.run(
        f"new Promise(done => {{ const t = setInterval(() => {after} !== '{before}' && done(clearInterval(t)), 50) }})"
    )
    assert tab.run(after) == "#e3e6e9"


def test_keyboard_reaches_everything_in_order(tab, rich):
    tab.open(rich)
    inside = "a, summary, [tabindex='0']"
    expected = tab.run(f'[...document.querySelectorAll("{inside}")].filter(e => e.checkVisibility()).length')
    place = f'[...document.querySelectorAll("{inside}")].indexOf(document.activeElement)'
    places = []
    for _ in range(expected):
        tab.press("Tab")
        places.append(tab.run(place))
    assert places == sorted(set(places))
    assert len(places) == expected


def test_a_folded_figure_is_as_wide_as_its_place_once_opened(tab, rich):
    tab.open(rich)
    tab.run("document.querySelector('details.folded > summary').focus()")
    tab.press("Enter")
    tab.run("new Promise(done => setTimeout(done, 300))")
    widths = "(() => { const e = document.querySelector('details.folded .live'); "
    place, picture = tab.run(
        widths + "return [e.clientWidth, e.querySelector('svg').getBoundingClientRect().width] })()"
    )
    assert tab.run("document.querySelector('details.folded').open")
    assert place > 300
    assert picture == pytest.approx(place, abs=40)


def test_print_shows_still_pictures_on_white(tab, rich):
    tab.open(rich, dark=True)
    tab.send("Emulation.setEmulatedMedia", media="print", features=[])
    assert tab.run("getComputedStyle(document.querySelector('.still')).display") == "block"
    assert tab.run("getComputedStyle(document.querySelector('.live')).display") == "none"
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("budgets", [(100, 200), (100,)], ids=["curves", "one budget"])
def test_page_that_knows_little_draws(tab, tmp_path, budgets):
    study = fake_run(tmp_path / "run", budgets=budgets, seeds=1, halve=False)
    path = tmp_path / "page.html"
    path.write_text(page(study, None, no_advice(study)))
    tab.open(path, 390)
    assert drawn_in(tab)[0][1] > 3
    assert tab.heard() == []
    assert too_wide(tab) == 0


def test_page_without_scripts_shows_pictures(tab, rich):
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(rich, until="true")
        assert tab.run("getComputedStyle(document.querySelector('.still')).display") == "block"
        assert tab.run("getComputedStyle(document.querySelector('.live')).display") == "none"
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)
