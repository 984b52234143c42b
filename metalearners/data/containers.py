"""The containers that a feature matrix may come in, and the few things that are done to one."""

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
"""Positions or names of features; None is all of them."""


def check_matrix(X: Matrix) -> None:
    """Refuse what is no feature matrix.

    Raises
    ------
    TypeError
        If it is none of the containers that can be indexed by row.
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
    """Whether a value is of a container that can be indexed by row."""
    csr = sparse.issparse(X) and X.format == "csr"
    array = isinstance(X, np.ndarray) and not isinstance(X, np.matrix)
    return csr or array or as_frame(X) is not None


def check_same_rows(**given: Any) -> None:
    """Refuse pandas objects whose rows have other labels, or the same in another order.

    Rows are matched by position; labels that disagree mean that the positions do too.
    """
    labelled = {k: v.index for k, v in given.items() if isinstance(v, (pd.DataFrame, pd.Series))}
    for name, index in list(labelled.items())[1:]:
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
    """Refuse masked arrays, whose mask would be lost.

    Raises
    ------
    ValueError
        If some values are masked, or could be.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"Expected an array without a mask; found {int(np.sum(values.mask))} masked "
            "values. Call .filled(np.nan) for missing ones, or .data."
        )


def _check_names(X: Matrix) -> None:
    if not isinstance(X, pd.DataFrame):  # other libraries refuse such names
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
    named = [isinstance(name, str) for name in X.columns]
    if any(named) and not all(named):
        others = [name for name in X.columns if not isinstance(name, str)]
        raise ValueError(
            f"Expected names of one type for the columns of X; found {others[:5]} among texts. "
            "Call .rename(columns=str)."
        )


def column_names(X: Matrix) -> list[Any] | None:
    """Names of the columns; None where they have none."""
    if isinstance(X, pd.DataFrame):
        return X.columns.tolist()
    frame = as_frame(X)
    return None if frame is None else frame.columns


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
    chosen: list[Any] = list(columns) if by_name else [int(c) for c in columns]
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
        raise ValueError(
            f"Expected features of X among {whole}; not found: {absent}. Name others, or add them."
        )
    own = columns if named else [c % X.shape[1] for c in columns]
    if len(set(own)) < len(own):
        raise ValueError(
            f"Expected each feature once; found one more often in {list(columns)}. Name it once."
        )
    return bool(named)
