"""How a hand grows: the lengths of its bones, when carpals and growth plates appear and when the plates fuse.

`growth.csv` holds joint-to-joint lengths, median and robust sd, from 9 years on measured on 884 radiographs of the
Digital Hand Atlas (landmarks of Payer et al.), below that scaled by stature (`measured` 0). Its ages are those of the
children; they are taken for bone ages here, which in the atlas are half a year to a year more, so that lengths are up
to half a standard deviation too large at a bone age of 10 to 14 years.

Source: ages of appearance Garn, Rohmann & Silverman 1967 (girls' and boys' medians, rounded); of fusion Greulich &
Pyle 1959 and Gilsanz & Ratib 2005. Differs: smooth between the ages they give, one spread for all signs.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from scipy.interpolate import PchipInterpolator
from sklearn.isotonic import isotonic_regression

from seamwise.shapes import Float, Int, NDArray

__all__ = [
    "BONES",
    "CARPALS",
    "PLATES",
    "Maturity",
    "Ossification",
    "Table",
    "lengths",
    "maturity",
    "ossification",
    "table",
]

FINGERS = (("MC1", "PP1", "DP1"), *((f"MC{k}", f"PP{k}", f"MP{k}", f"DP{k}") for k in range(2, 6)))
BONES = tuple(bone for finger in FINGERS for bone in finger)
PLATES = (*BONES, "radius", "ulna")
CARPALS = ("capitate", "hamate", "triquetrum", "lunate", "scaphoid", "trapezium", "trapezoid", "pisiform")
SEXES = ("F", "M")  # sex 0 and 1

# months: (girls, boys); an epiphysis appears, is as wide as its metaphysis, is fused
APPEAR: dict[str, tuple[float, float]] = {
    "MC1": (19, 31), "PP1": (20.5, 33.5), "DP1": (12, 18), "MC2": (12.5, 19), "PP2": (10.5, 17), "MP2": (16.5, 26),
    "DP2": (29, 38.5), "MC3": (13.5, 20), "PP3": (10, 16), "MP3": (15.5, 24), "DP3": (18, 29), "MC4": (15, 23),
    "PP4": (11, 17), "MP4": (15.5, 24.5), "DP4": (18, 29), "MC5": (16.5, 26), "PP5": (14.5, 21), "MP5": (22.5, 40.5),
    "DP5": (23.5, 37.5), "radius": (10, 13), "ulna": (70, 85),
}  # fmt: skip
WIDE: dict[str, tuple[float, float]] = {
    "MC1": (108, 132), "MC": (114, 138), "PP": (96, 120), "MP": (108, 132), "DP": (108, 132),
    "radius": (120, 144), "ulna": (132, 162),
}  # fmt: skip
FUSED: dict[str, tuple[float, float]] = {
    "MC1": (168, 192), "MC": (182, 204), "PP": (173, 197), "MP": (177, 201), "DP": (162, 187),
    "radius": (206, 224), "ulna": (200, 218),
}  # fmt: skip
CARPAL_APPEARS = ((2, 3), (3, 4), (18, 24), (30, 48), (48, 66), (48, 72), (48, 72), (114, 132))
CARPAL_ADULT = (168, 192)
FIRST_SHARE = 0.12  # of the adult size, when a carpal is first seen
BORN = ((0, 0.68), (6, 0.88))  # months, length as a share of that at one year


@dataclass(frozen=True)
class Table:
    """`growth.csv`; bones in the order of BONES, then the width of the wrist."""

    sex: Int[NDArray, " rows"]
    age_months: Float[NDArray, " rows"]
    n_hands: Int[NDArray, " rows"]
    measured: Int[NDArray, " rows"]
    mean_mm: Float[NDArray, "rows 20"]
    sd_mm: Float[NDArray, "rows 20"]


@dataclass(frozen=True)
class Ossification:
    """One sex's ages in months: carpals in the order of CARPALS, plates in that of PLATES."""

    carpal_appears: Float[NDArray, "8"]
    carpal_adult: Float[NDArray, "8"]
    plate_appears: Float[NDArray, "21"]
    plate_wide: Float[NDArray, "21"]  # the epiphysis is as wide as the metaphysis
    plate_fused: Float[NDArray, "21"]


@dataclass(frozen=True)
class Maturity:
    """Signs of bone age: plates 0 without epiphysis, .5 when that is wide, 1 fused; carpals as shares of adult size."""

    plates: Float[NDArray, "n 21"]
    carpals: Float[NDArray, "n 8"]


