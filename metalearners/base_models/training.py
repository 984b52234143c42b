"""Trains a base model, and asks it: the only place where an estimator's `fit` is called."""

import contextlib
import copy
import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController

from metalearners._typing import Array, Matrix
from metalearners.base_models.capabilities import as_read_by, takes_arm_as_category
from metalearners.base_models.estimators import predict
from metalearners.base_models.precision import centre_of
from metalearners.base_models.rows import as_positions, take, with_arm
from metalearners.base_models.seeds_and_threads import settle_predictions
from metalearners.base_models.weights import in_rows, routing_weights, weight_argument


@dataclass(frozen=True)
class Argument:
    """An argument of a base model's `fit`.

    Parameters
    ----------
    by_row : whether it has an entry a row, of which the training rows' are passed on
    own : whether the fit works on a copy, as on one of a callback that counts: fits may run side
        by side
    """

    name: str
    value: Any
    by_row: bool
    own: bool


@dataclass(frozen=True, eq=False)
class Training:
    """What one fit reads: values of all rows, and which of them it learns from and predicts.

    Parameters
    ----------
    X : (n, p) features
    target : (n,) what is learnt
    train : mask of the rows to learn from, eight to a byte
    test : positions of the rows to predict; None for none
    weight : (n,) row weights, if any
    arm : (n,) codes of arms, where the arm is a feature; then of `n_arms`, with `interactions` or
        without
    method : ``predict`` or ``predict_proba``
    """

    X: Matrix
    target: Array
    train: Array
    test: Array | None
    weight: Array | None
    arm: Array | None
    n_arms: int
    method: str
    interactions: bool
    arguments: tuple[Argument, ...] = ()


def fit(
    estimator: Any, training: Training, threads: int | None = None
) -> tuple[Array | None, float]:
    """Fit an estimator on the training rows and predict the test rows.

    Parameters
    ----------
    threads : for the OpenMP loops of a base model that has no parameter for it; None where no
        fits run beside it

    Returns
    -------
    predictions : (m, c), or (m, K, c) with the arm as a feature; None without test rows
    offset : what the model's own predictions lack (see `centre_of`); these have it
    """
    predictions = None
    with limited_openmp(threads):
        # Both take rows of their own, one after the other: X itself is never altered, and of its
        # copies one is held at a time.
        offset = _train(estimator, training)
        _give_back_memory(training.X)
        settle_predictions(estimator)
        if training.test is not None:
            test = take(training.X, training.test)
            predictions = predict_with(
                estimator, test, training.method, training.n_arms, training.interactions
            )
            predictions = predictions + offset if offset else predictions
    return predictions, offset


def _train(estimator: Any, t: Training) -> float:
    """Fit the estimator, and yield what its predictions lack."""
    train = as_positions(t.train, t.X.shape[0])
    if t.arm is None:
        rows = _rows(t.X, train)
    else:
        arm, categorical = t.arm[train], _as_category(estimator, t.interactions)
        rows = with_arm(t.X, arm, t.n_arms, categorical, t.interactions, train)
    rows = as_read_by(estimator, rows)
    y = t.target[train]
    if t.method == "predict_proba":
        y = y.astype(np.int64)
    # Arguments may hold outcomes too, which would have to move along.
    centred = t.method == "predict" and not t.arguments
    offset = centre_of(estimator, y) if centred else 0.0
    y = y - offset if offset else y
    if isinstance(rows, pd.DataFrame):  # models of the user's own expect a series beside a frame
        y = pd.Series(y, rows.index)
    arguments = {argument.name: _value(argument, train) for argument in t.arguments}
    if t.weight is None:
        estimator.fit(rows, y, **arguments)
        return offset
    arguments[_weight_argument(estimator)] = in_rows(t.weight[train])
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


def _value(argument: Argument, train: Array) -> Any:
    value = _copy(argument.value) if argument.own else argument.value
    return take(value, train) if argument.by_row else value


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
