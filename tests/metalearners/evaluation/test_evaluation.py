"""Evaluation: curves, coefficients and groups against closed forms and independent paths."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from metalearners.evaluation.balance import standardized_differences
from metalearners.evaluation.drivers import effect_drivers
from metalearners.evaluation.judging.calibration import calibration
from metalearners.evaluation.judging.curves import gain_curve
from metalearners.evaluation.judging.rate import rate
from metalearners.evaluation.judging.tops import SHARES
from metalearners.evaluation.means import mean_with_error
from metalearners.evaluation.ties import rounding

seeds = st.integers(min_value=0, max_value=2**31)
sizes = st.integers(min_value=2, max_value=60)


def sample(n, seed, levels=None):
    """Priorities (with ties, where a number of levels is given), scores and weights."""
    rng = np.random.default_rng(seed)
    priority = rng.normal(size=n) if levels is None else rng.integers(0, levels, size=n) / 3
    return priority, priority + rng.normal(size=n), rng.uniform(0.1, 3, size=n)


def qini(priority, scores, weight=None, groups=None, tolerance=None):
    """The coefficient with its error."""
    return rate(priority, scores, weight, groups, kind="qini", tolerance=tolerance).estimate


# The coefficient


@pytest.mark.parametrize("n", [2, 3, 10, 101, 1000])
def test_qini_of_a_perfect_ranking(n):
    """Scores n, n-1, ..., 1 in that order: (n^2 - 1) / 12n."""
    scores = np.arange(1.0, n + 1)
    found = qini(scores, scores).estimate

    assert found == pytest.approx((n**2 - 1) / (12 * n), rel=1e-10)
    assert qini(-scores, scores).estimate == pytest.approx(-found, rel=1e-10)


@given(sizes, seeds, st.sampled_from([None, 3, 8]))
def test_qini_is_the_covariance_with_the_rank(n, seed, levels):
    """Trapezoids over ties give tied rows their mean rank."""
    priority, scores, _ = sample(n, seed, levels)
    rank = (rankdata(priority) - 0.5) / n

    found = qini(priority, scores).estimate

    assert found == pytest.approx(np.mean(scores * (rank - 0.5)), abs=1e-12)


@given(sizes, seeds)
def test_qini_is_grf_s_mean_of_share_times_toc(n, seed):
    priority, scores, _ = sample(n, seed)
    ranked = scores[np.argsort(-priority)]
    share = np.arange(1, n + 1) / n
    toc = ranked.cumsum() / np.arange(1, n + 1) - scores.mean()

    assert qini(priority, scores).estimate == pytest.approx(np.mean(share * toc))


@given(sizes, seeds, st.sampled_from([None, 3]))
def test_integer_weights_are_copies_of_rows(n, seed, levels):
    priority, scores, _ = sample(n, seed, levels)
    copies = np.random.default_rng(seed).integers(1, 4, size=n)

    a = gain_curve(priority, scores, copies.astype(float))
    b = gain_curve(priority.repeat(copies), scores.repeat(copies))

    np.testing.assert_allclose(a.gain.value, b.gain.value, atol=1e-12)
    weighted = qini(priority, scores, copies.astype(float)).estimate
    assert weighted == pytest.approx(
        qini(priority.repeat(copies), scores.repeat(copies)).estimate, abs=1e-12
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("clustered", [False, True])
def test_a_tied_priority_says_nothing(weighted, clustered):
    _, scores, weight = sample(101, 0)
    groups = np.arange(101) // 3 if clustered else None
    given = (np.full(101, 0.3), scores, weight if weighted else None, groups)
    found = gain_curve(*given)

    assert (qini(*given).estimate, qini(*given).std_error) == (0, 0)
    mean = np.average(scores, weights=weight if weighted else None)
    np.testing.assert_allclose(found.gain.value, found.gain.share * mean)
    np.testing.assert_allclose(found.above_line.value, 0, atol=1e-12)
    np.testing.assert_allclose(found.above_line.std_error, 0, atol=1e-12)


def test_ties_are_averaged_over_their_orders():
    priority = np.array([2.0, 1, 1, 1, 0, 0])
    scores = np.array([1.0, 5, -2, 3, 7, -4])
    untied = []
    for middle in permutations((1, 2, 3)):
        for last in permutations((4, 5)):
            order = [0, *middle, *last]
            untied.append(qini(-np.arange(6.0), scores[order]).estimate)

    assert qini(priority, scores).estimate == pytest.approx(np.mean(untied), rel=1e-12)


@given(sizes, seeds, st.sampled_from([None, 3]))
def test_the_order_of_rows_says_nothing(n, seed, levels):
    priority, scores, weight = sample(n, seed, levels)
    order = np.random.default_rng(seed).permutation(n)

    a = gain_curve(priority, scores, weight)
    b = gain_curve(priority[order], scores[order], weight[order])

    np.testing.assert_allclose(a.gain.value, b.gain.value, atol=1e-12)
    np.testing.assert_allclose(a.gain.std_error, b.gain.std_error, atol=1e-7)


@given(sizes, seeds, st.sampled_from([None, 3]))
def test_only_the_ranking_counts_and_its_reverse_flips_the_sign(n, seed, levels):
    priority, scores, weight = sample(n, seed, levels)
    found = qini(priority, scores, weight)

    assert qini(np.exp(3 * priority) - 5, scores, weight) == found
    reverse = qini(-priority, scores, weight)
    assert reverse.estimate == pytest.approx(-found.estimate, abs=1e-12)
    assert reverse.std_error == pytest.approx(found.std_error)


@given(sizes, seeds)
def test_a_constant_effect_adds_nothing_to_qini(n, seed):
    priority, scores, weight = sample(n, seed)
    found = qini(priority, scores, weight).estimate

    shifted = qini(priority, scores + 9, weight).estimate
    assert shifted == pytest.approx(found, abs=1e-10)
    scaled = qini(priority, 4 * scores, weight).estimate
    assert scaled == pytest.approx(4 * found, abs=1e-10)


def test_with_balanced_ties_gain_is_share_times_a_difference_in_means():
    """Pairs of one treated and one control row, e = 1/2: exact at the ends of pairs."""
    rng = np.random.default_rng(0)
    n = 100
    priority = np.repeat(np.arange(n // 2)[::-1], 2).astype(float)
    w, y = np.tile([0, 1], n // 2), rng.normal(size=n)
    scores = 2 * y * (2 * w - 1)  # inverse-propensity scores

    found = gain_curve(priority, scores)

    for k in range(2, n + 1, 2):
        top = np.arange(n) < k
        difference = y[top & (w == 1)].mean() - y[top & (w == 0)].mean()
        assert found.gain.at(k / n).estimate == pytest.approx(k / n * difference, abs=1e-12)
        assert found.uplift.at(k / n).estimate == pytest.approx(difference, abs=1e-12)
    area = np.trapezoid(np.append(0.0, found.above_line.value[1::2]), dx=0.02)
    assert qini(priority, scores).estimate == pytest.approx(area, abs=1e-12)


# The curve


@given(sizes, seeds, st.sampled_from([None, 3]))
def test_the_curve_runs_from_0_to_the_mean_score(n, seed, levels):
    priority, scores, weight = sample(n, seed, levels)
    found = gain_curve(priority, scores, weight)

    mean = np.average(scores, weights=weight)
    for curve in (found.gain, found.uplift):
        assert curve.value[-1] == pytest.approx(mean, abs=1e-12)
    for curve in (found.above_line, found.toc):
        assert curve.value[-1] == curve.std_error[-1] == 0
    np.testing.assert_allclose(found.uplift.value - found.toc.value, mean)
    np.testing.assert_allclose(found.gain.value - found.above_line.value, mean * SHARES)
    tenths = [one.estimate for one in found.deciles]
    np.testing.assert_allclose(np.cumsum(tenths) / 10, found.gain.value[9::10])


def test_the_curve_of_uniform_effects():
    """Effects uniform on (0, 1), perfectly ranked: G(q) = q - q^2 / 2 and 1/12."""
    scores = (np.arange(10_000) + 0.5) / 10_000
    found = gain_curve(scores, scores)

    np.testing.assert_allclose(found.gain.value, SHARES - SHARES**2 / 2, atol=1e-7)
    assert qini(scores, scores).estimate == pytest.approx(1 / 12, abs=1e-7)
    np.testing.assert_allclose(found.toc.value, (1 - SHARES) / 2, atol=1e-7)


# Its errors


def test_rows_without_weight_are_as_good_as_absent():
    priority, scores, _ = sample(200, 0)
    weight = (np.arange(200) < 10).astype(float)

    found = gain_curve(priority, scores, weight)
    alone = gain_curve(priority[:10], scores[:10])

    for name in ("value", "std_error", "degrees"):
        wanted = getattr(alone.gain, name)
        np.testing.assert_allclose(getattr(found.gain, name), wanted, atol=1e-12)
    assert qini(priority, scores, weight).std_error > 0


def test_one_cluster_has_no_error():
    priority, scores, _ = sample(50, 0)
    for figure in (gain_curve, rate):
        with pytest.raises(ValueError, match="two rows or clusters"):
            figure(priority, scores, groups=np.zeros(50))


def test_clusters_of_one_row_are_no_clusters():
    priority, scores, weight = sample(100, 0)
    a = gain_curve(priority, scores, weight)
    b = gain_curve(priority, scores, weight, np.arange(100))

    for name in ("gain", "above_line", "uplift", "toc"):
        np.testing.assert_allclose(getattr(a, name).std_error, getattr(b, name).std_error)
    assert qini(priority, scores, weight) == qini(priority, scores, weight, np.arange(100))


def test_copies_in_one_cluster_carry_no_information():
    priority, scores, _ = sample(300, 0)
    groups = np.repeat(np.arange(300), 4)
    copies = (priority.repeat(4), scores.repeat(4))

    for name in ("gain", "above_line"):
        plain = getattr(gain_curve(priority, scores), name).std_error[10:90]
        copied = getattr(gain_curve(*copies, None, groups), name).std_error[10:90]
        ignored = getattr(gain_curve(*copies), name).std_error[10:90]
        np.testing.assert_allclose(copied, plain, rtol=1e-9)
        np.testing.assert_allclose(ignored, copied / 2, rtol=0.2)  # its window is narrower
    plain = qini(priority, scores).std_error
    # Each copy pulls the figure less than the row alone, which HC3 allows for.
    assert qini(*copies, None, groups).std_error == pytest.approx(plain, rel=0.02)


def test_the_error_of_the_last_gain_is_that_of_the_mean():
    _, scores, weight = sample(400, 1)
    priority, groups = np.random.default_rng(2).normal(size=400), np.arange(400) // 7
    arms = np.arange(400) % 3
    for v, g, w in ((None, None, None), (weight, groups, arms), (weight, None, arms)):
        found = gain_curve(priority, scores, v, g, arms=w).gain.at(1)
        wanted = mean_with_error(scores, v, g, arms=w)
        assert vars(found) == pytest.approx(vars(wanted))


# Ties up to rounding


@given(st.integers(0, 1000), st.sampled_from([1e-9, 1.0, 1e6]), st.sampled_from([0.0, 1e3, -1e6]))
def test_estimates_that_differ_by_rounding_are_ties(seed, unit, shift):
    """Differences of predictions: their rounding is of the predictions' size, whatever that is."""
    rng = np.random.default_rng(seed)
    level = rng.integers(0, 4, 300) * unit
    base = shift * unit + unit * rng.normal(size=300)
    noisy = (base + level) - base
    scores = rng.normal(size=300)

    tolerance = rounding(noisy, base, base + level)
    found = gain_curve(noisy, scores, tolerance=tolerance)
    groups = calibration(noisy, scores, tolerance=tolerance)

    exact = gain_curve(level, scores)
    np.testing.assert_array_equal(found.gain.value, exact.gain.value)
    np.testing.assert_array_equal(found.gain.std_error, exact.gain.std_error)
    assert qini(noisy, scores, tolerance=tolerance) == qini(level, scores)
    assert [one.rows for one in groups] == [one.rows for one in calibration(level, scores)]


