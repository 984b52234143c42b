"""An interruption ends the process within seconds, however long its fits would still take.

A fit is one call in a thread, which nothing can stop but the end of its process. Finished fits
are in the store already, so nothing is lost by that.
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

# Set from the moment of an interruption: nothing that can be left out is waited for any more.
begun = threading.Event()
_own_process = threading.Event()
_last_words: list[Callable[[], None]] = []


@contextlib.contextmanager
def prompt() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM end this process soon, for the time of the context.

    A second one changes nothing: the end is seconds away. That the terminal is gone changes
    nothing either: nobody sees the run, and it goes on.
    """
    _own_process.set()
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield  # after an interruption the signals stay as they are
    for number, handler in before.items():
        signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    if not begun.is_set():
        hurry()
        raise KeyboardInterrupt


@contextlib.contextmanager
def last_words(words: Callable[[], None]) -> Iterator[None]:
    """Have something done if the process must end before it has wound up."""
    _last_words.append(words)
    try:
        yield
    finally:
        _last_words.remove(words)


def hurry(status: int = 130) -> None:
    """Stop being patient; a process that is ours to end ends in some seconds at the latest.

    Ours are the command's, and one that was started for a single flow run.
    """
    if begun.is_set():
        return
    begun.set()
    if _own_process.is_set() or "PREFECT__FLOW_RUN_ID" in os.environ:
        threading.Thread(target=_end_at_last, args=(status,), daemon=True).start()


def _end_at_last(status: int) -> None:
    time.sleep(_GRACE_SECONDS)
    for words in list(_last_words):
        with contextlib.suppress(Exception):
            words()
    end_process(status)


def end_process(status: int) -> None:
    """End the process without waiting for its threads."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
            if stream is not None:
                stream.flush()
    os._exit(status)
