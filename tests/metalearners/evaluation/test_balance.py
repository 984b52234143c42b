"""Balance: differences with what chance makes of them, clusters and thousands of levels."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metalearners.evaluation.balance import balance


def test_the_p_value_is_that_of_the_two_sample_t_test():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=80), np.arange(80) % 2
    x[w == 1] *= 2

    found = balance(x[:, None], w, 2)

    t = stats.ttest_ind(x[w == 1], x[w == 0], equal_var=False).statistic
    assert found.p_value[0, 0] == pytest.approx(2 * stats.t.sf(abs(t), 39), rel=1e-9)
    edge = stats.t.ppf(0.975, 39) * found.difference[0, 0] / t
    assert found.noise[0, 0] == pytest.approx(edge, rel=1e-9)


@pytest.mark.parametrize("clustered", [False, True])
def test_arms_drawn_alike_leave_the_noise_in_5_percent_of_small_trials(clustered):
    """Whole clusters are drawn where there are any, and features are those of the cluster."""
    outside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        unit = np.repeat(np.arange(60), 5) if clustered else np.arange(60)
        X = rng.normal(size=(60, 20))[unit]
        w = rng.permutation(np.arange(60) % 3)[unit]
        found = balance(X, w, 3, None, unit if clustered else None)
        outside += [np.abs(found.difference) > found.noise, found.p_value < 0.05]
        np.testing.assert_array_equal(outside[-2], outside[-1])

    assert 0.03 <= np.mean(outside) <= 0.06


def test_a_category_of_chance_is_rarely_flagged_and_a_true_difference_is():
    rng = np.random.default_rng(0)
    flagged = []
    for _ in range(100):
        w, levels = rng.permutation(np.arange(120) % 2), rng.integers(0, 6, 120)
        column = pd.DataFrame({"c": pd.Categorical.from_codes(levels, list("abcdef"))})
        flagged.append(balance(column, w, 2).p_value[0, 0] < 0.05)
    moved = pd.DataFrame({"c": pd.Categorical(np.where(w == 1, levels // 3, levels))})

    assert np.mean(flagged) <= 0.1
    assert balance(moved, w, 2).p_value[0, 0] < 0.001


@pytest.mark.parametrize("groups", [None, np.arange(300) // 7])
def test_levels_are_counted_as_their_indicators_would_be(groups):
    rng = np.random.default_rng(1)
    codes, w, weight = rng.integers(0, 4, 300), rng.integers(0, 3, 300), rng.uniform(1, 3, 300)
    frame = pd.DataFrame({"c": pd.Categorical.from_codes(codes, list("abcd"))})
    indicators = (codes[:, None] == np.arange(4)).astype(float)

    found, one_by_one = (
        balance(frame, w, 3, weight, groups),
        balance(indicators, w, 3, weight, groups),
    )

    for k in range(2):
        at = np.abs(one_by_one.difference[:, k]).argmax()
        assert found.difference[0, k] == pytest.approx(one_by_one.difference[at, k], rel=1e-9)
        expected = min(1, 4 * one_by_one.p_value[at, k])
        assert found.p_value[0, k] == pytest.approx(expected, rel=1e-6)


def test_each_row_may_be_named_as_a_cluster():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=90), "c": pd.Categorical(rng.integers(0, 3, 90))})
    frame.loc[:5, "x"] = np.nan
    w, weight = rng.permutation(np.arange(90) % 3), rng.integers(0, 3, 90).astype(float)
    named, rows = (balance(frame, w, 3, weight, groups) for groups in (np.arange(90), None))

    np.testing.assert_allclose(named.difference, rows.difference, rtol=1e-12)
    np.testing.assert_allclose(named.noise, rows.noise, rtol=1e-9)


def test_a_category_without_levels_differs_nowhere():
    frame = pd.DataFrame({"c": pd.Categorical([None] * 8)})

    assert balance(frame, np.arange(8) % 2, 2).difference.tolist() == [[0.0]]


def test_adjusted_p_values_count_all_features_and_arms():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(200, 50)), rng.integers(0, 5, 200)

    found = balance(X, w, 5)

    assert found.p_value.min() < 0.05
    assert found.adjusted.min() == pytest.approx(min(1, 200 * found.p_value.min()))
    assert found.beyond_chance == (found.adjusted < 0.05).sum() == 0


def test_what_has_no_error_has_no_p_value():
    X = np.array([[1.0, 5], [2, 5], [3, 5]])

    found = balance(X, np.array([0, 0, 1]), 2)

    np.testing.assert_array_equal(found.p_value, 1)
    assert np.isnan(found.noise[0, 0])


def test_thousands_of_levels_take_no_longer_than_their_rows():
    """An indicator a level, in a dense matrix, would be 1.7 GB and take half a minute."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 7_000, 30_000)
    frame = pd.DataFrame({"c": pd.Categorical.from_codes(codes, range(7_000))})
    begun = time.thread_time()

    found = balance(frame, rng.integers(0, 3, 30_000), 3)

    assert time.thread_time() - begun < 2
    assert (found.p_value > 0.05).all()
