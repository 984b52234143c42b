"""All figures about one learner's estimates of one arm's effect, on rows that no fit has seen."""

from dataclasses import dataclass

from metalearners._typing import Array, Floats
from metalearners.evaluation.judging.calibration import Group, calibration
from metalearners.evaluation.judging.curves import Gain, gain_curve
from metalearners.evaluation.judging.rate import AUTOC, QINI, Rate, rate


@dataclass(frozen=True, eq=False)
class Judgement:
    """What held-out rows say of estimates.

    Parameters
    ----------
    qini, autoc : Rate
        How well estimates order rows.
    gain : Gain
        Curves of treating rows by estimate.
    groups : list of Group
        Estimates beside the effects found, by fifths of the rows.
    """

    qini: Rate
    autoc: Rate
    gain: Gain
    groups: list[Group]


def judge(
    predicted: Floats,
    scores: Floats,
    weight: Floats | None = None,
    groups: Array | None = None,
    *,
    arms: Array | None = None,
    tolerance: float | None = None,
) -> Judgement:
    """All figures about estimates of one arm's effect.

    Parameters
    ----------
    predicted : (n,) array
        CATE estimates.
    scores : (n,) array
        Doubly robust scores of the effect, from nuisances that no estimate has a part in.
    weight, groups, arms, tolerance
        As for `rate`.

    Raises
    ------
    ValueError
        As for `rate`.
    """
    given = (predicted, scores, weight, groups)
    return Judgement(
        qini=rate(*given, kind=QINI, arms=arms, tolerance=tolerance),
        autoc=rate(*given, kind=AUTOC, arms=arms, tolerance=tolerance),
        gain=gain_curve(*given, arms=arms, tolerance=tolerance),
        groups=calibration(*given, arms=arms, tolerance=tolerance),
    )
