"""Bone age of real radiographs, cross-validated: the chosen regime beside HOG + SVR and the median, on the same folds.

Every radiograph is tested once, by networks that did not learn from its fold; a tenth of the others stops the training.
Those with landmarks are divided among the folds too. Below them, published figures and how many pictures taught them.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from seamwise.bootstrap import Bootstrap
from seamwise.model import train
from seamwise.systems.age.data import real_supply
from seamwise.systems.age.task import real
from seamwise.tables import SPLITS

PUBLISHED = (  # months; pictures to learn from
    ("RSNA 2017 challenge, the first places (Halabi et al. 2019)", "4.2 to 4.5", 12_611),
    ("Deeplasia (Rassmann et al. 2024)", "3.9", 12_611),
    ("one network, as a baseline of others' papers", "9 to 13", 12_611),
)
BANDS = ((0, 60), (60, 120), (120, 180), (180, 240))
HOG_PX, VALIDATION = 128, 0.1
METHODS = ("chosen", "HOG + SVR", "the median")


def folds_of(supply, n_folds: int) -> np.ndarray:
    """The fold of each radiograph, those with landmarks divided by themselves."""
    fold = np.empty(len(supply), dtype=int)
    marked = supply.present["landmarks"].numpy() if "landmarks" in supply.fields else np.zeros(len(supply), dtype=bool)
    for rows in (np.flatnonzero(marked), np.flatnonzero(~marked)):
        fold[rows] = np.random.default_rng(7).permutation(np.arange(len(rows)) % n_folds)
    return fold


def split_for(supply, fold: np.ndarray, k: int):
    """The supply with fold k as its test, and a tenth of the rest for validation."""
    part = supply.only(np.arange(len(supply)))
    splits = np.where(fold == k, SPLITS.index("test"), SPLITS.index("train"))
    marked = part.present["landmarks"].numpy() if "landmarks" in part.fields else np.zeros(len(part), dtype=bool)
    for among in (marked, ~marked):
        rows = np.flatnonzero((fold != k) & among)
        few = np.random.default_rng([7, k]).permutation(rows)[: round(VALIDATION * len(rows))]
        splits[few] = SPLITS.index("validation")
    part.splits = splits
    return part


def one_fold(folders: list[Path], n_folds: int, variant: str, regime: str, k: int) -> dict:
    """The errors in months of one fold's radiographs, by the chosen regime and by the peers."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    supply = real_supply(folders)
    part = split_for(supply, folds_of(supply, n_folds), k)
    start = time.monotonic()
    model = train(real(part), regime, variant=variant)
    result = model.evaluate().result
    taught, asked = (part.rows(split, "age") for split in ("train", "test"))
    known, right = (part.take(["age"], rows)["age"].numpy() for rows in (taught, asked))
    assert (asked == result.items).all()
    told = by_hog(part, taught, asked, known)
    return {
        "items": asked,
        "age": right,
        "sex": part.take(["sex"], asked)["sex"].numpy(),
        "chosen": result.errors.astype(float),
        "HOG + SVR": np.abs(told - right),
        "the median": np.abs(np.median(known) - right),
        "n_taught": len(taught),
        "seconds": time.monotonic() - start,
    }


def by_hog(supply, taught: np.ndarray, asked: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Ages by support vector regression on histograms of oriented gradients of the whole picture, and sex."""
    hog = cv2.HOGDescriptor((HOG_PX, HOG_PX), (32, 32), (16, 16), (16, 16), 9)

    def described(rows: np.ndarray) -> np.ndarray:
        fields = supply.take(["picture", "sex"], rows)
        pictures = [cv2.resize(p[0].numpy(), (HOG_PX, HOG_PX), interpolation=cv2.INTER_AREA) for p in fields["picture"]]
        return np.c_[np.stack([hog.compute(p).ravel() for p in pictures]), fields["sex"].numpy()[:, None]]

    return (
        make_pipeline(StandardScaler(), SVR(C=100.0, epsilon=3.0))
        .fit(described(taught), known)
        .predict(described(asked))
    )


def main() -> None:
    """Run the folds and print the table."""
    described = argparse.ArgumentParser(description=__doc__)
    described.add_argument(
        "--data", type=Path, action="append", required=True, help="Folder of radiographs; repeatable."
    )
    described.add_argument("--variant", default="network")
    described.add_argument("--regime", default="independent")
    described.add_argument("--folds", type=int, default=5)
    described.add_argument("--jobs", type=int, default=2)
    described.add_argument("--json", action="store_true")
    given = described.parse_args()
    ask = partial(one_fold, given.data, given.folds, given.variant, given.regime)
    real_supply(given.data)  # read once, before the processes ask for it
    with ProcessPoolExecutor(given.jobs) as pool:
        parts = []
        for part in pool.map(ask, range(given.folds)):
            parts.append(part)
            print(
                f"fold {len(parts)} of {given.folds}: {part['chosen'].mean():.1f} months, {part['seconds']:.0f} s",
                flush=True,
            )
    every = {name: np.concatenate([part[name] for part in parts]) for name in ("age", "sex", *METHODS)}
    rows = {name: Bootstrap(np.arange(len(every["age"]))[:, None]).interval(every[name][None]) for name in METHODS}
    named = {"chosen": f"{given.variant}, {given.regime}"}
    n_taught = round(float(np.mean([part["n_taught"] for part in parts])))
    if given.json:
        print(
            json.dumps({name: {"mae_months": float(every[name].mean())} for name in METHODS} | {"n_taught": n_taught})
        )
        return
    print(f"\nmean absolute error in months on {len(every['age'])} radiographs, {n_taught} to learn from")
    for name, interval in rows.items():
        print(f"  {named.get(name, name):44} {interval}")
    print(f"  ratio to HOG + SVR {every['chosen'].mean() / every['HOG + SVR'].mean():.2f}")
    for low, high in BANDS:
        some = (every["age"] >= low) & (every["age"] < high)
        print(f"  {low // 12} to {high // 12} years: {every['chosen'][some].mean():.1f} on {some.sum()}")
    for sex, word in ((0, "girls"), (1, "boys")):
        print(f"  {word}: {every['chosen'][every['sex'] == sex].mean():.1f}")
    print(f"  root of the mean square: {np.sqrt((every['chosen'] ** 2).mean()):.1f}")
    print("published, on other radiographs:")
    for name, months, n in PUBLISHED:
        print(f"  {name:60} {months} from {n:,}")


if __name__ == "__main__":
    main()
