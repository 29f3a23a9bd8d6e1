import base64
import json
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from markupsafe import Markup

from seamwise.errors import InputError, StorageError
from seamwise.look.page import page
from seamwise.look.page.page import LayerFacts, Row, Section, Unit, write_page
from seamwise.look.page.sprites import tiles_of

EVIL = "<script>alert(1)</script>--><b>"


def near(read, written):
    """Alike but for what JPEG does to them; the outermost pixel takes colour from the tile beside it."""
    return np.abs(read.astype(int) - written)[:, 1:-1, 1:-1].max() < 8


def tiles(n, seed=0, side=16):
    grey = np.random.default_rng(seed).integers(0, 256, (n, 1, 1, 3)).astype(np.uint8)
    return np.broadcast_to(grey, (n, side, side, 3)).copy()


def units(n, **facts):
    for i in range(n):
        rows = (Row("exemplars", tiles(9, i), tuple(f"place {k}" for k in range(9))), Row("deconvnet", tiles(5, i)))
        yield Unit(f"conv{i % 2}", i, {"selectivity": i / n, "dead": i == 3} | facts, rows)


def write(out, found=None, n=6, **more):
    return write_page(out, "A look", (), (), units(n) if found is None else found, n, **more)


def blocks(text):
    found = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', text, re.DOTALL)
    return {name: json.loads(inside) for name, inside in found}


def test_every_unit_s_tiles_are_in_the_page(tmp_path):
    path = write(tmp_path / "look.html")
    assert path == tmp_path / "look.html"
    found = blocks(path.read_text())
    for i in range(6):
        rows = found[f"u{i}"]["rows"]
        assert [(row["name"], row["n"]) for row in rows] == [("exemplars", 9), ("deconvnet", 5)]
        assert rows[0]["captions"][8] == "place 8"
        kind, text = found[f"u{i}"]["src"].split(",")
        assert kind == "data:image/jpeg;base64"
        for read, written in zip(tiles_of(base64.b64decode(text), [9, 5]), (tiles(9, i), tiles(5, i)), strict=True):
            assert near(read, written)


def test_the_index_lists_units_with_what_is_known_of_them(tmp_path):
    facts = {"concept": "stripes", "IoU": np.float32(0.25), "never": float("nan"), "flag": np.bool_(True), "k": 3}
    index = blocks(write(tmp_path / "a.html", units(6, **facts)).read_text())["index"]
    assert index["layers"] == ["conv0", "conv1"]
    assert index["facts"] == ["selectivity", "concept", "IoU", "never", "flag", "k"]
    assert index["rows"] == [["exemplars", ""], ["deconvnet", ""]]
    assert index["units"][3] == [1, 3, 1, 0.5, "stripes", 0.25, None, True, 3]


def test_units_that_differ_in_their_facts(tmp_path):
    found = [Unit("a", 0, {"x": 1.0}), Unit("a", 1, {"y": None, "dead": False}), Unit("b", 0)]
    index = blocks(write(tmp_path / "a.html", found).read_text())["index"]
    assert index["units"] == [[0, 0, 0, 1, None], [0, 1, 0, None, None], [1, 0, 0, None, None]]


def test_sections_and_layers_stand_before_the_pictures(tmp_path):
    sections = [Section("Filters", "What they are.", Markup("<p id=own>drawn</p>"))]
    layers = [LayerFacts("conv1", "convolution", 4, (11, 9), (4, 4), {"dead": 2}), LayerFacts("fc", "linear", 2)]
    path = write_page(tmp_path / "a.html", "T", sections, layers, units(4), 4, lead="Of many pictures.")
    text = path.read_text()
    for piece in ("<p id=own>drawn</p>", "What they are.", "Of many pictures.", "<td>11 × 9</td>"):
        assert 0 < text.index(piece) < text.index('id="u0"')
    assert text.index('id="index"') < text.index('id="u0"')
    assert text.rstrip().endswith("</html>")


def test_a_page_without_units_or_layers(tmp_path):
    text = write_page(
        tmp_path / "a.html", "Text", [Section("Tokens", "Lead.", Markup("<i>x</i>"))], (), (), 0
    ).read_text()
    assert "<i>x</i>" in text
    assert 'href="#units"' not in text
    assert 'href="#layers"' not in text


