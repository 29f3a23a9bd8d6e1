"""A text coloured by a unit, and examples drawn at random over its whole range."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final, final

import numpy as np
import torch
from torch import nn

from seamwise.errors import InputError
from seamwise.look.text.reading import WINDOW, Piece, Reader
from seamwise.look.text.tokens import Tokens
from seamwise.shapes import Float, Int, NDArray

QUANTILES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
AROUND = 30  # characters
BREAK: Final = '<span style="opacity:.5">\n— — —\n</span>'  # between two documents


@final
@dataclass(frozen=True)
class Example:
    """A token drawn at random among those between two quantiles of a unit's activations, in its text."""

    quantiles: tuple[float, float]
    value: float
    before: str
    token: str
    after: str


def values_of(
    network: nn.Module,
    tokens: Tokens,
    units: Sequence[tuple[str, int]],
    pieces: Sequence[Piece],
    window: int = WINDOW,
    overlap: int | None = None,
) -> tuple[Int[NDArray, " tokens"], Float[NDArray, "tokens units"]]:
    """Activations of a few units, (layer, number), at all tokens of some pieces (see `halves`); the tokens first.

    Raises InputError where there is no such unit.
    """
    reader = Reader(network, tokens, sorted({layer for layer, _ in units}), window, overlap)
    starts = dict(
        zip((name for name, _ in reader.layers), np.cumsum([0, *(n for _, n in reader.layers)]), strict=False)
    )
    sizes = dict(reader.layers)
    for layer, unit in units:
        if not 0 <= unit < sizes[layer]:
            raise InputError(f"{layer} has no unit {unit}", expected=f"0 to {sizes[layer] - 1}")
    columns = torch.tensor([int(starts[layer]) + unit for layer, unit in units])
    found = [(rows, activations[:, columns].numpy()) for rows, activations in reader.read(pieces)]
    rows = np.concatenate([rows for rows, _ in found])
    order = np.argsort(rows)
    return rows[order], np.concatenate([values for _, values in found])[order]


def examples(
    tokens: Tokens,
    rows: Int[NDArray, " tokens"],
    values: Float[NDArray, " tokens"],
    n: int = 3,
    quantiles: Sequence[float] = QUANTILES,
    seed: int = 0,
) -> tuple[Example, ...]:
    """So many tokens drawn at random between each two quantiles of a unit's activations, the largest last."""
    order, generator = np.argsort(values, kind="stable"), np.random.default_rng(seed)
    drawn = list[Example]()
    for low, high in pairwise(quantiles):
        among = order[int(low * len(order)) : max(int(high * len(order)), int(low * len(order)) + 1)]
        for at in np.sort(generator.choice(among, min(n, len(among)), replace=False)):
            drawn.append(_example(tokens, int(rows[at]), float(values[at]), (low, high)))
    return tuple(drawn)


def _example(tokens: Tokens, row: int, value: float, between: tuple[float, float]) -> Example:
    text, start, end = tokens.documents[tokens.document[row]], int(tokens.start[row]), int(tokens.end[row])
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    return Example(between, value, *map(printable, (before, text[start:end], after)))


def printable(text: str) -> str:
    """Text that can be written to a file: lone surrogates become a sign for what is no character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def coloured(tokens: Tokens, rows: Int[NDArray, " tokens"], values: Float[NDArray, " tokens"]) -> str:
    """Tokens as HTML, each on orange where a unit is above its median, on blue where below; its value in the title.

    Between two documents there is a break.
    The ground is half transparent, so that letters stay as they are on a light page and on a dark one.
    """
    middle = float(np.median(values)) if len(values) else 0.0
    reach = float(np.quantile(np.abs(values - middle), 0.99)) if len(values) else 0.0
    begins = np.diff(tokens.document[rows], prepend=tokens.document[rows[:1]]) != 0
    spans = (
        BREAK * bool(new) + _span(tokens.text(int(row)), float(v), (float(v) - middle) / (reach or 1.0))
        for row, v, new in zip(rows, values, begins, strict=True)
    )
    return f'<span style="white-space:pre-wrap">{"".join(spans)}</span>'


def _span(text: str, value: float, share: float) -> str:
    colour = "230,120,0" if share > 0 else "0,120,230"  # told apart by the colour-blind too
    ground = f"background:rgba({colour},{min(abs(share), 1) * 0.6:.2f})"
    return f'<span style="{ground}" title="{value:.3g}">{escape(printable(text))}</span>'
