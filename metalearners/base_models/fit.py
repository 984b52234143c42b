"""Fits one unit: the only place where an estimator's `fit` is called."""

import contextlib
import copy
import ctypes
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from metalearners._typing import Array, Matrix
from metalearners.base_models.capabilities import as_read_by, takes_arm_as_category
from metalearners.base_models.estimators import predict
from metalearners.base_models.precision import centre_of
from metalearners.base_models.seeds_and_threads import settle_predictions
from metalearners.base_models.weights import in_rows, routing_weights, weight_argument
from metalearners.data.containers import take, with_arm
from metalearners.digests.digest import is_kept
from metalearners.fits.unit import Fit, FitParam, FitUnit, as_positions
from metalearners.store import Store


def fit_unit(unit: FitUnit, store: Store, threads: int | None = None) -> Fit:
    """Fit a unit's estimator on its training rows and predict its test rows.

    Parameters
    ----------
    threads : share of the cores, for the base model (see `EstimatorSpec.build`) and for the OpenMP
        loops of those that have no parameter for it; None where no fits run beside it
    """
    estimator = unit.estimator.build(unit.seed, threads)
    predictions = None
    with limited_openmp(threads):
        # Both take rows of their own, one after the other: X itself is never altered, and of its
        # copies one is held at a time.
        offset = _train(estimator, unit, store)
        _give_back_memory(store.get(unit.X))
        settle_predictions(estimator)
        if unit.test is not None:
            test = take(store.get(unit.X), store.get(unit.test))
            predictions = predict_with(estimator, test, unit.method, unit.n_arms, unit.interactions)
            predictions = predictions + offset if offset else predictions
    return Fit(predictions, estimator if unit.keep else None, offset=offset)


def _train(estimator: Any, unit: FitUnit, store: Store) -> float:
    """Fit the estimator, and yield what its predictions lack (see `centre_of`)."""
    X = store.get(unit.X)
    train = as_positions(store.get(unit.train), X.shape[0])
    if unit.arm is None:
        rows = _rows(X, train)
    else:
        arm, categorical = store.get(unit.arm)[train], _as_category(estimator, unit.interactions)
        rows = with_arm(X, arm, unit.n_arms, categorical, unit.interactions, train)
    rows = as_read_by(estimator, rows)
    y = store.get(unit.target)[train]
    if unit.method == "predict_proba":
        y = y.astype(np.int64)
    # Arguments may hold outcomes too, which would have to move along.
    centred = unit.method == "predict" and not unit.fit_params
    offset = centre_of(estimator, y) if centred else 0.0
    y = y - offset if offset else y
    if isinstance(rows, pd.DataFrame):  # models of the user's own expect a series beside a frame
        y = pd.Series(y, rows.index)
    arguments = {param.name: _argument(param, train, store) for param in unit.fit_params}
    if unit.weight is None:
        estimator.fit(rows, y, **arguments)
        return offset
    arguments[_weight_argument(estimator)] = in_rows(store.get(unit.weight)[train])
    with routing_weights(estimator):
        estimator.fit(rows, y, **arguments)
    return offset


def _rows(X: Matrix, train: Array) -> Matrix:
    """Rows to train on; an array that is laid out as `take` would isn't copied as a whole."""
    if isinstance(X, np.ndarray) and len(train) == len(X) and X.flags.f_contiguous:
        whole = X.view()
        whole.flags.writeable = False  # a base model that works in place must not alter X
        return whole
    return take(X, train)


def _give_back_memory(X: Matrix) -> None:
    # The C library keeps what LightGBM frees for the thread that had it: with several workers,
    # more than the features themselves.
    trim = _trimmer()
    if trim is not None and X.shape[0] * X.shape[1] > _LARGE:
        trim(0)


_LARGE = 2_000_000  # values; the call takes milliseconds


@cache
def _trimmer() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library than GNU's
        return None


def _argument(param: FitParam, train: Array, store: Store) -> Any:
    value = store.get(param.value)
    if not is_kept(param.value):  # such as a callback that counts: fits may run side by side
        value = _copy(value)
    return take(value, train) if param.by_row else value


def _copy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # of a file or lock there can be none
        return value


def _weight_argument(estimator: Any) -> str:
    name = weight_argument(estimator)
    if name is None:
        raise TypeError(
            f"Expected a base model whose fit takes sample_weight; {type(estimator).__name__} "
            "doesn't. Use another class, or no weights."
        )
    return name


def limited_openmp(threads: int | None) -> contextlib.AbstractContextManager[object]:
    """Have OpenMP's loops use so many threads; None leaves it as it is.

    It keeps this number by thread: set in each of those that work side by side.
    """
    if threads is None:
        return contextlib.nullcontext()
    return _thread_pools().limit(limits=threads, user_api="openmp")


@cache
def _thread_pools() -> ThreadpoolController:
    return ThreadpoolController()


def predict_with(
    model: Any, X: Matrix, method: str, n_arms: int = 0, interactions: bool = False
) -> Array:
    """Predictions of a model, (m, c); (m, K, c) where the arm is a feature (``n_arms`` > 0)."""
    if isinstance(
        X, np.ndarray
    ):  # by columns, as `take` has it: the same bits in and out of sample
        X = np.asfortranarray(X)
    X = as_read_by(model, X)
    if not n_arms:
        return predict(model, X, method)
    categorical = _as_category(model, interactions)
    arms = [
        predict(
            model,
            with_arm(X, np.full(X.shape[0], arm), n_arms, categorical, interactions),
            method,
        )
        for arm in range(n_arms)
    ]
    return np.stack(arms, axis=1)


def _as_category(model: Any, interactions: bool) -> bool:
    return not interactions and takes_arm_as_category(model)
