"""A cascade of forests: layers of tree ensembles, each reading what the layer before it predicts."""

from numbers import Integral, Real
from typing import Any, ClassVar, final

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from seamwise.shapes import Float, NDArray

Forest = Any  # of scikit-learn's, which has no types


@final
class CascadeForest(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Forests in layers: each reads the features and what the forests of the layer before predict.

    What a layer is taught from are predictions for items that a forest was not fitted to (`n_folds`). Layers are added
    until `patience` of them in a row have not lowered the cross-validated absolute error; those up to the best stay,
    and the answer is the mean of the last layer's forests.

    n_forests:    in a layer, of each of the two kinds: random forests, and extremely random ones
    max_features: the share of the features that a split may choose from

    Fitted: `layers_`, a list of lists of forests; `errors_`, of each layer tried, in the label's unit.

    **Source**: Zhou & Feng 2017, Deep Forest (arXiv 1702.08835), section 2.1.
    Differs: predicts a number, so a forest hands on one number rather than class shares; no multi-grained scanning; the
    second kind of forest chooses the best of several random splits (ExtraTrees) rather than splitting completely at
    random; the layers are chosen by the cross-validated error of the items that are fitted, not by a fifth set aside;
    once cross-fitted, a forest is fitted again to all items; and far fewer trees (4,000 a layer there).
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_forests": [Interval(Integral, 1, None, closed="left")],
        "n_trees": [Interval(Integral, 1, None, closed="left")],
        "max_layers": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "n_folds": [Interval(Integral, 2, None, closed="left")],
        "min_samples_leaf": [Interval(Integral, 1, None, closed="left")],
        "max_features": [Interval(Real, 0, 1, closed="right")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_forests: int = 1,
        n_trees: int = 50,
        max_layers: int = 6,
        patience: int = 1,
        n_folds: int = 3,
        min_samples_leaf: int = 3,
        max_features: float = 1 / 3,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.n_forests = n_forests
        self.n_trees = n_trees
        self.max_layers = max_layers
        self.patience = patience
        self.n_folds = n_folds
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "CascadeForest":  # noqa: N803  (scikit-learn's name)
        """Fit to items [n, features] and their numbers [n]. Raises ValueError for what is not that."""
        self._validate_params()
        features, labels = validate_data(self, X, y, y_numeric=True, ensure_min_samples=self.n_folds)
        random = check_random_state(self.random_state)
        folds = KFold(self.n_folds, shuffle=True, random_state=_seed(random))
        layers: list[list[Forest]] = []
        tables = [features]
        self.errors_: list[float] = []
        best = 0
        while len(layers) < min(self.max_layers, best + self.patience + 1):
            layers.append(self._layer(random))
            told = [cross_val_predict(forest, tables[-1], labels, cv=folds) for forest in layers[-1]]
            tables.append(np.column_stack([features, *told]))
            self.errors_.append(float(np.abs(np.mean(told, axis=0) - labels).mean()))
            best = int(np.argmin(self.errors_))
        kept = zip(layers[: best + 1], tables, strict=False)
        self.layers_ = [[forest.fit(table, labels) for forest in layer] for layer, table in kept]
        return self

    def predict(self, X: Any) -> Float[NDArray, " n"]:  # noqa: N803
        """The numbers of items [n, features]."""
        check_is_fitted(self)
        features = seen = validate_data(self, X, reset=False)
        for layer in self.layers_:
            told = [forest.predict(seen) for forest in layer]
            seen = np.column_stack([features, *told])
        answer: Float[NDArray, " n"] = np.mean(told, axis=0)
        return answer

    def _layer(self, random: np.random.RandomState) -> list[Forest]:
        """New forests, of the two kinds in turn."""
        return [
            kind(
                n_estimators=self.n_trees,
                max_features=self.max_features,
                min_samples_leaf=self.min_samples_leaf,
                n_jobs=self.n_jobs,
                random_state=_seed(random),
            )
            for _ in range(self.n_forests)
            for kind in (RandomForestRegressor, ExtraTreesRegressor)
        ]


def _seed(random: np.random.RandomState) -> int:
    return int(random.randint(2**31 - 1))
