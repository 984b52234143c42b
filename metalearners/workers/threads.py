"""Units are fitted in the threads that ask; how many threads libraries use meanwhile."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from metalearners._typing import Ref
from metalearners.base_models.training import limited_openmp
from metalearners.fits.fit import fit_unit
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit

T = TypeVar("T")
R = TypeVar("R")


@dataclass(eq=False)
class InProcess:
    """Fits in the thread that calls `fit`."""

    concurrency: int  # threads that may call at a time
    threads: int  # inside one fit

    def fit(self, unit: FitUnit, store: Store) -> Fit:
        """The fit of a unit."""
        return fit_unit(unit, store, self.threads)

    def forget(self, refs: Iterable[Ref]) -> None:
        """Nothing: the store has the inputs."""

    def close(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def limited_blas(threads: int | None) -> Iterator[None]:
    """Limit the threads of linear algebra in this process; None leaves them as they are.

    A process has one such limit: set it around fits that run side by side, not in each of them.
    """
    if threads is None:
        yield
        return
    with thread_pools().limit(limits=threads, user_api="blas"):
        yield


def side_by_side(call: Callable[[T], R], items: Iterable[T], n: int, threads: int) -> list[R]:
    """What a call returns for each item: `n` calls at a time, each with so many threads."""

    def limited(item: T) -> R:
        with limited_openmp(threads):
            return call(item)

    with limited_blas(threads), ThreadPoolExecutor(n) as pool:
        return list(pool.map(limited, items))


@cache
def thread_pools() -> ThreadpoolController:
    """The thread pools of the libraries that this process has loaded."""
    return ThreadpoolController()
