"""Judgements: each figure is that of its own function, on the same rows."""

import numpy as np
import pytest

from metalearners.evaluation import (
    aipw_scores,
    blp,
    dr_loss,
    gain_curve,
    gates,
    judge,
    r_loss,
    rate,
)


def drawn(rng, n):
    """Rows of three arms with scores, weights, clusters, and estimates of an arm's effect."""
    e = rng.dirichlet((4, 4, 4), n)
    w = (rng.random(n)[:, None] > e.cumsum(axis=1)).sum(axis=1)
    mu = rng.normal(size=(n, 3))
    y = mu[np.arange(n), w] + rng.normal(size=n)
    gamma = aipw_scores(y, w, mu, e)
    tau = mu[:, 2] - mu[:, 0] + rng.normal(size=n)
    return tau, gamma[:, 2] - gamma[:, 0], rng.exponential(size=n), np.arange(n) % 60, w, (y, mu, e)


def test_a_judgement_has_the_figures_of_each_function():
    tau, scores, weight, clusters, w, (y, mu, e) = drawn(np.random.default_rng(0), 300)
    given, how = (tau, scores, weight, clusters), {"arms": w, "tolerance": 1e-6}

    found = judge(*given, **how, draws=50, arm=2, nuisances=(y, mu, e))

    assert found.qini == rate(*given, kind="qini", **how)
    assert found.autoc == rate(*given, **how)
    assert found.gain.uplift.at(0.3) == gain_curve(*given, **how).uplift.at(0.3)
    assert found.gates == gates(*given, **how, draws=50)
    assert found.groups == list(found.gates.groups)
    assert found.blp == blp(*given, **how)
    assert found.dr_loss == dr_loss(*given, arms=w)
    assert found.r_loss == r_loss(tau, y, w, mu, e, 2, weight, clusters)


def test_what_cannot_be_told_is_none():
    tau, scores, _, _, w, nuisances = drawn(np.random.default_rng(1), 200)

    assert judge(tau, scores).r_loss is None
    assert judge(tau, scores, draws=0).gates.p_monotone is None
    assert judge(np.zeros(200), scores).blp is None
    assert judge(np.zeros(200), scores).gates.p_monotone == 1
    with pytest.raises(ValueError, match="Expected arms beside nuisances"):
        judge(tau, scores, nuisances=nuisances)

    alone = judge(np.arange(4.0), np.arange(4.0))  # a group would have one row
    assert (alone.gates, alone.groups) == (None, [])
    with pytest.raises(ValueError, match="finite numbers"):
        judge(np.where(w > 0, np.nan, tau), scores)
    with pytest.raises(ValueError, match="of shape"):
        judge(tau[:-1], scores)
