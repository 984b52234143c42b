"""The embedded server: one a state folder, alive as long as somebody uses it.

Users hold a shared lock on a file; the server ends when it gets that lock for itself. A lock
ends with its process however that ends, so no user has to tell the server that it is gone, and
none can take it from another.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from flows.errors import InputError
from flows.messages import progress
from flows.messages.output import say
from flows.messages.secrets import without_secrets
from flows.server.environment import server_environment, state_folder

_START_SECONDS = 120.0
_POLL_SECONDS = 1.0

# Kept, as Python warns of children it forgets; they may outlive this process.
_started: list["subprocess.Popen[bytes]"] = []


def connect(port: int | None = None) -> str:
    """Use a server until this process ends, when its last events have been sent.

    The server that the environment names, else the running one of the state folder, else a new
    one, which may still be starting: `wait_for` it. Called before Prefect is imported, as that
    reads the address.

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
    if given and not answers(given):
        raise InputError(
            f"PREFECT_API_URL: expected a Prefect server at {without_secrets(given)}; it doesn't "
            "answer. Start it, or unset the variable for a server of this folder's own."
        )
    if given:
        return given
    folder = state_folder()
    users = os.open(folder / "server.users", os.O_RDWR | os.O_CREAT, 0o600)
    _forget_dead_server(folder, users)
    fcntl.flock(users, fcntl.LOCK_SH)  # until the process ends; waits for a server going down
    address = _running_or_new(folder, port)
    _keep_running(folder, address)
    os.environ["PREFECT_API_URL"] = address
    # Else each client, and each sub-flow has one, asks the server for a token that it doesn't give.
    tokens = _recorded(folder, "csrf") or "true"
    os.environ.setdefault("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", tokens)
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name)
        os.environ[name] = ",".join(filter(None, [others, "127.0.0.1", "localhost"]))
    return os.environ["PREFECT_API_URL"]


def wait_for(address: str, quiet: bool = False) -> None:
    """Wait until a server that may be starting answers, and say what it has to say of that.

    Raises
    ------
    RuntimeError
        If it doesn't in two minutes, or has ended.
    """
    begun = time.monotonic()
    progress.advance("server", 0, 1)
    while not answers(address):
        ended = _started and all(process.poll() is not None for process in _started)
        none_left = ended and not _locked(state_folder() / "server.alive")
        if none_left or time.monotonic() > begun + _START_SECONDS:
            log = state_folder() / "server.log"
            raise RuntimeError(f"The embedded Prefect server didn't start: see {log}.")
        time.sleep(0.05)
    progress.end("server", time.monotonic() - begun, 0, 0)
    notice = _recorded(state_folder(), "notice")
    if notice and not quiet:
        say(f"Warning: {notice}")


def answers(address: str) -> bool:
    """Whether a server is at an address, whatever it answers."""
    own = address.startswith("http://127.0.0.1:")
    try:
        # Nothing is sent, so whose certificate it is doesn't matter here.
        health = f"{without_secrets(address).rstrip('/')}/health"
        httpx.get(health, timeout=10, trust_env=not own, verify=False)
    except httpx.InvalidURL as error:
        raise InputError(
            f"PREFECT_API_URL: expected an address such as http://127.0.0.1:4200/api; {error}."
        ) from None
    except httpx.HTTPError:
        return False
    return True


def ui_address(api: str) -> str:
    """Address of the pages of a server, given its API's."""
    return without_secrets(api).removesuffix("/api")


def _forget_dead_server(folder: Path, users: int) -> None:
    """Where nobody uses one, a new server needn't be at the port of one that was killed."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if not _locked(folder / "server.alive"):
        (folder / "server.json").unlink(missing_ok=True)


def _keep_running(folder: Path, address: str) -> None:
    """Have a thread start the server again, where its users look for it, if it is killed.

    Several users may do so at once; whichever server gets the lock stays.
    """
    port = urlsplit(address).port or 0
    environment = server_environment(port)  # before this process names a server in its own

    def watch() -> None:
        process = None
        while folder.exists():
            if not _locked(folder / "server.alive") and (not process or process.poll() is not None):
                process = _start(folder, port, environment)
            time.sleep(_POLL_SECONDS)

    threading.Thread(target=watch, daemon=True).start()


def _running_or_new(folder: Path, port: int | None) -> str:
    process = None
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if _locked(folder / "server.alive"):
            address = recorded_address(folder)
            if address:
                return address
        elif process is None:
            free = _free_port(_recorded_port(folder) or port)
            process = _start(folder, free, server_environment(free))
        elif process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"The embedded Prefect server didn't start: see {folder / 'server.log'}.")


def _locked(path: Path) -> bool:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def recorded_address(folder: Path) -> str | None:
    """Where the server of a state folder is, or was before it was killed."""
    return _recorded(folder, "api") or None


def _recorded(folder: Path, name: str) -> str:
    try:
        return str(json.loads((folder / "server.json").read_text())[name])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _recorded_port(folder: Path) -> int | None:
    address = recorded_address(folder)
    return urlsplit(address).port if address else None


def _start(folder: Path, port: int, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / "server.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.server.embedded", str(folder), str(port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C meant for one user is none for the others
        )
    _started.append(process)
    return process


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError:
            raise InputError(
                f"Expected a free port for the server; {wanted} is taken. Free it, or choose "
                "another with `uplift serve --port`."
            ) from None
        return int(probe.getsockname()[1])
