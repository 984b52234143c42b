"""Fits one unit: the only place where an estimator's `fit` is called."""

import contextlib
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from metalearners._typing import Array, Matrix
from metalearners.estimators import predict, takes_arm_as_category, weight_argument
from metalearners.store import Store
from metalearners.unit import Fit, FitUnit


def fit_unit(unit: FitUnit, store: Store, threads: int | None = None) -> Fit:
    """Fit a unit's estimator on its training rows and predict its test rows.

    Parameters
    ----------
    threads : given to the base model where its parameters leave ``n_jobs`` open, and to the OpenMP
        loops of those that have no such parameter
    """
    X, target, train = store.get(unit.X), store.get(unit.target), store.get(unit.train)
    estimator = unit.estimator.build(unit.seed, threads)
    rows = take(X, train)
    if unit.arm is not None:
        arm = store.get(unit.arm)[train]
        rows = with_arm(rows, arm, unit.n_arms, takes_arm_as_category(estimator))
    y = target[train].astype(np.int64) if unit.method == "predict_proba" else target[train]
    weights = {}
    if unit.weight is not None:
        argument = weight_argument(estimator)
        if argument is None:
            raise TypeError(f"{type(estimator).__name__}.fit takes no sample_weight.")
        weights[argument] = store.get(unit.weight)[train]
    with _openmp_threads(threads):
        estimator.fit(rows, y, **weights)
    predictions = None
    if unit.test is not None:
        test = take(X, store.get(unit.test))
        predictions = predict_with(estimator, test, unit.method, unit.n_arms)
    return Fit(predictions, estimator if unit.keep else None)


def _openmp_threads(threads: int | None) -> contextlib.AbstractContextManager[object]:
    # OpenMP keeps this number by thread, so fits side by side don't disturb each other.
    if threads is None:
        return contextlib.nullcontext()
    return _thread_pools().limit(limits=threads, user_api="openmp")


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def predict_with(model: Any, X: Matrix, method: str, n_arms: int = 0) -> Array:
    """Predictions of a model, (m, c); (m, K, c) where the arm is a feature (``n_arms`` > 0)."""
    if not n_arms:
        return predict(model, X, method)
    categorical = takes_arm_as_category(model)
    arms = [
        predict(model, with_arm(X, np.full(X.shape[0], arm), n_arms, categorical), method)
        for arm in range(n_arms)
    ]
    return np.stack(arms, axis=1)


def take(X: Matrix, rows: Array) -> Matrix:
    """Rows of a feature matrix, in its own container."""
    return X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]


def with_arm(X: Matrix, arm: Array, n_arms: int, categorical: bool) -> Matrix:
    """Features with the treatment appended, for a learner that treats it as one of them.

    A category column ``treatment`` where the base model takes categories, else one 0/1 column
    ``treatment_k`` an arm but the control. Columns of a frame get strings for names, as base
    models refuse a mixture.
    """
    if categorical:
        levels = pd.Categorical(arm, categories=range(n_arms))
        return pd.DataFrame(X).rename(columns=str).assign(treatment=levels)
    indicators = (arm[:, None] == np.arange(1, n_arms)).astype(np.int8)
    if isinstance(X, pd.DataFrame):
        named = {f"treatment_{k + 1}": column for k, column in enumerate(indicators.T)}
        return X.rename(columns=str).assign(**named)
    return np.hstack([X, indicators.astype(X.dtype)])
