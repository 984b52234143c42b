"""Average effects: scores and errors against closed forms, another package and known truths."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from metalearners.evaluation.average_effects import (
    adjustment,
    aipw_scores,
    average_effects,
    difference_in_means,
)
from metalearners.evaluation.means import (
    cluster_codes,
    effective_clusters,
    mean_with_error,
    simultaneous_intervals,
)
from tests.simulate import (
    draw,
    draw_clusters,
    three_classes,
    three_outcomes,
    three_propensities,
    two_classes,
    two_outcomes,
    two_propensities,
)

DESIGNS = [
    (two_outcomes, two_propensities),
    (three_outcomes, three_propensities),
    (two_classes, two_propensities),
    (three_classes, three_propensities),
]


def sample(n=200, seed=0):
    """Scores, weights and clusters of uneven sizes."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 30, size=n)
    scores = rng.normal(size=n) + rng.normal(size=30)[groups]
    return scores, rng.uniform(0.2, 3, size=n), groups


# Scores


@pytest.mark.parametrize(("outcomes", "propensities"), DESIGNS)
@pytest.mark.parametrize("wrong", [False, True])
def test_without_noise_scores_are_the_outcomes_row_by_row(outcomes, propensities, wrong):
    """True mu leave nothing for the propensities to weigh, right or wrong."""
    s = draw(300, outcomes, propensities, noise=0)
    e = s.e[:, ::-1] if wrong else s.e

    np.testing.assert_allclose(aipw_scores(s.y, s.w, s.mu, e), s.mu, atol=1e-12)


def test_scores_of_two_rows_by_hand():
    mu = np.array([[1.0, 2.0], [3.0, 5.0]])
    e = np.array([[0.8, 0.2], [0.4, 0.6]])

    found = aipw_scores(np.array([2.5, 4.0]), np.array([1, 0]), mu, e)

    np.testing.assert_allclose(found, [[1, 2 + 0.5 / 0.2], [3 + 1 / 0.4, 5]])


def test_without_outcome_models_scores_are_inverse_propensity_weights():
    s = draw(100, three_outcomes, three_propensities)
    found = aipw_scores(s.y, s.w, np.zeros_like(s.mu), s.e)

    expected = np.zeros_like(s.mu)
    expected[np.arange(100), s.w] = s.y / s.e[np.arange(100), s.w]
    np.testing.assert_allclose(found, expected)


ROBUST = {
    "both right": (lambda s: s.mu, lambda s: s.e, True),
    "wrong outcomes": (lambda s: 0 * s.mu, lambda s: s.e, True),
    "other wrong outcomes": (lambda s: s.mu[:, ::-1] + 2, lambda s: s.e, True),
    "wrong propensities": (lambda s: s.mu, lambda s: 0 * s.e + 0.5, True),
    "other wrong propensities": (lambda s: s.mu, lambda s: s.e[:, ::-1], True),
    "both wrong": (lambda s: 0 * s.mu, lambda s: 0 * s.e + 0.5, False),
}


@pytest.mark.parametrize("case", ROBUST)
def test_one_right_nuisance_is_enough_and_none_is_not(case):
    mu, e, consistent = ROBUST[case]
    s = draw(100_000, seed=5)
    scores = aipw_scores(s.y, s.w, mu(s), e(s))

    found = mean_with_error(scores[:, 1] - scores[:, 0])

    if consistent:
        assert abs(found.estimate - 1) < 4 * found.std_error
        assert found.std_error < 0.02
    else:
        assert abs(found.estimate - 1) > 20 * found.std_error


def test_the_right_nuisances_have_the_smallest_error():
    """The efficiency bound: E[(tau - ATE)^2 + s^2/e + s^2/(1 - e)] / n."""
    s = draw(100_000, seed=6)
    scores = aipw_scores(s.y, s.w, s.mu, s.e)
    found = mean_with_error(scores[:, 1] - scores[:, 0])

    bound = np.mean((s.tau[:, 0] - 1) ** 2 + (1 / s.e).sum(axis=1)) / len(s.y)
    assert found.std_error == pytest.approx(np.sqrt(bound), rel=0.02)


# Errors of means


