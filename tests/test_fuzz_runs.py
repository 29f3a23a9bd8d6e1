"""Run folders with faults put into their files: they are read or refused, and advice has sound probabilities."""

import json
from functools import cache
from pathlib import Path

import fakes
import numpy as np
import pytest
from fuzzing import FOLDER, Reader, file_of, never_breaks

from seamwise.maps import read_map
from seamwise.runs import open_run

CURVES = {
    ("found", "tuned"): fakes.power(2, 0.5),
    ("found", "independent"): fakes.flat(0.4),
    ("given", "tuned"): fakes.flat(0.3),
    ("direct", "direct"): fakes.power(5, 0.6),
}
STAGE = {"field": "place", "stage": "find", "error": 0.2, "error_on_gold_input": None, "trivial": 9.0, "unit": "px"}
SEAM = {"field": "place", "writer": "find", "reader": "read", "passes": True, "gradient": 0.1, "stopped_by": ""}


def odd_trial(trial):
    if trial.seed and trial.regime == "independent":
        return fakes.as_failed(trial)
    last = {"shift": {"error": 0.5, "trivial": 0.9, "note": "x"}} if trial.budget["sum"] == 100 else {}
    changed = {"stages": [STAGE], "seams": [SEAM | {"hard": False}]} if trial.regime != "direct" else {}
    return dict(type(trial).model_validate(trial.model_dump() | changed | last))


def more(trial):
    per_item = dict.fromkeys(("there.error", "error.place", "pinned.place", "alone.place"), np.full(12, 0.5))
    return per_item if trial.regime != "direct" else {"there.error": per_item["there.error"]}


def put_run(folder):
    """A small run, with all that advice looks at."""
    kept, fakes.N_ITEMS = fakes.N_ITEMS, 12
    try:
        halved = {(("found", "tuned"), "place"): 0.3}
        fakes.make_run(folder, CURVES, budgets=(25, 50, 100), seeds=2, halved=halved, change=odd_trial, extra=more)
    finally:
        fakes.N_ITEMS = kept
    np.savez(folder / "run/there.npz", groups=np.arange(12)[:, None])
    (folder / "run/map").mkdir()


@cache
def of_run(name):
    def save(folder: Path):
        folder.mkdir()
        put_run(folder)

    return file_of(save, name)


def advised(folder):
    study = open_run(folder / "run")
    return study, study.advise([200])


def advice_is_sound(found):
    study, advice = found
    assert study.record.budgets
    json.dumps(advice.record(), allow_nan=False)
    for n in advice.at:
        p = [outlook.p_best for outlook in advice.p_best if outlook.n == n]
        assert sum(p) == pytest.approx(1, abs=1e-6) or not any(p)
        assert all(0 <= each <= 1 + 1e-9 for each in p)
    assert read_map(study.run) == []


def of_study(name, file, kinds, n_examples=25):
    return Reader(
        name, f"run/{file}", lambda: [of_run(f"run/{file}")], advised, advice_is_sound, put_run, kinds,
        named=FOLDER, n_examples=n_examples,
    )  # fmt: skip


FIRST = "found.tuned.place50.sum100.s0"
READERS = (
    of_study("a run, run.json", "run.json", ("json",), 60),
    of_study("a run, trials.jsonl", "trials.jsonl", ("json lines",), 40),
    of_study("a run, a trial's items", f"predictions/{FIRST}.npz", ("npz",), 20),
    of_study("a run, its test items", "test.npz", ("npz",), 6),
    of_study("a run, items from elsewhere", "there.npz", ("npz",), 15),
)


@pytest.mark.parametrize("reader", READERS, ids=str)
def test_runs_are_read_or_refused(reader, tmp_path):
    never_breaks(reader, tmp_path / FOLDER)


def test_folders_in_a_map_that_are_no_study_are_passed_over(tmp_path):
    put_run(tmp_path)
    other = tmp_path / "run/map/clutter=many"
    other.mkdir()
    (other / "run.json").write_bytes((tmp_path / "run/run.json").read_bytes())
    assert read_map(tmp_path / "run") == []
