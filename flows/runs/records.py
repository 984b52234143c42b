"""A run's folder, which appears whole or not at all, and the record of runs that have none."""

import contextlib
import fcntl
import os
import re
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.config.files import write_json
from flows.config.names import DEFAULT_NAME, LATEST, is_name
from flows.dates.logical import date_at, moment_of
from flows.errors import InputError
from flows.messages import progress
from flows.messages.limits import shown
from flows.messages.secrets import problem_of
from flows.server import interruption
from metalearners.files.file_locks import is_locked

if TYPE_CHECKING:
    from flows.config.sections import Config

FORMAT_VERSION = 2
BY_NAME = "by-name"  # folder of the links to configs' latest runs
REFITS = "refits"  # the stage of learners fitted again on half-samples
REPEATS = "repeats"  # that of all fits again, with other folds
SEQUENTIAL = "sequential"  # and that of learners fitted on earlier folds alone
COUNTS = ("planned", "unique", "executed", "reused", "retried")
INTERRUPTED = "interrupted"
DIED = "its process died without reporting an error"
_RECORDS = ".records"
_FINISHED = ("done", "partial")  # statuses of runs with a report and a model


@dataclass
class Run:
    """A run under way."""

    output: Path  # folder of all runs
    name: str
    config_name: str = DEFAULT_NAME
    asked: dict[str, Any] = field(default_factory=dict)  # by its config, as in a summary
    logical_date: str = ""
    example: bool = False  # whether a schedule of the bundled example made it
    old: bool = False  # whether a finished run of its name has a later logical date
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    earlier: float = 0.0  # seconds that loading took before the run began here
    stages: list[dict[str, Any]] = field(default_factory=list)  # those that have ended
    clock: float = field(default_factory=time.perf_counter)

    @property
    def folder(self) -> Path:
        """Path of the folder that the run will have."""
        return self.output / self.name

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self.earlier + time.perf_counter() - self.clock

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a stage, whose body may add to its entry."""
        entry: dict[str, Any] = {"name": name, "seconds": 0.0, **dict.fromkeys(COUNTS, 0)}
        begun = time.perf_counter()
        progress.begin(name)
        yield entry
        entry["seconds"] += time.perf_counter() - begun
        self.stages.append(entry)
        progress.end(name, entry["seconds"], entry["executed"], entry["reused"])

    @property
    def fits(self) -> dict[str, int]:
        """Counts of fits, summed over all stages but that of refits."""
        stages = [stage for stage in self.stages if stage["name"] != REFITS]
        return {count: sum(stage[count] for stage in stages) for count in COUNTS}

    def facts(self) -> dict[str, Any]:
        """What `summary.json` says of the run itself."""
        return {
            "format_version": FORMAT_VERSION,
            "run_name": self.name,
            "name": self.config_name,
            "folder": str(self.folder),
            "logical_date": self.logical_date,
            "started": self.started.isoformat(timespec="seconds"),
        }


@contextlib.contextmanager
def recorded(
    config: "Config", prefect_name: str, scheduled: datetime, example: bool = False
) -> Iterator[Run]:
    """A run that `uplift runs list` shows from its beginning, however it ends.

    Its logical date is the config's, else the time for which it was scheduled. A file beside its
    record stays locked while the run's process lives.
    """
    run = _run(config, prefect_name, scheduled, example)
    record = run.output / _RECORDS / f"{run.name}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.with_suffix(".lock").open("x") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_json(record, {**run.facts(), **run.asked, "status": "running"})

        def record_interruption() -> None:
            write_json(record, failure(run, KeyboardInterrupt()))

        try:
            with interruption.at_forced_exit(record_interruption):
                yield run
        except BaseException as error:
            error.run_record = failure(run, error)  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):  # a full disk mustn't hide what went wrong first
                write_json(record, error.run_record)  # type: ignore[attr-defined]
                record.with_suffix(".lock").unlink()
            raise
        record.unlink(missing_ok=True)
        record.with_suffix(".lock").unlink(missing_ok=True)


def record_failure(config: "Config", error: BaseException) -> None:
    """Record a run that failed before it began its own record, or after it ended it."""
    if hasattr(error, "run_record") or isinstance(error, InputError):
        return
    with contextlib.suppress(OSError):
        # Two may fail within a second.
        run = _run(config, f"not-begun-{time.time_ns() % 10**9:09}", datetime.now(UTC))
        write_json(run.output / _RECORDS / f"{run.name}.json", failure(run, error))


def _run(config: "Config", prefect_name: str, scheduled: datetime, example: bool = False) -> Run:
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", prefect_name).strip("-")[:60]
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}"
    data = {**config.data.told, "outcome": config.data.first_outcome}
    asked = {"data": data, "learners": {name: {} for name in config.fitted}}
    date = config.at(scheduled).date or date_at(scheduled, config.timezone)
    moment = moment_of(date, config.timezone)
    return Run(Path(config.output), name, config.name, asked, moment.isoformat(), example)


def failure(run: Run, error: BaseException) -> dict[str, Any]:
    """The record of a run that failed."""
    message = problem_of(error)
    events = [failed_event(run.name, type(error).__name__)]
    if interrupted(error):
        message, events = INTERRUPTED, []
    ended = {"status": "failed", "seconds": run.seconds, "error": message, "events": events}
    return {**run.facts(), **run.asked, **ended, "stages": run.stages}


def failed_event(name: str, why: str) -> dict[str, str]:
    """The event of a run that failed; of the error only its kind, as messages may quote data."""
    sentence = f"The run {name} failed: {why}. `uplift runs show {name}` says more."
    return {"event": "failed", "sentence": sentence}


def interrupted(error: BaseException) -> bool:
    """Whether an error is a Ctrl-C, a SIGTERM (Prefect has an error for it), or came after one."""
    if interruption.begun.is_set():
        return True
    if "prefect.exceptions" not in sys.modules:
        return isinstance(error, KeyboardInterrupt)
    from prefect.exceptions import TerminationSignal

    return isinstance(error, (KeyboardInterrupt, TerminationSignal))


@contextlib.contextmanager
def whole_folder(run: Run, latest: bool = True) -> Iterator[Path]:
    """A folder for a run's files, renamed to the run's own at the end, or removed.

    Parameters
    ----------
    latest : bool
        Whether it becomes the latest run, to which links point.
    """
    staging = run.output / f".{run.name}.tmp"
    try:
        staging.mkdir()
        yield staging
        staging.rename(run.folder)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, FileNotFoundError) and not staging.parent.exists():
            raise FileNotFoundError(
                f"the folder of runs, {run.output}, was there when the run began and is gone"
            ) from error
        raise
    if latest:
        _point_latest(run)


def _point_latest(run: Run) -> None:
    """Move the links to the latest run of its config and, unless the example's, of all.

    A run for a date before that of another run of its name is not the latest.
    """
    if run.old:
        return
    links = {link_of(run.config_name, run.output): f"../../{run.name}"}
    if not run.example:
        links[run.output / LATEST] = run.name
    for link, target in links.items():
        temporary = link.with_name(f".{LATEST}.{run.name}")
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            temporary.symlink_to(target)
            temporary.replace(link)
        except OSError as error:  # such as a folder of that name; the run itself is whole
            with contextlib.suppress(OSError):
                temporary.unlink()
            progress.tell(f"{link} still shows an earlier run: {error.strerror}.")


def link_of(config_name: str, output: Path) -> Path:
    """The link to a config's latest run."""
    return output / BY_NAME / config_name / LATEST


