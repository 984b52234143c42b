"""Means of scores with standard errors: by rows or clusters, by arms, and several at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, count, number, numbers
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.data.dataset import check_groups, check_weight
from metalearners.showing.results import Shown, between

FEWEST_CLUSTERS = 40
"""Effective clusters an arm that clustered standard errors want."""


@dataclass(frozen=True)
class Estimate(Shown):
    """A mean with its uncertainty.

    Parameters
    ----------
    estimate, std_error : float
        In units of the outcome.
    ci_low, ci_high : float
        Ends of the interval, by Student's t; at the level 95 % by default.
    degrees : float
        Degrees of freedom of that t.
    """

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float
    degrees: float

    def __str__(self) -> str:
        return between(self.estimate, self.ci_low, self.ci_high, self.std_error)

    _brief = __str__


def mean_with_error(
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    level: float = 0.95,
    ddof: int = 1,
    arms: Array | None = None,
) -> Estimate:
    r"""Weighted mean of scores, with a standard error that allows for clusters of any size.

    The error is the delete-one-cluster jackknife's, nuisances fixed,

    .. math:: \widehat{SE}^2 = \frac{G - 1}{G} \sum_g \left( \frac{\sum_{i \in g} w_i
        (\Gamma_i - \bar\Gamma)}{\sum_{i \notin g} w_i} \right)^2,

    s / sqrt(n) for rows without weights. Its degrees of freedom are Satterthwaite's,

    .. math:: \Big(\sum_k V_k\Big)^2 \Big/ \sum_k \frac{V_k^2}{G^*_k - 1}, \quad
        G^*_k = \Big(\sum_{g} n_{gk}\Big)^2 \Big/ \sum_{g} n_{gk}^2,

    where V_k is arm k's part of the variance, n_gk the weight of its rows in cluster g, and G*_k
    the number of clusters of one size that its clusters are worth (1 degree at least).

    Parameters
    ----------
    scores : (n,) array
    weight : (n,) array, optional
        Sampling weights.
    groups : (n,) array, optional
        Cluster labels; without them, each row is a cluster.
    level : float
        Level of the interval.
    ddof : int
        1 as above; 0 for G in place of G - 1 in the correction, as in n for s^2.
    arms : (n,) array of int, optional
        Codes of arms; without them, all rows are of one arm.

    Raises
    ------
    ValueError
        If there is one cluster only, whose mean has no error to estimate; or `level` isn't
        between 0 and 1, or values aren't finite and of the same rows.

    References
    ----------
    MacKinnon, Nielsen and Webb (2023), Journal of Econometrics 232(2), pp. 272-299: the jackknife
    (CV3). Carter, Schnepel and Steigerwald (2017), Review of Economics and Statistics 99(4),
    pp. 698-709: the effective number of clusters. Satterthwaite (1946), Biometrics Bulletin 2(6).
    """
    check_level(level)
    check_same_rows(scores=scores, arms=arms)
    (scores,), weight, groups = same_rows(weight, groups, scores=scores)
    return Means.of(scores[:, None], weight, groups, arms).estimates(level, ddof)[0]


def simultaneous_intervals(
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    level: float = 0.95,
    draws: int = 20_000,
    arms: Array | None = None,
) -> list[tuple[float, float]]:
    r"""Intervals for the means of several scores that hold all at once.

    The sup-t band :math:`\bar\Gamma_k \pm c_k \, \widehat{SE}_k`. Draws of the statistics,
    :math:`T_k = Z_k / \sqrt{\sum_j V_{kj} \chi^2_j / d_j / \sum_j V_{kj}}`, have the estimated
    correlation and the degrees of freedom of each arm's part of the variance. Means that share an
    arm share its part. All intervals have the one pointwise level at which a share `level` of the
    draws is in all of them.

    Parameters
    ----------
    scores : (n, m) array
    weight, groups, level, arms
        As for `mean_with_error`.
    draws : int
        Number of draws, from a fixed seed.

    Raises
    ------
    ValueError
        As for `mean_with_error`, or if scores aren't in columns.

    References
    ----------
    Montiel Olea and Plagborg-Møller (2019), Journal of Applied Econometrics 34(1), pp. 1-17.
    """
    check_level(level)
    count("draws", draws)
    check_same_rows(scores=scores, weight=weight, groups=groups, arms=arms)
    return Means.checked(scores, weight, groups, arms).joint(level, draws)


def effective_clusters(w: Array, groups: Array | None, weight: Floats | None = None) -> Floats:
    """(K,) G* of each arm: the number of clusters of one size that its clusters are worth.

    `mean_with_error` has the formula and the parameters; `w` holds (n,) arm codes from 0. An arm
    without weight has 0.

    Examples
    --------
    >>> effective_clusters(np.zeros(4, int), np.array(["a", "a", "b", "b"])).tolist()
    [2.0]
    >>> effective_clusters(np.zeros(4, int), np.array(["a", "a", "a", "b"])).tolist()
    [1.6]
    """
    check_same_rows(w=w, groups=groups, weight=weight)
    return _Cells.of(np.ones(len(w)) if weight is None else weight, groups, w).worth


@dataclass(frozen=True, eq=False)
class _Cells:
    """Rows by cluster and arm: C cells."""

    of_row: Array | None  # (n,) each row's cell; None where each row is a cell and a cluster
    cluster: Array | None  # (C,) codes; None where each cell is a cluster
    arm: Array  # (C,) codes
    mass: Floats  # (C,) sums of weights

    @classmethod
    def of(cls, weight: Floats, groups: Array | None, arms: Array | None) -> "_Cells":
        n = len(weight)
        arm = np.zeros(n, dtype=np.int64) if arms is None else np.asarray(arms).astype(np.int64)
        if groups is None:
            return cls(None, None, arm, weight)
        member, n_arms = pd.factorize(np.asarray(groups))[0], int(arm.max()) + 1
        cells, of_row = np.unique(member * n_arms + arm, return_inverse=True)
        return cls(of_row, *np.divmod(cells, n_arms), sums(of_row, weight))

    def sums(self, values: Floats) -> Floats:
        """(C,) sums of rows' values."""
        return sums(self.of_row, values)

    def by_cluster(self, values: Floats) -> Floats:
        """(G,) sums of cells' values."""
        return sums(self.cluster, values)

    def by_arm(self, values: Floats) -> Floats:
        """(K,) sums of cells' values."""
        return sums(self.arm, values)

    @property
    def worth(self) -> Floats:
        """(K,) effective numbers of clusters, (sum n)^2 / sum n^2; 0 without any."""
        # Scaled to near 1, as squares may leave the range of floats. By a power of two: no bit of
        # the quotient changes.
        mass = np.ldexp(self.mass, -int(np.frexp(self.mass.max())[1]))
        squares = self.by_arm(mass**2)
        empty = np.zeros_like(squares)
        return np.divide(self.by_arm(mass) ** 2, squares, out=empty, where=squares > 0)

    def reach(self, by_arm: bool) -> Floats:
        """(C,) how far the mean moves without a cell, per unit of its sum of weighted deviations.

        A factor makes squares add up to the jackknife's variance. By arm, each arm's mean is over
        its own rows, and the deviations count as if they were over all.
        """
        present = self.mass > 0
        if by_arm:
            own = self.by_arm(self.mass)
            clusters = np.bincount(self.arm[present], minlength=len(own))
            moved = own / self.mass.sum() * _correction(clusters, " of each arm")
            reached, rest = moved[self.arm], own[self.arm] - self.mass
        else:
            own = self.by_cluster(self.mass)
            moved = _correction(np.array([np.count_nonzero(own)]))
            rest = self.mass.sum() - (own if self.cluster is None else own[self.cluster])
            reached = np.full(len(rest), moved)
        np.divide(reached, rest, out=reached, where=present)
        reached[~present] = 0
        return reached


