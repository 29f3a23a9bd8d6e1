import json

import pytest
import torch
from filelock import FileLock
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from seamwise.errors import StorageError, TrainingError
from seamwise.store import BusyError, Store, load_training, save_training
from seamwise.training import Training


def training(hash_="abc", **changes):
    weight = torch.arange(6.0).reshape(2, 3)
    fitted = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    settings = {
        "hash": hash_,
        "weights": {"a.w": weight, "a.tied": weight, "a.turned": weight.T, "a.n": torch.tensor(3)},
        "estimators": {"b": fitted},
        "stages": ("a", "b"),
        "target": "y",
        "error": 0.25,
        "train_error": 0.125,
        "trivial": 0.5,
        "seconds": 1.5,
        "n_steps": 40,
        "rate": 0.01,
        "stopped": "converged",
    }
    return Training(**(settings | changes))


def refuse(hash_):
    raise AssertionError("it was there")


def test_what_is_made_is_kept_and_not_made_again(tmp_path):
    made = Store(tmp_path).share("abc", training)
    again = Store(tmp_path).share("abc", refuse)
    assert again.weights.keys() == made.weights.keys()
    assert all(torch.equal(v, training().weights[k]) for k, v in again.weights.items())
    assert again.estimators["b"].predict([[0.0], [3.0]]).tolist() == [0, 1]
    assert (again.stages, again.error, again.stopped) == (("a", "b"), 0.25, "converged")


def test_a_score_that_is_no_number_comes_back_so(tmp_path):
    save_training(training(error=float("nan")), tmp_path / "abc")
    json.loads((tmp_path / "abc" / "training.json").read_text(), parse_constant=refuse)
    assert load_training(tmp_path / "abc").error != load_training(tmp_path / "abc").error


def test_a_training_that_another_process_makes_is_busy(tmp_path):
    store = Store(tmp_path)
    with FileLock(tmp_path / "abc.lock"), pytest.raises(BusyError):
        store.share("abc", refuse)
    assert store.share("abc", training).error == 0.25


def test_a_training_that_fails_leaves_nothing_and_can_be_made_later(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.share("abc", lambda _: 1 / 0)
    assert [p.name for p in tmp_path.iterdir() if p.name != "abc.lock"] == []
    assert store.share("abc", training).error == 0.25


def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("skops.io.dump", full)
    with pytest.raises(StorageError, match=r"cannot be written\n.*No space left"):
        Store(tmp_path).share("abc", training)
    assert [p.name for p in tmp_path.iterdir() if p.name != "abc.lock"] == []


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "stages").write_text("in the way")
    with pytest.raises(StorageError):
        Store(tmp_path / "stages")


def twice(x):
    return [[2 * value for value in row] for row in x]


def test_an_estimator_that_could_not_be_loaded_again_is_refused(tmp_path):
    fitted = make_pipeline(FunctionTransformer(twice), LogisticRegression()).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TrainingError, match=r"estimator 'b' holds a .*twice(.*\n)+.*Designed stage"):
        Store(tmp_path).share("abc", lambda hash_: training(hash_, estimators={"b": fitted}))
    assert [p.name for p in tmp_path.iterdir() if p.name != "abc.lock"] == []
