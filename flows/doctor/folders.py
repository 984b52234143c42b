"""What runs write to and read from: state folder, database, cache, runs, profiles."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from flows.config.files import check_place
from flows.config.reading import parse
from flows.config.sections import CacheConfig
from flows.doctor.examination import Check, NotCheckedError, Places
from flows.errors import InputError
from flows.fitting.cache import check_cache, is_there, open_place, signing_key
from flows.fitting.profiles import passed_over
from flows.inputs.places import check_allowed
from flows.messages.secrets import without_secrets
from flows.server.database import find_problem, prefect_knows
from flows.server.environment import STATE_FOLDER, check_state_folder
from metalearners.files.file_locks import is_locked
from metalearners.files.ownership import UntrustedError, check_makers
from metalearners.files.regular_files import TEMPORARY

_DATABASE = Path(STATE_FOLDER, "prefect", "prefect.db")
_ELSEWHERE = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")

_SECONDS = 2.0  # for a look into the database: a large one is looked through in part
_MOST_COPIED = 256 << 20  # bytes of a database and its log
_MODE = 18  # the byte of SQLite's header that tells whether writes go to a log (WAL) first
_WITH_LOG = b"\2"


def _check_state(places: Places) -> str:
    check_state_folder()
    folder = Path(STATE_FOLDER)
    check_place(folder, "State folder")
    if not folder.is_dir():
        return f"{STATE_FOLDER} isn't there yet: the first run makes it"
    return f"{STATE_FOLDER} is private and can be written to"


def _check_database(places: Places) -> str:
    for name in _ELSEWHERE:
        if name in os.environ:
            raise NotCheckedError(f"{name} places it at {without_secrets(os.environ[name])}")
    problem = _problem_of(_DATABASE)
    if problem:
        raise InputError(
            f"Expected a database of this Prefect in {_DATABASE}; found one that {problem}. "
            "The next server sets it aside and begins a new one; to keep it, move it away, or "
            "install the Prefect that made it."
        )
    if not _DATABASE.exists():
        return f"{_DATABASE} isn't there yet: the first server makes it"
    _check_can_write(_DATABASE)
    return f"{_DATABASE} can be used"


def _problem_of(database: Path) -> str:
    """What is wrong with a database, whose files stay as they are; empty where nothing is."""
    if not _is_at_rest(database):
        return find_problem(database, prefect_knows, seconds=_SECONDS, options="mode=ro")
    log = _log_of(database)
    if not log.exists():
        # Even a reader makes a log, unless it is told that nobody writes.
        options = "mode=ro&immutable=1"
        return find_problem(database, prefect_knows, seconds=_SECONDS, options=options)
    if database.stat().st_size + log.stat().st_size > _MOST_COPIED:
        return ""
    # A killed server left the log. Who opens the database moves the log into it: open a copy.
    with TemporaryDirectory() as folder:
        copy = Path(folder, database.name)
        shutil.copyfile(database, copy)
        shutil.copyfile(log, _log_of(copy))
        return find_problem(copy, prefect_knows, seconds=_SECONDS)


def _is_at_rest(database: Path) -> bool:
    """Whether a database is as a server left it: with a log, or closed; and no server runs."""
    if is_locked(Path(STATE_FOLDER, "server.alive")) or not database.is_file():
        return False
    with suppress(OSError), database.open("rb") as file:  # SQLite tells why it can't be read
        return file.read(_MODE + 1)[_MODE:] == _WITH_LOG
    return False


def _log_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def _check_can_write(database: Path) -> None:
    """See whether a server can write to a database; where one may use it, begin to write."""
    if _is_at_rest(database):
        error = "" if os.access(database, os.R_OK | os.W_OK) else "it can't be written to"
    else:
        error = _refusal(database)
    if error:
        raise InputError(
            f"Expected that a server can write to {database}; {error}. End the program that has "
            f"it open (fuser {database}), or give user {os.geteuid()} the right to write."
        )


def _refusal(database: Path) -> str:
    """Why nobody can write to a database now; empty if one can. Writes nothing."""
    try:
        with closing(sqlite3.connect(database, timeout=1.0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(error)
    return ""


def _check_cache(places: Places) -> str:
    check_allowed(places.storage)
    folder = places.cache_folder
    if folder is not None:
        check_place(folder, "--storage")
        if not folder.exists():
            return f"{folder} isn't there yet: the first run makes it"
    warning = check_cache(parse(CacheConfig, {"storage": places.storage}, "--"))
    if warning:
        raise InputError(warning)
    if folder is None:
        if not is_there(places.storage, "--storage"):
            return f"{places.storage} isn't there yet: the first run makes it"
        _check_can_keep(places.storage)
    return f"{places.storage} can be written to"


def _check_can_keep(location: str) -> None:
    """Write an object to a storage on another machine, and delete it."""
    # In no folder of its own, which would stay. `prune` deletes one whose doctor was killed.
    storage, name = open_place(location), f"doctor.{uuid4().hex}{TEMPORARY}"
    try:
        storage.write(name, b"")
        storage.remove(name)
    except OSError as error:
        raise InputError(
            f"--storage: expected a place that can be written to; {location}: {error}. Ask for "
            "the right to write and delete there, or name another."
        ) from None


def _check_runs(places: Places) -> str:
    check_allowed(str(places.output))
    check_place(places.output, "--output")
    if not places.output.exists():
        return f"{places.output} isn't there yet: the first run makes it"
    if not signing_key():
        _check_makers_of_models(places.output)
    return f"{places.output} can be written to, and its models come from whom they should"


def _check_makers_of_models(output: Path) -> None:
    models = [*output.glob("*/model"), *output.glob("*/model/*")]
    warnings = [warning for path in (output, *models) if (warning := _makers_warning(path))]
    if warnings:
        raise InputError(f"--output: {warnings[0]}")


def _makers_warning(path: Path) -> str:
    try:
        return check_makers(path)
    except FileNotFoundError:  # deleted meanwhile, or a link that leads nowhere: no code is there
        return ""
    except UntrustedError as error:
        raise InputError(f"--output: {error}") from None


def _check_profiles(places: Places) -> str:
    unused = passed_over()
    if unused:
        found = ", ".join(f"{path} ({why})" for path, why in unused.items())
        raise InputError(
            f"Expected profiles that `uplift tune` measured on this machine; found {found}. Runs "
            "pass them over. Run `uplift tune` here again, or delete them."
        )
    return "no profile is of another machine"


CHECKS = (
    Check("state folder", _check_state),
    Check("database", _check_database, ("state folder", "Prefect")),
    Check("cache", _check_cache, ("state folder",)),
    Check("runs", _check_runs),
    Check("profiles", _check_profiles, ("state folder",)),
)
