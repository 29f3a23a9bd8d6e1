import re

import numpy as np
import pytest
import torch
from torch import nn

from seamwise.errors import InputError, ModelError
from seamwise.look.text.characters import Text
from seamwise.look.text.coloured import coloured, examples, values_of
from seamwise.look.text.concepts import Concept, concept_of, concept_of_documents, concepts_of_file, usual_concepts
from seamwise.look.text.halves import halves, shortened
from seamwise.look.text.reading import Reader, tokens_for
from seamwise.look.text.showing import look_at_text, write_text_look
from seamwise.look.text.units import kinds, text_units


def prose(seed, n=6000):
    """Words, commas, digits, quotes that hold for some words, and lines."""
    rng, parts, size = np.random.default_rng(seed), [], 0
    while size < n:
        word = "".join(rng.choice(list("abcdefgho"), rng.integers(1, 7)))
        more = [word, rng.choice([" ", ", ", ".\n", " 7 ", f' "{word} {word} {word}" '], p=[0.6, 0.15, 0.1, 0.05, 0.1])]
        parts, size = parts + more, size + sum(map(len, more))
    return "".join(parts)[:n]


class Planted(nn.Module):
    """Bytes in; six units that are known: a copy of the current one, a memory of quotes, the column, and noise."""

    def __init__(self, delay=0):
        super().__init__()
        self.inner, self.passed, self.delay = nn.Identity(), nn.Identity(), delay

    def forward(self, ids):
        comma, quote, line = (ids == 44).float(), (ids == 34).float(), (ids == 10).float()
        column = torch.zeros_like(comma)
        for t in range(1, ids.shape[1]):
            column[:, t] = (column[:, t - 1] + 1) * (1 - line[:, t - 1])
        noise = ((ids * 7919 + torch.arange(ids.shape[1]) * 104729) % 97).float()
        units = [comma + 0.01 * noise, quote.cumsum(1) % 2, column, noise, -comma, torch.zeros_like(comma)]
        return self.passed(self.inner(torch.stack(units, 2)))


def tokens_of_prose(n=1, size=6000):
    return tokens_for(Planted(), [prose(seed, size) for seed in range(n)])


def answers(network, tokens, names, **asked):
    found = text_units(network, tokens, [concept_of(name, tokens) for name in names], n_null=19, **asked)
    return found, {answer.concept: answer for answer in found.answers}


@pytest.fixture(scope="module")
def planted():
    tokens = tokens_of_prose(24, 500)
    return answers(Planted(), tokens, ["punctuation", "inside quotes", "far in the line", "digits"])


def test_planted_units_are_found(planted):
    found, of = planted
    assert found.layers == (("inner", 6),)
    best = {name: found.best(answer, 1)[0] for name, answer in of.items()}
    assert (best["inside quotes"].unit, best["far in the line"].unit, best["punctuation"].unit) == (1, 2, 0)
    assert best["inside quotes"].auroc > 0.95
    assert best["far in the line"].auroc == pytest.approx(1, abs=0.001)
    assert best["inside quotes"].p == 0.05
    assert of["inside quotes"].auroc[5] == of["inside quotes"].auroc_found[5] == 0.5  # a unit that is always 0
    assert found.unit(of["punctuation"], 4).sign == -1


def test_a_unit_that_copies_the_current_token_is_told_as_such(planted):
    found, of = planted
    comma, quotes = found.best(of["punctuation"], 1)[0], found.best(of["inside quotes"], 1)[0]
    assert of["punctuation"].by_token == 1
    assert comma.copies
    assert comma.beyond == 0.5
    assert not quotes.copies
    assert quotes.beyond > 0.95
    assert of["inside quotes"].by_token < 0.8
    assert of["far in the line"].by_place == 1


