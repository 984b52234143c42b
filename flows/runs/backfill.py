"""One run of a config for each of several logical dates."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from flows.config.sections import Config
from flows.dates.logical import check_date, moment_of
from flows.dates.partitions import check_length, names_dates, offset, partition_at, step_of
from flows.errors import InputError
from flows.messages.limits import shown
from flows.messages.secrets import problem_of
from flows.runs.records import interrupted
from flows.runs.recurring import alone, finished

_MOST = 10_000  # dates of a call
_OPTIONS = ("--from", "--to", "--every")


@dataclass(frozen=True)
class Dated:
    """What a backfill made of a date: a run's folder, or why there is none."""

    date: str
    folder: Path | None = None
    is_new: bool = False
    error: str = ""

    def __str__(self) -> str:
        if self.folder is None:
            return f"{self.date}: failed: {self.error}"
        return f"{self.date}: {self.folder if self.is_new else f'done already, {self.folder}'}"


def dates_between(
    config: Config,
    begin: str,
    end: str,
    every: str | None = None,
    names: Sequence[str] = _OPTIONS,
) -> list[str]:
    """Logical dates from one to another, both included.

    Parameters
    ----------
    every : str, optional
        Time between two dates: by default the length of a partition of the source.
    names : sequence of str
        What the user calls the beginning, the end and the time between.

    Raises InputError if one of them is none, or they are too many.
    """
    step = _checked(names[2], check_length, every) if every else step_of(config.data.source or "")
    first, last = (
        moment_of(_checked(name, check_date, text), config.timezone).replace(tzinfo=None)
        for name, text in zip(names, (begin, end), strict=False)
    )
    moments = list(islice(_steps(first, last, step), _MOST + 1))
    if len(moments) > _MOST:
        raise InputError(f"Expected at most {_MOST:,} dates; found more. Use a larger {names[2]}.")
    if not moments:
        raise InputError(f"{names[1]}: expected a date from {begin} on; found {shown(repr(end))}.")
    dates = [str(check_date(moment.isoformat())) for moment in moments]
    return [date for date in dates if _exists(date, config.timezone)]


def _steps(first: datetime, last: datetime, step: str) -> Iterator[pd.Timestamp]:
    for times in count():
        moment = pd.Timestamp(first) + offset(step, times)
        if moment > last:
            return
        yield moment


def _exists(date: str, timezone: str) -> bool:
    """Whether a clock of the zone ever shows the date: none does in an hour that it leaps over."""
    moment = moment_of(date, timezone)
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(fold=0) == moment.replace(
        fold=0
    )


def backfill(
    config: Config,
    dates: Sequence[str],
    make: Callable[[Config], Path],
    tell: Callable[[str], object],
) -> Iterator[Dated]:
    """Run a config at each date that has no finished run yet, oldest first.

    Where the source names dates, a run of the same partition is one of the date, whatever the hour
    at which a schedule made it. A date that fails is told, and the others go on. Other processes
    that make runs of the name take turns, date by date.

    Parameters
    ----------
    make : callable
        Makes the run of a config with a date; its folder.
    tell : callable
        Says that another process has its turn.
    """
    for date in dates:
        with alone(config, tell):
            own = _slot(config, moment_of(date, config.timezone))
            found = (
                path for moment, path in finished(config).items() if _slot(config, moment) == own
            )
            done = next(found, None)
            if done is not None:
                yield Dated(date, done)
            else:
                yield _made(config.model_copy(update={"date": date}), date, make)


def _slot(config: Config, moment: datetime) -> Any:
    """What two moments of one date share: a partition of the source, or else the moment."""
    source = config.data.source or ""
    if not names_dates(source):
        return moment.astimezone(UTC)
    return partition_at(source, moment.astimezone(ZoneInfo(config.timezone)).replace(tzinfo=None))


def _made(config: Config, date: str, make: Callable[[Config], Path]) -> Dated:
    try:
        return Dated(date, make(config), is_new=True)
    except Exception as error:
        if interrupted(error):
            raise
        return Dated(date, error=problem_of(error))


def _checked(name: str, check: Callable[[Any], object], text: Any) -> str:
    try:
        if isinstance(text, str) and (checked := check(text)) is not None:
            return str(checked)
        raise ValueError(f"expected a text that isn't empty; found {shown(repr(text))}.")
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