def test_a_chain_of_neighbours_within_rounding_is_one_value():
    steps = 1 + 0.6e-12 * np.arange(50)
    values = np.concatenate([steps, steps[-1] + 3e-12 + np.zeros(2)])
    scores = np.random.default_rng(0).normal(size=52)

    found = calibration(values, scores, n_groups=30)

    assert [one.rows for one in found] == [50, 2]
    assert (qini(steps, scores[:50]).estimate, qini(steps, scores[:50]).std_error) == (0, 0)
    assert len(calibration(steps, scores[:50], tolerance=1e-13)) == 5


def test_single_precision_has_a_rounding_of_its_own():
    rng = np.random.default_rng(0)
    base = rng.normal(size=400).astype(np.float32)
    treated = (base + np.float32(0.1)).astype(float)
    estimates = treated - base.astype(float)
    assert len(np.unique(estimates)) > 3

    assert rounding(estimates, base, treated) == pytest.approx(
        1e-6 * np.abs(treated).max(), rel=0.1
    )
    tolerance = rounding(estimates, base, treated)
    assert qini(estimates, rng.normal(size=400), tolerance=tolerance).estimate == 0
    assert rounding(np.arange(5.0)) == 4e-12  # whole numbers are of either precision


def test_drivers_of_estimates_that_vary_by_rounding_are_none():
    X = np.random.default_rng(0).normal(size=(300, 3))
    flat = lambda Z: (100 * Z[:, :1] + 0.5) - 100 * Z[:, :1]  # noqa: E731

    assert np.ptp(flat(X)) > 0
    assert effect_drivers(flat, X).tolist() == [[0]] * 3
    both = effect_drivers(lambda Z: np.column_stack([flat(Z)[:, 0], Z[:, 1]]), X)
    np.testing.assert_allclose(both, [[0, 0], [0, 1], [0, 0]], atol=0.2)


