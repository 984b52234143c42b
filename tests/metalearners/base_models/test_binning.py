"""Fits of LightGBM that share bins: the same as LightGBM's own subsets, and never a surprise."""

import gc
import pickle
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from scipy import sparse
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from metalearners import DRLearner, SLearner, TLearner
from metalearners.base_models import binning
from metalearners.base_models.binned_sets import BinnedSets
from metalearners.base_models.binning import own_bins
from metalearners.base_models.rows import as_mask
from metalearners.base_models.training import Training, fit
from metalearners.data.dataset import Dataset
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.plan import Regression, plan_stage
from metalearners.store import MemoryStore
from tests.simulate import draw

N = 600
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 5))
X[:, 3] = RNG.integers(4, size=N)
X[:, 4] *= RNG.uniform(size=N) < 0.3  # mostly zeros
X[RNG.uniform(size=N) < 0.1, 0] = np.nan
Y = np.nan_to_num(X[:, 0]) + X[:, 1] * X[:, 3] + RNG.normal(size=N)
CLASSES = (np.argsort(np.argsort(Y)) * 3 // N).astype(float)
HALF = np.flatnonzero(RNG.uniform(size=N) < 0.5)
ALL = np.arange(N)
SMALL = {"n_estimators": 5, "min_child_samples": 5, "n_jobs": 1, "verbosity": -1}
FIXED = {"feature_pre_filter": False, "data_random_seed": 1}
NAMED = pd.DataFrame(X, columns=list("abcde")).assign(
    d=pd.Categorical(np.array(["w", "x", "y", "z"])[X[:, 3].astype(int)])
)
CONTAINERS = {
    "float64": X,
    "float32": X.astype(np.float32),
    "by columns": np.asfortranarray(X),
    "whole numbers": np.nan_to_num(X * 10).astype(np.int64),
    "pandas with categories": NAMED,
    "csr": sparse.csr_matrix(np.nan_to_num(X)),
    "csc": sparse.csc_matrix(np.nan_to_num(X)),
    "polars": pl.DataFrame(X, schema=list("abcde")),
    "polars with categories": pl.DataFrame(X[:, :3], schema=list("abc")).with_columns(
        d=pl.Series(NAMED["d"].astype(str)).cast(pl.Categorical)
    ),
    "arrow": pl.DataFrame(X, schema=list("abcde")).to_arrow(),
}


def job(X=X, y=Y, train=ALL, test=None, bins="matrix", **changed) -> Training:
    classes = changed.pop("method", "predict")
    plain = {"weight": None, "arm": None, "n_arms": 0, "interactions": False}
    return Training(
        X=X,
        target=y,
        train=as_mask(train, N),
        test=test,
        method=classes,
        bins=bins,
        **{**plain, **changed},
    )


def fitted(model, training):
    assert own_bins(model, training.X) is None
    fit(model, training, threads=1)
    return model


def trees(model) -> str:
    """A model's text without its parameters, among which are those of the set."""
    return model.booster_.model_to_string().partition("\nparameters:")[0]


def names_of(model) -> list[str] | None:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else list(names)


@pytest.fixture(autouse=True)
def _no_sets(monkeypatch):
    assert own_bins(LGBMRegressor(), X) is None  # its first call tries LightGBM
    monkeypatch.setattr(binning, "_sets", BinnedSets())


# The same fits


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_fit_on_all_rows_is_the_plain_fit(container):
    given = CONTAINERS[container]

    shared = fitted(LGBMRegressor(**SMALL, random_state=3), job(given))
    plain = fitted(LGBMRegressor(**SMALL, random_state=3), job(given, bins=""))

    assert trees(shared) == trees(plain)
    assert len(binning._sets) == 1
    assert vars(shared).keys() == vars(plain).keys()
    assert list(shared.feature_name_) == list(plain.feature_name_)
    assert names_of(shared) == names_of(plain)


@pytest.mark.parametrize("container", ["float64", "pandas with categories", "csr"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"max_bins": 15},
        {"subsample": 0.5, "subsample_freq": 1, "random_state": 4},
        {"subsample_for_bin": 100, "random_state": 4},  # bins of some rows
        {"zero_as_missing": True, "colsample_bytree": 0.6},
    ],
)
def test_a_fit_on_some_rows_is_lightgbms_own_on_a_subset(container, params):
    given = CONTAINERS[container]

    shared = fitted(LGBMRegressor(**SMALL, **params), job(given, train=HALF))

    own = {**shared.get_params(), **FIXED, "objective": "regression"}
    rounds = own.pop("n_estimators")
    own.pop("importance_type")
    whole = lightgbm.Dataset(given, np.zeros(N), params=own, free_raw_data=False)
    subset = whole.subset(HALF.tolist()).construct()
    subset.set_label(Y[HALF])
    booster = lightgbm.train(own, subset, rounds)
    taken = given[HALF] if container != "pandas with categories" else given.iloc[HALF]
    np.testing.assert_array_equal(shared.predict(taken), booster.predict(taken))
    assert trees(shared) == booster.model_to_string().partition("\nparameters:")[0]


