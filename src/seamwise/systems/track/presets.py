"""The published trackers: SiamFC, CFNet and DCFNet, their networks and their numbers.

| preset       | features of the searched crop | joined by                     | trained to                      |
|--------------|-------------------------------|-------------------------------|---------------------------------|
| siamfc       | 256 × 22 × 22, stride 8       | cross-correlation             | tell the middle from all else   |
| cfnet-conv1  | 32 × 62 × 62, stride 4        | a filter, cut to its middle   | the same                        |
| cfnet-conv2  | 32 × 57 × 57, stride 4        | the same                      | the same                        |
| cfnet-conv5  | 32 × 49 × 49, stride 4        | the same                      | the same                        |
| dcfnet       | 32 × 125 × 125, stride 1      | a filter, going round         | answer with a Gaussian          |

Sources: Bertinetto et al. 2016, Fully-Convolutional Siamese Networks (arXiv 1606.09549), code bertinetto/siamese-fc;
Valmadre et al. 2017, End-to-end representation learning for Correlation Filter based tracking (arXiv 1704.06036), code
bertinetto/cfnet; Wang et al. 2017, DCFNet (arXiv 1704.04057), code foolwood/DCFNet and DCFNet_pytorch. Where code and
paper disagree, the code. Differs: in training, as `recipe` says; and

- CFNet's crops are of 4 sizes, as those it was trained on; its released tracker cuts crops of 2 for the same networks;
- no numbers for tracking with CFNet's five layers were released: those of two layers stand in;
- DCFNet's crops are squares of 3 sizes, not 3 widths by 3 heights made square, and beyond the frame is its mean colour,
  not black; its step within a cell of 1 px is found by a parabola.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, final

from torch import nn

from seamwise.systems.track.matcher import Following

Join = Literal["plain", "cut filter", "round filter"]


def _block(n_in: int, n_out: int, side: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution without padding, normalisation over the batch, ReLU."""
    return [nn.Conv2d(n_in, n_out, side, stride, groups=groups), nn.BatchNorm2d(n_out, momentum=0.05), nn.ReLU()]


def _alexnet(second_pool: int, n_out: int) -> nn.Sequential:
    """Five layers, the last without normalisation or ReLU; second_pool: the stride of the second pooling."""
    return nn.Sequential(
        *_block(3, 96, 11, 2),
        nn.MaxPool2d(3, 2),
        *_block(96, 256, 5, groups=2),
        nn.MaxPool2d(3, second_pool),
        *_block(256, 384, 3),
        *_block(384, 384, 3, groups=2),
        nn.Conv2d(384, n_out, 3, groups=2),
    )


def siamfc_alexnet() -> nn.Sequential:
    """SiamFC's: 2.3 M parameters, stride 8; 127 px become 6 × 6, 255 px 22 × 22."""
    return _alexnet(2, 256)


def cfnet_conv1() -> nn.Sequential:
    """CFNet's of one layer: 12 k parameters, stride 4; 255 px become 62 × 62."""
    return nn.Sequential(*_block(3, 32, 11, 4))


def cfnet_conv2() -> nn.Sequential:
    """CFNet's of two layers: 74 k parameters, stride 4; 255 px become 57 × 57."""
    return nn.Sequential(*_block(3, 96, 11, 2), nn.MaxPool2d(3, 2), *_block(96, 32, 5, groups=2))


def cfnet_conv5() -> nn.Sequential:
    """CFNet's of five layers: 1.9 M parameters, stride 4; 255 px become 49 × 49."""
    return _alexnet(1, 32)


