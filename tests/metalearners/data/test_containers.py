"""Features come in many containers: base models see them as they are, and results don't differ."""

import os
import pickle
import subprocess
import sys
from hashlib import sha256

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from joblib import parallel_config
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from metalearners import SLearner, TLearner
from metalearners.base_models.rows import as_pandas, take, with_arm
from metalearners.cross_fit_estimator import CrossFitEstimator
from metalearners.data.containers import column_names, select
from metalearners.digests.matrices import matrix_digest
from tests.simulate import LEARNERS, draw, draw_classes, linear_learner, tree_learner

NAMES = list("abcde")
S = draw(300)
NEW = draw(40, seed=3).X
each_learner = pytest.mark.parametrize("learner", LEARNERS)


def frame(X, names=NAMES):
    return pd.DataFrame(X, columns=names)


ARRAYS = {"numpy": np.ascontiguousarray, "numpy by columns": np.asfortranarray}
FRAMES = {
    "pandas": frame,
    "pandas, columns apart": lambda X: pd.DataFrame(dict(zip(NAMES, X.T.copy(), strict=False))),
    "pandas, an index": lambda X: frame(X).set_index(np.arange(len(X))[::-1] * 7),
    "polars": lambda X: pl.from_pandas(frame(X)),
    "pyarrow": lambda X: pa.Table.from_pandas(frame(X), preserve_index=False),
}
NULLABLE = {
    "pandas, nullable": lambda X: frame(X).astype("Float64"),
    "pandas, arrow": lambda X: frame(X).astype("double[pyarrow]"),
}
SPARSE = {"csr_matrix": sparse.csr_matrix, "csr_array": sparse.csr_array}
DENSE = ARRAYS | FRAMES | NULLABLE
ALL = DENSE | SPARSE
each_container = pytest.mark.parametrize("container", ALL)


class Recorder(RegressorMixin, BaseEstimator):
    """Keeps what it was fitted on and predicts zeros."""

    def fit(self, X, y, sample_weight=None):
        self.X_ = X
        return self

    def predict(self, X):
        assert type(X) is type(self.X_)
        return np.zeros(X.shape[0])


