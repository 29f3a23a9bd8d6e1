"""The page of a look at networks that see pictures: units with their patches and ways back, and the sections above."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np

from seamwise.errors import ModelError
from seamwise.look.attribution import METHODS, Method, check
from seamwise.look.cones import Maps, projections
from seamwise.look.graph import Graph
from seamwise.look.looking import Looked
from seamwise.look.maximisation import maximise
from seamwise.look.page import drawing
from seamwise.look.page.page import Row, Section, Unit, write_page
from seamwise.look.records import Exemplars, Layer
from seamwise.look.sanity import randomised, rank
from seamwise.look.sections import SIDE_PX, WAYS, depth, filters, layer_facts, left_out, of_one, sanity
from seamwise.shapes import Float, NDArray, UInt8

QUALITY = 70  # of JPEG: 1,152 units with all their rows in 30 MB
FULL = 0.995  # the quantile of a projection's sizes that has full colour
QUANTILES = (0.9, 0.7, 0.5, 0.3, 0.1)
ROWS = {
    "exemplars": "the patches that excite the unit most, one of a picture, cut to its receptive field",
    "by quantile": "pictures drawn at random, from those that excite it to those that do not: what a unit answers to "
    "is told by all of them, not by its best nine alone",
    "deconvnet": "what in each patch the unit answers to, projected down (Zeiler & Fergus 2014)",
    "guided backpropagation": "the same by guided backpropagation (Springenberg et al. 2015)",
    "saliency": "the gradient of the unit in each patch (Simonyan et al. 2014)",
}
MADE = "made to excite it"
ROWS[MADE] = (
    "noise changed step by step until the unit answers (Olah et al. 2017); people tell what a unit answers to better "
    "from the patches above (Borowski et al. 2020)"
)
PLAIN = ", without learning"
ROWS |= {
    way + PLAIN: "the same with all weights shuffled: where it looks alike, the row above shows the picture and the "
    "network's plan, not what was learned (Adebayo et al. 2018)"
    for way in WAYS.values()
}


@final
@dataclass
class Shown:
    """What is put on the page while units go by."""

    looks: Sequence[Looked]
    told: Callable[[int, int], None] | None = None
    alike: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # {(layer, method): of each unit}
    refused: list[str] = field(default_factory=list)
    n_done: int = 0

    @property
    def n_units(self) -> int:
        return sum(len(look.units(layer)) for look in self.looks for layer in look.layers)

    @property
    def n_dead(self) -> int:
        return sum(int(found.dead[look.units(found.layer)].sum()) for look in self.looks for found in look.exemplars)

    def flat(self) -> list[dict[str, Any]]:
        """Of each layer, for machines."""
        return [
            {
                "network": look.opened.name,
                "layer": layer.name,
                "kind": layer.kind,
                "n_units": layer.n_units,
                "receptive_px": layer.receptive_px,
                "jump_px": layer.jump_px,
                "exact": layer.exact,
                "dead": int(found.dead.sum()),
                "like_without_learning": {
                    method: float(np.mean(values))
                    for (name, method), values in self.alike.items()
                    if name == look.name(layer)
                },
                **({} if dissection is None else {"detectors": dissection.by_family()}),
            }
            for look in self.looks
            for found, dissection in zip(look.exemplars, look.dissections or [None] * len(look.exemplars), strict=True)
            for layer in (found.layer,)
        ]

    def units(self) -> Iterator[Unit]:
        """All units of all layers in order, with their pictures."""
        for look in self.looks:
            plain = (
                randomised(look.opened.graph, look.opened.graph.layers[0], seed=look.wanted.seed)
                if look.wanted.sanity
                else None
            )
            for k, found in enumerate(look.exemplars):
                yield from self._of_layer(look, k, found, plain)

    def _of_layer(self, look: Looked, k: int, found: Exemplars, plain: Graph | None) -> Iterator[Unit]:
        layer, units = found.layer, look.units(found.layer)
        ways: list[tuple[Method, Iterator[tuple[int, Maps]], Iterator[tuple[int, Maps]] | None]] = []
        for method in (known for known in METHODS if known in look.wanted.methods):
            try:
                check(look.opened.graph, layer.node, method)
            except ModelError as error:
                self.refused.append(error.brief)
                continue
            both = [
                projections(g, look.opened.inputs_of(layer), found, method, units=units) if g else None
                for g in (look.opened.graph, plain)
            ]
            assert both[0] is not None
            ways.append((method, both[0], both[1]))
        for unit in units:
            rows = [*_patches(look, found, unit)]
            facts = _facts(look, k, found, unit)
            for method, learned, shuffled in ways:
                maps = next(learned)[1]
                rows.append(_row(WAYS[method], maps))
                if shuffled is not None:
                    other = next(shuffled)[1]
                    rows.append(_row(WAYS[method] + PLAIN, other))
                    facts[f"{WAYS[method]} like without learning"] = self._alike(look, layer, method, maps, other)
            if look.wanted.maximise:
                rows.append(self._made(look, layer, unit))
            self.n_done += 1
            if self.told is not None:
                self.told(self.n_done, self.n_units)
            yield Unit(look.name(layer), unit, facts, tuple(rows))

    def _made(self, look: Looked, layer: Layer, unit: int) -> Row:
        opened = look.opened
        found = maximise(
            opened.graph, layer, [unit], pixels=opened.pixels(), inputs=opened.items.inputs([0]), seed=unit
        )
        return Row(MADE, drawing.tiles(opened.items.shown(found.pictures), SIDE_PX))

    def _alike(self, look: Looked, layer: Layer, method: str, one: Maps, other: Maps) -> float | None:
        told = [rank(sizes(a), sizes(b)) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
        known = [value for value in told if np.isfinite(value)]
        value = float(np.mean(known)) if known else None
        if value is not None:
            self.alike.setdefault((look.name(layer), method), []).append(value)
        return value


def write_look(
    out: Path,
    title: str,
    looks: Sequence[Looked],
    *,
    lead: str = "",
    more: Sequence[Section] = (),
    notes: Sequence[str] = (),
    told: Callable[[int, int], None] | None = None,
) -> tuple[Path, Shown]:
    """Write the page, and say where it is and what was learned of its units. more: sections of others' making."""
    shown = Shown(looks, told)
    layers = [layer_facts(look, k) for look in looks for k in range(len(look.exemplars))]
    sections: list[Section] = [depth(looks), *more, *filters(looks), *of_one(looks)]

    def units() -> Iterator[Unit]:
        yield from shown.units()
        sections.extend([*sanity(looks, shown.alike), *left_out([*notes, *dict.fromkeys(shown.refused)])])

    return write_page(
        out, title, sections, layers, units(), shown.n_units, lead=lead, row_leads=ROWS, quality=QUALITY
    ), shown


