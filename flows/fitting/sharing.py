"""What the stages of a run share while they run side by side: fits, and their number."""

import threading
from collections.abc import Callable

from flows.messages import progress
from metalearners._typing import Ref


class Sharing:
    """Who has a unit fitted now, and who is to be told when that is over."""

    def __init__(self) -> None:
        self._waiting: dict[Ref, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def take(self, key: Ref, then: Callable[[], None]) -> bool:
        """Whether a unit is the caller's to have fitted.

        Parameters
        ----------
        then : called when it is another's, and that is over, in the thread that ends it
        """
        with self._lock:
            if key in self._waiting:
                self._waiting[key].append(then)
                return False
            self._waiting[key] = []
            return True

    def give_back(self, key: Ref) -> None:
        """End what `take` began: the fit is in the store, or somebody else may try."""
        with self._lock:
            waiting = self._waiting.pop(key, [])
        for then in waiting:
            then()


class Tally:
    """How many fits the stages of a kind have, and how many are done, told as it changes."""

    def __init__(self) -> None:
        self._expected: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._lock = threading.Lock()  # held while it is told, so that numbers come in order

    def expect(self, kind: str, fits: int) -> None:
        """Add a stage's fits."""
        with self._lock:
            self._expected[kind] = self._expected.get(kind, 0) + fits
            progress.advance(kind, self._done.get(kind, 0), self._expected[kind])

    def count(self, kind: str) -> None:
        """One more is done."""
        with self._lock:
            self._done[kind] = self._done.get(kind, 0) + 1
            progress.advance(kind, self._done[kind], self._expected[kind])