def test_a_plain_mean_has_the_textbook_error_and_interval():
    scores, _, _ = sample()
    found = mean_with_error(scores)

    assert found.estimate == pytest.approx(scores.mean(), rel=1e-12)
    assert found.std_error == pytest.approx(scores.std(ddof=1) / np.sqrt(200), rel=1e-12)
    interval = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(interval), rel=1e-9)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_intervals_have_their_level(level):
    scores, _, _ = sample()
    found = mean_with_error(scores, level=level)

    interval = stats.ttest_1samp(scores, 0).confidence_interval(level)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(interval), rel=1e-9)


def left_out(estimate, clusters):
    """The jackknife's variance: an estimate without each cluster in turn, about that of all."""
    each = [estimate(clusters != one) for one in np.unique(clusters)]
    squares = (np.array(each) - estimate(np.ones(len(clusters), bool))) ** 2
    return (1 - 1 / len(each)) * np.sum(squares)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_errors_of_means_are_those_of_leaving_each_cluster_out(weighted, clustered):
    scores, weight, groups = sample()
    weight, groups = weight if weighted else None, groups if clustered else None
    v = np.ones(200) if weight is None else weight
    member = np.arange(200) if groups is None else groups

    found = mean_with_error(scores, weight, groups)

    expected = left_out(lambda rows: np.average(scores[rows], weights=v[rows]), member)
    assert found.std_error == pytest.approx(np.sqrt(expected), rel=1e-10)
    mass = np.bincount(member, v)
    assert found.degrees == pytest.approx(mass.sum() ** 2 / (mass**2).sum() - 1)
    half = stats.t.ppf(0.975, found.degrees) * found.std_error
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (found.estimate - half, found.estimate + half)
    )


def test_clusters_of_one_size_agree_with_statsmodels():
    """Both correct by G / (G - 1) then; statsmodels' (n - 1) / (n - k) is 1 for a mean, k = 1."""
    scores, groups = sample()[0], np.arange(200) % 25
    model = sm.OLS(scores, np.ones(200))
    fitted = model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)

    found = mean_with_error(scores, None, groups)

    assert found.estimate == pytest.approx(fitted.params[0], rel=1e-10)
    assert found.std_error == pytest.approx(fitted.bse[0], rel=1e-10)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(fitted.conf_int()[0]), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_unclustered_means_agree_with_statsmodels(weighted):
    """HC3 leaves rows out too, without the jackknife's (n - 1) / n."""
    scores, weight, _ = sample()
    weight = weight if weighted else None
    model = sm.WLS(scores, np.ones(200), weights=1.0 if weight is None else weight)
    expected = model.fit(cov_type="HC3").bse[0] * np.sqrt(199 / 200)

    assert mean_with_error(scores, weight).std_error == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("arm", [1, 2])
def test_errors_of_differences_are_those_of_leaving_clusters_out_in_each_arm(
    clustered, weighted, arm
):
    """Clusters of one arm here: so the variances of two means add up."""
    s = draw(300, three_outcomes, three_propensities)
    _, weight, groups = sample(300)
    v = weight if weighted else np.ones(300)
    member = s.w + 3 * groups if clustered else np.arange(300)

    found = difference_in_means(
        s.y, s.w, arm, weight if weighted else None, member if clustered else None
    )

    means, variances, degrees = [], [], []
    for k in (arm, 0):
        y, u, own = (x[s.w == k] for x in (s.y, v, member))
        means.append(np.average(y, weights=u))
        of_rows = lambda rows, y=y, u=u: np.average(y[rows], weights=u[rows])  # noqa: E731
        variances.append(left_out(of_rows, own))
        mass = np.bincount(np.unique(own, return_inverse=True)[1], u)
        degrees.append(mass.sum() ** 2 / (mass**2).sum() - 1)
    assert found.estimate == pytest.approx(means[0] - means[1], rel=1e-10)
    assert found.std_error == pytest.approx(np.sqrt(sum(variances)), rel=1e-10)
    each = sum(one**2 / d for one, d in zip(variances, degrees, strict=True))
    assert found.degrees == pytest.approx(sum(variances) ** 2 / each)


def test_clusters_in_both_arms_count_by_what_they_move():
    """Pairs of twins, one in each arm: the error is that of the differences within pairs."""
    rng = np.random.default_rng(0)
    pair, w = np.repeat(np.arange(40), 2), np.tile([0, 1], 40)
    y = 3 * rng.normal(size=40)[pair] + rng.normal(size=80)

    found = difference_in_means(y, w, 1, groups=pair)

    expected = stats.sem(y[1::2] - y[::2])
    assert found.std_error == pytest.approx(expected, rel=1e-10)


