"""The rows that learners are fitted on: the one place that checks them and draws folds."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import take
from metalearners.data.folds import FoldSplits, Splits, draw_folds


@dataclass(frozen=True, eq=False)
class Dataset:
    """Features, outcome and treatment of n rows."""

    X: Matrix  # (n, p) features, in the container that base models get
    y: Array  # (n,) outcome; whole numbers for classes
    w: Array  # (n,) arm codes from 0 (control) to ``n_variants - 1``
    n_variants: int  # number of arms, K
    is_classification: bool = False  # whether `y` holds classes
    weight: Floats | None = None  # (n,) sampling weights; None for equal weights
    groups: Array | None = None  # (n,) labels of clusters, which folds don't split
    propensity: Floats | None = None  # (n, K) known propensities; None to estimate them
    held_out: Array | None = None  # (n,) rows that no fit sees; None for none
    balance: Array | None = None  # (n,) codes that folds balance, in place of `strata`
    seed: int = 0  # of the folds
    cv: Splits | None = None  # the user's folds; rows in no test have no out-of-fold predictions
    judged: bool = False  # whether rows are only scored; arms and classes may then be absent
    share_bins: bool = True  # whether LightGBM fits share bins of all rows
    _drawn: dict[int, Splits] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, values in self._columns().items():
            if values is not None and values.shape[0] != len(self.y):
                raise ValueError(
                    f"Expected {len(self.y)} rows in {name}, as in y; found {values.shape[0]}. "
                    "Pass rows of the same units in the same order."
                )
        check_arms(self.w, self.n_variants, self.judged)
        check_outcome(self.y, self.w, self.is_classification, self.judged)
        check_weight(self.weight, None if self.judged else self.w)
        check_groups(self.groups)
        check_propensity(self.propensity, len(self), self.n_variants)
        if self.cv is not None:
            check_cv(self.cv, len(self.y))
            self._check_strata(self.cv)

    def _columns(self) -> dict[str, Any]:
        names = ("X", "w", "weight", "groups", "propensity", "held_out", "balance")
        return {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        return len(self.y)

    def part(self, rows: Array) -> "Dataset":
        """Some of the rows, by position, without the user's folds."""
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
        """(n,) training rows that some fold predicts: all of them, unless the user's skip some."""
        if self.cv is None:
            return self.train
        tested = np.zeros(len(self), bool)
        for _, test in self.cv:
            tested[test] = True
        return tested & self.train

    @cached_property
    def predicted(self) -> Array:
        """(n,) rows that a model predicts which hasn't seen them: `covered` and held-out ones."""
        return self.covered | ~self.train

    @cached_property
    def shares(self) -> Floats:
        """(K,) shares of the arms among the training rows."""
        counts = np.bincount(self.w[self.train], minlength=self.n_variants)
        return np.asarray(counts / counts.sum())

    @cached_property
    def strata(self) -> Array:
        """(n,) codes of what each fold must have: the arm, or for classes arm x class."""
        if not self.is_classification:
            return self.w
        return self.w * len(self.classes) + np.searchsorted(self.classes, self.y)

    @cached_property
    def classes(self) -> Array:
        """Distinct classes of the outcome, sorted."""
        return np.unique(self.y)

    def splits(self, n_folds: int) -> Splits:
        """(train, test) positions of each fold; one fold trains on all rows and predicts them.

        The user's folds go before `n_folds`.

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

    def _draw(self, n_folds: int) -> Splits:
        if n_folds == 1:
            rows = np.flatnonzero(self.train)
            return [(rows, rows)]
        strata = self.strata[self.train]
        groups = None if self.groups is None else np.asarray(self.groups)[self.train]
        folds = np.full(len(self), -1)
        balanced = strata if self.balance is None else self.balance[self.train]
        folds[self.train] = draw_folds(balanced, n_folds, self.seed, groups)
        splits = FoldSplits(folds)
        self._check_counts(strata, groups, n_folds)
        self._check_strata(splits)
        return splits

    def _check_counts(self, strata: Array, groups: Array | None, n_folds: int) -> None:
        units, what = (strata, "rows") if groups is None else (groups, "groups")
        grouped = pd.Series(units).groupby(strata)
        counts = grouped.size() if groups is None else grouped.nunique()
        if counts.min() < n_folds:
            raise ValueError(
                f"Expected at least {n_folds} {what} of each arm{self._each_class} for {n_folds} "
                f"folds; found {counts.min()} {what} {self.stratum_name(counts.idxmin())}. Use "
                "fewer folds or leave that arm out."
            )

    @property
    def _each_class(self) -> str:
        return ", and of each class in it" if self.is_classification else ""

    def _check_strata(self, splits: Splits) -> None:
        present = np.bincount(self.strata[self.train])
        for number, (train, _) in enumerate(splits, start=1):
            inside = np.bincount(self.strata[train], minlength=len(present))[: len(present)]
            absent = np.flatnonzero((present > 0) & (inside == 0))
            if len(absent):
                raise ValueError(
                    f"Expected rows of each arm{self._each_class} outside each of {len(splits)} "
                    f"folds; found all rows in fold {number} {self.stratum_name(absent[0])}, or "
                    "none to learn from. Use fewer folds, another seed, smaller groups or other "
                    "splits."
                )

    def stratum_name(self, stratum: int) -> str:
        """What rows of a stratum are called in messages, by the code of their arm."""
        if not self.is_classification:
            return f"in arm {stratum}"
        arm, number = divmod(int(stratum), len(self.classes))
        return f"of class {self.classes[number]} in arm {arm}"


def check_arms(w: Array, n_variants: int, judged: bool = False) -> None:
    """Refuse treatments other than 0, ..., ``n_variants - 1``, and absent ones unless judged."""
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
    """Refuse missing and infinite outcomes, and classes that an arm lacks."""
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
    """Refuse weights that are negative, missing or infinite, or all zero in the data or an arm."""
    if weight is None:
        return
    wrong = ~np.isfinite(weight) | (weight < 0)
    if wrong.any() or not weight.any():
        found = f"{int(wrong.sum())} other" if wrong.any() else "only zeros"
        raise ValueError(
            f"Expected weights that are finite and not negative, some above 0; found {found}. "
            "Weights say how many units of the population a row stands for."
        )
    empty = [str(k) for k in ([] if w is None else np.unique(w)) if not weight[w == k].any()]
    if empty:
        raise ValueError(
            f"Expected weights above 0 in each arm; found only zeros in arm {', '.join(empty)}. "
            "Leave that arm out."
        )


def check_groups(groups: Array | None) -> None:
    """Refuse rows without a group."""
    absent = 0 if groups is None else int(pd.isna(groups).sum())
    if absent:
        raise ValueError(
            f"Expected a group for each row; found {absent} rows with none. Give each of them a "
            "unique label if it stands alone."
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


def check_propensity(propensity: Array | None, n_rows: int, n_variants: int) -> None:
    """Refuse known propensities that aren't (n, K) probabilities of arms."""
    if propensity is None:
        return
    if propensity.shape != (n_rows, n_variants):
        raise ValueError(
            f"Expected known propensities of shape (n, {n_variants}), a column an arm, for "
            f"{n_rows} rows, or {n_variants} numbers; found {propensity.shape}."
        )
    if not are_propensities(propensity):
        inside, sums = (propensity > 0) & (propensity < 1), propensity.sum(axis=1)
        raise ValueError(
            "Expected known propensities strictly between 0 and 1 that sum to 1 over the arms; "
            f"found {int((~inside).any(axis=1).sum())} rows outside (0, 1) and sums from "
            f"{sums.min():.4g} to {sums.max():.4g}."
        )


def are_propensities(values: Floats) -> bool:
    """Whether (n, K) values lie within (0, 1) and sum to 1 over the arms, up to 0.001."""
    inside = ((values > 0) & (values < 1)).all()
    return bool(inside and np.allclose(values.sum(axis=1), 1, atol=1e-3))


def _some(values: Array) -> str:
    shown = ", ".join(map(str, values[:5]))
    return shown if len(values) <= 5 else f"{shown}, ... ({len(values)} in all)"
