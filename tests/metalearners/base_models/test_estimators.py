"""Base models as values: their identity, how they are built, what they can take."""

import numpy as np
import pytest
from joblib import cpu_count
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from metalearners.base_models.capabilities import (
    takes_arm_as_category,
    takes_categories,
    takes_missing,
)
from metalearners.base_models.estimators import check_role, predict
from metalearners.base_models.weights import weight_argument
from metalearners.fits.estimator_spec import EstimatorSpec


def pipeline_spec(**params):
    return EstimatorSpec(Pipeline, {"steps": [("fit", RandomForestRegressor(**params))]})


# Identity


def test_equal_specifications_have_equal_digests():
    a = EstimatorSpec(Ridge, {"alpha": 1, "tol": 0.1})

    assert a.digest == EstimatorSpec(Ridge, {"tol": 0.1, "alpha": np.int64(1)}).digest
    assert a.digest != EstimatorSpec(Ridge, {"alpha": 2, "tol": 0.1}).digest
    assert a.digest != EstimatorSpec(Lasso, {"alpha": 1, "tol": 0.1}).digest
    assert a.digest != EstimatorSpec(Ridge, {"alpha": 1}).digest


@pytest.mark.parametrize("name", ["n_jobs", "verbose"])
def test_how_a_model_is_run_is_no_part_of_it_at_any_depth(name):
    plain = EstimatorSpec(RandomForestRegressor, {"max_depth": 2})

    assert plain.digest == EstimatorSpec(RandomForestRegressor, {"max_depth": 2, name: 2}).digest
    assert pipeline_spec(max_depth=2).digest == pipeline_spec(max_depth=2, **{name: 2}).digest
    assert pipeline_spec(max_depth=2).digest != pipeline_spec(max_depth=3).digest


# Building


def test_a_model_is_built_anew_each_time():
    inner = Ridge()
    spec = EstimatorSpec(SelectFromModel, {"estimator": inner})
    a, b = spec.build(), spec.build()

    assert a is not b
    assert a.estimator is not b.estimator
    assert a.estimator is not inner


def test_models_in_a_pipeline_s_steps_are_built_anew_too():
    """Fits that run side by side would otherwise fit one and the same object."""
    spec = pipeline_spec(max_depth=2)
    a, b = spec.build(1), spec.build(2)

    assert a.named_steps["fit"] is not b.named_steps["fit"]
    assert a.named_steps["fit"].random_state == 1
    assert spec.params["steps"][0][1].random_state is None


def test_a_column_transformer_s_parts_are_built_anew_too():
    encoder = OneHotEncoder()
    columns = ColumnTransformer([("encode", encoder, [0])])
    spec = EstimatorSpec(Pipeline, {"steps": [("columns", columns), ("fit", Ridge())]})

    built = spec.build().named_steps["columns"]

    assert built is not columns
    assert built.transformers[0][1] is not encoder


@pytest.mark.parametrize(
    ("name", "chosen", "expected"),
    [
        ("random_state", None, 5),
        ("random_state", 0, 0),
        ("random_state", 7, 7),
        ("n_jobs", None, 3),
        ("n_jobs", 1, 1),
        ("n_jobs", 2, 2),
        ("n_jobs", 7, 3),
        ("n_jobs", -1, min(3, cpu_count())),
    ],
)
def test_a_seed_fills_what_is_unset_and_threads_are_capped(name, chosen, expected):
    spec = EstimatorSpec(RandomForestRegressor, {name: chosen})

    assert getattr(spec.build(seed=5, threads=3), name) == expected
    assert getattr(spec.build(), name) == chosen


def test_seeds_reach_nested_models():
    built = pipeline_spec().build(seed=5, threads=2)

    assert built.named_steps["fit"].random_state == 5
    assert built.named_steps["fit"].n_jobs == 2
    assert EstimatorSpec(LinearRegression).build(seed=5).n_jobs is None


def test_a_seed_is_all_a_random_model_needs_to_repeat():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 3)), rng.normal(size=100)
    spec = EstimatorSpec(RandomForestRegressor, {"n_estimators": 5})

    a, b, c = (spec.build(seed).fit(X, y).predict(X) for seed in (1, 1, 2))

    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("params", [{}, {"subsample": 0.5, "subsample_freq": 1}])
def test_lightgbm_gives_the_same_bits_on_any_number_of_threads(params):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 20))
    y = X[:, 0] * X[:, 1] + rng.normal(size=3000)
    spec = EstimatorSpec(LGBMRegressor, {"n_estimators": 20, **params})

    one, two, four = (spec.build(3, threads).fit(X, y).predict(X) for threads in (1, 2, 4))

    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, four)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"deterministic": True, "force_col_wise": True, "verbosity": -1}),
        ({"deterministic": False}, {"deterministic": False, "force_col_wise": True}),
        ({"force_row_wise": True}, {"force_row_wise": True, "force_col_wise": None}),
        ({"verbose": 1}, {"verbose": 1, "verbosity": None}),
        ({"verbosity": 2}, {"verbosity": 2}),
    ],
)
def test_lightgbm_is_made_to_repeat_unless_told_otherwise(given, expected):
    params = EstimatorSpec(LGBMClassifier, given).build().get_params()

    assert {name: params.get(name) for name in expected} == expected


