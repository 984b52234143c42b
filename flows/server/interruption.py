"""An interruption ends the process within seconds, however long its fits would still take.

A fit is one call in a thread, which nothing can stop but the end of its process. The store keeps
the finished fits.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_GRACE_SECONDS = 4.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Set from the moment of an interruption on: nothing waits any more that needn't.
begun = threading.Event()
_is_a_command = threading.Event()
_at_forced_exit: list[Callable[[], None]] = []
_under_way: list[object] = []


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM end this process within seconds, during the context.

    A second signal changes nothing. A closed terminal changes nothing either: the run goes on.
    """
    _is_a_command.set()
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield  # after an interruption the signals stay as they are
    for number, handler in before.items():
        signal.signal(number, handler)


def ends_process() -> bool:
    """Whether an interruption ends this process, as that of a command."""
    return _is_a_command.is_set()


def _interrupt(number: int, frame: Any) -> None:
    if not begun.is_set():
        begin()
        raise KeyboardInterrupt


@contextlib.contextmanager
def run_under_way() -> Iterator[None]:
    """Count the context as a run of this process; where it is the only one, it begins afresh."""
    begin_afresh()
    run = object()
    _under_way.append(run)
    try:
        yield
    finally:
        _under_way.remove(run)


def begin_afresh() -> None:
    """Forget an interruption that this process has outlived, with all its runs, as notebooks do."""
    if not (_under_way or _ends_now()):
        begun.clear()


@contextlib.contextmanager
def at_forced_exit(call: Callable[[], None]) -> Iterator[None]:
    """Have something called if an interruption ends the process during the context."""
    _at_forced_exit.append(call)
    try:
        yield
    finally:
        _at_forced_exit.remove(call)


def begin(status: int = 130) -> None:
    """Begin the interruption; it ends a command's or a single flow run's process after seconds."""
    if begun.is_set():
        return
    begun.set()
    if _ends_now():
        threading.Thread(target=_force_exit, args=(status,), daemon=True).start()


def _ends_now() -> bool:
    """Whether an interruption ends this process: a command's, or that of one flow run."""
    return _is_a_command.is_set() or "PREFECT__FLOW_RUN_ID" in os.environ


def _force_exit(status: int) -> None:
    time.sleep(_GRACE_SECONDS)
    for call in list(_at_forced_exit):
        with contextlib.suppress(Exception):
            call()
    end_process(status)


def end_process(status: int) -> None:
    """End the process without waiting for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            if stream is not None:
                stream.flush()
    os._exit(status)
