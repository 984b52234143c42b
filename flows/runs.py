"""A run's folder, which appears whole or not at all, and the record of runs that have none."""

import contextlib
import fcntl
import json
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import interruption, progress
from flows.errors import InputError, without_secrets
from metalearners.storage import write_whole

FORMAT_VERSION = 1
LATEST = "latest"
COUNTS = ("planned", "unique", "executed", "reused", "retried")
_RECORDS = ".records"


@dataclass
class Run:
    """A run under way.

    Parameters
    ----------
    output : folder of all runs
    name : of this run
    started : in UTC
    earlier : seconds spent on this run before it began here, on loading
    stages : name, seconds and counts of the stages ended so far
    """

    output: Path
    name: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    earlier: float = 0.0
    stages: list[dict[str, Any]] = field(default_factory=list)
    clock: float = field(default_factory=time.perf_counter)

    @property
    def folder(self) -> Path:
        """Where the run's folder will be."""
        return self.output / self.name

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.earlier + time.perf_counter() - self.clock

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a stage; what it puts into the entry is kept with it."""
        entry: dict[str, Any] = {"name": name, "seconds": 0.0, **dict.fromkeys(COUNTS, 0)}
        begun = time.perf_counter()
        progress.advance(name, 0, 1)
        yield entry
        entry["seconds"] += time.perf_counter() - begun
        self.stages.append(entry)
        progress.end(name, entry["seconds"], entry["executed"], entry["reused"])

    @property
    def fits(self) -> dict[str, int]:
        """What became of the units of all stages."""
        return {count: sum(stage[count] for stage in self.stages) for count in COUNTS}

    def facts(self) -> dict[str, Any]:
        """What `summary.json` says of the run itself."""
        return {
            "format_version": FORMAT_VERSION,
            "run_name": self.name,
            "folder": str(self.folder),
            "started": self.started.isoformat(timespec="seconds"),
        }


def check_folder(folder: str | Path, where: str, mode: int = 0o777) -> None:
    """Refuse a folder that can't be written to; it is made if it doesn't exist.

    Raises
    ------
    InputError
        If it can't.
    """
    try:
        Path(folder).mkdir(mode, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{where}: expected a folder that can be written to; {folder}: {error.strerror}. "
            "Choose another."
        ) from None


def check_file(path: Path, where: str) -> None:
    """Refuse a file that can't be written, before there is anything to write.

    Raises
    ------
    InputError
        If it can't, or if something else, such as a folder or a device, has its name.
    """
    if ":/" in str(path) or (path.exists() and not path.is_file()):
        raise InputError(
            f"{where}: expected the name of a file on this machine; {path} is none. Choose another."
        )
    check_folder(path.parent, where)


@contextlib.contextmanager
def recorded(output: str, prefect_name: str) -> Iterator[Run]:
    """A run that is known to `uplift runs list` from its beginning, however it ends.

    Beside its record is a file that stays locked while the run's process lives.
    """
    run = Run(Path(output), _name(prefect_name))
    record = run.output / _RECORDS / f"{run.name}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.with_suffix(".lock").open("x") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_json(record, {**run.facts(), "status": "running"})
        try:
            with interruption.last_words(lambda: _record_interruption(run, record)):
                yield run
        except BaseException as error:
            error.run_record = failure(run, error)  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):  # a full disk mustn't hide what went wrong first
                write_json(record, error.run_record)  # type: ignore[attr-defined]
                record.with_suffix(".lock").unlink()
            raise
        record.unlink()
        record.with_suffix(".lock").unlink()


def _record_interruption(run: Run, record: Path) -> None:
    write_json(record, failure(run, KeyboardInterrupt()))


def record_failure(output: str, error: BaseException) -> None:
    """Have a run that failed before or outside its own record be known all the same."""
    if hasattr(error, "run_record") or isinstance(error, InputError):
        return
    with contextlib.suppress(OSError):
        run = Run(Path(output), _name("not-begun"))
        write_json(run.output / _RECORDS / f"{run.name}.json", failure(run, error))


def _name(prefect_name: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", prefect_name).strip("-")[:60]
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}"


def failure(run: Run, error: BaseException) -> dict[str, Any]:
    """What is kept of a run that failed."""
    told = without_secrets(str(error)) or type(error).__name__
    message = "interrupted" if interrupted(error) else told
    ended = {"status": "failed", "seconds": run.seconds, "error": message}
    return {**run.facts(), **ended, "stages": run.stages}


def interrupted(error: BaseException) -> bool:
    """Whether an error is a Ctrl-C or a SIGTERM, which Prefect turns into one of its own.

    What goes wrong after one, as a server that doesn't answer in time, isn't worth a word.
    """
    if interruption.begun.is_set():
        return True
    if "prefect.exceptions" not in sys.modules:
        return isinstance(error, KeyboardInterrupt)
    from prefect.exceptions import TerminationSignal

    return isinstance(error, (KeyboardInterrupt, TerminationSignal))


def outcome_lines(summary: dict[str, Any]) -> list[str]:
    """What a finished run found and where, for terminals and logs."""
    fits, folder = summary["fits"], Path(summary["folder"])
    counts = f"{fits['executed']} fits executed, {fits['reused']} reused"
    arms = list(zip(summary["ate"], summary["ate_joint"], strict=True))
    effects = [f"  effect of {ate['arm']}: {_effect(ate, joint, len(arms))}" for ate, joint in arms]
    return [
        f"{summary['run_name']}: {counts}, {summary['seconds']:.1f} s",
        *effects,
        f"  report:    {folder / 'report.html'}",
        f"  estimates: {folder / 'estimates.parquet'}",
    ]


def _effect(ate: dict[str, Any], joint: dict[str, Any], n_arms: int) -> str:
    """An arm's effect with the interval that decides whether one is claimed."""
    low, high = (joint[end] for end in ("ci_low", "ci_high"))
    kind = "95 % interval" if n_arms == 1 else f"joint 95 % interval of {n_arms} arms"
    claim = "" if joint["claimed"] else ", no effect claimed"
    doubt = f": {joint['doubt']}" if joint["doubt"] else ""
    return f"{ate['estimate']:.3g} ({kind} {low:.3g} to {high:.3g}{claim}{doubt})"


