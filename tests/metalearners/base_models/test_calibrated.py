"""Calibrated classifiers: closed forms, noise, groups, and propensities within learners."""

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from metalearners import DRLearner
from metalearners.base_models.recipes import CalibratedClassifier
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.metalearner import PROPENSITY_MODEL
from tests.simulate import EXACT, average_effect, draw, fit_stages, nuisance_plan

QUIET = {"verbosity": -1, "random_state": 0}


class Told(ClassifierMixin, BaseEstimator):
    """Learns nothing: probabilities are shares of the features."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return X / X.sum(axis=1, keepdims=True)


def test_of_two_classes_the_map_is_the_logistic_regression_on_log_odds():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.98, 800)
    y = (rng.random(800) < expit(0.4 * logit(p) - 0.7)).astype(int)
    weight = rng.uniform(0.5, 2, 800)
    found = CalibratedClassifier(Told()).fit(np.column_stack([1 - p, p]), y, weight)
    platt = LogisticRegression(C=np.inf, **EXACT).fit(logit(p)[:, None], y, weight)

    np.testing.assert_allclose(found.slope_, platt.coef_.item(), rtol=1e-3)
    np.testing.assert_allclose(found.intercepts_, [0, platt.intercept_.item()], atol=1e-3)


def test_of_several_classes_the_map_solves_the_equations_of_the_likelihood():
    rng = np.random.default_rng(1)
    X = rng.uniform(0.1, 1, (900, 4))
    y, weight = rng.permutation(np.arange(900) % 4), rng.integers(1, 4, 900)
    y = np.where(rng.random(900) < 0.5, X.argmax(axis=1), y)
    p = CalibratedClassifier(Told()).fit(X, y, weight).predict_proba(X)
    logs, is_class = np.log(X / X.sum(axis=1, keepdims=True)), np.eye(4)[y]

    np.testing.assert_allclose(weight @ (p - is_class) / weight.sum(), 0, atol=1e-5)
    assert abs(weight @ ((p - is_class) * logs).sum(axis=1) / weight.sum()) < 1e-5


def test_probabilities_that_say_the_opposite_become_the_classes_shares():
    p = np.linspace(0.01, 0.99, 400)
    y = (np.arange(400) < 120).astype(int)
    found = CalibratedClassifier(Told()).fit(np.column_stack([1 - p, p]), y)

    assert found.slope_ == 0
    np.testing.assert_allclose(found.predict_proba(np.full((1, 2), 0.5)), [[0.7, 0.3]], atol=1e-4)


@pytest.mark.parametrize(("slope", "share"), [(0.0, 0.5), (0.0, 0.1), (1.0, 0.5)])
def test_it_mends_a_model_that_is_too_sure(slope, share):
    """Excess log-loss of LightGBM as it comes falls to under a third, where arms are drawn."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(6000, 5))
    truth = expit(slope * X[:, 0] + logit(share))
    w = (rng.random(6000) < truth).astype(int)

    def excess(model):
        p = model.fit(X[:1000], w[:1000]).predict_proba(X[1000:])[:, 1]
        t = truth[1000:]
        return np.mean(t * np.log(t / p) + (1 - t) * np.log((1 - t) / (1 - p)))

    sure = LGBMClassifier(n_jobs=1, **QUIET)
    assert excess(CalibratedClassifier(sure)) < excess(sure) * (0.5 if slope else 1 / 3)


def test_clusters_that_are_treated_as_a_whole_teach_nothing_of_others():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 10)
    X = rng.normal(size=(60, 2))[groups] + 1e-3 * rng.normal(size=(600, 2))
    w = rng.permutation(np.arange(60) % 2)[groups]
    tree = DecisionTreeClassifier(random_state=0)

    assert CalibratedClassifier(tree).fit(X, w).slope_ > 0.5
    assert CalibratedClassifier(tree).fit(X, w, groups=groups).slope_ < 0.15


def test_a_class_within_one_group_is_refused():
    y = np.arange(40) // 4 == 0

    with pytest.raises(ValueError, match="two groups or more"):
        CalibratedClassifier(LogisticRegression()).fit(
            np.ones((40, 1)), y, groups=np.arange(40) // 4
        )


def calibrated(**more):
    models = (LinearRegression, LinearRegression, LGBMClassifier)
    given = {"propensity_model_params": {"n_jobs": 1, **QUIET}, "n_folds": 4} | more
    return DRLearner(False, 2, *models, calibrate_propensity=True, **given)


def test_a_learner_calibrates_within_each_fit_with_its_rows_weights_and_groups():
    sample = draw(240, seed=4)
    groups = np.arange(240) // 3
    d = sample.dataset(weight=np.random.default_rng(0).uniform(1, 2, 240), groups=groups)
    learner = calibrated()
    asked = nuisance_plan(learner, d).asked[PROPENSITY_MODEL, "0"]
    found = fit_stages(learner, d)[0][PROPENSITY_MODEL, "0"].column

    for unit, test in zip(asked.folds, asked.tests, strict=True):
        rows = np.setdiff1d(np.arange(240), test)
        base = LGBMClassifier(n_jobs=1, **QUIET)
        weight = d.weight[rows] / d.weight[rows].max()
        weight /= weight.mean()
        own = CalibratedClassifier(base, random_state=unit.seed)
        own.fit(np.asfortranarray(sample.X[rows]), sample.w[rows], weight, groups[rows])
        np.testing.assert_array_equal(found[test], own.predict_proba(sample.X[test]))


def test_an_experiment_that_nobody_declared_gets_the_error_of_one():
    """LightGBM's propensities make errors over 1.5 times those of calibrated ones."""
    samples = [draw(600, propensities=lambda X: np.full((len(X), 2), 0.5), seed=s) for s in (1, 2)]
    errors = {
        switch: np.mean(
            [
                average_effect(
                    calibrated().set_params(calibrate_propensity=switch), s.dataset()
                ).std_error
                for s in samples
            ]
        )
        for switch in (True, False)
    }

    assert errors[False] > 1.5 * errors[True]
    np.testing.assert_allclose(errors[True], np.sqrt(4 + 0.25) / np.sqrt(600), rtol=0.1)


def test_known_propensities_need_no_other_fits():
    d = draw(200, seed=5).dataset(propensity=np.full((200, 2), 0.5))
    plain, switched = (calibrated().set_params(calibrate_propensity=s) for s in (False, True))
    units = [nuisance_plan(one, d).units for one in (plain, switched)]

    assert units[0] == units[1]
    without = draw(200, seed=5).dataset()
    assert nuisance_plan(plain, without).units != nuisance_plan(switched, without).units


def test_arguments_of_a_fit_that_is_calibrated_are_refused():
    sample = draw(200, seed=6)

    with pytest.raises(ValueError, match=r"no fit_params besides sample_weight.*\['callbacks'\]"):
        calibrated().fit(sample.X, sample.y, sample.w, fit_params={"callbacks": []})


def test_its_fits_are_kept_and_seeded():
    spec = EstimatorSpec(CalibratedClassifier, {"estimator": LGBMClassifier()})
    built = spec.build(seed=3, threads=1)

    assert spec.unkept == ()
    assert built.random_state == built.estimator.random_state == 3
    assert built.estimator.n_jobs == 1