def test_a_difference_in_means_is_welch_s():
    s = draw(300)
    a, b = s.y[s.w == 1], s.y[s.w == 0]
    welch = stats.ttest_ind(a, b[:9], equal_var=False)

    found = difference_in_means(np.append(a, b[:9]), np.repeat([1, 0], [len(a), 9]), 1)

    assert found.estimate == pytest.approx(a.mean() - b[:9].mean())
    assert found.degrees == pytest.approx(welch.df)
    interval = welch.confidence_interval()
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))


def test_a_mean_of_one_row_or_cluster_has_no_error():
    y, w = np.arange(6.0), np.array([0, 0, 0, 0, 1, 1])
    for arms, groups in ((np.array([0, 0, 0, 0, 0, 1]), None), (w, np.array([0, 1, 2, 3, 4, 4]))):
        with pytest.raises(ValueError, match="two rows or clusters or more of each arm"):
            difference_in_means(y, arms, 1, groups=groups)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_constant_nuisances_make_aipw_the_difference_in_means(clustered, weighted):
    """With arm means for mu and arm shares for e, scores are influence functions.

    Errors differ by what fixed arm means leave out, of the order of clusters in an arm.
    """
    s = draw(300)
    _, weight, groups = sample(300)
    weight, groups = weight if weighted else None, groups if clustered else None
    v = np.ones(300) if weight is None else weight
    mu = [np.average(s.y[s.w == k], weights=v[s.w == k]) for k in (0, 1)]
    e = [v[s.w == k].sum() / v.sum() for k in (0, 1)]
    scores = aipw_scores(s.y, s.w, np.tile(mu, (300, 1)), np.tile(e, (300, 1)))

    (found,) = average_effects(scores, s.w, weight, groups)

    expected = difference_in_means(s.y, s.w, 1, weight, groups)
    assert found.effect.estimate == pytest.approx(expected.estimate, rel=1e-10)
    assert found.effect.std_error == pytest.approx(expected.std_error, rel=0.02)
    if not weighted and not clustered:
        parts = [s.y[s.w == k].var() / (s.w == k).sum() for k in (0, 1)]
        error = np.sqrt(sum(parts) * 300 / 299)
        assert found.effect.std_error == pytest.approx(error, rel=1e-10)
        freedom = error**4 / np.sum(
            [(p * 300 / 299) ** 2 / ((s.w == k).sum() - 1) for k, p in enumerate(parts)]
        )
        assert found.effect.degrees == pytest.approx(freedom)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_adjustment_is_what_the_raw_difference_lacks(clustered, weighted):
    s = draw(300, three_outcomes, three_propensities)
    _, weight, groups = sample(300)
    weight, groups = weight if weighted else None, groups if clustered else None
    scores = aipw_scores(s.y, s.w, s.mu, s.e)
    adjusted = average_effects(scores, s.w, weight, groups)

    for k in (1, 2):
        raw = difference_in_means(s.y, s.w, k, weight, groups)
        change = adjustment(scores, s.y, s.w, k, weight, groups)
        assert change.estimate == pytest.approx(adjusted[k - 1].effect.estimate - raw.estimate)


def test_adjustment_is_beyond_chance_as_often_as_its_level_says():
    """An experiment whose outcome depends on a feature, adjusted by regressions of each arm."""
    beyond, seed = 0, np.random.default_rng(0)
    for rng in seed.spawn(600):
        x, w = rng.normal(size=200), rng.permutation(np.arange(200) % 2)
        y = 2 * x + w + rng.normal(size=200)
        fits = [np.polyfit(x[w == k], y[w == k], 1) for k in (0, 1)]
        mu = np.column_stack([np.polyval(fit, x) for fit in fits])
        scores = aipw_scores(y, w, mu, np.full((200, 2), 0.5))
        change = adjustment(scores, y, w, 1)
        beyond += not change.ci_low <= 0 <= change.ci_high

    assert 0.03 <= beyond / 600 <= 0.075


