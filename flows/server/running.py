"""Runs whose process died are marked as crashed on the server, not left running for ever.

A run holds the lock of a file named after its flow run. The lock ends with the process, so a file
that no process has locked is a dead run.
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

from flows.messages.secrets import problem_of, without_secrets
from flows.server.connection import client_of, recorded_address, use_server
from flows.server.environment import state_folder
from flows.server.stopped import wake_if_told_to_end
from metalearners.files.file_locks import locking, open_lock

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

F = TypeVar("F", bound="Flow[..., Any]")

_FOLDER = "running"
_OWN_SERVER = "own"  # its port may change
_MESSAGE = "The process of this run died without reporting an error."
# Task runs reach the server in batches, so some may arrive after their process has died.
_QUIET_SECONDS = 3.0
_POLL_SECONDS = 0.2
_UNFINISHED = ("SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING")

# Of a flow run's file, and of the own server that it uses.
_locks: dict[str, list[int]] = {}


def began(flow: Any, flow_run: Any, state: Any) -> None:
    """Lock the file of a flow run that begins; a hook of the flow."""
    path = _path(flow_run)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.name in _locks:
        return
    _locks[path.name] = [open_lock(path)]
    fcntl.flock(_locks[path.name][0], fcntl.LOCK_EX)
    api = os.environ.get("PREFECT_API_URL", "")
    server = _server_name(state_folder(), api)
    path.write_text(f"{server}\n{os.getpid()}")
    if server == _OWN_SERVER:  # which ends what dead runs left by itself
        _locks[path.name].append(use_server(state_folder()))
    elif api:
        mark_crashed(state_folder(), api)


def ended(flow: Any, flow_run: Any, state: Any) -> None:
    """Delete the file; where fits may still be running, `mark_crashed` does so later."""
    path = _path(flow_run)
    if state.is_completed() or state.is_failed():
        path.unlink(missing_ok=True)
    else:
        # A worker of Prefect's calls this for a dead run, and not in the run's folder.
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
    for lock in _locks.pop(path.name, []):
        os.close(lock)


def tracked(flow: F) -> F:
    """The flow, whose runs are marked as crashed once their process has died; a decorator."""
    flow.on_running(began)
    for ending in (flow.on_completion, flow.on_failure, flow.on_crashed, flow.on_cancellation):
        ending(ended)
    return flow


def mark_crashed(folder: Path, api: str) -> bool:
    """End what dead runs of a state folder left running on a server; never raises.

    Returns
    -------
    bool
        Whether to look again in a moment, as more may still arrive.
    """
    try:
        name = _server_name(folder, api)
        with contextlib.ExitStack() as locks:
            paths = (folder / _FOLDER).glob("*")
            free = [path for path in paths if _lock(path, locks)]
            dead = [path for path in free if _read(path)[0] == name]
            return bool(dead) and _end_runs(dead, api)
    except Exception as error:
        _warn_once(f"Dead runs couldn't be marked as crashed: {problem_of(error)}")
        return False


def wake_those_told_to_end(folder: Path) -> None:
    """Wake the stopped runs of a state folder that have SIGTERM waiting."""
    for path in (folder / _FOLDER).glob("*"):
        with contextlib.suppress(OSError), locking(path) as free:
            pid = None if free else _read(path)[1]
            if pid is not None:
                wake_if_told_to_end(pid)


def mark_crashed_soon(folder: Path, api: str, seconds: float) -> None:
    """Call `mark_crashed` until no more arrives; the folder's own server does so by itself."""
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


def _read(path: Path) -> tuple[str, int | None]:
    """The server and the process of a run, from its file."""
    server, _, pid = path.read_text().partition("\n")
    return server, int(pid) if pid.isdecimal() else None


def _lock(path: Path, locks: contextlib.ExitStack) -> bool:
    """Lock the file of a run until the context ends; False where the run lives, or has ended."""
    with contextlib.suppress(FileNotFoundError):
        return locks.enter_context(locking(path))
    return False


def _end_runs(dead: list[Path], api: str) -> bool:
    """End dead runs; whether to look again."""
    with client_of(api) as client:
        again = [_end_run(path, client) for path in dead]  # a list, so that each is ended
    return any(again)


def _end_run(path: Path, client: "SyncPrefectClient") -> bool:
    """End a dead run; whether to look again."""
    from prefect.exceptions import ObjectNotFound

    try:
        run = client.read_flow_run(UUID(path.name))
    except ObjectNotFound:
        path.unlink()
        return False
    if run.state and (run.state.is_scheduled() or run.state.is_pending()):
        return False  # Prefect will try it again
    if _end_unfinished(run, client):
        path.touch()
    elif not 0 <= time.time() - path.stat().st_mtime < _QUIET_SECONDS:  # a clock may be set back
        path.unlink()
        return False
    return True


def _end_unfinished(run: "FlowRun", client: "SyncPrefectClient") -> int:
    """End a run, its sub-flow runs and their tasks where they aren't final; how many these were."""
    from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
    from prefect.states import Cancelled, Crashed

    parent = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [run.id]}})
    runs = [*client.read_flow_runs(flow_run_filter=parent), run]
    inside = FlowRunFilter.model_validate({"id": {"any_": [each.id for each in runs]}})
    unfinished = TaskRunFilter.model_validate({"state": {"type": {"any_": _UNFINISHED}}})
    # The server returns some 200 at a time; the next call ends the rest.
    tasks = client.read_task_runs(flow_run_filter=inside, task_run_filter=unfinished)
    runs = [each for each in runs if each.state and not each.state.is_final()]
    asked = run.state and (run.state.is_cancelling() or run.state.is_cancelled())
    final = Cancelled if asked else Crashed
    for task in tasks:
        client.set_task_run_state(task.id, final(message=_MESSAGE), force=True)
    for each in runs:
        client.set_flow_run_state(each.id, final(message=_MESSAGE), force=True)
    return len(tasks) + len(runs)