@cache
def table() -> Table:
    """What `growth.csv` says."""
    with files(__package__).joinpath("growth.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = (*BONES, "WRIST")
    return Table(
        sex=np.array([SEXES.index(row["sex"]) for row in rows]),
        age_months=np.array([12.0 * float(row["age_years"]) for row in rows]),
        n_hands=np.array([int(row["n"]) for row in rows]),
        measured=np.array([int(row["measured"]) for row in rows]),
        mean_mm=np.array([[float(row[f"{name}_mm"]) for name in names] for row in rows]),
        sd_mm=np.array([[float(row[f"{name}_sd"]) for name in names] for row in rows]),
    )


def lengths(
    sex: Int[NDArray, " n"], age_months: Float[NDArray, " n"]
) -> tuple[Float[NDArray, "n 19"], Float[NDArray, "n 19"]]:
    """Mean and sd in mm of each bone's length joint to joint; never shorter with age, constant from 18 years on."""
    mean, sd = np.empty((2, len(sex), len(BONES)))
    for one in (0, 1):
        rows = sex == one
        of_mean, of_sd = _curves(one)
        age = np.clip(age_months[rows], 0, 216)
        mean[rows], sd[rows] = of_mean(age), of_sd(age) * of_mean(age)
    return mean, sd


@cache
def ossification(sex: int) -> Ossification:
    """When the signs appear and plates fuse in girls (0) or boys (1)."""
    kinds = [plate if plate in FUSED else plate[:2] for plate in PLATES]
    return Ossification(
        carpal_appears=np.array([ages[sex] for ages in CARPAL_APPEARS], float),
        carpal_adult=np.full(8, CARPAL_ADULT[sex], float),
        plate_appears=np.array([APPEAR[plate][sex] for plate in PLATES], float),
        plate_wide=np.array([WIDE[kind][sex] for kind in kinds], float),
        plate_fused=np.array([FUSED[kind][sex] for kind in kinds], float),
    )


def maturity(
    sex: Int[NDArray, " n"], age_months: Float[NDArray, " n"], offset_months: Float[NDArray, "n 29"] | None = None
) -> Maturity:
    """The signs at a bone age; `offset_months` is by how much each plate, then each carpal, is ahead of it."""
    ages = np.repeat(age_months[:, None], 29, axis=1) + (0 if offset_months is None else offset_months)
    plates, carpals = np.empty((len(sex), 21)), np.empty((len(sex), 8))
    for one in (0, 1):
        rows, when = sex == one, ossification(one)
        age = ages[rows, :21]
        rising = (age - when.plate_appears) / (when.plate_wide - when.plate_appears)
        closing = (age - when.plate_wide) / (when.plate_fused - when.plate_wide)
        plates[rows] = 0.5 * rising.clip(0, 1) ** 0.6 + 0.5 * closing.clip(0, 1) ** 1.5
        age = ages[rows, 21:]
        left = (when.carpal_adult - age) / (when.carpal_adult - when.carpal_appears)
        share = 1 - (1 - FIRST_SHARE) * left.clip(0, 1) ** 1.7
        carpals[rows] = np.where(age < when.carpal_appears, 0, share)
    return Maturity(plates=plates, carpals=carpals)


@cache
def _curves(sex: int) -> tuple[PchipInterpolator, PchipInterpolator]:
    """Mean length in mm, and sd as a share of it, by age in months."""
    data = table()
    rows = data.sex == sex
    age, mean = data.age_months[rows], data.mean_mm[rows, : len(BONES)]
    share = data.sd_mm[rows, : len(BONES)] / mean
    weight = np.maximum(data.n_hands[rows], 30.0)
    smooth = _smooth(age, mean, weight, width=12)
    for bone in range(len(BONES)):
        smooth[:, bone] = isotonic_regression(smooth[:, bone], sample_weight=weight)
    first = np.array([at for at, _ in BORN], float), np.array([size for _, size in BORN])
    born = first[1][:, None] * smooth[0]
    even = _smooth(age, share, weight, width=48)
    return (
        PchipInterpolator(np.concatenate([first[0], age]), np.concatenate([born, smooth])),
        PchipInterpolator(np.concatenate([first[0], age]), np.concatenate([even[[0, 0]], even])),
    )


def _smooth(
    age: Float[NDArray, " ages"], values: Float[NDArray, "ages k"], weight: Float[NDArray, " ages"], width: float
) -> Float[NDArray, "ages k"]:
    """A straight line fitted around each age, neighbours weighing less with distance."""
    rows = []
    for here in age:
        away = age - here
        root = np.sqrt(weight * np.exp(-0.5 * (away / width) ** 2))[:, None]
        line = np.stack([np.ones_like(away), away], axis=1)
        rows.append(np.linalg.lstsq(line * root, values * root, rcond=None)[0][0])
    return np.array(rows)
