"""Sources whose names hold dates: the partitions that a logical date reads."""

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal

import pandas as pd

from flows.errors import InputError
from flows.messages.limits import shown

_DATE = re.compile(r"\{date:([^{}]*)\}")
_DIRECTIVE = re.compile(r"%.")
_LENGTH = re.compile(r"([1-9]\d{0,4}) ?(?:(minute|hour|day|week|month|year)s?|([hdw]))")
_SHORT = {"h": "hour", "d": "day", "w": "week"}
_MOST = 10_000  # partitions of a run

# Periods of pandas, by the directives that name each of them once.
_PERIODS = {
    frozenset({"%Y"}): "Y",
    frozenset({"%Y", "%m"}): "M",
    frozenset({"%G", "%V"}): "W",
    frozenset({"%Y", "%m", "%d"}): "D",
    frozenset({"%Y", "%j"}): "D",
    frozenset({"%Y", "%m", "%d", "%H"}): "h",
    frozenset({"%Y", "%j", "%H"}): "h",
    frozenset({"%Y", "%m", "%d", "%H", "%M"}): "min",
}
_LENGTHS = {
    "Y": "1 year",
    "M": "1 month",
    "W": "1 week",
    "D": "1 day",
    "h": "1 hour",
    "min": "1 minute",
}


@dataclass(frozen=True)
class Window:
    """Which partitions a run reads.

    Parameters
    ----------
    date : datetime
        The logical date, as the clock shows it where partitions are named.
    last : str, optional
        How far the window reaches back, such as ``3 months``; None for the date's own partition.
    missing : {"refuse", "warn"}
        What a partition without files means.
    since : datetime, optional
        No partition that begins earlier is read, however far the window reaches back.
    """

    date: datetime
    last: str | None = None
    missing: Literal["refuse", "warn"] = "refuse"
    since: datetime | None = None


def names_dates(source: str) -> bool:
    """Whether the name of a source holds a date."""
    return "{date" in source


def check_source(source: str) -> str:
    """The source, or a ValueError if what it says of dates names no partitions."""
    if names_dates(source):
        _period_of(source)
    return source


def check_length(length: str) -> str:
    """The length of a time, or a ValueError that says what one is."""
    if not _LENGTH.fullmatch(length):
        raise ValueError(
            "expected a number of minutes, hours, days, weeks, months or years, such as 28 days; "
            f"found {shown(repr(length))}."
        )
    return length


def offset(length: str, times: int = 1) -> pd.DateOffset:
    """A length of time, several times."""
    found = _LENGTH.fullmatch(length)
    assert found is not None  # it was checked
    number, unit, short = found.groups()
    return pd.DateOffset(**{f"{unit or _SHORT[short]}s": times * int(number)})


def step_of(source: str) -> str:
    """The length of a partition; a day where the source names no dates."""
    return _LENGTHS[_period_of(source)] if names_dates(source) else "1 day"


def partitions_of(source: str, window: Window) -> list[str]:
    """The names of the partitions in a window, oldest first; errors as for `begins_of`."""
    return list(begins_of(source, window))


def begins_of(source: str, window: Window) -> dict[str, pd.Timestamp]:
    """When the partitions in a window begin, by their names, oldest first.

    A partition is inside if it begins later than that of the logical date minus `last`.

    Raises InputError if they are too many.
    """
    period = partition_at(source, window.date)
    begin, periods = _begin(period, window), [period]
    while (period := period - 1).start_time > begin:
        periods.append(period)
        if len(periods) > _MOST:
            raise InputError(
                f"data.last: expected at most {_MOST:,} partitions; found more in {window.last} of "
                f"{source}. Use a shorter window, or larger partitions."
            )
    return {_name_of(source, one): one.start_time for one in reversed(periods)}


def begin_of(source: str, window: Window) -> datetime:
    """The beginning of a window's first partition; of its first day where the source has no dates.

    Raises InputError as `begins_of` does.
    """
    if not names_dates(source):
        return datetime.combine(days_of(window)[0], time())
    return min(begins_of(source, window).values()).to_pydatetime()


def end_of(source: str, window: Window) -> datetime:
    """The end of a window's last partition; that of its day where the source names no dates."""
    day = pd.Period(window.date, freq="D")
    period = partition_at(source, window.date) if names_dates(source) else day
    return (period + 1).start_time.to_pydatetime()  # type: ignore[no-any-return] # of pandas


def partition_at(source: str, moment: datetime) -> pd.Period:
    """The partition that a moment lies in."""
    return pd.Period(moment, freq=_period_of(source))


def is_within(source: str, moment: datetime, window: Window) -> bool:
    """Whether a window has the partition that a moment lies in."""
    return _name_of(source, partition_at(source, moment)) in partitions_of(source, window)


def days_of(window: Window) -> tuple[date, date]:
    """The first and the last day of a window, as for partitions of a day."""
    day = pd.Period(window.date, freq="D")
    first = _begin(day, window).normalize() + pd.Timedelta(days=1)
    return first.date(), day.start_time.date()


def _begin(period: pd.Period, window: Window) -> pd.Timestamp:
    """The moment after which the partitions of a window begin."""
    begin = _reach(period, window.last)
    if window.since is None:
        return begin
    return max(begin, pd.Timestamp(window.since) - pd.Timedelta(microseconds=1))


def _reach(period: pd.Period, last: str | None) -> pd.Timestamp:
    if last is None:
        return (period - 1).start_time
    try:
        return period.start_time - offset(last)
    except (OverflowError, ValueError):  # before the first moment that pandas knows
        return pd.Timestamp.min


def _name_of(source: str, period: pd.Period) -> str:
    return _DATE.sub(lambda found: period.start_time.strftime(found[1]), source)


def _period_of(source: str) -> str:
    formats = "".join(_DATE.findall(source))
    named = frozenset(_DIRECTIVE.findall(formats)) - {"%%"}
    if named not in _PERIODS or names_dates(_DATE.sub("", source)):
        raise ValueError(
            "expected dates as {date:%Y-%m-%d}, with the directives %Y; %Y %m; %G %V; %Y %m %d; "
            f"%Y %j; and with a day also %H or %H %M; found {shown(repr(source))}. Name each "
            "partition by one of these."
        )
    return _PERIODS[named]
