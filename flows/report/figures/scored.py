"""Rows of a study with what the nuisance models that all learners share say of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from flows.inputs.study import Study
from metalearners._typing import Array, Floats, Name
from metalearners.data.dataset import Dataset
from metalearners.metalearner import PROPENSITY_MODEL

Columns = Mapping[Name, Array]
"""Predictions by model kind and ordinal."""

_Values = TypeVar("_Values", Array, Array | None)


@dataclass(frozen=True, eq=False)
class Scored:
    """Some rows of a study, and predictions of models that weren't fitted on them."""

    y: Array  # (m,) outcomes
    w: Array  # (m,) codes of arms
    weight: Floats | None  # (m,)
    groups: Array | None  # (m,)
    mu: Floats  # (m, K) expected outcomes
    e: Floats  # (m, K) propensities within their bounds, as scores have them
    scores: Floats  # (m, K) doubly robust scores

    @classmethod
    def of(cls, study: Study, d: Dataset, eta: Columns, scores: Floats, among: Array) -> "Scored":
        """Those of all rows that are among some; `eta` and `scores` are of folds of `d`."""
        own, every = study.reference, bool(among.all())

        def part(values: _Values) -> _Values:
            return values if values is None or every else values[among]  # else they are copied

        propensity = part(own.with_known(eta, d.propensity)[PROPENSITY_MODEL, "0"])
        return cls(
            y=part(d.y),
            w=part(d.w),
            weight=part(d.weight),
            groups=part(d.groups),
            mu=part(own.outcome_values(own.arm_outcomes(eta))),
            e=own.clip_of(d).apply(propensity),
            scores=part(scores),
        )
