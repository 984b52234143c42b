"""Profiles of the least and the most affected rows, against means and closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metalearners.evaluation import gates, profile

TOP = 5 * stats.norm.pdf(stats.norm.ppf(0.8))  # mean of the top fifth of a standard normal


def test_means_are_those_of_the_first_and_the_last_fifth():
    rng = np.random.default_rng(0)
    cate, x = rng.normal(size=1000), rng.normal(size=1000)
    order = np.argsort(cate)
    (found,) = profile({"x": x}, cate)

    assert (found.feature, found.category) == ("x", None)
    assert found.lowest.estimate == pytest.approx(x[order[:200]].mean())
    assert found.highest.estimate == pytest.approx(x[order[800:]].mean())
    assert found.difference.estimate == pytest.approx(
        found.highest.estimate - found.lowest.estimate
    )


def test_a_feature_with_missing_values_is_that_of_the_other_rows():
    rng = np.random.default_rng(1)
    cate, x = rng.normal(size=500), rng.normal(size=500)
    x[:100], weight, groups = np.nan, rng.uniform(1, 2, 500), np.arange(500) // 4
    (found,) = profile({"x": x}, cate, weight, groups)

    known = slice(100, None)
    wanted = gates(cate[known], x[known], weight[known], groups[known], draws=0)
    assert found.difference == wanted.difference
    assert found.lowest == wanted.groups[0].actual


def test_categories_have_shares_of_rows():
    cate = np.repeat(np.arange(5.0), 40)
    city = np.where(np.arange(200) < 40, "Rome", np.where(np.arange(200) < 150, "Oslo", "Bern"))
    found = profile({"city": city, "new": cate > 3}, cate, most=2)

    assert [(one.feature, one.category) for one in found] == [
        *(("city", "Oslo"), ("city", "Bern"), ("new", None))
    ]
    shares = [(one.lowest.estimate, one.highest.estimate) for one in found]
    assert shares == [(0, 0), (0, 1), (0, 1)]


def test_nothing_is_said_where_estimates_are_tied_or_a_feature_is_absent():
    x = np.arange(60.0)
    absent = pd.Series([None] * 60, dtype="category")

    assert profile({"x": x}, np.zeros(60)) == []
    assert profile({"absent": absent, "none": np.full(60, np.nan)}, x) == []


def test_intervals_cover_the_population_s_difference():
    """X goes with the estimate, which also decides the cuts that have to be estimated."""
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(600):
        cate = rng.normal(size=300)
        (found,) = profile({"x": 2 * cate + rng.normal(size=300)}, cate)
        inside.append(found.difference.ci_low <= 4 * TOP <= found.difference.ci_high)

    assert 0.91 <= np.mean(inside) <= 0.98
