"""Average effects on other populations: the treated rows, and the rows that might be in both."""

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import one_of
from metalearners.evaluation.average_effects import AverageEffect, aipw_scores
from metalearners.evaluation.averages.nuisances import Nuisances
from metalearners.evaluation.means import Means, check_level
from metalearners.showing.results import Several

ALL = "all"
TREATED = "treated"
OVERLAP = "overlap"


def target_effects(
    y: Array,
    w: Array,
    mu: Floats,
    e: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    target: str = ALL,
    level: float = 0.95,
) -> list[AverageEffect]:
    r"""Average effects on a target population: all rows, the treated, or those of most overlap.

    - ``all`` (ATE): the mean of `aipw_scores` of arm k less those of the control.
    - ``treated`` (ATT): the effect on the rows of arm k,

      .. math:: \frac{\sum_{W_i = k} (Y_i - \mu_0)}{\sum_{W_i = k} 1}
          - \frac{\sum_{W_i = 0} r_i (Y_i - \mu_0)}{\sum_{W_i = 0} r_i}, \quad r = e_k / e_0.

      It is right if either the outcomes :math:`\mu_0` or the propensities are, and needs rows like
      the treated among the control alone.
    - ``overlap`` (ATO): the effect weighted by :math:`e_0 e_k / (e_0 + e_k)`, the inverse of the
      variance that a row's effect has for equal noise: rows that are likely in one of both arms
      count little. With :math:`g = e_k / (e_0 + e_k)`, over the rows of both arms,

      .. math:: \frac{\sum (1[W_i = k] - g) (Y_i - (1 - g) \mu_0 - g \mu_k)}
          {\sum (1[W_i = k] - g)^2}.

      It is **not doubly robust** in the propensities: they say whose effect it is, so wrong ones
      give the effect on another population, however good the outcome models are. It moves by the
      square of their error alone.

    Errors come from the influence functions, with nuisances held fixed; the outcome models and
    propensities are out-of-fold or known. The ATT's jackknife is over the rows of each arm.

    Parameters
    ----------
    y, w : (n,) array
        Outcome and arm codes.
    mu, e : (n, K) array
        Outcome expectations and propensities by arm, the control first.
    weight, groups, level
        As for `mean_with_error`.
    target : str
        ``all``, ``treated`` or ``overlap``.

    Returns
    -------
    list of AverageEffect
        Of the arms other than the control; joint intervals hold for all arms. With several arms,
        the populations of ``treated`` and ``overlap`` differ between the arms.

    Raises
    ------
    ValueError
        As for `mean_with_error`; or if `target` is another, an arm has no rows, or, for
        ``treated``, a single one or a single cluster; or propensities aren't above 0.

    References
    ----------
    Hahn (1998), Econometrica 66(2), pp. 315-331: the influence function of the ATT. Li, Morgan and
    Zaslavsky (2018), JASA 113(521), pp. 390-400: the ATO. Robinson (1988), Econometrica 56(4),
    pp. 931-954: its estimate. Hajek (1971): means by inverse probabilities.
    """
    one_of("target", target, (ALL, TREATED, OVERLAP))
    check_level(level)
    rows = Nuisances.of(y, w, mu, e, weight, groups)
    scores = np.column_stack([_SCORES[target](rows, k) for k in range(1, rows.n_variants)])
    made = Means.of(scores, rows.weight, rows.groups, rows.w, by_arm=target == TREATED)
    pairs = zip(made.estimates(level), made.joint(level), strict=True)
    return Several(AverageEffect(effect, joint) for effect, joint in pairs)


def _of_all(rows: Nuisances, arm: int) -> Floats:
    scores = aipw_scores(rows.y, rows.w, rows.mu, rows.e)
    return scores[:, arm] - scores[:, 0]


def _of_treated(rows: Nuisances, arm: int) -> Floats:
    """(n,) scores whose mean is the ATT of an arm."""
    residual = rows.y - rows.mu[:, 0]
    scores = np.zeros(len(residual))
    effect = 0.0
    for code, sign, counts in ((arm, 1, np.ones_like(residual)), (0, -1, _odds(rows, arm))):
        own = (rows.w == code) * counts
        mean = float(np.average(residual, weights=rows.weight * own))
        scores += sign * own / np.average(own, weights=rows.weight) * (residual - mean)
        effect += sign * mean
    return scores + effect


def _odds(rows: Nuisances, arm: int) -> Floats:
    return rows.e[:, arm] / rows.e[:, 0]


def _of_overlap(rows: Nuisances, arm: int) -> Floats:
    """(n,) scores whose mean is the ATO of an arm."""
    odds = _odds(rows, arm)
    g = odds / (1 + odds)
    pair = (rows.w == 0) | (rows.w == arm)
    surprise = pair * ((rows.w == arm) - g)
    residual = rows.y - (1 - g) * rows.mu[:, 0] - g * rows.mu[:, arm]
    information = np.average(surprise**2, weights=rows.weight)
    effect = np.average(surprise * residual, weights=rows.weight) / information
    return surprise * (residual - effect * surprise) / information + effect


_SCORES = {ALL: _of_all, TREATED: _of_treated, OVERLAP: _of_overlap}
