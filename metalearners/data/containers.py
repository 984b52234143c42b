"""The containers that a feature matrix may come in: their checks, and their columns."""

from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from metalearners._typing import Matrix
from metalearners.base_models.feature_types import kinds
from metalearners.base_models.rows import as_frame

Features = tuple[int, ...] | tuple[str, ...] | None
"""Positions or names of features; None for all of them."""


def check_matrix(X: Matrix) -> None:
    """Refuse what isn't a feature matrix.

    Raises
    ------
    TypeError
        If its rows can't be indexed.
    ValueError
        If it isn't 2-dimensional, has no rows or columns, two columns of one name, names of
        several types, or values that are masked or of a type that no base model takes.
    """
    check_unmasked(X)
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
    kinds(X)


def is_matrix(X: Any) -> bool:
    """Whether a value is a container whose rows can be indexed."""
    csr = sparse.issparse(X) and X.format == "csr"
    array = isinstance(X, np.ndarray) and not isinstance(X, np.matrix)
    return csr or array or as_frame(X) is not None


def check_same_rows(**given: Any) -> None:
    """Refuse pandas objects whose indexes differ: learners match rows by position."""
    labelled = {k: v.index for k, v in given.items() if isinstance(v, (pd.DataFrame, pd.Series))}
    for name, index in labelled.items():
        first, expected = next(iter(labelled.items()))
        if not index.equals(expected):
            same = len(index) == len(expected) and index.isin(expected).all()
            labels = f"{len(index)} labels such as {index[:3].tolist()}"
            found = "another order" if same else labels
            raise ValueError(
                f"Expected the same index in {name} as in {first}, "
                f"{len(expected)} labels such as {expected[:3].tolist()}; found {found}. "
                f"Align them, as with {name}.loc[{first}.index], or pass arrays that are aligned."
            )


def check_unmasked(values: Any) -> None:
    """Refuse masked arrays: a conversion would lose their mask."""
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"Expected an array without a mask; found {int(np.sum(values.mask))} masked "
            "values. Call .filled(np.nan) for missing ones, or .data."
        )


def _check_names(X: Matrix) -> None:
    if not isinstance(X, pd.DataFrame):  # other libraries refuse such names themselves
        return
    if X.columns.has_duplicates:
        twice = X.columns[X.columns.duplicated()].unique().tolist()
        raise ValueError(
            f"Expected columns of different names in X; found {twice} more than once. Rename them."
        )
    odd = [name for name in X.columns if not isinstance(name, (str, Number))]
    if odd:
        raise ValueError(
            f"Expected texts or numbers as names of the columns of X; found {odd[:5]}. Name them "
            "anew, as with X.columns = ['_'.join(map(str, name)) for name in X.columns]."
        )
    others = [name for name in X.columns if not isinstance(name, str)]
    if 0 < len(others) < X.shape[1]:
        raise ValueError(
            f"Expected names of one type for the columns of X; found {others[:5]} among texts. "
            "Call .rename(columns=str)."
        )


def column_names(X: Matrix) -> list[Any] | None:
    """Names of the columns; None for a container without names."""
    if isinstance(X, pd.DataFrame):
        return X.columns.tolist()
    frame = as_frame(X)
    return None if frame is None else frame.columns


def select(X: Matrix, columns: Features) -> Matrix:
    """Some columns of a feature matrix, in its own container.

    Without columns, as for a model of a mean, it is an array of ones, (n, 1).

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
    chosen: list[Any] = list(columns) if by_name else [int(c) for c in columns]
    frame = as_frame(X)
    if frame is None:
        return X[:, chosen]
    if isinstance(X, pd.DataFrame):
        return X[chosen] if by_name else X.iloc[:, chosen]
    return (frame.select(chosen) if by_name else frame[:, chosen]).to_native()


def _check_columns(X: Matrix, columns: Sequence[Any]) -> bool:
    """Whether columns are names; refuses a mixture with positions, and absent columns."""
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
        raise ValueError(
            f"Expected features of X among {whole}; not found: {absent}. Name others, or add them."
        )
    distinct = {c if named else c % X.shape[1] for c in columns}
    if len(distinct) < len(columns):
        raise ValueError(
            f"Expected each feature once; found one more often in {list(columns)}. Name it once."
        )
    return bool(named)
