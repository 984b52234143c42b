"""The calls of the published examples of metalearners 0.13, on simulated data, unchanged."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.special import expit, softmax
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

from metalearners import DRLearner, RLearner, SLearner, TLearner, XLearner
from metalearners.cross_fit_estimator import CrossFitEstimator
from metalearners.data_generation import (
    compute_experiment_outputs,
    generate_covariates,
    generate_treatment,
)
from metalearners.grid_search import MetaLearnerGridSearch
from metalearners.metalearner import get_overall_estimators
from metalearners.outcome_functions import linear_treatment_effect
from metalearners.utils import simplify_output

SMALL = {"n_estimators": 5, "num_leaves": 4, "verbose": -1, "n_jobs": 1}
OUTCOME, TREATMENT = "achievement_score", "intervention"
CATEGORICAL = ["schoolid", "ethnicity", "gender", "frst_in_family", "school_urbanicity"]
EFFECT = 2.0


def pupils(n: int = 500, seed: int = 0) -> pd.DataFrame:
    """Rows shaped as the mindset data: integer categories, numbers, and a randomised treatment."""
    rng = np.random.default_rng(seed)
    levels = {
        "schoolid": 12,
        "ethnicity": 5,
        "gender": 2,
        "frst_in_family": 2,
        "school_urbanicity": 4,
    }
    df = pd.DataFrame({name: rng.integers(0, k, n) for name, k in levels.items()})
    df["success_expect"] = rng.integers(1, 8, n)
    for name in ("school_mindset", "school_achievement", "school_size"):
        df[name] = rng.normal(size=n)
    df[TREATMENT] = (rng.uniform(size=n) < 0.35).astype(int)
    mean = 0.3 * df["success_expect"] + df["school_achievement"] + EFFECT * df[TREATMENT]
    df[OUTCOME] = mean + 0.5 * rng.normal(size=n)
    for name in CATEGORICAL:
        df[name] = df[name].astype("category")
    return df


DF = pupils()
FEATURES = [column for column in DF.columns if column not in [OUTCOME, TREATMENT]]
ROWS = {"X": DF[FEATURES], "y": DF[OUTCOME], "w": DF[TREATMENT]}


def small_rlearner(**more) -> RLearner:
    return RLearner(
        nuisance_model_factory=LGBMRegressor,
        propensity_model_factory=LGBMClassifier,
        treatment_model_factory=LGBMRegressor,
        is_classification=False,
        n_variants=2,
        **{
            "nuisance_model_params": SMALL,
            "propensity_model_params": SMALL,
            "treatment_model_params": SMALL,
            **more,
        },
    )


def small_tlearner() -> TLearner:
    return TLearner(
        nuisance_model_factory=LGBMRegressor,
        is_classification=False,
        n_variants=2,
        nuisance_model_params=SMALL,
    )


@pytest.fixture(scope="module")
def rlearner():
    return small_rlearner().fit(**ROWS)


@pytest.fixture(scope="module")
def tlearner():
    return small_tlearner().fit(**ROWS)


@pytest.fixture(scope="module")
def split():
    return train_test_split(DF[FEATURES], DF[OUTCOME], DF[TREATMENT], test_size=0.25)


# README


@pytest.mark.slow
def test_readme_fits_an_r_learner_with_default_base_models():
    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.normal(size=(400, 3)), columns=["age", "weight", "height"])
    df["treatment"] = rng.integers(0, 2, 400)
    df["outcomes"] = df["age"] + EFFECT * df["treatment"] + 0.3 * rng.normal(size=400)
    rlearner = RLearner(
        nuisance_model_factory=LGBMRegressor,
        propensity_model_factory=LGBMClassifier,
        treatment_model_factory=LGBMRegressor,
        is_classification=False,
        n_variants=2,
    )

    features = ["age", "weight", "height"]
    rlearner.fit(df[features], df["outcomes"], df["treatment"])
    cate_estimates = rlearner.predict(df[features], is_oos=False)

    assert cate_estimates.shape == (400, 1, 1)
    assert cate_estimates.mean() == pytest.approx(EFFECT, abs=0.3)


# Estimating effects


def test_basic_t_learner_has_three_axes_which_simplify_to_one(tlearner):
    cate_estimates = tlearner.predict(X=DF[FEATURES], is_oos=False)
    one_d_estimates = simplify_output(cate_estimates)

    assert cate_estimates.shape == (len(DF), 1, 1)
    assert one_d_estimates.shape == (len(DF),)
    np.testing.assert_array_equal(one_d_estimates, cate_estimates[:, 0, 0])
    assert one_d_estimates.mean() == pytest.approx(EFFECT, abs=0.4)


def test_basic_r_learner_gives_each_model_kind_its_parameters():
    numbers = {"nuisance": 10, "propensity": 8, "treatment": 3}
    params = {f"{k}_model_params": {"n_estimators": n, "verbose": -1} for k, n in numbers.items()}
    rlearner = small_rlearner(**params)
    rlearner.fit(X=DF[FEATURES], y=DF[OUTCOME], w=DF[TREATMENT])
    cate_estimates = simplify_output(rlearner.predict(X=DF[FEATURES], is_oos=False))

    models = {**rlearner._nuisance_models, **rlearner._treatment_models}
    built = {k: [m.n_estimators for m in get_overall_estimators(own)] for k, own in models.items()}
    assert built == {"outcome_model": [10], "propensity_model": [8], "treatment_model": [3]}
    assert cate_estimates.mean() == pytest.approx(EFFECT, abs=0.4)


# Reuse


def test_reused_outcome_models_serve_an_r_learner_with_other_models_beside_them(rlearner):
    outcome_models = rlearner._nuisance_models["outcome_model"]
    rlearner_new = RLearner(
        propensity_model_factory=LogisticRegression,
        treatment_model_factory=LinearRegression,
        is_classification=False,
        fitted_nuisance_models={"outcome_model": outcome_models},
        propensity_model_params={"max_iter": 500},
        n_variants=2,
    )
    rlearner_new.fit(X=DF[FEATURES], y=DF[OUTCOME], w=DF[TREATMENT])

    asked = {"model_kind": "outcome_model", "model_ord": 0}
    for is_oos in (False, True):
        np.testing.assert_array_equal(
            rlearner_new.predict_nuisance(X=DF[FEATURES], is_oos=is_oos, **asked),
            rlearner.predict_nuisance(X=DF[FEATURES], is_oos=is_oos, **asked),
        )
    found = simplify_output(rlearner_new.predict(DF[FEATURES], is_oos=False))
    assert found.mean() == pytest.approx(EFFECT, abs=0.4)


def test_a_reused_propensity_model_serves_a_dr_learner(rlearner):
    trained_propensity_model = rlearner._nuisance_models["propensity_model"][0]
    drlearner = DRLearner(
        nuisance_model_factory=LGBMRegressor,
        treatment_model_factory=LGBMRegressor,
        nuisance_model_params=SMALL,
        treatment_model_params=SMALL,
        fitted_propensity_model=trained_propensity_model,
        is_classification=False,
        n_variants=2,
    )
    drlearner.fit(X=DF[FEATURES], y=DF[OUTCOME], w=DF[TREATMENT])

    asked = {"model_kind": "propensity_model", "model_ord": 0, "is_oos": False}
    np.testing.assert_array_equal(
        drlearner.predict_nuisance(X=DF[FEATURES], **asked),
        rlearner.predict_nuisance(X=DF[FEATURES], **asked),
    )
    fresh = DRLearner(False, 2, LGBMRegressor, LGBMRegressor, LGBMClassifier, *[SMALL] * 3)
    np.testing.assert_array_equal(
        drlearner.predict(DF[FEATURES], False), fresh.fit(**ROWS).predict(DF[FEATURES], False)
    )


def test_a_model_trained_in_isolation_is_reused():
    model = CrossFitEstimator(
        n_folds=5, estimator_factory=LGBMRegressor, estimator_params=SMALL, random_state=1
    )
    model.fit(DF[FEATURES], DF[OUTCOME])
    learner = RLearner(
        propensity_model_factory=LogisticRegression,
        treatment_model_factory=LinearRegression,
        is_classification=False,
        fitted_nuisance_models={"outcome_model": [model]},
        n_variants=2,
    )
    learner.fit(**ROWS)

    np.testing.assert_array_equal(
        learner.predict_nuisance(DF[FEATURES], "outcome_model", 0, False),
        model.predict(DF[FEATURES], is_oos=False),
    )


# Grid search


@pytest.mark.slow
def test_grid_search_over_a_dr_learner(split):
    X_train, X_validation, y_train, y_validation, w_train, w_validation = split
    assert set(DRLearner.nuisance_model_specifications().keys()) == {
        "variant_outcome_model",
        "propensity_model",
    }
    assert list(DRLearner.treatment_model_specifications().keys()) == ["treatment_model"]
    gs = MetaLearnerGridSearch(
        metalearner_factory=DRLearner,
        metalearner_params={"is_classification": False, "n_variants": 2, "n_folds": 3},
        base_learner_grid={
            "variant_outcome_model": [LinearRegression, LGBMRegressor],
            "propensity_model": [LGBMClassifier, QuadraticDiscriminantAnalysis],
            "treatment_model": [LGBMRegressor],
        },
        param_grid={
            "variant_outcome_model": {"LGBMRegressor": {"n_estimators": [3, 5], "verbose": [-1]}},
            "treatment_model": {"LGBMRegressor": {"n_estimators": [1, 2], "verbose": [-1]}},
            "propensity_model": {"LGBMClassifier": {"n_estimators": [1, 2, 3], "verbose": [-1]}},
        },
    )
    gs.fit(X_train, y_train, w_train, X_validation, y_validation, w_validation)

    assert gs.grid_size_ == len(gs.results_) == len(gs.raw_results_) == 3 * 4 * 2
    assert gs.results_.notna().all(axis=None)
    level = gs.results_.index.get_level_values
    assert (level("variant_outcome_model") == "LinearRegression").sum() == 8
    assert (level("propensity_model") == "QuadraticDiscriminantAnalysis").sum() == 6
    linear = gs.results_[level("variant_outcome_model") == "LinearRegression"]
    score = linear["test_variant_outcome_model_1_neg_root_mean_squared_error"]
    model = LinearRegression().fit(X_train[w_train == 1], y_train[w_train == 1])
    own = w_validation == 1
    rmse = np.sqrt(np.mean((y_validation[own] - model.predict(X_validation[own])) ** 2))
    np.testing.assert_allclose(score, -rmse)


def test_grid_search_reuses_models_with_another_number_of_folds(split):
    X_train, X_validation, y_train, y_validation, w_train, w_validation = split
    params = {"verbose": -1, "n_estimators": 20, "learning_rate": 0.05}
    tl = TLearner(False, 2, LGBMRegressor, nuisance_model_params=params, n_folds=2)
    tl.fit(X_train, y_train, w_train)
    gs = MetaLearnerGridSearch(
        metalearner_factory=XLearner,
        metalearner_params={
            "is_classification": False,
            "n_variants": 2,
            "n_folds": 5,
            "fitted_nuisance_models": {
                "variant_outcome_model": tl._nuisance_models["variant_outcome_model"]
            },
        },
        base_learner_grid={
            "propensity_model": [LGBMClassifier],
            "control_effect_model": [LGBMRegressor, LinearRegression],
            "treatment_effect_model": [LGBMRegressor, LinearRegression],
        },
        param_grid={
            "propensity_model": {"LGBMClassifier": {"n_estimators": [5], "verbose": [-1]}},
            "treatment_effect_model": {"LGBMRegressor": {"n_estimators": [5, 10], "verbose": [-1]}},
            "control_effect_model": {"LGBMRegressor": {"n_estimators": [1, 3], "verbose": [-1]}},
        },
    )
    gs.fit(X_train, y_train, w_train, X_validation, y_validation, w_validation)

    assert len(gs.results_) == 3 * 3
    score = "variant_outcome_model_0_neg_root_mean_squared_error"
    train = tl.evaluate(X_train, y_train, w_train, is_oos=False)
    test = tl.evaluate(X_validation, y_validation, w_validation, is_oos=True)
    np.testing.assert_array_equal(gs.results_[f"train_{score}"], train[score])
    np.testing.assert_array_equal(gs.results_[f"test_{score}"], test[score])


@pytest.mark.slow
def test_an_objective_of_a_study_is_an_r_loss_of_validation_rows(split):
    """The loop of the example with optuna, by hand."""
    X_train, X_validation, y_train, y_validation, w_train, w_validation = split

    def objective(n_estimators_nuisance, max_depth_nuisance, n_estimators_treatment):
        nuisance = {"n_estimators": n_estimators_nuisance, "max_depth": max_depth_nuisance}
        rlearner = RLearner(
            nuisance_model_factory=LGBMRegressor,
            nuisance_model_params={**nuisance, "verbosity": -1},
            propensity_model_factory=LGBMClassifier,
            propensity_model_params={"n_estimators": 5, "verbosity": -1},
            treatment_model_factory=LGBMRegressor,
            treatment_model_params={"n_estimators": n_estimators_treatment, "verbosity": -1},
            is_classification=False,
            n_variants=2,
        )
        rlearner.fit(X=X_train, y=y_train, w=w_train)
        return rlearner.evaluate(X=X_validation, y=y_validation, w=w_validation, is_oos=True)[
            "r_loss_1_vs_0"
        ]

    trials = [(1, 1, 1), (60, 3, 20)]
    losses = [objective(*trial) for trial in trials]

    assert losses[1] < losses[0]  # the first hardly learns anything
    assert losses[1] == objective(*trials[1])


# Explanations


@pytest.fixture(scope="module")
def explainers(rlearner, tlearner):
    def from_estimates(learner):
        return learner.explainer(
            X=DF[FEATURES],
            cate_estimates=learner.predict(X=DF[FEATURES], is_oos=False),
            cate_model_factory=LGBMRegressor,
            cate_model_params={"verbose": -1, "n_estimators": 10},
        )

    return [rlearner.explainer(), from_estimates(tlearner), from_estimates(rlearner)]


def test_feature_importances_are_series_by_name_sorted_downwards(explainers):
    for explainer in explainers:
        (found,) = explainer.feature_importances(feature_names=FEATURES, sort_values=True)

        assert isinstance(found, pd.Series)
        assert set(found.index) == set(FEATURES)
        assert found.is_monotonic_decreasing
        assert found.sum() == explainer.cate_models[0].feature_importances_.sum() > 0


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_shap_values_of_frames_with_categories_add_up_to_the_models(explainers):
    shap = pytest.importorskip("shap")
    for explainer in explainers:
        (found,) = explainer.shap_values(X=DF[FEATURES], shap_explainer_factory=shap.TreeExplainer)

        assert found.shape == DF[FEATURES].shape
        rest = explainer.cate_models[0].predict(DF[FEATURES]) - found.sum(axis=1)
        np.testing.assert_allclose(rest, rest[0], atol=1e-6)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_a_predict_function_for_lime_takes_arrays_of_category_codes(rlearner):
    def predict(X):
        return simplify_output(rlearner.predict(X, is_oos=True))

    X = DF[FEATURES].copy()
    for column in CATEGORICAL:
        X[column] = X[column].cat.codes

    np.testing.assert_allclose(predict(X.to_numpy()), predict(DF[FEATURES]))


# Average effects


def confounded(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Correlated numbers and a 0/1 column, with their propensity of being treated."""
    rng = np.random.default_rng(seed)
    root = rng.uniform(-1, 1, (3, 3))
    X = np.c_[rng.multivariate_normal(np.zeros(3), root @ root.T, n), rng.binomial(1, 0.5, n)]
    e = expit(0.7 * (X[:, 0] + X[:, 1] - X[:, 3]))
    return X, e, pd.DataFrame(X, columns=[f"X{i}" for i in range(4)])


