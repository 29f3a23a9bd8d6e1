"""The parser: made from a treebank, any text in, the same characters out; its folder; where sentences begin."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seamwise.errors import InputError, ModelError, TaskError
from seamwise.systems.text import make, splitting
from seamwise.systems.text.conllu import read_conllu, write_sentence
from seamwise.systems.text.decoding import paragraphs_of, piece_of
from seamwise.systems.text.inventory import Inventory
from seamwise.systems.text.make import train_parser
from seamwise.systems.text.parser import Parser
from seamwise.systems.text.raw import rebuilt, run_of
from seamwise.systems.text.sentence import Sentence, Token, Word
from seamwise.systems.text.spanning import is_tree
from seamwise.systems.text.world import sentences

ODD = ["", " ", "\ufeff\tA\u200db \x00c. \n\nשלום \u2028 👩‍👩‍👧!\r\n\r\n\n  x\x85. y\n"]
ODD += ["\ud800", "字" * 900, "a" * 900]


@pytest.fixture(scope="module")
def treebank(tmp_path_factory):
    """Generated sentences, a third of them with spaces, five a document, one with a token of two words."""
    path = tmp_path_factory.mktemp("treebank") / "train.conllup"
    found = list[Sentence]()
    for k, own in enumerate(sentences(60, seed=5)):
        after = " " if k % 3 == 0 else ""
        tokens = tuple(replace(token, after=after) for token in own.tokens)
        found.append(replace(own, tokens=tokens, name=f"d{k // 5}-{k}", document=f"d{k // 5}", opens=k % 5 == 0))
    words = (Word("de", "ADP", 3, "case"), Word("le", "PART", 3, "dep"), Word("ville", "NOUN", 0, "root"))
    odd = Sentence(words, (Token("du", 2), Token("ville", after="")), "e-1", "e")
    text = "# global.columns = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC UP:PRED UP:ARGHEADS\n"
    path.write_text(text + "".join(write_sentence(s, roles=True) for s in [odd, *found]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def parser(treebank):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "SIZE", 12)
        patch.setattr(make, "FIT", replace(make.FIT, batch=8, eval_every=5, warmup=2))
        patch.setattr(splitting, "FIT", replace(splitting.FIT, batch=8, min_steps=2, max_steps=4, eval_every=2))
        return train_parser(treebank, passes=2)


def test_any_text_is_parsed_and_can_be_rebuilt(parser):
    for text, found in zip(ODD, parser.parse(ODD), strict=True):
        assert rebuilt(found) == (text if run_of(text).characters else "")
        for sentence in found:
            assert is_tree(np.array([word.head for word in sentence.words]))


@given(st.lists(st.text(max_size=60), max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_character_is_lost(parser, texts):
    for text, found in zip(texts, parser.parse(texts), strict=True):
        assert rebuilt(found) == (text if run_of(text).characters else "")


def test_one_word_hangs_on_the_root_by_root(parser):
    (found,) = parser.parse(["".join(s.characters for s in sentences(8, seed=9))])
    for sentence in found:
        roots = [word.relation for word in sentence.words if word.head == 0]
        assert roots == ["root"]
        assert all(word.relation != "root" for word in sentence.words if word.head)


def test_texts_are_parsed_alike_alone_and_together(parser):
    texts = [s.characters for s in sentences(5, seed=11)]
    together = list(parser.parse(texts))
    assert together == [next(parser.parse([text])) for text in texts]


def test_an_empty_line_ends_a_sentence_and_opens_the_next(parser):
    (found,) = parser.parse(["丝丰\n\n久与"])
    opening = [s.characters for s in found if s.opens]
    assert "".join(s.characters for s in found) == "丝丰久与"
    assert opening[1].startswith("久")


def test_what_is_given_is_kept(parser, treebank):
    gold = read_conllu(treebank)[:12]
    by_words = parser.annotate(gold, "words")
    assert [[w.form for w in s.words] for s in by_words] == [[w.form for w in s.words] for s in gold]
    by_tags = parser.annotate(gold, "tags")
    assert [[w.tag for w in s.words] for s in by_tags] == [[w.tag for w in s.words] for s in gold]
    by_tree = parser.annotate(gold, "tree")
    assert [[(w.head, w.relation) for w in s.words] for s in by_tree] == [
        [(w.head, w.relation) for w in s.words] for s in gold
    ]
    assert [s.characters for s in parser.annotate(gold, "sentences")] == [s.characters for s in gold]


def test_a_folder_gives_the_same_parser(parser, tmp_path):
    parser.save(tmp_path / "m")
    again = Parser.load(tmp_path / "m")
    texts = [s.characters for s in sentences(5, seed=12)]
    assert list(again.parse(texts)) == list(parser.parse(texts))
    assert again.about == json.loads(json.dumps(dict(parser.about)))
    parser.save(tmp_path / "m")  # replaced whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]


def test_a_damaged_folder_is_named(parser, tmp_path):
    with pytest.raises(ModelError, match="no parser"):
        Parser.load(tmp_path)
    parser.save(tmp_path / "m")
    weights = tmp_path / "m" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        Parser.load(tmp_path / "m")
    record = tmp_path / "m" / "model.json"
    told = json.loads(record.read_text())
    record.write_text(json.dumps(told | {"inventory": {}}))
    with pytest.raises(ModelError, match="damaged"):
        Parser.load(tmp_path / "m")
    record.write_text(json.dumps(told | {"task": "digits"}))
    with pytest.raises(ModelError, match="'digits'"):
        Parser.load(tmp_path / "m")


def test_a_direct_network_is_a_parser_without_tags(treebank, monkeypatch):
    monkeypatch.setattr(make, "SIZE", 8)
    monkeypatch.setattr(make, "FIT", replace(make.FIT, batch=8, eval_every=5, warmup=2))
    monkeypatch.setattr(splitting, "FIT", replace(splitting.FIT, batch=8, min_steps=2, max_steps=2, eval_every=1))
    found = train_parser(treebank, passes=1, regime="direct")
    assert not found.has_roles
    (parsed,) = found.parse(["丝丰久与。"])
    assert {word.tag for s in parsed for word in s.words} == {"_"}


def test_a_treebank_without_trees_is_refused(tmp_path):
    path = tmp_path / "bare.conllu"
    path.write_text("1\ta\t_\t_\t_\t_\t_\t_\t_\t_\n\n")
    with pytest.raises(InputError, match=r"bare\.conllu: no sentences to learn from"):
        train_parser(path, passes=1)


def test_an_unknown_variant_is_refused_before_training(treebank):
    with pytest.raises(TaskError, match="'shard'"):
        train_parser(treebank, passes=1, variant="shard")


def test_pieces_hold_all_of_a_text():
    run = run_of("  a b\n\n c\n\n\nd ")
    pieces = paragraphs_of(run)
    assert [p.characters for p in pieces] == ["ab", "c", "d"]
    assert (
        "".join("".join(b + c for b, c in zip(p.before, p.characters, strict=True)) + p.after for p in pieces)
        == run.text
    )
    own = Sentence((Word("x"), Word("yz")), (Token("x", after=" "), Token("yz", after="")))
    assert piece_of(own).before == ("", " ", "")


def test_a_long_sentence_is_cut_where_a_boundary_is_least_improbable():
    probable = np.full(1000, 0.01)
    probable[[0, 300, 650]] = 0.4
    places = splitting._cut(probable)
    assert max(np.diff([*places, 1000])) <= splitting.LONGEST
    assert 300 in places
    assert 650 in places


def test_windows_tell_each_boundary(parser):
    class Known(torch.nn.Module):
        """Says that a sentence begins at each character with id 2."""

        def forward(self, characters):
            is_begin = (characters[..., 0] == 2).float()
            return torch.stack([1 - is_begin, is_begin], dim=-1)

    text = np.full((1000, 3), 3, dtype=np.int32)
    text[[0, 5, 170, 191, 192, 400, 999], 0] = 2
    places = splitting.breaks_of(Known(), [text, text[:3]])
    assert places == [splitting._cut((text[:, 0] == 2).astype(float)), [0]]
    assert {0, 5, 170, 191, 192, 400, 999} <= set(places[0])


def test_an_inventory_is_read_again():
    own = Inventory(
        ("a",), ("ab",), ("a",), ("X",), ("root",), ("A0",), (("du", ("de", "le")),), spaces=False, gaps=True
    )
    assert Inventory.of_record(json.loads(json.dumps(own.record()))) == own


def test_a_word_may_hold_a_plain_space_where_the_treebank_had_such(parser):
    spaced = replace(parser, inventory=replace(parser.inventory, gaps=True))
    (found,) = spaced.parse(["丝 丰\n久"])
    assert rebuilt(found) == "丝 丰\n久"
