"""What is to be fitted, before anything is: regressions declared, fit units planned.

A learner asks for regressions; a plan turns them into frozen units, each one estimator and one
training set, named by a digest of their content. Equal units are one unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from metalearners._typing import Array, Matrix, Name, Ref
from metalearners.crossfit import CrossFit
from metalearners.dataset import Dataset
from metalearners.digest import combine
from metalearners.estimators import EstimatorSpec
from metalearners.store import Store
from metalearners.unit import Fit, FitUnit


@dataclass(frozen=True, eq=False)
class Regression:
    """E[target | X] on some rows: the only thing a learner ever asks for.

    Parameters
    ----------
    estimator : the base model
    target : (n,) values to learn; only those of `rows` count
    n_folds : number of folds; 1 fits all rows and predicts them with the same model
    rows : (n,) rows to learn from; None is every training row
    weight : (n,) weights of the rows in the fit
    arm : (n,) treatment as a feature; predictions then are made at every arm
    method : ``predict`` or ``predict_proba``
    columns : positions or names of the features to use; None is all of them
    serve : also fit on all training rows, keep that model, and predict held-out rows with it
    keep : keep the fold models too
    """

    estimator: EstimatorSpec
    target: Array
    n_folds: int
    rows: Array | None = None
    weight: Array | None = None
    arm: Array | None = None
    method: str = "predict"
    columns: tuple[int | str, ...] | None = None
    serve: bool = False
    keep: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """The units of one stage, and for whom.

    Parameters
    ----------
    asked : each regression's units, in order: its folds, then the served fit if it has one
    tests : each regression's test rows by fold
    held_out : rows of no fold
    """

    asked: Mapping[Name, tuple[FitUnit, ...]]
    tests: Mapping[Name, tuple[Array, ...]]
    held_out: Array

    @cached_property
    def units(self) -> list[FitUnit]:
        """Every unit once, in a stable order."""
        return list(dict.fromkeys(unit for own in self.asked.values() for unit in own))

    @cached_property
    def key(self) -> Ref:
        """Digest of the units."""
        return combine("plan", [unit.key for unit in self.units])

    @property
    def planned(self) -> int:
        """Number of units before equal ones are merged."""
        return sum(len(own) for own in self.asked.values())

    def gather(self, fits: Mapping[FitUnit, Fit]) -> dict[Name, CrossFit]:
        """Each regression's fits, put together again."""
        return {
            name: CrossFit([fits[u] for u in own], self.tests[name], self.held_out)
            for name, own in self.asked.items()
        }


def plan_stage(asked: Mapping[Name, Regression], d: Dataset, store: Store) -> Plan:
    """The units that a stage's regressions need, their inputs put into the store."""
    units, tests = {}, {}
    held_out = np.flatnonzero(~d.train)
    for name, regression in asked.items():
        splits = d.splits(regression.n_folds)
        tests[name] = tuple(test for _, test in splits)
        units[name] = _units(name, regression, d, store)
    return Plan(units, tests, held_out)


def _units(name: Name, r: Regression, d: Dataset, store: Store) -> tuple[FitUnit, ...]:
    rows = d.train if r.rows is None else r.rows & d.train
    base = _base(r, rows, d, store)
    units = []
    splits = d.splits(r.n_folds)
    for k, (train, test) in enumerate(splits):
        label = f"{_title(name)} fold {k + 1}/{len(splits)}"
        unit = replace(base, train=store.put(train[rows[train]]), test=store.put(test), keep=r.keep)
        units.append(_seeded(unit, d.seed, label))
    if r.serve:
        held_out = np.flatnonzero(~d.train)
        predicted = store.put(held_out) if len(held_out) else None
        unit = replace(base, train=store.put(np.flatnonzero(rows)), test=predicted, keep=True)
        units.append(_seeded(unit, d.seed, f"{_title(name)} all rows"))
    return tuple(units)


def _base(r: Regression, rows: Array, d: Dataset, store: Store) -> FitUnit:
    return FitUnit(
        estimator=r.estimator,
        X=store.put(select(d.X, r.columns)),
        # Values outside the rows are no input of the fit, so they must not name it.
        target=store.put(np.where(rows, r.target, 0)),
        train="",
        test=None,
        weight=None if r.weight is None else store.put(np.where(rows, r.weight, 0)),
        arm=None if r.arm is None else store.put(np.where(rows, r.arm, 0)),
        n_arms=0 if r.arm is None else d.n_variants,
        method=r.method,
        seed=0,
        keep=False,
    )


def _seeded(unit: FitUnit, seed: int, label: str) -> FitUnit:
    """The unit with a seed of its own, derived from what it learns, not from who asks or when."""
    content = [unit.X.partition("-")[0], unit.target, unit.train, str(unit.weight), str(unit.arm)]
    drawn = combine("seed", [unit.estimator.digest, str(seed), *content])
    return replace(unit, seed=int(drawn[:7], 16), label=label)


def _title(name: Name) -> str:
    return " ".join(name)


def select(X: Matrix, columns: tuple[int | str, ...] | None) -> Matrix:
    """The named columns of a feature matrix; a column of ones where none are named.

    Raises
    ------
    ValueError
        If some columns are named by position and others by name.
    """
    if columns is None:
        return X
    if not columns:
        return np.ones((X.shape[0], 1))
    positions = sum(isinstance(c, (int, np.integer)) for c in columns)
    if 0 < positions < len(columns):
        raise ValueError(f"Expected features by positions or names, not both; found {columns}.")
    if hasattr(X, "iloc"):
        return X.iloc[:, list(columns)] if positions else X[list(columns)]
    return X[:, list(columns)]
