import functools
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seamwise.errors import InputError
from seamwise.systems.text.conllu import read_conllu, sentences_of, write_header, write_sentence
from seamwise.systems.text.raw import rebuilt, run_of
from seamwise.systems.text.sentence import Sentence, Token, Word

TEXT = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "text"
TREEBANKS = ["zh-udup-dev.conllup", "en_ewt-udpb-dev.conllup"]
HEADER = write_header(roles=True)


def row(position, form, head="_", relation="_", *more, tag="X", misc="_"):
    return "\t".join([str(position), form, "_", tag, "_", "_", str(head), relation, "_", misc, *more])


def tree(*heads):
    return "\n".join(row(k, f"w{k}", head) for k, head in enumerate(heads, start=1))


def written(folder, text, name="t.conllu"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder, text):
    return read_conllu(written(folder, text))


def parse(text):
    return list(sentences_of(text.split("\n"), "t.conllu"))


def refused(folder, text):
    path = written(folder, text)
    with pytest.raises(InputError) as caught:
        read_conllu(path)
    message = str(caught.value)
    assert str(path) in message
    assert all(part in message for part in ("given", "expected", "remedy"))
    return message.replace(str(path), "FILE")


SENTENCE = """# newdoc id = d1
# sent_id = s-1
# text = I didn't go.
1	I	I	PRON	PRP	Case=Nom	4	nsubj	4:nsubj	Gloss=I
2-3	didn't	_	_	_	_	_	_	_	_
2	did	do	AUX	VBD	_	4	aux	4:aux	_
3	n't	not	PART	RB	_	4	advmod	4:advmod	_
4	go	go	VERB	VB	_	0	root	0:root	Gloss=go|SpaceAfter=No
4.1	x	_	_	_	_	_	_	_	_
5	.	.	PUNCT	.	_	4	punct	4:punct	SpacesAfter=\\n\\s

"""


def test_a_sentence(tmp_path):
    (found,) = read(tmp_path, SENTENCE)
    assert (found.name, found.document, found.line, found.opens) == ("s-1", "d1", 1, True)
    assert [w.form for w in found.words] == ["I", "did", "n't", "go", "."]
    assert found.words[0] == Word("I", "PRON", 4, "nsubj", "I", "PRP", "Case=Nom", "4:nsubj", "Gloss=I")
    assert found.words[3].misc == "Gloss=go"
    assert found.tokens == (Token("I"), Token("didn't", 2), Token("go", after=""), Token(".", after="\n "))
    assert found.text == "I didn't go."
    assert not any(w.predicate or w.arguments for w in found.words)


def test_it_is_written_as_it_was(tmp_path):
    (found,) = read(tmp_path, SENTENCE)
    lines = [line for line in SENTENCE.splitlines()[1:] if not line.startswith("4.1")]
    assert write_sentence(found).split("\n") == ["# newpar", *lines, ""]


def test_roles(tmp_path):
    rows = [row(1, "a", 2, "x", "_", "_"), row(2, "b", 0, "x", "give.01", "A0:1|AM-TMP:3")]
    rows += [row(3, "c", 2, "x", "be.01", "_"), row(4, "d", 2, "x", "XX", "_")]
    text = HEADER + "\n".join(rows) + "\n\n"
    (found,) = read(tmp_path, text)
    assert [w.predicate for w in found.words] == ["", "give.01", "be.01", "_"]
    assert found.words[1].arguments == ((1, "A0"), (3, "AM-TMP"))
    assert HEADER + write_sentence(found, roles=True) == text.replace("1\ta", "# text = a b c d\n1\ta", 1)
    (plain,) = parse(write_sentence(found))
    assert [w.predicate for w in plain.words] == [""] * 4
    assert write_header(roles=False) == ""


def test_arguments_make_a_predicate(tmp_path):
    (found,) = read(tmp_path, HEADER + row(1, "a", 0, "root", "_", "A0:1"))
    assert (found.words[0].predicate, found.words[0].arguments) == ("_", ((1, "A0"),))


def test_columns_are_those_of_the_first_line(tmp_path):
    (found,) = read(tmp_path, "# global.columns = FORM ID NE\na\t1\tLOC\nb\t2\t_\n")
    assert found.words == (Word("a"), Word("b"))


