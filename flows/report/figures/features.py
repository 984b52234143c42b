"""Who is affected most and least, and effects along the features that estimates vary with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.inputs.study import Study
from flows.report.figures.candidates import NO_ESTIMATE, plain
from flows.report.figures.scored import Scored
from metalearners._typing import Floats
from metalearners.base_models.rows import take
from metalearners.evaluation.averages.features import FeatureEffect, feature_effects
from metalearners.evaluation.averages.levels import LevelTest, feature_tests
from metalearners.evaluation.judging.profiles import Trait, profile

MOST = 4
"""Features that are described: those that the estimates vary with most."""

_DRAWS = 5_000  # so that joint intervals hold 95 % to within .3 % and cost little of a run


@dataclass(frozen=True, eq=False)
class Described:
    """What held-out rows say of the features that a learner's estimates vary with."""

    learner: str
    names: list[str]  # of the features, the one that estimates vary with most first
    profiles: list[list[Trait]]  # by arm other than the control
    effects: list[FeatureEffect]
    tests: list[LevelTest]  # of whether effects differ along a feature


def described(
    study: Study, rows: Scored | None, learner: str, cate: Floats, drivers: Floats
) -> Described | None:
    """Profiles by a learner's estimates, and effects along features; None without held-out rows.

    Fits on other rows choose the features: `drivers` has their shares of the estimates' variance.
    """
    if rows is None:
        return None
    share = drivers.mean(axis=1)
    order = [j for j in np.argsort(-share, kind="stable")[:MOST] if share[j] > 0]
    X = take(study.dataset.X, np.flatnonzero(study.judged))
    features = {study.schema.names[j]: X.iloc[:, j] for j in order}
    given = (rows.weight, rows.groups)
    along = (rows.scores, features, rows.w, *given)
    return Described(
        learner,
        list(features),
        [profile(features, own, *given) for own in cate[study.judged].T],
        feature_effects(*along, draws=_DRAWS) if features else [],
        feature_tests(*along) if features else [],
    )


def features_summary(found: Described, arms: Sequence[Any]) -> dict[str, Any]:
    """Profiles and effects along features, for `summary.json`."""
    return {
        "learner": found.learner,
        "profiles": [
            {
                "arm": arm,
                "feature": one.feature,
                "category": _told(one.category),
                "lowest": plain(one.lowest),
                "highest": plain(one.highest),
                "difference": plain(one.difference),
            }
            for arm, own in zip(arms[1:], found.profiles, strict=True)
            for one in own
        ],
        "effects": [_effect(arms[one.arm], one) for one in found.effects],
        "tests": [level_test_summary("feature", arms[one.arm], one) for one in found.tests],
    }


def level_test_summary(kind: str, arm: Any, found: LevelTest) -> dict[str, Any]:
    """A test of a segment or a feature, for `summary.json`."""
    p_values = {"p_value": found.p_value, "p_value_adjusted": found.p_adjusted}
    return {kind: found.segment, "arm": arm, "levels": found.levels, **p_values}


def _effect(arm: Any, found: FeatureEffect) -> dict[str, Any]:
    about = {"arm": arm, "feature": found.feature, "category": _told(found.category)}
    ends = {"low": found.low, "high": found.high}
    low, high = found.joint or (None, None)
    effect = NO_ESTIMATE if found.effect is None else plain(found.effect)
    return {**about, **ends, **effect, "joint_low": low, "joint_high": high, "rows": found.rows}


def _told(category: Any) -> Any:
    """A category as JSON has it: a text, unless it is a number or a truth value."""
    return category if category is None or isinstance(category, int | float) else str(category)
