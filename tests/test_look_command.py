"""`seamwise look`: a model folder, any network, a text; what the page holds, and what is refused."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_look_page import blocks
from torch import nn

from seamwise.cli import main

TASK = """
import cv2
import numpy as np
import torch
from torch import nn
from seamwise import Chain, Designed, Fit, Learned, Supply, Task, categories

N = 160
rng = np.random.default_rng(0)
side = rng.integers(0, 2, N)
x = rng.random((N, 1, 12, 12), dtype=np.float32) * .2
for k in range(N):
    x[k, 0, 4:8, 1 + 6 * side[k]: 5 + 6 * side[k]] += .8
field, answer = categories("side", 2), categories("answer", 2)

class See(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3), nn.ReLU())
        self.tell = nn.Linear(27, 2)

    def forward(self, x):
        return self.tell(self.maps(x).flatten(1)).softmax(-1)

def read(path):
    return {"x": cv2.imread(str(path), 0)[None].astype(np.float32) / 255}

chain = Chain([Learned("see", See, "x", field), Designed("turn", lambda p: p.flip(-1), "side", "answer")])
supply = Supply({"t": {"x": x, "side": side, "answer": 1 - side}})
task = Task(name="sides", chain=chain, answer=answer, supply=supply, direct=Learned("direct", See, "x", answer),
            read=read, fit=Fit(rates=(1e-2,), warmup=5, min_steps=20, max_steps=20, patience=10, eval_every=10))
"""

NETS = """
import torch
from torch import nn

def sees():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
                         nn.Linear(6 * 12 * 12, 2))

def gelu():
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.GELU(), nn.Conv2d(4, 2, 3), nn.ReLU())

def no_convolution():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))

def number():
    return 3

class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(256, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True)

    def forward(self, tokens):
        return self.lstm(self.embedding(tokens))[0]
