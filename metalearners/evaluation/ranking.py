"""Ranking and calibration: how good estimates are, on rows that no fit has seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from metalearners._typing import Array, Floats
from metalearners.data.arguments import count
from metalearners.evaluation.means import (
    Estimate,
    cluster_codes,
    effective_clusters,
    mean_with_error,
    n_clusters,
    same_rows,
)
from metalearners.evaluation.ties import rounding, tied


@dataclass(frozen=True, eq=False)
class Gain:
    r"""A gain curve and its summary.

    Parameters
    ----------
    share : (m,) array
        Share q of the rows treated, from 0 to 1, highest estimates first.
    gain : (m,) array
        Effect of treating that share, per row of the whole population,
        :math:`G(q) = E[1\{\text{among the top } q\} (\Gamma_k - \Gamma_0)]`.
    gain_error : (m,) array
        Standard errors of `gain`; zeros without draws.
    line_error : (m,) array
        Standard errors of `above_line`; zeros without draws.
    qini : float
        The area between the curve and the straight line to its end.
    qini_error : float or None
        Its standard error; None without draws.
    p_value : float
        One-sided, of the hypothesis that rows are ordered no better than by chance (Qini is 0 or
        less), by Student's t with one degree fewer than the clusters are worth
        (`effective_clusters`), or than there are draws; 1 without draws or where all rows are tied.
    """

    share: Floats
    gain: Floats
    gain_error: Floats
    line_error: Floats
    qini: float
    qini_error: float | None
    p_value: float

    @property
    def above_line(self) -> Floats:
        """(m,) distance of the curve from the straight line to its end; Qini is its area."""
        return self.gain - self.share * self.gain[-1]

    @property
    def band(self) -> tuple[Floats, Floats]:
        """(m,) ends of pointwise 95 % intervals around the curve, to compare it with the line.

        They allow for the line, which ends where the curve does, and so varies with it.
        """
        half = 1.96 * self.line_error
        return self.gain - half, self.gain + half


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


def gain_curve(
    priority: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    draws: int = 200,
    seed: int = 0,
    tolerance: float | None = None,
) -> Gain:
    """Gain curve of treating rows by priority, highest first; ties are averaged.

    Parameters
    ----------
    priority : (n,) array
        What rows are ranked by, such as CATE estimates.
    scores : (n,) array
        Doubly robust scores of the effect.
    weight : (n,) array, optional
        Sampling weights.
    groups : (n,) array, optional
        Cluster labels; a cluster is drawn as a whole.
    draws : int
        Number of half-samples for the standard errors; 0 for none.
    tolerance : float, optional
        Priorities closer than this are ties; by default the `rounding` of the priorities.

    Raises
    ------
    ValueError
        If columns aren't of the same rows, or values not finite; weights negative or all zero; or
        there is one cluster only, and draws are asked for.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), "Evaluating treatment prioritization
    rules via rank-weighted average treatment effects", JASA 120(549): the QINI weighting of
    RATE, and the half-sample bootstrap.
    """
    count("draws", draws, least=0)
    count("seed", seed, least=0)
    (priority, scores), w, groups = same_rows(weight, groups, priority=priority, scores=scores)
    tolerance = rounding(priority) if tolerance is None else tolerance
    some = w > 0  # else a half-sample may have no weight at all
    priority, scores, w = priority[some], scores[some], w[some]
    groups = None if groups is None else groups[some]
    ranking = _Ranking(priority, tolerance)
    ranked, mass = scores[ranking.order], w[ranking.order]  # once, not again in each draw
    grid = np.linspace(0, 1, 101)
    share, gain = ranking.curve(ranked, mass)
    curve = np.interp(grid, share, gain)
    qini, none = _qini(share, gain), np.zeros(len(grid))
    if not draws:
        return Gain(grid, curve, none, none, qini, None, 1.0)
    if n_clusters(w, groups) < 2:
        raise ValueError(
            "Expected two rows or clusters or more with a weight, for a standard error; found 1. "
            "Cluster by a finer group, or pass draws=0."
        )
    drawn = np.empty((draws, len(grid) + 1))  # a curve on the grid and its area, a draw
    members = cluster_codes(len(scores), groups)[ranking.order]
    for row, chosen in zip(drawn, _half_samples(members, draws, seed), strict=True):
        one = ranking.curve(ranked, mass * chosen)
        row[:-1], row[-1] = np.interp(grid, *one), _qini(*one)
    curves, error = drawn[:, :-1], float(drawn[:, -1].std())
    line_error = (curves - curves[:, -1:] * grid).std(axis=0)
    (worth,) = effective_clusters(np.zeros(len(w), dtype=np.int64), groups, w)
    freedom = max(1.0, float(min(worth, draws)) - 1)  # few draws make the error uncertain, too
    p_value = float(stats.t.sf(qini / error, freedom)) if error > 0 else 1.0
    return Gain(grid, curve, curves.std(axis=0), line_error, qini, error, p_value)


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


class _Ranking:
    """Rows sorted by priority, with the ends of ties."""

    def __init__(self, priority: Floats, tolerance: float | None) -> None:
        value = tied(priority, tolerance)
        self.order = np.argsort(-value, kind="stable")
        ranked = value[self.order]
        self.ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)

    def curve(self, scores: Floats, weight: Floats) -> tuple[Floats, Floats]:
        """Share treated and gain at the end of each tie; within ties the curve is straight.

        Scores and weights are in the rows' order.
        """
        mass = np.cumsum(weight)  # its last value, unlike the sum, makes the last share exactly 1
        share = mass[self.ends] / mass[-1]
        gain = np.cumsum(weight * scores)[self.ends] / mass[-1]
        return np.append(0.0, share), np.append(0.0, gain)


def _qini(share: Floats, gain: Floats) -> float:
    # grf's mean of q * TOC(q): the trapezoid is exact, as the integrand is 0 at both ends.
    return float(np.trapezoid(gain, share) - gain[-1] / 2)


def _half_samples(members: Array, draws: int, seed: int) -> Iterator[Array]:
    """Whether each row is of a random half of the clusters, drawn without replacement."""
    n_clusters = int(members.max()) + 1
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        half = rng.permutation(n_clusters) < n_clusters // 2
        yield half[members]
