"""Training the face finder on made-up scenes.

No photograph of clutter is needed: what the finder must tell faces from is drawn, and the finder itself looks
through it for what it takes for a face.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, pad, smooth_l1_loss

from seamwise.shapes import Float, NDArray, Tensor
from seamwise.systems.gate import finder
from seamwise.systems.gate.finder import Finder
from seamwise.systems.gate.finder_scenes import Scene, Someone, cast_of, scenes_of, studio

N_SCENES, N_ROUNDS, N_CLOSER = 450, 3, 2000
POSITIVE_AT, POSITIVE_LN, ELSEWHERE = 0.09, 0.14, 0.4  # how near a window must be to be a face, how little to be none
SPREAD_TRAIN = (1.2, 1.2, 1.0)  # how far boxes about faces lie off, as `finder.SPREAD`
N_CELLS = finder.CROP_PX // finder.CELL_PX  # of the second look, along a line

Watch = Callable[[str], None]


def fit_finder(london: Path, seed: int = 0, watch: Watch = lambda text: None) -> Finder:
    """Train a finder on the folder of the Face Research Lab London Set and on the simulated world.

    The same seed gives the same finder on the same machine, with the same number of threads.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = Finder()
        watch("cutting people out")
        cast = cast_of(rng, studio(london))
        _fit_first(rng, found, cast, watch)
        _fit_second(rng, found, cast, watch)
    return found.eval()


def _windows(cells: Float[Tensor, "1 5 h w"]) -> Float[Tensor, "windows 5 10 10"]:
    """All that the first look sees at one level, in the order of its scores."""
    n = finder.N_WINDOW
    seen = pad(cells, (finder.N_PADDED,) * 4).unfold(2, n, 1).unfold(3, n, 1)
    return seen[0].permute(1, 2, 0, 3, 4).flatten(0, 1)


def _labels(scene: Scene, ratio: float, shape: tuple[int, int]) -> Float[NDArray, " windows"]:
    """For each window of a level: 1 a face, 0 none, and -1 neither."""
    row, column = np.indices(shape, dtype=np.float64).reshape(2, -1)
    size = np.full(len(row), finder.BOX_PX * ratio)
    seen = np.stack([finder.place(column) * ratio, finder.place(row) * ratio, size], axis=1)
    label = np.zeros(len(row), dtype=np.float32)
    for box in scene.unclear:
        label[finder.overlap(box[None], seen) > 0.2] = -1
    for box in scene.boxes:
        label[finder.overlap(box[None], seen) > ELSEWHERE] = -1
        away = np.abs(seen[:, :2] - box[:2]).max(1) / size
        label[(away < POSITIVE_AT) & (np.abs(np.log(size / box[2])) < POSITIVE_LN)] = 1
    return label


@torch.no_grad()
def _mined(
    rng: np.random.Generator, found: Finder, one: Scene, n_hard: int, n_any: int
) -> tuple[Float[Tensor, "n 5 10 10"], Float[Tensor, " n"]]:
    """The windows of a scene worth learning from: faces, what looks most like one, and some others."""
    image = torch.from_numpy(one.grey)[None, None].float() / 255
    levels = [found.gradients(level) for level in finder.pyramid(image)]
    scores = [found.look(cells)[0] for cells in levels]
    label = np.concatenate([_labels(one, finder.RATIO**k, (*score.shape,)) for k, score in enumerate(scores)])
    windows = torch.cat([_windows(cells) for cells in levels])
    score = torch.cat([each.flatten() for each in scores]).numpy()
    nothing = np.flatnonzero(label == 0)
    hard = nothing[np.argsort(-score[nothing], kind="stable")[:n_hard]]
    chosen = np.concatenate([np.flatnonzero(label == 1), hard, rng.choice(nothing, n_any)])
    return windows[chosen], torch.from_numpy(label[chosen])


def _fit_first(rng: np.random.Generator, found: Finder, cast: list[Someone], watch: Watch) -> None:
    """Learn the first look's template, each time with what the last one took for faces."""
    windows: list[Tensor] = []
    labels: list[Tensor] = []
    for round_ in range(N_ROUNDS):
        for one in scenes_of(rng, cast, N_SCENES):
            seen, label = _mined(rng, found, one, 40 if round_ else 0, 8 if round_ else 30)
            windows.append(seen.half())
            labels.append(label)
        table, label = torch.cat(windows), torch.cat(labels)
        loss = _learn(found.first, table, label[:, None], _first_loss, n_epochs=(4, 4, 10)[round_])
        n_faces = int(label.sum())
        watch(f"first look, round {round_ + 1} of {N_ROUNDS}: {n_faces} faces, {len(label):,} windows, loss {loss:.4f}")


