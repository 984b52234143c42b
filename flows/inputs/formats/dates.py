"""Dates that are written as texts: read in the one way that fits all rows, batch after batch."""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flows.inputs.formats.column import Column, cast, is_text, without_empty
from flows.messages.limits import shown

ISO = (pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))
"""Types of dates and times as ISO 8601 writes them."""

_WRITTEN = [
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


class DateWays:
    """The ways in which all texts can be read as dates that were seen so far.

    Parameters
    ----------
    order : str
        ``day first`` or ``month first``: how dates are read whose order no row tells.
    """

    def __init__(self, order: str = "") -> None:
        self._no_date = ""  # the first text that is none
        self._usual = order
        self._types: list[pa.DataType] = [*ISO]
        self._written = [*_WRITTEN]
        self._example: str | None = None  # a text that is another date with the month first
        self._rows = 0
        self._seen = False

    def see(self, values: pa.ChunkedArray) -> None:
        """Look at some more texts."""
        fields = _trimmed(values)
        different = pc.unique(fields.drop_null())
        if len(different) and not self._no_date:
            self._seen = True
            before = self._types
            self._types = [t for t in before if cast(different, t) is not None]
            self._narrow(different.to_pandas(), fields, before)
        self._rows += len(values)

    def _narrow(
        self, different: pd.Series, fields: pa.ChunkedArray, types: list[pa.DataType]
    ) -> None:
        """Keep the ways that read all of different texts; a fault names the first that none does.

        That is: the first that isn't read by the way that reads most, or as one of the types.
        """
        sample = different.head(_SAMPLE)
        counts = {how: int(_times(sample, how).notna().sum()) for how in self._written}
        nearest = max(counts.values(), default=0)  # ways that read fewer of them read not all
        read = {how: _times(different, how) for how, n in counts.items() if n == nearest}
        self._written = [how for how, dates in read.items() if dates.notna().all()]
        if not self._written and not self._types:
            most = max(read.values(), key=lambda dates: dates.notna().sum(), default=None)
            unread = _no_dates(different, types) if most is None else different[most.isna()]
            self._no_date = self._first_of(fields, unread)
        for other in self._written[1:]:
            differ = different[read[self._written[0]] != read[other]]
            self._example = self._example or next(iter(differ), None)

    def _first_of(self, fields: pa.ChunkedArray, texts: pd.Series) -> str:
        row = pc.index(pc.is_in(fields, pa.array(texts, fields.type)), True).as_py()
        return f"row {self._rows + row + 1} has {shown(repr(fields[row].as_py()))}"

    @property
    def fault(self) -> str:
        """What is wrong with the texts that were seen; empty where nothing is.

        One is no date, or day and month can't be told apart and there is no usual order.
        """
        if self._no_date or self._types or self._example is None or len(self._fitting) < 2:
            return self._no_date
        return f"{self._example!r} may be day or month first, and no row tells which"

    @property
    def _fitting(self) -> list[str]:
        usual = [h for h in self._written if self._usual and _ORDERS.get(h[:2]) == self._usual]
        return usual or self._written

    def read(self, values: pa.ChunkedArray) -> Column:
        """Texts, all of which were seen, as dates or times in one type.

        A note tells an order of day and month that others may read in another way.
        """
        if self.fault or not self._seen:
            return Column(values, fault=self.fault)
        fields = _trimmed(values)
        if self._types:
            return Column(pc.cast(fields, self._types[0]))
        first, *others = self._fitting
        dates = _times(fields.to_pandas(), first)
        found = pa.chunked_array([pa.array(dates, pa.timestamp("us"), from_pandas=True)])
        told = "" if others else _ORDERS.get(first[:2], "")
        return Column(found, note=f"its dates are read {told}" if told else "", order=told)


def as_dates(values: pa.ChunkedArray, order: str = "") -> Column:
    """A column of texts as dates, or as times where one has a time.

    Texts are read in the one way that fits all of them; see `DateWays`. A fault names the first
    that is no date.
    """
    if pa.types.is_integer(values.type):
        values = values.cast(pa.string())  # such as 20241231
    if pa.types.is_temporal(values.type) or values.null_count == len(values):
        return Column(_as_days(values))
    if not is_text(values.type):
        return Column(values, fault=f"they are {values.type}, no texts")
    fields = _trimmed(values)
    for type in ISO:  # as most files have them
        if (dates := cast(fields, type)) is not None:
            return Column(_as_days(dates))
    ways = DateWays(order)
    ways.see(values)
    found = ways.read(values)
    return Column(_as_days(found.values), found.note, found.fault, found.order)


def _trimmed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return without_empty(pc.utf8_trim_whitespace(values))


def _no_dates(texts: pd.Series, types: list[pa.DataType]) -> pd.Series:
    """The first of some texts that is of none of some types of dates."""
    for i, text in enumerate(texts):
        if all(cast(pa.chunked_array([[text]]), type) is None for type in types):
            return texts[i : i + 1]
    return texts


def _times(texts: pd.Series, how: str) -> pd.Series:
    return pd.to_datetime(texts, format=how, errors="coerce")


def _as_days(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times that are all midnights as dates."""
    if not pa.types.is_timestamp(times.type) or times.type.tz is not None:
        return times
    days = pc.cast(times, pa.date32(), safe=False)
    same = pc.all(pc.equal(pc.cast(days, times.type), times)).as_py()
    return days if same else times