def baseline(X: np.ndarray) -> np.ndarray:
    return X[:, 0] + 2 * X[:, 1] ** 2 + 3 * X[:, 3] * X[:, 1] + X[:, 2] + X[:, 3]


ATE = {"n_estimators": 60, "num_leaves": 12, "verbose": -1, "n_jobs": 1}


def dr_for_averages(outcome_model: type, is_classification: bool, n_variants: int) -> DRLearner:
    return DRLearner(
        nuisance_model_factory=outcome_model,
        treatment_model_factory=DummyRegressor,
        propensity_model_factory=LGBMClassifier,
        is_classification=is_classification,
        n_variants=n_variants,
        nuisance_model_params=ATE,
        propensity_model_params={**ATE, "learning_rate": 0.05},
        n_folds=5,
    )


def test_average_effect_of_a_confounded_treatment_is_the_mean_of_its_pseudo_outcomes():
    X, e, df = confounded()
    rng = np.random.default_rng(1)
    df["W"] = rng.binomial(1, e).astype(float)
    df["Y"] = baseline(X) + df["W"] + rng.normal(size=len(df))
    columns = [f"X{i}" for i in range(4)]
    learner = dr_for_averages(LGBMRegressor, False, 2)

    learner.fit_all_nuisance(X=df[columns], y=df["Y"], w=df["W"])
    est, se = learner.average_treatment_effect(X=df[columns], w=df["W"], y=df["Y"], is_oos=False)
    gamma_i = learner._pseudo_outcome(
        X=df[columns], w=df["W"], y=df["Y"], treatment_variant=1, is_oos=False
    )

    assert est.shape == se.shape == (1,)
    np.testing.assert_allclose(est, gamma_i.mean())
    np.testing.assert_allclose(se, gamma_i.std() / np.sqrt(len(df)))
    naive = df["Y"][df["W"] == 1].mean() - df["Y"][df["W"] == 0].mean()
    assert abs(est[0] - 1) < 3 * se[0] < abs(naive - 1)


