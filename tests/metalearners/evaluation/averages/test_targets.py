"""ATE, ATT and ATO: against closed forms of saturated models, and simulations with known truth."""

import dataclasses

import numpy as np
import pytest

from metalearners.evaluation import target_effects
from metalearners.evaluation.average_effects import aipw_scores, average_effects

TARGETS = ("all", "treated", "overlap")


def saturated(rng, n_variants, n=600):
    """Rows of a few kinds x, with the outcome means and arm shares of each kind as nuisances."""
    x = rng.integers(0, 4, n)
    w = rng.integers(0, n_variants, n)
    w[rng.random(n) < 0.15 * x] = 0
    y = 1e3 + x + w * (1 + x) + rng.normal(size=n)
    v = rng.integers(1, 4, n).astype(float)
    cell = x * n_variants + w
    mass = np.bincount(cell, v).reshape(4, n_variants)
    mu = np.bincount(cell, v * y).reshape(4, n_variants) / mass
    return x, y, w, mu[x], (mass / mass.sum(axis=1, keepdims=True))[x], v


@pytest.mark.parametrize("n_variants", [2, 4])
def test_with_saturated_models_they_are_weighted_means_of_the_kinds_effects(n_variants):
    x, y, w, mu, e, v = saturated(np.random.default_rng(0), n_variants)
    for arm in range(1, n_variants):
        effect = mu[:, arm] - mu[:, 0]
        own, pair = w == arm, (w == arm) | (w == 0)
        # OLS on the arm and a dummy for each kind, which weighs kinds by the variance of the arm.
        design = np.column_stack([own, *(x == kind for kind in range(4))])[pair] * 1.0
        root = np.sqrt(v[pair])
        ols = np.linalg.lstsq(design * root[:, None], y[pair] * root, rcond=None)[0][0]
        wanted = (np.average(effect, weights=v), np.average(effect[own], weights=v[own]), ols)
        for target, one in zip(TARGETS, wanted, strict=True):
            found = target_effects(y, w, mu, e, v, target=target)[arm - 1].effect.estimate
            assert found == pytest.approx(one, abs=1e-9), target


def draw(rng, n):
    """Confounded rows of two arms, effects that differ, and the parts of their truth."""
    x = rng.normal(size=(n, 2))
    e = 1 / (1 + np.exp(0.5 - x[:, 0] + 0.5 * x[:, 1]))
    effect = 1 + x[:, 0]
    w = (rng.random(n) < e).astype(int)
    y = x[:, 0] + x[:, 1] + w * effect + rng.normal(size=n)
    mu = np.column_stack([x.sum(axis=1), x.sum(axis=1) + effect])
    return x, y, w, mu, np.column_stack([1 - e, e])


def truth(target):
    _, _, _, mu, e = draw(np.random.default_rng(99), 1_000_000)
    weight = {"all": np.ones(len(e)), "treated": e[:, 1], "overlap": e.prod(axis=1)}[target]
    return np.average(mu[:, 1] - mu[:, 0], weights=weight)


def crossfitted(x, y, w):
    """Nuisances of two folds: least squares by arm, and logistic regression by Newton's steps."""
    design = np.column_stack([np.ones(len(x)), x])
    mu, e = np.empty((len(x), 2)), np.empty(len(x))
    fold = np.arange(len(x)) % 2
    for test in (fold == 0, fold == 1):
        for arm in (0, 1):
            fit = ~test & (w == arm)
            mu[test, arm] = design[test] @ np.linalg.lstsq(design[fit], y[fit], rcond=None)[0]
        beta = np.zeros(3)
        for _ in range(6):
            p = 1 / (1 + np.exp(-design[~test] @ beta))
            hessian = (design[~test] * (p * (1 - p))[:, None]).T @ design[~test]
            beta += np.linalg.solve(hessian, design[~test].T @ (w[~test] - p))
        e[test] = 1 / (1 + np.exp(-design[test] @ beta))
    return mu, np.column_stack([1 - e, e])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("known", [True, False])
def test_intervals_cover_the_truth_of_the_population(target, known):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        x, y, w, mu, e = draw(rng, 500)
        if not known:
            mu, e = crossfitted(x, y, w)
        found.append(target_effects(y, w, mu, e, target=target)[0].effect)
    estimates = np.array([one.estimate for one in found])
    errors = np.array([one.std_error for one in found])
    value = truth(target)

    assert 0.91 <= np.mean([one.ci_low <= value <= one.ci_high for one in found]) <= 0.98
    assert np.median(errors) / estimates.std() == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("target", TARGETS)
