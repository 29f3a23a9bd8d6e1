"""The command `look`: what the trained networks learned."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamwise.cli.options import Json, aside, words
from seamwise.errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import nn

    from seamwise.look.looking import Looked, Wanted
    from seamwise.look.opening import Opened
    from seamwise.look.page.page import Section
    from seamwise.model import Model

TONES = ("imagenet", "none")
TORCHVISION = "torchvision."
SIZE_PX = 224


def look(
    network: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model folder, or package.module:factory of any torch.nn.Module."),
    ],
    out: Annotated[Path, typer.Option(help="The page to write; a folder where there are more than 4,000 units.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of pictures (for a model folder also files); by default its validation items, or drawn scenes."
        ),
    ] = None,
    text: Annotated[Path | None, typer.Option(help="A text to look at a network of texts with.")] = None,
    column: Annotated[str, typer.Option(help="Which column of a table (.csv) is the text.")] = "",
    concept: Annotated[
        list[str] | None,
        typer.Option(
            help="A name (punctuation, quote marks, particles ...), label (the text's own), or a file with a label a "
            "token, a line or a document; repeatable; by default all that hold often enough."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Of a factory's network: a safetensors file.")] = None,
    size: Annotated[int | None, typer.Option(help="Of a factory's pictures: their side in px; 224 by default.")] = None,
    tone: Annotated[
        str | None, typer.Option(help="Of a factory's pictures: imagenet or none; imagenet for torchvision's networks.")
    ] = None,
    layer: Annotated[list[str] | None, typer.Option(help="Only this layer; repeatable.")] = None,
    unit: Annotated[list[str] | None, typer.Option(help="Only this unit, LAYER/N; repeatable.")] = None,
    method: Annotated[
        str, typer.Option(help="Ways back to the picture: deconvnet, guided, saliency, or none.")
    ] = "deconvnet",
    places: Annotated[int, typer.Option(help="Patches a unit.")] = 9,
    sanity: Annotated[bool, typer.Option(help="Beside each way back the same without learning.")] = True,
    maximise: Annotated[bool, typer.Option(help="A picture made to excite each unit, too; slow.")] = False,
    window: Annotated[
        int | None, typer.Option(help="Tokens read at once; 509, or what the network can read, by default.")
    ] = None,
    picture: Annotated[str, typer.Option(help="Whose feature maps are shown, by name; the first by default.")] = "",
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
    as_json: Json = False,
) -> None:
    """Open a trained network: what each of its units responds to, on one page.

    Example: seamwise look model/ --out look.html

    Any network: seamwise look torchvision.models:alexnet --weights alexnet.safetensors --data photos/ --out look.html

    Text: seamwise look seamwise.look.text.characters:network --weights W.safetensors --text plays.txt --out look.html
    """
    from seamwise.look.page.page import check_place

    check_place(out)
    is_factory = _is_factory(network)
    of_pictures = {"--data": data, "--size": size, "--tone": tone, "--unit": unit, "--picture": picture}
    if text is not None:
        _refuse(of_pictures | {"--maximise": maximise}, "of pictures", "leave it out, or leave out --text")
        _refuse({} if is_factory else {"--weights": weights}, "of a factory's network", "a parser has its own")
        _look_at_text(network, weights, text, column, concept or [], layer or [], window, out, seed, as_json)
        return
    _refuse({"--concept": concept, "--column": column, "--window": window}, "of texts", "give --text FILE too")
    own = {} if is_factory else {"--weights": weights, "--size": size, "--tone": tone}
    _refuse(own, "of a factory's network", "leave it out: a model folder has its own")
    from seamwise.look.looking import Wanted

    wanted = Wanted(
        tuple(layer or ()),
        _units(unit or []),
        _methods(method),
        n_places=places,
        seed=seed,
        sanity=sanity,
        maximise=maximise,
        picture=picture,
    )
    with aside(as_json):
        if is_factory:
            told = _of_factory(network, weights, data or [], SIZE_PX if size is None else size, tone, wanted, out)
        else:
            told = _of_model(Path(network), data or [], wanted, out)
    print(json.dumps(told)) if as_json else _say(told)


def _is_factory(network: str) -> bool:
    return ":" in network and not Path(network).exists()


def _refuse(given: dict[str, Any], are: str, remedy: str) -> None:
    """Raises InputError where an option was given that would not be looked at."""
    for option, value in given.items():
        if value is not None and value is not False and value != "":
            raise InputError(f"{option} is {are}", remedy=remedy)


def _units(asked: list[str]) -> dict[str, tuple[int, ...]]:
    units: dict[str, tuple[int, ...]] = {}
    for text in asked:
        layer, _, number = text.removeprefix("#").rpartition("/")
        if not layer or not re.fullmatch("[0-9]{1,9}", number):
            raise InputError(f"--unit {text}", expected="LAYER/N, such as features.0/3")
        units[layer] = tuple(dict.fromkeys((*units.get(layer, ()), int(number))))
    return units


def _methods(text: str) -> Any:
    return () if text == "none" else tuple(words(text) or ())


def _of_factory(
    spec: str, weights: Path | None, data: list[Path], size: int, tone: str | None, wanted: "Wanted", out: Path
) -> dict[str, Any]:
    from seamwise.look.opening import open_factory
    from seamwise.look.pictures import AS_IT_IS, IMAGENET

    chosen = tone or (TONES[0] if spec.startswith(TORCHVISION) else TONES[1])
    if chosen not in TONES:
        raise InputError(f"--tone {tone}", expected=" or ".join(TONES))
    if len(data) > 1:
        raise InputError(f"{len(data)} folders of pictures", expected="one --data FOLDER")
    opened = open_factory(spec, weights, data[0] if data else None, size, IMAGENET if chosen == TONES[0] else AS_IT_IS)
    notes = [f"{name}: its rows do not go item by item" for name in opened.graph.dropped]
    of = f"{data[0]}, {size} px" if data else f"scenes drawn at {size} px, of which every concept's mask is known"
    return _written([opened], wanted, out, f"What {spec} learned", f"Looked at with {of}.", notes)


def _of_model(folder: Path, data: list[Path], wanted: "Wanted", out: Path) -> dict[str, Any]:
    from seamwise.look.opening import open_chain
    from seamwise.look.pictures import files_in
    from seamwise.model import load_model

    model = load_model(folder)
    opened, notes = open_chain(model.task, model.net, files_in(data))
    if not opened:
        raise InputError(f"{folder}: no learned stage sees a picture", given="; ".join(notes))
    record = model.record
    title = f"What {record.task} learned: {record.variant}, {record.regime}"
    of = "the files given" if data else "validation items of its task"
    return _written(opened, wanted, out, title, f"Each learned stage, looked at with {of}.", notes, model)


def _probed(model: "Model | None") -> "list[Section]":
    """How well the fields of the stages can be read from each layer."""
    if model is None:
        return []
    from seamwise.look.probing.section import probed

    return probed(model.task, model.net, model.record.variant)


def _written(
    opened: "list[Opened]",
    wanted: "Wanted",
    out: Path,
    title: str,
    lead: str,
    notes: list[str],
    model: "Model | None" = None,
) -> dict[str, Any]:
    from seamwise.look.looking import look_at
    from seamwise.look.showing import write_look
    from seamwise.steps import Steps

    several = len(opened) > 1
    looks: list[Looked] = []
    skipped: list[str] = []
    for one, own in _shared(opened, wanted):
        with Steps(f"items seen by {one.name}") as steps:
            looks.append(look_at(one, own, steps.at, f"{one.name}." if several else ""))
        skipped += one.items.skipped
    if skipped:
        more_of = f", and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        notes = [*notes, f"{len(skipped)} pictures could not be read: {'; '.join(skipped[:5])}{more_of}"]
    more = _probed(model)
    with Steps("units") as steps:
        page, shown = write_look(out, title, looks, lead=lead, more=more, notes=notes, told=steps.at)
    return {
        "page": str(page),
        "units": shown.n_units,
        "dead": shown.n_dead,
        "layers": shown.flat(),
        "notes": [*notes, *dict.fromkeys(shown.refused)],
        "skipped": skipped,
    }


def _shared(opened: "list[Opened]", wanted: "Wanted") -> "list[tuple[Opened, Wanted]]":
    """What is wanted of each network: layers by their own names, or as the page has them, behind the network's."""
    from dataclasses import replace

    from seamwise.look.looking import chosen

    asked = [*wanted.layers, *wanted.units]
    shared, found = [], set[str]()
    for one in opened:
        own = {name: name.removeprefix(f"{one.name}.") for name in asked}
        known = {layer.name for layer in one.graph.layers}
        mine = {name: short for name, short in own.items() if short in known}
        found.update(mine)
        if mine or not asked:
            layers = tuple(mine[name] for name in wanted.layers if name in mine)
            units = {mine[name]: numbers for name, numbers in wanted.units.items() if name in mine}
            shared.append((one, replace(wanted, layers=layers, units=units)))
    lacking = [name for name in asked if name not in found]
    if lacking:
        prefix = len(opened) > 1
        there = [f"{one.name}.{la.name}" if prefix else la.name for one in opened for la in one.graph.layers]
        raise ModelError(f"no layer {lacking[0]!r}", expected=f"one of {', '.join(there)}")
    for one, of_it in shared:
        chosen(one, of_it)
    return shared


