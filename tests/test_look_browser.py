"""The page of a look in a browser: units are found, sorted and opened, by mouse, keys and address."""

import shutil

import numpy as np
import pytest
from browser import browser, chromium
from markupsafe import Markup

from seamwise.look.page import drawing, page
from seamwise.look.page.page import LayerFacts, Row, Section, Unit, write_page

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium on this machine")
EVIL = "a/<img src=x onerror=alert(1)> & ünïts"
LONG = "encoder.blocks.11.attention.projection." * 3
CODES = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27, "Enter": 13, "/": 191}
PAINTED = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profile")
    with browser(folder) as tab:
        yield tab
    shutil.rmtree(folder, ignore_errors=True)


def coloured(n, red, side=16):
    """Tiles of one colour, which says in red and green which row and tile it is."""
    colours = np.array([(red, 20 * k, 0) for k in range(n)], np.uint8).reshape(n, 1, 1, 3)
    return np.broadcast_to(colours, (n, side, side, 3)).copy()


def units(n=60):
    for i in range(n):
        dead = i % 20 == 7
        n_tiles = 0 if dead else 4 if i == 2 else 9
        exemplars = Row("exemplars", coloured(n_tiles, 200), ("7.1, beach.jpg",) * n_tiles)
        rows = (exemplars, Row("deconvnet", coloured(0 if dead else 9, 40)))
        concept = None if i % 5 else ("stripes" if i % 2 else "wheel")
        yield Unit(
            "conv2" if i >= 30 else "conv1",
            i % 30,
            {"selectivity": (i * 37 % 60) / 60, "concept": concept, "dead": dead},
            rows,
        )


SECTIONS = (
    Section("Depth", "By layer.", drawing.layer_chart(["conv1", "conv2"], {"edges": [0.4, 0.1]}, "Share of units")),
    Section("Filters", "Weights.", drawing.figure(drawing.grid(coloured(9, 9)), "filters", scale=30)),
)
LAYERS = tuple(LayerFacts(name, "convolution", 30, (11, 11), (4, 4), {"dead": 2}) for name in ("conv1", "conv2"))


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    out = tmp_path_factory.mktemp("look") / "look.html"
    return write_page(out, "A look", SECTIONS, LAYERS, units(), 60, row_leads={"deconvnet": "Projected."})


class Address(str):
    def as_uri(self):
        return str(self)


def press(tab, key, n=1):
    text = {"/": "/", "Enter": "\r"}.get(key, "")
    for kind in ("keyDown", "keyUp") * n:
        tab.send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=CODES[key], text=text)
    tab.run(PAINTED)


def wait(tab, script):
    """Until an expression holds."""
    tab.run(f"new Promise(done => {{ const look = () => ({script}) ? done() : setTimeout(look, 20); look() }})")


def at(tab, path, hash_="", **how):
    tab.open(path, **how)
    if hash_:
        tab.run(f"location.hash = '{hash_}'")
    tab.run(PAINTED)


def listed(tab):
    return tab.run("[...document.querySelectorAll('#cards a')].map(a => a.title)")


def choose(tab, id_, value):
    tab.run(f"(e => {{ e.value = '{value}'; e.dispatchEvent(new Event('change')) }})(document.getElementById('{id_}'))")


def find(tab, words):
    tab.run(f"(e => {{ e.value = '{words}'; e.dispatchEvent(new Event('input')) }})(document.getElementById('find'))")
    return listed(tab)


def opened(tab):
    """The unit that is shown large, and its address."""
    return tab.run("document.getElementById('one').open ? document.getElementById('one-title').textContent : null")


def focused(tab):
    return tab.run("document.activeElement.title")


def test_cards_show_themselves_and_the_page_asks_for_nothing(tab, look):
    at(tab, look)
    wait(tab, "document.querySelector('#cards img')?.naturalWidth")
    assert tab.run("document.querySelector('#cards img').naturalWidth") == 2 * 3 * 16
    assert tab.run("getComputedStyle(document.getElementById('units')).display") == "block"
    assert listed(tab)[:3] == ["conv1/0", "conv1/1", "conv1/2"]
    assert listed(tab)[-3:] == ["conv1/7", "conv1/27", "conv2/17"]  # the dead ones
    assert "60 units. 3 dead" in tab.run("document.getElementById('count').textContent")
    assert tab.heard() == []
    assert tab.asked_for() == [look.as_uri()]


def test_pictures_far_away_wait_until_they_are_near(tab, tmp_path):
    path = write_page(tmp_path / "a.html", "Many", (), (), units(1000), 1000)
    at(tab, path)
    filled = "document.querySelectorAll('#cards img').length"
    wait(tab, filled)
    assert tab.run(filled) < 300
    tab.run("document.querySelector('#cards li:nth-child(900)').scrollIntoView()")
    wait(tab, "document.querySelector('#cards li:nth-child(900) img')?.naturalWidth")
    assert tab.run(filled) < 600


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("conv2/17", ["conv2/17"]),
        ("CONV2 17", ["conv2/17"]),
        ("17", ["conv1/17", "conv2/17"]),
        ("conv2/1", [f"conv2/{i}" for i in (1, 10, 11, 12, 13, 14, 15, 16, 18, 19, 17)]),
        ("stripes conv1", [f"conv1/{i}" for i in (5, 15, 25)]),
        ("whee", [f"{c}/{i}" for c in ("conv1", "conv2") for i in (0, 10, 20)]),
        ("nothing", []),
    ],
)
def test_search(tab, look, words, expected):
    at(tab, look)
    assert find(tab, words) == expected