def test_weights_and_classes_are_the_plain_fits():
    weight = RNG.uniform(1, 2, size=N)
    how = {"y": CLASSES, "weight": weight, "method": "predict_proba", "test": ALL}

    shared, plain = LGBMClassifier(**SMALL), LGBMClassifier(**SMALL)
    ours, _ = fit(shared, job(**how), threads=1)
    theirs, _ = fit(plain, job(**how, bins=""), threads=1)

    assert ours.shape == (N, 3)
    np.testing.assert_array_equal(ours, theirs)


def test_outcomes_far_from_0_are_centred_alike():
    ours, offset = fit(LGBMRegressor(**SMALL), job(y=Y + 1e9, test=ALL), threads=1)
    theirs, same = fit(LGBMRegressor(**SMALL), job(y=Y + 1e9, test=ALL, bins=""), threads=1)

    assert offset == same != 0
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("container", ["float64", "pandas with categories", "csr"])
@pytest.mark.parametrize("interactions", [False, True])
def test_the_arm_as_a_feature_is_binned_with_all_rows(container, interactions):
    arm = RNG.integers(3, size=N)
    how = {"arm": arm, "n_arms": 3, "interactions": interactions, "test": HALF}
    given = CONTAINERS[container]

    ours, _ = fit(LGBMRegressor(**SMALL), job(given, **how), threads=1)
    theirs, _ = fit(LGBMRegressor(**SMALL), job(given, **how, bins=""), threads=1)

    np.testing.assert_array_equal(ours, theirs)


def test_a_column_that_is_missing_in_test_rows_alone_has_a_bin_for_it():
    given = np.nan_to_num(X)
    rest = np.setdiff1d(ALL, HALF)
    given[rest, 1] = np.nan

    shared = fitted(LGBMRegressor(**SMALL), job(given, train=HALF))
    plain = fitted(LGBMRegressor(**SMALL), job(given, train=HALF, bins=""))

    # Bins of all rows say that it may be missing; those of the training rows don't.
    frames = [model.booster_.trees_to_dataframe() for model in (shared, plain)]
    types = [set(f.loc[f.split_feature == "Column_1", "missing_type"]) for f in frames]
    assert types == [{"NaN"}, {"None"}]
    assert np.isfinite(shared.predict(given[rest])).all()


# What stays out of the fitted model


def test_a_fitted_model_pickles_without_the_set():
    shared = fitted(LGBMRegressor(**SMALL), job())
    plain = fitted(LGBMRegressor(**SMALL), job(bins=""))

    assert type(shared) is LGBMRegressor
    assert len(pickle.dumps(shared)) <= len(pickle.dumps(plain)) + 200  # two more parameters
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(shared)).predict(X), plain.predict(X))
    np.testing.assert_array_equal(shared.feature_importances_, plain.feature_importances_)


def test_a_model_says_how_its_set_was_made():
    text = fitted(LGBMRegressor(**SMALL, random_state=9), job()).booster_.model_to_string()

    assert "[data_random_seed: 1]" in text
    assert "[feature_pre_filter: 0]" in text


def test_a_fit_outside_makes_its_own_set():
    fitted(LGBMRegressor(**SMALL), job())

    LGBMRegressor(**SMALL).fit(X[HALF], Y[HALF])

    assert len(binning._sets) == 1
    assert isinstance(lightgbm.Dataset(X), lightgbm.Dataset)


@pytest.mark.parametrize("name", ["n_jobs", "num_threads"])
def test_each_fit_has_its_own_threads(name):
    models = {}
    for threads in (2, 1, 2):
        given = {**SMALL, name: threads}
        given.update({"n_jobs": threads} if name == "n_jobs" else {})
        models[threads] = fitted(LGBMRegressor(**given), job(train=HALF))

    for threads, model in models.items():
        assert f"[num_threads: {threads}]" in model.booster_.model_to_string()
    built = [slot.built.params["num_threads"] for slot in binning._sets._slots.values()]
    assert sorted(built) == [1, 2]


