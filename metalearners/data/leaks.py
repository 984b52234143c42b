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
_FIRST = 10_000  # rows
_LARGEST_POWER = 300  # of a share, which stays above the least float
_TOLD, _OFF = 6.0, 3.0  # z statistics of what probabilities tell, and of what they get wrong
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
    p_values = p_of_equal_means(codes, arms)
    alike = (p_values > 0.05 / codes.shape[1]).mean()
    if alike < min(_ALIKE, 1 - 1.5 / codes.shape[1]):  # one of few may differ
        return []
    return [name for name, p in zip(codes, p_values, strict=True) if p < _UNLIKELY]


def still_in_an_arm(codes: pd.DataFrame, arms: pd.Series) -> list[str]:
    """Columns with one value in some arm, whose means differ between the arms.

    So are clicks of those who got no mail. The rows must be independent.
    """
    still = (codes.groupby(arms.to_numpy()).nunique() <= 1).any()
    p_values = p_of_equal_means(codes, arms)
    return [name for name, p in zip(codes, p_values, strict=True) if still[name] and p < _UNLIKELY]


def are_probabilities_of(values: pd.Series, drawn: pd.Series) -> bool:
    """Whether values differ, and are the probabilities with which rows were drawn.

    Rows with larger values are drawn more often, by as much as the values say: the residuals,
    drawn - values, are 0 in the mean and uncorrelated with the values but for chance.
    """
    p, d = values.to_numpy(float), drawn.to_numpy(float)
    if not ((p > 0) & (p < 1)).all():
        return False
    centred = p - p.mean()
    spread, noise = np.sum(centred**2 * p * (1 - p)), np.sum(p * (1 - p))
    if spread <= 1e-12 * len(p):
        return False
    told = np.sum(centred * (d - d.mean())) / np.sqrt(spread)
    off = np.sum(d - p) / np.sqrt(noise), np.sum(centred * (d - p)) / np.sqrt(spread)
    return bool(told > _TOLD and max(map(abs, off)) < _OFF)


def treated_together(groups: pd.Series, arms: pd.Series, quantity: bool = False) -> bool:
    r"""Whether the rows of each group have one arm, which chance would not give rows one by one.

    Were arms drawn row by row with shares p_k, a group of m rows would have one arm with
    probability :math:`\sum_k p_k^m`. Each arm must have some groups, so that a column which tells
    the arm in other words isn't taken for groups. Where groups are values of a `quantity`, such as
    ages, arms that hardly change along them were given by a rule, and the rows are none of groups.
    """
    known = groups.notna() & arms.notna()
    if _mixed(groups[known].head(_FIRST), arms[known].head(_FIRST)):
        return False  # at once, as nearly all columns of large data
    codes, labels = pd.factorize(arms[known])
    by_group = pd.Series(codes, groups.index[known]).groupby(groups[known], observed=True)
    found = by_group.agg(["min", "max", "size"])
    shares = np.bincount(codes, minlength=len(labels)) / max(len(codes), 1)
    if quantity and _by_rule(found["min"]):
        return False
    sizes = found["size"].clip(upper=_LARGEST_POWER).to_numpy()
    one_arm = np.log((shares[:, None] ** sizes).sum(axis=0)).sum()
    return bool(
        (found["min"] == found["max"]).all()
        and one_arm < np.log(_UNLIKELY)
        and np.bincount(found["min"], minlength=len(labels)).min() >= _LEAST_GROUPS
    )


def _by_rule(arms: pd.Series) -> bool:
    """Whether the arms of groups, in the order of their values, change much less than by chance."""
    shares = np.bincount(arms) / len(arms)
    changes = int((np.diff(arms) != 0).sum())
    return bool(changes < (len(arms) - 1) * (1 - np.sum(shares**2)) / 3)


def _mixed(groups: pd.Series, arms: pd.Series) -> bool:
    """Whether rows of one group have several arms."""
    return bool((arms.groupby(groups, observed=True).nunique() > 1).any())


def p_of_equal_means(codes: pd.DataFrame, arms: pd.Series) -> Floats:
    """P-values of equal means in all arms, by column, where rows are independent: F tests."""
    if codes.empty:
        return np.empty(0)
    known = codes.fillna(codes.median()).fillna(0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a column may be constant in each arm
        return np.nan_to_num(f_classif(known, arms.astype(str))[1], nan=1.0)


def as_codes(column: pd.Series) -> pd.Series:
    """A column as numbers: of texts and the like, the ranks of their frequencies."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(float).replace([np.inf, -np.inf], np.nan)
    return column.map(column.value_counts().rank(method="first")).astype(float)
