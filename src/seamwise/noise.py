"""Labels made wrong on purpose, so that a study can say what wrong labels cost."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch

from seamwise.errors import SupplyError
from seamwise.shapes import Float, Int, NDArray, Shaped, Tensor


def are_categories(values: Shaped[Tensor, "n *each"]) -> bool:
    """Whether labels are categories (whole numbers) rather than measures."""
    return not values.is_floating_point()


def made_noisy(
    field: str, values: Shaped[Tensor, "n *each"], splits: Sequence[NDArray], amount: float, seed: int
) -> tuple[Shaped[Tensor, "n *each"], float]:
    """The labels with those of some splits made wrong, and how noisy that made them: as `Supply.noise` has it.

    splits: the rows of each; a category is replaced by another that its split has. Every label has one draw, whatever
    the amount: what is wrong at a smaller one is wrong at a larger one too.
    """
    rng = np.random.default_rng([seed, zlib.crc32(field.encode())])
    rows = np.concatenate(splits)
    labels = values.numpy()[rows]
    if not are_categories(values):
        spread = float(np.sqrt(labels.astype(np.float64).var(0).mean())) if len(rows) else 0.0
        errors = rng.standard_normal(values.shape, dtype=np.float32)[rows] * np.float32(amount * spread)
        return _replaced(values, rows, labels + errors), amount * spread
    if len(np.unique(labels)) < 2:
        raise SupplyError(f"the labels of {field!r} cannot be made wrong: all of them are the same")
    wrong, which = rng.random(values.shape) < amount, rng.random(values.shape)
    changed = values
    for own in splits:
        others = _others(values.numpy()[own], which[own], np.unique(labels))
        changed = _replaced(changed, own, np.where(wrong[own], others, values.numpy()[own]))
    return changed, amount


def _others(
    labels: Shaped[NDArray, "m *each"], which: Float[NDArray, "m *each"], everywhere: Shaped[NDArray, " kinds"]
) -> Shaped[NDArray, "m *each"]:
    """For each label another of the kinds among them; which: from 0 to 1, to choose by."""
    kinds = np.unique(labels)
    kinds = kinds if len(kinds) > 1 else everywhere
    step = 1 + (which * (len(kinds) - 1)).astype(np.int64)
    return np.asarray(kinds[(np.searchsorted(kinds, labels) + step) % len(kinds)])


def both_noises(before: float, more: float, values: Shaped[Tensor, " n *each"]) -> float:
    """How noisy labels are that were noisy before and are made noisier; some wrong ones come right by chance."""
    if not are_categories(values):
        return float(np.hypot(before, more))
    n_others = max(1, len(torch.unique(values)) - 1)
    return before * (1 - more / n_others) + (1 - before) * more


def _replaced(
    values: Shaped[Tensor, "n *each"], rows: Int[NDArray, " m"], labels: Shaped[NDArray, "m *each"]
) -> Shaped[Tensor, "n *each"]:
    changed = values.clone()
    changed[torch.from_numpy(rows)] = torch.from_numpy(labels).to(values.dtype)
    return changed
