"""Binned data sets that fits of this process share: few at a time, each built once."""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_MOST = 8  # sets at a time; each has a byte or two for each value of its features


@dataclass(eq=False)
class _Slot:
    """A set, once it is built; who needs it meanwhile waits for the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    built: Any = None


class BinnedSets:
    """Binned data sets by key; the set that was used longest ago is dropped first.

    A key names the content of the features, so a set can't be stale. It is dropped with the
    features that it was built from: those of a run, or your X in a call of the library.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()
        # A finalizer may run within any allocation, also of the thread that holds the lock.
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, key: Hashable, owner: Any, build: Callable[[], Any]) -> Any:
        """The set of a key. Threads that need it at once build it once.

        Parameters
        ----------
        key : Hashable
            Names the content of the features, and how they are binned.
        owner : Any
            The features; the set is dropped with them.
        build : callable
            Builds the set.
        """
        slot = self._slot(key, owner)
        with slot.lock:
            if slot.built is None:
                slot.built = build()
            return slot.built

    def _slot(self, key: Hashable, owner: Any) -> _Slot:
        with self._lock:
            slot = self._slots.pop(key, None)
            if slot is None:
                slot = _Slot()
                with suppress(TypeError):  # a container without weak references
                    weakref.finalize(owner, self._drop, key).atexit = False
            self._slots[key] = slot  # the last to be dropped
            while len(self._slots) > self._most:
                self._slots.popitem(last=False)
            return slot

    def _drop(self, key: Hashable) -> None:
        with self._lock:
            self._slots.pop(key, None)
