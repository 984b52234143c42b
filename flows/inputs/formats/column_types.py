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

from flows.messages.limits import shown

# What programs write for a missing number. In a column of texts they are texts: NA may be Namibia.
MISSING = ("NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "-", "?", ".")
_NEARLY_ALL = 0.9
_FEWEST_NUMBERS = 20  # different ones: fewer may be codes, among which a text is no fault
_DATES = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))  # as ISO 8601 writes them
_WAYS = [
    "%Y%m%d",
    *(
        f"{date}{time}"
        for mark in "-/."
        for date in (f"%Y{mark}%m{mark}%d", f"%d{mark}%m{mark}%Y", f"%m{mark}%d{mark}%Y")
        for time in ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S")
    ),
]
_ORDERS = {"%d": "day first", "%m": "month first"}
_SAMPLE = 1000  # different texts, of which most ways to write a date read none
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
        whole = rf"([1-9]\d{{0,2}}({group}\d{{3}})+|\d+)" if group else r"\d+"
        written = rf"^\s*[+-]?({whole}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?\s*$"
        if not _all(pc.match_substring_regex(fields, written)):
            return None
        if self.thousands:
            fields = pc.replace_substring(fields, self.thousands, "")
        return pc.replace_substring(fields, self.decimal, ".")


POINT = Marks()
_COMMA = Marks(",", ".")
_GROUPS = Marks(".", ",")


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
    """

    values: pa.ChunkedArray
    note: str = ""
    fault: str = ""
    order: str = ""


def typed(texts: pa.ChunkedArray, marks: Marks = POINT, labels: bool = False) -> Column:
    """A column of texts in the type that its fields have.

    A column of numbers but for a few fields has a note if these are marks of a missing value,
    which they then are, and else a fault; not so a column of labels, which are what they are.
    """
    fields = _without_empty(texts)
    if fields.null_count == len(fields):
        return Column(fields)
    values = _first_type(fields, marks)
    if labels and values is not None and not _is_written_so(values, fields):
        values = None
    if values is not None:
        return Column(values)
    return Column(fields) if labels else _nearly_numbers(fields, marks)


def retyped(
    values: pa.ChunkedArray, type: str | None, marks: Marks = POINT, order: str = ""
) -> Column:
    """A column as ``text``, ``number`` or ``date``; in its own type for None.

    `order` says how dates are read whose order of day and month no row tells.
    """
    is_text = _is_text(values.type)
    if type is None or (type == "text" and is_text) or (type == "number" and not is_text):
        return Column(values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if type == "date":
        return as_dates(values, order)
    if type == "number":
        return as_number(values, marks)
    texts = _cast(values, pa.string())
    return Column(values if texts is None else texts)


def without_marks(values: pa.ChunkedArray, marks: Sequence[str]) -> pa.ChunkedArray:
    """A typed column whose values are missing where they equal a mark of a missing value."""
    if not marks:
        return values
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    if _is_text(values.type):
        found = pc.is_in(values, pa.array(marks, values.type))
    elif any(is_kind(values.type) for is_kind in is_number):
        numbers = pd.to_numeric(pd.Series(marks), errors="coerce").dropna()
        found = pc.is_in(values.cast(pa.float64(), safe=False), pa.array(numbers, pa.float64()))
    else:
        return values
    return pc.if_else(found, pa.scalar(None, values.type), values)


def _is_text(type: pa.DataType) -> bool:
    type = type.value_type if pa.types.is_dictionary(type) else type
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(type) for is_kind in kinds)


def _without_empty(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, texts.type), texts)


def as_number(texts: pa.ChunkedArray, marks: Marks = POINT) -> Column:
    """A column of texts as numbers, whatever they look like; a fault names what is none."""
    fields = _without_empty(texts)
    values = _numbers(fields, marks, identities=True)
    if values is not None:
        return Column(values)
    found = _nearly_numbers(fields, marks, identities=True)
    if found.note or found.fault:
        return found
    truths = _booleans(fields)
    return Column(fields, fault="most are no numbers") if truths is None else Column(truths)


def as_dates(values: pa.ChunkedArray, order: str = "") -> Column:
    """A column of texts as dates, or as times where one has a time.

    Texts are read in the one way that fits all of them. A fault names the first that is no date,
    or tells that day and month can't be told apart, unless `order` says it; a note tells an order
    that others may read in another way.
    """
    if pa.types.is_integer(values.type):
        values = values.cast(pa.string())  # such as 20241231
    if pa.types.is_temporal(values.type) or values.null_count == len(values):
        return Column(_as_days(values))
    if not _is_text(values.type):
        return Column(values, fault=f"they are {values.type}, no texts")
    fields = pc.utf8_trim_whitespace(values)
    fields = pc.if_else(pc.equal(fields, ""), pa.scalar(None, fields.type), fields)
    for type in _DATES:
        if (found := _cast(fields, type)) is not None:
            return Column(_as_days(found))
    return _dates_as_written(fields, order)


def _dates_as_written(fields: pa.ChunkedArray, order: str) -> Column:
    different = pc.unique(fields.drop_null()).to_pandas()
    sample = different.head(_SAMPLE)
    counts = {how: int(_times(sample, how).notna().sum()) for how in _WAYS}
    nearest = max(counts.values())  # ways that read fewer of the first ones read not all of them
    read = {how: _times(different, how) for how, n in counts.items() if n == nearest}
    fitting = [how for how, dates in read.items() if dates.notna().all()]
    if not fitting:
        most = max(read.values(), key=lambda dates: dates.notna().sum())
        return Column(fields, fault=_first_fault(fields, different[most.isna()]))
    usual = [how for how in fitting if order and _ORDERS.get(how[:2]) == order]
    first, *others = usual or fitting
    if any(not read[first].equals(read[other]) for other in others):
        day = different[read[first] != read[others[0]]].iloc[0]
        return Column(fields, fault=f"{day!r} may be day or month first, and no row tells which")
    dates = _times(fields.to_pandas(), first)
    found = pa.chunked_array([pa.array(dates, pa.timestamp("us"), from_pandas=True)])
    told = "" if others else _ORDERS.get(first[:2], "")
    return Column(_as_days(found), note=f"its dates are read {told}" if told else "", order=told)


def _times(texts: pd.Series, how: str) -> pd.Series:
    return pd.to_datetime(texts, format=how, errors="coerce")


def _first_fault(fields: pa.ChunkedArray, others: pd.Series) -> str:
    row = pc.index(pc.is_in(fields, pa.array(others, fields.type)), True).as_py()
    return f"row {row + 1} has {shown(repr(fields[row].as_py()))}"


def _as_days(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times that are all midnights as dates."""
    if not pa.types.is_timestamp(times.type) or times.type.tz is not None:
        return times
    days = pc.cast(times, pa.date32(), safe=False)
    return days if _all(pc.equal(pc.cast(days, times.type), times)) else times


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
        *(partial(_cast, type=type) for type in _DATES),
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
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # such as of a list
        return None