class ClassRecorder(ClassifierMixin, Recorder):
    """The same for two classes."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return super().fit(X, y)

    def predict_proba(self, X):
        assert type(X) is type(self.X_)
        return np.full((X.shape[0], 2), 0.5)


def recording(learner):
    return learner(
        is_classification=False,
        n_variants=2,
        nuisance_model_factory=Recorder,
        treatment_model_factory=Recorder,
        propensity_model_factory=ClassRecorder,
        n_folds=2,
    )


def seen(learner, X):
    """What each base model of all rows was fitted on."""
    fitted = recording(learner).fit(X, S.y[: X.shape[0]], S.w[: X.shape[0]])
    return [model.X_ for own in fitted.overall_models().values() for model in own]


def values(X):
    if sparse.issparse(X):
        return X.toarray()
    return np.asarray(nw.from_native(X, pass_through=True).to_numpy() if as_frame(X) else X)


def as_frame(X):
    return not isinstance(X, np.ndarray)


def estimates(learner, X, new, y=S.y, w=S.w, methods=("overall", "mean", "median")):
    fitted = learner.fit(X, y, w)
    inside = fitted.predict(X, False), fitted.predict_conditional_average_outcomes(X, False)
    return [*inside, *(fitted.predict(new, True, how) for how in methods)]


def same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# What base models see


@each_container
@each_learner
def test_base_models_see_the_container_that_was_given(learner, container):
    X = ALL[container](S.X)

    for one in seen(learner, X):
        assert type(one) is type(X)
        assert one.shape[1] == (6 if learner is SLearner else 5)


@pytest.mark.parametrize("container", ARRAYS | FRAMES | SPARSE)
@each_learner
def test_single_precision_stays_so(learner, container):
    X = ALL[container](S.X.astype(np.float32))

    for one in seen(learner, X):
        kinds = {one.dtype} if hasattr(one, "dtype") else nw.from_native(one)[:, :5].schema.values()
        assert kinds in ({np.dtype(np.float32)},) or set(kinds) == {nw.Float32}


LEVELS = ["low", "high", "never"]
COLUMN = [*(["high", "low", None] * 100)]
CATEGORIES = {
    "pandas": lambda: pd.DataFrame({"c": pd.Categorical(COLUMN, LEVELS), "x": S.X[:, 0]}),
    "pandas, ordered": lambda: pd.DataFrame({"c": pd.Categorical(COLUMN, LEVELS, ordered=True)}),
    "polars enum": lambda: pl.DataFrame({"c": pl.Series(COLUMN, dtype=pl.Enum(LEVELS))}),
    "polars categories": lambda: pl.DataFrame({"c": pl.Series(COLUMN, dtype=pl.Categorical)}),
    "pyarrow": lambda: pa.table({"c": pa.array(COLUMN).dictionary_encode()}),
}


@pytest.mark.parametrize("case", CATEGORIES)
@pytest.mark.parametrize("learner", [SLearner, TLearner])
def test_category_types_levels_and_missing_ones_are_kept(learner, case):
    X = CATEGORIES[case]()
    own = nw.from_native(X)["c"]

    for one in seen(learner, X):
        found = nw.from_native(one)["c"]
        assert found.dtype == own.dtype
        assert 0 < found.is_null().sum() < len(found)
        if hasattr(one, "dtypes") and case.startswith("pandas"):
            assert one["c"].dtype == X["c"].dtype
            assert one["c"].cat.categories.tolist() == LEVELS


@pytest.mark.parametrize("container", DENSE)
def test_missing_numbers_stay_missing(container):
    X = S.X.copy()
    X[::3, 0] = np.nan

    expected = sorted(int(np.isnan(X[rows, 0]).sum()) for rows in (S.w == 0, S.w == 1))

    found = [pd.isna(values(one)[:, 0]).sum() for one in seen(TLearner, DENSE[container](X))]

    assert sorted(found) == expected


@pytest.mark.parametrize("learner", [TLearner, SLearner])
def test_whole_numbers_texts_and_truths_keep_their_type(learner):
    X = pl.DataFrame(
        {
            "i": pl.Series(S.w, dtype=pl.Int16),
            "n": [None, *range(299)],
            "t": ["u", "v", None] * 100,
            "b": S.w == 1,
        }
    )

    for one in seen(learner, X):
        assert [one.schema[name] for name in X.columns] == list(X.schema.values())
        assert one["t"].null_count() > 0


# Results of containers


@pytest.mark.parametrize("container", {**ARRAYS, **FRAMES})
@each_learner
def test_boosting_gives_the_same_bits_in_each_container(learner, container):
    make = ALL[container]
    expected = estimates(tree_learner(learner, n_folds=2), S.X, NEW)

    found = estimates(tree_learner(learner, n_folds=2), make(S.X), make(NEW))

    same_bits(found, expected)


@pytest.mark.parametrize("container", DENSE)
@each_learner
def test_linear_models_give_the_same_bits_in_each_container(learner, container):
    make = DENSE[container]
    expected = estimates(linear_learner(learner, n_folds=2), S.X, NEW)

    found = estimates(linear_learner(learner, n_folds=2), make(S.X), make(NEW))

    if container != "pyarrow":  # scikit-learn lays out a table's values by rows
        same_bits(found[:2], expected[:2])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@each_learner
def test_classes_are_the_same_bits_in_each_container(learner):
    s, new = draw_classes(300), draw_classes(40, seed=3).X
    how = ("overall", "mean")
    expected = estimates(tree_learner(learner, True, n_folds=2), s.X, new, s.y, s.w, how)

    for make in FRAMES.values():
        X, other = (make(np.column_stack([part, part[:, 0]])) for part in (s.X, new))
        X, other = (select(part, tuple(NAMES[:4])) for part in (X, other))
        found = estimates(tree_learner(learner, True, n_folds=2), X, other, s.y, s.w, how)
        same_bits(found, expected)


COLUMNS = {
    "list": list,
    "tuple": tuple,
    "pandas": pd.Series,
    "objects": lambda v: pd.Series(v, dtype=object),
    "polars": pl.Series,
    "pyarrow": pa.array,
    "chunked": lambda v: pa.chunked_array([v[:7], v[7:]]),
    "arrow in pandas": lambda v: pd.Series(pd.array(v.tolist(), "double[pyarrow]")),
}


@pytest.mark.parametrize("column", COLUMNS)
@each_learner
def test_outcomes_and_treatments_may_be_columns_of_any_library(learner, column):
    make = COLUMNS[column]
    expected = linear_learner(learner, n_folds=2).fit(
        S.X, S.y, S.w, sample_weight=S.e[:, 0], groups=np.arange(300)
    )
    rows = {"sample_weight": make(S.e[:, 0])}
    if column != "arrow in pandas":  # whose numbers are floats here, and identities go by type
        rows["groups"] = make(np.arange(300))
    else:
        rows["groups"] = pd.Series(range(300), dtype="int64[pyarrow]")

    found = linear_learner(learner, n_folds=2).fit(S.X, make(S.y), make(S.w), **rows)

    np.testing.assert_array_equal(found.in_sample_, expected.in_sample_)


@each_learner
def test_names_of_columns_change_nothing(learner):
    a, b = (frame(S.X, names) for names in (NAMES, ["é", "x y", "1", "c", "_"]))
    fits = [tree_learner(learner, n_folds=2).fit(X, S.y, S.w) for X in (a, b)]

    np.testing.assert_array_equal(fits[0].predict(a, False), fits[1].predict(b, False))


@pytest.mark.parametrize(
    ("learner", "more", "container"),
    [
        *((one, {}, "csr_matrix") for one in LEARNERS),
        (SLearner, {}, "csr_array"),
        (SLearner, {"interactions": True}, "csr_matrix"),
        (SLearner, {"interactions": True}, "csr_array"),
    ],
)
def test_sparse_features_give_what_dense_ones_do(learner, more, container):
    rng = np.random.default_rng(0)
    X, new = (part * (rng.uniform(size=part.shape) < 0.4) for part in (S.X, NEW))
    make = SPARSE[container]
    expected = estimates(linear_learner(learner, n_folds=2, **more), X, new)

    found = estimates(linear_learner(learner, n_folds=2, **more), make(X), make(new))

    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 if more else 1e-6)  # lsqr stops at 1e-6


# Identity of rows


@pytest.mark.parametrize("make", [linear_learner, tree_learner])
@pytest.mark.parametrize("by", ["groups", "cv"])
@each_learner
def test_permuted_rows_give_permuted_results(learner, by, make):
    ids = np.random.default_rng(1).permutation(300)
    order = np.random.default_rng(2).permutation(300)
    given = {"groups": ids, "cv": ids % 3}[by]
    a = make(learner, n_folds=3).fit(S.X, S.y, S.w, **{by: given})
    moved = {by: given[order]}
    b = make(learner, n_folds=3).fit(S.X[order], S.y[order], S.w[order], **moved)

    np.testing.assert_allclose(
        b.in_sample_, a.in_sample_[order], atol=1e-8 if make is linear_learner else 1e-6
    )


def test_rows_of_pandas_are_matched_by_their_labels_or_refused():
    index = pd.date_range("2020", periods=300)
    X, y, w = frame(S.X).set_index(index), pd.Series(S.y, index), pd.Series(S.w, index)
    expected = linear_learner(SLearner).fit(S.X, S.y, S.w).in_sample_

    found = linear_learner(SLearner).fit(X, y, w)

    np.testing.assert_array_equal(found.in_sample_, expected)
    with pytest.raises(ValueError, match="found another order"):
        linear_learner(SLearner).fit(X, y[::-1], w)


# Parts of containers


@each_container
def test_rows_are_those_of_the_array(container):
    rows = np.array([3, 0, 3, 7])
    X = ALL[container](S.X)

    assert type(take(X, rows)) is type(X)
    np.testing.assert_array_equal(values(take(X, rows)), S.X[rows])


@each_container
@pytest.mark.parametrize("columns", [(3, 0), (-1,), (np.int64(2), 1)], ids=str)
def test_columns_are_those_of_the_array(container, columns):
    X = ALL[container](S.X)

    assert type(select(X, columns)) is type(X)
    np.testing.assert_array_equal(values(select(X, columns)), S.X[:, list(columns)])


@pytest.mark.parametrize("container", FRAMES | NULLABLE)
def test_named_columns_are_those_of_the_array(container):
    X = DENSE[container](S.X)

    np.testing.assert_array_equal(values(select(X, ("d", "a"))), S.X[:, [3, 0]])
    assert column_names(select(X, ("d", "a"))) == ["d", "a"]


@each_container
@pytest.mark.parametrize("interactions", [False, True])
def test_the_arm_is_appended_as_to_the_array(container, interactions):
    arm = np.arange(300) % 3
    X = ALL[container](S.X)
    expected = with_arm(S.X, arm, 3, False, interactions)

    found = with_arm(X, arm, 3, False, interactions)

    assert type(found) is type(X)
    assert expected.shape[1] == (17 if interactions else 7)
    if interactions and column_names(found):  # a frame has each arm's products in turn
        assert next(name for name in column_names(found) if "_x_" in name) == "a_x_treatment_1"
    np.testing.assert_allclose(values(found).astype(float), expected, atol=1e-15)


@pytest.mark.parametrize("container", DENSE)
def test_the_arm_as_a_category_has_all_arms_for_levels(container):
    found = with_arm(DENSE[container](S.X), 0 * S.w, 3, True)

    assert isinstance(found, pd.DataFrame)
    assert found["treatment"].cat.categories.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(as_pandas(found).iloc[:, :5].astype(float), S.X)


# Digests


@pytest.mark.parametrize("container", DENSE)
def test_equal_contents_have_equal_digests(container):
    assert matrix_digest(DENSE[container](S.X))[0] == matrix_digest(S.X)[0]


@pytest.mark.parametrize("container", ALL)
def test_each_change_has_another_digest(container):
    make, changed = ALL[container], S.X.copy()
    changed[7, 2] += 1e-12
    nulled = S.X.copy()
    nulled[7, 2] = np.nan
    others = [changed, nulled, S.X[::-1], S.X[:, [1, 0, 2, 3, 4]], S.X[1:], -S.X]
    if container not in NULLABLE:
        others.append(S.X.astype(np.float32))

    digests = [matrix_digest(make(X))[0] for X in (S.X, *others)]

    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("make", SPARSE.values())
def test_a_sparse_digest_is_that_of_its_canonical_form(make):
    whole = make(S.X * (S.X > 0))
    order = [np.arange(a, b)[::-1] for a, b in zip(whole.indptr, whole.indptr[1:], strict=False)]
    turned = np.concatenate(order).astype(int)
    other = make((whole.data[turned], whole.indices[turned], whole.indptr), shape=whole.shape)

    assert not other.has_canonical_format
    assert matrix_digest(other) == matrix_digest(whole)
    assert not other.has_sorted_indices, "what the caller has is left alone"


def test_categories_have_the_same_digest_in_each_library():
    text = ["high", "low", None] * 100
    own = pd.DataFrame({"c": pd.Categorical(text, ["high", "low"], ordered=True)})
    same = [
        pl.DataFrame({"c": pl.Series(text, dtype=pl.Enum(["high", "low"]))}),
        own.copy(),
    ]  # in order
    other = pd.DataFrame({"c": pd.Categorical(text, LEVELS)})

    assert {matrix_digest(X)[0] for X in same} == {matrix_digest(own)[0]}
    assert matrix_digest(other)[0] != matrix_digest(own)[0]


# Other processes


def fingerprint():
    """Digest of all learners' estimates."""
    found = []
    for learner in LEARNERS:
        for make in (linear_learner, tree_learner):
            labels = np.where(S.w, "b", "a")
            fitted = make(learner, n_folds=2, arms=["a", "b"]).fit(frame(S.X), S.y, labels)
            loaded = pickle.loads(pickle.dumps(fitted))
            parts = [loaded.predict(frame(S.X), False), loaded.predict(frame(NEW), True, "mean")]
            found += [part.tobytes() for part in parts]
    return sha256(b"".join(found)).hexdigest()


@pytest.mark.slow
def test_another_process_with_other_hashes_gives_the_same_bits():
    code = "from tests.metalearners.data.test_containers import fingerprint; print(fingerprint())"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}

    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert told.stdout.split()[-1] == fingerprint()


@pytest.mark.parametrize("container", ["polars", "csr_matrix"])
def test_workers_take_each_container(container):
    X = ALL[container](S.X)
    expected = linear_learner(TLearner, n_folds=2).fit(X, S.y, S.w).in_sample_
    threads = linear_learner(TLearner, n_folds=2).fit(X, S.y, S.w, n_jobs_base_learners=2)
    with parallel_config(backend="loky", n_jobs=2):
        processes = linear_learner(TLearner, n_folds=2).fit(X, S.y, S.w)

    same_bits([threads.in_sample_, processes.in_sample_], [expected, expected])


@each_container
def test_a_base_model_alone_takes_each_container(container):
    make = ALL[container]
    model = CrossFitEstimator(2, Recorder).fit(make(S.X), S.y)

    assert type(model._overall_estimator.X_) is type(make(S.X))
    assert model.predict(make(S.X), False).shape == (300,)
