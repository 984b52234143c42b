"""The sequential test: which rows a step sees, and its size and power."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression, LogisticRegression

from metalearners import DRLearner, TLearner
from metalearners.data.dataset import Dataset
from metalearners.data.folds import draw_folds, forward_chaining
from metalearners.evaluation import aipw_scores, rate
from metalearners.evaluation.judging.sequential import sequential
from metalearners.resampling import sequential_rate, steps_of


def sample(n, seed, slope=0.0, arms=2):
    """An experiment, whose effect has a slope in the first feature."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, 3)), rng.integers(0, arms, n)
    y = X.sum(axis=1) + w * (1 + slope * X[:, 0]) + rng.normal(size=n)
    return X, y, w


def learners(arms=2):
    """A T-learner, and the nuisances of a judge."""
    outcome = {"nuisance_model_factory": LinearRegression, "n_variants": arms}
    shared = {**outcome, "is_classification": False, "n_folds": 3, "random_state": 1}
    judge = DRLearner(
        **shared,
        treatment_model_factory=LinearRegression,
        propensity_model_factory=LogisticRegression,
    )
    return TLearner(**shared), judge


def by_hand(X, y, w, e, folds, arm=1):
    """AUTOCs of steps, from two regressions a step."""
    found = []
    for k in range(1, folds.max() + 1):
        before, rows = folds < k, folds == k
        own = np.column_stack([np.ones(len(X)), X])
        mu = np.column_stack(
            [
                own[rows] @ np.linalg.lstsq(own[fitted], y[fitted], rcond=None)[0]
                for fitted in (before & (w == 0), before & (w == arm))
            ]
        )
        scores = aipw_scores(y[rows], (w[rows] == arm).astype(int), mu, e[rows])
        tau = mu[:, 1] - mu[:, 0]
        found.append(rate(tau, scores[:, 1] - scores[:, 0], arms=w[rows]))
    return found


def test_a_step_is_fitted_on_earlier_folds_alone_and_judged_by_their_nuisances():
    X, y, w = sample(300, 0, 0.5)
    learner, judge = learners()
    (found,) = sequential_rate(learner, judge, X, y, w, propensity=0.5)

    folds = draw_folds(w, 5, 1)
    wanted = by_hand(X, y, w, np.full((300, 2), 0.5), folds)
    assert len(found.steps) == 4
    for step, own in zip(found.steps, wanted, strict=True):
        assert vars(step) == pytest.approx(vars(own.estimate))
    t = [one.estimate.estimate / one.estimate.std_error for one in wanted]
    df = [one.estimate.degrees for one in wanted]
    z = np.sum(stats.norm.isf(stats.t.sf(t, df))) / 2
    assert found.p_greater == pytest.approx(stats.norm.sf(z))
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)))
    assert found.autoc.estimate == pytest.approx(np.mean([one.estimate for one in found.steps]))


def test_groups_stay_together_and_time_gives_the_folds():
    rng = np.random.default_rng(0)
    X, y, w = sample(200, 1)
    groups = rng.integers(0, 30, 200)
    for step in steps_of(Dataset(X, y, w, 2, groups=groups), 4):
        assert not set(groups[step.d.train]) & set(groups[step.next])
        assert not (step.d.train & step.next).any()

    time, held_out = np.repeat(np.arange(10), 20), np.repeat(np.arange(10), 20) >= 8
    cv = forward_chaining(time[~held_out], 3)
    steps = steps_of(Dataset(X, y, w, 2, cv=cv, held_out=held_out), 3)
    assert len(steps) == 3
    for step in steps:
        assert time[step.d.train].max() < time[step.next].min()
        assert len(step.d.covered) == 200
        assert not (step.d.covered & ~step.d.train).any()
    assert (steps[-1].next == held_out).all()
    assert (steps[-1].d.train == ~held_out).all()


def test_arms_have_figures_of_their_own_and_classes_are_taken():
    X, y, w = sample(600, 2, 1.0, arms=3)
    learner, judge = learners(3)
    first, second = sequential_rate(learner, judge, X, y, w, groups=np.arange(600) // 2)

    assert second.autoc.estimate > first.autoc.estimate > 0
    assert second.p_greater < 1e-6


def test_tied_estimates_say_nothing_and_no_step_is_refused():
    scores = np.random.default_rng(0).normal(size=(3, 50))
    found = sequential([rate(np.ones(50), one) for one in scores])
    assert (found.p_value, found.p_greater, found.autoc.estimate) == (1, 1, 0)
    one = rate(scores[0], scores[1])
    both = sequential([one, rate(np.ones(50), scores[2])])
    assert 0.5 - both.p_greater == pytest.approx(
        0.5 - stats.norm.sf(stats.norm.isf(one.p_greater) / np.sqrt(2))
    )
    with pytest.raises(ValueError, match="a step or more; found none"):
        sequential([])


def test_a_prefix_without_an_arm_is_refused():
    X, y, w = sample(60, 0)
    w[:] = 0
    w[:5] = 1
    with pytest.raises(ValueError, match=r"arm .*before step 1|folds"):
        sequential_rate(*learners(), X, y, w, n_folds=10, propensity=0.5)


def simulate(slope, draws, n=300):
    """By draw: p-values of the sequential test, and of a hold-out of half of the rows."""
    found = []
    for seed in range(draws):
        X, y, w = sample(n, seed, slope)
        e, half = np.full((n, 2), 0.5), draw_folds(w, 2, seed)
        steps = sequential(by_hand(X, y, w, e, draw_folds(w, 5, seed)))
        (held_out,) = by_hand(X, y, w, e, half)
        found.append((steps.p_greater, held_out.p_greater, steps.p_value))
    return np.array(found)


def test_the_test_has_its_size_and_more_power_than_a_hold_out():
    none = np.mean(simulate(0.0, 500) < 0.05, axis=0)
    assert 0.03 <= none[0] <= 0.07
    assert 0.03 <= none[2] <= 0.07
    some = np.mean(simulate(0.35, 200) < 0.05, axis=0)
    print(f"size {none}, power {some}")
    assert 0.35 <= some[1] <= 0.65
    assert some[0] >= 1.15 * some[1]
