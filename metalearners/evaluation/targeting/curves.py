"""What targeting gains by budget, with bands, and the difference and area between two policies."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse, stats

from metalearners._typing import Array, Floats
from metalearners.data.arguments import numbers
from metalearners.data.conversion import as_array
from metalearners.evaluation.judging.curves import sup_t
from metalearners.evaluation.means import Estimate, cluster_codes, effective_clusters, n_clusters
from metalearners.evaluation.targeting.influences import reached_means, slopes
from metalearners.evaluation.targeting.paths import TreatmentPath
from metalearners.evaluation.targeting.values import Rows
from metalearners.showing.results import Shown

_POINTS = 100
_LEAST_SHARE = 0.05
_LEAST_ROWS = 50


@dataclass(frozen=True, eq=False)
class TargetingCurve(Shown):
    """Gains over budgets.

    Parameters
    ----------
    spend : (m,) array
        Budgets, mean costs per row. At the last, every step that gains is taken.
    value, std_error : (m,) array
        Gains above treating nobody, per row of the whole population.
    low, high : (m,) array
        Ends of intervals, each of which holds for its budget alone, by Student's t.
    joint_low, joint_high : (m,) array
        Ends of a band that holds for all budgets at once; NaN for budgets before it begins.
    degrees : (m,) array
        Degrees of freedom of that t.
    treated : (m,) array
        Shares of the rows that get another arm than the control; of two policies, the smaller.
    begin : float
        The budget from which the band holds: .05 of the rows are treated, with 50 of each arm that
        was given; infinite where there is none.
    """

    spend: Floats
    value: Floats
    std_error: Floats
    low: Floats
    high: Floats
    joint_low: Floats
    joint_high: Floats
    degrees: Floats
    treated: Floats
    begin: float

    def at(self, k: int) -> Estimate:
        """The k-th point, with its interval."""
        columns = (self.value, self.std_error, self.low, self.high, self.degrees)
        return Estimate(*(float(column[k]) for column in columns))

    def highest(self, less_spend: bool = True) -> int | None:
        """Where the judged gain, or the gain less the spend, is largest within the band.

        Its interval is the band's. The pointwise one is too narrow for a point that was chosen
        because it is high. None where there is no band.
        """
        net = self.value - less_spend * self.spend
        there = np.isfinite(self.joint_low)
        return int(np.argmax(np.where(there, net, -np.inf))) if there.any() else None


@dataclass(frozen=True, eq=False)
class CurveDifference(Shown):
    """Two policies' gains at the same budgets.

    Parameters
    ----------
    curve : TargetingCurve
        The first's gain less the second's.
    area : Estimate
        Its mean over the budgets: the area between the two, by the budgets' range.
    """

    curve: TargetingCurve
    area: Estimate


def targeting_curve(
    path: TreatmentPath,
    scores: Floats,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    budgets: Floats | None = None,
    level: float = 0.95,
) -> TargetingCurve:
    r"""Gain of a path's policies over budgets, by doubly robust scores.

    The influence at each budget is that of `budget_value`. Bands are sup-t bands, from the
    jackknife's covariance over rows or clusters.

    Parameters
    ----------
    path : TreatmentPath
        Of the same rows, with their weights, by effects that were fitted on others.
    scores, groups, arms, level
        As for `budget_value`.
    budgets : (m,) array, optional
        Rising mean costs per row; by default 100 of equal distance, up to where all steps are
        taken. Without costs there is one, 0.

    Raises
    ------
    ValueError
        As for `budget_value`, or if budgets don't rise.

    References
    ----------
    Sverdrup, Wu, Athey and Wager (2024), "Qini curves for multi-armed treatment rules",
    arXiv:2306.11979. Montiel Olea and Plagborg-Møller (2019), Journal of Applied Econometrics
    34(1), pp. 1-17: the sup-t band.
    """
    rows = Rows.along(path, scores, groups, arms, None, level)
    points = _budgets(budgets, [path])
    spent = _Spent.of([path], points, rows)
    return spent.curve(np.eye(len(points)), points, level)


def targeting_difference(
    first: TreatmentPath,
    second: TreatmentPath,
    scores: Floats,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    budgets: Floats | None = None,
    level: float = 0.95,
) -> CurveDifference:
    """The first policy's gain less the second's over budgets, paired, and the area between them.

    Parameters
    ----------
    first, second : TreatmentPath
        Of the same rows, weights, costs and value, by different effects. Where a path takes all
        its steps before a budget, it stays there.
    scores, groups, arms, level
        As for `budget_value`.
    budgets : (m,) array, optional
        As for `targeting_curve`; by default up to the larger end of the two.

    Raises
    ------
    ValueError
        As for `targeting_curve`, or if the paths are of different rows, weights or values.
    """
    same = first.costs.shape == second.costs.shape and first.value == second.value
    if not same or not np.array_equal(first.weight, second.weight):
        raise ValueError(
            "Expected two paths of the same rows, weights and value; found others. Make both with "
            "the same arguments but the effects."
        )
    rows = Rows.along(first, scores, groups, arms, None, level)
    points = _budgets(budgets, [first, second])
    spent = _Spent.of([first, second], points, rows)
    each = np.hstack([np.eye(len(points)), -np.eye(len(points))])
    means = _trapezoids(points)
    return CurveDifference(
        curve=spent.curve(each, points, level), area=spent.estimate(means @ each, level)
    )


def _budgets(given: Floats | None, paths: list[TreatmentPath]) -> Floats:
    low, high = max(one.spend[0] for one in paths), max(one.spend[-1] for one in paths)
    if given is None:
        if high <= low:
            return np.array([high])
        return low + (high - low) * np.arange(1, _POINTS + 1) / _POINTS
    found = numbers("budgets", as_array(given), "Leave those out.")
    rising = found.ndim == 1 and found.size > 0 and bool((np.diff(found) > 0).all())
    if not rising:
        raise ValueError("Expected budgets that rise, such as [0.1, 0.2]; found others. Sort them.")
    for one in paths:
        one.whole(float(found[0]))  # refuses a budget that is too small
    return found


def _trapezoids(points: Floats) -> Floats:
    """(m,) what the points count in the mean over the budgets."""
    if len(points) == 1:
        return np.ones(1)
    steps = np.diff(points)
    return np.asarray((np.append(steps, 0) + np.append(0, steps)) / (2 * steps.sum()))


@dataclass(frozen=True, eq=False)
class _Spent:
    """Gains of one path or two at m budgets each, with how they vary together."""

    value: Floats  # (m,), of two paths (2m,)
    covariance: Floats
    parts: Floats  # (K, m, m) covariances by arm
    worth: Floats  # (K,) how many clusters of one size an arm is worth
    within: Floats  # (K, m) shares of the arms' weight that are treated
    treated: Floats  # (m,)
    rows: Floats  # (K, m) rows of the arms that are treated

    @classmethod
    def of(cls, paths: list[TreatmentPath], points: Floats, rows: Rows) -> "_Spent":
        made = [_Bins.of(path, points, rows) for path in paths]
        influence = np.asarray(sparse.block_diag([one.influence for one in made]).toarray())
        columns = sparse.hstack([one.columns for one in made]).tocsr()
        weight, n = rows.weight, len(rows.weight)
        codes = np.zeros(n, dtype=np.int64) if rows.arms is None else rows.arms.astype(np.int64)
        cluster = cluster_codes(n, rows.groups)
        reach = _reach(weight / weight.sum(), cluster)
        masks = [codes == k for k in range(int(codes.max()) + 1)]
        own = [_moments(columns, cluster, reach, mask) for mask in masks]
        every = np.ones(n, dtype=bool)
        whole = sum(own) if rows.groups is None else _moments(columns, cluster, reach, every)
        some = weight > 0
        return cls(
            value=np.concatenate([one.value for one in made]),
            covariance=influence.T @ whole @ influence,
            parts=np.stack([influence.T @ one @ influence for one in own]),
            worth=effective_clusters(codes, rows.groups, weight),
            within=np.stack([_share(made, mask * weight) for mask in masks]),
            treated=_share(made, weight),
            rows=np.stack([_share(made, some & mask) * np.sum(some & mask) for mask in masks]),
        )

    def mapped(self, map_: Floats) -> tuple[Floats, Floats, Floats]:
        """Values of a linear map of the gains, a row each, their covariance, and degrees."""
        parts = np.maximum(np.sum((map_ @ self.parts) * map_, axis=2), 0)  # below 0 by rounding
        within = np.broadcast_to(self.within.max(axis=1, keepdims=True), parts.shape)
        if len(map_) == self.within.shape[1]:
            within = self.within
        of_parts = np.maximum(self.worth[:, None] * within - 1, 1)
        each = np.sum(parts**2 / of_parts, axis=0)
        degrees = np.divide(parts.sum(axis=0) ** 2, each, out=of_parts.sum(axis=0), where=each > 0)
        return map_ @ self.value, map_ @ self.covariance @ map_.T, degrees

    def curve(self, map_: Floats, points: Floats, level: float) -> TargetingCurve:
        """The curve of a map, a row a budget."""
        value, covariance, degrees = self.mapped(map_)
        error = np.sqrt(np.maximum(covariance.diagonal(), 0))  # below 0 by rounding
        half = stats.t.ppf((1 + level) / 2, degrees) * error
        enough = (self.rows >= _LEAST_ROWS - 1e-6) | (self.rows.max(axis=1, keepdims=True) == 0)
        there = enough.all(axis=0) & (self.treated >= _LEAST_SHARE - 1e-9)
        there = np.logical_or.accumulate(there)
        wide = np.where(there, 0.0, np.nan)
        joint = there & (error > 0)
        if joint.any():
            held = np.ix_(joint, joint)
            wide[joint] = sup_t(covariance[held], degrees[joint], level) * error[joint]
        begin = float(points[there][0]) if there.any() else float("inf")
        ends = (value - half, value + half, value - wide, value + wide)
        return TargetingCurve(points, value, error, *ends, degrees, self.treated, begin)

    def estimate(self, map_: Floats, level: float) -> Estimate:
        """The estimate of a single map."""
        value, covariance, degrees = (one.ravel()[0] for one in self.mapped(map_[None]))
        error = float(np.sqrt(max(covariance, 0.0)))
        half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
        return Estimate(float(value), error, value - half, value + half, float(degrees))


@dataclass(frozen=True, eq=False)
class _Bins:
    """A path's steps by the budgets that take them: B bins, not many more than budgets.

    Columns of a row, times its weight: gains of its steps by bin, costs by bin, gain and cost
    before any step, and 1.
    """

    value: Floats  # (m,) gains
    columns: Any  # (n, 2B + 3) sparse
    influence: Floats  # (2B + 3, m) what they add to the gains
    row: Array  # (S,) of steps that treat a row which had the control, or the reverse
    bin: Array  # (S,)
    turned: Floats  # (S,) 1 or -1
    top: Floats  # (B, m) the part of a bin that each budget takes
    first: Array  # (n,) whether rows are treated before any step

    @classmethod
    def of(cls, path: TreatmentPath, points: Floats, rows: Rows) -> "_Bins":
        means = reached_means(path, rows.gains)
        value = np.interp(points, path.spend, means)
        binding = points < path.spend[-1]
        count = n_clusters(rows.weight, rows.groups)
        slope = np.where(binding, slopes(path, means, points, count), 0.0)
        of_group, top = _taken(path.spend, points)
        of_step = of_group[path.group]
        treats = (path.arm > 0).astype(float) - (path.origin > 0)
        ones = np.ones((1, len(points)))
        paid = np.where(binding, points, 0.0)
        return cls(
            value=value,
            columns=_columns(path, rows, of_step, len(top)),
            influence=np.vstack([top, -slope * top, ones, -slope * ones, slope * paid - value]),
            row=path.row,
            bin=of_step,
            turned=treats,
            top=top,
            first=path.first > 0,
        )

    def mass(self, of_rows: Floats) -> Floats:
        """(m,) sums of rows' mass, as far as rows are treated."""
        by_bin = np.bincount(self.bin, of_rows[self.row] * self.turned, len(self.top))
        return np.asarray(of_rows @ self.first + by_bin @ self.top)


