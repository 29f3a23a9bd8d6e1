"""Small networks that the tests of look share: branches behind one convolution, each with operations to look into."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from seamwise.look.graph import graph_of

N_PX = 12


class Branches(nn.Module):
    """Several ways from one convolution of 2 units, each a module or a function, averaged to one number a way."""

    def __init__(self, *ways, stem=None):
        super().__init__()
        self.stem = stem or nn.Conv2d(3, 2, 3, padding=1)
        self.parts = nn.ModuleList(way for way in ways if isinstance(way, nn.Module))
        self.ways = ways

    def forward(self, picture):
        x = self.stem(picture)
        return torch.stack([way(x).flatten(1).mean(1) for way in self.ways], 1)


class Residual(nn.Module):
    """x + a path beside it; with a stride, a 1x1 convolution on the short way, which leaves rows out."""

    def __init__(self, stride):
        super().__init__()
        self.long = nn.Sequential(nn.Conv2d(2, 2, 3, stride, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=2, dilation=2))
        self.short = nn.Conv2d(2, 2, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.long(x)
        y += self.short(x)
        return y.relu_()


class Squeezed(nn.Module):
    """Squeeze and excitation: every unit times a number made of the whole picture, by linear layers or 1x1 ones."""

    def __init__(self, flat):
        super().__init__()
        self.flat = flat
        self.down, self.up = (nn.Linear(2, 1), nn.Linear(1, 2)) if flat else (nn.Conv2d(2, 1, 1), nn.Conv2d(1, 2, 1))

    def forward(self, x):
        number = F.adaptive_avg_pool2d(x, 1)
        weight = self.up(F.relu(self.down(number.flatten(1) if self.flat else number))).sigmoid()
        return x * (weight[:, :, None, None] if self.flat else weight)


class Pooled(nn.Module):
    """A mean of the whole picture, made as large as the map again and put beside it (ASPP)."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        number = x.mean((2, 3), keepdim=True)
        spread = number.expand_as(x) if self.by == "expand" else F.interpolate(number, x.shape[2:], mode=self.by)
        return F.avg_pool2d(torch.cat([x, spread], 1), 3, 1, 1)


class Functional(nn.Module):
    """Convolutions without modules of their own, in-place operations, and a weight made from two."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.randn(4))
        self.deep = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 3, stride=2))

    def forward(self, x):
        x = F.conv2d(x, self.weight, self.bias, padding=1).relu_()
        x.mul_(2).add_(0.1)
        return F.max_pool2d(F.gelu(self.deep(x)), 3, 2, 1, ceil_mode=True)


class Twice(nn.Module):
    """The same module on both halves of a picture (Siamese), and once more on what it gave."""

    def __init__(self):
        super().__init__()
        self.see, self.join = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 2)

    def forward(self, x):
        left, right = x.chunk(2, -1)
        both = self.see(left).relu() - self.see(self.see(right)).relu()
        return self.join(both.mean((2, 3)))


class Digits(nn.Module):
    """Two small pictures an item, seen as twice as many items."""

    def __init__(self):
        super().__init__()
        self.see, self.name = nn.Conv2d(1, 3, 3, stride=2), nn.Linear(3 * 5 * 5, 4)

    def forward(self, pictures):
        each = F.relu(self.see(pictures.flatten(0, 1)[:, None]))
        return self.name(each.flatten(1)).unflatten(0, (-1, 2))


class Bytes(nn.Module):
    """A number, and a picture [height, width, 3], of bytes or not."""

    def __init__(self):
        super().__init__()
        self.see, self.weigh, self.name = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(1, 4), nn.Linear(4, 2)

    def forward(self, numbers, pictures):
        x = pictures.permute(0, 3, 1, 2).to(self.see.weight.dtype) / 255
        x = F.relu(self.see(x) + self.weigh(numbers[:, None])[:, :, None, None])
        return self.name(x.amax((2, 3)))


class Lines(nn.Module):
    """A network of one dimension: [batch, 2, n]."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv1d(2, 4, 5, 2, 2, groups=2), nn.BatchNorm1d(4)
        self.b, self.up = nn.Conv1d(4, 3, 3, padding="same", dilation=2), nn.ConvTranspose1d(3, 5, 3, 3)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.norm(self.a(x))), 3, 2, 1)
        x = F.avg_pool1d(F.pad(self.b(x), (2, 1), "reflect"), 2, 1)
        return F.adaptive_avg_pool1d(F.interpolate(self.up(x), scale_factor=2), 3)


