"""Curves and scores of CausalML 0.18.0, by its names.

The package sorts without regard to ties and knows no weights. Here tied rows keep the order that
they are given in; in the package, the sort decides.
"""

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.evaluation.judging.definitions.totals import (
    Curve,
    Totals,
    by_row,
    checked,
    quotient,
)


def get_cumgain(priority: Floats, y: Array, w: Array, normalize: bool = False) -> Curve:
    r"""Cumulative gain, as by ``causalml.metrics.get_cumgain``.

    .. math:: k \Big(\frac{Y_t(k)}{n_t(k)} - \frac{Y_c(k)}{n_c(k)}\Big)

    of the k rows of highest priority. Where an arm has no rows yet, the difference of means is on
    a straight line from 0.

    Parameters
    ----------
    priority : (n,) array
        What rows are ranked by, highest first.
    y : (n,) array
        Outcomes.
    w : (n,) array
        0 for the control, 1 for the treated.
    normalize : bool
        Whether to divide by the absolute value at the end.

    Returns
    -------
    Curve
        At 0, 1, ..., n rows.

    Raises
    ------
    ValueError
        If columns aren't of the same rows, values not finite, or `w` hasn't both 0 and 1; with
        `normalize`, if the curve ends at 0.

    References
    ----------
    Gutierrez and Gérardy (2017), "Causal inference and uplift modelling: a review of the
    literature", PMLR 67.
    """
    totals = _totals(priority, y, w)
    rows = np.append(0.0, totals.rows)
    return _curve(rows, rows * _filled(rows, totals.lift(np.nan)), y, normalize)


def get_qini(priority: Floats, y: Array, w: Array, normalize: bool = False) -> Curve:
    r"""Qini curve, as by ``causalml.metrics.get_qini``: :math:`Y_t(k) - Y_c(k) n_t(k) / n_c(k)`.

    Without rows of the control yet, it is a straight line from 0. Parameters, result and errors
    are those of `get_cumgain`.

    References
    ----------
    Radcliffe (2007), "Using control groups to target on predicted lift", Direct Marketing
    Analytics Journal 1(3).
    """
    totals = _totals(priority, y, w)
    rows = np.append(0.0, totals.rows)
    return _curve(rows, _filled(rows, totals.incremental(np.nan)), y, normalize)


def auuc_score(priority: Floats, y: Array, w: Array, normalize: bool = True) -> float:
    """Mean over the points of `get_cumgain`, as by ``causalml.metrics.auuc_score``.

    Normalised, a random ranking has about 0.5 where the average effect is positive, about -0.5
    where it is negative; no bound holds. Parameters and errors are those of `get_cumgain`.
    """
    return float(get_cumgain(priority, y, w, normalize).value.mean())


def qini_score(priority: Floats, y: Array, w: Array, normalize: bool = True) -> float:
    """Mean over the points of `get_qini` less that of the line to its end.

    As by ``causalml.metrics.qini_score``. A random ranking has about 0; normalised, no bound
    holds. Parameters and errors are those of `get_qini`.
    """
    value = get_qini(priority, y, w, normalize).value
    return float(value.mean() - value[-1] / 2)


def _totals(priority: Floats, y: Array, w: Array) -> Totals:
    priority, y, w = checked(priority, y, w)
    order = by_row(priority)
    y, w = y[order], w[order]
    # Both curves are the same for all outcomes moved by a number; sums of small ones are precise.
    return Totals.of(y - y.mean(), w, 1 - w)


def _filled(rows: Floats, values: Floats) -> Floats:
    """(n + 1,) values from 0, on straight lines where there are none."""
    known = np.append(True, ~np.isnan(values))
    return np.interp(rows, rows[known], np.append(0.0, values)[known])


def _curve(rows: Floats, value: Floats, y: Array, normalize: bool) -> Curve:
    if not normalize:
        return Curve(rows, value)
    size = len(rows) * float(np.ptp(np.asarray(y, dtype=float)))
    end = abs(value[-1])
    return Curve(rows, value * quotient("an end of the curve", 1, end, size, "Don't normalise."))
