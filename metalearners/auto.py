"""How fits are best spread over a machine's cores, by a rule: plain numbers and estimators in.

1. Fits side by side come first, a core each: nothing is lost between them. There are no more than
   fits in the larger stage, and no more than memory takes.
2. Cores that this leaves over go inside the fits.
3. The fits share one process, as threads, which costs nothing. Those that hold the interpreter's
   lock would wait for each other there: they get processes, where that saves more than it takes
   to start them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.model_selection import ParameterGrid

from metalearners.nesting import is_estimator, parts

COPIES = 2.0
"""Copies of its training rows that a fit takes: its own, and what base models make of them."""

START_SECONDS = 2.5
"""Until a process has imported what fits need, on a core of its own."""

PROCESS_BYTES = 200_000_000
"""Memory of a process before its first fit."""

_PAYS = 2  # times its start that a process must save: both figures are guesses
_SPARE = 0.8  # share of the free memory that fits may take: predictions and scores come after


@dataclass(frozen=True)
class Machine:
    """What there is.

    Parameters
    ----------
    cores : that may be used
    memory : free bytes
    """

    cores: int
    memory: int


@dataclass(frozen=True)
class Batch:
    """Fits that are alike.

    Parameters
    ----------
    estimator : a base model, unfitted
    fits : number of them
    rows : that each is fitted on
    """

    estimator: Any
    fits: int
    rows: int


@dataclass(frozen=True)
class Work:
    """What is to be fitted.

    Parameters
    ----------
    stages : the fits of each stage, which come one after the other
    columns : features
    row_bytes : bytes of the features of a row
    """

    stages: Sequence[Sequence[Batch]]
    columns: int
    row_bytes: float

    @property
    def most(self) -> int:
        """Number of fits of the larger stage: more at a time there never are."""
        return max([1, *(sum(batch.fits for batch in stage) for stage in self.stages)])

    @property
    def fit_bytes(self) -> float:
        """Memory that the largest fit takes for itself."""
        rows = max([0, *(batch.rows for stage in self.stages for batch in stage)])
        return COPIES * rows * self.row_bytes

    @property
    def known(self) -> "Known":
        """What is known of the time that all fits take together."""
        found = [
            (batch.fits, known_seconds(batch.estimator, batch.rows, self.columns))
            for stage in self.stages
            for batch in stage
        ]
        return Known(sum(n * k.seconds for n, k in found), sum(n * k.locked for n, k in found))


@dataclass(frozen=True)
class Known:
    """A guess at the time of fits, of those models alone that hold the interpreter's lock.

    Parameters
    ----------
    seconds : on one core
    locked : of these, those with the lock held
    """

    seconds: float
    locked: float

    def saved(self, workers: int) -> float:
        """Seconds that so many processes save: threads can't end before the lock was held."""
        return max(0.0, self.locked - self.seconds / workers)


@dataclass(frozen=True)
class Decision:
    """How fits are spread, and why.

    Parameters
    ----------
    runner : serial, thread or process
    workers : fits at a time
    threads : inside each
    reason : a sentence
    """

    runner: str
    workers: int
    threads: int
    reason: str


def decide(work: Work, machine: Machine) -> Decision:
    """How fits are spread, by the rule at the top of this module."""
    workers, why = _fits_at_a_time(work, machine, 0)
    if workers == 1:
        return Decision("serial", 1, machine.cores, f"One fit at a time, as {why}.")
    known = work.known
    apart, why_apart = _fits_at_a_time(work, machine, PROCESS_BYTES)
    if known.saved(apart) > _PAYS * START_SECONDS:
        held = f"processes, as fits hold the interpreter's lock for some {known.locked:.0f} s"
        return _decision("process", apart, machine, f"{why_apart}; {held}")
    shared = "threads, as fits hold the interpreter's lock for too short to pay for processes"
    return _decision("thread", workers, machine, f"{why}; {shared}")