def test_what_editors_do_is_read(tmp_path):
    one = parse(row(1, "é", 0))
    for text in (
        row(1, "é", 0) + "\n\n",
        row(1, "é", 0),
        "\ufeff" + row(1, "é", 0) + "\r\n\r\n",
        "\n\n" + row(1, "é", 0) + "\n \n\n\n",
        row(1, "é", 0).replace("_", ""),
    ):
        (found,) = read(tmp_path, text)
        assert (found.words, found.tokens) == (one[0].words, one[0].tokens)
    later = parse("# sent_id = a\n\n\n" + row(1, "b", 0) + "\n\n\n\n" + row(1, "c", 0))
    assert [(s.name, s.line) for s in later] == [("a", 1), ("", 8)]


def test_sentences_without_trees_are_read(tmp_path):
    (found,) = read(tmp_path, tree("_", "_"))
    assert [w.head for w in found.words] == [-1, -1]
    assert parse(write_sentence(found))[0].words == found.words


def test_spaces_inside_and_before():
    first, last = row(1, "10 000", 0, misc=r"SpacesBefore=\n\t|SpacesAfter="), row(2, "tôi", 1, misc="SpacesAfter=x")
    (found,) = parse(f"{first}\n{last}")
    assert found.tokens == (Token("10 000", before="\n\t", after=""), Token("tôi"))
    (token,) = parse(row(1, "a b", 0, misc=r"SpacesInToken=a\nb"))[0].tokens
    assert token.form == "a\nb"
    (token,) = parse(row(1, "a b", 0, misc=r"SpacesInToken=other"))[0].tokens
    assert token.form == "a b"


def test_a_range_of_one_word():
    (found,) = parse(f"{row('1-1', 'd’')}\n{row(1, 'de', 0)}")
    assert (found.tokens, found.words) == ((Token("d’"),), (Word("de", "X", 0),))
    assert "1-1\td’" in write_sentence(found)


def named(*names):
    return "\n\n".join((f"# sent_id = {name}\n" if name else "") + row(1, "a", 0) for name in names)


def documents(folder, text):
    return [(s.document.removeprefix(f"{folder}/"), s.opens) for s in read(folder, text)]


def test_documents_are_told_by_newdoc(tmp_path):
    comments = ("", "# newdoc id = b\n", "# newpar\n", "# newdoc\n", "# newdoc id = b\n", "# sent_id = 1\n")
    found = documents(tmp_path, "\n\n".join(comment + row(1, "a", 0) for comment in comments))
    assert [d for d, _ in found] == ["t.conllu:1", "b", "b", "t.conllu:9", "b", "b"]
    assert [o for _, o in found] == [False, True, True, True, True, False]


def test_documents_are_told_by_names(tmp_path):
    found = documents(tmp_path, named("web-7-0001", "web-7-0002", "web-8-0001", "", "mail9_1", "mail9_2"))
    assert [d for d, _ in found] == ["web-7", "web-7", "web-8", "t.conllu:10", "mail9", "mail9"]
    assert [o for _, o in found] == [True, False, True, True, True, False]


@pytest.mark.parametrize(
    "names", [("train-s1", "train-s2", "train-s3"), ("1", "2"), ("", ""), ("a1", "b1"), ("x", "x"), ("n1",)]
)
def test_names_that_tell_no_documents(tmp_path, names):
    found = documents(tmp_path, named(*names))
    assert len({d for d, _ in found}) == len(names)
    assert not any(o for _, o in found)