def _nearly_numbers(fields: pa.ChunkedArray, marks: Marks, identities: bool = False) -> Column:
    different = pc.unique(fields.drop_null())
    if not identities and pc.any(pc.match_substring_regex(different, _IDENTITY)).as_py():
        return Column(fields)
    plain = different if marks == POINT else pc.replace_substring(different, marks.decimal, ".")
    is_number = pc.match_substring_regex(plain, _NUMBER)
    others = different.filter(pc.invert(is_number))
    of_others = pc.is_in(fields, others)
    told = ", ".join(shown(repr(other)) for other in others[:5].to_pylist())
    n_others, n_fields = pc.sum(of_others).as_py(), len(fields) - fields.null_count
    if (identities or len(others) < len(different)) and set(others.to_pylist()) <= set(MISSING):
        numbers = pc.if_else(of_others, None, fields)
        values = _numbers(numbers, marks, True) if identities else _first_type(numbers, marks)
        if values is not None:
            return Column(values, note=f"{n_others} fields {told} are taken as missing")
    nearly_all = n_others <= (1 - _NEARLY_ALL) * n_fields
    if not nearly_all or len(different) - len(others) < _FEWEST_NUMBERS:
        return Column(fields)
    return Column(fields, fault=f"{n_others} of {n_fields} fields are none, such as {told}")


def _all(found: pa.ChunkedArray) -> bool:
    return bool(pc.all(found).as_py())
