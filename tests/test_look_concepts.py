import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamwise.errors import InputError, ModelError
from seamwise.look.text.concepts import MARKS, blocked, concept_of, concept_of_documents, concepts_of_file
from seamwise.look.text.tokens import tokens_of
from seamwise.look.text.units import places


def characters(*documents):
    return tokens_of(documents, lambda text: np.arange(len(text)))


def held(name, text):
    """The text, with a dot in place of what the concept does not hold at."""
    labels = concept_of(name, characters(text)).labels
    return "".join(c if holds else "." for c, holds in zip(text, labels, strict=True))


def refused(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("punctuation", "Oh, no!", "..,...!"),
        ("punctuation", "好，是。", ".，.。"),
        ("quote marks", 'a "b"', '.."."'),
        ("inside quotes", '"ab" “c” "d\n"', ".ab...c......"),
        ("digits", "a12b３", ".12.３"),
        ("letters", "a1 é好", "a..é好"),
        ("vowels", "Ohio x", "O.io.."),
        ("capitals", "AbC", "A.C"),
        ("white space", "a b\n", ". .\n"),
        ("word start", "it is 好", "i..i..好"),
        ("line start", "ab\n\ncd", "a...c."),
        ("line end", "ab\n\ncd", ".b...d"),
        ("far in the line", "x" * 42 + "\nab", "." * 40 + "xx\n.."),
        ("interjections", "O, alas! Ay me, O' nay.", "O..alas..Ay........nay."),
        ("particles", "好吗？酒吧吧台呢绒吧！", ".吗.......吧."),
        ("particles at the end of a clause", "好吧，吧好", ".吧..."),
        ("particles inside of a clause", "好吧，吧好", "...吧."),
        ("particle 啊", "啊呀", "啊."),
        ("before digits", "ab12c3", ".b..c."),
        ("after digits", "ab12c3", "....c."),
    ],
)
def test_what_holds_where(name, text, expected):
    assert held(name, text) == expected


@given(st.text(max_size=40), st.sampled_from(sorted(MARKS)))
def test_any_text_can_be_marked(text, name):
    assert MARKS[name](text).shape == (len(text),)


def test_bytes_and_pieces():
    of_bytes = tokens_of(["a好", "b"], lambda text: np.frombuffer(text.encode(), np.uint8))
    assert of_bytes.start.tolist() == [0, 1, 1, 1, 0]
    assert [of_bytes.text(k) for k in range(5)] == ["a", "好", "好", "好", "b"]
    assert of_bytes.document.tolist() == [0, 0, 0, 0, 1]
    pieces = tokens_of(["Oh 12!"], lambda text: np.zeros((4, 3)), lambda text: ["", "Oh", " 12", "!"])
    assert concept_of("digits", pieces).labels.tolist() == [-1, 0, 1, 0]
    assert pieces.ids.shape == (4, 3)


def test_a_token_is_where_its_first_letter_is():
    parts = ["  a", "\nb", "\n\n c", "\n"]
    pieces = tokens_of(
        ["".join(parts), " "], lambda text: np.zeros(4 if len(text) > 1 else 0), lambda text: parts * (len(text) > 1)
    )
    assert pieces.line.tolist() == [0, 1, 3, 3]
    assert [pieces.text(k) for k in range(4)] == parts
    assert concept_of("line start", pieces).labels.tolist() == [0, 1, 0, 0]
    assert concept_of("letters", pieces).labels.tolist() == [1, 1, 1, 0]
    assert concept_of("white space", pieces).labels.tolist() == [0, 0, 0, 1]
    assert [places(pieces)[k] // 12 for k in range(3)] == [2, 0, 1]


def test_labels_of_more_kinds_than_0_and_1(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("0\n1\n2\n-\n")
    found = {concept.name: concept.labels.tolist() for concept in concepts_of_file(path, characters("abcd"))}
    assert found == {"mine 0": [1, 0, 0, -1], "mine 1": [0, 1, 0, -1], "mine 2": [0, 0, 1, -1]}


def test_what_does_not_fit_the_text():
    with pytest.raises(ModelError, match="7 numbers"):
        tokens_of(["abc"], lambda text: np.zeros(7))
    with pytest.raises(ModelError, match="pieces"):
        tokens_of(["abc"], lambda text: np.zeros(1), lambda text: ["ab"])


def test_lines_are_counted_through_documents():
    tokens = characters("a\nb\n", "c\n\nd")
    assert tokens.line.tolist() == [0, 0, 1, 1, 2, 2, 3, 4]
    assert tokens.n_lines == 5


def test_an_unknown_name_says_what_is_known():
    assert "did you mean 'digits'?" in refused(concept_of, "digit", characters("a"))
    assert "before" in refused(concept_of, "before nothing", characters("a"))


def test_a_file_with_a_label_a_token_a_line_or_a_document(tmp_path):
    path = tmp_path / "mine.txt"
    tokens = characters("ab\nc", "d\ne")
    for lines, level in (("1 0 0 1 - 1 0", "token"), ("1 - 0 1", "line"), ("1 0", "document")):
        path.write_text("\n".join(lines.split()) + "\n")
        (found,) = concepts_of_file(path, tokens)
        assert (found.name, found.level) == ("mine", level)
        assert found.labels.tolist() == [-1 if label == "-" else int(label) for label in lines.split()]
    path.write_text("1\n0\n0\n")
    assert "3 lines" in (told := refused(concepts_of_file, path, tokens))
    assert "token (7), or line (4), or document (2)" in told


def test_a_file_of_pieces_and_tags(tmp_path):
    path = tmp_path / "tags.tsv"
    path.write_text("Oh\tINTJ\nno\tINTJ\n!\tPUNCT\n\ncat\tNOUN\n")
    tokens = characters("Oh no!\n", "cat x")
    found = {concept.name: concept.labels.tolist() for concept in concepts_of_file(path, tokens)}
    assert found["tags INTJ"] == [1, 1, -1, 1, 1, 0, -1, 0, 0, 0, -1, -1]
    assert set(found) == {"tags INTJ", "tags NOUN", "tags PUNCT"}
    path.write_text("Oh\t1\ndog\t0\n")
    assert "line 2" in refused(concepts_of_file, path, tokens)
    path.write_text("Oh\t1\nno\n")
    assert "no label" in refused(concepts_of_file, path, tokens)


def test_labels_of_whole_lines_and_documents_are_moved_as_such(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("good\t1\nbad one\t0\n")
    for documents, level, labels in (
        (("good", "bad one"), "document", [1, 0]),
        (("good\n\nbad one",), "line", [1, -1, 0]),
    ):
        (found,) = concepts_of_file(path, characters(*documents))
        assert (found.level, found.labels.tolist()) == (level, labels)
    mixed = characters("11\na1", "2")
    assert blocked(concept_of("digits", mixed), mixed).level == "token"
    assert concept_of_documents("sentiment", [1, 0, -1]).labels.tolist() == [1, 0, -1]


def test_text_in_another_encoding(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("好\t1\n".encode("gb18030"))
    assert "iconv" in refused(concepts_of_file, path, characters("好"))
