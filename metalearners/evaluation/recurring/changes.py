"""Changes between runs: what is different from earlier ones by more than chance explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from metalearners.showing.results import Shown

LEVEL = 1e-3
"""Chance that a run raises an event of a kind although nothing has changed."""


@dataclass(frozen=True)
class Figure(Shown):
    """A run's estimate: an average effect, or a Qini.

    Parameters
    ----------
    estimate, std_error : float
        In units of the outcome.
    degrees : float
        Degrees of freedom of the error.
    """

    estimate: float
    std_error: float
    degrees: float = np.inf


@dataclass(frozen=True)
class Fall(Shown):
    """How far a figure has come towards 0.

    Parameters
    ----------
    before : float
        Mean of the earlier runs.
    p_value : float
        One-sided, of the hypothesis that the figure is as far from 0 as before.
    """

    before: float
    p_value: float


def fall(now: Figure, earlier: Sequence[Figure]) -> Fall:
    r"""Whether a figure is closer to 0 than in earlier runs.

    .. math:: t = s \, \frac{\bar\theta - \hat\theta}{\sqrt{\bar{SE}^2 + SE^2}}, \quad
        \bar\theta = \sum_j a_j \hat\theta_j, \quad \bar{SE} = \sum_j a_j SE_j, \quad
        a_j \propto SE_j^{-2},

    with the sign s of the earlier mean, against Student's t with Welch's degrees of freedom. The
    mean's error bounds what it is however the earlier runs depend on each other, as those do whose
    windows overlap. If this run shares rows with them too, p is too large.

    All earlier runs count, also those whose figure nobody claimed. A mean of claimed figures alone
    would be too large by the choice, and what follows would seem to fall.

    Parameters
    ----------
    now : Figure
    earlier : sequence of Figure
        One or more, whose standard errors are above 0.

    Examples
    --------
    >>> found = fall(Figure(0.0, 0.3), [Figure(2.0, 0.4)] * 3)
    >>> round(found.before, 3), round(found.p_value, 6)
    (2.0, 3.2e-05)
    """
    estimates, errors, degrees = np.array([(o.estimate, o.std_error, o.degrees) for o in earlier]).T
    share = errors**-2.0 / np.sum(errors**-2.0)
    before, error = float(share @ estimates), float(share @ errors)
    total = error**2 + now.std_error**2
    freedom = total**2 / (error**4 / degrees.min() + now.std_error**4 / now.degrees + 1e-300)
    t = np.sign(before) * (before - now.estimate) / np.sqrt(total)
    return Fall(before, float(special.stdtr(min(freedom, 1e9), -t)))


def chance_unseen(found: float, among: float, before: float) -> float:
    """Probability that rows of a level are all among new rows, although it isn't a new level.

    Parameters
    ----------
    found : float
        Number of rows with the level.
    among : float
        Number of the new rows.
    before : float
        Number of the earlier rows, of which none has the level.

    Examples
    --------
    >>> chance_unseen(10, 1000, 1000)
    0.0009765625
    """
    return float((among / (among + before)) ** found)
