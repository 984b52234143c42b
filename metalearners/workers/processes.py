"""Units are fitted in processes, each of which ends with this one."""

import contextlib
import math
import os
import queue
import signal
import threading
import time
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, wait

import psutil
from loky.backend import get_context
from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor, TerminatedWorkerError

from metalearners._typing import Ref
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit
from metalearners.workers.protocol import TimeLimitExceeded, WorkerLost
from metalearners.workers.shared_inputs import SharedInputs, Shipment, fit_shipment, receive
from metalearners.workers.threads import thread_pools

_LOOK_SECONDS = 1.0


class Processes:
    """Fits in processes. Each is a pool of its own, so that a crash affects only one fit.

    Parameters
    ----------
    n : int
        Number of processes.
    threads : int
        Threads inside one fit.
    inputs : SharedInputs
        Sends the processes what they read.
    time_limit : float or None
        Seconds for one fit; its process is ended then.
    """

    def __init__(
        self, n: int, threads: int, inputs: SharedInputs, time_limit: float | None = None
    ) -> None:
        self.concurrency = n
        self.threads = threads
        self.inputs = inputs
        self.time_limit = time_limit
        self._idle: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()
        self._all: list[_Process] = []
        self._closed = False
        for _ in range(n):
            self._all.append(_Process(threads))
            self._idle.put(self._all[-1])

    def fit(self, unit: FitUnit, store: Store) -> Fit:
        """The fit of a unit, by the next process that is free."""
        shipment = self.inputs.ship(unit, store)
        process = self._idle.get()
        if process is None:
            self._idle.put(None)  # for the next thread that waits
            raise RuntimeError("These workers were closed.")
        try:
            return process.fit(shipment, self.threads, self.time_limit)
        except BrokenExecutor as error:
            process = self._replaced(process)
            raise _broken_worker_error(error) from None
        except TimeLimitExceeded:
            process = self._replaced(process)
            raise
        finally:
            self._idle.put(process)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Free inputs that no fit reads any more."""
        self.inputs.forget(refs)

    def close(self) -> None:
        """End the processes, and delete their inputs."""
        self._closed = True
        self._idle.put(None)
        for process in self._all:
            process.end()
        self.inputs.clear()

    def _replaced(self, process: "_Process") -> "_Process | None":
        process.end()
        self._all.remove(process)
        if self._closed:
            return None
        self._all.append(_Process(self.threads))
        return self._all[-1]


def _broken_worker_error(error: BrokenExecutor) -> Exception:
    # An error that isn't loky's own is of a pool inside the base model.
    if isinstance(error, TerminatedWorkerError) or not isinstance(error, BrokenProcessPool):
        return WorkerLost(
            "Its worker process was killed, or ran out of memory. With fewer workers each has more."
        )
    last = str(error.__cause__ or error).strip().rpartition("\n")[2]
    return RuntimeError(
        f"Expected a worker process that takes a unit and gives back its fit; found {last}. Models "
        "and their errors must be such that another process can unpickle them."
    )


class _Process:
    """A process that fits one unit at a time; the first call starts it."""

    def __init__(self, threads: int) -> None:
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            context=get_context("loky"),
            initializer=_begin_worker,
            initargs=(os.getpid(), threads),
            env={"PYTHONSAFEPATH": "1"},  # no file of its folder shadows a module
        )

    def fit(self, shipment: Shipment, threads: int, time_limit: float | None) -> Fit:
        if time_limit is not None:  # the limit is for the fit alone
            self._pool.submit(receive, shipment).result()
        future = self._pool.submit(fit_shipment, shipment, threads)
        begun, dead = time.monotonic(), False
        while not future.done():
            left = math.inf if time_limit is None else begun + time_limit - time.monotonic()
            if left <= 0:
                raise TimeLimitExceeded(
                    f"It was stopped after {time_limit:g} s, its limit (unit_seconds)."
                )
            wait([future], min(left, _LOOK_SECONDS))
            # Where a process is killed while it sends its fit, loky waits for the rest for ever.
            if dead and not future.done():
                self._pool._result_queue._writer.close()  # private; ends that wait
                raise TerminatedWorkerError("It died without reporting an error.")
            dead = not self._alive()
        return future.result()

    def _alive(self) -> bool:
        processes = list((self._pool._processes or {}).values())  # private: loky has no call for it
        return not processes or any(process.is_alive() for process in processes)

    def end(self) -> None:
        self._pool.shutdown(wait=False, kill_workers=True)


def _begin_worker(parent: int, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    os.environ["LOKY_MAX_CPU_COUNT"] = str(threads)  # for what base models start themselves
    thread_pools().limit(limits=threads, user_api="blas")


def end_with(parent: int) -> None:
    """End this process when its parent has ended, even if the parent was killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    for child in psutil.Process().children(recursive=True):  # of a base model's own pool
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(1)
