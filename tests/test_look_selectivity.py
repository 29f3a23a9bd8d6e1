import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from seamwise.errors import InputError
from seamwise.look import selectivity
from seamwise.look.selectivity import Tally, class_aurocs


def told(values, classes=None, n_classes=0, parts=3):
    tally = Tally(values.shape[1], n_classes)
    for rows in np.array_split(np.arange(len(values)), parts):
        tally.add(values[rows], None if classes is None else classes[rows])
    return tally.result()


def test_planted_units_are_told_apart():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, 400)
    same = np.ones(400)
    one_class = (classes == 2) * rng.uniform(1, 2, 400)
    one_picture = (np.arange(400) == 7) * 1.0
    noise, dead, negative = rng.uniform(0, 1, 400), np.zeros(400), -rng.uniform(0, 1, 400)
    values = np.stack([same, one_class, one_picture, noise, dead, negative], 1)
    found = told(values, classes, 4)
    assert found.sparseness[:3] == pytest.approx([0, 1 - (one_class.mean() ** 2 / (one_class**2).mean()), 1], abs=3e-3)
    assert np.isnan(found.sparseness[4:]).all()
    assert found.index[:2] == pytest.approx([0, 1])
    assert found.index[3] < 0.1
    assert found.best_class[[0, 1, 4]].tolist() == [-1, 2, -1]
    assert found.auroc[1] == 1
    assert found.auroc[3] == pytest.approx(0.5, abs=0.1)  # the class was chosen by other pictures
    assert found.pictures[[0, 2, 4, 5]].tolist() == [1, 1 / 400, 0, 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 80))
def test_auroc_is_that_of_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    values, labels = rng.integers(0, 6, (n, 3)).astype(float), np.arange(n) % 3
    found = class_aurocs(values, labels, np.array([0, 2]))
    for row, one in enumerate((0, 2)):
        for unit in range(3):
            assert found[row, unit] == pytest.approx(roc_auc_score(labels == one, values[:, unit]))


def test_batches_do_not_matter():
    rng = np.random.default_rng(1)
    values, classes = rng.standard_normal((300, 5)), rng.integers(0, 3, 300)
    once, often = told(values, classes, 3, parts=1), told(values, classes, 3, parts=17)
    for name in ("sparseness", "index", "auroc", "best_class", "pictures"):
        np.testing.assert_allclose(getattr(once, name), getattr(often, name))


def test_share_of_active_positions_is_the_mean():
    tally = Tally(2)
    tally.add(np.ones((2, 2)), active=np.array([[0.0, 1.0], [0.5, 1.0]]))
    tally.add(np.ones((1, 2)), active=np.array([[1.0, 1.0]]))
    assert tally.result().active.tolist() == [0.5, 1]


def test_more_pictures_than_are_kept(monkeypatch):
    monkeypatch.setattr(selectivity, "MAX_KEPT", 200)
    rng = np.random.default_rng(2)
    classes = np.arange(3000) % 2
    values = classes[:, None] + rng.standard_normal((3000, 4))
    tally = Tally(4, 2)
    for rows in np.array_split(np.arange(3000), 30):
        tally.add(values[rows], classes[rows])
    assert tally.result().auroc == pytest.approx([0.76] * 4, abs=0.13)
    assert len(tally._values) == 200
    assert 1000 < np.searchsorted(np.sort(values[:, 0]), tally._values[:, 0]).mean() < 2000


def test_without_classes_only_they_are_not_told():
    found = told(np.random.default_rng(0).uniform(0, 1, (40, 3)))
    assert np.isnan(found.index).all()
    assert np.isnan(found.auroc).all()
    assert np.isfinite(found.sparseness).all()


def test_a_class_of_few_pictures_is_left_out():
    classes = np.array([0] * 30 + [1] * 30 + [2] * 2)
    values = (classes == 2)[:, None] * 1.0 + (classes == 1)[:, None] * 0.5
    assert told(values, classes, 3).best_class.tolist() == [1]


@pytest.mark.parametrize("classes", [None, np.array([0]), np.array([0, 5]), np.array([-1, 0])])
def test_wrong_classes_are_refused(classes):
    with pytest.raises(InputError):
        Tally(1, 2).add(np.ones((2, 1)), classes)


def test_no_pictures_are_refused():
    with pytest.raises(InputError, match="no pictures"):
        Tally(3).result()
