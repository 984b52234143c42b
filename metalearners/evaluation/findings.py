"""What the figures of a run claim: one rule, whoever tells them."""

from collections.abc import Mapping, Sequence

import numpy as np

from metalearners.evaluation.multiplicity import holm
from metalearners.evaluation.ranking import Gain

LEVEL = 0.05
"""Chance of a claim where there is nothing, over all arms, or over all learners and arms."""


def claims_effect(joint: tuple[float, float], doubt: str = "") -> bool:
    """Whether an arm has an average effect, in either direction.

    Parameters
    ----------
    joint : 95 % interval that holds for all arms at once; one that holds for this arm alone would
        claim an effect for some arm the oftener, the more arms there are
    doubt : why the interval isn't to be relied upon; empty where it is
    """
    return not doubt and (joint[0] > 0 or joint[1] < 0)


def claims_ranking(p_adjusted: float) -> bool:
    """Whether a learner orders rows by their effect of an arm better than chance does.

    Parameters
    ----------
    p_adjusted : of its Qini, by `ranking_p_values`
    """
    return p_adjusted < LEVEL


def ranking_p_values(gains: Mapping[str, Sequence[Gain]]) -> dict[str, list[float]]:
    """One-sided p-values of Qini, adjusted for the number of learners and arms (Holm).

    Parameters
    ----------
    gains : by learner, a curve an arm
    """
    every = np.array([gain.p_value for own in gains.values() for gain in own])
    adjusted = iter(holm(every).tolist() if every.size else [])
    return {name: [next(adjusted) for _ in own] for name, own in gains.items()}
