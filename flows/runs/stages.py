"""A stage as a sub-flow, each of whose fits is a task."""

import contextlib
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect import Flow, flow
from prefect.futures import PrefectFuture, as_completed

from flows.errors import FitError
from flows.fitting.parts.again import Again
from flows.fitting.result_storage import FitStorage
from flows.fitting.workspace import Workspace, find_workspace
from flows.messages import progress
from flows.runs.tasks import fit, fit_part
from flows.server.prefect_patches.prompt_task_runner import PromptTaskRunner
from metalearners._typing import Name, Ref
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.execute import run_plan
from metalearners.fits.plan import Plan
from metalearners.fits.store import Store
from metalearners.fits.unit import FitUnit
from metalearners.workers.threads import InProcess


@dataclass(frozen=True)
class Counts:
    """Counts of the units of some plans."""

    planned: int  # before equal units are merged
    unique: int  # after that
    executed: int  # fitted by this run
    reused: int  # found in the cache
    retried: int  # attempts beyond the first

    @classmethod
    def of(cls, plans: Sequence[Plan], place: Workspace) -> "Counts":
        """The counts of plans that were executed in a workspace."""
        keys = {unit.key for plan in plans for unit in plan.units}
        held = {key for key in keys if place.store.holds(key)}
        return cls._of(sum(plan.planned for plan in plans), keys, held, place)

    @classmethod
    def of_parts(cls, every: Sequence[Again]) -> "Counts":
        """The counts of fits on parts of the rows that have all succeeded."""
        units = [unit.key for again in every for unit in again.units]
        return cls._of(len(units), set(units), set(units), every[0].place)

    @classmethod
    def _of(cls, planned: int, keys: set[Ref], held: set[Ref], place: Workspace) -> "Counts":
        attempts = [key for key in place.attempts if key in keys]
        executed = keys & set(place.fitted)
        # Found before, or while waiting for their turn or for another try.
        reused = len(held - executed)
        retried = len(attempts) - len(set(attempts))
        return cls(planned, len(keys), len(executed), reused, retried)


def stage_flow(
    whose: str, kind: str, place: Workspace, started: Callable[[], None]
) -> Flow[[Ref, str], None]:
    """The sub-flow of a stage, ``nuisance`` or ``treatment``, of a learner or of evaluation.

    It calls `started` once Prefect has started it.
    """

    def stage(units: Ref, workspace: str) -> None:
        started()
        try:
            _fit_units(kind, units, workspace)
        except Exception as error:
            place.on_failure(whose, kind, error)  # now, as Prefect waits for fits under way
            raise

    # Prefect finds the sub-flows of an earlier try of the parent by this name and by their order,
    # which threads leave to chance.
    stage.__name__ = stage.__qualname__ = f"{whose}_{kind}"
    made: Flow[[Ref, str], None] = flow(
        name="uplift-stage",
        flow_run_name=f"{whose} {kind}",
        validate_parameters=False,
        task_runner=PromptTaskRunner(place.pool),  # type: ignore[arg-type]
    )(stage)
    return made


def run_stage(whose: str, kind: str, plan: Plan, place: Workspace) -> dict[Name, CrossFit]:
    """Run a stage as a sub-flow, each fit a task of it, and gather the results."""

    def execute(units: Sequence[FitUnit], store: Store) -> None:
        handle = place.show(units)
        with place.turn() as started:
            stage_flow(whose, kind, place, started)(handle, place.handle)

    return run_plan(plan, place.store, execute)


def run_parts(name: str, every: Sequence[Again]) -> None:
    """Run the fits on parts of the rows as a sub-flow, each part of an outcome a task of it."""
    place = every[0].place
    parts = [(again, part) for again in every for part in range(again.count)]
    labels = [again.title(part) for again, part in parts]

    def stage() -> None:
        place.tally.expect(name, len(parts))
        asked = zip(parts, labels, strict=True)
        tasks = [fit_part.submit(part, label, again.fit) for (again, part), label in asked]
        for task in as_completed(tasks):
            _raise_failure(labels[tasks.index(task)], task)
            place.tally.count(name)

    runner = PromptTaskRunner(place.pool)
    made = flow(name="uplift-stage", flow_run_name=name, task_runner=runner)  # type: ignore[arg-type]
    try:
        made(stage)()
    except BaseException as error:
        place.end_stages(error)
        raise


def _fit_units(kind: str, handle: Ref, workspace: str) -> None:
    place = find_workspace(workspace)
    units = {unit.key: unit for unit in place.shown[handle]}
    place.tally.expect(kind, len(units))
    with place.listening() as events:
        tasks = _Tasks(place, units, events)
        for key in units:
            tasks.ask(key)
        for _ in units:
            tasks.wait_for_one()
            place.tally.count(kind)


class _Tasks:
    """The tasks of a stage: each submitted once no other stage has its unit fitted.

    A task that finds its fit ends as `Cached`. One that waits for it would hold a worker.
    """

    def __init__(
        self, place: Workspace, units: dict[Ref, FitUnit], events: "queue.SimpleQueue[Any]"
    ) -> None:
        self._place = place
        self._units = units
        self._events = events
        self._fit = fit.with_options()
        # Assigned, as Prefect wants a storage in its constructor to be saved on the server first,
        # for readers elsewhere; this one is a view for this process alone.
        self._fit.result_storage = FitStorage(workspace=place.handle)

    def ask(self, key: Ref) -> None:
        """Submit a unit's task, or have it asked for again when another stage is through."""
        there = self._place.store.holds(key)
        if there or self._place.sharing.take(key, lambda: self._events.put((self.ask, key))):
            future = self._fit.submit(key, self._units[key].label, self._place.handle)
            future.add_done_callback(lambda ended: self._end(key, ended, not there))

    def _end(self, key: Ref, future: Any, taken: bool) -> None:
        if taken:
            self._place.sharing.give_back(key)
        if not future.wrapped_future.cancelled():  # else the stage is told to end
            self._events.put((self._check, key, future))

    def wait_for_one(self) -> None:
        """Wait until one more unit is fitted.

        Raises FitError if it couldn't be.
        """
        while True:
            act, *arguments = self._events.get()
            act(*arguments)
            if act == self._check:
                return

    def _check(self, key: Ref, future: PrefectFuture[Ref]) -> None:
        try:
            _raise_failure(self._units[key].label, future)
        except FitError as failed:
            with contextlib.suppress(Exception):  # what ended the stage is what its reader wants
                if failed.__cause__ is not None and isinstance(self._place.workers, InProcess):
                    told = str(failed).rstrip(".")
                    progress.tell(f"{told}. Waiting for fits under way: they are kept.")
            raise


def _raise_failure(label: str, future: PrefectFuture[Any]) -> None:
    """Raise a FitError if a task, which is over, has failed."""
    future.wait()  # it takes its state from there
    state = future.state
    if state.is_completed():
        return
    try:
        future.result()
    except Exception as error:
        raise FitError(f"{label} failed: {type(error).__name__}: {error}") from error
    raise FitError(f"{label} ended in state {state.name}.")