def test_average_effects_of_several_arms():
    X, _, df = confounded(seed=2)
    rng = np.random.default_rng(3)
    e = softmax(0.5 * np.c_[-X[:, 0] - X[:, 1], X[:, 0] - X[:, 2], X[:, 1] + X[:, 3]], axis=1)
    df["W"] = (rng.uniform(size=(len(df), 1)) > e.cumsum(axis=1)[:, :-1]).sum(axis=1)
    df["Y"] = baseline(X) + df["W"] + rng.normal(size=len(df))
    columns = [f"X{i}" for i in range(4)]
    learner = dr_for_averages(LGBMRegressor, False, 3)

    learner.fit_all_nuisance(X=df[columns], y=df["Y"], w=df["W"])
    est, se = learner.average_treatment_effect(X=df[columns], y=df["Y"], w=df["W"], is_oos=False)

    assert est.shape == se.shape == (2,)
    assert (np.abs(est - [1, 2]) < 4 * se).all()
    assert (se < 0.3).all()
    for k in (1, 2):
        gamma = learner._pseudo_outcome(df[columns], df["Y"], df["W"], k, False)
        np.testing.assert_allclose(est[k - 1], gamma.mean())


def test_average_effect_on_a_binary_outcome():
    X, e, df = confounded(seed=4)
    rng = np.random.default_rng(5)
    df["W"] = rng.binomial(1, e).astype(float)
    p = [expit(tau + X[:, 0] + 2 * X[:, 1] + X[:, 2]) for tau in (0, 1)]
    df["Y"] = rng.binomial(1, np.where(df["W"] == 1, p[1], p[0]))
    columns = [f"X{i}" for i in range(4)]
    learner = dr_for_averages(LGBMClassifier, True, 2)

    learner.fit_all_nuisance(X=df[columns], y=df["Y"], w=df["W"])
    est, se = learner.average_treatment_effect(X=df[columns], y=df["Y"], w=df["W"], is_oos=False)

    assert abs(est[0] - (p[1] - p[0]).mean()) < 4 * se[0]
    assert se[0] < 0.04


