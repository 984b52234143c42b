"""How a run scales out on Dask workers, with fits that sleep: ``python -m benchmarks.scale_out``.

A scheduler and several worker processes run on this machine. A fit sleeps as long as a fit of
LightGBM took, so a process can run many fits at a time, each in a slot. The rest is as in a run:
the plan of five learners, the shipped units, the inputs that workers read from a shared storage,
and the predictions that come back. The start of the processes and their imports are left out.

The program prints a line of a Markdown table for each length of fits and number of slots:

- ``ideal``: seconds of the same schedule if tasks cost nothing. A slot that is free takes the next
  unit, and the second stage begins after the first.
- ``efficiency``: ideal over measured seconds.
- ``of slots``: the share of all slots' time in which fits slept.
- processor time a unit in ms, of the run's process, of the scheduler and of all workers together.
- ``reads``: how often a worker read an input, at most, and the bytes that each worker read.

With ``--flow``, each fit is a task of Prefect's, as in ``uplift run``, and fits are kept in a
cache. Then a learner's second stage begins when its first is done. ``--picture`` draws the curves.
"""

import argparse
import contextlib
import heapq
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import gcd
from pathlib import Path
from statistics import mean, median
from unittest import mock
from uuid import uuid4

from matplotlib.figure import Figure

from benchmarks.dask_cluster import cluster, prepare, reads
from benchmarks.parallelism import lightgbm, model, study_of
from benchmarks.sleeping_fits import sleep_here
from flows.fitting.parallelism import Parallelism
from flows.fitting.regressions import expected
from flows.inputs.models import IMPORT_ROOTS_VARIABLE
from flows.inputs.study import Study
from metalearners.fits.fit import fit_unit
from metalearners.fits.plan import Plan, plan_stage
from metalearners.fits.store import MemoryStore
from metalearners.fits.unit import FitUnit
from metalearners.workers import dask

LEARNERS = ["SLearner", "TLearner", "XLearner", "RLearner", "DRLearner"]
SIZE = {"n": 20_000, "p": 10, "arms": 6, "folds": 50}
HEAD = (
    *("fits", "slots", "units", "ideal s", "measured s", "efficiency", "of slots"),
    *("run ms", "scheduler ms", "workers ms", "reads", "MB read"),
)


@dataclass(frozen=True)
class Row:
    """A measurement."""

    seconds: float  # the mean length of a fit
    slots: int
    units: int
    ideal: float
    measured: float
    busy: float  # seconds of all fits
    processor: tuple[float, float, float]  # seconds of run, scheduler, workers
    reads: int
    read_bytes: int

    @property
    def efficiency(self) -> float:
        """Ideal over measured seconds."""
        return self.ideal / self.measured

    @property
    def cells(self) -> list[str]:
        """The row's cells, in the order of the head."""
        share = self.busy / self.slots / self.measured
        return [
            *(f"{self.seconds:.2f} s", str(self.slots), str(self.units)),
            *(f"{self.ideal:.1f}", f"{self.measured:.1f}"),
            *(f"{self.efficiency:.2f}", f"{share:.2f}"),
            *(f"{1000 * seconds / self.units:.1f}" for seconds in self.processor),
            *(str(self.reads), f"{self.read_bytes / 1e6:.1f}"),
        ]


