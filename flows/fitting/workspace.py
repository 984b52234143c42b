"""What the tasks of a run share: across a flow or task boundary goes a handle, never data."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from flows.config.sections import CacheConfig
from flows.fitting.cache import in_use, inputs_folder, open_cache
from flows.fitting.parallelism import Parallelism
from flows.fitting.sharing import Sharing, Tally
from flows.fitting.waiting import Waiting
from flows.server.environment import state_folder
from metalearners._typing import Ref
from metalearners.cache.claims import Claimant, this_process
from metalearners.cache.layout import inputs_claim
from metalearners.digests.names import combine
from metalearners.fits.store import MemoryStore, Store, obtain
from metalearners.fits.unit import Fit, FitUnit
from metalearners.store import CachedStore
from metalearners.workers.protocol import Workers
from metalearners.workers.threads import InProcess, limited_blas

_LONGEST_TURN = 5.0  # seconds


@dataclass(eq=False)
class Workspace:
    """What the stages of a run share."""

    handle: str  # its name
    store: MemoryStore
    workers: Workers = field(default_factory=lambda: InProcess(1, 1))
    units: dict[Ref, FitUnit] = field(default_factory=dict)
    shown: dict[Ref, list[FitUnit]] = field(default_factory=dict)  # units of a stage, by a name
    attempts: list[Ref] = field(default_factory=list)  # a key for each time that its fit began
    fitted: list[Ref] = field(default_factory=list)  # and for each time that it succeeded
    # Threads of all stages, one for each fit that runs at a time.
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    sharing: Sharing = field(default_factory=Sharing)
    tally: Tally = field(default_factory=Tally)
    # Called with the learner and the kind of the stage that failed, in the thread of that stage.
    on_failure: Callable[[str, str, Exception], None] = lambda whose, kind, error: None
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _events: list["queue.SimpleQueue[Any]"] = field(default_factory=list)
    _ended: BaseException | None = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[Callable[[], None]]:
        """A stage's turn to start, until it calls what this yields.

        The server has several requests to answer for each start. Where stages start one after the
        other, the first has its answers sooner, and its fits keep the cores busy. Where a turn
        takes long, as the server is away, the others don't wait for its end.
        """
        with contextlib.ExitStack() as held:
            if self._starting.acquire(timeout=_LONGEST_TURN):
                held.callback(self._starting.release)
            if self._ended is not None:
                raise self._ended
            yield held.close

    @contextlib.contextmanager
    def listening(self) -> Iterator["queue.SimpleQueue[Any]"]:
        """What happens to a stage's units, for the time of the context, and the order to end."""
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._events.append(events)
        try:
            if self._ended is not None:  # before this stage began
                raise self._ended
            yield events
        finally:
            self._events.remove(events)

    def end_stages(self, error: BaseException) -> None:
        """Have each stage under way end with an error, without waiting for fits."""

        def end() -> None:
            raise error

        self._ended = error
        self.workers.close()
        for events in list(self._events):
            events.put((end,))

    def show(self, units: Sequence[FitUnit]) -> Ref:
        """A name by which a stage finds the units that it has to fit."""
        handle = combine("units", [unit.key for unit in units])
        self.shown[handle] = list(units)
        self.units.update((unit.key, unit) for unit in units)
        return handle

    def obtain(self, key: Ref) -> None:
        """Have a unit's fit in the store."""
        obtain(self.units[key], self.store, self._fit)

    def obtain_all(self, units: Sequence[FitUnit], store: Store) -> None:
        """Have the fits of units in a store, one after another, unless stages are to end."""
        self.units.update((unit.key, unit) for unit in units)
        for unit in units:
            if self._ended is not None:
                raise self._ended
            obtain(unit, store, self._fit)

    def _fit(self, unit: FitUnit, store: Store) -> Fit:
        self.attempts.append(unit.key)
        fit = self.workers.fit(unit, store)
        self.fitted.append(unit.key)
        return fit

    @contextlib.contextmanager
    def working(self, parallelism: Parallelism) -> Iterator[None]:
        """Have workers for the time of the context."""
        shared = self.store.cache.storage if isinstance(self.store, CachedStore) else None
        with contextlib.ExitStack() as held:
            if shared is not None and parallelism.address is not None:  # for `prune`
                held.enter_context(shared.claim(inputs_claim(self.handle)))
            self.workers = parallelism.open_workers(self.handle, shared)
            self.pool = ThreadPoolExecutor(self.workers.concurrency)
            held.enter_context(in_use(inputs_folder(state_folder(), self.handle)))
            try:
                with limited_blas(parallelism.base_model_threads):
                    yield
            finally:
                self.workers.close()
                self.pool.shutdown(wait=False, cancel_futures=True)


_open: dict[str, Workspace] = {}


@contextlib.contextmanager
def workspace(cache: CacheConfig, refresh: bool = False, run: str = "") -> Iterator[Workspace]:
    """A workspace, which this process finds by its handle for the time of the context.

    Parameters
    ----------
    cache : CacheConfig
        Where fits are kept.
    refresh : bool
        Whether to fit again what the cache has.
    run : str
        Name of the run, for other runs that wait for its fits.
    """
    store = CachedStore(open_cache(cache), refresh) if cache.enabled else MemoryStore()
    place = Workspace(uuid4().hex, store)
    if isinstance(store, CachedStore):
        name = f"{run} ({this_process()})" if run else this_process()
        store.cache.claimant = Claimant(name, Waiting(lambda key: place.units[key].label))
    _open[place.handle] = place
    try:
        yield place
    finally:
        del _open[place.handle]
        if isinstance(store, CachedStore):
            store.cache.record_hits()


def find_workspace(handle: str) -> Workspace:
    """The open workspace of a handle."""
    return _open[handle]