# Known propensities


class FixedPropensityModel(ClassifierMixin, BaseEstimator):
    """A user's own classifier, which expects a series."""

    def __init__(self, propensity_score: float) -> None:
        self.propensity_score = propensity_score

    def fit(self, X: pd.DataFrame, y: pd.Series):
        self.classes_ = np.unique(y.to_numpy())
        assert X.index.equals(y.index)
        return self

    def predict(self, X):
        return np.argmax(self.predict_proba(X), axis=1)

    def predict_proba(self, X):
        return np.full((len(X), 2), [1 - self.propensity_score, self.propensity_score])


def test_a_users_own_propensity_model_says_what_it_knows():
    rlearner = RLearner(
        nuisance_model_factory=LGBMRegressor,
        propensity_model_factory=FixedPropensityModel,
        treatment_model_factory=LGBMRegressor,
        nuisance_model_params=SMALL,
        propensity_model_params={"propensity_score": 0.3},
        treatment_model_params=SMALL,
        is_classification=False,
        n_variants=2,
    )
    rlearner.fit(X=DF[FEATURES], y=DF[OUTCOME], w=DF[TREATMENT])

    found = rlearner.predict_nuisance(
        X=DF[FEATURES], model_kind="propensity_model", model_ord=0, is_oos=False
    )
    np.testing.assert_array_equal(found, np.tile([0.7, 0.3], (len(DF), 1)))
    known = small_rlearner().fit(**ROWS, propensity=0.3)
    np.testing.assert_array_equal(
        rlearner.predict(DF[FEATURES], is_oos=False), known.predict(DF[FEATURES], is_oos=False)
    )


