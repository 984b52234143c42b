"""Executors, and what fits of units are: the same bits whoever runs them."""

import os
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from joblib import cpu_count, parallel_config
from lightgbm import LGBMRegressor
from scipy import sparse
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from metalearners import TLearner, XLearner
from metalearners.base_models import rows as taking
from metalearners.base_models.rows import take, with_arm
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.execute import joblib_executor, run_plan, run_stage, serial
from metalearners.fits.fit import fit_unit
from metalearners.fits.plan import Regression, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import Fit
from metalearners.metalearner import _n_workers
from metalearners.store import DirectoryStore
from tests.simulate import (
    EXACT,
    LEARNERS,
    draw,
    draw_classes,
    linear_learner,
    nuisance_plan,
    three_outcomes,
    three_propensities,
    tree_learner,
)

OPEN = {"n_estimators": 15, "num_leaves": 7}  # LightGBM chooses its number of threads
LINEAR = EstimatorSpec(LinearRegression)


class Where(RegressorMixin, BaseEstimator):
    """Predicts the process it was fitted in, and remembers its threads."""

    def __init__(self, n_jobs=None, tag=0):
        self.n_jobs = n_jobs
        self.tag = tag

    def fit(self, X, y):
        self.process_ = os.getpid()
        return self

    def predict(self, X):
        return np.full(len(X), float(self.process_))


def regression(s, **changes):
    return Regression(**{"estimator": LINEAR, "target": s.y, "n_folds": 3, **changes})


def run_one(asked, d, execute=serial):
    return run_stage({("a", "0"): asked}, d, MemoryStore(), execute)["a", "0"]


# Executors agree


# Executors know no formula: a learner of each set of nuisances says all.
UNLIKE = list({one.NUISANCE_KINDS: one for one in reversed(LEARNERS)}.values())[::-1]
CHOICES = [
    *((learner, make, {}) for learner in UNLIKE for make in (linear_learner, tree_learner)),
    (XLearner, tree_learner, {"nuisance_model_params": OPEN, "treatment_model_params": OPEN}),
]


@pytest.mark.parametrize(("learner", "make", "more"), CHOICES)
@pytest.mark.parametrize("classes", [False, True])
def test_one_worker_threads_and_processes_give_the_same_bits(learner, make, more, classes):
    s = draw_classes(400) if classes else draw(400, three_outcomes, three_propensities)
    new = s.X[:50] + 0.1

    def estimates(**jobs):
        made = make(learner, classes, 2 if classes else 3, **more).fit(s.X, s.y, s.w, **jobs)
        return made.predict(s.X, is_oos=False), made.predict(new, is_oos=True)

    expected = estimates()
    found = [estimates(n_jobs_base_learners=2), estimates(n_jobs_cross_fitting=-1)]
    with parallel_config(backend="loky", n_jobs=2):
        found.append(estimates())

    assert len(np.unique(expected[0])) > 2
    for one in found:
        np.testing.assert_array_equal(one[0], expected[0])
        np.testing.assert_array_equal(one[1], expected[1])


def test_models_in_a_pipeline_are_not_shared_by_fits_side_by_side():
    s = draw(400)
    steps = [("scale", StandardScaler()), ("fit", LGBMRegressor(**OPEN))]
    params = {"nuisance_model_factory": Pipeline, "nuisance_model_params": {"steps": steps}}
    one, many = (tree_learner(TLearner, **params) for _ in range(2))
    before = nuisance_plan(one, s.dataset()).units

    expected = one.fit(s.X, s.y, s.w).predict(s.X, is_oos=True)
    found = many.fit(s.X, s.y, s.w, n_jobs_base_learners=4).predict(s.X, is_oos=True)

    np.testing.assert_array_equal(found, expected)
    assert nuisance_plan(one, s.dataset()).units == before  # fits leave the specification alone


def test_processes_are_other_processes_and_threads_are_not():
    s = draw(60)
    asked, d = regression(s, estimator=EstimatorSpec(Where)), s.dataset()

    assert set(run_one(asked, d).column.ravel()) == {os.getpid()}
    assert set(run_one(asked, d, joblib_executor(2)).column.ravel()) == {os.getpid()}
    with parallel_config(backend="loky", n_jobs=2):
        assert os.getpid() not in run_one(asked, d, joblib_executor()).column


