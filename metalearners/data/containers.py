"""The containers that a feature matrix may come in, and the few things that are done to one."""

from collections.abc import Sequence
from numbers import Number
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy import sparse

from metalearners._typing import Array, Matrix
from metalearners.base_models.feature_types import kinds_of

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


def kinds(X: Matrix) -> dict[Any, str]:
    """Columns that hold something else than plain numbers, with what they hold; see `kinds_of`."""
    return kinds_of(X, as_frame(X))


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
    if frame is not None:
        return frame[rows].to_native()
    if sparse.issparse(X) or X.ndim == 1:
        return X[rows]
    rows = np.arange(len(X))[rows]
    # By columns, as data frames lay out their values: sums in another order end in other bits.
    taken = np.empty((len(rows), *X.shape[1:]), X.dtype, order="F")
    for begin in range(0, len(rows), _AT_ONCE):
        taken[begin : begin + _AT_ONCE] = X[rows[begin : begin + _AT_ONCE]]
    return taken


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


def with_arm(
    X: Matrix,
    arm: Array,
    n_arms: int,
    categorical: bool,
    interactions: bool = False,
    rows: Array | None = None,
) -> Matrix:
    """Features with the treatment appended, for a learner that treats it as one of them.

    A category column ``treatment`` where the base model takes categories (arrays, polars and
    pyarrow frames then become pandas ones, which models read category types from), else one 0/1
    column ``treatment_k`` an arm but the control, and with `interactions` each feature times each
    of these too. Columns of a frame get strings for names, as base models refuse a mixture.

    Parameters
    ----------
    rows : positions of the rows that `arm` is of, where these are some of X's
    """
    if isinstance(X, np.ndarray) and not categorical:
        return _array_with(X, arm, n_arms, interactions, rows)
    if rows is not None:
        X = take(X, rows)
    if categorical and not sparse.issparse(X):
        levels = pd.Categorical(arm, categories=range(n_arms))
        return as_pandas(X).rename(columns=str).assign(treatment=levels)
    indicators = _indicators(arm, n_arms)
    if as_frame(X) is not None:
        return _frame_with(X, indicators, interactions)
    return sparse.hstack(_beside(X, indicators, interactions), format="csr")


def _indicators(arm: Array, n_arms: int) -> Array:
    return (arm[:, None] == np.arange(1, n_arms)).astype(np.int8)


def _array_with(X: Array, arm: Array, n_arms: int, interactions: bool, rows: Array | None) -> Array:
    """`with_arm` for arrays, in parts, so that features are copied once."""
    rows = np.arange(len(X)) if rows is None else rows
    n_features = X.shape[1] * (n_arms if interactions else 1) + n_arms - 1
    kind = _beside(X[:1], _indicators(arm[:1], n_arms), interactions)[-1].dtype
    wide = np.empty((len(rows), n_features), kind, order="F")  # as `take` lays out its rows
    for begin in range(0, len(rows), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        own = _beside(X[rows[part]], _indicators(arm[part], n_arms), interactions)
        wide[part] = np.hstack(own)
    return wide


_AT_ONCE = 1_024  # rows, so that a part of a large array is small beside it


def _beside(X: Matrix, indicators: Array, interactions: bool) -> list[Matrix]:
    parts = [X, indicators.astype(X.dtype)]
    if interactions:
        kind = X.dtype if X.dtype.kind == "f" else np.dtype(float)
        parts += [_times(X, column.astype(kind)) for column in indicators.T]
    return parts


def _times(X: Matrix, indicator: Array) -> Matrix:
    if sparse.issparse(X):
        return X.multiply(indicator[:, None]).tocsr()
    return X * indicator[:, None]


def _frame_with(X: Matrix, indicators: Array, interactions: bool) -> Matrix:
    frame = nw.from_native(X.rename(columns=str) if isinstance(X, pd.DataFrame) else X)
    numeric = [
        name for name, kind in frame.schema.items() if kind.is_numeric() or kind == nw.Boolean
    ]
    arms, products = [], []
    for k, column in enumerate(indicators.T, start=1):
        arm = _series_beside(X, f"treatment_{k}", column)
        arms.append(arm)
        if interactions:
            products += [
                (_number(frame[name]) * arm).alias(f"{name}_x_{arm.name}") for name in numeric
            ]
    return frame.with_columns(*arms, *products).to_native()


def _number(column: nw.Series[Any]) -> nw.Series[Any]:
    return column.cast(nw.Int8) if column.dtype == nw.Boolean else column


def _series_beside(X: Matrix, name: str, values: Array) -> nw.Series[Any]:
    if isinstance(X, pd.DataFrame):  # rows of pandas are matched by their labels
        return nw.from_native(pd.Series(values, X.index, name=name), series_only=True)
    return nw.new_series(name, values, backend=nw.get_native_namespace(X))


def as_pandas(X: Matrix) -> pd.DataFrame:
    """A feature matrix as a pandas data frame; columns without names are numbered.

    True and false with missing values become numbers, as whole numbers with such do: pandas would
    have Python objects.
    """
    frame = as_frame(X)
    if frame is None or isinstance(X, pd.DataFrame):
        return pd.DataFrame(X)
    boolean = [c.name for c in frame.iter_columns() if c.dtype == nw.Boolean]
    gaps = [name for name in boolean if frame[name].is_null().any()]
    return (frame.with_columns(nw.col(gaps).cast(nw.Float64)) if gaps else frame).to_pandas()
