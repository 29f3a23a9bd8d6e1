import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import lru_cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise.errors import InputError
from seamwise.systems.text import world
from seamwise.systems.text.lexicon import LETTERS, LEXICON, MARKS, SAID_OF, Entry
from seamwise.systems.text.sentence import Sentence, Word
from seamwise.systems.text.world import PARTS, RELATIONS, ROLES, TAGS, Difficulty, draw, floors, sentences

PLAIN = Difficulty(0, 0, 0, 0)
HARD = Difficulty(1, 1, 1, 0)
USUAL = replace(Difficulty(), noise=0)
NOISY = Difficulty(1, 1, 1, 1)
ENTRIES = LEXICON.entries()
KINDS = {"passive": "b", "question": "q", "nouns": "C", "clauses": "K", "agent": "p", "to verb": "p"}
KINDS |= {"to noun": "o", "either": "e", "manner": "D", "time": "T", "stop": "."}
CLAUSE = "T?A?N(CN|oN)?D?(VA?N(oN)?(CN)?|VA?N[pe]N|bV(pN)?|I(pN)?)"
FIRST = "丝丰久与亙乡並乽乼上亄？"  # of seed 1
GRAMMAR = re.compile(f"{CLAUSE}(K{CLAUSE})?q?\\.")


def kind(entry: Entry, tag: str) -> str:
    if tag == "VERB":
        return "V" if entry.object else "I"
    return {"NOUN": "N", "ADJ": "A"}.get(tag) or KINDS[entry.sort]


def cuttings(characters: str) -> Iterator[tuple[str, ...]]:
    """All ways to cut characters into words of the lexicon."""
    if not characters:
        yield ()
    for n in (1, 2, 3):
        if characters[:n] in ENTRIES and len(characters) >= n:
            yield from ((characters[:n], *rest) for rest in cuttings(characters[n:]))


def readings(characters: str) -> list[tuple[tuple[str, str], ...]]:
    """All that the grammar allows: words with tags."""
    found = []
    for words in cuttings(characters):
        for tags in product(*(ENTRIES[word].tags for word in words)):
            if GRAMMAR.fullmatch("".join(kind(ENTRIES[word], tag) for word, tag in zip(words, tags, strict=True))):
                found.append(tuple(zip(words, tags, strict=True)))
    return found


def heads(words: tuple[Word, ...]) -> list[int]:
    """What the words and tags of a sentence without noise say, and the preferences of the words."""
    sorts = [""] + ["" if word.tag in ("NOUN", "VERB") else ENTRIES[word.form].sort for word in words]
    tags = ["", *(word.tag for word in words)]
    verbs = [k for k, tag in enumerate(tags) if tag == "VERB"]
    bounds = [k for k, sort in enumerate(sorts) if sort == "clauses"]
    found = [0] * len(tags)
    for k in range(1, len(tags)):
        verb = verbs[sum(bound <= k for bound in bounds)]
        if tags[k] in ("ADJ", "ADP"):
            found[k] = k + 1
        elif sorts[k] in ("stop", "question"):
            found[k] = verbs[0]
        elif k == verb:
            found[k] = verbs[0] if verb != verbs[0] else 0
        elif tags[k] == "NOUN":
            found[k] = noun_head(words, k, verb, tags, sorts)
        else:
            found[k] = k + 1 if sorts[k] == "nouns" else verb
    return found[1:]


def noun_head(words: tuple[Word, ...], k: int, verb: int, tags: list[str], sorts: list[str]) -> int:
    before = sorts[k - 1]
    if before == "nouns":
        near = k - 2
        if sorts[near - 1] != "to noun" or near < verb:
            return near
        return near if ENTRIES[words[near - 1].form].sort == ENTRIES[words[k - 1].form].sort else near - 2
    if before == "to noun" or (before == "either" and words[k - 2].form not in ENTRIES[words[verb - 1].form].wants):
        return k - 2
    return verb


