"""Curves: their intervals and bands against simulations whose truth is known."""

import numpy as np
import pytest

from metalearners.evaluation import gain_curve

CURVES = ("gain", "above_line", "uplift", "toc")


def draw(rng, n, slope, distinct=None):
    """A priority, and scores whose mean follows it."""
    priority = rng.normal(size=n)
    if distinct:
        priority = np.round(priority * distinct) / distinct
    return priority, slope * priority + rng.normal(size=n)


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "distinct"), [(0.0, None), (1.0, None), (1.0, 2)])
def test_intervals_and_bands_cover_the_truth_of_the_ranking(slope, distinct):
    rng = np.random.default_rng(1)
    found = [gain_curve(*draw(rng, 400, slope, distinct)) for _ in range(400)]
    truth = gain_curve(*draw(rng, 1_000_000, slope, distinct))

    for name in CURVES:
        curves, true = [getattr(one, name) for one in found], getattr(truth, name).value
        inside = np.mean([(c.low <= true) & (true <= c.high) for c in curves], axis=0)
        assert 0.91 <= inside[29] <= 0.98
        assert inside[4:95].mean() == pytest.approx(0.95, abs=0.025)
        whole = [
            ((c.joint_low <= true) & (true <= c.joint_high) | np.isnan(c.joint_low)).all()
            for c in curves
        ]
        assert 0.91 <= np.mean(whole) <= 0.98
    tenths = [
        [a.ci_low <= b.estimate <= a.ci_high for a, b in zip(c.deciles, truth.deciles, strict=True)]
        for c in found
    ]
    assert 0.91 <= np.mean(tenths) <= 0.98


@pytest.mark.slow
def test_errors_of_clusters_are_the_spread_of_estimates():
    """Clusters of one to nine rows, which share half of their noise and of their priority."""
    rng = np.random.default_rng(2)
    errors, values = [], []
    for _ in range(300):
        groups = np.repeat(np.arange(100), rng.integers(1, 10, 100))
        shared = rng.normal(size=(2, 100))[:, groups]
        priority = shared[0] + rng.normal(size=len(groups))
        scores = 0.5 * priority + shared[1] + rng.normal(size=len(groups))
        curve = gain_curve(priority, scores, None, groups).above_line
        errors.append(curve.std_error[9:90])
        values.append(curve.value[9:90])
    ratio = np.mean(errors, axis=0) / np.std(values, axis=0)

    assert ratio.mean() == pytest.approx(1, abs=0.06)
    assert (np.abs(ratio - 1) < 0.15).all()


def test_bands_begin_where_the_top_has_fifty_rows_of_each_arm():
    rng = np.random.default_rng(3)
    priority, scores = draw(rng, 4000, 1.0)
    arms = (np.arange(4000) % 10 == 0).astype(int)  # 400 treated: 50 of them in an eighth
    found = gain_curve(priority, scores, arms=arms)

    treated = np.sort(priority[arms == 1])[::-1][49]
    assert found.begin == pytest.approx(np.ceil((priority >= treated).mean() * 100) / 100)
    for name in CURVES:
        curve = getattr(found, name)
        assert np.isnan(curve.joint_low[curve.share < found.begin - 1e-9]).all()
        assert np.isfinite(curve.joint_low[10:85][curve.share[10:85] >= found.begin]).all()
    assert gain_curve(priority, scores).begin == 0.05
    assert gain_curve(priority[:60], scores[:60], arms=arms[:60]).begin == 1


def test_few_treated_rows_in_the_top_mean_few_degrees_of_freedom():
    rng = np.random.default_rng(4)
    arms = (np.arange(2000) % 50 == 0).astype(int)
    scores = rng.normal(size=2000) * np.where(arms, 50, 1)
    found = gain_curve(rng.normal(size=2000), scores, arms=arms).uplift

    assert found.at(0.1).degrees < 15 < found.at(1).degrees < 45
