"""Calibration: what was estimated, against what happened, on rows that no fit has seen."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import stats

from metalearners._typing import Array, Floats
from metalearners.data.arguments import count
from metalearners.evaluation.judging.rate import p_values
from metalearners.evaluation.means import (
    Estimate,
    Means,
    check_level,
    cluster_codes,
    mean_with_error,
    n_clusters,
    same_rows,
    sums,
)
from metalearners.evaluation.ties import tied
from metalearners.showing.results import Several, Shown


@dataclass(frozen=True)
class Group(Shown):
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


@dataclass(frozen=True)
class Gates(Shown):
    """Sorted group average treatment effects (GATES), with tests of their order.

    Parameters
    ----------
    groups : tuple of Group
        The lowest estimates first.
    difference : Estimate
        The last group's effect less the first's, in units of the outcome; exactly 0 for one group.
    p_value, p_greater : float
        Of the hypotheses that the difference is 0 (two-sided), and that it is 0 or less; 1 for one
        group.
    p_monotone : float, optional
        Of the hypothesis that no group has a smaller effect than the group before; small where the
        order of the estimates is wrong somewhere. 1 for one group, None without draws.
    """

    groups: tuple[Group, ...]
    difference: Estimate
    p_value: float
    p_greater: float
    p_monotone: float | None


@dataclass(frozen=True)
class Blp(Shown):
    """The best linear predictor of effects from their estimates.

    Parameters
    ----------
    slope : Estimate
        How much the effect rises where the estimate rises by 1: 1 where estimates are calibrated,
        0 where they tell nothing, above 1 where they vary too little.
    mean : Estimate
        The line at the mean estimate: the average effect, in units of the outcome.
    p_value : float
        Two-sided, of the hypothesis that the slope is 0.
    p_calibrated : float
        Two-sided, of the hypothesis that it is 1.
    """

    slope: Estimate
    mean: Estimate
    p_value: float
    p_calibrated: float


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

    They are the groups of `gates`, with intervals of 95 %. A group of a single row or cluster is
    left out, as it has no error to estimate.

    Parameters
    ----------
    predicted, scores, weight, groups, n_groups, arms, tolerance
        As for `gates`.

    Raises
    ------
    ValueError
        As for `mean_with_error`.
    """
    made = _Sorted.of(predicted, scores, weight, groups, n_groups, arms, tolerance)
    return Several(made.groups(0.95))


def gates(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    n_groups: int = 5,
    arms: Array | None = None,
    level: float = 0.95,
    tolerance: float | None = None,
    draws: int = 10_000,
) -> Gates:
    r"""Effects in groups by rank of the estimate, and whether they rise as the estimates do.

    Group k has the rows with estimates between two quantiles of the estimates, weighted:

    .. math:: \theta_k = E[\Gamma \mid q_{k-1} < \hat\tau \le q_k]

    The truth is that of the population's quantiles, while the rows give their own. So the influence
    of a row has terms for the cuts at its group's ends,

    .. math:: p_k \psi_{ik} = 1_{ik} (\Gamma_i - \theta_k)
        + (\theta_k - g_k) (1[\hat\tau_i \le q_k] - u_k)
        - (\theta_k - g_{k-1}) (1[\hat\tau_i \le q_{k-1}] - u_{k-1})

    with a group's share p, the share u of the rows below a cut, and the mean score g near it, of
    half a group on either side. Without these terms, intervals of 95 % cover 92 % where effects
    vary as much as scores do at one estimate, and 75 % where they vary three times as much. A cut
    at many tied estimates stays where it is, and has no such term.

    Errors are the delete-one-cluster jackknife's within groups. The test of monotonicity takes the
    largest t statistic of the falls from a group to the next. Its distribution, without any fall or
    rise, comes from the multiplier bootstrap over clusters. With normal multipliers, these are
    normal draws with the estimated covariance.

    Parameters
    ----------
    predicted : (n,) array
        Estimates, fitted on other rows.
    scores : (n,) array
        Doubly robust scores of the effect.
    weight, groups, arms, level
        As for `mean_with_error`.
    n_groups : int
        Number of groups; fewer come back where the estimates have fewer distinct values, or where
        a group would have a single row or cluster.
    tolerance : float, optional
        Estimates closer than this are ties; by default the `rounding` of the estimates.
    draws : int
        Number of draws for the test of monotonicity, from a fixed seed; 0 for no test.

    Raises
    ------
    ValueError
        As for `mean_with_error`, or if no group has two rows or clusters.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernández-Val (2025), Econometrica 93(4): GATES. Chernozhukov,
    Chetverikov and Kato (2013), Annals of Statistics 41(6): the multiplier bootstrap of a maximum.
    """
    check_level(level)
    count("draws", draws, least=0)
    ranked = _Sorted.of(predicted, scores, weight, groups, n_groups, arms, tolerance)
    found = ranked.groups(level)
    if not found:
        raise ValueError(
            f"Expected two rows or clusters or more in one of {n_groups} groups; found none. Ask "
            "for fewer groups, or cluster by a finer group."
        )
    effects = ranked.effects
    difference = ranked.means(effects[:, -1:] - effects[:, :1]).estimates(level)[0]
    falls = effects[:, :-1] - effects[:, 1:]
    p_monotone = None
    if draws:
        p_monotone = _p_of_falls(ranked.means(falls), draws) if len(found) > 1 else 1.0
    return Gates(tuple(found), difference, *p_values(difference), p_monotone)