def is_tree(sentence: Sentence) -> bool:
    """Whether every word leads to the one root."""
    found = [word.head for word in sentence.words]
    for at in range(1, len(found) + 1):
        for _ in found:
            at = found[at - 1] if at else 0
        if at:
            return False
    return found.count(0) == 1


def tagged(sentence: Sentence) -> tuple[tuple[str, str], ...]:
    return tuple((word.form, word.tag) for word in sentence.words)


@lru_cache
def some(difficulty: Difficulty, n: int = 300, seed: int = 5) -> list[Sentence]:
    return sentences(n, difficulty, seed)


@pytest.mark.parametrize("difficulty", [PLAIN, USUAL, HARD, Difficulty(), NOISY])
def test_every_sentence_is_well_formed(difficulty):
    for sentence in some(difficulty):
        assert is_tree(sentence)
        assert sentence.characters == sentence.text == "".join(word.form for word in sentence.words)
        assert len(sentence.characters) <= 24
        assert 4 <= len(sentence.words) <= 10
        assert set(sentence.characters) <= set(LETTERS + MARKS)
        assert all(word.tag in ENTRIES[word.form].tags for word in sentence.words)
        assert [word.relation for word in sentence.words if word.head == 0] == ["root"]
        for word in sentence.words:
            assert bool(word.predicate) == (word.tag == "VERB")
            assert all(sentence.words[at - 1].head > 0 for at, _ in word.arguments)
            assert word.predicate or not word.arguments


def test_the_inventories_are_what_occurs():
    words = [word for sentence in some(Difficulty(), 1500) for word in sentence.words]
    assert {word.tag for word in words} == set(TAGS)
    assert {word.relation for word in words} == set(RELATIONS)
    assert {role for word in words for _, role in word.arguments} == set(ROLES)
    plain = {word.relation for sentence in some(PLAIN, 1500) for word in sentence.words}
    assert plain == set(RELATIONS) - {"dep"}  # of a word that is a verb in the place of a noun, which is noise


def test_sentences_are_short_and_long():
    lengths = Counter(len(sentence.words) for sentence in some(Difficulty(), 1500))
    assert set(lengths) == set(range(4, 11))
    assert min(lengths.values()) > 0.03 * 1500
    assert max(lengths.values()) < 0.3 * 1500


def test_a_seed_gives_the_same_sentences_always():
    assert sentences(40, seed=3) == sentences(60, seed=3)[:40]
    assert sentences(40, seed=3) != sentences(40, seed=4)
    first = sentences(1, seed=1)[0]
    assert first.name == "world-1-0"
    assert first.characters == FIRST


def test_the_words_are_the_same_at_every_difficulty():
    """Also those that can be cut in two ways elsewhere; but homographs, and phrases of two heads, are a difficulty."""
    seen = {word.form for sentence in some(PLAIN, 1500) for word in sentence.words}
    usual = {form for form, entry in ENTRIES.items() if len(entry.tags) == 1 and entry.sort != "either"}
    assert seen <= usual
    assert len(seen) > 0.95 * len(usual)
    assert {word.form for sentence in some(HARD) for word in sentence.words} <= set(ENTRIES)
    assert 250 < len(ENTRIES) < 400


def test_no_word_begins_another_but_in_cuts():
    cut = {(a.form, ab.form) for each in LEXICON.cuts() for a, ab in [(each.early[0], each.late[0])]}
    found = {(one, two) for one in ENTRIES for two in ENTRIES if one != two and two.startswith(one)}
    assert found == cut
    for each in LEXICON.cuts():
        assert "".join(entry.form for entry in each.late) == "".join(entry.form for entry in each.early)


def test_without_difficulty_longest_match_and_lookup_are_right():
    for sentence in some(PLAIN):
        found, at = [], 0
        while at < len(sentence.characters):
            word = next(w for n in (3, 2, 1) if (w := sentence.characters[at : at + n]) in ENTRIES)
            found.append((word, ENTRIES[word].tags[0]))
            at += len(word)
        assert tuple(found) == tagged(sentence)
        assert len(list(cuttings(sentence.characters))) == 1