def _taken(spend: Floats, points: Floats) -> tuple[Array, Floats]:
    """(G,) bins of groups, and (B, m) the part of each bin that budgets take: 0, 1 or between."""
    before, after = spend[:-1], spend[1:]
    step = np.searchsorted(points, before, side="right")
    whole = np.searchsorted(points, after, side="left")
    split = np.flatnonzero(step < whole)  # groups within which some budget ends
    step[split] = len(points) + 1 + np.arange(len(split))
    parts = (points - before[split, None]) / (after - before)[split, None]
    steps = np.arange(len(points)) >= np.arange(len(points) + 1)[:, None]
    return step, np.vstack([steps, np.clip(parts, 0, 1)])


def _columns(path: TreatmentPath, rows: Rows, of_step: Array, n_bins: int) -> Any:
    """(n, 2B + 3) sparse columns of `_Bins`."""
    own, n = rows.weight / rows.weight.sum(), len(path.first)
    every = np.arange(n)
    gained = rows.gains[path.row, path.arm] - rows.gains[path.row, path.origin]
    entries = [
        (path.row, of_step, own[path.row] * gained),
        (path.row, of_step + n_bins, own[path.row] * path.cost),
        (every, np.full(n, 2 * n_bins), own * rows.gains[every, path.first]),
        (every, np.full(n, 2 * n_bins + 1), own * path.costs[every, path.first]),
        (every, np.full(n, 2 * n_bins + 2), own),
    ]
    row, column, values = (np.concatenate(one) for one in zip(*entries, strict=True))
    made = sparse.coo_array((values, (row, column)), shape=(n, 2 * n_bins + 3)).tocsr()
    made.eliminate_zeros()
    return made


