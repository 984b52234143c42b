"""Runs whose process died are marked as crashed on the server, not left running for ever.

A run holds the lock on a file named after its flow run. The lock ends with the process however
that ends, so a file that nobody has locked is a dead run.
"""

import contextlib
import fcntl
import functools
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from flows.messages.secrets import without_secrets
from flows.server.connection import recorded_address
from flows.server.environment import state_folder
from flows.server.stopped import wake_if_told_to_end
from metalearners.cache.file_locks import locking

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

F = TypeVar("F", bound="Flow[..., Any]")

_FOLDER = "running"
_OWN_SERVER = "own"  # its port may be another one each time
_MESSAGE = "The process of this run ended without a word."
# Task runs reach the server in batches, so some may turn up after their process has died.
_QUIET_SECONDS = 3.0
_POLL_SECONDS = 0.2
_UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")

_locks: dict[str, int] = {}


def began(flow: Any, flow_run: Any, state: Any) -> None:
    """Note that a flow run is alive, as long as this process is; a hook of the flow."""
    path = _path(flow_run)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.name in _locks:
        return
    _locks[path.name] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(_locks[path.name], fcntl.LOCK_EX)
    server = _server_name(state_folder(), os.environ.get("PREFECT_API_URL", ""))
    path.write_text(f"{server}\n{os.getpid()}")


def ended(flow: Any, flow_run: Any, state: Any) -> None:
    """Take the note back; where fits may still be running, it is left to `mark_crashed`."""
    path = _path(flow_run)
    if state.is_completed() or state.is_failed():
        path.unlink(missing_ok=True)
    else:
        path.touch()
    with contextlib.suppress(KeyError):
        os.close(_locks.pop(path.name))


def seen_to(flow: F) -> F:
    """The flow, whose runs are seen to when their process has died; a decorator."""
    flow.on_running(began)
    for ending in (flow.on_completion, flow.on_failure, flow.on_crashed, flow.on_cancellation):
        ending(ended)
    return flow


def mark_crashed(folder: Path, api: str) -> bool:
    """End what dead runs of a state folder left running on a server.

    Parameters
    ----------
    folder : state folder
    api : address of the server's API

    Returns
    -------
    Whether to look again in a moment, as something may still turn up. Never raises: no run fails
    by what became of another.
    """
    try:
        name = _server_name(folder, api)
        dead = [path for path in (folder / _FOLDER).glob("*") if _is_dead(path, name)]
        return bool(dead) and _bury(dead, api)
    except Exception as error:
        _warn_once(f"Dead runs couldn't be marked as crashed: {without_secrets(str(error))}")
        return False


def wake_those_told_to_end(folder: Path) -> None:
    """Wake the stopped runs of a state folder that have SIGTERM waiting."""
    for path in (folder / _FOLDER).glob("*"):
        with contextlib.suppress(OSError), locking(path) as free:
            pid = None if free else _noted(path)[1]
            if pid is not None:
                wake_if_told_to_end(pid)


def mark_crashed_soon(folder: Path, api: str, seconds: float) -> None:
    """`mark_crashed` until nothing more turns up, on a server that doesn't look again by itself."""
    deadline = time.monotonic() + seconds
    while mark_crashed(folder, api) and _server_name(folder, api) != _OWN_SERVER:
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_SECONDS)


@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger(__name__).warning(message)


def _path(flow_run: Any) -> Path:
    return state_folder() / _FOLDER / str(flow_run.id)


def _server_name(folder: Path, api: str) -> str:
    return _OWN_SERVER if api == recorded_address(folder) else without_secrets(api)


def _is_dead(path: Path, server: str) -> bool:
    with contextlib.suppress(FileNotFoundError), locking(path) as free:
        return free and _noted(path)[0] == server
    return False  # the run has ended meanwhile


def _noted(path: Path) -> tuple[str, int | None]:
    """Server and process of a run."""
    server, _, pid = path.read_text().partition("\n")
    return server, int(pid) if pid.isdecimal() else None


def _bury(dead: list[Path], api: str) -> bool:
    from prefect.client.orchestration import SyncPrefectClient

    again = False
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY

    secrets = {"auth_string": PREFECT_API_AUTH_STRING.value(), "api_key": PREFECT_API_KEY.value()}
    with SyncPrefectClient(api, **secrets) as client:
        for path in dead:
            with contextlib.suppress(FileNotFoundError), locking(path) as free:
                again |= free and _end_run(path, client)
    return again


def _end_run(path: Path, client: "SyncPrefectClient") -> bool:
    """End a dead run; whether to look again."""
    from prefect.exceptions import ObjectNotFound

    try:
        run = client.read_flow_run(UUID(path.name))
    except ObjectNotFound:
        path.unlink()
        return False
    if run.state and (run.state.is_scheduled() or run.state.is_pending()):
        return False  # it is to be tried again
    if _end_unfinished(run, client):
        path.touch()
    elif not 0 <= time.time() - path.stat().st_mtime < _QUIET_SECONDS:  # a clock may be moved
        path.unlink()
        return False
    return True


def _end_unfinished(run: "FlowRun", client: "SyncPrefectClient") -> int:
    """Mark a run, its sub-flow runs and their tasks, those that aren't final; how many."""
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
    from prefect.states import Cancelled, Crashed

    parent = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [run.id]}})
    runs = [*client.read_flow_runs(flow_run_filter=parent), run]
    inside = FlowRunFilter.model_validate({"id": {"any_": [each.id for each in runs]}})
    unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": _UNFINISHED}}})
    # The server gives some 200 at a time; what is left is seen at the next look.
    tasks = client.read_task_runs(flow_run_filter=inside, task_run_filter=unfinished)
    runs = [each for each in runs if each.state and not each.state.is_final()]
    asked = run.state and (run.state.is_cancelling() or run.state.is_cancelled())
    final = Cancelled if asked else Crashed
    for task in tasks:
        client.set_task_run_state(task.id, final(message=_MESSAGE), force=True)
    for each in runs:
        client.set_flow_run_state(each.id, final(message=_MESSAGE), force=True)
    return len(tasks) + len(runs)
