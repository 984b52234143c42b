"""Calibration: lines and groups against closed forms, their errors against simulations."""

import numpy as np
import pytest
from scipy import stats

from metalearners.evaluation import blp, calibration, gates, mean_with_error

CUTS = stats.norm.ppf([0, 0.2, 0.4, 0.6, 0.8, 1])
FIFTHS = 5 * (stats.norm.pdf(CUTS[:-1]) - stats.norm.pdf(CUTS[1:]))  # means of a standard normal


def draw(rng, n, slope=1.0, decimals=None):
    """Estimates, and scores around a line through them."""
    predicted = rng.normal(size=n)
    if decimals is not None:
        predicted = np.round(predicted, decimals)
    return predicted, slope * predicted + rng.normal(size=n)


def scarce(rng, n, treated=0.01):
    """Estimates, scores with 1 % treated, whose outcome models predict well, and arms."""
    predicted, arms = rng.normal(size=n), (np.arange(n) < max(2, treated * n)).astype(int)
    noise = np.where(arms == 1, 1 / treated, -1 / (1 - treated)) * rng.normal(size=n)
    return predicted, predicted + noise, arms


def covers(found, truth):
    return found.ci_low <= truth <= found.ci_high


# Groups


@pytest.mark.parametrize(("slope", "decimals"), [(0, None), (1, None), (3, None), (3, 2)])
def test_groups_cover_those_of_the_population_s_quantiles(slope, decimals):
    rng = np.random.default_rng(0)
    found = [gates(*draw(rng, 400, slope, decimals), draws=1) for _ in range(500)]

    truth = slope * FIFTHS
    for k in range(5):
        inside = np.mean([covers(one.groups[k].actual, truth[k]) for one in found])
        assert 0.91 <= inside <= 0.98, (k, inside)
    inside = np.mean([covers(one.difference, truth[4] - truth[0]) for one in found])
    assert 0.91 <= inside <= 0.98


def test_groups_with_few_treated_or_none_err_on_the_wide_side():
    """Two treated of 200 rows: some fifths have none, one at least has a single one."""
    rng = np.random.default_rng(13)

    def one():
        predicted, scores, arms = scarce(rng, 200)
        return gates(predicted, scores, arms=arms, draws=200)

    found = [one() for _ in range(200)]
    assert np.mean([covers(each.difference, FIFTHS[4] - FIFTHS[0]) for each in found]) >= 0.91
    for k in range(5):
        assert np.mean([covers(each.groups[k].actual, FIFTHS[k]) for each in found]) >= 0.91
    assert np.mean([each.p_monotone < 0.05 for each in found]) <= 0.065


@pytest.mark.parametrize("clustered", [False, True])
def test_cuts_at_many_ties_stay_where_they_are(clustered):
    """Means of the rows alone then have the errors, as groups are values, which no cut moves."""
    rng = np.random.default_rng(1)
    predicted, scores = draw(rng, 1000, 3.0, 0)
    weight = rng.exponential(size=1000)
    clusters = rng.integers(0, 90, 1000) if clustered else None
    low, high = calibration(predicted, scores, weight, clusters, n_groups=2)

    for one, rows in ((low, predicted <= 0), (high, predicted > 0)):
        wanted = mean_with_error(scores[rows], weight[rows], clusters[rows] if clustered else None)
        assert one.rows == rows.sum()
        for field in ("estimate", "std_error", "ci_low", "ci_high"):
            assert getattr(one.actual, field) == pytest.approx(getattr(wanted, field), rel=1e-9)


def test_the_difference_allows_for_clusters_that_straddle_groups():
    """A shift of whole clusters moves both ends alike: the difference is free of it."""
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(60), 10)

    def one():
        shift = 2 * rng.normal(size=60)[clusters]
        predicted, scores = draw(rng, 600)
        return gates(predicted, scores + shift, None, clusters, draws=1).difference

    found = [one() for _ in range(400)]
    assert 0.91 <= np.mean([covers(each, FIFTHS[4] - FIFTHS[0]) for each in found]) <= 0.98
    spread = np.std([each.estimate for each in found])
    assert np.mean([each.std_error for each in found]) / spread == pytest.approx(1, abs=0.12)


def test_p_values_of_groups_without_heterogeneity_are_uniform():
    rng = np.random.default_rng(3)
    found = [gates(*draw(rng, 250, 0.0), draws=400) for _ in range(2000)]

    for p in ("p_value", "p_greater", "p_monotone"):
        rejected = np.mean([getattr(one, p) < 0.05 for one in found])
        assert 0.035 <= rejected <= 0.065, (p, rejected)


def test_monotonicity_is_rejected_where_a_middle_group_falls_and_never_by_a_rise():
    rng = np.random.default_rng(4)
    predicted = rng.normal(size=2000)
    noise = rng.normal(size=2000)
    humped = gates(predicted, 1 - np.abs(predicted) + noise)
    rising = gates(predicted, predicted + noise)
    assert humped.p_monotone < 0.001
    assert humped.p_value > 0.05
    assert rising.p_monotone > 0.5
    assert rising.p_greater < 0.001
    falling = gates(predicted, -predicted + noise)
    assert falling.p_monotone < 0.001
    assert falling.p_greater > 0.999
    assert falling.difference.estimate < 0


def test_the_difference_is_that_of_the_last_group_and_the_first():
    rng = np.random.default_rng(5)
    predicted, scores = draw(rng, 333)
    weight = rng.exponential(size=333)
    found = gates(predicted, scores, weight, n_groups=4)
    assert found.groups == tuple(calibration(predicted, scores, weight, n_groups=4))
    first, *_, last = (one.actual.estimate for one in found.groups)
    assert found.difference.estimate == pytest.approx(last - first)
    copies = rng.integers(1, 4, 333)
    repeated = gates(predicted.repeat(copies), scores.repeat(copies)).difference.estimate
    assert gates(predicted, scores, copies).difference.estimate == pytest.approx(repeated)
    shifted = gates(predicted + 1e6, scores + 1e6, weight, n_groups=4, tolerance=1e-8)
    assert shifted.difference.estimate == pytest.approx(last - first, abs=1e-7)
    assert shifted.p_monotone == pytest.approx(found.p_monotone, abs=1e-3)


