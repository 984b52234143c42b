"""Figures over draws of the folds: the formulas, and what they hold of dependent draws."""

import numpy as np
import pytest
from scipy import stats

from metalearners.evaluation import (
    Estimate,
    median_average,
    median_metric,
    median_p_value,
    median_rate,
    rate,
    stability,
)
from metalearners.evaluation.repeats import median_joint


def estimate(value, error, degrees=50.0):
    """An estimate with its 95 % interval."""
    half = stats.t.ppf(0.975, degrees) * error
    return Estimate(value, error, value - half, value + half, degrees)


def test_one_draw_is_as_it_is():
    one = estimate(1.0, 0.3)
    assert vars(median_average([one])) == pytest.approx(vars(one))
    assert vars(median_metric([one])) == pytest.approx(vars(one))
    assert median_p_value([0.03]) == 0.03
    rng = np.random.default_rng(0)
    found = rate(rng.normal(size=80), rng.normal(size=80))
    assert vars(median_rate([found]).estimate) == pytest.approx(vars(found.estimate))
    assert median_joint([(0.2, 1.8)], [one], median_average([one])) == pytest.approx((0.2, 1.8))
    assert (stability([one]).spread, stability([one]).relative) == (0, 0)


def test_averages_carry_the_variance_of_the_draw():
    draws = [estimate(value, error) for value, error in ((1.0, 0.3), (1.2, 0.4), (1.6, 0.2))]
    found = median_average(draws, level=0.9)

    assert found.estimate == 1.2
    squares = [0.3**2 + 0.2**2, 0.4**2, 0.2**2 + 0.4**2]
    assert found.std_error == pytest.approx(np.sqrt(np.median(squares)))
    assert found.ci_high - 1.2 == pytest.approx(stats.t.ppf(0.95, 50) * found.std_error)
    joint = [(one.estimate - 3 * one.std_error, one.estimate + 3 * one.std_error) for one in draws]
    low, high = median_joint(joint, draws, found)
    assert (low, high) == pytest.approx((1.2 - 3 * found.std_error, 1.2 + 3 * found.std_error))


def test_metrics_have_medians_of_wider_ends_and_tests_twice_the_median():
    draws = [estimate(value, 0.1) for value in (0.1, 0.2, 0.5)]
    found = median_metric(draws)

    wide = stats.t.ppf(1 - 0.05 / 4, 50) * 0.1
    assert (found.estimate, found.std_error) == (0.2, pytest.approx(0.1))
    assert (found.ci_low, found.ci_high) == pytest.approx((0.2 - wide, 0.2 + wide))
    assert median_p_value([0.01, 0.03, 0.02]) == 0.04
    assert median_p_value([0.7, 0.8]) == 1


def test_a_figure_that_moves_is_told_beside_its_error():
    found = stability([estimate(value, 0.5) for value in (1.0, 2.0, 4.0)])

    assert (found.median, found.lowest, found.highest) == (2, 1, 4)
    assert found.spread == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert found.relative == pytest.approx(found.spread / 0.5)
    assert np.isnan(stability([estimate(0.0, 0.0)] * 2).relative)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_tests_and_intervals_hold_however_draws_depend(shared):
    """Five draws whose statistics share a part of their variance."""
    rng = np.random.default_rng(1)
    own = np.sqrt(1 - shared) * rng.normal(size=(2000, 5))
    z = own + np.sqrt(shared) * rng.normal(size=(2000, 1))
    p = [median_p_value(row) for row in stats.norm.sf(z).tolist()]

    assert np.mean(np.array(p) < 0.05) <= 0.05
    inside = []
    for row in z[:500]:
        found = median_metric([estimate(value, 1.0, 1e6) for value in row])
        inside.append(found.ci_low <= 0 <= found.ci_high)
    assert np.mean(inside) >= 0.95


def test_no_draw_is_refused():
    for figure in (median_average, median_metric, median_p_value, stability):
        with pytest.raises(ValueError, match="a draw or more; found none"):
            figure([])
