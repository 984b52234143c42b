"""Average effects: doubly robust scores, and intervals for their means."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from metalearners._typing import Array, Floats
from metalearners.arguments import check_shape, count, number, numbers
from metalearners.containers import check_same_rows
from metalearners.dataset import check_groups, check_weight
from metalearners.inputs import as_array


@dataclass(frozen=True)
class Estimate:
    """A mean with its uncertainty.

    Parameters
    ----------
    estimate, std_error : in units of the outcome
    ci_low, ci_high : interval at the level asked for, 95 % by default, by Student's t with one
        degree fewer than there are clusters
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
    check_same_rows(y=y, w=w, mu=mu, e=e)
    y, w, mu, e = map(as_array, (y, w, mu, e))
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
    level : of the interval
    ddof : 1 for G - 1 as above; 0 for G, without the correction

    Raises
    ------
    ValueError
        If there is one cluster only, whose mean has no error to estimate; or `level` isn't
        between 0 and 1, or values aren't finite and of the same rows.
    """
    check_level(level)
    (scores,), w, groups = same_rows(weight, groups, scores=scores)
    mean = float(np.average(scores, weights=w))
    sums = cluster_sums(w * (scores - mean), groups)
    clusters = n_clusters(w, groups)
    if clusters < 2:
        raise ValueError(
            f"Expected two rows or clusters or more for a standard error; found {clusters}. "
            "Cluster by a finer group."
        )
    correction = clusters / (clusters - ddof)
    error = float(np.sqrt(correction * np.sum(sums**2)) / w.sum())
    half = float(stats.t.ppf((1 + level) / 2, clusters - 1)) * error
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
    check_same_rows(scores=scores, weight=weight, groups=groups)
    scores = as_array(scores)
    check_shape("scores", scores.ndim == 2 and scores.size > 0, "(n, m)", scores.shape)
    means = [mean_with_error(column, weight, groups) for column in scores.T]
    w = np.ones(len(scores)) if weight is None else as_array(weight)
    centred = w[:, None] * (scores - [one.estimate for one in means])
    sums = np.column_stack([cluster_sums(column, groups) for column in centred.T])
    norms = np.linalg.norm(sums, axis=0)
    correlation = sums.T @ sums / np.where(norms > 0, np.outer(norms, norms), 1)
    rng = np.random.default_rng(0)
    normal = rng.multivariate_normal(np.zeros(len(means)), correlation, draws)
    freedom = n_clusters(w, groups) - 1
    chi = np.sqrt(rng.chisquare(freedom, draws) / freedom)
    drawn = float(np.quantile(np.abs(normal).max(axis=1) / chi, level))
    # Never narrower than for one mean alone, nor wider than Bonferroni's, by an accident of draws.
    single, bonferroni = (
        float(stats.t.ppf(1 - (1 - level) / 2 / m, freedom)) for m in (1, len(means))
    )
    critical = min(max(drawn, single), bonferroni)
    half = [critical * one.std_error for one in means]
    return [(m.estimate - h, m.estimate + h) for m, h in zip(means, half, strict=True)]


def difference_in_means(
    y: Array, w: Array, arm: int, weight: Floats | None = None, groups: Array | None = None
) -> Estimate:
    """Plain difference of an arm's mean outcome and the control's, without any adjustment.

    The same standard error as that of a regression on the arm's indicator, clustered: rows are
    scored by their influence on the difference.
    """
    check_same_rows(y=y, w=w, weight=weight, groups=groups)
    y, w = as_array(y), as_array(w)
    used = (w == arm) | (w == 0)
    y, treated = y[used], w[used] == arm
    v = np.ones(len(y)) if weight is None else as_array(weight)[used]
    n = v.sum()
    scores = np.zeros(len(y))
    difference = 0.0
    for rows, sign in ((treated, 1.0), (~treated, -1.0)):
        mean = float(np.average(y[rows], weights=v[rows]))
        difference += sign * mean
        scores[rows] = sign * (y[rows] - mean) * n / v[rows].sum()
    clusters = None if groups is None else np.asarray(groups)[used]
    return mean_with_error(difference + scores, None if weight is None else v, clusters)


def n_clusters(weight: Floats, groups: Array | None) -> int:
    """Number of clusters with any weight."""
    return int(np.count_nonzero(cluster_sums(weight, groups)))


def check_level(level: Any) -> None:
    """Refuse a level of an interval that isn't between 0 and 1."""
    allowed = pd.Interval(0, 1, closed="neither")
    number(level, allowed, "Expected a level between 0 and 1, such as .95", "Pass a share.")


def same_rows(
    weight: Any, groups: Any, **columns: Any
) -> tuple[list[Floats], Floats, Array | None]:
    """Columns, weights (ones where there are none) and cluster labels of the same rows.

    Parameters
    ----------
    columns : (n,) arrays, lists or series of numbers

    Raises
    ------
    ValueError
        If they aren't of one length or are pandas objects of different indexes; numbers aren't
        finite, weights negative or all zero, or
        labels missing.
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


def cluster_sums(values: Floats, groups: Array | None) -> Floats:
    """Sums of values by cluster; the values themselves where there are no clusters."""
    if groups is None:
        return values
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    return np.asarray(np.bincount(member, weights=values), dtype=float)
