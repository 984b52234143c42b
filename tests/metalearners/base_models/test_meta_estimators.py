"""Models that wrap models: they learn the effect, take weights, repeat, and share the cores."""

import threading

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, cpu_count, delayed
from lightgbm import LGBMRegressor
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import RFE, RFECV
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from flows.config.parts.models import ModelSpec
from flows.config.reading import parse_config
from flows.errors import InputError
from flows.inputs.models import make_learner, resolve
from metalearners import DRLearner, RLearner, TLearner
from metalearners.base_models.capabilities import (
    takes_arm_as_category,
    takes_categories,
    takes_missing,
)
from metalearners.base_models.weights import routing_weights, weight_argument
from metalearners.digests.digest import digest
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.execute import joblib_executor, run_stage, serial
from metalearners.fits.plan import Regression
from metalearners.fits.store import MemoryStore
from tests.simulate import draw

HALVING = resolve(
    ModelSpec(
        estimator="sklearn.model_selection.HalvingGridSearchCV",
        params={"estimator": {"estimator": "sklearn.linear_model.Ridge"}, "param_grid": {}},
    ),
    "models",
).factory
SHUFFLED = KFold(3, shuffle=True)
ALPHAS = {"alpha": [1e-3, 1e4]}
TREE = LGBMRegressor(n_estimators=20, num_leaves=8, n_jobs=1)
SCALED = make_pipeline(StandardScaler(), Ridge())
LOGISTIC = LogisticRegression()

REGRESSORS = {
    "a search": GridSearchCV(Ridge(), ALPHAS, cv=SHUFFLED),
    "a search of trees": GridSearchCV(TREE, {"learning_rate": [0.1, 0.2]}, cv=2),
    "a search of pipelines": GridSearchCV(SCALED, {"ridge__alpha": [0.1, 1e4]}, cv=SHUFFLED),
    "a search of models": GridSearchCV(
        Pipeline([("fit", Ridge())]), {"fit": [RandomForestRegressor(5), Ridge()]}, cv=2
    ),
    "a random search": RandomizedSearchCV(
        Ridge(), {"alpha": loguniform(0.01, 10)}, n_iter=3, cv=SHUFFLED
    ),
    "a halving search": HALVING(Ridge(), ALPHAS, cv=SHUFFLED, min_resources=200),
    "selected features": RFECV(LinearRegression(), cv=SHUFFLED),
    "bagging": BaggingRegressor(Ridge(), 10),
    "a stack": StackingRegressor([("a", SCALED), ("b", TREE)], cv=SHUFFLED),
    "a vote": VotingRegressor([("a", SCALED), ("b", Ridge())]),
    "a transformed target": TransformedTargetRegressor(SCALED, transformer=StandardScaler()),
    "a pipeline": make_pipeline(StandardScaler(), GridSearchCV(Ridge(), ALPHAS, cv=SHUFFLED)),
    "a forest": RandomForestRegressor(40, min_samples_leaf=10),
}
CLASSIFIERS = {
    "a search": GridSearchCV(LOGISTIC, {"C": [0.1, 1]}, cv=3, scoring="neg_log_loss"),
    "selected features": RFECV(LOGISTIC, cv=3, scoring="neg_log_loss"),
    "bagging": BaggingClassifier(LOGISTIC, 5),
    "a stack": StackingClassifier([("a", make_pipeline(StandardScaler(), LOGISTIC))], cv=3),
    "a vote": VotingClassifier([("a", LOGISTIC)], voting="soft"),
    "calibrated": CalibratedClassifierCV(LOGISTIC, cv=SHUFFLED),
    "a pipeline": make_pipeline(StandardScaler(), LOGISTIC),
    "a forest": RandomForestClassifier(50, min_samples_leaf=20),
}


def spec_of(model):
    return EstimatorSpec(type(model), model.get_params(deep=False))


