"""AlexNet and VGG-16, without torchvision: its names and shapes of weights, so that its weights fit.

Each is a module without weights that fit it yet, 1,000 classes by default:

    seamwise look benchmarks.architectures:alexnet --weights alexnet.safetensors --data PICTURES

AlexNet is torchvision's, of Krizhevsky 2014 (One weird trick), with 1,152 convolutional units; VGG-16 is configuration
D of Simonyan & Zisserman 2015, with 4,224. `small_` ones have the same convolutions, the ten classes of
`seamwise.look.world` and a classifier of 512 units: what `look_train.py` trains.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ALEXNET = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))  # units, kernel, stride, pad
ALEXNET_POOLS = (0, 1, 4)  # after which convolutions
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Pictured(nn.Module):
    """Convolutions, an average to a grid of fixed size, and a classifier of three layers."""

    def __init__(self, features: Sequence[nn.Module], grid: int, classifier: Sequence[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d((grid, grid))
        self.classifier = nn.Sequential(*classifier)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(pictures)), 1))


def alexnet(n_classes: int = 1000, n_hidden: int = 4096, dropout: float = 0.5) -> Pictured:
    """pictures [batch, 3, height, width], sides of 63 px at least -> [batch, n_classes] before softmax."""
    features: list[nn.Module] = []
    n_before = 3
    for k, (n_units, kernel, stride, pad) in enumerate(ALEXNET):
        features += [nn.Conv2d(n_before, n_units, kernel, stride, pad), nn.ReLU(inplace=True)]
        features += [nn.MaxPool2d(3, 2)] if k in ALEXNET_POOLS else []
        n_before = n_units
    into, hidden, out = nn.Linear(256 * 36, n_hidden), nn.Linear(n_hidden, n_hidden), nn.Linear(n_hidden, n_classes)
    drops = [nn.Dropout(dropout), nn.Dropout(dropout)]
    return Pictured(features, 6, [drops[0], into, nn.ReLU(inplace=True), drops[1], hidden, nn.ReLU(inplace=True), out])


def vgg16(n_classes: int = 1000, n_hidden: int = 4096, dropout: float = 0.5, normed: bool = False) -> Pictured:
    """pictures [batch, 3, height, width], sides of 32 px at least -> [batch, n_classes] before softmax.

    Its weights start as those of He et al. 2015, as torchvision's do: without, thirteen layers let no signal through.
    """
    features: list[nn.Module] = []
    n_before = 3
    for block in VGG16:
        for n_units in block:
            norm = [nn.BatchNorm2d(n_units)] if normed else []
            features += [nn.Conv2d(n_before, n_units, 3, padding=1), *norm, nn.ReLU(inplace=True)]
            n_before = n_units
        features.append(nn.MaxPool2d(2, 2))
    into, hidden, out = nn.Linear(512 * 49, n_hidden), nn.Linear(n_hidden, n_hidden), nn.Linear(n_hidden, n_classes)
    drops = [nn.Dropout(dropout), nn.Dropout(dropout)]
    classifier = [into, nn.ReLU(inplace=True), drops[0], hidden, nn.ReLU(inplace=True), drops[1], out]
    net = Pictured(features, 7, classifier)
    start_evenly(net)
    return net


def vgg16_bn(n_classes: int = 1000, n_hidden: int = 4096, dropout: float = 0.5) -> Pictured:
    """VGG-16 with batch normalisation before each ReLU: learns from scratch where `vgg16` does not."""
    return vgg16(n_classes, n_hidden, dropout, normed=True)


def small_alexnet() -> Pictured:
    return alexnet(10, 512, 0.2)


def small_vgg16() -> Pictured:
    return vgg16(10, 512, 0.2)


def small_vgg16_bn() -> Pictured:
    return vgg16_bn(10, 512, 0.2)


def start_evenly(net: nn.Module) -> None:
    """Weights under which no ReLU layer makes the signal larger or smaller (He et al. 2015)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
