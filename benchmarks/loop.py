"""The training loop against the same training written bare in PyTorch: milliseconds a step, one thread.

"The same training": AdamW at a constant rate, clipping, a running average of the weights; no validation in between.
"""

import copy
import statistics
import time

import torch
from torch import nn

from seamwise import Chain, Fit, Learned, categories
from seamwise.fit import Attempt, Examples, Term, fit

N_STEPS, N_ROUNDS, BATCH, N_ITEMS = 300, 5, 32, 1600
TARGET = categories("label", 10)


def network(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(width * 64, 64), nn.ReLU(), nn.Linear(64, 10), nn.Softmax(-1),
    )  # fmt: skip


def ours(width: int, image: torch.Tensor, label: torch.Tensor) -> float:
    chain = Chain([Learned("net", lambda: network(width), "image", TARGET)])
    train = Examples({"image": image}, {"label": label}, {"label": torch.ones(N_ITEMS, dtype=torch.bool)})
    settings = Fit(batch=BATCH, rates=(1e-3,), min_steps=N_STEPS, max_steps=N_STEPS, eval_every=N_STEPS)
    start = time.perf_counter()
    fit(Attempt(lambda: chain.build(0), train, train[:1], [Term(TARGET)], TARGET, settings, seed=0))
    return 1e3 * (time.perf_counter() - start) / N_STEPS


def bare(width: int, image: torch.Tensor, label: torch.Tensor) -> float:
    start = time.perf_counter()
    net = network(width)
    average = copy.deepcopy(net)
    weights, kept = list(net.parameters()), list(average.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=True)
    for step in range(N_STEPS):
        at = step % (N_ITEMS // BATCH) * BATCH
        if at == 0:
            order = torch.randperm(N_ITEMS)
        rows = order[at : at + BATCH]
        right = net(image[rows]).gather(1, label[rows][:, None])
        loss = -right.clamp_min(1e-12).log().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(kept, weights, 0.005)
    return 1e3 * (time.perf_counter() - start) / N_STEPS


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    image, label = torch.rand(N_ITEMS, 1, 12, 12), torch.randint(0, 10, (N_ITEMS,))
    print(f"{'channels':>8} {'bare ms':>8} {'ours ms':>8} {'added ms':>9} {'throughput':>10}")
    for width in (4, 16, 96):
        bare(width, image, label), ours(width, image, label)  # both warm
        pairs = [(bare(width, image, label), ours(width, image, label)) for _ in range(N_ROUNDS)]
        b, o = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{width:>8} {b:>8.2f} {o:>8.2f} {o - b:>9.2f} {b / o:>10.2f}")


if __name__ == "__main__":
    main()