def test_sentiment_is_asked_of_documents():
    labels = np.random.default_rng(0).integers(0, 2, 60)
    tokens = tokens_for(Planted(), [prose(k, 100) + ',"'[label] * 40 for k, label in enumerate(labels)])
    for value in ("mean", "last"):
        found = text_units(Planted(), tokens, [concept_of_documents("sentiment", labels.tolist())], value=value)
        (answer,) = found.answers
        assert (answer.level, answer.n) == ("document", 30)
        assert answer.by_token == 1
        assert answer.auroc[0] < 0.05  # commas where the label is 0
        assert answer.p[0] == 0.01
        assert np.isnan(answer.beyond).all()
        assert not found.best(answer, 1)[0].copies


def test_labels_of_lines(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{'a,' if label else 'a'} {'b' * rng.integers(1, 20)}" for label in rng.integers(0, 2, 200)]
    tokens, path = tokens_for(Planted(), ["\n".join(lines)]), tmp_path / "commas.txt"
    path.write_text("\n".join(str(int("," in line)) for line in lines))
    (answer,) = text_units(Planted(), tokens, concepts_of_file(path, tokens)).answers
    assert (answer.level, answer.n) == ("line", pytest.approx(100, abs=20))
    assert answer.auroc[4] < 0.05


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.lstm, self.drop = nn.Embedding(256, 8), nn.LSTM(8, 16, batch_first=True), nn.Dropout(0.5)

    def forward(self, ids):
        return self.drop(self.lstm(self.embedding(ids))[0])


def test_windows_give_what_the_whole_text_gives():
    tokens, network = tokens_of_prose(3, 700), Recurrent()
    split = halves(tokens)
    whole = Reader(network, tokens, ["lstm"], window=701, overlap=0)
    parts = Reader(network, tokens, ["lstm"], window=131, overlap=60)
    for pieces, half in ((split.find, 0), (split.hold, 1)):
        one, other = (_sorted(reader.read(pieces)) for reader in (whole, parts))
        assert (one[0] == split.rows(half)).all()
        assert (one[0] == other[0]).all()
        assert np.abs(one[1] - other[1]).max() < 1e-3
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def _sorted(chunks):
    rows, values = zip(*((rows, values.numpy()) for rows, values in chunks), strict=True)
    order = np.argsort(np.concatenate(rows))
    return np.concatenate(rows)[order], np.concatenate(values)[order]


class Turned(nn.Module):
    """Tokens first, as recurrent layers have it by default; channels before tokens, as convolutions have them."""

    def __init__(self):
        super().__init__()
        self.embedding, self.gru, self.convolution = nn.Embedding(256, 4), nn.GRU(4, 5), nn.Conv1d(5, 7, 3, padding=1)
        self.pooled = nn.AdaptiveAvgPool1d(3)

    def forward(self, ids):
        states = self.convolution(self.gru(self.embedding(ids).transpose(0, 1))[0].permute(1, 2, 0))
        return self.pooled(states)


def test_layers_whatever_the_order_of_their_axes():
    tokens = tokens_of_prose(1, 300)
    reader = Reader(Turned(), tokens, window=64, overlap=8)
    assert reader.layers == (("embedding", 4), ("gru", 5), ("convolution", 7))
    rows, values = _sorted(reader.read(halves(tokens).find))
    assert values.shape == (len(rows), 16)
    assert (values[:, :4] == Turned_embedding(reader, tokens, rows)).all()


def Turned_embedding(reader, tokens, rows):  # noqa: N802
    return reader._network.embedding(torch.from_numpy(tokens.ids[rows])).detach().numpy()


class Failing(nn.Module):
    def forward(self, ids):
        return self.answer(ids)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda ids: nn.functional.embedding(ids, torch.zeros(50, 3)), "encode"),
        (lambda ids: ids.float().mean(1), "no layer gives units"),
        (lambda ids: ids.float()[..., None].expand(-1, -1, 3) * torch.nan, "no numbers"),
        (lambda ids: (ids > 0)[..., None], "no layer"),
    ],
)
def test_networks_that_cannot_be_looked_into(answer, told):
    network = Failing()
    network.answer = answer
    tokens = tokens_of_prose(1, 2000)
    with pytest.raises(ModelError, match=told):
        text_units(network, tokens, [concept_of("punctuation", tokens)])


