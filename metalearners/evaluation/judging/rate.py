"""Rank-weighted average treatment effects: how much more rows of high priority gain."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from metalearners._typing import Array, Floats
from metalearners.data.arguments import one_of
from metalearners.data.containers import check_same_rows
from metalearners.evaluation.means import (
    Estimate,
    Means,
    check_level,
    effective_clusters,
    n_clusters,
    same_rows,
)
from metalearners.evaluation.ties import tied
from metalearners.showing.results import Shown

AUTOC = "autoc"
QINI = "qini"
_MOST_HAT = 0.5  # of a row, as a residual of 0 tells nothing of its error


@dataclass(frozen=True)
class Rate(Shown):
    """A rank-weighted average treatment effect, 0 where the ranking is as good as chance.

    Parameters
    ----------
    estimate : Estimate
        Per row of the population, in units of the outcome.
    p_value : float
        Two-sided, of the hypothesis that it is 0; 1 where all rows are tied.
    p_greater : float
        One-sided, of the hypothesis that it is 0 or less.
    """

    estimate: Estimate
    p_value: float
    p_greater: float


def rate(
    priority: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    kind: str = AUTOC,
    arms: Array | None = None,
    level: float = 0.95,
    tolerance: float | None = None,
) -> Rate:
    r"""Rank-weighted average treatment effect (RATE) of a priority, with its standard error.

    With the mean effect of the share q of highest priority above that of all rows,
    :math:`TOC(q) = E[\Gamma \mid \text{top } q] - E[\Gamma]`,

    .. math:: AUTOC = \int_0^1 TOC(q) \, dq, \quad QINI = \int_0^1 q \, TOC(q) \, dq,

    as means over the rows' own shares. AUTOC suits effects that few rows have, QINI those that
    many have. Tied rows share their mean. The error comes from the influence function,

    .. math:: \psi_i = \big(a(u_i) - \bar a\big) (\Gamma_i - \bar\Gamma)
        + \frac1n \sum_{j: u_j \ge u_i} a'(u_j) (\Gamma_j - \bar\Gamma)

    with the row's rank u from 0 (the top) to 1, a(u) = -log u for AUTOC and 1 - u for QINI. The
    second term is for the estimated ranks; ties have the same from totals of their groups. As in
    HC3, an influence less the mean is divided by 1 - h: few rows of high rank or large weight pull
    the figure to themselves, so that what they differ by is too small. With v the square of a
    row's a(u) - mean, h is its share of the weights times 1 + v / mean(v); in clusters of several
    rows, h is 0. The degrees of freedom are those of `mean_with_error`, where a row counts as much
    as its v. The priority is taken as given: fit it on other rows.

    Parameters
    ----------
    priority : (n,) array
        What rows are ranked by, highest first, such as CATE estimates.
    scores : (n,) array
        Doubly robust scores of the effect.
    weight, groups, level, arms
        As for `mean_with_error`.
    kind : str
        ``autoc`` or ``qini``.
    tolerance : float, optional
        Priorities closer than this are ties; by default the `rounding` of the priorities.

    Raises
    ------
    ValueError
        As for `mean_with_error`, or if `kind` is another.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), "Evaluating treatment prioritization
    rules via rank-weighted average treatment effects", JASA 120(549). MacKinnon and White (1985),
    "Some heteroskedasticity-consistent covariance matrix estimators with improved finite sample
    properties", Journal of Econometrics 29(3).
    """
    one_of("kind", kind, (AUTOC, QINI))
    check_level(level)
    check_same_rows(scores=scores, arms=arms)
    (priority, scores), w, groups = same_rows(weight, groups, priority=priority, scores=scores)
    ranking = Ranking.of(priority, w, tolerance)
    influences = ranking.influences(scores, kind)[:, None]
    (found,) = rate_means(influences, [ranking], kind, w, groups, arms).estimates(level)
    return Rate(found, *p_values(found))


def rate_means(
    influences: Floats,
    rankings: Sequence["Ranking"],
    kind: str,
    weight: Floats,
    groups: Array | None,
    arms: Array | None,
) -> Means:
    """Means of the (n, m) influences on RATEs of rankings, or on differences of such.

    Few rows of high rank carry most of AUTOC's variance, and so of what its error is known from.
    """
    squares = np.mean([ranking.leverage(kind) ** 2 for ranking in rankings], axis=0)
    if groups is None or n_clusters(weight, groups) == np.count_nonzero(weight):
        # Of clusters of several rows, the degrees alone allow for it: both are too careful.
        influences = _as_predicted(influences, weight / weight.sum(), squares)
    codes = np.zeros(len(weight), dtype=np.int64) if arms is None else np.asarray(arms)
    worth = effective_clusters(codes, groups, weight * squares)
    made = Means.of(influences, weight, groups, arms)
    return replace(made, part_degrees=np.maximum(worth - 1, 1))


def _as_predicted(influences: Floats, weight: Floats, squares: Floats) -> Floats:
    """Influences as if each row's were judged by a figure of the others alone."""
    hat: Floats = weight * (1 + squares / (weight @ squares))
    mean = weight @ influences
    scaled = (influences - mean) / (1 - np.minimum(hat, _MOST_HAT))[:, None]
    return np.asarray(scaled + (mean - weight @ scaled))


