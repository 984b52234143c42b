"""What this machine, or its container, lets runs have: cores, memory, disk."""

import os
import re
import tempfile
from pathlib import Path

import psutil
from joblib import cpu_count

from flows.config.files import nearest_place
from flows.doctor.examination import Check, Places
from flows.errors import InputError
from flows.server.environment import STATE_FOLDER
from metalearners.workers.machine import machine

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LEAST_MEMORY = 1e9  # bytes: the server and a run of the bundled data take most of it
_LEAST_DISK = 500e6  # bytes: some runs with their fits, and what the server records
_LEAST_FILES = 1000


def _check_cores(places: Places) -> str:
    usable, all_of_them = cpu_count(), os.cpu_count()
    allowed = f"{usable} of this machine's {all_of_them} cores"
    for name in THREADS:
        asked = re.match(r"\s*(\d+)", os.environ.get(name, ""))
        if asked and int(asked[1]) > usable:
            raise InputError(
                f"{name}: expected at most {usable}, as this process may use {allowed}; found "
                f"{asked[1]}. Threads would wait for each other. Unset it: runs choose by "
                "themselves."
            )
    return f"this process may use {allowed}"


def _check_memory(places: Places) -> str:
    about = psutil.virtual_memory()
    free = machine().memory
    limited = free < 0.9 * about.available  # both change all the time
    allowed = " that a limit of this container or its control group leaves" if limited else " free"
    found = f"{_gb(free)}{allowed}, of this machine's {_gb(about.total)}"
    if free < _LEAST_MEMORY:
        remedy = "Raise the limit" if limited else "End other programs"
        raise InputError(
            f"Expected {_gb(_LEAST_MEMORY)} of memory for a server and a small run; found {found}. "
            f"{remedy}, or use a larger machine."
        )
    return found


def _check_disk(places: Places) -> str:
    folders = [Path(STATE_FOLDER), places.output, Path(tempfile.gettempdir())]
    if places.cache_folder is not None:
        folders.append(places.cache_folder)
    left = {folder: _free(folder) for folder in folders}
    scarcest = min(left, key=lambda folder: left[folder])
    if left[scarcest] < _LEAST_DISK:
        raise InputError(
            f"Expected {_gb(_LEAST_DISK)} of free disk, and {_LEAST_FILES} files, for what runs "
            f"write to {scarcest}; found {_gb(left[scarcest])}. Make room (`uplift cache prune`, "
            "old runs), or write to another disk."
        )
    return f"{_gb(left[scarcest])} free for {scarcest}, and no less for what else runs write"


def _free(folder: Path) -> float:
    """Bytes that this user may still write where a folder is, or would be; none without files."""
    about = os.statvfs(nearest_place(folder))
    few = about.f_files and about.f_favail < _LEAST_FILES  # without a limit, there are 0 in all
    return 0.0 if few else about.f_bavail * about.f_frsize


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


CHECKS = (
    Check("cores", _check_cores),
    Check("memory", _check_memory),
    Check("disk", _check_disk),
)
