import os
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from seamwise.errors import InputError
from seamwise.systems.text.conllu import read_conllu, write_sentence
from seamwise.systems.text.scoring import OFFICIAL, check_text, scores, spans
from seamwise.systems.text.sentence import Sentence, Token, Word

TEXT = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "text"
udeval = pytest.importorskip("udtools.udeval", reason="udtools is not installed")


def sentence(*words, tokens=None, **more):
    """Each word as "form tag head relation", and its predicate and arguments in a dict."""
    made = []
    for word in words:
        text, labels = word if isinstance(word, tuple) else (word, {})
        form, tag, head, relation = text.split()
        made.append(Word(form, tag, int(head), relation, **labels))
    return Sentence(tuple(made), tokens or tuple(Token(word.form) for word in made), **more)


def flat(*forms):
    """Words on the first one."""
    return sentence(*(f"{form} X {int(k > 0)} {'dep' if k else 'root'}" for k, form in enumerate(forms)))


GIVE = sentence(
    "他 PRON 2 nsubj",
    ("给 VERB 0 root", {"predicate": "give.01", "arguments": ((1, "A0"), (4, "A1"))}),
    "好 ADJ 4 amod",
    ("书 NOUN 2 obj", {"predicate": "_", "arguments": ((3, "AM"),)}),
)


def test_all_right():
    found = scores([GIVE, flat("b", "c")], [GIVE, flat("b", "c")])
    assert found == dict.fromkeys(
        ("sentences", "tokens", "words", "upos", "uas", "las", "predicate_f1", "role_f1"), 100.0
    )


def test_counted_by_hand():
    predicted = sentence(
        "他 PRON 2 nsubj",
        ("给 NOUN 0 root", {"predicate": "_", "arguments": ((1, "A0"), (3, "A1"))}),
        "好书 NOUN 2 obj",
    )
    found = scores([GIVE], [predicted])
    assert found["words"] == found["tokens"] == pytest.approx(100 * 2 * 2 / (4 + 3))
    assert found["upos"] == pytest.approx(100 * 2 * 1 / 7)
    assert found["uas"] == found["las"] == pytest.approx(100 * 2 * 2 / 7)
    assert found["sentences"] == 100
    assert found["predicate_f1"] == pytest.approx(100 * 2 * 1 / (2 + 1))
    assert found["role_f1"] == pytest.approx(100 * 2 * 1 / (3 + 2))


def test_relations_count_up_to_the_first_colon():
    other = replace(flat("a", "b").words[1], relation="dep:other")
    assert scores([flat("a", "b")], [replace(flat("a", "b"), words=(flat("a", "b").words[0], other))])["las"] == 100


def test_sentences_may_be_split_otherwise():
    found = scores([flat("a", "b"), flat("c")], [flat("a"), flat("b", "c")])
    assert (found["sentences"], found["words"]) == (0, 100)


def test_spans_run_through_the_whole_text():
    assert spans([flat("ab", "c"), flat("d")]) == [[(0, 2, 0), (2, 3, 0)], [(3, 4, 0)]]


def test_spans_of_multiword_tokens():
    spelled = sentence("do AUX 0 root", "n't PART 1 advmod", tokens=(Token("don't", 2),))
    fused = sentence("de ADP 2 case", "le DET 0 root", tokens=(Token("du", 2),))
    assert spans([spelled, fused]) == [[(0, 2, 0), (2, 5, 0)], [(5, 7, 1), (5, 7, 2)]]
    apart = sentence("d ADP 2 case", "u DET 0 root")
    assert not set(spans([fused])[0]) & set(spans([apart])[0])
    assert scores([spelled, fused], [spelled, fused])["las"] == 100
    assert scores([fused], [apart])["words"] == 0


def test_white_space_within_words_does_not_matter():
    gold, predicted = (
        Sentence((Word("a", "X", 0, "root"), Word(form, "X", 1, "dep")), (Token("a"), Token(form)))
        for form in ("bc", "b\u3000\xa0c")
    )
    assert scores([gold], [predicted])["las"] == 100


def test_figures_that_cannot_be_told_are_absent():
    bare = Sentence((Word("a"), Word("b")), (Token("a"), Token("b")))
    assert set(scores([bare], [flat("a", "b")])) == {"sentences", "tokens", "words"}
    assert set(scores([flat("a", "b")], [bare])) == {"sentences", "tokens", "words", "upos"}
    alone = sentence(("go VERB 0 root", {"predicate": "go.01"}))
    assert scores([alone], [flat("go")])["predicate_f1"] == 0
    assert "role_f1" not in scores([alone], [alone])


