import os
import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from seamwise.systems.text.conllu import read_conllu
from seamwise.systems.text.sentence import Sentence, Token, Word
from seamwise.systems.text.show import edges, printable, tree_text

TEXT = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "text"
ANSI = re.compile(r"\x1b\[\d+m")
COMES = """\
From the AP comes this story:
   ╭──▸ From  ADP    case
   ├──▸ the   DET    det
 ╭─┴──▸ AP    PROPN  obl    ARG2→comes
─┼────▸ comes VERB   root   ● come.03
 │ ╭──▸ this  DET    det
 ├─┴──▸ story NOUN   nsubj  ARG1→comes
 ╰────▸ :     PUNCT  punct
"""


def words_of(heads):
    return [Word(f"w{k}", "NOUN", head, "dep") for k, head in enumerate(heads, start=1)]


def sentence_of(words, after=" "):
    return Sentence(tuple(words), tuple(Token(word.form, after=after) for word in words))


def heads_drawn(lines):
    """Heads as an eye finds them: left from the arrow to the head's line, then along it to where the head joins."""
    return [_head_drawn(lines, row, line.index("▸") - 1) for row, line in enumerate(lines)]


def _head_drawn(lines, row, at):
    while at >= 0 and lines[row][at] not in "╭├╰":
        assert lines[row][at] in "─┬┴┼│", lines[row]
        at -= 1
    if at < 0:
        return 0
    first = last = row
    while lines[first][at] not in "╭┬":
        first -= 1
    while lines[last][at] not in "╰┴":
        last += 1
    (head,) = (k for k in range(first, last + 1) if lines[k][at] in "┬┴┼")
    return head + 1


@st.composite
def trees(draw, most=14):
    """Heads of any tree with one root, crossing edges and all."""
    n = draw(st.integers(1, most))
    order = draw(st.permutations(range(1, n + 1)))
    heads = [0] * n
    for k, word in enumerate(order[1:], start=1):
        heads[word - 1] = order[draw(st.integers(0, k - 1))]
    return heads


def test_a_tree_is_drawn():
    words = [
        Word("From", "ADP", 3, "case"),
        Word("the", "DET", 3, "det"),
        Word("AP", "PROPN", 4, "obl"),
        Word("comes", "VERB", 0, "root", predicate="come.03", arguments=((3, "ARG2"), (6, "ARG1"))),
        Word("this", "DET", 6, "det"),
        Word("story", "NOUN", 4, "nsubj"),
        Word(":", "PUNCT", 4, "punct"),
    ]
    tokens = [Token(word.form, after="" if word.form == "story" else " ") for word in words]
    assert tree_text(Sentence(tuple(words), tuple(tokens))) == COMES


def test_where_edges_cross_the_level_one_is_broken():
    assert edges(words_of([3, 4, 0, 3]), most=9) == [" ╭────▸ ", " │ ╭──▸ ", "─┼─│──▸ ", " ╰─┴──▸ "]


@given(trees())
def test_heads_can_be_read_from_the_edges(heads):
    assert heads_drawn(edges(words_of(heads), most=len(heads))) == heads


@given(trees(), st.integers(1, 6))
def test_edges_that_find_no_lane_are_told_by_an_ellipsis(heads, most):
    lines = edges(words_of(heads), most)
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 2 * most + 4
    for row, head in enumerate(heads):
        if "…" not in lines[row]:
            assert _head_drawn(lines, row, lines[row].index("▸") - 1) == head


@given(
    st.lists(st.text(st.characters(exclude_categories=["Zs"]), min_size=1), min_size=1, max_size=8), st.integers(8, 90)
)
def test_no_line_is_wider_than_asked_for_whatever_the_text(forms, width):
    words = [Word(form, "X", k, "dep", predicate=form, arguments=((1, "A0"),)) for k, form in enumerate(forms)]
    told = tree_text(sentence_of(words), width)
    told.encode()
    assert told.count("\n") == 1 + len(forms)
    assert all(cell_len(line) <= width for line in told.split("\n"))


def test_columns_are_aligned_by_cells():
    words = [
        Word("愛斯基摩人", "PROPN", 2, "nsubj"),
        Word("ab", "VERB", 0, "root"),
        Word("😀", "SYM", 2, "discourse"),
        Word("e\u0301", "X", 2, "dep"),
    ]
    lines = tree_text(sentence_of(words)).splitlines()[1:]
    at = [cell_len(line[: line.index(word.tag)]) for line, word in zip(lines, words, strict=True)]
    assert len(set(at)) == 1


def test_a_text_cannot_command_the_terminal():
    assert printable("a\x1b[31m\u202eb\ud800\u2028") == "a�[31m�b��"
    assert printable("👨‍👩‍👧 عربي 中文") == "👨‍👩‍👧 عربي 中文"
    word = Word("\x1b]0;", "\x1b", 0, "\x07", predicate="\x1b", arguments=((1, "\x1b"),))
    assert not any(c in tree_text(sentence_of([word])) for c in "\x1b\x07")


def test_colour_changes_nothing_else():
    words = [Word("it", "PRON", 2, "nsubj"), Word("is", "VERB", 0, "root", predicate="be.01", arguments=((1, "ARG1"),))]
    plain, coloured = (tree_text(sentence_of(words), 30, colour) for colour in (False, True))
    assert ANSI.sub("", coloured).split() == plain.split()
    assert "\x1b" in coloured
    assert "\x1b" not in plain


def test_a_predicate_without_a_sense_is_marked():
    assert "●\n" in tree_text(sentence_of([Word("走", "VERB", 0, "root", predicate="_")]))


def test_what_does_not_fit_is_cut():
    long = tree_text(sentence_of([Word("a" * 500, "X", 0, "root", predicate="x" * 50)]), 40)
    assert [cell_len(line) for line in long.splitlines()] == [40, 40]
    assert all(line.endswith("…") for line in long.splitlines())
    assert "a… X" in long


@pytest.mark.parametrize("heads", [[-1, -1, -1], [2, 1, 0], [0, 0, 0], []])
def test_what_is_no_tree_is_told_all_the_same(heads):
    assert tree_text(sentence_of(words_of(heads))).count("\n") == len(heads) + bool(heads)


@pytest.mark.parametrize("shape", ["chain", "star", "random"])
def test_thousands_of_words_take_seconds(shape):
    chance = random.Random(0)
    grow = {"chain": lambda k: k, "star": lambda k: min(k, 1), "random": lambda k: chance.randint(1, k) if k else 0}
    started = time.monotonic()
    told = tree_text(sentence_of(words_of(map(grow[shape], range(5000)))))
    assert time.monotonic() - started < 10
    assert told.count("\n") == 5001


@pytest.mark.data
@pytest.mark.parametrize("name", ["zh-udup-dev.conllup", "en_ewt-udpb-dev.conllup"])
def test_all_trees_of_a_treebank_can_be_read_back(name):
    if not (TEXT / name).exists():
        pytest.skip(f"no {name} in {TEXT}")
    for sentence in read_conllu(TEXT / name)[:300]:
        lines = edges(sentence.words, most=60)
        assert heads_drawn(lines) == [word.head for word in sentence.words]
        assert all(cell_len(line) <= 100 for line in tree_text(sentence, 100).splitlines())
