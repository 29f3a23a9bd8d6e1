"""The growth table read backwards: how probable each bone age is, given lengths and signs of maturity.

Nothing is learned here, and gradient passes to lengths and signs. A child's bones are long or short together, those of
one row (all metacarpals, say) more so; its signs are early or late together, plates and carpals each more so.

Source: Bayes' rule over `growth`, every age from 0 to 228 months as probable as any other before.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import final

import numpy as np
import torch

from seamwise.shapes import Float, NDArray, Shaped, Tensor
from seamwise.systems.age import growth
from seamwise.systems.age.growth import BONES

__all__ = ["AGES_MONTHS", "interval", "mean", "posterior", "quantile"]

STEP_MONTHS = 2.0
AGES_MONTHS = np.arange(0, 228 + STEP_MONTHS, STEP_MONTHS)  # n_ages of them
N_AGES = len(AGES_MONTHS)
LEVEL = 0.9

# over 905 hands of the Digital Hand Atlas: shares of the variance of log length about the table, which has robust
# sds; all hands differ by more, those measured badly by much more
BODY, ROW = 0.64, 0.18
WIDER = 1.2
FREEDOM = 8.0  # of Student's t
SCALE_SD = 100.0  # of the log of an unknown scale: any at all
SMALLEST_MM = 0.5

# sd in months at 150 months, as the simulated hands have them; less in the young
CHILD, REGION, SIGN = 2.5, 2.5, 5.0
READING = 0.1  # sd of a sign as it is read
N_NODES = 15  # of Gauss and Hermite
TINY = 1e-30


@final
@dataclass(frozen=True)
class _Tables:
    """Constants by sex and age; a precision, and the matrices that blur a likelihood over ages."""

    log_length: Float[Tensor, "2 ages 19"]
    spread: Float[Tensor, "2 ages 19"]  # sd of log length
    root: Float[Tensor, "19 19"]  # its product with its transpose is the inverse of the correlation of log lengths
    sign: Float[Tensor, "2 ages 29"]
    sign_sd: Float[Tensor, "2 ages 29"]
    by_region: Float[Tensor, "ages ages"]
    by_child: Float[Tensor, "ages ages"]


def posterior(
    lengths_mm: Float[Tensor, "batch 19"],
    sex: Shaped[Tensor, " batch"],
    scale_known: Shaped[Tensor, " batch"],
    plates: Float[Tensor, "batch 21"] | None = None,
    carpals: Float[Tensor, "batch 8"] | None = None,
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch ages"]]:
    """The median bone age in months, and the share of each of AGES_MONTHS.

    lengths_mm:  in the order of BONES; where `scale_known` is 0, in any unit: only their ratios count
    sex:         0 female, 1 male
    plates, carpals: as in `growth.Maturity`
    """
    log = _of_lengths(lengths_mm, sex.long(), scale_known.to(lengths_mm))
    log = log + _of_signs(plates, carpals, sex.long()).to(lengths_mm)
    share = log.softmax(-1)
    return quantile(share, 0.5), share


def quantile(share: Float[Tensor, "batch ages"], level: float) -> Float[Tensor, " batch"]:
    """The age in months below which `level` of the posterior lies; each share is spread evenly about its age."""
    sums = share.cumsum(-1)
    at = (sums.detach() < level).sum(-1, keepdim=True).clamp_max(N_AGES - 1)
    here = share.gather(-1, at)
    part = (level - sums.gather(-1, at) + here) / here.clamp_min(1e-9)
    return ((at + part.clamp(0, 1) - 0.5) * STEP_MONTHS)[:, 0].clamp(0, AGES_MONTHS[-1])


def interval(share: Float[Tensor, "batch ages"], level: float = LEVEL) -> Float[Tensor, "batch 2"]:
    """The lowest and the highest age in months of the middle `level` of the posterior."""
    tail = (1 - level) / 2
    return torch.stack([quantile(share, tail), quantile(share, 1 - tail)], dim=1)


def mean(share: Float[Tensor, "batch ages"]) -> Float[Tensor, " batch"]:
    """The mean age in months, whose gradient is smoother than the median's."""
    return share @ torch.as_tensor(AGES_MONTHS).to(share)