# Which fits share


PLAIN = {
    "feature_pre_filter": {"feature_pre_filter": True},
    "linear_tree": {"linear_trees": True},
    "device_type": {"device": "gpu"},
    "tree_learner": {"tree": "voting"},
    "num_machines": {"num_machine": 2},
    "early_stopping_round": {"n_iter_no_change": 3},
    **{
        name: {name: [3]}
        for name in (
            *("categorical_feature", "cat_feature", "categorical_column", "cat_column"),
            "categorical_features",
        )
    },
    **{
        f"a function as {name}": {name: lambda y, p: (p - y, np.ones_like(y))}
        for name in ("objective", "objective_type", "app", "application", "loss")
    },
}


@pytest.mark.parametrize("case", PLAIN)
def test_parameters_that_shared_sets_cannot_have_are_named(case):
    reason = own_bins(LGBMRegressor(**SMALL, **PLAIN[case]), X)

    assert next(iter(PLAIN[case])) in reason


@pytest.mark.parametrize(
    "params",
    [
        *({"linear_tree": False}, {"device": "cpu"}, {"tree_learner": "serial"}),
        *({"num_machines": 1}, {"feature_pre_filter": False}, {"early_stopping_round": None}),
        *({"objective": "huber"}, {"boosting_type": "goss"}, {"max_bins": 15}),
        *({"pre_partition": True}, {"two_round": True}, {"data_seed": 3}, {"use_missing": False}),
    ],
)
def test_plain_values_share(params):
    assert own_bins(LGBMRegressor(**SMALL, **params), X) is None
    assert trees(fitted(LGBMRegressor(**SMALL, **params), job())) == trees(
        fitted(LGBMRegressor(**SMALL, **params), job(bins=""))
    )


class Mine(LGBMRegressor):
    """A user's class."""


def test_other_models_do_not_share():
    for model in (Mine(), LGBMRanker(), LinearRegression(), make_pipeline(LGBMRegressor())):
        assert type(model).__name__ in own_bins(model, X)
    assert "arguments" in own_bins(LGBMRegressor(), X, with_arguments=True)
    assert "type object" in own_bins(LGBMRegressor(), X.astype(object))
    assert "device" in own_bins(LGBMRegressor(device=np.array(["cpu", "gpu"])), X)


@pytest.mark.parametrize("case", ["feature_pre_filter", "categorical_feature", "cat_column"])
def test_what_cannot_share_is_fitted_as_without_the_switch(case):
    params = SMALL | PLAIN[case]
    frame = NAMED.drop(columns="a")

    def effects(**switch):
        t = TLearner(False, 2, LGBMRegressor, nuisance_model_params=params, n_folds=2)
        return t.fit(frame, Y, ALL % 2, **switch).predict(frame, is_oos=False)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "cat")  # LightGBM's, of both parameter and types
        np.testing.assert_array_equal(effects(), effects(share_bins=False))
    assert len(binning._sets) == 0


# The switch


def plan(share_bins, factory=LGBMRegressor, params=SMALL, **asked):
    d = Dataset(X, Y, ALL % 2, 2, share_bins=share_bins)
    regression = Regression(EstimatorSpec(factory, params), Y, 2, **asked)
    return [unit.key for unit in plan_stage({("m",): regression}, d, MemoryStore()).units]


def test_the_switch_moves_keys_of_fits_that_share_and_no_others():
    assert not set(plan(True)) & set(plan(False))
    assert plan(True, LinearRegression, {}) == plan(False, LinearRegression, {})
    assert plan(True, params={**SMALL, "linear_tree": True}) == plan(
        False, params={**SMALL, "linear_tree": True}
    )


def test_the_switch_must_be_true_or_false():
    learner = TLearner(False, 2, LGBMRegressor, n_folds=2)
    with pytest.raises(ValueError, match="share_bins"):
        learner.fit(X, Y, ALL % 2, share_bins=1)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_folds_and_learners_share_one_set(monkeypatch, n_jobs):
    s = draw(400)
    built = []
    whole = BinnedSets.get

    def get(self, key, owner, build):
        return whole(self, key, owner, lambda: built.append(key) or build())

    monkeypatch.setattr(BinnedSets, "get", get)
    how = {"nuisance_model_params": SMALL, "n_folds": 3}
    bases = (False, 2, LGBMRegressor)
    store = MemoryStore()
    dr = DRLearner(*bases, LGBMRegressor, LGBMClassifier, treatment_model_params=SMALL,
                   propensity_model_params=SMALL, **how)  # fmt: skip
    dr.fit(s.X, s.y, s.w, n_jobs, store=store)
    assert len(set(built)) == len(built) == 1

    SLearner(*bases, **how).fit(s.X, s.y, s.w, n_jobs, store=store)
    assert len(built) == 2
    found = dr.predict(s.X, is_oos=False)[:, 0, 0]
    assert np.corrcoef(found, s.mu[:, 1] - s.mu[:, 0])[0, 1] > 0


