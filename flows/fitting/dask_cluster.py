"""Fits on a Dask cluster: one that a config names by its address, or one of this machine."""

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType

from flows.config.sections import ParallelismConfig
from flows.errors import InputError
from flows.fitting.cache import inputs_folder
from flows.inputs.places import check_allowed
from flows.server.environment import state_folder
from metalearners.cache.folder_storage import FolderStorage
from metalearners.cache.layout import inputs_place
from metalearners.cache.storage import Storage
from metalearners.workers.protocol import Workers
from metalearners.workers.shared_inputs import SharedInputs


def check_cluster(asked: ParallelismConfig) -> None:
    """Refuse a Dask cluster that can't be used.

    Raises InputError if its package isn't installed, or it may not be used, or no scheduler
    answers.
    """
    _dask()
    if asked.address is not None:
        check_allowed(asked.address.rstrip("/") + "/")
        slots(asked.address)


def slots(address: str) -> int:
    """Number of fits that a cluster's workers take at a time.

    Raises InputError if no scheduler answers.
    """
    with _answering(address):
        return int(_dask().slots(address))


def on_cluster(
    address: str, threads: int, inputs: SharedInputs, time_limit: float | None, limit: int | None
) -> Workers:
    """The workers of a cluster that runs; see `metalearners.workers.dask.on_cluster`."""
    with _answering(address):
        workers: Workers = _dask().on_cluster(address, threads, inputs, time_limit, limit)
    return workers


def on_this_machine(
    n: int, threads: int, inputs: SharedInputs, time_limit: float | None
) -> Workers:
    """Workers of a cluster of this process's own."""
    workers: Workers = _dask().on_this_machine(n, threads, inputs, time_limit)
    return workers


def _dask() -> ModuleType:
    try:
        return importlib.import_module("metalearners.workers.dask")
    except ImportError as error:
        raise InputError(
            f"parallelism.runner: expected the packages of the runner dask; {error}. "
            "pip install 'uplift-flows[dask]', or choose process."
        ) from None


@contextlib.contextmanager
def _answering(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"parallelism.address: expected a Dask scheduler that answers at {address}; {error}. "
            "Start one (deployments/dask/README.md), or set it to null for workers on this machine."
        ) from None


def shared_inputs_in(shared: Storage | None, handle: str) -> Storage:
    """Where a run's inputs lie: in a storage, by an absolute path; without one, on this machine."""
    if shared is None:
        return FolderStorage(inputs_folder(state_folder(), handle))
    try:
        if isinstance(shared, FolderStorage):
            shared = FolderStorage(shared.folder.resolve())
        return shared.sub(inputs_place(handle))
    except OSError as error:
        raise InputError(
            f"cache.storage: expected a place that can be written to, for what workers read; "
            f"{error}. Choose another, or the runner thread or process."
        ) from None
