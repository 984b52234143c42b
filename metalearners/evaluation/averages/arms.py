"""Arms beside each other: their mean outcomes, and the differences of all pairs of them."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from metalearners._typing import Array, Floats
from metalearners.data.arguments import check_shape, count
from metalearners.data.containers import check_same_rows
from metalearners.data.conversion import as_array
from metalearners.evaluation.means import Estimate, Means, check_level
from metalearners.showing.results import Several, Shown


@dataclass(frozen=True)
class ArmDifference(Shown):
    """By how much an arm's mean outcome is above that of another arm; neither is the control.

    Parameters
    ----------
    arm, other : int
        Codes; the second is the higher one.
    effect : Estimate
        With its pointwise interval, in units of the outcome.
    joint : tuple of float
        Ends of the interval that holds for all pairs at once.
    """

    arm: int
    other: int
    effect: Estimate
    joint: tuple[float, float]

    @property
    def codes(self) -> tuple[int, int]:
        """Codes of both arms."""
        return self.arm, self.other

    def __neg__(self) -> "ArmDifference":
        """By how much the other is above the first."""
        own, (low, high) = self.effect, self.joint
        ends = (-own.ci_high, -own.ci_low)
        effect = Estimate(-own.estimate, own.std_error, *ends, own.degrees)
        return ArmDifference(self.other, self.arm, effect, (-high, -low))


def arm_means(
    scores: Floats,
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    level: float = 0.95,
) -> list[Estimate]:
    r"""Mean outcomes if all rows were in one arm, :math:`E[\Gamma_k]`, by arm from the control on.

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

    References
    ----------
    Robins, Rotnitzky and Zhao (1994), JASA 89(427), pp. 846-866.
    """
    check_level(level)
    check_same_rows(scores=scores, w=w, weight=weight, groups=groups)
    return Several(Means.checked(scores, weight, groups, as_array(w)).estimates(level))


def arm_differences(
    scores: Floats,
    w: Array,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    level: float = 0.95,
    draws: int = 20_000,
) -> list[ArmDifference]:
    r"""Differences of the mean outcomes of each two arms other than the control.

    .. math:: E[\Gamma_k - \Gamma_l], \quad 1 \le k < l < K

    Where two arms both have an effect, they tell which one has the larger. Average effects against
    the control don't: their intervals may overlap although the difference is clear.

    Parameters
    ----------
    scores : (n, K) array
        Doubly robust scores by arm, the control first.
    w : (n,) array of int
        Arm codes.
    weight, groups, level
        As for `mean_with_error`.
    draws : int
        Number of draws for the joint intervals, from a fixed seed.

    Returns
    -------
    list of ArmDifference
        Empty for fewer than two such arms.

    Raises
    ------
    ValueError
        As for `mean_with_error`.

    References
    ----------
    Tukey (1953): all pairs of means at once. Montiel Olea and Plagborg-Møller (2019), Journal of
    Applied Econometrics 34(1), pp. 1-17: the joint intervals.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> w = np.arange(600) % 3
    >>> (found,) = arm_differences(rng.normal(size=(600, 3)) + [0, 1, 3], w)
    >>> found.joint[1] < 0  # arm 1 is below arm 2
    True
    """
    check_level(level)
    count("draws", draws)
    check_same_rows(scores=scores, w=w, weight=weight, groups=groups)
    scores = as_array(scores)
    wide = scores.ndim == 2 and scores.shape[1] > 1
    check_shape("scores", wide, "(n, K), a column for the control and each arm", scores.shape)
    pairs = list(combinations(range(1, scores.shape[1]), 2))
    if not pairs:
        return Several()
    columns = np.column_stack([scores[:, a] - scores[:, b] for a, b in pairs])
    made = Means.checked(columns, weight, groups, as_array(w))
    found = zip(pairs, made.estimates(level), made.joint(level, draws), strict=True)
    return Several(ArmDifference(*pair, effect, joint) for pair, effect, joint in found)