def settings_within(machine: Machine, work: Work) -> list[tuple[str, int, int]]:
    """Settings worth a try: runner, fits at a time by powers of two, and threads inside each."""
    found = []
    for runner, own_bytes in (("thread", 0), ("process", PROCESS_BYTES)):
        most, _ = _fits_at_a_time(work, machine, own_bytes)
        powers = (2**k for k in range(1, most.bit_length()) if 2**k < most)
        found += [(runner, n, machine.cores // n) for n in (*powers, most) if n > 1]
    alone = [("serial", 1, 1), ("serial", 1, machine.cores)]
    return [*found, *dict.fromkeys(alone)]


def _decision(runner: str, workers: int, machine: Machine, why: str) -> Decision:
    reason = f"{workers} fits at a time, as {why}."
    return Decision(runner, workers, max(1, machine.cores // workers), reason)


def _fits_at_a_time(work: Work, machine: Machine, own_bytes: int) -> tuple[int, str]:
    """How many, and what it is that allows no more."""
    room, each = _SPARE * machine.memory, max(1.0, work.fit_bytes + own_bytes)
    cores = "there is 1 core" if machine.cores == 1 else f"there are {machine.cores} cores"
    memory = f"each takes some {each / 1e9:.1f} GB of the {room / 1e9:.1f} GB to be had"
    limits = [
        (machine.cores, cores),
        (work.most, f"no stage has more than {work.most}"),
        (max(1, int(room // each)), memory),
    ]
    return min(limits, key=lambda limit: limit[0])


@dataclass(frozen=True)
class _Rounds:
    """What a model's rounds take on one core: boosting as measured, the others estimated.

    Parameters
    ----------
    parameter : that has their number
    fixed, by_row, by_value : seconds of a round, of each row and of each value in it
    share : of these with the lock held
    """

    parameter: str
    share: float
    fixed: float = 0.0
    by_row: float = 0.0
    by_value: float = 0.0

    def seconds(self, n_rounds: float, rows: int, columns: int) -> float:
        return n_rounds * (self.fixed + rows * (self.by_row + columns * self.by_value))


# Models that work in Python between their loops of compiled code, by the start of their name.
_MODELS = {
    "HistGradientBoosting": _Rounds("max_iter", 0.85, fixed=2e-3, by_value=1.2e-8),
    "GradientBoosting": _Rounds("n_estimators", 0.5, fixed=1e-3, by_value=3e-7),
    "MLP": _Rounds("max_iter", 0.3, by_row=2e-6),
}
_ENCODERS = {
    "Encoder": _Rounds("", 0.9, by_value=2e-7),  # a value, looked up
    "Vectorizer": _Rounds("", 0.9, by_row=2e-5),  # a text, split into words
}


def known_seconds(estimator: Any, rows: int, columns: int) -> Known:
    """A guess at the time of a fit, of those of its parts that hold the interpreter's lock.

    Loops of compiled code don't hold it: trees of LightGBM, XGBoost, CatBoost and forests, linear
    algebra. What is Python between them does: rounds of scikit-learn's boosting and of networks,
    and what encoders do with each value.
    """
    own = [_known(part, rows, columns) for part in parts(estimator) if is_estimator(part)]
    refits = _refits(estimator)
    return Known(refits * sum(k.seconds for k in own), refits * sum(k.locked for k in own))


def _known(part: Any, rows: int, columns: int) -> Known:
    name, given = type(part).__name__, part.get_params(deep=False)
    of_model = [rounds for start, rounds in _MODELS.items() if name.startswith(start)]
    of_encoder = [rounds for end, rounds in _ENCODERS.items() if name.endswith(end)]
    for rounds in (*of_model, *of_encoder):
        seconds = rounds.seconds(given.get(rounds.parameter) or 1, rows, columns)
        return Known(seconds, rounds.share * seconds)
    return Known(0.0, 0.0)


def _refits(estimator: Any) -> int:
    """How many fits of its inner model a search makes for each of its own."""
    given = estimator.get_params(deep=False)
    grid = given.get("param_grid")
    points = len(ParameterGrid(grid)) if grid else given.get("n_iter", 1)
    return int(points) * 5 if "refit" in given else 1