def learner_of(learner, model=None, propensity=LOGISTIC):
    """A learner of linear models, but for one or two that are told."""
    stage = "treatment" if learner.TREATMENT_KINDS else "nuisance"
    factories = {f"{s}_model_factory": Ridge for s in ("nuisance", "treatment")}
    told = {} if model is None else {stage: model}
    for name, one in {**told, "propensity": propensity}.items():
        factories |= {
            f"{name}_model_factory": type(one),
            f"{name}_model_params": one.get_params(deep=False),
        }
    return learner(False, 2, **factories, n_folds=2)


def effects(learner, s, **how):
    return learner.fit(s.X, s.y, s.w, **how).predict(s.X, is_oos=False)[:, :, 0]


# What they learn, again and again


@pytest.mark.parametrize(
    ("learner", "model"),
    [
        *((RLearner, model) for model in REGRESSORS.values()),
        *((TLearner, REGRESSORS[name]) for name in ("a search", "selected features", "a vote")),
    ],
    ids=[*REGRESSORS, "a search, T", "selected features, T", "a vote, T"],
)
def test_effect_is_found_and_repeats_bit_for_bit(learner, model):
    s = draw(700, noise=0.5)
    found = effects(learner_of(learner, model), s)

    assert np.sqrt(np.mean((found - s.tau) ** 2)) < 0.45  # the effects' own deviation is 0.5
    assert abs(np.mean(found - s.tau)) < 0.15
    again = effects(learner_of(learner, model), s, n_jobs_base_learners=2)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("model", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_effect_is_found_with_propensities_of_each(model):
    s = draw(700, noise=0.5)
    found = effects(learner_of(DRLearner, propensity=model), s)

    assert abs(np.mean(found - s.tau)) < 0.15
    again = effects(learner_of(DRLearner, propensity=model), s, n_jobs_base_learners=2)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("threads", [1, 2, None])
@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(30, n_jobs=2),
        make_pipeline(StandardScaler(), RandomForestRegressor(30, n_jobs=2)),
        BaggingRegressor(DecisionTreeRegressor(), 15, n_jobs=2),
        StackingRegressor([("a", RandomForestRegressor(15, n_jobs=2))], cv=2),
    ],
    ids=["forest", "pipeline", "bagging", "stack"],
)
def test_sums_over_threads_have_the_same_bits(model, threads):
    s = draw(300)
    asked = {("m", "0"): Regression(spec_of(model), s.y, 2)}

    def shared(units, store):
        from metalearners.fits.fit import fit_unit

        for unit in units:
            store.keep(unit.key, fit_unit(unit, store, threads))

    one = run_stage(asked, s.dataset(), MemoryStore(), serial)["m", "0"].column
    for _ in range(2):
        many = run_stage(asked, s.dataset(), MemoryStore(), shared)["m", "0"].column
        np.testing.assert_array_equal(many, one)


# Weights

SIZE = 30  # of a block, a third of which is corrupted, so that folds of good rows stay the same
FORKED = StackingRegressor(
    [("a", Ridge()), ("b", make_pipeline(PolynomialFeatures(), Ridge()))], cv=KFold(3)
)
WEIGHTED = {
    "a search": lambda n: GridSearchCV(Ridge(), ALPHAS, cv=3),
    "a search with a scorer": lambda n: GridSearchCV(
        Ridge(), ALPHAS, cv=3, scoring=make_scorer(mean_absolute_error, greater_is_better=False)
    ),
    "a search with two scores": lambda n: GridSearchCV(
        Ridge(), ALPHAS, cv=3, scoring=["r2", "neg_max_error"], refit="r2"
    ),
    "a search of pipelines": lambda n: GridSearchCV(
        make_pipeline(PolynomialFeatures(), Ridge()), {"ridge__alpha": [1e-3, 1e4]}, cv=3
    ),
    "a halving search": lambda n: HALVING(Ridge(), ALPHAS, cv=3, min_resources=n),
    "selected features": lambda n: RFECV(LinearRegression(), cv=KFold(3)),
    "fewer features": lambda n: RFE(LinearRegression(), n_features_to_select=2),
    "a stack": lambda n: clone(FORKED),
    "a stack with its default end": lambda n: clone(FORKED).set_params(final_estimator=None),
    "a vote": lambda n: VotingRegressor([("a", Ridge()), ("b", SCALED.steps[1][1])]),
    "a transformed target": lambda n: TransformedTargetRegressor(Ridge()),
    "a forest": lambda n: RandomForestRegressor(3, bootstrap=False, random_state=0),
    "a pipeline": lambda n: make_pipeline(PolynomialFeatures(), GridSearchCV(Ridge(), ALPHAS)),
    "a calibrated one": lambda n: CalibratedClassifierCV(LOGISTIC, cv=KFold(3)),
    "a stack of classifiers": lambda n: StackingClassifier([("a", LOGISTIC)], cv=KFold(3)),
}


