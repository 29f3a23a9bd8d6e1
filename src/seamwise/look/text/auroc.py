"""How well each of many units tells each of many concepts: the area under the ROC curve, as activations come in.

Memory is units x bins x concepts, however many tokens there are.

Source: Fawcett 2006 (doi 10.1016/j.patrec.2005.10.010). Differs: ranks are those of 256 bins a unit, in place of the
values themselves; what is in one bin counts as a tie.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from scipy.stats import rankdata

from seamwise.shapes import Bool, Float, Int, NDArray, Tensor, UInt8

N_BINS: Final = 256
N_CELLS: Final = 4096  # of which the bins are made
WIDEST = 20.0  # standard deviations from the mean: what is beyond falls into the first or last cell


@final
@dataclass(frozen=True)
class Bins:
    """Where each unit's values are cut: at the quantiles of a sample, as far as 4,096 equal cells can tell them apart.

    low, scale: of the cells; bin: that of each cell; score: the middle rank of each bin in the sample, from -.5 to .5
    """

    low: Float[Tensor, " units"]
    scale: Float[Tensor, " units"]
    bin: UInt8[Tensor, "units cells"]
    score: Float[Tensor, "units bins"]

    def codes(self, activations: Float[Tensor, "tokens units"]) -> UInt8[Tensor, "units tokens"]:
        """The bin of each value; a value equal to another, or larger, never has a lower bin."""
        cells = _cells(activations, self.low, self.scale)
        return self.bin.gather(1, cells)

    def scores(self, codes: UInt8[Tensor, "units tokens"]) -> Float[Tensor, "units tokens"]:
        """The middle rank, in the sample, of the bin that each value is in, from -.5 to .5."""
        return self.score.gather(1, codes.long())


def bins_of(sample: Float[Tensor, "tokens units"]) -> Bins:
    """Bins from a sample of the activations, at best 4,000 tokens or more from all over the text.

    A sample that is not like the rest makes ranks coarser, not wrong.
    """
    spread, middle = sample.std(0, unbiased=False), sample.mean(0)
    low = torch.maximum(sample.amin(0), middle - WIDEST * spread)
    high = torch.minimum(sample.amax(0), middle + WIDEST * spread)
    scale = torch.where(high > low, (N_CELLS - 1) / (high - low), torch.zeros_like(low))
    scale = scale.nan_to_num(0.0, 0.0, 0.0)
    middles = _middle_ranks(_histogram(_cells(sample, low, scale), N_CELLS)) / len(sample)
    bins = (middles * N_BINS).clamp_(0, N_BINS - 1).long()
    n = torch.zeros(len(low), N_BINS).scatter_add_(1, bins, _histogram(_cells(sample, low, scale), N_CELLS).float())
    return Bins(low, scale, bins.to(torch.uint8), (_middle_ranks(n) / len(sample) - 0.5).float())


def _cells(
    activations: Float[Tensor, "tokens units"], low: Float[Tensor, " units"], scale: Float[Tensor, " units"]
) -> Int[Tensor, "units tokens"]:
    across = torch.empty(activations.shape[::-1]).copy_(activations.T)
    return across.sub_(low[:, None]).mul_(scale[:, None]).clamp_(0, N_CELLS - 1).long()


def _histogram(codes: Int[Tensor, "units tokens"], n: int) -> Float[Tensor, "units n"]:
    one = torch.ones(()).expand(codes.shape)
    return torch.zeros(len(codes), n).scatter_add_(1, codes, one)


def _middle_ranks(counts: Float[Tensor, "units bins"]) -> Float[Tensor, "units bins"]:
    """How many are in lower bins, and half of those in the same."""
    counts = counts.double()
    return counts.cumsum(1) - counts / 2


@final
class StreamingAUROC:
    """Counts, by bin, of the tokens where each concept holds and where it does not.

    Labels are 1 where a concept holds, 0 where it does not, -1 where a token is not to count for it.
    """

    def __init__(self, bins: Bins, n_concepts: int) -> None:
        self._bins = bins
        shape = (n_concepts, *bins.score.shape)
        self._all = torch.zeros(shape[1:], dtype=torch.int32)
        self._holds, self._left_out = torch.zeros(shape, dtype=torch.int32), torch.zeros(shape, dtype=torch.int32)

    def add(self, activations: Float[Tensor, "tokens units"], labels: Int[NDArray, "tokens concepts"]) -> None:
        """Count some more tokens."""
        self.add_codes(self._bins.codes(activations), labels)

    def add_codes(self, codes: UInt8[Tensor, "units tokens"], labels: Int[NDArray, "tokens concepts"]) -> None:
        """Count some more tokens, whose bins are known."""
        self._all += _histogram(codes.long(), N_BINS).int()
        for k, column in enumerate(labels.T):
            for value, into in ((1, self._holds), (-1, self._left_out)):
                at = np.flatnonzero(column == value)
                if len(at):
                    into[k] += _histogram(codes[:, torch.from_numpy(at)].long(), N_BINS).int()

    def result(self) -> Float[NDArray, "units concepts"]:
        """The probability that a token where the concept holds has the larger activation; ties count half.

        Not a number where a concept never or always held.
        """
        return np.stack([_area(h, self._all - h - out) for h, out in zip(self._holds, self._left_out, strict=True)], 1)


def _area(holds: Int[Tensor, "units bins"], not_: Int[Tensor, "units bins"]) -> Float[NDArray, " units"]:
    won = (holds.double() * _middle_ranks(not_.float())).sum(1)
    pairs = holds.sum(1).double() * not_.sum(1).double()
    return np.asarray(torch.where(pairs > 0, won / pairs.clamp_min(1), torch.nan).numpy())


def exact_auroc(values: Float[NDArray, " tokens"], holds: Bool[NDArray, " tokens"]) -> float:
    """The same by exact ranks, for one unit and one concept; not a number where it never or always holds."""
    n, n_holds = len(holds), int(holds.sum())
    if n_holds in (0, n):
        return float("nan")
    return float((rankdata(values)[holds].sum() - n_holds * (n_holds + 1) / 2) / (n_holds * (n - n_holds)))
