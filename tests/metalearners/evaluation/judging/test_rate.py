"""RATE: against the definition, its error against simulations, and what must not change it."""

import numpy as np
import pytest
from scipy import stats

from metalearners.evaluation import rate

KINDS = ("autoc", "qini")


def by_definition(priority, scores, kind):
    """Means over rows of TOC(q), or q TOC(q), with the scores of tied rows replaced by their mean.

    As grf has it.
    """
    _, member = np.unique(-priority, return_inverse=True)
    averaged = (np.bincount(member, scores) / np.bincount(member))[member]
    ranked = averaged[np.argsort(-priority, kind="stable")]
    n = len(ranked)
    toc = np.cumsum(ranked) / np.arange(1, n + 1) - scores.mean()
    return toc.mean() if kind == "autoc" else (np.arange(1, n + 1) / n * toc).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", [5, 1000])
def test_it_is_the_mean_over_rows_of_their_own_shares(kind, values):
    rng = np.random.default_rng(0)
    for n in (2, 7, 300):
        priority = rng.integers(0, values, n).astype(float)
        scores = rng.normal(size=n) + priority / values
        found = rate(priority, scores, kind=kind).estimate.estimate
        assert found == pytest.approx(by_definition(priority, scores, kind), abs=1e-12)


def draw(rng, n, slope, distinct=None):
    """A priority, and scores whose mean follows it: noise of one, or of clusters."""
    priority = rng.normal(size=n)
    if distinct:
        priority = np.round(priority * distinct) / distinct
    return priority, slope * priority + rng.normal(size=n)


def autoc_of_normal(slope):
    """E[-log U Phi^-1(1 - U)] slope, U uniform."""
    u = (np.arange(200_000) + 0.5) / 200_000
    return slope * np.mean(-np.log(u) * stats.norm.isf(u))


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distinct", [None, 2])
def test_errors_are_the_spread_of_estimates_and_intervals_cover(kind, slope, distinct):
    rng = np.random.default_rng(2)
    found = [rate(*draw(rng, 800, slope, distinct), kind=kind).estimate for _ in range(600)]
    estimates = np.array([one.estimate for one in found])
    errors = np.array([one.std_error for one in found])

    assert errors.mean() / estimates.std() == pytest.approx(1, abs=0.08)
    truth = rate(*draw(rng, 2_000_000, slope, distinct), kind=kind).estimate.estimate
    inside = np.mean([one.ci_low <= truth <= one.ci_high for one in found])
    assert 0.91 <= inside <= 0.98
    if not distinct and kind == "autoc":
        assert truth == pytest.approx(autoc_of_normal(slope), abs=0.005)


@pytest.mark.parametrize("kind", KINDS)
def test_p_values_of_a_priority_fitted_elsewhere_are_uniform(kind):
    rng = np.random.default_rng(3)
    found = [rate(*draw(rng, 300, 0.0), kind=kind) for _ in range(2000)]

    for p in ("p_value", "p_greater"):
        rejected = np.mean([getattr(one, p) < 0.05 for one in found])
        assert 0.035 <= rejected <= 0.065, (p, rejected)


@pytest.mark.parametrize("kind", KINDS)
def test_clusters_widen_the_error_to_the_spread(kind):
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(80), 5)

    def one():
        shared = rng.normal(size=80)[groups]
        priority = rng.normal(size=80)[groups] + 0.1 * rng.normal(size=400)
        scores = priority + shared + rng.normal(size=400)
        return [rate(priority, scores, None, g, kind=kind).estimate for g in (groups, None)]

    found = [one() for _ in range(400)]
    spread = np.std([clustered.estimate for clustered, _ in found])
    assert np.mean([clustered.std_error for clustered, _ in found]) / spread == pytest.approx(
        1, abs=0.12
    )
    assert np.mean([plain.std_error for _, plain in found]) < 0.75 * spread


@pytest.mark.parametrize("kind", KINDS)
def test_what_must_not_change_it(kind):
    rng = np.random.default_rng(5)
    priority, scores = draw(rng, 200, 1.0, 3)
    found = rate(priority, scores, kind=kind)

    order = rng.permutation(200)
    same = (
        rate(priority[order], scores[order], kind=kind),
        rate(np.exp(priority), scores, kind=kind),
        rate(priority + 1e6, scores, kind=kind, tolerance=1e-9),
        rate(priority, scores + 1e6, kind=kind),
        rate(priority, scores, np.full(200, 7.0), kind=kind),
    )
    for one in same:
        assert one.estimate.estimate == pytest.approx(found.estimate.estimate, abs=1e-8)
        assert one.estimate.std_error == pytest.approx(found.estimate.std_error, abs=1e-8)
    # Rows without weight have no say, wherever they rank.
    more = [np.append(one, extra) for one, extra in ((priority, 99.0), (scores, -1e3))]
    weighted = rate(*more, np.append(np.ones(200), 0.0), kind=kind)
    assert weighted.estimate.estimate == pytest.approx(found.estimate.estimate)
    assert weighted.estimate.std_error == pytest.approx(found.estimate.std_error, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reversed_ranking_has_the_other_sign_and_ties_have_none(kind):
    rng = np.random.default_rng(6)
    priority, scores = draw(rng, 1000, 1.0)
    found, other = rate(priority, scores, kind=kind), rate(-priority, scores, kind=kind)
    assert found.p_greater < 0.001
    assert other.p_greater > 0.999
    assert other.estimate.estimate < 0
    tied = rate(np.zeros(1000), scores, kind=kind)
    assert (tied.estimate.estimate, tied.estimate.std_error) == pytest.approx((0, 0), abs=1e-12)
    assert (tied.p_value, tied.p_greater) == (1, 1)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="kind as one of autoc, qini; found 'AUUC'"):
        rate(np.arange(9.0), np.arange(9.0), kind="AUUC")


def test_few_rows_have_the_error_that_leaving_each_out_shows():
    rng, ratios = np.random.default_rng(0), []
    for _ in range(12):
        x, noise, uneven = rng.normal(size=(3, 60))
        scores, weight = x + noise, np.exp((x + uneven) / 2)
        left = [rate(x[k], scores[k], weight[k]).estimate.estimate for k in ~np.eye(60, dtype=bool)]
        jackknife = np.sqrt(59 / 60 * ((left - np.mean(left)) ** 2).sum())
        ratios.append(rate(x, scores, weight).estimate.std_error / jackknife)

    assert np.mean(ratios) == pytest.approx(1, abs=0.12)  # 0.78 as residuals are