def corrupted():
    """Rows of which some have outcomes from elsewhere, and which those are."""
    s = draw(3 * SIZE, noise=0.3)
    bad = np.arange(3 * SIZE) % SIZE >= 2 * SIZE // 3
    return s.X, np.where(bad, 50 * np.cos(np.arange(3 * SIZE)), s.y), bad


def fitted(model, X, y, weight=None):
    if weight is None:
        return model.fit(X, y)
    with routing_weights(model):
        return model.fit(X, y, **{weight_argument(model): weight})


@pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED)
def test_rows_without_weight_are_as_good_as_absent(make):
    X, y, bad = corrupted()
    model = make(3 * SIZE)
    classes = is_classifier(model)
    y = (y > 0).astype(int) if classes else y
    method = "predict_proba" if classes else "predict"

    weighted = getattr(fitted(model, X, y, 1.0 - bad), method)(X)
    absent = getattr(fitted(make(2 * SIZE), X[~bad], y[~bad]), method)(X)
    naive = getattr(fitted(make(3 * SIZE), X, y), method)(X)

    np.testing.assert_allclose(weighted, absent, rtol=1e-3, atol=1e-3)
    assert np.abs(naive - absent).max() > 0.05


@pytest.mark.parametrize(
    "model",
    [
        BaggingRegressor(LinearRegression(), 10, random_state=0),
        GridSearchCV(BaggingRegressor(LinearRegression(), 10, random_state=0), {}, cv=3),
        AdaBoostRegressor(LinearRegression(), n_estimators=3, random_state=0),
        GridSearchCV(AdaBoostRegressor(LinearRegression(), n_estimators=3, random_state=0), {}),
    ],
    ids=["bagging", "searched bagging", "boosting", "searched boosting"],
)
def test_rows_without_weight_are_never_drawn(model):
    X, y, bad = corrupted()
    found = fitted(model, X, y, 1.0 - bad).predict(X)
    absent = clone(model).fit(X[~bad], y[~bad]).predict(X)

    assert np.abs(found - absent).max() < 0.8
    assert np.abs(clone(model).fit(X, y).predict(X) - absent).max() > 2


@pytest.mark.parametrize(
    "model",
    [
        GridSearchCV(KNeighborsRegressor(), {}),
        RFECV(KNeighborsRegressor()),
        VotingRegressor([("a", Ridge()), ("b", KNeighborsRegressor())]),
        CalibratedClassifierCV(make_pipeline(StandardScaler(), KNeighborsRegressor())),
        make_pipeline(GridSearchCV(KNeighborsRegressor(), {})),
    ],
    ids=lambda model: type(model).__name__,
)
def test_wrappers_of_models_without_weights_take_none(model):
    assert weight_argument(model) is None


# Missing values and categories


