"""The embedded server: one a state folder, alive as long as somebody uses it.

Users hold a shared lock on a file; the server ends when it gets that lock for itself. A lock
ends with its process however that ends, so no user has to tell the server that it is gone, and
none can take it from another.
"""

import atexit
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import httpx

from flows import progress
from flows.environment import server_environment, state_folder
from flows.errors import InputError

_POLL_SECONDS = 1.0
_START_SECONDS = 120.0


def connect(port: int | None = None) -> str:
    """Use a server until this process ends, when its last events have been sent.

    The server that the environment names, else the running one of the state folder, else a new
    one. Called before Prefect is imported, as that reads the address.

    Parameters
    ----------
    port : of a new server; None for any that is free

    Returns
    -------
    The API's address, which the environment names from now on

    Raises
    ------
    InputError
        If the port is taken, or the server that the environment names doesn't answer.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given and not _healthy(given):
        raise InputError(
            f"PREFECT_API_URL: expected a Prefect server at {_without_secrets(given)}; it doesn't "
            "answer. Start it, or unset the variable for a server of this folder's own."
        )
    if not given:
        folder = state_folder()
        users = os.open(folder / "server.users", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while a server is going down
        begun = time.perf_counter()
        progress.advance("server", 0, 1)
        os.environ["PREFECT_API_URL"] = _running_or_new(folder, port)
        progress.end("server", time.perf_counter() - begun, 0, 0)
    return os.environ["PREFECT_API_URL"]


def ui_address(api: str) -> str:
    """Address of the pages of a server, given its API's."""
    return api.removesuffix("/api")


def _without_secrets(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//", address)


def _running_or_new(folder: Path, port: int | None) -> str:
    with (folder / "server.start").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)  # one of several users starts it
        address = _recorded(folder)
        if address and _healthy(address):
            return address
        return _start(folder, port)


def _recorded(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / "server.json").read_text())["api"])
    except (OSError, ValueError, KeyError):
        return None


def _healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _start(folder: Path, port: int | None) -> str:
    port = _free_port(port)
    address = f"http://127.0.0.1:{port}/api"
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(folder), str(port)],
            env=server_environment(port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C meant for one user is none for the others
        )
    # It may outlive this process, which is no reason for Python to warn of a forgotten child.
    atexit.register(setattr, process, "returncode", 0)
    deadline = time.monotonic() + _START_SECONDS
    while not _healthy(address):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            raise RuntimeError(f"The embedded Prefect server didn't start: see {log}.")
        time.sleep(0.1)
    (folder / "server.json").write_text(json.dumps({"api": address, "pid": process.pid}))
    return address


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError:
            raise InputError(
                f"Expected a free port; {wanted} is taken. Choose another with --port."
            ) from None
        return int(probe.getsockname()[1])


def _end_without_users(server: Any, users: IO[str], folder: Path) -> None:
    while not server.should_exit:
        time.sleep(_POLL_SECONDS)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        # The lock is held until this process has ended: who comes next starts a new server.
        (folder / "server.json").unlink(missing_ok=True)
        server.should_exit = True


def _serve(folder: Path, port: int) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    _write_at_once()
    config = uvicorn.Config(create_app(final=True), port=port, log_level="warning")
    server = uvicorn.Server(config)
    with (folder / "server.users").open("a") as users:
        watch = threading.Thread(target=_end_without_users, args=(server, users, folder))
        watch.start()
        server.run()
        server.should_exit = True
        watch.join()


def _write_at_once() -> None:
    """Let SQLite's transactions take the write lock when they begin.

    Prefect begins most of them as readers. One that turns writer after another has written is
    refused at once (SQLITE_BUSY_SNAPSHOT), the API answers 503, and the client waits 2 s before
    it tries again. Begun as a writer, it waits its turn, some milliseconds.
    """
    from prefect.server.database import dependencies
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    class Immediate(AioSqliteConfiguration):
        def begin_transaction(self, session, with_for_update=False):  # type: ignore[no-untyped-def]
            return super().begin_transaction(session, with_for_update=True)

    url = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if url.startswith("sqlite"):
        dependencies.MODELS_DEPENDENCIES["database_config"] = Immediate(connection_url=url)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
