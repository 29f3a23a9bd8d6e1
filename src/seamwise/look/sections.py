"""The sections of the page of a look: the depth story, filters, feature maps, sanity, what was left out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import torch
from markupsafe import Markup

from seamwise.errors import ModelError
from seamwise.look.attribution import METHODS, Method, Target, grad_cam, integrated_gradients, projected, target
from seamwise.look.graph import Graph
from seamwise.look.looking import Looked
from seamwise.look.page import drawing
from seamwise.look.page.page import LayerFacts, Section
from seamwise.look.patches import as_maps
from seamwise.look.sanity import by_depth
from seamwise.shapes import Float, NDArray, Tensor, UInt8

SIDE_PX = 48  # nine patches, five samples and two ways back of 1,152 units come to about 30 MB
WAYS = {"deconvnet": "deconvnet", "guided": "guided backpropagation", "saliency": "saliency"}
N_CASCADED = 8  # units whose way back is followed while layers are shuffled
LARGE_PX = 160  # one picture by itself
MOST_SHOWN = 64  # filters, or units of a layer for one picture
CONCEPTS_LEAD = (
    "The share of each layer's units that find a concept: where a unit is at its strongest .5 %, it covers the "
    "concept's mask with an IoU above .04 and above that of masks of other pictures (Bau et al. 2017)."
)
SPARSE_LEAD = (
    "How choosy the units of each layer are: 0 where all pictures excite a unit alike, 1 where one picture alone does "
    "(lifetime sparseness, Vinje & Gallant 2000; the median unit)."
)


def layer_facts(look: Looked, k: int) -> LayerFacts:
    """A line of the table of layers."""
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
    if layer.whole or not layer.exact:
        facts["field"] = "besides numbers of the whole picture" if layer.exact else "at most"
    return LayerFacts(look.name(layer), layer.kind, layer.n_units, layer.receptive_px, layer.jump_px, facts)


def depth(looks: Sequence[Looked]) -> Section:
    """The depth story: which concepts the units of each layer find; where no masks are known, how choosy they are."""
    known = all(look.dissections is not None for look in looks)
    charts = _concept_chart if known else _sparse_chart
    body = Markup("").join(charts(look, [look.name(layer) for layer in look.layers]) for look in looks)
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
        scale = max(1, 56 // drawn.shape[1])
        large = drawn.repeat(scale, 1).repeat(scale, 2)
        parts.append(drawing.figure(drawing.grid(large), f"{look.opened.name}, {layer.name}"))
    if parts:
        lead = "What the first convolutions multiply the picture with; grey is 0, each is scaled by its largest weight."
        yield Section("Filters", lead, drawing.figures(parts))


def of_one(looks: Sequence[Looked]) -> Iterator[Section]:
    """What a network makes of one picture: every layer's maps, and where the picture speaks for the answer."""
    parts = [part for look in looks for part in _maps(look)]
    answers = [part for look in looks for part in _answer(look)]
    if answers:
        lead = (
            "Where the picture speaks for what the network gives most of, and against it (blue): Grad-CAM of the last "
            "layer with a map (Selvaraju et al. 2017), and integrated gradients (Sundararajan et al. 2017)."
        )
        yield Section("What speaks for the answer", lead, drawing.figures(answers))
    if parts:
        lead = (
            "What every unit makes of it, layer by layer: white is much, black is little; a crossed-out unit is dead."
        )
        yield Section("Feature maps of one picture", lead, drawing.figures(parts))


@torch.no_grad()
def _maps(look: Looked) -> Iterator[Markup]:
    opened, layers = look.opened, [layer for layer in look.layers if layer.is_map]
    if not layers:
        return
    one = look.picture
    values = opened.graph.values(opened.items.inputs([one]), [layer.node for layer in layers])
    picture = opened.items.shown(opened.pictures([one]))[0]
    yield drawing.figure(picture, opened.items.names[one], scale=_scale(picture))
    dead = {found.layer.name: found.dead for found in look.exemplars}
    for layer in layers:
        maps = as_maps(layer, values[layer.node])[0, :MOST_SHOWN].numpy()
        drawn = drawing.feature_maps(maps, dead[layer.name][:MOST_SHOWN])
        more = f", {MOST_SHOWN} of {layer.n_units}" if layer.n_units > MOST_SHOWN else ""
        yield drawing.figure(drawing.grid(drawn), f"{look.name(layer)}{more}")


def _scale(picture: UInt8[NDArray, "height width 3"]) -> float:
    height, width, _ = picture.shape
    return float(max(1.0, LARGE_PX / max(height, width)))


