"""The folder where trainings are kept: RUN/stages/HASH/, whole or not there, one process at a time each."""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final
from zipfile import BadZipFile

import safetensors.torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from seamwise.errors import TrainingError
from seamwise.shapes import Tensor
from seamwise.training import Training
from seamwise.trial import storage_error, write_json, writing

PLAIN = ("hash", "stages", "target", "error", "train_error", "trivial", "seconds", "n_steps", "rate", "stopped")
OWN = "seamwise.systems.age.cascade.CascadeForest"  # by its full name: a prefix would let a file call what is ours
# What an estimator may hold of scikit-learn's that is no estimator: types by name, and all types of a module.
HELD = frozenset(
    {
        "sklearn._loss._loss",
        "sklearn._loss.link",
        "sklearn._loss.loss",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process.kernels",
        "sklearn.impute._iterative._ImputerTriplet",
        "sklearn.metrics._dist_metrics",
        "sklearn.metrics._scorer",
        "sklearn.model_selection._split",
        "sklearn.neighbors._ball_tree",
        "sklearn.neighbors._kd_tree",
        "sklearn.neural_network._stochastic_optimizers",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils._metadata_requests",
    }
)
# What is trusted as it stands. A file may call what it names: a function stands here only if all it does is compute.
EXACT = frozenset(
    {
        OWN,
        "numpy.dtype",
        "numpy.mean",
        "sklearn.feature_selection._mutual_info.mutual_info_classif",
        "sklearn.feature_selection._mutual_info.mutual_info_regression",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.feature_selection._univariate_selection.r_regression",
    }
)


class BusyError(Exception):
    """Another process is at this training now. Not an error of the user's: come back later."""


@final
class Store:
    """Trainings by hash. What was trained once is not trained again, whichever trial or process asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def share(self, hash_: str, make: Callable[[str], Training]) -> Training:
        """The training of that hash, made now if it was not made before.

        One that cannot be read is made anew. Raises BusyError where another process is making it, StorageError where
        it cannot be written.
        """
        place = self.folder / hash_
        kept = _kept(place)
        if kept is not None:
            return kept
        lock = FileLock(self.folder / f"{hash_}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise BusyError(hash_) from None
        except OSError as error:
            raise storage_error(place, error) from error
        try:
            kept = _kept(place)
            if kept is not None:  # made while this process came for the lock
                return kept
            shutil.rmtree(place, ignore_errors=True)
            save_training(make(hash_), place)
            return load_training(place)
        finally:
            lock.release()


def _kept(place: Path) -> Training | None:
    """The training that is there; None where there is none, or a damaged one."""
    try:
        return load_training(place)
    except (FileNotFoundError, ValueError, KeyError, SafetensorError, BadZipFile):
        return None


def save_training(training: Training, place: Path) -> None:
    """Write a folder beside, then rename it into place. Raises StorageError."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with writing(place):
            beside.mkdir(parents=True)
            save_weights(beside, training.weights, training.estimators)
            # numbers that are not finite have no place in JSON: a training of nothing has no score
            record = {name: getattr(training, name) for name in PLAIN}
            write_json(beside / "training.json", {k: None if v != v else v for k, v in record.items()})
            for path in beside.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            _move(beside, place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _move(beside: Path, place: Path) -> None:
    try:
        beside.rename(place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise  # else another process was faster: of one hash, theirs is the same


def load_training(place: Path) -> Training:
    """Read what `save_training` wrote."""
    record = json.loads((place / "training.json").read_text())
    weights, estimators = load_weights_folder(place)
    plain: dict[str, Any] = {k: float("nan") if v is None else v for k, v in record.items()}
    plain["stages"] = tuple(record["stages"])
    return Training(weights=weights, estimators=estimators, **plain)


def save_weights(folder: Path, weights: Mapping[str, Tensor], estimators: Mapping[str, Any]) -> None:
    """weights.safetensors, and NAME.skops for each estimator. Raises OSError.

    Raises TrainingError where an estimator holds what `load_weights_folder` would refuse.
    """
    # cloned: safetensors refuses tensors that share memory, as tied weights do
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    try:
        safetensors.torch.save_file(tensors, folder / "weights.safetensors")
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error)) from error
    for stage, estimator in estimators.items():
        file = folder / f"{stage}.skops"
        _skops().dump(estimator, file)
        foreign = [t for t in _skops().get_untrusted_types(file=file) if not _trusted(t)]
        if foreign:
            raise TrainingError(
                f"estimator {stage!r} holds a {foreign[0]}, and could not be loaded again",
                expected="estimators of scikit-learn's, and numpy's arrays and ufuncs",
                remedy="put a function of your own in a Designed stage before the estimator",
            )


def load_weights_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_weights` wrote: (tensors by name, estimators by stage). Nothing is unpickled.

    A file that names what neither skops nor `_trusted` trusts is refused before anything of it is made.
    """
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    estimators = {}
    for file in sorted(folder.glob("*.skops")):
        trusted = [t for t in _skops().get_untrusted_types(file=file) if _trusted(t)]
        estimators[file.stem] = _skops().load(file, trusted=trusted)
    return weights, estimators


def _trusted(name: str) -> bool:
    """Whether a file may name it: an estimator of scikit-learn's, what one holds, how one is scored, or our own.

    Nothing is imported for it: skops has imported what scikit-learn has, and a task the little that is experimental.
    """
    from sklearn.base import BaseEstimator
    from sklearn.metrics import get_scorer, get_scorer_names

    module, _, short = name.rpartition(".")
    if name in EXACT or not module.startswith("sklearn."):
        return name in EXACT
    if module.startswith("sklearn.metrics."):
        scores = [get_scorer(scorer)._score_func for scorer in get_scorer_names()]
        if (module, short) in {(score.__module__, score.__name__) for score in scores}:
            return True
    found = vars(sys.modules[module]).get(short) if module in sys.modules else None
    if not isinstance(found, type) or found.__module__ != module:
        return False  # a function, or what scikit-learn has from elsewhere
    return issubclass(found, BaseEstimator) or name in HELD or module in HELD


def _skops() -> Any:
    """Two seconds to import, and wanted where there are estimators alone."""
    import skops.io

    return skops.io
