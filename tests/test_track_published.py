import dataclasses
import os
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from seamwise.errors import InputError
from seamwise.systems.track import recipe, world
from seamwise.systems.track.boxes import overlap
from seamwise.systems.track.correlation import cross_correlation
from seamwise.systems.track.presets import PRESETS
from seamwise.systems.track.published import (
    MARGIN,
    Network,
    PresetMatcher,
    is_preset,
    load_preset,
    middle,
    save_preset,
    slid,
)
from seamwise.systems.track.tracker import Tracker

TRACKING = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "tracking"
# name: parameters, channels, sides of the features of the exemplar and the search picture, side of the answers
SIZES = {
    "siamfc": (2_336_320, 256, 6, 22, 17),
    "cfnet-conv1": (11_712, 32, 62, 62, 33),
    "cfnet-conv2": (73_632, 32, 57, 57, 33),
    "cfnet-conv5": (1_949_024, 32, 49, 49, 33),
    "dcfnet": (10_144, 32, 125, 125, 125),
}
FAST = ("cfnet-conv1", "cfnet-conv2", "dcfnet")


def network(name, seed=0):
    torch.manual_seed(seed)
    return Network(PRESETS[name]).eval()


def picture(px, seed=0):
    """Blobs: not as noisy as noise."""
    coarse = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, (px, px), mode="bicubic").clip(0, 255)


@lru_cache
def films(n=2, n_frames=4):
    clips = [world.draw(900 + k, n_frames, 80, 64, world.Difficulty(occlusion=0, out_of_view=0)) for k in range(n)]
    return [recipe.Film(clip.frames.__getitem__, clip.boxes, np.arange(n_frames)) for clip in clips]


@pytest.mark.parametrize("name", PRESETS)
def test_networks_are_as_large_as_published(name):
    n_parameters, channels, small, large, answers = SIZES[name]
    net, following = network(name), PRESETS[name].following
    assert sum(p.numel() for p in net.see.parameters()) == n_parameters
    with torch.no_grad():
        z = net.embed(picture(following.exemplar_px))
        x = net.embed(picture(following.px))
        assert z.shape == (1, channels, small, small)
        assert x.shape == (1, channels, large, large)
        assert net.answer(net.learn(z), x).shape == (1, answers, answers)


def test_published_numbers_of_steps():
    assert PRESETS["siamfc"].training.n_steps == 50 * 6650
    assert PRESETS["cfnet-conv2"].training.n_steps == 1_206_875
    assert PRESETS["dcfnet"].training.n_steps == 854_000
    preset = PRESETS["siamfc"]
    assert recipe.rate(preset, 1, preset.training.n_steps) == pytest.approx(1e-2)
    assert recipe.rate(preset, 332_500, preset.training.n_steps) == pytest.approx(1e-5)
    assert recipe.rate(preset, 100, 100) == pytest.approx(1e-3)