def test_every_order_of_units_ends_in_the_same_fits():
    s = draw(60)
    stores = [MemoryStore() for _ in range(3)]
    asked = {("a", "0"): regression(s, n_folds=10)}
    units = [plan_stage(asked, s.dataset(), store).units for store in stores]

    joblib_executor(2)(units[0], stores[0])
    joblib_executor(2)(units[1][::-1], stores[1])
    serial(units[2], stores[2])

    for unit in units[0]:
        a, b, c = (store.fetch(unit.key).predictions for store in stores)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize(
    ("given", "workers", "expected"),
    [
        (None, cpu_count(), 1),
        (3, cpu_count(), 1),
        (-1, 2, max(1, cpu_count() // 2)),
        (3, 1, 3),
        (None, 1, None),
    ],
)
@pytest.mark.skipif(cpu_count() < 2, reason="one core")
def test_base_models_get_their_share_of_the_cores_where_fits_run_side_by_side(
    given, workers, expected
):
    s = draw(60)
    spec = EstimatorSpec(Where, {} if given is None else {"n_jobs": given})
    fitted = run_one(
        regression(s, estimator=spec, keep=True), s.dataset(), joblib_executor(workers)
    )

    assert {fit.model.n_jobs for fit in fitted.folds} == {expected}


def test_two_levels_of_jobs_are_one_n_workers():
    assert _n_workers(None, None) is None
    assert _n_workers(2, None) == _n_workers(None, 2) == _n_workers(1, 2) == 2
    cores = cpu_count()
    assert _n_workers(2, 3) == min(6, max(3, cores))  # together no more than the cores
    assert _n_workers(3, None) == _n_workers(3, 1) == 3  # one level may ask for more
    assert _n_workers(-1) == _n_workers(-1, 1) >= 1


def test_equal_units_are_executed_once():
    s = draw(60)
    executed = []

    def count(units, store):
        executed.extend(units)
        serial(units, store)

    asked = {
        ("a", "0"): regression(s),
        ("b", "0"): regression(s),
        ("c", "0"): regression(s, serve=True),
    }
    fitted = run_stage(asked, s.dataset(), MemoryStore(), count)

    assert len(executed) == 4
    np.testing.assert_array_equal(fitted["a", "0"].column, fitted["c", "0"].column)


def test_an_executor_that_loses_a_fit_is_found_out():
    s = draw(60)
    store = MemoryStore()
    plan = plan_stage({("a", "0"): regression(s)}, s.dataset(), store)

    with pytest.raises(KeyError, match="No fit under"):
        run_plan(plan, store, lambda units, store: serial(units[1:], store))


def test_fits_kept_in_files_give_the_same_columns(tmp_path):
    s = draw(60)
    asked = regression(s, serve=True)
    expected = run_one(asked, s.dataset())

    run_stage({("a", "0"): asked}, s.dataset(), DirectoryStore(tmp_path), serial)

    def none(units, store):
        """Fits nothing: all is in the files."""

    found = run_stage({("a", "0"): asked}, s.dataset(), DirectoryStore(tmp_path), none)["a", "0"]

    np.testing.assert_array_equal(found.column, expected.column)
    np.testing.assert_array_equal(found.model.predict(s.X), expected.model.predict(s.X))


# What a regression's fits are


def cols(X, chosen):
    """Rows laid out by columns, as base models get them: sums in another order differ in bits."""
    return np.asfortranarray(X[chosen])


def test_each_row_is_predicted_by_the_model_that_has_not_seen_it():
    s = draw(200)
    d = s.dataset()
    fitted = run_one(regression(s, n_folds=4), d)

    for train, test in d.splits(4):
        by_hand = LinearRegression().fit(cols(s.X, train), s.y[train]).predict(cols(s.X, test))
        np.testing.assert_array_equal(fitted.column[test, 0], by_hand)


def test_only_rows_asked_for_are_learnt_from_and_all_are_predicted():
    s = draw(200)
    d = s.dataset()
    rows = s.w == 1
    fitted = run_one(regression(s, rows=rows), d)

    for train, test in d.splits(3):
        own = train[rows[train]]
        by_hand = LinearRegression().fit(cols(s.X, own), s.y[own]).predict(cols(s.X, test))
        np.testing.assert_array_equal(fitted.column[test, 0], by_hand)


def test_a_fold_model_that_is_kept_is_the_one_that_predicted():
    s = draw(200)
    d = s.dataset()
    kept, dropped = run_one(regression(s, keep=True), d), run_one(regression(s), d)

    for fit, other, (_, test) in zip(kept.folds, dropped.folds, d.splits(3), strict=True):
        np.testing.assert_array_equal(fit.predictions[:, 0], fit.model.predict(cols(s.X, test)))
        np.testing.assert_array_equal(fit.predictions, other.predictions)
        assert other.model is None


def test_a_served_model_has_all_training_rows_besides_the_folds():
    s = draw(200)
    held_out = np.arange(200) % 5 == 0
    d = s.dataset(held_out=held_out)
    served, folds = run_one(regression(s, serve=True), d), run_one(regression(s), d)
    by_hand = LinearRegression().fit(cols(s.X, ~held_out), s.y[~held_out])

    np.testing.assert_array_equal(served.model.predict(s.X), by_hand.predict(s.X))
    np.testing.assert_array_equal(served.column[held_out, 0], by_hand.predict(cols(s.X, held_out)))
    np.testing.assert_array_equal(served.column[~held_out], folds.column[~held_out])
    assert np.isnan(folds.column[held_out]).all()
    with pytest.raises(ValueError, match="keeps no served model"):
        _ = folds.model


def test_one_fold_predicts_the_rows_it_was_fitted_on():
    s = draw(100)
    fitted = run_one(regression(s, n_folds=1, serve=True), s.dataset())
    X = cols(s.X, slice(None))
    by_hand = LinearRegression().fit(X, s.y).predict(X)

    np.testing.assert_array_equal(fitted.column[:, 0], by_hand)
    np.testing.assert_array_equal(fitted.model.predict(X), by_hand)


def test_a_column_without_a_served_fit_has_the_shape_of_the_predictions():
    tests = (np.array([1, 3]), np.array([0]))
    fits = [Fit(np.array([[[1.0, 2]], [[3, 4]]])), Fit(np.array([[[5.0, 6]]]))]
    s = draw(60)
    unit = plan_stage({("a", "0"): regression(s)}, s.dataset(), MemoryStore()).units[0]
    column = CrossFit(fits, None, tests, np.array([2]), 4, unit).column

    assert column.shape == (4, 1, 2)
    np.testing.assert_array_equal(column[[0, 1, 3], 0, 0], [5, 1, 3])
    assert np.isnan(column[2]).all()


def test_weights_reach_the_base_model():
    s = draw(100)
    weight = np.random.default_rng(0).integers(0, 4, size=100).astype(float)
    fitted = run_one(regression(s, weight=weight, serve=True), s.dataset())
    repeated = np.repeat(np.arange(100), weight.astype(int))
    by_hand = LinearRegression().fit(s.X[repeated], s.y[repeated])

    np.testing.assert_allclose(fitted.model.coef_, by_hand.coef_)


def test_a_base_model_that_takes_no_weights_is_refused():
    s = draw(60)
    asked = regression(s, estimator=EstimatorSpec(KNeighborsRegressor), weight=np.ones(60))

    with pytest.raises(TypeError, match="KNeighborsRegressor doesn't"):
        run_one(asked, s.dataset())


def test_probabilities_are_predicted_by_class():
    s = draw(300, three_outcomes, three_propensities)
    spec = EstimatorSpec(LogisticRegression, EXACT)
    asked = regression(s, estimator=spec, target=s.w.astype(float), method="predict_proba")
    d = s.dataset()
    fitted = run_one(asked, d)

    assert fitted.column.shape == (300, 3)
    np.testing.assert_allclose(fitted.column.sum(axis=1), 1)
    for train, test in d.splits(3):
        by_hand = LogisticRegression(**EXACT).fit(cols(s.X, train), s.w[train])
        np.testing.assert_array_equal(fitted.column[test], by_hand.predict_proba(cols(s.X, test)))


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
@pytest.mark.parametrize("factory", [LinearRegression, LGBMRegressor])
def test_with_the_arm_as_a_feature_every_arm_is_predicted(container, factory):
    s = draw(300, three_outcomes, three_propensities)
    params = {} if factory is LinearRegression else OPEN
    asked = regression(s, estimator=EstimatorSpec(factory, params), arm=s.w, serve=True)
    X = container(s.X)
    fitted = run_one(asked, s.dataset(X=X))

    assert fitted.column.shape == (300, 3, 1)
    categorical = factory is LGBMRegressor
    for arm in range(3):
        rows = with_arm(X, np.full(300, arm), 3, categorical)
        own = fitted.model.predict(rows)
        assert own.shape == (300,)
    assert np.ptp(fitted.column[:, :, 0], axis=1).min() > 0 or categorical


def test_the_arm_is_one_category_column_or_an_indicator_an_arm():
    X = np.array([[0.5], [1.5], [2.5]], dtype=np.float32)
    arm = np.array([2, 0, 1])
    frame = pd.DataFrame(X, index=[7, 8, 9])

    indicators = with_arm(X, arm, 3, categorical=False)
    assert indicators.dtype == np.float32
    np.testing.assert_array_equal(indicators[:, 1:], [[0, 1], [0, 0], [1, 0]])
    named = with_arm(frame, arm, 3, categorical=False)
    assert named.columns.tolist() == ["0", "treatment_1", "treatment_2"]
    np.testing.assert_array_equal(named, indicators)
    for category in (with_arm(X, arm, 3, True), with_arm(frame, arm, 3, True)):
        assert category.columns.tolist() == ["0", "treatment"]
        assert category["treatment"].cat.categories.tolist() == [0, 1, 2]
        assert category["treatment"].tolist() == [2, 0, 1]
    assert frame.columns.tolist() == [0]


def test_integer_features_keep_the_arm_apart():
    """Indicators in the features' own type must not overflow or lose an arm."""
    X = np.array([[3], [4]], dtype=np.uint8)

    np.testing.assert_array_equal(with_arm(X, np.array([1, 0]), 2, False), [[3, 1], [4, 0]])


def test_rows_are_taken_in_the_container_they_came_in():
    X = np.arange(6.0).reshape(3, 2)
    frame = pd.DataFrame(X, index=[5, 5, 5])

    np.testing.assert_array_equal(take(X, np.array([2, 0])), X[[2, 0]])
    np.testing.assert_array_equal(take(frame, np.array([2, 0])), X[[2, 0]])
    assert isinstance(take(frame, np.array([0])), pd.DataFrame)


class CountsThreads(LinearRegression):
    """Notes how many OpenMP threads it could use."""

    def fit(self, X, y, sample_weight=None):
        from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

        self.threads_ = _openmp_effective_n_threads()
        return super().fit(X, y, sample_weight)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_models_without_n_jobs_get_their_share_of_the_cores():
    d = draw(90).dataset()
    regression = Regression(EstimatorSpec(CountsThreads), d.y, 2, keep=True)
    store = MemoryStore()
    unit = plan_stage({("m", "0"): regression}, d, store).units[0]

    assert fit_unit(unit, store, threads=1).model.threads_ == 1
    assert fit_unit(unit, store).model.threads_ > 1


class Weigher(DummyRegressor):
    """Measures what copies of features there are while it is fitted."""

    most = 0

    def fit(self, X, y, sample_weight=None):
        time.sleep(0.02)  # so that fits run side by side
        own = tracemalloc.Filter(True, taking.__file__)
        held = sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([own]).traces)
        Weigher.most = max(Weigher.most, held)
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("learner", UNLIKE)
@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, sparse.csr_matrix])
def test_features_are_held_three_times_at_most(learner, container):
    """As given, and the rows of one fit for each of two workers."""
    rng = np.random.default_rng(0)
    X = container(rng.normal(size=(20_000, 50)).astype(np.float32))
    w = np.arange(20_000) % 2
    made = learner(False, 2, Weigher, Weigher, DummyClassifier, n_folds=5)
    size = 20_000 * 50 * 4 * (2 if sparse.issparse(X) else 1)  # with as many positions
    Weigher.most = 0
    tracemalloc.start()
    try:
        made.fit(X, rng.normal(size=20_000), w, n_jobs_cross_fitting=2)
    finally:
        tracemalloc.stop()

    assert 0 < 1 + Weigher.most / size < 3.1  # the treatment among the features adds a column
