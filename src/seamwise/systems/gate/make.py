"""The shipped weights, made again: `python -m seamwise.systems.gate.make --london FOLDER --out weights.safetensors`.

They are learnt from the Face Research Lab London Set and from drawn pictures alone.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from safetensors.torch import save

from seamwise.errors import SeamwiseError
from seamwise.shapes import Float, Int, NDArray, Tensor
from seamwise.systems.gate import light, london
from seamwise.systems.gate.aligner import fit_aligner, in_a_room
from seamwise.systems.gate.london import FRAME, People
from seamwise.systems.gate.recogniser import DIM, UPRIGHT, Recognise, fit_projection
from seamwise.systems.gate.sight import KIND, VERSION, read_weights
from seamwise.systems.gate.train_finder import fit_finder
from seamwise.trial import write_whole

N_MORPHS, N_LOOKS, IN_A_ROOM = 1000, 12, 0.7  # new people; pictures of everybody; how many of these before a room
N_ALIGNED, N_ALIGNED_MORPHS = 10_000, 200
N_FOLDS, N_TIMES = 4, 60  # of people, for the impostor scores; how many gates each comes to
PARTS = ("finder", "align", "recognise")

Watch = Callable[[str], None]


def make(folder: Path, out: Path, seed: int = 0, watch: Watch = lambda _: None, parts: Iterable[str] = PARTS) -> None:
    """Learn the parts and write them; those not asked for are taken from `out` as they are.

    The same seed gives the same weights on the same machine. Raises InputError where the folder is not the London set.
    """
    tensors = {} if set(parts) >= set(PARTS) else dict(read_weights(out)[0])
    people = london.people(folder, told=_seldom(watch, 25))
    morphs = london.morphs(people, N_MORPHS, seed, _seldom(watch, 4))
    if "align" in parts:
        some = people.and_also(morphs.some(np.arange(N_ALIGNED_MORPHS)))
        tensors |= _named("align", fit_aligner(some, N_ALIGNED, seed, watch))
    if "recognise" in parts:
        tensors |= _recogniser(people, morphs, seed, watch)
    if "finder" in parts:
        tensors |= _named("finder", fit_finder(folder, seed, watch))
    notes = {
        "kind": KIND,
        "version": VERSION,
        "attribution": london.ATTRIBUTION,
        "command": f"python -m seamwise.systems.gate.make --london FOLDER --out {out.name} --seed {seed}",
    }
    write_whole(out, save({name: tensors[name].contiguous() for name in sorted(tensors)}, notes))
    watch(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


def _seldom(watch: Watch, every: int) -> Watch:
    """Pass on one message of so many."""
    count = 0

    def told(message: str) -> None:
        nonlocal count
        count += 1
        if count % every == 0:
            watch(message)

    return told


def _named(part: str, module: torch.nn.Module) -> dict[str, Tensor]:
    """A module's weights under the name of its part, half as long as floats."""
    return {f"{part}.{name}": value.half() for name, value in module.state_dict().items()}


def _recogniser(people: People, morphs: People, seed: int, watch: Watch) -> dict[str, Tensor]:
    """The recogniser of everybody, and what cross-fitted ones say of people whom they do not know."""
    everybody = people.and_also(morphs)
    recognise = Recognise(DIM)
    features = _features(recognise, _pictures(everybody, N_LOOKS, seed, watch))
    person = np.repeat(np.arange(len(everybody)), N_LOOKS)
    recognise.set(fit_projection(features, person, DIM))
    watch("recogniser: fitted")
    scores = _impostors(recognise, everybody, len(people), features, person, seed, watch)
    return _named("recognise", recognise) | {
        "impostor_scores": torch.from_numpy(np.sort(scores.astype(np.float16))),
        "n_impostor_people": torch.tensor(len(people)),
    }


