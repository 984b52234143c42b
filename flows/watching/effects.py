"""What the last run's model estimates for new rows: drift of its effects, and how right it was.

A model that is fitted again estimates other effects whether or not anything has changed. So one
model, the last run's, estimates both samples: the rows that it held out, and the rows of this run
that are new. Neither shaped it.
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
from flows.messages.secrets import problem_of
from flows.watching.profile import Profile, beside, draw, in_single
from metalearners._typing import Array, Floats
from metalearners.bundle import Bundle
from metalearners.data.estimate_columns import arm_name
from metalearners.data.schema import DATE, Schema
from metalearners.evaluation.average_effects import aipw_scores
from metalearners.evaluation.recurring.drift import Drift, Reference
from metalearners.evaluation.recurring.realised import realised

_MOST_ROWS = 2_000  # which five learners estimate in a fifth of a second of one core, loaded too
_FIGURES = ("estimate", "std_error", "ci_low", "ci_high")
_NOT_IDENTIFIED = (
    "not identified, as nothing says with which probabilities the arms were drawn: declare "
    "data.design, data.propensity or data.drawn"
)
_BY_DAY = "{date:%Y-%m-%d}"  # as queries name their days


@dataclass(frozen=True, eq=False)
class EffectDrift:
    """How far a learner's estimates for an arm have moved.

    Parameters
    ----------
    learner, arm
        Whose estimates, and of which effect.
    drift : Drift
        How far they have moved.
    rows : (m,) array of int
        Positions of the new rows that were estimated.
    estimates : (m,) array
        What the last run's model estimates for them.
    """

    learner: str
    arm: Any
    drift: Drift
    rows: Array
    estimates: Floats

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of it."""
        own = {name: getattr(self.drift, name) for name in ("psi", "p_value", "status")}
        return {"learner": self.learner, "arm": self.arm, **own}


def realised_effects(
    study: Study, outcomes: Floats, new: Array, effects: Sequence[EffectDrift]
) -> dict[str, Any]:
    """What was predicted for new rows on average, beside their effects; for `summary.json`.

    Parameters
    ----------
    study : Study
        This run's n rows.
    outcomes : (n, K) array
        Expected outcomes, of models that weren't fitted on the row.
    new : (n,) array of bool
        Rows that the last run didn't have.
    effects : sequence of EffectDrift
        What the last run's model estimates for some of them.
    """
    d = study.dataset
    rows = np.flatnonzero(new & d.predicted)
    try:
        chances = study.chances(rows)
        if chances is None:
            return {"effects": [], "absent": _NOT_IDENTIFIED}
        known = np.isfinite(chances).all(axis=1)  # where chance drew the arm
        rows, chances = rows[known], chances[known]
        scores = aipw_scores(d.y[rows], d.w[rows], outcomes[rows], chances)
        compared = [_beside(study, rows, scores, one) for one in effects if _is_own(study, one)]
    except ValueError as error:  # too few rows of an arm, or that the model estimated
        return {"effects": [], "absent": str(error)}
    return {"effects": compared, "absent": ""}


def _is_own(study: Study, one: EffectDrift) -> bool:
    """Whether estimates are effects on the outcome that the run is about; no learner has a dot."""
    outcome = one.learner.rpartition(".")[0]
    return outcome in ("", study.config.data.first_outcome)


def _beside(study: Study, rows: Array, scores: Floats, one: EffectDrift) -> dict[str, Any]:
    """A learner's estimates for an arm beside the average effect on some rows."""
    d, k = study.dataset, [arm_name(arm) for arm in study.arms].index(arm_name(one.arm))
    predicted = np.full(len(d), np.nan)
    predicted[one.rows] = one.estimates
    gains = scores[:, k] - scores[:, 0]
    found = realised(gains, predicted[rows], d.w[rows], *beside(study, rows))
    figures = {
        name: {key: getattr(estimate, key) for key in _FIGURES}
        for name, estimate in vars(found).items()
        if name != "p_value"
    }
    return {"learner": one.learner, "arm": one.arm, **figures, "p_value": found.p_value}


def compare_effects(
    study: Study, last: Mapping[str, Any], before: Profile, new: Array, key: bytes
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
    new : (n,) array of bool
        Rows that the last run didn't have: `new_rows`.
    key : bytes
        The secret by which its model is verified.
    """
    folder = Path(study.config.output) / str(last["run_name"])
    if not before.effects:
        return (), f"{folder.name} has no estimates of held-out rows"
    rows = np.flatnonzero(new & study.dataset.predicted)  # those of averages
    if not len(rows):
        return (), f"{folder.name} has the rows of this run, on which its model was fitted"
    try:
        return _compared(study, folder, before, draw(rows, _MOST_ROWS), key), ""
    except Exception as error:  # of any base model, which may need what isn't here
        problem = shown(problem_of(error))
        return (), f"the model of {folder.name} can't estimate these rows: {problem}"


def _compared(
    study: Study, folder: Path, before: Profile, drawn: Array, key: bytes
) -> tuple[EffectDrift, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other versions and other users, as scoring has
        bundle = Bundle.load(folder / "model", key)
        estimates = in_single(_estimates(bundle, study, drawn))
    reference = Reference.from_json(before.effects)
    threshold = study.config.watch.drift
    found = reference.compare(estimates, *beside(study, drawn), threshold=threshold)
    told = {
        f"cate.{name}.{arm_name(arm)}": (name, arm)
        for name in bundle.learners
        for arm in bundle.arms[1:]
    }
    return tuple(
        EffectDrift(*told[one.column], one, drawn, estimates[one.column].to_numpy(float))
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


def new_rows(study: Study, last: Mapping[str, Any]) -> Array:
    """(n,) rows that the last run didn't have, as far as dates tell it.

    Of a source without dates nobody knows: rows are then taken as new unless all are the same. Of
    a query whose window overlaps that of the last run, none is known to be new.
    """
    config, every = study.config, np.ones(len(study.y), bool)
    before = last.get("data", {})
    if before.get("digest") == study.digest:
        return ~every
    if config.window is None or not config.data.names_dates or not _overlaps(study, last):
        return every
    if study.begins is None or before.get("until") is None:
        return ~every
    return np.asarray(study.begins[study.used] >= np.datetime64(before["until"]))


def _overlaps(study: Study, last: Mapping[str, Any]) -> bool:
    """Whether the run's window has the partition of the last run's date."""
    config = study.config
    if not config.data.reads_from:  # all rows up to the date
        return True
    assert config.window is not None  # as the source names dates
    moment = moment_of(last["logical_date"], config.timezone).replace(tzinfo=None)
    source = config.data.source or ""
    return is_within(source if names_dates(source) else _BY_DAY, moment, config.window)
