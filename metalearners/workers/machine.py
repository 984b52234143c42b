"""What this machine lets a run have: cores and memory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
from joblib import cpu_count

from metalearners.workers.auto import Machine

_CGROUPS = Path("/sys/fs/cgroup")
# The files of a limit and of what is used, and the entries for pages of files: versions 2 and 1.
_FIGURES = (
    ("memory.max", "memory.current", ("inactive_file", "active_file")),
    (
        *("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("total_inactive_file", "total_active_file"),
    ),
)


def machine() -> Machine:
    """The cores that this process may use, and the memory that is free for it now."""
    left = [free for folder in _own_cgroups() for free in _left(folder)]
    return Machine(cpu_count(), min([psutil.virtual_memory().available, *left]))


def _own_cgroups() -> Iterator[Path]:
    """Folders of the control group that this process is in, and of those around it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system than Linux
        return
    for line in lines:
        number, kinds, path = line.split(":", 2)
        if number == "0" or "memory" in kinds.split(","):
            own = _CGROUPS / kinds / path.lstrip("/")
            yield from (own, *(up for up in own.parents if up.is_relative_to(_CGROUPS)))


def _left(folder: Path) -> Iterator[int]:
    """Bytes that a control group may still take, where it has a limit."""
    for limit, usage, cached in _FIGURES:
        with contextlib.suppress(OSError, ValueError):  # the other version's, or no limit
            lines = (folder / "memory.stat").read_text().splitlines()
            # Pages of files, which count as used, are given up as soon as memory is short.
            files = sum(int(line.split()[1]) for line in lines if line.split()[0] in cached)
            used = int((folder / usage).read_text()) - files
            yield max(0, int((folder / limit).read_text()) - used)