def _correction(clusters: Array, where: str = "") -> Floats:
    """Factors by numbers of clusters; where there is a single one, a ValueError."""
    fewest = int(clusters[clusters > 0].min())
    if fewest < 2:
        raise ValueError(
            f"Expected two rows or clusters or more{where} for a standard error; found "
            f"{fewest}. Cluster by a finer group."
        )
    return np.asarray(np.sqrt(np.maximum(clusters - 1, 0) / np.maximum(clusters, 1)))


@dataclass(frozen=True, eq=False)
class Means:
    """Weighted means of m scores, with what their standard errors need."""

    mean: Floats  # (m,)
    covariance: Floats  # (m, m) the jackknife's
    parts: Floats  # (m, K) variances by arm
    part_degrees: Floats  # (K,) degrees of freedom of the parts
    n_clusters: int  # with any weight

    @classmethod
    def checked(cls, scores: Floats, weight: Any, groups: Any, arms: Array | None) -> "Means":
        """The means of columns, which are checked first."""
        scores = as_array(scores)
        check_shape("scores", scores.ndim == 2 and scores.size > 0, "(n, m)", scores.shape)
        columns = {f"scores {k}": column for k, column in enumerate(scores.T)}
        found, weight, groups = same_rows(weight, groups, **columns)
        return cls.of(np.column_stack(found), weight, groups, arms)

    @classmethod
    def of(
        cls,
        scores: Floats,
        weight: Floats,
        groups: Array | None,
        arms: Array | None,
        by_arm: bool = False,
    ) -> "Means":
        """The means; `by_arm` where scores are influences on differences of arms' own means."""
        cells = _Cells.of(weight, groups, arms)
        reach = cells.reach(by_arm)
        mean = np.array([np.average(one, weights=weight) for one in scores.T])
        moves = [
            cells.sums(weight * (one - centre)) * reach
            for one, centre in zip(scores.T, mean, strict=True)
        ]
        changes = [cells.by_cluster(one) for one in moves]
        squares = np.stack([cells.by_arm(one**2) for one in moves])
        covariance = np.array([[float(np.sum(a * b)) for b in changes] for a in changes])
        # Where arms share a cluster, each has a part of its variance in proportion to its cells'.
        total = squares.sum(axis=1, keepdims=True)
        shares = np.divide(squares, total, out=np.full_like(squares, 1.0), where=total > 0)
        return cls(
            mean=mean,
            covariance=covariance,
            parts=shares * covariance.diagonal()[:, None],
            part_degrees=np.maximum(cells.worth - 1, 1),
            n_clusters=int(np.count_nonzero(cells.by_cluster(cells.mass))),
        )

    @property
    def std_errors(self) -> Floats:
        """(m,) standard errors."""
        return np.sqrt(self.covariance.diagonal())

    @property
    def degrees(self) -> Floats:
        """(m,) Satterthwaite's degrees of freedom; those of all parts where nothing varies."""
        each = np.sum(self.parts**2 / self.part_degrees, axis=1)
        none = np.full(len(each), self.part_degrees.sum())
        return np.divide(self.parts.sum(axis=1) ** 2, each, out=none, where=each > 0)

    def estimates(self, level: float, ddof: int = 1) -> list[Estimate]:
        """The means with pointwise intervals."""
        correction = np.sqrt((self.n_clusters - 1) / (self.n_clusters - ddof))
        errors = correction * self.std_errors
        half = stats.t.ppf((1 + level) / 2, self.degrees) * errors
        columns = (self.mean, errors, self.mean - half, self.mean + half, self.degrees)
        return [Estimate(*map(float, row)) for row in zip(*columns, strict=True)]

    def joint(self, level: float, draws: int = 20_000) -> list[tuple[float, float]]:
        """Intervals that hold all at once; see `simultaneous_intervals`."""
        m, errors, degrees = len(self.mean), self.std_errors, self.degrees
        drawn = level
        if m > 1:
            tails = 2 * stats.t.sf(np.abs(self.statistics(draws)), degrees)
            drawn = 1 - np.quantile(tails.min(axis=1), 1 - level)
        # No accident of the draws makes it narrower than for one mean, or wider than Bonferroni's.
        each = np.clip(drawn, level, 1 - (1 - level) / m)
        half = stats.t.ppf((1 + each) / 2, degrees) * errors
        return list(zip((self.mean - half).tolist(), (self.mean + half).tolist(), strict=True))

    def statistics(self, draws: int) -> Floats:
        """(draws, m) t statistics of means that are 0, drawn with their correlation."""
        rng = np.random.default_rng(0)
        norms = np.outer(self.std_errors, self.std_errors)
        correlation = self.covariance / np.where(norms > 0, norms, 1)
        normal = rng.multivariate_normal(np.zeros(len(norms)), correlation, draws)
        chi = rng.chisquare(self.part_degrees, (draws, len(self.part_degrees)))
        total = self.parts.sum(axis=1, keepdims=True)
        even = np.full_like(self.parts, 1 / self.parts.shape[1])
        shares = np.divide(self.parts, total, out=even, where=total > 0)
        return np.asarray(normal / np.sqrt(chi / self.part_degrees @ shares.T))


