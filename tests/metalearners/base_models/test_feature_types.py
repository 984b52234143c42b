"""Types of columns: each is fitted or refused by the column's name, in every container."""

import datetime
import decimal
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import BaggingRegressor, HistGradientBoostingRegressor, StackingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBRegressor

from metalearners import SLearner, TLearner
from metalearners.base_models.training import limited_openmp
from metalearners.cross_fit_estimator import CrossFitEstimator

N = 60
Y = np.random.default_rng(0).normal(size=N).round(3)
W = np.arange(N) % 2
WORDS = ["u", "v", "z"] * 20
DAY, CENT = datetime.date(2020, 1, 1), decimal.Decimal("1.5")

# Values by type: what is a number for all, what some base models take, what none does.
NUMBERS = {
    "pandas": {
        "float": Y,
        "nullable": pd.array(range(N), dtype="Int64"),
        "truths": pd.array([True, False] * 30, dtype="boolean"),
    },
    "polars": {
        "truths": pl.Series([True, False] * 30),
        "small": pl.Series(range(N), dtype=pl.Int8),
    },
    "pyarrow": {
        "whole": pa.array(range(N)),
        "truths": pa.array([True, False] * 30),
        "half precision": pa.array(Y.astype(np.float16)),
    },
}
SOME = {
    "pandas": {
        "objects": np.array(WORDS, dtype=object),
        "string": pd.array(WORDS, dtype="string"),
        "Arrow texts": pd.array(WORDS, dtype=pd.ArrowDtype(pa.string())),
        "Arrow numbers": pd.array(Y, dtype=pd.ArrowDtype(pa.float64())),
        "category": pd.Categorical(WORDS),
        "numbered": pd.Categorical([1, 2, 3] * 20),
        "number objects": np.array(Y.tolist(), dtype=object),
        "Arrow categories": pd.array(WORDS, pd.ArrowDtype(pa.string())).astype(
            pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
        ),
    },
    "polars": {
        "texts": pl.Series(WORDS),
        "category": pl.Series(WORDS, dtype=pl.Categorical),
        "enum": pl.Series(WORDS, dtype=pl.Enum(["u", "v", "z"])),
    },
    "pyarrow": {
        "texts": pa.array(WORDS),
        "long texts": pa.array(WORDS, pa.large_string()),
        "dictionary": pa.array(WORDS).dictionary_encode(),
    },
}
NONE = {
    "pandas": {
        "dates": pd.date_range("2020", periods=N),
        "date objects": [DAY] * N,
        "durations": pd.to_timedelta(range(N), unit="s"),
        "periods": pd.period_range("2020", periods=N, freq="D"),
        "intervals": pd.interval_range(0, N),
        "decimals": [CENT] * N,
        "Arrow decimals": pd.array([CENT] * N, dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
        "mixed": [1, "a"] * 30,
        "lists": [[1, 2]] * N,
        "bytes": [b"a"] * N,
        "complex": Y + 1j,
        "categories of dates": pd.Categorical(pd.date_range("2020", periods=2).repeat(30)),
    },
    "polars": {
        "dates": pl.Series([DAY] * N),
        "times": pl.Series([datetime.datetime(2020, 1, 1)] * N),
        "durations": pl.Series([datetime.timedelta(1)] * N),
        "decimals": pl.Series([CENT] * N),
        "wide": pl.Series(range(N), dtype=pl.Int128),
        "lists": pl.Series([[1]] * N),
        "structs": pl.Series([{"a": 1}] * N),
        "bytes": pl.Series([b"a"] * N),
        "nothing": pl.Series([None] * N),
        "objects": pl.Series([object()] * N, dtype=pl.Object),
    },
    "pyarrow": {
        "dates": pa.array([DAY] * N),
        "decimals": pa.array([CENT] * N),
        "wide decimals": pa.array([CENT] * N, pa.decimal256(10, 2)),
        "lists": pa.array([[1]] * N),
        "maps": pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64())),
        "bytes": pa.array([b"a"] * N),
        "nothing": pa.nulls(N),
    },
}
FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
MODELS = {
    "linear": (LinearRegression, {}),
    "histograms": (HistGradientBoostingRegressor, {"max_iter": 1}),
    "xgboost": (XGBRegressor, {"n_estimators": 1, "n_jobs": 1}),
    "xgboost with categories": (
        XGBRegressor,
        {"n_estimators": 1, "enable_categorical": True, "n_jobs": 1},
    ),
    "stack": (StackingRegressor, {"estimators": [("a", LinearRegression())], "cv": 2}),
    "bag": (
        BaggingRegressor,
        {"estimator": LGBMRegressor(n_estimators=1, n_jobs=1), "n_estimators": 1},
    ),
    "lightgbm": (LGBMRegressor, {"n_estimators": 1, "min_child_samples": 2, "n_jobs": 1}),
}


def fits(learner, model, X):
    """Whether a learner is fitted and predicts; False where the column is refused by its name."""
    factory, params = MODELS[model]
    made = learner(False, 2, factory, nuisance_model_params=params, n_folds=2)
    try:
        with limited_openmp(1):
            made.fit(X, Y, W)
    except ValueError as error:
        found = str(error)
        assert "Expected" in found
        assert "the column" in found
        return False
    with limited_openmp(1):
        assert np.isfinite(made.predict(X, is_oos=True)).all()
    return True