def main() -> None:
    """Measure lengths of real fits, then the makespan of sleeping ones, and print a table."""
    options = _parser().parse_args()
    os.environ[IMPORT_ROOTS_VARIABLE] = "benchmarks"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the cluster ends too
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        if options.flow:
            _begin_server()
        lengths = options.lengths or measured_lengths()
        print("Seconds of a fit: ", {role: round(s, 3) for role, s in lengths.items()}, "\n")
        _print_cells(HEAD, ("---",) * len(HEAD))
        rows = [
            measure(longer(lengths, times), slots, options)
            for times in options.times
            for slots in options.slots
        ]
    if options.picture:
        draw(rows, options.picture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--processes", type=int, default=8, help="at most, for all slots")
    parser.add_argument("--times", type=float, nargs="+", default=[1, 10], help="longer fits")
    parser.add_argument("--lengths", type=_lengths, help="OUTCOME,PROPENSITY,TREATMENT in seconds")
    parser.add_argument("--flow", action="store_true", help="with a task of Prefect's for each fit")
    parser.add_argument("--picture", type=Path, help="a file for the curves")
    return parser


def _lengths(text: str) -> dict[str, float]:
    return dict(zip(ROLES, map(float, text.split(",")), strict=True))


def _print_cells(*rows: Sequence[str]) -> None:
    for cells in rows:
        print(f"| {' | '.join(cells)} |", flush=True)


ROLES = ("outcome", "propensity", "treatment")


def role(unit: FitUnit, stage: int) -> str:
    """What a unit's base model is for."""
    if stage == 1:
        return "treatment"
    return "propensity" if unit.method == "predict_proba" else "outcome"


def planned(study: Study) -> tuple[list[Plan], MemoryStore]:
    """The plans of both stages, and the store that has their inputs."""
    store = MemoryStore()
    return [plan_stage(asked, study.dataset, store) for asked in expected(study)], store


def measured_lengths() -> dict[str, float]:
    """Median seconds of LightGBM's fits with one thread, by role: a fold of each regression."""
    plans, store = planned(study_of(**SIZE, models=lightgbm(n_estimators=100), learners=LEARNERS))
    seconds: dict[str, list[float]] = {name: [] for name in ROLES}
    for stage, plan in enumerate(plans):
        for unit in {asked.units[0] for asked in plan.asked.values()}:
            begun = time.perf_counter()
            fit_unit(unit, store, threads=1)
            seconds[role(unit, stage)].append(time.perf_counter() - begun)
    return {name: median(values) for name, values in seconds.items()}


def longer(lengths: dict[str, float], times: float) -> dict[str, float]:
    """Lengths of fits that take several times as long."""
    return {name: times * seconds for name, seconds in lengths.items()}


def sleeping(lengths: dict[str, float]) -> Study:
    """A study whose base models sleep."""
    path = "benchmarks.sleeping_fits.Sleeping"
    kinds = {"outcome": "Regressor", "propensity": "Classifier", "treatment": "Regressor"}
    models = {name: model(path + kinds[name], seconds=lengths[name]) for name in ROLES}
    return study_of(**SIZE, models=models, learners=LEARNERS)


def measure(lengths: dict[str, float], slots: int, options: argparse.Namespace) -> Row:
    """Run a plan on a number of slots, and print its row."""
    study = sleeping(lengths)
    plans, _ = planned(study)
    sleeps = [[lengths[role(u, k)] for u in p.longest_first] for k, p in enumerate(plans)]
    lasting = [seconds for stage in sleeps for seconds in stage]
    with cluster(slots, gcd(options.processes, slots)) as (client, clocks):
        prepare(client, sleep_here.__module__)
        before = [clock() for clock in clocks]
        address = client.scheduler.address
        with mock.patch.object(dask, "fit_here", sleep_here):
            measured = (by_flow if options.flow else by_library)(study, address, slots)
        processor = [clock() - b for clock, b in zip(clocks, before, strict=True)]
        read = reads(client)
    ideal = sum(shortest(stage, slots) for stage in sleeps)
    row = Row(
        *(mean(lasting), slots, len(lasting), ideal, measured, sum(lasting)),
        *(tuple(processor), *read),
    )
    _print_cells(row.cells)
    return row


def shortest(seconds: Sequence[float], slots: int) -> float:
    """Seconds of a stage whose tasks cost nothing beyond their fits."""
    ends = [0.0] * slots
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def by_library(study: Study, address: str, slots: int) -> float:
    """Seconds of both stages, one after the other, through a run's workers."""
    plans, store = planned(study)
    workers = Parallelism("dask", slots, 1, "config", address=address).open_workers(uuid4().hex)
    with contextlib.closing(workers), ThreadPoolExecutor(workers.concurrency) as pool:
        begun = time.perf_counter()
        for plan in plans:
            list(pool.map(partial(workers.fit, store=store), plan.longest_first))
        return time.perf_counter() - begun


def by_flow(study: Study, address: str, slots: int) -> float:
    """Seconds of both stages as sub-flows of a flow, with a new cache."""
    from prefect import flow

    from flows.config.sections import CacheConfig
    from flows.fitting.workspace import workspace
    from flows.runs.course import fit_learners
    from flows.runs.records import Run

    parallelism = Parallelism("dask", slots, 1, "config", address=address)

    @flow
    def parent() -> float:
        cache = CacheConfig(storage=tempfile.mkdtemp(dir="."))
        with workspace(cache) as place, place.working(parallelism):
            begun = time.perf_counter()
            fit_learners(study, place, Run(Path("."), "benchmark"))
            return time.perf_counter() - begun

    return float(parent())


def _begin_server() -> None:
    from flows.server.connection import connect as connect_to_server
    from flows.server.connection import wait_for
    from flows.server.environment import prepare

    prepare()
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    wait_for(connect_to_server())


def draw(rows: Sequence[Row], file: Path) -> None:
    """Draw efficiency by slots, a curve for each length of fits."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for seconds in dict.fromkeys(row.seconds for row in rows):
        own = [row for row in rows if row.seconds == seconds]
        axes.plot(
            [r.slots for r in own], [r.efficiency for r in own], "o-", label=f"{seconds:.2g} s"
        )
    slots = sorted({row.slots for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(slots, [str(n) for n in slots])
    axes.set(xlabel="slots: fits at a time", ylabel="efficiency", ylim=(0, 1.05))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="mean fit", frameon=False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