def n_clusters(weight: Floats, groups: Array | None) -> int:
    """Number of clusters with any weight."""
    return int(np.count_nonzero(np.bincount(cluster_codes(len(weight), groups), weight)))


def cluster_codes(n_rows: int, groups: Array | None) -> Array:
    """(n,) codes of clusters in the order of their labels; without labels, each row is one."""
    if groups is None:
        return np.arange(n_rows)
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def check_level(level: Any) -> None:
    """Refuse a level of an interval that isn't between 0 and 1."""
    allowed = pd.Interval(0, 1, closed="neither")
    number(level, allowed, "Expected a level between 0 and 1, such as .95", "Pass a share.")


def same_rows(
    weight: Any, groups: Any, **columns: Any
) -> tuple[list[Floats], Floats, Array | None]:
    """(n,) columns, weights (ones where there are none) and cluster labels of the same rows.

    Raises
    ------
    ValueError
        If they have several lengths or are pandas objects of different indexes; numbers aren't
        finite, weights are negative or all zero, or labels are missing.
    """
    check_same_rows(**columns, weight=weight, groups=groups)
    given = columns if weight is None else {**columns, "weight": weight}
    found = {k: numbers(k, as_array(v), "Leave those rows out.") for k, v in given.items()}
    n = next(iter(found.values())).size
    labels = None if groups is None else as_array(groups)
    for name, values in [*found.items(), ("groups", labels)]:
        if values is not None:
            fits = values.shape == (n,) and n > 0
            check_shape(name, fits, f"({n or 'n'},)", values.shape)
    check_groups(labels)
    weights = found.pop("weight", np.ones(n))
    check_weight(weights)
    return list(found.values()), weights, labels


def sums(member: Array | None, values: Floats, least: int = 0) -> Floats:
    """Sums of values by member, of `least` members or more; without, each value is a sum."""
    if member is None:
        return values
    return np.asarray(np.bincount(member, values, least), dtype=float)
