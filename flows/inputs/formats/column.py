"""A column in its type, and what the readers of columns share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from flows.messages.limits import shown


@dataclass(frozen=True)
class Column:
    """A column in its type.

    Parameters
    ----------
    values : ChunkedArray
        Its values.
    note : str
        What a reader should know of how it was read; empty for nothing.
    fault : str
        What is wrong with it as a column of numbers; empty where it is right, or no such column.
    order : str
        ``day first`` or ``month first`` of dates that are written so.
    missing : dict
        How often each field was taken as missing; the note says so.
    """

    values: pa.ChunkedArray
    note: str = ""
    fault: str = ""
    order: str = ""
    missing: Mapping[str, int] = field(default_factory=dict)


def taken_as_missing(fields: Mapping[str, int]) -> str:
    """The note on fields that were taken as missing, by how often each was."""
    told = ", ".join(shown(repr(text)) for text in islice(fields, 5))
    return f"{sum(fields.values())} fields {told} are taken as missing"


def cast(fields: pa.ChunkedArray, type: pa.DataType) -> pa.ChunkedArray | None:
    """Values in another type; None if one has no such value."""
    try:
        return pc.cast(fields, type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # such as of a list
        return None


def is_text(type: pa.DataType) -> bool:
    """Whether values of a type are texts, also those that are kept as codes."""
    type = type.value_type if pa.types.is_dictionary(type) else type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(type) for is_kind in kinds)


def without_empty(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts whose empty ones are missing."""
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)
