"""Averages beside the effects of arms: of each two arms, on whom, and what could bend them."""

from dataclasses import dataclass

import numpy as np

from flows.inputs.study import Study
from flows.report.figures.scored import Scored
from metalearners._typing import Array
from metalearners.evaluation.average_effects import AverageEffect
from metalearners.evaluation.averages.arms import ArmDifference, arm_differences, arm_means
from metalearners.evaluation.averages.hidden import Sensitivity, sensitivity
from metalearners.evaluation.averages.levels import LevelTest, segment_tests
from metalearners.evaluation.averages.segments import SegmentEffect, segment_effects
from metalearners.evaluation.averages.targets import OVERLAP, TREATED, target_effects
from metalearners.evaluation.averages.weighting import (
    Trimming,
    WeightedBalance,
    trimming,
    weighted_balance,
)
from metalearners.evaluation.means import Estimate

BY_CHANCE = (
    "the propensities are those of a declared design: if chance drew the arms as declared, nothing "
    "hidden has moved them"
)
ALIKE = (
    "all rows have the same propensities: weighting by them changes nothing, and none has less "
    "overlap than others"
)


@dataclass(frozen=True, eq=False)
class Weighting:
    """What weighting by inverse propensities does."""

    balance: WeightedBalance
    trimming: Trimming


@dataclass(frozen=True, eq=False)
class Averages:
    """Lists follow the arms other than the control, but for means and pairs."""

    means: list[Estimate]  # outcomes by arm, the control first
    pairs: list[ArmDifference]  # of each two other arms
    targets: dict[str, list[AverageEffect]]  # by population
    segments: list[SegmentEffect]
    segment_tests: list[LevelTest]  # of whether effects differ between levels
    weighting: Weighting | None  # None where all rows have the same propensities
    sensitivity: list[Sensitivity] | None  # None for a declared design


def averages(study: Study, rows: Scored) -> Averages:
    """Averages over the rows of `ate`, which are those of `study.averaged`."""
    given = (rows.y, rows.w, rows.mu, rows.e, rows.weight, rows.groups)
    declared = study.dataset.propensity is not None
    arms = range(1, len(study.arms))
    scored = (rows.scores, rows.w, rows.weight, rows.groups)
    by_level = (rows.scores, _labels(study), rows.w, rows.weight, rows.groups)
    return Averages(
        means=arm_means(*scored),
        pairs=arm_differences(*scored),
        targets={target: target_effects(*given, target=target) for target in (TREATED, OVERLAP)},
        segments=segment_effects(*by_level),
        segment_tests=segment_tests(*by_level),
        weighting=_weighting(study, rows),
        sensitivity=None if declared else [sensitivity(*given, arm=arm) for arm in arms],
    )


def _labels(study: Study) -> dict[str, Array]:
    among = study.dataset.predicted
    return {name: own[among] for name, own in study.segments.items()}


def _weighting(study: Study, rows: Scored) -> Weighting | None:
    if np.ptp(rows.e, axis=0).max() < 1e-12:
        return None
    X = study.averaged.dataset.X
    return Weighting(
        weighted_balance(X, rows.w, rows.e, rows.weight, rows.groups),
        trimming(rows.e, rows.weight),
    )