def p_values(found: Estimate, null: float = 0.0) -> tuple[float, float]:
    """Two-sided p-value of a mean that is `null`, and one-sided of one that is no more; 1 if exact.

    By Student's t. A mean without an error, such as that of tied rows, rejects nothing.
    """
    if found.std_error == 0:
        return 1.0, 1.0
    z = (found.estimate - null) / found.std_error
    return 2 * float(stats.t.sf(abs(z), found.degrees)), float(stats.t.sf(z, found.degrees))


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows by priority: groups of tied rows, the highest first, and their shares.

    Parameters
    ----------
    member : (n,) array of int
        Each row's group.
    rows : (G,) array of int
        Numbers of rows with any weight.
    weight : (n,) array
        Weights, which sum to 1.
    share : (G,) array
        Sums of weights.
    end : (G,) array
        Shares of the rows down to each group: 1 for the last.
    """

    member: Array
    rows: Array
    weight: Floats
    share: Floats
    end: Floats

    @classmethod
    def of(cls, priority: Floats, weight: Floats, tolerance: float | None) -> "Ranking":
        """The ranking of rows; those without weight are in no group of their own."""
        some = weight > 0
        value = tied(priority[some], tolerance)
        member = np.zeros(len(priority), dtype=np.int64)
        member[some] = value.max() - value
        own = weight / weight.sum()
        share = np.bincount(member, own)
        end = np.cumsum(share)
        return cls(member, np.bincount(member[some]), own, np.asarray(share), end / end[-1])

    def means(self, scores: Floats) -> Floats:
        """(G,) mean scores."""
        return np.bincount(self.member, self.weight * scores) / self.share

    def influences(self, scores: Floats, kind: str) -> Floats:
        """(n,) influences of rows on a RATE, whose weighted mean it is."""
        if len(self.share) == 1:  # no ranking: exactly 0, where sums would leave rounding
            return np.zeros(len(scores))
        centred = scores - self.weight @ scores
        by_group = self.means(centred)
        factor, mean = self._factors(kind)
        at_end = 1 - self.end if kind == QINI else -np.log(self.end)
        falls = by_group[1:] * np.diff(at_end)
        below = np.append(np.cumsum(falls[::-1])[::-1], 0.0)  # of the groups behind each
        of_rank = by_group * (at_end - self._inside(kind)) + below
        found = (factor[self.member] - mean) * centred + of_rank[self.member]
        estimate = float(self.share @ (factor * by_group))
        return found + (estimate - self.weight @ found)

    def leverage(self, kind: str) -> Floats:
        """(n,) what rows' scores count beyond the mean; ones where there is no ranking."""
        if len(self.share) == 1:
            return np.ones(len(self.member))
        factor, mean = self._factors(kind)
        return (factor - mean)[self.member]

    def _factors(self, kind: str) -> tuple[Floats, float]:
        """(G,) what a mean score counts, and the mean of that."""
        factor = self._inside(kind) if kind == QINI else self._of_rows()
        return factor, float(self.share @ factor)

    def _of_rows(self) -> Floats:
        """(G,) -log u as the mean over rows has it."""
        each = np.repeat(self.share / self.rows, self.rows)
        shares = each / np.cumsum(each)
        of_rows = np.cumsum(shares[::-1])[::-1]
        starts = np.cumsum(self.rows) - self.rows
        return np.add.reduceat(of_rows, starts) / self.rows

    def _inside(self, kind: str) -> Floats:
        """(G,) means of a(u) over the ranks of a group."""
        before = np.append(0.0, self.end[:-1])
        if kind == QINI:
            return 1 - (before + self.end) / 2
        areas = [
            u - np.where(u > 0, u * np.log(np.where(u > 0, u, 1)), 0) for u in (before, self.end)
        ]
        return (areas[1] - areas[0]) / self.share
