"""One run of a config for each of several logical dates."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from flows.config.sections import Config
from flows.dates.logical import check_date, moment_of
from flows.dates.partitions import check_length, offset, step_of
from flows.errors import InputError
from flows.launch.display import progress_display
from flows.launch.start import launch
from flows.messages.limits import shown
from flows.messages.secrets import without_secrets
from flows.recurring import alone, finished
from flows.runs import interrupted

_MOST = 10_000  # dates of a call


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


def dates_between(config: Config, begin: str, end: str, every: str | None = None) -> list[str]:
    """Logical dates from one to another, both included.

    `every` is the time between two, by default the length of a partition of the source.

    Raises InputError if one of them is none, or they are too many.
    """
    step = _checked("--every", check_length, every) if every else step_of(config.data.source or "")
    first, last = (
        moment_of(_checked(name, check_date, text), config.timezone).replace(tzinfo=None)
        for name, text in (("--from", begin), ("--to", end))
    )
    found: list[str] = []
    while (moment := pd.Timestamp(first) + offset(step, len(found))) <= last:
        found.append(str(check_date(moment.isoformat())))
        if len(found) > _MOST:
            raise InputError(f"Expected at most {_MOST:,} dates; found more. Use a larger --every.")
    if not found:
        raise InputError(f"--to: expected a date from {begin} on; found {shown(repr(end))}.")
    return found


def backfill(config: Config, dates: list[str], quiet: bool = False) -> Iterator[Dated]:
    """Run a config at each date that has no finished run yet, oldest first.

    A date that fails is told, and the others go on.
    """
    with alone(config):
        done = finished(config)
        for date in dates:
            moment = moment_of(date, config.timezone)
            if moment in done:
                yield Dated(date, done[moment])
            else:
                yield _made(config.model_copy(update={"date": date}), date, quiet)


def _made(config: Config, date: str, quiet: bool) -> Dated:
    try:
        with progress_display(quiet):
            return Dated(date, launch(config, refresh=False, quiet=quiet), is_new=True)
    except Exception as error:
        if interrupted(error):
            raise
        return Dated(date, error=without_secrets(str(error)) or type(error).__name__)


def _checked(name: str, check: object, text: str) -> str:
    try:
        return str(check(text))  # type: ignore[operator]
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
