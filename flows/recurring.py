"""Runs of a config by logical date: which dates have one, and each date once."""

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.config.sections import Config, ScheduleConfig
from flows.messages import progress
from flows.runs import list_runs
from metalearners.cache.file_locks import lock_when_free, open_lock, try_lock


def finished(config: Config) -> dict[datetime, Path]:
    """Folders of the finished runs of a config's name, by their logical dates."""
    output = Path(config.output)
    return {
        datetime.fromisoformat(run["logical_date"]): output / run["run_name"]
        for run in list_runs(output)
        if run["status"] == "done" and run.get("name") == config.name and run.get("logical_date")
    }


def scheduled_time() -> datetime:
    """The time for which Prefect's run was scheduled: now, for one that no schedule made."""
    from prefect import runtime  # slow

    return _plain(runtime.flow_run.scheduled_start_time)


def _plain(moment: datetime) -> datetime:
    """A moment without what Prefect's own type adds."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)


def due(config: Config, scheduled: datetime, now: datetime) -> list[datetime]:
    """Moments for which a run that was scheduled for one is to make runs, in order.

    None if that has a finished run already, or a later one is due by `now` and the schedule says
    `latest`. If it says `all`, the moments since the latest finished run come before.
    """
    done = finished(config)
    if scheduled in done:
        return []
    if config.schedule is None:
        return [scheduled]
    if config.schedule.catch_up == "latest":
        return [] if fire_times(config.schedule, scheduled, now) else [scheduled]
    earlier = [moment for moment in done if moment < scheduled]
    missed = fire_times(config.schedule, max(earlier), scheduled) if earlier else []
    return sorted({*missed, scheduled})


def fire_times(schedule: ScheduleConfig, after: datetime, until: datetime) -> list[datetime]:
    """Moments after one, up to another, at which a schedule starts runs: at most 1,000."""
    from prefect.server.schemas.schedules import CronSchedule  # slow
    from prefect.utilities.asyncutils import run_coro_as_sync

    cron = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    start = after + timedelta(microseconds=1)
    found: Any = run_coro_as_sync(cron.get_dates(n=1000, start=start, end=until))
    return [_plain(moment) for moment in found or []]


@contextlib.contextmanager
def alone(config: Config) -> Iterator[None]:
    """Wait until no other process makes runs of this name by date, and keep others waiting."""
    path = Path(config.output) / ".records" / f"{config.name}.dates.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open_lock(path)
    try:
        if not try_lock(file):
            progress.tell(f"Another process makes runs of {config.name}: this one waits for it.")
            lock_when_free(file).wait()
        yield
    finally:
        os.close(file)
