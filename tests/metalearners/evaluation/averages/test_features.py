"""Effects along features: means of the rows of ranges and categories."""

import numpy as np
import pandas as pd
import pytest

from metalearners.evaluation import feature_effects, mean_with_error, segment_effects


def sample(n=600):
    rng = np.random.default_rng(0)
    w = rng.integers(0, 3, n)
    return rng, rng.normal(size=(n, 3)) + np.arange(3), w, rng.exponential(size=n)


def test_ranges_are_fifths_and_have_the_means_of_their_rows():
    rng, scores, w, _ = sample()
    x = rng.permutation(600).astype(float)
    found = feature_effects(scores, {"x": x}, w)

    assert [(one.low, one.high) for one in found[::2]] == [
        (120.0 * k, 120.0 * k + 119) for k in range(5)
    ]
    for one in found:
        own = (x >= one.low) & (x <= one.high)
        contrast = (scores[:, one.arm] - scores[:, 0])[own]
        assert one.effect.estimate == pytest.approx(contrast.mean())
        assert one.effect.std_error == pytest.approx(
            mean_with_error(contrast, arms=w[own]).std_error
        )
        assert one.rows == 120
        assert one.joint[0] < one.effect.ci_low < one.effect.ci_high < one.joint[1]


def test_weights_decide_the_ranges_and_ties_stay_together():
    _, scores, w, weight = sample()
    x = np.repeat(np.arange(60), 10)
    weight[300:] *= 4
    found = feature_effects(scores, {"x": x}, w, weight)[::2]

    assert [one.low for one in found[1:]] == [one.high + 1 for one in found[:-1]]
    masses = [weight[(x >= one.low) & (x <= one.high)].sum() for one in found]
    heaviest = np.bincount(x, weight).max()
    assert np.ptp(masses) <= 2 * heaviest
    ends = [one.high for one in found]
    assert ends != [11, 23, 35, 47, 59]  # those of rows without weights


def test_few_values_are_categories_and_rare_ones_are_taken_together():
    rng, scores, w, _ = sample()
    city = pd.Series(rng.choice(["a", "b", "c", "d", None], 600, p=[0.4, 0.3, 0.1, 0.1, 0.1]))
    features = {"city": city, "children": rng.integers(0, 3, 600), "new": rng.random(600) < 0.3}
    found = feature_effects(scores, features, w, most=2)[::2]

    assert [(one.feature, one.category) for one in found] == [
        *(("city", "a"), ("city", "b"), ("city", "others"), ("city", None)),
        *(("children", 0), ("children", 1), ("children", 2), ("new", False), ("new", True)),
    ]
    assert all(one.low is None and one.high is None for one in found)
    others = next(one for one in found if one.category == "others")
    assert others.rows == city.isin(["c", "d"]).sum()


def test_intervals_hold_for_all_features_at_once():
    """They are those of segments with the same rows."""
    rng, scores, w, weight = sample()
    groups, x = np.arange(600) // 3, rng.permutation(600)
    found = feature_effects(scores, {"x": x, "y": x % 2}, w, weight, groups, n_bins=3)

    codes = {"x": np.searchsorted([one.high for one in found[:6:2]], x), "y": x % 2}
    wanted = segment_effects(scores, codes, w, weight, groups)
    assert [one.joint for one in found] == [one.joint for one in wanted]


def test_a_feature_of_one_value_or_none_is_a_single_part():
    _, scores, w, _ = sample()
    found = feature_effects(scores, {"one": np.ones(600), "none": np.full(600, np.nan)}, w)

    assert [(one.feature, one.category, one.rows) for one in found[::2]] == [
        *(("one", 1.0, 600), ("none", None, 600))
    ]