# Groups


def test_groups_are_of_equal_size_and_in_order():
    priority, scores, _ = sample(103, 0)
    found = calibration(priority, scores, n_groups=4)

    assert sorted(one.rows for one in found) == [25, 26, 26, 26]
    ranked = np.argsort(priority)
    start = 0
    for one in found:
        rows = ranked[start : start + one.rows]
        assert one.predicted == pytest.approx(priority[rows].mean())
        assert one.actual.estimate == pytest.approx(scores[rows].mean())
        start += one.rows
    assert [one.predicted for one in found] == sorted(one.predicted for one in found)


def test_right_estimates_are_calibrated():
    priority, _, weight = sample(200, 0)
    for one in calibration(priority, priority, weight):
        assert one.predicted == pytest.approx(one.actual.estimate, rel=1e-12)


def test_groups_are_weighted_and_clustered():
    priority, scores, weight = sample(200, 0)
    groups = np.arange(200) % 40
    found = calibration(priority, scores, weight, groups, n_groups=2)

    order = np.argsort(priority)
    below = np.cumsum(weight[order]) - weight[order]  # a row is where its lower end is
    halves = (order[below < weight.sum() / 2], order[below >= weight.sum() / 2])
    for one, rows in zip(found, map(np.sort, halves), strict=True):
        alone = mean_with_error(scores[rows], weight[rows], groups[rows])
        assert one.actual.estimate == pytest.approx(alone.estimate)
        assert one.actual.std_error == pytest.approx(alone.std_error, rel=0.2)
        assert one.predicted == pytest.approx(np.average(priority[rows], weights=weight[rows]))


