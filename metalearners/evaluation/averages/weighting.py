"""What weighting by inverse propensities does: to balance, to the rows' number, and by trimming."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metalearners._typing import Array, Floats, Matrix
from metalearners.data.arguments import check_shape
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import arm_codes, as_array, as_vector
from metalearners.evaluation.averages.nuisances import check_positive
from metalearners.evaluation.balance import standardized_differences
from metalearners.evaluation.means import effective_clusters, same_rows
from metalearners.evaluation.ties import tied
from metalearners.showing.results import Shown


@dataclass(frozen=True, eq=False)
class WeightedBalance(Shown):
    """How much features differ between arms before and after weighting, and what it costs.

    Parameters
    ----------
    before, after : (p, K-1) array
        Standardized differences between each arm and the control, as those of
        `standardized_differences`. Of a category, the level that differs most may be another
        after weighting.
    effective_before, effective_after : (K,) array
        Effective rows, or clusters, of each arm: the number of equal weight that would give a mean
        the same error for equal noise.
    """

    before: Floats
    after: Floats
    effective_before: Floats
    effective_after: Floats


def weighted_balance(
    X: Matrix,
    w: Array,
    e: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
) -> WeightedBalance:
    r"""Standardized differences before and after weighting rows by inverse propensities.

    With sampling weights v, the weights after are :math:`v_i / e_{W_i}(X_i)`; the means and
    deviations of each arm are weighted alike. Good propensities bring the differences near 0,
    whatever the outcome. The effective number is :math:`(\sum v)^2 / \sum v^2` in each arm, over
    the rows' weights or the clusters' sums.

    Parameters
    ----------
    X : (n, p) array or frame
        Features: numbers, or categories.
    w : (n,) array of int
        Arm codes.
    e : (n, K) array
        Propensities by arm.
    weight, groups
        As for `mean_with_error`.

    Raises
    ------
    ValueError
        As for `standardized_differences`, or if propensities aren't above 0 and of the same rows.

    References
    ----------
    Austin and Stuart (2015), Statistics in Medicine 34(28), pp. 3661-3679: balance after weighting
    by the inverse propensity. Kish (1965), Survey Sampling: the effective number of rows.
    """
    check_same_rows(X=X, w=w, e=e, weight=weight, groups=groups)
    e, v, groups = _propensities(e, weight, groups)
    n, k = e.shape
    arms = arm_codes(as_vector("w", w, n), k)
    weighted = v / e[np.arange(n), arms]
    return WeightedBalance(
        before=standardized_differences(X, arms, k, v),
        after=standardized_differences(X, arms, k, weighted),
        effective_before=effective_clusters(arms, groups, v),
        effective_after=effective_clusters(arms, groups, weighted),
    )


@dataclass(frozen=True)
class Trimming(Shown):
    """Which rows of little overlap cost more than they tell: a suggestion, nothing is dropped.

    Parameters
    ----------
    threshold : float
        The rows to keep have a sum of inverse propensities, over the arms, of at most this.
    lowest : float
        The smallest propensity of a row to keep. With two arms, those are the rows with
        propensities of at least this in both arms.
    rows : int
        Number of rows outside, of those with any weight; 0 where trimming wouldn't help.
    share : float
        Their share of the weight.
    saved : float
        By which share the variance of the average effect would be smaller. The effect is then that
        of the rows that are kept, and so another one.
    """

    threshold: float
    lowest: float
    rows: int
    share: float
    saved: float


def trimming(e: Floats, weight: Floats | None = None) -> Trimming:
    r"""The cut of propensities at which the average effect is estimated most precisely.

    Of all sets of rows A, the one of least variance, for equal noise in all rows and arms, is

    .. math:: \sum_k 1 / e_k(X) \le \lambda, \quad \text{least} \quad
        \frac{E\big[1_A \sum_k 1 / e_k(X)\big]}{P(A)^2},

    at :math:`\lambda = 2 \, E\big[\sum_k 1 / e_k(X) \mid A\big]`. With two arms that is
    :math:`\alpha \le e_1 \le 1 - \alpha`. It looks at propensities alone, so that it isn't chosen
    by its result.

    Parameters
    ----------
    e : (n, K) array
        Propensities by arm.
    weight : (n,) array, optional
        Sampling weights: the variance is that of rows drawn from the weighted population.

    Raises
    ------
    ValueError
        If propensities aren't above 0, or not of the same rows as the weights.

    References
    ----------
    Crump, Hotz, Imbens and Mitnik (2009), Biometrika 96(1), pp. 187-199. Yang, Imbens, Cui, Faries
    and Kadziola (2016), Biometrics 72(4), pp. 1055-1065: several arms.

    Examples
    --------
    >>> import numpy as np
    >>> trimming(np.array([[0.5, 0.5]] * 99 + [[0.999, 0.001]])).rows
    1
    """
    check_same_rows(e=e, weight=weight)
    e, weight, _ = _propensities(e, weight, None)
    e, v = e[weight > 0], weight[weight > 0] / weight.sum()
    inverse = (1 / e).sum(axis=1)
    rank = tied(inverse, None)
    share = np.cumsum(np.bincount(rank, v))
    variance = np.cumsum(np.bincount(rank, v * inverse)) / share**2
    best = int(np.argmin(variance))
    kept = rank <= best
    return Trimming(
        threshold=float(inverse[kept].max()),
        lowest=float(e[kept].min()),
        rows=int(np.count_nonzero(~kept)),
        share=float(v[~kept].sum()),
        saved=float(1 - variance[best] / variance[-1]),
    )


def _propensities(e: Any, weight: Any, groups: Any) -> tuple[Floats, Floats, Array | None]:
    e = as_array(e)
    wide = e.ndim == 2 and e.shape[1] > 1
    check_shape("e", wide, "(n, K), a column for the control and each arm", e.shape)
    columns = {f"e {j}": column for j, column in enumerate(e.T)}
    found, weight, groups = same_rows(weight, groups, **columns)
    e = np.column_stack(found)
    check_positive(e)
    return e, weight, groups
