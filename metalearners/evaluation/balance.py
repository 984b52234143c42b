"""Balance: how much features differ between the arms, and how much they would by chance alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from metalearners._typing import Array, Floats, Matrix
from metalearners.base_models.rows import as_frame, as_pandas
from metalearners.data.arguments import count
from metalearners.data.containers import check_matrix, check_same_rows
from metalearners.data.conversion import arm_codes, as_vector
from metalearners.data.dataset import check_weight
from metalearners.evaluation.means import cluster_codes, effective_clusters, same_rows, sums
from metalearners.evaluation.multiplicity import holm
from metalearners.showing.results import Shown


@dataclass(frozen=True, eq=False)
class Balance(Shown):
    """Differences of feature means between each arm and the control, in pooled deviations.

    Parameters
    ----------
    difference : (p, K-1) array
        Of a category, the difference of the level that differs most.
    noise : (p, K-1) array
        The 95 % quantile of the size of a difference where an arm and the control have the same
        means; NaN where an arm has a single row or cluster.
    p_value : (p, K-1) array
        Two-sided, of the hypothesis that the means are the same, feature by feature.
    """

    difference: Floats
    noise: Floats
    p_value: Floats

    @property
    def adjusted(self) -> Floats:
        """(p,) smallest p-value of each feature, adjusted for all features and arms (Holm)."""
        adjusted = holm(self.p_value.ravel()).reshape(self.p_value.shape)
        return np.asarray(adjusted.min(axis=1))

    @property
    def beyond_chance(self) -> int:
        """Features in which some arm differs from the control by more than chance explains."""
        return int((self.adjusted < 0.05).sum())


def balance(
    X: Matrix, w: Array, n_variants: int, weight: Floats | None = None, groups: Array | None = None
) -> Balance:
    r"""Standardized differences, with the sizes that they have by chance alone.

    .. math:: d_{jk} = (\bar x_{jk} - \bar x_{j0}) / \sqrt{(s_{jk}^2 + s_{j0}^2) / 2}

    Standard errors are those of the difference of the two means, clustered by `groups`. Student's
    t has one degree fewer than the smaller number of clusters that an arm is worth
    (`effective_clusters`). A category has the difference of the level that differs most, which is
    the largest of several: Bonferroni's correction adjusts its noise and p-value.

    Parameters
    ----------
    weight : (n,) array, optional
        Sampling weights.
    groups : (n,) array, optional
        Cluster labels; without them, each row is a cluster.

    Raises
    ------
    ValueError
        If features are neither numbers nor categories, `w` isn't of arms, or weights are negative
        or all zero in an arm.

    References
    ----------
    Austin (2009), Statistics in Medicine 28(25), pp. 3083-3107: standardized differences, and
    their spread by chance.
    """
    check_matrix(X)
    check_same_rows(X=X, w=w, weight=weight, groups=groups)
    w = arm_codes(as_vector("w", w, X.shape[0]), count("n_variants", n_variants, least=2))
    weight, groups = same_rows(weight, groups, w=w)[1:]
    check_weight(weight, w)
    X = X if as_frame(X) is None else as_pandas(X)
    member = None if groups is None else cluster_codes(len(w), groups)
    arms = [_Arm.of(w == k, weight, member) for k in range(n_variants)]
    together = groups is not None  # else no cluster has rows of two arms
    # A column at a time: all of them as floats may be twice the features themselves.
    columns = (_as_numbers(X, j) for j in range(X.shape[1]))
    found = np.array([list(_compare(arms, together, *column)) for column in columns])
    difference, error, tests = found[:, :, 0], found[:, :, 1], found[:, :, 2]
    worth = effective_clusters(w, groups, weight)
    freedom = np.maximum(1, np.minimum(worth[1:], worth[0]) - 1)
    noise = special.stdtrit(freedom, 1 - 0.025 / tests) * error
    known = error > 0
    t = np.divide(np.abs(difference), error, out=np.zeros_like(error), where=known)
    p_value = np.where(known, np.minimum(1, 2 * tests * special.stdtr(freedom, -t)), 1)
    return Balance(difference, noise, p_value)


def standardized_differences(
    X: Matrix, w: Array, n_variants: int, weight: Floats | None = None
) -> Floats:
    """Differences of feature means between each arm and the control, in pooled deviations.

    Category columns count by their codes' shares: the largest difference over the levels.

    Returns
    -------
    (p, K-1) array
        Values above about 0.1 are usually called unbalanced, though small arms differ by more by
        chance alone (`balance` says by how much).

    Raises
    ------
    ValueError
        If features are neither numbers nor categories, `w` isn't of arms, or weights are negative
        or all zero in an arm.
    """
    return balance(X, w, n_variants, weight).difference


@dataclass(frozen=True, eq=False)
class _Arm:
    """An arm's rows."""

    rows: Array  # their positions
    weight: Floats  # of each row
    member: Array | None  # cluster of each row; None where each is one
    clusters: int  # number of clusters: of all arms, or of this one where each row is one
    correction: float  # as the mean is estimated from the same clusters

    @classmethod
    def of(cls, received: Array, weight: Floats, member: Array | None) -> "_Arm":
        rows = np.flatnonzero(received)
        mine = None if member is None else member[rows]
        own = np.count_nonzero(sums(mine, weight[rows]))
        correction = float(np.sqrt(own / (own - 1))) if own > 1 else np.nan
        clusters = len(rows) if member is None else int(member.max()) + 1
        return cls(rows, weight[rows], mine, clusters, correction)

    def numbers(self, values: Floats) -> "_ArmMeans":
        own = values[self.rows].astype(float, copy=False)  # codes, of a category without levels
        known = self.weight * ~np.isnan(own)
        filled = np.nan_to_num(own)
        total = known.sum() or np.nan
        mean = np.array([known @ filled / total])
        filled -= mean
        centred = known * filled
        variance = np.array([centred @ filled / total])
        moves = self.correction * sums(self.member, centred / total, self.clusters)[:, None]
        return _ArmMeans(mean, variance, moves, np.broadcast_to(0.0, self.clusters))

    def shares(self, codes: Array, levels: int) -> "_ArmMeans":
        own, share = codes[self.rows], self.weight / self.weight.sum()
        known = own >= 0
        member = np.arange(len(own)) if self.member is None else self.member
        at = (member[known], own[known])
        moves = self.correction * sparse.csr_array((share[known], at), (self.clusters, levels))
        mean = np.bincount(own[known], share[known], levels).astype(float)
        whole = self.correction * sums(self.member, share, self.clusters)
        variance = np.maximum(mean * (1 - mean), 0)  # a share may be above 1 by rounding
        return _ArmMeans(mean, variance, moves, whole)