def test_lightgbm_is_made_to_repeat_inside_other_models_too():
    model = make_pipeline(StandardScaler(), LGBMRegressor(force_row_wise=True))
    built = EstimatorSpec(GridSearchCV, {"estimator": model, "param_grid": {}}).build(seed=4)

    found = built.estimator.named_steps["lgbmregressor"].get_params()
    assert found["deterministic"] is found["force_row_wise"] is True
    assert "force_col_wise" not in found
    assert found["random_state"] == 4


def test_threads_are_not_given_where_they_are_deprecated():
    """scikit-learn warns at each fit of a logistic regression with n_jobs."""
    X = np.arange(6.0)[:, None]
    EstimatorSpec(LogisticRegression).build(threads=2).fit(X, X[:, 0] > 2)
    nested = EstimatorSpec(Pipeline, {"steps": [("fit", LogisticRegression())]})
    nested.build(threads=1).fit(X, X[:, 0] > 2)


# What models take


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Ridge(), "sample_weight"),
        (LGBMRegressor(), "sample_weight"),
        (KNeighborsRegressor(), None),
        (make_pipeline(StandardScaler(), Ridge()), "ridge__sample_weight"),
        (make_pipeline(make_pipeline(Ridge())), "pipeline__ridge__sample_weight"),
        (make_pipeline(StandardScaler(), KNeighborsRegressor()), None),
    ],
)
def test_the_argument_of_weights(model, expected):
    assert weight_argument(model) == expected


def test_weights_of_a_pipeline_reach_its_last_step():
    X, y = np.arange(4.0)[:, None], np.array([0.0, 1, 5, 9])
    weight = np.array([1.0, 1, 0, 0])
    model = make_pipeline(Ridge(alpha=0))
    model.fit(X, y, **{weight_argument(model): weight})

    np.testing.assert_allclose(model.predict(X), [0, 1, 2, 3], atol=1e-9)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LinearRegression(), False),
        (LGBMRegressor(), True),
        (HistGradientBoostingRegressor(), True),
        (make_pipeline(SimpleImputer(), LinearRegression()), True),
        (make_pipeline(StandardScaler(), SimpleImputer(), LinearRegression()), True),
        (make_pipeline(StandardScaler(), LinearRegression()), False),
        (make_pipeline(StandardScaler(), LGBMRegressor()), True),
        (Pipeline([("nothing", "passthrough"), ("fit", LinearRegression())]), False),
        (GridSearchCV(LGBMRegressor(), {}), True),
        (GridSearchCV(LinearRegression(), {}), False),
    ],
)
def test_models_that_take_missing_values(model, expected):
    assert takes_missing(model) is expected


@pytest.mark.parametrize("model", [LinearRegression(), LGBMRegressor()])
def test_models_that_are_said_to_take_missing_values_do(model):
    X = np.arange(40.0).reshape(20, 2)
    X[3, 1] = np.nan
    if takes_missing(model):
        model.set_params(verbosity=-1).fit(X, X[:, 0])
    else:
        with pytest.raises(ValueError, match="NaN"):
            model.fit(X, X[:, 0])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LinearRegression(), False),
        (RandomForestRegressor(), False),
        (LGBMRegressor(), True),
        (HistGradientBoostingRegressor(), True),
        (HistGradientBoostingRegressor(categorical_features=None), False),
        (make_pipeline(OneHotEncoder(), LinearRegression()), True),
        (GridSearchCV(LGBMRegressor(), {}), True),
        (GridSearchCV(Ridge(), {}), False),
    ],
)
def test_models_that_take_categories(model, expected):
    assert takes_categories(model) is expected
    in_pipeline = isinstance(model, Pipeline)
    assert takes_arm_as_category(model) is (expected and not in_pipeline)


def test_a_pipeline_in_a_search_gets_no_category_of_arms():
    assert not takes_arm_as_category(GridSearchCV(make_pipeline(LGBMRegressor()), {}))


# Roles and predictions


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (LogisticRegression(), "predict"),
        (make_pipeline(LogisticRegression()), "predict"),
        (LinearRegression(), "predict_proba"),
        (LGBMRegressor(), "predict_proba"),
        (DummyRegressor(), "predict_proba"),
    ],
)
def test_a_model_in_the_wrong_role_is_refused(model, method):
    with pytest.raises(ValueError, match=f"The model mu is supposed to be used .* '{method}'"):
        check_role(model, method, "mu")


@pytest.mark.parametrize(
    ("model", "method"),
    [
        (LogisticRegression(), "predict_proba"),
        (RandomForestClassifier(), "predict_proba"),
        (make_pipeline(LinearRegression()), "predict"),
    ],
)
def test_a_model_in_its_role_is_taken(model, method):
    check_role(model, method, "mu")


def test_predictions_are_columns():
    X, y = np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1])
    whole = y.astype(np.float32)

    assert predict(LinearRegression().fit(X, y), X, "predict").shape == (6, 1)
    assert predict(LinearRegression().fit(X, y[:, None]), X, "predict").shape == (6, 1)
    assert predict(LogisticRegression().fit(X, y), X, "predict_proba").shape == (6, 2)
    found = predict(LinearRegression().fit(X.astype(np.float32), whole), X, "predict")
    assert found.dtype == np.float64
