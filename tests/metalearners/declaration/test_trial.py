"""What a base model will refuse is refused before anything is fitted, and nothing else is."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from lightgbm.basic import _param_dict_to_str
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    GammaRegressor,
    Lasso,
    LogisticRegression,
    RANSACRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import NuSVC
from xgboost import XGBClassifier, XGBRegressor
from xgboost.callback import EarlyStopping

from flows.config.hyperparameters import check_params
from flows.errors import InputError
from metalearners import SLearner, TLearner
from metalearners.data.folds import forward_chaining
from metalearners.store import DirectoryStore

N = 120
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
W = np.arange(N) % 2
Y = X[:, 0] + W + RNG.normal(size=N)
BINARY = (Y > 0).astype(int)


@pytest.fixture
def unfitted(monkeypatch):
    """Units that were fitted: none may be, where a fit is refused."""
    fitted = []
    monkeypatch.setattr("metalearners.fits.execute.fit_unit", lambda *unit: fitted.append(unit))
    yield fitted
    assert fitted == []


def fit(factory, params, features=X, learner=TLearner, **more):
    classes = factory in (LGBMClassifier, LogisticRegression, NuSVC, MultinomialNB)
    made = learner(classes, 2, factory, nuisance_model_params=params, n_folds=2, random_state=0)
    return made.fit(features, BINARY if classes else Y, W, **more)


def named(*names):
    return pd.DataFrame(X, columns=list(names))


LATE = {
    "sklearn value": (Lasso, {"alpha": -1}, X, "alpha"),
    "sklearn pair": (LogisticRegression, {"solver": "lbfgs", "l1_ratio": 1}, X, "lbfgs"),
    "sklearn length": (HistGradientBoostingRegressor, {"monotonic_cst": [1]}, X, "monotonic_cst"),
    "lightgbm value": (LGBMRegressor, {"num_leaves": 1}, X, "num_leaves"),
    "lightgbm objective": (LGBMRegressor, {"objective": "nonsense"}, X, "nonsense"),
    "lightgbm share": (LGBMRegressor, {"subsample": 2.0, "subsample_freq": 1}, X, "bagging_fract"),
    "lightgbm length": (LGBMRegressor, {"monotone_constraints": [1]}, X, "monotone"),
    "lightgbm groups": (LGBMRegressor, {"interaction_constraints": [[0, 9]]}, X, "interaction"),
    "lightgbm name": (LGBMRegressor, {}, named("a", "b:", "c"), "JSON characters"),
    "lightgbm classes": (LGBMClassifier, {"objective": "quantile", "alpha": 3}, X, "alpha"),
    "xgboost value": (XGBRegressor, {"max_depth": -3}, X, "max_depth"),
    "xgboost method": (XGBRegressor, {"tree_method": "nonsense"}, X, "nonsense"),
    "xgboost name": (XGBRegressor, {}, named("a", "b<", "c"), "feature_names"),
    "lightgbm early": (LGBMRegressor, {"early_stopping_rounds": 3}, X, "eval_set"),
    "lightgbm alias": (LGBMRegressor, {"n_iter_no_change": 3}, X, "eval_set"),
    "xgboost early": (XGBRegressor, {"early_stopping_rounds": 3}, X, "eval_set"),
}


@pytest.mark.parametrize("learner", [TLearner, SLearner])
@pytest.mark.parametrize(("factory", "params", "features", "match"), LATE.values(), ids=LATE)
def test_what_a_base_model_refuses_is_refused_first(
    unfitted, factory, params, features, match, learner
):
    with pytest.raises(ValueError, match=rf"Expected.*{match}"):
        fit(factory, params, features, learner)


TAKEN = {
    "more neighbours than rows to try": (KNeighborsRegressor, {"n_neighbors": 28}),
    "few rows in a share": (LGBMRegressor, {"subsample": 0.04, "subsample_freq": 1}),
    "large leaves": (LGBMRegressor, {"min_child_samples": 50}),
    "positive outcomes alone": (LGBMRegressor, {"objective": "huber"}),
    "early stopping of its own": (HistGradientBoostingRegressor, {"early_stopping": True}),
    "a small set of its own": (
        GradientBoostingRegressor,
        {"n_iter_no_change": 2, "validation_fraction": 0.04},
    ),
    "a draw of consensus": (RANSACRegressor, {"min_samples": 20}),
    "a network": (MLPRegressor, {"early_stopping": True, "validation_fraction": 0.1}),
    "a process": (GaussianProcessRegressor, {}),
    "classes that it balances": (NuSVC, {"nu": 0.2, "probability": True}),
    "a gradient": (SGDRegressor, {}),
    "many trees": (RandomForestRegressor, {"n_estimators": 30, "max_samples": 25}),
    "constraints": (XGBRegressor, {"monotone_constraints": (1, 0, 0), "n_estimators": 2}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("factory", "params"), TAKEN.values(), ids=TAKEN)
def test_what_a_base_model_takes_is_not_refused(factory, params):
    fit(factory, params)


TAKEN_BY_NAME = {
    "a constraint": {"monotonic_cst": {"a": 1}},
    "categories": {"categorical_features": np.array(["b"])},
}


@pytest.mark.parametrize("params", TAKEN_BY_NAME.values(), ids=TAKEN_BY_NAME)
def test_parameters_may_name_features(params):
    features = named("a", "b", "c").assign(b=np.arange(N) % 3)
    fit(HistGradientBoostingRegressor, {**params, "max_iter": 2}, features)


@pytest.mark.filterwarnings("ignore:Classes are in the order of their numbers")
@pytest.mark.parametrize("factory", [LogisticRegression, SGDClassifier, LGBMClassifier])
def test_parameters_may_be_of_the_classes_that_there_are(factory):
    params = {"class_weight": {1: 1, 2: 3}}
    params |= {"loss": "log_loss"} if factory is SGDClassifier else {}
    TLearner(True, 2, factory, nuisance_model_params=params, n_folds=2).fit(X, BINARY + 1, W)


def test_classes_that_a_base_model_refuses_are_refused_first(unfitted):
    with pytest.raises(ValueError, match=r"Expected.*classes that XGBClassifier.*\[1 2\]"):
        TLearner(True, 2, XGBClassifier, n_folds=2).fit(X, BINARY + 1, W)


def test_a_callback_may_stop_by_a_set_that_is_an_argument():
    params = {"n_estimators": 2, "callbacks": [EarlyStopping(rounds=1)]}
    fit(XGBRegressor, params, fit_params={"eval_set": [(X, Y)], "verbose": False})


def test_positive_outcomes_are_no_matter_of_the_trial():
    made = TLearner(False, 2, GammaRegressor, n_folds=2)
    made.fit(X, np.exp(Y), W)


def test_a_trial_leaves_numpy_s_generator_as_it_was(unfitted):
    state = np.random.get_state()[1].copy()
    with pytest.raises(ValueError, match="nonsense"):
        fit(LGBMRegressor, {"objective": "nonsense"})
    fitted = TLearner(False, 2, RandomForestRegressor, n_folds=2)
    fitted.check_models(fitted.dataset(X, Y, W))

    assert (np.random.get_state()[1] == state).all()


# Arguments of `fit`

EVAL_SETS = {
    "arrays": [(X[:50], Y[:50])],
    "frames": [(named(*"abc")[:50], pd.Series(Y[:50]))],
}


@pytest.mark.filterwarnings("ignore:The argument 'eval_set' is deprecated")
@pytest.mark.parametrize("features", EVAL_SETS)
def test_early_stopping_works_without_a_store_and_is_refused_with_one(features, tmp_path):
    given = {
        "eval_set": EVAL_SETS[features],
        "eval_metric": lambda y, p: ("mine", float(np.mean((y - p) ** 2)), False),
        "callbacks": [lightgbm.early_stopping(2, verbose=False)],
    }
    rows = named(*"abc") if features == "frames" else X
    params = {"n_estimators": 30, "num_leaves": 4}
    made = fit(LGBMRegressor, params, rows, fit_params=given, n_jobs_cross_fitting=2)

    for model in made.overall_models()["variant_outcome_model"]:
        assert model.best_iteration_ < 30
    with pytest.raises(
        ValueError,
        match=r"Expected fit_params .* as the store keeps .*found (callbacks|eval_set) for",
    ):
        fit(LGBMRegressor, params, rows, fit_params=given, store=DirectoryStore(tmp_path))


@pytest.mark.parametrize("given", [{"callbacks": [lightgbm.early_stopping(2)]}])
def test_a_callback_that_stops_early_needs_a_set(unfitted, given):
    with pytest.raises(ValueError, match=r"Expected .* with an eval_set"):
        fit(LGBMRegressor, {}, fit_params=given)


def test_a_nested_model_that_stops_early_needs_a_set(unfitted):
    model = make_pipeline(XGBRegressor(early_stopping_rounds=2))
    with pytest.raises(ValueError, match=r"Expected .* with an eval_set"):
        fit(lambda: model, {})


@pytest.mark.parametrize(("cv", "found"), [(None, 30), (forward_chaining(range(N), 2), 20)])
def test_an_objective_of_the_user_s_needs_rows_for_two_leaves_in_each_fit(unfitted, cv, found):
    params = {"objective": lambda y, p: (p - y, y**0), "min_child_samples": 30}
    with pytest.raises(ValueError, match=rf"Expected 60 rows or more .* found {found}\."):
        fit(LGBMRegressor, params, cv=cv)


# Texts that hold parameters

TEXTS = st.text(alphabet=st.sampled_from("l2rmse,.-@:[]= \t\n\r\x0b\x0c\x1f#_/\x85\u00a0\u2028"))
VALUES = st.recursive(TEXTS | st.integers(), lambda inner: st.lists(inner, max_size=3))


@example({"metric": [[["", ""]]]})
@example({"metric": [[[1, 2]]]})
@given(st.dictionaries(st.sampled_from(["metric", "objective", "num_leaves"]), VALUES))
def test_lightgbm_reads_from_what_is_taken_no_more_parameters_than_were_given(params):
    try:
        check_params(LGBMRegressor, params, "models.outcome")
    except InputError:
        return
    read = _param_dict_to_str(params).split()

    assert [pair.split("=")[0] for pair in read] == list(params)
    assert all(pair.count("=") == 1 for pair in read)


@pytest.mark.parametrize("gap", [" ", "\t", "\n", "\r", "\x0b", "\u00a0", "\u2003", "\u2028"])
@pytest.mark.parametrize("make", [str, lambda t: ["l2", t], lambda t: ["l2", [t]]], ids=range(3))
def test_a_text_that_holds_a_second_parameter_is_refused(gap, make):
    params = {"metric": make(f"l2{gap}forcedsplits_filename=/etc/passwd")}
    with pytest.raises(InputError, match=r"params\.metric: expected text without spaces"):
        check_params(LGBMRegressor, params, "models.outcome")


@pytest.mark.parametrize(
    ("factory", "params"),
    [
        (LGBMRegressor, {"metric": ["l2", "rmse"], "objective": "regression_l1"}),
        (LGBMRegressor, {"interaction_constraints": "[0,1],[2]", "metric": "l2,rmse"}),
        (XGBRegressor, {"interaction_constraints": "[[0, 1], [2]]", "eval_metric": "error@0.7"}),
        (XGBRegressor, {"monotone_constraints": {"profile": 1}}),
        (Ridge, {"solver": "svd"}),
    ],
)
def test_plain_texts_are_taken(factory, params):
    check_params(factory, params, "models.outcome")


@pytest.mark.parametrize("value", [{"train_dir": "/tmp"}, [{"a": {"cache_file": 1}}]])
def test_a_map_holds_no_file(value):
    with pytest.raises(InputError, match="use no files"):
        check_params(XGBRegressor, {"eval_metric": value}, "models.outcome")