def test_an_encoder_that_does_not_know_a_character():
    network = Planted()
    network.encode = lambda text: np.array([{"a": 1}[c] for c in text])
    assert tokens_for(network, ["aa"]).ids.tolist() == [1, 1]
    with pytest.raises(ModelError, match="KeyError: 'b'"):
        tokens_for(network, ["ab"])


def test_what_cannot_be_asked():
    tokens = tokens_of_prose(1, 2000)
    for call, told in (
        (lambda: answers(Planted(), tokens, ["capitals"]), "0 of 9"),
        (lambda: answers(Planted(), tokens, []), "no concept"),
        (lambda: answers(Planted(), tokens, ["digits"], layers=["other"]), "no layer 'other'"),
        (lambda: answers(Planted(), tokens, ["digits"], overlap=600), "overlap"),
        (lambda: values_of(Planted(), tokens, [("inner", 6)], halves(tokens).hold), "no unit 6"),
    ):
        with pytest.raises(InputError, match=told):
            call()


def test_halves_of_one_text_and_of_many():
    one = halves(tokens_of_prose(1, 6000), most=3000)
    assert sum(map(len, (one.rows(0), one.rows(1)))) == 3000
    assert abs(len(one.rows(0)) - 1500) < 200
    assert one.rows(0).max() < 3000 <= one.rows(1).min()  # one stretch from each half of the text
    assert (one.rows(0)[0], one.rows(1)[-1]) == (750, 5249)
    tokens = tokens_of_prose(100, 60)
    many = halves(tokens, most=3000)
    documents = [np.unique(tokens.document[many.rows(k)]) for k in (0, 1)]
    assert (len(documents[0]), len(documents[1])) == (25, 25)
    assert not set(documents[0]) & set(documents[1])
    assert max(max(documents[0]), max(documents[1])) > 90
    assert (many.half == halves(tokens, most=3000).half).all()
    assert (many.half != halves(tokens, most=3000, seed=1).half).any()
    labels = np.arange(100) % 2  # one after the other
    assert all(labels[half].min() < labels[half].max() for half in documents)
    assert (many.half[tokens.document == documents[0][0]] == 0).all()


def test_usual_concepts_hold_often_enough():
    tokens = tokens_of_prose()
    names = [concept.name for concept in usual_concepts(tokens)]
    assert {"punctuation", "inside quotes", "line start"} <= set(names)
    assert "capitals" not in names
    assert kinds(tokens).max() < 20


def test_values_examples_and_colours():
    tokens = tokens_of_prose()
    rows, values = values_of(Planted(), tokens, [("inner", 2), ("inner", 0)], halves(tokens).hold)
    assert (rows == halves(tokens).rows(1)).all()
    drawn = examples(tokens, rows, values[:, 0])
    assert [e.value for e in drawn if e.quantiles[1] == 1][-1] >= np.quantile(values[:, 0], 0.999)
    for e in drawn:
        assert e.before + e.token + e.after in tokens.documents[0]
        low, high = np.quantile(values[:, 0], e.quantiles)
        assert low <= e.value <= high
    assert drawn == examples(tokens, rows, values[:, 0])
    page = coloured(tokens, rows[:400], values[:400, 1])
    texts = re.findall(r'title="([^"]*)">([^<]*)</span>', page)
    assert len(texts) == 400
    assert "&quot;" in page
    assert all((text == ",") == ("230,120,0,0.6" in span) for span, text in re.findall(r"<span ([^>]*)>([^<]*)<", page))


def test_a_document_shorter_than_a_window_and_of_one_token():
    tokens = tokens_for(Planted(), ["a,", ",", "b", *(prose(k, 90) for k in range(30))])
    found, of = answers(Planted(), tokens, ["punctuation"])
    assert of["punctuation"].auroc[0] > 0.6
    assert found.n_tokens == tokens.n


