import numpy as np
import pytest

from seamwise.systems.age import growth

AGES = np.arange(0.0, 240)


def test_lengths_follow_the_table():
    data = growth.table()
    assert data.mean_mm.shape == (36, 20)
    assert data.n_hands[data.measured == 1].sum() == 884
    assert data.mean_mm[(data.sex == 1) & (data.age_months == 120), growth.BONES.index("MC3")] == 53.8
    mean, sd = growth.lengths(data.sex, data.age_months)
    share = mean / data.mean_mm[:, :19]
    assert np.abs(share - 1).max() < 0.06
    assert np.abs(share - 1).mean() < 0.01
    assert ((sd / mean > 0.03) & (sd / mean < 0.11)).all()


@pytest.mark.parametrize("sex", [0, 1])
def test_bones_never_shrink_and_stop_at_18(sex):
    mean, _ = growth.lengths(np.full(len(AGES), sex), AGES)
    assert (np.diff(mean, axis=0) >= -1e-9).all()
    assert (mean[217:] == mean[216]).all()
    assert (mean[0] > 0.6 * mean[12]).all()
    assert (mean[0] < 0.8 * mean[12]).all()


@pytest.mark.parametrize("sex", [0, 1])
def test_signs_come_in_their_order(sex):
    signs = growth.maturity(np.full(len(AGES), sex), AGES)
    assert (np.diff(signs.plates, axis=0) >= 0).all()
    assert (np.diff(signs.carpals, axis=0) >= 0).all()
    assert (signs.plates[0] == 0).all()
    assert (signs.plates[-1] == 1).all()
    assert (signs.carpals[-1] == 1).all()
    first_seen = (signs.carpals > 0).argmax(0)
    assert (np.diff(first_seen) >= 0).all()  # the order of CARPALS
    fused = dict(zip(growth.PLATES, (signs.plates == 1).argmax(0), strict=True))
    assert fused["DP3"] < fused["PP3"] < fused["MP3"] < fused["MC3"] < fused["radius"]


def test_girls_are_about_two_years_ahead_at_fusion():
    girls, boys = growth.ossification(0), growth.ossification(1)
    ahead = boys.plate_fused - girls.plate_fused
    assert ahead.min() >= 17
    assert ahead.max() <= 26
    assert (girls.plate_appears < girls.plate_wide).all()
    assert (girls.plate_wide < girls.plate_fused).all()


def test_who_is_ahead_looks_older():
    sex, age = np.zeros(1, int), np.array([100.0])
    offset = np.zeros((1, 29))
    offset[0, [0, 21]] = 12
    usual, ahead, older = growth.maturity(sex, age), growth.maturity(sex, age, offset), growth.maturity(sex, age + 12)
    assert ahead.plates[0, 0] == older.plates[0, 0] > usual.plates[0, 0]
    assert ahead.carpals[0, 0] == older.carpals[0, 0] > usual.carpals[0, 0]
    assert np.array_equal(ahead.plates[0, 1:], usual.plates[0, 1:])
