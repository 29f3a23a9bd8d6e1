"""A published tracker, trained.

    python -m seamwise.systems.track.recipe PRESET --out FILE [--data DIR...] [--steps N]

Pairs of crops of two frames of one film, the object in the middle of both, as the preset was trained on ImageNet's
videos: here on the world's clips, or on annotated sequences. The file is what `Tracker` and `--model` take.

Source: see `presets`. Differs: the films; the rate of learning falls at every step, not at every epoch, and to a tenth
where fewer steps are asked for than were published; no films are held out to choose an epoch by; DCFNet's second frame
may also come before the first; colours are tinted along the films' own covariance.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import final

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from seamwise.errors import InputError, SeamwiseError, TrainingError
from seamwise.shapes import Bool, Float, Int, NDArray, UInt8
from seamwise.steps import Steps, clock
from seamwise.systems.track import world
from seamwise.systems.track.boxes import middle
from seamwise.systems.track.folders import frames_of_sequence, sequences_of
from seamwise.systems.track.frames import PictureFrames
from seamwise.systems.track.geometry import cut, size_of
from seamwise.systems.track.presets import PRESETS, Preset
from seamwise.systems.track.published import Network, save_preset

MOMENTUM = 0.9
FIRST_SEED = 7_000_000  # of the first clip: none that the task or the shipped weights are taught or tested by
N_FRAMES, WIDTH, HEIGHT = 60, 240, 180  # of a clip
N_FIRST, N_CLIPS, N_A_CLIP = 8, 48, 64  # at hand at first and at most; pairs until one more is drawn, or replaced
SEEN, SMALLEST_PX = 0.5, 4.0  # the least share of the object that can be seen, and side of its box
N_TOLD = 20  # times that the loss is told, and the file written

Frame = UInt8[NDArray, "height width 3"]
Pair = tuple[Float[NDArray, "3 small small"], Float[NDArray, "3 px px"]]
Watch = Callable[[Network, int, float], None]


@final
@dataclass(frozen=True)
class Film:
    """Frames that are read one by one, the boxes, and the numbers of the frames in which the object is well seen."""

    read: Callable[[int], Frame]
    boxes: Float[NDArray, "n 4"]
    usable: Int[NDArray, " k"]


def drawn(seed: int) -> Iterator[Film]:
    """Clips of the world, without end; the same for the same seed."""
    for k in count(seed):
        clip = world.draw(k, N_FRAMES, WIDTH, HEIGHT)
        film = _film(clip.frames.__getitem__, clip.boxes, clip.visible >= SEEN)
        if len(film.usable) > 1:
            yield film


def annotated(folders: Sequence[Path]) -> list[Film]:
    """Annotated sequences. Raises InputError where there are none of use, or one is not whole."""
    films = []
    for sequence in sequences_of(folders):
        frames = frames_of_sequence(sequence)
        films.append(_film(_reader(frames), sequence.boxes, np.ones(len(sequence.boxes), dtype=bool)))
    films = [film for film in films if len(film.usable) > 1]
    if not films:
        given = ", ".join(str(folder) for folder in folders)
        expected = f"a sequence with two boxes or more, each side {SMALLEST_PX:g} px or more"
        raise InputError("no film to learn from", given=given, expected=expected, remedy="give other folders, or none")
    return films


def _reader(frames: PictureFrames) -> Callable[[int], Frame]:
    return lambda k: next(iter(PictureFrames(frames.source, (frames.paths[k],)))).picture


def _film(read: Callable[[int], Frame], boxes: Float[NDArray, "n 4"], seen: Bool[NDArray, " n"]) -> Film:
    large = (np.nan_to_num(boxes)[:, 2:] >= SMALLEST_PX).all(1)
    return Film(read, boxes, np.flatnonzero(seen & large & np.isfinite(boxes).all(1)))


@final
class Pairs(IterableDataset[Pair]):
    """Pairs of crops without end, as a preset is trained on. films: of annotated sequences; without, the world's."""

    def __init__(self, preset: Preset, films: Sequence[Film] = (), seed: int = 0) -> None:
        self.preset, self.films, self.seed = preset, films, seed

    def __iter__(self) -> Iterator[Pair]:
        worker = get_worker_info()
        own = 0 if worker is None else worker.id
        rng = np.random.default_rng([self.seed, own])
        fresh = drawn(FIRST_SEED + 1_000_000 * self.seed + 10_000 * own)
        at_hand = list(self.films) or list(islice(fresh, N_FIRST))
        tint = self._tint(at_hand)
        for k in count(1):
            if not self.films and k % N_A_CLIP == 0:
                at_hand = [*at_hand[-N_CLIPS + 1 :], next(fresh)]
            yield self._pair(rng, at_hand[int(rng.integers(len(at_hand)))], tint)

    def _pair(self, rng: np.random.Generator, film: Film, tint: Float[NDArray, "3 3"]) -> Pair:
        preset, (first, then) = self.preset, self._frames(rng, film)
        of, whole = preset.training, preset.following
        sizes = whole.area / whole.px
        shown = []
        for k, px in ((first, whole.exemplar_px), (then, of.search_px)):
            a_px = sizes * size_of(film.boxes[k, 2:]) * (1 + of.stretch * rng.uniform(-1, 1))  # px of the frame
            centre = middle(film.boxes[k]) + a_px * rng.integers(-of.shift_px, of.shift_px + 1, 2)
            seen = cut(film.read(k), centre, a_px * px, px, repeat_edge=False)
            tinted = seen.astype(np.float32) + (tint @ rng.normal(size=3)).astype(np.float32)
            shown.append(np.ascontiguousarray(tinted.transpose(2, 0, 1)))
        return shown[0], shown[1]

    def _frames(self, rng: np.random.Generator, film: Film) -> tuple[int, int]:
        """Two frames that are near enough, another one than the first where there is one."""
        first = int(rng.choice(film.usable))
        near = film.usable[(np.abs(film.usable - first) <= self.preset.training.frame_gap) & (film.usable != first)]
        return first, int(rng.choice(near)) if len(near) else first

    def _tint(self, films: Sequence[Film]) -> Float[NDArray, "3 3"]:
        """What standard normal numbers are multiplied by to be a tint."""
        pixels = np.concatenate([film.read(int(film.usable[0]))[::8, ::8].reshape(-1, 3) for film in films[:50]])
        value, axes = np.linalg.eigh(np.cov(pixels.T))
        return np.asarray(self.preset.training.colour * axes * np.sqrt(value.clip(0)))


