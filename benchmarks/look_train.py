"""AlexNet or VGG-16 learns the ten objects of the world of pictures, in minutes on one core.

    benchmarks/look_train.py alexnet --out alexnet.safetensors --minutes 6

Writes the weights, with torchvision's names and shapes but for a smaller classifier, and prints the accuracy on
pictures that it did not see. The network is trained with batch normalisation behind every convolution and hidden layer,
which is folded into their weights at the end (the same function): as it is published, it stays at chance in this time.
AlexNet's stem of stride 4 wants pictures of 96 px or more: at 64 px its last map is one position, and place is lost.
"""

import argparse
import math
import time
from pathlib import Path

import architectures
import cv2
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from seamwise.look import world
from seamwise.look.pictures import IMAGENET, toned

SIZES_PX = {"alexnet": 96, "vgg16": 64}
HELD_OUT_SEED, N_HELD_OUT = 1_000_000, 1000
WARM_UP = 0.05  # the share of the time in which the learning rate rises


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("net", choices=list(SIZES_PX))
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--minutes", type=float, default=6.0, help="of one core")
    asked.add_argument("--size", type=int, help="of the pictures, px")
    asked.add_argument("--batch", type=int, default=32)
    asked.add_argument("--rate", type=float, default=1e-3)
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    size = options.size or SIZES_PX[options.net]
    net = getattr(architectures, f"small_{options.net}")()
    architectures.start_evenly(net)
    untrained = accuracy(net, size)
    normalise(net)
    train(net, size, options.minutes, options.batch, options.rate, options.seed)
    fold(net)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, options.out)
    print(f"{options.net}, {N_HELD_OUT:,} unseen pictures of {size} px: accuracy {accuracy(net, size):.3f}", end="")
    print(f" (untrained {untrained:.3f}, guessing .100): {options.out}")


def train(net: nn.Module, size: int, minutes: float, batch: int, rate: float, seed: int) -> None:
    """Until the processor's time is over; the learning rate falls to 0 as a half cosine."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    start, told, step = time.process_time(), 0.0, 0
    net.train()
    while (done := (time.process_time() - start) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, done / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
        if step % 2:  # the last pictures again, mirrored and with their colours exchanged, which draws none
            pictures = pictures.flip(3)[:, torch.randperm(3)]
        else:
            pictures, classes = batch_of(batch, seed * 100_000 + step, size)
        loss = cross_entropy(net(pictures), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if done - told > 0.05:
            told = done
            print(f"{done:.0%}, {step * batch:,} pictures: loss {loss.item():.2f}", flush=True)


def normalise(net: architectures.Pictured) -> None:
    """Put batch normalisation behind every convolution and hidden layer."""
    for name in ("features", "classifier"):
        layers: list[nn.Module] = []
        for layer in getattr(net, name):
            layers.append(layer)
            if isinstance(layer, nn.Conv2d):
                layers.append(nn.BatchNorm2d(layer.out_channels))
            elif isinstance(layer, nn.Linear) and layer is not net.classifier[-1]:
                layers.append(nn.BatchNorm1d(layer.out_features))
        setattr(net, name, nn.Sequential(*layers))


@torch.no_grad()
def fold(net: architectures.Pictured) -> None:
    """Take batch normalisation out again: its scale and shift go into the weights before it."""
    for name in ("features", "classifier"):
        layers: list[nn.Module] = []
        for layer in getattr(net, name):
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                before = layers[-1]
                scale = layer.weight / (layer.running_var + layer.eps).sqrt()
                before.bias.copy_((before.bias - layer.running_mean) * scale + layer.bias)
                before.weight.mul_(scale.reshape(-1, *[1] * (before.weight.ndim - 1)))
            else:
                layers.append(layer)
        setattr(net, name, nn.Sequential(*layers))


def batch_of(n: int, seed: int, size: int) -> tuple[Tensor, Tensor]:
    """Pictures as torchvision's networks want them, and their classes."""
    scenes = world.draw(n, seed, size)
    return toned(torch.from_numpy(scenes.pictures), IMAGENET), torch.from_numpy(scenes.classes)


@torch.no_grad()
def accuracy(net: nn.Module, size: int) -> float:
    """The share of right answers on pictures of no training step."""
    net.eval()
    right = 0
    for k in range(N_HELD_OUT // 50):
        pictures, classes = batch_of(50, HELD_OUT_SEED + k, size)
        right += int((net(pictures).argmax(1) == classes).sum())
    return right / N_HELD_OUT


if __name__ == "__main__":
    main()
