"""Tells a run's listener how far it is: a terminal, or nobody."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol


class Listener(Protocol):
    """What wants to know of a run's progress."""

    def advance(self, stage: str, done: int, total: int) -> None:
        """So many steps of a stage are done."""

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        """A stage has ended."""

    def tell(self, message: str) -> None:
        """Something that can't wait until the run's end."""


def describe(stage: str, seconds: float, executed: int, reused: int) -> str:
    """A stage that has ended, in a line."""
    fits = f", {executed} fits executed, {reused} reused" if executed + reused else ""
    return f"{stage}: {seconds:.1f} s{fits}"


# By context: runs side by side in one process have their own.
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a listener told, for the time of the context."""
    before = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(before)


def advance(stage: str, done: int, total: int) -> None:
    """Tell the listeners that so many steps of a stage are done."""
    for listener in _listeners.get():
        listener.advance(stage, done, total)


def end(stage: str, seconds: float, executed: int, reused: int) -> None:
    """Tell the listeners that a stage has ended."""
    for listener in _listeners.get():
        listener.end(stage, seconds, executed, reused)


def tell(message: str) -> None:
    """Tell the listeners what can't wait until the run's end."""
    for listener in _listeners.get():
        listener.tell(message)