def test_the_sense_of_a_predicate_is_not_scored():
    other = replace(GIVE, words=tuple(replace(w, predicate=w.predicate and "other.07") for w in GIVE.words))
    assert scores([GIVE], [other])["predicate_f1"] == 100


def test_the_same_form_elsewhere_is_another_predicate():
    first, second = (
        sentence(*((f"go VERB {int(k > 0)} x", {"predicate": "_"} if k == at else {}) for k in range(2)))
        for at in (0, 1)
    )
    assert scores([first], [second])["predicate_f1"] == 0


def test_other_texts_are_refused():
    gold = [replace(flat("ab"), line=3, name="one"), replace(flat("cd"), line=9, name="two")]
    with pytest.raises(InputError, match=r"from line 9 \(two\) on\n  given     'x'\n  expected  'd'"):
        scores(gold, [flat("abcx")])
    with pytest.raises(InputError, match="nothing more"):
        scores(gold, [flat("ab")])
    with pytest.raises(InputError, match="from its end on"):
        scores(gold, [flat("abcde")])
    with pytest.raises(InputError, match="sentence 2"):
        check_text([flat("ab"), flat("cd")], [flat("abx")])
    with pytest.raises(InputError, match="no gold sentence"):
        scores([], [])


def test_what_is_no_tree_is_refused():
    with pytest.raises(InputError, match="cycle"):
        scores([flat("a", "b")], [sentence("a X 2 dep", "b X 1 dep")])


def test_without_udtools(monkeypatch):
    monkeypatch.setitem(sys.modules, "udtools.udeval", None)
    with pytest.raises(InputError, match=r"pip install 'seamwise\[text\]'"):
        scores([GIVE], [GIVE])


def test_a_tree_as_deep_as_a_long_sentence():
    deep = sentence(*(f"x X {k} dep" for k in range(2000)))
    limit = sys.getrecursionlimit()
    assert scores([deep], [deep])["las"] == 100
    assert sys.getrecursionlimit() == limit


def ten_columns(text):
    rows = (line if line.startswith("#") else "\t".join(line.split("\t")[:10]) for line in text.split("\n"))
    return "\n".join(rows)


def damaged(given, chance):
    """A tenth of the words merged with the next; still a tree: each hangs on one before it, the first on the root."""
    forms, words = [""], []
    for k, word in enumerate(given.words, start=1):
        forms[-1] += word.form
        if k == len(given.words) or chance.random() > 0.1:
            head = chance.randrange(1, len(words) + 1) if words else 0
            words.append(Word(forms[-1], word.tag, head, word.relation))
            forms.append("")
    return Sentence(tuple(words), tuple(Token(form) for form in forms[:-1]))


@pytest.mark.data
@pytest.mark.parametrize("name", ["zh-udup-dev.conllup", "en_ewt-udpb-dev.conllup"])
def test_a_treebank_scores_as_udtools_scores_its_file(name, tmp_path):
    if not (TEXT / name).exists():
        pytest.skip(f"{TEXT / name} is not there")
    part = "\n\n".join((TEXT / name).read_text(encoding="utf-8").split("\n\n")[:100]) + "\n\n"
    for file, text in (("gold.conllup", part), ("gold", ten_columns(part))):
        (tmp_path / file).write_text(text, encoding="utf-8")
    gold = read_conllu(tmp_path / "gold.conllup")
    chance = random.Random(0)
    predicted = [damaged(s, chance) if len(s.words) == len(s.tokens) else s for s in gold]
    plain = (replace(s, words=tuple(replace(w, enhanced="_") for w in s.words)) for s in predicted)
    (tmp_path / "predicted").write_text("".join(map(write_sentence, plain)), encoding="utf-8")
    loaded = []
    for file in ("gold", "predicted"):
        with (tmp_path / file).open(encoding="utf-8") as lines:
            loaded.append(udeval.load_conllu(lines, file, {}))
    theirs, ours = udeval.evaluate(*loaded), scores(gold, predicted)
    for key, metric in OFFICIAL.items():
        assert ours[key] == pytest.approx(100 * theirs[metric].f1)
    assert 50 < ours["words"] < 97
    assert scores(gold, gold)["role_f1"] == 100
