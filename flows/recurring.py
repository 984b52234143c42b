"""Runs of a config by logical date: which dates have one, each date once, and what they found."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.config.sections import Config, ScheduleConfig
from flows.dates.logical import moment_of
from flows.messages import progress
from flows.runs import Run, list_runs, records, summaries
from metalearners.cache.file_locks import lock_when_free, open_lock, try_lock

if TYPE_CHECKING:
    from flows.report.history.points import History

_MOST = 1_000  # moments that Prefect looks for at a time
_MOST_READ = 1_000  # summaries of a folder, and records: some 0.2 ms each


def finished(config: Config) -> dict[datetime, Path]:
    """Folders of the finished runs of a config's name, by their logical dates."""
    output = Path(config.output)
    return {
        moment_of(run["logical_date"], "UTC"): output / run["run_name"]
        for run in list_runs(output)
        if run["status"] == "done" and run.get("name") == config.name and run.get("logical_date")
    }


def last_run(config: Config, run: Run) -> Path | None:
    """Folder of the latest finished run of a config's name with an earlier logical date."""
    own = moment_of(run.logical_date, "UTC")
    for found in islice(summaries(run.output), _MOST_READ):
        is_own = found["status"] == "done" and found.get("name") == config.name
        if is_own and found.get("logical_date") and moment_of(found["logical_date"], "UTC") < own:
            return run.output / str(found["run_name"])
    return None


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
    since the latest finished run come before its own. None that has a finished run is among them.
    """
    done, schedule = finished(config), config.schedule
    moments = [scheduled]
    if schedule is not None and schedule.catch_up == "latest":
        moments = [scheduled, *fire_times(schedule, scheduled, now)][-1:]
    elif schedule is not None:
        earlier = [moment for moment in done if moment < scheduled]
        missed = fire_times(schedule, max(earlier), scheduled) if earlier else []
        moments = sorted({*missed, scheduled})
    return [moment for moment in moments if moment not in done]


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
        if len(more) < _MOST:
            return found


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
