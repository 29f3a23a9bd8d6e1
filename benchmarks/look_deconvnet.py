"""Nine deconvnet projections of each unit of VGG-16's convolutions at 224 px: by cones, beside captum's whole pictures.

    benchmarks/look_deconvnet.py [--layers conv1-4|all] [--share S] [--data PICTURES] [--n N] [--samples K]

Speed does not depend on the weights, which are drawn by chance; the patches are those that excite each unit most among
the pictures of --data, or among drawn ones with the spectrum of natural pictures. With --share below 1 so many of each
layer's units are run and the rest is extrapolated, layer by layer. captum takes one unit of one picture at a time: it
runs K exemplars of each layer, through the network up to that layer and no further, and the rest is extrapolated. The
maps of these are compared: `apart` is the largest difference over the largest value of a map.
"""

import argparse
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from architectures import VGG16, Pictured, vgg16
from captum.attr import NeuronDeconvolution
from PIL import Image
from torch import Tensor, nn

from seamwise.look.cones import Cone, cone_of, projections
from seamwise.look.graph import Graph, graph_of
from seamwise.look.patches import exemplars
from seamwise.look.records import Exemplars
from seamwise.look.windows import shape

SIDE_PX, N_PLACES, WITHIN = 224, 9, 1e-4
MEAN, DEVIATION = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def read(folder: Path, n: int) -> Tensor:
    files = [f for f in sorted(folder.rglob("*")) if f.suffix.lower() in (".jpg", ".jpeg", ".png")]
    chosen = [files[int(k)] for k in np.linspace(0, len(files) - 1, min(n, len(files)))]
    pictures = [np.array(Image.open(f).convert("RGB").resize((SIDE_PX, SIDE_PX)), dtype=np.float32) for f in chosen]
    return (torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255 - MEAN) / DEVIATION


def drawn(n: int) -> Tensor:
    """Noise whose amplitude falls as 1/f."""
    random = torch.Generator().manual_seed(0)
    down, across = torch.fft.fftfreq(SIDE_PX)[:, None], torch.fft.rfftfreq(SIDE_PX)
    falling = 1 / (down**2 + across**2).sqrt().clamp_min(1 / SIDE_PX)
    waves = torch.fft.rfft2(torch.randn(n, 3, SIDE_PX, SIDE_PX, generator=random)) * falling
    pictures = torch.fft.irfft2(waves, s=(SIDE_PX, SIDE_PX))
    return pictures / pictures.std((1, 2, 3), keepdim=True)


