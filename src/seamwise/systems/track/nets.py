"""The networks of the tracker's chain: features of two crops, their correlation, and the direct network in its place.

A pair is an exemplar, the object in the middle of a crop of three sizes, and a search picture a little larger, with the
object somewhere in it at about the same size. The search picture is looked at on three scales.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.fft import fftshift
from torch.nn.functional import adaptive_avg_pool2d, affine_grid, avg_pool2d, grid_sample, pad

from seamwise.shapes import Float, Tensor, UInt8
from seamwise.systems.track.correlation import (
    bump,
    cross_correlation,
    filter_about,
    filter_of,
    respond,
    support_of,
    windowed,
)
from seamwise.systems.track.geometry import SIZE_PX
from seamwise.systems.track.hog import CELL_PX, N_HOG, hog

EXEMPLAR_PX, SEARCH_PX = 3 * SIZE_PX, 104
STEP = 1.05  # between scales
SCALES = (1 / STEP, 1.0, STEP)  # how much more of the search picture is seen: the object is that much larger
STRIDE = CELL_PX
N_CELLS = EXEMPLAR_PX // STRIDE
REACH = 6  # cells that an object is looked for from the middle, either way
N_SHIFTS = 2 * REACH + 1
BUMP = 0.1  # sigma of the answer wanted of a filter, in sizes
N_CHANNELS = 32
FAINT = 0.1  # of features: as weak as that they are not made even
BESIDE = 0.4  # weight of learned features beside designed ones
SUPPORT = 1.0  # of a filter about the object alone, in sizes


def pyramid(search: UInt8[Tensor, "batch 3 104 104"]) -> Float[Tensor, "batch 3 3 96 96"]:
    """The middle of search pictures on each scale, at the exemplar's px; values of 0 to 255."""
    pictures = search.float()
    seen = []
    for scale in SCALES:
        half = scale * EXEMPLAR_PX / SEARCH_PX
        view = torch.tensor([[half, 0, 0], [0, half, 0]], device=search.device).expand(len(search), 2, 3)
        grid = affine_grid(view, [len(search), 3, EXEMPLAR_PX, EXEMPLAR_PX], align_corners=False)
        seen.append(grid_sample(pictures, grid, align_corners=False))
    return torch.stack(seen, 1)