def test_halves_are_cut_at_a_line_break_that_is_near_alone():
    for at, cut in ((560, 561), (900, 500)):
        tokens = tokens_for(Planted(), ["x" * at + "\n" + "y" * (999 - at)])
        assert halves(tokens).rows(1)[0] == cut
    assert halves(tokens_for(Planted(), ["x" * 530, "y" * 470])).rows(1)[0] == 530


def test_two_concepts_of_one_name():
    tokens = tokens_of_prose(24, 500)
    of = {name: concept_of(name, tokens).labels for name in ("digits", "punctuation")}
    line = Concept("mine", "line", np.random.default_rng(0).integers(0, 2, tokens.n_lines).astype(np.int8))
    asked = [line, Concept("mine", "token", of["punctuation"]), line, Concept("mine", "token", of["digits"])]
    found = text_units(Planted(), tokens, asked, n_null=9)
    assert [answer.level for answer in found.answers] == ["line", "token", "line", "token"]
    assert [found.best(answer, 1)[0].unit == 0 for answer in found.answers[1::2]] == [True, False]


def test_files_of_one_name_are_told_apart(tmp_path):
    text = Text((prose(0, 2000),))
    labels = "\n".join(str(int(c in ",.")) for c in text.documents[0])
    paths = [tmp_path / "a/x.txt", tmp_path / "b/x.txt", tmp_path / "punctuation.txt"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(labels)
    look = look_at_text(Planted(), text, ["punctuation", *map(str, paths), str(paths[0])])
    assert [answer.concept for answer in look.found.answers] == ["punctuation", *map(str, paths)]


class AcrossRows(nn.Module):
    """Recurrent over the rows of a batch: tokens first is what it expects."""

    def __init__(self, recurrent):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.memory = nn.Embedding(256, 8), recurrent(8, 16)

    def forward(self, ids):
        return self.memory(self.embedding(ids))[0]


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.state = nn.LSTM(1, 4, batch_first=True), None

    def forward(self, ids):
        values, self.state = self.lstm(ids[..., None] / 100, self.state)
        return values


class Drawing(nn.Module):
    def forward(self, ids):
        return ids[..., None] + torch.rand(*ids.shape, 3)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (lambda: AcrossRows(nn.LSTM), "memory: what it gives for one window depends on those beside it"),
        (lambda: AcrossRows(nn.RNN), "batch_first=True"),
        (Stateful, "lstm: gives something else each time"),
        (Drawing, "output: gives something else each time"),
    ],
)
def test_layers_of_which_a_window_alone_does_not_tell(network, told):
    with pytest.raises(ModelError) as caught:
        Reader(network(), tokens_of_prose(1, 900))
    assert told in str(caught.value)
    if network not in (Stateful, Drawing):
        assert Reader(network(), tokens_of_prose(1, 900), ["embedding"]).passed == ()


class Short(nn.Module):
    """Has places for so many tokens, or needs exactly so many."""

    def __init__(self, n, exact=False):
        super().__init__()
        self.places, self.exact, self.lengths = nn.Embedding(n, 4), exact, set()

    def forward(self, ids):
        assert not self.exact or ids.shape[1] == self.places.num_embeddings, f"{ids.shape[1]} tokens"
        self.lengths.add(ids.shape[1])
        return self.places(torch.arange(ids.shape[1]))[None] + (ids == 44)[..., None]


def test_a_network_that_reads_few_tokens_at_once():
    tokens = tokens_of_prose(1, 3000)
    reader = Reader(Short(100), tokens)
    assert (reader.window, reader.overlap) == (63, 15)
    found = text_units(Short(100), tokens, [concept_of("punctuation", tokens)], n_null=9)
    assert (found.window, found.overlap) == (63, 15)
    network = Short(96, exact=True)
    look = look_at_text(network, Text((prose(0, 3000),)), ["punctuation"], window=96)
    assert (look.found.window, network.lengths) == (96, {96})
    with pytest.raises(
        ModelError, match=r"(?s)AssertionError: 509 tokens.*509, 254, 127, 63, 31, 15 tokens were tried"
    ):
        Reader(network, tokens)