@pytest.mark.parametrize(
    ("wrap", "missing", "categories"),
    [
        (lambda m: GridSearchCV(m, {}, cv=2), True, True),
        (lambda m: VotingRegressor([("a", m)]), True, True),
        (lambda m: StackingRegressor([("a", m)], cv=2), True, True),
        (lambda m: StackingRegressor([("a", m)], cv=2, passthrough=True), False, False),
        (TransformedTargetRegressor, True, True),
        (lambda m: RFECV(m, cv=2), True, False),
        (lambda m: BaggingRegressor(m, 2), True, False),
        (lambda m: AdaBoostRegressor(m, n_estimators=2), False, False),
    ],
)
def test_wrappers_take_what_their_models_do_unless_they_look_themselves(wrap, missing, categories):
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.normal(size=(80, 2)), columns=["a", "b"]), rng.normal(size=80)
    inner = LGBMRegressor(n_estimators=2, verbosity=-1)
    cases = [
        (takes_missing, missing, X.assign(a=X["a"].where(X.index > 3))),
        (takes_categories, categories, X.assign(a=pd.Categorical(np.arange(80) % 2 > 0))),
        (takes_categories, categories, X.assign(a=pd.Categorical(["u", "v"] * 40))),
    ]
    for claim, expected, features in cases[::2]:
        assert claim(wrap(inner)) is expected
        if expected:
            wrap(inner).fit(features, y).predict(features)
        else:
            with pytest.raises(ValueError, match=r"NaN|convert string"):
                wrap(inner).fit(features, y)
        assert not claim(wrap(DummyRegressor())) or claim is takes_missing
    assert takes_arm_as_category(wrap(inner)) is categories
    assert not takes_missing(wrap(LinearRegression()))


# Seeds


def test_splitters_get_the_seed_too():
    spec = EstimatorSpec(GridSearchCV, {"estimator": Ridge(), "param_grid": {}, "cv": SHUFFLED})

    assert spec.build(seed=5).cv.random_state == 5
    assert SHUFFLED.random_state is None
    own = EstimatorSpec(GridSearchCV, {**spec.params, "cv": KFold(3, shuffle=True, random_state=2)})
    assert own.build(seed=5).cv.random_state == 2


def test_candidates_in_a_grid_get_the_seed_and_one_thread():
    grid = {"fit": [RandomForestRegressor(n_jobs=2), Ridge()]}
    built = spec_of(GridSearchCV(Pipeline([("fit", Ridge())]), grid)).build(seed=5, threads=1)

    assert built.param_grid["fit"][0].random_state == 5
    assert built.param_grid["fit"][0].n_jobs == 1
    assert grid["fit"][0].random_state is None


@pytest.mark.parametrize("alias", ["seed", "random_seed"])
def test_a_seed_under_another_name_is_left_alone(alias):
    found = EstimatorSpec(LGBMRegressor, {alias: 3}).build(seed=5).get_params()

    assert found[alias] == 3
    assert found["random_state"] is None


def test_xgboost_gives_the_same_bits_on_any_number_of_threads():
    xgboost = pytest.importorskip("xgboost")
    s = draw(2000)
    spec = EstimatorSpec(xgboost.XGBRegressor, {"n_estimators": 10, "subsample": 0.5})

    one, two = (spec.build(3, n).fit(s.X, s.y).predict(s.X) for n in (1, 2))

    np.testing.assert_array_equal(one, two)


def test_catboost_is_seeded_and_leaves_no_files(tmp_path, monkeypatch):
    catboost = pytest.importorskip("catboost")
    monkeypatch.chdir(tmp_path)
    s = draw(300)
    spec = EstimatorSpec(catboost.CatBoostRegressor, {"n_estimators": 5, "thread_count": 8})
    built = spec.build(seed=3, threads=1)

    assert built.get_params()["thread_count"] == 1
    a, b = (spec.build(3, n).fit(s.X, s.y).predict(s.X) for n in (1, None))
    np.testing.assert_array_equal(a, b)
    search = GridSearchCV(spec.build(1, 1), {"depth": [2, 3]}, cv=2)
    with pytest.warns(
        UserWarning, match=r"CatBoostRegressor\.score does not support sample_weight"
    ):
        fitted(search, s.X, s.y, np.ones(300))
    assert not list(tmp_path.iterdir())


