"""Who has a claim, since when, and whether it lives: what those who wait for it can tell."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BEAT_SECONDS = 3.0  # between signs of life


@dataclass(frozen=True)
class Holder:
    """Who has a claim.

    Parameters
    ----------
    name : of a line
    since : seconds since the epoch, by its own clock; None where it doesn't say
    """

    name: str
    since: float | None = None

    def line(self) -> str:
        """The holder as it is written into its claim."""
        return f"{self.since or 0.0:.0f} {self.name}"

    @classmethod
    def read(cls, line: bytes) -> "Holder":
        """The holder that a claim names; some claims name none."""
        since, _, name = line.decode("utf-8", "replace").partition("\n")[0].partition(" ")
        seconds = float(since) if since.isdecimal() and len(since) < 12 else 0.0
        return cls(name or "another process", seconds or None)


def this_process() -> str:
    """A name of this process that people can find it by."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@dataclass(frozen=True)
class Claimant:
    """Who claims.

    Parameters
    ----------
    name : what others who wait are told of it
    waits : called every moment while another has a claim, with its name and holder; what it raises
        ends the wait
    """

    name: str = field(default_factory=this_process)
    waits: Callable[[str, Holder], None] = lambda name, holder: None

    def holder(self) -> Holder:
        """The claimant as it begins to hold a claim."""
        return Holder(self.name, time.time())


class Silence:
    """How long a sign of life has stayed the same, by the clock of who watches it."""

    def __init__(self) -> None:
        self._sign: object = None
        self._since = time.monotonic()

    def seconds(self, sign: object) -> float:
        """Seconds since the sign was first seen as it is now."""
        if sign != self._sign:
            self._sign, self._since = sign, time.monotonic()
        return time.monotonic() - self._since


@contextlib.contextmanager
def beating(beat: Callable[[], None], every: float) -> Iterator[None]:
    """Give a sign of life every few seconds for the time of the context."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(every):
            with contextlib.suppress(OSError):
                beat()

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
