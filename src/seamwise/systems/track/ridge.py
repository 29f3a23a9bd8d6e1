"""The filter that a tracker keeps: ridge regression over the shifts of all features seen, older ones fading.

Of every frame learnt from, all circular shifts are samples, wanted a bump about no shift. The filter may have weights
about the object alone, so that shifts of the background are negative samples and not part of the object. What was seen
is kept as one matrix of channels × channels a frequency, so memory and time do not grow; conjugate gradients from the
last filter solve for the next.

Source: Galoogahi et al. 2017, Learning Background-Aware Correlation Filters (arXiv 1703.04590); Danelljan et al. 2017,
ECO (arXiv 1611.09224), for conjugate gradients. Differs: the normal equations are kept whole, no frame is approximated
or dropped, and there is no splitting of variables. Without a support, and with one frame, it is `filter_of`.
"""

from typing import final

import torch

from seamwise.shapes import Complex, Float, Tensor
from seamwise.systems.track.correlation import from_spectrum, spectrum

TINY = 1e-20


@final
class Ridge:
    """A filter of channels × size × size.

    wanted:  the answer wanted at each shift
    support: 1 where the filter may have weights, else 0
    penalty: on the filter's weights, as a share of the first features' mean power a frequency
    """

    def __init__(self, wanted: Float[Tensor, "n n"], support: Float[Tensor, "n n"], penalty: float) -> None:
        self.support, self.penalty = support, penalty
        self._n = wanted.shape[-1]
        self._wanted = spectrum(wanted).conj() / self._n
        self._seen: Complex[Tensor, "frequencies channels channels"] | None = None  # transposed
        self._right: Complex[Tensor, "channels n half"] | None = None
        self.weights: Float[Tensor, "channels n n"] = torch.zeros(0)

    def learn(self, z: Float[Tensor, "channels n n"], rate: float, n_steps: int) -> None:
        """Take features of the object in the middle into account by `rate`, 0 to 1, and improve the filter.

        The first features count whole. n_steps: of conjugate gradients.
        """
        seen = spectrum(z)
        flat = seen.flatten(1).T.contiguous()  # a matrix a frequency must lie in one piece
        before, after, right = flat.conj()[:, :, None], flat[:, None, :], seen * self._wanted
        if self._seen is None or self._right is None:
            self._seen, self._right = before * after, right
            self._ridge = self.penalty * float(flat.abs().square().sum(1).mean())
            self.weights = torch.zeros_like(z)
        else:
            torch.baddbmm(self._seen, before, after, beta=1 - rate, alpha=rate, out=self._seen)
            self._right = torch.lerp(self._right, right, rate)
        self._solve(n_steps)

    def respond(self, x: Float[Tensor, "*batch channels n n"]) -> Float[Tensor, "*batch n n"]:
        """The answer at every shift, going round; no shift is first."""
        return from_spectrum((spectrum(self.weights).conj() * spectrum(x)).sum(-3) * self._n, self._n)

    def _solve(self, n_steps: int) -> None:
        assert self._right is not None
        w = self.weights
        rest = from_spectrum(self._right, self._n) * self.support - self._applied(w)
        way, power = rest, float(rest.square().sum())
        for _ in range(n_steps):
            ahead = self._applied(way)
            step = power / (float((way * ahead).sum()) + TINY)
            w, rest = w + step * way, rest - step * ahead
            last, power = power, float(rest.square().sum())
            way = rest + power / (last + TINY) * way
        self.weights = w

    def _applied(self, w: Float[Tensor, "channels n n"]) -> Float[Tensor, "channels n n"]:
        """The normal equations' matrix times a filter within the support."""
        assert self._seen is not None
        freq = spectrum(w)
        # a row times the transposed matrix takes a third of the time of the matrix times a column
        through = torch.bmm(freq.flatten(1).T[:, None, :].contiguous(), self._seen)[:, 0].T.reshape(freq.shape)
        return from_spectrum(through, self._n) * self.support + self._ridge * w
