"""How a run's fits are spread over the cores: as the config says, or by a rule."""

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from joblib import cpu_count

from flows.config import ParallelismConfig
from flows.environment import state_folder
from flows.errors import InputError
from flows.fit_cache import inputs_folder
from flows.source import check_allowed
from metalearners.shared_inputs import SharedInputs
from metalearners.storage import FolderStorage, Storage
from metalearners.workers import InProcess, Processes, Workers


@dataclass(frozen=True)
class Parallelism:
    """Where fits run, how many at a time, and who chose that.

    Parameters
    ----------
    runner : serial, thread, process or dask
    workers : fits at a time
    base_model_threads : inside one fit
    chosen_by : config, rule or profile
    reason : in a sentence
    time_limit : seconds for one fit
    address : of a Dask scheduler
    at_most : fits at a time, where the number of workers may change; None for no limit
    """

    runner: str
    workers: int
    base_model_threads: int
    chosen_by: str
    reason: str = ""
    time_limit: float | None = None
    address: str | None = None
    at_most: int | None = None

    def open_workers(self, handle: str, shared: Storage | None = None) -> Workers:
        """Workers to be closed by who asks.

        Parameters
        ----------
        handle : of a run, which tells its files from other runs'
        shared : that workers on other machines can read; None for the state folder
        """
        if self.runner in ("serial", "thread"):
            return InProcess(self.workers, self.base_model_threads)
        inputs = SharedInputs(_inputs_in(None if self.address is None else shared, handle))
        threads, limit = self.base_model_threads, self.time_limit
        if self.runner == "process":
            return Processes(self.workers, threads, inputs, limit)
        if self.address is None:
            return _dask().on_this_machine(self.workers, threads, inputs, limit)
        with _answering(self.address):
            return _dask().on_cluster(self.address, threads, inputs, limit, self.at_most)


def choose(asked: Literal["auto"] | ParallelismConfig) -> Parallelism:
    """How a run's fits are spread."""
    cores = cpu_count()
    if asked == "auto":
        return Parallelism("thread", cores, 1, "rule", "one single-threaded fit a core")
    if asked.runner == "serial":
        return Parallelism("serial", 1, asked.base_model_threads, "config")
    if asked.address is not None:
        return _of_cluster(asked, asked.address)
    workers = asked.workers or max(1, cores // asked.base_model_threads)
    return Parallelism(
        asked.runner,
        workers,
        asked.base_model_threads,
        "config",
        time_limit=asked.unit_seconds,
        address=asked.address,
    )


def check_parallelism(asked: Literal["auto"] | ParallelismConfig) -> None:
    """Refuse a Dask cluster that can't be used.

    Raises
    ------
    InputError
        If its package isn't installed, or it may not be used, or no scheduler answers.
    """
    if asked == "auto" or asked.runner != "dask":
        return
    _dask()
    if asked.address is not None:
        check_allowed(asked.address.rstrip("/") + "/")
        _of_cluster(asked, asked.address)


def _of_cluster(asked: ParallelismConfig, address: str) -> Parallelism:
    with _answering(address):
        workers = asked.workers or _dask().slots(address)
    reason = "" if asked.workers else "the threads of the cluster's workers when the run began"
    return Parallelism(
        asked.runner,
        workers,
        asked.base_model_threads,
        "config",
        reason,
        asked.unit_seconds,
        address,
        asked.workers,
    )


def _dask() -> ModuleType:
    try:
        return importlib.import_module("metalearners.dask_workers")
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


def _inputs_in(shared: Storage | None, handle: str) -> Storage:
    """Where a run's inputs lie: a folder in a storage, by an absolute path; or on this machine."""
    if shared is None:
        return FolderStorage(inputs_folder(state_folder(), handle))
    try:
        if isinstance(shared, FolderStorage):
            shared = FolderStorage(shared.folder.resolve())
        return shared.sub(f"inputs/{handle}")
    except OSError as error:
        raise InputError(
            f"cache.storage: expected a place that can be written to, for what workers read; "
            f"{error}. Choose another, or the runner thread or process."
        ) from None
