"""Regressions that learners declare, and plans of the fits that they need.

A plan turns regressions into frozen units: one estimator and one training set, named by a digest
of their content. Equal units are one unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from metalearners._typing import Array, Name
from metalearners.base_models.binning import own_bins
from metalearners.base_models.rows import as_mask
from metalearners.data.containers import Features, select
from metalearners.data.dataset import Dataset
from metalearners.data.folds import Splits
from metalearners.digests.names import combine, is_kept, unkept
from metalearners.fits.crossfit import CrossFit
from metalearners.fits.estimator_spec import EstimatorSpec
from metalearners.fits.store import Store
from metalearners.fits.unit import Fit, FitParam, FitUnit


@dataclass(frozen=True, eq=False)
class Regression:
    """E[target | X] on some rows: the only thing that a learner asks for."""

    estimator: EstimatorSpec
    target: Array  # (n,) values to learn; only those of `rows` count
    # With 1, the model of all rows predicts these rows too; with 0 it is there for new rows alone.
    n_folds: int
    rows: Array | None = None  # (n,) mask of the rows to learn from; None for every training row
    weight: Array | None = None  # (n,) weights of the rows in the fit
    arm: Array | None = None  # (n,) treatment as a feature; predictions then are made at every arm
    method: str = "predict"  # or predict_proba
    columns: Features = None  # positions or names of the features to use; None for all
    interactions: bool = False  # with `arm`, also products of the features and the arms' indicators
    # Arguments of the base model's `fit`. Of a value with an entry a row, a fit gets its rows'.
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    serve: bool = False  # also fit on all training rows, keep the model, predict held-out rows
    keep: bool = False  # keep the fold models too
    label: str = ""  # what its units are called, before their fold; by default its name


@dataclass(frozen=True, eq=False)
class Asked:
    """The units of one regression."""

    folds: tuple[FitUnit, ...]
    overall: FitUnit | None  # fits all training rows
    tests: tuple[Array, ...]  # each fold's test rows
    others: Array  # rows that `overall` predicts: held-out ones, and all where there is no fold
    n_rows: int  # of the data set

    @property
    def units(self) -> tuple[FitUnit, ...]:
        """All units, in order."""
        return self.folds if self.overall is None else (*self.folds, self.overall)

    def gather(self, fits: Mapping[FitUnit, Fit]) -> CrossFit:
        """The regression's fits."""
        folds = [replace(fits[unit], pickled=None) for unit in self.folds]  # nobody pickles these
        overall = None if self.overall is None else fits[self.overall]
        return CrossFit(folds, overall, self.tests, self.others, self.n_rows, self.units[-1])


@dataclass(frozen=True, eq=False)
class Plan:
    """The units of one stage, by regression."""

    asked: Mapping[Name, Asked]

    @cached_property
    def units(self) -> list[FitUnit]:
        """Every unit once, in a stable order."""
        return list(dict.fromkeys(unit for own in self.asked.values() for unit in own.units))

    @property
    def longest_first(self) -> list[FitUnit]:
        """Every unit once, those of all rows first: they take longest, and workers end together."""
        of_all_rows = {own.overall for own in self.asked.values()}
        return sorted(self.units, key=lambda unit: unit not in of_all_rows)

    @property
    def planned(self) -> int:
        """Number of units before equal ones are merged."""
        return sum(len(own.units) for own in self.asked.values())

    def gather(self, fits: Mapping[FitUnit, Fit]) -> dict[Name, CrossFit]:
        """Each regression's fits."""
        return {name: own.gather(fits) for name, own in self.asked.items()}


def plan_stage(asked: Mapping[Name, Regression], d: Dataset, store: Store) -> Plan:
    """The units that a stage's regressions need; their inputs are put into the store."""
    return Plan({name: _ask(name, regression, d, store) for name, regression in asked.items()})


def _ask(name: Name, r: Regression, d: Dataset, store: Store) -> Asked:
    rows = d.train if r.rows is None else r.rows & d.train
    label = r.label or " ".join(name)
    base = _base(r, rows, d, store)
    # With one fold there is no cross-fitting: the model of all rows predicts them.
    alone = r.n_folds == 0 or (r.n_folds == 1 and d.cv is None)
    splits: Splits = () if alone else d.splits(r.n_folds)
    folds, tests = [], []
    for k, (train, test) in enumerate(splits, start=1):
        own = train[rows[train]]
        if not len(own):  # before the first fold in time there is nothing to learn from
            continue
        unit = replace(base, train=store.put(as_mask(own, len(d))), test=store.put(test))
        folds.append(_seeded(replace(unit, keep=r.keep), d, f"{label} fold {k}/{len(splits)}"))
        tests.append(test)
    others = np.flatnonzero(~d.train) if folds else np.arange(len(d) if r.n_folds else 0)
    overall = None
    if r.serve or not folds:
        predicted = store.put(others) if len(others) else None
        unit = replace(base, train=store.put(np.packbits(rows)), test=predicted, keep=r.serve)
        overall = _seeded(unit, d, f"{label} all rows")
    return Asked(tuple(folds), overall, tuple(tests), others, len(d))


def _base(r: Regression, rows: Array, d: Dataset, store: Store) -> FitUnit:
    fit_params = tuple(fit_param(n, v, d, store) for n, v in sorted(r.fit_params.items()))
    gaps = r.estimator.unkept if store.lasting else r.estimator.identity.gaps
    X = select(d.X, r.columns)
    share_bins = d.share_bins and own_bins(r.estimator.build(), X, bool(r.fit_params)) is None
    return FitUnit(
        estimator=r.estimator,
        X=store.put(X),
        # Values outside the rows don't enter the fit, so they must not enter its key.
        target=store.put(np.where(rows, r.target, 0)),
        train="",
        test=None,
        weight=None if r.weight is None else store.put(np.where(rows, r.weight, 0)),
        arm=None if r.arm is None else store.put(np.where(rows, r.arm, 0)),
        n_arms=0 if r.arm is None else d.n_variants,
        method=r.method,
        seed=0,
        keep=False,
        interactions=r.interactions,
        fit_params=fit_params,
        share_bins=share_bins,
        alone=unkept() if gaps or not all(is_kept(param.value) for param in fit_params) else "",
    )


def fit_param(name: str, value: Any, d: Dataset, store: Store) -> FitParam:
    """An argument of `fit`; its value is put into the store."""
    plain = isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__len__")
    by_row = not plain and len(value) == len(d)
    return FitParam(name, store.put(np.asarray(value) if by_row else value), by_row)


def _seeded(unit: FitUnit, d: Dataset, label: str) -> FitUnit:
    """The unit with a seed that depends on what it learns, but not on weights."""
    content = [unit.content, unit.target, unit.train, str(unit.arm)]
    drawn = combine("seed", [unit.estimator.outline, str(d.seed), *content])
    return replace(unit, seed=int(drawn[:7], 16), label=label, alone=unkept() if unit.alone else "")