def _pictures(people: People, n_looks: int, seed: int, watch: Watch) -> UInt8[NDArray, "n p p"]:
    """Upright faces as an aligner leaves them, in all sorts of light; everybody's one after another."""
    rng = np.random.default_rng([seed, len(people), n_looks])
    out = np.empty((len(people) * n_looks, UPRIGHT.px, UPRIGHT.px), dtype=np.uint8)
    for k in range(len(out)):
        out[k] = _picture(rng, people, k // n_looks)
        if k % 4000 == 3999:
            watch(f"recogniser: {k + 1} of {len(out)} pictures")
    return out


def _picture(rng: np.random.Generator, people: People, row: int) -> UInt8[NDArray, "p p"]:
    """Somebody in some light, before some background, by some camera."""
    linear = _seen(rng, rng, people, row)
    return light.developed(rng, linear)


def _picture_at(place: list[int], people: People, row: int) -> UInt8[NDArray, "p p"]:
    """Somebody at a gate: light, room and camera are those of all who come there, pose and noise are their own."""
    own, shared = np.random.default_rng([*place, row]), np.random.default_rng(place)
    linear = _seen(own, shared, people, row)
    exposure, contrast = np.exp(shared.uniform(np.log(0.06), np.log(0.75))), shared.uniform(0.55, 1.1)
    blur, noise = shared.uniform(0.3, 1.2) * shared.integers(2), shared.uniform(0, 0.025)  # as `light.developed` does
    picture = np.clip(linear * (exposure / max(float(linear.mean()), 0.02)), 0, 1) ** contrast
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture = picture + noise * own.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray((picture * 255).clip(0, 255).astype(np.uint8))


def _seen(own: np.random.Generator, place: np.random.Generator, people: People, row: int) -> Float[NDArray, "p p"]:
    """Somebody's light, before a camera takes it: look and pose are their own."""
    look = int(own.integers(2))
    layers = np.dstack([people.grey[row, look], people.alpha[row, look]])
    layers = light.shown(layers, FRAME, UPRIGHT, light.any_pose(own))
    linear = light.relit(place, layers[..., 0], UPRIGHT)
    return in_a_room(place, linear, layers[..., 1]) if place.random() < IN_A_ROOM else linear


@torch.inference_mode()
def _features(recognise: Recognise, pictures: UInt8[NDArray, "n p p"]) -> Float[NDArray, "n features"]:
    parts = (torch.from_numpy(pictures[first : first + 256])[:, None] for first in range(0, len(pictures), 256))
    return torch.cat([recognise.features(part.float() / 255) for part in parts]).numpy()


def _impostors(
    recognise: Recognise,
    everybody: People,
    n_real: int,
    features: Float[NDArray, "n features"],
    person: Int[NDArray, " n"],
    seed: int,
    watch: Watch,
) -> Float[NDArray, " pairs"]:
    """How alike two different people are, both unknown to what compares them, and to the mixtures it learnt from.

    Each time they come to another gate: to one light, room and camera. Only men are compared with men, and women with
    women, where that is told: a stranger who is let in is seldom of the other sex, and a gate's people may all be men.
    """
    order = np.random.default_rng([seed, n_real]).permutation(n_real)
    fold_of = {everybody.name[row]: k % N_FOLDS for k, row in enumerate(order.tolist())}
    parents = [name.split()[0].split("+") for name in everybody.name]
    scores = []
    for fold in range(N_FOLDS):
        known = np.array([all(fold_of[parent] != fold for parent in each) for each in parents])
        held = np.flatnonzero(~known[:n_real]).tolist()
        gender = np.array([everybody.gender[row] for row in held])
        pairs = np.triu(gender[:, None] == gender, 1)
        fitted = fit_projection(features[known[person]], person[known[person]], DIM)
        for time_ in range(N_TIMES):
            pictures = [_picture_at([seed, fold, time_], everybody, row) for row in held]
            vectors = (_features(recognise, np.stack(pictures)) - fitted.mean) @ fitted.matrix
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            scores.append((vectors @ vectors.T)[pairs])
        watch(f"impostors: {fold + 1} of {N_FOLDS} folds")
    return np.concatenate(scores)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m seamwise.systems.gate.make", description=__doc__)
    parser.add_argument("--london", type=Path, required=True, help="the folder of the London set")
    parser.add_argument("--out", type=Path, required=True, help="the weights file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="take the other parts from OUT")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    start = time.monotonic()
    try:
        make(
            given.london,
            given.out,
            given.seed,
            lambda text: print(f"{time.monotonic() - start:5.0f} s  {text}", flush=True),
            given.only,
        )
    except SeamwiseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
