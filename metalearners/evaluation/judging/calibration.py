"""Calibration: what was estimated, against what happened, on rows that no fit has seen."""

from dataclasses import dataclass

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import count
from metalearners.evaluation.means import Estimate, mean_with_error, n_clusters, same_rows
from metalearners.evaluation.ties import tied


@dataclass(frozen=True)
class Group:
    """Rows of similar estimates: what was estimated for them, and what happened.

    Parameters
    ----------
    predicted : float
        Mean CATE estimate.
    actual : Estimate
        Mean doubly robust score.
    rows : int
        Number of rows.
    """

    predicted: float
    actual: Estimate
    rows: int


def calibration(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    n_groups: int = 5,
    arms: Array | None = None,
    tolerance: float | None = None,
) -> list[Group]:
    """Estimates against doubly robust scores, in groups of equal weight by rank of the estimate.

    Fewer groups come back where the estimates have fewer distinct values.

    Parameters
    ----------
    predicted : (n,) array
        Estimates.
    scores, weight, groups, tolerance
        As for `gain_curve`.
    n_groups : int
        Number of groups.
    arms : (n,) array of int, optional
        Arm codes, for the errors' degrees of freedom as in `mean_with_error`.

    Raises
    ------
    ValueError
        As for `gain_curve`.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernández-Val (2025), Econometrica 93(4): sorted group
    average treatment effects (GATES).
    """
    count("n_groups", n_groups)
    (predicted, scores), w, groups = same_rows(weight, groups, predicted=predicted, scores=scores)
    value = tied(predicted, tolerance)
    mass = np.bincount(value, w)
    before = (np.cumsum(mass) - mass) / mass.sum()  # the share of all weight below a value
    inner = np.linspace(0, 1, n_groups + 1)[1:-1]
    member = np.searchsorted(inner, before + 1e-9, side="right")[value]
    result = []
    for number in np.unique(member):
        rows = member == number
        own = w[rows]
        clusters = None if groups is None else groups[rows]
        if n_clusters(own, clusters) < 2:  # there is no error to estimate
            continue
        in_arm = None if arms is None else arms[rows]
        actual = mean_with_error(scores[rows], own, clusters, arms=in_arm)
        mean = float(np.average(predicted[rows], weights=own))
        result.append(Group(mean, actual, int(rows.sum())))
    return result