def painted(x):
    """One row is written over."""
    x = x * 2
    x[:, :, 3] = 0.5
    return x


class Fixed(nn.Module):
    """Takes three pictures at once, no other number."""

    def __init__(self):
        super().__init__()
        self.see = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.see(x).view(3, -1).tanh()


def conv(*args, **kwargs):
    return nn.Conv2d(2, 2, *args, **kwargs)


def padded():
    modes = [conv(4, padding=(2, 1), padding_mode=m) for m in ("zeros", "replicate", "reflect", "circular")]
    whole = [conv((4, 3), padding="same", dilation=(2, 1)), conv((2, 5), padding="valid", dilation=2)]
    amounts = [lambda x: F.pad(x, (1, -2, -1, 3)), nn.ReflectionPad2d((2, 1, 0, 0)), nn.CircularPad2d((0, 2, 1, 0))]
    return Branches(*modes, *whole, *amounts, nn.ReplicationPad2d((3, 0, 0, 2)), nn.ZeroPad2d(1), conv(1, padding=1))


def convolved():
    plain = [conv(3, 2, 1), conv(2, 3), conv(3, 1, 2, 2, groups=2), conv(1), conv(1, 3), conv((5, 1), (1, 3), (2, 0))]
    up = [nn.ConvTranspose2d(2, 4, 3, 2, 1, 1, groups=2), nn.ConvTranspose2d(2, 3, (3, 2), (3, 2), 0, 0, 1, True, 2)]
    return Branches(*plain, *up, Residual(1), Residual(2), stem=nn.Conv2d(3, 2, (3, 4), (1, 2), (0, 1), (2, 1)))


def pooled():
    most = [nn.MaxPool2d(3, 2), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d((2, 3), dilation=2)]
    mean = [nn.AvgPool2d(3, 2, 1), nn.AvgPool2d((2, 4), (3, 1), ceil_mode=True), nn.AvgPool2d(2)]
    grid = [nn.AdaptiveAvgPool2d(5), nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((3, None)), nn.AdaptiveMaxPool2d(5)]
    over = [lambda x: x.mean((2, 3)), lambda x: x.amax(2, keepdim=True), lambda x: x.max(-1).values, lambda x: x.std(1)]
    both = [lambda x: x.flatten(2).mean(2), lambda x: torch.max(x, -x), lambda x: x.norm(dim=3)]
    return Branches(*most, *mean, *grid, *over, *both)


def resized():
    sizes = [{"scale_factor": 2}, {"scale_factor": (0.6, 1.7)}, {"size": (5, 23)}]
    smooth = [{"mode": m, "align_corners": a} for m in ("bilinear", "bicubic") for a in (False, True)]
    kinds = [{"mode": "nearest"}, {"mode": "nearest-exact"}, {"mode": "bicubic", "antialias": True}, *smooth]
    return Branches(*[lambda x, s=s, k=k: F.interpolate(x, **s, **k) for s in sizes for k in kinds])


def moved():
    cut = [lambda x: x[:, :, 1::3, ::2], lambda x: x[..., 2:-1, 1:], lambda x: x.select(2, 4), lambda x: x[:, :, -3]]
    turn = [lambda x: x.flip(2), lambda x: x.flip(1, -1), lambda x: x.transpose(2, 3), lambda x: x.mT[:, :, 3:]]
    split = [lambda x: x.chunk(2, 2)[1], lambda x: x.unbind(3)[2], lambda x: x.split([5, 7], 3)[1], lambda x: x[:, 0]]
    return Branches(*cut, *turn, *split, nn.PixelUnshuffle(2), lambda x: x.repeat(1, 2, 1, 1), nn.ChannelShuffle(2))


