"""Tells the listeners of a run, such as a terminal, how far it is."""

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import BinaryIO, Protocol


class Listener(Protocol):
    """Hears of a run's progress."""

    def begin(self, stage: str) -> None:
        """A stage begins, or goes on."""

    def advance(self, stage: str, done: int, total: int) -> None:
        """Some steps of a stage are done."""

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        """A stage has ended."""

    def tell(self, message: str) -> None:
        """A message can't wait until the run's end."""


def describe(stage: str, seconds: float, executed: int, reused: int) -> str:
    """A line about a stage that has ended."""
    fits = f", {executed} fits executed, {reused} reused" if executed + reused else ""
    return f"{stage}: {seconds:.1f} s{fits}"


# By context: parallel runs of one process have their own.
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener of progress during the context."""
    before = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(before)


def begin(stage: str) -> None:
    """Tell the listeners that a stage begins, or goes on, before its steps are known."""
    for listener in _listeners.get():
        listener.begin(stage)


def advance(stage: str, done: int, total: int) -> None:
    """Tell the listeners how many steps of a stage are done."""
    for listener in _listeners.get():
        listener.advance(stage, done, total)


class Steps:
    """Counts the steps of a stage, in any thread, for those who listen where it is made.

    Parameters
    ----------
    stage : str
        Name of the stage.
    total : int
        Number of its steps.
    unit : int
        How many of them count as one that is told.
    """

    def __init__(self, stage: str, total: int, unit: int = 1) -> None:
        self._stage, self._total, self._unit = stage, total // unit, unit
        self._done = 0
        self._lock = threading.Lock()  # held while it is told, so that numbers come in order
        self._listeners = _listeners.get() if self._total else ()
        self.count(0)

    def count(self, steps: int = 1) -> None:
        """Some more are done."""
        with self._lock:
            self._done += steps
            done = min(self._done // self._unit, self._total)
            for listener in self._listeners:
                listener.advance(self._stage, done, self._total)

    @property
    def share(self) -> float:
        """How much of the total is done: from 0 to 1, which it is where there is no total."""
        return min(self._done / (self._total * self._unit), 1.0) if self._total else 1.0


class Counted:
    """A stream whose bytes are counted as they are read.

    Where a thread reads ahead, `close` waits for it, and it finds the end after that.
    """

    closed = False

    def __init__(self, stream: BinaryIO, steps: Steps) -> None:
        self._stream = stream
        self._steps = steps
        self._lock = threading.Lock()

    def read(self, size: int = -1) -> bytes:
        """Some of its bytes."""
        with self._lock:
            data = b"" if self.closed else self._stream.read(size)
        self._steps.count(len(data))
        return data

    def close(self) -> None:
        """Close what is read."""
        with self._lock:
            self.closed = True
            self._stream.close()

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def end(stage: str, seconds: float, executed: int, reused: int) -> None:
    """Tell the listeners that a stage has ended."""
    for listener in _listeners.get():
        listener.end(stage, seconds, executed, reused)


def tell(message: str) -> None:
    """Tell the listeners a message that can't wait until the run's end."""
    for listener in _listeners.get():
        listener.tell(message)
