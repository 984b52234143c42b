"""How the time of fits grows, one factor at a time: ``python -m benchmarks.growth``.

The base point has 20,000 x 20 rows, two arms, five folds, five learners, LightGBM with 100 trees,
and two workers. The other points of a factor differ from it in this factor alone. Rows, base models
and the loop are those of `benchmarks.peers`.

The program prints a row of a Markdown table for each point:

- ``fits``: distinct fits in the plan of the learners, without those of evaluation alone.
- ``seconds``: plan and fits of both stages in the library, in threads, with one thread inside each
  fit. Loading, evaluation and Prefect are left out.
- ``over base``: these seconds over those of the base point.
- ``loop``: seconds of a bare joblib loop over the distinct fits. It is left out above
  100,000 rows, and where it can't fit the same: it takes two arms, and T alone or all five.

All points are measured once in each turn. Seconds are medians of the turns, and ratios are medians
of the ratios of each turn. A turn is made to end within ten minutes on two cores. ``--picture``
draws the growth, and ``--quick`` tries the program with few rows and trees.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from pathlib import Path
from statistics import median
from typing import Any

from joblib import cpu_count

from benchmarks.panels import Panel, draw
from benchmarks.peers.__main__ import run
from benchmarks.peers.workloads import FIVE, Workload
from flows.config.reading import load_config
from flows.fitting.regressions import EVALUATION, ask_nuisances, ask_treatments
from flows.inputs.study import Study, load_study
from metalearners._typing import Name
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.execute import run_plan
from metalearners.fits.fit import fit_unit
from metalearners.fits.plan import Regression, plan_stage
from metalearners.fits.store import MemoryStore, Store
from metalearners.fits.unit import FitUnit
from metalearners.workers.threads import side_by_side

HEAD = ("factor", "value", "fits", "seconds", "over base", "loop", "ours / loop")
FACTORS = ("rows", "columns", "folds", "arms", "learners", "workers")
LOOP_ROWS = 100_000  # at most, for time
ADDED = ("TLearner", "XLearner", "RLearner", "DRLearner")  # the S-learner comes last


@dataclass(frozen=True)
class Point:
    """What is fitted, and how many fits at a time."""

    workload: Workload
    workers: int = 2

    @property
    def has_loop(self) -> bool:
        """Whether the loop can fit the same, and soon."""
        of = self.workload
        return of.arms == 2 and of.learners in (FIVE, ADDED[:1]) and of.rows <= LOOP_ROWS


@dataclass(frozen=True)
class Took:
    """A measurement of a point."""

    fits: int
    seconds: float
    loop: float  # seconds of the loop; NaN without one


Factors = Mapping[str, Mapping[int, Point]]  # points by their value of the factor
Turn = Mapping[Point, Took]


def main() -> None:
    """Measure all points in each turn, print a table, and draw it."""
    options = _parser().parse_args()
    base = base_of(options.quick)
    factors = {name: own for name, own in factors_of(base).items() if name in options.only}
    _measure(base_of(quick=True))  # imports, and loads what is compiled
    turns = [_turn(factors) for _ in range(options.turns)]
    _print_cells(HEAD, ("---",) * len(HEAD), *_rows(factors, base, turns))
    if options.picture:
        of_factors = [_panel(name, own, base, turns) for name, own in factors.items()]
        draw(of_factors, "times the base point", options.picture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=FACTORS, default=FACTORS, help="factors")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="with few rows and trees")
    parser.add_argument("--picture", type=Path, help="a file for the curves")
    return parser


def base_of(quick: bool) -> Point:
    """The base point."""
    return Point(Workload(500, 20, trees=2) if quick else Workload(20_000, 20))


def factors_of(base: Point) -> Factors:
    """Points by factor; each factor has the base point too."""

    def vary(field: str, *values: Any) -> dict[int, Point]:
        workloads = [replace(base.workload, **{field: value}) for value in values]
        return {size(getattr(w, field)): Point(w) for w in workloads}

    rows = base.workload.rows
    workers = [n for n in (1, 2, 4, 8, 16) if n <= max(base.workers, cpu_count())]
    return {
        "rows": vary("rows", rows // 4, rows, 4 * rows, 16 * rows),
        "columns": vary("features", 5, 20, 80),
        "folds": vary("folds", 2, 5, 10, 20),
        "arms": vary("arms", 2, 4, 8),
        "learners": vary("learners", *(ADDED[:n] for n in range(1, 5)), FIVE),
        "workers": {n: Point(base.workload, n) for n in workers},
    }


def size(value: int | tuple[str, ...]) -> int:
    """A number, or the number of learners."""
    return value if isinstance(value, int) else len(value)


def _turn(factors: Factors) -> Turn:
    """Measure each point once."""
    points = dict.fromkeys(point for own in factors.values() for point in own.values())
    return {point: _measure(point) for point in points}


def _measure(point: Point) -> Took:
    gc.collect()  # earlier points' bins, which this one would share
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        point.workload.write(folder)
        fits, seconds = fit(load_study(load_config(folder / "config.yaml")), point.workers)
        took = Took(fits, seconds, _loop(point, folder) if point.has_loop else nan)
    print(point, took, file=sys.stderr)
    return took


def _loop(point: Point, folder: Path) -> float:
    setting = {"jobs": point.workers, "threads": 1, "folds": point.workload.folds}
    return run("loop", setting, folder).seconds


def fit(study: Study, workers: int) -> tuple[int, float]:
    """Plan and fit both stages of a study's learners: the number of distinct fits, and seconds."""
    store, fitted = MemoryStore(), set[FitUnit]()

    def run_stage(asked: Mapping[Name, Regression]) -> dict[Name, CrossFit]:
        plan = plan_stage(asked, study.dataset, store)
        fitted.update(plan.units)
        return run_plan(plan, store, partial(_in_threads, workers=workers))

    begun = time.perf_counter()
    nuisances = run_stage(_nuisances(study))
    run_stage(_treatments(study, nuisances))
    return len(fitted), time.perf_counter() - begun


