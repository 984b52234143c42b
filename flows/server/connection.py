"""The embedded server: one for each state folder, alive as long as a process uses it.

Users hold a shared lock on a file; the server ends when it gets that lock for itself. A lock ends
with its process, so no user has to tell the server that it is gone.
"""

import contextlib
import fcntl
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from flows.errors import InputError
from flows.messages import progress
from flows.messages.output import say
from flows.messages.secrets import without_secrets
from flows.server.environment import server_environment, state_folder
from metalearners.files.file_locks import is_locked, open_lock, try_lock

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_START_SECONDS = 120.0
_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 1.0

# Kept, as Python warns of child processes without a reference; these may outlive this process.
_started: list["subprocess.Popen[bytes]"] = []
# Addresses that `connect` named in the environment; all others are the user's.
_own: set[str] = set()


def connect(port: int | None = None) -> str:
    """Use a server until this process ends, when its last events have been sent.

    That is the server that the environment names, else the running one of the state folder, else a
    new one. An own server may still be starting, or starting again: `wait_for` it. Call this before
    Prefect is imported, as Prefect reads the address then.

    Parameters
    ----------
    port : int or None
        Of a new server; None for any free port.

    Returns
    -------
    str
        The API's address, which the environment names from now on.

    Raises InputError if the port is taken, or a server that the user named doesn't answer.
    """
    address = os.environ.get("PREFECT_API_URL")
    if address:
        if address not in _own:
            check_answers(address)
        return address
    folder = state_folder()
    users = open_lock(folder / "server.users")
    if port is not None:
        _wait_for_end_of_unused(folder, users, port)
    # Where the last server was killed and has no users, a new one may take any port.
    if try_lock(users) and not is_locked(folder / "server.alive"):
        (folder / "server.json").unlink(missing_ok=True)
    fcntl.flock(users, fcntl.LOCK_SH)  # until the process ends; waits for a server going down
    address = _running_or_new(folder, port)
    _keep_running(folder, address)
    _own.add(address)
    os.environ["PREFECT_API_URL"] = address
    # Else each client, and each sub-flow has one, asks the server for a token that it doesn't give.
    tokens = _record(folder).get("csrf", "true")
    os.environ.setdefault("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", tokens)
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name)
        os.environ[name] = ",".join(filter(None, [others, "127.0.0.1", "localhost"]))
    return address


def named_address() -> str | None:
    """The address of the server that the user named; None if this process has one of its own."""
    address = os.environ.get("PREFECT_API_URL")
    return None if address in _own else address or None


def use_server(folder: Path) -> int:
    """Have a state folder's server live until the file that this returns is closed.

    For a run whose process isn't the one that connected: that one may die before the run ends.
    """
    users = open_lock(folder / "server.users")
    with contextlib.suppress(BlockingIOError):  # the server is going down
        fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return users


def wait_for(address: str, quiet: bool = False) -> None:
    """Wait until a server that may be starting answers; then say what it did to its database.

    A RuntimeError means that it has ended, or didn't answer within two minutes.
    """
    begun = time.monotonic()
    progress.begin("server")
    while not answers(address):
        ended = _started and all(process.poll() is not None for process in _started)
        # One that was killed a moment ago is started again soon.
        ended = ended and time.monotonic() > begun + 2 * _POLL_SECONDS
        none_left = ended and not is_locked(state_folder() / "server.alive")
        if none_left or time.monotonic() > begun + _START_SECONDS:
            raise _not_started(state_folder())
        time.sleep(0.05)
    progress.end("server", time.monotonic() - begun, 0, 0)
    notice = _record(state_folder()).get("notice")
    if notice and not quiet:
        say(f"Warning: {notice}")


def check_answers(address: str, seconds: float = _ANSWER_SECONDS) -> None:
    """Raise an InputError if no server answers at an address that the user named."""
    if ask(address, "health", seconds) is None:
        raise InputError(
            f"PREFECT_API_URL: expected a Prefect server at {without_secrets(address)}; it doesn't "
            "answer. Start it, or unset the variable for a server of this folder's own."
        )


def answers(address: str) -> bool:
    """Whether a server answers at an address, whatever it says."""
    return ask(address, "health") is not None


def ask(
    address: str,
    what: str,
    seconds: float = _ANSWER_SECONDS,
    verify: bool | ssl.SSLContext = False,
    **more: Any,
) -> httpx.Response | None:
    """The answer of the server at an address to a GET request; None if there is none.

    Parameters
    ----------
    address : str
        Of an API. Its user and password aren't sent.
    what : str
        The path below it.
    seconds : float
        How long each step of the request may take.
    verify : bool or SSLContext
        How the server's certificate is checked. Any will do for a request that sends nothing.
    more
        Arguments of `httpx.get` for what is sent.

    Raises InputError if it is no address.
    """
    own = address.startswith("http://127.0.0.1:")
    url = f"{without_secrets(address).rstrip('/')}/{what}"
    try:
        return httpx.get(url, timeout=seconds, trust_env=not own, verify=verify, **more)
    except httpx.InvalidURL as error:
        raise InputError(
            f"PREFECT_API_URL: expected an address such as http://127.0.0.1:4200/api; {error}."
        ) from None
    except httpx.HTTPError:
        return None


def client_of(api: str) -> "SyncPrefectClient":
    """A client for the server at an address, with the login of Prefect's settings."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY

    secrets = {"auth_string": PREFECT_API_AUTH_STRING.value(), "api_key": PREFECT_API_KEY.value()}
    return SyncPrefectClient(api, **secrets)


def ui_address(api: str) -> str:
    """The address of a server's pages, from that of its API."""
    return without_secrets(api).removesuffix("/api")


def _keep_running(folder: Path, address: str) -> None:
    """Have a thread start the server again at its address if it is killed.

    Several users may do so at once; the server that gets the lock stays.
    """
    port = urlsplit(address).port or 0
    environment = server_environment(port)  # before this process names a server in its own

    def watch() -> None:
        process = None
        while folder.exists():
            starting = process and process.poll() is None
            if not starting and not is_locked(folder / "server.alive"):
                process = _start(folder, port, environment)
            time.sleep(_POLL_SECONDS)

    threading.Thread(target=watch, daemon=True).start()


def _wait_for_end_of_unused(folder: Path, users: int, port: int) -> None:
    """Wait while a server at another port has no users; it sees so within a second, and ends."""
    deadline = time.monotonic() + _START_SECONDS
    while is_locked(folder / "server.alive") and try_lock(users) and time.monotonic() < deadline:
        address = recorded_address(folder)
        fcntl.flock(users, fcntl.LOCK_UN)
        if address and urlsplit(address).port == port:
            break
        time.sleep(_POLL_SECONDS / 10)


def _running_or_new(folder: Path, port: int | None) -> str:
    process = None
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        recorded = recorded_address(folder)
        if is_locked(folder / "server.alive"):
            if recorded:
                return recorded
        elif process is None:
            free = _free_port(urlsplit(recorded).port if recorded else port)
            process = _start(folder, free, server_environment(free))
        elif process.poll() is not None:
            break
        time.sleep(0.02)
    raise _not_started(folder)


def _not_started(folder: Path) -> RuntimeError:
    log = folder / "server.log"
    return RuntimeError(f"The embedded Prefect server didn't start: see {log}.")


def recorded_address(folder: Path) -> str | None:
    """The address of a state folder's server; after it was killed, its last address."""
    return _record(folder).get("api")


def _record(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / "server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _start(folder: Path, port: int, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / "server.log").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.server.embedded", str(folder), str(port)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C at one user's terminal mustn't end it
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
