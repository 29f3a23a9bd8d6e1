import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamwise.errors import InputError
from seamwise.systems.text.causes import compounding, confusions, first_causes
from seamwise.systems.text.scoring import scores
from seamwise.systems.text.sentence import Sentence, Token, Word


def sentence(*words):
    """Each word as "form tag head relation"."""
    made = [Word(form, tag, int(head), relation) for form, tag, head, relation in (word.split() for word in words)]
    return Sentence(tuple(made), tuple(Token(word.form) for word in made))


GOLD = [sentence("他 PRON 2 nsubj", "给 VERB 0 root", "好 ADJ 4 amod", "书 NOUN 2 obj")]


def counts(segment=0, tag=0, parse=0, right=0):
    return {"segment": segment, "tag": tag, "parse": parse, "right": right, "n": segment + tag + parse + right}


def test_all_right():
    assert first_causes(GOLD, GOLD) == counts(right=4)


def test_a_missing_word_is_a_cause_for_itself_and_its_dependents():
    predicted = [sentence("他 PRON 2 nsubj", "给 VERB 0 root", "好书 NOUN 2 obj")]
    assert first_causes(GOLD, predicted) == counts(segment=2, right=2)  # 好, 书
    headless = [sentence("他给 VERB 0 root", "好 ADJ 3 amod", "书 NOUN 1 obj")]
    assert first_causes(GOLD, headless) == counts(segment=3, right=1)  # 他, 给, and 书 whose head is missing


def test_a_wrong_tag_of_the_word_or_of_its_head():
    own = [sentence("他 PRON 2 nsubj", "给 VERB 0 root", "好 VERB 2 obj", "书 NOUN 2 obj")]
    assert first_causes(GOLD, own) == counts(tag=1, right=3)
    heads = [sentence("他 PRON 2 nsubj", "给 VERB 0 root", "好 ADJ 2 amod", "书 VERB 2 obj")]
    assert first_causes(GOLD, heads) == counts(tag=1, right=3)
    harmless = [sentence("他 NOUN 2 nsubj", "给 VERB 0 root", "好 ADJ 4 amod", "书 NOUN 2 obj")]
    assert first_causes(GOLD, harmless) == counts(right=4)


def test_the_parser_alone():
    other_head = [sentence("他 PRON 2 nsubj", "给 VERB 0 root", "好 ADJ 2 amod", "书 NOUN 2 obj")]
    other_relation = [sentence("他 PRON 2 obj", "给 VERB 0 root", "好 ADJ 4 amod", "书 NOUN 2 obj")]
    subtype = [sentence("他 PRON 2 nsubj:pass", "给 VERB 0 root", "好 ADJ 4 amod", "书 NOUN 2 obj")]
    assert first_causes(GOLD, other_head) == first_causes(GOLD, other_relation) == counts(parse=1, right=3)
    assert first_causes(GOLD, subtype) == counts(right=4)


def test_segmentation_comes_before_the_tag():
    predicted = [sentence("他 X 2 nsubj", "给 X 0 root", "好书 NOUN 2 obj")]
    assert first_causes(GOLD, predicted) == counts(segment=2, right=2)


def test_a_sentence_cut_in_two_is_segmentation():
    predicted = [sentence("他 PRON 2 nsubj", "给 VERB 0 root"), sentence("好 ADJ 2 amod", "书 NOUN 0 root")]
    assert first_causes(GOLD, predicted) == counts(segment=1, right=3)


def test_words_without_a_head_are_left_out():
    unknown = [replace(GOLD[0], words=tuple(replace(w, head=-1) for w in GOLD[0].words))]
    assert first_causes(unknown, GOLD) == counts()
    assert first_causes(GOLD, unknown) == counts(parse=4)
    assert confusions(unknown, GOLD) == ()
    assert compounding(unknown, GOLD).las == 0


def test_other_texts_are_refused():
    for measure in (first_causes, confusions, compounding):
        with pytest.raises(InputError, match="another"):
            measure(GOLD, [sentence("他 PRON 0 root")])


