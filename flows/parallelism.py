"""How a run's fits are spread over the cores: as the config says, or by a rule."""

from dataclasses import dataclass
from typing import Literal

from joblib import cpu_count

from flows.config import ParallelismConfig
from flows.environment import state_folder
from metalearners.shared_inputs import SharedInputs
from metalearners.storage import FolderStorage
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
    """

    runner: str
    workers: int
    base_model_threads: int
    chosen_by: str
    reason: str = ""
    time_limit: float | None = None
    address: str | None = None

    def open_workers(self, handle: str) -> Workers:
        """Workers to be closed by who asks; a run's handle tells its files from other runs'."""
        if self.runner in ("serial", "thread"):
            return InProcess(self.workers, self.base_model_threads)
        inputs = SharedInputs(FolderStorage(state_folder() / "inputs" / handle))
        return Processes(self.workers, self.base_model_threads, inputs, self.time_limit)


def choose(asked: Literal["auto"] | ParallelismConfig) -> Parallelism:
    """How a run's fits are spread."""
    cores = cpu_count()
    if asked == "auto":
        return Parallelism("thread", cores, 1, "rule", "one single-threaded fit a core")
    if asked.runner == "serial":
        return Parallelism("serial", 1, asked.base_model_threads, "config")
    workers = asked.workers or max(1, cores // asked.base_model_threads)
    return Parallelism(
        asked.runner,
        workers,
        asked.base_model_threads,
        "config",
        time_limit=asked.unit_seconds,
        address=asked.address,
    )
