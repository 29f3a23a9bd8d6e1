from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

from seamwise import Chain, Estimator, Supply, numbers
from seamwise.errors import TrainingError
from seamwise.model import load_model, train
from seamwise.store import save_weights
from seamwise.systems.age import cascade
from seamwise.systems.age.cascade import CascadeForest
from seamwise.task import Task

Small = partial(CascadeForest, n_trees=20, max_layers=3)


def draw(n, seed):
    """Ten features, of which five give the number: Friedman 1991, without noise."""
    x = np.random.default_rng(seed).uniform(size=(n, 10)).astype(np.float32)
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, y.astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return CascadeForest(random_state=0).fit(*draw(300, 0))


def test_layers_are_added_while_they_help(fitted):
    x, y = draw(500, 1)
    assert 1 < len(fitted.layers_) < len(fitted.errors_) <= 6
    assert min(fitted.errors_) == fitted.errors_[len(fitted.layers_) - 1] < fitted.errors_[0]
    first = CascadeForest(max_layers=1, random_state=0).fit(*draw(300, 0))
    assert first.errors_ == fitted.errors_[:1]
    errors = [np.abs(model.predict(x) - y).mean() for model in (fitted, first)]
    assert errors[0] < errors[1] < np.abs(y - y.mean()).mean() / 2


def test_a_layer_that_does_not_help_is_left_out():
    x, _ = draw(60, 0)
    noise = np.random.default_rng(1).normal(size=60)
    model = CascadeForest(n_trees=10, patience=2, max_layers=9, random_state=0).fit(x, noise)
    best = int(np.argmin(model.errors_))
    assert len(model.layers_) == best + 1
    assert len(model.errors_) == min(best + 3, 9)


def test_a_layer_is_taught_by_predictions_for_items_left_out(monkeypatch):
    """A label that is copied would be seen: the second layer would trust the first for what it learned by heart."""
    x, y = draw(150, 0)
    seen = []

    def spy(forest, table, labels, cv):
        told = cross_val_predict(forest, table, labels, cv=cv)
        seen.append((table, told))
        return told

    cross_val_predict = cascade.cross_val_predict
    monkeypatch.setattr(cascade, "cross_val_predict", spy)
    model = CascadeForest(n_trees=10, min_samples_leaf=1, max_layers=2, random_state=0).fit(x, y)
    assert np.array_equal(seen[2][0], np.column_stack([x, seen[0][1], seen[1][1]]))
    by_heart = np.abs(model.layers_[0][1].predict(x) - y).mean()
    assert np.abs(seen[1][1] - y).mean() > 10 * by_heart


def test_one_random_state_gives_one_cascade(fitted):
    x, _ = draw(50, 2)
    again = clone(fitted).fit(*draw(300, 0))
    assert np.array_equal(again.predict(x), fitted.predict(x))
    assert again.errors_ == fitted.errors_
    other = clone(fitted).set_params(random_state=1).fit(*draw(300, 0))
    assert not np.array_equal(other.predict(x), fitted.predict(x))


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"n_folds": 1}, "'n_folds' parameter"), ({"max_features": 0}, "'max_features'"), ({"n_trees": 0}, "'n_trees'")],
)
def test_settings_that_cannot_be_are_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        CascadeForest(**changes).fit(*draw(30, 0))


# the first gives __init__ what the type checks of tests refuse; the others want packages that are not there
LEFT_OUT = ("do_not_raise_errors_in_init", "array_api", "not_an_array")


def test_it_does_as_an_estimator_of_scikit_learn_does():
    names = []
    for model, check in estimator_checks_generator(CascadeForest(n_trees=3, max_layers=2, random_state=0)):
        names.append(check.func.__name__)
        if not any(part in names[-1] for part in LEFT_OUT):
            check(model)
    assert {"check_estimators_nan_inf", "check_n_features_in_after_fitting", "check_regressors_train"} <= set(names)


def test_it_is_a_stage_that_is_saved_and_loaded(tmp_path):
    x, y = draw(240, 0)
    stage = Estimator("relate", Small, "x", numbers("age", "months"))
    split = np.repeat(["train", "validation", "test"], 80)
    task = Task(
        name="forest",
        chain=Chain([stage]),
        supply=Supply({"all": {"x": x, "age": y, "split": split}}),
        answer=stage.targets[0],
    )
    model = train(task, "independent", {"age": 80})
    before = model.predict({"x": x})["age"]
    model.save(tmp_path / "model")
    after = load_model(tmp_path / "model", task).predict({"x": x})["age"]
    assert np.array_equal(before, after)
    assert np.abs(after[80:] - y[80:]).mean() < np.abs(y[80:] - y.mean()).mean()


def test_only_the_cascade_itself_is_trusted_of_what_is_ours(tmp_path, fitted):
    hidden = clone(fitted).set_params(random_state=cascade._seed)
    with pytest.raises(TrainingError, match=r"holds a seamwise\.systems\.age\.cascade\._seed"):
        save_weights(tmp_path, {"a": torch.zeros(1)}, {"b": hidden})
