"""Runs of a config by logical date: which dates have one, each date once, and what they found."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.config.parts.recurring import ScheduleConfig
from flows.config.sections import Config
from flows.dates.logical import moment_of
from flows.runs.records import DIED, INTERRUPTED, Run, list_runs, records, summaries
from metalearners.files.file_locks import lock_when_free, open_lock, try_lock

if TYPE_CHECKING:
    from flows.report.history.points import History

_MOST = 1_000  # moments that Prefect looks for at a time
_MOST_MISSED = 100  # dates that one run catches up
_MOST_EARLIER = 100  # runs that one is compared with
_MOST_READ = 1_000  # summaries of a folder, and records: some 0.2 ms each


def finished(config: Config) -> dict[datetime, Path]:
    """Folders of the finished runs of a config's name on its data, by their logical dates."""
    return {
        moment: Path(config.output) / str(run["run_name"])
        for moment, run in _runs_of(config)
        if run["status"] == "done"
    }


def _runs_of(config: Config) -> Iterator[tuple[datetime, dict[str, Any]]]:
    """Runs of a config's name on its data, also failed ones, with their logical dates.

    Two configs may have one name, as `uplift`: their sources or outcomes tell them apart.
    """
    asked = {**config.data.told, "outcome": config.data.first_outcome}
    for run in list_runs(Path(config.output)):
        data = run.get("data", {})
        is_own = run.get("name") == config.name and all(data.get(k) == v for k, v in asked.items())
        if is_own and run.get("logical_date"):
            yield moment_of(run["logical_date"], "UTC"), run


def earlier_runs(run: Run) -> tuple[list[dict[str, Any]], bool]:
    """Summaries of the finished runs of a run's name with earlier dates, the latest date first.

    And whether one has a later date. Only the latest 1,000 runs of a folder are looked at.
    """
    own = moment_of(run.logical_date, "UTC")
    dated = [
        (moment_of(found.get("logical_date") or found["started"], "UTC"), found)
        for found in islice(summaries(run.output), _MOST_READ)
        if found["status"] == "done" and found.get("name") == run.config_name
    ]
    earlier = [pair for pair in dated if pair[0] < own]
    earlier.sort(key=lambda pair: (pair[0], moment_of(pair[1]["started"], "UTC")), reverse=True)
    return [found for _, found in earlier[:_MOST_EARLIER]], any(date > own for date, _ in dated)


def scheduled_time() -> datetime:
    """The time for which Prefect's run was scheduled: now, for one that no schedule made."""
    from prefect import runtime  # slow

    return _plain(runtime.flow_run.scheduled_start_time)


def _plain(moment: datetime) -> datetime:
    """A moment without what Prefect's own type adds."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)


def due(config: Config, scheduled: datetime, now: datetime) -> list[datetime]:
    """Moments for which a run that was scheduled for one is to make runs, in order.

    If the schedule says `latest`, this is the latest moment by `now`, whichever the run was
    scheduled for: else a run that starts late would be late for ever. If it says `all`, the moments
    of the schedule since the last one that was tried come before its own, the latest 100 of them.
    None that has a finished run is among them.
    """
    runs, schedule = list(_runs_of(config)), config.schedule
    moments = [scheduled]
    if schedule is not None and schedule.catch_up == "latest":
        moments = [scheduled, *fire_times(schedule, scheduled, now)][-1:]
    elif schedule is not None:
        tried = {moment for moment, run in runs if _is_tried(run) and moment < scheduled}
        last = next(filter(partial(_fires, schedule), sorted(tried, reverse=True)), None)
        missed = [] if last is None else fire_times(schedule, last, scheduled)
        moments = sorted({*missed, scheduled})[-_MOST_MISSED:]
    done = {moment for moment, run in runs if run["status"] == "done"}
    return [moment for moment in moments if moment not in done]


def _is_tried(run: Mapping[str, Any]) -> bool:
    """Whether a run came to an end by itself, well or not."""
    return run["status"] in ("done", "partial") or run.get("error") not in (INTERRUPTED, DIED)


def _fires(schedule: ScheduleConfig, moment: datetime) -> bool:
    return bool(fire_times(schedule, moment - timedelta(seconds=1), moment))


def fire_times(schedule: ScheduleConfig, after: datetime, until: datetime) -> list[datetime]:
    """Moments after one, up to another, at which a schedule starts runs."""
    from prefect.server.schemas.schedules import CronSchedule  # slow
    from prefect.utilities.asyncutils import run_coro_as_sync

    cron = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    found: list[datetime] = []
    while True:
        start = (found[-1] if found else after) + timedelta(microseconds=1)
        more: Any = run_coro_as_sync(cron.get_dates(n=_MOST, start=start, end=until))
        found += [_plain(moment) for moment in more]
        if not more:
            return found


@contextlib.contextmanager
def alone(config: Config, tell: Callable[[str], object]) -> Iterator[None]:
    """Wait until no other process makes runs of this name by date, and keep others waiting.

    `tell` says so where it waits.
    """
    path = Path(config.output) / ".records" / f"{config.name}.dates.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open_lock(path)
    try:
        if not try_lock(file):
            tell(f"Another process makes a run of {config.name}: this one waits for it.")
            lock_when_free(file).wait()
        yield
    finally:
        os.close(file)


def history(name: str, output: Path, ending: Sequence[Mapping[str, Any]] = ()) -> "History":
    """The figures of a name's runs over time.

    Only the latest 1,000 runs of a folder are looked at.

    Parameters
    ----------
    ending : sequence of mapping
        Summary of a run that has yet to write its own, and so is the latest.
    """
    from flows.report.history.points import history_of

    found = chain(ending, islice(summaries(output), _MOST_READ))
    return history_of(name, found, islice(records(output), _MOST_READ))
