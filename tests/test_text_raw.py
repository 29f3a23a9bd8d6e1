import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise.systems.text.conllu import read_conllu
from seamwise.systems.text.raw import (
    LONGEST,
    VISIBLE,
    WHITE,
    Run,
    escaped,
    paragraphs,
    raw_text,
    rebuilt,
    run_of,
    unescaped,
)
from seamwise.systems.text.sentence import Sentence, Token, Word

TEXT = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "text"
TREEBANKS = ["zh-udup-dev.conllup", "en_ewt-udpb-dev.conllup"]
ODD = "a。. \t\r\n\x00\x07\x1c\x85\xa0\u2028\u2029\u3000\ud800\udc00\ufeff\u200d\u200f\u0301|\\ש👩🏽"
texts = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=())))  # lone surrogates, too


def sentence(*forms, after=" ", opens=False, last=None):
    tokens = [Token(form, after=after) for form in forms[:-1]]
    tokens.append(Token(forms[-1], after=after if last is None else last))
    return Sentence(tuple(map(Word, forms)), tuple(tokens), opens=opens)


def visible(text):
    return VISIBLE.search(text) is not None


def test_white_space_is_what_no_form_can_hold():
    for code in range(sys.maxunicode + 1):
        white = unicodedata.category(chr(code)) in ("Zs", "Zl", "Zp", "Cc", "Cs")
        assert bool(WHITE.match(chr(code))) == white, hex(code)
        assert white or not chr(code).isspace()


def test_a_run_has_the_white_space_before_each_character():
    assert run_of(" ab\r\n\ufeffc \n") == Run("ab\ufeffc", (" ", "", "\r\n", ""), " \n")
    assert run_of("") == Run("", (), "")
    assert run_of("\n \x07") == Run("", (), "\n \x07")
    assert run_of("👩\u200d🔬 \u200fשל").characters == "👩\u200d🔬\u200fשל"


@settings(deadline=None)
@given(texts)
def test_no_text_loses_a_character(text):
    run = run_of(text)
    assert run.text == text
    assert len(run.before) == len(run.characters)
    assert not any(WHITE.search(c) for c in run.characters)
    assert not any(map(visible, (*run.before, run.after)))


@settings(deadline=None)
@given(texts)
def test_escapes_are_taken_back(text):
    line = escaped(text)
    assert unescaped(line) == text
    assert not WHITE.search(line)
    assert "|" not in line


def test_escapes_are_those_of_udpipe():
    assert escaped(" \t\r\n|\\") == r"\s\t\r\n\p\\"
    assert escaped("\x07\u2028\ud800") == r"\u0007\u2028\ud800"
    assert unescaped("\\q \\u12 \\") == "\\q \\u12 \\"


def test_udpipe_escapes_so():
    token = pytest.importorskip("ufal.udpipe").Token("a", "")
    for space in ("  ", "\t", "\r\n", "\n\n", "|", "\\"):
        token.setSpacesAfter(space)
        assert token.misc == f"SpacesAfter={escaped(space)}"


def test_raw_text_of_a_treebank():
    first, last = sentence("one", ".", opens=True), sentence("two", opens=True)
    assert raw_text([first, sentence("on"), last]) == "one . on\n\ntwo\n"
    chinese = [sentence("一", "二", "。", after=""), sentence("三", after="")]
    assert raw_text(chinese) == "一二。三\n"
    assert raw_text([sentence("a", last="\n\n\n"), sentence("b", opens=True, last=" \n")]) == "a\n\n\nb \n"
    assert raw_text([]) == ""


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1))
def test_what_was_parsed_is_rebuilt(forms):
    spaces = [" \n", "", "\t"]
    tokens = tuple(Token(form, after=spaces[k % 3], before="" if k else "\r\n") for k, form in enumerate(forms))
    parts = [Sentence(tuple(map(Word, forms))[k:end], tokens[k:end]) for k, end in ((0, 1), (1, len(forms)))]
    expected = "\r\n" + "".join(form + spaces[k % 3] for k, form in enumerate(forms))
    assert rebuilt(iter(parts)) == expected


@settings(deadline=None)
@given(st.lists(texts.map(lambda text: text + "\n")), st.booleans())
def test_paragraphs_joined_are_the_text(lines, at_once):
    text = "".join(lines)
    pieces = list(paragraphs([text] if at_once else lines))
    assert "".join(pieces) == text
    assert all(map(visible, pieces)) or len(pieces) == 1


def test_paragraphs_end_behind_empty_lines():
    lines = ["\n", "a\n", "b\r\n", " \r\n", "\n", "c\n", "\n"]
    assert list(paragraphs(lines)) == ["\na\nb\r\n \r\n\n", "c\n\n"]
    assert list(paragraphs(["".join(lines)])) == ["\na\nb\r\n \r\n\n", "c\n\n"]
    assert list(paragraphs(["a\r", "\r", "b"])) == ["a\r\r", "b"]
    assert list(paragraphs([])) == []
    assert list(paragraphs(["\n", " \n"])) == ["\n \n"]


def test_paragraphs_come_while_the_text_goes_on():
    def endless():
        while True:
            yield from ("a\n", "\n")

    pieces = paragraphs(endless())
    assert [next(pieces) for _ in range(3)] == ["a\n\n"] * 3


@pytest.mark.parametrize(
    ("unit", "end"),
    [("一二三。", "。"), ("one, two. ", ". "), ("a line\n", "\n"), ("word ", " "), ("x", "x"), (".", ".")],
)
def test_long_paragraphs_are_cut_where_it_harms_least(unit, end):
    text = unit * (100_000 // len(unit))
    for stream in ([text], text.splitlines(keepends=True)):
        pieces = list(paragraphs(stream))
        assert "".join(pieces) == text
        assert all(LONGEST // 2 <= len(piece) <= LONGEST + 1 and piece.endswith(end) for piece in pieces[:-1])
        assert len(pieces) >= 5


def test_no_piece_is_white_space_however_long_that_is():
    for text in ("\n" * 50_000 + "a" + " " * 50_000, "a" + "\n" * 50_000 + "b", "a" * LONGEST + " " * LONGEST + "b"):
        pieces = list(paragraphs(text.splitlines(keepends=True)))
        assert "".join(pieces) == text
        assert all(map(visible, pieces))


@pytest.mark.data
@pytest.mark.parametrize("name", TREEBANKS)
def test_text_of_a_treebank_has_its_characters(name):
    if not (TEXT / name).exists():
        pytest.skip(f"no {TEXT / name}")
    sentences = read_conllu(TEXT / name)
    text = raw_text(sentences)
    pieces = list(paragraphs(text.splitlines(keepends=True)))
    assert "".join(pieces) == text
    found = "".join(run_of(piece).characters for piece in pieces)
    assert found == "".join(s.characters for s in sentences)
    assert ("\n\n" in text) == name.startswith("en")
    assert name.startswith("en") or not WHITE.search(text[:-1].replace(" ", ""))
