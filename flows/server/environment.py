"""Settings of Prefect that must be in the environment before Prefect is imported.

Programs of this project send nothing anywhere, keep their state in the working folder, and bind
to loopback. Settings that the user made in the environment stay. The working folder is data: its
files set nothing, and its modules replace none.
"""

import contextlib
import os
import stat
import sys
from pathlib import Path

from flows.errors import InputError
from flows.messages.limits import is_text
from flows.server import prefect_patches
from metalearners.files.ownership import foreign_owner, make_private

STATE_FOLDER = ".uplift"

_ALWAYS = {
    # The server sends no analytics, the client no telemetry.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_CLIENT = {
    # The UI shows the tasks' states without log lines.
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "WARNING"
}
_SERVER = {
    # One transaction records many task-run events. Without batches, other requests wait for the
    # recorder's write lock. A flush interval below 1 s would keep a core busy.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "5",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # A deployment's run keeps its turn when the server is killed. By default a new server doesn't
    # know of it, and Prefect ends the run when it renews its turn.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    # Runs leave the database 30 days after their end, with their tasks, logs and artifacts. Prefect
    # keeps them by default.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 86_400),
}
# Python looks for no module in the folder in which it starts.
_SAFE_PATH = {"PYTHONSAFEPATH": "1"}


def state_folder() -> Path:
    """The folder of server, database and cache in the working folder, made for its owner alone.

    An InputError means that it can't be made, or that others may have put something into it.
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
    """Raise an InputError if the state folder belongs to another user, or others may write to it.

    What lies in it runs as code. The owner of the folder, or of something in it, can replace that.
    This holds for root too, who would run another user's code.
    """
    folder = Path(STATE_FOLDER)
    if not folder.is_dir():
        return
    _check_private(folder)
    reachable = bool(folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH))
    try:
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                # A link's own mode says nothing; the cache checks the folder that one leads to.
                _check_private(path, reachable and not path.is_symlink())
    except PermissionError as error:
        raise InputError(
            f"Expected {folder.absolute()} to be open to user {os.geteuid()}, who runs this; "
            f"{error.strerror}. Open it: chmod u+rwx {folder.absolute()}."
        ) from None


def _check_private(path: Path, reachable: bool = True) -> None:
    """Refuse a path of another user, or one that others can reach and may write to."""
    owner = foreign_owner(path)
    if owner is not None:
        found, command = f"it belongs to user {owner}", f"chown -R {os.geteuid()}"
    elif reachable and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        found, command = "others may write to it", "chmod -R go-w"
    else:
        return
    folder = Path(STATE_FOLDER).absolute()
    raise InputError(
        f"Expected {path.absolute()} to be private to user {os.geteuid()}, who runs this, as what "
        f"lies in {folder} runs as code; found that {found}. Delete {folder}, which runs make "
        f"anew, or if you trust all that lies in it: {command} {folder}. Or work elsewhere."
    )


def prepare() -> None:
    """Set what Prefect reads when it is imported."""
    # A umask that takes the owner's rights would make files that nobody can read.
    os.umask(os.umask(0o077) & 0o077)
    for name, value in {**_ALWAYS, **_CLIENT}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(state_folder() / "prefect"))
    prefect_patches.apply("any")


def prepare_children() -> None:
    """Have processes that this one starts look for no module in the working folder.

    Only for our own programs: a script's processes may need modules there.
    """
    os.environ.update(_SAFE_PATH)


def server_environment(port: int) -> dict[str, str]:
    """The environment of the embedded server."""
    forced = {
        "PREFECT_HOME": str(state_folder() / "prefect"),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        **_SAFE_PATH,
    }
    return {**_ALWAYS, **_SERVER, **os.environ, **forced}