@given(st.integers(0, 1000), st.integers(1, 7))
def test_whole_weights_put_rows_in_the_groups_of_their_copies(seed, n_groups):
    rng = np.random.default_rng(seed)
    priority, scores, copies = (
        rng.normal(size=60).round(1),
        rng.normal(size=60),
        rng.integers(1, 5, 60),
    )

    found = calibration(priority, scores, copies.astype(float), n_groups=n_groups)

    of_copies = calibration(priority.repeat(copies), scores.repeat(copies), n_groups=n_groups)
    assert [one.predicted for one in found] == pytest.approx([one.predicted for one in of_copies])
    actual = [one.actual.estimate for one in found]
    assert actual == pytest.approx([one.actual.estimate for one in of_copies])


def test_groups_know_the_arms_of_their_rows():
    """Where few are treated, errors have few degrees of freedom."""
    priority, scores, _ = sample(200, 0)
    arms = (np.arange(200) % 20 == 0).astype(int)
    scores = scores * np.where(arms, 20, 1)

    plain = calibration(priority, scores, n_groups=2)
    known = calibration(priority, scores, n_groups=2, arms=arms)

    assert len(known) == len(plain) == 2
    for a, b in zip(known, plain, strict=True):
        assert a.actual.std_error == b.actual.std_error
        assert a.actual.degrees < 20 < b.actual.degrees


def test_groups_together_are_all_rows():
    priority, scores, _ = sample(500, 3)
    found = calibration(priority, scores)

    assert sum(one.rows for one in found) == 500
    mean = sum(one.actual.estimate * one.rows for one in found) / 500
    assert mean == pytest.approx(scores.mean())


@pytest.mark.parametrize(("levels", "expected"), [(1, 1), (2, 2), (3, 3), (50, 5)])
def test_few_distinct_estimates_make_few_groups_and_tied_rows_stay_together(levels, expected):
    priority, scores, _ = sample(400, 1, levels)
    found = calibration(priority, scores)

    assert len(found) == expected
    assert sum(one.rows for one in found) == 400
    if levels <= 3:
        assert [one.rows for one in found] == np.unique(priority, return_counts=True)[1].tolist()


def test_a_group_too_small_for_an_error_is_left_out():
    found = calibration(np.array([0.0, 1, 2, 3]), np.arange(4.0), n_groups=4)

    assert found == []


# Drivers of the estimates