def test_names_are_escaped_everywhere(tmp_path):
    rows = (Row(EVIL, tiles(1), (EVIL,)),)
    found = [Unit(EVIL, 0, {EVIL: EVIL}, rows, Markup("<mark>{}</mark>").format(EVIL))]
    layers = [LayerFacts(EVIL, EVIL, 1, None, None, {EVIL: EVIL})]
    text = write_page(
        tmp_path / "a.html",
        EVIL,
        [Section(EVIL, EVIL, Markup("<p>{}</p>").format(EVIL))],
        layers,
        found,
        1,
        lead=EVIL,
        row_leads={EVIL: EVIL},
    ).read_text()
    assert "<script>alert" not in text
    assert "--><b>" not in text
    assert blocks(text)["u0"]["rows"][0]["captions"] == [EVIL]
    assert blocks(text)["index"]["units"] == [[0, 0, 0, EVIL]]


def test_the_page_asks_for_nothing_and_its_policy_forbids_it(tmp_path):
    text = write(tmp_path / "a.html").read_text()
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?\s*(https?:)?//""", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    assert "'self'" not in policy


def test_more_units_than_a_page_holds_make_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_UNITS", 5)
    for _ in range(2):  # the second time a page is there already
        path = write(tmp_path / "look.html")
        assert path == tmp_path / "look" / "index.html"
        names = sorted(p.name for p in (tmp_path / "look" / "sprites").iterdir())
        assert names == [f"{i:06}.jpg" for i in range(6)]
        found = blocks(path.read_text())
        read = tiles_of((path.parent / found["u4"]["src"]).read_bytes(), [9, 5])
        assert near(read[0], tiles(9, 4))
        assert [p.name for p in tmp_path.iterdir()] == ["look"]
    assert path.stat().st_size < 60_000


def test_a_folder_with_other_things_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_UNITS", 5)
    (tmp_path / "look").mkdir()
    (tmp_path / "look" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="in the way"):
        write(tmp_path / "look", iter([None]))  # before a unit is asked for
    assert (tmp_path / "look" / "thesis.tex").read_text() == "years of work"
    assert [p.name for p in tmp_path.iterdir()] == ["look"]


def test_a_folder_where_the_page_is_to_be(tmp_path):
    with pytest.raises(InputError, match="a folder"):
        write(tmp_path)


@pytest.mark.parametrize("most", [10, 5], ids=["page", "folder"])
def test_what_goes_wrong_with_a_unit_leaves_the_page_that_was_there(tmp_path, monkeypatch, most):
    monkeypatch.setattr(page, "MOST_UNITS", most)
    before = write(tmp_path / "look.html").read_bytes()

    def failing():
        yield from units(3)
        raise FileNotFoundError("a picture")

    with pytest.raises(FileNotFoundError, match="a picture"):
        write(tmp_path / "look.html", failing())
    (there,) = tmp_path.iterdir()
    assert (there if most == 10 else there / "index.html").read_bytes() == before


def test_a_place_that_may_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write(tmp_path / "file" / "look.html", iter([None]))  # before a unit is asked for


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_look_page import page, units, write
from seamwise.errors import StorageError
for most, n_bytes in ((10, 300), (100, 30_000), (100, 60_000)):  # a folder's picture; the pictures' file; the page
    page.MOST_UNITS = most
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
    try:
        write(Path(sys.argv[2]), units(60), 60)
    except StorageError as error:
        print(error)
"""


def test_a_full_disk(tmp_path):
    command = [sys.executable, "-c", FULL, __file__.rpartition("/")[0], str(tmp_path / "a.html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("cannot be written") == 3
    assert done.stdout.count("File too large") == 3
    assert list(tmp_path.iterdir()) == []


def test_a_unit_s_pictures_do_not_stay_in_memory(tmp_path):
    random = np.random.default_rng(0)

    def many(n):
        for i in range(n):
            yield Unit("a", i, {}, (Row("exemplars", random.integers(0, 256, (9, 64, 64, 3)).astype(np.uint8)),))

    peaks = []
    for n in (20, 200):
        tracemalloc.start()
        size = write(tmp_path / "a.html", many(n), n).stat().st_size
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert size > 200 * 20_000
    assert peaks[1] < peaks[0] + 2e6
