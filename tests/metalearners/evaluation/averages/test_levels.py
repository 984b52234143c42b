"""Tests of levels: closed forms, clusters in several levels, size, and what must not matter."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from metalearners.evaluation import (
    feature_tests,
    holm,
    mean_with_error,
    segment_effects,
    segment_tests,
)


def sample(rng, n=400, n_variants=3):
    """Scores by arm, arms, weights and clusters of five."""
    w = rng.integers(0, n_variants, n)
    scores = rng.normal(size=(n, n_variants)) + np.arange(n_variants)
    return scores, w, rng.exponential(size=n), np.arange(n) // 5


def p_values(*given):
    return [one.p_value for one in segment_tests(*given)]


@pytest.mark.parametrize("clustered", [False, True])
def test_two_levels_are_compared_by_the_t_test_of_their_difference(clustered):
    rng = np.random.default_rng(0)
    scores, w, weight, groups = sample(rng, n_variants=2)
    groups = groups if clustered else None
    new = np.arange(400) < 90  # of whole clusters
    contrast = scores[:, 1] - scores[:, 0]
    one, two = (
        mean_with_error(
            contrast[own], weight[own], None if groups is None else groups[own], arms=w[own]
        )
        for own in (new, ~new)
    )
    variances = one.std_error**2, two.std_error**2
    most = (17, 61) if clustered else (89, 309)
    degrees = [min(each.degrees, d) for each, d in zip((one, two), most, strict=True)]
    own = sum(variances) ** 2 / sum(v**2 / d for v, d in zip(variances, degrees, strict=True))
    t = (one.estimate - two.estimate) / sum(variances) ** 0.5

    (found,) = segment_tests(scores, {"new": new}, w, weight, groups)
    assert (found.segment, found.arm, found.levels) == ("new", 1, 2)
    assert found.p_value == pytest.approx(2 * stats.t.sf(abs(t), own), rel=1e-9)
    assert found.p_adjusted == found.p_value


def test_several_levels_are_compared_by_welch_s_analysis_of_variance():
    rng = np.random.default_rng(1)
    scores, w, _, _ = sample(rng, 300, 2)
    kind = rng.choice(4, 300, p=[0.5, 0.2, 0.2, 0.1])
    scores *= 1 + kind[:, None]
    effects = [one.effect for one in segment_effects(scores, {"kind": kind}, w)]

    mean = np.array([one.estimate for one in effects])
    precision = np.array([one.std_error**-2 for one in effects])
    share = precision / precision.sum()
    between = precision @ (mean - share @ mean) ** 2 / 3
    spread = np.sum((1 - share) ** 2 / [one.degrees for one in effects])
    f = between / (1 + 2 * (4 - 2) / (4**2 - 1) * spread)
    wanted = stats.f.sf(f, 3, (4**2 - 1) / 3 / spread)
    assert p_values(scores, {"kind": kind}, w) == [pytest.approx(wanted, rel=1e-9)]


def test_clusters_in_both_levels_are_pairs():
    rng = np.random.default_rng(2)
    groups, new = np.repeat(np.arange(12), 8), np.tile([False, True], 48)
    w = np.tile([0, 0, 1, 1], 24)
    own = 5 * rng.normal(size=12)[groups]  # a test that forgets the clusters finds nothing
    effect = own + rng.normal(size=96) + 0.6 * new
    scores = np.column_stack([np.zeros(96), effect])
    means = [[effect[(groups == g) & (new == level)].mean() for g in range(12)] for level in (0, 1)]

    wanted = stats.ttest_rel(*means).pvalue
    assert p_values(scores, {"new": new}, w, None, groups) == [pytest.approx(wanted, rel=1e-9)]
    assert wanted < 0.05 < p_values(scores, {"new": new}, w)[0]


def test_more_levels_of_the_same_clusters_are_compared_about_as_hotelling_does():
    rng = np.random.default_rng(3)
    groups, level = np.repeat(np.arange(25), 8), np.tile(np.arange(4), 50)
    w = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 25)
    effect = 3 * rng.normal(size=25)[groups] + rng.normal(size=200) + 0.4 * (level == 2)
    by_cluster = effect.reshape(25, 2, 4).mean(axis=1)
    left = np.diff(by_cluster, axis=1)
    square = 25 * left.mean(axis=0) @ np.linalg.solve(np.cov(left.T), left.mean(axis=0))
    wanted = stats.f.sf(square * 22 / (3 * 24), 3, 22)

    scores = np.column_stack([np.zeros(200), effect])
    (found,) = p_values(scores, {"level": level}, w, None, groups)
    assert 0.001 < wanted < 0.2
    assert found == pytest.approx(wanted, rel=0.05)


def test_what_must_not_change_them():
    rng = np.random.default_rng(4)
    scores, w, _, groups = sample(rng, 300)
    times, kind = rng.integers(0, 3, 300), rng.integers(0, 4, 300)
    found = p_values(scores, {"kind": kind}, w, times, groups)

    others = np.array(["c", "a", "d", "b"])[kind]
    assert p_values(scores, {"kind": others}, w, times, groups) == pytest.approx(found)
    order = rng.permutation(300)
    moved = (scores[order], {"kind": kind[order]}, w[order], times[order], groups[order])
    assert p_values(*moved) == pytest.approx(found)
    assert p_values(1e6 + 7 * scores, {"kind": kind}, w, 2 * times, groups) == pytest.approx(
        found, rel=1e-6
    )
    again = np.repeat(np.arange(300), times)
    repeated = (scores[again], {"kind": kind[again]}, w[again], None, groups[again])
    assert p_values(*repeated) == pytest.approx(found, rel=1e-6)


def test_all_tests_of_a_call_are_adjusted_together():
    rng = np.random.default_rng(5)
    scores, w, weight, _ = sample(rng)
    segments = {"new": rng.random(400) < 0.3, "one": np.ones(400), "kind": rng.integers(0, 3, 400)}
    scores[:, 2] += segments["new"]
    found = segment_tests(scores, segments, w, weight)

    assert [(one.segment, one.arm, one.levels) for one in found] == [
        *(("new", 1, 2), ("new", 2, 2), ("one", 1, 1), ("one", 2, 1), ("kind", 1, 3)),
        ("kind", 2, 3),
    ]
    assert [(one.p_value, one.p_adjusted) for one in found[2:4]] == [(None, None)] * 2
    known = [one for one in found if one.levels > 1]
    wanted = holm([one.p_value for one in known])
    assert [one.p_adjusted for one in known] == pytest.approx(wanted)
    assert known[1].p_adjusted < 0.01
    assert len(segment_tests(scores, {}, w)) == 0


def test_levels_without_an_error_are_left_out():
    rng = np.random.default_rng(6)
    scores, w, _, _ = sample(rng, 200)
    w[:20] %= 2
    kind = np.repeat(["no second arm", "a", "b", None], [20, 60, 60, 60])
    first, second = segment_tests(scores, {"kind": kind}, w)
    assert (first.levels, second.levels) == (4, 3)
    assert second.p_value == p_values(scores[20:], {"kind": kind[20:]}, w[20:])[1]

    flat = np.tile([0.1, 0.3], (40, 1)), {"new": np.arange(40) < 13}, np.arange(40) % 2
    assert p_values(*flat) == [None]
    pairs = np.repeat(np.arange(3), 40)  # 3 clusters that tell 5 levels apart no more
    few = (rng.normal(size=(120, 2)), {"kind": np.arange(120) % 5}, np.arange(120) // 5 % 2)
    assert p_values(*few, None, pairs) == [None]
    assert p_values(*few, None, None) != [None]


def test_along_a_feature_they_are_those_of_its_parts():
    rng = np.random.default_rng(7)
    scores, w, weight, groups = sample(rng)
    x = rng.permutation(400).astype(float)
    features = {"x": x, "city": rng.choice(["a", "b", "c"], 400, p=[0.6, 0.3, 0.1])}
    found = feature_tests(scores, features, w, weight, groups, n_bins=3, most=1)

    parts = {"x": np.searchsorted(_ends(x, weight), x), "city": features["city"] == "a"}
    wanted = segment_tests(scores, parts, w, weight, groups)
    assert [one.levels for one in found] == [3, 3, 2, 2]
    for one, two in zip(found, wanted, strict=True):
        assert dataclasses.astuple(one) == pytest.approx(dataclasses.astuple(two))


def _ends(x, weight):
    """Largest values of the first and the second third, by weight."""
    order = np.argsort(x)
    middle = np.cumsum(weight[order]) - weight[order] / 2
    return x[order][np.searchsorted(middle / weight.sum(), [1 / 3, 2 / 3]) - 1]


@pytest.mark.parametrize("clustered", [False, True])
def test_without_a_difference_they_reject_in_a_twentieth(clustered):
    rng = np.random.default_rng(8)
    groups, n = (np.repeat(np.arange(30), 10) if clustered else None), 300
    p = []
    for _ in range(500):
        kind, w = rng.choice(3, n, p=[0.5, 0.3, 0.2]), rng.integers(0, 2, n)
        effect = 1 + rng.normal(size=n) * (1 + kind)
        if clustered:
            effect += 2 * rng.normal(size=30)[groups] + rng.normal(size=(30, 3))[groups, kind]
        scores = np.column_stack([np.zeros(n), effect])
        p += p_values(scores, {"kind": kind}, w, None, groups)

    assert 0.025 <= np.mean(np.less(p, 0.05)) <= 0.08
    assert 0.43 <= np.mean(np.less(p, 0.5)) <= 0.57
