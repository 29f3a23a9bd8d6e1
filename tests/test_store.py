import json
import pickle
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import skops.io
import torch
from filelock import FileLock
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    AdaBoostRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV, SGDClassifier, TweedieRegressor
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR

from seamwise.errors import StorageError, TrainingError
from seamwise.store import BusyError, Store, load_training, load_weights_folder, save_training, save_weights
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


GIVEN = {
    "pipeline": make_pipeline(SimpleImputer(), StandardScaler(), SelectKBest(f_regression, k=2), Ridge()),
    "ufunc": make_pipeline(FunctionTransformer(np.square), RidgeCV()),
    "bins": make_pipeline(KBinsDiscretizer(3, dtype=np.float32, strategy="uniform"), Ridge()),
    "columns": make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [0]), (StandardScaler(), [1, 2])), Ridge()
    ),
    "search": GridSearchCV(Ridge(), {"alpha": [1, 9]}, scoring="neg_mean_absolute_error", cv=KFold(3)),
    "search_plain": GridSearchCV(SVR(), {"C": np.array([1.0, 9.0])}),
    "logistic": LogisticRegression(),
    "tweedie": TweedieRegressor(power=0, link="identity"),
    "sgd": SGDClassifier(random_state=0),
    "forest": RandomForestRegressor(5, random_state=np.random.RandomState(0)),
    "forest_classes": RandomForestClassifier(5),
    "isolation": IsolationForest(n_estimators=5),
    "ada": AdaBoostRegressor(n_estimators=3),
    "boosting": GradientBoostingRegressor(loss="huber", n_estimators=5),
    "boosting_classes": GradientBoostingClassifier(n_estimators=5),
    "histogram": HistGradientBoostingRegressor(max_iter=5),
    "histogram_quantile": HistGradientBoostingRegressor(loss="quantile", quantile=0.3, max_iter=5, max_features=0.5),
    "histogram_classes": HistGradientBoostingClassifier(max_iter=5),
    "voting": VotingRegressor([("a", Ridge()), ("b", SVR())]),
    "svc": SVC(),
    "neighbours": KNeighborsRegressor(algorithm="kd_tree", metric="manhattan"),
    "neighbours_classes": KNeighborsClassifier(algorithm="ball_tree"),
    "bayes": GaussianNB(),
    "calibrated": CalibratedClassifierCV(GaussianNB(), cv=2),
    "process": GaussianProcessRegressor(1.0 * RBF() + WhiteKernel()),
    "network": MLPRegressor(hidden_layer_sizes=(4,), max_iter=9, early_stopping=True),
    "network_classes": MLPClassifier(hidden_layer_sizes=(4,), max_iter=9, solver="sgd"),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_scikit_learn_has_predicts_the_same_once_loaded(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    x[:, 0] = x[:, 0].round()
    fitted = {k: v.fit(x, (x[:, 1] > 0).astype(int)) for k, v in GIVEN.items()}
    save_weights(tmp_path, {}, fitted)
    loaded = load_weights_folder(tmp_path)[1]
    assert loaded.keys() == fitted.keys()
    for name, estimator in fitted.items():
        assert np.array_equal(loaded[name].predict(x), estimator.predict(x)), name


def test_columns_that_are_chosen_by_a_pattern_are_kept(tmp_path):
    made = {"b": make_column_transformer((StandardScaler(), make_column_selector("a")))}
    save_weights(tmp_path, {}, made)
    assert load_weights_folder(tmp_path)[1]["b"].transformers[0][2].pattern == "a"


class Touch:
    """What makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def call(folder, name, *args):
    """Write weights whose estimator is what a name gives when called."""
    folder.mkdir()
    save_weights(folder, {}, {})
    module, _, short = name.rpartition(".")
    plain = {"__module__": "builtins", "__class__": "str", "__loader__": "JsonNode"}
    content = [plain | {"content": json.dumps(arg)} for arg in args]
    held = {"__module__": "builtins", "__class__": "tuple", "__loader__": "TupleNode", "content": content}
    node = {"__module__": module, "__class__": short, "__loader__": "ConstructorFromReduceNode", "content": held}
    with ZipFile(folder / "b.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(node | {"protocol": 2}))


def refuse_names(name):
    with pytest.raises(TypeError, match=rf"Untrusted types found in the file: \['{name}'\]"):
        load_weights_folder(Path("model"))


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("numpy.load", ["pickle", None, True]),
        ("numpy.memmap", ["ran", "uint8", "w+", 0, [4]]),
        ("sklearn.datasets._base.get_data_home", ["ran"]),
    ],
)
def test_a_file_that_would_run_something_is_refused_and_nothing_is_run(tmp_path, monkeypatch, name, args):
    monkeypatch.chdir(tmp_path)
    Path("pickle").write_bytes(pickle.dumps(Touch(Path("ran"))))
    call(Path("model"), name, *args)
    refuse_names(name)
    assert not Path("ran").exists()
    skops.io.load("model/b.skops", trusted=[name])
    assert Path("ran").exists()  # so the file would have done it, were it trusted


@pytest.mark.parametrize(
    "name",
    [
        "sklearn.datasets._base.Path",
        "sklearn.externals.array_api_compat.numpy.load",
        "sklearn.metrics._classification.check_array",
        "sklearn.tree._tree.TreeBuilder",
        "sklearn.utils.parallel.Parallel",
    ],
)
def test_what_no_estimator_holds_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    call(Path("model"), name)
    refuse_names(name)