def test_adjustment_under_a_known_design_compares_with_the_weighted_difference():
    """Rows with larger outcomes are treated more often: the plain difference is biased."""
    beyond, seed = {"known": 0, "plain": 0}, np.random.default_rng(1)
    for rng in seed.spawn(300):
        x, v = rng.integers(0, 2, 400), rng.uniform(0.5, 2, 400)
        e = np.where(x, 0.75, 0.25)
        w = (rng.random(400) < e).astype(int)
        y = x + w + rng.normal(size=400)
        known = np.column_stack([1 - e, e])
        scores = aipw_scores(y, w, np.column_stack([x, x + 1.0]), known)
        raw = [np.average(y[w == k], weights=(v / known[:, k])[w == k]) for k in (0, 1)]
        change = adjustment(scores, y, w, 1, v, propensity=known)
        adjusted = np.average(scores[:, 1] - scores[:, 0], weights=v)
        assert change.estimate == pytest.approx(adjusted - (raw[1] - raw[0]))
        beyond["known"] += not change.ci_low <= 0 <= change.ci_high
        plain = adjustment(scores, y, w, 1, v)
        beyond["plain"] += not plain.ci_low <= 0 <= plain.ci_high

    assert beyond["known"] <= 0.08 * 300
    assert beyond["plain"] >= 0.9 * 300


def test_arms_with_few_clusters_have_few_degrees():
    """5 treated of 100 clusters: the treated part of the variance is most of it."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    w = (groups < 5).astype(int)
    y = rng.normal(size=100)[groups] + rng.normal(size=1000)
    scores = aipw_scores(y, w, np.zeros((1000, 2)), np.tile([0.95, 0.05], (1000, 1)))

    (found,) = average_effects(scores, w, groups=groups)

    effect = scores[:, 1] - scores[:, 0]
    of_cluster = [np.sum((effect - effect.mean())[groups == g]) ** 2 for g in range(100)]
    parts = np.array([np.sum(of_cluster[5:]), np.sum(of_cluster[:5])])
    expected = parts.sum() ** 2 / np.sum(parts**2 / [94, 4])
    assert found.effect.degrees == pytest.approx(expected)
    assert found.effect.degrees < 10
    assert found.joint == (found.effect.ci_low, found.effect.ci_high)


def test_effective_clusters_are_by_hand_and_never_more_than_there_are():
    w = np.array([0, 0, 0, 0, 1, 1, 2])
    groups = np.array(["a", "a", "a", "b", "b", "c", "d"])

    assert effective_clusters(w, groups).tolist() == [16 / 10, 2, 1]
    weight = np.array([1, 1, 1, 3, 1, 0, 5.0])
    assert effective_clusters(w, groups, weight).tolist() == [2, 1, 1]
    assert effective_clusters(w, None, weight).tolist() == [36 / 12, 1, 1]
    for unit in (1e-300, 1e300):
        np.testing.assert_allclose(effective_clusters(w, groups, weight * unit), [2, 1, 1])


@pytest.mark.parametrize("labels", [np.arange, lambda n: np.array([f"row {i}" for i in range(n)])])
def test_clusters_of_one_row_are_no_clusters(labels):
    scores, weight, _ = sample()
    for w in (None, weight):
        found, expected = mean_with_error(scores, w, labels(200)), mean_with_error(scores, w)
        assert found.estimate == expected.estimate
        assert found.std_error == pytest.approx(expected.std_error, rel=1e-12)
        assert found.ci_low == pytest.approx(expected.ci_low, rel=1e-9)


def test_clusters_may_have_any_labels_in_any_order():
    scores, weight, groups = sample()
    order = np.random.default_rng(1).permutation(200)
    named = np.array([f"family {g}" for g in groups])[order]

    found = mean_with_error(scores[order], weight[order], named)

    expected = mean_with_error(scores, weight, groups)
    assert found.std_error == pytest.approx(expected.std_error, rel=1e-10)


def test_codes_of_clusters_are_in_the_order_of_labels():
    assert cluster_codes(4, np.array(["b", "a", "b", "a"])).tolist() == [1, 0, 1, 0]
    assert cluster_codes(4, None).tolist() == [0, 1, 2, 3]


def test_copies_in_one_cluster_carry_no_information():
    scores, _, _ = sample()
    plain = mean_with_error(scores)
    copied = mean_with_error(np.repeat(scores, 5), None, np.repeat(np.arange(200), 5))
    ignored = mean_with_error(np.repeat(scores, 5))

    assert copied.std_error == pytest.approx(plain.std_error, rel=1e-12)
    assert ignored.std_error == pytest.approx(plain.std_error / np.sqrt(5), rel=0.01)


def test_weights_are_copies_of_a_cluster():
    scores, _, groups = sample()
    weight = np.random.default_rng(3).integers(0, 4, size=200)
    weight[np.unique(groups, return_index=True)[1]] = 2  # no cluster vanishes
    repeated = mean_with_error(scores.repeat(weight), None, groups.repeat(weight))

    found = mean_with_error(scores, weight.astype(float), groups)

    assert found.estimate == pytest.approx(repeated.estimate, rel=1e-12)
    assert found.std_error == pytest.approx(repeated.std_error, rel=1e-10)


@pytest.mark.parametrize("factor", [1e-6, 7, 1e6])
def test_the_scale_of_weights_says_nothing(factor):
    scores, weight, groups = sample()
    found, expected = (mean_with_error(scores, w, groups) for w in (factor * weight, weight))

    assert found.std_error == pytest.approx(expected.std_error, rel=1e-10)


def test_errors_cover_means_of_clustered_scores():
    """Errors over 400 samples are the spread of the means; those without clusters aren't."""
    found, ignored = [], []
    for seed in range(400):
        s = draw_clusters(60, 5, seed=seed)
        found.append(difference_in_means(s.y, s.w, 1, groups=s.groups))
        ignored.append(difference_in_means(s.y, s.w, 1).std_error)
    spread = np.std([one.estimate for one in found])

    assert np.mean([one.std_error for one in found]) == pytest.approx(spread, rel=0.12)
    assert np.mean(ignored) < 0.85 * spread
    covered = np.mean([one.ci_low <= 1 <= one.ci_high for one in found])
    assert 0.92 <= covered <= 0.98


