"""The command `look`: what the trained networks learned."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seamwise.cli.options import Json, aside, words
from seamwise.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from seamwise.look.looking import Looked, Wanted
    from seamwise.look.opening import Opened
    from seamwise.look.page.page import Section
    from seamwise.model import Model

TONES = ("imagenet", "none")
TORCHVISION = "torchvision."


def look(
    network: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A model folder, or package.module:factory of any torch.nn.Module."),
    ],
    out: Annotated[Path, typer.Option(help="The page to write; a folder where there are more than 4,000 units.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures: a folder, or files; by default the model's validation items, or drawn scenes."),
    ] = None,
    text: Annotated[Path | None, typer.Option(help="A text to look at a network of texts with.")] = None,
    column: Annotated[str, typer.Option(help="Which column of a table (.csv) is the text.")] = "",
    concept: Annotated[
        list[str] | None,
        typer.Option(
            help="punctuation, quotes ..., or a file with a label a token or a line; repeatable; all by default."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Of a factory's network: a safetensors file.")] = None,
    size: Annotated[int, typer.Option(help="Of a factory's pictures: their side in px.")] = 224,
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
    picture: Annotated[str, typer.Option(help="Whose feature maps are shown, by name; the first by default.")] = "",
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
    as_json: Json = False,
) -> None:
    """Open a trained network: what each of its units responds to, on one page.

    Example: seamwise look model/ --out look.html

    Any network: seamwise look torchvision.models:alexnet --weights alexnet.safetensors --data photos/ --out look.html

    Text: seamwise look seamwise.look.text.characters:network --weights W.safetensors --text plays.txt --out look.html
    """
    if text is not None:
        _look_at_text(network, weights, text, column, concept or [], layer or [], out, seed, as_json)
        return
    if concept:
        raise InputError("--concept is of texts", remedy="give --text FILE too")
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
        if ":" in network and not Path(network).exists():
            told = _of_factory(network, weights, data or [], size, tone, wanted, out)
        else:
            told = _of_model(Path(network), weights, data or [], wanted, out)
    print(json.dumps(told)) if as_json else _say(told)


def _units(asked: list[str]) -> dict[str, tuple[int, ...]]:
    units: dict[str, tuple[int, ...]] = {}
    for text in asked:
        layer, _, number = text.removeprefix("#").rpartition("/")
        if not layer or not number.isdigit():
            raise InputError(f"--unit {text}", expected="LAYER/N, such as features.0/3")
        units[layer] = (*units.get(layer, ()), int(number))
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
    of = f"{data[0]}, {size} px" if data else f"scenes drawn at {size} px, of which every concept's mask is known"
    return _written([opened], wanted, out, f"What {spec} learned", f"Looked at with {of}.", (), [])


def _of_model(folder: Path, weights: Path | None, data: list[Path], wanted: "Wanted", out: Path) -> dict[str, Any]:
    from seamwise.look.opening import open_chain
    from seamwise.look.pictures import files_in
    from seamwise.model import load_model

    if weights is not None:
        raise InputError("--weights is of a factory's network", remedy="a model folder has its own")
    model = load_model(folder)
    opened, notes = open_chain(model.task, model.net, files_in(data))
    if not opened:
        raise InputError(f"{folder}: no learned stage sees a picture", given="; ".join(notes))
    record = model.record
    title = f"What {record.task} learned: {record.variant}, {record.regime}"
    of = "the files given" if data else "validation items of its task"
    return _written(opened, wanted, out, title, f"Each learned stage, looked at with {of}.", _probed(model), notes)


def _probed(model: "Model") -> "list[Section]":
    """How well the fields of the stages can be read from each layer."""
    from seamwise.look.probing.section import probed

    return probed(model.task, model.net, model.record.variant)


def _written(
    opened: "list[Opened]", wanted: "Wanted", out: Path, title: str, lead: str, more: Any, notes: list[str]
) -> dict[str, Any]:
    from seamwise.look.looking import chosen, look_at
    from seamwise.look.showing import write_look
    from seamwise.steps import Steps

    opened = _having(opened, wanted)
    for one in opened:
        chosen(one, wanted)
    looks: list[Looked] = []
    for one in opened:
        with Steps(f"items seen by {one.name}") as steps:
            looks.append(look_at(one, wanted, steps.at, f"{one.name}." if len(opened) > 1 else ""))
        skipped = one.items.skipped
        notes = [*notes, *([f"{len(skipped)} pictures could not be read: {'; '.join(skipped[:5])}"] if skipped else [])]
    with Steps("units") as steps:
        page, shown = write_look(out, title, looks, lead=lead, more=more, notes=notes, told=steps.at)
    return {"page": str(page), "units": shown.n_units, "dead": shown.n_dead, "layers": shown.flat(), "notes": notes}


def _having(opened: "list[Opened]", wanted: "Wanted") -> "list[Opened]":
    """The networks that have the layers asked for; all where none was."""
    asked = [*wanted.layers, *wanted.units]
    having = [one for one in opened if any(name in [la.name for la in one.graph.layers] for name in asked)]
    return having or opened


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
    out: Path,
    seed: int,
    as_json: bool,
) -> None:
    from seamwise.look.text.characters import read_text
    from seamwise.look.text.showing import look_at_text, refuse_pictures, write_text_look

    with aside(as_json):
        module = _reader(network, weights)
        refuse_pictures(module)
        found = look_at_text(module, read_text(text, column), concepts, layers=layers, seed=seed)
        title, lead = f"What {network} answers to", f"{found.found.n_tokens:,} tokens of {text}."
        page = write_text_look(out, title, found, lead=lead, seed=seed)
    told = {"page": str(page), "n_tokens": found.found.n_tokens, "units": found.flat(), "notes": list(found.notes)}
    if as_json:
        print(json.dumps(told))
        return
    for note in found.notes:
        print(f"note: {note}")
    best = {row["concept"]: row for row in reversed(found.flat())}
    for name, row in reversed(best.items()):
        print(f"{name}: {row['layer']}/{row['unit']}, AUROC {row['auroc']:.3f}, p {row['p']:.3f}")
    print(f"{page}: {found.found.n_tokens:,} tokens")


def _reader(network: str, weights: Path | None) -> "nn.Module":
    if ":" in network and not Path(network).exists():
        from seamwise.look.opening import network_of

        return network_of(network, weights)
    from seamwise.systems.text.looking import Read
    from seamwise.systems.text.parser import Parser

    return Read(Parser.load(network))
