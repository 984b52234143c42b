"""Explanations: closed forms, what a feature without influence gets, and every refusal."""

import warnings

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from metalearners import DRLearner, SLearner, TLearner, XLearner
from metalearners.explainer import Explainer
from tests.simulate import (
    LEARNERS,
    SMALL,
    WITH_TREATMENT_MODEL,
    draw,
    draw_classes,
    linear_learner,
    three_outcomes,
    three_propensities,
    tree_learner,
)

with warnings.catch_warnings():
    # shap's colours are made with functions that matplotlib is about to deprecate.
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap

SURROGATE = {"cate_model_factory": LGBMRegressor, "cate_model_params": SMALL}
with_treatment_models = pytest.mark.parametrize("learner", WITH_TREATMENT_MODEL)
without = pytest.mark.parametrize("learner", [SLearner, TLearner, XLearner])


def three_arms(n: int = 600):
    return draw(n, three_outcomes, three_propensities)


def linear_estimates(X: np.ndarray) -> np.ndarray:
    """Two arms' effects: 1 + 2 x_0, and x_1 - x_2."""
    return np.stack([1 + 2 * X[:, 0], X[:, 1] - X[:, 2]], axis=1)[:, :, None]


# Importances


@with_treatment_models
def test_importances_are_those_of_the_treatment_models(learner):
    s = three_arms()
    made = tree_learner(learner, n_variants=3).fit(s.X, s.y, s.w)

    found = made.feature_importances(feature_names=list("abcde"))

    models = made.explainer().cate_models
    assert [type(model) for model in models] == [LGBMRegressor] * 2
    for series, model in zip(found, models, strict=True):
        pd.testing.assert_series_equal(
            series, pd.Series(model.feature_importances_, index=list("abcde"))
        )


@pytest.mark.parametrize("learner", LEARNERS)
def test_estimates_of_any_learner_are_explained_by_fitted_models(learner):
    s = three_arms()
    made = tree_learner(learner, n_variants=3).fit(s.X, s.y, s.w)
    estimates = made.predict(s.X, False)

    found = made.feature_importances(X=s.X, cate_estimates=estimates, **SURROGATE)

    assert [list(series.index) for series in found] == [[f"Feature {i}" for i in range(5)]] * 2
    explainer = made.explainer(s.X, estimates, **SURROGATE)
    for series, again in zip(found, explainer.feature_importances(), strict=True):
        pd.testing.assert_series_equal(series, again)


def test_a_feature_that_the_effect_does_not_depend_on_has_no_importance():
    X = np.random.default_rng(0).normal(size=(500, 5))
    explainer = Explainer.from_estimates(X, linear_estimates(X), DecisionTreeRegressor)

    first, second = explainer.feature_importances(normalize=True)

    assert first.to_numpy() == pytest.approx([1, 0, 0, 0, 0], abs=0.01)
    assert second["Feature 1"] + second["Feature 2"] > 0.95


@pytest.mark.parametrize("sort_values", [False, True])
def test_normalized_importances_sum_to_one(sort_values):
    s = three_arms()
    made = tree_learner(DRLearner, n_variants=3).fit(s.X, s.y, s.w)

    plain = made.feature_importances()
    shares = made.feature_importances(normalize=True, sort_values=sort_values)

    for series, counts in zip(shares, plain, strict=True):
        assert series.sum() == pytest.approx(1)
        pd.testing.assert_series_equal(series.sort_index(), counts / counts.sum())
        assert not sort_values or series.is_monotonic_decreasing


def test_equal_importances_stay_in_the_order_of_the_features():
    model = DecisionTreeRegressor().fit(np.zeros((9, 30)), np.zeros(9))

    (series,) = Explainer([model]).feature_importances(normalize=True, sort_values=True)

    assert list(series.index) == [f"Feature {i}" for i in range(30)]
    assert (series == 0).all(), "a model without a split uses no feature, and 0 / 0 is no share"


def test_of_two_classes_the_effects_on_the_second_are_explained():
    X = np.random.default_rng(0).normal(size=(300, 3))
    estimates = np.concatenate([-linear_estimates(X), linear_estimates(X)], axis=2)

    explainer = Explainer.from_estimates(X, estimates, LinearRegression)

    coefficients = [model.coef_ for model in explainer.cate_models]
    np.testing.assert_allclose(coefficients, [[2, 0, 0], [0, 1, -1]], atol=1e-12)
    assert explainer.n_variants == 3


def test_a_given_explainer_is_used_and_the_rest_ignored():
    s = draw(300)
    made = tree_learner(TLearner).fit(s.X, s.y, s.w)
    explainer = Explainer.from_estimates(s.X, s.tau[:, :, None], **SURROGATE)

    (found,) = made.feature_importances(explainer=explainer, X=s.X)
    (values,) = made.shap_values(s.X, shap.TreeExplainer, explainer=explainer)

    pd.testing.assert_series_equal(found, explainer.feature_importances()[0])
    np.testing.assert_array_equal(values, explainer.shap_values(s.X, shap.TreeExplainer)[0])


def test_fitted_explanations_repeat():
    X = np.random.default_rng(0).normal(size=(200, 5))
    given = (X, linear_estimates(X), DecisionTreeRegressor, {"splitter": "random"})

    once, again = (Explainer.from_estimates(*given).feature_importances()[1] for _ in range(2))

    pd.testing.assert_series_equal(once, again)


