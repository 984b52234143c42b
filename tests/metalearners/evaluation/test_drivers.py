"""Drivers of effects where there are many features: blocks are shuffled, few predictions made."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from metalearners.evaluation import drivers
from metalearners.evaluation.drivers import MOST_ALONE, effect_drivers


def one_by_one(estimate, X, seed, monkeypatch):
    """The full computation, one prediction a feature."""
    with monkeypatch.context() as own:
        own.setattr(drivers, "MOST_ALONE", X.shape[1])
        return effect_drivers(estimate, X, seed)


def normal(p, n=600, seed=0):
    return np.random.default_rng(seed).normal(size=(n, p))


@given(st.integers(MOST_ALONE + 1, 400), st.integers(0, 2**31), st.integers(1, 12))
@settings(max_examples=8, deadline=None)
def test_features_that_matter_are_found_among_any_number(p, seed, n_drivers):
    """Of an additive estimate each share is a_j^2 over the sum; the others have none at all."""
    rng = np.random.default_rng(seed)
    a = np.zeros(p)
    a[rng.permutation(p)[:n_drivers]] = rng.uniform(1, 3, n_drivers)

    found = effect_drivers(lambda Z: (Z @ a)[:, None], normal(p, seed=seed), seed)[:, 0]

    np.testing.assert_allclose(found, a**2 / (a @ a), atol=0.13)
    assert (found[a > 0] > 0).all()
    assert not found[a == 0].any()


def test_halving_agrees_with_the_full_computation(monkeypatch):
    """Strong and weak features, a step, one seen in an interaction alone, two that cancel out."""
    X = normal(300)
    X[:, 7] = X[:, 6] + 0.1 * X[:, 7]

    def estimate(Z):
        tau = Z[:, 0] + 0.4 * Z[:, 1] + (Z[:, 2] > 0) + 1.2 * Z[:, 3] * Z[:, 4]
        return np.column_stack([tau + 2 * (Z[:, 6] - Z[:, 7]), Z[:, 5] ** 2])

    found, full = effect_drivers(estimate, X), one_by_one(estimate, X, 0, monkeypatch)

    np.testing.assert_allclose(found, full, rtol=0.25, atol=0.01)
    assert (full[[0, 1, 2, 3, 4, 6, 7], 0] > 0.02).all()
    assert not found[8:].any()


def test_where_all_features_matter_a_little_their_sum_is_right():
    a = np.random.default_rng(1).normal(size=600)

    found = effect_drivers(lambda Z: (Z @ a)[:, None], normal(600))[:, 0]

    assert found.sum() == pytest.approx(1, abs=0.15)
    assert found.max() < 0.05
    strong, weak = np.argsort(-np.abs(a))[:150], np.argsort(np.abs(a))[:150]
    assert found[strong].sum() > 1.5 * found[weak].sum()


@pytest.mark.parametrize("p", [129, 1000])
def test_predictions_hardly_grow_with_the_features(p):
    asked = []

    def estimate(Z):
        asked.append(len(Z))
        return Z.sum(axis=1)[:, None]

    effect_drivers(estimate, normal(p))

    assert len(asked) <= 30
    assert sum(asked) <= 200 * 500


def test_drivers_of_many_features_repeat_by_seed_and_leave_features_alone():
    X, a = normal(400), np.arange(400) % 7 == 0
    kept = X.copy()
    first, same, other = (effect_drivers(lambda Z: (Z @ a)[:, None], X, s) for s in (1, 1, 2))

    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(X, kept)


@pytest.mark.parametrize("mixed", [False, True])
def test_frames_of_any_library_have_the_drivers_of_their_arrays(mixed):
    X = normal(150)
    names = [f"x{j}" for j in range(150)]
    frame = pd.DataFrame(X, columns=names)
    if mixed:
        frame["x3"] = (frame["x3"] > 0).map({True: "u", False: "v"}).astype("category")
        frame["x9"] = np.arange(600)

    def estimate(Z):
        if isinstance(Z, pd.DataFrame):
            assert Z.dtypes.tolist() == frame.dtypes.tolist()
        columns = [Z["x1"].to_numpy(), Z["x140"].to_numpy()]
        third = (Z["x3"].to_numpy() == "u") if mixed else Z["x3"].to_numpy()
        return (columns[0] + 2 * columns[1] + third)[:, None]

    found = effect_drivers(estimate, frame)[:, 0]

    assert set(np.flatnonzero(found)) == {1, 3, 140}
    np.testing.assert_array_equal(effect_drivers(estimate, pl.from_pandas(frame))[:, 0], found)
    np.testing.assert_array_equal(effect_drivers(estimate, frame)[:, 0], found)


def test_sparse_features_have_the_drivers_of_dense_ones():
    X = normal(140) * (np.random.default_rng(1).uniform(size=(600, 140)) < 0.3)
    a = np.zeros(140)
    a[[2, 99]] = 1, 2

    dense, thin = (effect_drivers(lambda Z: (Z @ a)[:, None], Z) for Z in (X, sparse.csr_matrix(X)))

    np.testing.assert_allclose(thin, dense)
    assert set(np.flatnonzero(thin)) == {2, 99}


def test_missing_values_and_constants_are_no_obstacle():
    X = normal(200)
    X[::5, 1], X[:, 2], X[:, 3] = np.nan, np.nan, 4.0

    found = effect_drivers(lambda Z: np.nan_to_num(Z[:, [0]]) + np.isnan(Z[:, [1]]), X)[:, 0]

    assert set(np.flatnonzero(found)) == {0, 1}
