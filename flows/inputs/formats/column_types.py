"""Types of columns whose fields are texts, as in a CSV: each is decided over all rows.

A column has the first of these types that each of its fields has: integer, number, true/false,
date, time with or without a zone, text. A field that begins with a zero, or that has more digits
than numbers keep, is an identity and so a text. An empty field is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flows.inputs.formats.column import (
    Column,
    cast,
    is_text,
    taken_as_missing,
    without_empty,
)
from flows.inputs.formats.dates import ISO, as_dates
from flows.messages.limits import shown

# What programs write for a missing number. In a column of texts they are texts: NA may be Namibia.
MISSING = ("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "-", "?", ".")
_NEARLY_ALL = 0.9
_FEWEST_NUMBERS = 20  # different ones: fewer may be codes, among which a text is no fault
_IDENTITY = r"^[+-]?(0\d|\d{16,}$)"


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

    @property
    def written(self) -> str:
        """How a number is written with these marks, as a regular expression."""
        point, group = (f"\\{mark}" if mark else "" for mark in (self.decimal, self.thousands))
        whole = rf"([1-9]\d{{0,2}}({group}\d{{3}})+|\d+)" if group else r"\d+"
        return rf"^\s*[+-]?({whole}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?\s*$"

    def plain(self, fields: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Numbers as programs write them; None if a field isn't written with these marks."""
        if not _all(pc.match_substring_regex(fields, self.written)):
            return None
        if self.thousands:
            fields = pc.replace_substring(fields, self.thousands, "")
        return pc.replace_substring(fields, self.decimal, ".")


POINT = Marks()
_COMMA = Marks(",", ".")
_GROUPS = Marks(".", ",")


def typed(texts: pa.ChunkedArray, marks: Marks = POINT, labels: bool = False) -> Column:
    """A column of texts in the type that its fields have.

    A column of numbers but for a few fields has a note if these are marks of a missing value,
    which they then are, and else a fault; not so a column of labels, which are what they are.
    """
    if labels:
        kind = LabelKind()
        kind.see(texts)
        return kind.read(texts)
    fields = without_empty(texts)
    if fields.null_count == len(fields):
        return Column(fields)
    values = _first_type(fields, marks)
    return _nearly_numbers(fields, marks) if values is None else Column(values)


class LabelKind:
    """The first type that all labels of a column have, batch after batch, so that none is lost.

    Labels are integers, numbers or true/false where these are the texts that stand in the file,
    and else texts.
    """

    def __init__(self) -> None:
        self._open: dict[str, Callable[[pa.ChunkedArray], pa.ChunkedArray | None]] = {
            "integer": _integers,
            "number": _numbers_as_written,
            "true/false": _booleans,
        }
        self._seen = False

    def see(self, texts: pa.ChunkedArray) -> None:
        """Look at some more labels."""
        fields = without_empty(texts).drop_null()
        if len(fields):
            self._seen = True
            self._open = {k: read for k, read in self._open.items() if read(fields) is not None}

    def read(self, texts: pa.ChunkedArray) -> Column:
        """Labels, all of which were seen, in the type that all have."""
        fields = without_empty(texts)
        read = next(iter(self._open.values()), None) if self._seen else None
        values = None if read is None else read(fields)
        return Column(fields if values is None else values)