# The sets


def test_threads_that_need_a_set_at_once_build_it_once():
    sets, built, ready = BinnedSets(), [], threading.Barrier(4)

    def build():
        built.append(1)
        time.sleep(0.05)
        return object()

    def get(_):
        ready.wait()
        return sets.get("key", X, build)

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(get, range(4)))
    assert len(built) == 1
    assert all(one is got[0] for one in got)


def test_a_failed_build_is_tried_again():
    sets = BinnedSets()
    with pytest.raises(ZeroDivisionError):
        sets.get("key", X, lambda: 1 / 0)
    assert sets.get("key", X, lambda: 1) == 1


def test_sets_are_few_and_dropped_with_their_features():
    sets = BinnedSets(most=2)
    owners = [np.zeros(3) for _ in range(3)]
    for number, owner in enumerate(owners):
        sets.get(number, owner, lambda n=number: n)
    assert len(sets) == 2
    assert sets.get(2, owners[2], lambda: "anew") == 2
    assert sets.get(0, owners[0], lambda: "anew") == "anew"

    owner = None
    owners.clear()
    gc.collect()
    assert len(sets) == 0


def test_content_and_binning_name_a_set():
    other = X + 1
    for training, params in [
        (job(), {}),
        (job(), {"max_bins": 15}),
        (job(), {"random_state": 5, "num_leaves": 4}),  # the first one's set
        (job(other, bins="other"), {}),
    ]:
        fitted(LGBMRegressor(**SMALL, **params), training)
    assert len(binning._sets) == 3


def test_another_lightgbm_is_planned_without_sharing_and_refused_where_sharing_was_planned(
    monkeypatch,
):
    monkeypatch.setattr(binning, "_unusable", lambda: "LightGBM 9 is built otherwise")

    assert "LightGBM 9" in own_bins(LGBMRegressor(), X)
    with pytest.raises(RuntimeError, match=r"LightGBM 9 .* share_bins: false"):
        fit(LGBMRegressor(**SMALL), job(train=HALF), threads=1)


def test_a_parameter_that_is_none_is_unset():
    params = {**SMALL, "min_child_samples": 2}
    rare = X.copy()
    rare[:, 4] = ALL < 8  # which the filter would take for useless
    y = Y + 9 * rare[:, 4]
    found = [
        fitted(LGBMRegressor(**params, **unset), job(rare, y))
        for unset in ({}, {"feature_pre_filter": None, "data_random_seed": None})
    ]
    assert trees(found[0]) == trees(found[1])
    assert found[0].feature_importances_[4] > 0
    assert len(binning._sets) == 1


def test_two_names_of_a_parameter_name_a_set_together():
    for params in ({"max_bin": 255, "max_bins": 3}, {"max_bin": 3, "max_bins": 255}):
        shared = fitted(LGBMRegressor(**SMALL, **params), job())
        assert trees(shared) == trees(fitted(LGBMRegressor(**SMALL, **params), job(bins="")))
    assert len(binning._sets) == 2


def test_a_fit_that_shares_takes_no_rows_of_its_features(monkeypatch):
    given = []
    own = lightgbm.LGBMModel.fit

    def watched(model, rows, *arguments, **more):
        given.append(rows)
        return own(model, rows, *arguments, **more)

    monkeypatch.setattr(lightgbm.LGBMModel, "fit", watched)
    for rows in CONTAINERS.values():
        shared = fitted(LGBMRegressor(**SMALL), job(rows, train=HALF))
        assert shared.n_features_in_ == rows.shape[1]
    assert [rows.shape[0] for rows in given] == [len(HALF)] * len(CONTAINERS)
    assert all(isinstance(rows, np.ndarray) and rows.strides == (0, 0) for rows in given)


def test_a_set_without_a_usable_feature_is_the_plain_fit():
    constant = np.ones((N, 2))
    shared = fitted(LGBMRegressor(**SMALL), job(constant))
    np.testing.assert_allclose(shared.predict(constant), Y.mean())