def test_drivers_of_a_sum_are_the_shares_of_variance():
    """Independent features, additive estimates: a_j^2 Var X_j over the sum of these."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 4)) * [1, 2, 1, 3]
    a = np.array([3.0, 1, 0, 0.5])

    found = effect_drivers(lambda Z: (Z @ a)[:, None], X, most_rows=20_000)

    variance = a**2 * [1, 4, 1, 9]
    np.testing.assert_allclose(found[:, 0], variance / variance.sum(), atol=0.02)
    assert found[2, 0] == 0


def test_drivers_of_a_product_are_all_of_it():
    """x1 * x2 with means 0 varies through both: total effects 1 and 1."""
    X = np.random.default_rng(0).normal(size=(20_000, 3))

    found = effect_drivers(lambda Z: (Z[:, 0] * Z[:, 1])[:, None], X, most_rows=20_000)

    np.testing.assert_allclose(found[:, 0], [1, 1, 0], atol=0.06)
    assert found[2, 0] == 0


def test_drivers_are_by_arm():
    X = np.random.default_rng(0).normal(size=(500, 2))
    found = effect_drivers(lambda Z: np.column_stack([Z[:, 0], Z[:, 1], 0 * Z[:, 0]]), X)

    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 1, 0]], atol=0.15)
    assert found[0, 1] == found[1, 0] == 0
    assert not found[:, 2].any()


def test_drivers_repeat_by_seed_and_leave_features_alone():
    X = np.random.default_rng(0).normal(size=(3000, 2))
    kept, asked = X.copy(), []

    def estimate(Z):
        asked.append(len(Z))
        return (Z[:, 0] + 2 * Z[:, 1])[:, None]

    a, b, c = (effect_drivers(estimate, X, seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    np.testing.assert_array_equal(X, kept)
    assert set(asked) == {500}


@pytest.mark.parametrize("names", [["a", "b", "c"], [0, 1, 2]])
def test_drivers_of_frames_keep_their_types(names):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({0: rng.normal(size=400), 1: rng.integers(0, 2, 400), 2: rng.normal(size=400)})
    X[1] = pd.Categorical.from_codes(X[1], ["u", "v"])
    X.columns = names
    types = X.dtypes.tolist()

    def estimate(Z):
        assert Z.dtypes.tolist() == types
        assert Z.columns.tolist() == names
        return (Z.iloc[:, 0] + 2 * (Z.iloc[:, 1] == "v")).to_numpy(dtype=float)[:, None]

    found = effect_drivers(estimate, X)[:, 0]

    np.testing.assert_allclose(found, [0.5, 0.5, 0], atol=0.1)
    assert found[2] == 0


# Balance


def test_standardized_differences_by_hand():
    X = np.array([[1.0, 5], [3, 5], [2, 5], [6, 5]])
    w = np.array([0, 0, 1, 1])

    found = standardized_differences(X, w, 2)

    np.testing.assert_allclose(found, [[2 / np.sqrt((1 + 4) / 2)], [0]])


def test_standardized_differences_are_by_arm_and_have_a_sign():
    X = np.repeat([[0.0], [1], [-2]], 2, axis=0) + [[-1], [1]] * 3
    w = np.repeat([0, 1, 2], 2)

    np.testing.assert_allclose(standardized_differences(X, w, 3), [[1, -2]])


def test_balance_ignores_missing_values():
    X = np.array([[1.0], [3], [np.nan], [2], [6], [np.nan]])
    w = np.array([0, 0, 0, 1, 1, 1])
    known = ~np.isnan(X[:, 0])

    found = standardized_differences(X, w, 2)

    np.testing.assert_allclose(found, standardized_differences(X[known], w[known], 2))


def test_a_category_counts_by_its_most_unbalanced_level():
    w = np.repeat([0, 1], 10)
    values = ["u"] * 5 + ["v"] * 4 + ["x"] + ["u"] * 5 + ["v"] * 1 + ["x"] * 4
    frame = pd.DataFrame({"c": pd.Categorical(values)})

    found = standardized_differences(frame, w, 2)

    expected = (0.4 - 0.1) / np.sqrt((0.24 + 0.09) / 2)  # v and x: equally far, v comes first
    np.testing.assert_allclose(np.abs(found), [[expected]])


def test_weights_in_balance_are_copies_of_rows():
    rng = np.random.default_rng(0)
    X, w, copies = rng.normal(size=(50, 2)), np.arange(50) % 2, rng.integers(1, 4, size=50)

    found = standardized_differences(X, w, 2, copies.astype(float))

    expected = standardized_differences(X.repeat(copies, axis=0), w.repeat(copies), 2)
    np.testing.assert_allclose(found, expected)


def test_arms_drawn_alike_are_balanced():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 5))
    assert np.abs(standardized_differences(X, rng.integers(0, 3, size=20_000), 3)).max() < 0.06
