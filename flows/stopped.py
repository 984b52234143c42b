"""Runs that were told to end while they stood still (Ctrl-Z, SIGSTOP) are woken, so that they do.

A stopped process takes no SIGTERM until it is continued; systemd and shells continue those that
they end, `kill` and Prefect's runner don't.
"""

import os
import signal
from pathlib import Path

import psutil

_ENDINGS = (signal.SIGTERM, signal.SIGINT)


def wake_if_told_to_end(pid: int) -> None:
    """Continue a process of one's own that is stopped and has SIGTERM or SIGINT waiting.

    Where the system doesn't say what signals wait, as other systems than Linux, nothing is done.
    """
    try:
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED and _told_to_end(pid):
            os.kill(pid, signal.SIGCONT)
    except (psutil.Error, OSError):  # it has ended meanwhile, or is another user's
        pass


def _told_to_end(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("ShdPnd:", "SigPnd:"))]
    return any(mask >> number - 1 & 1 for mask in masks for number in _ENDINGS)