# Identity


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda: KFold(3, shuffle=True), KFold(4, shuffle=True)),
        (
            lambda: make_scorer(mean_absolute_error),
            make_scorer(mean_absolute_error, sample_weight=1),
        ),
        (lambda: loguniform(1, 10), loguniform(1, 9)),
        (lambda: np.log1p, np.expm1),
        (lambda: {"num_leaves": 3}, {"num_leaves": 4}),
    ],
)
def test_values_of_searches_have_digests(make, other):
    assert digest(make()) == digest(make()) != digest(other)


def test_a_splitter_with_a_generator_has_none():
    with pytest.raises(TypeError, match="content digest"):
        digest(KFold(3, shuffle=True, random_state=np.random.RandomState(0)))


@pytest.mark.parametrize("alias", ["num_threads", "nthread", "nthreads", "num_thread"])
def test_threads_under_any_name_are_capped_and_no_identity(alias):
    spec = EstimatorSpec(LGBMRegressor, {alias: 8})

    assert spec.digest == EstimatorSpec(LGBMRegressor).digest
    assert spec.build(threads=1).get_params()[alias] == 1
    assert spec.build().get_params()[alias] == 8


# Cores

_running: set[int] = set()
_most = [0]
_lock = threading.Lock()


class Watched(RegressorMixin, BaseEstimator):
    """Works in as many threads as it is told, and notes how many work at a time in all."""

    def __init__(self, n_jobs=None):
        self.n_jobs = n_jobs

    def fit(self, X, y):
        Parallel(self.n_jobs, prefer="threads")(delayed(_work)() for _ in range(6))
        self.mean_ = y.mean()
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def _work():
    with _lock:
        _running.add(threading.get_ident())
        _most[0] = max(_most[0], len(_running))
    threading.Event().wait(0.005)
    with _lock:
        _running.discard(threading.get_ident())


@pytest.mark.parametrize(
    "model",
    [
        Watched(n_jobs=4),
        Watched(n_jobs=-1),
        GridSearchCV(Watched(n_jobs=3), {}, cv=2, n_jobs=-1),
        BaggingRegressor(Watched(n_jobs=3), 3, n_jobs=-1),
        make_pipeline(StandardScaler(), VotingRegressor([("a", Watched(3))], n_jobs=4)),
    ],
    ids=["model", "all cores", "search", "bagging", "pipeline"],
)
def test_levels_of_parallelism_never_add_up_to_more_than_the_cores(model):
    s = draw(60)
    _most[0] = 0
    asked = {("m", "0"): Regression(spec_of(model), s.y, 4)}
    run_stage(asked, s.dataset(), MemoryStore(), joblib_executor(2))

    assert 0 < _most[0] <= max(2, cpu_count())


def test_levels_share_the_threads_of_a_fit():
    search = GridSearchCV(LGBMRegressor(n_jobs=8), {})

    def threads(**given):
        built = spec_of(clone(search).set_params(**given)).build(threads=4)
        return built.n_jobs, built.estimator.n_jobs

    assert threads() == (1, 4)
    assert threads(n_jobs=2) == (2, 2)
    assert threads(n_jobs=8) == (4, 1)
    assert threads(n_jobs=2, estimator__n_jobs=None) == (2, 2)


# In a config


def named(path, **params):
    return {"estimator": path, "params": params} if params else {"estimator": path}


