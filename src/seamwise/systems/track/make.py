"""The shipped weights, made again: `python -m seamwise.systems.track.make --out weights.safetensors`.

They are learnt from simulated clips alone (whose pictures are told in `textures`). Features are trained through the
filter that a tracker keeps, on the pairs of the task's own training set; then, from a tracker's runs over other clips,
how sure it is when its answer is so high and so far above all others. On another machine the last digits may differ.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from sklearn.linear_model import LogisticRegression
from torch import nn

from seamwise.errors import SeamwiseError
from seamwise.shapes import Float, Int, NDArray, Tensor, UInt8
from seamwise.supply import Supply
from seamwise.systems.track import targets, world
from seamwise.systems.track.boxes import overlap
from seamwise.systems.track.data import world_supply
from seamwise.systems.track.matchers import KEPT, Kept
from seamwise.systems.track.nets import Features, Filter
from seamwise.systems.track.tracker import Tracker
from seamwise.trial import write_whole

N_STEPS, BATCH, RATE, DECAY, WARMUP = 3000, 8, 3e-3, 1e-4, 50
FILTER_STEPS, SHARPNESS = 6, 2.5  # of conjugate gradients; where the filter's starts
GREY, TINT = 0.25, 0.08  # share of pairs without colour; sd of the gain of each colour
FIRST_CLIP, N_CLIPS, N_FRAMES = 6_000_000, 60, 60  # seeds of the runs: of no clip that is learnt from or tested on
FOUND, SEEN = 0.4, 0.2  # overlap above which a box is right, where more than that share of the object can be seen
MOST_WRONG = 10  # frames in a row, then a run ends: what has learnt something else is sure of that

Watch = Callable[[str], None]


def make(out: Path, seed: int = 0, n_steps: int = N_STEPS, watch: Watch = lambda _: None) -> None:
    """Learn the weights and write them. The same seed gives the same weights on the same machine."""
    torch.manual_seed(seed)
    features = learned(world_supply(), n_steps, watch)
    certainty = calibrated(features, watch)
    tensors = {f"features.{name}": value.half() for name, value in features.state_dict().items()}
    notes = {"command": f"python -m seamwise.systems.track.make --out {out.name} --seed {seed}"}
    write_whole(out, save({"certainty": torch.from_numpy(certainty), **tensors}, notes))
    watch(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


def learned(supply: Supply, n_steps: int, watch: Watch) -> Features:
    """Features taught by where the object is, through the filter: AdamW, down to nothing along a cosine."""
    features, correlate = Features(world.N_KINDS, designed=True), Filter(FILTER_STEPS, SHARPNESS)
    rows = supply.rows("train")
    place = _places(supply, rows)
    nets = nn.ModuleList([features, correlate]).train()
    optimizer = torch.optim.AdamW(nets.parameters(), RATE, weight_decay=DECAY)
    mean = 0.0
    for step, some in zip(range(1, n_steps + 1), _batches(len(rows)), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, step / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * step / n_steps))
        pictures = supply.take(("exemplar", "search"), rows[some.numpy()])
        exemplar, search, wanted = _varied(pictures["exemplar"], pictures["search"], place[some])
        z, x, _ = features(exemplar, search)
        loss = targets.response.loss(correlate(z, x), wanted).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs lack it
        nn.utils.clip_grad_norm_(nets.parameters(), 1.0)
        optimizer.step()
        mean += (float(loss.detach()) - mean) / min(step, 100)
        if step % 250 == 0:
            watch(f"{step} of {n_steps} steps, loss {mean:.4f}")
    return features.eval()


def _places(supply: Supply, rows: Int[NDArray, " n"]) -> Float[Tensor, "n 3"]:
    """Where the object is, told by either label."""
    told = supply.take(("place", "response"), rows)
    known = supply.known("place", rows)
    return torch.where(torch.as_tensor(known)[:, None], told["place"], told["response"])


def _varied(
    exemplar: UInt8[Tensor, "batch 3 96 96"], search: UInt8[Tensor, "batch 3 104 104"], place: Float[Tensor, "batch 3"]
) -> tuple[UInt8[Tensor, "batch 3 96 96"], UInt8[Tensor, "batch 3 104 104"], Float[Tensor, "batch 3"]]:
    """Mirrored at times, tinted differently, at times without colour."""
    if torch.rand(()) < 0.5:
        exemplar, search, place = exemplar.flip(3), search.flip(3), place * torch.tensor([-1.0, 1.0, 1.0])
    search_light = search * (1 + TINT * torch.randn(len(search), 3, 1, 1))
    exemplar_light, grey = exemplar.float(), torch.rand(len(search)) < GREY
    for light in (search_light, exemplar_light):
        light[grey] = light[grey].mean(1, keepdim=True).expand(-1, 3, -1, -1)
    return exemplar_light.to(torch.uint8), search_light.clamp(0, 255).to(torch.uint8), place


def _batches(n: int) -> Iterator[Int[Tensor, " batch"]]:
    while True:
        order = torch.randperm(n)
        yield from (order[at : at + BATCH] for at in range(0, n - BATCH + 1, BATCH))


def calibrated(features: Features, watch: Watch) -> Float[NDArray, "3"]:
    """`Following.certainty`: a logistic regression on a tracker's runs over clips that nothing was learnt from."""
    told: list[tuple[float, float]] = []
    right: list[bool] = []
    for seed in range(FIRST_CLIP, FIRST_CLIP + N_CLIPS):
        clip = world.draw(seed, N_FRAMES)
        tracker = Tracker(Kept(features.embed, KEPT))
        tracker.start(clip.frames[0], clip.boxes[0])
        n_wrong = 0
        for frame, box, visible in zip(clip.frames[1:], clip.boxes[1:], clip.visible[1:], strict=True):
            was_lost = tracker.lost
            found, _ = tracker.next(frame)
            is_right = bool(visible > SEEN and overlap(found, box) > FOUND)
            if not was_lost:
                told.append(tracker.signs)
                right.append(is_right)
            n_wrong = 0 if is_right else n_wrong + 1
            if n_wrong == MOST_WRONG:
                break
        watch(f"{seed - FIRST_CLIP + 1} of {N_CLIPS} runs, {np.mean(right):.3f} right")
    fitted = LogisticRegression(C=100.0).fit(np.array(told), np.array(right))
    certainty = np.array([fitted.intercept_[0], *fitted.coef_[0]], dtype=np.float32)
    watch(f"certainty {certainty.round(3).tolist()}")
    return certainty


def main() -> None:
    """Run the command line."""
    described = argparse.ArgumentParser(description="Make the shipped weights of the tracker again.")
    described.add_argument("--out", type=Path, required=True, help="The file to write.")
    described.add_argument("--seed", type=int, default=0, help="0 for the shipped ones.")
    given = described.parse_args()
    start = time.monotonic()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        make(given.out, given.seed, watch=lambda text: print(f"{time.monotonic() - start:4.0f} s  {text}", flush=True))
    except SeamwiseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
