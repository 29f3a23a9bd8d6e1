"""What a person types to train, ask and score a parser, and what comes back; the parser is one that cuts at spaces."""

import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import Done, refused

from seamwise.cli import main
from seamwise.systems.text import commands
from seamwise.systems.text.ladder import climb
from seamwise.systems.text.raw import raw_text, rebuilt, run_of
from seamwise.systems.text.sentence import Sentence
from seamwise.systems.text.stream import Text, bare_sentences, parsed, parsed_lines

DATA = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "text"
ODD = "\ufeff\tA\u200db \x00c. \n\nשלום \u2028 👩‍👩‍👧!\r\n\r\n\n  x\x85. y\n"
TREEBANK = """\
# sent_id = a-1
# text = dogs bark.
1\tdogs\tdog\tNOUN\t_\t_\t2\tnsubj\t_\t_
2\tbark\tbark\tVERB\t_\t_\t0\troot\t_\tSpaceAfter=No
3\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\t_

# sent_id = a-2
# text = cats too!
1\tcats\tcat\tNOUN\t_\t_\t0\troot\t_\t_
2\ttoo\ttoo\tADV\t_\t_\t1\tadvmod\t_\tSpaceAfter=No
3\t!\t!\tPUNCT\t_\t_\t1\tpunct\t_\t_

"""


LOADED = commands._parser


class Cutter:
    """Cuts words at white space, sentences behind marks; each word hangs on the one before. Nouns are all there is."""

    def __init__(self, has_roles=False, strips_spaces=False):
        self.has_roles, self.strips_spaces, self.has_tags = has_roles, strips_spaces, True
        self.asked = []

    def parse(self, texts):
        for text in texts:
            self.asked.append(text)
            yield [self._labelled(s, 0) for s in self._cut(text)]

    def annotate(self, sentences, given):
        self.asked.append(given)
        return [self._labelled(s, ("sentences", "words", "tags", "tree").index(given)) for s in sentences]

    def _cut(self, text):
        for line in bare_sentences(text):
            start = 0
            for k, token in enumerate(line.tokens, start=1):
                if token.form[-1] in ".!?。" or k == len(line.tokens):
                    yield Sentence(line.words[start:k], line.tokens[start:k])
                    start = k

    def _labelled(self, sentence, n_given):
        words = []
        for k, word in enumerate(sentence.words):
            word = word if n_given > 1 else replace(word, tag="NOUN")
            word = word if n_given > 2 else replace(word, head=k, relation="dep" if k else "root")
            told = {"predicate": "_", "arguments": ((k + 1, "ARG0"),)} if self.has_roles and not k else {}
            words.append(replace(word, **{"predicate": "", "arguments": ()} | told))
        return replace(sentence, words=tuple(words))


@pytest.fixture
def parser(monkeypatch):
    def use(made):
        monkeypatch.setattr(commands, "_parser", lambda model, threads: made)
        return made

    use(Cutter())
    return use


@pytest.fixture
def call(tmp_path, monkeypatch, capfd, parser):
    monkeypatch.chdir(tmp_path)

    def call(*words, given=""):
        (tmp_path / "given").write_bytes(given if isinstance(given, bytes) else given.encode())
        with (tmp_path / "given").open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            monkeypatch.setattr(sys, "argv", ["seamwise", *map(str, words)])
            with pytest.raises(SystemExit) as end:
                main()
        return Done(int(end.value.code or 0), *capfd.readouterr())

    return call


def treebank(path, text=TREEBANK):
    path.write_text(text, encoding="utf-8")
    return path


def parts(text, n):
    return [text[k : k + n] for k in range(0, len(text), n)]


def test_help_shows_an_example(call):
    for command, option in (("train", "--strip-spaces"), ("predict", "--lines"), ("eval", "--data")):
        told = call(command, "text", "--help").stdout
        assert f"Example: seamwise {command} text" in told
        assert option in told


def test_help_does_not_import_torch():
    code = "import sys, seamwise.systems.text.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_raw_text_to_conllu(call, tmp_path):
    done = call("predict", "text", "--model", "m", given="Dogs bark. Cats too.\n\nWe do.\n")
    assert (done.returncode, done.stderr) == (0, "")
    treebank(tmp_path / "out.conllu", done.stdout)
    read = commands.read_conllu(tmp_path / "out.conllu")
    assert [s.name for s in read] == ["1", "2", "3"]
    assert rebuilt(read) == "Dogs bark. Cats too.\n\nWe do.\n"
    assert [[w.head for w in s.words] for s in read] == [[0, 1]] * 3
    assert [s.opens for s in read] == [True, False, True]
    rows = [line for line in done.stdout.splitlines() if line and line[0] != "#"]
    assert {len(row.split("\t")) for row in rows} == {10}


def test_columns_of_roles(call, parser, tmp_path):
    assert "--roles" in refused(call("predict", "text", "--model", "m", "--roles", given="a"))
    parser(Cutter(has_roles=True))
    done = call("predict", "text", "--model", "m", "--roles", given="Dogs bark.")
    assert done.stdout.startswith("# global.columns = ID ")
    read = commands.read_conllu(treebank(tmp_path / "out.conllup", done.stdout))
    assert (read[0].words[0].predicate, read[0].words[0].arguments) == ("_", ((1, "ARG0"),))
    assert "ARG0" not in call("predict", "text", "--model", "m", given="Dogs bark.").stdout
    assert "--json" in refused(call("predict", "text", "--model", "m", "--json", "--roles"))


@pytest.mark.parametrize("text", [ODD, "", "\n", " \n\n\n", "x" * 5000, "a\n" * 3, "\r\n a\rb\n\r\n"])
@pytest.mark.parametrize("option", [None, "--lines", "--words"])
def test_nothing_of_a_text_is_lost(call, tmp_path, text, option):
    done = call("predict", "text", "--model", "m", *([option] if option else []), given=text)
    assert (done.returncode, done.stderr) == (0, "")
    if not run_of(text).characters.strip("\ufeff"):
        assert done.stdout == ""
        return
    (tmp_path / "out.conllu").write_bytes(done.stdout.encode())
    assert rebuilt(commands.read_conllu(tmp_path / "out.conllu")) == text.removeprefix("\ufeff")


def test_a_line_of_json_a_sentence(call, parser):
    parser(Cutter(has_roles=True))
    text = " 狗 叫. Ja!\n"
    done = call("predict", "text", "--model", "m", "--json", given=text)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert "".join(s["before"] + s["text"] + s["after"] for s in told) == text
    assert [(t["form"], text[t["start"] : t["end"]], t["words"]) for s in told for t in s["tokens"]] == [
        *(("狗", "狗", [1, 1]), ("叫.", "叫.", [2, 2]), ("Ja!", "Ja!", [1, 1])),
    ]
    assert told[0]["words"] == [
        {"id": 1, "form": "狗", "upos": "NOUN", "head": 0, "deprel": "root", "predicate": "_",
         "arguments": [{"word": 1, "role": "ARG0"}]},
        {"id": 2, "form": "叫.", "upos": "NOUN", "head": 1, "deprel": "dep"},
    ]  # fmt: skip


def test_trees_are_drawn(call):
    done = call("predict", "text", "--model", "m", "--show", given="Dogs bark.\n\nNo.")
    assert all(word in done.stdout for word in ("Dogs", "bark.", "NOUN", "root", "No."))
    assert "\t" not in done.stdout


def test_lines_and_words(call, parser):
    lines = "a b. c\n\nd e"
    for option, known in (("--lines", "sentences"), ("--words", "words")):
        made = parser(Cutter())
        told = call("predict", "text", "--model", "m", option, "--json", given=lines).stdout.splitlines()
        assert [len(json.loads(line)["words"]) for line in told] == [3, 2]
        assert set(made.asked) == {known}


