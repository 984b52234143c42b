"""What the tasks of a run share: across a flow or task boundary goes a handle, never data."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

from flows.config import CacheConfig
from metalearners._typing import Ref
from metalearners.plan import Plan
from metalearners.store import DirectoryStore, MemoryStore
from metalearners.unit import FitUnit


@dataclass(frozen=True, eq=False)
class Workspace:
    """A run's store, plans and tally.

    Parameters
    ----------
    store : inputs and fits
    plans, units : by key
    attempts : a unit's key for each time its fit was begun
    """

    store: MemoryStore
    plans: dict[Ref, Plan] = field(default_factory=dict)
    units: dict[Ref, FitUnit] = field(default_factory=dict)
    attempts: list[Ref] = field(default_factory=list)


_open: dict[str, Workspace] = {}


@contextlib.contextmanager
def workspace(cache: CacheConfig, refresh: bool = False) -> Iterator[str]:
    """Handle of a workspace, open in this process for the time of the context."""
    store = DirectoryStore(cache.storage, refresh) if cache.enabled else MemoryStore()
    handle = uuid4().hex
    _open[handle] = Workspace(store)
    try:
        yield handle
    finally:
        del _open[handle]


def find_workspace(handle: str) -> Workspace:
    """The open workspace of a handle."""
    return _open[handle]
