"""Wakes runs that were told to end while they were stopped (Ctrl-Z, SIGSTOP), so that they end.

A stopped process takes no SIGTERM until it is continued. systemd and shells continue the processes
that they end; `kill` and Prefect's runner don't.
"""

import os
import signal
import time
from pathlib import Path

import psutil

_ENDINGS = (signal.SIGTERM, signal.SIGINT)
_PAUSE_SECONDS = 0.5


def wake_if_told_to_end(pid: int) -> None:
    """Continue a stopped process of this user that has SIGTERM or SIGINT waiting.

    Does nothing on systems other than Linux, which don't say which signals wait.
    """
    try:
        waiting = _waiting_signals(pid)
        if psutil.Process(pid).status() == psutil.STATUS_STOPPED and waiting:
            os.kill(pid, signal.SIGCONT)
            # Any thread may take the signal that waited, but Python acts in the first thread, which
            # may sleep on a lock. A second signal wakes it.
            time.sleep(_PAUSE_SECONDS)
            os.kill(pid, waiting[0])
    except (psutil.Error, OSError):  # it has ended meanwhile, or is another user's
        pass


def _waiting_signals(pid: int) -> list[signal.Signals]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("ShdPnd:", "SigPnd:"))]
    return [number for number in _ENDINGS if any(mask >> number - 1 & 1 for mask in masks)]