def _of_lengths(
    lengths_mm: Float[Tensor, "batch 19"], sex: Shaped[Tensor, " batch"], scale_known: Float[Tensor, " batch"]
) -> Float[Tensor, "batch ages"]:
    """Log likelihood. A scale that is not known moves all log lengths together, and is integrated away."""
    tables = _tables()
    spread = tables.spread.to(lengths_mm)[sex]
    away = (lengths_mm.clamp_min(SMALLEST_MM).log()[:, None] - tables.log_length.to(lengths_mm)[sex]) / spread
    root = tables.root.to(lengths_mm)
    white, scaled = away @ root, (1 / spread) @ root
    length = scaled.square().sum(-1)
    along = (white * scaled).sum(-1) / length
    width = 1 + length * (SCALE_SD**2 * (1 - scale_known))[:, None]
    squares = (white - along[..., None] * scaled).square().sum(-1) + along.square() * length / width
    tails = (FREEDOM + len(BONES)) / 2 * (squares / FREEDOM).log1p()
    return -tails - spread.log().sum(-1) - width.log() / 2


def _of_signs(
    plates: Float[Tensor, "batch 21"] | None, carpals: Float[Tensor, "batch 8"] | None, sex: Shaped[Tensor, " batch"]
) -> Float[Tensor, "#batch ages"]:
    """Log likelihood; 0 without signs."""
    tables = _tables()
    log = torch.zeros(1, N_AGES)
    for signs, columns in ((plates, slice(0, 21)), (carpals, slice(21, 29))):
        if signs is not None:
            at, sd = (t[:, :, columns].to(signs)[sex] for t in (tables.sign, tables.sign_sd))
            own = -(((signs[:, None] - at) / sd).square() / 2 + sd.log()).sum(-1)
            log = log.to(own) + _blurred(own, tables.by_region)
    return log if plates is None and carpals is None else _blurred(log, tables.by_child)


def _blurred(log: Float[Tensor, "batch ages"], by: Float[Tensor, "ages ages"]) -> Float[Tensor, "batch ages"]:
    """The likelihood of an age, where what is seen is the likelihood of an age near it."""
    most = log.detach().amax(-1, keepdim=True)
    return ((log - most).exp() @ by.to(log)).clamp_min(TINY).log() + most


@lru_cache
def _tables() -> _Tables:
    log_length, spread, sign, sign_sd = (np.stack(pair) for pair in zip(*map(_by_age, (0, 1)), strict=True))
    same_row = np.array([[a[:2] == b[:2] for b in BONES] for a in BONES])
    correlation = BODY + ROW * same_row + (1 - BODY - ROW) * np.eye(len(BONES))
    root = np.linalg.cholesky(np.linalg.inv(correlation))
    tensors = (log_length, spread, root, sign, sign_sd, _blur(REGION), _blur(CHILD))
    return _Tables(*(torch.as_tensor(t, dtype=torch.float32) for t in tensors))


def _by_age(
    sex: int,
) -> tuple[Float[NDArray, "ages 19"], Float[NDArray, "ages 19"], Float[NDArray, "ages 29"], Float[NDArray, "ages 29"]]:
    """Log length and its sd, the mean sign and its sd, over how early or late each sign is."""
    length, length_sd = growth.lengths(np.full(N_AGES, sex), AGES_MONTHS)
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    ages = (AGES_MONTHS + _spread_months(SIGN) * nodes[:, None]).ravel()
    signs = growth.maturity(np.full(len(ages), sex), ages)
    both = np.concatenate([signs.plates, signs.carpals], axis=1).reshape(N_NODES, N_AGES, 29)
    at = np.average(both, axis=0, weights=weights)
    variance = np.average((both - at) ** 2, axis=0, weights=weights)
    return np.log(length), WIDER * length_sd / length, at, np.sqrt(variance + READING**2)


def _blur(sd: float) -> Float[NDArray, "ages ages"]:
    """The share that each age (column) hands to each other."""
    away = (AGES_MONTHS - AGES_MONTHS[:, None]) / _spread_months(sd)[:, None]
    share = np.exp(-(away**2) / 2)
    transposed: Float[NDArray, "ages ages"] = (share / share.sum(1, keepdims=True)).T
    return transposed


def _spread_months(sd: float) -> Float[NDArray, " ages"]:
    return sd * (0.3 + 0.7 * AGES_MONTHS / 150)
