"""The networks of the age chain: locate the joints, judge the signs of maturity, tell the age; and the direct one.

All see pictures of any square size, and lengths in mm from its middle. In training each varies what it sees (place,
size, turn, tone), and answers for the picture as it was.
"""

import math

import torch
from torch import nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate

from seamwise.shapes import Float, Shaped, Tensor, UInt8
from seamwise.systems.age.shape import N_LANDMARKS, moved, similarity

SMALL_PX, MIDDLE_PX = 128, 256  # a picture's side as it is looked at, and before it is turned
N_JOINTS, JOINT_PX, WRIST_PX = 15, 44, 88  # patches as they are cut
JOINT_SEEN_PX, WRIST_SEEN_PX = 40, 80  # and as they are seen, without the margin for variation
N_PLATES, N_CARPALS, N_BONES = 21, 8, 19
LONG_MM = 40.0  # about the mean length of a bone


class Maps(nn.Module):
    """Maps of a picture, a quarter as fine as it, or half; what is far away is seen more coarsely."""

    def __init__(self, n_maps: int, fine: bool = False, n_channels: tuple[int, ...] = (12, 24, 40, 56, 72)) -> None:
        super().__init__()
        a, b, c, d, e = n_channels
        self.at_half = _convolved(2, a, 2, 5)
        self.at_quarter = _convolved(a, b, 2)
        self.at_eighth = nn.Sequential(_convolved(b, c, 2), _convolved(c, c))
        self.deepest = nn.Sequential(_convolved(c, d, 2), _convolved(d, e), _convolved(e, d))
        self.up_eighth = _convolved(d + c, c)
        self.up_quarter = _convolved(c + b, c)
        self.up_half = _convolved(c + a, c) if fine else None
        self.heat = nn.Conv2d(c, n_maps, 1)
        channels_last(self)

    def forward(self, picture: Float[Tensor, "batch 1 px px"]) -> Float[Tensor, "batch maps side side"]:
        half = self.at_half(locally_even(picture))
        quarter = self.at_quarter(half)
        eighth = self.at_eighth(quarter)
        up = self.up_eighth(torch.cat([_sized(self.deepest(eighth), eighth), eighth], 1))
        up = self.up_quarter(torch.cat([_sized(up, quarter), quarter], 1))
        if self.up_half is not None:
            up = self.up_half(torch.cat([_sized(up, half), half], 1))
        maps: Tensor = self.heat(up)
        return maps


class Locate(nn.Module):
    """Where the landmarks are: a heat map each, and its mean place (integral regression).

    It looks twice: at the picture, then at the hand, turned upright and filling the view.

    Source: Sun et al. 2018, Integral Human Pose Regression. Differs: a small network, the second look.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps = Maps(N_LANDMARKS)

    def forward(
        self, picture: UInt8[Tensor, "batch 1 px px"], mm_per_px: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 25 2"]:
        return self.seen(picture) * (mm_per_px * picture.shape[-1] / 2)[:, None, None]

    def seen(self, picture: UInt8[Tensor, "batch 1 px px"]) -> Float[Tensor, "batch 25 2"]:
        """Places x, y from -1 to 1, from the picture's left and upper border to the other."""
        middle = pooled(picture, MIDDLE_PX)
        if self.training:
            view = varied_view(len(middle), middle)
            return moved(expected(self.maps(varied_tone(warped(middle, view, SMALL_PX)))), view)
        with torch.no_grad():
            view = similarity(expected(self.maps(pooled(middle, SMALL_PX))))
        return moved(expected(self.maps(warped(middle, view, SMALL_PX))), view)