def dcfnet() -> nn.Sequential:
    """DCFNet's: 10 k parameters, padded; 125 px become 125 × 125."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1),
    )


@final
@dataclass(frozen=True)
class Training:
    """How a preset was trained, by gradient descent with momentum .9.

    search_px:     side of the searched crop, cut out of a tracker's own in the middle
    n_pairs:       in an epoch
    rates:         of learning, the first and the last; it falls geometrically
    frame_gap:     at most so far apart are the frames of a pair
    shift_px:      each crop is moved by at most so much
    stretch:       each crop is made larger or smaller by at most such a share
    colour:        each crop is tinted by what is normal with such a share of the standard deviation of all pixels
    as_matconvnet: biases learn twice as fast, and they and normalisations do not decay, as in that library's examples
    """

    search_px: int
    n_epochs: int
    n_pairs: int
    batch: int = 8
    rates: tuple[float, float] = (1e-2, 1e-5)
    decay: float = 5e-4
    frame_gap: int = 100
    shift_px: int = 0
    stretch: float = 0.0
    colour: float = 0.1
    as_matconvnet: bool = True

    @property
    def n_steps(self) -> int:
        """As published."""
        return self.n_epochs * self.n_pairs // self.batch


@final
@dataclass(frozen=True)
class Preset:
    """A published tracker. penalty: λ as its code has it; sigma: of the answer wanted of a filter, in cells."""

    name: str
    source: str
    backbone: Callable[[], nn.Sequential]
    join: Join
    cell_px: int
    following: Following
    training: Training
    penalty: float = 0.0
    sigma: float = 0.0


_SURE = (10.0, 0.0, 0.0)  # none of them says that an object is lost
_AREA = 255 / 127 * 2  # in sizes of the object: the exemplar's 127 px are two
_SIAMFC = Following(
    px=255,
    area=_AREA,
    exemplar_px=127,
    step=1.0375,
    scale_penalty=0.9745,
    scale_rate=0.59,
    window=0.176,
    upsample=16,
    repeat_edge=False,
    certainty=_SURE,
)
_CFNET = replace(_SIAMFC, exemplar_px=255, upsample=8)
_CFNET_1 = replace(_CFNET, step=1.0355, scale_penalty=0.9825, scale_rate=0.7, window=0.2375, rate=0.0058)
_CFNET_2 = replace(_CFNET, step=1.0575, scale_penalty=0.9780, scale_rate=0.52, window=0.2625, rate=0.005)
_DCFNET = Following(
    px=125,
    area=3,
    exemplar_px=125,
    step=1.0275,
    scale_penalty=0.9925,
    scale_rate=1,
    repeat_edge=False,
    rate=0.01,
    certainty=_SURE,
)


def _cfnet(name: str, backbone: Callable[[], nn.Sequential], following: Following) -> Preset:
    source = "Valmadre et al. 2017; bertinetto/cfnet: experiment.m, run_cfnet*_evaluation.m"
    # 1e-2 to 1e-4 in 50 epochs, and on as steeply to the hundredth; 25 pairs of each of 3,862 videos
    training = Training(search_px=255, n_epochs=100, n_pairs=25 * 3862, rates=(1e-2, 10 ** (-2 - 2 * 99 / 49)))
    return Preset(name, source, backbone, "cut filter", 4, following, training, penalty=10, sigma=8 / 4)


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="siamfc",
            source="Bertinetto et al. 2016; bertinetto/siamese-fc: tracker.m, experiment.m, vid_create_net.m",
            backbone=siamfc_alexnet,
            join="plain",
            cell_px=8,
            following=_SIAMFC,
            training=Training(search_px=239, n_epochs=50, n_pairs=53_200, shift_px=4, stretch=0.05),
        ),
        _cfnet("cfnet-conv1", cfnet_conv1, _CFNET_1),
        _cfnet("cfnet-conv2", cfnet_conv2, _CFNET_2),
        _cfnet("cfnet-conv5", cfnet_conv5, _CFNET_2),
        Preset(
            name="dcfnet",
            source="Wang et al. 2017; foolwood/DCFNet: train_DCFNet.m; foolwood/DCFNet_pytorch: DCFNet.py, net.py",
            backbone=dcfnet,
            join="round filter",
            cell_px=1,
            following=_DCFNET,
            training=Training(
                search_px=125, n_epochs=50, n_pairs=546_560, batch=32, frame_gap=10, colour=0, as_matconvnet=False
            ),
            penalty=1e-4,
            sigma=0.1 * 125 / 3,
        ),
    )
}
