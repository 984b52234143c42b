"""Measures fits under one setting: seconds, cores used and memory, those of its processes too."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Self
from uuid import uuid4

import psutil

from flows.errors import FitError
from flows.fitting.parallelism import Parallelism
from metalearners.fits.store import Store
from metalearners.fits.unit import FitUnit
from metalearners.workers.workers import Workers, limited_blas

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Measured:
    """What fits took under a setting.

    Parameters
    ----------
    start : seconds until workers could fit
    seconds : of the fits
    cores : used on average while they lasted
    peak_bytes : resident memory of all processes at its highest
    fits : number of them
    whole : whether all were made before the deadline
    """

    start: float
    seconds: float
    cores: float
    peak_bytes: int
    fits: int
    whole: bool


def measure(
    units: Sequence[FitUnit],
    store: Store,
    setting: Parallelism,
    deadline: float,
    patience: float = inf,
) -> Measured:
    """Fit units under a setting, keeping nothing.

    Parameters
    ----------
    deadline : by the monotonic clock; no fit is begun after it, and processes are ended
    patience : seconds, from when the workers are ready, after which no fit is begun either
    """
    with limited_blas(setting.base_model_threads), Gauge() as gauge:
        begun = time.perf_counter()
        with _ending_at(deadline, setting) as workers, _asking(workers) as pool:
            fit = partial(_fit, workers=workers, store=store, deadline=deadline)
            if setting.runner == "process":  # so that every process is there, with its inputs
                list(pool.map(fit, [units[0]] * setting.workers))
            ready, before = time.perf_counter(), gauge.cpu_seconds
            given_up = time.monotonic() + patience
            made = sum(pool.map(lambda unit: time.monotonic() < given_up and fit(unit), units))
            seconds = time.perf_counter() - ready
            used = gauge.cpu_seconds - before
    return Measured(
        start=ready - begun,
        seconds=seconds,
        cores=used / max(seconds, 1e-9),
        peak_bytes=gauge.peak_bytes,
        fits=made,
        whole=made == len(units),
    )


@contextlib.contextmanager
def _asking(workers: Workers) -> Iterator[ThreadPoolExecutor]:
    """Threads that ask workers for fits; those under way are waited for unless something is wrong.

    A fit in a thread goes on then, until it or the process ends.
    """
    pool = ThreadPoolExecutor(workers.concurrency)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


@contextlib.contextmanager
def _ending_at(deadline: float, setting: Parallelism) -> Iterator[Workers]:
    """Workers of a setting, ended in the middle of a fit where they are processes of their own."""
    workers = setting.open_workers(uuid4().hex)
    left = max(0.0, deadline - time.monotonic())
    timer = threading.Timer(min(left, threading.TIMEOUT_MAX), workers.close)
    timer.daemon = True
    timer.start()
    try:
        yield workers
    finally:
        timer.cancel()
        workers.close()


def _fit(unit: FitUnit, workers: Workers, store: Store, deadline: float) -> bool:
    """Whether a unit was fitted in time."""
    if time.monotonic() >= deadline:
        return False
    try:
        workers.fit(unit, store)
    except (OSError, MemoryError):
        if time.monotonic() < deadline:
            raise
        return False
    except Exception as error:
        if time.monotonic() < deadline:
            raise FitError(f"{unit.label} failed: {type(error).__name__}: {error}") from error
        return False
    return True


class Gauge:
    """CPU time and memory of this process and of those it starts while it is watched."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._own = psutil.Process()
        self._others = {child.pid for child in self._own.children(recursive=True)}
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
        """CPU time so far, as last seen of processes that have ended."""
        self._look()
        return sum(self._seconds.values())

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        held = self._own.memory_info().rss
        times = os.times()
        self._seconds[self._own.pid] = times.user + times.system
        for child in self._own.children(recursive=True):
            if child.pid in self._others:  # such as a server
                continue
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                spent, memory = child.cpu_times(), child.memory_info()
                self._seconds[child.pid] = spent.user + spent.system
                # Pages of files, such as mapped inputs, are there once for all.
                held += memory.rss - getattr(memory, "shared", 0)
        self.peak_bytes = max(self.peak_bytes, held)