def _reach(weight: Floats, cluster: Array) -> Floats:
    """(n,) the jackknife's factors: how far means move without a row's cluster."""
    mass = np.bincount(cluster, weight)
    n = int(np.count_nonzero(mass))
    if n < 2:
        raise ValueError(
            "Expected two rows or clusters or more with a weight, for a standard error; found 1. "
            "Cluster by a finer group."
        )
    return np.asarray((np.sqrt((n - 1) / n) / (1 - mass))[cluster])


def _moments(columns: Any, cluster: Array, reach: Floats, mask: Array) -> Floats:
    """Sums over clusters of products of the sums of some rows' columns."""
    rows = np.flatnonzero(mask)
    member = np.unique(cluster[rows], return_inverse=True)[1]
    places = (member, rows)
    shape = (int(member.max()) + 1 if len(rows) else 1, columns.shape[0])
    sums = sparse.csr_array((reach[rows], places), shape=shape) @ columns
    return np.asarray((sums.T @ sums).toarray())


def _share(made: list[_Bins], mass: Array) -> Floats:
    """(m,) shares of rows' mass that are treated; of two paths, the smaller; 0 without any."""
    total = max(float(mass.sum()), 1e-300)
    return np.min([one.mass(mass.astype(float)) for one in made], axis=0) / total