def _answer(look: Looked) -> Iterator[Markup]:
    opened, graph = look.opened, look.opened.graph
    inputs = opened.items.inputs([look.picture])
    with torch.no_grad():
        output = graph.values(inputs, [graph.output])[graph.output].flatten()
    if not output.is_floating_point() or graph.batch not in (None, 1):
        return
    unit = int(output.argmax())
    what, picture = target(None, [unit]), opened.items.shown(opened.pictures([look.picture]))[0]
    for name, found in (("Grad-CAM", _grad_cam), ("integrated gradients", _integrated)):
        try:
            heat = found(look, inputs, what)
        except ModelError:
            continue
        if heat.shape == picture.shape[:2]:
            drawn = drawing.overlay(picture, heat)
            yield drawing.figure(drawn, f"{opened.name}, output {unit}: {name}", scale=_scale(picture))


def _grad_cam(look: Looked, inputs: Sequence[Tensor], what: Target) -> Float[NDArray, "height width"]:
    layers = [layer for layer in look.opened.graph.layers if layer.is_map and layer.repeats == 1 and layer.height > 1]
    if not layers:
        raise ModelError(f"{look.opened.name}: no layer with a map")
    return grad_cam(look.opened.graph, inputs, what, layers[-1])[0].numpy()


def _integrated(look: Looked, inputs: Sequence[Tensor], what: Target) -> Float[NDArray, "height width"]:
    maps, _ = integrated_gradients(look.opened.graph, inputs, what)
    return maps[0].sum(0).numpy() if maps.ndim == 4 else maps[0].numpy()


def sanity(looks: Sequence[Looked], alike: Mapping[tuple[str, str], Sequence[float]]) -> Iterator[Section]:
    """How alike projections are with and without what was learned: of all units, and layer by layer."""
    if not alike:
        return
    rows = [
        [layer, WAYS[method], float(np.mean(values)), *np.quantile(values, [0.05, 0.95]).tolist(), len(values)]
        for (layer, method), values in alike.items()
    ]
    columns = ["layer", "way back", "alike, mean", "5 %", "95 %", "units"]
    lead = (
        "The same patches with all weights of the network shuffled: rank correlation of the sizes of both "
        "projections. Near 1, the way back shows the picture and the network's plan rather than what it learned "
        "(Adebayo et al. 2018). The chart: the same where the network is shuffled from the top down to a layer."
    )
    charts = Markup("").join(chart for look in looks for chart in _cascade(look))
    yield Section("Sanity: the same without learning", lead, drawing.table(columns, rows) + charts)


def _cascade(look: Looked) -> Iterator[Markup]:
    """Shuffled from the top, layer by layer, for the strongest patch of some units of the deepest layer with a map."""
    graph, found = look.opened.graph, [e for e in look.exemplars if e.layer.is_map and not e.dead.all()]
    if not found:
        return
    last = found[-1]
    units = np.flatnonzero(~last.dead)[:N_CASCADED]
    numbers, parts = last.picture[units, 0], last.picture[units, 0] % last.layer.repeats
    what = target(last.layer, *(x.tolist() for x in (units, last.row[units, 0], last.column[units, 0], parts)))
    inputs = look.opened.inputs_of(last.layer)(numbers.tolist())
    before = [layer for layer in graph.layers[: graph.layers.index(last.layer) + 1] if layer.kind != "linear"]
    lines = {}
    for method in (known for known in METHODS if known in look.wanted.methods):
        with suppress(ModelError):
            told = by_depth(graph, partial(_patches, inputs=inputs, what=what, method=method), before[::-1])
            lines[WAYS[method]] = [likeness.mean[0] for likeness in told]
    if lines:
        names = [look.name(layer) for layer in before[::-1]]
        title = f"{len(units)} units of {look.name(last.layer)}, shuffled from the top down to"
        yield drawing.layer_chart(names, lines, title, is_share=False)


def _patches(graph: Graph, inputs: Sequence[Tensor], what: Target, method: Method) -> list[Tensor]:
    """Projections cut to the receptive fields: outside of these all are nought, and alike."""
    assert what.layer is not None
    maps, places = projected(graph, inputs, what, method), zip(what.row.tolist(), what.column.tolist(), strict=True)
    cut = [one[(..., *what.layer.patch(row, column))] for one, (row, column) in zip(maps, places, strict=True)]
    return [part.unsqueeze(0) if part.ndim == 2 else part for part in cut]


def left_out(notes: Sequence[str]) -> Iterator[Section]:
    """What is not on the page, and why."""
    if notes:
        items = Markup("").join(Markup("<li>{}</li>").format(note) for note in notes)
        yield Section("Left out", "What is not on this page, and why.", Markup("<ul>{}</ul>").format(items))
