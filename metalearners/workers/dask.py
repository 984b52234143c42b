"""Fits on a Dask cluster: one that runs already, or one made on this machine.

The thread that calls `fit` submits the unit by Dask's own client. Prefect's task runner for Dask
would cost 0.2 to 0.8 s a task, and its workers would talk to Prefect's server.
"""

import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import uuid4

import cloudpickle
import dask.config
from distributed import (
    Client,
    Future,
    KilledWorker,
    LocalCluster,
    Security,
    WorkerPlugin,
    get_worker,
)
from distributed.comm import CommClosedError
from joblib import cpu_count
from threadpoolctl import threadpool_limits

from metalearners._typing import Ref
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit
from metalearners.workers.processes import end_with
from metalearners.workers.protocol import TimeLimitExceeded, WorkerLost
from metalearners.workers.shared_inputs import SharedInputs, Shipment, fit_shipment, receive

_CONNECT_SECONDS = 8.0
_POLL_SECONDS = 0.2
_RESULT_SECONDS = 5.0
_IN_FLIGHT = 32  # fits at least, so that workers that join later have work

_LOCAL = {
    # Fits set their own threads. Nannies run in this process: what they set stays set in it.
    "distributed.nanny.pre-spawn-environ": {"PYTHONHASHSEED": "random"},
    "distributed.scheduler.worker-ttl": None,  # a fit may keep its worker from answering
    "distributed.worker.profile.enabled": False,
}


def connect(address: str) -> Client:
    """A client of the scheduler at an address.

    Raises OSError if none answers there.
    """
    try:
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except OSError:
        raise
    except Exception as error:  # another program answers there, or keys for TLS are missing
        raise OSError(f"{type(error).__name__}: {error}") from None


def slots(address: str) -> int:
    """Number of fits that the workers at an address run at a time.

    Raises OSError if no scheduler answers there.
    """
    with connect(address) as client:
        return _slots(client)


def _slots(client: Client) -> int:
    return sum(client.nthreads().values())


@dataclass(eq=False)
class DaskWorkers:
    """Fits in the workers of a cluster, as many at a time in each as it has threads.

    Where a worker ends, Dask gives its running fits to other workers.
    """

    client: Client
    threads: int  # inside one fit
    inputs: SharedInputs  # in a storage that all workers reach
    time_limit: float | None = None  # seconds for one fit; its worker is restarted then
    limit: int | None = None  # of fits in flight; None has enough for workers that join later
    cluster: LocalCluster | None = None  # which `close` ends
    _topic: str = field(default_factory=lambda: f"fits-{uuid4().hex}")
    _begun: dict[str, tuple[str, float]] = field(default_factory=dict)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.time_limit is not None:
            self.client.subscribe_topic(self._topic, self._note_begin)

    @property
    def concurrency(self) -> int:
        """Number of threads that may call `fit` at a time: more than the workers have."""
        return self.limit or max(_IN_FLIGHT, 2 * _slots(self.client))

    def fit(self, unit: FitUnit, store: Store) -> Fit:
        """The fit of a unit, by a worker of the cluster."""
        # In bytes: the scheduler would unpickle anything else, and import the base models' code.
        content = cloudpickle.dumps(self.inputs.ship(unit, store))
        topic = None if self.time_limit is None else self._topic
        arguments = (content, unit.key, self.threads, topic)
        future = self._call(partial(self.client.submit, fit_here, *arguments, pure=False))
        try:
            self._wait(future)
            return self._result(future)
        finally:
            self._begun.pop(future.key, None)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Free inputs that no fit reads any more."""
        self.inputs.forget(refs)

    def close(self) -> None:
        """Leave the cluster, or end one of this process's own, and delete the inputs."""
        if self._closed.is_set():
            return
        self._closed.set()
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()
        self.inputs.clear()

    def _call(self, call: Callable[[], Any]) -> Any:
        """What a call of the client returns; errors of the cluster are raised as `WorkerLost`."""
        try:
            return call()
        except Exception as error:
            ended = isinstance(error, (KilledWorker, CancelledError, CommClosedError))
            if not ended and self.client.status in ("running", "connecting"):
                raise
            if self._closed.is_set():
                raise RuntimeError("These workers were closed.") from None
            raise WorkerLost(
                f"Its Dask worker, or the scheduler, ended: {type(error).__name__}: {error}"
                if ended
                else f"The Dask scheduler doesn't answer any more: {error}"
            ) from None

    def _wait(self, future: Future) -> None:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(_POLL_SECONDS):
            if self._closed.is_set():
                raise RuntimeError("These workers were closed.")
            worker, begun = self._begun.get(future.key, ("", float("inf")))
            if self.time_limit is None or time.monotonic() - begun < self.time_limit:
                continue
            if future.key in self._fits_of(worker):
                future.cancel()
                self._restart(worker)
                raise TimeLimitExceeded(
                    f"It was stopped after {self.time_limit:g} s, its limit (unit_seconds)."
                )
            # Its worker was lost. The next one will say when it begins this fit.
            self._begun.pop(future.key, None)

    def _result(self, future: Future) -> Any:
        """The result of a future that is done; with a timeout, as a closed client never answers."""
        seconds = _RESULT_SECONDS
        while True:
            if self._closed.is_set():
                raise RuntimeError("These workers were closed.")
            try:
                return self._call(partial(future.result, seconds))
            except TimeoutError:
                if self._closed.is_set():
                    raise RuntimeError("These workers were closed.") from None
                if future.status == "error":  # the fit itself raised it
                    raise
                seconds *= 2  # a large result takes longer, and each try begins anew

    def _fits_of(self, worker: str) -> Sequence[str]:
        try:
            return self.client.processing([worker]).get(worker, ())
        except KeyError:  # it was lost
            return ()

    def _restart(self, worker: str) -> None:
        try:
            self.client.restart_workers([worker], raise_for_error=False)
        except ValueError:  # without a nanny nothing starts it again
            self.client.run(os._exit, 1, workers=[worker], wait=False)
        except (KeyError, OSError):  # it is gone already, or so is the scheduler
            pass

    def _note_begin(self, event: tuple[float, dict[str, str]]) -> None:
        # By the clock of this process, as those of other machines may be wrong.
        self._begun[event[1]["key"]] = event[1]["worker"], time.monotonic()