@pytest.mark.parametrize("difficulty", [PLAIN, USUAL, HARD])
def test_without_noise_context_tells_words_tags_and_heads(difficulty):
    for sentence in some(difficulty):
        assert readings(sentence.characters) == [tagged(sentence)]
        assert heads(sentence.words) == [word.head for word in sentence.words]


def test_context_is_needed():
    """Longest match, the most frequent tag and the nearer head each fail where they should."""
    cut = [sentence for sentence in some(replace(PLAIN, segmentation=1)) if len([*cuttings(sentence.characters)]) > 1]
    longest = [max(cuttings(s.characters), key=lambda words: [len(w) for w in words]) for s in cut]
    right = np.mean([words == tuple(w.form for w in s.words) for words, s in zip(longest, cut, strict=True)])
    assert len(cut) > 0.7 * 300
    assert right < 0.65
    tags = Counter((w.form, w.tag) for s in some(HARD, 1500) for w in s.words if len(ENTRIES[w.form].tags) == 2)
    most = sum(max(tags[form, tag] for tag in ENTRIES[form].tags) for form in {form for form, _ in tags})
    assert most < 0.8 * sum(tags.values())
    far = Counter(w.relation for s in some(replace(PLAIN, attachment=1)) for w in phrases(s))
    assert 0.3 < far["obl"] / far.total() < 0.7


def phrases(sentence: Sentence) -> list[Word]:
    either = [k for k, word in enumerate(sentence.words) if ENTRIES[word.form].sort == "either"]
    return [sentence.words[k + 1] for k in either]


def test_each_difficulty_makes_its_own_places():
    for name, counted in (("segmentation", "words"), ("tagging", "tags"), ("attachment", "tree")):
        for drawn in draw(100, replace(HARD, **{name: 0.0})):
            assert getattr(drawn, counted) == 0
        few, many = (sum(getattr(d, counted) for d in draw(200, replace(PLAIN, **{name: s}))) for s in (0.3, 0.9))
        assert 0 < 2 * few < many
    assert all((d.words, d.tags, d.tree) == (0, 0, 0) for d in draw(100, PLAIN))


@pytest.mark.parametrize("noise", [0.1, 0.5, 1.0])
def test_noise_leaves_the_letters(noise):
    truth, read = sentences(100, replace(HARD, noise=noise)), sentences(100, HARD)
    assert [sentence.characters for sentence in truth] == [sentence.characters for sentence in read]
    assert truth != read


def test_floors_are_what_reading_by_context_errs():
    difficulty = replace(Difficulty(), noise=0.6)
    n = 1500
    truth, read = sentences(n, difficulty, 11), sentences(n, replace(difficulty, noise=0), 11)
    pairs = [(t, r) for a, b in zip(truth, read, strict=True) for t, r in zip(a.words, b.words, strict=True)]
    at = [(list(s.anchors), list(p.anchors)) for s, p in zip(truth, read, strict=True)]
    wrong = sum(spans not in by_context for a, b in at for spans, by_context in [(x, set(b)) for x in a])
    floor = floors(difficulty)
    assert wrong / len(pairs) == pytest.approx(floor["words"], rel=0.2)
    same = [(t, r) for t, r in pairs if t.form == r.form]
    assert sum(t.tag != r.tag for t, r in same) / len(pairs) == pytest.approx(floor["tags"], rel=0.2)
    assert floor["roles"] == 0


def test_the_floor_of_the_tree_is_what_preference_errs():
    """With words and tags that tell all, heads that are not as the words prefer are those drawn blindly."""
    difficulty = Difficulty(0, 0, 1, 0.6)
    drawn = some(difficulty, 1500)
    wrong = sum(h != w.head for s in drawn for h, w in zip(heads(s.words), s.words, strict=True))
    assert wrong / sum(len(s.words) for s in drawn) == pytest.approx(floors(difficulty)["tree"], rel=0.2)
    assert floors(difficulty)["words"] == floors(difficulty)["tags"] == 0