@dataclass(frozen=True, eq=False)
class _ArmMeans:
    """An arm's means of a number, or its shares of a category's levels.

    A cluster adds the distance of its `sums` from `whole` x `mean` to the error.
    """

    mean: Floats  # (levels,)
    variance: Floats  # (levels,)
    sums: Floats | sparse.csr_array  # (clusters, levels); there may be thousands of levels
    whole: Floats  # (clusters,)

    def error_with(self, other: "_ArmMeans") -> Floats:
        """(levels,) covariance of both arms' means, multiplied out so that it stays sparse."""
        products = self.sums * other.sums
        return np.asarray(
            products.sum(axis=0)
            - other.mean * (other.whole @ self.sums)
            - self.mean * (self.whole @ other.sums)
            + self.mean * other.mean * (self.whole @ other.whole)
        )


def _compare(
    arms: list[_Arm], together: bool, values: Array, levels: int
) -> Iterator[tuple[float, float, int]]:
    """By arm: difference, its standard error, and the number of levels it is the largest of.

    `together` says whether arms may share clusters.
    """
    means = [arm.shares(values, levels) if levels else arm.numbers(values) for arm in arms]
    control = means[0]
    for own in means[1:]:
        pooled = np.sqrt((own.variance + control.variance) / 2)
        gap = own.mean - control.mean
        ratio = np.divide(gap, pooled, out=np.zeros_like(gap), where=pooled > 0)
        at = np.argmax(np.abs(ratio))
        squared = own.error_with(own) + control.error_with(control)
        if together:
            squared = squared - 2 * own.error_with(control)
        error = float(np.sqrt(np.maximum(squared[at], 0)))
        seen = int((pooled > 0).sum())
        tests = seen if seen > 2 else 1  # the two levels of a category differ by the same
        yield ratio[at], error / pooled[at] if pooled[at] > 0 else 0.0, tests


def _as_numbers(X: Matrix, j: int) -> tuple[Array, int]:
    """A column as numbers and 0, or a category's codes and the number of its levels."""
    if sparse.issparse(X):
        return np.asarray(X[:, [j]].toarray()[:, 0], dtype=float), 0
    column = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
    if hasattr(column, "cat"):
        return column.cat.codes.to_numpy().astype(int), len(column.cat.categories)
    try:
        values = np.asarray(column, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(
            f"Expected numbers or categories in each column of X; found {column.dtype} in column "
            f"{j}. Convert it, as with .astype('category')."
        ) from None
    if np.isinf(values).any():
        raise ValueError(
            f"Expected finite or missing values in X; found infinite ones in column {j}. Remove "
            "those rows."
        )
    return values, 0
