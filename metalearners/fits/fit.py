"""The fit of a unit: a base model is trained on inputs from a store."""

from metalearners.base_models.training import Argument, Training, fit
from metalearners.digests.names import is_kept
from metalearners.fits.devices import check_device
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitUnit


def fit_unit(unit: FitUnit, store: Store, threads: int | None = None) -> Fit:
    """Fit a unit's estimator on its training rows and predict its test rows.

    `threads` is its share of the cores (see `build`); None where no other fits run at once. Raises
    ValueError where the estimator needs a device that this machine lacks: the key of the fit says
    that it was made on one.
    """
    estimator = unit.estimator.build(unit.seed, threads)
    check_device(estimator)
    predictions, offset = fit(estimator, training(unit, store), threads)
    return Fit(predictions, estimator if unit.keep else None, offset=offset)


def training(unit: FitUnit, store: Store) -> Training:
    """The inputs of a unit's fit, from the store."""
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
        # Columns with the arm as a feature are made from the features and the arms.
        bins=repr((unit.X, unit.arm, unit.n_arms, unit.interactions)) if unit.share_bins else "",
    )
