"""Weighting by inverse propensities: balance, effective rows, and the cut of least variance."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from metalearners.evaluation import (
    standardized_differences,
    target_effects,
    trimming,
    weighted_balance,
)


def confounded(rng, n):
    """Three arms, drawn by a number and a category."""
    X = pd.DataFrame(
        {"age": rng.normal(size=n), "kind": pd.Categorical(rng.choice(list("abc"), n))}
    )
    odds = np.exp(np.outer(X.age + (X.kind == "a"), [0, 0.7, -0.5]))
    e = odds / odds.sum(axis=1, keepdims=True)
    return X, (rng.random(n)[:, None] > e.cumsum(axis=1)).sum(axis=1), e


def test_the_right_propensities_balance_the_features():
    X, w, e = confounded(np.random.default_rng(0), 50_000)
    found = weighted_balance(X, w, e)

    assert np.array_equal(found.before, standardized_differences(X, w, 3))
    assert (np.abs(found.before) > 0.15).all()
    assert (np.abs(found.after) < 0.05).all()
    wrong = weighted_balance(X, w, np.full_like(e, 1 / 3))
    assert wrong.after == pytest.approx(wrong.before)
    assert wrong.effective_after == pytest.approx(np.bincount(w))


def test_differences_and_effective_rows_of_a_few_rows_by_hand():
    x, w = np.array([[0.0], [2.0], [1.0], [3.0]]), np.array([0, 0, 1, 1])
    e = np.array([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5], [0.25, 0.75]])
    found = weighted_balance(x, w, e)
    # Weights 2 and 4 in the control, 2 and 4 / 3 in the arm: means 4 / 3 and 9 / 5.
    mean, spread = (4 / 3, 9 / 5), (8 / 9, 24 / 25)
    assert found.after[0, 0] == pytest.approx((mean[1] - mean[0]) / np.sqrt(sum(spread) / 2))
    assert found.effective_before.tolist() == [2, 2]
    assert found.effective_after == pytest.approx([36 / 20, (10 / 3) ** 2 / (4 + 16 / 9)])
    together = weighted_balance(x, w, e, None, np.array([0, 0, 1, 2]))
    assert together.effective_after == pytest.approx([1, found.effective_after[1]])


def test_weights_are_repeated_rows():
    rng = np.random.default_rng(1)
    X, w, e = confounded(rng, 300)
    times = rng.integers(0, 4, 300)
    again = np.repeat(np.arange(300), times)
    groups = np.arange(300)  # a row and its copies
    weighted = weighted_balance(X, w, e, times, groups)
    repeated = weighted_balance(X.iloc[again], w[again], e[again], None, groups[again])
    for name in ("before", "after", "effective_before", "effective_after"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name))
    cut, same = trimming(e, times), trimming(e[again])
    assert (cut.lowest, cut.share, cut.saved) == pytest.approx(
        (same.lowest, same.share, same.saved)
    )


@pytest.mark.parametrize("n_variants", [2, 4])
def test_no_other_cut_has_less_variance(n_variants):
    rng = np.random.default_rng(2)
    for _ in range(20):
        e = rng.dirichlet(np.full(n_variants, 0.5), 80).clip(0.001)
        e = np.round(e / e.sum(axis=1, keepdims=True), 2).clip(0.005)  # with ties
        inverse, v = (1 / e).sum(axis=1), rng.exponential(size=80)
        found = trimming(e, v)

        def variance(cut, inverse=inverse, v=v):
            kept = inverse <= cut + 1e-9
            return (v * inverse)[kept].sum() / v[kept].sum() ** 2

        least = min(map(variance, inverse))
        assert variance(found.threshold) == pytest.approx(least)
        assert found.saved == pytest.approx(1 - least / variance(inverse.max()))
        assert found.rows == (inverse > found.threshold + 1e-9).sum()


def test_the_cut_of_even_propensities_is_the_published_one():
    # 1 / (a (1 - a)) = 2 E[1 / (e (1 - e)) | a < e < 1 - a] where e is uniform
    def gap(a):
        return 1 / (a * (1 - a)) - 4 * np.log((1 - a) / a) / (1 - 2 * a)

    wanted = optimize.brentq(gap, 1e-4, 0.4)
    e = (np.arange(200_000) + 0.5) / 200_000
    found = trimming(np.column_stack([1 - e, e]))
    assert found.lowest == pytest.approx(wanted, abs=1e-4)
    assert found.share == pytest.approx(2 * wanted, abs=1e-3)


def test_the_variance_is_that_of_the_effect_on_the_rows_that_are_kept():
    rng = np.random.default_rng(3)
    e1 = rng.beta(0.6, 0.6, 100_000).clip(0.005, 0.995)
    e = np.column_stack([1 - e1, e1])
    w = (rng.random(100_000) < e1).astype(int)
    y, mu = w + rng.normal(size=100_000), np.tile([0.0, 1.0], (100_000, 1))
    found = trimming(e)
    kept = (e >= found.lowest).all(axis=1)
    assert 0.1 < found.share == pytest.approx(np.mean(~kept))
    before = target_effects(y, w, mu, e)[0].effect.std_error
    after = target_effects(y[kept], w[kept], mu[kept], e[kept])[0].effect.std_error
    assert 1 - (after / before) ** 2 == pytest.approx(found.saved, abs=0.05)


def test_where_overlap_is_good_nothing_is_outside():
    rng = np.random.default_rng(4)
    e1 = rng.uniform(0.2, 0.8, 500)
    for e in (
        np.column_stack([1 - e1, e1]),
        np.full((500, 3), 1 / 3),
        np.tile([0.99, 0.01], (9, 1)),
    ):
        found = trimming(e)
        assert (found.rows, found.share, found.saved) == (0, 0, 0)
        assert found.lowest == e.min()


def test_what_does_not_fit_is_refused():
    e = np.full((4, 2), 0.5)
    with pytest.raises(ValueError, match=r"e of shape \(n, K\)"):
        trimming(e[:, 0])
    with pytest.raises(ValueError, match="propensities above 0 and at most 1; found 4 rows"):
        trimming(e * [0, 1])
    with pytest.raises(ValueError, match="propensities above 0"):
        weighted_balance(np.ones((4, 1)), np.array([0, 1, 0, 1]), 3 * e)
    with pytest.raises(ValueError, match=r"w of shape \(4,\)"):
        weighted_balance(np.ones((4, 1)), np.array([0, 1, 1]), e)
