"""Average effects: doubly robust scores, and intervals for their means."""

from dataclasses import dataclass

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import Estimate, Means, check_level
from metalearners.showing.results import Several, Shown


@dataclass(frozen=True)
class AverageEffect(Shown):
    """An arm's average effect.

    Parameters
    ----------
    effect : Estimate
        With its pointwise interval.
    joint : tuple of float
        Ends of the interval that holds for all arms at once.
    """

    effect: Estimate
    joint: tuple[float, float]


def aipw_scores(y: Array, w: Array, mu: Floats, e: Floats) -> Floats:
    r"""Doubly robust score of each row and arm; its mean estimates the arm's mean outcome.

    .. math:: \Gamma_k = \mu_k(X) + \frac{1[W = k]}{e_k(X)} (Y - \mu_k(X))

    Parameters
    ----------
    y, w : (n,) array
        Outcome and arm codes.
    mu, e : (n, K) array
        Outcome expectations and propensities by arm.

    Returns
    -------
    (n, K) array
        Scores in units of the outcome.

    References
    ----------
    Robins, Rotnitzky and Zhao (1994), JASA 89(427), pp. 846-866.
    """
    check_same_rows(y=y, w=w, mu=mu, e=e)
    y, w, mu, e = map(as_array, (y, w, mu, e))
    received = w[:, None] == np.arange(mu.shape[1])
    return mu + received * (y[:, None] - mu) / e


def average_effects(
    scores: Floats,
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
    level: float = 0.95,
) -> list[AverageEffect]:
    """Average effects of the arms other than the control, with pointwise and joint intervals.

    Parameters
    ----------
    scores : (n, K) array
        Doubly robust scores by arm, the control first.
    w : (n,) array of int
        Arm codes.
    weight, groups, level
        As for `mean_with_error`.

    Raises
    ------
    ValueError
        As for `mean_with_error`.
    """
    check_level(level)
    check_same_rows(scores=scores, w=w, weight=weight, groups=groups)
    scores = as_array(scores)
    made = Means.checked(scores[:, 1:] - scores[:, :1], weight, groups, as_array(w))
    pairs = zip(made.estimates(level), made.joint(level), strict=True)
    return Several(AverageEffect(effect, joint) for effect, joint in pairs)


def difference_in_means(
    y: Array, w: Array, arm: int, weight: Floats | None = None, groups: Array | None = None
) -> Estimate:
    """Plain difference of an arm's mean outcome and the control's, without any adjustment.

    The jackknife of each mean, over the rows or clusters of its own arm, gives the error. Without
    weights and clusters that is Welch's, s_k^2 / n_k + s_0^2 / n_0, with his degrees of freedom.

    Raises
    ------
    ValueError
        If an arm has only one row or cluster.

    References
    ----------
    Welch (1947), Biometrika 34, pp. 28-35. Bell and McCaffrey (2002), Survey Methodology 28(2),
    pp. 169-181: why errors of small or unequal arms need it.
    """
    check_same_rows(y=y, w=w, weight=weight, groups=groups)
    y, w = as_array(y), as_array(w)
    v = np.ones(len(y)) if weight is None else as_array(weight)
    clusters = None if groups is None else np.asarray(groups)
    used = (w == arm) | (w == 0)
    if not used.all():  # else they would be copied
        y, w, v = y[used], w[used], v[used]
        clusters = None if clusters is None else clusters[used]
    made = Means.of(_raw_scores(y, w, arm, v)[:, None], v, clusters, w == arm, by_arm=True)
    return made.estimates(0.95)[0]


def adjustment(
    scores: Floats,
    y: Array,
    w: Array,
    arm: int,
    weight: Floats | None = None,
    groups: Array | None = None,
    level: float = 0.95,
    propensity: Floats | None = None,
) -> Estimate:
    r"""What adjustment changes: an arm's doubly robust effect minus the difference in means.

    Where chance drew the arms, both estimate the same, and this is 0 but for chance. Its error is
    that of the mean of the rows' differences,

    .. math:: \Gamma_k - \Gamma_0 - \hat\Delta
        - \frac{1[W = k] (Y - \bar Y_k)}{n_k / n} + \frac{1[W = 0] (Y - \bar Y_0)}{n_0 / n}

    Where chance drew them with probabilities that differ between rows, the means and shares weigh
    each row by the inverse of its arm's probability.

    Parameters
    ----------
    scores : (n, K) array
        Doubly robust scores by arm, the control first.
    y, w : (n,) array
        Outcome and arm codes.
    arm : int
        The arm's code.
    weight, groups, level
        As for `mean_with_error`.
    propensity : (n, K) array, optional
        Known probabilities of the arms; without, all rows have the same.

    Raises
    ------
    ValueError
        As for `mean_with_error`.

    References
    ----------
    Hausman (1978), Econometrica 46(6), pp. 1251-1271: the comparison of two estimators that agree
    under the null. Hajek (1971): means by inverse probabilities.
    """
    check_same_rows(scores=scores, y=y, w=w, weight=weight, groups=groups, propensity=propensity)
    scores, y, w = map(as_array, (scores, y, w))
    v = np.ones(len(y)) if weight is None else as_array(weight)
    drawn = 1.0 if propensity is None else 1 / as_array(propensity)[np.arange(len(w)), w]
    own = scores[:, arm] - scores[:, 0] - _raw_scores(y, w, arm, v, drawn)
    return Means.checked(own[:, None], weight, groups, w).estimates(level)[0]


def _raw_scores(y: Array, w: Array, arm: int, v: Floats, drawn: Floats | float = 1.0) -> Floats:
    """(n,) scores whose weighted mean is the difference of an arm's mean and the control's.

    Means weigh rows by `v` times `drawn`.
    """
    scores = np.zeros(len(y))
    difference = 0.0
    drawn = np.broadcast_to(drawn, len(y))
    for rows, sign in ((w == arm, 1.0), (w == 0, -1.0)):
        own = v[rows] * drawn[rows]
        mean = float(np.average(y[rows], weights=own))
        difference += sign * mean
        scores[rows] = sign * (y[rows] - mean) * drawn[rows] * v.sum() / own.sum()
    scores += difference
    return scores