def list_runs(output: Path) -> list[dict[str, Any]]:
    """Summaries of finished runs and records of the others, oldest first.

    A run whose summary is another file has the status ``damaged``.
    """
    found = (*summaries(output), *records(output))
    return sorted(found, key=lambda r: (r["started"], r["run_name"]))


def summaries(output: Path) -> Iterator[dict[str, Any]]:
    """Summaries of finished runs, the latest first, each read when it is asked for."""
    from flows.report.past_runs import summary_or_damage  # the command's help doesn't wait for it

    for folder in sorted(filter(_is_run, _entries(output)), reverse=True):
        # Named by their folders, by which users find them: one may be a copy, or renamed.
        yield {**summary_or_damage(folder / "summary.json", folder.name), "run_name": folder.name}


def records(output: Path) -> Iterator[dict[str, Any]]:
    """Records of the runs that have no folder, the latest first, each read when it is asked for."""
    from flows.report.past_runs import summary_or_damage

    for path in sorted(_entries(output / _RECORDS), reverse=True):
        # A run that was killed in its last moment may have left a folder and a record.
        if path.suffix == ".json" and not (output / path.stem).exists():
            yield _with_end(path, summary_or_damage(path, path.stem))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    return (
        os.path.lexists(folder / "summary.json")  # first, as it never raises
        and not folder.is_symlink()
        and not folder.name.startswith(".")
        # A config may be named summary.json; and of links that were copied, a folder is left.
        and folder.name not in (BY_NAME, LATEST)
    )


