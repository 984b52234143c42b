"""The one way to execute a plan, and two executors."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from joblib import Parallel, cpu_count, delayed, effective_n_jobs
from joblib.parallel import get_active_backend

from metalearners._typing import Name
from metalearners.data.dataset import Dataset
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.fit import fit_unit
from metalearners.fits.plan import Plan, Regression, plan_stage
from metalearners.fits.store import Store, obtain
from metalearners.fits.unit import FitUnit
from metalearners.showing.progress import counted


class Executor(Protocol):
    """Fits units: one by one, in joblib's workers, or as tasks of a flow."""

    def __call__(self, units: Sequence[FitUnit], store: Store) -> None:
        """Fit each unit that the store has no fit of, and keep the fits in the store."""


def run_stage(
    asked: Mapping[Name, Regression], d: Dataset, store: Store, execute: Executor
) -> dict[Name, CrossFit]:
    """Plan a stage's regressions, fit each unit once, and gather the results."""
    return run_plan(plan_stage(asked, d, store), store, execute)


def run_plan(plan: Plan, store: Store, execute: Executor) -> dict[Name, CrossFit]:
    """Fit the units of a plan, and gather the results; a KeyError if a fit is missing."""
    execute(plan.longest_first, store)
    return plan.gather({unit: store.fetch(unit.key) for unit in plan.units})


def serial(units: Sequence[FitUnit], store: Store) -> None:
    """Fit one unit after another: other executors must give the same results."""
    for unit in units:
        obtain(unit, store, fit_unit)


def joblib_executor(n_jobs: int | None = None, progress: bool = False) -> Executor:
    """An executor on joblib's workers.

    `n_jobs` is as in scikit-learn: None is 1 unless a ``joblib.parallel_config`` says otherwise,
    -1 is all cores. It prefers threads, as most base models release the interpreter lock in
    fitting; ``parallel_config(backend=...)`` overrules that. Several workers share the cores.
    `progress` is whether a line says how far it is.
    """

    def execute(units: Sequence[FitUnit], store: Store) -> None:
        missing = [unit for unit in units if store.find(unit.key) is None]
        parallel = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")
        workers = effective_n_jobs(n_jobs)
        threads = max(1, cpu_count() // workers) if workers > 1 else None
        fits = parallel(delayed(fit_unit)(u, store.only(u.inputs), threads) for u in missing)
        told = counted(fits, len(missing), _kinds(missing), progress)
        for unit, fit in zip(missing, told, strict=True):
            store.keep(unit.key, fit, unit.label)

    return execute


def _kinds(units: Sequence[FitUnit]) -> str:
    """The model kinds of units, by their labels."""
    return ", ".join(sorted({unit.label.partition(" ")[0] for unit in units}))


def fits_here() -> bool:
    """Whether joblib's workers are on this machine; those of a cluster have their own devices."""
    backend, _ = get_active_backend()
    return type(backend).__module__ == "joblib._parallel_backends"