def test_parts_of_a_treebank_are_no_documents(tmp_path):
    found = documents(tmp_path, named(*(f"train-s{k}" for k in range(1001)), "web-1", "web-2"))
    assert len({d for d, _ in found}) == 1002
    assert [o for _, o in found] == [False] * 1001 + [True, False]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1\ta\tb\n", "line 1: wrong number of columns"),
        (row(1, "a", 0) + "\t_\t_\n", "# global.columns"),
        (HEADER + row(1, "a", 0), "10 columns"),
        (row(1, "a", 0).replace("\t", "  "), "divided by spaces"),
        ("# global.columns = ID LEMMA\n1\ta\n", "line 1: columns that cannot be read"),
        ("# global.columns = ID FORM FORM\n1\ta\ta\n", "columns that cannot be read"),
        (tree(0, 1) + "\n" + row(4, "a", 1), "line 3: ID out of order"),
        (tree(0) + "\n" + tree(0), "line 2: ID out of order"),
        (row("x", "a", 0), "an ID that is none"),
        (row("²", "a", 0), "an ID that is none"),
        (row("9" * 5000, "a", 0), "an ID that is none"),
        (tree(0, "9" * 5000), "no word"),
        (tree(0, 3), "line 2: a head that is no word"),
        (tree(0, -1), "no word"),
        (tree(0, "x"), "no word"),
        (tree(0, "_"), "no word"),
        (tree(0, "١"), "no word"),
        (tree(0, 2), "line 2: a word that depends on itself"),
        (tree(0, 1) + "\n\n" + tree(2, 3, 4, 2, 0), "line 5: heads that go round"),
        (tree(2, 1, 0), "1 -> 2 -> 1"),
        (tree(0, 1, 0), "line 3: two roots"),
        (tree(2, 3, 1), "line 1: no root"),
        (f"{row('2-3', 'ab')}\n{tree(0, 1, 1)}", "line 1: a range of words out of place"),
        (f"{row('1-2', 'ab')}\n{row(1, 'a', 0)}\n{row('2-3', 'bc')}\n", "line 3: a range of words out of place"),
        (f"{row('2-1', 'ab')}\n{tree(0, 1)}", "out of place"),
        (f"{row('1-2', 'ab')}\n{row('1-2', 'ab')}\n{tree(0, 1)}", "line 2: a range of words out of place"),
        (f"{row('1-3', 'ab')}\n{tree(0, 1)}", "line 1: a range that points outside"),
        (row("0.1", "a"), "a sentence without words"),
        (f"{row(1, 'a', 0)}\n# sent_id = 2\n{row(1, 'b', 0)}", "line 2: a comment behind words"),
        (row(1, "", 0), "a FORM that cannot be read"),
        (row(1, " a", 0), "a FORM that cannot be read"),
        (row(1, "\u3000", 0), "a FORM that cannot be read"),
        (row(1, "a\x07b", 0), r"'a\x07b'"),
        (f"{row('1-2', 'a ')}\n{tree(0, 1)}", "line 1: a FORM that cannot be read"),
        (HEADER + row(1, "a", 0, "_", "x.01", "A0:2"), "line 2: an argument that is no word"),
        (HEADER + row(1, "a", 0, "_", "x.01", "A0:0"), "an argument that is no word"),
        (HEADER + row(1, "a", 0, "_", "x.01", "A0:1-1"), "arguments that cannot be read"),
        (HEADER + row(1, "a", 0, "_", "x.01", "A0:1,A1:1"), "arguments that cannot be read"),
        (HEADER + row(1, "a", 0, "_", "x.01", "A0"), "arguments that cannot be read"),
        (HEADER + row(1, "a", 0, "_", "x.01", "A0:1|"), "arguments that cannot be read"),
        (tree(0).encode() + b"\n\n" + row(1, "a", 0).encode().replace(b"a", b"\xb0\xa1"), "line 3: not UTF-8"),
        (b"\n1\tab\xff", "0xff, byte 5 of the line"),
        (tree(0).encode("utf-16"), "line 1: not UTF-8"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path, text, told):
    message = refused(tmp_path, text)
    assert told in message
    assert message.startswith("FILE, line ")
    assert len(message) < 700


@pytest.mark.parametrize("text", ["", "\n\n", "# sent_id = 1\n", "# newdoc\n\n"])
def test_files_without_sentences_are_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"empty|no sentence"):
        read(tmp_path, text)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=str(path)):
            read_conllu(path)


def test_sentences_come_one_by_one():
    def endless():
        while True:
            yield from (row(1, "a", 0) + "\n", "\n")

    found = sentences_of(endless(), "t")
    assert [next(found).line for _ in range(3)] == [1, 3, 5]


def test_long_sentences_are_read():
    n = 20_000
    (chain,) = parse(tree(*range(n)))
    assert chain.words[-1].head == n - 1
    with pytest.raises(InputError, match="go round"):
        parse(tree(0, n, *range(2, n)))


