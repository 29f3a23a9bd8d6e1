"""The shipped weights, made again; they are learnt from simulated hands alone.

Two commands make them, the first with `--parts locate`, the second with `--parts judge age direct`:
`python -m seamwise.systems.age.make --out weights.safetensors`. On another machine the last digits may differ.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn

from seamwise.errors import SeamwiseError
from seamwise.shapes import Float, Int, Shaped, Tensor, UInt8
from seamwise.systems.age import world
from seamwise.systems.age.measure import measure
from seamwise.systems.age.nets import (
    MIDDLE_PX,
    SMALL_PX,
    Direct,
    Judge,
    Locate,
    TellAge,
    expected,
    pooled,
    varied_tone,
    varied_view,
    warped,
)
from seamwise.trial import write_whole

N_HANDS, PX, CHUNK = 4000, 512, 250
BATCH, RATE, DECAY, WARMUP = 16, 3e-3, 1e-2, 50
N_STEPS = {"locate": 3000, "judge": 1500, "age": 3000, "direct": 2500}
BLUR = 0.05  # of the heat maps wanted, where the picture is 2 wide
MISPLACED_MM = 1.0  # sd of the landmarks that joints are judged at

Watch = Callable[[str], None]


@dataclass(frozen=True)
class Hands:
    """Simulated hands as the networks see them."""

    picture: UInt8[Tensor, "n 1 256 256"]
    mm_per_px: Float[Tensor, " n"]  # of these pictures
    place: Float[Tensor, "n 25 2"]  # landmarks, from -1 to 1
    joints: UInt8[Tensor, "n 15 44 44"]
    wrist: UInt8[Tensor, "n 88 88"]
    lengths: Float[Tensor, "n 19"]
    plates: Float[Tensor, "n 21"]
    carpals: Float[Tensor, "n 8"]
    sex: UInt8[Tensor, " n"]
    age: Float[Tensor, " n"]


def make(out: Path, seed: int = 0, watch: Watch = lambda _: None, parts: Iterable[str] = tuple(N_STEPS)) -> None:
    """Learn the parts and write them; those not asked for are taken from `out` as they are.

    The same seed gives the same weights on the same machine.
    """
    tensors = load_file(str(out)) if set(parts) < set(N_STEPS) and out.is_file() else {}
    if set(parts) | {name.partition(".")[0] for name in tensors} < set(N_STEPS):
        watch(f"{out} will lack the parts that were not asked for")
    torch.manual_seed(seed)
    hands = drawn(N_HANDS, seed, watch)
    losses: dict[str, tuple[nn.Module, Callable[[nn.Module, Int[Tensor, " batch"]], Tensor]]] = {
        "locate": (Locate(), lambda net, rows: _places_missed(net, hands, rows)),
        "judge": (Judge(), lambda net, rows: _signs_missed(net, hands, rows)),
        "age": (
            TellAge(hands.plates.shape[1] + hands.carpals.shape[1]),
            lambda net, rows: _ages_missed(net, hands, rows),
        ),
        "direct": (Direct(), lambda net, rows: _ages_missed_directly(net, hands, rows)),
    }
    for part in parts:
        net, loss = losses[part]
        learn(net, N_STEPS[part], len(hands.age), loss, partial(_told, watch, part))
        tensors |= {f"{part}.{name}": value.half() for name, value in net.state_dict().items()}
    notes = {"command": f"python -m seamwise.systems.age.make --out {out.name} --seed {seed}"}
    write_whole(out, save({name: tensors[name].contiguous() for name in sorted(tensors)}, notes))
    watch(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


def _told(watch: Watch, part: str, text: str) -> None:
    watch(f"{part}: {text}")


def drawn(n: int, seed: int, watch: Watch) -> Hands:
    """Simulated hands, their joints and wrists cut out about slightly wrong landmarks."""
    parts = []
    for start in range(0, n, CHUNK):
        parts.append(_some(world.draw(min(CHUNK, n - start), 1000 * seed + start, px=PX)))
        watch(f"{start + len(parts[-1].age)} of {n} hands drawn")
    return Hands(*(torch.cat([getattr(part, name) for part in parts]) for name in Hands.__annotations__))


def _some(hands: world.Hands) -> Hands:
    picture, mm_per_px = torch.from_numpy(hands.picture), torch.from_numpy(hands.mm_per_px)
    place = torch.from_numpy(hands.landmarks_px) / PX * 2 - 1
    in_mm = place * (mm_per_px * PX / 2)[:, None, None]
    lengths, joints, wrist = measure(picture, in_mm + MISPLACED_MM * torch.randn_like(in_mm), mm_per_px)
    return Hands(
        picture=_bytes(pooled(picture, MIDDLE_PX)),
        mm_per_px=mm_per_px * (PX / MIDDLE_PX),
        place=place,
        joints=_bytes(joints),
        wrist=_bytes(wrist),
        lengths=lengths,
        plates=torch.from_numpy(hands.plates),
        carpals=torch.from_numpy(hands.carpals),
        sex=torch.from_numpy(hands.sex),
        age=torch.from_numpy(hands.age_months),
    )


def learn(
    net: nn.Module, n_steps: int, n: int, loss: Callable[[nn.Module, Int[Tensor, " batch"]], Tensor], watch: Watch
) -> None:
    """Make `loss(net, rows)` small: AdamW, a short warm-up, then down to nothing along a cosine."""
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    mean = 0.0
    net.train()
    for step, rows in zip(range(1, n_steps + 1), _batches(n), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, step / WARMUP) * (0.5 + 0.5 * math.cos(math.pi * step / n_steps))
        value = loss(net, rows)
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # torch's stubs lack it
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        mean += (float(value.detach()) - mean) / min(step, 100)
        if step % 250 == 0:
            watch(f"{step} of {n_steps} steps, loss {mean:.4f}")
    net.eval()


def _places_missed(net: nn.Module, hands: Hands, rows: Int[Tensor, " batch"]) -> Tensor:
    """The distance of the mean places, and the cross-entropy of heat maps with blurred points."""
    assert isinstance(net, Locate)
    view = varied_view(len(rows), hands.place)
    seen = warped(pooled(hands.picture[rows], MIDDLE_PX), view, SMALL_PX)
    heat = net.maps(varied_tone(seen))
    wanted = torch.linalg.solve(view[:, :, :2], (hands.place[rows] - view[:, None, :, 2]).transpose(1, 2)).transpose(
        1, 2
    )
    inside = (wanted.abs() < 1).all(-1).float()
    away = (expected(heat) - wanted).square().sum(-1).clamp_min(1e-8).sqrt()
    at = (torch.arange(heat.shape[-1]) + 0.5) / heat.shape[-1] * 2 - 1
    across, down = (-((at - wanted[..., k, None]) / BLUR).square() / 2 for k in (0, 1))
    blurred = (down[..., :, None] + across[..., None, :]).flatten(2).softmax(-1)
    surprise = -(blurred * heat.flatten(2).log_softmax(-1)).sum(-1)
    missed: Tensor = ((4 * away + 0.3 * surprise) * inside).sum() / inside.sum()
    return missed


def _signs_missed(net: nn.Module, hands: Hands, rows: Int[Tensor, " batch"]) -> Tensor:
    plates, carpals = net(hands.joints[rows].float() / 255, hands.wrist[rows].float() / 255)
    wanted = torch.cat([hands.plates[rows], hands.carpals[rows]], 1)
    return 100 * (torch.cat([plates, carpals], 1) - wanted).square().mean()


def _ages_missed(net: nn.Module, hands: Hands, rows: Int[Tensor, " batch"]) -> Tensor:
    lengths = hands.lengths[rows] * (0.05 * torch.randn(len(rows), 19) + 0.1 * torch.randn(len(rows), 1)).exp()
    signs = [(s[rows] + 0.08 * torch.randn(len(rows), s.shape[1])).clamp(0, 1) for s in (hands.plates, hands.carpals)]
    missed: Tensor = (net(lengths, hands.sex[rows], *signs) - hands.age[rows]).abs().mean() / 12
    return missed


def _ages_missed_directly(net: nn.Module, hands: Hands, rows: Int[Tensor, " batch"]) -> Tensor:
    told = net(hands.picture[rows], hands.sex[rows], hands.mm_per_px[rows])
    missed: Tensor = (told - hands.age[rows]).abs().mean() / 12
    return missed


def _batches(n: int) -> Iterator[Int[Tensor, " batch"]]:
    while True:
        order = torch.randperm(n)
        yield from (order[at : at + BATCH] for at in range(0, n - BATCH + 1, BATCH))


def _bytes(light: Shaped[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    return (255 * light).round().to(torch.uint8)


def main() -> None:
    """Run the command line."""
    described = argparse.ArgumentParser(description="Make the shipped weights of the age system again.")
    described.add_argument("--out", type=Path, required=True, help="The file to write.")
    described.add_argument("--seed", type=int, default=0, help="0 for the shipped ones.")
    described.add_argument("--parts", nargs="+", choices=list(N_STEPS), default=list(N_STEPS), help="All by default.")
    given = described.parse_args()
    start = time.monotonic()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        make(given.out, given.seed, lambda text: print(f"{time.monotonic() - start:4.0f} s  {text}"), given.parts)
    except SeamwiseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
