"""The embedded server's database: set aside where it is damaged, shrunk where it is mostly empty.

The server calls this before it opens the database, when no other process uses it.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

_CHECK_SECONDS = 5.0
_VERSIONS = "server/database/_migrations/versions/sqlite"  # in Prefect's package
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_WORTH_SHRINKING = 16_000_000  # bytes that are free


def prefect_knows(version: str) -> bool:
    """Whether the installed Prefect has a version of the tables; Prefect isn't imported.

    Raises RuntimeError if its versions aren't where they were: else all would be unknown.
    """
    prefect = find_spec("prefect")
    folders = (prefect and prefect.submodule_search_locations) or []
    files = [file for folder in folders for file in Path(folder, _VERSIONS).glob("*.py")]
    if not files:
        raise RuntimeError(f"Expected the versions of Prefect's tables in prefect/{_VERSIONS}.")
    return any(f'revision = "{version}"' in file.read_text() for file in files)


def prepare_database(path: Path, is_known: Callable[[str], bool]) -> str:
    """Set a database aside if the server can't use it; else give free space back.

    Parameters
    ----------
    path : Path
        Of the database; it needn't exist.
    is_known : callable
        Whether this Prefect knows a version of the tables.

    Returns
    -------
    str
        What was done and why, for the user; empty where the database is sound.
    """
    problem = find_problem(path, is_known, first=_shrink)
    if not problem:
        return ""
    aside = _set_aside(path)
    return (
        f"The server's database {path} {problem}. It is {aside} now, and a new one was begun: the "
        "UI shows no earlier runs; kept fits and the folders of runs are not touched."
    )


def find_problem(
    path: Path,
    is_known: Callable[[str], bool],
    first: Callable[[sqlite3.Connection], object] = lambda database: None,
    seconds: float = _CHECK_SECONDS,
    options: str = "mode=rw",
) -> str:
    """What is wrong with a database; empty where nothing is, or the check takes too long.

    Parameters
    ----------
    path : Path
        Of the database; it needn't exist.
    is_known : callable
        Whether this Prefect knows a version of the tables.
    first : callable
        Called with the database before it is checked.
    seconds : float
        How long the check may take.
    options : str
        How SQLite opens it: the query of a URI.
    """
    if not path.exists() and not path.is_symlink():
        return ""
    if not path.is_file():
        return "is no regular file"
    try:
        uri = f"{path.absolute().as_uri()}?{options}"
        with contextlib.closing(sqlite3.connect(uri, timeout=1.0, uri=True)) as database:
            first(database)
            deadline = time.monotonic() + seconds
            database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            return _damage(database) or _foreign(database, is_known)
    except sqlite3.Error as error:
        # Other errors may pass, such as a full disk or a check that takes too long.
        damaged = (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE
        return f"is damaged ({error})" if damaged else ""


def _damage(database: sqlite3.Connection) -> str:
    (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    return "" if found == "ok" else f"is damaged ({' '.join(found.split())})"


def _foreign(database: sqlite3.Connection, is_known: Callable[[str], bool]) -> str:
    """What is wrong if the tables are another program's, or another version's; else empty."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return ""
    if "alembic_version" not in tables:
        return "has tables of another program"
    versions = [version for (version,) in database.execute("SELECT * FROM alembic_version")]
    unknown = [version for version in versions if not is_known(str(version))]
    return f"is of a version that this Prefect doesn't know ({unknown[0]})" if unknown else ""


def _shrink(database: sqlite3.Connection) -> None:
    """Give free pages back, which deleted rows leave, where they are most of a large file."""
    free, pages, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("freelist_count", "page_count", "page_size")
    )
    if free * size > _WORTH_SHRINKING and free > pages / 2:
        with contextlib.suppress(sqlite3.OperationalError):  # such as no room for a copy
            database.execute("VACUUM")


def _set_aside(path: Path) -> Path:
    """Rename a database and its log files to names with the date."""
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.stem}-damaged-{now}{path.suffix}")
    for ending in ("-wal", "-shm", ""):  # the database last, so that a crash in between is mended
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside
