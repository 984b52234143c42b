"""The Qini curve and coefficient of Radcliffe's papers."""

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.evaluation.judging.definitions.totals import Curve, Totals, checked
from metalearners.evaluation.ties import tied


def qini_curve(priority: Floats, y: Array, w: Array, *, tolerance: float | None = None) -> Curve:
    r"""Qini curve: outcomes that the treated among the k rows of highest priority gained.

    .. math:: Q(k) = Y_t(k) - Y_c(k) \frac{n_t(k)}{n_c(k)}

    Within ties, and until there is a row of the control, the curve is straight.

    Parameters
    ----------
    priority : (n,) array
        What rows are ranked by, highest first.
    y : (n,) array
        Outcomes.
    w : (n,) array
        0 for the control, 1 for the treated.
    tolerance : float, optional
        Priorities closer than this are ties; by default the `rounding` of the priorities.

    Returns
    -------
    Curve
        At 0 rows, and at the last row of each distinct priority.

    Raises
    ------
    ValueError
        If columns aren't of the same rows, values not finite, or `w` hasn't both 0 and 1.

    References
    ----------
    Radcliffe (2007), "Using control groups to target on predicted lift", Direct Marketing
    Analytics Journal 1(3). Radcliffe and Surry (2011), "Real-world uplift modelling with
    significance-based uplift trees", Stochastic Solutions, TR-2011-1.
    """
    priority, y, w = checked(priority, y, w)
    value = tied(priority, tolerance)
    order = np.argsort(-value, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(value[order])), len(order) - 1)
    y, w = (y - y.mean())[order], w[order]  # the same curve, of smaller sums
    totals = Totals.of(y, w, 1 - w).at(ends)
    known = totals.control > 0
    gained = totals.incremental(0.0)[known]
    return Curve(np.append(0.0, totals.rows[known]), np.append(0.0, gained))


def qini(priority: Floats, y: Array, w: Array, *, tolerance: float | None = None) -> float:
    r"""Qini coefficient: the area of `qini_curve` above the line to its end, a treated row.

    .. math:: \frac1{N_t} \int_0^1 \big(Q(q n) - q \, Q(n)\big) \, dq

    over the share q of the rows: in units of the outcome, 0 for a random ranking. Radcliffe (2007)
    also divides by the area of a perfect ranking, where outcomes are binary: `sklift` has that.
    Parameters, errors and references are those of `qini_curve`.
    """
    curve = qini_curve(priority, y, w, tolerance=tolerance)
    return curve.above_line / float(curve.rows[-1] * np.sum(np.asarray(w) == 1))