def cache_warning(cache: dict[str, Any]) -> str | None:
    """What was wrong with the cache in a run, if anything, from its summary's section."""
    meanings = {
        "damaged": "damaged, or not signed with this key, and fitted again",
        "unreachable": "not looked up",
        "unkept": "not kept, so that a later run fits them again",
    }
    found = [f"{cache[name]} {meaning}" for name, meaning in meanings.items() if cache[name]]
    if not found:
        return None
    reason = f" ({cache['reason']})" if cache["reason"] else ""
    return f"Fits in the cache {cache['storage']}: {'; '.join(found)}{reason}. Results are whole."


@contextlib.contextmanager
def whole_folder(run: Run) -> Iterator[Path]:
    """A folder to write a run's files to; renamed to the run's own at the end, or removed."""
    staging = run.output / f".{run.name}.tmp"
    staging.mkdir()
    try:
        yield staging
        staging.rename(run.folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _point_latest(run)


def _point_latest(run: Run) -> None:
    temporary = run.output / f".{LATEST}.{run.name}"
    temporary.symlink_to(run.name)
    temporary.replace(run.output / LATEST)


def list_runs(output: Path) -> list[dict[str, Any]]:
    """Summaries of the finished runs, and records of the others, oldest first."""
    folders = [path for path in output.glob("*/summary.json") if _is_run(path.parent)]
    finished = [_summary(path) for path in folders]
    records = (output / _RECORDS).glob("*.json")
    # A run that was killed in its last moment may have left both.
    others = [_record(path) for path in records if not (output / path.stem).exists()]
    return sorted(
        (r for r in (*finished, *others) if r), key=lambda r: (r["started"], r["run_name"])
    )


def _is_run(folder: Path) -> bool:
    return not folder.is_symlink() and not folder.name.startswith(".")


def find_run(name: str, output: Path) -> Path:
    """Folder of a finished run, by its name, its folder or ``latest``.

    Raises
    ------
    InputError
        If there is none.
    """
    for folder in (output / name, Path(name)):
        with contextlib.suppress(OSError):  # a name too long to be one
            if (folder / "summary.json").is_file():
                return folder
    names = [run["run_name"] for run in list_runs(output) if run["status"] == "done"]
    known = ", ".join(names[-5:]) or "none"
    raise InputError(
        f"Expected a finished run: its name, its folder or latest; found none for {name!r} in "
        f"{output}. Finished runs there: {known}."
    )


def _summary(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if {"run_name", "started", "status"} <= set(content) else None


def _record(path: Path) -> dict[str, Any] | None:
    content = _summary(path)
    if content and content["status"] == "running" and not _locked(path.with_suffix(".lock")):
        return {**content, "status": "failed", "error": "its process ended without a word"}
    return content


def _locked(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write plain values as a JSON file, whole."""
    write_whole(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def peak_rss_bytes() -> int:
    """Largest resident size of this process so far, and of its children."""
    unit = 1 if sys.platform == "darwin" else 1024
    usages = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in usages) * unit