def train(
    preset: Preset,
    films: Sequence[Film] = (),
    n_steps: int | None = None,
    seed: int = 0,
    n_jobs: int = 0,
    watch: Watch = lambda network, step, loss: None,
) -> tuple[Network, list[float]]:
    """The network, and the loss of each step. n_steps: as published without; n_jobs: processes that make pairs.

    watch: is told some times of the network as it is, the steps done and the mean loss since it was last told.
    The same seed, steps and jobs give the same network on the same machine. On a GPU where there is one.
    Raises TrainingError where the loss is no longer a number.
    """
    n_steps = n_steps or preset.training.n_steps
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(preset).to(device)
    pairs = DataLoader(
        Pairs(preset, films, seed), preset.training.batch, num_workers=n_jobs, pin_memory=device.type == "cuda"
    )
    optimiser, every = torch.optim.SGD(groups(network), momentum=MOMENTUM), max(n_steps // N_TOLD, 1)
    losses: list[float] = []
    with Steps(f"{preset.name}: steps") as steps:
        for step, batch in enumerate(islice(pairs, n_steps), 1):
            for group in optimiser.param_groups:
                group["lr"] = rate(preset, step, n_steps) * group["times"]
            loss = network.loss(*(pictures.to(device, non_blocking=True) for pictures in batch))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs lack it
            optimiser.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainingError(f"{preset.name}: the loss of step {step:,} is not a number")
            steps.at(step, n_steps)
            if step % every == 0:
                watch(network, step, float(np.mean(losses[-every:])))
    return network.cpu().eval(), losses


def groups(network: Network) -> list[dict[str, object]]:
    """Parameters with what their rate of learning is multiplied by, and their decay, as MatConvNet had them."""
    of, told = network.preset.training, []
    for layer in network.see:
        for name, value in layer.named_parameters():
            convolves = isinstance(layer, nn.Conv2d)
            twice = of.as_matconvnet and convolves == (name == "bias")  # biases, and gains of normalisations
            decays = not of.as_matconvnet or (convolves and name == "weight")
            told.append({"params": [value], "times": 1.0 + twice, "weight_decay": of.decay * decays})
    for value, times in ((network.gain, 1.0), (network.bias, 2.0 if network.preset.join == "cut filter" else 1.0)):
        if value.requires_grad:
            told.append({"params": [value], "times": times, "weight_decay": 0.0})
    return told


def rate(preset: Preset, step: int, n_steps: int) -> float:
    """Of learning, at a step, the first being 1: it falls geometrically, as far as published or to a tenth."""
    first, last = preset.training.rates
    if n_steps < preset.training.n_steps:
        last = first / 10
    return float(first * (last / first) ** ((step - 1) / max(n_steps - 1, 1)))


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m seamwise.systems.track.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the weights file to write")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="DIR",
        help="annotated sequences, in the place of the world",
    )
    parser.add_argument("--steps", type=int, metavar="N", help="as published by default, which takes a GPU days")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes that make pairs; 0: this one")
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        _run(given.preset, given.out, given.data, given.steps, given.seed, given.jobs)
    except SeamwiseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(name: str, out: Path, data: Sequence[Path], n_steps: int | None, seed: int, n_jobs: int) -> None:
    for what, given, least in (("--steps", n_steps, 1), ("--seed", seed, 0), ("--jobs", n_jobs, 0)):
        if given is not None and given < least:
            raise InputError(f"{what} {given}", expected=f"{least} or more")
    films = annotated(data) if data else []
    n_all = n_steps or PRESETS[name].training.n_steps
    learnt_from = f"{len(films)} annotated sequences" if films else "the world"
    start = time.monotonic()

    def keep(network: Network, step: int, loss: float) -> None:
        print(f"step {step:,} of {n_all:,}: loss {loss:.4f}, {clock(time.monotonic() - start)}", flush=True)
        notes = {"steps": f"{step} of {n_all}", "seed": f"{seed}", "films": learnt_from, "loss": f"{loss:.4f}"}
        save_preset(out, network, notes)

    network, losses = train(PRESETS[name], films, n_all, seed, n_jobs, keep)
    if n_all % max(n_all // N_TOLD, 1):
        keep(network, n_all, float(np.mean(losses[-N_TOLD:])))


if __name__ == "__main__":
    sys.exit(main())
