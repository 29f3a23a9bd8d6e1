"""Files of text, with faults put into them: treebanks, raw text, tables and labels, parsers."""

from functools import cache

import numpy as np
import pytest
import torch
from fuzzing import FOLDER, Reader, file_of, never_breaks

from seamwise.look.text.characters import CharacterNet, load, read_text
from seamwise.look.text.concepts import concepts_of_file
from seamwise.look.text.tokens import tokens_of
from seamwise.systems.text.conllu import read_conllu, sentences_of, write_header, write_sentence
from seamwise.systems.text.inventory import Inventory
from seamwise.systems.text.parser import Parser
from seamwise.systems.text.raw import paragraphs, rebuilt, run_of
from seamwise.systems.text.splitting import Split
from seamwise.systems.text.stream import Text
from seamwise.systems.text.task import chain_named

TREEBANK = (
    "# newdoc id = a\n# sent_id = a-1\n# text = Du vin, ça.\n"
    "1-2\tDu\t_\t_\t_\t_\t_\t_\t_\t_\n1\tDe\tde\tADP\tP\t_\t3\tcase\t3:case\t_\n"
    "2\tle\tle\tDET\t_\tDefinite=Def\t3\tdet\t_\t_\n"
    "3\tvin\tvin\tNOUN\t_\t_\t0\troot\t_\tSpaceAfter=No\n4\t,\t,\tPUNCT\t_\t_\t3\tpunct\t_\tGloss=x|SpacesAfter=\\s\\s\n"
    "4.1\tne\t_\t_\t_\t_\t_\t_\t_\t_\n5\tça\tça\tPRON\t_\t_\t3\tdep\t_\tSpacesBefore=\\n|SpaceAfter=No\n\n"
    "# sent_id = a-2\n1\tNew York\t_\tPROPN\t_\t_\t_\t_\t_\tSpacesInToken=New\\s\\sYork\n"
    "2\tx\t_\t_\t_\t_\t_\t_\t_\t_\n\n"
).encode()
ROLES = (
    "# global.columns = ID FORM UPOS HEAD DEPREL UP:PRED UP:ARGHEADS MISC\n# sent_id = s1\n"
    "1\t他\tPRON\t2\tnsubj\t_\t_\tSpaceAfter=No\n2\t吃\tVERB\t0\troot\teat.01\tARG0:1|ARG1:3\tSpaceAfter=No\n"
    "3\t饭\tNOUN\t2\tobj\t_\t_\tSpaceAfter=No\n\n1\t走\tVERB\t0\troot\tXX\t_\t_\n"
).encode()
RAW = "Ein Satz.  Noch einer!\r\n\r\n\t字字。\u2028 x\x00y \ufeff👩‍👩‍👧\n".encode()
TABLE = '\ufefflabel,review\n1,"gut, sehr"\n0,"so\nso"\n-,na ja\n'.encode()
WORDS = "one two\nthree four\n"


def written_again(sentences):
    """What is read of a treebank is all written, and read again is the same."""
    text = write_header(roles=True) + "".join(write_sentence(s, roles=True) for s in sentences)
    again = list(sentences_of(text.split("\n"), "again"))
    assert [(s.words, s.tokens, s.name) for s in again] == [(s.words, s.tokens, s.name) for s in sentences]
    assert all(len(s.words) == sum(t.n_words for t in s.tokens) for s in sentences)


def read_raw(folder):
    with (folder / "raw.txt").open("rb") as file:
        text = Text(file, "raw.txt")
        parts = list(text)
    if text.error is not None:
        raise text.error
    return (folder / "raw.txt").read_bytes().decode("utf-8-sig"), "".join(parts)


def nothing_lost(found):
    whole, read = found
    assert read == whole
    pieces = list(paragraphs([read]))
    assert "".join(pieces) == read
    assert all(run_of(piece).text == piece for piece in pieces)


def of_documents(text):
    assert text.documents
    assert all(document.strip() for document in text.documents)
    assert text.labels is None or len(text.labels) == len(text.documents)


def labels_fit(concepts):
    assert concepts
    assert all(set(concept.labels.tolist()) <= {-1, 0, 1} for concept in concepts)


@cache
def parser():
    multiwords = (("ab", ("a", "b")),)
    inventory = Inventory(("a", "b"), ("ab",), ("ab",), ("NOUN", "VERB"), ("root", "dep"), multiwords=multiwords)
    torch.manual_seed(0)
    chain = chain_named("shared", inventory, 1, 8)
    return Parser(inventory, chain.build(0).eval(), Split(inventory).eval(), "shared", 8, {})


def parses(read):
    texts = ["ab a.\n\nb", "\t"]
    for text, found in zip(texts, read.parse(texts), strict=True):
        assert rebuilt(found) == (text if found else "")


def told_by(net):
    assert net(torch.from_numpy(net.encode("ab?"))[None]).shape == (1, 3, len(net.vocabulary) + 1)


READERS = (
    Reader(
        "treebank", "a.conllu", lambda: [TREEBANK, ROLES], lambda f: read_conllu(f / "a.conllu"), written_again,
        n_examples=200,
    ),
    Reader("raw text", "raw.txt", lambda: [RAW], read_raw, nothing_lost, n_examples=100),
    Reader(
        "text to look with", "a.txt", lambda: [RAW, b"good one\t1\nbad\t0\nso so\t1\n"],
        lambda f: read_text(f / "a.txt"), of_documents,
    ),
    Reader("table to look with", "a.csv", lambda: [TABLE], lambda f: read_text(f / "a.csv"), of_documents),
    Reader(
        "labels to look for", "noun.txt", lambda: [b"0\n1\n", b"a\nb\n", b"one two\t1\nthree four\t0\n"],
        lambda f: concepts_of_file(f / "noun.txt", tokens_of([WORDS], lambda text: np.arange(len(text)))), labels_fit,
    ),
    Reader(
        "parser, model.json", "model.json", lambda: [file_of(parser().save, "model.json")], Parser.load, parses,
        beside=lambda folder: parser().save(folder), kinds=("json",), named=FOLDER,
    ),
    Reader(
        "parser, weights", "weights.safetensors", lambda: [file_of(parser().save, "weights.safetensors")], Parser.load,
        parses, beside=lambda folder: parser().save(folder), kinds=("safetensors",), n_examples=30,
    ),
    Reader(
        "weights of characters", "w", lambda: [file_of(lambda f: CharacterNet("ab", 3, 1).save(f / "w"), "w")],
        lambda f: load(f / "w"), told_by, kinds=("safetensors",),
    ),
)  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_files_of_text_are_read_or_refused(reader, tmp_path):
    never_breaks(reader, tmp_path / FOLDER)
