"""The task that has one unit fitted: its cache key, its retries, and which faults they are for."""

from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from flows.fitting.workspace import find_workspace
from metalearners._typing import Ref

# Faults that may have passed at the next try; any other would only come again.
PASSING_FAULTS = (OSError, MemoryError, BrokenExecutor)  # the last, of a base model's own pool
LASTING_FAULTS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)


def _passing(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    # A plain function: Prefect silently ignores any other callable here.
    try:
        state.result()
    except LASTING_FAULTS:
        return False
    except PASSING_FAULTS:
        return True
    except BaseException:
        pass
    return False


def _unit_key(context: Any, parameters: dict[str, Any]) -> str:
    return str(parameters["key"])


_RETRIED: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [1, 4, 16],
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _passing,
}


@task(
    task_run_name="{label}",
    cache_key_fn=_unit_key,
    persist_result=True,
    cache_result_in_memory=False,
    **_RETRIED,
)
def fit(key: Ref, label: str, workspace: str) -> Ref:
    """Fit the unit of a key and keep the fit; its label is for the UI. Returns the key."""
    find_workspace(workspace).obtain(key)
    return key


@task(task_run_name="{label}", cache_policy=NO_CACHE, **_RETRIED)
def fit_part(part: int, label: str, fit_all: Callable[[int], None]) -> None:
    """Fit all learners on a part of the rows: at another try, a cache has what succeeded."""
    fit_all(part)
