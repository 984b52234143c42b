"""The stages as sub-flows, and the fit of one unit as a task."""

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from typing import Any

from prefect import Flow, Task, flow, task
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture, as_completed

from flows.errors import FitError
from flows.fitting.result_storage import FitStorage
from flows.fitting.workspace import Workspace, find_workspace
from flows.messages import progress
from flows.server.prefect_patches.prompt_task_runner import PromptTaskRunner
from metalearners._typing import Name, Ref
from metalearners.data.dataset import Dataset
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.execute import run_plan
from metalearners.fits.plan import Regression, plan_stage
from metalearners.fits.store import Store
from metalearners.fits.unit import FitUnit
from metalearners.workers.workers import InProcess

# Faults that may have passed at the next try; any other would only come again.
PASSING_FAULTS = (OSError, MemoryError, BrokenExecutor)  # the last, of a base model's own pool
LASTING_FAULTS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)


@dataclass(frozen=True)
class Counts:
    """What became of a stage's units.

    Parameters
    ----------
    planned, unique : before and after equal units are merged
    executed, reused : fitted now, and found
    retried : attempts beyond the first
    """

    planned: int = 0
    unique: int = 0
    executed: int = 0
    reused: int = 0
    retried: int = 0


def _passing(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    # A plain function: Prefect silently ignores any other callable here.
    try:
        state.result()
    except LASTING_FAULTS:
        return False
    except PASSING_FAULTS:
        return True
    except BaseException:
        return False
    return False


def _unit_key(context: Any, parameters: dict[str, Any]) -> str:
    return str(parameters["key"])


@task(
    task_run_name="{label}",
    cache_key_fn=_unit_key,
    persist_result=True,
    cache_result_in_memory=False,
    retries=3,
    retry_delay_seconds=[1, 4, 16],
    retry_jitter_factor=0.5,
    retry_condition_fn=_passing,
)
def fit(key: Ref, label: str, workspace: str) -> Ref:
    """Have one unit fitted and the fit kept.

    Parameters
    ----------
    key : of the unit
    label : what the unit is for, as the UI shows it
    workspace : handle

    Returns
    -------
    The key, under which the store has the fit
    """
    find_workspace(workspace).obtain(key)
    return key


@flow(name="nuisance-stage", validate_parameters=False)
def nuisance_stage(units: Ref, workspace: str) -> Counts:
    """Fit the units of nuisance models."""
    return _fit_units("nuisance", units, workspace)


@flow(name="treatment-stage", validate_parameters=False)
def treatment_stage(units: Ref, workspace: str) -> Counts:
    """Fit the units of treatment models."""
    return _fit_units("treatment", units, workspace)


@flow(name="evaluation-stage", validate_parameters=False)
def evaluation_stage(units: Ref, workspace: str) -> Counts:
    """Fit the units of models that judge held-out rows."""
    return _fit_units("evaluate", units, workspace)


def run_stage(
    stage: Flow[..., Counts],
    asked: Mapping[Name, Regression],
    d: Dataset,
    place: Workspace,
) -> tuple[dict[Name, CrossFit], Counts]:
    """Run a stage's regressions as a sub-flow, each fit a task of it."""
    plan = plan_stage(asked, d, place.store)
    counts = Counts()

    def execute(units: Sequence[FitUnit], store: Store) -> None:
        nonlocal counts
        runner: Any = PromptTaskRunner(max_workers=place.workers.concurrency)
        named = stage.with_options(task_runner=runner, flow_run_name=f"{stage.name} {_of(asked)}")
        counts = named(place.show(units), place.handle)

    fitted = run_plan(plan, place.store, execute)
    return fitted, replace(counts, planned=plan.planned)


def _of(asked: Mapping[Name, Regression]) -> str:
    """Whose regressions these are, for the name of a stage's run."""
    return ", ".join(dict.fromkeys(name[0] for name in asked))


def _fit_units(stage: str, handle: Ref, workspace: str) -> Counts:
    place = find_workspace(workspace)
    units = place.shown[handle]
    begun, fitted = len(place.attempts), len(place.fitted)
    cached_fit = fit.with_options()
    # Assigned, as Prefect wants a storage in its constructor to be saved on the server first, for
    # readers elsewhere; this one is a view for this process alone.
    cached_fit.result_storage = FitStorage(workspace=workspace)
    progress.advance(stage, 0, len(units))
    futures = [cached_fit.submit(unit.key, unit.label, workspace) for unit in units]
    labels = {future.task_run_id: unit.label for future, unit in zip(futures, units, strict=True)}
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            _check_fitted(future, labels[future.task_run_id])
            progress.advance(stage, done, len(units))
    except BaseException as error:
        with contextlib.suppress(Exception):  # what ended the stage is what its reader wants
            if isinstance(error, FitError) and isinstance(place.workers, InProcess):
                progress.tell(
                    f"{str(error).rstrip('.')}. Waiting for fits under way: they are kept."
                )
            place.workers.close()  # Prefect waits for tasks under way; many may only be in line
        raise
    attempts = place.attempts[begun:]
    # The others were found: before, or while waiting for their turn or for another try.
    executed = len(set(place.fitted[fitted:]))
    reused, retried = len(units) - executed, len(attempts) - len(set(attempts))
    return Counts(len(units), len(units), executed, reused, retried)


def _check_fitted(future: PrefectFuture[Ref], label: str) -> None:
    future.wait()
    state = future.state
    if state.is_completed():
        return
    try:
        future.result()
    except Exception as error:
        raise FitError(f"{label} failed: {type(error).__name__}: {error}") from error
    raise FitError(f"{label} ended in state {state.name}.")