def _nuisances(study: Study) -> dict[Name, Regression]:
    by_learner = ask_nuisances(study)
    return {k: v for name, own in by_learner.items() if name != EVALUATION for k, v in own.items()}


def _treatments(study: Study, nuisances: Mapping[Name, CrossFit]) -> dict[Name, Regression]:
    asked = [ask_treatments(study, name, nuisances) for name in study.learners]
    return {k: v for own in asked for k, v in own.items()}


def _in_threads(units: Sequence[FitUnit], store: Store, workers: int) -> None:
    """An executor: some units at a time, with one thread inside each."""
    fits = side_by_side(partial(fit_unit, store=store, threads=1), units, workers, 1)
    for unit, found in zip(units, fits, strict=True):
        store.keep(unit.key, found, unit.label)


def _rows(factors: Factors, base: Point, turns: Sequence[Turn]) -> Iterator[list[str]]:
    for name, own in factors.items():
        for value, point in own.items():
            yield [name, _shown(name, value, point), *_figures(point, base, turns)]


def _shown(factor: str, value: int, point: Point) -> str:
    """A value in words."""
    if factor != "learners":
        return f"{value:,}"
    return ", ".join(name.removesuffix("Learner") for name in point.workload.learners)


def _figures(point: Point, base: Point, turns: Sequence[Turn]) -> list[str]:
    fits = str(turns[0][point].fits)
    seconds = median(turn[point].seconds for turn in turns)
    over_base = median(turn[point].seconds / turn[base].seconds for turn in turns)
    ours = [fits, f"{seconds:.2f}", f"{over_base:.2f}"]
    if not point.has_loop:
        return [*ours, "", ""]
    loop = median(turn[point].loop for turn in turns)
    ratio = median(turn[point].seconds / turn[point].loop for turn in turns)
    return [*ours, f"{loop:.2f}", f"{ratio:.2f}"]


def _print_cells(*rows: Sequence[str]) -> None:
    for cells in rows:
        print(f"| {' | '.join(cells)} |")


def _panel(name: str, own: Mapping[int, Point], base: Point, turns: Sequence[Turn]) -> Panel:
    """Time and fits over those of the base point, by the values of a factor."""

    def curve(of: Callable[[Turn, Point], float]) -> dict[int, float]:
        return {n: median(of(turn, point) for turn in turns) for n, point in own.items()}

    at = next(value for value, point in own.items() if point == base)
    return Panel(
        name,
        {
            "library": curve(lambda turn, point: turn[point].seconds / turn[base].seconds),
            "loop": curve(lambda turn, point: turn[point].loop / turn[base].seconds),
            "fits": curve(lambda turn, point: turn[point].fits / turn[base].fits),
            "proportional": {n: (at / n if name == "workers" else n / at) for n in own},
        },
    )


if __name__ == "__main__":
    main()
