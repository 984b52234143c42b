"""Columns that say too much of arm or outcome to be features: hints from the data alone."""

import numpy as np
import pandas as pd
from sklearn.feature_selection import f_classif
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeRegressor

from metalearners._typing import Floats

_PREDICTS = 0.9  # share of a variance on other rows
_UNLIKELY = 1e-8  # a p-value for equal means in all arms
_ALIKE = 0.9  # share of columns whose means are alike, where chance drew the arms
_LEAST_COLUMNS = 4
_LARGEST_POWER = 300  # of a share, which stays above the least float
_LEAST_GROUPS = 4  # of each arm


def explains(codes: pd.Series, target: pd.Series) -> bool:
    """Whether one column predicts 90 % of a target's variance, by a tree on other rows."""
    tree = DecisionTreeRegressor(max_leaf_nodes=64, min_samples_leaf=5, random_state=0)
    scores = cross_val_score(tree, codes.to_frame().to_numpy(), target, cv=3, scoring="r2")
    return bool(np.median(scores) > _PREDICTS)


def tells_arm(codes: pd.Series, arms: pd.Series) -> bool:
    """Whether one column tells of some arm which rows it has."""
    return any(explains(codes, (arms == arm).astype(float)) for arm in arms.unique())


def out_of_balance(codes: pd.DataFrame, arms: pd.Series) -> list[str]:
    """Columns whose means differ between the arms, where those of nearly all others don't.

    The rows must be independent, with the same probabilities of the arms. Tests are F tests.
    """
    if codes.shape[1] < _LEAST_COLUMNS:
        return []
    p_values = _of_equal_means(codes, arms)
    alike = (p_values > 0.05 / codes.shape[1]).mean()
    if alike < min(_ALIKE, 1 - 1.5 / codes.shape[1]):  # one of few may differ
        return []
    return [name for name, p in zip(codes, p_values, strict=True) if p < _UNLIKELY]


def still_in_an_arm(codes: pd.DataFrame, arms: pd.Series) -> list[str]:
    """Columns with one value in some arm, whose means differ between the arms.

    So are clicks of those who got no mail. The rows must be independent.
    """
    still = (codes.groupby(arms.to_numpy()).nunique() <= 1).any()
    p_values = _of_equal_means(codes, arms)
    return [name for name, p in zip(codes, p_values, strict=True) if still[name] and p < _UNLIKELY]


def differs_between(codes: pd.Series, arms: pd.Series) -> bool:
    """Whether the means of a column differ between arms more than chance lets them."""
    known = arms.notna()
    return bool(_of_equal_means(codes[known].to_frame(), arms[known])[0] < _UNLIKELY)


def treated_together(groups: pd.Series, arms: pd.Series) -> bool:
    r"""Whether the rows of each group have one arm, which chance would not give rows one by one.

    Were arms drawn row by row with shares p_k, a group of m rows would have one arm with
    probability :math:`\sum_k p_k^m`. Each arm must have some groups, so that a column which tells
    the arm in other words isn't taken for groups.
    """
    known = groups.notna() & arms.notna()
    codes, labels = pd.factorize(arms[known])
    found = (
        pd.Series(codes)
        .groupby(groups[known].to_numpy(), observed=True)
        .agg(["min", "max", "size"])
    )
    shares = np.bincount(codes, minlength=len(labels)) / max(len(codes), 1)
    sizes = found["size"].clip(upper=_LARGEST_POWER).to_numpy()
    one_arm = np.log((shares[:, None] ** sizes).sum(axis=0)).sum()
    return bool(
        (found["min"] == found["max"]).all()
        and one_arm < np.log(_UNLIKELY)
        and np.bincount(found["min"], minlength=len(labels)).min() >= _LEAST_GROUPS
    )


def _of_equal_means(codes: pd.DataFrame, arms: pd.Series) -> Floats:
    """P-values of equal means in all arms, by column."""
    if codes.empty:
        return np.empty(0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a column may be constant in each arm
        return np.asarray(f_classif(codes.fillna(codes.median()), arms.astype(str))[1])


def as_codes(column: pd.Series) -> pd.Series:
    """A column as numbers: of texts and the like, the ranks of their frequencies."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(float)
    return column.map(column.value_counts().rank(method="first")).astype(float)
