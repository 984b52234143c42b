"""Tells a run's listener how far it is: a terminal, or nobody."""

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Listener(Protocol):
    """What wants to know of a run's progress."""

    def advance(self, stage: str, done: int, total: int) -> None:
        """So many steps of a stage are done."""

    def end(self, stage: str, seconds: float, executed: int, reused: int) -> None:
        """A stage has ended."""


def describe(stage: str, seconds: float, executed: int, reused: int) -> str:
    """A stage that has ended, in a line."""
    fits = f", {executed} fits executed, {reused} reused" if executed + reused else ""
    return f"{stage}: {seconds:.1f} s{fits}"


_listeners: list[Listener] = []


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a listener told, for the time of the context."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def advance(stage: str, done: int, total: int) -> None:
    """Tell the listeners that so many steps of a stage are done."""
    for listener in _listeners:
        listener.advance(stage, done, total)


def end(stage: str, seconds: float, executed: int, reused: int) -> None:
    """Tell the listeners that a stage has ended."""
    for listener in _listeners:
        listener.end(stage, seconds, executed, reused)