def test_a_wrong_cut_is_passed_on():
    """Where the words are other than read by context, tags or heads are too, and roles often."""
    difficulty = replace(PLAIN, segmentation=1, noise=1)
    pairs = zip(sentences(300, difficulty), sentences(300, replace(difficulty, noise=0)), strict=True)
    cut = [(a, b) for a, b in pairs if [w.form for w in a.words] != [w.form for w in b.words]]
    labels = [[[(w.tag, w.relation) for w in s.words] for s in pair] for pair in cut]
    assert all(truth != read for truth, read in labels)
    roles = [
        [{(s.words[at - 1].form, role) for w in s.words for at, role in w.arguments} for s in pair] for pair in cut
    ]
    assert np.mean([truth != read for truth, read in roles]) > 0.7


def test_roles_follow_from_the_tree():
    agents = 0
    for sentence in some(Difficulty(), 1500):
        for at, verb in enumerate(sentence.words, 1):
            below = [(k, word) for k, word in enumerate(sentence.words, 1) if word.head == at]
            passive = any(word.relation == "aux" for _, word in below)
            for k, role in verb.arguments:
                word = sentence.words[k - 1]
                by = sentence.words[k - 2].form == LEXICON.words["agent"].choices[0].form
                agents += passive and by
                if word.relation in ("nsubj", "obj"):
                    assert role == ("ARG0" if word.relation == "nsubj" and not passive else "ARG1")
                else:
                    assert role == ("ARG0" if passive and by else SAID_OF[ENTRIES[word.form].sort])
    assert agents > 15


def test_verbs_take_nouns_of_a_sort():
    pairs = [
        (ENTRIES[s.words[w.head - 1].form], ENTRIES[w.form])
        for s in some(PLAIN)
        for w in s.words
        if w.relation == "obj"
    ]
    assert np.mean([verb.object == noun.sort for verb, noun in pairs]) > 0.85


def test_words_are_as_frequent_as_words_are():
    counts = Counter(w.form for s in some(PLAIN, 1500) for w in s.words if w.tag == "NOUN")
    top = [count for _, count in counts.most_common()]
    assert sum(top[: len(top) // 10]) > 0.25 * sum(top)
    assert top[-1] >= 1


def test_parts_do_not_share_a_seed():
    assert {name: n for name, (n, _) in PARTS.items()} == {"train": 3200, "validation": 400, "test": 800}
    assert len({seed for _, seed in PARTS.values()}) == 3


@settings(max_examples=25, deadline=None)
@given(st.builds(Difficulty, *[st.floats(0, 1)] * 4), st.integers(0, 2**40))
def test_any_difficulty_gives_trees(difficulty, seed):
    drawn = draw(10, difficulty, seed)
    assert len(drawn) == 10
    assert all(is_tree(each.sentence) for each in drawn)
    assert all(2 * each.tree + each.tags + each.words <= 2 * len(each.sentence.words) for each in drawn)


def test_sentences_are_drawn_fast():
    start = time.perf_counter()
    sentences(500)
    assert time.perf_counter() - start < 10  # .1 s on an idle core where shapes are not checked


@pytest.mark.parametrize("name", [field.name for field in fields(Difficulty)])
@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_difficulty_out_of_range_is_refused(name, share):
    with pytest.raises(InputError, match=rf"Difficulty\.{name} is out of range"):
        sentences(1, Difficulty(**{name: share}))
    with pytest.raises(InputError, match="0 \\(never\\) to 1"):
        floors(Difficulty(**{name: share}))


@pytest.mark.parametrize(("n", "seed"), [(-1, 0), (3, -1)])
def test_no_such_sentences(n, seed):
    with pytest.raises(InputError, match="no such sentences"):
        sentences(n, seed=seed)
    assert world.sentences(0) == []
