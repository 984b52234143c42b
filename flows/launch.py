"""Starts things: a run in this process, or the server with its deployments."""

import os
from collections.abc import Iterable
from pathlib import Path

from flows.config import Config, load_config
from flows.environment import state_folder
from flows.server import connect, ui_address
from flows.source import ROOTS_VARIABLE
from flows.study import prepare


def launch(path: Path, changes: Iterable[str], output: str | None, refresh: bool) -> Path:
    """Run a config: its data are loaded and checked before a server is needed.

    Returns
    -------
    The run's folder

    Raises
    ------
    InputError
        If the config or the data are wrong; nothing was fitted then.
    """
    config = load_config(path, changes, output)
    prepare(config)
    connect()
    # Errors are told once, in our words; the server keeps Prefect's logs for the UI.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from flows import uplift_run  # Prefect, which reads its settings when it is imported

    return Path(uplift_run(**parameters(config), refresh=refresh))


def parameters(config: Config) -> dict[str, object]:
    """A config as arguments of the parent flow."""
    return {name: getattr(config, name) for name in Config.model_fields}


def serve_deployments(port: int) -> None:
    """Bring up server and UI, and serve the deployments until interrupted.

    Runs triggered here may read and write in the working folder only, unless the environment
    names other places.
    """
    os.environ.setdefault(ROOTS_VARIABLE, str(Path.cwd()))
    api = connect(port)
    from prefect import serve

    from deployments.uplift import deployments

    print(f"UI: {ui_address(api)}  (state in {state_folder()}; Ctrl-C ends it)", flush=True)
    serve(*deployments())
