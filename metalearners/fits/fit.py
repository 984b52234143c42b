"""The fit of a unit: its inputs are read from a store, and its base model is trained on them."""

from metalearners.base_models.training import Argument, Training, fit
from metalearners.digests.names import is_kept
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit


def fit_unit(unit: FitUnit, store: Store, threads: int | None = None) -> Fit:
    """Fit a unit's estimator on its training rows and predict its test rows.

    Parameters
    ----------
    threads : share of the cores, for the base model and its loops (see `build`); None where no
        fits run beside it
    """
    estimator = unit.estimator.build(unit.seed, threads)
    predictions, offset = fit(estimator, training(unit, store), threads)
    return Fit(predictions, estimator if unit.keep else None, offset=offset)


def training(unit: FitUnit, store: Store) -> Training:
    """What a unit's fit reads, each value under the name that the unit has for it."""
    return Training(
        X=store.get(unit.X),
        target=store.get(unit.target),
        train=store.get(unit.train),
        test=None if unit.test is None else store.get(unit.test),
        weight=None if unit.weight is None else store.get(unit.weight),
        arm=None if unit.arm is None else store.get(unit.arm),
        n_arms=unit.n_arms,
        method=unit.method,
        interactions=unit.interactions,
        arguments=tuple(
            Argument(param.name, store.get(param.value), param.by_row, not is_kept(param.value))
            for param in unit.fit_params
        ),
    )