def names(net: Pictured) -> dict[str, str]:
    """{name in the network: conv3_2}."""
    blocks = [f"conv{block + 1}_{k + 1}" for block, units in enumerate(VGG16) for k in range(len(units))]
    convolutions = [name for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    return dict(zip(convolutions, blocks, strict=True))


def tflop(cone: Cone, row: int, column: int) -> float:
    """Of the convolutions of one exemplar, forward and back."""
    sizes = zip(cone.steps, cone.along(0, row).sizes, cone.along(1, column).sizes, strict=True)
    weights = [(shape(step.node.args[1]), h * w) for step, h, w in sizes if "conv" in step.node.name]
    return sum(4 * np.prod(weight) * n for weight, n in weights) / 1e12


def ours(
    graph: Graph, pictures: Tensor, found: Exemplars, units: Sequence[int], kept: set[tuple[int, int]]
) -> tuple[float, dict[tuple[int, int], np.ndarray]]:
    """Seconds for nine projections of each unit, and some of them by unit and place."""
    start, maps = time.perf_counter(), {}
    for unit, of_unit in projections(graph, lambda numbers: [pictures[list(numbers)]], found, units=units):
        maps |= {(unit, place): one for place, one in enumerate(of_unit) if (unit, place) in kept and one is not None}
    return time.perf_counter() - start, maps


def captums(net: Pictured, pictures: Tensor, found: Exemplars, unit: int, place: int) -> tuple[float, np.ndarray]:
    """Seconds, and the map."""
    last = int(found.layer.name.split(".")[1]) + 1  # the ReLU behind the convolution
    part = net.features[: last + 1]
    row, column = int(found.row[unit, place]), int(found.column[unit, place])
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = pictures[found.picture[unit, place], None]
        whole = NeuronDeconvolution(part, part[last]).attribute(picture, (unit, row, column))
    seconds = time.perf_counter() - start
    down, across = found.layer.patch(row, column)
    return seconds, whole[0, :, down, across].detach().numpy()


@dataclass(frozen=True)
class Row:
    """Of a layer: TFLOP and seconds of all units, ours and captum's, and how far the maps are apart."""

    tflop: float
    ours_s: float
    captum_s: float
    apart: list[float]


def compared(net: Pictured, graph: Graph, pictures: Tensor, found: Exemplars, share: float, n_samples: int) -> Row:
    n_units = found.layer.n_units
    units = np.linspace(0, n_units - 1, max(2, round(share * n_units))).round().astype(int).tolist()
    random = np.random.default_rng(0)
    sample = [(int(unit), int(random.integers(N_PLACES))) for unit in random.choice(units, n_samples)]
    sample = [place for place in dict.fromkeys(sample) if found.picture[place] >= 0]
    seconds, maps = ours(graph, pictures, found, units, set(sample))
    whole = {place: captums(net, pictures, found, *place) for place in sample}
    apart = [float(np.abs(maps[p] - one).max() / np.abs(one).max()) for p, (_, one) in whole.items()]
    cone = cone_of(graph, found.layer)
    places = [(unit, place) for unit in units for place in range(N_PLACES) if found.picture[unit, place] >= 0]
    done = sum(tflop(cone, int(found.row[p]), int(found.column[p])) for p in places)
    of_captum = float(np.mean([s for s, _ in whole.values()])) * n_units * N_PLACES
    return Row(done * n_units / len(units), seconds * n_units / len(units), of_captum, apart)


def told(name: str, n_units: int, row: Row) -> None:
    seconds = f"{row.ours_s:>9.0f}{row.captum_s:>10.0f}{row.captum_s / row.ours_s:>7.1f}"
    within = f"{sum(a <= WITHIN for a in row.apart)} of {len(row.apart)}"
    print(f"{name:<9}{n_units:>6}{row.tflop:>8.1f}{seconds}   {max(row.apart):.0e}   {within}", flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--layers", choices=("conv1-4", "all"), default="conv1-4")
    asked.add_argument("--share", type=float, default=1.0)
    asked.add_argument("--data", type=Path)
    asked.add_argument("--n", type=int, default=48)
    asked.add_argument("--samples", type=int, default=3)
    asked.add_argument("--threads", type=int, default=2)
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    net = vgg16(10, 16).eval()
    named = {name: block for name, block in names(net).items() if options.layers == "all" or block < "conv5"}
    pictures = read(options.data, options.n) if options.data else drawn(options.n)
    graph = graph_of(net, (pictures[:2],))
    for part in net.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False  # captum cannot follow ReLUs that work in place
    start = time.perf_counter()
    layers = [layer for layer in graph.layers if layer.name in named]
    every = exemplars(graph, ([part] for part in pictures.split(4)), layers, n_places=N_PLACES)
    print(f"{len(pictures)} pictures, {options.threads} threads; exemplars in {time.perf_counter() - start:.0f} s")
    share = "" if options.share >= 1 else f", by {options.share:.0%} of the units"
    print(
        f"seconds of {N_PLACES} projections a unit{share}; captum by {options.samples} exemplars a layer, extrapolated"
    )
    print(f"{'layer':<9}{'units':>6}{'TFLOP':>8}{'seconds':>9}{'captum':>10}{'ratio':>7}   apart   within {WITHIN:.0e}")
    rows = []
    for found in every:
        rows.append(compared(net, graph, pictures, found, options.share, options.samples))
        told(named[found.layer.name], found.layer.n_units, rows[-1])
    tflops, ours_s, captum_s = (sum(getattr(row, name) for row in rows) for name in ("tflop", "ours_s", "captum_s"))
    together = Row(tflops, ours_s, captum_s, [a for row in rows for a in row.apart])
    told("all", sum(layer.n_units for layer in layers), together)
    print(f"{ours_s / 60:.1f} minutes beside {captum_s / 3600:.1f} hours")


if __name__ == "__main__":
    main()