# Several means at once


def test_one_mean_at_once_is_one_mean():
    scores, weight, groups = sample()
    ((low, high),) = simultaneous_intervals(scores[:, None], weight, groups)
    expected = mean_with_error(scores, weight, groups)

    assert (low, high) == pytest.approx((expected.ci_low, expected.ci_high), rel=0.05)


def test_equal_scores_need_no_wider_intervals_and_others_less_than_bonferroni():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(500, 4))
    same = np.repeat(scores[:, :1], 4, axis=1)
    error = mean_with_error(scores[:, 0]).std_error

    critical = [
        (high - low) / 2 / error
        for low, high in (simultaneous_intervals(columns)[0] for columns in (same, scores))
    ]

    assert critical[0] == pytest.approx(stats.t.ppf(0.975, 499), rel=0.02)
    exact = stats.t.ppf((1 + 0.95 ** (1 / 4)) / 2, 499)  # of independent statistics
    assert critical[1] == pytest.approx(exact, rel=0.02)
    assert critical[1] < stats.t.ppf(1 - 0.025 / 4, 499) * 1.01


def test_joint_intervals_allow_for_arms_of_few_rows():
    """A rare arm's interval is as wide as its own degrees ask, beside that of a common one."""
    rng = np.random.default_rng(0)
    w = np.repeat([0, 1, 2], [500, 490, 10])
    share = np.bincount(w) / 1000
    scores = aipw_scores(rng.normal(size=1000), w, np.zeros((1000, 3)), np.tile(share, (1000, 1)))

    common, rare = average_effects(scores, w)

    widths = [(one.joint[1] - one.joint[0]) / 2 / one.effect.std_error for one in (common, rare)]
    assert rare.effect.degrees < 15
    assert common.effect.degrees > 500
    assert 2.2 < widths[0] < 2.26  # Bonferroni's at most, of two arms
    assert 2.5 < widths[1] < stats.t.ppf(1 - 0.0125, rare.effect.degrees)


def test_simultaneous_intervals_hold_all_at_once():
    """Three arms against one control: correlated, over 400 samples."""
    held = pointwise = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        scores = rng.normal(size=(80, 3)) + rng.normal(size=(80, 1))
        found = simultaneous_intervals(scores, draws=2000)
        held += all(low <= 0 <= high for low, high in found)
        single = [mean_with_error(column) for column in scores.T]
        pointwise += all(one.ci_low <= 0 <= one.ci_high for one in single)

    assert 0.92 <= held / 400 <= 0.98
    assert pointwise / 400 < held / 400
