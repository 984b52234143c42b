"""Judgements over draws of the held-out rows."""

import numpy as np
import pytest

from metalearners.evaluation import judge, median_metric, median_p_value
from metalearners.evaluation.judging.repeated import median_judgement


def draws(n, slope=0.5, count=3):
    """Judgements of rows of their own."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        predicted = rng.normal(size=n)
        scores = slope * predicted + rng.normal(size=n)
        found.append(judge(predicted, scores, arms=rng.integers(0, 2, n), draws=200))
    return found


def test_figures_are_medians_and_intervals_are_wider():
    found = draws(400)
    whole = median_judgement(found)

    assert whole.autoc.estimate == median_metric([one.autoc.estimate for one in found])
    assert whole.qini.p_greater == median_p_value([one.qini.p_greater for one in found])
    assert whole.blp.slope == median_metric([one.blp.slope for one in found])
    assert whole.dr_loss == median_metric([one.dr_loss for one in found])
    for name in ("gain", "above_line", "uplift", "toc"):
        own = [getattr(one.gain, name) for one in found]
        at = getattr(whole.gain, name)
        for share in (0.1, 0.3, 0.8):
            points = median_metric([curve.at(share) for curve in own])
            assert vars(at.at(share)) == pytest.approx(vars(points))
        inside = np.isfinite(at.joint_low)
        assert (at.joint_low[inside] <= at.low[inside] + 1e-12).all()
        assert (at.joint_high[inside] >= at.high[inside] - 1e-12).all()
    for k, group in enumerate(whole.gates.groups):
        assert group.actual == median_metric([one.gates.groups[k].actual for one in found])
    assert whole.gates.p_monotone == median_p_value([one.gates.p_monotone for one in found])


def test_one_draw_is_as_it_is():
    (one,) = draws(100, count=1)
    assert median_judgement([one]) is one


def test_what_some_draw_lacks_is_told_of_none():
    """One draw's line or groups would hold for that draw alone; the order's tests are of all."""
    rng = np.random.default_rng(0)
    tied = judge(np.ones(100), rng.normal(size=100), draws=200)
    (one,) = draws(100, slope=3, count=1)

    whole = median_judgement([one, tied])
    assert whole.blp is None
    assert whole.gates.groups == ()
    assert whole.gates.difference.estimate == one.gates.difference.estimate / 2
    assert whole.gates.p_greater == min(1, one.gates.p_greater + 1.0) > one.gates.p_greater
    assert whole.r_loss is None
    assert whole.autoc.estimate.estimate == one.autoc.estimate.estimate / 2


def test_no_draws_of_the_test_of_order_are_none_over_draws_too():
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(3, 2, 100))
    whole = median_judgement([judge(predicted, scores, draws=0) for predicted, scores in columns])
    assert whole.gates.p_monotone is None
    assert len(whole.gates.groups) == 5
