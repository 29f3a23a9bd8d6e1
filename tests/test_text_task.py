"""The text task: encodings, words within networks, losses and scores, its chains in every regime and variant."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from seamwise import Fit, regimes, testing
from seamwise.errors import SupplyError
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.systems.text import targets
from seamwise.systems.text.data import ABSENT, divided, encoded, fits, labels_of, stripped, supply
from seamwise.systems.text.inventory import UNKNOWN, inventory_of, kind, stand_in
from seamwise.systems.text.nets import Lexicon, written_by_length
from seamwise.systems.text.oracles import oracles
from seamwise.systems.text.sentence import Sentence, Token, Word
from seamwise.systems.text.stages import heads_at_characters
from seamwise.systems.text.task import HARD, text
from seamwise.systems.text.words import words_of
from seamwise.systems.text.world import sentences
from seamwise.testing import check_task
from seamwise.training import Job

BRIEF = Fit(
    batch=4,
    rates=(3e-3,),
    min_steps=0,
    max_steps=2,
    eval_every=1,
    warmup=1,
    n_folds=2,
    start_small=0,
    alike="characters",
)
SIZE = 8


@pytest.fixture(scope="module")
def parts():
    return [sentences(n, seed=seed) for seed, n in enumerate((24, 6, 6), start=1)]


@pytest.fixture(scope="module")
def inventory(parts):
    return inventory_of(parts[0], [*parts[1], *parts[2]], spaces=False)


@pytest.fixture(scope="module")
def held(inventory, parts):
    return supply(inventory, parts, 40)


@pytest.fixture(scope="module")
def small(inventory, held):
    return text(inventory, held, ["soft", "hard", "shared"], size=SIZE, fit=BRIEF)


@pytest.fixture(autouse=True)
def few_seam_items(monkeypatch):
    monkeypatch.setattr(regimes, "N_SEAM_ITEMS", 2)


def trained(task, variant, regime):
    budget = {field: task.supply.held(field) for field in task.targets(task.chain_of(variant))}
    return REGIME_FUNCTIONS[regime](Job(task, variant, budget, 0))


@pytest.mark.slow
def test_the_task_keeps_the_contract(inventory, held, monkeypatch):
    monkeypatch.setattr(testing, "N_STEPS", 20)
    assert check_task(text(inventory, held, ["soft"], size=SIZE, fit=BRIEF)) == ()


@pytest.mark.parametrize("regime", ["tuned", "endtoend"])
def test_soft_seams_pass_gradient(small, regime):
    found = {seam.field: seam.passes for seam in trained(small, "soft", regime).seams}
    assert found == {"words": True, "tags": True, "tree": False}  # roles lie behind the answer


def test_hard_seams_stop_it_and_say_where(small):
    found = {seam.field: seam.stopped_by for seam in trained(small, "hard", "joint").seams}
    assert all(found[name] for name in ("words", "tags"))


def test_end_to_end_through_hard_seams_says_what_it_cannot_train(small):
    notes = trained(small, "hard", "endtoend").notes
    assert any("no gradient crosses 'words'" in note for note in notes)


def test_every_variant_that_is_named_can_be_built(inventory, held):
    task = text(inventory, held, size=4)
    assert list(task.variants) == list(HARD)
    assert list(task.directs) == ["direct", "larger"]


def test_the_same_seed_gives_the_same_scores(small):
    one, two = (trained(small, "shared", "joint").trainings[-1] for _ in range(2))
    assert one.error == two.error


@pytest.mark.parametrize("variant", ["soft", "shared"])
def test_a_sentence_is_written_alike_alone_and_among_longer_ones(small, variant):
    net = small.chain_of(variant).build(3).eval()
    batch = small.supply.take(["characters"], np.arange(8))
    with torch.no_grad():
        together = net(batch)
        for k in range(8):
            alone = net({"characters": batch["characters"][k : k + 1]})
            n = int((batch["characters"][k, :, 0] > 0).sum())
            for field in ("words", "tags", "tree", "predicates", "roles"):
                one, both = alone[field][0, :n], together[field][k, :n]
                torch.testing.assert_close(both, one, atol=2e-6, rtol=1e-5)


def test_in_training_a_batch_is_as_wide_as_its_longest(small):
    net = small.chain_of("soft").build(3).train()
    batch = small.supply.take(["characters"], np.arange(5))
    n = int((batch["characters"][..., 0] > 0).sum(1).max())
    written = net(batch)
    assert written["words"].shape[1] == n
    assert written["roles"].shape[1] <= n  # a row a word


def test_what_is_written_is_probabilities(small):
    net = small.chain_of("soft").build(3).eval()
    batch = small.supply.take(["characters"], np.arange(5))
    real = batch["characters"][..., 0] > 0
    with torch.no_grad():
        written = net(batch)
    n = 1 + small.answer.gold.n_relations
    for values in (written["words"], written["tags"], written["tree"][..., :n], written["tree"][..., n:]):
        torch.testing.assert_close(values.sum(-1)[real], torch.ones(int(real.sum())))


def test_gold_scores_perfectly_and_costs_nothing(small):
    rows = np.arange(len(small.supply))
    for target in small.targets(small.chain_of("soft")).values():
        labels = small.supply.take([target.field], rows)[target.field]
        gold = target.gold(labels)
        assert float(target.metric(gold, labels).max()) == 0, target.field
        assert float(target.loss(gold, labels).abs().max()) < 1e-4, target.field


def sentence(*words, spaces=()):
    """A sentence of (form, tag, head, relation), without white space but where it is told."""
    tokens = tuple(Token(form, after=" " if k in spaces else "") for k, (form, *_) in enumerate(words))
    return Sentence(tuple(Word(*word) for word in words), tokens)


def test_labels_stand_at_the_first_characters_of_words():
    own = sentence(("ab", "NOUN", 2, "nsubj"), ("c", "VERB", 0, "root"), ("de", "NOUN", 2, "obj"))
    inventory = inventory_of([own])
    labels = labels_of(inventory, own)
    assert labels["words"].tolist() == [1, 0, 1, 1, 0]
    assert [inventory.tags[int(k) - 1] if k else "" for k in labels["tags"]] == ["NOUN", "", "VERB", "NOUN", ""]
    assert labels["tree"][:, 0].tolist() == [3, 0, 0, 3, 0]
    assert [inventory.relations[int(k) - 1] for k in labels["tree"][[0, 2, 3], 1]] == ["nsubj", "root", "obj"]


def test_words_of_a_multiword_token_have_characters_of_their_own():
    words = (Word("de", "ADP", 2, "case"), Word("le", "DET", 0, "root"), Word("va", "VERB", 2, "dep"))
    own = Sentence(words, (Token("du", 2), Token("va")))
    labels = labels_of(inventory_of([own]), own)
    assert labels["words"].tolist() == [1, 2, 1, 0]
    assert inventory_of([own]).forms == {"du": ("de", "le")}


def test_a_token_with_fewer_characters_than_words_is_not_learned_from():
    own = Sentence((Word("a", "X", 0, "root"), Word("b", "X", 1, "dep")), (Token("x", 2),))
    assert not fits(own, 10)
    with pytest.raises(SupplyError):
        supply(inventory_of([own]), [[own], [own], [own]], 10)


def test_full_width_is_looked_up_as_half_width():
    inventory = inventory_of([sentence(("ab", "X", 0, "root"), (",", "X", 1, "dep"), (".", "X", 1, "dep"))] * 2)
    assert inventory.ids("ａｂ，。") == inventory.ids("ab,.")
    assert inventory.ids("漢") == [UNKNOWN]
    assert stand_in("。", {".": 2}) == "."
    assert {kind(c) for c in "。.！"} == {kind("?")}


def test_white_space_is_told_by_the_kind():
    own = sentence(("a", "X", 0, "root"), ("a", "X", 1, "dep"), spaces=(0,))
    with_spaces = encoded(inventory_of([own] * 2), own)
    without = encoded(inventory_of([own] * 2, spaces=False), own)
    assert with_spaces[0, 2] + 1 == with_spaces[1, 2]
    assert without[0, 2] == without[1, 2]
    assert stripped(own).text == "aa"


def test_words_are_known_wherever_they_stand():
    own = sentence(("ab", "X", 0, "root"), ("c", "X", 1, "dep"), ("AB", "X", 1, "dep"), ("ba", "X", 1, "dep"))
    inventory = inventory_of([own] * 2)
    lexicon = Lexicon(inventory, 4).eval()
    characters = torch.from_numpy(encoded(inventory, own))[None]
    words = words_of(torch.tensor([[[0.0, 1], [1, 0], [0, 1], [0, 1], [1, 0], [0, 1], [1, 0]]]), characters[..., 0] > 0)
    first, other, upper, turned = lexicon(characters, words)[0]
    assert torch.equal(first, upper)
    assert not torch.equal(first, other)
    assert not torch.equal(first, turned)


def test_soft_words_are_the_hard_ones_with_gradient():
    torch.manual_seed(0)
    inside = torch.sigmoid(2 * torch.randn(3, 9)).requires_grad_()
    written, real = torch.stack([inside, 1 - inside], dim=-1), torch.ones(3, 9, dtype=torch.bool)
    states = torch.randn(3, 9, 6)
    hard, soft = words_of(written, real), words_of(written, real, soft=True)
    told = soft.at_words(states, soft=True)
    torch.testing.assert_close(told, hard.at_words(states, soft=False))
    told.square().sum().backward()
    assert float(inside.grad.abs().min()) > 0
    assert not hard.at_words(states, soft=False).requires_grad


def test_ends_and_spans_by_hand():
    gold = torch.tensor([[True, False, True, True, False]])
    found = torch.tensor([[True, False, True, False, False]])
    labels = torch.zeros(1, 5, dtype=torch.long)
    assert targets.ends(gold, torch.tensor([5])).tolist() == [[2, 2, 3, 5, 5]]
    assert targets.same_spans(found, gold, labels).tolist() == [[True, False, False, False, False]]


def test_a_wrong_head_counts_once_and_a_wrong_word_twice():
    own = sentence(("ab", "NOUN", 2, "nsubj"), ("c", "VERB", 0, "root"), ("de", "NOUN", 2, "obj"))
    inventory = inventory_of([own])
    tree = torch.from_numpy(np.array([labels_of(inventory, own)["tree"]], dtype=np.int64))
    target = targets.tree_target(inventory)
    wrong = tree.clone()
    wrong[0, 3, 0] = 1  # "de" hangs on "ab"
    assert float(target.metric(target.gold(wrong), tree)) == pytest.approx(1 / 3)
    cut = tree.clone()
    cut[0, 4] = torch.tensor([3, 1])  # "e" is a word of its own
    assert float(target.metric(target.gold(cut), tree)) == pytest.approx(1 - 2 * 2 / (3 + 4))


def test_heads_stand_where_their_words_begin():
    written = torch.tensor([[[0.0, 1], [1, 0], [0, 1]]])
    found = words_of(written, torch.ones(1, 3, dtype=torch.bool))
    heads = torch.tensor([[[0.1, 0.0, 0.9], [1.0, 0.0, 0.0]]])
    placed = heads_at_characters(heads, found)
    torch.testing.assert_close(placed[0, 0], torch.tensor([0.1, 0.0, 0.0, 0.9]))
    torch.testing.assert_close(placed[0, 2], torch.tensor([1.0, 0.0, 0.0, 0.0]))


def test_batches_by_length_give_what_one_batch_gives():
    characters = torch.zeros(70, 9, 3, dtype=torch.long)
    for k in range(70):
        characters[k, : 1 + k % 9] = 1 + k

    def doubled(some):
        return (2 * some[..., 0],)

    with torch.no_grad():
        (written,) = written_by_length(doubled, [(1,)], characters)
    assert torch.equal(written, 2 * characters[..., 0])


def test_a_document_is_in_one_part():
    own = [replace(sentence(("a", "X", 0, "root")), document=str(k // 7)) for k in range(70)]
    parts = divided(own, (0.8, 0.1, 0.1))
    names = [{s.document for s in part} for part in parts]
    assert sum(map(len, parts)) == 70
    assert all(names)
    assert sum(map(len, names)) == len(set().union(*names))


def test_padding_is_no_label(held):
    padding = held.fields["characters"][..., 0] == 0
    for field in ("words", "tags", "predicates"):
        assert torch.equal(held.fields[field] == ABSENT, padding)


def test_perfect_stages_on_gold_are_gold_and_on_wrong_words_the_best(inventory, held):
    perfect = oracles(inventory)
    rows = np.arange(len(held))
    gold = held.take(["words", "tags", "tree"], rows)
    tags, tree = targets.tags_target(inventory), targets.tree_target(inventory)
    inputs = {"words": perfect["segment"]({}, gold)}
    inputs["tags"] = perfect["tag"](inputs, gold)
    assert float(tags.metric(inputs["tags"], gold["tags"]).max()) == 0
    assert float(tree.metric(perfect["parse"](inputs, gold), gold["tree"]).max()) == 0
    every = torch.tensor([0.0, 1.0, 0.0]).expand(*gold["words"].shape, 3)  # each character a word
    wrong = perfect["tag"]({"words": every}, gold)
    right = (gold["words"] > 0) & (torch.cat([gold["words"][:, 1:], gold["words"][:, :1]], dim=1) != 0)
    found = targets.same_spans(wrong[..., 0] < 0.5, gold["words"] > 0, gold["words"])
    assert torch.equal(found & (gold["words"] >= 0), found & right)
    assert float(tree.metric(perfect["parse"]({"tags": wrong}, gold), gold["tree"]).mean()) < 1