# Sparse inputs


def test_sparse_and_dense_covariates_give_the_same_average_effect():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, size=(1000, 6))
    shift = rng.normal(0, 1, 20)
    W = rng.binomial(1, expit(shift[X[:, 0]]))
    Y = 2 * shift[X[:, 0]] + W + 0.1 * rng.normal(size=1000)
    X_csr = OneHotEncoder(sparse_output=True).fit_transform(X)
    X_np = pd.get_dummies(pd.DataFrame(X), columns=range(6)).values

    found = []
    for covariates in (X_csr, X_np):
        metalearners_dr = DRLearner(
            nuisance_model_factory=LGBMRegressor,
            treatment_model_factory=DummyRegressor,
            propensity_model_factory=LGBMClassifier,
            is_classification=False,
            n_variants=2,
            nuisance_model_params={"verbose": -1, "n_jobs": 1},
            propensity_model_params={"verbose": -1, "n_estimators": 20, "n_jobs": 1},
        )
        metalearners_dr.fit_all_nuisance(X=covariates, y=Y, w=W)
        found.append(metalearners_dr.average_treatment_effect(X=covariates, y=Y, w=W, is_oos=False))

    np.testing.assert_allclose(found[0], found[1])
    (est,), (se,) = found[0]
    assert abs(est - 1) < 4 * se < 0.5