RIDGE = named("sklearn.linear_model.Ridge")
LOGIT = named("sklearn.linear_model.LogisticRegression")
SCALER = named("sklearn.preprocessing.StandardScaler")
FOLDS = named("sklearn.model_selection.KFold", n_splits=3, shuffle=True)
PIPE = named("sklearn.pipeline.Pipeline", steps=[["scale", SCALER], ["fit", RIDGE]])
SEARCH = named(
    "sklearn.model_selection.GridSearchCV",
    estimator=PIPE,
    param_grid={"fit__alpha": [0.1, 10.0], "scale": [SCALER, "passthrough"]},
    cv=FOLDS,
)
CONFIGS = {
    "a search": SEARCH,
    "a random search": named(
        "sklearn.model_selection.RandomizedSearchCV",
        estimator=named("lightgbm.LGBMRegressor", n_estimators=3),
        param_distributions=[{"num_leaves": [3, 4], "num_threads": [1]}],
        n_iter=2,
    ),
    "a halving search": named(
        "sklearn.model_selection.HalvingGridSearchCV",
        estimator=RIDGE,
        param_grid={"alpha": [1, 2]},
        cv=FOLDS,
    ),
    "selected features": named("sklearn.feature_selection.RFECV", estimator=RIDGE, cv=3),
    "bagging": named("sklearn.ensemble.BaggingRegressor", estimator=RIDGE, n_estimators=2),
    "a search of bagged models": named(
        "sklearn.model_selection.GridSearchCV",
        estimator=named("sklearn.ensemble.BaggingRegressor", estimator=RIDGE),
        param_grid={"estimator": [RIDGE, named("sklearn.linear_model.Lasso")]},
    ),
    "a stack": named(
        "sklearn.ensemble.StackingRegressor",
        estimators=[["a", RIDGE], ["b", PIPE]],
        final_estimator=RIDGE,
    ),
    "a vote": named("sklearn.ensemble.VotingRegressor", estimators=[["a", RIDGE], ["b", PIPE]]),
    "a transformed target": named(
        "sklearn.compose.TransformedTargetRegressor", regressor=PIPE, transformer=SCALER
    ),
    "a pipeline": PIPE,
    "a forest": named("sklearn.ensemble.RandomForestRegressor", n_estimators=5, n_jobs=-1),
    "xgboost": named("xgboost.XGBRegressor", n_estimators=3, eta=0.3, nthread=2),
}
BASIC = {"source": "data.parquet", "outcome": "y", "treatment": "w", "control": 0}


def config_of(model, **more):
    models = {"treatment": model, "outcome": RIDGE, "propensity": LOGIT, **more}
    return parse_config({"data": BASIC, "learners": ["RLearner"], "models": models})


@pytest.mark.parametrize("model", CONFIGS.values(), ids=CONFIGS)
def test_nested_specifications_are_read_fitted_and_written_back(model, tmp_path):
    if model["estimator"].startswith("xgboost"):
        pytest.importorskip("xgboost")
    from flows.config.reading import load_config

    config = config_of(model)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "config.yaml") == config
    s = draw(200)
    found = effects(make_learner("RLearner", config, 2), s, n_jobs_cross_fitting=2)
    np.testing.assert_array_equal(found, effects(make_learner("RLearner", config, 2), s))


@pytest.mark.parametrize(
    "model",
    [
        named(
            "sklearn.calibration.CalibratedClassifierCV",
            estimator=named("sklearn.ensemble.RandomForestClassifier", n_estimators=3),
            cv=FOLDS,
        ),
        named("sklearn.ensemble.StackingClassifier", estimators=[["a", LOGIT]]),
    ],
    ids=["calibrated", "a stack"],
)
def test_classifiers_nest_in_a_config_too(model):
    learner = make_learner("RLearner", config_of(RIDGE, propensity=model), 2)

    assert np.isfinite(effects(learner, draw(200))).all()


@pytest.mark.slow
def test_run_with_a_search_of_pipelines(run, settings):
    settings["models"] = {"outcome": SEARCH, "propensity": LOGIT, "treatment": SEARCH}
    first, second = run(settings), run(settings)

    assert abs(first.estimates["cate.DRLearner.1"].mean() - 1) < 0.4
    assert second.fits["executed"] == 0


