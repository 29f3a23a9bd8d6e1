"""The page of a look at networks that see pictures: units with their patches and ways back, and the sections above."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
import torch
from markupsafe import Markup

from seamwise.errors import ModelError
from seamwise.look import drawing
from seamwise.look.attribution import Method, check
from seamwise.look.cones import Maps, projections
from seamwise.look.exemplars import as_maps
from seamwise.look.graph import Graph
from seamwise.look.looking import Looked
from seamwise.look.maximise import maximise
from seamwise.look.page import LayerFacts, Row, Section, Unit, write_page
from seamwise.look.records import Exemplars, Layer
from seamwise.look.sanity import randomised, rank
from seamwise.shapes import Float, NDArray, UInt8

SIDE_PX = 48  # nine patches, five samples and two ways back of 1,152 units come to about 30 MB
MOST_SHOWN = 64  # filters, or units of a layer for one picture
CONCEPTS_LEAD = (
    "The share of each layer's units that find a concept: where a unit is at its strongest .5 %, it covers the concept's "
    "mask with an IoU above .04 and above that of masks of other pictures (network dissection, Bau et al. 2017)."
)
SPARSE_LEAD = (
    "How choosy the units of each layer are: 0 where all pictures excite a unit alike, 1 where one picture alone does "
    "(lifetime sparseness, Vinje & Gallant 2000; the median unit)."
)
QUANTILES = (0.9, 0.7, 0.5, 0.3, 0.1)
WAYS = {"deconvnet": "deconvnet", "guided": "guided backpropagation", "saliency": "saliency"}
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

    def name(self, look: Looked, layer: Layer) -> str:
        """Of a layer on the page."""
        return layer.name if len(self.looks) == 1 else f"{look.opened.name}.{layer.name}"

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
                    if name == self.name(look, layer)
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
        for method in look.wanted.methods:
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
                    facts["like without learning"] = self._alike(look, layer, method, maps, other)
            if look.wanted.maximise:
                rows.append(self._made(look, layer, unit))
            self.n_done += 1
            if self.told is not None:
                self.told(self.n_done, self.n_units)
            yield Unit(self.name(look, layer), unit, facts, tuple(rows))

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
            self.alike.setdefault((self.name(look, layer), method), []).append(value)
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
    layers = [_layer_facts(shown, look, k) for look in looks for k in range(len(look.exemplars))]
    sections: list[Section] = [depth(shown), *more, *filters(looks), *maps_of_one(shown)]

    def units() -> Iterator[Unit]:
        yield from shown.units()
        sections.extend([*sanity(shown), *left_out([*notes, *dict.fromkeys(shown.refused)])])

    return write_page(out, title, sections, layers, units(), shown.n_units, lead=lead, row_leads=ROWS), shown


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
    drawn = [drawing.around_grey(colours(m)[None])[0] for m in maps if m is not None]
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
        "largest": _finite(found.value[unit, 0]),
        "sparseness": _finite(selective.sparseness[unit]),
    }
    if look.opened.items.class_names:
        best = int(selective.best_class[unit])
        facts["class"] = f"class {look.opened.items.class_names[best]}" if best >= 0 else None
        facts["AUROC of its class"] = _finite(selective.auroc[unit])
    dissection = look.dissections[k] if look.dissections is not None else None
    if dissection is not None:
        best = int(dissection.best[unit])
        facts["concept"] = dissection.concepts[best] if dissection.detects[unit] else None
        facts["IoU"] = _finite(dissection.iou[unit, best])
    return facts


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _layer_facts(shown: Shown, look: Looked, k: int) -> LayerFacts:
    found, selective = look.exemplars[k], look.selectivity[k]
    layer = found.layer
    facts: dict[str, float | str | bool | None] = {
        "activation": layer.activation or "none",
        "dead units": int(found.dead.sum()),
    }
    sparse = selective.sparseness[np.isfinite(selective.sparseness)]
    facts["sparseness, median"] = float(np.median(sparse)) if len(sparse) else None
    told = selective.auroc[np.isfinite(selective.auroc)]
    if len(told):
        facts["AUROC of its class, median"] = float(np.median(told))
    if look.dissections is not None and (dissection := look.dissections[k]) is not None:
        facts["detectors"] = float(dissection.detects.mean())
        facts["at chance"] = dissection.at_chance()
        facts["concepts"] = ", ".join(dissection.found()[:4])
    facts["field"] = "besides numbers of the whole picture" if layer.whole else "" if layer.exact else "at most"
    return LayerFacts(shown.name(look, layer), layer.kind, layer.n_units, layer.receptive_px, layer.jump_px, facts)


def depth(shown: Shown) -> Section:
    """The depth story: which concepts the units of each layer find; where no masks are known, how choosy they are."""
    known = all(look.dissections is not None for look in shown.looks)
    charts = _concept_chart if known else _sparse_chart
    body = Markup("").join(charts(look, [shown.name(look, layer) for layer in look.layers]) for look in shown.looks)
    return Section("The depth story", CONCEPTS_LEAD if known else SPARSE_LEAD, body)


def _concept_chart(look: Looked, names: Sequence[str]) -> Markup:
    known = [d.by_family() if d is not None else {} for d in look.dissections or ()]
    lines = {f: [by.get(f) for by in known] for f in dict.fromkeys(f for by in known for f in by)}
    return drawing.layer_chart(names, lines, f"{look.opened.name}: units that find a concept")


def _sparse_chart(look: Looked, names: Sequence[str]) -> Markup:
    of = [s.sparseness[np.isfinite(s.sparseness)] for s in look.selectivity]
    medians = [float(np.median(values)) if len(values) else None for values in of]
    return drawing.layer_chart(names, {"sparseness": medians}, f"{look.opened.name}: sparseness", is_share=False)


def filters(looks: Sequence[Looked]) -> Iterator[Section]:
    """The weights of each network's first convolution, where it has some to see."""
    parts = []
    for look in looks:
        graph = look.opened.graph
        layer = next(layer for layer in graph.layers if layer.kind != "linear")
        weight = graph.weights.get(f"{layer.name.partition('@')[0]}.weight")
        if weight is None or weight.ndim != 4 or max(weight.shape[-2:]) < 2:
            continue
        drawn = drawing.filters(weight.numpy()[:MOST_SHOWN])[: 2 * MOST_SHOWN]
        scale = max(1, 32 // drawn.shape[1])
        large = drawn.repeat(scale, 1).repeat(scale, 2)
        parts.append(drawing.figure(drawing.grid(large), f"{look.opened.name}, {layer.name}"))
    if parts:
        lead = "What the first convolutions multiply the picture with; grey is 0, each is scaled by its largest weight."
        yield Section("Filters", lead, drawing.figures(parts))


def maps_of_one(shown: Shown) -> Iterator[Section]:
    """What every layer makes of the first picture."""
    parts = [part for look in shown.looks for part in _maps(shown, look)]
    if parts:
        lead = (
            "What every unit makes of it, layer by layer: white is much, black is little; a crossed-out unit is dead."
        )
        yield Section("Feature maps of one picture", lead, drawing.figures(parts))


@torch.no_grad()
def _maps(shown: Shown, look: Looked) -> Iterator[Markup]:
    opened, layers = look.opened, [layer for layer in look.layers if layer.is_map]
    if not layers:
        return
    values = opened.graph.values(opened.items.inputs([0]), [layer.node for layer in layers])
    picture = opened.items.shown(opened.pictures([0]))[0]
    yield drawing.figure(picture, opened.items.names[0], scale=max(1.0, 2 * SIDE_PX / max(picture.shape[:2])))
    dead = {found.layer.name: found.dead for found in look.exemplars}
    for layer in layers:
        maps = as_maps(layer, values[layer.node])[0, :MOST_SHOWN].numpy()
        drawn = drawing.feature_maps(maps, dead[layer.name][:MOST_SHOWN])
        more = f", {MOST_SHOWN} of {layer.n_units}" if layer.n_units > MOST_SHOWN else ""
        yield drawing.figure(drawing.grid(drawn), f"{shown.name(look, layer)}{more}")


def sanity(shown: Shown) -> Iterator[Section]:
    """How alike projections are with and without what was learned."""
    if not shown.alike:
        return
    rows = [
        [layer, WAYS[method], float(np.mean(values)), *np.quantile(values, [0.05, 0.95]).tolist(), len(values)]
        for (layer, method), values in shown.alike.items()
    ]
    columns = ["layer", "way back", "alike, mean", "5 %", "95 %", "units"]
    lead = (
        "The same patches with all weights of the network shuffled: rank correlation of the sizes of both "
        "projections. Near 1, the way back shows the picture and the network's plan rather than what it learned "
        "(Adebayo et al. 2018)."
    )
    yield Section("Sanity: the same without learning", lead, drawing.table(columns, rows))


def left_out(notes: Sequence[str]) -> Iterator[Section]:
    """What is not on the page, and why."""
    if notes:
        items = Markup("").join(Markup("<li>{}</li>").format(note) for note in notes)
        yield Section("Left out", "What is not on this page, and why.", Markup("<ul>{}</ul>").format(items))
