"""Settings of Prefect that must be in the environment before Prefect is imported.

Programs of this project send nothing anywhere, keep their state in the working folder, and bind
to loopback. A setting that the user has made in the environment stays as it is. The working folder
is data: its files neither set anything nor stand in for a module.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flows.errors import InputError
from flows.import_hook import when_imported

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
    """Where server, database and cache of the working folder lie; made for its owner alone."""
    folder = Path(STATE_FOLDER).resolve()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Expected a working folder that can be written to, for what runs keep in {folder}; "
            f"{error.strerror}. Work in another folder."
        ) from None
    return folder


def prepare() -> None:
    """Set what Prefect reads when it is imported."""
    for name, value in {**_ALWAYS, **_CLIENT}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(state_folder() / "prefect"))
    if "prefect" not in sys.modules:  # else a script has had it read what it likes
        when_imported("prefect.settings.sources", _read_no_files)


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


def _read_no_files(sources: Any) -> None:
    """Have Prefect take no settings from the files of the working folder.

    It would from ``.env``, ``prefect.toml`` and ``pyproject.toml``, which may be another project's,
    while it is imported, and has no switch for it.
    """
    sources.FilteredDotEnvSettingsSource._read_env_files = lambda self: {}
    sources.TomlConfigSettingsSourceBase._read_file = lambda self, path: {}
    # A file of profiles may be named by the same files.
    sources._get_profiles_path_from_toml = lambda path, keys: None
    sources.dotenv = SimpleNamespace(dotenv_values=lambda path: {})
