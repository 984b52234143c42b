"""Losses: against closed forms, and least at the true effect."""

import numpy as np
import pytest

from metalearners.evaluation import aipw_scores, dr_loss, mean_with_error, r_loss
from metalearners.rlearner import r_loss as root_of_r_loss


def drawn(rng, n, noise=1.0, n_variants=3):
    """Rows with known nuisances: outcome, arms, expectations, propensities."""
    x = rng.normal(size=(n, n_variants))
    mu = 2 * x[:, :1] + np.linspace(0, 1, n_variants) * (1 + x)
    e = np.exp(0.5 * x) / np.exp(0.5 * x).sum(axis=1, keepdims=True)
    w = (rng.random(n)[:, None] > np.cumsum(e, axis=1)).sum(axis=1)
    return mu[np.arange(n), w] + noise * rng.normal(size=n), w, mu, e


def test_the_r_loss_is_nothing_where_effect_and_nuisances_explain_all():
    """With several arms, only the mean outcome of the arm's and the control's rows does."""
    y, w, mu, e = drawn(np.random.default_rng(0), 400, noise=0)
    for arm in (1, 2):
        tau = mu[:, arm] - mu[:, 0]
        assert r_loss(tau, y, w, mu, e, arm).estimate == pytest.approx(0, abs=1e-20)
        assert r_loss(tau + 1e6, y + 1e6, w, mu + 1e6, e, arm).estimate > 1e9


def test_losses_rise_by_the_squared_distance_from_the_effect():
    r"""Excess losses are E[d^2], and E[g (1 - g) d^2] among the rows of the arm and the control."""
    rng = np.random.default_rng(1)
    y, w, mu, e = drawn(rng, 400_000)
    distance = rng.normal(size=len(y)) + 0.5
    for arm in (1, 2):
        tau, pair = mu[:, arm] - mu[:, 0], np.isin(w, (0, arm))
        gamma = aipw_scores(y, w, mu, e)
        scores = gamma[:, arm] - gamma[:, 0]
        excess = dr_loss(tau + distance, scores).estimate - dr_loss(tau, scores).estimate
        assert excess == pytest.approx(np.mean(distance**2), abs=0.08)

        g = e[:, arm] / (e[:, 0] + e[:, arm])
        excess = (
            r_loss(tau + distance, y, w, mu, e, arm).estimate
            - r_loss(tau, y, w, mu, e, arm).estimate
        )
        expected = np.mean((g * (1 - g) * distance**2)[pair])
        assert excess == pytest.approx(expected, abs=0.015)


def test_the_r_loss_is_the_square_of_the_learner_s():
    rng = np.random.default_rng(2)
    y, w, mu, e = drawn(rng, 300)
    tau, weight, pair = rng.normal(size=300), rng.exponential(size=300), w != 1
    g = e[:, 2] / (e[:, 0] + e[:, 2])
    m = (1 - g) * mu[:, 0] + g * mu[:, 2]
    root = root_of_r_loss(tau[pair], m[pair], g[pair], y[pair], w[pair] == 2, weight[pair])
    assert r_loss(tau, y, w, mu, e, 2, weight).estimate == pytest.approx(root**2)


def test_losses_have_the_errors_of_means_by_cluster_and_arm():
    rng = np.random.default_rng(3)
    y, w, mu, e = drawn(rng, 300)
    tau, weight, clusters = rng.normal(size=300), rng.exponential(size=300), np.arange(300) % 30
    scores, pair = y - mu[:, 0], w != 2
    found = dr_loss(tau, scores, weight, clusters, arms=w, level=0.8)
    assert found == mean_with_error((scores - tau) ** 2, weight, clusters, 0.8, arms=w)
    found = r_loss(tau, y, w, mu, e, 1, weight, clusters, level=0.8)
    alone = r_loss(tau[pair], y[pair], w[pair], mu[pair], e[pair], 1, weight[pair], clusters[pair])
    assert (found.estimate, found.std_error) == (alone.estimate, alone.std_error)
    copies = rng.integers(1, 4, 300)
    repeated = [one.repeat(copies, axis=0) for one in (tau, y, w, mu, e)]
    weighted = r_loss(tau, y, w, mu, e, 1, copies).estimate
    assert weighted == pytest.approx(r_loss(*repeated).estimate)


def test_an_outcome_s_level_changes_no_loss():
    rng = np.random.default_rng(4)
    y, w, mu, e = drawn(rng, 200)
    tau = rng.normal(size=200)
    shifted = r_loss(tau, y + 1e6, w, mu + 1e6, e)
    assert shifted.estimate == pytest.approx(r_loss(tau, y, w, mu, e).estimate, rel=1e-8)


def test_other_arms_and_propensities_are_refused():
    y, w, mu, e = drawn(np.random.default_rng(5), 60)
    for arm in (0, 3):
        with pytest.raises(ValueError, match="arm needs to be an integer"):
            r_loss(y, y, w, mu, e, arm)
    with pytest.raises(ValueError, match="sum to 1 over the arms"):
        r_loss(y, y, w, mu, e / 2)
    with pytest.raises(ValueError, match=r"mu of shape \(n, K\)"):
        r_loss(y, y, w, mu[:, 0], e)
    with pytest.raises(ValueError, match="finite numbers in predicted"):
        r_loss(np.where(y > 0, np.nan, y), y, w, mu, e)
    with pytest.raises(ValueError, match="finite numbers in scores"):
        dr_loss(y, np.where(y > 0, np.inf, y))
