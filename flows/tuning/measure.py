"""Measures fits under one setting: seconds, cores and memory, those of child processes too."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Self
from uuid import uuid4

import psutil
from joblib import cpu_count

from flows.errors import FitError
from flows.fitting.parallelism import Parallelism
from metalearners.fits.store import Store
from metalearners.fits.unit import FitUnit
from metalearners.workers.protocol import Workers
from metalearners.workers.threads import limited_blas

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """What fits took under a setting."""

    start: float  # seconds until the workers could fit
    seconds: float  # of the fits
    cores: float  # that this process and its children used on average
    others: float  # cores that other processes used, of those that this process may use
    peak_bytes: int  # highest resident memory of this process and its children
    fits: int


def measure(
    units: Sequence[FitUnit],
    store: Store,
    setting: Parallelism,
    deadline: float,
    limit: float = inf,
) -> Measured:
    """Fit units under a setting and keep no fit.

    Parameters
    ----------
    deadline : float
        Time of the monotonic clock after which no fit begins. Worker processes are ended then.
    limit : float
        Seconds after the workers are ready, after which no fit begins either.
    """
    with limited_blas(setting.base_model_threads), Gauge() as gauge:
        begun = time.perf_counter()
        with _workers_until(deadline, setting) as (workers, threads):

            def fit(unit: FitUnit) -> bool:
                return _fit(unit, workers, store, deadline)

            if setting.runner == "process":  # each process starts and receives its inputs
                list(threads.map(fit, [units[0]] * setting.workers))
            ready, before = time.perf_counter(), gauge.cpu_seconds
            psutil.cpu_percent()  # the next call counts from here
            last_start = time.monotonic() + limit
            fits = sum(threads.map(lambda unit: time.monotonic() < last_start and fit(unit), units))
            seconds = max(time.perf_counter() - ready, 1e-9)
            cores = (gauge.cpu_seconds - before) / seconds
            others = _cores_of_others(cores)
    return Measured(ready - begun, seconds, cores, others, gauge.peak_bytes, fits)


def _cores_of_others(ours: float) -> float:
    """Cores that other processes used since the last `cpu_percent`, of those that we may use."""
    all_cores = psutil.cpu_count() or 1
    others = psutil.cpu_percent() / 100 * all_cores - ours
    return min(max(0.0, others - (all_cores - cpu_count())), cpu_count())


@contextlib.contextmanager
def _workers_until(
    deadline: float, setting: Parallelism
) -> Iterator[tuple[Workers, ThreadPoolExecutor]]:
    """Workers, closed at the deadline, and threads that ask them for fits.

    After an error, a fit in a thread goes on until it or this process ends.
    """
    workers = setting.open_workers(uuid4().hex)
    threads = ThreadPoolExecutor(workers.concurrency)
    left = min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX)
    timer = threading.Timer(left, workers.close)
    timer.daemon = True
    timer.start()
    try:
        yield workers, threads
    finally:
        timer.cancel()
        threads.shutdown(wait=False, cancel_futures=True)
        workers.close()


def _fit(unit: FitUnit, workers: Workers, store: Store, deadline: float) -> bool:
    """Whether a unit was fitted before the deadline."""
    if time.monotonic() >= deadline:
        return False
    try:
        workers.fit(unit, store)
    except Exception as error:
        if time.monotonic() >= deadline:  # its workers were closed
            return False
        if isinstance(error, (OSError, MemoryError)):
            raise
        raise FitError(f"{unit.label} failed: {type(error).__name__}: {error}") from error
    return True


class Gauge:
    """CPU time and memory of this process, and of those that it starts within the context."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._own = psutil.Process()
        self._earlier = set(self._own.children(recursive=True))  # such as a server
        self._seconds: dict[int, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        """CPU time so far; of processes that have ended, as last seen."""
        self._look()
        return sum(self._seconds.values())

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        memory_bytes = self._own.memory_info().rss
        times = os.times()
        self._seconds[self._own.pid] = times.user + times.system
        for child in set(self._own.children(recursive=True)) - self._earlier:
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                spent, memory = child.cpu_times(), child.memory_info()
                self._seconds[child.pid] = spent.user + spent.system
                # Mapped inputs are shared between processes, and count once.
                memory_bytes += memory.rss - getattr(memory, "shared", 0)
        self.peak_bytes = max(self.peak_bytes, memory_bytes)
