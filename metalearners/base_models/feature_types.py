"""What the columns of features hold; a column of anything else is refused by its name."""

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from metalearners._typing import Array, Matrix

TEXTS = "texts"
CATEGORIES = "categories"
NUMBERED = "categories that are numbers"
OBJECTS = "numbers as Python objects"
ARROW = "Arrow's own type"
ARROW_CATEGORIES = "categories of Arrow's own type"
HALF = "numbers of half precision"
_PLAIN = ""

_OF_VALUES = {
    "string": TEXTS,
    **dict.fromkeys(("integer", "floating", "boolean", "mixed-integer-float", "empty"), OBJECTS),
}
"""Kinds of columns of Python objects, by pandas' word for their values."""

# LightGBM writes the levels down in JSON.
_LEVELS = {*_OF_VALUES, "mixed-integer"}
# Of other libraries' frames than pandas': they have no way into base models.
_WIDE = (nw.Decimal, nw.Int128, nw.UInt128)


def kinds_of(X: Matrix, frame: nw.DataFrame[Any] | None) -> dict[Any, str]:
    """Columns that hold something else than plain numbers, each with what it holds.

    Parameters
    ----------
    frame : `X` behind the interface of `as_frame`, where it is a data frame

    Raises
    ------
    ValueError
        If columns hold something that is neither a number, true or false, a text nor a category.
    """
    if frame is None:
        found = _of_array(X)
    else:
        names = X.columns if isinstance(X, pd.DataFrame) else frame.columns
        # Frames of thousands of columns are looked at in each prediction: not column by position,
        # which takes a time that grows with the square, and plain numbers by their type alone.
        plain = {j for j, dtype in enumerate(_dtypes(X)) if dtype.kind in "biuf"}
        others: Any = enumerate(frame.iter_columns()) if len(plain) < len(names) else ()
        held = {j: _kind(column) for j, column in others if j not in plain}
        found = {name: held.get(j, (_PLAIN, True)) for j, name in enumerate(names)}
    wrong = [
        kind if name is None else f"{name} ({kind})"
        for name, (kind, known) in found.items()
        if not known
    ]
    if wrong:
        raise ValueError(
            f"Expected features that are numbers, texts or categories; found {', '.join(wrong)}. "
            "Convert them: decimals with .astype(float), dates to days since the first."
        )
    return {name: kind for name, (kind, _) in found.items() if kind != _PLAIN}


def _dtypes(X: Matrix) -> list[Any]:
    """Numpy's type of each column of a pandas frame; one without numbers for others."""
    types = X.dtypes if isinstance(X, pd.DataFrame) else ()
    return [dtype if isinstance(dtype, np.dtype) else np.dtype(object) for dtype in types]


def _of_array(X: Matrix) -> dict[Any, tuple[str, bool]]:
    """The kind of each column of an array: one for all, unless they are Python objects."""
    if X.dtype.kind in "biuf" and X.dtype.itemsize <= 8:
        return {}
    if X.dtype.kind == "O":
        return {j: _of_objects(X[:, j]) for j in range(X.shape[1])}
    return {None: (TEXTS, True) if X.dtype.kind in "UT" else (str(X.dtype), False)}


def _kind(column: nw.Series[Any]) -> tuple[str, bool]:
    """What a column holds, and whether base models have a use for it."""
    dtype = column.dtype
    own = getattr(column.to_native(), "dtype", None)
    if isinstance(own, pd.CategoricalDtype | pd.SparseDtype) or own == np.dtype(object):
        return _of_pandas(column.to_native())
    if dtype == nw.String:
        return TEXTS, True
    arrow = isinstance(own, pd.ArrowDtype)
    if dtype == nw.Float16 and not isinstance(column.to_native(), pd.Series):
        return HALF, True
    if (dtype.is_numeric() and dtype not in _WIDE) or dtype == nw.Boolean:
        return (ARROW if arrow else _PLAIN), True
    if dtype in (nw.Categorical, nw.Enum):
        return (ARROW_CATEGORIES if arrow else CATEGORIES), True
    return str(dtype if own is None or dtype != nw.Unknown else own), False


def _of_pandas(column: pd.Series) -> tuple[str, bool]:
    """The same for what only pandas has: Python objects, sparse values, categories of any type."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        if pd.api.types.is_any_real_numeric_dtype(dtype.categories.dtype):
            return NUMBERED, True
        held = pd.api.types.infer_dtype(dtype.categories)
        return (CATEGORIES, True) if held in _LEVELS else (f"categories of {held}", False)
    if isinstance(dtype, pd.SparseDtype):
        return (_PLAIN, True) if dtype.subtype.kind in "biuf" else (str(dtype), False)
    return _of_objects(column.to_numpy())


def _of_objects(values: Array) -> tuple[str, bool]:
    held = pd.api.types.infer_dtype(values, skipna=True)
    return _OF_VALUES.get(held, held), held in _OF_VALUES
