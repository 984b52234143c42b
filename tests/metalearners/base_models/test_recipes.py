"""Base models for outcomes of many zeros: closed forms, within learners, where they are refused."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.base_models.capabilities import takes_categories, takes_missing
from metalearners.base_models.recipes import TwoPartRegressor
from metalearners.base_models.weights import weight_argument
from metalearners.fits.estimator_spec import EstimatorSpec
from tests.simulate import SMALL

QUIET = {"verbosity": -1, "random_state": 0}
TREES = TwoPartRegressor(DecisionTreeClassifier(), DecisionTreeRegressor())
BOOSTED = TwoPartRegressor(LGBMClassifier(**SMALL, **QUIET), LGBMRegressor(**SMALL, **QUIET))
TWEEDIE = {"objective": "tweedie", **SMALL, **QUIET}
LEARNERS = [SLearner, TLearner, XLearner, RLearner, DRLearner]


def spend(n, seed=0):
    """Features, outcomes of which four fifths are 0, and arms: the average effect is about 0.9."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    w = rng.integers(0, 2, n)
    buys = rng.random(n) < 0.15 + 0.1 * w + 0.1 * (X["a"] > 0)
    return X, np.where(buys, rng.gamma(2, 4, n) * (1 + 0.3 * (X["b"] > 0)), 0), w


def test_saturated_parts_give_the_weighted_means_of_cells():
    X = np.repeat([[0.0], [1.0], [2.0]], 4, axis=0)
    y = np.array([0, 0, 4, 8, 0, 0, 0, 0, 1, 2, 3, -2.0])
    weight = np.array([1, 2, 3, 1, 1, 1, 1, 1, 2, 1, 1, 1])
    rows = np.repeat(np.arange(12), weight)
    means = [20 / 7, 0, 1]

    assert weight_argument(TREES) == "sample_weight"
    for fitted in (TREES.fit(X, y, weight), TREES.fit(X[rows], y[rows])):
        np.testing.assert_allclose(fitted.predict(X[::4]), means, rtol=1e-12)


def test_it_is_the_product_of_its_parts_with_their_categories_and_missing_values():
    X, y, w = spend(600)
    X = X.assign(a=X["a"].mask(w == 1), c=pd.Categorical(np.where(X["b"] > 0, "x", "y")))
    found = BOOSTED.fit(X, y).predict(X)
    some = y != 0
    present = LGBMClassifier(**SMALL, **QUIET).fit(X, some).predict_proba(X)[:, 1]
    amount = LGBMRegressor(**SMALL, **QUIET).fit(X[some], y[some]).predict(X)

    np.testing.assert_array_equal(found, present * amount)
    assert takes_categories(BOOSTED)
    assert takes_missing(BOOSTED)
    assert not takes_missing(TwoPartRegressor(LogisticRegression(), LGBMRegressor()))


def test_outcomes_that_are_all_or_never_0_need_one_model():
    X, y = np.arange(6.0)[:, None], np.arange(6.0) + 1
    linear = TwoPartRegressor(LogisticRegression(), LinearRegression())

    np.testing.assert_allclose(linear.fit(X, y).predict(X), y)
    assert not linear.fit(X, 0 * y).predict(X).any()


@pytest.mark.parametrize(
    "parts",
    [(LinearRegression(), LinearRegression()), (LogisticRegression(), LogisticRegression())],
)
def test_parts_of_the_wrong_sort_are_refused_when_it_is_made(parts):
    with pytest.raises(ValueError, match=r"The model (classifier|regressor) is supposed to be"):
        TwoPartRegressor(*parts)


@pytest.mark.parametrize("recipe", [TREES, BOOSTED])
def test_its_fits_are_kept_seeded_and_within_their_threads(recipe):
    spec = EstimatorSpec(type(recipe), recipe.get_params(deep=False))
    parts = [p for p in spec.build(seed=3, threads=1).get_params().values() if hasattr(p, "fit")]

    assert spec.unkept == ()
    given = [part for part in recipe.get_params().values() if hasattr(part, "fit")]
    for part, own in zip(parts, given, strict=True):
        assert part.random_state == (3 if own.random_state is None else own.random_state)
        assert getattr(part, "n_jobs", 1) == 1


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("recipe", [(TwoPartRegressor, BOOSTED), (LGBMRegressor, TWEEDIE)])
def test_learners_find_the_effect_on_an_outcome_of_many_zeros(learner, recipe):
    X, y, w = spend(2500)
    factory, given = recipe
    params = given if isinstance(given, dict) else given.get_params(deep=False)
    models = (factory, LinearRegression, LogisticRegression, params)
    effects = learner(False, 2, *models, n_folds=3).fit(X, y, w).predict(X, is_oos=False)

    truth = y[w == 1].mean() - y[w == 0].mean()
    assert abs(effects.mean() - truth) < 0.35
    assert np.isfinite(effects).all()


@pytest.mark.parametrize("learner", [XLearner, RLearner, DRLearner])
def test_a_loss_that_takes_no_negative_numbers_is_refused_where_effects_are_learnt(learner):
    X, y, w = spend(200)
    treatment = {"treatment_model_factory": LGBMRegressor, "treatment_model_params": TWEEDIE}
    made = learner(
        False, 2, LinearRegression, propensity_model_factory=LogisticRegression, **treatment
    )

    with pytest.raises(
        ValueError, match=r"(effect|treatment)_model, which learns negative numbers"
    ):
        made.fit(X, y, w)


def test_such_a_loss_is_refused_where_outcomes_are_negative():
    X, y, w = spend(200)

    with pytest.raises(ValueError, match=r"variant_outcome_model, which learns negative numbers"):
        TLearner(False, 2, LGBMRegressor, nuisance_model_params=TWEEDIE).fit(X, y - 1, w)