class Features(nn.Module):
    """Feature maps of a quarter of the pictures' side, and the kind of the object, told from the exemplar's.

    Three convolutions, evened as the cells of `hog` are: by how strong features are in the 3 × 3 cells about each; then
    every channel less its mean. With `designed`, those of `hog` stand beside them and count more.
    Source: the shallow networks of CFNet-conv1 (Valmadre et al. 2017) and DCFNet (Wang et al. 2017). Differs: padded, a
    stride of 4 without pooling, no normalisation over a batch.
    """

    def __init__(self, n_kinds: int, designed: bool = False, n_first: int = 24, n_channels: int = N_CHANNELS) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(3, n_first, 5, stride=2, padding=2, padding_mode="replicate"),
            nn.ReLU(),
            nn.Conv2d(n_first, n_channels, 3, stride=2, padding=1, padding_mode="replicate"),
            nn.ReLU(),
            nn.Conv2d(n_channels, n_channels, 3, padding=1, padding_mode="replicate"),
        )
        self.designed = designed
        self.n_channels = n_channels + (N_HOG if designed else 0)
        self.tell = nn.Linear(16 * self.n_channels, n_kinds)

    def embed(self, pictures: Float[Tensor, "batch 3 px px"]) -> Float[Tensor, "batch channels n n"]:
        """Features of pictures with values of 0 to 255."""
        seen = self.see(pictures / 127.5 - 1)
        around = avg_pool2d(pad(seen.square().sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate"), 3, 1)
        even = seen / (around + FAINT).sqrt()
        even = even - even.mean((2, 3), keepdim=True)
        return torch.cat([BESIDE * even, hog(pictures)], 1) if self.designed else even

    def forward(
        self, exemplar: UInt8[Tensor, "batch 3 96 96"], search: UInt8[Tensor, "batch 3 104 104"]
    ) -> tuple[
        Float[Tensor, "batch channels 24 24"], Float[Tensor, "batch 3 channels 24 24"], Float[Tensor, "batch kinds"]
    ]:
        """Features of both, and the probabilities of kinds."""
        z, x = pair(self.embed, exemplar, search)
        return z, x, self.tell(_object(z).flatten(1)).softmax(-1)


def pair(
    embed: Callable[[Tensor], Tensor],
    exemplar: UInt8[Tensor, "batch 3 96 96"],
    search: UInt8[Tensor, "batch 3 104 104"],
) -> tuple[Float[Tensor, "batch channels 24 24"], Float[Tensor, "batch 3 channels 24 24"]]:
    """Features of an exemplar, and of a search picture on three scales."""
    z, x = embed(exemplar.float()), embed(pyramid(search).flatten(0, 1))
    return z, x.view(len(z), len(SCALES), *x.shape[1:])


def hog_pair(
    exemplar: UInt8[Tensor, "batch 3 96 96"], search: UInt8[Tensor, "batch 3 104 104"]
) -> tuple[Float[Tensor, "batch 12 24 24"], Float[Tensor, "batch 3 12 24 24"]]:
    """The same by design."""
    return pair(hog, exemplar, search)


def _object(z: Float[Tensor, "batch channels 24 24"]) -> Float[Tensor, "batch channels 4 4"]:
    """The object and a little about it, on few cells."""
    inner = N_CELLS // 3
    return adaptive_avg_pool2d(z[..., inner - 2 : 2 - inner, inner - 2 : 2 - inner], 4)


class Plain(nn.Module):
    """The exemplar's middle at every place of the search picture's features: log-scores of scale and shift.

    Source: Bertinetto et al. 2016, SiamFC. Differs: the template is cut out of the exemplar's features, of two sizes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.zeros(()))

    def template(self, z: Float[Tensor, "batch channels n n"]) -> Float[Tensor, "batch channels m m"]:
        """What is looked for: as large as leaves REACH shifts either way."""
        return z[..., REACH:-REACH, REACH:-REACH]

    def forward(
        self, z: Float[Tensor, "batch channels 24 24"], x: Float[Tensor, "batch 3 channels 24 24"]
    ) -> Float[Tensor, "batch 3 13 13"]:
        """How likely each scale and shift is: rows are y, then x, from -6 to 6 cells."""
        template = self.template(z).repeat_interleave(x.shape[1], 0)
        return (
            cross_correlation(template, x.flatten(0, 1)).view(*x.shape[:2], N_SHIFTS, N_SHIFTS) * self.sharpness.exp()
        )


class Filter(nn.Module):
    """A correlation filter, learnt from the exemplar in closed form, on the search picture's features.

    n_steps:   with more than 0 the filter is about the object alone, found in so many steps (`filter_about`)
    sharpness: the log of what answers are multiplied by, to start with

    Source: CFNet (Valmadre et al. 2017), DCFNet (Wang et al. 2017). Differs: see `correlation`; how much weights cost
    is learnt, and the whole filter answers, going round under a window, as DCFNet's does.
    """

    window: Float[Tensor, "24 24"]
    wanted: Float[Tensor, "24 24"]
    support: Float[Tensor, "24 24"]

    def __init__(self, n_steps: int = 0, sharpness: float = 4.0) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.sharpness, self.penalty = nn.Parameter(torch.tensor(sharpness)), nn.Parameter(torch.tensor(-3.0))
        self.register_buffer("window", windowed(N_CELLS), persistent=False)
        self.register_buffer("wanted", bump(N_CELLS, N_CELLS, BUMP * SIZE_PX / STRIDE), persistent=False)
        side = SUPPORT * SIZE_PX / STRIDE
        self.register_buffer("support", support_of(N_CELLS, side, side), persistent=False)

    def forward(
        self, z: Float[Tensor, "batch channels 24 24"], x: Float[Tensor, "batch 3 channels 24 24"]
    ) -> Float[Tensor, "batch 3 13 13"]:
        """How likely each scale and shift is: rows are y, then x, from -6 to 6 cells."""
        seen = z * self.window
        penalty = self.penalty.exp() * seen.square().sum((1, 2, 3), keepdim=True)
        if self.n_steps:
            w = filter_about(seen, self.wanted, penalty, self.support, self.n_steps)
        else:
            w = filter_of(seen, self.wanted, penalty)
        answers = respond(w[:, None], x * self.window)
        middle = slice(N_CELLS // 2 - REACH, N_CELLS // 2 + REACH + 1)
        shifted: Tensor = fftshift(answers, dim=(-2, -1))
        return shifted[..., middle, middle] * self.sharpness.exp()


def place(response: Float[Tensor, "batch 3 13 13"]) -> Float[Tensor, "batch 3"]:
    """The mean place: x and y from the middle, and the log of the scale, both as shares of the exemplar's size.

    A shift on a scale is that many times as far. Gradient crosses it.
    """
    share = response.flatten(1).softmax(-1).view_as(response)
    scale = torch.tensor(SCALES, device=response.device)
    cells = torch.arange(-REACH, REACH + 1.0, device=response.device) * (STRIDE / SIZE_PX)
    across = (share.sum(2) * cells).sum(-1) @ scale
    down = (share.sum(3) * cells).sum(-1) @ scale
    return torch.stack([across, down, share.sum((2, 3)) @ scale.log()], 1)


class Direct(nn.Module):
    """Both crops in, the place out.

    Source: Held et al. 2016, GOTURN (arXiv 1604.01802). Differs: a small network of our own, not pretrained on
    photographs; the exemplar and the search picture at our sizes; it tells the middle and one scale, not four corners.
    """

    def __init__(self, n_channels: Sequence[int] = (12, 20, 28), n_hidden: int = 24) -> None:
        super().__init__()
        widths = [3, *n_channels]
        self.see = nn.Sequential(
            *[
                layer
                for before, after in pairwise(widths)
                for layer in (nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU())
            ],
            nn.AdaptiveAvgPool2d(6),
        )
        self.tell = nn.Sequential(nn.Linear(2 * 36 * widths[-1], n_hidden), nn.ReLU(), nn.Linear(n_hidden, 3))

    def forward(
        self, exemplar: UInt8[Tensor, "batch 3 96 96"], search: UInt8[Tensor, "batch 3 104 104"]
    ) -> Float[Tensor, "batch 3"]:
        """As `place` tells it."""
        seen = [self.see(picture.float() / 127.5 - 1).flatten(1) for picture in (exemplar, search)]
        told: Tensor = self.tell(torch.cat(seen, 1))
        return told * told.new_tensor([1.0, 1.0, 0.1])