# Generated data


def test_generated_data_have_the_effects_that_they_are_said_to_have():
    from metalearners._utils import get_linear_dimension

    features, categorical_features_idx, n_categories = generate_covariates(
        n_obs=1000,
        n_features=8,
        n_categoricals=3,
        format="pandas",
    )
    propensity_scores = 0.5 * np.ones(1000)
    treatment = generate_treatment(propensity_scores)
    dim = get_linear_dimension(features)
    outcome_function = linear_treatment_effect(dim)
    potential_outcomes = outcome_function(features)
    observed_outcomes, true_cate = compute_experiment_outputs(
        potential_outcomes,
        treatment,
    )

    assert features.shape == (1000, 8)
    assert list(categorical_features_idx) == [5, 6, 7]
    assert dim == 5 + sum(n_categories)
    assert set(np.unique(treatment)) == {0, 1}
    assert abs(treatment.mean() - 0.5) < norm.isf(1e-6) * 0.5 / np.sqrt(1000)
    assert potential_outcomes.shape == (1000, 2)
    assert observed_outcomes.shape == (1000,)
    np.testing.assert_allclose(
        np.ravel(true_cate), potential_outcomes[:, 1] - potential_outcomes[:, 0]
    )


# Features by model kind


def test_each_model_kind_sees_its_own_features():
    names = {
        "propensity_model": ["school_size"],
        "variant_outcome_model": ["success_expect", "school_achievement"],
        "treatment_model": ["gender"],
    }
    learner = DRLearner(
        nuisance_model_factory=LGBMRegressor,
        propensity_model_factory=LGBMClassifier,
        treatment_model_factory=LGBMRegressor,
        nuisance_model_params=SMALL,
        propensity_model_params=SMALL,
        treatment_model_params=SMALL,
        is_classification=False,
        n_variants=2,
        feature_set=names,
    )
    learner.fit(X=DF[FEATURES], y=DF[OUTCOME], w=DF[TREATMENT])

    models = {**learner._nuisance_models, **learner._treatment_models}
    for kind, own in models.items():
        for model in get_overall_estimators(own):
            assert model.feature_name_ == names[kind]
    by_gender = pd.Series(learner.predict(DF[FEATURES], is_oos=True)[:, 0, 0])
    assert (by_gender.groupby(DF["gender"], observed=True).nunique() == 1).all()