def test_confusions():
    gold = [sentence("a N 0 root", "b N 1 x", "c N 1 x", "d N 1 x", "e V 1 x", "fg V 1 x")]
    predicted = [sentence("a N 0 root", "b N 1 x", "c N 2 x", "d V 3 x", "e N 1 x", "f V 1 x", "g V 1 x")]
    found = {(c.gold, c.predicted): c for c in confusions(gold, predicted)}
    assert list(found) == [("N", "N"), ("N", "V"), ("V", "N")]  # fg is no word of the prediction
    right, wrong, never = found.values()
    assert (right.n, right.wrong, right.excess) == (3, pytest.approx(1 / 3), 0)
    assert (wrong.n, wrong.wrong, wrong.wrong_if_right) == (1, 1, pytest.approx(1 / 3))
    assert wrong.excess == pytest.approx(2 / 3)
    assert (never.n, never.wrong, never.wrong_if_right, never.excess) == (1, 0, None, None)


def test_compounding():
    gold = [sentence("a N 0 root", "b N 1 x", "c N 1 x", "d V 1 x", "ef V 1 x")]
    predicted = [sentence("a N 0 root", "b N 1 x", "c N 2 x", "d N 1 x", "e V 1 x", "f V 1 x")]
    found = compounding(gold, predicted)
    assert (found.words, found.tags) == (4 / 5, 3 / 4)
    assert found.arcs == pytest.approx(2 / 3)  # of a, b, c
    assert found.expected == pytest.approx((0.6 + 4 * 0.6**2) / 5 * 2 / 3)
    assert found.las == 3 / 5  # a, b, d
    assert found.ratio == pytest.approx(0.4 / (1 - found.expected))


def test_nothing_wrong_compounds_to_nothing():
    found = compounding(GOLD, GOLD)
    assert (found.expected, found.las, found.ratio) == (1, 1, None)


def test_both_can_be_made_json():
    told = [asdict(c) for c in confusions(GOLD, GOLD)], asdict(compounding(GOLD, GOLD))
    assert json.loads(json.dumps(told, allow_nan=False))


TEXT = "abcdefgh"
CUTS = st.lists(st.sampled_from([0, 1, 2]), min_size=len(TEXT) - 1, max_size=len(TEXT) - 1)
WORD = st.tuples(st.sampled_from("NV"), st.integers(1, len(TEXT)), st.sampled_from("xy"))
PARSES = st.tuples(CUTS, st.lists(WORD, min_size=len(TEXT), max_size=len(TEXT)))


def parsed(cuts, labels):
    """The text cut into words (1) and sentences (2); each word hangs on one before it, the first on the root."""
    marks = ["", *(("", " ", "|")[cut] for cut in cuts)]
    sentences = "".join(map("".join, zip(marks, TEXT, strict=True))).split("|")
    drawn = iter(labels)
    made = []
    for words in map(str.split, sentences):
        labelled = zip(words, [next(drawn) for _ in words], strict=True)
        made.append(sentence(*(f"{w} {tag} {min(k, head)} {x}" for k, (w, (tag, head, x)) in enumerate(labelled))))
    return made


@given(PARSES, PARSES)
def test_they_agree_with_one_another(ours, theirs):
    gold, predicted = parsed(*ours), parsed(*theirs)
    causes, found = first_causes(gold, predicted), compounding(gold, predicted)
    n = sum(len(s.words) for s in gold)
    assert causes["n"] == n == sum(causes[c] for c in ("segment", "tag", "parse", "right"))
    assert found.las == pytest.approx(causes["right"] / n)
    assert sum(c.n for c in confusions(gold, predicted)) == pytest.approx(found.words * n)
    same = sum(c.n for c in confusions(gold, predicted) if c.gold == c.predicted)
    assert same == pytest.approx(found.words * found.tags * n)
    wrong = sum(c.n * c.wrong for c in confusions(gold, predicted))
    assert n - causes["right"] == pytest.approx(wrong + (1 - found.words) * n)
    assert 0 <= found.expected <= 1
    assert first_causes(gold, gold)["right"] == n


@given(PARSES, PARSES)
def test_right_dependencies_are_those_of_the_official_scorer(ours, theirs):
    gold, predicted = parsed(*ours), parsed(*theirs)
    pytest.importorskip("udtools.udeval", reason="udtools is not installed")
    n = sum(len(s.words) for s in (*gold, *predicted))
    right = first_causes(gold, predicted)["right"]
    assert scores(gold, predicted)["las"] == pytest.approx(200 * right / n)
