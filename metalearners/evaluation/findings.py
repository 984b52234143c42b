"""The rule for what the figures of a run claim."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from metalearners.evaluation.judging.rate import Rate
from metalearners.evaluation.judging.sequential import Sequential
from metalearners.evaluation.multiplicity import holm

LEVEL = 0.05
"""Chance of a claim without any effect, over all arms, or over all learners and arms."""


def claims_effect(joint: tuple[float, float], doubt: str = "") -> bool:
    """Whether an arm has an average effect, in either direction.

    Parameters
    ----------
    joint : tuple of float
        Ends of the 95 % interval that holds for all arms at once. With intervals that hold for one
        arm alone, more arms would mean more false claims.
    doubt : str
        Why nobody should rely on the interval; empty where there is no reason.
    """
    return not doubt and (joint[0] > 0 or joint[1] < 0)


def claims_ranking(p_adjusted: float, doubt: str = "") -> bool:
    """Whether a learner ranks rows better than chance.

    Parameters
    ----------
    p_adjusted : float
        One of the `adjusted_p_values`.
    doubt : str
        Why nobody should rely on scores of the arm; empty where there is no reason.
    """
    return not doubt and p_adjusted < LEVEL


def adjusted_p_values(
    rates: Mapping[str, Sequence[Rate | Sequential]],
) -> dict[str, list[float]]:
    """One-sided p-values of RATEs by learner and arm, adjusted for the number of both (Holm)."""
    found = adjusted({name: [one.p_greater for one in own] for name, own in rates.items()})
    return cast(dict[str, list[float]], found)  # each has its test


def adjusted(
    p_values: Mapping[str, Sequence[float | None]],
) -> dict[str, list[float | None]]:
    """P-values by learner and arm, adjusted for the number of both (Holm); None without a test."""
    known = [p for own in p_values.values() for p in own if p is not None]
    found = iter(holm(np.array(known)).tolist() if known else [])
    return {
        name: [None if p is None else next(found) for p in own] for name, own in p_values.items()
    }
