"""The containers that a feature matrix may come in, and the few things that are done to one."""

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy import sparse

from metalearners._typing import Array, Matrix

Features = tuple[int, ...] | tuple[str, ...] | None
"""Positions or names of features; None is all of them."""


def check_matrix(X: Matrix) -> None:
    """Refuse what is no feature matrix.

    Raises
    ------
    TypeError
        If it is none of the containers that can be indexed by row.
    ValueError
        If it isn't 2-dimensional, has no rows or columns, or two columns of one name.
    """
    _check_names(X)
    if not is_matrix(X):
        hint = "Call .tocsr()." if sparse.issparse(X) else "Convert it, as with np.asarray."
        raise TypeError(
            "Expected X as a numpy array, a pandas or polars DataFrame, a pyarrow Table or a scipy "
            f"csr matrix; found {type(X).__module__}.{type(X).__qualname__}. {hint}"
        )
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(
            f"Expected X of shape (n, p) with rows and columns; found {X.shape}. "
            "A single feature is X[:, None]."
        )


def is_matrix(X: Any) -> bool:
    """Whether a value is of a container that can be indexed by row."""
    csr = sparse.issparse(X) and X.format == "csr"
    return csr or isinstance(X, np.ndarray) or as_frame(X) is not None


def _check_names(X: Matrix) -> None:
    if isinstance(X, pd.DataFrame) and X.columns.has_duplicates:  # other libraries refuse them
        twice = X.columns[X.columns.duplicated()].unique().tolist()
        raise ValueError(f"Expected columns of different names in X; found {twice} more than once.")


def as_frame(X: Matrix) -> nw.DataFrame[Any] | None:
    """A data frame of any library behind one interface; None for arrays."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    return frame if isinstance(frame, nw.DataFrame) else None


def column_names(X: Matrix) -> list[Any] | None:
    """Names of the columns; None where they have none."""
    if isinstance(X, pd.DataFrame):
        return X.columns.tolist()
    frame = as_frame(X)
    return None if frame is None else frame.columns


def take(X: Matrix, rows: Array) -> Matrix:
    """Rows of a feature matrix, in its own container."""
    if isinstance(X, pd.DataFrame):
        return X.iloc[rows]
    frame = as_frame(X)
    return X[rows] if frame is None else frame[rows].to_native()


def select(X: Matrix, columns: Features) -> Matrix:
    """The named columns of a feature matrix, in its own container.

    A column of ones where none are named, as for a model of a mean.

    Raises
    ------
    ValueError
        If some columns are named by position and others by name, or X has no such columns.
    """
    if columns is None:
        return X
    if not columns:
        return np.ones((X.shape[0], 1))
    by_name = _check_columns(X, columns)
    chosen: list[Any] = list(columns)
    frame = as_frame(X)
    if frame is None:
        return X[:, chosen]
    if isinstance(X, pd.DataFrame):
        return X[chosen] if by_name else X.iloc[:, chosen]
    return (frame.select(chosen) if by_name else frame[:, chosen]).to_native()


def _check_columns(X: Matrix, columns: Sequence[Any]) -> bool:
    """Whether columns are given by name; refuses mixtures and absent columns."""
    named = sum(isinstance(c, str) for c in columns)
    if 0 < named < len(columns):
        raise ValueError(
            "Expected features that must either be all ints (positions) or all strings (names); "
            f"found {list(columns)}."
        )
    names = column_names(X)
    if named and names is None:
        raise ValueError(
            f"Expected features by position, as X is a {type(X).__name__} without column names; "
            f"found {list(columns)}."
        )
    known = set(names or []) if named else set(range(-X.shape[1], X.shape[1]))
    absent = [c for c in columns if c not in known]
    if absent:
        whole = names if named else f"positions below {X.shape[1]}"
        raise ValueError(f"Expected features of X among {whole}; not found: {absent}.")
    return bool(named)


def with_arm(
    X: Matrix, arm: Array, n_arms: int, categorical: bool, interactions: bool = False
) -> Matrix:
    """Features with the treatment appended, for a learner that treats it as one of them.

    A category column ``treatment`` where the base model takes categories (arrays, polars and
    pyarrow frames then become pandas ones, which models read category types from), else one 0/1
    column ``treatment_k`` an arm but the control, and with `interactions` each feature times each
    of these too. Columns of a frame get strings for names, as base models refuse a mixture.
    """
    if categorical and not sparse.issparse(X):
        levels = pd.Categorical(arm, categories=range(n_arms))
        return as_pandas(X).rename(columns=str).assign(treatment=levels)
    indicators = (arm[:, None] == np.arange(1, n_arms)).astype(np.int8)
    if as_frame(X) is not None:
        return _frame_with(X, indicators, interactions)
    kind = X.dtype if X.dtype.kind == "f" else float
    parts = [X, indicators.astype(X.dtype)]
    if interactions:
        parts += [_times(X, column.astype(kind)) for column in indicators.T]
    return sparse.hstack(parts, format="csr") if sparse.issparse(X) else np.hstack(parts)


def _times(X: Matrix, indicator: Array) -> Matrix:
    if sparse.issparse(X):
        return X.multiply(indicator[:, None]).tocsr()
    return X * indicator[:, None]


def _frame_with(X: Matrix, indicators: Array, interactions: bool) -> Matrix:
    frame = nw.from_native(X.rename(columns=str) if isinstance(X, pd.DataFrame) else X)
    numeric = [name for name, kind in frame.schema.items() if kind.is_numeric()]
    arms, products = [], []
    for k, column in enumerate(indicators.T, start=1):
        arm = _series_beside(X, f"treatment_{k}", column)
        arms.append(arm)
        if interactions:
            products += [(frame[name] * arm).alias(f"{name}_x_{arm.name}") for name in numeric]
    return frame.with_columns(*arms, *products).to_native()


def _series_beside(X: Matrix, name: str, values: Array) -> nw.Series[Any]:
    if isinstance(X, pd.DataFrame):  # rows of pandas are matched by their labels
        return nw.from_native(pd.Series(values, X.index, name=name), series_only=True)
    return nw.new_series(name, values, backend=nw.get_native_namespace(X))


def as_pandas(X: Matrix) -> pd.DataFrame:
    """A feature matrix as a pandas data frame; columns without names are numbered."""
    frame = as_frame(X)
    return pd.DataFrame(X) if frame is None else frame.to_pandas()
