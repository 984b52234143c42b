"""Executors: functions from units to fits. The serial one is the specification."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from joblib import Parallel, cpu_count, delayed, effective_n_jobs

from metalearners._typing import Name
from metalearners.data.dataset import Dataset
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.fit import fit_unit
from metalearners.fits.plan import Plan, Regression, plan_stage
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit


class Executor(Protocol):
    """Fits units and returns their fits in the same order."""

    def __call__(self, units: Sequence[FitUnit], store: Store) -> Iterable[Fit]:
        """The fits of the units, in their order, as they are done."""


def serial(units: Sequence[FitUnit], store: Store) -> Iterator[Fit]:
    """Fit one unit after another."""
    return (fit_unit(unit, store) for unit in units)


def joblib_executor(n_jobs: int | None = None) -> Executor:
    """An executor on joblib's workers.

    Parameters
    ----------
    n_jobs : as scikit-learn means it: None is 1 unless a ``joblib.parallel_config`` says
        otherwise, -1 is all cores. Threads are preferred (most base models release the
        interpreter lock in fitting); ``parallel_config(backend=...)`` overrules that. Where there
        are several, each fit has its share of the cores
    """

    def execute(units: Sequence[FitUnit], store: Store) -> Iterator[Fit]:
        parallel = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
        workers = effective_n_jobs(n_jobs)
        threads = max(1, cpu_count() // workers) if workers > 1 else None
        return parallel(delayed(fit_unit)(u, store.only(u.inputs), threads) for u in units)

    return execute


def run_stage(
    asked: Mapping[Name, Regression], d: Dataset, store: Store, execute: Executor
) -> dict[Name, CrossFit]:
    """Plan a stage's regressions, fit each unit once, and gather the results."""
    plan = plan_stage(asked, d, store)
    return plan.gather(run_plan(plan, store, execute))


def run_plan(plan: Plan, store: Store, execute: Executor) -> dict[FitUnit, Fit]:
    """The fits of a plan's units: those that the store has, and the others fitted and kept."""
    found = {unit: store.find(unit.key) for unit in plan.longest_first}
    missing = [unit for unit, fit in found.items() if fit is None]
    for unit, fit in zip(missing, execute(missing, store), strict=True):
        store.keep(unit.key, fit)
        found[unit] = fit
    return {unit: fit for unit, fit in found.items() if fit is not None}
