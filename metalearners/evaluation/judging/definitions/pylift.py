"""Scores of pylift 0.1.5, by its names: Q, q1 and q2 of three curves.

The package takes binary outcomes only. Of tied rows, the first one given comes first.
"""

from dataclasses import dataclass

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, numbers, one_of
from metalearners.evaluation.judging.definitions.totals import Totals, by_row, checked, quotient
from metalearners.showing.results import Shown

QINI = "qini"
AQINI = "aqini"
CGAINS = "cgains"


@dataclass(frozen=True)
class Scores(Shown):
    """A curve's area above the line to its end, per row; and over two largest ones.

    Parameters
    ----------
    Q : float
        The area, in units of the outcome.
    q1 : float
        Over the area of a curve that overfits: it takes all treated outcomes of 1 for gained.
    q2 : float
        Over the area without "sure things": the control has as many rows that gain.
    """

    Q: float
    q1: float
    q2: float


def get_scores(
    priority: Floats, y: Array, w: Array, *, kind: str = QINI, p: Floats | float | None = None
) -> Scores:
    r"""Q, q1 and q2, as by ``pylift.eval.get_scores``.

    Of running totals whose rows count 1 / (2p) if treated and 1 / (2 - 2p) if not, the curves are

    - ``qini``: :math:`Y_t / N_t - Y_c / N_c`, with the arms' totals over all rows. An arm that has
      more than its share of the rows at the top tilts it;
    - ``aqini``: :math:`Y_t / N_t - Y_c \, n_t / (n_c N_t)`, Radcliffe's, per treated row;
    - ``cgains``: :math:`(Y_t / n_t - Y_c / n_c) (n_t + n_c) / N`, the gain.

    Parameters
    ----------
    priority : (n,) array
        What rows are ranked by, highest first.
    y : (n,) array
        Outcomes, 0 or 1.
    w : (n,) array
        0 for the control, 1 for the treated.
    kind : str
        ``qini``, ``aqini`` or ``cgains``.
    p : float or (n,) array, optional
        Probability of the treatment; by default the share of treated rows.

    Raises
    ------
    ValueError
        If columns aren't of the same rows, `y` and `w` haven't both 0 and 1 and nothing else, `p`
        isn't between 0 and 1, `kind` is another, or the largest area is 0.

    References
    ----------
    Radcliffe and Surry (2011), "Real-world uplift modelling with significance-based uplift trees",
    Stochastic Solutions, TR-2011-1: Q. The two largest areas are the package's.
    """
    one_of("kind", kind, (QINI, AQINI, CGAINS))
    priority, y, w = checked(priority, y, w, binary=True)
    p = _policy(w.mean() if p is None else p, len(w))
    order = by_row(priority)
    totals = Totals.of(y[order], (w / p / 2)[order], ((1 - w) / (1 - p) / 2)[order])
    value = _curve(totals, kind)
    lift = totals.lift(0.0)[-1]
    # The package's trapezoids are 1 / N wide, whatever a row counts.
    area = float((value.sum() - value[-1] / 2) / totals.rows[-1] - lift / 2)
    remedy = "Use another definition, or more rows."
    q1, q2 = (
        quotient("a largest area", area, most - lift / 2, 1.0, remedy) for most in _most(totals)
    )
    return Scores(area, q1, q2)


def q1(priority: Floats, y: Array, w: Array) -> float:
    """The q1 of pylift's curve ``qini``; see `get_scores`."""
    return get_scores(priority, y, w).q1


def _policy(p: Floats | float, rows: int) -> Floats:
    """(n,) probabilities of the treatment."""
    p = numbers("p", p, "Leave those rows out.")
    check_shape("p", p.shape in ((), (rows,)), f"() or ({rows},)", p.shape)
    if p.min() <= 0 or p.max() >= 1:
        raise ValueError(
            f"Expected p between 0 and 1; found {p.min():.4g} to {p.max():.4g}. Pass the "
            "probability of the treatment."
        )
    return np.broadcast_to(p, rows)


def _curve(totals: Totals, kind: str) -> Floats:
    """(n,) a curve's values."""
    treated, control = totals.treated[-1], totals.control[-1]
    if kind == QINI:
        return totals.y_treated / treated - totals.y_control / control
    if kind == AQINI:
        return totals.incremental(0.0) / treated
    return totals.lift(0.0) * totals.rows / totals.rows[-1]


def _most(totals: Totals) -> list[float]:
    """Areas under the curve that overfits, and under that without sure things."""
    treated, control = totals.treated[-1], totals.control[-1]
    gained, lost = totals.y_treated[-1], totals.y_control[-1]
    end = gained / treated - lost / control
    # Rows that gain in both arms, or that lose: as many as the other arm's outcomes of 1 say.
    both = gained * (1 + control / treated), lost * (1 + treated / control)
    return [
        _under(2, gained, lost, totals.rows[-1], end),
        _under(1, *both, totals.rows[-1], end),
    ]


def _under(slope: int, gained: float, lost: float, rows: float, end: float) -> float:
    """Area under a curve that rises over rows that gain, and falls to its end over the last."""
    up, down = gained / rows, 1 - lost / rows
    if up > down:
        up = down = (up + down) / 2
    top = slope * up
    return float(np.trapezoid([0, top, top, end], [0, up, down, 1]))
