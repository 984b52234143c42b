"""Who is affected most and least: features of the rows at both ends of the ranking."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from metalearners._typing import Array, Floats
from metalearners.data.arguments import count
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array, as_vector
from metalearners.evaluation.judging.calibration import Gates, gates
from metalearners.evaluation.means import Estimate, check_level
from metalearners.showing.results import Several, Shown


@dataclass(frozen=True)
class Trait(Shown):
    """A feature's mean among rows of the lowest and of the highest estimates.

    Parameters
    ----------
    feature : str
        Its name.
    category : object
        The category whose share of rows it is; None for a feature of numbers.
    lowest, highest : Estimate
        Means in the first and the last group by estimate, in units of the feature.
    difference : Estimate
        That of the highest less that of the lowest.
    """

    feature: str
    category: Any
    lowest: Estimate
    highest: Estimate
    difference: Estimate


def profile(
    features: Mapping[str, Array],
    predicted: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    n_groups: int = 5,
    level: float = 0.95,
    tolerance: float | None = None,
    most: int = 6,
) -> list[Trait]:
    r"""Features of the least and the most affected rows (CLAN: classification analysis).

    With the groups of `gates` and a feature x in place of the scores,

    .. math:: E[x \mid \hat\tau > q_{G-1}] - E[x \mid \hat\tau \le q_1],

    and with the errors that `gates` has, which allow for the estimated cuts. It describes rows, and
    says nothing of why they are affected. Rows where a feature is missing are left out for this
    feature.

    Parameters
    ----------
    features : mapping of str to (n,) array
        By name: numbers and booleans have means, other values have shares of rows by category.
    predicted : (n,) array
        CATE estimates of one arm, fitted on other rows.
    weight, groups, n_groups, level, tolerance
        As for `gates`.
    most : int
        Number of categories of a feature, the most frequent ones.

    Returns
    -------
    list of Trait
        In the order of the features; none for a feature whose rows make a single group.

    Raises
    ------
    ValueError
        As for `gates`, but that no group has two rows.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernández-Val (2025), Econometrica 93(4): CLAN.
    """
    check_level(level)
    count("n_groups", n_groups)
    check_same_rows(predicted=predicted, weight=weight, groups=groups, **features)
    cate = as_array(predicted)
    shared = partial(gates, n_groups=n_groups, level=level, tolerance=tolerance, draws=0)
    found: Several[Trait] = Several()
    for name, values in features.items():
        for category, column in _columns(values, len(cate), most):
            known = np.isfinite(column)
            v, g = (None if one is None else as_array(one)[known] for one in (weight, groups))
            ends = _ends(partial(shared, cate[known], column[known], v, g))
            found += [Trait(name, category, *ends)] if ends else []
    return found


def _columns(values: Any, n: int, most: int) -> Iterator[tuple[Any, Floats]]:
    """What has a mean: the numbers, or a category and the rows that have it."""
    series = pd.Series(as_vector("a feature", values, n))
    if pd.api.types.is_numeric_dtype(series.dtype):
        yield None, series.to_numpy(float, na_value=np.nan)
        return
    missing = series.isna()
    for category in series.value_counts().index[:most]:
        yield category, np.where(missing, np.nan, series == category).astype(float)


def _ends(grouped: Callable[[], Gates]) -> tuple[Estimate, Estimate, Estimate] | None:
    """The first group, the last, and their difference; None where there aren't two."""
    try:
        found = grouped()
    except ValueError:  # the rows are right: each group has a single one, or there is none
        return None
    first, *others = found.groups
    return (first.actual, others[-1].actual, found.difference) if others else None