class Segment(nn.Module):
    """Which bone is where: shares of the rest and of the nineteen bones, at 64 × 64 places."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Maps(1 + N_BONES, fine=True)

    def forward(self, picture: UInt8[Tensor, "batch 1 px px"]) -> Float[Tensor, "batch 64 64 20"]:
        share: Tensor = self.maps(pooled(picture, SMALL_PX)).softmax(1)
        return share.permute(0, 2, 3, 1)


class Judge(nn.Module):
    """Signs of maturity from the joints and the wrist: plates and carpals, each 0 to 1 as in `growth.Maturity`.

    One small network looks at all joints, another at the wrist; what each joint means is learnt joint by joint.
    """

    def __init__(self, n_channels: tuple[int, int, int] = (16, 32, 48), n_a_joint: int = 8) -> None:
        super().__init__()
        a, b, c = n_channels
        self.joint = nn.Sequential(
            _convolved(1, a, 2),
            _convolved(a, b, 2),
            _convolved(b, c),
            nn.AvgPool2d(2),
            _convolved(c, c),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
        self.a_joint = nn.Parameter(torch.randn(N_JOINTS, 25 * c, n_a_joint) / math.sqrt(25 * c))
        self.wrist = nn.Sequential(
            _convolved(1, a, 2),
            _convolved(a, b, 2),
            _convolved(b, c, 2),
            _convolved(c, c),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(25 * c, 40),
        )
        self.signs = nn.Linear(N_JOINTS * n_a_joint + 40, N_PLATES + N_CARPALS)
        channels_last(self)

    def forward(
        self, joints: Float[Tensor, "batch 15 44 44"], wrist: Float[Tensor, "batch 88 88"]
    ) -> tuple[Float[Tensor, "batch 21"], Float[Tensor, "batch 8"]]:
        signs = self.signs(self.features(joints, wrist)).sigmoid()
        return signs[:, :N_PLATES], signs[:, N_PLATES:]

    def features(
        self, joints: Float[Tensor, "batch 15 44 44"], wrist: Float[Tensor, "batch 88 88"]
    ) -> Float[Tensor, "batch features"]:
        """What is seen of each joint, then of the wrist."""
        n = len(joints)
        each = self._within(joints.reshape(n * N_JOINTS, 1, JOINT_PX, JOINT_PX), JOINT_SEEN_PX)
        seen = self.joint(each).view(n, N_JOINTS, -1)
        by_joint = torch.einsum("njf,jfk->njk", seen, self.a_joint).flatten(1)
        whole: Tensor = self.wrist(self._within(wrist[:, None], WRIST_SEEN_PX))
        return torch.cat([by_joint, whole], 1).relu()

    def _within(self, patch: Float[Tensor, "n 1 px px"], side_px: int) -> Float[Tensor, "n 1 side side"]:
        margin = (patch.shape[-1] - side_px) // 2
        if self.training:
            view = varied_view(len(patch), patch, turn=0.12, zoom=0.08, shift=0.06, around=0, mirrored=False)
            patch = warped(varied_tone(patch), view * (side_px / patch.shape[-1]), side_px)
        else:
            patch = patch[..., margin : margin + side_px, margin : margin + side_px]
        mean = patch.mean((2, 3), keepdim=True)
        return (patch - mean) / (patch.std((2, 3), keepdim=True) + 0.02)


class TellAge(nn.Module):
    """A small network from lengths, signs and sex to the age in months."""

    def __init__(self, n_signs: int, n_hidden: int = 64) -> None:
        super().__init__()
        self.told = nn.Sequential(
            nn.Linear(N_BONES + n_signs + 1, n_hidden),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, 1),
        )

    def forward(
        self, lengths: Float[Tensor, "batch 19"], sex: Shaped[Tensor, " batch"], *signs: Float[Tensor, "batch _"]
    ) -> Float[Tensor, " batch"]:
        known = [_log_lengths(lengths), *(2 * sign - 1 for sign in signs), _of_sex(sex)]
        return in_months(self.told(torch.cat(known, 1))[:, 0])


class Direct(nn.Module):
    """One network, picture, sex and scale to the age in months."""

    def __init__(self, n_channels: tuple[int, ...] = (16, 32, 64, 96), n_hidden: int = 96) -> None:
        super().__init__()
        a, b, c, d = n_channels
        self.features = nn.Sequential(
            _convolved(2, a, 2, 5),
            _convolved(a, b, 2),
            _convolved(b, b),
            _convolved(b, c, 2),
            _convolved(c, c),
            _convolved(c, d, 2),
            _convolved(d, d),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
        )
        self.told = nn.Sequential(nn.Linear(16 * d + 2, n_hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(n_hidden, 1))
        channels_last(self)

    def forward(
        self,
        picture: UInt8[Tensor, "batch 1 px px"],
        sex: Shaped[Tensor, " batch"],
        mm_per_px: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        middle = pooled(picture, MIDDLE_PX)
        side_mm = (mm_per_px * picture.shape[-1]).float()
        if self.training:
            view = varied_view(len(middle), middle, around=0)
            middle, side_mm = varied_tone(warped(middle, view, SMALL_PX)), side_mm * view[:, :, :2].det().abs().sqrt()
        scale = (side_mm / 200).log()[:, None]
        seen = self.features(locally_even(pooled(middle, SMALL_PX)))
        return in_months(self.told(torch.cat([seen, scale, _of_sex(sex)], 1))[:, 0])


def expected(heat: Float[Tensor, "batch maps n n"]) -> Float[Tensor, "batch maps 2"]:
    """The mean place of each heat map, x and y from -1 to 1."""
    share = heat.flatten(2).softmax(-1).reshape(heat.shape)
    at = (torch.arange(heat.shape[-1], device=heat.device) + 0.5) / heat.shape[-1] * 2 - 1
    return torch.stack([(share.sum(2) * at).sum(-1), (share.sum(3) * at).sum(-1)], -1)


def in_months(told: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """A network's number about 0 as an age about ten years."""
    return 120 + 60 * told


