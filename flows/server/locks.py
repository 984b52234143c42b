"""Locks on files. A lock ends with the process that holds it, however that ends."""

import fcntl
import os
from pathlib import Path


def open_lock(path: Path) -> int:
    """The descriptor of a file to lock; the file is made if it doesn't exist."""
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def take(lock: int) -> bool:
    """Take a lock for this process alone; False where another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_taken(path: Path) -> bool:
    """Whether a process holds the lock of a file for itself alone."""
    lock = open_lock(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False
