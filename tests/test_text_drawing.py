import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise.systems.text import page
from seamwise.systems.text.conllu import read_conllu
from seamwise.systems.text.drawing import drawer

TEXT = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "text"
TAGS, RELATIONS = ["NOUN", "VERB"], ["nsubj", "obj", "root"]
CHARACTERS = ["", "", *"貓吃魚abcd"]
PADDED = 8
DRAW = drawer(CHARACTERS, TAGS, RELATIONS)


def item_of(ids, words):
    """A sentence of those characters; words: (first character, head's first character + 1, relation, tag)."""
    item = {
        "characters": np.zeros((PADDED, 3), dtype=np.int32),
        "words": np.full(PADDED, -1, dtype=np.int32),
        "tags": np.full(PADDED, -1, dtype=np.int32),
        "tree": np.full((PADDED, 2), -1, dtype=np.int32),
    }
    item["characters"][: len(ids), 0] = ids
    for field in ("words", "tags", "tree"):
        item[field][: len(ids)] = 0
    for at, head, relation, tag in words:
        item["words"][at], item["tags"][at], item["tree"][at] = 1, tag, (head, relation)
    return item


def written_of(item):
    """What networks would write that are sure of these labels."""
    tree = np.zeros((PADDED, 1 + len(RELATIONS) + 1 + PADDED), dtype=np.float32)
    for at, (head, relation) in enumerate(np.maximum(item["tree"], 0)):
        tree[at, [relation, 1 + len(RELATIONS) + head]] = 1
    words, tags = (
        np.eye(size, dtype=np.float32)[np.maximum(item[field], 0)]
        for field, size in (("words", 3), ("tags", 1 + len(TAGS)))
    )
    return {"words": words, "tags": tags, "tree": tree}


def cat(**changed):
    """貓 吃 魚, or with other words."""
    words = {"cat": (0, 2, 1, 1), "eats": (1, 0, 3, 2), "fish": (2, 2, 2, 1)} | changed
    return item_of([2, 3, 4], [word for word in words.values() if word])


def colours(picture):
    flat = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    named = ("FOUND", "WRONG", "MISSED", "GROUND", "BAD_GROUND")
    return {name for name in named if getattr(page, name) in flat}


def test_what_is_right_is_calm():
    assert colours(DRAW(cat(), written_of(cat()))) == {"FOUND", "GROUND"}


@pytest.mark.parametrize("changed", [{"fish": (2, 1, 2, 1)}, {"fish": (2, 2, 2, 2)}])
def test_a_wrong_head_or_tag_is_red_and_the_missed_one_green(changed):
    right, wrong = (DRAW(cat(), written_of(item)) for item in (cat(), cat(**changed)))
    assert red(wrong) > 0 == red(right)
    assert green(wrong) > 0 == green(right)
    assert "BAD_GROUND" not in colours(wrong)


def red(picture):
    r, g, b = picture.astype(int).transpose(2, 0, 1)
    return int(((r > 180) & (g < 110) & (b < 110)).sum())


def green(picture):
    r, g, b = picture.astype(int).transpose(2, 0, 1)
    return int(((g > 120) & (r < 100) & (b < 100)).sum())


def test_a_wrong_relation_under_a_right_head_leaves_the_arc_calm():
    told = DRAW(cat(), written_of(cat(fish=(2, 2, 1, 1))))
    assert "WRONG" not in colours(told)
    assert red(told) > 0
    assert green(told) > 0


def test_a_word_that_is_none_stands_on_red():
    told = DRAW(cat(), written_of(cat(fish=None)))
    assert {"GROUND", "BAD_GROUND", "MISSED"} <= colours(told)


def test_the_tree_alone_says_the_words_too():
    written = written_of(cat(fish=None))
    told = DRAW(cat(), {"tree": written["tree"]})
    assert {"GROUND", "BAD_GROUND", "MISSED"} <= colours(told)


def test_without_labels_nothing_is_wrong():
    written = written_of(cat(fish=None))
    unlabelled = cat() | {field: np.full_like(cat()[field], -1) for field in ("words", "tags", "tree")}
    for item in ({"characters": cat()["characters"]}, unlabelled):
        assert colours(DRAW(item, written)) == {"FOUND", "GROUND"}


@pytest.mark.parametrize("fields", [("words",), ("words", "tags"), ("tags",), ("tags", "tree"), ()])
def test_any_fields_that_were_written_are_drawn(fields):
    written = {field: each for field, each in written_of(cat()).items() if field in fields}
    told = DRAW(cat(), written)
    assert ("FOUND" in colours(told)) == ("tree" in fields)
    assert red(told) == 0


def test_heads_make_a_tree_even_where_the_most_probable_do_not():
    written = written_of(cat())
    heads = written["tree"][:, 1 + len(RELATIONS) :]
    heads[1] = 0.5 * np.eye(1 + PADDED)[0] + 0.5 * np.eye(1 + PADDED)[1]  # on the root or on its own dependent
    assert colours(DRAW(cat(), written)) == {"FOUND", "GROUND"}


def test_an_empty_sentence_is_white():
    assert (DRAW(item_of([], []), written_of(item_of([], []))) == 255).all()


def test_characters_that_are_not_known_are_boxes():
    known, unknown, beyond = (DRAW(item_of([k], [(0, 0, 3, 1)]), {}) for k in (2, 1, 99))
    assert (unknown == beyond).all()
    assert known.shape == unknown.shape
    assert (known != unknown).any()


def test_it_draws_where_no_font_is_installed(monkeypatch):
    monkeypatch.setattr(page, "FONTS", ())
    page._font.cache_clear()
    assert colours(DRAW(cat(), written_of(cat()))) == {"FOUND", "GROUND"}
    page._font.cache_clear()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_pictures_are_neither_too_wide_nor_too_high(n, seed):
    chance = np.random.default_rng(seed)
    item = {"characters": np.ones((n, 3), dtype=np.int32)}
    written = {
        "words": chance.dirichlet(np.ones(3), n),
        "tags": chance.dirichlet(np.ones(3), n),
        "tree": chance.dirichlet(np.ones(4 + 1 + n), n),
    }
    height, width, _ = DRAW(item, written).shape
    assert height <= 400
    assert width <= 1400


@pytest.mark.data
@pytest.mark.parametrize("name", ["zh-udup-dev.conllup", "en_ewt-udpb-dev.conllup"])
def test_gold_trees_of_a_treebank_are_drawn_calm(name):
    if not (TEXT / name).exists():
        pytest.skip(f"no {name} in {TEXT}")
    for sentence in read_conllu(TEXT / name)[:8]:
        gold = analysis_of(sentence)
        told = page.picture(sentence.characters, gold, gold)
        assert red(told) == green(told) == 0
        assert max(told.shape[0] / 400, told.shape[1] / 1400) <= 1


def analysis_of(sentence):
    starts = [start for start, _ in sentence.anchors]
    words = tuple(zip(starts, [*starts[1:], len(sentence.characters)], strict=True))
    edges = {
        span: (words[word.head - 1] if word.head else None, word.relation)
        for span, word in zip(words, sentence.words, strict=True)
    }
    return page.Analysis(words, {span: w.tag for span, w in zip(words, sentence.words, strict=True)}, edges)