def search(estimator=RIDGE, **params):
    return named("sklearn.model_selection.GridSearchCV", estimator=estimator, **params)


BAD = {
    "a splitter for a model": (FOLDS, "class with scikit-learn's estimator interface"),
    "a splitter of groups": (
        search(param_grid={}, cv=named("sklearn.model_selection.GroupKFold")),
        "params.cv: expected a splitter that needs no groups; GroupKFold does.*Name another",
    ),
    "a mistyped parameter of a splitter": (
        search(param_grid={}, cv=named("sklearn.model_selection.KFold", n_split=3)),
        "params.cv: KFold has no parameter 'n_split'. Did you mean 'n_splits'",
    ),
    "a splitter that won't": (
        search(param_grid={}, cv=named("sklearn.model_selection.KFold", n_splits=1)),
        "params.cv: KFold can't be built: k-fold cross-validation requires at least one",
    ),
    "a foreign splitter": (
        search(param_grid={}, cv=named("os.system")),
        "params.cv: .*found 'os.system'. Nothing of it was imported",
    ),
    "a mistyped name in a grid": (
        search(param_grid={"alph": [1]}),
        "param_grid: Ridge has no parameter 'alph'. Did you mean 'alpha'",
    ),
    "a mistyped name in the depth of a grid": (
        search(PIPE, param_grid={"fit__alph": [1]}),
        "param_grid: Ridge has no parameter 'alph'",
    ),
    "a step that isn't there": (
        search(PIPE, param_grid={"fti__alpha": [1]}),
        "Invalid parameter 'fti'",
    ),
    "a number for a list": (
        search(param_grid={"alpha": 1}),
        "param_grid.alpha: expected a list of values; found 1. Write",
    ),
    "a list for a map": (search(param_grid=[3]), "param_grid: expected a map.*found 3"),
    "a wrong value in a grid": (search(param_grid={"alpha": [-1]}), "'alpha' parameter of Ridge"),
    "a folder by way of a grid": (
        search(PIPE, param_grid={"memory": ["/tmp"]}),
        "expected no parameter such as 'memory'",
    ),
    "a file by way of a grid": (
        search(
            named("lightgbm.LGBMRegressor"), param_grid={"forcedsplits_filename": ["/etc/passwd"]}
        ),
        "expected no parameter such as 'forcedsplits_filename'",
    ),
    "a function by its path": (
        named(
            "sklearn.pipeline.Pipeline",
            steps=[
                [
                    "select",
                    named(
                        "sklearn.feature_selection.SelectKBest",
                        score_func="sklearn.feature_selection.f_regression",
                    ),
                ],
                ["fit", RIDGE],
            ],
        ),
        "'score_func' parameter of SelectKBest must be a callable",
    ),
    "a score that isn't there": (search(param_grid={}, scoring="r3"), "'scoring' parameter of Gr"),
    "a search without weights": (
        search(named("sklearn.neighbors.KNeighborsRegressor"), param_grid={}),
        "GridSearchCV.fit takes no sample_weight",
    ),
    "a parameter xgboost would only warn of": (
        named("xgboost.XGBRegressor", max_dept=3),
        "XGBRegressor has no parameter 'max_dept'. Did you mean 'max_depth'",
    ),
    "a package that isn't there": (
        named("cuml.ensemble.RandomForestRegressor"),
        r"'cuml.ensemble' can't be imported .*Install its package \(pip install cuml-cu12\)",
    ),
}


@pytest.mark.parametrize(("model", "match"), BAD.values(), ids=BAD)
def test_bad_nested_specifications_are_refused(model, match):
    if model["estimator"].startswith("xgboost"):
        pytest.importorskip("xgboost")
    with pytest.raises(InputError, match=match):
        make_learner("RLearner", config_of(model), 2)
