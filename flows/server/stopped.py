"""Runs that were told to end while they stood still (Ctrl-Z, SIGSTOP) are woken, so that they do.

A stopped process takes no SIGTERM until it is continued; systemd and shells continue those that
they end, `kill` and Prefect's runner don't.
"""

import os
import signal
import time
from pathlib import Path

import psutil

_ENDINGS = (signal.SIGTERM, signal.SIGINT)
_SETTLE_SECONDS = 0.5


def wake_if_told_to_end(pid: int) -> None:
    """Continue a process of one's own that is stopped and has SIGTERM or SIGINT waiting.

    Where the system doesn't say what signals wait, as other systems than Linux, nothing is done.
    """
    try:
        waiting = _waiting_signals(pid)
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED and waiting:
            os.kill(pid, signal.SIGCONT)
            # What waited is taken by any of its threads. Python acts in the first, which may sleep
            # on a lock; one that is sent to a process that runs wakes the first.
            time.sleep(_SETTLE_SECONDS)
            os.kill(pid, waiting[0])
    except (psutil.Error, OSError):  # it has ended meanwhile, or is another user's
        pass


def _waiting_signals(pid: int) -> list[signal.Signals]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("ShdPnd:", "SigPnd:"))]
    return [number for number in _ENDINGS if any(mask >> number - 1 & 1 for mask in masks)]