def test_a_layer_s_units_alone(tab, look):
    at(tab, look)
    choose(tab, "layer", "conv2")
    assert len(listed(tab)) == 30
    assert set(listed(tab)) == {f"conv2/{i}" for i in range(30)}
    assert tab.run("document.getElementById('count').textContent").startswith("30 of 60 units.")


def test_sort_by_what_is_known(tab, look):
    at(tab, look)
    offered = tab.run("[...document.getElementById('order').options].map(o => [o.textContent, o.value])")
    named = dict(offered)
    assert list(named) == [
        "layer by layer",
        "unit number",
        "selectivity, most first",
        "selectivity, least first",
        "concept",
    ]
    known = {f"{u.layer}/{u.unit}": u.facts for u in units()}
    for name, sign in (("most", -1), ("least", 1)):
        choose(tab, "order", named[f"selectivity, {name} first"])
        live = listed(tab)[:-3]
        assert live == sorted(live, key=lambda unit: sign * known[unit]["selectivity"])
        assert not any(known[unit]["dead"] for unit in live)
    choose(tab, "order", named["concept"])
    assert [known[unit]["concept"] for unit in listed(tab)[:13]] == ["stripes"] * 6 + ["wheel"] * 6 + [None]
    choose(tab, "order", named["unit number"])
    assert listed(tab)[:4] == ["conv1/0", "conv2/0", "conv1/1", "conv2/1"]


def test_an_address_opens_its_unit(tab, look):
    tab.open(Address(f"{look.as_uri()}#conv2/21"), until="document.querySelector('#one-rows figure')")
    assert opened(tab) == "conv2/21"
    place = tab.run("document.querySelector('#cards a[title=\"conv2/21\"]').getBoundingClientRect().top")
    assert 0 <= place <= 900
    words = tab.run("document.getElementById('one').textContent")
    assert "deconvnet Projected." in words
    assert words.count("7.1, beach.jpg") == 9


def test_the_large_view_shows_every_tile_in_its_place(tab, look):
    at(tab, look, "conv1/1", width=1280)
    wait(tab, "document.querySelectorAll('.tile').length === 18")
    colour = """(async () => {
      const found = [];
      for (const tile of document.querySelectorAll('.tile')) {
        const style = getComputedStyle(tile), image = new Image();
        image.src = style.backgroundImage.slice(5, -2);
        await image.decode();
        const [w, h] = style.backgroundSize.split(' ').map(s => parseFloat(s) / 100);
        const [x, y] = style.backgroundPosition.split(' ').map(s => parseFloat(s) / 100);
        const canvas = document.createElement('canvas'), ink = canvas.getContext('2d');
        ink.drawImage(image, 0, 0);
        const [px, py] = [x * (w - 1) / w * image.width, y * (h - 1) / h * image.height];
        found.push([...ink.getImageData(px + 8, py + 8, 1, 1).data.slice(0, 2)]);
      }
      return found;
    })()"""
    expected = [(red, 20 * k) for red in (200, 40) for k in range(9)]
    assert np.abs(np.array(tab.run(colour)) - expected).max() < 8


def test_another_row_on_every_card(tab, look):
    at(tab, look)
    wait(tab, "document.querySelector('#cards img')?.naturalWidth")
    where = "document.querySelector('#cards img').style.objectPosition"
    before = tab.run(where)
    choose(tab, "row", "deconvnet")
    assert (before, tab.run(where)) == ("0% 0px", "100% 0px")


def test_arrows_go_from_unit_to_unit(tab, look):
    at(tab, look, "conv1/5")
    press(tab, "ArrowRight")
    assert opened(tab) == "conv1/6"
    press(tab, "ArrowRight")
    assert opened(tab) == "conv1/8"  # conv1/7 is dead: it comes last
    wait(tab, "location.hash === '#conv1/8'")
    press(tab, "ArrowLeft", 9)
    assert opened(tab) == "conv1/0"
    press(tab, "Escape")
    assert opened(tab) is None
    assert focused(tab) == "conv1/0"
    assert tab.run("location.hash") == "#units"
    press(tab, "ArrowRight")
    assert focused(tab) == "conv1/1"
    press(tab, "ArrowDown")
    columns = tab.run("getComputedStyle(document.getElementById('cards')).gridTemplateColumns.split(' ').length")
    assert focused(tab) == listed(tab)[1 + columns]
    press(tab, "ArrowUp")
    press(tab, "Enter")
    assert opened(tab) == "conv1/1"


