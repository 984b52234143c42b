"""How a run's fits are spread over the cores: by its config, a profile, or the rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from joblib import cpu_count

from flows.config.sections import ParallelismConfig
from flows.fitting import dask_cluster
from metalearners._typing import Name
from metalearners.cache.storage import Storage
from metalearners.data.dataset import Dataset
from metalearners.fits.plan import Regression, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import FitUnit
from metalearners.workers.auto import Batch, Work, decide, resources_take
from metalearners.workers.machine import machine
from metalearners.workers.processes import Processes
from metalearners.workers.protocol import Workers
from metalearners.workers.shared_inputs import SharedInputs
from metalearners.workers.threads import InProcess


@dataclass(frozen=True)
class Parallelism:
    """Where fits run, how many at a time, and who chose that."""

    runner: str  # serial, thread, process or dask
    workers: int  # fits at a time
    base_model_threads: int  # inside one fit
    chosen_by: str  # config, rule or profile
    reason: str = ""  # a sentence
    time_limit: float | None = None  # seconds for one fit
    address: str | None = None  # of a Dask scheduler
    at_most: int | None = None  # fits at a time, where the number of workers may change

    @property
    def on_this_machine(self) -> tuple[int, int]:
        """Fits at a time and threads of each, cut down to this machine's cores."""
        threads = min(self.base_model_threads, cpu_count())
        return min(self.workers, cpu_count() // threads), threads

    def open_workers(self, handle: str, shared: Storage | None = None) -> Workers:
        """Workers, which the caller closes.

        Parameters
        ----------
        handle : str
            Of a run: its files carry it.
        shared : Storage, optional
            That workers on other machines can read; the state folder without it.
        """
        if self.runner in ("serial", "thread"):
            return InProcess(self.workers, self.base_model_threads)
        shared = None if self.address is None else shared
        inputs = SharedInputs(dask_cluster.shared_inputs_in(shared, handle))
        threads, limit = self.base_model_threads, self.time_limit
        if self.runner == "process":
            return Processes(self.workers, threads, inputs, limit)
        if self.address is None:
            return dask_cluster.on_this_machine(self.workers, threads, inputs, limit)
        return dask_cluster.on_cluster(self.address, threads, inputs, limit, self.at_most)


def choose(
    asked: Literal["auto"] | ParallelismConfig, work: Work, tuned: Parallelism | None = None
) -> Parallelism:
    """The setting of a run: its config's, else a profile's, if resources take it, or the rule's."""
    if asked != "auto":
        return as_asked(asked, cpu_count())
    here, passed_over = machine(), ""
    if tuned is not None:
        most, why = resources_take(tuned.runner, work, here)
        if tuned.workers <= most:
            return tuned
        passed_over = f"Not the {tuned.workers} at a time that `uplift tune` found best, as {why}. "
    rule = decide(work, here)
    reason = f"{passed_over}{rule.reason}"
    return Parallelism(rule.runner, rule.workers, rule.threads, "rule", reason)


def work_of(d: Dataset, stages: Sequence[Mapping[Name, Regression]]) -> Work:
    """The fits that the regressions of each stage need."""
    n_rows, n_columns = d.X.shape
    row_bytes = d.X.memory_usage(index=False).sum() / n_rows
    return Work([_batches(stage, d) for stage in stages], n_columns, row_bytes)


def _batches(stage: Mapping[Name, Regression], d: Dataset) -> list[Batch]:
    """The fits of a stage, by regression; fits that several share count once."""
    batches: list[Batch] = []
    counted: set[FitUnit] = set()
    for name, asked in plan_stage(stage, d, MemoryStore()).asked.items():
        units = set(asked.units) - counted
        counted |= units
        rows = stage[name].rows
        n_rows = int((d.train if rows is None else rows & d.train).sum())
        if units:
            batches.append(Batch(stage[name].estimator.build(), len(units), n_rows))
    return batches


def as_asked(asked: ParallelismConfig, cores: int) -> Parallelism:
    """A config's setting, cut down to the cores: fits at a time first, then threads inside."""
    threads, workers = asked.base_model_threads, asked.workers
    reason = "As the config says."
    if asked.address is None:
        threads = min(threads, cores)
        most = 1 if asked.runner == "serial" else cores // threads
        workers = min(workers or most, most)
        too_many = _too_many(asked, cores)
        if too_many:
            reason = f"The config asks for {too_many}, cut down to {_cores(cores)}."
    elif workers is None:  # they are other machines' cores
        workers = dask_cluster.slots(asked.address)
        reason = "The threads of the cluster's workers when the run began."
    return Parallelism(
        asked.runner,
        workers,
        threads,
        "config",
        reason,
        time_limit=asked.unit_seconds,
        address=asked.address,
        at_most=asked.workers,
    )


def cut_down(asked: Literal["auto"] | ParallelismConfig, cores: int) -> list[str]:
    """A warning of a config that asks for more than the cores."""
    if asked == "auto" or not (too_many := _too_many(asked, cores)):
        return []
    got = as_asked(asked, cores)
    return [
        f"parallelism: expected fits at a time x threads inside each within {_cores(cores)}; found "
        f"{too_many}. Cut down to {got.workers} x {got.base_model_threads}: with more, "
        "each would wait for the others. Say `parallelism: auto`, or ask for less."
    ]


def _too_many(asked: ParallelismConfig, cores: int) -> str:
    """The fits at a time x threads that a config asks for, if the cores can't take them."""
    workers, threads = asked.workers or 1, asked.base_model_threads
    if asked.runner == "serial":
        workers = 1
    beyond = asked.address is None and workers * threads > cores
    return f"{workers} x {threads}" if beyond else ""


def _cores(n: int) -> str:
    return "1 core" if n == 1 else f"{n} cores"
