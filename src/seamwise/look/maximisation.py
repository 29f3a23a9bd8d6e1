"""Activation maximisation: pictures that excite a unit most, made from noise by following its gradient upwards.

People tell from natural pictures better what a unit answers to (Borowski et al. 2020): look at its exemplars first.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from torch.fft import fftfreq, irfft2, rfft2, rfftfreq
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

from seamwise.errors import ModelError
from seamwise.look.attribution import floats, most_at_once, target
from seamwise.look.cones import MAX_NUMBERS, cone_of
from seamwise.look.graph import Graph
from seamwise.look.records import Layer
from seamwise.shapes import Float, Tensor

N_STEPS, STEP = 128, 0.03
GREY, NOISE = 0.5, 0.05  # where pictures start


@final
@dataclass(frozen=True)
class Regulariser:
    """One way to keep pictures natural; each function may be left out. Pixels are 0 to 1 in all of them.

    view:  what the network is shown in place of the pictures, drawn anew at each step
    pull:  what becomes of their gradient
    loss:  what should be small, a number for each picture; weight: the length of its pull beside that of the units
    after: what becomes of the pictures after a step, by their gradient and the number of the step
    """

    view: Callable[[Tensor, torch.Generator], Tensor] | None = None
    pull: Callable[[Tensor], Tensor] | None = None
    loss: Callable[[Tensor], Tensor] | None = None
    weight: float = 0.0
    after: Callable[[Tensor, Tensor, int], Tensor] | None = None


@final
@dataclass(frozen=True)
class Maximised:
    """Pictures made for units, as the network takes them, and the units' values before their activation function.

    start: of the noise they were made from
    """

    pictures: Float[Tensor, "units channels height width"]
    values: Float[Tensor, " units"]
    start: Float[Tensor, " units"]


def moved(px: float = 2, scale: float = 0.05, degrees: float = 5) -> Regulariser:
    """The network sees the picture shifted, scaled and turned a little (Mordvintsev et al. 2015, Olah et al. 2017)."""

    def view(pictures: Tensor, random: torch.Generator) -> Tensor:
        height, width = pictures.shape[-2:]
        draw = (torch.rand(4, len(pictures), generator=random) * 2 - 1).to(pictures)
        turn, grow = draw[0] * math.radians(degrees), 1 + draw[1] * scale
        cos, sin = turn.cos() * grow, turn.sin() * grow
        down = torch.stack([sin * width / height, cos, draw[2] * 2 * px / height], 1)
        across = torch.stack([cos, -sin * height / width, draw[3] * 2 * px / width], 1)
        grid = affine_grid(torch.stack([across, down], 1), list(pictures.shape), align_corners=False)
        return grid_sample(pictures, grid, padding_mode="border", align_corners=False)

    return Regulariser(view=view)


def decorrelated() -> Regulariser:
    """Steps in the frequencies of natural pictures, whose amplitude falls as 1/f (Olah et al. 2017)."""
    return Regulariser(pull=lambda gradient: _filtered(gradient))


def total_variation(weight: float = 0.2) -> Regulariser:
    """Neighbouring pixels should be alike (Mahendran & Vedaldi 2015)."""

    def loss(pictures: Tensor) -> Tensor:
        across, down = pictures.diff(dim=-1).abs(), pictures.diff(dim=-2).abs()
        return across.sum((1, 2, 3)) + down.sum((1, 2, 3))

    return Regulariser(loss=loss, weight=weight)


def decay(share: float = 0.01) -> Regulariser:
    """Every step takes the pictures a little back to grey (L2 decay, Yosinski et al. 2015)."""
    return Regulariser(after=lambda pictures, _, step: GREY + (pictures - GREY) * (1 - share))


def blur(sigma_px: float = 0.5, every: int = 4) -> Regulariser:
    """Every few steps the pictures are blurred (Yosinski et al. 2015)."""
    reach = max(1, round(3 * sigma_px))
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma_px**2))
    kernel = (line[:, None] * line / line.sum() ** 2)[None, None]

    def after(pictures: Tensor, _: Tensor, step: int) -> Tensor:
        if (step + 1) % every:
            return pictures
        flat = pad(pictures.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
        return conv2d(flat, kernel.to(pictures)).view_as(pictures)

    return Regulariser(after=after)


def small_norm(share: float = 0.3) -> Regulariser:
    """The share of pixels that differ least from grey becomes grey (Yosinski et al. 2015)."""
    return Regulariser(after=lambda pictures, _, step: _greyed(pictures, (pictures - GREY).norm(dim=1), share))


def small_contribution(share: float = 0.3) -> Regulariser:
    """The share of pixels that adds least to the value becomes grey (Yosinski et al. 2015)."""

    def after(pictures: Tensor, gradient: Tensor, step: int) -> Tensor:
        return _greyed(pictures, ((pictures - GREY) * gradient).sum(1).abs(), share)

    return Regulariser(after=after)


OLAH = (moved(), decorrelated(), total_variation())
YOSINSKI = (decay(), blur(), small_norm(), small_contribution())


def maximise(
    graph: Graph,
    layer: Layer,
    units: Sequence[int],
    *,
    pixels: tuple[float, float] = (0.0, 1.0),
    regularisers: Sequence[Regulariser] = OLAH,
    n_steps: int = N_STEPS,
    step: float = STEP,
    seed: int = 0,
    inputs: Sequence[Tensor] = (),
    told: Callable[[int, int], None] | None = None,
) -> Maximised:
    """A picture for each of some units: of its receptive field in the map's middle; whole where that cannot be cut out.

    pixels: the least and largest the network takes. step: how far pixels go in a step, on the mean, of that range.
    inputs: those of one item, for a network that takes more than the picture. told: steps done, of how many.
    Raises ModelError where the layer has no such unit.
    Source: Yosinski et al. 2015, Understanding neural networks through deep visualization; Olah et al. 2017, Feature
    visualization. Differs: steps of equal length; the unit is read before its activation function; where a ReLU on the
    way lets no gradient through for a picture, the gradient that would wake its units passes (as in Lucid).
    """
    low, high = pixels
    value, shape, most = _valued(graph, layer, inputs)
    precision = floats(graph, torch.zeros(())).dtype
    random, done, made = torch.Generator().manual_seed(seed), 0, list[tuple[Tensor, Tensor, Tensor]]()
    for k in range(0, len(units), most):
        some = units[k : k + most]
        of = partial(_scaled, partial(value, some), pixels)
        pictures = start = _noise((len(some), *shape), random).to(precision)
        for at in range(n_steps):
            pictures = _stepped(of, pictures, regularisers, step, at, random)
            done += len(some)
            if told:
                told(done, len(units) * n_steps)
        with torch.no_grad():
            made.append((low + pictures * (high - low), of(pictures), of(start)))
    found, values, before = (torch.cat(parts) for parts in zip(*made, strict=True))
    return Maximised(found, values, before)


Value = Callable[[Tensor], Tensor]
Of = Callable[[Sequence[int], Tensor], Tensor]
"""(units, a picture for each, as the network takes them) -> their values."""


def _scaled(value: Value, pixels: tuple[float, float], pictures: Tensor) -> Tensor:
    return value(pixels[0] + pictures * (pixels[1] - pixels[0]))


def _stepped(
    value: Value, pictures: Tensor, regularisers: Sequence[Regulariser], step: float, at: int, random: torch.Generator
) -> Tensor:
    with torch.enable_grad():
        given = shown = pictures.detach().requires_grad_()
        for one in regularisers:
            shown = one.view(shown, random) if one.view else shown
        (gradient,) = torch.autograd.grad(value(shown).sum(), given)
        losses = [(torch.autograd.grad(one.loss(given).sum(), given)[0], one) for one in regularisers if one.loss]
    for one in regularisers:
        gradient = one.pull(gradient) if one.pull else gradient
    gradient = _even(gradient) - sum(one.weight * _even(loss) for loss, one in losses)
    pictures = pictures + step * gradient
    for one in regularisers:
        pictures = one.after(pictures, gradient, at) if one.after else pictures
    return pictures.clamp(0, 1)


def _even(gradient: Tensor) -> Tensor:
    """Of length 1 for each picture, on the mean of its pixels; nought stays nought."""
    length = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
    return gradient / length.clamp_min(torch.finfo(length.dtype).tiny)


class _Waking(torch.autograd.Function):
    """ReLU; on its way back, where nothing would pass for a picture: the gradient that makes silent units larger."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        found = value.relu()
        ctx.save_for_backward(found)
        return found

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> Tensor:
        (found,) = ctx.saved_tensors
        passed = gradient[0] * (found > 0)
        silent = ~passed.flatten(1).any(1).view(-1, *[1] * (passed.ndim - 1))
        return torch.where(silent, gradient[0].relu(), passed)


