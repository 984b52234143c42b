"""Settings of Prefect that must be in the environment before Prefect is imported.

Programs of this project send nothing anywhere, keep their state in the working folder, and bind
to loopback. A setting that the user has made in the environment stays as it is. The working folder
is data: its files neither set anything nor stand in for a module.
"""

import contextlib
import os
import stat
import sys
from pathlib import Path

from flows.errors import InputError
from flows.messages.limits import is_text
from flows.server import prefect_patches
from metalearners.cache.ownership import foreign_owner, make_private

STATE_FOLDER = ".uplift"

_ALWAYS = {
    # No analytics from the server, no telemetry from the client.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_CLIENT = {
    # The tasks' states are in the UI without a log line each.
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "WARNING",
}
_SERVER = {
    # One transaction for many task-run events: without batches, the recorder's write lock makes
    # other requests wait. A flush interval below 1 s would spin a core.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "5",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # Runs that ended longer ago leave the database, with their tasks, logs and artifacts: 30 days.
    # Prefect's own default is to keep them.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 86_400),
}
# Python's own: with it, interpreters look for no module in the folder in which they begin.
_ONLY_INSTALLED = {"PYTHONSAFEPATH": "1"}


def state_folder() -> Path:
    """Where server, database and cache of the working folder lie; made for its owner alone.

    Raises
    ------
    InputError
        If it can't be made, or others may have put something into it.
    """
    folder = Path(STATE_FOLDER).resolve()
    if not is_text(str(folder)):
        raise InputError(
            f"Expected a working folder whose name is text in this environment's encoding, "
            f"{sys.getfilesystemencoding()}; found {str(folder.parent)!a}. Work in another "
            "folder, or, if its name is in UTF-8, with LC_ALL=C.UTF-8."
        )
    try:
        make_private(folder)
    except OSError as error:
        raise InputError(
            f"Expected a working folder that can be written to, for what runs keep in {folder}; "
            f"{error.strerror}. Work in another folder."
        ) from None
    check_state_folder()
    return folder


def check_state_folder() -> None:
    """Refuse a state folder, if there is one, that others may have put something into.

    What lies in it runs as code. Whoever owns it, or something in it, can replace that; so can
    other users for root, who would then run their code.

    Raises
    ------
    InputError
        If it belongs to another user, or others may write to it.
    """
    folder = Path(STATE_FOLDER)
    if not folder.is_dir():
        return
    _check_owned(folder)
    mode = folder.stat().st_mode
    _check_closed(folder, mode)
    try:
        _check_within(folder, mode)
    except PermissionError as error:
        raise InputError(
            f"Expected {folder.absolute()} to be open to user {os.geteuid()}, who runs this; "
            f"{error.strerror}. Open it: chmod u+rwx {folder.absolute()}."
        ) from None


def _check_within(folder: Path, mode: int) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            _check_owned(path)
            # A link's own mode says nothing; a cache that one leads to is looked at as a cache.
            if mode & (stat.S_IXGRP | stat.S_IXOTH) and not path.is_symlink():
                _check_closed(path, path.stat().st_mode)


def _check_closed(path: Path, mode: int) -> None:
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(_not_private(path, "others may write to it", "chmod -R go-w"))


def _check_owned(path: Path) -> None:
    owner = foreign_owner(path)
    if owner is not None:
        found = f"it belongs to user {owner}"
        raise InputError(_not_private(path, found, f"chown -R {os.geteuid()}"))


def _not_private(path: Path, found: str, command: str) -> str:
    folder = Path(STATE_FOLDER).absolute()
    return (
        f"Expected {path.absolute()} to be private to user {os.geteuid()}, who runs this, as what "
        f"lies in {folder} runs as code; found that {found}. Delete {folder}, which runs make "
        f"anew, or if you trust all that lies in it: {command} {folder}. Or work elsewhere."
    )


def prepare() -> None:
    """Set what Prefect reads when it is imported."""
    # A umask that takes the owner's rights too would make files that nobody can read again.
    os.umask(os.umask(0o077) & 0o077)
    for name, value in {**_ALWAYS, **_CLIENT}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(state_folder() / "prefect"))
    prefect_patches.apply("any")


def prepare_children() -> None:
    """Have processes that this one starts look for no module in the working folder.

    For processes of our own: a script may start others that need what it switches off.
    """
    os.environ.update(_ONLY_INSTALLED)


def server_environment(port: int) -> dict[str, str]:
    """The environment of the embedded server."""
    forced = {
        "PREFECT_HOME": str(state_folder() / "prefect"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        **_ONLY_INSTALLED,
    }
    return {**_ALWAYS, **_SERVER, **os.environ, **forced}