def test_files_and_standard_input(call, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne. Two.")
    (tmp_path / "bad.txt").write_bytes("Gut.\n\nÄ".encode("latin-1"))
    done = call("predict", "text", "--model", "m", "a.txt", "bad.txt", "none.txt", ".", "-", "--json", given="Six.")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    found = [(s["sent_id"], s.get("file"), s["text"]) for s in told]
    assert found == [("1", "a.txt", "One."), ("2", "a.txt", "Two."), ("3", "bad.txt", "Gut."), ("4", None, "Six.")]
    assert "bad.txt, line 3, byte 7: no UTF-8" in refused(done)
    assert "none.txt" in done.stderr
    assert done.stderr.count("error:") == 3


def test_a_byte_that_is_no_utf8_is_named_after_what_came_before(call):
    done = call("predict", "text", "--model", "m", "--json", given=b"Eins. Zwei.\nDrei\xe4 vier.")
    assert "standard input, line 2, byte 17: no UTF-8" in refused(done)
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["Eins.", "Zwei.", "Drei"]
    assert "byte 1: no UTF-8" in refused(call("predict", "text", "--model", "m", given="a".encode("utf-16")))
    assert "unexpected end of data" in refused(call("predict", "text", "--model", "m", given="狗".encode()[:2]))


class Slow(io.BufferedIOBase):
    """Gives a byte at a time."""

    def __init__(self, content):
        self._content = content

    def read1(self, size):
        chunk, self._content = self._content[:1], self._content[1:]
        return chunk


def test_text_comes_byte_by_byte():
    text = Text(Slow("\ufeff狗 Ä👍\r\n".encode()), "f")
    assert "".join(text) == "狗 Ä👍\r\n"
    assert text.error is None
    bad = Text(Slow("狗\nÄ".encode() + b"\xff!"), "f")
    assert "".join(bad) == "狗\nÄ"
    assert "f, line 2, byte 7: no UTF-8" in str(bad.error)


def test_a_paragraph_comes_out_before_the_next_comes_in():
    waiting = []

    def typed():
        for part in ("One. Two.\n", "\n", " \nThree", ". Four."):
            waiting.append(part)
            yield part

    came = [(s.text, len(waiting)) for s in parsed(Cutter(), typed())]
    assert came == [("One.", 2), ("Two.", 4), ("Three.", 4), ("Four.", 4)]


@given(st.text(alphabet="ab. \n\r\x00\u2028狗。\ufeff"), st.integers(1, 9))
def test_the_same_whatever_the_parts_that_a_text_comes_in(text, n):
    whole, by_part = list(parsed(Cutter(), [text])), list(parsed(Cutter(), parts(text, n)))
    assert by_part == whole
    assert rebuilt(whole) == (text if whole else "")
    lines = list(parsed_lines(Cutter(), parts(text, n), "words"))
    assert rebuilt(lines) == (text if lines else "")
    assert len(lines) == sum(bool(run_of(line).characters) for line in text.split("\n"))


def test_a_long_line_is_cut_and_comes_together_again():
    text = "word " * 9_000 + "。" * 30_000
    made = Cutter()
    assert rebuilt(parsed(made, parts(text, 30_000))) == text
    assert max(map(len, made.asked)) < 25_000


def test_a_pipe_that_is_closed_ends_silently(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from test_text_commands import Cutter; from seamwise.cli import main\n"
        "from seamwise.systems.text import commands; commands._parser = lambda *_: Cutter()\n"
        "main()"
    )
    (tmp_path / "raw.txt").write_text("A b c.\n\n" * 5_000)
    words = [sys.executable, "-c", code, str(Path(__file__).parent), "predict", "text", "--model", "m", "raw.txt"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as done:
        assert done.stdout.readline().startswith(b"#")
        done.stdout.close()
        assert done.stderr.read() == b""


def test_train(call, monkeypatch, tmp_path):
    asked = {}

    def train_parser(train, dev, *, watch, **options):
        watch(1, 10, 0.5)
        asked.update(options, train=train, dev=dev)
        print("talk")
        about = {"regime": options["regime"], "left_out": 2}
        return SimpleNamespace(save=lambda folder: folder.mkdir(), has_roles=True, about=about)

    monkeypatch.setitem(sys.modules, "seamwise.systems.text.make", SimpleNamespace(train_parser=train_parser))
    treebank(tmp_path / "t.conllu")
    words = ("train", "text", "--data", "t.conllu", "--regime", "joint", "--passes", 5, "--strip-spaces")
    told = json.loads(call(*words, "--out", "m", "--json").stdout)
    assert (told["model"], told["regime"], told["roles"]) == ("m", "joint", True)
    given = {"train": Path("t.conllu"), "dev": None, "regime": "joint", "variant": None, "seed": 0}
    assert asked == {**given, "passes": 5, "strip_spaces": True}
    done = call(*words, "--dev", "t.conllu", "--out", "m2")
    assert "m2: a parser that labels roles" in done.stdout
    assert "2 sentences were left out" in done.stdout
    assert asked["dev"] == Path("t.conllu")


class Full(io.StringIO):
    """A place on a disk that is full."""

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(commands.StorageError, match="No space left"):
        commands._say("x")


def test_eval(call, tmp_path):
    data = treebank(tmp_path / "t.conllu")
    told = json.loads(call("eval", "text", "--model", "m", "--data", data, "--json").stdout)
    assert (told["n_sentences"], told["n_words"], told["strips_spaces"]) == (2, 6, False)
    assert told["sentences"] == 100
    assert told["words"] == pytest.approx(40)  # 2 of 6 and of 4
    assert told["gold_sentences_words"] == pytest.approx(100)  # it takes what it is given as words
    assert told["gold_words_upos"] == pytest.approx(100 / 3)
    assert told["gold_words_uas"] == told["gold_tags_uas"] == pytest.approx(50)
    assert "gold_tags_upos" not in told
    assert not [key for key in told if "role" in key or "predicate" in key]
    assert sum(told[f"cause_{stage}"] for stage in ("segment", "tag", "parse")) <= 100
    assert all(isinstance(value, float | int | None) for value in told.values())


def test_eval_for_a_person(call, tmp_path):
    done = call("eval", "text", "--model", "m", "--data", treebank(tmp_path / "t.conllu"))
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    for words in ("raw text", "gold words", "gold tags", "UPOS", "LAS lost to", "segmentation", "words a second"):
        assert words in done.stdout


def test_eval_of_roles(call, parser, tmp_path):
    parser(Cutter(has_roles=True))
    with_roles = "# global.columns = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC UP:PRED UP:ARGHEADS\n"
    block = TREEBANK.split("\n\n")[0].split("\n")
    rows = [f"{row}\t_\t_" if "bark\t" not in row else f"{row}\tbark.01\tARG0:1" for row in block[2:]]
    data = treebank(tmp_path / "t.conllup", with_roles + "\n".join([*block[:2], *rows]) + "\n\n")
    told = json.loads(call("eval", "text", "--model", "m", "--data", data, "--json").stdout)
    assert (told["predicate_f1"], told["gold_tree_role_f1"]) == (0, 0)
    assert "gold_tree_las" not in told
    assert "roles lost to" in call("eval", "text", "--model", "m", "--data", data).stdout


def test_eval_without_white_space(call, parser, tmp_path):
    made = parser(Cutter())
    data = treebank(tmp_path / "t.conllu")
    told = json.loads(call("eval", "text", "--model", "m", "--data", data, "--strip-spaces", "--json").stdout)
    assert (told["strips_spaces"], made.asked[0].strip()) == (True, "dogsbark.catstoo!")
    made = parser(Cutter(strips_spaces=True))
    assert "from text without white space" in call("eval", "text", "--model", "m", "--data", data).stdout
    assert made.asked[0].strip() == "dogsbark.catstoo!"


def test_eval_on_a_treebank_without_trees(tmp_path):
    bare = [replace(s, words=tuple(replace(w, head=-1, relation="_", tag="_") for w in s.words)) for s in cats()]
    ladder = climb(Cutter(), bare, lambda done, of: None)
    assert set(ladder.rows) == {"raw", "sentences"}
    assert ladder.compounding is None
    assert set(ladder.rows["raw"]) == {"sentences", "tokens", "words"}


def cats():
    return list(Cutter().annotate([s for line in ("cats bark .\n", "no\n") for s in bare_sentences(line)], "sentences"))


def test_a_perfect_parser_loses_nothing():
    ladder = climb(Cutter(), cats(), lambda done, of: None)
    assert ladder.rows["raw"]["las"] == ladder.rows["tags"]["las"] == 100
    assert ladder.causes == {"segment": 0, "tag": 0, "parse": 0}
    assert "LAS lost to sentence splitting 0.00, segmentation 0.00, tagging 0.00" in ladder.told()


def test_mistakes_are_named(call, tmp_path):
    data = treebank(tmp_path / "t.conllu")
    broken = treebank(tmp_path / "broken.conllu", TREEBANK.replace("\t2\tpunct", "\t9\tpunct"))
    assert "none.conllu" in refused(call("eval", "text", "--model", "m", "--data", "none.conllu"))
    assert "line 5" in refused(call("eval", "text", "--model", "m", "--data", broken))
    assert "--model" in refused(call("eval", "text", "--data", data))
    assert "none.conllu" in refused(call("train", "text", "--data", "none.conllu", "--out", "m"))
    assert "--passes" in refused(call("train", "text", "--data", data, "--out", "m", "--passes", 0))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert "no model folder" in refused(call("train", "text", "--data", data, "--out", "full"))


def test_no_text_at_all(call, monkeypatch):
    monkeypatch.setattr(commands.sys, "stdin", None)
    with pytest.raises(commands.InputError, match="standard input is closed"):
        commands._opened(commands.STDIN)


@pytest.fixture
def untrained(tmp_path):
    """The folder of a parser that was never trained."""
    import torch

    from seamwise.systems.text.inventory import inventory_of
    from seamwise.systems.text.parser import Parser
    from seamwise.systems.text.splitting import Split
    from seamwise.systems.text.task import chain_named
    from seamwise.systems.text.world import sentences

    torch.manual_seed(0)
    inventory = inventory_of(sentences(200), spaces=True)
    chain = chain_named("soft", inventory, 1, 8)
    Parser(inventory, chain.build(0).eval(), Split(inventory).eval(), "soft", 8).save(tmp_path / "untrained")
    return tmp_path / "untrained"


@pytest.mark.parametrize("options", [(), ("--roles",), ("--lines",), ("--words",)])
def test_the_networks_lose_nothing_either(call, monkeypatch, untrained, tmp_path, options):
    monkeypatch.setattr(commands, "_parser", LOADED)
    for text in (ODD, "a\n\n\nb " * 3, "", "\n", "x" * 400):
        done = call("predict", "text", "--model", untrained, *options, given=text)
        assert done.returncode == 0, done.stderr
        (tmp_path / "out.conllu").write_bytes(done.stdout.encode())
        if done.stdout:
            assert rebuilt(commands.read_conllu(tmp_path / "out.conllu")) == text.removeprefix("\ufeff")


def test_networks_draw_and_are_scored(call, monkeypatch, untrained, tmp_path):
    monkeypatch.setattr(commands, "_parser", LOADED)
    data = treebank(tmp_path / "t.conllu")
    told = json.loads(call("eval", "text", "--model", untrained, "--data", data, "--json").stdout)
    assert told["n_words"] == 6
    assert {"words", "gold_sentences_words", "gold_words_upos", "gold_tags_las"} <= set(told)
    assert "dogs" in call("predict", "text", "--model", untrained, "--words", "--show", given="dogs bark").stdout


def test_what_is_no_parser(call, monkeypatch, tmp_path):
    monkeypatch.setattr(commands, "_parser", LOADED)
    assert "none: no parser" in refused(call("predict", "text", "--model", "none", given="a"))


@pytest.mark.data
@pytest.mark.parametrize("name", ["zh-udup-dev.conllup", "en_ewt-udpb-dev.conllup"])
def test_the_text_of_a_treebank_comes_through(call, tmp_path, name):
    if not (DATA / name).is_file():
        pytest.skip(f"no {DATA / name}")
    text = raw_text(commands.read_conllu(DATA / name)[:300])
    done = call("predict", "text", "--model", "m", given=text)
    (tmp_path / "out.conllu").write_bytes(done.stdout.encode())
    assert rebuilt(commands.read_conllu(tmp_path / "out.conllu")) == text