def retyped(
    values: pa.ChunkedArray, type: str | None, marks: Marks = POINT, order: str = ""
) -> Column:
    """A column as ``text``, ``number`` or ``date``; in its own type for None.

    `order` says how dates are read whose order of day and month no row tells.
    """
    are_texts = is_text(values.type)
    if type is None or (type == "text" and are_texts) or (type == "number" and not are_texts):
        return Column(values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if type == "date":
        return as_dates(values, order)
    if type == "number":
        return as_number(values, marks)
    texts = cast(values, pa.string())
    return Column(values if texts is None else texts)


def without_marks(values: pa.ChunkedArray, marks: Sequence[str]) -> pa.ChunkedArray:
    """A typed column whose values are missing where they equal a mark of a missing value."""
    if not marks:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    if is_text(values.type):
        found = pc.is_in(values, pa.array(marks, values.type))
    elif any(is_kind(values.type) for is_kind in is_number):
        numbers = pd.to_numeric(pd.Series(marks), errors="coerce").dropna()
        found = pc.is_in(values.cast(pa.float64(), safe=False), pa.array(numbers, pa.float64()))
    else:
        return values
    return pc.if_else(found, pa.scalar(None, values.type), values)


def as_number(texts: pa.ChunkedArray, marks: Marks = POINT) -> Column:
    """A column of texts as numbers, whatever they look like; a fault names what is none."""
    fields = without_empty(texts)
    if fields.null_count == len(fields):
        return Column(pc.cast(fields, pa.float64()))
    values = _numbers(fields, marks, identities=True)
    if values is not None:
        return Column(values)
    found = _nearly_numbers(fields, marks, identities=True)
    if found.note or found.fault:
        return found
    truths = _booleans(fields)
    return Column(fields, fault="most are no numbers") if truths is None else Column(truths)


def marks_of(columns: list[pa.ChunkedArray], semicolons: bool, usual: Marks | None = None) -> Marks:
    """How the numbers of a file are written: the way in which most of its columns are numbers.

    Parameters
    ----------
    columns : list of ChunkedArray
        Fields of the beginning of a file, none of them empty.
    semicolons : bool
        Whether semicolons stand between fields, as programs write them where a comma is decimal.
    usual : Marks, optional
        Those of the files that a model was trained on.
    """
    others = [_COMMA, _GROUPS] if semicolons else [_GROUPS, _COMMA]
    ways = list(dict.fromkeys([*([usual] if usual else []), POINT, *others]))
    pointed = [c for c in columns if _has(c, ".") and POINT.plain(c) is not None]
    open_to = [way for way in ways if all(_is_written_by(c, way, semicolons) for c in pointed)]
    return max(open_to, key=lambda way: sum(way.plain(c) is not None for c in columns))


def _is_written_by(column: pa.ChunkedArray, way: Marks, semicolons: bool) -> bool:
    """Whether numbers with a point may be written in a way; with commas, 1.000 may be 1."""
    if way.thousands == "." and not semicolons:
        return False
    return way.plain(column) is not None


def _has(column: pa.ChunkedArray, mark: str) -> bool:
    return bool(pc.any(pc.match_substring(column, mark)).as_py())


def _first_type(fields: pa.ChunkedArray, marks: Marks) -> pa.ChunkedArray | None:
    readers: tuple[Callable[[pa.ChunkedArray], pa.ChunkedArray | None], ...] = (
        _integers,
        lambda fields: _numbers(fields, marks),
        _booleans,
        *(partial(cast, type=type) for type in ISO),
    )
    beginning = fields.slice(0, 1000)  # most types are out of question after a few rows
    fitting = (read for read in readers if read(beginning) is not None)
    return next((values for read in fitting if (values := read(fields)) is not None), None)


def _integers(fields: pa.ChunkedArray) -> pa.ChunkedArray | None:
    whole = cast(fields, pa.int64())
    if whole is None:
        return None
    zero = pc.and_(pc.starts_with(fields, "0"), pc.greater(pc.binary_length(fields), 1))
    other = pc.or_(zero, pc.starts_with(fields, "-0"))  # such as 007, which is another text than 7
    return None if pc.any(other).as_py() else whole


def _numbers(
    fields: pa.ChunkedArray, marks: Marks, identities: bool = False
) -> pa.ChunkedArray | None:
    if marks != POINT:
        plain = marks.plain(fields)
        if plain is None:
            return None
        fields = plain
    numbers = cast(fields, pa.float64())
    if numbers is None:
        fields = pc.utf8_trim_whitespace(fields)
        numbers = cast(fields, pa.float64())
    if numbers is None or identities:
        return numbers
    return None if pc.any(pc.match_substring_regex(fields, _IDENTITY)).as_py() else numbers


def _numbers_as_written(fields: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Numbers that are written as the texts that stand in the file."""
    for part in (fields.slice(0, 1000), fields):  # most are out of question after a few rows
        values = _numbers(part, POINT)
        if values is None or any(repr(float(t)) != t for t in _different(part)):
            return None
    return values


def _different(fields: pa.ChunkedArray) -> list[str]:
    return list(pc.unique(fields.drop_null()).to_pylist())


def _booleans(fields: pa.ChunkedArray) -> pa.ChunkedArray | None:
    lower = pc.utf8_lower(fields)
    words = pc.is_in(lower, pa.array(["true", "false"], lower.type))
    return pc.equal(lower, "true") if _all(pc.or_(words, pc.is_null(fields))) else None


def _nearly_numbers(fields: pa.ChunkedArray, marks: Marks, identities: bool = False) -> Column:
    different = pc.unique(fields.drop_null())
    if not identities and pc.any(pc.match_substring_regex(different, _IDENTITY)).as_py():
        return Column(fields)
    is_number = pc.match_substring_regex(different, marks.written)
    others = different.filter(pc.invert(is_number))
    of_others = pc.is_in(fields, others)
    n_others, n_fields = pc.sum(of_others).as_py(), len(fields) - fields.null_count
    if (identities or len(others) < len(different)) and set(others.to_pylist()) <= set(MISSING):
        numbers = pc.if_else(of_others, None, fields)
        values = _numbers(numbers, marks, True) if identities else _first_type(numbers, marks)
        if values is not None:
            counts = fields.filter(of_others).value_counts()
            missing = dict(zip(*(part.to_pylist() for part in counts.flatten()), strict=True))
            return Column(values, note=taken_as_missing(missing), missing=missing)
    nearly_all = n_others <= (1 - _NEARLY_ALL) * n_fields
    if not nearly_all or len(different) - len(others) < _FEWEST_NUMBERS:
        return Column(fields)
    told = ", ".join(shown(repr(other)) for other in others[:5].to_pylist())
    return Column(fields, fault=f"{n_others} of {n_fields} fields are none, such as {told}")


def _all(found: pa.ChunkedArray) -> bool:
    return bool(pc.all(found).as_py())