def tables(types):
    return {
        f"{container}, {name}": FRAMES[container]({"x": Y, "the column": values})
        for container, own in types.items()
        for name, values in own.items()
    }


def check_lightgbm():
    for learner in (SLearner, TLearner):
        taken = {name for name, X in tables(SOME).items() if fits(learner, "lightgbm", X)}
        assert taken == {
            *("pandas, category", "pandas, numbered", "pyarrow, dictionary"),
            *("polars, category", "polars, enum"),
        }
        assert not any(fits(learner, "lightgbm", X) for X in tables(NONE).values())


def test_no_type_of_a_column_ends_the_process_in_lightgbm():
    child = f"from {__name__} import check_lightgbm; check_lightgbm()"
    done = subprocess.run(
        [sys.executable, "-c", child], check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("model", MODELS)
def test_numbers_and_truths_are_fitted(model):
    assert all(fits(TLearner, model, X) for X in tables(NUMBERS).values())


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"lightgbm"}))
def test_a_type_that_no_model_takes_is_refused_by_name(model):
    assert not any(fits(TLearner, model, X) for X in tables(NONE).values())


TAKEN = {
    "linear": {"pandas, numbered", "pandas, number objects", "pandas, Arrow numbers"},
    "stack": {"pandas, numbered", "pandas, number objects", "pandas, Arrow numbers"},
    "xgboost": {"pandas, Arrow numbers"},
    "bag": {"pandas, numbered", "pandas, number objects", "pandas, Arrow numbers"},
}


@pytest.mark.parametrize("model", TAKEN)
def test_texts_and_categories_are_refused_by_models_that_can_t_take_them(model):
    taken = {name for name, X in tables(SOME).items() if fits(TLearner, model, X)}

    assert taken == TAKEN[model]


@pytest.mark.parametrize("model", ["histograms", "xgboost with categories"])
def test_categories_of_each_container_are_fitted_by_models_that_take_them(model):
    taken = {name for name, X in tables(SOME).items() if fits(TLearner, model, X)}

    assert {"pandas, category", "polars, category", "polars, enum", "pyarrow, dictionary"} < taken
    assert not {name for name in taken if "texts" in name}


def test_categories_give_lightgbm_the_same_bits_in_each_container():
    levels = ["u", "v", "z"]
    columns = [
        pd.Series(pd.Categorical(WORDS, levels)),
        pa.array(WORDS).dictionary_encode(),
        pd.Series(pd.Categorical(WORDS, levels, ordered=True)),
        pl.Series(WORDS, dtype=pl.Enum(levels)),
    ]
    makers = (pd.DataFrame, pa.table, pd.DataFrame, pl.DataFrame)
    frames = [make({"x": Y, "k": own}) for make, own in zip(makers, columns, strict=True)]
    params = {"n_estimators": 3, "min_child_samples": 2, "min_data_per_group": 2, "n_jobs": 1}

    found = [
        TLearner(False, 2, LGBMRegressor, nuisance_model_params=params, n_folds=2)
        .fit(X, Y, W)
        .predict(X, is_oos=True)
        for X in frames
    ]

    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[3], found[2])


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
@pytest.mark.parametrize("learner", [SLearner, TLearner])
def test_truths_with_gaps_are_fitted_by_models_that_take_missing_values(learner, make):
    assert fits(learner, "lightgbm", make({"x": Y, "the column": [True, False, None] * 20}))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_all_columns_that_are_refused_are_named_in_one_message(data):
    container = data.draw(st.sampled_from(sorted(FRAMES)))
    wrong = data.draw(
        st.lists(st.sampled_from(sorted(NONE[container])), min_size=1, max_size=4, unique=True)
    )
    names = data.draw(
        st.lists(st.text("abcé_ ", min_size=1), min_size=len(wrong), max_size=5, unique=True)
    )
    columns = {name: NONE[container][kind] for name, kind in zip(names, wrong, strict=False)}
    X = FRAMES[container]({"x": Y, **columns} | dict.fromkeys(names[len(wrong) :], Y))

    with pytest.raises(ValueError, match="Expected features that are numbers") as caught:
        CrossFitEstimator(2, LinearRegression).fit(X, Y)

    told = str(caught.value)
    assert all(f"{name} (" in told for name in columns)
    assert "x (" not in told


def test_pipelines_are_trusted_to_encode():
    X = pd.DataFrame({"k": WORDS})
    params = {"steps": [("encode", OneHotEncoder()), ("fit", LinearRegression())]}

    found = CrossFitEstimator(2, Pipeline, params).fit(X, Y).predict(X, is_oos=False)

    assert np.isfinite(found).all()


def test_a_model_that_reads_no_features_takes_texts():
    X = pd.DataFrame({"k": WORDS})

    assert np.isfinite(CrossFitEstimator(2, DummyRegressor).fit(X, Y).predict(X, False)).all()


@pytest.mark.parametrize("names", [[("a", "b"), ("a", "c")], pd.date_range("2020", periods=2)])
def test_names_of_columns_that_are_no_texts_or_numbers_are_refused(names):
    X = pd.DataFrame(np.column_stack([Y, Y]))
    X.columns = pd.MultiIndex.from_tuples(names) if isinstance(names, list) else names

    with pytest.raises(ValueError, match="texts or numbers as names of the columns of X"):
        TLearner(False, 2, LinearRegression, n_folds=2).fit(X, Y, W)
