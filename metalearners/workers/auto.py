"""The rule that spreads fits over a machine's cores: plain numbers and estimators in.

1. Fits run side by side first, a core each, as they lose nothing to each other. There are no more
   of them than cores, than fits in the larger stage, and than memory takes. If any of them is on a
   device, such as a GPU, there is one at a time: the device is shared, and so is its memory.
2. Cores that are left over go inside the fits.
3. The fits are threads of one process, which cost nothing to start. Fits that hold the
   interpreter's lock wait for each other there. Where a guess at their time says that it is
   clearly faster, they run in processes, whose start takes time too, or one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from metalearners.fits.devices import on_device
from metalearners.workers.fit_costs import Cost, fit_bytes, fit_cost

START_SECONDS = 2.0
"""Seconds until a process has imported what fits need, on a core of its own."""

_PROCESS_BYTES = 200_000_000  # of a process before its first fit
_WAITING = 0.9  # seconds that threads lose to each other for each second that one holds the lock
_CLEARLY = 0.9  # another runner must take less than this share of the threads' time: all is guessed
_SPARE = 0.8  # share of the free memory that fits may take: predictions and scores come after


@dataclass(frozen=True)
class Machine:
    """The cores that a run may use, and the free bytes of memory."""

    cores: int
    memory: int


@dataclass(frozen=True)
class Batch:
    """A number of fits of one base model, each on so many rows."""

    estimator: Any
    fits: int
    rows: int


@dataclass(frozen=True)
class Work:
    """What a run fits: the batches of each of its stages, which come one after the other."""

    stages: Sequence[Sequence[Batch]]
    columns: int
    row_bytes: float  # of the features of a row

    @property
    def batches(self) -> list[Batch]:
        """Those of all stages."""
        return [batch for stage in self.stages for batch in stage]

    def with_refits(self, draws: int) -> "Work":
        """The same, and a stage with all fits again for each of some halves of the rows."""
        again = [replace(b, fits=b.fits * draws, rows=b.rows // 2) for b in self.batches]
        return replace(self, stages=[*self.stages, again]) if draws else self

    @property
    def most(self) -> int:
        """Number of fits of the larger stage: more never run at a time."""
        return max([1, *(sum(batch.fits for batch in stage) for stage in self.stages)])

    @property
    def on_device(self) -> bool:
        """Whether any fit is on a device, such as a GPU."""
        return any(on_device(batch.estimator) for batch in self.batches)

    @property
    def fit_bytes(self) -> float:
        """Memory that the largest fit takes for itself."""
        sizes = (fit_bytes(b.estimator, b.rows, self.columns, self.row_bytes) for b in self.batches)
        return max(sizes, default=0.0)

    @property
    def cost(self) -> Cost:
        """A guess at the time of all fits together."""
        costs = [fit_cost(b.estimator, b.rows, self.columns).times(b.fits) for b in self.batches]
        return sum(costs, Cost())


@dataclass(frozen=True)
class Decision:
    """Where fits run, how many at a time, with how many threads each, and why."""

    runner: str
    workers: int
    threads: int
    reason: str


def decide(work: Work, machine: Machine) -> Decision:
    """How fits are spread, by the rule at the top of this module."""
    workers, why = most_at_a_time("thread", work, machine)
    if workers == 1:
        return Decision("serial", 1, machine.cores, f"One fit at a time, as {why}.")
    apart, why_apart = most_at_a_time("process", work, machine)
    cost = work.cost
    seconds = {
        "thread": cost.seconds / workers + _WAITING * cost.held,
        "process": START_SECONDS + cost.seconds / apart,
        "serial": cost.seconds,
    }
    best = min(seconds, key=lambda name: seconds[name])
    held = f"fits hold the interpreter's lock for some {cost.held:.2g} of {cost.seconds:.2g} s"
    if seconds[best] >= _CLEARLY * seconds["thread"]:
        return _side_by_side("thread", workers, machine, f"{why}; threads, as {held}")
    if best == "process":
        return _side_by_side("process", apart, machine, f"{why_apart}; processes, as {held}")
    each_other = "side by side they would wait for each other, and processes for their start"
    return Decision("serial", 1, 1, f"One fit at a time, as {held}: {each_other}.")


def _side_by_side(runner: str, workers: int, machine: Machine, why: str) -> Decision:
    reason = f"{workers} fits at a time, as {why}."
    return Decision(runner, workers, max(1, machine.cores // workers), reason)


def settings_within(machine: Machine, work: Work) -> list[tuple[str, int, int]]:
    """Settings worth a try: runner, fits at a time by powers of two, and threads inside each."""
    alone = dict.fromkeys([("serial", 1, 1), ("serial", 1, machine.cores)])
    # Processes come last, as they take their time to start.
    return [*_products("thread", work, machine), *alone, *_products("process", work, machine)]


def _products(runner: str, work: Work, machine: Machine) -> list[tuple[str, int, int]]:
    most, _ = most_at_a_time(runner, work, machine)
    powers = (2**k for k in range(1, most.bit_length()) if 2**k < most)
    return [(runner, n, machine.cores // n) for n in (*powers, most) if n > 1]


def most_at_a_time(runner: str, work: Work, machine: Machine) -> tuple[int, str]:
    """How many fits a machine takes at a time, and what allows no more."""
    cores = "there is 1 core" if machine.cores == 1 else f"there are {machine.cores} cores"
    limits = [
        (machine.cores, cores),
        (work.most, f"no stage has more than {work.most}"),
        resources_take(runner, work, machine),
    ]
    return min(limits, key=lambda limit: limit[0])


def resources_take(runner: str, work: Work, machine: Machine) -> tuple[int, str]:
    """How many fits at a time memory and devices take, and why no more."""
    if work.on_device:
        return 1, "some are on a device, which takes one at a time"
    return _memory_takes(runner, work, machine)


def _memory_takes(runner: str, work: Work, machine: Machine) -> tuple[int, str]:
    own_bytes = _PROCESS_BYTES if runner == "process" else 0
    room, each = _SPARE * machine.memory, max(1.0, work.fit_bytes + own_bytes)
    why = f"each takes some {each / 1e9:.1f} GB of the {room / 1e9:.1f} GB to be had"
    return max(1, int(room // each)), why