def test_clusters_widen_the_error_to_the_spread(target):
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(60), 5)
    found = []
    for _ in range(400):
        shared = rng.normal(size=60)[groups]
        w = rng.integers(0, 2, 60)[groups]  # whole clusters
        y = shared + w + rng.normal(size=300)
        mu, e = np.tile([0.0, 1.0], (300, 1)), np.full((300, 2), 0.5)
        found.append(target_effects(y, w, mu, e, None, groups, target=target)[0].effect)
    assert np.mean([one.std_error for one in found]) / np.std(
        [one.estimate for one in found]
    ) == pytest.approx(1, abs=0.1)
    assert 0.91 <= np.mean([one.ci_low <= 1 <= one.ci_high for one in found]) <= 0.98


def test_which_are_right_with_one_wrong_nuisance():
    _, y, w, mu, e = draw(np.random.default_rng(3), 200_000)
    flat, even = np.zeros_like(mu), np.full_like(e, 0.5)
    value = {target: truth(target) for target in TARGETS}

    def off(target, outcomes, propensities):
        found = target_effects(y, w, outcomes, propensities, target=target)[0].effect.estimate
        return abs(found - value[target])

    assert off("all", flat, e) < 0.03
    assert off("treated", flat, e) < 0.03
    assert off("overlap", flat, e) < 0.03
    assert off("all", mu, even) < 0.03
    assert off("treated", mu, even) < 0.03
    assert off("overlap", mu, even) > 0.1  # another population's: not doubly robust
    assert off("all", flat, even) > 0.1


def test_all_is_the_average_effect():
    rng = np.random.default_rng(4)
    x, y, w, mu, e, v = saturated(rng, 3)
    groups = np.arange(len(y)) // 4
    found = target_effects(y, w, mu + x[:, None], e, v, groups)
    assert found == average_effects(aipw_scores(y, w, mu + x[:, None], e), w, v, groups)


@pytest.mark.parametrize("target", TARGETS)
def test_what_must_not_change_them(target):
    rng = np.random.default_rng(5)
    _, y, w, mu, e, v = saturated(rng, 3)
    y, mu = y - 1e3, mu - 1e3 + rng.normal(size=(len(y), 3))
    groups = np.arange(len(y)) // 2
    again = np.repeat(np.arange(len(y)), v.astype(int))
    made = [
        target_effects(y, w, mu, e, v, groups, target=target),
        target_effects(y[again], w[again], mu[again], e[again], None, groups[again], target=target),
        target_effects(y + 1e6, w, mu + 1e6, e, 7 * v, groups, target=target),
    ]
    for first, *others in zip(*made, strict=True):
        for other in others:
            assert dataclasses.astuple(other.effect)[:2] == pytest.approx(
                dataclasses.astuple(first.effect)[:2], abs=1e-7
            )
        assert first.joint[0] < first.effect.ci_low < first.effect.ci_high < first.joint[1]


def test_few_treated_rows_have_wide_intervals_of_the_treated():
    rng = np.random.default_rng(6)
    inside, n = [], 300
    e = np.tile([0.97, 0.03], (n, 1))
    while len(inside) < 400:
        x = rng.normal(size=n)
        w = (rng.random(n) < 0.03).astype(int)
        if w.sum() > 2:
            y = x + w * (1 + x) + rng.normal(size=n)
            one = target_effects(y, w, np.column_stack([x, 1 + 2 * x]), e, target="treated")[0]
            inside.append(one.effect.ci_low <= 1 <= one.effect.ci_high)
    assert 0.91 <= np.mean(inside) <= 0.98


def test_what_does_not_fit_is_refused():
    _, y, w, mu, e, v = saturated(np.random.default_rng(7), 2)
    with pytest.raises(ValueError, match="target as one of all, treated, overlap; found 'ATT'"):
        target_effects(y, w, mu, e, target="ATT")
    with pytest.raises(ValueError, match="propensities above 0 and at most 1; found 600 rows"):
        target_effects(y, w, mu, 0 * e)
    with pytest.raises(ValueError, match=r"e of shape \(600, 2\), that of mu"):
        target_effects(y, w, mu, e[:, 1:])
    with pytest.raises(ValueError, match="finite numbers in mu 1; found 600"):
        target_effects(y, w, mu * [1, np.nan], e)
    alone = np.r_[1, np.zeros(599, int)]
    with pytest.raises(ValueError, match="two rows or clusters or more of each arm"):
        target_effects(y, alone, mu, e, target="treated")
    with pytest.raises(ValueError, match="only zeros in arm 1"):
        target_effects(y, w, mu, e, v * (w == 0))
