"""What the last run's model estimates for new rows: drift of its effects, and how right it was.

A model that is fitted again estimates other effects whether or not anything has changed. So one
model, the last run's, estimates both samples: the rows that it held out, and the rows of this run.
Neither shaped it.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flows.dates.logical import moment_of
from flows.dates.partitions import is_within, names_dates
from flows.inputs.study import Study
from flows.messages.limits import shown
from flows.messages.secrets import without_secrets
from flows.watching.profile import Profile, beside, draw, in_single
from metalearners._typing import Array, Floats
from metalearners.bundle import Bundle
from metalearners.data.estimate_columns import arm_name
from metalearners.data.schema import DATE, Schema
from metalearners.evaluation.means import Estimate, mean_with_error
from metalearners.evaluation.recurring.drift import Drift, Reference

_MOST_ROWS = 2_000  # which five learners estimate in less than a tenth of a second
_FIGURES = ("estimate", "std_error", "ci_low", "ci_high")
_NOT_IDENTIFIED = (
    "not identified, as nothing says with which probabilities the arms were drawn: declare "
    "data.design or data.propensity"
)
_BY_DAY = "{date:%Y-%m-%d}"  # as queries name their days


@dataclass(frozen=True)
class EffectDrift:
    """How far a learner's estimates for an arm have moved, and their mean over the new rows."""

    learner: str
    arm: Any
    drift: Drift
    mean: Estimate

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of it."""
        own = {name: getattr(self.drift, name) for name in ("psi", "p_value", "status")}
        return {"learner": self.learner, "arm": self.arm, **own}


def realised_effects(
    study: Study, effects: Sequence[EffectDrift], absent: str, ate: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What was predicted for new rows on average, beside their effects; for `summary.json`.

    Parameters
    ----------
    study : Study
        This run's rows, all of which are new.
    effects : sequence of EffectDrift
        What the last run's model estimates for them.
    absent : str
        Why there are none.
    ate : sequence of mapping
        Average effects on these rows, as in `summary.json`.
    """
    data = study.config.data
    if data.propensity is None and data.design != "randomised":
        return {"effects": [], "absent": _NOT_IDENTIFIED}
    actual = {arm_name(row["arm"]): row for row in ate}
    rows = [
        {
            "learner": one.learner,
            "arm": one.arm,
            "predicted": {key: getattr(one.mean, key) for key in _FIGURES},
            "actual": {key: actual[arm_name(one.arm)][key] for key in _FIGURES},
        }
        for one in effects
        if arm_name(one.arm) in actual
    ]
    return {"effects": rows, "absent": absent}


def compare_effects(
    study: Study, last: Mapping[str, Any], before: Profile, key: bytes
) -> tuple[tuple[EffectDrift, ...], str]:
    """Drift of the effects that the last run's model estimates, or why it isn't known.

    Parameters
    ----------
    study : Study
        This run's rows.
    last : mapping
        The last run's summary.
    before : Profile
        The last run's.
    key : bytes
        The secret by which its model is verified.
    """
    folder = Path(study.config.output) / str(last["run_name"])
    if not before.effects:
        return (), f"{folder.name} has no estimates of held-out rows"
    if shares_rows(study, last):
        return (), f"{folder.name} has rows of this run, on which its model was fitted"
    try:
        return _compared(study, folder, before, key), ""
    except Exception as error:  # of any base model, which may need what isn't here
        problem = without_secrets(str(error)) or type(error).__name__
        return (), f"the model of {folder.name} can't estimate these rows: {shown(problem)}"


def _compared(study: Study, folder: Path, before: Profile, key: bytes) -> tuple[EffectDrift, ...]:
    drawn = draw(np.flatnonzero(study.dataset.predicted), _MOST_ROWS)  # those of averages
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other versions and other users, as scoring has
        bundle = Bundle.load(folder / "model", key)
        estimates = in_single(_estimates(bundle, study, drawn))
    reference = Reference.from_json(before.effects)
    threshold = study.config.watch.drift
    about = beside(study, drawn)
    found = reference.compare(estimates, *about, threshold=threshold)
    told = {
        f"cate.{name}.{arm_name(arm)}": (name, arm)
        for name in bundle.learners
        for arm in bundle.arms[1:]
    }
    return tuple(
        EffectDrift(*told[one.column], one, mean_with_error(estimates[one.column], *about))
        for one in found
    )


def _estimates(bundle: Bundle, study: Study, rows: Array) -> pd.DataFrame:
    d, schema = study.dataset, bundle.schema
    assert schema is not None  # as the rows of a run have names
    features, _ = _with_days(schema, study.dates).match(d.X.iloc[rows], unseen_missing=True)
    return bundle.predict(features, _propensity(bundle, d.propensity, rows), conformed=True)


def _with_days(schema: Schema, dates: list[str]) -> Schema:
    """The schema for dates that are days already."""
    return Schema(
        tuple(
            dataclasses.replace(one, dtype="float64")
            if one.dtype == DATE and one.name in dates
            else one
            for one in schema.features
        )
    )


def _propensity(bundle: Bundle, known: Floats | None, rows: Array) -> Floats | None:
    """Known probabilities, where the model was fitted with such."""
    data = bundle.about.get("config", {}).get("data", {})
    designed = "shares" in bundle.about or data.get("propensity") is not None
    return known[rows] if designed and known is not None else None


def shares_rows(study: Study, last: Mapping[str, Any]) -> bool:
    """Whether the rows are those of the last run, or windows of dates overlap.

    Of a source without dates nobody knows: rows are then taken as new unless all are the same.
    """
    config = study.config
    if last.get("data", {}).get("digest") == study.digest:
        return True
    if config.window is None or not config.data.names_dates:
        return False
    if not config.data.reads_from:  # all rows up to the date
        return True
    moment = moment_of(last["logical_date"], config.timezone).replace(tzinfo=None)
    source = config.data.source or ""
    return is_within(source if names_dates(source) else _BY_DAY, moment, config.window)
