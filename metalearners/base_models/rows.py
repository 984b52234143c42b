"""Rows of a feature matrix in any container, and the treatment as one more feature."""

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy import sparse

from metalearners._typing import Array, Matrix

_AT_ONCE = 1_024  # rows, so that a part of a large array is small beside it


def as_frame(X: Matrix) -> nw.DataFrame[Any] | None:
    """A data frame of any library behind one interface; None for arrays."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    return frame if isinstance(frame, nw.DataFrame) else None


def take(X: Matrix, rows: Array) -> Matrix:
    """Rows of a feature matrix, or of values beside it, in its own container."""
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return X.iloc[rows]
    frame = as_frame(X)
    if frame is not None:
        return frame[rows].to_native()
    if sparse.issparse(X) or X.ndim == 1:
        return X[rows]
    rows = np.arange(len(X))[rows]
    # By columns, as in data frames: sums in another order differ in their last bits.
    taken = np.empty((len(rows), *X.shape[1:]), X.dtype, order="F")
    for begin in range(0, len(rows), _AT_ONCE):
        taken[begin : begin + _AT_ONCE] = X[rows[begin : begin + _AT_ONCE]]
    return taken


def with_arm(
    X: Matrix,
    arm: Array,
    n_arms: int,
    categorical: bool,
    interactions: bool = False,
    rows: Array | None = None,
) -> Matrix:
    """Features with the treatment as one more, for a learner that has it as a feature.

    If `categorical`, the treatment is a category column ``treatment`` (arrays, polars and pyarrow
    frames become pandas frames, from which models read categories). Else there is a 0/1 column
    ``treatment_k`` for each arm but the control; with `interactions` also each feature times each
    of these. Names of a frame's columns become strings, as base models refuse a mixture. With
    `rows`, positions in X, `arm` has an entry for each of those rows.
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
    """`with_arm` for arrays, part by part, so that features are copied once."""
    rows = np.arange(len(X)) if rows is None else rows
    n_features = X.shape[1] * (n_arms if interactions else 1) + n_arms - 1
    kind = _beside(X[:1], _indicators(arm[:1], n_arms), interactions)[-1].dtype
    wide = np.empty((len(rows), n_features), kind, order="F")  # as `take` lays out its rows
    for begin in range(0, len(rows), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        wide[part] = np.hstack(_beside(X[rows[part]], _indicators(arm[part], n_arms), interactions))
    return wide


def _beside(X: Matrix, indicators: Array, interactions: bool) -> list[Matrix]:
    parts = [X, indicators.astype(X.dtype)]
    if interactions:
        columns = indicators.astype(X.dtype if X.dtype.kind == "f" else np.dtype(float))
        for column in columns.T[:, :, None]:
            parts.append(X.multiply(column).tocsr() if sparse.issparse(X) else X * column)
    return parts


def _frame_with(X: Matrix, indicators: Array, interactions: bool) -> Matrix:
    frame = nw.from_native(X.rename(columns=str) if isinstance(X, pd.DataFrame) else X)
    schema = frame.schema
    numeric = [name for name, kind in schema.items() if kind.is_numeric() or kind == nw.Boolean]
    arms, products = [], []
    for k, indicator in enumerate(indicators.T, start=1):
        arm = _series_beside(X, f"treatment_{k}", indicator)
        arms.append(arm)
        for name in numeric if interactions else ():
            column = frame[name].cast(nw.Int8) if schema[name] == nw.Boolean else frame[name]
            products.append((column * arm).alias(f"{name}_x_{arm.name}"))
    return frame.with_columns(*arms, *products).to_native()


def _series_beside(X: Matrix, name: str, values: Array) -> nw.Series[Any]:
    if isinstance(X, pd.DataFrame):  # pandas matches rows by their labels
        return nw.from_native(pd.Series(values, X.index, name=name), series_only=True)
    return nw.new_series(name, values, backend=nw.get_native_namespace(X))


def as_pandas(X: Matrix) -> pd.DataFrame:
    """A feature matrix as a pandas data frame; columns without names are numbered.

    True and false with missing values become floats, where pandas would have Python objects.
    """
    frame = as_frame(X)
    if frame is None or isinstance(X, pd.DataFrame):
        return pd.DataFrame(X)
    boolean = [c.name for c in frame.iter_columns() if c.dtype == nw.Boolean]
    gaps = [name for name in boolean if frame[name].is_null().any()]
    return (frame.with_columns(nw.col(gaps).cast(nw.Float64)) if gaps else frame).to_pandas()


def as_mask(positions: Array, n_rows: int) -> Array:
    """A mask of rows, eight to a byte."""
    mask = np.zeros(n_rows, dtype=bool)
    mask[positions] = True
    return np.packbits(mask)


def as_positions(mask: Array, n_rows: int) -> Array:
    """Positions of the rows of a mask, ascending."""
    return np.flatnonzero(np.unpackbits(mask, count=n_rows))
