"""RATEs of rules that were each fitted on more rows, put together as one test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from metalearners.evaluation.judging.rate import Rate
from metalearners.evaluation.means import Estimate, check_level
from metalearners.showing.results import Shown


@dataclass(frozen=True)
class Sequential(Shown):
    """Whether the effect differs between rows, by all of them.

    Parameters
    ----------
    autoc : Estimate
        Mean of the steps' AUTOCs. Its truth is the mean AUTOC of the rules that were fitted.
    p_value, p_greater : float
        Two-sided, of the hypothesis that no rule orders rows better or worse than chance; and
        one-sided. They need not agree with the interval of `autoc`, which weighs steps alike.
    steps : tuple of Estimate
        AUTOC of each step.
    """

    autoc: Estimate
    p_value: float
    p_greater: float
    steps: tuple[Estimate, ...]


def sequential(rates: Sequence[Rate], level: float = 0.95) -> Sequential:
    r"""The test of AUTOCs of steps, each of a rule fitted on the rows of earlier steps.

    .. math:: z = \frac1{\sqrt S} \sum_{s=1}^S z_s, \quad
        \overline{AUTOC} = \frac1S \sum_s AUTOC_s, \quad
        \widehat{SE} = \frac1S \sqrt{\sum_s \widehat{SE}_s^2}

    with the normal quantile z_s of a step's p-value. Given the earlier rows, a step's z has mean 0
    and variance 1 where nothing orders rows better than chance; so sums of them are normal, though
    steps share rows. A step whose estimates are all tied has z = 0.

    Parameters
    ----------
    rates : sequence of Rate
        AUTOC of each step, on rows that neither the rule nor the nuisances of its scores have seen.
    level : float
        Of the interval.

    Raises
    ------
    ValueError
        If there is no step, or `level` isn't between 0 and 1.

    References
    ----------
    Luedtke and van der Laan (2016), Annals of Statistics 44(2), pp. 713-742: sums of scores that
    are normal given earlier rows. Wager (2024), "Sequential validation of treatment heterogeneity",
    arXiv:2405.05534.
    """
    check_level(level)
    if not rates:
        raise ValueError("Expected the RATE of a step or more; found none. Use two folds or more.")
    found = [one.estimate for one in rates]
    z = float(sum(map(_normal, rates))) / np.sqrt(len(rates))
    mean = float(np.mean([one.estimate for one in found]))
    variances = np.array([one.std_error**2 for one in found])
    error = float(np.sqrt(variances.sum())) / len(found)
    each = np.sum(variances**2 / [one.degrees for one in found])
    degrees = variances.sum() ** 2 / each if each > 0 else sum(one.degrees for one in found)
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    autoc = Estimate(mean, error, mean - half, mean + half, float(degrees))
    tails = float(2 * stats.norm.sf(abs(z))), float(stats.norm.sf(z))
    return Sequential(autoc, *(tails if error > 0 else (1.0, 1.0)), tuple(found))


def _normal(found: Rate) -> float:
    """The normal quantile of a step's statistic, whose own has few degrees of freedom."""
    if found.estimate.std_error == 0:
        return 0.0
    sign = 1.0 if found.estimate.estimate >= 0 else -1.0
    return sign * float(stats.norm.isf(max(found.p_value / 2, 1e-300)))