def joined():
    rows = [lambda x: torch.cat([x[:, :, :4], x], 2), lambda x: torch.cat([x, torch.ones_like(x[:, :, :2])], 2)]
    units = [lambda x: F.pixel_shuffle(torch.cat([x, -x], 1), 2), lambda x: torch.stack([x, x.relu()], 2)]
    ramp = torch.linspace(0, 1, N_PX).expand(1, 1, N_PX, N_PX)
    place = [lambda x: torch.cat([x, ramp.to(x).expand(x.shape[0], 1, N_PX, N_PX)], 1), lambda x: x.unsqueeze(1)]
    last = nn.Linear(2, 3)
    there = [lambda x: last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), lambda x: x.movedim(1, -1).flatten(1, 2)]
    ways = Branches(*rows, *units, *place, *there, lambda x: x[:, :1].squeeze(1), lambda x: x + x.flip(2))
    ways.last = last
    return ways


def unknown():
    back = [lambda x: x.roll(2, 2), lambda x: x.cumsum(3), lambda x: x.sort(2).values, lambda x: F.unfold(x, 3)]
    more = [lambda x: x[:, :, torch.tensor([11, 0])], lambda x: F.scaled_dot_product_attention(x, x, x)]
    return Branches(*back, *more, painted, lambda x: x @ x.mT)


def centred():
    norms = [
        nn.BatchNorm2d(2, track_running_stats=False),
        nn.GroupNorm(1, 2),
        nn.InstanceNorm2d(2),
        nn.LayerNorm([2, 12, 12]),
        nn.LayerNorm(12),
    ]
    mine = [lambda x: x - x.mean((2, 3), keepdim=True), lambda x: x - x.mean((1, 2, 3))[:, None, None, None]]
    more = [Squeezed(True), Squeezed(False), Pooled("expand"), Pooled("nearest"), Pooled("bilinear")]
    return Branches(*norms, *mine, *more, lambda x: x.softmax(2))


def local():
    """Normalisations and the like that stay where they are; their ways run in place."""
    ways = [
        nn.BatchNorm2d(2),
        nn.InstanceNorm2d(2, track_running_stats=True),
        nn.LocalResponseNorm(3),
        lambda x: F.normalize(x, dim=1),
        nn.Dropout2d(),
        nn.PReLU(),
    ]
    channels = nn.LayerNorm(2)
    net = Branches(*ways, lambda x: channels(x.movedim(1, -1)).movedim(-1, 1), lambda x: x.log_softmax(1).exp_())
    net.channels = channels
    return net


def a_picture(*shape):
    return torch.rand(*(shape or (2, 3, N_PX, N_PX)), dtype=torch.float64)


NETS = {
    **{
        f.__name__: (f, a_picture) for f in (padded, convolved, pooled, resized, moved, joined, unknown, centred, local)
    },
    "functional": (Functional, a_picture),
    "twice": (Twice, a_picture),
    "digits": (Digits, lambda: a_picture(3, 2, N_PX, N_PX)),
    "lines": (Lines, lambda: a_picture(3, 2, 24)),
    "bytes": (Bytes, lambda: (a_picture(2), a_picture(2, N_PX, N_PX + 2, 3))),
}


@cache
def opened(name):
    """A network of NETS, its inputs, its graph; in double precision, where a convolution reads its window alone."""
    torch.manual_seed(0)
    make, draw = NETS[name]
    module = make().double().eval()
    drawn = draw()
    inputs = drawn if isinstance(drawn, tuple) else (drawn,)
    return module, inputs, graph_of(module, inputs)