def _first_loss(score: Float[Tensor, "n 1 1 1"], label: Float[Tensor, "n 1"]) -> Tensor:
    return binary_cross_entropy_with_logits(score.flatten(1), label)


def _second_loss(out: Float[Tensor, "n 4"], truth: Float[Tensor, "n 4"]) -> Tensor:
    """Of the score where it is clear, of the correction where there is a face."""
    label, near = truth[:, 0], truth[:, 1:].isfinite().all(1)
    clear = label >= 0
    score = binary_cross_entropy_with_logits(out[clear, 0], label[clear])
    return score + smooth_l1_loss(out[near, 1:], truth[near, 1:]) * near.float().mean()


def _learn(
    module: nn.Module,
    inputs: Tensor,
    truth: Tensor,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    n_epochs: int,
    rate: float = 2e-3,
    n_batch: int = 256,
    watch: Watch = lambda text: None,
) -> float:
    """Gradient descent, its steps first growing, then shrinking; the mean loss of the last epoch."""
    n = len(truth)
    optimiser = torch.optim.AdamW(module.parameters(), rate, weight_decay=1e-2)
    n_steps = n_epochs * -(-n // n_batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=n_steps, pct_start=0.15)
    module.train()
    total = 0.0
    for epoch in range(n_epochs):
        total = 0.0
        for rows in torch.split(torch.randperm(n), n_batch):
            loss = loss_of(module(inputs[rows].float()), truth[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs lack it
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows) / n
        watch(f"epoch {epoch + 1} of {n_epochs}: loss {total:.4f}")
    module.eval()
    return total


def _fit_second(rng: np.random.Generator, found: Finder, cast: list[Someone], watch: Watch) -> None:
    """Learn the second look on what the first one likes, and on boxes about the faces."""
    cells: list[Tensor] = []
    truths: list[Tensor] = []
    for k, one in enumerate(scenes_of(rng, cast, N_CLOSER)):
        seen, truth = _closer(rng, found, one)
        cells.append(seen)
        truths.append(truth)
        if k % 600 == 599:
            watch(f"second look: {k + 1} of {N_CLOSER} scenes")
    table, truth = torch.cat(cells), torch.cat(truths)
    watch(f"second look: {int((truth[:, 0] == 1).sum()):,} faces among {len(truth):,} places")
    _learn(found.second, table, truth, _second_loss, n_epochs=9, watch=lambda text: watch(f"second look, {text}"))


@torch.no_grad()
def _closer(
    rng: np.random.Generator, found: Finder, one: Scene
) -> tuple[Float[Tensor, "n 5 16 16"], Float[Tensor, "n 4"]]:
    """Places in a scene as the second look sees them, and what it should say: score and correction."""
    boxes = found.candidates(one.grey, finder.BOX_PX)[:, :3]
    n_close = 4 * len(one.boxes)
    wide = np.array(SPREAD_TRAIN) * rng.choice([0.3, 1], (n_close, 1))
    close = finder.moved(np.repeat(one.boxes, 4, 0), rng.normal(0, wide, (n_close, 3)).astype(np.float32))
    boxes = np.concatenate([boxes, close]).astype(np.float32)
    if not len(boxes):
        return torch.zeros(0, finder.N_COEFFICIENTS, N_CELLS, N_CELLS).half(), torch.zeros(0, 4)
    crops, boxes = finder.crop(one.grey, boxes)
    truth = np.full((len(boxes), 4), np.nan, dtype=np.float32)
    truth[:, 0] = 0
    for box in one.unclear:
        truth[finder.overlap(box[None], boxes) > 0.2, 0] = -1
    for box in one.boxes:
        shared = finder.overlap(box[None], boxes)
        truth[shared > 0.3, 0] = -1
        truth[shared > 0.45, 0] = 1
        near = shared > 0.35
        truth[near, 1:] = finder.correction(boxes[near], np.repeat(box[None], near.sum(), 0))
    cells = found.gradients(torch.from_numpy(crops)[:, None].float() / 255)
    return cells.half(), torch.from_numpy(truth)