def test_arrows_follow_the_order_of_the_list(tab, look):
    at(tab, look)
    choose(tab, "order", "fact 0 -1")
    first, second = listed(tab)[:2]
    tab.run(f"location.hash = '{first}'")
    tab.run(PAINTED)
    press(tab, "ArrowRight")
    assert opened(tab) == second
    tab.run("document.getElementById('next').click()")
    tab.run(PAINTED)
    assert opened(tab) == listed(tab)[2]


def test_a_slash_searches_and_enter_leads_to_what_was_found(tab, look):
    at(tab, look, "part-1")
    press(tab, "/")
    assert tab.run("document.activeElement.id") == "find"
    assert tab.run("document.activeElement.value") == ""
    assert tab.run("!document.getElementById('units').hidden")
    find(tab, "conv2 3")
    press(tab, "Enter")
    assert focused(tab) == "conv2/3"


def test_parts_are_shown_one_at_a_time(tab, look):
    at(tab, look, "part-1")
    seen = "[...document.querySelectorAll('.view')].filter(e => e.checkVisibility()).map(e => e.id)"
    assert tab.run(seen) == ["part-1"]
    assert tab.run("document.querySelectorAll('#part-1 svg .series text').length") == 2
    tab.run("document.querySelector('nav a[href=\"#layers\"]').click()")
    tab.run(PAINTED)
    assert tab.run(seen) == ["layers"]
    tab.run("document.querySelector('#layers a').click()")
    tab.run(PAINTED)
    assert tab.run(seen) == ["units"]
    assert len(listed(tab)) == 30


def test_back_closes_a_unit(tab, look):
    at(tab, look)
    tab.run("document.querySelector('#cards a').click()")
    tab.run(PAINTED)
    assert opened(tab) == "conv1/0"
    tab.run("history.back()")
    wait(tab, "!document.getElementById('one').open")


@pytest.mark.parametrize("wanted", ["conv1/999", "nothing/", "%E0%A4%A/1"])
def test_an_address_that_leads_nowhere_is_said(tab, look, wanted):
    at(tab, look, wanted)
    assert "There is no unit" in tab.run("document.getElementById('count').textContent")
    assert len(listed(tab)) == 60
    assert tab.heard() == []


def test_an_address_shows_a_unit_that_the_search_hid(tab, look):
    at(tab, look)
    find(tab, "conv1 3")
    tab.run("location.hash = 'conv2/4'")
    tab.run(PAINTED)
    assert opened(tab) == "conv2/4"
    assert len(listed(tab)) == 60


def test_a_folder_works_from_the_disk(tab, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_UNITS", 20)
    path = write_page(tmp_path / "look.html", "A look", SECTIONS, LAYERS, units(), 60)
    at(tab, path)
    wait(tab, "document.querySelector('#cards img')?.naturalWidth")
    tab.run("location.hash = 'conv2/21'")
    wait(tab, "document.querySelectorAll('.tile').length === 18")
    assert all(url.startswith(path.parent.as_uri()) for url in tab.asked_for())
    assert tab.heard() == []


def test_names_of_every_kind_and_units_of_words(tab, tmp_path):
    body = Markup("<p>{} <mark>so</mark></p>").format(EVIL)
    found = [Unit(name, i, {"concept": EVIL}, (), body) for name in (EVIL, LONG) for i in range(3)]
    path = write_page(tmp_path / "a.html", EVIL, (Section(EVIL, LONG, body),), (LayerFacts(EVIL, EVIL, 3),), found, 6)
    for width in (320, 1280):
        at(tab, path, width=width)
        tab.run("document.querySelector('#cards a').click()")
        wait(tab, "document.querySelector('#one-body mark')")
        assert opened(tab) == f"{EVIL}/0"
        assert tab.run("document.querySelectorAll('#cards mark').length") > 0
        assert tab.run("document.querySelectorAll('[onerror]').length") == 0
        assert tab.run("document.scrollingElement.scrollWidth - innerWidth") <= 0
        assert tab.run("(e => e.scrollWidth - e.clientWidth)(document.getElementById('one'))") <= 0
        assert tab.heard() == []


@pytest.mark.parametrize(("width", "dark"), [(320, False), (390, True), (1280, False), (1280, True)])
def test_the_page_fits_in_light_and_dark(tab, look, width, dark):
    for part in ("units", "layers", "part-1", "part-2", "conv1/2"):
        at(tab, look, part, width=width, dark=dark)
        assert tab.run("document.scrollingElement.scrollWidth - innerWidth") <= 0
    assert tab.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)"
    )


def test_without_scripts_the_rest_is_there(tab, look):
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(look, until="true")
        seen = "[...document.querySelectorAll('.view')].filter(e => e.checkVisibility()).length"
        assert tab.run(seen) == 4
        assert tab.run("document.querySelector('noscript').checkVisibility()")
    finally:
        tab.send("Emulation.setScriptExecutionDisabled", value=False)
