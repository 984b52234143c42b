"""Claims: who holds one, since when, and the sign of life that those who wait for it watch."""

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
    """Who holds a claim."""

    name: str  # one line
    since: float | None = None  # seconds since the epoch by the holder's clock, if the claim says
    patience: float = 0.0  # seconds without a sign of life after which others take the claim

    def line(self) -> str:
        """The holder as its claim names it."""
        return f"{self.since or 0.0:.0f} {self.name}"

    @classmethod
    def read(cls, line: bytes, patience: float) -> "Holder":
        """The holder that a claim names; some claims name none. Who reads it has the patience."""
        since, _, name = line.decode("utf-8", "replace").partition("\n")[0].partition(" ")
        seconds = float(since) if since.isdecimal() and len(since) < 12 else 0.0
        return cls(name or "another process", seconds or None, patience)


def this_process() -> str:
    """A name by which people can find this process."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@dataclass(frozen=True)
class Claimant:
    """Who asks for a claim.

    While another holds the claim, `waits` is called every moment with the claim's name and its
    holder. An error that it raises ends the wait.
    """

    name: str = field(default_factory=this_process)  # what others read who wait for the claim
    waits: Callable[[str, Holder], None] = lambda name, holder: None

    def holder(self) -> Holder:
        """The claimant as the holder of a claim from now on."""
        return Holder(self.name, time.time())


class Silence:
    """How long a sign of life has not changed, by the clock of the process that watches it."""

    def __init__(self) -> None:
        self._sign: object = None
        self._since = time.monotonic()

    def seconds(self, sign: object) -> float:
        """Seconds since the sign was first seen as it is now."""
        if sign != self._sign:
            self._sign, self._since = sign, time.monotonic()
        return time.monotonic() - self._since


@contextlib.contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Give a sign of life every few seconds for the time of the context."""
    ended = threading.Event()

    def keep_beating() -> None:
        while not ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                beat()

    thread = threading.Thread(target=keep_beating, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