# Missing values and categories


def with_gaps() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    X = DF[FEATURES].copy()
    for name in ("ethnicity", "school_urbanicity", "school_size"):
        X[name] = X[name].mask(rng.uniform(size=len(X)) < 0.1)
    return X


BOOSTED = {
    "lightgbm": (LGBMRegressor, LGBMClassifier, SMALL),
    "scikit-learn": (
        HistGradientBoostingRegressor,
        HistGradientBoostingClassifier,
        {"max_iter": 5, "categorical_features": "from_dtype"},
    ),
}


@pytest.mark.parametrize("package", BOOSTED)
@pytest.mark.parametrize("learner", [SLearner, TLearner, XLearner, RLearner, DRLearner])
def test_missing_values_and_categories_reach_the_base_models(package, learner):
    regressor, classifier, params = BOOSTED[package]
    X = with_gaps()
    made = learner(
        nuisance_model_factory=regressor,
        propensity_model_factory=classifier,
        treatment_model_factory=regressor,
        nuisance_model_params=params,
        propensity_model_params=params,
        treatment_model_params=params,
        is_classification=False,
        n_variants=2,
        n_folds=2,
    )
    made.fit(X=X, y=DF[OUTCOME], w=DF[TREATMENT], share_bins=False)

    for is_oos in (False, True):
        found = made.predict(X, is_oos=is_oos)
        assert found.shape == (len(X), 1, 1)
        assert np.isfinite(found).all()
    if learner is TLearner:
        own = DF[TREATMENT] == 1
        seed = made._nuisance_models["variant_outcome_model"][1]._overall_estimator.random_state
        model = regressor(**params, random_state=seed).fit(X[own], DF[OUTCOME][own])
        outcomes = made.predict_conditional_average_outcomes(X, is_oos=True)
        np.testing.assert_allclose(outcomes[:, 1, 0], model.predict(X))


# Survival


class SurvivalModel(RegressorMixin, BaseEstimator):
    """A user's own model of frames, which takes no weights and reads a column as a flag."""

    def __init__(self, n_estimators: int = 100) -> None:
        self.n_estimators = n_estimators

    def fit(self, X, y):
        seen = X["censored"].astype(int) == 0
        self.model_ = LinearRegression().fit(self._numbers(X)[seen], y[seen])
        return self

    def predict(self, X):
        return self.model_.predict(self._numbers(X))

    def _numbers(self, X):
        return X.drop(columns="censored").astype(float)


def test_weights_of_censored_rows_reach_the_treatment_model_alone():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"age": rng.normal(25, 5, 432), "prio": rng.integers(0, 9, 432)})
    X["censored"] = pd.Series(rng.binomial(1, 0.3, 432)).astype("category")
    w = pd.Series(rng.binomial(1, 0.5, 432))
    y = 20 + 0.1 * X["age"] + w + rng.normal(size=432)
    weight = pd.Series(rng.uniform(1, 2, 432)).mask(X["censored"] == 1, 0)

    tlearner = TLearner(False, 2, SurvivalModel, nuisance_model_params={"n_estimators": 5})
    tlearner.fit(X, y, w)
    drlearner = DRLearner(
        False,
        2,
        nuisance_model_factory=SurvivalModel,
        propensity_model_factory=LGBMClassifier,
        treatment_model_factory=LinearRegression,
        nuisance_model_params={"n_estimators": 5},
        propensity_model_params={"verbose": -1, "n_estimators": 5},
    )
    drlearner.fit(X, y, w, fit_params={"treatment": {"treatment_model": {"sample_weight": weight}}})

    assert simplify_output(tlearner.predict(X, True)).mean() == pytest.approx(1, abs=0.5)
    target = drlearner._pseudo_outcome(X, y, w, 1, False)
    by_hand = LinearRegression().fit(X, target, sample_weight=weight)
    np.testing.assert_allclose(
        simplify_output(drlearner.predict(X, True)), by_hand.predict(X), atol=1e-8
    )