def pooled(picture: Shaped[Tensor, "batch 1 px px"], side_px: int) -> Float[Tensor, "batch 1 side side"]:
    """A picture of 0 to 1 (bytes: 0 to 255) with another side."""
    light, px = picture.float() / 255 if picture.dtype == torch.uint8 else picture, picture.shape[-1]
    if px % side_px == 0:
        return avg_pool2d(light, px // side_px) if px > side_px else light
    return interpolate(light, size=(side_px, side_px), mode="bilinear", align_corners=False, antialias=px > side_px)


def locally_even(picture: Float[Tensor, "batch 1 px px"]) -> Float[Tensor, "batch 2 px px"]:
    """Light and contrast evened out about every place, and over the whole picture."""
    coarse = avg_pool2d(picture, 8), avg_pool2d(picture.square(), 8)
    mean, square = (avg_pool2d(c, 5, 1, 2, count_include_pad=False) for c in coarse)
    spread = (square - mean.square()).clamp_min(1e-6).sqrt()
    near = (picture - _sized(mean, picture)) / (_sized(spread, picture) + 0.02)
    middle = picture.mean((2, 3), keepdim=True)
    return torch.cat([near, (picture - middle) / (picture.std((2, 3), keepdim=True) + 0.02)], 1)


def warped(
    picture: Float[Tensor, "batch 1 px px"], view: Float[Tensor, "batch 2 3"], side_px: int
) -> Float[Tensor, "batch 1 side side"]:
    """What is seen through a view, which leads from places seen to places in the picture, both -1 to 1."""
    grid = affine_grid(view, [len(picture), 1, side_px, side_px], align_corners=False)
    return grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def varied_view(
    n: int,
    like: Tensor,
    *,
    turn: float = 0.6,
    zoom: float = 0.25,
    shift: float = 0.15,
    around: float = 0.1,
    mirrored: bool = True,
) -> Float[Tensor, "n 2 3"]:
    """Random views: turned by up to `turn` radians (a share of `around` by any angle), zoomed, shifted, mirrored."""

    def anywhere(*shape: int) -> Tensor:
        return torch.rand(*shape, device=like.device) * 2 - 1

    angle = torch.where(torch.rand(n, device=like.device) < around, anywhere(n) * math.pi, anywhere(n) * turn)
    size, side = (anywhere(n) * zoom).exp(), torch.where(anywhere(n) < 0, 1.0, -1.0 if mirrored else 1.0)
    cos, sin, at = size * angle.cos(), size * angle.sin(), anywhere(n, 2) * shift
    return torch.stack(
        [torch.stack([cos * side, -sin, at[:, 0]], 1), torch.stack([sin * side, cos, at[:, 1]], 1)],
        1,
    )


def varied_tone(picture: Float[Tensor, "batch 1 px px"]) -> Float[Tensor, "batch 1 px px"]:
    """Another exposure: gamma, contrast, brightness and a little noise."""

    def one(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(picture), 1, 1, 1, device=picture.device)

    toned = picture.clamp_min(1e-4) ** one(-0.5, 0.5).exp() * one(0.4, 1.1) + one(0, 0.2)
    return (toned + torch.randn_like(picture) * one(0, 0.02)).clamp(0, 1)


def channels_last(module: nn.Module) -> None:
    """Lay the weights out so that a convolution of few channels is twice as fast."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it


def _log_lengths(lengths: Float[Tensor, "batch 19"]) -> Float[Tensor, "batch 19"]:
    """The mean of the log lengths, and each but the first about it."""
    log = (lengths.clamp_min(0.5) / LONG_MM).log()
    mean = log.mean(1, keepdim=True)
    return torch.cat([3 * mean, 5 * (log - mean)[:, 1:]], 1)


def _of_sex(sex: Shaped[Tensor, " batch"]) -> Float[Tensor, "batch 1"]:
    return (2 * sex.float() - 1)[:, None]


def _convolved(n_in: int, n_out: int, stride: int = 1, side: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, side, stride, side // 2), nn.GroupNorm(4, n_out), nn.ReLU())


def _sized(maps: Float[Tensor, "batch n a a"], like: Float[Tensor, "batch m b b"]) -> Float[Tensor, "batch n b b"]:
    return interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)
