import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seamwise.errors import InputError, ModelError
from seamwise.look.text.characters import (
    CharacterNet,
    Text,
    bits_per_character,
    divided,
    load,
    main,
    network,
    read_text,
    train,
    vocabulary_of,
)

TEXT = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "text"


def written(tmp_path, content, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(call, *arguments):
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


def test_plain_text_is_one_document(tmp_path):
    assert read_text(written(tmp_path, "\ufeffO!\r\nAy.\n")) == Text(("O!\nAy.\n",))


def test_lines_with_labels_are_documents(tmp_path):
    assert read_text(written(tmp_path, "Good. \t1\n\nBad\t0\n")) == Text(("Good. ", "Bad"), (1, 0))
    assert read_text(written(tmp_path, "Good\t1\nno label\n")) == Text(("Good", "no label"), (1, -1))
    assert read_text(written(tmp_path, "Good\t1\nno\n\nlabels\n")).labels is None
    words = read_text(written(tmp_path, "Good\tpos\nBad\tneg\n" * 2))
    assert (words.documents[:2], words.labels, words.label) == (("Good", "Bad"), (1, 0, 1, 0), "label pos")
    (note,) = read_text(written(tmp_path, "a\t3\nb\t4\nc\t5\n" * 3)).notes
    assert "3 kinds: 3, 4, 5" in note


def test_a_table(tmp_path):
    path = written(tmp_path, 'label,review,other\n1,"好, ""很好""\n是",x\n0, ,y\n0,不好,\n', "a.csv")
    assert read_text(path) == Text(('好, "很好"\n是', "不好"), (1, 0))
    assert read_text(path, "other").documents == ("x", "y")
    assert "label, review, other" in refused(read_text, path, "text")
    named = written(tmp_path, "label,text\ngood,a\nbad,b\n,c\n", "a.csv")
    assert read_text(named) == Text(("a", "b", "c"), (1, 0, -1), "label good")
    assert read_text(written(tmp_path, "label,text\n1,a\n,b\n0,c\n", "a.csv")).labels == (1, -1, 0)
    several = read_text(written(tmp_path, "label,text\n1,a\n2,b\n3,c\n", "a.csv"))
    assert several.labels is None
    assert "1, 2, 3" in several.notes[0]
    assert read_text(written(tmp_path, "text\na\u2028b\x85c\n", "a.csv")).documents == ("a\u2028b\x85c",)
    assert "no column named" in refused(read_text, written(tmp_path, "a,b\n1,2\n", "a.csv"))
    assert "no table" in refused(read_text, written(tmp_path, 'review\n"a', "a.csv"))
    assert "1 columns in 'b'" in refused(read_text, written(tmp_path, "label,review\n1,a\n\nb\n", "a.csv"))


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
def test_text_in_another_encoding(tmp_path, before):
    path = written(tmp_path, before + b"ok\n" + "吗".encode("gb18030"))
    told = refused(read_text, path)
    assert f"line 2, byte {4 + len(before)}: no UTF-8" in told
    assert "iconv" in told


def test_utf_16_is_told_as_such(tmp_path):
    for kind, name in (("utf-16", "UTF-16"), ("utf-32", "UTF-32")):
        told = refused(read_text, written(tmp_path, "好".encode(kind)))
        assert f"{name}, not UTF-8" in told
        assert f"iconv -f {name}" in told


@pytest.mark.parametrize(("content", "told"), [(b"", "empty"), (b" \n", "white space alone")])
def test_nothing_in_it(tmp_path, content, told):
    assert told in refused(read_text, written(tmp_path, content))
    assert "no such file" in refused(read_text, tmp_path / "none.txt")
    assert "no table" in refused(read_text, written(tmp_path, "a"), "review")


def test_the_vocabulary_is_what_occurs_twice_most_frequent_first():
    assert vocabulary_of(Text(("aab", "bbc"))) == "ba"
    net = CharacterNet("ba", units=4)
    assert net.encode("abcé").tolist() == [2, 1, 0, 0]
    assert net(torch.tensor([[2, 1, 0]])).shape == (1, 3, 3)


def test_what_is_held_out():
    assert divided(Text(("x" * 95 + "y" * 5,))) == ("x" * 95, "y" * 5)
    documents = tuple(map(str, range(100, 140)))
    assert divided(Text(documents))[1] == "119\n139"
    assert "119" not in divided(Text(documents))[0]


def test_training_learns_and_is_kept(tmp_path, capsys):
    text, path = Text(("abcdefgh" * 800,)), tmp_path / "net.safetensors"
    net = train(text, minutes=0.025, units=32)
    assert (
        bits_per_character(net, "abcdefgh" * 50) < 1.5 < bits_per_character(CharacterNet("abcdefgh"), "abcdefgh" * 50)
    )
    net.save(path)
    again = network(path)
    assert (again.vocabulary, again.units, again.layers, again.training) == (net.vocabulary, 32, 1, False)
    assert all((again.state_dict()[k] == v).all() for k, v in net.state_dict().items())


def test_the_command(tmp_path):
    told, path = [], written(tmp_path, "O, ay! " * 200)
    out = tmp_path / "deep/net.safetensors"
    main(["--text", str(path), "--minutes", "0.005", "--units", "8", "--layers", "2", "--out", str(out)], told.append)
    assert "bits a character" in told[0]
    assert load(out).layers == 2


def test_files_that_are_no_such_weights(tmp_path):
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    broken = written(tmp_path, b"nothing", "broken.safetensors")
    for path in (other, broken):
        with pytest.raises(ModelError, match=r"seamwise\.look\.text\.characters"):
            load(path)
    assert "no such file" in refused(load, tmp_path / "none.safetensors")


@pytest.mark.data
@pytest.mark.skipif(not TEXT.exists(), reason=f"no texts in {TEXT}")
def test_real_texts_are_read():
    hotel = read_text(TEXT / "sentiment/zh_hotel.csv")
    assert (len(hotel.documents), sum(hotel.labels)) == (7765, 5322)
    assert len(read_text(TEXT / "sentiment/yelp_labelled.txt").labels) == 1000
    assert len(read_text(TEXT / "tinyshakespeare.txt").documents) == 1
