"""Curves of treating rows by priority, with intervals at each share and bands over all."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from metalearners._typing import Array, Floats
from metalearners.data.containers import check_same_rows
from metalearners.evaluation.judging.rate import Ranking
from metalearners.evaluation.judging.tops import SHARES, Tops
from metalearners.evaluation.means import Estimate, check_level, same_rows
from metalearners.showing.results import Shown

_DRAWS = 10_000
_BRIEFLY = (0.1, 0.3, 0.5)  # shares that stand for a curve inside another result


@dataclass(frozen=True, eq=False)
class Curve(Shown):
    """A curve over the share of rows treated, highest priorities first.

    Parameters
    ----------
    share : (m,) array
        Shares q, from 1/100 to 1.
    value, std_error : (m,) array
        In units of the outcome.
    low, high : (m,) array
        Ends of intervals, each of which holds for its share alone, by Student's t.
    joint_low, joint_high : (m,) array
        Ends of a band that holds for all shares at once; NaN for shares before it begins.
    degrees : (m,) array
        Degrees of freedom of that t.
    """

    share: Floats
    value: Floats
    std_error: Floats
    low: Floats
    high: Floats
    joint_low: Floats
    joint_high: Floats
    degrees: Floats

    def at(self, share: float) -> Estimate:
        """The point at one of the curve's shares, with its interval."""
        k = int(np.argmin(np.abs(self.share - share)))
        columns = (self.value, self.std_error, self.low, self.high, self.degrees)
        return Estimate(*(float(column[k]) for column in columns))

    def _brief(self) -> str:
        return "; ".join(f"at {share}: {self.at(share)}" for share in _BRIEFLY)


@dataclass(frozen=True, eq=False)
class Gain(Shown):
    r"""What treating rows by priority gains, as the field's curves; q is the share treated.

    Parameters
    ----------
    gain : Curve
        Effect of treating the top q, per row of the whole population:
        :math:`G(q) = E[1\{\text{top } q\} \, \Gamma]`.
    above_line : Curve
        The Qini curve: the gain above that of treating as many at random, G(q) - q G(1). Its area
        is QINI (`rate`).
    uplift : Curve
        Mean effect of the top q, G(q) / q: uplift at k.
    toc : Curve
        The targeting operator characteristic, G(q) / q - G(1). Its area is AUTOC.
    deciles : list of Estimate
        Mean effect of each tenth of the rows, the highest priorities first.
    begin : float
        The share from which bands hold: .05, or more where the top has fewer than 50 rows of an
        arm.
    """

    gain: Curve
    above_line: Curve
    uplift: Curve
    toc: Curve
    deciles: list[Estimate]
    begin: float


def gain_curve(
    priority: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    level: float = 0.95,
    tolerance: float | None = None,
) -> Gain:
    r"""Curves of treating rows by priority, highest first; within ties they are straight.

    Errors come from influences. Those on the gain above the line are

    .. math:: \psi_i(q) = (A_i(q) - q) (\Gamma_i - E[\Gamma \mid u = q]) - D(q),

    with A = 1 for the rows of the top q. The mean score of rows at rank u = q is there as ranks
    are estimated. It is that of a window around q, as wide as the fifth root of the number of rows
    or clusters allows. The priority is taken as given: fit it on other rows.

    Parameters
    ----------
    priority : (n,) array
        What rows are ranked by, such as CATE estimates.
    scores : (n,) array
        Doubly robust scores of the effect.
    weight, groups, arms
        As for `mean_with_error`. Degrees of freedom are those of the rows in the top.
    level : float
        Of the intervals and of the bands.
    tolerance : float, optional
        Priorities closer than this are ties; by default the `rounding` of the priorities.

    Raises
    ------
    ValueError
        As for `mean_with_error`.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), "Evaluating treatment prioritization
    rules via rank-weighted average treatment effects", JASA 120(549). Montiel Olea and
    Plagborg-Møller (2019), Journal of Applied Econometrics 34(1), pp. 1-17: the sup-t band.
    """
    check_level(level)
    check_same_rows(scores=scores, arms=arms)
    (priority, scores), w, groups = same_rows(weight, groups, priority=priority, scores=scores)
    codes = np.zeros(len(w), dtype=np.int64) if arms is None else np.asarray(arms)
    tops = Tops.of(Ranking.of(priority, w, tolerance), scores, groups, codes)
    each, mean = np.eye(len(SHARES)), np.ones((len(SHARES), 1))
    gain = np.hstack([each, SHARES[:, None]])  # from the gain above the line, and the mean
    tenths = np.diff(gain[9::10], axis=0, prepend=0) * 10
    return Gain(
        gain=_curve(tops, gain, level),
        above_line=_curve(tops, np.hstack([each, 0 * mean]), level, beside_rest=True),
        uplift=_curve(tops, gain / SHARES[:, None], level),
        toc=_curve(tops, np.hstack([each / SHARES[:, None], 0 * mean]), level, beside_rest=True),
        deciles=list(_tenths(tops, tenths, level)),
        begin=tops.begin,
    )


def _curve(tops: Tops, map_: Floats, level: float, beside_rest: bool = False) -> Curve:
    """The curve of a linear map of the tops' figures, a row a share.

    Where it compares the top with the rest, few rows on either side make it uncertain.
    """
    within = np.minimum(tops.within, 1 - tops.within) if beside_rest else tops.within
    value, covariance, degrees = tops.mapped(map_, within)
    error = np.sqrt(np.maximum(covariance.diagonal(), 0))  # below 0 by rounding
    half = stats.t.ppf((1 + level) / 2, degrees) * error
    there = (tops.begin <= SHARES) & ((tops.end if beside_rest else 1) >= SHARES)
    wide = np.where(there, 0.0, np.nan)
    joint = there & (error > 0)
    if joint.any():
        held = np.ix_(joint, joint)
        wide[joint] = sup_t(covariance[held], degrees[joint], level) * error[joint]
    ends = (value - half, value + half, value - wide, value + wide)
    return Curve(SHARES, value, error, *ends, degrees)


def _tenths(tops: Tops, map_: Floats, level: float) -> Iterator[Estimate]:
    within = np.diff(tops.within[:, 9::10], axis=1, prepend=0)
    value, covariance, degrees = tops.mapped(map_, within)
    error = np.sqrt(np.maximum(covariance.diagonal(), 0))  # below 0 by rounding
    half = stats.t.ppf((1 + level) / 2, degrees) * error
    for row in zip(value, error, value - half, value + half, degrees, strict=True):
        yield Estimate(*map(float, row))


def sup_t(covariance: Floats, degrees: Floats, level: float) -> float:
    """How many errors wide a band over all is, to each side."""
    fewest = float(degrees.min())
    rng = np.random.default_rng(0)
    errors = np.sqrt(covariance.diagonal())
    values, vectors = np.linalg.eigh(covariance / np.outer(errors, errors))
    kept = values > 1e-10 * values[-1]
    factors = vectors[:, kept] * np.sqrt(values[kept])
    drawn = np.abs(factors @ rng.standard_normal((factors.shape[1], _DRAWS))).max(axis=0)
    drawn /= np.sqrt(rng.chisquare(fewest, _DRAWS) / fewest)
    # No accident of the draws makes it narrower than for one share.
    return max(float(stats.t.ppf((1 + level) / 2, fewest)), float(np.quantile(drawn, level)))
