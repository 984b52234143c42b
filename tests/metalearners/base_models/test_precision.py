"""Units don't matter: of weights, and of outcomes and features that lie far from 0."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.ensemble import BaggingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.base_models.precision import centre_of, merged_features
from metalearners.base_models.weights import in_rows
from metalearners.bundle import Bundle
from metalearners.cross_fit_estimator import CrossFitEstimator
from metalearners.metalearner import MetaLearner
from metalearners.store import DirectoryStore
from tests.simulate import draw

S = draw(400)
LIGHT = {"n_estimators": 5, "num_leaves": 5, "n_jobs": 1}
# With row samples, so that seeds matter too.
DRAWN = {"n_estimators": 5, "max_depth": 3, "subsample": 0.7, "n_jobs": 1}


def learner(kind: type[MetaLearner], factory: type, params: dict) -> MetaLearner:
    bases = (False, 2, factory, factory, LGBMClassifier)
    return kind(*bases, params, params, LIGHT, n_folds=2)


# Weights


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.just(0.0) | st.floats(1e-6, 1e6), min_size=1, max_size=30).filter(any),
    st.floats(1e-100, 1e100),
)
def test_weights_in_rows_have_no_unit(weights, unit):
    given = np.array(weights)

    found = in_rows(given * unit)

    np.testing.assert_allclose(found, in_rows(given), rtol=1e-9, atol=1e-300)
    assert found[found > 0].mean() == pytest.approx(1)


@pytest.mark.parametrize("unit", [1e-300, 1 / 3, 7.0, 1e300])
def test_equal_weights_are_exactly_1(unit):
    np.testing.assert_array_equal(in_rows(np.full(1000, unit)), 1)


def test_weights_of_0_alone_stay_so():
    np.testing.assert_array_equal(in_rows(np.zeros(3)), 0)


@pytest.mark.parametrize("unit", [1e-3, 1000 / 3])
@pytest.mark.parametrize("kind", [SLearner, TLearner, XLearner, RLearner, DRLearner])
def test_weights_in_any_unit_give_the_same_fits(kind, unit):
    weight = np.random.default_rng(1).uniform(0, 2, len(S.y)).round(1)
    made = [
        learner(kind, XGBRegressor, DRAWN).fit(S.X, S.y, S.w, sample_weight=weight * scale)
        for scale in (1, unit)
    ]

    a, b = (one.predict(S.X, is_oos=False) for one in made)

    np.testing.assert_allclose(b, a, atol=1e-4)
    assert a.std() > 0.1


def test_weights_in_fit_params_of_one_model_have_no_unit_either():
    weight = np.random.default_rng(1).uniform(0.1, 2, len(S.y))
    found = [
        CrossFitEstimator(2, XGBRegressor, DRAWN)
        .fit(S.X, S.y, fit_params={"sample_weight": weight * unit})
        .predict(S.X, is_oos=False)
        for unit in (1, 1e-3)
    ]

    np.testing.assert_allclose(found[1], found[0], atol=1e-4)


# Outcomes

CENTRED = {
    "lightgbm": (LGBMRegressor, LIGHT),
    "lightgbm, absolute": (LGBMRegressor, {**LIGHT, "objective": "l1"}),
    "xgboost": (XGBRegressor, {"n_estimators": 5, "max_depth": 3, "n_jobs": 1}),
    "tree": (DecisionTreeRegressor, {"max_depth": 3}),
}


@pytest.mark.parametrize(
    ("kind", "case"),
    [(kind, "lightgbm") for kind in (SLearner, TLearner, XLearner, RLearner, DRLearner)]
    + [(TLearner, "lightgbm, absolute"), (TLearner, "xgboost"), (TLearner, "tree")],
)
@pytest.mark.parametrize("shift", [-1e8, 3e11])
def test_a_constant_added_to_all_outcomes_changes_no_effect(kind, case, shift):
    y = S.y.round(3)
    base, moved = (
        learner(kind, *CENTRED[case]).fit(S.X, outcomes, S.w) for outcomes in (y, y + shift)
    )

    for is_oos in (False, True):
        a, b = (one.predict(S.X, is_oos) for one in (base, moved))
        assert np.abs(a - b).mean() < 0.03
    means = moved.predict_conditional_average_outcomes(S.X, is_oos=True)
    assert means.mean() == pytest.approx(shift + S.y.mean(), abs=0.3)


def test_outcomes_near_0_are_fitted_as_they_are():
    assert centre_of(LGBMRegressor(), S.y + 1000) == 0
    assert centre_of(LGBMRegressor(), S.y + 1e6) != 0
    assert centre_of(make_pipeline(StandardScaler(), LGBMRegressor()), S.y + 1e6) != 0


@pytest.mark.parametrize(
    "model",
    [
        LGBMRegressor(objective="poisson"),
        LGBMRegressor(objective="gamma"),
        LGBMRegressor(objective="tweedie"),
        LGBMRegressor(objective=lambda y, f: (f - y, np.ones_like(y))),
        LGBMRegressor(boost_from_average=False),
        XGBRegressor(objective="count:poisson"),
        XGBRegressor(base_score=3),
        BaggingRegressor(LGBMRegressor()),
        LinearRegression(),
    ],
    ids=[
        "poisson",
        "gamma",
        "tweedie",
        "own",
        "no average",
        "xgboost poisson",
        "xgboost base score",
        "bag",
        "linear",
    ],
)
def test_losses_that_change_under_translation_see_the_outcomes_themselves(model):
    assert centre_of(model, S.y + 1e6) == 0


@pytest.mark.parametrize(
    ("factory", "params", "more"),
    [
        (BaggingRegressor, {"estimator": LGBMRegressor(n_jobs=1), "n_estimators": 2}, {}),
        (LGBMRegressor, {**LIGHT, "objective": "poisson"}, {}),
        (LGBMRegressor, LIGHT, {"eval_X": S.X[:50], "eval_y": S.y[:50]}),
    ],
    ids=["in another model", "counts", "with outcomes to stop by"],
)
def test_where_outcomes_can_t_be_centred_the_loss_of_precision_is_told(factory, params, more):
    made = CrossFitEstimator(2, factory, params)

    with pytest.warns(UserWarning, match="in float32, which rounds.*Subtract a constant"):
        made.fit(S.X, S.y + 1e7, fit_params=more)


def test_centred_models_are_kept_with_their_constant(tmp_path):
    X = pd.DataFrame(S.X, columns=list("abcde"))
    stored = [
        learner(TLearner, LGBMRegressor, LIGHT).fit(
            X, S.y + 1e8, S.w, store=DirectoryStore(tmp_path / "store")
        )
        for _ in range(2)
    ]
    expected = stored[0].predict_conditional_average_outcomes(X, is_oos=True)

    Bundle.of(stored[0], X).save(tmp_path / "model")
    served = Bundle.load(tmp_path / "model").learners["TLearner"]
    for one in (stored[1], served, pickle.loads(pickle.dumps(stored[0]))):
        found = one.predict_conditional_average_outcomes(X, is_oos=True)
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="Subtract one from y"):
        stored[0]._necessary_onnx_models()


# Features

SECONDS = 1_700_000_000 + np.arange(400)


@pytest.mark.parametrize(
    "values",
    [SECONDS, SECONDS.astype(float), 2**40 + np.arange(400), np.append(0, SECONDS[1:])],
    ids=["seconds", "floats", "identities", "0 for none"],
)
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_features_that_float32_can_t_tell_apart_are_told(frame, values):
    X = frame({"x": S.X[:, 0], "since": values})

    assert merged_features(X) == ["since"]
    assert merged_features(np.column_stack([S.X[:, 0], values])) == ["1"]
    with pytest.warns(UserWarning, match="Features since have values that float32"):
        CrossFitEstimator(2, RandomForestRegressor, {"n_estimators": 2}).fit(X, S.y)


def test_features_that_float32_tells_apart_are_not():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=5000), "id": np.arange(5000), "far": 1e6 + S.X[0, 0]})
    X["year"] = 1.7e9 + rng.uniform(0, 3e7, 5000)
    X["missing"] = np.nan

    assert merged_features(X) == []


def test_models_in_double_precision_have_nothing_to_tell():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CrossFitEstimator(2, LinearRegression).fit(SECONDS[:, None], S.y + 1e9)