def find_run(name: str, output: Path) -> Path:
    """Folder of a finished run, a partial one included.

    Parameters
    ----------
    name : str
        In the order of looking: ``latest`` or the run's name, its folder, its config's name, which
        means that config's latest run, or a part of the run's name.

    Raises InputError if there is none, or the part is of several names.
    """
    folder = _find_folder(name, output)
    if folder is not None:
        return folder
    runs = [run["run_name"] for run in list_runs(output) if run["status"] in _FINISHED]
    return output / _of_part(name, runs, output, "finished run")


def find_summary(name: str, output: Path) -> dict[str, Any]:
    """Summary of a finished run, or record of any other; a part of the name may be of either.

    Raises InputError as `find_run`, and if a summary is another file.
    """
    from flows.report.past_runs import read_summary

    runs = {run["run_name"]: run for run in list_runs(output)}
    if name in runs and runs[name]["status"] != "done":
        return runs[name]
    folder = _find_folder(name, output)
    if folder is None:
        return runs[_of_part(name, list(runs), output, "run")]
    file = folder / "summary.json"
    try:
        return read_summary(file)
    except ValueError as error:
        raise InputError(f"Expected a run's summary in {file}; found another: {error}.") from None


def _find_folder(name: str, output: Path) -> Path | None:
    """Folder of a finished run by its whole name, its folder, or its config's name."""
    own = link_of(name, output) if is_name(name) else None
    for folder in filter(None, (output / name, Path(name), own)):
        with contextlib.suppress(OSError, ValueError):  # a name too long to be one, or with a NUL
            if (folder / "summary.json").is_file():
                return folder
    if own and own.is_symlink():
        raise InputError(
            f"Expected a finished run; {own}, the latest of {name}, points to "
            f"{shown(str(own.readlink()))}, which is none. Name another run, or run {name} again."
        )
    return None


def _of_part(name: str, runs: list[str], output: Path, kind: str) -> str:
    """The only one of some runs whose name has a part."""
    of_part = [run for run in runs if name and name in run]
    if len(of_part) == 1:
        return of_part[0]
    known = ", ".join(shown(run) for run in (of_part or runs)[-5:]) or "none"
    raise InputError(
        f"Expected a {kind}: its name or a part of that, its config's name, its folder or "
        f"latest; found {len(of_part) or 'none'} for {shown(repr(name))} in {output}. "
        f"{kind.capitalize()}s there: {known}."
    )


def _with_end(path: Path, record: dict[str, Any]) -> dict[str, Any]:
    """A run's record; one with the status running has failed if its process is gone."""
    if record["status"] == "running" and not is_locked(path.with_suffix(".lock")):
        events = [failed_event(str(record["run_name"]), DIED)]
        return {**record, "status": "failed", "error": DIED, "events": events}
    return record


def peak_rss_bytes() -> int:
    """Largest resident size of this process so far, and of its children."""
    unit = 1 if sys.platform == "darwin" else 1024
    usages = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in usages) * unit
