"""Columns from pandas to Arrow and back: what would lose something is kept or refused."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flows.errors import InputError
from flows.messages.limits import shown

FRAME = "a data frame (pandas, polars or pyarrow)"
UNREADABLE = (pa.ArrowException, TypeError, ValueError, OverflowError)
"""What conversions of a column raise."""

_LARGEST_OF_FLOATS = 2**53  # an integer: beyond, floats lose digits


def as_arrow(values: pd.Series) -> pa.Array:
    """A column of pandas in Arrow; intervals, as pandas.cut makes them, are their texts.

    Raises one of `UNREADABLE` if it has no plain type.
    """
    levels = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    if isinstance(levels.dtype, pd.IntervalDtype):
        values = values.astype("category").cat.rename_categories(str)
    found = nw.from_native(values, series_only=True).to_arrow()
    if pa.types.is_date(found.type) and values.map(_has_time).any():
        raise TypeError("dates beside times, which would lose their hours")
    return found


def _has_time(value: Any) -> bool:
    known = isinstance(value, datetime.datetime) and value is not pd.NaT
    return known and value.timetz() != datetime.time()


def as_frame(
    columns: Mapping[str, pa.ChunkedArray], labels: Collection[str], source: str
) -> pd.DataFrame:
    """Columns in pandas: decimals are numbers, and no integer loses digits.

    Integers beside a gap are floats there, unless they are labels or too large for floats.

    Raises InputError if a column has no type of pandas.
    """
    table = pa.table(
        {
            name: v.cast(pa.float64()) if _is_decimal(v) and name not in labels else v
            for name, v in columns.items()
        }
    )
    try:
        frame = table.to_pandas(ignore_metadata=True, split_blocks=True)
    except UNREADABLE:
        check_plain([f for name in columns if (f := _fault(name, table[name]))], source)
        raise
    for name, values in columns.items():
        dtype = _nullable(values, name in labels)
        if dtype is not None:
            frame[name] = values.to_pandas(types_mapper={values.type: dtype}.get)
    return frame


def _nullable(values: pa.ChunkedArray, is_label: bool) -> pd.api.extensions.ExtensionDtype | None:
    """The type that keeps integers beside a gap; None where floats may hold them."""
    if not (pa.types.is_integer(values.type) and values.null_count):
        return None
    ends = pc.min_max(values).as_py()
    most = max(-(ends["min"] or 0), ends["max"] or 0)
    if not is_label and most <= _LARGEST_OF_FLOATS:
        return None
    return pd.Int64Dtype() if (ends["max"] or 0) < 2**63 else pd.UInt64Dtype()


def check_plain(faults: Sequence[str], source: str, how: str = "as with .astype(str)") -> None:
    """Refuse columns that have no plain type; `how` they can be converted."""
    if faults:
        raise InputError(
            f"Expected columns of one plain type each in {source}; found others: "
            f"{shown('; '.join(faults), 500)}. Convert them, {how}, or leave them out of the "
            "columns that the run uses."
        )


def _is_decimal(values: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_decimal(values.type))


def _fault(name: str, values: pa.ChunkedArray) -> str:
    """Why pandas can't hold a column; empty if it can."""
    try:
        values.to_pandas()
    except UNREADABLE as error:
        return f"{name!r}: {shown(str(error))}"
    return ""


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame of pandas, polars or pyarrow, in memory."""
    # Not by nw.from_native, which raises for a name that stands twice.
    return nw.dependencies.is_into_dataframe(value)


def check_rows(rows: Any, where: str) -> None:
    """Refuse what is neither a data frame nor the place of one."""
    if not (isinstance(rows, (str, Path)) or is_frame(rows)):
        raise no_rows(where, f"{FRAME} or a data file", rows)


def no_rows(where: str, expected: str, found: Any) -> InputError:
    """The refusal of what was given in place of rows."""
    return InputError(
        f"{where}: expected {expected}; found {type(found).__module__}."
        f"{type(found).__qualname__}. Convert it, as with pandas.DataFrame(...) or, of a lazy "
        "frame, .collect()."
    )