def _patches(look: Looked, found: Exemplars, unit: int) -> Iterator[Row]:
    there = [p for p in range(found.picture.shape[1]) if found.picture[unit, p] >= 0]
    numbers, rows, columns, values = (x[unit][there] for x in (found.picture, found.row, found.column, found.value))
    yield _crops("exemplars", look, found.layer, numbers, rows, columns, values)
    drawn = found.by_quantile(unit, QUANTILES)
    at = found.sampled_picture[drawn], found.sampled_row[unit][drawn], found.sampled_column[unit][drawn]
    row = _crops("by quantile", look, found.layer, *at, found.sampled_value[unit][drawn])
    said = tuple(f"quantile {q:g}: {words}" for q, words in zip(QUANTILES, row.captions, strict=False))
    yield Row(row.name, row.tiles, said)


def _crops(
    name: str, look: Looked, layer: Layer, numbers: NDArray, rows: NDArray, columns: NDArray, values: NDArray
) -> Row:
    opened = look.opened
    if not len(numbers):
        return Row(name, drawing.tiles([], SIDE_PX))
    pictures = opened.items.shown(opened.pictures(numbers.tolist(), layer.repeats))
    cut, captions = list[UInt8[NDArray, "height width 3"]](), []
    for picture, number, row, column, value in zip(pictures, numbers, rows, columns, values, strict=True):
        top, left = layer.patch(int(row), int(column))
        cut.append(picture[top, left])
        place = f", rows {top.start}-{top.stop - 1}, columns {left.start}-{left.stop - 1}"
        which = f" ({number % layer.repeats + 1} of {layer.repeats})" if layer.repeats > 1 else ""
        captions.append(f"{value:.3g}: {opened.items.names[number // layer.repeats]}{which}{place}")
    return Row(name, drawing.tiles(cut, SIDE_PX), tuple(captions))


def _row(name: str, maps: Maps) -> Row:
    drawn = [drawing.around_grey(colours(m)[None], FULL)[0] for m in maps if m is not None]
    return Row(name, drawing.tiles(drawn, SIDE_PX))


def sizes(projection: Float[NDArray, "channels height width"]) -> Float[NDArray, "_ _"]:
    """How large a projection is in each place, at the size at which it is shown where that is smaller."""
    size: NDArray = np.abs(projection).sum(0)
    scale = SIDE_PX / max(size.shape)
    if scale >= 1:
        return size
    height, width = (max(1, round(side * scale)) for side in size.shape)
    smaller: NDArray = np.asarray(cv2.resize(size, (width, height), interpolation=cv2.INTER_AREA))
    return smaller


def colours(projection: Float[NDArray, "channels height width"]) -> Float[NDArray, "colours height width"]:
    """One or three channels as they are, of others the mean."""
    return projection if len(projection) in (1, 3) else projection.mean(0, keepdims=True)


def _facts(look: Looked, k: int, found: Exemplars, unit: int) -> dict[str, float | str | bool | None]:
    selective = look.selectivity[k]
    facts: dict[str, float | str | bool | None] = {
        "dead": bool(found.dead[unit]),
        "largest": float(found.value[unit, 0]),
        "sparseness": float(selective.sparseness[unit]),
    }
    if look.opened.items.class_names:
        best = int(selective.best_class[unit])
        facts["class"] = f"class {look.opened.items.class_names[best]}" if best >= 0 else None
        facts["AUROC of its class"] = float(selective.auroc[unit])
    dissection = look.dissections[k] if look.dissections is not None else None
    if dissection is not None:
        best = int(dissection.best[unit])
        facts["concept"] = dissection.concepts[best] if dissection.detects[unit] else None
        facts["IoU"] = float(dissection.iou[unit, best])
    return facts
