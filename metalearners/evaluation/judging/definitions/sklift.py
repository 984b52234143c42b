"""Curves and scores of scikit-uplift 0.5.1 (`sklift`), by its names.

The package takes binary outcomes only, and no weights. Curves have a point for each distinct
priority. Shares of rows (`uplift_at_k`, percentiles) cut through ties: of tied rows, the last one
given comes first.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import count, one_of
from metalearners.evaluation.judging.definitions.totals import Curve, Totals, checked, quotient
from metalearners.showing.results import Shown

OVERALL = "overall"
BY_GROUP = "by_group"


@dataclass(frozen=True, eq=False)
class Percentiles(Shown):
    """Groups of rows of similar priority, the highest first: (bins,) arrays.

    Parameters
    ----------
    n_treatment, n_control
        Numbers of rows.
    response_rate_treatment, response_rate_control
        Mean outcomes.
    """

    n_treatment: Array
    n_control: Array
    response_rate_treatment: Floats
    response_rate_control: Floats

    @property
    def uplift(self) -> Floats:
        """(bins,) differences of means."""
        return self.response_rate_treatment - self.response_rate_control

    @property
    def std_treatment(self) -> Floats:
        """(bins,) standard errors of the means of the treated, sqrt(p (1 - p) / n)."""
        return _error(self.response_rate_treatment, self.n_treatment)

    @property
    def std_control(self) -> Floats:
        """(bins,) standard errors of the means of the control."""
        return _error(self.response_rate_control, self.n_control)

    @property
    def std_uplift(self) -> Floats:
        """(bins,) standard errors of the differences."""
        return np.hypot(self.std_treatment, self.std_control)


def uplift_curve(priority: Floats, y: Array, w: Array) -> Curve:
    r"""Uplift curve, as by ``sklift.metrics.uplift_curve``.

    .. math:: k \Big(\frac{Y_t(k)}{n_t(k)} - \frac{Y_c(k)}{n_c(k)}\Big)

    of the k rows of highest priority, where the mean of an arm without rows is 0.

    Parameters
    ----------
    priority : (n,) array
        What rows are ranked by, highest first.
    y : (n,) array
        Outcomes, 0 or 1.
    w : (n,) array
        0 for the control, 1 for the treated.

    Returns
    -------
    Curve
        At 0 rows, and at the last row of each distinct priority.

    Raises
    ------
    ValueError
        If columns aren't of the same rows, or `y` and `w` haven't both 0 and 1 and nothing else.

    References
    ----------
    Devriendt, Van Belle, Guns and Verbeke (2022), "Learning to rank for uplift modeling", IEEE
    Transactions on Knowledge and Data Engineering 34(10).
    """
    rows, totals = _at_distinct(*checked(priority, y, w, binary=True))
    return Curve(rows, np.append(0.0, totals.rows * totals.lift(0.0)))


def qini_curve(priority: Floats, y: Array, w: Array) -> Curve:
    r"""Qini curve, as by ``sklift.metrics.qini_curve``: :math:`Y_t(k) - Y_c(k) n_t(k) / n_c(k)`.

    Without rows of the control, the quotient is 0. Parameters, result and errors are those of
    `uplift_curve`.

    References
    ----------
    Radcliffe (2007), "Using control groups to target on predicted lift", Direct Marketing
    Analytics Journal 1(3).
    """
    rows, totals = _at_distinct(*checked(priority, y, w, binary=True))
    return Curve(rows, np.append(0.0, totals.incremental(0.0)))


def uplift_auc_score(priority: Floats, y: Array, w: Array) -> float:
    """Area of `uplift_curve` above the line to its end, over that of a perfect ranking.

    As by ``sklift.metrics.uplift_auc_score``. The perfect ranking is made of `y` and `w`, so no
    model that predicts effects comes near 1. Parameters and errors are those of `uplift_curve`;
    also, a perfect ranking without an area is refused.
    """
    priority, y, w = checked(priority, y, w, binary=True)
    few = np.sum(y > w) > np.sum(y < w)  # more outcomes of 1 in the control than 0 of the treated
    perfect = uplift_curve(2 * (y == w) + (y if few else w), y, w)
    return _of_perfect(uplift_curve(priority, y, w), perfect)


def qini_auc_score(priority: Floats, y: Array, w: Array, *, negative_effect: bool = True) -> float:
    """Area of `qini_curve` above the line to its end, over that of a perfect ranking.

    As by ``sklift.metrics.qini_auc_score``. Parameters and errors are those of `uplift_curve`;
    also, a perfect ranking without an area is refused.

    Parameters
    ----------
    negative_effect : bool
        Whether the perfect ranking ends with rows that the treatment harms. If not, its curve
        rises by 1 a row to the total effect and stays there, and a negative total is refused.
    """
    priority, y, w = checked(priority, y, w, binary=True)
    curve = qini_curve(priority, y, w)
    if negative_effect:
        return _of_perfect(curve, qini_curve(y * (2 * w - 1), y, w))
    total = float(curve.value[-1])
    if total < 0:
        raise ValueError(
            "Expected treated rows to gain in total for negative_effect=False; found "
            f"{total:.6g}. Use negative_effect=True."
        )
    return _of_perfect(curve, Curve(np.array([0, total, len(y)]), np.array([0, total, total])))


def uplift_at_k(
    priority: Floats, y: Array, w: Array, *, strategy: str = OVERALL, k: float = 0.3
) -> float:
    """Difference of means among the rows of highest priority, as by ``sklift.metrics.uplift_at_k``.

    Parameters
    ----------
    priority, y, w
        As for `uplift_curve`.
    strategy : str
        ``overall`` for the top of all rows, ``by_group`` for the top of each arm.
    k : float or int
        A share of the rows between 0 and 1, or their number.

    Raises
    ------
    ValueError
        As for `uplift_curve`; also if `strategy` is another, or `k` selects no row of an arm or
        more than there are.
    """
    y, w = _ranked(priority, y, w, strategy)
    top = slice(_size(k, len(y))) if strategy == OVERALL else slice(None)
    treated, control = _arms(y[top], w[top])
    if strategy == BY_GROUP:
        treated, control = (own[: _size(k, len(own))] for own in (treated, control))
    if not treated.size or not control.size:
        raise ValueError(
            f"Expected rows of both arms among the first; found {treated.size} treated and "
            f"{control.size} of the control with k={k!r}. Choose a larger k."
        )
    return float(treated.mean() - control.mean())


def uplift_by_percentile(
    priority: Floats, y: Array, w: Array, *, strategy: str = OVERALL, bins: int = 10
) -> Percentiles:
    """Differences of means by groups of priority, as by ``sklift.metrics.uplift_by_percentile``.

    Groups have equally many rows; the first ones have one more where the number doesn't divide.

    Parameters
    ----------
    priority, y, w
        As for `uplift_curve`.
    strategy : str
        ``overall`` for groups of all rows, ``by_group`` for groups of each arm.
    bins : int
        Number of groups.

    Raises
    ------
    ValueError
        As for `uplift_curve`; also if `strategy` is another, or a group has no rows of an arm.
    """
    count("bins", bins)
    y, w = _ranked(priority, y, w, strategy)
    if strategy == OVERALL:
        pairs = [_arms(y[own], w[own]) for own in np.array_split(np.arange(len(y)), bins)]
    else:
        pairs = list(zip(*(np.array_split(own, bins) for own in _arms(y, w)), strict=True))
    counts = np.array([[len(own) for own in pair] for pair in pairs]).T
    if not counts.all():
        raise ValueError(
            f"Expected rows of both arms in each of {bins} groups; found a group without. Use "
            "fewer groups, or strategy='by_group'."
        )
    means = np.array([[own.mean() for own in pair] for pair in pairs]).T
    return Percentiles(*counts, *means)


def weighted_average_uplift(
    priority: Floats, y: Array, w: Array, *, strategy: str = OVERALL, bins: int = 10
) -> float:
    """Mean of `uplift_by_percentile`, by the numbers of treated rows.

    As by ``sklift.metrics.weighted_average_uplift``. Parameters and errors are those of
    `uplift_by_percentile`.
    """
    groups = uplift_by_percentile(priority, y, w, strategy=strategy, bins=bins)
    return float(np.average(groups.uplift, weights=groups.n_treatment))


def _at_distinct(priority: Floats, y: Floats, w: Floats) -> tuple[Floats, Totals]:
    """Numbers of rows from 0, and totals without that of 0, at the last of equal priorities."""
    order = np.argsort(-priority, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(priority[order])), len(order) - 1)
    totals = Totals.of(y[order], w[order], 1 - w[order]).at(ends)
    return np.append(0.0, totals.rows), totals


def _of_perfect(curve: Curve, perfect: Curve) -> float:
    remedy = "Use another definition, or more rows."
    area, size = perfect.above_line, perfect.rows[-1] ** 2
    return quotient("an area of the perfect ranking", curve.above_line, area, size, remedy)


def _ranked(priority: Floats, y: Array, w: Array, strategy: str) -> tuple[Floats, Floats]:
    """Outcomes and arms from the highest priority down; of tied rows, the last one first."""
    one_of("strategy", strategy, (OVERALL, BY_GROUP))
    priority, y, w = checked(priority, y, w, binary=True)
    order = np.argsort(priority, kind="stable")[::-1]
    return y[order], w[order]


def _arms(y: Floats, w: Floats) -> tuple[Floats, Floats]:
    return y[w == 1], y[w == 0]


def _size(k: float, rows: int) -> int:
    """How many of the rows are the top k."""
    size = int(k) if isinstance(k, Integral) else int(rows * k) if 0 < k < 1 else 0
    if not 0 < size <= rows:
        raise ValueError(
            f"Expected k as a share between 0 and 1, or a number of up to {rows} rows, that has "
            f"a row at least; found {k!r}. Choose another k."
        )
    return size


def _error(rate: Floats, rows: Array) -> Floats:
    return np.sqrt(rate * (1 - rate) / rows)