def cut(text, joints):
    """A text as one sentence, with tokens at some of the white space (others have it inside) and between characters."""
    run = run_of(text)
    tokens, form = [], ""
    spaces = (*run.before[1:], run.after)
    for k, (character, after) in enumerate(zip(run.characters, spaces, strict=True)):
        form += character
        if joints >> (k % 60) & 1 or k == len(spaces) - 1:
            tokens.append(Token(form, after=after, before="" if tokens else run.before[0]))
            form = ""
        else:
            form += after
    words = tuple(Word(token.form, head=k) for k, token in enumerate(tokens))
    return Sentence(words, tuple(tokens))


ODD = "ab_#=|\\ \t\r\n\x00\x85\xa0\u2028\u3000\ud800\ufeff\u200d"
texts = st.text(st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=())), min_size=1)


@settings(deadline=None)
@given(texts, st.integers(0, 2**60 - 1))
def test_any_text_goes_through_a_file(text, joints):
    assume(run_of(text).characters)
    sentence = cut(text, joints)
    block = write_sentence(sentence, roles=True)
    assert len(block.splitlines()) == block.count("\n") == len(sentence.tokens) + 2
    (found,) = sentences_of((HEADER + block).encode().decode().split("\n"), "t")
    assert found.tokens == sentence.tokens
    assert [w.head for w in found.words] == [w.head for w in sentence.words]
    assert rebuilt([found]) == text


values = st.text("ab.:=|é中", min_size=1)


@settings(deadline=None, max_examples=50)
@given(st.data(), st.integers(1, 4))
def test_sentences_with_roles_round_trip(data, n):
    order = data.draw(st.permutations(range(n)))  # the first of it is the root; others depend on one before them
    heads = {order[k]: order[data.draw(st.integers(0, k - 1))] + 1 if k else 0 for k in range(n)}
    arguments = st.lists(st.tuples(st.integers(1, n), st.text("AM-01", min_size=1)), max_size=3)
    words, tokens, at = [], [], 0
    for k in range(n):
        form, tag, *others = data.draw(st.lists(values, min_size=8, max_size=8))
        sense = data.draw(st.sampled_from(["", "_", "give.01"]))
        words.append(Word(form, tag, heads[k], *others, sense, tuple(data.draw(arguments)) if sense else ()))
    while at < n:
        size = data.draw(st.integers(1, n - at))
        form = words[at].form if size == 1 else data.draw(values)
        tokens.append(Token(form, size, data.draw(st.sampled_from(["", " ", "\n", "\t"]))))
        at += size
    sentence = Sentence(tuple(words), tuple(tokens), data.draw(values), opens=data.draw(st.booleans()))
    (found,) = parse(HEADER + write_sentence(sentence, roles=True))
    assert replace(found, line=0) == replace(sentence, line=0)


@functools.cache
def treebank(name):
    path = TEXT / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return read_conllu(path)


@pytest.mark.data
@pytest.mark.parametrize("name", TREEBANKS)
def test_treebanks_round_trip(name):
    sentences = treebank(name)
    text = HEADER + "".join(write_sentence(s, roles=True) for s in sentences)
    for read, written in zip(sentences, parse(text), strict=True):
        assert replace(read, document="", line=0) == replace(written, line=0)
    n_predicates = sum(bool(w.predicate) for s in sentences for w in s.words)
    assert (len(sentences), n_predicates) == {"zh": (500, 675), "en": (1973, 4977)}[name[:2]]


@pytest.mark.data
@pytest.mark.parametrize("name", TREEBANKS)
def test_the_official_scorer_reads_what_is_written(tmp_path, name):
    udeval = pytest.importorskip("udtools.udeval")
    sentences = treebank(name)
    path = tmp_path / "plain.conllu"
    path.write_text("".join(map(write_sentence, sentences)))
    with path.open() as file:
        loaded = udeval.load_conllu(file, str(path), {})
    assert len(loaded.words) == sum(len(s.words) for s in sentences)
    assert len(loaded.tokens) == sum(len(s.tokens) for s in sentences)
    assert "".join(loaded.characters) == "".join(s.characters for s in sentences)
