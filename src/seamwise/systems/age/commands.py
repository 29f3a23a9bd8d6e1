"""What a person runs of the age system: `seamwise predict age` and `seamwise eval age --data`."""

import json
import math
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Final, final

import typer

from seamwise.errors import InputError, SeamwiseError, StorageError
from seamwise.model import Model
from seamwise.steps import Steps
from seamwise.systems.age.dicom import MM_PER_PX
from seamwise.systems.age.predict import Answer, answer, in_words, load
from seamwise.systems.age.reading import Radiograph, read_radiograph
from seamwise.trial import write_whole

SEXES: Final = {"f": "F", "female": "F", "m": "M", "male": "M"}
DRAWING: Final = ".bones.png"  # the end of a drawing's name

_options: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
_predict, _eval = typer.Typer(**_options), typer.Typer(**_options)
apps = {"predict": _predict, "eval": _eval}

ModelFolder = Annotated[Path, typer.Option("--model", help="A folder that `seamwise train age` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@_predict.command()
def predict(
    files: Annotated[list[Path], typer.Argument(metavar="HAND...", help="Radiographs: PNG, JPEG, TIFF, BMP or DICOM.")],
    model: ModelFolder,
    sex: Annotated[str | None, typer.Option(metavar="F|M", help="Of all; a DICOM file may give its own.")] = None,
    mm_per_px: Annotated[
        float | None, typer.Option(metavar="X", help="The files' pixel in mm; a DICOM file may give its own.")
    ] = None,
    draw: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for pictures of the bones found.")] = None,
    as_json: Json = False,
) -> None:
    """Bone age from radiographs of a hand, with an interval, the bones' lengths and what drove the estimate.

    A file that cannot be read, or shows no hand, is named, and the others go on. Pictures of the bones are called
    NAME.bones.png.

    Example: seamwise predict age --model model/ hand.png --sex F --mm-per-px 0.14 --draw seen/
    """
    given_sex = _checked_sex(sex)
    _check_scale(mm_per_px)
    places = _Places(draw)
    with redirect_stdout(sys.stderr):
        loaded = _loaded(model)
    n_failed = 0
    with Steps("radiographs") as steps:
        for n_done, path in enumerate(files, start=1):
            try:
                with redirect_stdout(sys.stderr):
                    seen = _read(path)
                    own, told = _sex_of(path, seen, given_sex)
                    told += _scale_told(seen, mm_per_px)
                    found = answer(loaded, seen, own, mm_per_px, str(path), told)
            except InputError as error:
                n_failed += 1
                _fail(path, error, as_json)
                continue
            try:
                places.draw(path, found, own)
                undrawn = None
            except StorageError as error:
                n_failed += 1
                undrawn = error
            _say(path, found, undrawn, as_json)
            steps.at(n_done, len(files))
    if n_failed:
        raise typer.Exit(2)


@_eval.command(name="eval")
def evaluate(
    model: ModelFolder,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="A folder of radiographs with a table of their ages; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a model on radiographs with known ages: a folder with a CSV of id, boneage, sex; pictures named by the id.

    Without --data, it is scored on the test items of the task that it was trained on.

    Example: seamwise eval age --model model/ --data hands/ --json
    """
    from seamwise.systems.age import scoring

    with redirect_stdout(sys.stderr):
        loaded = _loaded(model)
        records = scoring.records_of(data or [], lambda text: print(f"warning: {text}", file=sys.stderr))
        known = scoring.n_trained(loaded, records)
        if known:
            told = f"{known:,} of {len(records):,} radiographs are among those the model was made from"
            print(f"warning: {told}: on them it looks better than it is", file=sys.stderr)
        with Steps("radiographs") as steps:
            ages = scoring.ages_told(
                loaded, records, lambda error: print(f"refused: {error}", file=sys.stderr), steps.at
            )
    scores = scoring.scores(loaded, records, ages)
    print(json.dumps(scores) if as_json else scoring.table(scores))
    if scores["n_refused"] == len(records):
        remedy = "see above what was wrong with each"
        raise InputError(f"none of {len(records):,} radiographs was answered: there is no score", remedy=remedy)


def _loaded(folder: Path) -> Model:
    model = load(folder)
    if not model.same_chain:
        print("warning: the task's stages changed since training: the answers may be others", file=sys.stderr)
    return model


def _checked_sex(sex: str | None) -> str | None:
    if sex is not None and sex.strip().lower() not in SEXES:
        raise InputError(f"--sex {sex}", expected="F or M")
    return None if sex is None else SEXES[sex.strip().lower()]


def _check_scale(mm_per_px: float | None) -> None:
    low, high = MM_PER_PX
    if mm_per_px is not None and not (math.isfinite(mm_per_px) and low <= mm_per_px <= high):
        remedy = "leave it out where it is not known"
        raise InputError(f"--mm-per-px {mm_per_px:g}", expected=f"{low:g} to {high:g} mm", remedy=remedy)


def _sex_of(path: Path, seen: Radiograph, given: str | None) -> tuple[str, tuple[str, ...]]:
    """The sex, and a warning where the file contradicts what was given. Raises InputError where neither tells."""
    if given is None and seen.sex is None:
        expected = "it known: girls' hands mature earlier"
        raise InputError(f"{path}: does not say the sex", expected=expected, remedy="give --sex F or --sex M")
    if given is not None and seen.sex is not None and given != seen.sex:
        return given, (f"the file says {seen.sex}, --sex says {given}; {given} was taken",)
    return given or seen.sex or "", ()


def _scale_told(seen: Radiograph, given: float | None) -> tuple[str, ...]:
    if given is None or seen.mm_per_px is None or abs(given / seen.mm_per_px - 1) < 0.01:
        return ()
    return (f"the file says {seen.mm_per_px:.4g} mm a pixel, --mm-per-px says {given:.4g}; that was taken",)


def _read(path: Path) -> Radiograph:
    try:
        return read_radiograph(path)
    except OSError as error:
        remedy = "check the name, or copy the radiograph again"
        raise InputError(f"{path}: cannot be read", given=error.strerror or str(error), remedy=remedy) from error


def _fail(path: Path, error: SeamwiseError, as_json: bool) -> None:
    text = _named(path, error)
    print(f"error: {text}", file=sys.stderr)
    if as_json:
        print(json.dumps({"file": str(path), "error": text}), flush=True)


def _named(path: Path, error: SeamwiseError) -> str:
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _say(path: Path, found: Answer, undrawn: StorageError | None, as_json: bool) -> None:
    """The answer; and the error where it could not be drawn."""
    if undrawn is not None:
        print(f"error: {_named(path, undrawn)}", file=sys.stderr)
    if as_json:
        failed = {} if undrawn is None else {"error": _named(path, undrawn)}
        print(json.dumps({"file": str(path), **found.flat(), **failed}), flush=True)
        return
    within = "no interval known"
    if found.low_months is not None and found.high_months is not None:
        within = f"9 in 10: {found.low_months:.0f} to {found.high_months:.0f} months"
    print(f"{path}: {found.age_months:.0f} months, {in_words(found.age_months)} ({within})")
    if found.lengths:
        unit = "mm" if found.scale_known else "scale unknown; in mean lengths of this hand's bones"
        decimals = 1 if found.scale_known else 2
        print(f"  lengths ({unit}):")
        for row in ("MC", "PP", "MP", "DP"):
            bones = [f"{name} {length:.{decimals}f}" for name, length in found.lengths.items() if name.startswith(row)]
            print(f"    {'  '.join(bones)}")
    if found.drove:
        drove = ", ".join(f"{bone} {months:+.1f}" for bone, months in found.drove)
        print(f"  drove the estimate (months): {drove}")
    for warning in found.warnings:
        print(f"  warning: {warning}")
    sys.stdout.flush()


@final
class _Places:
    """Where pictures go: each file its own, also where two have one name; only an earlier drawing is replaced.

    Raises StorageError where the folder cannot be made, InputError where it is none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder, self._taken = folder, set[str]()
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise InputError(f"--draw {folder}: is no folder", remedy="give another folder") from None
        except OSError as error:
            raise _undrawn(f"--draw {folder}", error) from error

    def draw(self, path: Path, found: Answer, sex: str) -> None:
        """Write the drawing of a file's answer. Raises StorageError."""
        if self._folder is None:
            return
        from seamwise.systems.age.drawing import draw_answer, encoded

        place = self._folder / f"{path.stem}{DRAWING}"
        try:
            place = self._place(path.stem)
            write_whole(place, encoded(draw_answer(found, path.name, sex)))
        except (OSError, StorageError) as error:
            raise _undrawn(f"{place}", error) from error

    def _place(self, stem: str) -> Path:
        from seamwise.systems.age.drawing import is_drawing

        place, number = Path(self._folder or ".", f"{stem}{DRAWING}"), 1
        while str(place).casefold() in self._taken or (os.path.lexists(place) and not is_drawing(place)):
            number += 1
            place = place.with_name(f"{stem}-{number}{DRAWING}")
        self._taken.add(str(place).casefold())
        return place


def _undrawn(where: str, error: OSError | StorageError) -> StorageError:
    cause = error if isinstance(error, OSError) else error.__cause__
    given = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    return StorageError(f"{where}: the drawing cannot be written", given=given, remedy="give another folder to --draw")
