"""Types of columns whose fields are texts, as in a CSV: each is decided over all rows.

A column has the first of these types that each of its fields has: integer, number, true/false,
date, time with or without a zone, text. A field that begins with a zero, or that has more digits
than numbers keep, is an identity and so a text. An empty field is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from flows.messages.limits import shown

# What programs write for a missing number. In a column of texts they are texts: NA may be Namibia.
MISSING = ("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "-", "?", ".")
_NEARLY_ALL = 0.9
_FEWEST_NUMBERS = 20  # different ones: fewer may be codes, among which a text is no fault
_IDENTITY = r"^[+-]?(0\d|\d{16,}$)"
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True)
class Marks:
    """How the numbers of a file are written.

    Parameters
    ----------
    decimal : str
        Before the decimals: a point or a comma.
    thousands : str
        Between groups of three digits; empty for nothing.
    """

    decimal: str = "."
    thousands: str = ""

    def plain(self, fields: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Numbers as programs write them; None if a field isn't written with these marks."""
        point, group = (f"\\{mark}" if mark else "" for mark in (self.decimal, self.thousands))
        whole = rf"(\d{{1,3}}({group}\d{{3}})+|\d+)" if group else r"\d+"
        written = rf"^\s*[+-]?({whole}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?\s*$"
        if not _all(pc.match_substring_regex(fields, written)):
            return None
        if self.thousands:
            fields = pc.replace_substring(fields, self.thousands, "")
        return pc.replace_substring(fields, self.decimal, ".")


POINT = Marks()
_OTHERS = (Marks(".", ","), Marks(",", "."))


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
    """

    values: pa.ChunkedArray
    note: str = ""
    fault: str = ""


def typed(texts: pa.ChunkedArray, marks: Marks = POINT, labels: bool = False) -> Column:
    """A column of texts in the type that its fields have.

    A column of numbers but for a few fields has a note if these are marks of a missing value,
    which they then are, and else a fault; not so a column of labels, which are what they are.
    """
    fields = pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)
    if fields.null_count == len(fields):
        return Column(fields)
    values = _first_type(fields, marks)
    if labels and values is not None and not _is_written_so(values, fields):
        values = None
    if values is not None:
        return Column(values)
    return Column(fields) if labels else _nearly_numbers(fields, marks)


def as_number(texts: pa.ChunkedArray, marks: Marks = POINT) -> Column:
    """A column of texts as numbers, whatever they look like; a fault names what is none."""
    values = _numbers(texts, marks, identities=True)
    if values is not None:
        return Column(values)
    found = _nearly_numbers(texts, marks)
    if found.note or found.fault:
        return found
    return Column(texts, fault="data.read.types says that they are numbers; most are none")


def marks_of(columns: list[pa.ChunkedArray]) -> Marks:
    """How the numbers of a file are written: not with a point, where a column shows it."""
    texts = [column for column in columns if pc.any(pc.match_substring(column, ",")).as_py()]
    for marks in _OTHERS:
        if any(marks.plain(column) is not None for column in texts):
            return marks
    return POINT


def _first_type(fields: pa.ChunkedArray, marks: Marks) -> pa.ChunkedArray | None:
    readers: tuple[Callable[[pa.ChunkedArray], pa.ChunkedArray | None], ...] = (
        _integers,
        lambda fields: _numbers(fields, marks),
        _booleans,
        lambda fields: _cast(fields, pa.date32()),
        lambda fields: _cast(fields, pa.timestamp("us")),
        lambda fields: _cast(fields, pa.timestamp("us", "UTC")),
    )
    beginning = fields.slice(0, 1000)  # most types are out of question after a few rows
    fitting = (read for read in readers if read(beginning) is not None)
    return next((values for read in fitting if (values := read(fields)) is not None), None)


def _is_written_so(values: pa.ChunkedArray, fields: pa.ChunkedArray) -> bool:
    """Whether labels of a type are the texts that stand in the file, so that none is lost."""
    if pa.types.is_floating(values.type):
        return all(repr(float(text)) == text for text in fields.unique().drop_null().to_pylist())
    return not pa.types.is_temporal(values.type)


def _integers(fields: pa.ChunkedArray) -> pa.ChunkedArray | None:
    whole = _cast(fields, pa.int64())
    if whole is None or not _all(pc.equal(pc.cast(whole, fields.type), fields)):
        return None  # such as 007, which is another text than 7
    return whole


def _numbers(
    fields: pa.ChunkedArray, marks: Marks, identities: bool = False
) -> pa.ChunkedArray | None:
    if marks != POINT:
        plain = marks.plain(fields)
        if plain is None:
            return None
        fields = plain
    numbers = _cast(fields, pa.float64())
    if numbers is None:
        fields = pc.utf8_trim_whitespace(fields)
        numbers = _cast(fields, pa.float64())
    if numbers is None or identities:
        return numbers
    return None if pc.any(pc.match_substring_regex(fields, _IDENTITY)).as_py() else numbers


def _booleans(fields: pa.ChunkedArray) -> pa.ChunkedArray | None:
    lower = pc.utf8_lower(fields)
    words = pc.is_in(lower, pa.array(["true", "false"], lower.type))
    return pc.equal(lower, "true") if _all(pc.or_(words, pc.is_null(fields))) else None


def _cast(fields: pa.ChunkedArray, type: pa.DataType) -> pa.ChunkedArray | None:
    try:
        return pc.cast(fields, type)
    except pa.ArrowInvalid:
        return None


def _nearly_numbers(fields: pa.ChunkedArray, marks: Marks) -> Column:
    different = pc.unique(fields.drop_null())
    plain = different if marks == POINT else pc.replace_substring(different, marks.decimal, ".")
    is_number = pc.match_substring_regex(plain, _NUMBER)
    others = different.filter(pc.invert(is_number))
    of_others = pc.is_in(fields, others)
    told = ", ".join(shown(repr(other)) for other in others[:5].to_pylist())
    n_others, n_fields = pc.sum(of_others).as_py(), len(fields) - fields.null_count
    if len(others) < len(different) and set(others.to_pylist()) <= set(MISSING):
        values = _first_type(pc.if_else(of_others, None, fields), marks)
        if values is not None:
            return Column(values, note=f"{n_others} fields {told} are taken as missing")
    nearly_all = n_others <= (1 - _NEARLY_ALL) * n_fields
    if not nearly_all or len(different) - len(others) < _FEWEST_NUMBERS:
        return Column(fields)
    return Column(fields, fault=f"{n_others} of {n_fields} fields are none, such as {told}")


def _all(found: pa.ChunkedArray) -> bool:
    return bool(pc.all(found).as_py())