WAKING = {"relu": _Waking.apply}


def _valued(graph: Graph, layer: Layer, inputs: Sequence[Tensor]) -> tuple[Of, tuple[int, ...], int]:
    """The units' values of pictures, the shape of such a picture, and how many may be run at once."""
    read, middle = _before_activation(graph, layer), (layer.height // 2, layer.width // 2)
    size_px = graph.shape[graph.dims[0]], graph.shape[graph.dims[1]]
    n_channels, cone = math.prod(graph.shape) // math.prod(size_px), cone_of(graph, read)
    if cone is None:
        _check_inputs(graph, inputs)
        return partial(_of_whole, graph, read, inputs), (n_channels, *size_px), most_at_once(graph, read.node)
    down, across = cone.along(0, middle[0]), cone.along(1, middle[1])
    most = max(1, MAX_NUMBERS // cone.n_numbers(*middle))
    return (
        partial(_of_cone, read, partial(cone.run, down=down, across=across, swap=WAKING)),
        (n_channels, down.n_px, across.n_px),
        most,
    )


def _of_cone(layer: Layer, run: Callable[[Tensor], Tensor], units: Sequence[int], pictures: Tensor) -> Tensor:
    found: Tensor = run(pictures)[torch.arange(len(units)), target(layer, units).unit]
    return found


def _of_whole(graph: Graph, layer: Layer, inputs: Sequence[Tensor], units: Sequence[int], pictures: Tensor) -> Tensor:
    """By whole pictures, beside the other inputs of one item."""
    last = graph.dims == (-3, -2)
    shape = (*graph.shape[:-3], graph.shape[-1], *graph.shape[-3:-1]) if last else graph.shape
    whole = pictures.reshape(len(pictures), *shape)
    given = [t[:1].expand(len(pictures), *t.shape[1:]) for t in inputs] or [whole]
    given[graph.picture] = whole.movedim(-3, -1) if last else whole
    return target(layer, units).value(graph.values(given, {layer.node}, WAKING)[layer.node])


def _check_inputs(graph: Graph, inputs: Sequence[Tensor]) -> None:
    if len(inputs) != len(graph.inputs) and (inputs or len(graph.inputs) > 1):
        raise ModelError(
            f"the network takes {len(graph.inputs)} inputs",
            given=str(len(inputs)),
            remedy="give those of one item: inputs=[...]",
        )


def _before_activation(graph: Graph, layer: Layer) -> Layer:
    if not layer.activation:
        return layer
    node = next(at for at in graph.nodes if at.name == layer.node)
    return replace(layer, node=str(node.args[0]))


def _noise(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """About grey, with the spectrum of natural pictures."""
    noise = _filtered(torch.randn(shape, generator=random))
    return (GREY + NOISE * noise / noise.std((1, 2, 3), correction=0, keepdim=True).clamp_min(1e-6)).clamp(0, 1)


def _filtered(pictures: Tensor) -> Tensor:
    """Every frequency f times 1/f; the lowest counts as one wave over the picture."""
    height, width = pictures.shape[-2:]
    frequency = (fftfreq(height)[:, None] ** 2 + rfftfreq(width) ** 2).sqrt().clamp_min(1 / max(height, width))
    found: Tensor = irfft2(rfft2(pictures) / frequency.to(pictures), s=(height, width))
    return found


def _greyed(pictures: Tensor, size: Tensor, share: float) -> Tensor:
    least = size.flatten(1).quantile(share, dim=1)[:, None, None]
    return torch.where((size < least)[:, None], GREY, pictures)
