"""A Dask cluster on this machine, the processor time of its parts, and what its workers read."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import psutil
from distributed import Client

from metalearners.workers import shared_inputs
from metalearners.workers.dask import connect

REPOSITORY = Path(__file__).resolve().parents[1]
Clocks = tuple[Callable[[], float], ...]
_reads: Counter[tuple[str, int]] = Counter()  # of this worker, by input and bytes


@contextlib.contextmanager
def cluster(slots: int, processes: int) -> Iterator[tuple[Client, Clocks]]:
    """A client of a cluster, and clocks of the processor for client, scheduler and workers."""
    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    host = ["--host", "127.0.0.1", "--no-dashboard"]
    many = ["--nworkers", str(processes), "--nthreads", str(slots // processes)]
    with (
        _process("scheduler", "--port", str(port), *host) as scheduler,
        _process("worker", address, *many, *host) as workers,
        connect(address) as client,
    ):
        client.wait_for_workers(processes, timeout=120)
        pids = [scheduler], [p.pid for p in psutil.Process(workers).children(recursive=True)]
        yield client, (process_time, *(partial(_processor_seconds, own) for own in pids))


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[int]:
    """A process of Dask's command line, which ends with the context, as do its children."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _processor_seconds(pids: list[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(own.user + own.system for own in times))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(client: Client, module: str) -> None:
    """Have each worker import a module, and count from now on what it reads from the storage."""
    client.run(import_module, module)
    client.run(_count)


def reads(client: Client) -> tuple[int, int]:
    """How often a worker read an input, at most, and the bytes that a worker read, at most."""
    found = [own for own in client.run(_counted).values() if own]
    most = max(max(own.values()) for own in found)
    return most, max(sum(times * size for (_, size), times in own.items()) for own in found)


def _count() -> None:
    place: Any = shared_inputs._Place.__wrapped__
    read = place._read

    def counting(self: Any, ref: str, digest: str) -> Any:
        _reads[ref, int(digest.partition("-")[0])] += 1
        return read(self, ref, digest)

    place._read = counting


def _counted() -> dict[tuple[str, int], int]:
    return dict(_reads)
