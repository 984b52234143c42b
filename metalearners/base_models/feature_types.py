"""What the columns of features hold; columns that no base model takes are refused by name."""

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from metalearners._typing import Array, Matrix
from metalearners.base_models.rows import as_frame

TEXTS = "texts"
CATEGORIES = "categories"
NUMBERED = "categories that are numbers"
OBJECTS = "numbers as Python objects"
ARROW = "Arrow's own type"
ARROW_CATEGORIES = "categories of Arrow's own type"
_HALF = "numbers of half precision"
_PLAIN = ""
_USABLE = {_PLAIN, TEXTS, CATEGORIES, NUMBERED, OBJECTS, ARROW, ARROW_CATEGORIES, _HALF}

# Kinds of columns of Python objects, by the type of their values in pandas' words.
_OF_VALUES = {
    "string": TEXTS,
    **dict.fromkeys(("integer", "floating", "boolean", "mixed-integer-float", "empty"), OBJECTS),
}
_LEVELS = {*_OF_VALUES, "mixed-integer"}  # of categories: LightGBM writes them to JSON
_WIDE = (nw.Decimal, nw.Int128, nw.UInt128)  # of polars and Arrow: no base model takes them


def kinds(X: Matrix) -> dict[Any, str]:
    """Columns that hold something other than plain numbers, each with what it holds.

    Raises
    ------
    ValueError
        If columns hold something that is neither a number, true or false, a text nor a category.
    """
    frame = as_frame(X)
    held = _of_array(X) if frame is None else _of_frame(X, frame)
    wrong = [
        kind if name is None else f"{name} ({kind})"
        for name, kind in held.items()
        if kind not in _USABLE
    ]
    if wrong:
        raise ValueError(
            f"Expected features that are numbers, texts or categories; found {', '.join(wrong)}. "
            "Convert them: decimals with .astype(float), dates to days since the first."
        )
    return {name: kind for name, kind in held.items() if kind != _PLAIN}


def _of_frame(X: Matrix, frame: nw.DataFrame[Any]) -> dict[Any, str]:
    """The kind of each column, but for numpy's numbers in a pandas frame."""
    names = X.columns if isinstance(X, pd.DataFrame) else frame.columns
    # Each prediction looks at all columns, maybe thousands: numpy's by their type alone, and the
    # others in one iteration, as access by position takes quadratic time.
    dtypes = enumerate(X.dtypes) if isinstance(X, pd.DataFrame) else ()
    plain = {j for j, dtype in dtypes if isinstance(dtype, np.dtype) and dtype.kind in "biuf"}
    if len(plain) == len(names):
        return {}
    columns: Any = enumerate(frame.iter_columns())
    return {names[j]: _kind(column) for j, column in columns if j not in plain}


def _of_array(X: Matrix) -> dict[Any, str]:
    """The kind of each column of Python objects; of other arrays one for all, under None."""
    if X.dtype.kind in "biuf" and X.dtype.itemsize <= 8:
        return {}
    if X.dtype.kind == "O":
        return {j: _of_objects(X[:, j]) for j in range(X.shape[1])}
    return {None: TEXTS if X.dtype.kind in "UT" else str(X.dtype)}


def _kind(column: nw.Series[Any]) -> str:
    dtype = column.dtype
    native = column.to_native()
    native_dtype = getattr(native, "dtype", None)
    pandas_only = isinstance(native_dtype, pd.CategoricalDtype | pd.SparseDtype)
    if pandas_only or native_dtype == np.dtype(object):
        return _of_pandas(native)
    if dtype == nw.String:
        return TEXTS
    arrow = isinstance(native_dtype, pd.ArrowDtype)
    if dtype == nw.Float16 and not isinstance(native, pd.Series):
        return _HALF
    if (dtype.is_numeric() and dtype not in _WIDE) or dtype == nw.Boolean:
        return ARROW if arrow else _PLAIN
    if dtype in (nw.Categorical, nw.Enum):
        return ARROW_CATEGORIES if arrow else CATEGORIES
    return str(dtype if native_dtype is None or dtype != nw.Unknown else native_dtype)


def _of_pandas(column: pd.Series) -> str:
    """The kind of Python objects, of sparse values and of categories of any type."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if pd.api.types.is_any_real_numeric_dtype(dtype.categories.dtype):
            return NUMBERED
        held = pd.api.types.infer_dtype(dtype.categories)
        return CATEGORIES if held in _LEVELS else f"categories of {held}"
    if isinstance(dtype, pd.SparseDtype):
        return _PLAIN if dtype.subtype.kind in "biuf" else str(dtype)
    return _of_objects(column.to_numpy())


def _of_objects(values: Array) -> str:
    held = pd.api.types.infer_dtype(values, skipna=True)
    return _OF_VALUES.get(held, held)
