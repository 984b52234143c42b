"""Average effects: doubly robust scores, and intervals for their means."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from metalearners._typing import Array, Floats


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Parameters
    ----------
    estimate, std_error : in units of the outcome
    ci_low, ci_high : 95 % interval, by Student's t with one degree fewer than there are clusters
    """

    estimate: float
    std_error: float
    ci_low: float
    ci_high: float


def aipw_scores(y: Array, w: Array, mu: Floats, e: Floats) -> Floats:
    r"""Doubly robust score of each row and arm; its mean estimates the arm's mean outcome.

    .. math:: \Gamma_k = \mu_k(X) + \frac{1[W = k]}{e_k(X)} (Y - \mu_k(X))

    Parameters
    ----------
    y, w : (n,) outcome and arm codes
    mu, e : (n, K) outcome expectations and propensities by arm

    Returns
    -------
    (n, K) scores, in units of the outcome

    References
    ----------
    Robins, Rotnitzky and Zhao (1994), JASA 89(427), pp. 846-866.
    """
    received = w[:, None] == np.arange(mu.shape[1])
    return mu + received * (y[:, None] - mu) / e


def mean_with_error(
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    level: float = 0.95,
    ddof: int = 1,
) -> Estimate:
    r"""Weighted mean of scores, with a standard error that allows for clusters.

    .. math:: \widehat{SE} = \sqrt{\frac{G}{G - 1} \sum_g
        \left(\sum_{i \in g} w_i (\Gamma_i - \bar\Gamma)\right)^2} \Big/ \sum_i w_i

    Parameters
    ----------
    scores : (n,)
    weight : (n,) sampling weights
    groups : (n,) cluster labels; each row is its own where None
    ddof : 1 for G - 1 as above; 0 for G, without the correction

    Raises
    ------
    ValueError
        If there is one cluster only, whose mean has no error to estimate.
    """
    w = np.ones(len(scores)) if weight is None else weight
    mean = float(np.average(scores, weights=w))
    sums = cluster_sums(w * (scores - mean), groups)
    n_clusters = len(sums)
    if n_clusters < 2:
        raise ValueError(
            f"Expected two rows or clusters or more for a standard error; found {n_clusters}. "
            "Cluster by a finer group."
        )
    correction = n_clusters / (n_clusters - ddof)
    error = float(np.sqrt(correction * np.sum(sums**2)) / w.sum())
    half = float(stats.t.ppf((1 + level) / 2, n_clusters - 1)) * error
    return Estimate(mean, error, mean - half, mean + half)


def simultaneous_intervals(
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    level: float = 0.95,
    draws: int = 20_000,
) -> list[tuple[float, float]]:
    r"""Intervals for the means of several scores that hold all at once.

    Each is as wide as the largest of the correlated t statistics demands: the sup-t band
    :math:`\bar\Gamma_k \pm c \, \widehat{SE}_k`, c the quantile of :math:`\max_k |T_k|`.

    Parameters
    ----------
    scores : (n, m)
    weight, groups : as for `mean_with_error`
    draws : of the statistics under their estimated correlation, from a fixed seed

    References
    ----------
    Montiel Olea and Plagborg-Møller (2019), Journal of Applied Econometrics 34(1), pp. 1-17.
    """
    means = [mean_with_error(column, weight, groups) for column in scores.T]
    w = np.ones(len(scores)) if weight is None else weight
    centred = w[:, None] * (scores - [one.estimate for one in means])
    sums = np.column_stack([cluster_sums(column, groups) for column in centred.T])
    norms = np.linalg.norm(sums, axis=0)
    correlation = sums.T @ sums / np.where(norms > 0, np.outer(norms, norms), 1)
    rng = np.random.default_rng(0)
    normal = rng.multivariate_normal(np.zeros(len(means)), correlation, draws)
    chi = np.sqrt(rng.chisquare(len(sums) - 1, draws) / (len(sums) - 1))
    critical = float(np.quantile(np.abs(normal).max(axis=1) / chi, level))
    half = [critical * one.std_error for one in means]
    return [(m.estimate - h, m.estimate + h) for m, h in zip(means, half, strict=True)]


def difference_in_means(
    y: Array, w: Array, arm: int, weight: Floats | None = None, groups: Array | None = None
) -> Estimate:
    """Plain difference of an arm's mean outcome and the control's, without any adjustment.

    The same standard error as that of a regression on the arm's indicator, clustered: rows are
    scored by their influence on the difference.
    """
    used = (w == arm) | (w == 0)
    y, treated = y[used], w[used] == arm
    v = np.ones(len(y)) if weight is None else weight[used]
    n = v.sum()
    scores = np.zeros(len(y))
    difference = 0.0
    for rows, sign in ((treated, 1.0), (~treated, -1.0)):
        mean = float(np.average(y[rows], weights=v[rows]))
        difference += sign * mean
        scores[rows] = sign * (y[rows] - mean) * n / v[rows].sum()
    clusters = None if groups is None else np.asarray(groups)[used]
    return mean_with_error(difference + scores, None if weight is None else v, clusters)


def cluster_sums(values: Floats, groups: Array | None) -> Floats:
    """Sums of values by cluster; the values themselves where there are no clusters."""
    if groups is None:
        return values
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray(np.bincount(member, weights=values), dtype=float)
