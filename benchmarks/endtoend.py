"""What makes training by the answer alone work on digits whose places must be found: forms of the seam, and starts.

Each form is the same chain (find -> cut -> read -> add) trained by the sum alone, with the same settings; only the
seam between find and cut, or what passes back through it, differs. Prints the test error of each, by seed.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, one_hot

from seamwise import Chain, Designed, Fit, load_task
from seamwise.evaluate import evaluate
from seamwise.regimes import endtoend
from seamwise.systems.digits.task import add_up, cut, cut_out, find, read
from seamwise.systems.digits.world import HEIGHT_PX, N_COLUMNS, N_ROWS, PATCH_PX, WIDTH_PX
from seamwise.training import Job


def expected_place(image: Tensor, place: Tensor) -> Tensor:
    """Soft-argmax, then a bilinear patch at the expected place (Jaderberg et al. 2015, Spatial Transformer)."""
    at = torch.arange(place.shape[-1])
    row, column = (place * (at // N_COLUMNS)).sum(-1), (place * (at % N_COLUMNS)).sum(-1)
    reach = torch.arange(PATCH_PX) + 0.5
    y = ((row[..., None] + reach) / HEIGHT_PX * 2 - 1)[..., :, None].expand(-1, -1, -1, PATCH_PX)
    x = ((column[..., None] + reach) / WIDTH_PX * 2 - 1)[..., None, :].expand(-1, -1, PATCH_PX, -1)
    both = grid_sample(image.repeat_interleave(2, 0), torch.stack([x, y], -1).flatten(0, 1), align_corners=False)
    return both.reshape(-1, 2, PATCH_PX, PATCH_PX)


def decided(image: Tensor, place: Tensor) -> Tensor:
    """The most probable place: no gradient."""
    return cut(image, one_hot(place.argmax(-1), N_ROWS * N_COLUMNS).float())


def straight_through(image: Tensor, place: Tensor) -> Tensor:
    """The most probable place forwards, the distribution backwards (Bengio et al. 2013)."""
    hard = one_hot(place.argmax(-1), N_ROWS * N_COLUMNS).float()
    return cut(image, hard + place - place.detach())


def sharper(power: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The expected patch at a temperature of 1 / power."""

    def sharpened(image: Tensor, place: Tensor) -> Tensor:
        raised = (place + 1e-9) ** power
        return cut(image, raised / raised.sum(-1, keepdim=True))

    return sharpened


def louder(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The expected patch, the gradient into the finder times `scale`."""
    return lambda image, place: cut(image, place * scale + place.detach() * (1 - scale))


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "expected patch (shipped)": cut,
    "expected place, bilinear patch": expected_place,
    "most probable place, no gradient": decided,
    "straight-through": straight_through,
    "expected patch, temperature 1/2": sharper(2.0),
    "expected patch, temperature 2": sharper(0.5),
    "expected patch, gradient x 10": louder(10.0),
}
SETTINGS = {
    "": {},
    ", no warm-up": {"warmup": 0},
    ", no running average": {"average": 0.0},
    ", rate 1e-3": {"rates": (1e-3,)},
}


def one(name: str, change: str, seed: int, n: int) -> float:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    task = load_task("digits")
    fit = replace(task.fit, **SETTINGS[change])
    assert isinstance(fit, Fit)
    middle = cut_out if name.endswith("(shipped)") else Designed("cut", FORMS[name], ("image", "place"), "patch")
    chain = Chain([find, middle, read, add_up])
    task = replace(task, chain={"found": chain}, fit=fit)
    trained = endtoend(Job(task, "found", {"place": 1, "digit": 1, "sum": n}, seed))
    return evaluate(task, trained.net).error


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--labels", type=int, default=1600)
    asked.add_argument("--seeds", type=int, default=2)
    asked.add_argument("--jobs", type=int, default=2)
    options = asked.parse_args()
    shipped = next(iter(FORMS))
    cells = [*product(FORMS, [""]), *product([shipped], list(SETTINGS)[1:])]
    with ProcessPoolExecutor(options.jobs) as pool:
        waiting = {
            cell: [pool.submit(one, *cell, seed, options.labels) for seed in range(options.seeds)] for cell in cells
        }
        for (name, change), futures in waiting.items():
            errors = [f.result() for f in futures]
            print(f"{name + change:<48} {sum(errors) / len(errors):.3f}   {[round(e, 3) for e in errors]}", flush=True)


if __name__ == "__main__":
    main()