def on_cluster(
    address: str,
    threads: int,
    inputs: SharedInputs,
    time_limit: float | None = None,
    limit: int | None = None,
) -> DaskWorkers:
    """The workers of a cluster that runs.

    Raises OSError if none answers there.
    """
    return DaskWorkers(connect(address), threads, inputs, time_limit, limit)


def on_this_machine(
    n: int, threads: int, inputs: SharedInputs, time_limit: float | None = None
) -> DaskWorkers:
    """Workers of a new cluster, which ends with this process, however that ends.

    Dask runs whatever it receives. So the cluster listens on loopback alone, and only to holders
    of keys that it makes. Its workers import the main module: a script needs the usual guard.
    """
    with dask.config.set(_LOCAL):
        cluster = LocalCluster(
            n_workers=n,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            protocol="tls://",
            security=Security.temporary(),
            memory_limit=0,  # mapped files would count, and Dask has nothing to spill
            silence_logs=logging.CRITICAL,
        )
    client = Client(cluster, timeout=_CONNECT_SECONDS, set_as_default=False)
    client.register_plugin(_EndsWithParent(os.getpid()))
    return DaskWorkers(client, threads, inputs, time_limit, n, cluster)


class _EndsWithParent(WorkerPlugin):
    """Ends workers of this machine with the process that made them; Dask itself takes longer."""

    def __init__(self, parent: int) -> None:
        self.parent = parent

    def setup(self, worker: Any) -> None:
        """Begin to watch the parent; Dask calls it when a worker begins."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
        threading.Thread(target=end_with, args=(self.parent,), daemon=True).start()


def fit_here(content: bytes, key: Ref, threads: int, topic: str | None) -> Fit:
    """Fit a pickled shipment in a worker; under a topic, if any, tell when the fit begins.

    Raises RuntimeError if this worker computes another key: with other versions the fit would be
    another.
    """
    shipment = _unpacked(content)
    if _key_here(shipment.unit) != key:
        raise RuntimeError(_other_versions("computes another key for this unit"))
    worker = get_worker()
    # A worker may run more fits at a time than the run knows: each gets its share of the cores.
    threads = min(threads, max(1, cpu_count() // worker.state.nthreads))
    # Never reset, as other fits may run beside this one. Set anew for each fit, as an estimator's
    # module may have loaded another library.
    threadpool_limits(limits=threads, user_api="blas")
    if topic is not None:  # after the inputs are here: a limit is for the fit alone
        receive(shipment)
        begun = {"key": worker.get_current_task(), "worker": worker.address}
        worker.log_event(topic, begun)
    return fit_shipment(shipment, threads)


def _unpacked(content: bytes) -> Shipment:
    try:
        return cloudpickle.loads(content)
    except (ImportError, AttributeError) as error:
        raise RuntimeError(_other_versions(f"can't load this unit ({error})")) from None


def _key_here(unit: FitUnit) -> Ref:
    """The key as this process computes it; copies don't remember the sender's."""
    return replace(unit, estimator=replace(unit.estimator)).key


def _other_versions(found: str) -> str:
    return (
        f"Expected the same versions of Python, uplift-flows and the base models' packages in "
        f"worker and run; the worker on {platform.node()} {found}. Install there what the run "
        "has, and restart the worker."
    )
