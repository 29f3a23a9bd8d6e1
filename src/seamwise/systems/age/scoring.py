"""A model scored on folders of radiographs with their ages."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from seamwise.bootstrap import Bootstrap
from seamwise.errors import InputError
from seamwise.model import Model
from seamwise.origin import origin_of
from seamwise.shapes import Float, NDArray
from seamwise.systems.age.folder import Record, read_folder
from seamwise.systems.age.predict import age_of
from seamwise.systems.age.reading import SUFFIXES, read_radiograph

BANDS: Final = {"0_5y": (0, 60), "5_10y": (60, 120), "10_15y": (120, 180), "15_20y": (180, 1000)}  # months

Told = Callable[[str], None]
Steps = Callable[[int, int], None]


def records_of(folders: Sequence[Path], warn: Told) -> list[Record]:
    """The radiographs with an age. Raises InputError where there are none."""
    records: list[Record] = []
    for folder in folders:
        found = read_folder(folder)
        for text in found.warnings:
            warn(f"{folder}: {text}")
        records += [record for record in found.records if record.age_months is not None]
    if not records:
        where = ", ".join(map(str, folders))
        raise InputError(f"{where}: no radiograph with an age", expected="ages in the table, to score against")
    return records


def n_trained(model: Model, records: Sequence[Record]) -> int:
    """How many of the files are in the folders that the model was made from, as far as these are there."""
    folders = origin_of(model.record.source).folders if model.record.source else ()
    known = [path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    sizes = {path.stat().st_size for path in known}
    alike = {_digest(path) for path in known} if any(r.path.stat().st_size in sizes for r in records) else set()
    return sum(_digest(record.path) in alike for record in records) if alike else 0


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def ages_told(
    model: Model, records: Sequence[Record], failed: Callable[[InputError], None], steps: Steps
) -> Float[NDArray, " n"]:
    """The model's answer for each radiograph in months, NaN where it is refused or cannot be read."""
    ages = np.full(len(records), np.nan)
    for k, record in enumerate(records):
        try:
            ages[k] = age_of(model, read_radiograph(record.path), record.sex, record.mm_per_px, str(record.path))
        except InputError as error:
            failed(error)
        except OSError as error:
            failed(InputError(f"{record.path}: cannot be read", given=error.strerror or str(error)))
        steps(k + 1, len(records))
    return ages


def scores(model: Model, records: Sequence[Record], ages: Float[NDArray, " n"]) -> dict[str, Any]:
    """Flat keys, None where there is nothing to tell; `_low` and `_high` are of a 90 % interval.

    Radiographs that were refused count in `n_refused`, and in `mae_months_with_refused` as answered by the median of
    the training ages.
    """
    right = np.array([record.age_months for record in records], dtype=np.float64)
    sex = np.array([record.sex for record in records])
    answered, guess, within = np.isfinite(ages), model.record.guess, model.record.validation_q90
    errors = np.abs(ages - right)
    told: dict[str, Any] = {"n": len(records), "n_refused": int((~answered).sum())}
    told |= _mean("mae_months", errors[answered])
    told |= {key: None if v is None else float(np.sqrt(v)) for key, v in _mean("rmse_months", errors**2).items()}
    if guess is not None:
        whole = np.where(answered, errors, np.abs(guess - right))
        told |= _mean("mae_months_with_refused", whole) | {"trivial_mae_months": float(np.abs(guess - right).mean())}
    else:
        told |= _mean("mae_months_with_refused", errors[:0]) | {"trivial_mae_months": None}
    for one in ("F", "M"):
        told |= _counted(one, errors[answered & (sex == one)])
    for band, (low, high) in BANDS.items():
        told |= _counted(band, errors[answered & (right >= low) & (right < high)])
    covered = None if within is None or not answered.any() else float((errors[answered] <= within).mean())
    return told | {"coverage_90": covered}


def _counted(name: str, errors: Float[NDArray, " n"]) -> dict[str, Any]:
    return {**_mean(f"mae_months_{name}", errors), f"n_{name}": len(errors)}


def _mean(key: str, values: Float[NDArray, " n"]) -> dict[str, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    told = Bootstrap(np.arange(len(known))[:, None]).interval(known[None])
    return {key: told.mean, f"{key}_low": told.low, f"{key}_high": told.high}


def table(told: dict[str, Any]) -> str:
    """The scores for a person."""

    def of(key: str) -> str:
        if told[key] is None:
            return f"{'-':>6}"
        return f"{told[key]:6.1f} [{told[f'{key}_low']:.1f}, {told[f'{key}_high']:.1f}]"

    def alone(key: str) -> str:
        return "not known" if told[key] is None else f"{told[key]:.1f}"

    lines = [f"{told['n']:,} radiographs, {told['n_refused']:,} of them refused or not readable; in months (90 %):"]
    lines += [f"  {'mean absolute error':24}{of('mae_months')}", f"  {'root mean square error':24}{of('rmse_months')}"]
    lines.append(f"  {'with the refused':24}{of('mae_months_with_refused')}")
    for name, key in [("girls", "F"), ("boys", "M"), *((f"{b[:-1].replace('_', ' to ')} years", b) for b in BANDS)]:
        lines.append(f"  {name:24}{of(f'mae_months_{key}')}  (n {told[f'n_{key}']:,})")
    lines.append(f"  without looking: {alone('trivial_mae_months')} (the median of the training ages)")
    covered = "not known" if told["coverage_90"] is None else f"{told['coverage_90']:.1%}"
    lines.append(f"  within the interval for 90 %: {covered}")
    return "\n".join(lines)