# SHAP values


def all_rows(X: np.ndarray) -> dict[str, object]:
    """The average row is that of all; by default shap draws a hundred of them."""
    return {"masker": shap.maskers.Independent(X, max_samples=len(X))}


@with_treatment_models
@pytest.mark.parametrize("classes", [False, True])
def test_shap_values_of_a_linear_effect_are_its_terms(learner, classes):
    s = draw_classes(600) if classes else draw(600)
    made = linear_learner(learner, classes).fit(s.X, s.y, s.w)

    (values,) = made.shap_values(s.X, shap.LinearExplainer, all_rows(s.X))

    (model,) = made.explainer().cate_models
    np.testing.assert_allclose(values, model.coef_ * (s.X - s.X.mean(axis=0)), atol=1e-9)
    effects = made.predict(s.X, True)[:, 0, -1]
    np.testing.assert_allclose(values.sum(axis=1), effects - effects.mean(), atol=1e-9)


def test_shap_values_of_estimates_are_of_models_fitted_to_them():
    s = draw(300)
    made = linear_learner(TLearner).fit(s.X, s.y, s.w)
    estimates = made.predict(s.X, True)  # a difference of linear functions, so fitted exactly

    (values,) = made.shap_values(
        s.X,
        shap.LinearExplainer,
        all_rows(s.X),
        cate_estimates=estimates,
        cate_model_factory=LinearRegression,
    )

    difference = np.subtract(
        *(made.overall_models()["variant_outcome_model"][k].coef_ for k in (1, 0))
    )
    np.testing.assert_allclose(values, difference * (s.X - s.X.mean(axis=0)), atol=1e-9)


def test_shap_values_of_trees_add_up_to_the_effects():
    s = three_arms()
    made = tree_learner(DRLearner, n_variants=3).fit(s.X, s.y, s.w)

    found = made.shap_values(s.X, shap.TreeExplainer)

    assert [values.shape for values in found] == [s.X.shape] * 2
    effects = made.predict(s.X, True)[:, :, 0]
    for values, effect in zip(found, effects.T, strict=True):
        rest = effect - values.sum(axis=1)
        np.testing.assert_allclose(rest, rest[0], atol=1e-9)


# Refusals


@without
def test_learners_without_treatment_models_need_estimates(learner):
    s = draw(200)
    made = linear_learner(learner).fit(s.X, s.y, s.w)

    for explain in (made.explainer, made.feature_importances):
        with pytest.raises(ValueError, match="does not have treatment models"):
            explain()
    with pytest.raises(ValueError, match="cate_model_factory need to be defined"):
        made.shap_values(s.X, shap.LinearExplainer)


@with_treatment_models
def test_an_unfitted_learner_has_nothing_to_explain(learner):
    with pytest.raises(ValueError, match="Expected a fitted"):
        linear_learner(learner).explainer()


@pytest.mark.parametrize(
    "given", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)]
)
def test_estimates_are_given_in_full_or_not_at_all(given):
    s = draw(200)
    made = linear_learner(DRLearner).fit(s.X, s.y, s.w)
    values = {"X": s.X, "cate_estimates": s.tau, "cate_model_factory": LinearRegression}
    some = {name: v for (name, v), take in zip(values.items(), given, strict=True) if take}

    with pytest.raises(ValueError, match="all of them must be defined"):
        made.explainer(**some)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_estimates_are_finite(value):
    X = np.zeros((4, 2))
    estimates = np.zeros((4, 1, 1))
    estimates[2] = value

    with pytest.raises(ValueError, match="can not contain any NaN or inf"):
        Explainer.from_estimates(X, estimates, LinearRegression)


@pytest.mark.parametrize(
    ("n_rows", "shape", "message"),
    [
        (5, (4, 1, 1), "same number of observations"),
        (0, (0, 1, 1), "not be empty"),
        (4, (4,), "needs to be 3-dimensional but is 1-dimensional"),
        (4, (4, 1), "needs to be 3-dimensional but is 2-dimensional"),
        (4, (4, 1, 3), "regression or a classification with binary outcome"),
    ],
)
def test_estimates_are_shaped_as_predictions(n_rows, shape, message):
    with pytest.raises(ValueError, match=message):
        Explainer.from_estimates(np.zeros((n_rows, 2)), np.zeros(shape), LinearRegression)


def test_importances_need_a_model_that_has_them():
    X = np.random.default_rng(0).normal(size=(50, 3))
    explainer = Explainer.from_estimates(X, linear_estimates(X), LinearRegression)

    with pytest.raises(ValueError, match=r"treatment variant 1 has no attribute feature_imp"):
        explainer.feature_importances()


def test_names_and_features_are_those_of_the_models():
    X = np.random.default_rng(0).normal(size=(50, 3))
    explainer = Explainer.from_estimates(X, linear_estimates(X), DecisionTreeRegressor)

    with pytest.raises(ValueError, match=r"Expected 3 feature_names.*found 2"):
        explainer.feature_importances(feature_names=["a", "b"])
    with pytest.raises(ValueError, match=r"Expected the 3 features.*found 2"):
        explainer.shap_values(X[:, :2], shap.TreeExplainer)
