"""The rows that learners are fitted on: the one place that validates them and draws folds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import take
from metalearners.data.folds import FoldSplits, Splits, draw_folds


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features, outcome and treatment of n rows.

    Parameters
    ----------
    X : (n, p) features, in the container the base models get
    y : (n,) outcome; whole numbers for classes
    w : (n,) arm codes from 0 (control) to ``n_variants - 1``
    n_variants : number of arms, K
    is_classification : whether `y` holds classes
    weight : (n,) sampling weights; None weighs rows equally
    groups : (n,) labels of clusters that folds must not split
    propensity : (n, K) known probabilities of each arm; None where they are to be estimated
    held_out : (n,) rows that no fit may see; None holds out none
    seed : draws the folds
    cv : (train, test) positions of folds that are given, instead of drawn ones; a row that is in
        no test has no out-of-fold predictions
    judged : whether the rows are scored only, and may lack arms and classes
    """

    X: Matrix
    y: Array
    w: Array
    n_variants: int
    is_classification: bool = False
    weight: Floats | None = None
    groups: Array | None = None
    propensity: Floats | None = None
    held_out: Array | None = None
    seed: int = 0
    cv: Splits | None = None
    judged: bool = False

    def __post_init__(self) -> None:
        for name, values in self._columns().items():
            if values is not None and values.shape[0] != len(self.y):
                raise ValueError(
                    f"Expected {len(self.y)} rows in {name}, as in y; found {values.shape[0]}. "
                    f"Pass rows of the same units in the same order."
                )
        check_arms(self.w, self.n_variants, self.judged)
        check_outcome(self.y, self.w, self.is_classification, self.judged)
        check_weight(self.weight, None if self.judged else self.w)
        check_groups(self.groups)
        check_propensity(self.propensity, self.n_variants)
        if self.cv is not None:
            check_cv(self.cv, len(self.y))
            self._check_strata(self.cv)

    def _columns(self) -> dict[str, Any]:
        names = ("X", "w", "weight", "groups", "propensity", "held_out")
        return {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        return len(self.y)

    def part(self, rows: Array) -> "Dataset":
        """Some of the rows, by position, without folds of their own."""
        columns: dict[str, Any] = {
            name: None if values is None else take(values, rows)
            for name, values in self._columns().items()
        }
        return replace(self, **columns, y=self.y[rows], cv=None)

    @cached_property
    def train(self) -> Array:
        """(n,) rows that may be fitted on."""
        return np.ones(len(self), bool) if self.held_out is None else ~self.held_out

    @cached_property
    def covered(self) -> Array:
        """(n,) training rows that some fold predicts: all of them, unless given folds skip some."""
        if self.cv is None:
            return self.train
        tested = np.zeros(len(self), bool)
        for _, test in self.cv:
            tested[test] = True
        return tested & self.train

    @cached_property
    def shares(self) -> Floats:
        """(K,) shares of the arms among the training rows."""
        counts = np.bincount(self.w[self.train], minlength=self.n_variants)
        return np.asarray(counts / counts.sum())

    @cached_property
    def strata(self) -> Array:
        """(n,) what folds balance: the arm, and for classes arm x class."""
        if not self.is_classification:
            return self.w
        return self.w * len(self.classes) + np.searchsorted(self.classes, self.y)

    @cached_property
    def classes(self) -> Array:
        """Distinct classes of the outcome, sorted."""
        return np.unique(self.y)

    def splits(self, n_folds: int) -> Splits:
        """(train, test) positions of each fold; `n_folds` 1 fits and predicts all rows at once.

        Folds that were given are returned whatever `n_folds` is.

        Raises
        ------
        ValueError
            If an arm, or a class of an arm, has fewer rows (or groups) than there are folds, or
            a fold's training rows miss it.
        """
        if self.cv is not None:
            return self.cv
        if n_folds not in self._drawn:
            self._drawn[n_folds] = self._draw(n_folds)
        return self._drawn[n_folds]

    @cached_property
    def _drawn(self) -> dict[int, Splits]:
        return {}

    def _draw(self, n_folds: int) -> Splits:
        if n_folds == 1:
            rows = np.flatnonzero(self.train)
            return [(rows, rows)]
        groups = None if self.groups is None else np.asarray(self.groups)[self.train]
        folds = np.full(len(self), -1)
        folds[self.train] = draw_folds(self.strata[self.train], n_folds, self.seed, groups)
        splits = FoldSplits(folds)
        self._check_splits(splits, n_folds)
        return splits

    def _check_splits(self, splits: Splits, n_folds: int) -> None:
        strata = pd.Series(self.strata[self.train])
        counts = strata.value_counts(sort=False).sort_index()
        if self.groups is not None:
            counts = pd.Series(np.asarray(self.groups)[self.train]).groupby(strata).nunique()
        each = ", and of each class in it" if self.is_classification else ""
        if counts.min() < n_folds:
            what = "groups" if self.groups is not None else "rows"
            raise ValueError(
                f"Expected at least {n_folds} {what} of each arm{each} for {n_folds} folds; found "
                f"{counts.min()} {what} {self._stratum_name(counts.idxmin())}. Use fewer folds or "
                "leave that arm out."
            )
        self._check_strata(splits)

    def _check_strata(self, splits: Splits) -> None:
        each = ", and of each class in it" if self.is_classification else ""
        for number, (train, _) in enumerate(splits, start=1):
            absent = np.setdiff1d(self.strata[self.train], self.strata[train])
            if len(absent):
                raise ValueError(
                    f"Expected rows of each arm{each} outside each of {len(splits)} folds; found "
                    f"all rows in fold {number} {self._stratum_name(absent[0])}, or none to learn "
                    "from. Use fewer folds, another seed, smaller groups or other splits."
                )

    def _stratum_name(self, stratum: int) -> str:
        if not self.is_classification:
            return f"in arm {stratum}"
        arm, number = divmod(int(stratum), len(self.classes))
        return f"of class {self.classes[number]} in arm {arm}"


def check_arms(w: Array, n_variants: int, judged: bool = False) -> None:
    """Refuse treatments that aren't exactly 0, ..., ``n_variants - 1``; some of them if judged."""
    found = np.unique(w)
    if len(found) != n_variants and not judged:
        raise ValueError(
            f"Number of variants present in the treatment ({len(found)}) differs from the "
            f"number expected ({n_variants}). Set n_variants to the number of arms in the data."
        )
    if not np.isin(found, np.arange(n_variants)).all():
        raise ValueError(
            f"Treatment variant should be encoded with values 0 to {n_variants - 1}, all of them "
            f"present; found {_some(found)}. Encode the control as 0."
        )


def check_outcome(y: Array, w: Array, is_classification: bool, judged: bool = False) -> None:
    """Refuse missing and infinite outcomes, and class outcomes that arms don't share."""
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(
            f"Expected finite outcomes; found {int((~np.isfinite(y)).sum())} missing or infinite "
            f"of {len(y)}. Remove those rows or fill them in, knowing what that assumes."
        )
    if not is_classification:
        return
    if y.dtype.kind == "f":
        raise ValueError(
            f"Expected classes as whole numbers; found {_some(np.unique(y))}. Encode them as "
            "0, 1, ..., or fit a numeric outcome."
        )
    if judged:
        return
    classes = [np.unique(y[w == arm]) for arm in np.unique(w)]
    if any(not np.array_equal(classes[0], other) for other in classes):
        raise ValueError(
            "Variants have seen different sets of classification outcomes: "
            f"{[_some(c) for c in classes]}. Each class must occur in each arm."
        )
    if len(classes[0]) < 2:
        raise ValueError(f"Expected two or more classes; only one class present: {classes[0][0]}.")


def check_weight(weight: Array | None, w: Array | None = None) -> None:
    """Refuse weights that are negative, missing, infinite or all zero, in an arm too."""
    if weight is None:
        return
    wrong = ~np.isfinite(weight) | (weight < 0)
    if wrong.any() or not weight.any():
        found = f"{int(wrong.sum())} other" if wrong.any() else "only zeros"
        raise ValueError(
            f"Expected weights that are finite and not negative, some above 0; found {found}. "
            f"Weights say how many units of the population a row stands for."
        )
    empty = [str(k) for k in ([] if w is None else np.unique(w)) if not weight[w == k].any()]
    if empty:
        raise ValueError(
            f"Expected weights above 0 in each arm; found only zeros in arm {', '.join(empty)}. "
            "Leave that arm out."
        )


def check_groups(groups: Array | None) -> None:
    """Refuse rows that belong to no group."""
    absent = 0 if groups is None else int(pd.isna(groups).sum())
    if absent:
        raise ValueError(
            f"Expected a group for each row; found {absent} rows with none. Give a row that stands "
            "alone a label of its own."
        )


def check_cv(cv: Splits, n_rows: int) -> None:
    """Refuse folds that aren't pairs of distinct rows, or predict a row twice."""
    tested = np.zeros(n_rows, dtype=np.int64)
    for number, (train, test) in enumerate(cv, start=1):
        rows = np.concatenate([train, test])
        whole = rows.dtype.kind in "iu" and rows.size and 0 <= rows.min() <= rows.max() < n_rows
        if not whole or not len(train) or len(np.unique(rows)) < len(rows):
            raise ValueError(
                f"Expected pairs (train, test) of distinct row positions below {n_rows} in cv, "
                f"some to train on; found others in pair {number}. Use a splitter's split()."
            )
        tested[test] += 1
    if not len(cv) or tested.max() > 1:
        found = f"{int((tested > 1).sum())} rows in several" if len(cv) else "no folds"
        raise ValueError(
            f"Expected each row in one test of cv at most; found {found}. An out-of-fold "
            "prediction is one number: use folds that don't overlap."
        )


def check_propensity(propensity: Array | None, n_variants: int) -> None:
    """Refuse known propensities that aren't (n, K) probabilities summing to one by row."""
    if propensity is None:
        return
    if propensity.ndim != 2 or propensity.shape[1] != n_variants:
        raise ValueError(
            f"Expected known propensities of shape (n, {n_variants}), a column an arm; found "
            f"{propensity.shape}."
        )
    inside = (propensity > 0) & (propensity < 1)
    if not inside.all() or not np.allclose(propensity.sum(axis=1), 1, atol=1e-3):
        raise ValueError(
            "Expected known propensities strictly between 0 and 1 that sum to 1 over the arms; "
            f"found {int((~inside).any(axis=1).sum())} rows outside (0, 1) and sums from "
            f"{propensity.sum(axis=1).min():.4g} to {propensity.sum(axis=1).max():.4g}."
        )


def _some(values: Sequence[Any] | Array, most: int = 5) -> str:
    shown = ", ".join(str(v) for v in list(values)[:most])
    return shown if len(values) <= most else f"{shown}, ... ({len(values)} in all)"
