"""How a column is read batch by batch, in a type that no single batch chooses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from flows.inputs.formats.column import Column, is_text
from flows.inputs.formats.column_types import LabelKind, Marks, retyped, without_marks
from flows.inputs.formats.dates import DateWays

LABEL = "label"
"""A column whose values are kept as they are written; the others are text, number or date."""


@dataclass(frozen=True)
class Writing:
    """How the values of a column are written.

    Parameters
    ----------
    marks : Marks
        Of numbers.
    missing : sequence of str
        What stands for missing values.
    order : str
        ``day first`` or ``month first``, of dates whose order no row tells.
    is_text_file : bool
        Whether the file has texts alone, so that labels have the type of their fields.
    """

    marks: Marks
    missing: Sequence[str]
    order: str
    is_text_file: bool


class ColumnReader:
    """Reads a column of each batch as one of all rows would be read.

    Parameters
    ----------
    kind : str
        ``text``, ``number``, ``date`` or `LABEL`.
    type : DataType
        Of the values in the files.
    writing : Writing
        How they are written.
    """

    def __init__(self, kind: str, type: pa.DataType, writing: Writing) -> None:
        is_read = kind == LABEL or (kind == "date" and pa.types.is_temporal(type))
        self._kind = None if is_read else kind
        self._writing = writing
        self._over_all: DateWays | LabelKind | None = None  # what decides by all rows
        if kind == "date" and is_text(type):
            self._over_all = DateWays(writing.order)
        elif kind == LABEL and writing.is_text_file:
            self._over_all = LabelKind()

    @property
    def needs_all_rows(self) -> bool:
        """Whether all rows must be seen before any is read."""
        return self._over_all is not None

    def see(self, values: pa.ChunkedArray) -> None:
        """Look at some more rows."""
        if self._over_all is not None:
            self._over_all.see(self._plain(values))

    @property
    def fault(self) -> str:
        """What is wrong with the rows that were seen; empty where nothing is."""
        return self._over_all.fault if isinstance(self._over_all, DateWays) else ""

    def read(self, values: pa.ChunkedArray) -> Column:
        """The column in its type; a fault says what is wrong with it."""
        plain, writing = self._plain(values), self._writing
        if self._over_all is not None:
            found = self._over_all.read(plain)
        else:
            found = retyped(plain, self._kind, writing.marks, writing.order)
        if not writing.is_text_file:
            return found
        # Such as -9.0 for -9, which is no text that stands for a missing value.
        return replace(found, values=without_marks(found.values, writing.missing))

    def _plain(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        if not self._writing.is_text_file:
            values = without_marks(values, self._writing.missing)
        is_coded = pa.types.is_dictionary(values.type) and self._kind in (None, "date")
        return values.cast(values.type.value_type) if is_coded else values
