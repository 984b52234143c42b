"""Locks on files. The kernel ends a lock with the process that holds it, however that ends."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def open_lock(path: Path) -> int:
    """The descriptor of a file to lock; the file is made if it doesn't exist."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def try_lock(file: int | IO[bytes] | IO[str]) -> bool:
    """Lock an open file exclusively, without a wait; False if somebody else has its lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locking(path: Path) -> Iterator[bool]:
    """Try to lock the file or folder at a path, and hold the lock for the time of the context.

    Yields whether this process has the lock, and the file is still the one at the path.

    Raises OSError if nothing is there, or it can't be opened.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield try_lock(file) and is_at(file, path)
    finally:
        os.close(file)


def is_locked(path: Path) -> bool:
    """Whether somebody has the lock of a file; False where no file can be opened or locked."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that ask don't meet
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(file)
    return False


def is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one at a path: others may have deleted or replaced that."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def lock_when_free(file: int) -> threading.Event:
    """An event that is set as soon as this process has the lock of an open file.

    Nothing can end a wait for a lock, so a thread of its own waits. Where the caller gives up and
    closes the file, the thread has the only descriptor left: closing that ends the lock.
    """
    locked, own = threading.Event(), os.dup(file)

    def wait() -> None:
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
            locked.set()
        finally:
            os.close(own)

    threading.Thread(target=wait, daemon=True).start()
    return locked