@pytest.mark.parametrize("error", [AssertionError, KeyError, AttributeError, NotImplementedError])
def test_whatever_the_module_raises(error):
    def fails(*_):
        raise error("its own words")

    network = Failing()
    network.answer = fails
    with pytest.raises(ModelError, match=rf"{error.__name__}: .*its own words"):
        Reader(network, tokens_of_prose(1, 300))
    network.encode = fails
    with pytest.raises(ModelError, match=rf"{error.__name__}: .*its own words"):
        tokens_for(network, ["a"])


def test_no_more_becomes_tokens_than_is_looked_at():
    long = Text(("ab\n" * 40_000,))
    assert [(len(part), part[:3]) for part in shortened(long, 3000).documents] == [(1500, "ab\n")] * 2
    many = shortened(Text(tuple(f"{k} " * 50 for k in range(1000)), tuple(k % 2 for k in range(1000))), 20_000)
    assert all(int(document.split()[0]) % 2 == label for document, label in zip(*_both(many), strict=True))
    assert sum(map(len, many.documents)) == pytest.approx(20_000, rel=0.1)
    longer = shortened(Text(("a" * 1000,) * 30), 4000)
    assert {len(document) for document in longer.documents} == {200}
    assert shortened(many, 10**6) is many


def _both(text):
    return text.documents, text.labels


def test_the_page_says_what_was_looked_at_and_how(tmp_path):
    texts = Text(tuple(prose(k, 200) for k in range(60)), tuple(k % 2 for k in range(60)))
    look = look_at_text(Planted(), texts, ["punctuation"], most=6000)
    assert "30 of 60 documents; half of these, drawn at random (seed 0)" in look.looked_at
    assert look.looked_at.startswith("6,000 of 12,000 characters")
    page = write_text_look(tmp_path / "a.html", "A text", look, lead="Of a test.").read_text()
    assert "Of a test. 6,000 of 12,000 characters" in page
    assert "windows of 509 tokens, of which 125 are those before, read again" in page
    assert "copies its token" in page
    assert "0.99-0.999" in page
    assert "0.999-1" in page
    assert "— — —" in page
    one = look_at_text(Turned(), Text((prose(0, 9000),)), ["punctuation"], most=3000)
    assert re.match(r"2,[89]\d\d of 9,000 characters", one.looked_at)  # from the beginning of a line
    assert "a stretch from the middle of each" in one.looked_at
    assert one.notes == ("layers passed over, which give no units for each token: pooled (7, 3)",)


def test_odd_texts(tmp_path):
    look = look_at_text(Planted(), Text((prose(0, 2000).replace("a", "\ud800"),)), ["punctuation"])
    assert "\ufffd" in write_text_look(tmp_path / "a.html", "\ud800", look).read_text(encoding="utf-8")
    with pytest.raises(InputError, match="there is no text"):
        look_at_text(Planted(), Text(()))
    with pytest.raises(InputError, match="2 labels of 1 documents"):
        Text(("a",), (0, 1))


def test_what_has_other_units_in_a_shorter_window_is_passed_over():
    class Attends(nn.Module):
        """To each token a number for each other one: no units."""

        def __init__(self):
            super().__init__()
            self.embedding, self.weights = nn.Embedding(256, 4), nn.Identity()

        def forward(self, ids):
            x = self.embedding(ids)
            return self.weights(x @ x.transpose(1, 2)) @ x

    network = Attends()
    reader = Reader(network, tokens_for(network, [prose(0, 2000)]), window=300)
    assert [name for name, _ in reader.layers] == ["embedding", "output"]
    assert any("weights" in name for name in reader.passed)
