"""Correlation as a layer: plain, and as a filter in closed form that gradient crosses.

A filter w answers to features x with the map r[u] = sum over channels and places p of w[p] x[p + u], shifts u going
round at the borders; r is at its height where the object is, and r[0] is no shift. In the Fourier domain that is one
product a frequency, so the filter that answers to features z with a wanted map y, least squares with a penalty on w, is
one division a frequency.

Sources: Bertinetto et al. 2016, Fully-Convolutional Siamese Networks (arXiv 1606.09549): `cross_correlation`; Henriques
et al. 2015, KCF (arXiv 1404.7584), Valmadre et al. 2017, CFNet (arXiv 1704.06036) and Wang et al. 2017, DCFNet (arXiv
1704.04057): `filter_of`. CFNet solves for one number a shift and spreads it over the channels (the dual), DCFNet
divides by channel; the two are the same filter. Differs: CFNet's penalty is λ n for n places, ours and DCFNet's is not
times n.
"""

import torch
from torch.nn.functional import conv2d

from seamwise.shapes import Complex, Float, Tensor

TINY = 1e-20


def spectrum(x: Float[Tensor, "*batch height width"]) -> Complex[Tensor, "*batch height half"]:
    """The Fourier transform of real maps, unitary: a penalty on a filter's spectrum is one on the filter."""
    transformed: Tensor = torch.fft.rfft2(x, norm="ortho")
    return transformed


def from_spectrum(x: Complex[Tensor, "*batch height half"], width: int) -> Float[Tensor, "*batch height width"]:
    """The maps of a spectrum."""
    maps: Tensor = torch.fft.irfft2(x, s=(x.shape[-2], width), norm="ortho")
    return maps


def cross_correlation(
    z: Float[Tensor, "batch channels small_h small_w"], x: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch out_h out_w"]:
    """Each item's template z at every place of its x where it fits whole: out = size - small + 1."""
    batch, channels = z.shape[:2]
    return conv2d(x.reshape(1, batch * channels, *x.shape[2:]), z, groups=batch)[0]


def filter_of(
    z: Float[Tensor, "batch channels height width"],
    wanted: Float[Tensor, "*batch height width"],
    penalty: float | Tensor,
) -> Float[Tensor, "batch channels height width"]:
    """The filter w that makes |r(w, z) - wanted|² + penalty |w|² least, over all circular shifts."""
    seen = spectrum(z)
    power = (seen * seen.conj()).real.sum(-3, keepdim=True)
    n_places = z.shape[-1] * z.shape[-2]
    answer = spectrum(wanted).conj()[..., None, :, :] / n_places**0.5
    return from_spectrum(answer * seen / (power + penalty / n_places), z.shape[-1])


def respond(
    w: Float[Tensor, "*#batch channels height width"], x: Float[Tensor, "*#batch channels height width"]
) -> Float[Tensor, "*#batch height width"]:
    """How the filter answers at every shift of x, going round; no shift is first, at [0, 0]."""
    n_places = x.shape[-1] * x.shape[-2]
    return from_spectrum((spectrum(w).conj() * spectrum(x)).sum(-3) * n_places**0.5, x.shape[-1])


def bump(height: int, width: int, sigma: float | Float[Tensor, "*batch 1 1"]) -> Float[Tensor, "*batch height width"]:
    """A Gaussian of height 1 about no shift, going round; sigma in cells."""
    down, across = (torch.arange(n).float() for n in (height, width))
    down, across = torch.minimum(down, height - down), torch.minimum(across, width - across)
    return torch.exp(-(down[:, None].square() + across.square()) / (2 * sigma**2))


def windowed(size: int) -> Float[Tensor, "size size"]:
    """A Hann window that is not quite 0 at the border."""
    edge = torch.hann_window(size + 2, periodic=False)[1:-1]
    return edge[:, None] * edge


def filter_about(
    z: Float[Tensor, "batch channels n n"],
    wanted: Float[Tensor, "n n"],
    penalty: Float[Tensor, "batch 1 1 1"],
    support: Float[Tensor, "n n"],
    n_steps: int,
) -> Float[Tensor, "batch channels n n"]:
    """As `filter_of`, with weights only where `support` is 1: n steps of conjugate gradients, which gradient crosses.

    Shifts of what is about the object then count as wrong answers and are no part of it. No closed form is known.
    Source: Galoogahi et al. 2017, Background-Aware Correlation Filters (arXiv 1703.04590). Differs: no splitting of
    variables; differentiated through the steps, as DiMP does (Bhat et al. 2019, arXiv 1904.07220).
    """
    seen, n = spectrum(z), z.shape[-1]

    def applied(w: Tensor) -> Tensor:
        answers = (spectrum(w).conj() * seen).sum(1, keepdim=True)
        return from_spectrum(seen * answers.conj(), n) * support + penalty / n**2 * w

    w = torch.zeros_like(z)
    way = rest = from_spectrum(seen * spectrum(wanted).conj() / n, n) * support
    power = _power(rest)
    for _ in range(n_steps):
        ahead = applied(way)
        step = power / ((way * ahead).sum((1, 2, 3), keepdim=True) + TINY)
        w, rest = w + step * way, rest - step * ahead
        last, power = power, _power(rest)
        way = rest + power / (last + TINY) * way
    return w


def _power(w: Float[Tensor, "batch channels n n"]) -> Float[Tensor, "batch 1 1 1"]:
    return w.square().sum((1, 2, 3), keepdim=True)


def support_of(n: int, width: float, height: float) -> Float[Tensor, "n n"]:
    """1 where a filter about an object in the middle may have weights; width and height in cells, one at least."""
    away = (torch.arange(n) - n // 2).abs()
    across, down = (away <= max(side / 2, 1.0) + 0.2 for side in (width, height))
    return (down[:, None] & across).float()