def _say(told: dict[str, Any]) -> None:
    for note in told["notes"]:
        print(f"note: {note}")
    print(f"{told['page']}: {told['units']:,} units of {len(told['layers'])} layers, {told['dead']:,} of them dead")


def _look_at_text(
    network: str,
    weights: Path | None,
    text: Path,
    column: str,
    concepts: list[str],
    layers: list[str],
    window: int | None,
    out: Path,
    seed: int,
    as_json: bool,
) -> None:
    from seamwise.look.text.characters import read_text
    from seamwise.look.text.showing import look_at_text, refuse_pictures, write_text_look

    with aside(as_json):
        module = _reader(network, weights)
        refuse_pictures(module)
        wide = {} if window is None else {"window": window}
        found = look_at_text(module, read_text(text, column), concepts, layers=layers, seed=seed, **wide)
        title, lead = f"What {network} answers to", f"{text}."
        page = write_text_look(out, title, found, lead=lead, seed=seed)
    told = {
        "page": str(page),
        "n_tokens": found.found.n_tokens,
        "looked_at": found.looked_at,
        "units": found.flat(),
        "notes": list(found.notes),
    }
    if as_json:
        print(json.dumps(told))
        return
    for note in found.notes:
        print(f"note: {note}")
    best = {row["concept"]: row for row in reversed(found.flat())}
    for name, row in reversed(best.items()):
        print(f"{name}: {row['layer']}/{row['unit']}, AUROC {row['auroc']:.3f}, p {row['p']:.3f}")
    print(f"{page}: {found.looked_at}")


def _reader(network: str, weights: Path | None) -> "nn.Module":
    if _is_factory(network):
        from seamwise.look.opening import network_of

        return network_of(network, weights)
    from seamwise.systems.text.looking import Read
    from seamwise.systems.text.parser import Parser

    return Read(Parser.load(network))