"""


SEES = ("nets_to_look_at:sees", "--size", "32")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    (folder / "sides.py").write_text(TASK)
    (folder / "nets_to_look_at.py").write_text(NETS)
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for k in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 36 + k, 3), dtype=np.uint8)).save(folder / "photos" / f"{k}.png")
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture at all")
    (folder / "text.txt").write_text("Well, well! What is it? 'Tis I, my lord.\nAy, so; come hither.\n" * 60)
    return folder


@pytest.fixture
def call(place, monkeypatch, capfd):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))

    def look(*words):
        monkeypatch.setattr(sys, "argv", ["seamwise", *words])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out, err

    return look


@pytest.fixture(scope="module")
def model(place):
    words = ["train", "sides.py", "--regime", "endtoend", "--out", "model"]
    subprocess.run([sys.executable, "-m", "seamwise.cli", *words], cwd=place, check=True, capture_output=True)
    return place / "model"


def test_a_models_stages_are_looked_into(call, model, place):
    code, out, err = call("look", "model", "--out", "look.html", "--json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told["units"] == 7
    assert [layer["layer"] for layer in told["layers"]] == ["maps.0", "maps.3"]
    assert told["layers"][1]["receptive_px"] == [8, 8]
    assert set(told["layers"][0]["like_without_learning"]) == {"deconvnet"}
    page = (place / "look.html").read_text()
    for words in ("What sides learned", "read from the layers", "Filters", "Feature maps", "nothing is learned in it"):
        assert words in page
    found = blocks(page)
    assert set(found) == {"index", *(f"u{k}" for k in range(7))}
    assert [row["name"] for row in found["u0"]["rows"]] == [
        "exemplars",
        "by quantile",
        "deconvnet",
        "deconvnet, without learning",
    ]
    assert len(found["u0"]["rows"][0]["captions"]) == 9


def test_files_in_place_of_a_models_own_items(call, model, place):
    (place / "own").mkdir(exist_ok=True)
    for k in range(3):
        grey = np.random.default_rng(k).integers(0, 256, (12, 12), dtype=np.uint8)
        Image.fromarray(grey).save(place / "own" / f"{k}.png")
    code, out, _ = call("look", "model", "--data", "own", "--out", "own.html", "--method", "none", "--json")
    assert code == 0
    assert "2.png" in (place / "own.html").read_text()
    assert json.loads(out)["layers"][0]["like_without_learning"] == {}


def test_any_network_and_a_folder_of_pictures(call, place):
    words = (*SEES, "--data", "photos", "--out", "any.html", "--method", "deconvnet,saliency")
    code, out, _ = call("look", *words)
    assert code == 0
    assert "10 units of 2 layers" in out
    assert "1 pictures could not be read" in out
    page = (place / "any.html").read_text()
    assert "broken.jpg" in page
    assert "saliency" in page


def test_weights_are_read_and_must_fit(call, place):
    import nets_to_look_at

    net = nets_to_look_at.sees()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.fill_(-1)
    save_file(net.state_dict(), place / "zero.safetensors")
    words = (*SEES, "--data", "photos", "--out", "zero.html")
    _, out, _ = call("look", *words, "--weights", "zero.safetensors", "--layer", "0")
    assert "4 units of 1 layers, 4 of them dead" in out
    wrong = net.state_dict() | {"other": net[0].bias.data}
    del wrong["0.bias"]
    save_file(wrong, place / "wrong.safetensors")
    code, _, err = call("look", *words, "--weights", "wrong.safetensors")
    assert code == 2
    assert "0.bias" in err
    assert "other" in err


def test_one_unit_alone(call, place):
    words = (*SEES, "--data", "photos", "--out", "one.html", "--unit", "2/5")
    code, out, _ = call("look", *words)
    assert code == 0
    assert "1 units of 1 layers" in out


def test_scenes_are_drawn_where_there_are_no_pictures(call, place):
    words = (*SEES, "--method", "none", "--layer", "0", "--json", "--out", "drawn.html")
    code, out, _ = call("look", *words)
    assert code == 0
    assert set(json.loads(out)["layers"][0]["detectors"]) == {"edge", "colour", "texture", "part", "object"}
    assert "find a concept" in (place / "drawn.html").read_text()


def test_a_way_back_that_has_no_rule_is_refused_on_the_page(call, place):
    words = ("nets_to_look_at:gelu", "--data", "photos", "--size", "32", "--out", "gelu.html")
    code, _, _ = call("look", *words)
    assert code == 0
    assert "deconvnet has no rule for gelu" in (place / "gelu.html").read_text()


def test_a_made_picture_for_each_unit(call, place):
    words = (*SEES, "--data", "photos", "--out", "made.html", "--unit", "0/1", "--maximise")
    code, _, _ = call("look", *words)
    assert code == 0
    assert "made to excite it" in [row["name"] for row in blocks((place / "made.html").read_text())["u0"]["rows"]]


def test_a_networks_answers_to_a_text(call, place):
    words = ("nets_to_look_at:Reads", "--text", "text.txt", "--concept", "punctuation", "--out", "text.html")
    code, out, _ = call("look", *words)
    assert code == 0
    assert out.startswith("punctuation: ")
    page = (place / "text.html").read_text()
    assert "token alone" in page
    assert "Well" in page


def test_all_concepts_that_hold_often_enough(call, place):
    code, out, _ = call("look", "nets_to_look_at:Reads", "--text", "text.txt", "--out", "all.html", "--json")
    told = json.loads(out)
    assert code == 0
    assert {"punctuation", "capitals"} <= {row["concept"] for row in told["units"]}
    assert "digits" not in {row["concept"] for row in told["units"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nets_to_look_at:no_convolution", "--data", "photos", "--size", "32"), "no convolution"),
        (("nets_to_look_at:number", "--data", "photos"), "makes no network"),
        (("nets_to_look_at:nothing", "--data", "photos"), "cannot be made"),
        (("nowhere:nothing", "--data", "photos"), "cannot be made"),
        (("nowhere", "--data", "photos"), "no model folder"),
        (("nets_to_look_at:sees", "--data", "photos", "--size", "64"), "--size"),
        (("nets_to_look_at:sees", "--data", "photos", "--size", "0"), "--size"),
        (("nets_to_look_at:sees", "--data", "nothing"), "no folder of pictures"),
        ((*SEES, "--data", "photos", "--layer", "conv9"), "no layer 'conv9'"),
        ((*SEES, "--data", "photos", "--unit", "0/4"), "no unit 4"),
        ((*SEES, "--data", "photos", "--unit", "four"), "LAYER/N"),
        ((*SEES, "--data", "photos", "--method", "magic"), "no method 'magic'"),
        ((*SEES, "--data", "photos", "--tone", "dark"), "imagenet or none"),
        ((*SEES, "--data", "photos", "--places", "0"), "--places"),
        ((*SEES, "--data", "photos", "--weights", "text.txt"), "nothing is unpickled"),
        (("nets_to_look_at:sees", "--concept", "punctuation"), "--text"),
        (("nets_to_look_at:sees", "--text", "text.txt"), "sees pictures"),
        (("nets_to_look_at:Reads", "--text", "text.txt", "--concept", "digits"), "digits"),
        (("nets_to_look_at:Reads", "--text", "text.txt", "--concept", "punctation"), "did you mean 'punctuation'"),
        (("nets_to_look_at:Reads", "--text", "latin.txt"), "UTF-8"),
        (("nets_to_look_at:Reads", "--text", "nothing.txt"), "no such file"),
    ],
)
def test_mistakes_are_named(call, place, words, said):
    (place / "latin.txt").write_bytes("Où est la bibliothèque?".encode("latin-1"))
    code, _, err = call("look", *words, "--out", "wrong.html")
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err
    assert not (place / "wrong.html").exists()


def test_a_module_that_trains_or_is_half_is_refused():
    from seamwise.errors import ModelError
    from seamwise.look import graph_of

    net = nn.Sequential(nn.Conv2d(3, 2, 3))
    with pytest.raises(ModelError, match="training mode"):
        graph_of(net.train(), [torch.rand(2, 3, 8, 8)])
    with pytest.raises(ModelError, match="half precision"):
        graph_of(net.eval().half(), [torch.rand(2, 3, 8, 8)])


def test_a_page_does_not_take_the_place_of_a_pipe(call, place):
    os.mkfifo(place / "pipe")
    code, _, err = call("look", *SEES, "--data", "photos", "--out", "pipe")
    assert code == 2
    assert "no regular file" in err
    assert (place / "pipe").is_fifo()


def test_a_link_is_followed(call, place):
    (place / "target.html").write_text("old")
    (place / "link.html").symlink_to("target.html")
    code, _, _ = call("look", *SEES, "--data", "photos", "--out", "link.html", "--unit", "0/1", "--unit", "#0/1")
    assert code == 0
    assert (place / "link.html").is_symlink()
    assert len(blocks((place / "target.html").read_text())) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--text", "text.txt", "--unit", "a/1"), "--unit is of pictures"),
        (("--text", "text.txt", "--size", "32"), "--size is of pictures"),
        (("--column", "review"), "--column is of texts"),
        (("--places", "10"), "1 to 9"),
    ],
)
def test_options_that_would_not_be_looked_at_are_refused(call, words, said):
    code, _, err = call("look", "nets_to_look_at:sees", *words, "--out", "wrong.html")
    assert code == 2
    assert said in err


def test_a_models_layers_go_by_the_names_of_the_page_too(call, model, place):
    code, out, _ = call("look", "model", "--out", "one.html", "--unit", "#see.maps.3/2", "--method", "none", "--json")
    assert code == 0
    assert json.loads(out)["units"] == 1
    code, _, err = call("look", "model", "--out", "one.html", "--size", "32")
    assert code == 2
    assert "--size is of a factory's network" in err
