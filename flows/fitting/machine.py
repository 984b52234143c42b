"""What this machine lets a run have: cores and memory."""

from collections.abc import Iterator
from pathlib import Path

import psutil
from joblib import cpu_count

from metalearners.workers.auto import Machine

_CGROUPS = Path("/sys/fs/cgroup")


def machine() -> Machine:
    """The cores that this process may use, and the memory that is free for it now."""
    limits = (_left(folder) for folder in _own_cgroups())
    free = [left for left in limits if left is not None]
    return Machine(cpu_count(), min([psutil.virtual_memory().available, *free]))


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


def _left(folder: Path) -> int | None:
    """Bytes that a control group may still take; None where it has no limit."""
    try:
        limit, used = _figures(folder, "memory.max", "memory.current", "inactive_file")
    except (OSError, ValueError):
        try:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            limit, used = _figures(folder, *names)
        except (OSError, ValueError):
            return None
    return max(0, limit - used)


def _figures(folder: Path, limit: str, usage: str, cached: str) -> tuple[int, int]:
    lines = (folder / "memory.stat").read_text().splitlines()
    # Pages of files, which count as used, are given up as soon as memory is short.
    files = sum(int(line.split()[1]) for line in lines if line.split()[0] == cached)
    return int((folder / limit).read_text()), int((folder / usage).read_text()) - files