def test_one_group_has_no_difference():
    scores = np.random.default_rng(6).normal(size=200)
    found = gates(np.zeros(200), scores)
    assert [one.rows for one in found.groups] == [200]
    assert found.groups[0].actual.std_error == pytest.approx(mean_with_error(scores).std_error)
    assert (found.difference.estimate, found.difference.std_error) == (0, 0)
    assert (found.p_value, found.p_greater, found.p_monotone) == (1, 1, 1)


def test_groups_of_few_rows_are_refused_or_left_out():
    with pytest.raises(ValueError, match="two rows or clusters or more in one of 4 groups"):
        gates(np.arange(4.0), np.arange(4.0), n_groups=4)
    # The group in the middle has the rows of one cluster.
    clusters = np.array([0, 1, 0, 1, 2, 2, 2, 2, 0, 1, 3, 4])
    found = gates(np.arange(12.0), np.arange(12.0) % 5, None, clusters, n_groups=3)
    assert [one.predicted for one in found.groups] == [1.5, 9.5]


# The line


def by_least_squares(predicted, scores, weight):
    X = np.column_stack([np.ones(len(predicted)), predicted])
    root = np.sqrt(weight)
    return np.linalg.lstsq(X * root[:, None], scores * root, rcond=None)[0][1]


@pytest.mark.parametrize("clustered", [False, True])
def test_the_slope_is_least_squares_and_its_error_the_jackknife(clustered):
    rng = np.random.default_rng(7)
    predicted, scores = draw(rng, 60)
    weight = rng.exponential(size=60)
    clusters = rng.integers(0, 12, 60) if clustered else np.arange(60)
    found = blp(predicted, scores, weight, clusters if clustered else None)

    assert found.slope.estimate == pytest.approx(by_least_squares(predicted, scores, weight))
    assert found.mean == mean_with_error(scores, weight, clusters if clustered else None)
    without = np.array(
        [
            by_least_squares(*(one[clusters != g] for one in (predicted, scores, weight)))
            for g in np.unique(clusters)
        ]
    )
    count = len(without)
    wanted = np.sqrt((count - 1) / count * np.sum((without - found.slope.estimate) ** 2))
    assert found.slope.std_error == pytest.approx(wanted, rel=0.005)


@pytest.mark.parametrize(("n", "most"), [(200, 1), (800, 1), (3000, 0.98)])
def test_lines_cover_with_few_treated(n, most):
    """Two or eight treated rows are too few for an exact interval: it errs on the wide side."""
    rng = np.random.default_rng(8)

    def one():
        predicted, scores, arms = scarce(rng, n)
        return blp(predicted, scores, arms=arms).slope

    inside = np.mean([covers(one(), 1.0) for _ in range(500)])
    assert 0.91 <= inside <= most, inside


def test_lines_cover_the_best_one_where_effects_are_curved():
    """The slope of x + x^2 / 2 on a normal x is 1."""
    rng = np.random.default_rng(9)

    def one():
        predicted = rng.normal(size=400)
        return blp(predicted, predicted + predicted**2 / 2 + rng.normal(size=400)).slope

    inside = np.mean([covers(one(), 1.0) for _ in range(500)])
    assert 0.91 <= inside <= 0.98, inside


def test_p_values_of_lines_are_uniform():
    rng = np.random.default_rng(10)
    found = [blp(*draw(rng, 250, 0.0)).p_value for _ in range(2000)]
    assert 0.035 <= np.mean(np.array(found) < 0.05) <= 0.065


def test_the_test_of_calibration_is_that_of_the_scores_less_the_estimates():
    predicted, scores = draw(np.random.default_rng(14), 250, 0.2)
    wanted = blp(predicted, scores - predicted).p_value
    assert blp(predicted, scores).p_calibrated == pytest.approx(wanted)
    assert wanted < 0.001


def test_what_must_not_change_a_line():
    rng = np.random.default_rng(11)
    predicted, scores = draw(rng, 300)
    found = blp(predicted, scores).slope
    order = rng.permutation(300)
    same = (
        blp(predicted[order], scores[order]),
        blp(predicted + 1e6, scores + 1e6),
        blp(np.append(predicted, 1e3), np.append(scores, 1e3), np.append(np.ones(300), 0)),
    )
    for one in same:
        assert one.slope.estimate == pytest.approx(found.estimate, rel=1e-7)
        assert one.slope.std_error == pytest.approx(found.std_error, rel=1e-6)
    halved = blp(predicted / 2, scores).slope
    assert halved.estimate == pytest.approx(2 * found.estimate)
    copies = rng.integers(1, 4, 300)
    repeated = blp(predicted.repeat(copies), scores.repeat(copies)).slope
    assert blp(predicted, scores, copies).slope.estimate == pytest.approx(repeated.estimate)
    assert blp(-predicted, scores).slope.estimate == pytest.approx(-found.estimate)


def test_ties_have_no_line():
    scores = np.random.default_rng(12).normal(size=50)
    assert blp(np.full(50, 0.3), scores) is None
    assert blp(0.3 + 1e-14 * scores, scores) is None
    # Without the one row that differs, there is none either.
    assert blp(np.append(np.zeros(49), 1.0), scores) is None
    assert blp(np.append(np.zeros(48), [1.0, 1.0]), scores) is not None
