"""Figures of several draws of the folds and of the hold-out, as one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from metalearners.evaluation.judging.rate import Rate
from metalearners.evaluation.means import Estimate, check_level
from metalearners.showing.results import Shown


@dataclass(frozen=True)
class Stability(Shown):
    """How much a figure moves with the draw of the folds.

    Parameters
    ----------
    median, lowest, highest : float
        Over the draws, in units of the figure.
    spread : float
        Standard deviation over the draws; 0 for one draw.
    relative : float
        `spread` over the median standard error of a draw: far below 1 where the draw hardly
        matters. NaN where a figure has no error.
    """

    median: float
    lowest: float
    highest: float
    spread: float
    relative: float


def median_average(found: Sequence[Estimate], level: float = 0.95) -> Estimate:
    r"""An average effect over draws of the folds: it is the same effect in each draw.

    .. math:: \tilde\theta = \text{median}_r \, \hat\theta_r, \quad
        \widetilde{SE}^2 = \text{median}_r \big( \widehat{SE}_r^2
        + (\hat\theta_r - \tilde\theta)^2 \big)

    Parameters
    ----------
    found : sequence of Estimate
        One a draw.
    level : float
        Of the interval.

    Raises
    ------
    ValueError
        If there is no draw, or `level` isn't between 0 and 1.

    References
    ----------
    Chernozhukov, Chetverikov, Demirer, Duflo, Hansen, Newey and Robins (2018), Econometrics
    Journal 21(1), definition 3.3.

    Examples
    --------
    >>> draws = [Estimate(1.0, 0.3, 0, 2, 99), Estimate(1.4, 0.3, 0, 2, 99)]
    >>> round(median_average(draws).std_error, 4)
    0.3606
    """
    check_level(level)
    _check_some(found)
    middle = float(np.median([one.estimate for one in found]))
    squares = [one.std_error**2 + (one.estimate - middle) ** 2 for one in found]
    degrees = float(np.median([one.degrees for one in found]))
    error = float(np.sqrt(np.median(squares)))
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
    return Estimate(middle, error, middle - half, middle + half, degrees)


def median_metric(found: Sequence[Estimate], level: float = 0.95) -> Estimate:
    r"""A figure of held-out rows over draws of these: each draw judges a rule of its own.

    The ends are medians of ends at the level :math:`1 - \alpha / 2`: as half of the draws may be
    on one side of theirs, that holds for the median rule at :math:`1 - \alpha`. The error is the
    median error. A single draw is as it is.

    Parameters
    ----------
    found, level
        As for `median_average`.

    Raises
    ------
    ValueError
        As for `median_average`.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernández-Val (2025), Econometrica 93(4), section 3.2:
    inference that allows for the draw of the split.
    """
    check_level(level)
    _check_some(found)
    asked = level if len(found) == 1 else (1 + level) / 2
    half = [float(stats.t.ppf((1 + asked) / 2, one.degrees)) * one.std_error for one in found]
    value = np.array([one.estimate for one in found])
    return Estimate(
        estimate=float(np.median(value)),
        std_error=float(np.median([one.std_error for one in found])),
        ci_low=float(np.median(value - half)),
        ci_high=float(np.median(value + half)),
        degrees=float(np.median([one.degrees for one in found])),
    )


def median_p_value(p: Sequence[float]) -> float:
    """A test's p-value over draws: twice the median one, 1 at most; of one draw its own.

    Twice the median is a p-value whatever the dependence between draws.

    Examples
    --------
    >>> median_p_value([0.01, 0.02, 0.4])
    0.04
    """
    _check_some(p)
    return float(p[0]) if len(p) == 1 else min(1.0, 2 * float(np.median(p)))


def median_rate(found: Sequence[Rate], level: float = 0.95) -> Rate:
    """A RATE over draws, by `median_metric` and `median_p_value`.

    Raises
    ------
    ValueError
        As for `median_average`.
    """
    return Rate(
        median_metric([one.estimate for one in found], level),
        median_p_value([one.p_value for one in found]),
        median_p_value([one.p_greater for one in found]),
    )


def median_joint(
    joint: Sequence[tuple[float, float]], found: Sequence[Estimate], whole: Estimate
) -> tuple[float, float]:
    """Ends of an average's joint interval over draws, as many errors wide as those of the draws.

    Parameters
    ----------
    joint : sequence of tuple of float
        The joint interval of each draw.
    found : sequence of Estimate
        The average of each draw.
    whole : Estimate
        Their `median_average`.
    """
    pairs = zip(joint, found, strict=True)
    wide = [(high - low) / 2 / one.std_error for (low, high), one in pairs if one.std_error > 0]
    half = (float(np.median(wide)) if wide else 0.0) * whole.std_error
    return whole.estimate - half, whole.estimate + half


def stability(found: Sequence[Estimate]) -> Stability:
    """How much a figure moves over draws.

    Raises
    ------
    ValueError
        If there is no draw.
    """
    _check_some(found)
    values = np.array([one.estimate for one in found])
    error = float(np.median([one.std_error for one in found]))
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    relative = spread / error if error > 0 else float("nan")
    ends = float(np.median(values)), float(values.min()), float(values.max())
    return Stability(*ends, spread, relative)


def _check_some(found: Sequence[object]) -> None:
    if not len(found):
        raise ValueError("Expected the figure of a draw or more; found none. Pass one a draw.")