def _p_of_falls(falls: Means, draws: int) -> float:
    t = np.divide(falls.mean, falls.std_errors, out=0 * falls.mean, where=falls.std_errors > 0)
    steepest = stats.t.sf(t, falls.degrees).min()
    drawn = stats.t.sf(falls.statistics(draws), falls.degrees).min(axis=1)
    return float((1 + np.count_nonzero(drawn <= steepest)) / (1 + draws))


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Rows in groups of equal weight by rank of the estimate; G values of estimates."""

    predicted: Floats
    scores: Floats
    weight: Floats  # sums to 1
    clusters: Array | None
    arms: Array | None
    value: Array  # (n,) ranks of values
    after: Floats  # (G,) shares of the rows up to a value
    member: Array  # (G,) the group of each value
    kept: Array  # groups with two clusters or more
    n_groups: int
    n_clusters: int

    @classmethod
    def of(
        cls,
        predicted: Floats,
        scores: Floats,
        weight: Floats | None,
        groups: Array | None,
        n_groups: int,
        arms: Array | None,
        tolerance: float | None,
    ) -> "_Sorted":
        count("n_groups", n_groups)
        given = {"predicted": predicted, "scores": scores}
        (predicted, scores), w, groups = same_rows(weight, groups, **given)
        value = tied(predicted, tolerance)
        mass = np.bincount(value, w)
        after = np.cumsum(mass) / mass.sum()
        inner = np.linspace(0, 1, n_groups + 1)[1:-1]
        member = np.searchsorted(inner, after - mass / mass.sum() + 1e-9, side="right")
        some = w > 0
        found = member[value[some]]
        if groups is not None:  # codes of pairs: the clusters that a group has
            clusters = cluster_codes(len(w), groups)[some]
            found = np.unique(found + n_groups * clusters) % n_groups
        kept = np.flatnonzero(np.bincount(found) > 1)
        codes = None if arms is None else np.asarray(arms).astype(np.int64)
        own = (predicted, scores, w / w.sum(), groups, codes)
        return cls(*own, value, after, member, kept, n_groups, n_clusters(w, groups))

    def groups(self, level: float) -> list[Group]:
        """The groups that were kept, each with its mean estimate."""
        if not len(self.kept):
            return []
        by_row = self.member[self.value]
        predicted, rows = self._averages(self.predicted), np.bincount(by_row)
        found = zip(self.kept, self.means(self.effects).estimates(level), strict=True)
        return [Group(float(predicted[k]), actual, int(rows[k])) for k, actual in found]

    @cached_property
    def effects(self) -> Floats:
        """(n, m) influences on the effects of the groups that were kept: their weighted means."""
        by_row = self.member[self.value]
        share = np.bincount(by_row, self.weight)
        end, effect = np.cumsum(share), self._averages(self.scores)
        near = self._near(len(end) - 1)
        columns = []
        for k in self.kept:
            moves = (by_row == k) * (self.scores - effect[k])
            for cut, sign in ((k, 1), (k - 1, -1)):
                if 0 <= cut < len(near) and np.isfinite(near[cut]):
                    moves += sign * (effect[k] - near[cut]) * ((by_row <= cut) - end[cut])
            columns.append(effect[k] + moves / share[k])
        return np.column_stack(columns)

    def _averages(self, values: Floats) -> Floats:
        """Weighted means by group; 0 in groups without weight."""
        by_row = self.member[self.value]
        share = np.bincount(by_row, self.weight)
        found = np.bincount(by_row, self.weight * values)
        return np.divide(found, share, out=np.zeros_like(found), where=share > 0)

    def _near(self, n_cuts: int) -> Floats:
        """Mean scores near the upper ends of groups; nan where an end is at many tied rows."""
        before = np.append(0.0, self.after[:-1])
        mass = self.after - before
        total = np.bincount(self.value, self.weight * self.scores)
        found, half = np.full(n_cuts, np.nan), 0.5 / self.n_groups
        for cut in range(n_cuts):
            at = np.flatnonzero((self.member <= cut) & (mass > 0))[-1:]
            end = self.after[at]
            if not len(at) or mass[at] > 2 * np.sqrt(end * (1 - end) / self.n_clusters):
                continue
            near = (before < end + half) & (self.after > end - half)
            found[cut] = total[near].sum() / mass[near].sum()
        return found

    def means(self, columns: Floats) -> Means:
        """Means of influences on effects: errors within groups, degrees by group and arm."""
        own = self.member[self.value]
        place = np.minimum(np.searchsorted(self.kept, own), len(self.kept) - 1)
        made = Means.of(columns, self.weight, self.clusters, place, by_arm=True)
        if self.arms is None:
            return made
        cells = place * (int(self.arms.max()) + 1) + self.arms
        by_cell = Means.of(columns, self.weight, self.clusters, cells)
        return replace(made, parts=by_cell.parts, part_degrees=by_cell.part_degrees)


def blp(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    level: float = 0.95,
    tolerance: float | None = None,
) -> Blp | None:
    r"""Best linear predictor of effects from their estimates: the line through scores.

    .. math:: \min_{\alpha, \beta} \sum_i w_i
        \big(\Gamma_i - \alpha - \beta (\hat\tau_i - \bar{\hat\tau})\big)^2

    The error of the slope is the delete-one-cluster jackknife's (for rows, HC3's), whatever part of
    the spread of estimates a cluster has. Its degrees of freedom are those of `mean_with_error`.
    With a handful of treated rows, its intervals are wide: they cover more often than they say.

    Parameters
    ----------
    predicted : (n,) array
        Estimates, fitted on other rows.
    scores : (n,) array
        Doubly robust scores of the effect.
    weight, groups, arms, level
        As for `mean_with_error`.
    tolerance : float, optional
        Estimates closer than this are ties; by default the `rounding` of the estimates.

    Returns
    -------
    Blp, or None where all estimates are tied, or but for one cluster: there is no line to fit

    Raises
    ------
    ValueError
        As for `mean_with_error`.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernández-Val (2025), Econometrica 93(4): BLP. MacKinnon,
    Nielsen and Webb (2023), Journal of Econometrics 232(2), pp. 272-299: the jackknife.
    """
    (predicted, scores), w, groups = same_rows(weight, groups, predicted=predicted, scores=scores)
    mean = mean_with_error(scores, w, groups, level, arms=arms)
    if not tied(predicted[w > 0], tolerance).any():
        return None
    w = w / w.sum()
    x, y = predicted - w @ predicted, scores - w @ scores
    moves = _moves_of_slope(x, y, w, cluster_codes(len(w), groups))
    if moves is None:
        return None
    centred = float(w @ (x * y) / (w @ x**2)) + moves - w @ moves
    slope = mean_with_error(centred, w, groups, level, arms=arms)
    return Blp(slope, mean, p_values(slope)[0], p_values(slope, 1.0)[0])


def _moves_of_slope(x: Floats, y: Floats, w: Floats, of_cluster: Array) -> Floats | None:
    """(n,) influences on the slope, from the line without the row's cluster; None without any.

    `x` and `y` have the mean 0, weights the sum 1.
    """
    spread = float(w @ x**2)
    own, first, second = (sums(of_cluster, w * one) for one in (np.ones(len(x)), x, x**2))
    rest = 1 - own
    determinant = rest * (spread - second) - first**2
    if determinant.min() < 1e-9 * spread:
        return None
    left = y - (w @ (x * y) / spread) * x
    per_x = (rest / determinant)[of_cluster]
    return np.asarray(per_x * (first[of_cluster] + rest[of_cluster] * x) * left)