def test_sliding_through_spectra_is_cross_correlation():
    z, x = torch.randn(3, 4, 7, 7), torch.randn(3, 4, 13, 13)
    torch.testing.assert_close(slid(z, x), cross_correlation(z, x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(slid(z[:1], x), cross_correlation(z[:1].repeat(3, 1, 1, 1), x), rtol=1e-4, atol=1e-4)


def test_cfnets_filter_is_that_of_its_paper():
    net = network("cfnet-conv2").double()
    z = torch.rand(2, 32, 57, 57, dtype=torch.float64)
    (cut,) = net.learn(z)
    x = torch.fft.fft2(z * net.window)
    n, y = 57 * 57, torch.fft.fft2(net.wanted)
    k = (x.conj() * x).sum(1, keepdim=True) / n + 10
    w = torch.fft.ifft2((y / (n * k)).conj() * x).real
    torch.testing.assert_close(cut, w[..., MARGIN:-MARGIN, MARGIN:-MARGIN])
    assert cut.shape == (2, 32, 25, 25)


def test_dcfnets_answer_is_that_of_its_paper():
    net = network("dcfnet").double()
    z, x = torch.rand(2, 1, 32, 125, 125, dtype=torch.float64)
    z_f, x_f, y = torch.fft.fft2(z * net.window), torch.fft.fft2(x * net.window), torch.fft.fft2(net.wanted)
    numel = 32 * 125 * 125
    alpha = y / ((z_f * z_f.conj()).sum(1) / numel + 1e-4)
    answer = torch.fft.ifft2(alpha * (x_f * z_f.conj()).sum(1) / numel).real
    torch.testing.assert_close(net.answer(net.learn(z), x), torch.fft.fftshift(answer, dim=(-2, -1)))


@pytest.mark.parametrize("name", FAST)
def test_a_filter_follows_an_object_that_has_moved(name):
    matcher = PresetMatcher(network(name))
    px, cell = matcher.following.px, int(matcher.cell_px)
    across, down = (4, -3) if cell > 1 else (9, -14)
    whole = picture(px + 80)
    here = whole[..., 40 : 40 + px, 40 : 40 + px]
    then = whole[..., 40 - down * cell : 40 - down * cell + px, 40 - across * cell : 40 - across * cell + px]
    matcher.start(matcher.embed(here)[0], (30.0, 30.0))
    still, moved = matcher.respond(matcher.embed(torch.cat([here, then])))
    half = len(still) // 2
    assert divmod(int(still.argmax()), len(still)) == (half, half)
    row, column = divmod(int(moved.argmax()), len(moved))
    assert (row - half, column - half) == (down, across)


def test_siamfcs_exemplar_answers_1_to_itself():
    matcher = PresetMatcher(network("siamfc"))
    whole = picture(255)
    z = matcher.embed(whole[..., 64:191, 64:191])
    matcher.start(z[0], (64.0, 64.0))
    x = matcher.embed(whole)
    torch.testing.assert_close(x[..., 8:14, 8:14], z, rtol=1e-3, atol=1e-3)
    assert float(matcher.respond(x)[0, 8, 8]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", FAST)
def test_what_is_learnt_later_counts_by_the_rate(name):
    matcher = PresetMatcher(network(name))
    matcher.following = dataclasses.replace(matcher.following, rate=0.25)
    first, then, x = (matcher.embed(picture(matcher.following.px, seed)) for seed in (0, 1, 2))
    known = matcher.network.learn(first), matcher.network.learn(then)
    matcher.start(first[0], (30.0, 30.0))
    matcher.update(then[0])
    mixed = tuple(0.75 * a + 0.25 * b for a, b in zip(*known, strict=True))
    torch.testing.assert_close(matcher.respond(x), matcher.network.answer(mixed, x))


def test_the_middle_is_13_cells():
    assert int(middle(17).sum()) == 13
    assert middle(33)[16, 18]
    assert not middle(33)[17, 18]


def test_loss_is_balanced():
    net = network("siamfc")
    answers = torch.randn(2, 15, 15)
    net.answer = lambda template, x: answers
    net.bias.data.fill_(0.3)
    loss = net.loss(picture(127), picture(239))
    odds, weight = 1e-3 * answers + 0.3, torch.where(middle(15), 0.5 / 13, 0.5 / (225 - 13))
    sign = torch.where(middle(15), 1.0, -1.0)
    expected = (weight * torch.log1p(torch.exp(-sign * odds))).sum((1, 2)).mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_the_world_gives_pairs_of_the_presets_sizes(monkeypatch):
    for name, value in {"N_FRAMES": 3, "N_FIRST": 2, "N_A_CLIP": 2, "WIDTH": 80, "HEIGHT": 64}.items():
        monkeypatch.setattr(recipe, name, value)
    pairs = [list(islice(recipe.Pairs(PRESETS["siamfc"], seed=3), 3)) for _ in range(2)]
    for (z, x), again in zip(*pairs, strict=True):
        assert z.shape == (3, 127, 127)
        assert x.shape == (3, 239, 239)
        assert (z == again[0]).all()
        assert (x == again[1]).all()


def test_pairs_are_of_near_frames():
    film = dataclasses.replace(films(1, 2)[0], usable=np.array([0, 5, 30, 200]))
    pairs, rng = recipe.Pairs(PRESETS["dcfnet"], [film]), np.random.default_rng(0)
    drawn = {pairs._frames(rng, film) for _ in range(200)}
    assert drawn == {(0, 5), (5, 0), (30, 30), (200, 200)}


def test_an_object_stands_in_the_middle_at_the_published_size():
    frame = np.zeros((120, 160, 3), np.uint8)
    frame[50:70, 70:90] = 255
    film = recipe.Film(lambda k: frame, np.tile([70.0, 50, 20, 20], (2, 1)), np.arange(2))
    preset = PRESETS["cfnet-conv2"]
    z, x = next(
        iter(recipe.Pairs(dataclasses.replace(preset, training=dataclasses.replace(preset.training, colour=0)), [film]))
    )
    for seen in (z, x):
        lit = np.argwhere(seen[0] > 128)
        assert lit.mean(0) == pytest.approx([127, 127], abs=0.6)
        assert np.ptp(lit, 0) + 1 == pytest.approx([63.5, 63.5], abs=1.5)


def test_the_loss_falls():
    preset = PRESETS["cfnet-conv1"]
    preset = dataclasses.replace(preset, training=dataclasses.replace(preset.training, batch=3))
    _, losses = recipe.train(preset, films(), n_steps=20)
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.01


def test_training_is_the_same_for_the_same_seed():
    preset = dataclasses.replace(PRESETS["dcfnet"], training=dataclasses.replace(PRESETS["dcfnet"].training, batch=1))
    (one, _), (two, _), (other, _) = (recipe.train(preset, films(), 2, seed) for seed in (1, 1, 2))
    weights = [net.state_dict()["see.0.weight"] for net in (one, two, other)]
    assert (weights[0] == weights[1]).all()
    assert not (weights[0] == weights[2]).all()


def test_biases_learn_and_weights_decay_as_published():
    net = network("siamfc")
    told = {id(group["params"][0]): (group["times"], group["weight_decay"]) for group in recipe.groups(net)}
    convolution, norm = net.see[0], net.see[1]
    assert told[id(convolution.weight)] == (1, 5e-4)
    assert told[id(convolution.bias)] == (2, 0)
    assert told[id(norm.weight)] == (2, 0)
    assert told[id(norm.bias)] == (1, 0)
    assert told[id(net.bias)] == (1, 0)
    assert id(net.gain) not in told
    plain = recipe.groups(network("dcfnet"))
    assert {(group["times"], group["weight_decay"]) for group in plain} == {(1, 5e-4)}


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    net = network("cfnet-conv1", seed=5)
    save_preset(path := tmp_path / "new/weights.safetensors", net, {"steps": "3"})
    loaded = load_preset(path)
    assert is_preset(path)
    seen = picture(255)
    torch.testing.assert_close(loaded.embed(seen), net.embed(seen).detach(), rtol=0, atol=0)
    assert loaded.following == PRESETS["cfnet-conv1"].following
    with safe_open(path, "pt") as file:
        assert file.metadata()["steps"] == "3"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match="no such file"):
        load_preset(path)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be read"):
        load_preset(path)
    assert not is_preset(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="other weights"):
        load_preset(path)
    save_preset(path, network("cfnet-conv1"), {})
    with safe_open(path, "pt") as file:
        notes = file.metadata()
    tensors = load_file(path)
    tensors.pop("see.0.bias")
    save_file(tensors, path, notes)
    with pytest.raises(InputError, match="missing"):
        load_preset(path)


def test_the_command_trains_and_says_what_is_wrong(tmp_path, capsys, monkeypatch):
    for name, value in {"N_FRAMES": 3, "N_FIRST": 1, "WIDTH": 80, "HEIGHT": 64}.items():
        monkeypatch.setattr(recipe, name, value)
    out = tmp_path / "weights.safetensors"
    assert recipe.main(["cfnet-conv1", "--out", str(out), "--steps", "2"]) == 0
    assert "step 2 of 2: loss" in capsys.readouterr().out
    assert load_preset(out).network.preset.name == "cfnet-conv1"
    for wrong in (["--steps", "0"], ["--data", str(tmp_path / "none")], ["--jobs", "-1"]):
        assert recipe.main(["cfnet-conv1", "--out", str(out), *wrong]) == 2
        assert "expected" in capsys.readouterr().err


def test_the_command_tells_of_its_presets(capsys):
    with pytest.raises(SystemExit) as ended:
        recipe.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(name in told for name in PRESETS)


def test_the_tracker_follows_with_a_preset(tmp_path):
    save_preset(path := tmp_path / "weights.safetensors", network("cfnet-conv1"), {})
    tracker = Tracker(path)
    ground = np.full((120, 160, 3), 90, np.uint8)
    thing = picture(24)[0].permute(1, 2, 0).byte().numpy()
    boxes = np.array([[40.0 + 4 * k, 50 + 2 * k, 24, 24] for k in range(6)])
    for k, (x, y) in enumerate(boxes[:, :2].astype(int)):
        frame = ground.copy()
        frame[y : y + 24, x : x + 24] = thing
        if k == 0:
            tracker.start(frame, boxes[0])
        else:
            found, _ = tracker.next(frame)
            assert overlap(found[None], boxes[k : k + 1]) > 0.6


@pytest.mark.data
def test_annotated_sequences_are_learnt_from():
    if not (TRACKING / "train").is_dir():
        pytest.skip("no tracking/train in the data")
    found = recipe.annotated([TRACKING / "train"])
    z, x = next(iter(recipe.Pairs(PRESETS["siamfc"], found)))
    assert z.shape == (3, 127, 127)
    assert np.isfinite(x).all()
