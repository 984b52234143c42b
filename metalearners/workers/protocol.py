"""What fits units: in threads, in processes, or on a cluster."""

from collections.abc import Iterable
from typing import Protocol

from metalearners._typing import Ref
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit


class WorkerLost(OSError):  # noqa: N818 - what happened, as the standard library has it
    """A worker was killed or ran out of memory in the middle of a fit."""


class TimeLimitExceeded(RuntimeError):  # noqa: N818
    """A fit took longer than its limit, and was stopped."""


class Workers(Protocol):
    """Fits units, one for each thread that calls `fit`."""

    concurrency: int  # threads that may call at a time

    def fit(self, unit: FitUnit, store: Store) -> Fit:
        """The fit of a unit, whose inputs are in the store.

        Raises
        ------
        WorkerLost
            If its worker ended.
        TimeLimitExceeded
            If it took longer than its limit.
        """

    def forget(self, refs: Iterable[Ref]) -> None:
        """Free inputs that no fit reads any more."""

    def close(self) -> None:
        """End all processes and threads that were started."""
