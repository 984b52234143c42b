"""Tells the listeners of a run, such as a terminal, how far it is."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol


class Listener(Protocol):
    """Hears of a run's progress."""

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


def advance(stage: str, done: int, total: int) -> None:
    """Tell the listeners how many steps of a stage are done."""
    for listener in _listeners.get():
        listener.advance(stage, done, total)


def end(stage: str, seconds: float, executed: int, reused: int) -> None:
    """Tell the listeners that a stage has ended."""
    for listener in _listeners.get():
        listener.end(stage, seconds, executed, reused)


def tell(message: str) -> None:
    """Tell the listeners a message that can't wait until the run's end."""
    for listener in _listeners.get():
        listener.tell(message)
