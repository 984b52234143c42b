"""Digests of feature matrices: equal content has one name in every container."""

from collections.abc import Iterable
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse

from metalearners._typing import Matrix, Ref
from metalearners.base_models.rows import as_frame
from metalearners.digests.digest import digest
from metalearners.digests.names import combine


def matrix_digest(X: Matrix) -> tuple[Ref, Ref]:
    """Digests of a feature matrix: its content column by column, and its schema.

    Seeds depend on the content, so that the same numbers in an array and in a data frame of any
    library give the same fits. The schema (container, column names and types) is the other part
    of the matrix's name, because a kept model remembers it.
    """
    frame = as_frame(X)
    if sparse.issparse(X):
        return _sparse_digest(X), combine("csr", [X.dtype.str])
    if frame is None:
        columns = [digest(np.ascontiguousarray(X[:, j])) for j in range(X.shape[1])]
        schema = combine("ndarray", [X.dtype.str])
    else:
        series: Iterable[Any] = frame.iter_columns()
        columns = [_column(column) for column in series]
        kinds = [f"{name!r} {kind}" for name, kind in frame.schema.items()]
        schema = combine("frame", [str(frame.implementation), *kinds])
    return combine("matrix", [repr(X.shape), *columns]), schema


def _sparse_digest(X: Matrix) -> Ref:
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return combine("csr", [repr(X.shape), *map(digest, (X.data, X.indices, X.indptr))])


def _column(column: nw.Series[Any]) -> Ref:
    if column.dtype.is_numeric():
        # Libraries have several forms of a missing whole number; as a float it is NaN in each.
        missing = not column.dtype.is_float() and column.is_null().any()
        return digest((column.cast(nw.Float64) if missing else column).to_numpy())
    values = column.to_pandas()
    if isinstance(values.dtype, np.dtype) and not values.dtype.hasobject:
        return digest(values.to_numpy())
    categorical = values.astype("category").cat
    levels = digest(categorical.categories.tolist())
    # Base models may take ordered categories for numbers.
    return combine(
        "levels", [digest(categorical.codes.to_numpy()), levels, str(categorical.ordered)]
    )
