"""Trains a base model and predicts with it: the only place that calls an estimator's `fit`."""

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
from metalearners.base_models.binning import AllRows, shape_of, sharing_bins
from metalearners.base_models.capabilities import as_read_by, takes_arm_as_category
from metalearners.base_models.estimators import predict
from metalearners.base_models.precision import centre_of
from metalearners.base_models.rows import as_positions, take, with_arm
from metalearners.base_models.seeds_and_threads import fix_order_of_sums, predict_on_cpu
from metalearners.base_models.weights import in_rows, routing_weights, weight_argument

_LARGE = 2_000_000  # values of a matrix
_thread_pools = cache(ThreadpoolController)


@dataclass(frozen=True)
class Argument:
    """An argument of a base model's `fit`."""

    name: str
    value: Any
    by_row: bool  # whether it has an entry for each row; `fit` gets those of the training rows
    copied: bool  # whether each fit gets a copy, as of a callback that counts: fits run in parallel


@dataclass(frozen=True, eq=False)
class Training:
    """What one fit reads: values of all rows, and which rows it learns from and predicts."""

    X: Matrix  # (n, p) features
    target: Array  # (n,)
    train: Array  # mask of the rows to learn from, eight to a byte
    test: Array | None  # positions of the rows to predict; None for none
    weight: Array | None  # (n,)
    arm: Array | None  # (n,) codes of arms, if the arm is a feature
    n_arms: int
    method: str  # ``predict`` or ``predict_proba``
    interactions: bool  # whether each feature times each arm is a feature too
    arguments: tuple[Argument, ...] = ()
    bins: str = ""  # name of the matrix whose bins it shares (see `binning`); none: it bins its own


def fit(
    estimator: Any, training: Training, threads: int | None = None
) -> tuple[Array | None, float]:
    """Fit an estimator on the training rows and predict the test rows.

    `threads` limits the OpenMP loops of base models without a parameter for it; None, without
    parallel fits, doesn't.

    Returns
    -------
    predictions : Array | None
        (m, c), or (m, K, c) with the arm as a feature; None without test rows.
    offset : float
        What `predictions` have above the model's own (see `centre_of`).
    """
    predictions = None
    with limited_openmp(threads):
        # Training and prediction each copy their rows, one after the other: X is never altered,
        # and there is one copy at a time.
        offset = _train(estimator, training)
        _give_back_memory(training.X)
        fix_order_of_sums(estimator)
        predict_on_cpu(estimator)
        if training.test is not None:
            test = take(training.X, training.test)
            predictions = predict_with(
                estimator, test, training.method, training.n_arms, training.interactions
            )
            predictions = predictions + offset if offset else predictions
    return predictions, offset


def _train(estimator: Any, t: Training) -> float:
    """Fit the estimator; returns the constant that was subtracted from the outcomes."""
    train = as_positions(t.train, t.X.shape[0])
    shared = AllRows(t.bins, t.X, lambda: _features(estimator, t), train) if t.bins else None
    if shared is None:
        rows = _features(estimator, t, train)
    else:  # the binned set has the values
        rows = shape_of(len(train), _features(estimator, t, train[:1]).shape[1])
    y = t.target[train]
    if t.method == "predict_proba":
        y = y.astype(np.int64)
    # Arguments may hold outcomes too, from which the constant isn't subtracted.
    centred = t.method == "predict" and not t.arguments
    offset = centre_of(estimator, y) if centred else 0.0
    y = y - offset if offset else y
    if isinstance(rows, pd.DataFrame):  # the user's models expect a series beside a frame
        y = pd.Series(y, rows.index)
    arguments = {argument.name: _value(argument, train) for argument in t.arguments}
    if t.weight is None:
        with sharing_bins(shared):
            estimator.fit(rows, y, **arguments)
        return offset
    name = weight_argument(estimator)
    if name is None:
        raise TypeError(
            f"Expected a base model whose fit takes sample_weight; {type(estimator).__name__} "
            "doesn't. Use another class, or no weights."
        )
    arguments[name] = in_rows(t.weight[train])
    with routing_weights(estimator), sharing_bins(shared):
        estimator.fit(rows, y, **arguments)
    return offset


def _features(estimator: Any, t: Training, rows: Array | None = None) -> Matrix:
    """Features of some rows as a fit reads them, with the arm if it is one; all by default."""
    if t.arm is None:
        return as_read_by(estimator, t.X if rows is None else _rows(t.X, rows))
    arm = t.arm if rows is None else t.arm[rows]
    categorical = _as_category(estimator, t.interactions)
    X = with_arm(t.X, arm, t.n_arms, categorical, t.interactions, rows)
    return as_read_by(estimator, X)


def _rows(X: Matrix, train: Array) -> Matrix:
    """Rows to train on; no copy of a whole array in the layout that `take` returns."""
    if isinstance(X, np.ndarray) and len(train) == len(X) and X.flags.f_contiguous:
        whole = X.view()
        whole.flags.writeable = False  # a base model that works in place must not alter X
        return whole
    return take(X, train)


def _give_back_memory(X: Matrix) -> None:
    # The C library keeps what LightGBM frees, by thread: with several workers this is more than
    # the features themselves. The call takes milliseconds.
    trim = _trimmer()
    if trim is not None and X.shape[0] * X.shape[1] > _LARGE:
        trim(0)


@cache
def _trimmer() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library than GNU's
        return None


def _value(argument: Argument, train: Array) -> Any:
    value = argument.value
    if argument.copied:
        with contextlib.suppress(Exception):  # files and locks have no copies
            value = copy.deepcopy(value)
    return take(value, train) if argument.by_row else value


def limited_openmp(threads: int | None) -> contextlib.AbstractContextManager[object]:
    """Within it, OpenMP's loops use at most so many threads; None sets no limit.

    OpenMP keeps the limit for each thread: set it in each of those that work side by side.
    """
    if threads is None:
        return contextlib.nullcontext()
    return _thread_pools().limit(limits=threads, user_api="openmp")


def predict_with(
    model: Any, X: Matrix, method: str, n_arms: int = 0, interactions: bool = False
) -> Array:
    """Predictions of a model, (m, c); (m, K, c) if the arm is a feature (``n_arms`` > 0)."""
    if isinstance(X, np.ndarray):
        X = np.asfortranarray(X)  # as `take` returns it: the same bits in and out of sample
    X = as_read_by(model, X)
    if not n_arms:
        return predict(model, X, method)
    categorical = _as_category(model, interactions)
    predictions = []
    for arm in range(n_arms):
        arms = np.full(X.shape[0], arm)
        rows = with_arm(X, arms, n_arms, categorical, interactions)
        predictions.append(predict(model, rows, method))
    return np.stack(predictions, axis=1)


def _as_category(model: Any, interactions: bool) -> bool:
    return not interactions and takes_arm_as_category(model)
